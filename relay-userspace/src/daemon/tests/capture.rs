//! A call over loopback whose packets are captured.

use super::call::World;
use super::*;
use crate::api::local::{CaptureRequest, CapturedPacket};
use crate::engine::ids::{LegName, SessionId};

fn begin(client: &mut Client, session: SessionId, unmasked: bool) -> Response {
    client.ask(Request::Capture(CaptureRequest { session, unmasked })).unwrap()
}

/// The next packets; `None` at the end of the call.
fn packets(client: &mut Client) -> Option<Vec<CapturedPacket>> {
    loop {
        match client.more().unwrap() {
            Response::Packets { packets, lost: 0 } if packets.is_empty() => {}
            Response::Packets { packets, lost: 0 } => return Some(packets),
            Response::CaptureEnded { lost: 0 } => return None,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn both_directions_are_captured_masked_until_the_call_ends() {
    let mut world = World::in_a_call();
    let session = world.session();
    let mut capture = world.another_client();
    assert_eq!(begin(&mut capture, session, false), Response::Capturing);
    let Response::Refused(refusal) = begin(&mut world.another_client(), session, false) else { panic!() };
    assert_eq!(refusal.kind, RefusalKind::Conflict);

    world.talk();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(packets(&mut capture).expect("the call goes on"));
    }
    let from = |leg| seen.iter().find(|packet| packet.leg == leg).unwrap();
    assert_eq!(from(LegName::A).from.to_string(), "198.51.100.1:5004");
    assert_eq!(from(LegName::B).from.to_string(), "203.0.113.1:5004");
    assert!(seen.iter().all(|packet| packet.payload.len() == 172 && packet.length == 172));
    world.hang_up();
    assert_eq!(packets(&mut capture), None);
}

#[test]
fn an_operator_that_leaves_makes_room_for_the_next() {
    let mut world = World::in_a_call();
    let session = world.session();
    let mut first = world.another_client();
    assert_eq!(begin(&mut first, session, true), Response::Capturing, "this user is an admin");
    drop(first);
    let limit = std::time::Instant::now() + Duration::from_secs(5);
    let mut second = world.another_client();
    while begin(&mut second, session, true) != Response::Capturing {
        assert!(std::time::Instant::now() < limit);
        thread::sleep(Duration::from_millis(20));
    }
    world.talk();
    let seen = packets(&mut second).unwrap();
    assert!(seen[0].from.ip().is_loopback(), "{seen:?}");
    let unknown = begin(&mut world.another_client(), SessionId::from_bits(1), false);
    let Response::Admin(AdminReply::Refused(refusal)) = unknown else { panic!("{unknown:?}") };
    assert_eq!(refusal.kind, RefusalKind::NotFound);
}
