//! Addresses that send us SIP and belong to no trunk.
//!
//! A scanner sends thousands of requests an hour, so each address is reported
//! at its first message and then at every tenfold, and the table is bounded:
//! when it is full, the address that was first seen longest ago makes room.
//! How many messages came within a window is counted too, for the guard.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::time::Instant;

/// Addresses that are remembered at a time.
const CAPACITY: usize = 1024;

/// How often each stranger has knocked.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    known: BTreeMap<IpAddr, Stranger>,
    order: VecDeque<IpAddr>,
}

#[derive(Debug)]
struct Stranger {
    messages: u64,
    /// When the window began, and the messages since.
    window: Instant,
    lately: u32,
}

/// What one message of a stranger comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Knock {
    /// How many messages there were in all, when that is worth reporting: 1, 10,
    /// 100 and so on.
    pub(crate) report: Option<u64>,
    /// How many there were in this window.
    pub(crate) lately: u32,
}

impl Strangers {
    /// Counts a message.
    pub(crate) fn seen(&mut self, now: Instant, source: IpAddr, window: Duration) -> Knock {
        if !self.known.contains_key(&source) {
            if self.order.len() == CAPACITY
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
            self.order.push_back(source);
        }
        let stranger = self.known.entry(source).or_insert(Stranger { messages: 0, window: now, lately: 0 });
        if now.saturating_since(stranger.window) >= window {
            (stranger.window, stranger.lately) = (now, 0);
        }
        stranger.messages = stranger.messages.saturating_add(1);
        stranger.lately = stranger.lately.saturating_add(1);
        Knock {
            report: is_power_of_ten(stranger.messages).then_some(stranger.messages),
            lately: stranger.lately,
        }
    }

    /// Begins a new window for an address: what it sent so far has been answered.
    pub(crate) fn forgive(&mut self, source: IpAddr) {
        if let Some(stranger) = self.known.get_mut(&source) {
            stranger.lately = 0;
        }
    }
}

fn is_power_of_ten(count: u64) -> bool {
    count.checked_ilog10().and_then(|log| 10_u64.checked_pow(log)) == Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(1);

    #[test]
    fn a_stranger_is_reported_at_growing_intervals() {
        let mut strangers = Strangers::default();
        let source = IpAddr::from([192, 0, 2, 1]);
        let mut knock = || strangers.seen(Instant::ORIGIN, source, WINDOW);
        let reported: Vec<u64> = (0..1500).filter_map(|_| knock().report).collect();
        assert_eq!(reported, [1, 10, 100, 1000]);
    }

    #[test]
    fn messages_are_counted_by_window() {
        let mut strangers = Strangers::default();
        let source = IpAddr::from([192, 0, 2, 1]);
        let at = |seconds| Instant::after_origin(Duration::from_secs(seconds));
        let lately = [0, 10, 59, 60, 61, 200].map(|second| strangers.seen(at(second), source, WINDOW).lately);
        assert_eq!(lately, [1, 2, 3, 1, 2, 1]);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let mut strangers = Strangers::default();
        let address = |i: u32| IpAddr::from(i.to_be_bytes());
        let mut seen = |i| strangers.seen(Instant::ORIGIN, address(i), WINDOW).report;
        for i in 0..10_000 {
            seen(i);
        }
        assert_eq!(seen(9_999), None, "still known");
        assert_eq!(seen(0), Some(1), "long forgotten");
        assert_eq!((strangers.known.len(), strangers.order.len()), (CAPACITY, CAPACITY));
    }
}
