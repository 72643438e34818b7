//! `vizard cdr`: what calls have been.

use clap::{Args, Subcommand};
use serde_json::json;

use super::GlobalArgs;
use super::live::Daemon;
use super::output::{Block, Failure, Report, or_dash, time_short};
use crate::engine::cdr::{Cdr, Direction, ReleaseSide};
use crate::engine::ids::{BindingId, SessionId};
use crate::store::CdrQuery;

const EXAMPLES: &str = "\
Examples:
  vizard cdr list
  vizard cdr list --binding bind_01h455vb4pex5vsknk084sn02q
  vizard cdr list --session sess_01h455vb4pex5vsknk084sn02q --json
  vizard cdr list --limit 1000 --json | jq '[.cdrs[].billable_seconds] | add'

One record per leg, newest first. RX and TX are packets from and to the leg's far
end, by the media path's count; BILL is in seconds.";

#[derive(Debug, Subcommand)]
pub(super) enum CdrCommand {
    List(ListArgs),
}

/// List call detail records, newest first
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ListArgs {
    /// Only this call's
    #[arg(long, value_name = "SESSION")]
    session: Option<SessionId>,
    /// Only this binding's
    #[arg(long, value_name = "BINDING")]
    binding: Option<BindingId>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

pub(super) fn run(command: &CdrCommand, global: &GlobalArgs) -> Result<Report, Failure> {
    let CdrCommand::List(args) = command;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let query = CdrQuery { session: args.session, binding: args.binding, limit };
    listed(&Daemon::connect(global)?.cdrs(query)?)
}

pub(super) fn listed(cdrs: &[Cdr]) -> Result<Report, Failure> {
    let table = Block::Table {
        header: vec![
            "SESSION", "LEG", "DIR", "PROXY", "CC", "TRUNK", "START", "BILL", "RX", "TX", "ENDED BY",
            "CAUSE", "SIP",
        ],
        rows: cdrs.iter().map(row).collect(),
        empty: "no record".to_owned(),
    };
    Report::new(vec![table], json!({ "cdrs": cdrs }))
}

fn row(cdr: &Cdr) -> Vec<String> {
    let direction = match cdr.direction {
        Direction::Inbound => "in",
        Direction::Outbound => "out",
    };
    let side = match cdr.release.side {
        ReleaseSide::A => "A",
        ReleaseSide::B => "B",
        ReleaseSide::Platform => "platform",
    };
    vec![
        cdr.session.to_string(),
        cdr.leg.to_string(),
        direction.to_owned(),
        or_dash(cdr.proxy, |proxy| proxy.to_string()),
        or_dash(cdr.remote_country, |country| country.to_string()),
        cdr.trunk.clone(),
        time_short(cdr.start),
        cdr.billable_seconds.to_string(),
        cdr.received.packets.to_string(),
        cdr.sent.packets.to_string(),
        side.to_owned(),
        cdr.release.cause.as_str().to_owned(),
        or_dash(cdr.release.sip_status, |status| status.to_string()),
    ]
}
