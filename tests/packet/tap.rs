//! Copies of tapped flows' packets: what stands in them, and that taking them
//! never touches the packet.

use relay_ebpf::abi::{TAP_LONGEST, TAP_RING, TAP_USUAL, TapHeader};
use relay_ebpf::verdict::Verdict;

use crate::frames::{datagram, rtp};
use crate::world::{BACK, World, flow, world};

const FROM_V4: &str = "198.51.100.1:4000";
const LOCAL_V4: &str = "192.0.2.10:20000";
const FROM_V6: &str = "[2001:db8:1::1]:4000";
const LOCAL_V6: &str = "[2001:db8::10]:20000";

fn tapped_world() -> Option<World> {
    let mut world = world()?;
    world.put(&flow(LOCAL_V4, "198.51.100.0/24", "192.0.2.10:20002", "203.0.113.9:5004"), BACK);
    world.put(&flow(LOCAL_V6, "2001:db8:1::/64", "[2001:db8::10]:20002", "[2001:db8:2::9]:5004"), BACK);
    for local in [LOCAL_V4, LOCAL_V6] {
        let slot = world.slot(local.parse().unwrap());
        world.table.tap(slot, true);
    }
    Some(world)
}

/// RTP with so many bytes in all.
fn rtp_of(length: usize) -> Vec<u8> {
    let mut payload = rtp(0);
    payload.resize(length, 0x5a);
    payload
}

/// The copies in the ring: headers, and as much payload as they say.
fn copies(world: &mut World) -> Vec<(TapHeader, Vec<u8>)> {
    let mut copies = Vec::new();
    while let Some(record) = world.tap.next() {
        // SAFETY: every record begins with a header, and every bit pattern is one.
        let header = unsafe { record.as_ptr().cast::<TapHeader>().read_unaligned() };
        let payload = record[size_of::<TapHeader>()..][..header.captured.into()].to_vec();
        copies.push((header, payload));
    }
    copies
}

fn lost(world: &World) -> u64 {
    world.tap_lost.get(&0, 0).expect("a count")
}

#[test]
fn a_copy_holds_the_payload_and_whence_it_came() {
    let Some(mut world) = tapped_world() else { return };
    for (from, local) in [(FROM_V4, LOCAL_V4), (FROM_V6, LOCAL_V6)] {
        for length in [12, 172, TAP_USUAL, TAP_USUAL + 1, 1400] {
            let payload = rtp_of(length);
            let mut packet = datagram(from, local, payload.clone());
            packet.padding = 6;
            assert_eq!(world.run(&packet.build()).verdict, Verdict::Transmitted);
            let [(header, copied)] = &copies(&mut world)[..] else { panic!("one copy of {length} bytes") };
            assert_eq!(copied, &payload, "{length} bytes");
            assert_eq!(usize::from(header.length), length);
            assert_eq!(header.slot, world.slot(local.parse().unwrap()));
            assert_eq!(
                header.source,
                crate::world::wire(&from.rsplit_once(':').unwrap().0.replace(['[', ']'], ""))
            );
            assert_eq!((u16::from_be(header.source_port), header.source_v6 == 1), (4000, local == LOCAL_V6));
            assert!(header.time > 0);
        }
    }
    assert_eq!(lost(&world), 0);
}

#[test]
fn what_is_longer_than_a_copy_is_cut_and_says_so() {
    let Some(mut world) = tapped_world() else { return };
    // The way out takes 1500 bytes: the packet is refused behind the tap.
    let payload = rtp_of(TAP_LONGEST + 100);
    world.run(&datagram(FROM_V4, LOCAL_V4, payload.clone()).build());
    let [(header, copied)] = &copies(&mut world)[..] else { panic!("one copy") };
    assert_eq!(usize::from(header.length), payload.len());
    assert_eq!(copied, &payload[..TAP_LONGEST]);
}

#[test]
fn only_what_a_tapped_flow_admits_is_copied() {
    let Some(mut world) = tapped_world() else { return };
    let good = datagram(FROM_V4, LOCAL_V4, rtp(0)).build();
    world.run(&good);
    assert_eq!(copies(&mut world).len(), 1);
    assert_eq!(world.run(&datagram(FROM_V4, LOCAL_V4, rtp(9)).build()).verdict, Verdict::PayloadType);
    assert_eq!(
        world.run(&datagram("198.51.100.2:4000", LOCAL_V4, rtp(0)).build()).verdict,
        Verdict::WrongSource
    );
    assert_eq!(copies(&mut world).len(), 0);

    let slot = world.slot(LOCAL_V4.parse().unwrap());
    let learned = world.read(LOCAL_V4.parse().unwrap()).source;
    world.table.tap(slot, false);
    assert_eq!(world.run(&good).verdict, Verdict::Transmitted);
    assert_eq!(copies(&mut world).len(), 0);
    let reading = world.read(LOCAL_V4.parse().unwrap());
    assert_eq!((reading.source, reading.count.packets), (learned, 2), "nothing else has changed");
}

/// The packet itself goes its way, tapped or not, room or not.
#[test]
fn a_full_ring_loses_copies_and_no_packet() {
    let Some(mut world) = tapped_world() else { return };
    let packet = datagram(FROM_V4, LOCAL_V4, rtp_of(1400)).build();
    let slot = world.slot(LOCAL_V4.parse().unwrap());
    world.table.tap(slot, false);
    let untapped = world.run(&packet);
    world.table.tap(slot, true);
    let room = TAP_RING as usize / (TAP_LONGEST + size_of::<TapHeader>() + 8);
    for number in 0..room + 10 {
        assert_eq!(world.run(&packet), untapped, "packet {number}");
    }
    let copied = copies(&mut world).len();
    assert_eq!(lost(&world) as usize, room + 10 - copied);
    assert!(copied <= room && copied + 2 > room, "{copied} of {room}");
    world.run(&packet);
    assert_eq!(copies(&mut world).len(), 1, "there is room again");
}
