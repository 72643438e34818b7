//! `vizard report`: what calls come to, for those who pay and those who look after
//! quality.
//!
//! Records are read page by page and added up here, so a report holds its groups and one
//! page of records, and the daemon no more than that page.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::GlobalArgs;
use super::exit::Exit;
use super::live::Daemon;
use super::output::Report as Said;
use super::output::{Block, Failure, moment, or_dash, time};
use crate::engine::cdr::Cdr;
use crate::engine::money::Currency;
use crate::engine::report::{Dimension, Report, Sums};
use crate::engine::time::Timestamp;
use crate::store::CdrQuery;

/// Records of one request.
const PIECE: usize = 5_000;

const EXAMPLES: &str = "\
Examples:
  vizard report carrier --from 2026-03-01T00:00:00Z --to 2026-04-01T00:00:00Z
  vizard report tenant --from 2026-03-01T00:00:00Z --by tenant,project,case --csv
  vizard report partner --from 2026-03-01T00:00:00Z --tenant acme
  vizard report quality --from 2026-03-04T00:00:00Z --by trunk,country
  vizard report quality --from 2026-03-04T00:00:00Z --json | jq '.total'

Legs that ended from --from on and before --to are counted, those of calls that go on are
not. Amounts are per currency, never converted. ASR and NER are of a hundred legs that
Vizard placed (ITU-T E.425: NER counts those too that were busy, declined, rang in vain or
were given up), ACD is seconds per answered leg, PDD seconds until it rang.";

/// Add up call detail records
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum ReportCommand {
    /// What carriers are owed, by trunk and country
    Carrier(ReportArgs),
    /// What tenants owe, by tenant, project and case
    Tenant(ReportArgs),
    /// What a partner is told: sessions, direction and time by proxy number
    Partner(ReportArgs),
    /// ASR, NER, ACD, PDD, loss and MOS, by trunk
    Quality(ReportArgs),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReportArgs {
    /// Only legs that ended at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Only legs that ended before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
    /// What to group by, such as `tenant,country,day`
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    by: Option<Vec<Dimension>>,
    /// Only this tenant's
    #[arg(long)]
    tenant: Option<String>,
    /// Only this project's
    #[arg(long)]
    project: Option<String>,
    /// Only those of legs on this trunk
    #[arg(long, value_name = "NAME")]
    trunk: Option<String>,
}

/// One of the reports.
struct Kind {
    name: &'static str,
    by: &'static [Dimension],
    columns: &'static [Column],
}

/// A column, and what stands in it.
type Column = (&'static str, fn(&Sums) -> String);

const LEGS: Column = ("LEGS", |sums| sums.legs.to_string());
const SESSIONS: Column = ("SESSIONS", |sums| sums.sessions.to_string());
const ANSWERED: Column = ("ANSWERED", |sums| sums.answered.to_string());
const BILLED: Column = ("BILLED", |sums| sums.billable_seconds.to_string());
const COST: Column = ("COST", |sums| money(&sums.cost));
const PRICE: Column = ("PRICE", |sums| money(&sums.price));

const CARRIER: Kind = Kind {
    name: "carrier",
    by: &[Dimension::Trunk, Dimension::Country],
    columns: &[LEGS, ANSWERED, BILLED, COST],
};
const TENANT: Kind = Kind {
    name: "tenant",
    by: &[Dimension::Tenant, Dimension::Project, Dimension::Case],
    columns: &[SESSIONS, LEGS, ANSWERED, BILLED, COST, PRICE],
};
const PARTNER: Kind = Kind {
    name: "partner",
    by: &[Dimension::Proxy, Dimension::Direction],
    columns: &[
        SESSIONS,
        LEGS,
        ANSWERED,
        BILLED,
        ("LASTED", |sums| (sums.duration_us / 1_000_000).to_string()),
    ],
};
const QUALITY: Kind = Kind {
    name: "quality",
    by: &[Dimension::Trunk],
    columns: &[
        LEGS,
        ("ATTEMPTS", |sums| sums.attempts.to_string()),
        ("ASR", |sums| shown(sums.answer_seizure_ratio())),
        ("NER", |sums| shown(sums.network_effectiveness_ratio())),
        ("ACD", |sums| shown(sums.average_call_seconds())),
        ("PDD", |sums| shown(sums.post_dial_seconds())),
        ("LOSS", |sums| shown(sums.loss_percent())),
        ("MOS", |sums| or_dash(sums.mos(), |mos| format!("{mos:.2}"))),
        ("WORST", |sums| or_dash(sums.worst_mos_hundredths, |mos| format!("{:.2}", f64::from(mos) / 100.0))),
    ],
};

pub(super) fn run(command: &ReportCommand, global: &GlobalArgs) -> Result<Said, Failure> {
    let (kind, args) = match command {
        ReportCommand::Carrier(args) => (&CARRIER, args),
        ReportCommand::Tenant(args) => (&TENANT, args),
        ReportCommand::Partner(args) => (&PARTNER, args),
        ReportCommand::Quality(args) => (&QUALITY, args),
    };
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from >= to
    {
        return Err(Failure::usage("--to is not after --from", "exchange the two times"));
    }
    let by = args.by.as_deref().unwrap_or(kind.by);
    let mut report = Report::by(by);
    each(&mut Daemon::connect(global)?, &args.query(), |cdr| {
        report.add(cdr).map_err(|error| {
            Failure::new(Exit::Exhausted, error.to_string(), "use fewer words behind --by, or a shorter time")
        })
    })?;
    said(kind, by, args, &report)
}

impl ReportArgs {
    fn query(&self) -> CdrQuery {
        CdrQuery {
            tenant: self.tenant.clone(),
            project: self.project.clone(),
            trunk: self.trunk.clone(),
            since: self.from,
            until: self.to,
            ..CdrQuery::default()
        }
    }
}

/// Does something with every record that matches, newest first.
pub(super) fn each(
    daemon: &mut Daemon,
    query: &CdrQuery,
    mut with: impl FnMut(&Cdr) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut after = query.after;
    loop {
        let page = daemon.cdrs(CdrQuery { after, limit: PIECE, ..query.clone() })?;
        page.cdrs.iter().try_for_each(&mut with)?;
        if page.next.is_none() {
            return Ok(());
        }
        after = page.next;
    }
}

fn said(kind: &Kind, by: &[Dimension], args: &ReportArgs, report: &Report) -> Result<Said, Failure> {
    let cells = |sums: &Sums| kind.columns.iter().map(|(_, of)| of(sums)).collect::<Vec<_>>();
    let total = report.total();
    let mut rows: Vec<Vec<String>> =
        report.groups().map(|(group, sums)| [group.to_vec(), cells(sums)].concat()).collect();
    if rows.len() > 1 {
        let mut group = vec![String::new(); by.len()];
        if let Some(first) = group.first_mut() {
            "(all)".clone_into(first);
        }
        rows.push([group, cells(&total)].concat());
    }
    let header =
        by.iter().map(|dimension| heading(*dimension)).chain(kind.columns.iter().map(|(name, _)| *name));
    let table =
        Block::Table { header: header.collect(), rows, empty: "no leg has ended in that time".to_owned() };
    let groups: Vec<Value> = report
        .groups()
        .map(|(group, sums)| {
            let named: BTreeMap<&str, &String> =
                by.iter().map(|dimension| dimension.as_str()).zip(group).collect();
            json!({ "group": named, "sums": figures(sums) })
        })
        .collect();
    let document = json!({
        "report": kind.name,
        "from": args.from.map(time),
        "to": args.to.map(time),
        "by": by,
        "groups": groups,
        "total": figures(&total),
    });
    Said::new(vec![table], document)
}

/// Sums, and what follows from them.
pub(super) fn figures(sums: &Sums) -> Value {
    let mut figures = json!(sums);
    figures["asr"] = json!(sums.answer_seizure_ratio());
    figures["ner"] = json!(sums.network_effectiveness_ratio());
    figures["acd_s"] = json!(sums.average_call_seconds());
    figures["pdd_s"] = json!(sums.post_dial_seconds());
    figures["mos"] = json!(sums.mos());
    figures["loss_percent"] = json!(sums.loss_percent());
    figures
}

const fn heading(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Day => "DAY",
        Dimension::Tenant => "TENANT",
        Dimension::Project => "PROJECT",
        Dimension::Kind => "KIND",
        Dimension::Case => "CASE",
        Dimension::Agent => "AGENT",
        Dimension::Tags => "TAGS",
        Dimension::Leg => "LEG",
        Dimension::Direction => "DIR",
        Dimension::Proxy => "PROXY",
        Dimension::Country => "COUNTRY",
        Dimension::Area => "AREA",
        Dimension::Trunk => "TRUNK",
        Dimension::Cause => "CAUSE",
        Dimension::Codec => "CODEC",
        Dimension::Media => "MEDIA",
    }
}

pub(super) fn money(sums: &BTreeMap<Currency, Decimal>) -> String {
    let sums: Vec<String> = sums.iter().map(|(currency, sum)| format!("{sum} {currency}")).collect();
    if sums.is_empty() { "-".to_owned() } else { sums.join(" + ") }
}

pub(super) fn shown(figure: Option<f64>) -> String {
    or_dash(figure, |figure| format!("{figure:.1}"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A quality report on these records.
    pub(in crate::cli) fn quality(records: &[Cdr]) -> Said {
        let by = [Dimension::Trunk, Dimension::Area];
        let mut report = Report::by(&by);
        for record in records {
            report.add(record).unwrap();
        }
        let args = ReportArgs { from: None, to: None, by: None, tenant: None, project: None, trunk: None };
        said(&QUALITY, &by, &args, &report).unwrap()
    }
}
