//! What every call works with: the clocks, the configuration, transactions,
//! ports, records, and the indices that lead from a message to its call.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::departed::Departed;
use super::exchange::Arrival;
use super::journal::Journal;
use super::records::Records;
use super::timers::Timers;
use crate::engine::config::{Config, Encryption, Ice, Listen, Trunk, TrunkId};
use crate::engine::counters::{Counter, Counters};
use crate::engine::directory::{Binding, Directory};
use crate::engine::event::Event;
use crate::engine::flow::Carrier;
use crate::engine::ids::{LegName, SessionId, Slot};
use crate::engine::io::{Output, Signal};
use crate::engine::media::{Agent, Ports};
use crate::engine::number::ProxyNumber;
use crate::engine::sip::build::{BuildError, Request, ResponseBuilder};
use crate::engine::sip::message::Message;
use crate::engine::sip::method::Method;
use crate::engine::sip::name::Name;
use crate::engine::sip::sdp::Description;
use crate::engine::sip::transaction::{ClientKey, ServerKey, Transactions};
use crate::engine::sip::transport::Way;
use crate::engine::targets::Reachability;
use crate::engine::time::Now;

/// What may go over UDP where the path's MTU is not known (RFC 3261 section 18.1.1).
const LONGEST_OVER_UDP: usize = 1300;
/// RFC 3326 section 3.1, for the forks of a call that has found its callee.
const ANSWERED_ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";
/// The methods that we do.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO";

/// Everything but the calls themselves.
pub(in crate::engine) struct Context {
    /// Both clocks at the current input.
    pub(in crate::engine) now: Now,
    pub(in crate::engine) config: Arc<Config>,
    pub(in crate::engine) slot: Slot,
    pub(in crate::engine) random: ChaCha8Rng,
    pub(in crate::engine) outputs: VecDeque<Output>,
    pub(in crate::engine) counters: Counters,
    pub(in crate::engine) directory: Directory,
    pub(in crate::engine) transactions: Transactions,
    pub(super) ports: Ports,
    pub(super) records: Records,
    pub(super) journal: Journal,
    pub(super) timers: Timers,
    pub(super) index: Index,
    pub(super) departed: Departed,
    /// Which targets of trunks are there.
    pub(super) reachability: Reachability,
    /// What carries media; unknown until the daemon says so.
    pub(super) carrier: Option<Carrier>,
    /// Requests of ours to the directory so far.
    pub(super) requests: u64,
    /// How many calls went to each number whose addresses ring in turn; of no more
    /// numbers than the pool has, and counted from nothing after a restart.
    pub(super) turns: BTreeMap<ProxyNumber, usize>,
}

/// From what a message or the datapath names to the call that it belongs to.
#[derive(Default)]
pub(super) struct Index {
    /// Our tag, which every request in a dialog carries.
    pub(super) tags: BTreeMap<String, (SessionId, LegName)>,
    /// Opening INVITEs that are not answered: Call-ID, From tag and `CSeq` number, by
    /// which a request that came twice over different ways is known (RFC 3261
    /// section 8.2.2.2).
    pub(super) initial: BTreeMap<(String, String, u32), SessionId>,
    /// Call-ID and From tag of the INVITEs that calls of before a restart began
    /// with: their transactions are forgotten, and a late copy begins no call.
    /// As many as calls were taken up.
    pub(super) begun: BTreeSet<(String, String)>,
    /// The transactions of INVITEs that are not answered, for their CANCEL.
    pub(super) invites: BTreeMap<ServerKey, SessionId>,
    /// Requests of ours that are not answered.
    pub(super) requests: BTreeMap<ClientKey, Purpose>,
    /// Flows.
    pub(super) flows: BTreeMap<SocketAddr, (SessionId, LegName)>,
}

/// What a request of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An INVITE of this leg.
    Invite(SessionId, LegName),
    /// A BYE of this leg.
    Bye(SessionId, LegName),
    /// What refreshes the session of this leg (RFC 4028).
    Refresh(SessionId, LegName),
    /// What says that a provisional response has arrived (RFC 3262).
    Prack(SessionId),
    /// A digit that somebody has dialled (RFC 6086).
    Info(SessionId),
    /// An OPTIONS that asks a target whether it is there.
    Probe((TrunkId, SocketAddr)),
    /// A BYE of a dialog that is no leg of ours: its answer does not matter.
    Stray,
}

impl Index {
    /// Notes an INVITE that is to be answered.
    pub(super) fn note_invite(&mut self, invite: &Arrival, call: SessionId) {
        self.invites.insert(invite.transaction, call);
        self.initial.extend(identity(&invite.request).map(|identity| (identity, call)));
    }

    /// Forgets an INVITE that is answered.
    pub(super) fn forget_invite(&mut self, invite: &Arrival) {
        self.invites.remove(&invite.transaction);
        if let Some(identity) = identity(&invite.request) {
            self.initial.remove(&identity);
        }
    }

    /// The call of an INVITE that came before, over another way.
    pub(super) fn is_merged(&self, invite: &Message) -> bool {
        identity(invite).is_some_and(|identity| {
            if self.initial.contains_key(&identity) {
                return true;
            }
            let (call_id, tag, _) = identity;
            !self.begun.is_empty() && self.begun.contains(&(call_id, tag))
        })
    }
}

/// What is the same in an INVITE that comes twice over different ways.
fn identity(invite: &Message) -> Option<(String, String, u32)> {
    let tag = invite.from().ok()?.tag().unwrap_or_default().to_owned();
    Some((invite.call_id().ok()?.to_owned(), tag, invite.cseq().ok()?.number))
}

impl Context {
    /// Without calls.
    pub(in crate::engine) fn new(
        config: Arc<Config>,
        slot: Slot,
        random: ChaCha8Rng,
        now: Now,
        directory: Directory,
    ) -> Self {
        Self {
            now,
            slot,
            random,
            outputs: VecDeque::new(),
            counters: Counters::default(),
            directory,
            transactions: Transactions::new(config.sip.timers, config.limits.transactions),
            ports: Ports::new(&config.media),
            records: Records::default(),
            journal: Journal::default(),
            timers: Timers::default(),
            index: Index::default(),
            departed: Departed::default(),
            reachability: Reachability::new(&config, now),
            carrier: None,
            requests: 0,
            turns: BTreeMap::new(),
            config,
        }
    }

    /// Every counter and gauge of the engine, in a fixed order.
    pub(in crate::engine) fn counts(&self, calls: usize, draining: bool) -> Vec<(String, u64)> {
        let gauge = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let transactions = self.transactions.counts();
        let mut counts = self.counters.list();
        counts.extend(
            [
                ("calls.in_progress", gauge(calls)),
                ("calls.draining", u64::from(draining)),
                ("targets.down", gauge(self.reachability.down())),
                ("records.pending", gauge(self.records.open())),
                ("transactions.in_progress", gauge(self.transactions.len())),
                ("transactions.absorbed", transactions.absorbed),
                ("transactions.retransmitted", transactions.retransmitted),
                ("transactions.over_limit", transactions.over_limit),
                ("transactions.stray_responses", transactions.stray_responses),
                ("transactions.stray_cancels", transactions.stray_cancels),
                ("transactions.disconnected", transactions.disconnected),
            ]
            .map(|(name, count)| (name.to_owned(), count)),
        );
        counts.extend(self.directory.counters());
        counts
    }

    /// Transactions that the store has not made durable yet.
    pub(in crate::engine) fn pending_commits(&self) -> usize {
        self.records.open() + self.journal.open() + self.directory.pending_commits()
    }

    #[cfg(test)]
    pub(in crate::engine) fn leftovers(&self) -> Vec<(&'static str, usize)> {
        let Index { tags, initial, invites, requests, flows, begun: _ } = &self.index;
        [
            ("tags", tags.len()),
            ("initial", initial.len()),
            ("invites", invites.len()),
            ("requests", requests.len()),
            ("flows", flows.len()),
            ("timers", usize::from(self.timers.deadline().is_some())),
            ("records", self.records.open()),
            ("journal", self.journal.open() + usize::from(self.journal.deadline().is_some())),
            ("transactions", self.transactions.len()),
        ]
        .into_iter()
        .filter(|&(_, left)| left > 0)
        .collect()
    }

    /// A trunk of the configuration.
    pub(super) fn trunk(&self, id: TrunkId) -> Option<&Trunk> {
        self.config.trunk(id)
    }

    /// A trunk's name, for records and events.
    pub(super) fn trunk_name(&self, id: TrunkId) -> &str {
        self.config.trunk(id).map_or("", |trunk| &trunk.name)
    }

    /// The socket that talks to a trunk.
    pub(super) fn listen(&self, trunk: &Trunk) -> Option<Listen> {
        self.config.sip.listen.get(trunk.listen).copied()
    }

    /// The socket that something came to: that of its trunk, unless that speaks more
    /// ways than one.
    pub(super) fn listen_of(&self, trunk: &Trunk, came: Way) -> Option<Listen> {
        let here = |listen: &&Listen| (listen.transport, listen.local) == (came.transport, came.local);
        self.config.sip.listen.iter().find(here).copied().or_else(|| self.listen(trunk))
    }

    /// A fresh tag, Call-ID or branch.
    pub(super) fn token(&mut self) -> String {
        self.slot.token(&mut self.random)
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn count(&mut self, counter: Counter) {
        self.counters.add(counter);
    }

    /// Whether the parties of a binding may encrypt. Nothing is hidden in an
    /// emergency call, which has none, so nothing of it must be seen.
    pub(super) fn encryption(&self, binding: Option<&Binding>) -> Encryption {
        let configured = self.config.media.permissions.encryption;
        binding.map_or(Encryption::EndToEnd, |binding| binding.encryption.unwrap_or(configured))
    }

    /// An agent for a leg on a trunk where ICE is spoken.
    pub(super) fn ice_agent(&mut self, trunk: TrunkId) -> Option<Agent> {
        let speaks = self.trunk(trunk).is_some_and(|trunk| trunk.ice == Ice::Lite);
        speaks.then(|| Agent::new(&mut self.random))
    }

    /// Tells why nothing of a description can be relayed, where the operator can
    /// decide otherwise.
    pub(super) fn refused_media(&mut self, session: SessionId, trunk: &str, description: &Description) {
        if description.encryption_refused {
            self.count(Counter::EncryptionRefused);
            self.event(Event::EncryptionRefused { session, trunk: trunk.to_owned() });
        }
    }

    /// Sends what needs no transaction: the ACK of a 2xx.
    pub(super) fn send(&mut self, way: Way, bytes: Vec<u8>) {
        self.outputs.push_back(Output::Send(Signal { way, bytes }));
    }

    /// Sends a request in a transaction of its own. `None` when that could not
    /// be: it is counted, and the caller does without an answer.
    pub(super) fn request(
        &mut self,
        purpose: Purpose,
        request: Result<Request, BuildError>,
        way: Way,
    ) -> Option<ClientKey> {
        let Ok(request) = request else {
            self.count(Counter::Unwritable);
            return None;
        };
        let (request, way) = self.fitting(request, way);
        let Ok(key) = self.transactions.send_request(self.now.mono, request, way) else {
            self.count(Counter::TransactionLimit);
            return None;
        };
        self.index.requests.insert(key, purpose);
        self.flush();
        Some(key)
    }

    /// A request that is too long for UDP goes over TCP where its trunk takes that
    /// (RFC 3261 section 18.1.1).
    fn fitting(&mut self, request: Request, way: Way) -> (Request, Way) {
        let bytes = request.bytes.len();
        if way.transport.is_reliable() || bytes <= LONGEST_OVER_UDP {
            return (request, way);
        }
        self.count(Counter::LargeRequests);
        let Some(trunk) = self.config.trunk_of_source(way.remote.ip()).and_then(|id| self.trunk(id)) else {
            return (request, way);
        };
        if let Some(&listen) = trunk.listen_large.and_then(|index| self.config.sip.listen.get(index)) {
            let Listen { transport, local, .. } = listen;
            return (request.over(listen.sent_by()), Way { transport, local, ..way });
        }
        let trunk = trunk.name.clone();
        self.event(Event::LargeRequest { trunk, bytes });
        (request, way)
    }

    /// Cancels an INVITE of ours.
    pub(super) fn cancel(&mut self, key: ClientKey) {
        self.transactions.cancel(self.now.mono, key, None);
        self.flush();
    }

    /// Cancels an INVITE of ours since somebody else has answered the call, so that no
    /// phone calls it missed.
    pub(super) fn cancel_answered(&mut self, key: ClientKey) {
        self.transactions.cancel(self.now.mono, key, Some(ANSWERED_ELSEWHERE));
        self.flush();
    }

    /// Sends a response.
    pub(super) fn respond(&mut self, key: ServerKey, response: Result<Vec<u8>, BuildError>) {
        match response {
            Ok(bytes) => {
                self.transactions.respond(self.now.mono, key, bytes);
                self.flush();
            }
            Err(_) => self.count(Counter::Unwritable),
        }
    }

    /// Sends a response that the caller will send again: what was sent.
    pub(super) fn respond_and_keep(
        &mut self,
        arrival: &Arrival,
        response: Result<Vec<u8>, BuildError>,
    ) -> Option<Signal> {
        let bytes = response.ok()?;
        let way = self.transactions.response_way(arrival.transaction)?;
        self.respond(arrival.transaction, Ok(bytes.clone()));
        Some(Signal { way, bytes })
    }

    /// Answers a request without a body. `more` are further header fields.
    pub(super) fn answer(
        &mut self,
        arrival: &Arrival,
        status: u16,
        tag: Option<&str>,
        more: &[(Name, &str)],
    ) {
        let mut response = self.response(arrival, status, tag);
        for (name, value) in more {
            response = response.header(*name, value);
        }
        self.respond(arrival.transaction, response.build());
    }

    /// A response that says who we are and, where it matters, what we do.
    pub(super) fn response(&self, arrival: &Arrival, status: u16, tag: Option<&str>) -> ResponseBuilder {
        let response = ResponseBuilder::new(&arrival.request, arrival.source, status, tag)
            .header(Name::Server, &self.config.sip.product);
        let answers_options = arrival.request.is_request(&Method::Options) && status == 200;
        if answers_options || matches!(status, 405 | 501) {
            response.header(Name::Allow, ALLOW)
        } else {
            response
        }
    }

    /// Hands what the transactions want sent to the outputs, in order.
    pub(in crate::engine) fn flush(&mut self) {
        while let Some(datagram) = self.transactions.poll_send() {
            self.outputs.push_back(Output::Send(datagram));
        }
    }
}
