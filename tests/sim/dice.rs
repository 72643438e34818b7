//! Seeded chance. Every part of a world rolls dice of its own, so that a
//! change in one part leaves the others' rolls alone.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of chance that follows from a seed and a name.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream called `name` of a world's seed.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        for (byte, letter) in bytes[8..].iter_mut().zip(name.bytes()) {
            *byte = letter;
        }
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// True in `permille` of a thousand rolls.
    pub(crate) fn chance(&mut self, permille: u32) -> bool {
        self.0.random_range(0..1000) < permille
    }

    /// At least `from`, less than `to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0.random_range(from..to.max(from + 1))
    }

    /// An index below `length`.
    pub(crate) fn below(&mut self, length: usize) -> usize {
        self.0.random_range(0..length.max(1))
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// A delay in milliseconds, at least `from` and less than `to`.
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(self.between(from * 1000, to * 1000))
    }

    /// Any byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.0.random()
    }

    /// Sixteen hexadecimal digits.
    pub(crate) fn token(&mut self) -> String {
        format!("{:016x}", self.0.random::<u64>())
    }

    /// Thirty-two bytes for the engine's own seed.
    pub(crate) fn seed(&mut self) -> [u8; 32] {
        self.0.random()
    }
}
