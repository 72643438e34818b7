//! A binding's own limits hold for its calls.

use std::time::Duration;

use super::far_end::{FarEnd, sdp};
use super::setup::{A, B};
use super::world::{AGENT, CUSTOMER, CUSTOMER_PROXY, World, carrier};
use crate::engine::admin::{AdminReply, AdminRequest, BindingView, NewBinding, NumberWish};
use crate::engine::cdr::{Cause, Cdr};
use crate::engine::directory::{BindingKind, Mode, NewNumber, PoolRequest, UsageWish};
use crate::engine::ids::RecordId;
use crate::engine::number::Typed;

/// A second binding of the two, on numbers of its own.
pub(super) fn bind(world: &mut World, usage: UsageWish, also: &[&str]) -> BindingView {
    let numbers = ["+14155550111", "+14155550112"].map(|number| NewNumber::local(number.parse().unwrap()));
    world.ask(AdminRequest::Pool(PoolRequest::Add { numbers: numbers.into() }));
    let wanted = NewBinding {
        tenant: "acme".into(),
        project: "rides".into(),
        kind: BindingKind::Session,
        key: "order-2".into(),
        customer: Typed(format!("+{CUSTOMER}")),
        agent: Typed(format!("+{AGENT}")),
        time_to_live: None,
        numbers: NumberWish::default(),
        encryption: None,
        also: [Vec::new(), also.iter().map(|&number| Typed(number.to_owned())).collect()],
        one_number: false,
        usage,
        tags: Vec::new(),
    };
    match world.ask(AdminRequest::BindCreate(wanted)) {
        AdminReply::Bound { binding, .. } => *binding,
        other => panic!("{other:?}"),
    }
}

/// The customer calls on it.
pub(super) fn calling(world: &mut World, binding: &BindingView) -> FarEnd {
    let mut from = FarEnd::calling(world, A);
    let text = from.text(world, "INVITE", "", &sdp(A, 6000));
    let text = text.replace(CUSTOMER_PROXY, binding.customer.proxy.digits());
    world.send(carrier(A), &text);
    world.expect(A, "SIP/2.0 100");
    from
}

#[test]
fn a_call_ends_at_the_length_that_its_binding_allows() {
    let mut world = World::new();
    let usage = UsageWish { max_call: Some(Duration::from_mins(2)), ..UsageWish::default() };
    let binding = bind(&mut world, usage, &[]);
    let mut from = calling(&mut world, &binding);
    let invite = world.expect(B, "INVITE ");
    let to = FarEnd::called(&mut world, B, &invite);
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    let ok = world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(&mut world, "");
    world.pass(Duration::from_secs(119));
    world.expect_nothing(A);
    world.pass(Duration::from_secs(2));
    for (leg, far) in [(A, &from), (B, &to)] {
        let bye = world.expect(leg, "BYE ");
        far.respond(&mut world, &bye, "200", "");
        assert_eq!(world.cdr(leg).release.cause, Cause::MaxDuration);
    }
    world.assert_quiet();
}

#[test]
fn what_a_binding_does_not_allow_is_refused_with_a_reason() {
    for (usage, status, cause) in [
        (UsageWish { mode: Some(Mode::Text), ..UsageWish::default() }, "SIP/2.0 403", Cause::NotAllowed),
        (UsageWish { max_calls: Some(0), ..UsageWish::default() }, "SIP/2.0 486", Cause::TooManyCalls),
    ] {
        let mut world = World::new();
        let binding = bind(&mut world, usage, &[]);
        let from = calling(&mut world, &binding);
        world.expect(A, status);
        from.ack_failure(&mut world);
        world.expect_nothing(B);
        let cdr = world.cdr(A);
        assert_eq!((cdr.release.cause, cdr.binding), (cause, Some(binding.id)));
        world.assert_quiet();
    }
}

#[test]
fn records_say_whom_a_call_was_about_when_it_rang_and_how_long_it_took() {
    let mut world = World::new();
    let binding = bind(&mut world, UsageWish::default(), &[]);
    let mut from = calling(&mut world, &binding);
    let invite = world.expect(B, "INVITE ");
    let to = FarEnd::called(&mut world, B, &invite);
    world.pass(Duration::from_secs(2));
    to.respond(&mut world, &invite, "180", "");
    world.expect(A, "SIP/2.0 180");
    world.pass(Duration::from_secs(5));
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    world.expect_among(B, "ACK ");
    let ok = world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(&mut world, "");
    world.pass(Duration::from_millis(30_500));
    let bye = from.text(&mut world, "BYE", "", "");
    world.send(carrier(A), &bye);
    world.expect(A, "SIP/2.0 200");
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    for leg in [A, B] {
        let cdr = world.cdr(leg);
        assert_eq!(cdr.id, RecordId::of(cdr.session, leg, 0));
        assert_eq!(cdr.interim, None);
        assert_eq!(
            (cdr.labels.kind, cdr.labels.key.as_deref()),
            (Some(BindingKind::Session), Some("order-2"))
        );
        assert_eq!(cdr.labels.agent, Some(binding.agent.party), "leg {leg}");
        assert_eq!(cdr.remote_area.map(|area| area.to_string()).is_some(), cdr.remote_country.is_some());
        let rang = cdr.ring.unwrap().saturating_since(cdr.start);
        assert!((2..3).contains(&rang.as_secs()), "leg {leg} rang after {rang:?}");
        assert_eq!((cdr.duration_us / 1_000_000, cdr.billable_seconds), (37, 31), "leg {leg}");
    }
    assert_ne!(world.cdr(A).id, world.cdr(B).id);
    world.assert_quiet();
}

#[test]
fn a_long_call_is_recorded_so_far_and_then_for_good() {
    let mut world = World::new();
    let binding = bind(&mut world, UsageWish::default(), &[]);
    let mut from = calling(&mut world, &binding);
    let invite = world.expect(B, "INVITE ");
    let to = FarEnd::called(&mut world, B, &invite);
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    let ok = world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(&mut world, "");
    world.pass(Duration::from_mins(31));
    let interim = std::mem::take(&mut world.interim);
    let told = |cdr: &Cdr| (cdr.leg, cdr.interim, cdr.billable_seconds, cdr.release.cause);
    assert_eq!(
        interim.iter().map(told).collect::<Vec<_>>(),
        [(A, 1), (B, 1), (A, 2), (B, 2)].map(|(leg, number)| (
            leg,
            Some(number),
            u64::from(number) * 900,
            Cause::InProgress
        ))
    );
    assert!(interim.iter().all(|cdr| cdr.id == RecordId::of(cdr.session, cdr.leg, 0)));
    let bye = from.text(&mut world, "BYE", "", "");
    world.send(carrier(A), &bye);
    world.expect(A, "SIP/2.0 200");
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    for leg in [A, B] {
        assert_eq!((world.cdr(leg).interim, world.cdr(leg).billable_seconds), (None, 1860));
    }
    world.assert_quiet();
}
