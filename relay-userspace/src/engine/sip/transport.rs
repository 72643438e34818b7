//! How SIP travels: the transports, and the way of one message.
//!
//! Whether a connection exists is the network's business. What stands here is
//! what everybody else has to know of a transport: its words in messages, its
//! default port, and whether it repairs losses by itself.

use std::fmt;
use std::net::SocketAddr;

/// A transport of SIP that we speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams.
    #[default]
    Udp,
    /// Connections.
    Tcp,
    /// Connections that nobody else reads.
    Tls,
}

impl Transport {
    /// As Via writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// As configuration, tables and URI parameters write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// The port where none is written (RFC 3261 sections 18.2.2 and 19.1.2).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }

    /// Whether it repairs losses by itself: then nothing is sent twice and nobody
    /// waits for what might come again (RFC 3261 section 17).
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp | Self::Tls => true,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where we are reached, and over what: what Via shows of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentBy {
    /// Over what.
    pub transport: Transport,
    /// The address that peers see.
    pub address: SocketAddr,
}

impl SentBy {
    /// Over UDP.
    #[must_use]
    pub const fn udp(address: SocketAddr) -> Self {
        Self { transport: Transport::Udp, address }
    }
}

/// The way of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Over what.
    pub transport: Transport,
    /// The address of ours that it arrived at, or that it belongs to: what is
    /// configured, never the port that the kernel picks for a connection of ours.
    pub local: SocketAddr,
    /// The peer. An open connection with it is used.
    pub remote: SocketAddr,
    /// Where a connection is made to when none with `remote` is open (RFC 3261
    /// section 18.2.2); `remote` itself when absent. Of no meaning over UDP and for
    /// what arrived.
    pub otherwise: Option<SocketAddr>,
}

impl Way {
    /// Over UDP.
    #[must_use]
    pub const fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { transport: Transport::Udp, local, remote, otherwise: None }
    }

    /// Whether what goes this way may be lost with a connection to this peer.
    #[must_use]
    pub fn leads_over(&self, transport: Transport, remote: SocketAddr) -> bool {
        self.transport == transport && (self.remote == remote || self.otherwise == Some(remote))
    }
}
