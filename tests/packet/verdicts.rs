//! Every verdict is produced, by a packet that deserves it.

use std::collections::BTreeSet;

use relay_ebpf::media::OPAQUE_MAX;
use relay_ebpf::verdict::Verdict;
use vizard::engine::flow::{Content, FlowSpec};

use crate::frames::{Datagram, datagram, rtcp, rtp, stun, tagged};
use crate::world::{ACROSS, BACK, FOREIGN, NARROW, NARROW_MTU, World, flow, world};

const FROM_V4: &str = "198.51.100.1:4000";
const LOCAL_V4: &str = "192.0.2.10:20000";
const OUT_V4: &str = "192.0.2.10:20002";
const FROM_V6: &str = "[2001:db8:1::1]:4000";
const LOCAL_V6: &str = "[2001:db8::10]:20000";
const OUT_V6: &str = "[2001:db8::10]:20002";

fn v4() -> Datagram {
    datagram(FROM_V4, LOCAL_V4, rtp(0))
}

fn v6() -> Datagram {
    datagram(FROM_V6, LOCAL_V6, rtp(0))
}

/// A fresh flow for [`v4`] over a hop, then the packet.
fn over(world: &mut World, hop: u32, packet: &Datagram) -> Verdict {
    world.put(&flow(LOCAL_V4, "198.51.100.0/24", OUT_V4, "203.0.113.9:5004"), hop);
    world.put(&flow(LOCAL_V6, "2001:db8:1::/64", OUT_V6, "[2001:db8:2::9]:5004"), hop);
    world.run(&packet.build()).verdict
}

/// A fresh flow, then the packet with bytes changed.
fn changed(world: &mut World, packet: &Datagram, change: impl FnOnce(&mut Vec<u8>)) -> Verdict {
    over(world, BACK, &v4());
    let mut frame = packet.build();
    change(&mut frame);
    world.run(&frame).verdict
}

/// How a verdict is produced.
type Case = fn(&mut World) -> Verdict;

const CASES: &[(Verdict, Case)] = &[
    (Verdict::Redirected, |world| over(world, ACROSS, &v4())),
    (Verdict::Redirected, |world| over(world, ACROSS, &v6())),
    (Verdict::Transmitted, |world| over(world, BACK, &v4())),
    (Verdict::Transmitted, |world| over(world, BACK, &v6())),
    (Verdict::Truncated, |world| world.run(&v4().build()[..20]).verdict),
    (Verdict::Truncated, |world| changed(world, &v4(), |frame| frame[16..18].copy_from_slice(&[0, 27]))),
    (Verdict::NotIp, |world| changed(world, &v4(), |frame| frame[12..14].copy_from_slice(&[0x08, 0x06]))),
    (Verdict::NotIp, |world| world.run(&tagged(&tagged(&tagged(&v4().build(), 1), 2), 3)).verdict),
    (Verdict::NotUnicast, |world| changed(world, &v4(), |frame| frame[..6].fill(0xff))),
    (Verdict::NotUnicast, |world| changed(world, &v6(), |frame| frame[0] = 0x33)),
    (Verdict::BadIpHeader, |world| changed(world, &v4(), |frame| frame[14] = 0x44)),
    (Verdict::BadIpHeader, |world| changed(world, &v4(), |frame| frame[14] = 0x65)),
    (Verdict::BadIpHeader, |world| changed(world, &v6(), |frame| frame[14] = 0x40)),
    (Verdict::BadIpLength, |world| changed(world, &v4(), |frame| frame[16] = 0x10)),
    (Verdict::BadIpLength, |world| changed(world, &v4(), |frame| frame[16..18].copy_from_slice(&[0, 19]))),
    (Verdict::BadIpLength, |world| changed(world, &v6(), |frame| frame[18] = 0x10)),
    (Verdict::NotUdp, |world| changed(world, &v4(), |frame| frame[23] = 6)),
    (Verdict::NotUdp, |world| changed(world, &v6(), |frame| frame[20] = 58)),
    (Verdict::IpOptions, |world| changed(world, &v4(), |frame| frame[14] = 0x46)),
    (Verdict::Fragment, |world| changed(world, &v4(), |frame| frame[20] = 0x20)),
    (Verdict::Fragment, |world| changed(world, &v4(), |frame| frame[21] = 0x01)),
    (Verdict::Ipv6Extension, |world| changed(world, &v6(), |frame| frame[20] = 0)),
    (Verdict::Ipv6Extension, |world| changed(world, &v6(), |frame| frame[20] = 44)),
    (Verdict::NotOurAddress, |world| over(world, BACK, &datagram(FROM_V4, "192.0.2.11:20000", rtp(0)))),
    (Verdict::NotOurAddress, |world| over(world, BACK, &datagram(FROM_V6, "[2001:db8::11]:20000", rtp(0)))),
    (Verdict::NotOurPort, |world| over(world, BACK, &datagram(FROM_V4, "192.0.2.10:19999", rtp(0)))),
    (Verdict::NotOurPort, |world| over(world, BACK, &datagram(FROM_V4, "192.0.2.10:20100", rtp(0)))),
    (Verdict::NotOurPort, |world| over(world, BACK, &datagram(FROM_V6, "[2001:db8::10]:5060", rtp(0)))),
    (Verdict::OtherVlan, |world| world.run(&tagged(&v4().build(), 7)).verdict),
    (Verdict::OtherVlan, |world| world.run(&tagged(&tagged(&v6().build(), 7), 8)).verdict),
    (Verdict::NotOurPort, |world| {
        world.run(&tagged(&datagram(FROM_V4, "192.0.2.10:53", rtp(0)).build(), 7)).verdict
    }),
    (Verdict::NoFlow, |world| over(world, BACK, &datagram(FROM_V4, "192.0.2.10:20099", rtp(0)))),
    (Verdict::NoFlow, |world| over(world, BACK, &datagram(FROM_V6, "[2001:db8::10]:20001", rtp(0)))),
    (Verdict::FlowChanging, |world| {
        over(world, BACK, &v4());
        world.overtake(LOCAL_V4.parse().unwrap());
        world.run(&v4().build()).verdict
    }),
    (Verdict::BadUdpLength, |world| changed(world, &v4(), |frame| frame[39] ^= 1)),
    (Verdict::BadUdpLength, |world| changed(world, &v4(), |frame| frame[38..40].copy_from_slice(&[0, 7]))),
    (Verdict::BadUdpLength, |world| changed(world, &v6(), |frame| frame[59] ^= 1)),
    (Verdict::NoUdpChecksum, |world| changed(world, &v6(), |frame| frame[60..62].fill(0))),
    (Verdict::TooShort, |world| over(world, BACK, &datagram(FROM_V4, LOCAL_V4, rtp(0)[..11].to_vec()))),
    (Verdict::TooShort, |world| {
        put_rtcp(world);
        world.run(&datagram(FROM_V4, LOCAL_V4, rtcp()[..7].to_vec()).build()).verdict
    }),
    (Verdict::TooShort, |world| taking(world, Content { opaque: true, ..Content::default() }, &[])),
    (Verdict::TooShort, |world| taking(world, Content { dtls: true, ..Content::default() }, &[22; 12])),
    (Verdict::TooLong, |world| {
        let longest = usize::from(OPAQUE_MAX);
        taking(world, Content { opaque: true, ..Content::default() }, &vec![0; longest + 1])
    }),
    (Verdict::NotRtp, |world| changed(world, &v4(), |frame| frame[42] = 0x7f)),
    (Verdict::NotRtp, |world| changed(world, &v6(), |frame| frame[62] = 0xc0)),
    (Verdict::UnexpectedStun, |world| changed(world, &v4(), |frame| frame[42] = 1)),
    (Verdict::UnexpectedDtls, |world| changed(world, &v6(), |frame| frame[62] = 22)),
    (Verdict::Zrtp, |world| changed(world, &v4(), |frame| frame[42] = 0x10)),
    (Verdict::TurnChannel, |world| changed(world, &v6(), |frame| frame[62] = 0x40)),
    (Verdict::BadRtpHeader, |world| over(world, BACK, &datagram(FROM_V4, LOCAL_V4, short_of_sources()))),
    (Verdict::BadRtpHeader, |world| over(world, BACK, &datagram(FROM_V6, LOCAL_V6, short_of_extension()))),
    (Verdict::BadRtpPadding, |world| changed(world, &v4(), |frame| frame[42] = 0xa0)),
    (Verdict::BadRtpPadding, |world| changed(world, &v6(), |frame| frame[62] = 0xaf)),
    (Verdict::LocalStun, |world| taking(world, Content { stun: true, ..Content::default() }, &stun())),
    (Verdict::RtcpMalformed, |world| {
        put_rtcp(world);
        world.run(&datagram(FROM_V4, LOCAL_V4, vec![0x81, 201, 0, 1, 0, 0, 0, 7]).build()).verdict
    }),
    (Verdict::RtcpTooLong, |world| {
        put_rtcp(world);
        world.run(&datagram(FROM_V4, LOCAL_V4, compound(1_476)).build()).verdict
    }),
    (Verdict::LocalStun, |world| {
        let content = Content { stun: true, ..Content::default() };
        world.put(&FlowSpec { content, ..spec_v4("198.51.100.2/32") }, BACK);
        world.run(&datagram(FROM_V4, LOCAL_V4, stun()).build()).verdict
    }),
    (Verdict::LateRtp, |world| taking(world, Content { opaque: true, ..Content::default() }, &rtp(0))),
    (Verdict::PayloadType, |world| over(world, BACK, &datagram(FROM_V4, LOCAL_V4, rtp(9)))),
    (Verdict::PayloadType, |world| over(world, BACK, &datagram(FROM_V6, LOCAL_V6, rtp(0x80 | 0x48)))),
    (Verdict::NotRtcp, |world| {
        put_rtcp(world);
        world.run(&v4().build()).verdict
    }),
    (Verdict::SourceNotAllowed, |world| {
        world.put(&flow(LOCAL_V4, "198.51.100.2/32", OUT_V4, "203.0.113.9:5004"), BACK);
        let mut moved = flow(LOCAL_V4, "198.51.100.2/32", OUT_V4, "203.0.113.9:5004");
        moved.source.generation = 1;
        world.put(&moved, BACK);
        world.run(&v4().build()).verdict
    }),
    (Verdict::WrongSource, |world| {
        over(world, BACK, &v4());
        world.run(&datagram("198.51.100.1:4002", LOCAL_V4, rtp(0)).build()).verdict
    }),
    (Verdict::WrongSource, |world| {
        over(world, BACK, &v6());
        world.run(&datagram("[2001:db8:1::2]:4000", LOCAL_V6, rtp(0)).build()).verdict
    }),
    (Verdict::SourceLearning, |world| {
        let local = "192.0.2.10:20050";
        world.put(&flow(local, "198.51.100.0/24", OUT_V4, "203.0.113.9:5004"), BACK);
        world.claim(local.parse().unwrap());
        world.run(&datagram(FROM_V4, local, rtp(0)).build()).verdict
    }),
    (Verdict::TtlExpired, |world| changed(world, &v4(), |frame| frame[22] = 1)),
    (Verdict::TtlExpired, |world| changed(world, &v4(), |frame| frame[22] = 0)),
    (Verdict::TtlExpired, |world| changed(world, &v6(), |frame| frame[21] = 1)),
    (Verdict::ExceedsMtu, |world| over(world, NARROW, &v4())),
    (Verdict::NoDevice, |world| over(world, FOREIGN, &v4())),
];

fn spec_v4(allowed: &str) -> FlowSpec {
    flow(LOCAL_V4, allowed, OUT_V4, "203.0.113.9:5004")
}

/// One RTCP packet of this length.
fn compound(length: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 204];
    packet.extend((length / 4 - 1).to_be_bytes()[6..].iter());
    packet.resize(length, b'x');
    packet
}

fn put_rtcp(world: &mut World) {
    world.put(&FlowSpec { content: Content::rtcp(), ..spec_v4("198.51.100.0/24") }, BACK);
}

/// A payload to a fresh flow that takes `content`.
fn taking(world: &mut World, content: Content, payload: &[u8]) -> Verdict {
    world.put(&FlowSpec { content, ..spec_v4("198.51.100.0/24") }, BACK);
    world.run(&datagram(FROM_V4, LOCAL_V4, payload.to_vec()).build()).verdict
}

/// Two sources announced, one there.
fn short_of_sources() -> Vec<u8> {
    let mut packet = rtp(0);
    packet[0] |= 2;
    packet.truncate(16);
    packet
}

/// A header extension of two words, one of them there.
fn short_of_extension() -> Vec<u8> {
    let mut packet = rtp(0);
    packet[0] |= 0x10;
    packet[12..16].copy_from_slice(&[0xbe, 0xde, 0, 2]);
    packet.truncate(20);
    packet
}

#[test]
fn every_verdict_is_reached() {
    let Some(mut world) = world() else { return };
    let mut reached = BTreeSet::new();
    for (number, (expected, case)) in CASES.iter().enumerate() {
        // A port that was used before starts anew, as it does for another call.
        for local in [LOCAL_V4, LOCAL_V6] {
            let slot = world.slot(local.parse().unwrap());
            world.table.remove(slot);
        }
        assert_eq!(case(&mut world), *expected, "case {number}");
        reached.insert(*expected);
    }
    reached.extend(crate::routes::reach_all(&mut world));
    reached.extend(crate::guard::reach_all(&mut world));
    let missing: Vec<_> = Verdict::ALL.iter().filter(|verdict| !reached.contains(verdict)).collect();
    assert!(missing.is_empty(), "no packet here gets {missing:?}");
}

/// However short a packet is cut, it is never forwarded, and never dropped but
/// where the lengths in its own headers still agree.
#[test]
fn a_packet_cut_anywhere_goes_to_the_stack() {
    let Some(mut world) = world() else { return };
    for packet in [v4(), v6()] {
        over(&mut world, BACK, &packet);
        let frame = packet.build();
        for length in 14..frame.len() {
            let verdict = world.run(&frame[..length]).verdict;
            assert!(
                matches!(verdict, Verdict::Truncated | Verdict::BadIpLength),
                "{length} bytes: {verdict:?}"
            );
        }
    }
}

/// The same for packets whose headers were rewritten to the shorter length.
#[test]
fn every_payload_too_short_for_rtp_is_dropped_by_name() {
    let Some(mut world) = world() else { return };
    for length in 0..12 {
        for padding in [0, 18] {
            for (from, local) in [(FROM_V4, LOCAL_V4), (FROM_V6, LOCAL_V6)] {
                let mut packet = datagram(from, local, rtp(0)[..length].to_vec());
                packet.padding = padding;
                assert_eq!(
                    over(&mut world, BACK, &packet),
                    Verdict::TooShort,
                    "{length} bytes, {padding} of padding"
                );
            }
        }
    }
}

/// Ethernet pads short frames: the padding is neither payload nor an error.
#[test]
fn padding_is_not_payload() {
    let Some(mut world) = world() else { return };
    let mut comfort_noise = datagram(FROM_V4, LOCAL_V4, rtp(0)[..12].to_vec());
    comfort_noise.padding = 6;
    assert_eq!(over(&mut world, BACK, &comfort_noise), Verdict::Transmitted);
    let local = LOCAL_V4.parse().unwrap();
    assert_eq!(world.read(local).count.bytes, 12);
}

/// The largest packet that fits its way out passes; one byte more does not.
#[test]
fn the_mtu_counts_the_ip_packet_alone() {
    let Some(mut world) = world() else { return };
    for (packet, headers) in [(v4(), 28), (v6(), 48)] {
        for (length, expected) in [(0, Verdict::Transmitted), (1, Verdict::ExceedsMtu)] {
            let mut packet = packet.clone();
            packet.payload.truncate(usize::from(NARROW_MTU) - headers + length);
            packet.padding = 20;
            assert_eq!(over(&mut world, NARROW, &packet), expected);
        }
    }
}
