//! Forgetting a person: what is asked by number, and what is left.
//!
//! A number lingers in the store's files, however often its record is replaced,
//! so it is forgotten by destroying the key that it was sealed under. An erasure
//! therefore begins with a new epoch: the person's bindings end, its record
//! shrinks to its blind index, sealed under the new epoch, and only then is
//! everybody else sealed under it too. The address itself never is.
//!
//! The blind index stays as long as a tombstone or a rest of the person does: it
//! keeps their numbers from being given to this person for somebody else, and so
//! a late call from reaching a stranger. Nobody is connected to an erased person,
//! and nothing shows who it was. Should the person come back while something is
//! left, that is theirs again.
//!
//! Refused while the person is in a call, whose legs hold the number in clear. An
//! erasure that a crash interrupts before its record has shrunk did not happen
//! and was not answered; from then on it is stored and goes on, up to its
//! certificate.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bindings::{BindingIx, Change};
use super::model::BindingState::{Entombed, Live};
use super::parties::PartyIx;
use super::proposal::Proposal;
use super::rekey::Rekey;
use super::{Directory, PartyAddress, SealedParty, parse, refusal};
use crate::engine::admin::{
    AdminReply, BindingView, ErasureView, PersonView, Refusal, RefusalKind, RestView,
};
use crate::engine::ids::{BindingId, ErasureId, PartyId};
use crate::engine::io::{Output, RekeyStep, RequestId};
use crate::engine::number::Typed;
use crate::engine::privacy::{Epoch, Erasure};
use crate::engine::time::{Instant, Now};

/// How soon bindings that are ending are looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Bindings in one answer.
const PAGE: usize = 500;

/// An erasure that is not in the store yet.
pub(super) struct Erasing {
    request: RequestId,
    party: PartyIx,
    ended: Vec<BindingId>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A new epoch is being made.
    Keys,
    /// Its bindings end.
    Ending(Instant),
    /// Its record shrinks.
    Writing,
}

impl Directory {
    /// Begins a new epoch for nobody in particular.
    pub(super) fn vault_rotate(&mut self, id: RequestId) {
        match self.admits_rotation() {
            Ok(()) => {
                self.rotation = Some(id);
                self.outputs.push_back(Output::Rekey(RekeyStep::Wanted));
            }
            Err(refusal) => self.refuse_request(id, refusal),
        }
    }

    /// Erases whoever is at an address.
    pub(super) fn privacy_erase(&mut self, id: RequestId, person: &Typed) {
        let begun = self.person(person).and_then(|party| {
            self.admits_rotation()?;
            self.admits_erasure(party).map(|()| party)
        });
        match begun {
            Ok(party) => {
                // While it goes on nothing else is kept in its place, here or in the store.
                self.parties.retain(party);
                self.erasing = Some(Erasing { request: id, party, ended: Vec::new(), stage: Stage::Keys });
                self.outputs.push_back(Output::Rekey(RekeyStep::Wanted));
            }
            Err(refusal) => self.refuse_request(id, refusal),
        }
    }

    fn admits_rotation(&self) -> Result<(), Refusal> {
        let idle = self.rekey == Rekey::Rest
            && self.rotation.is_none()
            && self.erasing.is_none()
            && self.parties.vault().epochs().count() == 1;
        if idle {
            return Ok(());
        }
        Err(refusal(
            RefusalKind::Conflict,
            "keys are being changed already",
            "wait for the end of that: `vizard vault status`",
        ))
    }

    fn admits_erasure(&self, party: PartyIx) -> Result<(), Refusal> {
        if let Some(number) = self.agents.of(party) {
            let number = self.numbers.get(number).number;
            return Err(refusal(
                RefusalKind::Conflict,
                format!("this person is the agent of {number}, which anybody may call"),
                format!("take the number back with `vizard agent close {number}`, and ask again"),
            ));
        }
        if self.in_call(party) {
            return Err(refusal(
                RefusalKind::Conflict,
                "this person is in a call, whose legs hold the number in clear",
                "wait for its end, or end it with `vizard calls hangup`, and ask again",
            ));
        }
        Ok(())
    }

    fn person(&self, typed: &Typed) -> Result<PartyIx, Refusal> {
        let address = parse::party("person", typed, &self.config)?;
        self.parties.find(&address).filter(|party| !self.parties.is_erased(*party)).ok_or_else(|| {
            refusal(
                RefusalKind::NotFound,
                "nothing is held about this number",
                "numbers are forgotten by themselves when no binding, tombstone or rest needs them",
            )
        })
    }

    /// Whether a person is being erased: it reaches nobody, and gets nothing new.
    pub(super) fn is_going(&self, party: PartyIx) -> bool {
        self.erasing.as_ref().is_some_and(|erasing| erasing.party == party)
    }

    /// Refuses what would bind an address that is being erased.
    pub(super) fn admits_party(&self, address: &PartyAddress) -> Result<(), Refusal> {
        match self.parties.find(address) {
            Some(party) if self.is_going(party) => Err(refusal(
                RefusalKind::Conflict,
                "one of the parties is being erased",
                "ask again in a moment",
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses what would bring a binding back whose party was erased.
    pub(super) fn admits_return(&self, ix: BindingIx) -> Result<(), Refusal> {
        let gone = self.bindings.get(ix).is_some_and(|record| {
            let mut pairs = record.pairs();
            pairs.any(|(_, side)| self.parties.is_erased(side.party) || self.is_going(side.party))
        });
        if gone {
            return Err(refusal(
                RefusalKind::Conflict,
                "a party of this binding was erased",
                "make another binding, with another key",
            ));
        }
        Ok(())
    }

    fn in_call(&self, party: PartyIx) -> bool {
        let mut bindings = self.bindings_with(party);
        bindings.any(|ix| self.bindings.get(ix).is_some_and(|record| record.calls > 0))
    }

    fn bindings_with(&self, party: PartyIx) -> impl Iterator<Item = BindingIx> {
        self.pairs.of(party).map(|(_, ix)| ix)
    }

    /// The keeper could not make a new epoch.
    pub(in crate::engine) fn epoch_refused(&mut self, now: Now, problem: Refusal) {
        self.clock = now;
        let erasing = self.end_erasing().map(|erasing| erasing.request);
        if let Some(request) = erasing.or_else(|| self.rotation.take()) {
            self.refuse_request(request, problem);
        }
    }

    /// The new epoch that was wanted is there.
    pub(super) fn answer_rotation(&mut self, epoch: Epoch) {
        if let Some(request) = self.rotation.take() {
            self.reply(request, AdminReply::Rotating { epoch: epoch.0 });
        }
        if let Some(erasing) = &mut self.erasing {
            erasing.stage = Stage::Ending(self.clock.mono);
        }
    }

    /// One step of an erasure: ends its bindings, then shrinks its record.
    pub(super) fn erase_some(&mut self) {
        let Some(Erasing { party, stage: Stage::Ending(at), .. }) = self.erasing else { return };
        if at > self.clock.mono {
            return;
        }
        if let Err(refusal) = self.admits_erasure(party) {
            return self.abandon_erasure(refusal);
        }
        let since = self.clock.wall;
        let mut waits = false;
        let bindings: Vec<BindingIx> = self.bindings_with(party).collect();
        for ix in bindings {
            let Some(record) = self.bindings.get(ix) else { continue };
            let (id, window) = (record.id, self.life_of(record).callback_window);
            match (record.change, record.state) {
                (Change::Committing | Change::Doubtful, _) => waits = true,
                (Change::None, Entombed { .. }) => {}
                (Change::None, Live { .. }) => {
                    waits = true;
                    self.propose(Proposal::Turn {
                        asked: None,
                        binding: ix,
                        to: Entombed { since, until: since + window },
                    });
                    if let Some(erasing) = &mut self.erasing {
                        erasing.ended.push(id);
                    }
                }
            }
        }
        let stage = if waits { Stage::Ending(self.clock.mono + LOOK_AGAIN) } else { Stage::Writing };
        if let Some(erasing) = &mut self.erasing {
            erasing.stage = stage;
        }
        if stage == Stage::Writing {
            self.write_erasure(party);
        }
    }

    fn end_erasing(&mut self) -> Option<Erasing> {
        let erasing = self.erasing.take()?;
        self.parties.release(erasing.party);
        Some(erasing)
    }

    fn abandon_erasure(&mut self, refusal: Refusal) {
        if let Some(erasing) = self.end_erasing() {
            self.refuse_request(erasing.request, refusal);
            // The new epoch is there, so everybody moves to it all the same.
            self.start_walk();
        }
    }

    fn write_erasure(&mut self, party: PartyIx) {
        let records = self.bindings_with(party).filter_map(|ix| self.bindings.get(ix));
        let tombstones = records.filter_map(|record| match record.state {
            Entombed { until, .. } => Some((record.id, until)),
            Live { .. } => None,
        });
        let tombstones = tombstones.collect();
        let Some(erasing) = &self.erasing else { return };
        let erasure = Erasure {
            id: ErasureId::random(&mut self.random),
            epoch: self.parties.vault().newest(),
            asked: self.clock.wall,
            pseudonyms: self.pseudonyms_of(party).into_iter().collect(),
            ended: erasing.ended.clone(),
            tombstones,
        };
        let record = self.parties.erased(party);
        self.propose(Proposal::Erase { party, record, erasure: Box::new(erasure) });
    }

    /// What tenants know a person by, in their order; nothing of somebody unknown.
    pub(in crate::engine) fn pseudonyms(&self, person: &Typed) -> Vec<PartyId> {
        let known = self.person(person).map(|party| self.pseudonyms_of(party)).unwrap_or_default();
        known.into_values().collect()
    }

    fn pseudonyms_of(&self, party: PartyIx) -> BTreeMap<String, PartyId> {
        let records = self.bindings_with(party).filter_map(|ix| self.bindings.get(ix));
        let tenants = records.map(|record| self.bindings.owner(record.owner).0);
        tenants.map(|tenant| (tenant.to_owned(), self.parties.pseudonym(party, tenant))).collect()
    }

    /// The store has forgotten the address.
    pub(super) fn erased(&mut self, party: PartyIx, record: SealedParty, erasure: Erasure) {
        self.parties.take_erased(party, record);
        let Some(erasing) = self.end_erasing() else { return };
        let view = ErasureView {
            id: erasure.id,
            epoch: erasure.epoch.0,
            ended: erasure.ended.len(),
            tombstones: erasure.tombstones.len(),
        };
        self.erasures.push(erasure);
        self.reply(erasing.request, AdminReply::Erasing(view));
        self.start_walk();
    }

    /// Asks for the certificates of what is erased for good.
    pub(super) fn certify(&mut self) {
        let oldest = self.parties.vault().epochs().next();
        let over = |erasure: &&Erasure| oldest.is_some_and(|oldest| erasure.epoch <= oldest);
        let over: Vec<Erasure> = self.erasures.iter().filter(over).cloned().collect();
        if !over.is_empty() {
            self.outputs.push_back(Output::Certify(over));
        }
    }

    /// These certificates are durable.
    pub(in crate::engine) fn certified(&mut self, now: Now, ids: Vec<ErasureId>) {
        self.clock = now;
        self.propose(Proposal::ForgetErasures { ids });
    }

    /// What is held about a person, in pieces.
    pub(super) fn privacy_show(&mut self, id: RequestId, person: &Typed, after: Option<BindingId>) {
        match self.person(person) {
            Ok(party) => {
                let view = self.person_view(party, after);
                self.reply(id, AdminReply::Person(Box::new(view)));
            }
            Err(refusal) => self.refuse_request(id, refusal),
        }
    }

    fn person_view(&self, party: PartyIx, after: Option<BindingId>) -> PersonView {
        let records = self.bindings_with(party).filter_map(|ix| self.bindings.get(ix));
        let mut records: Vec<_> =
            records.filter(|record| after.is_none_or(|after| record.id > after)).collect();
        records.sort_by_key(|record| record.id);
        let more = records.len() > PAGE;
        records.truncate(PAGE);
        let bindings: Vec<BindingView> = records.into_iter().map(|record| self.view(record)).collect();
        let cool_off = self.config.bindings.cool_off;
        let rest = |(number, since)| RestView {
            proxy: self.numbers.get(number).number,
            since,
            until: since + cool_off + self.config.retention.numbers_seen,
        };
        let rests = if after.is_none() { self.rests.of(party).map(rest).collect() } else { Vec::new() };
        PersonView { address: self.parties.masked(party), bindings, rests, more }
    }

    pub(super) fn erasure_deadline(&self) -> Option<(Instant, &'static str)> {
        match self.erasing.as_ref()?.stage {
            Stage::Ending(at) => Some((at, "bindings of an erased person")),
            Stage::Keys | Stage::Writing => None,
        }
    }
}
