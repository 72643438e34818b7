//! Proposals: what each asks of the store, and what each answer makes of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::agents::AgentReply;
use super::bindings::{BindingIx, Change, Record, Side};
use super::handover::Handover;
use super::numbers::NumberIx;
use super::parties::{PartyIx, Resealed};
use super::pool::PoolReply;
use super::rests::Rest;
use super::{
    Binding, BindingState, Directory, PairClaim, PairRest, Party, Pending, PoolNumber, refusal, retain,
};
use crate::engine::admin::{AdminRequest, Refusal, RefusalKind};
use crate::engine::ids::{ErasureId, LegName};
use crate::engine::io::{Change as Stored, CommitId, Output, RequestId, Transaction};
use crate::engine::number::ProxyNumber;
use crate::engine::privacy::{Epoch, Erasure, NewEpoch, SealedParty, VaultId};
use crate::engine::time::Timestamp;

/// First and longest delay before a transaction that failed is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// A change that waits for the store.
pub(super) enum Proposal {
    /// Numbers join the pool, change or leave it.
    ChangeNumbers { request: RequestId, change: Box<NumberChange> },
    /// Such a change failed: make sure that the store has what is visible.
    RestoreNumbers { numbers: Vec<ProxyNumber> },
    /// A reserved record becomes a live binding.
    Create { request: RequestId, binding: BindingIx },
    /// A creation failed: make sure that the store has none of it.
    WithdrawBinding { binding: BindingIx },
    /// A binding's state changes, because somebody asked or its time is over.
    Turn { asked: Option<(RequestId, Asked)>, binding: BindingIx, to: BindingState },
    /// A change that was asked for failed: make sure that the store has what
    /// is visible.
    Restore { binding: BindingIx },
    /// Another party takes a side of a binding.
    HandOver { request: RequestId, change: Handover },
    /// That failed: make sure that the store has what is visible.
    TakeBack { change: Handover },
    /// A tombstone goes, and its pairs rest from `since`.
    Forget { binding: BindingIx, since: Timestamp },
    /// A number becomes an agent's.
    OpenAgent { request: RequestId, number: NumberIx },
    /// That failed: make sure that the store has none of it.
    WithdrawAgent { number: NumberIx },
    /// A number is an agent's no more.
    CloseAgent { request: RequestId, number: NumberIx },
    /// That failed: make sure that the store has what is visible.
    RestoreAgent { number: NumberIx },
    /// Old rests go.
    DropRests { rests: Vec<Rest> },
    /// Parties go that nothing refers to any more.
    ForgetParties { parties: Vec<VaultId> },
    /// What is new is sealed under a new epoch.
    BeginEpoch { epoch: Arc<NewEpoch> },
    /// Some parties are sealed under the newest epoch.
    Reseal { parties: Vec<Resealed> },
    /// The data keys of every epoch before this one go.
    EndEpochs { before: Epoch },
    /// A party's address is forgotten.
    Erase { party: PartyIx, record: SealedParty, erasure: Box<Erasure> },
    /// Records go that ended before a time.
    DropCdrs { before: Timestamp, asked: Option<RequestId> },
    /// The certificates of these are written.
    ForgetErasures { ids: Vec<ErasureId> },
}

/// What happens to numbers, all of it or nothing.
pub(super) struct NumberChange {
    /// Those that join or change, in pieces of one turn's work.
    pub(super) put: Vec<Arc<[PoolNumber]>>,
    /// Those that leave.
    pub(super) remove: Vec<ProxyNumber>,
    /// The answer when it is done.
    pub(super) reply: PoolReply,
}

impl NumberChange {
    fn numbers(&self) -> Vec<ProxyNumber> {
        let put = self.put.iter().flat_map(|piece| piece.iter().map(|number| number.number));
        put.chain(self.remove.iter().copied()).collect()
    }
}

/// What a change of state answers.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    /// A creation that found its key.
    Reuse,
    /// A request whose answer is the binding as it is now.
    Show,
}

impl Directory {
    /// Whether one more request's commit may wait for the store.
    pub(super) fn admits_commit(&mut self) -> Result<(), Refusal> {
        let limit = self.config.limits.pending_commits;
        if self.pending.len() + self.retries.len() + self.waiters < limit {
            return Ok(());
        }
        self.counts.limited += 1;
        Err(refusal(
            RefusalKind::Exhausted,
            format!("{limit} commits wait for the store already"),
            "ask again when the store has caught up; if it does not, look at its disk",
        ))
    }

    /// Hands a proposal to the store.
    pub(super) fn propose(&mut self, proposal: Proposal) {
        self.propose_again(Pending { proposal, failures: 0 });
    }

    pub(super) fn propose_again(&mut self, pending: Pending) {
        let commit = CommitId(self.next);
        self.next += 1;
        if let Some(binding) = pending.proposal.binding() {
            self.unschedule(binding);
            if let Some(record) = self.bindings.get_mut(binding) {
                record.change = if pending.failures == 0 { Change::Committing } else { Change::Doubtful };
            }
        }
        self.outputs.push_back(Output::Commit(commit, self.transaction(&pending.proposal)));
        self.pending.insert(commit, pending);
    }

    fn transaction(&self, proposal: &Proposal) -> Transaction {
        let binding = |ix: &BindingIx| self.bindings.get(*ix).map(|record| self.binding_of(record));
        let changes = match proposal {
            Proposal::ChangeNumbers { change, .. } => {
                let put = change.put.iter().map(|piece| Stored::PutNumbers(Arc::clone(piece)));
                put.chain(change.remove.iter().copied().map(Stored::DeleteNumber)).collect()
            }
            Proposal::RestoreNumbers { numbers } => {
                let (here, gone): (Vec<_>, Vec<_>) =
                    numbers.iter().partition(|number| self.numbers.find(number).is_some());
                let here = here.iter().filter_map(|number| self.numbers.find(number));
                let here: Vec<PoolNumber> = here.map(|ix| self.numbers.get(ix).clone()).collect();
                let put = std::iter::once(Stored::PutNumbers(here.into()));
                put.chain(gone.into_iter().map(Stored::DeleteNumber)).collect()
            }
            Proposal::Create { binding: ix, .. } => binding(ix).map_or_else(Vec::new, |binding| {
                let mut changes = self.unstored_parties(*ix);
                changes.extend(binding.claims().map(Stored::ClaimPair));
                changes.push(Stored::PutBinding(binding));
                changes
            }),
            Proposal::WithdrawBinding { binding: ix } => binding(ix).map_or_else(Vec::new, |binding| {
                let mut changes: Vec<Stored> = binding.claims().map(Stored::ReleasePair).collect();
                changes.push(Stored::DeleteBinding(binding.id));
                changes
            }),
            Proposal::Turn { binding: ix, to, .. } => binding(ix)
                .map(|binding| Stored::PutBinding(Binding { state: *to, ..binding }))
                .into_iter()
                .collect(),
            Proposal::Restore { binding: ix } => binding(ix).map(Stored::PutBinding).into_iter().collect(),
            Proposal::Forget { binding: ix, since } => binding(ix).map_or_else(Vec::new, |binding| {
                let rest = |PairClaim { proxy, party, .. }| {
                    Stored::PutRest(PairRest { proxy, party, since: *since })
                };
                let mut changes: Vec<Stored> = binding.claims().map(Stored::ReleasePair).collect();
                changes.extend(binding.claims().map(rest));
                changes.push(Stored::DeleteBinding(binding.id));
                changes
            }),
            Proposal::HandOver { change, .. } => self.handover_changes(change, true),
            Proposal::TakeBack { change } => self.handover_changes(change, false),
            Proposal::OpenAgent { number, .. } | Proposal::RestoreAgent { number } => {
                let (record, parties) = self.agent_record(*number).unzip();
                let parties = parties.into_iter().flatten();
                let new = parties.filter_map(|party| self.parties.unstored(party)).map(Stored::PutParty);
                new.chain(record.map(Stored::PutAgent)).collect()
            }
            Proposal::WithdrawAgent { number } | Proposal::CloseAgent { number, .. } => {
                vec![Stored::DeleteAgent(self.numbers.get(*number).number)]
            }
            Proposal::DropRests { rests } => rests
                .iter()
                .map(|rest| {
                    Stored::DeleteRest(PairRest {
                        proxy: self.numbers.get(rest.number).number,
                        party: self.parties.id(rest.party),
                        since: rest.since,
                    })
                })
                .collect(),
            Proposal::ForgetParties { parties } => parties.iter().copied().map(Stored::DeleteParty).collect(),
            Proposal::BeginEpoch { epoch } => vec![Stored::BeginEpoch(Arc::clone(epoch))],
            Proposal::Reseal { parties } => {
                let there = parties.iter().filter(|party| self.parties.is_there(party));
                there.map(|party| Stored::PutParty(party.record())).collect()
            }
            Proposal::EndEpochs { before } => vec![Stored::EndEpochs(*before)],
            Proposal::Erase { record, erasure, .. } => {
                vec![Stored::PutParty(record.clone()), Stored::PutErasure(erasure.clone())]
            }
            Proposal::DropCdrs { before, .. } => {
                vec![Stored::DropCdrs { before: *before, most: retain::AT_ONCE }]
            }
            Proposal::ForgetErasures { ids } => ids.iter().copied().map(Stored::DeleteErasure).collect(),
        };
        Transaction { changes }
    }

    /// A handover, or its undoing.
    fn handover_changes(&self, change: &Handover, forth: bool) -> Vec<Stored> {
        let Handover { binding, leg, to, since } = *change;
        let Some(record) = self.bindings.get(binding) else { return Vec::new() };
        let party = |side: Side| Party {
            id: self.parties.id(side.party),
            proxy: self.numbers.get(side.number).number,
        };
        let claim = |Party { id, proxy }| PairClaim { proxy, party: id, binding: record.id };
        let mut after = self.binding_of(record);
        let leaving = record.pairs().filter(|(of, _)| *of == leg).map(|(_, side)| side);
        if !forth {
            let undone = leaving.flat_map(|side| {
                let Party { id, proxy } = party(side);
                let rest = PairRest { proxy, party: id, since };
                // What rested before is remembered here.
                let before = self.rests.since(side.party, side.number);
                let rest = before
                    .map_or(Stored::DeleteRest(rest), |since| Stored::PutRest(PairRest { since, ..rest }));
                [Stored::ClaimPair(claim(party(side))), rest]
            });
            let released = std::iter::once(Stored::ReleasePair(claim(party(to))));
            return released.chain(undone).chain([Stored::PutBinding(after)]).collect();
        }
        let done = leaving.flat_map(|side| {
            let from = party(side);
            let rest = PairRest { proxy: from.proxy, party: from.id, since };
            [Stored::ReleasePair(claim(from)), Stored::PutRest(rest)]
        });
        let done: Vec<Stored> = done.collect();
        match leg {
            LegName::A => (after.customer, after.also[0]) = (party(to), Vec::new()),
            LegName::B => (after.agent, after.also[1]) = (party(to), Vec::new()),
        }
        let new = self.parties.unstored(to.party).map(Stored::PutParty);
        let claimed = Stored::ClaimPair(claim(party(to)));
        new.into_iter().chain([claimed]).chain(done).chain([Stored::PutBinding(after)]).collect()
    }

    /// Records of a binding's parties that the store may not have.
    fn unstored_parties(&self, ix: BindingIx) -> Vec<Stored> {
        let pairs = self.bindings.get(ix).into_iter().flat_map(Record::pairs);
        pairs.filter_map(|(_, side)| self.parties.unstored(side.party)).map(Stored::PutParty).collect()
    }

    /// The store has it.
    pub(super) fn apply(&mut self, proposal: Proposal) {
        match proposal {
            Proposal::ChangeNumbers { request, change } => self.begin_landing(request, *change),
            Proposal::RestoreNumbers { numbers } => self.end_number_change(&numbers),
            Proposal::Create { request, binding } => {
                for side in self.pairs_of(binding) {
                    self.parties.set_stored(side.party);
                }
                self.counts.created += 1;
                self.settle(binding);
                self.reply_bound(request, binding, false);
                self.wake(binding);
            }
            Proposal::WithdrawBinding { binding } => {
                self.discard(binding);
                self.wake(binding);
            }
            Proposal::Turn { asked, binding, to } => {
                self.set_state(binding, to);
                self.settle(binding);
                match asked {
                    Some((request, Asked::Reuse)) => {
                        self.counts.reused += 1;
                        self.reply_bound(request, binding, true);
                    }
                    Some((request, Asked::Show)) => self.reply_binding(request, binding),
                    None => {}
                }
                self.wake(binding);
            }
            Proposal::Restore { binding } => {
                self.settle(binding);
                self.wake(binding);
            }
            Proposal::Forget { binding, since } => {
                self.forget(binding, since);
                self.wake(binding);
            }
            Proposal::HandOver { request, change } => {
                self.handed_over(&change);
                self.reply_binding(request, change.binding);
                self.wake(change.binding);
            }
            Proposal::TakeBack { change } => {
                self.not_handed_over(&change);
                self.wake(change.binding);
            }
            Proposal::OpenAgent { request, number } => self.agent_settle(number, Some(request)),
            Proposal::RestoreAgent { number } => self.agent_settle(number, None),
            Proposal::WithdrawAgent { number } => self.agent_discard(number),
            Proposal::CloseAgent { request, number } => {
                self.agent_discard(number);
                let number = self.numbers.get(number).number;
                self.reply_agent(request, AgentReply::Closed { number });
            }
            Proposal::DropRests { rests } => {
                for rest in rests {
                    if self.rests.remove(&rest) {
                        self.parties.release(rest.party);
                    }
                }
            }
            Proposal::ForgetParties { .. } => {}
            Proposal::BeginEpoch { epoch } => self.epoch_began(epoch.vault.clone()),
            Proposal::Reseal { parties } => self.resealed(parties),
            Proposal::EndEpochs { before } => self.epochs_ended(before),
            Proposal::Erase { party, record, erasure } => self.erased(party, record, *erasure),
            Proposal::DropCdrs { asked, .. } => {
                if let Some(id) = asked {
                    self.reply_retention(id);
                }
            }
            Proposal::ForgetErasures { ids } => self.erasures.retain(|erasure| !ids.contains(&erasure.id)),
        }
    }

    /// The store has nothing of it.
    pub(super) fn refuse(&mut self, proposal: Proposal) {
        let conflict = || {
            refusal(
                RefusalKind::Conflict,
                "the store holds this number and party for another binding",
                "ask again: other numbers will be chosen",
            )
        };
        match proposal {
            Proposal::ChangeNumbers { request, change } => {
                self.end_number_change(&change.numbers());
                self.refuse_request(request, conflict());
            }
            Proposal::Create { request, binding } => {
                // Which of the two pairs is foreign is unknown, so neither is
                // chosen again soon.
                self.rest_sides(binding, self.clock.wall);
                self.discard(binding);
                self.refuse_request(request, conflict());
                self.wake(binding);
            }
            Proposal::Turn { asked: Some((request, _)), binding, .. } => {
                self.settle(binding);
                self.refuse_request(request, conflict());
                self.wake(binding);
            }
            Proposal::HandOver { request, change } => {
                self.not_handed_over(&change);
                self.refuse_request(request, conflict());
                self.wake(change.binding);
            }
            Proposal::OpenAgent { request, number } => {
                self.agent_discard(number);
                self.refuse_request(request, conflict());
            }
            Proposal::CloseAgent { request, number } => {
                self.agent_settle(number, None);
                self.refuse_request(request, conflict());
            }
            // These claim nothing, so they are true whoever else writes.
            proposal @ (Proposal::Turn { asked: None, .. }
            | Proposal::RestoreNumbers { .. }
            | Proposal::WithdrawBinding { .. }
            | Proposal::Restore { .. }
            | Proposal::Forget { .. }
            | Proposal::TakeBack { .. }
            | Proposal::WithdrawAgent { .. }
            | Proposal::RestoreAgent { .. }
            | Proposal::DropRests { .. }
            | Proposal::ForgetParties { .. }
            | Proposal::BeginEpoch { .. }
            | Proposal::Reseal { .. }
            | Proposal::EndEpochs { .. }
            | Proposal::Erase { .. }
            | Proposal::DropCdrs { .. }
            | Proposal::ForgetErasures { .. }) => self.retry(proposal, 1),
        }
    }

    /// The store may have it or not.
    pub(super) fn doubt(&mut self, Pending { proposal, failures }: Pending) {
        let unavailable = || {
            refusal(
                RefusalKind::Unavailable,
                "the store failed, and whether it took the change is not known yet",
                "ask again with the same key when the store works; its failure is in the log",
            )
        };
        if let Some(binding) = proposal.binding() {
            for (id, _) in self.take_waiters(binding) {
                self.refuse_request(id, unavailable());
            }
        }
        let next = match proposal {
            // What was not dropped now is at the next turn.
            Proposal::DropCdrs { asked, .. } => {
                if let Some(request) = asked {
                    self.refuse_request(request, unavailable());
                }
                return;
            }
            Proposal::ChangeNumbers { request, change } => {
                self.refuse_request(request, unavailable());
                Proposal::RestoreNumbers { numbers: change.numbers() }
            }
            Proposal::Create { request, binding } => {
                self.refuse_request(request, unavailable());
                Proposal::WithdrawBinding { binding }
            }
            Proposal::Turn { asked: Some((request, _)), binding, .. } => {
                self.refuse_request(request, unavailable());
                Proposal::Restore { binding }
            }
            Proposal::HandOver { request, change } => {
                self.refuse_request(request, unavailable());
                Proposal::TakeBack { change }
            }
            Proposal::OpenAgent { request, number } => {
                self.refuse_request(request, unavailable());
                Proposal::WithdrawAgent { number }
            }
            Proposal::CloseAgent { request, number } => {
                self.refuse_request(request, unavailable());
                Proposal::RestoreAgent { number }
            }
            proposal @ (Proposal::Turn { asked: None, .. }
            | Proposal::RestoreNumbers { .. }
            | Proposal::WithdrawBinding { .. }
            | Proposal::Restore { .. }
            | Proposal::Forget { .. }
            | Proposal::TakeBack { .. }
            | Proposal::WithdrawAgent { .. }
            | Proposal::RestoreAgent { .. }
            | Proposal::DropRests { .. }
            | Proposal::ForgetParties { .. }
            | Proposal::BeginEpoch { .. }
            | Proposal::Reseal { .. }
            | Proposal::EndEpochs { .. }
            | Proposal::Erase { .. }
            | Proposal::ForgetErasures { .. }) => proposal,
        };
        self.retry(next, failures + 1);
    }

    fn retry(&mut self, proposal: Proposal, failures: u32) {
        if let Some(record) = proposal.binding().and_then(|ix| self.bindings.get_mut(ix)) {
            record.change = Change::Doubtful;
        }
        let (first, longest) = RETRY;
        let delay = first.saturating_mul(1 << failures.min(10).saturating_sub(1)).min(longest);
        self.next += 1;
        self.retries.insert((self.clock.mono + delay, self.next), Pending { proposal, failures });
    }

    /// Nothing changes about these numbers any more.
    fn end_number_change(&mut self, numbers: &[ProxyNumber]) {
        for number in numbers {
            self.changing.remove(number);
            self.numbers.set_leaving(number, false);
        }
        if self.import.as_ref().is_some_and(|import| import.holds(numbers)) {
            self.import = None;
        }
    }

    /// Lets a request wait until a binding's change is through.
    pub(super) fn wait(&mut self, binding: BindingIx, id: RequestId, request: AdminRequest) {
        match self.admits_commit() {
            Ok(()) => {
                self.waiters += 1;
                self.waiting.entry(binding).or_default().push_back((id, request));
            }
            Err(refusal) => self.refuse_request(id, refusal),
        }
    }

    fn take_waiters(&mut self, binding: BindingIx) -> VecDeque<(RequestId, AdminRequest)> {
        let waiters = self.waiting.remove(&binding).unwrap_or_default();
        self.waiters -= waiters.len();
        waiters
    }

    /// Judges the requests that waited for a binding.
    fn wake(&mut self, binding: BindingIx) {
        for (id, request) in self.take_waiters(binding) {
            // Only requests of the directory's own wait, so none comes back.
            let _ = self.handle_admin(self.clock, id, request);
        }
    }
}

impl Proposal {
    /// The binding that it changes.
    const fn binding(&self) -> Option<BindingIx> {
        match self {
            Self::ChangeNumbers { .. }
            | Self::RestoreNumbers { .. }
            | Self::OpenAgent { .. }
            | Self::WithdrawAgent { .. }
            | Self::CloseAgent { .. }
            | Self::RestoreAgent { .. }
            | Self::DropRests { .. }
            | Self::ForgetParties { .. }
            | Self::BeginEpoch { .. }
            | Self::Reseal { .. }
            | Self::EndEpochs { .. }
            | Self::Erase { .. }
            | Self::DropCdrs { .. }
            | Self::ForgetErasures { .. } => None,
            Self::Create { binding, .. }
            | Self::WithdrawBinding { binding }
            | Self::Turn { binding, .. }
            | Self::Restore { binding }
            | Self::Forget { binding, .. } => Some(*binding),
            Self::HandOver { change, .. } | Self::TakeBack { change } => Some(change.binding),
        }
    }
}
