//! The file of numbers: CSV with a header line, the same for import and export.

use std::io::{Chain, Read};

use csv::{ReaderBuilder, StringRecord, Terminator, Trim, Writer};

use crate::cli::exit::Exit;
use crate::cli::output::Failure;
use crate::engine::directory::pool::{ImportLine, LineProblem};
use crate::engine::directory::{NewNumber, NumberKind, NumberState, NumberTraits, PoolNumber};
use crate::engine::money::Money;
use crate::engine::number::{Country, NumberError};
use crate::settings::did_you_mean;

/// The columns, in the order of an export.
pub(super) const COLUMNS: [&str; 12] = [
    "number",
    "country",
    "region",
    "locality",
    "type",
    "capabilities",
    "trunk",
    "carrier",
    "monthly_cost",
    "currency",
    "tags",
    "status",
];

/// What reads the lines behind a header.
pub(super) struct Lines<R> {
    reader: csv::Reader<Chain<R, &'static [u8]>>,
    /// Which of [`COLUMNS`] each field is.
    columns: Vec<usize>,
    record: StringRecord,
}

impl<R: Read> Lines<R> {
    /// Reads the header.
    pub(super) fn open(from: R) -> Result<Self, Failure> {
        let mut reader = ReaderBuilder::new()
            .flexible(true)
            .trim(Trim::All)
            // Lines are counted by their ends: each has one, and it is this one.
            .terminator(Terminator::Any(b'\n'))
            .from_reader(from.chain(&b"\n"[..]));
        let header = reader.headers().map_err(|error| unreadable(&error))?;
        let mut columns = Vec::new();
        for name in header {
            // A file of numbers without a header would lose its first one.
            let known = name.to_ascii_lowercase().replace([' ', '-'], "_");
            let Some(column) = COLUMNS.iter().position(|column| *column == known) else {
                let hint = did_you_mean(&known, COLUMNS);
                return Err(header_failure(format!(
                    "the header has a column {name:?}, which is not known{hint}"
                )));
            };
            if columns.contains(&column) {
                return Err(header_failure(format!("the header has the column {known} twice")));
            }
            columns.push(column);
        }
        if columns.contains(&0) {
            Ok(Self { reader, columns, record: StringRecord::new() })
        } else {
            Err(header_failure("the header has no column \"number\"".to_owned()))
        }
    }

    /// The next line that is not empty, or what is wrong with it.
    pub(super) fn next(&mut self) -> Result<Option<Result<ImportLine, LineProblem>>, Failure> {
        loop {
            let read = self.reader.read_record(&mut self.record);
            let behind = self.reader.position().line();
            match read {
                Ok(false) => return Ok(None),
                Ok(true) if self.record.iter().all(str::is_empty) => {}
                Ok(true) => {
                    let within: usize = self.record.iter().map(|field| field.matches('\n').count()).sum();
                    let line = behind.saturating_sub(u64::try_from(within).unwrap_or(0) + 1);
                    return Ok(Some(self.read(line).map_err(|problem| bad(line, problem))));
                }
                Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                    let problem = ("the line is not UTF-8".to_owned(), "save the file as UTF-8");
                    return Ok(Some(Err(bad(behind.saturating_sub(1), problem))));
                }
                Err(error) => return Err(unreadable(&error)),
            }
        }
    }

    fn read(&self, line: u64) -> Result<ImportLine, (String, &'static str)> {
        if self.record.len() > self.columns.len() {
            let (has, header) = (self.record.len(), self.columns.len());
            return Err((
                format!("{has} fields, and the header names {header}"),
                "put fields that hold a comma into double quotes",
            ));
        }
        let field = |name: &str| {
            let at = self.columns.iter().position(|&column| COLUMNS[column] == name)?;
            self.record.get(at).filter(|text| !text.is_empty())
        };
        let text = |name| field(name).map(str::to_owned);
        let number = field("number").unwrap_or_default();
        let number = number.parse().map_err(|error: NumberError| {
            (format!("{number:?}: {error}"), "write the number in E.164, as in +12125550123")
        })?;
        let country = field("country").map(str::parse::<Country>).transpose();
        let capabilities = field("capabilities").unwrap_or("voice");
        let (voice, sms) = takes(capabilities)?;
        let cost = match (field("monthly_cost"), field("currency")) {
            (None, _) => None,
            (Some(_), None) => {
                return Err(("the cost has no currency".to_owned(), "add a column currency, such as USD"));
            }
            (Some(amount), Some(currency)) => Some(
                Money::parse(amount, currency).map_err(|error| (error.to_string(), "correct the cost"))?,
            ),
        };
        let tags = field("tags").unwrap_or_default().split([';', '|', ' ']).filter(|tag| !tag.is_empty());
        let traits = NumberTraits {
            region: text("region"),
            locality: text("locality"),
            kind: word(field("type"), "type", &NumberKind::ALL, NumberKind::as_str)?.unwrap_or_default(),
            voice,
            sms,
            trunk: text("trunk"),
            carrier: text("carrier"),
            monthly_cost: cost,
            tags: tags.map(str::to_owned).collect(),
            state: NumberState::Active,
        };
        Ok(ImportLine {
            line,
            country: country.map_err(|error| (error.to_string(), "correct it, or leave it out"))?,
            state: word(field("status"), "status", &NumberState::ALL, NumberState::as_str)?,
            number: NewNumber { number, traits },
        })
    }
}

fn takes(text: &str) -> Result<(bool, bool), (String, &'static str)> {
    let (mut voice, mut sms) = (false, false);
    for word in text.split([',', ';', '|', '+', ' ']).filter(|word| !word.is_empty()) {
        match word.to_ascii_lowercase().as_str() {
            "voice" => voice = true,
            "sms" => sms = true,
            _ => return Err((format!("{word:?} is no capability"), "write voice, sms, or voice;sms")),
        }
    }
    Ok((voice, sms))
}

fn word<T: Copy>(
    field: Option<&str>,
    column: &str,
    known: &[T; 4],
    name: impl Fn(T) -> &'static str,
) -> Result<Option<T>, (String, &'static str)> {
    let Some(field) = field else { return Ok(None) };
    let written = field.to_ascii_lowercase().replace(['_', ' '], "-");
    let found = known.iter().find(|&&value| name(value) == written);
    let remedy = if column == "type" {
        "write local, toll-free, mobile or internal"
    } else {
        "write active, draining, quarantined or disabled"
    };
    found.map(|&value| Some(value)).ok_or_else(|| (format!("{field:?} is no {column}"), remedy))
}

fn bad(line: u64, (what, remedy): (String, &'static str)) -> LineProblem {
    LineProblem { line, what, remedy: remedy.to_owned() }
}

fn header_failure(what: String) -> Failure {
    Failure::usage(what, format!("begin the file with a line of some of: {}", COLUMNS.join(",")))
}

fn unreadable(error: &csv::Error) -> Failure {
    Failure::new(Exit::Failure, format!("the file cannot be read: {error}"), "check the file")
}

/// The file that [`Lines`] reads back.
pub(super) fn write<'a>(numbers: impl Iterator<Item = &'a PoolNumber>) -> Result<String, Failure> {
    let unwritten = |error: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Failure,
            format!("the file cannot be written: {error}"),
            "report this as a defect of vizard",
        )
    };
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS).map_err(|error| unwritten(&error))?;
    for PoolNumber { number, country, traits } in numbers {
        let cost = traits.monthly_cost;
        let capabilities = match (traits.voice, traits.sms) {
            (true, true) => "voice;sms",
            (true, false) => "voice",
            (false, _) => "sms",
        };
        let row = [
            number.to_string(),
            country.to_string(),
            traits.region.clone().unwrap_or_default(),
            traits.locality.clone().unwrap_or_default(),
            traits.kind.as_str().to_owned(),
            capabilities.to_owned(),
            traits.trunk.clone().unwrap_or_default(),
            traits.carrier.clone().unwrap_or_default(),
            cost.map(|cost| cost.amount.to_string()).unwrap_or_default(),
            cost.map(|cost| cost.currency.to_string()).unwrap_or_default(),
            traits.tags.join(";"),
            traits.state.as_str().to_owned(),
        ];
        writer.write_record(row).map_err(|error| unwritten(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| unwritten(&error))?;
    String::from_utf8(bytes).map_err(|error| unwritten(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Result<ImportLine, LineProblem>> {
        let mut lines = Lines::open(text.as_bytes()).unwrap();
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    #[test]
    fn what_was_exported_is_imported_the_same() {
        let number = PoolNumber {
            number: "+12125550123".parse().unwrap(),
            country: "US".parse().unwrap(),
            traits: NumberTraits {
                region: Some("NY".into()),
                locality: Some("New York, \"Manhattan\"".into()),
                kind: NumberKind::TollFree,
                sms: true,
                trunk: Some("carrier".into()),
                carrier: Some("Example, Inc.".into()),
                monthly_cost: Some("1.15 USD".parse().unwrap()),
                tags: vec!["a".into(), "b".into()],
                state: NumberState::Quarantined,
                ..NumberTraits::default()
            },
        };
        let read = lines(&write([&number].into_iter()).unwrap());
        let [Ok(line)] = &read[..] else { panic!("{read:?}") };
        let traits = NumberTraits { state: NumberState::Active, ..number.traits.clone() };
        assert_eq!(line.number, NewNumber { number: number.number, traits });
        assert_eq!(
            (line.line, line.country, line.state),
            (2, Some(number.country), Some(number.traits.state))
        );
    }

    #[test]
    fn every_bad_line_says_its_number_and_why() {
        let text = "Number,Type,Monthly Cost,currency\n\
            +12125550123,local,,\n\
            \n\
            2125550123,local,,\n\
            +12125550124,landline,,\n\
            +12125550125,local,1.15,\n\
            +12125550126,local,x,USD\n\
            +12125550127,local,1.15,USD,more\n\
            +12125550128\n";
        let problems: Vec<_> =
            lines(text).into_iter().map(|line| line.map_err(|p| (p.line, p.what)).err()).collect();
        let [None, Some(plus), Some(kind), Some(bare), Some(cost), Some(more), None] = &problems[..] else {
            panic!("{problems:?}")
        };
        assert!(
            plus.0 == 4 && plus.1.starts_with("\"2125550123\": an E.164 number starts with '+'"),
            "{plus:?}"
        );
        assert_eq!(*kind, (5, "\"landline\" is no type".to_owned()));
        assert_eq!(*bare, (6, "the cost has no currency".to_owned()));
        assert!(cost.0 == 7 && cost.1.starts_with("an amount is a decimal number"), "{cost:?}");
        assert_eq!(*more, (8, "5 fields, and the header names 4".to_owned()));
    }

    #[test]
    fn a_header_is_known_whole_or_refused() {
        for (header, problem) in [
            ("numbers,type\n", "did you mean"),
            ("+12125550123\n+12125550124\n", "not known"),
            ("number,number\n", "twice"),
            ("type\n", "no column \"number\""),
            ("", "no column \"number\""),
        ] {
            let failure = Lines::open(header.as_bytes()).err().unwrap();
            assert!(failure.what.contains(problem), "{header:?}: {failure:?}");
        }
    }
}
