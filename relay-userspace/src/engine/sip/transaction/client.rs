//! Client transactions: our requests, whatever their machine.

use std::mem;
use std::net::SocketAddr;

use super::effects::Effects;
use super::timing::Deadline;
use super::{ClientKey, Owner, TransactionEvent, Transactions, identity, requeue};
use super::{invite_client, non_invite_client};
use crate::engine::config::Timers;
use crate::engine::io::Datagram;
use crate::engine::sip::build::{self, Request};
use crate::engine::sip::message::Message;
use crate::engine::sip::method::Method;
use crate::engine::sip::name::Name;
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
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) queued: Option<Instant>,
}

/// What a step of a client left to do.
pub(super) struct ClientStep {
    effects: Effects,
    has_user: bool,
    cancel: Option<(Request, SocketAddr, SocketAddr)>,
}

impl Transactions {
    pub(super) fn start_client(
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

    pub(super) fn receive_response(
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

    pub(super) fn expire_client(&mut self, now: Instant, key: ClientKey) {
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

    /// Does what a step of a client asked for. `cause` is the response.
    pub(super) fn follow_client(
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
}

impl ClientMachine {
    pub(super) fn cancel(self, now: Instant, timers: &Timers) -> (Self, Effects) {
        match self {
            Self::Invite(state) => {
                let (state, effects) = state.cancel(now, timers);
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
