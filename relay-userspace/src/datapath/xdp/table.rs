//! The per-flow arrays, mapped into this process: a flow is put, read and
//! removed without a system call.
//!
//! `relay_ebpf::abi` describes the protocol with the program; this is the
//! control plane's side of it. One thread writes flows.

use std::collections::HashMap;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull, addr_of, addr_of_mut, read_volatile, write_volatile};
use std::sync::atomic::{AtomicU32, Ordering, fence};

use aya::Pod;
use aya::maps::MapData;
use relay_ebpf::abi::{End, Flow, FlowCount, FlowSlot, LearnedSource, Phase};

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
    counts: Mapped<FlowCount>,
    live: HashMap<u32, Live>,
}

/// What this side remembers of a flow.
struct Live {
    generation: u8,
    epoch: u32,
    hop: u32,
    began: FlowCount,
}

/// What a flow counted and learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes of UDP payload forwarded.
    pub bytes: u64,
    /// Packets refused.
    pub refused: u64,
    /// The source that was learned.
    pub source: Option<End>,
    /// The hop slot in use.
    pub hop: u32,
}

impl FlowTable {
    /// Over the two per-flow arrays.
    pub fn new(flows: &MapData, counts: &MapData) -> io::Result<Self> {
        Ok(Self { flows: Mapped::new(flows)?, counts: Mapped::new(counts)?, live: HashMap::new() })
    }

    /// How many flows there can be.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.flows.length()
    }

    /// Creates or replaces the flow of a slot; returns the hop slot that the
    /// replaced one used, if there was one, or `None` when there is no such slot.
    pub fn put(&mut self, slot: u32, flow: &Flow, generation: u8) -> Option<Option<u32>> {
        let place = self.flows.at(slot)?;
        let (sequence, epoch) = newest(place);
        let old = self.live.get(&slot);
        let (epoch, began) = match old {
            Some(live) if live.generation == generation => (live.epoch, live.began),
            Some(live) => (epoch.wrapping_add(1), live.began),
            None => (epoch.wrapping_add(1), read(&self.counts, slot)),
        };
        let replaced = old.map(|live| live.hop);
        publish(place, flow, following(sequence), epoch);
        self.live.insert(slot, Live { generation, epoch, hop: flow.hop(), began });
        Some(replaced)
    }

    /// Removes the flow of a slot and returns its final reading.
    pub fn remove(&mut self, slot: u32) -> Option<Reading> {
        if !self.live.contains_key(&slot) {
            return None;
        }
        state(self.flows.at(slot)?).store(0, Ordering::Release);
        let reading = self.read(slot);
        self.live.remove(&slot);
        reading
    }

    /// What the flow of a slot counted and learned so far.
    #[must_use]
    pub fn read(&self, slot: u32) -> Option<Reading> {
        let live = self.live.get(&slot)?;
        let count = read(&self.counts, slot);
        let learned = self.flows.at(slot).map_or_else(LearnedSource::default, learned);
        let locked = learned.word == LearnedSource::word(live.epoch, Phase::Locked);
        Some(Reading {
            packets: count.packets.wrapping_sub(live.began.packets),
            bytes: count.bytes.wrapping_sub(live.began.bytes),
            refused: count.refused.wrapping_sub(live.began.refused),
            source: locked.then_some(End { address: learned.address, port: learned.port }),
            hop: live.hop,
        })
    }
}

/// Writes the idle body, then names it in the slot's state.
fn publish(place: *mut FlowSlot, flow: &Flow, sequence: u32, epoch: u32) {
    // SAFETY: a slot within the mapping, whose idle body no packet is led to;
    // one that was led to it two updates ago sees its sequence number gone.
    unsafe {
        let body = place.byte_add(FlowSlot::offset_of_body(sequence)).cast::<Flow>();
        let number = AtomicU32::from_ptr(body.cast());
        number.store(0, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        write_volatile(body, flow.published_as(0, epoch));
        number.store(sequence, Ordering::Release);
    }
    state(place).store(sequence, Ordering::Release);
}

/// The sequence number and epoch of the body that was written last, live or
/// not; the map itself remembers them.
fn newest(place: *mut FlowSlot) -> (u32, u32) {
    // SAFETY: a slot within the mapping; only this thread writes flows.
    let slot = unsafe { read_volatile(place) };
    slot.bodies().map(|body| (body.sequence(), body.epoch())).into_iter().max().unwrap_or_default()
}

/// The cell of a slot.
fn learned(place: *mut FlowSlot) -> LearnedSource {
    // SAFETY: a slot within the mapping; each word is whole, which is all that counts.
    unsafe { read_volatile(addr_of!((*place).learned)) }
}

/// The next sequence number; zero means that there is no flow.
fn following(sequence: u32) -> u32 {
    sequence.checked_add(1).unwrap_or(2)
}

fn state<'a>(place: *mut FlowSlot) -> &'a AtomicU32 {
    // SAFETY: an aligned word within the mapping, which outlives this borrow's
    // uses: they are all within one call of `FlowTable`.
    unsafe { AtomicU32::from_ptr(addr_of_mut!((*place).state)) }
}

/// Reads what the program writes; each word is whole, which is all that counts.
fn read<T: Pod + Default>(array: &Mapped<T>, slot: u32) -> T {
    // SAFETY: within the mapping, and every bit pattern is a value.
    array.at(slot).map_or_else(T::default, |place| unsafe { read_volatile(place) })
}
