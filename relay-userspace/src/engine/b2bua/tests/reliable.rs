//! Provisional responses that must arrive (RFC 3262), and UPDATE with an offer.

use std::time::Duration;

use super::changes::hang_up;
use super::far_end::{FarEnd, sdp, sdp_with};
use super::setup::{A, B, talking};
use super::world::{Msg, World, media_address};
use crate::engine::cdr::Cause;

/// A call by A, which says this about reliability: both ends and B's INVITE.
fn calling(world: &mut World, of_a: &str) -> (FarEnd, FarEnd, Msg) {
    let mut from = FarEnd::calling(world, A);
    from.request_with(world, "INVITE", (of_a, &sdp(A, 6000)));
    world.expect(A, "SIP/2.0 100");
    let invite = world.expect(B, "INVITE ");
    let to = FarEnd::called(world, B, &invite);
    (from, to, invite)
}

fn prack(world: &mut World, from: &mut FarEnd, progress: &Msg) {
    let rack = format!("RAck: {} {}\r\n", progress.header("RSeq"), progress.header("CSeq"));
    from.request_with(world, "PRACK", (&rack, ""));
}

const RELIABLY: &str = "Require: 100rel\r\nRSeq: ";

#[test]
fn what_a_callee_sends_reliably_is_acknowledged_in_order_in_its_own_dialog() {
    let mut world = World::new();
    let (mut from, one, invite) = calling(&mut world, "");
    let other = FarEnd::called(&mut world, B, &invite);
    assert!(invite.all("Supported").contains(&"100rel"));
    let says = |world: &mut World, fork: &FarEnd, number: u32, body: &str| {
        fork.respond_with(world, &invite, "183", (&format!("{RELIABLY}{number}\r\n"), body));
    };
    says(&mut world, &one, 10, &sdp(B, 7000));
    let prack = world.expect(B, "PRACK ");
    assert_eq!((prack.header("RAck"), prack.header("CSeq")), ("10 1 INVITE", "2 PRACK"));
    assert_eq!(prack.header("To"), one.local);
    one.respond(&mut world, &prack, "200", "");
    let progress = world.expect(A, "SIP/2.0 183");
    assert!(progress.all("RSeq").is_empty(), "nobody asked us for it");
    // Again, and with one missing in between: neither is looked at.
    says(&mut world, &one, 10, &sdp(B, 7000));
    says(&mut world, &one, 12, &sdp(B, 7000));
    world.expect_nothing(A);
    world.expect_nothing(B);
    // Another fork counts for itself.
    says(&mut world, &other, 1, &sdp(B, 7100));
    let prack = world.expect(B, "PRACK ");
    assert_eq!((prack.header("RAck"), prack.header("To")), ("1 1 INVITE", other.local.as_str()));
    other.respond(&mut world, &prack, "200", "");
    says(&mut world, &one, 11, "");
    let prack = world.expect(B, "PRACK ");
    assert_eq!((prack.header("RAck"), prack.header("CSeq")), ("11 1 INVITE", "3 PRACK"));
    one.respond(&mut world, &prack, "200", "");
    one.respond(&mut world, &invite, "200", "");
    assert_eq!(world.expect(B, "ACK ").header("CSeq"), "1 ACK");
    let ok = world.expect_among(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(&mut world, "");
    from.request(&mut world, "BYE", "");
    let bye = world.expect(B, "BYE ");
    assert_eq!(bye.header("CSeq"), "4 BYE", "above what the early dialog has used");
    one.respond(&mut world, &bye, "200", "");
    world.assert_quiet();
}

#[test]
fn a_caller_is_sent_reliably_what_it_insists_on_or_hears() {
    for (asks, ringing_too) in [("Supported: 100rel\r\n", false), ("Require: 100rel\r\n", true)] {
        let mut world = World::new();
        let (mut from, to, invite) = calling(&mut world, asks);
        to.respond(&mut world, &invite, "180", "");
        let ringing = world.expect(A, "SIP/2.0 180");
        assert_eq!(!ringing.all("RSeq").is_empty(), ringing_too, "{asks}");
        from.learn(&ringing);
        if ringing_too {
            assert_eq!(ringing.header("Require"), "100rel");
            // What comes meanwhile waits.
            to.respond(&mut world, &invite, "183", &sdp(B, 7000));
            world.expect_nothing(A);
            prack(&mut world, &mut from, &ringing);
            world.expect(A, "SIP/2.0 200");
        } else {
            to.respond(&mut world, &invite, "183", &sdp(B, 7000));
        }
        let progress = world.expect(A, "SIP/2.0 183");
        assert_eq!(progress.header("RSeq"), if ringing_too { "2" } else { "1" });
        world.pass(Duration::from_millis(1600));
        assert_eq!(world.rest(A).len(), 2, "it is sent again");
        // The answer waits until the description has arrived.
        to.respond(&mut world, &invite, "200", "");
        world.expect(B, "ACK ");
        world.expect_nothing(A);
        from.request_with(&mut world, "PRACK", ("RAck: 77 1 INVITE\r\n", ""));
        world.expect(A, "SIP/2.0 481");
        from.request(&mut world, "PRACK", "");
        world.expect(A, "SIP/2.0 400");
        prack(&mut world, &mut from, &progress);
        world.expect(A, "SIP/2.0 200");
        let ok = world.expect(A, "SIP/2.0 200");
        assert_eq!((ok.header("CSeq"), &ok.body), ("1 INVITE", &progress.body));
        from.cseq = 2;
        from.ack(&mut world, "");
        from.cseq = 20;
        world.pass(Duration::from_secs(40));
        world.expect_nothing(A);
        hang_up(&mut world, &mut from, &to);
    }
}

#[test]
fn a_caller_that_never_acknowledges_is_refused() {
    let mut world = World::new();
    let (from, to, invite) = calling(&mut world, "Require: 100rel\r\n");
    to.respond(&mut world, &invite, "180", "");
    world.pass(Duration::from_secs(33));
    let rest = world.rest(A);
    assert_eq!(rest.iter().filter(|start| start.starts_with("SIP/2.0 180")).count(), 11);
    assert!(rest.iter().any(|start| start.starts_with("SIP/2.0 504")), "{rest:?}");
    from.ack_failure(&mut world);
    let cancel = world.expect_among(B, "CANCEL ");
    to.respond(&mut world, &cancel, "200", "");
    to.respond(&mut world, &invite, "487", "");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.cdr(A).release.cause, Cause::ProtocolError);
    world.assert_quiet();
}

#[test]
fn a_caller_that_gives_up_while_its_answer_waits_leaves_nobody_hanging() {
    let mut world = World::new();
    let (mut from, to, invite) = calling(&mut world, "Supported: 100rel\r\n");
    to.respond(&mut world, &invite, "183", &sdp(B, 7000));
    to.respond(&mut world, &invite, "200", "");
    world.expect_among(B, "ACK ");
    from.cseq = 2;
    from.cancel(&mut world);
    world.expect_among(A, "SIP/2.0 487");
    from.ack_failure(&mut world);
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    world.assert_quiet();
}

#[test]
fn an_update_with_an_offer_changes_the_call_like_a_reinvite() {
    for asks in [A, B] {
        for status in ["200", "488"] {
            let mut world = World::new();
            let (from, to) = talking(&mut world, A);
            let (mut one, other) = if from.leg == asks { (from, to) } else { (to, from) };
            one.request(&mut world, "UPDATE", &sdp_with(asks, 6400, "a=sendonly\r\n"));
            let invite = world.expect(other.leg, "INVITE ");
            assert!(invite.body.contains("a=sendonly"));
            one.request(&mut world, "UPDATE", &sdp(asks, 6500));
            world.expect(asks, "SIP/2.0 500");
            let answer = sdp_with(other.leg, 7000, "a=recvonly\r\n");
            other.respond(&mut world, &invite, status, if status == "200" { &answer } else { "" });
            world.expect(other.leg, "ACK ");
            let answered = world.expect(asks, &format!("SIP/2.0 {status}"));
            assert_eq!(answered.body.contains("a=recvonly"), status == "200");
            let moved = format!("{}:6400", media_address(asks)).parse().unwrap();
            assert_eq!(world.flows.values().any(|flow| flow.send_to == moved), status == "200");
            world.pass(Duration::from_secs(40));
            world.expect_nothing(asks);
            hang_up(&mut world, &mut one, &other);
        }
    }
}
