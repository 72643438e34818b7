//! Users and groups by name, as /etc/passwd and /etc/group have them. Accounts
//! of other sources (LDAP and the like) go by number.

use std::fs;
use std::io::{self, ErrorKind};

/// A number, or a name of /etc/group.
pub(crate) fn group_id(group: &str) -> io::Result<u32> {
    id_of("/etc/group", "group", group)
}

/// A number, or a name of /etc/passwd.
pub(crate) fn user_id(user: &str) -> io::Result<u32> {
    id_of("/etc/passwd", "user", user)
}

/// The name of a user, where /etc/passwd has one.
pub(crate) fn user_name(user: u32) -> Option<String> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let named = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| name.to_owned())
    };
    users.lines().find_map(named)
}

fn id_of(file: &str, sort: &str, account: &str) -> io::Result<u32> {
    if let Ok(id) = account.parse() {
        return Ok(id);
    }
    let accounts = fs::read_to_string(file)?;
    let id = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(account)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    id.ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("there is no {sort} '{account}' in {file}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_go_by_name_or_number() {
        assert_eq!((group_id("root").unwrap(), user_id("root").unwrap()), (0, 0));
        assert_eq!(group_id("4711").unwrap(), 4711);
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_name(u32::MAX - 7), None);
        let error = group_id("no-such-group").unwrap_err().to_string();
        assert!(error.contains("no-such-group"), "{error}");
    }
}
