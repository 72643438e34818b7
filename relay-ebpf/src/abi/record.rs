//! What the program writes about a flow: its source and its counts.

use super::{Address, End, Port};
use crate::quality::{Order, Pace, Place, Series};

/// How far a flow is with learning its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A packet is writing the source at this moment.
    Claimed,
    /// The source is fixed.
    Locked,
}

/// The source that a flow accepts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LearnedSource {
    /// Epoch and phase; see [`LearnedSource::word`].
    pub word: u64,
    /// The source address.
    pub address: Address,
    /// The source port.
    pub port: Port,
    reserved: [u16; 3],
}

impl LearnedSource {
    /// A cell with this word and source.
    #[must_use]
    pub const fn new(word: u64, source: End) -> Self {
        Self { word, address: source.address, port: source.port, reserved: [0; 3] }
    }

    /// The word of this epoch and phase.
    #[inline(always)]
    #[must_use]
    pub const fn word(epoch: u32, phase: Phase) -> u64 {
        let phase = match phase {
            Phase::Claimed => 1,
            Phase::Locked => 2,
        };
        (epoch as u64) << 32 | phase
    }

    /// The epoch that a word belongs to.
    #[inline(always)]
    #[must_use]
    pub const fn epoch_of(word: u64) -> u32 {
        (word >> 32) as u32
    }
}

/// What nearly every packet of a flow is counted in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes of UDP payload forwarded.
    pub bytes: u64,
    /// How its RTP arrives.
    pub order: Order,
}

impl Counted {
    /// Counts a packet that was forwarded, with this many bytes of payload.
    #[inline(always)]
    pub fn forwarded(&mut self, payload: u16) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(payload.into());
    }
}

/// What few packets of a flow are counted in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountedRarely {
    /// As [`FlowCount::last`].
    pub last: u64,
    /// How evenly its RTP arrives.
    pub pace: Pace,
}

/// Counts an admitted packet; `tick` and `clock` are as in [`Order::count`].
#[inline(always)]
pub fn count_arrived(
    order: &mut Order,
    rarely: &mut CountedRarely,
    place: Option<Place>,
    tick: u32,
    clock: impl FnOnce() -> u64,
) {
    let timed = match place {
        Some(place) => order.count(&mut rarely.pace, place, tick, clock),
        None => Some(clock()),
    };
    if let Some(now) = timed {
        rarely.last = now;
    }
}

/// What a flow counted since it was made, whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCount {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes of UDP payload forwarded.
    pub bytes: u64,
    /// Packets that the flow's checks refused.
    pub refused: u64,
    /// When an admitted packet came, in nanoseconds of the monotonic clock; zero
    /// before the first. Few packets of RTP are timed, so the last one may have come
    /// up to as many packets later as two pairs are apart.
    pub last: u64,
    /// How well its RTP arrives.
    pub series: Series,
}

impl FlowCount {
    /// Of its parts.
    #[must_use]
    pub const fn of(counted: Counted, rarely: CountedRarely, refused: u64) -> Self {
        let Counted { packets, bytes, order } = counted;
        let CountedRarely { last, pace } = rarely;
        Self { packets, bytes, refused, last, series: Series { order, pace } }
    }

    /// In parts: what [`Self::of`] takes.
    #[must_use]
    pub const fn split(self) -> (Counted, CountedRarely, u64) {
        let Self { packets, bytes, refused, last, series: Series { order, pace } } = self;
        (Counted { packets, bytes, order }, CountedRarely { last, pace }, refused)
    }

    /// Counts an admitted packet, as [`count_arrived`].
    pub fn arrived(&mut self, place: Option<Place>, tick: u32, clock: impl FnOnce() -> u64) {
        let mut rarely = CountedRarely { last: self.last, pace: self.series.pace };
        count_arrived(&mut self.series.order, &mut rarely, place, tick, clock);
        (self.last, self.series.pace) = (rarely.last, rarely.pace);
    }

    /// Counts that it was forwarded, with this many bytes of payload.
    pub fn forwarded(&mut self, payload: u16) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(payload.into());
    }
}
