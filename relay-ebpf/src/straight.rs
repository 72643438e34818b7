//! The straight way: what nearly every packet is, relayed by nothing but what it needs.
//!
//! That is RTP without extension, sources or padding, untagged, of a flow that has its
//! source, and that leaves untagged in its own family by a known way. What is not sure to
//! be all of this is left as it is, and the general path looks at it from the beginning:
//! it alone gives reasons.
//!
//! Headers are held against the frame's end once, and then read and written as words.
//! Values are read where they are used: what waits for its use costs a place on the
//! stack, which the general path has to share.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use relay_ebpf::abi::{Address, Family, Head, Port};
use relay_ebpf::checksum::Update;
use relay_ebpf::header::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Ipv4, Ipv6, PROTOCOL_UDP, Rtp, Udp};
use relay_ebpf::quality::Place;
use relay_ebpf::verdict::Verdict;

use crate::apart;
use crate::flow::{self, LiveHead};
use crate::maps;
use crate::packet::{self, Frame, Words};

/// Where the IP header begins, and UDP and RTP behind it.
const IP: usize = size_of::<Ethernet>();
const UDP_V4: usize = IP + size_of::<Ipv4>();
const UDP_V6: usize = IP + size_of::<Ipv6>();
/// What is needed of UDP and RTP.
const NEEDED: usize = size_of::<Udp>() + size_of::<Rtp>();
/// The first byte of RTP that announces nothing: version 2.
const PLAIN: u32 = 0x80;

/// The verdict on a frame that goes the straight way; `None` leaves it to the general one.
#[inline(always)]
pub(crate) fn verdict(context: &XdpContext) -> Option<Verdict> {
    if maps::uses_vlans() {
        return None;
    }
    let frame = Frame::of(context);
    match frame.view::<Ethernet>(0).ok()?.ethertype {
        ETHERTYPE_IPV4 => relay::<V4, UDP_V4>(context.ctx, frame),
        ETHERTYPE_IPV6 => relay::<V6, UDP_V6>(context.ctx, frame),
        _ => None,
    }
}

/// What the straight way asks of an IP header.
trait Header {
    const FAMILY: Family;

    /// The length of the datagram in a packet that fits `room` bytes, when nothing is
    /// unusual about its header; `checksum` is that of UDP.
    fn datagram(words: Words, room: usize, checksum: u16) -> Option<u16>;
    /// The first word of who sent it.
    fn sender(words: Words) -> u32;
    /// Whether the other words are those that the flow has learned.
    fn is_from(words: Words, slot: u32, live: LiveHead) -> Option<bool>;
    /// Whom it is for.
    fn destination(words: Words) -> Address;
    /// Sends it one hop further, between the ends of the flow; what changed in UDP's
    /// pseudo-header.
    fn send(words: Words, slot: u32, live: LiveHead) -> Option<Update>;
    /// Takes back the hop that [`Self::send`] has counted.
    fn take_back(words: Words);
}

#[inline(always)]
fn relay<H: Header, const UDP: usize>(context: *mut xdp_md, frame: Frame) -> Option<Verdict> {
    let words = frame.words(UDP + NEEDED)?;
    let udp = words.beyond::<UDP>();
    let checksum = udp.half::<6>();
    let length = u16::from_be(udp.half::<4>());
    if H::datagram(words, frame.length() - IP, checksum)? != length || usize::from(length) < NEEDED {
        return None;
    }
    let rtp = udp.word::<8>();
    if rtp & 0xff != PLAIN || words.half::<0>() & 1 != 0 {
        return None;
    }
    let slot = maps::slot(&H::destination(words), H::FAMILY, Port::from_wire(udp.half::<2>())).ok()?;
    let live = flow::head(slot)?;
    let flow = live.head();
    if !flow.sends_straight(H::FAMILY, (rtp >> 8) as u8) {
        return None;
    }
    if !live.hears(udp.half::<0>(), H::sender(words)) || !H::is_from(words, slot, live)? {
        return None;
    }
    let interface = address(words, flow.hop(), UDP - IP + usize::from(length))?;
    write_udp(udp, flow, checksum, H::send(words, slot, live)?);
    if !live.is_whole() {
        return apart::heard(relay_overtaken(context, slot)).err();
    }
    Some(leave(context, slot, live, interface, udp))
}

/// The verdict on a packet whose flow was changed twice while it was rewritten, so that
/// some of what was written may be of either: see [`rewrite_again`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn relay_overtaken(context: *mut xdp_md, slot: u32) -> u32 {
    let frame = Frame::of_metadata(context);
    let verdict = match frame.view::<Ethernet>(0).map(|ethernet| ethernet.ethertype) {
        Ok(ETHERTYPE_IPV4) => rewrite_again::<V4, UDP_V4>(context, frame, slot),
        Ok(ETHERTYPE_IPV6) => rewrite_again::<V6, UDP_V6>(context, frame, slot),
        Ok(_) | Err(_) => None,
    };
    if verdict.is_none() {
        refuse(slot);
    }
    apart::ended(Err(verdict.unwrap_or(Verdict::FlowChanging)))
}

/// Rewrites and sends off a packet by its flow as that is now. Checksums follow from what
/// stands in the packet, so it does not matter what that is. It was heard already, from a
/// source that is still the flow's unless signalling moved it.
#[inline(always)]
fn rewrite_again<H: Header, const UDP: usize>(
    context: *mut xdp_md,
    frame: Frame,
    slot: u32,
) -> Option<Verdict> {
    let words = frame.words(UDP + NEEDED)?;
    let udp = words.beyond::<UDP>();
    let live = flow::head(slot)?;
    let flow = live.head();
    if !live.has_source() || !flow.sends_straight(H::FAMILY, (udp.word::<8>() >> 8) as u8) {
        return None;
    }
    H::take_back(words);
    let length = usize::from(u16::from_be(udp.half::<4>()));
    let interface = address(words, flow.hop(), UDP - IP + length)?;
    write_udp(udp, flow, udp.half::<6>(), H::send(words, slot, live)?);
    live.is_whole().then(|| leave(context, slot, live, interface, udp))
}

/// Writes the MAC addresses of a known way that takes a packet of `length` bytes without
/// tags, and returns the interface that it leaves by.
#[inline(always)]
fn address(words: Words, way: u32, length: usize) -> Option<u32> {
    let way = maps::way(way)?;
    let hop = way.fields();
    if hop.tag_count() != 0 || length > usize::from(hop.mtu) {
        return None;
    }
    let [first, second, third] = hop.macs();
    words.put::<0>(first);
    words.put::<4>(second);
    words.put::<8>(third);
    let interface = hop.interface;
    way.is_whole().then_some(interface)
}

/// Writes the ports of the flow, and the checksum that follows from them and `moved`.
#[inline(always)]
fn write_udp(udp: Words, flow: &Head, checksum: u16, moved: Update) {
    let (old, new) = (udp.word::<0>(), flow.ports());
    udp.put::<0>(new);
    // A datagram without a checksum stays without one (IPv4 alone, RFC 768).
    if checksum != 0 {
        udp.put_half::<6>(Update::of(checksum).double_word(old, new).and(moved).finish_udp());
    }
}

/// Sends the packet off and counts it.
#[inline(always)]
fn leave(context: *mut xdp_md, slot: u32, live: LiveHead, interface: u32, udp: Words) -> Verdict {
    let place = Place {
        ssrc: udp.word::<16>(),
        sequence: u16::from_be(udp.half::<10>()),
        timestamp: u32::from_be(udp.word::<12>()),
    };
    let payload = u16::from_be(udp.half::<4>()).wrapping_sub(size_of::<Udp>() as u16);
    let verdict = if interface == packet::ingress(context) {
        Verdict::Transmitted
    } else if maps::redirect(interface) {
        Verdict::Redirected
    } else {
        refuse(slot);
        return Verdict::NoDevice;
    };
    if !live.count_following(place, payload) {
        count_place(slot, payload.into(), place.ssrc, place.sequence.into(), place.timestamp);
    }
    verdict
}

/// Counts a packet that was refused after all.
#[inline(always)]
fn refuse(slot: u32) {
    if let Some(live) = flow::whole(slot) {
        live.count_refused();
    }
}

/// Counts a packet of RTP that says more than that it is the next one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn count_place(slot: u32, payload: u32, ssrc: u32, sequence: u32, timestamp: u32) -> u32 {
    if let Some(live) = flow::whole(slot) {
        live.count_arrived(Some(Place { ssrc, sequence: sequence as u16, timestamp }));
        live.count_forwarded(payload as u16);
    }
    0
}

struct V4;

impl Header for V4 {
    const FAMILY: Family = Family::V4;

    #[inline(always)]
    fn datagram(words: Words, room: usize, _checksum: u16) -> Option<u16> {
        let [version, _, length @ ..] = words.word::<IP>().to_ne_bytes();
        let length = u16::from_be_bytes(length);
        // No piece of a packet, UDP, and hops left.
        let middle = u32::from_be(words.word::<{ IP + 6 }>());
        if version != 0x45 || middle & 0x3fff_00ff != PROTOCOL_UDP.into() || middle & 0xfe00 == 0 {
            return None;
        }
        if usize::from(length) > room { None } else { Some(length.wrapping_sub(size_of::<Ipv4>() as u16)) }
    }

    #[inline(always)]
    fn sender(words: Words) -> u32 {
        words.word::<{ IP + 12 }>()
    }

    #[inline(always)]
    fn is_from(_words: Words, _slot: u32, _live: LiveHead) -> Option<bool> {
        Some(true)
    }

    #[inline(always)]
    fn destination(words: Words) -> Address {
        Address::from_words([words.word::<{ IP + 16 }>(), 0, 0, 0])
    }

    #[inline(always)]
    fn send(words: Words, _slot: u32, live: LiveHead) -> Option<Update> {
        let flow = live.head();
        let [from, to] = flow.first_words();
        let moved = Update::ANEW
            .double_word(words.word::<{ IP + 12 }>(), from)
            .double_word(words.word::<{ IP + 16 }>(), to);
        words.put::<{ IP + 12 }>(from);
        words.put::<{ IP + 16 }>(to);
        let (first, hops) = (words.half::<IP>(), words.half::<{ IP + 8 }>());
        let [version, _] = first.to_ne_bytes();
        let [left, protocol] = hops.to_ne_bytes();
        let new_first = u16::from_ne_bytes([version, flow.traffic_class()]);
        let new_hops = u16::from_ne_bytes([left.wrapping_sub(1), protocol]);
        words.put_half::<IP>(new_first);
        words.put_half::<{ IP + 8 }>(new_hops);
        let header =
            Update::of(words.half::<{ IP + 10 }>()).word(first, new_first).word(hops, new_hops).and(moved);
        words.put_half::<{ IP + 10 }>(header.finish());
        Some(moved)
    }

    #[inline(always)]
    fn take_back(words: Words) {
        let hops = words.half::<{ IP + 8 }>();
        let [left, protocol] = hops.to_ne_bytes();
        let before = u16::from_ne_bytes([left.wrapping_add(1), protocol]);
        words.put_half::<{ IP + 8 }>(before);
        let header = Update::of(words.half::<{ IP + 10 }>()).word(hops, before);
        words.put_half::<{ IP + 10 }>(header.finish());
    }
}

struct V6;

impl Header for V6 {
    const FAMILY: Family = Family::V6;

    #[inline(always)]
    fn datagram(words: Words, room: usize, checksum: u16) -> Option<u16> {
        let [version, ..] = words.half::<IP>().to_ne_bytes();
        let length = u16::from_be(words.half::<{ IP + 4 }>());
        let [protocol, hops] = words.half::<{ IP + 6 }>().to_ne_bytes();
        if version >> 4 != 6 || protocol != PROTOCOL_UDP || hops <= 1 || checksum == 0 {
            return None;
        }
        if usize::from(length) + size_of::<Ipv6>() > room { None } else { Some(length) }
    }

    #[inline(always)]
    fn sender(words: Words) -> u32 {
        words.word::<{ IP + 8 }>()
    }

    #[inline(always)]
    fn is_from(words: Words, slot: u32, live: LiveHead) -> Option<bool> {
        let learned = live.rest(slot)?.cell();
        Some(
            words.word::<{ IP + 12 }>() == learned.quad(1)
                && words.word::<{ IP + 16 }>() == learned.quad(2)
                && words.word::<{ IP + 20 }>() == learned.quad(3),
        )
    }

    #[inline(always)]
    fn destination(words: Words) -> Address {
        Address::from_words([
            words.word::<{ IP + 24 }>(),
            words.word::<{ IP + 28 }>(),
            words.word::<{ IP + 32 }>(),
            words.word::<{ IP + 36 }>(),
        ])
    }

    #[inline(always)]
    fn send(words: Words, slot: u32, live: LiveHead) -> Option<Update> {
        let flow = live.rest(slot)?.fields();
        // Each word is read where it is written.
        let from = |index: usize| flow.send_from().address.words()[index];
        let to = |index: usize| flow.send_to().address.words()[index];
        let [first, second] = words.half::<IP>().to_ne_bytes();
        let class = flow.traffic_class();
        words.put_half::<IP>(u16::from_ne_bytes([first & 0xf0 | class >> 4, class << 4 | second & 0x0f]));
        let [protocol, hops] = words.half::<{ IP + 6 }>().to_ne_bytes();
        words.put_half::<{ IP + 6 }>(u16::from_ne_bytes([protocol, hops.wrapping_sub(1)]));
        let moved = replace::<{ IP + 8 }>(words, Update::ANEW, from(0));
        let moved = replace::<{ IP + 12 }>(words, moved, from(1));
        let moved = replace::<{ IP + 16 }>(words, moved, from(2));
        let moved = replace::<{ IP + 20 }>(words, moved, from(3));
        let moved = replace::<{ IP + 24 }>(words, moved, to(0));
        let moved = replace::<{ IP + 28 }>(words, moved, to(1));
        let moved = replace::<{ IP + 32 }>(words, moved, to(2));
        let moved = replace::<{ IP + 36 }>(words, moved, to(3));
        Some(moved)
    }

    #[inline(always)]
    fn take_back(words: Words) {
        let [protocol, hops] = words.half::<{ IP + 6 }>().to_ne_bytes();
        words.put_half::<{ IP + 6 }>(u16::from_ne_bytes([protocol, hops.wrapping_add(1)]));
    }
}

/// Writes a word in place of another; what that changes, beside what is `moved` already.
#[inline(always)]
fn replace<const AT: usize>(words: Words, moved: Update, new: u32) -> Update {
    let old = words.word::<AT>();
    words.put::<AT>(new);
    Update::of_sum(packet::settled(moved.double_word(old, new).sum()))
}
