//! Client transactions: our requests, whatever their machine.

use std::mem;
use std::net::SocketAddr;

use super::effects::{Effects, Failure};
use super::timing::{Deadline, Pace};
use super::{ClientKey, Owner, TransactionEvent, Transactions, identity, requeue};
use super::{invite_client, non_invite_client};
use crate::engine::io::Signal;
use crate::engine::sip::build::{self, Request};
use crate::engine::sip::message::Message;
use crate::engine::sip::method::Method;
use crate::engine::sip::name::Name;
use crate::engine::sip::transport::{Transport, Way};
use crate::engine::time::Instant;

#[derive(Debug)]
pub(super) enum ClientMachine {
    Invite(invite_client::State),
    NonInvite(non_invite_client::State),
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) method: Method,
    pub(super) machine: ClientMachine,
    /// Whether the user hears of it; a CANCEL's outcome is nobody's business.
    pub(super) has_user: bool,
    pub(super) way: Way,
    pub(super) queued: Option<Instant>,
    /// What a CANCEL of it says.
    pub(super) cancelled_because: Option<&'static str>,
}

/// What a step of a client left to do.
pub(super) struct ClientStep {
    effects: Effects,
    has_user: bool,
    cancel: Option<(Request, Way)>,
}

impl Transactions {
    pub(super) fn start_client(
        &mut self,
        now: Instant,
        request: Request,
        way: Way,
        has_user: bool,
    ) -> ClientKey {
        let Request { method, branch, bytes } = request;
        let id = identity::of_client(&branch, &method);
        self.sends.push_back(Signal { way, bytes: bytes.clone() });
        let pace = self.pace(way.transport);
        let machine = if method == Method::Invite {
            ClientMachine::Invite(invite_client::State::start(now, bytes, &pace))
        } else {
            ClientMachine::NonInvite(non_invite_client::State::start(now, bytes, &pace))
        };
        let key = ClientKey(self.fresh_key());
        self.client_ids.insert(id.clone(), key);
        let client = Client { id, method, machine, has_user, way, queued: None, cancelled_because: None };
        self.clients.insert(key, client);
        self.by_peer.extend(over(way).map(|(transport, peer)| (transport, peer, key)));
        self.requeue_client(key);
        key
    }

    pub(super) fn receive_response(&mut self, now: Instant, way: Way, status: u16, message: Message) {
        let method = message.method();
        let key = self.find_client(&message, &method);
        let Some(key) = key else {
            if method == Method::Invite && (200..300).contains(&status) {
                self.events.push_back(TransactionEvent::StrayResponse { message, way });
            } else {
                self.counts.stray_responses += 1;
            }
            return;
        };
        let step = self.step_client(key, |machine, pace| match machine {
            ClientMachine::Invite(state) => {
                let ack = |request: &[u8]| {
                    build::hop_by_hop(Method::Ack, request, message.header(Name::To), None)
                        .map(|ack| ack.bytes)
                };
                let (state, effects) = state.respond(now, status, ack, pace);
                (ClientMachine::Invite(state), effects)
            }
            ClientMachine::NonInvite(state) => {
                let (state, effects) = state.respond(now, status, pace);
                (ClientMachine::NonInvite(state), effects)
            }
        });
        if let Some(step) = step {
            self.counts.absorbed += u64::from(!step.effects.deliver);
            self.follow_client(now, key, step, Some((message, way)));
        }
    }

    pub(super) fn expire_client(&mut self, now: Instant, key: ClientKey) {
        let waiting = self.sends.len();
        let step = self.step_client(key, |machine, pace| match machine {
            ClientMachine::Invite(state) => {
                let (state, effects) = state.expire(now);
                (ClientMachine::Invite(state), effects)
            }
            ClientMachine::NonInvite(state) => {
                let (state, effects) = state.expire(now, pace);
                (ClientMachine::NonInvite(state), effects)
            }
        });
        self.counts.retransmitted += (self.sends.len() - waiting) as u64;
        if let Some(step) = step {
            self.follow_client(now, key, step, None);
        }
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

    /// Takes a client's machine through one step; sends what it sends.
    pub(super) fn step_client(
        &mut self,
        key: ClientKey,
        step: impl FnOnce(ClientMachine, &Pace) -> (ClientMachine, Effects),
    ) -> Option<ClientStep> {
        let timers = self.timers;
        let client = self.clients.get_mut(&key)?;
        let pace = Pace::over(timers, client.way.transport);
        let ended = ClientMachine::NonInvite(non_invite_client::State::Terminated);
        let (machine, mut effects) = step(mem::replace(&mut client.machine, ended), &pace);
        client.machine = machine;
        let (way, has_user) = (client.way, client.has_user);
        let cancel = effects
            .cancel
            .then(|| client.machine.request())
            .flatten()
            .and_then(|of| build::hop_by_hop(Method::Cancel, of, None, client.cancelled_because))
            .map(|cancel| (cancel, way));
        self.requeue_client(key);
        self.sends.extend(effects.send.take().map(|bytes| Signal { way, bytes }));
        Some(ClientStep { effects, has_user, cancel })
    }

    /// Does what a step of a client asked for. `cause` is the response.
    pub(super) fn follow_client(
        &mut self,
        now: Instant,
        key: ClientKey,
        step: ClientStep,
        cause: Option<(Message, Way)>,
    ) {
        if let Some((cancel, way)) = step.cancel {
            self.start_client(now, cancel, way, false);
        }
        if !step.has_user {
            return;
        }
        match step.effects.failure {
            Some(Failure::Timeout | Failure::AckTimeout) => {
                self.events.push_back(TransactionEvent::Timeout { key });
            }
            Some(Failure::Unreachable) => self.events.push_back(TransactionEvent::Unreachable { key }),
            None => {}
        }
        if let Some((message, way)) = cause
            && step.effects.deliver
        {
            self.events.push_back(TransactionEvent::Response { key, message, way });
        }
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
            for (transport, peer) in over(client.way) {
                self.by_peer.remove(&(transport, peer, key));
            }
        }
    }

    /// Fails what was on its way over a connection.
    pub(super) fn disconnect_clients(&mut self, now: Instant, transport: Transport, peer: SocketAddr) {
        let range = (transport, peer, ClientKey(0))..=(transport, peer, ClientKey(u64::MAX));
        let lost: Vec<ClientKey> = self.by_peer.range(range).map(|&(.., key)| key).collect();
        for key in lost {
            let step = self.step_client(key, |machine, _| match machine {
                ClientMachine::Invite(state) => {
                    let (state, effects) = state.disconnected();
                    (ClientMachine::Invite(state), effects)
                }
                ClientMachine::NonInvite(state) => {
                    let (state, effects) = state.disconnected();
                    (ClientMachine::NonInvite(state), effects)
                }
            });
            if let Some(step) = step {
                self.counts.disconnected += u64::from(step.effects.failure.is_some());
                self.follow_client(now, key, step, None);
            }
        }
    }
}

/// The connections that a request may have taken.
fn over(way: Way) -> impl Iterator<Item = (Transport, SocketAddr)> {
    let peers = [Some(way.remote), way.otherwise].into_iter().flatten();
    peers.filter(move |_| way.transport.is_reliable()).map(move |peer| (way.transport, peer))
}

impl ClientMachine {
    pub(super) fn cancel(self, now: Instant, pace: &Pace) -> (Self, Effects) {
        match self {
            Self::Invite(state) => {
                let (state, effects) = state.cancel(now, pace);
                (Self::Invite(state), effects)
            }
            Self::NonInvite(_) => (self, Effects::none()),
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Invite(state) => state.deadline(),
            Self::NonInvite(state) => state.deadline(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Invite(state) => matches!(state, invite_client::State::Terminated),
            Self::NonInvite(state) => matches!(state, non_invite_client::State::Terminated),
        }
    }

    pub(super) fn request(&self) -> Option<&[u8]> {
        match self {
            Self::Invite(state) => state.request(),
            Self::NonInvite(_) => None,
        }
    }
}
