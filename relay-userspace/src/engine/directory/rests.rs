//! Freed pairs: in cool-off at first, familiar afterwards, forgotten at last.

use std::collections::{BTreeMap, BTreeSet};

use super::numbers::NumberIx;
use super::parties::PartyIx;
use crate::engine::time::Timestamp;

/// A freed pair and when it was freed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rest {
    pub(super) since: Timestamp,
    pub(super) party: PartyIx,
    pub(super) number: NumberIx,
}

/// All freed pairs that are remembered.
#[derive(Default)]
pub(super) struct Rests {
    since: BTreeMap<(PartyIx, NumberIx), Timestamp>,
    /// By age; without those whose removal is being committed.
    by_age: BTreeSet<Rest>,
}

impl Rests {
    pub(super) fn len(&self) -> usize {
        self.since.len()
    }

    /// Those that were freed before this time.
    pub(super) fn older_than(&self, time: Timestamp) -> usize {
        self.by_age.iter().take_while(|rest| rest.since < time).count()
    }

    /// Those that are not being removed.
    pub(super) fn ageing(&self) -> usize {
        self.by_age.len()
    }

    /// Remembers a pair; `true` when it was not remembered before.
    pub(super) fn put(&mut self, rest: Rest) -> bool {
        let Rest { since, party, number } = rest;
        let before = self.since.insert((party, number), since);
        if let Some(since) = before {
            self.by_age.remove(&Rest { since, ..rest });
        }
        self.by_age.insert(rest);
        before.is_none()
    }

    /// Takes a pair out of the ageing, before its removal is committed.
    pub(super) fn withhold(&mut self, rest: &Rest) {
        self.by_age.remove(rest);
    }

    /// Forgets a pair unless it was freed anew; `true` when it was forgotten.
    pub(super) fn remove(&mut self, rest: &Rest) -> bool {
        let pair = (rest.party, rest.number);
        self.since.get(&pair) == Some(&rest.since) && self.since.remove(&pair).is_some()
    }

    /// When a pair was freed.
    pub(super) fn since(&self, party: PartyIx, number: NumberIx) -> Option<Timestamp> {
        self.since.get(&(party, number)).copied()
    }

    /// The numbers that a party has seen, and when each was freed.
    pub(super) fn of(&self, party: PartyIx) -> impl Iterator<Item = (NumberIx, Timestamp)> {
        let range = (party, NumberIx::FIRST)..=(party, NumberIx::LAST);
        self.since.range(range).map(|(&(_, number), &since)| (number, since))
    }

    /// The pair that was freed first.
    pub(super) fn oldest(&self) -> Option<Rest> {
        self.by_age.first().copied()
    }
}
