//! Flows: what the control plane writes and the program reads.
//!
//! A body is in two parts. What a packet between IPv4 ends reads is its head, which fits
//! a cache line with the slot's state. The rest of the addresses is for IPv6, and the
//! allowed sources are for the packet that is learned from.

use core::ops::Deref;

use super::{Address, Counted, CountedRarely, End, Family, LearnedSource, Port};
use crate::header::join;
use crate::media::{Classes, Rule, halves};
use crate::quality::nanoseconds_per_tick;

/// What a flow's packets must look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The classes that it takes.
    pub classes: Classes,
    /// The payload types of RTP, one bit each, the lowest for type 0.
    pub payload_types: u128,
    /// Ticks per second of RTP's timestamps; zero when unknown.
    pub clock_rate: u32,
    /// Whether nothing behind a header can be read or changed.
    pub encrypted: bool,
    /// The header extensions that cross: a bit per id, the lowest for id 0.
    pub extensions: u16,
}

/// Who may send: the first `prefix` bits of `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The network's address.
    pub address: Address,
    /// How many of its bits count.
    pub prefix: u8,
}

/// Where packets leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The family of both ends.
    pub family: Family,
    /// Ours.
    pub from: End,
    /// The far one.
    pub to: End,
    /// The slot of the way between them.
    pub hop: u32,
}

const FLAG_FOLLOW: u8 = 1;
const FLAG_EXIT_V6: u8 = 2;
const FLAG_ENCRYPTED: u8 = 4;
const FLAG_TAPPED: u8 = 8;
const FLAG_RTCP_APART: u8 = 16;
const FLAG_OPPOSED: u8 = 32;

/// What a packet between IPv4 ends reads of a body.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub(super) sequence: u32,
    pub(super) epoch: u32,
    pub(super) hop: u32,
    pub(super) classes: Classes,
    pub(super) flags: u8,
    pub(super) traffic_class: u8,
    pub(super) allowed_prefix: u8,
    pub(super) payload_types: [u64; 2],
    pub(super) send_from_port: Port,
    pub(super) send_to_port: Port,
    pub(super) send_from_first: u32,
    pub(super) send_to_first: u32,
    pub(super) tick: u32,
    pub(super) opposite: u32,
    pub(super) allowed_first: u32,
}

/// What else a body has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    pub(super) send_from_rest: [u32; 3],
    pub(super) send_to_rest: [u32; 3],
    pub(super) allowed_rest: [u32; 3],
    pub(super) extensions: u16,
    pub(super) reserved: u16,
}

/// One direction of one media stream: a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    pub(super) head: Head,
    pub(super) tail: Tail,
}

/// A body where it stands.
#[derive(Clone, Copy, Debug)]
pub struct FlowView<'a> {
    head: &'a Head,
    tail: &'a Tail,
}

impl Flow {
    /// A flow that takes `content` from `allowed` and sends it by `exit`.
    #[must_use]
    pub const fn new(content: Content, allowed: Allowed, exit: Exit) -> Self {
        let (from, to, allowed_words) =
            (exit.from.address.words(), exit.to.address.words(), allowed.address.words());
        let exit_v6 = if matches!(exit.family, Family::V6) { FLAG_EXIT_V6 } else { 0 };
        let encrypted = if content.encrypted { FLAG_ENCRYPTED } else { 0 };
        let head = Head {
            sequence: 0,
            epoch: 0,
            hop: exit.hop,
            classes: content.classes,
            flags: exit_v6 | encrypted,
            traffic_class: 0,
            allowed_prefix: allowed.prefix,
            payload_types: halves(content.payload_types),
            send_from_port: exit.from.port,
            send_to_port: exit.to.port,
            send_from_first: from[0],
            send_to_first: to[0],
            tick: nanoseconds_per_tick(content.clock_rate),
            opposite: 0,
            allowed_first: allowed_words[0],
        };
        let tail = Tail {
            send_from_rest: [from[1], from[2], from[3]],
            send_to_rest: [to[1], to[2], to[3]],
            allowed_rest: [allowed_words[1], allowed_words[2], allowed_words[3]],
            extensions: content.extensions,
            reserved: 0,
        };
        Self { head, tail }
    }

    /// With this DiffServ code point (0 to 63) on what it sends.
    #[must_use]
    pub const fn with_dscp(mut self, dscp: u8) -> Self {
        self.head.traffic_class = dscp << 2;
        self
    }

    /// The other direction is the flow in slot `opposite`, which says where the far
    /// end is.
    #[must_use]
    pub const fn opposed_by(mut self, opposite: u32) -> Self {
        self.head.opposite = opposite;
        self.head.flags |= FLAG_OPPOSED;
        self
    }

    /// Sends to the source that the flow in slot `opposite` learned, once it
    /// learned one.
    #[must_use]
    pub const fn following(self, opposite: u32) -> Self {
        let mut flow = self.opposed_by(opposite);
        flow.head.flags |= FLAG_FOLLOW;
        flow
    }

    /// Sends RTCP by the exit of the flow of the next port.
    #[must_use]
    pub const fn rtcp_apart(mut self) -> Self {
        self.head.flags |= FLAG_RTCP_APART;
        self
    }

    /// With copies of its packets for the control plane, or without.
    #[must_use]
    pub const fn tapped(mut self, tapped: bool) -> Self {
        self.head.flags = if tapped { self.head.flags | FLAG_TAPPED } else { self.head.flags & !FLAG_TAPPED };
        self
    }

    /// As body number `sequence` of its slot, in learning epoch `epoch`.
    #[must_use]
    pub const fn published_as(mut self, sequence: u32, epoch: u32) -> Self {
        self.head = self.head.published_as(sequence, epoch);
        self
    }

    /// Of its parts.
    #[must_use]
    pub const fn of(head: Head, tail: Tail) -> Self {
        Self { head, tail }
    }

    /// In parts.
    #[must_use]
    pub const fn split(self) -> (Head, Tail) {
        (self.head, self.tail)
    }

    /// As the program sees it.
    #[must_use]
    pub const fn view(&self) -> FlowView<'_> {
        FlowView { head: &self.head, tail: &self.tail }
    }
}

/// All that a head says.
impl Deref for Flow {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.head
    }
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

    /// What it takes.
    #[inline(always)]
    #[must_use]
    pub const fn rule(&self) -> Rule {
        Rule { classes: self.classes, payload_types: self.payload_types, encrypted: self.is_encrypted() }
    }

    /// Whether nothing behind a header can be read or changed.
    #[inline(always)]
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.flags & FLAG_ENCRYPTED != 0
    }

    /// Whether RTP with this second byte, from the flow's source, leaves in this family
    /// for where signalling says, and nothing else is to be done with it. The half of
    /// what might be RTCP (RFC 5761 section 4) is for others to tell.
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
            && self.rule().allows_payload_type(second & 0x7f)
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

    /// Nanoseconds per tick of RTP's timestamps; zero when unknown.
    #[inline(always)]
    #[must_use]
    pub const fn tick(&self) -> u32 {
        self.tick
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

    /// The slot of the other direction.
    #[inline(always)]
    #[must_use]
    pub const fn opposite(&self) -> Option<u32> {
        if self.flags & FLAG_OPPOSED == 0 { None } else { Some(self.opposite) }
    }

    /// The slot of the flow whose learned source is followed.
    #[inline(always)]
    #[must_use]
    pub const fn follows(&self) -> Option<u32> {
        if self.flags & FLAG_FOLLOW == 0 { None } else { Some(self.opposite) }
    }
}

impl<'a> FlowView<'a> {
    /// Of its parts.
    #[inline(always)]
    #[must_use]
    pub const fn of(head: &'a Head, tail: &'a Tail) -> Self {
        Self { head, tail }
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
        joined(self.head.allowed_first, self.tail.allowed_rest).matches(source, self.head.allowed_prefix)
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

/// A place for one flow, as far as nearly every packet needs it: in the first cache line
/// the state and the head of the even body, which the control plane writes, and in the
/// second one what the program learned and counts.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSlot {
    /// The sequence number of the live body, whose parity says which one it is; zero
    /// when there is no flow.
    pub state: u32,
    reserved: u32,
    /// Of the even body.
    pub head: Head,
    /// What the program learned.
    pub learned: LearnedSource,
    /// What it counts with nearly every packet.
    pub counted: Counted,
}

/// The rest of the place.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowRest {
    /// Of the even body.
    pub even_tail: Tail,
    /// What the program counts with few packets.
    pub rarely: CountedRarely,
    /// Of the odd body.
    pub head: Head,
    /// Packets that the flow's checks refused.
    pub refused: u64,
    /// Of the odd body.
    pub tail: Tail,
    spare: [u64; 3],
}
