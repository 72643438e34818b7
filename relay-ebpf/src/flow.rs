//! A live flow where it stands: read by every packet, changed under it by the control
//! plane, and counted in. `relay_ebpf::abi` says who writes what, and how.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd, atomic_xchg};
use core::ops::Deref;
use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::helpers::bpf_ktime_get_ns;
use relay_ebpf::abi::{
    Address, End, Family, FlowRest, FlowSlot, FlowView, Head, Heard, Phase, Port, Rarely, Tail,
};
use relay_ebpf::quality::{self, Latest, Place};

use crate::maps;
use crate::packet::keep_order;

const RELAXED: AtomicOrdering = AtomicOrdering::Relaxed;
const SEQ_CST: AtomicOrdering = AtomicOrdering::SeqCst;

/// The flow of a slot.
#[inline(always)]
pub(crate) fn whole(slot: u32) -> Option<LiveFlow> {
    let rest = maps::flow_rest(slot)?;
    Some(LiveFlow { live: live(slot, || Some(rest))?, rest })
}

/// The flow of a slot, as far as nearly every packet needs it.
#[inline(always)]
pub(crate) fn head(slot: u32) -> Option<LiveHead> {
    live(slot, || maps::flow_rest(slot))
}

#[inline(always)]
fn live(slot: u32, rest: impl FnOnce() -> Option<*mut FlowRest>) -> Option<LiveHead> {
    let place = maps::flow_slot(slot)?;
    // SAFETY: a map value stays where it is as long as the map lives; `state`
    // is written by another thread, hence volatile.
    let state = unsafe { read_volatile(addr_of!((*place).state)) };
    if state == 0 {
        return None;
    }
    // SAFETY: the head of a live body; the control plane writes the other one. Were it
    // to write this one (two updates within one packet), integers without
    // invariants would be read, and `is_whole` would reject them.
    let head = unsafe { if state & 1 == 0 { &(*place).head } else { &(*rest()?).head } };
    Some(LiveHead { state, place, head })
}

/// The head of the live body of a slot, and what stands beside it.
#[derive(Clone, Copy)]
pub(crate) struct LiveHead {
    state: u32,
    place: *mut FlowSlot,
    head: &'static Head,
}

impl LiveHead {
    /// The head. It is only to be acted upon once [`LiveHead::is_whole`] said so after it
    /// was read; so is a tail.
    #[inline(always)]
    pub(crate) fn head(&self) -> &'static Head {
        self.head
    }

    /// Whether what was read so far belongs to one and the same flow.
    #[inline(always)]
    pub(crate) fn is_whole(&self) -> bool {
        keep_order();
        // SAFETY: as in `live`.
        let sequence = unsafe { read_volatile((&raw const *self.head).cast::<u32>()) };
        keep_order();
        sequence == self.state
    }

    /// The rest of this flow, which has this slot.
    #[inline(always)]
    pub(crate) fn rest(self, slot: u32) -> Option<LiveFlow> {
        Some(LiveFlow { live: self, rest: maps::flow_rest(slot)? })
    }

    /// Where the program writes about it.
    #[inline(always)]
    fn heard(&self) -> *mut Heard {
        // SAFETY: a field of the value.
        unsafe { addr_of_mut!((*self.place).heard) }
    }

    /// Whether its source is fixed, and has this port and this first word of an address,
    /// which is all of IPv4's.
    #[inline(always)]
    pub(crate) fn hears(&self, port: u16, address: u32) -> bool {
        let heard = self.heard();
        // SAFETY: a map value; other CPUs write it, hence volatile.
        unsafe {
            read_volatile(addr_of!((*heard).word)) == Phase::Locked.word(self.head.epoch())
                && read_volatile(addr_of!((*heard).port)).to_wire() == port
                && read_volatile(addr_of!((*heard).address)) == address
        }
    }

    /// Whether its source is fixed.
    #[inline(always)]
    pub(crate) fn has_source(&self) -> bool {
        // SAFETY: as in `hears`.
        let word = unsafe { read_volatile(addr_of!((*self.heard()).word)) };
        word == Phase::Locked.word(self.head.epoch())
    }

    /// Counts a packet of RTP that was forwarded with this many bytes of payload, when it
    /// does but follow ([`quality::follows`]). Whether it was counted; `quality` says what
    /// may race with it.
    #[inline(always)]
    pub(crate) fn count_following(&self, place: Place, payload: u16) -> bool {
        // SAFETY: fields of a map value, every word of which may have any value.
        let (heard, bytes) = unsafe { (&mut *self.heard(), &mut (*self.place).bytes) };
        if !quality::follows(heard.ssrc, heard.highest, place) {
            return false;
        }
        heard.highest = place.sequence;
        heard.following = heard.following.wrapping_add(1);
        *bytes = bytes.wrapping_add(payload.into());
        true
    }
}

/// A live flow, whole.
#[derive(Clone, Copy)]
pub(crate) struct LiveFlow {
    live: LiveHead,
    rest: *mut FlowRest,
}

impl LiveFlow {
    /// Its body, as [`LiveHead::head`].
    #[inline(always)]
    pub(crate) fn fields(&self) -> FlowView<'static> {
        FlowView::of(self.live.head, self.tail())
    }

    #[inline(always)]
    fn tail(&self) -> &'static Tail {
        // SAFETY: as in `live`.
        unsafe { if self.live.state & 1 == 0 { &(*self.rest).even_tail } else { &(*self.rest).tail } }
    }

    /// Where its learned source lives.
    #[inline(always)]
    pub(crate) fn cell(&self) -> Cell {
        // SAFETY: a field of the value, which the program alone writes.
        Cell { heard: self.live.heard(), learned: unsafe { addr_of_mut!((*self.rest).learned) } }
    }

    #[inline(always)]
    fn rarely(&self) -> &'static mut Rarely {
        // SAFETY: a field of a map value, every word of which may have any value.
        unsafe { &mut (*self.rest).rarely }
    }

    /// Counts an admitted packet; `relay_ebpf::quality` says what may race with it.
    #[inline(always)]
    pub(crate) fn count_arrived(&self, place: Option<Place>) {
        // SAFETY: takes nothing and cannot fail.
        let clock = || unsafe { bpf_ktime_get_ns() };
        // SAFETY: as above.
        let heard = unsafe { &mut *self.live.heard() };
        let latest = Latest { ssrc: &mut heard.ssrc, highest: &mut heard.highest };
        self.rarely().arrived(latest, place, self.fields().tick(), clock);
    }

    /// Counts that it was forwarded.
    #[inline(always)]
    pub(crate) fn count_forwarded(&self, payload: u16) {
        self.rarely().forwarded(payload);
    }

    /// Counts a packet that the flow refused: these come from anybody and on any CPU.
    #[inline(always)]
    pub(crate) fn count_refused(&self) {
        // SAFETY: an aligned word of a map value.
        unsafe { atomic_xadd::<_, _, RELAXED>(addr_of_mut!((*self.rest).rarely.refused), 1_u64) };
    }
}

impl Deref for LiveFlow {
    type Target = LiveHead;

    #[inline(always)]
    fn deref(&self) -> &LiveHead {
        &self.live
    }
}

/// The cell where a flow's learned source lives.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    heard: *mut Heard,
    learned: *mut [u32; 3],
}

impl Cell {
    /// Epoch and phase.
    #[inline(always)]
    pub(crate) fn word(self) -> u32 {
        // SAFETY: a map value; other CPUs write it, hence volatile.
        unsafe { read_volatile(addr_of!((*self.heard).word)) }
    }

    /// The source, to be believed only in a locked cell.
    #[inline(always)]
    pub(crate) fn source(self) -> End {
        let [second, third, fourth] = [self.quad(1), self.quad(2), self.quad(3)];
        End { address: Address::from_words([self.quad(0), second, third, fourth]), port: self.port() }
    }

    /// Whether a locked cell of this family holds `source`.
    #[inline(always)]
    pub(crate) fn holds(self, family: Family, source: &End) -> bool {
        let words = source.address.words();
        let rest = match family {
            Family::V4 => true,
            Family::V6 => self.quad(1) == words[1] && self.quad(2) == words[2] && self.quad(3) == words[3],
        };
        self.port() == source.port && self.quad(0) == words[0] && rest
    }

    #[inline(always)]
    fn port(self) -> Port {
        // SAFETY: as above.
        unsafe { read_volatile(addr_of!((*self.heard).port)) }
    }

    /// One word of its address, likewise.
    #[inline(always)]
    pub(crate) fn quad(self, index: usize) -> u32 {
        // SAFETY: as above; an address is four words.
        unsafe {
            match index.checked_sub(1) {
                None => read_volatile(addr_of!((*self.heard).address)),
                Some(index) => read_volatile(self.learned.cast::<u32>().add(index)),
            }
        }
    }

    /// Fixes `source` for `epoch`, unless another CPU was faster than `seen`.
    #[inline(always)]
    pub(crate) fn learn(self, seen: u32, epoch: u32, source: End) -> bool {
        let [first, rest @ ..] = source.address.words();
        // SAFETY: an aligned pair of words, by an assertion of `abi`.
        let claim = unsafe { addr_of_mut!((*self.heard).word).cast::<u64>() };
        let before = Heard::claim(seen, self.quad(0));
        let claimed = Heard::claim(Phase::Claimed.word(epoch), first);
        // SAFETY: of a map value, which is contended by atomics alone.
        let (_, won) = unsafe { atomic_cxchg::<_, SEQ_CST, SEQ_CST>(claim, before, claimed) };
        if !won {
            return false;
        }
        // SAFETY: claimed, so nobody else writes. The exchange that locks is a
        // full barrier wherever the program runs, which a store would not be.
        unsafe {
            write_volatile(self.learned, rest);
            write_volatile(addr_of_mut!((*self.heard).port), source.port);
            atomic_xchg::<_, SEQ_CST>(claim, Heard::claim(Phase::Locked.word(epoch), first));
        }
        true
    }
}
