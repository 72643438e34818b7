//! Which bindings a list shows.
//!
//! A page looks at a bounded number of records and says where to go on, so that no
//! filter holds up the calls.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::binding_requests::rows;
use super::bindings::{BindingIx, Record, Stage};
use super::model::BindingState::{Entombed, Live};
use super::{BindingId, BindingKind, Directory};
use crate::engine::admin::BindingView;
use crate::engine::number::ProxyNumber;

/// Records that one page looks at.
const LOOKED_AT: usize = 20_000;

/// Which bindings are wanted; all that live by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BindFilter {
    /// In this state.
    pub state: Shown,
    /// With this key.
    pub key: Option<String>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this project.
    pub project: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Of this kind.
    pub kind: Option<BindingKind>,
    /// Where a party has this number.
    pub proxy: Option<ProxyNumber>,
    /// Made longer ago.
    pub older_than: Option<Duration>,
    /// Made since.
    pub newer_than: Option<Duration>,
}

/// Bindings in which states are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// Those that live.
    #[default]
    Live,
    /// Tombstones.
    Entombed,
    /// Both.
    All,
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindPage {
    /// In the order of their ids.
    pub bindings: Vec<BindingView>,
    /// Where to go on; absent at the end.
    pub next: Option<BindingId>,
}

impl Directory {
    pub(super) fn bind_list(&self, filter: &BindFilter, after: Option<BindingId>, limit: usize) -> BindPage {
        let mut page = BindPage::default();
        if let Some(key) = &filter.key {
            let keyed = self.bindings.keyed(key).into_iter();
            self.fill(
                &mut page,
                filter,
                limit,
                keyed.filter(|(_, record)| after.is_none_or(|id| record.id > id)),
            );
        } else {
            self.fill(&mut page, filter, limit, self.bindings.after(after));
        }
        page
    }

    fn fill<'a>(
        &self,
        page: &mut BindPage,
        filter: &BindFilter,
        limit: usize,
        records: impl Iterator<Item = (BindingIx, &'a Record)>,
    ) {
        for (looked_at, (_, record)) in records.enumerate() {
            if self.is_wanted(record, filter) {
                page.bindings.push(self.view(record));
            }
            if page.bindings.len() == rows(limit) || looked_at + 1 == LOOKED_AT {
                page.next = Some(record.id);
                break;
            }
        }
    }

    fn is_wanted(&self, record: &Record, filter: &BindFilter) -> bool {
        let BindFilter { state, key: _, tenant, project, tag, kind, proxy, older_than, newer_than } = filter;
        let (of_tenant, of_project) = self.bindings.owner(record.owner);
        let in_state = match (state, record.state) {
            (Shown::All, _) | (Shown::Live, Live { .. }) | (Shown::Entombed, Entombed { .. }) => true,
            (Shown::Live, Entombed { .. }) | (Shown::Entombed, Live { .. }) => false,
        };
        let age = self.clock.wall.saturating_since(record.created);
        let has = |proxy: &ProxyNumber| {
            record.sides().iter().any(|side| self.numbers.get(side.number).number == *proxy)
        };
        record.stage != Stage::Reserved
            && in_state
            && tenant.as_deref().is_none_or(|tenant| tenant == of_tenant)
            && project.as_deref().is_none_or(|project| project == of_project)
            && kind.is_none_or(|kind| kind == record.kind)
            && tag.as_ref().is_none_or(|tag| record.tags().contains(tag))
            && proxy.as_ref().is_none_or(has)
            && older_than.is_none_or(|least| age >= least)
            && newer_than.is_none_or(|most| age < most)
    }
}
