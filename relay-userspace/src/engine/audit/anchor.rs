//! Where the log ends, as told outside the store.
//!
//! ```text
//! vizard-audit 1
//! head 4711 6f1c...
//! key 09ab...
//! signature 77d0...
//! ```

use std::fmt::Write as _;

use thiserror::Error;

use super::entry::Entry;
use crate::engine::privacy::notary::{SIGNATURE_BYTES, bytes, hex};
use crate::engine::privacy::{Digest, Notary};

const HEADER: &str = "vizard-audit 1";
/// What signatures of anchors are for.
const ANCHOR: &[u8] = b"vizard audit anchor";

/// The end of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// The number of its last entry; zero before the first one.
    pub seq: u64,
    /// That entry's digest.
    pub digest: Digest,
}

impl Anchor {
    /// The end of a log that ends with this entry.
    #[must_use]
    pub fn at(entry: &Entry) -> Self {
        Self { seq: entry.seq, digest: entry.digest() }
    }

    /// The file's content, signed.
    #[must_use]
    pub fn to_text(&self, notary: &Notary) -> String {
        let signature = hex(&notary.sign(ANCHOR, &self.signed()));
        let mut text = String::with_capacity(400);
        let _ = writeln!(text, "{HEADER}\nhead {} {}", self.seq, self.digest);
        let _ = writeln!(text, "key {}\nsignature {signature}", notary.public_key());
        text
    }

    /// Reads a file's content, which must be of the same notary.
    pub fn parse(text: &str, notary: &Notary) -> Result<Self, AnchorError> {
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
        let [header, head, key, signature] = lines.as_slice() else { return Err(AnchorError::Damaged) };
        if header.join(" ") != HEADER {
            return Err(AnchorError::Damaged);
        }
        let (&["head", seq, digest], &["key", key], &["signature", signature]) =
            (&**head, &**key, &**signature)
        else {
            return Err(AnchorError::Damaged);
        };
        if key != notary.public_key() {
            return Err(AnchorError::Foreign);
        }
        let read = || {
            let anchor = Self { seq: seq.parse().ok()?, digest: Digest(bytes(digest)?) };
            let signature: [u8; SIGNATURE_BYTES] = bytes(signature)?;
            notary.is_signed(ANCHOR, &anchor.signed(), &signature).then_some(anchor)
        };
        read().ok_or(AnchorError::Damaged)
    }

    fn signed(&self) -> Digest {
        Digest::of(&[&self.seq.to_be_bytes()[..], &self.digest.0].concat())
    }
}

/// Why a text is no anchor of this log.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AnchorError {
    /// It is not whole, or was changed.
    #[error("it is damaged or was changed: its signature does not match")]
    Damaged,
    /// It was signed with other keys.
    #[error("it belongs to another log: it was signed under other keys")]
    Foreign,
}
