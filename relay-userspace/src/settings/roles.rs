//! `[roles]`: who may ask for what.

use std::collections::BTreeMap;

use super::problem::Report;
use super::reader::Section;
use crate::engine::privacy::Role;

/// Accounts that one role may have.
const MOST: usize = 256;

pub(super) fn roles(mut section: Section<'_>, report: &mut Report<'_>) -> BTreeMap<Role, Vec<String>> {
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
    section.finish(report);
    roles
}
