//! Session descriptions (RFC 4566): what a far end said, and what we say.
//!
//! A description is read line by line and only what the allow-list names is
//! kept, so nothing else can cross: of a media section its kind, protocol and
//! formats, where it wants its media (`c=`, the port, `a=rtcp:`), its direction
//! and the codec attributes `rtpmap`, `fmtp`, `ptime`, `maxptime`. Origin,
//! session name, information, addresses, bandwidth, candidates, keys, sources,
//! labels and whatever else a peer writes end here. What we send is written
//! from scratch with our origin and our addresses.
//!
//! Media sections correspond by position in offer and answer (RFC 3264 section
//! 6), so one that we do not relay stays, with port zero. Relayed are `audio`
//! and `video` over `RTP/AVP`; a host name as an address is refused, since the
//! engine resolves nothing.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use crate::engine::flow::PayloadTypes;

/// Media sections of one description; more are refused.
pub(crate) const MAX_STREAMS: usize = 8;
/// Formats of one media section; more are refused.
const MAX_FORMATS: usize = 32;
/// Bytes of the value of one codec attribute; a longer one is dropped.
const MAX_ATTRIBUTE: usize = 512;
/// As many digits in a row identify somebody, and no codec parameter of ours
/// has them.
const NUMBER_LIKE: usize = 7;

/// Why a description cannot be relayed. Never carries its text.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum SdpError {
    /// Not a session description, or a line that we need is broken.
    #[error("the session description's '{0}=' line cannot be read")]
    Malformed(char),
    /// More sections or formats than we relay.
    #[error("the session description has too many media sections or formats")]
    TooMany,
}

/// What a far end said about the media that it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// In the order of its `m=` lines.
    pub(crate) streams: Vec<Stream>,
}

/// One media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    /// What we make of it.
    pub(crate) content: StreamContent,
    /// The media, protocol and format tokens of the `m=` line.
    line: MediaLine,
}

/// What we make of a media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamContent {
    /// Refused or switched off by the far end, or nothing that we relay.
    Off,
    /// RTP that we relay.
    Rtp(Rtp),
}

/// A media section that we relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rtp {
    /// Where its media is wanted. `None` when the far end named the unspecified
    /// address, which is how RFC 2543 put a call on hold.
    pub(crate) far: Option<FarEnd>,
    /// Who sends, seen from the far end.
    pub(crate) direction: Direction,
    /// Its payload types.
    pub(crate) payload_types: PayloadTypes,
    /// The allow-listed attributes, each a line with its end.
    attributes: String,
}

/// Where a far end wants its media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FarEnd {
    /// RTP.
    pub(crate) rtp: SocketAddr,
    /// RTCP: the next port, unless `a=rtcp:` says otherwise (RFC 3605).
    pub(crate) rtcp: SocketAddr,
}

/// Who sends (RFC 3264 section 5.1), seen from the describing side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Both.
    #[default]
    SendRecv,
    /// The describing side alone.
    SendOnly,
    /// The other side alone.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    fn parse(attribute: &str) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive]
            .into_iter()
            .find(|direction| direction.as_str() == attribute)
    }

    /// The same without receiving: what the unspecified address means.
    const fn without_receiving(self) -> Self {
        match self {
            Self::SendRecv | Self::SendOnly => Self::SendOnly,
            Self::RecvOnly | Self::Inactive => Self::Inactive,
        }
    }
}

/// The tokens of an `m=` line that are repeated, each from a closed set so that
/// none can carry anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MediaLine {
    media: &'static str,
    protocol: &'static str,
    /// Separated by blanks.
    formats: String,
}

/// The media types of RFC 4566, RFC 4103, RFC 6466.
const MEDIA: [&str; 6] = ["audio", "video", "text", "application", "message", "image"];
/// The protocols that a peer may name; what it offers under another name is
/// refused under the last one.
const PROTOCOLS: [&str; 9] = [
    "RTP/AVP",
    "RTP/SAVP",
    "RTP/AVPF",
    "RTP/SAVPF",
    "UDP/TLS/RTP/SAVP",
    "UDP/TLS/RTP/SAVPF",
    "udptl",
    "TCP/MSRP",
    "udp",
];

impl Description {
    /// Reads a description. Line ends may be CRLF or LF; lines that we do not
    /// keep need not even be text.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, SdpError> {
        let mut lines = body
            .split(|&byte| byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .filter(|line| !line.is_empty());
        if lines.next() != Some(b"v=0") {
            return Err(SdpError::Malformed('v'));
        }
        let mut session = Section::default();
        let mut sections: Vec<(MediaStart, Section)> = Vec::new();
        for line in lines {
            let [kind, b'=', value @ ..] = line else { return Err(SdpError::Malformed('?')) };
            if *kind == b'm' {
                if sections.len() == MAX_STREAMS {
                    return Err(SdpError::TooMany);
                }
                sections.push((MediaStart::parse(text(value, 'm')?)?, session.inherited()));
            } else {
                let section = sections.last_mut().map_or(&mut session, |(_, section)| section);
                section.take(*kind, value)?;
            }
        }
        let streams =
            sections.into_iter().map(|(start, section)| start.finish(section)).collect::<Result<_, _>>()?;
        Ok(Self { streams })
    }

    /// Whether any section is one that we relay.
    pub(crate) fn is_relayable(&self) -> bool {
        self.streams.iter().any(|stream| matches!(stream.content, StreamContent::Rtp(_)))
    }

    /// Writes the description as ours: with our address for the sections that
    /// have one in `anchors` (by position), and port zero for the others.
    /// `offer` is what is being answered: the answer gets as many sections, and
    /// a refused one repeats its line.
    pub(crate) fn write(
        &self,
        origin: Origin,
        anchors: &[Option<SocketAddr>],
        offer: Option<&Self>,
    ) -> String {
        let mut body = String::with_capacity(512);
        let our_address = anchors.iter().flatten().next().map_or(origin.address, SocketAddr::ip);
        put(
            &mut body,
            format_args!(
                "v=0\r\no=- {} {} IN {}\r\ns=-\r\nc=IN {}\r\nt=0 0\r\n",
                origin.id,
                origin.version,
                Connection(origin.address),
                Connection(our_address)
            ),
        );
        let corresponding = &offer.unwrap_or(self).streams;
        for (index, counterpart) in corresponding.iter().enumerate() {
            let anchor = anchors.get(index).copied().flatten();
            if let (Some(Stream { content: StreamContent::Rtp(rtp), line }), Some(anchor)) =
                (self.streams.get(index), anchor)
            {
                let MediaLine { media, protocol, formats } = line;
                put(&mut body, format_args!("m={media} {} {protocol} {formats}\r\n", anchor.port()));
                if anchor.ip() != our_address {
                    put(&mut body, format_args!("c=IN {}\r\n", Connection(anchor.ip())));
                }
                put(&mut body, format_args!("{}a={}\r\n", rtp.attributes, rtp.direction.as_str()));
            } else {
                let MediaLine { media, protocol, formats } = &counterpart.line;
                put(&mut body, format_args!("m={media} 0 {protocol} {formats}\r\n"));
            }
        }
        body
    }
}

/// The `o=` line of one leg (RFC 4566 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Fixed for the leg.
    pub(crate) id: u64,
    /// One more whenever the description changes (RFC 3264 section 8).
    pub(crate) version: u64,
    /// An address of ours.
    pub(crate) address: IpAddr,
}

/// What may stand in the session part and in each media section.
#[derive(Clone, Debug, Default)]
struct Section {
    address: Option<IpAddr>,
    rtcp: Option<(u16, Option<IpAddr>)>,
    direction: Option<Direction>,
    attributes: Vec<(Codec, String)>,
}

/// An allow-listed codec attribute, and the payload type that it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Of(u8),
    Any,
}

impl Section {
    /// What a media section starts from (RFC 4566 sections 5.7 and 6).
    fn inherited(&self) -> Self {
        Self { address: self.address, direction: self.direction, rtcp: None, attributes: Vec::new() }
    }

    fn take(&mut self, kind: u8, value: &[u8]) -> Result<(), SdpError> {
        match kind {
            b'c' => {
                let value = text(value, 'c')?;
                self.address = Some(connection(value).ok_or(SdpError::Malformed('c'))?);
            }
            b'a' => {
                // An attribute that is not text is none that we keep.
                if let Ok(attribute) = std::str::from_utf8(value) {
                    self.attribute(attribute.trim_end());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn attribute(&mut self, attribute: &str) {
        if let Some(direction) = Direction::parse(attribute) {
            self.direction = Some(direction);
            return;
        }
        let Some((name, value)) = attribute.split_once(':') else { return };
        if value.len() > MAX_ATTRIBUTE {
            return;
        }
        match name {
            "rtcp" => self.rtcp = rtcp(value),
            "rtpmap" => self.attributes.extend(rtpmap(value)),
            "fmtp" => self.attributes.extend(fmtp(value)),
            "ptime" | "maxptime" => {
                if let Ok(milliseconds) = value.trim().parse::<u16>() {
                    self.attributes.push((Codec::Any, format!("a={name}:{milliseconds}\r\n")));
                }
            }
            _ => {}
        }
    }
}

/// What an `m=` line says.
struct MediaStart {
    port: u16,
    relayed: bool,
    line: MediaLine,
    payload_types: PayloadTypes,
}

impl MediaStart {
    fn parse(value: &str) -> Result<Self, SdpError> {
        let broken = SdpError::Malformed('m');
        let mut words = value.split_ascii_whitespace();
        let (Some(media), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
            return Err(broken);
        };
        // `port/count` (RFC 4566 section 5.14) is for layered encodings: a single pair is anchored.
        let port = port.split('/').next().and_then(|port| port.parse().ok()).ok_or(broken)?;
        let media = known(&MEDIA, media).unwrap_or("application");
        let protocol = known(&PROTOCOLS, protocol).unwrap_or("udp");
        let relayed = matches!(media, "audio" | "video") && protocol == "RTP/AVP";
        if !protocol.contains("RTP/") {
            // Its formats are free text; whoever is refused needs only one of the right shape.
            let formats = if protocol == "udptl" { "t38" } else { "*" }.to_owned();
            let line = MediaLine { media, protocol, formats };
            return Ok(Self { port, relayed: false, line, payload_types: PayloadTypes::default() });
        }
        let mut formats = String::new();
        let mut payload_types = PayloadTypes::default();
        for (index, word) in words.enumerate() {
            if index == MAX_FORMATS {
                return Err(SdpError::TooMany);
            }
            let payload_type = word.parse::<u8>().ok().filter(|&pt| pt < 128).ok_or(broken)?;
            payload_types = payload_types.with(payload_type);
            put(&mut formats, format_args!("{}{payload_type}", if index == 0 { "" } else { " " }));
        }
        if formats.is_empty() {
            return Err(broken);
        }
        Ok(Self { port, relayed, line: MediaLine { media, protocol, formats }, payload_types })
    }

    fn finish(self, section: Section) -> Result<Stream, SdpError> {
        let Self { port, relayed, line, payload_types } = self;
        if !relayed || port == 0 {
            return Ok(Stream { content: StreamContent::Off, line });
        }
        let address = section.address.ok_or(SdpError::Malformed('c'))?;
        let mut direction = section.direction.unwrap_or_default();
        let far = if address.is_unspecified() {
            direction = direction.without_receiving();
            None
        } else {
            let (rtcp_port, rtcp_address) = section.rtcp.unwrap_or((port.saturating_add(1), None));
            let rtcp = SocketAddr::new(rtcp_address.unwrap_or(address), rtcp_port);
            Some(FarEnd { rtp: SocketAddr::new(address, port), rtcp })
        };
        let attributes = section
            .attributes
            .into_iter()
            .filter(|(codec, _)| match codec {
                Codec::Of(payload_type) => payload_types.contains(*payload_type),
                Codec::Any => true,
            })
            .map(|(_, line)| line)
            .collect();
        Ok(Stream { content: StreamContent::Rtp(Rtp { far, direction, payload_types, attributes }), line })
    }
}

/// `IP4 192.0.2.1` or `IP6 2001:db8::1`.
struct Connection(IpAddr);

impl std::fmt::Display for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", if self.0.is_ipv4() { "IP4" } else { "IP6" }, self.0)
    }
}

fn put(body: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing into a String does not fail.
    let _ = body.write_fmt(what);
}

fn text(value: &[u8], line: char) -> Result<&str, SdpError> {
    std::str::from_utf8(value).map_err(|_| SdpError::Malformed(line))
}

fn known<const N: usize>(set: &[&'static str; N], token: &str) -> Option<&'static str> {
    set.iter().copied().find(|known| known.eq_ignore_ascii_case(token))
}

/// The unicast address of `IN IP4 192.0.2.1`.
fn connection(value: &str) -> Option<IpAddr> {
    let mut words = value.split_ascii_whitespace();
    let (net, family, address) = (words.next()?, words.next()?, words.next()?);
    let address: IpAddr = address.parse().ok()?;
    let family_fits = match family {
        "IP4" => address.is_ipv4(),
        "IP6" => address.is_ipv6(),
        _ => false,
    };
    (net == "IN" && family_fits && !address.is_multicast()).then_some(address)
}

/// `53020` or `53020 IN IP4 126.16.64.4` (RFC 3605 section 2.1); what cannot be
/// read is as good as absent.
fn rtcp(value: &str) -> Option<(u16, Option<IpAddr>)> {
    let (port, address) = value.split_once(' ').map_or((value, None), |(port, rest)| (port, Some(rest)));
    let port = port.trim().parse().ok().filter(|&port| port != 0)?;
    match address {
        None => Some((port, None)),
        Some(address) => Some((port, Some(connection(address).filter(|address| !address.is_unspecified())?))),
    }
}

/// `0 PCMU/8000`, `111 opus/48000/2` (RFC 4566 section 6).
fn rtpmap(value: &str) -> Option<(Codec, String)> {
    let (payload_type, encoding) = value.trim().split_once(' ')?;
    let payload_type: u8 = payload_type.parse().ok()?;
    let mut parts = encoding.trim().split('/');
    let (name, clock, channels) = (parts.next()?, parts.next()?.parse::<u32>().ok()?, parts.next());
    let name_fits = (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte))
        && !looks_like_a_number(name);
    if !name_fits || clock > 999_999 || parts.next().is_some() {
        return None;
    }
    let mut line = format!("a=rtpmap:{payload_type} {name}/{clock}");
    if let Some(channels) = channels {
        put(&mut line, format_args!("/{}", channels.parse::<u8>().ok()?));
    }
    line.push_str("\r\n");
    Some((Codec::Of(payload_type), line))
}

/// `101 0-16`, `97 mode=30; octet-align=1`: parameters that could carry a
/// telephone number are left out.
fn fmtp(value: &str) -> Option<(Codec, String)> {
    let (payload_type, parameters) = value.trim().split_once(' ')?;
    let payload_type: u8 = payload_type.parse().ok()?;
    let kept: Vec<&str> = parameters
        .split(';')
        .map(str::trim)
        .filter(|parameter| {
            !parameter.is_empty()
                && parameter.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
                && !parameter.contains('@')
                && !looks_like_a_number(parameter)
        })
        .collect();
    if kept.is_empty() {
        return None;
    }
    Some((Codec::Of(payload_type), format!("a=fmtp:{payload_type} {}\r\n", kept.join(";"))))
}

fn looks_like_a_number(text: &str) -> bool {
    let mut digits = 0;
    text.bytes().any(|byte| {
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        digits >= NUMBER_LIKE
    })
}

#[cfg(test)]
mod tests;
