//! Holds a datagram against the flow of its port: is it whole, is it the media
//! that signalling agreed on, does it come from where it may.

use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::debug;
use relay_ebpf::abi::{Address, End, Flow, LearnedSource, Phase};
use relay_ebpf::header::{Ethernet, RTCP_MIN, RTP_MIN, Rtp, Udp};
use relay_ebpf::verdict::Verdict;

use crate::forward;
use crate::maps::{self, Cell};
use crate::network::{Datagram, Network};

/// The verdict on a datagram to a media address and port.
#[inline(always)]
pub(crate) fn verdict<N: Network>(context: &XdpContext, datagram: Datagram<N>) -> Result<Verdict, Verdict> {
    let slot = datagram.slot;
    let Some(live) = maps::flow(slot) else { return Err(Verdict::NoFlow) };
    let flow = live.fields();
    let payload = match admit(context, &datagram, flow) {
        Ok(payload) => payload,
        Err(verdict) => return refused(slot, verdict),
    };
    let to = destination(flow);
    let from = flow.send_from();
    let (class, hop) = (flow.traffic_class(), flow.hop());
    // A followed source may live elsewhere than the far end that the hop was resolved for.
    let hop = if to.address == flow.send_to().address { maps::hop(hop) } else { None };
    if !live.is_whole() {
        return refused(slot, Verdict::FlowChanging);
    }
    match forward::forward(context, datagram, from, to, class, hop) {
        Ok(verdict) => {
            maps::count_forwarded(slot, payload);
            Ok(verdict)
        }
        Err(verdict) => refused(slot, verdict),
    }
}

#[inline(always)]
fn refused(slot: u32, verdict: Verdict) -> Result<Verdict, Verdict> {
    maps::count_refused(slot);
    Err(verdict)
}

/// The bytes of UDP payload, when the flow admits the datagram.
#[inline(always)]
fn admit<N: Network>(context: &XdpContext, datagram: &Datagram<N>, flow: &Flow) -> Result<u16, Verdict> {
    const UDP: u16 = size_of::<Udp>() as u16;
    let length = datagram.udp.length();
    // Bytes between the two lengths would cross unseen.
    if length < UDP || length != datagram.network.payload_length() {
        return Err(Verdict::BadUdpLength);
    }
    if N::CHECKSUM_REQUIRED && datagram.udp.checksum == 0 {
        return Err(Verdict::NoUdpChecksum);
    }
    let payload = length - UDP;
    if payload < if flow.is_rtcp() { RTCP_MIN } else { RTP_MIN } {
        return Err(Verdict::TooShort);
    }
    let rtp: &mut Rtp = datagram.frame.view(size_of::<Ethernet>() + size_of::<N>() + size_of::<Udp>())?;
    content(flow, rtp)?;
    if datagram.network.hops_left() <= 1 {
        return Err(Verdict::TtlExpired);
    }
    let source = End { address: datagram.network.source(), port: datagram.udp.source() };
    let cell = maps::learned(datagram.slot).ok_or(Verdict::NoFlow)?;
    check_source(context, datagram.slot, cell, flow, source)?;
    Ok(payload)
}

#[inline(always)]
fn content(flow: &Flow, rtp: &Rtp) -> Result<(), Verdict> {
    if !rtp.is_version_2() {
        return Err(Verdict::NotRtp);
    }
    if flow.is_rtcp() {
        if !rtp.is_rtcp_type() {
            return Err(Verdict::NotRtcp);
        }
    } else if !flow.allows_payload_type(rtp.payload_type()) {
        return Err(Verdict::PayloadType);
    }
    Ok(())
}

/// Accepts the locked source; the first source that signalling allows is
/// locked.
#[inline(always)]
fn check_source(
    context: &XdpContext,
    slot: u32,
    cell: Cell,
    flow: &Flow,
    source: End,
) -> Result<(), Verdict> {
    let epoch = flow.epoch();
    let word = cell.word();
    if word == LearnedSource::word(epoch, Phase::Locked) {
        let learned = cell.source();
        return if learned.port == source.port && same(&learned.address, &source.address) {
            Ok(())
        } else {
            Err(Verdict::WrongSource)
        };
    }
    let age = epoch.wrapping_sub(LearnedSource::epoch_of(word));
    if age == 0 {
        return Err(Verdict::SourceLearning);
    }
    // A cell that is ahead of the body belongs to a later flow.
    if age > u32::MAX / 2 {
        return Err(Verdict::FlowChanging);
    }
    if !flow.allows_source(&source.address) {
        return Err(Verdict::SourceNotAllowed);
    }
    if !cell.learn(word, epoch, source) {
        return Err(Verdict::SourceLearning);
    }
    debug!(context, "slot {}: source port {} learned", slot, source.port.number());
    Ok(())
}

/// Where the flow sends: the far end as signalled, or where its packets come
/// from once that is known.
#[inline(always)]
fn destination(flow: &Flow) -> End {
    let signalled = flow.send_to();
    let Some(opposite) = flow.follows() else { return signalled };
    let Some(live) = maps::flow(opposite) else { return signalled };
    let Some(cell) = maps::learned(opposite) else { return signalled };
    if cell.word() == LearnedSource::word(live.fields().epoch(), Phase::Locked) {
        cell.source()
    } else {
        signalled
    }
}

#[inline(always)]
fn same(left: &Address, right: &Address) -> bool {
    left.words() == right.words()
}
