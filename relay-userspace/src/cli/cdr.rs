//! `vizard cdr`: what calls have been.

use clap::{Args, Subcommand};
use serde_json::json;

use super::GlobalArgs;
use super::live::Daemon;
use super::output::{Block, Failure, Report, milliseconds, or_dash, time_short};
use crate::engine::cdr::{Cdr, Direction, ReleaseSide};
use crate::engine::ids::{BindingId, SessionId};
use crate::store::CdrQuery;

const EXAMPLES: &str = "\
Examples:
  vizard cdr list
  vizard cdr list --wide
  vizard cdr list --binding bind_01h455vb4pex5vsknk084sn02q
  vizard cdr list --session sess_01h455vb4pex5vsknk084sn02q --json
  vizard cdr list --limit 1000 --json | jq '[.cdrs[].billable_seconds] | add'

One record per leg, newest first. RX and TX are packets from and to the leg's far
end, by the media path's count; MOS estimates how its audio arrived (1.0 to 4.5,
ITU-T G.107), as LOSS and JITTER say too, and `one-way` is a far end that was not
heard for long while the other one spoke; BILL is in seconds.";

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
    /// With the SIP status, trunk, media path, codec, loss and jitter
    #[arg(long)]
    wide: bool,
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

pub(super) fn run(command: &CdrCommand, global: &GlobalArgs) -> Result<Report, Failure> {
    let CdrCommand::List(args) = command;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let query = CdrQuery { session: args.session, binding: args.binding, after: None, limit };
    listed(&Daemon::connect(global)?.cdrs(query)?, args.wide)
}

pub(super) fn listed(cdrs: &[Cdr], wide: bool) -> Result<Report, Failure> {
    let mut header = vec!["SESSION", "LEG", "PROXY", "START", "BILL", "RX", "TX", "MOS", "ENDED BY", "CAUSE"];
    if wide {
        header.extend(["SIP", "DIR", "CC", "TRUNK", "MEDIA", "CODEC", "LOSS", "REORDERED", "JITTER"]);
    }
    let rows = cdrs.iter().map(|cdr| if wide { [row(cdr), more(cdr)].concat() } else { row(cdr) });
    let table = Block::Table { header, rows: rows.collect(), empty: "no record".to_owned() };
    Report::new(vec![table], json!({ "cdrs": cdrs }))
}

fn row(cdr: &Cdr) -> Vec<String> {
    let side = match cdr.release.side {
        ReleaseSide::A => "A",
        ReleaseSide::B => "B",
        ReleaseSide::Platform => "platform",
    };
    vec![
        cdr.session.to_string(),
        cdr.leg.to_string(),
        or_dash(cdr.proxy, |proxy| proxy.to_string()),
        time_short(cdr.start),
        cdr.billable_seconds.to_string(),
        cdr.received.packets.to_string(),
        cdr.sent.packets.to_string(),
        if cdr.media.one_way { "one-way".to_owned() } else { or_dash(cdr.media.mos, |mos| mos.to_string()) },
        side.to_owned(),
        cdr.release.cause.as_str().to_owned(),
    ]
}

/// What `--wide` adds.
fn more(cdr: &Cdr) -> Vec<String> {
    let direction = match cdr.direction {
        Direction::Inbound => "in",
        Direction::Outbound => "out",
    };
    let media = &cdr.media;
    vec![
        or_dash(cdr.release.sip_status, |status| status.to_string()),
        direction.to_owned(),
        or_dash(cdr.remote_country, |country| country.to_string()),
        cdr.trunk.clone(),
        or_dash(media.path, |path| path.as_str().to_owned()),
        or_dash(media.codec, |codec| codec.as_str().to_owned()),
        or_dash(media.loss_percent(), |percent| format!("{percent:.1}%")),
        media.reordered.to_string(),
        or_dash(media.mos, |_| milliseconds(media.jitter_us)),
    ]
}
