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
