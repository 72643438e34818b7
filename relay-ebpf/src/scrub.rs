//! Takes identity out of an admitted datagram, where the flow lets Vizard look
//! behind its headers.
//!
//! `relay_ebpf::rtcp` and `relay_ebpf::extension` say what is overwritten; here
//! are the frame that it stands in and its UDP checksum, which follows every
//! change. Few packets come here, so this is apart from the path of the others.
//!
//! A walk goes through a callback of the kernel's (`bpf_loop`, Linux 5.17), and
//! keeps its place in a map: the verifier then follows the ways through one word,
//! instead of every way through all of them. Linux 6.1 follows what comes after the
//! loop once for each of these ways, which is why little does.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::bpf_loop;
use relay_ebpf::abi::FlowView;
use relay_ebpf::checksum::Update;
use relay_ebpf::media::Class;
use relay_ebpf::verdict::Verdict;
use relay_ebpf::words::{WORD, Walk, Word};
use relay_ebpf::{extension, rtcp};

use crate::apart;
use crate::maps;
use crate::packet::Frame;

/// What is kept between two words.
pub(crate) struct Place {
    compound: rtcp::Walk,
    extension: extension::Walk,
    /// Where the first word is.
    start: u16,
    update: Update,
    outcome: Result<(), Verdict>,
}

/// Takes out of `length` bytes of payload at `at` what may not cross, and returns
/// the datagram's checksum, which was `checksum`.
#[inline(always)]
pub(crate) fn scrub(
    context: *mut xdp_md,
    flow: FlowView<'_>,
    class: Class,
    at: u16,
    length: u16,
    checksum: u16,
) -> Result<u16, Verdict> {
    match class {
        Class::Rtp | Class::Rtcp if flow.is_encrypted() => Ok(checksum),
        Class::Rtp => {
            let [first, _] = Frame::of_metadata(context).bytes_beyond(0, at)?;
            if !extension::is_announced(first) {
                return Ok(checksum);
            }
            let start = extension::start(first);
            let (at, length) = (at + start, length.wrapping_sub(start));
            apart::heard(scrub_extension(
                context,
                at.into(),
                length.into(),
                flow.extensions().into(),
                checksum.into(),
            ))
        }
        Class::Rtcp => apart::heard(scrub_compound(context, at.into(), length.into(), checksum.into())),
        Class::Dtls | Class::Stun | Class::Opaque => Ok(checksum),
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn scrub_compound(context: *mut xdp_md, at: u32, length: u32, checksum: u32) -> u32 {
    apart::told(compound(context, at as u16, length as u16, checksum as u16))
}

#[inline(always)]
fn compound(context: *mut xdp_md, at: u16, length: u16, checksum: u16) -> Result<u16, Verdict> {
    let place = maps::place().ok_or(Verdict::Truncated)?;
    let last = || Frame::of_metadata(context).view_beyond::<Word>(0, at + length - WORD).copied();
    let walk = rtcp::Walk::over(length, last)?;
    place.compound = walk;
    take(context, place, compound_turn, at, length, checksum)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn scrub_extension(
    context: *mut xdp_md,
    at: u32,
    length: u32,
    allowed: u32,
    checksum: u32,
) -> u32 {
    apart::told(blank(context, at as u16, length as u16, allowed as u16, checksum as u16))
}

#[inline(always)]
fn blank(context: *mut xdp_md, at: u16, length: u16, allowed: u16, checksum: u16) -> Result<u16, Verdict> {
    let place = maps::place().ok_or(Verdict::Truncated)?;
    place.extension = extension::Walk::allowing(allowed);
    take(context, place, extension_turn, at, length, checksum)
}

/// One turn of the kernel's loop, with the number of turns before it; anything but
/// zero ends it.
type Turn = unsafe extern "C" fn(u32, *mut *mut xdp_md) -> i64;

/// Walks `length` bytes at `at`, a word each turn.
#[inline(always)]
fn take(
    context: *mut xdp_md,
    place: &mut Place,
    turn: Turn,
    at: u16,
    length: u16,
    checksum: u16,
) -> Result<u16, Verdict> {
    place.start = at;
    place.update = Update::of(checksum);
    place.outcome = Ok(());
    let mut metadata = context;
    // SAFETY: the callback takes what it is given here, and no other flags are known.
    unsafe { bpf_loop(u32::from(length / WORD), turn as *mut c_void, ptr::addr_of_mut!(metadata).cast(), 0) };
    let place = maps::place().ok_or(Verdict::Truncated)?;
    place.outcome?;
    // A datagram without a checksum stays without one (IPv4 alone, RFC 768).
    Ok(if checksum == 0 { 0 } else { place.update.finish_udp() })
}

unsafe extern "C" fn compound_turn(turn: u32, context: *mut *mut xdp_md) -> i64 {
    let Some(place) = maps::place() else { return STOP };
    // SAFETY: as `take` passed it.
    let ended = change(unsafe { *context }, place.start, turn, &mut place.compound, &mut place.update);
    end(&mut place.outcome, ended)
}

unsafe extern "C" fn extension_turn(turn: u32, context: *mut *mut xdp_md) -> i64 {
    let Some(place) = maps::place() else { return STOP };
    // SAFETY: as `take` passed it.
    let ended = change(unsafe { *context }, place.start, turn, &mut place.extension, &mut place.update);
    end(&mut place.outcome, ended)
}

const GO_ON: i64 = 0;
const STOP: i64 = 1;

#[inline(always)]
fn end(outcome: &mut Result<(), Verdict>, ended: Result<bool, Verdict>) -> i64 {
    match ended {
        Ok(false) => GO_ON,
        Ok(true) => STOP,
        Err(verdict) => {
            *outcome = Err(verdict);
            STOP
        }
    }
}

/// Changes the word of this turn, and tells whether it was the last.
#[inline(always)]
fn change<W: Walk>(
    context: *mut xdp_md,
    start: u16,
    turn: u32,
    walk: &mut W,
    update: &mut Update,
) -> Result<bool, Verdict> {
    let at = start.wrapping_add(turn as u16 * WORD);
    let word: &mut Word = Frame::of_metadata(context).view_beyond(0, at)?;
    let old = *word;
    let new = walk.step(old)?;
    *word = new;
    *update = update.double_word(u32::from_ne_bytes(old), u32::from_ne_bytes(new));
    Ok(walk.is_over())
}
