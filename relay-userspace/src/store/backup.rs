//! A copy of the store as it is at one moment, made while it is written; and a
//! store made of a copy.
//!
//! A copy is all rows as a scan finds them, then the rows that were written
//! meanwhile as they are at its end. Later rows replace earlier ones, so the
//! whole is the store at that end. Commits wait for the last few rows alone.
//!
//! A copy holds what the store holds, sealed as it is: no number without the key
//! file, which is never part of it. A restored store takes its place when it is
//! whole and its keys have opened every record in it, the way a sealed one takes
//! the place of one in clear (`older`).

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::Rng;

use super::apply::Writes;
use super::sled::{Database, cannot_open, write_format};
use super::{SledStore, Store, StoreError, keys, lockbox, older, renew};
use crate::engine::audit::{self, Entry};
use crate::engine::io::{Change, Transaction};
use crate::engine::privacy::Keyring;

/// Bytes of one piece of a copy, about.
const PIECE: usize = 256 * 1024;
/// So few rows are copied while commits wait.
const FEW: usize = 1_000;
/// How often a copy tries to get there before it takes more.
const ROUNDS: usize = 16;
/// Rows that a restore writes at once.
const BATCH: usize = 4_096;
/// Far beyond the longest record.
const LONGEST: u32 = 64 * 1024 * 1024;
const REMOVED: u32 = u32::MAX;
/// Which database a row is of.
const TAGS: [u8; 2] = *b"dc";

/// Copies a store while it is written.
pub trait BackupSource: Send {
    /// Hands the copy over in pieces, until `take` wants no more.
    fn copy(&self, take: &mut dyn FnMut(&[u8]) -> bool) -> Result<Copied, StoreError>;
}

/// What a copy holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Whether it is whole.
    pub whole: bool,
    /// Rows, those that replace others included.
    pub rows: u64,
    /// The wrapped data keys, to try key files on.
    pub data_keys: String,
}

/// The rows that have been written since a copy began.
#[derive(Default)]
pub(super) struct Watch(Mutex<Option<Touched>>);

type Touched = [BTreeSet<Vec<u8>>; 2];

impl Watch {
    /// Held while a group is written.
    pub(super) fn writing(&self) -> Writing<'_> {
        Writing(self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Touched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group is being written.
pub(super) struct Writing<'a>(MutexGuard<'a, Option<Touched>>);

impl Writing<'_> {
    pub(super) fn note(&mut self, directory: &Writes, cdrs: &Writes) {
        if let Some(touched) = &mut *self.0 {
            touched[0].extend(directory.keys().cloned());
            touched[1].extend(cdrs.keys().cloned());
        }
    }
}

/// A copy of a sled store.
pub(super) struct SledCopy {
    pub(super) trees: [::sled::Tree; 2],
    pub(super) watch: Arc<Watch>,
}

/// Ends the watch, however the copy ends.
struct Watching<'a>(&'a Watch);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

impl BackupSource for SledCopy {
    fn copy(&self, take: &mut dyn FnMut(&[u8]) -> bool) -> Result<Copied, StoreError> {
        {
            let mut touched = self.watch.lock();
            if touched.is_some() {
                return Err(copying("another copy is being made; wait for its end"));
            }
            *touched = Some(Touched::default());
        }
        let _watching = Watching(&self.watch);
        let mut copied = Copied::default();
        let mut piece = Vec::with_capacity(PIECE + 1024);
        for (tag, tree) in TAGS.into_iter().zip(&self.trees) {
            for row in tree {
                let (key, value) = row.map_err(|error| copying(&error.to_string()))?;
                if *key == *keys::FORMAT {
                    continue;
                }
                put(&mut piece, tag, &key, Some(&value));
                copied.rows += 1;
                if piece.len() >= PIECE {
                    if !take(&piece) {
                        return Ok(copied);
                    }
                    piece.clear();
                }
            }
        }
        for _ in 0..ROUNDS {
            let mut touched = self.watch.lock();
            let Some(some) = touched.as_mut().filter(|some| some[0].len() + some[1].len() > FEW) else {
                break;
            };
            let some = std::mem::take(some);
            drop(touched);
            copied.rows += self.put_again(&mut piece, &some)?;
            if !take(&piece) {
                return Ok(copied);
            }
            piece.clear();
        }
        {
            // No group is written from here to the end of this block.
            let mut touched = self.watch.lock();
            let last = touched.as_mut().map(std::mem::take).unwrap_or_default();
            copied.rows += self.put_again(&mut piece, &last)?;
            copied.data_keys = lockbox::text(&super::apply::data_keys(&self.trees[0])?)?;
        }
        copied.whole = take(&piece);
        Ok(copied)
    }
}

impl SledCopy {
    fn put_again(&self, piece: &mut Vec<u8>, touched: &Touched) -> Result<u64, StoreError> {
        let mut rows = 0;
        for ((tag, tree), keys) in TAGS.into_iter().zip(&self.trees).zip(touched) {
            for key in keys {
                let value = tree.get(key).map_err(|error| copying(&error.to_string()))?;
                put(piece, tag, key, value.as_deref());
                rows += 1;
            }
        }
        Ok(rows)
    }
}

fn put(piece: &mut Vec<u8>, tag: u8, key: &[u8], value: Option<&[u8]>) {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(LONGEST).to_be_bytes();
    piece.push(tag);
    piece.extend(length(key));
    piece.extend(key);
    match value {
        Some(value) => {
            piece.extend(length(value));
            piece.extend(value);
        }
        None => piece.extend(REMOVED.to_be_bytes()),
    }
}

/// What a restored store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Proxy numbers.
    pub numbers: usize,
    /// Live bindings and tombstones.
    pub bindings: usize,
    /// Parties.
    pub parties: usize,
    /// Calls that were in progress.
    pub calls: usize,
}

impl SledStore {
    /// Whether these keys open a copy with these data keys.
    pub fn opens_copy(keyring: &Keyring, data_keys: &str) -> Result<(), StoreError> {
        lockbox::check(keyring, data_keys)
    }

    /// Makes a store of a copy, where there is none. `note` gives what its audit log,
    /// which ends so, is to say of that.
    pub fn restore(
        path: &Path,
        keyring: &Keyring,
        rows: &mut dyn Read,
        random: &mut impl Rng,
        note: impl FnOnce(&audit::Snapshot) -> Option<Entry>,
    ) -> Result<Restored, StoreError> {
        fs::create_dir_all(path).map_err(|error| cannot_open(path, &error))?;
        let _lock = super::sled::lock(path)?;
        if ["format", "directory", "cdrs"].iter().any(|name| path.join(name).exists()) {
            return Err(StoreError::Open {
                path: path.display().to_string(),
                problem: "there is a store already; move it away first".into(),
            });
        }
        let beside = older::beside(path);
        if beside.exists() {
            fs::remove_dir_all(&beside).map_err(|error| cannot_open(&beside, &error))?;
        }
        let made = Self::fill(&beside, keyring, rows, random, note);
        if made.is_err() {
            let _what_is_left_is_no_store = fs::remove_dir_all(&beside);
        }
        let restored = made?;
        older::take_place(path, &beside).map_err(|error| cannot_open(path, &error))?;
        Ok(restored)
    }

    fn fill(
        path: &Path,
        keyring: &Keyring,
        rows: &mut dyn Read,
        random: &mut impl Rng,
        note: impl FnOnce(&audit::Snapshot) -> Option<Entry>,
    ) -> Result<Restored, StoreError> {
        let directory = Database::open(path, "directory", &[])?;
        let cdrs = Database::open(path, "cdrs", &[])?;
        let mut writes = [Writes::new(), Writes::new()];
        while let Some((at, key, value)) = next_row(rows)? {
            writes[at].insert(key, value);
            if writes[at].len() >= BATCH {
                [&directory, &cdrs][at].write(std::mem::take(&mut writes[at]))?;
            }
        }
        for (database, writes) in [&directory, &cdrs].into_iter().zip(writes) {
            database.write(writes)?;
            database.make_durable()?;
        }
        renew::rows(&directory)?;
        // Every sealed record is opened once before the copy counts.
        let mut store = Self::over(path, directory, cdrs, keyring, random)?;
        let snapshot = store.load()?;
        if let Some(entry) = note(&snapshot.audit) {
            store.commit(&[Transaction { changes: vec![Change::PutAudit(Box::new(entry))] }])?;
        }
        drop(store);
        write_format(path).map_err(|error| cannot_open(path, &error))?;
        Ok(Restored {
            numbers: snapshot.directory.numbers.len(),
            bindings: snapshot.directory.bindings.len(),
            parties: snapshot.directory.parties.len(),
            calls: snapshot.calls.len(),
        })
    }
}

/// Which database, key, and value.
type CopiedRow = (usize, Vec<u8>, Option<Vec<u8>>);

fn next_row(rows: &mut dyn Read) -> Result<Option<CopiedRow>, StoreError> {
    let mut tag = [0];
    match rows.read_exact(&mut tag) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(copying(&error.to_string())),
    }
    let at = TAGS.iter().position(|&known| known == tag[0]);
    let at = at.ok_or_else(|| copying("the copy is damaged: a row is of no database"))?;
    let key = field(rows)?.ok_or_else(|| copying("the copy is damaged: a row has no key"))?;
    Ok(Some((at, key, field(rows)?)))
}

fn field(rows: &mut dyn Read) -> Result<Option<Vec<u8>>, StoreError> {
    let cut = |error: std::io::Error| copying(&format!("the copy is damaged: {error}"));
    let mut length = [0; 4];
    rows.read_exact(&mut length).map_err(cut)?;
    let length = match u32::from_be_bytes(length) {
        REMOVED => return Ok(None),
        length if length > LONGEST => return Err(copying("the copy is damaged: a row is too long")),
        length => length,
    };
    let mut bytes = vec![0; length as usize];
    rows.read_exact(&mut bytes).map_err(cut)?;
    Ok(Some(bytes))
}

fn copying(problem: &str) -> StoreError {
    StoreError::Io { doing: "copying", problem: problem.into() }
}
