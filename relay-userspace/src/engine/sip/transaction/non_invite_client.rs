//! The non-INVITE client transaction: RFC 3261 section 17.1.2.
//!
//! ```text
//!                          | request from TU: send it
//!     timer E: send it     v
//!          +----------- Trying ------- timer F: timeout ----+
//!          +------------>  |  \                             |
//!                      1xx |   \---- 200-699 to TU ---+     |
//!     timer E: send it,    v                          |     |
//!     1xx to TU            |                          |     |
//!          +---------- Proceeding ---- timer F: timeout --->+
//!          +------------>  |                          |     |
//!            200-699 to TU |                          |     |
//!                          v                          |     |
//!                      Completed <--------------------+     |
//!                  timer K |                                |
//!                          v                                |
//!                     Terminated <--------------------------+
//! ```
//!
//! Over a connection timer E does not run and Completed is passed over, since
//! timer K is zero. A connection that is lost before the answer ends the
//! transaction (section 17.1.4).

use super::effects::{Effects, Failure};
use super::timing::{Deadline, Pace, Retransmission, Timer, earlier};
use crate::engine::time::Instant;

/// The request is sent, nothing has come back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trying {
    request: Vec<u8>,
    e: Option<Retransmission>,
    f: Instant,
}

/// A provisional response came: retransmission slows down to T2.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proceeding {
    request: Vec<u8>,
    e: Option<Instant>,
    f: Instant,
}

/// Answered; retransmitted answers are absorbed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Completed {
    k: Instant,
}

/// Where the transaction is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    Trying(Trying),
    Proceeding(Proceeding),
    Completed(Completed),
    Terminated,
}

impl State {
    /// Starts; the caller sends the request.
    pub(super) fn start(now: Instant, request: Vec<u8>, pace: &Pace) -> Self {
        Self::Trying(Trying { request, e: pace.resend(now), f: now + pace.timeout() })
    }

    /// What the state waits for.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let next =
            |f, e: Option<Instant>| Some(e.map_or((f, Timer::F), |e| earlier((f, Timer::F), (e, Timer::E))));
        match self {
            Self::Trying(trying) => next(trying.f, trying.e.map(|e| e.at)),
            Self::Proceeding(proceeding) => next(proceeding.f, proceeding.e),
            Self::Completed(completed) => Some((completed.k, Timer::K)),
            Self::Terminated => None,
        }
    }

    /// The deadline has passed.
    pub(super) fn expire(self, now: Instant, pace: &Pace) -> (Self, Effects) {
        match self {
            Self::Trying(Trying { f, .. }) | Self::Proceeding(Proceeding { f, .. }) if now >= f => {
                (Self::Terminated, Effects::failed(Failure::Timeout))
            }
            Self::Trying(Trying { request, e: Some(e), f }) => {
                let effects = Effects::send(request.clone());
                let e = Some(e.doubled(now, Some(pace.timers.t2)));
                (Self::Trying(Trying { request, e, f }), effects)
            }
            Self::Proceeding(Proceeding { request, e: Some(_), f }) => {
                let effects = Effects::send(request.clone());
                (Self::Proceeding(Proceeding { request, e: Some(now + pace.timers.t2), f }), effects)
            }
            Self::Trying(Trying { e: None, .. }) | Self::Proceeding(Proceeding { e: None, .. }) => {
                (self, Effects::none())
            }
            Self::Completed(_) | Self::Terminated => (Self::Terminated, Effects::none()),
        }
    }

    /// A response has come.
    pub(super) fn respond(self, now: Instant, status: u16, pace: &Pace) -> (Self, Effects) {
        match (self, status) {
            // Timer E keeps its current run and is T2 from then on.
            (Self::Trying(Trying { request, e, f }), ..200) => {
                (Self::Proceeding(Proceeding { request, e: e.map(|e| e.at), f }), Effects::deliver())
            }
            (state @ Self::Proceeding(_), ..200) => (state, Effects::deliver()),
            (Self::Trying(_) | Self::Proceeding(_), 200..) => {
                let copies = pace.copies_until(now, pace.timers.t4);
                (copies.map_or(Self::Terminated, |k| Self::Completed(Completed { k })), Effects::deliver())
            }
            (state @ (Self::Completed(_) | Self::Terminated), _) => (state, Effects::none()),
        }
    }

    /// The connection is lost.
    pub(super) fn disconnected(self) -> (Self, Effects) {
        match self {
            Self::Trying(_) | Self::Proceeding(_) => {
                (Self::Terminated, Effects::failed(Failure::Unreachable))
            }
            Self::Completed(_) | Self::Terminated => (self, Effects::none()),
        }
    }
}
