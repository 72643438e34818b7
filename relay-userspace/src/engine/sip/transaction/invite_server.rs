//! The INVITE server transaction: RFC 3261 section 17.2.1 with the Accepted
//! state of RFC 6026 section 7.1.
//!
//! ```text
//!                             | INVITE to TU
//!     INVITE: last 1xx;       v
//!     1xx from TU: send it;   |
//!     200 ms without: 100     |
//!          +------------- Proceeding ---- 2xx from TU: send it ---+
//!          +--------------->  |                                   |
//!       300-699 from TU: send |                                   v
//!     timer G, INVITE:        v        INVITE: absorb; ACK to TU; |
//!     send it again           |        2xx from TU: send it       |
//!          +------------- Completed                  +-------- Accepted
//!          +--------------->  |    \                 +----------> |
//!                         ACK |     \- timer H: no ACK            |
//!                             v                 |                 |
//!                         Confirmed             |                 |
//!                     timer I |                 |         timer L |
//!                             v                 v                 |
//!                        Terminated <-----------+-----------------+
//! ```
//!
//! Over a connection timer G does not run and Confirmed is passed over, since
//! timer I is zero; timer H waits for the ACK all the same.

use super::effects::{Effects, Failure};
use super::timing::{Deadline, Pace, Retransmission, TRYING_AFTER, Timer, earlier};
use crate::engine::time::Instant;

/// The user has the request and has not decided.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proceeding {
    provisional: Progress,
}

/// What a retransmitted INVITE is answered with.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing yet; the 100 is ready and due.
    Due { trying: Vec<u8>, at: Instant },
    /// The last provisional response.
    Sent(Vec<u8>),
}

/// The user has refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Completed {
    response: Vec<u8>,
    g: Option<Retransmission>,
    h: Instant,
}

/// The refusal was acknowledged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Confirmed {
    i: Instant,
}

/// The user has accepted; retransmission of the 2xx is the user's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    l: Instant,
}

/// Where the transaction is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    Proceeding(Proceeding),
    Completed(Completed),
    Confirmed(Confirmed),
    Accepted(Accepted),
    Terminated,
}

impl State {
    /// Starts; `trying` is the 100 that is sent if the user takes long.
    pub(super) fn start(now: Instant, trying: Vec<u8>) -> Self {
        Self::Proceeding(Proceeding { provisional: Progress::Due { trying, at: now + TRYING_AFTER } })
    }

    /// What the state waits for.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Proceeding(Proceeding { provisional: Progress::Due { at, .. } }) => {
                Some((*at, Timer::Trying))
            }
            Self::Proceeding(Proceeding { provisional: Progress::Sent(_) }) | Self::Terminated => None,
            Self::Completed(completed) => {
                let h = (completed.h, Timer::H);
                Some(completed.g.map_or(h, |g| earlier(h, (g.at, Timer::G))))
            }
            Self::Confirmed(confirmed) => Some((confirmed.i, Timer::I)),
            Self::Accepted(accepted) => Some((accepted.l, Timer::L)),
        }
    }

    /// The deadline has passed.
    pub(super) fn expire(self, now: Instant, pace: &Pace) -> (Self, Effects) {
        match self {
            Self::Proceeding(proceeding) => proceeding.send_again(),
            Self::Completed(completed) if now >= completed.h => {
                (Self::Terminated, Effects::failed(Failure::AckTimeout))
            }
            Self::Completed(completed) => {
                let effects =
                    completed.g.map_or_else(Effects::none, |_| Effects::send(completed.response.clone()));
                let g = completed.g.map(|g| g.doubled(now, Some(pace.timers.t2)));
                (Self::Completed(Completed { g, ..completed }), effects)
            }
            Self::Confirmed(_) | Self::Accepted(_) | Self::Terminated => (Self::Terminated, Effects::none()),
        }
    }

    /// The INVITE came again.
    pub(super) fn retransmitted(self) -> (Self, Effects) {
        match self {
            Self::Proceeding(proceeding) => proceeding.send_again(),
            Self::Completed(completed) => {
                let effects = Effects::send(completed.response.clone());
                (Self::Completed(completed), effects)
            }
            Self::Confirmed(_) | Self::Accepted(_) | Self::Terminated => (self, Effects::none()),
        }
    }

    /// An ACK with the INVITE's branch has come.
    pub(super) fn acknowledged(self, now: Instant, pace: &Pace) -> (Self, Effects) {
        match self {
            Self::Completed(_) => {
                let copies = pace.copies_until(now, pace.timers.t4);
                (copies.map_or(Self::Terminated, |i| Self::Confirmed(Confirmed { i })), Effects::none())
            }
            Self::Accepted(_) => (self, Effects::deliver()),
            Self::Proceeding(_) | Self::Confirmed(_) | Self::Terminated => (self, Effects::none()),
        }
    }

    /// The user answers. A second final response is not sent, unless it is
    /// the retransmission of a 2xx.
    pub(super) fn respond(
        self,
        now: Instant,
        status: u16,
        response: Vec<u8>,
        pace: &Pace,
    ) -> (Self, Effects) {
        let over = now + pace.timeout();
        match (self, status) {
            (Self::Proceeding(_), ..200) => (
                Self::Proceeding(Proceeding { provisional: Progress::Sent(response.clone()) }),
                Effects::send(response),
            ),
            (Self::Proceeding(_), 200..300) => {
                (Self::Accepted(Accepted { l: over }), Effects::send(response))
            }
            (Self::Proceeding(_), 300..) => {
                let g = pace.resend(now);
                (
                    Self::Completed(Completed { response: response.clone(), g, h: over }),
                    Effects::send(response),
                )
            }
            (state @ Self::Accepted(_), 200..300) => (state, Effects::send(response)),
            (state @ Self::Accepted(_), ..200 | 300..)
            | (state @ (Self::Completed(_) | Self::Confirmed(_) | Self::Terminated), _) => {
                (state, Effects::none())
            }
        }
    }

    /// The last response that was kept, for the tag in it.
    pub(super) fn last_response(&self) -> Option<&[u8]> {
        match self {
            Self::Proceeding(Proceeding { provisional: Progress::Sent(response) })
            | Self::Completed(Completed { response, .. }) => Some(response),
            Self::Proceeding(Proceeding { provisional: Progress::Due { .. } })
            | Self::Confirmed(_)
            | Self::Accepted(_)
            | Self::Terminated => None,
        }
    }
}

impl Proceeding {
    fn send_again(self) -> (State, Effects) {
        let last = match self.provisional {
            Progress::Due { trying, .. } => trying,
            Progress::Sent(response) => response,
        };
        let effects = Effects::send(last.clone());
        (State::Proceeding(Self { provisional: Progress::Sent(last) }), effects)
    }
}
