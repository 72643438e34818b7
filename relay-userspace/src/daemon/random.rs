//! Where the daemon's random numbers come from: the kernel, once, and a cipher after it.

use anyhow::{Context, bail};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rustix::rand::{GetRandomFlags, getrandom};

/// A source of keys and ids, seeded by the kernel.
pub fn random() -> anyhow::Result<ChaCha20Rng> {
    seed().map(ChaCha20Rng::from_seed)
}

/// What the kernel gives to begin with.
pub(super) fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    let length = getrandom(&mut seed, GetRandomFlags::empty()).context("no random numbers")?;
    // The kernel promises up to 256 bytes in one go.
    if length == seed.len() { Ok(seed) } else { bail!("the kernel gave {length} random bytes, not 32") }
}
