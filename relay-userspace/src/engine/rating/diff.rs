//! What changes when one deck takes another's place.
//!
//! Lines of the two are the same when they are for the same prefix, legs, hours and
//! begin at the same time; where they stand in their files does not matter.

use std::cmp::Ordering;

use rust_decimal::Decimal;
use serde::Serialize;

use super::LineView;
use super::band::Band;
use super::deck::{Deck, Line};
use super::prefix::Prefix;
use super::tariff::Tariff;

/// One line that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum Difference {
    /// Only the new deck has it.
    Added {
        /// As it will be.
        new: LineView,
    },
    /// Only the old deck has it.
    Removed {
        /// As it was.
        old: LineView,
    },
    /// Both have it, with different charges or ends.
    Changed {
        /// As it was.
        old: LineView,
        /// As it will be.
        new: LineView,
    },
}

/// Which way a difference goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A new line.
    Added,
    /// A line that is gone.
    Removed,
    /// A minute costs more.
    Raised,
    /// A minute costs less.
    Lowered,
    /// Something else than the rate.
    Otherwise,
}

impl Difference {
    /// Which way it goes.
    #[must_use]
    pub fn change(&self) -> Change {
        match self {
            Self::Added { .. } => Change::Added,
            Self::Removed { .. } => Change::Removed,
            Self::Changed { old, new } => match new.rate.cmp(&old.rate) {
                Ordering::Greater => Change::Raised,
                Ordering::Less => Change::Lowered,
                Ordering::Equal => Change::Otherwise,
            },
        }
    }

    /// By how many percent a minute's cost changes, where that can be said.
    #[must_use]
    pub fn percent(&self) -> Option<Decimal> {
        let Self::Changed { old, new } = self else { return None };
        let share = (new.rate - old.rate).checked_div(old.rate)?;
        Some((share * Decimal::ONE_HUNDRED).round_dp(1).normalize())
    }
}

/// Every line that differs, in the order of prefixes.
pub fn differences(old: &Deck, new: &Deck) -> impl Iterator<Item = Difference> {
    let (mut olds, mut news) = (old.placed().peekable(), new.placed().peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (olds.peek(), news.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => key(old, *one).cmp(&key(new, *other)),
            };
            let view = |deck: &Deck, (place, line): (usize, &Line)| deck.view(place, line);
            match order {
                Ordering::Less => {
                    return olds.next().map(|line| Difference::Removed { old: view(old, line) });
                }
                Ordering::Greater => {
                    return news.next().map(|line| Difference::Added { new: view(new, line) });
                }
                Ordering::Equal => {
                    let (one, other) = (olds.next()?, news.next()?);
                    if says(old, one.1) != says(new, other.1) {
                        return Some(Difference::Changed { old: view(old, one), new: view(new, other) });
                    }
                }
            }
        }
    })
}

/// What a line is for, in the order in which a deck has its lines.
fn key(deck: &Deck, (place, line): (usize, &Line)) -> (Prefix, (bool, u8), bool, Option<Band>, i64) {
    let band = line.band.map(|band| deck.bands[usize::from(band)]);
    let from = deck.windows[line.window as usize].from;
    (deck.prefixes.get(place), line.scope.rank(), band.is_none(), band, from)
}

/// What a line says of that.
fn says<'a>(deck: &'a Deck, line: &Line) -> (&'a Tariff, &'a str, i64) {
    let until = deck.windows[line.window as usize].until;
    (&deck.tariffs[line.tariff as usize], &deck.descriptions[line.description as usize], until)
}
