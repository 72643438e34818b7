//! `vizard pool`: the numbers that Vizard owns.

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};

use super::GlobalArgs;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report};
use crate::engine::admin::{AdminReply, AdminRequest, NewNumber, PoolRow};
use crate::engine::directory::NumberKind;
use crate::engine::number::{Country, ProxyNumber};

/// Rows that one request asks for.
const PAGE: usize = 1_000;

const ADD_EXAMPLES: &str = "\
Examples:
  vizard pool add +12125550123 +12125550124 --region NY --locality 'New York' --trunk carrier
  vizard pool add +18005550199 --kind toll-free --sms
  xargs vizard pool add < numbers.txt

All numbers are added or none. A number that is there with the same properties is
left as it is; with others it is a conflict (exit code 6).";

const LIST_EXAMPLES: &str = "\
Examples:
  vizard pool list
  vizard pool list --country DE
  vizard pool list --json | jq '.numbers[] | select(.live == 0).number'";

#[derive(Debug, Subcommand)]
pub(super) enum PoolCommand {
    Add(AddArgs),
    List(ListArgs),
}

/// Add numbers to the pool
#[derive(Debug, Args)]
#[command(after_help = ADD_EXAMPLES)]
pub(super) struct AddArgs {
    /// E.164 numbers, such as +12125550123
    #[arg(required = true, value_name = "NUMBER")]
    numbers: Vec<ProxyNumber>,
    /// Region or state
    #[arg(long)]
    region: Option<String>,
    /// City or exchange
    #[arg(long)]
    locality: Option<String>,
    /// What sort of numbers they are
    #[arg(long, value_enum, default_value_t)]
    kind: KindArg,
    /// They take texts too
    #[arg(long)]
    sms: bool,
    /// They take texts only
    #[arg(long, requires = "sms")]
    no_voice: bool,
    /// The trunk that delivers them
    #[arg(long, value_name = "NAME")]
    trunk: Option<String>,
}

/// List the pool's numbers and what holds them
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct ListArgs {
    /// Only this country's numbers
    #[arg(long, value_name = "CC")]
    country: Option<Country>,
    /// At most so many
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    limit: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum KindArg {
    /// Geographic
    #[default]
    Local,
    /// Free for the caller
    TollFree,
    /// In a mobile range
    Mobile,
    /// Reachable from a PBX trunk alone
    Internal,
}

impl From<KindArg> for NumberKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Local => Self::Local,
            KindArg::TollFree => Self::TollFree,
            KindArg::Mobile => Self::Mobile,
            KindArg::Internal => Self::Internal,
        }
    }
}

pub(super) fn run(command: PoolCommand, global: &GlobalArgs) -> Result<Report, Failure> {
    match command {
        PoolCommand::Add(args) => {
            let request = AdminRequest::PoolAdd { numbers: new_numbers(args) };
            added(&Daemon::connect(global)?.admin(request)?)
        }
        PoolCommand::List(args) => listed(&rows(&mut Daemon::connect(global)?, &args)?),
    }
}

fn new_numbers(args: AddArgs) -> Vec<NewNumber> {
    let AddArgs { numbers, region, locality, kind, sms, no_voice, trunk } = args;
    let number = |number| NewNumber {
        number,
        region: region.clone(),
        locality: locality.clone(),
        kind: kind.into(),
        voice: !no_voice,
        sms,
        trunk: trunk.clone(),
    };
    numbers.into_iter().map(number).collect()
}

fn added(reply: &AdminReply) -> Result<Report, Failure> {
    let AdminReply::PoolAdded { added, known } = reply else { return Err(unexpected()) };
    let mut text = format!("added {added} number{}", if *added == 1 { "" } else { "s" });
    if *known > 0 {
        let _ = write!(text, "; {known} there already");
    }
    Report::new(vec![Block::Text(text)], serde_json::json!({ "added": added, "known": known }))
}

fn rows(daemon: &mut Daemon, args: &ListArgs) -> Result<Vec<PoolRow>, Failure> {
    let mut rows: Vec<PoolRow> = Vec::new();
    while rows.len() < args.limit {
        let limit = PAGE.min(args.limit - rows.len());
        let after = rows.last().map(|row| row.number.number);
        let reply = daemon.admin(AdminRequest::PoolList { country: args.country, after, limit })?;
        let AdminReply::Pool(page) = reply else { return Err(unexpected()) };
        let last = page.len() < limit;
        rows.extend(page);
        if last {
            break;
        }
    }
    Ok(rows)
}

pub(super) fn listed(rows: &[PoolRow]) -> Result<Report, Failure> {
    let table = Block::Table {
        header: vec!["NUMBER", "COUNTRY", "REGION", "LOCALITY", "KIND", "TAKES", "TRUNK", "LIVE", "ENTOMBED"],
        rows: rows.iter().map(row).collect(),
        empty: "the pool is empty; add numbers with `vizard pool add`".to_owned(),
    };
    Report::new(vec![table], serde_json::json!({ "numbers": rows }))
}

fn row(row: &PoolRow) -> Vec<String> {
    let number = &row.number;
    let kind = match number.kind {
        NumberKind::Local => "local",
        NumberKind::TollFree => "toll-free",
        NumberKind::Mobile => "mobile",
        NumberKind::Internal => "internal",
    };
    let takes = match (number.voice, number.sms) {
        (true, true) => "voice,sms",
        (true, false) => "voice",
        (false, true) => "sms",
        (false, false) => "",
    };
    vec![
        number.number.to_string(),
        number.country.to_string(),
        number.region.clone().unwrap_or_default(),
        number.locality.clone().unwrap_or_default(),
        kind.to_owned(),
        takes.to_owned(),
        number.trunk.clone().unwrap_or_default(),
        row.live.to_string(),
        row.entombed.to_string(),
    ]
}
