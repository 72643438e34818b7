//! What a far end says of itself for ICE (RFC 8839): its name and its candidates.
//! None of it crosses. We answer as a lite agent with one host candidate for each
//! port, which is where the rest of the description sends media anyway.
//!
//! Its password is not kept: only a side that checks needs it, and we check nothing.
//! A host name as a candidate (mDNS) is left out, since the engine resolves nothing.

use std::net::{IpAddr, SocketAddr};

use rand::{Rng, RngExt};

use super::put;

/// Candidates of one section; more are ignored.
const MAX_CANDIDATES: usize = 32;
/// Characters of a name (RFC 8839 section 5.4).
const NAME: std::ops::RangeInclusive<usize> = 4..=256;

/// What an agent of ours is known by on a leg.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IceCredentials {
    /// `ice-ufrag`: 48 bits, where RFC 8445 section 5.3 asks for 24.
    pub name: Token<8>,
    /// `ice-pwd`: 144 bits, where it asks for 128.
    pub password: Token<24>,
}

impl std::fmt::Debug for IceCredentials {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceCredentials({})", self.name.as_str())
    }
}

/// So many characters of `ice-char`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token<const LENGTH: usize>([u8; LENGTH]);

impl<const LENGTH: usize> Token<LENGTH> {
    /// A new one.
    pub(crate) fn random(random: &mut impl Rng) -> Self {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        Self(std::array::from_fn(|_| ALPHABET[random.random_range(0..ALPHABET.len())]))
    }

    /// From what [`Self::as_str`] gave.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let token: [u8; LENGTH] = text.as_bytes().try_into().ok()?;
        token.iter().copied().all(is_ice_char).then_some(Self(token))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// RFC 8839 section 5.1.
const fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

/// What a stream carries to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// RTP, and RTCP that shares its port.
    Rtp,
    /// RTCP.
    Rtcp,
}

/// A far end that speaks ICE and checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteIce {
    /// What it calls itself.
    pub(crate) name: String,
    /// Where it may be.
    pub(crate) candidates: Vec<(Component, SocketAddr)>,
}

/// What stands in the session part and in each section.
#[derive(Clone, Debug, Default)]
pub(super) struct Ice {
    name: Option<String>,
    has_password: bool,
    /// A lite agent checks nothing either.
    lite: bool,
    candidates: Vec<(Component, SocketAddr)>,
}

impl Ice {
    /// What a section starts from (RFC 8839 sections 5.3 and 5.4).
    pub(super) fn inherited(&self) -> Self {
        Self { candidates: Vec::new(), ..self.clone() }
    }

    /// Takes an attribute; whether it was one of ours.
    pub(super) fn take(&mut self, name: &str, value: Option<&str>) -> bool {
        match (name, value) {
            ("ice-lite", None) => self.lite = true,
            ("ice-ufrag", Some(value)) => self.name = ufrag(value.trim()),
            ("ice-pwd", Some(_)) => self.has_password = true,
            ("candidate", Some(value)) => {
                if self.candidates.len() < MAX_CANDIDATES {
                    self.candidates.extend(candidate(value));
                }
            }
            _ => return false,
        }
        true
    }

    /// The far end, if it checks.
    pub(super) fn remote(self) -> Option<RemoteIce> {
        let checks = self.has_password && !self.lite;
        let candidates = self.candidates;
        self.name.filter(|_| checks).map(|name| RemoteIce { name, candidates })
    }
}

/// Writes our part for a section at `address`; `components` says whether RTCP has a
/// port of its own.
pub(super) fn write(body: &mut String, ours: &IceCredentials, address: SocketAddr, rtcp_apart: bool) {
    let (name, password) = (ours.name.as_str(), ours.password.as_str());
    put(body, format_args!("a=ice-ufrag:{name}\r\na=ice-pwd:{password}\r\n"));
    let (ip, port) = (address.ip(), address.port());
    put(body, format_args!("a=candidate:1 1 UDP 2130706431 {ip} {port} typ host\r\n"));
    if rtcp_apart {
        put(body, format_args!("a=candidate:1 2 UDP 2130706430 {ip} {} typ host\r\n", port | 1));
    }
}

fn ufrag(text: &str) -> Option<String> {
    (NAME.contains(&text.len()) && text.bytes().all(is_ice_char)).then(|| text.to_owned())
}

/// `1 1 UDP 2130706431 192.0.2.1 5000 typ host …`.
fn candidate(value: &str) -> Option<(Component, SocketAddr)> {
    let mut words = value.split_ascii_whitespace();
    let (_foundation, component, transport) = (words.next()?, words.next()?, words.next()?);
    let (_priority, address, port) = (words.next()?, words.next()?, words.next()?);
    let component = match component {
        "1" => Component::Rtp,
        "2" => Component::Rtcp,
        _ => return None,
    };
    let address: IpAddr = address.parse().ok()?;
    let port: u16 = port.parse().ok().filter(|&port| port != 0)?;
    let usable =
        transport.eq_ignore_ascii_case("udp") && !address.is_unspecified() && !address.is_multicast();
    usable.then(|| (component, SocketAddr::new(address, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ice(lines: &[(&str, Option<&str>)]) -> Option<RemoteIce> {
        let mut ice = Ice::default();
        for (name, value) in lines {
            assert!(ice.take(name, *value), "{name}");
        }
        ice.remote()
    }

    #[test]
    fn who_checks_has_a_name_a_password_and_candidates() {
        let (name, password) = (("ice-ufrag", Some("8hhY")), ("ice-pwd", Some("asd88fgpdd777uzjYhagZg")));
        let candidates = [
            ("candidate", Some("1 1 UDP 2130706431 203.0.113.141 8998 typ host")),
            ("candidate", Some("2 2 udp 1694498815 2001:db8::1 45664 typ srflx raddr 10.0.1.1 rport 8998")),
            ("candidate", Some("3 1 TCP 1 203.0.113.141 9 typ host tcptype active")),
            ("candidate", Some("4 1 UDP 1 f1a2.local 9 typ host")),
            ("candidate", Some("5 3 UDP 1 203.0.113.141 9 typ host")),
            ("candidate", Some("6 1 UDP 1 203.0.113.141 0 typ host")),
            ("candidate", Some("7")),
        ];
        let remote = ice(&[&[name, password], &candidates[..]].concat()).unwrap();
        assert_eq!(remote.name, "8hhY");
        assert_eq!(
            remote.candidates,
            [
                (Component::Rtp, "203.0.113.141:8998".parse().unwrap()),
                (Component::Rtcp, "[2001:db8::1]:45664".parse().unwrap()),
            ]
        );
        assert_eq!(ice(&[name]), None, "a name alone is no agent");
        assert_eq!(ice(&[password]), None);
        assert_eq!(ice(&[("ice-lite", None), name, password]), None, "it checks nothing");
        assert_eq!(ice(&[("ice-ufrag", Some("a b")), password]), None);
        assert!(!Ice::default().take("ice-options", Some("trickle")));
    }
}
