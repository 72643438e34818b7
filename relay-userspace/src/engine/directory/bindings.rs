//! Bindings in memory: records without repetition, and the indices to them.
//!
//! A million of them must fit, so a record names its parties, its numbers and
//! its owner by four bytes each and carries no text but its key.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::model::{BindingKind, BindingState};
use super::numbers::NumberIx;
use super::parties::PartyIx;
use super::usage::Usage;
use crate::engine::config::Encryption;
use crate::engine::ids::{BindingId, LegName};
use crate::engine::map::{HashKey, Index};
use crate::engine::time::Timestamp;

/// Names one record while it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BindingIx(u32);

/// Names a tenant and project.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnerIx(u32);

/// One side of a binding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Side {
    pub(super) party: PartyIx,
    pub(super) number: NumberIx,
}

/// One binding.
pub(super) struct Record {
    pub(super) id: BindingId,
    pub(super) owner: OwnerIx,
    pub(super) kind: BindingKind,
    pub(super) key: Box<str>,
    pub(super) customer: Side,
    pub(super) agent: Side,
    pub(super) created: Timestamp,
    pub(super) state: BindingState,
    pub(super) encryption: Option<Encryption>,
    /// Absent where it may be used in every way and has no tags, as most may.
    pub(super) special: Option<Box<Special>>,
    /// Calls in progress.
    pub(super) calls: u32,
    pub(super) stage: Stage,
    pub(super) change: Change,
}

/// What most bindings do without.
pub(super) struct Special {
    pub(super) usage: Usage,
    pub(super) tags: Vec<String>,
    /// Further addresses of the customer and of the agent.
    pub(super) also: [Box<[PartyIx]>; 2],
    /// When it was used last, as far as this process knows.
    pub(super) active: Timestamp,
}

impl Special {
    /// Of a binding; nothing where it has nothing special.
    pub(super) fn of(
        usage: Usage,
        tags: &[String],
        also: [Vec<PartyIx>; 2],
        active: Timestamp,
    ) -> Option<Box<Self>> {
        let special =
            usage != Usage::default() || !tags.is_empty() || also.iter().any(|also| !also.is_empty());
        let also = also.map(Vec::into_boxed_slice);
        special.then(|| Box::new(Self { usage, tags: tags.to_vec(), also, active }))
    }
}

impl Record {
    /// How it may be used.
    pub(super) fn usage(&self) -> Usage {
        self.special.as_ref().map(|special| special.usage).unwrap_or_default()
    }

    /// Further addresses of a side's party.
    pub(super) fn also(&self, leg: LegName) -> &[PartyIx] {
        let at = match leg {
            LegName::A => 0,
            LegName::B => 1,
        };
        self.special.as_ref().map_or(&[], |special| &special.also[at])
    }

    /// Every pair that it holds, and on which side.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (LegName, Side)> {
        LegName::BOTH.into_iter().flat_map(|leg| {
            let side = self.side(leg);
            let also = self.also(leg).iter().map(move |&party| Side { party, ..side });
            std::iter::once(side).chain(also).map(move |side| (leg, side))
        })
    }

    /// Which side a party with a number has; none while a handover to it is under
    /// way.
    pub(super) fn leg_of(&self, pair: Side) -> Option<LegName> {
        self.pairs().find(|(_, side)| *side == pair).map(|(leg, _)| leg)
    }

    /// Its owner's own words for it.
    pub(super) fn tags(&self) -> &[String] {
        self.special.as_ref().map_or(&[], |special| &special.tags)
    }

    /// When time changes it: a live binding that may not be idle for long ends
    /// before its time, unless it is in use.
    pub(super) fn ends(&self) -> Timestamp {
        let unused = self.special.as_ref().filter(|_| self.calls == 0);
        let idle = unused.and_then(|special| Some(special.active + special.usage.idle?));
        match self.state {
            BindingState::Live { expires } => idle.map_or(expires, |idle| idle.min(expires)),
            BindingState::Entombed { until, .. } => until,
        }
    }
}

/// What calls and lists see of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its creation is not durable: it reserves its pairs and nobody sees it.
    Reserved,
    /// It is what its state says.
    Settled,
    /// Its time is over, and it waits for its calls to end: new ones do not
    /// connect.
    Closing,
}

/// Whether a change to a record is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// No.
    None,
    /// The store has it.
    Committing,
    /// The store failed, and what it holds is unknown until a compensating
    /// transaction is through.
    Doubtful,
}

/// All bindings.
pub(super) struct Bindings {
    records: Vec<Option<Record>>,
    free: Vec<BindingIx>,
    by_id: BTreeMap<BindingId, BindingIx>,
    /// By the text of the key alone: tenants and kinds have their own.
    by_key: Index,
    owners: Vec<(Arc<str>, Arc<str>)>,
    owner_of: BTreeMap<(Arc<str>, Arc<str>), OwnerIx>,
}

impl Bindings {
    pub(super) const fn new(key: HashKey) -> Self {
        Self {
            records: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            by_key: Index::new(key),
            owners: Vec::new(),
            owner_of: BTreeMap::new(),
        }
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, bindings: usize) {
        self.records.reserve(bindings);
        self.by_key.reserve(bindings);
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn find(&self, id: BindingId) -> Option<BindingIx> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn with_key(&self, tenant: &str, kind: BindingKind, key: &str) -> Option<BindingIx> {
        let has = |at: u32| {
            let record = self.get(BindingIx(at));
            record.is_some_and(|record| {
                *record.key == *key && record.kind == kind && self.owner(record.owner).0 == tenant
            })
        };
        self.by_key.find(key, has).map(BindingIx)
    }

    pub(super) fn get(&self, ix: BindingIx) -> Option<&Record> {
        self.records.get(ix.index())?.as_ref()
    }

    pub(super) fn get_mut(&mut self, ix: BindingIx) -> Option<&mut Record> {
        self.records.get_mut(ix.index())?.as_mut()
    }

    /// Tenant and project.
    pub(super) fn owner(&self, owner: OwnerIx) -> (&str, &str) {
        let (tenant, project) = &self.owners[owner.0 as usize];
        (tenant, project)
    }

    /// The short name of a tenant and project.
    pub(super) fn intern(&mut self, tenant: &str, project: &str) -> OwnerIx {
        let named: (Arc<str>, Arc<str>) = (tenant.into(), project.into());
        if let Some(&owner) = self.owner_of.get(&named) {
            return owner;
        }
        let owner = OwnerIx(u32::try_from(self.owners.len()).unwrap_or(u32::MAX));
        self.owners.push(named.clone());
        self.owner_of.insert(named, owner);
        owner
    }

    pub(super) fn insert(&mut self, record: Record) -> BindingIx {
        let ix = self
            .free
            .pop()
            .unwrap_or_else(|| BindingIx(u32::try_from(self.records.len()).unwrap_or(u32::MAX)));
        self.by_id.insert(record.id, ix);
        self.by_key.insert(&*record.key, ix.0);
        if ix.index() == self.records.len() {
            self.records.push(Some(record));
        } else {
            self.records[ix.index()] = Some(record);
        }
        ix
    }

    pub(super) fn remove(&mut self, ix: BindingIx) -> Option<Record> {
        let record = self.records.get_mut(ix.index())?.take()?;
        self.by_id.remove(&record.id);
        self.by_key.remove(&*record.key, ix.0);
        self.free.push(ix);
        Some(record)
    }

    /// Records after an id, in the order of ids.
    pub(super) fn after(&self, after: Option<BindingId>) -> impl Iterator<Item = (BindingIx, &Record)> {
        let from = after.map_or(Unbounded, Excluded);
        self.by_id.range((from, Unbounded)).filter_map(|(_, &ix)| Some((ix, self.get(ix)?)))
    }

    /// Records with a key, of whatever tenant and kind, in the order of ids.
    pub(super) fn keyed(&self, key: &str) -> Vec<(BindingIx, &Record)> {
        let candidates = self.by_key.candidates(key).map(BindingIx);
        let records = candidates.filter_map(|ix| Some((ix, self.get(ix)?)));
        let mut found: Vec<_> = records.filter(|(_, record)| *record.key == *key).collect();
        found.sort_by_key(|(_, record)| record.id);
        found
    }
}

impl From<u32> for BindingIx {
    fn from(place: u32) -> Self {
        Self(place)
    }
}

impl From<BindingIx> for u32 {
    fn from(BindingIx(place): BindingIx) -> Self {
        place
    }
}

impl BindingIx {
    const fn index(self) -> usize {
        self.0 as usize
    }
}
