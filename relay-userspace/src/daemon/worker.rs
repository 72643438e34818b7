//! The event loop that owns one engine.
//!
//! It turns what happens into inputs and does what the outputs say, on one
//! thread and without ever waiting for a disk, a client or a peer. Today one
//! worker serves all slots; nothing in it is global, so that several can run
//! side by side, each with its own engine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use ipnet::IpNet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;

use super::capture::Captures;
use super::clock::Clock;
use super::door::{Ask, Asked, Capture};
use super::journal::Journal;
use super::keeper::KeeperDoor;
use super::stop::{Stop, StopFlag};
use super::waker::Waker;
use crate::api::local::{Response, Status};
use crate::datapath::Datapath;
use crate::engine::Engine;
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::event::Event;
use crate::engine::flow::{Carrier, FlowSpec};
use crate::engine::guard::{GuardReply, Rule};
use crate::engine::io::{Input, Output, RequestId};
use crate::engine::time::Instant;
use crate::net::stream::Streams;
use crate::net::udp::{Drained, UdpTransport};
use crate::telemetry::EventLog;

/// Batches of datagrams from each socket in one turn.
const BATCHES_PER_TURN: usize = 4;
/// Requests of operators in one turn.
const REQUESTS_PER_TURN: usize = 8;
/// Answers of the store in one turn.
const ANSWERS_PER_TURN: usize = 1024;
/// How long calls may take to end after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(10);
/// The longest sleep; only bounds what a lost wake-up could cost.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Everything that the loop owns.
pub(super) struct Worker {
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    pub(super) transport: UdpTransport,
    pub(super) streams: Streams,
    pub(super) datapath: Box<dyn Datapath>,
    pub(super) journal: Journal,
    pub(super) keeper: KeeperDoor,
    pub(super) answers: Receiver<Input>,
    pub(super) requests: Receiver<Asked>,
    pub(super) waker: Waker,
    pub(super) stop: StopFlag,
    /// What every [`Status`] says of this process.
    pub(super) about: Status,
    pub(super) state: State,
}

/// What changes while the loop runs.
#[derive(Default)]
pub(super) struct State {
    events: EventLog,
    /// Who waits for the engine's answer to which request.
    asking: BTreeMap<RequestId, Asking>,
    requests: u64,
    captures: Captures,
    drain: Drain,
}

#[derive(Default)]
enum Drain {
    #[default]
    Running,
    /// Calls are being ended, until this moment at the latest.
    Until(Instant),
    Done,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every call had ended and was recorded.
    Drained,
    /// Calls were still open when the time to end them was over.
    TimedOut,
    /// A second stop did not wait for calls to end.
    AtOnce,
}

/// How a request waits for the engine.
enum Asking {
    /// The reply is the answer.
    Reply(oneshot::Sender<Response>),
    /// The reply holds the counters that a status needs.
    Counters(oneshot::Sender<Response>),
    /// The reply is the call whose flows are to be tapped.
    Call(Capture, oneshot::Sender<Response>),
}

impl Worker {
    /// Runs until calls are drained after a stop, or the stop insists.
    pub(super) fn run(mut self) -> Ended {
        // Calls of before want their flows.
        self.act();
        let choice = self.datapath.choice();
        self.handle(Input::MediaPath(Carrier::new(choice.path, &choice.reason)));
        loop {
            // In this order: what is over makes room for what begins; what the
            // store acknowledged sets waiting calls free; a timer that is late is
            // later with every message taken before it; operators can wait longest.
            // Each source has a budget, so that none keeps another from its turn.
            if let Some(ended) = self.stopping() {
                self.flush();
                return self.close(ended);
            }
            self.waker.rearm();
            let mut more = self.take_answers();
            self.take_timers();
            more |= self.take_datagrams();
            more |= self.take_streams();
            self.take_stun();
            more |= self.take_requests();
            self.flush();
            self.state.events.summarise(self.clock.instant());
            if !more && !matches!(self.state.drain, Drain::Done) {
                self.sleep();
            }
        }
    }

    /// Whether it is time to end, and how.
    fn stopping(&mut self) -> Option<Ended> {
        match (self.stop.get(), &self.state.drain) {
            (Stop::AtOnce, _) => Some(Ended::AtOnce),
            (Stop::Drain, Drain::Done) => Some(Ended::Drained),
            (Stop::Drain, Drain::Until(end)) if self.clock.instant() >= *end => Some(Ended::TimedOut),
            (Stop::No, _) | (Stop::Drain, Drain::Until(_)) => None,
            (Stop::Drain, Drain::Running) => {
                self.state.drain = Drain::Until(self.clock.instant() + DRAIN);
                self.handle(Input::Shutdown);
                None
            }
        }
    }

    /// Waits for the store, unless even that is too long.
    fn close(self, ended: Ended) -> Ended {
        match ended {
            Ended::Drained | Ended::TimedOut => self.journal.close(),
            Ended::AtOnce => {}
        }
        ended
    }

    fn take_answers(&mut self) -> bool {
        for _ in 0..ANSWERS_PER_TURN {
            let Ok(answer) = self.answers.try_recv() else { return false };
            self.handle(answer);
        }
        true
    }

    fn take_timers(&mut self) {
        let now = self.clock.now();
        if self.engine.poll_timeout().is_some_and(|(due, _)| due <= now.mono) {
            self.engine.handle_timeout(now);
            self.act();
        }
    }

    fn take_datagrams(&mut self) -> bool {
        let mut more = false;
        let mut arrived = Vec::new();
        for socket in 0..self.transport.descriptors().count() {
            let mut drained = Drained::Perhaps;
            for _ in 0..BATCHES_PER_TURN {
                let guard = self.datapath.guard();
                drained = self.transport.receive(socket, |signal| {
                    if guard.admits(signal.way.remote.ip()) {
                        arrived.push(signal);
                    }
                });
                for signal in arrived.drain(..) {
                    self.handle(Input::Received(signal));
                }
                if drained == Drained::Yes {
                    break;
                }
            }
            more |= drained == Drained::Perhaps;
        }
        more
    }

    fn take_streams(&mut self) -> bool {
        let now = self.clock.instant();
        let guard = self.datapath.guard();
        let more = self.streams.turn(now, |source| guard.admits(source));
        self.streams.handle_timeout(now);
        self.take_inputs();
        more
    }

    /// Hands over what connections have to tell, and what comes of that.
    fn take_inputs(&mut self) {
        while let Some(input) = self.streams.poll_input() {
            self.handle(input);
        }
    }

    fn flush(&mut self) {
        self.transport.flush();
        self.streams.flush(self.clock.instant());
        // A connection that is found broken while it is sent to.
        self.take_inputs();
    }

    fn take_stun(&mut self) {
        let mut arrived = Vec::new();
        self.datapath.take_stun(&mut |datagram| arrived.push(datagram));
        for datagram in arrived {
            self.handle(Input::Stun(datagram));
        }
    }

    fn take_requests(&mut self) -> bool {
        for _ in 0..REQUESTS_PER_TURN {
            let Ok(asked) = self.requests.try_recv() else { return false };
            self.state.requests += 1;
            let id = RequestId(self.state.requests);
            let (asking, asker, request) = match asked.what {
                Ask::Admin(asker, request) => (Asking::Reply(asked.answer), asker, request),
                Ask::Status(asker) => (Asking::Counters(asked.answer), asker, AdminRequest::Counters),
                Ask::Capture(capture) => {
                    let Capture { session, masked, .. } = capture;
                    let asker = capture.asker.clone();
                    (Asking::Call(capture, asked.answer), asker, AdminRequest::Capture { session, masked })
                }
                Ask::Denied(asker, request) => {
                    self.state.asking.insert(id, Asking::Reply(asked.answer));
                    self.handle(Input::Denied(id, asker, request));
                    continue;
                }
                Ask::EndCapture(session) => {
                    self.state.captures.end(&mut *self.datapath, session);
                    continue;
                }
            };
            self.state.asking.insert(id, asking);
            self.handle(Input::Admin(id, asker, request));
        }
        true
    }

    fn handle(&mut self, input: Input) {
        self.engine.handle_input(self.clock.now(), input);
        self.act();
    }

    /// Does what the engine wants done, and tells it what came of that at once.
    fn act(&mut self) {
        let mut consequences = VecDeque::new();
        loop {
            while let Some(output) = self.engine.poll_output() {
                consequences.extend(self.perform(output));
            }
            let Some(input) = consequences.pop_front() else { return };
            self.engine.handle_input(self.clock.now(), input);
        }
    }

    fn perform(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Send(signal) if signal.way.transport.is_reliable() => {
                self.streams.queue(self.clock.instant(), &signal);
            }
            Output::Send(signal) => self.transport.queue(signal),
            Output::Commit(id, transaction) => {
                let refused = self.journal.submit(id, transaction).err()?;
                return Some(Input::CommitFailed(id, refused.into()));
            }
            Output::PutFlow(flow) => return self.put(&flow),
            Output::SweepFlows => return Some(Input::FlowsSwept(self.datapath.sweep())),
            Output::RemoveFlow(local) => {
                self.state.captures.forget(local);
                return Some(Input::FlowRemoved(local, self.datapath.remove(local)));
            }
            Output::Stun(datagram) => self.datapath.send_stun(&datagram),
            Output::Guard(rules) => self.guard(&rules),
            Output::ReadFlow(local) => {
                return self.datapath.stats(local).map(|stats| Input::FlowRead(local, stats));
            }
            Output::Rekey(step) => self.keeper.tell(step),
            Output::Certify(erasures) => self.keeper.certify(erasures),
            Output::Reply(id, reply) => self.reply(id, reply),
            Output::Event(event) => {
                if let Event::CallEnded { session, .. } = event {
                    self.state.captures.end(&mut *self.datapath, session);
                }
                self.state.events.record(self.clock.instant(), &event);
            }
            Output::Drained => self.state.drain = Drain::Done,
        }
        None
    }

    fn put(&mut self, flow: &FlowSpec) -> Option<Input> {
        match self.datapath.put(flow) {
            Ok(()) => {
                self.state.captures.follow(&mut *self.datapath, flow);
                None
            }
            Err(refused) => Some(Input::FlowRefused(flow.local, refused.to_string())),
        }
    }

    fn guard(&mut self, rules: &[Rule]) {
        if let Err(error) = self.datapath.guard().set_rules(rules) {
            let event = Event::GuardFailed { problem: error.to_string() };
            self.state.events.record(self.clock.instant(), &event);
        }
    }

    fn reply(&mut self, id: RequestId, mut reply: AdminReply) {
        let Some(asking) = self.state.asking.remove(&id) else { return };
        let (answer, response) = match asking {
            Asking::Reply(answer) => {
                self.measure(&mut reply);
                (answer, Response::Admin(reply))
            }
            Asking::Call(capture, answer) => (answer, self.capture(capture, reply)),
            Asking::Counters(answer) => (answer, Response::Status(Box::new(self.status(reply)))),
        };
        // An asker that has hung up needs no answer.
        let _hung_up = answer.send(response);
    }

    fn capture(&mut self, capture: Capture, reply: AdminReply) -> Response {
        let Capture { session, asker, masked, sink } = capture;
        let AdminReply::Call(call) = reply else { return Response::Admin(reply) };
        match self.state.captures.begin(&mut *self.datapath, &call, sink) {
            Ok(()) => {
                let event = Event::CaptureBegan { session, user: asker.user, masked };
                self.state.events.record(self.clock.instant(), &event);
                Response::Capturing
            }
            Err(refusal) => Response::Refused(refusal),
        }
    }

    /// Fills in what only the media path knows.
    fn measure(&mut self, reply: &mut AdminReply) {
        let calls = match reply {
            AdminReply::Call(call) => std::slice::from_mut(call),
            AdminReply::Calls(calls) => calls.as_mut_slice(),
            AdminReply::Guard(reply) => return self.measure_guard(reply),
            AdminReply::Pool(_)
            | AdminReply::Agent(_)
            | AdminReply::Bound { .. }
            | AdminReply::Bindings(_)
            | AdminReply::Binding(_)
            | AdminReply::HungUp(_)
            | AdminReply::Resolved(_)
            | AdminReply::Trunks(_)
            | AdminReply::Drain { .. }
            | AdminReply::Counters(_)
            | AdminReply::Unmask(_)
            | AdminReply::Noted
            | AdminReply::Vault(_)
            | AdminReply::Rotating { .. }
            | AdminReply::Person(_)
            | AdminReply::Retention(_)
            | AdminReply::Erasing(_)
            | AdminReply::Refused(_) => return,
        };
        for flow in calls.iter_mut().flat_map(|call| &mut call.flows) {
            flow.measure(self.datapath.stats(flow.local));
        }
    }

    fn measure_guard(&mut self, reply: &mut GuardReply) {
        let rules = match reply {
            GuardReply::Rules(rules) => rules.as_mut_slice(),
            GuardReply::Put { rule, .. } => std::slice::from_mut(rule),
            GuardReply::Removed(_) => return,
            GuardReply::Status(status) => {
                let verdicts = self.datapath.verdicts();
                let packets = |name| {
                    verdicts.iter().find(|count| count.verdict == name).map_or(0, |count| count.packets)
                };
                (status.denied, status.limited) = (packets("guard-denied"), packets("guard-limited"));
                return;
            }
        };
        let hits: BTreeMap<IpNet, u64> = self.datapath.guard().hits().into_iter().collect();
        for rule in rules {
            rule.packets = hits.get(&rule.net).copied();
        }
    }

    fn status(&self, reply: AdminReply) -> Status {
        let mut counters = if let AdminReply::Counters(counters) = reply { counters } else { Vec::new() };
        let transport = self.transport.counters().named();
        let streams = self.streams.counters().named();
        counters.extend(transport.into_iter().chain(streams).map(|(name, count)| (name.to_owned(), count)));
        Status {
            now: self.clock.now().wall,
            datapath: self.datapath.choice().clone(),
            verdicts: self.datapath.verdicts(),
            counters,
            ..self.about.clone()
        }
    }

    /// Waits for a datagram, room to send one, another thread, or a deadline.
    fn sleep(&mut self) {
        let now = self.clock.instant();
        let drain = match self.state.drain {
            Drain::Until(end) => Some(end),
            Drain::Running | Drain::Done => None,
        };
        let timer = self.engine.poll_timeout().map(|(due, _)| due);
        let due = [timer, drain, self.state.events.deadline(), self.streams.poll_timeout()];
        let due = due.into_iter().flatten().min();
        let wait = due.map_or(LONGEST_SLEEP, |due| due.saturating_since(now).min(LONGEST_SLEEP));
        let wait = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };

        let mut watched = vec![PollFd::new(&self.waker, PollFlags::IN)];
        for (socket, blocked) in self.transport.descriptors() {
            let events = if blocked { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            watched.push(PollFd::from_borrowed_fd(socket, events));
        }
        let sockets = watched.len() - 1;
        watched.push(PollFd::from_borrowed_fd(self.datapath.stun_descriptor(), PollFlags::IN));
        watched.push(PollFd::from_borrowed_fd(self.streams.descriptor(), PollFlags::IN));
        // Only a signal interrupts, and the next turn looks at everything anyway.
        let _interrupted = poll(&mut watched, Some(&wait));
        let writable: Vec<usize> = (0..sockets)
            .filter(|&index| watched[index + 1].revents().intersects(PollFlags::OUT | PollFlags::ERR))
            .collect();
        for index in writable {
            self.transport.writable(index);
        }
    }
}
