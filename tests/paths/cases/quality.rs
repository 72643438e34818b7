//! What a path says of how a stream arrived is what was sent.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use relay_ebpf::quality::PAIR_EVERY;

use crate::rig::{Call, Family, Rig, receive, rtp};

/// What a stream was made of.
#[derive(Debug, Default, PartialEq, Eq)]
struct Truth {
    expected: u64,
    lost: u64,
    reordered: u64,
}

/// Sends a stream that loses a packet in ten and swaps two in twenty.
fn send(call: &Call, seed: u64, ssrc: u8, packets: u16) -> Truth {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let first: u16 = chance.random();
    let mut order: Vec<u16> = (0..packets).collect();
    let mut at = 1;
    while at + 2 < order.len() {
        if chance.random_ratio(1, 20) {
            order.swap(at, at + 1);
            at += 1;
        }
        at += 1;
    }
    let mut truth = Truth { expected: packets.into(), ..Truth::default() };
    let mut highest = 0;
    for number in order {
        // The ends of the stream are there, so that its length can be known.
        if number != 0 && number != packets - 1 && chance.random_ratio(1, 10) {
            truth.lost += 1;
            continue;
        }
        truth.reordered += u64::from(number < highest);
        highest = highest.max(number);
        let mut packet = rtp(0, first.wrapping_add(number));
        packet[11] = ssrc;
        call.customer.send_to(&packet, call.there.local).unwrap();
        receive(&call.agent);
    }
    truth
}

pub(crate) fn loss_and_order_are_counted_as_they_were(rig: &mut Rig) {
    let call = rig.call(Family::V4, Family::V4);
    let measured = |rig: &Rig| {
        let quality = rig.stats(&call.there).quality;
        Truth { expected: quality.expected, lost: quality.lost, reordered: quality.reordered }
    };
    let first = send(&call, 1, 1, 1_000);
    assert!(first.lost > 50 && first.reordered > 20, "{first:?}");
    assert_eq!(measured(rig), first);
    // Another source: totals go on, and where the first one stopped is no gap.
    let second = send(&call, 2, 2, 500);
    let both = Truth {
        expected: first.expected + second.expected,
        lost: first.lost + second.lost,
        reordered: first.reordered + second.reordered,
    };
    assert_eq!(measured(rig), both);
    assert_eq!(rig.stats(&call.back).quality.idle, None, "nobody has answered");
    assert!(rig.stats(&call.there).quality.idle.is_some());
}

pub(crate) fn jitter_is_measured_where_the_clock_is_known(rig: &mut Rig) {
    let mut call = rig.call(Family::V6, Family::V6);
    for clock_rate in [0, 8_000] {
        call.there.content.clock_rate = clock_rate;
        rig.put(&call.there);
        // The second packet of a pair is at least 80 ms late.
        for (number, pause) in [(800, 0), (801, 100)] {
            std::thread::sleep(Duration::from_millis(pause));
            let number = number + u16::from(clock_rate != 0) * PAIR_EVERY;
            let mut packet = rtp(0, number);
            packet[4..8].copy_from_slice(&(u32::from(number) * 160).to_be_bytes());
            call.customer.send_to(&packet, call.there.local).unwrap();
            receive(&call.agent);
        }
        let jitter = rig.stats(&call.there).quality.jitter_us;
        if clock_rate == 0 {
            assert_eq!(jitter, 0);
        } else {
            assert!(jitter >= 80_000 - 1, "{jitter} us");
        }
    }
}
