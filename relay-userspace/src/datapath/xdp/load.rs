//! Loads the embedded program, attaches it, and explains what stands in the way.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use aya::maps::{DevMapHash, HashMap, MapError};
use aya::programs::links::FdLink;
use aya::programs::xdp::{XdpError, XdpLink, XdpMode};
use aya::programs::{ProgramError, Xdp, loaded_programs};
use aya::{Ebpf, EbpfError, EbpfLoader};
use relay_ebpf::abi::{self, Address, Attachment, Family, Guard, Layout};

use super::interfaces::MediaInterface;
use super::netlink::Link;
use super::pins::Pins;
use crate::datapath::{DatapathConfig, DatapathError};

/// The program, as `build.rs` made it; empty when the build skipped it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/relay"));

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// In the driver.
    Native,
    /// In the stack's receive path.
    Generic,
}

impl Hook {
    fn mode(self) -> XdpMode {
        match self {
            Self::Native => XdpMode::Driver,
            Self::Generic => XdpMode::Skb,
        }
    }

    /// The word for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native XDP",
            Self::Generic => "generic XDP",
        }
    }
}

/// The layout of the maps for these media addresses and ports.
pub fn layout(config: &DatapathConfig) -> Result<Layout, DatapathError> {
    let mut layout = Layout::new(*config.ports.start(), *config.ports.end());
    for &address in &config.addresses {
        layout = match address {
            IpAddr::V4(address) => layout.with(Address::v4(address.octets()), Family::V4),
            IpAddr::V6(address) => layout.with(Address::v6(address.octets()), Family::V6),
        }
        .ok_or_else(|| {
            failed(
                "laying out the maps",
                format!("at most {} media addresses are possible", abi::MAX_ADDRESSES),
            )
        })?;
    }
    if layout.slots() == 0 {
        return Err(failed("laying out the maps", "there is no media address or no media port".to_owned()));
    }
    Ok(layout)
}

/// Loads the program and its maps, without a guard; `log` has it report what it
/// learns.
pub fn load(layout: &Layout, log: bool) -> Result<Ebpf, DatapathError> {
    load_guarding(layout, &Guard::NONE, false, log)
}

/// As [`load`], with a guard of the signalling sockets; `vlans` says whether a media
/// interface has VLAN tags.
pub fn load_guarding(layout: &Layout, guard: &Guard, vlans: bool, log: bool) -> Result<Ebpf, DatapathError> {
    load_over(layout, guard, vlans, log, None)
}

/// As [`load_guarding`], over the pinned maps, which are made where there are
/// none.
pub(super) fn load_over(
    layout: &Layout,
    guard: &Guard,
    vlans: bool,
    log: bool,
    pins: Option<&Pins>,
) -> Result<Ebpf, DatapathError> {
    const DOING: &str = "loading the XDP program";
    if OBJECT.is_empty() {
        return Err(failed(
            DOING,
            "this binary was built without it (AYA_BUILD_SKIP was set): build it again".to_owned(),
        ));
    }
    let level: u8 = if log { u8::MAX } else { 0 };
    let vlans = u32::from(vlans);
    let slots = layout.slots();
    let mut loader = EbpfLoader::new();
    if let Some(pins) = pins {
        pins.prepare()?;
        for name in Pins::names(layout) {
            loader.map_pin_path(name, pins.map(name));
        }
    }
    let mut ebpf = loader
        .override_global(abi::LAYOUT, layout, true)
        .override_global(abi::GUARD, guard, true)
        .override_global(abi::VLANS_USED, &vlans, true)
        .override_global(aya_log::LEVEL, &level, false)
        .map_max_entries(abi::FLOWS, slots)
        .map_max_entries(abi::RESTS, slots)
        .map_max_entries(abi::HOPS, abi::hops(slots))
        .load(OBJECT)
        .map_err(|error| failed(DOING, explain_load(&error)))?;
    let program = program(&mut ebpf).map_err(|error| failed(DOING, explain_program(&error)))?;
    load_undisturbed(program).map_err(|error| failed(DOING, explain_program(&error)))?;
    Ok(ebpf)
}

/// The program of a loaded object.
pub fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, ProgramError> {
    ebpf.program_mut(abi::PROGRAM).ok_or(ProgramError::NotLoaded)?.try_into()
}

/// The program that passes every frame, loaded from the same object.
pub fn bare_program(ebpf: &mut Ebpf) -> Result<&mut Xdp, ProgramError> {
    let program: &mut Xdp = ebpf.program_mut(abi::BARE_PROGRAM).ok_or(ProgramError::NotLoaded)?.try_into()?;
    if program.fd().is_err() {
        load_undisturbed(program)?;
    }
    Ok(program)
}

/// Lets the program send on these interfaces and puts it in place there: on top of
/// what a process before this one has left, without a gap, else anew.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    interfaces: &[MediaInterface],
    hook: Hook,
    pins: Option<&Pins>,
) -> Result<(), DatapathError> {
    name_interfaces(ebpf, interfaces)?;
    let ports: BTreeMap<u32, &Link> =
        interfaces.iter().map(|interface| (interface.port.index, &interface.port)).collect();
    let devices = ebpf.map_mut(abi::DEVICES).ok_or_else(|| missing(abi::DEVICES))?;
    let doing = "opening interfaces for sending";
    let mut devices = DevMapHash::try_from(devices).map_err(|error| failed(doing, error.to_string()))?;
    for &index in ports.keys() {
        devices.insert(index, index, None, 0).map_err(|error| failed(doing, error.to_string()))?;
    }
    for &link in ports.values() {
        let doing = format!("attaching {} to {}", hook.as_str(), link.name);
        let program = program(ebpf).map_err(|error| failed(&doing, explain_program(&error)))?;
        let attached = match pins.and_then(|pins| pins.link(link, hook)) {
            Some(left) => replace(program, left),
            None => match link.xdp_program {
                Some(id) => return Err(failed(&doing, in_use(id, &link.name))),
                None => attach_anew(program, link, hook, pins)?,
            },
        };
        attached.map_err(|error| failed(&doing, explain_attach(&error, link, hook)))?;
        if link.is_veth {
            tracing::warn!(
                interface = %link.name,
                "a virtual pair delivers what is sent here only if its other end has an XDP program (a plain pass \
                 will do) or GRO, and its packets have whole checksums only with `ethtool -K DEV tx off` there"
            );
        }
    }
    Ok(())
}

/// Tells the program which interface a frame is of, and back.
fn name_interfaces(ebpf: &mut Ebpf, interfaces: &[MediaInterface]) -> Result<(), DatapathError> {
    let doing = "naming the media interfaces";
    let refused = |error: MapError| failed(doing, error.to_string());
    let map = ebpf.map_mut(abi::ARRIVALS).ok_or_else(|| missing(abi::ARRIVALS))?;
    let mut arrivals: HashMap<_, Attachment, u32> = map.try_into().map_err(refused)?;
    for interface in interfaces {
        arrivals.insert(interface.attachment(), interface.link.index, 0).map_err(refused)?;
    }
    let map = ebpf.map_mut(abi::VLANS).ok_or_else(|| missing(abi::VLANS))?;
    let mut vlans: HashMap<_, u32, Attachment> = map.try_into().map_err(refused)?;
    for interface in interfaces.iter().filter(|interface| interface.is_tagged()) {
        vlans.insert(interface.link.index, interface.attachment(), 0).map_err(refused)?;
    }
    Ok(())
}

/// Replaces the program of a link.
fn replace(program: &mut Xdp, link: FdLink) -> Result<(), ProgramError> {
    let link = XdpLink::try_from(link).map_err(|_| ProgramError::UnexpectedProgramType)?;
    program.attach_to_link(link).map(drop)
}

/// Attaches the program, and has the link outlive the process where it may.
fn attach_anew(
    program: &mut Xdp,
    link: &Link,
    hook: Hook,
    pins: Option<&Pins>,
) -> Result<Result<(), ProgramError>, DatapathError> {
    let id = match program.attach_to_if_index(link.index, hook.mode()) {
        Ok(id) => id,
        Err(error) => return Ok(Err(error)),
    };
    let Some(pins) = pins else { return Ok(Ok(())) };
    let attached = match program.take_link(id) {
        Ok(attached) => attached,
        Err(error) => return Ok(Err(error)),
    };
    let attached = FdLink::try_from(attached).map_err(|_| {
        failed("pinning a link", "this kernel has no XDP links (5.9 has): set media.pin = \"\"".into())
    })?;
    let kept = pins.keep(link, hook, attached)?;
    Ok(replace(program, kept))
}

/// An error of this module.
pub(super) fn failed(doing: &str, problem: String) -> DatapathError {
    DatapathError::System { doing: doing.to_owned(), problem }
}

/// The object lacks a map: the two halves were not built together.
pub(super) fn missing(map: &str) -> DatapathError {
    failed("opening the kernel maps", format!("the XDP program has no map {map}: build the binary again"))
}

fn in_use(id: u32, interface: &str) -> String {
    let program = loaded_programs().filter_map(Result::ok).find(|info| info.id() == id);
    let name = program.as_ref().and_then(|info| info.name_as_str()).unwrap_or("of unknown name").to_owned();
    let user = program.as_ref().and_then(aya::programs::ProgramInfo::created_by_uid);
    let user = user.map_or_else(String::new, |uid| format!(", loaded by user {uid}"));
    format!(
        "it already has XDP program {id} ({name}{user}): stop its owner, or detach it with \
         `ip link set dev {interface} xdp off`"
    )
}

/// Loads a program. A signal to this thread makes the verifier give up with
/// `EAGAIN`, which says nothing about the program.
fn load_undisturbed(program: &mut Xdp) -> Result<(), ProgramError> {
    const TRIES: u32 = 10;
    let disturbed = |error: &ProgramError| match error {
        ProgramError::LoadError { io_error, .. } => io_error.kind() == io::ErrorKind::WouldBlock,
        _ => false,
    };
    let mut loaded = program.load();
    for _ in 1..TRIES {
        match &loaded {
            Err(error) if disturbed(error) => loaded = program.load(),
            Ok(()) | Err(_) => break,
        }
    }
    loaded
}

fn explain_load(error: &EbpfError) -> String {
    match error {
        EbpfError::MapError(MapError::CreateError { io_error, name }) => {
            format!("map {name}: {}", explain(io_error))
        }
        other => other.to_string(),
    }
}

fn explain_program(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, .. } if is_refusal(io_error) => explain(io_error),
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            // The last lines say how far the verifier came, the one before them why no further.
            let figures = ["processed ", "stack depth ", "verification time "];
            let told = |line: &&str| {
                !line.trim().is_empty() && !figures.iter().any(|figure| line.starts_with(figure))
            };
            let last = log.lines().rev().find(told).unwrap_or("no reason given");
            format!("the kernel's verifier refused it ({io_error}): {last}")
        }
        ProgramError::SyscallError(error) => explain(&error.io_error),
        other => other.to_string(),
    }
}

fn explain_attach(error: &ProgramError, link: &Link, hook: Hook) -> String {
    let io_error = match error {
        ProgramError::SyscallError(error) => &error.io_error,
        ProgramError::XdpError(XdpError::NetlinkError(error)) => {
            return refused_by_driver(&error.to_string(), link);
        }
        other => return other.to_string(),
    };
    match (io_error.raw_os_error(), hook) {
        (Some(libc::EOPNOTSUPP), Hook::Native) => {
            format!("the driver of {} has no native XDP: use generic XDP", link.name)
        }
        (Some(libc::EBUSY | libc::EEXIST), _) => {
            "another XDP program is on it, or one in the other mode: detach that first".to_owned()
        }
        (Some(libc::EINVAL | libc::ERANGE | libc::EMSGSIZE), _) => {
            refused_by_driver(&io_error.to_string(), link)
        }
        _ => explain(io_error),
    }
}

fn refused_by_driver(problem: &str, link: &Link) -> String {
    let whose = if link.is_veth { " or at the pair's other end" } else { "" };
    format!(
        "{problem}: drivers refuse XDP with an MTU over about 3500 (here {}){whose}, with large receive offload \
         (`ethtool -K {} lro off`), or with too few queues; `dmesg` may say which",
        link.mtu, link.name
    )
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)) && missing_capabilities().is_some()
        || error.raw_os_error() == Some(libc::EPERM)
}

/// What a system call's failure means here, and what to do.
pub(super) fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => match missing_capabilities() {
            Some(missing) => format!("{error}: the process lacks {missing} (root has both)"),
            None => format!(
                "{error}, though the process has CAP_BPF and CAP_NET_ADMIN: a security module or kernel lockdown \
                 forbids it (see /sys/kernel/security/lockdown, and `ausearch -m avc` or `dmesg`)"
            ),
        },
        Some(libc::ENOMEM) => format!("{error}: fewer media ports need less kernel memory"),
        Some(libc::ENOSYS) => format!("{error}: this kernel was built without BPF"),
        _ => error.to_string(),
    }
}

/// Which of the two capabilities the process lacks.
fn missing_capabilities() -> Option<String> {
    const CAP_NET_ADMIN: u32 = 12;
    const CAP_SYS_ADMIN: u32 = 21;
    const CAP_BPF: u32 = 39;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let held = u64::from_str_radix(line.trim(), 16).ok()?;
    let has = |capability: u32| held >> capability & 1 == 1;
    let mut missing = Vec::new();
    if !has(CAP_BPF) && !has(CAP_SYS_ADMIN) {
        missing.push("CAP_BPF");
    }
    if !has(CAP_NET_ADMIN) {
        missing.push("CAP_NET_ADMIN");
    }
    (!missing.is_empty()).then(|| missing.join(" and "))
}
