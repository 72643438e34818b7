//! The longest prefix of a number among millions, in one search.
//!
//! The numbers that a prefix begins are an interval of all numbers, and two such
//! intervals are apart or one is within the other. Prefixes are sorted by where
//! their intervals begin, the wider first; each knows the one that it is within.
//! The last that begins at or before a number is the longest prefix of it, or within
//! it: the way outwards leads there. Eight bytes a prefix are searched.

use std::ops::Range;

use crate::engine::number::MAX_DIGITS;

const DIGITS: u32 = 15;
const _: () = assert!(DIGITS as usize == MAX_DIGITS);

/// Digits and their count as one word: sorted by digits, the shorter first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prefix(u64);

impl Prefix {
    /// The prefix of every number.
    pub(super) const ALL: Self = Self(0);

    /// Of up to fifteen digits; none, where there is something else.
    pub(super) fn parse(digits: &str) -> Option<Self> {
        if digits.len() > MAX_DIGITS {
            return None;
        }
        let mut value = 0;
        for digit in digits.bytes() {
            if !digit.is_ascii_digit() {
                return None;
            }
            value = value * 10 + u64::from(digit - b'0');
        }
        let missing = u32::try_from(MAX_DIGITS - digits.len()).ok()?;
        Some(Self(value * 10_u64.pow(missing) * 16 + digits.len() as u64))
    }

    const fn length(self) -> u32 {
        (self.0 % 16) as u32
    }

    /// Whether it begins the number.
    fn begins(self, number: Self) -> bool {
        let rest = 10_u64.pow(DIGITS - self.length());
        self.length() <= number.length() && self.0 / 16 / rest == number.0 / 16 / rest
    }

    pub(super) fn digits(self) -> String {
        let digits = format!("{:0width$}", self.0 / 16, width = MAX_DIGITS);
        digits[..self.length() as usize].to_owned()
    }
}

/// Prefixes, each with its place in the order.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    sorted: Vec<Prefix>,
    /// The next shorter prefix's place, plus one; zero for none.
    outer: Vec<u32>,
}

impl Prefixes {
    /// Of prefixes in order, none of them twice.
    pub(super) fn new(sorted: Vec<Prefix>) -> Self {
        debug_assert!(sorted.is_sorted_by(|one, next| one < next));
        let mut outer = Vec::with_capacity(sorted.len());
        let mut open: Vec<u32> = Vec::new();
        for (place, prefix) in sorted.iter().enumerate() {
            while open.last().is_some_and(|&last| !sorted[last as usize].begins(*prefix)) {
                open.pop();
            }
            outer.push(open.last().map_or(0, |last| last + 1));
            open.push(u32::try_from(place).unwrap_or(u32::MAX));
        }
        Self { sorted, outer }
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn get(&self, place: usize) -> Prefix {
        self.sorted[place]
    }

    /// The places of the prefixes that a prefix begins.
    pub(super) fn within(&self, prefix: Prefix) -> Range<usize> {
        let start = self.sorted.partition_point(|other| *other < prefix);
        let count = self.sorted[start..].partition_point(|other| prefix.begins(*other));
        start..start + count
    }

    /// The places of all prefixes of a number, the longest first.
    pub(super) fn of(&self, number: Prefix) -> impl Iterator<Item = usize> {
        let behind = self.sorted.partition_point(|prefix| *prefix <= number);
        let inward = self.chain(behind);
        inward.skip_while(move |place| !self.sorted[*place].begins(number))
    }

    /// From a place (plus one) outwards.
    fn chain(&self, from: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(from.checked_sub(1), |place| (self.outer[*place] as usize).checked_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_keeps_its_digits() {
        for digits in ["", "1", "0", "49", "123456789012345", "000"] {
            assert_eq!(Prefix::parse(digits).unwrap().digits(), digits);
        }
        assert_eq!(Prefix::parse(""), Some(Prefix::ALL));
        for bad in ["+1", "1234567890123456", "12a", "1 2", "١"] {
            assert_eq!(Prefix::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        /// Of few digits, so that prefixes lie within each other often.
        #[test]
        fn every_prefix_of_a_number_is_found_the_longest_first(
            prefixes in prop::collection::btree_set("[12]{0,7}", 0..60),
            numbers in prop::collection::vec("[0-3]{0,9}", 40),
        ) {
            let sorted: BTreeSet<_> = prefixes.iter().map(|p| Prefix::parse(p).unwrap().0).collect();
            let table = Prefixes::new(sorted.into_iter().map(Prefix).collect());
            for number in numbers {
                let found: Vec<_> =
                    table.of(Prefix::parse(&number).unwrap()).map(|place| table.get(place).digits()).collect();
                let mut expected: Vec<_> =
                    prefixes.iter().filter(|p| number.starts_with(p.as_str())).cloned().collect();
                expected.sort_by_key(|p| std::cmp::Reverse(p.len()));
                prop_assert_eq!(found, expected, "{}", number);
                if number.len() < 8 {
                    let within = table.within(Prefix::parse(&number).unwrap());
                    let found: BTreeSet<_> = within.map(|place| table.get(place).digits()).collect();
                    let expected: BTreeSet<_> =
                        prefixes.iter().filter(|p| p.starts_with(&number)).cloned().collect();
                    prop_assert_eq!(found, expected, "{}", number);
                }
            }
        }
    }
}
