//! What legs cost: rate decks, and the rating of one leg by one deck.
//!
//! A deck is what a carrier charges on a trunk (the cost of a leg) or what a tenant
//! pays (its price): lines of prefixes with rates, read once and then asked for
//! every leg. Reading belongs to [`builder`], asking to [`Deck`]; both are pure. A
//! deck knows nothing of calls, and nothing here keeps or prints a number.
//!
//! # Which line applies
//!
//! A leg is rated by the number that was *called*: of a leg that we placed, the far
//! end's (or what it was ported to); of a leg that was placed to us, the proxy number.
//! Lines are for one direction: `outbound` unless they say otherwise, so that the cost
//! of calling a city is never taken for that of being called there.
//!
//! 1. Of the lines whose prefix begins the called number, the longest prefix wins
//!    ([`prefix`]); `*` is the prefix of every number and of what has none.
//! 2. Of its lines, those count that are in effect when the leg was answered, in their
//!    time-of-day band then, for the leg's direction and its [`Jurisdiction`].
//! 3. Of those, the narrowest jurisdiction wins, and a line with a band before one
//!    without.
//! 4. Where none is left, the next shorter prefix has its turn. Where no prefix is
//!    left, the leg is not rated: it has no charge, which is not a charge of nothing.
//!
//! The line in force at the answer holds for the whole leg: a call that goes on past
//! midnight, a change of rates or of the clocks is charged as it began. A band is of
//! the deck's own time zone: its hours are those on a clock there, so that an hour
//! which comes twice in autumn is twice in its band, and one that is left out in
//! spring is in none. One that runs past midnight belongs to the day on which it
//! began.
//!
//! A line without an end is in effect until a later one of the same prefix,
//! direction, jurisdiction and band begins, so that a carrier's change of rates is an
//! added line. Lines that would apply at the same time are an error, whichever of them
//! was meant.
//!
//! # What it comes to
//!
//! Nothing, for a leg that was not answered. Otherwise:
//!
//! ```text
//! seconds = the first increment, and then as many of the next one as it takes to
//!           reach the leg's length (and the line's minimum of seconds)
//! charge  = connect fee + rate * seconds / 60, at least the line's minimum
//! ```
//!
//! The charge is exact until it is rounded, once, to the deck's places and in its own
//! way ([`Rounding`]): amounts are whole hundred-millionths of a currency's unit and
//! are multiplied before they are divided. Sums of records are therefore sums of
//! rounded charges, as on an invoice that lists calls.

mod amount;
mod band;
pub mod builder;
mod currencies;
pub mod deck;
pub mod diff;
mod jurisdiction;
mod prefix;
mod tariff;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::cdr::Direction;
use super::money::Currency;
use super::time::Timestamp;

pub use amount::{MOST_PLACES, Rounding};
pub use builder::{Builder, Fields};
pub use currencies::is_known;
pub use deck::{Deck, Explanation, Rated};
pub use diff::{Change, Difference};
pub use jurisdiction::Jurisdiction;

/// What holds for all lines of a deck.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// What its amounts are of.
    pub currency: Currency,
    /// Where its dates begin and its bands are read on the clock.
    pub time_zone: TimeZone,
    /// Digits behind the point of a charge; at most [`MOST_PLACES`].
    pub places: u8,
    /// How charges are rounded to that.
    pub rounding: Rounding,
}

/// A leg, as far as rates ask.
#[derive(Clone, Copy)]
pub struct Leg<'a> {
    /// The digits of the number that was called; absent where that was no number.
    pub called: Option<&'a str>,
    /// The digits of the number that the called side saw, or that called.
    pub calling: Option<&'a str>,
    /// Who placed it.
    pub direction: Direction,
    /// When it was answered.
    pub answered: Timestamp,
    /// How long it lasted since then, in microseconds.
    pub lasted_us: u64,
}

/// A time zone of the IANA's database, from the copy that is built in: every machine
/// rates alike, whatever it has installed.
pub fn time_zone(name: &str) -> Result<TimeZone, UnknownTimeZone> {
    TimeZone::get(name).map_err(|_| UnknownTimeZone)
}

/// A text that names no time zone.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("there is no such time zone; write one of the IANA's, such as America/New_York or UTC")]
pub struct UnknownTimeZone;

/// Increments in seconds, such as `60/6`: a leg is billed the first one whole, and the
/// others as they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Increments {
    first: u16,
    next: u16,
}

impl Increments {
    /// By the second.
    pub const SECONDS: Self = Self { first: 1, next: 1 };

    /// Seconds that are billed of a length.
    #[must_use]
    pub fn billed(self, lasted_us: u64) -> u64 {
        let first = u64::from(self.first);
        let beyond = lasted_us.saturating_sub(first * 1_000_000);
        first + beyond.div_ceil(u64::from(self.next) * 1_000_000) * u64::from(self.next)
    }
}

impl FromStr for Increments {
    type Err = IncrementsError;

    fn from_str(text: &str) -> Result<Self, IncrementsError> {
        let (first, next) = text.split_once('/').ok_or(IncrementsError)?;
        let seconds = |text: &str| {
            text.trim().parse().ok().filter(|seconds| (1..=3600).contains(seconds)).ok_or(IncrementsError)
        };
        Ok(Self { first: seconds(first)?, next: seconds(next)? })
    }
}

impl TryFrom<String> for Increments {
    type Error = IncrementsError;

    fn try_from(text: String) -> Result<Self, IncrementsError> {
        text.parse()
    }
}

impl From<Increments> for String {
    fn from(increments: Increments) -> Self {
        increments.to_string()
    }
}

impl fmt::Display for Increments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.next)
    }
}

/// A text that is no increments.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("increments are two numbers of seconds from 1 to 3600, such as 60/6")]
pub struct IncrementsError;

/// What a line says, for those who look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineView {
    /// Where it stands in its file.
    pub line: u32,
    /// The digits; `*` for all numbers.
    pub prefix: String,
    /// What the file calls it.
    pub description: String,
    /// The legs that it is for.
    pub direction: Direction,
    /// The calls that it is for; absent where it is for all.
    pub jurisdiction: Option<Jurisdiction>,
    /// Its band, such as `mon-fri 08:00-20:00`; absent where it is for all hours.
    pub band: Option<String>,
    /// When it comes into effect; absent for always.
    pub from: Option<Timestamp>,
    /// When it goes out of effect; absent for never.
    pub until: Option<Timestamp>,
    /// What a leg costs when it is answered.
    pub connect_fee: Decimal,
    /// What a minute costs.
    pub rate: Decimal,
    /// How time is billed.
    pub increments: Increments,
    /// The least that a leg costs.
    pub minimum: Decimal,
    /// The fewest seconds that are billed.
    pub minimum_seconds: u32,
}
