//! The deadlines of calls: named, at most one of a name per call.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::ids::SessionId;
use crate::engine::time::Instant;

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The callee rings too long.
    Ring,
    /// A target says nothing, and another one may.
    Target,
    /// A 2xx of ours is not acknowledged.
    Acknowledge,
    /// A provisional response of ours is not known to have arrived.
    Provisional,
    /// The datapath is asked whether both sides are heard.
    Media,
    /// The call is recorded so far.
    Interim,
    /// A session is to be refreshed, or was not.
    Session,
    /// The longest permitted length of a call.
    MaxCall,
}

impl Timer {
    const fn reason(self) -> &'static str {
        match self {
            Self::Ring => "the callee rings too long",
            Self::Target => "a target says nothing",
            Self::Acknowledge => "a 2xx is unacknowledged",
            Self::Provisional => "a provisional response is unacknowledged",
            Self::Media => "both sides are listened to",
            Self::Interim => "a call is recorded so far",
            Self::Session => "a session is refreshed or given up",
            Self::MaxCall => "the longest permitted call",
        }
    }
}

/// The deadlines of all calls.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(Instant, SessionId, Timer)>,
    armed: BTreeMap<(SessionId, Timer), Instant>,
}

impl Timers {
    /// Arms a timer, or moves it.
    pub(super) fn arm(&mut self, call: SessionId, timer: Timer, at: Instant) {
        if let Some(before) = self.armed.insert((call, timer), at) {
            self.queue.remove(&(before, call, timer));
        }
        self.queue.insert((at, call, timer));
    }

    /// Disarms a timer.
    pub(super) fn disarm(&mut self, call: SessionId, timer: Timer) {
        if let Some(at) = self.armed.remove(&(call, timer)) {
            self.queue.remove(&(at, call, timer));
        }
    }

    /// Disarms everything of a call.
    pub(super) fn forget(&mut self, call: SessionId) {
        while let Some((&(_, timer), _)) =
            self.armed.range((call, Timer::Ring)..=(call, Timer::MaxCall)).next()
        {
            self.disarm(call, timer);
        }
    }

    /// The next timer that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(SessionId, Timer)> {
        let &(at, call, timer) = self.queue.first()?;
        if at > now {
            return None;
        }
        self.disarm(call, timer);
        Some((call, timer))
    }

    /// The next deadline and what it is for.
    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        self.queue.first().map(|&(at, _, timer)| (at, timer.reason()))
    }
}
