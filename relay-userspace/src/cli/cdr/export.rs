//! `vizard cdr export`: records as files that other programs read, one line each.
//!
//! A file is written beside its place and takes it when it is whole, so that nobody
//! reads half of one. The columns are in one list and have one order; new ones come last.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Filter, direction, leg_and_fork, score_alone, side};
use crate::cli::exit::Exit;
use crate::cli::live::Daemon;
use crate::cli::output::{Block, Failure, Report, spelt, time};
use crate::cli::report;
use crate::engine::cdr::{Attestation, Cdr, Charge};
use crate::engine::directory::BindingKind;
use crate::engine::encoding::Encoding;
use crate::engine::flow::MediaPath;
use crate::engine::time::Timestamp;

/// Write call detail records to a file, or to standard output
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vizard cdr export --since 2026-03-01T00:00:00Z --until 2026-04-01T00:00:00Z --out march.csv
  vizard cdr export --tenant acme --format jsonl | gzip > acme.jsonl.gz
  vizard cdr export --trunk carrier --format csv | cut -d, -f1,5,25

Newest first. CSV has a header and fixed columns, of which new versions add more at the
end; JSON lines say what `vizard cdr list --json` says. A file is replaced when the new one
is whole.")]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    filter: Filter,
    /// How records are written
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// The file; standard output without it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated values (RFC 4180)
    Csv,
    /// One JSON object a line
    Jsonl,
}

pub(super) fn run(args: &ExportArgs, daemon: &mut Daemon) -> Result<Report, Failure> {
    let query = args.filter.query();
    let Some(path) = &args.out else {
        let mut out = BufWriter::new(io::stdout().lock());
        let written = write(&mut out, args.format, |with| report::each(daemon, &query, with));
        let flushed = written.and_then(|_| out.flush().map_err(|error| unwritten("standard output", &error)));
        return match flushed {
            // Who has gone away has read all it wanted.
            Err(failure) if failure.exit == Exit::Ok => Report::new(Vec::new(), json!(null)),
            Err(failure) => Err(failure),
            Ok(()) => Report::new(Vec::new(), json!(null)).map(silent),
        };
    };
    let records = to_file(path, args.format, |with| report::each(daemon, &query, with))?;
    let said = format!("{records} records written to {}", path.display());
    Report::new(vec![Block::Text(said)], json!({ "records": records, "file": path }))
}

/// What was asked for stands on standard output already.
fn silent(report: Report) -> Report {
    Report { blocks: Vec::new(), ..report }
}

/// Gives every record to what it is given.
type Every<'a> = &'a mut dyn FnMut(&Cdr) -> Result<(), Failure>;

fn to_file(
    path: &Path,
    format: Format,
    every: impl FnOnce(Every<'_>) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let shown = path.display().to_string();
    // A device, a pipe or a link would be replaced by a file.
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        let remedy = "name a file, or write to standard output: leave --out away";
        return Err(Failure::new(Exit::Failure, format!("{shown} is there and is not a file"), remedy));
    }
    let beside = path.with_added_extension("part");
    let failed = |error: io::Error| unwritten(&shown, &error);
    let written = File::create(&beside).map_err(failed).and_then(|file| {
        let mut out = BufWriter::new(file);
        let records = write(&mut out, format, every)?;
        let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().and_then(|()| fs::rename(&beside, path)).map_err(failed)?;
        Ok(records)
    });
    if written.is_err() {
        // It may not be there; what matters was said.
        let _gone = fs::remove_file(&beside);
    }
    written
}

fn write(
    out: &mut dyn Write,
    format: Format,
    every: impl FnOnce(Every<'_>) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut records = 0;
    let failed = |error: io::Error| unwritten("the records", &error);
    match format {
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(COLUMNS.map(|(name, _)| name)).map_err(|error| failed(error.into()))?;
            every(&mut |cdr| {
                records += 1;
                csv.write_record(COLUMNS.map(|(_, of)| of(cdr))).map_err(|error| failed(error.into()))
            })?;
            csv.flush().map_err(failed)?;
        }
        Format::Jsonl => every(&mut |cdr| {
            records += 1;
            writeln!(out, "{}", spelt(cdr)?).map_err(failed)
        })?,
    }
    Ok(records)
}

fn unwritten(what: &str, error: &io::Error) -> Failure {
    let (exit, remedy) = match error.kind() {
        ErrorKind::BrokenPipe => (Exit::Ok, ""),
        ErrorKind::StorageFull => (Exit::Unavailable, "free some space there, or name another file"),
        ErrorKind::PermissionDenied | ErrorKind::NotFound => {
            (Exit::Failure, "name a file in a folder that is there and may be written to")
        }
        _ => (Exit::Failure, "name another file"),
    };
    Failure::new(exit, format!("cannot write {what}: {error}"), remedy)
}

/// A column, and what a record has there; nothing is an empty field.
type Column = (&'static str, fn(&Cdr) -> String);

const COLUMNS: [Column; 49] = [
    ("record", |cdr| cdr.id.to_string()),
    ("version", |cdr| cdr.version.to_string()),
    ("interim", |cdr| some(cdr.interim)),
    ("session", |cdr| cdr.session.to_string()),
    ("leg", |cdr| leg_and_fork(cdr.leg, cdr.fork)),
    ("binding", |cdr| some(cdr.binding)),
    ("tenant", |cdr| cdr.tenant.clone()),
    ("project", |cdr| cdr.project.clone()),
    ("kind", |cdr| some(cdr.labels.kind.map(BindingKind::as_str))),
    ("key", |cdr| some(cdr.labels.key.as_deref())),
    ("agent", |cdr| some(cdr.labels.agent)),
    ("tags", |cdr| cdr.labels.tags.join(" ")),
    ("direction", |cdr| direction(cdr).to_owned()),
    ("proxy", |cdr| some(cdr.proxy)),
    ("remote_country", |cdr| some(cdr.remote_country)),
    ("remote_area", |cdr| some(cdr.remote_area)),
    ("trunk", |cdr| cdr.trunk.clone()),
    ("start", |cdr| time(cdr.start)),
    ("ring", |cdr| at(cdr.ring)),
    ("answer", |cdr| at(cdr.answer)),
    ("end", |cdr| time(cdr.end)),
    ("duration_us", |cdr| cdr.duration_us.to_string()),
    ("billable_seconds", |cdr| cdr.billable_seconds.to_string()),
    ("cost_rate", |cdr| charged(cdr.cost, |charge| charge.rate.to_string())),
    ("cost", |cdr| charged(cdr.cost, |charge| charge.amount.to_string())),
    ("cost_currency", |cdr| charged(cdr.cost, |charge| charge.currency.to_string())),
    ("price_rate", |cdr| charged(cdr.price, |charge| charge.rate.to_string())),
    ("price", |cdr| charged(cdr.price, |charge| charge.amount.to_string())),
    ("price_currency", |cdr| charged(cdr.price, |charge| charge.currency.to_string())),
    ("release_side", |cdr| side(cdr).to_owned()),
    ("cause", |cdr| cdr.release.cause.as_str().to_owned()),
    ("sip_status", |cdr| some(cdr.release.sip_status)),
    ("q850", |cdr| cdr.release.cause.q850().to_string()),
    ("codec", |cdr| some(cdr.media.codec.map(Encoding::as_str))),
    ("media_path", |cdr| some(cdr.media.path.map(MediaPath::as_str))),
    ("received_packets", |cdr| cdr.received.packets.to_string()),
    ("received_bytes", |cdr| cdr.received.bytes.to_string()),
    ("sent_packets", |cdr| cdr.sent.packets.to_string()),
    ("sent_bytes", |cdr| cdr.sent.bytes.to_string()),
    ("expected", |cdr| cdr.media.expected.to_string()),
    ("lost", |cdr| cdr.media.lost.to_string()),
    ("reordered", |cdr| cdr.media.reordered.to_string()),
    ("jitter_us", |cdr| cdr.media.jitter_us.to_string()),
    ("mos", |cdr| some(score_alone(cdr))),
    ("one_way", |cdr| cdr.media.one_way.to_string()),
    ("recording", |cdr| some(cdr.recording.as_deref())),
    ("attestation", |cdr| some(cdr.attestation.map(Attestation::as_str))),
    ("emergency", |cdr| cdr.emergency.to_string()),
    ("diversion", |cdr| some(cdr.diversion)),
];

fn some<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn at(moment: Option<Timestamp>) -> String {
    moment.map_or_else(String::new, time)
}

fn charged(charge: Option<Charge>, show: impl FnOnce(Charge) -> String) -> String {
    charge.map_or_else(String::new, show)
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use super::*;

    /// What a file of these records holds.
    fn exported(format: Format, records: &[Cdr]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        fs::write(&path, "from before").unwrap();
        let written = to_file(&path, format, |with| records.iter().try_for_each(with)).unwrap();
        assert_eq!(written, u64::try_from(records.len()).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        fs::read_to_string(path).unwrap()
    }

    /// Every column of a file, and that a failure leaves the file of before.
    pub(in crate::cli) fn check(cdr: &Cdr) {
        let csv = exported(Format::Csv, &[cdr.clone(), cdr.clone()]);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        let of = |name: &str| &rows[1][header.iter().position(|column| column == name).unwrap()];
        assert_eq!((of("leg"), of("cause"), of("q850")), ("B", "normal", "16"));
        assert_eq!((of("end"), of("interim")), ("2026-03-04T05:07:10.25Z", ""));
        assert_eq!((of("key"), of("tags"), of("cost")), ("a, \"quoted\" one", "x y", "0.0125"));

        let lines = exported(Format::Jsonl, &[cdr.clone(), cdr.clone()]);
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["end"], &lines[0]["key"]), (&json!(of("end")), &json!(of("key"))));
        assert_eq!(lines[0]["id"], of("record"));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        fs::write(&path, "from before").unwrap();
        let gone = || Failure::new(Exit::Unreachable, "the daemon has gone", "");
        assert_eq!(to_file(&path, Format::Csv, |_| Err(gone())), Err(gone()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "from before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = to_file(&folder.path().join("no/such"), Format::Csv, |_| Ok(())).unwrap_err();
        assert!(nowhere.what.contains("no/such") && nowhere.remedy.contains("folder"), "{nowhere:?}");
        let in_the_way = to_file(folder.path(), Format::Csv, |_| Ok(())).unwrap_err();
        assert!(in_the_way.what.contains("not a file") && folder.path().is_dir(), "{in_the_way:?}");
        let mut sink = File::options().write(true).open("/dev/full").unwrap();
        let full = write(&mut sink, Format::Jsonl, |with| with(cdr)).unwrap_err();
        assert_eq!(full.exit, Exit::Unavailable, "{full:?}");
    }
}
