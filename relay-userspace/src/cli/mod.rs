//! The command line.
//!
//! One file per noun, each turning arguments into a request and the answer into
//! a report; [`output`] alone decides how reports look, and [`exit`] how commands
//! end. Commands on a running Vizard talk to the daemon over its local socket and
//! never open the store; `check` and `doctor` work without a daemon.

mod agent;
mod audit;
mod backup;
mod bind;
mod calls;
mod capture;
mod cdr;
mod check;
mod doctor;
mod drain;
pub mod exit;
mod guard;
mod live;
mod output;
mod page;
mod pcapng;
mod pool;
mod privacy;
mod report;
mod resolve;
mod run;
mod secret;
mod status;
mod trunks;
mod unmask;
mod vault;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use exit::Exit;
use output::{Failure, Report, Style};

const EXAMPLES: &str = "\
Examples:
  vizard check /etc/vizard/vizard.toml
  vizard doctor
  vizard vault init
  vizard run
  vizard pool add +12125550123 +14155550188
  vizard bind create --key order-81 --customer +13105550142 --agent 1001@pbx
  vizard calls
  vizard cdr list --limit 20 --json";

/// Vizard, a number-masking relay for calls and texts
///
/// A customer and an agent talk through temporary proxy numbers; neither learns
/// the other's real number.
#[derive(Debug, Parser)]
#[command(name = "vizard", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct GlobalArgs {
    /// The configuration [default: /etc/vizard/vizard.toml]
    #[arg(long, value_name = "FILE", env = "VIZARD_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// The daemon's socket [default: the one that the configuration names]
    #[arg(long, value_name = "PATH", env = "VIZARD_SOCKET", global = true)]
    socket: Option<PathBuf>,
    /// One JSON document instead of text, errors included
    #[arg(long, global = true)]
    json: bool,
    /// Tables as comma-separated values
    #[arg(long, global = true, conflicts_with = "json")]
    csv: bool,
    /// Tables without their header line
    #[arg(long, global = true)]
    no_header: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay in the foreground
    Run(run::RunArgs),
    Check(check::CheckArgs),
    /// Look at this machine: can it carry calls, and how fast
    Doctor(doctor::DoctorArgs),
    /// How the running relay is: media path, verdicts, counters
    Status(status::StatusArgs),
    /// Proxy numbers
    #[command(subcommand)]
    Pool(pool::PoolCommand),
    /// Bindings: who talks to whom through which numbers
    #[command(subcommand)]
    Bind(bind::BindCommand),
    /// Agent numbers: stable public numbers that anybody may call
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    Resolve(resolve::ResolveArgs),
    Calls(calls::CallsArgs),
    Trunks(trunks::TrunksArgs),
    Capture(capture::CaptureArgs),
    Drain(drain::DrainArgs),
    /// Call detail records
    #[command(subcommand)]
    Cdr(cdr::CdrCommand),
    #[command(subcommand)]
    Report(report::ReportCommand),
    /// Who did what, when and why
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    /// What is held about a person, and how it is forgotten
    #[command(subcommand)]
    Privacy(privacy::PrivacyCommand),
    Unmask(unmask::UnmaskArgs),
    /// The keys that real numbers are sealed under
    #[command(subcommand)]
    Vault(vault::VaultCommand),
    /// Who may send to the signalling sockets, and how fast
    #[command(subcommand)]
    Guard(guard::GuardCommand),
}

/// Runs a command line, the program's name included, on the standard streams.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    dispatch(arguments, &mut io::stdout().lock(), &mut io::stderr())
}

fn dispatch(arguments: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed = command().try_get_matches_from(&arguments).and_then(|m| Cli::from_arg_matches(&m));
    match parsed {
        Ok(cli) => {
            let GlobalArgs { json, csv, no_header, .. } = cli.global;
            let style = Style { json, csv, no_header };
            output::finish(execute(cli), style, out, err)
        }
        Err(error) => {
            // What was not parsed may still have asked for JSON.
            let style = Style { json: arguments.iter().any(|a| a == "--json"), ..Style::default() };
            unparsed(&error, style, out, err)
        }
    }
}

fn execute(cli: Cli) -> Result<Report, Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Run(args) => run::run(&args, global),
        Command::Check(args) => check::run(&args, global),
        Command::Doctor(args) => doctor::run(&args, global),
        Command::Status(args) => status::run(&args, global),
        Command::Pool(command) => pool::run(command, global),
        Command::Bind(command) => bind::run(command, global),
        Command::Agent(command) => agent::run(command, global),
        Command::Resolve(args) => resolve::run(&args, global),
        Command::Calls(args) => calls::run(&args, global),
        Command::Trunks(args) => trunks::run(&args, global),
        Command::Capture(args) => capture::run(&args, global),
        Command::Drain(args) => drain::run(&args, global),
        Command::Cdr(command) => cdr::run(&command, global),
        Command::Report(command) => report::run(&command, global),
        Command::Audit(command) => audit::run(&command, global),
        Command::Unmask(args) => unmask::run(args, global),
        Command::Backup(args) => backup::backup(&args, global),
        Command::Restore(args) => backup::restore(&args, global),
        Command::Privacy(command) => privacy::run(&command, global),
        Command::Vault(command) => vault::run(&command, global),
        Command::Guard(command) => guard::run(command, global),
    }
}

/// The whole command, with the exit codes in its help.
fn command() -> clap::Command {
    let codes: Vec<String> =
        Exit::ALL.iter().map(|exit| format!("  {}  {}", exit.code(), exit.meaning())).collect();
    let help = format!(
        "Exit codes:\n{}\n\n{EXAMPLES}\n\nTimes are RFC 3339 in UTC. Real numbers are shown masked everywhere but by `vizard unmask`.",
        codes.join("\n")
    );
    Cli::command().after_help(help)
}

/// Help and versions are answers; everything else is a mistake of usage.
fn unparsed(error: &clap::Error, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = out.write_all(text.as_bytes());
            Exit::Ok
        }
        _ if style.json => {
            let text = text.trim().strip_prefix("error: ").unwrap_or(&text).trim().to_owned();
            let failure = Failure::usage(text, "see `vizard --help`");
            output::finish(Err(failure), style, out, err)
        }
        _ => {
            let _ = err.write_all(text.as_bytes());
            Exit::Usage
        }
    }
}
