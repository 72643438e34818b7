//! Finds in any text whatever could give a party away.
//!
//! The search works on a squeezed copy of the text: percent escapes decoded
//! and visual separators between digits removed, so that every written variant
//! of a number looks alike. Its needles are the ranges of the atlas, not the
//! engine's own list of what to look for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use memchr::memmem::find_iter;

use crate::atlas::{LegId, REAL_PREFIXES, owner_of, owner_of_canary, significant};

/// Something that identifies a party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    /// A real number: the digits after the country code.
    Number(String),
    /// A PBX extension.
    Extension(String),
    /// The address of a telephone or of its media.
    Address(LegId),
    /// A planted word.
    Canary(String),
}

/// Every real number and extension of a world.
#[derive(Default)]
pub(crate) struct Secrets {
    numbers: BTreeSet<String>,
    extensions: BTreeSet<String>,
}

impl Secrets {
    /// Adds a real number, E.164 digits without `+`.
    pub(crate) fn add_number(&mut self, digits: &str) {
        self.numbers.insert(significant(digits).to_owned());
    }

    /// Adds an extension.
    pub(crate) fn add_extension(&mut self, user: &str) {
        self.extensions.insert(user.to_owned());
    }

    /// Real numbers and extensions in a text that people may read.
    pub(crate) fn names_in(&self, text: &str) -> Vec<Secret> {
        let squeezed = squeeze(text.as_bytes());
        let mut found = self.numbers_in(&squeezed);
        for extension in self.extensions.iter().filter(|extension| extension.len() >= 7) {
            if find_iter(text.as_bytes(), extension.as_bytes()).next().is_some() {
                found.push(Secret::Extension(extension.clone()));
            }
        }
        found
    }

    /// Everything in a SIP message that identifies a party.
    pub(crate) fn all_in(&self, bytes: &[u8]) -> Vec<Secret> {
        let squeezed = squeeze(bytes);
        let mut found = self.numbers_in(&squeezed);
        for at in find_iter(bytes, b"sip:") {
            let user = bytes[at + 4..].split(|&b| b"@;>\r".contains(&b)).next().unwrap_or_default();
            if let Ok(user) = std::str::from_utf8(user)
                && self.extensions.contains(user)
            {
                found.push(Secret::Extension(user.to_owned()));
            }
        }
        for at in find_iter(bytes, b"10.") {
            let address = bytes[at..].split(|b| !b.is_ascii_digit() && *b != b'.').next().unwrap_or_default();
            let ip = std::str::from_utf8(address).ok().and_then(|text| text.parse::<IpAddr>().ok());
            found.extend(ip.and_then(owner_of).map(Secret::Address));
        }
        for at in find_iter(bytes, b"cnry") {
            let word = String::from_utf8_lossy(&bytes[at..(at + 10).min(bytes.len())]).into_owned();
            found.push(Secret::Canary(word));
        }
        found
    }

    fn numbers_in(&self, squeezed: &[u8]) -> Vec<Secret> {
        let mut found = Vec::new();
        for prefix in REAL_PREFIXES {
            for at in find_iter(squeezed, prefix.as_bytes()) {
                for length in [10, 11] {
                    if let Some(Ok(digits)) = squeezed.get(at..at + length).map(std::str::from_utf8)
                        && self.numbers.contains(digits)
                    {
                        found.push(Secret::Number(digits.to_owned()));
                    }
                }
            }
        }
        found
    }
}

impl Secret {
    /// Whether `leg` itself may read this: it is its own, or it wrote it.
    pub(crate) fn belongs_to(&self, leg: LegId, own: &[String]) -> bool {
        match self {
            Self::Number(digits) => own.iter().any(|own| significant(own) == digits),
            Self::Extension(user) => own.contains(user),
            Self::Address(owner) => *owner == leg,
            Self::Canary(word) => owner_of_canary(word) == Some(leg),
        }
    }
}

/// The text with escapes decoded and separators between digits removed.
fn squeeze(bytes: &[u8]) -> Vec<u8> {
    let mut squeezed: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let (byte, length) = match bytes[at] {
            b'%' => match bytes.get(at + 1..at + 3).map(hexadecimal) {
                Some(Some(decoded)) => (decoded, 3),
                _ => (b'%', 1),
            },
            byte => (byte, 1),
        };
        at += length;
        if !(b"-.() ".contains(&byte) && squeezed.last().is_some_and(u8::is_ascii_digit)) {
            squeezed.push(byte);
        }
    }
    squeezed
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[test]
fn every_way_of_writing_a_number_is_found() {
    let mut secrets = Secrets::default();
    secrets.add_number("14157001009");
    for text in ["+14157001009", "tel:+1-415-700-1009", "(415) 700-1009", "4157001009", "%34157%30%301009"] {
        assert_eq!(secrets.names_in(text), [Secret::Number("4157001009".into())], "{text}");
    }
    assert_eq!(secrets.names_in("+14157001008 +1415•••••09"), []);
}
