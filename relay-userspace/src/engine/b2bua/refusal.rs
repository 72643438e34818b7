//! Calls that end before there is a second leg.
//!
//! The caller gets a clear final response, with a cause that telephone networks
//! understand (RFC 3326, ITU-T Q.850); the operator gets a count, an event and
//! a record. What a full engine refuses is counted and no more, or the flood
//! that filled it would fill the store as well.

use super::context::Context;
use super::exchange::Arrival;
use crate::engine::cdr::{Cause, Cdr, Direction, LegMedia, Release, ReleaseSide, Traffic};
use crate::engine::counters::Counter;
use crate::engine::event::Event;
use crate::engine::ids::{BindingId, LegName, RecordId, SessionId};
use crate::engine::number::ProxyNumber;
use crate::engine::policy::Rejection;
use crate::engine::sip::name::Name;

/// Why a call is refused.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: u16,
    cause: Cause,
    proxy: Option<ProxyNumber>,
    binding: Option<BindingId>,
    caller: LegName,
    emergency: bool,
    more: Option<(Name, String)>,
    is_recorded: bool,
}

impl Refusal {
    /// For a reason that no binding is known for.
    pub(super) const fn new(status: u16, cause: Cause) -> Self {
        Self {
            status,
            cause,
            proxy: None,
            binding: None,
            caller: LegName::A,
            emergency: false,
            more: None,
            is_recorded: true,
        }
    }

    /// A limit of ours is reached.
    pub(super) fn full() -> Self {
        Self { is_recorded: false, ..Self::new(503, Cause::Overload) }
    }

    /// As the policy says.
    pub(super) fn by_policy(rejection: &Rejection) -> Self {
        let Rejection { status, cause, proxy, binding, caller } = *rejection;
        Self { proxy, binding, caller, ..Self::new(status, cause) }
    }

    /// Of a call by `caller` on a binding.
    pub(super) fn on(self, caller: LegName, binding: Option<BindingId>, proxy: Option<ProxyNumber>) -> Self {
        Self { proxy, binding, caller, ..self }
    }

    /// Of an emergency call.
    pub(super) fn emergency(self) -> Self {
        Self { emergency: true, ..self }
    }

    /// With one more header field in the response.
    pub(super) fn with(self, name: Name, value: String) -> Self {
        Self { more: Some((name, value)), ..self }
    }
}

/// Refuses a call.
pub(super) fn refuse(context: &mut Context, id: SessionId, tag: &str, arrival: &Arrival, refusal: Refusal) {
    let Refusal { status, cause, proxy, binding, caller, emergency, more, is_recorded } = refusal;
    let reason = format!("Q.850;cause={}", cause.q850());
    let mut fields = vec![(Name::Reason, reason.as_str())];
    fields.extend(more.as_ref().map(|(name, value)| (*name, value.as_str())));
    context.answer(arrival, status, Some(tag), &fields);
    context.count(if is_recorded { Counter::Refused } else { Counter::Overload });
    if !is_recorded {
        return;
    }
    let trunk = context.trunk_name(arrival.trunk).to_owned();
    context.event(Event::CallRefused { session: id, trunk: trunk.clone(), cause, status });
    let owner = binding.and_then(|binding| context.directory.binding(binding));
    let labels = binding.and_then(|binding| context.directory.labels(binding));
    let (tenant, project) = owner.map_or_else(Default::default, |owner| (owner.tenant, owner.project));
    let record = Cdr {
        id: RecordId::of(id, caller, 0),
        version: 0,
        interim: None,
        session: id,
        leg: caller,
        fork: 0,
        binding,
        tenant,
        project,
        labels: labels.unwrap_or_default(),
        direction: Direction::Inbound,
        proxy,
        remote_country: None,
        remote_area: None,
        trunk,
        start: context.now.wall,
        ring: None,
        answer: None,
        end: context.now.wall,
        duration_us: 0,
        billable_seconds: 0,
        cost: None,
        price: None,
        received: Traffic::default(),
        sent: Traffic::default(),
        media: LegMedia::default(),
        release: Release { side: ReleaseSide::Platform, cause, sip_status: Some(status) },
        emergency,
        diversion: None,
        recording: None,
        attestation: None,
    };
    let output = context.records.write([record], None, None);
    context.outputs.push_back(output);
}
