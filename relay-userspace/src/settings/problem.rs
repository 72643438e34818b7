//! What is wrong with a configuration, where, and how to mend it.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// One thing that is wrong, or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether it stops the start.
    pub severity: Severity,
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// The path of the key, such as `trunk[0].target`; empty for the file as a
    /// whole.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub remedy: String,
}

/// Whether a problem stops the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but calls may fail because of it.
    Warning,
}

/// Where a value was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Place {
    /// In the file; line and column count from one, the column in characters.
    Line {
        /// The file's path, as given.
        file: String,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// The file as a whole.
    File {
        /// The file's path, as given.
        file: String,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: &'static str,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::File { file } => f.write_str(file),
            Self::Environment { variable } => write!(f, "environment {variable}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.place)?;
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}\n  remedy: {}", self.what, self.remedy)
    }
}

/// Collects problems while a file is read.
#[derive(Debug)]
pub(super) struct Report<'s> {
    file: &'s str,
    text: &'s str,
    problems: Vec<Problem>,
}

impl<'s> Report<'s> {
    pub(super) fn new(file: &'s str, text: &'s str) -> Self {
        Self { file, text, problems: Vec::new() }
    }

    pub(super) fn error(
        &mut self,
        at: &Range<usize>,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let place = self.place(at.start);
        self.push(Severity::Error, place, key, what.into(), remedy.into());
    }

    pub(super) fn warn(
        &mut self,
        at: &Range<usize>,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let place = self.place(at.start);
        self.push(Severity::Warning, place, key, what.into(), remedy.into());
    }

    pub(super) fn environment(&mut self, variable: &'static str, what: impl Into<String>, remedy: &str) {
        let place = Place::Environment { variable };
        self.push(Severity::Error, place, "", what.into(), remedy.to_owned());
    }

    fn push(&mut self, severity: Severity, place: Place, key: &str, what: String, remedy: String) {
        self.problems.push(Problem { severity, place, key: key.to_owned(), what, remedy });
    }

    /// In the order of the file, errors and warnings mixed.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| match problem.place {
            Place::File { .. } => (0, 0),
            Place::Line { line, column, .. } => (line, column),
            Place::Environment { .. } => (usize::MAX, 0),
        });
        self.problems
    }

    fn place(&self, offset: usize) -> Place {
        if self.text.is_empty() {
            return Place::File { file: self.file.to_owned() };
        }
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Place::Line { file: self.file.to_owned(), line, column }
    }
}

/// ` (did you mean 'x'?)` where a candidate is near, otherwise nothing.
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word.to_lowercase(), candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, candidate)| format!(" (did you mean '{candidate}'?)"))
}
