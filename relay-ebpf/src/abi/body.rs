//! The parts of a flow: what the program reads.
//!
//! What nearly every packet between IPv4 ends reads is a body's head,
//! which leaves half of a cache line to others. The rest of the addresses is for IPv6, the
//! allowed sources are for the packet that is learned from, and the set of all payload
//! types for one of a type that is not among the first few.

use core::ops::Deref;

use super::{Address, End, Family, Port};
use crate::header::join;
use crate::media::{Classes, Rule};

pub(super) const FLAG_FOLLOW: u8 = 1;
pub(super) const FLAG_EXIT_V6: u8 = 2;
pub(super) const FLAG_ENCRYPTED: u8 = 4;
pub(super) const FLAG_TAPPED: u8 = 8;
pub(super) const FLAG_RTCP_APART: u8 = 16;
pub(super) const FLAG_OPPOSED: u8 = 32;

/// Payload types that a head has room for; sessions rarely agree on more.
const USUAL_TYPES: usize = 4;
/// In their place where there are fewer: no type, since these have seven bits.
const NO_TYPE: u8 = 0xff;

/// What nearly every packet between IPv4 ends reads of a body.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub(super) sequence: u32,
    pub(super) epoch: u32,
    pub(super) hop: u32,
    pub(super) send_from_first: u32,
    pub(super) send_to_first: u32,
    pub(super) send_from_port: Port,
    pub(super) send_to_port: Port,
    pub(super) usual_types: [u8; USUAL_TYPES],
    pub(super) classes: Classes,
    pub(super) flags: u8,
    pub(super) traffic_class: u8,
    pub(super) reserved: u8,
}

/// What else a body has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    pub(super) send_from_rest: [u32; 3],
    pub(super) send_to_rest: [u32; 3],
    pub(super) tick: u32,
    pub(super) opposite: u32,
    pub(super) payload_types: [u64; 2],
    pub(super) allowed: Address,
    pub(super) extensions: u16,
    pub(super) allowed_prefix: u8,
    pub(super) reserved: [u8; 5],
}

/// A body where it stands.
#[derive(Clone, Copy, Debug)]
pub struct FlowView<'a> {
    head: &'a Head,
    tail: &'a Tail,
}

impl Head {
    /// As that of body number `sequence` of its slot, in learning epoch `epoch`.
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

    /// Whether signalling has moved its far end since it was made.
    #[inline(always)]
    #[must_use]
    pub const fn was_moved(&self) -> bool {
        self.epoch & 0xff != 0
    }

    /// Whether nothing behind a header can be read or changed.
    #[inline(always)]
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.flags & FLAG_ENCRYPTED != 0
    }

    /// Whether RTP with this second byte, from the flow's source, leaves in this family
    /// for where signalling says, and nothing else is to be done with it. The half of
    /// what might be RTCP (RFC 5761 section 4) is for others to tell, and so is a payload
    /// type that is none of the usual ones.
    #[inline(always)]
    #[must_use]
    pub const fn sends_straight(&self, family: Family, second: u8) -> bool {
        let flags = self.flags & (FLAG_FOLLOW | FLAG_TAPPED | FLAG_EXIT_V6);
        let expected = match family {
            Family::V4 => 0,
            Family::V6 => FLAG_EXIT_V6,
        };
        flags == expected
            && self.classes.are_rtp()
            && second & 0x60 != 0x40
            && self.has_usual_type(second & 0x7f)
    }

    /// Whether this RTP payload type is one of those that are here.
    #[inline(always)]
    const fn has_usual_type(&self, payload_type: u8) -> bool {
        // Whether a byte of the difference is zero, for all four at once.
        const LOWEST: u32 = 0x0101_0101;
        let differing = u32::from_ne_bytes(self.usual_types) ^ (payload_type as u32 * LOWEST);
        differing.wrapping_sub(LOWEST) & !differing & (LOWEST << 7) != 0
    }

    /// Whether the control plane wants copies of its packets.
    #[inline(always)]
    #[must_use]
    pub const fn is_tapped(&self) -> bool {
        self.flags & FLAG_TAPPED != 0
    }

    /// Whether RTCP leaves by the exit of the flow of the next port.
    #[inline(always)]
    #[must_use]
    pub const fn sends_rtcp_apart(&self) -> bool {
        self.flags & FLAG_RTCP_APART != 0
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

    /// The family of what leaves.
    #[inline(always)]
    #[must_use]
    pub const fn exit_family(&self) -> Family {
        if self.flags & FLAG_EXIT_V6 == 0 { Family::V4 } else { Family::V6 }
    }

    /// The first words of both addresses, which are all of IPv4's.
    #[inline(always)]
    #[must_use]
    pub const fn first_words(&self) -> [u32; 2] {
        [self.send_from_first, self.send_to_first]
    }

    /// The ports of both ends, as one word of a packet.
    #[inline(always)]
    #[must_use]
    pub const fn ports(&self) -> u32 {
        join(self.send_from_port.to_wire(), self.send_to_port.to_wire())
    }
}

impl<'a> FlowView<'a> {
    /// Of its parts.
    #[inline(always)]
    #[must_use]
    pub const fn of(head: &'a Head, tail: &'a Tail) -> Self {
        Self { head, tail }
    }

    /// What it takes.
    #[inline(always)]
    #[must_use]
    pub const fn rule(self) -> Rule {
        Rule {
            classes: self.head.classes,
            payload_types: self.tail.payload_types,
            encrypted: self.head.is_encrypted(),
        }
    }

    /// Nanoseconds per tick of RTP's timestamps; zero when unknown.
    #[inline(always)]
    #[must_use]
    pub const fn tick(self) -> u32 {
        self.tail.tick
    }

    /// The slot of the other direction.
    #[inline(always)]
    #[must_use]
    pub const fn opposite(self) -> Option<u32> {
        if self.head.flags & FLAG_OPPOSED == 0 { None } else { Some(self.tail.opposite) }
    }

    /// The slot of the flow whose learned source is followed.
    #[inline(always)]
    #[must_use]
    pub const fn follows(self) -> Option<u32> {
        if self.head.flags & FLAG_FOLLOW == 0 { None } else { Some(self.tail.opposite) }
    }

    /// The header extensions that cross: a bit per id, the lowest for id 0.
    #[inline(always)]
    #[must_use]
    pub const fn extensions(self) -> u16 {
        self.tail.extensions
    }

    /// Whether this source may be learned.
    #[inline(always)]
    #[must_use]
    pub fn allows_source(self, source: &Address) -> bool {
        self.tail.allowed.matches(source, self.tail.allowed_prefix)
    }

    /// Where it leaves from.
    #[inline(always)]
    #[must_use]
    pub const fn send_from(self) -> End {
        End {
            address: joined(self.head.send_from_first, self.tail.send_from_rest),
            port: self.head.send_from_port,
        }
    }

    /// Where it goes.
    #[inline(always)]
    #[must_use]
    pub const fn send_to(self) -> End {
        End { address: joined(self.head.send_to_first, self.tail.send_to_rest), port: self.head.send_to_port }
    }

    /// Whether it goes to `end`, of the family in question; compared where it stands.
    #[inline(always)]
    #[must_use]
    pub const fn goes_to(self, family: Family, end: &End) -> bool {
        let words = end.address.words();
        if self.head.send_to_port.to_wire() != end.port.to_wire() || self.head.send_to_first != words[0] {
            return false;
        }
        match (family, self.head.exit_family()) {
            (Family::V4, Family::V4) => true,
            (Family::V6, Family::V6) => {
                let [second, third, fourth] = self.tail.send_to_rest;
                second == words[1] && third == words[2] && fourth == words[3]
            }
            (Family::V4, Family::V6) | (Family::V6, Family::V4) => false,
        }
    }
}

/// All that its head says.
impl Deref for FlowView<'_> {
    type Target = Head;

    #[inline(always)]
    fn deref(&self) -> &Head {
        self.head
    }
}

#[inline(always)]
const fn joined(first: u32, rest: [u32; 3]) -> Address {
    Address::from_words([first, rest[0], rest[1], rest[2]])
}

/// The payload types that a head has room for, the lowest ones.
#[allow(clippy::cast_possible_truncation, reason = "the number of a bit")]
pub(super) const fn usual(payload_types: u128) -> [u8; USUAL_TYPES] {
    let mut usual = [NO_TYPE; USUAL_TYPES];
    let mut left = payload_types;
    let mut index = 0;
    while index < USUAL_TYPES && left != 0 {
        usual[index] = left.trailing_zeros() as u8;
        left &= left - 1;
        index += 1;
    }
    usual
}
