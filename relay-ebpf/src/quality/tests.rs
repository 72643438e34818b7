//! The record against a model that keeps every packet that it saw.

use proptest::prelude::*;

use super::*;

/// What a packet of a 20 ms, 8 kHz stream says.
fn place(sequence: u16) -> Place {
    Place { ssrc: 7, sequence, timestamp: u32::from(sequence) * 160 }
}

fn feed(sequences: impl IntoIterator<Item = u16>) -> Series {
    let mut series = Series::default();
    for sequence in sequences {
        series.count(place(sequence), 125_000, || 0);
    }
    series
}

fn totals(series: &Series) -> (u32, i32, u32) {
    (series.record.expected, series.record.lost.cast_signed(), series.record.reordered)
}

#[test]
fn a_whole_stream_loses_nothing_across_the_wrap() {
    let series = feed((0..200_u16).map(|n| n.wrapping_add(65_450)));
    assert_eq!(totals(&series), (200, 0, 0));
}

#[test]
fn gaps_are_lost_until_late_packets_fill_them() {
    assert_eq!(totals(&feed([1, 2, 5])), (5, 2, 0));
    assert_eq!(totals(&feed([1, 2, 5, 4])), (5, 1, 1));
    assert_eq!(totals(&feed([1, 2, 5, 4, 3])), (5, 0, 2));
    assert_eq!(totals(&feed([1, 2, 2])), (2, -1, 0), "a duplicate makes up for a loss (RFC 3550 A.3)");
}

#[test]
fn a_jump_for_good_begins_a_new_series_and_keeps_the_totals() {
    let old = [100, 101, 104];
    assert_eq!(totals(&feed(old.into_iter().chain([40_000]))), (5, 2, 0), "one stray packet is no series");
    assert_eq!(totals(&feed(old.into_iter().chain([40_000, 105]))), (6, 2, 0), "the old one goes on");
    assert_eq!(totals(&feed(old.into_iter().chain([40_000, 40_001, 40_003]))), (8, 3, 0));
}

#[test]
fn another_source_begins_a_new_series_and_keeps_the_totals() {
    let mut series = feed([100, 101, 104]);
    let other = |sequence| Place { ssrc: 8, ..place(sequence) };
    series.count(other(9), 125_000, || 0);
    series.count(other(11), 125_000, || 0);
    assert_eq!(totals(&series), (8, 3, 0));
}

/// Packets that come after these nanoseconds, each a tick of 20 ms after the last.
fn paced(arrivals: &[i64], rate: u32, sequence: impl Fn(u16) -> u16) -> Series {
    let mut series = Series::default();
    for (n, at) in (0..).zip(arrivals) {
        let n = sequence(n);
        let timestamp = u32::from(n).wrapping_mul(rate / 50).wrapping_add(u32::MAX - 1_000);
        let place = Place { ssrc: 7, sequence: n.wrapping_add(65_280), timestamp };
        series.count(place, nanoseconds_per_tick(rate), || at.unsigned_abs());
    }
    series
}

/// Packets every 20 ms, each up to 5 ms late.
fn disturbed(packets: u16) -> Vec<i64> {
    let mut noise = 12_345_u64;
    let late = |n: u16| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::from(n) * 20_000_000 + i64::try_from(noise >> 33).unwrap() % 5_000_000
    };
    (0..packets).map(late).collect()
}

/// Appendix A.8 in floating point over all pairs, in microseconds, which begins with the
/// mean. The first sequence number is a multiple of their distance.
#[allow(clippy::cast_precision_loss, reason = "less than a microsecond")]
fn model(arrivals: &[i64]) -> f64 {
    let late = |pair: &[i64]| (pair[1] - pair[0] - 20_000_000).abs() as f64 / 1_000.0;
    let pairs = (1..).zip(arrivals.chunks(PAIR_EVERY.into()));
    pairs.fold(0.0, |jitter, (count, pair)| jitter + (late(pair) - jitter) / f64::from(count.min(16)))
}

#[test]
fn jitter_is_that_of_appendix_a8() {
    // A second, within the mean, and some minutes.
    for packets in [50, 300, 16_000] {
        let arrivals = disturbed(packets);
        let model = model(&arrivals);
        for rate in [8_000, 16_000, 48_000, 90_000] {
            let measured = f64::from(paced(&arrivals, rate, |n| n).record.jitter_us());
            assert!((measured - model).abs() < 3.0 && model > 100.0, "{rate} Hz: {measured} us, not {model}");
        }
    }
}

#[test]
fn packets_out_of_order_disturb_no_pace() {
    let steady: Vec<_> = (0..2_000).map(|n| n * 20_000_000).collect();
    let series = paced(&steady, 8_000, |n| match n % 40 {
        8 | 20 => n + 1,
        9 | 21 => n - 1,
        _ => n,
    });
    assert_eq!((totals(&series), series.record.jitter_us()), ((2_000, 0, 100), 0));
}

#[test]
fn a_steady_stream_has_no_jitter_whatever_its_clock() {
    let arrivals: Vec<_> = (0..400).map(|n| n * 20_000_000).collect();
    for rate in [8_000, 16_000, 44_100, 48_000, 90_000] {
        let jitter = paced(&arrivals, rate, |n| n).record.jitter_us();
        assert!(jitter <= 1, "{rate} Hz: {jitter} us");
    }
}

#[test]
fn without_a_pace_there_is_no_jitter() {
    let count = |timestamp: fn(u16) -> u32, nanoseconds| {
        let mut series = Series::default();
        for n in 0..100 {
            let place = Place { timestamp: timestamp(n), ..place(n) };
            series.count(place, nanoseconds, || u64::from(n) * 1_000_000);
        }
        series.record.jitter_us()
    };
    assert_eq!(count(|_| 1_000, 125_000), 0, "one timestamp for all: an event");
    assert_eq!(count(|n| u32::from(n) * 160, 0), 0, "an unknown clock");
    assert_ne!(count(|n| u32::from(n) * 160, 125_000), 0);
}

/// Speech, an event of half a second whose packets share a timestamp, speech.
#[test]
fn an_event_disturbs_no_pace() {
    let mut series = Series::default();
    for n in 0..100_u16 {
        let timestamp = match n {
            40..65 => 40 * 160,
            n => u32::from(n) * 160,
        };
        series.count(Place { timestamp, ..place(n) }, 125_000, || u64::from(n) * 20_000_000);
    }
    assert_eq!((series.record.jitter_us(), totals(&series)), (0, (100, 0, 0)));
}

#[test]
fn another_source_brings_its_own_jitter() {
    let mut series = paced(&disturbed(200), 8_000, |n| n);
    assert!(series.record.jitter_us() > 500);
    for n in 0..20 {
        series.count(Place { ssrc: 8, ..place(n) }, 125_000, || u64::from(n) * 20_000_000);
    }
    assert_eq!(series.record.jitter_us(), 0);
}

#[test]
fn the_clock_is_read_for_pairs_alone() {
    let mut series = Series::default();
    let mut reads = 0;
    for n in 0..PAIR_EVERY * 10 {
        series.count(place(n), 125_000, || {
            reads += 1;
            0
        });
    }
    assert_eq!(reads, 20);
}

#[test]
fn a_tick_has_the_nanoseconds_of_its_rate() {
    assert_eq!([8_000, 48_000, 90_000, 0, 999].map(nanoseconds_per_tick), [125_000, 20_833, 11_111, 0, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What is counted the short way is counted as the long way would have.
    #[test]
    fn a_packet_that_follows_is_counted_as_any_other(
        steps in prop::collection::vec((prop_oneof![6 => Just(1_u16), 1 => Just(0), 1 => any::<u16>()], 0..20_u8), 1..200),
    ) {
        let mut series = Series::default();
        let mut sequence = 65_500_u16;
        for (step, other) in steps {
            sequence = sequence.wrapping_add(step);
            let place = Place { ssrc: u32::from(other == 0), ..place(sequence) };
            let before = series;
            let asked = series.count(place, 125_000, || 0);
            if follows(before.ssrc, before.highest, place) {
                let expected = before.record.expected.wrapping_add(1);
                let shortened = Series {
                    highest: sequence,
                    record: Record { expected, ..before.record },
                    ..before
                };
                prop_assert_eq!((shortened, asked), (series, None));
            }
        }
    }

    /// Loss, duplication and reordering within what a series allows: extended
    /// numbers, kept in a set, say the same.
    #[test]
    fn totals_are_those_of_a_model_that_remembers_everything(
        start in any::<u16>(),
        steps in prop::collection::vec((0..20_u32, 0..60_u32, any::<bool>()), 1..400),
    ) {
        let mut series = Series::default();
        let (mut next, mut highest, mut received, mut late) = (u32::from(start) + 65_536, 0, 0, 0);
        let first = next;
        for (skip, back, reorder) in steps {
            let extended = if reorder && next > first + back { next - back } else { next + skip };
            received += 1;
            late += u32::from(extended < highest);
            highest = highest.max(extended);
            next = next.max(extended + 1);
            series.count(place(u16::try_from(extended & 0xffff).unwrap()), 125_000, || 0);
        }
        // The first packet may itself have come after a skip; the series starts with it.
        let expected = series.record.expected;
        prop_assert_eq!(totals(&series), (expected, expected.wrapping_sub(received).cast_signed(), late));
        prop_assert!(highest - first < expected + 20 && expected <= highest - first + 1);
    }
}
