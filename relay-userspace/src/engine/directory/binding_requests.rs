//! Requests about bindings: create or reuse, list, show, close.

use super::allocate::Wanted;
use super::bindings::{BindingIx, Change, Record, Side, Stage};
use super::model::BindingState::{Entombed, Live};
use super::numbers::NumberIx;
use super::parties::PartyIx;
use super::proposal::{Asked, Proposal};
use super::{Binding, BindingId, Directory, Party, PartyAddress, parse, refusal};
use crate::engine::admin::{
    AdminReply, AdminRequest, BindingView, NewBinding, PartyView, Refusal, RefusalKind,
};
use crate::engine::config::Encryption;
use crate::engine::event::Event;
use crate::engine::ids::LegName;
use crate::engine::io::{Output, RequestId};
use crate::engine::number::Typed;

/// Rows of one answer, whatever was asked for.
pub(super) const MAX_ROWS: usize = 1_000;
/// Tags of one binding.
const MAX_TAGS: usize = 16;
/// Addresses of one party.
pub(super) const MAX_ADDRESSES: usize = 16;

/// The parties of a binding: each first address, and the further ones of each.
struct Both {
    first: [PartyAddress; 2],
    also: [Vec<PartyAddress>; 2],
}

impl Both {
    fn all(&self) -> impl Iterator<Item = &PartyAddress> {
        self.first.iter().chain(self.also.iter().flatten())
    }
}

/// How many rows to answer with.
pub(super) const fn rows(limit: usize) -> usize {
    if limit == 0 || limit > MAX_ROWS { MAX_ROWS } else { limit }
}

impl Directory {
    /// A new binding, or the one that has the key.
    pub(super) fn bind_create(&mut self, id: RequestId, wanted: NewBinding) {
        let same_key = self.bindings.with_key(&wanted.tenant, wanted.kind, &wanted.key);
        let same_key = same_key.and_then(|ix| Some((ix, self.bindings.get(ix)?.change)));
        let outcome = match same_key {
            None => self.create(id, &wanted),
            Some((ix, Change::None)) => self.reuse(id, ix, &wanted),
            Some((_, Change::Doubtful)) => Err(in_doubt()),
            Some((ix, Change::Committing)) => {
                self.wait(ix, id, AdminRequest::BindCreate(wanted));
                Ok(())
            }
        };
        if let Err(refusal) = outcome {
            self.refuse_request(id, refusal);
        }
    }

    fn reuse(&mut self, id: RequestId, ix: BindingIx, wanted: &NewBinding) -> Result<(), Refusal> {
        self.admits_return(ix)?;
        let both = self.parties_of(wanted)?;
        let ttl = parse::time_to_live(
            wanted.time_to_live,
            self.config.bindings.life(&wanted.tenant, wanted.kind).time_to_live,
        )?;
        let Some(record) = self.bindings.get(ix) else { return Ok(()) };
        let (holder, (_, project)) = (record.id, self.bindings.owner(record.owner));
        let conflict = |what: String, remedy: &str| Err(refusal(RefusalKind::Conflict, what, remedy));
        let parties = both.first.each_ref().map(|address| self.parties.find(address));
        let differs = LegName::BOTH.into_iter().zip(&both.also).any(|(leg, also)| {
            let known = record.also(leg).iter().map(|&party| Some(party));
            !also.is_empty() && !also.iter().map(|address| self.parties.find(address)).eq(known)
        });
        if differs || parties != record.sides().map(|side| Some(side.party)) {
            return conflict(
                format!("{holder} has this key and joins other parties"),
                "use another key; or wait until that binding is forgotten, some time after \
                 `vizard bind close`",
            );
        }
        if project != wanted.project {
            return conflict(
                format!("{holder} has this key and belongs to project {project}"),
                "name that project, or use another key",
            );
        }
        let [one, another] = record.sides().map(|side| side.number);
        if wanted.one_number && one != another {
            return conflict(
                format!("{holder} has this key, and its parties have two numbers"),
                "leave --one-number out to reuse it, or use another key",
            );
        }
        let outside =
            |side: Side| wanted.numbers.country.is_some_and(|c| self.numbers.get(side.number).country != c);
        if record.sides().into_iter().any(outside) {
            return conflict(
                format!("{holder} has this key, and its numbers are of another country"),
                "leave the country out to reuse it, or use another key",
            );
        }
        if wanted.encryption.is_some_and(|encryption| record.encryption != Some(encryption)) {
            let policy = record.encryption.map_or("the configured", Encryption::as_str);
            return conflict(
                format!("{} has this key, and {policy} media policy", record.id),
                "leave the media policy out to reuse it, or use another key",
            );
        }
        let (usage, tags) = (record.usage(), tags(wanted)?);
        if wanted.usage.over(usage) != usage || !(tags.is_empty() || tags == record.tags()) {
            return conflict(
                format!("{} has this key, and another usage or other tags", record.id),
                "leave them out to reuse it, or use another key",
            );
        }
        if let Some(side) = record.sides().into_iter().find(|side| self.is_disabled(side.number)) {
            return conflict(
                format!(
                    "{} has this key, and its number {} is disabled",
                    record.id,
                    self.numbers.get(side.number).number
                ),
                "close that binding and use another key, or make the number active again",
            );
        }
        let extended = self.clock.wall + ttl;
        let expires = match record.state {
            Live { expires } if expires >= extended => {
                self.counts.reused += 1;
                self.reply_bound(id, ix, true);
                return Ok(());
            }
            Live { .. } | Entombed { .. } => extended,
        };
        self.admits_commit()?;
        let asked = Some((id, Asked::Reuse));
        self.propose(Proposal::Turn { asked, binding: ix, to: Live { expires } });
        Ok(())
    }

    fn create(&mut self, id: RequestId, wanted: &NewBinding) -> Result<(), Refusal> {
        parse::name("tenant", &wanted.tenant)?;
        parse::name("project", &wanted.project)?;
        parse::name("key", &wanted.key)?;
        let both = self.parties_of(wanted)?;
        let tags = tags(wanted)?;
        let addresses: Vec<&PartyAddress> = both.all().collect();
        for (what, text) in std::iter::once(("key", &wanted.key)).chain(tags.iter().map(|tag| ("tag", tag))) {
            parse::hides_parties(what, text, &addresses)?;
        }
        both.all().try_for_each(|party| self.admits_party(party))?;
        let ttl = parse::time_to_live(
            wanted.time_to_live,
            self.config.bindings.life(&wanted.tenant, wanted.kind).time_to_live,
        )?;
        self.admits_commit()?;
        self.admits_binding()?;
        let wish = &wanted.numbers;
        parse::wish(wish)?;
        let [for_customer, for_agent] = self.numbers_of(wanted, &both)?;
        let mut acquire = |address| self.acquire(address);
        let parties = both.first.each_ref().map(&mut acquire);
        let also = both.also.each_ref().map(|also| also.iter().map(&mut acquire).collect::<Vec<_>>());
        let [customer, agent] = parties.map(|party| self.parties.id(party));
        let binding = Binding {
            id: BindingId::draw(self.clock.wall, &mut self.random),
            tenant: wanted.tenant.clone(),
            project: wanted.project.clone(),
            kind: wanted.kind,
            key: wanted.key.clone(),
            customer: Party { id: customer, proxy: self.numbers.get(for_customer).number },
            agent: Party { id: agent, proxy: self.numbers.get(for_agent).number },
            created: self.clock.wall,
            state: Live { expires: self.clock.wall + ttl },
            encryption: wanted.encryption,
            usage: wanted.usage.over(self.config.bindings.life(&wanted.tenant, wanted.kind).usage),
            tags,
            also: also.each_ref().map(|also| also.iter().map(|&party| self.parties.id(party)).collect()),
        };
        let acquired: Vec<PartyIx> = parties.into_iter().chain(also.iter().flatten().copied()).collect();
        let reserved = self.reserve(&binding, parties, also);
        for party in acquired {
            self.parties.release(party);
        }
        self.propose(Proposal::Create { request: id, binding: reserved.ok_or_else(in_doubt)? });
        self.tell_headroom(parties);
        Ok(())
    }

    /// The numbers of a new binding's parties.
    fn numbers_of(&mut self, wanted: &NewBinding, both: &Both) -> Result<[NumberIx; 2], Refusal> {
        let wish = &wanted.numbers;
        let [customer, agent] = &both.first;
        let also = both.also.each_ref().map(|also| self.known(also));
        let customer = Wanted { who: "customer", party: customer, also: &also[0], wish, other: None };
        let agent = Wanted { who: "agent", party: agent, also: &also[1], wish, other: None };
        if wanted.one_number {
            let found = self.allocate_one([&customer, &agent]);
            return Ok([self.telling(found)?; 2]);
        }
        let for_customer = self.allocate_or_tell(&customer)?;
        let for_agent = self.allocate_or_tell(&Wanted { other: Some(for_customer), ..agent })?;
        Ok([for_customer, for_agent])
    }

    fn parties_of(&self, wanted: &NewBinding) -> Result<Both, Refusal> {
        let customer = self.party_of("customer", &wanted.customer)?;
        let agent = self.party_of("agent", &wanted.agent)?;
        if customer == agent {
            return Err(refusal(
                RefusalKind::Invalid,
                "the customer and the agent are the same address",
                "give two different addresses",
            ));
        }
        let [customers, agents] = &wanted.also;
        let also = [self.also_of("customer", customers)?, self.also_of("agent", agents)?];
        let both = Both { first: [customer, agent], also };
        let all: Vec<&PartyAddress> = both.all().collect();
        if all.iter().enumerate().any(|(at, address)| all[..at].contains(address)) {
            return Err(refusal(
                RefusalKind::Invalid,
                "an address is given twice",
                "give each address once, to one of the two parties",
            ));
        }
        Ok(both)
    }

    /// Further addresses of one party.
    pub(super) fn also_of(&self, who: &str, also: &[Typed]) -> Result<Vec<PartyAddress>, Refusal> {
        if also.len() >= MAX_ADDRESSES {
            return Err(refusal(
                RefusalKind::Invalid,
                format!("{} addresses of the {who} are too many", also.len() + 1),
                format!(
                    "give a party at most {MAX_ADDRESSES} addresses; a larger team is a queue of the PBX"
                ),
            ));
        }
        also.iter().map(|typed| self.party_of(who, typed)).collect()
    }

    /// The parties that are at these addresses already.
    pub(super) fn known(&self, addresses: &[PartyAddress]) -> Vec<PartyIx> {
        addresses.iter().filter_map(|address| self.parties.find(address)).collect()
    }

    /// The address of somebody who may be a party.
    pub(super) fn party_of(&self, who: &str, typed: &Typed) -> Result<PartyAddress, Refusal> {
        let party = parse::party(who, typed, &self.config)?;
        if self.is_pool_number(&party) {
            return Err(refusal(
                RefusalKind::Invalid,
                format!("the {who}'s number is one of the pool's own"),
                "give the number where the party itself is reached",
            ));
        }
        Ok(party)
    }

    fn is_pool_number(&self, party: &PartyAddress) -> bool {
        match party {
            PartyAddress::Number(number) => format!("+{}", number.reveal())
                .parse()
                .is_ok_and(|proxy| self.is_proxy(&proxy) || self.is_changing(&proxy)),
            PartyAddress::Extension { .. } => false,
        }
    }

    pub(super) fn admits_binding(&mut self) -> Result<(), Refusal> {
        let limit = self.config.limits.bindings;
        if self.bindings.len() < limit {
            return Ok(());
        }
        self.counts.limited += 1;
        Err(refusal(
            RefusalKind::Exhausted,
            format!("there are {limit} bindings already, tombstones included"),
            "close bindings, shorten `callback_window` in [bindings], or raise `bindings` in [limits]",
        ))
    }

    pub(super) fn allocate_or_tell(&mut self, wanted: &Wanted<'_>) -> Result<NumberIx, Refusal> {
        let found = self.allocate(wanted);
        self.telling(found)
    }

    /// Counts and tells that there was none.
    fn telling(&mut self, found: Result<NumberIx, Refusal>) -> Result<NumberIx, Refusal> {
        found.inspect_err(|refusal| {
            self.counts.exhausted += 1;
            let wanted = refusal.what.clone();
            self.outputs.push_back(Output::Event(Event::PoolExhausted { wanted }));
        })
    }

    pub(super) fn bind_show(&mut self, id: RequestId, binding: BindingId) {
        match self.visible(binding) {
            Ok(ix) => self.reply_binding(id, ix),
            Err(refusal) => self.refuse_request(id, refusal),
        }
    }

    pub(super) fn bind_close(&mut self, id: RequestId, binding: BindingId) {
        let ix = match self.visible(binding) {
            Ok(ix) => ix,
            Err(refusal) => return self.refuse_request(id, refusal),
        };
        let Some(record) = self.bindings.get(ix) else { return };
        let now = self.clock.wall;
        match (record.change, record.state, record.stage) {
            (Change::Committing, ..) => self.wait(ix, id, AdminRequest::BindClose { id: binding }),
            (Change::Doubtful, ..) => self.refuse_request(id, in_doubt()),
            (Change::None, Entombed { .. }, _) | (Change::None, Live { .. }, Stage::Closing) => {
                self.reply_binding(id, ix);
            }
            (Change::None, Live { expires }, Stage::Settled | Stage::Reserved) => {
                // With a call in progress it ends when the call does: until
                // then it is live and past its time.
                let to = if record.calls > 0 {
                    Live { expires: expires.min(now) }
                } else {
                    Entombed { since: now, until: now + self.life_of(record).callback_window }
                };
                match self.admits_commit() {
                    Ok(()) => {
                        let asked = Some((id, Asked::Show));
                        self.propose(Proposal::Turn { asked, binding: ix, to });
                    }
                    Err(refusal) => self.refuse_request(id, refusal),
                }
            }
        }
    }

    pub(super) fn visible(&self, id: BindingId) -> Result<BindingIx, Refusal> {
        self.bindings
            .find(id)
            .filter(|&ix| self.bindings.get(ix).is_some_and(|record| record.stage != Stage::Reserved))
            .ok_or_else(|| {
                refusal(
                    RefusalKind::NotFound,
                    format!("there is no binding {id}"),
                    "list bindings with `vizard bind list`",
                )
            })
    }

    pub(super) fn reply_bound(&mut self, id: RequestId, ix: BindingIx, reused: bool) {
        if let Some(binding) = self.bindings.get(ix).map(|record| self.view(record)) {
            self.reply(id, AdminReply::Bound { binding: Box::new(binding), reused });
        }
    }

    pub(super) fn reply_binding(&mut self, id: RequestId, ix: BindingIx) {
        if let Some(binding) = self.bindings.get(ix).map(|record| self.view(record)) {
            self.reply(id, AdminReply::Binding(Box::new(binding)));
        }
    }

    pub(super) fn view(&self, record: &Record) -> BindingView {
        let Binding { id, tenant, project, kind, key, created, state, encryption, usage, tags, .. } =
            self.binding_of(record);
        let party = |leg: LegName| {
            let side = record.side(leg);
            PartyView {
                party: self.parties.pseudonym(side.party, &tenant),
                address: self.parties.masked(side.party),
                also: record.also(leg).iter().map(|&party| self.parties.masked(party)).collect(),
                proxy: self.numbers.get(side.number).number,
            }
        };
        let (customer, agent) = (party(LegName::A), party(LegName::B));
        let calls = usize::try_from(record.calls).unwrap_or(usize::MAX);
        BindingView {
            id,
            tenant,
            project,
            kind,
            key,
            customer,
            agent,
            created,
            state,
            encryption,
            usage,
            tags,
            calls,
        }
    }
}

/// The tags of a new binding, in order and each once.
fn tags(wanted: &NewBinding) -> Result<Vec<String>, Refusal> {
    if wanted.tags.len() > MAX_TAGS {
        return Err(refusal(
            RefusalKind::Invalid,
            format!("{} tags are too many", wanted.tags.len()),
            format!("give at most {MAX_TAGS} tags"),
        ));
    }
    let mut tags = wanted.tags.clone();
    tags.iter().try_for_each(|tag| parse::name("tag", tag))?;
    tags.sort_unstable();
    tags.dedup();
    Ok(tags)
}

pub(super) fn in_doubt() -> Refusal {
    refusal(
        RefusalKind::Unavailable,
        "the store failed with an earlier change to this binding, and what it holds is not known yet",
        "ask again when the store works; its failure is in the log",
    )
}
