//! Peers that abuse connections: strangers in numbers, and from a trunk's own address
//! too many, too slow, too long, and no TLS. All of it is bounded and counted, and a
//! call over TCP goes on as if nothing were.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use harness::lab::{Family, Link, Place};
use harness::sipp::Role;
use harness::vizard::Vizard;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};

use crate::certificates;
use crate::guard::{STRANGER, arrive, rule};
use crate::world::{Plan, World, bind, callee_at, caller_at, in_progress, other, world};

const STRANGERS: usize = 1_000;
/// Connections that the customer's address may have.
const PER_SOURCE: usize = 20;

#[test]
fn hostile_connections_do_not_touch_a_call() {
    let Some(world) = world(Plan { links: [Link::Tcp; 2], ..Plan::default() }) else { return };
    let vizard = world.start_with(&bounded(&world));
    let bound = bind(&vizard);
    arrive(&world);
    let from = Place::Customer;
    let talk = Duration::from_secs(8);
    let outcome = std::thread::scope(|scope| {
        let call = scope.spawn(|| {
            let caller = caller_at(from, Role::Caller, bound.proxy_of(from)).talking(talk);
            world.call(caller, callee_at(other(from), Role::Callee).talking(talk))
        });
        let answered = |call: &serde_json::Value| (call["state"] == "answered").then_some(());
        in_progress(&vizard, Duration::from_secs(10), "the call is not answered", answered);
        let hostile = || {
            strangers_come(&world, &vizard);
            the_trunk_misbehaves(&world, &vizard);
            Ok(())
        };
        world.lab.inside(from, hostile).unwrap();
        call.join().unwrap()
    });

    let (peer, ours) = (world.lab.peer(from, Family::V4), world.lab.vizard(other(from), Family::V4));
    let left = outcome.near.stream(peer, world.lab.vizard(from, Family::V4)).unwrap().expect("audio");
    let arrived = outcome.far.stream(ours, world.lab.peer(other(from), Family::V4)).unwrap().expect("audio");
    // The capture beside the hostile host may itself have missed some.
    assert!(arrived.packets >= left.packets && left.packets > 350, "{left:?} {arrived:?}");
    assert_eq!(arrived.lost, 0, "{arrived:?}");
    for record in vizard.records(2).unwrap() {
        assert_eq!(record["release"]["cause"], "normal", "{record:#}");
    }
    vizard.stop().unwrap();
}

/// A configuration with TLS beside TCP, and bounds that a test can reach.
fn bounded(world: &World) -> String {
    certificates::make(&world.lab);
    let tls = SocketAddr::new(world.lab.vizard(Place::Customer, Family::V4), world.lab.port_over(Link::Tls));
    let bounds =
        format!("[sip.connections]\nper_source = {PER_SOURCE}\nmessage = \"1s\"\nhandshake = \"1s\"\n");
    let config = world.config().replacen("[sip]\n", &format!("[sip]\nlisten_tls = [\"{tls}\"]\n"), 1);
    let sections = certificates::configured(&world.lab) + &bounds;
    config.replacen("[media]\n", &format!("{sections}\n[media]\n"), 1)
}

fn counted(vizard: &Vizard<'_>, name: &str) -> u64 {
    vizard.counter(&format!("connections.{name}")).unwrap()
}

/// An address of no trunk comes until it is denied.
fn strangers_come(world: &World, vizard: &Vizard<'_>) {
    let at = SocketAddr::new(world.lab.vizard(Place::Customer, Family::V4), world.lab.sip_port());
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut come = 0;
    while come < STRANGERS || rule(&vizard.ask(&["guard", "list"]).unwrap(), STRANGER).is_none() {
        assert!(Instant::now() < deadline, "nobody is denied");
        for _ in 0..100 {
            if let Some(mut peer) = connect_from(STRANGER, at) {
                let _reset = peer.write_all(b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n");
            }
            come += 1;
        }
    }
    let turned_away = counted(vizard, "strangers");
    assert!((100..come as u64).contains(&turned_away), "{turned_away} of {come}");
    assert_eq!(vizard.counter("sip.unknown_source").unwrap(), turned_away);
}

/// The trunk's own address, which nothing denies, holds what it may and breaks what it can.
fn the_trunk_misbehaves(world: &World, vizard: &Vizard<'_>) {
    let at = |link| SocketAddr::new(world.lab.vizard(Place::Customer, Family::V4), world.lab.port_over(link));
    let connect = |link| TcpStream::connect(at(link)).unwrap();
    // One of them is the call's.
    let room = PER_SOURCE - 1;
    let mut crowd: Vec<TcpStream> = (0..room + 10).map(|_| connect(Link::Tcp)).collect();
    for peer in &mut crowd {
        let _reset = peer.write_all(b"INVITE sip:half@a.message SIP/2.0\r\n");
    }
    crowd.into_iter().for_each(ended);
    assert_eq!((counted(vizard, "over_source_limit"), counted(vizard, "slow")), (10, room as u64));

    let giant = format!("OPTIONS sip:x SIP/2.0\r\nSubject: {}\r\n\r\n", "x".repeat(100_000));
    for text in [&giant, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "BYE sip:x SIP/2.0\r\nl: 9999999\r\n\r\n"] {
        let mut peer = connect(Link::Tcp);
        let _reset = peer.write_all(text.as_bytes());
        ended(peer);
    }
    assert_eq!((counted(vizard, "too_long"), counted(vizard, "unframed")), (2, 1));

    for bytes in [&b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n"[..], &[22, 3, 1, 2, 0, 1]] {
        let peers: Vec<TcpStream> = (0..5).map(|_| connect(Link::Tls)).collect();
        for mut peer in &peers {
            let _reset = peer.write_all(bytes);
        }
        peers.into_iter().for_each(ended);
    }
    assert_eq!((counted(vizard, "handshake_errors"), counted(vizard, "handshake_timeouts")), (5, 5));
    // Those of the call are left.
    assert_eq!(counted(vizard, "open"), 2);
}

/// Waits until the other end has closed it.
fn ended(mut peer: TcpStream) {
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut bytes = [0; 512];
    loop {
        match peer.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("a connection was not ended: {error}")
            }
            Err(_) => return,
        }
    }
}

/// A connection, or nothing where it was reset before this side saw that it stood.
fn connect_from(source: &str, to: SocketAddr) -> Option<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
    match rustix::net::connect(&socket, &to) {
        Ok(()) => Some(TcpStream::from(socket)),
        Err(Errno::CONNRESET) => None,
        Err(error) => panic!("{source} does not reach {to}: {error}"),
    }
}
