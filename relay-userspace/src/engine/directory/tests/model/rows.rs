//! What a store holds, as plain maps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;

/// A pair as the store names it.
type StoredPair = (ProxyNumber, VaultId);
/// Who has a pair, and on which side.
pub(super) type Owners<'a> = BTreeMap<(ProxyNumber, &'a PartyAddress), Owner<'a>>;
type Owner<'a> = (&'a Binding, LegName);

/// What a store holds.
#[derive(Clone)]
pub(super) struct Rows {
    /// Opens everything in it.
    pub(super) vault: Arc<Vault>,
    pub(super) data_keys: BTreeMap<Epoch, WrappedKey>,
    pub(super) numbers: BTreeMap<ProxyNumber, PoolNumber>,
    pub(super) parties: BTreeMap<VaultId, SealedParty>,
    pub(super) addresses: BTreeMap<VaultId, PartyAddress>,
    pub(super) bindings: BTreeMap<BindingId, Binding>,
    pub(super) agents: BTreeMap<ProxyNumber, AgentNumber>,
    pub(super) pairs: BTreeMap<StoredPair, BindingId>,
    pub(super) rests: BTreeMap<StoredPair, Timestamp>,
    pub(super) erased: BTreeSet<VaultId>,
    pub(super) erasures: BTreeMap<ErasureId, Erasure>,
}

impl Rows {
    pub(super) fn new(vault: &Arc<Vault>, data_key: WrappedKey) -> Self {
        Self {
            vault: Arc::clone(vault),
            data_keys: BTreeMap::from([(data_key.epoch, data_key)]),
            numbers: BTreeMap::new(),
            parties: BTreeMap::new(),
            addresses: BTreeMap::new(),
            bindings: BTreeMap::new(),
            agents: BTreeMap::new(),
            pairs: BTreeMap::new(),
            rests: BTreeMap::new(),
            erased: BTreeSet::new(),
            erasures: BTreeMap::new(),
        }
    }

    pub(super) fn sealed_before(&self, epoch: Epoch) -> usize {
        self.parties.values().filter(|party| party.sealed.epoch() < epoch).count()
    }

    pub(super) fn apply(&mut self, transaction: &Transaction) {
        for change in &transaction.changes {
            match change.clone() {
                Stored::PutNumbers(numbers) => {
                    self.numbers.extend(numbers.iter().map(|number| (number.number, number.clone())));
                }
                Stored::DeleteNumber(number) => drop(self.numbers.remove(&number)),
                Stored::PutParty(party) => {
                    if let Some(address) = self.vault.unseal(party.id, &party.sealed) {
                        self.addresses.insert(party.id, address);
                        self.erased.remove(&party.id);
                    } else {
                        // The model remembers what the store forgets.
                        assert!(party.sealed.is_erased(), "a party cannot be unsealed");
                        self.erased.insert(party.id);
                    }
                    self.parties.insert(party.id, party);
                }
                Stored::DeleteParty(id) => {
                    self.parties.remove(&id);
                    self.addresses.remove(&id);
                    self.erased.remove(&id);
                }
                Stored::PutAgent(agent) => drop(self.agents.insert(agent.number, agent)),
                Stored::DeleteAgent(number) => drop(self.agents.remove(&number)),
                Stored::PutBinding(binding) => drop(self.bindings.insert(binding.id, binding)),
                Stored::DeleteBinding(id) => drop(self.bindings.remove(&id)),
                Stored::ClaimPair(claim) => {
                    let holder = *self.pairs.entry((claim.proxy, claim.party)).or_insert(claim.binding);
                    assert_eq!(holder, claim.binding, "a pair was claimed for a second binding");
                }
                Stored::ReleasePair(claim) => {
                    let pair = (claim.proxy, claim.party);
                    if self.pairs.get(&pair) == Some(&claim.binding) {
                        self.pairs.remove(&pair);
                    }
                }
                Stored::PutRest(rest) => drop(self.rests.insert((rest.proxy, rest.party), rest.since)),
                Stored::DeleteRest(rest) => drop(self.rests.remove(&(rest.proxy, rest.party))),
                Stored::PutCall(_) | Stored::DeleteCall(_) | Stored::PutCdr(_) | Stored::DropCdrs { .. } => {
                    panic!("the directory writes nothing about calls")
                }
                Stored::PutGuard(_) | Stored::DeleteGuard(_) => panic!("the directory guards nothing"),
                Stored::BeginEpoch(epoch) => {
                    self.vault = Arc::clone(&epoch.vault);
                    self.data_keys.insert(epoch.wrapped.epoch, epoch.wrapped.clone());
                }
                Stored::PutErasure(erasure) => drop(self.erasures.insert(erasure.id, *erasure)),
                Stored::DeleteErasure(id) => drop(self.erasures.remove(&id)),
                Stored::EndEpochs(before) => {
                    self.vault = Arc::new(self.vault.without_before(before));
                    self.data_keys = self.data_keys.split_off(&before);
                }
                Stored::PutAudit(_) => panic!("the directory keeps no log"),
            }
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let rest = |(pair, since): (&StoredPair, &Timestamp)| PairRest {
            proxy: pair.0,
            party: pair.1,
            since: *since,
        };
        Snapshot {
            numbers: self.numbers.values().cloned().collect(),
            parties: self.parties.values().cloned().collect(),
            bindings: self.bindings.values().cloned().collect(),
            agents: self.agents.values().cloned().collect(),
            rests: self.rests.iter().map(rest).collect(),
            erasures: self.erasures.values().cloned().collect(),
            homes: Vec::new(),
            guard: Vec::new(),
        }
    }

    pub(super) fn address(&self, id: VaultId) -> &PartyAddress {
        self.addresses.get(&id).expect("what is referred to is there")
    }

    /// Everything that refers to a party finds it, and an address has one party
    /// that anything refers to.
    pub(super) fn check_parties(&self) {
        let bound = self.bindings.values().flat_map(Binding::claims).map(|claim| claim.party);
        let named = bound.chain(self.pairs.keys().chain(self.rests.keys()).map(|pair| pair.1));
        let named: BTreeSet<VaultId> = named
            .chain(self.agents.values().flat_map(|agent| agent.also.iter().copied().chain([agent.agent])))
            .collect();
        let addresses: BTreeSet<&PartyAddress> = named.iter().map(|id| self.address(*id)).collect();
        assert_eq!(addresses.len(), named.len(), "an address has two parties");
    }

    /// Whom each pair belongs to, by looking at every binding.
    pub(super) fn owners(&self) -> Owners<'_> {
        let mut owners = Owners::new();
        for binding in self.bindings.values() {
            for (party, also, leg) in [
                (&binding.customer, &binding.also[0], LegName::A),
                (&binding.agent, &binding.also[1], LegName::B),
            ] {
                for id in also.iter().chain([&party.id]) {
                    let before = owners.insert((party.proxy, self.address(*id)), (binding, leg));
                    assert!(before.is_none(), "a pair belongs to two bindings");
                }
            }
        }
        owners
    }
}
