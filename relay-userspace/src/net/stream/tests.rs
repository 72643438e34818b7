mod hostile;
mod secure;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::engine::config::Trunk;
use crate::engine::directory::tests::config;

/// The kernel's part of a step is over long before this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections on loopback, where everybody is one trunk unless said otherwise.
struct World {
    streams: Streams,
    now: Instant,
    local: SocketAddr,
    received: Vec<(Way, String)>,
    lost: Vec<Disconnection>,
    knocked: Vec<IpAddr>,
}

fn limits() -> StreamLimits {
    StreamLimits { connections: 8, per_source: 6, queue_bytes: 65_536, ..StreamLimits::default() }
}

/// A trunk on loopback, which may be changed.
fn trunk(change: impl FnOnce(&mut Trunk)) -> Arc<Config> {
    let mut config = config();
    config.trunks.truncate(1);
    config.trunks[0].sources = vec!["127.0.0.1".parse::<IpAddr>().unwrap().into()];
    config.limits.message_bytes = 2_000;
    change(&mut config.trunks[0]);
    Arc::new(config)
}

impl World {
    fn new() -> Self {
        Self::over(Transport::Tcp, trunk(|_| {}), None)
    }

    fn over(transport: Transport, config: Arc<Config>, tls: Option<Tls>) -> Self {
        let listeners = Listeners::bind(&[(transport, "127.0.0.1:0".parse().unwrap())]).unwrap();
        let local = listeners.addresses().next().unwrap();
        let streams = Streams::new(listeners, StreamSetup { config, limits: limits(), tls }).unwrap();
        let now = Instant::ORIGIN + Duration::from_secs(1);
        Self { streams, now, local, received: Vec::new(), lost: Vec::new(), knocked: Vec::new() }
    }

    /// Works until something is so.
    #[track_caller]
    fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let start = std::time::Instant::now();
        loop {
            self.turn();
            if so(self) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{what}: {:?}", self.streams.counters());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn turn(&mut self) {
        while self.streams.turn(self.now, |_| true) {}
        self.streams.handle_timeout(self.now);
        self.streams.flush(self.now);
        while let Some(input) = self.streams.poll_input() {
            match input {
                Input::Received(Signal { way, bytes }) => {
                    self.received.push((way, String::from_utf8(bytes).unwrap()));
                }
                Input::Disconnected(lost) => self.lost.push(lost),
                Input::Knocked(source) => self.knocked.push(source),
                other => panic!("{other:?}"),
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.turn();
    }

    /// Somebody connects.
    fn peer(&self) -> TcpStream {
        let peer = TcpStream::connect(self.local).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer
    }

    /// Somebody connects, and is let in.
    fn guest(&mut self) -> TcpStream {
        let (peer, accepted) = (self.peer(), self.streams.counters().accepted);
        self.until("let in", |world| world.streams.counters().accepted > accepted);
        peer
    }

    fn send(&mut self, way: Way, text: &str) {
        self.streams.queue(self.now, &Signal { way, bytes: text.into() });
        self.turn();
    }

    fn to(&self, transport: Transport, remote: SocketAddr) -> Way {
        Way { transport, local: self.local, remote, otherwise: None }
    }
}

fn message(n: usize) -> String {
    format!("OPTIONS sip:{n} SIP/2.0\r\nl: {}\r\n\r\n{}", n % 100, "x".repeat(n % 100))
}

fn read(peer: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    peer.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Whether the other end has closed it, whatever it said before.
fn is_closed(mut peer: &TcpStream) -> bool {
    let mut bytes = [0; 512];
    loop {
        match peer.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
            }
        }
    }
}

fn elsewhere() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn what_arrives_in_any_pieces_comes_out_whole_and_in_order_and_is_answered_where_it_came_from() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut world = World::new();
    let mut peer = world.guest();
    let sent: Vec<String> = (0..200).map(message).collect();
    let mut rest = sent.concat().into_bytes();
    while !rest.is_empty() {
        let piece = rest.len().min(1 + random.next_u32() as usize % 700);
        peer.write_all(&rest[..piece]).unwrap();
        rest.drain(..piece);
        world.turn();
    }
    world.until("all arrived", |world| world.received.len() == 200);
    let from = peer.local_addr().unwrap();
    assert!(world.received.iter().all(|(way, _)| *way == world.to(Transport::Tcp, from)));
    assert_eq!(world.received.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>(), sent);
    // The Via's port, where nobody listens, is for when the connection is gone.
    let way = Way { otherwise: Some("127.0.0.1:1".parse().unwrap()), ..world.to(Transport::Tcp, from) };
    world.send(way, "answer");
    assert_eq!(read(&mut peer, 6), "answer");
    let counters = world.streams.counters();
    assert_eq!((counters.open, counters.accepted, counters.connected), (1, 1, 0));
    assert_eq!((counters.received, counters.sent), (200, 1));
}

#[test]
fn a_request_opens_a_connection_and_the_next_one_uses_it() {
    let mut world = World::new();
    let listener = elsewhere();
    let way = world.to(Transport::Tcp, listener.local_addr().unwrap());
    world.send(way, "one,");
    world.send(way, "two,");
    let (mut peer, _) = listener.accept().unwrap();
    world.until("connected", |world| world.streams.counters().connected == 1);
    world.send(way, "three");
    assert_eq!(read(&mut peer, 13), "one,two,three");
    // What comes back over it belongs to the address that is configured.
    peer.write_all(message(1).as_bytes()).unwrap();
    world.until("answered", |world| world.received.len() == 1);
    assert_eq!(world.received[0].0, way);
    drop(peer);
    world.until("told", |world| world.lost.len() == 1);
    let told = Disconnection { transport: Transport::Tcp, remote: way.remote, refused: None };
    assert_eq!(world.lost, [told]);
    world.send(way, "again");
    let (mut peer, _) = listener.accept().unwrap();
    world.until("connected anew", |world| world.streams.counters().connected == 2);
    assert_eq!(read(&mut peer, 5), "again");
}

#[test]
fn an_answer_whose_connection_is_gone_goes_where_its_via_says() {
    let mut world = World::new();
    let listener = elsewhere();
    let gone = world.guest().local_addr().unwrap();
    world.until("gone", |world| world.lost.len() == 1);
    let way = Way { otherwise: Some(listener.local_addr().unwrap()), ..world.to(Transport::Tcp, gone) };
    world.send(way, "answer");
    let (mut peer, _) = listener.accept().unwrap();
    world.until("connected", |world| world.streams.counters().connected == 1);
    assert_eq!(read(&mut peer, 6), "answer");
}

#[test]
fn a_connection_that_cannot_be_made_is_told_with_its_reason() {
    let mut world = World::new();
    let nobody = elsewhere().local_addr().unwrap();
    world.send(world.to(Transport::Tcp, nobody), "lost");
    world.until("refused", |world| world.lost.len() == 1);
    let problem = world.lost[0].refused.as_deref().unwrap();
    assert!(world.lost[0].remote == nobody && problem.contains("refused"), "{problem}");
    assert_eq!(world.streams.counters().connect_errors, 1);
    assert_eq!(world.streams.counters().open, 0);
}

#[test]
fn a_keep_alive_is_answered_and_is_no_message() {
    let mut world = World::new();
    let mut peer = world.guest();
    peer.write_all(b"\r\n\r\n").unwrap();
    world.until("answered", |world| world.streams.counters().pings == 1);
    assert_eq!(read(&mut peer, 2), "\r\n");
    assert!(world.received.is_empty());
}

#[test]
fn nothing_is_left_of_connections_that_are_over() {
    let mut world = World::new();
    for round in 0..40 {
        let mut peer = world.guest();
        peer.write_all(message(round).as_bytes()).unwrap();
        world.until("arrived", |world| world.received.len() == round + 1);
        drop(peer);
        world.until("over", |world| world.streams.counters().open == 0);
    }
    let Streams { connections, by_peer, per_source, timers, to_send, .. } = &world.streams;
    assert!(connections.is_empty() && by_peer.is_empty() && per_source.is_empty());
    assert!(timers.is_empty() && to_send.is_empty());
}
