//! What is dropped because its time is over: call detail records, in pieces.
//!
//! Everything else that time ends is the sweep's: bindings, tombstones, numbers
//! seen, and the parties that nothing refers to after them. Audit entries are
//! kept, since a chain without its beginning proves nothing; erasure certificates
//! are files for people to keep.
//!
//! What is dropped on schedule is noted in the audit log once a day, and after a start,
//! before the first of it goes: which records, by the day of their end.

use std::time::Duration;

use super::Directory;
use super::proposal::Proposal;
use crate::engine::admin::{AdminReply, RetentionView};
use crate::engine::audit::Act;
use crate::engine::audit::acts::Note;
use crate::engine::io::RequestId;
use crate::engine::time::{Instant, Timestamp};

/// How often records are dropped, and how many in one transaction at most: a
/// thousand a second, more than a busy machine makes over a day.
const EVERY: Duration = Duration::from_secs(10);
pub(super) const AT_ONCE: usize = 10_000;
const DAY_US: i64 = 86_400_000_000;

impl Directory {
    /// Drops a piece now, where that is asked, and says what is kept for how long.
    pub(super) fn retain(&mut self, id: RequestId, drop: bool) {
        match self.records_end() {
            Some(before) if drop => self.propose(Proposal::DropCdrs { before, asked: Some(id) }),
            Some(_) | None => self.reply_retention(id),
        }
    }

    pub(super) fn reply_retention(&mut self, id: RequestId) {
        let retention = self.config.retention;
        let kept = self.config.bindings.cool_off + retention.numbers_seen;
        let view = RetentionView {
            cdrs: retention.cdrs,
            cdrs_before: self.records_end(),
            at_once: AT_ONCE,
            numbers_seen: retention.numbers_seen,
            numbers_seen_kept: self.rests.len(),
            numbers_seen_over: self.rests.older_than(self.clock.wall - kept),
            tombstones: self.bindings.len() - self.live(),
            parties: self.parties.len(),
        };
        self.reply(id, AdminReply::Retention(view));
    }

    fn live(&self) -> usize {
        use super::BindingState;
        self.bindings
            .after(None)
            .filter(|(_, record)| matches!(record.state, BindingState::Live { .. }))
            .count()
    }

    /// Records that ended before this are dropped; `None` when all are kept.
    fn records_end(&self) -> Option<Timestamp> {
        let kept = self.config.retention.cdrs;
        (!kept.is_zero()).then(|| self.clock.wall - kept)
    }

    pub(super) fn retain_some(&mut self) {
        let Some(before) = self.records_end().filter(|_| self.retention_due <= self.clock.mono) else {
            return;
        };
        self.retention_due = self.clock.mono + EVERY;
        let day = before.unix_microseconds().div_euclid(DAY_US);
        if self.retention_noted.replace(day) == Some(day) {
            self.propose(Proposal::DropCdrs { before, asked: None });
        } else {
            let kept = self.config.retention.cdrs.as_secs();
            let note = Note::new(Act::PrivacyRetain, "records, on schedule");
            self.acts.push(note.because(&format!(
                "older than {} days, {} hours",
                kept / 86_400,
                kept % 86_400 / 3_600
            )));
        }
    }

    /// What is to be noted of what was done without being asked.
    pub(in crate::engine) fn take_acts(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.acts)
    }

    pub(super) fn retention_deadline(&self) -> Option<(Instant, &'static str)> {
        self.records_end().map(|_| (self.retention_due, "records whose time is over"))
    }
}
