//! `vizard guard`: who may send to the signalling sockets, and how fast.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;
use serde_json::json;
use thiserror::Error;

use super::GlobalArgs;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report, length, or_dash, time_short};
use super::page::PageArgs;
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::guard::{
    GuardAction, GuardReply, GuardRequest, GuardStatus, RuleOrigin, RuleView, Treatment,
};
use crate::settings::duration;

const LIST_EXAMPLES: &str = "\
Examples:
  vizard guard list
  vizard guard list --rule deny --by automatic --csv
  vizard guard list --json | jq '.rules[] | select(.treatment == \"deny\")'

Of several networks that hold a source, the narrowest decides. PACKETS are those
that a rule has decided since it was made or Vizard started.";

const DENY_EXAMPLES: &str = "\
Examples:
  vizard guard deny 203.0.113.7 --for 10m --reason scanner
  vizard guard deny 2001:db8:bad::/48
  vizard guard deny 198.51.100.1 --force

To deny a trunk, or a part of its sources, takes --force (exit code 6 without). A
wider network never cuts off a trunk within it. Media is not affected.";

const ALLOW_EXAMPLES: &str = "\
Examples:
  vizard guard allow 192.0.2.80 --reason monitoring
  vizard guard allow 192.0.2.0/24 --for 1h

Allowed networks have no limit and are never denied automatically. Their SIP is
answered only if they belong to a trunk.";

const REMOVE_EXAMPLES: &str = "\
Examples:
  vizard guard remove 203.0.113.7";

const STATUS_EXAMPLES: &str = "\
Examples:
  vizard guard status
  vizard guard status --json | jq .limited";

#[derive(Debug, Subcommand)]
pub(super) enum GuardCommand {
    List(ListArgs),
    /// Drop what a network sends to the signalling sockets
    #[command(after_help = DENY_EXAMPLES)]
    Deny(DenyArgs),
    /// Let a network send without a limit
    #[command(after_help = ALLOW_EXAMPLES)]
    Allow(PutArgs),
    /// Forget what was decided about a network
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove(RemoveArgs),
    /// Show the limits, and what they have held back
    #[command(after_help = STATUS_EXAMPLES)]
    Status,
}

/// List the rules, and how many packets each has decided
#[derive(Debug, Default, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct ListArgs {
    /// Only what is allowed, limited or denied
    #[arg(long, value_enum)]
    rule: Option<RuleArg>,
    /// Only what this decided
    #[arg(long, value_enum)]
    by: Option<ByArg>,
    /// Only the rules of networks that hold this address, or are in this network
    #[arg(long, value_name = "NETWORK")]
    net: Option<Network>,
    #[command(flatten)]
    page: PageArgs<Network, 10_000>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RuleArg {
    Allow,
    Limit,
    Deny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ByArg {
    /// The configuration
    Trunk,
    /// Somebody with `vizard guard`
    Operator,
    /// Vizard itself
    Automatic,
}

impl ListArgs {
    fn shows(&self, rule: &RuleView) -> bool {
        let treatment = match rule.treatment {
            Treatment::Exempt => RuleArg::Allow,
            Treatment::Limit => RuleArg::Limit,
            Treatment::Deny => RuleArg::Deny,
        };
        let by = match rule.by {
            RuleOrigin::Trunk(_) => ByArg::Trunk,
            RuleOrigin::Operator => ByArg::Operator,
            RuleOrigin::Automatic => ByArg::Automatic,
        };
        self.rule.is_none_or(|wanted| wanted == treatment)
            && self.by.is_none_or(|wanted| wanted == by)
            && self.net.is_none_or(|Network(net)| rule.net.contains(&net) || net.contains(&rule.net))
    }
}

#[derive(Debug, Args)]
pub(super) struct PutArgs {
    /// A network or an address
    #[arg(value_name = "NETWORK")]
    net: Network,
    /// For how long, such as 10m or 2h; for good when left out
    #[arg(long = "for", value_name = "DURATION", value_parser = lasting)]
    lasting: Option<Duration>,
    /// Why: shown by `vizard guard list`
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct DenyArgs {
    #[command(flatten)]
    put: PutArgs,
    /// Even if it is a trunk's
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The network or address, as `vizard guard list` shows it
    #[arg(value_name = "NETWORK")]
    net: Network,
}

/// A network, or an address, which is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Network(IpNet);

/// A text that is neither.
#[derive(Clone, Copy, Debug, Error)]
#[error("write an address or a network, such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32")]
struct NoNetwork;

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| address()).map(|net| Self(net.trunc())).map_err(|_| NoNetwork)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub(super) fn lasting(text: &str) -> Result<Duration, &'static str> {
    duration(text)
        .filter(|duration| *duration >= Duration::from_secs(1))
        .ok_or("write a duration of a second or more, such as 90s, 10m, 2h or 7d")
}

pub(super) fn run(command: GuardCommand, global: &GlobalArgs) -> Result<Report, Failure> {
    let mut shown = ListArgs::default();
    let request = match command {
        GuardCommand::List(args) => {
            shown = args;
            GuardRequest::List
        }
        GuardCommand::Status => GuardRequest::Status,
        GuardCommand::Deny(DenyArgs { put, force }) => self::put(put, GuardAction::Deny, force),
        GuardCommand::Allow(args) => put(args, GuardAction::Allow, false),
        GuardCommand::Remove(RemoveArgs { net: Network(net) }) => GuardRequest::Remove { net },
    };
    let AdminReply::Guard(reply) = Daemon::connect(global)?.admin(AdminRequest::Guard(request))? else {
        return Err(unexpected());
    };
    report(&reply, &shown)
}

fn put(args: PutArgs, action: GuardAction, force: bool) -> GuardRequest {
    let PutArgs { net: Network(net), lasting, reason } = args;
    GuardRequest::Put { net, action, lasting, reason, force }
}

pub(super) fn report(reply: &GuardReply, shown_rules: &ListArgs) -> Result<Report, Failure> {
    match reply {
        GuardReply::Rules(rules) => listed(rules, shown_rules),
        GuardReply::Put { rule, notes } => {
            let until = rule.until.map_or_else(String::new, |until| format!(" until {}", time_short(until)));
            let mut blocks = vec![Block::Text(format!("{} {}{until}", word(rule.treatment), rule.net))];
            blocks.extend(notes.iter().map(|note| Block::Text(format!("warning: {note}"))));
            Report::new(blocks, json!({ "rule": rule, "warnings": notes }))
        }
        GuardReply::Removed(net) => {
            Report::new(vec![Block::Text(format!("removed {net}"))], json!({ "removed": net }))
        }
        GuardReply::Status(status) => shown(status),
    }
}

fn listed(rules: &[RuleView], args: &ListArgs) -> Result<Report, Failure> {
    let row = |rule: &RuleView| {
        vec![
            rule.net.to_string(),
            word(rule.treatment).to_owned(),
            match &rule.by {
                RuleOrigin::Trunk(name) => format!("trunk:{name}"),
                RuleOrigin::Operator => "operator".to_owned(),
                RuleOrigin::Automatic => "automatic".to_owned(),
            },
            or_dash(rule.since, time_short),
            or_dash(rule.until, time_short),
            or_dash(rule.packets, |packets| packets.to_string()),
            rule.reason.clone(),
        ]
    };
    let header = vec!["NETWORK", "RULE", "BY", "SINCE", "UNTIL", "PACKETS", "REASON"];
    let mut rules: Vec<&RuleView> = rules.iter().filter(|rule| args.shows(rule)).collect();
    rules.sort_by_key(|rule| rule.net);
    let page = args.page.of(rules, |rule| Network(rule.net));
    page.report("rules", header, |rule| row(rule), "the guard has no such rule")
}

fn shown(status: &GuardStatus) -> Result<Report, Failure> {
    let sockets: Vec<String> = status.listen.iter().map(ToString::to_string).collect();
    let limit = if status.rate == 0 {
        "none".to_owned()
    } else {
        format!("{} packets/s per source, {} at once", status.rate, status.burst)
    };
    let strangers = or_dash(status.strangers, |limit| {
        format!(
            "more than {} messages in {}: denied for {}",
            limit.messages,
            length(limit.window),
            length(limit.deny_for)
        )
    });
    let (trunks, operators, automatic) = status.rules;
    let fields = vec![
        ("guard", if status.enabled { "on" } else { "off" }.to_owned()),
        ("sockets", sockets.join(", ")),
        ("limit", limit),
        ("trunks", if status.limit_trunks { "limited" } else { "exempt" }.to_owned()),
        ("strangers", strangers),
        ("rules", format!("{trunks} of trunks, {operators} of operators, {automatic} automatic")),
        ("denied", format!("{} packets", status.denied)),
        ("limited", format!("{} packets", status.limited)),
    ];
    let mut document = json!(status);
    document["rules"] = json!({ "trunks": trunks, "operators": operators, "automatic": automatic });
    Report::new(vec![Block::Fields(fields)], document)
}

fn word(treatment: Treatment) -> &'static str {
    match treatment {
        Treatment::Exempt => "allow",
        Treatment::Limit => "limit",
        Treatment::Deny => "deny",
    }
}
