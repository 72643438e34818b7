//! Views of single header values: Via, name-addr, `CSeq`, parameters.
//!
//! They borrow from the message and allocate nothing. Each is strict about
//! structure (what is quoted, what is bracketed, what is a parameter), because
//! whoever reads that differently can be made to show another caller; and open
//! about content (unknown transports, unknown parameters, colons in tags).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use super::method::Method;
use super::name::Name;
use super::scan::{self, trim};
use super::transport::Way;
use super::uri::{self, Host, Parts, Uri, UriError};

/// A header field that cannot be used. Names the field, never its value.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{}: {problem}", .name.as_str())]
pub struct HeaderError {
    /// The field.
    pub name: Name,
    /// What is wrong with it.
    pub problem: HeaderProblem,
}

/// What is wrong with a header field.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeaderProblem {
    /// There is none.
    #[error("missing (RFC 3261 section 8.1.1)")]
    Missing,
    /// There are several where one is allowed.
    #[error("more than one (RFC 3261 section 7.3.1)")]
    Repeated,
    /// Not what the grammar asks for.
    #[error("malformed (RFC 3261 section 25.1)")]
    Malformed,
    /// Its URI is none.
    #[error("{0}")]
    Uri(#[from] UriError),
}

impl HeaderProblem {
    pub(super) const fn of(self, name: Name) -> HeaderError {
        HeaderError { name, problem: self }
    }
}

/// `;name=value` parameters after a value.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Reads what follows a value: empty, or starting with `;`.
    pub(super) fn parse(text: &'a str) -> Result<Self, HeaderProblem> {
        let text = trim(text);
        if text.is_empty() {
            return Ok(Self(""));
        }
        let list = text.strip_prefix(';').filter(|list| !list.is_empty());
        let params = Self(list.ok_or(HeaderProblem::Malformed)?);
        for (name, value) in params.iter() {
            let is_value = value.is_none_or(|value| {
                !value.is_empty()
                    && if value.starts_with('"') {
                        scan::quoted_end(value, 0) == Some(value.len())
                    } else {
                        !value.bytes().any(|b| matches!(b, b' ' | b'\t' | b'"' | b'<' | b'>' | b','))
                    }
            });
            if !scan::is_token(name) || !is_value {
                return Err(HeaderProblem::Malformed);
            }
        }
        Ok(params)
    }

    /// The parameters in order, quotes kept.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let mut rest = Some(self.0).filter(|text| !text.is_empty());
        std::iter::from_fn(move || {
            let (param, tail) = scan::cut(rest?, b';');
            rest = tail;
            Some(match param.split_once('=') {
                Some((name, value)) => (trim(name), Some(trim(value))),
                None => (trim(param), None),
            })
        })
    }

    /// The value of a parameter, quotes kept; empty for one without a value.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.unwrap_or_default())
    }
}

impl fmt::Debug for Params<'_> {
    /// Names alone: values can hold numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// `"Name" <uri>;params`, as in From, To, Contact, Route, P-Asserted-Identity.
#[derive(Clone, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as written, without surrounding quotes; empty when
    /// there is none.
    pub display: &'a str,
    uri_text: &'a str,
    uri_parts: Parts,
    /// The header parameters: those of the field, not of the URI.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one value of a header field.
    pub fn parse(text: &'a str) -> Result<Self, HeaderProblem> {
        let text = trim(text);
        let (display, bracketed) = if text.starts_with('"') {
            let end = scan::quoted_end(text, 0).ok_or(HeaderProblem::Malformed)?;
            let rest = trim(&text[end..]).strip_prefix('<').ok_or(HeaderProblem::Malformed)?;
            (&text[1..end - 1], Some(rest))
        } else {
            match text.split_once('<') {
                Some((display, _)) if display.contains(['"', '>', ';', ',']) => {
                    return Err(HeaderProblem::Malformed);
                }
                Some((display, rest)) => (trim(display), Some(rest)),
                None => ("", None),
            }
        };
        let (uri_text, params) = if let Some(rest) = bracketed {
            rest.split_once('>').ok_or(HeaderProblem::Malformed)?
        } else {
            let (uri, _) = scan::cut(text, b';');
            // Section 20.10: what has a comma, a question mark or a semicolon
            // in its URI wears angle brackets.
            if uri.contains([',', '?']) {
                return Err(HeaderProblem::Malformed);
            }
            (trim(uri), &text[uri.len()..])
        };
        let params = Params::parse(params)?;
        // Half of what names a dialog: it is there once, or it names nothing.
        let mut tags = params.iter().filter(|(name, _)| name.eq_ignore_ascii_case("tag"));
        if tags.next().is_some_and(|(_, value)| value.is_none()) || tags.next().is_some() {
            return Err(HeaderProblem::Malformed);
        }
        Ok(Self { display, uri_text, uri_parts: Parts::scan(uri_text)?, params })
    }

    /// The URI.
    #[must_use]
    pub fn uri(&self) -> Uri {
        Uri::from_parts(self.uri_text, self.uri_parts.clone())
    }

    /// The URI's text, for the wire.
    #[must_use]
    pub const fn uri_text(&self) -> &'a str {
        self.uri_text
    }

    /// The tag of From and To.
    #[must_use]
    pub fn tag(&self) -> Option<&'a str> {
        self.params.get("tag")
    }
}

impl fmt::Debug for NameAddr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{:?}>{:?}", self.uri(), self.params)
    }
}

/// The transport of a Via, as an open token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport<'a> {
    /// `UDP`
    Udp,
    /// `TCP`
    Tcp,
    /// `TLS`
    Tls,
    /// Any other.
    Other(&'a str),
}

impl<'a> Transport<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        Some(if text.eq_ignore_ascii_case("udp") {
            Self::Udp
        } else if text.eq_ignore_ascii_case("tcp") {
            Self::Tcp
        } else if text.eq_ignore_ascii_case("tls") {
            Self::Tls
        } else if scan::is_token(text) {
            Self::Other(text)
        } else {
            return None;
        })
    }
}

/// The start of every branch that an RFC 3261 element makes (section 8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// One hop of a Via header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// How the message was sent.
    pub transport: Transport<'a>,
    /// The host of `sent-by`, as written.
    pub host: &'a str,
    /// The port of `sent-by`, where one is written.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport` and others.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Reads one hop.
    pub fn parse(text: &'a str) -> Result<Self, HeaderProblem> {
        const BAD: HeaderProblem = HeaderProblem::Malformed;
        let (protocol, rest) = text.split_once('/').ok_or(BAD)?;
        let (version, rest) = rest.split_once('/').ok_or(BAD)?;
        if !trim(protocol).eq_ignore_ascii_case("SIP") || trim(version) != "2.0" {
            return Err(BAD);
        }
        let rest = trim(rest);
        let (transport, rest) = rest.split_once([' ', '\t']).ok_or(BAD)?;
        let rest = trim(rest);
        let (sent_by, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let sent_by = trim(sent_by);
        let host_len = if sent_by.starts_with('[') {
            sent_by.find(']').ok_or(BAD)? + 1
        } else {
            sent_by.find(':').unwrap_or(sent_by.len())
        };
        let (host, port) = sent_by.split_at(host_len);
        let host = trim(host);
        let port = trim(port);
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(uri::read_port(trim(digits)).ok_or(BAD)?),
            None if port.is_empty() => None,
            None => return Err(BAD),
        };
        if !uri::is_host(host) {
            return Err(BAD);
        }
        let transport = Transport::parse(transport).ok_or(BAD)?;
        Ok(Self { transport, host, port, params: Params::parse(params)? })
    }

    /// The host of `sent-by`.
    #[must_use]
    pub fn host(&self) -> Host<'a> {
        uri::read_host(self.host)
    }

    /// The branch; `None` when there is none.
    #[must_use]
    pub fn branch(&self) -> Option<&'a str> {
        self.params.get("branch").filter(|branch| !branch.is_empty())
    }

    /// What follows the magic cookie: the whole name of a transaction. `None`
    /// for a branch of RFC 2543.
    #[must_use]
    pub fn branch_token(&self) -> Option<&'a str> {
        let branch = self.branch()?;
        let (cookie, token) = branch.split_at_checked(MAGIC_COOKIE.len())?;
        (cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && !token.is_empty()).then_some(token)
    }

    /// `received`, bracketed or not.
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.get("received")?;
        text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text).parse().ok()
    }

    /// Whether the sender asks for symmetric response routing (RFC 3581).
    #[must_use]
    pub fn wants_rport(&self) -> bool {
        self.params.get("rport").is_some()
    }

    /// The way of a response to a request that came this way (RFC 3261 section
    /// 18.2.2, RFC 3581 section 4): back over its connection, else over a new one to
    /// where Via says that the sender listens. `maddr` is not followed: it would let
    /// a sender aim our responses at anybody.
    #[must_use]
    pub fn response_way(&self, came: Way) -> Way {
        let listens =
            || SocketAddr::new(came.remote.ip(), self.port.unwrap_or(came.transport.default_port()));
        if came.transport.is_reliable() {
            Way { otherwise: Some(listens()), ..came }
        } else if self.wants_rport() {
            came
        } else {
            Way { remote: listens(), ..came }
        }
    }
}

/// `CSeq`: number and method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Below 2^31 (RFC 3261 section 8.1.1.5).
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl CSeq {
    /// Reads the value.
    pub fn parse(text: &str) -> Result<Self, HeaderProblem> {
        let (number, method) = trim(text).split_once([' ', '\t']).ok_or(HeaderProblem::Malformed)?;
        let number = digits(number).filter(|&n| n < 1 << 31).ok_or(HeaderProblem::Malformed)?;
        let method = Method::parse(trim(method)).ok_or(HeaderProblem::Malformed)?;
        Ok(Self { number, method })
    }
}

/// A decimal number without a sign.
pub(super) fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
