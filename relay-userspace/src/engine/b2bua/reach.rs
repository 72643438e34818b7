//! Which target of a trunk a call goes to, what happens when that fails, and how
//! targets are asked whether they are there.
//!
//! A callee's INVITE goes to one target after another until one says something (RFC
//! 3263 section 4.3): the next one is tried when a target cannot be reached, says 503,
//! or says nothing for a while. Once a target has said that the callee is being sought
//! in earnest (a provisional response other than 100) the call is its own: the caller
//! has heard of it. What is tried is the same INVITE, with the same Call-ID, tag and
//! number, in a transaction of its own.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::call::{Call, Ending};
use super::context::{Context, Purpose};
use super::leg::{Leg, LegState};
use super::plan::Invitation;
use super::timers::Timer;
use crate::engine::cdr::Cause;
use crate::engine::config::TrunkId;
use crate::engine::counters::Counter;
use crate::engine::event::Event;
use crate::engine::ids::LegName;
use crate::engine::sip::build::RequestBuilder;
use crate::engine::sip::method::Method;
use crate::engine::sip::name::Name;
use crate::engine::sip::transport::{SentBy, Way};
use crate::engine::sip::uri::Uri;
use crate::engine::targets::Turn;
use crate::engine::time::Instant;

/// What a target that is too busy says, and what stands for one that is not there.
const UNAVAILABLE: u16 = 503;

/// What it takes to call a far end at another target.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) invitation: Invitation,
    /// Targets that are still to be tried.
    others: VecDeque<SocketAddr>,
    /// When the next one is tried, if nobody says anything until then.
    deadline: Option<Instant>,
}

/// Chooses the target that a leg's INVITE goes to.
pub(super) fn aim(context: &mut Context, leg: &mut Leg, mut invitation: Invitation) {
    let mut others = context.targets(leg.trunk);
    if let Some(first) = others.pop_front() {
        invitation.move_to(leg.peer, first);
        leg.peer = first;
    }
    leg.attempt = Some(Box::new(Attempt { invitation, others, deadline: None }));
}

impl Call {
    /// Calls the far end at the next target, after the one before has failed with this
    /// problem. `false` when there is none, or it is too late for that.
    pub(super) fn try_elsewhere(&mut self, context: &mut Context, name: LegName, problem: &str) -> bool {
        let leg = &mut self.legs[name];
        if !matches!(leg.state, LegState::Outgoing { .. }) {
            return false;
        }
        let (trunk, from) = (leg.trunk, leg.peer);
        context.target_failed((trunk, from), problem);
        if self.release.is_some() {
            return false;
        }
        let Some(attempt) = &mut leg.attempt else { return false };
        let Some(to) = attempt.others.pop_front() else { return false };
        attempt.invitation.move_to(from, to);
        leg.peer = to;
        context.count(Counter::Failovers);
        let trunk = context.trunk_name(trunk).to_owned();
        context.event(Event::FailedOver { session: self.id, trunk, from, to });
        self.media.answerer_moves(name, to.ip());
        self.call_target(context, name);
        true
    }

    /// An INVITE has left: its target is waited for as long as there is another one.
    pub(super) fn watch_target(&mut self, context: &mut Context, name: LegName) {
        let Some(attempt) = &mut self.legs[name].attempt else { return };
        let until = context.now.mono + context.config.sip.failover_after;
        attempt.deadline = (!attempt.others.is_empty()).then_some(until);
        self.arm_targets(context, name);
    }

    fn arm_targets(&self, context: &mut Context, name: LegName) {
        let deadlines = self.callees(name).filter_map(|leg| leg.attempt.as_ref()?.deadline);
        match deadlines.min() {
            Some(at) => context.timers.arm(self.id, Timer::Target, at),
            None => context.timers.disarm(self.id, Timer::Target),
        }
    }

    /// Targets have said nothing at all for too long: their transactions are left to end
    /// by themselves, and whoever answers late is dismissed.
    pub(super) fn targets_silent(&mut self, context: &mut Context) {
        let (name, now) = (self.facts.caller.other(), context.now.mono);
        let is_due = |leg: &&Leg| {
            leg.attempt.as_ref().and_then(|attempt| attempt.deadline).is_some_and(|at| at <= now)
        };
        loop {
            let due = self.callees(name).find(is_due).and_then(|leg| leg.inviting);
            let Some(key) = due else { break };
            self.bring_forward(name, key);
            self.legs[name].inviting = None;
            context.index.requests.remove(&key);
            context.cancel(key);
            self.unanswered = self.unanswered.saturating_sub(1);
            if !self.try_elsewhere(context, name, "it does not answer INVITE") {
                return self
                    .end(context, Ending { side: name.into(), cause: Cause::Unreachable, status: 504 });
            }
        }
        self.arm_targets(context, name);
    }

    /// A target has said something.
    pub(super) fn target_spoke(&mut self, context: &mut Context, name: LegName, status: u16) {
        let leg = &mut self.legs[name];
        if !matches!(leg.state, LegState::Outgoing { .. }) {
            return;
        }
        if (101..300).contains(&status) {
            leg.attempt = None;
        } else if let Some(attempt) = &mut leg.attempt {
            attempt.deadline = None;
        }
        if status != UNAVAILABLE {
            let target = (leg.trunk, leg.peer);
            context.target_answered(target);
        }
    }
}

impl Invitation {
    /// Names another target where the one before was named.
    fn move_to(&mut self, from: SocketAddr, to: SocketAddr) {
        let text = self.target.as_str().replacen(&from.to_string(), &to.to_string(), 1);
        if let Ok(target) = Uri::parse(&text) {
            self.target = target;
        }
    }
}

impl Context {
    /// The targets of a trunk in the order in which they are tried.
    pub(super) fn targets(&mut self, trunk: TrunkId) -> VecDeque<SocketAddr> {
        self.reachability.order(&self.config, trunk, &mut self.random).into()
    }

    /// A target has failed.
    pub(super) fn target_failed(&mut self, key: (TrunkId, SocketAddr), problem: &str) {
        let turn = self.reachability.failed(&self.config, self.now, key, problem);
        self.target_turned(key, turn, problem);
    }

    /// A target is there.
    pub(super) fn target_answered(&mut self, key: (TrunkId, SocketAddr)) {
        let turn = self.reachability.answered(&self.config, self.now, key);
        self.target_turned(key, turn, "");
    }

    fn target_turned(&mut self, (trunk, target): (TrunkId, SocketAddr), turn: Turn, problem: &str) {
        let trunk = self.trunk_name(trunk).to_owned();
        match turn {
            Turn::None => {}
            Turn::Up => self.event(Event::TargetUp { trunk, target }),
            Turn::Down => self.event(Event::TargetDown { trunk, target, problem: problem.to_owned() }),
        }
    }

    /// Asks every target that is due whether it is there.
    pub(super) fn probe_targets(&mut self) {
        while let Some(key) = self.reachability.pop(&self.config, self.now) {
            let Some((request, way)) = self.probe(key) else { continue };
            self.count(Counter::Probes);
            self.request(Purpose::Probe(key), request.build(), way);
        }
    }

    fn probe(&mut self, (trunk, target): (TrunkId, SocketAddr)) -> Option<(RequestBuilder, Way)> {
        let [branch, tag, call_id] = std::array::from_fn(|_| self.token());
        let trunk = self.trunk(trunk)?;
        let listen = self.listen(trunk)?;
        let there = Uri::reached_at(None, SentBy { transport: trunk.transport, address: target }, false);
        let here = Uri::reached_at(None, listen.sent_by(), false);
        let request = RequestBuilder::new(Method::Options, &there, listen.sent_by(), &branch)
            .max_forwards(70)
            .from(None, &here, &tag)
            .to(None, &there, None)
            .call_id(&call_id)
            .cseq(1)
            .contact(&here)
            .header(Name::Accept, super::in_dialog::ACCEPT)
            .header(Name::UserAgent, &self.config.sip.product);
        Some((
            request,
            Way { transport: listen.transport, local: listen.local, remote: target, otherwise: None },
        ))
    }

    /// A target has answered a probe.
    pub(super) fn probed(&mut self, key: (TrunkId, SocketAddr), status: u16) {
        if status == UNAVAILABLE {
            self.target_failed(key, "it says 503 to OPTIONS");
        } else {
            self.target_answered(key);
        }
    }
}
