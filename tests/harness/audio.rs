//! Sound for the peers to send, and what of it arrived: G.711 mu-law, and WAV files
//! for phones that speak it themselves.

use std::f64::consts::TAU;
use std::path::Path;

use anyhow::{Context, Result, ensure};

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

/// A sweep over the telephone's band, unlike any other part of itself, of samples
/// that G.711 keeps exactly: whoever decodes it has these very values. None is zero,
/// for which some decoders say two.
#[must_use]
pub fn sweep(seconds: u16, from_hertz: u16, to_hertz: u16) -> Vec<i16> {
    let (from, to, seconds) = (f64::from(from_hertz), f64::from(to_hertz), f64::from(seconds));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds times 8000")]
    let samples = (seconds * f64::from(RATE)) as u32;
    (0..samples)
        .map(|sample| {
            let time = f64::from(sample) / f64::from(RATE);
            let cycles = from * time + (to - from) * time * time / (2.0 * seconds);
            #[expect(clippy::cast_possible_truncation, reason = "at most 6000 in magnitude")]
            match expand(mu_law(((TAU * cycles).sin() * 6000.0) as i16)) {
                0 => expand(mu_law(2)),
                sample => sample,
            }
        })
        .collect()
}

/// Where in `sent` the longest run of samples in `heard` that are the same, one
/// after the other, begins and how long it is.
#[must_use]
pub fn longest_run(sent: &[i16], heard: &[i16]) -> Run {
    /// Enough to know a place of a sweep by.
    const KEY: usize = 160;
    let mut longest = Run { sent: 0, heard: 0, length: 0 };
    let mut at = 0;
    while at + KEY <= heard.len() {
        let key = &heard[at..at + KEY];
        let is_sound = key.iter().any(|sample| *sample != key[0]);
        let found = is_sound.then(|| sent.windows(KEY).position(|window| window == key)).flatten();
        let Some(start) = found else {
            at += 1;
            continue;
        };
        let same = sent[start..].iter().zip(&heard[at..]).take_while(|(sent, heard)| sent == heard).count();
        if same > longest.length {
            longest = Run { sent: start, heard: at, length: same };
        }
        at += same;
    }
    longest
}

/// Samples that are the same in two recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where they begin in what was sent.
    pub sent: usize,
    /// Where they begin in what was heard.
    pub heard: usize,
    /// How many there are.
    pub length: usize,
}

/// Writes telephone sound of one channel into a WAV file.
pub fn write_wav(path: &Path, samples: &[i16]) -> Result<()> {
    let format = hound::WavSpec {
        channels: 1,
        sample_rate: RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let write = || {
        let mut file = hound::WavWriter::create(path, format)?;
        samples.iter().try_for_each(|sample| file.write_sample(*sample))?;
        file.finalize()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Reads telephone sound of one channel from a WAV file.
pub fn read_wav(path: &Path) -> Result<Vec<i16>> {
    let mut file = hound::WavReader::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let format = file.spec();
    ensure!(
        (format.channels, format.sample_rate, format.bits_per_sample) == (1, RATE, 16),
        "{} is no telephone sound: {format:?}",
        path.display()
    );
    let samples: std::result::Result<Vec<i16>, _> = file.samples().collect();
    samples.with_context(|| format!("cannot read {}", path.display()))
}

/// Expands a code to the 16-bit sample that stands for it.
fn expand(code: u8) -> i16 {
    let code = !code;
    let magnitude = ((i16::from(code & 0x0f) << 3) + 0x84) << ((code >> 4) & 7);
    if code & 0x80 == 0 { magnitude - 0x84 } else { 0x84 - magnitude }
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
    #[test]
    fn a_sample_of_a_sweep_is_its_own_code() {
        for code in 0..=u8::MAX {
            // Two codes stand for zero.
            if code != 0x7f {
                assert_eq!(mu_law(expand(code) >> 2), code, "{code:#x}");
            }
        }
    }

    #[test]
    fn a_run_ends_at_a_gap() {
        let sent = sweep(2, 300, 3000);
        let mut heard = vec![0; 777];
        heard.extend(&sent[160..]);
        assert_eq!(longest_run(&sent, &heard), Run { sent: 160, heard: 777, length: 16_000 - 160 });
        heard.drain(2000..2160);
        assert_eq!(longest_run(&sent, &heard).length, heard.len() - 2000);
        heard[9000] += 16;
        assert_eq!(longest_run(&sent, &heard).length, heard.len() - 9001);
    }
}
