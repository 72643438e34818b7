//! From a frame to the datagram in it: what is media goes on to its flow, all
//! else gets its verdict here.

use aya_ebpf::programs::XdpContext;
use relay_ebpf::abi::{Attachment, Tag};
use relay_ebpf::header::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Ipv4, Ipv6, Udp, announces_tag};
use relay_ebpf::verdict::{Action, Verdict};

use crate::admit;
use crate::apart;
use crate::maps;
use crate::network::{Datagram, Network};
use crate::packet::{self, Frame};
use crate::vlan::{self, Taken};

/// The verdict on one frame.
#[inline(always)]
pub(crate) fn verdict(context: &XdpContext) -> Verdict {
    let mut taken = Taken::NOTHING;
    match parse(context, &mut taken) {
        Err(verdict) if taken.is_something() && matches!(verdict.action(), Action::Pass) => {
            match apart::heard(vlan::put_tags_back(context.ctx, &raw mut taken)) {
                Ok(_) => verdict,
                Err(broken) => broken,
            }
        }
        Ok(verdict) | Err(verdict) => verdict,
    }
}

#[inline(always)]
fn parse(context: &XdpContext, taken: &mut Taken) -> Result<Verdict, Verdict> {
    let room = maps::room().ok_or(Verdict::Truncated)?;
    let mut frame = Frame::of(context);
    let mut ethernet: &mut Ethernet = frame.view(0)?;
    let mut arrived_on = packet::ingress(context.ctx);
    if announces_tag(ethernet.ethertype) {
        apart::heard(vlan::take_tags_off(context.ctx, taken))?;
        arrived_on = taken.interface;
        frame = Frame::of(context);
        ethernet = frame.view(0)?;
    }
    match ethernet.ethertype {
        ETHERTYPE_IPV4 => {
            let datagram = datagram::<Ipv4>(frame, ethernet, arrived_on)?;
            arrives_as_it_may(context, taken)?;
            admit::verdict(context, datagram, room)
        }
        ETHERTYPE_IPV6 => {
            let datagram = datagram::<Ipv6>(frame, ethernet, arrived_on)?;
            arrives_as_it_may(context, taken)?;
            admit::verdict(context, datagram, room)
        }
        _ => Err(Verdict::NotIp),
    }
}

/// The datagram of a frame without tags.
#[inline(always)]
fn datagram<N: Network + 'static>(
    frame: Frame,
    ethernet: &'static mut Ethernet,
    arrived_on: u32,
) -> Result<Datagram<N>, Verdict> {
    if ethernet.is_group() {
        return Err(Verdict::NotUnicast);
    }
    let (network, udp, slot) = media::<N>(frame, size_of::<Ethernet>())?;
    Ok(Datagram { frame, ethernet, network, udp, arrived_on, slot })
}

/// The headers of a datagram to a media address and port, when what is at `start`
/// is one, and its slot.
#[inline(always)]
pub(crate) fn media<N: Network + 'static>(
    frame: Frame,
    start: usize,
) -> Result<(&'static mut N, &'static mut Udp, u32), Verdict> {
    let network: &mut N = frame.view(start)?;
    network.check(frame.length() - start)?;
    let udp: &mut Udp = frame.view(start + size_of::<N>())?;
    if network.payload_length() < size_of::<Udp>() as u16 {
        return Err(Verdict::Truncated);
    }
    let slot = maps::slot(&network.destination(), N::FAMILY, udp.destination())?;
    Ok((network, udp, slot))
}

/// Untagged media is refused where media interfaces have tags and this one, without
/// any, is none of them.
#[inline(always)]
fn arrives_as_it_may(context: &XdpContext, taken: &Taken) -> Result<(), Verdict> {
    if !maps::uses_vlans() || taken.is_something() {
        return Ok(());
    }
    let untagged = Attachment { interface: packet::ingress(context.ctx), tags: [Tag::NONE; 2] };
    maps::arrival(untagged).map(drop).ok_or(Verdict::OtherVlan)
}
