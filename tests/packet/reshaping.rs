//! Frames that leave with other VLAN tags or in the other IP family are, byte
//! for byte, what etherparse builds for the far end, checksums included.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use relay_ebpf::abi::{Hop, Tag};
use relay_ebpf::verdict::Verdict;
use vizard::engine::flow::{Content, FlowSpec};

use crate::frames::{Datagram, datagram, rtp};
use crate::world::{self, FREE, NEXT_MAC, OUR_MAC, World, flow};

const FROM: [&str; 2] = ["198.51.100.1:4000", "[2001:db8:1::1]:4000"];
const LOCAL: [&str; 2] = ["192.0.2.10:20000", "[2001:db8::10]:20000"];
const OUT: [&str; 2] = ["192.0.2.10:20002", "[2001:db8::10]:20002"];
const TO: [&str; 2] = ["203.0.113.9:5004", "[2001:db8:2::9]:5004"];
const TAGS: [&[(u16, u16)]; 3] = [&[], &[(0x8100, 7)], &[(0x88a8, 4094), (0x8100, 1)]];
const MTU: u16 = 1500;

/// Hops left, code point, whether there is a checksum, source port, last byte
/// of the source address, padding.
type Fields = (u8, u8, bool, u16, u8, usize);

/// A world that media comes into under all of them.
fn world() -> Option<World> {
    let mut world = world::world_of_vlans()?;
    for tags in TAGS {
        world.arrive(hop_tags(tags), 1);
    }
    Some(world)
}

fn hop_tags(tags: &[(u16, u16)]) -> [Tag; 2] {
    let mut tags = tags.iter().map(|&(protocol, vlan)| Tag::new(protocol, vlan));
    [tags.next(), tags.next()].map(Option::unwrap_or_default)
}

/// A way a packet may take: its families and tags, in and out.
#[derive(Clone, Copy, Debug)]
struct Passage {
    v6: [bool; 2],
    tags: [usize; 2],
}

impl Passage {
    fn all() -> impl Iterator<Item = Self> {
        (0..36).map(|n| Self { v6: [n & 1 == 1, n & 2 == 2], tags: [n / 4 % 3, n / 12] })
    }

    fn arriving(self, payload: Vec<u8>) -> Datagram {
        let v6 = usize::from(self.v6[0]);
        Datagram { tags: TAGS[self.tags[0]].to_vec(), ..datagram(FROM[v6], LOCAL[v6], payload) }
    }

    /// A fresh flow for it, and its hop.
    fn put(self, world: &mut World, content: Content, mtu: u16) {
        let [from, to] = self.v6.map(usize::from);
        let allowed = ["198.51.100.0/24", "2001:db8:1::/64"][from];
        let hop = Hop::new(1, mtu, OUR_MAC, NEXT_MAC).tagged(hop_tags(TAGS[self.tags[1]]));
        world.set_hop(FREE, hop);
        world.put(&FlowSpec { content, ..flow(LOCAL[from], allowed, OUT[to], TO[to]) }, FREE);
    }

    /// What the far end gets.
    fn leaving(self, arriving: &Datagram) -> Vec<u8> {
        let to = usize::from(self.v6[1]);
        let translated = self.v6[0] != self.v6[1];
        let mut leaving = arriving.clone();
        leaving.macs = (OUR_MAC, NEXT_MAC);
        leaving.from = OUT[to].parse().unwrap();
        leaving.to = TO[to].parse().unwrap();
        leaving.hops -= 1;
        leaving.dscp = 46;
        leaving.tags = TAGS[self.tags[1]].to_vec();
        if translated {
            leaving.flow_label = 0;
            leaving.checksum |= self.v6[1];
        }
        let mut frame = leaving.build();
        if self.tags[0] != 0 {
            // A frame without its tags is padded first.
            let bare = arriving.build().len() - 4 * self.tags[0];
            frame.resize(frame.len() + 60_usize.saturating_sub(bare), 0);
        }
        if (translated || self.tags[1] != 0) && frame.len() < 60 {
            frame.resize(60, 0);
        }
        frame
    }
}

fn anything() -> Content {
    Content { opaque: true, ..Content::default() }
}

#[test]
fn every_family_leaves_as_any_other_under_every_tag() {
    let Some(mut world) = world() else { return };
    let plain = flow(LOCAL[0], "198.51.100.0/24", OUT[0], TO[0]).content;
    for passage in Passage::all() {
        passage.put(&mut world, plain, MTU);
        for payload in [rtp(0), rtp(0)[..12].to_vec()] {
            let packet = passage.arriving(payload);
            let outcome = world.run(&packet.build());
            assert_eq!(outcome.verdict, Verdict::Transmitted, "{passage:?}");
            assert_eq!(outcome.bytes, passage.leaving(&packet), "{passage:?}");
        }
    }
}

/// IPv6 demands the checksum that IPv4 may leave out: whatever the payload's
/// length, it is the one that etherparse computes.
#[test]
fn a_missing_checksum_is_computed_for_ipv6() {
    let Some(mut world) = world() else { return };
    let passage = Passage { v6: [false, true], tags: [0, 0] };
    passage.put(&mut world, anything(), MTU);
    for length in (2..=200).chain([255, 256, 257, 1023, 1024, 1025, 1451, 1452]) {
        let payload = (0..length).map(|n: usize| (n * 37 + length) as u8).collect();
        let packet = Datagram { checksum: false, ..passage.arriving(payload) };
        let outcome = world.run(&packet.build());
        assert_eq!(outcome.verdict, Verdict::Transmitted, "{length}");
        assert_eq!(outcome.bytes, passage.leaving(&packet), "{length}");
    }
}

#[test]
fn the_mtu_counts_the_packet_as_it_leaves() {
    let Some(mut world) = world() else { return };
    for passage in Passage::all() {
        let header = if passage.v6[1] { 48 } else { 28 };
        for (length, verdict) in [(100, Verdict::Transmitted), (101, Verdict::ExceedsMtu)] {
            passage.put(&mut world, anything(), header + 100);
            let packet = passage.arriving(vec![0x5a; length]);
            assert_eq!(world.run(&packet.build()).verdict, verdict, "{passage:?}");
        }
    }
}

/// A checksum that was wrong stays wrong by as much: damage is for the far end
/// to find.
#[test]
fn damage_crosses_between_families() {
    let Some(mut world) = world() else { return };
    for passage in Passage::all() {
        passage.put(&mut world, anything(), MTU);
        let packet = passage.arriving(vec![7; 100]);
        let mut frame = packet.build();
        let last = frame.len() - 1;
        frame[last] ^= 0x10;
        let mut expected = passage.leaving(&packet);
        let last = expected.len() - 1;
        expected[last] ^= 0x10;
        assert_eq!(world.run(&frame).bytes, expected, "{passage:?}");
    }
}

/// However short a frame is cut, it is never forwarded.
#[test]
fn a_frame_cut_anywhere_goes_to_the_stack() {
    let Some(mut world) = world() else { return };
    for passage in Passage::all() {
        passage.put(&mut world, anything(), MTU);
        let frame = passage.arriving(vec![7; 30]).build();
        for length in 14..frame.len() {
            let verdict = world.run(&frame[..length]).verdict;
            assert!(matches!(verdict, Verdict::Truncated | Verdict::BadIpLength), "{length}: {verdict:?}");
        }
    }
}

#[test]
fn random_packets_leave_as_etherparse_builds_them() {
    let Some(world) = world() else { return };
    let world = std::cell::RefCell::new(world);
    let passage = (any::<[bool; 2]>(), [0..3_usize, 0..3_usize]).prop_map(|(v6, tags)| Passage { v6, tags });
    // The first packet of a flow must not look like RTP.
    let payload = (0..128_u8, prop::collection::vec(any::<u8>(), 1..400))
        .prop_map(|(first, rest)| [vec![first], rest].concat());
    let fields = (2..=255_u8, 0..64_u8, any::<bool>(), 1..=u16::MAX, any::<u8>(), 0..20_usize);
    let mut runner = TestRunner::new(Config { cases: 4_000, failure_persistence: None, ..Config::default() });
    let case = |(passage, payload, fields): (Passage, Vec<u8>, Fields)| {
        let mut world = world.borrow_mut();
        let (hops, dscp, checksum, port, host, padding) = fields;
        let mut packet = passage.arriving(payload);
        (packet.hops, packet.dscp, packet.padding) = (hops, dscp, padding);
        packet.checksum = checksum || passage.v6[0];
        packet.from.set_port(port);
        match &mut packet.from {
            std::net::SocketAddr::V4(from) => from.set_ip([198, 51, 100, host].into()),
            std::net::SocketAddr::V6(from) => from.set_ip([0x2001, 0xdb8, 1, 0, 0, 0, 0, host.into()].into()),
        }
        let slot = world.slot(packet.to);
        world.table.remove(slot);
        passage.put(&mut world, anything(), MTU);
        let outcome = world.run(&packet.build());
        prop_assert_eq!(outcome.verdict, Verdict::Transmitted);
        prop_assert_eq!(outcome.bytes, passage.leaving(&packet));
        Ok::<(), TestCaseError>(())
    };
    runner.run(&(passage, payload, fields), case).unwrap_or_else(|failure| panic!("{failure}"));
}
