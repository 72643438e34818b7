//! Who may send to the signalling sockets, and how fast.
//!
//! The engine decides and the media path enforces: whenever something changes,
//! [`Output::Guard`] carries every rule there is, so that the two cannot drift
//! apart. Three voices are heard, and the narrowest network wins:
//!
//! - *Trunks*: each source of the configuration has a rule of its own, so no wider
//!   decision can cut a trunk off. To deny one, an operator must name it, or a
//!   network within it, and insist.
//! - *Operators*: allow or deny, for a while or for good; durable before it is
//!   answered, through the same seam as everything durable.
//! - *The engine itself*: [`Guard::deny_source`] denies a source for a while. It
//!   never touches a trunk or what an operator has decided, and is forgotten at a
//!   restart.
//!
//! When the store fails, the operator is refused and the rules stay as they were;
//! what the store holds of that network is then unknown, and is written anew until
//! it is what is in force.

pub mod model;
mod views;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::admin::{AdminReply, Refusal, RefusalKind};
use super::config::{Config, TrunkId};
use super::event::Event;
use super::io::{Change, CommitId, Output, RequestId, Transaction};
use super::time::{Instant, Now, Timestamp};
pub use model::{
    GuardAction, GuardEntry, GuardReply, GuardRequest, GuardStatus, Rule, RuleOrigin, RuleView,
    StrangerLimit, Treatment,
};
use views::view;

/// Networks that operators may decide about.
pub const MAX_OPERATOR_RULES: usize = 1_024;
/// Sources of trunks; the configuration is refused beyond it.
pub const MAX_TRUNK_RULES: usize = 512;
/// Sources that the engine denies at a time; the one that is due soonest makes
/// room.
pub const MAX_AUTOMATIC_RULES: usize = 512;
/// Characters of a reason.
const MAX_REASON: usize = 200;
/// Guard commits are numbered from here: calls begin at zero, the directory
/// above.
const FIRST_COMMIT: u64 = 1 << 62;
const LAST_COMMIT: u64 = (1 << 63) - 1;
/// Until what the store may hold wrongly is written again.
const AGAIN: Duration = Duration::from_secs(5);

/// The rules and what is being changed about them.
pub(crate) struct Guard {
    config: Arc<Config>,
    clock: Now,
    trunks: BTreeMap<IpNet, TrunkId>,
    operator: BTreeMap<IpNet, GuardEntry>,
    automatic: BTreeMap<IpNet, GuardEntry>,
    pending: BTreeMap<CommitId, Pending>,
    /// Networks of which the store may hold something else.
    doubtful: BTreeSet<IpNet>,
    again: Option<Instant>,
    /// When the first entry is over.
    due: Option<Timestamp>,
    outputs: VecDeque<Output>,
    next: u64,
    denied: u64,
}

/// What a commit is about.
enum Pending {
    /// An operator waits for it.
    Asked { request: RequestId, net: IpNet, wanted: Option<GuardEntry>, notes: Vec<String> },
    /// What is in force.
    Restored(BTreeSet<IpNet>),
}

impl Guard {
    /// The guard with what operators have decided before.
    pub(crate) fn new(config: Arc<Config>, now: Now, stored: Vec<GuardEntry>) -> Self {
        let mut trunks = BTreeMap::new();
        for (index, trunk) in config.trunks.iter().enumerate() {
            let id = TrunkId(u16::try_from(index).unwrap_or(u16::MAX));
            trunks.extend(trunk.sources.iter().map(|net| (net.trunc(), id)));
        }
        let mut guard = Self {
            config,
            clock: now,
            trunks,
            operator: stored.into_iter().map(|entry| (entry.net, entry)).collect(),
            automatic: BTreeMap::new(),
            pending: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            again: None,
            due: None,
            outputs: VecDeque::new(),
            next: FIRST_COMMIT,
            denied: 0,
        };
        guard.changed();
        guard
    }

    /// Whether a commit is one of the guard's.
    pub(crate) fn owns(commit: CommitId) -> bool {
        (FIRST_COMMIT..=LAST_COMMIT).contains(&commit.0)
    }

    /// Answers a request, now or when a commit is through.
    pub(crate) fn handle_request(&mut self, now: Now, id: RequestId, request: GuardRequest) {
        self.clock = now;
        let answer = match request {
            GuardRequest::List => Ok(GuardReply::Rules(self.views())),
            GuardRequest::Status => Ok(GuardReply::Status(self.status())),
            GuardRequest::Put { net, action, lasting, reason, force } => {
                let entry = GuardEntry {
                    net: net.trunc(),
                    action,
                    reason,
                    since: now.wall,
                    until: lasting.map(|lasting| now.wall + lasting),
                };
                match self.judge(&entry, force) {
                    Ok(notes) => return self.propose(id, entry.net, Some(entry), notes),
                    Err(refusal) => Err(refusal),
                }
            }
            GuardRequest::Remove { net } => match self.remove(id, net.trunc()) {
                Ok(None) => return,
                Ok(Some(reply)) => Ok(reply),
                Err(refusal) => Err(refusal),
            },
        };
        self.answer(id, answer);
    }

    /// Denies a source for a while: an address, or its network of 64 bits. `false`
    /// when it is a trunk's, or an operator has decided about it.
    pub(crate) fn deny_source(&mut self, now: Now, source: IpAddr, lasting: Duration, reason: &str) -> bool {
        self.clock = now;
        let net = network_of(source);
        let decided = self.operator.keys().any(|decided| decided.contains(&source));
        if !self.config.guard.enabled || decided || self.config.trunk_of_source(source).is_some() {
            return false;
        }
        if self.automatic.len() >= MAX_AUTOMATIC_RULES
            && !self.automatic.contains_key(&net)
            && let Some(soonest) =
                self.automatic.values().min_by_key(|entry| entry.until).map(|entry| entry.net)
        {
            self.automatic.remove(&soonest);
        }
        let (since, until) = (now.wall, Some(now.wall + lasting));
        let reason = reason.to_owned();
        self.automatic
            .insert(net, GuardEntry { net, action: GuardAction::Deny, reason: reason.clone(), since, until });
        self.denied += 1;
        self.outputs.push_back(Output::Event(Event::SourceDenied { net, lasting, reason }));
        self.changed();
        true
    }

    /// The store has a transaction.
    pub(crate) fn handle_committed(&mut self, now: Now, commit: CommitId) {
        self.clock = now;
        match self.pending.remove(&commit) {
            Some(Pending::Asked { request, net, wanted, notes }) => {
                self.doubtful.remove(&net);
                let reply = self.apply(net, wanted, notes);
                self.answer(request, Ok(reply));
            }
            Some(Pending::Restored(_)) | None => {}
        }
    }

    /// The store did not take a transaction, or may have.
    pub(crate) fn handle_commit_failed(&mut self, now: Now, commit: CommitId, problem: &str) {
        self.clock = now;
        self.outputs.push_back(Output::Event(Event::CommitFailed { problem: problem.to_owned() }));
        match self.pending.remove(&commit) {
            Some(Pending::Asked { request, net, .. }) => {
                self.doubtful.insert(net);
                let what = format!("the store did not take the rule for {net}: {problem}");
                self.answer(request, Err(refusal(RefusalKind::Unavailable, what, "try again; see the log")));
            }
            Some(Pending::Restored(nets)) => self.doubtful.extend(nets),
            None => {}
        }
        if !self.doubtful.is_empty() {
            self.again = Some(now.mono + AGAIN);
        }
    }

    /// Ends what was due by `now`, and mends what the store may hold wrongly.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.clock = now;
        if self.due.is_some_and(|due| due <= now.wall) {
            let over = |entry: &GuardEntry| entry.until.is_some_and(|until| until <= now.wall);
            self.automatic.retain(|_, entry| !over(entry));
            let ended: Vec<IpNet> =
                self.operator.values().filter(|entry| over(entry)).map(|entry| entry.net).collect();
            for net in ended {
                self.operator.remove(&net);
                self.doubtful.insert(net);
            }
            self.changed();
            self.restore();
        }
        if self.again.is_some_and(|again| again <= now.mono) {
            self.restore();
        }
    }

    /// When [`Self::handle_timeout`] must be called next, and what for.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let due = self.due.map(|due| self.clock.mono + due.saturating_since(self.clock.wall));
        [
            due.map(|at| (at, "the end of a guard rule")),
            self.again.map(|at| (at, "mending stored guard rules")),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|&(at, _)| at)
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Transactions that the store has not answered.
    pub(crate) fn pending_commits(&self) -> usize {
        self.pending.len()
    }

    /// How much it holds, and what it did.
    pub(crate) fn counters(&self) -> Vec<(String, u64)> {
        let size = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let counts = [
            ("guard.rules", size(self.trunks.len() + self.operator.len() + self.automatic.len())),
            ("guard.strangers_denied", self.denied),
        ];
        counts.map(|(name, count)| (name.to_owned(), count)).into()
    }

    /// Whether a change may be proposed, and what to tell about trunks.
    fn judge(&self, entry: &GuardEntry, force: bool) -> Result<Vec<String>, Refusal> {
        self.admits_change(entry.net)?;
        if entry.reason.chars().count() > MAX_REASON || entry.reason.contains(char::is_control) {
            let remedy = format!("write at most {MAX_REASON} characters on one line");
            return Err(refusal(RefusalKind::Invalid, "the reason is no short text", remedy));
        }
        if !self.operator.contains_key(&entry.net) && self.operator.len() >= MAX_OPERATOR_RULES {
            let what = format!("there are {MAX_OPERATOR_RULES} rules of operators, which is the limit");
            return Err(refusal(RefusalKind::Exhausted, what, "remove some, or join networks"));
        }
        if entry.action == GuardAction::Allow {
            return Ok(Vec::new());
        }
        let hit: Vec<&IpNet> = self.trunks.keys().filter(|source| source.contains(&entry.net)).collect();
        if let Some(source) = hit.last()
            && !force
        {
            let what =
                format!("{} belongs to trunk {}, whose sources hold {source}", entry.net, self.name(source));
            let remedy = "its calls would not arrive; insist with --force if that is meant";
            return Err(refusal(RefusalKind::Conflict, what, remedy));
        }
        let mut notes: Vec<String> = hit
            .iter()
            .map(|source| format!("calls of trunk {} from {} no longer arrive", self.name(source), entry.net))
            .collect();
        let spared = self.trunks.keys().filter(|source| entry.net != **source && entry.net.contains(*source));
        notes.extend(spared.map(|source| format!("{source} of trunk {} may still send", self.name(source))));
        Ok(notes)
    }

    fn admits_change(&self, net: IpNet) -> Result<(), Refusal> {
        if !self.config.guard.enabled {
            let what = "the guard is off";
            return Err(refusal(RefusalKind::Invalid, what, "set `enabled` in [guard] to true and restart"));
        }
        let same = |pending: &Pending| matches!(pending, Pending::Asked { net: asked, .. } if *asked == net);
        if self.pending.values().any(same) {
            let what = format!("the rule for {net} is being changed by another request");
            return Err(refusal(RefusalKind::Conflict, what, "ask again when that request is answered"));
        }
        Ok(())
    }

    fn remove(&mut self, id: RequestId, net: IpNet) -> Result<Option<GuardReply>, Refusal> {
        self.admits_change(net)?;
        if self.operator.contains_key(&net) {
            self.propose(id, net, None, Vec::new());
            return Ok(None);
        }
        if self.automatic.remove(&net).is_some() {
            self.changed();
            return Ok(Some(GuardReply::Removed(net)));
        }
        Err(match self.trunks.get(&net) {
            Some(_) => refusal(
                RefusalKind::Invalid,
                format!("{net} is a source of trunk {}", self.name(&net)),
                "change the `sources` of that [[trunk]] and restart",
            ),
            None => refusal(
                RefusalKind::NotFound,
                format!("there is no rule for {net}"),
                "list them with `vizard guard list`",
            ),
        })
    }

    fn propose(&mut self, request: RequestId, net: IpNet, wanted: Option<GuardEntry>, notes: Vec<String>) {
        let change = wanted.clone().map_or(Change::DeleteGuard(net), Change::PutGuard);
        self.commit(vec![change], Pending::Asked { request, net, wanted, notes });
    }

    fn commit(&mut self, changes: Vec<Change>, pending: Pending) {
        let id = CommitId(self.next);
        self.next += 1;
        self.pending.insert(id, pending);
        self.outputs.push_back(Output::Commit(id, Transaction { changes }));
    }

    /// Writes what is in force wherever the store may hold something else.
    fn restore(&mut self) {
        let asked = |net: &IpNet| {
            self.pending
                .values()
                .any(|pending| matches!(pending, Pending::Asked { net: asked, .. } if asked == net))
        };
        // What is being changed is written by that change, or doubtful again after it.
        let (waiting, nets) = std::mem::take(&mut self.doubtful).into_iter().partition(asked);
        self.doubtful = waiting;
        self.again = (!self.doubtful.is_empty()).then(|| self.clock.mono + AGAIN);
        let nets: BTreeSet<IpNet> = nets;
        let change =
            |net: &IpNet| self.operator.get(net).cloned().map_or(Change::DeleteGuard(*net), Change::PutGuard);
        let changes: Vec<Change> = nets.iter().map(change).collect();
        if !changes.is_empty() {
            self.commit(changes, Pending::Restored(nets));
        }
    }

    fn apply(&mut self, net: IpNet, wanted: Option<GuardEntry>, notes: Vec<String>) -> GuardReply {
        let reply = if let Some(entry) = wanted {
            self.automatic.remove(&net);
            let rule = view(&entry, RuleOrigin::Operator);
            self.operator.insert(net, entry);
            GuardReply::Put { rule, notes }
        } else {
            self.operator.remove(&net);
            GuardReply::Removed(net)
        };
        self.outputs.push_back(Output::Event(Event::GuardChanged { net, rule: self.word(net) }));
        self.changed();
        reply
    }

    /// Hands out the rules as they are now.
    fn changed(&mut self) {
        let ends = self.operator.values().chain(self.automatic.values()).filter_map(|entry| entry.until);
        self.due = ends.min();
        if self.config.guard.enabled {
            let rules =
                self.views().into_iter().map(|view| Rule { net: view.net, treatment: view.treatment });
            self.outputs.push_back(Output::Guard(rules.collect()));
        }
    }

    fn answer(&mut self, id: RequestId, answer: Result<GuardReply, Refusal>) {
        let reply = answer.map_or_else(AdminReply::Refused, AdminReply::Guard);
        self.outputs.push_back(Output::Reply(id, reply));
    }
}

/// What a source is known by: its address, or its IPv6 network of 64 bits, since
/// whoever has one address of it has them all.
pub(crate) fn network_of(source: IpAddr) -> IpNet {
    let whole = IpNet::from(source);
    if source.is_ipv4() { whole } else { IpNet::new(source, 64).map_or(whole, |net| net.trunc()) }
}

fn refusal(kind: RefusalKind, what: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal { kind, what: what.into(), remedy: remedy.into() }
}
