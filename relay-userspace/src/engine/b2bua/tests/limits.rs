//! What bounds the engine, and that it is counted when it bites.

use std::time::Duration;

use super::changes::reinvite;
use super::far_end::{FarEnd, sdp};
use super::setup::{A, B, ringing, talking};
use super::world::{World, carrier, config};
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::cdr::Cause;
use crate::engine::event::Event;

#[test]
fn a_full_engine_refuses_and_counts() {
    let mut limited = config();
    limited.limits.calls = 1;
    let mut world = World::with(limited);
    ringing(&mut world, A);
    let mut from = FarEnd::calling(&mut world, B);
    from.request(&mut world, "INVITE", &sdp(B, 6000));
    world.expect_among(B, "SIP/2.0 100");
    assert_eq!(world.expect(B, "SIP/2.0 503").header("Retry-After"), "10");
    assert_eq!(world.counter("calls.overload"), 1);
    assert_eq!(world.cdrs.len(), 0, "a flood does not fill the store");
}

#[test]
fn a_draining_engine_refuses_new_calls_and_goes_on_with_the_others() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    assert_eq!(world.ask(AdminRequest::Drain { on: true }), AdminReply::Drain { on: true, calls: 1 });
    let mut late = FarEnd::calling(&mut world, B);
    late.request(&mut world, "INVITE", &sdp(B, 6000));
    world.expect(B, "SIP/2.0 100");
    assert_eq!(world.expect(B, "SIP/2.0 503").header("Retry-After"), "10");
    late.ack_failure(&mut world);
    assert_eq!(world.counter("calls.draining"), 1);
    reinvite(&mut world, &mut from, &to, &sdp(A, 6100), &sdp(B, 7000));
    world.masked = false;
    let mut caller = FarEnd::calling(&mut world, A);
    let text = caller.text(&mut world, "INVITE", "", &sdp(A, 6200));
    let text = text.replace("INVITE sip:+14155550100@", "INVITE sip:911@");
    world.send(carrier(A), &text);
    world.expect_among(B, "INVITE sip:911@");
    assert_eq!(world.ask(AdminRequest::Drain { on: false }), AdminReply::Drain { on: false, calls: 2 });
    drop((world.rest(A), world.rest(B)));
    ringing(&mut world, B);
}

#[test]
fn a_store_that_lags_holds_new_calls_back() {
    let mut limited = config();
    limited.limits.pending_commits = 1;
    let mut world = World::with(limited);
    world.failing_commits = 1;
    let (from, to, invite) = ringing(&mut world, A);
    to.respond(&mut world, &invite, "486", "");
    from.ack_failure(&mut world);
    drop(world.rest(A));
    let mut again = FarEnd::calling(&mut world, A);
    again.request(&mut world, "INVITE", &sdp(A, 6000));
    world.expect(A, "SIP/2.0 100");
    world.expect(A, "SIP/2.0 503");
    again.ack_failure(&mut world);
    drop(world.rest(B));
    world.pass(Duration::from_secs(2));
    ringing(&mut world, A);
}

#[test]
fn without_ports_a_call_is_refused() {
    let mut limited = config();
    limited.media.ports = 40_000..=40_003;
    let mut world = World::with(limited);
    ringing(&mut world, A);
    let mut from = FarEnd::calling(&mut world, A);
    from.request(&mut world, "INVITE", &sdp(A, 6000));
    world.expect(A, "SIP/2.0 100");
    world.expect(A, "SIP/2.0 503");
    world.expect_nothing(B);
    from.ack_failure(&mut world);
    assert_eq!(world.counter("media.no_ports"), 1);
    assert_eq!(world.cdr(A).release.cause, Cause::Overload);
    assert_eq!(world.cdr(B).release.cause, Cause::Overload);
}

#[test]
fn ports_are_used_again_after_their_rest() {
    let mut limited = config();
    limited.media.ports = 40_000..=40_003;
    let mut world = World::with(limited);
    for _ in 0..5 {
        let (from, to, invite) = ringing(&mut world, A);
        to.respond(&mut world, &invite, "486", "");
        from.ack_failure(&mut world);
        drop((world.rest(A), world.rest(B)));
        world.pass(Duration::from_secs(1));
    }
    world.assert_quiet();
}

#[test]
fn what_slips_through_the_allow_list_is_stopped_at_the_door() {
    // A codec parameter that the allow-list lets through, and no codec has.
    let leaking = format!("{}a=fmtp:0 from=310-555-7788\r\n", sdp(B, 7000));
    for status in ["183", "200"] {
        let mut world = World::new();
        let (from, to, invite) = ringing(&mut world, A);
        to.respond(&mut world, &invite, status, &leaking);
        world.expect(A, "SIP/2.0 500");
        from.ack_failure(&mut world);
        if status == "200" {
            world.expect(B, "ACK ");
            let bye = world.expect(B, "BYE ");
            to.respond(&mut world, &bye, "200", "");
        } else {
            let cancel = world.expect(B, "CANCEL ");
            to.respond(&mut world, &cancel, "200", "");
            to.respond(&mut world, &invite, "487", "");
        }
        assert!(world.events.iter().any(|event| matches!(event, Event::LeakStopped { leg: A, .. })));
        assert_eq!(world.counter("sip.leak_stopped"), 1);
        assert_eq!(world.cdr(A).release.cause, Cause::ProtocolError);
        world.assert_quiet();
    }
    let mut world = World::new();
    let (mut from, mut to) = talking(&mut world, A);
    to.request(&mut world, "INVITE", &leaking);
    world.expect(B, "SIP/2.0 487");
    to.ack_failure(&mut world);
    for far_end in [&mut from, &mut to] {
        let bye = world.expect_among(far_end.leg, "BYE ");
        far_end.respond(&mut world, &bye, "200", "");
    }
    world.assert_quiet();
}
