//! The back-to-back user agent: every call has two legs, and each leg is a
//! dialog of our own.
//!
//! A far end never exchanges a message with the other far end. What arrives on
//! one leg changes the state of the call; what leaves on the other is written
//! from that state (new Call-ID, tags, Via, Contact, `CSeq` and session
//! description), so that a leg can only show what the binding says.
//!
//! - [`setup`]: the first INVITE, with [`plan`] (who sees what), [`refusal`],
//!   [`diverted`], [`emergency`] and [`waiting`];
//! - [`answer`]: the responses to our INVITEs;
//! - [`reliable`]: provisional responses that must arrive;
//! - [`in_dialog`]: what far ends ask inside their dialogs; [`info`]: digits;
//! - [`call`]: how a call ends; [`exchange`]: an INVITE on its way through it;
//! - [`hearing`]: whether both sides are heard; [`session`]: whether they are there;
//! - [`leg`], [`dialogs`], [`body`]: one side's dialog, words and bodies;
//! - [`records`], [`cdr`], [`timers`], [`departed`], [`context`]: what all calls
//!   share;
//! - [`journal`], [`restore`]: calls that outlive their process.

mod answer;
mod body;
mod call;
mod cdr;
mod context;
mod departed;
mod dialogs;
mod diverted;
mod emergency;
mod exchange;
mod hearing;
mod in_dialog;
mod info;
mod interim;
mod journal;
mod leg;
mod lengths;
mod plan;
mod reach;
mod records;
mod refusal;
mod reliable;
mod restore;
mod ringing;
mod session;
mod setup;
mod timers;
mod views;
mod waiting;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use call::{Call, Ending};
pub(in crate::engine) use context::Context;
use context::Purpose;
use exchange::Arrival;
use in_dialog::ACCEPT;
use setup::{Admission, Invited};
use timers::Timer;
use waiting::Waiting;

use super::cdr::Cause;
use super::counters::Counter;
use super::event::Event;
use super::flow::{Carrier, FlowStats};
use super::ids::{LegName, SessionId, Slot};
use super::io::{Change, CommitId, Datagram, Output, RequestId, Transaction};
use super::sip::message::Message;
use super::sip::method::Method;
use super::sip::name::Name;
use super::sip::transaction::{ClientKey, TransactionEvent};
use super::sip::transport::Way;
use super::time::Instant;

/// All calls of one shard.
#[derive(Default)]
pub(in crate::engine) struct Calls {
    /// By session.
    all: BTreeMap<SessionId, Call>,
    /// INVITEs that wait for the directory, by what it was asked under.
    waiting: BTreeMap<RequestId, Waiting>,
    taking: Taking,
}

/// Whether new calls are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Taking {
    #[default]
    All,
    /// An operator wants none but emergencies.
    Emergencies,
    /// The engine is about to stop.
    None,
}

impl Calls {
    /// Calls that something is still to be done for.
    pub(in crate::engine) fn len(&self) -> usize {
        self.all.len() + self.waiting.len()
    }

    /// Does what the transactions tell.
    pub(in crate::engine) fn pump(&mut self, context: &mut Context) {
        context.flush();
        while let Some(event) = context.transactions.poll_event() {
            self.told(context, event);
            context.flush();
        }
    }

    /// Does what is due by now.
    pub(in crate::engine) fn handle_timeout(&mut self, context: &mut Context) {
        while let Some((id, timer)) = context.timers.pop(context.now.mono) {
            self.with(context, id, |call, context| match timer {
                Timer::Ring if call.rang_in_vain(context) => {}
                Timer::Target => call.targets_silent(context),
                Timer::Ring => call.end(context, Ending::by_platform(Cause::NoAnswer, 480)),
                Timer::MaxCall => call.end(context, Ending::by_platform(Cause::MaxDuration, 480)),
                Timer::Provisional => call.still_unproven(context),
                Timer::Media => call.listen(context),
                Timer::Interim => call.record_so_far(context),
                Timer::Session => call.sessions_due(context),
                Timer::Acknowledge => call.still_unacknowledged(context),
            });
        }
        context.probe_targets();
        let due = context.records.due(context.now.mono);
        context.outputs.extend(due);
        self.write_journal(context);
    }

    /// The next deadline and what it is for.
    pub(in crate::engine) fn poll_timeout(context: &Context) -> Option<(Instant, &'static str)> {
        let records = context.records.deadline().map(|at| (at, "records are written again"));
        let journal = context.journal.deadline().map(|at| (at, "calls are journaled"));
        let probes = context.reachability.deadline().map(|at| (at, "targets are looked at"));
        [context.timers.deadline(), records, journal, probes].into_iter().flatten().min()
    }

    /// Has every call journaled as it is: what the store has of it is sealed under
    /// an old key.
    pub(in crate::engine) fn write_all_again(&self, context: &mut Context) {
        for call in self.all.values() {
            call.changed(context);
        }
    }

    /// What carries flows, those of calls from before a restart too.
    pub(in crate::engine) fn carried_by(&mut self, context: &mut Context, carrier: Carrier) {
        for call in self.all.values_mut().filter(|call| call.carrier.is_some()) {
            if carrier.slow_because.is_some() {
                context.counters.add_many(Counter::SlowPath, call.media.flows().count());
            }
            if call.carrier.as_ref() != Some(&carrier) {
                call.carrier = Some(carrier.clone());
                call.changed(context);
            }
        }
        context.carrier = Some(carrier);
    }

    /// The datapath has removed a flow.
    pub(in crate::engine) fn flow_removed(
        &mut self,
        context: &mut Context,
        local: SocketAddr,
        stats: FlowStats,
    ) {
        if let Some(&(id, _)) = context.index.flows.get(&local) {
            self.with(context, id, |call, context| call.flow_removed(context, local, &stats));
        }
    }

    /// The datapath has removed flows that a process before this one left: what is
    /// still on its way to them must meet no other call.
    pub(in crate::engine) fn flows_swept(context: &mut Context, flows: &[SocketAddr]) {
        context.counters.add_many(Counter::FlowsSwept, flows.len());
        for &local in flows {
            context.ports.rest(local, context.now.mono);
        }
    }

    /// The datapath says what a flow has counted.
    pub(in crate::engine) fn flow_read(
        &mut self,
        context: &mut Context,
        local: SocketAddr,
        stats: &FlowStats,
    ) {
        if let Some(&(id, _)) = context.index.flows.get(&local) {
            self.with(context, id, |call, context| call.flow_read(context, local, stats));
        }
    }

    /// STUN has come to a port of ours.
    pub(in crate::engine) fn stun(&mut self, context: &mut Context, datagram: &Datagram) {
        if let Some(&(id, _)) = context.index.flows.get(&datagram.local) {
            self.with(context, id, |call, context| call.asked(context, datagram));
        } else {
            context.count(Counter::IceElsewhere);
        }
    }

    /// The datapath cannot make a flow: the call cannot be.
    pub(in crate::engine) fn flow_refused(
        &mut self,
        context: &mut Context,
        local: SocketAddr,
        problem: String,
    ) {
        context.count(Counter::FlowRefused);
        context.event(Event::FlowRefused { local, problem });
        if let Some(&(id, _)) = context.index.flows.get(&local) {
            self.with(context, id, |call, context| {
                call.end(context, Ending::by_platform(Cause::MediaFailure, 500));
            });
        }
    }

    /// Records are durable.
    pub(in crate::engine) fn committed(context: &mut Context, id: CommitId) {
        if context.journal.committed(id) {
            return;
        }
        if let Some(event) = context.records.committed(id) {
            context.event(event);
        }
    }

    /// Records may not be durable.
    pub(in crate::engine) fn commit_failed(context: &mut Context, id: CommitId, problem: String) {
        if context.journal.failed(id, context.now.mono) {
            context.count(Counter::JournalFailed);
        } else {
            context.count(Counter::RecordsFailed);
            context.records.failed(id, context.now.mono);
        }
        context.event(Event::CommitFailed { problem });
    }

    /// Writes the calls that have changed, if it is time.
    fn write_journal(&mut self, context: &mut Context) {
        let Some(changed) = context.journal.take_due(context.now.mono) else { return };
        let mut calls = Vec::with_capacity(changed.len());
        let mut changes = Vec::with_capacity(changed.len());
        for id in changed {
            if let Some(call) = self.all.get_mut(&id).filter(|call| !call.recorded) {
                call.journaled = true;
                changes.push(Change::PutCall(Box::new(call.record())));
                calls.push(id);
            }
        }
        if calls.is_empty() {
            return;
        }
        let id = context.records.next_id();
        context.journal.writes(id, calls);
        context.outputs.push_back(Output::Commit(id, Transaction { changes }));
    }

    /// Ends all calls and takes no more.
    pub(in crate::engine) fn close(&mut self, context: &mut Context) {
        self.taking = Taking::None;
        self.give_up_all(context);
        let all: Vec<SessionId> = self.all.keys().copied().collect();
        for id in all {
            self.hang_up(context, id, Ending::by_platform(Cause::Shutdown, 503));
        }
    }

    fn hang_up(&mut self, context: &mut Context, id: SessionId, ending: Ending) -> bool {
        self.with(context, id, |call, context| call.end(context, ending))
    }

    fn told(&mut self, context: &mut Context, event: TransactionEvent) {
        match event {
            TransactionEvent::NewRequest { key, message, way } => {
                let source = way.remote;
                let Some(trunk) = context.config.trunk_of_source(source.ip()) else { return };
                self.requested(context, Arrival { transaction: key, request: message, way, source, trunk });
            }
            TransactionEvent::Ack { message, way } => {
                let remote = way.remote;
                let trunk = context.config.trunk_of_source(remote.ip());
                if let Some((id, leg)) = leg_of_request(context, &message)
                    && self.all.get(&id).is_some_and(|call| Some(call.legs[leg].trunk) == trunk)
                {
                    self.with(context, id, |call, context| call.acknowledged(context, leg, &message, remote));
                }
            }
            TransactionEvent::Cancel { invite } => {
                if let Some(&id) = context.index.invites.get(&invite)
                    && !self.with(context, id, Call::invite_cancelled)
                {
                    self.cancelled(context, id);
                }
            }
            TransactionEvent::Response { key, message, way } => {
                self.responded(context, key, &message, way);
            }
            TransactionEvent::StrayResponse { message, way } => {
                self.accepted_again(context, &message, way);
            }
            TransactionEvent::Timeout { key } => self.failed(context, key, Call::invite_timed_out),
            TransactionEvent::Unreachable { key } => self.failed(context, key, Call::invite_undelivered),
            TransactionEvent::AckTimeout { .. } => context.count(Counter::Unacknowledged),
        }
    }

    /// No response comes to a request of ours.
    fn failed(
        &mut self,
        context: &mut Context,
        key: ClientKey,
        invite: fn(&mut Call, &mut Context, LegName),
    ) {
        match context.index.requests.remove(&key) {
            Some(Purpose::Invite(id, leg)) => {
                self.with(context, id, |call, context| {
                    call.bring_forward(leg, key);
                    invite(call, context, leg);
                });
            }
            Some(Purpose::Bye(id, _)) => {
                self.with(context, id, |call, _| call.bye_done());
            }
            Some(Purpose::Refresh(id, leg)) => {
                self.with(context, id, |call, context| call.refresh_answered(context, leg, 408, None));
            }
            Some(Purpose::Prack(id)) => {
                self.with(context, id, Call::prack_done);
            }
            Some(Purpose::Info(id)) => {
                self.with(context, id, |call, context| call.info_answered(context, key, 408));
            }
            Some(Purpose::Probe(target)) => context.target_failed(target, "it does not answer OPTIONS"),
            Some(Purpose::Stray) | None => {}
        }
    }

    fn requested(&mut self, context: &mut Context, arrival: Arrival) {
        let in_dialog = arrival.request.to().is_ok_and(|to| to.tag().is_some());
        if in_dialog {
            match leg_of_request(context, &arrival.request) {
                Some((id, leg)) if self.all.contains_key(&id) => {
                    self.with(context, id, |call, context| call.requested(context, leg, arrival));
                }
                Some(_) | None => context.answer(&arrival, 481, None, &[]),
            }
            return;
        }
        let tag = context.token();
        match arrival.request.method() {
            Method::Invite if context.index.is_merged(&arrival.request) => {
                context.count(Counter::Merged);
                context.answer(&arrival, 482, Some(&tag), &[]);
            }
            Method::Invite => {
                let admission = self.admission(context);
                match setup::invited(context, arrival, admission) {
                    Invited::Begun(call) => self.begin(context, *call),
                    Invited::Waits(request, waiting) => self.wait(context, request, *waiting),
                    Invited::Refused => {}
                }
            }
            Method::Options => context.answer(&arrival, 200, Some(&tag), &[(Name::Accept, ACCEPT)]),
            Method::Ack | Method::Bye | Method::Cancel => context.answer(&arrival, 481, Some(&tag), &[]),
            method @ (Method::Register
            | Method::Info
            | Method::Prack
            | Method::Update
            | Method::Subscribe
            | Method::Notify
            | Method::Refer
            | Method::Message
            | Method::Publish
            | Method::Other(_)) => {
                context.answer(&arrival, in_dialog::not_done(&method), Some(&tag), &[]);
            }
        }
    }

    fn begin(&mut self, context: &mut Context, call: Call) {
        let id = call.id;
        self.all.insert(id, call);
        self.reap(context, id);
    }

    fn responded(&mut self, context: &mut Context, key: ClientKey, message: &Message, way: Way) {
        let is_final = message.status().is_some_and(|status| status >= 200);
        let purpose = if is_final {
            context.index.requests.remove(&key)
        } else {
            context.index.requests.get(&key).copied()
        };
        match purpose {
            Some(Purpose::Invite(id, leg)) => {
                self.with(context, id, |call, context| call.invite_answered(context, leg, key, message, way));
            }
            Some(Purpose::Bye(id, _)) if is_final => {
                self.with(context, id, |call, _| call.bye_done());
            }
            Some(Purpose::Probe(target)) if is_final => {
                context.probed(target, message.status().unwrap_or_default());
            }
            Some(Purpose::Refresh(id, leg)) if is_final => {
                let status = message.status().unwrap_or_default();
                self.with(context, id, |call, context| {
                    call.refresh_answered(context, leg, status, Some((message, way)));
                });
            }
            Some(Purpose::Prack(id)) if is_final => {
                self.with(context, id, Call::prack_done);
            }
            Some(Purpose::Info(id)) if is_final => {
                let status = message.status().unwrap_or_default();
                self.with(context, id, |call, context| call.info_answered(context, key, status));
            }
            Some(
                Purpose::Bye(..)
                | Purpose::Stray
                | Purpose::Probe(_)
                | Purpose::Refresh(..)
                | Purpose::Prack(_)
                | Purpose::Info(_),
            ) => {}
            None => self.accepted_again(context, message, way),
        }
    }

    /// A 2xx to an INVITE that has had its answer.
    fn accepted_again(&mut self, context: &mut Context, message: &Message, way: Way) {
        let is_success = message.status().is_some_and(|status| (200..300).contains(&status));
        if !is_success || message.method() != Method::Invite {
            return;
        }
        let tag = message.from().ok().and_then(|from| from.tag().map(str::to_owned));
        let Some(tag) = tag.filter(|tag| Slot::of_token(tag) == Some(context.slot)) else { return };
        match context.index.tags.get(&tag).copied() {
            Some((id, leg)) => {
                self.with(context, id, |call, context| call.accepted_again(context, leg, message, way));
            }
            None => dialogs::accepted_too_late(context, message, way),
        }
    }

    fn admission(&self, context: &Context) -> Admission {
        let limits = &context.config.limits;
        let is_full = self.len() >= limits.calls || context.records.open() >= limits.pending_commits;
        match self.taking {
            Taking::None => Admission::Closed,
            Taking::Emergencies => Admission::Draining,
            Taking::All if is_full => Admission::Full,
            Taking::All => Admission::Open,
        }
    }

    /// Does something with a call, and forgets it when it is over. `false` when
    /// there is no such call.
    fn with(
        &mut self,
        context: &mut Context,
        id: SessionId,
        action: impl FnOnce(&mut Call, &mut Context),
    ) -> bool {
        let Some(call) = self.all.get_mut(&id) else { return false };
        action(call, context);
        self.reap(context, id);
        true
    }

    fn reap(&mut self, context: &mut Context, id: SessionId) {
        if self.all.get(&id).is_some_and(Call::is_over)
            && let Some(call) = self.all.remove(&id)
        {
            context.timers.forget(id);
            context.index.tags.remove(&call.legs.a.tag);
            context.index.tags.remove(&call.legs.b.tag);
            let lifetime = context.config.sip.timers.t1 * 64;
            for dialog in [call.legs.a.past, call.legs.b.past].into_iter().flatten() {
                context.departed.note(context.now.mono, lifetime, dialog);
            }
        }
    }
}

/// The leg in whose dialog a request is, by our tag.
fn leg_of_request(context: &Context, request: &Message) -> Option<(SessionId, LegName)> {
    let to = request.to().ok()?;
    context.index.tags.get(to.tag()?).copied()
}
