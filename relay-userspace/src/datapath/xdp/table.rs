//! The per-flow arrays, mapped into this process: a flow is put, read and
//! removed without a system call.
//!
//! `relay_ebpf::abi` describes the protocol with the program; this is the
//! control plane's side of it. One thread writes flows.
//!
//! The arrays outlive the process and hold all that the next one needs. A flow's
//! counts are zeroed when it is made, so they are its own from then on, and its
//! epoch carries the generation of its source rule, so whoever puts the flow
//! again knows whether what it learned still stands.

use std::collections::{HashMap, HashSet};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull, addr_of, addr_of_mut, read_volatile, write_volatile};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use aya::Pod;
use aya::maps::MapData;
use relay_ebpf::abi::{Address, EPOCHS, End, Flow, FlowCount, FlowRest, FlowSlot, Head, Phase, Rarely, Tail};

use super::older::LeftFlow;

/// An array map of `T`, mapped into this process.
pub struct Mapped<T> {
    start: NonNull<T>,
    length: u32,
    owns: PhantomData<T>,
}

// SAFETY: the memory belongs to the map, not to a thread; every access through
// the pointer is volatile or atomic.
unsafe impl<T: Pod + Send> Send for Mapped<T> {}

impl<T: Pod> Mapped<T> {
    /// Maps `map`, which must be an array of `T` that was created mappable.
    pub fn new(map: &MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        if info.value_size() as usize != size_of::<T>() {
            return Err(io::Error::other("the map's values have another size than this program's"));
        }
        let length = info.max_entries();
        let bytes = length as usize * size_of::<T>();
        // SAFETY: a fresh shared mapping of the whole array, at an address of
        // the kernel's choice.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at null"))?;
        Ok(Self { start, length, owns: PhantomData })
    }

    /// A pointer to one element, when there is one at `index`.
    #[must_use]
    pub fn at(&self, index: u32) -> Option<*mut T> {
        // SAFETY: within the mapping.
        (index < self.length).then(|| unsafe { self.start.as_ptr().add(index as usize) })
    }

    /// One element, when there is one at `index`.
    #[must_use]
    pub fn read(&self, index: u32) -> Option<T> {
        // SAFETY: within the mapping, and every bit pattern is a value.
        self.at(index).map(|place| unsafe { read_volatile(place) })
    }

    /// Writes one element, when there is one at `index`.
    pub fn write(&self, index: u32, value: T) {
        if let Some(place) = self.at(index) {
            // SAFETY: within the mapping, and every bit pattern is a value.
            unsafe { write_volatile(place, value) };
        }
    }

    /// How many elements there are.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        let bytes = self.length as usize * size_of::<T>();
        // SAFETY: the mapping that `new` made; no pointer outlives its owner.
        unsafe { libc::munmap(self.start.as_ptr().cast(), bytes) };
    }
}

/// The flows of the kernel.
pub struct FlowTable {
    flows: Mapped<FlowSlot>,
    rests: Mapped<FlowRest>,
    /// The hop slot of each flow that this process has put.
    live: HashMap<u32, u32>,
}

/// What a flow counted and learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What it counted.
    pub count: FlowCount,
    /// The source that was learned.
    pub source: Option<End>,
    /// The hop slot in use; none of this process's when the flow is of one
    /// before it.
    pub hop: Option<u32>,
}

impl FlowTable {
    /// Over the two per-flow arrays.
    pub fn new(flows: &MapData, rests: &MapData) -> io::Result<Self> {
        Ok(Self { flows: Mapped::new(flows)?, rests: Mapped::new(rests)?, live: HashMap::new() })
    }

    /// How many flows there can be.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.flows.length()
    }

    /// Creates or replaces the flow of a slot; returns the hop slot that the
    /// replaced one used, if there was one, or `None` when there is no such slot.
    ///
    /// A flow of a process before this one is replaced like any other: what it
    /// counted stays, and what it learned too if the generation is the same.
    pub fn put(&mut self, slot: u32, flow: &Flow, generation: u8) -> Option<Option<u32>> {
        let place = self.place(slot)?;
        let (written, newest) = place.newest();
        // A process that died in here may have written a body without naming it.
        let sequence = match place.state().load(Ordering::Relaxed) {
            // A new flow takes the even body, whose head is in the line of the state.
            0 => written | 1,
            live => live,
        };
        let epoch = match self.epoch(slot) {
            Some(epoch) if generation_of(epoch) == generation => epoch,
            Some(_) => following_epoch(newest, generation),
            None => {
                // Nobody counts in a slot without a flow.
                place.set_count(&FlowCount::default());
                following_epoch(newest, generation)
            }
        };
        place.publish(flow, following(sequence), epoch);
        Some(self.live.insert(slot, flow.hop()))
    }

    /// Marks the flow of a slot as tapped, or no longer; all else stays as it is.
    pub fn tap(&mut self, slot: u32, tapped: bool) {
        let Some(place) = self.place(slot) else { return };
        let live = place.state().load(Ordering::Relaxed);
        if live != 0 {
            let flow = place.body(live);
            place.publish(&flow.tapped(tapped), following(live), flow.epoch());
        }
    }

    /// Removes the flow of a slot and returns its final reading.
    pub fn remove(&mut self, slot: u32) -> Option<Reading> {
        let epoch = self.epoch(slot)?;
        let place = self.place(slot)?;
        place.state().store(0, Ordering::Release);
        let reading = self.reading(slot, place, epoch);
        self.live.remove(&slot);
        Some(reading)
    }

    /// Takes in a flow of another version. No program runs on these maps yet, so
    /// what it learned can be written too.
    pub fn carry(&mut self, left: &LeftFlow) {
        let Some(place) = self.place(left.slot) else { return };
        let (sequence, newest) = place.newest();
        let epoch = following_epoch(newest, left.generation);
        place.set_count(&left.count);
        if let Some(source) = left.source {
            place.set_learned(Phase::Locked.word(epoch), source);
        }
        place.publish(&left.flow, following(sequence | 1), epoch);
    }

    /// Adds to a flow's count what grew `since` while the program was switched. To the
    /// new program these packets are a gap, so they make up for what it takes for lost.
    pub fn catch_up(&mut self, since: &LeftFlow, now: &LeftFlow) {
        let Some(Place { rest, .. }) = self.place(now.slot) else { return };
        let (since, now) = (&since.count, &now.count);
        // SAFETY: fields of an element within the mapping.
        let (totals, lost) = unsafe {
            let rarely = addr_of_mut!((*rest).rarely);
            let totals = [
                addr_of_mut!((*rarely).packets),
                addr_of_mut!((*rarely).bytes),
                addr_of_mut!((*rarely).refused),
            ];
            (totals, addr_of_mut!((*rarely).record.lost))
        };
        let grown = [
            now.packets.wrapping_sub(since.packets),
            now.bytes.wrapping_sub(since.bytes),
            now.refused.wrapping_sub(since.refused),
        ];
        for (field, grown) in totals.into_iter().zip(grown) {
            // SAFETY: an aligned word within the mapping.
            unsafe { AtomicU64::from_ptr(field) }.fetch_add(grown, Ordering::Relaxed);
        }
        let received = now.series.received().wrapping_sub(since.series.received());
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(lost) }.fetch_sub(received, Ordering::Relaxed);
    }

    /// Removes every flow that this process has not put, and says which slots
    /// they had.
    pub fn sweep(&mut self) -> HashSet<u32> {
        let left = |slot: &u32| !self.live.contains_key(slot) && self.epoch(*slot).is_some();
        let left: HashSet<u32> = (0..self.slots()).filter(left).collect();
        for &slot in &left {
            if let Some(place) = self.place(slot) {
                place.state().store(0, Ordering::Release);
            }
        }
        left
    }

    /// How many flows there are, of this process or one before it.
    #[must_use]
    pub fn count(&self) -> usize {
        (0..self.slots()).filter(|&slot| self.epoch(slot).is_some()).count()
    }

    /// What the flow of a slot counted and learned so far.
    #[must_use]
    pub fn read(&self, slot: u32) -> Option<Reading> {
        Some(self.reading(slot, self.place(slot)?, self.epoch(slot)?))
    }

    /// The flow of a slot.
    #[must_use]
    pub fn flow(&self, slot: u32) -> Option<Flow> {
        let place = self.place(slot)?;
        match place.state().load(Ordering::Relaxed) {
            0 => None,
            live => Some(place.body(live)),
        }
    }

    /// The learning epoch of the flow in a slot, if there is one.
    fn epoch(&self, slot: u32) -> Option<u32> {
        Some(self.flow(slot)?.epoch())
    }

    fn place(&self, slot: u32) -> Option<Place> {
        Some(Place { slot: self.flows.at(slot)?, rest: self.rests.at(slot)? })
    }

    fn reading(&self, slot: u32, place: Place, epoch: u32) -> Reading {
        let (word, source) = place.learned();
        Reading {
            count: place.count(),
            source: (word == Phase::Locked.word(epoch)).then_some(source),
            hop: self.live.get(&slot).copied(),
        }
    }
}

/// The elements of a slot in both mappings, which outlive every use of this: all are
/// within one call of [`FlowTable`]. Only one thread writes flows.
#[derive(Clone, Copy)]
struct Place {
    slot: *mut FlowSlot,
    rest: *mut FlowRest,
}

impl Place {
    fn state<'a>(self) -> &'a AtomicU32 {
        // SAFETY: an aligned word within the mapping.
        unsafe { AtomicU32::from_ptr(addr_of_mut!((*self.slot).state)) }
    }

    /// Where the body of this sequence number stands.
    fn parts(self, sequence: u32) -> (*mut Head, *mut Tail) {
        let Self { slot, rest } = self;
        // SAFETY: fields of elements within the mappings.
        unsafe {
            if sequence & 1 == 0 {
                (addr_of_mut!((*slot).head), addr_of_mut!((*rest).even_tail))
            } else {
                (addr_of_mut!((*rest).head), addr_of_mut!((*rest).tail))
            }
        }
    }

    /// The body that a state leads to.
    fn body(self, state: u32) -> Flow {
        let (head, tail) = self.parts(state);
        // SAFETY: within the mappings; only this thread writes flows.
        unsafe { Flow::of(read_volatile(head), read_volatile(tail)) }
    }

    /// The sequence number and epoch of the body that was written last, live or
    /// not; the map itself remembers them.
    fn newest(self) -> (u32, u32) {
        let number = |parity| {
            let body = self.body(parity);
            (body.sequence(), body.epoch())
        };
        number(0).max(number(1))
    }

    /// Writes the idle body, then names it in the slot's state.
    fn publish(self, flow: &Flow, sequence: u32, epoch: u32) {
        let (head, tail) = self.parts(sequence);
        let (new_head, new_tail) = flow.published_as(0, epoch).split();
        // SAFETY: places within the mappings, of the idle body that no packet is led to;
        // one that was led to it two updates ago sees its sequence number gone, which is
        // the head's first word.
        unsafe {
            let number = AtomicU32::from_ptr(head.cast());
            number.store(0, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            write_volatile(tail, new_tail);
            write_volatile(head, new_head);
            number.store(sequence, Ordering::Release);
        }
        self.state().store(sequence, Ordering::Release);
    }

    /// The word of what was learned, and the source.
    fn learned(self) -> (u32, End) {
        // SAFETY: within the mappings; each word is whole, which is all that counts.
        let (heard, [second, third, fourth]) = unsafe {
            (read_volatile(addr_of!((*self.slot).heard)), read_volatile(addr_of!((*self.rest).learned)))
        };
        let address = Address::from_words([heard.address, second, third, fourth]);
        (heard.word, End { address, port: heard.port })
    }

    /// Writes what was learned, where no program runs yet.
    fn set_learned(self, word: u32, source: End) {
        let [first, rest @ ..] = source.address.words();
        // SAFETY: within the mappings.
        unsafe {
            let heard = addr_of_mut!((*self.slot).heard);
            write_volatile(addr_of_mut!((*heard).word), word);
            write_volatile(addr_of_mut!((*heard).address), first);
            write_volatile(addr_of_mut!((*heard).port), source.port);
            write_volatile(addr_of_mut!((*self.rest).learned), rest);
        }
    }

    fn count(self) -> FlowCount {
        // SAFETY: within the mappings; each word is whole, which is all that counts.
        let (heard, bytes, rarely): (_, _, Rarely) = unsafe {
            (
                read_volatile(addr_of!((*self.slot).heard)),
                read_volatile(addr_of!((*self.slot).bytes)),
                read_volatile(addr_of!((*self.rest).rarely)),
            )
        };
        FlowCount::of(&heard, bytes, &rarely)
    }

    /// Writes what was counted, where nobody counts.
    fn set_count(self, count: &FlowCount) {
        // SAFETY: within the mappings.
        unsafe {
            let heard = addr_of_mut!((*self.slot).heard);
            write_volatile(addr_of_mut!((*heard).ssrc), count.series.ssrc);
            write_volatile(addr_of_mut!((*heard).highest), count.series.highest);
            write_volatile(addr_of_mut!((*heard).following), 0);
            write_volatile(addr_of_mut!((*self.slot).bytes), 0);
            write_volatile(addr_of_mut!((*self.rest).rarely), count.rarely());
        }
    }
}

/// Epochs count in their upper bits and say the generation in the lowest eight.
const fn generation_of(epoch: u32) -> u8 {
    epoch.to_le_bytes()[0]
}

/// An epoch that differs from the last ones.
fn following_epoch(epoch: u32, generation: u8) -> u32 {
    ((((epoch >> 8) + 1) << 8) % EPOCHS) | u32::from(generation)
}

/// The next sequence number; zero means that there is no flow.
fn following(sequence: u32) -> u32 {
    sequence.checked_add(1).unwrap_or(2)
}
