//! The measuring programs and the benchmark that drives them: frames, maps.
//!
//! A generator makes RTP frames, a sink counts them, and a bare redirect stands
//! where Vizard otherwise does. None of it is part of the product's object: the
//! programs are the binary `traffic`, which benchmarks alone build and embed.
//!
//! Every frame is an RTP packet of 20 ms of G.711 over IPv4, its checksums
//! right. It names the port that it must arrive at, so the sink notices a packet
//! that went elsewhere without looking anything up, and optionally when it left.

/// Bytes of a frame: Ethernet, IPv4, UDP, RTP and 160 bytes of payload.
pub const FRAME: usize = 14 + 20 + 8 + 12 + 160;

/// The generator, which is run by `BPF_PROG_TEST_RUN` on live frames.
pub const GENERATE: &str = "generate";
/// As [`GENERATE`], with the time of leaving in each frame.
pub const GENERATE_TIMED: &str = "generate_timed";
/// Counts what arrives.
pub const SINK: &str = "sink";
/// Counts what arrives and how long it took.
pub const SINK_TIMED: &str = "sink_timed";
/// Sends every frame on, with new MAC addresses and nothing else changed.
pub const FORWARD: &str = "forward";
/// Passes every frame.
pub const PASS: &str = "pass";

/// Array of one [`Plan`].
pub const PLAN: &str = "PLAN";
/// Array of [`Shot`], fired in order and from the beginning again.
pub const SHOTS: &str = "SHOTS";
/// Array of one [`Progress`].
pub const PROGRESS: &str = "PROGRESS";
/// Per-CPU array of one [`Arrivals`].
pub const ARRIVALS: &str = "ARRIVALS";
/// Per-CPU array of `u64`: packets by latency, in steps of [`STEP_NS`], the
/// last one for all that took longer.
pub const LATENCIES: &str = "LATENCIES";
/// Device map of one interface: where [`FORWARD`] sends to.
pub const EXIT: &str = "EXIT";

/// Different shots at most.
pub const MAX_SHOTS: u32 = 32_768;
/// The width of a latency bucket.
pub const STEP_NS: u64 = 100;
/// How many latency buckets there are.
pub const STEPS: u32 = 20_000;

/// What the generator is to do.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The first bytes of a frame, as eight words as they stand in it; what
    /// differs between frames is zero, and the checksums count the rest.
    pub head: [u64; 8],
    /// The interface that frames leave by.
    pub interface: u32,
    /// How many shots there are.
    pub shots: u32,
    /// Frames back to back before the clock is looked at.
    pub burst: u32,
    /// Nanoseconds from one burst to the next, in 1/1024.
    pub interval: u32,
    /// Frames to send; then the generator does nothing.
    pub frames: u64,
}

/// One flow's frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shot {
    /// The port it is sent to; in network byte order, as the next.
    pub to: u16,
    /// The port that it must arrive at, and also its source port.
    pub arrives_at: u16,
}

/// How far the generator is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// When the next burst is due, in 1/1024 ns of the monotonic clock.
    pub due: u64,
    /// Frames sent.
    pub sent: u64,
    /// When the first and the last burst left, in nanoseconds of that clock.
    pub began: u64,
    /// The last one.
    pub ended: u64,
    /// Frames left of the burst.
    pub left: u32,
    /// The next shot.
    pub shot: u32,
    /// The RTP sequence number of this round of shots.
    pub sequence: u64,
}

/// What arrived.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Frames that arrived where they should.
    pub right: u64,
    /// Frames of ours that arrived at another port.
    pub wrong: u64,
}

const _: () = {
    assert!(size_of::<Plan>() == 64 + 24 && size_of::<Progress>() == 48);
    assert!(size_of::<Shot>() == 4 && size_of::<Arrivals>() == 16);
};

#[cfg(feature = "user")]
mod pod {
    use super::{Arrivals, Plan, Progress, Shot};

    // SAFETY: `repr(C)` of integers without padding (the asserts above), and
    // every bit pattern is a value.
    unsafe impl aya::Pod for Plan {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Progress {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Shot {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Arrivals {}
}
