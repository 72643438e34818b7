//! `vizard calls`: what is going on right now.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::GlobalArgs;
use super::bind::duration;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report, length, milliseconds, or_dash, time_short};
use super::page::{Page, PageArgs};
use crate::datapath::PathChoice;
use crate::engine::admin::{AdminReply, AdminRequest, CallView, FlowView};
use crate::engine::flow::{FlowStats, Quality};
use crate::engine::ids::{BindingId, LegName, SessionId};
use crate::engine::number::ProxyNumber;
use crate::engine::time::Timestamp;

const EXAMPLES: &str = "\
Examples:
  vizard calls
  vizard calls list --wide
  vizard calls list --state answered --longer-than 1h --csv
  vizard calls list --trunk carrier --limit 100
  vizard calls show sess_01h455vb4pex5vsknk084sn02q
  vizard calls hangup sess_01h455vb4pex5vsknk084sn02q
  vizard calls --json | jq '.calls | length'

MOS A and MOS B estimate how what the customer's and the agent's side says arrives
here (1.0 to 4.5, ITU-T G.107); `silent` is a side that sends nothing while the
other one speaks. FROM A and FROM B, with --wide, are the RTP packets
of each side that the media path forwarded.";

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
    #[command(after_help = "Examples:\n  vizard calls list\n  vizard calls list --wide --no-header")]
    List(ListArgs),
    /// Show one call with its legs and flows
    #[command(after_help = "Examples:\n  vizard calls show sess_01h455vb4pex5vsknk084sn02q")]
    Show(OneArgs),
    /// Hang up on both sides
    #[command(after_help = "Examples:\n  vizard calls hangup sess_01h455vb4pex5vsknk084sn02q")]
    Hangup(OneArgs),
}

#[derive(Debug, Default, Args)]
struct ListArgs {
    /// Only those in this state: ringing, answered or ending
    #[arg(long, value_parser = ["ringing", "answered", "ending"])]
    state: Option<String>,
    /// Only this binding's
    #[arg(long, value_name = "BINDING")]
    binding: Option<BindingId>,
    /// Only those with a leg on this trunk
    #[arg(long, value_name = "NAME")]
    trunk: Option<String>,
    /// Only those with a leg on which this number was dialled or is seen
    #[arg(long, value_name = "NUMBER")]
    proxy: Option<ProxyNumber>,
    /// Only those that began so long ago, such as 30m or 4h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    longer_than: Option<Duration>,
    /// Only those that the fastest media path does not carry
    #[arg(long)]
    slow: bool,
    /// With packets per side, the binding and the start
    #[arg(long)]
    wide: bool,
    #[command(flatten)]
    page: PageArgs<SessionId, 1_000>,
}

impl ListArgs {
    fn shows(&self, call: &CallView, now: Timestamp) -> bool {
        let on_trunk = |name: &String| call.legs.iter().any(|leg| leg.trunk == *name);
        let with_number = |number| call.legs.iter().any(|leg| leg.proxy == Some(number));
        self.state.as_ref().is_none_or(|state| *state == call.state)
            && self.binding.is_none_or(|binding| call.binding == Some(binding))
            && self.trunk.as_ref().is_none_or(on_trunk)
            && self.proxy.is_none_or(with_number)
            && self.longer_than.is_none_or(|age| now.saturating_since(call.start) >= age)
            && (!self.slow || call.slow_because.is_some())
    }
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
        None => list(&mut daemon, &ListArgs::default()),
        Some(CallsCommand::List(args)) => list(&mut daemon, args),
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

fn list(daemon: &mut Daemon, args: &ListArgs) -> Result<Report, Failure> {
    let AdminReply::Calls(calls) = daemon.admin(AdminRequest::CallsList)? else { return Err(unexpected()) };
    let status = daemon.status()?;
    let shown = calls.into_iter().filter(|call| args.shows(call, status.now));
    listed(&args.page.of(shown, |call| call.session), &status.datapath, status.now, args.wide)
}

pub(super) fn listed(
    calls: &Page<CallView>,
    path: &PathChoice,
    now: Timestamp,
    wide: bool,
) -> Result<Report, Failure> {
    let row = |call: &CallView| {
        let mut row = vec![
            call.session.to_string(),
            state(call),
            or_dash(call.answer, |answer| length(now.saturating_since(answer))),
            far_end(call, LegName::A),
            far_end(call, LegName::B),
            or_dash(call.path, |path| path.as_str().to_owned()),
            or_dash(spoken(call, LegName::A).and_then(|flow| flow.codec), |codec| codec.as_str().to_owned()),
            score(call, LegName::A),
            score(call, LegName::B),
        ];
        if wide {
            row.extend([packets(call, LegName::A), packets(call, LegName::B)]);
            row.extend([or_dash(call.binding, |binding| binding.to_string()), time_short(call.start)]);
        }
        row
    };
    let mut header = vec!["SESSION", "STATE", "TALK", "A", "B", "MEDIA", "CODEC", "MOS A", "MOS B"];
    if wide {
        header.extend(["FROM A", "FROM B", "BINDING", "START"]);
    }
    let mut report = calls.report("calls", header, row, "no call in progress")?;
    report.json["media"] = json!(path);
    Ok(report)
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
        ("media path", carrier(call, path)),
    ];
    let legs = call.legs.iter().map(|leg| {
        let proxy = or_dash(leg.proxy, |proxy| proxy.to_string());
        let state = if leg.silent { format!("{} (silent)", leg.state) } else { leg.state.clone() };
        vec![leg.leg.to_string(), state, leg.trunk.clone(), leg.remote.clone(), proxy]
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
    let judged = call.flows.iter().filter(|flow| flow.codec.is_some());
    let quality = Block::Table {
        header: vec!["FROM", "CODEC", "EXPECTED", "LOST", "REORDERED", "JITTER", "SILENT FOR", "MOS"],
        rows: judged.map(quality).collect(),
        empty: String::new(),
    };
    Report::new(vec![Block::Fields(fields), legs, flows, quality], json!({ "call": call, "media": path }))
}

fn flow(flow: &FlowView) -> Vec<String> {
    let count = |count: fn(&FlowStats) -> u64| or_dash(flow.stats.as_ref(), |stats| count(stats).to_string());
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

/// What carries a call's media, and why.
fn carrier(call: &CallView, path: &PathChoice) -> String {
    match (call.path, &call.slow_because) {
        (Some(carries), Some(why)) => format!("{} ({why})", carries.as_str()),
        (Some(carries), None) if carries == path.path => path.to_string(),
        (carries, _) => or_dash(carries, |carries| carries.as_str().to_owned()),
    }
}

/// The flow of what a leg's far end says.
fn spoken(call: &CallView, leg: LegName) -> Option<&FlowView> {
    call.flows.iter().find(|flow| flow.leg == leg && flow.codec.is_some())
}

/// The score of what a leg's far end says, or that it says nothing.
fn score(call: &CallView, leg: LegName) -> String {
    if call.legs.iter().any(|view| view.leg == leg && view.silent) {
        return "silent".to_owned();
    }
    or_dash(spoken(call, leg).and_then(|flow| flow.mos), |mos| mos.to_string())
}

/// RTP packets from a leg's far end; `-` where the media path knows nothing.
fn packets(call: &CallView, leg: LegName) -> String {
    let rtp = call.flows.iter().filter(|flow| flow.leg == leg && flow.codec.is_some());
    let counts: Vec<u64> = rtp.filter_map(|flow| flow.stats).map(|stats| stats.forwarded.packets).collect();
    if counts.is_empty() { "-".to_owned() } else { counts.iter().sum::<u64>().to_string() }
}

fn quality(flow: &FlowView) -> Vec<String> {
    let of = |show: fn(&Quality) -> String| or_dash(flow.stats.as_ref(), |stats| show(&stats.quality));
    vec![
        flow.leg.to_string(),
        or_dash(flow.codec, |codec| codec.as_str().to_owned()),
        of(|quality| quality.expected.to_string()),
        of(|quality| quality.lost.to_string()),
        of(|quality| quality.reordered.to_string()),
        of(|quality| milliseconds(quality.jitter_us)),
        or_dash(flow.stats.and_then(|stats| stats.quality.idle), length),
        or_dash(flow.mos, |mos| mos.to_string()),
    ]
}
