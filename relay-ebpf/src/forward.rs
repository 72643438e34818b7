//! Rewrites an admitted datagram and sends it on its way.

use aya_ebpf::programs::XdpContext;
use relay_ebpf::abi::{End, Hop};
use relay_ebpf::checksum::Update;
use relay_ebpf::header::Udp;
use relay_ebpf::verdict::Verdict;

use crate::fib;
use crate::maps;
use crate::network::{Datagram, Network};
use crate::packet;

/// Sends the datagram from `from` to `to` over `hop`, or over the way that the
/// kernel knows.
#[inline(always)]
pub(crate) fn forward<N: Network>(
    context: &XdpContext,
    datagram: Datagram<N>,
    from: End,
    to: End,
    class: u8,
    hop: Option<Hop>,
) -> Result<Verdict, Verdict> {
    let Datagram { ethernet, network, udp, .. } = datagram;
    let ingress = packet::ingress(context);
    let (way, known) = match hop {
        Some(way) => {
            if network.total_length() > u32::from(way.mtu) {
                return Err(Verdict::ExceedsMtu);
            }
            (way, true)
        }
        None => (fib::way(context, network, &from.address, &to.address, ingress)?, false),
    };

    let update = Update::of(udp.checksum)
        .word(udp.source, from.port.to_wire())
        .word(udp.destination, to.port.to_wire());
    let update = network.rewrite(&from.address, &to.address, class, update);
    rewrite_udp(udp, from, to, update);
    ethernet.destination = way.destination;
    ethernet.source = way.source;

    if way.interface == ingress {
        return Ok(if known { Verdict::Transmitted } else { Verdict::FibTransmitted });
    }
    if !maps::redirect(way.interface) {
        return Err(Verdict::NoDevice);
    }
    Ok(if known { Verdict::Redirected } else { Verdict::FibRedirected })
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
