//! A store that lasts as long as the process, for tests and simulations.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::apply::{self, Row, Table, Writes};
use super::audit::{self, AuditPage, AuditQuery, AuditReader};
use super::claims::Claims;
use super::{CdrPage, CdrQuery, CdrReader, CommitOutcome, Store, StoreError, VaultReader};
use crate::engine::audit::Entry;
use crate::engine::call_record::Snapshot;
use crate::engine::io::Transaction;
use crate::engine::privacy::{Epoch, Vault};
use crate::engine::time::Timestamp;

/// Keeps everything in memory.
pub struct MemoryStore {
    vault: Arc<Vault>,
    claims: Claims,
    directory: Arc<RwLock<Rows>>,
    cdrs: Arc<RwLock<Rows>>,
}

impl MemoryStore {
    /// An empty one, whose parties and calls this vault seals.
    #[must_use]
    pub fn new(vault: Arc<Vault>) -> Self {
        Self { vault, claims: Claims::default(), directory: Arc::default(), cdrs: Arc::default() }
    }
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

impl Store for MemoryStore {
    fn commit(&mut self, group: &[Transaction]) -> Result<Vec<CommitOutcome>, StoreError> {
        let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        let mut cdrs = self.cdrs.write().unwrap_or_else(PoisonError::into_inner);
        let planned = apply::plan(&self.vault, &self.claims, &*directory, &*cdrs, group)?;
        write(&mut directory, planned.directory);
        write(&mut cdrs, planned.cdrs);
        self.claims.take(planned.claims);
        if let Some(vault) = apply::vault_after(&self.vault, group) {
            self.vault = vault;
        }
        Ok(planned.outcomes)
    }

    fn load(&self) -> Result<Snapshot, StoreError> {
        apply::snapshot(&self.vault, &*read(&self.directory), &*read(&self.cdrs))
    }

    fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault)
    }

    fn vault_reader(&self) -> Box<dyn VaultReader> {
        Box::new(self.handle())
    }

    fn reader(&self) -> Box<dyn CdrReader> {
        Box::new(self.handle())
    }

    fn audit(&self) -> Box<dyn AuditReader> {
        Box::new(self.handle())
    }
}

impl MemoryStore {
    fn handle(&self) -> Reader {
        Reader { directory: Arc::clone(&self.directory), cdrs: Arc::clone(&self.cdrs) }
    }
}

struct Reader {
    directory: Arc<RwLock<Rows>>,
    cdrs: Arc<RwLock<Rows>>,
}

fn read(rows: &RwLock<Rows>) -> RwLockReadGuard<'_, Rows> {
    rows.read().unwrap_or_else(PoisonError::into_inner)
}

impl CdrReader for Reader {
    fn cdrs(&self, query: &CdrQuery) -> Result<CdrPage, StoreError> {
        apply::cdrs(&*read(&self.cdrs), query)
    }

    fn cdrs_before(&self, before: Timestamp) -> Result<usize, StoreError> {
        apply::cdrs_before(&*read(&self.cdrs), before)
    }
}

impl VaultReader for Reader {
    fn sealed_before(&self, epoch: Epoch) -> Result<usize, StoreError> {
        apply::sealed_before(&*read(&self.directory), &*read(&self.cdrs), epoch)
    }
}

impl AuditReader for Reader {
    fn page(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        audit::page(&*read(&self.cdrs), query)
    }

    fn walk(&self, visit: &mut dyn FnMut(u64, Result<Entry, String>)) -> Result<(), StoreError> {
        audit::walk(&*read(&self.cdrs), visit)
    }
}

impl Table for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.get(key).cloned())
    }

    fn scan<'a>(&'a self, prefix: &[u8]) -> Box<dyn Iterator<Item = Row> + 'a> {
        Box::new(prefixed(self, prefix))
    }

    fn range_back<'a>(&'a self, from: Vec<u8>, below: Vec<u8>) -> Box<dyn Iterator<Item = Row> + 'a> {
        let rows = self.range(from..below).rev();
        Box::new(rows.map(|(key, value)| Ok((key.clone(), value.clone()))))
    }

    fn scan_back<'a>(&'a self, prefix: &[u8]) -> Box<dyn Iterator<Item = Row> + 'a> {
        Box::new(prefixed(self, prefix).rev())
    }
}

fn prefixed<'a>(rows: &'a Rows, prefix: &[u8]) -> impl DoubleEndedIterator<Item = Row> + use<'a> {
    let end = next_prefix(prefix);
    let range = match end {
        Some(end) => rows.range(prefix.to_vec()..end),
        None => rows.range(prefix.to_vec()..),
    };
    range.map(|(key, value)| Ok((key.clone(), value.clone())))
}

/// The first key that is after everything that begins with a prefix.
fn next_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte < u8::MAX)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

fn write(rows: &mut Rows, writes: Writes) {
    for (key, value) in writes {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
}
