//! Calls in progress on their way into the store, so that they outlive the
//! process.
//!
//! A call never waits for this: what changed is noted, gathered for a moment
//! and written as it then is, so a call that rings, is answered and is
//! acknowledged within that moment is written once, and one that is over by
//! then not at all. One write is under way at a time; while the store is slow,
//! more gathers. The final records of a call forget it in their own
//! transaction, so a call is in the journal or in the records, never in both.

use std::collections::BTreeSet;
use std::time::Duration;

use super::call::Call;
use super::context::Context;
use super::exchange::Stage;
use super::leg::{Leg, LegState};
use crate::engine::call_record::{AckRecord, CallRecord, DialogRecord, LegRecord, Unacknowledged};
use crate::engine::ids::SessionId;
use crate::engine::io::CommitId;
use crate::engine::time::Instant;

/// How long changes gather. With a store that takes as long again, the journal
/// is a tenth of a second behind.
const GATHER: Duration = Duration::from_millis(50);
/// The pause after a write that the store did not take.
const PAUSE: Duration = Duration::from_secs(1);
/// Calls in one write: a bound on the time that it takes from calls.
const AT_ONCE: usize = 1024;

/// Which calls have changed since they were written.
#[derive(Debug, Default)]
pub(super) struct Journal {
    changed: BTreeSet<SessionId>,
    /// When they are written; set whenever there are any.
    due: Option<Instant>,
    writing: Option<(CommitId, Vec<SessionId>)>,
}

impl Journal {
    /// A call has changed.
    pub(super) fn note(&mut self, call: SessionId, now: Instant) {
        self.changed.insert(call);
        self.due.get_or_insert(now + GATHER);
    }

    /// A call is over.
    pub(super) fn forget(&mut self, call: SessionId) {
        if self.changed.remove(&call) && self.changed.is_empty() {
            self.due = None;
        }
    }

    /// When something is to be written.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.filter(|_| self.writing.is_none())
    }

    /// The calls to write now, if it is time.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Vec<SessionId>> {
        self.deadline().filter(|due| *due <= now)?;
        let rest = match self.changed.iter().nth(AT_ONCE).copied() {
            Some(first) => self.changed.split_off(&first),
            None => BTreeSet::new(),
        };
        let due = std::mem::replace(&mut self.changed, rest);
        if self.changed.is_empty() {
            self.due = None;
        }
        Some(due.into_iter().collect())
    }

    /// These calls are being written.
    pub(super) fn writes(&mut self, id: CommitId, calls: Vec<SessionId>) {
        self.writing = Some((id, calls));
    }

    /// A write is durable; `false` when it was none of the journal's.
    pub(super) fn committed(&mut self, id: CommitId) -> bool {
        self.writing.take_if(|(writing, _)| *writing == id).is_some()
    }

    /// A write may not be durable: its calls are written again, as they then
    /// are. `false` when it was none of the journal's.
    pub(super) fn failed(&mut self, id: CommitId, now: Instant) -> bool {
        let Some((_, calls)) = self.writing.take_if(|(writing, _)| *writing == id) else { return false };
        self.changed.extend(calls);
        self.due = Some(now + PAUSE);
        true
    }

    /// Writes that the store has not answered.
    pub(super) fn open(&self) -> usize {
        usize::from(self.writing.is_some())
    }
}

impl Call {
    /// Notes that what the journal says of this call is old.
    pub(super) fn changed(&self, context: &mut Context) {
        if !self.recorded {
            context.journal.note(self.id, context.now.mono);
        }
    }

    /// The call as it is.
    pub(super) fn record(&self) -> CallRecord {
        let received = self.media.received();
        CallRecord {
            session: self.id,
            binding: self.facts.binding,
            tenant: self.facts.tenant.clone(),
            project: self.facts.project.clone(),
            caller: self.facts.caller,
            emergency: self.facts.emergency,
            diversion: self.facts.diversion,
            legs: [leg_record(&self.legs.a), leg_record(&self.legs.b)],
            streams: self.media.record(),
            codec: self.media.codec(),
            carrier: self.carrier.clone(),
            received: [received.a, received.b].map(|received| (received.traffic, received.quality)),
            one_way: [self.media.one_way().a, self.media.one_way().b],
            unacknowledged: self.unacknowledged(),
            release: self.release.clone(),
        }
    }

    fn unacknowledged(&self) -> Option<Unacknowledged> {
        if let Some(resending) = &self.resending {
            return Some(resending.record());
        }
        let exchange = self.exchange.as_ref()?;
        let Stage::Accepted { retransmitter, late_offer } = &exchange.stage else { return None };
        let response = retransmitter.response();
        Some(Unacknowledged {
            leg: exchange.from,
            cseq: exchange.cseq()?,
            remote: response.way.remote,
            otherwise: response.way.otherwise,
            bytes: if late_offer.is_some() { Vec::new() } else { response.bytes.clone() },
        })
    }
}

fn leg_record(leg: &Leg) -> LegRecord {
    let end = match leg.state {
        LegState::Ended(end) => Some(end),
        LegState::Incoming(_) | LegState::Outgoing { .. } | LegState::Confirmed(_) => None,
    };
    LegRecord {
        trunk: leg.trunk_name.clone(),
        direction: leg.direction,
        proxy: leg.proxy,
        remote: leg.remote.clone(),
        remote_country: leg.remote_country,
        remote_area: leg.remote_area,
        start: leg.start,
        ring: leg.ring,
        answer: leg.answer,
        end,
        status: leg.status,
        dialog: leg.dialog().map(|dialog| DialogRecord {
            dialog: dialog.clone(),
            contact: leg.contact.clone(),
            local: leg.local,
            peer: leg.peer,
            sent_by: leg.sent_by.address,
            transport: leg.sent_by.transport,
            invite_cseq: leg.invite_cseq,
            acked: leg
                .acked
                .as_ref()
                .map(|acked| AckRecord { cseq: acked.cseq, session: acked.session.clone() }),
            origin: leg.speech.origin().id,
            version: leg.speech.origin().version,
            session: leg.session.record(leg.speech.last()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(bits: u128) -> SessionId {
        SessionId::from_bits(bits)
    }

    fn at(milliseconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(milliseconds)
    }

    #[test]
    fn changes_gather_and_one_write_is_under_way_at_a_time() {
        let mut journal = Journal::default();
        journal.note(id(1), at(0));
        journal.note(id(2), at(30));
        journal.note(id(1), at(40));
        assert_eq!(journal.take_due(at(49)), None);
        assert_eq!(journal.take_due(at(50)), Some(vec![id(1), id(2)]));
        journal.writes(CommitId(7), vec![id(1), id(2)]);
        journal.note(id(3), at(60));
        assert_eq!((journal.deadline(), journal.take_due(at(500))), (None, None));
        assert!(!journal.committed(CommitId(6)) && journal.committed(CommitId(7)));
        assert_eq!(journal.deadline(), Some(at(110)));
        journal.forget(id(3));
        assert_eq!(journal.deadline(), None);
    }

    #[test]
    fn what_the_store_did_not_take_is_written_again() {
        let mut journal = Journal::default();
        journal.note(id(1), at(0));
        let calls = journal.take_due(at(50)).unwrap();
        journal.writes(CommitId(0), calls);
        assert!(journal.failed(CommitId(0), at(60)));
        assert_eq!(journal.take_due(at(1059)), None);
        assert_eq!(journal.take_due(at(1060)), Some(vec![id(1)]));
    }

    #[test]
    fn a_write_is_bounded_and_the_rest_follows_at_once() {
        let mut journal = Journal::default();
        let many = u128::try_from(AT_ONCE).unwrap() + 5;
        (0..many).for_each(|bits| journal.note(id(bits), at(0)));
        assert_eq!(journal.take_due(at(50)).unwrap().len(), AT_ONCE);
        assert_eq!(journal.take_due(at(50)).unwrap().len(), 5);
        assert_eq!(journal.deadline(), None);
    }
}
