//! Flows that change and end while packets arrive.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use vizard::datapath::DatapathError;
use vizard::engine::flow::FlowStats;
use vizard::engine::ids::LegName;

use crate::rig::{Family, Rig, Side, assert_silent, far, flow, ours, receive, receive_within, rtp};

/// Packets of a stream, and the pause between two: two thousand a second, forty
/// times a call's rate.
const STREAM: u16 = 2_000;
const PAUSE: Duration = Duration::from_micros(500);
/// Packets that may leave between a look at the count and a change's end.
const IN_FLIGHT: u16 = 20;

/// Sends a numbered stream while `change` is done over and over; `change` is told
/// how many packets had left before it.
fn while_sending(from: &UdpSocket, to: SocketAddr, mut change: impl FnMut(u16)) {
    let sent = AtomicU16::new(0);
    thread::scope(|scope| {
        let sent = &sent;
        let sender = scope.spawn(move || {
            for number in 0..STREAM {
                from.send_to(&rtp(0, number), to).unwrap();
                sent.store(number + 1, Ordering::Release);
                thread::sleep(PAUSE);
            }
        });
        while !sender.is_finished() {
            change(sent.load(Ordering::Acquire));
            thread::sleep(PAUSE / 2);
        }
    });
}

/// The numbers of all packets that wait at a socket.
fn numbers(socket: &UdpSocket) -> Vec<u16> {
    let next = || receive_within(socket, Duration::from_millis(200));
    std::iter::from_fn(next).map(|(_, packet)| u16::from_be_bytes([packet[2], packet[3]])).collect()
}

pub(crate) fn updates_under_load_lose_nothing(rig: &mut Rig) {
    let mut call = rig.call(Family::V4, Family::V4);
    let mut updates = 0;
    while_sending(&call.customer, call.there.local, |_| {
        call.there.dscp ^= 8;
        rig.put(&call.there);
        updates += 1;
    });
    assert!(updates > 100, "only {updates} updates");
    assert_eq!(numbers(&call.agent), (0..STREAM).collect::<Vec<_>>());
    let stats = rig.stats(&call.there);
    assert_eq!((stats.forwarded.packets, stats.refused_packets), (STREAM.into(), 0));
    assert_eq!(stats.learned, Some(call.customer.local_addr().unwrap()));
}

/// The agent's side moves again and again (re-INVITEs), each time to an end where it
/// was not before: every packet arrives once, and none that was sent after a move at
/// an end that was left by it.
pub(crate) fn a_moved_far_end_misses_nothing(rig: &mut Rig) {
    const ENDS: u16 = 20;
    let call = rig.call(Family::V4, Family::V4);
    let homes = (0..ENDS).map(|end| SocketAddr::new(far(Side::Agent, Family::V4, 2), 6000 + end));
    let homes: Vec<(SocketAddr, UdpSocket)> =
        homes.map(|home| (home, rig.socket(Side::Agent, home))).collect();
    let mut moves: Vec<u16> = Vec::new();
    while_sending(&call.customer, call.there.local, |sent| {
        let due = STREAM / (ENDS + 1);
        if let Some((home, _)) = homes.get(moves.len())
            && sent >= moves.last().unwrap_or(&0) + due
        {
            let mut moved = call.there.clone();
            moved.send_to = *home;
            rig.put(&moved);
            moves.push(sent);
        }
    });
    assert!(moves.len() > 10, "{moves:?}");
    let ends = std::iter::once(&call.agent).chain(homes.iter().map(|(_, socket)| socket));
    let arrived: Vec<Vec<u16>> = ends.map(numbers).collect();
    let mut all = arrived.concat();
    all.sort_unstable();
    assert_eq!(all, (0..STREAM).collect::<Vec<_>>(), "each packet arrived once");
    for (end, &left) in arrived.iter().zip(&moves) {
        assert!(!end.is_empty(), "{moves:?}");
        let late: Vec<&u16> = end.iter().filter(|&&number| number > left + IN_FLIGHT).collect();
        assert!(late.is_empty(), "{late:?} reached an end that was left at {left}");
    }
}

pub(crate) fn removal_is_final(rig: &mut Rig) {
    let call = rig.call(Family::V4, Family::V4);
    for number in 0..10 {
        call.customer.send_to(&rtp(0, number), call.there.local).unwrap();
        assert_eq!(receive(&call.agent).1, rtp(0, number));
    }
    rig.refused(&call.customer, &call.there, &rtp(9, 11), "payload-type");
    let before = rig.stats(&call.there);
    assert_eq!((before.forwarded.packets, before.refused_packets), (10, 1));
    let mut last = rig.datapath.remove(call.there.local);
    assert!(last.quality.idle >= before.quality.idle, "silence grows");
    last.quality.idle = before.quality.idle;
    assert_eq!(last, before);
    assert_eq!(rig.datapath.stats(call.there.local), None);
    assert_eq!(rig.datapath.remove(call.there.local), FlowStats::default());
    call.customer.send_to(&rtp(0, 12), call.there.local).unwrap();
    assert_silent(&call.agent);

    // What comes in its place starts from nothing.
    rig.put(&call.there);
    assert_eq!(rig.stats(&call.there), FlowStats::default());
    call.customer.send_to(&rtp(0, 13), call.there.local).unwrap();
    assert_eq!(receive(&call.agent).1, rtp(0, 13));
}

pub(crate) fn one_call_ends_beside_another(rig: &mut Rig) {
    let call = rig.call(Family::V4, Family::V4);
    let short = SocketAddr::new(far(Side::Customer, Family::V4, 2), 4100);
    let at = |side, port| SocketAddr::new(ours(side, Family::V4), port);
    let beside =
        flow(LegName::A, at(Side::Customer, 20_040), short.ip(), at(Side::Agent, 20_040), call.there.send_to);
    while_sending(&call.customer, call.there.local, |_| {
        rig.put(&beside);
        rig.datapath.remove(beside.local);
    });
    assert_eq!(numbers(&call.agent), (0..STREAM).collect::<Vec<_>>());
}

pub(crate) fn without_a_route(rig: &mut Rig) {
    let mut call = rig.call(Family::V4, Family::V4);
    call.there.send_to = "203.0.113.9:5004".parse().unwrap();
    if rig.in_the_kernel() {
        let refused = rig.datapath.put(&call.there).unwrap_err();
        assert!(matches!(refused, DatapathError::NoRoute { .. }), "{refused}");
        // The flow is as it was before.
        call.customer.send_to(&rtp(0, 1), call.there.local).unwrap();
        assert_eq!(receive(&call.agent).1, rtp(0, 1));
    } else {
        rig.put(&call.there);
        call.customer.send_to(&rtp(0, 1), call.there.local).unwrap();
        rig.settles("fib-unreachable", || rig.verdict("fib-unreachable") == 1);
        assert_eq!(rig.stats(&call.there).forwarded.packets, 0);
    }
}

pub(crate) fn outside_the_configured_range(rig: &mut Rig) {
    let call = rig.call(Family::V4, Family::V4);
    for local in ["192.0.2.10:19999", "192.0.2.10:20100", "192.0.2.11:20000"] {
        let mut outside = call.there.clone();
        outside.local = local.parse().unwrap();
        let refused = rig.datapath.put(&outside).unwrap_err();
        assert!(matches!(refused, DatapathError::OutsideRange(at) if at == outside.local), "{refused}");
        assert_eq!(rig.datapath.stats(outside.local), None);
        assert_eq!(rig.datapath.remove(outside.local), FlowStats::default());
    }
}
