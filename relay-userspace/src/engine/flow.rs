//! A flow: one direction of one media stream, as the engine asks for it.
//!
//! The engine says what should arrive where, what it becomes and where it
//! leaves; a datapath (kernel or sockets) makes it so. Interfaces, next hops,
//! MAC addresses and map layouts are the datapath's business alone.

use std::net::SocketAddr;

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

/// What a flow's packets must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// RTP (RFC 3550) with one of the negotiated payload types.
    Rtp(PayloadTypes),
    /// RTCP.
    Rtcp,
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
