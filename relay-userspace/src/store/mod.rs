//! The durable journal of the engine's commits.
//!
//! It holds no number of a party in clear: parties stand in it sealed, each under
//! an id that bindings, pairs and rests name it by, calls in progress are sealed
//! whole, and the keys are elsewhere (`engine::privacy`).
//!
//! The engine keeps its routing state in memory and never waits for a read;
//! a store makes its transactions durable, in groups, and hands everything
//! back at the next start.

mod apply;
mod audit;
mod backup;
mod claims;
mod keys;
mod lockbox;
mod memory;
mod older;
mod record;
mod renew;
mod sled;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::engine::call_record::Snapshot;
use crate::engine::cdr::{Cause, Cdr};
use crate::engine::ids::{BindingId, LegName, SessionId};
use crate::engine::io::Transaction;
use crate::engine::number::ProxyNumber;
use crate::engine::privacy::{Epoch, Vault, VaultError};
use crate::engine::time::Timestamp;
pub use audit::{AuditPage, AuditQuery, AuditReader};
pub use backup::{BackupSource, Copied, Restored};
pub use claims::Claims;
pub use memory::MemoryStore;
pub use sled::SledStore;

/// Where the engine's commits become durable.
pub trait Store: Send {
    /// Makes a group of transactions durable, in order, with one flush. Each
    /// is applied whole or not at all; when this returns `Ok`, everything that
    /// was applied survives a killed process and a power cut.
    fn commit(&mut self, group: &[Transaction]) -> Result<Vec<CommitOutcome>, StoreError>;

    /// Everything that the engine needs to start.
    fn load(&self) -> Result<Snapshot, StoreError>;

    /// What seals the parties and calls in it.
    fn vault(&self) -> Arc<Vault>;

    /// A handle for copying everything beside the writer; `None` where there is
    /// nothing that would outlast the process.
    fn copy(&self) -> Option<Box<dyn BackupSource>> {
        None
    }

    /// A handle for looking at what is sealed beside the writer.
    fn vault_reader(&self) -> Box<dyn VaultReader>;

    /// A handle for reading records beside the writer.
    fn reader(&self) -> Box<dyn CdrReader>;

    /// A handle for reading the audit log beside the writer.
    fn audit(&self) -> Box<dyn AuditReader>;
}

/// Reads call detail records while the store is being written.
pub trait CdrReader: Send + Sync {
    /// Records that match, newest first.
    fn cdrs(&self, query: &CdrQuery) -> Result<CdrPage, StoreError>;

    /// How many ended before a time.
    fn cdrs_before(&self, before: Timestamp) -> Result<usize, StoreError>;
}

/// Looks at what is sealed while the store is being written.
pub trait VaultReader: Send {
    /// Records that are sealed under an epoch before this one.
    fn sealed_before(&self, epoch: Epoch) -> Result<usize, StoreError>;
}

/// What became of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is durable.
    Applied,
    /// Another binding holds a pair that it claims; nothing was written.
    Conflict,
}

/// Which call detail records to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CdrQuery {
    /// Only this call's.
    pub session: Option<SessionId>,
    /// Only this binding's.
    pub binding: Option<BindingId>,
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only this project's.
    pub project: Option<String>,
    /// Only those of legs on this trunk.
    pub trunk: Option<String>,
    /// Only those of legs on which this number was dialled or seen.
    pub proxy: Option<ProxyNumber>,
    /// Only those that ended for this reason.
    pub cause: Option<Cause>,
    /// Only those that did not end before this.
    pub since: Option<Timestamp>,
    /// Only those that ended before this.
    pub until: Option<Timestamp>,
    /// Only those that come after this one, newest first: the last of a page asks
    /// for the next.
    pub after: Option<CdrPlace>,
    /// At most so many.
    pub limit: usize,
}

impl CdrQuery {
    fn matches(&self, cdr: &Cdr) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        self.binding.is_none_or(|binding| cdr.binding == Some(binding))
            && is(self.tenant.as_ref(), &cdr.tenant)
            && is(self.project.as_ref(), &cdr.project)
            && is(self.trunk.as_ref(), &cdr.trunk)
            && self.proxy.is_none_or(|proxy| cdr.proxy == Some(proxy))
            && is(self.cause.as_ref(), &cdr.release.cause)
            && self.since.is_none_or(|since| cdr.end >= since)
            && self.until.is_none_or(|until| cdr.end < until)
    }
}

/// Some call detail records, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CdrPage {
    /// Newest first.
    pub cdrs: Vec<Cdr>,
    /// Go on after this one; there are no more when absent.
    pub next: Option<CdrPlace>,
}

/// Where a call detail record stands among all: they are in the order of their ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CdrPlace {
    /// When its leg ended.
    pub end: Timestamp,
    /// Its call.
    pub session: SessionId,
    /// Its leg.
    pub leg: LegName,
    /// Its fork.
    pub fork: u8,
}

impl From<&Cdr> for CdrPlace {
    fn from(cdr: &Cdr) -> Self {
        Self { end: cdr.end, session: cdr.session, leg: cdr.leg, fork: cdr.fork }
    }
}

/// Why the store could not do its work.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the store at {path} is in use by {by}; stop that process, or set another [store] path")]
    InUse {
        /// Where it is.
        path: String,
        /// Who has it, as far as can be known.
        by: String,
    },
    /// It cannot be opened.
    #[error("cannot open the store at {path}: {problem}")]
    Open {
        /// Where it is.
        path: String,
        /// What is wrong, and how to mend it.
        problem: String,
    },
    /// Reading or writing failed.
    #[error("the store failed while {doing}: {problem}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What was said.
        problem: String,
    },
    /// The keys are not those of this store.
    #[error("cannot open the vault of the store at {path}: {problem}")]
    Vault {
        /// Where the store is.
        path: String,
        /// What is wrong, and how to mend it.
        problem: VaultError,
    },
    /// A record cannot be understood.
    #[error("the store's {tree} record {key} cannot be read: {problem}")]
    Record {
        /// Which tree.
        tree: &'static str,
        /// Which record; never a party's number.
        key: String,
        /// What is wrong.
        problem: String,
    },
}
