//! Reads TOML values one key at a time, so that every problem is reported with
//! its place and none hides another.
//!
//! serde's derive stops at the first error and knows nothing of the keys around
//! it; here a [`Section`] remembers which keys were asked for, and whatever is
//! left over at the end is unknown.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Report, did_you_mean};

/// A table of the file, or the absence of one, which reads as empty.
pub(super) struct Section<'a> {
    pub(super) path: String,
    pub(super) at: Range<usize>,
    entries: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
}

/// A value of the file.
pub(super) struct Item<'a> {
    pub(super) path: String,
    pub(super) at: Range<usize>,
    value: &'a DeValue<'a>,
}

/// Something read, with its place, for the checks that compare keys.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) path: String,
    pub(super) at: Range<usize>,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a Spanned<DeTable<'a>>) -> Self {
        Self { path: String::new(), at: 0..0, entries: Some(table.get_ref()), asked: Vec::new() }
    }

    /// The path of one of its keys.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn get(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.asked.push(key);
        let value = self.entries?.get(key)?;
        Some(Item { path: self.path_of(key), at: value.span(), value: value.get_ref() })
    }

    pub(super) fn require(
        &mut self,
        key: &'static str,
        report: &mut Report<'_>,
        remedy: &str,
    ) -> Option<Item<'a>> {
        let item = self.get(key);
        if item.is_none() {
            report.error(&self.at, &self.path_of(key), "this key is missing", remedy);
        }
        item
    }

    /// The table at `key`; an empty one when there is none.
    pub(super) fn section(&mut self, key: &'static str, report: &mut Report<'_>) -> Section<'a> {
        let empty =
            Section { path: self.path_of(key), at: self.at.clone(), entries: None, asked: Vec::new() };
        self.get(key).and_then(|item| item.section(report)).unwrap_or(empty)
    }

    /// The tables of `[[key]]`.
    pub(super) fn sections(&mut self, key: &'static str, report: &mut Report<'_>) -> Vec<Section<'a>> {
        let items = self.get(key).map(|item| item.list(report)).unwrap_or_default();
        items.into_iter().filter_map(|item| item.section(report)).collect()
    }

    /// Every entry, for tables whose keys are data.
    pub(super) fn entries(&self) -> Vec<(Located<&'a str>, Item<'a>)> {
        let entries = self.entries.into_iter().flatten();
        entries
            .map(|(key, value)| {
                let path = self.path_of(key.get_ref());
                let name = Located { value: key.get_ref().as_ref(), path: path.clone(), at: key.span() };
                (name, Item { path, at: value.span(), value: value.get_ref() })
            })
            .collect()
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, report: &mut Report<'_>) {
        for key in self.entries.into_iter().flat_map(DeTable::keys) {
            let name: &str = key.get_ref();
            if !self.asked.contains(&name) {
                let hint = did_you_mean(name, self.asked.iter().copied());
                let remedy = format!("remove it, or use one of: {}", self.asked.join(", "));
                report.error(&key.span(), &self.path_of(name), format!("unknown key{hint}"), remedy);
            }
        }
    }
}

impl<'a> Item<'a> {
    pub(super) fn text(&self, report: &mut Report<'_>) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong_type("a text in quotes", report);
        }
        text
    }

    pub(super) fn boolean(&self, report: &mut Report<'_>) -> Option<bool> {
        let truth = self.value.as_bool();
        if truth.is_none() {
            self.wrong_type("true or false", report);
        }
        truth
    }

    pub(super) fn integer(&self, range: RangeInclusive<usize>, report: &mut Report<'_>) -> Option<usize> {
        let Some(integer) = self.value.as_integer() else {
            self.wrong_type("a whole number", report);
            return None;
        };
        let value = i128::from_str_radix(integer.as_str(), integer.radix());
        let found = value.ok().and_then(|value| usize::try_from(value).ok()).filter(|v| range.contains(v));
        if found.is_none() {
            report.error(
                &self.at,
                &self.path,
                format!("{} is out of range", integer.as_str()),
                format!("write a whole number from {} to {}", range.start(), range.end()),
            );
        }
        found
    }

    /// A text that `T` understands; `remedy` shows how it is written.
    pub(super) fn parse<T>(&self, report: &mut Report<'_>, remedy: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.text(report)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                report.error(&self.at, &self.path, format!("'{}': {error}", shortened(text)), remedy);
                None
            }
        }
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&self, words: &[(&str, T)], report: &mut Report<'_>) -> Option<T> {
        let text = self.text(report)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|&(_, value)| value);
        if found.is_none() {
            let names: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
            let hint = did_you_mean(text, names.iter().copied());
            report.error(
                &self.at,
                &self.path,
                format!("'{}' is not known here{hint}", shortened(text)),
                format!("write one of: {}", names.join(", ")),
            );
        }
        found
    }

    /// A duration such as `500ms`, `90s`, `30m`, `24h` or `7d`; a day is 24 hours.
    pub(super) fn duration(
        &self,
        range: RangeInclusive<Duration>,
        report: &mut Report<'_>,
    ) -> Option<Duration> {
        let remedy = format!(
            "write a duration from {} to {}, such as \"90s\"",
            show(*range.start()),
            show(*range.end())
        );
        if self.value.is_integer() {
            report.error(&self.at, &self.path, "a number without a unit", remedy);
            return None;
        }
        let text = self.text(report)?;
        let problem = match duration(text) {
            Some(value) if range.contains(&value) => return Some(value),
            Some(_) => "is out of range",
            None => "is not a duration",
        };
        report.error(&self.at, &self.path, format!("'{}' {problem}", shortened(text)), remedy);
        None
    }

    /// The elements of a list.
    pub(super) fn list(&self, report: &mut Report<'_>) -> Vec<Item<'a>> {
        let Some(list) = self.value.as_array() else {
            self.wrong_type("a list", report);
            return Vec::new();
        };
        let element = |(index, value): (usize, &'a Spanned<DeValue<'a>>)| Item {
            path: format!("{}[{index}]", self.path),
            at: value.span(),
            value: value.get_ref(),
        };
        list.iter().enumerate().map(element).collect()
    }

    pub(super) fn section(&self, report: &mut Report<'_>) -> Option<Section<'a>> {
        let entries = self.value.as_table();
        if entries.is_none() {
            self.wrong_type("a table", report);
        }
        Some(Section {
            path: self.path.clone(),
            at: self.at.clone(),
            entries: Some(entries?),
            asked: Vec::new(),
        })
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    /// With this item's place.
    pub(super) fn at<T>(&self, value: T) -> Located<T> {
        Located { value, path: self.path.clone(), at: self.at.clone() }
    }

    fn wrong_type(&self, wanted: &str, report: &mut Report<'_>) {
        let found = self.value.type_str();
        report.error(
            &self.at,
            &self.path,
            format!("this is a value of type {found}"),
            format!("write {wanted}"),
        );
    }
}

/// A duration in jiff's friendly form (`1h 30m`, `90s`, `7d`); never negative.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let span: Span = text.trim().parse().ok()?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(signed).ok()
}

/// `1h 30m`: the two largest units, for people.
#[must_use]
pub fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{}ms", duration.as_millis());
    }
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (name, length) in units {
        if rest >= length {
            parts.push(format!("{}{name}", rest / length));
            rest %= length;
        }
    }
    parts.truncate(2);
    parts.join(" ")
}

/// At most 48 characters of what was found.
pub(super) fn shortened(text: &str) -> String {
    if text.chars().count() <= 48 {
        text.escape_debug().to_string()
    } else {
        format!("{}...", text.chars().take(45).collect::<String>().escape_debug())
    }
}
