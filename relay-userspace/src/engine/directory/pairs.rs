//! Every (number, party) pair that is live, entombed or reserved, and the one
//! binding that it belongs to: by the pair for calls, by the party for those who
//! want to know what it holds.

use std::collections::BTreeMap;

use super::bindings::{BindingIx, Bindings, Side};
use super::numbers::NumberIx;
use super::parties::PartyIx;
use crate::engine::map::{HashKey, Index};

/// All pairs.
pub(super) struct Pairs {
    by_pair: Index,
    by_party: BTreeMap<(PartyIx, NumberIx), BindingIx>,
}

impl Pairs {
    pub(super) const fn new(key: HashKey) -> Self {
        Self { by_pair: Index::new(key), by_party: BTreeMap::new() }
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, pairs: usize) {
        self.by_pair.reserve(pairs);
    }

    /// The binding of a pair, which stands in `bindings`.
    pub(super) fn find(&self, pair: Side, bindings: &Bindings) -> Option<BindingIx> {
        let has =
            |at: u32| bindings.get(BindingIx::from(at)).is_some_and(|record| record.leg_of(pair).is_some());
        self.by_pair.find(&pair, has).map(BindingIx::from)
    }

    /// Whether a pair belongs to a binding.
    pub(super) fn contains(&self, pair: Side) -> bool {
        self.by_party.contains_key(&(pair.party, pair.number))
    }

    pub(super) fn insert(&mut self, pair: Side, binding: BindingIx) {
        self.by_pair.insert(&pair, binding.into());
        self.by_party.insert((pair.party, pair.number), binding);
    }

    pub(super) fn remove(&mut self, pair: Side) {
        if let Some(binding) = self.by_party.remove(&(pair.party, pair.number)) {
            self.by_pair.remove(&pair, binding.into());
        }
    }

    /// The numbers that a party has, and their bindings.
    pub(super) fn of(&self, party: PartyIx) -> impl Iterator<Item = (NumberIx, BindingIx)> {
        let range = (party, NumberIx::FIRST)..=(party, NumberIx::LAST);
        self.by_party.range(range).map(|(&(_, number), &binding)| (number, binding))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_pair.len() == 0 && self.by_party.is_empty()
    }
}
