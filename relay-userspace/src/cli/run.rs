//! `vizard run`: the relay itself, in the foreground.

use clap::Args;

use super::GlobalArgs;
use super::exit::Exit;
use super::output::{Failure, Report};
use crate::daemon;
use crate::settings::{self, DEFAULT_FILE, Overrides, Settings};

const EXAMPLES: &str = "\
Examples:
  vizard run
  vizard run --config configs/demo-loopback.toml
  VIZARD_LOG=debug vizard run

It stays in the foreground and logs to standard error; SIGTERM and SIGINT end
calls and stop it. configs/vizard.service runs it under systemd.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArgs {
    /// Cut calls of before that cannot go on with this version or configuration
    #[arg(long)]
    discard_calls: bool,
}

pub(super) fn run(args: &RunArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let file = global.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    let mut settings: Settings = settings::load(&file, &Overrides::from_environment())
        .map_err(|problems| super::check::failure(&file, &problems))?;
    if let Some(socket) = &global.socket {
        settings.control.socket.clone_from(socket);
    }
    settings.datapath.discard_calls = args.discard_calls;
    daemon::run(settings).map_err(|error| failure(&error))?;
    Report::new(Vec::new(), serde_json::json!({ "stopped": "in order" }))
}

/// A failed start, with every cause: what was being done, then what was in the
/// way. The causes' texts say how to mend them.
fn failure(error: &anyhow::Error) -> Failure {
    Failure::new(
        Exit::Failure,
        format!("{error:#}"),
        "`vizard doctor` looks at this machine for what is missing",
    )
}
