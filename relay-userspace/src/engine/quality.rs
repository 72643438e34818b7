//! What a listener would make of a stream: the E-model of ITU-T G.107 with
//! what a relay can see.
//!
//! The model rates a connection from 0 to 100 and subtracts an impairment for
//! everything that disturbs it. With all its other parameters at their defaults
//! (G.107 table 3) what is left is `R = 93.2 - Id - Ie,eff`: delay, and what the
//! codec makes of lost packets. Two things cannot be seen from here. How long
//! packets were under way before they reached us is not in them, so delay is
//! what a receiver must add by buffering to absorb their jitter. And whether
//! losses come in bursts is not counted, so they are taken as independent.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::flow::Quality;

/// The codec of a stream, as far as its tolerance of loss is known (ITU-T
/// G.113 appendix I).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// G.711, with a receiver that conceals losses (G.711 appendix I).
    G711,
    /// G.729 and its annexes A and B.
    G729,
    /// Opus. Its fullband rating is on another scale (G.107.2): on this one it
    /// begins where G.711 does, and its concealment is taken to be as good.
    Opus,
    /// Any other: an impairment like that of the GSM enhanced full rate codec,
    /// which is in the middle of the field.
    #[default]
    Other,
}

impl Codec {
    /// By the encoding name of an SDP `rtpmap` (RFC 8866), in any case.
    #[must_use]
    pub fn from_encoding(name: &str) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("PCMU") || is("PCMA") {
            Self::G711
        } else if is("G729") {
            Self::G729
        } else if is("opus") {
            Self::Opus
        } else {
            Self::Other
        }
    }

    /// By a payload type that needs no `rtpmap` (RFC 3551 section 6).
    #[must_use]
    pub const fn from_static(payload_type: u8) -> Self {
        match payload_type {
            0 | 8 => Self::G711,
            18 => Self::G729,
            _ => Self::Other,
        }
    }

    /// Impairment without loss (`Ie`), and robustness against loss (`Bpl`).
    const fn impairment(self) -> (f64, f64) {
        match self {
            Self::G711 | Self::Opus => (0.0, 25.1),
            Self::G729 => (11.0, 19.0),
            Self::Other => (5.0, 10.0),
        }
    }
}

/// A mean opinion score as the E-model estimates it, from 1.0 to 4.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mos(u16);

impl Mos {
    /// Of a stream with this codec; `None` when nothing arrived, which no
    /// score describes.
    #[must_use]
    pub fn estimate(quality: &Quality, codec: Codec) -> Option<Self> {
        (quality.expected > 0).then(|| Self::of_rating(rating(quality, codec)))
    }

    /// Of what [`Self::hundredths`] gave; `None` when it is off the scale.
    #[must_use]
    pub fn from_hundredths(hundredths: u16) -> Option<Self> {
        (100..=450).contains(&hundredths).then_some(Self(hundredths))
    }

    /// In hundredths: 100 to 450.
    #[must_use]
    pub const fn hundredths(self) -> u16 {
        self.0
    }

    /// G.107 annex B.
    fn of_rating(rating: f64) -> Self {
        let score = match rating {
            r if r <= 0.0 => 1.0,
            r if r >= 100.0 => 4.5,
            r => 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6,
        };
        // For ratings under 6.5 the polynomial dips below its own lower end.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1.0 to 4.5")]
        Self((score.max(1.0) * 100.0).round() as u16)
    }
}

impl fmt::Display for Mos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// `R` of G.107.
fn rating(quality: &Quality, codec: Codec) -> f64 {
    93.2 - delay_impairment(buffer_ms(quality)) - loss_impairment(loss_percent(quality), codec)
}

/// What a receiver's buffer adds: twice the jitter holds nearly every packet
/// that comes late.
fn buffer_ms(quality: &Quality) -> f64 {
    f64::from(quality.jitter_us) * 2.0 / 1000.0
}

/// Duplicates may have made up for losses, but never for more than there were.
#[allow(clippy::cast_precision_loss, reason = "a share of packets is wanted, not their number")]
fn loss_percent(quality: &Quality) -> f64 {
    quality.lost.min(quality.expected) as f64 * 100.0 / quality.expected.max(1) as f64
}

/// `Id` in the piecewise linear form that fits G.107 for delays under 400 ms
/// (Cole and Rosenbluth, "Voice over IP performance monitoring", 2001).
fn delay_impairment(ms: f64) -> f64 {
    0.024 * ms + 0.11 * (ms - 177.3).max(0.0)
}

/// `Ie,eff` of G.107 section 7.5, for independent losses (`BurstR` = 1).
fn loss_impairment(percent: f64, codec: Codec) -> f64 {
    let (impairment, robustness) = codec.impairment();
    impairment + (95.0 - impairment) * percent / (percent + robustness)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality(expected: u64, lost: u64, jitter_us: u32) -> Quality {
        Quality { expected, lost, jitter_us, ..Quality::default() }
    }

    /// G.107 table B.1: the lower limits of R by user satisfaction, and their
    /// scores, which it rounds up or down by one hundredth.
    #[test]
    fn scores_of_ratings_are_those_of_table_b1() {
        for (rating, score) in [(90.0, 434), (80.0, 403), (70.0, 360), (60.0, 310), (50.0, 258)] {
            assert!(Mos::of_rating(rating).hundredths().abs_diff(score) <= 1, "R = {rating}");
        }
    }

    #[test]
    fn scores_never_leave_their_scale() {
        for tenths in -500..=1500_i32 {
            let score = Mos::of_rating(f64::from(tenths) / 10.0).hundredths();
            assert!((100..=450).contains(&score), "R = {tenths}/10: {score}");
        }
    }

    /// G.113 appendix I, edition of 2002: tables of measured impairments, which
    /// the two parameters of each codec approximate.
    #[test]
    fn impairments_are_those_of_g113() {
        let g729 =
            [(0.0, 11.0), (1.0, 15.0), (2.0, 19.0), (3.0, 23.0), (4.0, 26.0), (8.0, 36.0), (16.0, 49.0)];
        let g711 = [(0.0, 0.0), (1.0, 5.0), (2.0, 7.0), (3.0, 10.0), (5.0, 15.0), (7.0, 20.0), (10.0, 25.0)];
        for (codec, table) in [(Codec::G729, g729), (Codec::G711, g711)] {
            for (percent, published) in table {
                let computed = loss_impairment(percent, codec);
                assert!((computed - published).abs() < 2.1, "{codec:?} at {percent} %: {computed}");
            }
        }
    }

    #[test]
    fn an_undisturbed_stream_has_the_score_of_its_codec() {
        for (codec, score) in [(Codec::G711, "4.41"), (Codec::Opus, "4.41"), (Codec::G729, "4.10")] {
            let estimate = Mos::estimate(&quality(1000, 0, 0), codec).unwrap();
            assert_eq!(estimate.to_string(), score, "{codec:?}");
        }
    }

    #[test]
    fn more_loss_or_jitter_never_sounds_better() {
        for codec in [Codec::G711, Codec::G729, Codec::Opus, Codec::Other] {
            let scores = |of: &dyn Fn(u32) -> Quality| {
                let all: Vec<_> = (0..=1000).map(|n| Mos::estimate(&of(n), codec).unwrap()).collect();
                assert!(all.is_sorted_by(|before, after| before >= after), "{codec:?}");
                (all[0], all[1000])
            };
            let (best, worst) = scores(&|lost| quality(1000, lost.into(), 0));
            assert!(best.hundredths() > 400 && worst.hundredths() < 150, "{codec:?}: {best} {worst}");
            let (best, worst) = scores(&|ms| quality(1000, 0, ms * 1000));
            assert!(best > worst, "{codec:?}");
        }
    }

    #[test]
    fn what_never_came_has_no_score() {
        assert_eq!(Mos::estimate(&Quality::default(), Codec::G711), None);
        let more_lost_than_sent = quality(10, u64::MAX, u32::MAX);
        assert_eq!(Mos::estimate(&more_lost_than_sent, Codec::G711).unwrap().to_string(), "1.00");
    }

    #[test]
    fn codecs_are_known_by_encoding_and_by_static_type() {
        for (name, codec) in
            [("pcmu", Codec::G711), ("PCMA", Codec::G711), ("G729", Codec::G729), ("opus", Codec::Opus)]
        {
            assert_eq!(Codec::from_encoding(name), codec);
        }
        assert_eq!(Codec::from_encoding("telephone-event"), Codec::Other);
        assert_eq!([0, 8, 18, 9, 96].map(Codec::from_static)[..3], [Codec::G711, Codec::G711, Codec::G729]);
        assert_eq!(Codec::from_static(96), Codec::Other);
    }
}
