//! A store that lasts as long as the process, for tests and simulations.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::apply::{self, Row, Table, Writes};
use super::{CdrQuery, CdrReader, CommitOutcome, Store, StoreError};
use crate::engine::call_record::Snapshot;
use crate::engine::cdr::Cdr;
use crate::engine::io::Transaction;
use crate::engine::privacy::Vault;

/// Keeps everything in memory.
pub struct MemoryStore {
    vault: Arc<Vault>,
    directory: Rows,
    cdrs: Arc<RwLock<Rows>>,
}

impl MemoryStore {
    /// An empty one, whose parties and calls this vault seals.
    #[must_use]
    pub fn new(vault: Arc<Vault>) -> Self {
        Self { vault, directory: Rows::new(), cdrs: Arc::default() }
    }
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

impl Store for MemoryStore {
    fn commit(&mut self, group: &[Transaction]) -> Result<Vec<CommitOutcome>, StoreError> {
        let mut cdrs = self.cdrs.write().unwrap_or_else(PoisonError::into_inner);
        let planned = apply::plan(&self.vault, &self.directory, &*cdrs, group)?;
        write(&mut self.directory, planned.directory);
        write(&mut cdrs, planned.cdrs);
        Ok(planned.outcomes)
    }

    fn load(&self) -> Result<Snapshot, StoreError> {
        let cdrs = self.cdrs.read().unwrap_or_else(PoisonError::into_inner);
        apply::snapshot(&self.vault, &self.directory, &*cdrs)
    }

    fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault)
    }

    fn reader(&self) -> Box<dyn CdrReader> {
        Box::new(Reader(Arc::clone(&self.cdrs)))
    }
}

struct Reader(Arc<RwLock<Rows>>);

impl CdrReader for Reader {
    fn cdrs(&self, query: &CdrQuery) -> Result<Vec<Cdr>, StoreError> {
        apply::cdrs(&*self.0.read().unwrap_or_else(PoisonError::into_inner), query)
    }
}

impl Table for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.get(key).cloned())
    }

    fn scan<'a>(&'a self, prefix: &[u8]) -> Box<dyn Iterator<Item = Row> + 'a> {
        Box::new(prefixed(self, prefix))
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
