//! Session descriptions (RFC 4566): what a far end said, and what we say.
//!
//! A description is read line by line and only what the allow-list names is
//! kept, so nothing else can cross: of a media section its kind, protocol and
//! formats, where it wants its media (`c=`, the port, `a=rtcp:`, `a=rtcp-mux`),
//! its direction, the codec attributes `rtpmap`, `fmtp`, `ptime`, `maxptime` and,
//! with early feedback, `rtcp-fb`; of fax, those of T.38. Where [`Rules`] say so,
//! `extmap` of the header extensions that they name, and `crypto`, `fingerprint` and
//! `setup` of a section that is encrypted. Origin, session name, information,
//! addresses, bandwidth, candidates, sources, labels and whatever else a peer writes
//! end here. What we send is written from scratch with our origin and our addresses.
//!
//! Media sections correspond by position in offer and answer (RFC 3264 section
//! 6), so one that we do not relay stays, with port zero. Relayed are `audio`
//! and `video` over RTP, fax over UDPTL, and both encrypted where the rules say so; a
//! host name as an address is refused, since the engine resolves nothing. `group` and
//! `mid` are left out, which unbundles what a peer would have bundled (RFC 9143 section
//! 7.3.3): every section has ports of its own here.
//!
//! - [`mod@line`]: the `m=` line;
//! - [`attribute`]: the other lines that are kept;
//! - [`keys`]: those that encryption needs;
//! - [`extmap`]: those of header extensions;
//! - [`fax`]: those of T.38;
//! - [`ice`]: those of ICE, which are answered and never cross.

mod attribute;
mod extmap;
mod fax;
mod ice;
mod keys;
mod line;

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use thiserror::Error;

use attribute::{Scope, Section};
pub(crate) use ice::RemoteIce;
pub use ice::{Component, IceCredentials, Token};
use line::{MediaLine, MediaStart, Protocol};

use crate::engine::config::Encryption;
use crate::engine::encoding::Encoding;
use crate::engine::flow::{ExtensionIds, PayloadTypes, Transport};

/// Media sections of one description; more are refused.
pub(crate) const MAX_STREAMS: usize = 8;
/// Formats of one media section; more are refused.
const MAX_FORMATS: usize = 32;

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

/// What may cross beside plain media, in one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Whether far ends may encrypt.
    pub(crate) encryption: Encryption,
    /// The names of header extensions.
    pub(crate) extensions: Arc<[String]>,
}

/// What a far end said about the media that it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// In the order of its `m=` lines.
    pub(crate) streams: Vec<Stream>,
    /// Whether a section is off because it is encrypted and must not be.
    pub(crate) encryption_refused: bool,
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
    /// Media that we relay.
    Relayed(Relayed),
}

impl StreamContent {
    fn speaks_ice(&self) -> bool {
        match self {
            Self::Relayed(relayed) => relayed.ice.is_some(),
            Self::Off => false,
        }
    }

    fn allows_mux(&self) -> bool {
        match self {
            Self::Relayed(relayed) => relayed.mux,
            Self::Off => false,
        }
    }
}

/// A media section that we relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    /// How it travels.
    pub(crate) transport: Transport,
    /// Where its media is wanted. `None` when the far end named the unspecified
    /// address, which is how RFC 2543 put a call on hold.
    pub(crate) far: Option<FarEnd>,
    /// Who sends, seen from the far end.
    pub(crate) direction: Direction,
    /// Its payload types.
    pub(crate) payload_types: PayloadTypes,
    /// What it prefers.
    pub(crate) codec: Codec,
    /// Whether RTCP may share the port of RTP (RFC 5761).
    pub(crate) mux: bool,
    /// The header extensions that may cross.
    pub(crate) extensions: ExtensionIds,
    /// Its part in ICE, if it checks.
    pub(crate) ice: Option<RemoteIce>,
    attributes: Lines,
}

impl Relayed {
    /// Whether our offer of it lets RTCP share the port of RTP.
    fn offers_mux(&self, to: Anchor) -> bool {
        self.mux || (to.shares && self.shares_with_us())
    }

    /// Whether our answer with it to `offer` does: that is between that far end and
    /// us, but for DTLS, whose associations are between the far ends.
    fn answers_mux(&self, offer: &StreamContent) -> bool {
        offer.allows_mux() && (self.mux || self.shares_with_us())
    }

    /// Whether a far end shares a port with us alone, whatever the other one does.
    const fn shares_with_us(&self) -> bool {
        match self.transport {
            Transport::Rtp | Transport::Srtp { dtls: false } => true,
            Transport::Srtp { dtls: true } | Transport::Udptl { .. } => false,
        }
    }
}

/// The allow-listed attributes, each a line with its end. Keys may be among them.
#[derive(Clone, Default, PartialEq, Eq)]
struct Lines(String);

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lines({} bytes)", self.0.len())
    }
}

/// A codec as it is named in a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Codec {
    /// Its name.
    pub(crate) encoding: Encoding,
    /// The ticks per second of its timestamps; zero when unknown.
    pub(crate) clock_rate: u32,
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

    /// Who sends when the describing side does so, or not, and wants to receive,
    /// or not.
    pub(crate) const fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether the describing side sends.
    pub(crate) const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether it wants to receive.
    pub(crate) const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same without receiving: what the unspecified address means.
    const fn without_receiving(self) -> Self {
        Self::of(self.sends(), false)
    }
}

impl Description {
    /// Reads a description. Line ends may be CRLF or LF; lines that we do not
    /// keep need not even be text.
    pub(crate) fn parse(body: &[u8], rules: &Rules) -> Result<Self, SdpError> {
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
        let mut encryption_refused = false;
        let mut streams = Vec::with_capacity(sections.len());
        for (start, section) in sections {
            let transport = transport(&start, &section);
            let refused =
                rules.encryption == Encryption::Strict && transport.is_some_and(Transport::is_encrypted);
            encryption_refused |= refused;
            streams.push(match transport.filter(|_| !refused) {
                Some(transport) => Stream::relayed(start, section, transport, rules)?,
                None => Stream { content: StreamContent::Off, line: start.line },
            });
        }
        Ok(Self { streams, encryption_refused })
    }

    /// Whether any section is one that we relay.
    pub(crate) fn is_relayable(&self) -> bool {
        self.streams.iter().any(|stream| matches!(stream.content, StreamContent::Relayed(_)))
    }

    /// Writes the description as ours: with our address for the sections that
    /// have one in `anchors` (by position), and port zero for the others.
    /// `offer` is what is being answered: the answer gets as many sections, and
    /// a refused one repeats its line. Whether RTCP shares the port of RTP is
    /// between this far end and us: an answer agrees to what was offered, an offer
    /// makes it to whoever does so already.
    pub(crate) fn write(&self, origin: Origin, anchors: &[Option<Anchor>], offer: Option<&Self>) -> String {
        let mut body = String::with_capacity(512);
        let our_address =
            anchors.iter().flatten().next().map_or(origin.address, |anchor| anchor.address.ip());
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
        let ice = |index: usize, counterpart: &Stream| {
            let is_on = self.streams.get(index).is_some_and(|stream| stream.content != StreamContent::Off);
            let ours = anchors.get(index).copied().flatten().and_then(|anchor| anchor.ice);
            ours.filter(|_| is_on).filter(|_| offer.is_none() || counterpart.content.speaks_ice())
        };
        let corresponding = &offer.unwrap_or(self).streams;
        if corresponding.iter().enumerate().any(|(index, stream)| ice(index, stream).is_some()) {
            body.push_str("a=ice-lite\r\n");
        }
        for (index, counterpart) in corresponding.iter().enumerate() {
            let anchor = anchors.get(index).copied().flatten();
            if let (Some(Stream { content: StreamContent::Relayed(relayed), line }), Some(anchor)) =
                (self.streams.get(index), anchor)
            {
                line.write(&mut body, anchor.address.port());
                if anchor.address.ip() != our_address {
                    put(&mut body, format_args!("c=IN {}\r\n", Connection(anchor.address.ip())));
                }
                put(&mut body, format_args!("{}a={}\r\n", relayed.attributes.0, relayed.direction.as_str()));
                let shares = match offer {
                    Some(_) => relayed.answers_mux(&counterpart.content),
                    None => relayed.offers_mux(anchor),
                };
                if shares {
                    body.push_str("a=rtcp-mux\r\n");
                }
                if let Some(ours) = ice(index, counterpart) {
                    let rtcp_apart = relayed.transport.has_rtcp() && (offer.is_none() || !shares);
                    ice::write(&mut body, &ours, anchor.address, rtcp_apart);
                }
            } else {
                counterpart.line.write(&mut body, 0);
            }
        }
        body
    }
}

/// Where we want the media of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// Our address and port of RTP, as the far end is to see it; RTCP is one above.
    pub(crate) address: SocketAddr,
    /// Whether the far end shares that port for RTCP now.
    pub(crate) shares: bool,
    /// What we are known by in ICE, where that is spoken.
    pub(crate) ice: Option<IceCredentials>,
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

impl Stream {
    /// Whether it carries speech.
    pub(crate) fn is_audio(&self) -> bool {
        self.line.media == "audio"
    }

    fn relayed(
        start: MediaStart,
        section: Section,
        transport: Transport,
        rules: &Rules,
    ) -> Result<Self, SdpError> {
        let address = section.address.ok_or(SdpError::Malformed('c'))?;
        let mut direction = section.direction.unwrap_or_default();
        let far = if address.is_unspecified() {
            direction = direction.without_receiving();
            None
        } else {
            let (rtcp_port, rtcp_address) = section.rtcp.unwrap_or((start.port.saturating_add(1), None));
            let rtcp = SocketAddr::new(rtcp_address.unwrap_or(address), rtcp_port);
            Some(FarEnd { rtp: SocketAddr::new(address, start.port), rtcp })
        };
        let payload_types = start.payload_set();
        let codec = Codec::preferred(&start, &section, transport);
        let feedback = start.line.protocol.has_feedback();
        let mut attributes: String = section
            .attributes
            .into_iter()
            .filter(|attribute| match attribute.scope {
                Scope::Fax => !transport.has_rtcp(),
                Scope::Rtp => transport.has_rtcp(),
                Scope::Format(payload_type) => payload_types.contains(payload_type),
                Scope::Feedback(of) => feedback && of.is_none_or(|of| payload_types.contains(of)),
            })
            .map(|attribute| attribute.line)
            .collect();
        let extensions = if transport.has_rtcp() {
            section.extensions.write(&rules.extensions, &mut attributes)
        } else {
            ExtensionIds::default()
        };
        if matches!(start.line.protocol, Protocol::Srtp { .. }) {
            section.keys.write(&mut attributes);
        }
        if transport.is_encrypted() {
            section.dtls.write(&mut attributes);
        }
        let ice = section.ice.remote();
        let (mux, attributes) = (section.mux && transport.has_rtcp(), Lines(attributes));
        let relayed =
            Relayed { transport, far, direction, payload_types, codec, mux, extensions, ice, attributes };
        Ok(Self { content: StreamContent::Relayed(relayed), line: start.line })
    }
}

/// How a section travels; `None` when it is off, or nothing that can be relayed:
/// one that is encrypted says what with.
fn transport(start: &MediaStart, section: &Section) -> Option<Transport> {
    if !start.is_relayed() {
        return None;
    }
    let dtls = section.dtls.is_usable();
    match start.line.protocol {
        Protocol::Rtp { .. } => Some(Transport::Rtp),
        // Some peers name DTLS-SRTP so.
        Protocol::Srtp { .. } => (dtls || section.keys.is_usable()).then_some(Transport::Srtp { dtls }),
        Protocol::DtlsSrtp { .. } => dtls.then_some(Transport::Srtp { dtls }),
        Protocol::Udptl => Some(Transport::Udptl { dtls: false }),
        Protocol::DtlsUdptl => dtls.then_some(Transport::Udptl { dtls }),
        Protocol::Msrp | Protocol::Udp => None,
    }
}

impl Codec {
    /// The first that carries the medium itself; fax has one.
    fn preferred(start: &MediaStart, section: &Section, transport: Transport) -> Self {
        if matches!(transport, Transport::Udptl { .. }) {
            return Self { encoding: Encoding::T38, clock_rate: 0 };
        }
        let of = |payload_type: u8| {
            let mapped = section.encodings.iter().find(|(of, ..)| *of == payload_type);
            let (encoding, clock_rate) = mapped
                .map(|&(_, encoding, clock_rate)| (encoding, clock_rate))
                .or_else(|| Encoding::of_static(payload_type))
                .unwrap_or((Encoding::OTHER, 0));
            Self { encoding, clock_rate }
        };
        let mut codecs = start.payload_types.iter().map(|&payload_type| of(payload_type));
        let primary = codecs.clone().find(|codec| codec.encoding.is_primary());
        primary.or_else(|| codecs.next()).unwrap_or(Self { encoding: Encoding::OTHER, clock_rate: 0 })
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

#[cfg(test)]
mod tests;
