//! The lines of a media section that are kept: where media goes, and the
//! attributes of an allow-list, each read and written anew.

use std::net::IpAddr;

use super::extmap::Extensions;
use super::ice::Ice;
use super::keys::{Dtls, Keys};
use super::{Direction, SdpError, fax, put};
use crate::engine::encoding::Encoding;

/// Bytes of one attribute; a longer one is dropped.
const MAX_ATTRIBUTE: usize = 512;
/// Attributes of one media section; more are dropped.
const MAX_ATTRIBUTES: usize = 128;
/// As many digits in a row identify somebody, and no codec parameter of ours
/// has them.
const NUMBER_LIKE: usize = 7;

/// What may stand in the session part and in each media section.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    pub(super) address: Option<IpAddr>,
    pub(super) rtcp: Option<(u16, Option<IpAddr>)>,
    pub(super) mux: bool,
    pub(super) direction: Option<Direction>,
    pub(super) attributes: Vec<Attribute>,
    /// Of the payload types with an `rtpmap`.
    pub(super) encodings: Vec<(u8, Encoding, u32)>,
    pub(super) extensions: Extensions,
    pub(super) keys: Keys,
    pub(super) dtls: Dtls,
    pub(super) ice: Ice,
}

/// A line that is kept, with its end.
#[derive(Clone, Debug)]
pub(super) struct Attribute {
    pub(super) scope: Scope,
    pub(super) line: String,
}

/// What an attribute speaks of; without that it is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// RTP as a whole.
    Rtp,
    /// Fax.
    Fax,
    /// One payload type.
    Format(u8),
    /// Early feedback, on all payload types or one of them.
    Feedback(Option<u8>),
}

impl Section {
    /// What a media section starts from (RFC 4566 sections 5.7 and 6, RFC 8122
    /// section 5).
    pub(super) fn inherited(&self) -> Self {
        Self {
            address: self.address,
            direction: self.direction,
            extensions: self.extensions.clone(),
            dtls: self.dtls.inherited(),
            ice: self.ice.inherited(),
            ..Self::default()
        }
    }

    pub(super) fn take(&mut self, kind: u8, value: &[u8]) -> Result<(), SdpError> {
        match kind {
            b'c' => {
                let value = super::text(value, 'c')?;
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
        if attribute == "rtcp-mux" {
            self.mux = true;
            return;
        }
        if attribute.len() > MAX_ATTRIBUTE || self.attributes.len() == MAX_ATTRIBUTES {
            return;
        }
        let (name, value) = match attribute.split_once(':') {
            Some((name, value)) => (name, Some(value)),
            None => (attribute, None),
        };
        if let Some(line) = fax::line(name, value) {
            self.attributes.push(Attribute { scope: Scope::Fax, line });
        }
        if self.ice.take(name, value) {
            return;
        }
        let Some(value) = value else { return };
        let kept = match name {
            "rtcp" => {
                self.rtcp = rtcp(value);
                None
            }
            "extmap" => {
                self.extensions.take(value);
                None
            }
            "crypto" => {
                self.keys.take(value);
                None
            }
            "fingerprint" => {
                self.dtls.take_fingerprint(value);
                None
            }
            "setup" => {
                self.dtls.take_setup(value);
                None
            }
            "rtpmap" => rtpmap(value).map(|(payload_type, encoding, clock, line)| {
                self.encodings.push((payload_type, encoding, clock));
                Attribute { scope: Scope::Format(payload_type), line }
            }),
            "fmtp" => fmtp(value),
            "rtcp-fb" => feedback(value),
            "ptime" | "maxptime" => value.trim().parse::<u16>().ok().map(|milliseconds| Attribute {
                scope: Scope::Rtp,
                line: format!("a={name}:{milliseconds}\r\n"),
            }),
            _ => None,
        };
        self.attributes.extend(kept);
    }
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
fn rtpmap(value: &str) -> Option<(u8, Encoding, u32, String)> {
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
    Some((payload_type, Encoding::named(name), clock, line))
}

/// `101 0-16`, `97 mode=30; octet-align=1`: parameters that could carry a
/// telephone number are left out.
fn fmtp(value: &str) -> Option<Attribute> {
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
    let line = format!("a=fmtp:{payload_type} {}\r\n", kept.join(";"));
    Some(Attribute { scope: Scope::Format(payload_type), line })
}

/// `* nack pli`, `96 ccm fir` (RFC 4585 section 4.2, RFC 5104 section 7.1):
/// words of a closed set, and the interval of regular reports.
fn feedback(value: &str) -> Option<Attribute> {
    const KINDS: [&str; 10] = [
        "ack",
        "nack",
        "nack pli",
        "nack sli",
        "nack rpsi",
        "ccm fir",
        "ccm tmmbr",
        "ccm tstr",
        "goog-remb",
        "transport-cc",
    ];
    let (format, kind) = value.trim().split_once(' ')?;
    let payload_type = match format {
        "*" => None,
        number => Some(number.parse::<u8>().ok()?),
    };
    let kind = match kind.strip_prefix("trr-int ") {
        Some(milliseconds) => format!("trr-int {}", milliseconds.parse::<u16>().ok()?),
        None => KINDS.into_iter().find(|known| *known == kind)?.to_owned(),
    };
    let format = payload_type.map_or_else(|| "*".to_owned(), |number| number.to_string());
    Some(Attribute { scope: Scope::Feedback(payload_type), line: format!("a=rtcp-fb:{format} {kind}\r\n") })
}

fn looks_like_a_number(text: &str) -> bool {
    let mut digits = 0;
    text.bytes().any(|byte| {
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        digits >= NUMBER_LIKE
    })
}
