//! What the guard shows of itself: every rule with who decided it, and the limits.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::Guard;
use super::model::{GuardAction, GuardEntry, GuardStatus, RuleOrigin, RuleView, Treatment};
use crate::engine::config::TrunkId;

impl Guard {
    /// Every rule: for one network, an operator's word counts before all others.
    pub(super) fn views(&self) -> Vec<RuleView> {
        let trunk = |(net, _): (&IpNet, &TrunkId)| RuleView {
            net: *net,
            treatment: if self.config.guard.limit_trunks { Treatment::Limit } else { Treatment::Exempt },
            by: RuleOrigin::Trunk(self.name(net).to_owned()),
            since: None,
            until: None,
            reason: String::new(),
            packets: None,
        };
        let mut rules: BTreeMap<IpNet, RuleView> =
            self.automatic.values().map(|entry| (entry.net, view(entry, RuleOrigin::Automatic))).collect();
        rules.extend(self.trunks.iter().map(trunk).map(|view| (view.net, view)));
        rules.extend(self.operator.values().map(|entry| (entry.net, view(entry, RuleOrigin::Operator))));
        rules.into_values().collect()
    }

    pub(super) fn status(&self) -> GuardStatus {
        let guard = &self.config.guard;
        GuardStatus {
            enabled: guard.enabled,
            listen: self.config.sip.listen.iter().map(|listen| listen.local).collect(),
            rate: guard.rate,
            burst: guard.burst,
            limit_trunks: guard.limit_trunks,
            strangers: guard.strangers,
            rules: (self.trunks.len(), self.operator.len(), self.automatic.len()),
            denied: 0,
            limited: 0,
        }
    }

    pub(super) fn name(&self, source: &IpNet) -> &str {
        let trunk = self.trunks.get(source).and_then(|id| self.config.trunk(*id));
        trunk.map_or("", |trunk| &trunk.name)
    }

    /// What an operator has decided about a network.
    pub(super) fn word(&self, net: IpNet) -> Option<GuardAction> {
        self.operator.get(&net).map(|entry| entry.action)
    }
}

/// An entry as it may be shown.
pub(super) fn view(entry: &GuardEntry, by: RuleOrigin) -> RuleView {
    RuleView {
        net: entry.net,
        treatment: match entry.action {
            GuardAction::Allow => Treatment::Exempt,
            GuardAction::Deny => Treatment::Deny,
        },
        by,
        since: Some(entry.since),
        until: entry.until,
        reason: entry.reason.clone(),
        packets: None,
    }
}
