//! The non-INVITE client transaction: RFC 3261 section 17.1.2, over UDP.
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

use super::effects::{Effects, Failure};
use super::timing::{Deadline, Retransmission, Timer, earlier, timeout};
use crate::engine::config::Timers;
use crate::engine::time::Instant;

/// The request is sent, nothing has come back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trying {
    request: Vec<u8>,
    e: Retransmission,
    f: Instant,
}

/// A provisional response came: retransmission slows down to T2.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proceeding {
    request: Vec<u8>,
    e: Instant,
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
    pub(super) fn start(now: Instant, request: Vec<u8>, timers: &Timers) -> Self {
        Self::Trying(Trying { request, e: Retransmission::first(now, timers), f: now + timeout(timers) })
    }

    /// What the state waits for.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Trying(trying) => Some(earlier((trying.f, Timer::F), (trying.e.at, Timer::E))),
            Self::Proceeding(proceeding) => Some(earlier((proceeding.f, Timer::F), (proceeding.e, Timer::E))),
            Self::Completed(completed) => Some((completed.k, Timer::K)),
            Self::Terminated => None,
        }
    }

    /// The deadline has passed.
    pub(super) fn expire(self, now: Instant, timers: &Timers) -> (Self, Effects) {
        match self {
            Self::Trying(Trying { f, .. }) | Self::Proceeding(Proceeding { f, .. }) if now >= f => {
                (Self::Terminated, Effects::failed(Failure::Timeout))
            }
            Self::Trying(trying) => {
                let effects = Effects::send(trying.request.clone());
                let e = trying.e.doubled(now, Some(timers.t2));
                (Self::Trying(Trying { e, ..trying }), effects)
            }
            Self::Proceeding(proceeding) => {
                let effects = Effects::send(proceeding.request.clone());
                (Self::Proceeding(Proceeding { e: now + timers.t2, ..proceeding }), effects)
            }
            Self::Completed(_) | Self::Terminated => (Self::Terminated, Effects::none()),
        }
    }

    /// A response has come.
    pub(super) fn respond(self, now: Instant, status: u16, timers: &Timers) -> (Self, Effects) {
        match (self, status) {
            // Timer E keeps its current run and is T2 from then on.
            (Self::Trying(Trying { request, e, f }), ..200) => {
                (Self::Proceeding(Proceeding { request, e: e.at, f }), Effects::deliver())
            }
            (state @ Self::Proceeding(_), ..200) => (state, Effects::deliver()),
            (Self::Trying(_) | Self::Proceeding(_), 200..) => {
                (Self::Completed(Completed { k: now + timers.t4 }), Effects::deliver())
            }
            (state @ (Self::Completed(_) | Self::Terminated), _) => (state, Effects::none()),
        }
    }
}
