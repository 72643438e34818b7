//! `cargo xtask demo`: masked calls in a lab, and one screen of what happened.
//!
//! As root the lab is three network namespaces joined by veth, with XDP in the
//! driver and captures at both ends; without root it is three loopback
//! addresses with media through plain sockets. In both, everything on the
//! screen is read back from where it happened: the peers' own logs, captures at
//! the far ends, Vizard's command line. Every claim is a check, and a claim
//! that does not hold fails the demonstration.

mod evidence;
mod screen;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use harness::lab::{self, Lab, Shape};
use harness::vizard::{self, Vizard, root};

use crate::setup::{self, Need};
use crate::{sh, ui};

/// Names the demonstration's namespaces; there is one such lab at a time.
const PREFIX: &str = "vzdemo";

#[derive(Args)]
pub(crate) struct Options {
    /// Leave the lab up, and say how to enter it.
    #[arg(long, conflicts_with = "down")]
    keep: bool,
    /// Take down a lab that was left up.
    #[arg(long)]
    down: bool,
    /// Use loopback and plain sockets even as root.
    #[arg(long)]
    loopback: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.down {
        return take_down();
    }
    let shape = if harness::is_root() && !options.loopback { Shape::TwoSides } else { Shape::Loopback };
    let mut needs = setup::BUILD.to_vec();
    needs.push(Need::Peers);
    if shape == Shape::TwoSides {
        needs.extend([Need::Network, Need::BpfFilesystem]);
    }
    setup::bring_about(&needs)?;

    ui::heading("build");
    ui::busy("vizard", "compiling, unless it is up to date");
    sh::run(sh::cargo().args(["build", "--quiet", "-p", "relay-userspace", "--bin", "vizard"]))?;
    let binary = vizard::build()?;
    ui::good("vizard", &binary.strip_prefix(root()).unwrap_or(&binary).display().to_string());

    ui::heading("lab");
    if let Some(process) = running() {
        bail!(
            "a lab is up already, with vizard as process {process}: `cargo xtask demo --down` takes it down"
        );
    }
    if shape != Shape::Loopback {
        // Of a demonstration that was interrupted.
        lab::take_down(PREFIX)?;
    }
    let folder = folder();
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let lab = Lab::new(PREFIX, shape, &folder)?;
    ui::good(
        "network",
        match shape {
            Shape::TwoSides | Shape::OneWire => "three namespaces, joined by veth",
            Shape::Loopback => "three loopback addresses",
        },
    );
    let relay = Vizard::start(&lab, &binary, &root().join(config(shape)))?;
    ui::good("vizard", &format!("runs with {}, process {}", config(shape), relay.process()));

    fs::write(process_file(), relay.process().to_string()).context("cannot note vizard's process")?;

    let outcome = evidence::gather(&lab, &relay);
    match &outcome {
        Ok(evidence) => print!("{}", screen::render(evidence, config(shape), options.keep)),
        // What vizard counted until then says most about what went wrong.
        Err(_) => eprintln!("\n{}", relay.show(&["status"]).unwrap_or_else(|error| format!("{error:#}"))),
    }
    if options.keep {
        print!("{}", screen::how_to_enter(&lab, &binary, config(shape)));
        relay.leave();
        lab.leave();
    } else {
        relay.stop()?;
    }
    let failed = outcome.context("the demonstration broke off")?.failed();
    if failed > 0 {
        bail!("{failed} checks did not hold; logs and captures are in {}", folder.display());
    }
    Ok(())
}

/// The configuration, as it is shipped.
const fn config(shape: Shape) -> &'static str {
    match shape {
        Shape::TwoSides | Shape::OneWire => "configs/demo.toml",
        Shape::Loopback => "configs/demo-loopback.toml",
    }
}

fn folder() -> PathBuf {
    root().join(".lab/demo")
}

/// Holds the process of the demonstration's vizard.
fn process_file() -> PathBuf {
    folder().join("vizard.pid")
}

/// The demonstration's vizard, while it runs.
fn running() -> Option<u32> {
    let process: u32 = fs::read_to_string(process_file()).ok()?.trim().parse().ok()?;
    let name = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("comm")).ok()?;
    (name.trim() == "vizard").then_some(process)
}

fn take_down() -> Result<()> {
    if let Some(process) = running() {
        sh::run(sh::command("kill").arg(process.to_string()))?;
        ui::good("vizard", &format!("process {process} ends its calls and stops"));
    }
    let _ = fs::remove_file(process_file());
    let namespaces = if harness::is_root() { lab::take_down(PREFIX)? } else { 0 };
    ui::good("network", &format!("{namespaces} namespaces removed"));
    Ok(())
}
