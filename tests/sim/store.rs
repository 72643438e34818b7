//! The store: durable memory that answers late, sometimes fails, sometimes
//! refuses, and is all that survives a crash.
//!
//! It is also the reference for who holds which pair: it objects whenever what
//! the engine makes durable breaks the directory's one invariant.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use vizard::engine::audit::{self, Act, Anchor, Entry, Verifier};
use vizard::engine::call_record::{CallRecord, Snapshot};
use vizard::engine::cdr::Cdr;
use vizard::engine::directory::{self, Binding, PairRest, PartyAddress, PoolNumber};
use vizard::engine::ids::{BindingId, LegName, SessionId};
use vizard::engine::io::{Change, CommitId, Input, Transaction};
use vizard::engine::number::ProxyNumber;
use vizard::engine::privacy::{Keyring, SealedParty, Vault, VaultId};

use crate::dice::Dice;

/// A proxy number and the address that dials it.
pub(crate) type Pair = (ProxyNumber, PartyAddress);
/// The same as the engine's changes name it.
type StoredPair = (ProxyNumber, VaultId);

/// How the store misbehaves, of a thousand commits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreFaults {
    /// The longest time to an answer, in milliseconds.
    pub(crate) delay: u64,
    /// Failures; half of them after the write took place.
    pub(crate) failures: u32,
    /// Refusals, as if another node held a pair.
    pub(crate) conflicts: u32,
}

/// What is durable, and what waits to become so.
pub(crate) struct Store {
    /// How it misbehaves.
    pub(crate) faults: StoreFaults,
    dice: Dice,
    pending: VecDeque<(Duration, CommitId, Transaction)>,
    /// What the parties are sealed by.
    pub(crate) vault: Arc<Vault>,
    numbers: BTreeMap<ProxyNumber, PoolNumber>,
    parties: BTreeMap<VaultId, SealedParty>,
    addresses: BTreeMap<VaultId, PartyAddress>,
    /// Live bindings and tombstones.
    pub(crate) bindings: BTreeMap<BindingId, Binding>,
    /// Bindings whose commit the engine knows to be durable.
    pub(crate) acknowledged: BTreeSet<BindingId>,
    claims: BTreeMap<StoredPair, BindingId>,
    holders: BTreeMap<Pair, BindingId>,
    rests: BTreeMap<StoredPair, PairRest>,
    /// Calls in progress.
    pub(crate) calls: BTreeMap<SessionId, CallRecord>,
    /// Call detail records.
    pub(crate) cdrs: BTreeMap<(SessionId, LegName), Cdr>,
    /// The audit log, and what is told of its end elsewhere.
    audit: BTreeMap<u64, Entry>,
    anchor: Anchor,
    /// A write took place that the engine was told had failed.
    pub(crate) residue: bool,
    /// A commit was refused since the last start: the engine remembers its pairs,
    /// and thereby its parties, without being told so by the store.
    refused: bool,
}

impl Store {
    /// An empty one.
    pub(crate) fn new(faults: StoreFaults, dice: Dice) -> Self {
        let mut random = ChaCha8Rng::from_seed([7; 32]);
        let keyring = Keyring::generate(&mut random);
        let (vault, _) =
            Vault::open(&keyring, &[], &mut random).expect("a fresh keyring opens a fresh store");
        Self {
            faults,
            dice,
            pending: VecDeque::new(),
            vault: Arc::new(vault),
            numbers: BTreeMap::new(),
            parties: BTreeMap::new(),
            addresses: BTreeMap::new(),
            bindings: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            claims: BTreeMap::new(),
            holders: BTreeMap::new(),
            rests: BTreeMap::new(),
            calls: BTreeMap::new(),
            cdrs: BTreeMap::new(),
            audit: BTreeMap::new(),
            anchor: Anchor::default(),
            residue: false,
            refused: false,
        }
    }

    /// Takes a commit; says when it will answer.
    pub(crate) fn submit(&mut self, now: Duration, id: CommitId, transaction: Transaction) -> Duration {
        let delay = self.dice.millis(0, self.faults.delay + 1);
        let earliest = self.pending.back().map_or(Duration::ZERO, |(due, ..)| *due);
        let due = (now + delay).max(earliest);
        self.pending.push_back((due, id, transaction));
        due
    }

    /// Whether a commit is unanswered.
    pub(crate) fn busy(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Answers the oldest commit.
    pub(crate) fn answer(&mut self) -> Result<Option<Input>, String> {
        let Some((_, id, transaction)) = self.pending.pop_front() else { return Ok(None) };
        let claims = transaction.changes.iter().any(|change| matches!(change, Change::ClaimPair(_)));
        if self.dice.chance(self.faults.failures) {
            if self.dice.chance(500) && self.conflict(&transaction).is_none() {
                self.apply(&transaction)?;
                self.residue = true;
            }
            return Ok(Some(Input::CommitFailed(id, "the disk is full".into())));
        }
        if claims && self.dice.chance(self.faults.conflicts) {
            self.refused = true;
            return Ok(Some(Input::Conflict(id)));
        }
        if let Some(pair) = self.conflict(&transaction) {
            if self.residue {
                self.refused = true;
                return Ok(Some(Input::Conflict(id)));
            }
            return Err(format!("the engine claims {pair:?}, which another binding holds"));
        }
        self.apply(&transaction)?;
        for change in &transaction.changes {
            match change {
                Change::PutBinding(binding) => drop(self.acknowledged.insert(binding.id)),
                // It moves before anybody is told that the entry is durable.
                Change::PutAudit(entry) => self.anchor = Anchor::at(entry),
                _ => {}
            }
        }
        Ok(Some(Input::Committed(id)))
    }

    /// The process is killed: of what was unanswered, an unknown part is
    /// durable.
    pub(crate) fn crash(&mut self) -> Result<Snapshot, String> {
        let durable = self.dice.below(self.pending.len() + 1);
        let pending = std::mem::take(&mut self.pending);
        for (_, _, transaction) in pending.into_iter().take(durable) {
            if self.conflict(&transaction).is_none() {
                self.apply(&transaction)?;
            }
        }
        self.residue = false;
        self.refused = false;
        self.acknowledged = self.bindings.keys().copied().collect();
        Ok(Snapshot {
            directory: directory::Snapshot {
                agents: Vec::new(),
                numbers: self.numbers.values().cloned().collect(),
                parties: self.parties.values().cloned().collect(),
                bindings: self.bindings.values().cloned().collect(),
                rests: self.rests.values().copied().collect(),
                homes: Vec::new(),
                erasures: Vec::new(),
                guard: Vec::new(),
            },
            calls: self.calls.values().cloned().collect(),
            audit: audit::Snapshot {
                tail: self.audit.values().cloned().collect(),
                last: self.audit.keys().next_back().copied().unwrap_or(0),
                anchor: Some(self.anchor),
            },
        })
    }

    /// The audit log is whole, and nothing is written over.
    pub(crate) fn check_audit(&self) -> Result<(), String> {
        let mut verifier = Verifier::new(self.vault.notary(), Ok(self.anchor));
        for (seq, entry) in &self.audit {
            verifier.take(*seq, Ok(entry.clone()));
        }
        match verifier.finish() {
            whole if whole.found == 0 => Ok(()),
            broken => Err(format!("the audit log is not whole: {:?}", broken.findings)),
        }
    }

    /// Whether the audit log says that this was done to it.
    pub(crate) fn is_noted(&self, act: Act, on: &str) -> bool {
        self.audit.values().any(|entry| entry.act == act && entry.on == on)
    }

    fn put_audit(&mut self, entry: &Entry) -> Result<(), String> {
        match self.audit.insert(entry.seq, entry.clone()) {
            Some(before) if before != *entry => {
                Err(format!("audit entry {} is written over: {before:?} by {entry:?}", entry.seq))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Where a party is.
    pub(crate) fn address(&self, id: VaultId) -> Option<&PartyAddress> {
        self.addresses.get(&id)
    }

    fn pair(&self, proxy: ProxyNumber, party: VaultId) -> Result<Pair, String> {
        let address = self.address(party).ok_or_else(|| format!("{party:?} has no record"))?;
        Ok((proxy, address.clone()))
    }

    /// The binding that a caller and a dialled number belong to.
    pub(crate) fn binding_of(&self, pair: &Pair) -> Option<&Binding> {
        self.holders.get(pair).and_then(|id| self.bindings.get(id))
    }

    /// Nothing of any binding is left but memories of pairs.
    pub(crate) fn check_empty(&self) -> Result<(), String> {
        match self.claims.iter().next() {
            Some((pair, holder)) => Err(format!("{holder} is gone and still claims {pair:?}")),
            None => match self.calls.keys().next() {
                Some(session) => Err(format!("{session} is over and still in the journal")),
                None => self.check_parties(),
            },
        }
    }

    /// With all bindings gone, the parties that are left are those of memories.
    fn check_parties(&self) -> Result<(), String> {
        let remembered: BTreeSet<VaultId> = self.rests.values().map(|rest| rest.party).collect();
        match self.parties.keys().find(|id| !remembered.contains(id)) {
            Some(id) if !self.refused => Err(format!("nothing refers to {id:?}, and it is still there")),
            Some(_) | None => Ok(()),
        }
    }

    fn conflict(&self, transaction: &Transaction) -> Option<StoredPair> {
        let mut freed = BTreeSet::new();
        for change in &transaction.changes {
            match change {
                Change::ReleasePair(claim) => {
                    freed.insert((claim.proxy, claim.party));
                }
                Change::ClaimPair(claim) => {
                    let pair = (claim.proxy, claim.party);
                    let holder = self.claims.get(&pair).filter(|_| !freed.contains(&pair));
                    if holder.is_some_and(|holder| *holder != claim.binding) {
                        return Some(pair);
                    }
                }
                Change::PutNumbers(_)
                | Change::DeleteNumber(_)
                | Change::PutParty(_)
                | Change::DeleteParty(_)
                | Change::PutBinding(_)
                | Change::DeleteBinding(_)
                | Change::PutRest(_)
                | Change::DeleteRest(_)
                | Change::PutCall(_)
                | Change::DeleteCall(_)
                | Change::PutCdr(_)
                | Change::PutGuard(_)
                | Change::PutAgent(_)
                | Change::DeleteAgent(_)
                | Change::DeleteGuard(_)
                | Change::BeginEpoch(_)
                | Change::EndEpochs(_)
                | Change::PutAudit(_)
                | Change::DropCdrs { .. }
                | Change::PutErasure(_)
                | Change::DeleteErasure(_) => {}
            }
        }
        None
    }

    fn apply(&mut self, transaction: &Transaction) -> Result<(), String> {
        for change in &transaction.changes {
            match change {
                Change::PutNumbers(numbers) => {
                    self.numbers.extend(numbers.iter().map(|number| (number.number, number.clone())));
                }
                Change::DeleteNumber(number) => {
                    self.numbers.remove(number);
                }
                Change::PutParty(party) => self.put_party(party)?,
                Change::DeleteParty(id) => {
                    self.parties.remove(id);
                    self.addresses.remove(id);
                }
                Change::PutBinding(binding) => self.put_binding(binding)?,
                Change::DeleteBinding(id) => self.forget_binding(*id),
                Change::ClaimPair(claim) => {
                    self.claims.insert((claim.proxy, claim.party), claim.binding);
                }
                Change::ReleasePair(claim) => {
                    let pair = (claim.proxy, claim.party);
                    if self.claims.get(&pair) == Some(&claim.binding) {
                        self.claims.remove(&pair);
                    }
                }
                Change::PutRest(rest) => {
                    self.rests.insert((rest.proxy, rest.party), *rest);
                }
                Change::DeleteRest(rest) => {
                    self.rests.remove(&(rest.proxy, rest.party));
                }
                Change::PutCall(call) => self.put_call(call)?,
                Change::DeleteCall(session) => {
                    self.calls.remove(session);
                }
                Change::PutCdr(cdr) => self.put_cdr(cdr)?,
                Change::BeginEpoch(epoch) => self.vault = Arc::clone(&epoch.vault),
                Change::EndEpochs(before) => self.vault = Arc::new(self.vault.without_before(*before)),
                Change::PutAudit(entry) => self.put_audit(entry)?,
                Change::DropCdrs { .. } => return Err("records are kept for ever".into()),
                Change::PutErasure(_) | Change::DeleteErasure(_) => {
                    return Err("nobody asked to be erased".into());
                }
                Change::PutGuard(_)
                | Change::DeleteGuard(_)
                | Change::PutAgent(_)
                | Change::DeleteAgent(_) => {
                    return Err("nobody has asked for a rule or an agent number".into());
                }
            }
        }
        self.check_claims(transaction)
    }

    fn put_party(&mut self, party: &SealedParty) -> Result<(), String> {
        let address = self.vault.unseal(party.id, &party.sealed);
        let address = address.ok_or_else(|| format!("{party:?} cannot be unsealed"))?;
        self.addresses.insert(party.id, address);
        self.parties.insert(party.id, party.clone());
        Ok(())
    }

    fn put_binding(&mut self, binding: &Binding) -> Result<(), String> {
        self.forget_binding(binding.id);
        for party in [&binding.customer, &binding.agent] {
            let pair = self.pair(party.proxy, party.id)?;
            if !self.numbers.contains_key(&party.proxy) {
                return Err(format!("{} shows {}, which is not in the pool", binding.id, party.proxy));
            }
            if let Some(other) = self.holders.insert(pair, binding.id) {
                return Err(format!(
                    "{} and {other} share the pair of {} and {:?}",
                    binding.id, party.proxy, party.id
                ));
            }
        }
        self.bindings.insert(binding.id, binding.clone());
        Ok(())
    }

    fn forget_binding(&mut self, id: BindingId) {
        self.bindings.remove(&id);
        self.holders.retain(|_, holder| *holder != id);
    }

    /// A call is in progress or recorded, never both.
    fn put_call(&mut self, call: &CallRecord) -> Result<(), String> {
        let recorded = self.cdrs.get(&(call.session, LegName::A));
        if recorded.is_some_and(|cdr| cdr.interim.is_none()) {
            return Err(format!("{} is recorded and goes on", call.session));
        }
        self.calls.insert(call.session, call.clone());
        Ok(())
    }

    fn put_cdr(&mut self, cdr: &Cdr) -> Result<(), String> {
        match self.cdrs.insert((cdr.session, cdr.leg), cdr.clone()) {
            // What was recorded of a call that went on is replaced, and says less.
            Some(before) if before.interim.is_some() && before.billable_seconds <= cdr.billable_seconds => {
                Ok(())
            }
            Some(before) if before != *cdr => Err(format!(
                "two records of leg {} of {} differ: {before:?} and {cdr:?}",
                cdr.leg, cdr.session
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// What is bound must be claimed too, or another node could take it.
    fn check_claims(&self, transaction: &Transaction) -> Result<(), String> {
        for change in &transaction.changes {
            let Change::PutBinding(binding) = change else { continue };
            for party in [&binding.customer, &binding.agent] {
                let holder = self.claims.get(&(party.proxy, party.id));
                if self.bindings.contains_key(&binding.id) && holder != Some(&binding.id) {
                    return Err(format!("{} holds a pair of {} without a claim", binding.id, party.proxy));
                }
            }
        }
        Ok(())
    }
}
