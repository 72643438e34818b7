//! What becomes of records: reserved, settled, ended, forgotten; and the sweep
//! that time drives.

use std::collections::BTreeMap;

use super::bindings::{BindingIx, Change, Record, Side, Special, Stage};
use super::check;
use super::headroom::{self, Home};
use super::model::BindingState::{Entombed, Live};
use super::numbers::{Load, NumberIx};
use super::parties::PartyIx;
use super::proposal::Proposal;
use super::rests::Rest;
use super::{AgentNumber, Binding, BindingState, Directory, PairRest, PartyAddress, Snapshot};
use crate::engine::event::Event;
use crate::engine::ids::LegName;
use crate::engine::io::Output;
use crate::engine::privacy::{SealedParty, VaultId};
use crate::engine::time::{Instant, Timestamp};

/// Records that one turn of the sweep looks at.
const TURN: usize = 256;
/// Rests that go in one transaction.
const RESTS_AT_ONCE: usize = 128;
/// Parties that go in one transaction.
const PARTIES_AT_ONCE: usize = 256;

/// The parties of a store, by their names there.
struct Known {
    /// In order.
    ids: Vec<VaultId>,
    /// Those that something refers to.
    parties: Vec<Option<PartyIx>>,
    /// Where each of them is, or nothing.
    homes: Vec<Option<Home>>,
}

impl Known {
    fn find(&self, id: VaultId) -> Option<PartyIx> {
        self.ids.binary_search(&id).ok().and_then(|at| self.parties[at])
    }

    fn all(&self, ids: &[VaultId]) -> Vec<PartyIx> {
        ids.iter().filter_map(|id| self.find(*id)).collect()
    }
}

impl Directory {
    /// Rebuilds everything from what the store holds.
    pub(super) fn restore(&mut self, snapshot: Snapshot) {
        for mut number in snapshot.numbers {
            // Records from before states followed from area codes have none.
            if let Ok(region) = check::region(&number.number, number.country, number.traits.region.take()) {
                number.traits.region = region;
            }
            self.numbers.put(number);
        }
        self.reserve_room(snapshot.parties.len(), snapshot.bindings.len());
        let mut known =
            self.restore_parties(snapshot.parties, &snapshot.bindings, &snapshot.agents, &snapshot.rests);
        if snapshot.homes.len() == known.ids.len() {
            known.homes = snapshot.homes;
        }
        self.restore_bindings(snapshot.bindings, &known);
        for agent in snapshot.agents {
            let also = known.all(&agent.also).into();
            let first = known.find(agent.agent);
            let restored = first.is_some_and(|party| self.agent_restore(&agent, party, also));
            self.counts.dropped_at_start += u64::from(!restored);
        }
        for rest in snapshot.rests {
            if let Some(party) = known.find(rest.party) {
                let number = self.numbers.remember(rest.proxy);
                self.rest(Rest { since: rest.since, party, number });
            }
        }
        for party in known.parties.into_iter().flatten() {
            self.parties.release(party);
        }
        self.erasures = snapshot.erasures;
    }

    /// Takes in the parties that something refers to, with one use each.
    fn restore_parties(
        &mut self,
        mut parties: Vec<SealedParty>,
        bindings: &[Binding],
        agents: &[AgentNumber],
        rests: &[PairRest],
    ) -> Known {
        parties.sort_by_key(|party| party.id);
        let ids: Vec<VaultId> = parties.iter().map(|party| party.id).collect();
        let bound = bindings.iter().flat_map(|binding| binding.claims().map(|claim| claim.party));
        let agents = agents.iter().flat_map(|agent| std::iter::once(agent.agent).chain(agent.also.clone()));
        let mut named = vec![false; ids.len()];
        for id in bound.chain(agents).chain(rests.iter().map(|rest| rest.party)) {
            if let Ok(at) = ids.binary_search(&id) {
                named[at] = true;
            }
        }
        let take_in = |(party, named): (SealedParty, bool)| {
            if named {
                return self.parties.restore(party);
            }
            self.parties.orphan(party.id);
            None
        };
        let parties = parties.into_iter().zip(named).map(take_in).collect();
        Known { ids, parties, homes: Vec::new() }
    }

    /// Growing step by step to a million of each copies all of them again and again;
    /// what comes soon has room as well.
    fn reserve_room(&mut self, parties: usize, bindings: usize) {
        let more = |count: usize| count + count / 8;
        self.parties.reserve(more(parties));
        self.headroom.reserve(more(parties));
        self.bindings.reserve(more(bindings));
        self.pairs.reserve(2 * more(bindings));
    }

    /// Takes in every binding, and counts for each number and each party at once what
    /// they have.
    fn restore_bindings(&mut self, mut bindings: Vec<Binding>, known: &Known) {
        // As they were made, and as a store has them: ids begin with the time.
        bindings.sort_by_key(|binding| binding.id);
        let mut loads: BTreeMap<NumberIx, Load> = BTreeMap::new();
        let mut held = vec![[0_u32; 2]; known.ids.len()];
        for binding in bindings {
            let sides = known.find(binding.customer.id).zip(known.find(binding.agent.id));
            let also = binding.also.each_ref().map(|also| known.all(also));
            let admitted = sides.and_then(|(customer, agent)| self.admit(&binding, [customer, agent], also));
            let Some((ix, record)) = admitted.and_then(|ix| Some((ix, self.bindings.get(ix)?))) else {
                self.counts.dropped_at_start += 1;
                continue;
            };
            for side in record.sides() {
                loads.entry(side.number).or_default().count(binding.state, 1);
            }
            for (leg, side) in record.pairs() {
                let more = headroom::one(leg);
                let [customer, agent] = &mut held[side.party.index()];
                (*customer, *agent) = (*customer + more[0], *agent + more[1]);
            }
            self.settle(ix);
        }
        for (number, load) in loads {
            self.numbers.set_load(number, |none| *none = load);
        }
        for (at, party) in known.parties.iter().enumerate() {
            let Some(party) = *party else { continue };
            let seen = known.homes.get(at).copied().flatten();
            let home = seen.unwrap_or_else(|| {
                let address = self.parties.address(party);
                address.map_or(Home::NOWHERE, |address| Home::of(&address, &self.config))
            });
            self.headroom.locate(self.clock.wall, party, home);
            self.headroom.take(self.clock.wall, party, held[party.index()]);
        }
    }

    /// Takes a record of two parties in, each with its further addresses, reserves its
    /// pairs and counts them; `None` when one of them, its key or its id is taken, or one
    /// of its numbers is not ours.
    pub(super) fn reserve(
        &mut self,
        binding: &Binding,
        parties: [PartyIx; 2],
        also: [Vec<PartyIx>; 2],
    ) -> Option<BindingIx> {
        let ix = self.admit(binding, parties, also)?;
        let record = self.bindings.get(ix)?;
        for side in record.sides() {
            self.numbers.set_load(side.number, |load| load.count(binding.state, 1));
        }
        for (leg, side) in record.pairs() {
            self.headroom.take(self.clock.wall, side.party, headroom::one(leg));
        }
        Some(ix)
    }

    fn admit(
        &mut self,
        binding: &Binding,
        parties: [PartyIx; 2],
        also: [Vec<PartyIx>; 2],
    ) -> Option<BindingIx> {
        let customer_number = self.numbers.find(&binding.customer.proxy)?;
        let agent_number = self.numbers.find(&binding.agent.proxy)?;
        let [customer, agent] = parties;
        let customer = Side { party: customer, number: customer_number };
        let agent = Side { party: agent, number: agent_number };
        if self.bindings.find(binding.id).is_some()
            || self.bindings.with_key(&binding.tenant, binding.kind, &binding.key).is_some()
        {
            return None;
        }
        let record = Record {
            id: binding.id,
            owner: self.bindings.intern(&binding.tenant, &binding.project),
            kind: binding.kind,
            key: binding.key.as_str().into(),
            customer,
            agent,
            created: binding.created,
            state: binding.state,
            encryption: binding.encryption,
            special: Special::of(binding.usage, &binding.tags, also, self.clock.wall),
            calls: 0,
            stage: Stage::Reserved,
            change: Change::None,
        };
        let pairs: Vec<(LegName, Side)> = record.pairs().collect();
        let twice = |(at, (_, side)): (usize, &(LegName, Side))| pairs[..at].iter().any(|(_, s)| s == side);
        if pairs.iter().any(|&(_, side)| self.pairs.contains(side)) || pairs.iter().enumerate().any(twice) {
            return None;
        }
        let ix = self.bindings.insert(record);
        for (_, side) in pairs {
            self.parties.retain(side.party);
            self.pairs.insert(side, ix);
        }
        Some(ix)
    }

    /// Notes one more use of the party at an address, which is known from now on.
    pub(super) fn acquire(&mut self, address: &PartyAddress) -> PartyIx {
        let (party, news) = self.parties.acquire(address, self.clock.wall, &mut self.random);
        if news {
            self.headroom.locate(self.clock.wall, party, Home::of(address, &self.config));
        }
        party
    }

    /// Makes a record what its state says, and visible.
    pub(super) fn settle(&mut self, ix: BindingIx) {
        let wall = self.clock.wall;
        if let Some(record) = self.bindings.get_mut(ix) {
            record.change = Change::None;
            record.stage = match record.state {
                Live { expires } if expires <= wall && record.calls > 0 => Stage::Closing,
                Live { .. } | Entombed { .. } => Stage::Settled,
            };
        }
        self.schedule(ix);
    }

    pub(super) fn set_state(&mut self, ix: BindingIx, to: BindingState) {
        let Some(record) = self.bindings.get_mut(ix) else { return };
        let (id, from, sides) = (record.id, record.state, record.sides());
        record.state = to;
        for side in sides {
            self.numbers.set_load(side.number, |load| {
                load.count(from, -1);
                load.count(to, 1);
            });
        }
        if let (Live { .. }, Entombed { .. }) = (from, to) {
            self.counts.entombed += 1;
            self.outputs.push_back(Output::Event(Event::BindingEntombed { binding: id }));
        }
    }

    /// Takes a record out and frees its pairs.
    pub(super) fn discard(&mut self, ix: BindingIx) {
        self.unschedule(ix);
        let Some(record) = self.bindings.remove(ix) else { return };
        for side in record.sides() {
            self.numbers.set_load(side.number, |load| load.count(record.state, -1));
        }
        for (leg, side) in record.pairs() {
            self.pairs.remove(side);
            self.headroom.give(self.clock.wall, side.party, leg);
            self.parties.release(side.party);
        }
    }

    /// Takes a tombstone out; its pairs rest.
    pub(super) fn forget(&mut self, ix: BindingIx, since: Timestamp) {
        self.rest_sides(ix, since);
        if let Some(record) = self.bindings.get(ix) {
            self.counts.forgotten += 1;
            self.outputs.push_back(Output::Event(Event::BindingForgotten { binding: record.id }));
        }
        self.discard(ix);
    }

    /// Lets all pairs of a record rest.
    pub(super) fn rest_sides(&mut self, ix: BindingIx, since: Timestamp) {
        for Side { party, number } in self.pairs_of(ix) {
            self.rest(Rest { since, party, number });
        }
    }

    /// All pairs of a record, for when it changes meanwhile.
    pub(super) fn pairs_of(&self, ix: BindingIx) -> Vec<Side> {
        self.bindings.get(ix).into_iter().flat_map(Record::pairs).map(|(_, side)| side).collect()
    }

    pub(super) fn rest(&mut self, rest: Rest) {
        if self.rests.put(rest) {
            self.parties.retain(rest.party);
        }
        self.numbers.note_release(rest.number, rest.since);
    }

    /// Notes when a settled record's state ends.
    pub(super) fn schedule(&mut self, ix: BindingIx) {
        if let Some(record) = self.bindings.get(ix)
            && record.stage != Stage::Reserved
            && record.change == Change::None
        {
            self.due.insert((record.ends(), ix));
        }
    }

    pub(super) fn unschedule(&mut self, ix: BindingIx) {
        if let Some(record) = self.bindings.get(ix) {
            self.due.remove(&(record.ends(), ix));
        }
    }

    /// One turn of what time demands.
    pub(super) fn sweep(&mut self) {
        self.land_some();
        self.forget_abandoned_import();
        for _ in 0..TURN {
            if !self.may_sweep() || !(self.retry_one() || self.end_one()) {
                break;
            }
        }
        if self.may_sweep() {
            self.drop_rests();
        }
        if self.may_sweep() && self.parties.has_orphans() {
            let parties = self.parties.take_orphans(PARTIES_AT_ONCE);
            self.propose(Proposal::ForgetParties { parties });
        }
        if self.may_sweep() {
            self.erase_some();
            self.retain_some();
            self.reseal_some();
        }
    }

    /// Half of the commits that may wait are for requests.
    fn may_sweep(&self) -> bool {
        self.pending.len() < (self.config.limits.pending_commits / 2).max(1)
    }

    fn retry_one(&mut self) -> bool {
        match self.retries.first_entry() {
            Some(entry) if entry.key().0 <= self.clock.mono => {
                let pending = entry.remove();
                self.propose_again(pending);
                true
            }
            Some(_) | None => false,
        }
    }

    fn end_one(&mut self) -> bool {
        let Some(&(at, ix)) = self.due.first().filter(|(at, _)| *at <= self.clock.wall) else { return false };
        self.due.remove(&(at, ix));
        let since = self.clock.wall;
        let Some(record) = self.bindings.get(ix) else { return true };
        match record.state {
            // The end of its last call makes it due again.
            Live { .. } if record.calls > 0 => {
                if let Some(record) = self.bindings.get_mut(ix) {
                    record.stage = Stage::Closing;
                }
            }
            Entombed { .. } if record.calls > 0 => {}
            Live { .. } => {
                let until = since + self.life_of(record).callback_window;
                let to = Entombed { since, until };
                self.propose(Proposal::Turn { asked: None, binding: ix, to });
            }
            Entombed { .. } => self.propose(Proposal::Forget { binding: ix, since }),
        }
        true
    }

    /// Drops rests that nobody is familiar with any more, or the oldest when
    /// there are more than bindings could leave.
    fn drop_rests(&mut self) {
        let mut rests = Vec::new();
        while let Some(rest) = self.rests.oldest().filter(|rest| self.rest_is_over(rest)) {
            if rests.len() == RESTS_AT_ONCE {
                break;
            }
            self.rests.withhold(&rest);
            rests.push(rest);
        }
        if !rests.is_empty() {
            self.propose(Proposal::DropRests { rests });
        }
    }

    fn rest_is_over(&self, rest: &Rest) -> bool {
        self.rest_ends(rest) <= self.clock.wall || self.rests.ageing() > self.rest_limit()
    }

    fn rest_ends(&self, rest: &Rest) -> Timestamp {
        rest.since + self.config.bindings.cool_off + self.config.retention.numbers_seen
    }

    /// Every binding leaves two.
    fn rest_limit(&self) -> usize {
        self.config.limits.bindings.saturating_mul(2)
    }

    pub(super) fn next_deadline(&self) -> Option<(Instant, &'static str)> {
        let landing = (!self.landing.is_empty()).then_some((self.clock.mono, "numbers that join the pool"));
        let import = self.import_deadline().map(|due| (due, "end of a silent import"));
        let sweep = self.may_sweep().then(|| self.next_sweep()).flatten();
        [landing, import, sweep].into_iter().flatten().min_by_key(|&(at, _)| at)
    }

    fn next_sweep(&self) -> Option<(Instant, &'static str)> {
        let at = |wall: Timestamp| self.clock.mono + wall.saturating_since(self.clock.wall);
        let retry = self.retries.first_key_value().map(|(&(at, _), _)| (at, "commit retry"));
        let due = self.due.first().map(|&(wall, _)| (at(wall), "binding expiry"));
        let rest = self.rests.oldest().map(|rest| {
            let over = self.rest_is_over(&rest);
            (if over { self.clock.mono } else { at(self.rest_ends(&rest)) }, "end of a rest")
        });
        let orphans = self.parties.has_orphans().then_some((self.clock.mono, "end of a party"));
        [retry, due, rest, orphans, self.rekey_deadline(), self.retention_deadline()]
            .into_iter()
            .flatten()
            .min_by_key(|&(at, _)| at)
    }
}
