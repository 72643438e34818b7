//! Peers that are slow, greedy, many, or not SIP at all: each ends its own
//! connection alone, and is counted.

use super::*;

/// A peer whose messages must go through whatever others do.
fn bystander(world: &mut World) -> TcpStream {
    let mut peer = world.guest();
    still_heard(world, &mut peer);
    peer
}

#[track_caller]
fn still_heard(world: &mut World, peer: &mut TcpStream) {
    let before = world.received.len();
    peer.write_all(message(7).as_bytes()).unwrap();
    world.until("still heard", |world| world.received.len() > before);
}

#[test]
fn strangers_are_let_go_before_a_byte_is_read() {
    let mut world = World::over(
        Transport::Tcp,
        trunk(|trunk| trunk.sources = vec!["192.0.2.0/24".parse().unwrap()]),
        None,
    );
    let mut peers: Vec<TcpStream> = (0..50).map(|_| world.peer()).collect();
    let _a_reset_may_come_first = peers[0].write_all(message(1).as_bytes());
    world.until("all gone", |world| world.streams.counters().strangers == 50);
    assert!(peers.iter().all(is_closed));
    assert_eq!(world.knocked, vec!["127.0.0.1".parse::<IpAddr>().unwrap(); 50]);
    assert!(world.received.is_empty() && world.streams.counters().open == 0);
}

#[test]
fn who_is_held_back_is_not_let_in() {
    let mut world = World::new();
    let peer = world.peer();
    while !world.streams.turn(world.now, |_| false) && !is_ready_to_read(&peer) {}
    assert!(is_closed(&peer) && world.streams.counters().accepted == 0);
    assert!(world.streams.poll_input().is_none());
}

fn is_ready_to_read(peer: &TcpStream) -> bool {
    peer.set_nonblocking(true).unwrap();
    let ready = !matches!(peer.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    peer.set_nonblocking(false).unwrap();
    ready
}

#[test]
fn one_address_and_all_of_them_have_a_limit_which_a_leaving_peer_makes_room_under() {
    let mut world = World::new();
    let mut first = bystander(&mut world);
    let mut others: Vec<TcpStream> = (1..limits().per_source).map(|_| world.guest()).collect();
    let turned_away = world.peer();
    world.until("turned away", |world| world.streams.counters().over_source_limit == 1);
    assert!(is_closed(&turned_away));

    // Ours count among all, not among those of an address.
    let listeners: Vec<TcpListener> =
        (limits().per_source..limits().connections).map(|_| elsewhere()).collect();
    for listener in &listeners {
        world.send(world.to(Transport::Tcp, listener.local_addr().unwrap()), "x");
    }
    let made = listeners.len() as u64;
    world.until("made", |world| world.streams.counters().connected == made);
    let one_more = elsewhere();
    let way = world.to(Transport::Tcp, one_more.local_addr().unwrap());
    world.send(way, "x");
    world.until("told", |world| world.lost.iter().any(|lost| lost.refused.is_some()));
    assert_eq!(world.streams.counters().over_limit, 1);
    still_heard(&mut world, &mut first);

    others.pop();
    world.until("left", |world| world.lost.len() == 2);
    world.send(way, "x");
    world.until("made at last", |world| world.streams.counters().connected == made + 1);
    still_heard(&mut world, &mut first);
}

#[test]
fn half_a_message_ends_its_connection_in_time_however_it_trickles() {
    let mut world = World::new();
    let mut bystander = bystander(&mut world);
    let mut slow = world.guest();
    for _ in 0..9 {
        slow.write_all(b"OPTIONS").unwrap();
        world.until("read", |_| true);
        world.pass(Duration::from_secs(1));
    }
    std::thread::sleep(Duration::from_millis(5));
    world.turn();
    assert_eq!(world.streams.counters().slow, 0);
    world.pass(Duration::from_secs(2));
    world.until("ended", |world| world.streams.counters().slow == 1);
    assert!(is_closed(&slow));
    still_heard(&mut world, &mut bystander);
}

#[test]
fn a_head_or_a_body_over_the_limit_and_one_without_a_length_end_their_connections() {
    let mut world = World::new();
    let mut bystander = bystander(&mut world);
    let giant = format!("OPTIONS sip:x SIP/2.0\r\nSubject: {}\r\n", "x".repeat(3_000));
    for (text, long, unframed) in [
        (giant.as_str(), 1, 0),
        ("OPTIONS sip:x SIP/2.0\r\nContent-Length: 4000000000\r\n\r\n", 2, 0),
        ("OPTIONS sip:x SIP/2.0\r\n\r\n", 2, 1),
        ("OPTIONS sip:x SIP/2.0\r\nl: 0\r\nl: 5\r\n\r\nhello", 2, 2),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 2, 3),
    ] {
        let mut peer = world.guest();
        peer.write_all(text.as_bytes()).unwrap();
        world.until(text, |world| {
            let counters = world.streams.counters();
            (counters.too_long, counters.unframed) == (long, unframed)
        });
        assert!(is_closed(&peer), "{text}");
        still_heard(&mut world, &mut bystander);
    }
}

#[test]
fn a_peer_that_reads_nothing_costs_its_queue_and_then_its_connection() {
    let mut world = World::new();
    let mut bystander = bystander(&mut world);
    let deaf = world.guest();
    let way = world.to(Transport::Tcp, deaf.local_addr().unwrap());
    let big = "x".repeat(60_000);
    for _ in 0..1_000 {
        world.send(way, &big);
        if world.streams.counters().send_overflow >= 3 {
            break;
        }
    }
    assert!(world.streams.counters().send_overflow >= 3, "the queue is bounded");
    still_heard(&mut world, &mut bystander);
    world.pass(limits().stall + Duration::from_secs(1));
    world.until("ended", |world| world.streams.counters().stalled == 1);
    still_heard(&mut world, &mut bystander);
}

#[test]
fn a_connection_that_carries_nothing_ends() {
    let mut world = World::new();
    let quiet = world.guest();
    world.pass(limits().idle / 2);
    assert_eq!(world.streams.counters().open, 1);
    world.pass(limits().idle / 2 + Duration::from_secs(1));
    assert_eq!((world.streams.counters().open, world.streams.counters().idle), (0, 1));
    assert!(is_closed(&quiet));
}
