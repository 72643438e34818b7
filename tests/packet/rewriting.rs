//! What leaves is, byte for byte, what etherparse builds for the far end.

use crate::frames::{datagram, rtcp, rtp};
use crate::world::{ACROSS, BACK, NEXT_MAC, OUR_MAC, World, flow, world};
use relay_ebpf::verdict::Verdict;
use vizard::engine::flow::{Content, FlowSpec, PayloadTypes};

const V4: [&str; 4] = ["198.51.100.1:4000", "192.0.2.10:20000", "192.0.2.10:20002", "203.0.113.9:5004"];
const V6: [&str; 4] =
    ["[2001:db8:1::1]:4000", "[2001:db8::10]:20000", "[2001:db8::10]:20002", "[2001:db8:2::9]:5004"];

fn allowed(from: &str) -> String {
    let from: std::net::SocketAddr = from.parse().unwrap();
    format!("{}/{}", from.ip(), if from.is_ipv4() { 32 } else { 128 })
}

/// Sends `input` over a flow to `to` and expects the frame that `change` makes of it.
fn expect(world: &mut World, ends: [&str; 4], hop: u32, verdict: Verdict, input: &crate::frames::Datagram) {
    let [from, local, send_from, send_to] = ends;
    world.put(&flow(local, &allowed(from), send_from, send_to), hop);
    let outcome = world.run(&input.build());
    assert_eq!(outcome.verdict, verdict);
    assert_eq!(outcome.bytes, built_for(input, send_from, send_to));
}

/// What `input` is to look like when it leaves between these ends.
fn built_for(input: &crate::frames::Datagram, send_from: &str, send_to: &str) -> Vec<u8> {
    let mut expected = input.clone();
    expected.macs = (OUR_MAC, NEXT_MAC);
    expected.from = send_from.parse().unwrap();
    expected.to = send_to.parse().unwrap();
    expected.hops -= 1;
    expected.dscp = 46;
    expected.build()
}

#[test]
fn a_packet_leaves_as_if_it_had_been_built_for_the_far_end() {
    let Some(mut world) = world() else { return };
    for ends in [V4, V6] {
        let packet = datagram(ends[0], ends[1], rtp(0));
        expect(&mut world, ends, BACK, Verdict::Transmitted, &packet);
        expect(&mut world, ends, ACROSS, Verdict::Redirected, &packet);
    }
}

/// Many packets meet a flow whose updates overtake them: while they are read, or between
/// that and their being sent.
#[test]
fn a_packet_that_is_overtaken_leaves_whole_or_not_at_all() {
    const PACKETS: usize = 6_000;
    let Some(mut world) = world() else { return };
    for ends in [V4, V6] {
        let [from, local, send_from, send_to] = ends;
        world.put(&flow(local, &allowed(from), send_from, send_to), BACK);
        let packet = datagram(from, local, rtp(0));
        let (frame, expected) = (packet.build(), built_for(&packet, send_from, send_to));
        assert_eq!(world.run(&frame).verdict, Verdict::Transmitted);
        let [mut left, mut dropped] = [0; 2];
        world.overtake_meanwhile(local.parse().unwrap(), |world| {
            for _ in 0..PACKETS {
                let outcome = world.run(&frame);
                match outcome.verdict {
                    Verdict::Transmitted => {
                        assert_eq!(outcome.bytes, expected);
                        left += 1;
                    }
                    Verdict::FlowChanging => dropped += 1,
                    other => panic!("{other:?}"),
                }
            }
        });
        assert!(left > 0 && dropped > 0, "{left} left and {dropped} were dropped: nothing met");
    }
}

#[test]
fn every_hop_count_but_the_last_is_taken_by_one() {
    let Some(mut world) = world() else { return };
    for ends in [V4, V6] {
        for hops in 2..=255 {
            let mut packet = datagram(ends[0], ends[1], rtp(8));
            packet.hops = hops;
            expect(&mut world, ends, BACK, Verdict::Transmitted, &packet);
        }
    }
}

#[test]
fn every_code_point_is_replaced() {
    let Some(mut world) = world() else { return };
    for ends in [V4, V6] {
        for dscp in 0..64 {
            let mut packet = datagram(ends[0], ends[1], rtp(8));
            packet.dscp = dscp;
            expect(&mut world, ends, BACK, Verdict::Transmitted, &packet);
        }
    }
}

/// Payloads that bring the UDP checksum to every interesting value, the computed
/// zero that is sent as 0xffff included.
#[test]
fn checksums_are_those_of_computing_anew_for_every_sum() {
    let Some(mut world) = world() else { return };
    for ends in [V4, V6] {
        for value in (0..=u16::MAX).step_by(13).chain([0xfffe, 0xffff]) {
            let mut payload = rtp(0);
            payload[20..22].copy_from_slice(&value.to_be_bytes());
            let packet = datagram(ends[0], ends[1], payload);
            expect(&mut world, ends, BACK, Verdict::Transmitted, &packet);
        }
    }
}

/// RFC 768: the sum that is zero travels as 0xffff, before and after.
#[test]
fn a_sum_of_zero_is_sent_as_all_ones() {
    let Some(mut world) = world() else { return };
    for ends in [V4, V6] {
        let [from, local, send_from, send_to] = ends;
        world.put(&flow(local, &allowed(from), send_from, send_to), BACK);
        let checksum = |frame: &[u8]| {
            let at = if ends == V4 { 40 } else { 60 };
            u16::from_be_bytes([frame[at], frame[at + 1]])
        };
        let mut seen = false;
        for value in 0..=u16::MAX {
            let mut payload = rtp(0);
            payload[20..22].copy_from_slice(&value.to_be_bytes());
            let mut leaves = datagram(send_from, send_to, payload.clone());
            leaves.dscp = 46;
            if checksum(&leaves.build()) == 0xffff {
                let outcome = world.run(&datagram(from, local, payload).build());
                assert_eq!(checksum(&outcome.bytes), 0xffff);
                seen = true;
            }
        }
        assert!(seen, "one of all payloads sums to zero");
    }
}

#[test]
fn a_missing_checksum_stays_missing() {
    let Some(mut world) = world() else { return };
    let mut packet = datagram(V4[0], V4[1], rtp(0));
    packet.checksum = false;
    expect(&mut world, V4, BACK, Verdict::Transmitted, &packet);
}

#[test]
fn a_damaged_packet_leaves_damaged() {
    let Some(mut world) = world() else { return };
    let [from, local, send_from, send_to] = V4;
    world.put(&flow(local, &allowed(from), send_from, send_to), BACK);
    let packet = datagram(from, local, rtp(0));
    for at in [24, 40] {
        let mut frame = packet.build();
        frame[at] ^= 0x10;
        let outcome = world.run(&frame);
        assert_eq!(outcome.verdict, Verdict::Transmitted);
        let mut whole = packet.clone();
        whole.macs = (OUR_MAC, NEXT_MAC);
        (whole.from, whole.to) = (send_from.parse().unwrap(), send_to.parse().unwrap());
        (whole.hops, whole.dscp) = (63, 46);
        let whole = whole.build();
        assert_ne!(outcome.bytes[at], whole[at], "byte {at} was mended");
    }
}

#[test]
fn rtcp_is_relayed_by_an_rtcp_flow() {
    let Some(mut world) = world() else { return };
    for ends in [V4, V6] {
        let [from, local, send_from, send_to] = ends;
        let mut spec = flow(local, &allowed(from), send_from, send_to);
        spec.content = Content::rtcp();
        world.put(&spec, BACK);
        for packet_type in 192..=223 {
            // Long enough for what any type begins with.
            let mut report = vec![0x80, packet_type, 0, 6];
            report.resize(28, 0);
            assert_eq!(world.run(&datagram(from, local, report).build()).verdict, Verdict::Transmitted);
        }
    }
}

/// One far end shares a port and the other does not: RTCP goes out as the flow of
/// the next port says, which takes nothing itself.
#[test]
fn rtcp_leaves_apart_where_only_one_side_shares_a_port() {
    let Some(mut world) = world() else { return };
    for ([from, local, send_from, send_to], [beside, beside_from, beside_to]) in [
        (V4, ["192.0.2.10:20001", "192.0.2.10:20003", "203.0.113.9:6001"]),
        (V6, ["[2001:db8::10]:20001", "[2001:db8::10]:20003", "[2001:db8:2::9]:6001"]),
    ] {
        let content = Content { rtcp: true, ..Content::rtp(PayloadTypes::from_iter([0])) };
        let flow = |local, send_from, send_to| flow(local, &allowed(from), send_from, send_to);
        let shared = FlowSpec { content, rtcp_apart: true, ..flow(local, send_from, send_to) };
        world.put(&shared, BACK);
        let report = datagram(from, local, rtcp());
        assert_eq!(world.run(&report.build()).verdict, Verdict::FlowChanging, "nothing says where to");

        let exit = FlowSpec { content: Content::nothing(), ..flow(beside, beside_from, beside_to) };
        world.put(&exit, BACK);
        let voice = datagram(from, local, rtp(0));
        for (input, left, to) in
            [(&voice, send_from, send_to), (&report, beside_from, beside_to), (&voice, send_from, send_to)]
        {
            let outcome = world.run(&input.build());
            assert_eq!(outcome.verdict, Verdict::Transmitted);
            assert_eq!(outcome.bytes, built_for(input, left, to));
        }
        for payload in [rtp(0), rtcp()] {
            let stray = datagram(from, beside, payload);
            assert_eq!(world.run(&stray.build()).verdict, Verdict::PayloadType, "no way in");
        }
        let (counted, lent) = (world.read(shared.local), world.read(exit.local));
        assert_eq!((counted.count.packets, counted.count.refused), (3, 1));
        assert_eq!((lent.count.packets, lent.count.refused, lent.source), (0, 2, None));
    }
}

#[test]
fn packets_and_payload_bytes_are_counted_per_flow() {
    let Some(mut world) = world() else { return };
    for ends in [V4, V6] {
        let [from, local, send_from, send_to] = ends;
        let spec = flow(local, &allowed(from), send_from, send_to);
        world.put(&spec, BACK);
        for _ in 0..3 {
            world.run(&datagram(from, local, rtp(0)).build());
        }
        world.run(&datagram(from, local, rtp(99)).build());
        let reading = world.read(spec.local);
        assert_eq!((reading.count.packets, reading.count.bytes, reading.count.refused), (3, 3 * 172, 1));
        // A flow that comes after it at the same port begins at zero.
        let slot = world.slot(spec.local);
        assert_eq!(world.table.remove(slot).map(|last| last.count.packets), Some(3));
        world.put(&spec, BACK);
        let reading = world.read(spec.local);
        assert_eq!(
            (reading.count.packets, reading.count.bytes, reading.count.refused, reading.source),
            (0, 0, 0, None)
        );
    }
}
