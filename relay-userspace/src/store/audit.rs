//! Reads the audit log: in pages for people, in whole for verification.

use serde::{Deserialize, Serialize};

use super::apply::Table;
use super::{StoreError, keys, record};
use crate::engine::audit::{Act, Entry, Snapshot, TAIL, Who};
use crate::engine::time::Timestamp;

/// Entries, or records, that one page looks at: what a filter leaves out costs time too.
pub(super) const LOOKED_AT: usize = 50_000;

/// Reads the audit log while the store is being written.
pub trait AuditReader: Send + Sync {
    /// Entries that match, newest first.
    fn page(&self, query: &AuditQuery) -> Result<AuditPage, StoreError>;

    /// Every entry in the order of the store, with the number that it is stored
    /// under; an entry that cannot be read says why.
    fn walk(&self, visit: &mut dyn FnMut(u64, Result<Entry, String>)) -> Result<(), StoreError>;
}

/// Which audit entries to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditQuery {
    /// Only these acts.
    pub act: Option<Act>,
    /// Only this user's.
    pub user: Option<u32>,
    /// Only those of the user with this name.
    pub name: Option<String>,
    /// Only what was done to this: one of the words of an entry, or all of them.
    pub on: Option<String>,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
    /// Only entries before this number.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

impl AuditQuery {
    fn matches(&self, entry: &Entry) -> bool {
        let (user, name) = match &entry.who {
            Who::Vizard => (None, None),
            Who::User(asker) => (Some(asker.user), asker.name.as_deref()),
        };
        self.act.is_none_or(|act| entry.act == act)
            && (self.user.is_none() || self.user == user)
            && (self.name.is_none() || self.name.as_deref() == name)
            && self.on.as_ref().is_none_or(|on| entry.on == *on || entry.on.split(' ').any(|word| word == on))
            && self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
    }
}

/// Some entries, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<Entry>,
    /// Go on with entries before this number; there are no more when absent.
    pub next: Option<u64>,
}

pub(super) fn page(table: &dyn Table, query: &AuditQuery) -> Result<AuditPage, StoreError> {
    let mut page = AuditPage::default();
    let below = query.before.map_or_else(after_all, keys::audit);
    for (looked_at, row) in table.range_back(keys::AUDIT.to_vec(), below).enumerate() {
        let (key, bytes) = row?;
        let seq = keys::of_audit(&key).unwrap_or_default();
        if page.entries.len() == query.limit || looked_at == LOOKED_AT {
            page.next = Some(seq + 1);
            break;
        }
        // One that cannot be read is for verification to tell.
        if let Ok(entry) = read(&bytes)
            && query.matches(&entry)
        {
            page.entries.push(entry);
        }
    }
    Ok(page)
}

pub(super) fn walk(
    table: &dyn Table,
    visit: &mut dyn FnMut(u64, Result<Entry, String>),
) -> Result<(), StoreError> {
    for row in table.scan(keys::AUDIT) {
        let (key, bytes) = row?;
        let entry = read(&bytes);
        // No key of ours is of another length: what is stored under it is no entry.
        match keys::of_audit(&key) {
            Some(seq) => visit(seq, entry),
            None => visit(0, Err(format!("its key is {}", key.escape_ascii()))),
        }
    }
    Ok(())
}

/// The end of the log. A start does not fail over an entry that cannot be read:
/// the log goes on behind it, and verification tells.
pub(super) fn snapshot(table: &dyn Table) -> Result<Snapshot, StoreError> {
    let mut snapshot = Snapshot::default();
    for row in table.scan_back(keys::AUDIT).take(TAIL) {
        let (key, bytes) = row?;
        snapshot.last = snapshot.last.max(keys::of_audit(&key).unwrap_or_default());
        snapshot.tail.extend(read(&bytes));
    }
    snapshot.tail.reverse();
    Ok(snapshot)
}

/// An entry whose bytes are just those that were written.
fn read(bytes: &[u8]) -> Result<Entry, String> {
    let entry: Entry = record::decode(bytes)?;
    if record::encode(&entry)? == bytes { Ok(entry) } else { Err("it has bytes that no entry has".into()) }
}

/// The first key that is after all entries.
fn after_all() -> Vec<u8> {
    vec![keys::AUDIT[0] + 1]
}
