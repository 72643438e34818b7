//! The machine's clocks, in the engine's units.

use std::time::{Instant as Monotonic, SystemTime};

use crate::engine::time::{Instant, Now, Timestamp};

/// Both clocks; the monotonic one counts from when this was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Monotonic,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { origin: Monotonic::now() }
    }

    /// The time on the monotonic clock.
    pub(super) fn instant(self) -> Instant {
        Instant::after_origin(self.origin.elapsed())
    }

    /// The time on both clocks.
    pub(super) fn now(self) -> Now {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let microseconds = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
        Now { mono: self.instant(), wall: Timestamp::from_unix_microseconds(microseconds) }
    }
}
