//! `vizard pool`: the numbers that Vizard owns.

mod change;
mod file;
mod import;
mod list;
mod plan;

use clap::{Args, Subcommand, ValueEnum};

use super::GlobalArgs;
use super::live::{Daemon, unexpected};
use super::output::{Failure, Report};
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::directory::{NumberKind, NumberState, PoolFilter, PoolReply, PoolRequest};
use crate::engine::number::Country;

#[cfg(test)]
pub(super) use list::listed;

#[derive(Debug, Subcommand)]
pub(super) enum PoolCommand {
    Add(change::AddArgs),
    Import(import::ImportArgs),
    Export(list::ExportArgs),
    List(list::ListArgs),
    /// Show one number
    #[command(after_help = "Examples:\n  vizard pool show +12125550123")]
    Show(list::ShowArgs),
    /// Count the pool by country, region and kind, with its load and its cost
    #[command(after_help = "Examples:\n  vizard pool stats\n  vizard pool stats --json | jq .total")]
    Stats,
    Plan(plan::PlanArgs),
    Drain(change::NumbersArgs),
    SetState(change::SetStateArgs),
    /// Take numbers out of the pool that no binding has
    #[command(after_help = "Examples:\n  vizard pool remove +12125550123\n\n\
        All numbers are removed or none. One that a binding or a tombstone has is a conflict\n\
        (exit code 6): drain it first.")]
    Remove(change::NumbersArgs),
}

/// Which numbers are meant
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
struct FilterArgs {
    /// Only this country's numbers
    #[arg(long, value_name = "CC")]
    country: Option<Country>,
    /// Only those of this region or state
    #[arg(long)]
    region: Option<String>,
    /// Only those of this city or exchange
    #[arg(long)]
    locality: Option<String>,
    /// Only this sort of numbers
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
    /// Only those in this state
    #[arg(long, value_enum)]
    state: Option<StateArg>,
    /// Only those that take texts
    #[arg(long)]
    sms: bool,
    /// Only those that this trunk delivers
    #[arg(long, value_name = "NAME")]
    trunk: Option<String>,
    /// Only those that this carrier leases to us
    #[arg(long, value_name = "NAME")]
    carrier: Option<String>,
    /// Only those with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only those in no binding
    #[arg(long)]
    idle: bool,
}

impl FilterArgs {
    fn filter(&self) -> PoolFilter {
        PoolFilter {
            country: self.country,
            region: self.region.clone(),
            locality: self.locality.clone(),
            kind: self.kind.map(KindArg::kind),
            state: self.state.map(StateArg::state),
            sms: self.sms,
            trunk: self.trunk.clone(),
            carrier: self.carrier.clone(),
            tag: self.tag.clone(),
            idle: self.idle,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum KindArg {
    /// Geographic
    #[default]
    Local,
    /// Free for the caller
    TollFree,
    /// In a mobile range
    Mobile,
    /// Reachable from a PBX trunk alone
    Internal,
}

impl KindArg {
    const fn kind(self) -> NumberKind {
        match self {
            Self::Local => NumberKind::Local,
            Self::TollFree => NumberKind::TollFree,
            Self::Mobile => NumberKind::Mobile,
            Self::Internal => NumberKind::Internal,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StateArg {
    /// Given to new bindings
    Active,
    /// On its way out: kept by the bindings that have it
    Draining,
    /// Resting, and meant to come back
    Quarantined,
    /// Connects nobody
    Disabled,
}

impl StateArg {
    const fn state(self) -> NumberState {
        match self {
            Self::Active => NumberState::Active,
            Self::Draining => NumberState::Draining,
            Self::Quarantined => NumberState::Quarantined,
            Self::Disabled => NumberState::Disabled,
        }
    }
}

pub(super) fn run(command: PoolCommand, global: &GlobalArgs) -> Result<Report, Failure> {
    let connect = || Daemon::connect(global);
    match command {
        PoolCommand::Add(args) => change::add(&mut connect()?, args),
        PoolCommand::Import(args) => import::run(&args, global),
        PoolCommand::Export(args) => list::export(&mut connect()?, &args),
        PoolCommand::List(args) => list::list(&mut connect()?, &args),
        PoolCommand::Show(args) => list::show(&mut connect()?, &args),
        PoolCommand::Stats => list::stats(&mut connect()?),
        PoolCommand::Plan(args) => plan::run(&args, global),
        PoolCommand::Drain(args) => change::set_state(&mut connect()?, args, NumberState::Draining),
        PoolCommand::SetState(args) => change::set_state(&mut connect()?, args.numbers, args.state.state()),
        PoolCommand::Remove(args) => change::remove(&mut connect()?, args),
    }
}

fn ask(daemon: &mut Daemon, request: PoolRequest) -> Result<PoolReply, Failure> {
    match daemon.admin(AdminRequest::Pool(request))? {
        AdminReply::Pool(reply) => Ok(reply),
        _ => Err(unexpected()),
    }
}
