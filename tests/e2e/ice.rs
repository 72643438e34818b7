//! A caller that speaks ICE: its checks are answered and media follows what it
//! nominates, while the other side hears nothing of it.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use harness::lab::{Family, Place};
use harness::namespace::inside;
use harness::sipp::{Call, Role, Says};
use harness::socket;
use harness::vizard::Vizard;
use stun_types::attribute::{AttributeType, RawAttribute, Username, XorMappedAddress};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, Message, MessageClass, MessageIntegrityCredentials, MessageWriteVec,
    ShortTermCredentials,
};
use stun_types::prelude::*;

use crate::world::{MediaPath, Plan, bind, callee_at, caller_at, in_progress, world};

/// What the caller calls itself, and the port of the candidate that it nominates.
const NAME: &str = "canaryName";
const PORT: u16 = 7402;
const USE_CANDIDATE: u16 = 0x0025;

#[test]
fn checks_are_answered_under_xdp() {
    media_goes_where_it_is_nominated(MediaPath::Native);
}

#[test]
fn checks_are_answered_over_sockets() {
    media_goes_where_it_is_nominated(MediaPath::Sockets);
}

fn media_goes_where_it_is_nominated(path: MediaPath) {
    let Some(world) = world(Plan { path, ..Plan::default() }) else { return };
    let vizard = world.start_with(
        &world.config().replace("name = \"carrier\"\ntarget", "name = \"carrier\"\nice = \"lite\"\ntarget"),
    );
    let bound = bind(&vizard);
    let candidate = SocketAddr::new(world.lab.peer(Place::Customer, Family::V4), PORT);
    let lines = [
        format!("a=ice-ufrag:{NAME}"),
        "a=ice-pwd:canaryPasswordOfTheCaller".to_owned(),
        format!("a=candidate:1 1 UDP 2130706431 {} {PORT} typ host", candidate.ip()),
    ];
    let caller = caller_at(Place::Customer, Role::Caller, bound.proxy_of(Place::Customer));
    let talk = Duration::from_secs(6);
    let says = Says { media_lines: lines.to_vec(), ..Says::default() };
    let listening = callee_at(Place::Agent, Role::Callee).talking(talk).start(&world.lab).unwrap();
    let mut calling = caller.talking(talk).saying(says).start(&world.lab).unwrap();
    calling.wait_for("a=ice-lite").unwrap();
    let (ours, password) = (said(&calling, "a=ice-ufrag:"), said(&calling, "a=ice-pwd:"));
    let at = anchor(&vizard);

    let namespace = world.lab.namespace_of(Place::Customer).unwrap();
    let socket = inside(&namespace, || socket::udp(candidate).unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(&check(&ours, "a password of somebody else"), at).unwrap();
    socket.send_to(&check(&ours, &password), at).unwrap();
    let mut buffer = [0; 2048];
    let (length, source) = socket.recv_from(&mut buffer).unwrap();
    let answer = Message::from_bytes(&buffer[..length]).unwrap();
    assert_eq!(source, at);
    assert!(answer.has_class(MessageClass::Success), "only the signed check is answered");
    assert_eq!(answer.attribute::<XorMappedAddress>().unwrap().addr(answer.transaction_id()), candidate);
    answer.validate_integrity(&key(&password)).unwrap();
    let (_, source) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!((source, buffer[0], buffer[1] & 0x7f), (at, 0x80, 0), "the agent's audio is here now");

    let status = vizard.ask(&["status"]).unwrap();
    for name in ["media.ice_checks", "media.ice_unauthenticated"] {
        assert_eq!(status["counters"][name], 1, "{name}: {status:#}");
    }
    calling.finish().unwrap();
    let seen = listening.finish().unwrap();
    for word in ["canary", "ice-", "candidate"] {
        assert!(!seen.received().contains(word), "{word} reached the agent");
    }
    vizard.stop().unwrap();
}

/// A check by the caller to who is known by `name` and `password`, which nominates.
fn check(name: &str, password: &str) -> Vec<u8> {
    let mut request = Message::builder_request(BINDING, MessageWriteVec::new());
    request.add_attribute(&Username::new(&format!("{name}:{NAME}")).unwrap()).unwrap();
    request.add_attribute(&RawAttribute::new(AttributeType::new(USE_CANDIDATE), &[])).unwrap();
    request.add_message_integrity(&key(password), IntegrityAlgorithm::Sha1).unwrap();
    request.add_fingerprint().unwrap();
    request.finish()
}

fn key(password: &str) -> MessageIntegrityCredentials {
    ShortTermCredentials::new(password.to_owned()).into()
}

/// What stands behind `start` in our answer to the caller, who writes such lines too.
fn said(calling: &Call, start: &str) -> String {
    let log = fs::read_to_string(calling.folder().join("messages.log")).unwrap();
    let mut values = log.lines().filter_map(|line| line.trim().strip_prefix(start));
    values.find(|value| !value.starts_with("canary")).unwrap().to_owned()
}

/// Where the caller's RTP arrives, once the call is answered.
fn anchor(vizard: &Vizard<'_>) -> SocketAddr {
    in_progress(vizard, Duration::from_secs(10), "there is no call", |call| {
        let mut flows = call["flows"].as_array()?.iter();
        let rtp = flows.find(|flow| flow["leg"] == "A" && flow["content"] == "rtp")?;
        (call["state"] == "answered").then(|| rtp["local"].as_str().unwrap().parse().unwrap())
    })
}
