//! Calls as operators may see them, and what they may do to them.

use super::call::{Call, Ending};
use super::context::Context;
use super::{Calls, Taking};
use crate::engine::admin::{AdminReply, CallView, FlowView, Refusal, RefusalKind};
use crate::engine::cdr::Cause;
use crate::engine::ids::SessionId;

impl Calls {
    /// Every call, in the order of session ids.
    pub(in crate::engine) fn list(&self) -> AdminReply {
        AdminReply::Calls(self.all.values().map(view).collect())
    }

    /// One call.
    pub(in crate::engine) fn show(&self, id: SessionId) -> AdminReply {
        match self.all.get(&id) {
            Some(call) => AdminReply::Call(view(call)),
            None => no_such_call(id),
        }
    }

    /// Every trunk, with the health of its targets.
    pub(in crate::engine) fn trunks(&self, context: &Context) -> AdminReply {
        let legs = |trunk| {
            let legs = self.all.values().flat_map(|call| [&call.legs.a, &call.legs.b]);
            legs.filter(|leg| leg.trunk == trunk && !leg.has_ended()).count()
        };
        AdminReply::Trunks(context.reachability.view(&context.config, legs))
    }

    /// Takes no new calls, or takes them again.
    pub(in crate::engine) fn drain(&mut self, on: bool) -> AdminReply {
        self.taking = match (self.taking, on) {
            (Taking::None, _) => Taking::None,
            (Taking::All | Taking::Emergencies, true) => Taking::Emergencies,
            (Taking::All | Taking::Emergencies, false) => Taking::All,
        };
        AdminReply::Drain { on: self.taking != Taking::All, calls: self.len() }
    }

    /// Whether new calls are refused for maintenance.
    pub(in crate::engine) fn is_draining(&self) -> bool {
        self.taking == Taking::Emergencies
    }

    /// Hangs up on both sides.
    pub(in crate::engine) fn hang_up_by_operator(
        &mut self,
        context: &mut Context,
        id: SessionId,
    ) -> AdminReply {
        if self.hang_up(context, id, Ending::by_platform(Cause::Operator, 480)) {
            AdminReply::HungUp(id)
        } else {
            no_such_call(id)
        }
    }
}

fn view(call: &Call) -> CallView {
    let state = if call.release.is_some() {
        "ending"
    } else if call.is_answered() {
        "answered"
    } else {
        "ringing"
    };
    let flows = call.media.flows().map(|flow| FlowView {
        leg: flow.spec.owner.leg,
        content: flow.spec.content.as_str().to_owned(),
        codec: flow.codec,
        local: flow.spec.local,
        stats: None,
        mos: None,
    });
    let (path, slow_because) = call.media_path();
    CallView {
        session: call.id,
        binding: call.facts.binding,
        caller: call.facts.caller,
        state: state.to_owned(),
        start: call.legs[call.facts.caller].start,
        answer: call.legs[call.facts.caller].answer,
        emergency: call.facts.emergency,
        path,
        slow_because,
        legs: [&call.legs.a, &call.legs.b].map(|leg| leg.view(call.media.silent()[leg.name])).into(),
        flows: flows.collect(),
    }
}

fn no_such_call(id: SessionId) -> AdminReply {
    AdminReply::Refused(Refusal {
        kind: RefusalKind::NotFound,
        what: format!("no call {id} is in progress"),
        remedy: "list the calls in progress with `vizard calls list`".to_owned(),
    })
}
