//! Gathers the facts: /proc, /sys and the ethtool ioctl. Changes nothing and
//! starts no program.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;

use super::ethtool::{self, Device};
use super::facts::{Details, Facts, Interface, Known, Role, SipPort, Wanted};
use crate::datapath::memory;
use crate::engine::sip::transport::Transport;
use crate::net::bind::{self, BindProblem, Holder};

const NETWORK: &str = "/sys/class/net";

/// Looks at this machine. With no interface named, those that carry the media
/// addresses are looked at.
pub(super) fn gather(wanted: &Wanted, interfaces: &[String]) -> Facts {
    let addresses = ethtool::interface_addresses();
    let mut names: Vec<String> = interfaces.to_vec();
    if let (true, Ok(addresses)) = (names.is_empty(), &addresses) {
        let carrying = addresses.iter().filter(|(_, address)| wanted.media.contains(address));
        names.extend(carrying.map(|(name, _)| name.clone()));
        names.sort();
        names.dedup();
    }
    let under: Vec<String> = names.iter().filter_map(|name| under_vlan(name)).collect();
    let plain = names.iter().filter(|name| !under.contains(name)).map(|name| interface(name, Role::Untagged));
    let mut interfaces: Vec<Interface> = plain.collect();
    interfaces.extend(under.iter().map(|name| interface(name, Role::UnderVlan)));
    Facts {
        kernel: text("/proc/sys/kernel/osrelease"),
        btf: Ok(Path::new("/sys/kernel/btf/vmlinux").exists()),
        capabilities: capabilities(),
        bpffs: text("/proc/self/mounts").map(|mounts| has_bpffs(&mounts)),
        jit: number("/proc/sys/net/core/bpf_jit_enable"),
        ephemeral: text("/proc/sys/net/ipv4/ip_local_port_range").and_then(|text| port_range(&text)),
        reserved: text("/proc/sys/net/ipv4/ip_local_reserved_ports").and_then(|text| port_list(&text)),
        receive_buffer: number("/proc/sys/net/core/rmem_max"),
        memory: memory::available(),
        clock_synchronised: ethtool::clock_synchronised(),
        media: wanted.media.iter().map(|&address| (address, is_ours(address))).collect(),
        sip: wanted.listen.iter().map(|&address| (address, sip_port(address))).collect(),
        interfaces,
    }
}

/// Binding it for a moment is the only answer that is never wrong.
fn sip_port((transport, address): (Transport, SocketAddr)) -> SipPort {
    let bound =
        if transport.is_reliable() { bind::probe_tcp(address) } else { bind::bind_udp(address).map(drop) };
    match bound {
        Ok(()) => SipPort::Free,
        Err(error) => match error.problem {
            BindProblem::InUse(Holder::Process { pid, name }) if name == "vizard" => {
                SipPort::Ours(format!("{name} (pid {pid})"))
            }
            problem => SipPort::Blocked(problem.to_string()),
        },
    }
}

/// Whether some port of it can be bound.
fn is_ours(address: IpAddr) -> bool {
    !matches!(bind::bind_udp((address, 0).into()), Err(error) if matches!(error.problem, BindProblem::NoSuchAddress))
}

/// The physical interface that a VLAN is on, through another VLAN perhaps; `None`
/// when it is no VLAN.
fn under_vlan(name: &str) -> Option<String> {
    let mut lowest = None;
    let mut directory = Path::new(NETWORK).join(name);
    while is_vlan(&fs::read_to_string(directory.join("uevent")).unwrap_or_default()) {
        let mut entries = fs::read_dir(&directory).ok()?.flatten();
        let lower = entries.find_map(|entry| {
            entry.file_name().to_string_lossy().strip_prefix("lower_").map(str::to_owned)
        })?;
        directory = Path::new(NETWORK).join(&lower);
        lowest = Some(lower);
    }
    lowest
}

pub(super) fn is_vlan(uevent: &str) -> bool {
    uevent.lines().any(|line| line == "DEVTYPE=vlan")
}

fn interface(name: &str, role: Role) -> Interface {
    let directory = Path::new(NETWORK).join(name);
    let role = match role {
        Role::Untagged if under_vlan(name).is_some() => Role::Vlan,
        Role::Untagged | Role::Vlan | Role::UnderVlan => role,
    };
    if !directory.exists() {
        let details = Err("there is no such interface".to_owned());
        return Interface { name: name.to_owned(), role, details };
    }
    let sys = |file: &str| text(&directory.join(file).to_string_lossy());
    let device = Device::open(name);
    let ask = |question: fn(&Device) -> Known<bool>| device.as_ref().map_err(Clone::clone).and_then(question);
    let filter = |scope: &str| number(&format!("/proc/sys/net/ipv4/conf/{scope}/rp_filter"));
    let details = Details {
        // A veth or a tunnel is "unknown" while it works.
        up: sys("operstate").map(|state| state == "up" || state == "unknown"),
        driver: device.as_ref().map_err(Clone::clone).and_then(Device::driver),
        queues: queues(&directory),
        mtu: sys("mtu").and_then(|mtu| mtu.parse().map_err(|_| format!("'{mtu}' is not an MTU"))),
        hashes_ports: ask(Device::hashes_udp_ports),
        lro: ask(Device::lro),
        gro: ask(Device::gro),
        strips_vlan: ask(Device::strips_vlan),
        transmit_checksum: ask(Device::transmit_checksum),
        reverse_path_filter: filter("all").and_then(|all| Ok(all.max(filter(name)?))),
    };
    Interface { name: name.to_owned(), role, details: Ok(details) }
}

fn queues(directory: &Path) -> Known<usize> {
    let queues = directory.join("queues");
    let entries = fs::read_dir(&queues).map_err(|error| format!("{}: {error}", queues.display()))?;
    Ok(entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-")).count())
}

fn capabilities() -> Known<u64> {
    let status = text("/proc/self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .ok_or_else(|| "/proc/self/status does not tell".to_owned())
}

pub(super) fn has_bpffs(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some("/sys/fs/bpf") && fields.next() == Some("bpf")
    })
}

/// Two numbers with white space between, as in `32768 60999`.
pub(super) fn port_range(text: &str) -> Known<RangeInclusive<u16>> {
    let mut ports = text.split_whitespace().map(str::parse::<u16>);
    match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Ok(first..=last),
        _ => Err(format!("'{text}' is not a range of ports")),
    }
}

/// `8080,9000-9100`, or nothing.
pub(super) fn port_list(text: &str) -> Known<Vec<RangeInclusive<u16>>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    parts.map(|part| range(part).ok_or_else(|| format!("'{part}' is not a range of ports"))).collect()
}

fn text(path: &str) -> Known<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

fn number(path: &str) -> Known<u64> {
    let text = text(path)?;
    text.parse().map_err(|_| format!("{path} holds '{text}'"))
}
