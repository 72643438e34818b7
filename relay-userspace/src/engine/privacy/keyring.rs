//! The keys that live outside the store, and the file that holds them.
//!
//! The file is text, so that it can be printed and locked away:
//!
//! ```text
//! vizard-keys 1
//! index 6f1c...
//! epoch 1 09ab...
//! epoch 2 77d0...
//! check 5f0e2a91
//! ```
//!
//! The last line tells a damaged file from a wrong one. Nothing here prints a
//! key but [`Keyring::to_text`].

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use rand::Rng;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::notary::Notary;

/// Bytes of every key.
pub const KEY_BYTES: usize = 32;
const HEADER: &str = "vizard-keys 1";
/// Far beyond what rotation once a day would use in a life of keys.
const MAX_EPOCHS: usize = 1_000;

/// A secret of 256 bits, zeroised when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; KEY_BYTES]>);

impl Secret {
    /// A new one, from the injected random source.
    pub fn random(random: &mut impl Rng) -> Self {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        random.fill_bytes(&mut *key);
        Self(key)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    pub(super) const fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Names a wrapping key and everything that is sealed under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// All keys of one vault. It has at least one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    pub(super) index: Secret,
    epochs: BTreeMap<Epoch, Secret>,
}

impl Keyring {
    /// The keys of a new vault.
    pub fn generate(random: &mut impl Rng) -> Self {
        let index = Secret::random(random);
        Self { index, epochs: BTreeMap::from([(Epoch(1), Secret::random(random))]) }
    }

    /// Makes a wrapping key for a new epoch.
    pub fn add_epoch(&mut self, random: &mut impl Rng) -> Result<Epoch, KeyringError> {
        let next = self.newest().0.checked_add(1).filter(|_| self.epochs.len() < MAX_EPOCHS);
        let epoch = Epoch(next.ok_or(KeyringError::Full)?);
        self.epochs.insert(epoch, Secret::random(random));
        Ok(epoch)
    }

    /// Destroys the wrapping keys of every epoch before this one; `false` when
    /// there are none. The newest stays.
    pub fn destroy_before(&mut self, epoch: Epoch) -> bool {
        let kept = self.epochs.split_off(&epoch.min(self.newest()));
        !std::mem::replace(&mut self.epochs, kept).is_empty()
    }

    /// The epoch that seals what is new.
    #[must_use]
    pub fn newest(&self) -> Epoch {
        self.epochs.last_key_value().map_or(Epoch(0), |(&epoch, _)| epoch)
    }

    /// What proves the audit log that is written under these keys.
    #[must_use]
    pub fn notary(&self) -> Notary {
        Notary::of(&self.index)
    }

    /// Every epoch, oldest first.
    pub fn epochs(&self) -> impl Iterator<Item = Epoch> {
        self.epochs.keys().copied()
    }

    pub(super) fn wrapping_key(&self, epoch: Epoch) -> Option<&Secret> {
        self.epochs.get(&epoch)
    }

    /// The file's content.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        // Room for all of it, so that no copy is left behind by growing.
        let mut text = Zeroizing::new(String::with_capacity(128 * (self.epochs.len() + 3)));
        text.push_str(HEADER);
        text.push_str("\nindex ");
        push_hex(&mut text, self.index.bytes());
        for (epoch, key) in &self.epochs {
            let _ = write!(text, "\nepoch {epoch} ");
            push_hex(&mut text, key.bytes());
        }
        text.push('\n');
        let check = check(&text);
        let _ = writeln!(text, "check {check}");
        text
    }

    /// Reads a file's content. Empty lines and lines that begin with `#` are
    /// for people.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let lines = || {
            let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
            numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        };
        let header = lines().next().map(|(_, line)| line);
        match header {
            Some(HEADER) => {}
            Some(other) if other.starts_with("vizard-keys ") => return Err(KeyringError::Newer),
            Some(_) | None => return Err(KeyringError::NotKeys),
        }
        let (mut index, mut epochs, mut checked) = (None, BTreeMap::new(), None);
        let mut covered = Zeroizing::new(String::with_capacity(text.len() + 1));
        for (line, words) in lines() {
            let malformed = || KeyringError::Malformed { line };
            if checked.is_some() {
                return Err(malformed());
            }
            let fields: Vec<&str> = words.split_ascii_whitespace().collect();
            match *fields.as_slice() {
                ["check", found] => checked = Some(found == check(&covered)),
                ["index", key] if index.is_none() => {
                    index = Some(secret(key).ok_or_else(malformed)?);
                }
                ["epoch", number, key] => {
                    let epoch = Epoch(number.parse().map_err(|_| malformed())?);
                    let later = epochs.last_key_value().is_none_or(|(&last, _)| last < epoch);
                    if !later || epochs.len() == MAX_EPOCHS {
                        return Err(malformed());
                    }
                    epochs.insert(epoch, secret(key).ok_or_else(malformed)?);
                }
                _ if words == HEADER => {}
                _ => return Err(malformed()),
            }
            covered.push_str(words);
            covered.push('\n');
        }
        match (index, checked) {
            (Some(index), Some(true)) if !epochs.is_empty() => Ok(Self { index, epochs }),
            _ => Err(KeyringError::Damaged),
        }
    }
}

/// Why a text is no keyring. Never carries the text.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyringError {
    /// Something else altogether.
    #[error("it holds no Vizard keys: its first line is not `{HEADER}`")]
    NotKeys,
    /// A later version's.
    #[error("it was written by a newer Vizard; start that one")]
    Newer,
    /// A line that makes no sense.
    #[error("line {line} is none of index, epoch and check; restore the file from its backup")]
    Malformed {
        /// Counted from one.
        line: usize,
    },
    /// There is no room for another epoch.
    #[error("it holds {MAX_EPOCHS} epochs, more than ever should be: let a rotation end first")]
    Full,
    /// Something is missing or changed.
    #[error("it is cut short or changed: its check line does not match; restore it from its backup")]
    Damaged,
}

/// The first bytes of a digest, in hexadecimal.
fn check(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest[..4].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

fn secret(hex: &str) -> Option<Secret> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    if hex.len() != 2 * KEY_BYTES || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(Secret(key))
}
