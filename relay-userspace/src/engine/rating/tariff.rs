//! What a line charges, apart from when and for what: shared by the lines that charge
//! the same, which of a million are most.

use rust_decimal::Decimal;

use super::amount::{self, Amount};
use super::{Increments, Terms};

/// What a leg costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tariff {
    pub(super) connect_fee: Amount,
    /// Per minute.
    pub(super) rate: Amount,
    pub(super) minimum: Amount,
    pub(super) increments: Increments,
    pub(super) minimum_seconds: u32,
}

impl Tariff {
    /// The seconds that are billed of a length, and what they come to.
    pub(super) fn charge(&self, lasted_us: u64, terms: &Terms) -> (u64, Decimal) {
        let lasted = lasted_us.max(u64::from(self.minimum_seconds) * 1_000_000);
        let seconds = self.increments.billed(lasted);
        let Terms { places, rounding, .. } = *terms;
        (seconds, amount::charge(self.connect_fee, self.rate, seconds, self.minimum, places, rounding))
    }
}
