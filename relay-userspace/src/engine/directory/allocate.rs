//! The choice of a proxy for a party.
//!
//! Nearest place first; in a place, a number that the party knows from before
//! its cool-off, then the order in which the place offers its numbers. The
//! other side's number is taken only where the place has no second one.

use std::fmt::Write as _;

use super::bindings::Side;
use super::numbers::{NumberIx, Place};
use super::parties::PartyIx;
use super::search::Search;
use super::{BindingState, Directory, PartyAddress, refusal};
use crate::engine::admin::{NumberWish, Refusal, RefusalKind};

/// How many of a party's familiar numbers are weighed.
const FAMILIAR_LOOKED_AT: usize = 64;

/// What a number is wanted for.
pub(super) struct Wanted<'a> {
    /// `customer` or `agent`.
    pub(super) who: &'static str,
    /// Who will dial and see it.
    pub(super) party: &'a PartyAddress,
    /// Those of its further addresses that are known: they get the same number.
    pub(super) also: &'a [PartyIx],
    /// What it should be like.
    pub(super) wish: &'a NumberWish,
    /// The other side's.
    pub(super) other: Option<NumberIx>,
}

impl Directory {
    /// The number for a party, or why there is none.
    pub(super) fn allocate(&self, wanted: &Wanted<'_>) -> Result<NumberIx, Refusal> {
        let party = self.parties.find(wanted.party);
        let search = self.search(wanted.party, wanted.wish);
        let closest = search.places.iter().find_map(|place| {
            self.familiar(wanted, party, place).or_else(|| self.offered(wanted, party, place))
        });
        closest.ok_or_else(|| self.exhausted(wanted, party, &search))
    }

    /// One number for both parties: the nearest to the customer that neither of them
    /// has with anybody else.
    pub(super) fn allocate_one(&self, both: [&Wanted<'_>; 2]) -> Result<NumberIx, Refusal> {
        let parties = both.map(|wanted| self.parties.find(wanted.party));
        let suit = |&number: &NumberIx| {
            both.iter().zip(parties).all(|(wanted, party)| self.suits(wanted, party, number))
        };
        let [customer, agent] = both.map(|wanted| self.search(wanted.party, wanted.wish));
        let mut places = customer.places.iter().chain(&agent.places);
        places.find_map(|place| self.numbers.offered(place).find(suit)).ok_or_else(|| {
            refusal(
                RefusalKind::Exhausted,
                "no number is free for both parties at once",
                "leave --one-number out, add numbers with `vizard pool add`, or close bindings of these parties",
            )
        })
    }

    /// A number that the party has seen, and that has cooled off.
    fn familiar(&self, wanted: &Wanted<'_>, party: Option<PartyIx>, place: &Place) -> Option<NumberIx> {
        self.rests
            .of(party?)
            .take(FAMILIAR_LOOKED_AT)
            .map(|(number, _)| number)
            .filter(|&number| self.numbers.is_in(number, place))
            .filter(|&number| wanted.other != Some(number) && self.suits(wanted, party, number))
            .min_by_key(|&number| (self.numbers.released(number), number))
    }

    fn offered(&self, wanted: &Wanted<'_>, party: Option<PartyIx>, place: &Place) -> Option<NumberIx> {
        let suits = |&number: &NumberIx| self.suits(wanted, party, number);
        let another = |number: &NumberIx| wanted.other != Some(*number);
        let other = || wanted.other.filter(|&other| self.numbers.is_in(other, place)).filter(suits);
        self.numbers.offered(place).filter(another).find(suits).or_else(other)
    }

    /// Whether a number may be given to a party: active, of the country that was
    /// asked for, in no binding of this party, and not in cool-off for it.
    fn suits(&self, wanted: &Wanted<'_>, party: Option<PartyIx>, number: NumberIx) -> bool {
        let country = self.is_of(wanted, number) && self.numbers.is_offered(number);
        let mut parties = party.into_iter().chain(wanted.also.iter().copied());
        country
            && parties
                .all(|party| !self.pairs.contains(Side { party, number }) && !self.is_cooling(party, number))
    }

    fn is_of(&self, wanted: &Wanted<'_>, number: NumberIx) -> bool {
        wanted.wish.country.is_none_or(|country| self.numbers.get(number).country == country)
    }

    pub(super) fn is_cooling(&self, party: PartyIx, number: NumberIx) -> bool {
        let cool_off = self.config.bindings.cool_off;
        self.rests.since(party, number).is_some_and(|since| self.clock.wall < since + cool_off)
    }

    /// The refusal that names what was wanted and what holds the numbers.
    fn exhausted(&self, wanted: &Wanted<'_>, party: Option<PartyIx>, search: &Search) -> Refusal {
        let Search { places, name: place } = search;
        let who = wanted.who;
        let matching = |&number: &NumberIx| self.is_of(wanted, number);
        let inside = |number: &NumberIx| places.iter().any(|place| self.numbers.is_in(*number, place));
        let mut states = [0; 4];
        for place in widest(places) {
            for (sum, count) in states.iter_mut().zip(self.numbers.states(place)) {
                *sum += count;
            }
        }
        let total: usize = states.iter().sum();
        if total == 0 {
            return refusal(
                RefusalKind::Exhausted,
                format!("the pool has no voice number{place} that the {who} could use"),
                "add numbers with `vizard pool add`",
            );
        }
        let [active, ..] = states;
        let mut others = String::new();
        if total > active {
            let _ = write!(others, ", and {} are draining, quarantined or disabled", total - active);
        }
        let offered: usize = widest(places).map(|place| self.numbers.count_offered(place)).sum();
        if active > offered {
            let _ = write!(others, ", and {} have as many bindings as a number may", active - offered);
        }
        let (mut live, mut entombed, mut cooling) = (0, 0, 0);
        if let Some(party) = party {
            for (number, binding) in self.pairs.of(party) {
                let state = self.bindings.get(binding).map(|record| record.state);
                if matching(&number) && inside(&number) {
                    match state {
                        Some(BindingState::Entombed { .. }) => entombed += 1,
                        Some(BindingState::Live { .. }) | None => live += 1,
                    }
                }
            }
            let rests = self.rests.of(party).map(|(number, _)| number);
            cooling = rests
                .filter(|number| matching(number) && inside(number))
                .filter(|&number| self.is_cooling(party, number))
                .filter(|&number| !self.pairs.contains(Side { party, number }))
                .count();
        }
        refusal(
            RefusalKind::Exhausted,
            format!(
                "no number{place} is free for the {who}: of {total} in the pool, this party's live bindings \
                 hold {live}, its tombstones {entombed}, and {cooling} are in cool-off for it{others}"
            ),
            "add numbers with `vizard pool add`, close bindings of this party, allow more places in \
             [geography], or shorten `callback_window` \
             and `cool_off` in [bindings]",
        )
    }
}

/// Of places that an allocation looks at, those that hold all of them and no
/// number twice.
fn widest(places: &[Place]) -> impl Iterator<Item = &Place> {
    let is_country = |place: &&Place| matches!(place, Place::Country(_));
    let last = places.iter().rfind(|place| !matches!(place, Place::Internal(_)));
    let world = last.filter(|place| matches!(place, Place::World));
    let countries = places.iter().filter(move |place| world.is_none() && is_country(place));
    let narrow = last.filter(|_| world.is_none() && !places.iter().any(|place| is_country(&place)));
    let internal = places.iter().filter(|place| matches!(place, Place::Internal(_)));
    internal.chain(world).chain(countries).chain(narrow)
}
