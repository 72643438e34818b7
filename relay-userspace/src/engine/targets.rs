//! Where a trunk's requests may be sent, and which of those places answer.
//!
//! A trunk has one target or several, each with a priority and a weight as SRV records
//! have them (RFC 2782): the lowest priority first, and within one by chance in
//! proportion to weights. A target is *up* when it answers and *down* when it did not
//! answer, could not be reached or said 503. OPTIONS asks each in turn (RFC 3261 section
//! 11) where the trunk is probed; requests of calls tell as much without being asked.
//! Targets that are down are tried after all others, never left out: what is known of
//! them may be wrong, and a call is lost for certain only when nobody is asked.
//!
//! Nothing here is kept over a restart: the first probe tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::config::{Config, TrunkId};
use super::time::{Instant, Now, Timestamp};

/// How long a target that failed is tried last, where nothing probes it.
const REST: Duration = Duration::from_secs(30);

/// One place of a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub address: SocketAddr,
    /// Lower ones first.
    pub priority: u16,
    /// Its share among those of its priority; zero when nobody else is there.
    pub weight: u16,
}

/// The places of a trunk: one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    first: Target,
    others: Vec<Target>,
}

impl Targets {
    /// One place.
    #[must_use]
    pub const fn one(address: SocketAddr) -> Self {
        Self { first: Target { address, priority: 0, weight: 0 }, others: Vec::new() }
    }

    /// These; `None` of nothing. The most wanted one is the first, whatever their order.
    #[must_use]
    pub fn of(mut targets: Vec<Target>) -> Option<Self> {
        targets.sort_by_key(|target| (target.priority, std::cmp::Reverse(target.weight)));
        let mut targets = targets.into_iter();
        Some(Self { first: targets.next()?, others: targets.collect() })
    }

    /// The most wanted one: what is written where one has to be.
    #[must_use]
    pub const fn first(&self) -> SocketAddr {
        self.first.address
    }

    /// Whether there is a choice.
    #[must_use]
    pub const fn are_several(&self) -> bool {
        !self.others.is_empty()
    }

    /// All of them, by priority.
    pub fn iter(&self) -> impl Iterator<Item = Target> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, address: SocketAddr) -> bool {
        self.iter().any(|target| target.address == address)
    }

    /// Their hosts.
    #[must_use]
    pub fn hosts(&self) -> Vec<IpAddr> {
        self.iter().map(|target| target.address.ip()).collect()
    }
}

/// Whether a target answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nobody has asked it.
    Unknown,
    /// It does.
    Up,
    /// It did not when it was asked last.
    Down,
}

impl Health {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A target as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetView {
    /// Where.
    pub address: SocketAddr,
    /// Lower ones first.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
    /// Whether it answers.
    pub health: Health,
    /// Since when that is so.
    pub since: Timestamp,
    /// What was wrong when it failed last.
    pub problem: Option<String>,
}

/// A trunk as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkView {
    /// Its name.
    pub trunk: String,
    /// Over what: `udp`, `tcp` or `tls`.
    pub transport: String,
    /// How often its targets are probed; never, when absent.
    pub probe: Option<Duration>,
    /// Legs of calls on it.
    pub legs: usize,
    /// Its targets.
    pub targets: Vec<TargetView>,
}

/// What became of a target's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// As before.
    None,
    /// It answers again, or for the first time.
    Up,
    /// It fails from now on.
    Down,
}

type Key = (TrunkId, SocketAddr);

/// What is known of all targets.
pub(super) struct Reachability {
    states: BTreeMap<Key, State>,
    due: BTreeSet<(Instant, Key)>,
}

struct State {
    health: Health,
    since: Timestamp,
    problem: Option<String>,
    due: Option<Instant>,
}

impl Reachability {
    /// Of a start, at which nothing is known.
    pub(super) fn new(config: &Config, now: Now) -> Self {
        let mut all = Self { states: BTreeMap::new(), due: BTreeSet::new() };
        for (id, trunk) in trunks(config) {
            for target in trunk.targets.iter() {
                let state = State { health: Health::Unknown, since: now.wall, problem: None, due: None };
                let key = (id, target.address);
                all.states.insert(key, state);
                if trunk.probe.is_some() {
                    all.look_at(key, Some(now.mono));
                }
            }
        }
        all
    }

    /// The targets of a trunk in the order in which a request tries them.
    pub(super) fn order(&self, config: &Config, id: TrunkId, random: &mut impl Rng) -> Vec<SocketAddr> {
        let Some(trunk) = config.trunk(id) else { return Vec::new() };
        let mut left: Vec<Target> = trunk.targets.iter().collect();
        let mut order = Vec::with_capacity(left.len());
        while let Some(priority) = left.iter().map(|target| target.priority).min() {
            let alike: Vec<usize> = (0..left.len()).filter(|&at| left[at].priority == priority).collect();
            let drawn = draw(&left, &alike, random);
            order.push(left.swap_remove(drawn).address);
            left.sort_by_key(|target| (target.priority, target.address));
        }
        let down = |address: &SocketAddr| {
            self.states.get(&(id, *address)).is_some_and(|state| state.health == Health::Down)
        };
        let (last, mut first): (Vec<_>, Vec<_>) = order.into_iter().partition(down);
        first.extend(last);
        first
    }

    /// A target has answered.
    pub(super) fn answered(&mut self, config: &Config, now: Now, key: Key) -> Turn {
        let Some(state) = self.states.get_mut(&key) else { return Turn::None };
        let before = std::mem::replace(&mut state.health, Health::Up);
        if before == Health::Up {
            return Turn::None;
        }
        (state.since, state.problem) = (now.wall, None);
        self.look_at(key, probe(config, key).map(|every| now.mono + every));
        if before == Health::Down { Turn::Up } else { Turn::None }
    }

    /// A target has failed.
    pub(super) fn failed(&mut self, config: &Config, now: Now, key: Key, problem: &str) -> Turn {
        let Some(state) = self.states.get_mut(&key) else { return Turn::None };
        let before = std::mem::replace(&mut state.health, Health::Down);
        state.problem = Some(problem.to_owned());
        if before != Health::Down {
            state.since = now.wall;
        }
        self.look_at(key, Some(now.mono + probe(config, key).unwrap_or(REST)));
        if before == Health::Down { Turn::None } else { Turn::Down }
    }

    /// The next target that is to be probed by now.
    pub(super) fn pop(&mut self, config: &Config, now: Now) -> Option<Key> {
        while let Some(&(at, key)) = self.due.first().filter(|&&(at, _)| at <= now.mono) {
            self.due.remove(&(at, key));
            let every = probe(config, key);
            self.look_at(key, every.map(|every| now.mono + every));
            if every.is_some() {
                return Some(key);
            }
            if let Some(state) = self.states.get_mut(&key) {
                (state.health, state.since) = (Health::Unknown, now.wall);
            }
        }
        None
    }

    /// When [`Self::pop`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Targets that are down.
    pub(super) fn down(&self) -> usize {
        self.states.values().filter(|state| state.health == Health::Down).count()
    }

    /// Every trunk with its targets, and as many legs as `legs` says.
    pub(super) fn view(&self, config: &Config, legs: impl Fn(TrunkId) -> usize) -> Vec<TrunkView> {
        let target = |id, target: Target| {
            let state = self.states.get(&(id, target.address))?;
            Some(TargetView {
                address: target.address,
                priority: target.priority,
                weight: target.weight,
                health: state.health,
                since: state.since,
                problem: state.problem.clone(),
            })
        };
        trunks(config)
            .map(|(id, trunk)| TrunkView {
                trunk: trunk.name.clone(),
                transport: trunk.transport.word().to_owned(),
                probe: trunk.probe,
                legs: legs(id),
                targets: trunk.targets.iter().filter_map(|one| target(id, one)).collect(),
            })
            .collect()
    }

    fn look_at(&mut self, key: Key, at: Option<Instant>) {
        let Some(state) = self.states.get_mut(&key) else { return };
        if let Some(before) = std::mem::replace(&mut state.due, at) {
            self.due.remove(&(before, key));
        }
        self.due.extend(at.map(|at| (at, key)));
    }
}

fn trunks(config: &Config) -> impl Iterator<Item = (TrunkId, &super::config::Trunk)> {
    (0..).map(TrunkId).zip(&config.trunks)
}

fn probe(config: &Config, (id, _): Key) -> Option<Duration> {
    config.trunk(id)?.probe
}

/// One of those alike, by chance in proportion to weights.
fn draw(targets: &[Target], alike: &[usize], random: &mut impl Rng) -> usize {
    let weights = || alike.iter().map(|&at| u32::from(targets[at].weight));
    let all: u32 = weights().sum();
    let mut drawn = if all == 0 { 0 } else { random.next_u32() % all };
    for (&at, weight) in alike.iter().zip(weights()) {
        if drawn < weight {
            return at;
        }
        drawn -= weight;
    }
    alike[0]
}

#[cfg(test)]
mod tests;
