//! Addresses that send us SIP and belong to no trunk.
//!
//! A scanner sends thousands of requests an hour, so each address is reported
//! at its first message and then at every tenfold, and the table is bounded:
//! when it is full, the address that was first seen longest ago makes room.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// Addresses that are remembered at a time.
const CAPACITY: usize = 1024;

/// How often each stranger has knocked.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    messages: BTreeMap<IpAddr, u64>,
    order: VecDeque<IpAddr>,
}

impl Strangers {
    /// Counts a message; says how many there were when that is worth
    /// reporting: 1, 10, 100 and so on.
    pub(crate) fn seen(&mut self, source: IpAddr) -> Option<u64> {
        if let Some(messages) = self.messages.get_mut(&source) {
            *messages = messages.saturating_add(1);
            return is_power_of_ten(*messages).then_some(*messages);
        }
        if self.order.len() == CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.messages.remove(&oldest);
        }
        self.order.push_back(source);
        self.messages.insert(source, 1);
        Some(1)
    }
}

fn is_power_of_ten(count: u64) -> bool {
    count.checked_ilog10().and_then(|log| 10_u64.checked_pow(log)) == Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_reported_at_growing_intervals() {
        let mut strangers = Strangers::default();
        let source = IpAddr::from([192, 0, 2, 1]);
        let reported: Vec<u64> = (0..1500).filter_map(|_| strangers.seen(source)).collect();
        assert_eq!(reported, [1, 10, 100, 1000]);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let mut strangers = Strangers::default();
        let address = |i: u32| IpAddr::from(i.to_be_bytes());
        for i in 0..10_000 {
            strangers.seen(address(i));
            assert!(strangers.messages.len() <= CAPACITY);
            assert_eq!(strangers.messages.len(), strangers.order.len());
        }
        assert_eq!(strangers.seen(address(0)), Some(1), "long forgotten");
        assert_eq!(strangers.seen(address(9_999)), None, "still known");
    }
}
