//! Retransmission of a 2xx to an INVITE until its ACK comes (RFC 3261 section
//! 13.3.1.4): the work of the transaction's user, since the transaction ends
//! with the first 2xx. Over connections too: an ACK may be lost behind the next hop.

use super::timing::{Retransmission, timeout};
use crate::engine::config::Timers;
use crate::engine::io::Signal;
use crate::engine::time::Instant;

/// A 2xx that waits for its ACK. Drop it when the ACK comes.
#[derive(Clone, Debug)]
pub struct SuccessRetransmitter {
    response: Signal,
    next: Retransmission,
    give_up: Instant,
    longest: std::time::Duration,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SuccessDue {
    /// Nothing yet.
    Wait,
    /// Send the 2xx again.
    Resend(Signal),
    /// No ACK came in 64*T1: end the call with BYE.
    GiveUp,
}

impl SuccessRetransmitter {
    /// The 2xx was sent at `now`; `response` is what is sent again.
    #[must_use]
    pub fn new(now: Instant, response: Signal, timers: &Timers) -> Self {
        Self {
            response,
            next: Retransmission::first(now, timers),
            give_up: now + timeout(timers),
            longest: timers.t2,
        }
    }

    /// The 2xx.
    #[must_use]
    pub const fn response(&self) -> &Signal {
        &self.response
    }

    /// When [`Self::expire`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.next.at.min(self.give_up)
    }

    /// Does what is due by `now`.
    pub fn expire(&mut self, now: Instant) -> SuccessDue {
        if now >= self.give_up {
            SuccessDue::GiveUp
        } else if now >= self.next.at {
            self.next = self.next.doubled(now, Some(self.longest));
            SuccessDue::Resend(self.response.clone())
        } else {
            SuccessDue::Wait
        }
    }
}
