//! What the program writes about a flow: its source and its counts.

use super::{Address, End, Port};
use crate::quality::{Place, Series};

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

/// What a flow counted since it was made: one cache line.
#[repr(C, align(64))]
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
    /// Counts an admitted packet; `tick` and `clock` are as in [`Series::count`].
    #[inline(always)]
    pub fn arrived(&mut self, place: Option<Place>, tick: u32, clock: impl FnOnce() -> u64) {
        let timed = match place {
            Some(place) => self.series.count(place, tick, clock),
            None => Some(clock()),
        };
        if let Some(now) = timed {
            self.last = now;
        }
    }

    /// Counts that it was forwarded, with this many bytes of payload.
    #[inline(always)]
    pub fn forwarded(&mut self, payload: u16) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(payload.into());
    }
}
