//! Setting up and tearing down, from either side.

use std::time::Duration;

use super::far_end::{FarEnd, sdp};
use super::world::{AGENT, AGENT_PROXY, CUSTOMER_PROXY, Msg, World, carrier, proxy};
use crate::engine::cdr::{Cause, Direction, ReleaseSide, Traffic};
use crate::engine::ids::LegName;

pub(super) const A: LegName = LegName::A;
pub(super) const B: LegName = LegName::B;

/// A call from `caller` that rings at the other side: both far ends, and the
/// INVITE that rings.
pub(super) fn ringing(world: &mut World, caller: LegName) -> (FarEnd, FarEnd, Msg) {
    let mut from = FarEnd::calling(world, caller);
    from.request(world, "INVITE", &sdp(caller, 6000));
    world.expect(caller, "SIP/2.0 100");
    let invite = world.expect(caller.other(), "INVITE ");
    let to = FarEnd::called(world, caller.other(), &invite);
    to.respond(world, &invite, "100", "");
    to.respond(world, &invite, "180", "");
    let ringing = world.expect(caller, "SIP/2.0 180");
    from.learn(&ringing);
    (from, to, invite)
}

/// The same call, answered and acknowledged.
pub(super) fn talking(world: &mut World, caller: LegName) -> (FarEnd, FarEnd) {
    let (mut from, to, invite) = ringing(world, caller);
    to.respond(world, &invite, "200", &sdp(caller.other(), 7000));
    world.expect(caller.other(), "ACK ");
    let ok = world.expect(caller, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(world, "");
    world.expect_nothing(A);
    world.expect_nothing(B);
    (from, to)
}

#[test]
fn a_call_is_set_up_and_hung_up_from_either_side_by_either_side() {
    for caller in [A, B] {
        for hanging_up in [A, B] {
            let mut world = World::new();
            let (from, to) = talking(&mut world, caller);
            assert_eq!(world.flows.len(), 4);
            world.pass(Duration::from_millis(61_001));
            let (mut one, other) = if from.leg == hanging_up { (from, to) } else { (to, from) };
            one.request(&mut world, "BYE", "");
            world.expect(hanging_up, "SIP/2.0 200");
            let bye = world.expect(hanging_up.other(), "BYE ");
            other.respond(&mut world, &bye, "200", "");
            for leg in [A, B] {
                let cdr = world.cdr(leg);
                assert_eq!(
                    cdr.direction,
                    if leg == caller { Direction::Inbound } else { Direction::Outbound }
                );
                assert_eq!(cdr.proxy.unwrap().digits(), proxy(leg));
                assert_eq!(cdr.billable_seconds, 62);
                assert_eq!(cdr.release.cause, Cause::Normal);
                assert_eq!(cdr.release.side, ReleaseSide::from(hanging_up));
                assert_eq!(cdr.release.sip_status, Some(200));
                assert_eq!((cdr.tenant.as_str(), cdr.project.as_str()), ("acme", "rides"));
            }
            assert_eq!(world.cdr(A).received, Traffic { packets: 20, bytes: 3440 });
            assert_eq!(world.cdr(A).sent, world.cdr(B).received);
            assert_eq!(world.cdr(B).sent, world.cdr(A).received);
            world.assert_quiet();
        }
    }
}

#[test]
fn each_side_sees_its_proxy_and_nothing_else() {
    let mut world = World::new();
    let (_, _, invite) = ringing(&mut world, A);
    assert_eq!(invite.start, format!("INVITE sip:+{AGENT}@{} SIP/2.0", carrier(B)));
    assert_eq!(invite.header("P-Asserted-Identity"), format!("<sip:+{AGENT_PROXY}@192.0.2.1:5060>"));
    assert!(invite.header("From").starts_with(&format!("<sip:+{AGENT_PROXY}@192.0.2.1:5060>;tag=")));
    assert_eq!(invite.header("To"), format!("<sip:+{AGENT}@{}>", carrier(B)));
    assert_eq!(invite.header("Contact"), format!("<sip:+{AGENT_PROXY}@192.0.2.1:5060>"));
    assert_eq!(invite.header("Max-Forwards"), "69");
    assert_eq!(invite.header("User-Agent"), "Vizard");
    assert_eq!(invite.all("Via").len(), 1);
    assert!(invite.body.contains("c=IN IP4 192.0.2.10\r\n"), "our media address: {}", invite.body);
    assert_eq!(invite.header("Call-ID").len(), 26);
    assert!(!invite.text.contains(CUSTOMER_PROXY));
}

#[test]
fn early_media_is_anchored_and_the_answer_may_repeat_it() {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    from.request(&mut world, "INVITE", &sdp(A, 6000));
    world.expect(A, "SIP/2.0 100");
    let invite = world.expect(B, "INVITE ");
    let to = FarEnd::called(&mut world, B, &invite);
    to.respond(&mut world, &invite, "183", &sdp(B, 7000));
    let progress = world.expect(A, "SIP/2.0 183");
    assert_eq!(world.flows.len(), 4);
    to.respond(&mut world, &invite, "181", "");
    to.respond(&mut world, &invite, "199", "");
    world.expect_nothing(A);
    // The 2xx of many gateways has no description when a 183 had one.
    to.respond(&mut world, &invite, "200", "");
    world.expect(B, "ACK ");
    let ok = world.expect(A, "SIP/2.0 200");
    assert_eq!(ok.body, progress.body, "the same answer, the same version");
    assert_eq!(ok.header("To"), progress.header("To"));
    from.learn(&ok);
    from.ack(&mut world, "");
    from.request(&mut world, "BYE", "");
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    world.assert_quiet();
}

#[test]
fn an_offer_may_come_in_the_2xx_and_its_answer_in_the_ack() {
    for caller in [A, B] {
        let mut world = World::new();
        let callee = caller.other();
        let mut from = FarEnd::calling(&mut world, caller);
        from.request(&mut world, "INVITE", "");
        world.expect(caller, "SIP/2.0 100");
        let invite = world.expect(callee, "INVITE ");
        assert!(invite.body.is_empty());
        let to = FarEnd::called(&mut world, callee, &invite);
        to.respond(&mut world, &invite, "200", &sdp(callee, 7000));
        world.expect_nothing(callee);
        // Until the answer is there, a 2xx that comes again waits with it.
        to.respond(&mut world, &invite, "200", &sdp(callee, 7000));
        world.expect_nothing(callee);
        let ok = world.expect(caller, "SIP/2.0 200");
        assert!(ok.body.contains("c=IN IP4 192.0.2.10"), "{}", ok.body);
        assert_eq!(world.flows.len(), 0);
        from.learn(&ok);
        from.ack(&mut world, &sdp(caller, 6000));
        let ack = world.expect(callee, "ACK ");
        assert!(ack.body.contains("c=IN IP4 192.0.2.10"), "{}", ack.body);
        assert_eq!(world.flows.len(), 4);
        from.request(&mut world, "BYE", "");
        world.expect(caller, "SIP/2.0 200");
        let bye = world.expect(callee, "BYE ");
        to.respond(&mut world, &bye, "200", "");
        world.assert_quiet();
    }
}

#[test]
fn retransmissions_change_nothing() {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    let text = from.text(&mut world, "INVITE", "", &sdp(A, 6000));
    world.send(carrier(A), &text);
    world.send(carrier(A), &text);
    assert_eq!(world.rest(A), ["SIP/2.0 100 Trying", "SIP/2.0 100 Trying"]);
    let invite = world.expect(B, "INVITE ");
    world.expect_nothing(B);
    world.pass(Duration::from_millis(500));
    assert_eq!(world.expect(B, "INVITE ").text, invite.text, "timer A");
    let to = FarEnd::called(&mut world, B, &invite);
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    let ack = world.expect(B, "ACK ");
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    assert_eq!(world.expect(B, "ACK ").text, ack.text, "each 2xx gets its ACK");
    let ok = world.expect(A, "SIP/2.0 200");
    world.pass(Duration::from_millis(1500));
    assert_eq!(world.expect(A, "SIP/2.0 200").text, ok.text);
    assert_eq!(world.expect(A, "SIP/2.0 200").text, ok.text);
    from.learn(&ok);
    from.ack(&mut world, "");
    from.ack(&mut world, "");
    world.pass(Duration::from_secs(40));
    world.expect_nothing(A);
    // Long after the transaction, the 2xx still gets its ACK.
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    assert_eq!(world.expect(B, "ACK ").text, ack.text);
    let bye = from.text(&mut world, "BYE", "", "");
    world.send(carrier(A), &bye);
    world.send(carrier(A), &bye);
    assert_eq!(world.rest(A), ["SIP/2.0 200 OK", "SIP/2.0 200 OK"]);
    let bye = world.expect(B, "BYE ");
    world.expect_nothing(B);
    to.respond(&mut world, &bye, "200", "");
    world.assert_quiet();
}

#[test]
fn a_second_fork_that_answers_is_hung_up() {
    let mut world = World::new();
    let (mut from, to, invite) = ringing(&mut world, A);
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    let fork = FarEnd::called(&mut world, B, &invite);
    fork.respond(&mut world, &invite, "200", &sdp(B, 7100));
    let ack = world.expect(B, "ACK ");
    assert_eq!(ack.header("To"), fork.local);
    let bye = world.expect(B, "BYE ");
    assert_eq!(bye.header("To"), fork.local);
    fork.respond(&mut world, &bye, "200", "");
    let ok = world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(&mut world, "");
    assert_eq!(world.engine.calls_in_progress(), 1, "the first fork talks on");
    from.request(&mut world, "BYE", "");
    let bye = world.expect(B, "BYE ");
    assert_eq!(bye.header("To"), to.local);
    to.respond(&mut world, &bye, "200", "");
    world.assert_quiet();
}

#[test]
fn routes_and_targets_of_the_trunk_are_followed_and_others_are_not() {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    let record_route = "Record-Route: <sip:198.51.100.1:5070;lr>\r\nRecord-Route: <sip:10.9.9.9;lr>\r\n";
    let text = from.text(&mut world, "INVITE", record_route, &sdp(A, 6000));
    world.send(carrier(A), &text);
    world.expect(A, "SIP/2.0 100");
    let invite = world.expect(B, "INVITE ");
    let to = FarEnd::called(&mut world, B, &invite);
    let ok = to.response(&invite, "200", &sdp(B, 7000)).replace(&carrier(B).to_string(), "192.168.7.7:5060");
    world.send(carrier(B), &ok);
    let ack = world.expect(B, "ACK ");
    assert!(ack.start.contains("@192.168.7.7:5060 "), "{}", ack.start);
    let ok = world.expect(A, "SIP/2.0 200");
    assert_eq!(ok.all("Record-Route"), ["<sip:198.51.100.1:5070;lr>", "<sip:10.9.9.9;lr>"]);
    from.learn(&ok);
    from.ack(&mut world, "");
    let mut callee = to.clone();
    callee.request(&mut world, "BYE", "");
    world.expect(B, "SIP/2.0 200");
    let routed = "198.51.100.1:5070".parse().unwrap();
    let bye = world.inbox.get_mut(&routed).and_then(std::collections::VecDeque::pop_front).unwrap();
    assert_eq!(bye.all("Route"), ["<sip:198.51.100.1:5070;lr>", "<sip:10.9.9.9;lr>"]);
    from.respond(&mut world, &bye, "200", "");
    world.assert_quiet();
}

#[test]
fn a_fork_that_answers_after_the_call_is_hung_up() {
    let mut world = World::new();
    let (mut from, to, invite) = ringing(&mut world, A);
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    let ok = world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(&mut world, "");
    from.request(&mut world, "BYE", "");
    world.expect(A, "SIP/2.0 200");
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    assert_eq!(world.engine.calls_in_progress(), 0);
    let fork = FarEnd::called(&mut world, B, &invite);
    fork.respond(&mut world, &invite, "200", &sdp(B, 7100));
    assert_eq!(world.expect(B, "ACK ").header("To"), fork.local);
    let bye = world.expect(B, "BYE ");
    assert_eq!(bye.header("To"), fork.local);
    fork.respond(&mut world, &bye, "200", "");
    world.assert_quiet();
}
