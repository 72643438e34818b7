//! Sound for the peers to send: a tone in G.711 mu-law.

use std::f64::consts::TAU;

/// Samples per second of G.711.
const RATE: u32 = 8000;

/// One second of a tone, in as many bytes as samples; it can be repeated
/// without a click when `hertz` is whole.
#[must_use]
pub fn tone(hertz: u16) -> Vec<u8> {
    (0..RATE)
        .map(|sample| {
            let angle = TAU * f64::from(hertz) * f64::from(sample) / f64::from(RATE);
            #[expect(clippy::cast_possible_truncation, reason = "at most 6000 in magnitude")]
            mu_law((angle.sin() * 6000.0) as i16)
        })
        .collect()
}

/// Compresses one 14-bit sample (ITU-T G.711, table 2a): sign, segment, step,
/// all bits inverted.
fn mu_law(sample: i16) -> u8 {
    const BIAS: u16 = 33;
    const CLIP: u16 = 8158;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs().min(CLIP) + BIAS;
    let segment = u8::try_from(10_u32.saturating_sub(magnitude.leading_zeros())).unwrap_or(7).min(7);
    let step = u8::try_from((magnitude >> (segment + 1)) & 0x0f).unwrap_or(0);
    !(sign | segment << 4 | step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_the_recommendation() {
        // G.711 table 2a: decision values 0, 31, 95 and the positive overload point.
        for (sample, code) in [(0, 0xff), (31, 0xef), (95, 0xdf), (8158, 0x80), (-8158, 0x00)] {
            assert_eq!(mu_law(sample), code, "{sample}");
        }
    }

    #[test]
    fn a_tone_lasts_a_second_and_swings_both_ways() {
        let samples = tone(440);
        assert_eq!(samples.len(), 8000);
        assert!(samples.iter().any(|&code| code & 0x80 == 0) && samples.iter().any(|&code| code & 0x80 != 0));
    }
}
