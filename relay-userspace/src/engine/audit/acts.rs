//! What is noted of a request before it is done.

use std::fmt::Display;
use std::net::IpAddr;

use ipnet::IpNet;

use super::entry::Act;
use crate::engine::admin::AdminRequest;
use crate::engine::directory::{AgentRequest, PoolRequest};
use crate::engine::guard::{GuardAction, GuardRequest};
use crate::engine::ids::PartyId;
use crate::engine::number::Typed;
use crate::engine::unmask::UnmaskRequest;

/// Digits in a row that no date and few tickets have, and phone numbers do.
const PHONE_DIGITS: usize = 9;
/// The same with the separators that phone numbers are written with.
const SPREAD_DIGITS: usize = 10;
/// What is said of a request about no number.
const NO_NUMBER: &str = "no number";
/// Characters of a reason that is noted.
const MAX_REASON: usize = 200;

/// What an entry says of an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) act: Act,
    pub(crate) on: String,
    pub(crate) reason: String,
}

impl Note {
    pub(crate) fn new(act: Act, on: impl Display) -> Self {
        Self { act, on: on.to_string(), reason: String::new() }
    }

    /// With a reason, of which only what cannot name a party is kept.
    pub(crate) fn because(self, reason: &str) -> Self {
        Self { reason: plain(reason), ..self }
    }
}

/// The note of a request that changes something or shows what is secret; none of
/// one that only looks, or is a platform's daily work. Whom it is about is said by
/// the `pseudonyms` that tenants know them by.
pub(crate) fn noted(request: &AdminRequest, pseudonyms: impl FnOnce(&Typed) -> Vec<PartyId>) -> Option<Note> {
    match request {
        AdminRequest::Pool(request) => pool(request),
        AdminRequest::Guard(request) => guard(request),
        AdminRequest::Agent(AgentRequest::Open(agent)) => Some(Note::new(Act::AgentOpen, plain(&agent.key))),
        AdminRequest::Agent(AgentRequest::Close { number }) => Some(Note::new(Act::AgentClose, number)),
        AdminRequest::BindExtend { id, .. } => Some(Note::new(Act::BindExtend, id)),
        AdminRequest::BindReopen { id, .. } => Some(Note::new(Act::BindReopen, id)),
        AdminRequest::BindHandover { id, .. } => Some(Note::new(Act::BindHandover, id)),
        AdminRequest::BindClose { id } => Some(Note::new(Act::BindClose, id)),
        AdminRequest::CallHangup { session } => Some(Note::new(Act::CallHangup, session)),
        AdminRequest::Capture { session, masked } => {
            Some(Note::new(if *masked { Act::Capture } else { Act::CaptureUnmasked }, session))
        }
        // What is noted of one that may be asked is for `unmask` to say.
        AdminRequest::Unmask(request) => unmask(request),
        AdminRequest::Drain { on } => {
            Some(Note::new(if *on { Act::DrainOn } else { Act::DrainOff }, "calls"))
        }
        AdminRequest::VaultRotate => Some(Note::new(Act::VaultRotate, "keys")),
        AdminRequest::Backup => Some(Note::new(Act::Backup, "store")),
        AdminRequest::PrivacyShow { person, .. } => {
            Some(Note::new(Act::PrivacyExport, these(pseudonyms(person).into_iter(), "nobody known")))
        }
        AdminRequest::PrivacyErase { person } => {
            Some(Note::new(Act::PrivacyErase, these(pseudonyms(person).into_iter(), "nobody known")))
        }
        AdminRequest::Retain { drop: true } => Some(Note::new(Act::PrivacyRetain, "records")),
        AdminRequest::Retain { drop: false }
        | AdminRequest::Agent(AgentRequest::List { .. })
        | AdminRequest::BindCreate(_)
        | AdminRequest::BindList { .. }
        | AdminRequest::BindShow { .. }
        | AdminRequest::Resolve { .. }
        | AdminRequest::Trunks
        | AdminRequest::CallsList
        | AdminRequest::CallShow { .. }
        | AdminRequest::Vault
        | AdminRequest::Counters => None,
    }
}

fn pool(request: &PoolRequest) -> Option<Note> {
    match request {
        PoolRequest::Add { numbers } => {
            Some(Note::new(Act::PoolAdd, these(numbers.iter().map(|number| number.number), NO_NUMBER)))
        }
        PoolRequest::Remove { numbers } => Some(Note::new(Act::PoolRemove, these(numbers.iter(), NO_NUMBER))),
        PoolRequest::SetState { numbers, to } => {
            let numbers = these(numbers.iter(), NO_NUMBER);
            Some(Note::new(Act::PoolSetState, format!("{}: {numbers}", to.as_str())))
        }
        PoolRequest::ImportEnd { import, keep: true } => {
            Some(Note::new(Act::PoolImport, format!("import {import}")))
        }
        PoolRequest::ImportEnd { keep: false, .. }
        | PoolRequest::ImportBegin { .. }
        | PoolRequest::ImportLines { .. }
        | PoolRequest::List { .. }
        | PoolRequest::Show { .. }
        | PoolRequest::Stats { .. }
        | PoolRequest::Plan => None,
    }
}

fn unmask(request: &UnmaskRequest) -> Option<Note> {
    let request_no = |act, id: &u64| Some(Note::new(act, format!("request {id}")));
    match request {
        UnmaskRequest::Show { of, reason, .. } => Some(Note::new(Act::Unmask, of).because(reason)),
        UnmaskRequest::Fetch { id } => request_no(Act::Unmask, id),
        UnmaskRequest::Approve { id } => request_no(Act::UnmaskApprove, id),
        UnmaskRequest::Reject { id } => request_no(Act::UnmaskReject, id),
        UnmaskRequest::List => None,
    }
}

fn guard(request: &GuardRequest) -> Option<Note> {
    match request {
        GuardRequest::Put { net, action, reason, .. } => {
            let act = match action {
                GuardAction::Allow => Act::GuardAllow,
                GuardAction::Deny => Act::GuardDeny,
            };
            Some(Note::new(act, net).because(reason))
        }
        GuardRequest::Remove { net } => Some(Note::new(Act::GuardRemove, net)),
        GuardRequest::List | GuardRequest::Status => None,
    }
}

/// `+14155550100`, or `+14155550100 and 11 more`.
fn these(mut all: impl Iterator<Item = impl Display>, none: &str) -> String {
    match (all.next(), all.count()) {
        (None, _) => none.to_owned(),
        (Some(first), 0) => first.to_string(),
        (Some(first), more) => format!("{first} and {more} more"),
    }
}

/// A reason on one line, of bounded length, without anything that looks like a
/// phone number: the log outlives what is known of a person.
pub(crate) fn plain(reason: &str) -> String {
    if holds_number(reason) {
        return "(withheld: there is a phone number in it)".to_owned();
    }
    let line = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(MAX_REASON).collect::<String>().trim().to_owned()
}

/// Whether a text has something in it that looks like a phone number, however it
/// is spaced. Network addresses, and dates as `2026-11-25 14:30`, do not.
pub(crate) fn holds_number(text: &str) -> bool {
    let is_network = |word: &&str| word.parse::<IpAddr>().is_ok() || word.parse::<IpNet>().is_ok();
    let words: Vec<&str> = text.split_whitespace().filter(|word| !is_network(word)).collect();
    let words = words.join(" ");
    let runs = words.split(|c: char| !c.is_numeric() && !"+-. ()/".contains(c));
    runs.into_iter().any(|run| {
        let groups = run.split(|c: char| !c.is_numeric()).map(|group| group.chars().count());
        let groups: Vec<usize> = groups.filter(|&digits| digits > 0).collect();
        let is_date = matches!(groups.as_slice(), [4, rest @ ..] if rest.iter().all(|&digits| digits == 2));
        let spread: usize = groups.iter().sum();
        groups.iter().any(|&digits| digits >= PHONE_DIGITS) || (spread >= SPREAD_DIGITS && !is_date)
    })
}
