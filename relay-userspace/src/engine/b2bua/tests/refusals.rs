//! What is refused before there is a second leg.

use super::far_end::{FarEnd, sdp};
use super::setup::{A, B, ringing, talking};
use super::world::{AGENT, CUSTOMER_PROXY, World, carrier};
use crate::engine::cdr::Cause;
use crate::engine::event::Event;

/// An INVITE made different by `change`, which must be refused so.
fn refused(change: impl Fn(String) -> String, more: &str, body: &str, status: &str, cause: Cause) -> World {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    let text = change(from.text(&mut world, "INVITE", more, body));
    world.send(carrier(A), &text);
    world.expect(A, "SIP/2.0 100");
    let refusal = world.expect(A, &format!("SIP/2.0 {status}"));
    assert!(refusal.tag("To").is_some());
    assert_eq!(refusal.header("Reason"), format!("Q.850;cause={}", cause.q850()));
    from.ack_failure(&mut world);
    world.expect_nothing(B);
    let cdr = world.cdr(A);
    assert_eq!((cdr.release.cause, cdr.release.sip_status), (cause, Some(status.parse().unwrap())));
    assert_eq!(world.cdrs.len(), 1);
    let told = world.events.iter().filter(|event| matches!(event, Event::CallRefused { .. })).count();
    assert_eq!(told, 1);
    assert_eq!(world.counter("calls.refused"), 1);
    world.assert_quiet();
    world
}

#[test]
fn what_no_binding_joins_is_refused_and_never_guessed() {
    let stranger = |text: String| text.replace("+12125551200", "+12125559999");
    refused(stranger, "", &sdp(A, 6000), "404", Cause::NoBinding);
    let elsewhere = |text: String| text.replace(CUSTOMER_PROXY, "14155550111");
    refused(elsewhere, "", &sdp(A, 6000), "404", Cause::NoBinding);
    let anonymous =
        |text: String| text.replace("+12125551200@198.51.100.1>;tag", "anonymous@anonymous.invalid>;tag");
    refused(anonymous, "", &sdp(A, 6000), "433", Cause::Anonymous);
    let direct = |text: String| text.replace(&format!("sip:+{CUSTOMER_PROXY}@"), &format!("sip:+{AGENT}@"));
    let mut world = World::new();
    world.masked = false;
    let mut from = FarEnd::calling(&mut world, A);
    let text = direct(from.text(&mut world, "INVITE", "", &sdp(A, 6000)));
    world.send(carrier(A), &text);
    world.expect(A, "SIP/2.0 100");
    world.expect(A, "SIP/2.0 404");
    world.expect_nothing(B);
}

#[test]
fn what_we_do_not_do_is_refused_with_what_we_do() {
    let same = |text: String| text;
    let mut world = refused(same, "Require: 100rel, foo\r\n", &sdp(A, 6000), "420", Cause::ProtocolError);
    drop(world.rest(A));
    let hops = |text: String| text.replace("Max-Forwards: 70", "Max-Forwards: 0");
    refused(hops, "", &sdp(A, 6000), "483", Cause::ProtocolError);
    let body = |text: String| text.replace("application/sdp", "text/plain");
    refused(body, "", &sdp(A, 6000), "415", Cause::NotAcceptable);
    refused(same, "", "v=0\r\nm=audio\r\n", "400", Cause::NotAcceptable);
    let secure = sdp(A, 6000).replace("RTP/AVP", "RTP/SAVP");
    refused(same, "", &secure, "488", Cause::NotAcceptable);
    let named = sdp(A, 6000).replace("c=IN IP4 198.51.100.77", "c=IN IP4 host.example.com");
    refused(same, "", &named, "488", Cause::NotAcceptable);
    let mail =
        |text: String| text.replace("INVITE sip:+14155550100@192.0.2.1:5060", "INVITE mailto:a@example.com");
    refused(mail, "", &sdp(A, 6000), "416", Cause::ProtocolError);
}

#[test]
fn a_privacy_caller_is_found_by_the_identity_of_a_trusted_trunk() {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    let identity = "P-Asserted-Identity: \"LEAK-OF-?\" <sip:+12125551200@198.51.100.1>\r\nPrivacy: id\r\n";
    let text = from.text(&mut world, "INVITE", identity, &sdp(A, 6000));
    let text = text.replace("+12125551200@198.51.100.1>;tag", "anonymous@anonymous.invalid>;tag");
    world.send(carrier(A), &text);
    world.expect(A, "SIP/2.0 100");
    let invite = world.expect(B, "INVITE ");
    assert!(invite.all("Privacy").is_empty());
}

#[test]
fn an_unsupported_extension_is_named() {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    let text = from.text(
        &mut world,
        "INVITE",
        "Require: foo\r\nRequire: timer, 100rel\r\nRequire: bar\r\n",
        &sdp(A, 6000),
    );
    world.send(carrier(A), &text);
    world.expect(A, "SIP/2.0 100");
    assert_eq!(world.expect(A, "SIP/2.0 420").header("Unsupported"), "foo, bar");
}

#[test]
fn an_invite_that_came_twice_over_different_ways_is_a_loop() {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    let text = from.text(&mut world, "INVITE", "", &sdp(A, 6000));
    world.send(carrier(A), &text);
    world.expect(A, "SIP/2.0 100");
    world.expect(B, "INVITE ");
    world.send(carrier(A), &text.replace("branch=z9hG4bKb", "branch=z9hG4bKother"));
    world.expect(A, "SIP/2.0 482");
    world.expect_nothing(B);
    assert_eq!(world.counter("sip.merged"), 1);
}

#[test]
fn strangers_get_no_answer() {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    let text = from.text(&mut world, "INVITE", "", &sdp(A, 6000));
    for _ in 0..25 {
        world.send("192.0.2.200:5060".parse().unwrap(), &text);
    }
    assert!(world.inbox.is_empty());
    let reports: Vec<u64> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::UnknownSource { messages, .. } => Some(*messages),
            _ => None,
        })
        .collect();
    assert_eq!(reports, [1, 10]);
    assert_eq!(world.counter("sip.unknown_source"), 25);
}

#[test]
fn requests_outside_dialogs_get_their_answers() {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    from.request(&mut world, "OPTIONS", "");
    let options = world.expect(A, "SIP/2.0 200");
    assert_eq!(options.header("Allow"), "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO");
    assert_eq!(options.header("Accept"), "application/sdp");
    for (method, status) in [("REGISTER", "405"), ("MESSAGE", "405"), ("FOO", "501"), ("BYE", "481")] {
        from.request(&mut world, method, "");
        world.expect(A, &format!("SIP/2.0 {status}"));
    }
    from.remote.push_str(";tag=0300000000000000000000000f");
    for method in ["BYE", "INVITE", "OPTIONS"] {
        from.request(&mut world, method, "");
        world.expect(A, "SIP/2.0 481");
    }
    world.assert_quiet();
}

#[test]
fn malformed_messages_are_counted_answered_where_they_can_be_and_harm_nobody() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    let text = from.text(&mut world, "BYE", "", "");
    for broken in ["\u{0}\u{1}garbage", "INVITE", "SIP/2.0 200 OK\r\n\r\n"] {
        world.send(carrier(A), broken);
    }
    world.expect_nothing(A);
    world.send(carrier(A), &text.replace("Max-Forwards: 70", "Max-Forwards: x"));
    world.expect(A, "SIP/2.0 400");
    assert_eq!(world.counter("sip.malformed"), 4);
    world.send(carrier(A), "\r\n\r\n");
    assert_eq!(world.counter("sip.malformed"), 4, "a keep-alive is none");
    assert!(world.events.iter().any(|event| matches!(event, Event::Malformed { .. })));
    world.send(carrier(A), &text);
    world.expect(A, "SIP/2.0 200");
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    world.assert_quiet();
}

#[test]
fn a_third_party_cannot_meddle_with_a_call() {
    let mut world = World::new();
    let (mut from, to, invite) = ringing(&mut world, A);
    world.masked = false;
    // The other carrier knows our tag on the first leg by chance.
    let bye = from.text(&mut world, "BYE", "", "").replace("tag=far", "tag=other");
    world.send(carrier(B), &bye);
    world.expect(B, "SIP/2.0 481");
    world.expect_nothing(A);
    to.respond(&mut world, &invite, "486", "");
    world.expect(A, "SIP/2.0 486");
    world.assert_quiet();
}
