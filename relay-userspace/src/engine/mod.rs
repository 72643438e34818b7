//! The engine: masking, allocation, SIP and call control as a pure function of
//! inputs, two injected clocks and a seed.
//!
//! It opens no socket, reads no file or clock, starts no thread and draws no
//! random number of its own, so a million calls can be simulated in seconds
//! and any failure replayed from its seed. CI builds it alone, without the
//! crates that could do I/O, and clippy denies the standard library's.
//!
//! # Contract
//!
//! Mutate once, drain, wait for the next deadline, repeat:
//!
//! 1. Call [`Engine::handle_input`] with what happened, or
//!    [`Engine::handle_timeout`] when the deadline of step 3 has come. Both
//!    clocks never go back between calls.
//! 2. Call [`Engine::poll_output`] until it returns `None`, and do what each
//!    output says, in that order.
//! 3. Ask [`Engine::poll_timeout`] when to call again if nothing happens.
//!    A deadline that is answered late is late, never lost; one that is
//!    answered early does nothing.
//!
//! An [`Engine`] is one shard: it owns every dialog whose tokens carry its
//! [`ids::Slot`].

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod admin;
mod areas;
pub mod audit;
mod b2bua;
pub(crate) mod by_leg;
pub mod call_record;
pub mod callback;
pub mod cdr;
pub mod config;
mod counters;
mod dialling;
pub mod directory;
pub mod egress;
pub mod encoding;
pub mod event;
pub mod flow;
pub mod geography;
pub mod guard;
pub mod ids;
pub mod io;
mod map;
pub(crate) mod media;
pub mod money;
pub mod number;
pub mod policy;
pub mod privacy;
pub mod quality;
mod quota;
pub mod rating;
pub mod report;
pub mod sip;
mod strangers;
pub mod targets;
pub mod time;
pub mod unmask;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use admin::{AdminReply, AdminRequest, Refusal, RefusalKind};
use audit::acts::Note;
use audit::{Ledger, Next};
use b2bua::{Calls, Context};
use call_record::Snapshot;
use config::Config;
use counters::Counter;
use directory::Directory;
use event::Event;
use guard::Guard;
use ids::{BindingId, Slot};
use io::{Disconnection, Input, Output, RekeyStep, RequestId, Signal};
use privacy::{Asker, Vault};
use sip::message::{Message, ParseLimits, Problem};
use sip::transport::Transport;
use strangers::Strangers;
use time::{Instant, Now};
use unmask::{Step, Subject, UnmaskReply, UnmaskRequest, Unmasked, Unmasking};

/// One shard of the control plane. See the module documentation for how to
/// drive it.
pub struct Engine {
    context: Context,
    calls: Calls,
    strangers: Strangers,
    guard: Guard,
    ledger: Ledger,
    unmasking: Unmasking,
    life: Life,
}

/// Where the engine is in its own life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// [`Input::Shutdown`] came; calls and commits are still open.
    Draining,
    /// [`Output::Drained`] was given out.
    Drained,
}

impl Engine {
    /// An engine that goes on where the one before it stopped or died. Drain
    /// [`Self::poll_output`] before anything else: calls of before want their
    /// flows.
    ///
    /// `seed` must come from the operating system's random source wherever
    /// peers are not trusted: tags, Call-IDs and media ports follow from it.
    /// `snapshot` is what the store held at the last stop, and `vault` is what
    /// its parties are sealed by.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        vault: Arc<Vault>,
        slot: Slot,
        seed: [u8; 32],
        now: Now,
        mut snapshot: Snapshot,
    ) -> Self {
        let guard = std::mem::take(&mut snapshot.directory.guard);
        let guard = Guard::new(Arc::clone(&config), now, guard);
        let ledger = Ledger::new(Arc::clone(vault.notary()), now, &snapshot.audit);
        let unmasking = Unmasking::new(config.unmask, now, &snapshot.audit.tail);
        let mut random = ChaCha8Rng::from_seed(seed);
        let mut directory_seed = [0; 32];
        random.fill_bytes(&mut directory_seed);
        let directory = Directory::new(Arc::clone(&config), vault, directory_seed, now, snapshot.directory);
        let mut engine = Self {
            context: Context::new(config, slot, random, now, directory),
            calls: Calls::default(),
            strangers: Strangers::default(),
            guard,
            ledger,
            unmasking,
            life: Life::Running,
        };
        engine.calls.restore(&mut engine.context, snapshot.calls);
        engine.finish();
        engine
    }

    /// Takes in one thing that happened. Drain [`Self::poll_output`] after it.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        let Self { context, calls, .. } = self;
        context.now = now;
        match input {
            Input::Received(signal) => self.received(&signal),
            Input::Knocked(source) => {
                context.counters.add(Counter::UnknownSource);
                self.knocked(source);
            }
            Input::Disconnected(lost) => self.disconnected(lost),
            Input::Admin(id, asker, request) => self.asked(id, asker, request),
            Input::Denied(id, asker, request) => match self.noted(&request) {
                Some(note) => self.ledger.deny(now, id, note, asker),
                None => self.context.outputs.push_back(Output::Reply(id, AdminReply::Noted)),
            },
            Input::Committed(id) if Ledger::owns(id) => {
                for (seq, next) in self.ledger.handle_committed(now, id) {
                    self.go_on(seq, next);
                }
            }
            Input::Committed(id) if Guard::owns(id) => self.guard.handle_committed(now, id),
            Input::Committed(id) if context.directory.owns(id) => context.directory.handle_committed(now, id),
            Input::Committed(id) => Calls::committed(context, id),
            Input::Conflict(id) if context.directory.owns(id) => context.directory.handle_conflict(now, id),
            // Rules, records and audit entries claim no pair, so nobody can hold one against them.
            Input::Conflict(id) if Ledger::owns(id) => {
                self.ledger.handle_commit_failed(now, id, "a conflict over audit entries");
            }
            Input::Conflict(id) if Guard::owns(id) => {
                self.guard.handle_commit_failed(now, id, "a conflict over guard rules");
            }
            Input::Conflict(id) => {
                Calls::commit_failed(context, id, "a conflict over call records".to_owned());
            }
            Input::CommitFailed(id, problem) if Ledger::owns(id) => {
                self.ledger.handle_commit_failed(now, id, &problem);
            }
            Input::CommitFailed(id, problem) if Guard::owns(id) => {
                self.guard.handle_commit_failed(now, id, &problem);
            }
            Input::CommitFailed(id, problem) if context.directory.owns(id) => {
                context.directory.handle_commit_failed(now, id, &problem);
            }
            Input::CommitFailed(id, problem) => Calls::commit_failed(context, id, problem),
            Input::MediaPath(carrier) => calls.carried_by(context, carrier),
            Input::FlowRemoved(local, stats) => calls.flow_removed(context, local, stats),
            Input::FlowRead(local, stats) => calls.flow_read(context, local, &stats),
            Input::Stun(datagram) => calls.stun(context, &datagram),
            Input::FlowRefused(local, problem) => calls.flow_refused(context, local, problem),
            Input::FlowsSwept(flows) => Calls::flows_swept(context, &flows),
            Input::BeginEpoch(epoch) => context.directory.begin_epoch(now, epoch),
            Input::EpochRefused(problem) => context.directory.epoch_refused(now, problem),
            Input::Certified(erasures) => context.directory.certified(now, erasures),
            Input::EndEpochs(before) => context.directory.end_epochs(now, before),
            Input::Shutdown => {
                if self.life == Life::Running {
                    self.life = Life::Draining;
                    calls.close(context);
                    self.ledger.close(now);
                }
            }
        }
        self.finish();
    }

    /// Does everything that was due by `now`. Drain [`Self::poll_output`]
    /// after it.
    pub fn handle_timeout(&mut self, now: Now) {
        self.context.now = now;
        self.context.transactions.handle_timeout(now.mono);
        self.calls.pump(&mut self.context);
        self.calls.handle_timeout(&mut self.context);
        self.context.directory.handle_timeout(now);
        for act in self.context.directory.take_acts() {
            self.ledger.note_own(now, act);
        }
        self.guard.handle_timeout(now);
        for expired in self.unmasking.handle_timeout(now) {
            self.ledger.note_own(now, expired);
        }
        self.ledger.handle_timeout(now);
        self.finish();
    }

    /// The next thing to do; `None` when all is done. Call it until then after
    /// every mutation.
    #[must_use = "an output that is not done is lost"]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.context.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called next, and what for;
    /// `None` when nothing is waiting. Changes with every mutation.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let context = &self.context;
        [
            context.transactions.poll_timeout(),
            Calls::poll_timeout(context),
            context.directory.poll_timeout(),
            self.guard.poll_timeout(),
            self.ledger.poll_timeout(),
            self.unmasking.poll_timeout(context.now),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|&(at, _)| at)
    }

    /// Calls that something is still to be done for: a leg that is up, a flow
    /// to be counted, a BYE to be answered.
    #[must_use]
    pub fn calls_in_progress(&self) -> usize {
        self.calls.len()
    }

    /// The dialogs that are this engine's.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.context.slot
    }

    fn received(&mut self, signal: &Signal) {
        let Signal { way, bytes } = signal;
        let context = &mut self.context;
        context.counters.add(Counter::Received);
        let source = way.remote;
        let trunk = context.config.trunk_of_source(source.ip()).and_then(|id| context.config.trunk(id));
        let Some(trunk) = trunk else {
            context.counters.add(Counter::UnknownSource);
            return self.knocked(source.ip());
        };
        // Whoever is known by a certificate is not known by an address, which anybody
        // can write into a datagram.
        if trunk.transport == Transport::Tls && way.transport != Transport::Tls {
            context.counters.add(Counter::Unprotected);
            let event = Event::Unprotected { trunk: trunk.name.clone(), transport: way.transport };
            return context.outputs.push_back(Output::Event(event));
        }
        let limits = &context.config.limits;
        let limits = ParseLimits { bytes: limits.message_bytes, headers: limits.headers };
        match Message::parse(bytes, &limits) {
            Ok(message) => context.transactions.receive(context.now.mono, *way, message),
            Err(error) if error.problem == Problem::KeepAlive => {}
            Err(error) => {
                context.counters.add(Counter::Malformed);
                let tag = context.slot.token(&mut context.random);
                context.outputs.extend(error.refusal(*way, &tag).map(Output::Send));
                let event = Event::Malformed { source, problem: error.problem.to_string() };
                context.outputs.push_back(Output::Event(event));
            }
        }
    }

    /// What was on its way over a connection may be lost.
    fn disconnected(&mut self, lost: Disconnection) {
        let context = &mut self.context;
        context.transactions.disconnected(context.now.mono, &lost);
        if let Disconnection { transport, remote, refused: Some(problem) } = lost {
            let trunk = context.config.trunk_of_source(remote.ip());
            let trunk = trunk.and_then(|id| context.config.trunk(id));
            let trunk = trunk.map_or_else(String::new, |trunk| trunk.name.clone());
            let event = Event::ConnectionFailed { trunk, transport, remote, problem };
            context.outputs.push_back(Output::Event(event));
        }
    }

    /// A message of an address that belongs to no trunk: it is counted, and who
    /// sends too many is denied for a while.
    fn knocked(&mut self, source: IpAddr) {
        let Self { context, strangers, guard: rules, .. } = self;
        let limit = context.config.guard.strangers;
        let window = limit.map_or(Duration::MAX, |limit| limit.window);
        let known_by = guard::network_of(source).addr();
        let knock = strangers.seen(context.now.mono, known_by, window);
        if let Some(messages) = knock.report {
            context.outputs.push_back(Output::Event(Event::UnknownSource { source, messages }));
        }
        if let Some(limit) = limit.filter(|limit| knock.lately > limit.messages) {
            let reason = format!("{} SIP messages, and no trunk", knock.lately);
            if rules.deny_source(context.now, source, limit.deny_for, &reason) {
                strangers.forgive(known_by);
            }
        }
    }

    /// What changes something or shows what is secret waits for its audit entry.
    fn asked(&mut self, id: RequestId, asker: Asker, request: AdminRequest) {
        let now = self.context.now;
        let note = match &request {
            AdminRequest::Unmask(wanted) => {
                let binding = self.binding_of(wanted);
                self.unmasking.judge(now, &asker, wanted, binding)
            }
            other => Ok(self.noted(other)),
        };
        match note {
            Ok(Some(note)) => self.ledger.note(now, note, Next { id, asker, request }),
            Ok(None) => self.go_on(0, Next { id, asker, request }),
            Err(refusal) => self.context.outputs.push_back(Output::Reply(id, AdminReply::Refused(refusal))),
        }
    }

    fn noted(&self, request: &AdminRequest) -> Option<Note> {
        audit::acts::noted(request, |person| self.context.directory.pseudonyms(person))
    }

    /// Does what its entry, of this number, is durable of.
    fn go_on(&mut self, seq: u64, next: Next) {
        let Next { id, asker, request } = next;
        let wanted = match request {
            AdminRequest::Unmask(wanted) => wanted,
            other => return self.admin(id, other),
        };
        let binding = self.binding_of(&wanted);
        let reply = match self.unmasking.proceed(self.context.now, seq, asker, wanted, binding) {
            Ok(Step::Answer(reply)) => AdminReply::Unmask(reply),
            Ok(Step::Reveal { of, binding }) => self.reveal(of, binding),
            Err(refusal) => AdminReply::Refused(refusal),
        };
        self.context.outputs.push_back(Output::Reply(id, reply));
    }

    /// The binding that a request to unmask is about, where there is one that is
    /// still known.
    fn binding_of(&self, wanted: &UnmaskRequest) -> Option<BindingId> {
        let UnmaskRequest::Show { of, recorded, .. } = wanted else { return None };
        let id = match of {
            Subject::Binding(id) => Some(*id),
            Subject::Session(session) => match self.calls.show(*session) {
                AdminReply::Call(call) => call.binding,
                _ => *recorded,
            },
        };
        id.filter(|id| self.context.directory.reveal(*id).is_some())
    }

    fn reveal(&self, of: Subject, binding: BindingId) -> AdminReply {
        match self.context.directory.reveal(binding) {
            Some([customer, agent]) => {
                AdminReply::Unmask(UnmaskReply::Parties(Unmasked { of, binding, customer, agent }))
            }
            None => AdminReply::Refused(Refusal {
                kind: RefusalKind::NotFound,
                what: format!("{binding} is forgotten, and its parties with it"),
                remedy: "nobody can tell any more who they were".to_owned(),
            }),
        }
    }

    fn admin(&mut self, id: RequestId, request: AdminRequest) {
        let Self { context, calls, .. } = self;
        let Some(request) = context.directory.handle_admin(context.now, id, request) else { return };
        let reply = match request {
            AdminRequest::Resolve { caller, proxy, at } => {
                let (config, directory, now) = (&context.config, &context.directory, context.now.wall);
                match policy::resolve(config, directory, (&caller, &proxy), at, now) {
                    Ok(resolution) => AdminReply::Resolved(Box::new(resolution)),
                    Err(refusal) => AdminReply::Refused(refusal),
                }
            }
            AdminRequest::Trunks => calls.trunks(context),
            AdminRequest::CallsList => calls.list(),
            // The daemon taps the flows that it is shown.
            AdminRequest::CallShow { session } | AdminRequest::Capture { session, .. } => calls.show(session),
            AdminRequest::CallHangup { session } => calls.hang_up_by_operator(context, session),
            AdminRequest::Drain { on } => calls.drain(on),
            AdminRequest::Backup => AdminReply::Noted,
            AdminRequest::Counters => {
                let mut counts = context.counts(calls.len(), calls.is_draining());
                counts.extend(self.guard.counters());
                counts.extend(self.ledger.counters());
                counts.extend(self.unmasking.counters());
                AdminReply::Counters(counts)
            }
            AdminRequest::Guard(request) => return self.guard.handle_request(context.now, id, request),
            // The directory has answered these, and what is to be unmasked comes another way.
            AdminRequest::Unmask(_)
            | AdminRequest::Pool(_)
            | AdminRequest::Agent(_)
            | AdminRequest::BindCreate(_)
            | AdminRequest::BindList { .. }
            | AdminRequest::BindShow { .. }
            | AdminRequest::BindExtend { .. }
            | AdminRequest::BindReopen { .. }
            | AdminRequest::BindHandover { .. }
            | AdminRequest::BindClose { .. }
            | AdminRequest::Vault
            | AdminRequest::VaultRotate
            | AdminRequest::Retain { .. }
            | AdminRequest::PrivacyShow { .. }
            | AdminRequest::PrivacyErase { .. } => return,
        };
        context.outputs.push_back(Output::Reply(id, reply));
    }

    /// Follows what the parts of the engine have told each other, and says once
    /// that the engine may be stopped when it is so.
    fn finish(&mut self) {
        self.calls.pump(&mut self.context);
        let context = &mut self.context;
        while let Some(output) = context.directory.poll_output() {
            if let Output::Rekey(RekeyStep::Began(_)) = output {
                self.calls.write_all_again(context);
            }
            match output {
                Output::Reply(id, _) if Calls::asked(id) => self.calls.answered(context, id),
                output => context.outputs.push_back(output),
            }
        }
        while let Some(output) = self.guard.poll_output() {
            context.outputs.push_back(output);
        }
        while let Some(output) = self.ledger.poll_output() {
            context.outputs.push_back(output);
        }
        if self.life == Life::Draining
            && self.calls.len() == 0
            && self.guard.pending_commits() == 0
            && self.ledger.pending() == 0
            && context.pending_commits() == 0
            && !context.transactions.awaits_ack()
        {
            self.life = Life::Drained;
            context.outputs.push_back(Output::Drained);
        }
    }
}

#[cfg(test)]
impl Engine {
    /// What is still held for calls, by name; nothing when there is none.
    pub(crate) fn leftovers(&self) -> Vec<(&'static str, usize)> {
        self.context.leftovers()
    }
}
