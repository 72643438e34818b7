//! The non-INVITE server transaction: RFC 3261 section 17.2.2.
//!
//! ```text
//!                          | request to TU
//!                          v
//!                       Trying ------- 200-699 from TU: send it ---+
//!        1xx from TU: send |                                       |
//!     request, 1xx from TU:v                                       |
//!     send 1xx             |                                       |
//!          +---------- Proceeding                                  |
//!          +------------>  |                                       |
//!     request: send    200-699 from TU: send it                    |
//!     it again             v                                       |
//!          +---------- Completed <---------------------------------+
//!          +------------>  |
//!                  timer J |
//!                          v
//!                     Terminated
//! ```
//!
//! Over a connection Completed is passed over, since timer J is zero.

use super::effects::Effects;
use super::timing::{Deadline, Pace, Timer};
use crate::engine::time::Instant;

/// The user has said something provisional.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proceeding {
    response: Vec<u8>,
}

/// Answered; the answer is repeated for every retransmission of the request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Completed {
    response: Vec<u8>,
    j: Instant,
}

/// Where the transaction is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The user has the request and has said nothing.
    Trying,
    Proceeding(Proceeding),
    Completed(Completed),
    Terminated,
}

impl State {
    /// What the state waits for.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Trying | Self::Proceeding(_) | Self::Terminated => None,
            Self::Completed(completed) => Some((completed.j, Timer::J)),
        }
    }

    /// The deadline has passed.
    pub(super) fn expire(self) -> (Self, Effects) {
        match self {
            Self::Trying | Self::Proceeding(_) => (self, Effects::none()),
            Self::Completed(_) | Self::Terminated => (Self::Terminated, Effects::none()),
        }
    }

    /// The request came again.
    pub(super) fn retransmitted(self) -> (Self, Effects) {
        let effects = match &self {
            Self::Proceeding(Proceeding { response }) | Self::Completed(Completed { response, .. }) => {
                Effects::send(response.clone())
            }
            Self::Trying | Self::Terminated => Effects::none(),
        };
        (self, effects)
    }

    /// The user answers. Any answer after the final one is not sent.
    pub(super) fn respond(
        self,
        now: Instant,
        status: u16,
        response: Vec<u8>,
        pace: &Pace,
    ) -> (Self, Effects) {
        match (self, status) {
            (Self::Trying | Self::Proceeding(_), ..200) => {
                (Self::Proceeding(Proceeding { response: response.clone() }), Effects::send(response))
            }
            (Self::Trying | Self::Proceeding(_), 200..) => {
                let next = pace.copies_until(now, pace.timeout()).map_or(Self::Terminated, |j| {
                    Self::Completed(Completed { response: response.clone(), j })
                });
                (next, Effects::send(response))
            }
            (state @ (Self::Completed(_) | Self::Terminated), _) => (state, Effects::none()),
        }
    }
}
