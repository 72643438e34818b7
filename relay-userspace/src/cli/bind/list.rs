//! `vizard bind list`: which bindings there are.

use std::time::Duration;

use super::super::live::{Daemon, unexpected};
use super::super::output::{Failure, Report, time_short};
use super::super::page::{Page, PageArgs};
use super::{KindArg, duration, media};
use crate::engine::admin::{AdminReply, AdminRequest, BindingView};
use crate::engine::directory::{BindFilter, BindingKind, BindingState, Shown};
use crate::engine::ids::BindingId;
use crate::engine::number::ProxyNumber;
use clap::{Args, ValueEnum};

const LIST_EXAMPLES: &str = "\
Examples:
  vizard bind list
  vizard bind list --key order-81
  vizard bind list --tenant acme --tag vip --kind case --older-than 7d
  vizard bind list --proxy +12125550123 --state all --csv
  vizard bind list --entombed --json | jq '.bindings[].id'";

/// List bindings
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(in crate::cli) struct ListArgs {
    /// Only those with this key
    #[arg(long)]
    key: Option<String>,
    /// Only this tenant's
    #[arg(long)]
    tenant: Option<String>,
    /// Only this project's
    #[arg(long)]
    project: Option<String>,
    /// Only those with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only those of this kind
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
    /// Only those in which somebody has this number
    #[arg(long, value_name = "NUMBER")]
    proxy: Option<ProxyNumber>,
    /// Only those made longer ago, such as 30m, 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    older_than: Option<Duration>,
    /// Only those made since
    #[arg(long, value_name = "TIME", value_parser = duration)]
    newer_than: Option<Duration>,
    /// Ended ones too, while late callbacks are expected
    #[arg(long)]
    entombed: bool,
    /// Only those that live, only ended ones, or all
    #[arg(long, value_enum, conflicts_with = "entombed")]
    state: Option<StateArg>,
    #[command(flatten)]
    page: PageArgs<BindingId, 1_000>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StateArg {
    Live,
    Entombed,
    All,
}

impl From<StateArg> for Shown {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Live => Self::Live,
            StateArg::Entombed => Self::Entombed,
            StateArg::All => Self::All,
        }
    }
}

impl ListArgs {
    fn filter(&self) -> BindFilter {
        let usual = if self.entombed { Shown::All } else { Shown::Live };
        BindFilter {
            state: self.state.map_or(usual, Shown::from),
            key: self.key.clone(),
            tenant: self.tenant.clone(),
            project: self.project.clone(),
            tag: self.tag.clone(),
            kind: self.kind.map(BindingKind::from),
            proxy: self.proxy,
            older_than: self.older_than,
            newer_than: self.newer_than,
        }
    }
}

pub(super) fn rows(daemon: &mut Daemon, args: &ListArgs) -> Result<Page<BindingView>, Failure> {
    args.page.fetched(|after, limit| {
        let request = AdminRequest::BindList { filter: args.filter(), after, limit };
        let AdminReply::Bindings(page) = daemon.admin(request)? else { return Err(unexpected()) };
        Ok((page.bindings, page.next))
    })
}

pub(in crate::cli) fn listed(page: &Page<BindingView>) -> Result<Report, Failure> {
    let header = vec![
        "BINDING", "KIND", "KEY", "CUSTOMER", "DIALS", "AGENT", "DIALS", "MEDIA", "STATE", "UNTIL", "CALLS",
    ];
    page.report("bindings", header, row, "no binding; create one with `vizard bind create`")
}

fn row(binding: &BindingView) -> Vec<String> {
    let (state, until) = match binding.state {
        BindingState::Live { expires } => ("live", expires),
        BindingState::Entombed { until, .. } => ("entombed", until),
    };
    vec![
        binding.id.to_string(),
        binding.kind.as_str().to_owned(),
        binding.key.clone(),
        binding.customer.address.clone(),
        binding.customer.proxy.to_string(),
        binding.agent.address.clone(),
        binding.agent.proxy.to_string(),
        media(binding).to_owned(),
        state.to_owned(),
        time_short(until),
        binding.calls.to_string(),
    ]
}
