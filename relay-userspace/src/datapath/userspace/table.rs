//! The ports that are open and the flows that arrive at them.
//!
//! A port is open as long as a flow arrives at it or leaves from it; which
//! ports may be opened is fixed by the configuration, so the table is bounded.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use relay_ebpf::abi::FlowCount;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use socket2::Socket;

use crate::datapath::tap::{TapSink, Tapped};
use crate::datapath::{DatapathError, monotonic, quality};
use crate::engine::cdr::Traffic;
use crate::engine::flow::{FlowSpec, FlowStats};
use crate::net::bind::bind_udp;

/// A local address in four bytes: which media address, and which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PortKey(u32);

impl PortKey {
    /// Whether both ports are of one media address.
    pub(super) fn same_address(self, other: Self) -> bool {
        self.0 >> 16 == other.0 >> 16
    }

    /// The port after this one.
    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// As epoll carries it.
    pub(super) fn to_token(self) -> u64 {
        u64::from(self.0)
    }

    /// Out of what epoll carried; `None` for another's.
    pub(super) fn from_token(token: u64) -> Option<Self> {
        u32::try_from(token).ok().map(Self)
    }
}

/// An open port.
pub(super) struct Port {
    pub(super) socket: Socket,
    pub(super) flow: Option<Flow>,
    /// The flow that arrives here, and those that leave from here.
    users: usize,
    dscp: Option<u8>,
}

/// A flow and what it has learned and counted.
pub(super) struct Flow {
    pub(super) spec: FlowSpec,
    pub(super) exit: PortKey,
    pub(super) learned: Option<SocketAddr>,
    pub(super) count: FlowCount,
    /// Who wants copies of its packets, and under which name.
    pub(super) tap: Option<(Tapped, TapSink)>,
}

impl Flow {
    pub(super) fn stats(&self) -> FlowStats {
        FlowStats {
            forwarded: Traffic { packets: self.count.packets, bytes: self.count.bytes },
            refused_packets: self.count.refused,
            learned: self.learned,
            quality: quality(&self.count, monotonic()),
        }
    }
}

/// All open ports.
pub(super) struct Table {
    addresses: Vec<IpAddr>,
    range: RangeInclusive<u16>,
    ports: HashMap<PortKey, Port>,
}

/// Told of every socket that is opened.
pub(super) type Watch<'a> = &'a dyn Fn(&Socket, PortKey) -> Result<(), DatapathError>;

impl Table {
    pub(super) fn new(addresses: Vec<IpAddr>, range: RangeInclusive<u16>) -> Self {
        Self { addresses, range, ports: HashMap::new() }
    }

    /// The port at this address, where the configuration allows one.
    pub(super) fn key(&self, local: SocketAddr) -> Result<PortKey, DatapathError> {
        let index = self.addresses.iter().position(|&address| address == local.ip());
        let index = index.and_then(|index| u16::try_from(index).ok());
        match index {
            Some(index) if self.range.contains(&local.port()) => {
                Ok(PortKey(u32::from(index) << 16 | u32::from(local.port())))
            }
            _ => Err(DatapathError::OutsideRange(local)),
        }
    }

    /// The address of a port.
    pub(super) fn local(&self, key: PortKey) -> Option<SocketAddr> {
        let address = *self.addresses.get(usize::try_from(key.0 >> 16).ok()?)?;
        Some(SocketAddr::new(address, u16::try_from(key.0 & 0xffff).ok()?))
    }

    pub(super) fn port(&self, key: PortKey) -> Option<&Port> {
        self.ports.get(&key)
    }

    /// Where signalling says that the far end of the flow at a port is: where the
    /// other direction goes.
    pub(super) fn named(&self, key: PortKey) -> Option<SocketAddr> {
        let exit = self.ports.get(&key)?.flow.as_ref()?.exit;
        Some(self.ports.get(&exit)?.flow.as_ref()?.spec.send_to)
    }

    /// The flow that arrives at a port.
    pub(super) fn flow_mut(&mut self, key: PortKey) -> Option<&mut Flow> {
        self.ports.get_mut(&key)?.flow.as_mut()
    }

    /// Creates or replaces a flow; on an error everything is as before.
    pub(super) fn put(&mut self, spec: &FlowSpec, watch: Watch<'_>) -> Result<(), DatapathError> {
        let (entry, exit) = (self.key(spec.local)?, self.key(spec.send_from)?);
        self.acquire(entry, spec.local, watch)?;
        if let Err(error) = self.acquire(exit, spec.send_from, watch) {
            self.release(entry);
            return Err(error);
        }
        self.mark(exit, spec.dscp);
        let Some(port) = self.ports.get_mut(&entry) else { return Ok(()) };
        let before = port.flow.take();
        let kept = before.as_ref().filter(|old| old.spec.source.generation == spec.source.generation);
        port.flow = Some(Flow {
            spec: spec.clone(),
            exit,
            learned: kept.and_then(|old| old.learned),
            count: before.as_ref().map_or_else(FlowCount::default, |old| old.count),
            tap: before.as_ref().and_then(|old| old.tap.clone()),
        });
        if let Some(old) = before {
            self.release(entry);
            self.release(old.exit);
        }
        Ok(())
    }

    /// Removes the flow that arrives at `local`.
    pub(super) fn remove(&mut self, local: SocketAddr) -> FlowStats {
        let Ok(entry) = self.key(local) else { return FlowStats::default() };
        let flow = self.ports.get_mut(&entry).and_then(|port| port.flow.take());
        let Some(flow) = flow else { return FlowStats::default() };
        self.release(entry);
        self.release(flow.exit);
        flow.stats()
    }

    fn acquire(&mut self, key: PortKey, local: SocketAddr, watch: Watch<'_>) -> Result<(), DatapathError> {
        if let Some(port) = self.ports.get_mut(&key) {
            port.users += 1;
            return Ok(());
        }
        let socket = bind_udp(local).map_err(|error| DatapathError::System {
            doing: format!("cannot open media port {local}"),
            problem: error.problem.to_string(),
        })?;
        whole_or_not_at_all(&socket, local).map_err(|error| DatapathError::System {
            doing: format!("preparing media port {local}"),
            problem: error.to_string(),
        })?;
        watch(&socket, key)?;
        self.ports.insert(key, Port { socket, flow: None, users: 1, dscp: None });
        Ok(())
    }

    /// One user less; the last one closes the socket, which epoll notices.
    fn release(&mut self, key: PortKey) {
        let Some(port) = self.ports.get_mut(&key) else { return };
        port.users -= 1;
        if port.users == 0 {
            self.ports.remove(&key);
        }
    }

    /// What leaves from a port carries this code point. A system that forbids
    /// it still relays.
    fn mark(&mut self, key: PortKey, dscp: u8) {
        let Some(port) = self.ports.get_mut(&key) else { return };
        if port.dscp == Some(dscp) {
            return;
        }
        let field = dscp << 2;
        let _forbidden = match port.socket.local_addr().map(|name| name.is_ipv6()) {
            Ok(true) => sockopt::set_ipv6_tclass(&port.socket, field.into()),
            Ok(false) | Err(_) => sockopt::set_ip_tos(&port.socket, field),
        };
        port.dscp = Some(dscp);
    }
}

/// As in the kernel, a packet that is too long for the interface it leaves on is
/// refused, not sent in fragments; and no ICMP message from outside lowers what
/// is too long.
fn whole_or_not_at_all(socket: &Socket, local: SocketAddr) -> rustix::io::Result<()> {
    if local.is_ipv6() {
        sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE)
    } else {
        sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE)
    }
}
