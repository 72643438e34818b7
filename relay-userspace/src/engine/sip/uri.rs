//! URIs: `sip`, `sips` and `tel` in their parts, any other scheme as it is
//! (RFC 3261 section 19, RFC 3966, RFC 5031 for `urn:service:sos`).
//!
//! The text is kept whole and the parts are places in it, so what was received
//! can be written again byte for byte and an unknown parameter loses nothing.
//! There is no `Display`, and `Debug` hides the user part: a URI is where a
//! party's number lives. [`Uri::as_str`] is for the wire.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use thiserror::Error;

use super::transport::{SentBy, Transport};

/// Why a text is no URI. Says where to look, never what was found.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UriError {
    /// No scheme before a colon.
    #[error("a URI without a scheme (RFC 3261 section 19.1.1)")]
    Scheme,
    /// A byte that must be escaped, or a broken escape, in the user part.
    #[error("a user part with a byte that must be escaped, or a broken escape (RFC 3261 section 19.1.2)")]
    User,
    /// No host, or not a name, IPv4 address or bracketed IPv6 address.
    #[error("a URI whose host is neither a name nor an address (RFC 3261 section 25.1)")]
    Host,
    /// Not 1 to 65535.
    #[error("a URI whose port is not a number from 1 to 65535")]
    Port,
    /// White space, quotes or angle brackets where none may be.
    #[error("a URI with white space, a quote or an angle bracket in it")]
    Character,
    /// A `tel` URI without digits.
    #[error("a tel URI whose number is not one (RFC 3966 section 3)")]
    Telephone,
}

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Any other: answered with 416 where it must be understood.
    Other,
}

/// Where a URI points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// An address, without the brackets.
    Ip(IpAddr),
    /// A name, in the case it was written.
    Name(&'a str),
}

/// The places of a URI's parts in its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Parts {
    scheme_len: u32,
    kind: Kind,
    user: Range<u32>,
    password: Range<u32>,
    host: Range<u32>,
    port: Option<u16>,
    /// From the first `;` to the `?`.
    params: Range<u32>,
    /// After the `?`.
    headers: Range<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Sip,
    Sips,
    Tel,
    Other,
}

/// A URI.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Uri {
    text: Box<str>,
    parts: Parts,
}

impl Uri {
    /// Reads a URI without angle brackets around it.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let parts = Parts::scan(text)?;
        Ok(Self::from_parts(text, parts))
    }

    pub(super) fn from_parts(text: &str, parts: Parts) -> Self {
        Self { text: text.into(), parts }
    }

    /// `sip:user@host:port`; the user part is escaped as it needs. The host is
    /// a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn sip(user: Option<&str>, host: &str, port: Option<u16>) -> Result<Self, UriError> {
        let mut text = String::with_capacity(48);
        text.push_str("sip:");
        if let Some(user) = user {
            escape_user(user, &mut text);
            text.push('@');
        }
        text.push_str(host);
        if let Some(port) = port {
            text.push(':');
            text.push_str(&port.to_string());
        }
        Self::parse(&text)
    }

    /// `sip:user@address:port`.
    #[must_use]
    pub fn sip_at(user: Option<&str>, address: SocketAddr) -> Self {
        let mut text = String::with_capacity(48);
        text.push_str("sip:");
        if let Some(user) = user {
            escape_user(user, &mut text);
            text.push('@');
        }
        text.push_str(&address.to_string());
        match Self::parse(&text) {
            Ok(uri) => uri,
            // Only port 0 gets here: an address nobody can be reached at.
            Err(_) => Self::nowhere(),
        }
    }

    /// A user at an address, and how to get there: UDP needs no word for it, and
    /// neither does `sips`, which says that every hop is over TLS.
    #[must_use]
    pub fn reached_at(user: Option<&str>, at: SentBy, secure: bool) -> Self {
        let uri = Self::sip_at(user, at.address);
        let text = match at.transport {
            Transport::Udp => return uri,
            Transport::Tls if secure => uri.as_str().replacen("sip:", "sips:", 1),
            Transport::Tcp | Transport::Tls => {
                format!("{};transport={}", uri.as_str(), at.transport.word())
            }
        };
        // Neither breaks a URI.
        Self::parse(&text).unwrap_or(uri)
    }

    /// A URI of a host that does not exist (RFC 2606).
    pub(super) fn nowhere() -> Self {
        Self::parse("sip:host.invalid").expect("a literal that is a URI")
    }

    /// The text, for the wire. Holds whatever number the URI holds.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        match self.parts.kind {
            Kind::Sip => Scheme::Sip,
            Kind::Sips => Scheme::Sips,
            Kind::Tel => Scheme::Tel,
            Kind::Other => Scheme::Other,
        }
    }

    /// The user part as written, parameters of a telephone subscriber
    /// included; of a `tel` URI its number. `None` when there is none.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        (self.parts.user.start != 0).then(|| self.slice(&self.parts.user))
    }

    /// The user part up to its first `;`, unescaped: the number of
    /// `sip:+1415;phone-context=example.com@h` and of `tel:+1415;ext=2`.
    #[must_use]
    pub fn subscriber(&self) -> Option<Cow<'_, str>> {
        let user = self.user()?;
        Some(unescape(user.split_once(';').map_or(user, |(number, _)| number)))
    }

    /// The password, which nobody should send.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        (self.parts.password.start != 0).then(|| self.slice(&self.parts.password))
    }

    /// The host; `None` for `tel` and unknown schemes.
    #[must_use]
    pub fn host(&self) -> Option<Host<'_>> {
        (self.parts.host.start != 0).then(|| read_host(self.slice(&self.parts.host)))
    }

    /// The port, where one is written.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// Where the URI points when its host is an address; port 5060 when none is
    /// written.
    #[must_use]
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self.host()? {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port().unwrap_or(5060))),
            Host::Name(_) => None,
        }
    }

    /// The parameters with their values, as written; those of a `tel` URI too.
    pub fn params(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.slice(&self.parts.params)
            .split(';')
            .filter(|param| !param.is_empty())
            .map(|param| param.split_once('=').map_or((param, None), |(name, value)| (name, Some(value))))
    }

    /// The value of a parameter; empty for one without a value.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.unwrap_or_default())
    }

    /// The `?` part, without the `?`.
    #[must_use]
    pub fn headers(&self) -> Option<&str> {
        (self.parts.headers.start != 0).then(|| self.slice(&self.parts.headers))
    }

    /// Whether the URI asks for loose routing (RFC 3261 section 19.1.1).
    #[must_use]
    pub fn is_loose_router(&self) -> bool {
        self.param("lr").is_some()
    }

    fn slice(&self, range: &Range<u32>) -> &str {
        &self.text[range.start as usize..range.end as usize]
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text[..self.parts.scheme_len as usize])?;
        f.write_str(":")?;
        if self.user().is_some() {
            f.write_str("…")?;
        }
        match self.host() {
            Some(host) => {
                if self.user().is_some() {
                    f.write_str("@")?;
                }
                match host {
                    Host::Ip(ip) => write!(f, "{ip}")?,
                    Host::Name(name) => f.write_str(name)?,
                }
            }
            None if self.user().is_none() => f.write_str("…")?,
            None => {}
        }
        self.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Parts {
    /// Finds the parts; nothing is allocated.
    pub(super) fn scan(text: &str) -> Result<Self, UriError> {
        // Places are 32 bits wide, and no message is that long.
        if u32::try_from(text.len()).is_err() {
            return Err(UriError::Character);
        }
        let colon = text.find(':').ok_or(UriError::Scheme)?;
        let scheme = &text[..colon];
        let mut letters = scheme.bytes();
        if !letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            || !letters.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        {
            return Err(UriError::Scheme);
        }
        if text.bytes().any(|b| b <= b' ' || b >= 0x7f || matches!(b, b'<' | b'>' | b'"')) {
            return Err(UriError::Character);
        }
        let kind = if scheme.eq_ignore_ascii_case("sip") {
            Kind::Sip
        } else if scheme.eq_ignore_ascii_case("sips") {
            Kind::Sips
        } else if scheme.eq_ignore_ascii_case("tel") {
            Kind::Tel
        } else {
            Kind::Other
        };
        let mut parts = Self {
            scheme_len: place(colon),
            kind,
            user: 0..0,
            password: 0..0,
            host: 0..0,
            port: None,
            params: 0..0,
            headers: 0..0,
        };
        match kind {
            Kind::Sip | Kind::Sips => parts.scan_sip(text, colon + 1)?,
            Kind::Tel => parts.scan_tel(text, colon + 1)?,
            Kind::Other if colon + 1 == text.len() => return Err(UriError::Host),
            Kind::Other => {}
        }
        Ok(parts)
    }

    fn scan_sip(&mut self, text: &str, start: usize) -> Result<(), UriError> {
        let host_start = match text[start..].find('@') {
            Some(offset) => {
                let at = start + offset;
                self.scan_user(text, start, at)?;
                at + 1
            }
            None => start,
        };
        let rest = &text[host_start..];
        // Neither a host nor what follows it can hold another `@`.
        if rest.contains('@') {
            return Err(UriError::User);
        }
        let host_len = if rest.starts_with('[') {
            rest.find(']').ok_or(UriError::Host)? + 1
        } else {
            rest.find([':', ';', '?']).unwrap_or(rest.len())
        };
        if !is_host(&rest[..host_len]) {
            return Err(UriError::Host);
        }
        self.host = place(host_start)..place(host_start + host_len);
        let mut at = host_start + host_len;
        if let Some(after_colon) = text[at..].strip_prefix(':') {
            let digits = after_colon.find([';', '?']).unwrap_or(after_colon.len());
            self.port = Some(read_port(&after_colon[..digits]).ok_or(UriError::Port)?);
            at += 1 + digits;
        }
        let question = text[at..].find('?').map_or(text.len(), |offset| at + offset);
        if question > at {
            if !text[at..].starts_with(';') {
                return Err(UriError::Host);
            }
            self.params = place(at)..place(question);
        }
        if question < text.len() {
            self.headers = place(question + 1)..place(text.len());
        }
        Ok(())
    }

    fn scan_user(&mut self, text: &str, start: usize, at: usize) -> Result<(), UriError> {
        let userinfo = &text[start..at];
        if !escapes_are_whole(userinfo) || userinfo.contains('\\') {
            return Err(UriError::User);
        }
        let user_len = userinfo.find(':').unwrap_or(userinfo.len());
        if user_len == 0 {
            return Err(UriError::User);
        }
        self.user = place(start)..place(start + user_len);
        if user_len < userinfo.len() {
            self.password = place(start + user_len + 1)..place(at);
        }
        Ok(())
    }

    fn scan_tel(&mut self, text: &str, start: usize) -> Result<(), UriError> {
        let rest = &text[start..];
        let number_len = rest.find(';').unwrap_or(rest.len());
        let number = &rest[..number_len];
        let dialled = number.strip_prefix('+').unwrap_or(number);
        if !dialled.bytes().any(|b| b.is_ascii_hexdigit() || matches!(b, b'*' | b'#'))
            || !dialled
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || matches!(b, b'*' | b'#' | b'-' | b'.' | b'(' | b')'))
        {
            return Err(UriError::Telephone);
        }
        self.user = place(start)..place(start + number_len);
        self.params = place(start + number_len)..place(text.len());
        Ok(())
    }
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok()),
        None => {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    }
}

/// The host that [`is_host`] has accepted.
pub(super) fn read_host(text: &str) -> Host<'_> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    // A name never starts with a digit and ends with one unless it is an address.
    inner.parse().map_or(Host::Name(text), Host::Ip)
}

/// 1 to 65535, digits alone.
pub(super) fn read_port(text: &str) -> Option<u16> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|&port| port != 0)
}

/// Lossless: [`Parts::scan`] has looked at the length of the whole.
#[expect(clippy::cast_possible_truncation, reason = "the whole text is shorter than 2^32")]
const fn place(index: usize) -> u32 {
    index as u32
}

fn escapes_are_whole(text: &str) -> bool {
    let mut parts = text.split('%');
    parts.next();
    parts.all(|part| part.len() >= 2 && part.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit))
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'%')
            .then(|| tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes `user` with every byte escaped that RFC 3261 wants escaped.
fn escape_user(user: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in user.bytes() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
            || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/');
        if plain {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests;
