//! A callee with several addresses: which of them rings, and which of them the call
//! is with.
//!
//! Those that ring at the same time get one offer, as the forks of a proxy would, and
//! are [`Leg`]s beside the call's own. Whichever is heard of comes forward and is the
//! call's leg from then on; when one accepts, the others are cancelled. One that fails
//! is dropped while others ring. When the last has failed, or has rung for its share of
//! the time, the next group rings, over another media address if it has to. A callee
//! who declines for every device (6xx) is not asked again. Each of them has its own
//! record.

use std::time::Duration;

use super::call::Call;
use super::cdr;
use super::context::Context;
use super::leg::{Leg, LegState};
use super::plan::{Invitation, More, Party, Target};
use super::reach;
use crate::engine::cdr::{Cause, Release, ReleaseSide};
use crate::engine::ids::LegName;
use crate::engine::media::Side;
use crate::engine::sip::dialog::Initiator;
use crate::engine::sip::transaction::ClientKey;

/// Where else the callee of a call may be.
#[derive(Debug, Default)]
pub(super) struct Ringing {
    /// What rings beside the call's own leg.
    beside: Vec<Leg>,
    /// What rings next.
    more: More,
    /// How long one group rings; as long as anybody does when absent.
    share: Option<Duration>,
    /// How many have rung and did not get the call.
    missed: u8,
}

impl Ringing {
    pub(super) fn new(more: More, whole: Duration) -> Self {
        let groups = u32::try_from(more.after.len()).unwrap_or(u32::MAX).saturating_add(1);
        let share = (groups > 1).then(|| whole / groups);
        Self { more, share, ..Self::default() }
    }
}

/// The leg of an address that is about to be invited.
pub(super) fn outgoing(
    context: &mut Context,
    name: LegName,
    party: Party,
    invitation: Invitation,
) -> Option<Leg> {
    let initiator = Initiator {
        call_id: context.token(),
        local_tag: context.token(),
        local_uri: invitation.from.clone(),
        remote_uri: invitation.to.clone(),
        cseq: 1,
    };
    let mut leg = Leg::outgoing(context, name, party, initiator)?;
    reach::aim(context, &mut leg, invitation);
    Some(leg)
}

impl Call {
    /// How long those that ring now may.
    pub(super) fn ring_time(&self, context: &Context) -> Duration {
        self.ringing.share.unwrap_or(context.config.sip.ring_timeout)
    }

    /// Invites what rings at the same time as the call's first address.
    pub(super) fn ring_beside(&mut self, context: &mut Context, name: LegName) {
        let beside = std::mem::take(&mut self.ringing.more.beside);
        for target in beside {
            self.ring(context, name, target, None);
        }
    }

    /// Invites another address; what rang before goes on beside it, or has ended as
    /// `instead` says.
    fn ring(
        &mut self,
        context: &mut Context,
        name: LegName,
        target: Target,
        instead: Option<&Release>,
    ) -> bool {
        if self.release.is_some() {
            return false;
        }
        let Target { party, invitation } = target;
        let Some(leg) = outgoing(context, name, party, invitation) else { return false };
        if instead.is_some() && !self.turn(context, &leg) {
            return false;
        }
        context.index.tags.insert(leg.tag.clone(), (self.id, name));
        let before = std::mem::replace(&mut self.legs[name], leg);
        match instead {
            Some(release) => self.missed(context, &before, release),
            None => self.ringing.beside.push(before),
        }
        self.invite_callee(context, name);
        true
    }

    /// Lets the media of a leg that nobody has answered lead to another address.
    fn turn(&mut self, context: &mut Context, leg: &Leg) -> bool {
        let Some(trunk) = context.trunk(leg.trunk) else { return false };
        let side = Side { address: trunk.media, source: trunk.media_source };
        let (agent, dscp, now) = (context.ice_agent(leg.trunk), context.config.media.dscp, context.now.mono);
        let (ports, random) = (&mut context.ports, &mut context.random);
        let draw = |address, now| ports.draw(address, now, random);
        let Ok(outputs) = self.media.turn(leg.name, side, agent, (now, dscp), draw) else { return false };
        self.carry(context, outputs);
        true
    }

    /// Everybody who is being invited.
    pub(super) fn callees(&self, name: LegName) -> impl Iterator<Item = &Leg> {
        std::iter::once(&self.legs[name]).chain(&self.ringing.beside)
    }

    /// A response is about the leg that it came for.
    pub(super) fn bring_forward(&mut self, name: LegName, key: ClientKey) {
        if self.legs[name].inviting == Some(key) {
            return;
        }
        let at = self.ringing.beside.iter().position(|leg| leg.inviting == Some(key));
        if let Some(leg) = at.and_then(|at| self.ringing.beside.get_mut(at)) {
            std::mem::swap(&mut self.legs[name], leg);
        }
    }

    /// Whether somebody else rings, now that this address has failed.
    pub(super) fn rings_on(&mut self, context: &mut Context, name: LegName, cause: Cause) -> bool {
        let for_all = self.legs[name].status.is_some_and(|status| status >= 600);
        if self.release.is_some() || for_all {
            return false;
        }
        let release = Release { side: name.into(), cause, sip_status: None };
        if let Some(leg) = self.ringing.beside.pop() {
            let failed = std::mem::replace(&mut self.legs[name], leg);
            self.missed(context, &failed, &release);
            return true;
        }
        self.ring_next(context, name, &release)
    }

    /// Those that ring have had their time. `false` when there is nobody else.
    pub(super) fn rang_in_vain(&mut self, context: &mut Context) -> bool {
        let name = self.facts.caller.other();
        let rings = matches!(self.legs[name].state, LegState::Outgoing { .. });
        if self.release.is_some() || !rings || self.ringing.more.after.is_empty() {
            return false;
        }
        let release = Release { side: ReleaseSide::Platform, cause: Cause::NoAnswer, sip_status: None };
        self.let_others_go(context, &release);
        let key = self.legs[name].inviting.take();
        self.let_go(context, key, release.cause);
        self.ring_next(context, name, &release)
    }

    fn ring_next(&mut self, context: &mut Context, name: LegName, release: &Release) -> bool {
        while let Some(group) = self.ringing.more.after.pop_front() {
            if let Some(exchange) = &mut self.exchange {
                exchange.early = super::exchange::EarlyAnswers::default();
            }
            let mut rings = false;
            for target in group {
                rings |= self.ring(context, name, target, (!rings).then_some(release));
            }
            if rings {
                self.changed(context);
                return true;
            }
        }
        false
    }

    /// Cancels what rings beside the call's leg.
    fn let_others_go(&mut self, context: &mut Context, release: &Release) {
        for leg in std::mem::take(&mut self.ringing.beside) {
            self.let_go(context, leg.inviting, release.cause);
            self.missed(context, &leg, release);
        }
    }

    /// Nobody else is to ring.
    pub(super) fn stop_ringing(&mut self, context: &mut Context, release: &Release) {
        self.ringing.more = More::default();
        self.let_others_go(context, release);
    }

    /// An address that rang did not get the call.
    fn missed(&mut self, context: &mut Context, leg: &Leg, release: &Release) {
        context.index.tags.remove(&leg.tag);
        self.ringing.missed = self.ringing.missed.saturating_add(1);
        let record = cdr::of_fork(context, self, (leg, self.ringing.missed), release);
        let output = context.records.write([record], None, None);
        context.outputs.push_back(output);
    }

    /// Takes an INVITE back: what its far end still says is nobody's any more. A 2xx
    /// that crosses the CANCEL is acknowledged and hung up.
    fn let_go(&mut self, context: &mut Context, key: Option<ClientKey>, because: Cause) {
        if let Some(key) = key {
            context.index.requests.remove(&key);
            if because == Cause::AnsweredElsewhere {
                context.cancel_answered(key);
            } else {
                context.cancel(key);
            }
            self.unanswered = self.unanswered.saturating_sub(1);
        }
    }
}
