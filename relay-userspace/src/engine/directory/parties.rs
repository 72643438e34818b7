//! Parties by number instead of by name: every index of the directory holds
//! four bytes for a party, and its address stands here once, sealed.
//!
//! A party is found by the blind index of its address. Nothing here, and
//! nothing that refers to it, holds an address in clear; one is unsealed for
//! the call or the view that asks for it.

use std::sync::Arc;

use rand::Rng;

use super::model::PartyAddress;
use crate::engine::ids::PartyId;
use crate::engine::map::{HashKey, Index};
use crate::engine::privacy::{BlindIndex, SealedParty, Vault, VaultId};
use crate::engine::time::Timestamp;

/// Names one party while something refers to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PartyIx(u32);

/// All parties that bindings and rests refer to.
pub(super) struct Parties {
    vault: Arc<Vault>,
    by_index: Index,
    slots: Vec<Slot>,
    free: Vec<PartyIx>,
    /// Forgotten here, and not yet in the store.
    orphans: Vec<VaultId>,
    /// Whether there may be some that an earlier process erased.
    erased_before: bool,
}

struct Slot {
    party: SealedParty,
    /// Bindings and rests that refer to it; at zero the slot is free.
    uses: u32,
    /// Whether the store is known to have it.
    stored: bool,
}

/// A party under the newest epoch, before the store has it.
pub(super) struct Resealed(PartyIx, SealedParty);

impl Resealed {
    /// The record that the store is to have.
    pub(super) fn record(&self) -> SealedParty {
        self.1.clone()
    }
}

impl Parties {
    pub(super) const fn new(vault: Arc<Vault>, key: HashKey) -> Self {
        Self {
            vault,
            by_index: Index::new(key),
            slots: Vec::new(),
            free: Vec::new(),
            orphans: Vec::new(),
            erased_before: false,
        }
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, parties: usize) {
        self.slots.reserve(parties);
        self.by_index.reserve(parties);
    }

    /// The party at an address, if anything refers to it.
    pub(super) fn find(&self, address: &PartyAddress) -> Option<PartyIx> {
        let before = || self.at(self.vault.index_before(address));
        self.at(self.vault.index(address)).or_else(|| if self.erased_before { before() } else { None })
    }

    fn at(&self, index: BlindIndex) -> Option<PartyIx> {
        let has = |at: u32| self.slots.get(at as usize).is_some_and(|slot| slot.party.index == index);
        self.by_index.find(&index, has).map(PartyIx)
    }

    /// Notes one more use of the party at an address; and whether its address was not
    /// known before.
    pub(super) fn acquire(
        &mut self,
        address: &PartyAddress,
        now: Timestamp,
        random: &mut impl Rng,
    ) -> (PartyIx, bool) {
        if let Some(party) = self.find(address) {
            self.retain(party);
            let erased = self.is_erased(party);
            if erased {
                self.bring_back(party, address);
            }
            return (party, erased);
        }
        let party = self.vault.seal(VaultId::draw(now, random), address);
        (self.insert(Slot { party, uses: 1, stored: false }), true)
    }

    /// An erased person is here again: what is left of it is that person's.
    fn bring_back(&mut self, party: PartyIx, address: &PartyAddress) {
        let slot = &mut self.slots[party.index()];
        let before = slot.party.index;
        slot.party = self.vault.seal(slot.party.id, address);
        slot.stored = false;
        if slot.party.index != before {
            self.by_index.insert(&slot.party.index, party.0);
            self.by_index.remove(&before, party.0);
        }
    }

    /// Whether a party's address is forgotten.
    pub(super) fn is_erased(&self, party: PartyIx) -> bool {
        self.slots[party.index()].party.sealed.is_erased()
    }

    /// What is to be kept of a party.
    pub(super) fn erased(&self, party: PartyIx) -> SealedParty {
        self.vault.erase(&self.slots[party.index()].party)
    }

    /// The store has forgotten a party's address.
    pub(super) fn take_erased(&mut self, party: PartyIx, record: SealedParty) {
        let slot = &mut self.slots[party.index()];
        if slot.uses > 0 && slot.party.id == record.id {
            slot.party = record;
        }
    }

    /// Takes in a party that the store has and something refers to, and notes one
    /// use of it; `None` when another one is at its address, which a store never
    /// holds.
    pub(super) fn restore(&mut self, party: SealedParty) -> Option<PartyIx> {
        let free = self.at(party.index).is_none();
        self.erased_before |= party.sealed.is_erased();
        free.then(|| self.insert(Slot { party, uses: 1, stored: true }))
    }

    /// Notes a party that the store has and nothing refers to. The address may
    /// have a party of its own again.
    pub(super) fn orphan(&mut self, id: VaultId) {
        self.orphans.push(id);
    }

    fn insert(&mut self, slot: Slot) -> PartyIx {
        let index = slot.party.index;
        let party = if let Some(party) = self.free.pop() {
            self.slots[party.index()] = slot;
            party
        } else {
            let party = PartyIx(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
            self.slots.push(slot);
            party
        };
        self.by_index.insert(&index, party.0);
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
            self.by_index.remove(&slot.party.index, party.0);
            self.orphans.push(slot.party.id);
            self.free.push(party);
        }
    }

    /// Whether there are parties that the store should forget.
    pub(super) fn has_orphans(&self) -> bool {
        !self.orphans.is_empty()
    }

    /// Some of the parties that the store should forget.
    pub(super) fn take_orphans(&mut self, most: usize) -> Vec<VaultId> {
        let kept = self.orphans.len().saturating_sub(most);
        self.orphans.split_off(kept)
    }

    /// The record of a party that the store may not have.
    pub(super) fn unstored(&self, party: PartyIx) -> Option<SealedParty> {
        let slot = &self.slots[party.index()];
        // Under the newest epoch in any case: one that is being sealed anew would else
        // come back under the old one behind it.
        (!slot.stored).then(|| self.vault.reseal(&slot.party).unwrap_or_else(|| slot.party.clone()))
    }

    /// Notes that the store has a party.
    pub(super) fn set_stored(&mut self, party: PartyIx) {
        self.slots[party.index()].stored = true;
    }

    /// Whether nothing refers to anybody.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_index.len() == 0 && self.orphans.is_empty()
    }

    /// What seals new parties.
    pub(super) fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// Seals new parties by another vault, which opens those that there are.
    pub(super) fn set_vault(&mut self, vault: Arc<Vault>) {
        self.vault = vault;
    }

    /// Parties that something refers to.
    pub(super) fn len(&self) -> usize {
        self.by_index.len()
    }

    /// Parties that are not sealed under the newest epoch: those of the next
    /// `look` slots from `next` on, but no more than `most`, sealed under it; and
    /// where to go on, if that was not the end.
    pub(super) fn reseal(&self, next: usize, look: usize, most: usize) -> (Vec<Resealed>, Option<usize>) {
        let mut resealed = Vec::new();
        for at in next..self.slots.len().min(next.saturating_add(look)) {
            if resealed.len() == most {
                return (resealed, Some(at));
            }
            let slot = &self.slots[at];
            if slot.uses > 0
                && let Some(party) = self.vault.reseal(&slot.party)
            {
                resealed.push(Resealed(PartyIx(u32::try_from(at).unwrap_or(u32::MAX)), party));
            }
        }
        let end = next.saturating_add(look);
        (resealed, (end < self.slots.len()).then_some(end))
    }

    /// Whether this is still the party that something refers to.
    pub(super) fn is_there(&self, resealed: &Resealed) -> bool {
        let slot = &self.slots[resealed.0.index()];
        slot.uses > 0 && slot.party.id == resealed.1.id
    }

    /// The store has a party under a newer epoch.
    pub(super) fn take_resealed(&mut self, resealed: Resealed) {
        if self.is_there(&resealed) {
            let slot = &mut self.slots[resealed.0.index()];
            if slot.party.sealed.epoch() < resealed.1.sealed.epoch() {
                slot.party = resealed.1;
            }
            slot.stored = true;
        }
    }

    /// Parties that are not sealed under the newest epoch. Looks at all of them.
    pub(super) fn count_old(&self) -> usize {
        let newest = self.vault.newest();
        self.slots.iter().filter(|slot| slot.uses > 0 && slot.party.sealed.epoch() != newest).count()
    }

    /// A party's name in the store.
    pub(super) fn id(&self, party: PartyIx) -> VaultId {
        self.slots[party.index()].party.id
    }

    /// Where a party is, in clear; `None` when it was erased.
    pub(super) fn address(&self, party: PartyIx) -> Option<PartyAddress> {
        let SealedParty { id, sealed, .. } = &self.slots[party.index()].party;
        self.vault.unseal(*id, sealed)
    }

    /// Where a party is, as it may be shown.
    pub(super) fn masked(&self, party: PartyIx) -> String {
        self.address(party).map_or_else(|| "(erased)".to_owned(), |address| address.masked())
    }

    /// The party's name for a tenant.
    pub(super) fn pseudonym(&self, party: PartyIx, tenant: &str) -> PartyId {
        self.vault.pseudonym(self.id(party), tenant)
    }
}

impl PartyIx {
    /// Not after any other.
    pub(super) const FIRST: Self = Self(0);
    /// Not before any other.
    pub(super) const LAST: Self = Self(u32::MAX);

    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}
