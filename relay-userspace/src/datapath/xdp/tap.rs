//! Reads the program's ring of copies and hands each to who asked for its flow.
//!
//! The thread that reads is started by the first tap: without one nothing wakes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::read_volatile;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use relay_ebpf::abi::{self, TapHeader};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use super::load::{failed, missing};
use super::table::Mapped;
use crate::datapath::DatapathError;
use crate::datapath::tap::{Copied, TapSink, Tapped, wall};
use crate::engine::time::Timestamp;

/// The tapped flows, and the thread that serves them.
pub(super) struct Taps {
    by_slot: Arc<Mutex<HashMap<u32, Tap>>>,
    /// Until the thread takes it.
    source: Option<Source>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Tap {
    flow: Tapped,
    sink: TapSink,
    /// What was copied earlier is of another call.
    since: u64,
}

struct Source {
    ring: RingBuf<MapData>,
    lost: Mapped<u64>,
}

impl Taps {
    /// Over the program's maps.
    pub(super) fn new(program: &mut Ebpf) -> Result<Self, DatapathError> {
        let ring = program.take_map(abi::TAP).ok_or_else(|| missing(abi::TAP))?;
        let ring =
            RingBuf::try_from(ring).map_err(|error| failed("opening the tap's ring", error.to_string()))?;
        let lost = super::take(program, abi::TAP_LOST, Mapped::new)?;
        Ok(Self {
            by_slot: Arc::default(),
            source: Some(Source { ring, lost }),
            stop: Arc::default(),
            thread: None,
        })
    }

    /// Whether a slot's flow is tapped.
    pub(super) fn holds(&self, slot: u32) -> bool {
        lock(&self.by_slot).contains_key(&slot)
    }

    /// Gives what is copied of a slot's flow to `sink`.
    pub(super) fn add(&mut self, slot: u32, flow: Tapped, sink: TapSink) {
        lock(&self.by_slot).insert(slot, Tap { flow, sink, since: monotonic() });
        if let Some(source) = self.source.take() {
            let (by_slot, stop) = (Arc::clone(&self.by_slot), Arc::clone(&self.stop));
            let thread = std::thread::Builder::new().name("xdp-tap".to_owned());
            self.thread = thread
                .spawn(move || serve(source, &by_slot, &stop))
                .map_err(|error| tracing::warn!(%error, "no thread reads copies of packets"))
                .ok();
        }
    }

    /// Forgets a slot.
    pub(super) fn remove(&mut self, slot: u32) {
        lock(&self.by_slot).remove(&slot);
    }
}

impl Drop for Taps {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has already said so.
            let _ = thread.join();
        }
    }
}

fn lock(by_slot: &Mutex<HashMap<u32, Tap>>) -> MutexGuard<'_, HashMap<u32, Tap>> {
    // Every change leaves the map whole, so a panic elsewhere does not matter.
    by_slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut source: Source, by_slot: &Mutex<HashMap<u32, Tap>>, stop: &AtomicBool) {
    const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    let mut lost = source.lost();
    while !stop.load(Ordering::Relaxed) {
        // SAFETY: the ring outlives this borrow.
        let ring = unsafe { BorrowedFd::borrow_raw(source.ring.as_raw_fd()) };
        // An interrupted or failed wait is a short turn.
        let _ = poll(&mut [PollFd::new(&ring, PollFlags::IN)], Some(&TURN));
        let behind = clocks_apart();
        while let Some(item) = source.ring.next() {
            if let Some((header, payload)) = split(&item) {
                hand_over(&lock(by_slot), &header, payload, behind);
            }
        }
        // The program cannot say whose packets they were.
        let now = source.lost();
        if now != lost {
            lock(by_slot).values().for_each(|tap| tap.sink.lose(now.wrapping_sub(lost)));
            lost = now;
        }
    }
}

fn hand_over(by_slot: &HashMap<u32, Tap>, header: &TapHeader, payload: &[u8], behind: i64) {
    let Some(tap) = by_slot.get(&header.slot).filter(|tap| header.time >= tap.since) else { return };
    let microseconds = i64::try_from(header.time / 1_000).unwrap_or(i64::MAX);
    tap.sink.give(Copied {
        flow: tap.flow,
        at: Timestamp::from_unix_microseconds(microseconds.saturating_add(behind)),
        source: source_of(header),
        length: header.length.into(),
        payload: payload.to_vec(),
    });
}

/// A record of the ring: its header, and as much payload as it says.
fn split(record: &[u8]) -> Option<(TapHeader, &[u8])> {
    let bytes = record.get(size_of::<TapHeader>()..)?;
    // SAFETY: the record is long enough, and every bit pattern is a header.
    let header = unsafe { record.as_ptr().cast::<TapHeader>().read_unaligned() };
    Some((header, bytes.get(..header.captured.into())?))
}

fn source_of(header: &TapHeader) -> SocketAddr {
    let octets = header.source.octets();
    let ip = if header.source_v6 == 0 {
        let [a, b, c, d, ..] = octets;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    } else {
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    SocketAddr::new(ip, u16::from_be(header.source_port))
}

impl Source {
    fn lost(&self) -> u64 {
        // SAFETY: within the mapping; an aligned word is read whole.
        self.lost.at(0).map_or(0, |count| unsafe { read_volatile(count) })
    }
}

/// The clock of the program, in nanoseconds.
fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// What turns the program's clock into the wall clock, in microseconds.
fn clocks_apart() -> i64 {
    wall().unix_microseconds() - i64::try_from(monotonic() / 1_000).unwrap_or(0)
}
