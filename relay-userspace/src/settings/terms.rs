//! `[bindings]`, `[tenant.NAME]` and `[callbacks]`: how long bindings live, for
//! whom, and who answers when they do not.
//!
//! What a tenant says of a kind counts before what it says of all kinds, that
//! before what `[bindings]` says, and the built-in last.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cross;
use super::problem::Report;
use super::reader::{Item, Located, Section};
use super::sections::{self, DAY, DECADE, YEAR};
use crate::engine::callback::{OnTombstone, Services, Target};
use crate::engine::config::{Bindings, Life};
use crate::engine::directory::{BindingKind, Direction, Mode, Prompt, Recording, Ring, Usage, UsageWish};
use crate::engine::sip::uri::{Scheme, Uri};

const ON_TOMBSTONE: [(&str, OnTombstone); 4] = [
    ("connect", OnTombstone::Connect),
    ("reopen", OnTombstone::Reopen),
    ("ivr", OnTombstone::Ivr),
    ("announcement", OnTombstone::Announcement),
];

pub(super) fn bindings(mut section: Section<'_>, tenants: &Section<'_>, report: &mut Report<'_>) -> Bindings {
    let cool_off = section.get("cool_off").and_then(|item| item.duration(Duration::ZERO..=YEAR, report));
    let (usual, own) = Terms::read_all(section, report);
    let kinds = BindingKind::ALL.map(|kind| own[kind as usize].or(usual).over(built_in(kind)));
    let tenants = tenants
        .entries()
        .into_iter()
        .filter_map(|(name, item)| {
            let (usual, own) = Terms::read_all(item.section(report)?, report);
            let life = |kind: BindingKind| own[kind as usize].or(usual).over(kinds[kind as usize]);
            Some((name.value.to_owned(), BindingKind::ALL.map(life)))
        })
        .collect::<BTreeMap<_, _>>();
    Bindings {
        usual: usual.over(built_in(BindingKind::Session)),
        kinds: kinds.map(Some),
        tenants,
        cool_off: cool_off.unwrap_or(7 * DAY),
    }
}

/// What one table says; nothing of what it leaves out.
#[derive(Clone, Copy, Default)]
struct Terms {
    time_to_live: Option<Duration>,
    callback_window: Option<Duration>,
    on_tombstone: Option<OnTombstone>,
    usage: UsageWish,
}

impl Terms {
    /// What a table says of all kinds, and of each.
    fn read_all(mut section: Section<'_>, report: &mut Report<'_>) -> (Self, [Self; 4]) {
        let usual = Self::read(&mut section, report);
        let own = BindingKind::ALL.map(|kind| {
            let mut of_kind = section.section(kind.as_str(), report);
            let terms = Self::read(&mut of_kind, report);
            of_kind.finish(report);
            terms
        });
        section.finish(report);
        (usual, own)
    }

    fn read(section: &mut Section<'_>, report: &mut Report<'_>) -> Self {
        let mut time = |key, least| section.get(key).and_then(|item| item.duration(least..=DECADE, report));
        Self {
            time_to_live: time("time_to_live", Duration::from_secs(1)),
            callback_window: time("callback_window", Duration::ZERO),
            on_tombstone: section.get("on_tombstone").and_then(|item| item.choice(&ON_TOMBSTONE, report)),
            usage: usage(section, report),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            time_to_live: self.time_to_live.or(other.time_to_live),
            callback_window: self.callback_window.or(other.callback_window),
            on_tombstone: self.on_tombstone.or(other.on_tombstone),
            usage: self.usage.or(other.usage),
        }
    }

    fn over(self, life: Life) -> Life {
        Life {
            time_to_live: self.time_to_live.unwrap_or(life.time_to_live),
            callback_window: self.callback_window.unwrap_or(life.callback_window),
            on_tombstone: self.on_tombstone.unwrap_or(life.on_tombstone),
            usage: self.usage.over(life.usage),
        }
    }
}

/// A session is one conversation; a case and a customer last until somebody says
/// that they are over, and a callback opens a case again; a caller of an agent is
/// remembered for a while.
fn built_in(kind: BindingKind) -> Life {
    const DAYS: Duration = Duration::from_hours(72);
    let year = 365 * DAY;
    let late = OnTombstone::default();
    let (time_to_live, callback_window, on_tombstone) = match kind {
        BindingKind::Session => (Duration::from_hours(1), Duration::from_mins(30), late),
        BindingKind::Case => (year, DAYS, OnTombstone::Reopen),
        BindingKind::Customer => (year, DAYS, late),
        BindingKind::Agent => (30 * DAY, DAYS, late),
    };
    Life { time_to_live, callback_window, on_tombstone, usage: Usage::default() }
}

fn usage(section: &mut Section<'_>, report: &mut Report<'_>) -> UsageWish {
    let mut time =
        |key| section.get(key).and_then(|item| item.duration(Duration::from_secs(1)..=DECADE, report));
    let (max_call, idle) = (time("max_call"), time("idle"));
    let max_calls = section.get("max_calls").and_then(|item| item.integer(1..=1_000_000, report));
    UsageWish {
        mode: section.get("mode").and_then(|item| item.choice(Mode::WORDS, report)),
        direction: section.get("direction").and_then(|item| item.choice(Direction::WORDS, report)),
        max_call,
        max_calls: max_calls.and_then(|calls| u32::try_from(calls).ok()),
        idle,
        recording: section.get("recording").and_then(|item| item.choice(Recording::WORDS, report)),
        prompt: section.get("prompt").and_then(|item| item.choice(Prompt::WORDS, report)),
        ring: section.get("ring").and_then(|item| item.choice(Ring::WORDS, report)),
    }
}

/// `[callbacks]`.
pub(super) struct ServicesDraft {
    ivr: Option<TargetDraft>,
    announcement: Option<TargetDraft>,
}

struct TargetDraft {
    trunk: Located<String>,
    uri: Uri,
}

pub(super) fn services(mut section: Section<'_>, report: &mut Report<'_>) -> ServicesDraft {
    let draft = ServicesDraft {
        ivr: section.get("ivr").and_then(|item| target(&item, report)),
        announcement: section.get("announcement").and_then(|item| target(&item, report)),
    };
    section.finish(report);
    draft
}

/// `{ trunk = "pbx", uri = "sip:callback@203.0.113.20" }`.
fn target(item: &Item<'_>, report: &mut Report<'_>) -> Option<TargetDraft> {
    let remedy = "write it as in { trunk = \"pbx\", uri = \"sip:callback@203.0.113.20\" }";
    let mut section = item.section(report)?;
    let trunk = sections::trunk_name(section.require("trunk", report, remedy), report);
    let uri = section.require("uri", report, remedy).and_then(|item| {
        let text = item.text(report)?;
        let uri = Uri::parse(text).ok().filter(|uri| uri.scheme() == Scheme::Sip && uri.headers().is_none());
        if uri.is_none() {
            report.error(&item.at, &item.path, "this is not a SIP URI that can be called", remedy);
        }
        uri
    });
    section.finish(report);
    Some(TargetDraft { trunk: trunk?, uri: uri? })
}

impl ServicesDraft {
    /// With trunks instead of their names.
    pub(super) fn resolve(self, names: &[&str], report: &mut Report<'_>) -> Services {
        let mut resolved = |draft: Option<TargetDraft>| {
            let TargetDraft { trunk, uri } = draft?;
            Some(Target { trunk: cross::trunk_id(&trunk, names, report)?, uri })
        };
        Services { ivr: resolved(self.ivr), announcement: resolved(self.announcement) }
    }
}
