//! What may be asked of the pool, and what it answers.
//!
//! Nothing here is long work in one piece: a page looks at a bounded number of
//! numbers and says where to go on, and an import comes in chunks.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::model::{NumberKind, NumberState, NumberTraits, PoolNumber};
use super::plan::PlaceLoad;
use crate::engine::money::Currency;
use crate::engine::number::{Country, ProxyNumber};
use crate::engine::time::Timestamp;

/// Lines that one chunk of an import may have: what is checked in one turn.
pub const IMPORT_LINES: usize = 500;

/// A request about the pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "pool")]
pub enum PoolRequest {
    /// Add numbers.
    Add {
        /// All or none of them.
        numbers: Vec<NewNumber>,
    },
    /// The numbers that match, with their load, in order.
    List {
        /// Which.
        filter: PoolFilter,
        /// Continue after this number.
        after: Option<ProxyNumber>,
        /// At most so many rows.
        limit: usize,
    },
    /// One number.
    Show {
        /// Which.
        number: ProxyNumber,
    },
    /// Sums over the numbers after one.
    Stats {
        /// Continue after this number.
        after: Option<ProxyNumber>,
    },
    /// How many numbers are needed where, and how many there are.
    Plan,
    /// Take numbers out of the pool that no binding has.
    Remove {
        /// All or none of them.
        numbers: Vec<ProxyNumber>,
    },
    /// Change what may be done with numbers.
    SetState {
        /// All or none of them.
        numbers: Vec<ProxyNumber>,
        /// What they become.
        to: NumberState,
    },
    /// Begin an import.
    ImportBegin {
        /// Whether numbers that are there with other properties take those of
        /// the file; they are a mistake otherwise.
        update: bool,
    },
    /// Lines of an import: they are checked, and kept aside.
    ImportLines {
        /// Which.
        import: u64,
        /// At most [`IMPORT_LINES`].
        lines: Vec<ImportLine>,
    },
    /// All lines were sent.
    ImportEnd {
        /// Which.
        import: u64,
        /// Whether the good lines join the pool, all in one transaction, or
        /// everything is forgotten.
        keep: bool,
    },
}

/// A number to add to the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewNumber {
    /// The number; its country follows from it.
    pub number: ProxyNumber,
    /// What it does not say of itself.
    #[serde(flatten)]
    pub traits: NumberTraits,
}

impl NewNumber {
    /// A local number that takes calls.
    #[must_use]
    pub fn local(number: ProxyNumber) -> Self {
        Self { number, traits: NumberTraits::default() }
    }
}

/// One line of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportLine {
    /// Where it stands in the file, counted from one.
    pub line: u64,
    /// What the file calls its country, to be held against the number.
    pub country: Option<Country>,
    /// What it becomes, in place of what the number's properties say; absent, it
    /// stays what it is, or becomes active.
    pub state: Option<NumberState>,
    /// The number.
    pub number: NewNumber,
}

/// A line that was not taken, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineProblem {
    /// Where it stands in the file, counted from one.
    pub line: u64,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub remedy: String,
}

/// Which numbers are meant. An empty filter means all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolFilter {
    /// Of this country.
    pub country: Option<Country>,
    /// Of this region or state, upper or lower case.
    pub region: Option<String>,
    /// Of this city or exchange, upper or lower case.
    pub locality: Option<String>,
    /// Of this kind.
    pub kind: Option<NumberKind>,
    /// In this state.
    pub state: Option<NumberState>,
    /// That take texts.
    pub sms: bool,
    /// Delivered by this trunk.
    pub trunk: Option<String>,
    /// Leased by this carrier.
    pub carrier: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// In no binding.
    pub idle: bool,
}

impl PoolFilter {
    /// Whether a number with so many bindings is meant.
    #[must_use]
    pub fn matches(&self, number: &PoolNumber, bindings: usize) -> bool {
        let traits = &number.traits;
        let same = |wanted: Option<&String>, text: Option<&String>| {
            wanted.is_none_or(|wanted| text.is_some_and(|text| text.eq_ignore_ascii_case(wanted)))
        };
        self.country.is_none_or(|country| number.country == country)
            && same(self.region.as_ref(), traits.region.as_ref())
            && same(self.locality.as_ref(), traits.locality.as_ref())
            && self.kind.is_none_or(|kind| traits.kind == kind)
            && self.state.is_none_or(|state| traits.state == state)
            && (traits.sms || !self.sms)
            && same(self.trunk.as_ref(), traits.trunk.as_ref())
            && same(self.carrier.as_ref(), traits.carrier.as_ref())
            && self.tag.as_ref().is_none_or(|tag| traits.tags.contains(tag))
            && (bindings == 0 || !self.idle)
    }
}

/// The answer to a [`PoolRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "pool", content = "is")]
pub enum PoolReply {
    /// To [`PoolRequest::Add`].
    Added {
        /// New numbers.
        added: usize,
        /// Numbers that were there already, unchanged.
        known: usize,
    },
    /// To [`PoolRequest::List`].
    Page(PoolPage),
    /// To [`PoolRequest::Show`].
    Number(PoolRow),
    /// To [`PoolRequest::Stats`].
    Stats(PoolStats),
    /// To [`PoolRequest::Plan`].
    Plan {
        /// Each place that has parties.
        places: Vec<PlaceLoad>,
        /// Bindings that one number may have; zero is no cap.
        cap: u32,
    },
    /// To [`PoolRequest::Remove`]: how many.
    Removed(usize),
    /// To [`PoolRequest::SetState`].
    StateSet {
        /// What they are now.
        to: NumberState,
        /// Those that were something else.
        changed: usize,
        /// Those that were it already.
        known: usize,
    },
    /// To [`PoolRequest::ImportBegin`]: how the import is named.
    ImportBegun(u64),
    /// To [`PoolRequest::ImportLines`]: those that are not taken.
    ImportChecked(Vec<LineProblem>),
    /// To [`PoolRequest::ImportEnd`].
    Imported(ImportCounts),
}

/// What became of an import's good lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportCounts {
    /// New numbers.
    pub added: usize,
    /// Numbers whose properties changed.
    pub updated: usize,
    /// Numbers that were there already, unchanged.
    pub known: usize,
}

/// Some rows, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolPage {
    /// The rows.
    pub rows: Vec<PoolRow>,
    /// There may be more after this number.
    pub next: Option<ProxyNumber>,
}

/// A pool number and its load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRow {
    /// The number.
    #[serde(flatten)]
    pub number: PoolNumber,
    /// Live bindings that show it.
    pub live: usize,
    /// Tombstones that reserve it.
    pub entombed: usize,
    /// When a binding last gave it back.
    pub released: Option<Timestamp>,
}

/// Sums over a part of the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStats {
    /// By country, region and kind.
    pub groups: Vec<PoolGroup>,
    /// There may be more after this number.
    pub next: Option<ProxyNumber>,
}

/// Numbers of one place and kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolGroup {
    /// Their country.
    pub country: Country,
    /// Their region or state.
    pub region: Option<String>,
    /// Their kind.
    pub kind: NumberKind,
    /// What they sum up to.
    #[serde(flatten)]
    pub sums: PoolSums,
}

/// What numbers sum up to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSums {
    /// How many there are.
    pub numbers: usize,
    /// How many are in each state, in the order of [`NumberState::ALL`].
    pub states: [usize; 4],
    /// Active ones in no binding.
    pub idle: usize,
    /// Live bindings' sides that show them.
    pub live: usize,
    /// Tombstones' sides that reserve them.
    pub entombed: usize,
    /// Live bindings and tombstones of the number that has most.
    pub busiest: usize,
    /// What they cost a month.
    pub monthly_cost: BTreeMap<Currency, Decimal>,
}

impl PoolSums {
    /// Takes one number in.
    pub fn count(&mut self, row: &PoolRow) {
        let traits = &row.number.traits;
        let bindings = row.live + row.entombed;
        self.numbers += 1;
        self.states[traits.state as usize] += 1;
        self.idle += usize::from(bindings == 0 && traits.state == NumberState::Active);
        self.live += row.live;
        self.entombed += row.entombed;
        self.busiest = self.busiest.max(bindings);
        if let Some(cost) = traits.monthly_cost {
            let sum = self.monthly_cost.entry(cost.currency).or_default();
            *sum = sum.saturating_add(cost.amount);
        }
    }

    /// Takes other sums in.
    pub fn add(&mut self, other: &Self) {
        self.numbers += other.numbers;
        for (sum, more) in self.states.iter_mut().zip(other.states) {
            *sum += more;
        }
        self.idle += other.idle;
        self.live += other.live;
        self.entombed += other.entombed;
        self.busiest = self.busiest.max(other.busiest);
        for (&currency, amount) in &other.monthly_cost {
            let sum = self.monthly_cost.entry(currency).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }
}
