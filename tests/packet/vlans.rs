//! Which tags media may come in under, and what becomes of tags where it does not
//! leave.

use relay_ebpf::abi::{Attachment, Tag};
use relay_ebpf::verdict::Verdict;
use vizard::engine::flow::{Content, FlowSpec};

use crate::frames::{Datagram, datagram, rtp, stun};
use crate::routes;
use crate::world::{BACK, UNKNOWN, World, flow, index_of, world, world_of_vlans};

const CUSTOMER: u16 = 0x8100;
const SERVICE: u16 = 0x88a8;
const ONE: [Tag; 2] = [Tag::new(CUSTOMER, 100), Tag::NONE];
const TWO: [Tag; 2] = [Tag::new(SERVICE, 4094), Tag::new(CUSTOMER, 7)];
const NONE: [Tag; 2] = [Tag::NONE; 2];

fn put(world: &mut World, content: Content) {
    let v4 = flow("192.0.2.10:20000", "198.51.100.0/24", "192.0.2.10:20002", "203.0.113.9:5004");
    let v6 = flow("[2001:db8::10]:20000", "2001:db8:1::/64", "[2001:db8::10]:20002", "[2001:db8:2::9]:5004");
    for spec in [v4, v6] {
        world.put(&FlowSpec { content, ..spec }, BACK);
    }
}

fn audio() -> Content {
    flow("192.0.2.10:20000", "198.51.100.0/24", "192.0.2.10:20002", "203.0.113.9:5004").content
}

/// A packet of each family under these tags (protocol and the two bytes after it).
fn under(tags: &[(u16, u16)], payload: &[u8]) -> [Vec<u8>; 2] {
    [("198.51.100.1:4000", "192.0.2.10:20000"), ("[2001:db8:1::1]:4000", "[2001:db8::10]:20000")]
        .map(|(from, to)| Datagram { tags: tags.to_vec(), ..datagram(from, to, payload.to_vec()) }.build())
}

fn verdicts(world: &mut World, tags: &[(u16, u16)]) -> [Verdict; 2] {
    under(tags, &rtp(0)).map(|frame| world.run(&frame).verdict)
}

#[test]
fn media_comes_in_under_the_tags_of_its_interfaces_alone() {
    let Some(mut world) = world_of_vlans() else { return };
    world.arrive(ONE, 1);
    world.arrive(TWO, 1);
    put(&mut world, audio());
    let accepted: [&[(u16, u16)]; 2] = [&[(CUSTOMER, 100)], &[(SERVICE, 4094), (CUSTOMER, 7)]];
    for tags in accepted {
        assert_eq!(verdicts(&mut world, tags), [Verdict::Transmitted; 2], "{tags:x?}");
    }
    let refused: [&[(u16, u16)]; 8] = [
        &[],
        &[(CUSTOMER, 101)],
        &[(SERVICE, 100)],
        &[(SERVICE, 4094)],
        &[(CUSTOMER, 7)],
        &[(CUSTOMER, 7), (SERVICE, 4094)],
        &[(SERVICE, 4094), (CUSTOMER, 100)],
        &[(CUSTOMER, 100), (CUSTOMER, 7)],
    ];
    for tags in refused {
        assert_eq!(verdicts(&mut world, tags), [Verdict::OtherVlan; 2], "{tags:x?}");
    }
    world.arrive(NONE, 1);
    assert_eq!(verdicts(&mut world, &[]), [Verdict::Transmitted; 2]);
}

/// Without a VLAN among the media interfaces nobody asks where untagged media may
/// come in, and tagged media may nowhere.
#[test]
fn without_vlans_untagged_media_comes_in_anywhere() {
    let Some(mut world) = world() else { return };
    put(&mut world, audio());
    assert_eq!(verdicts(&mut world, &[]), [Verdict::Transmitted; 2]);
    assert_eq!(verdicts(&mut world, &[(CUSTOMER, 100)]), [Verdict::OtherVlan; 2]);
}

/// Priority and drop eligibility are not the VLAN; a tag of VLAN zero has nothing else.
#[test]
fn priorities_are_no_vlan() {
    let Some(mut world) = world_of_vlans() else { return };
    world.arrive(ONE, 1);
    put(&mut world, audio());
    let with_one: [&[(u16, u16)]; 4] = [
        &[(CUSTOMER, 0xe064)],
        &[(CUSTOMER, 0x1064)],
        &[(CUSTOMER, 0xa000), (CUSTOMER, 100)],
        &[(CUSTOMER, 0xf064), (CUSTOMER, 0x6000)],
    ];
    for tags in with_one {
        assert_eq!(verdicts(&mut world, tags), [Verdict::Transmitted; 2], "{tags:x?}");
    }
    for tags in [&[(CUSTOMER, 0xa000)][..], &[(SERVICE, 0xa000), (CUSTOMER, 0)]] {
        assert_eq!(verdicts(&mut world, tags), [Verdict::OtherVlan; 2], "{tags:x?}");
    }
    world.arrive(NONE, 1);
    for tags in [&[(CUSTOMER, 0xa000)][..], &[(SERVICE, 0xa000), (CUSTOMER, 0)]] {
        assert_eq!(verdicts(&mut world, tags), [Verdict::Transmitted; 2], "{tags:x?}");
    }
}

/// What the stack gets is what came in, tags, priorities and padding included.
#[test]
fn what_passes_to_the_stack_keeps_its_tags() {
    let Some(mut world) = world_of_vlans() else { return };
    world.arrive(ONE, 1);
    world.arrive(TWO, 1);
    put(&mut world, Content { stun: true, ..Content::default() });
    let ours: [&[(u16, u16)]; 2] = [&[(CUSTOMER, 0xb064)], &[(SERVICE, 0x4ffe), (CUSTOMER, 0xe007)]];
    for tags in ours {
        for frame in under(tags, &stun()) {
            let outcome = world.run(&frame);
            assert_eq!((outcome.verdict, outcome.bytes), (Verdict::LocalStun, frame), "{tags:x?}");
        }
        let mut signalling = datagram("198.51.100.1:5060", "192.0.2.10:6060", b"OPTIONS".to_vec());
        (signalling.tags, signalling.padding) = (tags.to_vec(), 11);
        let frame = signalling.build();
        let outcome = world.run(&frame);
        assert_eq!((outcome.verdict, outcome.bytes), (Verdict::NotOurPort, frame), "{tags:x?}");
    }
}

/// The kernel's tables name the VLAN interface; the frame leaves on what is under it.
#[test]
fn a_way_that_the_kernel_knows_gets_the_tags_of_its_interface() {
    let Some(mut world) = world_of_vlans() else { return };
    routes::lay();
    routes::forwarding("1");
    world.arrive(ONE, 1);
    let attachment = Attachment { interface: 1, tags: TWO };
    world.vlans.insert(index_of("data-a"), attachment, 0).unwrap();
    for (to, v6) in [("10.1.0.9:5004", 0), ("[fd01::9]:5004", 1)] {
        let (local, allowed, out) = [
            ("192.0.2.10:20000", "198.51.100.0/24", "192.0.2.10:20002"),
            ("[2001:db8::10]:20000", "2001:db8:1::/64", "[2001:db8::10]:20002"),
        ][v6];
        world.put(&flow(local, allowed, out, to), UNKNOWN);
        let outcome = world.run(&under(&[(CUSTOMER, 100)], &rtp(0))[v6]);
        assert_eq!(outcome.verdict, Verdict::FibTransmitted, "to {to}");
        assert_eq!(outcome.bytes[..6], [0x02, 0, 0, 0, 0, 0x0b]);
        assert_eq!(outcome.bytes[12..20], [0x88, 0xa8, 0x0f, 0xfe, 0x81, 0x00, 0x00, 0x07]);
    }
}

/// However short a tagged frame is cut, it is never forwarded.
#[test]
fn a_tagged_frame_cut_anywhere_goes_to_the_stack_as_it_came() {
    let Some(mut world) = world_of_vlans() else { return };
    world.arrive(TWO, 1);
    put(&mut world, audio());
    for frame in under(&[(SERVICE, 4094), (CUSTOMER, 7)], &rtp(0)[..30]) {
        for length in 14..frame.len() {
            let outcome = world.run(&frame[..length]);
            assert!(
                matches!(outcome.verdict, Verdict::Truncated | Verdict::BadIpLength),
                "{length}: {outcome:?}"
            );
            assert_eq!(outcome.bytes, frame[..length]);
        }
    }
}
