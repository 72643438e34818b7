//! `vizard resolve`: whom a caller reaches who dials a proxy, and why.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::GlobalArgs;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report, time_short};
use super::secret;
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::number::{ProxyNumber, Typed};
use crate::engine::policy::{Resolution, Verdict};

const EXAMPLES: &str = "\
Examples:
  vizard resolve +13105550142 +12125550123
  vizard resolve 1001@pbx +12125550188
  vizard resolve - +12125550123 < caller.txt
  vizard resolve env:CALLER +12125550123 --json | jq -r .verdict

Every user of this host can read the arguments of its processes: see
`vizard bind create --help` for ways to keep a number out of them. Calls of the past
are in `vizard cdr list`.";

/// Explain whom a caller reaches at a proxy number, step by step
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ResolveArgs {
    /// Who calls: a number, extension@trunk, '-', fd:N or env:NAME
    #[arg(value_name = "CALLER", allow_hyphen_values = true)]
    caller: Typed,
    /// The number that is dialled
    #[arg(value_name = "PROXY")]
    proxy: ProxyNumber,
}

pub(super) fn run(args: &ResolveArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let caller = secret::read("caller", &args.caller, &mut std::io::stdin().lock())?;
    let request = AdminRequest::Resolve { caller, proxy: args.proxy };
    let AdminReply::Resolved(resolution) = Daemon::connect(global)?.admin(request)? else {
        return Err(unexpected());
    };
    resolved(&resolution)
}

pub(super) fn resolved(resolution: &Resolution) -> Result<Report, Failure> {
    let verdict = match resolution.verdict {
        Verdict::Connects => "The call connects.",
        Verdict::NoRoute => "The call is refused: there is no route.",
        Verdict::Ended => "The call is refused: its binding has ended.",
        Verdict::NoBinding => "The call is refused: nobody is behind this number for this caller.",
        Verdict::NotOurs => "The call is refused: the number is not one of the pool.",
    };
    let mut text = String::new();
    for (at, step) in resolution.steps.iter().enumerate() {
        let _ = write!(text, "{}. {}", at + 1, step.what);
        if let Some(since) = step.since {
            let _ = write!(text, ", since {}", time_short(since));
        }
        if let Some(until) = step.until {
            let _ = write!(text, ", until {}", time_short(until));
        }
        text.push('\n');
    }
    text.push_str(verdict);
    Report::new(vec![Block::Text(text)], json!(resolution))
}
