//! Trunks with several targets: which one a call goes to, and what happens when it fails.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::far_end::{FarEnd, sdp};
use super::setup::{A, B, ringing};
use super::world::{Msg, World, carrier, config};
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::cdr::Cause;
use crate::engine::event::Event;
use crate::engine::targets::{Health, Target, Targets};

/// The agents' trunk has another target, which comes second.
fn spare() -> SocketAddr {
    "203.0.113.3:5060".parse().unwrap()
}

fn world(probe: Option<Duration>) -> World {
    let mut config = config();
    let trunk = &mut config.trunks[1];
    let target = |(address, priority)| Target { address, priority, weight: 0 };
    trunk.targets = Targets::of([(spare(), 20), (carrier(B), 10)].map(target).into()).unwrap();
    trunk.sources.push(spare().ip().into());
    trunk.probe = probe;
    World::with(config)
}

/// The next message at the spare target.
#[track_caller]
fn at_spare(world: &mut World, start: &str) -> Msg {
    let msg = world.inbox.get_mut(&spare()).and_then(VecDeque::pop_front);
    let msg = msg.unwrap_or_else(|| panic!("the spare target expected {start} and got nothing"));
    assert!(msg.start.starts_with(start), "expected {start} and got {}", msg.start);
    msg
}

/// The customer calls; the INVITE at the first target.
fn called(world: &mut World) -> (FarEnd, Msg) {
    let mut from = FarEnd::calling(world, A);
    from.request(world, "INVITE", &sdp(A, 6000));
    world.expect(A, "SIP/2.0 100");
    (from, world.expect(B, "INVITE "))
}

/// The spare target answers an INVITE, the caller hangs up.
fn talks_and_ends(world: &mut World, from: &mut FarEnd, invite: &Msg) {
    let to = FarEnd::called(world, B, invite);
    world.send(spare(), &to.response(invite, "180", ""));
    world.expect(A, "SIP/2.0 180");
    world.send(spare(), &to.response(invite, "200", &sdp(B, 7000)));
    let ok = world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(world, "");
    world.expect_among(B, "ACK ");
    assert_eq!(world.flows.len(), 4);
    from.request(world, "BYE", "");
    world.expect(A, "SIP/2.0 200");
    let bye = world.expect_among(B, "BYE ");
    to.respond(world, &bye, "200", "");
    assert_eq!((world.cdr(B).release.cause, world.cdr(B).release.sip_status), (Cause::Normal, Some(200)));
}

#[test]
fn a_call_that_one_target_is_too_busy_for_goes_to_the_next_and_the_caller_hears_nothing_of_it() {
    let mut world = world(None);
    let (mut from, invite) = called(&mut world);
    FarEnd::called(&mut world, B, &invite).respond(&mut world, &invite, "503", "");
    world.expect(B, "ACK ");
    let again = at_spare(&mut world, "INVITE ");
    for same in ["Call-ID", "From", "To", "CSeq", "Contact"] {
        assert_eq!(again.header(same), invite.header(same), "{same}");
    }
    assert_ne!(again.header("Via"), invite.header("Via"));
    assert_eq!(again.body, invite.body);
    assert!(again.start.contains("@203.0.113.3:5060 "), "{}", again.start);
    world.expect_nothing(A);
    talks_and_ends(&mut world, &mut from, &again);
    assert_eq!(world.counter("calls.failovers"), 1);
    assert!(world.events.iter().any(|event| matches!(event, Event::TargetDown { .. })));

    // The one that failed is tried last for a while.
    let mut second = FarEnd::calling(&mut world, A);
    second.request(&mut world, "INVITE", &sdp(A, 6000));
    at_spare(&mut world, "INVITE ");
    world.expect_nothing(B);
    second.cancel(&mut world);
}

#[test]
fn a_target_that_says_nothing_is_left_and_dismissed_when_it_answers_late() {
    let mut world = world(None);
    let (mut from, invite) = called(&mut world);
    world.pass(Duration::from_secs(5));
    let again = at_spare(&mut world, "INVITE ");
    let late = FarEnd::called(&mut world, B, &invite);
    world.rest(B);
    late.respond(&mut world, &invite, "200", &sdp(B, 7100));
    world.expect(B, "ACK ");
    let bye = world.expect(B, "BYE ");
    late.respond(&mut world, &bye, "200", "");
    world.expect_nothing(A);
    talks_and_ends(&mut world, &mut from, &again);
    world.assert_quiet();
}

#[test]
fn a_target_that_trying_came_from_is_not_left() {
    let mut world = world(None);
    let (_, invite) = called(&mut world);
    FarEnd::called(&mut world, B, &invite).respond(&mut world, &invite, "100", "");
    world.pass(Duration::from_secs(10));
    assert!(!world.inbox.contains_key(&spare()));
}

#[test]
fn a_call_that_rang_is_its_targets_own() {
    let mut world = world(None);
    let (_, to, invite) = ringing(&mut world, A);
    to.respond(&mut world, &invite, "503", "");
    world.expect(B, "ACK ");
    world.expect(A, "SIP/2.0 500");
    assert!(!world.inbox.contains_key(&spare()));
    world.assert_quiet();
}

#[test]
fn a_call_that_no_target_takes_is_refused_once() {
    let mut world = world(None);
    let (from, invite) = called(&mut world);
    let to = FarEnd::called(&mut world, B, &invite);
    to.respond(&mut world, &invite, "503", "");
    let again = at_spare(&mut world, "INVITE ");
    world.send(spare(), &to.response(&again, "503", ""));
    world.expect(A, "SIP/2.0 500");
    from.ack_failure(&mut world);
    assert_eq!(world.cdr(B).release.sip_status, Some(503));
    world.expect_nothing(A);
    world.assert_quiet();
}

#[test]
fn a_caller_who_gives_up_meanwhile_is_not_called_for_elsewhere() {
    let mut world = world(None);
    let (from, invite) = called(&mut world);
    from.cancel(&mut world);
    let to = FarEnd::called(&mut world, B, &invite);
    to.respond(&mut world, &invite, "503", "");
    assert!(!world.inbox.contains_key(&spare()));
    assert_eq!(world.cdr(B).release.cause, Cause::Cancelled);
    from.ack_failure(&mut world);
    world.assert_quiet();
}

#[test]
fn targets_are_asked_whether_they_are_there() {
    let every = Duration::from_mins(1);
    let mut world = world(Some(every));
    world.pass(Duration::from_millis(1));
    let asked = world.expect(B, "OPTIONS ");
    assert_eq!(asked.start, format!("OPTIONS sip:{} SIP/2.0", carrier(B)));
    at_spare(&mut world, "OPTIONS ");
    let to = FarEnd::called(&mut world, B, &asked);
    // Whatever it says, it is there.
    to.respond(&mut world, &asked, "405", "");
    world.pass(Duration::from_secs(33));
    let health = |world: &mut World| {
        let AdminReply::Trunks(trunks) = world.ask(AdminRequest::Trunks) else { panic!("trunks") };
        trunks[1].targets.iter().map(|target| target.health).collect::<Vec<_>>()
    };
    assert_eq!(health(&mut world), [Health::Up, Health::Down]);
    assert_eq!(world.counter("targets.down"), 1);
    world.rest(B);
    world.inbox.remove(&spare());
    world.pass(every);
    let again = at_spare(&mut world, "OPTIONS ");
    world.send(spare(), &to.response(&again, "200", ""));
    assert_eq!(health(&mut world)[1], Health::Up);
    let up = |event: &Event| matches!(event, Event::TargetUp { target, .. } if *target == spare());
    assert!(world.events.iter().any(up));
}
