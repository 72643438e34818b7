//! `vizard status`: how the running relay is.

use clap::Args;
use serde_json::json;

use super::GlobalArgs;
use super::live::Daemon;
use super::output::{Block, Failure, Report, length, time_short};
use crate::api::local::Status;

const EXAMPLES: &str = "\
Examples:
  vizard status
  vizard status --all
  vizard status --json | jq '.verdicts[] | select(.action == \"drop\")'

Counts are since the start. Verdicts say what became of packets on the media
interfaces; counters say what signalling met. Zeros are left out without --all.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    /// Counts of zero too
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: &StatusArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    report(&Daemon::connect(global)?.status()?, args.all)
}

pub(super) fn report(status: &Status, all: bool) -> Result<Report, Failure> {
    let datagrams = status.listen.iter().map(|address| format!("udp {address}"));
    let listen: Vec<String> = datagrams.chain(status.streams.iter().cloned()).collect();
    let up = status.now.saturating_since(status.started);
    let interfaces = if status.datapath.interfaces.is_empty() {
        "none".to_owned()
    } else {
        status.datapath.interfaces.join(", ")
    };
    let count = |name: &str| status.counters.iter().find(|(found, _)| found == name).map_or(0, |(_, n)| *n);
    let connections = if status.streams.is_empty() {
        "none: SIP arrives over UDP alone".to_owned()
    } else {
        format!("{} open", count("connections.open"))
    };
    let calls = match (count("calls.draining"), count("calls.in_progress")) {
        (0, calls) => format!("{calls} in progress"),
        (_, calls) => format!("{calls} are left; draining, no new ones are taken"),
    };
    let fields = vec![
        ("vizard", format!("{}, pid {}", status.version, status.pid)),
        ("started", format!("{}, up {}", time_short(status.started), length(up))),
        ("configuration", status.config.display().to_string()),
        ("store", status.store.display().to_string()),
        ("SIP", listen.join(", ")),
        ("connections", connections),
        ("calls", calls),
        ("media path", status.datapath.to_string()),
        ("interfaces", interfaces),
    ];
    let verdicts = status.verdicts.iter().filter(|verdict| all || verdict.packets > 0);
    let verdicts = Block::Table {
        header: vec!["VERDICT", "ACTION", "PACKETS"],
        rows: verdicts.map(|v| vec![v.verdict.clone(), v.action.clone(), v.packets.to_string()]).collect(),
        empty: "no packet has reached the media path".to_owned(),
    };
    let counters = status.counters.iter().filter(|(_, count)| all || *count > 0);
    let counters = Block::Table {
        header: vec!["COUNTER", "COUNT"],
        rows: counters.map(|(name, count)| vec![name.clone(), count.to_string()]).collect(),
        empty: "nothing has been counted".to_owned(),
    };
    let counts: serde_json::Map<String, serde_json::Value> =
        status.counters.iter().map(|(name, count)| (name.clone(), json!(count))).collect();
    let mut document = json!(status);
    document["counters"] = counts.into();
    document["uptime_seconds"] = up.as_secs().into();
    Report::new(vec![Block::Fields(fields), verdicts, counters], document)
}
