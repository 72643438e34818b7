//! How functions that the verifier looks at once, by themselves, are called.
//!
//! It follows every other function anew on each way that leads there, so the ways
//! through one multiply with those through the next. A function with a name of its own
//! in the object is followed for any arguments of its types instead, and its callers
//! for any result. Such a function may take the context, numbers, and pointers to
//! memory of a known size, which it must find out not to be null; no pointer into a
//! packet crosses, and the memory must have been written to its last byte, so what is
//! pointed to has no padding. What comes back is a number, made and read here.

use core::arch::asm;

use relay_ebpf::verdict::Verdict;

/// Says that what is in the lower half is a verdict.
const FAILED: u32 = 1 << 16;

/// What a pointer among the arguments leads to.
#[inline(always)]
pub(crate) fn given<'a, T>(argument: *mut T) -> Result<&'a mut T, Verdict> {
    // SAFETY: callers point to values of theirs that they do not touch meanwhile.
    unsafe { argument.as_mut() }.ok_or(Verdict::Truncated)
}

/// What a function apart returns.
#[inline(always)]
pub(crate) fn told(result: Result<u16, Verdict>) -> u32 {
    match result {
        Ok(value) => value.into(),
        Err(verdict) => FAILED | verdict.index(),
    }
}

/// As [`told`], where there is nothing to tell but how it ended.
#[inline(always)]
pub(crate) fn ended(result: Result<(), Verdict>) -> u32 {
    told(result.map(|()| 0))
}

/// What [`told`] was given.
#[inline(always)]
pub(crate) fn heard(told: u32) -> Result<u16, Verdict> {
    let mut told = u64::from(told);
    // SAFETY: the number stays what it is. The compiler sees both sides of a call and
    // would leave out the check of the index, which the verifier wants to see.
    unsafe { asm!("{0} = {0}", inout(reg) told, options(pure, nomem, nostack, preserves_flags)) };
    if told < u64::from(FAILED) {
        return Ok(told as u16);
    }
    Err(Verdict::of_index(told as u32 & (FAILED - 1)).unwrap_or(Verdict::Truncated))
}
