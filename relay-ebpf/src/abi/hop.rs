//! Next hops, and the interfaces that they leave by.

use crate::header::join;

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
}

impl HopSlot {
    /// A known way; `state` is not zero.
    #[must_use]
    pub const fn known(state: u32, hop: Hop) -> Self {
        Self { state, hop }
    }
}

/// A resolved next hop.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// The interface that sends.
    pub interface: u32,
    /// The neighbour's MAC address, in pairs of bytes as they stand in a frame.
    pub destination: [u16; 3],
    /// The interface's MAC address, likewise.
    pub source: [u16; 3],
    /// The largest IP packet that it can send.
    pub mtu: u16,
    /// The VLAN tags of what it sends, the outer one first; the first
    /// [`Tag::NONE`] ends them.
    pub tags: [Tag; 2],
    reserved: u16,
}

impl Hop {
    /// A way out of `interface` (index), between these MAC addresses, untagged.
    #[must_use]
    pub const fn new(interface: u32, mtu: u16, source: [u8; 6], destination: [u8; 6]) -> Self {
        Self {
            interface,
            mtu,
            destination: mac_words(destination),
            source: mac_words(source),
            tags: [Tag::NONE; 2],
            reserved: 0,
        }
    }

    /// With these VLAN tags, the outer one first.
    #[must_use]
    pub const fn tagged(mut self, tags: [Tag; 2]) -> Self {
        self.tags = tags;
        self
    }

    /// Both MAC addresses, as the first words of a frame.
    #[inline(always)]
    #[must_use]
    pub const fn macs(&self) -> [u32; 3] {
        let ([first, second, third], [fourth, fifth, sixth]) = (self.destination, self.source);
        [join(first, second), join(third, fourth), join(fifth, sixth)]
    }

    /// How many tags there are.
    #[inline(always)]
    #[must_use]
    pub const fn tag_count(&self) -> usize {
        if self.tags[0].is_none() {
            0
        } else if self.tags[1].is_none() {
            1
        } else {
            2
        }
    }
}

/// A physical interface and the VLAN tags, the outer one first, that together make
/// one interface of the host's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// The index of the physical interface.
    pub interface: u32,
    /// The tags, of the lowest priority; the first [`Tag::NONE`] ends them.
    pub tags: [Tag; 2],
}

impl Attachment {
    /// The tag behind the first one; the first one itself where that was none.
    #[inline(always)]
    pub const fn then(&mut self, tag: Tag) {
        let [first, second] = &mut self.tags;
        if first.is_none() {
            *first = tag;
        } else {
            *second = tag;
        }
    }
}

/// A VLAN tag as it stands in a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// The `EtherType` that announces it, in network byte order.
    pub protocol: u16,
    /// Priority and VLAN, in network byte order.
    pub control: u16,
}

impl Tag {
    /// No tag.
    pub const NONE: Self = Self { protocol: 0, control: 0 };

    /// A tag of this protocol (an `EtherType`) and VLAN, of the lowest priority.
    #[must_use]
    pub const fn new(protocol: u16, vlan: u16) -> Self {
        Self { protocol: protocol.to_be(), control: (vlan & 0x0fff).to_be() }
    }

    /// As it stands in a frame, of any priority. VLAN zero is none: such a tag says
    /// a priority alone (IEEE 802.1Q section 9.6).
    #[inline(always)]
    #[must_use]
    pub const fn of_frame(protocol: u16, control: u16) -> Self {
        let vlan = control & 0x0fff_u16.to_be();
        if vlan == 0 { Self::NONE } else { Self { protocol, control: vlan } }
    }

    /// Whether this is no tag.
    #[inline(always)]
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.protocol == 0
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
