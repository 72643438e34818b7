//! Copies packets of tapped flows into a ring that the control plane reads.
//!
//! A copy is the UDP payload of a packet that the flow has admitted, with the
//! address that it came from; what it becomes on its way out follows from the
//! flow. The ring is bounded: when it is full the copy is lost and counted, and
//! the packet itself goes its way as ever.

use core::arch::asm;
use core::mem::offset_of;
use core::ptr::addr_of_mut;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_xdp_load_bytes};
use relay_ebpf::abi::{Address, End, Port, TAP_LONGEST, TAP_USUAL, TapCopy, TapHeader};
use relay_ebpf::verdict::Verdict;

use crate::apart;
use crate::maps;

/// A packet to be copied.
#[repr(C)]
pub(crate) struct Packet {
    /// The slot of its flow.
    pub(crate) slot: u32,
    /// Where in the frame its payload begins.
    pub(crate) start: u32,
    /// The bytes of its payload.
    pub(crate) length: u32,
    /// Not zero for an IPv6 source.
    pub(crate) source_v6: u16,
    /// The port of who sent it.
    pub(crate) port: Port,
    /// The address of who sent it.
    pub(crate) address: Address,
}

const _: () = assert!(size_of::<Packet>() == 32);

/// Copies a packet. Apart from the media path, whose instructions stay together.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn copy_to_tap(context: *mut xdp_md, packet: *mut Packet) -> u32 {
    apart::ended(copy(context, packet))
}

#[inline(always)]
fn copy(context: *mut xdp_md, packet: *mut Packet) -> Result<(), Verdict> {
    let packet = apart::given(packet)?;
    let copied = if packet.length <= TAP_USUAL as u32 {
        into_ring::<TAP_USUAL>(context, packet)
    } else {
        into_ring::<TAP_LONGEST>(context, packet)
    };
    if !copied {
        maps::count_lost_copy();
    }
    Ok(())
}

#[inline(always)]
fn into_ring<const N: usize>(context: *mut xdp_md, packet: &Packet) -> bool {
    let length = packet.length as u16;
    let Some(before_last) = length.checked_sub(1) else { return true };
    let captured = at_most::<N>(before_last) + 1;
    let Some(mut entry) = maps::reserve_copy::<N>() else { return false };
    // SAFETY: takes nothing and cannot fail.
    let now = unsafe { bpf_ktime_get_ns() };
    let source = End { address: packet.address, port: packet.port };
    let header = TapHeader::new(now, packet.slot, length, captured as u16, source, packet.source_v6 != 0);
    let place = entry.as_mut_ptr();
    // SAFETY: the entry is ours until it is submitted, and has room for a header
    // and `N` bytes, of which the helper writes no more than `captured`.
    let loaded = unsafe {
        addr_of_mut!((*place).header).write(header);
        let bytes = place.byte_add(offset_of!(TapCopy<N>, bytes)).cast();
        bpf_xdp_load_bytes(context, packet.start, bytes, captured)
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
