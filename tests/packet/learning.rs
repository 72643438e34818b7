//! A flow learns its source once, from where signalling allows, and forgets it
//! only when signalling says so.

use std::net::SocketAddr;

use relay_ebpf::verdict::Verdict;
use vizard::engine::flow::FlowSpec;

use crate::frames::{datagram, rtp};
use crate::world::{BACK, World, flow, reporting_world, wire, world};

const FIRST: &str = "198.51.100.7:4000";
const SECOND: &str = "198.51.100.8:4000";
const LOCAL: &str = "192.0.2.10:20000";
const OUT: &str = "192.0.2.10:20002";

fn spec(generation: u8) -> FlowSpec {
    let mut spec = flow(LOCAL, "198.51.100.0/24", OUT, "203.0.113.9:5004");
    spec.source.generation = generation;
    spec
}

fn from(world: &mut World, source: &str) -> Verdict {
    world.run(&datagram(source, LOCAL, rtp(0)).build()).verdict
}

fn learned(world: &World) -> Option<(String, u16)> {
    let source = world.read(LOCAL.parse().unwrap()).source?;
    let name = [FIRST, SECOND].into_iter().find(|name| {
        let address: SocketAddr = name.parse().unwrap();
        wire(&address.ip().to_string()) == source.address
    })?;
    Some((name.to_owned(), source.port.number()))
}

#[test]
fn the_first_valid_source_wins_for_good() {
    let Some(mut world) = world() else { return };
    world.put(&spec(0), BACK);
    assert_eq!(learned(&world), None);
    assert_eq!(from(&mut world, FIRST), Verdict::Transmitted);
    assert_eq!(learned(&world), Some((FIRST.to_owned(), 4000)));
    for _ in 0..3 {
        assert_eq!(from(&mut world, SECOND), Verdict::WrongSource);
        assert_eq!(from(&mut world, "198.51.100.7:4001"), Verdict::WrongSource);
        assert_eq!(from(&mut world, FIRST), Verdict::Transmitted);
    }
    assert_eq!(learned(&world), Some((FIRST.to_owned(), 4000)));
}

/// Only once signalling has moved the far end, and only the very address that it
/// named: where the other direction goes.
#[test]
fn who_moved_takes_over_from_late_packets_once() {
    let Some(mut world) = world() else { return };
    let named = flow(OUT, "203.0.113.0/24", LOCAL, SECOND);
    world.put(&named, BACK);
    world.put(&spec(0), BACK);
    assert_eq!(from(&mut world, FIRST), Verdict::Transmitted);
    assert_eq!(from(&mut world, SECOND), Verdict::WrongSource, "nothing has moved");

    world.put(&spec(1), BACK);
    assert_eq!(from(&mut world, FIRST), Verdict::Transmitted);
    assert_eq!(from(&mut world, "198.51.100.8:4001"), Verdict::WrongSource, "another port");
    assert_eq!(from(&mut world, "198.51.100.9:4000"), Verdict::WrongSource, "another host");
    assert_eq!(from(&mut world, SECOND), Verdict::Transmitted);
    assert_eq!(learned(&world), Some((SECOND.to_owned(), 4000)));
    assert_eq!(from(&mut world, FIRST), Verdict::WrongSource);

    let mut narrow = spec(2);
    narrow.source.allowed = "198.51.100.7/32".parse().unwrap();
    world.put(&narrow, BACK);
    assert_eq!(from(&mut world, FIRST), Verdict::Transmitted);
    assert_eq!(from(&mut world, SECOND), Verdict::WrongSource, "it is not allowed");
}

#[test]
fn nothing_is_learned_from_a_packet_that_is_refused() {
    let Some(mut world) = world() else { return };
    world.put(&spec(0), BACK);
    assert_eq!(world.run(&datagram(SECOND, LOCAL, rtp(9)).build()).verdict, Verdict::PayloadType);
    let mut expired = datagram(SECOND, LOCAL, rtp(0));
    expired.hops = 1;
    assert_eq!(world.run(&expired.build()).verdict, Verdict::TtlExpired);
    assert_eq!(from(&mut world, "203.0.113.1:4000"), Verdict::SourceNotAllowed);
    assert_eq!(learned(&world), None);
    assert_eq!(from(&mut world, FIRST), Verdict::Transmitted);
}

#[test]
fn an_update_keeps_the_source_and_a_new_generation_forgets_it() {
    let Some(mut world) = world() else { return };
    world.put(&spec(0), BACK);
    assert_eq!(from(&mut world, FIRST), Verdict::Transmitted);
    for _ in 0..5 {
        world.put(&spec(0), BACK);
        assert_eq!(learned(&world), Some((FIRST.to_owned(), 4000)));
        assert_eq!(from(&mut world, SECOND), Verdict::WrongSource);
    }
    world.put(&spec(1), BACK);
    assert_eq!(learned(&world), None);
    assert_eq!(from(&mut world, SECOND), Verdict::Transmitted);
    assert_eq!(from(&mut world, FIRST), Verdict::WrongSource);
    let reading = world.read(LOCAL.parse().unwrap());
    assert_eq!((reading.count.packets, reading.count.refused), (2, 6), "counts go on through updates");
}

#[test]
fn the_next_call_on_a_port_learns_anew() {
    let Some(mut world) = world() else { return };
    for source in [FIRST, SECOND, FIRST] {
        world.put(&spec(0), BACK);
        assert_eq!(from(&mut world, source), Verdict::Transmitted);
        let slot = world.slot(LOCAL.parse().unwrap());
        world.table.remove(slot);
        assert_eq!(from(&mut world, source), Verdict::NoFlow);
    }
}

/// Symmetric RTP: packets towards a peer behind NAT go where its own come from.
#[test]
fn the_opposite_flow_follows_what_was_learned() {
    let Some(mut world) = world() else { return };
    // The peer that signalled 203.0.113.9:5004 in fact sends from port 61000.
    let towards_agent = flow(OUT, "203.0.113.9/32", LOCAL, FIRST);
    let mut towards_peer = flow(LOCAL, "198.51.100.0/24", OUT, "203.0.113.9:5004");
    towards_peer.follow_learned = true;
    world.put(&towards_peer, BACK);
    let port = |frame: &[u8]| u16::from_be_bytes([frame[36], frame[37]]);
    let send = |world: &mut World| {
        let outcome = world.run(&datagram(FIRST, LOCAL, rtp(0)).build());
        assert_eq!(outcome.verdict, Verdict::Transmitted);
        port(&outcome.bytes)
    };
    assert_eq!(send(&mut world), 5004, "no opposite flow yet");
    world.put(&towards_agent, BACK);
    assert_eq!(send(&mut world), 5004, "nothing learned yet");
    assert_eq!(world.run(&datagram("203.0.113.9:61000", OUT, rtp(0)).build()).verdict, Verdict::Transmitted);
    assert_eq!(send(&mut world), 61_000);
    let mut moved = towards_agent.clone();
    moved.source.generation = 1;
    world.put(&moved, BACK);
    assert_eq!(send(&mut world), 5004, "what was learned before the peer moved is forgotten");
    assert_eq!(world.run(&datagram("203.0.113.9:61002", OUT, rtp(0)).build()).verdict, Verdict::Transmitted);
    assert_eq!(send(&mut world), 61_002);
}

/// The verifier sees another program when it may report what it learns.
#[test]
fn a_program_that_reports_learns_the_same() {
    let Some(mut world) = reporting_world() else { return };
    world.put(&spec(0), BACK);
    assert_eq!(from(&mut world, FIRST), Verdict::Transmitted);
    assert_eq!(from(&mut world, SECOND), Verdict::WrongSource);
    assert_eq!(learned(&world), Some((FIRST.to_owned(), 4000)));
}
