//! What operators and platforms may ask of the engine, and what it answers.
//!
//! These types are the local protocol's payload too, so they serialise; they
//! hold party addresses only as typed by the asker, and in no answer but those to
//! [`AdminRequest::Unmask`].

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::config::Encryption;
use super::directory::agents::{AgentReply, AgentRequest};
use super::directory::filter::{BindFilter, BindPage};
use super::directory::model::{BindingKind, BindingState};
use super::directory::pool::{PoolReply, PoolRequest};
use super::directory::usage::{Usage, UsageWish};
use super::encoding::Encoding;
use super::flow::{FlowStats, MediaPath};
use super::guard::{GuardReply, GuardRequest};
use super::ids::{BindingId, ErasureId, LegName, PartyId, SessionId};
use super::number::{Country, ProxyNumber, Typed};
use super::policy::Resolution;
use super::quality::Mos;
use super::targets::TrunkView;
use super::time::Timestamp;
use super::unmask::{UnmaskReply, UnmaskRequest};

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum AdminRequest {
    /// Something of the pool.
    Pool(PoolRequest),
    /// Something of agent numbers.
    Agent(AgentRequest),
    /// Create a binding, or reuse the live one with the same key.
    BindCreate(NewBinding),
    /// Bindings in the order of their ids.
    BindList {
        /// Which.
        filter: BindFilter,
        /// Continue after this binding.
        after: Option<BindingId>,
        /// At most so many rows.
        limit: usize,
    },
    /// One binding.
    BindShow {
        /// Which.
        id: BindingId,
    },
    /// Let a live binding live longer.
    BindExtend {
        /// Which.
        id: BindingId,
        /// From now on; what its kind has when absent. It never ends earlier for
        /// it.
        time_to_live: Option<Duration>,
    },
    /// Bring a binding back that has ended and whose numbers are still reserved.
    BindReopen {
        /// Which.
        id: BindingId,
        /// From now on; what its kind has when absent.
        time_to_live: Option<Duration>,
    },
    /// Give a side of a live binding to another party.
    BindHandover {
        /// Which.
        id: BindingId,
        /// The customer's side, A, or the agent's, B.
        leg: LegName,
        /// Who takes it: `+14155550100`, or `extension@trunk`.
        to: Typed,
    },
    /// End a binding: it becomes a tombstone.
    BindClose {
        /// Which.
        id: BindingId,
    },
    /// Whom a caller reaches who dials a proxy, and why.
    Resolve {
        /// Who calls: `+14155550100`, or `extension@trunk`.
        caller: Typed,
        /// The number dialled.
        proxy: ProxyNumber,
        /// At a time that is over; now when absent or yet to come.
        at: Option<Timestamp>,
    },
    /// Trunks, and whether their targets answer.
    Trunks,
    /// Calls in progress.
    CallsList,
    /// One call.
    CallShow {
        /// Which.
        session: SessionId,
    },
    /// One call whose packets are to be copied; answered as
    /// [`AdminRequest::CallShow`].
    Capture {
        /// Which.
        session: SessionId,
        /// Whether what tells the far ends is left out of the copies.
        masked: bool,
    },
    /// Hang up on both sides.
    CallHangup {
        /// Which.
        session: SessionId,
    },
    /// Take no new calls but emergencies, or take them again.
    Drain {
        /// Whether to refuse them.
        on: bool,
    },
    /// What is sealed under which epoch.
    Vault,
    /// What is kept for how long; and what is over, if it is to be dropped now.
    Retain {
        /// Whether to drop a piece of it.
        drop: bool,
    },
    /// Copy the store: the daemon does it once this is answered.
    Backup,
    /// Seal everything under new keys, and destroy the old ones.
    VaultRotate,
    /// What is held about a person, in pieces.
    PrivacyShow {
        /// Who: `+14155550100`, or `extension@trunk`.
        person: Typed,
        /// Continue after this binding.
        after: Option<BindingId>,
    },
    /// Forget a person.
    PrivacyErase {
        /// Who.
        person: Typed,
    },
    /// The engine's counters.
    Counters,
    /// Something of the guard.
    Guard(GuardRequest),
    /// Real numbers.
    Unmask(UnmaskRequest),
}

/// A binding to create.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewBinding {
    /// Who owns it.
    pub tenant: String,
    /// The tenant's project.
    pub project: String,
    /// What sort of conversation it is for.
    pub kind: BindingKind,
    /// What it is looked up by.
    pub key: String,
    /// The customer: `+14155550100`, or `extension@trunk`.
    pub customer: Typed,
    /// The agent, likewise.
    pub agent: Typed,
    /// How long it lives; the configured default when absent.
    pub time_to_live: Option<Duration>,
    /// What its numbers should be like.
    pub numbers: NumberWish,
    /// Whether its parties may encrypt their media; as configured when absent.
    pub encryption: Option<Encryption>,
    /// Further addresses of the customer and of the agent, in the order in which they
    /// ring.
    pub also: [Vec<Typed>; 2],
    /// Both parties dial and see the same number.
    pub one_number: bool,
    /// How it may be used; as configured where it says nothing.
    pub usage: UsageWish,
    /// The owner's own words for it.
    pub tags: Vec<String>,
}

/// Where the numbers of a binding should be from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberWish {
    /// Only numbers of this country will do.
    pub country: Option<Country>,
    /// Rather of this region or state than of the party's own.
    pub region: Option<String>,
    /// Rather of this city or exchange.
    pub locality: Option<String>,
    /// Nothing but the first choice will do.
    pub strict: bool,
}

/// The answer to an [`AdminRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer", content = "with")]
pub enum AdminReply {
    /// To [`AdminRequest::Pool`].
    Pool(PoolReply),
    /// To [`AdminRequest::Agent`].
    Agent(AgentReply),
    /// To [`AdminRequest::BindCreate`].
    Bound {
        /// The binding.
        binding: Box<BindingView>,
        /// Whether it was there already.
        reused: bool,
    },
    /// To [`AdminRequest::BindList`].
    Bindings(BindPage),
    /// To [`AdminRequest::BindShow`], [`AdminRequest::BindExtend`],
    /// [`AdminRequest::BindReopen`], [`AdminRequest::BindHandover`] and
    /// [`AdminRequest::BindClose`].
    Binding(Box<BindingView>),
    /// To [`AdminRequest::Resolve`].
    Resolved(Box<Resolution>),
    /// To [`AdminRequest::Trunks`].
    Trunks(Vec<TrunkView>),
    /// To [`AdminRequest::CallsList`].
    Calls(Vec<CallView>),
    /// To [`AdminRequest::CallShow`].
    Call(CallView),
    /// To [`AdminRequest::CallHangup`].
    HungUp(SessionId),
    /// To [`AdminRequest::Drain`].
    Drain {
        /// Whether new calls are refused.
        on: bool,
        /// Calls in progress.
        calls: usize,
    },
    /// To [`AdminRequest::Backup`]: it may be done.
    Noted,
    /// To [`AdminRequest::Vault`].
    Vault(VaultCount),
    /// To [`AdminRequest::VaultRotate`]: the new epoch seals what is new.
    Rotating {
        /// Its number.
        epoch: u32,
    },
    /// To [`AdminRequest::Retain`].
    Retention(RetentionView),
    /// To [`AdminRequest::PrivacyShow`].
    Person(Box<PersonView>),
    /// To [`AdminRequest::PrivacyErase`]: the record is gone, and the key that
    /// opens what lingers of it is about to be.
    Erasing(ErasureView),
    /// To [`AdminRequest::Counters`]: name and count.
    Counters(Vec<(String, u64)>),
    /// To [`AdminRequest::Guard`].
    Guard(GuardReply),
    /// To [`AdminRequest::Unmask`].
    Unmask(UnmaskReply),
    /// What was asked cannot be done.
    Refused(Refusal),
}

/// A binding as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingView {
    /// Its id.
    pub id: BindingId,
    /// Who owns it.
    pub tenant: String,
    /// The tenant's project.
    pub project: String,
    /// What sort of conversation it is for.
    pub kind: BindingKind,
    /// What it is looked up by.
    pub key: String,
    /// The customer.
    pub customer: PartyView,
    /// The agent.
    pub agent: PartyView,
    /// When it was made.
    pub created: Timestamp,
    /// Where it is in its life.
    #[serde(flatten)]
    pub state: BindingState,
    /// Whether its parties may encrypt their media; as configured when absent.
    pub encryption: Option<Encryption>,
    /// How it may be used.
    pub usage: Usage,
    /// The owner's own words for it.
    pub tags: Vec<String>,
    /// Calls in progress.
    pub calls: usize,
}

/// A party as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyView {
    /// Its pseudonym: the same for everything of this tenant.
    pub party: PartyId,
    /// Masked.
    pub address: String,
    /// Its further addresses, masked.
    pub also: Vec<String>,
    /// The number that this party dials and sees.
    pub proxy: ProxyNumber,
}

/// A call as it may be shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallView {
    /// Its session id.
    pub session: SessionId,
    /// Its binding; an emergency call has none.
    pub binding: Option<BindingId>,
    /// Who placed it.
    pub caller: LegName,
    /// Where it is: `ringing`, `answered`, `ending`.
    pub state: String,
    /// When it began.
    pub start: Timestamp,
    /// When it was answered.
    pub answer: Option<Timestamp>,
    /// Whether it is an emergency call.
    pub emergency: bool,
    /// What carries its media; absent where nothing is to be carried yet.
    pub path: Option<MediaPath>,
    /// Why not a faster path; absent on the fastest.
    pub slow_because: Option<String>,
    /// Its legs.
    pub legs: Vec<LegView>,
    /// Its flows. The engine leaves `stats` empty and the daemon fills it in.
    pub flows: Vec<FlowView>,
}

/// A leg as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegView {
    /// Which.
    pub leg: LegName,
    /// The number that the far end dialled or sees.
    pub proxy: Option<ProxyNumber>,
    /// The far end, masked.
    pub remote: String,
    /// The trunk it is on.
    pub trunk: String,
    /// Where it is: `calling`, `early`, `confirmed`, `ended`.
    pub state: String,
    /// Whether its far end is not heard while the other one is.
    pub silent: bool,
}

/// A flow as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowView {
    /// The leg whose far end sends.
    pub leg: LegName,
    /// The word for what it carries ([`super::flow::Content::as_str`]).
    pub content: String,
    /// The codec of its RTP.
    pub codec: Option<Encoding>,
    /// Where packets arrive.
    pub local: SocketAddr,
    /// What the datapath counted so far.
    pub stats: Option<FlowStats>,
    /// What a listener would make of that so far (ITU-T G.107).
    pub mos: Option<Mos>,
}

impl FlowView {
    /// Takes what the datapath counted.
    pub fn measure(&mut self, stats: Option<FlowStats>) {
        let known = stats.zip(self.codec);
        self.mos = known.and_then(|(stats, codec)| Mos::estimate(&stats.quality, codec.codec()));
        self.stats = stats;
    }
}

/// What is held about a person, or a piece of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonView {
    /// Masked.
    pub address: String,
    /// Live bindings and tombstones, in the order of their ids.
    pub bindings: Vec<BindingView>,
    /// Numbers that the person has seen and no binding shows any more; in the
    /// first piece alone.
    pub rests: Vec<RestView>,
    /// Whether there are more bindings after these.
    pub more: bool,
}

/// What is kept for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionView {
    /// Call detail records; zero is for ever.
    pub cdrs: Duration,
    /// Those that ended before this are over.
    pub cdrs_before: Option<Timestamp>,
    /// How many of them are dropped in one piece.
    pub at_once: usize,
    /// Numbers seen, after their cool-off.
    pub numbers_seen: Duration,
    /// How many there are.
    pub numbers_seen_kept: usize,
    /// How many of these are over.
    pub numbers_seen_over: usize,
    /// Tombstones, each of which ends by its own time.
    pub tombstones: usize,
    /// Parties, which go with the last thing that refers to them.
    pub parties: usize,
}

/// A number that a person has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestView {
    /// The number.
    pub proxy: ProxyNumber,
    /// When it was freed.
    pub since: Timestamp,
    /// When that is forgotten.
    pub until: Timestamp,
}

/// An erasure that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureView {
    /// Names it and its certificate.
    pub id: ErasureId,
    /// Every epoch before this one is to be destroyed.
    pub epoch: u32,
    /// Bindings that were ended for it.
    pub ended: usize,
    /// Tombstones that are kept, without a name.
    pub tombstones: usize,
}

/// How many parties are sealed under which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultCount {
    /// The epoch that seals what is new.
    pub epoch: u32,
    /// All parties.
    pub parties: usize,
    /// Of these, how many are to be sealed under it still.
    pub left: usize,
    /// Erasures whose certificate is not written yet.
    pub erasures: usize,
}

/// Why something was not done.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
#[error("{what}")]
pub struct Refusal {
    /// The sort of reason, for exit codes.
    pub kind: RefusalKind,
    /// What is wrong, and where.
    pub what: String,
    /// How to mend it.
    pub remedy: String,
}

/// The sort of reason for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// What was typed makes no sense.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// No number is free, or a limit is reached.
    Exhausted,
    /// The store failed; try again.
    Unavailable,
    /// This user may not.
    Forbidden,
}
