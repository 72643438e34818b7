//! What the verdict should be, in plain Rust over a slice, for random packets
//! to agree with.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use relay_ebpf::abi::Tag;
use relay_ebpf::verdict::Verdict;

use crate::frames::{Datagram, datagram, rtp, tagged};
use crate::world::{BACK, FIRST_PORT, LAST_PORT, LOCAL_V4, LOCAL_V6, World, flow, world, world_of_vlans};

/// The one flow of each family, at the first port.
const TYPES: [u8; 3] = [0, 8, 101];
const ALLOWED_V4: [u8; 3] = [198, 51, 100];
const ALLOWED_V6: [u8; 8] = [0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0];
/// The one VLAN of a media interface, beside the untagged one.
const VLAN: usize = 100;

/// A field of a packet that parsing has reached, if it is there.
fn bytes<const N: usize>(packet: &[u8], at: usize) -> Result<[u8; N], Verdict> {
    packet.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).ok_or(Verdict::Truncated)
}

fn word(packet: &[u8], at: usize) -> Result<usize, Verdict> {
    Ok(usize::from(u16::from_be_bytes(bytes(packet, at)?)))
}

/// The verdict on a frame when each family has one flow that learned nothing.
fn expected(frame: &[u8]) -> Result<Verdict, Verdict> {
    bytes::<14>(frame, 0)?;
    let mut at = 12;
    let mut tags = Vec::new();
    while matches!(word(frame, at)?, 0x8100 | 0x88a8) && tags.len() < 2 {
        if frame[0] & 1 == 1 {
            return Err(Verdict::NotUnicast);
        }
        tags.push((word(frame, at)?, word(frame, at + 2)? & 0x0fff));
        at += 4;
    }
    let ethertype = word(frame, at)?;
    let packet = &frame[at + 2..];
    tags.retain(|(_, vlan)| *vlan != 0);
    let ours = matches!(tags[..], [] | [(0x8100, VLAN)]);
    match ethertype {
        0x0800 | 0x86dd if frame[0] & 1 == 1 => Err(Verdict::NotUnicast),
        0x0800 => expected_v4(packet, ours),
        0x86dd => expected_v6(packet, ours),
        _ => Err(Verdict::NotIp),
    }
}

fn expected_v4(packet: &[u8], ours: bool) -> Result<Verdict, Verdict> {
    let header: [u8; 20] = bytes(packet, 0)?;
    let words = usize::from(header[0] & 15);
    if header[0] >> 4 != 4 || words < 5 {
        return Err(Verdict::BadIpHeader);
    }
    let length = word(packet, 2)?;
    if length > packet.len() || length < words * 4 {
        return Err(Verdict::BadIpLength);
    }
    if header[9] != 17 {
        return Err(Verdict::NotUdp);
    }
    if words > 5 {
        return Err(Verdict::IpOptions);
    }
    if word(packet, 6)? & 0x3fff != 0 {
        return Err(Verdict::Fragment);
    }
    let source = IpAddr::V4(Ipv4Addr::from(bytes::<4>(packet, 12)?));
    let destination = IpAddr::V4(Ipv4Addr::from(bytes::<4>(packet, 16)?));
    expected_udp(&packet[20..], length - 20, source, destination, header[8], ours)
}

fn expected_v6(packet: &[u8], ours: bool) -> Result<Verdict, Verdict> {
    let header: [u8; 40] = bytes(packet, 0)?;
    if header[0] >> 4 != 6 {
        return Err(Verdict::BadIpHeader);
    }
    let length = word(packet, 4)?;
    if length + 40 > packet.len() {
        return Err(Verdict::BadIpLength);
    }
    match header[6] {
        17 => {}
        0 | 43 | 44 | 50 | 51 | 60 | 135 | 139 | 140 | 253 | 254 => return Err(Verdict::Ipv6Extension),
        _ => return Err(Verdict::NotUdp),
    }
    let source = IpAddr::V6(Ipv6Addr::from(bytes::<16>(packet, 8)?));
    let destination = IpAddr::V6(Ipv6Addr::from(bytes::<16>(packet, 24)?));
    expected_udp(&packet[40..], length, source, destination, header[7], ours)
}

/// `segment` may be longer than `length`: Ethernet pads.
fn expected_udp(
    segment: &[u8],
    length: usize,
    source: IpAddr,
    destination: IpAddr,
    hops: u8,
    ours: bool,
) -> Result<Verdict, Verdict> {
    bytes::<8>(segment, 0)?;
    if length < 8 {
        return Err(Verdict::Truncated);
    }
    let addresses: [IpAddr; 2] = [LOCAL_V4.parse().unwrap(), LOCAL_V6.parse().unwrap()];
    if !addresses.contains(&destination) {
        return Err(Verdict::NotOurAddress);
    }
    let port = word(segment, 2)?;
    if !(usize::from(FIRST_PORT)..=usize::from(LAST_PORT)).contains(&port) {
        return Err(Verdict::NotOurPort);
    }
    if !ours {
        return Err(Verdict::OtherVlan);
    }
    if port != usize::from(FIRST_PORT) {
        return Err(Verdict::NoFlow);
    }
    if word(segment, 4)? != length {
        return Err(Verdict::BadUdpLength);
    }
    if destination.is_ipv6() && word(segment, 6)? == 0 {
        return Err(Verdict::NoUdpChecksum);
    }
    expected_rtp(&segment[8..length])?;
    if hops < 2 {
        return Err(Verdict::TtlExpired);
    }
    let allowed = match source {
        IpAddr::V4(source) => source.octets()[..3] == ALLOWED_V4,
        IpAddr::V6(source) => source.octets()[..8] == ALLOWED_V6,
    };
    if allowed { Ok(Verdict::Transmitted) } else { Err(Verdict::SourceNotAllowed) }
}

/// The payload for a flow that takes RTP alone.
fn expected_rtp(payload: &[u8]) -> Result<(), Verdict> {
    if payload.len() < 8 {
        return Err(Verdict::TooShort);
    }
    match payload[0] {
        0..=3 => return Err(Verdict::UnexpectedStun),
        16..=19 => return Err(Verdict::Zrtp),
        20..=63 => return Err(Verdict::UnexpectedDtls),
        64..=79 => return Err(Verdict::TurnChannel),
        128..=191 => {}
        _ => return Err(Verdict::NotRtp),
    }
    if !TYPES.contains(&(payload[1] & 0x7f)) {
        return Err(Verdict::PayloadType);
    }
    if payload.len() < 12 {
        return Err(Verdict::TooShort);
    }
    let mut start = 12 + 4 * usize::from(payload[0] & 15);
    if payload[0] & 0x10 != 0 {
        start += 4 + 4 * word(payload, start + 2).map_err(|_| Verdict::BadRtpHeader)?;
    }
    if start > payload.len() {
        return Err(Verdict::BadRtpHeader);
    }
    let padding = usize::from(payload[payload.len() - 1]);
    if payload[0] & 0x20 != 0 && !(1..=payload.len() - start).contains(&padding) {
        return Err(Verdict::BadRtpPadding);
    }
    Ok(())
}

/// A packet that is nearly right, and what is done to it.
#[derive(Clone, Debug)]
struct Mangled {
    datagram: Datagram,
    tags: usize,
    changes: Vec<(usize, u8)>,
    cut: Option<usize>,
}

impl Mangled {
    fn build(&self) -> Vec<u8> {
        let mut frame = self.datagram.build();
        for tag in 0..self.tags {
            frame = tagged(&frame, 100 + u16::try_from(tag).unwrap());
        }
        for &(at, value) in &self.changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        if let Some(cut) = self.cut {
            frame.truncate(cut.max(14));
        }
        frame
    }
}

fn mangled() -> impl Strategy<Value = Mangled> {
    let packet = (any::<bool>(), 0..40_usize, 0..40_usize, any::<u8>(), any::<bool>()).prop_map(
        |(v6, payload, padding, second, good_type)| {
            let mut bytes = rtp(if good_type { 0 } else { second });
            bytes.truncate(payload);
            let (from, to) = if v6 {
                ("[2001:db8:1::7]:4000", "[2001:db8::10]:20000")
            } else {
                ("198.51.100.7:4000", "192.0.2.10:20000")
            };
            let mut packet = datagram(from, to, bytes);
            packet.padding = padding;
            packet
        },
    );
    // Most bytes that matter are within the first 80; half of the new values are small.
    let change = (0..80_usize, prop_oneof![any::<u8>(), 0..4_u8, Just(0x45), Just(0x60), Just(17)]);
    let tags = prop_oneof![6 => Just(0_usize), 1 => Just(1), 1 => Just(2), 1 => Just(3)];
    let cut = prop_oneof![4 => Just(None), 1 => (14..120_usize).prop_map(Some)];
    (packet, tags, prop::collection::vec(change, 0..4), cut)
        .prop_map(|(datagram, tags, changes, cut)| Mangled { datagram, tags, changes, cut })
}

#[test]
fn random_packets_get_the_verdict_of_the_reference() {
    let Some(mut world) = world_of_vlans() else { return };
    for tag in [Tag::NONE, Tag::new(0x8100, VLAN as u16)] {
        world.arrive([tag, Tag::NONE], 1);
    }
    let world = RefCell::new(world);
    let mut runner = TestRunner::new(Config { cases: 5_000, failure_persistence: None, ..Config::default() });
    let seen = RefCell::new(std::collections::BTreeSet::new());
    runner
        .run(&mangled(), |packet| {
            let mut world = world.borrow_mut();
            for (local, allowed, out, to) in [
                ("192.0.2.10:20000", "198.51.100.0/24", "192.0.2.10:20002", "203.0.113.9:5004"),
                ("[2001:db8::10]:20000", "2001:db8:1::/64", "[2001:db8::10]:20002", "[2001:db8:2::9]:5004"),
            ] {
                let spec = flow(local, allowed, out, to);
                let slot = world.slot(spec.local);
                world.table.remove(slot);
                world.put(&spec, BACK);
            }
            let frame = packet.build();
            let (Ok(expected) | Err(expected)) = expected(&frame);
            let outcome = world.run(&frame);
            seen.borrow_mut().insert(expected);
            if outcome.verdict != expected {
                return Err(TestCaseError::fail(format!(
                    "{:?}, not {expected:?}: {frame:02x?}",
                    outcome.verdict
                )));
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    // Random packets that are all refused for one reason would prove little.
    assert!(seen.borrow().len() >= 15, "only {:?} were met", seen.borrow());
}

/// A flow whose packets are copied never goes the straight way, and a copy changes
/// nothing about a packet.
#[test]
fn the_straight_way_leads_where_the_general_one_does() {
    let Some(world) = world() else { return };
    let world = RefCell::new(world);
    let specs = [
        ("198.51.100.7:4000", "192.0.2.10:20000", "198.51.100.0/24", "192.0.2.10:20002", "203.0.113.9:5004"),
        (
            "[2001:db8:1::7]:4000",
            "[2001:db8::10]:20000",
            "2001:db8:1::/64",
            "[2001:db8::10]:20002",
            "[2001:db8:2::9]:5004",
        ),
    ]
    .map(|(from, local, allowed, out, to)| (datagram(from, local, rtp(0)), flow(local, allowed, out, to)));
    for (first, spec) in &specs {
        let mut world = world.borrow_mut();
        world.put(spec, BACK);
        assert_eq!(world.run(&first.build()).verdict, Verdict::Transmitted, "learns its source");
    }
    let mut runner = TestRunner::new(Config { cases: 5_000, failure_persistence: None, ..Config::default() });
    let seen = RefCell::new(std::collections::BTreeMap::new());
    runner
        .run(&mangled(), |packet| {
            let mut world = world.borrow_mut();
            let frame = packet.build();
            let straight = world.run(&frame);
            let tap = |world: &mut World, tapped| {
                for (_, spec) in &specs {
                    world.table.tap(world.slot(spec.local), tapped);
                }
            };
            tap(&mut world, true);
            let general = world.run(&frame);
            tap(&mut world, false);
            *seen.borrow_mut().entry(general.verdict).or_insert(0) += 1;
            prop_assert_eq!(straight, general, "{:02x?}", frame);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(seen.borrow()[&Verdict::Transmitted] > 500, "only {:?} were met", seen.borrow());
}
