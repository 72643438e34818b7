//! `cargo xtask test`: every check and every tier of tests, with one summary.
//!
//! A tier that cannot run is not passed over: without root the task fails at
//! once and says what would be missing, unless it was asked to skip that.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};

use crate::setup::{self, Need};
use crate::{imports, sh, ui};

#[derive(Args)]
pub(crate) struct Options {
    /// Only these tiers; all of them when none is named.
    #[arg(value_enum)]
    tiers: Vec<Tier>,
    /// Without root: leave out the tiers that need it instead of failing.
    #[arg(long)]
    skip_privileged: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// Format, lints, licences, spelling, unused dependencies, import directions, documentation.
    Checks,
    /// Tests beside the code.
    Unit,
    /// The XDP program on real bytes, in the kernel.
    Packet,
    /// One suite over native XDP, generic XDP and plain sockets, with real peers.
    Paths,
    /// The engine in seeded worlds with virtual time.
    Simulation,
    /// Network namespaces, real SIP peers, real audio.
    EndToEnd,
}

impl Tier {
    const ALL: [Self; 6] =
        [Self::Checks, Self::Unit, Self::Packet, Self::Paths, Self::Simulation, Self::EndToEnd];

    const fn needs_root(self) -> bool {
        match self {
            Self::Packet | Self::Paths | Self::EndToEnd => true,
            Self::Checks | Self::Unit | Self::Simulation => false,
        }
    }

    fn needs(self) -> Vec<Need> {
        let mut needs = setup::BUILD.to_vec();
        match self {
            Self::Checks => needs.push(Need::Checkers),
            Self::Unit => needs.push(Need::Tracer),
            Self::Simulation => {}
            Self::Packet => needs.push(Need::BpfFilesystem),
            Self::Paths => needs.extend([Need::Network, Need::BpfFilesystem]),
            Self::EndToEnd => {
                needs.extend([Need::Peers, Need::Phones, Need::Network, Need::Tracer, Need::BpfFilesystem]);
            }
        }
        needs
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checks => "checks",
            Self::Unit => "unit",
            Self::Packet => "packet",
            Self::Paths => "paths",
            Self::Simulation => "simulation",
            Self::EndToEnd => "end to end",
        })
    }
}

/// The end-to-end tests mostly wait, so that more of them run than there are processors.
const BESIDE_EACH_OTHER: &str = "--test-threads=4";

/// Runs the tiers that were asked for, all of them to their end.
pub(crate) fn run(options: &Options) -> Result<()> {
    let asked = if options.tiers.is_empty() { Tier::ALL.to_vec() } else { options.tiers.clone() };
    let (able, unable): (Vec<Tier>, Vec<Tier>) =
        asked.into_iter().partition(|tier| harness::is_root() || !tier.needs_root());
    if !unable.is_empty() && !options.skip_privileged {
        let names: Vec<String> = unable.iter().map(Tier::to_string).collect();
        bail!(
            "these tiers need root and cannot run: {}. Run this as root, or add --skip-privileged to leave them out",
            names.join(", ")
        );
    }

    let mut needs: Vec<Need> = Vec::new();
    for need in able.iter().flat_map(|tier| tier.needs()) {
        if !needs.contains(&need) {
            needs.push(need);
        }
    }
    setup::bring_about(&needs)?;

    let mut rows: Vec<Row> = Vec::new();
    for tier in able {
        ui::heading(&format!("\n{tier}"));
        let started = Instant::now();
        let count = match tier {
            Tier::Checks => checks(),
            Tier::Unit => cargo_tests(&["--workspace", "--lib", "--bins"])?,
            Tier::Packet => cargo_tests(&["-p", "vizard-tests", "--test", "packet"])?,
            Tier::Paths => cargo_tests(&["-p", "vizard-tests", "--test", "paths"])?,
            Tier::Simulation => cargo_tests(&["-p", "vizard-tests", "--test", "sim"])?,
            Tier::EndToEnd => cargo_tests(&["-p", "vizard-tests", "--test", "e2e", "--", BESIDE_EACH_OTHER])?,
        };
        rows.push(Row { tier, count, took: started.elapsed() });
    }
    summarise(&rows, &unable)
}

/// Brings about what the end-to-end tests need.
pub(crate) fn bring_about_end_to_end() -> Result<()> {
    setup::bring_about(&Tier::EndToEnd.needs())
}

/// `cargo xtask e2e`.
pub(crate) fn end_to_end(filter: Option<&str>) -> Result<()> {
    if !harness::is_root() {
        bail!("the end-to-end tests create network namespaces and load XDP programs: run them as root");
    }
    bring_about_end_to_end()?;
    let mut arguments = vec!["-p", "vizard-tests", "--test", "e2e", "--", BESIDE_EACH_OTHER];
    arguments.extend(filter);
    sh::run(sh::cargo().arg("test").args(arguments))
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    skipped: usize,
}

struct Row {
    tier: Tier,
    count: Count,
    took: Duration,
}

fn checks() -> Count {
    let mut count = Count::default();
    let mut check = |name: &str, work: &dyn Fn() -> Result<String>| match ui::step(name, work) {
        Ok(()) => count.passed += 1,
        Err(error) => {
            ui::error(&error);
            count.failed += 1;
        }
    };
    let quiet = |mut command: Command, good: &str| {
        sh::run(&mut command)?;
        Ok(good.to_owned())
    };
    let cargo = |arguments: &[&str]| {
        let mut cargo = sh::cargo();
        cargo.args(arguments);
        cargo
    };
    check("format", &|| quiet(cargo(&["fmt", "--all", "--check"]), "as .rustfmt.toml says"));
    check("clippy", &|| {
        let lints = cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]);
        quiet(lints, "no warning, pedantic lints included")
    });
    check("engine alone", &|| {
        let alone = [
            "clippy",
            "--quiet",
            "-p",
            "relay-userspace",
            "--no-default-features",
            "--lib",
            "--",
            "-D",
            "warnings",
        ];
        quiet(cargo(&alone), "builds without any crate that does I/O")
    });
    check("imports", &|| {
        let files = imports::check(&sh::root().join("relay-userspace/src"))?;
        Ok(format!("{files} files keep the layers' order"))
    });
    check("documentation", &|| {
        let mut doc = cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
        doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
        quiet(doc, "every link leads somewhere")
    });
    check("deny", &|| {
        let deny = cargo(&["deny", "--log-level", "error", "check", "licenses", "bans", "sources"]);
        quiet(deny, "licences, bans and sources")
    });
    check("typos", &|| quiet(sh::command("typos"), "none"));
    check("machete", &|| {
        sh::output(&mut sh::command("cargo-machete")).map(|_| "no unused dependency".to_owned())
    });
    count
}

/// Runs tests, shows their output as it comes, and counts what they report.
fn cargo_tests(arguments: &[&str]) -> Result<Count> {
    let mut command = sh::cargo();
    command.args(["test", "--no-fail-fast"]).args(arguments);
    if !harness::is_root() {
        // A single test of an unprivileged tier may need root; it says so and stands aside.
        command.env("VIZARD_SKIP_PRIVILEGED", "1");
    }
    let shown = sh::describe(&command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{shown}`"))?;
    let output = child.stdout.take().context("standard output was piped")?;
    let mut count = Count::default();
    for line in BufReader::new(output).lines() {
        let line = line.context("the tests' output broke off")?;
        println!("{line}");
        if let Some(more) = closing_line(&line) {
            count.passed += more.passed;
            count.failed += more.failed;
            count.skipped += more.skipped;
        }
    }
    let status = child.wait().with_context(|| format!("`{shown}` was lost"))?;
    if !status.success() && count.failed == 0 {
        // It did not build, or a test took the process down.
        ui::error(&anyhow::anyhow!("`{shown}` failed: {status}"));
        count.failed += 1;
    }
    Ok(count)
}

/// Reads `test result: ok. 5 passed; 0 failed; 1 ignored; …`.
pub(crate) fn closing_line(line: &str) -> Option<Count> {
    let (_, numbers) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let number = |what: &str| {
        numbers.split(';').find_map(|part| part.trim().strip_suffix(what)?.trim().parse::<usize>().ok())
    };
    Some(Count { passed: number("passed")?, failed: number("failed")?, skipped: number("ignored")? })
}

fn summarise(rows: &[Row], unable: &[Tier]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["tier", "passed", "failed", "skipped", "seconds"]);
    let mut total = Count::default();
    for Row { tier, count, took } in rows {
        total.passed += count.passed;
        total.failed += count.failed;
        total.skipped += count.skipped;
        table.add_row([
            tier.to_string(),
            count.passed.to_string(),
            count.failed.to_string(),
            count.skipped.to_string(),
            took.as_secs().to_string(),
        ]);
    }
    for tier in unable {
        table.add_row([tier.to_string(), "not run: needs root".to_owned()]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("\n{table}\n");
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    for Row { tier, count, .. } in rows {
        if *tier != Tier::Checks && count.passed + count.failed == 0 {
            bail!("the {tier} tier ran no test");
        }
    }
    if total.failed > 0 {
        bail!("{} of {} failed", total.failed, total.passed + total.failed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closing_line_is_counted() {
        let line = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.02s";
        assert_eq!(closing_line(line), Some(Count { passed: 5, failed: 2, skipped: 1 }));
        assert_eq!(closing_line("running 5 tests"), None);
    }
}
