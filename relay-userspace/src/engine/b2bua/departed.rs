//! Dialogs that are over, for as long as the network may still hold a message
//! of theirs.
//!
//! A 2xx that comes after a call is forgotten is one of two things. Of a dialog
//! that is known here, it crossed our BYE and needs its ACK alone. Of any other,
//! a forked INVITE was answered by one more phone, which has to be hung up
//! (RFC 3261 section 13.2.2.4). Everything else that either needs stands in the
//! response.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::sip::dialog::DialogId;
use crate::engine::time::Instant;

/// Dialogs that are remembered at a time; the oldest make room.
const CAPACITY: usize = 400_000;

/// Dialogs of legs that are over.
#[derive(Debug, Default)]
pub(super) struct Departed {
    dialogs: BTreeSet<Arc<DialogId>>,
    /// When each is to be forgotten, in order.
    order: VecDeque<(Instant, Arc<DialogId>)>,
}

impl Departed {
    /// Remembers a dialog for `lifetime` from now on.
    pub(super) fn note(&mut self, now: Instant, lifetime: Duration, dialog: DialogId) {
        while let Some((until, oldest)) = self.order.front()
            && (*until <= now || self.order.len() >= CAPACITY)
        {
            self.dialogs.remove(oldest);
            self.order.pop_front();
        }
        let dialog = Arc::new(dialog);
        if self.dialogs.insert(Arc::clone(&dialog)) {
            self.order.push_back((now + lifetime, dialog));
        }
    }

    /// Whether this dialog was one of ours.
    pub(super) fn knows(&self, dialog: &DialogId) -> bool {
        self.dialogs.contains(dialog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialog(index: usize) -> DialogId {
        DialogId { call_id: index.to_string(), local_tag: String::new(), remote_tag: String::new() }
    }

    #[test]
    fn a_dialog_is_known_for_its_time() {
        let mut departed = Departed::default();
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        departed.note(at(0), Duration::from_secs(32), dialog(1));
        departed.note(at(31), Duration::from_secs(32), dialog(2));
        assert!(departed.knows(&dialog(1)) && departed.knows(&dialog(2)));
        departed.note(at(32), Duration::from_secs(32), dialog(3));
        assert!(!departed.knows(&dialog(1)) && departed.knows(&dialog(2)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut departed = Departed::default();
        for index in 0..CAPACITY + 10 {
            departed.note(Instant::ORIGIN, Duration::from_secs(32), dialog(index));
        }
        assert_eq!((departed.dialogs.len(), departed.order.len()), (CAPACITY, CAPACITY));
        assert!(!departed.knows(&dialog(9)) && departed.knows(&dialog(10)));
    }
}
