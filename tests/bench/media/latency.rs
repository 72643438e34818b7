//! How much later a packet arrives for going through Vizard.

use std::time::Duration;

use anyhow::Result;
use harness::report::Figure;

use crate::MANY;
use crate::relay::{Bare, Vizard};
use crate::stage::{Relay, Stage};
use crate::traffic::{Burst, Clock};

const TRIAL: Duration = Duration::from_millis(300);
/// More than any machine sends.
const ALL_OUT: f64 = 50e6;
/// The loads: parts of what passes, evenly spaced.
const LIGHT: f64 = 0.01;
const HALF: f64 = 0.5;

/// The middle and the hundredth-worst latency, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Latency {
    p50: f64,
    p99: f64,
}

/// What Vizard adds to a bare redirect at the same rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Added {
    light: Latency,
    half: Latency,
}

impl Added {
    /// With and without Vizard, in turn.
    pub(crate) fn measure(stage: &mut Stage) -> Result<Self> {
        stage.attach_sink(Clock::On)?;
        let vizard = Vizard { flows: MANY };
        let turn = vizard.enter(stage)?;
        let most = stage.run(Clock::On, ALL_OUT, Burst::Short, TRIAL)?.rate;
        let masked = [measured(stage, most * LIGHT)?, measured(stage, most * HALF)?];
        drop(turn);
        let turn = Bare { flows: MANY }.enter(stage)?;
        let bare = [measured(stage, most * LIGHT)?, measured(stage, most * HALF)?];
        drop(turn);
        stage.attach_sink(Clock::Off)?;
        let added = |load: usize| Latency {
            p50: masked[load].p50 - bare[load].p50,
            p99: masked[load].p99 - bare[load].p99,
        };
        Ok(Self { light: added(0), half: added(1) })
    }
}

fn measured(stage: &mut Stage, rate: f64) -> Result<Latency> {
    stage.traffic.clear_latencies()?;
    stage.run(Clock::On, rate, Burst::Short, TRIAL)?;
    Ok(Latency { p50: stage.traffic.latency(0.5)?, p99: stage.traffic.latency(0.99)? })
}

/// The medians over all rounds.
pub(crate) fn figures(rounds: &[Added]) -> Vec<Figure> {
    let of = |pick: fn(&Added) -> f64| rounds.iter().map(pick).collect::<Vec<_>>();
    vec![
        Figure::median("media.added_ns_p50_light", "ns", &of(|added| added.light.p50)),
        Figure::median("media.added_ns_p99_light", "ns", &of(|added| added.light.p99)),
        Figure::median("media.added_ns_p50_half", "ns", &of(|added| added.half.p50)),
        Figure::median("media.added_ns_p99_half", "ns", &of(|added| added.half.p99)),
    ]
}
