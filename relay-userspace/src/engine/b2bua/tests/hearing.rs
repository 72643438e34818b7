//! Silence of one side, and of both.

use std::time::Duration;

use super::far_end::{sdp, sdp_with};
use super::setup::{A, B, talking};
use super::world::{World, config};
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::cdr::{Cause, ReleaseSide};
use crate::engine::event::Event;

fn one_way_events(world: &World) -> usize {
    world.events.iter().filter(|event| matches!(event, Event::OneWayAudio { .. })).count()
}

#[test]
fn one_silent_side_is_reported_shown_and_recorded() {
    for silent in [A, B] {
        let mut world = World::new();
        let (mut from, to) = talking(&mut world, A);
        world.pass(Duration::from_mins(1));
        assert_eq!(one_way_events(&world), 0);
        world.silent = vec![silent];
        world.pass(Duration::from_mins(1));
        assert_eq!(one_way_events(&world), 1);
        assert_eq!(world.counter("calls.one_way_audio"), 1);
        let AdminReply::Calls(calls) = world.ask(AdminRequest::CallsList) else { panic!("calls") };
        for leg in &calls[0].legs {
            assert_eq!(leg.silent, leg.leg == silent);
        }
        from.request(&mut world, "BYE", "");
        let bye = world.expect_among(B, "BYE ");
        to.respond(&mut world, &bye, "200", "");
        for leg in [A, B] {
            assert_eq!(world.cdr(leg).media.one_way, leg == silent);
        }
        world.assert_quiet();
    }
}

#[test]
fn a_call_of_which_nobody_is_heard_ends() {
    let mut world = World::new();
    let (_, to) = talking(&mut world, A);
    world.silent = vec![A, B];
    world.pass(Duration::from_secs(290));
    assert_eq!(world.engine.calls_in_progress(), 1);
    world.pass(Duration::from_secs(25));
    for leg in [A, B] {
        let bye = world.expect_among(leg, "BYE ");
        assert!(bye.header("Reason").ends_with("cause=102"), "{}", bye.text);
        to.respond(&mut world, &bye, "200", "");
        let release = &world.cdr(leg).release;
        assert_eq!((release.side, release.cause), (ReleaseSide::Platform, Cause::MediaTimeout));
    }
    assert_eq!(one_way_events(&world), 0);
    world.assert_quiet();
}

#[test]
fn silence_is_borne_on_hold_and_where_the_limits_are_off() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    from.request(&mut world, "INVITE", &sdp_with(A, 6000, "a=sendonly\r\n"));
    let invite = world.expect(B, "INVITE ");
    to.respond(&mut world, &invite, "200", &sdp_with(B, 7000, "a=recvonly\r\n"));
    world.expect_among(A, "SIP/2.0 200");
    from.ack(&mut world, "");
    world.silent = vec![A, B];
    world.pass(Duration::from_mins(30));
    assert_eq!(world.engine.calls_in_progress(), 1);
    from.request(&mut world, "INVITE", &sdp(A, 6000));
    let invite = world.expect_among(B, "INVITE ");
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    world.expect_among(A, "SIP/2.0 200");
    from.ack(&mut world, "");
    world.pass(Duration::from_secs(290));
    assert_eq!(world.engine.calls_in_progress(), 1, "after a resume its time begins anew");
    world.pass(Duration::from_secs(25));
    assert_eq!(world.cdr(A).release.cause, Cause::MediaTimeout);

    let mut patient = config();
    patient.media.patience.timeout = Duration::ZERO;
    patient.media.patience.one_way_after = Duration::ZERO;
    let mut world = World::with(patient);
    talking(&mut world, A);
    world.silent = vec![A, B];
    world.pass(Duration::from_mins(30));
    world.silent = vec![B];
    world.pass(Duration::from_mins(10));
    assert_eq!((world.engine.calls_in_progress(), one_way_events(&world)), (1, 0));
}
