//! Transactions: RFC 3261 section 17 with RFC 6026, without I/O.
//!
//! Each of the four machines is a module with one struct per state; a step
//! consumes the state, so a transition that the diagram does not have cannot be
//! written. A state owns its deadlines: entering another one stops its timers
//! by itself, and the queue holds one entry per transaction at most.
//!
//! The transactions' user (the back-to-back user agent) gets every request
//! once, every response in order of arrival, and for every request of its own
//! exactly one outcome: a final response, a timeout, or a lost connection. What belongs to the hop
//! is done here: retransmission, absorption, the ACK of failures, CANCEL and
//! its answer, the 100 that is late. The ACK and the retransmission of a 2xx
//! are the user's (section 13), with [`SuccessRetransmitter`] for the latter.
//!
//! Drive it like the engine: mutate once, drain [`Transactions::poll_event`]
//! and [`Transactions::poll_send`], then ask [`Transactions::poll_timeout`].

mod client;
mod effects;
mod identity;
mod invite_client;
mod invite_server;
mod non_invite_client;
mod non_invite_server;
mod server;
mod success;
mod timing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use thiserror::Error;

pub use success::{SuccessDue, SuccessRetransmitter};

use super::build::Request;
use super::message::{Message, StartLine};
use super::method::Method;
use super::transport::{Transport, Way};
use crate::engine::config::Timers;
use crate::engine::io::{Disconnection, Signal};
use crate::engine::time::Instant;
use client::Client;
use server::Server;
use timing::Pace;

/// Names a client transaction: a request of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(u64);

/// Names a server transaction: a request of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey(u64);

/// Something that the transactions' user has to know.
#[derive(Clone, Debug)]
pub enum TransactionEvent {
    /// A new request, neither ACK nor CANCEL. Answer it with
    /// [`Transactions::respond`], to the end.
    NewRequest {
        /// What to answer.
        key: ServerKey,
        /// The request.
        message: Message,
        /// How it came.
        way: Way,
    },
    /// An ACK that belongs to no failure of ours: that of a 2xx, or a stray
    /// one, as its dialog tells.
    Ack {
        /// The ACK.
        message: Message,
        /// How it came.
        way: Way,
    },
    /// An INVITE without a final response was cancelled. The CANCEL is
    /// answered; answer the INVITE with 487. Comes once.
    Cancel {
        /// The INVITE.
        invite: ServerKey,
    },
    /// A response. After the first 2xx to an INVITE more may come: from other
    /// forks, or the same again because its ACK was lost.
    Response {
        /// The request that it answers.
        key: ClientKey,
        /// The response.
        message: Message,
        /// How it came.
        way: Way,
    },
    /// A 2xx to an INVITE whose transaction is gone. If its dialog is known,
    /// send the ACK again.
    StrayResponse {
        /// The response.
        message: Message,
        /// How it came.
        way: Way,
    },
    /// No final response came in time. Nothing more comes for this key.
    Timeout {
        /// The request.
        key: ClientKey,
    },
    /// The connection that it went over was lost before anything came back, or
    /// never came about: as if 503 had come (RFC 3261 section 8.1.3.1). Nothing more
    /// comes for this key.
    Unreachable {
        /// The request.
        key: ClientKey,
    },
    /// A failure that was sent for an INVITE was never acknowledged (timer H).
    AckTimeout {
        /// The INVITE.
        key: ServerKey,
    },
}

/// No transaction more: the limit is reached.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{limit} transactions are in progress, which [limits] transactions allows")]
pub struct LimitReached {
    /// The limit.
    pub limit: usize,
}

/// What happened that no event tells. Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionCounts {
    /// Requests and responses that came again and were absorbed or answered.
    pub absorbed: u64,
    /// Messages that were sent again because a timer ran out.
    pub retransmitted: u64,
    /// Requests that were refused with 503 at the limit.
    pub over_limit: u64,
    /// Responses that belong to no transaction, dropped.
    pub stray_responses: u64,
    /// CANCELs for no INVITE in progress.
    pub stray_cancels: u64,
    /// Requests of ours that were lost with their connection.
    pub disconnected: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Client(ClientKey),
    Server(ServerKey),
}

/// All transactions of one shard.
#[derive(Debug)]
pub struct Transactions {
    timers: Timers,
    limit: usize,
    next_key: u64,
    clients: BTreeMap<ClientKey, Client>,
    servers: BTreeMap<ServerKey, Server>,
    client_ids: BTreeMap<String, ClientKey>,
    server_ids: BTreeMap<String, ServerKey>,
    /// Requests of ours over connections, by whom these are with.
    by_peer: BTreeSet<(Transport, SocketAddr, ClientKey)>,
    queue: BTreeSet<(Instant, Owner)>,
    events: VecDeque<TransactionEvent>,
    sends: VecDeque<Signal>,
    counts: TransactionCounts,
    scratch: String,
}

impl Transactions {
    /// None yet; `limit` at a time, those that only absorb retransmissions
    /// included.
    #[must_use]
    pub fn new(timers: Timers, limit: usize) -> Self {
        Self {
            timers,
            limit,
            next_key: 0,
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            client_ids: BTreeMap::new(),
            server_ids: BTreeMap::new(),
            by_peer: BTreeSet::new(),
            queue: BTreeSet::new(),
            events: VecDeque::new(),
            sends: VecDeque::new(),
            counts: TransactionCounts::default(),
            scratch: String::new(),
        }
    }

    /// Takes in a message that arrived this way.
    pub fn receive(&mut self, now: Instant, way: Way, message: Message) {
        match message.start() {
            StartLine::Response { status } => {
                let status = *status;
                self.receive_response(now, way, status, message);
            }
            StartLine::Request { method: Method::Ack, .. } => self.receive_ack(now, way, message),
            StartLine::Request { method: Method::Cancel, .. } => self.receive_cancel(way, &message),
            StartLine::Request { .. } => self.receive_request(now, way, message),
        }
    }

    /// Sends a request in a new transaction. Its branch must be fresh.
    ///
    /// # Errors
    ///
    /// At the limit nothing is sent.
    pub fn send_request(
        &mut self,
        now: Instant,
        request: Request,
        way: Way,
    ) -> Result<ClientKey, LimitReached> {
        if self.len() >= self.limit {
            return Err(LimitReached { limit: self.limit });
        }
        Ok(self.start_client(now, request, way, true))
    }

    /// Sends a response in a server transaction; one after the final response
    /// is not sent, except a 2xx to an INVITE again. `false` when the
    /// transaction is gone.
    pub fn respond(&mut self, now: Instant, key: ServerKey, response: Vec<u8>) -> bool {
        let Some(status) = status_of(&response) else { return false };
        self.step_server(key, |machine, pace| machine.respond(now, status, response, pace)).is_some()
    }

    /// A connection is lost: what was on its way over it fails at once.
    pub fn disconnected(&mut self, now: Instant, lost: &Disconnection) {
        self.disconnect_clients(now, lost.transport, lost.remote);
    }

    /// Cancels an INVITE of ours: at once if it was answered provisionally,
    /// else as soon as it is. Its outcome still comes (487, or a 2xx that
    /// crossed, or a timeout). No effect on what has ended.
    /// `because` is the value of its Reason (RFC 3326).
    pub fn cancel(&mut self, now: Instant, key: ClientKey, because: Option<&'static str>) {
        if let Some(client) = self.clients.get_mut(&key) {
            client.cancelled_because = because;
        }
        let step = self.step_client(key, |machine, pace| machine.cancel(now, pace));
        if let Some(step) = step {
            self.follow_client(now, key, step, None);
        }
    }

    /// Where the responses of a server transaction go, for the retransmission of a
    /// 2xx.
    #[must_use]
    pub fn response_way(&self, key: ServerKey) -> Option<Way> {
        self.servers.get(&key).map(|server| server.way)
    }

    /// The next event.
    #[must_use = "an event that is not handled is lost"]
    pub fn poll_event(&mut self) -> Option<TransactionEvent> {
        self.events.pop_front()
    }

    /// The next message to send.
    #[must_use = "a message that is not sent is lost"]
    pub fn poll_send(&mut self) -> Option<Signal> {
        self.sends.pop_front()
    }

    /// When [`Self::handle_timeout`] has something to do, and what.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let &(at, owner) = self.queue.first()?;
        let deadline = match owner {
            Owner::Client(key) => self.clients.get(&key)?.machine.deadline(),
            Owner::Server(key) => self.servers.get(&key)?.machine.deadline(),
        };
        deadline.map(|(_, timer)| (at, timer.reason()))
    }

    /// Does everything that was due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, owner)) = self.queue.first() {
            if at > now {
                break;
            }
            match owner {
                Owner::Client(key) => self.expire_client(now, key),
                Owner::Server(key) => self.expire_server(now, key),
            }
        }
    }

    /// Transactions in progress, those that only absorb retransmissions
    /// included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// Whether a failure that was sent for an INVITE awaits its ACK: until
    /// then the caller may not have heard of it. Looks at every transaction.
    #[must_use]
    pub fn awaits_ack(&self) -> bool {
        self.servers.values().any(|server| server.machine.awaits_ack())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What no event tells.
    #[must_use]
    pub const fn counts(&self) -> TransactionCounts {
        self.counts
    }

    fn pace(&self, transport: Transport) -> Pace {
        Pace::over(self.timers, transport)
    }

    fn fresh_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }
}

/// Moves an owner's only entry in the queue.
fn requeue(
    queue: &mut BTreeSet<(Instant, Owner)>,
    owner: Owner,
    queued: &mut Option<Instant>,
    deadline: Option<Instant>,
) {
    if *queued != deadline {
        if let Some(at) = *queued {
            queue.remove(&(at, owner));
        }
        if let Some(at) = deadline {
            queue.insert((at, owner));
        }
        *queued = deadline;
    }
}

/// The status of a response of ours.
fn status_of(response: &[u8]) -> Option<u16> {
    std::str::from_utf8(response.strip_prefix(b"SIP/2.0 ")?.get(..3)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
