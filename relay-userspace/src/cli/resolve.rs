//! `vizard resolve`: whom a caller reaches who dials a proxy, and why; now, or in a
//! call of the past.

pub(super) mod past;

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::GlobalArgs;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report, moment, time_short};
use super::secret;
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::directory::{BindFilter, Shown};
use crate::engine::ids::SessionId;
use crate::engine::number::{ProxyNumber, Typed};
use crate::engine::policy::{Resolution, Step, Verdict};
use crate::engine::time::Timestamp;

const EXAMPLES: &str = "\
Examples:
  vizard resolve +13105550142 +12125550123
  vizard resolve 1001@pbx +12125550188
  vizard resolve - +12125550123 < caller.txt
  vizard resolve env:CALLER +12125550123 --json | jq -r .verdict
  vizard resolve +13105550142 +12125550123 --at 2026-03-01T17:20:00Z
  vizard resolve sess_01h455vb4pex5vsknk084sn02q
  vizard resolve --case order-81

Every user of this host can read the arguments of its processes: see
`vizard bind create --help` for ways to keep a number out of them. --at tells from
what bindings, tombstones and freed numbers say of that time; a session id explains
a call of the past by its records; --case finds the bindings with a key,
ended ones too, as somebody asks who calls back and gives a case number.";

/// Explain whom a caller reaches at a proxy number, step by step
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ResolveArgs {
    /// Who calls: a number, extension@trunk, '-', fd:N or env:NAME; or a call's
    /// session id
    #[arg(value_name = "CALLER", allow_hyphen_values = true, required_unless_present = "case")]
    caller: Option<Typed>,
    /// The number that is dialled
    #[arg(value_name = "PROXY")]
    proxy: Option<ProxyNumber>,
    /// What it met at a time that is over, as far as that is remembered (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "proxy")]
    at: Option<Timestamp>,
    /// Find bindings by a key: a case, order or session id of your own
    #[arg(long, value_name = "KEY", conflicts_with_all = ["caller", "proxy"])]
    case: Option<String>,
}

pub(super) fn run(args: &ResolveArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    if let Some(key) = &args.case {
        return by_case(key, global);
    }
    let Some(caller) = &args.caller else { return Err(nobody()) };
    if let Ok(session) = caller.0.parse::<SessionId>() {
        return past::explain(session, global);
    }
    let proxy = args.proxy.ok_or_else(nobody)?;
    let caller = secret::read("caller", caller, &mut std::io::stdin().lock())?;
    let request = AdminRequest::Resolve { caller, proxy, at: args.at };
    let AdminReply::Resolved(resolution) = Daemon::connect(global)?.admin(request)? else {
        return Err(unexpected());
    };
    resolved(&resolution)
}

fn nobody() -> Failure {
    Failure::usage(
        "who calls which number is not said".to_owned(),
        "name the caller and the proxy number, a session id (sess_...), or --case KEY",
    )
}

fn by_case(key: &str, global: &GlobalArgs) -> Result<Report, Failure> {
    let filter = BindFilter { key: Some(key.to_owned()), state: Shown::All, ..BindFilter::default() };
    let request = AdminRequest::BindList { filter, after: None, limit: 0 };
    let AdminReply::Bindings(page) = Daemon::connect(global)?.admin(request)? else {
        return Err(unexpected());
    };
    super::bind::list::listed(&page.bindings.into())
}

pub(super) fn resolved(resolution: &Resolution) -> Result<Report, Failure> {
    let verdict = match resolution.verdict {
        Verdict::Connects => "The call connects.",
        Verdict::Ivr => "The call goes to the callback IVR.",
        Verdict::Announcement => "The call goes to the announcement.",
        Verdict::NotAllowed => "The call is refused: the binding does not allow it.",
        Verdict::NoRoute => "The call is refused: there is no route.",
        Verdict::Ended => "The call is refused: its binding has ended.",
        Verdict::NoBinding => "The call is refused: nobody is behind this number for this caller.",
        Verdict::NotOurs => "The call is refused: the number is not one of the pool.",
        Verdict::Forgotten => "What the call met is not known any more.",
    };
    explained(&resolution.steps, verdict, json!(resolution))
}

/// Numbered steps, and what they come to.
fn explained(steps: &[Step], end: &str, document: serde_json::Value) -> Result<Report, Failure> {
    let mut text = String::new();
    for (at, step) in steps.iter().enumerate() {
        let _ = write!(text, "{}. {}", at + 1, step.what);
        if let Some(since) = step.since {
            let _ = write!(text, ", since {}", time_short(since));
        }
        if let Some(until) = step.until {
            let _ = write!(text, ", until {}", time_short(until));
        }
        text.push('\n');
    }
    text.push_str(end);
    Report::new(vec![Block::Text(text)], document)
}
