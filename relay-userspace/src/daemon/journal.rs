//! The store's own thread: commits block on the disk, calls must not.
//!
//! Whatever queued up while the last group was flushed becomes the next group,
//! so the cost of a flush is shared by more transactions the busier it gets. Once
//! groups form, flushes are spaced a little, since each costs the processor the
//! same however much it makes durable; a lone transaction never waits for that.
//! The queue is bounded; a transaction that does not fit is failed at once, and
//! the engine treats it like any other failure of the store.
//!
//! Entries of the audit log are durable when the anchor beside the keys has moved
//! to them too: without that their transaction has failed.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::anchor_file::AnchorFile;
use super::waker::Waker;
use crate::engine::audit::{Anchor, Entry};
use crate::engine::io::{Change, CommitId, Input, Transaction};
use crate::store::{CommitOutcome, Store};

/// Transactions of one flush: a bound on the memory and time of a group.
const GROUP: usize = 4096;

/// From this size on a group is one of many.
const BUSY: usize = 4;
/// The pause after a flush that served a busy group.
const PAUSE: Duration = Duration::from_millis(4);

/// The way to the store's thread.
pub(super) struct Journal {
    queue: SyncSender<(CommitId, Transaction)>,
    thread: JoinHandle<()>,
}

impl Journal {
    /// Starts the thread. What became of each transaction arrives in `answers`
    /// as an input for the engine.
    pub(super) fn start(
        store: Box<dyn Store>,
        anchor: AnchorFile,
        pending: usize,
        answers: Sender<Input>,
        waker: Waker,
    ) -> io::Result<Self> {
        let (queue, waiting) = sync_channel(pending.max(1));
        let thread = thread::Builder::new()
            .name("vizard-store".into())
            .spawn(move || write(store, &anchor, &waiting, &answers, &waker))?;
        Ok(Self { queue, thread })
    }

    /// Hands a transaction over; the error is why it cannot become durable.
    pub(super) fn submit(&self, id: CommitId, transaction: Transaction) -> Result<(), &'static str> {
        self.queue.try_send((id, transaction)).map_err(|refused| match refused {
            TrySendError::Full(_) => "too many commits wait for the store",
            TrySendError::Disconnected(_) => "the store's thread has ended",
        })
    }

    /// Waits until everything handed over is durable, and closes the store.
    pub(super) fn close(self) {
        drop(self.queue);
        let _its_panic_was_printed = self.thread.join();
    }
}

fn write(
    mut store: Box<dyn Store>,
    anchor: &AnchorFile,
    waiting: &Receiver<(CommitId, Transaction)>,
    answers: &Sender<Input>,
    waker: &Waker,
) {
    while let Ok(first) = waiting.recv() {
        let queued = std::iter::once(first).chain(waiting.try_iter().take(GROUP - 1));
        let (ids, group): (Vec<CommitId>, Vec<Transaction>) = queued.unzip();
        for answer in commit(&mut *store, anchor, &ids, &group) {
            // Nobody is left to hear it only when the daemon is going down.
            let _unheard = answers.send(answer);
        }
        waker.wake();
        if ids.len() >= BUSY {
            thread::sleep(PAUSE);
        }
    }
}

fn commit(store: &mut dyn Store, anchor: &AnchorFile, ids: &[CommitId], group: &[Transaction]) -> Vec<Input> {
    let failed = |problem: &str| ids.iter().map(|&id| Input::CommitFailed(id, problem.into())).collect();
    match store.commit(group) {
        Ok(outcomes) if outcomes.len() == ids.len() => {
            let last = group.iter().filter_map(last_entry).max_by_key(|entry| entry.seq);
            let moved = last.map_or(Ok(()), |entry| anchor.write(&Anchor::at(entry)));
            let answer = |((&id, transaction), outcome)| match (outcome, &moved) {
                (CommitOutcome::Conflict, _) => Input::Conflict(id),
                (CommitOutcome::Applied, Err(error)) if last_entry(transaction).is_some() => {
                    Input::CommitFailed(id, error.to_string())
                }
                (CommitOutcome::Applied, _) => Input::Committed(id),
            };
            ids.iter().zip(group).zip(outcomes).map(answer).collect()
        }
        Ok(_) => failed("the store lost count of a group"),
        Err(error) => failed(&error.to_string()),
    }
}

/// The last audit entry of a transaction; one with entries claims nothing, so it
/// is never in conflict.
fn last_entry(transaction: &Transaction) -> Option<&Entry> {
    transaction.changes.iter().rev().find_map(|change| match change {
        Change::PutAudit(entry) => Some(&**entry),
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
        | Change::PutGuard(_)
        | Change::DeleteGuard(_)
        | Change::BeginEpoch(_)
        | Change::EndEpochs(_)
        | Change::DropCdrs { .. }
        | Change::PutErasure(_)
        | Change::DeleteErasure(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::engine::call_record::Snapshot;
    use crate::engine::privacy::Vault;
    use crate::engine::privacy::tests::vault;
    use crate::store::{AuditReader, CdrReader, StoreError, VaultReader};

    /// Blocks in its first commit until told to go on; fails the third group.
    struct Slow {
        go: Receiver<()>,
        groups: Arc<Mutex<Vec<usize>>>,
    }

    impl Store for Slow {
        fn commit(&mut self, group: &[Transaction]) -> Result<Vec<CommitOutcome>, StoreError> {
            let mut groups = self.groups.lock().unwrap();
            groups.push(group.len());
            match groups.len() {
                1 => {
                    drop(groups);
                    self.go.recv().unwrap();
                    Ok(vec![CommitOutcome::Conflict])
                }
                2 => Ok(vec![CommitOutcome::Applied; group.len()]),
                _ => Err(StoreError::Io { doing: "testing", problem: "full".into() }),
            }
        }

        fn load(&self) -> Result<Snapshot, StoreError> {
            Ok(Snapshot::default())
        }

        fn vault(&self) -> Arc<Vault> {
            unreachable!("the journal only writes")
        }

        fn vault_reader(&self) -> Box<dyn VaultReader> {
            unreachable!("the journal only writes")
        }

        fn reader(&self) -> Box<dyn CdrReader> {
            unreachable!("the journal only writes")
        }

        fn audit(&self) -> Box<dyn AuditReader> {
            unreachable!("the journal only writes")
        }
    }

    #[test]
    fn what_queues_during_a_flush_is_the_next_group() {
        let (go, wait) = channel();
        let groups = Arc::new(Mutex::new(Vec::new()));
        let store = Box::new(Slow { go: wait, groups: Arc::clone(&groups) });
        let (answers, heard) = channel();
        let directory = tempfile::tempdir().unwrap();
        let anchor = AnchorFile::new(directory.path().join("anchor"), Arc::clone(vault().notary()));
        let journal = Journal::start(store, anchor, 5, answers, Waker::new().unwrap()).unwrap();
        let submit = |id| journal.submit(CommitId(id), Transaction::default());

        submit(0).unwrap();
        while groups.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        for id in 1..=5 {
            submit(id).unwrap();
        }
        assert!(submit(6).is_err(), "the queue has a bound");
        go.send(()).unwrap();
        let next = || heard.recv().unwrap();
        assert!(matches!(next(), Input::Conflict(CommitId(0))));
        for id in 1..=5 {
            assert!(matches!(next(), Input::Committed(CommitId(found)) if found == id));
        }
        journal.submit(CommitId(7), Transaction::default()).unwrap();
        assert!(matches!(next(), Input::CommitFailed(CommitId(7), problem) if problem.contains("full")));
        journal.close();
        assert_eq!(*groups.lock().unwrap(), [1, 5, 1]);
    }
}
