//! Rewrites an admitted datagram and sends it on its way.

use aya_ebpf::programs::XdpContext;
use relay_ebpf::abi::{Address, End, Family, Hop};
use relay_ebpf::checksum::Update;
use relay_ebpf::header::{Ipv4, Ipv6, Udp, address_v4, address_v6, pairs_v4, pairs_v6};
use relay_ebpf::verdict::Verdict;

use crate::fib;
use crate::maps;
use crate::packet::{self, Plain};
use crate::parse::{Datagram, Parse};

/// What relaying asks of an IP header.
pub(crate) trait Network: Plain + Parse {
    /// Its family.
    const FAMILY: Family;
    /// Whether UDP must have a checksum.
    const CHECKSUM_REQUIRED: bool;

    /// Who sent the packet.
    fn source(&self) -> Address;
    /// Who it is for.
    fn destination(&self) -> Address;
    /// Time-to-live or hop limit.
    fn hops_left(&self) -> u8;
    /// The packet without its IP header, in bytes.
    fn payload_length(&self) -> u16;
    /// The packet in bytes.
    fn total_length(&self) -> u32;
    /// Changes addresses and traffic class and takes one hop; the header's own
    /// checksum follows, and the returned update is that of the pseudo-header.
    fn rewrite(&mut self, from: &Address, to: &Address, class: u8, udp: Update) -> Update;
}

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

impl Network for Ipv4 {
    const FAMILY: Family = Family::V4;
    const CHECKSUM_REQUIRED: bool = false;

    #[inline(always)]
    fn source(&self) -> Address {
        address_v4(self.source)
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        address_v4(self.destination)
    }

    #[inline(always)]
    fn hops_left(&self) -> u8 {
        self.ttl
    }

    #[inline(always)]
    fn payload_length(&self) -> u16 {
        self.length().wrapping_sub(size_of::<Self>() as u16)
    }

    #[inline(always)]
    fn total_length(&self) -> u32 {
        u32::from(self.length())
    }

    #[inline(always)]
    fn rewrite(&mut self, from: &Address, to: &Address, class: u8, udp: Update) -> Update {
        let (old_source, old_destination) = (self.source().words()[0], self.destination().words()[0]);
        let (new_source, new_destination) = (from.words()[0], to.words()[0]);
        let (old_first, old_ttl) = (self.first_word(), self.ttl_word());
        self.traffic_class = class;
        self.ttl = self.ttl.wrapping_sub(1);
        self.source = pairs_v4(from);
        self.destination = pairs_v4(to);
        self.checksum = Update::of(self.checksum)
            .double_word(old_source, new_source)
            .double_word(old_destination, new_destination)
            .word(old_first, self.first_word())
            .word(old_ttl, self.ttl_word())
            .finish();
        udp.double_word(old_source, new_source).double_word(old_destination, new_destination)
    }
}

impl Network for Ipv6 {
    const FAMILY: Family = Family::V6;
    const CHECKSUM_REQUIRED: bool = true;

    #[inline(always)]
    fn source(&self) -> Address {
        address_v6(self.source)
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        address_v6(self.destination)
    }

    #[inline(always)]
    fn hops_left(&self) -> u8 {
        self.hop_limit
    }

    #[inline(always)]
    fn payload_length(&self) -> u16 {
        self.length()
    }

    #[inline(always)]
    fn total_length(&self) -> u32 {
        u32::from(self.length()) + size_of::<Self>() as u32
    }

    #[inline(always)]
    fn rewrite(&mut self, from: &Address, to: &Address, class: u8, udp: Update) -> Update {
        let udp = replaced(udp, &self.source(), from);
        let udp = replaced(udp, &self.destination(), to);
        self.set_traffic_class(class);
        self.hop_limit = self.hop_limit.wrapping_sub(1);
        self.source = pairs_v6(from);
        self.destination = pairs_v6(to);
        udp
    }
}

#[inline(always)]
fn replaced(update: Update, old: &Address, new: &Address) -> Update {
    let (old, new) = (old.words(), new.words());
    update
        .double_word(old[0], new[0])
        .double_word(old[1], new[1])
        .double_word(old[2], new[2])
        .double_word(old[3], new[3])
}
