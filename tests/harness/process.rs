//! Programs that run beside a test and end with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A program whose output goes to a file. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Option<Child>,
    log: PathBuf,
}

impl Running {
    /// Starts `command`; both of its output streams go to `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = file.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        let child =
            command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().with_context(|| {
                format!("cannot start {name} ({})", command.get_program().to_string_lossy())
            })?;
        Ok(Self { name: name.to_owned(), child: Some(child), log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// What it has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        child.try_wait().with_context(|| format!("{} was lost", self.name))
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let (started, limit) = (Instant::now(), limit * slowness());
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if started.elapsed() > limit {
                bail!("{} still runs after {limit:?}; it printed:\n{}", self.name, tail(&self.output()));
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Waits until `ready` says so; an error if the program ends before.
    pub fn wait_until(&mut self, what: &str, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let (started, limit) = (Instant::now(), limit * slowness());
        while !ready() {
            if let Some(status) = self.ended()? {
                bail!("{} ended ({status}) before {what}; it printed:\n{}", self.name, tail(&self.output()));
            }
            if started.elapsed() > limit {
                bail!(
                    "{}: {what} did not happen within {limit:?}; it printed:\n{}",
                    self.name,
                    tail(&self.output())
                );
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self, signal: Signal) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))?;
        }
        self.wait(Duration::from_secs(20))
    }

    /// Leaves it running after this process.
    pub fn leave(mut self) {
        self.child = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already, which is what we want.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How many times slower than usual this machine is: an emulated one says so in
/// `VIZARD_SLOWNESS`.
fn slowness() -> u32 {
    std::env::var("VIZARD_SLOWNESS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Runs a command to its end and returns its standard output; its errors
/// become part of ours.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = describe(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as one would type it.
#[must_use]
pub fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn tail(text: &str) -> String {
    const LINES: usize = 30;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
