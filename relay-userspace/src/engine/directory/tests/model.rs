//! Thousands of random histories against a reference model.
//!
//! The model is the obvious one: what the store has acknowledged, as plain
//! maps. After every step each (proxy, party) pair is looked up and must answer
//! as the model says. The store delays, conflicts, fails before or after
//! writing, and the process dies and starts again from what was written.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::engine::directory::headroom::Home;
use crate::engine::directory::pool::ImportLine;
use crate::engine::ids::ErasureId;
use crate::engine::io::Change as Stored;
use crate::engine::io::RekeyStep;
use crate::engine::number::Country;
use crate::engine::privacy::tests::random;
use crate::engine::privacy::{Epoch, Erasure, Keyring, SealedParty, Vault, VaultId, WrappedKey};

const POOL: [&str; 4] = ["+14155550100", "+14155550101", "+12125550102", "+442079460003"];
/// Operations of one history.
const STEPS: u64 = 300;
/// Numbers that come and go.
const MORE: [&str; 3] = ["+14155550104", "+13105550105", "+442079460006"];
const PARTIES: [&str; 6] =
    ["+12125551200", "+13105550147", "+442079460999", "+14155550199", "77@pbx", "78@pbx"];

type Pair = (ProxyNumber, PartyAddress);
/// A pair as the store names it.
type StoredPair = (ProxyNumber, VaultId);

/// What a store holds.
#[derive(Clone)]
struct Rows {
    /// Opens everything in it.
    vault: Arc<Vault>,
    data_keys: BTreeMap<Epoch, WrappedKey>,
    numbers: BTreeMap<ProxyNumber, PoolNumber>,
    parties: BTreeMap<VaultId, SealedParty>,
    addresses: BTreeMap<VaultId, PartyAddress>,
    bindings: BTreeMap<BindingId, Binding>,
    agents: BTreeMap<ProxyNumber, AgentNumber>,
    pairs: BTreeMap<StoredPair, BindingId>,
    rests: BTreeMap<StoredPair, Timestamp>,
    erased: BTreeSet<VaultId>,
    erasures: BTreeMap<ErasureId, Erasure>,
}

impl Rows {
    fn new(vault: &Arc<Vault>, data_key: WrappedKey) -> Self {
        Self {
            vault: Arc::clone(vault),
            data_keys: BTreeMap::from([(data_key.epoch, data_key)]),
            numbers: BTreeMap::new(),
            parties: BTreeMap::new(),
            addresses: BTreeMap::new(),
            bindings: BTreeMap::new(),
            agents: BTreeMap::new(),
            pairs: BTreeMap::new(),
            rests: BTreeMap::new(),
            erased: BTreeSet::new(),
            erasures: BTreeMap::new(),
        }
    }

    fn sealed_before(&self, epoch: Epoch) -> usize {
        self.parties.values().filter(|party| party.sealed.epoch() < epoch).count()
    }

    fn apply(&mut self, transaction: &Transaction) {
        for change in &transaction.changes {
            match change.clone() {
                Stored::PutNumbers(numbers) => {
                    self.numbers.extend(numbers.iter().map(|number| (number.number, number.clone())));
                }
                Stored::DeleteNumber(number) => drop(self.numbers.remove(&number)),
                Stored::PutParty(party) => {
                    if let Some(address) = self.vault.unseal(party.id, &party.sealed) {
                        self.addresses.insert(party.id, address);
                        self.erased.remove(&party.id);
                    } else {
                        // The model remembers what the store forgets.
                        assert!(party.sealed.is_erased(), "a party cannot be unsealed");
                        self.erased.insert(party.id);
                    }
                    self.parties.insert(party.id, party);
                }
                Stored::DeleteParty(id) => {
                    self.parties.remove(&id);
                    self.addresses.remove(&id);
                    self.erased.remove(&id);
                }
                Stored::PutAgent(agent) => drop(self.agents.insert(agent.number, agent)),
                Stored::DeleteAgent(number) => drop(self.agents.remove(&number)),
                Stored::PutBinding(binding) => drop(self.bindings.insert(binding.id, binding)),
                Stored::DeleteBinding(id) => drop(self.bindings.remove(&id)),
                Stored::ClaimPair(claim) => {
                    let holder = *self.pairs.entry((claim.proxy, claim.party)).or_insert(claim.binding);
                    assert_eq!(holder, claim.binding, "a pair was claimed for a second binding");
                }
                Stored::ReleasePair(claim) => {
                    let pair = (claim.proxy, claim.party);
                    if self.pairs.get(&pair) == Some(&claim.binding) {
                        self.pairs.remove(&pair);
                    }
                }
                Stored::PutRest(rest) => drop(self.rests.insert((rest.proxy, rest.party), rest.since)),
                Stored::DeleteRest(rest) => drop(self.rests.remove(&(rest.proxy, rest.party))),
                Stored::PutCall(_) | Stored::DeleteCall(_) | Stored::PutCdr(_) | Stored::DropCdrs { .. } => {
                    panic!("the directory writes nothing about calls")
                }
                Stored::PutGuard(_) | Stored::DeleteGuard(_) => panic!("the directory guards nothing"),
                Stored::BeginEpoch(epoch) => {
                    self.vault = Arc::clone(&epoch.vault);
                    self.data_keys.insert(epoch.wrapped.epoch, epoch.wrapped.clone());
                }
                Stored::PutErasure(erasure) => drop(self.erasures.insert(erasure.id, *erasure)),
                Stored::DeleteErasure(id) => drop(self.erasures.remove(&id)),
                Stored::EndEpochs(before) => {
                    self.vault = Arc::new(self.vault.without_before(before));
                    self.data_keys = self.data_keys.split_off(&before);
                }
                Stored::PutAudit(_) => panic!("the directory keeps no log"),
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        let rest = |(pair, since): (&StoredPair, &Timestamp)| PairRest {
            proxy: pair.0,
            party: pair.1,
            since: *since,
        };
        Snapshot {
            numbers: self.numbers.values().cloned().collect(),
            parties: self.parties.values().cloned().collect(),
            bindings: self.bindings.values().cloned().collect(),
            agents: self.agents.values().cloned().collect(),
            rests: self.rests.iter().map(rest).collect(),
            erasures: self.erasures.values().cloned().collect(),
            guard: Vec::new(),
        }
    }

    fn address(&self, id: VaultId) -> &PartyAddress {
        self.addresses.get(&id).expect("what is referred to is there")
    }

    /// Everything that refers to a party finds it, and an address has one party
    /// that anything refers to.
    fn check_parties(&self) {
        let bound = self.bindings.values().flat_map(Binding::claims).map(|claim| claim.party);
        let named = bound.chain(self.pairs.keys().chain(self.rests.keys()).map(|pair| pair.1));
        let named: BTreeSet<VaultId> = named
            .chain(self.agents.values().flat_map(|agent| agent.also.iter().copied().chain([agent.agent])))
            .collect();
        let addresses: BTreeSet<&PartyAddress> = named.iter().map(|id| self.address(*id)).collect();
        assert_eq!(addresses.len(), named.len(), "an address has two parties");
    }

    /// Whom a pair belongs to, by looking at every binding.
    fn owner(&self, proxy: ProxyNumber, caller: &PartyAddress) -> Option<(&Binding, LegName)> {
        let is = |party: &Party, also: &[VaultId]| {
            let mut ids = also.iter().chain([&party.id]);
            party.proxy == proxy && ids.any(|id| self.address(*id) == caller)
        };
        let mut owners = self.bindings.values().filter_map(|binding| {
            let [customer, agent] =
                [is(&binding.customer, &binding.also[0]), is(&binding.agent, &binding.also[1])];
            let leg = if customer { LegName::A } else { LegName::B };
            (customer || agent).then_some((binding, leg))
        });
        let owner = owners.next();
        assert!(owners.next().is_none(), "a pair belongs to two bindings");
        owner
    }
}

struct Simulation {
    random: ChaCha8Rng,
    config: Arc<Config>,
    now: Now,
    /// Every pair that there can be.
    pairs: Vec<Pair>,
    directory: Directory,
    /// The key file.
    keyring: Keyring,
    /// What the keeper runs on.
    vault: Arc<Vault>,
    /// Whether the store needs an epoch before this one is still to be seen.
    looks: Option<Epoch>,
    written: Rows,
    acknowledged: Rows,
    in_flight: VecDeque<(CommitId, Transaction)>,
    asked: BTreeSet<RequestId>,
    calls: Vec<BindingId>,
    next: u64,
    answers: BTreeMap<&'static str, u32>,
    last_reply: Option<AdminReply>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut config = config();
        config.bindings.usual.time_to_live = Duration::from_secs(40);
        config.bindings.usual.callback_window = Duration::from_secs(20);
        config.bindings.cool_off = Duration::from_secs(30);
        config.limits.pending_commits = 12;
        let config = Arc::new(config);
        let parties = PARTIES.map(|party| parse::party("customer", &Typed(party.into()), &config).unwrap());
        let pairs = POOL
            .iter()
            .chain(&MORE)
            .flat_map(|proxy| parties.clone().map(|party| (proxy.parse().unwrap(), party)));
        let keyring = Keyring::generate(&mut random(seed));
        let (vault, made) = Vault::open(&keyring, &[], &mut random(seed)).unwrap();
        let vault = Arc::new(vault);
        let rows = Rows::new(&vault, made.unwrap());
        let mut simulation = Self {
            pairs: pairs.collect(),
            random: ChaCha8Rng::seed_from_u64(seed),
            directory: Directory::new(
                Arc::clone(&config),
                Arc::clone(&vault),
                [1; 32],
                at(0),
                Snapshot::default(),
            ),
            keyring,
            vault,
            looks: None,
            config,
            now: at(0),
            written: rows.clone(),
            acknowledged: rows,
            in_flight: VecDeque::new(),
            asked: BTreeSet::new(),
            calls: Vec::new(),
            next: 0,
            answers: BTreeMap::new(),
            last_reply: None,
        };
        simulation.ask(AdminRequest::Pool(PoolRequest::Add { numbers: POOL.map(new_number).into() }));
        simulation.store_works(true);
        simulation
    }

    fn pick(&mut self, choices: usize) -> usize {
        self.random.random_range(0..choices)
    }

    fn ask(&mut self, request: AdminRequest) {
        self.next += 1;
        let id = RequestId(self.next);
        self.asked.insert(id);
        assert!(self.directory.handle_admin(self.now, id, request).is_none());
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.directory.poll_output() {
            match output {
                Output::Commit(id, transaction) => {
                    self.check_choice(&transaction);
                    self.in_flight.push_back((id, transaction));
                }
                Output::Reply(id, reply) => {
                    assert!(self.asked.remove(&id), "{id:?} was answered twice or never asked");
                    *self.answers.entry(name_of(&reply)).or_default() += 1;
                    self.last_reply = Some(reply);
                }
                Output::Event(_) => {}
                Output::Rekey(step) => self.keep_keys(step),
                Output::Certify(erasures) => {
                    *self.answers.entry("certified").or_default() += 1;
                    let ids = erasures.iter().map(|erasure| erasure.id).collect();
                    self.directory.certified(self.now, ids);
                }
                other => panic!("{other:?} is not the directory's to put out"),
            }
        }
    }

    fn change_keys(&mut self) {
        if self.pick(3) == 0 {
            return self.ask(AdminRequest::VaultRotate);
        }
        let person = Typed(PARTIES[self.pick(6)].into());
        self.ask(AdminRequest::PrivacyErase { person: person.clone() });
        self.ask(AdminRequest::PrivacyShow { person, after: None });
    }

    /// As the keeper of the daemon does.
    fn keep_keys(&mut self, step: RekeyStep) {
        match step {
            RekeyStep::Wanted if self.pick(8) == 0 => {
                let problem = refusal(RefusalKind::Unavailable, "the key file cannot be written", "");
                self.directory.epoch_refused(self.now, problem);
            }
            RekeyStep::Wanted => {
                assert_eq!(self.keyring.epochs().count(), 1, "one change at a time");
                self.keyring.add_epoch(&mut self.random).unwrap();
                let new = self.vault.begin(&self.keyring, &mut self.random).unwrap();
                self.vault = Arc::clone(&new.vault);
                self.directory.begin_epoch(self.now, Arc::new(new));
            }
            RekeyStep::Began(_) => {}
            RekeyStep::Resealed(epoch) => self.looks = Some(epoch),
            RekeyStep::Ended(before) => {
                self.vault = Arc::new(self.vault.without_before(before));
                self.keyring.destroy_before(before);
                assert_eq!(self.written.sealed_before(before), 0, "a number is lost");
                *self.answers.entry("rotated").or_default() += 1;
            }
        }
    }

    fn look(&mut self) {
        if let Some(epoch) = self.looks.take_if(|epoch| self.written.sealed_before(*epoch) == 0) {
            self.directory.end_epochs(self.now, epoch);
            self.drain();
        }
    }

    /// What is given is active, and not in cool-off for its party.
    fn check_choice(&self, transaction: &Transaction) {
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

    fn step(&mut self) {
        match self.pick(100) {
            0..32 => self.create(),
            32..33 => self.agents(),
            35..45 => self.close(),
            45..65 => self.store_works(false),
            65..80 => self.wait(),
            80..87 => self.call(),
            87..92 => self.hang_up(),
            92..93 => self.look_around(),
            33..35 | 93..96 => self.change_pool(),
            96..97 => self.change_keys(),
            97..98 => self.store_works(true),
            _ => self.crash(),
        }
        self.check();
    }

    fn create(&mut self) {
        let key = format!("k{}", self.pick(9));
        let (customer, agent) = (PARTIES[self.pick(6)], PARTIES[self.pick(6)]);
        let mut wanted = wanted(&key, customer, agent);
        wanted.time_to_live = [None, Some(Duration::from_secs(5))][self.pick(2)];
        wanted.numbers = [NumberWish::default(), NumberWish::default(), within("GB")][self.pick(3)].clone();
        wanted.numbers.strict = self.pick(4) == 0;
        wanted.one_number = self.pick(6) == 0;
        if self.pick(5) == 0 {
            let also = Typed(PARTIES[self.pick(6)].into());
            wanted.also[self.pick(2)].push(also);
        }
        wanted.usage.idle = [None, None, Some(Duration::from_secs(7))][self.pick(3)];
        wanted.tags = vec!["t".to_owned(); self.pick(2)];
        self.ask(AdminRequest::BindCreate(wanted.clone()));
        if self.pick(4) == 0 {
            self.ask(AdminRequest::BindCreate(wanted));
        }
    }

    fn some_binding(&mut self) -> Option<BindingId> {
        let ids: Vec<_> = self.acknowledged.bindings.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[self.random.random_range(0..ids.len())])
    }

    fn close(&mut self) {
        let id = self.some_binding().unwrap_or(BindingId::from_bits(3));
        let time_to_live = [None, Some(Duration::from_secs(9))][self.pick(2)];
        match self.pick(4) {
            _ if self.pick(5) == 0 => {
                let leg = LegName::BOTH[self.pick(2)];
                let to = Typed(PARTIES[self.pick(6)].into());
                return self.ask(AdminRequest::BindHandover { id, leg, to });
            }
            0 => return self.ask(AdminRequest::BindExtend { id, time_to_live }),
            1 => return self.ask(AdminRequest::BindReopen { id, time_to_live }),
            _ => {}
        }
        self.ask(AdminRequest::BindClose { id });
    }

    fn some_number(&mut self) -> ProxyNumber {
        let all: Vec<&str> = POOL.into_iter().chain(MORE).collect();
        all[self.pick(all.len())].parse().unwrap()
    }

    fn change_pool(&mut self) {
        let (number, another) = (self.some_number(), self.some_number());
        let guest: ProxyNumber = MORE[self.pick(3)].parse().unwrap();
        let states = [NumberState::Active, NumberState::Active, NumberState::Draining, NumberState::Disabled];
        let to = states[self.pick(4)];
        let pool = |request| AdminRequest::Pool(request);
        match self.pick(4) {
            0 => {
                // Half of them for texts alone, so that no binding keeps them here.
                let voice = self.pick(2) == 0;
                let numbers =
                    vec![with(&guest.to_string(), |traits| (traits.voice, traits.sms) = (voice, true))];
                self.ask(pool(PoolRequest::Add { numbers }));
            }
            1 => {
                let numbers = vec![guest];
                self.ask(pool(PoolRequest::Remove { numbers: numbers.clone() }));
                self.ask(pool(PoolRequest::SetState { numbers, to: NumberState::Draining }));
            }
            2 => self.ask(pool(PoolRequest::SetState { numbers: vec![number, another], to })),
            _ => self.import([number, another]),
        }
    }

    fn import(&mut self, numbers: [ProxyNumber; 2]) {
        self.ask(AdminRequest::Pool(PoolRequest::ImportBegin { update: self.next.is_multiple_of(2) }));
        let Some(AdminReply::Pool(PoolReply::ImportBegun(import))) = self.last_reply.take() else { return };
        let line = |(at, number)| ImportLine {
            line: at,
            country: None,
            state: None,
            number: with(&ProxyNumber::to_string(&number), |traits| traits.sms = at == 2),
        };
        let lines = (2..).zip(numbers).map(line).collect();
        self.ask(AdminRequest::Pool(PoolRequest::ImportLines { import, lines }));
        let keep = self.pick(4) > 0;
        self.ask(AdminRequest::Pool(PoolRequest::ImportEnd { import, keep }));
    }

    /// Agents get numbers and lose them, and are called.
    fn agents(&mut self) {
        let of_agents: Vec<ProxyNumber> = self.acknowledged.agents.keys().copied().collect();
        let some = (!of_agents.is_empty()).then(|| of_agents[self.random.random_range(0..of_agents.len())]);
        match (self.pick(6), some) {
            (0, Some(number)) => self.ask(AdminRequest::Agent(AgentRequest::Close { number })),
            (1.., Some(number)) => {
                for _ in 0..3 {
                    self.ring(number);
                }
            }
            (_, None) => {
                let wanted = NewAgent {
                    tenant: "acme".into(),
                    project: "main".into(),
                    key: format!("a{}", self.pick(2)),
                    agent: Typed(PARTIES[self.pick(6)].into()),
                    also: vec![Typed(PARTIES[self.pick(6)].into()); self.pick(2)],
                    ring: None,
                    number: None,
                    numbers: NumberWish::default(),
                };
                self.ask(AdminRequest::Agent(AgentRequest::Open(wanted)));
            }
        }
    }

    fn ring(&mut self, number: ProxyNumber) {
        let caller = self.pairs[self.random.random_range(0..self.pairs.len())].1.clone();
        let is_live = matches!(self.directory.lookup(&number, &caller), Lookup::Live(_));
        if is_live || self.directory.agent_at(&number, &caller).is_none() {
            return;
        }
        self.next += 1;
        let request = RequestId(self.next);
        self.asked.insert(request);
        let met = self.directory.meet(self.now, request, &number, &caller);
        if !met {
            self.asked.remove(&request);
        }
        *self.answers.entry(if met { "met" } else { "shared" }).or_default() += 1;
        self.drain();
    }

    fn look_around(&mut self) {
        let id = self.some_binding().unwrap_or(BindingId::from_bits(3));
        self.ask(AdminRequest::BindShow { id });
        let filter = BindFilter { state: Shown::All, tag: Some("t".into()), ..BindFilter::default() };
        self.ask(AdminRequest::BindList { filter, after: None, limit: 5 });
        self.ask(AdminRequest::Pool(PoolRequest::List {
            filter: PoolFilter::default(),
            after: None,
            limit: 5,
        }));
    }

    /// Answers some commits, in order; well or with every kind of trouble.
    fn store_works(&mut self, well: bool) {
        let count = if well { usize::MAX } else { self.pick(4) };
        for _ in 0..count {
            let Some((id, transaction)) = self.in_flight.pop_front() else { break };
            match if well { 9 } else { self.pick(10) } {
                0 => self.directory.handle_conflict(self.now, id),
                1 => self.directory.handle_commit_failed(self.now, id, "the disk is gone"),
                2 => {
                    self.write(&transaction);
                    self.directory.handle_commit_failed(self.now, id, "the disk is slow");
                }
                _ => {
                    self.write(&transaction);
                    self.acknowledged.apply(&transaction);
                    self.directory.handle_committed(self.now, id);
                }
            }
            self.drain();
        }
    }

    fn write(&mut self, transaction: &Transaction) {
        for change in &transaction.changes {
            if let Stored::EndEpochs(before) = change {
                assert_eq!(self.written.sealed_before(*before), 0, "a number would be lost");
            }
        }
        self.written.apply(transaction);
    }

    fn wait(&mut self) {
        self.look();
        let next = self.directory.poll_timeout().map(|(due, _)| due.saturating_since(self.now.mono));
        let pause = match self.pick(3) {
            0 => Duration::from_secs(1),
            _ => next.unwrap_or(Duration::from_secs(1)),
        };
        self.now = self.now.after(pause);
        self.directory.handle_timeout(self.now);
        self.drain();
    }

    fn call(&mut self) {
        let live: Vec<_> = self
            .pairs
            .iter()
            .filter_map(|pair| match self.directory.lookup(&pair.0, &pair.1) {
                Lookup::Live(found) => Some(found.binding),
                Lookup::Entombed(_) | Lookup::Unknown => None,
            })
            .collect();
        if !live.is_empty() {
            let call = live[self.pick(live.len())];
            assert!(self.directory.hold(call));
            self.calls.push(call);
        }
    }

    fn hang_up(&mut self) {
        if !self.calls.is_empty() {
            let at = self.pick(self.calls.len());
            let binding = self.calls.swap_remove(at);
            self.directory.release(self.now, binding);
        }
    }

    /// The process dies: its calls and its unanswered requests die with it.
    fn crash(&mut self) {
        // Whatever had reached the store's queue is written or not.
        while self.pick(2) == 0 {
            let Some((_, transaction)) = self.in_flight.pop_front() else { break };
            self.write(&transaction);
        }
        self.in_flight.clear();
        self.asked.clear();
        self.calls.clear();
        self.acknowledged = self.written.clone();
        let seed = self.random.random();
        self.looks = None;
        let stored: Vec<WrappedKey> = self.written.data_keys.values().cloned().collect();
        let (vault, made) = Vault::open(&self.keyring, &stored, &mut self.random).unwrap();
        self.vault = Arc::new(vault);
        self.written.data_keys.extend(made.map(|made| (made.epoch, made)));
        self.written.vault = Arc::clone(&self.vault);
        self.acknowledged = self.written.clone();
        // What a keeper before did not come to.
        self.keyring.destroy_before(self.vault.epochs().next().unwrap());
        let (config, vault) = (Arc::clone(&self.config), Arc::clone(&self.vault));
        self.directory = Directory::new(config, vault, seed, self.now, self.written.snapshot());
        assert_eq!(self.directory.counts.dropped_at_start, 0);
        self.drain();
    }

    fn check(&mut self) {
        self.written.check_parties();
        for pair in &self.pairs {
            let found = self.directory.lookup(&pair.0, &pair.1);
            let live = matches!(found, Lookup::Live(_));
            let owner = self.acknowledged.owner(pair.0, &pair.1);
            let disabled = owner.is_some_and(|(binding, _)| {
                let disabled = |party: &Party| {
                    self.acknowledged.numbers[&party.proxy].traits.state == NumberState::Disabled
                };
                disabled(&binding.customer) || disabled(&binding.agent)
            });
            let gone = owner.is_some_and(|(binding, caller)| {
                let other = if caller == LegName::A { &binding.agent } else { &binding.customer };
                let slot = |id| self.directory.parties.find(self.acknowledged.address(id));
                let going = binding
                    .claims()
                    .any(|claim| slot(claim.party).is_some_and(|party| self.directory.is_going(party)));
                // Who comes back is known from then on.
                let back = slot(other.id).is_some_and(|party| !self.directory.parties.is_erased(party));
                going || (self.acknowledged.erased.contains(&other.id) && !back)
            });
            match (owner.filter(|_| !disabled && !gone), found) {
                (None, Lookup::Unknown) => {}
                (Some((binding, caller)), Lookup::Live(found) | Lookup::Entombed(found))
                    if found.binding == binding.id =>
                {
                    let other = if caller == LegName::A { &binding.agent } else { &binding.customer };
                    let address = self.acknowledged.address(other.id);
                    assert_eq!(
                        (found.caller, self.directory.address(found.callee).as_ref()),
                        (caller, Some(address))
                    );
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
        // A handover leaves a call with whom it is, and its pair may be another's in time.
        for binding in &self.calls {
            assert!(self.acknowledged.bindings.contains_key(binding), "a call in progress lost its binding");
        }
        for number in &self.directory.pool_list(&PoolFilter::default(), None, 0).rows {
            let uses = |binding: &&Binding| {
                [&binding.customer, &binding.agent].iter().filter(|p| p.proxy == number.number.number).count()
            };
            let entombed = |binding: &&Binding| matches!(binding.state, BindingState::Entombed { .. });
            let counted: usize =
                self.acknowledged.bindings.values().filter(entombed).map(|binding| uses(&binding)).sum();
            assert_eq!(number.entombed, counted);
        }
        let shown = self.directory.agent_list(None, 0).into_iter().map(|agent| agent.number);
        assert!(shown.eq(self.acknowledged.agents.keys().copied()), "the agents' numbers");
        self.check_headroom();
        let numbers: Vec<_> = self.acknowledged.numbers.values().collect();
        let shown = self.directory.pool_list(&PoolFilter::default(), None, 0).rows;
        assert_eq!(shown.iter().map(|row| &row.number).collect::<Vec<_>>(), numbers);
        assert!(self.directory.pending.len() <= self.config.limits.pending_commits);
    }

    /// What is counted for plans is what there is.
    fn check_headroom(&self) {
        let mut counted: BTreeMap<(Country, Option<String>), BTreeMap<PartyIx, [u32; 2]>> = BTreeMap::new();
        for (_, record) in self.directory.bindings.after(None) {
            for (leg, side) in record.pairs() {
                let at = usize::from(leg == LegName::B);
                // Where an erased party is from is known until the next start at most.
                let Some(address) = self.directory.parties.address(side.party) else { return };
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
    fn end(mut self) -> BTreeMap<&'static str, u32> {
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

fn name_of(reply: &AdminReply) -> &'static str {
    match reply {
        AdminReply::Bound { reused: false, .. } => "created",
        AdminReply::Bound { reused: true, .. } => "reused",
        AdminReply::Refused(Refusal { kind, .. }) => match kind {
            RefusalKind::Invalid => "invalid",
            RefusalKind::NotFound => "not found",
            RefusalKind::Conflict => "conflict",
            RefusalKind::Exhausted => "exhausted",
            RefusalKind::Unavailable => "unavailable",
            RefusalKind::Forbidden => "forbidden",
        },
        AdminReply::Pool(PoolReply::Added { .. }) => "added",
        AdminReply::Pool(PoolReply::Removed(_)) => "removed",
        AdminReply::Pool(PoolReply::StateSet { .. }) => "set",
        AdminReply::Pool(PoolReply::Imported(_)) => "imported",
        AdminReply::Agent(AgentReply::Opened { .. }) => "opened",
        AdminReply::Agent(_) | AdminReply::Pool(_) | AdminReply::Bindings(_) | AdminReply::Binding(_) => {
            "shown"
        }
        AdminReply::Vault(_)
        | AdminReply::Rotating { .. }
        | AdminReply::Person(_)
        | AdminReply::Retention(_) => "counted",
        AdminReply::Erasing(_) => "erased",
        AdminReply::Calls(_)
        | AdminReply::Call(_)
        | AdminReply::HungUp(_)
        | AdminReply::Resolved(_)
        | AdminReply::Drain { .. }
        | AdminReply::Counters(_)
        | AdminReply::Noted
        | AdminReply::Unmask(_)
        | AdminReply::Guard(_) => {
            panic!("not the directory's answer")
        }
    }
}

/// How many histories are played: `VIZARD_MODEL_OPS` says how many operations they
/// have in all.
#[expect(clippy::disallowed_methods, reason = "how long a test takes is asked of whoever runs it")]
fn histories() -> u64 {
    let asked = std::env::var("VIZARD_MODEL_OPS").ok();
    let operations = asked.map_or(36_000, |asked| asked.parse().expect("VIZARD_MODEL_OPS is a number"));
    operations / STEPS
}

#[test]
fn random_histories_keep_the_directory_true_to_its_model() {
    let mut answers: BTreeMap<&'static str, u32> = BTreeMap::new();
    for seed in 0..histories() {
        let mut simulation = Simulation::new(seed);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                simulation.step();
            }
            simulation.end()
        }));
        match run {
            Ok(more) => more.into_iter().for_each(|(name, count)| *answers.entry(name).or_default() += count),
            Err(panic) => {
                eprintln!("seed {seed} fails");
                std::panic::resume_unwind(panic);
            }
        }
    }
    // The histories reach everything that they are meant to reach.
    let asked_often =
        ["created", "reused", "invalid", "not found", "conflict", "exhausted", "unavailable", "shown"];
    let asked_at_times =
        ["removed", "set", "imported", "rotated", "erased", "certified", "opened", "met", "shared"];
    let least = asked_often.map(|name| (name, 100)).into_iter().chain(asked_at_times.map(|name| (name, 10)));
    for (name, least) in least {
        assert!(
            answers.get(name).is_some_and(|&count| count > least),
            "too few answers {name:?}: {answers:?}"
        );
    }
}
