//! The `m=` line: what a media section carries, over what, and where.

use super::{MAX_FORMATS, SdpError, put};
use crate::engine::flow::PayloadTypes;

/// The tokens of an `m=` line that are repeated, each from a closed set so that
/// none can carry anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MediaLine {
    pub(super) media: &'static str,
    pub(super) protocol: Protocol,
    /// Separated by blanks.
    pub(super) formats: String,
}

impl MediaLine {
    pub(super) fn write(&self, body: &mut String, port: u16) {
        let Self { media, protocol, formats } = self;
        put(body, format_args!("m={media} {port} {} {formats}\r\n", protocol.as_str()));
    }
}

/// The media types of RFC 4566, RFC 4103, RFC 6466.
const MEDIA: [&str; 6] = ["audio", "video", "text", "application", "message", "image"];

/// The protocols that a peer may name; what it offers under another name is
/// refused under the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// RTP in the clear (RFC 3551), with early RTCP feedback (RFC 4585) or not.
    Rtp { feedback: bool },
    /// Encrypted RTP with keys in the description (RFC 3711, RFC 4568).
    Srtp { feedback: bool },
    /// Encrypted RTP with keys agreed in the media path (RFC 5764).
    DtlsSrtp { feedback: bool },
    /// Fax (ITU-T T.38).
    Udptl,
    /// Fax, encrypted (RFC 7345).
    DtlsUdptl,
    /// Instant messages over TCP (RFC 4975).
    Msrp,
    /// Anything over UDP.
    Udp,
}

impl Protocol {
    const ALL: [Self; 10] = [
        Self::Rtp { feedback: false },
        Self::Rtp { feedback: true },
        Self::Srtp { feedback: false },
        Self::Srtp { feedback: true },
        Self::DtlsSrtp { feedback: false },
        Self::DtlsSrtp { feedback: true },
        Self::Udptl,
        Self::DtlsUdptl,
        Self::Msrp,
        Self::Udp,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Rtp { feedback: false } => "RTP/AVP",
            Self::Rtp { feedback: true } => "RTP/AVPF",
            Self::Srtp { feedback: false } => "RTP/SAVP",
            Self::Srtp { feedback: true } => "RTP/SAVPF",
            Self::DtlsSrtp { feedback: false } => "UDP/TLS/RTP/SAVP",
            Self::DtlsSrtp { feedback: true } => "UDP/TLS/RTP/SAVPF",
            Self::Udptl => "udptl",
            Self::DtlsUdptl => "UDP/TLS/UDPTL",
            Self::Msrp => "TCP/MSRP",
            Self::Udp => "udp",
        }
    }

    fn named(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str().eq_ignore_ascii_case(token))
    }

    /// Whether its formats are payload types.
    const fn is_rtp(self) -> bool {
        match self {
            Self::Rtp { .. } | Self::Srtp { .. } | Self::DtlsSrtp { .. } => true,
            Self::Udptl | Self::DtlsUdptl | Self::Msrp | Self::Udp => false,
        }
    }

    /// Whether it is T.38, which has one format.
    const fn is_udptl(self) -> bool {
        match self {
            Self::Udptl | Self::DtlsUdptl => true,
            Self::Rtp { .. } | Self::Srtp { .. } | Self::DtlsSrtp { .. } | Self::Msrp | Self::Udp => false,
        }
    }

    /// Whether receivers may ask senders for something at once (RFC 4585).
    pub(super) const fn has_feedback(self) -> bool {
        match self {
            Self::Rtp { feedback } | Self::Srtp { feedback } | Self::DtlsSrtp { feedback } => feedback,
            Self::Udptl | Self::DtlsUdptl | Self::Msrp | Self::Udp => false,
        }
    }
}

/// What an `m=` line says.
pub(super) struct MediaStart {
    pub(super) port: u16,
    pub(super) line: MediaLine,
    /// In the order of preference.
    pub(super) payload_types: Vec<u8>,
}

impl MediaStart {
    pub(super) fn parse(value: &str) -> Result<Self, SdpError> {
        let broken = SdpError::Malformed('m');
        let mut words = value.split_ascii_whitespace();
        let (Some(media), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
            return Err(broken);
        };
        // `port/count` (RFC 4566 section 5.14) is for layered encodings: a single pair is anchored.
        let port = port.split('/').next().and_then(|port| port.parse().ok()).ok_or(broken)?;
        let media =
            MEDIA.into_iter().find(|known| known.eq_ignore_ascii_case(media)).unwrap_or("application");
        let protocol = Protocol::named(protocol).unwrap_or(Protocol::Udp);
        if !protocol.is_rtp() {
            // Its formats are free text; whoever is refused needs only one of the right shape.
            let formats = if protocol.is_udptl() { "t38" } else { "*" }.to_owned();
            return Ok(Self {
                port,
                line: MediaLine { media, protocol, formats },
                payload_types: Vec::new(),
            });
        }
        let mut formats = String::new();
        let mut payload_types = Vec::new();
        for word in words {
            if payload_types.len() == MAX_FORMATS {
                return Err(SdpError::TooMany);
            }
            let payload_type = word.parse::<u8>().ok().filter(|&pt| pt < 128).ok_or(broken)?;
            put(
                &mut formats,
                format_args!("{}{payload_type}", if payload_types.is_empty() { "" } else { " " }),
            );
            payload_types.push(payload_type);
        }
        if payload_types.is_empty() {
            return Err(broken);
        }
        Ok(Self { port, line: MediaLine { media, protocol, formats }, payload_types })
    }

    /// The payload types without their order.
    pub(super) fn payload_set(&self) -> PayloadTypes {
        self.payload_types.iter().copied().collect()
    }

    /// Whether it is switched on, and of a kind that we relay.
    pub(super) fn is_relayed(&self) -> bool {
        let media = self.line.media;
        let fits = match self.line.protocol {
            Protocol::Rtp { .. } | Protocol::Srtp { .. } | Protocol::DtlsSrtp { .. } => {
                matches!(media, "audio" | "video")
            }
            Protocol::Udptl | Protocol::DtlsUdptl => media == "image",
            Protocol::Msrp | Protocol::Udp => false,
        };
        self.port != 0 && fits
    }
}
