//! Identifiers of bindings, sessions and legs, and the tokens of our dialogs.
//!
//! Binding and session ids are 128 bits in Crockford base 32 behind a prefix, so
//! they are safe to show, to grep and to put into a URL, and say nothing about a
//! party. Those of sessions are random; those of bindings begin with the time of
//! their creation, so that they sort by it, and what a store gets to write lies
//! together instead of everywhere. Tokens (tags, Call-IDs, branches) start with the
//! [`Slot`] that owns the dialog, so that any worker can tell from a message
//! alone whose it is.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::time::Timestamp;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 26 digits of five bits hold 128.
const ID_DIGITS: usize = 26;

/// A text that is not an identifier.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("'{found}' is not an id of the form {prefix}_ and 26 characters of 0-9 and a-z")]
pub struct IdError {
    prefix: &'static str,
    found: String,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u128);

        impl $name {
            /// A new one, from the injected random source.
            pub fn random(random: &mut impl Rng) -> Self {
                Self((u128::from(random.next_u64()) << 64) | u128::from(random.next_u64()))
            }

            /// The bits, for keys in the store.
            #[must_use]
            pub const fn to_bits(self) -> u128 {
                self.0
            }

            /// The id that has these bits.
            #[must_use]
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&encode($prefix, self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                decode($prefix, text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

identifier! {
    /// The mapping that joins two parties through proxy numbers.
    BindingId, "bind"
}
identifier! {
    /// One conversation: a call with all its legs.
    SessionId, "sess"
}
identifier! {
    /// A party as one tenant may know it: a pseudonym.
    PartyId, "party"
}
identifier! {
    /// A call detail record.
    RecordId, "cdr"
}
identifier! {
    /// An erasure, and its certificate.
    ErasureId, "erasure"
}

impl RecordId {
    /// Of a leg. It says the same whenever the record is written, so a record that is
    /// written twice is known again.
    #[must_use]
    pub fn of(session: SessionId, leg: LegName, fork: u8) -> Self {
        let mut bytes = [0; 18];
        bytes[..16].copy_from_slice(&session.to_bits().to_be_bytes());
        bytes[16] = leg.to_string().as_bytes()[0];
        bytes[17] = fork;
        let [bits @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *blake3::hash(&bytes).as_bytes();
        Self(u128::from_be_bytes(bits))
    }
}

impl BindingId {
    /// A new one, from the injected clock and random source.
    pub fn draw(now: Timestamp, random: &mut impl Rng) -> Self {
        Self(in_order_of_time(now, random))
    }
}

/// 48 bits of milliseconds since 1970 and 80 random ones.
pub(super) fn in_order_of_time(now: Timestamp, random: &mut impl Rng) -> u128 {
    let milliseconds = u128::try_from(now.unix_microseconds() / 1_000).unwrap_or(0);
    let chance = u128::from(random.next_u64()) << 16 | u128::from(random.next_u32() >> 16);
    (milliseconds << 80) | chance
}

fn encode(prefix: &str, bits: u128) -> String {
    let mut text = String::with_capacity(prefix.len() + 1 + ID_DIGITS);
    text.push_str(prefix);
    text.push('_');
    for digit in (0..ID_DIGITS).rev() {
        let five = usize::try_from((bits >> (digit * 5)) & 31).unwrap_or(0);
        text.push(char::from(ALPHABET[five]));
    }
    text
}

fn decode(prefix: &'static str, text: &str) -> Result<u128, IdError> {
    let error = || IdError { prefix, found: text.chars().take(40).collect() };
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).ok_or_else(error)?;
    // The first digit holds the three topmost bits.
    if digits.len() != ID_DIGITS || digits.as_bytes()[0] > b'7' {
        return Err(error());
    }
    digits.bytes().try_fold(0_u128, |bits, byte| {
        let five = ALPHABET.iter().position(|&digit| digit == byte).ok_or_else(error)?;
        Ok((bits << 5) | five as u128)
    })
}

/// Which of the 256 slots of dialogs something belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u8);

impl Slot {
    /// A fresh token for a tag, Call-ID or branch: the slot in two hexadecimal
    /// digits, then 96 random bits (RFC 3261 section 19.3 asks for 32).
    pub fn token(self, random: &mut impl Rng) -> String {
        format!("{:02x}{:016x}{:08x}", self.0, random.next_u64(), random.next_u32())
    }

    /// The slot that a token of ours names; `None` for a foreign one.
    #[must_use]
    pub fn of_token(token: &str) -> Option<Self> {
        if token.len() != 26 || !token.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        u8::from_str_radix(&token[..2], 16).ok().map(Self)
    }
}

/// What a leg is to its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LegName {
    /// Between Vizard and the customer.
    A,
    /// Between Vizard and the agent.
    B,
}

impl LegName {
    /// Both legs of a two-party call.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The opposite leg of a two-party call.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for LegName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text() {
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let id = BindingId::from_bits(bits);
            assert_eq!(id.to_string().parse::<BindingId>().unwrap(), id);
        }
    }

    #[test]
    fn ids_of_bindings_sort_by_their_time() {
        let mut random = rand_chacha::ChaCha8Rng::from_seed_for_tests(5);
        let mut at =
            |microseconds| BindingId::draw(Timestamp::from_unix_microseconds(microseconds), &mut random);
        let ids = [at(-5), at(1_000), at(2_999), at(3_000), at(i64::MAX)];
        assert!(ids.is_sorted(), "{ids:?}");
        assert_ne!(at(7_000), at(7_000));
    }

    #[test]
    fn ids_of_another_kind_or_shape_are_refused() {
        let session = SessionId::from_bits(7).to_string();
        assert!(session.parse::<BindingId>().is_err());
        for text in ["", "bind_", "bind_8zzzzzzzzzzzzzzzzzzzzzzzzz", "bind_0000000000000000000000000u"] {
            assert!(text.parse::<BindingId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_names_its_slot() {
        let mut random = rand_chacha::ChaCha8Rng::from_seed_for_tests(3);
        let token = Slot(0xa7).token(&mut random);
        assert_eq!(Slot::of_token(&token), Some(Slot(0xa7)));
        assert_eq!(Slot::of_token("1928301774"), None);
    }

    trait FromSeed {
        fn from_seed_for_tests(seed: u8) -> Self;
    }

    impl FromSeed for rand_chacha::ChaCha8Rng {
        fn from_seed_for_tests(seed: u8) -> Self {
            rand::SeedableRng::from_seed([seed; 32])
        }
    }
}
