//! `cargo xtask vmtest`: the tests that depend on the kernel, on the oldest one
//! that Vizard is to run on, Debian's 6.1.
//!
//! Every kernel's verifier refuses other programs, so a program that loads here
//! says little about another machine. The packet tests and masked calls run in an
//! emulated machine (no virtualisation in hardware is assumed, so it is slow, and
//! apart from `cargo xtask test`). Its root is a copy-on-write view of this
//! machine's file system: what was built here runs there as it is.

pub(crate) mod kernel;
mod machine;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use self::kernel::Kernel;
use self::machine::Machine;
use crate::setup::{self, Need};
use crate::test::{Count, closing_line};
use crate::{sh, ui};

#[derive(Args)]
pub(crate) struct Options {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// When the machine is stopped, done or not.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
}

/// The end-to-end tests that are worth their time in an emulator: a masked call,
/// both ways, by each hook, and one that outlives its process through pins.
const CALLS: [&str; 3] = [
    "calls::xdp_in_the_driver",
    "calls::xdp_in_the_stack",
    "restart::a_call_survives_kill_9_whoever_placed_it",
];

const NEEDS: [Need; 6] =
    [Need::RustSource, Need::BpfLinker, Need::Peers, Need::Network, Need::Emulator, Need::OldKernel];

pub(crate) fn run(options: &Options) -> Result<()> {
    setup::bring_about(&NEEDS)?;
    let kernel = Kernel::there().context("the kernel was fetched, but is not there")?;
    ui::heading("\nbuild");
    let programs = Programs::build()?;
    ui::heading(&format!("\nLinux {}, emulated", kernel.version));
    let started = Instant::now();
    let suites = programs.suites(options.filter.as_deref());
    let machine = Machine::boot(&kernel, &suites, Duration::from_secs(options.minutes * 60))?;
    let outcome = watch(&machine)?;
    println!();
    println!(
        "Linux {}: {} passed, {} failed, in {} s",
        outcome.kernel,
        outcome.count.passed,
        outcome.count.failed,
        started.elapsed().as_secs()
    );
    if outcome.count.failed > 0 || !outcome.broken.is_empty() {
        bail!("on Linux {}: {} failed {}", outcome.kernel, outcome.count.failed, outcome.broken.join(", "));
    }
    if outcome.count.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// What the machine said of its tests.
#[derive(Default)]
struct Outcome {
    kernel: String,
    count: Count,
    /// Suites that ended otherwise than by reporting their failures.
    broken: Vec<String>,
}

/// Shows what the machine says until it is done.
fn watch(machine: &Machine) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut suite = None;
    while let Some(line) = machine.line()? {
        let Some(word) = line.strip_prefix("vmtest: ") else {
            println!("{line}");
            if let Some(more) = closing_line(&line) {
                outcome.count.passed += more.passed;
                outcome.count.failed += more.failed;
            }
            continue;
        };
        match word.split_once(' ').unwrap_or((word, "")) {
            ("kernel", version) => version.clone_into(&mut outcome.kernel),
            ("suite", name) => suite = Some((name.to_owned(), outcome.count.failed)),
            ("exit", code) => {
                if let Some((name, failed)) = suite.take()
                    && code != "0"
                    && outcome.count.failed == failed
                {
                    outcome.broken.push(format!("{name} (exit code {code})"));
                }
            }
            ("done", _) => return Ok(outcome),
            _ => bail!("the machine {word}"),
        }
    }
    bail!("the machine stopped before its tests were done: see its last lines above")
}

/// What is built here and runs there.
struct Programs {
    vizard: PathBuf,
    packet: PathBuf,
    end_to_end: PathBuf,
}

impl Programs {
    fn build() -> Result<Self> {
        let mut build = sh::cargo();
        build.args(["test", "--no-run", "-p", "vizard-tests", "--test", "packet", "--test", "e2e"]);
        build.args(["--message-format", "json-render-diagnostics"]);
        let messages = sh::output(build.stderr(std::process::Stdio::inherit()))?;
        let test = |name: &str| {
            messages
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .filter(|message| message["target"]["name"] == name)
                .find_map(|message| message["executable"].as_str().map(PathBuf::from))
                .with_context(|| format!("cargo built no test called {name}"))
        };
        Ok(Self {
            vizard: harness::vizard::build_for_tests()?,
            packet: test("packet")?,
            end_to_end: test("e2e")?,
        })
    }

    /// The script that runs them there.
    fn suites(&self, filter: Option<&str>) -> String {
        let mut script = format!(
            "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\n\
             export RUSTC_BOOTSTRAP=1 VIZARD_SLOWNESS=6 VIZARD_BINARY='{}'\n\
             mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /tmp && mount -t bpf bpf /sys/fs/bpf\n\
             ip link set lo up\n\
             cd '{}/tests'\n\
             echo \"vmtest: kernel $(uname -r)\"\n",
            self.vizard.display(),
            sh::root().display()
        );
        let filtered = |tests: &[&str]| -> Vec<String> {
            match filter {
                None => tests.iter().map(|test| (*test).to_owned()).collect(),
                Some(filter) if tests.is_empty() => vec![filter.to_owned()],
                Some(filter) => {
                    tests.iter().filter(|test| test.contains(filter)).map(|test| (*test).to_owned()).collect()
                }
            }
        };
        let (packet, calls) = (filtered(&[]), filtered(&CALLS));
        script.push_str(&suite("packet", &self.packet, &packet));
        if !calls.is_empty() {
            script.push_str(&suite("e2e", &self.end_to_end, &calls));
        }
        script.push_str("echo 'vmtest: done'\nbusybox poweroff -f\n");
        script
    }
}

/// Runs one binary. The times that it shows are the emulator's, mostly spent in the
/// verifier: each test loads the program.
fn suite(name: &str, program: &std::path::Path, tests: &[String]) -> String {
    format!(
        "echo 'vmtest: suite {name}'\n\
         '{}' --color never --test-threads 2 -Z unstable-options --report-time {}\n\
         echo \"vmtest: exit $?\"\n",
        program.display(),
        tests.join(" ")
    )
}
