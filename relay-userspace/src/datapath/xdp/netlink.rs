//! Questions to the kernel about interfaces, routes and neighbours, over a
//! blocking route-netlink socket.
//!
//! Blocking, since a question is answered from memory within microseconds and
//! the caller cannot go on without the answer. Changes come over a second
//! socket, which joins the multicast groups and belongs to `hops`.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroI32;

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkInfo, LinkMessage, LinkXdp, VlanProtocol,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use relay_ebpf::abi::Tag;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// A socket for questions.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// Its index.
    pub(super) index: u32,
    /// Its name.
    pub(super) name: String,
    /// Its MAC address, when it has one.
    pub(super) mac: Option<[u8; 6]>,
    /// The largest IP packet that it sends.
    pub(super) mtu: u32,
    /// Whether it is one end of a virtual pair.
    pub(super) is_veth: bool,
    /// The interface that it is on, or a virtual pair's other end.
    pub(super) parent: Option<u32>,
    /// The tag of what it sends on that one, where it is a VLAN.
    pub(super) tag: Option<Tag>,
    /// The XDP program on it.
    pub(super) xdp_program: Option<u32>,
}

/// The way to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The interface that it leaves on.
    pub(super) interface: u32,
    /// The neighbour that gets the packet.
    pub(super) neighbour: IpAddr,
    /// A limit of the route itself, when it has one.
    pub(super) mtu: Option<u32>,
}

impl Netlink {
    /// A socket in this thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Every interface.
    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.ask(request, NLM_F_REQUEST | NLM_F_DUMP)?;
        Ok(answers.iter().filter_map(link_of).collect())
    }

    /// Every local address and the index of its interface.
    pub(super) fn addresses(&mut self) -> io::Result<Vec<(IpAddr, u32)>> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.ask(request, NLM_F_REQUEST | NLM_F_DUMP)?;
        Ok(answers.into_iter().filter_map(address_of).collect())
    }

    /// The way that a packet from the local address `from` takes to `to`.
    pub(super) fn route(&mut self, to: IpAddr, from: IpAddr) -> io::Result<Route> {
        let mut request = RouteMessage::default();
        let width = if to.is_ipv4() { 32 } else { 128 };
        request.header.address_family = family(to);
        request.header.destination_prefix_length = width;
        request.header.source_prefix_length = width;
        request.attributes.push(RouteAttribute::Destination(to.into()));
        request.attributes.push(RouteAttribute::Source(from.into()));
        let answers = self.ask(RouteNetlinkMessage::GetRoute(request), NLM_F_REQUEST)?;
        let Some(RouteNetlinkMessage::NewRoute(route)) = answers.into_iter().next() else {
            return Err(io::Error::other("the kernel gave no route"));
        };
        route_of(&route, to)
    }

    /// The MAC address of a neighbour, while the kernel holds it for usable.
    pub(super) fn neighbour(&mut self, interface: u32, address: IpAddr) -> io::Result<Option<[u8; 6]>> {
        let request = neighbour_message(interface, address);
        match self.ask(RouteNetlinkMessage::GetNeighbour(request), NLM_F_REQUEST) {
            Ok(answers) => Ok(answers.iter().find_map(|answer| match answer {
                RouteNetlinkMessage::NewNeighbour(message) => {
                    neighbour_of(message).and_then(|found| found.mac)
                }
                _ => None,
            })),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has the kernel resolve a neighbour, or confirm one that it has not heard
    /// of lately; packets that bypass its stack do not make it do so.
    pub(super) fn solicit(&mut self, interface: u32, address: IpAddr) -> io::Result<()> {
        let mut request = neighbour_message(interface, address);
        request.header.flags = NeighbourFlags::Use;
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.ask(RouteNetlinkMessage::NewNeighbour(request), flags).map(drop)
    }

    /// Sends a request and gathers its answers.
    fn ask(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(request);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.header.length as usize];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for message in messages(&datagram) {
                let message = message?;
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                let more = message.header.flags & rtnetlink::packet_core::NLM_F_MULTIPART != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Error(error) => return outcome(error.code).map(|()| answers),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    _ => {}
                }
                if !more && flags & NLM_F_ACK == 0 && !answers.is_empty() {
                    return Ok(answers);
                }
            }
        }
    }
}

/// The messages of one netlink datagram.
pub(super) fn messages(
    datagram: &[u8],
) -> impl Iterator<Item = io::Result<NetlinkMessage<RouteNetlinkMessage>>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest);
        // Messages are aligned to four bytes; a length that leads nowhere ends the datagram.
        let length = message.as_ref().map_or(0, |message| message.header.length as usize);
        let step = length.next_multiple_of(4);
        rest = if length == 0 { &[] } else { rest.get(step..).unwrap_or_default() };
        Some(message.map_err(io::Error::other))
    })
}

fn outcome(code: Option<NonZeroI32>) -> io::Result<()> {
    code.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code.get().saturating_abs())))
}

/// A neighbour as a message describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// The interface that it is on.
    pub(super) interface: u32,
    /// Its address.
    pub(super) address: IpAddr,
    /// Its MAC address, while it is usable.
    pub(super) mac: Option<[u8; 6]>,
}

/// What a neighbour message says.
pub(super) fn neighbour_of(message: &NeighbourMessage) -> Option<Neighbour> {
    let usable = matches!(
        message.header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Noarp
            | NeighbourState::Permanent
    );
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })?;
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(mac) => <[u8; 6]>::try_from(mac.as_slice()).ok(),
        _ => None,
    });
    Some(Neighbour { interface: message.header.ifindex, address, mac: mac.filter(|_| usable) })
}

fn neighbour_message(interface: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = interface;
    message.attributes.push(NeighbourAttribute::Destination(match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }));
    message
}

fn link_of(message: &RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let mut link = Link { index: message.header.index, ..Link::default() };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().ok(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Link(parent) => link.parent = Some(*parent),
            LinkAttribute::LinkInfo(info) => {
                link.is_veth = info.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth)));
                link.tag = info.iter().find_map(|info| match info {
                    LinkInfo::Data(InfoData::Vlan(vlan)) => tag_of(vlan),
                    _ => None,
                });
            }
            LinkAttribute::Xdp(xdp) => {
                link.xdp_program = xdp.iter().find_map(|xdp| match xdp {
                    LinkXdp::ProgId(id) => Some(*id),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Some(link)
}

/// The tag of a VLAN interface; the kernel says its protocol since it has two.
fn tag_of(vlan: &[InfoVlan]) -> Option<Tag> {
    let protocol = vlan.iter().find_map(|info| match info {
        InfoVlan::Protocol(protocol) => Some(u16::from(*protocol)),
        _ => None,
    });
    let id = vlan.iter().find_map(|info| match info {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })?;
    Some(Tag::new(protocol.unwrap_or(u16::from(VlanProtocol::Ieee8021Q)), id))
}

fn address_of(message: RouteNetlinkMessage) -> Option<(IpAddr, u32)> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    // On a point-to-point link `Address` is the far end and `Local` is ours.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let any = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    Some((local.or(any)?, message.header.index))
}

fn route_of(route: &RouteMessage, to: IpAddr) -> io::Result<Route> {
    if route.header.kind != RouteType::Unicast {
        return Err(io::Error::other(format!(
            "its route is {:?}, not towards a neighbour",
            route.header.kind
        )));
    }
    let mut found = Route { interface: 0, neighbour: to, mtu: None };
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => found.interface = *index,
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => found.neighbour = IpAddr::V4(*gateway),
            RouteAttribute::Gateway(RouteAddress::Inet6(gateway))
            | RouteAttribute::Via(RouteVia::Inet6(gateway)) => found.neighbour = IpAddr::V6(*gateway),
            RouteAttribute::EncapType(_) => {
                return Err(io::Error::other("its route enters a tunnel, which XDP cannot write"));
            }
            RouteAttribute::Metrics(metrics) => {
                found.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if found.interface == 0 {
        return Err(io::Error::other("its route names no interface"));
    }
    Ok(found)
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vlan(attributes: Vec<InfoVlan>) -> RouteNetlinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 9;
        message.attributes = vec![
            LinkAttribute::IfName("eth0.100".to_owned()),
            LinkAttribute::Link(2),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vlan),
                LinkInfo::Data(InfoData::Vlan(attributes)),
            ]),
        ];
        RouteNetlinkMessage::NewLink(message)
    }

    #[test]
    fn a_vlan_has_a_tag_and_an_interface_under_it() {
        let service = vlan(vec![InfoVlan::Id(100), InfoVlan::Protocol(VlanProtocol::Ieee8021Ad)]);
        let link = link_of(&service).unwrap();
        assert_eq!((link.index, link.parent, link.tag), (9, Some(2), Some(Tag::new(0x88a8, 100))));
        let unnamed = link_of(&vlan(vec![InfoVlan::Id(4094)])).unwrap();
        assert_eq!(unnamed.tag, Some(Tag::new(0x8100, 4094)));
        assert_eq!(link_of(&vlan(Vec::new())).unwrap().tag, None);
    }
}
