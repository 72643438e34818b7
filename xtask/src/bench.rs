//! `cargo xtask bench`: the measurements behind every figure that we state.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::setup::{self, Need};
use crate::sh;

#[derive(Args)]
pub(crate) struct Options {
    /// What to measure.
    #[arg(value_enum)]
    bench: Bench,
    /// Print one JSON object on standard output and nothing else there.
    #[arg(long)]
    json: bool,
    /// Fewer rounds (media alone).
    #[arg(long)]
    quick: bool,
    /// Measure one part and nothing else (media alone).
    #[arg(long, value_enum)]
    only: Option<Part>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// Rates without loss, of everybody.
    Forwarding,
    /// How much later packets arrive.
    Latency,
    /// Flows programmed per second, and packets lost while calls change.
    Updates,
    /// Packets lost over restarts and upgrades.
    Restarts,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bench {
    /// Nanoseconds per RTP packet in the kernel, against a bare program.
    Packet,
    /// Packets per second that one core relays, against a bare redirect, nftables and rtpengine.
    Media,
    /// Look-ups, durable bindings per second, memory and start with a million bindings.
    Directory,
    /// Masked calls per second on one core, and the set-up latency that they add.
    Calls,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let (name, needs) = match options.bench {
        Bench::Packet => ("packet", vec![Need::RustSource, Need::BpfLinker]),
        Bench::Media => ("media", vec![Need::RustSource, Need::BpfLinker, Need::Network, Need::Rivals]),
        Bench::Directory => ("directory", vec![Need::RustSource, Need::BpfLinker]),
        Bench::Calls => ("calls", vec![Need::RustSource, Need::BpfLinker, Need::Peers]),
    };
    setup::bring_about(&needs)?;
    if matches!(options.bench, Bench::Packet | Bench::Media) && !harness::is_root() {
        bail!("bench {name} runs programs in the kernel and needs root (CAP_BPF and CAP_NET_ADMIN)");
    }
    let mut bench = sh::cargo();
    bench.args(["bench", "-p", "vizard-tests", "--bench", name, "--"]);
    if options.json {
        bench.arg("--json");
    }
    if matches!(options.bench, Bench::Media) {
        if options.quick {
            bench.arg("--quick");
        }
        if let Some(part) = options.only.and_then(|part| part.to_possible_value()) {
            bench.args(["--only", part.get_name()]);
        }
    }
    sh::run(&mut bench)
}
