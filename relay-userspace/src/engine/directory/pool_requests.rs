//! Requests about the pool: add, list, sum up, change and remove numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::binding_requests::rows;
use super::check::in_country;
use super::headroom::Level;
use super::model::{NumberState, NumberTraits};
use super::numbers::NumberIx;
use super::parties::PartyIx;
use super::plan::PlaceLoad;
use super::pool::{
    NewNumber, PoolFilter, PoolGroup, PoolPage, PoolReply, PoolRequest, PoolRow, PoolStats, PoolSums,
};
use super::proposal::{NumberChange, Proposal};
use super::{Directory, PoolNumber, refusal};
use crate::engine::admin::{AdminReply, Refusal, RefusalKind};
use crate::engine::event::Event;
use crate::engine::io::{Output, RequestId};
use crate::engine::number::ProxyNumber;
use crate::engine::time::Timestamp;

/// Numbers of one request: they become one transaction.
const MAX_NUMBERS: usize = 10_000;
/// Numbers that one page looks at, however few match.
const LOOKED_AT: usize = 5_000;

impl Directory {
    pub(super) fn handle_pool(&mut self, id: RequestId, request: PoolRequest) {
        let outcome = match request {
            PoolRequest::Add { numbers } => self.pool_add(id, numbers),
            PoolRequest::List { filter, after, limit } => {
                self.reply_pool(id, PoolReply::Page(self.pool_list(&filter, after, limit)));
                Ok(())
            }
            PoolRequest::Show { number } => self.known_number(&number).map(|ix| {
                self.reply_pool(id, PoolReply::Number(self.pool_row(ix)));
            }),
            PoolRequest::Stats { after } => {
                self.reply_pool(id, PoolReply::Stats(self.pool_stats(after)));
                Ok(())
            }
            PoolRequest::Plan => {
                self.reply_pool(id, self.plan());
                Ok(())
            }
            PoolRequest::Remove { numbers } => self.pool_remove(id, numbers),
            PoolRequest::SetState { numbers, to } => self.pool_set_state(id, &numbers, to),
            PoolRequest::ImportBegin { update } => self.import_begin(id, update),
            PoolRequest::ImportLines { import, lines } => self.import_lines(id, import, lines),
            PoolRequest::ImportEnd { import, keep } => self.import_end(id, import, keep),
        };
        if let Err(refusal) = outcome {
            self.refuse_request(id, refusal);
        }
    }

    fn plan(&self) -> PoolReply {
        let places = self.headroom.places(&self.numbers, self.config.geography.strict);
        let named = |(load, parties): (PlaceLoad, Vec<PartyIx>)| {
            let masked = |party| self.parties.masked(party);
            PlaceLoad { busiest_parties: parties.into_iter().map(masked).collect(), ..load }
        };
        let places = places.into_iter().map(named).collect();
        PoolReply::Plan { places, cap: self.config.pool.bindings_per_number }
    }

    /// How many places are ample, low and exhausted.
    pub(super) fn levels(&self) -> [u64; 3] {
        let rules = &self.config;
        self.headroom.levels(&self.numbers, rules.geography.strict, rules.pool.low_percent)
    }

    /// Tells when the places of a binding's parties come close to their end, or
    /// away from it.
    pub(super) fn tell_headroom(&mut self, parties: [PartyIx; 2]) {
        let (strict, low) = (self.config.geography.strict, self.config.pool.low_percent);
        for (load, level) in self.headroom.changed(&self.numbers, strict, low, parties) {
            let place = load.name();
            let (left, numbers) = (load.numbers.saturating_sub(load.busiest), load.numbers);
            let low = level != Level::Ample;
            self.outputs.push_back(Output::Event(Event::PoolLevel { place, left, numbers, low }));
        }
    }

    pub(super) fn reply_pool(&mut self, id: RequestId, reply: PoolReply) {
        self.reply(id, AdminReply::Pool(reply));
    }

    /// Adds all numbers or none. Those that are there already and the same are
    /// only counted.
    fn pool_add(&mut self, id: RequestId, numbers: Vec<NewNumber>) -> Result<(), Refusal> {
        few_enough(numbers.len())?;
        self.admits_commit()?;
        let (numbers, known) = self.new_numbers(numbers)?;
        let added = numbers.len();
        self.change_numbers(id, numbers, Vec::new(), PoolReply::Added { added, known });
        Ok(())
    }

    /// Proposes a change that is checked, or answers at once where nothing
    /// changes.
    fn change_numbers(
        &mut self,
        request: RequestId,
        put: Vec<PoolNumber>,
        remove: Vec<ProxyNumber>,
        reply: PoolReply,
    ) {
        if put.is_empty() && remove.is_empty() {
            return self.reply_pool(request, reply);
        }
        self.changing.extend(put.iter().map(|number| number.number).chain(remove.iter().copied()));
        let put = if put.is_empty() { Vec::new() } else { vec![Arc::from(put)] };
        let change = Box::new(NumberChange { put, remove, reply });
        self.propose(Proposal::ChangeNumbers { request, change });
    }

    fn new_numbers(&mut self, numbers: Vec<NewNumber>) -> Result<(Vec<PoolNumber>, usize), Refusal> {
        let mut fresh: BTreeMap<ProxyNumber, PoolNumber> = BTreeMap::new();
        let mut known = 0;
        for (index, number) in numbers.into_iter().enumerate() {
            let number = self.checked(number).map_err(|refusal| Refusal {
                what: format!("number {} of the list: {}", index + 1, refusal.what),
                ..refusal
            })?;
            let there = self.numbers.find(&number.number).map(|ix| self.numbers.get(ix));
            match there.or_else(|| fresh.get(&number.number)) {
                Some(same) if *same == number => known += 1,
                Some(_) => {
                    return Err(refusal(
                        RefusalKind::Conflict,
                        format!("{} is in the pool with other properties", number.number),
                        "look at it with `vizard pool show`, and leave it out, make both the same, or change \
                         it with `vizard pool import --update`",
                    ));
                }
                None if self.is_changing(&number.number) => return Err(being_changed(&number.number)),
                None => {
                    fresh.insert(number.number, number);
                }
            }
        }
        self.admits_numbers(fresh.len())?;
        Ok((fresh.into_values().collect(), known))
    }

    /// Whether so many more fit into the pool.
    pub(super) fn admits_numbers(&mut self, more: usize) -> Result<(), Refusal> {
        let limit = self.config.limits.numbers;
        let importing = self.import.as_ref().map_or(0, |import| import.counts.added);
        if self.numbers.len() + self.changing.len() + importing + more <= limit {
            return Ok(());
        }
        self.counts.limited += 1;
        Err(refusal(
            RefusalKind::Exhausted,
            format!("the pool would have more than {limit} numbers"),
            "raise `numbers` in [limits]",
        ))
    }

    /// A number that may join the pool.
    pub(super) fn checked(&self, new: NewNumber) -> Result<PoolNumber, Refusal> {
        let NewNumber { number, traits } = new;
        let planned = number.check_plan().map(|()| number.country());
        let Ok(Some(country)) = planned else {
            return Err(refusal(
                RefusalKind::Invalid,
                format!("no country's numbering plan has {number}"),
                "check the country code and the number of digits",
            ));
        };
        if let Some(trunk) = traits.trunk.as_deref().filter(|trunk| self.config.trunk_named(trunk).is_none())
        {
            return Err(refusal(
                RefusalKind::Invalid,
                format!("{number} names the trunk {trunk:?}, which is not configured"),
                "name a [[trunk]] of the configuration, or none",
            ));
        }
        let traits = in_country(&number, country, traits)?;
        self.unchanging(&number)?;
        if self.is_party(&number) {
            return Err(refusal(
                RefusalKind::Conflict,
                "it cannot be a proxy: it is the real number of a party".to_owned(),
                "a proxy must be a number that Vizard owns: leave this one out",
            ));
        }
        Ok(PoolNumber { number, country, traits })
    }

    fn is_party(&self, number: &ProxyNumber) -> bool {
        let party = number.to_string().parse().map(super::PartyAddress::Number);
        party.is_ok_and(|party| self.parties.find(&party).is_some())
    }

    /// Whether a change to a number is under way.
    pub(super) fn is_changing(&self, number: &ProxyNumber) -> bool {
        self.changing.contains(number)
            || self.import.as_ref().is_some_and(|import| import.lines.contains_key(number))
    }

    fn unchanging(&self, number: &ProxyNumber) -> Result<(), Refusal> {
        if self.changing.contains(number) {
            return Err(refusal(
                RefusalKind::Conflict,
                format!("{number} is being changed by another request"),
                "ask again when that request is answered",
            ));
        }
        Ok(())
    }

    fn known_number(&self, number: &ProxyNumber) -> Result<NumberIx, Refusal> {
        self.numbers.find(number).ok_or_else(|| {
            refusal(
                RefusalKind::NotFound,
                format!("{number} is not in the pool"),
                "list the pool with `vizard pool list`",
            )
        })
    }

    /// A number that may be changed now.
    pub(super) fn changeable(&self, number: &ProxyNumber) -> Result<NumberIx, Refusal> {
        let ix = self.known_number(number)?;
        if self.is_changing(number) {
            return Err(being_changed(number));
        }
        Ok(ix)
    }

    fn pool_remove(&mut self, id: RequestId, numbers: Vec<ProxyNumber>) -> Result<(), Refusal> {
        few_enough(numbers.len())?;
        self.admits_commit()?;
        let numbers: BTreeSet<ProxyNumber> = numbers.into_iter().collect();
        for number in &numbers {
            let ix = self.changeable(number)?;
            if self.agents.holds(ix) {
                return Err(refusal(
                    RefusalKind::Conflict,
                    format!("{number} is the number of an agent"),
                    "take it back with `vizard agent close` first",
                ));
            }
            let load = self.numbers.load(ix);
            if load.bindings() > 0 {
                return Err(refusal(
                    RefusalKind::Conflict,
                    format!("{number} has {} live bindings and {} tombstones", load.live, load.entombed),
                    "stop giving it away with `vizard pool drain`, and remove it when `vizard pool show` finds \
                     it idle",
                ));
            }
        }
        for number in &numbers {
            self.numbers.set_leaving(number, true);
        }
        let reply = PoolReply::Removed(numbers.len());
        self.change_numbers(id, Vec::new(), numbers.into_iter().collect(), reply);
        Ok(())
    }

    fn pool_set_state(
        &mut self,
        id: RequestId,
        numbers: &[ProxyNumber],
        to: NumberState,
    ) -> Result<(), Refusal> {
        few_enough(numbers.len())?;
        self.admits_commit()?;
        let (mut put, mut known) = (BTreeMap::new(), 0);
        for number in numbers {
            let there = self.numbers.get(self.changeable(number)?);
            if there.traits.state == to {
                known += 1;
            } else {
                let traits = NumberTraits { state: to, ..there.traits.clone() };
                put.insert(*number, PoolNumber { traits, ..there.clone() });
            }
        }
        let reply = PoolReply::StateSet { to, changed: put.len(), known };
        self.change_numbers(id, put.into_values().collect(), Vec::new(), reply);
        Ok(())
    }

    pub(super) fn pool_list(
        &self,
        filter: &PoolFilter,
        after: Option<ProxyNumber>,
        limit: usize,
    ) -> PoolPage {
        let mut page = PoolPage::default();
        for (looked_at, ix) in self.numbers.after(after).enumerate() {
            let row = self.numbers.get(ix);
            let bindings = usize::try_from(self.numbers.load(ix).bindings()).unwrap_or(usize::MAX);
            if filter.matches(row, bindings) {
                page.rows.push(self.pool_row(ix));
            }
            if page.rows.len() == rows(limit) || looked_at + 1 == LOOKED_AT {
                page.next = Some(row.number);
                break;
            }
        }
        page
    }

    fn pool_stats(&self, after: Option<ProxyNumber>) -> PoolStats {
        let mut groups: BTreeMap<_, PoolSums> = BTreeMap::new();
        let mut next = None;
        for (looked_at, ix) in self.numbers.after(after).take(LOOKED_AT).enumerate() {
            let row = self.pool_row(ix);
            let PoolNumber { number, country, traits } = &row.number;
            groups.entry((*country, traits.region.clone(), traits.kind)).or_default().count(&row);
            next = (looked_at + 1 == LOOKED_AT).then_some(*number);
        }
        let group = |((country, region, kind), sums)| PoolGroup { country, region, kind, sums };
        PoolStats { groups: groups.into_iter().map(group).collect(), next }
    }

    fn pool_row(&self, ix: NumberIx) -> PoolRow {
        let load = self.numbers.load(ix);
        let released = self.numbers.released(ix);
        PoolRow {
            number: self.numbers.get(ix).clone(),
            live: usize::try_from(load.live).unwrap_or(usize::MAX),
            entombed: usize::try_from(load.entombed).unwrap_or(usize::MAX),
            released: (released != Timestamp::default()).then_some(released),
        }
    }
}

fn being_changed(number: &ProxyNumber) -> Refusal {
    refusal(
        RefusalKind::Conflict,
        format!("{number} is being changed by another request or import"),
        "ask again when that is over",
    )
}

fn few_enough(numbers: usize) -> Result<(), Refusal> {
    if numbers <= MAX_NUMBERS {
        return Ok(());
    }
    Err(refusal(
        RefusalKind::Invalid,
        format!("{numbers} numbers are too many at once"),
        format!("name at most {MAX_NUMBERS} at a time; `vizard pool import` takes any number of them"),
    ))
}
