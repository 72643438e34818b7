//! `bench calls`: how many masked calls a second one core sustains, and how much
//! later a call is answered for going through Vizard.
//!
//! Both sides are real SIP peers (`sipp`) on one core; Vizard, with durable
//! records in its store, has the other. Each call matches a binding, is set up,
//! answered and torn down. The same pair of peers without Vizard between them,
//! measured in turn with it, is the reference: it bounds what could be seen.
//!
//! As root the peers and Vizard stand in network namespaces and flows are
//! programmed into the kernel; otherwise everything is on loopback and media
//! goes through plain sockets. No media is sent: signalling is what is measured.

mod rig;
mod search;
mod trial;

use std::num::NonZero;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use harness::report::{Figure, Report};

use rig::{Rig, Route};
use search::Best;
use trial::Latency;

/// Calls in one trial at the rate that is tried, in seconds of that rate.
const TRIAL_SECONDS: u32 = 3;
/// Searches with and without Vizard, in turn.
const ROUNDS: usize = 3;
/// Rounds of the latency measurement, likewise.
const LATENCY_ROUNDS: usize = 5;
/// A rate at which nothing queues.
const LATENCY_RATE: u32 = 100;
const LATENCY_CALLS: u32 = 300;
/// Where the search begins.
const FIRST_RATE: u32 = 2000;

fn main() -> ExitCode {
    match Options::parse().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench calls: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    json: bool,
    /// Calls of one trial, instead of seconds.
    calls: Option<u32>,
}

impl Options {
    fn parse() -> Result<Self> {
        let mut options = Self { json: false, calls: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = true,
                "--calls" => {
                    let calls = arguments.next().context("--calls needs a number")?;
                    let calls: NonZero<u32> = calls.parse().context("--calls needs a number over zero")?;
                    options.calls = Some(calls.get());
                }
                // Cargo says so to every benchmark.
                "--bench" => {}
                other => bail!("unknown argument {other}; there are --json and --calls N"),
            }
        }
        Ok(options)
    }
}

fn run(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let lab = Rig::lab(folder.path())?;
    let mut rig = Rig::set_up(&lab)?;
    eprintln!("media path: {}", rig.datapath());
    let latency = latency(&rig)?;
    let (mut masked, mut direct) = (Vec::new(), Vec::new());
    let calls = |rate: u32| options.calls.unwrap_or(rate * TRIAL_SECONDS);
    for round in 0..ROUNDS {
        for (route, found) in [(Route::Direct, &mut direct), (Route::Masked, &mut masked)] {
            let first = found.last().map_or(FIRST_RATE, |best: &Best| best.rate);
            let best = search::highest(first, |rate| rig.load(route, rate, calls(rate)))?;
            eprintln!("round {}: {route} {:.0} calls/s{}", round + 1, best.achieved, best.cpu());
            found.push(best);
        }
    }
    rig.check_records()?;

    let figure = |name: &str, value: f64, unit: &str, goal: Option<f64>, runs: usize| Figure {
        name: format!("calls.{name}"),
        value,
        unit: unit.into(),
        goal,
        runs,
    };
    let rate = |found: &[Best]| median(found.iter().map(|best| best.achieved).collect());
    let busy = median(masked.iter().filter_map(|best| best.cpu_us_per_call).collect());
    let report = Report::new(
        "calls",
        vec![
            figure("cps", rate(&masked), "calls/s", Some(3000.0), ROUNDS),
            figure("peer_cps", rate(&direct), "calls/s", None, ROUNDS),
            figure("ratio", rate(&masked) / rate(&direct), "of the peers alone", None, ROUNDS),
            figure("cpu_us", busy, "us of one core per call", None, ROUNDS),
            figure("setup_p50_us", latency.p50, "us", None, LATENCY_ROUNDS),
            figure("setup_p99_us", latency.p99, "us", None, LATENCY_ROUNDS),
        ],
    );
    report.print(options.json);
    Ok(())
}

/// What Vizard adds to the time from INVITE to answer: the medians over rounds
/// of (through it) - (without it).
fn latency(rig: &Rig<'_>) -> Result<Latency> {
    let mut added = Vec::new();
    for _ in 0..LATENCY_ROUNDS {
        let direct = rig.latency(Route::Direct, LATENCY_RATE, LATENCY_CALLS)?;
        let masked = rig.latency(Route::Masked, LATENCY_RATE, LATENCY_CALLS)?;
        added.push(Latency { p50: masked.p50 - direct.p50, p99: masked.p99 - direct.p99 });
    }
    let p50 = median(added.iter().map(|latency| latency.p50).collect());
    let p99 = median(added.iter().map(|latency| latency.p99).collect());
    Ok(Latency { p50, p99 })
}

/// The middle value; zero of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
