//! Polices what would pass to our signalling sockets, per source: rules by
//! network first, then a bucket.
//!
//! It looks at a frame of its own accord, after the media path has let it pass:
//! media never comes here, and no way round the media path's view of a frame (a
//! VLAN tag, an IP option, a fragment) is a way round this. A later piece of a
//! fragmented datagram has no port, and neither has what hides behind other
//! IPv6 extension headers: to an address of ours, these are denied to whom the
//! rules deny, and are left alone otherwise, since they may be for somebody else
//! on this host. The control plane holds what it reads from its sockets against
//! the same rules.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::XdpContext;
use relay_ebpf::abi::{Address, Family, Port, Treatment};
use relay_ebpf::bucket;
use relay_ebpf::header::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Ipv4, Ipv6, Ipv6Fragment, PROTOCOL_DESTINATION_OPTIONS,
    PROTOCOL_FRAGMENT, PROTOCOL_HOP_OPTIONS, PROTOCOL_ROUTING, PROTOCOL_UDP, Udp, VlanTag, announces_tag,
};
use relay_ebpf::verdict::{Action, Verdict};

use crate::apart;
use crate::maps;
use crate::network::Network;
use crate::packet::Frame;

/// What a frame is to the guard.
struct Arrival {
    family: Family,
    source: Address,
    destination: Address,
    /// None where it cannot be told.
    port: Option<Port>,
}

/// The verdict on a frame that has this one so far.
#[inline(always)]
pub(crate) fn verdict(context: &XdpContext, so_far: Verdict) -> Verdict {
    if !matches!(so_far.action(), Action::Pass) || !maps::guard().is_on() {
        return so_far;
    }
    match apart::heard(police_signalling(context.ctx)) {
        Ok(_) => so_far,
        Err(verdict) => verdict,
    }
}

/// Apart from the media path, whose instructions stay together.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn police_signalling(context: *mut xdp_md) -> u32 {
    apart::ended(police(context))
}

#[inline(always)]
fn police(context: *mut xdp_md) -> Result<(), Verdict> {
    let Some(arrival) = arrival(Frame::of_metadata(context)) else { return Ok(()) };
    if !maps::guard().holds(&arrival.destination, arrival.family, arrival.port) {
        return Ok(());
    }
    let rule = maps::guard_rule(&arrival.source, arrival.family);
    let treatment = rule.map_or(Treatment::Limit, |rule| rule.treatment());
    if arrival.port.is_none() && !matches!(treatment, Treatment::Deny) {
        return Ok(());
    }
    if let Some(rule) = rule {
        maps::count_rule(rule);
    }
    match treatment {
        Treatment::Deny => return Err(Verdict::GuardDenied),
        Treatment::Exempt => return Ok(()),
        Treatment::Limit => {}
    }
    // SAFETY: takes nothing and cannot fail.
    let now = unsafe { bpf_ktime_get_ns() };
    let source = bucket::source(&arrival.source, arrival.family);
    if maps::take_from_bucket(source, now) { Ok(()) } else { Err(Verdict::GuardLimited) }
}

/// `None` for what can be no datagram of ours.
#[inline(always)]
fn arrival(frame: Frame) -> Option<Arrival> {
    const OUTER: usize = size_of::<Ethernet>();
    const INNER: usize = OUTER + size_of::<VlanTag>();
    const AFTER: usize = INNER + size_of::<VlanTag>();
    let ethertype = frame.view::<Ethernet>(0).ok()?.ethertype;
    if !announces_tag(ethertype) {
        return network::<OUTER>(frame, ethertype);
    }
    let outer = frame.view::<VlanTag>(OUTER).ok()?.ethertype;
    if !announces_tag(outer) {
        return network::<INNER>(frame, outer);
    }
    network::<AFTER>(frame, frame.view::<VlanTag>(INNER).ok()?.ethertype)
}

#[inline(always)]
fn network<const START: usize>(frame: Frame, ethertype: u16) -> Option<Arrival> {
    match ethertype {
        ETHERTYPE_IPV4 => v4(frame, START),
        ETHERTYPE_IPV6 => v6(frame, START),
        _ => None,
    }
}

#[inline(always)]
fn v4(frame: Frame, start: usize) -> Option<Arrival> {
    let ip: &Ipv4 = frame.view(start).ok()?;
    if ip.version() != 4 || ip.protocol != PROTOCOL_UDP {
        return None;
    }
    let port = if ip.is_first() {
        let udp: &Udp = frame.view(start + usize::from(ip.header_words()) * 4).ok()?;
        Some(udp.destination())
    } else {
        None
    };
    Some(Arrival { family: Family::V4, source: ip.source(), destination: ip.destination(), port })
}

#[inline(always)]
fn v6(frame: Frame, start: usize) -> Option<Arrival> {
    let ip: &Ipv6 = frame.view(start).ok()?;
    if ip.version() != 6 {
        return None;
    }
    let next = start + size_of::<Ipv6>();
    let port = match ip.next_header {
        PROTOCOL_UDP => Some(frame.view::<Udp>(next).ok()?.destination()),
        PROTOCOL_FRAGMENT => {
            let fragment: &Ipv6Fragment = frame.view(next).ok()?;
            if fragment.is_first() && fragment.next_header == PROTOCOL_UDP {
                let udp: &Udp = frame.view(next + size_of::<Ipv6Fragment>()).ok()?;
                Some(udp.destination())
            } else {
                None
            }
        }
        PROTOCOL_HOP_OPTIONS | PROTOCOL_ROUTING | PROTOCOL_DESTINATION_OPTIONS => None,
        _ => return None,
    };
    Some(Arrival { family: Family::V6, source: ip.source(), destination: ip.destination(), port })
}
