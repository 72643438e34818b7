//! What a far end says to an INVITE of ours, and what becomes of it on the
//! other leg.
//!
//! Nothing of a response crosses but its status class, and of its body the
//! session description, rewritten. Reason phrases, contacts of redirections,
//! challenges and retry times stay where they came from.
//!
//! # One dialog for the caller, however many phones ring
//!
//! To the caller we are one user agent server, and every response of one to an
//! INVITE has the same To tag (RFC 3261 section 8.2.6.2). So a caller has one early
//! dialog with us, in which it hears what forks say one after the other; a dialog for
//! each of them would tell it how many phones the other party has. Our address and
//! ports stay the same for all forks, so nobody is sent elsewhere; what a fork has
//! chosen may differ. A caller is free to take the first description for the answer
//! and to pass over all later ones (section 13.2.1): if the fork that accepts chose
//! another codec than the one that spoke first, such a caller speaks in the wrong one
//! and is not heard, since its packets are of a type that nobody agreed on.

use std::net::SocketAddr;

use super::body::{self, Content};
use super::call::{Call, Ending};
use super::context::Context;
use super::exchange::{Exchange, Said, Stage};
use super::leg::LegState;
use super::reliable::Novelty;
use super::timers::Timer;
use crate::engine::cdr::{Cause, Release, ReleaseSide};
use crate::engine::counters::Counter;
use crate::engine::event::Event;
use crate::engine::ids::LegName;
use crate::engine::media::{Finality, Word};
use crate::engine::sip::message::Message;
use crate::engine::sip::method::Method;
use crate::engine::sip::name::Name;
use crate::engine::sip::sdp::Description;
use crate::engine::sip::transaction::{ClientKey, SuccessRetransmitter};
use crate::engine::sip::transport::Way;

/// How addresses fare that rang beside the one that answered.
const ANSWERED_ELSEWHERE: Release =
    Release { side: ReleaseSide::Platform, cause: Cause::AnsweredElsewhere, sip_status: None };

impl Call {
    /// A response to our INVITE on leg `name`.
    pub(super) fn invite_answered(
        &mut self,
        context: &mut Context,
        name: LegName,
        key: ClientKey,
        response: &Message,
        way: Way,
    ) {
        self.bring_forward(name, key);
        let status = response.status().unwrap_or(0);
        self.target_spoke(context, name, status);
        match status {
            ..200 => self.progressed(context, name, status, response, way.remote),
            200..300 => self.accepted(context, name, response, way),
            422 if self.asks_for_longer(context, name, response) => {
                self.unanswered = self.unanswered.saturating_sub(1);
            }
            300.. => self.refused(context, name, status),
        }
    }

    /// A provisional response. The first INVITE's alerting and early media
    /// reach the caller; a re-INVITE's are nobody's business.
    fn progressed(
        &mut self,
        context: &mut Context,
        name: LegName,
        status: u16,
        response: &Message,
        source: SocketAddr,
    ) {
        if status == 100 || self.release.is_some() {
            return;
        }
        let LegState::Outgoing { early, .. } = &mut self.legs[name].state else { return };
        *early = true;
        if self.prove(context, name, response) == Novelty::Old {
            return;
        }
        self.legs[name].rings(context.now);
        let said = match body::read(response, &self.facts.rules(context)) {
            Content::Session(description) => Some(Said { description, from: source.ip() }),
            Content::Nothing | Content::Unsupported | Content::Unusable(_) => None,
        };
        let session = said.and_then(|said| self.answer_early(context, name, response, &said));
        // Being forwarded, queued or unforked is not for the caller to know.
        let relayed = match (status, &session) {
            (180, _) => 180,
            (183, _) | (_, Some(_)) => 183,
            (_, None) => return,
        };
        self.announce(context, name.other(), relayed, session);
    }

    /// A 2xx: the far end has accepted.
    fn accepted(&mut self, context: &mut Context, name: LegName, response: &Message, way: Way) {
        let source = way.remote;
        self.legs[name].inviting = None;
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.legs[name].has_ended() {
            self.accepted_again(context, name, response, way);
            return self.settle(context);
        }
        if !self.join_dialog(context, name, response, way) {
            return self.end(context, Ending::by_platform(Cause::ProtocolError, 502));
        }
        let relayed = self.exchange.as_ref().is_some_and(|exchange| exchange.from != name);
        if self.release.is_some() || !relayed {
            // It crossed our CANCEL or BYE (RFC 3261 sections 9.1 and 15.1.1).
            self.acknowledge(context, name, None);
            self.bye(context, name);
            return self.settle(context);
        }
        self.refreshed(context, name, response);
        self.stop_ringing(context, &ANSWERED_ELSEWHERE);
        let said = match body::read(response, &self.facts.rules(context)) {
            Content::Session(description) => Some(Said { description, from: source.ip() }),
            // An answer in a provisional response is repeated in the 2xx, or ought to be.
            Content::Nothing => {
                let early = self.exchange.as_ref().map(|exchange| &exchange.early);
                early.zip(tag(response)).and_then(|(early, tag)| early.of(&tag)).cloned()
            }
            Content::Unsupported | Content::Unusable(_) => None,
        };
        let Some(said) = said else {
            self.acknowledge(context, name, None);
            return self.end(context, Ending::by_platform(Cause::NotAcceptable, 488));
        };
        if self.exchange.as_ref().is_some_and(|exchange| exchange.offer.is_some()) {
            self.acknowledge(context, name, None);
            let Some(session) = self.answer_offer(context, name, &said, Finality::Final) else { return };
            self.accept_exchange(context, name.other(), &session, None);
        } else {
            let Some(session) = self.offer_late(context, name, &said) else { return };
            self.accept_exchange(context, name.other(), &session, Some(said));
        }
    }

    /// Takes the answer of a fork that has not accepted: from now on it is heard.
    fn answer_early(
        &mut self,
        context: &mut Context,
        name: LegName,
        response: &Message,
        said: &Said,
    ) -> Option<Vec<u8>> {
        let tag = tag(response)?;
        if !self.exchange.as_mut()?.early.note(&tag, said) {
            context.count(Counter::ForksNotHeard);
            return None;
        }
        self.answer_offer(context, name, said, Finality::Early)
    }

    /// Takes the answer to the offer under way to the media, and puts it into
    /// our words for the offerer. `None` when there was no offer.
    fn answer_offer(
        &mut self,
        context: &mut Context,
        name: LegName,
        said: &Said,
        finality: Finality,
    ) -> Option<Vec<u8>> {
        let exchange = self.exchange.as_ref()?;
        let offer = exchange.offer.as_ref()?;
        let offered = Word { description: offer, signalled_from: exchange.invite.source.ip() };
        let answered = Word { description: &said.description, signalled_from: said.from };
        let dscp = context.config.media.dscp;
        let outputs = self.media.agreed(name.other(), offered, answered, finality, dscp);
        let anchors = self.media.anchors(name.other(), &context.config.media);
        let session = self.legs[name.other()].speech.say(&said.description, &anchors, Some(offer));
        self.carry(context, outputs);
        self.begin_listening(context);
        Some(session)
    }

    /// Puts an offer that came in a 2xx into our words for the side that asked
    /// for it. `None` when it cannot be relayed: the call has ended.
    fn offer_late(&mut self, context: &mut Context, name: LegName, said: &Said) -> Option<Vec<u8>> {
        let ending = if !said.description.is_relayable() {
            context.refused_media(self.id, &self.legs[name].trunk_name, &said.description);
            Ending::by_platform(Cause::NotAcceptable, 488)
        } else if self.find_ports(context, &said.description) {
            let anchors = self.media.anchors(name.other(), &context.config.media);
            return Some(self.legs[name.other()].speech.say(&said.description, &anchors, None));
        } else {
            Ending::by_platform(Cause::Overload, 503)
        };
        self.acknowledge(context, name, None);
        self.end(context, ending);
        None
    }

    /// Finds ports for an offer; `false` when there are none.
    pub(super) fn find_ports(&mut self, context: &mut Context, offer: &Description) -> bool {
        let (ports, random) = (&mut context.ports, &mut context.random);
        let found =
            self.media.offered(offer, context.now.mono, |address, now| ports.draw(address, now, random));
        if found.is_err() {
            context.count(Counter::NoPorts);
        }
        found.is_ok()
    }

    /// Sends our 2xx to the side whose INVITE is being relayed, and keeps
    /// sending it until its ACK.
    pub(super) fn accept_exchange(
        &mut self,
        context: &mut Context,
        to: LegName,
        session: &[u8],
        late_offer: Option<Said>,
    ) {
        let Some(mut exchange) = self.exchange.take() else { return };
        if exchange.reliable.holds_answer() {
            exchange.reliable.hold(session, late_offer);
            self.exchange = Some(exchange);
            return;
        }
        let invite = &exchange.invite;
        let response = context
            .response(invite, 200, Some(&self.legs[to].tag))
            .record_routes_of(&invite.request)
            .contact(&self.legs[to].contact)
            .header(Name::Allow, super::context::ALLOW);
        let response = self.refreshed_by(context, to, &invite.request, response);
        let response = response.build_with_body(body::SDP, session);
        self.exchange = Some(exchange);
        if response.as_ref().is_ok_and(|response| self.leaks(context, to, response)) {
            if late_offer.is_some() {
                self.acknowledge(context, to.other(), None);
            }
            return self.end(context, Ending::LEAK);
        }
        self.talk(context, to);
        let Some(exchange) = self.exchange.take() else { return };
        self.confirm(to, &exchange.invite.request);
        let invite = &exchange.invite;
        context.index.forget_invite(invite);
        if invite.request.is_request(&Method::Update) {
            context.respond(invite.transaction, response);
            self.watch_sessions(context);
            return self.changed(context);
        }
        let Some(sent) = context.respond_and_keep(invite, response) else {
            return self.end(context, Ending::by_platform(Cause::ProtocolError, 500));
        };
        let retransmitter = SuccessRetransmitter::new(context.now.mono, sent, &context.config.sip.timers);
        context.timers.arm(self.id, Timer::Acknowledge, retransmitter.deadline());
        let retransmitter = Box::new(retransmitter);
        self.exchange = Some(Exchange { stage: Stage::Accepted { retransmitter, late_offer }, ..exchange });
        self.watch_sessions(context);
        self.changed(context);
    }

    /// The first answer of the call: from now on it is paid for.
    fn talk(&mut self, context: &mut Context, caller: LegName) {
        if self.legs[caller].answer.is_some() {
            return;
        }
        context.timers.disarm(self.id, Timer::Ring);
        let longest = self.facts.longest(context);
        context.timers.arm(self.id, Timer::MaxCall, context.now.mono + longest);
        self.legs[caller].answered(context.now, 200);
        self.begin_interim(context);
        context.count(Counter::Answered);
        context.event(Event::CallAnswered { session: self.id });
        self.begin_listening(context);
    }

    /// A failure: of the first INVITE it ends the call, of a re-INVITE it
    /// leaves everything as it was (RFC 3261 section 14.1).
    fn refused(&mut self, context: &mut Context, name: LegName, status: u16) {
        self.legs[name].inviting = None;
        self.unanswered = self.unanswered.saturating_sub(1);
        if status == 503 && self.try_elsewhere(context, name, "it says 503") {
            return;
        }
        match self.legs[name].state {
            LegState::Outgoing { .. } => {
                self.legs[name].status = Some(status);
                if self.release.is_none() {
                    self.report_challenge(context, name, status);
                }
                if self.rings_on(context, name, refusal(status).1) {
                    return;
                }
                self.leg_ended(context, name);
                if self.release.is_none() {
                    let (status, cause) = refusal(status);
                    self.end(context, Ending { side: name.into(), cause, status });
                } else {
                    self.settle(context);
                }
            }
            LegState::Confirmed(_) => match status {
                // RFC 3261 section 12.2.1.2: the dialog is gone.
                408 | 481 => {
                    self.end(context, Ending { side: name.into(), cause: Cause::Unreachable, status });
                }
                _ => self.fail_exchange(context, name.other(), refusal(status).0),
            },
            LegState::Incoming(_) | LegState::Ended(_) => self.settle(context),
        }
    }

    /// Our INVITE could not be delivered: as if 503 had come (RFC 3261 section
    /// 8.1.3.1), which the caller does not hear of.
    pub(super) fn invite_undelivered(&mut self, context: &mut Context, name: LegName) {
        self.legs[name].inviting = None;
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.try_elsewhere(context, name, "it cannot be reached") {
            return;
        }
        match self.legs[name].state {
            LegState::Outgoing { .. } => {
                if self.rings_on(context, name, Cause::Unreachable) {
                    return;
                }
                self.leg_ended(context, name);
                self.end(context, Ending { side: name.into(), cause: Cause::Unreachable, status: 500 });
            }
            // The dialog is as it was (section 12.2.1.2).
            LegState::Confirmed(_) => self.fail_exchange(context, name.other(), 500),
            LegState::Incoming(_) | LegState::Ended(_) => self.settle(context),
        }
    }

    /// Our INVITE was never answered.
    pub(super) fn invite_timed_out(&mut self, context: &mut Context, name: LegName) {
        self.legs[name].inviting = None;
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.try_elsewhere(context, name, "it does not answer INVITE") {
            return;
        }
        match self.legs[name].state {
            LegState::Outgoing { .. } => {
                if self.rings_on(context, name, Cause::Unreachable) {
                    return;
                }
                self.leg_ended(context, name);
                self.end(context, Ending { side: name.into(), cause: Cause::Unreachable, status: 504 });
            }
            LegState::Confirmed(_) => {
                self.end(context, Ending { side: name.into(), cause: Cause::Unreachable, status: 504 });
            }
            LegState::Incoming(_) | LegState::Ended(_) => self.settle(context),
        }
    }

    /// Answers a re-INVITE with a failure; the session stays as it was.
    pub(super) fn fail_exchange(&mut self, context: &mut Context, to: LegName, status: u16) {
        self.media.offer_failed();
        if self.exchange.as_ref().is_some_and(|exchange| exchange.from == to && !exchange.is_accepted())
            && let Some(exchange) = self.exchange.take()
        {
            context.index.forget_invite(&exchange.invite);
            context.answer(&exchange.invite, status, Some(&self.legs[to].tag), &[]);
        }
        self.settle(context);
        self.changed(context);
    }

    /// A trunk that asks for credentials is a matter for the operator.
    fn report_challenge(&self, context: &mut Context, name: LegName, status: u16) {
        if matches!(status, 401 | 407) {
            let trunk = self.legs[name].trunk_name.clone();
            context.event(Event::TrunkChallenged { session: self.id, trunk, status });
        }
    }
}

/// The far end's tag: which fork it is.
fn tag(response: &Message) -> Option<String> {
    response.to().ok()?.tag().map(str::to_owned)
}

/// What a caller is told of the callee's failure, and what the record says.
///
/// A redirection would show where the callee is, a challenge is for us, and a
/// 503 would make the caller's carrier stop sending other calls (RFC 3261
/// section 21.5.4).
fn refusal(status: u16) -> (u16, Cause) {
    let cause = match status {
        486 | 600 => Cause::Busy,
        603 | 607 | 608 => Cause::Declined,
        408 | 480 => Cause::NoAnswer,
        415 | 488 | 606 => Cause::NotAcceptable,
        _ => Cause::Rejected,
    };
    let told = match status {
        ..400 => 480,
        401 | 407 => 502,
        // What is between us and the callee alone.
        420..=422 | 503 => 500,
        400..700 => status,
        _ => 500,
    };
    (told, cause)
}
