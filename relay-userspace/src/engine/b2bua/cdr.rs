//! What the records of a call say.

use std::time::Duration;

use super::call::Call;
use super::context::Context;
use super::leg::{Leg, LegState};
use crate::engine::by_leg::ByLeg;
use crate::engine::cdr::{Cause, Cdr, LegMedia, Release, ReleaseSide, Traffic};
use crate::engine::ids::RecordId;
use crate::engine::media::Received;

/// The record of each leg of a call that is over.
pub(super) fn of_call(context: &Context, call: &Call, release: &Release) -> [Cdr; 2] {
    of_both(context, call, release, *call.media.received())
}

/// What the record of each leg would say if the call ended now: the `number`th of its
/// interim records.
pub(super) fn so_far(context: &Context, call: &Call, number: u32) -> [Cdr; 2] {
    let release = Release { side: ReleaseSide::Platform, cause: Cause::InProgress, sip_status: None };
    let records = of_both(context, call, &release, call.media.received_so_far());
    records.map(|record| Cdr { interim: Some(number), ..record })
}

fn of_both(context: &Context, call: &Call, release: &Release, received: ByLeg<Received>) -> [Cdr; 2] {
    [
        of_leg(context, call, &call.legs.a, release, received.a, received.b.traffic),
        of_leg(context, call, &call.legs.b, release, received.b, received.a.traffic),
    ]
}

/// The record of an address that rang and did not get the call.
pub(super) fn of_fork(context: &Context, call: &Call, (leg, fork): (&Leg, u8), release: &Release) -> Cdr {
    let record = of_leg(context, call, leg, release, Received::default(), Traffic::default());
    Cdr { id: RecordId::of(call.id, leg.name, fork), fork, media: LegMedia::default(), ..record }
}

fn of_leg(
    context: &Context,
    call: &Call,
    leg: &Leg,
    release: &Release,
    received: Received,
    sent: Traffic,
) -> Cdr {
    let end = match leg.state {
        LegState::Ended(end) => end,
        LegState::Incoming(_) | LegState::Outgoing { .. } | LegState::Confirmed(_) => context.now.wall,
    };
    let labels = call.facts.binding.and_then(|binding| context.directory.labels(binding));
    let (path, slow_because) = call.media_path();
    let media = LegMedia {
        path,
        slow_because,
        codec: call.media.codec(),
        one_way: call.media.one_way()[leg.name],
        ..LegMedia::default()
    };
    Cdr {
        id: RecordId::of(call.id, leg.name, 0),
        version: 0,
        interim: None,
        session: call.id,
        leg: leg.name,
        fork: 0,
        binding: call.facts.binding,
        tenant: call.facts.tenant.clone(),
        project: call.facts.project.clone(),
        labels: labels.unwrap_or_default(),
        direction: leg.direction,
        proxy: leg.proxy,
        remote_country: leg.remote_country,
        remote_area: leg.remote_area,
        trunk: leg.trunk_name.clone(),
        start: leg.start,
        ring: leg.ring,
        answer: leg.answer,
        end,
        duration_us: u64::try_from(leg.lengths.lasted(context.now).as_micros()).unwrap_or(u64::MAX),
        billable_seconds: billable_seconds(leg.lengths.talked(context.now)),
        cost: None,
        price: None,
        received: received.traffic,
        sent,
        media: media.measured(&received.quality),
        release: Release { sip_status: leg.status, ..release.clone() },
        emergency: call.facts.emergency,
        diversion: call.facts.diversion,
        recording: None,
        attestation: None,
    }
}

/// Whole seconds, rounded up.
fn billable_seconds(talked: Duration) -> u64 {
    talked.as_secs() + u64::from(talked.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        for (milliseconds, seconds) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2)] {
            assert_eq!(billable_seconds(Duration::from_millis(milliseconds)), seconds);
        }
    }
}
