//! What the guard is asked, what it answers, and what it stores.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::engine::time::Timestamp;

/// What becomes of the sources of a network; of several that hold a source, the
/// narrowest decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The network.
    pub net: IpNet,
    /// What becomes of its sources.
    pub treatment: Treatment,
}

/// What becomes of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Treatment {
    /// It passes, however fast.
    Exempt,
    /// It passes as fast as anybody may.
    Limit,
    /// It does not pass.
    Deny,
}

/// What an operator, or the engine itself, has decided about a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardEntry {
    /// The network.
    pub net: IpNet,
    /// Allowed or denied.
    pub action: GuardAction,
    /// Why; may be empty.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; for good when absent.
    pub until: Option<Timestamp>,
}

/// Allowed or denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuardAction {
    /// Exempt from the limit, and never denied automatically.
    Allow,
    /// Nothing gets through.
    Deny,
}

/// A request about the guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "guard")]
pub enum GuardRequest {
    /// All rules, in the order of their networks.
    List,
    /// Allow or deny a network, in place of what was decided about it before.
    Put {
        /// The network; bits beyond its prefix do not matter.
        net: IpNet,
        /// Allow or deny.
        action: GuardAction,
        /// For how long; for good when absent.
        lasting: Option<Duration>,
        /// Why.
        reason: String,
        /// Even where a trunk loses its right to send.
        force: bool,
    },
    /// Forget what was decided about a network.
    Remove {
        /// The network.
        net: IpNet,
    },
    /// What the guard does, and what it has done.
    Status,
}

/// The answer to a [`GuardRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "guard", content = "is")]
pub enum GuardReply {
    /// To [`GuardRequest::List`].
    Rules(Vec<RuleView>),
    /// To [`GuardRequest::Put`].
    Put {
        /// What is in force now.
        rule: RuleView,
        /// What the operator should know: trunks that it is about.
        notes: Vec<String>,
    },
    /// To [`GuardRequest::Remove`].
    Removed(IpNet),
    /// To [`GuardRequest::Status`].
    Status(GuardStatus),
}

/// A rule as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// The network.
    pub net: IpNet,
    /// What becomes of its sources.
    pub treatment: Treatment,
    /// Who decided it.
    pub by: RuleOrigin,
    /// Since when; a trunk's is as old as the configuration.
    pub since: Option<Timestamp>,
    /// Until when; for good when absent.
    pub until: Option<Timestamp>,
    /// Why; may be empty.
    pub reason: String,
    /// Packets that it has decided. The engine leaves it empty and the daemon
    /// fills it in.
    pub packets: Option<u64>,
}

/// Who decided a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleOrigin {
    /// The configuration: it is a source of this trunk.
    Trunk(String),
    /// An operator.
    Operator,
    /// The engine: a stranger that sent too much.
    Automatic,
}

/// What the guard does, and what it has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardStatus {
    /// Whether it is on.
    pub enabled: bool,
    /// The sockets that it guards.
    pub listen: Vec<SocketAddr>,
    /// Packets a second that a source may send; zero for no limit.
    pub rate: u32,
    /// Packets that it may send at once.
    pub burst: u32,
    /// Whether trunks have that limit too.
    pub limit_trunks: bool,
    /// What it takes for a stranger to be denied.
    pub strangers: Option<StrangerLimit>,
    /// Rules by who decided them: trunks, operators, the engine.
    pub rules: (usize, usize, usize),
    /// Packets of denied networks. The engine leaves this and the next empty, and
    /// the daemon fills them in.
    pub denied: u64,
    /// Packets that came faster than they may.
    pub limited: u64,
}

/// What it takes for a stranger to be denied, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrangerLimit {
    /// More messages than this...
    pub messages: u32,
    /// ...within this time...
    pub window: Duration,
    /// ...are answered by silence for so long.
    pub deny_for: Duration,
}
