//! The process is killed, and the next one goes on with its calls.

use std::time::Duration;

use super::changes::{hang_up, reinvite, version};
use super::far_end::{FarEnd, sdp, sdp_with};
use super::setup::{A, B, ringing, talking};
use super::world::{World, config};
use crate::engine::cdr::{Cause, ReleaseSide, Traffic};
use crate::engine::config::{MediaSource, TrunkId};
use crate::engine::event::Event;
use crate::engine::flow::{Carrier, MediaPath};
use crate::engine::io::Input;

/// More than the journal is ever behind.
const JOURNALED: Duration = Duration::from_millis(100);

#[test]
fn a_call_goes_on_after_a_restart_and_is_recorded_whole() {
    for caller in [A, B] {
        for hanging_up in [A, B] {
            let mut world = World::new();
            let (from, to) = talking(&mut world, caller);
            world.pass(Duration::from_secs(20));
            let flows = world.flows.clone();
            world.restart();
            assert_eq!(world.flows, flows, "every flow stays as it was, generation included");
            assert!(world.events.contains(&Event::CallsRestored { restored: 1, ended: 0 }));
            world.expect_nothing(A);
            world.expect_nothing(B);
            world.pass(Duration::from_millis(10_500));
            let (mut one, other) = if from.leg == hanging_up { (from, to) } else { (to, from) };
            hang_up(&mut world, &mut one, &other);
            for leg in [A, B] {
                let cdr = world.cdr(leg);
                assert_eq!(cdr.billable_seconds, 31);
                assert_eq!((cdr.release.side, cdr.release.cause), (hanging_up.into(), Cause::Normal));
                assert_eq!(cdr.release.sip_status, Some(200));
            }
            assert_eq!(world.cdr(A).received, Traffic { packets: 20, bytes: 3440 });
            assert_eq!(world.cdr(A).sent, world.cdr(B).received);
        }
    }
}

#[test]
fn a_call_on_hold_is_still_on_hold_after_a_restart() {
    for restarts in [false, true] {
        let mut world = World::new();
        let (mut from, to) = talking(&mut world, A);
        let (hold, held) = (sdp_with(A, 6000, "a=sendonly\r\n"), sdp_with(B, 7000, "a=recvonly\r\n"));
        reinvite(&mut world, &mut from, &to, &hold, &held);
        world.pass(JOURNALED);
        if restarts {
            world.restart();
        }
        world.silent = vec![A, B];
        world.pass(Duration::from_mins(30));
        assert_eq!(world.engine.calls_in_progress(), 1, "silence is what was agreed on");
        reinvite(&mut world, &mut from, &to, &sdp(A, 6000), &sdp(B, 7000));
        world.pass(Duration::from_mins(6));
        assert_eq!(world.cdr(A).release.cause, Cause::MediaTimeout);
    }
}

#[test]
fn silence_is_noticed_after_a_restart_and_remembered_over_one() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    world.silent = vec![B];
    world.pass(Duration::from_mins(1));
    world.silent.clear();
    world.pass(Duration::from_secs(10));
    world.restart();
    world.pass(Duration::from_mins(1));
    hang_up(&mut world, &mut from, &to);
    assert!(world.cdr(B).media.one_way && !world.cdr(A).media.one_way, "it was so before the restart");

    let mut world = World::new();
    talking(&mut world, A);
    world.pass(JOURNALED);
    world.restart();
    world.silent = vec![A, B];
    world.pass(Duration::from_mins(6));
    assert_eq!(world.cdr(A).release.cause, Cause::MediaTimeout);
}

#[test]
fn a_call_that_rang_ends_with_its_records() {
    let mut world = World::new();
    let (mut from, to, invite) = ringing(&mut world, A);
    world.pass(JOURNALED);
    assert_eq!(world.calls.len(), 1);
    world.restart();
    assert!(world.flows.is_empty());
    for leg in [A, B] {
        let cdr = world.cdr(leg);
        assert_eq!((cdr.release.side, cdr.release.cause), (ReleaseSide::Platform, Cause::Shutdown));
        assert_eq!((cdr.answer, cdr.billable_seconds), (None, 0));
    }
    // The phone that still rings and is picked up is hung up.
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    from.request(&mut world, "BYE", "");
    world.expect(A, "SIP/2.0 481");
    world.assert_quiet();
}

#[test]
fn a_2xx_is_sent_again_until_its_ack_comes() {
    let mut world = World::new();
    let (mut from, to, invite) = ringing(&mut world, A);
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    let ok = world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    world.pass(JOURNALED);
    world.restart();
    assert_eq!(world.expect(A, "SIP/2.0 200").text, ok.text, "the same bytes");
    world.pass(Duration::from_millis(500));
    world.expect(A, "SIP/2.0 200");
    from.ack(&mut world, "");
    world.pass(Duration::from_mins(1));
    world.expect_nothing(A);
    hang_up(&mut world, &mut from, &to);
}

#[test]
fn a_2xx_that_is_never_acknowledged_ends_the_call() {
    let mut world = World::new();
    let (mut from, to, invite) = ringing(&mut world, A);
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    from.learn(&world.expect(A, "SIP/2.0 200"));
    world.pass(JOURNALED);
    world.restart();
    world.pass(Duration::from_secs(33));
    let bye = world.expect_among(A, "BYE ");
    from.respond(&mut world, &bye, "200", "");
    let bye = world.expect_among(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    assert_eq!(world.cdr(A).release.cause, Cause::ProtocolError);
    world.assert_quiet();
}

#[test]
fn a_repeated_2xx_from_before_the_restart_gets_its_ack() {
    let mut world = World::new();
    let (mut from, to, invite) = ringing(&mut world, A);
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    let ack = world.expect(B, "ACK ");
    from.learn(&world.expect(A, "SIP/2.0 200"));
    from.ack(&mut world, "");
    world.pass(JOURNALED);
    world.restart();
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    let again = world.expect(B, "ACK ");
    assert_eq!((again.header("CSeq"), again.tag("To")), (ack.header("CSeq"), ack.tag("To")));
    world.expect_nothing(B);
    hang_up(&mut world, &mut from, &to);
}

#[test]
fn requests_go_on_with_higher_numbers_and_a_new_version() {
    let mut world = World::new();
    let (mut from, to, invite) = ringing(&mut world, A);
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    from.learn(&world.expect(A, "SIP/2.0 200"));
    from.ack(&mut world, "");
    world.rest(B);
    let (first, _) = reinvite(&mut world, &mut from, &to, &sdp(A, 6100), &sdp(B, 7000));
    world.pass(JOURNALED);
    let flows = world.flows.clone();
    world.restart();
    assert_eq!(world.flows, flows);
    let (second, _) = reinvite(&mut world, &mut from, &to, &sdp(A, 6200), &sdp(B, 7000));
    let cseq = |text: &str| text.split(' ').next().unwrap().parse::<u32>().unwrap();
    assert!(cseq(second.header("CSeq")) > cseq(first.header("CSeq")));
    assert_eq!(version(&second), version(&first) + 1);
    assert_eq!(second.header("Call-ID"), first.header("Call-ID"));
    hang_up(&mut world, &mut from, &to);
}

#[test]
fn the_egress_check_knows_its_secrets_again() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    world.pass(JOURNALED);
    world.restart();
    let offer = sdp(A, 6100).replace("a=fmtp:101 0-16", "a=fmtp:101 203.0.113.2");
    // What only the allow-list holds back shows that the check is armed.
    from.request(&mut world, "INVITE", &offer.replace("203.0.113.2", "198.51.100.1"));
    assert_eq!(world.counter("sip.leak_stopped"), 1);
    for far_end in [&from, &to] {
        let bye = world.expect_among(far_end.leg, "BYE ");
        far_end.respond(&mut world, &bye, "200", "");
    }
    world.assert_quiet();
}

#[test]
fn a_call_whose_trunk_is_gone_is_ended_and_recorded() {
    let mut world = World::new();
    let (from, to) = talking(&mut world, A);
    world.pass(JOURNALED);
    let mut config = config();
    config.trunks.truncate(1);
    config.routes.truncate(1);
    config.emergency.trunk = Some(TrunkId(0));
    world.restart_with(config);
    for far_end in [&from, &to] {
        let bye = world.expect_among(far_end.leg, "BYE ");
        far_end.respond(&mut world, &bye, "200", "");
    }
    assert_eq!((world.cdr(A).release.cause, world.cdr(B).release.cause), (Cause::NoRoute, Cause::NoRoute));
    assert_eq!((world.cdr(A).trunk.as_str(), world.cdr(B).trunk.as_str()), ("customers", "agents"));
    assert_eq!(world.cdr(A).received, Traffic { packets: 20, bytes: 3440 });
    world.assert_quiet();
}

#[test]
fn records_say_what_carried_the_call_and_why_nothing_faster_did() {
    let why = "native XDP failed: the MTU is 9000";
    let carried = |path, reason| Input::MediaPath(Carrier::new(path, reason));
    for can_go_on in [true, false] {
        let mut world = World::new();
        world.input(carried(MediaPath::XdpNative, "the driver runs the program"));
        let (mut from, to) = talking(&mut world, A);
        assert_eq!(world.counter("media.slow_path_flows"), 0);
        world.pass(JOURNALED);
        world.restart();
        world.input(carried(MediaPath::XdpGeneric, why));
        assert_eq!(world.counter("media.slow_path_flows"), 4, "they fell off the fast path");
        if can_go_on {
            hang_up(&mut world, &mut from, &to);
        } else {
            world.pass(JOURNALED);
            let mut config = config();
            config.media.ports = 50_000..=50_099;
            world.restart_with(config);
        }
        for leg in [A, B] {
            let media = &world.cdr(leg).media;
            assert_eq!(media.path, Some(MediaPath::XdpGeneric));
            assert_eq!(media.slow_because.as_deref(), Some(why));
        }
    }
    let mut world = World::new();
    world.input(carried(MediaPath::XdpNative, "the driver runs the program"));
    let (mut from, to) = talking(&mut world, A);
    hang_up(&mut world, &mut from, &to);
    let media = &world.cdr(A).media;
    assert_eq!((media.path, &media.slow_because), (Some(MediaPath::XdpNative), &None));
}

#[test]
fn what_the_journal_never_heard_of_leaves_nothing() {
    let mut world = World::new();
    let (mut from, _) = talking(&mut world, A);
    assert!(world.calls.is_empty());
    world.restart();
    assert!(world.flows.is_empty());
    assert_eq!(world.counter("media.flows_swept"), 4);
    from.request(&mut world, "BYE", "");
    world.expect(A, "SIP/2.0 481");
    assert!(world.cdrs.is_empty());
    world.assert_quiet();
}

#[test]
fn ports_of_flows_that_were_swept_rest() {
    let mut world = World::new();
    talking(&mut world, A);
    let swept: Vec<_> = world.flows.keys().copied().collect();
    world.restart();
    // Fifty pairs there are; two rest.
    for _ in 0..24 {
        talking(&mut world, A);
    }
    assert_eq!(world.flows.len(), 96);
    assert!(swept.iter().all(|local| !world.flows.contains_key(local)));
    world.pass(config().media.quarantine);
    talking(&mut world, A);
    assert!(swept.iter().all(|local| world.flows.contains_key(local)));
}

#[test]
fn a_door_that_was_closed_stays_so_over_a_restart() {
    let mut config = config();
    config.trunks[0].media_source = MediaSource::Nat;
    config.trunks[1].media_source = MediaSource::Network("203.0.113.0/24".parse().unwrap());
    let mut world = World::with(config.clone());
    talking(&mut world, A);
    let open = world.flows.clone();
    world.pass(config.media.patience.learning_window * 2);
    let closed = world.flows.clone();
    assert!(closed.values().all(|flow| flow.source.allowed.prefix_len() == 32));
    assert!(open.values().any(|flow| closed[&flow.local] != *flow));
    world.restart_with(config);
    assert_eq!(world.flows, closed);
}

#[test]
fn the_longest_call_is_counted_from_its_answer() {
    let mut world = World::new();
    let (from, to) = talking(&mut world, A);
    world.pass(Duration::from_mins(50));
    world.restart();
    world.pass(Duration::from_mins(9));
    world.expect_nothing(A);
    world.pass(Duration::from_mins(1) + Duration::from_secs(1));
    for far_end in [&from, &to] {
        let bye = world.expect_among(far_end.leg, "BYE ");
        far_end.respond(&mut world, &bye, "200", "");
    }
    assert_eq!(world.cdr(A).release.cause, Cause::MaxDuration);
    world.assert_quiet();
}

#[test]
fn ports_of_calls_that_go_on_are_not_given_again() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    world.pass(JOURNALED);
    let used: Vec<_> = world.flows.keys().copied().collect();
    world.restart();
    // Fifty pairs there are; two are in use.
    let mut more: Vec<(FarEnd, FarEnd)> = Vec::new();
    for _ in 0..24 {
        more.push(talking(&mut world, A));
    }
    assert_eq!(world.flows.len(), 100);
    assert!(used.iter().all(|local| world.flows.contains_key(local)));
    more.push((from.clone(), to.clone()));
    for (mut one, other) in more.drain(..24) {
        one.request(&mut world, "BYE", "");
        world.expect_among(A, "SIP/2.0 200");
        let bye = world.expect_among(B, "BYE ");
        other.respond(&mut world, &bye, "200", "");
    }
    hang_up_quietly(&mut world, &mut from, &to);
}

fn hang_up_quietly(world: &mut World, one: &mut FarEnd, other: &FarEnd) {
    one.request(world, "BYE", "");
    world.expect_among(one.leg, "SIP/2.0 200");
    let bye = world.expect_among(other.leg, "BYE ");
    other.respond(world, &bye, "200", "");
    world.pass(Duration::from_mins(2));
    assert!(world.flows.is_empty() && world.calls.is_empty());
}
