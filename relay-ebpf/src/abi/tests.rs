//! Layouts are a contract between two programs: these tests name every offset.

use super::*;
use crate::quality::Record;

#[test]
fn no_field_of_a_flow_moves_without_a_new_abi_version() {
    let head = [
        offset_of!(Head, sequence),
        offset_of!(Head, epoch),
        offset_of!(Head, hop),
        offset_of!(Head, send_from_first),
        offset_of!(Head, send_to_first),
        offset_of!(Head, send_from_port),
        offset_of!(Head, send_to_port),
        offset_of!(Head, usual_types),
        offset_of!(Head, classes),
        offset_of!(Head, flags),
        offset_of!(Head, traffic_class),
    ];
    let tail = [
        offset_of!(Tail, send_from_rest),
        offset_of!(Tail, send_to_rest),
        offset_of!(Tail, tick),
        offset_of!(Tail, opposite),
        offset_of!(Tail, payload_types),
        offset_of!(Tail, allowed),
        offset_of!(Tail, extensions),
        offset_of!(Tail, allowed_prefix),
    ];
    let heard = [
        offset_of!(Heard, ssrc),
        offset_of!(Heard, word),
        offset_of!(Heard, address),
        offset_of!(Heard, port),
        offset_of!(Heard, highest),
        offset_of!(Heard, following),
    ];
    let rarely = [
        offset_of!(Rarely, last),
        offset_of!(Rarely, packets),
        offset_of!(Rarely, bytes),
        offset_of!(Rarely, refused),
        offset_of!(Rarely, record),
    ];
    let slot = [offset_of!(FlowSlot, head), offset_of!(FlowSlot, heard), offset_of!(FlowSlot, bytes)];
    let rest = [
        offset_of!(FlowRest, rarely),
        offset_of!(FlowRest, learned),
        offset_of!(FlowRest, even_tail),
        offset_of!(FlowRest, head),
        offset_of!(FlowRest, tail),
    ];
    assert_eq!(head, [0, 4, 8, 12, 16, 20, 22, 24, 28, 29, 30]);
    assert_eq!(tail, [0, 12, 24, 28, 32, 48, 64, 66]);
    assert_eq!((heard, rarely), ([0, 4, 8, 12, 14, 16], [0, 8, 16, 24, 32]));
    assert_eq!((slot, rest), ([4, 36, 56], [0, 64, 80, 152, 184]));
    assert_eq!(ABI_VERSION, 5, "a new version needs its offsets here");
}

#[test]
fn no_type_has_a_byte_of_padding() {
    // A sum that differs from the size means bytes that `Pod` would leak uninitialised.
    assert_eq!(size_of::<FlowSlot>(), 4 + size_of::<Head>() + size_of::<Heard>() + 8);
    let bodies = size_of::<Head>() + 2 * size_of::<Tail>();
    assert_eq!(size_of::<FlowRest>(), size_of::<Rarely>() + 3 * 4 + 4 + bodies);
    assert_eq!(size_of::<Head>(), 5 * 4 + 2 * 2 + 4 + 4);
    assert_eq!(size_of::<Tail>(), 2 * 3 * 4 + 2 * 4 + 2 * 8 + 16 + 2 + 1 + 5);
    assert_eq!(size_of::<Heard>(), 3 * 4 + 2 * 2 + 4);
    assert_eq!(size_of::<Rarely>(), 4 * 8 + size_of::<Record>() + 4);
    assert_eq!(size_of::<Record>(), 3 * 4 + 2 * 2 + 3 * 4);
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
    assert_eq!((flow.exit_family(), flow.traffic_class(), flow.view().tick()), (Family::V6, 46 << 2, 20_833));
    assert!(flow.view().allows_source(&address(0x50)) && !flow.view().allows_source(&address(0x51)));
    assert!(flow.is_encrypted() && flow.view().rule().encrypted && flow.view().extensions() == 0);
    assert!(flow.view().rule().allows_payload_type(101) && !flow.view().rule().allows_payload_type(100));
    assert_eq!((flow.view().follows(), flow.following(9).view().follows()), (None, Some(9)));
    assert_eq!(flow.following(9).exit_family(), Family::V6);
    let open = Content { encrypted: false, extensions: 1 << 3, ..content };
    let flow =
        Flow::new(open, Allowed { address: address(0), prefix: 0 }, Exit { family: Family::V4, ..exit });
    assert!(!flow.is_encrypted() && flow.view().extensions() == 1 << 3);
    assert_eq!(flow.exit_family(), Family::V4);
}

/// The short way takes the payload types that a head has room for, and no other.
#[test]
fn a_head_knows_the_usual_payload_types() {
    use crate::media::{Class, Classes};

    let end = End { address: Address::v4([192, 0, 2, 1]), port: Port::new(4000) };
    let exit = Exit { family: Family::V4, from: end, to: end, hop: 0 };
    let takes = |payload_types: u128| {
        let classes = Classes::default().with(Class::Rtp);
        let content = Content { classes, payload_types, ..Content::default() };
        let flow = Flow::new(content, Allowed { address: end.address, prefix: 32 }, exit);
        (0..=127_u8).filter(|&second| flow.sends_straight(Family::V4, second)).collect::<Vec<_>>()
    };
    assert_eq!(takes(0), []);
    assert_eq!(takes(1 << 127 | 1), [0, 127]);
    assert_eq!(takes(1 | 1 << 8 | 1 << 9 | 1 << 101), [0, 8, 9, 101]);
    assert_eq!(takes(u128::MAX), [0, 1, 2, 3], "others go the long way");
    for payload_type in (0..64).chain(96..128) {
        assert_eq!(takes(1 << payload_type), [payload_type]);
    }
}

#[test]
fn words_of_two_epochs_never_meet() {
    let words = [1, 2, EPOCHS - 1].map(|epoch| {
        [Phase::Claimed, Phase::Locked].map(|phase| {
            let word = phase.word(epoch);
            assert_eq!(age(epoch, word), 0);
            word
        })
    });
    let mut all = words.concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6);
    assert!(!all.contains(&0), "zero is a cell that was never used");
}

#[test]
fn a_word_has_the_age_of_its_epoch() {
    assert_eq!(age(1, 0), 1);
    assert_eq!(age(7, Phase::Locked.word(5)), 2);
    assert_eq!(age(1, Phase::Locked.word(EPOCHS - 1)), 2, "epochs begin anew");
    assert!(age(5, Phase::Claimed.word(6)) > EPOCHS / 2, "it is ahead");
}

/// What packets that did but follow are counted in is no part of the rest.
#[test]
fn a_count_is_whole_again() {
    let mut whole = FlowCount { refused: 3, last: 4, ..FlowCount::default() };
    for payload in 1..=5 {
        whole.forwarded(payload);
    }
    (whole.series.ssrc, whole.series.highest, whole.series.record.expected) = (6, 7, 8);
    let mut heard = Heard { ssrc: 6, highest: 7, ..Heard::default() };
    assert_eq!(FlowCount::of(&heard, 0, &whole.rarely()), whole);
    heard.following = 2;
    let more = FlowCount::of(&heard, 10, &whole.rarely());
    assert_eq!((more.packets, more.bytes, more.series.record.expected), (7, 25, 10));
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
