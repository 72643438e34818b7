//! Who may reach whom through which number: pools, bindings, allocation.
//!
//! One invariant carries the product: **a (proxy, party) pair belongs to at
//! most one binding that is live or entombed.** An incoming call shows who
//! dials which proxy, so it has one answer or none, and no stranger is ever
//! reached. Each party of a binding has a proxy of its own; a number serves any
//! number of parties, as long as each pair is used once.
//!
//! # Changes
//!
//! The directory has one writer and changes nothing on its own word. A request
//! becomes a proposal: its pairs are reserved, [`Output::Commit`] goes out, and
//! only when the store has it does anybody see it. Requests that touch a
//! binding with a change under way wait for it and are then judged afresh, so
//! that two creations with one key end as one binding.
//!
//! - *Committed*: the change becomes visible, and the request is answered.
//! - *Conflict*: nothing was written; the reservation is undone.
//! - *Failed*: what the store holds is unknown. The request is refused, the
//!   pairs stay reserved, and a compensating transaction that restores what is
//!   visible (or, for changes that time itself demands, the same transaction)
//!   is tried with growing delays until the store has it. Should the process
//!   die before, the next one starts from what the store holds, and asking
//!   again with the same key finds it.
//!
//! # Life of a binding
//!
//! Live until its expiry or until it is closed; with a call in progress it
//! lasts until that call's end, while new calls find it ended. Entombed for the
//! callback window: its pairs stay reserved. Then forgotten: its pairs rest for
//! the cool-off, in which neither number is given to that party again, and are
//! preferred for the party for a while after it.

pub mod agents;
mod allocate;
mod binding_requests;
mod bindings;
mod check;
mod erase;
pub mod filter;
mod handover;
mod headroom;
mod import;
mod lifetime;
pub mod model;
mod numbers;
mod pairs;
mod parse;
mod parties;
pub mod plan;
pub mod pool;
mod pool_requests;
mod prolong;
mod proposal;
mod rekey;
mod rests;
mod retain;
mod search;
pub mod usage;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use agents::{Agent, AgentFilter, AgentReply, AgentRequest, AgentView, NewAgent};
pub use filter::{BindFilter, BindPage, Shown};
pub use headroom::Home;
pub use model::{
    AgentNumber, Binding, BindingKind, BindingState, Extension, NumberKind, NumberState, NumberTraits,
    PairClaim, PairRest, Party, PartyAddress, PoolNumber, Snapshot,
};
pub use pool::{NewNumber, PoolFilter, PoolReply, PoolRequest, PoolRow};
pub use usage::{Direction, Forbidden, Mode, Prompt, Recording, Ring, Usage, UsageWish};

use super::admin::{AdminReply, AdminRequest, BindingView, Refusal, RefusalKind};
use super::audit::acts::Note;
use super::cdr::Labels;
use super::config::{Config, Life};
use super::event::Event;
use super::ids::{BindingId, LegName};
use super::io::{CommitId, Output, RequestId};
use super::map::HashKey;
use super::number::{ProxyNumber, Typed};
use super::privacy::{Erasure, SealedParty, Vault};
use super::time::{Instant, Now, Timestamp};
use super::unmask::Revealed;
use agents::Agents;
use bindings::{BindingIx, Bindings, Record, Side, Stage};
use erase::Erasing;
use headroom::Headroom;
use import::{Import, Landing};
use numbers::{NumberIx, Numbers};
use pairs::Pairs;
use parties::{Parties, PartyIx};
use prolong::Prolong;
use proposal::Proposal;
use rekey::Rekey;
use rests::Rests;

/// The pool, the bindings, and what is being changed about them.
///
/// After every call that takes `now`, drain [`Directory::poll_output`] and ask
/// [`Directory::poll_timeout`] anew.
pub struct Directory {
    config: Arc<Config>,
    random: ChaCha8Rng,
    /// Both clocks at the last call.
    clock: Now,
    parties: Parties,
    numbers: Numbers,
    bindings: Bindings,
    pairs: Pairs,
    /// When each settled binding's state ends; not those with a change or a
    /// call under way.
    due: BTreeSet<(Timestamp, BindingIx)>,
    agents: Agents,
    rests: Rests,
    headroom: Headroom,
    rekey: Rekey,
    /// Who waits for a new epoch.
    rotation: Option<RequestId>,
    erasing: Option<Erasing>,
    /// Those whose certificate is to be written.
    erasures: Vec<Erasure>,
    /// When records whose time is over are dropped.
    retention_due: Instant,
    /// The day of the records that were said to be dropped last.
    retention_noted: Option<i64>,
    /// What Vizard does of itself and is to be noted.
    acts: Vec<Note>,
    pending: BTreeMap<CommitId, Pending>,
    retries: BTreeMap<(Instant, u64), Pending>,
    waiting: BTreeMap<BindingIx, VecDeque<(RequestId, AdminRequest)>>,
    waiters: usize,
    /// Numbers with a change that is not durable, but those of an import.
    changing: BTreeSet<ProxyNumber>,
    import: Option<Import>,
    landing: VecDeque<Landing>,
    outputs: VecDeque<Output>,
    next: u64,
    counts: Counts,
}

/// A proposal and how often the store has failed it.
struct Pending {
    proposal: Proposal,
    failures: u32,
}

/// What the directory counts.
#[derive(Clone, Copy, Default)]
struct Counts {
    created: u64,
    reused: u64,
    entombed: u64,
    forgotten: u64,
    exhausted: u64,
    limited: u64,
    shared: u64,
    conflicts: u64,
    commit_failures: u64,
    dropped_at_start: u64,
}

/// What is known about a caller who dials a proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// The call connects.
    Live(Match),
    /// The binding has ended, and the pair is still reserved for it.
    Entombed(Match),
    /// Nobody is behind this number for this caller.
    Unknown,
}

/// Whom a pair belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Match {
    /// The binding.
    pub binding: BindingId,
    /// Which of its parties calls.
    pub caller: LegName,
    /// It, where it calls from: [`Directory::address`] says where that is.
    pub from: Somebody,
    /// The other one, where it is called first.
    pub callee: Somebody,
    /// The number that the other one sees.
    pub callee_sees: ProxyNumber,
}

/// Who calls or is called, before anybody needs to know where that is. Good until the
/// directory changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Somebody(PartyIx);

impl fmt::Debug for Somebody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(somebody)")
    }
}

/// What is known about a caller and a number.
pub(super) struct PairFacts {
    /// The number, if it is in the pool.
    pub(super) number: Option<PoolNumber>,
    /// Bindings that the caller is in.
    pub(super) bindings: usize,
    /// Whether a binding of this pair is being made.
    pub(super) reserved: bool,
    /// The binding of this pair.
    pub(super) binding: Option<BindingView>,
    /// Which of its parties the caller is.
    pub(super) caller: LegName,
    /// When the pair was freed, and when its cool-off ends.
    pub(super) freed: Option<(Timestamp, Timestamp)>,
}

/// The directory numbers its commits from here, so that calls can number
/// theirs from zero.
const FIRST_COMMIT: u64 = 1 << 63;

impl Directory {
    /// The directory that a store's snapshot describes; `vault` has sealed its
    /// parties. `seed` feeds the ids of new bindings and parties. Of two bindings that claim one pair, which a store never
    /// holds, the later is left out and counted.
    #[must_use]
    pub fn new(config: Arc<Config>, vault: Arc<Vault>, seed: [u8; 32], now: Now, snapshot: Snapshot) -> Self {
        let cap = config.pool.bindings_per_number;
        let mut random = ChaCha8Rng::from_seed(seed);
        let hashes = HashKey::random(&mut random);
        let mut directory = Self {
            config,
            random,
            clock: now,
            parties: Parties::new(vault, hashes),
            numbers: Numbers::new(hashes, cap),
            bindings: Bindings::new(hashes),
            pairs: Pairs::new(hashes),
            due: BTreeSet::new(),
            agents: Agents::default(),
            rests: Rests::default(),
            headroom: Headroom::default(),
            rekey: Rekey::default(),
            rotation: None,
            erasing: None,
            erasures: Vec::new(),
            retention_due: now.mono,
            retention_noted: None,
            acts: Vec::new(),
            pending: BTreeMap::new(),
            retries: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiters: 0,
            changing: BTreeSet::new(),
            import: None,
            landing: VecDeque::new(),
            outputs: VecDeque::new(),
            next: FIRST_COMMIT,
            counts: Counts::default(),
        };
        directory.restore(snapshot);
        directory.go_on_rekeying();
        directory
    }

    /// Whom a caller reaches who dials a number. Changes that are not durable do
    /// not show. Takes less than a microsecond, most of it for the blind index of
    /// the caller and for memory that is far away; nothing is unsealed.
    #[must_use]
    pub fn lookup(&self, proxy: &ProxyNumber, caller: &PartyAddress) -> Lookup {
        let Some((record, caller, from)) = self.record_of(proxy, caller) else { return Lookup::Unknown };
        if record.sides().iter().any(|side| self.is_disabled(side.number)) {
            return Lookup::Unknown;
        }
        let callee = record.side(caller.other());
        if record.pairs().any(|(_, side)| self.is_going(side.party)) {
            return Lookup::Unknown;
        }
        if self.parties.is_erased(callee.party) {
            return Lookup::Unknown;
        }
        let found = Match {
            binding: record.id,
            caller,
            from: Somebody(from),
            callee: Somebody(callee.party),
            callee_sees: self.numbers.get(callee.number).number,
        };
        match (record.stage, record.state) {
            (Stage::Reserved, _) => Lookup::Unknown,
            (Stage::Settled, BindingState::Live { .. }) => Lookup::Live(found),
            (Stage::Closing, _) | (Stage::Settled, BindingState::Entombed { .. }) => Lookup::Entombed(found),
        }
    }

    /// Where somebody is who was just looked up, in clear: for the call to them.
    #[must_use]
    pub fn address(&self, somebody: Somebody) -> Option<PartyAddress> {
        self.parties.address(somebody.0)
    }

    /// Everywhere that a party of a binding is, in the order in which that rings.
    #[must_use]
    pub fn addresses_of(&self, id: BindingId, leg: LegName) -> Vec<PartyAddress> {
        let Some(record) = self.bindings.find(id).and_then(|ix| self.bindings.get(ix)) else {
            return Vec::new();
        };
        let of_leg = record.pairs().filter(|(of, _)| *of == leg);
        of_leg.filter_map(|(_, side)| self.parties.address(side.party)).collect()
    }

    /// Whether a number is in the pool.
    #[must_use]
    pub fn is_proxy(&self, number: &ProxyNumber) -> bool {
        self.numbers.find(number).is_some()
    }

    /// Whether calls to a number may reach anybody.
    #[must_use]
    pub fn connects(&self, number: &ProxyNumber) -> bool {
        self.numbers.find(number).is_some_and(|number| !self.is_disabled(number))
    }

    /// The bindings that somebody is in, live or entombed.
    pub fn bindings_of(&self, address: &PartyAddress) -> impl Iterator<Item = BindingId> {
        let party = self.parties.find(address);
        let pairs = party.into_iter().flat_map(|party| self.pairs.of(party).map(move |pair| (party, pair)));
        let records = pairs.filter_map(|(party, (number, ix))| {
            let record = self.bindings.get(ix)?;
            record.leg_of(Side { party, number }).map(|_| record)
        });
        records.filter(|record| record.stage != Stage::Reserved).map(|record| record.id)
    }

    /// A binding that is live or entombed.
    #[must_use]
    pub fn binding(&self, id: BindingId) -> Option<Binding> {
        let record = self.bindings.get(self.bindings.find(id)?)?;
        (record.stage != Stage::Reserved).then(|| self.binding_of(record))
    }

    /// What the owner of a binding that is live or entombed knows it by.
    pub(super) fn labels(&self, id: BindingId) -> Option<Labels> {
        let record = self.bindings.get(self.bindings.find(id)?)?;
        let (tenant, _) = self.bindings.owner(record.owner);
        (record.stage != Stage::Reserved).then(|| Labels {
            kind: Some(record.kind),
            key: Some(record.key.as_ref().to_owned()).filter(|key| !key.is_empty()),
            agent: Some(self.parties.pseudonym(record.agent.party, tenant)),
            tags: record.tags().to_vec(),
        })
    }

    /// The address that an operator typed.
    pub(super) fn party(&self, typed: &Typed) -> Result<PartyAddress, Refusal> {
        parse::party("caller", typed, &self.config)
    }

    /// What is known about a pair, beyond what a look-up says.
    pub(super) fn facts(&self, proxy: &ProxyNumber, caller: &PartyAddress) -> PairFacts {
        let number = self.numbers.find(proxy);
        let party = self.parties.find(caller);
        let record = self.record_of(proxy, caller);
        let shown = record.filter(|(record, ..)| record.stage != Stage::Reserved);
        let freed = number
            .or_else(|| self.numbers.known(proxy))
            .zip(party)
            .and_then(|(number, party)| self.rests.since(party, number));
        PairFacts {
            number: number.map(|ix| self.numbers.get(ix).clone()),
            bindings: self.bindings_of(caller).count(),
            reserved: record.is_some() && shown.is_none(),
            binding: shown.map(|(record, ..)| self.view(record)),
            caller: record.map_or(LegName::A, |(_, leg, _)| leg),
            freed: freed.map(|since| (since, since + self.config.bindings.cool_off)),
        }
    }

    /// Calls in progress on a binding.
    #[must_use]
    pub fn calls_on(&self, id: BindingId) -> u32 {
        self.bindings.find(id).and_then(|ix| self.bindings.get(ix)).map_or(0, |record| record.calls)
    }

    /// Where a party of a binding is, in clear: for a call's own use.
    #[must_use]
    pub fn address_of(&self, id: BindingId, leg: LegName) -> Option<PartyAddress> {
        let record = self.bindings.get(self.bindings.find(id)?)?;
        self.parties.address(record.side(leg).party)
    }

    /// Notes that a call on a binding is in progress, so that it is not ended
    /// under the call. `false` when there is no such binding.
    pub fn hold(&mut self, id: BindingId) -> bool {
        let Some(ix) = self.bindings.find(id) else { return false };
        self.count_call(ix, 1);
        true
    }

    /// Notes that a call which was held is over. What was due in its time
    /// becomes due at once: ask [`Self::poll_timeout`].
    pub fn release(&mut self, now: Now, id: BindingId) {
        self.clock = now;
        if let Some(ix) = self.bindings.find(id) {
            self.count_call(ix, -1);
        }
    }

    fn count_call(&mut self, ix: BindingIx, by: i32) {
        self.unschedule(ix);
        if let Some(record) = self.bindings.get_mut(ix) {
            record.calls = record.calls.saturating_add_signed(by);
            if let Some(special) = &mut record.special {
                special.active = self.clock.wall;
            }
        }
        self.schedule(ix);
    }

    /// Answers a request about the pool or bindings, now or when a commit is
    /// through, with exactly one [`Output::Reply`]. Hands back a request about
    /// anything else.
    pub fn handle_admin(&mut self, now: Now, id: RequestId, request: AdminRequest) -> Option<AdminRequest> {
        self.clock = now;
        match request {
            AdminRequest::Pool(request) => self.handle_pool(id, request),
            AdminRequest::Agent(request) => self.handle_agents(id, request),
            AdminRequest::BindCreate(wanted) => self.bind_create(id, wanted),
            AdminRequest::BindList { filter, after, limit } => {
                let page = self.bind_list(&filter, after, limit);
                self.reply(id, AdminReply::Bindings(page));
            }
            AdminRequest::BindShow { id: binding } => self.bind_show(id, binding),
            AdminRequest::BindExtend { id: binding, time_to_live } => {
                self.bind_prolong(id, Prolong { binding, time_to_live, ended: false });
            }
            AdminRequest::BindReopen { id: binding, time_to_live } => {
                self.bind_prolong(id, Prolong { binding, time_to_live, ended: true });
            }
            AdminRequest::BindHandover { id: binding, leg, to } => self.bind_handover(id, binding, leg, to),
            AdminRequest::BindClose { id: binding } => self.bind_close(id, binding),
            AdminRequest::VaultRotate => self.vault_rotate(id),
            AdminRequest::Retain { drop } => self.retain(id, drop),
            AdminRequest::PrivacyShow { person, after } => self.privacy_show(id, &person, after),
            AdminRequest::PrivacyErase { person } => self.privacy_erase(id, &person),
            AdminRequest::Vault => self.reply(id, AdminReply::Vault(self.vault_count())),
            other @ (AdminRequest::Trunks
            | AdminRequest::CallsList
            | AdminRequest::CallShow { .. }
            | AdminRequest::Capture { .. }
            | AdminRequest::Backup
            | AdminRequest::CallHangup { .. }
            | AdminRequest::Drain { .. }
            | AdminRequest::Counters
            | AdminRequest::Resolve { .. }
            | AdminRequest::Guard(_)
            | AdminRequest::Unmask(_)) => return Some(other),
        }
        None
    }

    /// Both parties of a binding in clear, for somebody who may see them; `None`
    /// when there is no such binding.
    pub(super) fn reveal(&self, id: BindingId) -> Option<[Revealed; 2]> {
        let record = self.bindings.get(self.bindings.find(id)?)?;
        let (tenant, _) = self.bindings.owner(record.owner);
        let [customer, agent] = record.sides().map(|side| {
            let address = self.parties.address(side.party)?;
            Some(Revealed {
                party: self.parties.pseudonym(side.party, tenant),
                proxy: self.numbers.get(side.number).number,
                address: Typed(match &address {
                    PartyAddress::Number(number) => format!("+{}", number.reveal()),
                    PartyAddress::Extension { trunk, user } => format!("{}@{trunk}", user.reveal()),
                }),
            })
        });
        Some([customer?, agent?])
    }

    /// Whether a commit is one of the directory's.
    #[must_use]
    pub fn owns(&self, commit: CommitId) -> bool {
        commit.0 >= FIRST_COMMIT
    }

    /// The store has a transaction.
    pub fn handle_committed(&mut self, now: Now, commit: CommitId) {
        self.clock = now;
        if let Some(pending) = self.pending.remove(&commit) {
            self.apply(pending.proposal);
        }
    }

    /// The store refused a transaction and wrote nothing of it.
    pub fn handle_conflict(&mut self, now: Now, commit: CommitId) {
        self.clock = now;
        if let Some(pending) = self.pending.remove(&commit) {
            self.counts.conflicts += 1;
            self.refuse(pending.proposal);
        }
    }

    /// The store failed with a transaction. `problem` is what it said.
    pub fn handle_commit_failed(&mut self, now: Now, commit: CommitId, problem: &str) {
        self.clock = now;
        if let Some(pending) = self.pending.remove(&commit) {
            self.counts.commit_failures += 1;
            self.outputs.push_back(Output::Event(Event::CommitFailed { problem: problem.to_owned() }));
            self.doubt(pending);
        }
    }

    /// Does what was due by `now`, as much as one turn may; the rest stays due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.clock = now;
        self.sweep();
    }

    /// When [`Self::handle_timeout`] must be called next, and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.next_deadline()
    }

    /// The next thing to do: a commit, a reply or an event.
    #[must_use = "an output that is not done is lost"]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Transactions that the store has not answered, and changes of the pool that
    /// it has and that are not done.
    #[must_use]
    pub fn pending_commits(&self) -> usize {
        self.pending.len() + self.landing.len()
    }

    /// What the directory has counted, and how much it holds.
    #[must_use]
    pub fn counters(&self) -> Vec<(String, u64)> {
        let size = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let [_, low, exhausted] = self.levels();
        [
            ("directory.bindings", size(self.bindings.len())),
            ("directory.numbers", size(self.numbers.len())),
            ("directory.agents", size(self.agents.len())),
            ("directory.places_low", low),
            ("directory.places_exhausted", exhausted),
            ("directory.resting_pairs", size(self.rests.len())),
            ("directory.pending_commits", size(self.pending.len())),
            ("directory.created", self.counts.created),
            ("directory.reused", self.counts.reused),
            ("directory.entombed", self.counts.entombed),
            ("directory.forgotten", self.counts.forgotten),
            ("directory.exhausted", self.counts.exhausted),
            ("directory.limited", self.counts.limited),
            ("directory.agents_shared", self.counts.shared),
            ("directory.conflicts", self.counts.conflicts),
            ("directory.commit_failures", self.counts.commit_failures),
            ("vault.epoch", u64::from(self.parties.vault().newest().0)),
            ("vault.parties_to_reseal", size(self.vault_count().left)),
            ("directory.dropped_at_start", self.counts.dropped_at_start),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .into()
    }

    fn record_of(&self, proxy: &ProxyNumber, caller: &PartyAddress) -> Option<(&Record, LegName, PartyIx)> {
        let number = self.numbers.find(proxy)?;
        let party = self.parties.find(caller)?;
        let pair = Side { party, number };
        let record = self.bindings.get(self.pairs.find(pair, &self.bindings)?)?;
        Some((record, record.leg_of(pair)?, party))
    }

    fn binding_of(&self, record: &Record) -> Binding {
        let (tenant, project) = self.bindings.owner(record.owner);
        let party = |side: Side| Party {
            id: self.parties.id(side.party),
            proxy: self.numbers.get(side.number).number,
        };
        Binding {
            id: record.id,
            tenant: tenant.to_owned(),
            project: project.to_owned(),
            kind: record.kind,
            key: record.key.as_ref().to_owned(),
            customer: party(record.customer),
            agent: party(record.agent),
            created: record.created,
            state: record.state,
            encryption: record.encryption,
            usage: record.usage(),
            tags: record.tags().to_vec(),
            also: LegName::BOTH
                .map(|leg| record.also(leg).iter().map(|&party| self.parties.id(party)).collect()),
        }
    }

    /// The times of a record's kind.
    fn life_of(&self, record: &Record) -> Life {
        let (tenant, _) = self.bindings.owner(record.owner);
        self.config.bindings.life(tenant, record.kind)
    }

    /// Whether a number connects nobody.
    fn is_disabled(&self, number: NumberIx) -> bool {
        self.numbers.get(number).traits.state == NumberState::Disabled
    }

    fn reply(&mut self, id: RequestId, reply: AdminReply) {
        self.outputs.push_back(Output::Reply(id, reply));
    }

    fn refuse_request(&mut self, id: RequestId, refusal: Refusal) {
        self.reply(id, AdminReply::Refused(refusal));
    }
}

impl Record {
    /// Whether calls on it are late.
    fn is_over(&self) -> bool {
        matches!(self.state, BindingState::Entombed { .. }) || self.stage == Stage::Closing
    }

    /// The side of a leg.
    const fn side(&self, leg: LegName) -> Side {
        match leg {
            LegName::A => self.customer,
            LegName::B => self.agent,
        }
    }

    const fn sides(&self) -> [Side; 2] {
        [self.customer, self.agent]
    }
}

fn refusal(kind: RefusalKind, what: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal { kind, what: what.into(), remedy: remedy.into() }
}
