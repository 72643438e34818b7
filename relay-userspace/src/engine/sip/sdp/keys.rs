//! What two far ends need to encrypt from one to the other: keys in the
//! description (`a=crypto`, RFC 4568), or the fingerprints of the certificates that
//! they show each other by DTLS (`a=fingerprint`, RFC 8122; `a=setup`, RFC 4145).
//!
//! Nothing of such a line crosses but numbers, words of closed sets, and bytes of a
//! length that follows from the algorithm, each read and written anew: base64 and
//! hexadecimal digits in the one form that their bytes have. Session parameters of
//! `a=crypto` change what the keys are good for; a line that has some is left out,
//! which declines it (RFC 4568 section 5.1.2).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::put;

/// Lines of one kind in one section; more are dropped.
const MAX_LINES: usize = 16;
/// Keys of one `a=crypto` line; a line with more is dropped.
const MAX_KEYS: usize = 4;
/// No key is good for more packets than this (RFC 3711 section 9.2), as a power of
/// two.
const MAX_LIFETIME: u32 = 48;

/// Suites (RFC 4568 section 6.2, RFC 6188 section 4, RFC 7714 section 14.2) and the
/// bytes of their keys with their salts.
const SUITES: [(&str, usize); 9] = [
    ("AES_CM_128_HMAC_SHA1_80", 30),
    ("AES_CM_128_HMAC_SHA1_32", 30),
    ("F8_128_HMAC_SHA1_80", 30),
    ("AES_192_CM_HMAC_SHA1_80", 38),
    ("AES_192_CM_HMAC_SHA1_32", 38),
    ("AES_256_CM_HMAC_SHA1_80", 46),
    ("AES_256_CM_HMAC_SHA1_32", 46),
    ("AEAD_AES_128_GCM", 28),
    ("AEAD_AES_256_GCM", 44),
];

/// Hash functions and the bytes of their values.
const HASHES: [(&str, usize); 5] =
    [("sha-1", 20), ("sha-224", 28), ("sha-256", 32), ("sha-384", 48), ("sha-512", 64)];

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What DTLS needs. A section that says something itself does not mean what the
/// session says.
#[derive(Clone, Debug, Default)]
pub(super) struct Dtls {
    fingerprints: Vec<String>,
    setup: Option<&'static str>,
    fingerprints_inherited: bool,
}

impl Dtls {
    /// What a section starts from.
    pub(super) fn inherited(&self) -> Self {
        Self { fingerprints_inherited: true, ..self.clone() }
    }

    /// Takes the value of `a=fingerprint`.
    pub(super) fn take_fingerprint(&mut self, value: &str) {
        if std::mem::take(&mut self.fingerprints_inherited) {
            self.fingerprints.clear();
        }
        if self.fingerprints.len() < MAX_LINES {
            self.fingerprints.extend(fingerprint(value));
        }
    }

    /// Takes the value of `a=setup`.
    pub(super) fn take_setup(&mut self, value: &str) {
        const ROLES: [&str; 4] = ["actpass", "active", "passive", "holdconn"];
        self.setup = ROLES.into_iter().find(|role| role.eq_ignore_ascii_case(value.trim()));
    }

    /// Whether certificates can be checked.
    pub(super) fn is_usable(&self) -> bool {
        !self.fingerprints.is_empty()
    }

    /// The lines, as they cross.
    pub(super) fn write(&self, lines: &mut String) {
        lines.extend(self.fingerprints.iter().map(String::as_str));
        if let Some(role) = self.setup {
            put(lines, format_args!("a=setup:{role}\r\n"));
        }
    }
}

/// Keys in the description.
#[derive(Clone, Default)]
pub(super) struct Keys(Vec<String>);

impl Keys {
    /// Takes the value of `a=crypto`.
    pub(super) fn take(&mut self, value: &str) {
        if self.0.len() < MAX_LINES {
            self.0.extend(crypto(value));
        }
    }

    /// Whether there is a key.
    pub(super) fn is_usable(&self) -> bool {
        !self.0.is_empty()
    }

    /// The lines, as they cross.
    pub(super) fn write(&self, lines: &mut String) {
        lines.extend(self.0.iter().map(String::as_str));
    }
}

impl std::fmt::Debug for Keys {
    /// Without the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} lines)", self.0.len())
    }
}

/// `1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4`.
fn crypto(value: &str) -> Option<String> {
    let mut words = value.split_ascii_whitespace();
    let (tag, suite, keys) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || keys.split(';').count() > MAX_KEYS {
        return None;
    }
    let tag: u16 = tag.parse().ok()?;
    let &(suite, length) = SUITES.iter().find(|(name, _)| name.eq_ignore_ascii_case(suite))?;
    let mut line = format!("a=crypto:{tag} {suite} ");
    for (index, key) in keys.split(';').enumerate() {
        if index > 0 {
            line.push(';');
        }
        write_key(&mut line, key, length)?;
    }
    line.push_str("\r\n");
    Some(line)
}

/// `inline:KEY[|LIFETIME][|MKI:LENGTH]`.
fn write_key(line: &mut String, parameter: &str, length: usize) -> Option<()> {
    let (method, parameter) = parameter.split_once(':')?;
    let mut parts = parameter.split('|');
    let key = BASE64.decode(parts.next()?).ok().filter(|key| key.len() == length)?;
    if !method.eq_ignore_ascii_case("inline") {
        return None;
    }
    put(line, format_args!("inline:{}", BASE64.encode(key)));
    let mut part = parts.next();
    if let Some(power) = part.filter(|part| !part.contains(':')) {
        put(line, format_args!("|2^{}", lifetime(power)?));
        part = parts.next();
    }
    if let Some(identifier) = part {
        let (value, length) = identifier.split_once(':')?;
        // As many bytes as four say which of our few keys it is.
        let length = length.parse::<u8>().ok().filter(|length| (1..=4).contains(length))?;
        put(line, format_args!("|{}:{length}", value.parse::<u16>().ok()?));
    }
    parts.next().is_none().then_some(())
}

/// `2^20`, or a number of packets: the greatest power of two in it, since a key may
/// always be given up earlier, and a number may be anything.
fn lifetime(text: &str) -> Option<u32> {
    let power = match text.strip_prefix("2^") {
        Some(power) => power.parse().ok()?,
        None => text.parse::<u64>().ok()?.checked_ilog2()?,
    };
    (power <= MAX_LIFETIME).then_some(power)
}

/// `sha-256 4A:AD:B9:…`.
fn fingerprint(value: &str) -> Option<String> {
    let (hash, digits) = value.trim().split_once(' ')?;
    let &(hash, length) = HASHES.iter().find(|(name, _)| name.eq_ignore_ascii_case(hash))?;
    let mut line = format!("a=fingerprint:{hash} ");
    let mut bytes = 0;
    for (index, pair) in digits.trim().split(':').enumerate() {
        let byte =
            Some(pair).filter(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let byte = u8::from_str_radix(byte, 16).ok()?;
        put(&mut line, format_args!("{}{byte:02X}", if index == 0 { "" } else { ":" }));
        bytes += 1;
    }
    line.push_str("\r\n");
    (bytes == length).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn keys_are_written_anew_and_nothing_beside_them() {
        let long = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdA==";
        for (value, kept) in [
            (
                format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
                Some(format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")),
            ),
            (
                format!("2 aes_cm_128_hmac_sha1_32 inline:{KEY}|2^20|1:4"),
                Some(format!("2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^20|1:4")),
            ),
            (
                format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}|1:4"),
                Some(format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}|1:4")),
            ),
            (
                format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|14155550100"),
                Some(format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^33")),
            ),
            (
                format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4;inline:{KEY}|2^20|2:4"),
                Some(format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4;inline:{KEY}|2^20|2:4")),
            ),
            (
                format!("1 AES_256_CM_HMAC_SHA1_80 inline:{long}"),
                Some(format!("1 AES_256_CM_HMAC_SHA1_80 inline:{long}")),
            ),
            (
                format!("1 AES_256_CM_HMAC_SHA1_80 inline:{}", long.trim_end_matches('=')),
                Some(format!("1 AES_256_CM_HMAC_SHA1_80 inline:{long}")),
            ),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}A"), None),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{long}"), None),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP"), None),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} alice"), None),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|14155550100:4"), None),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^49"), None),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4|alice"), None),
            (format!("14155550100 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"), None),
            (format!("1 ALICE inline:{KEY}"), None),
            ("1 AES_CM_128_HMAC_SHA1_80 uri:sip:alice@example.com".to_owned(), None),
            ("1 AES_CM_128_HMAC_SHA1_80".to_owned(), None),
            (String::new(), None),
        ] {
            let kept = kept.map(|kept| format!("a=crypto:{kept}\r\n"));
            assert_eq!(crypto(&value), kept, "{value}");
        }
    }

    #[test]
    fn bits_that_belong_to_no_byte_do_not_cross() {
        // 28 bytes leave four bits of the last digit without meaning.
        let with = |last: char| format!("1 AEAD_AES_128_GCM inline:{}{last}==", "A".repeat(37));
        assert!(crypto(&with('P')).is_some());
        assert_eq!(crypto(&with('P')), crypto(&with('A')));
    }

    #[test]
    fn fingerprints_have_the_length_of_their_hash() {
        let bytes = |count: usize| vec!["aB"; count].join(":");
        for (value, kept) in [
            (format!("sha-256 {}", bytes(32)), true),
            (format!("SHA-1 {}", bytes(20)), true),
            (format!("sha-256 {}", bytes(31)), false),
            (format!("sha-256 {}", bytes(33)), false),
            (format!("md5 {}", bytes(16)), false),
            (format!("sha-256 {}:+1", bytes(31)), false),
            (format!("sha-256 {} alice", bytes(32)), false),
            ("sha-256".to_owned(), false),
        ] {
            assert_eq!(fingerprint(&value).is_some(), kept, "{value}");
        }
        let line = fingerprint(&format!("SHA-1 {}", bytes(20))).unwrap();
        assert_eq!(line, format!("a=fingerprint:sha-1 {}\r\n", vec!["AB"; 20].join(":")));
    }

    #[test]
    fn what_a_section_says_replaces_what_the_session_says() {
        let bytes = |byte: &str| format!("sha-1 {}", vec![byte; 20].join(":"));
        let mut session = Dtls::default();
        session.take_fingerprint(&bytes("11"));
        session.take_setup("actpass");
        let mut section = session.inherited();
        let written = |dtls: &Dtls| {
            let mut lines = String::new();
            dtls.write(&mut lines);
            lines
        };
        assert_eq!(written(&section), written(&session));
        section.take_fingerprint(&bytes("22"));
        section.take_fingerprint(&bytes("33"));
        section.take_setup("Passive");
        let lines = written(&section);
        assert!(!lines.contains("11:11") && lines.contains("22:22") && lines.contains("33:33"), "{lines}");
        assert!(lines.ends_with("a=setup:passive\r\n"), "{lines}");
        section.take_setup("alice");
        assert!(!written(&section).contains("setup"));
        assert!(!format!("{:?}", Keys(vec![KEY.to_owned()])).contains(KEY));
    }
}
