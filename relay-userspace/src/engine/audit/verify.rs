//! Looks through a log, entry by entry in the order of the store, and says
//! everything that is wrong with it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::anchor::Anchor;
use super::entry::{Act, Entry};
use super::restore::explains;
use crate::engine::privacy::{Digest, Notary};
use crate::engine::time::Timestamp;

/// Findings that are told one by one; the others are counted.
const TOLD: usize = 100;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "finding")]
pub enum Finding {
    /// Entries are not there.
    Missing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// An entry cannot be read.
    Unreadable {
        /// Which.
        seq: u64,
        /// Why.
        problem: String,
    },
    /// An entry was changed, or written by somebody without the keys.
    Changed {
        /// Which.
        seq: u64,
    },
    /// An entry stands in another one's place.
    Misplaced {
        /// Where it stands.
        seq: u64,
        /// Where it belongs.
        belongs: u64,
    },
    /// An entry does not follow the one before it: that one was replaced, or
    /// entries are missing between them.
    Unlinked {
        /// The later one.
        seq: u64,
    },
    /// A seal's signature does not hold.
    Unsealed {
        /// The seal.
        seq: u64,
    },
    /// The log ends before its anchor says.
    CutOff {
        /// Where it ends.
        ends: u64,
        /// Where it should.
        anchored: u64,
    },
    /// The entry that the anchor names is another one.
    NotAnchored {
        /// Which.
        seq: u64,
    },
    /// There is no anchor to tell where the log should end.
    NoAnchor {
        /// Why.
        problem: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { first, last } if first == last => write!(f, "entry {first} is missing"),
            Self::Missing { first, last } => write!(f, "entries {first} to {last} are missing"),
            Self::Unreadable { seq, problem } => write!(f, "entry {seq} cannot be read: {problem}"),
            Self::Changed { seq } => {
                write!(f, "entry {seq} was changed, or written by somebody without the keys")
            }
            Self::Misplaced { seq, belongs } => {
                write!(f, "in the place of entry {seq} stands entry {belongs}")
            }
            Self::Unlinked { seq } => {
                write!(f, "entry {seq} does not follow what stands before it: that was replaced or removed")
            }
            Self::Unsealed { seq } => write!(f, "the signature of seal {seq} does not hold"),
            Self::CutOff { ends, anchored } => {
                write!(f, "the log ends with entry {ends}, and its anchor says {anchored}: it was cut off")
            }
            Self::NotAnchored { seq } => write!(f, "entry {seq} is not the one that the anchor names"),
            Self::NoAnchor { problem } => {
                write!(f, "where the log should end is not known, so it may be cut off: {problem}")
            }
        }
    }
}

/// Entries that are missing, and a later one that says why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// The entry that explains it.
    pub by: u64,
    /// When that was written.
    pub at: Timestamp,
    /// What it says.
    pub reason: String,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, by, reason, .. } = self;
        write!(f, "entries {first} to {last} are not in the {reason}, of which entry {by} made this store")
    }
}

/// What came of looking through a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Entries that were looked at.
    pub entries: u64,
    /// Seals among them that hold.
    pub seals: u64,
    /// The last entry that a seal covers; zero when there is none.
    pub sealed: u64,
    /// The last entry.
    pub head: u64,
    /// The last entry's digest.
    pub digest: Digest,
    /// What signatures were checked with.
    pub public_key: String,
    /// What is wrong, the first hundred.
    pub findings: Vec<Finding>,
    /// How much is wrong.
    pub found: u64,
    /// What is missing since a backup was restored that did not have it: the last
    /// hundred times.
    pub explained: Vec<Explained>,
}

/// Looks through a log.
pub struct Verifier<'a> {
    notary: &'a Notary,
    anchor: Result<Anchor, String>,
    /// What the next entry must hold of the one before; unknown after one that
    /// is itself wrong, which was said.
    before: Option<Digest>,
    result: Verification,
}

impl<'a> Verifier<'a> {
    /// For a log whose anchor this is, or cannot be read for this reason.
    #[must_use]
    pub fn new(notary: &'a Notary, anchor: Result<Anchor, String>) -> Self {
        let result = Verification { public_key: notary.public_key(), ..Verification::default() };
        Self { notary, anchor, before: Some(Digest::default()), result }
    }

    /// The next entry that the store has, and where it stands there.
    pub fn take(&mut self, seq: u64, entry: Result<Entry, String>) {
        let expected = self.result.head + 1;
        if seq > expected {
            let by = entry.as_ref().ok().filter(|entry| explains(entry, seq, expected, self.notary));
            match by {
                Some(by) => self.explained(expected, by),
                None => self.found(Finding::Missing { first: expected, last: seq - 1 }),
            }
            self.before = None;
        }
        self.result.entries += 1;
        self.result.head = self.result.head.max(seq);
        match entry {
            Ok(entry) => self.judge(seq, &entry),
            Err(problem) => {
                self.found(Finding::Unreadable { seq, problem });
                self.before = None;
            }
        }
    }

    fn judge(&mut self, seq: u64, entry: &Entry) {
        let digest = entry.digest();
        let linked = self.before.is_none_or(|before| before == entry.before);
        self.before = Some(digest);
        self.result.digest = digest;
        if entry.seq != seq {
            self.found(Finding::Misplaced { seq, belongs: entry.seq });
            self.before = None;
        } else if !entry.is_genuine(self.notary) {
            self.found(Finding::Changed { seq });
            self.before = None;
        } else if !linked {
            self.found(Finding::Unlinked { seq });
        }
        if !entry.is_well_sealed(self.notary) {
            self.found(Finding::Unsealed { seq });
        } else if entry.act == Act::Seal {
            self.result.seals += 1;
            self.result.sealed = seq;
        }
        if let Ok(anchor) = self.anchor
            && anchor.seq == seq
            && anchor.digest != digest
        {
            self.found(Finding::NotAnchored { seq });
        }
    }

    /// The end of the log.
    #[must_use]
    pub fn finish(mut self) -> Verification {
        match self.anchor.clone() {
            // Without an anchor nothing was ever written, or everything is gone.
            Err(problem) => self.found(Finding::NoAnchor { problem }),
            Ok(anchor) if anchor.seq > self.result.head => {
                self.found(Finding::CutOff { ends: self.result.head, anchored: anchor.seq });
            }
            Ok(_) => {}
        }
        self.result
    }

    fn explained(&mut self, first: u64, by: &Entry) {
        if self.result.explained.len() == TOLD {
            self.result.explained.remove(0);
        }
        let (last, reason) = (by.seq - 1, by.reason.clone());
        self.result.explained.push(Explained { first, last, by: by.seq, at: by.at, reason });
    }

    fn found(&mut self, finding: Finding) {
        self.result.found += 1;
        if self.result.findings.len() < TOLD {
            self.result.findings.push(finding);
        }
    }
}
