//! Rewrites an admitted datagram and sends it on its way.
//!
//! What leaves untagged, in its own family, is rewritten where it stands. Other
//! frames change their size, out of line in `reshape`.

use aya_ebpf::programs::XdpContext;
use relay_ebpf::abi::Family;
use relay_ebpf::checksum::Update;
use relay_ebpf::header::{Ipv4, Ipv6};
use relay_ebpf::verdict::Verdict;

use crate::apart;
use crate::fib;
use crate::maps;
use crate::network::{Datagram, Network, replaced};
use crate::packet;
use crate::reshape::{self, Room};

/// Sends the datagram.
#[inline(always)]
pub(crate) fn forward<N: Network>(
    context: &XdpContext,
    datagram: Datagram<N>,
    known: bool,
    room: &mut Room,
) -> Result<Verdict, Verdict> {
    let ingress = packet::ingress(context.ctx);
    let length = packet_length(room.shape.family, datagram.udp.length());
    if !known {
        let Room { way, shape } = room;
        apart::heard(fib::find_route(context.ctx, shape, way, length, datagram.arrived_on))?;
    } else if length > u32::from(room.way.mtu) {
        return Err(Verdict::ExceedsMtu);
    }
    let interface = room.way.interface;
    rewrite(context, datagram, room)?;
    if interface == ingress {
        return Ok(if known { Verdict::Transmitted } else { Verdict::FibTransmitted });
    }
    if !maps::redirect(interface) {
        return Err(Verdict::NoDevice);
    }
    Ok(if known { Verdict::Redirected } else { Verdict::FibRedirected })
}

/// The size of the packet that a UDP datagram of `length` becomes.
#[inline(always)]
fn packet_length(family: Family, length: u16) -> u32 {
    let header = match family {
        Family::V4 => size_of::<Ipv4>(),
        Family::V6 => size_of::<Ipv6>(),
    };
    header as u32 + u32::from(length)
}

#[inline(always)]
fn rewrite<N: Network>(context: &XdpContext, datagram: Datagram<N>, room: &mut Room) -> Result<(), Verdict> {
    let Datagram { ethernet, network, udp, .. } = datagram;
    let Room { way, shape } = room;
    let update = Update::of(udp.checksum)
        .word(udp.source, shape.from_port.to_wire())
        .word(udp.destination, shape.to_port.to_wire());
    if shape.family != N::FAMILY {
        let update = replaced(update, &network.source(), &shape.from);
        let update = replaced(update, &network.destination(), &shape.to);
        shape.head = Datagram::<N>::UDP as u8;
        shape.length = udp.length();
        shape.checksum = if udp.checksum == 0 { 0 } else { update.finish_udp() };
        shape.hops = network.hops_left().wrapping_sub(1);
        return match N::FAMILY {
            Family::V4 => {
                if shape.checksum == 0 {
                    apart::heard(reshape::compute_checksum(context.ctx, shape))?;
                }
                apart::heard(reshape::make_v6(context.ctx, way, shape)).map(drop)
            }
            Family::V6 => apart::heard(reshape::make_v4(context.ctx, way, shape)).map(drop),
        };
    }
    let update = network.rewrite(&shape.from, &shape.to, shape.class, update);
    udp.source = shape.from_port.to_wire();
    udp.destination = shape.to_port.to_wire();
    // A datagram without a checksum stays without one (IPv4 alone, RFC 768).
    if udp.checksum != 0 {
        udp.checksum = update.finish_udp();
    }
    if way.tag_count() != 0 {
        return apart::heard(reshape::add_tags(context.ctx, way, N::ETHERTYPE.into())).map(drop);
    }
    ethernet.destination = way.destination;
    ethernet.source = way.source;
    Ok(())
}
