//! Calls that end before or instead of a hang-up.

use std::time::Duration;

use super::far_end::{FarEnd, sdp};
use super::setup::{A, B, ringing, talking};
use super::world::{World, config};
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::cdr::{Cause, ReleaseSide};
use crate::engine::directory::BindFilter;
use crate::engine::event::Event;
use crate::engine::io::Input;

fn ended(world: &World) -> (ReleaseSide, Cause) {
    let (a, b) = (world.cdr(A), world.cdr(B));
    assert_eq!((a.release.side, a.release.cause), (b.release.side, b.release.cause));
    let told = Event::CallEnded { session: a.session, side: a.release.side, cause: a.release.cause };
    assert_eq!(world.events.iter().filter(|event| **event == told).count(), 1);
    (a.release.side, a.release.cause)
}

#[test]
fn a_caller_who_gives_up_is_told_so_and_the_callee_stops_ringing() {
    for caller in [A, B] {
        let mut world = World::new();
        let (from, to, invite) = ringing(&mut world, caller);
        from.cancel(&mut world);
        from.cancel(&mut world);
        assert_eq!(world.expect(caller, "SIP/2.0 200").header("CSeq"), "1 CANCEL");
        world.expect(caller, "SIP/2.0 487");
        world.expect(caller, "SIP/2.0 200");
        from.ack_failure(&mut world);
        let cancel = world.expect(caller.other(), "CANCEL ");
        assert_eq!(cancel.header("Via"), invite.header("Via"));
        to.respond(&mut world, &cancel, "200", "");
        to.respond(&mut world, &invite, "487", "");
        world.expect(caller.other(), "ACK ");
        assert_eq!(ended(&world), (caller.into(), Cause::Cancelled));
        assert_eq!(world.cdr(caller).release.sip_status, Some(487));
        world.assert_quiet();
        world.expect_nothing(A);
        world.expect_nothing(B);
    }
}

#[test]
fn a_cancel_waits_for_the_first_provisional_response() {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    from.request(&mut world, "INVITE", &sdp(A, 6000));
    let invite = world.expect(B, "INVITE ");
    from.cancel(&mut world);
    world.expect_nothing(B);
    let to = FarEnd::called(&mut world, B, &invite);
    to.respond(&mut world, &invite, "100", "");
    let cancel = world.expect(B, "CANCEL ");
    to.respond(&mut world, &cancel, "200", "");
    to.respond(&mut world, &invite, "487", "");
    from.ack_failure(&mut world);
    assert_eq!(ended(&world), (ReleaseSide::A, Cause::Cancelled));
    world.assert_quiet();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_hung_up() {
    let mut world = World::new();
    let (from, to, invite) = ringing(&mut world, A);
    from.cancel(&mut world);
    from.ack_failure(&mut world);
    world.expect(B, "CANCEL ");
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    assert_eq!(ended(&world), (ReleaseSide::A, Cause::Cancelled));
    assert_eq!(world.cdr(B).release.sip_status, Some(200), "the callee's carrier counts it as answered");
    assert!(world.cdr(B).answer.is_some() && world.cdr(A).answer.is_none());
    world.assert_quiet();
}

#[test]
fn an_unanswered_cancel_ends_all_the_same() {
    let mut world = World::new();
    let (from, _, _) = ringing(&mut world, A);
    from.cancel(&mut world);
    from.ack_failure(&mut world);
    world.pass(Duration::from_secs(33));
    assert_eq!(ended(&world), (ReleaseSide::A, Cause::Cancelled));
    world.assert_quiet();
}

#[test]
fn a_failure_reaches_the_caller_without_its_words() {
    for (status, told, cause) in [
        ("302", "480", Cause::Rejected),
        ("401", "502", Cause::Rejected),
        ("404", "404", Cause::Rejected),
        ("407", "502", Cause::Rejected),
        ("408", "408", Cause::NoAnswer),
        ("486", "486", Cause::Busy),
        ("488", "488", Cause::NotAcceptable),
        ("500", "500", Cause::Rejected),
        ("503", "500", Cause::Rejected),
        ("600", "600", Cause::Busy),
        ("603", "603", Cause::Declined),
        ("699", "699", Cause::Rejected),
    ] {
        let mut world = World::new();
        let (from, to, invite) = ringing(&mut world, A);
        to.respond(&mut world, &invite, status, "");
        world.expect(B, "ACK ");
        let failure = world.expect(A, &format!("SIP/2.0 {told}"));
        assert_eq!(failure.header("Reason"), format!("Q.850;cause={}", cause.q850()));
        for name in ["Contact", "Retry-After", "Warning", "WWW-Authenticate"] {
            assert!(failure.all(name).is_empty(), "{name}");
        }
        from.ack_failure(&mut world);
        assert_eq!(ended(&world), (ReleaseSide::B, cause));
        assert_eq!(world.cdr(B).release.sip_status, Some(status.parse().unwrap()));
        assert_eq!(world.cdr(A).release.sip_status, Some(told.parse().unwrap()));
        assert_eq!(world.cdr(A).billable_seconds, 0);
        let challenged = world.events.iter().any(|event| matches!(event, Event::TrunkChallenged { .. }));
        assert_eq!(challenged, matches!(status, "401" | "407"));
        world.assert_quiet();
    }
}

#[test]
fn a_trunk_that_does_not_answer_is_unreachable() {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    from.request(&mut world, "INVITE", &sdp(A, 6000));
    world.expect(A, "SIP/2.0 100");
    world.pass(Duration::from_secs(33));
    world.expect(A, "SIP/2.0 504");
    from.ack_failure(&mut world);
    assert_eq!(ended(&world), (ReleaseSide::B, Cause::Unreachable));
    world.assert_quiet();
}

#[test]
fn a_callee_who_rings_too_long_is_cancelled() {
    let mut world = World::new();
    let (from, to, invite) = ringing(&mut world, A);
    world.pass(Duration::from_mins(1));
    world.expect(A, "SIP/2.0 480");
    from.ack_failure(&mut world);
    let cancel = world.expect(B, "CANCEL ");
    to.respond(&mut world, &cancel, "200", "");
    to.respond(&mut world, &invite, "487", "");
    assert_eq!(ended(&world), (ReleaseSide::Platform, Cause::NoAnswer));
    world.assert_quiet();
}

#[test]
fn a_call_has_a_longest_length() {
    let mut world = World::new();
    let (from, to) = talking(&mut world, A);
    world.pass(Duration::from_hours(1));
    let bye = world.expect(A, "BYE ");
    assert_eq!(bye.header("Reason"), "Q.850;cause=16");
    from.respond(&mut world, &bye, "200", "");
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    assert_eq!(ended(&world), (ReleaseSide::Platform, Cause::MaxDuration));
    assert_eq!(world.cdr(A).billable_seconds, 3600);
    world.assert_quiet();
}

#[test]
fn a_2xx_that_is_never_acknowledged_ends_the_call() {
    let mut world = World::new();
    let (from, to, invite) = ringing(&mut world, A);
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    world.pass(Duration::from_secs(32));
    let sent = world.rest(A);
    assert_eq!(sent.iter().filter(|start| start.starts_with("SIP/2.0 200")).count(), 11, "{sent:?}");
    assert!(sent.last().unwrap().starts_with("BYE "), "{sent:?}");
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    assert_eq!(ended(&world), (ReleaseSide::A, Cause::ProtocolError));
    drop(from);
    world.assert_quiet();
}

#[test]
fn a_callee_who_hangs_up_at_once_waits_for_the_callers_ack() {
    let mut world = World::new();
    let (mut from, mut to, invite) = ringing(&mut world, A);
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    to.request(&mut world, "BYE", "");
    world.expect(B, "SIP/2.0 200");
    let ok = world.expect(A, "SIP/2.0 200");
    world.expect_nothing(A);
    assert!(world.flows.is_empty());
    world.pass(Duration::from_millis(500));
    world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(&mut world, "");
    let bye = world.expect(A, "BYE ");
    from.respond(&mut world, &bye, "200", "");
    assert_eq!(ended(&world), (ReleaseSide::B, Cause::Normal));
    world.assert_quiet();
}

#[test]
fn a_caller_may_hang_up_before_its_ack() {
    let mut world = World::new();
    let (mut from, to, invite) = ringing(&mut world, A);
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    let ok = world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    from.request(&mut world, "BYE", "");
    world.expect(A, "SIP/2.0 200");
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    assert_eq!(ended(&world), (ReleaseSide::A, Cause::Normal));
    world.assert_quiet();
    world.expect_nothing(A);
}

#[test]
fn a_caller_may_give_up_with_bye() {
    let mut world = World::new();
    let (mut from, to, invite) = ringing(&mut world, A);
    from.request(&mut world, "BYE", "");
    world.expect(A, "SIP/2.0 200");
    world.expect(A, "SIP/2.0 487");
    let cancel = world.expect(B, "CANCEL ");
    to.respond(&mut world, &cancel, "200", "");
    to.respond(&mut world, &invite, "487", "");
    assert_eq!(ended(&world), (ReleaseSide::A, Cause::Cancelled));
    world.assert_quiet();
}

#[test]
fn hang_ups_that_cross_are_both_answered() {
    let mut world = World::new();
    let (mut from, mut to) = talking(&mut world, A);
    from.request(&mut world, "BYE", "");
    let ours = world.expect(B, "BYE ");
    to.request(&mut world, "BYE", "");
    world.expect(B, "SIP/2.0 200");
    to.respond(&mut world, &ours, "200", "");
    assert_eq!(ended(&world), (ReleaseSide::A, Cause::Normal));
    world.assert_quiet();
}

#[test]
fn a_far_end_that_is_gone_does_not_keep_the_call() {
    let mut world = World::new();
    let (mut from, _) = talking(&mut world, A);
    from.request(&mut world, "BYE", "");
    assert_eq!(
        ended(&world),
        (ReleaseSide::A, Cause::Normal),
        "records do not wait for the other BYE's answer"
    );
    world.assert_quiet();
}

#[test]
fn an_answer_without_a_usable_description_ends_the_call() {
    for body in ["", "v=0\r\nm=nonsense\r\n"] {
        let mut world = World::new();
        let (from, to, invite) = ringing(&mut world, A);
        to.respond(&mut world, &invite, "200", body);
        world.expect(B, "ACK ");
        let bye = world.expect(B, "BYE ");
        to.respond(&mut world, &bye, "200", "");
        world.expect(A, "SIP/2.0 488");
        from.ack_failure(&mut world);
        assert_eq!(ended(&world), (ReleaseSide::Platform, Cause::NotAcceptable));
        world.assert_quiet();
    }
}

#[test]
fn an_operator_hangs_up_on_both() {
    let mut world = World::new();
    let (from, to) = talking(&mut world, A);
    let AdminReply::Calls(calls) = world.ask(AdminRequest::CallsList) else { panic!("calls") };
    assert_eq!((calls.len(), calls[0].state.as_str(), calls[0].flows.len()), (1, "answered", 4));
    let session = calls[0].session;
    assert_eq!(world.ask(AdminRequest::CallShow { session }), AdminReply::Call(calls[0].clone()));
    assert_eq!(world.ask(AdminRequest::CallHangup { session }), AdminReply::HungUp(session));
    for far_end in [from, to] {
        let bye = world.expect(far_end.leg, "BYE ");
        far_end.respond(&mut world, &bye, "200", "");
    }
    assert_eq!(ended(&world), (ReleaseSide::Platform, Cause::Operator));
    world.assert_quiet();
    assert!(matches!(world.ask(AdminRequest::CallShow { session }), AdminReply::Refused(_)));
}

#[test]
fn a_shutdown_ends_calls_in_every_state_and_then_says_so() {
    let mut world = World::new();
    let (from, to) = talking(&mut world, A);
    let (caller, callee, invite) = ringing(&mut world, B);
    world.input(Input::Shutdown);
    assert!(!world.drained);
    let mut sent = Vec::new();
    for leg in [A, B] {
        sent.extend(std::iter::from_fn(|| world.received(leg)).map(|msg| (leg, msg)));
    }
    let mut last = None;
    for (leg, msg) in sent {
        assert!(!world.drained, "something is still to be answered");
        match msg.start.split(' ').next().unwrap() {
            "SIP/2.0" => caller.ack_failure(&mut world),
            "BYE" if leg == A => from.respond(&mut world, &msg, "200", ""),
            "BYE" => to.respond(&mut world, &msg, "200", ""),
            "CANCEL" => last = Some(msg),
            other => panic!("{other}"),
        }
    }
    assert!(!world.drained, "the ringing phone has not stopped");
    callee.respond(&mut world, &last.unwrap(), "200", "");
    callee.respond(&mut world, &invite, "487", "");
    assert!(world.drained);
    assert!(world.cdrs.iter().all(|cdr| cdr.release.cause == Cause::Shutdown));
    assert_eq!(world.cdrs.len(), 4);
    let mut late = FarEnd::calling(&mut world, A);
    late.request(&mut world, "INVITE", &sdp(A, 6000));
    world.expect_among(A, "SIP/2.0 503");
}

#[test]
fn records_are_written_until_the_store_has_them() {
    let mut world = World::new();
    world.failing_commits = 3;
    let (mut from, to) = talking(&mut world, A);
    from.request(&mut world, "BYE", "");
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    assert!(world.cdrs.is_empty());
    let ended_events =
        |world: &World| world.events.iter().filter(|event| matches!(event, Event::CallEnded { .. })).count();
    assert_eq!(ended_events(&world), 0, "not before the records are durable");
    world.pass(Duration::from_secs(1 + 2 + 4));
    assert_eq!(ended(&world), (ReleaseSide::A, Cause::Normal));
    world.assert_quiet();
}

#[test]
fn a_call_without_media_path_ends() {
    let mut world = World::new();
    let (mut from, to, invite) = ringing(&mut world, A);
    world.refuses_flows = true;
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    let ok = world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(&mut world, "");
    let bye = world.expect_among(A, "BYE ");
    from.respond(&mut world, &bye, "200", "");
    let bye = world.expect_among(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    assert_eq!(ended(&world), (ReleaseSide::Platform, Cause::MediaFailure));
    world.assert_quiet();
}

#[test]
fn a_call_whose_way_back_cannot_be_opened_is_refused() {
    let mut world = World::new();
    world.refuses_flows = true;
    let mut from = FarEnd::calling(&mut world, A);
    from.request(&mut world, "INVITE", &sdp(A, 6000));
    let refused = world.expect_among(A, "SIP/2.0 500");
    from.learn(&refused);
    from.ack(&mut world, "");
    let invite = world.expect(B, "INVITE ");
    let to = FarEnd::called(&mut world, B, &invite);
    to.respond(&mut world, &invite, "100", "");
    let cancel = world.expect(B, "CANCEL ");
    to.respond(&mut world, &cancel, "200", "");
    to.respond(&mut world, &invite, "487", "");
    world.expect(B, "ACK ");
    assert_eq!(ended(&world), (ReleaseSide::Platform, Cause::MediaFailure));
    world.assert_quiet();
}

#[test]
fn a_binding_in_use_is_counted() {
    let mut world = World::with(config());
    let (mut from, _) = talking(&mut world, A);
    let calls = |world: &mut World| match world.ask(AdminRequest::BindList {
        filter: BindFilter::default(),
        after: None,
        limit: 10,
    }) {
        AdminReply::Bindings(page) => page.bindings[0].calls,
        other => panic!("{other:?}"),
    };
    assert_eq!(calls(&mut world), 1);
    from.request(&mut world, "BYE", "");
    assert_eq!(calls(&mut world), 0);
    world.assert_quiet();
}
