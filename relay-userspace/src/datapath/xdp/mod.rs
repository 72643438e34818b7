//! Media in the kernel: the XDP program's loader and the keeper of its maps.
//!
//! `load` puts the program in place or says why it cannot; `table` publishes
//! flows in memory shared with it; `guard` writes the rules of the signalling
//! sockets; `interfaces` finds those that carry media, through VLANs; `hops` resolves
//! next hops through `netlink` and keeps them true; `pins` has maps and links outlive
//! the process, and `older` reads what other layouts have left; `stun` receives what the
//! program leaves to the daemon. Nothing here looks at a packet.

mod guard;
mod hops;
mod interfaces;
pub mod load;
mod log;
mod netlink;
pub mod older;
mod pins;
mod stun;
pub mod table;
mod tap;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;

use aya::Ebpf;
use aya::maps::{Map, MapData, PerCpuArray};
use ipnet::IpNet;
use relay_ebpf::abi::{self, Address, Allowed, End, Exit, Family, Flow, Layout, Port};
use relay_ebpf::verdict::Verdict;

use super::guard::{Guard, global, random_key};
use super::tap::{TapSink, Tapped};
use super::{
    Datapath, DatapathConfig, DatapathError, PathChoice, VerdictCount, check_families, classes, monotonic,
    quality,
};
use crate::engine::cdr::Traffic;
use crate::engine::flow::{FlowSpec, FlowStats, MediaPath};
use crate::engine::io::Datagram;

use guard::KernelGuard;
use hops::Hops;
use interfaces::MediaInterface;
use load::{Hook, failed, missing};
use netlink::Netlink;
use older::{OLDER, Older};
use pins::Pins;
use stun::StunPorts;
use table::{FlowTable, Mapped, Reading};
use tap::Taps;

/// Relays media through the XDP program.
pub struct XdpDatapath {
    choice: PathChoice,
    addresses: Vec<IpAddr>,
    layout: Layout,
    flows: FlowTable,
    hops: Hops,
    guard: KernelGuard,
    taps: Taps,
    stun: StunPorts,
    verdicts: PerCpuArray<MapData, u64>,
    _log: Option<log::Reader>,
    /// Removed before the program goes, or nothing would detach it.
    _pins: Option<Pins>,
    /// Last, so that packets stop before their maps go.
    _program: Ebpf,
}

impl XdpDatapath {
    /// Loads the program and attaches it to the media interfaces. `reason` says
    /// why it is this path.
    pub fn open(config: &DatapathConfig, hook: Hook, reason: String) -> Result<Self, DatapathError> {
        Self::open_reading(config, hook, reason, OLDER)
    }

    /// As [`Self::open`], with these readers for what versions before have left.
    pub fn open_reading(
        config: &DatapathConfig,
        hook: Hook,
        reason: String,
        readers: &[Older],
    ) -> Result<Self, DatapathError> {
        let layout = load::layout(config)?;
        let mut netlink = Netlink::open().map_err(|error| failed("opening netlink", error.to_string()))?;
        let interfaces = interfaces::find(config, &mut netlink)?;
        let vlans = interfaces.iter().any(MediaInterface::is_tagged);
        let wants_log = tracing::enabled!(tracing::Level::DEBUG);
        let (guard, key) = (config.guard.as_ref(), random_key()?);
        let mut pins = match &config.pin {
            Some(directory) => Pins::open(directory, &layout, config.discard_calls, readers)?,
            None => None,
        };
        let global = global(guard, key)?;
        let mut program = load::load_over(&layout, &global, vlans, wants_log, pins.as_ref())?;
        let guard = KernelGuard::new(&mut program, guard, key)?;
        let taps = Taps::new(&mut program)?;
        let (mut flows, verdicts) = take_maps(&mut program)?;
        let hop_slots = take(&mut program, abi::HOPS, Mapped::new)?;
        if let Some(pins) = &pins {
            pins.carry_over(&mut flows, &hop_slots);
        }
        take(&mut program, abi::KEPT_LAYOUT, Mapped::new)?.write(0, layout);
        let hops = Hops::new(hop_slots, &interfaces)
            .map_err(|error| failed("following routes and neighbours", load::explain(&error)))?;
        let log = if wants_log { log::Reader::start(&mut program) } else { None };
        load::attach(&mut program, &interfaces, hook, pins.as_ref())?;
        if let Some(pins) = &mut pins {
            pins.leave_older(&mut flows, &layout);
            pins.own();
        }
        let path = match hook {
            Hook::Native => MediaPath::XdpNative,
            Hook::Generic => MediaPath::XdpGeneric,
        };
        let interfaces = interfaces.into_iter().map(|interface| interface.link.name).collect();
        let choice = PathChoice { path, reason, interfaces };
        let addresses = config.addresses.clone();
        Ok(Self {
            choice,
            addresses,
            layout,
            flows,
            hops,
            guard,
            taps,
            stun: StunPorts::new()?,
            verdicts,
            _log: log,
            _pins: pins,
            _program: program,
        })
    }

    /// Receives STUN for a flow that takes it, and for no other.
    fn listen(&mut self, slot: u32, flow: &FlowSpec) -> Result<(), DatapathError> {
        if flow.content.stun {
            return self.stun.open(slot, flow.local);
        }
        self.stun.close(slot);
        Ok(())
    }

    fn slot(&self, local: SocketAddr) -> Option<u32> {
        let index = self.addresses.iter().position(|address| *address == local.ip())?;
        self.layout.slot(u32::try_from(index).ok()?, local.port())
    }
}

impl Datapath for XdpDatapath {
    fn choice(&self) -> &PathChoice {
        &self.choice
    }

    fn put(&mut self, flow: &FlowSpec) -> Result<(), DatapathError> {
        let slot = self.slot(flow.local).ok_or(DatapathError::OutsideRange(flow.local))?;
        self.listen(slot, flow)?;
        check_families(flow)?;
        let opposite = self.slot(flow.send_from).ok_or(DatapathError::OutsideRange(flow.send_from))?;
        let hop = self.hops.acquire(flow.send_to.ip(), flow.send_from.ip())?;
        let body = flow_body(flow, hop, opposite).tapped(self.taps.holds(slot));
        match self.flows.put(slot, &body, flow.source.generation) {
            Some(Some(replaced)) => self.hops.release(replaced),
            Some(None) => {}
            None => {
                self.hops.release(hop);
                return Err(DatapathError::OutsideRange(flow.local));
            }
        }
        Ok(())
    }

    fn remove(&mut self, local: SocketAddr) -> FlowStats {
        let Some(slot) = self.slot(local) else { return FlowStats::default() };
        let Some(reading) = self.flows.remove(slot) else { return FlowStats::default() };
        self.taps.remove(slot);
        self.stun.close(slot);
        if let Some(hop) = reading.hop {
            self.hops.release(hop);
        }
        stats(&reading, local)
    }

    fn sweep(&mut self) -> Vec<SocketAddr> {
        let swept = self.flows.sweep();
        self.hops.sweep();
        if swept.is_empty() {
            return Vec::new();
        }
        let all =
            self.addresses.iter().flat_map(|&ip| (0..=u16::MAX).map(move |port| SocketAddr::new(ip, port)));
        all.filter(|&local| self.slot(local).is_some_and(|slot| swept.contains(&slot))).collect()
    }

    fn stats(&self, local: SocketAddr) -> Option<FlowStats> {
        let reading = self.flows.read(self.slot(local)?)?;
        Some(stats(&reading, local))
    }

    fn verdicts(&self) -> Vec<VerdictCount> {
        let mut verdicts: Vec<VerdictCount> = Verdict::ALL
            .iter()
            .map(|verdict| VerdictCount {
                verdict: verdict.name().to_owned(),
                action: verdict.action().as_str().to_owned(),
                packets: self.verdicts.get(&verdict.index(), 0).map_or(0, |cpus| cpus.iter().sum()),
            })
            .collect();
        self.guard.add_to(&mut verdicts);
        verdicts
    }

    fn tap(&mut self, flow: Tapped, sink: Option<TapSink>) {
        let Some(slot) = self.slot(flow.local) else { return };
        let tapped = match sink {
            Some(sink) if self.flows.read(slot).is_some() => {
                self.taps.add(slot, flow, sink);
                true
            }
            Some(_) => return,
            None => {
                self.taps.remove(slot);
                false
            }
        };
        self.flows.tap(slot, tapped);
    }

    fn take_stun(&mut self, give: &mut dyn FnMut(Datagram)) {
        self.stun.take(give);
    }

    fn send_stun(&mut self, datagram: &Datagram) {
        if let Some(slot) = self.slot(datagram.local) {
            self.stun.send(slot, datagram);
        }
    }

    fn stun_descriptor(&self) -> BorrowedFd<'_> {
        self.stun.descriptor()
    }

    fn guard(&mut self) -> &mut dyn Guard {
        &mut self.guard
    }
}

/// A flow as the program reads it.
#[must_use]
pub fn flow_body(flow: &FlowSpec, hop: u32, opposite: u32) -> Flow {
    let content = abi::Content {
        classes: classes(&flow.content),
        payload_types: flow.content.payload_types.bits(),
        clock_rate: flow.content.clock_rate,
        encrypted: flow.content.encrypted,
        extensions: flow.content.extensions.bits(),
    };
    let (address, prefix) = match flow.source.allowed {
        IpNet::V4(net) => (Address::v4(net.addr().octets()), net.prefix_len()),
        IpNet::V6(net) => (Address::v6(net.addr().octets()), net.prefix_len()),
    };
    let family = if flow.send_to.is_ipv4() { Family::V4 } else { Family::V6 };
    let exit = Exit { family, from: end(flow.send_from), to: end(flow.send_to), hop };
    let body = Flow::new(content, Allowed { address, prefix }, exit).with_dscp(flow.dscp);
    let body = if flow.rtcp_apart { body.rtcp_apart() } else { body };
    if flow.follow_learned { body.following(opposite) } else { body.opposed_by(opposite) }
}

fn end(address: SocketAddr) -> End {
    let port = Port::new(address.port());
    match address.ip() {
        IpAddr::V4(address) => End { address: Address::v4(address.octets()), port },
        IpAddr::V6(address) => End { address: Address::v6(address.octets()), port },
    }
}

fn stats(reading: &Reading, local: SocketAddr) -> FlowStats {
    let learned = reading.source.map(|source| {
        let octets: [u8; 16] = source.address.octets();
        let ip = if local.is_ipv4() {
            let [a, b, c, d, ..] = octets;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        SocketAddr::new(ip, source.port.number())
    });
    FlowStats {
        forwarded: Traffic { packets: reading.count.packets, bytes: reading.count.bytes },
        refused_packets: reading.count.refused,
        learned,
        quality: quality(&reading.count, monotonic()),
    }
}

fn take_maps(program: &mut Ebpf) -> Result<(FlowTable, PerCpuArray<MapData, u64>), DatapathError> {
    let doing = "opening the kernel maps";
    let flows = array(program, abi::FLOWS)?;
    let rests = array(program, abi::RESTS)?;
    let flows = FlowTable::new(&flows, &rests).map_err(|error| failed(doing, load::explain(&error)))?;
    let verdicts = program.take_map(abi::VERDICTS).ok_or_else(|| missing(abi::VERDICTS))?;
    let verdicts = PerCpuArray::try_from(verdicts).map_err(|error| failed(doing, error.to_string()))?;
    Ok((flows, verdicts))
}

fn take<T>(
    program: &mut Ebpf,
    name: &str,
    map: impl FnOnce(&MapData) -> std::io::Result<T>,
) -> Result<T, DatapathError> {
    map(&array(program, name)?).map_err(|error| failed("mapping a kernel map", load::explain(&error)))
}

fn array(program: &mut Ebpf, name: &str) -> Result<MapData, DatapathError> {
    match program.take_map(name) {
        Some(Map::Array(data)) => Ok(data),
        Some(_) | None => Err(missing(name)),
    }
}
