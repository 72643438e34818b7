//! How long a leg lasted, and how long it was talked on.
//!
//! Both are paid for and the wall clock may be set in between, so they are of the
//! monotonic one. What a restart lies in is measured by the wall clock: a new process
//! has no other.

use std::time::Duration;

use crate::engine::time::{Instant, Now, Timestamp};

/// The lengths of one leg.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    began: Since,
    talks: Option<Since>,
    ended: Option<Instant>,
}

/// A moment before which some time had passed already.
#[derive(Clone, Copy, Debug)]
struct Since {
    before: Duration,
    at: Instant,
}

impl Since {
    const fn now(now: Now) -> Self {
        Self { before: Duration::ZERO, at: now.mono }
    }

    fn until(self, end: Instant) -> Duration {
        self.before + end.saturating_since(self.at)
    }
}

impl Lengths {
    /// Of a leg that begins.
    pub(super) const fn from_now(now: Now) -> Self {
        Self { began: Since::now(now), talks: None, ended: None }
    }

    /// Of a leg of a process before this one.
    pub(super) fn restored(
        now: Now,
        start: Timestamp,
        answer: Option<Timestamp>,
        end: Option<Timestamp>,
    ) -> Self {
        let until = end.unwrap_or(now.wall);
        let since = |moment: Timestamp| Since { before: until.saturating_since(moment), at: now.mono };
        Self { began: since(start), talks: answer.map(since), ended: end.map(|_| now.mono) }
    }

    /// It is answered; the first time counts.
    pub(super) fn answered(&mut self, now: Now) {
        self.talks.get_or_insert(Since::now(now));
    }

    /// It is over; the first time counts.
    pub(super) fn over(&mut self, now: Now) {
        self.ended.get_or_insert(now.mono);
    }

    /// How long it has lasted.
    pub(super) fn lasted(&self, now: Now) -> Duration {
        self.began.until(self.ended.unwrap_or(now.mono))
    }

    /// How long it was talked on; not at all where it was not answered.
    pub(super) fn talked(&self, now: Now) -> Duration {
        self.talks.map_or(Duration::ZERO, |talks| talks.until(self.ended.unwrap_or(now.mono)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Timestamp = Timestamp::from_unix_microseconds(1_000_000_000);

    fn at(seconds: u64, wall: Timestamp) -> Now {
        Now { mono: Instant::after_origin(Duration::from_secs(seconds)), wall }
    }

    #[test]
    fn a_clock_that_is_set_bills_nobody() {
        for set_by in [-3_600_000_000, 0, 3_600_000_000] {
            let set = |seconds| WALL + Duration::from_secs(seconds);
            let set = |seconds| Timestamp::from_unix_microseconds(set(seconds).unix_microseconds() + set_by);
            let mut lengths = Lengths::from_now(at(10, WALL));
            lengths.answered(at(14, set(4)));
            lengths.answered(at(20, set(10)));
            lengths.over(at(44, set(34)));
            lengths.over(at(99, set(89)));
            let later = at(500, WALL);
            assert_eq!(lengths.lasted(later), Duration::from_secs(34));
            assert_eq!(lengths.talked(later), Duration::from_secs(30));
        }
    }

    #[test]
    fn what_a_restart_lies_in_is_measured_by_the_wall_clock() {
        let second = |seconds| WALL + Duration::from_secs(seconds);
        let now = at(0, second(60));
        let mut lengths = Lengths::restored(now, WALL, Some(second(4)), None);
        lengths.over(at(7, second(67)));
        assert_eq!(lengths.talked(at(9, WALL)), Duration::from_secs(63));
        let ended = Lengths::restored(now, WALL, None, Some(second(5)));
        assert_eq!(ended.lasted(at(9, WALL)), Duration::from_secs(5));
        assert_eq!(ended.talked(at(9, WALL)), Duration::ZERO);
    }
}
