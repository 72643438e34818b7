//! The directory's nouns: pool numbers, parties, bindings, pairs.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::headroom::Home;
use super::usage::{Ring, Usage};
use crate::engine::config::Encryption;
use crate::engine::guard::GuardEntry;
use crate::engine::ids::BindingId;
use crate::engine::money::Money;
use crate::engine::number::{Country, PartyNumber, ProxyNumber};
use crate::engine::privacy::{Erasure, SealedParty, VaultId};
use crate::engine::time::Timestamp;

/// A number that Vizard owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolNumber {
    /// The number.
    pub number: ProxyNumber,
    /// Its country, from the number itself.
    pub country: Country,
    /// What else is known of it.
    #[serde(flatten)]
    pub traits: NumberTraits,
}

/// What a number does not say of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberTraits {
    /// Region or state; in the US and Canada it follows from the area code.
    pub region: Option<String>,
    /// City or exchange.
    pub locality: Option<String>,
    /// What sort of number it is.
    pub kind: NumberKind,
    /// Whether it takes calls.
    pub voice: bool,
    /// Whether it takes texts.
    pub sms: bool,
    /// The trunk that delivers it.
    pub trunk: Option<String>,
    /// Who leases it to us.
    pub carrier: Option<String>,
    /// What it costs a month.
    pub monthly_cost: Option<Money>,
    /// The operator's own words for it, in order and each once.
    pub tags: Vec<String>,
    /// What may be done with it.
    pub state: NumberState,
}

impl Default for NumberTraits {
    fn default() -> Self {
        Self {
            region: None,
            locality: None,
            kind: NumberKind::Local,
            voice: true,
            sms: false,
            trunk: None,
            carrier: None,
            monthly_cost: None,
            tags: Vec::new(),
            state: NumberState::Active,
        }
    }
}

/// What may be done with a number of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NumberState {
    /// It is given to new bindings.
    #[default]
    Active,
    /// It is on its way out: bindings that have it keep it, new ones do not get it.
    Draining,
    /// It is to rest, for example because phones mark it as spam: like draining,
    /// and meant to come back.
    Quarantined,
    /// It does not work or is not ours any more: it connects nobody.
    Disabled,
}

impl NumberState {
    /// Every state, in order.
    pub const ALL: [Self; 4] = [Self::Active, Self::Draining, Self::Quarantined, Self::Disabled];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Quarantined => "quarantined",
            Self::Disabled => "disabled",
        }
    }
}

/// What sort of number it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NumberKind {
    /// Geographic.
    #[default]
    Local,
    /// Free for the caller.
    TollFree,
    /// In a mobile range.
    Mobile,
    /// Reachable from a PBX trunk alone.
    Internal,
}

impl NumberKind {
    /// Every kind, in order.
    pub const ALL: [Self; 4] = [Self::Local, Self::TollFree, Self::Mobile, Self::Internal];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::TollFree => "toll-free",
            Self::Mobile => "mobile",
            Self::Internal => "internal",
        }
    }
}

/// Where a party can be reached. Never prints in clear.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartyAddress {
    /// A telephone number.
    Number(PartyNumber),
    /// A user at a PBX: only together with the trunk does it identify anybody.
    Extension {
        /// The trunk's name.
        trunk: String,
        /// The user part of its SIP URI.
        user: Extension,
    },
}

impl PartyAddress {
    /// A form that may be shown.
    #[must_use]
    pub fn masked(&self) -> String {
        match self {
            Self::Number(number) => number.masked(),
            Self::Extension { trunk, user } => format!("{}@{trunk}", user.masked()),
        }
    }

    /// The user part to dial, in clear: digits without `+`, or the extension.
    #[must_use]
    pub fn reveal(&self) -> &str {
        match self {
            Self::Number(number) => number.reveal(),
            Self::Extension { user, .. } => user.reveal(),
        }
    }
}

impl std::fmt::Debug for PartyAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.masked())
    }
}

/// The user part of a PBX extension; as secret as a number, and overwritten like
/// one when it is dropped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extension(String);

impl Extension {
    /// At most 64 characters of RFC 3261's `unreserved` set.
    #[must_use]
    pub fn new(user: &str) -> Option<Self> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&b);
        (!user.is_empty() && user.len() <= 64 && user.bytes().all(unreserved)).then(|| Self(user.to_owned()))
    }

    /// The user part, in clear.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// `1••`: the first character, and how many follow.
    #[must_use]
    pub fn masked(&self) -> String {
        self.0.chars().enumerate().map(|(i, c)| if i == 0 { c } else { '•' }).collect()
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Extension {}

impl std::fmt::Debug for Extension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.masked())
    }
}

/// One side of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// Who it is.
    pub id: VaultId,
    /// The number that this party dials and sees.
    pub proxy: ProxyNumber,
}

/// The mapping that joins two parties through proxy numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its id.
    pub id: BindingId,
    /// Who owns it.
    pub tenant: String,
    /// The tenant's project.
    pub project: String,
    /// What sort of conversation it is for.
    pub kind: BindingKind,
    /// What it is looked up by before a new one is made.
    pub key: String,
    /// The customer.
    pub customer: Party,
    /// The agent.
    pub agent: Party,
    /// When it was made.
    pub created: Timestamp,
    /// Where it is in its life.
    pub state: BindingState,
    /// Whether its parties may encrypt their media; as configured when absent.
    pub encryption: Option<Encryption>,
    /// How it may be used.
    pub usage: Usage,
    /// Its owner's own words for it, in order and each once.
    pub tags: Vec<String>,
    /// Further addresses of the customer and of the agent, in the order in which they
    /// ring; they dial and see the same number.
    pub also: [Vec<VaultId>; 2],
}

/// A stable public number of an agent, that anybody may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentNumber {
    /// The number.
    pub number: ProxyNumber,
    /// Who owns it.
    pub tenant: String,
    /// The tenant's project.
    pub project: String,
    /// The agent's id.
    pub key: String,
    /// Who its callers reach.
    pub agent: VaultId,
    /// And further members of the team, in the order in which they ring.
    pub also: Vec<VaultId>,
    /// How these ring.
    pub ring: Ring,
    /// When it was made.
    pub created: Timestamp,
}

impl Binding {
    /// The pairs that it holds, live or entombed.
    pub fn claims(&self) -> impl Iterator<Item = PairClaim> {
        let sides = [&self.customer, &self.agent].into_iter().zip(&self.also);
        sides.flat_map(move |(&Party { id, proxy }, also)| {
            let parties = std::iter::once(id).chain(also.iter().copied());
            parties.map(move |party| PairClaim { proxy, party, binding: self.id })
        })
    }
}

/// What sort of conversation a binding is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BindingKind {
    /// One conversation.
    #[default]
    Session,
    /// An order, a case, a ticket.
    Case,
    /// A long-lived customer profile.
    Customer,
    /// A caller of an agent.
    Agent,
}

impl BindingKind {
    /// Every kind, in order.
    pub const ALL: [Self; 4] = [Self::Session, Self::Case, Self::Customer, Self::Agent];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Case => "case",
            Self::Customer => "customer",
            Self::Agent => "agent",
        }
    }
}

/// Where a binding is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum BindingState {
    /// Calls connect.
    Live {
        /// When it ends unless it is extended.
        expires: Timestamp,
    },
    /// Ended; its pairs stay reserved for late callbacks.
    Entombed {
        /// When it ended.
        since: Timestamp,
        /// When its pairs are freed.
        until: Timestamp,
    },
}

/// A (proxy, party) pair and the one binding that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PairClaim {
    /// The number dialled.
    pub proxy: ProxyNumber,
    /// Who dials it.
    pub party: VaultId,
    /// The binding.
    pub binding: BindingId,
}

/// A pair that was freed: the party has seen the number, so for the cool-off
/// nobody else answers to it there, and after it the number is a familiar one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PairRest {
    /// The number.
    pub proxy: ProxyNumber,
    /// Who has seen it.
    pub party: VaultId,
    /// When the pair was freed.
    pub since: Timestamp,
}

/// What the directory is rebuilt from at a start. Pairs follow from the
/// bindings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The pool.
    pub numbers: Vec<PoolNumber>,
    /// Those whom bindings and rests refer to.
    pub parties: Vec<SealedParty>,
    /// Where each of these is, in the same order, as far as whoever unsealed them saw;
    /// nothing when nobody looked, or when they are not in the order of their ids.
    pub homes: Vec<Option<Home>>,
    /// Live bindings and tombstones.
    pub bindings: Vec<Binding>,
    /// Numbers of agents.
    pub agents: Vec<AgentNumber>,
    /// Pairs in cool-off, and what parties are accustomed to.
    pub rests: Vec<PairRest>,
    /// Erasures whose certificate is to be written.
    pub erasures: Vec<Erasure>,
    /// What operators have decided about networks; the guard's, not the
    /// directory's.
    pub guard: Vec<GuardEntry>,
}
