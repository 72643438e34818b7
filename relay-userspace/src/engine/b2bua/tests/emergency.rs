//! Emergency calls: nothing is masked, media is anchored.

use super::far_end::{FarEnd, sdp};
use super::setup::{A, B};
use super::world::{CUSTOMER, World, carrier, config};
use crate::engine::cdr::Cause;
use crate::engine::event::Event;

const LOCATION: &str = "--b1\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--b1\r\n\
    Content-Type: application/pidf+xml\r\nContent-ID: <loc@x>\r\n\r\n<presence>LAT</presence>\r\n--b1--\r\n";

fn emergency_invite(world: &mut World, from: &mut FarEnd, dialled: &str) -> String {
    let body = LOCATION.replace("{SDP}", &sdp(A, 6000));
    let more = format!(
        "P-Asserted-Identity: <sip:+{CUSTOMER}@198.51.100.1>\r\nPrivacy: id\r\n\
         Geolocation: <cid:loc@x>\r\nGeolocation-Routing: yes\r\n"
    );
    let text = from.text(world, "INVITE", &more, &body);
    text.replace(
        "Content-Type: application/sdp\r\nContent-Length",
        "Content-Type: multipart/mixed;boundary=b1\r\nContent-Length",
    )
    .replace("INVITE sip:+14155550100@192.0.2.1:5060", &format!("INVITE {dialled}"))
}

#[test]
fn who_calls_from_where_reaches_the_emergency_trunk() {
    for (dialled, target) in [
        ("sip:911@192.0.2.1:5060", "sip:911@203.0.113.2:5060"),
        ("tel:911", "tel:911"),
        ("urn:service:sos", "urn:service:sos"),
    ] {
        let mut world = World::new();
        world.masked = false;
        let mut from = FarEnd::calling(&mut world, A);
        let text = emergency_invite(&mut world, &mut from, dialled);
        world.send(carrier(A), &text);
        world.expect(A, "SIP/2.0 100");
        let invite = world.expect(B, "INVITE ");
        assert_eq!(invite.start, format!("INVITE {target} SIP/2.0"));
        assert!(invite.header("From").contains(&format!("sip:+{CUSTOMER}@198.51.100.1>;tag=")));
        assert_eq!(invite.header("P-Asserted-Identity"), format!("<sip:+{CUSTOMER}@198.51.100.1>"));
        assert_eq!(invite.header("Privacy"), "id");
        assert_eq!(invite.header("Geolocation"), "<cid:loc@x>");
        assert_eq!(invite.header("Geolocation-Routing"), "yes");
        assert_eq!(invite.header("Content-Type"), "multipart/mixed;boundary=b1");
        assert!(invite.body.contains("<presence>LAT</presence>"), "{}", invite.body);
        assert!(invite.body.contains("c=IN IP4 192.0.2.10\r\n") && !invite.body.contains("198.51.100.77"));
        let to = FarEnd::called(&mut world, B, &invite);
        to.respond(&mut world, &invite, "200", &sdp(B, 7000));
        world.expect(B, "ACK ");
        let ok = world.expect(A, "SIP/2.0 200");
        from.learn(&ok);
        from.ack(&mut world, "");
        assert_eq!(world.flows.len(), 4);
        from.request(&mut world, "BYE", "");
        let bye = world.expect(B, "BYE ");
        to.respond(&mut world, &bye, "200", "");
        let cdr = world.cdr(A);
        assert!(cdr.emergency && cdr.proxy.is_none() && cdr.binding.is_none());
        assert!(world.events.iter().any(|event| matches!(event, Event::EmergencyCall { routed: true, .. })));
        world.assert_quiet();
    }
}

#[test]
fn without_an_emergency_trunk_it_fails_loudly() {
    let mut without = config();
    without.emergency.trunk = None;
    let mut world = World::with(without);
    world.masked = false;
    let mut from = FarEnd::calling(&mut world, A);
    let text = emergency_invite(&mut world, &mut from, "sip:112@192.0.2.1:5060");
    world.send(carrier(A), &text);
    world.expect(A, "SIP/2.0 100");
    world.expect(A, "SIP/2.0 503");
    from.ack_failure(&mut world);
    assert!(world.events.iter().any(|event| matches!(event, Event::EmergencyCall { routed: false, .. })));
    assert!(world.cdr(A).emergency);
    assert_eq!(world.cdr(A).release.cause, Cause::NoRoute);
    world.assert_quiet();
}

#[test]
fn a_full_engine_still_takes_emergency_calls() {
    let mut limited = config();
    limited.limits.calls = 0;
    let mut world = World::with(limited);
    world.masked = false;
    let mut from = FarEnd::calling(&mut world, A);
    let text = emergency_invite(&mut world, &mut from, "sip:911@192.0.2.1:5060");
    world.send(carrier(A), &text);
    world.expect(A, "SIP/2.0 100");
    world.expect(B, "INVITE ");
}
