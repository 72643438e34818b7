//! Agent numbers: a stable public number for an agent, that anybody may call.
//!
//! Whoever calls one for the first time gets a binding of its own there, whose
//! agent side comes from an internal pool where the agent's trunk has one: the
//! agent sees a proxy, and can call it back. Such bindings are made of calls, so
//! random callers could ask for any number of them. Each agent number and each
//! caller has a cap; at a cap the agent's own number is shown to the agent, which
//! leads nobody back, and the call takes nothing from the pool.
//!
//! An agent number serves nothing else: it is taken out of the order in which
//! numbers are offered before its record is proposed, and only one that no binding
//! has can become one.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::allocate::Wanted;
use super::binding_requests::rows;
use super::bindings::{Change, OwnerIx, Side, Stage};
use super::model::BindingState::{Entombed, Live};
use super::numbers::NumberIx;
use super::parties::PartyIx;
use super::proposal::{Asked, Proposal};
use super::{
    AgentNumber, Binding, BindingKind, Directory, NumberKind, NumberState, Party, PartyAddress, Ring, Usage,
    parse, refusal,
};
use crate::engine::admin::{AdminReply, AdminRequest, NumberWish, Refusal, RefusalKind};
use crate::engine::ids::{BindingId, PartyId};
use crate::engine::io::RequestId;
use crate::engine::number::{ProxyNumber, Typed};
use crate::engine::time::{Now, Timestamp};

/// Agent numbers that one page looks at.
const LOOKED_AT: usize = 20_000;

/// A request about agent numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "of-agent")]
pub enum AgentRequest {
    /// Give an agent a number.
    Open(NewAgent),
    /// Those that match, in order.
    List {
        /// Which.
        filter: AgentFilter,
        /// Continue after this number.
        after: Option<ProxyNumber>,
        /// At most so many rows.
        limit: usize,
    },
    /// Take a number back from its agent. Bindings of its callers stay.
    Close {
        /// Which.
        number: ProxyNumber,
    },
}

/// An agent number that is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewAgent {
    /// Who owns it.
    pub tenant: String,
    /// The tenant's project.
    pub project: String,
    /// The agent's id: of one tenant each has one number.
    pub key: String,
    /// Where the agent is: `+14155550100`, or `extension@trunk`.
    pub agent: Typed,
    /// Further members of a team, or further addresses, in the order in which they ring.
    pub also: Vec<Typed>,
    /// How these ring; as its tenant's agents do when absent.
    pub ring: Option<Ring>,
    /// This number of the pool, rather than one near the agent.
    pub number: Option<ProxyNumber>,
    /// What it should be like, where it is not named.
    pub numbers: NumberWish,
}

/// The answer to an [`AgentRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "of-agent")]
pub enum AgentReply {
    /// To [`AgentRequest::Open`].
    Opened {
        /// It.
        agent: AgentView,
        /// Whether it was there already.
        known: bool,
    },
    /// To [`AgentRequest::List`].
    Agents {
        /// Them.
        agents: Vec<AgentView>,
        /// Where to go on; absent at the end.
        next: Option<ProxyNumber>,
    },
    /// To [`AgentRequest::Close`].
    Closed {
        /// It.
        number: ProxyNumber,
    },
}

/// Which agent numbers are wanted; all by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentFilter {
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this project.
    pub project: Option<String>,
    /// Of the agent with this id.
    pub key: Option<String>,
}

impl AgentFilter {
    fn matches(&self, agent: &AgentView) -> bool {
        let is = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| wanted == text);
        is(&self.tenant, &agent.tenant) && is(&self.project, &agent.project) && is(&self.key, &agent.key)
    }
}

/// An agent number as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// The number.
    pub number: ProxyNumber,
    /// Who owns it.
    pub tenant: String,
    /// The tenant's project.
    pub project: String,
    /// The agent's id.
    pub key: String,
    /// The agent's pseudonym.
    pub party: PartyId,
    /// Where the agent is, masked.
    pub address: String,
    /// The further addresses, masked.
    pub also: Vec<String>,
    /// How these ring.
    pub ring: Ring,
    /// When it was made.
    pub created: Timestamp,
    /// Callers that have a binding of their own, tombstones included.
    pub callers: u32,
}

/// Whom callers of an agent number reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// The number.
    pub number: ProxyNumber,
    /// Who owns it.
    pub tenant: String,
    /// The tenant's project.
    pub project: String,
    /// The agent's id.
    pub key: String,
    /// Since when.
    pub created: Timestamp,
    /// Where the agent is, in the order in which that rings; never empty.
    pub addresses: Vec<PartyAddress>,
    /// How these ring.
    pub ring: Ring,
}

/// Where an agent number is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its record is not durable: nobody sees it.
    Opening,
    Open,
    /// The removal of its record is not durable: it goes on until it is.
    Closing,
}

struct Entry {
    owner: OwnerIx,
    key: Arc<str>,
    party: PartyIx,
    also: Box<[PartyIx]>,
    ring: Ring,
    created: Timestamp,
    phase: Phase,
}

impl Entry {
    fn parties(&self) -> impl Iterator<Item = PartyIx> {
        std::iter::once(self.party).chain(self.also.iter().copied())
    }
}

/// All agent numbers.
#[derive(Default)]
pub(super) struct Agents {
    entries: BTreeMap<NumberIx, Entry>,
    by_number: BTreeMap<ProxyNumber, NumberIx>,
    /// By tenant and key.
    by_key: BTreeMap<(Arc<str>, Arc<str>), NumberIx>,
}

impl Agents {
    pub(super) fn holds(&self, number: NumberIx) -> bool {
        self.entries.contains_key(&number)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of a party that is an agent.
    pub(super) fn of(&self, party: PartyIx) -> Option<NumberIx> {
        let is_of = |entry: &Entry| entry.parties().any(|of| of == party);
        self.entries.iter().find(|(_, entry)| is_of(entry)).map(|(&number, _)| number)
    }

    /// The agent of a number, where calls may reach it.
    fn visible(&self, number: NumberIx) -> Option<&Entry> {
        self.entries.get(&number).filter(|entry| entry.phase != Phase::Opening)
    }
}

impl Directory {
    pub(super) fn handle_agents(&mut self, id: RequestId, request: AgentRequest) {
        let outcome = match request {
            AgentRequest::Open(wanted) => self.agent_open(id, &wanted),
            AgentRequest::List { filter, after, limit } => {
                let (agents, next) = self.agent_list(&filter, after, limit);
                self.reply_agent(id, AgentReply::Agents { agents, next });
                Ok(())
            }
            AgentRequest::Close { number } => self.agent_close(id, number),
        };
        if let Err(refusal) = outcome {
            self.refuse_request(id, refusal);
        }
    }

    /// Whom a caller reaches at an agent number who has no live binding there.
    /// Nobody, while the number is remembered as another one's by this caller.
    #[must_use]
    pub fn agent_at(&self, proxy: &ProxyNumber, caller: &PartyAddress) -> Option<Agent> {
        let number = self.numbers.find(proxy).filter(|&number| !self.is_disabled(number))?;
        let entry = self.agents.visible(number)?;
        if let Some(party) = self.parties.find(caller) {
            let since = self.rests.since(party, number);
            let another = since.is_some_and(|since| {
                since <= entry.created && self.clock.wall < since + self.config.bindings.cool_off
            });
            let own =
                self.pairs.find(Side { party, number }, &self.bindings).and_then(|ix| self.bindings.get(ix));
            let is_caller = own.is_none_or(|record| record.customer.number == number);
            if entry.parties().any(|of| of == party) || another || !is_caller {
                return None;
            }
        }
        let (tenant, project) = self.bindings.owner(entry.owner);
        Some(Agent {
            number: *proxy,
            tenant: tenant.to_owned(),
            project: project.to_owned(),
            key: entry.key.as_ref().to_owned(),
            created: entry.created,
            addresses: self.agent_addresses(entry).filter(|addresses| !addresses.is_empty())?,
            ring: entry.ring,
        })
    }

    /// Where an agent is; nowhere when its first address is not known.
    fn agent_addresses(&self, entry: &Entry) -> Option<Vec<PartyAddress>> {
        let first = self.parties.address(entry.party)?;
        let also = entry.also.iter().filter_map(|&party| self.parties.address(party));
        Some(std::iter::once(first).chain(also).collect())
    }

    /// Gives a caller of an agent number a binding of its own, or brings an ended one
    /// back; answered like a request. `false` when none may be made: then the number
    /// is shared.
    pub fn meet(&mut self, now: Now, request: RequestId, proxy: &ProxyNumber, caller: &PartyAddress) -> bool {
        self.clock = now;
        let met = self.try_meet(request, proxy, caller).is_some();
        self.counts.shared += u64::from(!met);
        met
    }

    fn try_meet(&mut self, request: RequestId, proxy: &ProxyNumber, caller: &PartyAddress) -> Option<()> {
        let number = self.numbers.find(proxy)?;
        self.agents.visible(number)?;
        self.admits_party(caller).ok()?;
        let known = self
            .parties
            .find(caller)
            .and_then(|party| self.pairs.find(Side { party, number }, &self.bindings));
        if let Some(ix) = known {
            self.admits_return(ix).ok()?;
            let record = self.bindings.get(ix)?;
            let id = record.id;
            match (record.change, record.state) {
                (Change::Committing, _) => self.wait(ix, request, AdminRequest::BindShow { id }),
                (Change::Doubtful, _) => return None,
                (Change::None, Live { .. }) if record.stage == Stage::Settled => {
                    self.reply_binding(request, ix);
                }
                (Change::None, Live { .. } | Entombed { .. }) => {
                    let expires = self.clock.wall + self.life_of(record).time_to_live;
                    self.admits_commit().ok()?;
                    let asked = Some((request, Asked::Show));
                    self.propose(Proposal::Turn { asked, binding: ix, to: Live { expires } });
                }
            }
            return Some(());
        }
        self.admits_caller(number, caller)?;
        let entry = self.agents.visible(number)?;
        let address = self.parties.address(entry.party)?;
        let wish = NumberWish::default();
        let wanted =
            Wanted { who: "agent", party: &address, also: &entry.also, wish: &wish, other: Some(number) };
        let for_agent = self.allocate(&wanted).ok()?;
        self.create_met(request, number, caller, for_agent)
    }

    /// Whether one more caller may have a binding of its own.
    fn admits_caller(&mut self, number: NumberIx, caller: &PartyAddress) -> Option<()> {
        let limits = self.config.limits;
        let callers = usize::try_from(self.numbers.load(number).bindings()).unwrap_or(usize::MAX);
        let of_caller = |party| {
            let records = self.pairs.of(party).filter_map(|(_, ix)| self.bindings.get(ix));
            records.filter(|record| record.kind == BindingKind::Agent).count()
        };
        let agents = self.parties.find(caller).map_or(0, of_caller);
        let active = self.numbers.get(number).traits.state == NumberState::Active;
        let fits = callers < limits.callers_per_agent && agents < limits.agents_per_caller;
        self.counts.limited += u64::from(!fits);
        (fits && active).then_some(())?;
        self.admits_commit().ok()?;
        self.admits_binding().ok()
    }

    fn create_met(
        &mut self,
        request: RequestId,
        number: NumberIx,
        caller: &PartyAddress,
        for_agent: NumberIx,
    ) -> Option<()> {
        let id = BindingId::draw(self.clock.wall, &mut self.random);
        let customer = self.acquire(caller);
        let entry = self.agents.visible(number)?;
        let (agent, also, key) = (entry.party, entry.also.to_vec(), &entry.key);
        let (tenant, project) = self.bindings.owner(entry.owner);
        let life = self.config.bindings.life(tenant, BindingKind::Agent);
        let binding = Binding {
            id,
            tenant: tenant.to_owned(),
            project: project.to_owned(),
            kind: BindingKind::Agent,
            key: format!("{key}/{:08x}", id.to_bits() & 0xffff_ffff),
            customer: Party { id: self.parties.id(customer), proxy: self.numbers.get(number).number },
            agent: Party { id: self.parties.id(agent), proxy: self.numbers.get(for_agent).number },
            created: self.clock.wall,
            state: Live { expires: self.clock.wall + life.time_to_live },
            encryption: None,
            usage: Usage { ring: entry.ring, ..life.usage },
            tags: Vec::new(),
            also: [Vec::new(), also.iter().map(|&party| self.parties.id(party)).collect()],
        };
        let reserved = self.reserve(&binding, [customer, agent], [Vec::new(), also]);
        self.parties.release(customer);
        self.propose(Proposal::Create { request, binding: reserved? });
        self.tell_headroom([customer, agent]);
        Some(())
    }

    fn agent_open(&mut self, id: RequestId, wanted: &NewAgent) -> Result<(), Refusal> {
        parse::name("tenant", &wanted.tenant)?;
        parse::name("project", &wanted.project)?;
        parse::name("key", &wanted.key)?;
        let address = self.party_of("agent", &wanted.agent)?;
        let team = self.also_of("agent", &wanted.also)?;
        let all: Vec<&PartyAddress> = std::iter::once(&address).chain(&team).collect();
        if all.iter().enumerate().any(|(at, address)| all[..at].contains(address)) {
            return Err(refusal(
                RefusalKind::Invalid,
                "an address is given twice",
                "give each member of the team once",
            ));
        }
        parse::hides_parties("key", &wanted.key, &all)?;
        parse::wish(&wanted.numbers)?;
        all.iter().try_for_each(|address| self.admits_party(address))?;
        let key = (Arc::from(wanted.tenant.as_str()), Arc::from(wanted.key.as_str()));
        if let Some(&number) = self.agents.by_key.get(&key) {
            return self.agent_known(id, number, wanted, &all);
        }
        self.admits_commit()?;
        let number = match &wanted.number {
            Some(number) => self.idle_number(number)?,
            None => self.idle_number_near(&address, &wanted.numbers)?,
        };
        let mut acquire = |address| self.acquire(address);
        let (party, also) = (acquire(&address), team.iter().map(&mut acquire).collect());
        let usual = self.config.bindings.life(&wanted.tenant, BindingKind::Agent).usage.ring;
        let entry = Entry {
            owner: self.bindings.intern(&wanted.tenant, &wanted.project),
            key: Arc::clone(&key.1),
            party,
            also,
            ring: wanted.ring.unwrap_or(usual),
            created: self.clock.wall,
            phase: Phase::Opening,
        };
        self.agent_insert(number, entry);
        self.changing.insert(self.numbers.get(number).number);
        self.propose(Proposal::OpenAgent { request: id, number });
        Ok(())
    }

    /// A request for an agent number that is there.
    fn agent_known(
        &mut self,
        id: RequestId,
        number: NumberIx,
        wanted: &NewAgent,
        addresses: &[&PartyAddress],
    ) -> Result<(), Refusal> {
        let Some(entry) = self.agents.entries.get(&number) else { return Ok(()) };
        let proxy = self.numbers.get(number).number;
        if entry.phase != Phase::Open {
            return Err(being_changed(&proxy));
        }
        let (_, project) = self.bindings.owner(entry.owner);
        let known = addresses.iter().map(|address| self.parties.find(address));
        let same = known.eq(entry.parties().map(Some))
            && wanted.ring.is_none_or(|ring| ring == entry.ring)
            && project == wanted.project
            && wanted.number.is_none_or(|number| number == proxy);
        if !same {
            return Err(refusal(
                RefusalKind::Conflict,
                format!("the agent {} has {proxy}, with another address, project or number", wanted.key),
                format!("use another key, or take the number back with `vizard agent close {proxy}`"),
            ));
        }
        if let Some(agent) = self.agent_view(number) {
            self.reply_agent(id, AgentReply::Opened { agent, known: true });
        }
        Ok(())
    }

    /// A number that was named, if it can become an agent's.
    fn idle_number(&self, number: &ProxyNumber) -> Result<NumberIx, Refusal> {
        let ix = self.changeable(number)?;
        let problem = if self.agents.holds(ix) {
            "is an agent number already"
        } else if self.numbers.load(ix).bindings() > 0 {
            "has bindings or tombstones"
        } else if !self.is_public(ix) || !self.numbers.is_offered(ix) {
            "is not an active number that takes calls from everywhere"
        } else {
            return Ok(ix);
        };
        Err(refusal(
            RefusalKind::Conflict,
            format!("{number} {problem}"),
            "name an idle, active number with voice, or let one be chosen",
        ))
    }

    /// A number near an agent that can become its own.
    fn idle_number_near(&mut self, agent: &PartyAddress, wish: &NumberWish) -> Result<NumberIx, Refusal> {
        let search = self.search(agent, wish);
        let idle = |&ix: &NumberIx| {
            let number = &self.numbers.get(ix).number;
            let abroad = wish.country.is_some_and(|country| self.numbers.get(ix).country != country);
            self.is_public(ix)
                && !abroad
                && self.numbers.load(ix).bindings() == 0
                && !self.is_changing(number)
        };
        let found = search.places.iter().find_map(|place| self.numbers.offered(place).find(idle));
        found.ok_or_else(|| {
            self.counts.exhausted += 1;
            refusal(
                RefusalKind::Exhausted,
                format!("the pool has no idle voice number{} that an agent could have", search.name),
                "an agent number serves nothing else: add a number with `vizard pool add`",
            )
        })
    }

    fn is_public(&self, number: NumberIx) -> bool {
        let traits = &self.numbers.get(number).traits;
        traits.voice && traits.kind != NumberKind::Internal
    }

    fn agent_close(&mut self, id: RequestId, proxy: ProxyNumber) -> Result<(), Refusal> {
        let number = self.numbers.find(&proxy).filter(|&number| self.agents.visible(number).is_some());
        let number = number.ok_or_else(|| {
            refusal(
                RefusalKind::NotFound,
                format!("{proxy} is no agent number"),
                "list them with `vizard agent list`",
            )
        })?;
        if self.is_changing(&proxy) {
            return Err(being_changed(&proxy));
        }
        self.admits_commit()?;
        if let Some(entry) = self.agents.entries.get_mut(&number) {
            entry.phase = Phase::Closing;
        }
        self.changing.insert(proxy);
        self.propose(Proposal::CloseAgent { request: id, number });
        Ok(())
    }

    /// A page looks at a bounded number of agents, and says where to go on.
    pub(super) fn agent_list(
        &self,
        filter: &AgentFilter,
        after: Option<ProxyNumber>,
        limit: usize,
    ) -> (Vec<AgentView>, Option<ProxyNumber>) {
        let from = after.map_or(Unbounded, Excluded);
        let mut agents = Vec::new();
        let mut last = after;
        for (looked_at, (proxy, &number)) in self.agents.by_number.range((from, Unbounded)).enumerate() {
            if looked_at == LOOKED_AT || agents.len() == rows(limit) {
                return (agents, last);
            }
            last = Some(*proxy);
            agents.extend(self.agent_view(number).filter(|agent| filter.matches(agent)));
        }
        (agents, None)
    }

    fn agent_view(&self, number: NumberIx) -> Option<AgentView> {
        let entry = self.agents.visible(number)?;
        let (tenant, project) = self.bindings.owner(entry.owner);
        Some(AgentView {
            number: self.numbers.get(number).number,
            tenant: tenant.to_owned(),
            project: project.to_owned(),
            key: entry.key.as_ref().to_owned(),
            party: self.parties.pseudonym(entry.party, tenant),
            address: self.parties.masked(entry.party),
            also: entry.also.iter().map(|&party| self.parties.masked(party)).collect(),
            ring: entry.ring,
            created: entry.created,
            callers: self.numbers.load(number).bindings(),
        })
    }

    /// Takes in an agent number that the store has. `false` when its number is not
    /// in the pool.
    pub(super) fn agent_restore(
        &mut self,
        agent: &AgentNumber,
        party: PartyIx,
        also: Box<[PartyIx]>,
    ) -> bool {
        let Some(number) = self.numbers.find(&agent.number) else { return false };
        for &party in std::iter::once(&party).chain(&also) {
            self.parties.retain(party);
        }
        let entry = Entry {
            owner: self.bindings.intern(&agent.tenant, &agent.project),
            key: agent.key.as_str().into(),
            party,
            also,
            ring: agent.ring,
            created: agent.created,
            phase: Phase::Open,
        };
        self.agent_insert(number, entry);
        true
    }

    fn agent_insert(&mut self, number: NumberIx, entry: Entry) {
        let (tenant, _) = self.bindings.owner(entry.owner);
        self.agents.by_key.insert((tenant.into(), Arc::clone(&entry.key)), number);
        self.agents.by_number.insert(self.numbers.get(number).number, number);
        self.agents.entries.insert(number, entry);
        self.numbers.set_dedicated(number, true);
    }

    /// Takes an agent number out; it is an ordinary number again.
    pub(super) fn agent_discard(&mut self, number: NumberIx) {
        let Some(entry) = self.agents.entries.remove(&number) else { return };
        let (tenant, _) = self.bindings.owner(entry.owner);
        self.agents.by_key.remove(&(tenant.into(), Arc::clone(&entry.key)));
        let proxy = self.numbers.get(number).number;
        self.agents.by_number.remove(&proxy);
        self.changing.remove(&proxy);
        self.numbers.set_dedicated(number, false);
        for party in entry.parties() {
            self.parties.release(party);
        }
    }

    /// The store has an agent number as it is; answers who asked for it.
    pub(super) fn agent_settle(&mut self, number: NumberIx, asked: Option<RequestId>) {
        let proxy = self.numbers.get(number).number;
        self.changing.remove(&proxy);
        if let Some(entry) = self.agents.entries.get_mut(&number) {
            entry.phase = Phase::Open;
            for party in entry.parties() {
                self.parties.set_stored(party);
            }
        }
        if let Some((id, agent)) = asked.zip(self.agent_view(number)) {
            self.reply_agent(id, AgentReply::Opened { agent, known: false });
        }
    }

    /// An agent number as the store keeps it, and its parties.
    pub(super) fn agent_record(&self, number: NumberIx) -> Option<(AgentNumber, Vec<PartyIx>)> {
        let entry = self.agents.entries.get(&number)?;
        let (tenant, project) = self.bindings.owner(entry.owner);
        let record = AgentNumber {
            number: self.numbers.get(number).number,
            tenant: tenant.to_owned(),
            project: project.to_owned(),
            key: entry.key.as_ref().to_owned(),
            agent: self.parties.id(entry.party),
            also: entry.also.iter().map(|&party| self.parties.id(party)).collect(),
            ring: entry.ring,
            created: entry.created,
        };
        Some((record, entry.parties().collect()))
    }

    pub(super) fn reply_agent(&mut self, id: RequestId, reply: AgentReply) {
        self.reply(id, AdminReply::Agent(reply));
    }
}

fn being_changed(number: &ProxyNumber) -> Refusal {
    refusal(
        RefusalKind::Conflict,
        format!("{number} is being changed by another request"),
        "ask again when that request is answered",
    )
}
