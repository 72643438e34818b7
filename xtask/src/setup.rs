//! What the tasks need and how it gets there: the compiler's parts, tools built
//! into `.tools`, the distribution's packages, the BPF file system.
//!
//! Each step looks first and acts only when something is missing, so a second
//! run takes well under a second. Nothing is installed outside the project but
//! packages of the distribution, and those only as root.

use anyhow::{Context, Result, bail};

use crate::{sh, ui, vm};

/// Something that a task needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// core's source, to build it for the kernel's instruction set.
    RustSource,
    /// The linker that turns LLVM bitcode into a BPF object.
    BpfLinker,
    /// Checkers of licences, spelling and unused dependencies.
    Checkers,
    /// The SIP peers that place the calls.
    Peers,
    /// Phones that play and record sound.
    Phones,
    /// Network namespaces, offload settings, captures.
    Network,
    /// What the media path is measured against.
    Rivals,
    /// Looks at the order of system calls.
    Tracer,
    /// Runs another kernel.
    Emulator,
    /// The oldest kernel that is tested.
    OldKernel,
    /// Where BPF maps and links are pinned.
    BpfFilesystem,
}

/// What building vizard takes.
pub(crate) const BUILD: &[Need] = &[Need::RustSource, Need::BpfLinker];

/// Brings about everything that this user may bring about, but for what the tasks
/// install that are run seldom and need much (`vmtest`, `bench media`).
pub(crate) fn everything() -> Result<()> {
    let mut needs = vec![
        Need::RustSource,
        Need::BpfLinker,
        Need::Checkers,
        Need::Peers,
        Need::Phones,
        Need::Network,
        Need::Tracer,
    ];
    if harness::is_root() {
        needs.push(Need::BpfFilesystem);
    }
    bring_about(&needs)?;
    if !harness::is_root() {
        ui::good(
            "privileges",
            "none: the demo uses loopback and plain sockets; XDP and namespaces need root",
        );
    }
    Ok(())
}

/// Brings about what is missing of `needs`.
pub(crate) fn bring_about(needs: &[Need]) -> Result<()> {
    ui::heading("setup");
    let mut packages = Vec::new();
    for need in needs {
        match need {
            Need::RustSource => ui::step("rust-src", rust_source)?,
            Need::BpfLinker => ui::step("bpf-linker", || tool(&BPF_LINKER))?,
            Need::Checkers => {
                for checker in &CHECKERS {
                    ui::step(checker.program, || tool(checker))?;
                }
            }
            Need::Peers => packages.extend(PEERS),
            Need::Phones => packages.extend(PHONES),
            Need::Network => packages.extend(NETWORK),
            Need::Rivals => packages.extend(RIVALS),
            Need::Tracer => packages.extend(TRACER),
            Need::Emulator => packages.extend(EMULATOR),
            Need::OldKernel => ui::step("kernel", vm::kernel::fetch)?,
            Need::BpfFilesystem => ui::step("bpffs", bpf_filesystem)?,
        }
    }
    if packages.is_empty() {
        return Ok(());
    }
    ui::step("packages", || distribution(&packages))
}

/// A program that is compiled from the crates registry into `.tools`.
struct Tool {
    package: &'static str,
    program: &'static str,
    version: &'static str,
    /// Whether it runs for long enough to be worth optimising.
    optimised: bool,
    takes: &'static str,
}

/// Newer versions need another LLVM than the pinned rustc's.
const BPF_LINKER: Tool = Tool {
    package: "bpf-linker",
    program: "bpf-linker",
    version: "0.10.4",
    optimised: true,
    takes: "two minutes",
};

const CHECKERS: [Tool; 3] = [
    Tool {
        package: "cargo-deny",
        program: "cargo-deny",
        version: "0.20.2",
        optimised: false,
        takes: "a minute",
    },
    Tool {
        package: "cargo-machete",
        program: "cargo-machete",
        version: "0.9.2",
        optimised: false,
        takes: "half a minute",
    },
    Tool { package: "typos-cli", program: "typos", version: "1.52.0", optimised: false, takes: "a minute" },
];

fn tool(tool: &Tool) -> Result<String> {
    let program = sh::tools().join("bin").join(tool.program);
    let ready = || {
        let said = sh::output(sh::command(&program.to_string_lossy()).arg("--version")).unwrap_or_default();
        said.split_whitespace().any(|word| word == tool.version)
    };
    if ready() {
        return Ok(tool.version.to_owned());
    }
    ui::busy(tool.program, &format!("compiling {} {}, about {}", tool.package, tool.version, tool.takes));
    let mut install = sh::cargo();
    install.args(["install", "--quiet", "--locked", "--force", tool.package, "--version", tool.version]);
    install.arg("--root").arg(sh::tools());
    if !tool.optimised {
        install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").env("CARGO_PROFILE_RELEASE_LTO", "off");
        install.env("CARGO_PROFILE_RELEASE_DEBUG", "0").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    }
    sh::run(&mut install)?;
    if !ready() {
        bail!("{} does not say that it is version {}", program.display(), tool.version);
    }
    Ok(format!("{} installed into .tools", tool.version))
}

fn rust_source() -> Result<String> {
    let sysroot = sh::output(sh::command("rustc").args(["--print", "sysroot"]))?;
    let core = std::path::Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    let version = sh::output(sh::command("rustc").arg("--version"))?;
    if core.is_file() {
        return Ok(format!("there, for {version}"));
    }
    if sh::find("rustup").is_some() {
        sh::run(sh::command("rustup").args(["component", "add", "rust-src"]))?;
        return Ok(format!("added to {version}"));
    }
    bail!(
        "{} is missing and there is no rustup to add it. Install rustup, or a compiler whose source your \
         distribution packages: on Debian `apt-get install rustc-web cargo-web rust-web-src`",
        core.display()
    )
}

/// A program and the Debian package that has it.
type Packaged = (&'static str, &'static str);

const PEERS: [Packaged; 1] = [("sipp", "sip-tester")];
const PHONES: [Packaged; 1] = [("baresip", "baresip-core")];
const NETWORK: [Packaged; 5] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
    ("mount", "mount"),
];
const RIVALS: [Packaged; 2] = [("nft", "nftables"), ("rtpengine", "rtpengine-daemon")];
const TRACER: [Packaged; 1] = [("strace", "strace")];
const EMULATOR: [Packaged; 2] = [("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static")];

fn distribution(wanted: &[Packaged]) -> Result<String> {
    let missing = || -> Vec<Packaged> {
        wanted.iter().copied().filter(|(program, _)| sh::find(program).is_none()).collect()
    };
    let absent = missing();
    let all = || wanted.iter().map(|(_, package)| *package).collect::<Vec<_>>().join(" ");
    if absent.is_empty() {
        return Ok(all());
    }
    let packages: Vec<&str> = absent.iter().map(|(_, package)| *package).collect();
    let line = packages.join(" ");
    if !harness::is_root() {
        bail!("install these packages, then try again: sudo apt-get install {line}");
    }
    if sh::find("apt-get").is_none() {
        let programs: Vec<&str> = absent.iter().map(|(program, _)| *program).collect();
        bail!(
            "these programs are missing: {}. There is no apt-get here; Debian's packages for them are {line}: \
             install your distribution's, then try again",
            programs.join(" ")
        );
    }
    ui::busy("packages", &format!("installing {line}"));
    let apt = |arguments: &[&str]| {
        let mut apt = sh::command("apt-get");
        apt.args(["-qq", "-o", "DPkg::Lock::Timeout=120"]).args(arguments);
        apt.env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr());
        sh::run(&mut apt)
    };
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], packages.as_slice()].concat())?;
    if let Some((program, package)) = missing().first() {
        bail!("{package} is installed, but there is still no `{program}` in the search path");
    }
    Ok(format!("{} (installed {line})", all()))
}

fn bpf_filesystem() -> Result<String> {
    const PLACE: &str = "/sys/fs/bpf";
    let mounts = std::fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
    let mounted = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(PLACE) && fields.next() == Some("bpf")
    };
    if mounts.lines().any(mounted) {
        return Ok(format!("mounted at {PLACE}"));
    }
    sh::run(sh::command("mount").args(["-t", "bpf", "bpf", PLACE]))
        .context("pinned maps need the BPF file system; is the kernel built with CONFIG_BPF_SYSCALL?")?;
    Ok(format!("now mounted at {PLACE}"))
}
