//! The map statics; raw map pointers are here and in `flow` alone.
//!
//! Sizes of the per-flow arrays, next hops among them, are those of one slot; the control plane sets
//! them before loading. `relay_ebpf::abi` says who writes what.

use core::arch::asm;
use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};
use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::ring_buf::{RingBuf, RingBufEntry};
use aya_ebpf::maps::{Array, DevMapHash, HashMap, LpmTrie, PerCpuArray};
use relay_ebpf::abi::{
    Address, Attachment, BUCKET_SETS, Family, FlowRest, FlowSlot, Guard, GuardRule, Hop, HopSlot, Layout,
    MAX_DEVICES, MAX_RULES, Port, TAP_RING, TapCopy,
};
use relay_ebpf::bucket::{self, BucketSet, WAYS};
use relay_ebpf::verdict::Verdict;

use crate::packet::keep_order;
use crate::reshape::Room;
use crate::scrub::Place;

const RELAXED: AtomicOrdering = AtomicOrdering::Relaxed;
const SEQ_CST: AtomicOrdering = AtomicOrdering::SeqCst;

#[map]
static FLOWS: Array<FlowSlot> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static KEPT_LAYOUT: Array<Layout> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static RESTS: Array<FlowRest> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static HOPS: Array<HopSlot> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static VERDICTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Verdict::COUNT, 0);
#[map]
static PLACE: PerCpuArray<Place> = PerCpuArray::with_max_entries(1, 0);
#[map]
static ROOM: PerCpuArray<Room> = PerCpuArray::with_max_entries(1, 0);
#[map]
static DEVICES: DevMapHash = DevMapHash::with_max_entries(MAX_DEVICES, 0);
#[map]
static ARRIVALS: HashMap<Attachment, u32> = HashMap::with_max_entries(MAX_DEVICES, 0);
#[map]
static VLANS: HashMap<u32, Attachment> = HashMap::with_max_entries(MAX_DEVICES, 0);
#[map]
static GUARD_V4: LpmTrie<u32, GuardRule> = LpmTrie::with_max_entries(MAX_RULES, 0);
#[map]
static GUARD_V6: LpmTrie<[u32; 4], GuardRule> = LpmTrie::with_max_entries(MAX_RULES, 0);
#[map]
static GUARD_HITS: Array<u64> = Array::with_max_entries(MAX_RULES, BPF_F_MMAPABLE);
#[map]
static TAP: RingBuf = RingBuf::with_byte_size(TAP_RING, 0);
#[map]
static TAP_LOST: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static BUCKETS: Array<BucketSet> = Array::with_max_entries(BUCKET_SETS, 0);

/// Set by the control plane before loading, and read-only then.
#[unsafe(no_mangle)]
static LAYOUT: Layout = Layout::EMPTY;
/// Likewise.
#[unsafe(no_mangle)]
static GUARD: Guard = Guard::NONE;

/// Likewise.
#[unsafe(no_mangle)]
static VLANS_USED: u32 = 0;

/// Whether a media interface has VLAN tags.
#[inline(always)]
pub(crate) fn uses_vlans() -> bool {
    // SAFETY: read-only data, set after compiling, hence volatile.
    unsafe { read_volatile(&raw const VLANS_USED) != 0 }
}

/// The media interface that arrives so.
#[inline(always)]
pub(crate) fn arrival(attachment: Attachment) -> Option<u32> {
    // SAFETY: written before the program runs, and not after.
    unsafe { ARRIVALS.get(attachment) }.copied()
}

/// What a media interface with VLAN tags is made of.
#[inline(always)]
pub(crate) fn vlan(interface: u32) -> Option<Attachment> {
    // SAFETY: as above.
    unsafe { VLANS.get(interface) }.copied()
}

/// Counts a packet under its verdict.
#[inline(always)]
pub(crate) fn count(verdict: Verdict) {
    if let Some(counter) = VERDICTS.get_ptr_mut(verdict.index()) {
        // SAFETY: this CPU's own counter, and a program is not interrupted by
        // itself.
        unsafe { *counter += 1 };
    }
}

/// Where this CPU keeps its place in a packet that it scrubs.
#[inline(always)]
pub(crate) fn place() -> Option<&'static mut Place> {
    let place = PLACE.get_ptr_mut(0)?;
    // SAFETY: this CPU's own, and a program is not interrupted by itself. Zeros,
    // and whatever was kept here, are a place.
    Some(unsafe { &mut *place })
}

/// Where this CPU keeps what else it knows of a packet on its way out.
#[inline(always)]
pub(crate) fn room() -> Option<&'static mut Room> {
    let room = ROOM.get_ptr_mut(0)?;
    // SAFETY: as above; a family is written before it is read.
    Some(unsafe { &mut *room })
}

/// The slot of a media address and port.
#[inline(always)]
pub(crate) fn slot(address: &Address, family: Family, port: Port) -> Result<u32, Verdict> {
    let base = unknown(LAYOUT.base_of(address, family).ok_or(Verdict::NotOurAddress)?);
    let place = LAYOUT.place_of_port(port).ok_or(Verdict::NotOurPort)?;
    Ok(base + place)
}

/// A number that the verifier knows nothing of any more. It would go through all that
/// depends on it for each value it may have, which Linux 6.1 has little patience for;
/// of a number whose bytes were swapped it forgets all.
#[inline(always)]
fn unknown(number: u32) -> u32 {
    let mut number = u64::from(number);
    // SAFETY: swapped twice, the number is what it was.
    unsafe {
        asm!("{0} = be32 {0}", "{0} = be32 {0}", inout(reg) number, options(pure, nomem, nostack, preserves_flags));
    }
    number as u32
}

/// The slot of the port after that of `slot`.
#[inline(always)]
pub(crate) fn beside(slot: u32) -> u32 {
    LAYOUT.beside(slot)
}

/// Where the flow of a slot stands.
#[inline(always)]
pub(crate) fn flow_slot(slot: u32) -> Option<*mut FlowSlot> {
    FLOWS.get_ptr_mut(slot)
}

/// And the rest of it.
#[inline(always)]
pub(crate) fn flow_rest(slot: u32) -> Option<*mut FlowRest> {
    RESTS.get_ptr_mut(slot)
}

/// The way of a hop slot, when it is known.
#[inline(always)]
pub(crate) fn way(slot: u32) -> Option<LiveWay> {
    let place = HOPS.get_ptr(slot)?;
    // SAFETY: a map value that the control plane changes, hence volatile.
    let state = unsafe { read_volatile(addr_of!((*place).state)) };
    if state == 0 {
        return None;
    }
    keep_order();
    Some(LiveWay { state, place })
}

/// A way, where it stands.
#[derive(Clone, Copy)]
pub(crate) struct LiveWay {
    state: u32,
    place: *const HopSlot,
}

impl LiveWay {
    /// Its fields. They are only to be acted upon once [`LiveWay::is_whole`] said so
    /// after they were read.
    #[inline(always)]
    pub(crate) fn fields(&self) -> &'static Hop {
        // SAFETY: a map value, integers of which any value means something; what is read
        // while it changes is rejected by `is_whole`.
        unsafe { &(*self.place).hop }
    }

    /// Whether what was read so far is one way.
    #[inline(always)]
    pub(crate) fn is_whole(&self) -> bool {
        keep_order();
        // SAFETY: as above.
        let state = unsafe { read_volatile(addr_of!((*self.place).state)) };
        keep_order();
        state == self.state
    }
}

/// Copies the way of a hop slot, when it is known: word by word, each written before
/// the next is read, since the program's stack has no room for all in registers.
#[inline(always)]
pub(crate) fn hop(slot: u32, way: &mut Hop) -> bool {
    let Some(hop) = HOPS.get_ptr(slot) else { return false };
    // SAFETY: a map value that the control plane changes, hence volatile and
    // twice: equal, non-zero states around the reading make it one way.
    unsafe {
        let before = read_volatile(addr_of!((*hop).state));
        if before == 0 {
            return false;
        }
        keep_order();
        let (from, to) = (addr_of!((*hop).hop).cast::<u32>(), (&raw mut *way).cast::<u32>());
        for word in 0..size_of::<Hop>() / size_of::<u32>() {
            write_volatile(to.add(word), read_volatile(from.add(word)));
        }
        keep_order();
        read_volatile(addr_of!((*hop).state)) == before
    }
}

/// Room for a copy of a packet, which must be submitted or discarded.
#[inline(always)]
pub(crate) fn reserve_copy<const N: usize>() -> Option<RingBufEntry<TapCopy<N>>> {
    TAP.reserve(0)
}

/// Counts a packet that could not be copied.
#[inline(always)]
pub(crate) fn count_lost_copy() {
    if let Some(lost) = TAP_LOST.get_ptr_mut(0) {
        // SAFETY: an aligned word of a map value.
        unsafe { atomic_xadd::<_, _, RELAXED>(lost, 1_u64) };
    }
}

/// What guards the signalling sockets.
#[inline(always)]
pub(crate) fn guard() -> &'static Guard {
    &GUARD
}

/// The rule of the narrowest network that a source is in.
#[inline(always)]
pub(crate) fn guard_rule(source: &Address, family: Family) -> Option<GuardRule> {
    let words = source.words();
    // Tries replace a rule whole, so what a reference leads to never changes.
    match family {
        Family::V4 => GUARD_V4.get(Key::new(32, words[0])).copied(),
        Family::V6 => GUARD_V6.get(Key::new(128, words)).copied(),
    }
}

/// Counts a packet that a rule has decided.
#[inline(always)]
pub(crate) fn count_rule(rule: GuardRule) {
    if let Some(hits) = GUARD_HITS.get_ptr_mut(rule.hits) {
        // SAFETY: an aligned word of a map value.
        unsafe { atomic_xadd::<_, _, RELAXED>(hits, 1_u64) };
    }
}

/// Takes a packet out of a source's bucket; whether there was room. Where two
/// CPUs meet in one bucket, the slower one tries again a few times; a flood from
/// one source may then be held to a little less than its rate.
#[inline(always)]
pub(crate) fn take_from_bucket(source: u64, now: u64) -> bool {
    const TRIES: usize = 4;
    let (guard, rate) = (guard(), guard().rate());
    let tag = bucket::tag(source, guard.key());
    let Some(set) = BUCKETS.get_ptr_mut(tag as u32 & (BUCKET_SETS - 1)) else { return true };
    // SAFETY: a map value; other CPUs write its words, each of which is whole.
    let (way, fresh) = bucket::choose(&unsafe { read_volatile(set) }, tag, now);
    // SAFETY: masked to the set's ways.
    let bucket = unsafe { addr_of_mut!((*set).ways).cast::<bucket::Bucket>().add(way & (WAYS - 1)) };
    // SAFETY: aligned words of a map value. Two sources that take the same full
    // bucket at once share it for a moment, which costs neither more than its burst.
    unsafe {
        if fresh {
            write_volatile(addr_of_mut!((*bucket).tag), tag);
        }
        let word = addr_of_mut!((*bucket).full);
        for _ in 0..TRIES {
            let seen = read_volatile(word);
            let Some(full) = rate.take(seen, now) else { return false };
            if atomic_cxchg::<_, SEQ_CST, SEQ_CST>(word, seen, full).1 {
                return true;
            }
        }
    }
    false
}

/// Redirects the frame to an interface, when Vizard is attached to it.
#[inline(always)]
pub(crate) fn redirect(interface: u32) -> bool {
    DEVICES.redirect(interface, 0).is_ok()
}
