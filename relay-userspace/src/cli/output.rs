//! What commands say, for people and for machines.
//!
//! A command computes a [`Report`] and prints nothing itself, so that one place
//! decides how tables, JSON and errors look, and a test can compare all three.
//! Tables are plain columns: they read well, and `awk` can cut them.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

use super::exit::Exit;
use crate::api::client::ClientError;
use crate::engine::admin::Refusal;
use crate::engine::time::Timestamp;
use crate::settings::show_duration;

/// What a command has to say when it could do its work.
#[derive(Debug)]
pub(super) struct Report {
    /// For people, in order.
    pub(super) blocks: Vec<Block>,
    /// The one document for machines.
    pub(super) json: Value,
    /// How to end.
    pub(super) exit: Exit,
}

impl Report {
    /// A report of success. Times in `document` become RFC 3339 texts.
    pub(super) fn new(blocks: Vec<Block>, document: impl Serialize) -> Result<Self, Failure> {
        let mut json = serde_json::to_value(document).map_err(|error| {
            Failure::new(Exit::Failure, error.to_string(), "this is a defect of vizard: please report it")
        })?;
        spell_times(&mut json);
        Ok(Self { blocks, json, exit: Exit::Ok })
    }
}

/// A part of what people see.
#[derive(Debug)]
pub(super) enum Block {
    /// A line, or several.
    Text(String),
    /// Names and their values, aligned.
    Fields(Vec<(&'static str, String)>),
    /// Columns and rows; the text stands instead of a table without rows.
    Table {
        /// Over the columns.
        header: Vec<&'static str>,
        /// As many cells each as the header has.
        rows: Vec<Vec<String>>,
        /// What to say when there are none.
        empty: String,
    },
}

/// Why a command could not do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    /// What is wrong, and where.
    pub(super) what: String,
    /// How to mend it.
    pub(super) remedy: String,
    /// How to end.
    #[serde(skip)]
    pub(super) exit: Exit,
    /// More for machines, such as a configuration's problems.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) details: Vec<Value>,
}

impl Failure {
    pub(super) fn new(exit: Exit, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into(), exit, details: Vec::new() }
    }

    pub(super) fn usage(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, remedy)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind.into(), refusal.what, refusal.remedy)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::new(Exit::Unreachable, error.to_string(), error.remedy())
    }
}

/// How to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    /// One JSON document instead of text.
    pub(super) json: bool,
    /// Tables as comma-separated values, and nothing else.
    pub(super) csv: bool,
    /// Tables without their first line.
    pub(super) no_header: bool,
}

/// Writes what came of a command, and says how to end. A reader that has gone
/// away (`vizard calls | head -1`) has read all it wanted.
pub(super) fn finish(
    result: Result<Report, Failure>,
    style: Style,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Exit {
    let (written, exit) = match result {
        Ok(report) => (write(out, &render(&report, style)), report.exit),
        Err(failure) => (write(err, &render_failure(&failure, style)), failure.exit),
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Exit::Failure,
        Ok(()) | Err(_) => exit,
    }
}

fn write(to: &mut dyn Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}

fn render(report: &Report, style: Style) -> String {
    if style.json {
        return pretty(&report.json);
    }
    if style.csv {
        return report.blocks.iter().map(|block| render_csv(block, style)).collect();
    }
    let parts: Vec<String> = report.blocks.iter().map(|block| render_block(block, style)).collect();
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn render_block(block: &Block, style: Style) -> String {
    match block {
        Block::Text(text) => format!("{text}\n"),
        Block::Fields(fields) => {
            let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            fields.iter().fold(String::new(), |mut text, (name, value)| {
                let _ = writeln!(text, "{name:width$}  {value}");
                text
            })
        }
        Block::Table { rows, empty, .. } if rows.is_empty() => {
            if style.no_header || empty.is_empty() {
                String::new()
            } else {
                format!("{empty}\n")
            }
        }
        Block::Table { header, rows, .. } => render_table(header, rows, style),
    }
}

/// Tables and fields as RFC 4180 has them; prose is left out.
fn render_csv(block: &Block, style: Style) -> String {
    let mut csv = csv::Writer::from_writer(Vec::new());
    // Memory takes every byte, so nothing here can fail.
    match block {
        Block::Text(_) => {}
        Block::Fields(fields) => {
            for (name, value) in fields {
                let _ = csv.write_record([name, value.as_str()]);
            }
        }
        Block::Table { header, rows, .. } => {
            if !style.no_header {
                let _ = csv.write_record(header);
            }
            for row in rows {
                let _ = csv.write_record(row);
            }
        }
    }
    String::from_utf8(csv.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn render_table(header: &[&str], rows: &[Vec<String>], style: Style) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !style.no_header {
        table.set_header(header.iter().copied());
    }
    for row in rows {
        // An empty cell would shift what `awk` sees.
        table.add_row(row.iter().map(|cell| if cell.is_empty() { "-" } else { cell.as_str() }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().fold(String::new(), |mut text, line| {
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

fn render_failure(failure: &Failure, style: Style) -> String {
    if style.json {
        let mut error = json!(failure);
        error["code"] = failure.exit.code().into();
        return pretty(&json!({ "error": error }));
    }
    let mut text = format!("error: {}\n", failure.what);
    if !failure.remedy.is_empty() {
        let _ = writeln!(text, "remedy: {}", failure.remedy);
    }
    text
}

fn pretty(document: &Value) -> String {
    // A `Value` has only texts for keys, so it always serialises.
    let mut text = serde_json::to_string_pretty(document).unwrap_or_else(|_| "null".to_owned());
    text.push('\n');
    text
}

/// The keys under which our records and views hold a [`Timestamp`], which
/// serialises as microseconds since 1970.
const TIMES: [&str; 12] = [
    "answer", "at", "created", "end", "expires", "now", "released", "ring", "since", "start", "started",
    "until",
];

/// A document on one line, with its times spelt out.
pub(super) fn spelt(document: impl Serialize) -> Result<Value, Failure> {
    Report::new(Vec::new(), document).map(|report| report.json)
}

fn spell_times(document: &mut Value) {
    match document {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_i64() {
                    Some(microseconds) if TIMES.contains(&key.as_str()) => {
                        *value = time(Timestamp::from_unix_microseconds(microseconds)).into();
                    }
                    _ => spell_times(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(spell_times),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A time as people write it: RFC 3339, with an offset.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    let time: jiff::Timestamp =
        text.parse().map_err(|_| "write a time such as 2026-03-01T00:00:00Z".to_owned())?;
    Ok(Timestamp::from_unix_microseconds(time.as_microsecond()))
}

/// RFC 3339 in UTC, to the microsecond where there are any.
pub(super) fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.unix_microseconds())
        .map_or_else(|_| format!("{} us", at.unix_microseconds()), |time| time.to_string())
}

/// RFC 3339 in UTC, to the second, for tables.
pub(super) fn time_short(at: Timestamp) -> String {
    time(Timestamp::from_unix_microseconds(at.unix_microseconds().div_euclid(1_000_000) * 1_000_000))
}

/// `-` where there is nothing.
pub(super) fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

/// `4m 10s`.
pub(super) fn length(duration: Duration) -> String {
    show_duration(Duration::from_secs(duration.as_secs()).max(Duration::from_secs(0)))
}

/// `1.5 ms`.
pub(super) fn milliseconds(microseconds: u32) -> String {
    format!("{:.1} ms", f64::from(microseconds) / 1000.0)
}
