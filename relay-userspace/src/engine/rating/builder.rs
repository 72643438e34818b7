//! Makes a deck of the fields of a file's lines, and says all that is wrong with them.
//!
//! Every line is read, however many were bad before it, so that one look at a report
//! mends a file; of the problems the first [`MOST_PROBLEMS`] are kept, and the others
//! counted. How fields stand in a file is the reader's business.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::amount::Amount;
use super::band::Band;
use super::deck::{Deck, Line, Scope, Window};
use super::prefix::{Prefix, Prefixes};
use super::tariff::Tariff;
use super::{Increments, Jurisdiction, Terms, currencies};
use crate::engine::cdr::Direction;
use crate::engine::directory::pool::LineProblem;
use crate::engine::money::Currency;

/// Lines of a deck.
pub const MOST_LINES: usize = 5_000_000;
/// Lines of one prefix: each direction, jurisdiction and band, and some years of changes.
const MOST_OF_PREFIX: usize = 256;
/// Problems that are told.
pub const MOST_PROBLEMS: usize = 1_000;
/// Characters of a description.
const MOST_DESCRIPTION: usize = 120;
/// Different bands of a deck.
const MOST_BANDS: usize = 1_000;
/// A day; more would be a length in other units.
const MOST_MINIMUM_SECONDS: u32 = 86_400;

/// The fields of one line as they stand in the file; empty ones have their defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    /// Digits, with or without `+`; `*` for all numbers. Never empty.
    pub prefix: &'a str,
    /// What it is, for people.
    pub description: &'a str,
    /// `outbound` or `inbound`.
    pub direction: &'a str,
    /// One of [`Jurisdiction::ALL`].
    pub jurisdiction: &'a str,
    /// Days of its band: `mon-fri`, `sat;sun`.
    pub days: &'a str,
    /// When its band begins: `08:00`.
    pub time_from: &'a str,
    /// When its band ends: `20:00`.
    pub time_until: &'a str,
    /// When it comes into effect: a date, or a time in RFC 3339.
    pub effective_from: &'a str,
    /// When it goes out of effect: the first moment at which it holds no longer.
    pub effective_until: &'a str,
    /// What a leg costs when it is answered.
    pub connect_fee: &'a str,
    /// What a minute costs. Never empty.
    pub rate: &'a str,
    /// Seconds, such as `60/6`.
    pub increments: &'a str,
    /// The least that an answered leg costs.
    pub minimum: &'a str,
    /// The fewest seconds that are billed.
    pub minimum_seconds: &'a str,
    /// The deck's currency once more.
    pub currency: &'a str,
}

/// What is wrong with a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problems {
    /// In the order of their lines.
    pub shown: Vec<LineProblem>,
    /// Others, of which only the count is kept.
    pub more: u64,
}

impl Problems {
    /// Adds one.
    pub fn push(&mut self, line: u64, what: impl Into<String>, remedy: &str) {
        if self.shown.len() < MOST_PROBLEMS {
            self.shown.push(LineProblem { line, what: what.into(), remedy: remedy.to_owned() });
        } else {
            self.more += 1;
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.shown.len() as u64 + self.more
    }
}

/// A deck in the making.
pub struct Builder {
    terms: Terms,
    pending: Vec<Pending>,
    tariffs: Interned<Tariff>,
    bands: Interned<Band>,
    descriptions: Interned<Box<str>>,
    /// The last date and what it is: lines of a file mostly have one.
    last_date: (String, i64),
    problems: Problems,
    seen: u64,
}

/// A line whose end is not known yet.
#[derive(Clone, Copy)]
struct Pending {
    prefix: Prefix,
    scope: Scope,
    band: Option<u16>,
    from: i64,
    until: i64,
    tariff: u32,
    description: u32,
    number: u32,
}

impl Pending {
    /// Orders lines as they are tried, and those that are for the same by time.
    const fn rank(&self) -> (Prefix, (bool, u8), u16, i64, u32) {
        let band = match self.band {
            Some(band) => band,
            None => u16::MAX,
        };
        (self.prefix, self.scope.rank(), band, self.from, self.number)
    }

    fn is_for_the_same(&self, other: &Self) -> bool {
        self.prefix == other.prefix && self.scope == other.scope && self.band == other.band
    }
}

/// Things of which each is kept once.
struct Interned<T> {
    places: BTreeMap<T, u32>,
}

impl<T: Ord> Interned<T> {
    const fn new() -> Self {
        Self { places: BTreeMap::new() }
    }

    fn place(&mut self, thing: T) -> u32 {
        let next = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        *self.places.entry(thing).or_insert(next)
    }

    fn into_table(self) -> Vec<T> {
        let mut placed: Vec<_> = self.places.into_iter().map(|(thing, place)| (place, thing)).collect();
        placed.sort_unstable_by_key(|(place, _)| *place);
        placed.into_iter().map(|(_, thing)| thing).collect()
    }
}

impl Interned<Box<str>> {
    fn place_of(&mut self, text: &str) -> u32 {
        match self.places.get(text) {
            Some(place) => *place,
            None => self.place(text.into()),
        }
    }
}

impl Builder {
    /// A deck without lines.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            pending: Vec::new(),
            tariffs: Interned::new(),
            bands: Interned::new(),
            descriptions: Interned::new(),
            last_date: (String::new(), 0),
            problems: Problems::default(),
            seen: 0,
        }
    }

    /// Takes one line, whose number counts from one.
    pub fn line(&mut self, number: u64, fields: &Fields<'_>) {
        self.seen += 1;
        if self.seen > MOST_LINES as u64 {
            if self.seen == MOST_LINES as u64 + 1 {
                let what = format!("a deck has at most {MOST_LINES} lines");
                self.problems.push(number, what, "split it over several trunks or tenants");
            }
            return;
        }
        if let Some(pending) = self.read(number, fields) {
            self.pending.push(pending);
        }
    }

    /// Notes something that the file's reader found.
    pub fn problem(&mut self, number: u64, what: impl Into<String>, remedy: &str) {
        self.seen += 1;
        self.problems.push(number, what, remedy);
    }

    /// Gives bands their places in their own order, which two decks share.
    fn order_bands(&mut self) -> Vec<Band> {
        let bands = std::mem::replace(&mut self.bands, Interned::new()).places;
        let mut moved = vec![0; bands.len()];
        for (to, from) in bands.values().enumerate() {
            moved[*from as usize] = u16::try_from(to).unwrap_or(u16::MAX);
        }
        for line in &mut self.pending {
            line.band = line.band.map(|band| moved[usize::from(band)]);
        }
        bands.into_keys().collect()
    }

    /// The deck, or all that is wrong with it.
    pub fn finish(mut self) -> Result<Deck, Problems> {
        if self.seen == 0 {
            self.problems.push(1, "the file has no line but its header", "give it rates");
        }
        let bands = self.order_bands();
        self.pending.sort_unstable_by_key(Pending::rank);
        self.end_where_the_next_begins();
        self.find_overlaps(&bands);
        if self.problems.count() > 0 {
            self.problems.shown.sort_by_key(|problem| problem.line);
            return Err(self.problems);
        }
        Ok(self.build(bands))
    }

    fn build(self, bands: Vec<Band>) -> Deck {
        let mut windows = Interned::new();
        let (mut prefixes, mut starts, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        for pending in &self.pending {
            if prefixes.last() != Some(&pending.prefix) {
                prefixes.push(pending.prefix);
                starts.push(u32::try_from(lines.len()).unwrap_or(u32::MAX));
            }
            let Pending { scope, band, from, until, tariff, description, number, .. } = *pending;
            let window = windows.place(Window { from, until });
            lines.push(Line { scope, band, window, tariff, description, number });
        }
        starts.push(u32::try_from(lines.len()).unwrap_or(u32::MAX));
        Deck {
            terms: self.terms,
            prefixes: Prefixes::new(prefixes),
            starts,
            lines,
            tariffs: self.tariffs.into_table(),
            windows: windows.into_table(),
            bands,
            descriptions: self.descriptions.into_table(),
        }
    }

    /// What a line without an end means.
    fn end_where_the_next_begins(&mut self) {
        for place in 1..self.pending.len() {
            let next = self.pending[place];
            let line = &mut self.pending[place - 1];
            if line.is_for_the_same(&next) && line.until == i64::MAX && line.from < next.from {
                line.until = next.from;
            }
        }
    }

    fn find_overlaps(&mut self, bands: &[Band]) {
        for lines in self.pending.chunk_by(|one, next| one.prefix == next.prefix) {
            if lines.len() > MOST_OF_PREFIX {
                let number = lines.iter().map(|line| line.number).max().unwrap_or(0);
                let what =
                    format!("the prefix {} has more than {MOST_OF_PREFIX} lines", lines[0].prefix.digits());
                self.problems.push(u64::from(number), what, "leave out lines that are no longer in effect");
                continue;
            }
            for (place, line) in lines.iter().enumerate() {
                let meets = |other: &&Pending| {
                    let hours = match (line.band, other.band) {
                        (None, None) => true,
                        (Some(one), Some(other)) => bands[usize::from(one)].meets(bands[usize::from(other)]),
                        (None, Some(_)) | (Some(_), None) => false,
                    };
                    hours && line.scope == other.scope && line.from < other.until && other.from < line.until
                };
                let Some(other) = lines[..place].iter().find(meets) else { continue };
                let (first, second) = (line.number.min(other.number), line.number.max(other.number));
                let what = format!("line {first} is for the same prefix, legs, hours and days");
                let remedy = "leave one of them out, or give them dates or bands that do not overlap";
                self.problems.push(u64::from(second), what, remedy);
            }
        }
    }

    /// Reads every field before it gives up, so that each tells its problem.
    fn read(&mut self, number: u64, fields: &Fields<'_>) -> Option<Pending> {
        let before = self.problems.count();
        let prefix = self.prefix(number, fields.prefix);
        let scope = self.scope(number, fields);
        let band = self.band(number, fields);
        let from = self.date(number, "effective_from", fields.effective_from, i64::MIN);
        let until = self.date(number, "effective_until", fields.effective_until, i64::MAX);
        if from >= until {
            self.problems.push(number, "it ends before it begins", "mend effective_from or effective_until");
        }
        self.currency(number, fields.currency);
        let tariff = self.tariff(number, fields);
        let description = fields.description;
        if description.chars().count() > MOST_DESCRIPTION {
            let what = format!("the description has more than {MOST_DESCRIPTION} characters");
            self.problems.push(number, what, "shorten it");
        }
        if self.problems.count() > before {
            return None;
        }
        Some(Pending {
            prefix: prefix?,
            scope: scope?,
            band,
            from,
            until,
            tariff: self.tariffs.place(tariff?),
            description: self.descriptions.place_of(description),
            number: u32::try_from(number).unwrap_or(u32::MAX),
        })
    }

    fn prefix(&mut self, number: u64, text: &str) -> Option<Prefix> {
        if text == "*" {
            return Some(Prefix::ALL);
        }
        let digits = text.strip_prefix('+').unwrap_or(text);
        let prefix = Prefix::parse(digits).filter(|_| !digits.is_empty() && !digits.starts_with('0'));
        if prefix.is_none() {
            self.problems.push(
                number,
                "the prefix is not one of international numbers",
                "write up to 15 digits that begin with a country code, such as 1212, or * for all numbers",
            );
        }
        prefix
    }

    fn scope(&mut self, number: u64, fields: &Fields<'_>) -> Option<Scope> {
        let direction = match fields.direction {
            "" | "outbound" => Some(Direction::Outbound),
            "inbound" => Some(Direction::Inbound),
            _ => {
                self.problems.push(number, "the direction is unknown", "write outbound or inbound");
                None
            }
        };
        let known = Jurisdiction::ALL.into_iter().find(|known| known.as_str() == fields.jurisdiction);
        if known.is_none() && !matches!(fields.jurisdiction, "" | "any") {
            let remedy = "write intrastate, interstate, domestic, international, or nothing for all calls";
            self.problems.push(number, "the jurisdiction is unknown", remedy);
        }
        Some(Scope { direction: direction?, jurisdiction: known })
    }

    fn band(&mut self, number: u64, fields: &Fields<'_>) -> Option<u16> {
        match Band::parse(fields.days, fields.time_from, fields.time_until) {
            Ok(None) => None,
            Ok(Some(band)) => {
                let place = self.bands.place(band);
                if place as usize >= MOST_BANDS {
                    let what = format!("this is one band more than {MOST_BANDS}");
                    self.problems.push(number, what, "let lines share bands");
                }
                u16::try_from(place).ok()
            }
            Err(error) => {
                let remedy = "mend days, time_from or time_until, or leave all three empty for all hours";
                self.problems.push(number, error.to_string(), remedy);
                None
            }
        }
    }

    /// In microseconds since 1970.
    fn date(&mut self, number: u64, field: &str, text: &str, open: i64) -> i64 {
        if text.is_empty() {
            return open;
        }
        if self.last_date.0 == text {
            return self.last_date.1;
        }
        let Some(at) = moment(text, &self.terms.time_zone) else {
            let what = format!("{field} is neither a date nor a time");
            self.problems.push(number, what, "write 2026-03-01 or 2026-03-01T00:00:00Z");
            return open;
        };
        self.last_date = (text.to_owned(), at);
        at
    }

    fn currency(&mut self, number: u64, text: &str) {
        let deck = self.terms.currency;
        if text.is_empty() || text == deck.as_str() {
            return;
        }
        match text.parse::<Currency>() {
            Ok(currency) if currency == deck => {}
            Ok(currency) if currencies::is_known(currency) => {
                let what = format!("the line is in {currency} and the deck in {deck}");
                self.problems.push(number, what, "make a deck of each currency's lines");
            }
            Ok(_) | Err(_) => {
                self.problems.push(
                    number,
                    "the currency is unknown",
                    "write a code of ISO 4217, such as USD",
                );
            }
        }
    }

    fn tariff(&mut self, number: u64, fields: &Fields<'_>) -> Option<Tariff> {
        let mut amount = |field: &str, text: &str, needed: bool| {
            if text.is_empty() && !needed {
                return Some(Amount::default());
            }
            let amount = Amount::parse(text, self.terms.currency).ok();
            if amount.is_none() {
                let remedy = "write a decimal number with at most 8 places, such as 0.0075";
                self.problems.push(number, format!("{field} is no amount of money"), remedy);
            }
            amount
        };
        let connect_fee = amount("connect_fee", fields.connect_fee, false);
        let rate = amount("rate", fields.rate, true);
        let minimum = amount("minimum", fields.minimum, false);
        let increments = match fields.increments {
            "" => Some(Increments::SECONDS),
            text => text.parse().ok(),
        };
        if increments.is_none() {
            let what = "the increments are not two numbers of seconds from 1 to 3600";
            self.problems.push(number, what, "write the first and the next one, such as 60/6");
        }
        let minimum_seconds = match fields.minimum_seconds {
            "" => Some(0),
            text => text.parse().ok().filter(|seconds| *seconds <= MOST_MINIMUM_SECONDS),
        };
        if minimum_seconds.is_none() {
            let what = "minimum_seconds is no number of seconds";
            self.problems.push(number, what, "write a whole number up to 86400");
        }
        Some(Tariff {
            connect_fee: connect_fee?,
            rate: rate?,
            minimum: minimum?,
            increments: increments?,
            minimum_seconds: minimum_seconds?,
        })
    }
}

/// A date is its first moment in the deck's time zone.
fn moment(text: &str, zone: &TimeZone) -> Option<i64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_microsecond());
    }
    // A time of day without a zone would be read as a date.
    let date: Date = Some(text).filter(|text| text.len() == 10)?.parse().ok()?;
    Some(date.to_zoned(zone.clone()).ok()?.timestamp().as_microsecond())
}
