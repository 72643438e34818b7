//! What crosses, how it looks on the other side, and what is counted.

use std::net::SocketAddr;
use std::time::Duration;

use harness::namespace::ip;
use vizard::engine::flow::{Content, FlowStats};
use vizard::engine::ids::LegName;

use crate::rig::{Family, Rig, Side, assert_silent, far, flow, ours, receive, receive_within, rtcp, rtp};

pub(crate) fn both_ways_over_ipv4(rig: &mut Rig) {
    both_ways(rig, Family::V4, Family::V4);
}

pub(crate) fn both_ways_over_ipv6(rig: &mut Rig) {
    both_ways(rig, Family::V6, Family::V6);
}

pub(crate) fn from_ipv4_to_ipv6_and_back(rig: &mut Rig) {
    both_ways(rig, Family::V4, Family::V6);
}

pub(crate) fn from_ipv6_to_ipv4_and_back(rig: &mut Rig) {
    both_ways(rig, Family::V6, Family::V4);
}

fn both_ways(rig: &mut Rig, customer: Family, agent: Family) {
    const PACKETS: u16 = 50;
    let call = rig.call(customer, agent);
    let before = rig.verdict("redirected");
    for number in 0..PACKETS {
        call.customer.send_to(&rtp(0, number), call.there.local).unwrap();
        call.agent.send_to(&rtp(8, number), call.back.local).unwrap();
        assert_eq!(receive(&call.agent), (call.back.local, rtp(0, number)));
        assert_eq!(receive(&call.customer), (call.there.local, rtp(8, number)));
    }
    let packets = u64::from(PACKETS);
    rig.settles("the count", || rig.verdict("redirected") == before + 2 * packets);
    for (flow, sender) in [(&call.there, &call.customer), (&call.back, &call.agent)] {
        let stats = rig.stats(flow);
        assert_eq!((stats.forwarded.packets, stats.forwarded.bytes), (packets, packets * 172));
        assert_eq!((stats.refused_packets, stats.learned), (0, Some(sender.local_addr().unwrap())));
    }
}

pub(crate) fn rtcp_beside_rtp(rig: &mut Rig) {
    let mut call = rig.call(Family::V4, Family::V4);
    call.there.content = Content::rtcp();
    for address in [&mut call.there.local, &mut call.there.send_from] {
        address.set_port(address.port() + 1);
    }
    rig.put(&call.there);
    call.customer.send_to(&rtcp(), call.there.local).unwrap();
    assert_eq!(receive(&call.agent), (call.there.send_from, rtcp()));
    rig.refused(&call.customer, &call.there, &rtp(0, 1), "not-rtcp");
}

/// The customer sends RTCP beside RTP and the agent wants it on a port of its own:
/// there it goes, and what comes back from there comes beside RTP.
pub(crate) fn rtcp_apart_on_one_side(rig: &mut Rig) {
    for (customer, agent) in [(Family::V4, Family::V4), (Family::V6, Family::V4)] {
        let mut call = rig.call(customer, agent);
        let next = |mut address: SocketAddr| {
            address.set_port(address.port() + 1);
            address
        };
        let reports = rig.socket(Side::Agent, next(call.there.send_to));
        call.there.content.rtcp = true;
        call.there.rtcp_apart = true;
        let mut out = call.there.clone();
        (out.local, out.send_from) = (next(out.local), next(out.send_from));
        (out.send_to, out.content, out.rtcp_apart) = (next(out.send_to), Content::nothing(), false);
        let mut back = call.back.clone();
        (back.local, back.content) = (next(back.local), Content::rtcp());
        for flow in [&out, &call.there, &back] {
            rig.put(flow);
        }
        for number in 0..10 {
            call.customer.send_to(&rtp(0, number), call.there.local).unwrap();
            call.customer.send_to(&rtcp(), call.there.local).unwrap();
            assert_eq!(receive(&call.agent), (call.there.send_from, rtp(0, number)));
            assert_eq!(receive(&reports), (out.send_from, rtcp()));
            reports.send_to(&rtcp(), back.local).unwrap();
            assert_eq!(receive(&call.customer), (call.there.local, rtcp()));
        }
        rig.settles("the count", || rig.stats(&call.there).forwarded.packets == 20);
        assert_eq!((rig.stats(&back).forwarded.packets, rig.stats(&out)), (10, FlowStats::default()));
        for flow in [&call.there, &call.back, &out, &back] {
            rig.datapath.remove(flow.local);
        }
    }
}

pub(crate) fn turning_round_on_one_interface(rig: &mut Rig) {
    for family in [Family::V4, Family::V6] {
        let near = SocketAddr::new(far(Side::Customer, family, 1), 4000);
        let colleague = SocketAddr::new(far(Side::Customer, family, 2), 4010);
        let at = |port| SocketAddr::new(ours(Side::Customer, family), port);
        rig.put(&flow(LegName::A, at(20_010), near.ip(), at(20_012), colleague));
        let (from, to) = (rig.socket(Side::Customer, near), rig.socket(Side::Customer, colleague));
        let before = rig.verdict("transmitted");
        from.send_to(&rtp(0, 7), at(20_010)).unwrap();
        assert_eq!(receive(&to), (at(20_012), rtp(0, 7)));
        rig.settles("the count", || rig.verdict("transmitted") == before + 1);
    }
}

pub(crate) fn every_length(rig: &mut Rig) {
    for family in [Family::V4, Family::V6] {
        let call = rig.call(family, family);
        let headers = if family == Family::V4 { 28 } else { 48 };
        for length in [12, 13, 14, 31, 32, 33, 171, 172, 173, 999, 1500 - headers - 1, 1500 - headers] {
            let mut packet = rtp(0, 1);
            packet.resize(length, 0xa5);
            call.customer.send_to(&packet, call.there.local).unwrap();
            assert_eq!(receive(&call.agent), (call.back.local, packet));
        }
        rig.datapath.remove(call.there.local);
        rig.datapath.remove(call.back.local);
    }
}

pub(crate) fn too_long_for_the_way_out(rig: &mut Rig) {
    ip(&format!("link set {} mtu 1400", rig.agent.outer)).unwrap();
    let call = rig.call(Family::V4, Family::V4);
    let mut packet = rtp(0, 1);
    packet.resize(1400 - 28, 0xa5);
    call.customer.send_to(&packet, call.there.local).unwrap();
    assert_eq!(receive(&call.agent), (call.back.local, packet.clone()));
    // The change is announced, so it is known soon, not at once.
    packet.push(0);
    rig.settles("exceeds-mtu", || {
        call.customer.send_to(&packet, call.there.local).unwrap();
        rig.verdict("exceeds-mtu") > 0
    });
    while receive_within(&call.agent, Duration::from_millis(200)).is_some() {}
    call.customer.send_to(&packet, call.there.local).unwrap();
    assert_silent(&call.agent);
}

pub(crate) fn a_port_without_a_flow(rig: &mut Rig) {
    let closed = SocketAddr::new(ours(Side::Customer, Family::V4), 20_050);
    let socket = rig.socket(Side::Customer, SocketAddr::new(far(Side::Customer, Family::V4, 1), 4000));
    socket.connect(closed).unwrap();
    socket.send(&rtp(0, 1)).unwrap();
    if rig.in_the_kernel() {
        rig.settles("no-flow", || rig.verdict("no-flow") == 1);
        assert_silent(&socket);
    } else {
        let told = socket.recv_from(&mut [0; 16]).unwrap_err();
        assert_eq!(told.kind(), std::io::ErrorKind::ConnectionRefused);
        assert_eq!(rig.verdict("no-flow"), 0);
    }
}
