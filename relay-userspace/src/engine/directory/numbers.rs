//! The pool: proxy numbers, their load, and the order in which they are
//! offered.
//!
//! A number serves any number of parties, so none is ever "taken"; what is
//! taken is a (number, party) pair. For each place (area, locality, state,
//! country, calling code, everywhere) the numbers that may be given away stand
//! in the order of choice: least recently released first, then least loaded. A
//! creation walks that order and passes over the few numbers that its party has
//! already, so it never reads the pool.
//!
//! A number that has left the pool keeps its short name: pairs that rest may
//! still speak of it, and if it comes back they hold for it again.

use std::collections::{BTreeMap, BTreeSet};

use arrayvec::ArrayString;

use super::model::{BindingState, NumberKind, NumberState, NumberTraits, PoolNumber};
use crate::engine::dialling::Geography;
use crate::engine::map::{HashKey, Index};
use crate::engine::number::{Country, MAX_DIGITS, ProxyNumber};
use crate::engine::time::Timestamp;

/// Names one number of the pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NumberIx(u32);

/// A set of numbers that are equally close to somebody.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Reachable from this PBX trunk alone; from any when unnamed.
    Internal(Option<String>),
    /// Of the same calling code and area code.
    Area(ArrayString<MAX_DIGITS>),
    /// Of a city or exchange, in its region where one is known; lower case.
    Locality(Country, Option<String>, String),
    /// Of a region or state; lower case.
    State(Country, String),
    /// Of the same country.
    Country(Country),
    /// Of a country with the same calling code.
    Code(u16),
    /// Anywhere.
    World,
}

impl Place {
    pub(super) fn locality(country: Country, region: Option<&str>, name: &str) -> Self {
        Self::Locality(country, region.map(str::to_lowercase), name.to_lowercase())
    }

    pub(super) fn state(country: Country, name: &str) -> Self {
        Self::State(country, name.to_lowercase())
    }
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

    pub(super) const fn bindings(self) -> u32 {
        self.live.saturating_add(self.entombed)
    }
}

/// The pool's numbers.
pub(super) struct Numbers {
    /// In their order, for lists.
    by_number: BTreeMap<ProxyNumber, NumberIx>,
    /// For look-ups.
    index: Index,
    slots: Vec<Slot>,
    present: usize,
    places: BTreeMap<Place, PlaceIx>,
    at: Vec<AtPlace>,
    /// Bindings that one number may have; zero is no cap.
    cap: u32,
}

/// Names one place.
#[derive(Clone, Copy, PartialEq, Eq)]
struct PlaceIx(u32);

/// What is known of a place.
#[derive(Default)]
struct AtPlace {
    /// Its numbers that may be given away, in their order of choice.
    offered: BTreeSet<(Rank, NumberIx)>,
    /// Its numbers that take calls, by state, in the order of
    /// [`NumberState::ALL`].
    states: [usize; 4],
}

struct Slot {
    number: PoolNumber,
    places: Vec<PlaceIx>,
    load: Load,
    rank: Rank,
    standing: Standing,
    /// It is an agent's, and not given away.
    dedicated: bool,
}

/// Whether a number belongs to the pool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Present,
    /// Its removal is being committed: nobody gets it any more.
    Leaving,
    Gone,
}

/// A number's turn: the smallest is offered first.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    released: Timestamp,
    uses: u32,
}

impl Numbers {
    /// An empty pool whose numbers may have so many bindings each; zero is no
    /// cap.
    pub(super) const fn new(key: HashKey, cap: u32) -> Self {
        Self {
            by_number: BTreeMap::new(),
            index: Index::new(key),
            slots: Vec::new(),
            present: 0,
            places: BTreeMap::new(),
            at: Vec::new(),
            cap,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.present
    }

    pub(super) fn find(&self, number: &ProxyNumber) -> Option<NumberIx> {
        let ix = self.known(number)?;
        (self.slots[ix.index()].standing != Standing::Gone).then_some(ix)
    }

    /// A number that is in the pool or was.
    pub(super) fn known(&self, number: &ProxyNumber) -> Option<NumberIx> {
        let has = |at: u32| self.slots.get(at as usize).is_some_and(|slot| slot.number.number == *number);
        self.index.find(number, has).map(NumberIx)
    }

    pub(super) fn get(&self, ix: NumberIx) -> &PoolNumber {
        &self.slots[ix.index()].number
    }

    pub(super) fn load(&self, ix: NumberIx) -> Load {
        self.slots[ix.index()].load
    }

    /// Adds a number, or gives it other properties.
    pub(super) fn put(&mut self, number: PoolNumber) {
        let places: Vec<PlaceIx> = places_of(&number).into_iter().map(|place| self.intern(place)).collect();
        let ix = self.slot_of(&number);
        self.leave(ix);
        let slot = &mut self.slots[ix.index()];
        (slot.number, slot.places, slot.standing) = (number, places, Standing::Present);
        self.enter(ix);
    }

    /// The short name of a number that may not be in the pool any more, for the
    /// pairs of it that rest.
    pub(super) fn remember(&mut self, number: ProxyNumber) -> NumberIx {
        if let Some(ix) = self.known(&number) {
            return ix;
        }
        let country = number.country().unwrap_or(Country::UNKNOWN);
        self.slot_of(&PoolNumber { number, country, traits: NumberTraits::default() })
    }

    /// Takes a number out of the pool.
    pub(super) fn remove(&mut self, number: &ProxyNumber) {
        if let Some(ix) = self.find(number) {
            self.leave(ix);
            self.slots[ix.index()].standing = Standing::Gone;
        }
    }

    /// Stops giving a number away before it is removed, or goes on after all.
    pub(super) fn set_leaving(&mut self, number: &ProxyNumber, leaving: bool) {
        let Some(ix) = self.find(number) else { return };
        self.leave(ix);
        self.slots[ix.index()].standing = if leaving { Standing::Leaving } else { Standing::Present };
        self.enter(ix);
    }

    /// Sets a number apart for an agent, or puts it back among the others.
    pub(super) fn set_dedicated(&mut self, ix: NumberIx, dedicated: bool) {
        self.update(ix, |slot| slot.dedicated = dedicated);
    }

    /// All numbers after one, in their order.
    pub(super) fn after(&self, after: Option<ProxyNumber>) -> impl Iterator<Item = NumberIx> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let present = |ix: &NumberIx| self.slots[ix.index()].standing != Standing::Gone;
        self.by_number.range((from, Unbounded)).map(|(_, &ix)| ix).filter(present)
    }

    /// The numbers of a place in their order of choice.
    pub(super) fn offered(&self, place: &Place) -> impl Iterator<Item = NumberIx> {
        self.at(place).into_iter().flat_map(|at| at.offered.iter().map(|&(_, ix)| ix))
    }

    /// How many numbers of a place take calls, by state, in the order of
    /// [`NumberState::ALL`].
    pub(super) fn states(&self, place: &Place) -> [usize; 4] {
        self.at(place).map_or([0; 4], |at| at.states)
    }

    /// How many numbers of a place may be given away.
    pub(super) fn count_offered(&self, place: &Place) -> usize {
        self.at(place).map_or(0, |at| at.offered.len())
    }

    /// Whether a number is in a place.
    pub(super) fn is_in(&self, ix: NumberIx, place: &Place) -> bool {
        self.places.get(place).is_some_and(|place| self.slots[ix.index()].places.contains(place))
    }

    /// Whether a number may be given away.
    pub(super) fn is_offered(&self, ix: NumberIx) -> bool {
        self.slots[ix.index()].is_offered(self.cap)
    }

    /// When a pair of this number was last freed.
    pub(super) fn released(&self, ix: NumberIx) -> Timestamp {
        self.slots[ix.index()].rank.released
    }

    /// Changes what is counted on a number.
    pub(super) fn set_load(&mut self, ix: NumberIx, change: impl FnOnce(&mut Load)) {
        self.update(ix, |slot| {
            change(&mut slot.load);
            slot.rank.uses = slot.load.bindings();
        });
    }

    /// Notes that a pair of this number was freed.
    pub(super) fn note_release(&mut self, ix: NumberIx, at: Timestamp) {
        self.update(ix, |slot| slot.rank.released = slot.rank.released.max(at));
    }

    fn at(&self, place: &Place) -> Option<&AtPlace> {
        self.places.get(place).map(|place| &self.at[place.0 as usize])
    }

    fn intern(&mut self, place: Place) -> PlaceIx {
        let next = PlaceIx(u32::try_from(self.at.len()).unwrap_or(u32::MAX));
        let ix = *self.places.entry(place).or_insert(next);
        if ix == next {
            self.at.push(AtPlace::default());
        }
        ix
    }

    /// A slot for the number; a new one is outside the pool.
    fn slot_of(&mut self, number: &PoolNumber) -> NumberIx {
        if let Some(ix) = self.known(&number.number) {
            return ix;
        }
        let ix = NumberIx(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.by_number.insert(number.number, ix);
        self.index.insert(&number.number, ix.0);
        self.slots.push(Slot {
            number: number.clone(),
            places: Vec::new(),
            load: Load::default(),
            rank: Rank::default(),
            standing: Standing::Gone,
            dedicated: false,
        });
        ix
    }

    /// Takes a number out of every order and count.
    fn leave(&mut self, ix: NumberIx) {
        let slot = &self.slots[ix.index()];
        if slot.standing == Standing::Gone {
            return;
        }
        self.present -= 1;
        for place in &slot.places {
            let at = &mut self.at[place.0 as usize];
            at.offered.remove(&(slot.rank, ix));
            at.states[slot.number.traits.state as usize] -= 1;
        }
    }

    /// Puts it back into them.
    fn enter(&mut self, ix: NumberIx) {
        let slot = &self.slots[ix.index()];
        self.present += 1;
        for place in &slot.places {
            let at = &mut self.at[place.0 as usize];
            at.states[slot.number.traits.state as usize] += 1;
            if slot.is_offered(self.cap) {
                at.offered.insert((slot.rank, ix));
            }
        }
    }

    /// Changes a number's turn, and whether it has one.
    fn update(&mut self, ix: NumberIx, change: impl FnOnce(&mut Slot)) {
        let slot = &mut self.slots[ix.index()];
        let (before, was_offered) = (slot.rank, slot.is_offered(self.cap));
        change(slot);
        let offered = slot.is_offered(self.cap);
        if (slot.rank, offered) == (before, was_offered) {
            return;
        }
        for place in &slot.places {
            let order = &mut self.at[place.0 as usize].offered;
            if was_offered {
                order.remove(&(before, ix));
            }
            if offered {
                order.insert((slot.rank, ix));
            }
        }
    }
}

impl Slot {
    /// Whether new bindings may have it.
    fn is_offered(&self, cap: u32) -> bool {
        self.standing == Standing::Present
            && !self.dedicated
            && self.number.traits.state == NumberState::Active
            && (cap == 0 || self.load.bindings() < cap)
    }
}

/// Where a number may be found by an allocation: nowhere unless it takes calls.
fn places_of(number: &PoolNumber) -> Vec<Place> {
    let PoolNumber { number, country, traits } = number;
    if !traits.voice {
        return Vec::new();
    }
    match traits.kind {
        NumberKind::Internal => vec![Place::Internal(traits.trunk.clone())],
        NumberKind::Local | NumberKind::Mobile | NumberKind::TollFree => {
            let geography = Geography::of(number.digits(), Some(*country));
            let mut places = vec![Place::Country(*country), Place::Code(geography.code), Place::World];
            places.extend(geography.area.map(Place::Area));
            places.extend(traits.region.as_deref().map(|name| Place::state(*country, name)));
            let locality = |name| Place::locality(*country, traits.region.as_deref(), name);
            places.extend(traits.locality.as_deref().map(locality));
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
