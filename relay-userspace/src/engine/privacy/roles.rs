//! Who somebody is to this Vizard, and therefore what they may ask for.
//!
//! A role is a job, not a rank: `noc` keeps calls running, `billing` sees what
//! they cost, `qa` listens into how they sounded, `privacy` answers for what is
//! known of a person, and `admin` may do all of it. Which user has which is the
//! configuration's business, what each may ask for is the API's.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Keeps calls running.
    Noc,
    /// Sees what calls cost.
    Billing,
    /// Judges how calls went.
    Qa,
    /// Answers for what is known of a person.
    Privacy,
    /// May do everything.
    Admin,
}

impl Role {
    /// Every role, the narrowest first.
    pub const ALL: [Self; 5] = [Self::Noc, Self::Billing, Self::Qa, Self::Privacy, Self::Admin];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Noc => "noc",
            Self::Billing => "billing",
            Self::Qa => "qa",
            Self::Privacy => "privacy",
            Self::Admin => "admin",
        }
    }

    /// The role that has this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Some of the roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// These.
    #[must_use]
    pub const fn of(roles: &[Role]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < roles.len() {
            bits |= 1 << roles[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// With one more.
    #[must_use]
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | 1 << role as u8)
    }

    /// Whether a role is one of them.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// All of them, the narrowest first.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |&role| self.has(role))
    }

    /// The narrowest role that is in both.
    #[must_use]
    pub fn narrowest_of(self, other: Self) -> Option<Role> {
        self.iter().find(|&role| other.has(role))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.iter().map(Role::as_str).collect();
        f.write_str(&words.join(", "))
    }
}

/// Whoever asks for something over the local socket, by the kernel's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// The Unix user's id.
    pub user: u32,
    /// The user's name at that moment, where the system has one.
    pub name: Option<String>,
    /// The role that lets them ask; none does where they were refused.
    pub role: Option<Role>,
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} (user {})", self.user),
            None => write!(f, "user {}", self.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_into_it() {
        for role in Role::ALL {
            assert_eq!(Role::named(role.as_str()), Some(role));
            let alone = Roles::of(&[role]);
            assert!(Role::ALL.into_iter().all(|other| alone.has(other) == (other == role)));
            assert_eq!(Roles::default().with(role), alone);
        }
        let both = Roles::of(&[Role::Admin, Role::Qa]);
        assert_eq!(both.to_string(), "qa, admin");
        assert_eq!(both.narrowest_of(Roles::of(&Role::ALL)), Some(Role::Qa));
        assert_eq!(both.narrowest_of(Roles::of(&[Role::Noc])), None);
        assert_eq!(Role::named("root"), None);
    }
}
