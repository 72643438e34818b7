//! Frames that leave with another size than they came: other VLAN tags, or the
//! other IP family.
//!
//! UDP and its payload stay where they are; the front of the frame grows or
//! shrinks before them. All of this is out of line, so that the straight path
//! stays short, and takes its packet pointers anew, since resizing voids them.
//!
//! Between families (RFC 7915, without its fragments, which never come here):
//! the UDP checksum is updated by what changed in the pseudo-header, a flow label
//! is zero, and IPv4 gets an identification of zero and must not be fragmented,
//! which makes it an atomic datagram (RFC 6864) that nobody needs to number. IPv6
//! demands the checksum that IPv4 may leave out: it is computed over the payload
//! in steps that the verifier can bound, and what is longer than these is dropped
//! as `no-udp-checksum`.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_csum_diff, bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use relay_ebpf::abi::{Address, End, Family, Hop, Port, Tag};
use relay_ebpf::checksum::Update;
use relay_ebpf::header::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Ipv4, Ipv6, PROTOCOL_UDP, Udp, VlanTag, pairs_v4, pairs_v6,
};
use relay_ebpf::verdict::Verdict;

use crate::apart;
use crate::packet::{self, Frame};

/// The shortest frame, without its check sequence.
const SHORTEST_FRAME: usize = 60;

/// What else is known of a packet on its way out, in a map: the program's stack has no
/// room for it.
pub(crate) struct Room {
    /// The way out.
    pub(crate) way: Hop,
    /// What leaves by it.
    pub(crate) shape: Shape,
}

/// What a datagram becomes, for what happens out of line.
#[repr(C)]
pub(crate) struct Shape {
    /// Where it leaves from.
    pub(crate) from: Address,
    /// Where it goes.
    pub(crate) to: Address,
    /// The port that it leaves from.
    pub(crate) from_port: Port,
    /// The port that it goes to.
    pub(crate) to_port: Port,
    /// The UDP header and its payload in bytes.
    pub(crate) length: u16,
    /// The UDP checksum as it leaves; zero when it came without.
    pub(crate) checksum: u16,
    /// How many bytes came before its UDP header.
    pub(crate) head: u8,
    /// Hops left, this one taken.
    pub(crate) hops: u8,
    /// The traffic class.
    pub(crate) class: u8,
    /// The family of both ends.
    pub(crate) family: Family,
}

const _: () = assert!(size_of::<Shape>() == 44);

impl Shape {
    /// Leaves so.
    #[inline(always)]
    pub(crate) fn leave(&mut self, family: Family, from: End, to: End, class: u8) {
        (self.from, self.from_port) = (from.address, from.port);
        (self.to, self.to_port) = (to.address, to.port);
        (self.family, self.class) = (family, class);
    }
}

/// Gives an untagged frame the tags and MAC addresses of `way`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn add_tags(context: *mut xdp_md, way: *mut Hop, ethertype: u32) -> u32 {
    apart::ended(tag(context, way, ethertype as u16))
}

#[inline(always)]
fn tag(context: *mut xdp_md, way: *mut Hop, ethertype: u16) -> Result<(), Verdict> {
    let way = apart::given(way)?;
    resize(context, size_of::<Ethernet>(), front(way))?;
    write_front(Frame::of_metadata(context), way, ethertype)
}

/// Makes IPv6 of an IPv4 datagram.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn make_v6(context: *mut xdp_md, way: *mut Hop, shape: *mut Shape) -> u32 {
    apart::ended(to_v6(context, way, shape))
}

#[inline(always)]
fn to_v6(context: *mut xdp_md, way: *mut Hop, shape: *mut Shape) -> Result<(), Verdict> {
    let (way, shape) = (apart::given(way)?, apart::given(shape)?);
    let start = front(way);
    resize(context, shape.head.into(), start + size_of::<Ipv6>())?;
    let frame = Frame::of_metadata(context);
    write_front(frame, way, ETHERTYPE_IPV6)?;
    let network: &mut Ipv6 = frame.view(start)?;
    *network = Ipv6 {
        version_class: [0x60 | shape.class >> 4, shape.class << 4, 0, 0],
        payload_length: shape.length.to_be(),
        next_header: PROTOCOL_UDP,
        hop_limit: shape.hops,
        source: pairs_v6(&shape.from),
        destination: pairs_v6(&shape.to),
    };
    write_udp(frame, start + size_of::<Ipv6>(), shape)
}

/// Makes IPv4 of an IPv6 datagram.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn make_v4(context: *mut xdp_md, way: *mut Hop, shape: *mut Shape) -> u32 {
    apart::ended(to_v4(context, way, shape))
}

#[inline(always)]
fn to_v4(context: *mut xdp_md, way: *mut Hop, shape: *mut Shape) -> Result<(), Verdict> {
    let (way, shape) = (apart::given(way)?, apart::given(shape)?);
    let start = front(way);
    resize(context, shape.head.into(), start + size_of::<Ipv4>())?;
    let frame = Frame::of_metadata(context);
    write_front(frame, way, ETHERTYPE_IPV4)?;
    let network: &mut Ipv4 = frame.view(start)?;
    *network = Ipv4 {
        version_length: 0x45,
        traffic_class: shape.class,
        total_length: (shape.length + size_of::<Ipv4>() as u16).to_be(),
        identification: 0,
        fragment: Ipv4::DO_NOT_FRAGMENT,
        ttl: shape.hops,
        protocol: PROTOCOL_UDP,
        checksum: 0,
        source: pairs_v4(&shape.from),
        destination: pairs_v4(&shape.to),
    };
    network.checksum = Update::ANEW
        .plus(network.first_word().into())
        .plus(network.total_length.into())
        .plus(network.fragment.into())
        .plus(network.ttl_word().into())
        .plus(shape.from.words()[0])
        .plus(shape.to.words()[0])
        .finish();
    write_udp(frame, start + size_of::<Ipv4>(), shape)
}

/// The size of what comes before the IP header.
#[inline(always)]
fn front(way: &Hop) -> usize {
    size_of::<Ethernet>() + way.tag_count() * size_of::<VlanTag>()
}

/// Makes room: what was `before` bytes from the front is `after` bytes from it.
#[inline(always)]
pub(crate) fn resize(context: *mut xdp_md, before: usize, after: usize) -> Result<(), Verdict> {
    // SAFETY: the context of this invocation.
    if unsafe { bpf_xdp_adjust_head(context, before as i32 - after as i32) } != 0 {
        return Err(Verdict::ExceedsMtu);
    }
    let length = Frame::of_metadata(context).length();
    if length < SHORTEST_FRAME {
        // Where there is no room behind, the device pads.
        // SAFETY: as above; the kernel zeroes what it adds.
        unsafe { bpf_xdp_adjust_tail(context, SHORTEST_FRAME as i32 - length as i32) };
    }
    Ok(())
}

/// MAC addresses, tags, and the type of what follows.
#[inline(always)]
fn write_front(frame: Frame, way: &Hop, ethertype: u16) -> Result<(), Verdict> {
    const OUTER: usize = size_of::<Ethernet>();
    let [outer, inner] = way.tags;
    let ethernet: &mut Ethernet = frame.view(0)?;
    ethernet.destination = way.destination;
    ethernet.source = way.source;
    ethernet.ethertype = announced(outer, ethertype);
    if !outer.is_none() {
        let tag: &mut VlanTag = frame.view(OUTER)?;
        *tag = VlanTag { control: outer.control, ethertype: announced(inner, ethertype) };
        if !inner.is_none() {
            let tag: &mut VlanTag = frame.view(OUTER + size_of::<VlanTag>())?;
            *tag = VlanTag { control: inner.control, ethertype };
        }
    }
    Ok(())
}

/// What announces `tag`, or what follows where there is none.
#[inline(always)]
fn announced(tag: Tag, ethertype: u16) -> u16 {
    if tag.is_none() { ethertype } else { tag.protocol }
}

#[inline(always)]
fn write_udp(frame: Frame, at: usize, shape: &Shape) -> Result<(), Verdict> {
    let udp: &mut Udp = frame.view(at)?;
    udp.source = shape.from_port.to_wire();
    udp.destination = shape.to_port.to_wire();
    udp.checksum = shape.checksum;
    Ok(())
}

/// Computes the checksum of a datagram that came without one, as it will leave. Apart
/// from what follows, so that their shares of the stack do not add up.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn compute_checksum(context: *mut xdp_md, shape: *mut Shape) -> u32 {
    apart::ended(complete(context, shape))
}

#[inline(always)]
fn complete(context: *mut xdp_md, shape: *mut Shape) -> Result<(), Verdict> {
    let shape = apart::given(shape)?;
    let frame = Frame::of_metadata(context);
    let payload = shape.length.wrapping_sub(size_of::<Udp>() as u16);
    let payload = payload_sum(frame, usize::from(shape.head) + size_of::<Udp>(), payload)?;
    // What is read behind this need not wait on the stack.
    packet::keep_order();
    let mut sum = Update::ANEW
        .plus(payload)
        .plus(u32::from(PROTOCOL_UDP).to_be())
        .plus(shape.from_port.to_wire().into())
        .plus(shape.to_port.to_wire().into())
        // Once in the header and once in the pseudo-header.
        .plus(shape.length.to_be().into())
        .plus(shape.length.to_be().into());
    for (from, to) in shape.from.words().into_iter().zip(shape.to.words()) {
        sum = sum.plus(from).plus(to);
    }
    shape.checksum = sum.finish_udp();
    Ok(())
}

/// The sum of the pairs of bytes of a payload. Offsets are taken from what is
/// left, so that they are unknown numbers within bounds: the verifier then finds
/// all ways out of a loop alike, and follows one.
#[inline(always)]
fn payload_sum(frame: Frame, start: usize, length: u16) -> Result<u32, Verdict> {
    const STEP: u16 = 64;
    const STEPS: u16 = 64;
    if length >= STEP * STEPS {
        return Err(Verdict::NoUdpChecksum);
    }
    let mut left = length;
    let mut sum = 0_u32;
    for _ in 0..STEPS {
        if left < STEP {
            break;
        }
        let bytes: &mut [u8; STEP as usize] = frame.view_beyond(start, length - left)?;
        // SAFETY: adds up bytes that are there, and writes nothing.
        sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, bytes.as_mut_ptr().cast(), STEP.into(), sum) }
            as u32;
        left -= STEP;
    }
    let mut sum = u64::from(sum);
    for _ in 0..STEP / 2 {
        if left < 2 {
            break;
        }
        sum += u64::from(u16::from_ne_bytes(frame.bytes_beyond(start, length - left)?));
        left -= 2;
    }
    if left == 1 {
        let [_, last] = frame.bytes_beyond(start - 1, length - left)?;
        sum += u64::from(u16::from_ne_bytes([last, 0]));
    }
    Ok(((sum >> 32) + (sum & 0xffff_ffff)) as u32)
}
