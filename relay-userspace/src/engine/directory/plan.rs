//! How many numbers a load needs, in both ways of giving them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::engine::number::Country;

/// Hours that a trend must be known for before anything is read from it.
const LEAST_HOURS: i64 = 6;

/// The parties of one place, and its numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceLoad {
    /// The country.
    pub country: Country,
    /// The state or province, where area codes tell it.
    pub state: Option<String>,
    /// Active numbers for calls: of the state where places are strict, else of
    /// the country.
    pub numbers: u32,
    /// Parties with bindings.
    pub parties: u32,
    /// Their bindings, tombstones included.
    pub bindings: u64,
    /// What the busiest party has: what a number for each party needs.
    pub busiest: u32,
    /// What the busiest party has as customer.
    pub busiest_customer: u32,
    /// What the busiest party has as agent.
    pub busiest_agent: u32,
    /// How `busiest` has developed.
    pub trend: Option<Trend>,
    /// Some of the parties that have so many, masked.
    pub busiest_parties: Vec<String>,
}

impl PlaceLoad {
    /// `NY, US`, or `DE`.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.state {
            Some(state) => format!("{state}, {}", self.country),
            None => self.country.to_string(),
        }
    }
}

/// How a place's busiest party has developed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trend {
    /// Hours that it is known for.
    pub hours: u32,
    /// Thousandths of a binding that it grows by an hour; negative when it
    /// shrinks.
    pub per_hour_thousandths: i64,
}

impl Trend {
    /// The line that fits the peaks of hours best, if there are enough of them.
    pub(super) fn of(peaks: &VecDeque<(i64, u32)>) -> Option<Self> {
        let (&(first, _), &(last, _)) = (peaks.front()?, peaks.back()?);
        let hours = last - first;
        if hours < LEAST_HOURS {
            return None;
        }
        // Least squares in integers: n * sum(xy) - sum(x) * sum(y) over
        // n * sum(xx) - sum(x)^2.
        let (mut n, mut x, mut y, mut xx, mut xy) = (0_i128, 0_i128, 0_i128, 0_i128, 0_i128);
        for &(hour, peak) in peaks {
            let (at, peak) = (i128::from(hour - first), i128::from(peak));
            (n, x, y, xx, xy) = (n + 1, x + at, y + peak, xx + at * at, xy + at * peak);
        }
        let slope = (n * xy - x * y) * 1000 / (n * xx - x * x).max(1);
        Some(Self {
            hours: u32::try_from(hours).unwrap_or(u32::MAX),
            per_hour_thousandths: i64::try_from(slope).unwrap_or(i64::MAX),
        })
    }

    /// Hours until so many more are reached; never, when it does not grow.
    #[must_use]
    pub fn hours_until(&self, more: u32) -> Option<u64> {
        let growth = u64::try_from(self.per_hour_thousandths).ok().filter(|&growth| growth > 0)?;
        Some(u64::from(more) * 1000 / growth)
    }
}

/// What numbers are needed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Bindings that the busiest party has, tombstones included.
    pub busiest: u32,
    /// Those of the busiest party among customers.
    pub busiest_customer: u32,
    /// Those of the busiest party among agents.
    pub busiest_agent: u32,
    /// Bindings' sides in all: each shows a number.
    pub sides: u64,
}

/// How many numbers that takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// With a number for each party.
    pub per_party: u64,
    /// With one number for both sides of a binding, at most.
    pub one_number: u64,
    /// At least this many, for no number to have more bindings than it may.
    pub by_cap: u64,
}

impl Demand {
    /// How many numbers it takes when none may have more than `cap` bindings;
    /// zero is no cap.
    #[must_use]
    pub fn need(&self, cap: u32) -> Need {
        let by_cap = if cap == 0 { 0 } else { self.sides.div_ceil(u64::from(cap)) };
        let shared = u64::from(self.busiest_customer) + u64::from(self.busiest_agent);
        Need {
            per_party: u64::from(self.busiest).max(by_cap),
            // An edge colouring that is made as the edges come.
            one_number: shared.saturating_sub(1).max(by_cap),
            by_cap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_is_a_line_through_the_peaks() {
        let peaks = |growth: u32| (0..24_i64).zip((0..).map(|n| 10 + n * growth)).collect::<VecDeque<_>>();
        let trend = Trend::of(&peaks(2)).unwrap();
        assert_eq!((trend.hours, trend.per_hour_thousandths), (23, 2000));
        assert_eq!(trend.hours_until(50), Some(25));
        assert_eq!(Trend::of(&peaks(0)).unwrap().hours_until(50), None);
        assert_eq!(Trend::of(&peaks(2).into_iter().take(3).collect()), None, "three hours say nothing");
    }

    #[test]
    fn both_modes_and_the_cap_are_counted() {
        let demand = Demand { busiest: 40, busiest_customer: 3, busiest_agent: 40, sides: 1000 };
        assert_eq!(demand.need(0), Need { per_party: 40, one_number: 42, by_cap: 0 });
        assert_eq!(demand.need(10), Need { per_party: 100, one_number: 100, by_cap: 100 });
        assert_eq!(demand.need(999), Need { per_party: 40, one_number: 42, by_cap: 2 });
        assert_eq!(Demand::default().need(5), Need::default());
    }
}
