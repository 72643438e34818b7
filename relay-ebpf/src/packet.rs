//! The only raw packet pointers.

use core::arch::asm;
use core::ptr::read_volatile;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use relay_ebpf::verdict::Verdict;

/// A frame as the driver handed it over.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    start: usize,
    end: usize,
}

impl Frame {
    /// The frame of this invocation.
    #[inline(always)]
    pub(crate) fn of(context: &XdpContext) -> Self {
        Self::of_metadata(context.ctx)
    }

    /// The frame as it is now, after the program may have resized it.
    #[inline(always)]
    pub(crate) fn of_metadata(context: *mut xdp_md) -> Self {
        // SAFETY: the context that the kernel passed to this invocation.
        unsafe { Self { start: (*context).data as usize, end: (*context).data_end as usize } }
    }

    /// Its length in bytes; padding included.
    #[inline(always)]
    pub(crate) fn length(&self) -> usize {
        self.end - self.start
    }

    /// The header at `offset`.
    ///
    /// The reference is only good until the program resizes the frame, and no
    /// two references may overlap; callers ask once for each header.
    #[inline(always)]
    pub(crate) fn view<T: Plain>(&self, offset: usize) -> Result<&'static mut T, Verdict> {
        let at = self.start + offset;
        if at + size_of::<T>() > self.end {
            return Err(Verdict::Truncated);
        }
        // SAFETY: the check above is the one that the verifier demands, so the
        // bytes are within the frame, which lives as long as the program runs.
        // `Plain` types are valid for every bit pattern and need no more than
        // even addresses; frames start at one and so do all headers in them.
        Ok(unsafe { &mut *(at as *mut T) })
    }

    /// The first `length` bytes, which callers stay within.
    #[inline(always)]
    pub(crate) fn words(&self, length: usize) -> Option<Words> {
        if self.start + length > self.end { None } else { Some(Words(self.start)) }
    }

    /// The two bytes at `offset`.
    #[inline(always)]
    pub(crate) fn bytes(&self, offset: usize) -> Result<[u8; 2], Verdict> {
        self.view::<[u8; 2]>(offset).copied()
    }

    /// The two bytes that are `beyond` the fixed `offset`.
    #[inline(always)]
    pub(crate) fn bytes_beyond(&self, offset: usize, beyond: u16) -> Result<[u8; 2], Verdict> {
        self.view_beyond::<[u8; 2]>(offset, beyond).copied()
    }

    /// What is `beyond` the fixed `offset`; more than one byte, since the
    /// compiler makes a comparison of one that the verifier learns nothing from.
    #[inline(always)]
    pub(crate) fn view_beyond<T: Plain>(
        &self,
        offset: usize,
        beyond: u16,
    ) -> Result<&'static mut T, Verdict> {
        if beyond > REACH {
            return Err(Verdict::Truncated);
        }
        self.view(offset + within_reach(beyond))
    }
}

/// A part of a frame that begins it, as words that may stand anywhere in it.
///
/// Each is loaded and stored by one instruction. The compiler would split an access of
/// four bytes at an even address, since not every machine takes it; those that the kernel
/// compiles such programs for do, and the verifier refuses it anywhere else.
#[derive(Clone, Copy)]
pub(crate) struct Words(usize);

impl Words {
    /// The words behind the first `N` bytes.
    #[inline(always)]
    pub(crate) fn beyond<const N: usize>(self) -> Self {
        Self(self.0 + N)
    }

    /// The four bytes at `AT`.
    #[inline(always)]
    pub(crate) fn word<const AT: usize>(self) -> u32 {
        let word: u64;
        // SAFETY: within the frame, by the check that made this, which the verifier demands.
        unsafe {
            asm!("{0} = *(u32 *)({1} + {2})", out(reg) word, in(reg) self.0, const AT,
                options(readonly, nostack, preserves_flags));
        }
        word as u32
    }

    /// The two bytes at `AT`.
    #[inline(always)]
    pub(crate) fn half<const AT: usize>(self) -> u16 {
        let half: u64;
        // SAFETY: as above.
        unsafe {
            asm!("{0} = *(u16 *)({1} + {2})", out(reg) half, in(reg) self.0, const AT,
                options(readonly, nostack, preserves_flags));
        }
        half as u16
    }

    /// Writes four bytes.
    #[inline(always)]
    pub(crate) fn put<const AT: usize>(self, word: u32) {
        // SAFETY: as above; a frame is the program's to write.
        unsafe {
            asm!("*(u32 *)({0} + {1}) = {2}", in(reg) self.0, const AT, in(reg) u64::from(word),
                options(nostack, preserves_flags));
        }
    }

    /// Writes two bytes.
    #[inline(always)]
    pub(crate) fn put_half<const AT: usize>(self, half: u16) {
        // SAFETY: as above.
        unsafe {
            asm!("*(u16 *)({0} + {1}) = {2}", in(reg) self.0, const AT, in(reg) u64::from(half),
                options(nostack, preserves_flags));
        }
    }
}

/// How far into a frame a variable offset may reach: more than any frame in one
/// buffer has, and little enough for the verifier.
const REACH: u16 = 0x3fff;

/// Bounds an offset in sight of the verifier. The compiler has proved the bound
/// before and would leave it out, had it not to take this instruction as it is.
#[inline(always)]
fn within_reach(offset: u16) -> usize {
    let mut offset = u64::from(offset);
    // SAFETY: arithmetic on one register.
    unsafe { asm!("{0} &= {1}", inout(reg) offset, const REACH, options(pure, nomem, nostack)) };
    offset as usize
}

/// Types that may overlay packet bytes.
///
/// # Safety
/// Every bit pattern is valid, there is no padding, and alignment is at most 2.
pub(crate) unsafe trait Plain {}

// SAFETY: `repr(C)` of bytes and pairs of bytes, sizes asserted in `header`.
unsafe impl Plain for relay_ebpf::header::Ethernet {}
// SAFETY: as above.
unsafe impl Plain for relay_ebpf::header::VlanTag {}
// SAFETY: as above.
unsafe impl Plain for relay_ebpf::header::Ipv4 {}
// SAFETY: as above.
unsafe impl Plain for relay_ebpf::header::Ipv6 {}
// SAFETY: as above.
unsafe impl Plain for relay_ebpf::header::Udp {}
// SAFETY: as above.
unsafe impl Plain for relay_ebpf::header::Rtp {}
// SAFETY: as above.
unsafe impl Plain for relay_ebpf::header::Ipv6Fragment {}
// SAFETY: bytes.
unsafe impl<const N: usize> Plain for [u8; N] {}

/// The index of the interface that the frame came in on. Volatile, or the compiler
/// might read it through a pointer that leads to one of two places, which the
/// verifier does not take for the context.
#[inline(always)]
pub(crate) fn ingress(context: *mut xdp_md) -> u32 {
    // SAFETY: the context that the kernel passed to this invocation.
    unsafe { read_volatile(&raw const (*context).ingress_ifindex) }
}

/// The value, which is computed here and not where it is used: what goes into it need
/// not be kept.
#[inline(always)]
pub(crate) fn settled(mut value: u64) -> u64 {
    // SAFETY: changes nothing.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Keeps the compiler from moving memory accesses across this point; the
/// target has no instruction for `core::sync::atomic::compiler_fence`.
#[inline(always)]
pub(crate) fn keep_order() {
    // SAFETY: no instruction at all.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}
