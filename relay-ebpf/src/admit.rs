//! Holds a datagram against the flow of its port: is it whole, is it the media
//! that signalling agreed on, does it come from where it may.

use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::debug;
use relay_ebpf::abi::{EPOCHS, End, Family, FlowView, Phase, age};
use relay_ebpf::header::{Rtp, Udp};
use relay_ebpf::media::Class;
use relay_ebpf::verdict::Verdict;

use crate::flow::{self, Cell, LiveFlow};
use crate::forward;
use crate::maps;
use crate::network::{Datagram, Network};
use crate::packet::Frame;
use crate::reshape::Room;
use crate::scrub;
use crate::tap::{self, Packet};

/// The verdict on a datagram to a media address and port.
#[inline(always)]
pub(crate) fn verdict<N: Network>(
    context: &XdpContext,
    datagram: Datagram<N>,
    room: &mut Room,
) -> Result<Verdict, Verdict> {
    let slot = datagram.slot;
    let Some(live) = flow::whole(slot) else { return Err(Verdict::NoFlow) };
    let flow = live.fields();
    let (class, payload) = match admit(&datagram, live) {
        Ok(admitted) => admitted,
        Err(verdict) => return refused(live, verdict),
    };
    let apart = matches!(class, Class::Rtcp) && flow.sends_rtcp_apart();
    let leaving = if apart { flow::whole(maps::beside(slot)) } else { Some(live) };
    let Some(leaving) = leaving else { return refused(live, Verdict::FlowChanging) };
    let known = find_exit(leaving.fields(), room);
    if !live.is_whole() || (apart && !leaving.is_whole()) {
        return refused(live, Verdict::FlowChanging);
    }
    let at = Datagram::<N>::PAYLOAD as u16;
    match scrub::scrub(context.ctx, flow, class, at, payload, datagram.udp.checksum) {
        Ok(checksum) => datagram.udp.checksum = checksum,
        Err(verdict) => return refused(live, verdict),
    }
    if flow.is_tapped() {
        let mut packet = tapped(&datagram, payload);
        tap::copy_to_tap(context.ctx, &raw mut packet);
    }
    match forward::forward(context, datagram, known, room) {
        Ok(verdict) => {
            live.count_forwarded(payload);
            Ok(verdict)
        }
        Err(verdict) => refused(live, verdict),
    }
}

/// Finds out how what a flow admits leaves; whether the control plane knows the way, since
/// the kernel's tables are asked otherwise.
#[inline(always)]
fn find_exit(flow: FlowView<'_>, room: &mut Room) -> bool {
    let (family, to) = (flow.exit_family(), flow.send_to());
    // A followed source may live elsewhere than the far end that the hop was resolved for.
    let (to, near) = match followed(flow) {
        Some(source) => (source, same(family, &source, &to)),
        None => (to, true),
    };
    room.shape.leave(family, flow.send_from(), to, flow.traffic_class());
    near && maps::hop(flow.hop(), &mut room.way)
}

/// An admitted datagram, as the tap wants it.
#[inline(always)]
fn tapped<N: Network>(datagram: &Datagram<N>, length: u16) -> Packet {
    Packet {
        slot: datagram.slot,
        start: Datagram::<N>::PAYLOAD as u32,
        length: length.into(),
        source_v6: matches!(N::FAMILY, Family::V6).into(),
        port: datagram.udp.source(),
        address: datagram.network.source(),
    }
}

/// STUN for the daemon is neither forwarded nor refused.
#[inline(always)]
fn refused(live: LiveFlow, verdict: Verdict) -> Result<Verdict, Verdict> {
    if !matches!(verdict, Verdict::LocalStun) {
        live.count_refused();
    }
    Err(verdict)
}

/// The class and the bytes of UDP payload, when the flow admits the datagram.
#[inline(always)]
fn admit<N: Network>(datagram: &Datagram<N>, live: LiveFlow) -> Result<(Class, u16), Verdict> {
    const UDP: u16 = size_of::<Udp>() as u16;
    let flow = live.fields();
    let length = datagram.udp.length();
    // Bytes between the two lengths would cross unseen.
    if length < UDP || length != datagram.network.payload_length() {
        return Err(Verdict::BadUdpLength);
    }
    if N::CHECKSUM_REQUIRED && datagram.udp.checksum == 0 {
        return Err(Verdict::NoUdpChecksum);
    }
    let payload = length - UDP;
    let at = Datagram::<N>::PAYLOAD;
    let class = content(flow, datagram.frame, at, payload)?;
    if datagram.network.hops_left() <= 1 {
        return Err(Verdict::TtlExpired);
    }
    let source = End { address: datagram.network.source(), port: datagram.udp.source() };
    if matches!(class, Class::Stun) {
        // The daemon tells who may ask, by their signature; it decides nothing about media yet.
        return Err(Verdict::LocalStun);
    }
    let fixes_source = || class.fixes_source(|| datagram.frame.bytes(at));
    check_source::<N>(datagram.slot, live.cell(), flow, source, fixes_source)?;
    let place = match class {
        Class::Rtp => Some(datagram.frame.view::<Rtp>(at)?.place()),
        Class::Rtcp | Class::Dtls | Class::Stun | Class::Opaque => None,
    };
    live.count_arrived(place);
    Ok((class, payload))
}

/// The class of the payload at `at`, when the flow takes it and its header holds.
#[inline(always)]
fn content(flow: FlowView<'_>, frame: Frame, at: usize, payload: u16) -> Result<Class, Verdict> {
    let rule = flow.rule();
    let class = rule.class_of(payload, || frame.bytes(at))?;
    if matches!(class, Class::Rtp) {
        let [first, _] = frame.bytes(at)?;
        // Most packets announce nothing beyond the fixed header.
        if first != 0x80 {
            rule.rtp_payload(first, payload, |offset| frame.bytes_beyond(at, offset))?;
        }
    }
    Ok(class)
}

/// Accepts the locked source; the first source that signalling allows is
/// locked, and once signalling has moved the far end, the address that it named.
#[inline(always)]
fn check_source<N: Network>(
    slot: u32,
    cell: Cell,
    flow: FlowView<'_>,
    source: End,
    fixes_source: impl FnOnce() -> Result<(), Verdict>,
) -> Result<(), Verdict> {
    let epoch = flow.epoch();
    let word = cell.word();
    if word == Phase::Locked.word(epoch) {
        if cell.holds(N::FAMILY, &source) {
            return Ok(());
        }
        if !flow.was_moved() || !flow.allows_source(&source.address) || !is_named::<N>(flow, &source) {
            return Err(Verdict::WrongSource);
        }
        fixes_source()?;
        return learn(slot, cell, word, epoch, source);
    }
    let age = age(epoch, word);
    if age == 0 {
        return Err(Verdict::SourceLearning);
    }
    // A cell that is ahead of the body belongs to a later flow.
    if age > EPOCHS / 2 {
        return Err(Verdict::FlowChanging);
    }
    if !flow.allows_source(&source.address) {
        return Err(Verdict::SourceNotAllowed);
    }
    fixes_source()?;
    learn(slot, cell, word, epoch, source)
}

/// Locks `source`, unless another CPU was faster than the word that was seen.
#[inline(always)]
fn learn(slot: u32, cell: Cell, word: u32, epoch: u32, source: End) -> Result<(), Verdict> {
    if !cell.learn(word, epoch, source) {
        return Err(Verdict::SourceLearning);
    }
    report_source(slot, source.port.number().into());
    Ok(())
}

/// Whether this is where signalling says that the far end is: where the other
/// direction goes.
#[inline(always)]
fn is_named<N: Network>(flow: FlowView<'_>, source: &End) -> bool {
    let Some(opposite) = flow.opposite().and_then(flow::whole) else { return false };
    opposite.fields().goes_to(N::FAMILY, source) && opposite.is_whole()
}

/// Out of line, since it happens once in a flow's life.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn report_source(slot: u32, port: u32) -> u32 {
    debug!((), "slot {}: source port {} learned", slot, port);
    0
}

/// Where the far end's packets come from, when the flow follows them and that
/// is known.
#[inline(always)]
fn followed(flow: FlowView<'_>) -> Option<End> {
    let live = flow::whole(flow.follows()?)?;
    let cell = live.cell();
    let locked = Phase::Locked.word(live.fields().epoch());
    if cell.word() == locked { Some(cell.source()) } else { None }
}

/// Whether two ends of one family have one address.
#[inline(always)]
fn same(family: Family, left: &End, right: &End) -> bool {
    let (left, right) = (left.address.words(), right.address.words());
    match family {
        Family::V4 => left[0] == right[0],
        Family::V6 => left == right,
    }
}
