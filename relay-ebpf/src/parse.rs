//! From a frame to the datagram in it: what is media goes on to its flow, all
//! else gets its verdict here.

use aya_ebpf::programs::XdpContext;
use relay_ebpf::header::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Ipv4, Ipv6, Udp, VlanTag, announces_tag};
use relay_ebpf::verdict::Verdict;

use crate::admit;
use crate::maps;
use crate::network::{Datagram, Network};
use crate::packet::Frame;

/// The verdict on one frame.
#[inline(always)]
pub(crate) fn verdict(context: &XdpContext) -> Verdict {
    match parse(context) {
        Ok(verdict) | Err(verdict) => verdict,
    }
}

#[inline(always)]
fn parse(context: &XdpContext) -> Result<Verdict, Verdict> {
    let frame = Frame::of(context);
    let ethernet: &mut Ethernet = frame.view(0)?;
    match ethernet.ethertype {
        ETHERTYPE_IPV4 => admit::verdict(context, datagram::<Ipv4>(frame, ethernet)?),
        ETHERTYPE_IPV6 => admit::verdict(context, datagram::<Ipv6>(frame, ethernet)?),
        tag if announces_tag(tag) => Err(tagged(frame, ethernet)?),
        _ => Err(Verdict::NotIp),
    }
}

/// The datagram of an untagged frame.
#[inline(always)]
fn datagram<N: Network + 'static>(
    frame: Frame,
    ethernet: &'static mut Ethernet,
) -> Result<Datagram<N>, Verdict> {
    const START: usize = size_of::<Ethernet>();
    if ethernet.is_group() {
        return Err(Verdict::NotUnicast);
    }
    let network: &mut N = frame.view(START)?;
    network.check(frame.length() - START)?;
    let udp: &mut Udp = frame.view(START + size_of::<N>())?;
    let slot = slot(network, udp)?;
    Ok(Datagram { frame, ethernet, network, udp, start: START, slot })
}

/// The verdict on a tagged frame: media is refused by name, the rest passes.
#[inline(always)]
fn tagged(frame: Frame, ethernet: &Ethernet) -> Result<Verdict, Verdict> {
    const OUTER: usize = size_of::<Ethernet>();
    const INNER: usize = OUTER + size_of::<VlanTag>();
    const AFTER: usize = INNER + size_of::<VlanTag>();
    if ethernet.is_group() {
        return Err(Verdict::NotUnicast);
    }
    let outer = frame.view::<VlanTag>(OUTER)?.ethertype;
    if !announces_tag(outer) {
        return tagged_datagram::<INNER>(frame, outer);
    }
    let inner = frame.view::<VlanTag>(INNER)?.ethertype;
    tagged_datagram::<AFTER>(frame, inner)
}

#[inline(always)]
fn tagged_datagram<const START: usize>(frame: Frame, ethertype: u16) -> Result<Verdict, Verdict> {
    match ethertype {
        ETHERTYPE_IPV4 => tagged_media::<Ipv4, START>(frame),
        ETHERTYPE_IPV6 => tagged_media::<Ipv6, START>(frame),
        _ => Err(Verdict::NotIp),
    }
}

#[inline(always)]
fn tagged_media<N: Network + 'static, const START: usize>(frame: Frame) -> Result<Verdict, Verdict> {
    let network: &mut N = frame.view(START)?;
    network.check(frame.length() - START)?;
    let udp: &mut Udp = frame.view(START + size_of::<N>())?;
    slot(network, udp)?;
    Ok(Verdict::Tagged)
}

/// The slot of the datagram's destination.
#[inline(always)]
fn slot<N: Network>(network: &N, udp: &Udp) -> Result<u32, Verdict> {
    if network.payload_length() < size_of::<Udp>() as u16 {
        return Err(Verdict::Truncated);
    }
    maps::slot(&network.destination(), N::FAMILY, udp.destination())
}
