//! Header layouts, and what their fields mean.
//!
//! Every structure is made of bytes and pairs of bytes, so it needs no more
//! than the even address that headers have in a frame and the compiler may load
//! pairs at once. Nothing here knows how long the packet is: `packet` in the
//! program hands out references only within it.

use crate::abi::{Address, Port};
use crate::quality::Place;

/// `EtherType` of IPv4, in network byte order, as all that follow.
pub const ETHERTYPE_IPV4: u16 = 0x0800_u16.to_be();
/// IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd_u16.to_be();
/// IEEE 802.1Q customer tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100_u16.to_be();
/// IEEE 802.1ad service tag.
pub const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8_u16.to_be();
/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// Protocol number of IPv6 options for every hop.
pub const PROTOCOL_HOP_OPTIONS: u8 = 0;
/// Of an IPv6 routing header.
pub const PROTOCOL_ROUTING: u8 = 43;
/// Of an IPv6 fragment header.
pub const PROTOCOL_FRAGMENT: u8 = 44;
/// Of IPv6 options for the destination.
pub const PROTOCOL_DESTINATION_OPTIONS: u8 = 60;

/// Ethernet II.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ethernet {
    /// Who it is for.
    pub destination: [u16; 3],
    /// Who sent it.
    pub source: [u16; 3],
    /// What follows; in network byte order.
    pub ethertype: u16,
}

impl Ethernet {
    /// Whether it is for a group of stations (broadcast included).
    #[inline(always)]
    #[must_use]
    pub const fn is_group(&self) -> bool {
        self.destination[0].to_ne_bytes()[0] & 1 != 0
    }
}

/// A VLAN tag, after the `EtherType` that announced it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct VlanTag {
    /// Priority and VLAN; in network byte order.
    pub control: u16,
    /// What follows.
    pub ethertype: u16,
}

/// Whether a VLAN tag follows this `EtherType`.
#[inline(always)]
#[must_use]
pub const fn announces_tag(ethertype: u16) -> bool {
    ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_SERVICE_VLAN
}

/// IPv4 without options.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ipv4 {
    /// Version and header length in words.
    pub version_length: u8,
    /// DiffServ code point and congestion bits.
    pub traffic_class: u8,
    /// Header and payload, in network byte order.
    pub total_length: u16,
    /// Identification.
    pub identification: u16,
    /// Flags and fragment offset, in network byte order.
    pub fragment: u16,
    /// Hops left.
    pub ttl: u8,
    /// What follows.
    pub protocol: u8,
    /// Of the header.
    pub checksum: u16,
    /// Who sent it.
    pub source: [u16; 2],
    /// Who it is for.
    pub destination: [u16; 2],
}

impl Ipv4 {
    /// The flag that says so, among [`fragment`](Self::fragment).
    pub const DO_NOT_FRAGMENT: u16 = 0x4000_u16.to_be();

    /// The version.
    #[inline(always)]
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version_length >> 4
    }

    /// The header's length in words of four bytes.
    #[inline(always)]
    #[must_use]
    pub const fn header_words(&self) -> u8 {
        self.version_length & 0x0f
    }

    /// Header and payload in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn length(&self) -> u16 {
        u16::from_be(self.total_length)
    }

    /// Whether this is one piece of a larger packet.
    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        // More fragments, or an offset.
        self.fragment & 0x3fff_u16.to_be() != 0
    }

    /// Whether this is the piece that has the next header, or no piece.
    #[inline(always)]
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.fragment & 0x1fff_u16.to_be() == 0
    }

    /// Hops left and protocol, the pair of bytes that the checksum covers
    /// together.
    #[inline(always)]
    #[must_use]
    pub const fn ttl_word(&self) -> u16 {
        u16::from_ne_bytes([self.ttl, self.protocol])
    }

    /// The first pair of bytes.
    #[inline(always)]
    #[must_use]
    pub const fn first_word(&self) -> u16 {
        u16::from_ne_bytes([self.version_length, self.traffic_class])
    }
}

/// IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ipv6 {
    /// Version, traffic class and flow label.
    pub version_class: [u8; 4],
    /// What follows the header, in network byte order.
    pub payload_length: u16,
    /// What follows.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Who sent it.
    pub source: [u16; 8],
    /// Who it is for.
    pub destination: [u16; 8],
}

impl Ipv6 {
    /// The version.
    #[inline(always)]
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version_class[0] >> 4
    }

    /// The payload in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn length(&self) -> u16 {
        u16::from_be(self.payload_length)
    }

    /// The traffic class.
    #[inline(always)]
    #[must_use]
    pub const fn traffic_class(&self) -> u8 {
        self.version_class[0] << 4 | self.version_class[1] >> 4
    }

    /// Sets the traffic class and leaves the flow label.
    #[inline(always)]
    pub const fn set_traffic_class(&mut self, class: u8) {
        self.version_class[0] = 0x60 | class >> 4;
        self.version_class[1] = class << 4 | self.version_class[1] & 0x0f;
    }

    /// Whether the next header is an extension header (RFC 8200 section 4, and
    /// those that IANA lists).
    #[inline(always)]
    #[must_use]
    pub const fn has_extension(&self) -> bool {
        matches!(self.next_header, 0 | 43 | 44 | 50 | 51 | 60 | 135 | 139 | 140 | 253 | 254)
    }
}

/// The extension header of a piece of an IPv6 packet (RFC 8200 section 4.5).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ipv6Fragment {
    /// What follows, in the first piece.
    pub next_header: u8,
    /// Nothing.
    pub reserved: u8,
    /// Offset and flags, in network byte order.
    pub fragment: u16,
    /// Identification.
    pub identification: [u16; 2],
}

impl Ipv6Fragment {
    /// Whether this is the piece that has the next header.
    #[inline(always)]
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.fragment & 0xfff8_u16.to_be() == 0
    }
}

/// UDP.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Udp {
    /// Who sent it, in network byte order.
    pub source: u16,
    /// Who it is for, in network byte order.
    pub destination: u16,
    /// Header and payload, in network byte order.
    pub length: u16,
    /// Of pseudo-header, header and payload; zero for none.
    pub checksum: u16,
}

impl Udp {
    /// Header and payload in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn length(&self) -> u16 {
        u16::from_be(self.length)
    }

    /// The source port.
    #[inline(always)]
    #[must_use]
    pub const fn source(&self) -> Port {
        Port::from_wire(self.source)
    }

    /// The destination port.
    #[inline(always)]
    #[must_use]
    pub const fn destination(&self) -> Port {
        Port::from_wire(self.destination)
    }
}

/// What every RTP packet begins with (RFC 3550 section 5.1).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Rtp {
    /// Version, padding and extension bits, number of contributing sources.
    pub first: u8,
    /// Marker and payload type.
    pub second: u8,
    /// The sequence number, in network byte order.
    pub sequence: u16,
    /// The timestamp, in network byte order.
    pub timestamp: [u16; 2],
    /// The source, in network byte order.
    pub ssrc: [u16; 2],
}

impl Rtp {
    /// Out of a packet's first bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 12]) -> Self {
        let pair = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Self {
            first: bytes[0],
            second: bytes[1],
            sequence: pair(2),
            timestamp: [pair(4), pair(6)],
            ssrc: [pair(8), pair(10)],
        }
    }

    /// Where in its stream the packet stands.
    #[inline(always)]
    #[must_use]
    pub const fn place(&self) -> Place {
        Place {
            ssrc: join(self.ssrc[0], self.ssrc[1]),
            sequence: u16::from_be(self.sequence),
            timestamp: u32::from_be(join(self.timestamp[0], self.timestamp[1])),
        }
    }
}

/// An IPv4 address as it stands in a packet.
#[inline(always)]
#[must_use]
pub const fn address_v4(pairs: [u16; 2]) -> Address {
    Address::from_words([join(pairs[0], pairs[1]), 0, 0, 0])
}

/// An IPv6 address as it stands in a packet.
#[inline(always)]
#[must_use]
pub const fn address_v6(pairs: [u16; 8]) -> Address {
    Address::from_words([
        join(pairs[0], pairs[1]),
        join(pairs[2], pairs[3]),
        join(pairs[4], pairs[5]),
        join(pairs[6], pairs[7]),
    ])
}

/// The first two pairs of an address.
#[inline(always)]
#[must_use]
pub const fn pairs_v4(address: &Address) -> [u16; 2] {
    split(address.words()[0])
}

/// All pairs of an address.
#[inline(always)]
#[must_use]
pub const fn pairs_v6(address: &Address) -> [u16; 8] {
    let words = address.words();
    let (first, second) = (split(words[0]), split(words[1]));
    let (third, fourth) = (split(words[2]), split(words[3]));
    [first[0], first[1], second[0], second[1], third[0], third[1], fourth[0], fourth[1]]
}

/// Two pairs of bytes, as one load of four bytes would have them.
#[inline(always)]
pub(crate) const fn join(first: u16, second: u16) -> u32 {
    if cfg!(target_endian = "little") {
        first as u32 | (second as u32) << 16
    } else {
        (first as u32) << 16 | second as u32
    }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the two halves")]
const fn split(word: u32) -> [u16; 2] {
    if cfg!(target_endian = "little") {
        [word as u16, (word >> 16) as u16]
    } else {
        [(word >> 16) as u16, word as u16]
    }
}

const _: () = {
    assert!(size_of::<Ethernet>() == 14 && align_of::<Ethernet>() == 2);
    assert!(size_of::<VlanTag>() == 4);
    assert!(size_of::<Ipv4>() == 20 && align_of::<Ipv4>() == 2);
    assert!(size_of::<Ipv6>() == 40 && align_of::<Ipv6>() == 2);
    assert!(size_of::<Ipv6Fragment>() == 8);
    assert!(size_of::<Udp>() == 8);
    assert!(size_of::<Rtp>() == 12 && align_of::<Rtp>() == 2);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_through_pairs() {
        let v4 = Address::v4([192, 0, 2, 77]);
        assert_eq!(address_v4(pairs_v4(&v4)), v4);
        let v6 = Address::v6([0x20, 1, 0xd, 0xb8, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(address_v6(pairs_v6(&v6)), v6);
        assert_eq!(pairs_v4(&v4)[0].to_ne_bytes(), [192, 0]);
    }

    #[test]
    fn rtp_says_its_place_in_the_stream() {
        let bytes = [0x80, 0, 0x12, 0x34, 1, 2, 3, 4, 0xde, 0xad, 0xbe, 0xef];
        let Place { ssrc, sequence, timestamp } = Rtp::from_bytes(bytes).place();
        assert_eq!(
            (ssrc.to_ne_bytes(), sequence, timestamp),
            ([0xde, 0xad, 0xbe, 0xef], 0x1234, 0x0102_0304)
        );
    }

    #[test]
    fn fragments_are_told_by_offset_and_by_more_fragments() {
        let mut header = Ipv4 {
            version_length: 0x45,
            traffic_class: 0,
            total_length: 0,
            identification: 0,
            fragment: 0x4000_u16.to_be(),
            ttl: 64,
            protocol: PROTOCOL_UDP,
            checksum: 0,
            source: [0; 2],
            destination: [0; 2],
        };
        assert!(!header.is_fragment(), "do not fragment is no fragment");
        for bits in [0x2000_u16, 0x0001, 0x1fff, 0x6000] {
            header.fragment = bits.to_be();
            assert!(header.is_fragment(), "{bits:04x}");
        }
    }

    #[test]
    fn a_traffic_class_leaves_the_flow_label() {
        let mut header = Ipv6 {
            version_class: [0x6a, 0xbc, 0xde, 0xf0],
            payload_length: 0,
            next_header: PROTOCOL_UDP,
            hop_limit: 1,
            source: [0; 8],
            destination: [0; 8],
        };
        assert_eq!(header.traffic_class(), 0xab);
        header.set_traffic_class(0xb8);
        assert_eq!(header.version_class, [0x6b, 0x8c, 0xde, 0xf0]);
        assert_eq!(header.traffic_class(), 0xb8);
        assert_eq!(header.version(), 6);
    }
}
