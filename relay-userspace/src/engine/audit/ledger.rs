//! Writes the log: gives entries their numbers and links, has them made durable,
//! and lets what waits for them go on.
//!
//! One commit is under way at a time and what comes meanwhile goes with the next,
//! so the store always holds a log without gaps. Of a commit that failed it is not
//! known whether it was written: its entries are written again as they are, with
//! whatever comes next or a second later, and what waited for them is refused.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::acts::Note;
use super::anchor::Anchor;
use super::entry::{Act, Entry, Proof, Who};
use super::{Snapshot, TAIL};
use crate::engine::admin::{AdminReply, AdminRequest, Refusal, RefusalKind};
use crate::engine::event::Event;
use crate::engine::io::{Change, CommitId, Output, RequestId, Transaction};
use crate::engine::privacy::{Asker, Notary};
use crate::engine::quota::Quota;
use crate::engine::time::{Instant, Now};

/// Commits of the log are numbered from here: calls begin at zero, the guard
/// above.
const FIRST_COMMIT: u64 = 1 << 61;
const LAST_COMMIT: u64 = (1 << 62) - 1;
/// Entries that are not known to be durable; half of what a start looks at.
const MAX_WAITING: usize = TAIL / 2;
/// Refusals that are noted of one user in an hour.
const MAX_DENIALS: usize = 20;
/// Entries that one seal covers.
const SEGMENT: u64 = 256;
/// How long an entry waits for its seal.
const SEAL_AFTER: Duration = Duration::from_hours(1);
/// The same for what a process before this one left.
const SEAL_AT_START: Duration = Duration::from_mins(1);
/// Until what the store did not take is written again.
const AGAIN: Duration = Duration::from_secs(1);

/// What goes on once its entry is durable.
pub(crate) struct Next {
    pub(crate) id: RequestId,
    pub(crate) asker: Asker,
    pub(crate) request: AdminRequest,
}

/// What becomes of an entry once it is durable.
enum Then {
    /// Nothing.
    Rest,
    /// What was asked for goes on.
    Do(Box<Next>),
    /// Whoever waits for it is told.
    Say(RequestId),
}

impl Then {
    /// Who waits for it.
    fn asked(&self) -> Option<RequestId> {
        match self {
            Self::Rest => None,
            Self::Do(next) => Some(next.id),
            Self::Say(id) => Some(*id),
        }
    }
}

/// The end of the log and what is being added to it.
pub(crate) struct Ledger {
    notary: Arc<Notary>,
    clock: Now,
    /// The last entry, durable or not.
    head: Anchor,
    /// Entries after the last seal.
    unsealed: u64,
    /// Not known to be durable, oldest first.
    waiting: VecDeque<(Entry, Then)>,
    /// The commit that is under way, and how many of those it holds.
    under_way: Option<(CommitId, usize)>,
    seal_at: Option<Instant>,
    again: Option<Instant>,
    outputs: VecDeque<Output>,
    next_commit: u64,
    /// Refusals that are noted of each user.
    denials: Quota,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    refused: u64,
    failures: u64,
    denials_unnoted: u64,
}

impl Ledger {
    /// The log that goes on where a store and an anchor say it ended.
    pub(crate) fn new(notary: Arc<Notary>, now: Now, snapshot: &Snapshot) -> Self {
        let (head, problem) = end_of(&notary, snapshot);
        let unsealed = snapshot.tail.iter().rev().take_while(|entry| entry.act != Act::Seal).count();
        let mut ledger = Self {
            notary,
            clock: now,
            head,
            unsealed: u64::try_from(unsealed).unwrap_or(u64::MAX),
            waiting: VecDeque::new(),
            under_way: None,
            seal_at: (unsealed > 0).then(|| now.mono + SEAL_AT_START),
            again: None,
            outputs: VecDeque::new(),
            next_commit: FIRST_COMMIT,
            denials: Quota::new(MAX_DENIALS, Duration::from_hours(1)),
            counts: Counts::default(),
        };
        if let Some(problem) = problem {
            ledger.add(Who::Vizard, Note::new(Act::Mend, &problem), Then::Rest);
            ledger.outputs.push_back(Output::Event(Event::AuditMended { problem }));
            ledger.commit();
        }
        ledger
    }

    /// Whether a commit is one of the log's.
    pub(crate) fn owns(commit: CommitId) -> bool {
        (FIRST_COMMIT..=LAST_COMMIT).contains(&commit.0)
    }

    /// Notes what is asked for; it goes on once that is durable.
    pub(crate) fn note(&mut self, now: Now, note: Note, next: Next) {
        self.clock = now;
        if self.waiting.len() >= MAX_WAITING {
            self.counts.refused += 1;
            let what = "too many entries of the audit log wait for the store".to_owned();
            return self.refuse(next.id, what);
        }
        let who = Who::User(next.asker.clone());
        self.add(who, note, Then::Do(Box::new(next)));
        if self.unsealed >= SEGMENT {
            self.seal();
        }
        self.commit();
    }

    /// Notes that somebody asked for what they may not; of each user so often an
    /// hour, so that nobody can fill the log without a role.
    /// `id` is answered once the entry is durable, or when there will be none.
    pub(crate) fn deny(&mut self, now: Now, id: RequestId, note: Note, asker: Asker) {
        self.clock = now;
        let many = self.waiting.len() >= MAX_WAITING;
        if many || self.denials.spend(now.wall, asker.user).is_err() {
            self.counts.denials_unnoted += 1;
            return self.refuse(id, "so many denials are not noted in the audit log".to_owned());
        }
        let on = format!("{} {}", note.act, note.on);
        self.add(Who::User(asker), Note { act: Act::Denied, on, ..note }, Then::Say(id));
        self.commit();
    }

    /// Notes what Vizard does of itself.
    pub(crate) fn note_own(&mut self, now: Now, note: Note) {
        self.clock = now;
        self.add(Who::Vizard, note, Then::Rest);
        self.commit();
    }

    /// The store has a transaction; what waited for it, each behind an entry of this
    /// number, is to go on.
    pub(crate) fn handle_committed(&mut self, now: Now, commit: CommitId) -> Vec<(u64, Next)> {
        self.clock = now;
        let Some((_, entries)) = self.under_way.take_if(|(id, _)| *id == commit) else { return Vec::new() };
        self.again = None;
        let mut durable = Vec::new();
        for (entry, then) in self.waiting.drain(..entries) {
            match then {
                Then::Rest => {}
                Then::Do(next) => durable.push((entry.seq, *next)),
                Then::Say(id) => self.outputs.push_back(Output::Reply(id, AdminReply::Noted)),
            }
        }
        self.commit();
        durable
    }

    /// The store did not take a transaction, or may have.
    pub(crate) fn handle_commit_failed(&mut self, now: Now, commit: CommitId, problem: &str) {
        self.clock = now;
        let Some((_, entries)) = self.under_way.take_if(|(id, _)| *id == commit) else { return };
        self.counts.failures += 1;
        self.outputs.push_back(Output::Event(Event::CommitFailed { problem: problem.to_owned() }));
        let refused: Vec<RequestId> = self
            .waiting
            .iter_mut()
            .take(entries)
            .filter_map(|(_, then)| std::mem::replace(then, Then::Rest).asked())
            .collect();
        for id in refused {
            self.refuse(id, format!("the audit log could not be written, so nothing was done: {problem}"));
        }
        if entries < self.waiting.len() {
            self.commit();
        } else {
            self.again = Some(now.mono + AGAIN);
        }
    }

    /// Writes again what the store did not take, and seals what is due.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.clock = now;
        if self.seal_at.is_some_and(|at| at <= now.mono) {
            self.seal();
            self.commit();
        }
        if self.again.is_some_and(|at| at <= now.mono) {
            self.commit();
        }
    }

    /// When [`Self::handle_timeout`] must be called next, and what for.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        [
            self.seal_at.map(|at| (at, "a seal of the audit log")),
            self.again.map(|at| (at, "writing the audit log again")),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|&(at, _)| at)
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Seals what is not sealed: the process is to stop.
    pub(crate) fn close(&mut self, now: Now) {
        self.clock = now;
        if self.unsealed > 0 {
            self.seal();
            self.commit();
        }
    }

    /// Entries that are not known to be durable.
    pub(crate) fn pending(&self) -> usize {
        self.waiting.len()
    }

    /// How much it holds, and what it did.
    pub(crate) fn counters(&self) -> Vec<(String, u64)> {
        [
            ("audit.entries", self.head.seq),
            ("audit.unsealed", self.unsealed),
            ("audit.pending", u64::try_from(self.waiting.len()).unwrap_or(u64::MAX)),
            ("audit.limited", self.counts.refused),
            ("audit.denials_unnoted", self.counts.denials_unnoted),
            ("audit.commit_failures", self.counts.failures),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .into()
    }

    fn seal(&mut self) {
        let through = self.head.seq;
        let first = through + 1 - self.unsealed.min(through);
        self.add(Who::Vizard, Note::new(Act::Seal, format!("entries {first} to {through}")), Then::Rest);
        self.unsealed = 0;
        self.seal_at = None;
    }

    fn add(&mut self, who: Who, note: Note, then: Then) {
        let Note { act, on, reason } = note;
        let entry = Entry {
            seq: self.head.seq + 1,
            at: self.clock.wall,
            who,
            act,
            on,
            reason,
            before: self.head.digest,
            proof: Proof::default(),
        };
        let entry = entry.proven(&self.notary);
        self.head = Anchor::at(&entry);
        self.unsealed += 1;
        self.seal_at.get_or_insert(self.clock.mono + SEAL_AFTER);
        self.waiting.push_back((entry, then));
    }

    /// Has what waits made durable, unless that is under way.
    fn commit(&mut self) {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return;
        }
        self.again = None;
        let id = CommitId(self.next_commit);
        self.next_commit += 1;
        self.under_way = Some((id, self.waiting.len()));
        let changes =
            self.waiting.iter().map(|(entry, _)| Change::PutAudit(Box::new(entry.clone()))).collect();
        self.outputs.push_back(Output::Commit(id, Transaction { changes }));
    }

    fn refuse(&mut self, id: RequestId, what: String) {
        let remedy = "try again in a moment; if it stays, look at the log and the disks".to_owned();
        let refusal = Refusal { kind: RefusalKind::Unavailable, what, remedy };
        self.outputs.push_back(Output::Reply(id, AdminReply::Refused(refusal)));
    }
}

/// Where the log goes on, and what is wrong with where it ended. It goes on after
/// whatever was told last, in the store or beside the keys, so that nothing that is
/// left is written over and what is gone leaves a gap.
fn end_of(notary: &Notary, snapshot: &Snapshot) -> (Anchor, Option<String>) {
    let Snapshot { tail, last, anchor } = snapshot;
    let genuine = |entry: &&Entry| entry.seq == *last && entry.is_genuine(notary);
    let stored = tail.last().filter(genuine).map(Anchor::at);
    let Some(anchor) = anchor else {
        let end = stored.unwrap_or(Anchor { seq: *last, ..Anchor::default() });
        let problem = (*last > 0).then(|| format!("its anchor was missing or damaged at entry {last}"));
        return (end, problem);
    };
    let linked = |entries: &[Entry]| {
        let mut before = None;
        entries.iter().all(|entry| {
            let follows = before.is_none_or(|digest| entry.before == digest);
            before = Some(entry.digest());
            follows
        })
    };
    let anchored = |at: usize| Anchor::at(&tail[at]) == *anchor && linked(&tail[at..]);
    // A restore goes on behind the anchor; the process died before that was moved.
    let goes_on = |entry: &Entry| {
        entry.act == Act::Restore && entry.seq == anchor.seq + 1 && entry.before == anchor.digest
    };
    let restored = tail.iter().position(goes_on).is_some_and(|at| linked(&tail[at..]));
    match (stored, anchor.seq) {
        (None, 0) if *last == 0 => (*anchor, None),
        (Some(stored), 0) if stored.seq < TAIL as u64 && linked(tail) => (stored, None),
        (Some(stored), _) if tail.iter().position(|entry| entry.seq == anchor.seq).is_some_and(anchored) => {
            (stored, None)
        }
        (Some(stored), _) if restored => (stored, None),
        (_, seq) if seq > *last => {
            (*anchor, Some(format!("it ended with entry {last}, and its anchor said {seq}")))
        }
        (_, seq) => {
            let end = Anchor { seq: *last, digest: anchor.digest };
            (
                end,
                Some(format!("it ended with entry {last} otherwise than its anchor said, which named {seq}")),
            )
        }
    }
}
