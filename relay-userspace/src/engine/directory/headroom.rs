//! How many numbers are needed where, and how many are left.
//!
//! With a number per party, a place needs as many numbers as the busiest of its
//! parties has bindings, tombstones included. So each party's bindings are
//! counted as they come and go, and the parties of a place by their counts: what
//! a plan or a warning needs is at hand without reading a binding.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::model::PartyAddress;
use super::numbers::{Numbers, Place};
use super::parties::PartyIx;
use super::plan::{PlaceLoad, Trend};
use crate::engine::areas;
use crate::engine::config::Config;
use crate::engine::ids::LegName;
use crate::engine::number::Country;
use crate::engine::time::Timestamp;

/// From so many bindings on a party can be named as the busiest.
const NAMED: u32 = 4;
/// Hours of which the peak is remembered.
const HOURS: usize = 14 * 24;
const HOUR: i64 = 3_600_000_000;

/// Where parties are, as wide as plans are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Home {
    pub(super) country: Country,
    /// Where states follow from area codes.
    pub(super) state: Option<&'static str>,
}

impl Home {
    /// Where a party is of which nothing is known.
    pub(super) const NOWHERE: Self = Self { country: Country::UNKNOWN, state: None };

    /// Of a party that its number tells of; where a PBX is, the configuration says.
    #[must_use]
    pub fn told_by(address: &PartyAddress) -> Option<Self> {
        match address {
            PartyAddress::Number(number) => {
                let elsewhere = || (number.country().unwrap_or(Country::UNKNOWN), None);
                let (country, state) = areas::locate(number.reveal()).unwrap_or_else(elsewhere);
                Some(Self { country, state })
            }
            PartyAddress::Extension { .. } => None,
        }
    }

    /// Of a party; a PBX is where its trunk is.
    pub(super) fn of(address: &PartyAddress, config: &Config) -> Self {
        match address {
            PartyAddress::Number(_) => Self::told_by(address).unwrap_or(Self::NOWHERE),
            PartyAddress::Extension { trunk, .. } => {
                let trunk = config.trunk_named(trunk).and_then(|id| config.trunk(id));
                Self { country: trunk.map_or(Country::UNKNOWN, |trunk| trunk.country), state: None }
            }
        }
    }

    /// The numbers that are there for its parties before any fallback abroad.
    fn place(&self, strict: bool) -> Place {
        match self.state.filter(|_| strict) {
            Some(state) => Place::state(self.country, state),
            None => Place::Country(self.country),
        }
    }
}

/// Names one home.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct HomeIx(u32);

/// What one party holds, by the side on which it stands.
#[derive(Clone, Copy)]
struct Held {
    home: HomeIx,
    sides: [u32; 2],
}

impl Held {
    const fn all(self) -> u32 {
        self.sides[0] + self.sides[1]
    }
}

/// How close a place is to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// There is enough.
    Ample,
    /// Less than the configured share is left.
    Low,
    /// The busiest party has every number.
    Exhausted,
}

struct At {
    home: Home,
    /// How many parties hold so many: on either side, as customer, as agent.
    counts: [BTreeMap<u32, u32>; 3],
    bindings: u64,
    /// The peak of each hour, counted from 1970.
    peaks: VecDeque<(i64, u32)>,
    level: Level,
}

/// All parties' bindings, counted.
#[derive(Default)]
pub(super) struct Headroom {
    /// By party, of all that are located; nothing is held at zero on both sides.
    held: Vec<Held>,
    homes: BTreeMap<Home, HomeIx>,
    at: Vec<At>,
    busy: BTreeSet<(HomeIx, u32, PartyIx)>,
}

impl Headroom {
    /// Makes room for so many parties.
    pub(super) fn reserve(&mut self, parties: usize) {
        self.held.reserve(parties);
    }

    /// It is known where a party is: what it holds counts there.
    pub(super) fn locate(&mut self, now: Timestamp, party: PartyIx, home: Home) {
        let home = self.intern(home);
        let held = self.held(party).unwrap_or(Held { home, sides: [0; 2] });
        self.replace(now, party, held, Held { home, ..held });
    }

    /// A party that was located has so many bindings more, by the side on which it stands.
    pub(super) fn take(&mut self, now: Timestamp, party: PartyIx, [customer, agent]: [u32; 2]) {
        let Some(&held) = self.held.get(party.index()) else { return };
        let sides = [held.sides[0] + customer, held.sides[1] + agent];
        self.replace(now, party, held, Held { sides, ..held });
    }

    /// A party has one binding less.
    pub(super) fn give(&mut self, now: Timestamp, party: PartyIx, leg: LegName) {
        let Some(held) = self.held(party) else { return };
        let [customer, agent] = one(leg);
        let sides = [held.sides[0].saturating_sub(customer), held.sides[1].saturating_sub(agent)];
        self.replace(now, party, held, Held { sides, ..held });
    }

    /// Every place whose level has changed since it was last asked.
    pub(super) fn changed(
        &mut self,
        numbers: &Numbers,
        strict: bool,
        low_percent: u32,
        parties: [PartyIx; 2],
    ) -> Vec<(PlaceLoad, Level)> {
        let mut homes: Vec<HomeIx> =
            parties.iter().filter_map(|&party| Some(self.held(party)?.home)).collect();
        homes.dedup();
        let mut changed = Vec::new();
        for home in homes {
            let load = self.load(home, numbers, strict);
            let at = &mut self.at[home.index()];
            let mut level = level(&load, low_percent);
            if level < at.level {
                // Not back and forth at the threshold: half as much again is enough.
                level = self::level(&load, low_percent + low_percent / 2);
            }
            if level != at.level {
                at.level = level;
                changed.push((load, level));
            }
        }
        changed
    }

    /// Every place that has parties, in order, and its busiest ones.
    pub(super) fn places(&self, numbers: &Numbers, strict: bool) -> Vec<(PlaceLoad, Vec<PartyIx>)> {
        let used = |home: &&HomeIx| self.at[home.index()].bindings > 0;
        let place = |&home: &HomeIx| {
            let load = self.load(home, numbers, strict);
            let last = (home, u32::MAX, PartyIx::LAST);
            let busiest =
                self.busy.range((home, load.busiest, PartyIx::FIRST)..=last).map(|&(.., party)| party);
            (load, busiest.take(3).collect())
        };
        self.homes.values().filter(used).map(place).collect()
    }

    /// How many places stand at each level: ample, low, exhausted.
    pub(super) fn levels(&self, numbers: &Numbers, strict: bool, low_percent: u32) -> [u64; 3] {
        let mut levels = [0; 3];
        for home in self.homes.values().filter(|home| self.at[home.index()].bindings > 0) {
            levels[level(&self.load(*home, numbers, strict), low_percent) as usize] += 1;
        }
        levels
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let no_counts = |at: &At| at.bindings == 0 && at.counts.iter().all(BTreeMap::is_empty);
        self.held.iter().all(|held| held.all() == 0) && self.busy.is_empty() && self.at.iter().all(no_counts)
    }

    fn held(&self, party: PartyIx) -> Option<Held> {
        self.held.get(party.index()).copied().filter(|held| held.all() > 0)
    }

    fn load(&self, home: HomeIx, numbers: &Numbers, strict: bool) -> PlaceLoad {
        let at = &self.at[home.index()];
        let [active, ..] = numbers.states(&at.home.place(strict));
        let [busiest, customer, agent] = [0, 1, 2].map(|which| most(&at.counts[which]));
        PlaceLoad {
            country: at.home.country,
            state: at.home.state.map(str::to_owned),
            numbers: u32::try_from(active).unwrap_or(u32::MAX),
            parties: at.counts[0].values().sum(),
            bindings: at.bindings,
            busiest,
            busiest_customer: customer,
            busiest_agent: agent,
            trend: Trend::of(&at.peaks),
            busiest_parties: Vec::new(),
        }
    }

    fn intern(&mut self, home: Home) -> HomeIx {
        let next = HomeIx(u32::try_from(self.at.len()).unwrap_or(u32::MAX));
        let ix = *self.homes.entry(home).or_insert(next);
        if ix == next {
            let counts = [BTreeMap::new(), BTreeMap::new(), BTreeMap::new()];
            self.at.push(At { home, counts, bindings: 0, peaks: VecDeque::new(), level: Level::Ample });
        }
        ix
    }

    fn replace(&mut self, now: Timestamp, party: PartyIx, before: Held, after: Held) {
        self.at[before.home.index()].count(before, -1);
        self.at[after.home.index()].count(after, 1);
        self.busy.remove(&(before.home, before.all(), party));
        if after.all() >= NAMED {
            self.busy.insert((after.home, after.all(), party));
        }
        if self.held.len() <= party.index() {
            self.held.resize(party.index() + 1, Held { home: before.home, sides: [0; 2] });
        }
        self.held[party.index()] = after;
        self.at[after.home.index()].note_peak(now);
    }
}

impl At {
    /// One party more or less that holds so much.
    fn count(&mut self, held: Held, by: i32) {
        for (counts, held) in self.counts.iter_mut().zip([held.all(), held.sides[0], held.sides[1]]) {
            count(counts, held, by);
        }
        self.bindings = self.bindings.saturating_add_signed(i64::from(by) * i64::from(held.all()));
    }

    fn note_peak(&mut self, now: Timestamp) {
        let (hour, peak) = (now.unix_microseconds().div_euclid(HOUR), most(&self.counts[0]));
        match self.peaks.back_mut() {
            Some((last, highest)) if *last == hour => *highest = peak.max(*highest),
            Some(_) | None => {
                self.peaks.push_back((hour, peak));
                if self.peaks.len() > HOURS {
                    self.peaks.pop_front();
                }
            }
        }
    }
}

impl HomeIx {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One binding on a side.
pub(super) const fn one(leg: LegName) -> [u32; 2] {
    match leg {
        LegName::A => [1, 0],
        LegName::B => [0, 1],
    }
}

fn level(load: &PlaceLoad, low_percent: u32) -> Level {
    let left = u64::from(load.numbers.saturating_sub(load.busiest));
    match left * 100 {
        0 => Level::Exhausted,
        share if share < u64::from(load.numbers) * u64::from(low_percent) => Level::Low,
        _ => Level::Ample,
    }
}

fn most(counts: &BTreeMap<u32, u32>) -> u32 {
    counts.last_key_value().map_or(0, |(&most, _)| most)
}

/// One party more or less that holds so many; nobody is counted for none.
fn count(counts: &mut BTreeMap<u32, u32>, held: u32, by: i32) {
    if held == 0 {
        return;
    }
    let parties = counts.entry(held).or_insert(0);
    *parties = parties.saturating_add_signed(by);
    if *parties == 0 {
        counts.remove(&held);
    }
}
