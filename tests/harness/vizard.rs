//! A vizard under test: the real binary, started and asked like anybody's.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Signal;
use serde_json::Value;

use crate::lab::{Lab, Place, Shape};
use crate::process::{Running, describe, output};

/// The workspace's root.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Builds `vizard`, or finds that it is up to date, and says where it is; where
/// there is no cargo, `VIZARD_BINARY` says so.
pub fn build() -> Result<PathBuf> {
    built().map_or_else(|| build_with(&[]), Ok)
}

/// As [`build`], for tests: with the features that the tests themselves are built with,
/// so that nothing is compiled twice.
pub fn build_for_tests() -> Result<PathBuf> {
    built().map_or_else(|| build_with(&["-p", "vizard-tests", "--test", "e2e"]), Ok)
}

fn built() -> Option<PathBuf> {
    std::env::var_os("VIZARD_BINARY").map(PathBuf::from)
}

/// As [`build`], with all optimisations: for measuring.
pub fn build_release() -> Result<PathBuf> {
    build_with(&["--release"])
}

fn build_with(options: &[&str]) -> Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build = Command::new(cargo);
    build.current_dir(root()).args(["build", "--quiet", "-p", "relay-userspace", "--bin", "vizard"]);
    build.args(options).args(["--message-format", "json-render-diagnostics"]);
    let messages = output(&mut build)?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "vizard")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo built no executable called vizard")
}

/// A running vizard.
#[derive(Debug)]
pub struct Vizard<'lab> {
    lab: &'lab Lab,
    binary: PathBuf,
    config: PathBuf,
    running: Running,
    starts: u32,
}

impl<'lab> Vizard<'lab> {
    /// Starts it in its place of the lab; it answers on its socket when this
    /// returns.
    pub fn start(lab: &'lab Lab, binary: &Path, config: &Path) -> Result<Self> {
        if !key_file(lab).exists() {
            output(&mut make_keys(lab, binary, config))?;
        }
        let running = launch(lab, binary, config, 1, &[])?;
        Ok(Self { lab, binary: binary.to_owned(), config: config.to_owned(), running, starts: 1 })
    }

    /// Runs `vizard … --json` and returns the document.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = self.command();
        command.args(arguments).arg("--json");
        let text = output(&mut command)?;
        serde_json::from_str(&text)
            .with_context(|| format!("`{}` printed no JSON: {text}", describe(&command)))
    }

    /// What a person sees.
    pub fn show(&self, arguments: &[&str]) -> Result<String> {
        output(self.command().args(arguments))
    }

    /// The command line's exit code, and what it wrote to standard error.
    pub fn refused(&self, arguments: &[&str]) -> Result<(i32, String)> {
        let output = self.command().args(arguments).output().context("cannot start vizard")?;
        let code = output.status.code().context("vizard was ended by a signal")?;
        Ok((code, String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// A vizard command line that talks to this one.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = self.lab.at(Place::Vizard, &self.binary.to_string_lossy());
        environment(&mut command, self.lab, &self.config);
        command
    }

    /// A vizard command line of another user, who is in these groups alone.
    #[must_use]
    pub fn command_as(&self, user: u32, groups: &[u32]) -> Command {
        let own = self.command();
        let mut command = Command::new(own.get_program());
        let arguments: Vec<_> = own.get_args().collect();
        // The namespace is entered as root, the command is run as that user.
        let (enter, program) = arguments.split_at(arguments.len() - 1);
        let groups = match groups {
            [] => "--clear-groups".to_owned(),
            some => format!("--groups={}", some.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
        };
        command.args(enter).arg("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={user}"), groups]).args(program);
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// One of its counters; zero when it never counted.
    pub fn counter(&self, name: &str) -> Result<u64> {
        Ok(self.ask(&["status"])?["counters"][name].as_u64().unwrap_or(0))
    }

    /// Packets by verdict, those that occurred.
    pub fn verdicts(&self) -> Result<Vec<(String, u64)>> {
        let status = self.ask(&["status", "--all"])?;
        let rows = status["verdicts"].as_array().context("`vizard status` shows no verdicts")?;
        let verdict = |row: &Value| Some((row["verdict"].as_str()?.to_owned(), row["packets"].as_u64()?));
        Ok(rows.iter().filter_map(verdict).filter(|(_, packets)| *packets > 0).collect())
    }

    /// The call detail records of the newest call, legs in order, once there are
    /// `legs` of them: they are written just after the call's last message.
    pub fn records(&self, legs: usize) -> Result<Vec<Value>> {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let all = self.ask(&["cdr", "list", "--limit", "100"])?;
            let all = all["cdrs"].as_array().cloned().unwrap_or_default();
            let newest = all.first().map(|record| record["session"].clone());
            let mut records: Vec<Value> =
                all.iter().filter(|record| Some(&record["session"]) == newest.as_ref()).cloned().collect();
            if records.len() >= legs {
                records.sort_by_key(|record| record["leg"].as_str().map(str::to_owned));
                return Ok(records);
            }
            if std::time::Instant::now() > deadline {
                bail!("expected {legs} call detail records of one call, found {}: {all:?}", records.len());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends it without a warning and starts it again.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.kill()?;
        self.start_again(&[])
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) -> Result<()> {
        self.running.stop(Signal::KILL).map(drop)
    }

    /// Starts it after its end, with these variables in its environment.
    pub fn start_again(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        self.starts += 1;
        self.running = launch(self.lab, &self.binary, &self.config, self.starts, environment)?;
        Ok(())
    }

    /// Ends it in good order.
    pub fn stop(mut self) -> Result<()> {
        let status = self.running.stop(Signal::TERM)?;
        if status.success() { Ok(()) } else { Err(anyhow!("vizard ended badly: {status}\n{}", self.log())) }
    }

    /// Its log since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.running.output()
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.running.id()
    }

    /// Leaves it running after this process.
    pub fn leave(self) {
        self.running.leave();
    }
}

/// The socket of a lab's vizard.
#[must_use]
pub fn socket(lab: &Lab) -> PathBuf {
    lab.folder().join("vizard.sock")
}

/// The key file of a lab's vizard.
#[must_use]
pub fn key_file(lab: &Lab) -> PathBuf {
    lab.folder().join("vault.keys")
}

/// Starts a vizard that is expected to give up, and returns its exit code and
/// what it said.
pub fn gives_up(lab: &Lab, binary: &Path, config: &Path) -> Result<(i32, String)> {
    let log = lab.folder().join("vizard.gives-up.log");
    // What it is to give up over may be in the way of this too.
    let _ = make_keys(lab, binary, config).output();
    let mut running = Running::start("vizard", run(lab, binary, config), &log)?;
    let status = running.wait(Duration::from_secs(20))?;
    Ok((status.code().context("vizard was ended by a signal")?, running.output()))
}

fn launch(
    lab: &Lab,
    binary: &Path,
    config: &Path,
    start: u32,
    environment: &[(&str, &str)],
) -> Result<Running> {
    let log = lab.folder().join(format!("vizard.{start}.log"));
    let mut command = run(lab, binary, config);
    command.envs(environment.iter().copied());
    let mut running = Running::start("vizard", command, &log)?;
    let socket = socket(lab);
    let answers = || UnixStream::connect(&socket).is_ok();
    running.wait_until("listening on its socket", Duration::from_secs(20), answers)?;
    Ok(running)
}

fn run(lab: &Lab, binary: &Path, config: &Path) -> Command {
    // Entering a namespace hides the BPF file system under a fresh /sys.
    const WITH_BPFFS: &str = "mount -t bpf bpf /sys/fs/bpf && exec \"$0\" run";
    let mut command = match lab.shape() {
        Shape::Loopback => {
            let mut command = Command::new(binary);
            command.arg("run");
            command
        }
        Shape::TwoSides | Shape::OneWire => {
            let mut command = lab.at(Place::Vizard, "sh");
            command.arg("-c").arg(WITH_BPFFS).arg(binary);
            command
        }
    };
    environment(&mut command, lab, config);
    command
}

/// `vizard vault init`.
fn make_keys(lab: &Lab, binary: &Path, config: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["vault", "init"]);
    environment(&mut command, lab, config);
    command
}

fn environment(command: &mut Command, lab: &Lab, config: &Path) {
    command
        .env("VIZARD_CONFIG", config)
        .env("VIZARD_STORE", lab.folder().join("store"))
        .env("VIZARD_KEY_FILE", key_file(lab))
        .env("VIZARD_SOCKET", socket(lab));
}
