//! Adding numbers, taking them out, and saying what may be done with them.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::{KindArg, StateArg, ask};
use crate::cli::live::{Daemon, unexpected};
use crate::cli::output::{Block, Failure, Report};
use crate::engine::directory::{NewNumber, NumberState, NumberTraits, PoolReply, PoolRequest};
use crate::engine::money::Money;
use crate::engine::number::ProxyNumber;

const ADD_EXAMPLES: &str = "\
Examples:
  vizard pool add +12125550123 +12125550124 --locality 'New York' --trunk carrier
  vizard pool add +18005550199 --kind toll-free --sms --cost 2.15USD
  xargs vizard pool add < numbers.txt

All numbers are added or none. A number that is there with the same properties is
left as it is; with others it is a conflict (exit code 6). The state or province of
an American or Canadian number follows from its area code. For many numbers with
properties of their own see `vizard pool import`.";

const DRAIN_EXAMPLES: &str = "\
Examples:
  vizard pool drain +12125550123 +12125550124
  vizard pool list --state draining --idle

Bindings that have a draining number keep it, new ones do not get it. When none is
left, `vizard pool remove` takes it out.";

const STATE_EXAMPLES: &str = "\
Examples:
  vizard pool set-state quarantined +12125550123
  vizard pool set-state active +12125550123

A disabled number connects nobody, not even the bindings that have it; calls in
progress go on.";

/// Add numbers to the pool
#[derive(Debug, Args)]
#[command(after_help = ADD_EXAMPLES)]
pub(in crate::cli) struct AddArgs {
    /// E.164 numbers, such as +12125550123
    #[arg(required = true, value_name = "NUMBER")]
    numbers: Vec<ProxyNumber>,
    /// Region or state
    #[arg(long)]
    region: Option<String>,
    /// City or exchange
    #[arg(long)]
    locality: Option<String>,
    /// What sort of numbers they are
    #[arg(long, value_enum, default_value_t)]
    kind: KindArg,
    /// They take texts too
    #[arg(long)]
    sms: bool,
    /// They take texts only
    #[arg(long, requires = "sms")]
    no_voice: bool,
    /// The trunk that delivers them
    #[arg(long, value_name = "NAME")]
    trunk: Option<String>,
    /// Who leases them to us
    #[arg(long, value_name = "NAME")]
    carrier: Option<String>,
    /// What each costs a month, such as 1.15USD
    #[arg(long, value_name = "MONEY")]
    cost: Option<Money>,
    /// A word of yours for them; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
}

/// Stop giving numbers to new bindings
#[derive(Debug, Args)]
#[command(after_help = DRAIN_EXAMPLES)]
pub(in crate::cli) struct NumbersArgs {
    /// E.164 numbers, such as +12125550123
    #[arg(required = true, value_name = "NUMBER")]
    numbers: Vec<ProxyNumber>,
}

/// Say what may be done with numbers
#[derive(Debug, Args)]
#[command(after_help = STATE_EXAMPLES)]
pub(in crate::cli) struct SetStateArgs {
    /// What they become
    #[arg(value_enum)]
    pub(super) state: StateArg,
    #[command(flatten)]
    pub(super) numbers: NumbersArgs,
}

pub(super) fn add(daemon: &mut Daemon, args: AddArgs) -> Result<Report, Failure> {
    let AddArgs { numbers, region, locality, kind, sms, no_voice, trunk, carrier, cost, tags } = args;
    let traits = NumberTraits {
        region,
        locality,
        kind: kind.kind(),
        voice: !no_voice,
        sms,
        trunk,
        carrier,
        monthly_cost: cost,
        tags,
        state: NumberState::Active,
    };
    let number = |number| NewNumber { number, traits: traits.clone() };
    let numbers = numbers.into_iter().map(number).collect();
    let PoolReply::Added { added, known } = ask(daemon, PoolRequest::Add { numbers })? else {
        return Err(unexpected());
    };
    let mut text = format!("added {}", counted(added));
    if known > 0 {
        let _ = write!(text, "; {known} there already");
    }
    Report::new(vec![Block::Text(text)], json!({ "added": added, "known": known }))
}

pub(super) fn remove(daemon: &mut Daemon, args: NumbersArgs) -> Result<Report, Failure> {
    let request = PoolRequest::Remove { numbers: args.numbers };
    let PoolReply::Removed(removed) = ask(daemon, request)? else { return Err(unexpected()) };
    let text = format!("removed {}", counted(removed));
    Report::new(vec![Block::Text(text)], json!({ "removed": removed }))
}

pub(super) fn set_state(daemon: &mut Daemon, args: NumbersArgs, to: NumberState) -> Result<Report, Failure> {
    let request = PoolRequest::SetState { numbers: args.numbers, to };
    let PoolReply::StateSet { changed, known, .. } = ask(daemon, request)? else { return Err(unexpected()) };
    let mut text = format!("{} now {}", counted(changed), to.as_str());
    if known > 0 {
        let _ = write!(text, "; {known} already");
    }
    let document = json!({ "state": to, "changed": changed, "known": known });
    Report::new(vec![Block::Text(text)], document)
}

fn counted(numbers: usize) -> String {
    format!("{numbers} number{}", if numbers == 1 { "" } else { "s" })
}
