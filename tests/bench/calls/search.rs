//! Finds the highest rate that is sustained.

use anyhow::{Result, bail};

use crate::trial::Load;

/// Beyond this the peers are the limit on any machine.
const HIGHEST: u32 = 40_000;
const LOWEST: u32 = 20;
/// Halvings of the last interval, whose width is a quarter of the rate.
const STEPS: u32 = 2;

/// The best rate found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Best {
    /// The rate that was asked for.
    pub(crate) rate: u32,
    /// The rate that was reached.
    pub(crate) achieved: f64,
    /// What Vizard's process used.
    pub(crate) cpu_us_per_call: Option<f64>,
}

impl Best {
    /// For the line that tells of it.
    pub(crate) fn cpu(&self) -> String {
        self.cpu_us_per_call.map(|us| format!(", {us:.0} us of processor time per call")).unwrap_or_default()
    }
}

/// Raises the rate until it is not sustained, then closes in on the limit. A
/// rate counts as failed when it fails twice: the machine is not ours alone.
pub(crate) fn highest(first: u32, mut load: impl FnMut(u32) -> Result<Load>) -> Result<Best> {
    let mut attempt = |rate: u32| -> Result<Option<Best>> {
        for _ in 0..2 {
            let load = load(rate)?;
            eprintln!("  {rate} calls/s: {load}");
            if load.sustained() {
                let Load { achieved, cpu_us_per_call, .. } = load;
                return Ok(Some(Best { rate, achieved, cpu_us_per_call }));
            }
        }
        Ok(None)
    };
    let mut rate = first;
    let mut best = loop {
        match attempt(rate)? {
            Some(best) => break best,
            None if rate > LOWEST => rate = rate * 2 / 3,
            None => bail!("not even {rate} calls/s succeed"),
        }
    };
    let mut limit = loop {
        let next = best.rate + best.rate / 4;
        if next > HIGHEST {
            return Ok(best);
        }
        match attempt(next)? {
            Some(better) => best = better,
            None => break next,
        }
    };
    for _ in 0..STEPS {
        let middle = u32::midpoint(best.rate, limit);
        match attempt(middle)? {
            Some(better) => best = better,
            None => limit = middle,
        }
    }
    Ok(best)
}
