//! The INVITE client transaction: RFC 3261 section 17.1.1 with the Accepted
//! state of RFC 6026 section 7.2.
//!
//! ```text
//!                          | INVITE from TU: send it
//!     timer A: send it     v
//!          +----------- Calling ----- timer B: timeout ------------+
//!          +------------>  |  \                                    |
//!                      1xx |   \------ 2xx to TU ------+           |
//!     1xx to TU            v                           |           |
//!          +---------- Proceeding ---- 2xx to TU ------+           |
//!          +------------>  |    \                      |           |
//!      300-699: send ACK,  |     \- unanswered CANCEL: timeout --->+
//!      to TU               v                           v           |
//!     300-699: send ACK    |                           |  2xx to TU|
//!          +---------- Completed                   Accepted ---+   |
//!          +------------>  |                           |  <----+   |
//!                  timer D |                   timer M |           |
//!                          +------------+--------------+           |
//!                                       v                          |
//!                                  Terminated <--------------------+
//! ```
//!
//! A CANCEL waits for the first provisional response, and 64*T1 after it the
//! transaction ends even if nothing answers (section 9.1).
//!
//! Over a connection timer A does not run and Completed is passed over, since
//! timer D is zero. A connection that is lost in Calling ends the transaction
//! (section 17.1.4). In Proceeding it does not: the far end has the INVITE, and its
//! answer comes over a new connection (section 18.2.2).

use super::effects::{Effects, Failure};
use super::timing::{Deadline, Pace, Retransmission, Timer, earlier};
use crate::engine::time::Instant;

/// The request is sent, nothing has come back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Calling {
    request: Vec<u8>,
    a: Option<Retransmission>,
    b: Instant,
    cancel: bool,
}

/// Somebody works on it. No timer of the RFC runs: how long a phone rings is
/// the user's decision.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proceeding {
    request: Vec<u8>,
    cancelled: Option<Instant>,
}

/// It failed; the ACK answers each retransmission of the failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Completed {
    ack: Option<Vec<u8>>,
    d: Instant,
}

/// A 2xx came; more of them, from forks or retransmitted, go to the user.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    m: Instant,
}

/// Where the transaction is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    Calling(Calling),
    Proceeding(Proceeding),
    Completed(Completed),
    Accepted(Accepted),
    Terminated,
}

impl State {
    /// Starts; the caller sends the request.
    pub(super) fn start(now: Instant, request: Vec<u8>, pace: &Pace) -> Self {
        Self::Calling(Calling { request, a: pace.resend(now), b: now + pace.timeout(), cancel: false })
    }

    /// What the state waits for.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Calling(calling) => {
                let b = (calling.b, Timer::B);
                Some(calling.a.map_or(b, |a| earlier(b, (a.at, Timer::A))))
            }
            Self::Proceeding(proceeding) => proceeding.cancelled.map(|at| (at, Timer::Cancelled)),
            Self::Completed(completed) => Some((completed.d, Timer::D)),
            Self::Accepted(accepted) => Some((accepted.m, Timer::M)),
            Self::Terminated => None,
        }
    }

    /// The deadline has passed.
    pub(super) fn expire(self, now: Instant) -> (Self, Effects) {
        match self {
            Self::Calling(calling) if now >= calling.b => {
                (Self::Terminated, Effects::failed(Failure::Timeout))
            }
            Self::Calling(calling) => {
                let effects =
                    calling.a.map_or_else(Effects::none, |_| Effects::send(calling.request.clone()));
                let a = calling.a.map(|a| a.doubled(now, None));
                (Self::Calling(Calling { a, ..calling }), effects)
            }
            Self::Proceeding(_) => (Self::Terminated, Effects::failed(Failure::Timeout)),
            Self::Completed(_) | Self::Accepted(_) | Self::Terminated => (Self::Terminated, Effects::none()),
        }
    }

    /// A response has come. `ack` makes the ACK of a failure from the request.
    pub(super) fn respond(
        self,
        now: Instant,
        status: u16,
        ack: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
        pace: &Pace,
    ) -> (Self, Effects) {
        let over = now + pace.timeout();
        match (self, status) {
            (Self::Calling(Calling { request, cancel, .. }), ..200) => {
                let cancelled = cancel.then_some(over);
                (
                    Self::Proceeding(Proceeding { request, cancelled }),
                    Effects { deliver: true, cancel, ..Effects::none() },
                )
            }
            (state @ Self::Proceeding(_), ..200) | (state @ Self::Accepted(_), 200..300) => {
                (state, Effects::deliver())
            }
            (Self::Calling(_) | Self::Proceeding(_), 200..300) => {
                (Self::Accepted(Accepted { m: over }), Effects::deliver())
            }
            (
                Self::Calling(Calling { request, .. }) | Self::Proceeding(Proceeding { request, .. }),
                300..,
            ) => {
                let ack = ack(&request);
                let effects = Effects { send: ack.clone(), deliver: true, ..Effects::none() };
                let copies = pace.copies_until(now, pace.timeout());
                (copies.map_or(Self::Terminated, |d| Self::Completed(Completed { ack, d })), effects)
            }
            (Self::Completed(completed), 300..) => {
                let effects = Effects { send: completed.ack.clone(), ..Effects::none() };
                (Self::Completed(completed), effects)
            }
            (state @ Self::Completed(_), ..300)
            | (state @ Self::Accepted(_), ..200 | 300..)
            | (state @ Self::Terminated, _) => (state, Effects::none()),
        }
    }

    /// The user wants the request cancelled.
    pub(super) fn cancel(self, now: Instant, pace: &Pace) -> (Self, Effects) {
        match self {
            Self::Calling(calling) => (Self::Calling(Calling { cancel: true, ..calling }), Effects::none()),
            Self::Proceeding(Proceeding { request, cancelled: None }) => (
                Self::Proceeding(Proceeding { request, cancelled: Some(now + pace.timeout()) }),
                Effects { cancel: true, ..Effects::none() },
            ),
            Self::Proceeding(_) | Self::Completed(_) | Self::Accepted(_) | Self::Terminated => {
                (self, Effects::none())
            }
        }
    }

    /// The connection is lost.
    pub(super) fn disconnected(self) -> (Self, Effects) {
        match self {
            Self::Calling(_) => (Self::Terminated, Effects::failed(Failure::Unreachable)),
            Self::Proceeding(_) | Self::Completed(_) | Self::Accepted(_) | Self::Terminated => {
                (self, Effects::none())
            }
        }
    }

    /// The request, as long as a CANCEL or an ACK can still be made from it.
    pub(super) fn request(&self) -> Option<&[u8]> {
        match self {
            Self::Calling(Calling { request, .. }) | Self::Proceeding(Proceeding { request, .. }) => {
                Some(request)
            }
            Self::Completed(_) | Self::Accepted(_) | Self::Terminated => None,
        }
    }
}
