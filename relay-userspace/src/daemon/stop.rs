//! How a stop is asked for: once, to end calls first; twice, to end at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::waker::Waker;

/// How urgently the daemon is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    No,
    Drain,
    AtOnce,
}

/// Set by signals and handles, read by the loop.
#[derive(Clone, Debug)]
pub(super) struct StopFlag {
    asked: Arc<AtomicU8>,
    waker: Waker,
}

impl StopFlag {
    pub(super) fn new(waker: Waker) -> Self {
        Self { asked: Arc::default(), waker }
    }

    /// Asks for a stop; asking again makes it urgent.
    pub(super) fn ask(&self) {
        let more = |asked: u8| Some(asked.saturating_add(1));
        let _always_some = self.asked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        self.waker.wake();
    }

    pub(super) fn get(&self) -> Stop {
        match self.asked.load(Ordering::Relaxed) {
            0 => Stop::No,
            1 => Stop::Drain,
            _ => Stop::AtOnce,
        }
    }
}
