//! Rewrites an admitted datagram and sends it on its way.
//!
//! What leaves untagged, in its own family, is rewritten where it stands. Other
//! frames change their size, out of line in `reshape`.

use aya_ebpf::programs::XdpContext;
use relay_ebpf::abi::{End, Family};
use relay_ebpf::checksum::Update;
use relay_ebpf::header::{Ipv4, Ipv6, Udp};
use relay_ebpf::verdict::Verdict;

use crate::apart;
use crate::fib;
use crate::maps;
use crate::network::{Datagram, Network, replaced};
use crate::packet;
use crate::reshape::{self, Room, Shape};

/// How a datagram leaves.
pub(crate) struct Exit {
    /// The family of both ends.
    pub(crate) family: Family,
    /// Where it leaves from.
    pub(crate) from: End,
    /// Where it goes.
    pub(crate) to: End,
    /// Its traffic class.
    pub(crate) class: u8,
    /// Whether the control plane knows the way; the kernel's tables are asked
    /// otherwise.
    pub(crate) known: bool,
}

impl Exit {
    /// The size of the packet that a UDP datagram of `length` becomes.
    #[inline(always)]
    fn packet_length(&self, length: u16) -> u32 {
        let header = match self.family {
            Family::V4 => size_of::<Ipv4>(),
            Family::V6 => size_of::<Ipv6>(),
        };
        header as u32 + u32::from(length)
    }
}

/// Sends the datagram.
#[inline(always)]
pub(crate) fn forward<N: Network>(
    context: &XdpContext,
    datagram: Datagram<N>,
    exit: &Exit,
    room: &mut Room,
) -> Result<Verdict, Verdict> {
    let ingress = packet::ingress(context.ctx);
    let length = exit.packet_length(datagram.udp.length());
    let known = exit.known;
    if !known {
        let (way, shape) = room.with(Shape::of(exit));
        apart::heard(fib::find_route(context.ctx, shape, way, length, datagram.arrived_on))?;
    } else if length > u32::from(room.way.mtu) {
        return Err(Verdict::ExceedsMtu);
    }
    let interface = room.way.interface;
    rewrite(context, datagram, exit, room)?;
    if interface == ingress {
        return Ok(if known { Verdict::Transmitted } else { Verdict::FibTransmitted });
    }
    if !maps::redirect(interface) {
        return Err(Verdict::NoDevice);
    }
    Ok(if known { Verdict::Redirected } else { Verdict::FibRedirected })
}

#[inline(always)]
fn rewrite<N: Network>(
    context: &XdpContext,
    datagram: Datagram<N>,
    exit: &Exit,
    room: &mut Room,
) -> Result<(), Verdict> {
    let Datagram { ethernet, network, udp, .. } = datagram;
    let (from, to) = (exit.from, exit.to);
    let update = Update::of(udp.checksum)
        .word(udp.source, from.port.to_wire())
        .word(udp.destination, to.port.to_wire());
    if exit.family != N::FAMILY {
        let update = replaced(update, &network.source(), &from.address);
        let update = replaced(update, &network.destination(), &to.address);
        let (way, shape) = room.with(Shape {
            head: Datagram::<N>::UDP as u8,
            length: udp.length(),
            checksum: if udp.checksum == 0 { 0 } else { update.finish_udp() },
            hops: network.hops_left().wrapping_sub(1),
            ..Shape::of(exit)
        });
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
    let update = network.rewrite(&from.address, &to.address, exit.class, update);
    rewrite_udp(udp, from, to, update);
    let way = &mut room.way;
    if way.tag_count() != 0 {
        return apart::heard(reshape::add_tags(context.ctx, way, N::ETHERTYPE.into())).map(drop);
    }
    ethernet.destination = way.destination;
    ethernet.source = way.source;
    Ok(())
}

#[inline(always)]
fn rewrite_udp(udp: &mut Udp, from: End, to: End, update: Update) {
    udp.source = from.port.to_wire();
    udp.destination = to.port.to_wire();
    // A datagram without a checksum stays without one (IPv4 alone, RFC 768).
    if udp.checksum != 0 {
        udp.checksum = update.finish_udp();
    }
}
