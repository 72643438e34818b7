//! `cargo xtask run`: an optimised vizard with the arguments given.

use std::os::unix::process::CommandExt;

use anyhow::{Result, anyhow};

use crate::{setup, sh};

/// Builds, then becomes `vizard run`, so that signals reach it alone.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    setup::bring_about(setup::BUILD)?;
    sh::run(sh::cargo().args(["build", "--release", "-p", "relay-userspace", "--bin", "vizard"]))?;
    let binary = sh::root().join("target/release/vizard");
    let error = sh::command(&binary.to_string_lossy()).arg("run").args(arguments).exec();
    Err(anyhow!("cannot start {}: {error}", binary.display()))
}
