//! A call: two legs, their media, and the INVITE that may be on its way between
//! them.
//!
//! A call ends once, for one reason, from whichever side the reason comes; then
//! each leg that is still up is brought down in the way that its state asks for
//! (a final response, CANCEL, BYE, or BYE after the ACK that is still missing),
//! the flows are removed and counted, and the records are written.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::cdr;
use super::context::{Context, Purpose};
use super::exchange::{Exchange, Stage};
use super::info::Informing;
use super::leg::Leg;
use super::leg::LegState;
use super::restore::Resending;
use super::ringing::Ringing;
use super::timers::Timer;
use crate::engine::by_leg::ByLeg;
use crate::engine::callback::Diversion;
use crate::engine::cdr::{Cause, Release, ReleaseSide};
use crate::engine::config::Encryption;
use crate::engine::counters::Counter;
use crate::engine::event::Event;
use crate::engine::flow::{Carrier, FlowStats, MediaPath};
use crate::engine::ids::{BindingId, LegName, SessionId};
use crate::engine::io::Output;
use crate::engine::media::MediaSession;
use crate::engine::sip::method::Method;
use crate::engine::sip::name::Name;
use crate::engine::sip::sdp::Rules;

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: SessionId,
    pub(super) facts: Facts,
    pub(super) legs: ByLeg<Leg>,
    pub(super) media: MediaSession,
    /// What carries its flows, once there are any.
    pub(super) carrier: Option<Carrier>,
    /// The INVITE that is being relayed, if there is one.
    pub(super) exchange: Option<Exchange>,
    /// A 2xx from before a restart that waits for its ACK.
    pub(super) resending: Option<Resending>,
    /// How the call ended, once it does.
    pub(super) release: Option<Release>,
    /// Whether the records are written.
    pub(super) recorded: bool,
    /// Whether the journal may hold the call.
    pub(super) journaled: bool,
    /// Requests of ours that wait for their final response.
    pub(super) unanswered: usize,
    /// Digits on their way through it.
    pub(super) informing: Vec<Informing>,
    /// Where else the callee may be.
    pub(super) ringing: Ringing,
}

/// What does not change in a call's life.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) binding: Option<BindingId>,
    pub(super) tenant: String,
    pub(super) project: String,
    pub(super) caller: LegName,
    pub(super) emergency: bool,
    /// Where it goes in place of a party, and why.
    pub(super) diversion: Option<Diversion>,
    /// Whether its far ends may encrypt.
    pub(super) encryption: Encryption,
    /// How long it may last, if shorter than every call may.
    pub(super) max_call: Option<Duration>,
}

impl Facts {
    /// How long it may last.
    pub(super) fn longest(&self, context: &Context) -> Duration {
        let every = context.config.sip.max_call;
        self.max_call.map_or(every, |own| own.min(every))
    }

    /// What may cross in descriptions of its media.
    pub(super) fn rules(&self, context: &Context) -> Rules {
        let extensions = Arc::clone(&context.config.media.permissions.extensions);
        Rules { encryption: self.encryption, extensions }
    }
}

/// How a call that was never answered is refused to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) side: ReleaseSide,
    pub(super) cause: Cause,
    /// The status for a caller who still waits.
    pub(super) status: u16,
}

impl Ending {
    /// A message was held back by the last check before it left.
    pub(super) const LEAK: Self = Self::by_platform(Cause::ProtocolError, 500);

    /// By us.
    pub(super) const fn by_platform(cause: Cause, status: u16) -> Self {
        Self { side: ReleaseSide::Platform, cause, status }
    }
}

impl Call {
    /// Whether nothing of the call is left to be done.
    pub(super) const fn is_over(&self) -> bool {
        self.recorded && self.unanswered == 0 && self.exchange.is_none()
    }

    /// Whether both sides talk, or have.
    pub(super) fn is_answered(&self) -> bool {
        self.legs[self.facts.caller].answer.is_some()
    }

    /// What carries its media, and why nothing faster does.
    pub(super) fn media_path(&self) -> (Option<MediaPath>, Option<String>) {
        let carrier = self.carrier.as_ref();
        let reason = carrier.and_then(|carrier| carrier.slow_because.as_deref());
        (carrier.map(|carrier| carrier.path), reason.map(str::to_owned))
    }

    /// Ends the call; the first reason counts.
    pub(super) fn end(&mut self, context: &mut Context, ending: Ending) {
        let Ending { side, cause, .. } = ending;
        let release = self.release.get_or_insert(Release { side, cause, sip_status: None }).clone();
        context.timers.disarm(self.id, Timer::Ring);
        context.timers.disarm(self.id, Timer::Target);
        context.timers.disarm(self.id, Timer::Provisional);
        context.timers.disarm(self.id, Timer::Media);
        context.timers.disarm(self.id, Timer::Interim);
        context.timers.disarm(self.id, Timer::Session);
        context.timers.disarm(self.id, Timer::MaxCall);
        self.stop_ringing(context, &release);
        for leg in [LegName::A, LegName::B] {
            self.bring_down(context, leg, ending);
        }
        let outputs = self.media.close();
        self.carry(context, outputs);
        self.settle(context);
        self.changed(context);
    }

    /// Whether a message that is about to leave on a leg shows the other party.
    /// Then it must not leave, and the call ends with what its state still
    /// allows: messages that carry nothing of the other side.
    pub(super) fn leaks(&mut self, context: &mut Context, name: LegName, message: &[u8]) -> bool {
        let Some(what) = self.legs[name].leak_in(message) else { return false };
        context.count(Counter::LeakStopped);
        context.event(Event::LeakStopped { session: self.id, leg: name, what });
        true
    }

    /// Ends one leg in the way that its state asks for.
    fn bring_down(&mut self, context: &mut Context, name: LegName, ending: Ending) {
        match self.legs[name].state {
            LegState::Incoming(_) => self.refuse_caller(context, name, ending),
            LegState::Outgoing { .. } => match self.legs[name].inviting {
                Some(key) => context.cancel(key),
                None => self.leg_ended(context, name),
            },
            LegState::Confirmed(_) => match &self.exchange {
                // RFC 3261 section 15: no BYE before the ACK of our 2xx.
                Some(exchange) if exchange.from == name && exchange.is_accepted() => {}
                Some(_) | None => {
                    self.answer_open_invite(context, name);
                    self.acknowledge_without_answer(context, name);
                    self.bye(context, name);
                }
            },
            LegState::Ended(_) => {}
        }
    }

    /// Gives the caller's INVITE its failure.
    fn refuse_caller(&mut self, context: &mut Context, name: LegName, ending: Ending) {
        if let Some(exchange) = self.exchange.take() {
            context.index.forget_invite(&exchange.invite);
            let reason = format!("Q.850;cause={}", ending.cause.q850());
            let tag = &self.legs[name].tag;
            context.answer(&exchange.invite, ending.status, Some(tag), &[(Name::Reason, &reason)]);
        }
        self.legs[name].status = Some(ending.status);
        self.leg_ended(context, name);
    }

    /// A re-INVITE of a far end that is about to get a BYE fails first
    /// (RFC 3261 section 15.1.2).
    pub(super) fn answer_open_invite(&mut self, context: &mut Context, name: LegName) {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.from == name)
            && let Some(exchange) = self.exchange.take()
        {
            context.index.forget_invite(&exchange.invite);
            context.answer(&exchange.invite, 487, Some(&self.legs[name].tag), &[]);
        }
    }

    /// A far end whose late offer nobody will answer gets its ACK all the same.
    fn acknowledge_without_answer(&mut self, context: &mut Context, name: LegName) {
        let waits = self.exchange.as_mut().is_some_and(|exchange| match &mut exchange.stage {
            Stage::Accepted { late_offer, .. } => exchange.from != name && late_offer.take().is_some(),
            Stage::Relayed => false,
        });
        if waits {
            self.acknowledge(context, name, None);
        }
    }

    /// Sends BYE; the leg is over with it.
    pub(super) fn bye(&mut self, context: &mut Context, name: LegName) {
        let reason = self.release.as_ref().map(|release| format!("Q.850;cause={}", release.cause.q850()));
        let id = self.id;
        if let Some((request, way)) = self.in_dialog(context, name, Method::Bye) {
            let request = match &reason {
                Some(reason) => request.header(Name::Reason, reason),
                None => request,
            };
            let sent = context.request(Purpose::Bye(id, name), request.build(), way);
            self.unanswered += usize::from(sent.is_some());
        }
        self.leg_ended(context, name);
    }

    /// Notes the end of a leg.
    pub(super) fn leg_ended(&mut self, context: &Context, name: LegName) {
        let leg = &mut self.legs[name];
        if !leg.has_ended() {
            leg.past = leg.dialog().map(|dialog| dialog.id().clone());
            leg.state = LegState::Ended(context.now.wall);
            leg.lengths.over(context.now);
        }
    }

    /// Hands flows to the datapath, and notes whose they are.
    pub(super) fn carry(&mut self, context: &mut Context, outputs: Vec<Output>) {
        for output in &outputs {
            if let Output::PutFlow(flow) = output
                && context.index.flows.insert(flow.local, (self.id, flow.owner.leg)).is_none()
            {
                self.carrier.clone_from(&context.carrier);
                if self.carrier.as_ref().is_some_and(|carrier| carrier.slow_because.is_some()) {
                    context.count(Counter::SlowPath);
                }
            }
        }
        context.outputs.extend(outputs);
    }

    /// A flow is gone.
    pub(super) fn flow_removed(&mut self, context: &mut Context, local: SocketAddr, stats: &FlowStats) {
        self.media.removed(local, stats);
        // Another one may have been made at its place in the meantime.
        if !self.media.knows(local) {
            context.index.flows.remove(&local);
        }
        self.settle(context);
        self.changed(context);
    }

    /// Gives back ports that are free, and writes the records when both legs
    /// have ended and everything is counted.
    pub(super) fn settle(&mut self, context: &mut Context) {
        for pair in self.media.take_unused() {
            context.ports.release(pair, context.now.mono);
        }
        let ended = self.legs.a.has_ended() && self.legs.b.has_ended();
        if !ended || self.recorded || self.media.is_carried() {
            return;
        }
        let Some(release) = self.release.clone() else { return };
        self.recorded = true;
        let told = Event::CallEnded { session: self.id, side: release.side, cause: release.cause };
        let records = cdr::of_call(context, self, &release);
        let journaled = self.journaled.then_some(self.id);
        context.journal.forget(self.id);
        let output = context.records.write(records, journaled, Some(told));
        context.outputs.push_back(output);
        if let Some(binding) = self.facts.binding {
            context.directory.release(context.now, binding);
        }
    }
}
