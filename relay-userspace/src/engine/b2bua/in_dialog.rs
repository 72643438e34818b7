//! Requests from a far end inside its dialog: ACK, BYE, re-INVITE, OPTIONS, and
//! those that we refuse.

use super::body::{self, Content};
use super::call::{Call, Ending};
use super::context::{Context, Purpose};
use super::exchange::{Arrival, EarlyAnswers, Exchange, Said, Stage};
use super::leg::LegState;
use super::reliable::Reliable;
use super::session;
use super::timers::Timer;
use crate::engine::cdr::Cause;
use crate::engine::ids::{LegName, SessionId};
use crate::engine::media::{Finality, Word};
use crate::engine::sip::message::Message;
use crate::engine::sip::method::Method;
use crate::engine::sip::name::Name;
use crate::engine::sip::sdp::{Description, Rules, SdpError};
use crate::engine::sip::transaction::SuccessDue;

/// The body types that we take, for 415.
pub(super) const ACCEPT: &str = "application/sdp";

impl Call {
    /// A request, other than ACK and CANCEL, in leg `name`'s dialog.
    pub(super) fn requested(&mut self, context: &mut Context, name: LegName, arrival: Arrival) {
        let method = arrival.request.method();
        // Whoever learns our tag on another trunk learns nothing else.
        if arrival.trunk != self.legs[name].trunk {
            return context.answer(&arrival, 481, None, &[]);
        }
        if let Err(error) = self.judge(name, &arrival.request, arrival.way) {
            return context.answer(&arrival, error.status(), None, &[]);
        }
        match &self.legs[name].state {
            // Requests that cross our BYE find the dialog gone, but for theirs.
            LegState::Ended(_) if method == Method::Bye => return context.answer(&arrival, 200, None, &[]),
            LegState::Ended(_) => return context.answer(&arrival, 481, None, &[]),
            // The caller may give up with BYE too (RFC 3261 section 15).
            LegState::Incoming(_) if method == Method::Bye => {
                context.answer(&arrival, 200, None, &[]);
                return self.cancelled(context, name);
            }
            LegState::Incoming(_) if method == Method::Prack => return self.proven(context, name, &arrival),
            // What was offered first is to be answered first (RFC 3311 section 5.2).
            LegState::Incoming(_) if method == Method::Update => {
                if arrival.request.body().is_empty() {
                    return self.update(context, name, arrival);
                }
                return context.answer(&arrival, 500, None, &[(Name::RetryAfter, "5")]);
            }
            LegState::Incoming(_) | LegState::Outgoing { .. } => {
                let status = if is_done_in_dialogs(&method) { 481 } else { not_done(&method) };
                return context.answer(&arrival, status, None, &[]);
            }
            LegState::Confirmed(_) => {}
        }
        match method {
            Method::Bye => {
                context.answer(&arrival, 200, None, &[]);
                self.answer_open_invite(context, name);
                self.leg_ended(context, name);
                if self.exchange.as_ref().is_some_and(|exchange| exchange.from == name) {
                    // The far end hung up and never acknowledged: there is nothing left to send it.
                    self.exchange = None;
                    context.timers.disarm(self.id, Timer::Acknowledge);
                }
                self.end(context, Ending { side: name.into(), cause: Cause::Normal, status: 480 });
            }
            Method::Invite => self.reinvited(context, name, arrival),
            Method::Options => context.answer(&arrival, 200, None, &[(Name::Accept, ACCEPT)]),
            Method::Update => self.update(context, name, arrival),
            Method::Info => self.informed(context, name, arrival),
            // There is nothing of ours left to be acknowledged.
            Method::Prack => context.answer(&arrival, 481, None, &[]),
            Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Subscribe
            | Method::Notify
            | Method::Refer
            | Method::Message
            | Method::Publish
            | Method::Other(_) => context.answer(&arrival, not_done(&method), None, &[]),
        }
    }

    /// The INVITE under way was cancelled.
    pub(super) fn invite_cancelled(&mut self, context: &mut Context) {
        if let Some(name) = self.exchange.as_ref().map(|exchange| exchange.from) {
            self.cancelled(context, name);
        }
    }

    /// A far end has taken back its INVITE.
    fn cancelled(&mut self, context: &mut Context, name: LegName) {
        match self.legs[name].state {
            LegState::Incoming(_) => {
                self.end(context, Ending { side: name.into(), cause: Cause::Cancelled, status: 487 });
            }
            // A re-INVITE is cancelled on the other leg, and what that says is
            // what both legs then agree on.
            LegState::Confirmed(_) => {
                if let Some(key) = self.legs[name.other()].inviting {
                    context.cancel(key);
                }
            }
            LegState::Outgoing { .. } | LegState::Ended(_) => {}
        }
    }

    /// An UPDATE: without a description it refreshes the session, and one that changes
    /// media goes the way of a re-INVITE, which the other side always takes.
    fn update(&mut self, context: &mut Context, name: LegName, arrival: Arrival) {
        if !arrival.request.body().is_empty() {
            return self.reinvited(context, name, arrival);
        }
        if session_suits(context, &arrival) {
            self.updated(context, name, &arrival);
        }
    }

    /// A re-INVITE: relayed to the other leg unless an exchange is under way.
    fn reinvited(&mut self, context: &mut Context, name: LegName, arrival: Arrival) {
        let glare = match &self.exchange {
            // RFC 3261 section 14.2.
            Some(exchange) if exchange.from == name && !exchange.is_accepted() => Some(500),
            Some(_) => Some(491),
            None if self.is_inviting() => Some(491),
            None if self.legs[name.other()].dialog().is_none() => Some(491),
            None => None,
        };
        match glare {
            Some(500) => return context.answer(&arrival, 500, None, &[(Name::RetryAfter, "1")]),
            Some(status) => return context.answer(&arrival, status, None, &[]),
            None => {}
        }
        if !session_suits(context, &arrival) {
            return;
        }
        let offer = match offer(context, self.id, &arrival, &self.facts.rules(context)) {
            Ok(offer) => offer,
            Err(415) => return context.answer(&arrival, 415, None, &[(Name::Accept, ACCEPT)]),
            Err(status) => return context.answer(&arrival, status, None, &[]),
        };
        if let Some(offer) = &offer
            && !self.find_ports(context, offer)
        {
            self.media.offer_failed();
            self.settle(context);
            return context.answer(&arrival, 500, None, &[(Name::RetryAfter, "10")]);
        }
        let other = name.other();
        let session = offer.as_ref().map(|offer| {
            let anchors = self.media.anchors(other, &context.config.media);
            self.legs[other].speech.say(offer, &anchors, None)
        });
        context.index.invites.insert(arrival.transaction, self.id);
        self.exchange = Some(Exchange {
            from: name,
            invite: arrival,
            offer,
            early: EarlyAnswers::default(),
            reliable: Reliable::default(),
            stage: Stage::Relayed,
        });
        self.reinvite(context, other, session.as_deref());
    }

    /// Sends a re-INVITE.
    fn reinvite(&mut self, context: &mut Context, name: LegName, session: Option<&[u8]>) {
        let id = self.id;
        let Some((request, way)) = self.in_dialog(context, name, Method::Invite) else { return };
        let leg = &self.legs[name];
        let request = request.contact(&leg.contact).header(Name::Allow, super::context::ALLOW);
        let request = match leg.session.timer {
            Some(_) => leg.session.ask(request, context.config.sip.session),
            None => request,
        };
        let request = match session {
            Some(session) => request.build_with_body(body::SDP, session),
            None => request.build(),
        };
        if request.as_ref().is_ok_and(|request| self.leaks(context, name, &request.bytes)) {
            return self.end(context, Ending::LEAK);
        }
        match context.request(Purpose::Invite(id, name), request, way) {
            Some(key) => {
                self.legs[name].inviting = Some(key);
                self.unanswered += 1;
            }
            None => self.fail_exchange(context, name.other(), 500),
        }
    }

    /// The ACK of our 2xx.
    pub(super) fn acknowledged(
        &mut self,
        context: &mut Context,
        name: LegName,
        ack: &Message,
        source: std::net::SocketAddr,
    ) {
        let ours = self.exchange.as_ref().is_some_and(|exchange| {
            exchange.from == name
                && exchange.is_accepted()
                && ack.cseq().is_ok_and(|cseq| Some(cseq.number) == exchange.cseq())
        });
        if !ours {
            return self.acknowledged_after_restart(context, name, ack);
        }
        self.changed(context);
        context.timers.disarm(self.id, Timer::Acknowledge);
        let Some(exchange) = self.exchange.take() else { return };
        if self.release.is_some() {
            self.bye(context, name);
            return self.settle(context);
        }
        let late_offer = match exchange.stage {
            Stage::Accepted { late_offer, .. } => late_offer,
            Stage::Relayed => None,
        };
        let Some(offer) = late_offer else { return };
        match body::read(ack, &self.facts.rules(context)) {
            Content::Session(description) => {
                self.answer_late(context, name, &offer, &Said { description, from: source.ip() });
            }
            Content::Nothing | Content::Unsupported | Content::Unusable(_) => {
                self.acknowledge(context, name.other(), None);
                self.end(context, Ending { side: name.into(), cause: Cause::ProtocolError, status: 488 });
            }
        }
    }

    /// The answer to an offer that came in a 2xx came in the ACK.
    fn answer_late(&mut self, context: &mut Context, name: LegName, offer: &Said, answer: &Said) {
        let offerer = name.other();
        let outputs = self.media.agreed(
            offerer,
            Word { description: &offer.description, signalled_from: offer.from },
            Word { description: &answer.description, signalled_from: answer.from },
            Finality::Final,
            context.config.media.dscp,
        );
        let anchors = self.media.anchors(offerer, &context.config.media);
        let session = self.legs[offerer].speech.say(&answer.description, &anchors, Some(&offer.description));
        self.carry(context, outputs);
        self.begin_listening(context);
        if self.leaks(context, offerer, &session) {
            self.acknowledge(context, offerer, None);
            return self.end(context, Ending::LEAK);
        }
        self.acknowledge(context, offerer, Some(&session));
        self.settle(context);
    }

    /// Our 2xx still waits for its ACK.
    pub(super) fn still_unacknowledged(&mut self, context: &mut Context) {
        let Some(exchange) = &mut self.exchange else { return self.resend(context) };
        let from = exchange.from;
        let Stage::Accepted { retransmitter, .. } = &mut exchange.stage else { return };
        match retransmitter.expire(context.now.mono) {
            SuccessDue::GiveUp => {
                let late = match self.exchange.take().map(|exchange| exchange.stage) {
                    Some(Stage::Accepted { late_offer, .. }) => late_offer.is_some(),
                    Some(Stage::Relayed) | None => false,
                };
                if late {
                    self.acknowledge(context, from.other(), None);
                }
                if self.release.is_some() {
                    self.bye(context, from);
                    return self.settle(context);
                }
                return self
                    .end(context, Ending { side: from.into(), cause: Cause::ProtocolError, status: 408 });
            }
            SuccessDue::Resend(response) => context.send(response.way, response.bytes),
            SuccessDue::Wait => {}
        }
        let at = retransmitter.deadline();
        context.timers.arm(self.id, Timer::Acknowledge, at);
    }

    /// Our BYE was answered, or never will be.
    pub(super) fn bye_done(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }
}

/// Whether the session timer that a request asks for can be; otherwise it is answered.
fn session_suits(context: &mut Context, arrival: &Arrival) -> bool {
    let Some((status, more)) = session::objection(&arrival.request, context.config.sip.session) else {
        return true;
    };
    let more = more.as_ref().map(|(name, value)| (*name, value.as_str()));
    context.answer(arrival, status, None, more.as_slice());
    false
}

/// The offer of an INVITE that may have none, or the status that refuses it.
pub(super) fn offer(
    context: &mut Context,
    call: SessionId,
    arrival: &Arrival,
    rules: &Rules,
) -> Result<Option<Description>, u16> {
    match body::read(&arrival.request, rules) {
        Content::Nothing => Ok(None),
        Content::Session(description) if description.is_relayable() => Ok(Some(description)),
        Content::Session(description) => {
            let trunk = context.trunk_name(arrival.trunk).to_owned();
            context.refused_media(call, &trunk, &description);
            Err(488)
        }
        // A host name for an address is sound, but we do not resolve it.
        Content::Unusable(SdpError::TooMany | SdpError::Malformed('c')) => Err(488),
        Content::Unusable(SdpError::Malformed(_)) => Err(400),
        Content::Unsupported => Err(415),
    }
}

/// The status for a method that we do not do.
pub(super) fn not_done(method: &Method) -> u16 {
    match method {
        Method::Other(_) => 501,
        Method::Invite
        | Method::Ack
        | Method::Bye
        | Method::Cancel
        | Method::Options
        | Method::Register
        | Method::Info
        | Method::Prack
        | Method::Update
        | Method::Subscribe
        | Method::Notify
        | Method::Refer
        | Method::Message
        | Method::Publish => 405,
    }
}

fn is_done_in_dialogs(method: &Method) -> bool {
    matches!(
        method,
        Method::Invite | Method::Bye | Method::Options | Method::Update | Method::Prack | Method::Info
    )
}
