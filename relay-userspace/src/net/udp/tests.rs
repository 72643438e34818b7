use std::time::Duration;

use super::*;

fn transport(message_bytes: usize) -> UdpTransport {
    UdpTransport::bind(&["127.0.0.1:0".parse().unwrap()], message_bytes).unwrap()
}

fn peer() -> std::net::UdpSocket {
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    peer
}

/// Loopback delivers before `send_to` returns, so nothing has to be awaited.
fn receive_all(transport: &mut UdpTransport) -> Vec<Signal> {
    let mut all = Vec::new();
    while transport.receive(0, |datagram| all.push(datagram)) == Drained::Perhaps {}
    all
}

#[test]
fn datagrams_arrive_whole_in_order_and_with_their_source() {
    let (mut transport, peer) = (transport(100), peer());
    let local = transport.addresses().next().unwrap();
    let sent: Vec<Vec<u8>> = (0..100).map(|n| vec![n; usize::from(n)]).collect();
    for bytes in &sent {
        peer.send_to(bytes, local).unwrap();
    }
    let received = receive_all(&mut transport);
    assert!(received.iter().all(|d| d.way == Way::udp(local, peer.local_addr().unwrap())));
    assert_eq!(received.into_iter().map(|d| d.bytes).collect::<Vec<_>>(), sent);
    assert_eq!(transport.counters().received, 100);
}

#[test]
fn a_message_over_the_limit_is_dropped_and_counted() {
    let (mut transport, peer) = (transport(100), peer());
    let local = transport.addresses().next().unwrap();
    for length in [100, 101, 5000, 1] {
        peer.send_to(&vec![b'x'; length], local).unwrap();
    }
    let lengths: Vec<usize> = receive_all(&mut transport).iter().map(|d| d.bytes.len()).collect();
    assert_eq!(lengths, [100, 1]);
    assert_eq!(transport.counters().too_long, 2);
}

#[test]
fn more_than_a_batch_leaves_in_order() {
    let (mut transport, peer) = (transport(100), peer());
    let (local, remote) = (transport.addresses().next().unwrap(), peer.local_addr().unwrap());
    for n in 0..100 {
        transport.queue(Signal { way: Way::udp(local, remote), bytes: vec![n] });
    }
    transport.flush();
    let mut buffer = [0; 8];
    for n in 0..100 {
        assert_eq!(peer.recv_from(&mut buffer).unwrap(), (1, local));
        assert_eq!(buffer[0], n);
    }
    assert_eq!(transport.counters().sent, 100);
}

#[test]
fn a_datagram_that_cannot_be_sent_does_not_hold_up_the_next() {
    let (mut transport, peer) = (transport(100), peer());
    let (local, remote) = (transport.addresses().next().unwrap(), peer.local_addr().unwrap());
    transport.queue(Signal { way: Way::udp(local, remote), bytes: vec![0; 70_000] });
    transport.queue(Signal { way: Way::udp(local, "127.0.0.1:0".parse().unwrap()), bytes: vec![1] });
    transport.queue(Signal { way: Way::udp(local, remote), bytes: vec![2] });
    transport.queue(Signal { way: Way::udp("127.0.0.1:1".parse().unwrap(), remote), bytes: vec![3] });
    transport.flush();
    let mut buffer = [0; 8];
    peer.recv_from(&mut buffer).unwrap();
    assert_eq!(buffer[0], 2);
    let counters = transport.counters();
    assert_eq!((counters.sent, counters.send_errors), (1, 3));
}

#[test]
fn the_queue_is_bounded_while_the_kernel_has_no_room() {
    let mut transport = transport(100);
    let (local, remote) = (transport.addresses().next().unwrap(), "127.0.0.1:9".parse().unwrap());
    transport.sockets[0].blocked = true;
    for _ in 0..QUEUE + 7 {
        transport.queue(Signal { way: Way::udp(local, remote), bytes: vec![0] });
    }
    transport.flush();
    assert_eq!(transport.counters().sent, 0);
    assert_eq!(transport.counters().send_overflow, 7);
    transport.writable(0);
    transport.flush();
    assert!(transport.sockets[0].queue.is_empty());
}
