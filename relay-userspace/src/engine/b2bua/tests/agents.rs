//! Calls to an agent number: the INVITE waits for the binding, and no longer.

use super::far_end::{FarEnd, sdp};
use super::setup::{A, B};
use super::world::{AGENT, CUSTOMER_PROXY, Msg, World, carrier, config};
use crate::engine::admin::{AdminReply, AdminRequest, NumberWish};
use crate::engine::cdr::Cause;
use crate::engine::config::Config;
use crate::engine::directory::{AgentReply, AgentRequest, NewAgent, NewNumber, PoolRequest};
use crate::engine::io::Input;
use crate::engine::number::Typed;

const LINE: &str = "14155550111";
const SPARE: &str = "14155550112";

/// The agent has a public number.
fn with_line(config: Config) -> World {
    let mut world = World::with(config);
    let numbers = [LINE, SPARE].map(|number| NewNumber::local(format!("+{number}").parse().unwrap()));
    world.ask(AdminRequest::Pool(PoolRequest::Add { numbers: numbers.into() }));
    let wanted = NewAgent {
        tenant: "acme".into(),
        project: "rides".into(),
        key: "a".into(),
        agent: Typed(format!("+{AGENT}")),
        also: Vec::new(),
        ring: None,
        number: Some(format!("+{LINE}").parse().unwrap()),
        numbers: NumberWish::default(),
    };
    let reply = world.ask(AdminRequest::Agent(AgentRequest::Open(wanted)));
    assert!(matches!(reply, AdminReply::Agent(AgentReply::Opened { .. })), "{reply:?}");
    world
}

/// The customer calls the agent's number.
fn calling(world: &mut World) -> (FarEnd, String) {
    let mut from = FarEnd::calling(world, A);
    let text = from.text(world, "INVITE", "", &sdp(A, 6000)).replace(CUSTOMER_PROXY, LINE);
    world.send(carrier(A), &text);
    world.expect(A, "SIP/2.0 100");
    (from, text)
}

fn answered(world: &mut World, mut from: FarEnd, invite: &Msg) {
    let to = FarEnd::called(world, B, invite);
    to.respond(world, invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    let ok = world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(world, "");
    from.request(world, "BYE", "");
    world.expect(A, "SIP/2.0 200");
    let bye = world.expect(B, "BYE ");
    to.respond(world, &bye, "200", "");
}

#[test]
fn a_new_caller_is_shown_as_a_proxy_once_the_store_has_its_binding() {
    let mut world = with_line(config());
    world.hold_bindings();
    let (from, _) = calling(&mut world);
    world.expect_nothing(B);
    assert_eq!(world.engine.calls_in_progress(), 1, "it waits");
    world.commit_held();
    let invite = world.expect(B, "INVITE ");
    assert_eq!(invite.start, format!("INVITE sip:+{AGENT}@{} SIP/2.0", carrier(B)));
    assert!(invite.header("From").contains(&format!("sip:+{SPARE}@")), "{}", invite.header("From"));
    answered(&mut world, from, &invite);
    let cdr = world.cdr(B);
    assert_eq!(cdr.proxy.unwrap().digits(), SPARE);
    assert!(cdr.binding.is_some() && cdr.tenant == "acme");
    // The second call finds the binding, and waits for nothing.
    world.hold_bindings();
    calling(&mut world);
    let invite = world.expect(B, "INVITE ");
    assert!(invite.header("From").contains(&format!("sip:+{SPARE}@")));
}

#[test]
fn at_the_cap_the_agent_sees_its_own_number() {
    let mut limited = config();
    limited.limits.callers_per_agent = 0;
    let mut world = with_line(limited);
    let (from, _) = calling(&mut world);
    let invite = world.expect(B, "INVITE ");
    assert!(invite.header("From").contains(&format!("sip:+{LINE}@")), "{}", invite.header("From"));
    answered(&mut world, from, &invite);
    let cdr = world.cdr(B);
    assert_eq!((cdr.binding, cdr.tenant.as_str(), cdr.release.cause), (None, "acme", Cause::Normal));
    world.assert_quiet();
}

#[test]
fn an_invite_that_waits_can_be_taken_back() {
    let mut world = with_line(config());
    world.hold_bindings();
    let (from, _) = calling(&mut world);
    let text = from.cancelling().replace(CUSTOMER_PROXY, LINE);
    world.send(carrier(A), &text);
    world.expect(A, "SIP/2.0 200");
    world.expect(A, "SIP/2.0 487");
    from.ack_failure(&mut world);
    world.commit_held();
    world.expect_nothing(B);
    assert_eq!(world.cdr(A).release.cause, Cause::Cancelled);
    world.assert_quiet();
}

#[test]
fn a_stop_refuses_what_waits() {
    let mut world = with_line(config());
    world.hold_bindings();
    let (from, _) = calling(&mut world);
    world.input(Input::Shutdown);
    world.expect(A, "SIP/2.0 503");
    from.ack_failure(&mut world);
    assert!(!world.drained, "the store has not answered");
    world.commit_held();
    world.pass(std::time::Duration::from_mins(1));
    assert!(world.drained);
    world.expect_nothing(B);
}

#[test]
fn a_store_that_fails_leaves_the_call_without_a_binding() {
    let mut world = with_line(config());
    world.hold_bindings();
    let (from, _) = calling(&mut world);
    world.fail_held();
    let invite = world.expect(B, "INVITE ");
    assert!(invite.header("From").contains(&format!("sip:+{LINE}@")), "{}", invite.header("From"));
    answered(&mut world, from, &invite);
}
