//! Next hops.

/// The way to a far end: filled in by the control plane from routes and
/// neighbours. `state` is zero while it is unknown or being changed; the
/// program then asks the kernel's own tables, and does so too when `state`
/// changed while it was reading.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HopSlot {
    /// Grows with every change; zero when the way is unknown.
    pub state: u32,
    /// The way.
    pub hop: Hop,
    reserved: u64,
}

impl HopSlot {
    /// A known way; `state` is not zero.
    #[must_use]
    pub const fn known(state: u32, hop: Hop) -> Self {
        Self { state, hop, reserved: 0 }
    }
}

/// A resolved next hop.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// The interface that sends.
    pub interface: u32,
    /// The largest IP packet that it can send.
    pub mtu: u16,
    /// The neighbour's MAC address, in pairs of bytes as they stand in a frame.
    pub destination: [u16; 3],
    /// The interface's MAC address, likewise.
    pub source: [u16; 3],
    reserved: u16,
}

impl Hop {
    /// A way out of `interface` (index), between these MAC addresses.
    #[must_use]
    pub const fn new(interface: u32, mtu: u16, source: [u8; 6], destination: [u8; 6]) -> Self {
        Self { interface, mtu, destination: mac_words(destination), source: mac_words(source), reserved: 0 }
    }
}

/// A MAC address as pairs of bytes, as they stand in a frame.
#[inline(always)]
#[must_use]
pub const fn mac_words(mac: [u8; 6]) -> [u16; 3] {
    [
        u16::from_ne_bytes([mac[0], mac[1]]),
        u16::from_ne_bytes([mac[2], mac[3]]),
        u16::from_ne_bytes([mac[4], mac[5]]),
    ]
}
