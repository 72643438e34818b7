//! Flows: what the control plane writes.

use core::ops::Deref;

use super::body::{
    FLAG_ENCRYPTED, FLAG_EXIT_V6, FLAG_FOLLOW, FLAG_OPPOSED, FLAG_RTCP_APART, FLAG_TAPPED, usual,
};
use super::{Address, End, Family, FlowView, Head, Tail};
use crate::media::{Classes, halves};
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

/// One direction of one media stream: a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    pub(super) head: Head,
    pub(super) tail: Tail,
}

impl Flow {
    /// A flow that takes `content` from `allowed` and sends it by `exit`.
    #[must_use]
    pub const fn new(content: Content, allowed: Allowed, exit: Exit) -> Self {
        let (from, to) = (exit.from.address.words(), exit.to.address.words());
        let exit_v6 = if matches!(exit.family, Family::V6) { FLAG_EXIT_V6 } else { 0 };
        let encrypted = if content.encrypted { FLAG_ENCRYPTED } else { 0 };
        let head = Head {
            sequence: 0,
            epoch: 0,
            hop: exit.hop,
            send_from_first: from[0],
            send_to_first: to[0],
            send_from_port: exit.from.port,
            send_to_port: exit.to.port,
            usual_types: usual(content.payload_types),
            classes: content.classes,
            flags: exit_v6 | encrypted,
            traffic_class: 0,
            reserved: 0,
        };
        let tail = Tail {
            send_from_rest: [from[1], from[2], from[3]],
            send_to_rest: [to[1], to[2], to[3]],
            tick: nanoseconds_per_tick(content.clock_rate),
            opposite: 0,
            payload_types: halves(content.payload_types),
            allowed: allowed.address,
            extensions: content.extensions,
            allowed_prefix: allowed.prefix,
            reserved: [0; 5],
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
        self.tail.opposite = opposite;
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
        FlowView::of(&self.head, &self.tail)
    }
}

/// All that a head says.
impl Deref for Flow {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.head
    }
}
