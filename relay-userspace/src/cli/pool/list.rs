//! Looking at the pool: lists, single numbers, sums, and the file of all.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::{FilterArgs, ask, file};
use crate::cli::live::{Daemon, unexpected};
use crate::cli::output::{Block, Failure, Report, or_dash, time_short};
use crate::cli::page::{Page, PageArgs};
use crate::engine::directory::pool::{PoolGroup, PoolSums};
use crate::engine::directory::{PoolFilter, PoolReply, PoolRequest, PoolRow};
use crate::engine::number::ProxyNumber;

const LIST_EXAMPLES: &str = "\
Examples:
  vizard pool list
  vizard pool list --country DE --limit 100 --after +493055500199
  vizard pool list --state draining --idle
  vizard pool list --json | jq '.numbers[] | select(.live == 0).number'";

const EXPORT_EXAMPLES: &str = "\
Examples:
  vizard pool export | tee numbers.csv
  vizard pool export --trunk old-carrier | tee leaving.csv
  vizard pool export --json | jq '.numbers | length'

The columns are those that `vizard pool import` reads.";

/// List the pool's numbers and what holds them
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Carrier, cost and tags too
    #[arg(long)]
    wide: bool,
    #[command(flatten)]
    page: PageArgs<ProxyNumber, 10_000>,
}

/// Write the pool as CSV, or as JSON with --json
#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    /// The number
    #[arg(value_name = "NUMBER")]
    number: ProxyNumber,
}

pub(super) fn list(daemon: &mut Daemon, args: &ListArgs) -> Result<Report, Failure> {
    let filter = args.filter.filter();
    listed(&args.page.fetched(|after, limit| piece(daemon, &filter, after, limit))?, args.wide)
}

type Piece = (Vec<PoolRow>, Option<ProxyNumber>);

fn piece(
    daemon: &mut Daemon,
    filter: &PoolFilter,
    after: Option<ProxyNumber>,
    limit: usize,
) -> Result<Piece, Failure> {
    let request = PoolRequest::List { filter: filter.clone(), after, limit };
    let PoolReply::Page(page) = ask(daemon, request)? else { return Err(unexpected()) };
    Ok((page.rows, page.next))
}

pub(in crate::cli) fn listed(page: &Page<PoolRow>, wide: bool) -> Result<Report, Failure> {
    let mut header = vec!["NUMBER", "COUNTRY", "REGION", "LOCALITY", "KIND", "TAKES", "TRUNK", "STATE"];
    if wide {
        header.extend(["CARRIER", "COST", "TAGS"]);
    }
    header.extend(["LIVE", "ENTOMBED"]);
    let empty = "no such number; add some with `vizard pool add` or `vizard pool import`";
    page.report("numbers", header, |row| cells(row, wide), empty)
}

fn cells(row: &PoolRow, wide: bool) -> Vec<String> {
    let number = &row.number;
    let traits = &number.traits;
    let mut cells = vec![
        number.number.to_string(),
        number.country.to_string(),
        traits.region.clone().unwrap_or_default(),
        traits.locality.clone().unwrap_or_default(),
        traits.kind.as_str().to_owned(),
        takes(row),
        traits.trunk.clone().unwrap_or_default(),
        traits.state.as_str().to_owned(),
    ];
    if wide {
        cells.extend([
            traits.carrier.clone().unwrap_or_default(),
            traits.monthly_cost.map(|cost| cost.to_string()).unwrap_or_default(),
            traits.tags.join(","),
        ]);
    }
    cells.extend([row.live.to_string(), row.entombed.to_string()]);
    cells
}

fn takes(row: &PoolRow) -> String {
    let traits = &row.number.traits;
    let takes = [("voice", traits.voice), ("sms", traits.sms)];
    takes.iter().filter(|(_, takes)| *takes).map(|&(name, _)| name).collect::<Vec<_>>().join(",")
}

pub(super) fn show(daemon: &mut Daemon, args: &ShowArgs) -> Result<Report, Failure> {
    let request = PoolRequest::Show { number: args.number };
    let PoolReply::Number(row) = ask(daemon, request)? else { return Err(unexpected()) };
    let traits = &row.number.traits;
    let text = |text: &Option<String>| or_dash(text.clone(), |text| text);
    let fields = vec![
        ("number", row.number.number.to_string()),
        ("country", row.number.country.to_string()),
        ("region", text(&traits.region)),
        ("locality", text(&traits.locality)),
        ("kind", traits.kind.as_str().to_owned()),
        ("takes", takes(&row)),
        ("trunk", text(&traits.trunk)),
        ("carrier", text(&traits.carrier)),
        ("cost", or_dash(traits.monthly_cost, |cost| format!("{cost} a month"))),
        ("tags", or_dash((!traits.tags.is_empty()).then(|| traits.tags.join(", ")), |tags| tags)),
        ("state", traits.state.as_str().to_owned()),
        ("bindings", format!("{} live, {} ended with their numbers reserved", row.live, row.entombed)),
        ("released", or_dash(row.released, time_short)),
    ];
    Report::new(vec![Block::Fields(fields)], json!({ "number": row }))
}

pub(super) fn export(daemon: &mut Daemon, args: &ExportArgs) -> Result<Report, Failure> {
    let filter = args.filter.filter();
    let all = PageArgs::<ProxyNumber, { usize::MAX }>::default();
    let all = all.fetched(|after, limit| piece(daemon, &filter, after, limit))?.rows;
    let text = file::write(all.iter().map(|row| &row.number))?;
    Report::new(vec![Block::Text(text.trim_end().to_owned())], json!({ "numbers": all }))
}

pub(super) fn stats(daemon: &mut Daemon) -> Result<Report, Failure> {
    let (mut groups, mut after) = (BTreeMap::<_, PoolSums>::new(), None);
    loop {
        let PoolReply::Stats(part) = ask(daemon, PoolRequest::Stats { after })? else {
            return Err(unexpected());
        };
        for PoolGroup { country, region, kind, sums } in part.groups {
            groups.entry((country, region, kind)).or_default().add(&sums);
        }
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    let mut total = PoolSums::default();
    for sums in groups.values() {
        total.add(sums);
    }
    let mut table: Vec<Vec<String>> = groups
        .iter()
        .map(|((country, region, kind), sums)| {
            let place = [country.to_string(), region.clone().unwrap_or_default(), kind.as_str().to_owned()];
            place.into_iter().chain(sum_cells(sums)).collect()
        })
        .collect();
    if groups.len() > 1 {
        let all = ["all".to_owned(), String::new(), String::new()];
        table.push(all.into_iter().chain(sum_cells(&total)).collect());
    }
    let header = vec![
        "COUNTRY",
        "REGION",
        "KIND",
        "NUMBERS",
        "ACTIVE",
        "DRAINING",
        "QUARANTINED",
        "DISABLED",
        "IDLE",
        "LIVE",
        "ENTOMBED",
        "BUSIEST",
        "COST",
    ];
    let empty = "the pool is empty; add numbers with `vizard pool add`".to_owned();
    let group = |((country, region, kind), sums)| PoolGroup { country, region, kind, sums };
    let document = json!({ "total": total, "groups": groups.into_iter().map(group).collect::<Vec<_>>() });
    Report::new(vec![Block::Table { header, rows: table, empty }], document)
}

fn sum_cells(sums: &PoolSums) -> Vec<String> {
    let cost: Vec<String> =
        sums.monthly_cost.iter().map(|(currency, amount)| format!("{amount} {currency}")).collect();
    let counts = [sums.numbers].into_iter().chain(sums.states);
    let counts = counts.chain([sums.idle, sums.live, sums.entombed, sums.busiest]);
    counts.map(|count| count.to_string()).chain([cost.join(" + ")]).collect()
}
