//! The soak: calls that start, move, hold, resume and end at random on real XDP,
//! with media running, and what must hold all the while:
//!
//! - no packet ever reaches a port that it was not signalled to: each, reports (RTCP)
//!   too, carries its call and its side, and every port knows whose it is, for a while
//!   after its end;
//! - whoever is not concerned by a change misses nothing;
//! - at the end nothing is left: media ports are used many times over, so that a
//!   leak refuses calls, ports of ended calls relay nothing, and memory is back.
//!
//! `sip` and `sound` are the phones' language, `phone` is one end, `exchange` has
//! all calls. `VIZARD_SOAK_SECONDS` and `VIZARD_SOAK_SEED` make it a long one, or
//! another one; `cargo xtask soak` sets them.

mod exchange;
mod phone;
mod sip;
mod sound;

use std::time::{Duration, Instant};

use exchange::Exchange;
use harness::vizard::Vizard;

use crate::world::{Plan, World, world};

const SECONDS: u64 = 20;
/// What a process that has warmed up may grow by, in KiB.
const GROWTH: u64 = 24 * 1024;

#[test]
fn calls_come_and_go() {
    let Some(world) = world(Plan { alone: true, ..Plan::default() }) else { return };
    let asked = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect(name));
    let seconds: u64 = asked("VIZARD_SOAK_SECONDS").unwrap_or(SECONDS);
    let seed: u64 = asked("VIZARD_SOAK_SEED").unwrap_or(1);
    eprintln!("soak: {seconds} s, seed {seed}");

    let vizard = world.start_with(&few_ports(&world));
    let mut exchange = Exchange::open(&world, &vizard, seed);
    exchange.run(Duration::from_secs(seconds.div_ceil(4)));
    let before = memory(&vizard);
    exchange.run(Duration::from_secs(seconds - seconds.div_ceil(4)));
    let grown = memory(&vizard).saturating_sub(before);
    eprintln!("soak: {exchange}, {before} KiB and {grown} more");

    assert_eq!(exchange.violations(), Vec::<String>::new(), "seed {seed}");
    assert!(exchange.has_done_everything(), "{exchange}");
    assert!(grown < GROWTH, "{grown} KiB more than after a quarter of the time");
    nothing_is_left(&vizard, &exchange);
    vizard.stop().unwrap();
}

/// So few ports that each of them serves many calls.
fn few_ports(world: &World) -> String {
    world
        .config()
        .replace("20000-20999", "20000-20199")
        .replace("[media]\n", "[media]\nquarantine = \"1s\"\n")
}

/// No call, and behind no port that media ever came to a flow.
fn nothing_is_left(vizard: &Vizard<'_>, exchange: &Exchange) {
    assert_eq!(vizard.ask(&["calls"]).unwrap()["calls"].as_array().map(Vec::len), Some(0));
    let refused = || {
        let verdicts = vizard.verdicts().unwrap();
        verdicts.iter().find(|(name, _)| name == "no-flow").map_or(0, |(_, packets)| *packets)
    };
    let before = refused();
    let probes = exchange.probe();
    let give_up = Instant::now() + Duration::from_secs(5);
    while refused() < before + probes {
        assert!(Instant::now() < give_up, "{probes} ports probed, {} without a flow", refused() - before);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What Vizard's process has in memory, in KiB.
fn memory(vizard: &Vizard<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", vizard.process())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    resident.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
