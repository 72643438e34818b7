//! Flows: what the control plane writes and the program reads.

use super::{Address, End, Port};

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
    pub(super) sequence: u32,
    pub(super) epoch: u32,
    pub(super) content: u8,
    pub(super) allowed_prefix: u8,
    pub(super) traffic_class: u8,
    pub(super) flags: u8,
    pub(super) hop: u32,
    pub(super) payload_types: [u64; 2],
    pub(super) send_from: Address,
    pub(super) send_to: Address,
    pub(super) send_from_port: Port,
    pub(super) send_to_port: Port,
    pub(super) opposite: u32,
    pub(super) allowed: Address,
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
