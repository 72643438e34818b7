//! `cargo xtask soak`: the soak of the end-to-end tests, for longer, or with
//! another seed.

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{sh, test, ui};

#[derive(Args)]
pub(crate) struct Options {
    /// For how long calls start.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// What calls do, and when, follows from this.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !harness::is_root() {
        bail!("the soak runs on XDP in network namespaces: run it as root");
    }
    test::bring_about_end_to_end()?;
    let Options { minutes, seed } = options;
    ui::heading("building");
    let tests = ["test", "--quiet", "-p", "vizard-tests", "--test", "e2e"];
    sh::run(sh::cargo().args(tests).arg("--no-run"))?;
    harness::vizard::build_for_tests()?;
    ui::heading(&format!("calls come and go for {minutes} min, seed {seed}; a line every ten seconds"));
    let mut soak = sh::cargo();
    soak.args(tests).args(["--", "soak::", "--nocapture"]);
    soak.env("VIZARD_SOAK_SECONDS", (minutes * 60).to_string());
    soak.env("VIZARD_SOAK_SEED", seed.to_string());
    sh::run(&mut soak)
        .with_context(|| format!("to see it again: cargo xtask soak --minutes {minutes} --seed {seed}"))?;
    ui::good("soak", "no packet reached a port that it was not signalled to, and nothing is left");
    Ok(())
}
