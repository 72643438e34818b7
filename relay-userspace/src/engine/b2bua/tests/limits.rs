//! What bounds the engine, and that it is counted when it bites.

use std::time::Duration;

use super::far_end::{FarEnd, sdp};
use super::setup::{A, B, ringing};
use super::world::{World, config};
use crate::engine::cdr::Cause;

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
