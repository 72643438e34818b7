//! Debian's kernel for the test machine: fetched by apt, which checks its
//! signatures, into `.tools`, and never installed.
//!
//! The machine's own sources say where Debian is had here. Only the release is
//! exchanged, and apt works in folders of its own, so the machine's package lists
//! stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::{sh, ui};

/// The Debian release whose kernel is the oldest that Vizard is to run on.
const RELEASE: &str = "bookworm";
const PACKAGE: &str = "linux-image-amd64";
/// Debian signs with these, on every release of its own.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What the machine needs that Debian builds as modules, in the order of loading:
/// virtio and the host's file system, a place for changes to it, virtual pairs.
const MODULES: [&str; 12] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "fs/netfs/netfs",
    "fs/fscache/fscache",
    "net/9p/9pnet",
    "net/9p/9pnet_virtio",
    "fs/9p/9p",
    "fs/overlayfs/overlay",
    "drivers/net/veth",
];

/// A kernel with its modules.
pub(super) struct Kernel {
    pub(super) version: String,
    pub(super) image: PathBuf,
    /// In the order of loading.
    pub(super) modules: Vec<PathBuf>,
}

/// Where the kernel and what is made of it are kept.
pub(super) fn folder() -> PathBuf {
    sh::tools().join("vm")
}

impl Kernel {
    /// The kernel that was fetched, if all of it is there.
    pub(super) fn there() -> Option<Self> {
        let boot = folder().join("kernel/boot");
        let image = fs::read_dir(&boot).ok()?.flatten().map(|entry| entry.path()).find(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
        })?;
        let version = image.file_name()?.to_str()?.strip_prefix("vmlinuz-")?.to_owned();
        let modules = modules(&version).map(|path| folder().join("kernel").join(path)).to_vec();
        modules.iter().all(|path| path.is_file()).then_some(Self { version, image, modules })
    }
}

fn modules(version: &str) -> [String; MODULES.len()] {
    MODULES.map(|module| format!("lib/modules/{version}/kernel/{module}.ko"))
}

/// Fetches the kernel unless it is there.
pub(crate) fn fetch() -> Result<String> {
    if let Some(kernel) = Kernel::there() {
        return Ok(kernel.version);
    }
    if !cfg!(target_arch = "x86_64") {
        bail!("the test machine is an x86-64 one, and this is not");
    }
    if sh::find("apt-get").is_none() {
        bail!("Debian's kernel is fetched with apt-get, which is not here: run this on Debian");
    }
    ui::busy("kernel", &format!("fetching {PACKAGE} of Debian {RELEASE}, about 70 MB"));
    let apt = Apt::new(&folder().join("apt"))?;
    apt.run(&["update"])?;
    let image = apt.image()?;
    apt.run(&["download", &image])?;
    unpack(&apt.folder, &image)?;
    fs::remove_dir_all(&apt.folder).with_context(|| format!("cannot remove {}", apt.folder.display()))?;
    let kernel = Kernel::there().with_context(|| format!("{image} lacks a file that it should have"))?;
    Ok(format!("{} fetched into .tools", kernel.version))
}

/// Takes the image and the modules out of the package.
fn unpack(packages: &Path, image: &str) -> Result<()> {
    let version = image.strip_prefix("linux-image-").with_context(|| format!("{image} has no version"))?;
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let package = fs::read_dir(packages)?.flatten().map(|entry| entry.path()).find(is_package);
    let package = package.with_context(|| format!("apt-get left no package in {}", packages.display()))?;
    let target = folder().join("kernel");
    fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;

    let mut archive = sh::command("dpkg-deb");
    archive.arg("--fsys-tarfile").arg(&package).stdout(Stdio::piped());
    let mut archive = archive.spawn().context("cannot start dpkg-deb")?;
    let files = archive.stdout.take().context("standard output was piped")?;
    let mut tar = sh::command("tar");
    tar.arg("-x").arg("-C").arg(&target).arg(format!("./boot/vmlinuz-{version}"));
    tar.args(modules(version).map(|path| format!("./{path}"))).stdin(files);
    sh::run(&mut tar)?;
    ensure!(archive.wait()?.success(), "dpkg-deb cannot read {}", package.display());
    Ok(())
}

/// apt with sources and folders of its own.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
        }
        let format = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)";
        let mut targets = sh::command("apt-get");
        targets.args(["indextargets", "--format", format, "Identifier: Packages"]);
        let sources = sources(&sh::output(&mut targets)?);
        ensure!(
            !sources.is_empty(),
            "apt knows no source of Debian here: run `apt-get update`, or run this on Debian"
        );
        let list = folder.join("sources.list");
        fs::write(&list, sources).with_context(|| format!("cannot write {}", list.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = sh::command(program);
        let at = |name: &str| self.folder.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::SourceList={}", at("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::Cache={}", at("cache")),
            "Acquire::Languages=none".to_owned(),
            // Another user might not be let into the project's folder.
            format!("APT::Sandbox::User={}", if harness::is_root() { "root" } else { "" }),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }

    /// Runs apt-get; what it downloads lands in the folder.
    fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command("apt-get");
        command.arg("-qq").args(arguments).current_dir(&self.folder);
        sh::run(command.stdout(std::io::stderr()))
    }

    /// The package that the one without a version stands for.
    fn image(&self) -> Result<String> {
        let said = sh::output(self.command("apt-cache").args(["depends", PACKAGE]))?;
        let image = said.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
        let version = image.with_context(|| format!("{PACKAGE} depends on no kernel:\n{said}"))?;
        Ok(format!("linux-image-{}", version.trim()))
    }
}

/// Sources of the wanted release, from rows of where other releases are had:
/// address, release, component, origin.
fn sources(targets: &str) -> String {
    let signed = if Path::new(KEYRING).is_file() { format!("[signed-by={KEYRING}] ") } else { String::new() };
    let mut lines: Vec<String> = targets
        .lines()
        .filter_map(|row| {
            let [address, release, "main", "Debian"] = row.split(' ').collect::<Vec<_>>()[..] else {
                return None;
            };
            // Updates between releases stay away: they are in the next one, or are no kernels.
            let suffix = match release.split_once('-') {
                None => "",
                Some((_, "security")) => "-security",
                Some(_) => return None,
            };
            Some(format!("deb {signed}{address} {RELEASE}{suffix} main\n"))
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_exchanged_and_the_place_kept() {
        let rows = "http://a.example/debian/ trixie main Debian\n\
                    http://a.example/debian/ trixie-updates main Debian\n\
                    http://a.example/debian/ trixie contrib Debian\n\
                    http://b.example/security/ trixie-security main Debian\n\
                    http://c.example/apt/ trixie main Somebody";
        let sources = sources(rows);
        let lines: Vec<Vec<&str>> = sources
            .lines()
            .map(|line| line.split(' ').filter(|word| !word.starts_with('[')).collect())
            .collect();
        assert_eq!(
            lines,
            [
                ["deb", "http://a.example/debian/", "bookworm", "main"],
                ["deb", "http://b.example/security/", "bookworm-security", "main"]
            ]
        );
    }
}
