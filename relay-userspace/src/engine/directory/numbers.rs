//! The pool: proxy numbers, their load, and the order in which they are
//! offered.
//!
//! A number serves any number of parties, so none is ever "taken"; what is
//! taken is a (number, party) pair. For each place (area, country, calling
//! code, everywhere) the numbers stand in the order of choice: least recently
//! released first, then least loaded. A creation walks that order and passes
//! over the few numbers that its party has already, so it never reads the pool.

use std::collections::{BTreeMap, BTreeSet};

use arrayvec::ArrayString;

use super::model::{BindingState, NumberKind, PoolNumber};
use crate::engine::dialling::Geography;
use crate::engine::number::{Country, MAX_DIGITS, ProxyNumber};
use crate::engine::time::Timestamp;

/// Names one number of the pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NumberIx(u32);

/// A set of numbers that are equally close to somebody.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Reachable from this PBX trunk alone; from any when unnamed.
    Internal(Option<String>),
    /// Of the same calling code and area code.
    Area(ArrayString<MAX_DIGITS>),
    /// Of the same country.
    Country(Country),
    /// Of a country with the same calling code.
    Code(u16),
    /// Anywhere.
    World,
}

/// How many bindings use a number.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) live: u32,
    pub(super) entombed: u32,
}

impl Load {
    /// One more or one less binding in a state.
    pub(super) const fn count(&mut self, state: BindingState, by: i32) {
        let counted = match state {
            BindingState::Live { .. } => &mut self.live,
            BindingState::Entombed { .. } => &mut self.entombed,
        };
        *counted = counted.saturating_add_signed(by);
    }
}

/// The pool's numbers.
#[derive(Default)]
pub(super) struct Numbers {
    by_number: BTreeMap<ProxyNumber, NumberIx>,
    slots: Vec<Slot>,
    order: BTreeSet<(Place, Rank, NumberIx)>,
}

struct Slot {
    number: PoolNumber,
    places: Vec<Place>,
    load: Load,
    rank: Rank,
}

/// A number's turn: the smallest is offered first.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    released: Timestamp,
    uses: u32,
}

impl Numbers {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn find(&self, number: &ProxyNumber) -> Option<NumberIx> {
        self.by_number.get(number).copied()
    }

    pub(super) fn get(&self, ix: NumberIx) -> &PoolNumber {
        &self.slots[ix.index()].number
    }

    pub(super) fn load(&self, ix: NumberIx) -> Load {
        self.slots[ix.index()].load
    }

    /// Adds a number that is not there yet.
    pub(super) fn add(&mut self, number: PoolNumber) -> NumberIx {
        let ix = NumberIx(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.by_number.insert(number.number, ix);
        let (load, rank) = (Load::default(), Rank::default());
        self.slots.push(Slot { places: places_of(&number), number, load, rank });
        for place in &self.slots[ix.index()].places {
            self.order.insert((place.clone(), rank, ix));
        }
        ix
    }

    /// All numbers after one, in their order.
    pub(super) fn after(&self, after: Option<ProxyNumber>) -> impl Iterator<Item = NumberIx> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.by_number.range((from, Unbounded)).map(|(_, &ix)| ix)
    }

    /// The numbers of a place in their order of choice.
    pub(super) fn offered(&self, place: &Place) -> impl Iterator<Item = NumberIx> {
        let first = (place.clone(), Rank::default(), NumberIx::FIRST);
        let last = (place.clone(), Rank { released: LAST, uses: u32::MAX }, NumberIx::LAST);
        self.order.range(first..=last).map(|&(.., ix)| ix)
    }

    /// Whether a number is in a place.
    pub(super) fn is_in(&self, ix: NumberIx, place: &Place) -> bool {
        self.slots[ix.index()].places.contains(place)
    }

    /// When a pair of this number was last freed.
    pub(super) fn released(&self, ix: NumberIx) -> Timestamp {
        self.slots[ix.index()].rank.released
    }

    /// Changes what is counted on a number.
    pub(super) fn set_load(&mut self, ix: NumberIx, change: impl FnOnce(&mut Load)) {
        change(&mut self.slots[ix.index()].load);
        let load = self.load(ix);
        self.rerank(ix, |rank| rank.uses = load.live.saturating_add(load.entombed));
    }

    /// Notes that a pair of this number was freed.
    pub(super) fn note_release(&mut self, ix: NumberIx, at: Timestamp) {
        self.rerank(ix, |rank| rank.released = rank.released.max(at));
    }

    fn rerank(&mut self, ix: NumberIx, change: impl FnOnce(&mut Rank)) {
        let slot = &mut self.slots[ix.index()];
        let before = slot.rank;
        change(&mut slot.rank);
        if slot.rank == before {
            return;
        }
        for place in &slot.places {
            self.order.remove(&(place.clone(), before, ix));
            self.order.insert((place.clone(), slot.rank, ix));
        }
    }
}

/// The end of time.
const LAST: Timestamp = Timestamp::from_unix_microseconds(i64::MAX);

/// Where a number may be found by an allocation: nowhere unless it takes calls.
fn places_of(number: &PoolNumber) -> Vec<Place> {
    if !number.voice {
        return Vec::new();
    }
    let geography = Geography::of(number.number.digits(), Some(number.country));
    match number.kind {
        NumberKind::Internal => vec![Place::Internal(number.trunk.clone())],
        NumberKind::Local | NumberKind::Mobile | NumberKind::TollFree => {
            let mut places = vec![Place::Country(number.country), Place::Code(geography.code), Place::World];
            places.extend(geography.area.map(Place::Area));
            places
        }
    }
}

impl NumberIx {
    /// Not after any other.
    pub(super) const FIRST: Self = Self(0);
    /// Not before any other.
    pub(super) const LAST: Self = Self(u32::MAX);

    const fn index(self) -> usize {
        self.0 as usize
    }
}
