//! `vizard drain`: takes no new calls, so that maintenance cuts none.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::GlobalArgs;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report};
use crate::engine::admin::{AdminReply, AdminRequest};

const EXAMPLES: &str = "\
Examples:
  vizard drain
  vizard drain --wait
  vizard drain --undo

New calls are refused with 503 and Retry-After, so that carriers take another way;
emergency calls and calls in progress go on. A Vizard that starts again takes calls
again.";

/// How often `--wait` looks.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Take no new calls, and see how many are left
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DrainArgs {
    /// Return when no call is left
    #[arg(long, conflicts_with = "undo")]
    wait: bool,
    /// Take new calls again
    #[arg(long)]
    undo: bool,
}

pub(super) fn run(args: &DrainArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let mut daemon = Daemon::connect(global)?;
    let mut ask = || match daemon.admin(AdminRequest::Drain { on: !args.undo })? {
        AdminReply::Drain { on, calls } => Ok((on, calls)),
        _ => Err(unexpected()),
    };
    let (on, mut calls) = ask()?;
    let mut told = usize::MAX;
    while args.wait && calls > 0 {
        if calls != told {
            told = calls;
            // Progress, not the answer; nobody has to be there to read it.
            let _ = writeln!(io::stderr(), "{calls} calls are left");
        }
        thread::sleep(LOOK_AGAIN);
        (_, calls) = ask()?;
    }
    drained(on, calls)
}

pub(super) fn drained(on: bool, calls: usize) -> Result<Report, Failure> {
    let line = if on {
        format!("no new calls are taken; {calls} are left")
    } else {
        format!("new calls are taken; {calls} are in progress")
    };
    Report::new(vec![Block::Text(line)], json!({ "draining": on, "calls": calls }))
}
