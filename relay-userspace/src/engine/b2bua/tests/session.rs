//! Session timers (RFC 4028), towards far ends of every kind.

use std::time::Duration;

use super::changes::hang_up;
use super::far_end::{FarEnd, sdp};
use super::setup::{A, B};
use super::world::{Msg, World, config};
use crate::engine::cdr::{Cause, ReleaseSide};

/// A call by A of which both ends say something about session timers: its INVITE and
/// the 2xx that A gets.
fn talking_with(world: &mut World, of_a: &str, of_b: &str) -> (FarEnd, FarEnd, Msg, Msg) {
    let mut from = FarEnd::calling(world, A);
    from.request_with(world, "INVITE", (of_a, &sdp(A, 6000)));
    world.expect(A, "SIP/2.0 100");
    let invite = world.expect(B, "INVITE ");
    let to = FarEnd::called(world, B, &invite);
    to.respond_with(world, &invite, "200", (of_b, &sdp(B, 7000)));
    world.expect(B, "ACK ");
    let ok = world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(world, "");
    (from, to, invite, ok)
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

const UPDATES: &str = "Allow: INVITE, ACK, BYE, UPDATE\r\n";

#[test]
fn a_far_end_gets_the_timer_that_it_asks_for_and_no_other() {
    let cases = [
        ("", None, None),
        ("Supported: timer\r\n", Some("1800;refresher=uas"), None),
        ("Supported: timer\r\nMin-SE: 3600\r\n", Some("3600;refresher=uas"), None),
        ("k: timer\r\nx: 600\r\n", Some("600;refresher=uac"), Some("timer")),
        ("k: timer\r\nx: 600;refresher=uas\r\n", Some("600;refresher=uas"), None),
        ("k: timer\r\nx: 9000;refresher=uac\r\n", Some("1800;refresher=uac"), Some("timer")),
        ("Require: timer\r\nx: 90\r\n", Some("90;refresher=uac"), Some("timer")),
        // A proxy has asked on behalf of somebody who cannot.
        ("Session-Expires: 600;refresher=uac\r\n", Some("600;refresher=uas"), None),
    ];
    for (asked, expires, required) in cases {
        let mut world = World::new();
        let (mut from, to, invite, ok) = talking_with(&mut world, asked, "");
        assert_eq!(ok.all("Session-Expires").first().copied(), expires, "{asked}");
        assert_eq!(ok.all("Require").first().copied(), required, "{asked}");
        let asks = ["Session-Expires", "Min-SE"].map(|name| invite.header(name));
        assert!(invite.all("Supported").contains(&"timer"));
        assert_eq!(asks, ["1800", "90"], "the other leg's timer is its own");
        hang_up(&mut world, &mut from, &to);
    }
}

#[test]
fn too_short_a_session_is_refused_with_what_would_do() {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    from.request_with(&mut world, "INVITE", ("Supported: timer\r\nx: 60\r\n", &sdp(A, 6000)));
    world.expect(A, "SIP/2.0 100");
    let refused = world.expect(A, "SIP/2.0 422");
    assert_eq!(refused.header("Min-SE"), "90");
    from.ack_failure(&mut world);
    world.expect_nothing(B);
    let mut from = FarEnd::calling(&mut world, A);
    from.request_with(&mut world, "INVITE", ("Session-Expires: soon\r\n", &sdp(A, 6000)));
    world.expect_among(A, "SIP/2.0 400");
    from.ack_failure(&mut world);
    world.assert_quiet();
}

#[test]
fn a_callee_that_wants_a_longer_session_is_asked_again() {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    from.request(&mut world, "INVITE", &sdp(A, 6000));
    let first = world.expect(B, "INVITE ");
    let mut to = FarEnd::called(&mut world, B, &first);
    to.respond_with(&mut world, &first, "422", ("Min-SE: 4000\r\n", ""));
    world.expect(B, "ACK ");
    let again = world.expect(B, "INVITE ");
    assert_eq!([again.header("Session-Expires"), again.header("Min-SE")], ["4000", "4000"]);
    assert_eq!(again.header("Call-ID"), first.header("Call-ID"));
    assert_eq!([first.header("CSeq"), again.header("CSeq")], ["1 INVITE", "2 INVITE"]);
    to.respond_with(&mut world, &again, "200", ("Session-Expires: 4000;refresher=uac\r\n", &sdp(B, 7000)));
    assert_eq!(world.expect(B, "ACK ").header("CSeq"), "2 ACK");
    let ok = world.expect_among(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(&mut world, "");
    hang_up(&mut world, &mut to, &from);

    // Somebody who always wants more is not followed for ever, and the caller does not hear of it.
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    from.request(&mut world, "INVITE", &sdp(A, 6000));
    for interval in [4000, 5000, 6000, 7000] {
        let invite = world.expect_among(B, "INVITE ");
        let to = FarEnd::called(&mut world, B, &invite);
        to.respond_with(&mut world, &invite, "422", (&format!("Min-SE: {interval}\r\n"), ""));
    }
    world.expect_among(A, "SIP/2.0 500");
    from.ack_failure(&mut world);
    world.assert_quiet();
}

#[test]
fn we_refresh_by_update_or_by_saying_the_same_again() {
    for updates in [true, false] {
        let mut world = World::new();
        let b = format!("{}Session-Expires: 600;refresher=uac\r\n", if updates { UPDATES } else { "" });
        let (mut from, to, invite, _) = talking_with(&mut world, "", &b);
        for _ in 0..3 {
            world.pass(minutes(5));
            let refresh = world.expect(B, if updates { "UPDATE " } else { "INVITE " });
            assert_eq!(refresh.header("Session-Expires"), "600;refresher=uac");
            assert_eq!(refresh.header("Contact"), invite.header("Contact"));
            assert_eq!(refresh.body, if updates { "" } else { &invite.body });
            let body = if updates { String::new() } else { sdp(B, 7000) };
            to.respond_with(&mut world, &refresh, "200", ("Session-Expires: 600;refresher=uac\r\n", &body));
            if !updates {
                world.expect(B, "ACK ");
            }
            world.expect_nothing(A);
        }
        assert_eq!(world.engine.calls_in_progress(), 1);
        assert_eq!(world.counter("calls.session_refreshes"), 3);
        hang_up(&mut world, &mut from, &to);
    }
}

#[test]
fn a_session_that_is_not_refreshed_ends_and_says_why() {
    // A promises to refresh, and does so once, by UPDATE.
    let mut world = World::new();
    let (mut from, _, _, _) = talking_with(&mut world, "Supported: timer\r\nx: 600;refresher=uac\r\n", "");
    world.pass(minutes(5));
    from.request_with(&mut world, "UPDATE", ("Supported: timer\r\nx: 600;refresher=uac\r\n", ""));
    let ok = world.expect(A, "SIP/2.0 200");
    assert_eq!(ok.header("Session-Expires"), "600;refresher=uac");
    assert_eq!(ok.all("Contact").len(), 1);
    world.expect_nothing(B);
    world.pass(Duration::from_secs(567));
    world.expect_nothing(A);
    world.pass(Duration::from_secs(2));
    assert!(world.expect(A, "BYE ").header("Reason").starts_with("Q.850;cause=102"));
    world.expect(B, "BYE ");
    world.pass(minutes(1));
    let cdr = world.cdr(A);
    assert_eq!((cdr.release.cause, cdr.release.side), (Cause::SessionExpired, ReleaseSide::A));
    world.assert_quiet();
}

#[test]
fn a_refresh_that_fails_is_tried_again_and_one_into_nothing_ends_the_call() {
    for (status, ends) in
        [("500", false), ("491", false), ("405", false), ("422", false), ("481", true), ("", true)]
    {
        let mut world = World::new();
        let b = format!("{UPDATES}Session-Expires: 600;refresher=uac\r\n");
        let (mut from, to, _, _) = talking_with(&mut world, "", &b);
        world.pass(minutes(5));
        let refresh = world.expect(B, "UPDATE ");
        if status.is_empty() {
            world.pass(Duration::from_secs(33));
        } else {
            to.respond_with(&mut world, &refresh, status, ("Min-SE: 700\r\n", ""));
            let pause = match status {
                "491" => 5,
                "500" => 60,
                _ => 1,
            };
            world.pass(Duration::from_secs(pause));
        }
        if ends {
            world.expect_among(A, "BYE ");
            world.expect_among(B, "BYE ");
            world.pass(minutes(1));
            assert_eq!(world.cdr(B).release.cause, Cause::SessionExpired, "{status}");
            assert_eq!(world.cdr(B).release.side, ReleaseSide::B);
            world.assert_quiet();
            continue;
        }
        let again = world.expect(B, if status == "405" { "INVITE " } else { "UPDATE " });
        assert_eq!(again.header("Session-Expires").starts_with("700"), status == "422");
        let body = if status == "405" { sdp(B, 7000) } else { String::new() };
        to.respond_with(&mut world, &again, "200", ("Session-Expires: 700;refresher=uac\r\n", &body));
        world.rest(B);
        hang_up(&mut world, &mut from, &to);
    }
}

#[test]
fn a_refresh_waits_for_a_reinvite_and_a_reinvite_for_a_refresh() {
    let mut world = World::new();
    let (mut from, to, _, _) = talking_with(&mut world, "", "Session-Expires: 600;refresher=uac\r\n");
    world.pass(Duration::from_secs(299));
    from.request(&mut world, "INVITE", &sdp(A, 6100));
    let invite = world.expect(B, "INVITE ");
    world.pass(Duration::from_secs(2));
    assert!(world.rest(B).iter().all(|start| start.starts_with("INVITE ")), "retransmissions alone");
    to.respond_with(&mut world, &invite, "200", ("Session-Expires: 600;refresher=uac\r\n", &sdp(B, 7000)));
    world.expect_among(A, "SIP/2.0 200");
    from.ack(&mut world, "");
    world.expect(B, "ACK ");
    // The re-INVITE has refreshed it.
    world.pass(minutes(4));
    world.expect_nothing(B);
    world.pass(minutes(1));
    let refresh = world.expect(B, "INVITE ");
    from.request(&mut world, "INVITE", &sdp(A, 6200));
    world.expect_among(A, "SIP/2.0 491");
    from.ack_failure(&mut world);
    to.respond_with(&mut world, &refresh, "200", ("Session-Expires: 600;refresher=uac\r\n", &sdp(B, 7000)));
    world.expect_among(B, "ACK ");
    hang_up(&mut world, &mut from, &to);
}

#[test]
fn sessions_are_refreshed_after_a_restart() {
    for updates in [true, false] {
        let mut world = World::new();
        let b = format!("{}Session-Expires: 600;refresher=uac\r\n", if updates { UPDATES } else { "" });
        let (mut from, to, invite, _) = talking_with(&mut world, "Supported: timer\r\nx: 600\r\n", &b);
        world.pass(Duration::from_secs(1));
        world.restart();
        let method = if updates { "UPDATE " } else { "INVITE " };
        let refresh = (0..150).find_map(|_| {
            world.pass(Duration::from_secs(1));
            world.received(B)
        });
        let refresh = refresh.unwrap();
        assert!(refresh.start.starts_with(method), "{}", refresh.start);
        assert_eq!(refresh.body, if updates { "" } else { &invite.body });
        let body = if updates { String::new() } else { sdp(B, 7000) };
        to.respond_with(&mut world, &refresh, "200", ("Session-Expires: 600;refresher=uac\r\n", &body));
        world.rest(B);
        from.cseq = 50;
        from.request_with(&mut world, "UPDATE", ("Supported: timer\r\nx: 600\r\n", ""));
        world.expect(A, "SIP/2.0 200");
        if updates {
            hang_up(&mut world, &mut from, &to);
        } else {
            world.pass(Duration::from_secs(570));
            world.expect_among(A, "BYE ");
            world.pass(minutes(1));
            assert_eq!(world.cdr(A).release.cause, Cause::SessionExpired);
        }
    }
}

#[test]
fn there_are_no_timers_where_the_operator_wants_none() {
    let mut config = config();
    config.sip.session.interval = 0;
    let mut world = World::with(config);
    let (mut from, to, invite, ok) =
        talking_with(&mut world, "Supported: timer\r\nx: 600\r\n", "Session-Expires: 600;refresher=uac\r\n");
    for msg in [&invite, &ok] {
        assert!(msg.all("Session-Expires").is_empty() && !msg.text.contains("timer"), "{}", msg.text);
    }
    world.pass(minutes(20));
    world.expect_nothing(B);
    hang_up(&mut world, &mut from, &to);
}
