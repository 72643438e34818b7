//! ICE on one leg: we answer as a lite agent, and nothing of it reaches the other.

use std::net::SocketAddr;
use std::time::Duration;

use super::far_end::{FarEnd, sdp, sdp_with};
use super::setup::{A, B};
use super::world::{Msg, World, config};
use crate::engine::config::{Config, Ice, MediaSource};
use crate::engine::flow::FlowSpec;
use crate::engine::io::{Datagram, Input};
use crate::engine::media::ice_request;

const NAME: &str = "LEAKofA1";
const USE_CANDIDATE: u16 = 0x0025;
/// A candidate of A that its `c=` line does not name.
const CANDIDATE: &str = "198.51.100.78:6400";

fn with(ice: Ice, source: MediaSource) -> Config {
    let mut config = config();
    config.trunks[0].ice = ice;
    config.trunks[0].media_source = source;
    config
}

fn offer(name: &str) -> String {
    sdp_with(
        A,
        6000,
        &format!(
            "a=ice-ufrag:{name}\r\na=ice-pwd:LEAKpasswordLEAKpassword\r\n\
             a=candidate:1 1 UDP 2130706431 198.51.100.77 6000 typ host\r\n\
             a=candidate:2 1 UDP 1694498815 198.51.100.78 6400 typ srflx raddr 198.51.100.77 rport 6000\r\n\
             a=sendrecv\r\n"
        ),
    )
}

/// The value of the first line of a description that starts so.
fn line<'a>(msg: &'a Msg, start: &str) -> Option<&'a str> {
    msg.body.lines().find_map(|line| line.strip_prefix(start))
}

/// A call by A, who speaks ICE, to B, who does not; A's end, B's, and our answer.
fn talking(world: &mut World, name: &str) -> (FarEnd, FarEnd, Msg) {
    let mut from = FarEnd::calling(world, A);
    from.request(world, "INVITE", &offer(name));
    world.expect(A, "SIP/2.0 100");
    let invite = world.expect(B, "INVITE ");
    for word in ["ice", "candidate", name, "LEAKpassword", "198.51.100.78"] {
        assert!(!invite.body.contains(word), "{word} in {}", invite.body);
    }
    let to = FarEnd::called(world, B, &invite);
    to.respond(world, &invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    let ok = world.expect(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(world, "");
    (from, to, ok)
}

/// A's flow of RTP.
fn from_a(world: &World) -> FlowSpec {
    world.flows.values().find(|flow| flow.owner.leg == A && flow.content.has_rtp()).unwrap().clone()
}

/// A check from `source`, and how many answers there were to it.
fn check(world: &mut World, ok: &Msg, name: &str, source: &str, more: &[u16]) -> usize {
    let (ours, password) = (line(ok, "a=ice-ufrag:").unwrap(), line(ok, "a=ice-pwd:").unwrap());
    let bytes = ice_request(ours, password, name, more);
    let remote: SocketAddr = source.parse().unwrap();
    let local = from_a(world).local;
    world.input(Input::Stun(Datagram { local, remote, bytes }));
    let answers = std::mem::take(&mut world.stun);
    assert!(answers.iter().all(|answer| (answer.local, answer.remote) == (local, remote)));
    answers.len()
}

#[test]
fn a_lite_agent_answers_and_follows_what_is_nominated() {
    let mut world = World::with(with(Ice::Lite, MediaSource::Signalled));
    let (mut from, to, ok) = talking(&mut world, NAME);
    let local = from_a(&world).local;
    assert!(ok.body.contains("t=0 0\r\na=ice-lite\r\n"), "{}", ok.body);
    let candidate = format!("1 1 UDP 2130706431 192.0.2.10 {} typ host", local.port());
    assert_eq!(line(&ok, "a=candidate:"), Some(candidate.as_str()));
    for flow in world.flows.values() {
        assert_eq!(flow.content.stun, flow.owner.leg == A, "{flow:?}");
    }

    assert_eq!(check(&mut world, &ok, "another", CANDIDATE, &[USE_CANDIDATE]), 0);
    assert_eq!(check(&mut world, &ok, NAME, "192.0.2.200:9", &[USE_CANDIDATE]), 0);
    assert_eq!(world.counter("media.ice_unauthenticated"), 1);
    assert_eq!(world.counter("media.ice_elsewhere"), 1);
    assert_eq!(check(&mut world, &ok, NAME, CANDIDATE, &[]), 1);
    assert_eq!(from_a(&world).source.allowed, "198.51.100.77/32".parse().unwrap(), "nothing is nominated");
    let before = from_a(&world).source.generation;

    assert_eq!(check(&mut world, &ok, NAME, CANDIDATE, &[USE_CANDIDATE]), 1);
    let nominated = from_a(&world);
    assert_eq!(nominated.source.allowed, "198.51.100.78/32".parse().unwrap());
    assert_eq!(nominated.source.generation, before + 1);
    let to_a = world.flows.values().find(|flow| flow.owner.leg == B && flow.content.has_rtp()).unwrap();
    assert_eq!(to_a.send_to, CANDIDATE.parse().unwrap());
    assert_eq!(check(&mut world, &ok, NAME, CANDIDATE, &[USE_CANDIDATE]), 1);
    assert_eq!(from_a(&world), nominated, "the same again changes nothing");

    world.pass(Duration::from_millis(200));
    let flows = world.flows.clone();
    world.restart_with(with(Ice::Lite, MediaSource::Signalled));
    assert_eq!(world.flows, flows);
    assert_eq!(check(&mut world, &ok, NAME, CANDIDATE, &[]), 1, "consent is still given after a restart");

    // A re-INVITE by the same agent leaves media where it is; one by a new agent does not.
    for (name, stays) in [(NAME, true), ("LEAKofA2", false)] {
        from.request(&mut world, "INVITE", &offer(name));
        let invite = world.expect_among(B, "INVITE ");
        to.respond(&mut world, &invite, "200", &sdp(B, 7000));
        world.expect(B, "ACK ");
        let again = world.expect_among(A, "SIP/2.0 200");
        from.learn(&again);
        from.ack(&mut world, "");
        assert_eq!(from_a(&world).source.allowed == nominated.source.allowed, stays);
        assert_eq!(line(&again, "a=ice-pwd:") == line(&ok, "a=ice-pwd:"), stays, "we begin anew with it");
        assert_eq!(check(&mut world, &again, name, CANDIDATE, &[]), 1);
    }
    from.request(&mut world, "BYE", "");
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    world.assert_quiet();
}

#[test]
fn behind_nat_a_signed_check_may_come_from_anywhere() {
    let mut world = World::with(with(Ice::Lite, MediaSource::Nat));
    let (_, _, ok) = talking(&mut world, NAME);
    assert_eq!(check(&mut world, &ok, NAME, "198.51.100.99:1234", &[USE_CANDIDATE]), 1);
    assert_eq!(from_a(&world).source.allowed, "198.51.100.99/32".parse().unwrap());
    assert_eq!(check(&mut world, &ok, NAME, "192.0.2.200:9", &[USE_CANDIDATE]), 1);
    assert_eq!(from_a(&world).source.allowed, "198.51.100.99/32".parse().unwrap(), "not twice");
    assert_eq!(check(&mut world, &ok, NAME, CANDIDATE, &[USE_CANDIDATE]), 1);
    assert_eq!(from_a(&world).source.allowed, "198.51.100.78/32".parse().unwrap(), "it was signalled");
}

#[test]
fn without_ice_on_the_trunk_nothing_is_said_of_it() {
    let mut world = World::with(with(Ice::Off, MediaSource::Signalled));
    let (_, _, ok) = talking(&mut world, NAME);
    assert!(!ok.body.contains("ice") && !ok.body.contains("candidate"), "{}", ok.body);
    assert!(world.flows.values().all(|flow| !flow.content.stun));
}

#[test]
fn who_is_called_on_such_a_trunk_is_offered_ice_and_may_do_without() {
    let mut world = World::with(with(Ice::Lite, MediaSource::Signalled));
    let mut from = FarEnd::calling(&mut world, B);
    from.request(&mut world, "INVITE", &sdp(B, 7000));
    world.expect(B, "SIP/2.0 100");
    let invite = world.expect(A, "INVITE ");
    assert!(invite.body.contains("a=ice-lite\r\n"), "{}", invite.body);
    assert_eq!(invite.body.matches("a=candidate:").count(), 2, "RTP and RTCP");
    let to = FarEnd::called(&mut world, A, &invite);
    to.respond(&mut world, &invite, "200", &sdp(A, 6000));
    world.expect(A, "ACK ");
    let ok = world.expect(B, "SIP/2.0 200");
    assert!(!ok.body.contains("ice"), "{}", ok.body);
    assert!(world.flows.values().all(|flow| !flow.content.stun));
}
