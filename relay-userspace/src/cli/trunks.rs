//! `vizard trunks`: where calls can go, and whether somebody answers there.

use clap::Args;
use serde_json::json;

use super::GlobalArgs;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report, length, or_dash, time_short};
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::targets::{Health, TargetView, TrunkView};

const EXAMPLES: &str = "\
Examples:
  vizard trunks
  vizard trunks --json | jq '.trunks[].targets[] | select(.health == \"down\")'

A target is up when it answered last, be it OPTIONS or a call, and down when it did
not, could not be reached, or said 503; nobody has asked one that is unknown. Targets
of the lowest priority come first, those that are down after all others.";

/// Trunks and their targets: which of them answer
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TrunksArgs {}

pub(super) fn run(_: &TrunksArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let AdminReply::Trunks(trunks) = Daemon::connect(global)?.admin(AdminRequest::Trunks)? else {
        return Err(unexpected());
    };
    listed(&trunks)
}

pub(super) fn listed(trunks: &[TrunkView]) -> Result<Report, Failure> {
    let rows = trunks.iter().flat_map(|trunk| trunk.targets.iter().map(|target| row(trunk, target)));
    let table = Block::Table {
        header: vec![
            "TRUNK", "OVER", "TARGET", "PRIORITY", "WEIGHT", "HEALTH", "SINCE", "PROBED", "LEGS", "PROBLEM",
        ],
        rows: rows.collect(),
        empty: "there is no trunk".to_owned(),
    };
    Report::new(vec![table], json!({ "trunks": trunks }))
}

fn row(trunk: &TrunkView, target: &TargetView) -> Vec<String> {
    let asked = Some(target).filter(|target| target.health != Health::Unknown);
    vec![
        trunk.trunk.clone(),
        trunk.transport.clone(),
        target.address.to_string(),
        target.priority.to_string(),
        target.weight.to_string(),
        target.health.as_str().to_owned(),
        or_dash(asked, |target| time_short(target.since)),
        or_dash(trunk.probe, length),
        trunk.legs.to_string(),
        or_dash(target.problem.clone(), |problem| problem),
    ]
}
