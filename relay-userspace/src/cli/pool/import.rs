//! `vizard pool import`: many numbers from a file, all or none.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::ask;
use super::file::Lines;
use crate::cli::GlobalArgs;
use crate::cli::exit::Exit;
use crate::cli::live::{Daemon, unexpected};
use crate::cli::output::{Block, Failure, Report};
use crate::engine::directory::pool::{IMPORT_LINES, ImportCounts, ImportLine, LineProblem};
use crate::engine::directory::{PoolReply, PoolRequest};

/// Making a hundred thousand numbers durable takes a slow disk some seconds.
const PATIENCE: Duration = Duration::from_mins(2);

const EXAMPLES: &str = "\
Examples:
  vizard pool import numbers.csv
  vizard pool import numbers.csv --dry-run
  vizard pool import numbers.csv --keep-good --update
  ssh store cat numbers.csv | vizard pool import -

The file is CSV with a header line of some of these columns, in any order:
  number        E.164, such as +12125550123 (required)
  country       two letters; checked against the number
  region        region or state; in the US and Canada the area code tells it
  locality      city or exchange
  type          local (default), toll-free, mobile, internal
  capabilities  voice (default), sms, voice;sms
  trunk         a [[trunk]] of the configuration
  carrier       who leases the number to you
  monthly_cost  a decimal number; needs currency
  currency      three letters (ISO 4217)
  tags          words, separated by ';'
  status        active, draining, quarantined, disabled

Every bad line is reported with its number and its reason. All numbers join the
pool or none, unless --keep-good takes the good lines.";

/// Import numbers from a CSV file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct ImportArgs {
    /// The file; '-' is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Import the good lines even if there are bad ones
    #[arg(long)]
    keep_good: bool,
    /// Let numbers that are there take the properties of the file
    #[arg(long)]
    update: bool,
    /// Check every line, and import nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &ImportArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let (input, bar) = open(&args.file)?;
    let mut lines = Lines::open(bar.wrap_read(input))?;
    let mut import = Import::begin(Daemon::connect_for(global, PATIENCE)?, args.update)?;
    while let Some(line) = lines.next()? {
        match line {
            Ok(line) => import.take(line)?,
            Err(problem) => import.problems.push(problem),
        }
    }
    import.flush()?;
    let keep = !args.dry_run && (args.keep_good || import.problems.is_empty());
    bar.finish_and_clear();
    let (good, problems, counts) = import.end(keep)?;
    if problems.is_empty() || (args.keep_good && !args.dry_run) {
        imported(args, good, &problems, counts)
    } else {
        Err(failed(good, problems))
    }
}

fn open(file: &Path) -> Result<(Box<dyn Read>, ProgressBar), Failure> {
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), ProgressBar::no_length()));
    }
    let opened = File::open(file).and_then(|open| Ok((open.metadata()?.len(), open)));
    let (length, open) = opened.map_err(|error| {
        Failure::new(Exit::Failure, format!("{}: {error}", file.display()), "name a file that can be read")
    })?;
    let style = ProgressStyle::with_template("{bar:40} {percent}% of {total_bytes}, {eta} left");
    let bar = ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    Ok((Box::new(open), bar))
}

/// An import under way.
struct Import {
    daemon: Daemon,
    id: u64,
    chunk: Vec<ImportLine>,
    good: usize,
    problems: Vec<LineProblem>,
}

impl Import {
    fn begin(mut daemon: Daemon, update: bool) -> Result<Self, Failure> {
        let PoolReply::ImportBegun(id) = ask(&mut daemon, PoolRequest::ImportBegin { update })? else {
            return Err(unexpected());
        };
        Ok(Self { daemon, id, chunk: Vec::new(), good: 0, problems: Vec::new() })
    }

    fn take(&mut self, line: ImportLine) -> Result<(), Failure> {
        self.chunk.push(line);
        if self.chunk.len() == IMPORT_LINES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.chunk);
        let sent = lines.len();
        let request = PoolRequest::ImportLines { import: self.id, lines };
        let PoolReply::ImportChecked(problems) = ask(&mut self.daemon, request)? else {
            return Err(unexpected());
        };
        self.good += sent - problems.len();
        self.problems.extend(problems);
        Ok(())
    }

    /// How many lines were good, what was wrong with the others, and what became
    /// of the good ones.
    fn end(mut self, keep: bool) -> Result<(usize, Vec<LineProblem>, ImportCounts), Failure> {
        let request = PoolRequest::ImportEnd { import: self.id, keep };
        let PoolReply::Imported(counts) = ask(&mut self.daemon, request)? else { return Err(unexpected()) };
        self.problems.sort_by_key(|problem| problem.line);
        Ok((self.good, self.problems, counts))
    }
}

fn imported(
    args: &ImportArgs,
    good: usize,
    problems: &[LineProblem],
    counts: ImportCounts,
) -> Result<Report, Failure> {
    let ImportCounts { added, updated, known } = counts;
    let mut text = if args.dry_run {
        format!("all {good} lines are good; nothing was imported")
    } else {
        format!("added {added}, updated {updated}, {known} there already")
    };
    if !problems.is_empty() {
        let _ = write!(text, "; {} bad lines were left out", problems.len());
    }
    let table = Block::Table {
        header: vec!["LINE", "WHAT IS WRONG"],
        rows: problems.iter().map(|problem| vec![problem.line.to_string(), problem.what.clone()]).collect(),
        empty: String::new(),
    };
    let document = json!({
        "added": added, "updated": updated, "known": known, "good": good, "dry_run": args.dry_run, "bad": problems,
    });
    Report::new(vec![table, Block::Text(text)], document)
}

fn failed(good: usize, problems: Vec<LineProblem>) -> Failure {
    let lines = good + problems.len();
    let mut what = format!("{} of {lines} lines are bad; nothing was imported", problems.len());
    for LineProblem { line, what: problem, remedy } in &problems {
        let _ = write!(what, "\n  line {line}: {problem}; {remedy}");
    }
    Failure {
        details: problems.into_iter().map(|problem| json!(problem)).collect(),
        ..Failure::usage(what, "mend these lines, or import the others with --keep-good")
    }
}
