//! So many times in a while, for each user.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::engine::time::Timestamp;

/// Counts what users did lately. It holds nothing of whoever did nothing lately.
#[derive(Debug)]
pub(crate) struct Quota {
    most: usize,
    window: Duration,
    spent: BTreeMap<u32, VecDeque<Timestamp>>,
}

impl Quota {
    pub(crate) const fn new(most: usize, window: Duration) -> Self {
        Self { most, window, spent: BTreeMap::new() }
    }

    /// Once more, now; or how long until that is allowed.
    pub(crate) fn spend(&mut self, now: Timestamp, user: u32) -> Result<(), Duration> {
        self.spent.retain(|_, times| {
            times.retain(|&at| at + self.window > now);
            !times.is_empty()
        });
        let times = self.spent.entry(user).or_default();
        match times.front() {
            Some(&first) if times.len() >= self.most => Err((first + self.window).saturating_since(now)),
            None if self.most == 0 => Err(self.window),
            Some(_) | None => {
                times.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_so_many_in_any_hour() {
        let at = |seconds: i64| Timestamp::from_unix_microseconds(seconds * 1_000_000);
        let mut quota = Quota::new(2, Duration::from_hours(1));
        assert_eq!([quota.spend(at(0), 1), quota.spend(at(100), 1)], [Ok(()); 2]);
        assert_eq!(quota.spend(at(200), 1), Err(Duration::from_secs(3400)));
        assert_eq!(quota.spend(at(200), 2), Ok(()));
        assert_eq!(
            [quota.spend(at(3600), 1), quota.spend(at(3601), 1)],
            [Ok(()), Err(Duration::from_secs(99))]
        );
        assert_eq!(quota.spend(at(9000), 3), Ok(()));
        assert_eq!(quota.spent.len(), 1, "nothing is kept of who did nothing lately");
        assert!(Quota::new(0, Duration::from_secs(1)).spend(at(0), 1).is_err());
    }
}
