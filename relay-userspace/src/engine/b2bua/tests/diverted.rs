//! Late, unknown and anonymous callers reach the callback IVR, which learns what
//! the call is about and no number.

use super::far_end::{FarEnd, sdp};
use super::setup::{A, B, talking};
use super::world::{CUSTOMER_PROXY, Msg, World, carrier, config};
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::callback::{Diversion, OnTombstone, Reason, Service, Target};
use crate::engine::cdr::Cause;
use crate::engine::config::{Config, TrunkId};
use crate::engine::directory::BindingState;
use crate::engine::event::Event;
use crate::engine::ids::BindingId;
use crate::engine::sip::uri::Uri;

const STRANGER: &str = "+12125559999";

/// The agents' carrier has the IVR too.
fn with_ivr() -> Config {
    let mut config = config();
    let uri = Uri::parse("sip:callback@203.0.113.2").unwrap();
    config.services.ivr = Some(Target { trunk: TrunkId(1), uri });
    config
}

/// A customer's INVITE, made different by `change`, and what the IVR gets of it.
fn diverted(world: &mut World, change: impl Fn(String) -> String) -> (FarEnd, Msg) {
    let mut from = FarEnd::calling(world, A);
    let text = change(from.text(world, "INVITE", "", &sdp(A, 6000)));
    world.send(carrier(A), &text);
    world.expect(A, "SIP/2.0 100");
    let invite = world.expect(B, "INVITE ");
    assert_eq!(invite.start, "INVITE sip:callback@203.0.113.2 SIP/2.0");
    assert_eq!(invite.header("To"), "<sip:callback@203.0.113.2>");
    let shown = format!("<sip:+{CUSTOMER_PROXY}@192.0.2.1:5060>");
    assert!(invite.header("From").starts_with(&shown), "the number dialled: {}", invite.header("From"));
    assert_eq!(invite.header("Contact"), shown);
    assert!(!invite.text.contains(&STRANGER[1..]) && !invite.text.contains(&STRANGER[2..]));
    assert!(invite.all("P-Asserted-Identity").is_empty());
    (from, invite)
}

fn answered(world: &mut World, from: &mut FarEnd, invite: &Msg) -> FarEnd {
    let ivr = FarEnd::called(world, B, invite);
    ivr.respond(world, invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    let ok = world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(world, "");
    assert_eq!(world.flows.len(), 4);
    ivr
}

#[test]
fn a_stranger_talks_to_the_ivr_under_a_pseudonym() {
    let mut world = World::with(with_ivr());
    let (mut from, invite) = diverted(&mut world, |text| text.replace("+12125551200", STRANGER));
    assert_eq!(invite.header("X-Vizard-Reason"), "unknown");
    assert!(invite.header("X-Vizard-Session").starts_with("sess_"));
    for absent in ["X-Vizard-Binding", "X-Vizard-Match", "X-Vizard-Case", "X-Vizard-Tenant"] {
        assert!(invite.all(absent).is_empty(), "{absent}");
    }
    let ivr = answered(&mut world, &mut from, &invite);
    from.request(&mut world, "BYE", "");
    world.expect(A, "SIP/2.0 200");
    let bye = world.expect(B, "BYE ");
    ivr.respond(&mut world, &bye, "200", "");
    let diversion = Diversion { to: Service::Ivr, because: Reason::Unknown };
    for leg in [A, B] {
        let cdr = world.cdr(leg);
        assert_eq!((cdr.diversion, cdr.binding, cdr.release.cause), (Some(diversion), None, Cause::Normal));
        assert_eq!(cdr.proxy.unwrap().digits(), CUSTOMER_PROXY);
    }
    assert!(
        world.events.iter().any(
            |event| matches!(event, Event::CallDiverted { diversion: found, .. } if *found == diversion)
        )
    );
    assert_eq!(world.counter("calls.diverted"), 1);
    world.assert_quiet();
}

#[test]
fn a_caller_without_identity_always_reaches_the_ivr() {
    let mut world = World::with(with_ivr());
    let anonymous =
        |text: String| text.replace("+12125551200@198.51.100.1>;tag", "anonymous@anonymous.invalid>;tag");
    let (_, invite) = diverted(&mut world, anonymous);
    assert_eq!(invite.header("X-Vizard-Reason"), "anonymous");
    assert!(invite.all("X-Vizard-Binding").is_empty(), "never a guess");
}

#[test]
fn a_late_caller_reaches_the_ivr_with_the_case_and_goes_on_after_a_restart() {
    let mut world = World::with(with_ivr());
    let id = BindingId::from_bits(77);
    world.ask(AdminRequest::BindClose { id });
    let (mut from, invite) = diverted(&mut world, |text| text);
    assert_eq!(invite.header("X-Vizard-Reason"), "ended");
    assert_eq!(invite.header("X-Vizard-Binding"), id.to_string());
    assert_eq!(invite.header("X-Vizard-Match"), "pair");
    assert_eq!(invite.header("X-Vizard-Kind"), "session");
    assert_eq!(invite.header("X-Vizard-Case"), "order-1");
    assert_eq!(invite.header("X-Vizard-Tenant"), "acme");
    let ivr = answered(&mut world, &mut from, &invite);
    world.pass(std::time::Duration::from_secs(1));
    world.restart_with(with_ivr());
    from.request(&mut world, "BYE", "");
    world.expect_among(A, "SIP/2.0 200");
    let bye = world.expect_among(B, "BYE ");
    ivr.respond(&mut world, &bye, "200", "");
    let diversion = Diversion { to: Service::Ivr, because: Reason::Ended };
    let cdr = world.cdr(B);
    assert_eq!((cdr.diversion, cdr.binding, cdr.tenant.as_str()), (Some(diversion), Some(id), "acme"));
    world.assert_quiet();
}

#[test]
fn a_call_to_the_ivr_that_nobody_can_vouch_for_ends_at_a_restart() {
    let mut world = World::with(with_ivr());
    let (mut from, invite) = diverted(&mut world, |text| text.replace("+12125551200", STRANGER));
    answered(&mut world, &mut from, &invite);
    world.pass(std::time::Duration::from_secs(1));
    world.restart_with(with_ivr());
    world.expect_among(A, "BYE ");
    world.expect_among(B, "BYE ");
    assert_eq!(world.cdr(A).release.cause, Cause::Shutdown);
}

#[test]
fn a_late_call_still_connects_where_its_kind_says_so() {
    let mut config = with_ivr();
    config.bindings.usual.on_tombstone = OnTombstone::Connect;
    let mut world = World::with(config);
    world.ask(AdminRequest::BindClose { id: BindingId::from_bits(77) });
    talking(&mut world, A);
}

#[test]
fn a_callback_reopens_the_binding_where_its_kind_says_so() {
    let mut config = with_ivr();
    config.bindings.usual.on_tombstone = OnTombstone::Reopen;
    let mut world = World::with(config);
    let id = BindingId::from_bits(77);
    world.ask(AdminRequest::BindClose { id });
    talking(&mut world, A);
    let AdminReply::Binding(shown) = world.ask(AdminRequest::BindShow { id }) else { panic!() };
    assert!(matches!(shown.state, BindingState::Live { .. }), "{:?}", shown.state);
}
