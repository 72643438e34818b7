//! A deck that was read: which line applies to a leg, why, and what it comes to.

use std::cell::OnceCell;
use std::ops::Range;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::band::{Band, WeekMinute};
use super::prefix::{Prefix, Prefixes};
use super::tariff::Tariff;
use super::{Jurisdiction, Leg, LineView, Terms};
use crate::engine::cdr::Direction;
use crate::engine::money::Currency;
use crate::engine::time::Timestamp;

/// Lines that an explanation lists, at most.
const EXPLAINED: usize = 200;

/// Rates by prefix. Holds about fifty bytes a line, and what lines share once.
#[derive(Debug)]
pub struct Deck {
    pub(super) terms: Terms,
    pub(super) prefixes: Prefixes,
    /// Where each prefix's lines begin in `lines`, and behind the last one where they end.
    pub(super) starts: Vec<u32>,
    /// Those of one prefix in the order in which they are tried.
    pub(super) lines: Vec<Line>,
    pub(super) tariffs: Vec<Tariff>,
    pub(super) windows: Vec<Window>,
    pub(super) bands: Vec<Band>,
    pub(super) descriptions: Vec<Box<str>>,
}

/// One line; numbers are places in the deck's tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) scope: Scope,
    pub(super) band: Option<u16>,
    pub(super) window: u32,
    pub(super) tariff: u32,
    pub(super) description: u32,
    /// Where it stands in its file.
    pub(super) number: u32,
}

/// For which legs a line is. The narrower jurisdiction is the lesser, and none the
/// greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) direction: Direction,
    pub(super) jurisdiction: Option<Jurisdiction>,
}

impl Scope {
    /// Orders lines as they are tried.
    pub(super) const fn rank(self) -> (bool, u8) {
        let jurisdiction = match self.jurisdiction {
            Some(jurisdiction) => jurisdiction as u8,
            None => u8::MAX,
        };
        (matches!(self.direction, Direction::Inbound), jurisdiction)
    }
}

/// From when on a line holds, and until when; in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    pub(super) from: i64,
    pub(super) until: i64,
}

impl Window {
    pub(super) const fn holds(self, at: i64) -> bool {
        self.from <= at && at < self.until
    }
}

/// What a leg comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rated {
    /// Where the line that applied stands in its file.
    pub line: u32,
    /// Its rate per minute.
    pub rate: Decimal,
    /// Seconds that are billed.
    pub seconds: u64,
    /// What they come to, rounded.
    pub amount: Decimal,
    /// Of what.
    pub currency: Currency,
}

/// Why a leg is charged as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// How far apart the two numbers are, where both are known.
    pub jurisdiction: Option<Jurisdiction>,
    /// Every line whose prefix begins the called number, in the order in which they
    /// were tried.
    pub tried: Vec<Tried>,
    /// Of these, the place of the one that applies.
    pub applies: Option<usize>,
    /// Seconds that are billed by it.
    pub seconds: u64,
    /// What they come to.
    pub amount: Option<Decimal>,
    /// Of what.
    pub currency: Currency,
}

/// A line that might have applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// What it says.
    pub line: LineView,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a line that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is for legs that go the other way.
    OtherDirection,
    /// It is for other calls.
    OtherJurisdiction,
    /// It is not yet in effect.
    NotYet,
    /// It is in effect no longer.
    NoLonger,
    /// It is for other hours.
    OtherHours,
    /// It applies.
    Applies,
    /// One before it does.
    Later,
}

impl Verdict {
    /// What people read.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherDirection => "for the other direction",
            Self::OtherJurisdiction => "for another jurisdiction",
            Self::NotYet => "not yet in effect",
            Self::NoLonger => "no longer in effect",
            Self::OtherHours => "for other hours",
            Self::Applies => "applies",
            Self::Later => "a line before it applies",
        }
    }
}

/// What lines ask of a leg, found out when the first one does.
struct Asked<'a> {
    leg: &'a Leg<'a>,
    terms: &'a Terms,
    minute: Option<WeekMinute>,
    /// What was found out, where it could be.
    jurisdiction: OnceCell<Option<Jurisdiction>>,
}

impl<'a> Asked<'a> {
    const fn new(leg: &'a Leg<'a>, terms: &'a Terms) -> Self {
        Self { leg, terms, minute: None, jurisdiction: OnceCell::new() }
    }

    fn minute(&mut self) -> WeekMinute {
        let Self { leg, terms, .. } = *self;
        *self.minute.get_or_insert_with(|| WeekMinute::at(leg.answered, &terms.time_zone))
    }

    fn jurisdiction(&self) -> Option<Jurisdiction> {
        let leg = self.leg;
        *self.jurisdiction.get_or_init(|| Jurisdiction::between(leg.calling?, leg.called?))
    }
}

impl Deck {
    /// What holds for all its lines.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// How many prefixes it has.
    #[must_use]
    pub fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    /// How many lines it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What an answered leg comes to; nothing where no line applies.
    #[must_use]
    pub fn rate(&self, leg: &Leg<'_>) -> Option<Rated> {
        let mut asked = Asked::new(leg, &self.terms);
        let places = self.prefixes.of(called(leg)?);
        let line = places
            .flat_map(|place| self.of_prefix(place))
            .find(|line| self.verdict(line, &mut asked) == Verdict::Applies)?;
        let tariff = &self.tariffs[line.tariff as usize];
        let (seconds, amount) = tariff.charge(leg.lasted_us, &self.terms);
        let Terms { currency, .. } = self.terms;
        Some(Rated { line: line.number, rate: tariff.rate.decimal(), seconds, amount, currency })
    }

    /// Why a leg comes to what [`Self::rate`] says.
    #[must_use]
    pub fn explain(&self, leg: &Leg<'_>) -> Explanation {
        let mut asked = Asked::new(leg, &self.terms);
        let (mut tried, mut applies) = (Vec::new(), None);
        let places = called(leg).into_iter().flat_map(|number| self.prefixes.of(number));
        for (place, line) in places.flat_map(|place| self.of_prefix(place).iter().map(move |l| (place, l))) {
            let mut verdict = self.verdict(line, &mut asked);
            if verdict == Verdict::Applies {
                match applies {
                    None => applies = Some(tried.len()),
                    Some(_) => verdict = Verdict::Later,
                }
            }
            tried.push(Tried { line: self.view(place, line), verdict });
            if tried.len() >= EXPLAINED && applies.is_some() {
                break;
            }
        }
        let rated = self.rate(leg);
        Explanation {
            jurisdiction: asked.jurisdiction(),
            tried,
            applies,
            seconds: rated.map_or(0, |rated| rated.seconds),
            amount: rated.map(|rated| rated.amount),
            currency: self.terms.currency,
        }
    }

    /// Some of its lines, by their places in the order of prefixes.
    pub fn views(&self, places: Range<usize>) -> impl Iterator<Item = LineView> {
        self.placed().skip(places.start).take(places.len()).map(|(place, line)| self.view(place, line))
    }

    /// Every line, with the place of its prefix.
    pub(super) fn placed(&self) -> impl Iterator<Item = (usize, &Line)> {
        let lines = |place| self.of_prefix(place).iter().map(move |line| (place, line));
        (0..self.prefixes.len()).flat_map(lines)
    }

    /// The places of the lines whose prefixes begin with these digits, for
    /// [`Self::views`]; none where there are no such lines.
    #[must_use]
    pub fn beginning_with(&self, digits: &str) -> Range<usize> {
        let Some(prefix) = Prefix::parse(digits) else { return 0..0 };
        let Range { start, end } = self.prefixes.within(prefix);
        self.starts[start] as usize..self.starts[end] as usize
    }

    pub(super) fn of_prefix(&self, place: usize) -> &[Line] {
        &self.lines[self.starts[place] as usize..self.starts[place + 1] as usize]
    }

    fn verdict(&self, line: &Line, asked: &mut Asked<'_>) -> Verdict {
        if line.scope.direction != asked.leg.direction {
            return Verdict::OtherDirection;
        }
        let window = self.windows[line.window as usize];
        let at = asked.leg.answered.unix_microseconds();
        if !window.holds(at) {
            return if at < window.from { Verdict::NotYet } else { Verdict::NoLonger };
        }
        if let Some(wanted) = line.scope.jurisdiction
            && !asked.jurisdiction().is_some_and(|of| wanted.covers(of))
        {
            return Verdict::OtherJurisdiction;
        }
        match line.band {
            Some(band) if !self.bands[usize::from(band)].holds(asked.minute()) => Verdict::OtherHours,
            Some(_) | None => Verdict::Applies,
        }
    }

    pub(super) fn view(&self, place: usize, line: &Line) -> LineView {
        let prefix = self.prefixes.get(place);
        let window = self.windows[line.window as usize];
        let tariff = &self.tariffs[line.tariff as usize];
        let time = |at: i64| Timestamp::from_unix_microseconds(at);
        LineView {
            line: line.number,
            prefix: if prefix == Prefix::ALL { "*".to_owned() } else { prefix.digits() },
            description: self.descriptions[line.description as usize].to_string(),
            direction: line.scope.direction,
            jurisdiction: line.scope.jurisdiction,
            band: line.band.map(|band| self.bands[usize::from(band)].to_string()),
            from: (window.from != i64::MIN).then(|| time(window.from)),
            until: (window.until != i64::MAX).then(|| time(window.until)),
            connect_fee: tariff.connect_fee.decimal(),
            rate: tariff.rate.decimal(),
            increments: tariff.increments,
            minimum: tariff.minimum.decimal(),
            minimum_seconds: tariff.minimum_seconds,
        }
    }
}

/// What has no number is begun by the prefix of all numbers alone.
fn called(leg: &Leg<'_>) -> Option<Prefix> {
    leg.called.map_or(Some(Prefix::ALL), Prefix::parse)
}
