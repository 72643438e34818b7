//! What a log says of a store that was restored from a backup: it goes on behind the
//! entries that the backup does not have, with one that says so under the vault's keys.
//!
//! Verification takes that gap for explained, and only that one: the entry names the
//! last one that the backup had. Whoever has no keys can neither write such an entry
//! nor make another gap look like its own.

use super::Snapshot;
use super::acts::plain;
use super::anchor::Anchor;
use super::entry::{Act, Entry, Proof, Who};
use crate::engine::privacy::Notary;
use crate::engine::time::Timestamp;

/// The entry for a log that ends as this one does, in a store of the backup of `made`.
#[must_use]
pub fn restored(notary: &Notary, at: Timestamp, who: Who, made: &str, log: &Snapshot) -> Entry {
    let Snapshot { tail, last, anchor } = log;
    let stored = tail.last().filter(|entry| entry.seq == *last).map(Anchor::at);
    let stored = stored.unwrap_or(Anchor { seq: *last, ..Anchor::default() });
    let head = anchor.filter(|anchor| anchor.seq > *last).unwrap_or(stored);
    let entry = Entry {
        seq: head.seq + 1,
        at,
        who,
        act: Act::Restore,
        on: ends_with(*last),
        reason: format!("backup of {}", plain(made)),
        before: head.digest,
        proof: Proof::default(),
    };
    entry.proven(notary)
}

/// What such an entry is about: a log that ends with entry `last`.
fn ends_with(last: u64) -> String {
    format!("entry {last}")
}

/// Whether `entry` explains why those from `first` on until itself are missing.
pub(super) fn explains(entry: &Entry, seq: u64, first: u64, notary: &Notary) -> bool {
    entry.act == Act::Restore
        && entry.seq == seq
        && entry.on == ends_with(first - 1)
        && entry.is_genuine(notary)
}
