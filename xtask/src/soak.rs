//! `cargo xtask soak`: the soak of the end-to-end tests, for longer, or with
//! another seed.

use anyhow::{Result, bail};
use clap::Args;

use crate::{sh, test};

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
    let mut soak = sh::cargo();
    soak.args(["test", "-p", "vizard-tests", "--test", "e2e", "--", "soak::", "--nocapture"]);
    soak.env("VIZARD_SOAK_SECONDS", (options.minutes * 60).to_string());
    soak.env("VIZARD_SOAK_SEED", options.seed.to_string());
    sh::run(&mut soak)
}
