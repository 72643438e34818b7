//! The maps that the program and the control plane share: names, layouts, sizes.
//!
//! Flows stand in arrays whose index is (media address, local port), so a
//! packet finds its flow without a hash, memory is bounded by the configured
//! range, and a port has at most one flow by construction. Arrays are mapped
//! into the control plane's memory, so a flow is put and removed without a
//! system call.
//!
//! Who writes what never overlaps: the control plane writes the state and the
//! bodies of a [`FlowSlot`] and its [`FlowRest`], and a [`HopSlot`]; the program writes
//! what it learned and counts. An update of a flow therefore cannot erase what
//! was learned or counted; nobody ever writes a whole [`FlowSlot`].
//!
//! Among many flows a packet costs as much as the memory that it touches: of a
//! [`FlowSlot`], all that nearly every packet needs, which is one cache line. These stand
//! side by side, so that no half of what a processor fetches along with a line is in vain.
//! What few packets need stands in [`FlowRest`].
//!
//! Publication. There are two bodies; `state` names the live one by its
//! sequence number (its lowest bit is the body's index) and is zero when there
//! is no flow. The control plane writes the idle body, then `state`. A reader
//! takes `state` once and reaches the body through it, an address dependency
//! that every architecture orders, so a flow is replaced without a gap and no
//! packet sees half of one. Each body repeats its sequence number: a packet
//! that was overtaken by two updates sees another one there and is dropped.
//!
//! Learning. A flow's `epoch` grows when it is created and when signalling
//! moved its far end. The word of a learned source is an epoch and a
//! [`Phase`]; a word of an earlier epoch means that nothing was learned yet.
//! The first packet claims the cell by compare-and-exchange, writes the source
//! and locks it. Nobody ever clears a cell. The lowest eight bits of an epoch say how
//! often signalling has moved the far end. After a move, late packets from where it
//! was may be the first to arrive; so the very address that it named then takes over,
//! once, from whatever was learned before it.
//!
//! Tapping. A flow may be marked so that its packets are copied into a ring, which
//! the control plane reads; the mark is one bit among those that every packet reads.
//!
//! Guarding. The control plane writes the rules of the signalling sockets, one per
//! network; the program writes how many packets each has decided, and the buckets
//! of those that no rule exempts (`bucket` says how they work).

mod address;
mod body;
mod flow;
mod guard;
mod hop;
mod layout;
mod record;
mod slot;
mod tap;

use core::mem::{align_of, offset_of, size_of};

use crate::bucket::BucketSet;
use crate::verdict::Verdict;

pub use address::{Address, End, Family, Port};
pub use body::{FlowView, Head, Tail};
pub use flow::{Allowed, Content, Exit, Flow};
pub use guard::{BUCKET_SETS, Guard, GuardRule, MAX_RULES, MAX_SIGNALLING, Treatment};
pub use hop::{Attachment, Hop, HopSlot, Tag, mac_words};
pub use layout::Layout;
pub use record::{EPOCHS, FlowCount, Heard, Phase, Rarely, age};
pub use slot::{FlowRest, FlowSlot};
pub use tap::{TAP_LONGEST, TAP_RING, TAP_USUAL, TapCopy, TapHeader};

/// Grows with every change to a layout, a map or the meaning of a field; part
/// of the names of pinned maps.
pub const ABI_VERSION: u32 = 5;

/// Media addresses at most.
pub const MAX_ADDRESSES: usize = 16;
/// Interfaces that the program is attached to at most.
pub const MAX_DEVICES: u32 = 64;

/// The program's name in the object.
pub const PROGRAM: &str = "relay";
/// A program that passes every frame.
pub const BARE_PROGRAM: &str = "bare";
/// [`Layout`], read-only data fixed before the program is loaded.
pub const LAYOUT: &str = "LAYOUT";
/// Array of one [`Layout`]: a copy of [`LAYOUT`] for the process that takes the
/// maps over, since the program's own is not to be had from outside.
pub const KEPT_LAYOUT: &str = "KEPT_LAYOUT";
/// Array of [`FlowSlot`], one per media address and port.
pub const FLOWS: &str = "FLOWS";
/// Array of [`FlowRest`], as [`FLOWS`].
pub const RESTS: &str = "RESTS";
/// Array of [`HopSlot`].
pub const HOPS: &str = "HOPS";
/// Per-CPU array of `u64`: packets per [`Verdict`].
pub const VERDICTS: &str = "VERDICTS";
/// Device map, keyed by interface index, of the interfaces that may send.
pub const DEVICES: &str = "DEVICES";

/// `u32`, read-only data fixed before the program is loaded: not zero where a media
/// interface has VLAN tags, so that untagged media too is looked up in [`ARRIVALS`].
pub const VLANS_USED: &str = "VLANS_USED";
/// Hash of the index of a media interface by its [`Attachment`].
pub const ARRIVALS: &str = "ARRIVALS";
/// Hash of [`Attachment`] by the index of a media interface that has VLAN tags.
pub const VLANS: &str = "VLANS";

/// [`Guard`], read-only data fixed before the program is loaded.
pub const GUARD: &str = "GUARD";
/// Trie of [`GuardRule`] by IPv4 network.
pub const GUARD_V4: &str = "GUARD_V4";
/// As [`GUARD_V4`], by IPv6 network.
pub const GUARD_V6: &str = "GUARD_V6";
/// Array of `u64`: packets per rule.
pub const GUARD_HITS: &str = "GUARD_HITS";
/// Ring of [`TapCopy`], of one of two sizes.
pub const TAP: &str = "TAP";
/// Array of one `u64`: copies for which the ring had no room.
pub const TAP_LOST: &str = "TAP_LOST";
/// Array of [`BucketSet`].
pub const BUCKETS: &str = "BUCKETS";

/// Next hops for `slots` flows: each flow may lead elsewhere, so there is always one
/// for it, and one more since a flow that moves takes its next before it gives back
/// the last. Those that a process before this one has left are counted against the
/// half that the RTCP of a pair shares with its RTP.
#[must_use]
pub const fn hops(slots: u32) -> u32 {
    slots.saturating_add(1)
}

/// The kernel memory of all maps for `slots` slots and `cpus` possible CPUs, in
/// bytes, with as many rules of the guard as there may be. Small per-map overheads of
/// the kernel are not counted.
#[must_use]
pub const fn map_bytes(slots: u64, cpus: u64) -> u64 {
    let per_slot = size_of::<FlowSlot>() + size_of::<FlowRest>();
    let verdicts = Verdict::COUNT as u64 * size_of::<u64>() as u64 * cpus;
    // A device map keeps a bucket and, per device, one record of at most a cache line or two.
    let devices = MAX_DEVICES as u64 * 128;
    // So does a hash, of which there are two; each has one record more per CPU, and
    // eight numbers of it.
    let attachments = 2 * (MAX_DEVICES as u64 * 128 + cpus * (128 + 32));
    let log = 128 * 1024;
    // A rule of a trie takes two nodes of at most 96 bytes, and eight for its count.
    let guard = BUCKET_SETS as u64 * size_of::<BucketSet>() as u64 + MAX_RULES as u64 * (2 * 96 + 8);
    slots * per_slot as u64
        + (slots + 1) * size_of::<HopSlot>() as u64
        + verdicts
        + devices
        + attachments
        + log
        + guard
        + TAP_RING as u64
        + size_of::<Guard>() as u64
        + size_of::<Layout>() as u64
}

const _: () = {
    assert!(size_of::<Head>() == 32 && align_of::<Head>() == 4);
    assert!(size_of::<Tail>() == 72 && align_of::<Tail>() == 8);
    assert!(size_of::<Heard>() == 20 && size_of::<Rarely>() == 64);
    assert!(size_of::<FlowSlot>() == 64 && align_of::<FlowSlot>() == 64);
    assert!(size_of::<FlowRest>() == 256 && align_of::<FlowRest>() == 64);
    // The program exchanges what a source is claimed by as one.
    assert!((offset_of!(FlowSlot, heard) + offset_of!(Heard, word)).is_multiple_of(8));
    // What a packet between IPv6 ends needs beside its line is one more.
    assert!(offset_of!(FlowRest, learned) == 64 && offset_of!(FlowRest, even_tail) == 80);
    assert!(size_of::<Attachment>() == 12);
    assert!(size_of::<Hop>() == 28 && size_of::<HopSlot>() == 32);
    assert!(size_of::<Layout>() == 16 + MAX_ADDRESSES * 17);
    assert!(size_of::<Guard>() == 32 + MAX_SIGNALLING * 20 && align_of::<Guard>() == 8);
    assert!(size_of::<GuardRule>() == 8);
    assert!(size_of::<TapHeader>() == 40 && align_of::<TapCopy<TAP_LONGEST>>() == 8);
};

#[cfg(feature = "user")]
mod pod {
    use super::{Attachment, FlowRest, FlowSlot, Guard, GuardRule, HopSlot, Layout};

    // SAFETY: `repr(C)` of integers and of `repr(transparent)` integers, every
    // byte is a field (the size asserts above leave no room for padding), and
    // every bit pattern is a value.
    unsafe impl aya::Pod for FlowSlot {}
    // SAFETY: as above.
    unsafe impl aya::Pod for FlowRest {}
    // SAFETY: as above.
    unsafe impl aya::Pod for HopSlot {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Layout {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Guard {}
    // SAFETY: as above.
    unsafe impl aya::Pod for GuardRule {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Attachment {}
}

#[cfg(test)]
mod tests;
