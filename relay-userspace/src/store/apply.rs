//! What a transaction does to keys and values: the behaviour that every
//! key-value store of ours shares.
//!
//! A group is worked out against the store as it is, in memory, and comes out
//! as two sets of writes, one per database, that the store then makes durable.
//! A transaction that conflicts leaves nothing behind in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::claims::{Changed, Claims, ClaimsThen};
use super::record::{self, Stored, WrappedBytes};
use super::{CdrPage, CdrPlace, CdrQuery, CommitOutcome, StoreError};
use super::{audit, keys};
use crate::engine::call_record::{CallRecord, Snapshot};
use crate::engine::cdr::Cdr;
use crate::engine::directory::{self, Binding, Home};
use crate::engine::ids::SessionId;
use crate::engine::io::{Change, Transaction};
use crate::engine::privacy::{Epoch, Sealed, SealedParty, Vault, WrappedKey, epoch_of_record};
use crate::engine::time::Timestamp;

/// A sorted set of keys and values.
pub(super) trait Table: Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// All keys that begin so, and their values, in order.
    fn scan<'a>(&'a self, prefix: &[u8]) -> Box<dyn Iterator<Item = Row> + 'a>;
    /// All keys from one up to another, which is left out, and their values, last first.
    fn range_back<'a>(&'a self, from: Vec<u8>, below: Vec<u8>) -> Box<dyn Iterator<Item = Row> + 'a>;
    /// All keys that begin so, and their values, last first.
    fn scan_back<'a>(&'a self, prefix: &[u8]) -> Box<dyn Iterator<Item = Row> + 'a>;
}

/// A key and its value.
pub(super) type Row = Result<(Vec<u8>, Vec<u8>), StoreError>;

/// Keys to write; `None` deletes.
pub(super) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What a group writes.
#[derive(Default)]
pub(super) struct Group {
    pub(super) directory: Writes,
    pub(super) cdrs: Writes,
    pub(super) claims: Changed,
    pub(super) outcomes: Vec<CommitOutcome>,
}

/// Works out what a group of transactions writes.
pub(super) fn plan(
    vault: &Vault,
    claims: &Claims,
    directory: &dyn Table,
    cdrs: &dyn Table,
    group: &[Transaction],
) -> Result<Group, StoreError> {
    let mut planned = Group::default();
    for transaction in group {
        let mut step = Step {
            vault,
            claims: claims.after(&planned.claims),
            directory: Layer { below: directory, group: &planned.directory, writes: Writes::new() },
            cdrs: Layer { below: cdrs, group: &planned.cdrs, writes: Writes::new() },
        };
        let outcome = step.run(transaction)?;
        let (of_directory, of_cdrs, of_claims) =
            (step.directory.writes, step.cdrs.writes, step.claims.changed);
        if outcome == CommitOutcome::Applied {
            planned.claims.extend(of_claims);
            planned.directory.extend(of_directory);
            planned.cdrs.extend(of_cdrs);
        }
        planned.outcomes.push(outcome);
    }
    Ok(planned)
}

/// One transaction on top of those before it.
struct Step<'a> {
    vault: &'a Vault,
    claims: ClaimsThen<'a>,
    directory: Layer<'a>,
    cdrs: Layer<'a>,
}

struct Layer<'a> {
    below: &'a dyn Table,
    group: &'a Writes,
    writes: Writes,
}

impl Layer<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.writes.get(key).or_else(|| self.group.get(key)) {
            Some(written) => Ok(written.clone()),
            None => self.below.get(key),
        }
    }

    fn put<T: Stored>(&mut self, tree: &'static str, key: Vec<u8>, value: &T) -> Result<(), StoreError> {
        let bytes = record::encode(value).map_err(|problem| unreadable(tree, &key, problem))?;
        self.writes.insert(key, Some(bytes));
        Ok(())
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }
}

impl Step<'_> {
    fn run(&mut self, transaction: &Transaction) -> Result<CommitOutcome, StoreError> {
        for change in &transaction.changes {
            match change {
                Change::PutNumbers(numbers) => {
                    for number in &**numbers {
                        self.directory.put("numbers", keys::number(&number.number), number)?;
                    }
                }
                Change::DeleteNumber(number) => self.directory.delete(keys::number(number)),
                Change::PutBinding(binding) => {
                    self.directory.put("bindings", keys::binding(binding.id), binding)?;
                }
                Change::DeleteBinding(id) => self.directory.delete(keys::binding(*id)),
                Change::PutAgent(agent) => {
                    self.directory.put("agents", keys::agent(&agent.number), agent)?;
                }
                Change::DeleteAgent(number) => self.directory.delete(keys::agent(number)),
                Change::PutParty(party) => {
                    self.directory.put("parties", keys::party(party.id), &party.sealed)?;
                }
                Change::DeleteParty(id) => self.directory.delete(keys::party(*id)),
                Change::ClaimPair(claim) => {
                    if !self.claims.claim(claim) {
                        return Ok(CommitOutcome::Conflict);
                    }
                }
                Change::ReleasePair(claim) => self.claims.release(claim),
                Change::PutRest(rest) => {
                    self.directory.put("rests", keys::rest(&rest.proxy, rest.party), rest)?;
                }
                Change::DeleteRest(rest) => self.directory.delete(keys::rest(&rest.proxy, rest.party)),
                // Beside the records, so that one batch ends the call and records it.
                Change::PutCall(call) => self.put_call(call)?,
                Change::DeleteCall(session) => self.cdrs.delete(keys::call(*session)),
                Change::PutCdr(cdr) => self.put_cdr(cdr)?,
                Change::PutGuard(entry) => {
                    self.directory.put("guard", keys::guard(&entry.net), entry)?;
                }
                Change::DeleteGuard(net) => self.directory.delete(keys::guard(net)),
                Change::BeginEpoch(epoch) => {
                    let (key, value) = put_data_key(&epoch.wrapped)?;
                    self.directory.writes.insert(key, Some(value));
                }
                Change::EndEpochs(before) => self.end_epochs(*before)?,
                Change::PutAudit(entry) => self.cdrs.put("audit", keys::audit(entry.seq), &**entry)?,
                Change::DropCdrs { before, most } => self.drop_cdrs(*before, *most)?,
                Change::PutErasure(erasure) => {
                    self.directory.put("erasures", keys::erasure(erasure.id), &**erasure)?;
                }
                Change::DeleteErasure(id) => self.directory.delete(keys::erasure(*id)),
            }
        }
        Ok(CommitOutcome::Applied)
    }

    fn end_epochs(&mut self, before: Epoch) -> Result<(), StoreError> {
        for wrapped in data_keys(self.directory.below)? {
            if wrapped.epoch < before {
                self.directory.delete(keys::data_key(wrapped.epoch));
            }
        }
        Ok(())
    }

    /// A call holds what its far ends know of each other, so it is sealed whole.
    fn put_call(&mut self, call: &CallRecord) -> Result<(), StoreError> {
        let key = keys::call(call.session);
        let bytes = record::encode(call).map_err(|problem| unreadable("calls", &key, problem))?;
        let sealed = self.vault.seal_record(&key, &Zeroizing::new(bytes));
        self.cdrs.writes.insert(key, Some(sealed));
        Ok(())
    }

    fn drop_cdrs(&mut self, before: Timestamp, most: usize) -> Result<(), StoreError> {
        let end = keys::cdrs_from(before);
        let mut old = Vec::new();
        for row in self.cdrs.below.scan(keys::CDRS).take(most) {
            let (key, bytes) = row?;
            if key >= end {
                break;
            }
            old.push((read::<Cdr>("cdrs", &key, &bytes)?, key));
        }
        for (cdr, key) in old {
            if let Some(binding) = cdr.binding {
                self.cdrs.delete(keys::binding_cdr(binding, &key));
            }
            self.cdrs.delete(keys::session_leg(&cdr));
            self.cdrs.delete(key);
        }
        Ok(())
    }

    /// Replaces the record of the same session, leg and fork, its indices included.
    fn put_cdr(&mut self, cdr: &Cdr) -> Result<(), StoreError> {
        let by_leg = keys::session_leg(cdr);
        if let Some(old_key) = self.cdrs.get(&by_leg)? {
            if let Some(bytes) = self.cdrs.get(&old_key)? {
                let old: Cdr = read("cdrs", &old_key, &bytes)?;
                if let Some(binding) = old.binding {
                    self.cdrs.delete(keys::binding_cdr(binding, &old_key));
                }
            }
            self.cdrs.delete(old_key);
        }
        let key = keys::cdr(cdr.into());
        if let Some(binding) = cdr.binding {
            self.cdrs.writes.insert(keys::binding_cdr(binding, &key), Some(Vec::new()));
        }
        self.cdrs.writes.insert(by_leg, Some(key.clone()));
        self.cdrs.put("cdrs", key, cdr)
    }
}

/// What seals after a group, where it changes that.
pub(super) fn vault_after(vault: &Arc<Vault>, group: &[Transaction]) -> Option<Arc<Vault>> {
    let changes = group.iter().flat_map(|transaction| &transaction.changes);
    changes.fold(None, |after, change| match change {
        Change::BeginEpoch(epoch) => Some(Arc::clone(&epoch.vault)),
        Change::EndEpochs(before) => Some(Arc::new(after.as_ref().unwrap_or(vault).without_before(*before))),
        Change::PutNumbers(_)
        | Change::DeleteNumber(_)
        | Change::PutAgent(_)
        | Change::DeleteAgent(_)
        | Change::PutBinding(_)
        | Change::DeleteBinding(_)
        | Change::PutParty(_)
        | Change::DeleteParty(_)
        | Change::ClaimPair(_)
        | Change::ReleasePair(_)
        | Change::PutRest(_)
        | Change::DeleteRest(_)
        | Change::PutCall(_)
        | Change::DeleteCall(_)
        | Change::PutCdr(_)
        | Change::DropCdrs { .. }
        | Change::PutGuard(_)
        | Change::DeleteGuard(_)
        | Change::PutAudit(_)
        | Change::PutErasure(_)
        | Change::DeleteErasure(_) => after,
    })
}

/// Records that are sealed under an epoch before this one.
pub(super) fn sealed_before(
    directory: &dyn Table,
    cdrs: &dyn Table,
    epoch: Epoch,
) -> Result<usize, StoreError> {
    let mut found = 0;
    for row in directory.scan(keys::PARTIES) {
        let (key, bytes) = row?;
        let sealed: Sealed = read("parties", &key, &bytes)?;
        found += usize::from(sealed.epoch() < epoch);
    }
    for row in cdrs.scan(keys::CALLS) {
        found += usize::from(epoch_of_record(&row?.1).is_none_or(|sealed| sealed < epoch));
    }
    Ok(found)
}

/// Everything that the engine needs to start.
pub(super) fn snapshot(
    vault: &Vault,
    directory: &dyn Table,
    cdrs: &dyn Table,
) -> Result<Snapshot, StoreError> {
    // These two take nearly all of the time, and about as long as each other.
    let (parties, bindings) = std::thread::scope(|scope| {
        let parties = scope.spawn(|| parties(vault, directory));
        let bindings = bindings(directory);
        (parties.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), bindings)
    });
    let (parties, homes) = parties?;
    Ok(Snapshot {
        directory: directory::Snapshot {
            numbers: read_all(directory, "numbers", keys::NUMBERS)?,
            parties,
            homes,
            bindings: bindings?,
            agents: read_all(directory, "agents", keys::AGENTS)?,
            rests: read_all(directory, "rests", keys::RESTS)?,
            erasures: read_all(directory, "erasures", keys::ERASURES)?,
            guard: read_all(directory, "guard", keys::GUARD)?,
        },
        calls: calls(vault, cdrs)?,
        audit: audit::snapshot(cdrs)?,
    })
}

/// Live bindings and tombstones.
pub(super) fn bindings(directory: &dyn Table) -> Result<Vec<Binding>, StoreError> {
    read_all(directory, "bindings", keys::BINDINGS)
}

/// The data keys, each wrapped.
pub(super) fn data_keys(directory: &dyn Table) -> Result<Vec<WrappedKey>, StoreError> {
    let open = |row: Row| {
        let (key, bytes) = row?;
        let damaged = |problem: String| unreadable("data keys", &key, problem);
        let epoch = keys::of_data_key(&key).ok_or_else(|| damaged("its key names no epoch".into()))?;
        record::decode::<WrappedBytes>(&bytes).map(|bytes| bytes.of(epoch)).map_err(damaged)
    };
    directory.scan(keys::DATA_KEYS).map(open).collect()
}

/// The write that keeps a data key.
pub(super) fn put_data_key(wrapped: &WrappedKey) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let key = keys::data_key(wrapped.epoch);
    let bytes = record::encode(&WrappedBytes::from(wrapped));
    let bytes = bytes.map_err(|problem| unreadable("data keys", &key, problem))?;
    Ok((key, bytes))
}

const NOT_OURS: &str =
    "it was not sealed by this store's vault, or it was changed since; restore the store from its backup";

/// All parties in the order of their ids, and where each of them is.
fn parties(
    vault: &Vault,
    directory: &dyn Table,
) -> Result<(Vec<SealedParty>, Vec<Option<Home>>), StoreError> {
    let admit = |row: Row| {
        let (key, bytes) = row?;
        let sealed: Sealed = read("parties", &key, &bytes)?;
        keys::of_party(&key)
            .and_then(|id| vault.admit_seeing(id, sealed, Home::told_by))
            .map(|(party, home)| (party, home.flatten()))
            .ok_or_else(|| unreadable("parties", &key, NOT_OURS.into()))
    };
    directory.scan(keys::PARTIES).map(admit).collect()
}

fn calls(vault: &Vault, cdrs: &dyn Table) -> Result<Vec<CallRecord>, StoreError> {
    let unseal = |row: Row| {
        let (key, sealed) = row?;
        let record = vault.unseal_record(&key, &sealed);
        let record = record.ok_or_else(|| unreadable("calls", &key, NOT_OURS.into()))?;
        read("calls", &key, &record)
    };
    cdrs.scan(keys::CALLS).map(unseal).collect()
}

/// Call detail records that ended before a time.
pub(super) fn cdrs_before(table: &dyn Table, before: Timestamp) -> Result<usize, StoreError> {
    let end = keys::cdrs_from(before);
    let mut count = 0;
    for row in table.scan(keys::CDRS) {
        if row?.0 >= end {
            break;
        }
        count += 1;
    }
    Ok(count)
}

/// Call detail records that match, newest first. What a filter leaves out costs time
/// too, so a page looks at a bounded number of them.
pub(super) fn cdrs(table: &dyn Table, query: &CdrQuery) -> Result<CdrPage, StoreError> {
    if query.limit == 0 {
        return Ok(CdrPage::default());
    }
    if let Some(session) = query.session {
        return cdrs_of_session(table, query, session);
    }
    let after = query.after.map(keys::cdr);
    let below = [after, query.until.map(keys::cdrs_from)].into_iter().flatten().min();
    let rows = match query.binding {
        Some(binding) => {
            let below = below.map(|cdr| keys::binding_cdr(binding, &cdr));
            before(table, &keys::binding_prefix(binding), below)
        }
        None => before(table, keys::CDRS, below),
    };
    let (mut page, mut last) = (CdrPage::default(), None);
    for (looked_at, row) in rows.enumerate() {
        if page.cdrs.len() == query.limit || looked_at == audit::LOOKED_AT {
            page.next = last;
            break;
        }
        let (key, bytes) = row?;
        let cdr = match query.binding {
            Some(_) => at(table, &keys::of_binding_entry(&key))?,
            None => read("cdrs", &key, &bytes)?,
        };
        if query.since.is_some_and(|since| cdr.end < since) {
            break;
        }
        last = Some(CdrPlace::from(&cdr));
        if query.matches(&cdr) {
            page.cdrs.push(cdr);
        }
    }
    Ok(page)
}

fn cdrs_of_session(table: &dyn Table, query: &CdrQuery, session: SessionId) -> Result<CdrPage, StoreError> {
    let mut cdrs = Vec::new();
    for row in table.scan_back(&keys::session_prefix(session)) {
        cdrs.push(at(table, &row?.1)?);
    }
    let beyond = |cdr: &Cdr| query.after.is_none_or(|after| CdrPlace::from(cdr) < after);
    cdrs.retain(|cdr| beyond(cdr) && query.matches(cdr));
    cdrs.sort_by_key(|cdr| std::cmp::Reverse(CdrPlace::from(cdr)));
    let more = cdrs.len() > query.limit;
    cdrs.truncate(query.limit);
    let next = cdrs.last().filter(|_| more).map(CdrPlace::from);
    Ok(CdrPage { cdrs, next })
}

/// All keys that begin so and come before another one, where there is one, last first.
fn before<'a>(
    table: &'a dyn Table,
    prefix: &[u8],
    below: Option<Vec<u8>>,
) -> Box<dyn Iterator<Item = Row> + 'a> {
    match below {
        Some(below) => table.range_back(prefix.to_vec(), below),
        None => table.scan_back(prefix),
    }
}

fn at(table: &dyn Table, key: &[u8]) -> Result<Cdr, StoreError> {
    match table.get(key)? {
        Some(bytes) => read("cdrs", key, &bytes),
        None => Err(unreadable("cdrs", key, "an index names it, and it is not there".into())),
    }
}

fn read_all<T: Stored>(table: &dyn Table, tree: &'static str, prefix: &[u8]) -> Result<Vec<T>, StoreError> {
    table
        .scan(prefix)
        .map(|row| {
            let (key, bytes) = row?;
            read(tree, &key, &bytes)
        })
        .collect()
}

fn read<T: Stored>(tree: &'static str, key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    record::decode(bytes).map_err(|problem| unreadable(tree, key, problem))
}

pub(super) fn unreadable(tree: &'static str, key: &[u8], problem: String) -> StoreError {
    StoreError::Record { tree, key: keys::shown(key), problem }
}
