//! Provisional responses that must arrive (RFC 3262), on both legs.
//!
//! What a callee sends reliably gets its PRACK at once and in order, in the early
//! dialog of the fork that it came from; what comes again or out of order is passed
//! over. We ask for it only with an offer of ours in the INVITE, so that a PRACK never
//! owes an answer.
//!
//! What a caller is sent reliably waits for its PRACK: everything, where the caller
//! insists on that, and otherwise what carries early media. One is under way at a time,
//! later ones queue behind it, and an answer waits until the caller has the description
//! that it got early (section 3). A caller that never says PRACK is refused with 504.

use std::collections::VecDeque;

use super::body;
use super::call::{Call, Ending};
use super::context::{Context, Purpose};
use super::dialogs;
use super::exchange::{Arrival, Said};
use super::leg::LegState;
use super::timers::Timer;
use crate::engine::cdr::Cause;
use crate::engine::counters::Counter;
use crate::engine::ids::LegName;
use crate::engine::sip::dialog::Dialog;
use crate::engine::sip::message::Message;
use crate::engine::sip::method::Method;
use crate::engine::sip::name::Name;
use crate::engine::sip::rack::{RAck, rseq};
use crate::engine::sip::session_timer::supports;
use crate::engine::sip::transaction::{SuccessDue, SuccessRetransmitter};

/// The option tag.
pub(super) const RELIABLE: &str = "100rel";
/// Forks that may have an early dialog, and responses that may wait for one.
const MOST: usize = 16;

/// An early dialog in which a callee was heard reliably.
#[derive(Debug)]
pub(super) struct EarlyDialog {
    pub(super) dialog: Dialog,
    /// The number of its last response.
    rseq: u32,
}

/// What a caller is sent reliably.
#[derive(Debug, Default)]
pub(super) struct Reliable {
    /// The number of the last one.
    last: u32,
    waiting: Option<Unproven>,
    queued: VecDeque<(u16, Option<Vec<u8>>)>,
    /// Our 2xx, once it may be sent: its description, and the offer that it is.
    accept: Option<(Vec<u8>, Option<Said>)>,
}

/// A response that waits for its PRACK.
#[derive(Debug)]
struct Unproven {
    retransmitter: SuccessRetransmitter,
    describes: bool,
}

impl Reliable {
    /// Whether an answer has to wait.
    pub(super) fn holds_answer(&self) -> bool {
        let describes = |waiting: &Unproven| waiting.describes;
        self.waiting.as_ref().is_some_and(describes) || self.queued.iter().any(|(_, said)| said.is_some())
    }

    /// Lets an answer wait.
    pub(super) fn hold(&mut self, session: &[u8], late_offer: Option<Said>) {
        self.accept = Some((session.to_owned(), late_offer));
    }
}

/// Whether a provisional response is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    New,
    /// It was before, or one before it is missing.
    Old,
}

impl Call {
    /// Acknowledges a provisional response to our first INVITE, if it asks for that.
    pub(super) fn prove(&mut self, context: &mut Context, name: LegName, response: &Message) -> Novelty {
        let required = response.list(Name::Require).any(|option| option.eq_ignore_ascii_case(RELIABLE));
        let Some(number) = rseq(response).ok().flatten().filter(|_| required) else { return Novelty::New };
        let branch = context.token();
        let leg = &mut self.legs[name];
        let LegState::Outgoing { initiator, .. } = &leg.state else { return Novelty::New };
        let Ok(fresh) = Dialog::uac(initiator, response) else { return Novelty::New };
        let known = leg.early.iter().position(|early| early.dialog.id() == fresh.id());
        let at = known.unwrap_or(leg.early.len());
        if at == MOST {
            return Novelty::Old;
        }
        if known.is_none() {
            leg.early.push(EarlyDialog { dialog: fresh, rseq: number.saturating_sub(1) });
        }
        let Some(early) = leg.early.get_mut(at).filter(|early| early.rseq.checked_add(1) == Some(number))
        else {
            return Novelty::Old;
        };
        early.rseq = number;
        let rack = RAck { rseq: number, cseq: leg.invite_cseq, method: Method::Invite };
        let request = early.dialog.request(Method::Prack, leg.sent_by, &branch);
        let dialog = &early.dialog;
        let way = dialogs::next_hop(context, leg.trunk, (leg.local, leg.sent_by.transport), dialog, leg.peer);
        let request = dialogs::with_product(context, request).header(Name::RAck, &rack.text()).build();
        let sent = context.request(Purpose::Prack(self.id), request, way);
        self.unanswered += usize::from(sent.is_some());
        Novelty::New
    }

    /// Sends a provisional response to the caller.
    pub(super) fn announce(
        &mut self,
        context: &mut Context,
        caller: LegName,
        status: u16,
        session: Option<Vec<u8>>,
    ) {
        let Some(exchange) = &mut self.exchange else { return };
        let invite = &exchange.invite;
        let required = invite.request.list(Name::Require).any(|option| option.eq_ignore_ascii_case(RELIABLE));
        let reliably = required || (session.is_some() && supports(&invite.request, RELIABLE));
        if reliably && exchange.reliable.waiting.is_some() {
            if exchange.reliable.queued.len() < MOST {
                exchange.reliable.queued.push_back((status, session));
            }
            return;
        }
        let leg = &self.legs[caller];
        let response = context
            .response(invite, status, Some(&leg.tag))
            .record_routes_of(&invite.request)
            .contact(&leg.contact)
            .header(Name::Allow, super::context::ALLOW);
        let number = exchange.reliable.last + 1;
        let response = if reliably {
            response.header(Name::Require, RELIABLE).header(Name::RSeq, &number.to_string())
        } else {
            response
        };
        let bytes = match &session {
            Some(session) => response.build_with_body(body::SDP, session),
            None => response.build(),
        };
        if bytes.as_ref().is_ok_and(|bytes| self.leaks(context, caller, bytes)) {
            return self.end(context, Ending::LEAK);
        }
        let Some(exchange) = &mut self.exchange else { return };
        let Some(sent) = context.respond_and_keep(&exchange.invite, bytes) else { return };
        self.legs[caller].rings(context.now);
        if reliably {
            let retransmitter = SuccessRetransmitter::new(context.now.mono, sent, &context.config.sip.timers);
            context.timers.arm(self.id, Timer::Provisional, retransmitter.deadline());
            exchange.reliable.last = number;
            exchange.reliable.waiting = Some(Unproven { retransmitter, describes: session.is_some() });
        }
    }

    /// A caller says that it has a provisional response.
    pub(super) fn proven(&mut self, context: &mut Context, name: LegName, arrival: &Arrival) {
        let rack = RAck::of(&arrival.request);
        let found = self.exchange.as_mut().filter(|exchange| {
            exchange.from == name
                && rack.as_ref().is_ok_and(|rack| {
                    rack.rseq == exchange.reliable.last
                        && Some(rack.cseq) == exchange.cseq()
                        && rack.method == Method::Invite
                })
        });
        let Some(exchange) = found.filter(|exchange| exchange.reliable.waiting.is_some()) else {
            let status = if rack.is_ok() { 481 } else { 400 };
            return context.answer(arrival, status, None, &[]);
        };
        // An offer here would have to be answered by the callee first.
        if !arrival.request.body().is_empty() {
            return context.answer(arrival, 488, None, &[]);
        }
        exchange.reliable.waiting = None;
        let next = exchange.reliable.queued.pop_front();
        context.timers.disarm(self.id, Timer::Provisional);
        context.answer(arrival, 200, None, &[]);
        if let Some((status, session)) = next {
            self.announce(context, name, status, session);
        }
        let Some(exchange) = &mut self.exchange else { return };
        if !exchange.reliable.holds_answer()
            && let Some((session, late_offer)) = exchange.reliable.accept.take()
        {
            self.accept_exchange(context, name, &session, late_offer);
        }
    }

    /// A provisional response of ours still waits for its PRACK.
    pub(super) fn still_unproven(&mut self, context: &mut Context) {
        let Some(exchange) = &mut self.exchange else { return };
        let from = exchange.from;
        let Some(waiting) = &mut exchange.reliable.waiting else { return };
        match waiting.retransmitter.expire(context.now.mono) {
            SuccessDue::GiveUp => {
                context.count(Counter::Unproven);
                return self
                    .end(context, Ending { side: from.into(), cause: Cause::ProtocolError, status: 504 });
            }
            SuccessDue::Resend(response) => context.send(response.way, response.bytes),
            SuccessDue::Wait => {}
        }
        context.timers.arm(self.id, Timer::Provisional, waiting.retransmitter.deadline());
    }

    /// A PRACK of ours was answered, or never will be: the callee goes on either way.
    pub(super) fn prack_done(&mut self, context: &mut Context) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.settle(context);
    }
}
