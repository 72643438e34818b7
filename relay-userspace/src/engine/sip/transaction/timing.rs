//! Timers of RFC 3261, table 4: names, durations, retransmission, and which of
//! them run over which transport.

use std::time::Duration;

use crate::engine::config::Timers;
use crate::engine::sip::transport::Transport;
use crate::engine::time::Instant;

/// How long a server transaction waits for its user before it answers an
/// INVITE with 100 itself (RFC 3261 section 17.2.1).
pub(super) const TRYING_AFTER: Duration = Duration::from_millis(200);

/// A timer by its name in the RFC; the state that runs it says what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// INVITE retransmission.
    A,
    /// INVITE transaction timeout.
    B,
    /// Wait for retransmitted failures of an INVITE.
    D,
    /// Non-INVITE retransmission.
    E,
    /// Non-INVITE transaction timeout.
    F,
    /// Failure response retransmission.
    G,
    /// Wait for the ACK of a failure.
    H,
    /// Wait for retransmitted ACKs.
    I,
    /// Wait for retransmitted non-INVITE requests.
    J,
    /// Wait for retransmitted responses.
    K,
    /// Wait for retransmitted INVITEs after a 2xx (RFC 6026).
    L,
    /// Wait for retransmitted 2xx (RFC 6026).
    M,
    /// A 100 is due.
    Trying,
    /// A cancelled INVITE stays without an answer (RFC 3261 section 9.1).
    Cancelled,
}

impl Timer {
    /// The reason that [`super::Transactions::poll_timeout`] gives.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::A => "timer A: retransmit an INVITE",
            Self::B => "timer B: an INVITE is unanswered",
            Self::D => "timer D: forget a failed INVITE",
            Self::E => "timer E: retransmit a request",
            Self::F => "timer F: a request is unanswered",
            Self::G => "timer G: retransmit a failure",
            Self::H => "timer H: a failure is unacknowledged",
            Self::I => "timer I: forget an acknowledged failure",
            Self::J => "timer J: forget an answered request",
            Self::K => "timer K: forget a request",
            Self::L => "timer L: forget an accepted INVITE",
            Self::M => "timer M: forget an INVITE that was accepted",
            Self::Trying => "a 100 is due",
            Self::Cancelled => "a cancelled INVITE is unanswered",
        }
    }
}

/// A deadline with its name.
pub(super) type Deadline = (Instant, Timer);

/// The earlier of two deadlines; the first when they are one.
pub(super) fn earlier(one: Deadline, other: Deadline) -> Deadline {
    if other.0 < one.0 { other } else { one }
}

/// `64 * T1`: how long a transaction is tried.
pub(super) fn timeout(timers: &Timers) -> Duration {
    timers.t1.saturating_mul(64)
}

/// The timers as they run over one transport. Where nothing is lost nothing is
/// sent again (no A, E, G), and nothing comes again that would have to be waited
/// for (D, I, J, K are zero). L and M run everywhere (RFC 6026 section 8.7), since
/// copies of a 2xx come from the user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) timers: Timers,
    transport: Transport,
}

impl Pace {
    pub(super) const fn over(timers: Timers, transport: Transport) -> Self {
        Self { timers, transport }
    }

    /// When what was sent at `now` is sent again.
    pub(super) fn resend(&self, now: Instant) -> Option<Retransmission> {
        (!self.transport.is_reliable()).then(|| Retransmission::first(now, &self.timers))
    }

    /// `64 * T1`.
    pub(super) fn timeout(&self) -> Duration {
        timeout(&self.timers)
    }

    /// Until when copies of what came at `now` may come; `None` where there are none.
    pub(super) fn copies_until(&self, now: Instant, lifetime: Duration) -> Option<Instant> {
        (!self.transport.is_reliable()).then(|| now + lifetime)
    }
}

/// When a message is sent again, and how long after that once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retransmission {
    /// The next time.
    pub(super) at: Instant,
    interval: Duration,
}

impl Retransmission {
    /// First after T1.
    pub(super) fn first(now: Instant, timers: &Timers) -> Self {
        Self { at: now + timers.t1, interval: timers.t1 }
    }

    /// After it was sent again: twice as long as before, `cap` at most.
    pub(super) fn doubled(self, now: Instant, cap: Option<Duration>) -> Self {
        let doubled = self.interval.saturating_mul(2);
        let interval = cap.map_or(doubled, |cap| doubled.min(cap));
        Self { at: now + interval, interval }
    }
}
