//! Requests about the pool: add numbers, list them with their load.

use std::collections::BTreeMap;

use super::binding_requests::rows;
use super::proposal::Proposal;
use super::{Directory, PartyAddress, PoolNumber, parse, refusal};
use crate::engine::admin::{AdminReply, NewNumber, PoolRow, Refusal, RefusalKind};
use crate::engine::io::RequestId;
use crate::engine::number::{Country, ProxyNumber};

/// Numbers of one addition: they become one transaction.
const MAX_ADDED: usize = 10_000;

impl Directory {
    /// Adds all numbers or none. Those that are there already and the same are
    /// only counted.
    pub(super) fn pool_add(&mut self, id: RequestId, numbers: Vec<NewNumber>) {
        match self.new_numbers(numbers) {
            Ok((numbers, known)) if numbers.is_empty() => {
                self.reply(id, AdminReply::PoolAdded { added: 0, known });
            }
            Ok((numbers, known)) => {
                self.arriving.extend(numbers.iter().map(|number| number.number));
                self.propose(Proposal::AddNumbers { request: id, numbers, known });
            }
            Err(refusal) => self.refuse_request(id, refusal),
        }
    }

    fn new_numbers(&mut self, numbers: Vec<NewNumber>) -> Result<(Vec<PoolNumber>, usize), Refusal> {
        if numbers.len() > MAX_ADDED {
            return Err(refusal(
                RefusalKind::Invalid,
                format!("{} numbers are too many at once", numbers.len()),
                format!("add at most {MAX_ADDED} at a time"),
            ));
        }
        self.admits_commit()?;
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
                        "list it with `vizard pool list`, and leave it out or make both the same",
                    ));
                }
                None => {
                    fresh.insert(number.number, number);
                }
            }
        }
        let limit = self.config.limits.numbers;
        if self.numbers.len() + self.arriving.len() + fresh.len() > limit {
            self.counts.limited += 1;
            return Err(refusal(
                RefusalKind::Exhausted,
                format!("the pool would have more than {limit} numbers"),
                "raise `numbers` in [limits]",
            ));
        }
        Ok((fresh.into_values().collect(), known))
    }

    fn checked(&self, new: NewNumber) -> Result<PoolNumber, Refusal> {
        let NewNumber { number, region, locality, kind, voice, sms, trunk } = new;
        let planned = number.check_plan().map(|()| number.country());
        let Ok(Some(country)) = planned else {
            return Err(refusal(
                RefusalKind::Invalid,
                format!("no country's numbering plan has {number}"),
                "check the country code and the number of digits",
            ));
        };
        if let Some(trunk) = trunk.as_deref().filter(|trunk| self.config.trunk_named(trunk).is_none()) {
            return Err(refusal(
                RefusalKind::Invalid,
                format!("{number} names the trunk {trunk:?}, which is not configured"),
                "name a [[trunk]] of the configuration, or none",
            ));
        }
        for (what, text) in [("region", &region), ("locality", &locality)] {
            if let Some(text) = text {
                parse::name(what, text)?;
            }
        }
        if self.arriving.contains(&number) {
            return Err(refusal(
                RefusalKind::Conflict,
                format!("{number} is being added by another request"),
                "ask again when that request is answered",
            ));
        }
        if self.is_party(&number) {
            return Err(refusal(
                RefusalKind::Conflict,
                "it is the real number of a party",
                "a proxy must be a number that Vizard owns: leave this one out",
            ));
        }
        Ok(PoolNumber { number, country, region, locality, kind, voice, sms, trunk })
    }

    fn is_party(&self, number: &ProxyNumber) -> bool {
        let party = number.to_string().parse().map(PartyAddress::Number);
        party.is_ok_and(|party| self.parties.find(&party).is_some())
    }

    pub(super) fn pool_list(
        &self,
        country: Option<Country>,
        after: Option<ProxyNumber>,
        limit: usize,
    ) -> Vec<PoolRow> {
        self.numbers
            .after(after)
            .map(|ix| (self.numbers.get(ix), self.numbers.load(ix)))
            .filter(|(number, _)| country.is_none_or(|country| number.country == country))
            .take(rows(limit))
            .map(|(number, load)| PoolRow {
                number: number.clone(),
                live: usize::try_from(load.live).unwrap_or(usize::MAX),
                entombed: usize::try_from(load.entombed).unwrap_or(usize::MAX),
            })
            .collect()
    }
}
