//! A flow: one direction of one media stream, as the engine asks for it.
//!
//! The engine says what should arrive where, what it becomes and where it
//! leaves; a datapath (kernel or sockets) makes it so. Interfaces, next hops,
//! MAC addresses and map layouts are the datapath's business alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::cdr::Traffic;
use super::ids::{LegName, SessionId};

/// One direction of one media stream. `local` is its key: at most one flow
/// arrives at an address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSpec {
    /// Whose it is.
    pub owner: FlowOwner,
    /// Where its packets arrive.
    pub local: SocketAddr,
    /// Who may send them.
    pub source: SourceRule,
    /// What they must look like.
    pub content: Content,
    /// The address and port that they leave from: the `local` of the opposite
    /// flow.
    pub send_from: SocketAddr,
    /// The far end, as signalled.
    pub send_to: SocketAddr,
    /// Whether the source that the opposite flow learned replaces `send_to`
    /// (symmetric RTP, RFC 4961), for peers behind NAT.
    pub follow_learned: bool,
    /// Whether RTCP that comes in beside RTP leaves as the flow of the next port
    /// says, which may itself take nothing: one far end shares a port and the
    /// other one does not.
    pub rtcp_apart: bool,
    /// The DiffServ code point of forwarded packets.
    pub dscp: u8,
}

/// Whose flow it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowOwner {
    /// The conversation.
    pub session: SessionId,
    /// The leg whose far end sends.
    pub leg: LegName,
}

/// Who may send: the first valid packet from `allowed` fixes the source for
/// good, and only from that address and port are packets accepted after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceRule {
    /// The addresses that signalling allows, any port.
    pub allowed: IpNet,
    /// Changes when signalling moved the far end: a flow that is updated with
    /// another generation forgets what it learned, with the same one it keeps it.
    pub generation: u8,
}

/// What a flow's packets must look like: the classes of packets (RFC 7983) that
/// it takes, and how far it may look into them. What is of none of these classes
/// is dropped by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "classes and permissions, each independent of the others")]
pub struct Content {
    /// RTP (RFC 3550) with one of these payload types.
    pub payload_types: PayloadTypes,
    /// The ticks per second of its timestamps, for jitter; zero when the
    /// session description does not say.
    pub clock_rate: u32,
    /// RTCP: on a port of its own, or beside RTP where both share one
    /// (RFC 5761).
    pub rtcp: bool,
    /// DTLS, which crosses (RFC 5764).
    pub dtls: bool,
    /// STUN, which never crosses: the daemon's own socket answers it as an
    /// ICE-lite agent (RFC 8445 section 2.5).
    pub stun: bool,
    /// Datagrams without a class, such as UDPTL (ITU-T T.38). Excludes all others.
    pub opaque: bool,
    /// Whether the far ends encrypt end to end (SRTP, RFC 3711): then what stands
    /// behind an RTP header, its padding count too, says nothing.
    pub encrypted: bool,
    /// The header extensions that were agreed on; others are not for the far end.
    pub extensions: ExtensionIds,
}

/// How far ends speak to each other over a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// RTP in the clear.
    Rtp,
    /// RTP encrypted from one far end to the other.
    Srtp {
        /// Whether they agree on its keys by DTLS on the same port (RFC 5764);
        /// otherwise the keys crossed in signalling (RFC 4568).
        dtls: bool,
    },
    /// Fax (ITU-T T.38).
    Udptl {
        /// Whether it is encrypted from one far end to the other (RFC 7345).
        dtls: bool,
    },
}

impl Transport {
    /// What both far ends speak, if there is anything.
    #[must_use]
    pub fn common(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Srtp { dtls }, Self::Srtp { dtls: other }) => Some(Self::Srtp { dtls: dtls && other }),
            (Self::Rtp | Self::Srtp { .. } | Self::Udptl { .. }, other) => (self == other).then_some(self),
        }
    }

    /// Whether nobody between the far ends can read it.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        match self {
            Self::Rtp => false,
            Self::Srtp { .. } => true,
            Self::Udptl { dtls } => dtls,
        }
    }

    /// Whether RTCP goes with it.
    #[must_use]
    pub const fn has_rtcp(self) -> bool {
        match self {
            Self::Rtp | Self::Srtp { .. } => true,
            Self::Udptl { .. } => false,
        }
    }

    /// What its packets on a port look like: media with these payload types, RTCP,
    /// or both.
    #[must_use]
    pub fn content(self, payload_types: PayloadTypes, rtcp: bool) -> Content {
        let encrypted = self.is_encrypted();
        match self {
            Self::Rtp => Content { payload_types, rtcp, ..Content::default() },
            Self::Srtp { dtls } => Content { payload_types, rtcp, dtls, encrypted, ..Content::default() },
            Self::Udptl { dtls: true } => Content { dtls: true, encrypted, ..Content::default() },
            Self::Udptl { dtls: false } => Content { opaque: true, ..Content::default() },
        }
    }
}

impl Content {
    /// RTP alone.
    #[must_use]
    pub fn rtp(payload_types: PayloadTypes) -> Self {
        Self { payload_types, ..Self::default() }
    }

    /// RTCP alone.
    #[must_use]
    pub fn rtcp() -> Self {
        Self { rtcp: true, ..Self::default() }
    }

    /// Nothing: a flow whose exit another one uses.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Whether any packet could be taken.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        !(self.has_rtp() || self.rtcp || self.dtls || self.stun || self.opaque)
    }

    /// Whether any RTP is expected.
    #[must_use]
    pub const fn has_rtp(&self) -> bool {
        self.payload_types.bits() != 0
    }

    /// The word that tables show: `rtp`, `rtcp`, `rtp+rtcp`, the same with `srtp` and
    /// `srtcp` where they are encrypted, `udptl`, `dtls` where nothing else is seen of it,
    /// or `exit` for a flow that takes nothing.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        if self.opaque {
            return "udptl";
        }
        if self.dtls && !self.has_rtp() && !self.rtcp {
            return "dtls";
        }
        match (self.encrypted, self.has_rtp(), self.rtcp) {
            (false, true, true) => "rtp+rtcp",
            (false, false, true) => "rtcp",
            (false, false, false) if self.is_nothing() => "exit",
            (false, _, false) => "rtp",
            (true, true, true) => "srtp+srtcp",
            (true, false, true) => "srtcp",
            (true, _, false) => "srtp",
        }
    }
}

/// The ids of header extensions (RFC 8285) that the session description agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds(u16);

impl ExtensionIds {
    /// With one more; what one byte cannot hold (RFC 8285 section 4.2) is ignored.
    #[must_use]
    pub const fn with(self, id: u8) -> Self {
        if matches!(id, 1..=14) { Self(self.0 | 1 << id) } else { self }
    }

    /// Those that are in both.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// From what [`Self::bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// One bit per id, that of id 1 next to the lowest.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }
}

/// The payload types that the session description agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadTypes(u128);

impl PayloadTypes {
    /// With one more type; values over 127 do not exist and are ignored.
    #[must_use]
    pub const fn with(self, payload_type: u8) -> Self {
        if payload_type < 128 { Self(self.0 | 1 << payload_type) } else { self }
    }

    /// Whether this type was agreed on.
    #[must_use]
    pub const fn contains(self, payload_type: u8) -> bool {
        payload_type < 128 && self.0 & (1 << payload_type) != 0
    }

    /// From what [`Self::bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// One bit per payload type, the lowest for type 0.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl FromIterator<u8> for PayloadTypes {
    fn from_iter<I: IntoIterator<Item = u8>>(types: I) -> Self {
        types.into_iter().fold(Self::default(), Self::with)
    }
}

/// What the datapath counted for one flow since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowStats {
    /// Accepted and forwarded.
    pub forwarded: Traffic,
    /// Refused by this flow's checks (source, class, payload type, length).
    pub refused_packets: u64,
    /// The source that was learned.
    pub learned: Option<SocketAddr>,
    /// How well its RTP arrived.
    pub quality: Quality,
}

/// How well a flow's RTP arrived (RFC 3550 section 6.4.1 and appendix A).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// Packets that its sequence numbers say were sent.
    pub expected: u64,
    /// Of these, how many did not arrive. A packet that came twice makes up for
    /// one that did not, as RFC 3550 counts.
    pub lost: u64,
    /// Packets that arrived after one with a higher sequence number.
    pub reordered: u64,
    /// The interarrival jitter, in microseconds.
    pub jitter_us: u32,
    /// Since the last packet that was accepted, to within a few packets; `None`
    /// before the first.
    pub idle: Option<Duration>,
}

impl Quality {
    /// Of two streams of one far end: the counts of both, the greater jitter, and
    /// the shorter silence.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            expected: self.expected.saturating_add(other.expected),
            lost: self.lost.saturating_add(other.lost),
            reordered: self.reordered.saturating_add(other.reordered),
            jitter_us: self.jitter_us.max(other.jitter_us),
            idle: [self.idle, other.idle].into_iter().flatten().min(),
        }
    }
}

/// What carries media, and why nothing faster does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// Which implementation.
    pub path: MediaPath,
    /// Why not a faster one, for people; `None` on the fastest.
    pub slow_because: Option<Arc<str>>,
}

impl Carrier {
    /// This implementation, which was chosen for this reason.
    #[must_use]
    pub fn new(path: MediaPath, reason: &str) -> Self {
        let is_slow = match path {
            MediaPath::XdpNative => false,
            MediaPath::XdpGeneric | MediaPath::Sockets => true,
        };
        Self { path, slow_because: is_slow.then(|| reason.into()) }
    }
}

/// Which implementation carries media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaPath {
    /// XDP in the driver.
    XdpNative,
    /// XDP in the stack's receive path.
    XdpGeneric,
    /// Plain sockets.
    Sockets,
}

impl MediaPath {
    /// The word that tables and records show.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
            Self::Sockets => "sockets",
        }
    }
}
