//! What the facts mean. Pure: each check is a function of facts, so that every
//! verdict can be tested on machines that do not have it.

use std::ops::RangeInclusive;
use std::path::Path;

use serde::Serialize;

use super::facts::{Details, Facts, Interface, Known, Role, SipPort, Wanted};
use crate::daemon::inspect::Inspection;
use crate::datapath::memory::mebibytes;
use crate::datapath::{Mode, PathChoice};
use crate::engine::flow::MediaPath;
use crate::net::tls::Certified;

const KEYS: &str = "vault keys";

/// How good or bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It could not be seen.
    Unknown,
    /// Calls work, but slower or with a catch.
    Warn,
    /// Calls do not work as configured.
    Fail,
}

impl Verdict {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One line of the doctor's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// How it is.
    pub(super) verdict: Verdict,
    /// What was looked at.
    pub(super) check: &'static str,
    /// The interface or address, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
    /// What was found.
    pub(super) found: String,
    /// What to do; empty when all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) remedy: String,
}

impl Finding {
    pub(super) fn new(
        verdict: Verdict,
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { verdict, check, subject: None, found: found.into(), remedy: remedy.into() }
    }

    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, check, found, "")
    }

    fn unknown(check: &'static str, why: &str) -> Self {
        Self::new(Verdict::Unknown, check, why, "run doctor as root to see more")
    }

    fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }
}

/// Every check, in the order in which an operator would look.
pub(super) fn all(facts: &Facts, wanted: &Wanted) -> Vec<Finding> {
    let mut findings = vec![
        kernel(&facts.kernel, wanted.mode),
        btf(&facts.btf, wanted.mode),
        privileges(&facts.capabilities, wanted.mode),
        bpffs(&facts.bpffs, wanted.mode),
        jit(&facts.jit, wanted.mode),
    ];
    findings.extend(
        facts.sip.iter().map(|((transport, address), port)| {
            sip_port(port).about(format!("{} {address}", transport.word()))
        }),
    );
    findings
        .extend(facts.media.iter().map(|&(address, here)| media_address(here).about(address.to_string())));
    findings.push(ephemeral_ports(&wanted.ports, &facts.ephemeral, &facts.reserved));
    findings.push(receive_buffer(&facts.receive_buffer, &facts.capabilities));
    findings.push(memory(&facts.memory, wanted.map_bytes));
    findings.push(clock(&facts.clock_synchronised));
    if facts.interfaces.is_empty() && wanted.mode != Mode::Sockets {
        findings.push(Finding::new(
            if wanted.mode == Mode::Auto { Verdict::Warn } else { Verdict::Fail },
            "interfaces",
            "no media interface is known",
            "set media.interfaces, or name some with --interface",
        ));
    }
    findings.extend(facts.interfaces.iter().flat_map(|interface| self::interface(interface, wanted.mode)));
    findings
}

/// The keys that real numbers are sealed under.
pub(super) fn keys(path: &Path, found: &Inspection) -> Finding {
    let (newest, path) = (found.newest, path.display());
    let store = if found.opens.is_some() { " opens the store" } else { "; there is no store yet" };
    Finding::ok(KEYS, format!("epoch {newest} of {path}{store}"))
}

/// There are none; the text says how to mend that.
pub(super) fn no_keys(problem: String) -> Finding {
    Finding::new(Verdict::Fail, KEYS, problem, "run doctor as the user that runs Vizard, and do what it says")
}

/// Where the audit log ends, as told beside the keys.
pub(super) fn anchor(path: &Path, found: &Inspection) -> Finding {
    let (check, path) = ("audit anchor", path.display());
    match &found.anchor {
        Ok(Some(last)) => Finding::ok(check, format!("{path} says that the log ends with entry {last}")),
        Ok(None) if found.opens.is_none() => {
            Finding::ok(check, format!("there is no {path} yet, as there is no store"))
        }
        Ok(None) => Finding::new(
            Verdict::Warn,
            check,
            format!("there is no {path}: nothing would tell whether the log was cut off at its end"),
            "bring it back from a copy, or start Vizard, which makes a new one and notes that in the log",
        ),
        Err(problem) => Finding::new(
            Verdict::Fail,
            check,
            problem.clone(),
            "bring it back from a copy, or name another file in vault.anchor_file; then look at `vizard audit verify`",
        ),
    }
}

/// The certificate that peers see over TLS; the texts say how to mend what is wrong
/// with the files.
pub(super) fn certificate(path: &Path, inspected: &Result<Certified, String>, now: u64) -> Finding {
    const DAY: u64 = 86_400;
    let check = "certificate";
    let renew = "put a new certificate and key in their place, and restart";
    let subject = path.display().to_string();
    let finding = match inspected {
        Err(problem) => {
            let remedy = "run doctor as the user that runs Vizard, and mend the file";
            Finding::new(Verdict::Fail, check, problem, remedy)
        }
        Ok(Certified { until, .. }) if *until <= now => {
            Finding::new(Verdict::Fail, check, format!("it expired {} days ago", (now - until) / DAY), renew)
        }
        Ok(Certified { from, .. }) if *from > now => {
            let remedy = "look at this machine's clock, or use another certificate";
            Finding::new(Verdict::Fail, check, "it is not valid yet", remedy)
        }
        Ok(Certified { until, names, .. }) => {
            let days = (until - now) / DAY;
            let found = format!("for {}, valid for {days} days", names.join(", "));
            if names.is_empty() {
                let remedy = "use one with subjectAltName: peers look for their name of us there (RFC 5922)";
                Finding::new(Verdict::Warn, check, "it names nobody", remedy)
            } else if days < 30 {
                Finding::new(Verdict::Warn, check, found, renew)
            } else {
                Finding::ok(check, found)
            }
        }
    };
    finding.about(subject)
}

/// What carries the calls of the Vizard that runs.
pub(super) fn running(choice: &PathChoice, mode: Mode) -> Finding {
    let check = "media path";
    match (choice.path, mode) {
        (MediaPath::XdpNative, _) | (_, Mode::XdpNative | Mode::XdpGeneric | Mode::Sockets) => {
            Finding::ok(check, choice.to_string())
        }
        (MediaPath::XdpGeneric | MediaPath::Sockets, Mode::Auto) => Finding::new(
            Verdict::Warn,
            check,
            choice.to_string(),
            "mend what failed and restart, or set media.path to what there is; 'media.slow_path_flows' counts what is slower",
        ),
    }
}

/// What is bad for XDP alone: broken where XDP is demanded, slower where sockets
/// can stand in, of no interest where they are chosen.
const fn without_xdp(mode: Mode) -> Verdict {
    match mode {
        Mode::XdpNative | Mode::XdpGeneric => Verdict::Fail,
        Mode::Auto => Verdict::Warn,
        Mode::Sockets => Verdict::Ok,
    }
}

fn judge<T>(check: &'static str, fact: &Known<T>, judgement: impl FnOnce(&T) -> Finding) -> Finding {
    match fact {
        Ok(value) => judgement(value),
        Err(why) => Finding::unknown(check, why),
    }
}

pub(super) fn kernel(release: &Known<String>, mode: Mode) -> Finding {
    judge("kernel", release, |release| {
        let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        match (numbers.next(), numbers.next()) {
            (Some(major), Some(minor)) if (major, minor) >= (5, 15) => Finding::ok("kernel", release.clone()),
            (Some(_), Some(_)) => Finding::new(
                without_xdp(mode),
                "kernel",
                format!("{release} is older than 5.15"),
                "the XDP path needs Linux 5.15 or later; upgrade, or set media.path = \"sockets\"",
            ),
            _ => Finding::unknown("kernel", &format!("'{release}' has no version in it")),
        }
    })
}

pub(super) fn btf(present: &Known<bool>, mode: Mode) -> Finding {
    judge("BTF", present, |present| {
        if *present {
            Finding::ok("BTF", "/sys/kernel/btf/vmlinux")
        } else {
            let remedy =
                "use a kernel with CONFIG_DEBUG_INFO_BTF=y; without it XDP errors are hard to explain";
            Finding::new(
                without_xdp(mode).min(Verdict::Warn),
                "BTF",
                "the kernel does not describe its types",
                remedy,
            )
        }
    })
}

/// Bits of capabilities(7).
const CAP_NET_ADMIN: u32 = 12;
const CAPABILITIES: [(u32, &str); 3] =
    [(CAP_NET_ADMIN, "CAP_NET_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];
const CAP_SYS_ADMIN: u32 = 21;

pub(super) fn privileges(effective: &Known<u64>, mode: Mode) -> Finding {
    judge("privileges", effective, |effective| {
        let has = |bit: u32| effective & (1 << bit) != 0;
        // CAP_SYS_ADMIN implies the two that were split from it in Linux 5.8.
        let missing: Vec<&str> = CAPABILITIES
            .into_iter()
            .filter(|&(bit, _)| !(has(bit) || bit >= 38 && has(CAP_SYS_ADMIN)))
            .map(|(_, name)| name)
            .collect();
        if missing.is_empty() {
            return Finding::ok("privileges", "may load and attach XDP programs");
        }
        Finding::new(
            without_xdp(mode),
            "privileges",
            format!("this user lacks {}", missing.join(", ")),
            "run as root, or give the service these capabilities (configs/vizard.service does)",
        )
    })
}

pub(super) fn bpffs(mounted: &Known<bool>, mode: Mode) -> Finding {
    judge("bpffs", mounted, |mounted| {
        if *mounted {
            return Finding::ok("bpffs", "mounted at /sys/fs/bpf");
        }
        let remedy = "mount -t bpf bpf /sys/fs/bpf; media stops with the process where nothing can be pinned";
        Finding::new(without_xdp(mode).min(Verdict::Warn), "bpffs", "not mounted at /sys/fs/bpf", remedy)
    })
}

pub(super) fn jit(enabled: &Known<u64>, mode: Mode) -> Finding {
    judge("BPF JIT", enabled, |enabled| match enabled {
        0 => Finding::new(
            without_xdp(mode).min(Verdict::Warn),
            "BPF JIT",
            "off: XDP programs are interpreted",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        _ => Finding::ok("BPF JIT", "on"),
    })
}

pub(super) fn sip_port(port: &SipPort) -> Finding {
    match port {
        SipPort::Free => Finding::ok("SIP port", "free"),
        SipPort::Ours(by) => Finding::ok("SIP port", format!("in use by {by}")),
        SipPort::Blocked(why) => {
            Finding::new(Verdict::Fail, "SIP port", why.clone(), "free it, or change sip.listen")
        }
    }
}

pub(super) fn media_address(here: bool) -> Finding {
    if here {
        return Finding::ok("media address", "on this host");
    }
    let remedy = "`ip address add` it, or change [[media.address]]";
    Finding::new(Verdict::Fail, "media address", "no interface has it", remedy)
}

/// Inside the media ports a packet without a flow is dropped, so no socket of
/// another program may get an ephemeral port there.
pub(super) fn ephemeral_ports(
    media: &RangeInclusive<u16>,
    ephemeral: &Known<RangeInclusive<u16>>,
    reserved: &Known<Vec<RangeInclusive<u16>>>,
) -> Finding {
    let check = "ephemeral ports";
    judge(check, ephemeral, |ephemeral| {
        let (first, last) = (*media.start().max(ephemeral.start()), *media.end().min(ephemeral.end()));
        if first > last {
            return Finding::ok(check, format!("{} do not touch the media ports", show(ephemeral)));
        }
        judge(check, reserved, |reserved| {
            let is_reserved = |port: u16| reserved.iter().any(|range| range.contains(&port));
            if (first..=last).all(is_reserved) {
                return Finding::ok(check, format!("{} are reserved for media", show(&(first..=last))));
            }
            Finding::new(
                Verdict::Warn,
                check,
                format!(
                    "the media ports overlap {}: other programs may get {}",
                    show(ephemeral),
                    show(&(first..=last))
                ),
                format!("sysctl -w net.ipv4.ip_local_reserved_ports={}", show(media)),
            )
        })
    })
}

/// What the daemon asks for each signalling socket.
const WANTED_BUFFER: u64 = 8 << 20;

pub(super) fn receive_buffer(most: &Known<u64>, effective: &Known<u64>) -> Finding {
    let check = "receive buffer";
    judge(check, most, |most| {
        let found = format!("net.core.rmem_max is {} KiB", most / 1024);
        if *most >= WANTED_BUFFER {
            return Finding::ok(check, found);
        }
        if effective.as_ref().is_ok_and(|effective| effective & (1 << CAP_NET_ADMIN) != 0) {
            return Finding::ok(check, format!("{found}, which CAP_NET_ADMIN may exceed"));
        }
        let remedy =
            format!("sysctl -w net.core.rmem_max={WANTED_BUFFER}; bursts of SIP may be lost without");
        Finding::new(Verdict::Warn, check, found, remedy)
    })
}

/// The maps are locked memory: what is left must do for all else on this machine.
pub(super) fn memory(available: &Known<u64>, needed: u64) -> Finding {
    let check = "kernel memory";
    if needed == 0 {
        return Finding::ok(check, "no maps: nothing is configured, or media goes through sockets");
    }
    judge(check, available, |&available| {
        let found = format!("{} for maps, {} available", mebibytes(needed), mebibytes(available));
        if needed > available {
            let remedy = "narrow media.ports, remove a media address, or give the machine or the service (MemoryMax) more";
            return Finding::new(Verdict::Fail, check, found, remedy);
        }
        if needed > available / 2 {
            let remedy = "more than half of what there is; narrow media.ports, or leave Vizard more memory";
            return Finding::new(Verdict::Warn, check, found, remedy);
        }
        Finding::ok(check, found)
    })
}

pub(super) fn clock(synchronised: &Known<bool>) -> Finding {
    judge("clock", synchronised, |synchronised| {
        if *synchronised {
            return Finding::ok("clock", "synchronised");
        }
        let remedy = "run chrony or systemd-timesyncd: call detail records carry this clock's times";
        Finding::new(Verdict::Warn, "clock", "not synchronised", remedy)
    })
}

fn interface(interface: &Interface, mode: Mode) -> Vec<Finding> {
    let name = interface.name.as_str();
    let details = match &interface.details {
        Ok(details) => details,
        Err(why) => {
            let remedy = "correct media.interfaces; `ip link` lists those there are";
            return vec![Finding::new(Verdict::Fail, "interface", why.clone(), remedy).about(name)];
        }
    };
    if interface.role == Role::Vlan {
        // Drivers and offloads are those of the interface under it.
        let findings =
            [link(&details.up), mtu(&details.mtu, mode), reverse_path(&details.reverse_path_filter, name)];
        return findings.map(|finding| finding.about(name)).into();
    }
    let findings = [
        link(&details.up),
        driver(&details.driver, mode),
        mtu(&details.mtu, mode),
        spreading(&details.queues, &details.hashes_ports, name),
        lro(&details.lro, mode, name),
        gro(&details.gro),
        vlan(&details.strips_vlan, interface.role, mode, name),
        reverse_path(&details.reverse_path_filter, name),
    ];
    findings
        .into_iter()
        .chain(veth_checksum(details, mode, name))
        .map(|finding| finding.about(name))
        .collect()
}

pub(super) fn link(up: &Known<bool>) -> Finding {
    judge("link", up, |up| {
        if *up {
            return Finding::ok("link", "up");
        }
        Finding::new(
            Verdict::Fail,
            "link",
            "down",
            "`ip link set up` it, and look at the cable and the switch port",
        )
    })
}

/// Drivers with XDP in them as of Linux 6.12. Whether this firmware and this
/// configuration allow it shows when the program is attached.
const NATIVE: [&str; 38] = [
    "atlantic",
    "bnxt_en",
    "bonding",
    "dpaa2-eth",
    "ena",
    "fec",
    "fsl_dpaa2_eth",
    "fsl_enetc",
    "funeth",
    "gve",
    "hv_netvsc",
    "i40e",
    "iavf",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "mana",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "netdevsim",
    "nfp",
    "qede",
    "rvu_nicpf",
    "sfc",
    "stmmac",
    "tap",
    "thunder-nicvf",
    "ti_cpsw",
    "tsnep",
    "tun",
    "veth",
    "virtio_net",
    "vmxnet3",
    "xen_netfront",
];

pub(super) fn driver(driver: &Known<String>, mode: Mode) -> Finding {
    judge("driver", driver, |driver| {
        if NATIVE.contains(&driver.as_str()) {
            return Finding::ok("driver", format!("{driver} has native XDP"));
        }
        let verdict = match mode {
            Mode::XdpNative => Verdict::Fail,
            Mode::Auto => Verdict::Warn,
            Mode::XdpGeneric | Mode::Sockets => Verdict::Ok,
        };
        let remedy = match verdict {
            Verdict::Ok => "",
            Verdict::Unknown | Verdict::Warn | Verdict::Fail => {
                "expect XDP in the stack's receive path, at about a fifth of the speed; media.path = \"xdp-generic\" asks for it"
            }
        };
        Finding::new(verdict, "driver", format!("{driver} is not known to have native XDP"), remedy)
    })
}

/// A frame for native XDP must fit a page beside its headroom.
const MAX_XDP_MTU: u32 = 3_498;

pub(super) fn mtu(mtu: &Known<u32>, mode: Mode) -> Finding {
    judge("MTU", mtu, |mtu| {
        let found = format!("{mtu} bytes");
        if *mtu > MAX_XDP_MTU && mode != Mode::Sockets {
            let verdict = if mode == Mode::XdpNative { Verdict::Fail } else { Verdict::Warn };
            let remedy =
                format!("most drivers refuse native XDP over {MAX_XDP_MTU} bytes: ip link set mtu 1500");
            return Finding::new(verdict, "MTU", found, remedy);
        }
        if *mtu < 1280 {
            return Finding::new(Verdict::Warn, "MTU", found, "IPv6 needs 1280 bytes (RFC 8200 section 5)");
        }
        Finding::ok("MTU", found)
    })
}

pub(super) fn spreading(queues: &Known<usize>, hashes_ports: &Known<bool>, name: &str) -> Finding {
    let check = "UDP hashing";
    judge(check, queues, |queues| match (queues, hashes_ports) {
        (0 | 1, _) => Finding::ok(check, "one queue: nothing to spread"),
        (_, Ok(true)) => Finding::ok(check, format!("{queues} queues, UDP spread by port")),
        (_, Ok(false)) => Finding::new(
            Verdict::Warn,
            check,
            format!("{queues} queues, but all media between two hosts lands in one"),
            format!("ethtool -N {name} rx-flow-hash udp4 sdfn; ethtool -N {name} rx-flow-hash udp6 sdfn"),
        ),
        (_, Err(why)) => Finding::unknown(check, &format!("{queues} queues; {why}")),
    })
}

pub(super) fn lro(on: &Known<bool>, mode: Mode, name: &str) -> Finding {
    judge("LRO", on, |on| {
        if !on {
            return Finding::ok("LRO", "off");
        }
        let verdict =
            if mode == Mode::XdpNative { Verdict::Fail } else { without_xdp(mode).min(Verdict::Warn) };
        let remedy = format!("ethtool -K {name} lro off: drivers refuse native XDP with it");
        Finding::new(verdict, "LRO", "on", remedy)
    })
}

pub(super) fn gro(on: &Known<bool>) -> Finding {
    judge("GRO", on, |on| Finding::ok("GRO", if *on { "on; XDP runs before it" } else { "off" }))
}

/// XDP runs before the stack and sees no tag that the receiver has taken out: media
/// of a VLAN then looks untagged, and is dropped.
pub(super) fn vlan(strips: &Known<bool>, role: Role, mode: Mode, name: &str) -> Finding {
    let check = "VLAN offload";
    judge(check, strips, |strips| {
        if !strips {
            return Finding::ok(check, "off: XDP sees tags");
        }
        let verdict = match (mode, role) {
            (Mode::Sockets, _) => Verdict::Ok,
            (Mode::Auto | Mode::XdpNative | Mode::XdpGeneric, Role::UnderVlan) => Verdict::Fail,
            (Mode::Auto | Mode::XdpNative | Mode::XdpGeneric, Role::Untagged | Role::Vlan) => Verdict::Warn,
        };
        let remedy = format!("ethtool -K {name} rxvlan off, so that XDP sees which VLAN media is of");
        Finding::new(verdict, check, "the receiver takes tags out of frames", remedy)
    })
}

pub(super) fn reverse_path(filter: &Known<u64>, name: &str) -> Finding {
    let check = "rp_filter";
    judge(check, filter, |filter| match filter {
        1 => Finding::new(
            Verdict::Warn,
            check,
            "strict: what arrives by another way than it would leave is lost before SIP and the socket path see it",
            format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2 where routes are asymmetric"),
        ),
        2 => Finding::ok(check, "loose"),
        _ => Finding::ok(check, "off"),
    })
}

/// A veth hands on packets whose checksum is still to be computed; XDP cannot
/// compute it, and the packet is lost at the next hop.
pub(super) fn veth_checksum(details: &Details, mode: Mode, name: &str) -> Option<Finding> {
    let is_veth = details.driver.as_ref().is_ok_and(|driver| driver == "veth");
    (is_veth && mode != Mode::Sockets).then(|| {
        judge("veth checksums", &details.transmit_checksum, |on| {
            if !on {
                return Finding::ok("veth checksums", "computed before sending");
            }
            let remedy = format!("ethtool -K {name} tx off, and the same at the other end of the pair");
            Finding::new(Verdict::Warn, "veth checksums", "left to the device, which is none", remedy)
        })
    })
}

fn show(range: &RangeInclusive<u16>) -> String {
    format!("{}-{}", range.start(), range.end())
}
