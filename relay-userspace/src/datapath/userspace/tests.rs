use std::net::UdpSocket;
use std::time::Duration;

use relay_ebpf::verdict::Verdict;

use super::*;
use crate::datapath::Mode;
use crate::engine::cdr::Traffic;
use crate::engine::flow::{Content, FlowOwner, PayloadTypes, SourceRule};
use crate::engine::ids::{LegName, SessionId};

/// PCMU from anywhere in 127.0.0.0/8.
pub(super) fn flow(local: &str, send_from: &str, send_to: &str) -> FlowSpec {
    FlowSpec {
        owner: FlowOwner { session: SessionId::from_bits(1), leg: LegName::A },
        local: local.parse().unwrap(),
        source: SourceRule { allowed: "127.0.0.0/8".parse().unwrap(), generation: 0 },
        content: Content::rtp(PayloadTypes::default().with(0)),
        send_from: send_from.parse().unwrap(),
        send_to: send_to.parse().unwrap(),
        follow_learned: false,
        rtcp_apart: false,
        dscp: 46,
    }
}

/// An RTP packet with this second byte, and some sound.
pub(super) fn rtp(marker_type: u8) -> Vec<u8> {
    let mut packet = vec![0x80, marker_type];
    packet.resize(172, 0xd5);
    packet
}

/// An empty receiver report.
pub(super) fn rtcp() -> Vec<u8> {
    vec![0x80, 201, 0, 1, 0, 0, 0, 1]
}

struct Peer(UdpSocket);

impl Peer {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn send(&self, payload: &[u8], to: SocketAddr) {
        self.0.send_to(payload, to).unwrap();
    }

    /// The next packet and where it came from.
    fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 2048];
        let (length, from) = self.0.recv_from(&mut buffer).unwrap();
        (buffer[..length].to_vec(), from)
    }
}

/// A datapath with a call between two peers: what A sends to `a` leaves from
/// `b` towards B, and the other way round.
struct Call {
    path: SocketDatapath,
    a: FlowSpec,
    b: FlowSpec,
    peer_a: Peer,
    peer_b: Peer,
}

impl Call {
    fn new() -> Self {
        let (mut path, ports) = datapath();
        let (peer_a, peer_b) = (Peer::new(), Peer::new());
        let local = |port: u16| format!("127.0.0.1:{port}");
        let (at_a, at_b) = (local(ports[0]), local(ports[1]));
        let a = flow(&at_a, &at_b, &peer_b.address().to_string());
        let b = flow(&at_b, &at_a, &peer_a.address().to_string());
        path.put(&a).unwrap();
        path.put(&b).unwrap();
        Self { path, a, b, peer_a, peer_b }
    }

    fn count(&self, verdict: Verdict) -> u64 {
        let all = self.path.verdicts();
        all.iter().find(|count| count.verdict == verdict.name()).unwrap().packets
    }

    /// A packet that is refused leaves nothing to wait for: one that passes
    /// after it on the same socket shows that it was looked at.
    fn refused(&self, from: &Peer, payload: &[u8], verdict: Verdict) {
        let before = (self.count(verdict), self.path.stats(self.a.local).unwrap().refused_packets);
        from.send(payload, self.a.local);
        self.peer_a.send(&rtp(0), self.a.local);
        self.peer_b.receive();
        assert_eq!(self.count(verdict), before.0 + 1, "{}", verdict.name());
        assert_eq!(self.path.stats(self.a.local).unwrap().refused_packets, before.1 + 1);
    }
}

/// A datapath whose range holds every unprivileged port, and two free ports.
fn datapath() -> (SocketDatapath, [u16; 2]) {
    let config = DatapathConfig {
        mode: Mode::Sockets,
        interfaces: Vec::new(),
        addresses: vec!["127.0.0.1".parse().unwrap()],
        ports: 1024..=65535,
        guard: None,
        pin: None,
        discard_calls: false,
    };
    let free = [Peer::new(), Peer::new()].map(|peer| peer.address().port());
    (SocketDatapath::open(&config, "a test".into()).unwrap(), free)
}

#[test]
fn media_crosses_both_ways_and_is_counted() {
    let call = Call::new();
    for n in 1..=3 {
        call.peer_a.send(&rtp(0), call.a.local);
        assert_eq!(call.peer_b.receive(), (rtp(0), call.b.local), "packet {n}");
    }
    call.peer_b.send(&rtp(128), call.b.local);
    assert_eq!(call.peer_a.receive(), (rtp(128), call.a.local));

    let Call { mut path, a, .. } = call;
    for stats in [path.stats(a.local).unwrap(), path.remove(a.local)] {
        assert_eq!(stats.forwarded, Traffic { packets: 3, bytes: 3 * 172 });
        assert_eq!((stats.refused_packets, stats.learned), (0, Some(call.peer_a.address())));
        // Three times one sequence number.
        assert_eq!((stats.quality.expected, stats.quality.lost), (1, 0));
    }
    assert_eq!(path.stats(a.local), None);
    assert_eq!(path.remove(a.local), FlowStats::default());
}

#[test]
fn what_a_flow_refuses_is_counted_by_reason_and_never_crosses() {
    let call = Call::new();
    let stranger = Peer::new();
    call.refused(&call.peer_a, &rtp(0)[..8], Verdict::TooShort);
    call.refused(&call.peer_a, &[0xff; 20], Verdict::NotRtp);
    call.refused(&call.peer_a, &[0; 20], Verdict::UnexpectedStun);
    call.refused(&call.peer_a, &rtp(8), Verdict::PayloadType);
    call.refused(&stranger, &rtp(0), Verdict::WrongSource);
    assert_eq!(call.path.stats(call.a.local).unwrap().learned, Some(call.peer_a.address()));
}

#[test]
fn invalid_media_fixes_no_source() {
    let call = Call::new();
    Peer::new().send(&rtp(8), call.a.local);
    call.peer_a.send(&rtp(0), call.a.local);
    call.peer_b.receive();
    assert_eq!(call.path.stats(call.a.local).unwrap().learned, Some(call.peer_a.address()));
}

#[test]
fn only_the_allowed_network_may_be_learned() {
    let mut call = Call::new();
    call.a.source.allowed = "127.9.0.0/16".parse().unwrap();
    call.path.put(&call.a).unwrap();
    call.peer_a.send(&rtp(0), call.a.local);
    let allowed = Peer(UdpSocket::bind("127.9.0.1:0").unwrap());
    allowed.send(&rtp(0), call.a.local);
    call.peer_b.receive();
    assert_eq!(call.count(Verdict::SourceNotAllowed), 1);
    assert_eq!(call.path.stats(call.a.local).unwrap().learned, Some(allowed.address()));
}

#[test]
fn a_replaced_flow_keeps_its_source_until_signalling_moves() {
    let mut call = Call::new();
    call.peer_a.send(&rtp(0), call.a.local);
    call.peer_b.receive();
    let moved = Peer::new();
    call.path.put(&FlowSpec { send_to: moved.address(), ..call.a.clone() }).unwrap();
    call.peer_a.send(&rtp(0), call.a.local);
    moved.receive();
    let stats = call.path.stats(call.a.local).unwrap();
    assert_eq!((stats.learned, stats.forwarded.packets), (Some(call.peer_a.address()), 2));

    call.a.source.generation = 1;
    call.path.put(&call.a).unwrap();
    let stats = call.path.stats(call.a.local).unwrap();
    assert_eq!((stats.learned, stats.forwarded.packets), (None, 2));
}

#[test]
fn media_goes_back_to_where_it_came_from_behind_nat() {
    let mut call = Call::new();
    let natted = Peer::new();
    call.b.follow_learned = true;
    call.path.put(&call.b).unwrap();
    call.peer_b.send(&rtp(0), call.b.local);
    call.peer_a.receive();
    natted.send(&rtp(0), call.a.local);
    call.peer_b.receive();
    call.peer_b.send(&rtp(0), call.b.local);
    assert_eq!(natted.receive(), (rtp(0), call.a.local));
}

#[test]
fn a_port_without_a_flow_drops_what_comes() {
    let mut call = Call::new();
    call.path.remove(call.b.local);
    call.peer_b.send(&rtp(0), call.b.local);
    while call.count(Verdict::NoFlow) == 0 {
        thread::yield_now();
    }
    // With its last user gone the port is free again.
    call.path.remove(call.a.local);
    for local in [call.a.local, call.b.local] {
        UdpSocket::bind(local).unwrap();
    }
}

#[test]
fn a_port_in_use_says_by_whom_and_leaves_nothing_behind() {
    let (mut path, [near, far]) = datapath();
    let local = |port: u16| format!("127.0.0.1:{port}");
    let held = UdpSocket::bind(local(far)).unwrap();
    let error = path.put(&flow(&local(near), &local(far), "127.0.0.1:9")).unwrap_err().to_string();
    assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
    UdpSocket::bind(local(near)).expect("the near port was given back");
    drop(held);
    path.put(&flow(&local(near), &local(far), "127.0.0.1:9")).unwrap();
}

#[test]
fn addresses_and_families_that_are_not_ours_are_refused() {
    let (mut path, [near, far]) = datapath();
    let (near, far) = (format!("127.0.0.1:{near}"), format!("127.0.0.1:{far}"));
    let outside = |result| matches!(result, Err(DatapathError::OutsideRange(_)));
    assert!(outside(path.put(&flow("127.0.0.1:80", &far, "127.0.0.1:9"))));
    assert!(outside(path.put(&flow("127.0.0.2:4000", &far, "127.0.0.1:9"))));
    assert!(outside(path.put(&flow(&near, "127.0.0.2:4000", "127.0.0.1:9"))));
    let mixed = path.put(&flow(&near, &far, "[::1]:9"));
    assert!(matches!(mixed, Err(DatapathError::Family { .. })));
    UdpSocket::bind(&near).expect("nothing was opened");
}
