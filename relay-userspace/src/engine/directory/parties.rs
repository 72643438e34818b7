//! Parties by number instead of by name: every index of the directory holds
//! four bytes for a party, and its address is stored once.

use std::collections::BTreeMap;

use super::model::{Extension, PartyAddress};
use crate::engine::number::PartyNumber;

/// Names one party while something refers to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartyIx(u32);

/// All parties that bindings and rests refer to.
#[derive(Default)]
pub(super) struct Parties {
    by_address: BTreeMap<Packed, PartyIx>,
    slots: Vec<Slot>,
    free: Vec<PartyIx>,
}

struct Slot {
    address: Packed,
    /// Bindings and rests that refer to it; at zero the slot is free.
    uses: u32,
}

/// [`PartyAddress`] in half its size.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Packed {
    Number(PartyNumber),
    Extension(Box<(String, Extension)>),
}

impl Packed {
    fn of(address: &PartyAddress) -> Self {
        match address {
            PartyAddress::Number(number) => Self::Number(*number),
            PartyAddress::Extension { trunk, user } => {
                Self::Extension(Box::new((trunk.clone(), user.clone())))
            }
        }
    }

    fn unpack(&self) -> PartyAddress {
        match self {
            Self::Number(number) => PartyAddress::Number(*number),
            Self::Extension(named) => {
                PartyAddress::Extension { trunk: named.0.clone(), user: named.1.clone() }
            }
        }
    }
}

impl Parties {
    /// The party at an address, if anything refers to it.
    pub(super) fn find(&self, address: &PartyAddress) -> Option<PartyIx> {
        self.by_address.get(&Packed::of(address)).copied()
    }

    /// Notes one more use of the party at an address.
    pub(super) fn acquire(&mut self, address: &PartyAddress) -> PartyIx {
        let packed = Packed::of(address);
        if let Some(&party) = self.by_address.get(&packed) {
            self.retain(party);
            return party;
        }
        let slot = Slot { address: packed.clone(), uses: 1 };
        let party = if let Some(party) = self.free.pop() {
            self.slots[party.index()] = slot;
            party
        } else {
            let party = PartyIx(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
            self.slots.push(slot);
            party
        };
        self.by_address.insert(packed, party);
        party
    }

    /// Notes one more use of a party.
    pub(super) fn retain(&mut self, party: PartyIx) {
        self.slots[party.index()].uses += 1;
    }

    /// Notes one use less, and forgets a party that nothing refers to.
    pub(super) fn release(&mut self, party: PartyIx) {
        let slot = &mut self.slots[party.index()];
        slot.uses = slot.uses.saturating_sub(1);
        if slot.uses == 0 {
            self.by_address.remove(&slot.address);
            self.free.push(party);
        }
    }

    /// Whether nothing refers to anybody.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// Where a party is.
    pub(super) fn address(&self, party: PartyIx) -> PartyAddress {
        self.slots[party.index()].address.unpack()
    }
}

impl PartyIx {
    /// Not after any other.
    pub(super) const FIRST: Self = Self(0);
    /// Not before any other.
    pub(super) const LAST: Self = Self(u32::MAX);

    const fn index(self) -> usize {
        self.0 as usize
    }
}
