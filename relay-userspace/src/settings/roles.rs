//! `[roles]`: who may ask for what, and how real numbers are unmasked.

use std::collections::BTreeMap;
use std::time::Duration;

use super::problem::Report;
use super::reader::Section;
use super::sections;
use crate::engine::config::Unmask;
use crate::engine::privacy::Role;

/// Accounts that one role may have.
const MOST: usize = 256;

/// Who has which role, and the rules of unmasking.
pub(super) fn roles(
    mut section: Section<'_>,
    report: &mut Report<'_>,
) -> (BTreeMap<Role, Vec<String>>, Unmask) {
    let remedy = "name users of this host, and groups behind @, such as [\"mara\", \"@noc\", \"1001\"]";
    let mut roles = BTreeMap::new();
    for role in Role::ALL {
        let Some(item) = section.get(role.as_str()) else { continue };
        let mut accounts = Vec::new();
        let items = item.list(report);
        if items.len() > MOST {
            report.error(
                &item.at,
                &item.path,
                format!("there are more than {MOST} accounts"),
                "name a group",
            );
        }
        for account in items {
            let Some(text) = account.text(report) else { continue };
            let name = text.strip_prefix('@').unwrap_or(text);
            let plain = |c: char| !c.is_whitespace() && !c.is_control() && !":@,".contains(c);
            if name.is_empty() || !name.chars().all(plain) {
                report.error(&account.at, &account.path, "this is no user and no group", remedy);
            } else {
                accounts.push(text.to_owned());
            }
        }
        roles.insert(role, accounts);
    }
    let usual = Unmask::default();
    let window = Duration::from_mins(1)..=Duration::from_hours(7 * 24);
    let approve_within = section.get("approve_within").and_then(|item| item.duration(window, report));
    let unmask = Unmask {
        two_person: section
            .get("two_person")
            .and_then(|item| item.boolean(report))
            .unwrap_or(usual.two_person),
        per_hour: sections::integer(&mut section, "unmask_per_hour", usual.per_hour, 0..=500, report),
        approve_within: approve_within.unwrap_or(usual.approve_within),
    };
    section.finish(report);
    (roles, unmask)
}
