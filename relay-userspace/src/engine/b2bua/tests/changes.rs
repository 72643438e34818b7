//! Re-INVITEs: hold, moves, glare, failure.

use std::time::Duration;

use super::far_end::{FarEnd, sdp, sdp_with};
use super::setup::{A, B, talking};
use super::world::{Msg, World, media_address};
use crate::engine::cdr::{Cause, ReleaseSide};
use crate::engine::ids::LegName;

pub(super) fn version(msg: &Msg) -> u64 {
    let line = msg.body.lines().find(|line| line.starts_with("o=")).unwrap();
    line.split(' ').nth(2).unwrap().parse().unwrap()
}

/// A re-INVITE by `one` that `other` accepts: what each of them was sent.
pub(super) fn reinvite(
    world: &mut World,
    one: &mut FarEnd,
    other: &FarEnd,
    offer: &str,
    answer: &str,
) -> (Msg, Msg) {
    one.request(world, "INVITE", offer);
    let invite = world.expect(other.leg, "INVITE ");
    other.respond(world, &invite, "200", answer);
    world.expect(other.leg, "ACK ");
    let ok = world.expect(one.leg, "SIP/2.0 200");
    one.ack(world, "");
    (invite, ok)
}

pub(super) fn hang_up(world: &mut World, one: &mut FarEnd, other: &FarEnd) {
    one.request(world, "BYE", "");
    world.expect_among(one.leg, "SIP/2.0 200");
    let bye = world.expect_among(other.leg, "BYE ");
    other.respond(world, &bye, "200", "");
    world.assert_quiet();
}

#[test]
fn hold_and_resume_pass_through_from_either_side() {
    for caller in [A, B] {
        for holder in [A, B] {
            let mut world = World::new();
            let (from, to) = talking(&mut world, caller);
            let (mut one, other) = if from.leg == holder { (from, to) } else { (to, from) };
            let flows = world.flows.clone();
            let (hold, held) = reinvite(
                &mut world,
                &mut one,
                &other,
                &sdp_with(holder, 6000, "a=sendonly\r\n"),
                &sdp_with(holder.other(), 7000, "a=recvonly\r\n"),
            );
            assert!(hold.body.contains("a=sendonly\r\n"), "{}", hold.body);
            assert!(held.body.contains("a=recvonly\r\n"), "{}", held.body);
            let (resume, resumed) =
                reinvite(&mut world, &mut one, &other, &sdp(holder, 6000), &sdp(holder.other(), 7000));
            assert!(resume.body.contains("a=sendrecv\r\n"));
            assert_eq!((version(&resume), version(&resumed)), (version(&hold) + 1, version(&held) + 1));
            let addresses = |flows: &std::collections::BTreeMap<_, crate::engine::flow::FlowSpec>| {
                flows.values().map(|flow| (flow.local, flow.source.generation)).collect::<Vec<_>>()
            };
            assert_eq!(addresses(&world.flows).len(), addresses(&flows).len());
            hang_up(&mut world, &mut one, &other);
        }
    }
}

#[test]
fn a_far_end_that_moves_is_learned_anew_and_the_other_is_not() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    let local = |world: &World, leg: LegName| {
        let flow = world.flows.values().find(|flow| flow.owner.leg == leg && flow.local.port() % 2 == 0);
        flow.cloned().unwrap()
    };
    let before = (local(&world, A), local(&world, B));
    reinvite(&mut world, &mut from, &to, &sdp(A, 6100), &sdp(B, 7000));
    let after = (local(&world, A), local(&world, B));
    assert_eq!((before.0.local, before.1.local), (after.0.local, after.1.local), "our ports stay");
    assert_eq!(after.0.source.generation, before.0.source.generation + 1);
    assert_eq!(after.1.source.generation, before.1.source.generation);
    assert_eq!(after.1.send_to, format!("{}:6100", media_address(A)).parse().unwrap());
    hang_up(&mut world, &mut from, &to);
}

#[test]
fn a_failed_reinvite_changes_nothing() {
    for (status, told) in [("488", "488"), ("491", "491"), ("503", "500"), ("401", "502")] {
        let mut world = World::new();
        let (mut from, to) = talking(&mut world, A);
        let before = world.flows.clone();
        from.request(&mut world, "INVITE", &sdp(A, 6100));
        let invite = world.expect(B, "INVITE ");
        to.respond(&mut world, &invite, status, "");
        world.expect(B, "ACK ");
        world.expect(A, &format!("SIP/2.0 {told}"));
        from.ack_failure(&mut world);
        assert_eq!(world.flows, before);
        assert_eq!(world.engine.calls_in_progress(), 1);
        hang_up(&mut world, &mut from, &to);
    }
}

#[test]
fn a_reinvite_into_a_lost_dialog_ends_the_call() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    from.request(&mut world, "INVITE", &sdp(A, 6100));
    let invite = world.expect(B, "INVITE ");
    to.respond(&mut world, &invite, "481", "");
    world.expect_among(A, "SIP/2.0 487");
    from.ack_failure(&mut world);
    let bye = world.expect_among(A, "BYE ");
    from.respond(&mut world, &bye, "200", "");
    let bye = world.expect_among(B, "BYE ");
    to.respond(&mut world, &bye, "481", "");
    assert_eq!(world.cdr(A).release.cause, Cause::Unreachable);
    world.assert_quiet();
}

#[test]
fn glare_is_told_491() {
    let mut world = World::new();
    let (mut from, mut to) = talking(&mut world, A);
    from.request(&mut world, "INVITE", &sdp(A, 6100));
    let invite = world.expect(B, "INVITE ");
    to.request(&mut world, "INVITE", &sdp(B, 7100));
    world.expect(B, "SIP/2.0 491");
    to.ack_failure(&mut world);
    from.request(&mut world, "INVITE", &sdp(A, 6200));
    let early = world.expect(A, "SIP/2.0 500");
    assert_eq!(early.all("Retry-After"), ["1"]);
    from.ack_failure(&mut world);
    to.respond(&mut world, &invite, "491", "");
    world.expect(A, "SIP/2.0 491");
    world.expect(B, "ACK ");
    hang_up(&mut world, &mut from, &to);
}

#[test]
fn a_reinvite_may_be_cancelled() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    from.request(&mut world, "INVITE", &sdp(A, 6100));
    let invite = world.expect(B, "INVITE ");
    to.respond(&mut world, &invite, "100", "");
    from.cancel(&mut world);
    let cancel = world.expect(B, "CANCEL ");
    to.respond(&mut world, &cancel, "200", "");
    to.respond(&mut world, &invite, "487", "");
    world.expect_among(A, "SIP/2.0 487");
    from.ack_failure(&mut world);
    assert_eq!(world.engine.calls_in_progress(), 1);
    hang_up(&mut world, &mut from, &to);
}

#[test]
fn an_offerless_reinvite_takes_the_long_way() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    from.request(&mut world, "INVITE", "");
    let invite = world.expect(B, "INVITE ");
    assert!(invite.body.is_empty());
    to.respond(&mut world, &invite, "200", &sdp(B, 7100));
    world.expect_nothing(B);
    world.expect(A, "SIP/2.0 200");
    from.ack(&mut world, &sdp(A, 6000));
    let ack = world.expect(B, "ACK ");
    assert!(ack.body.contains("m=audio"));
    let moved = format!("{}:7100", media_address(B)).parse().unwrap();
    assert!(world.flows.values().any(|flow| flow.send_to == moved));
    hang_up(&mut world, &mut from, &to);
}

#[test]
fn a_hang_up_during_a_reinvite_ends_both() {
    for (caller, by_offerer) in [(A, true), (B, true), (A, false)] {
        let mut world = World::new();
        let (one, other) = talking(&mut world, caller);
        let (mut from, mut to) = if caller == A { (one, other) } else { (other, one) };
        from.request(&mut world, "INVITE", &sdp(A, 6100));
        let invite = world.expect(B, "INVITE ");
        let side = if by_offerer {
            from.request(&mut world, "BYE", "");
            let bye = world.expect(B, "BYE ");
            to.respond(&mut world, &bye, "200", "");
            // Their 2xx was already on its way.
            to.respond(&mut world, &invite, "200", &sdp(B, 7000));
            world.expect(B, "ACK ");
            world.expect_nothing(B);
            ReleaseSide::A
        } else {
            to.request(&mut world, "BYE", "");
            to.respond(&mut world, &invite, "487", "");
            let bye = world.expect_among(A, "BYE ");
            from.respond(&mut world, &bye, "200", "");
            ReleaseSide::B
        };
        world.pass(Duration::from_secs(40));
        assert_eq!((world.cdr(A).release.side, world.cdr(A).release.cause), (side, Cause::Normal));
        world.assert_quiet();
    }
}

#[test]
fn a_stream_may_be_added_and_removed() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    let video = |leg, port, on: u16| {
        format!("{}m=video {on} RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n", sdp(leg, port))
    };
    reinvite(&mut world, &mut from, &to, &video(A, 6000, 6002), &video(B, 7000, 7002));
    assert_eq!(world.flows.len(), 8);
    reinvite(&mut world, &mut from, &to, &video(A, 6000, 0), &video(B, 7000, 0));
    assert_eq!(world.flows.len(), 4);
    hang_up(&mut world, &mut from, &to);
}

#[test]
fn old_and_unknown_requests_are_refused() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    for (method, status) in [("SUBSCRIBE", "405"), ("REFER", "405"), ("FOO", "501")] {
        from.request(&mut world, method, "");
        let refused = world.expect(A, &format!("SIP/2.0 {status}"));
        assert_eq!(refused.header("Allow"), "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO");
    }
    from.request(&mut world, "OPTIONS", "");
    assert_eq!(world.expect(A, "SIP/2.0 200").header("Accept"), "application/sdp");
    from.cseq = 2;
    from.request(&mut world, "BYE", "");
    world.expect(A, "SIP/2.0 500");
    world.expect_nothing(B);
    from.cseq = 50;
    hang_up(&mut world, &mut from, &to);
}
