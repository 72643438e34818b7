//! The test machine: an initial file system that hands over to the host's, and an
//! emulator whose console says what became of the tests.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::kernel::{self, Kernel};
use crate::sh;

/// What the first process does.
const INIT: &str = include_str!("init.sh");
/// Enough for the maps of all tests and for what they write.
const MEMORY: &str = "3072";

/// An emulator that runs, and the lines of its console. Stopped when dropped.
pub(super) struct Machine {
    emulator: Child,
    lines: Receiver<String>,
    gives_up: Instant,
    limit: Duration,
}

impl Machine {
    /// Boots a kernel that runs the script `suites` in a view of the host's file
    /// system. After `limit` it is stopped.
    pub(super) fn boot(kernel: &Kernel, suites: &str, limit: Duration) -> Result<Self> {
        let initial = initial_file_system(kernel, suites)?;
        let mut emulator = sh::command("qemu-system-x86_64");
        emulator.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY]);
        emulator.args(["-display", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none"]);
        emulator.args(["-no-reboot", "-append", "console=ttyS0 loglevel=3 panic=-1"]);
        emulator.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&initial);
        let share = "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap";
        emulator.args(["-virtfs", share]);
        let mut emulator = emulator
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start qemu-system-x86_64")?;
        let console = emulator.stdout.take().context("standard output was piped")?;
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { emulator, lines, gives_up: Instant::now() + limit, limit })
    }

    /// The console's next line; `None` when the machine has switched itself off.
    pub(super) fn line(&self) -> Result<Option<String>> {
        match self.lines.recv_timeout(self.gives_up.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                bail!("the machine was not done after {} minutes: see --minutes", self.limit.as_secs() / 60)
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It has usually switched itself off.
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

/// Packs what the kernel starts with: busybox, the modules, and the scripts.
fn initial_file_system(kernel: &Kernel, suites: &str) -> Result<PathBuf> {
    let folder = kernel::folder().join("initial");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    for part in ["bin", "modules", "proc", "sys", "dev", "host", "changes", "root"] {
        let part = folder.join(part);
        fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
    }
    let busybox = sh::find("busybox").context("there is no busybox in the search path")?;
    copy(&busybox, &folder.join("bin/busybox"))?;
    let mut order = String::new();
    for module in &kernel.modules {
        let name = module.file_name().context("a module has a name")?;
        copy(module, &folder.join("modules").join(name))?;
        order.push_str(name.to_string_lossy().trim_end_matches(".ko"));
        order.push('\n');
    }
    write(&folder.join("modules/order"), &order)?;
    write(&folder.join("suites"), suites)?;
    write(&folder.join("init"), INIT)?;
    executable(&folder.join("init"))?;

    let packed = kernel::folder().join("initial.cpio");
    let mut pack = sh::command("sh");
    let line = format!("find . | busybox cpio -o -H newc >'{}' 2>/dev/null", packed.display());
    sh::run(pack.args(["-c", &line]).current_dir(&folder))?;
    Ok(packed)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
        .map(drop)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", path.display()))
}
