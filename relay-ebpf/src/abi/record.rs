//! What the program writes about a flow: its source and its counts.

use super::Port;
use crate::quality::{Latest, Place, Record, Series};

/// How far a flow is with learning its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A packet is writing the source at this moment.
    Claimed,
    /// The source is fixed.
    Locked,
}

/// Epochs are below this, so that one and a phase fit a word; a power of two.
pub const EPOCHS: u32 = 1 << 30;

impl Phase {
    /// The word of a source that is so far in this epoch.
    #[inline(always)]
    #[must_use]
    pub const fn word(self, epoch: u32) -> u32 {
        let phase = match self {
            Self::Claimed => 1,
            Self::Locked => 2,
        };
        epoch << 2 | phase
    }
}

/// How many epochs ago the word of a source was written. One that is ahead was written
/// more than half of all epochs ago.
#[inline(always)]
#[must_use]
pub const fn age(epoch: u32, word: u32) -> u32 {
    epoch.wrapping_sub(word >> 2) & (EPOCHS - 1)
}

/// What the program writes with nearly every packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Whose series of RTP it counts.
    pub ssrc: u32,
    /// Epoch and phase of the source: see [`Phase::word`].
    pub word: u32,
    /// The first word of the source's address, which is all of IPv4's.
    pub address: u32,
    /// Its port.
    pub port: Port,
    /// The highest sequence number of the series.
    pub highest: u16,
    /// Packets that did but follow ([`crate::quality::follows`]) and were forwarded: they are
    /// counted here alone.
    pub following: u32,
}

impl Heard {
    /// A source's word and the first one of its address as they stand in memory, one after
    /// the other, where they are exchanged together.
    #[inline(always)]
    #[must_use]
    pub const fn claim(word: u32, address: u32) -> u64 {
        if cfg!(target_endian = "little") {
            (address as u64) << 32 | word as u64
        } else {
            (word as u64) << 32 | address as u64
        }
    }
}

/// What the program writes with few packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rarely {
    /// As [`FlowCount::last`].
    pub last: u64,
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes of UDP payload forwarded.
    pub bytes: u64,
    /// Packets that the flow's checks refused.
    pub refused: u64,
    /// How its RTP arrives.
    pub record: Record,
    reserved: u32,
}

impl Rarely {
    /// Counts an admitted packet; `tick` and `clock` are as in [`Record::count`].
    #[inline(always)]
    pub fn arrived(
        &mut self,
        latest: Latest<'_>,
        place: Option<Place>,
        tick: u32,
        clock: impl FnOnce() -> u64,
    ) {
        let timed = match place {
            Some(place) => self.record.count(latest, place, tick, clock),
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
    /// Of what the program wrote; `bytes` are those of the packets that `heard` counts.
    #[must_use]
    pub fn of(heard: &Heard, bytes: u64, rarely: &Rarely) -> Self {
        let mut record = rarely.record;
        record.expected = record.expected.wrapping_add(heard.following);
        Self {
            packets: rarely.packets.wrapping_add(heard.following.into()),
            bytes: rarely.bytes.wrapping_add(bytes),
            refused: rarely.refused,
            last: rarely.last,
            series: Series { ssrc: heard.ssrc, highest: heard.highest, record },
        }
    }

    /// All but the source and the highest number of its series, where no packet did but
    /// follow.
    #[must_use]
    pub const fn rarely(&self) -> Rarely {
        let Self { packets, bytes, refused, last, series: Series { record, .. } } = *self;
        Rarely { last, packets, bytes, refused, record, reserved: 0 }
    }

    /// Counts an admitted packet, as [`Rarely::arrived`].
    pub fn arrived(&mut self, place: Option<Place>, tick: u32, clock: impl FnOnce() -> u64) {
        let mut rarely = self.rarely();
        let Series { ssrc, highest, record } = &mut self.series;
        rarely.arrived(Latest { ssrc, highest }, place, tick, clock);
        (self.last, *record) = (rarely.last, rarely.record);
    }

    /// Counts that it was forwarded, with this many bytes of payload.
    pub fn forwarded(&mut self, payload: u16) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(payload.into());
    }
}
