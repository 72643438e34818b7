//! Finds the highest rate that passes without loss.

use std::time::Duration;

use anyhow::Result;

use crate::stage::{Relay, Stage};
use crate::traffic::{Burst, Clock};

/// Loss below this counts as none.
const LOSS: f64 = 0.001;
const TRIAL: Duration = Duration::from_millis(250);
/// Halvings of the interval between the highest good and the lowest bad rate.
const STEPS: u32 = 6;
/// More than any machine sends.
const ALL_OUT: f64 = 50e6;
/// Where the way up begins, and how steep it is.
const LOWEST: f64 = 20_000.0;
const RISE: f64 = 1.25;

/// The highest rate of packets per second whose loss is below a thousandth.
///
/// What cannot be overrun, because it holds up the generator that it shares a
/// core with, is found at once; otherwise the interval is halved that a rate far
/// too high, or one that was reached from below, leaves.
pub(crate) fn highest(stage: &mut Stage, relay: &dyn Relay) -> Result<f64> {
    let (mut good, mut bad) = if relay.queues() { from_below(stage)? } else { from_above(stage)? };
    if bad > good {
        for _ in 0..STEPS {
            let next = f64::midpoint(good, bad);
            match passing(stage, next)? {
                Some(rate) => good = good.max(rate),
                None => bad = next,
            }
        }
    }
    eprintln!("  {}: {good:.0} packets/s", relay.name());
    Ok(good)
}

/// A rate that passes and one that does not, which are equal when all that can be
/// sent passes.
fn from_above(stage: &mut Stage) -> Result<(f64, f64)> {
    let flat_out = stage.run(Clock::Off, ALL_OUT, Burst::Long, TRIAL)?;
    if flat_out.loss() < LOSS {
        return Ok((flat_out.rate, flat_out.rate));
    }
    Ok((0.0, flat_out.rate * (1.0 - flat_out.loss()) * 1.5))
}

/// As [`from_above`], without ever sending much more than passes.
fn from_below(stage: &mut Stage) -> Result<(f64, f64)> {
    let mut good = 0.0;
    let mut next = LOWEST;
    while let Some(rate) = passing(stage, next)? {
        good = rate;
        if rate < next / RISE {
            return Ok((rate, rate));
        }
        next *= RISE;
    }
    Ok((good, next))
}

/// The rate that was reached, if all of it passed. A rate fails when it fails
/// twice: the machine is not ours alone.
fn passing(stage: &mut Stage, rate: f64) -> Result<Option<f64>> {
    for _ in 0..2 {
        let run = stage.run(Clock::Off, rate, Burst::Long, TRIAL)?;
        if run.loss() < LOSS {
            return Ok(Some(run.rate));
        }
    }
    Ok(None)
}
