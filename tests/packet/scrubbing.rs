//! What names a party does not leave: RTCP texts and header extensions are
//! overwritten in the kernel as they are on the host, and the checksum that
//! etherparse computes for the result is the one that leaves.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use relay_ebpf::verdict::Verdict;
use relay_ebpf::{extension, rtcp};
use vizard::engine::flow::{Content, ExtensionIds};

use crate::frames::{Datagram, datagram, rtp};
use crate::world::{BACK, NEXT_MAC, OUR_MAC, World, flow, world};

const V4: [&str; 4] = ["198.51.100.1:4000", "192.0.2.10:20000", "192.0.2.10:20002", "203.0.113.9:5004"];
const V6: [&str; 4] =
    ["[2001:db8:1::1]:4000", "[2001:db8::10]:20000", "[2001:db8::10]:20002", "[2001:db8:2::9]:5004"];

fn put(world: &mut World, [from, local, send_from, send_to]: [&str; 4], content: Content) {
    let from: std::net::SocketAddr = from.parse().unwrap();
    let mut spec = flow(local, &ipnet::IpNet::from(from.ip()).to_string(), send_from, send_to);
    spec.content = content;
    world.put(&spec, BACK);
}

fn arriving(ends: [&str; 4], payload: &[u8]) -> Datagram {
    datagram(ends[0], ends[1], payload.to_vec())
}

/// What must leave when `arrived` has become a packet with this payload.
fn leaving(ends: [&str; 4], arrived: &Datagram, payload: &[u8]) -> Vec<u8> {
    let mut leaving = arrived.clone();
    leaving.macs = (OUR_MAC, NEXT_MAC);
    (leaving.from, leaving.to) = (ends[2].parse().unwrap(), ends[3].parse().unwrap());
    (leaving.hops, leaving.dscp) = (63, 46);
    leaving.payload = payload.to_vec();
    leaving.build()
}

/// The canary of every text that RTCP has, in one compound.
fn compound(canary: [u8; 8]) -> Vec<u8> {
    let item = |kind: u8| [&[kind, 8][..], &canary].concat();
    let mut chunk = vec![0, 0, 0, 7];
    chunk.extend((1..=9).flat_map(item));
    chunk.resize((chunk.len() + 1).next_multiple_of(4), 0);
    let packet = |kind: u8, count: u8, content: &[u8]| {
        let words = u16::try_from(content.len() / 4).unwrap().to_be_bytes();
        [&[0x80 | count, kind], &words[..], content].concat()
    };
    let bye = [&[0, 0, 0, 7, 8][..], &canary, &[0; 3]].concat();
    let app = [&[0, 0, 0, 7], &canary[..]].concat();
    let extended = [&[0, 0, 0, 7][..], &[0x11; 24], &canary].concat();
    let xr = [&[0, 0, 0, 7, 200, 0, 0, 2][..], &canary].concat();
    let feedback = [&[0, 0, 0, 7, 0, 0, 0, 8][..], &canary].concat();
    [
        packet(203, 1, &bye),
        packet(201, 1, &extended),
        packet(202, 1, &chunk),
        packet(204, 3, &app),
        packet(207, 0, &xr),
        packet(206, 15, &feedback),
        packet(209, 0, &app),
    ]
    .concat()
}

fn holds(bytes: &[u8], canary: &[u8]) -> bool {
    memchr::memmem::find(bytes, &canary[..2]).is_some()
}

#[test]
fn no_text_of_rtcp_leaves() {
    let Some(mut world) = world() else { return };
    let canary = b"ZQZQZQZQ";
    let before = compound(*canary);
    assert!(holds(&before, canary));
    for ends in [V4, V6] {
        put(&mut world, ends, Content::rtcp());
        for checksum in [true, false] {
            let mut arrived = arriving(ends, &before);
            arrived.checksum = checksum || ends == V6;
            let outcome = world.run(&arrived.build());
            assert_eq!(outcome.verdict, Verdict::Transmitted);
            assert!(!holds(&outcome.bytes, canary), "{:02x?}", outcome.bytes);
            let mut after = before.clone();
            rtcp::scrub(&mut after).unwrap();
            assert_eq!(outcome.bytes, leaving(ends, &arrived, &after));
        }
        put(&mut world, ends, Content { encrypted: true, ..Content::rtcp() });
        let arrived = arriving(ends, &before);
        assert_eq!(world.run(&arrived.build()).bytes, leaving(ends, &arrived, &before), "SRTCP stays");
    }
}

/// Random compounds, most of them nearly right: the program and the host agree.
#[test]
fn the_program_scrubs_as_the_host_does() {
    let Some(mut world) = world() else { return };
    for ends in [V4, V6] {
        put(&mut world, ends, Content::rtcp());
    }
    let world = std::cell::RefCell::new(world);
    let seen = std::cell::RefCell::new(std::collections::BTreeMap::new());
    let packet = (192..212_u8, 0..4_u8, prop::collection::vec(any::<[u8; 4]>(), 1..40), any::<bool>())
        .prop_map(|(kind, count, mut words, quiet)| {
            // Small bytes make items that end within their packet.
            if quiet {
                words.iter_mut().flatten().for_each(|byte| *byte %= 6);
                words.push([0; 4]);
            }
            let length = u16::try_from(words.len()).unwrap().to_be_bytes();
            [&[0x80 | count, kind], &length[..], &words.concat()].concat()
        });
    let compound = prop::collection::vec(packet, 1..4).prop_map(|packets| packets.concat());
    let cut = prop_oneof![9 => Just(0_usize), 1 => 1..9_usize];
    let mut runner = TestRunner::new(Config { cases: 2_000, failure_persistence: None, ..Config::default() });
    runner
        .run(&(compound, cut, any::<bool>()), |(mut before, cut, v6)| {
            before.truncate((before.len() - cut).max(8));
            let ends = if v6 { V6 } else { V4 };
            let arrived = arriving(ends, &before);
            let mut after = before.clone();
            let expected = rtcp::scrub(&mut after);
            let outcome = world.borrow_mut().run(&arrived.build());
            *seen.borrow_mut().entry(outcome.verdict).or_insert(0) += 1;
            match expected {
                Ok(()) => {
                    prop_assert_eq!(outcome.verdict, Verdict::Transmitted);
                    prop_assert_eq!(outcome.bytes, leaving(ends, &arrived, &after));
                }
                Err(verdict) => prop_assert_eq!(outcome.verdict, verdict),
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(seen.borrow().values().all(|&times| times > 200) && seen.borrow().len() == 2, "{seen:?}");
}

#[test]
fn the_longest_compound_passes_the_verifiers_loop() {
    let Some(mut world) = world() else { return };
    put(&mut world, V4, Content::rtcp());
    let length = usize::from(rtcp::MAX_BYTES);
    let mut before = vec![0x80, 204, 1, 0x6f];
    assert_eq!((1 << 8 | 0x6f) + 1, length / 4);
    before.resize(length, b'x');
    let arrived = arriving(V4, &before);
    let outcome = world.run(&arrived.build());
    let mut after = before.clone();
    after[8..].fill(0);
    assert_eq!((outcome.verdict, outcome.bytes), (Verdict::Transmitted, leaving(V4, &arrived, &after)));
}

#[test]
fn header_extensions_leave_as_padding_unless_they_are_allowed() {
    let Some(mut world) = world() else { return };
    let content = |encrypted, extensions| Content {
        encrypted,
        extensions,
        ..flow(V4[1], "::/0", V4[2], V4[3]).content
    };
    let nothing = ExtensionIds::default();
    let shapes = [0, 1, 15].iter().flat_map(|&sources| [0, 1, 7, 300_u16].map(|words| (sources, words)));
    for ((sources, words), ends) in shapes.flat_map(|shape| [(shape, V4), (shape, V6)]) {
        for profile in [[0xbe, 0xde], [0x10, 0x0f]] {
            let elements: Vec<u8> = [&[0x5f][..], &[b'Z'; 16]].concat().repeat(72);
            let mut before = rtp(0);
            before[0] |= 0x10 | sources;
            let header = [&profile[..], &words.to_be_bytes()].concat();
            let extension = &elements[..usize::from(words) * 4];
            let inserted = [&vec![0x77; usize::from(sources) * 4][..], &header, extension].concat();
            before.splice(12..12, inserted);
            let arrived = arriving(ends, &before);
            for (encrypted, extensions) in [(false, nothing), (true, nothing), (false, nothing.with(5))] {
                let mut after = before.clone();
                if !encrypted {
                    extension::blank(&mut after, extensions.bits()).unwrap();
                    assert_eq!(
                        holds(&after, b"ZZ"),
                        !extensions.is_empty() && profile[0] == 0xbe && words > 0
                    );
                }
                put(&mut world, ends, content(encrypted, extensions));
                let outcome = world.run(&arrived.build());
                assert_eq!(outcome.verdict, Verdict::Transmitted);
                assert_eq!(
                    outcome.bytes,
                    leaving(ends, &arrived, &after),
                    "{sources} sources, {words} words"
                );
            }
        }
    }
}
