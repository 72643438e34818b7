//! One INVITE, several far ends: who is heard, and who has the call.

use std::net::SocketAddr;

use super::far_end::{FarEnd, sdp};
use super::setup::{A, B, ringing};
use super::world::{Msg, World, media_address};
use crate::engine::cdr::Cause;

/// A call that rings at two phones.
fn forked(world: &mut World) -> (FarEnd, [FarEnd; 2], Msg) {
    let (from, one, invite) = ringing(world, A);
    let other = FarEnd::called(world, B, &invite);
    (from, [one, other], invite)
}

/// Where the caller's audio goes, if anywhere.
fn heard_by(world: &World) -> Option<SocketAddr> {
    let flow = world.flows.values().find(|flow| flow.owner.leg == A && flow.content.has_rtp());
    flow.map(|flow| flow.send_to)
}

fn at(port: u16) -> SocketAddr {
    format!("{}:{port}", media_address(B)).parse().unwrap()
}

fn hang_up(world: &mut World, from: &mut FarEnd, to: &FarEnd) {
    from.request(world, "BYE", "");
    let bye = world.expect_among(B, "BYE ");
    to.respond(world, &bye, "200", "");
    world.assert_quiet();
}

#[test]
fn the_fork_that_spoke_last_is_heard_and_the_one_that_accepts_has_the_call() {
    let mut world = World::new();
    let (mut from, [one, other], invite) = forked(&mut world);
    one.respond(&mut world, &invite, "183", &sdp(B, 7000));
    assert_eq!(heard_by(&world), Some(at(7000)));
    other.respond(&mut world, &invite, "183", &sdp(B, 7100));
    assert_eq!(heard_by(&world), Some(at(7100)));
    one.respond(&mut world, &invite, "200", "");
    assert_eq!(heard_by(&world), Some(at(7000)), "its own early answer counts, not the latest one");
    let ok = world.expect_among(A, "SIP/2.0 200");
    assert!(ok.body.contains("m=audio"));
    from.ack(&mut world, "");
    assert!(world.expect(B, "ACK ").header("To").ends_with(one.local.rsplit(';').next().unwrap()));

    other.respond(&mut world, &invite, "200", &sdp(B, 7100));
    world.expect(B, "ACK ");
    let bye = world.expect(B, "BYE ");
    other.respond(&mut world, &bye, "200", "");
    assert_eq!(heard_by(&world), Some(at(7000)));
    hang_up(&mut world, &mut from, &one);
}

#[test]
fn the_caller_has_one_dialog_whatever_rings_behind_it() {
    let mut world = World::new();
    let (mut from, [one, other], invite) = forked(&mut world);
    let rings = |msg: Msg| (msg.tag("To").expect("a tag").to_owned(), media_of(&msg));
    world.rest(A);
    one.respond(&mut world, &invite, "183", &sdp(B, 7000));
    let (tag, media) = rings(world.expect(A, "SIP/2.0 183"));
    other.respond(&mut world, &invite, "180", "");
    assert_eq!(world.expect(A, "SIP/2.0 180").tag("To"), Some(tag.as_str()));
    other.respond(&mut world, &invite, "183", &sdp(B, 7100));
    assert_eq!(rings(world.expect(A, "SIP/2.0 183")), (tag.clone(), media.clone()));
    other.respond(&mut world, &invite, "200", &sdp(B, 7100));
    assert_eq!(rings(world.expect(A, "SIP/2.0 200")), (tag, media));
    from.ack(&mut world, "");
    hang_up(&mut world, &mut from, &other);
}

/// Where a description wants audio, and of which types.
fn media_of(msg: &Msg) -> Vec<String> {
    let lines = msg.body.lines().filter(|line| line.starts_with("c=") || line.starts_with("m="));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_2xx_never_takes_the_answer_of_another_fork() {
    let mut world = World::new();
    let (from, [one, other], invite) = forked(&mut world);
    one.respond(&mut world, &invite, "183", &sdp(B, 7000));
    other.respond(&mut world, &invite, "200", "");
    world.expect(B, "ACK ");
    let bye = world.expect(B, "BYE ");
    other.respond(&mut world, &bye, "200", "");
    world.expect_among(A, "SIP/2.0 488");
    from.ack_failure(&mut world);
    assert_eq!(world.cdr(B).release.cause, Cause::NotAcceptable);
    world.assert_quiet();
}

#[test]
fn a_stream_that_one_fork_refuses_waits_for_one_that_wants_it() {
    let mut world = World::new();
    let (mut from, [one, other], invite) = forked(&mut world);
    one.respond(&mut world, &invite, "183", &sdp(B, 0));
    assert_eq!(heard_by(&world), None);
    other.respond(&mut world, &invite, "183", &sdp(B, 7100));
    assert_eq!(heard_by(&world), Some(at(7100)));
    other.respond(&mut world, &invite, "200", &sdp(B, 7100));
    world.expect_among(A, "SIP/2.0 200");
    from.ack(&mut world, "");
    assert_eq!(world.flows.len(), 4);
    hang_up(&mut world, &mut from, &other);
}

#[test]
fn so_many_forks_are_heard_and_no_more() {
    let mut world = World::new();
    let (mut from, [one, _], invite) = forked(&mut world);
    for port in 0..20 {
        let fork = FarEnd::called(&mut world, B, &invite);
        fork.respond(&mut world, &invite, "183", &sdp(B, 7100 + 2 * port));
    }
    assert_eq!(heard_by(&world), Some(at(7130)));
    assert_eq!(world.counter("calls.forks_not_heard"), 4);
    one.respond(&mut world, &invite, "200", &sdp(B, 7000));
    assert_eq!(heard_by(&world), Some(at(7000)), "who accepts is heard in any case");
    world.expect_among(A, "SIP/2.0 200");
    from.ack(&mut world, "");
    hang_up(&mut world, &mut from, &one);
}
