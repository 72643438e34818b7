//! `bench media`: how many packets per second one core relays without loss.
//!
//! A generator, a relay and a sink stand in three network namespaces, joined by
//! virtual pairs with native XDP, so a packet takes the same way whoever relays
//! it: a bare XDP redirect (the limit, with the traffic that is held against it),
//! Vizard with few and many flows, the kernel's own address translation, and
//! rtpengine without its kernel module.
//!
//! All that happens to a packet in the kernel happens on one core, generator and
//! sink included, and the limit pays for these as much as Vizard does.
//! rtpengine's process has the other core to itself. Whoever is measured runs
//! ahead of everything else on the machine and takes its turn in every round, so
//! that what disturbs one disturbs all.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates and counts far below 2^52"
)]

mod forwarding;
mod latency;
mod nat;
mod relay;
mod restarts;
mod rtpengine;
mod search;
mod stage;
mod traffic;
mod updates;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use harness::report::Report;

use forwarding::Forwarding;
use stage::Stage;

/// Rounds, each with everybody in turn.
const ROUNDS: usize = 5;
const QUICK_ROUNDS: usize = 3;
/// Flows beside one flow; the most is every even port above 1024, nearly.
const MANY: u16 = 1_000;
const MOST: u16 = 32_000;
/// Packets per second while something is changed that must lose none: about half of
/// what one core relays.
const LOAD: f64 = 1e6;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match arguments.next() {
        Some(first) if first == restarts::KEEP => restarts::keep(&arguments.next().unwrap_or_default()),
        Some(_) | None => Options::parse().and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench media: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Forwarding,
    Latency,
    Updates,
    Restarts,
}

impl Part {
    fn named(name: &str) -> Result<Self> {
        match name {
            "forwarding" => Ok(Self::Forwarding),
            "latency" => Ok(Self::Latency),
            "updates" => Ok(Self::Updates),
            "restarts" => Ok(Self::Restarts),
            other => bail!("there is no part {other}, but forwarding, latency, updates and restarts"),
        }
    }
}

struct Options {
    json: bool,
    rounds: usize,
    /// All of it, where there is none.
    only: Option<Part>,
}

impl Options {
    fn parse() -> Result<Self> {
        let mut options = Self { json: false, rounds: ROUNDS, only: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = true,
                "--quick" => options.rounds = QUICK_ROUNDS,
                "--only" => options.only = Some(Part::named(&arguments.next().unwrap_or_default())?),
                // Cargo says so to every benchmark.
                "--bench" => {}
                other => bail!("unknown argument {other}; there are --json, --quick and --only PART"),
            }
        }
        Ok(options)
    }

    fn wants(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

fn run(options: &Options) -> Result<()> {
    if !harness::is_root() {
        bail!("this benchmark makes network namespaces and loads XDP programs: run it as root");
    }
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let mut stage = Stage::set_up(folder.path())?;
    let mut forwarding = options.wants(Part::Forwarding).then(|| Forwarding::start(&stage)).transpose()?;
    let mut latencies = Vec::new();
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        if let Some(forwarding) = &mut forwarding {
            forwarding.measure(&mut stage)?;
        }
        if options.wants(Part::Latency) {
            latencies.push(latency::Added::measure(&mut stage)?);
        }
    }
    let mut figures = forwarding.map_or_else(Vec::new, Forwarding::figures);
    if options.wants(Part::Latency) {
        figures.extend(latency::figures(&latencies));
    }
    if options.wants(Part::Updates) {
        figures.extend(updates::measure(&mut stage, MOST)?.figures());
    }
    if options.wants(Part::Restarts) {
        figures.extend(restarts::measure(&mut stage)?.figures());
    }
    Report::new("media", figures).print(options.json);
    Ok(())
}
