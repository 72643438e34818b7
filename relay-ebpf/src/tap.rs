//! Copies packets of tapped flows into a ring that the control plane reads.
//!
//! A copy is the UDP payload of a packet that the flow has admitted, with the
//! address that it came from; what it becomes on its way out follows from the
//! flow. The ring is bounded: when it is full the copy is lost and counted, and
//! the packet itself goes its way as ever.

use core::arch::asm;
use core::mem::offset_of;
use core::ptr::addr_of_mut;

use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_xdp_load_bytes};
use aya_ebpf::programs::XdpContext;
use relay_ebpf::abi::{End, TAP_LONGEST, TAP_USUAL, TapCopy, TapHeader};

use crate::maps;

/// A packet to be copied.
pub(crate) struct Packet {
    /// The slot of its flow.
    pub(crate) slot: u32,
    /// Where in the frame its payload begins.
    pub(crate) start: u32,
    /// The bytes of its payload.
    pub(crate) length: u16,
    /// Whether the source is an IPv6 one.
    pub(crate) source_v6: bool,
    /// Who sent it.
    pub(crate) source: End,
}

/// Copies a packet. Apart from the media path, whose instructions stay together.
#[inline(never)]
pub(crate) fn copy(context: &XdpContext, packet: &Packet) {
    let mut metadata = context.ctx;
    // SAFETY: the pointer stays what it is. The compiler would hand over what the pointer
    // leads to, and the verifier knows contexts alone.
    unsafe { asm!("{0} = {0}", inout(reg) metadata, options(nomem, nostack, preserves_flags)) };
    let context = XdpContext::new(metadata);
    let copied = if usize::from(packet.length) <= TAP_USUAL {
        into_ring::<TAP_USUAL>(&context, packet)
    } else {
        into_ring::<TAP_LONGEST>(&context, packet)
    };
    if !copied {
        maps::count_lost_copy();
    }
}

#[inline(always)]
fn into_ring<const N: usize>(context: &XdpContext, packet: &Packet) -> bool {
    let Some(before_last) = packet.length.checked_sub(1) else { return true };
    let captured = at_most::<N>(before_last) + 1;
    let Some(mut entry) = maps::reserve_copy::<N>() else { return false };
    // SAFETY: takes nothing and cannot fail.
    let now = unsafe { bpf_ktime_get_ns() };
    let header =
        TapHeader::new(now, packet.slot, packet.length, captured as u16, packet.source, packet.source_v6);
    let place = entry.as_mut_ptr();
    // SAFETY: the entry is ours until it is submitted, and has room for a header
    // and `N` bytes, of which the helper writes no more than `captured`.
    let loaded = unsafe {
        addr_of_mut!((*place).header).write(header);
        let bytes = place.byte_add(offset_of!(TapCopy<N>, bytes)).cast();
        bpf_xdp_load_bytes(context.ctx, packet.start, bytes, captured)
    };
    if loaded == 0 {
        entry.submit(0);
        true
    } else {
        entry.discard(0);
        false
    }
}

/// The index, or the last of `N` when it is more, bounded in sight of the verifier.
///
/// An index and not a length: a helper takes no length that might be zero, and
/// before Linux 6.8 the verifier learns nothing from a comparison with zero.
#[inline(always)]
fn at_most<const N: usize>(index: u16) -> u32 {
    let mut index = u64::from(index);
    // SAFETY: the index stays what it is; the compiler forgets what it knew, and
    // compares the register that it will pass on.
    unsafe { asm!("{0} = {0}", inout(reg) index, options(nomem, nostack, preserves_flags)) };
    if index >= N as u64 { N as u32 - 1 } else { index as u32 }
}
