//! Server transactions: the peers' requests, whatever their machine.

use std::mem;

use super::effects::Effects;
use super::timing::{Deadline, Pace};
use super::{Owner, ServerKey, TransactionEvent, Transactions, identity, requeue};
use super::{invite_server, non_invite_server};
use crate::engine::io::Signal;
use crate::engine::sip::build::ResponseBuilder;
use crate::engine::sip::message::{Message, ParseLimits};
use crate::engine::sip::method::Method;
use crate::engine::sip::transport::Way;
use crate::engine::time::Instant;

#[derive(Debug)]
pub(super) enum ServerMachine {
    Invite { state: invite_server::State, cancelled: bool },
    NonInvite(non_invite_server::State),
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) id: String,
    pub(super) machine: ServerMachine,
    /// Where responses go.
    pub(super) way: Way,
    pub(super) queued: Option<Instant>,
}

impl Transactions {
    pub(super) fn receive_request(&mut self, now: Instant, way: Way, message: Message) {
        let method = message.method();
        if let Some(key) = self.find_server(&message, &method) {
            self.counts.absorbed += 1;
            self.step_server(key, |machine, _| machine.retransmitted());
            return;
        }
        let Ok(back) = message.via().map(|via| via.response_way(way)) else { return };
        if self.len() >= self.limit {
            self.counts.over_limit += 1;
            self.answer_statelessly(way, &message, 503, None);
            return;
        }
        let machine = if method == Method::Invite {
            let Ok(trying) = ResponseBuilder::new(&message, way.remote, 100, None).build() else { return };
            ServerMachine::Invite { state: invite_server::State::start(now, trying), cancelled: false }
        } else {
            ServerMachine::NonInvite(non_invite_server::State::Trying)
        };
        let key = ServerKey(self.fresh_key());
        let id = self.scratch.clone();
        self.server_ids.insert(id.clone(), key);
        self.servers.insert(key, Server { id, machine, way: back, queued: None });
        self.requeue_server(key);
        self.events.push_back(TransactionEvent::NewRequest { key, message, way });
    }

    pub(super) fn receive_ack(&mut self, now: Instant, way: Way, message: Message) {
        let effects = self.find_server(&message, &Method::Ack).and_then(|key| {
            self.step_server(key, |machine, pace| match machine {
                ServerMachine::Invite { state, cancelled } => {
                    let (state, effects) = state.acknowledged(now, pace);
                    (ServerMachine::Invite { state, cancelled }, effects)
                }
                other @ ServerMachine::NonInvite(_) => (other, Effects::none()),
            })
        });
        match effects {
            Some(Effects { deliver: false, .. }) => {}
            Some(Effects { deliver: true, .. }) | None => {
                self.events.push_back(TransactionEvent::Ack { message, way });
            }
        }
    }

    /// Answers a CANCEL without a transaction of its own: while the INVITE's
    /// lives, the answer to a retransmission is the same.
    pub(super) fn receive_cancel(&mut self, way: Way, message: &Message) {
        let invite = self.find_server(message, &Method::Cancel);
        let found = invite.and_then(|key| Some((key, self.servers.get_mut(&key)?)));
        let Some((key, Server { machine: ServerMachine::Invite { state, cancelled }, .. })) = found else {
            self.counts.stray_cancels += 1;
            self.answer_statelessly(way, message, 481, None);
            return;
        };
        if matches!(state, invite_server::State::Proceeding(_)) && !mem::replace(cancelled, true) {
            self.events.push_back(TransactionEvent::Cancel { invite: key });
        }
        // Section 9.2: the To tag of this answer and of the INVITE's is one.
        let tag = state.last_response().and_then(tag_of);
        self.answer_statelessly(way, message, 200, tag);
    }

    pub(super) fn expire_server(&mut self, now: Instant, key: ServerKey) {
        let waiting = self.sends.len();
        let effects = self.step_server(key, |machine, pace| match machine {
            ServerMachine::Invite { state, cancelled } => {
                let (state, effects) = state.expire(now, pace);
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

    fn find_server(&mut self, message: &Message, method: &Method) -> Option<ServerKey> {
        identity::of_server(message, method, &mut self.scratch)?;
        self.server_ids.get(self.scratch.as_str()).copied()
    }

    /// Takes a server's machine through one step; sends what it sends.
    pub(super) fn step_server(
        &mut self,
        key: ServerKey,
        step: impl FnOnce(ServerMachine, &Pace) -> (ServerMachine, Effects),
    ) -> Option<Effects> {
        let timers = self.timers;
        let server = self.servers.get_mut(&key)?;
        let pace = Pace::over(timers, server.way.transport);
        let ended = ServerMachine::NonInvite(non_invite_server::State::Terminated);
        let (machine, mut effects) = step(mem::replace(&mut server.machine, ended), &pace);
        server.machine = machine;
        let way = server.way;
        self.requeue_server(key);
        self.sends.extend(effects.send.take().map(|bytes| Signal { way, bytes }));
        Some(effects)
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
    fn answer_statelessly(&mut self, way: Way, request: &Message, status: u16, tag: Option<String>) {
        let tag = tag.unwrap_or_else(|| identity::stateless_tag(&self.scratch));
        let Ok(back) = request.via().map(|via| via.response_way(way)) else { return };
        let response = ResponseBuilder::new(request, way.remote, status, Some(&tag)).build();
        self.sends.extend(response.ok().map(|bytes| Signal { way: back, bytes }));
    }
}

impl ServerMachine {
    /// Whether it sends a failure until somebody acknowledges it.
    pub(super) const fn awaits_ack(&self) -> bool {
        match self {
            Self::Invite { state: invite_server::State::Completed(_), .. } => true,
            Self::Invite {
                state:
                    invite_server::State::Proceeding(_)
                    | invite_server::State::Confirmed(_)
                    | invite_server::State::Accepted(_)
                    | invite_server::State::Terminated,
                ..
            }
            | Self::NonInvite(_) => false,
        }
    }

    pub(super) fn respond(
        self,
        now: Instant,
        status: u16,
        response: Vec<u8>,
        pace: &Pace,
    ) -> (Self, Effects) {
        match self {
            Self::Invite { state, cancelled } => {
                let (state, effects) = state.respond(now, status, response, pace);
                (Self::Invite { state, cancelled }, effects)
            }
            Self::NonInvite(state) => {
                let (state, effects) = state.respond(now, status, response, pace);
                (Self::NonInvite(state), effects)
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Invite { state, .. } => state.deadline(),
            Self::NonInvite(state) => state.deadline(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Invite { state, .. } => matches!(state, invite_server::State::Terminated),
            Self::NonInvite(state) => matches!(state, non_invite_server::State::Terminated),
        }
    }

    pub(super) fn retransmitted(self) -> (Self, Effects) {
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

/// The To tag of a response of ours.
fn tag_of(response: &[u8]) -> Option<String> {
    let no_limits = ParseLimits { bytes: response.len(), headers: usize::MAX };
    Message::parse(response, &no_limits).ok()?.to().ok()?.tag().map(str::to_owned)
}
