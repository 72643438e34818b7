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
use harness::report::{Figure, Report};

use nat::Nat;
use relay::{Bare, Vizard};
use rtpengine::Rtpengine;
use stage::{Relay, Stage};

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

struct Options {
    json: bool,
    rounds: usize,
}

impl Options {
    fn parse() -> Result<Self> {
        let mut options = Self { json: false, rounds: ROUNDS };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--json" => options.json = true,
                "--quick" => options.rounds = QUICK_ROUNDS,
                // Cargo says so to every benchmark.
                "--bench" => {}
                other => bail!("unknown argument {other}; there are --json and --quick"),
            }
        }
        Ok(options)
    }
}

fn run(options: &Options) -> Result<()> {
    if !harness::is_root() {
        bail!("this benchmark makes network namespaces and loads XDP programs: run it as root");
    }
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let mut stage = Stage::set_up(folder.path())?;
    let rtpengine = Rtpengine::start(&stage, MANY)?;
    let relays: [&dyn Relay; 8] = [
        &Bare { flows: 1 },
        &Vizard { flows: 1 },
        &Bare { flows: MANY },
        &Vizard { flows: MANY },
        &Bare { flows: MOST },
        &Vizard { flows: MOST },
        &Nat,
        &rtpengine,
    ];
    let mut found: [Vec<f64>; 8] = Default::default();
    let mut latencies = Vec::new();
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for (relay, found) in relays.into_iter().zip(&mut found) {
            let turn = relay.enter(&mut stage)?;
            let best = search::highest(&mut stage, relay)?;
            drop(turn);
            found.push(best);
        }
        latencies.push(latency::Added::measure(&mut stage)?);
    }
    let updates = updates::measure(&mut stage, MOST)?;
    let restarts = restarts::measure(&mut stage)?;
    let mut figures = rates(&found);
    figures.extend(latency::figures(&latencies));
    figures.extend(updates.figures());
    figures.extend(restarts.figures());
    Report::new("media", figures).print(options.json);
    Ok(())
}

/// The rates of everybody, and what they are of each other in every round.
fn rates(found: &[Vec<f64>; 8]) -> Vec<Figure> {
    let [limit, one, limit_many, many, limit_most, most, nat, rtpengine] = found;
    let per_round = |of: &[f64], to: &[f64]| of.iter().zip(to).map(|(of, to)| of / to).collect::<Vec<_>>();
    vec![
        Figure::median("media.limit_pps", "packets/s", limit),
        Figure::median("media.limit_pps_32k", "packets/s", limit_most),
        Figure::median("media.pps_1", "packets/s", one),
        Figure::median("media.pps_1k", "packets/s", many),
        Figure::median("media.pps_32k", "packets/s", most),
        Figure::median("media.pps_nft", "packets/s", nat),
        Figure::median("media.pps_rtpengine", "packets/s", rtpengine),
        Figure::median("media.ratio_limit_1", "of the limit", &per_round(one, limit)).with_goal(0.85),
        Figure::median("media.ratio_limit_1k", "of the limit", &per_round(many, limit_many)),
        Figure::median("media.ratio_limit_32k", "of the limit", &per_round(most, limit_most)).with_goal(0.80),
        Figure::median("media.ratio_nft", "times", &per_round(many, nat)).with_goal(2.5),
        Figure::median("media.ratio_rtpengine", "times", &per_round(many, rtpengine)).with_goal(20.0),
    ]
}
