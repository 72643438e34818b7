//! Makes, forwards and counts frames for measurements; `relay_ebpf::traffic`
//! says how it is driven.
//!
//! The generator's frames are recycled with whatever their last receiver wrote,
//! so each time it writes every byte that a relay changes. It looks at the clock
//! once a burst; while the next one is not due it gives its frames back, so one
//! long run holds any rate without a system call.

#![no_std]
#![no_main]
#![allow(
    clippy::inline_always,
    reason = "a call costs more than most of these bodies, and the verifier follows one function best"
)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the attribute of an entry point makes an undocumented public twin"
)]

#[path = "../runtime.rs"]
mod runtime;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_REDIRECT};
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_redirect};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, DevMap, PerCpuArray};
use aya_ebpf::programs::XdpContext;
use relay_ebpf::traffic::{Arrivals, MAX_SHOTS, Plan, Progress, STEP_NS, STEPS, Shot};

#[map]
static PLAN: Array<Plan> = Array::with_max_entries(1, 0);
#[map]
static SHOTS: Array<Shot> = Array::with_max_entries(MAX_SHOTS, 0);
#[map]
static PROGRESS: Array<Progress> = Array::with_max_entries(1, 0);
#[map]
static ARRIVALS: PerCpuArray<Arrivals> = PerCpuArray::with_max_entries(1, 0);
#[map]
static LATENCIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(STEPS, 0);
#[map]
static EXIT: DevMap = DevMap::with_max_entries(1, 0);

/// How far behind its times the generator may be, in 1/1024 ns: 50 us.
const CATCH_UP: u64 = 50_000 << 10;

/// The words of a frame that hold its headers, and the time it left.
type Head = [u64; 8];

#[xdp]
pub fn generate(context: XdpContext) -> u32 {
    next::<false>(&context).unwrap_or(XDP_ABORTED)
}

#[xdp]
pub fn generate_timed(context: XdpContext) -> u32 {
    next::<true>(&context).unwrap_or(XDP_ABORTED)
}

#[xdp]
pub fn sink(context: XdpContext) -> u32 {
    take::<false>(&context).unwrap_or(XDP_PASS)
}

#[xdp]
pub fn sink_timed(context: XdpContext) -> u32 {
    take::<true>(&context).unwrap_or(XDP_PASS)
}

#[xdp]
pub fn forward(context: XdpContext) -> u32 {
    send_on(&context).unwrap_or(XDP_PASS)
}

#[xdp]
pub fn pass(_: XdpContext) -> u32 {
    XDP_PASS
}

/// The frame's headers; an Ethernet frame starts at a multiple of eight here.
#[inline(always)]
fn head(context: &XdpContext) -> Option<&'static mut Head> {
    let start = context.data();
    if start + size_of::<Head>() > context.data_end() {
        return None;
    }
    // SAFETY: within the frame, by the check that the verifier demands; a frame
    // starts after a headroom of 256 bytes of a page, and integers have no
    // invalid value.
    Some(unsafe { &mut *(start as *mut Head) })
}

#[inline(always)]
fn next<const TIMED: bool>(context: &XdpContext) -> Option<u32> {
    let plan = PLAN.get(0)?;
    let progress = PROGRESS.get_ptr_mut(0)?;
    // SAFETY: one generator runs at a time, and its reader only adds up.
    let progress = unsafe { &mut *progress };
    if progress.left == 0 {
        // SAFETY: takes nothing.
        let clock = unsafe { bpf_ktime_get_ns() };
        let now = clock << 10;
        if now < progress.due || progress.sent >= plan.frames {
            return Some(XDP_DROP);
        }
        // What a stall left unsent stays so: a burst of it all would overflow any queue.
        let behind = now.saturating_sub(CATCH_UP);
        progress.due = if progress.due > behind { progress.due } else { behind } + u64::from(plan.interval);
        progress.left = plan.burst;
        progress.ended = clock;
        if progress.sent == 0 {
            progress.began = clock;
        }
    }
    progress.left = progress.left.wrapping_sub(1);
    let shot = SHOTS.get(progress.shot)?;
    let head = head(context)?;
    write::<TIMED>(head, plan, *shot, progress.sequence as u16);
    progress.sent += 1;
    progress.shot += 1;
    if progress.shot >= plan.shots {
        progress.shot = 0;
        progress.sequence += 1;
    }
    // SAFETY: takes two integers.
    Some(unsafe { bpf_redirect(plan.interface, 0) } as u32)
}

/// Writes a frame's headers. Words are as they stand in memory: the lowest byte
/// comes first.
#[inline(always)]
fn write<const TIMED: bool>(head: &mut Head, plan: &Plan, shot: Shot, sequence: u16) {
    let (to, arrives_at) = (u64::from(shot.to), u64::from(shot.arrives_at));
    let wire_sequence = u64::from(sequence.to_be());
    // 160 samples a packet; its upper half is left alone.
    let timestamp = u64::from((sequence.wrapping_mul(160)).to_be());
    // SAFETY: takes nothing.
    let now = if TIMED { unsafe { bpf_ktime_get_ns() } } else { 0 };
    let varying = arrives_at * 2 + to + wire_sequence + timestamp + now_sum(now);
    head[0] = plan.head[0];
    head[1] = plan.head[1];
    head[2] = plan.head[2];
    head[3] = plan.head[3];
    // Destination address (end), ports, UDP length.
    head[4] = plan.head[4] | arrives_at << 16 | to << 32;
    // UDP checksum, first bytes and sequence number of RTP, timestamp (half).
    head[5] = plan.head[5] & !0xffff | folded((plan.head[5] & 0xffff) + varying) | wire_sequence << 32;
    // Timestamp (half), source, the port to arrive at.
    head[6] = plan.head[6] | timestamp | arrives_at << 48;
    head[7] = now;
}

#[inline(always)]
fn now_sum(now: u64) -> u64 {
    (now >> 48) + (now >> 32 & 0xffff) + (now >> 16 & 0xffff) + (now & 0xffff)
}

/// The checksum of a sum; never zero.
#[inline(always)]
fn folded(sum: u64) -> u64 {
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let checksum = !sum & 0xffff;
    if checksum == 0 { 0xffff } else { checksum }
}

#[inline(always)]
fn take<const TIMED: bool>(context: &XdpContext) -> Option<u32> {
    const IPV4: u64 = 0x0008;
    let head = head(context)?;
    // EtherType; then protocol, which no ARP packet has there.
    if head[1] >> 32 & 0xffff != IPV4 || head[2] >> 56 != 17 {
        return None;
    }
    let arrivals = ARRIVALS.get_ptr_mut(0)?;
    // SAFETY: this CPU's own value, and a program is not interrupted by itself.
    let arrivals = unsafe { &mut *arrivals };
    if head[4] >> 32 & 0xffff != head[6] >> 48 {
        arrivals.wrong += 1;
        return Some(XDP_DROP);
    }
    arrivals.right += 1;
    if TIMED {
        // SAFETY: takes nothing.
        let took = unsafe { bpf_ktime_get_ns() }.wrapping_sub(head[7]) / STEP_NS;
        let step = if took < u64::from(STEPS) { took as u32 } else { STEPS - 1 };
        let latency = LATENCIES.get_ptr_mut(step)?;
        // SAFETY: as above.
        unsafe { *latency += 1 };
    }
    Some(XDP_DROP)
}

#[inline(always)]
fn send_on(context: &XdpContext) -> Option<u32> {
    const IPV4: u64 = 0x0008;
    let plan = PLAN.get(0)?;
    let head = head(context)?;
    if head[1] >> 32 & 0xffff != IPV4 {
        return None;
    }
    head[0] = plan.head[0];
    head[1] = plan.head[1] & 0xffff_ffff | head[1] & !0xffff_ffff;
    Some(match EXIT.redirect(0, 0) {
        Ok(_) => XDP_REDIRECT,
        Err(_) => XDP_ABORTED,
    })
}
