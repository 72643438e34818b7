//! Reports: call detail records added up by what they have in common.
//!
//! Every record is in exactly one group, and all that a group says is a sum (means and
//! shares are made of sums when they are shown), so the groups of a report come to what
//! the report as a whole says, whatever it is grouped by. Interim records are of legs
//! that will be counted when they end, so they are left out.
//!
//! A report holds one row of sums per group and nothing of single records: memory is
//! bounded by [`MOST_GROUPS`], however many records there are.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::cdr::{Cause, Cdr, Charge, Direction};
use super::directory::BindingKind;
use super::encoding::Encoding;
use super::flow::MediaPath;
use super::money::Currency;
use super::quality::Mos;
use super::time::Timestamp;

/// Groups of one report: a bound on its memory, and more than anybody reads.
pub const MOST_GROUPS: usize = 100_000;

/// What records may have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The day (UTC) on which the leg ended.
    Day,
    /// The tenant.
    Tenant,
    /// The project.
    Project,
    /// The binding's kind.
    Kind,
    /// The binding's key: the case or order.
    Case,
    /// The agent's pseudonym.
    Agent,
    /// The binding's tags.
    Tags,
    /// Which leg.
    Leg,
    /// Who placed it.
    Direction,
    /// The proxy number.
    Proxy,
    /// The far end's country.
    Country,
    /// Its state or province.
    Area,
    /// The trunk.
    Trunk,
    /// Why it ended.
    Cause,
    /// The codec.
    Codec,
    /// What carried its media.
    Media,
}

impl Dimension {
    /// Every one, by its word.
    pub const WORDS: [(&'static str, Self); 16] = [
        ("day", Self::Day),
        ("tenant", Self::Tenant),
        ("project", Self::Project),
        ("kind", Self::Kind),
        ("case", Self::Case),
        ("agent", Self::Agent),
        ("tags", Self::Tags),
        ("leg", Self::Leg),
        ("direction", Self::Direction),
        ("proxy", Self::Proxy),
        ("country", Self::Country),
        ("area", Self::Area),
        ("trunk", Self::Trunk),
        ("cause", Self::Cause),
        ("codec", Self::Codec),
        ("media", Self::Media),
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, dimension)| *dimension == self).map_or("", |(word, _)| word)
    }

    /// What a record has of it; empty where it has nothing.
    #[must_use]
    pub fn of(self, cdr: &Cdr) -> String {
        fn text<T: fmt::Display>(value: Option<T>) -> String {
            value.map_or_else(String::new, |value| value.to_string())
        }
        match self {
            Self::Day => day(cdr.end),
            Self::Tenant => cdr.tenant.clone(),
            Self::Project => cdr.project.clone(),
            Self::Kind => text(cdr.labels.kind.map(BindingKind::as_str)),
            Self::Case => cdr.labels.key.clone().unwrap_or_default(),
            Self::Agent => text(cdr.labels.agent),
            Self::Tags => cdr.labels.tags.join(" "),
            Self::Leg => cdr.leg.to_string(),
            Self::Direction => match cdr.direction {
                Direction::Inbound => "in".to_owned(),
                Direction::Outbound => "out".to_owned(),
            },
            Self::Proxy => text(cdr.proxy),
            Self::Country => text(cdr.remote_country),
            Self::Area => text(cdr.remote_area),
            Self::Trunk => cdr.trunk.clone(),
            Self::Cause => cdr.release.cause.as_str().to_owned(),
            Self::Codec => text(cdr.media.codec.map(Encoding::as_str)),
            Self::Media => text(cdr.media.path.map(MediaPath::as_str)),
        }
    }
}

impl FromStr for Dimension {
    type Err = DimensionError;

    fn from_str(word: &str) -> Result<Self, DimensionError> {
        let found = Self::WORDS.iter().find(|(known, _)| *known == word);
        found.map(|&(_, dimension)| dimension).ok_or(DimensionError)
    }
}

/// A word that no report is grouped by.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "reports are grouped by day, tenant, project, kind, case, agent, tags, leg, direction, proxy, country, \
     area, trunk, cause, codec and media"
)]
pub struct DimensionError;

/// `2026-03-04`, in UTC (the civil calendar from days since 1970).
fn day(at: Timestamp) -> String {
    let days = at.unix_microseconds().div_euclid(86_400_000_000) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{:02}", of_year - (153 * shifted + 2) / 5 + 1)
}

/// What records come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Legs.
    pub legs: u64,
    /// Conversations: legs that somebody placed to us, of which each has one.
    pub sessions: u64,
    /// Legs that were answered.
    pub answered: u64,
    /// From start to end, in microseconds.
    pub duration_us: u64,
    /// Whole seconds of each leg from answer to end.
    pub billable_seconds: u64,
    /// Legs that we placed.
    pub attempts: u64,
    /// Of these, how many were answered.
    pub seized: u64,
    /// Of these, how many reached somebody or something that answers for them: answered,
    /// busy, ringing in vain, declined, or given up by the caller (ITU-T E.425).
    pub effective: u64,
    /// From INVITE to the first ringing or answer, of legs that we placed, in microseconds.
    pub post_dial_us: u64,
    /// How many of them that is of.
    pub rang: u64,
    /// Scores in hundredths, of legs that were heard.
    pub mos_hundredths: u64,
    /// How many legs that is of.
    pub scored: u64,
    /// The lowest of these scores; absent where none was heard.
    pub worst_mos_hundredths: Option<u16>,
    /// Packets that far ends sent.
    pub expected: u64,
    /// Of these, how many did not arrive.
    pub lost: u64,
    /// What carriers are owed, by currency.
    pub cost: BTreeMap<Currency, Decimal>,
    /// What tenants owe, by currency.
    pub price: BTreeMap<Currency, Decimal>,
    /// Amounts that were too much to add up; not in the sums.
    pub too_large: u64,
}

impl Sums {
    /// With one more record.
    pub fn add(&mut self, cdr: &Cdr) {
        let one = |yes: bool| u64::from(yes);
        let (is_placed, is_answered) = (cdr.direction == Direction::Outbound, cdr.answer.is_some());
        self.legs += 1;
        self.sessions += one(!is_placed);
        self.answered += one(is_answered);
        self.duration_us = self.duration_us.saturating_add(cdr.duration_us);
        self.billable_seconds = self.billable_seconds.saturating_add(cdr.billable_seconds);
        self.attempts += one(is_placed);
        self.seized += one(is_placed && is_answered);
        self.effective += one(is_placed && (is_answered || is_effective(cdr.release.cause)));
        if let Some(heard) = cdr.ring.or(cdr.answer).filter(|_| is_placed) {
            let waited = heard.saturating_since(cdr.start).as_micros();
            self.post_dial_us = self.post_dial_us.saturating_add(u64::try_from(waited).unwrap_or(u64::MAX));
            self.rang += 1;
        }
        if let Some(mos) = cdr.media.mos.map(Mos::hundredths) {
            self.mos_hundredths += u64::from(mos);
            self.scored += 1;
            self.worst_mos_hundredths = Some(self.worst_mos_hundredths.map_or(mos, |worst| worst.min(mos)));
        }
        self.expected = self.expected.saturating_add(cdr.media.expected);
        self.lost = self.lost.saturating_add(cdr.media.lost.min(cdr.media.expected));
        let charged = [(&mut self.cost, cdr.cost), (&mut self.price, cdr.price)];
        for (sum, charge) in charged {
            self.too_large += one(charge.is_some_and(|charge| !charged_to(sum, charge)));
        }
    }

    /// With all that another has.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.legs += other.legs;
        self.sessions += other.sessions;
        self.answered += other.answered;
        self.duration_us = self.duration_us.saturating_add(other.duration_us);
        self.billable_seconds = self.billable_seconds.saturating_add(other.billable_seconds);
        self.attempts += other.attempts;
        self.seized += other.seized;
        self.effective += other.effective;
        self.post_dial_us = self.post_dial_us.saturating_add(other.post_dial_us);
        self.rang += other.rang;
        self.mos_hundredths += other.mos_hundredths;
        self.scored += other.scored;
        self.worst_mos_hundredths =
            [self.worst_mos_hundredths, other.worst_mos_hundredths].into_iter().flatten().min();
        self.expected = self.expected.saturating_add(other.expected);
        self.lost = self.lost.saturating_add(other.lost);
        self.too_large += other.too_large;
        for (sum, parts) in [(&mut self.cost, &other.cost), (&mut self.price, &other.price)] {
            for (&currency, &amount) in parts {
                let charge = Charge { rate: Decimal::ZERO, amount, currency };
                self.too_large += u64::from(!charged_to(sum, charge));
            }
        }
        self
    }

    /// Answered legs of a hundred that we placed (ASR).
    #[must_use]
    pub fn answer_seizure_ratio(&self) -> Option<f64> {
        ratio(self.seized * 100, self.attempts)
    }

    /// Those that reached somebody, of a hundred that we placed (NER).
    #[must_use]
    pub fn network_effectiveness_ratio(&self) -> Option<f64> {
        ratio(self.effective * 100, self.attempts)
    }

    /// Mean seconds of an answered leg (ACD).
    #[must_use]
    pub fn average_call_seconds(&self) -> Option<f64> {
        ratio(self.billable_seconds, self.answered)
    }

    /// Mean seconds from INVITE to the first ringing or answer (PDD).
    #[must_use]
    pub fn post_dial_seconds(&self) -> Option<f64> {
        ratio(self.post_dial_us, self.rang).map(|mean| mean / 1e6)
    }

    /// The mean score.
    #[must_use]
    pub fn mos(&self) -> Option<f64> {
        ratio(self.mos_hundredths, self.scored).map(|mean| mean / 100.0)
    }

    /// Lost packets per hundred that were sent.
    #[must_use]
    pub fn loss_percent(&self) -> Option<f64> {
        ratio(self.lost * 100, self.expected)
    }
}

/// Adds an amount; `false` when the sum has no room for it.
fn charged_to(sum: &mut BTreeMap<Currency, Decimal>, charge: Charge) -> bool {
    let before = sum.get(&charge.currency).copied().unwrap_or_default();
    let after = before.checked_add(charge.amount).map(|after| after.normalize());
    after.map(|after| sum.insert(charge.currency, after)).is_some()
}

#[expect(clippy::cast_precision_loss, reason = "a mean or a share is wanted")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Whether a leg that was not answered had reached whom it was for.
const fn is_effective(cause: Cause) -> bool {
    match cause {
        Cause::Normal
        | Cause::Cancelled
        | Cause::Busy
        | Cause::Declined
        | Cause::NoAnswer
        | Cause::AnsweredElsewhere => true,
        Cause::Unreachable
        | Cause::Rejected
        | Cause::NoBinding
        | Cause::BindingEnded
        | Cause::Anonymous
        | Cause::NotAllowed
        | Cause::TooManyCalls
        | Cause::NoRoute
        | Cause::NotAcceptable
        | Cause::Overload
        | Cause::MediaFailure
        | Cause::MediaTimeout
        | Cause::ProtocolError
        | Cause::SessionExpired
        | Cause::MaxDuration
        | Cause::Operator
        | Cause::Shutdown
        | Cause::InProgress => false,
    }
}

/// Records added up by what they have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    by: Vec<Dimension>,
    groups: BTreeMap<Vec<String>, Sums>,
}

/// A report has more groups than it may.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("more than {MOST_GROUPS} groups; group by less, or ask for less")]
pub struct TooManyGroups;

impl Report {
    /// An empty one, grouped by these; by nothing it has one group.
    #[must_use]
    pub fn by(by: &[Dimension]) -> Self {
        Self { by: by.to_vec(), groups: BTreeMap::new() }
    }

    /// With one more record, unless that is an interim one.
    pub fn add(&mut self, cdr: &Cdr) -> Result<(), TooManyGroups> {
        if cdr.interim.is_some() {
            return Ok(());
        }
        let group: Vec<String> = self.by.iter().map(|dimension| dimension.of(cdr)).collect();
        if self.groups.len() >= MOST_GROUPS && !self.groups.contains_key(&group) {
            return Err(TooManyGroups);
        }
        self.groups.entry(group).or_default().add(cdr);
        Ok(())
    }

    /// Every group and what it comes to, in order.
    pub fn groups(&self) -> impl Iterator<Item = (&[String], &Sums)> {
        self.groups.iter().map(|(group, sums)| (group.as_slice(), sums))
    }

    /// What all groups come to.
    #[must_use]
    pub fn total(&self) -> Sums {
        self.groups.values().fold(Sums::default(), Sums::and)
    }
}

#[cfg(test)]
mod tests;
