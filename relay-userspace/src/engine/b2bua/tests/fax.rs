//! A call that turns into a fax and back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::far_end::{FarEnd, sdp};
use super::setup::{A, B, talking};
use super::world::{World, media_address};
use crate::engine::flow::{Content, FlowSpec};
use crate::engine::ids::LegName;

fn fax(leg: LegName, port: u16) -> String {
    let address = media_address(leg);
    format!(
        "v=0\r\no=LEAK-OF-? 1 2 IN IP4 {address}\r\ns=LEAK-OF-?\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
         m=image {port} udptl t38\r\na=T38FaxVersion:0\r\na=T38VendorInfo:LEAK-OF-?\r\n"
    )
}

/// A re-INVITE of A with `offer`, answered by `status` and `answer`.
fn renegotiate(world: &mut World, from: &mut FarEnd, to: &FarEnd, offer: &str, status: &str, answer: &str) {
    from.request(world, "INVITE", offer);
    let invite = world.expect(B, "INVITE ");
    to.respond(world, &invite, status, answer);
    if status == "200" {
        world.expect(B, "ACK ");
        from.learn(&world.expect_among(A, "SIP/2.0 200"));
        from.ack(world, "");
    } else {
        world.expect(B, "ACK ");
        world.expect_among(A, &format!("SIP/2.0 {status}"));
        from.ack_failure(world);
    }
}

/// Of the ports where RTP arrives.
fn contents(flows: &BTreeMap<SocketAddr, FlowSpec>) -> BTreeMap<SocketAddr, (Content, u8)> {
    let even = flows.values().filter(|flow| flow.local.port() % 2 == 0);
    even.map(|flow| (flow.local, (flow.content, flow.source.generation))).collect()
}

#[test]
fn a_call_turns_into_a_fax_and_back_on_the_same_ports() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    let speech = contents(&world.flows);
    for turn in 0..2 {
        renegotiate(&mut world, &mut from, &to, &fax(A, 6000), "200", &fax(B, 7000));
        let during = contents(&world.flows);
        assert_eq!(world.flows.len(), 2, "fax has no RTCP: {:?}", world.flows);
        assert!(during.keys().eq(speech.keys()), "the far ends need not move");
        for (local, (content, generation)) in &during {
            assert_eq!(*content, Content { opaque: true, ..Content::default() });
            assert_eq!(*generation, speech[local].1 + 2 * turn + 1, "what speech had learned is forgotten");
        }
        world.pass(Duration::from_millis(200));
        world.restart();
        assert_eq!(contents(&world.flows), during, "what a restart takes up is still a fax");
        renegotiate(&mut world, &mut from, &to, &sdp(A, 6000), "200", &sdp(B, 7000));
        assert_eq!(world.flows.len(), 4);
        for (local, (content, generation)) in contents(&world.flows) {
            assert_eq!((content, generation), (speech[&local].0, speech[&local].1 + 2 * turn + 2));
        }
    }
    from.request(&mut world, "BYE", "");
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    world.assert_quiet();
}

#[test]
fn a_fax_that_is_refused_leaves_speech_as_it_was() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    let before = world.flows.clone();
    renegotiate(&mut world, &mut from, &to, &fax(A, 6002), "488", "");
    assert_eq!(world.flows, before);
}

#[test]
fn whoever_listens_to_a_page_is_not_silent() {
    let mut world = World::new();
    let (mut from, to) = talking(&mut world, A);
    renegotiate(&mut world, &mut from, &to, &fax(A, 6000), "200", &fax(B, 7000));
    world.silent = vec![B];
    world.pass(Duration::from_mins(2));
    assert_eq!(world.counter("calls.one_way_audio"), 0);
    renegotiate(&mut world, &mut from, &to, &sdp(A, 6000), "200", &sdp(B, 7000));
    world.pass(Duration::from_mins(2));
    assert_eq!(world.counter("calls.one_way_audio"), 1);
}
