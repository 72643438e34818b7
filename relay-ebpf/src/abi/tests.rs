//! Layouts are a contract between two programs: these tests name every offset.

use super::*;
use crate::quality::{Order, Pace};

#[test]
fn no_field_of_a_flow_moves_without_a_new_abi_version() {
    let head = [
        offset_of!(Head, sequence),
        offset_of!(Head, epoch),
        offset_of!(Head, hop),
        offset_of!(Head, classes),
        offset_of!(Head, flags),
        offset_of!(Head, traffic_class),
        offset_of!(Head, allowed_prefix),
        offset_of!(Head, payload_types),
        offset_of!(Head, send_from_port),
        offset_of!(Head, send_to_port),
        offset_of!(Head, send_from_first),
        offset_of!(Head, send_to_first),
        offset_of!(Head, tick),
        offset_of!(Head, opposite),
        offset_of!(Head, allowed_first),
    ];
    let tail = [
        offset_of!(Tail, send_from_rest),
        offset_of!(Tail, send_to_rest),
        offset_of!(Tail, allowed_rest),
        offset_of!(Tail, extensions),
        offset_of!(Tail, reserved),
    ];
    let slot = [offset_of!(FlowSlot, head), offset_of!(FlowSlot, learned), offset_of!(FlowSlot, counted)];
    let rest = [
        offset_of!(FlowRest, even_tail),
        offset_of!(FlowRest, rarely),
        offset_of!(FlowRest, head),
        offset_of!(FlowRest, refused),
        offset_of!(FlowRest, tail),
    ];
    assert_eq!(head, [0, 4, 8, 12, 13, 14, 15, 16, 32, 34, 36, 40, 44, 48, 52]);
    assert_eq!(tail, [0, 12, 24, 36, 38]);
    assert_eq!((slot, rest), ([8, 64, 96], [0, 40, 64, 120, 128]));
    assert_eq!(ABI_VERSION, 4, "a new version needs its offsets here");
}

#[test]
fn no_type_has_a_byte_of_padding() {
    // A sum that differs from the size means bytes that `Pod` would leak uninitialised.
    assert_eq!(
        size_of::<FlowSlot>(),
        4 + 4 + size_of::<Head>() + size_of::<LearnedSource>() + size_of::<Counted>()
    );
    let tails = 2 * size_of::<Tail>();
    assert_eq!(size_of::<FlowRest>(), tails + size_of::<Head>() + size_of::<CountedRarely>() + 8 + 3 * 8);
    assert_eq!(size_of::<LearnedSource>(), 8 + 16 + 2 + 6);
    assert_eq!(size_of::<Counted>(), 2 * 8 + size_of::<Order>());
    assert_eq!(size_of::<CountedRarely>(), 8 + size_of::<Pace>());
    assert_eq!((size_of::<Order>(), size_of::<Pace>()), (3 * 4 + 2 * 2, 4 * 4));
    assert_eq!(size_of::<HopSlot>(), 4 + size_of::<Hop>());
    assert_eq!(size_of::<Hop>(), 4 + 2 + 6 + 6 + 2 * 4 + 2);
}

#[test]
fn every_address_and_port_has_one_slot_of_its_own() {
    let layout = Layout::new(20_000, 20_009)
        .with(Address::v4([192, 0, 2, 1]), Family::V4)
        .and_then(|layout| layout.with(Address::v6([1; 16]), Family::V6))
        .unwrap();
    let mut slots = Vec::new();
    for index in 0..2 {
        for port in 20_000..=20_009 {
            slots.push(layout.slot(index, port).unwrap());
        }
    }
    // Of either address, first the even ports.
    assert_eq!(slots[..10], [0, 5, 1, 6, 2, 7, 3, 8, 4, 9]);
    let rtcp_apart = slots.iter().step_by(2).map(|&slot| layout.beside(slot));
    assert!(rtcp_apart.eq(slots.iter().skip(1).step_by(2).copied()));
    slots.sort_unstable();
    assert_eq!(slots, (0..layout.slots()).collect::<Vec<_>>());
    assert_eq!(layout.slot(0, 19_999), None);
    assert_eq!(layout.slot(0, 20_010), None);
    assert_eq!(layout.slot(2, 20_000), None);
}

#[test]
fn the_whole_port_range_fits() {
    let layout = Layout::new(0, u16::MAX).with(Address::v4([192, 0, 2, 1]), Family::V4).unwrap();
    assert_eq!(layout.slots(), 65_536);
    assert_eq!(layout.slot(0, u16::MAX), Some(65_535));
}

#[test]
fn addresses_are_limited() {
    let mut layout = Layout::new(1, 2);
    for _ in 0..MAX_ADDRESSES {
        layout = layout.with(Address::default(), Family::V4).unwrap();
    }
    assert_eq!(layout.with(Address::default(), Family::V4), None);
}

#[test]
fn prefixes_match_bit_by_bit() {
    for prefix in 0..=128_u8 {
        for flipped in 0..128_u8 {
            let mut octets = [0x5a; 16];
            let base = Address::v6(octets);
            octets[usize::from(flipped / 8)] ^= 0x80 >> (flipped % 8);
            let other = Address::v6(octets);
            assert_eq!(base.matches(&other, prefix), flipped >= prefix, "bit {flipped} of /{prefix}");
        }
        assert!(Address::v6([9; 16]).matches(&Address::v6([9; 16]), prefix));
    }
}

/// Both families at either end, whole addresses, and every permission.
#[test]
fn a_flow_says_what_it_was_told() {
    use crate::media::{Class, Classes};

    let address = |fill: u8| {
        Address::v6([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].map(|byte| fill + byte))
    };
    let end = |fill, port| End { address: address(fill), port: Port::new(port) };
    let exit = Exit { family: Family::V6, from: end(0x10, 4000), to: end(0x30, 5000), hop: 77 };
    let content = Content {
        classes: Classes::default().with(Class::Rtp).with(Class::Rtcp),
        payload_types: 1 << 101 | 1,
        clock_rate: 48_000,
        encrypted: true,
        extensions: 0,
    };
    let flow = Flow::new(content, Allowed { address: address(0x50), prefix: 128 }, exit).with_dscp(46);
    assert_eq!((flow.view().send_from(), flow.view().send_to(), flow.hop()), (exit.from, exit.to, exit.hop));
    assert_eq!((flow.exit_family(), flow.traffic_class(), flow.tick()), (Family::V6, 46 << 2, 20_833));
    assert!(flow.view().allows_source(&address(0x50)) && !flow.view().allows_source(&address(0x51)));
    assert!(flow.is_encrypted() && flow.rule().encrypted && flow.view().extensions() == 0);
    assert!(flow.rule().allows_payload_type(101) && !flow.rule().allows_payload_type(100));
    assert_eq!((flow.follows(), flow.following(9).follows()), (None, Some(9)));
    assert_eq!(flow.following(9).exit_family(), Family::V6);
    let open = Content { encrypted: false, extensions: 1 << 3, ..content };
    let flow =
        Flow::new(open, Allowed { address: address(0), prefix: 0 }, Exit { family: Family::V4, ..exit });
    assert!(!flow.is_encrypted() && flow.view().extensions() == 1 << 3);
    assert_eq!(flow.exit_family(), Family::V4);
}

#[test]
fn learned_words_of_two_epochs_never_meet() {
    let words = [1, 2, u32::MAX].map(|epoch| {
        [Phase::Claimed, Phase::Locked].map(|phase| {
            let word = LearnedSource::word(epoch, phase);
            assert_eq!(LearnedSource::epoch_of(word), epoch);
            word
        })
    });
    let mut all = words.concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6);
    assert!(!all.contains(&0), "zero is a cell that was never used");
}

/// Two addresses with ten thousand ports each on 256 possible CPUs, a large
/// single host, stay under nine mebibytes; the widest configuration that the
/// ABI allows stays under 384.
#[test]
fn maps_stay_within_their_budget() {
    const MIB: u64 = 1024 * 1024;
    assert!(map_bytes(2 * 10_000, 256) < 9 * MIB);
    assert!(map_bytes(MAX_ADDRESSES as u64 * 65_536, 8192) < 384 * MIB);
}
