//! The whole datapath on real interfaces: opened as the daemon opens it, between
//! peers in network namespaces of their own, with their own sockets.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use aya::programs::XdpMode;
use harness::namespace::Peer;
use vizard::datapath::guard::GuardConfig;
use vizard::datapath::tap::{TapStream, Tapped};
use vizard::datapath::xdp::load;
use vizard::datapath::{self, Datapath, DatapathConfig, DatapathError, Mode};
use vizard::engine::flow::{FlowSpec, MediaPath};
use vizard::engine::guard::{Rule, Treatment};
use vizard::engine::ids::LegName;

use crate::frames::rtp;
use crate::world::{address, enter_own_namespace, flow, ip};

/// A socket of a peer's.
pub(crate) fn socket(peer: &Peer, local: &str) -> UdpSocket {
    let socket = peer.socket(local.parse().expect("an address")).expect("the peer's address");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    socket
}

pub(crate) fn config(mode: Mode) -> DatapathConfig {
    DatapathConfig {
        mode,
        interfaces: Vec::new(),
        addresses: ["192.0.2.10", "198.51.100.10", "2001:db8:a::10", "2001:db8:b::10"].map(address).to_vec(),
        ports: 20_000..=20_099,
        guard: None,
        pin: None,
        discard_calls: false,
    }
}

pub(crate) fn peers() -> (Peer, Peer) {
    let peer = |side, ours: &[&str], theirs: &[&str]| Peer::new(side, ours, theirs).expect("a namespace");
    (
        peer("a", &["192.0.2.10/24", "2001:db8:a::10/64"], &["192.0.2.1/24", "2001:db8:a::1/64"]),
        peer("b", &["198.51.100.10/24", "2001:db8:b::10/64"], &["198.51.100.1/24", "2001:db8:b::1/64"]),
    )
}

/// Sends until the far end hears it: the first packets may meet an unknown
/// neighbour. The sender that it sees, and the payload.
pub(crate) fn relayed(sender: &UdpSocket, to: &str, receiver: &UdpSocket) -> (SocketAddr, Vec<u8>) {
    let to: SocketAddr = to.parse().expect("an address");
    let give_up = Instant::now() + Duration::from_secs(5);
    let mut buffer = [0; 2048];
    while Instant::now() < give_up {
        sender.send_to(&rtp(0), to).expect("sending");
        if let Ok((length, from)) = receiver.recv_from(&mut buffer) {
            return (from, buffer[..length].to_vec());
        }
    }
    panic!("nothing arrived through {to}");
}

pub(crate) fn put(datapath: &mut dyn Datapath, flow: &FlowSpec) {
    datapath.put(flow).unwrap_or_else(|error| panic!("{error}"));
}

/// Both directions across two interfaces, and one that turns round on the one
/// that it came in on.
fn relays(mode: Mode, path: MediaPath) {
    if !enter_own_namespace() {
        return;
    }
    let (a, b) = peers();
    // What the relay transmits on the pair that it came from is only delivered
    // to an end with a program.
    let program = a.inside(|| {
        let layout = load::layout(&config(Mode::XdpNative)).expect("a layout");
        let mut object = load::load(&layout, false).expect("the object");
        let bare = load::bare_program(&mut object).expect("the program");
        bare.attach(&a.inner, XdpMode::Driver).expect("attaching");
        object
    });
    let program = program.expect("the peer's namespace");
    let mut datapath = datapath::open(&config(mode)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(datapath.choice().path, path, "{}", datapath.choice());
    assert_eq!(datapath.choice().interfaces, [a.outer.clone(), b.outer.clone()]);

    let customer = socket(&a, "192.0.2.1:4000");
    let agent = socket(&b, "198.51.100.1:5004");
    let there = flow("192.0.2.10:20000", "192.0.2.1/32", "198.51.100.10:20000", "198.51.100.1:5004");
    let back = flow("198.51.100.10:20000", "198.51.100.1/32", "192.0.2.10:20000", "192.0.2.1:4000");
    put(&mut *datapath, &there);
    put(&mut *datapath, &back);
    let (seen, payload) = relayed(&customer, "192.0.2.10:20000", &agent);
    assert_eq!((seen, payload), ("198.51.100.10:20000".parse().unwrap(), rtp(0)));
    let (seen, payload) = relayed(&agent, "198.51.100.10:20000", &customer);
    assert_eq!((seen, payload), ("192.0.2.10:20000".parse().unwrap(), rtp(0)));

    let customer_v6 = socket(&a, "[2001:db8:a::1]:4000");
    let agent_v6 = socket(&b, "[2001:db8:b::1]:5004");
    let there_v6 =
        flow("[2001:db8:a::10]:20000", "2001:db8:a::1/128", "[2001:db8:b::10]:20000", "[2001:db8:b::1]:5004");
    put(&mut *datapath, &there_v6);
    let (seen, payload) = relayed(&customer_v6, "[2001:db8:a::10]:20000", &agent_v6);
    assert_eq!((seen, payload), ("[2001:db8:b::10]:20000".parse().unwrap(), rtp(0)));

    let colleague = socket(&a, "192.0.2.1:4010");
    put(&mut *datapath, &flow("192.0.2.10:20010", "192.0.2.1/32", "192.0.2.10:20012", "192.0.2.1:4010"));
    let (seen, _) = relayed(&customer, "192.0.2.10:20010", &colleague);
    assert_eq!(seen, "192.0.2.10:20012".parse().unwrap());

    let count = |verdict: &str| {
        let verdicts = datapath.verdicts();
        verdicts.iter().find(|count| count.verdict == verdict).map_or(0, |count| count.packets)
    };
    assert!(count("redirected") >= 3, "{:?}", datapath.verdicts());
    assert!(count("transmitted") >= 1, "{:?}", datapath.verdicts());
    let before = datapath.stats(there.local).expect("a flow");
    assert_eq!(before.learned, Some("192.0.2.1:4000".parse().unwrap()));
    assert_eq!(before.forwarded.bytes, before.forwarded.packets * 172);
    let mut last = datapath.remove(there.local);
    assert!(last.quality.idle >= before.quality.idle, "silence grows");
    last.quality.idle = before.quality.idle;
    assert_eq!(last, before);
    assert_eq!(datapath.remove(there.local), vizard::engine::flow::FlowStats::default());
    assert_eq!(datapath.stats(there.local), None);
    customer.send_to(&rtp(0), "192.0.2.10:20000").expect("sending");
    assert!(agent.recv_from(&mut [0; 2048]).is_err(), "a removed flow relays nothing");
    drop(program);
}

#[test]
fn native_xdp_relays_between_real_peers() {
    relays(Mode::XdpNative, MediaPath::XdpNative);
}

#[test]
fn generic_xdp_relays_between_real_peers() {
    relays(Mode::XdpGeneric, MediaPath::XdpGeneric);
}

#[test]
fn automatic_choice_takes_the_driver_when_it_can() {
    relays(Mode::Auto, MediaPath::XdpNative);
}

/// A neighbour that gets another MAC address (a failover) is followed.
#[test]
fn a_neighbour_that_moves_is_followed() {
    if !enter_own_namespace() {
        return;
    }
    let (a, b) = peers();
    let mut datapath = datapath::open(&config(Mode::XdpNative)).unwrap_or_else(|error| panic!("{error}"));
    let customer = socket(&a, "192.0.2.1:4000");
    let agent = socket(&b, "198.51.100.1:5004");
    put(
        &mut *datapath,
        &flow("192.0.2.10:20000", "192.0.2.1/32", "198.51.100.10:20000", "198.51.100.1:5004"),
    );
    relayed(&customer, "192.0.2.10:20000", &agent);
    ip(&format!("-n {} link set {} address 02:00:00:00:00:99", b.name, b.inner));
    ip(&format!("neighbour replace 198.51.100.1 lladdr 02:00:00:00:00:99 dev {} nud reachable", b.outer));
    relayed(&customer, "192.0.2.10:20000", &agent);
}

/// A tap lasts through updates of its flow, on every path, and ends with it.
fn taps(mode: Mode) {
    if !enter_own_namespace() {
        return;
    }
    let (a, b) = peers();
    let mut datapath = datapath::open(&config(mode)).unwrap_or_else(|error| panic!("{error}"));
    let customer = socket(&a, "192.0.2.1:4000");
    let agents = [socket(&b, "198.51.100.1:5004"), socket(&b, "198.51.100.1:5006")];
    let mut spec = flow("192.0.2.10:20000", "192.0.2.1/32", "198.51.100.10:20000", "198.51.100.1:5004");
    put(&mut *datapath, &spec);
    relayed(&customer, "192.0.2.10:20000", &agents[0]);
    let (sink, mut stream) = TapStream::new();
    let tapped = Tapped { leg: LegName::A, local: spec.local, control: false };
    datapath.tap(tapped, Some(sink));
    let mut heard = |agent| {
        relayed(&customer, "192.0.2.10:20000", agent);
        let give_up = Instant::now() + Duration::from_secs(5);
        loop {
            match stream.copies.try_recv() {
                Ok(copy) => return copy,
                Err(_) => assert!(Instant::now() < give_up, "no copy came"),
            }
        }
    };
    let copy = heard(&agents[0]);
    assert_eq!((copy.flow, copy.source), (tapped, "192.0.2.1:4000".parse().unwrap()));
    assert_eq!((copy.payload, copy.length), (rtp(0), 172));
    spec.send_to = "198.51.100.1:5006".parse().unwrap();
    put(&mut *datapath, &spec);
    heard(&agents[1]);
    spec.source.generation += 1;
    put(&mut *datapath, &spec);
    heard(&agents[1]);

    datapath.tap(tapped, None);
    relayed(&customer, "192.0.2.10:20000", &agents[1]);
    let copies = std::iter::from_fn(|| stream.copies.blocking_recv()).count();
    assert!(copies < 5, "what was under way, and then the end: {copies}");
    let (sink, mut stream) = TapStream::new();
    datapath.tap(tapped, Some(sink));
    datapath.remove(spec.local);
    assert_eq!(stream.copies.blocking_recv(), None, "a flow's end is its tap's");
}

#[test]
fn native_xdp_taps() {
    taps(Mode::XdpNative);
}

#[test]
fn generic_xdp_taps() {
    taps(Mode::XdpGeneric);
}

#[test]
fn sockets_tap() {
    taps(Mode::Sockets);
}

/// Rules are replaced as a whole while packets arrive; those that stay go on counting.
#[test]
fn rules_of_the_guard_are_in_force_until_they_are_replaced() {
    if !enter_own_namespace() {
        return;
    }
    let (a, _b) = peers();
    let sip: [SocketAddr; 2] = ["192.0.2.10:5060", "[2001:db8:a::10]:5060"].map(|ours| ours.parse().unwrap());
    let guard = GuardConfig { listen: sip.to_vec(), rate: 0, burst: 1 };
    let config = DatapathConfig { guard: Some(guard), ..config(Mode::XdpNative) };
    let mut datapath = datapath::open(&config).unwrap_or_else(|error| panic!("{error}"));
    let of_v4 = ("192.0.2.1:5060", "192.0.2.0/24", "192.0.2.1/32", "2001:db8::/32");
    let of_v6 = ("[2001:db8:a::1]:5060", "2001:db8::/32", "2001:db8:a::1/128", "192.0.2.0/24");
    for (sip, (from, wide, narrow, elsewhere)) in sip.into_iter().zip([of_v4, of_v6]) {
        let ours = harness::socket::udp(sip).expect("our own address");
        ours.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let peer = socket(&a, from);
        let hears = || {
            peer.send_to(b"OPTIONS", sip).expect("sending");
            ours.recv_from(&mut [0; 64]).is_ok()
        };
        let denied = |datapath: &dyn Datapath| {
            let verdicts = datapath.verdicts();
            verdicts.iter().find(|count| count.verdict == "guard-denied").map_or(0, |count| count.packets)
        };
        let before = denied(&*datapath);
        let set = |datapath: &mut dyn Datapath, list: &[(&str, Treatment)]| {
            let rule = |(net, treatment): &(&str, Treatment)| Rule {
                net: net.parse().unwrap(),
                treatment: *treatment,
            };
            let rules: Vec<Rule> = list.iter().map(rule).collect();
            datapath.guard().set_rules(&rules).expect("room");
        };
        // The first one may wait for a neighbour to be found.
        assert!((0..10).any(|_| hears()));
        set(&mut *datapath, &[(wide, Treatment::Deny)]);
        assert!(!hears() && !hears());
        let kept = [(wide, Treatment::Deny), (narrow, Treatment::Exempt), (elsewhere, Treatment::Deny)];
        set(&mut *datapath, &kept);
        assert!(hears());
        let hits: Vec<(String, u64)> =
            datapath.guard().hits().iter().map(|(net, hits)| (net.to_string(), *hits)).collect();
        for (net, packets) in [(wide, 2), (narrow, 1), (elsewhere, 0)] {
            assert!(hits.contains(&(net.to_owned(), packets)), "{hits:?}");
        }
        set(&mut *datapath, &[]);
        assert!(hears() && datapath.guard().hits().is_empty());
        set(&mut *datapath, &[(narrow, Treatment::Deny)]);
        assert_eq!(datapath.guard().hits()[0].1, 0, "a new rule counts from zero");
        assert!(!hears());
        assert_eq!(denied(&*datapath), before + 3);
        set(&mut *datapath, &[]);
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    if !enter_own_namespace() {
        return;
    }
    let (a, _b) = peers();
    let error = |config: &DatapathConfig| match datapath::open(config) {
        Ok(datapath) => panic!("opened {}", datapath.choice()),
        Err(error) => error.to_string(),
    };
    let mut missing = config(Mode::XdpNative);
    missing.interfaces = vec!["eth77".to_owned()];
    assert!(error(&missing).contains("no interface eth77"), "{}", error(&missing));
    let mut homeless = config(Mode::XdpNative);
    homeless.addresses.push(address("203.0.113.200"));
    assert!(error(&homeless).contains("no interface has the media address 203.0.113.200"));

    let mut first = datapath::open(&config(Mode::XdpNative)).unwrap_or_else(|error| panic!("{error}"));
    let second = error(&config(Mode::XdpNative));
    assert!(second.contains("already has XDP program") && second.contains("(relay"), "{second}");
    assert!(second.contains(&a.outer), "{second}");

    let refused =
        |datapath: &mut dyn Datapath, spec: &FlowSpec| datapath.put(spec).expect_err("no such flow");
    let outside = flow("192.0.2.10:30000", "192.0.2.1/32", "198.51.100.10:20000", "198.51.100.1:5004");
    assert!(matches!(refused(&mut *first, &outside), DatapathError::OutsideRange(_)));
    let mixed = flow("192.0.2.10:20000", "192.0.2.1/32", "198.51.100.10:20000", "[2001:db8:b::1]:5004");
    assert!(matches!(refused(&mut *first, &mixed), DatapathError::Family { .. }));
    let unreachable = flow("192.0.2.10:20000", "192.0.2.1/32", "198.51.100.10:20000", "203.0.113.9:5004");
    assert!(matches!(refused(&mut *first, &unreachable), DatapathError::NoRoute { .. }));
    assert_eq!(first.stats(outside.local), None);
}

/// On an interface whose driver has no native XDP, the choice falls through
/// with a reason.
#[test]
fn the_choice_falls_back_with_its_reason() {
    if !enter_own_namespace() {
        return;
    }
    let mut loopback = config(Mode::Auto);
    loopback.addresses = vec![address("127.0.0.1")];
    let datapath = datapath::open(&loopback).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(datapath.choice().path, MediaPath::XdpGeneric, "{}", datapath.choice());
    assert!(datapath.choice().reason.contains("native XDP failed"), "{}", datapath.choice());
    assert!(datapath.choice().reason.contains("lo"), "{}", datapath.choice());
}
