//! The whole seam between the engine and the world.
//!
//! Everything that happens to the engine is an [`Input`]; everything it wants
//! done is an [`Output`]. Nothing else crosses, so the daemon, the simulation
//! and the fuzzers drive the same code in the same way.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::admin::{AdminReply, AdminRequest, Refusal};
use super::audit::Entry;
use super::call_record::CallRecord;
use super::cdr::Cdr;
use super::directory::model::{AgentNumber, Binding, PairClaim, PairRest, PoolNumber};
use super::event::Event;
use super::flow::{Carrier, FlowSpec, FlowStats};
use super::guard::{GuardEntry, Rule};
use super::ids::{BindingId, ErasureId, SessionId};
use super::number::ProxyNumber;
use super::privacy::{Asker, Epoch, Erasure, NewEpoch, SealedParty, VaultId};
use super::sip::transport::{Transport, Way};
use super::time::Timestamp;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A message arrived.
    Received(Signal),
    /// Somebody whose address belongs to no trunk has connected, and was let go.
    Knocked(IpAddr),
    /// A connection is no more, or never came about: what was on its way over it
    /// may be lost.
    Disconnected(Disconnection),
    /// An operator or a platform asks for something that they may ask for. Answered
    /// by exactly one [`Output::Reply`] with the same id.
    Admin(RequestId, Asker, AdminRequest),
    /// Somebody asked for something that they may not ask for. Answered once that
    /// is noted, or when it is not to be.
    Denied(RequestId, Asker, AdminRequest),
    /// The store has made a transaction durable.
    Committed(CommitId),
    /// The store refused a transaction: another writer holds a pair. Nothing
    /// of it was written.
    Conflict(CommitId),
    /// The store failed. Whether the transaction was written is unknown.
    CommitFailed(CommitId, String),
    /// What carries the flows of this process. Told once at start; records and
    /// views show it.
    MediaPath(Carrier),
    /// A flow is gone; its final count.
    FlowRemoved(SocketAddr, FlowStats),
    /// The answer to [`Output::ReadFlow`].
    FlowRead(SocketAddr, FlowStats),
    /// STUN has come to a media port whose flow takes it.
    Stun(Datagram),
    /// A flow could not be made.
    FlowRefused(SocketAddr, String),
    /// The flows that arrived at these addresses were removed because no call
    /// claimed them.
    FlowsSwept(Vec<SocketAddr>),
    /// The epoch that was wanted cannot be made.
    EpochRefused(Refusal),
    /// The certificates of these erasures are durable.
    Certified(Vec<ErasureId>),
    /// There is a new epoch of keys, and its wrapping key is durable: seal
    /// everything under it.
    BeginEpoch(Arc<NewEpoch>),
    /// Nothing in the store is sealed under an epoch before this one any more:
    /// forget their data keys.
    EndEpochs(Epoch),
    /// The process is to stop: end all calls, then say so with
    /// [`Output::Drained`].
    Shutdown,
}

/// Something to do. Outputs are done in the order in which they are polled.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send a message.
    Send(Signal),
    /// Make a transaction durable, then answer with [`Input::Committed`],
    /// [`Input::Conflict`] or [`Input::CommitFailed`].
    Commit(CommitId, Transaction),
    /// Create the flow, or replace the one at the same local address without
    /// a gap. Answered only on failure, by [`Input::FlowRefused`].
    PutFlow(FlowSpec),
    /// Remove the flow at this local address; answered by
    /// [`Input::FlowRemoved`], with zeros when there was none.
    RemoveFlow(SocketAddr),
    /// These are all rules of the guard from now on; there are none before the
    /// first such output, and none at all while it is off.
    Guard(Vec<Rule>),
    /// Remove every flow that was not put since the start: what is left of
    /// a process before this one. Answered by [`Input::FlowsSwept`].
    SweepFlows,
    /// Send this from a media port, where [`Input::Stun`] came to.
    Stun(Datagram),
    /// Say what the flow at this local address has counted; answered by
    /// [`Input::FlowRead`], and not at all when there is no such flow.
    ReadFlow(SocketAddr),
    /// How far a change of keys is.
    Rekey(RekeyStep),
    /// Write the certificates of these erasures, once every epoch before theirs is
    /// destroyed; answered by [`Input::Certified`].
    Certify(Vec<Erasure>),
    /// The answer to [`Input::Admin`].
    Reply(RequestId, AdminReply),
    /// Something for the log and the metrics.
    Event(Event),
    /// After [`Input::Shutdown`]: no call, no unacknowledged refusal and no
    /// commit is left.
    Drained,
}

/// A SIP message on its way.
#[derive(Clone, PartialEq, Eq)]
pub struct Signal {
    /// The way.
    pub way: Way,
    /// The message.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Signal {
    /// Without the bytes: they hold real numbers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Way { transport, local, remote, otherwise: _ } = self.way;
        write!(f, "Signal({transport} {local} <-> {remote}, {} bytes)", self.bytes.len())
    }
}

/// The end of a connection that carries signalling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnection {
    /// Over what.
    pub transport: Transport,
    /// The peer.
    pub remote: SocketAddr,
    /// What is in the way, for a connection of ours that never came about.
    pub refused: Option<String>,
}

/// A UDP datagram with STUN on a media port.
#[derive(Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Our address.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// The message.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Datagram {
    /// Without the bytes: they hold real numbers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Datagram({} <-> {}, {} bytes)", self.local, self.remote, self.bytes.len())
    }
}

/// How far a change of keys is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RekeyStep {
    /// Make a new epoch: answered by [`Input::BeginEpoch`] or
    /// [`Input::EpochRefused`].
    Wanted,
    /// What is new is sealed under this epoch, and what is old is being sealed
    /// under it.
    Began(Epoch),
    /// Every party is. Calls in progress follow by themselves.
    Resealed(Epoch),
    /// The data keys of every epoch before this one are gone from the store.
    Ended(Epoch),
}

/// Names a transaction until the store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// Names an administrative request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Changes that become durable together or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transaction {
    /// In order.
    pub changes: Vec<Change>,
}

/// One change to what is stored.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most changes of a busy hour are of bindings")]
pub enum Change {
    /// Add or replace pool numbers.
    PutNumbers(Arc<[PoolNumber]>),
    /// Forget a pool number.
    DeleteNumber(ProxyNumber),
    /// Add or replace a binding.
    PutBinding(Binding),
    /// Forget a binding.
    DeleteBinding(BindingId),
    /// Make a number an agent's.
    PutAgent(AgentNumber),
    /// A number is an agent's no more.
    DeleteAgent(ProxyNumber),
    /// Add a party, or replace its sealed address.
    PutParty(SealedParty),
    /// Forget a party that nothing refers to.
    DeleteParty(VaultId),
    /// Reserve a (proxy, party) pair for a binding. The whole transaction is a
    /// conflict when another binding holds it.
    ClaimPair(PairClaim),
    /// Free a pair that this binding holds.
    ReleasePair(PairClaim),
    /// Remember when a freed pair was freed, replacing what was remembered of
    /// the same pair.
    PutRest(PairRest),
    /// Forget that a pair was ever used.
    DeleteRest(PairRest),
    /// Add or replace a call in progress.
    PutCall(Box<CallRecord>),
    /// Forget a call in progress: it is over.
    DeleteCall(SessionId),
    /// Add a call detail record. Writing the same session and leg again
    /// replaces it, so that a retry never counts a call twice.
    PutCdr(Box<Cdr>),
    /// Forget call detail records that ended before a time, the oldest first.
    DropCdrs {
        /// The time.
        before: Timestamp,
        /// At most so many.
        most: usize,
    },
    /// Add or replace what an operator has decided about a network.
    PutGuard(GuardEntry),
    /// Forget what was decided about a network.
    DeleteGuard(IpNet),
    /// Keep a new epoch's data key, and seal by its vault from then on.
    BeginEpoch(Arc<NewEpoch>),
    /// Forget the data keys of every epoch before this one.
    EndEpochs(Epoch),
    /// Add an audit entry, or write it again as it is.
    PutAudit(Box<Entry>),
    /// Remember an erasure until its certificate is written.
    PutErasure(Box<Erasure>),
    /// Its certificate is written.
    DeleteErasure(ErasureId),
}

impl Change {
    /// Adds a call detail record, or replaces it.
    #[must_use]
    pub fn record(cdr: Cdr) -> Self {
        Self::PutCdr(Box::new(cdr))
    }
}
