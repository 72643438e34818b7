//! The kernel memory that the maps take, held against what this machine has.
//!
//! It is all taken when the path is opened and none later, so a Vizard that runs never
//! finds itself without room for a flow. What is in the way is said before: the maps
//! are locked memory, which nothing can swap out, and where they do not fit the kernel
//! would rather kill a process than say so. Linux 5.11 and later count them against
//! the control group of the process, not against `RLIMIT_MEMLOCK`.

use std::fs;
use std::path::Path;

use relay_ebpf::abi;

use super::{DatapathConfig, DatapathError, Mode};

/// What the maps take, in bytes; nothing where plain sockets relay.
#[must_use]
pub fn needed(config: &DatapathConfig) -> u64 {
    match config.mode {
        Mode::Sockets => 0,
        Mode::Auto | Mode::XdpNative | Mode::XdpGeneric => abi::map_bytes(flows(config), possible_cpus()),
    }
}

/// How many flows there may be: one per media address and port.
#[must_use]
pub fn flows(config: &DatapathConfig) -> u64 {
    config.addresses.len() as u64 * config.ports.len() as u64
}

/// What there is: the machine's available memory, or what a control group leaves of it.
pub fn available() -> Result<u64, String> {
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let machine = available_of(&read(Path::new("/proc/meminfo"))?)
        .ok_or_else(|| "/proc/meminfo does not tell".to_owned())?;
    let own = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    Ok(group_of(&own).map_or(machine, |group| {
        let folders = Path::new(group).ancestors().filter_map(|folder| folder.strip_prefix("/").ok());
        let left = folders.filter_map(|folder| left_in(&Path::new("/sys/fs/cgroup").join(folder)));
        left.fold(machine, u64::min)
    }))
}

/// Refuses maps that would not fit, before anything is made.
pub(super) fn check(config: &DatapathConfig) -> Result<(), DatapathError> {
    let (needed, Ok(available)) = (needed(config), available()) else { return Ok(()) };
    if needed <= available {
        return Ok(());
    }
    Err(DatapathError::System {
        doing: "making room for the kernel maps".to_owned(),
        problem: format!(
            "{} flows take {} of kernel memory and {} are available: narrow media.ports, remove a media address, \
             or set media.path = \"sockets\"",
            flows(config),
            mebibytes(needed),
            mebibytes(available)
        ),
    })
}

/// Bytes, as people read them.
#[must_use]
pub fn mebibytes(bytes: u64) -> String {
    const KIB: u64 = 1024;
    let tenths = bytes * 10 / (KIB * KIB);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn possible_cpus() -> u64 {
    aya::util::nr_cpus().map_or(1, |cpus| cpus as u64)
}

fn available_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The control group of a process, as version 2 names it.
fn group_of(own: &str) -> Option<&str> {
    own.lines().find_map(|line| line.strip_prefix("0::"))
}

/// What a control group leaves; `None` where it sets no limit.
fn left_in(folder: &Path) -> Option<u64> {
    let number = |file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok();
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(available_of("MemTotal: 9 kB\nMemAvailable:   16384000 kB\n"), Some(16_384_000 * 1024));
        assert_eq!(available_of("MemTotal: 9 kB\n"), None);
        assert_eq!(
            group_of("12:cpu:/x\n0::/system.slice/vizard.service\n"),
            Some("/system.slice/vizard.service")
        );
        assert!(available().unwrap() > 0);
        assert_eq!(mebibytes(7 * 1024 * 1024 + 512 * 1024), "7.5 MiB");
    }

    #[test]
    fn a_control_group_without_a_limit_leaves_all() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file, text| fs::write(folder.path().join(file), text).unwrap();
        write("memory.current", "1000\n");
        write("memory.max", "max\n");
        assert_eq!(left_in(folder.path()), None);
        write("memory.max", "1500\n");
        assert_eq!(left_in(folder.path()), Some(500));
    }

    /// What does not fit is refused by name; nothing that could fill a machine is made.
    #[test]
    fn maps_that_do_not_fit_are_refused() {
        let mut config = DatapathConfig {
            mode: Mode::Auto,
            interfaces: Vec::new(),
            addresses: vec!["192.0.2.10".parse().unwrap()],
            ports: 20_000..=20_099,
            guard: None,
            pin: None,
            discard_calls: false,
        };
        assert!(check(&config).is_ok());
        let one = needed(&config);
        config.addresses = vec!["192.0.2.10".parse().unwrap(); 16_384];
        config.ports = 1024..=65_535;
        let refused = super::super::open(&config).err().unwrap().to_string();
        for word in ["1056964608 flows", "MiB", "narrow media.ports"] {
            assert!(refused.contains(word), "{word}: {refused}");
        }
        config.mode = Mode::Sockets;
        assert!(needed(&config) == 0 && one > 0 && check(&config).is_ok());
    }
}
