//! `vizard calls`: what is going on right now.

use clap::{Args, Subcommand};
use serde_json::json;

use super::GlobalArgs;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report, length, or_dash, time_short};
use crate::datapath::PathChoice;
use crate::engine::admin::{AdminReply, AdminRequest, CallView, FlowView};
use crate::engine::ids::{LegName, SessionId};
use crate::engine::time::Timestamp;

const EXAMPLES: &str = "\
Examples:
  vizard calls
  vizard calls show sess_01h455vb4pex5vsknk084sn02q
  vizard calls hangup sess_01h455vb4pex5vsknk084sn02q
  vizard calls --json | jq '.calls | length'

FROM A and FROM B are RTP packets that the customer's and the agent's side sent
and the media path forwarded.";

/// Calls in progress: list, show, hang up
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CallsArgs {
    #[command(subcommand)]
    command: Option<CallsCommand>,
}

#[derive(Debug, Subcommand)]
enum CallsCommand {
    /// List the calls in progress, as `vizard calls` alone does
    #[command(after_help = "Examples:\n  vizard calls list\n  vizard calls list --no-header")]
    List,
    /// Show one call with its legs and flows
    #[command(after_help = "Examples:\n  vizard calls show sess_01h455vb4pex5vsknk084sn02q")]
    Show(OneArgs),
    /// Hang up on both sides
    #[command(after_help = "Examples:\n  vizard calls hangup sess_01h455vb4pex5vsknk084sn02q")]
    Hangup(OneArgs),
}

#[derive(Debug, Args)]
struct OneArgs {
    /// The call's session id, as `vizard calls` shows it
    #[arg(value_name = "SESSION")]
    session: SessionId,
}

pub(super) fn run(args: &CallsArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let mut daemon = Daemon::connect(global)?;
    match &args.command {
        None | Some(CallsCommand::List) => {
            let AdminReply::Calls(calls) = daemon.admin(AdminRequest::CallsList)? else {
                return Err(unexpected());
            };
            let status = daemon.status()?;
            listed(&calls, &status.datapath, status.now)
        }
        Some(CallsCommand::Show(OneArgs { session })) => {
            let reply = daemon.admin(AdminRequest::CallShow { session: *session })?;
            let AdminReply::Call(call) = reply else { return Err(unexpected()) };
            let status = daemon.status()?;
            shown(&call, &status.datapath, status.now)
        }
        Some(CallsCommand::Hangup(OneArgs { session })) => {
            let reply = daemon.admin(AdminRequest::CallHangup { session: *session })?;
            let AdminReply::HungUp(session) = reply else { return Err(unexpected()) };
            Report::new(vec![Block::Text(format!("hung up {session}"))], json!({ "hung_up": session }))
        }
    }
}

pub(super) fn listed(calls: &[CallView], path: &PathChoice, now: Timestamp) -> Result<Report, Failure> {
    let row = |call: &CallView| {
        vec![
            call.session.to_string(),
            or_dash(call.binding, |binding| binding.to_string()),
            state(call),
            time_short(call.start),
            or_dash(call.answer, |answer| length(now.saturating_since(answer))),
            far_end(call, LegName::A),
            far_end(call, LegName::B),
            path.path.as_str().to_owned(),
            packets(call, LegName::A),
            packets(call, LegName::B),
        ]
    };
    let table = Block::Table {
        header: vec!["SESSION", "BINDING", "STATE", "START", "TALK", "A", "B", "MEDIA", "FROM A", "FROM B"],
        rows: calls.iter().map(row).collect(),
        empty: "no call in progress".to_owned(),
    };
    Report::new(vec![table], json!({ "calls": calls, "media": path }))
}

fn shown(call: &CallView, path: &PathChoice, now: Timestamp) -> Result<Report, Failure> {
    let fields = vec![
        ("session", call.session.to_string()),
        ("binding", or_dash(call.binding, |binding| binding.to_string())),
        ("placed by", call.caller.to_string()),
        ("state", state(call)),
        ("start", time_short(call.start)),
        ("answer", or_dash(call.answer, time_short)),
        ("talk", or_dash(call.answer, |answer| length(now.saturating_since(answer)))),
        ("media path", path.to_string()),
    ];
    let legs = call.legs.iter().map(|leg| {
        let proxy = or_dash(leg.proxy, |proxy| proxy.to_string());
        vec![leg.leg.to_string(), leg.state.clone(), leg.trunk.clone(), leg.remote.clone(), proxy]
    });
    let legs = Block::Table {
        header: vec!["LEG", "STATE", "TRUNK", "FAR END", "PROXY"],
        rows: legs.collect(),
        empty: "no leg".to_owned(),
    };
    let flows = Block::Table {
        header: vec!["FROM", "CONTENT", "ARRIVES AT", "LEARNED", "FORWARDED", "BYTES", "REFUSED"],
        rows: call.flows.iter().map(flow).collect(),
        empty: "no media flow".to_owned(),
    };
    Report::new(vec![Block::Fields(fields), legs, flows], json!({ "call": call, "media": path }))
}

fn flow(flow: &FlowView) -> Vec<String> {
    let count = |count: fn(&crate::engine::flow::FlowStats) -> u64| {
        or_dash(flow.stats.as_ref(), |stats| count(stats).to_string())
    };
    vec![
        flow.leg.to_string(),
        flow.content.clone(),
        flow.local.to_string(),
        or_dash(flow.stats.and_then(|stats| stats.learned), |source| source.to_string()),
        count(|stats| stats.forwarded.packets),
        count(|stats| stats.forwarded.bytes),
        count(|stats| stats.refused_packets),
    ]
}

fn state(call: &CallView) -> String {
    if call.emergency { format!("{} (emergency)", call.state) } else { call.state.clone() }
}

fn far_end(call: &CallView, name: LegName) -> String {
    or_dash(call.legs.iter().find(|leg| leg.leg == name), |leg| leg.remote.clone())
}

/// RTP packets from a leg's far end; `-` where the media path knows nothing.
fn packets(call: &CallView, leg: LegName) -> String {
    let rtp = call.flows.iter().filter(|flow| flow.leg == leg && flow.content == "rtp");
    let counts: Vec<u64> = rtp.filter_map(|flow| flow.stats).map(|stats| stats.forwarded.packets).collect();
    if counts.is_empty() { "-".to_owned() } else { counts.iter().sum::<u64>().to_string() }
}
