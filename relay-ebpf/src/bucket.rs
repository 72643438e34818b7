//! How fast one source may send: token buckets that fit in a cache line of four.
//!
//! A bucket is one word: the moment at which it is full again (the generic cell
//! rate algorithm, which admits exactly what a token bucket does). A packet moves
//! that moment on by its share of a second; it is refused when the moment lies
//! further ahead than a burst is long. So nothing has to be refilled, and a bucket
//! whose moment has passed holds no memory of its source: it is given to another
//! one without forgetting anything.
//!
//! # Collisions
//!
//! A source's tag chooses a set of [`WAYS`] buckets. It uses the one with its
//! tag, else one that is full. When all belong to sources that are busy at this
//! moment, it shares one of theirs, chosen by its tag: the table admits no more
//! in all than its buckets together do, however many addresses a flood invents.
//! The tag is a keyed bijection of the source, so two sources never have the same
//! one, and nobody outside can choose addresses that meet.

use crate::abi::{Address, Family};

/// Buckets of a set: one cache line.
pub const WAYS: usize = 4;

/// One source's bucket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Whose it is.
    pub tag: u64,
    /// When it is full again, in nanoseconds.
    pub full: u64,
}

/// The buckets that the sources of one hash share.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketSet {
    /// The buckets.
    pub ways: [Bucket; WAYS],
}

/// A rate: one packet an interval, and bursts that last for a window.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    interval: u64,
    window: u64,
}

impl Rate {
    /// No limit.
    pub const NONE: Self = Self { interval: 0, window: 0 };

    /// So many packets a second, and `burst` at once. Zero a second is no limit.
    #[must_use]
    pub const fn per_second(packets: u32, burst: u32) -> Self {
        if packets == 0 {
            return Self::NONE;
        }
        let interval = 1_000_000_000 / packets as u64;
        Self { interval, window: interval * (burst as u64).saturating_sub(1) }
    }

    /// When a bucket is full again that takes a packet now; `None` when it is
    /// empty.
    #[inline(always)]
    #[must_use]
    pub const fn take(&self, full: u64, now: u64) -> Option<u64> {
        let ahead = full.saturating_sub(now);
        if ahead > self.window { None } else { Some(now + ahead + self.interval) }
    }
}

/// The bucket that a source uses, and whether it was another's.
#[inline(always)]
#[must_use]
pub fn choose(set: &BucketSet, tag: u64, now: u64) -> (usize, bool) {
    let mut free = None;
    for (way, bucket) in set.ways.iter().enumerate() {
        if bucket.tag == tag {
            return (way, false);
        }
        if bucket.full <= now {
            free = Some(way);
        }
    }
    match free {
        Some(way) => (way, true),
        None => ((tag >> 62) as usize, false),
    }
}

/// What a source is known by: an IPv4 address, or an IPv6 network of 64 bits, since
/// whoever has one address of it has them all.
#[inline(always)]
#[must_use]
pub const fn source(address: &Address, family: Family) -> u64 {
    let [first, second, ..] = address.words();
    match family {
        Family::V4 => first as u64 | (u32::MAX as u64) << 32,
        Family::V6 => first as u64 | (second as u64) << 32,
    }
}

/// The tag of a source: a bijection of it that only who knows the key can
/// compute (the finaliser of `SplitMix64`).
#[inline(always)]
#[must_use]
pub const fn tag(source: u64, key: u64) -> u64 {
    let mut tag = source ^ key;
    tag = (tag ^ (tag >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    tag = (tag ^ (tag >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    tag ^ (tag >> 31)
}

const _: () = assert!(size_of::<BucketSet>() == 64 && WAYS == 4);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A table of one set, as the program and the control plane use it.
    fn admits(set: &mut BucketSet, rate: Rate, tag: u64, now: u64) -> bool {
        let (way, fresh) = choose(set, tag, now);
        let bucket = &mut set.ways[way];
        if fresh {
            *bucket = Bucket { tag, full: 0 };
        }
        rate.take(bucket.full, now).map(|full| bucket.full = full).is_some()
    }

    /// Tokens as a textbook has them.
    #[test]
    fn it_admits_what_a_token_bucket_admits() {
        for (packets, burst) in [(1, 1), (10, 1), (50, 100), (1000, 30)] {
            let rate = Rate::per_second(packets, burst);
            let interval = SECOND / u64::from(packets);
            let (mut set, mut tokens, mut last) = (BucketSet::default(), u64::from(burst) * interval, 0);
            let mut now = SECOND;
            let mut dice = 1_u64;
            for _ in 0..5_000 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                now += (dice >> 33) % (interval * 2);
                tokens = (tokens + (now - last)).min(u64::from(burst) * interval);
                last = now;
                let expected = tokens >= interval;
                if expected {
                    tokens -= interval;
                }
                assert_eq!(admits(&mut set, rate, 7, now), expected, "{packets}/{burst} at {now}");
            }
        }
    }

    #[test]
    fn without_a_rate_everything_is_admitted() {
        let mut set = BucketSet::default();
        assert!((0..1000).all(|_| admits(&mut set, Rate::per_second(0, 0), 7, 5)));
    }

    #[test]
    fn four_busy_sources_do_not_cost_each_other_anything() {
        let (rate, mut set) = (Rate::per_second(10, 5), BucketSet::default());
        for tag in 1..=4 {
            assert!((0..5).all(|_| admits(&mut set, rate, tag, SECOND)), "{tag}");
            assert!(!admits(&mut set, rate, tag, SECOND));
        }
    }

    /// However many addresses come, they get no more than the buckets of the set
    /// together; and once it is quiet, a newcomer has a bucket of its own.
    #[test]
    fn a_flood_from_everywhere_shares_the_set() {
        let (rate, mut set) = (Rate::per_second(10, 5), BucketSet::default());
        let passed = (1..=10_000).filter(|&source| admits(&mut set, rate, tag(source, 9), SECOND)).count();
        assert!((17..=20).contains(&passed), "{passed}");
        let later = SECOND * 3;
        assert!((0..5).all(|_| admits(&mut set, rate, 77, later)));
    }

    #[test]
    fn tags_are_distinct_and_hang_on_the_key() {
        let mut tags: Vec<u64> = (0..10_000).map(|source| tag(source, 3)).collect();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), 10_000);
        assert_ne!(tag(1, 3), tag(1, 4));
    }
}
