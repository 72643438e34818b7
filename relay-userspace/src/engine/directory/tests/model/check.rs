//! What must be true after every step, and what is left at the end.

use std::collections::BTreeMap;

use super::*;

impl Simulation {
    /// What is given is active, and not in cool-off for its party.
    pub(super) fn check_choice(&self, transaction: &Transaction) {
        for change in &transaction.changes {
            if let Stored::ClaimPair(claim) = change {
                let pair = (claim.proxy, claim.party);
                let since = self.acknowledged.rests.get(&pair);
                // What rests since an agent has the number was the agent's own.
                let opened = self.acknowledged.agents.get(&pair.0).map(|agent| agent.created);
                let since = since.filter(|&&since| opened.is_none_or(|opened| since <= opened));
                let cooling =
                    since.is_some_and(|&since| self.now.wall < since + self.config.bindings.cool_off);
                assert!(!cooling, "{pair:?} was given in its cool-off");
                // Whoever takes a side of a binding may keep its number.
                let binding = self.acknowledged.bindings.get(&claim.binding);
                if binding.is_some_and(|b| [b.customer.proxy, b.agent.proxy].contains(&pair.0)) {
                    continue;
                }
                let state = self.acknowledged.numbers.get(&pair.0).map(|number| number.traits.state);
                assert_eq!(state, Some(NumberState::Active), "{pair:?} was given");
            }
        }
    }

    pub(super) fn check(&mut self) {
        self.written.check_parties();
        let owners = self.acknowledged.owners();
        for pair in &self.pairs {
            self.check_pair(pair, owners.get(&(pair.0, &pair.1)).copied());
        }
        // A handover leaves a call with whom it is, and its pair may be another's in time.
        for binding in &self.calls {
            assert!(self.acknowledged.bindings.contains_key(binding), "a call in progress lost its binding");
        }
        let shown = self
            .directory
            .agent_list(&AgentFilter::default(), None, 0)
            .0
            .into_iter()
            .map(|agent| agent.number);
        assert!(shown.eq(self.acknowledged.agents.keys().copied()), "the agents' numbers");
        self.check_pool();
        self.check_headroom();
        // Unsealing everything takes longer than all the rest.
        if self.next.is_multiple_of(16) {
            self.check_addresses();
        }
        assert!(self.directory.pending.len() <= self.config.limits.pending_commits);
    }

    /// A caller finds whom the store says, or nobody.
    fn check_pair(&self, pair: &Pair, owner: Option<(&Binding, LegName)>) {
        let found = self.directory.lookup(&pair.0, &pair.1);
        let live = matches!(found, Lookup::Live(_));
        match (owner.filter(|(binding, caller)| self.connects(binding, *caller)), found) {
            (None, Lookup::Unknown) => {}
            (Some((binding, caller)), Lookup::Live(found) | Lookup::Entombed(found))
                if found.binding == binding.id =>
            {
                let other = if caller == LegName::A { &binding.agent } else { &binding.customer };
                assert_eq!((found.caller, self.directory.parties.id(found.callee.0)), (caller, other.id));
                assert_eq!(found.callee_sees, other.proxy);
                match binding.state {
                    // Past its time under a call, it is ended for others.
                    BindingState::Live { expires } if !live => assert!(expires <= self.now.wall),
                    BindingState::Live { .. } => {}
                    BindingState::Entombed { .. } => assert!(!live),
                }
            }
            (owner, found) => panic!("{pair:?} finds {found:?}, and belongs to {owner:?}"),
        }
    }

    /// Who is called is who the store says, in clear.
    fn check_addresses(&self) {
        for binding in self.acknowledged.bindings.values() {
            for (leg, party) in [(LegName::A, &binding.customer), (LegName::B, &binding.agent)] {
                let erased = self.acknowledged.erased.contains(&party.id);
                let known = self.directory.address_of(binding.id, leg);
                assert!(known.as_ref().map_or(erased, |known| known == self.acknowledged.address(party.id)));
            }
        }
    }

    /// Whether a binding says anything to this party of it: not by numbers that are
    /// disabled, nor about somebody who is erased or being erased.
    fn connects(&self, binding: &Binding, caller: LegName) -> bool {
        let parties = [&binding.customer, &binding.agent];
        let disabled =
            |party: &&Party| self.acknowledged.numbers[&party.proxy].traits.state == NumberState::Disabled;
        let slot = |id| self.directory.parties.find(self.acknowledged.address(id));
        let going = |claim: &PairClaim| slot(claim.party).is_some_and(|party| self.directory.is_going(party));
        let other = if caller == LegName::A { &binding.agent } else { &binding.customer };
        // Who comes back is known from then on.
        let back = || slot(other.id).is_some_and(|party| !self.directory.parties.is_erased(party));
        !parties.iter().any(disabled)
            && !binding.claims().any(|claim| going(&claim))
            && (!self.acknowledged.erased.contains(&other.id) || back())
    }

    /// The pool is as the store has it, and what each number is used for is counted.
    fn check_pool(&self) {
        let rows = self.directory.pool_list(&PoolFilter::default(), None, 0).rows;
        let numbers: Vec<_> = self.acknowledged.numbers.values().collect();
        assert_eq!(rows.iter().map(|row| &row.number).collect::<Vec<_>>(), numbers);
        let mut entombed: BTreeMap<ProxyNumber, usize> = BTreeMap::new();
        for binding in self.acknowledged.bindings.values() {
            if matches!(binding.state, BindingState::Entombed { .. }) {
                for party in [&binding.customer, &binding.agent] {
                    *entombed.entry(party.proxy).or_default() += 1;
                }
            }
        }
        for row in &rows {
            assert_eq!(row.entombed, entombed.get(&row.number.number).copied().unwrap_or(0));
        }
    }

    /// What is counted for plans is what there is.
    pub(super) fn check_headroom(&self) {
        let mut counted: BTreeMap<(Country, Option<String>), BTreeMap<PartyIx, [u32; 2]>> = BTreeMap::new();
        for (_, record) in self.directory.bindings.after(None) {
            for (leg, side) in record.pairs() {
                let at = usize::from(leg == LegName::B);
                // Where an erased party is from is known until the next start at most.
                if self.directory.parties.is_erased(side.party) {
                    return;
                }
                let id = self.directory.parties.id(side.party);
                let stored = self.written.addresses.get(&id).cloned();
                let address = stored.or_else(|| self.directory.parties.address(side.party)).unwrap();
                let home = Home::of(&address, &self.config);
                let place = (home.country, home.state.map(str::to_owned));
                counted.entry(place).or_default().entry(side.party).or_default()[at] += 1;
            }
        }
        let places = self.directory.headroom.places(&self.directory.numbers, false);
        assert_eq!(places.len(), counted.len());
        for (load, busiest) in places {
            let parties = &counted[&(load.country, load.state.clone())];
            let most = |count: fn(&[u32; 2]) -> u32| parties.values().map(count).max();
            assert_eq!(Some(load.busiest), most(|[customer, agent]| customer + agent));
            assert_eq!(Some(load.busiest_customer), most(|&[customer, _]| customer));
            assert_eq!(Some(load.busiest_agent), most(|&[_, agent]| agent));
            assert_eq!(load.bindings, parties.values().flatten().copied().map(u64::from).sum::<u64>());
            for party in busiest {
                assert_eq!(parties[&party].iter().sum::<u32>(), load.busiest);
            }
        }
    }

    /// With a store that works and no calls, everything ends, and every
    /// request has its answer.
    pub(super) fn end(mut self) -> BTreeMap<&'static str, u32> {
        while !self.calls.is_empty() {
            self.hang_up();
        }
        for _ in 0..10_000 {
            self.look();
            self.store_works(true);
            for number in self.acknowledged.agents.keys().copied().collect::<Vec<_>>() {
                self.ask(AdminRequest::Agent(AgentRequest::Close { number }));
                self.store_works(true);
            }
            let Some((due, _)) = self.directory.poll_timeout() else {
                if self.looks.is_none() {
                    break;
                }
                continue;
            };
            self.now = self.now.after(due.saturating_since(self.now.mono));
            self.directory.handle_timeout(self.now);
            self.drain();
            self.check();
        }
        assert_eq!(self.asked, BTreeSet::new(), "requests without an answer");
        assert!(self.directory.poll_timeout().is_none());
        assert_eq!(self.directory.pending_commits(), 0);
        assert_eq!(self.directory.bindings.len(), 0);
        assert_eq!(self.directory.rests.len(), 0);
        assert!(self.directory.pairs.is_empty() && self.directory.due.is_empty());
        assert!(self.directory.erasing.is_none() && self.directory.erasures.is_empty());
        assert!(self.directory.parties.is_empty() && self.directory.headroom.is_empty());
        let rows = &self.written;
        assert!(rows.bindings.is_empty() && rows.pairs.is_empty() && rows.rests.is_empty());
        assert!(rows.agents.is_empty());
        assert!(rows.parties.is_empty(), "{} parties are left", rows.parties.len());
        self.answers
    }
}
