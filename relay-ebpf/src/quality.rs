//! How well a stream arrives, counted packet by packet (RFC 3550 section 6.4.1
//! and appendix A).
//!
//! Sequence numbers tell what was lost and reordered. A series of them begins
//! with a source and ends when another one comes (SSRC), or when the numbers
//! jump for good (appendix A.1): totals go on, the numbers begin anew.
//!
//! Jitter is that of appendix A.8, in time instead of ticks, so that it means the
//! same whatever the clock, and measured on pairs: a packet whose sequence number
//! is a multiple of [`PAIR_EVERY`], and the one right after it. Only for these is the
//! clock read and more of the record touched than [`follows`] asks for, since either
//! can cost as much as all else that is done for a packet. The first [`MEAN`] pairs of
//! a series count alike, so that a short call has its jitter too; from then on each
//! weighs as the appendix has it. A
//! packet that shares its timestamp with the one before it (the frames of a video
//! picture, the updates of an RFC 4733 event), or was sent long after it (speech
//! after an event or a silence), says nothing of a pace.
//!
//! A flow has one source, whose packets a network card gives to one queue, so one
//! CPU counts. Where a queue is moved while packets are under way, two may count
//! at once: every field is a word that is written whole and any value of which
//! means something, so what such a race costs is a packet more or less in a total.
//! Totals wrap after four billion packets, which is years of a call.

/// The distance of the pairs on which jitter is measured; a power of two.
pub const PAIR_EVERY: u16 = 32;

/// Pairs until the filter of appendix A.8, whose weight is one in so many, takes over
/// from their mean.
const MEAN: u16 = 16;

/// The longest time between two packets of one pace, in nanoseconds: the longest
/// packets are Opus's of 120 ms.
const LONGEST_PACE: u64 = 120_000_000;

/// RFC 3550 appendix A.1: the largest gap within a series, and how late a packet
/// may come.
const MAX_DROPOUT: u16 = 3_000;
const MAX_MISORDER: u16 = 100;

/// What a packet's RTP header says of its place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The source; only compared, so in whatever byte order.
    pub ssrc: u32,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp.
    pub timestamp: u32,
}

/// Where a series is.
#[derive(Debug)]
pub struct Latest<'a> {
    /// Its source.
    pub ssrc: &'a mut u32,
    /// The highest sequence number.
    pub highest: &'a mut u16,
}

/// Whether a packet is but the next one of a series, and of no pair: nearly all are. It
/// then is the latest, one packet more was expected, and nothing else changes.
#[inline(always)]
#[must_use]
pub const fn follows(ssrc: u32, highest: u16, place: Place) -> bool {
    // After none, which looks like number zero, comes one of a pair at best.
    place.ssrc == ssrc && place.sequence.wrapping_sub(highest) == 1 && place.sequence & (PAIR_EVERY - 1) > 1
}

/// What else is known of a series, and totals that only grow: few packets change it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Packets that the sequence numbers say were sent, but those that [`follows`] tells.
    pub expected: u32,
    /// Of all that were sent, those that did not come, less those that came twice: as a
    /// signed number.
    pub lost: u32,
    /// Packets that came after one with a higher number.
    pub reordered: u32,
    /// The number that makes a jump a new series (`bad_seq` of appendix A.1).
    restart: u16,
    /// Pairs of this series, up to [`MEAN`].
    pairs: u16,
    /// In sixteenths of [`UNIT`].
    jitter: u32,
    /// When the first packet of the last pair came, and its timestamp.
    arrival: u32,
    timestamp: u32,
}

/// A flow's whole record, where it stands in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// The source.
    pub ssrc: u32,
    /// The highest sequence number.
    pub highest: u16,
    /// All else; here of every packet.
    pub record: Record,
}

impl Series {
    /// As [`Record::count`].
    pub fn count(&mut self, place: Place, tick: u32, clock: impl FnOnce() -> u64) -> Option<u64> {
        let latest = Latest { ssrc: &mut self.ssrc, highest: &mut self.highest };
        self.record.count(latest, place, tick, clock)
    }

    /// Packets that came, those that came twice counted twice.
    #[must_use]
    pub const fn received(&self) -> u32 {
        self.record.expected.wrapping_sub(self.record.lost)
    }
}

impl Record {
    /// Counts a packet. `clock` gives nanoseconds since whenever, and is asked for
    /// the first of a series and for pairs; `tick` is how many of them one of the
    /// timestamp is, zero where that is not known. Returns the time if it was asked for.
    #[inline(always)]
    pub fn count(
        &mut self,
        latest: Latest<'_>,
        place: Place,
        tick: u32,
        clock: impl FnOnce() -> u64,
    ) -> Option<u64> {
        let Place { ssrc, sequence, .. } = place;
        let Latest { ssrc: source, highest } = latest;
        let ahead = sequence.wrapping_sub(*highest);
        let begins = if ssrc != *source || self.expected == 0 {
            *source = ssrc;
            self.jitter = 0;
            self.pairs = 0;
            true
        } else if ahead.wrapping_sub(1) < MAX_DROPOUT - 1 {
            self.expected = self.expected.wrapping_add(ahead.into());
            self.lost = self.lost.wrapping_add(u32::from(ahead) - 1);
            false
        } else if ahead == 0 {
            self.lost = self.lost.wrapping_sub(1);
            return None;
        } else if ahead > u16::MAX - MAX_MISORDER {
            self.lost = self.lost.wrapping_sub(1);
            self.reordered = self.reordered.wrapping_add(1);
            return None;
        } else if sequence == self.restart {
            true
        } else {
            self.restart = sequence.wrapping_add(1);
            return None;
        };
        *highest = sequence;
        if begins {
            self.expected = self.expected.wrapping_add(1);
        } else if sequence & (PAIR_EVERY - 1) > 1 {
            return None;
        }
        let now = clock();
        self.pace(place, if begins { 0 } else { ahead }, tick, now);
        Some(now)
    }

    /// Takes the time of a packet of a pair, `ahead` of the one before it. Appendix
    /// A.8: how much further apart two packets came than they were sent.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "differences are all that counts, and they wrap")]
    fn pace(&mut self, place: Place, ahead: u16, tick: u32, now: u64) {
        let now = now as u32;
        if place.sequence & (PAIR_EVERY - 1) == 0 {
            self.arrival = now;
            self.timestamp = place.timestamp;
            return;
        }
        let ticks = place.timestamp.wrapping_sub(self.timestamp);
        let sent = u64::from(ticks) * u64::from(tick);
        if ahead == 1 && sent != 0 && sent <= LONGEST_PACE {
            let late = now.wrapping_sub(self.arrival).wrapping_sub(sent as u32);
            let difference = difference(late) / UNIT;
            if self.pairs < MEAN {
                self.pairs += 1;
                self.jitter = averaged(self.jitter, difference, self.pairs);
            } else {
                self.jitter = filtered(self.jitter, difference);
            }
        }
    }

    /// The jitter in microseconds.
    #[must_use]
    pub const fn jitter_us(&self) -> u32 {
        self.jitter / (16 * 1_000 / UNIT)
    }
}

/// What jitter is counted in, in nanoseconds: a power of two, since a division
/// costs, that lets the sixteenths of two seconds fit a word.
const UNIT: u32 = 64;

/// The absolute value of what wrapped around below zero.
#[inline(always)]
const fn difference(late: u32) -> u32 {
    if late > u32::MAX / 2 { late.wrapping_neg() } else { late }
}

/// RFC 3550 appendix A.8: jitter in sixteenths, with one more difference.
#[inline(always)]
const fn filtered(jitter: u32, difference: u32) -> u32 {
    jitter.wrapping_add(difference).wrapping_sub(jitter.wrapping_add(8) >> 4)
}

/// The mean of `count` differences, in sixteenths, with this one as the last of them.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "a mean is no more than the largest of what it is of")]
const fn averaged(jitter: u32, difference: u32, count: u16) -> u32 {
    let before = jitter as u64 * (count as u64 - 1);
    ((before + 16 * difference as u64) / count as u64) as u32
}

/// Nanoseconds per tick of a clock of this rate; zero when it is unknown, or
/// ticks more slowly than a media clock can.
#[must_use]
pub const fn nanoseconds_per_tick(rate: u32) -> u32 {
    if rate < 1_000 { 0 } else { 1_000_000_000 / rate }
}

#[cfg(test)]
mod tests;
