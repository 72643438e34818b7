//! The maps that the program and the control plane share: names, layouts, sizes.
//!
//! Flows stand in arrays whose index is (media address, local port), so a
//! packet finds its flow without a hash, memory is bounded by the configured
//! range, and a port has at most one flow by construction. Arrays are mapped
//! into the control plane's memory, so a flow is put and removed without a
//! system call.
//!
//! Who writes what never overlaps: the control plane writes [`FlowSlot`] and
//! [`HopSlot`], the program writes [`LearnedSource`] and [`FlowCount`]. An
//! update of a flow therefore cannot erase what was learned or counted.
//!
//! Publication. A slot holds two bodies; `state` names the live one by its
//! sequence number (its lowest bit is the body's index) and is zero when there
//! is no flow. The control plane writes the idle body, then `state`. A reader
//! takes `state` once and reaches the body through it, an address dependency
//! that every architecture orders, so a flow is replaced without a gap and no
//! packet sees half of one. Each body repeats its sequence number: a packet
//! that was overtaken by two updates sees another one there and is dropped.
//!
//! Learning. A flow's `epoch` grows when it is created and when signalling
//! moved its far end. The word of a [`LearnedSource`] is an epoch and a
//! [`Phase`]; a word of an earlier epoch means that nothing was learned yet.
//! The first packet claims the cell by compare-and-exchange, writes the source
//! and locks it. Nobody ever clears a cell.

use core::mem::{align_of, offset_of, size_of};

use crate::verdict::Verdict;

/// Grows with every change to a layout, a map or the meaning of a field; part
/// of the names of pinned maps.
pub const ABI_VERSION: u32 = 1;

/// Media addresses at most.
pub const MAX_ADDRESSES: usize = 16;
/// Next hops at a time: distinct (far end, local address) pairs.
pub const MAX_HOPS: u32 = 16_384;
/// Interfaces that the program is attached to at most.
pub const MAX_DEVICES: u32 = 64;

/// The program's name in the object.
pub const PROGRAM: &str = "relay";
/// A program that passes every frame.
pub const BARE_PROGRAM: &str = "bare";
/// [`Layout`], read-only data fixed before the program is loaded.
pub const LAYOUT: &str = "LAYOUT";
/// Array of [`FlowSlot`], one per media address and port.
pub const FLOWS: &str = "FLOWS";
/// Array of [`LearnedSource`], as [`FLOWS`].
pub const LEARNED: &str = "LEARNED";
/// Array of [`FlowCount`], as [`FLOWS`].
pub const COUNTS: &str = "COUNTS";
/// Array of [`HopSlot`].
pub const HOPS: &str = "HOPS";
/// Per-CPU array of `u64`: packets per [`Verdict`].
pub const VERDICTS: &str = "VERDICTS";
/// Device map, keyed by interface index, of the interfaces that may send.
pub const DEVICES: &str = "DEVICES";

/// An address as it stands in a packet, in network byte order; an IPv4 address
/// has the first word and zeros.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address([u32; 4]);

impl Address {
    /// From the four bytes of an IPv4 address.
    #[must_use]
    pub const fn v4(octets: [u8; 4]) -> Self {
        Self([u32::from_ne_bytes(octets), 0, 0, 0])
    }

    /// From the sixteen bytes of an IPv6 address.
    #[must_use]
    pub const fn v6(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self([
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, g, h]),
            u32::from_ne_bytes([i, j, k, l]),
            u32::from_ne_bytes([m, n, o, p]),
        ])
    }

    /// The sixteen bytes; those of an IPv4 address are the first four.
    #[must_use]
    pub fn octets(&self) -> [u8; 16] {
        let mut octets = [0; 16];
        for (bytes, word) in octets.chunks_exact_mut(4).zip(self.0) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        octets
    }

    /// From words in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Self(words)
    }

    /// The words in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u32; 4] {
        self.0
    }

    /// Whether the first `prefix` bits equal those of `other`.
    #[inline(always)]
    #[must_use]
    pub fn matches(&self, other: &Self, prefix: u8) -> bool {
        let mut rest = u32::from(prefix);
        let mut index = 0;
        while index < 4 {
            let bits = if rest > 32 { 32 } else { rest };
            let mask = if bits == 0 { 0 } else { (u32::MAX << (32 - bits)).to_be() };
            if (self.0[index] ^ other.0[index]) & mask != 0 {
                return false;
            }
            rest -= bits;
            index += 1;
        }
        true
    }
}

/// A UDP port in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Port(u16);

impl Port {
    /// From a port number.
    #[inline(always)]
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number.to_be())
    }

    /// From the two bytes of a packet, as loaded.
    #[inline(always)]
    #[must_use]
    pub const fn from_wire(loaded: u16) -> Self {
        Self(loaded)
    }

    /// The two bytes of a packet, to be stored.
    #[inline(always)]
    #[must_use]
    pub const fn to_wire(self) -> u16 {
        self.0
    }

    /// The port number.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u16 {
        u16::from_be(self.0)
    }
}

/// Where media arrives: addresses and one port range for all of them.
///
/// Fixed when the program is loaded, so that the verifier prunes what the
/// configuration does not use.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    first_port: u32,
    ports: u32,
    addresses: u32,
    abi: u32,
    family_v6: [u8; MAX_ADDRESSES],
    address: [Address; MAX_ADDRESSES],
}

impl Layout {
    /// No address: every packet passes.
    pub const EMPTY: Self = Self {
        first_port: 0,
        ports: 0,
        addresses: 0,
        abi: ABI_VERSION,
        family_v6: [0; MAX_ADDRESSES],
        address: [Address([0; 4]); MAX_ADDRESSES],
    };

    /// Ports `first..=last`, no address yet. `last` must not be below `first`.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Self {
        Self {
            first_port: first as u32,
            ports: (last as u32 + 1).saturating_sub(first as u32),
            ..Self::EMPTY
        }
    }

    /// With one more address; `None` when there are [`MAX_ADDRESSES`] already.
    #[must_use]
    pub fn with(mut self, address: Address, family: Family) -> Option<Self> {
        let index = self.addresses as usize;
        *self.address.get_mut(index)? = address;
        self.family_v6[index] = u8::from(matches!(family, Family::V6));
        self.addresses += 1;
        Some(self)
    }

    /// How many ports each address has.
    #[must_use]
    pub const fn ports(&self) -> u32 {
        self.ports
    }

    /// The first slot of a media address, for the program: reads are volatile,
    /// since the value is set after compiling.
    #[inline(always)]
    #[must_use]
    pub fn base_of(&self, address: &Address, family: Family) -> Option<u32> {
        let count = volatile(&self.addresses);
        let ports = volatile(&self.ports);
        let mut base = 0;
        for index in 0..MAX_ADDRESSES {
            if index as u32 >= count {
                return None;
            }
            if self.holds(index, address, family) {
                return Some(base);
            }
            base += ports;
        }
        None
    }

    /// How far a port is from the first media port, if it is one of them.
    #[inline(always)]
    #[must_use]
    pub fn offset_of_port(&self, port: Port) -> Option<u32> {
        let offset = u32::from(port.number()).wrapping_sub(volatile(&self.first_port));
        if offset < volatile(&self.ports) { Some(offset) } else { None }
    }

    #[inline(always)]
    fn holds(&self, index: usize, address: &Address, family: Family) -> bool {
        let v6 = volatile(&self.family_v6[index]) != 0;
        let Address(ours) = &self.address[index];
        match family {
            Family::V4 => !v6 && volatile(&ours[0]) == address.0[0],
            Family::V6 => {
                v6 && volatile(&ours[0]) == address.0[0]
                    && volatile(&ours[1]) == address.0[1]
                    && volatile(&ours[2]) == address.0[2]
                    && volatile(&ours[3]) == address.0[3]
            }
        }
    }

    /// How many slots each of the per-flow arrays has.
    #[must_use]
    pub const fn slots(&self) -> u32 {
        self.addresses * self.ports
    }

    /// The slot of a port of the address at `index`.
    #[must_use]
    pub const fn slot(&self, index: u32, port: u16) -> Option<u32> {
        let offset = (port as u32).wrapping_sub(self.first_port);
        if index < self.addresses && offset < self.ports { Some(index * self.ports + offset) } else { None }
    }
}

/// Reads what may differ from what the compiler saw.
#[inline(always)]
fn volatile<T: Copy>(value: &T) -> T {
    // SAFETY: a reference is valid and aligned.
    unsafe { core::ptr::read_volatile(value) }
}

/// The address family of a flow; both of its ends have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What a flow's packets must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// RTP with one of these payload types, one bit each, the lowest for type 0.
    Rtp(u128),
    /// RTCP.
    Rtcp,
}

const CONTENT_RTP: u8 = 1;
const CONTENT_RTCP: u8 = 2;
const FLAG_FOLLOW: u8 = 1;

/// One direction of one media stream, as the program reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    sequence: u32,
    epoch: u32,
    content: u8,
    allowed_prefix: u8,
    traffic_class: u8,
    flags: u8,
    hop: u32,
    payload_types: [u64; 2],
    send_from: Address,
    send_to: Address,
    send_from_port: Port,
    send_to_port: Port,
    opposite: u32,
    allowed: Address,
}

/// One end of a flow's way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its address.
    pub address: Address,
    /// Its port.
    pub port: Port,
}

impl Flow {
    /// A flow that accepts `content` from the first `allowed_prefix` bits of
    /// `allowed` and sends it from `from` to `to`, through next hop `hop`.
    #[must_use]
    pub const fn new(
        content: Content,
        allowed: Address,
        allowed_prefix: u8,
        from: End,
        to: End,
        hop: u32,
    ) -> Self {
        let (content, types) = match content {
            Content::Rtp(types) => (CONTENT_RTP, types),
            Content::Rtcp => (CONTENT_RTCP, 0),
        };
        Self {
            sequence: 0,
            epoch: 0,
            content,
            allowed_prefix,
            traffic_class: 0,
            flags: 0,
            hop,
            #[allow(clippy::cast_possible_truncation, reason = "the two halves of the set")]
            payload_types: [types as u64, (types >> 64) as u64],
            send_from: from.address,
            send_to: to.address,
            send_from_port: from.port,
            send_to_port: to.port,
            opposite: 0,
            allowed,
        }
    }

    /// With this DiffServ code point (0 to 63) on what it sends.
    #[must_use]
    pub const fn with_dscp(mut self, dscp: u8) -> Self {
        self.traffic_class = dscp << 2;
        self
    }

    /// Sends to the source that the flow in slot `opposite` learned, once it
    /// learned one.
    #[must_use]
    pub const fn following(mut self, opposite: u32) -> Self {
        self.opposite = opposite;
        self.flags |= FLAG_FOLLOW;
        self
    }

    /// As body number `sequence` of its slot, in learning epoch `epoch`.
    #[must_use]
    pub const fn published_as(mut self, sequence: u32, epoch: u32) -> Self {
        self.sequence = sequence;
        self.epoch = epoch;
        self
    }

    /// The sequence number of this body.
    #[inline(always)]
    #[must_use]
    pub const fn sequence(&self) -> u32 {
        self.sequence
    }

    /// The learning epoch.
    #[inline(always)]
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether RTCP is expected; RTP otherwise.
    #[inline(always)]
    #[must_use]
    pub const fn is_rtcp(&self) -> bool {
        self.content == CONTENT_RTCP
    }

    /// Whether this RTP payload type was negotiated.
    #[inline(always)]
    #[must_use]
    pub const fn allows_payload_type(&self, payload_type: u8) -> bool {
        let half = if payload_type < 64 { self.payload_types[0] } else { self.payload_types[1] };
        half >> (payload_type & 63) & 1 == 1
    }

    /// Whether this source may be learned.
    #[inline(always)]
    #[must_use]
    pub fn allows_source(&self, source: &Address) -> bool {
        self.allowed.matches(source, self.allowed_prefix)
    }

    /// The traffic class of what leaves: the code point, without the two
    /// congestion bits.
    #[inline(always)]
    #[must_use]
    pub const fn traffic_class(&self) -> u8 {
        self.traffic_class
    }

    /// The next hop's slot.
    #[inline(always)]
    #[must_use]
    pub const fn hop(&self) -> u32 {
        self.hop
    }

    /// Where it leaves from.
    #[inline(always)]
    #[must_use]
    pub const fn send_from(&self) -> End {
        End { address: self.send_from, port: self.send_from_port }
    }

    /// Where it goes.
    #[inline(always)]
    #[must_use]
    pub const fn send_to(&self) -> End {
        End { address: self.send_to, port: self.send_to_port }
    }

    /// The slot of the flow whose learned source is followed.
    #[inline(always)]
    #[must_use]
    pub const fn follows(&self) -> Option<u32> {
        if self.flags & FLAG_FOLLOW == 0 { None } else { Some(self.opposite) }
    }
}

/// A place for one flow: the live body and the one to be written next.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSlot {
    /// The sequence number of the live body, at `bodies[state & 1]`; zero when
    /// there is no flow.
    pub state: u32,
    reserved: u32,
    /// The bodies.
    pub bodies: [Flow; 2],
    padding: u64,
}

/// How far a flow is with learning its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A packet is writing the source at this moment.
    Claimed,
    /// The source is fixed.
    Locked,
}

/// The source that a flow accepts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LearnedSource {
    /// Epoch and phase; see [`LearnedSource::word`].
    pub word: u64,
    /// The source address.
    pub address: Address,
    /// The source port.
    pub port: Port,
    reserved: [u16; 3],
}

impl LearnedSource {
    /// A cell with this word and source.
    #[must_use]
    pub const fn new(word: u64, source: End) -> Self {
        Self { word, address: source.address, port: source.port, reserved: [0; 3] }
    }

    /// The word of this epoch and phase.
    #[inline(always)]
    #[must_use]
    pub const fn word(epoch: u32, phase: Phase) -> u64 {
        let phase = match phase {
            Phase::Claimed => 1,
            Phase::Locked => 2,
        };
        (epoch as u64) << 32 | phase
    }

    /// The epoch that a word belongs to.
    #[inline(always)]
    #[must_use]
    pub const fn epoch_of(word: u64) -> u32 {
        (word >> 32) as u32
    }
}

/// What a flow counted; it only grows, the control plane keeps the count at
/// which the flow began.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCount {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes of UDP payload forwarded.
    pub bytes: u64,
    /// Packets that the flow's checks refused.
    pub refused: u64,
    reserved: u64,
}

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
    let [a, b, c, d, e, f] = mac;
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), u16::from_ne_bytes([e, f])]
}

/// The kernel memory of all maps for `slots` slots and `cpus` possible CPUs, in
/// bytes. Small per-map overheads of the kernel are not counted.
#[must_use]
pub const fn map_bytes(slots: u64, cpus: u64) -> u64 {
    let per_slot = size_of::<FlowSlot>() + size_of::<LearnedSource>() + size_of::<FlowCount>();
    let verdicts = Verdict::COUNT as u64 * size_of::<u64>() as u64 * cpus;
    // A device map keeps a bucket and, per device, one record of at most a cache line or two.
    let devices = MAX_DEVICES as u64 * 128;
    let log = 128 * 1024;
    slots * per_slot as u64
        + MAX_HOPS as u64 * size_of::<HopSlot>() as u64
        + verdicts
        + devices
        + log
        + size_of::<Layout>() as u64
}

const _: () = {
    assert!(size_of::<Flow>() == 88 && align_of::<Flow>() == 8);
    assert!(size_of::<FlowSlot>() == 192 && offset_of!(FlowSlot, bodies) == 8);
    assert!(size_of::<LearnedSource>() == 32 && offset_of!(LearnedSource, address) == 8);
    assert!(size_of::<FlowCount>() == 32);
    assert!(size_of::<Hop>() == 20 && size_of::<HopSlot>() == 32);
    assert!(size_of::<Layout>() == 16 + MAX_ADDRESSES * 17);
};

#[cfg(feature = "user")]
mod pod {
    use super::{FlowCount, FlowSlot, HopSlot, Layout, LearnedSource};

    // SAFETY: `repr(C)` of integers and of `repr(transparent)` integers, every
    // byte is a field (the size asserts above leave no room for padding), and
    // every bit pattern is a value.
    unsafe impl aya::Pod for FlowSlot {}
    // SAFETY: as above.
    unsafe impl aya::Pod for LearnedSource {}
    // SAFETY: as above.
    unsafe impl aya::Pod for FlowCount {}
    // SAFETY: as above.
    unsafe impl aya::Pod for HopSlot {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Layout {}
}

#[cfg(test)]
mod tests;
