//! A flow takes the classes of datagrams that signalling agreed on, alone or
//! side by side, and leaves their payload as it is.

use relay_ebpf::media::OPAQUE_MAX;
use relay_ebpf::verdict::Verdict;
use vizard::engine::flow::{Content, FlowSpec, PayloadTypes};

use crate::frames::{datagram, rtcp, rtp, stun};
use crate::world::{BACK, World, flow, world};

const ENDS: [[&str; 4]; 2] = [
    ["198.51.100.1:4000", "192.0.2.10:20000", "192.0.2.10:20002", "203.0.113.9:5004"],
    ["[2001:db8:1::1]:4000", "[2001:db8::10]:20000", "[2001:db8::10]:20002", "[2001:db8:2::9]:5004"],
];

/// The verdict on each payload, for a flow that takes `content`; what crosses
/// must have its payload unchanged.
fn expect(world: &mut World, content: Content, payloads: &[(&[u8], Verdict)]) {
    for [from, local, send_from, send_to] in ENDS {
        let allowed = if from.starts_with('[') { "2001:db8:1::/64" } else { "198.51.100.0/24" };
        world.put(&FlowSpec { content, ..flow(local, allowed, send_from, send_to) }, BACK);
        for (payload, verdict) in payloads {
            let outcome = world.run(&datagram(from, local, payload.to_vec()).build());
            assert_eq!(outcome.verdict, *verdict, "{content:?}: {:02x?}", &payload[..payload.len().min(2)]);
            assert!(outcome.bytes.ends_with(payload));
        }
    }
}

fn dtls() -> Vec<u8> {
    [&[22, 254, 253][..], &[0; 60]].concat()
}

#[test]
fn rtp_and_rtcp_share_a_port_where_signalling_says_so() {
    let Some(mut world) = world() else { return };
    let (rtp, rtcp) = (rtp(0), rtcp());
    let types = PayloadTypes::from_iter([0]);
    let both = Content { rtcp: true, ..Content::rtp(types) };
    expect(&mut world, both, &[(&rtp, Verdict::Transmitted), (&rtcp, Verdict::Transmitted)]);
    expect(&mut world, Content::rtp(types), &[(&rtp, Verdict::Transmitted), (&rtcp, Verdict::PayloadType)]);
    expect(&mut world, Content::rtcp(), &[(&rtp, Verdict::NotRtcp), (&rtcp, Verdict::Transmitted)]);
}

#[test]
fn dtls_crosses_and_stun_does_not() {
    let Some(mut world) = world() else { return };
    let (rtp, dtls, stun) = (rtp(0), dtls(), stun());
    let ice =
        Content { dtls: true, stun: true, encrypted: true, ..Content::rtp(PayloadTypes::from_iter([0])) };
    expect(
        &mut world,
        ice,
        &[(&stun, Verdict::LocalStun), (&dtls, Verdict::Transmitted), (&rtp, Verdict::Transmitted)],
    );
    let plain = Content::rtp(PayloadTypes::from_iter([0]));
    expect(&mut world, plain, &[(&stun, Verdict::UnexpectedStun), (&dtls, Verdict::UnexpectedDtls)]);
}

/// Questions to the daemon are no media: they fix no source and are counted
/// neither as forwarded nor as refused.
#[test]
fn stun_leaves_no_trace_in_a_flow() {
    let Some(mut world) = world() else { return };
    let content = Content { stun: true, ..Content::rtp(PayloadTypes::from_iter([0])) };
    let [from, local, send_from, send_to] = ENDS[0];
    world.put(&FlowSpec { content, ..flow(local, "198.51.100.0/24", send_from, send_to) }, BACK);
    let local_end = local.parse().unwrap();
    assert_eq!(world.run(&datagram(from, local, stun()).build()).verdict, Verdict::LocalStun);
    let reading = world.read(local_end);
    assert_eq!((reading.count.packets, reading.count.refused, reading.source), (0, 0, None));
    let other = "198.51.100.2:4000";
    assert_eq!(world.run(&datagram(other, local, rtp(0)).build()).verdict, Verdict::Transmitted);
}

#[test]
fn an_opaque_flow_takes_any_datagram_of_a_sane_size() {
    let Some(mut world) = world() else { return };
    let opaque = Content { opaque: true, ..Content::default() };
    for first in [0, 20, 64, 128, 255] {
        for length in [2, 8, 200, usize::from(OPAQUE_MAX)] {
            expect(&mut world, opaque, &[(&vec![first; length], Verdict::Transmitted)]);
        }
        let long = vec![first; usize::from(OPAQUE_MAX) + 1];
        expect(&mut world, opaque, &[(&[first], Verdict::TooShort), (&long, Verdict::TooLong)]);
    }
}

#[test]
fn the_last_of_speech_does_not_open_a_fax() {
    let Some(mut world) = world() else { return };
    let [_, local, send_from, send_to] = ENDS[0];
    let content = Content { opaque: true, ..Content::default() };
    world.put(&FlowSpec { content, ..flow(local, "198.51.100.0/24", send_from, send_to) }, BACK);
    let mut from = |port: u16, payload: Vec<u8>| {
        world.run(&datagram(&format!("198.51.100.1:{port}"), local, payload).build()).verdict
    };
    assert_eq!(from(4000, rtp(0)), Verdict::LateRtp);
    assert_eq!(from(4002, vec![0, 0, 1, 6]), Verdict::Transmitted, "UDPTL counts from zero");
    assert_eq!(from(4000, rtp(0)), Verdict::WrongSource);
    assert_eq!(from(4002, vec![0x80, 0, 1, 6]), Verdict::Transmitted, "and far enough in a long fax");
}

#[test]
fn a_header_announces_no_more_than_there_is() {
    let Some(mut world) = world() else { return };
    let types = PayloadTypes::from_iter([0]);
    let packet = |flags: u8, length: usize, last: u8| {
        let mut packet = rtp(0);
        packet.truncate(length);
        packet[0] |= flags;
        packet[length - 1] = last;
        packet
    };
    let extended = |words: u8, length: usize| {
        let mut packet = packet(0x10, length, 0);
        packet[12..16].copy_from_slice(&[0xbe, 0xde, 0, words]);
        // Padding, which is what any element would become.
        packet[16..].fill(0);
        packet
    };
    for (payload, verdict) in [
        (packet(0x0f, 72, 0), Verdict::Transmitted),
        (packet(0x0f, 71, 0), Verdict::BadRtpHeader),
        (packet(0x20, 30, 18), Verdict::Transmitted),
        (packet(0x20, 30, 19), Verdict::BadRtpPadding),
        (packet(0x20, 30, 0), Verdict::BadRtpPadding),
        (packet(0x21, 30, 14), Verdict::Transmitted),
        (packet(0x21, 30, 15), Verdict::BadRtpPadding),
        (extended(3, 28), Verdict::Transmitted),
        (extended(4, 28), Verdict::BadRtpHeader),
        (packet(0x10, 15, 0), Verdict::BadRtpHeader),
    ] {
        expect(&mut world, Content::rtp(types), &[(&payload, verdict)]);
    }
    // The last byte of SRTP says nothing about padding.
    let encrypted = Content { encrypted: true, ..Content::rtp(types) };
    expect(&mut world, encrypted, &[(&packet(0x20, 30, 200), Verdict::Transmitted)]);
}
