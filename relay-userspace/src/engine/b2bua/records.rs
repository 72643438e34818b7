//! Call detail records on their way into the store.
//!
//! A record that the store did not take is offered again, with growing pauses
//! and for as long as it takes: writing the same leg twice replaces it, losing
//! it loses money. What is not yet durable bounds how many calls are accepted
//! (see `limits.pending_commits`), so memory stays bounded too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::cdr::Cdr;
use crate::engine::event::Event;
use crate::engine::ids::SessionId;
use crate::engine::io::{Change, CommitId, Output, Transaction};
use crate::engine::time::Instant;

/// The pause before the first repetition.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Records that are not durable yet. Their ids count from zero; the directory
/// counts its own from the upper half.
#[derive(Debug, Default)]
pub(super) struct Records {
    open: BTreeMap<CommitId, Open>,
    resting: BTreeSet<(Instant, CommitId)>,
    issued: u64,
}

#[derive(Debug)]
struct Open {
    transaction: Transaction,
    /// Told when the records are durable.
    then: Option<Event>,
    pause: Duration,
}

impl Records {
    /// The name of a transaction that is about calls.
    pub(super) const fn next_id(&mut self) -> CommitId {
        let id = CommitId(self.issued);
        self.issued += 1;
        id
    }

    /// Writes the records of one call together, and forgets the call if it is
    /// `journaled`; `then` is told once that is durable.
    pub(super) fn write(
        &mut self,
        cdrs: impl IntoIterator<Item = Cdr>,
        journaled: Option<SessionId>,
        then: Option<Event>,
    ) -> Output {
        let id = self.next_id();
        let over = journaled.map(Change::DeleteCall);
        let transaction = Transaction { changes: cdrs.into_iter().map(Change::record).chain(over).collect() };
        let output = Output::Commit(id, transaction.clone());
        self.open.insert(id, Open { transaction, then, pause: FIRST_PAUSE });
        output
    }

    /// The records are durable.
    pub(super) fn committed(&mut self, id: CommitId) -> Option<Event> {
        self.open.remove(&id)?.then
    }

    /// The records may not be durable: they are written again later.
    pub(super) fn failed(&mut self, id: CommitId, now: Instant) {
        if let Some(open) = self.open.get_mut(&id) {
            self.resting.insert((now + open.pause, id));
            open.pause = (open.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// What is to be written again by now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(&(at, id)) = self.resting.first()
            && at <= now
        {
            self.resting.pop_first();
            if let Some(open) = self.open.get(&id) {
                outputs.push(Output::Commit(id, open.transaction.clone()));
            }
        }
        outputs
    }

    /// When something is to be written again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.resting.first().map(|&(at, _)| at)
    }

    /// Calls whose records are not durable yet.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_did_not_take_is_written_again_with_growing_pauses() {
        let mut records = Records::default();
        let Output::Commit(id, _) = records.write([], None, None) else { panic!("a commit") };
        let mut now = Instant::ORIGIN;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            records.failed(id, now);
            now = now + Duration::from_secs(pause);
            assert_eq!(records.deadline(), Some(now));
            assert!(matches!(records.due(now)[..], [Output::Commit(again, _)] if again == id));
            assert_eq!(records.deadline(), None);
        }
        assert_eq!(records.open(), 1);
        assert_eq!(records.committed(id), None);
        assert_eq!(records.open(), 0);
    }
}
