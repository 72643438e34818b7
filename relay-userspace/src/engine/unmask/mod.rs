//! Who may be told a party's number, how often, and with whose consent.
//!
//! To unmask takes a role (the API's business), a reason, and an entry in the
//! audit log that is durable before anything is shown. Each user may do so some
//! times an hour, and a restart does not forget how often they did. Where the
//! two-person rule holds, asking only makes a request: another user of such a role
//! approves it, whoever asked then sees the numbers, once. A request that nobody
//! answers expires, and all of them end with the process: what is left of them is
//! in the audit log.
//!
//! Two users are two user ids: whoever shares an account shares its consent.

pub mod model;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use super::admin::{Refusal, RefusalKind};
use super::audit::acts::{Note, holds_number};
use super::audit::{Act, Entry, Who};
use super::config;
use super::ids::BindingId;
use super::privacy::Asker;
use super::quota::Quota;
use super::time::{Instant, Now, Timestamp};
pub use model::{Revealed, Subject, UnmaskReply, UnmaskRequest, Unmasked, WaitingView};

/// Characters that a reason has at least, and at most.
const REASON: std::ops::RangeInclusive<usize> = 10..=200;
/// Requests that wait for a second person.
const MAX_WAITING: usize = 256;
/// What a limit per hour is about.
const HOUR: Duration = Duration::from_hours(1);

/// Where unmasking is asked for.
pub(crate) struct Unmasking {
    rules: config::Unmask,
    quota: Quota,
    /// Requests that wait for a second person, by the number of their audit entry.
    waiting: BTreeMap<u64, WaitingView>,
    limited: u64,
}

/// What is to be done once an entry is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Show the parties of this binding.
    Reveal {
        /// What was asked about.
        of: Subject,
        /// The binding.
        binding: BindingId,
    },
    /// Answer with this.
    Answer(UnmaskReply),
}

impl Unmasking {
    /// Goes on with what the end of the audit log says of the last hour.
    pub(crate) fn new(rules: config::Unmask, now: Now, tail: &[Entry]) -> Self {
        let mut quota = Quota::new(rules.per_hour, HOUR);
        for entry in tail {
            match (&entry.who, entry.act) {
                (Who::User(asker), Act::Unmask | Act::UnmaskRequest) if entry.at + HOUR > now.wall => {
                    // What was allowed then was within the limit.
                    let _within = quota.spend(entry.at, asker.user);
                }
                _ => {}
            }
        }
        Self { rules, quota, waiting: BTreeMap::new(), limited: 0 }
    }

    /// What is to be noted before a request goes on, or why it does not. `binding`
    /// is what it is about, where that is known.
    pub(crate) fn judge(
        &mut self,
        now: Now,
        asker: &Asker,
        request: &UnmaskRequest,
        binding: Option<BindingId>,
    ) -> Result<Option<Note>, Refusal> {
        match request {
            UnmaskRequest::List => Ok(None),
            UnmaskRequest::Show { of, reason, .. } => {
                let reason = reason.trim();
                check_reason(reason)?;
                let binding = binding.ok_or_else(|| unknown(of))?;
                if self.rules.two_person && self.waiting.len() >= MAX_WAITING {
                    let what = format!("{MAX_WAITING} requests wait for a second person, which is the limit");
                    return Err(refusal(RefusalKind::Exhausted, what, "approve or reject some"));
                }
                self.spend(now, asker)?;
                let act = if self.rules.two_person { Act::UnmaskRequest } else { Act::Unmask };
                Ok(Some(Note::new(act, of.with(binding)).because(reason)))
            }
            UnmaskRequest::Approve { id } => {
                let waiting = self.waiting(*id)?;
                if waiting.asker.user == asker.user {
                    let what =
                        format!("{asker} has made request {id}: it takes a second person to approve it");
                    return Err(refusal(RefusalKind::Forbidden, what, "have somebody else approve it"));
                }
                if let Some(other) = &waiting.approved_by {
                    let what = format!("request {id} is approved already, by {other}");
                    return Err(refusal(
                        RefusalKind::Conflict,
                        what,
                        format!("{} may see it now", waiting.asker),
                    ));
                }
                let note = Note::new(
                    Act::UnmaskApprove,
                    format!("{} request {id}", waiting.of.with(waiting.binding)),
                );
                Ok(Some(note.because(&format!("asked for by {}: {}", waiting.asker, waiting.reason))))
            }
            UnmaskRequest::Reject { id } => {
                let waiting = self.waiting(*id)?;
                let on = format!("{} request {id}", waiting.of.with(waiting.binding));
                Ok(Some(Note::new(Act::UnmaskReject, on)))
            }
            UnmaskRequest::Fetch { id } => {
                let waiting = self.waiting(*id)?;
                if waiting.asker.user != asker.user {
                    let what = format!(
                        "request {id} was made by {}, who alone may see what it shows",
                        waiting.asker
                    );
                    return Err(refusal(RefusalKind::Forbidden, what, "make a request of your own"));
                }
                let Some(other) = &waiting.approved_by else {
                    let what = format!("request {id} is not approved yet");
                    let remedy = format!("have somebody else run `vizard unmask approve {id}`");
                    return Err(refusal(RefusalKind::Conflict, what, remedy));
                };
                let on = format!("{} request {id}", waiting.of.with(waiting.binding));
                let reason = format!("approved by {other}: {}", waiting.reason);
                Ok(Some(Note::new(Act::Unmask, on).because(&reason)))
            }
        }
    }

    /// What is to be done now that the entry with this number is durable. Things
    /// may have changed since it was judged.
    pub(crate) fn proceed(
        &mut self,
        now: Now,
        seq: u64,
        asker: Asker,
        request: UnmaskRequest,
        binding: Option<BindingId>,
    ) -> Result<Step, Refusal> {
        match request {
            UnmaskRequest::List => {
                Ok(Step::Answer(UnmaskReply::Requests(self.waiting.values().cloned().collect())))
            }
            UnmaskRequest::Show { of, reason, .. } => {
                let binding = binding.ok_or_else(|| unknown(&of))?;
                if !self.rules.two_person {
                    return Ok(Step::Reveal { of, binding });
                }
                let waiting = WaitingView {
                    id: seq,
                    of,
                    binding,
                    asker,
                    reason: reason.trim().to_owned(),
                    since: now.wall,
                    until: now.wall + self.rules.approve_within,
                    approved_by: None,
                };
                self.waiting.insert(seq, waiting.clone());
                Ok(Step::Answer(UnmaskReply::Waiting(waiting)))
            }
            UnmaskRequest::Approve { id } => {
                let waiting = self.waiting.get_mut(&id).ok_or_else(|| no_request(id))?;
                if let Some(other) = &waiting.approved_by {
                    let what = format!("request {id} was approved meanwhile, by {other}");
                    return Err(refusal(
                        RefusalKind::Conflict,
                        what,
                        format!("{} may see it now", waiting.asker),
                    ));
                }
                waiting.approved_by = Some(asker);
                Ok(Step::Answer(UnmaskReply::Approved(waiting.clone())))
            }
            UnmaskRequest::Reject { id } => {
                let waiting = self.waiting.remove(&id).ok_or_else(|| no_request(id))?;
                Ok(Step::Answer(UnmaskReply::Rejected(waiting)))
            }
            UnmaskRequest::Fetch { id } => {
                // Once: whoever wants to see it again asks again.
                let WaitingView { of, binding, .. } =
                    self.waiting.remove(&id).ok_or_else(|| no_request(id))?;
                Ok(Step::Reveal { of, binding })
            }
        }
    }

    /// Ends requests whose time is over, and says what is to be noted of them.
    pub(crate) fn handle_timeout(&mut self, now: Now) -> Vec<Note> {
        let expired: Vec<u64> = self
            .waiting
            .values()
            .filter(|waiting| waiting.until <= now.wall)
            .map(|waiting| waiting.id)
            .collect();
        let note = |waiting: WaitingView| {
            Note::new(
                Act::UnmaskExpire,
                format!("{} request {}", waiting.of.with(waiting.binding), waiting.id),
            )
        };
        expired.iter().filter_map(|id| self.waiting.remove(id)).map(note).collect()
    }

    /// When [`Self::handle_timeout`] must be called next, and what for.
    pub(crate) fn poll_timeout(&self, now: Now) -> Option<(Instant, &'static str)> {
        let until: Timestamp = self.waiting.values().map(|waiting| waiting.until).min()?;
        Some((now.mono + until.saturating_since(now.wall), "the end of a request to unmask"))
    }

    /// How much it holds, and what it refused.
    pub(crate) fn counters(&self) -> [(String, u64); 2] {
        let waiting = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        [("unmask.waiting".to_owned(), waiting), ("unmask.limited".to_owned(), self.limited)]
    }

    fn spend(&mut self, now: Now, asker: &Asker) -> Result<(), Refusal> {
        self.quota.spend(now.wall, asker.user).map_err(|wait| {
            self.limited += 1;
            let what = format!(
                "{asker} has unmasked {} times in the last hour, which is the limit",
                self.rules.per_hour
            );
            let minutes = wait.as_secs().div_ceil(60);
            let remedy = format!(
                "wait for {minutes} minutes; unmask_per_hour in [roles] of the configuration sets the limit"
            );
            refusal(RefusalKind::Exhausted, what, remedy)
        })
    }

    fn waiting(&self, id: u64) -> Result<&WaitingView, Refusal> {
        self.waiting.get(&id).ok_or_else(|| no_request(id))
    }
}

fn check_reason(reason: &str) -> Result<(), Refusal> {
    let length = reason.chars().count();
    let what = if !REASON.contains(&length) || reason.contains(char::is_control) {
        format!("the reason is no text of {} to {} characters on one line", REASON.start(), REASON.end())
    } else if holds_number(reason) {
        "there is a phone number in the reason, and the audit log keeps it for long".to_owned()
    } else {
        return Ok(());
    };
    Err(refusal(RefusalKind::Invalid, what, "say why, such as --reason 'complaint 4711, court order'"))
}

fn unknown(of: &Subject) -> Refusal {
    let (what, remedy) = match of {
        Subject::Session(session) => (
            format!("{session} is no call of a binding that there is a record of"),
            "look for it with `vizard calls` or `vizard cdr list`; emergency calls have no binding",
        ),
        Subject::Binding(binding) => (
            format!("there is no binding {binding}"),
            "it may be forgotten, and its parties with it; see `vizard bind list --all`",
        ),
    };
    refusal(RefusalKind::NotFound, what, remedy)
}

fn no_request(id: u64) -> Refusal {
    let remedy = "list them with `vizard unmask list`; it may have expired, or ended with a restart";
    refusal(RefusalKind::NotFound, format!("no request {id} waits"), remedy)
}

fn refusal(kind: RefusalKind, what: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal { kind, what: what.into(), remedy: remedy.into() }
}
