//! Transactions: RFC 3261 section 17 with RFC 6026, over UDP, without I/O.
//!
//! Each of the four machines is a module with one struct per state; a step
//! consumes the state, so a transition that the diagram does not have cannot be
//! written. A state owns its deadlines: entering another one stops its timers
//! by itself, and the queue holds one entry per transaction at most.
//!
//! The transactions' user (the back-to-back user agent) gets every request
//! once, every response in order of arrival, and for every request of its own
//! exactly one outcome: a final response or a timeout. What belongs to the hop
//! is done here: retransmission, absorption, the ACK of failures, CANCEL and
//! its answer, the 100 that is late. The ACK and the retransmission of a 2xx
//! are the user's (section 13), with [`SuccessRetransmitter`] for the latter.
//!
//! Drive it like the engine: mutate once, drain [`Transactions::poll_event`]
//! and [`Transactions::poll_send`], then ask [`Transactions::poll_timeout`].

mod effects;
mod identity;
mod invite_client;
mod invite_server;
mod non_invite_client;
mod non_invite_server;
mod success;
mod timing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::net::SocketAddr;

use thiserror::Error;

pub use success::{SuccessDue, SuccessRetransmitter};

use super::build::{self, Request, ResponseBuilder};
use super::message::{Message, ParseLimits, StartLine};
use super::method::Method;
use super::name::Name;
use crate::engine::config::Timers;
use crate::engine::io::Datagram;
use crate::engine::time::Instant;
use effects::Effects;
use timing::Deadline;

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
        /// Where it arrived.
        local: SocketAddr,
        /// Where it came from.
        remote: SocketAddr,
    },
    /// An ACK that belongs to no failure of ours: that of a 2xx, or a stray
    /// one, as its dialog tells.
    Ack {
        /// The ACK.
        message: Message,
        /// Where it arrived.
        local: SocketAddr,
        /// Where it came from.
        remote: SocketAddr,
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
        /// Where it came from.
        remote: SocketAddr,
    },
    /// A 2xx to an INVITE whose transaction is gone. If its dialog is known,
    /// send the ACK again.
    StrayResponse {
        /// The response.
        message: Message,
        /// Where it arrived.
        local: SocketAddr,
        /// Where it came from.
        remote: SocketAddr,
    },
    /// No final response came in time. Nothing more comes for this key.
    Timeout {
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Client(ClientKey),
    Server(ServerKey),
}

#[derive(Debug)]
enum ClientMachine {
    Invite(invite_client::State),
    NonInvite(non_invite_client::State),
}

#[derive(Debug)]
struct Client {
    id: String,
    method: Method,
    machine: ClientMachine,
    /// Whether the user hears of it; a CANCEL's outcome is nobody's business.
    has_user: bool,
    local: SocketAddr,
    remote: SocketAddr,
    queued: Option<Instant>,
}

#[derive(Debug)]
enum ServerMachine {
    Invite { state: invite_server::State, cancelled: bool },
    NonInvite(non_invite_server::State),
}

#[derive(Debug)]
struct Server {
    id: String,
    machine: ServerMachine,
    local: SocketAddr,
    /// Where responses go.
    remote: SocketAddr,
    queued: Option<Instant>,
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
    queue: BTreeSet<(Instant, Owner)>,
    events: VecDeque<TransactionEvent>,
    sends: VecDeque<Datagram>,
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
            queue: BTreeSet::new(),
            events: VecDeque::new(),
            sends: VecDeque::new(),
            counts: TransactionCounts::default(),
            scratch: String::new(),
        }
    }

    /// Takes in a message that arrived at `local` from `remote`.
    pub fn receive(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr, message: Message) {
        match message.start() {
            StartLine::Response { status } => {
                let status = *status;
                self.receive_response(now, local, remote, status, message);
            }
            StartLine::Request { method: Method::Ack, .. } => self.receive_ack(now, local, remote, message),
            StartLine::Request { method: Method::Cancel, .. } => self.receive_cancel(local, remote, &message),
            StartLine::Request { .. } => self.receive_request(now, local, remote, message),
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
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<ClientKey, LimitReached> {
        if self.len() >= self.limit {
            return Err(LimitReached { limit: self.limit });
        }
        Ok(self.start_client(now, request, local, remote, true))
    }

    /// Sends a response in a server transaction; one after the final response
    /// is not sent, except a 2xx to an INVITE again. `false` when the
    /// transaction is gone.
    pub fn respond(&mut self, now: Instant, key: ServerKey, response: Vec<u8>) -> bool {
        let Some(status) = status_of(&response) else { return false };
        let timers = self.timers;
        self.step_server(key, |machine| match machine {
            ServerMachine::Invite { state, cancelled } => {
                let (state, effects) = state.respond(now, status, response, &timers);
                (ServerMachine::Invite { state, cancelled }, effects)
            }
            ServerMachine::NonInvite(state) => {
                let (state, effects) = state.respond(now, status, response, &timers);
                (ServerMachine::NonInvite(state), effects)
            }
        })
        .is_some()
    }

    /// Cancels an INVITE of ours: at once if it was answered provisionally,
    /// else as soon as it is. Its outcome still comes (487, or a 2xx that
    /// crossed, or a timeout). No effect on what has ended.
    pub fn cancel(&mut self, now: Instant, key: ClientKey) {
        let timers = self.timers;
        let step = self.step_client(key, |machine| match machine {
            ClientMachine::Invite(state) => {
                let (state, effects) = state.cancel(now, &timers);
                (ClientMachine::Invite(state), effects)
            }
            other @ ClientMachine::NonInvite(_) => (other, Effects::none()),
        });
        if let Some(step) = step {
            self.follow_client(now, key, step, None);
        }
    }

    /// Where the responses of a server transaction go: from, to. For the
    /// retransmission of a 2xx.
    #[must_use]
    pub fn response_path(&self, key: ServerKey) -> Option<(SocketAddr, SocketAddr)> {
        self.servers.get(&key).map(|server| (server.local, server.remote))
    }

    /// The next event.
    #[must_use = "an event that is not handled is lost"]
    pub fn poll_event(&mut self) -> Option<TransactionEvent> {
        self.events.pop_front()
    }

    /// The next message to send.
    #[must_use = "a message that is not sent is lost"]
    pub fn poll_send(&mut self) -> Option<Datagram> {
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

    fn receive_request(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr, message: Message) {
        let method = message.method();
        if let Some(key) = self.find_server(&message, &method) {
            self.counts.absorbed += 1;
            self.step_server(key, ServerMachine::retransmitted);
            return;
        }
        let Ok(target) = message.via().map(|via| via.response_target(remote)) else { return };
        if self.len() >= self.limit {
            self.counts.over_limit += 1;
            self.answer_statelessly(local, remote, &message, 503, None);
            return;
        }
        let machine = if method == Method::Invite {
            let Ok(trying) = ResponseBuilder::new(&message, remote, 100, None).build() else { return };
            ServerMachine::Invite { state: invite_server::State::start(now, trying), cancelled: false }
        } else {
            ServerMachine::NonInvite(non_invite_server::State::Trying)
        };
        let key = ServerKey(self.fresh_key());
        let id = self.scratch.clone();
        self.server_ids.insert(id.clone(), key);
        self.servers.insert(key, Server { id, machine, local, remote: target, queued: None });
        self.requeue_server(key);
        self.events.push_back(TransactionEvent::NewRequest { key, message, local, remote });
    }

    fn receive_ack(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr, message: Message) {
        let timers = self.timers;
        let effects = self.find_server(&message, &Method::Ack).and_then(|key| {
            self.step_server(key, |machine| match machine {
                ServerMachine::Invite { state, cancelled } => {
                    let (state, effects) = state.acknowledged(now, &timers);
                    (ServerMachine::Invite { state, cancelled }, effects)
                }
                other @ ServerMachine::NonInvite(_) => (other, Effects::none()),
            })
        });
        match effects {
            Some(Effects { deliver: false, .. }) => {}
            Some(Effects { deliver: true, .. }) | None => {
                self.events.push_back(TransactionEvent::Ack { message, local, remote });
            }
        }
    }

    /// Answers a CANCEL without a transaction of its own: while the INVITE's
    /// lives, the answer to a retransmission is the same.
    fn receive_cancel(&mut self, local: SocketAddr, remote: SocketAddr, message: &Message) {
        let invite = self.find_server(message, &Method::Cancel);
        let found = invite.and_then(|key| Some((key, self.servers.get_mut(&key)?)));
        let Some((key, Server { machine: ServerMachine::Invite { state, cancelled }, .. })) = found else {
            self.counts.stray_cancels += 1;
            self.answer_statelessly(local, remote, message, 481, None);
            return;
        };
        if matches!(state, invite_server::State::Proceeding(_)) && !mem::replace(cancelled, true) {
            self.events.push_back(TransactionEvent::Cancel { invite: key });
        }
        // Section 9.2: the To tag of this answer and of the INVITE's is one.
        let tag = state.last_response().and_then(tag_of);
        self.answer_statelessly(local, remote, message, 200, tag);
    }

    fn receive_response(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        status: u16,
        message: Message,
    ) {
        let method = message.method();
        let key = self.find_client(&message, &method);
        let Some(key) = key else {
            if method == Method::Invite && (200..300).contains(&status) {
                self.events.push_back(TransactionEvent::StrayResponse { message, local, remote });
            } else {
                self.counts.stray_responses += 1;
            }
            return;
        };
        let timers = self.timers;
        let step = self.step_client(key, |machine| match machine {
            ClientMachine::Invite(state) => {
                let ack = |request: &[u8]| {
                    build::hop_by_hop(Method::Ack, request, message.header(Name::To)).map(|ack| ack.bytes)
                };
                let (state, effects) = state.respond(now, status, ack, &timers);
                (ClientMachine::Invite(state), effects)
            }
            ClientMachine::NonInvite(state) => {
                let (state, effects) = state.respond(now, status, &timers);
                (ClientMachine::NonInvite(state), effects)
            }
        });
        if let Some(step) = step {
            self.counts.absorbed += u64::from(!step.effects.deliver);
            self.follow_client(now, key, step, Some((message, remote)));
        }
    }

    fn find_server(&mut self, message: &Message, method: &Method) -> Option<ServerKey> {
        identity::of_server(message, method, &mut self.scratch)?;
        self.server_ids.get(self.scratch.as_str()).copied()
    }

    /// The transaction of a response. One with a second Via was meant for
    /// somebody behind us, and we are no proxy (section 8.1.3.3).
    fn find_client(&self, message: &Message, method: &Method) -> Option<ClientKey> {
        if message.list(Name::Via).nth(1).is_some() {
            return None;
        }
        let id = identity::of_client(message.via().ok()?.branch_token()?, method);
        let key = *self.client_ids.get(&id)?;
        (self.clients.get(&key)?.method == *method).then_some(key)
    }

    fn start_client(
        &mut self,
        now: Instant,
        request: Request,
        local: SocketAddr,
        remote: SocketAddr,
        has_user: bool,
    ) -> ClientKey {
        let Request { method, branch, bytes } = request;
        let id = identity::of_client(&branch, &method);
        self.sends.push_back(Datagram { local, remote, bytes: bytes.clone() });
        let machine = if method == Method::Invite {
            ClientMachine::Invite(invite_client::State::start(now, bytes, &self.timers))
        } else {
            ClientMachine::NonInvite(non_invite_client::State::start(now, bytes, &self.timers))
        };
        let key = ClientKey(self.fresh_key());
        self.client_ids.insert(id.clone(), key);
        self.clients.insert(key, Client { id, method, machine, has_user, local, remote, queued: None });
        self.requeue_client(key);
        key
    }

    /// Does what a step of a client asked for. `cause` is the response.
    fn follow_client(
        &mut self,
        now: Instant,
        key: ClientKey,
        step: ClientStep,
        cause: Option<(Message, SocketAddr)>,
    ) {
        if let Some((cancel, local, remote)) = step.cancel {
            self.start_client(now, cancel, local, remote, false);
        }
        if !step.has_user {
            return;
        }
        if step.effects.failure.is_some() {
            self.events.push_back(TransactionEvent::Timeout { key });
        }
        if let Some((message, remote)) = cause
            && step.effects.deliver
        {
            self.events.push_back(TransactionEvent::Response { key, message, remote });
        }
    }

    fn expire_client(&mut self, now: Instant, key: ClientKey) {
        let (timers, waiting) = (self.timers, self.sends.len());
        let step = self.step_client(key, |machine| match machine {
            ClientMachine::Invite(state) => {
                let (state, effects) = state.expire(now);
                (ClientMachine::Invite(state), effects)
            }
            ClientMachine::NonInvite(state) => {
                let (state, effects) = state.expire(now, &timers);
                (ClientMachine::NonInvite(state), effects)
            }
        });
        self.counts.retransmitted += (self.sends.len() - waiting) as u64;
        if let Some(step) = step {
            self.follow_client(now, key, step, None);
        }
    }

    fn expire_server(&mut self, now: Instant, key: ServerKey) {
        let (timers, waiting) = (self.timers, self.sends.len());
        let effects = self.step_server(key, |machine| match machine {
            ServerMachine::Invite { state, cancelled } => {
                let (state, effects) = state.expire(now, &timers);
                (ServerMachine::Invite { state, cancelled }, effects)
            }
            ServerMachine::NonInvite(state) => {
                let (state, effects) = state.expire();
                (ServerMachine::NonInvite(state), effects)
            }
        });
        self.counts.retransmitted += (self.sends.len() - waiting) as u64;
        if effects.is_some_and(|effects| effects.failure.is_some()) {
            self.events.push_back(TransactionEvent::AckTimeout { key });
        }
    }

    /// Takes a client's machine through one step; sends what it sends.
    fn step_client(
        &mut self,
        key: ClientKey,
        step: impl FnOnce(ClientMachine) -> (ClientMachine, Effects),
    ) -> Option<ClientStep> {
        let client = self.clients.get_mut(&key)?;
        let ended = ClientMachine::NonInvite(non_invite_client::State::Terminated);
        let (machine, mut effects) = step(mem::replace(&mut client.machine, ended));
        client.machine = machine;
        let (local, remote, has_user) = (client.local, client.remote, client.has_user);
        let cancel = effects
            .cancel
            .then(|| client.machine.request().and_then(|of| build::hop_by_hop(Method::Cancel, of, None)))
            .flatten()
            .map(|cancel| (cancel, local, remote));
        self.requeue_client(key);
        self.sends.extend(effects.send.take().map(|bytes| Datagram { local, remote, bytes }));
        Some(ClientStep { effects, has_user, cancel })
    }

    /// Takes a server's machine through one step; sends what it sends.
    fn step_server(
        &mut self,
        key: ServerKey,
        step: impl FnOnce(ServerMachine) -> (ServerMachine, Effects),
    ) -> Option<Effects> {
        let server = self.servers.get_mut(&key)?;
        let ended = ServerMachine::NonInvite(non_invite_server::State::Terminated);
        let (machine, mut effects) = step(mem::replace(&mut server.machine, ended));
        server.machine = machine;
        let (local, remote) = (server.local, server.remote);
        self.requeue_server(key);
        self.sends.extend(effects.send.take().map(|bytes| Datagram { local, remote, bytes }));
        Some(effects)
    }

    /// Puts a client's deadline into the queue, or forgets the client.
    fn requeue_client(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        let deadline = client.machine.deadline().map(|(at, _)| at);
        requeue(&mut self.queue, Owner::Client(key), &mut client.queued, deadline);
        if client.machine.is_over()
            && let Some(client) = self.clients.remove(&key)
        {
            self.client_ids.remove(&client.id);
        }
    }

    /// Puts a server's deadline into the queue, or forgets the server.
    fn requeue_server(&mut self, key: ServerKey) {
        let Some(server) = self.servers.get_mut(&key) else { return };
        let deadline = server.machine.deadline().map(|(at, _)| at);
        requeue(&mut self.queue, Owner::Server(key), &mut server.queued, deadline);
        if server.machine.is_over()
            && let Some(server) = self.servers.remove(&key)
        {
            self.server_ids.remove(&server.id);
        }
    }

    /// Answers without keeping anything (RFC 3261 section 8.2.7).
    fn answer_statelessly(
        &mut self,
        local: SocketAddr,
        source: SocketAddr,
        request: &Message,
        status: u16,
        tag: Option<String>,
    ) {
        let tag = tag.unwrap_or_else(|| identity::stateless_tag(&self.scratch));
        let Ok(remote) = request.via().map(|via| via.response_target(source)) else { return };
        let response = ResponseBuilder::new(request, source, status, Some(&tag)).build();
        self.sends.extend(response.ok().map(|bytes| Datagram { local, remote, bytes }));
    }

    fn fresh_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }
}

/// What a step of a client left to do.
struct ClientStep {
    effects: Effects,
    has_user: bool,
    cancel: Option<(Request, SocketAddr, SocketAddr)>,
}

impl ClientMachine {
    fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Invite(state) => state.deadline(),
            Self::NonInvite(state) => state.deadline(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Invite(state) => matches!(state, invite_client::State::Terminated),
            Self::NonInvite(state) => matches!(state, non_invite_client::State::Terminated),
        }
    }

    fn request(&self) -> Option<&[u8]> {
        match self {
            Self::Invite(state) => state.request(),
            Self::NonInvite(_) => None,
        }
    }
}

impl ServerMachine {
    fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Invite { state, .. } => state.deadline(),
            Self::NonInvite(state) => state.deadline(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Invite { state, .. } => matches!(state, invite_server::State::Terminated),
            Self::NonInvite(state) => matches!(state, non_invite_server::State::Terminated),
        }
    }

    fn retransmitted(self) -> (Self, Effects) {
        match self {
            Self::Invite { state, cancelled } => {
                let (state, effects) = state.retransmitted();
                (Self::Invite { state, cancelled }, effects)
            }
            Self::NonInvite(state) => {
                let (state, effects) = state.retransmitted();
                (Self::NonInvite(state), effects)
            }
        }
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

/// The To tag of a response of ours.
fn tag_of(response: &[u8]) -> Option<String> {
    let no_limits = ParseLimits { bytes: response.len(), headers: usize::MAX };
    Message::parse(response, &no_limits).ok()?.to().ok()?.tag().map(str::to_owned)
}

#[cfg(test)]
mod tests;
