//! Which binding holds a (number, party) pair: worked out from the bindings in the
//! store, which nobody else writes, and kept in memory.
//!
//! Rows of their own for pairs would double what a binding costs to write and to
//! keep, and say nothing that its record does not. A pair stands here as a keyed
//! hash and its binding as that half of its id that is drawn at random: sixteen
//! bytes. Should two pairs of a million bindings ever have one hash, which is not to
//! be expected in the life of a store, the second one is refused as a conflict.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::engine::directory::{Binding, PairClaim};
use crate::engine::ids::BindingId;

/// Every pair that is held.
#[derive(Default)]
pub struct Claims {
    key: RandomState,
    holders: Holders<u64>,
}

type Holders<T> = HashMap<u64, T>;

/// What a group changes about who holds what; `None` is nobody.
#[derive(Default)]
pub(super) struct Changed(Holders<Option<u64>>);

impl Changed {
    /// What came later counts.
    pub(super) fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }
}

impl Claims {
    /// Those of all bindings of a store.
    pub(super) fn of(bindings: &[Binding]) -> Self {
        let mut claims = Self::default();
        claims.holders.reserve(2 * bindings.len());
        for claim in bindings.iter().flat_map(Binding::claims) {
            claims.holders.insert(claims.pair(&claim), holder(claim.binding));
        }
        claims
    }

    /// Makes a group's changes.
    pub(super) fn take(&mut self, changed: Changed) {
        for (pair, holder) in changed.0 {
            match holder {
                Some(holder) => self.holders.insert(pair, holder),
                None => self.holders.remove(&pair),
            };
        }
    }

    /// What a transaction sees after those before it in its group.
    pub(super) fn after<'a>(&'a self, group: &'a Changed) -> ClaimsThen<'a> {
        ClaimsThen { before: self, group, changed: Changed::default() }
    }

    fn pair(&self, claim: &PairClaim) -> u64 {
        self.key.hash_one((claim.proxy, claim.party))
    }
}

/// The claims as a transaction finds and changes them.
pub(super) struct ClaimsThen<'a> {
    before: &'a Claims,
    group: &'a Changed,
    pub(super) changed: Changed,
}

impl ClaimsThen<'_> {
    /// `false` when another binding holds the pair.
    pub(super) fn claim(&mut self, claim: &PairClaim) -> bool {
        let (pair, wanted) = (self.before.pair(claim), holder(claim.binding));
        let free = self.holder(pair).is_none_or(|holder| holder == wanted);
        if free {
            self.changed.0.insert(pair, Some(wanted));
        }
        free
    }

    /// Frees a pair, if this binding holds it.
    pub(super) fn release(&mut self, claim: &PairClaim) {
        let pair = self.before.pair(claim);
        if self.holder(pair) == Some(holder(claim.binding)) {
            self.changed.0.insert(pair, None);
        }
    }

    fn holder(&self, pair: u64) -> Option<u64> {
        let changed = self.changed.0.get(&pair).or_else(|| self.group.0.get(&pair));
        changed.map_or_else(|| self.before.holders.get(&pair).copied(), |changed| *changed)
    }
}

/// The half of an id that is random in any case.
fn holder(binding: BindingId) -> u64 {
    let mut half = [0; 8];
    half.copy_from_slice(&binding.to_bits().to_be_bytes()[8..]);
    u64::from_be_bytes(half)
}
