//! Incremental Internet checksum (RFC 1624).
//!
//! A header's checksum is updated from what changed, so that a packet that
//! arrived damaged leaves damaged and its receiver still notices; computing it
//! anew would hide the damage. Values are taken as they stand in memory:
//! one's-complement sums do not depend on byte order (RFC 1071 section 2B), so
//! long as all values are loaded in the same one.

/// An update in progress: RFC 1624, equation 3, `HC' = ~(~HC + ~m + m')`, with
/// all sums deferred and folded once.
#[must_use = "an update does nothing until it is finished"]
#[derive(Clone, Copy, Debug)]
pub struct Update {
    sum: u64,
}

impl Update {
    /// Of nothing yet: a checksum to be computed from all that it covers.
    pub const ANEW: Self = Self { sum: 0 };

    /// Of this checksum, as loaded from the packet.
    #[inline(always)]
    pub const fn of(checksum: u16) -> Self {
        Self { sum: !checksum as u64 }
    }

    /// Of this sum, as [`Self::sum`] gives it.
    #[inline(always)]
    pub const fn of_sum(sum: u64) -> Self {
        Self { sum }
    }

    /// The sum so far.
    #[inline(always)]
    #[must_use]
    pub const fn sum(self) -> u64 {
        self.sum
    }

    /// One or two aligned pairs of bytes more.
    #[inline(always)]
    pub const fn plus(self, value: u32) -> Self {
        Self { sum: self.sum + value as u64 }
    }

    /// One aligned pair of bytes changed.
    #[inline(always)]
    pub const fn word(self, old: u16, new: u16) -> Self {
        Self { sum: self.sum + !old as u64 + new as u64 }
    }

    /// Two aligned pairs of bytes changed.
    #[inline(always)]
    pub const fn double_word(self, old: u32, new: u32) -> Self {
        Self { sum: self.sum + !old as u64 + new as u64 }
    }

    /// What another one changed too.
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self { sum: self.sum + other.sum }
    }

    /// The new checksum.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "folded to sixteen bits")]
    pub const fn finish(self) -> u16 {
        let sum = (self.sum >> 32) + (self.sum & 0xffff_ffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        !(sum as u16)
    }

    /// The new checksum of UDP, where zero means that there is none and a sum
    /// of zero is sent as its other representation (RFC 768).
    #[inline(always)]
    #[must_use]
    pub const fn finish_udp(self) -> u16 {
        let checksum = self.finish();
        if checksum == 0 { 0xffff } else { checksum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checksum of 16-bit words, computed anew (RFC 1071).
    fn whole(words: &[u16]) -> u16 {
        let mut sum: u32 = words.iter().map(|&word| u32::from(word)).sum();
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        !u16::try_from(sum).unwrap()
    }

    /// RFC 1624 section 4: the example on which RFC 1141's equation fails.
    #[test]
    fn the_example_of_rfc_1624() {
        assert_eq!(Update::of(0xdd2f).word(0x5555, 0x3285).finish(), 0x0000);
    }

    /// RFC 1624 section 3: an unchanged packet keeps its checksum, `0x0000` included.
    #[test]
    fn no_change_changes_nothing() {
        for checksum in 0..u16::MAX {
            assert_eq!(Update::of(checksum).word(0x1234, 0x1234).finish(), checksum);
        }
    }

    #[test]
    fn every_word_agrees_with_computing_anew() {
        // The first word is never zero in an IP header (version) nor in a UDP
        // pseudo-header (protocol), which is what makes equation 3 exact.
        for old in (0..=u16::MAX).step_by(251).chain([0, 1, 0xfffe, 0xffff]) {
            for new in (0..=u16::MAX).step_by(257).chain([0, 1, 0xfffe, 0xffff]) {
                let before = whole(&[0x4500, old, 0xbeef]);
                assert_eq!(Update::of(before).word(old, new).finish(), whole(&[0x4500, new, 0xbeef]));
            }
        }
    }

    #[test]
    fn parts_of_an_update_are_the_update() {
        let words = [(0x5555, 0x3285), (0xffff, 0), (0, 0xffff)];
        let whole = words.iter().fold(Update::of(0xdd2f), |sum, &(old, new)| sum.word(old, new));
        let part = words.iter().fold(Update::ANEW, |sum, &(old, new)| sum.and(Update::ANEW.word(old, new)));
        assert_eq!(Update::of(0xdd2f).and(part).finish(), whole.finish());
    }

    #[test]
    fn double_words_agree_with_computing_anew() {
        let edges = [0, 1, 0xffff, 0x1_0000, 0xffff_0000, 0xffff_ffff, 0xc000_0201, 0x0a00_0001];
        for old in edges {
            for new in edges {
                let halves =
                    |value: u32| [value >> 16, value & 0xffff].map(|half| u16::try_from(half).unwrap());
                let [a, b] = halves(old);
                let [c, d] = halves(new);
                let before = whole(&[0x4500, a, b, 0xbeef]);
                let after = whole(&[0x4500, c, d, 0xbeef]);
                assert_eq!(Update::of(before).double_word(old, new).finish(), after, "{old:08x} {new:08x}");
            }
        }
    }

    #[test]
    fn many_changes_at_once_do_not_overflow() {
        let mut words = vec![0x4500_u16];
        words.extend(std::iter::repeat_n(0_u16, 40));
        let mut update = Update::of(whole(&words));
        for word in words.iter_mut().skip(1) {
            update = update.word(*word, 0xffff);
            *word = 0xffff;
        }
        assert_eq!(update.finish(), whole(&words));
    }

    #[test]
    fn a_sum_of_all_words_is_the_checksum() {
        let words = [0x4500, 0x00c8, 0x0000, 0x4000, 0x3f11, 0xcb00, 0x7109, 0xffff];
        let sum = words.iter().fold(Update::ANEW, |sum, &word| sum.plus(word.into()));
        assert_eq!(sum.finish(), whole(&words));
        let pairs = words
            .chunks(2)
            .fold(Update::ANEW, |sum, pair| sum.plus(u32::from(pair[0]) << 16 | u32::from(pair[1])));
        assert_eq!(pairs.finish(), whole(&words));
    }

    /// Between the families the pseudo-header changes its length, and words
    /// that one of them has not count as zeros.
    #[test]
    fn words_that_come_and_go_agree_with_computing_anew() {
        let (v4, v6) = ([0xc000, 0x0201], [0x2001, 0x0db8, 0, 0, 0, 0, 0xffff, 0x0009]);
        let rest = [0x0011, 0x00b4, 0x1234];
        let v4_sum = whole(&[&v4[..], &rest].concat());
        let v6_sum = whole(&[&v6[..], &rest].concat());
        let pair = |words: &[u16], at: usize| {
            u32::from(*words.get(at).unwrap_or(&0)) << 16 | u32::from(*words.get(at + 1).unwrap_or(&0))
        };
        let change = |checksum, old: &[u16], new: &[u16]| {
            [0, 2, 4, 6]
                .iter()
                .fold(Update::of(checksum), |sum, &at| sum.double_word(pair(old, at), pair(new, at)))
                .finish()
        };
        assert_eq!(change(v4_sum, &v4, &v6), v6_sum);
        assert_eq!(change(v6_sum, &v6, &v4), v4_sum);
    }

    #[test]
    fn udp_never_ends_in_zero() {
        assert_eq!(Update::of(0xdd2f).word(0x5555, 0x3285).finish_udp(), 0xffff);
    }
}
