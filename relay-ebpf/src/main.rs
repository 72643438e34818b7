//! The XDP program: a verdict per packet, and nothing else here but how a
//! verdict becomes an action.
//!
//! `straight` relays what nearly every packet is, in few instructions, and leaves all
//! others as they came to the general path. There, `packet` turns raw pointers into checked
//! references, `network` has what IPv4 and IPv6 have in common, `parse` finds the datagram and whether it is media (under
//! the tags that `vlan` takes off), `admit` holds it against its flow, `scrub` takes
//! identity out of it, `forward` rewrites it and finds the way out (`fib` when the
//! control plane did not know it), `reshape` gives it another size where it needs one,
//! and `guard` polices what would pass to our signalling sockets. `tap` copies what a
//! capture wants. What few packets need is verified by itself, and called as `apart`
//! says. `maps` has the statics, and `flow` what stands in two of them.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![allow(
    internal_features,
    reason = "the target offers atomic read-modify-write instructions through its intrinsics alone"
)]
#![allow(
    clippy::inline_always,
    reason = "a call costs more than most of these bodies, and the verifier follows one function best"
)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the attribute of an entry point makes an undocumented public twin"
)]

mod admit;
mod apart;
mod fib;
mod flow;
mod forward;
mod guard;
mod maps;
mod network;
mod packet;
mod parse;
mod reshape;
mod runtime;
mod scrub;
mod straight;
mod tap;
mod vlan;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use relay_ebpf::verdict::{Action, Verdict};

/// Relays media; everything else goes on to the kernel's stack.
#[xdp]
pub fn relay(context: XdpContext) -> u32 {
    match straight::verdict(&context) {
        Some(verdict) => ended(verdict),
        None => relay_generally(context.ctx),
    }
}

/// The general path, apart from the straight one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn relay_generally(context: *mut xdp_md) -> u32 {
    let context = XdpContext::new(context);
    ended(guard::verdict(&context, parse::verdict(&context)))
}

/// Counts a verdict, and says what the kernel is to do.
#[inline(always)]
fn ended(verdict: Verdict) -> u32 {
    maps::count(verdict);
    match verdict.action() {
        Action::Pass => XDP_PASS,
        Action::Drop => XDP_DROP,
        Action::Transmit => XDP_TX,
        Action::Redirect => XDP_REDIRECT,
    }
}

/// Passes every frame: what the other end of a virtual pair needs to receive
/// what the relay sends, and what the relay's own cost is measured against.
#[xdp]
pub fn bare(_: XdpContext) -> u32 {
    XDP_PASS
}
