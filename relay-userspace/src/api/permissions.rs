//! Which roles may ask for what: one table, in which every request stands.
//!
//! Whoever reaches the socket is a Unix user with groups, by the kernel's word;
//! the configuration says which roles these have. Without one nothing is
//! answered but the greeting.

use std::collections::BTreeMap;
use std::io;

use super::accounts::{group_id, user_id, user_name};
use super::local::{CaptureRequest, Request};
use super::server::Peer;
use crate::engine::admin::{AdminRequest, Refusal, RefusalKind};
use crate::engine::directory::{AgentRequest, PoolRequest};
use crate::engine::guard::GuardRequest;
use crate::engine::privacy::{Asker, Role, Roles};

const EVERYBODY: Roles = Roles::of(&Role::ALL);
const OPERATORS: Roles = Roles::of(&[Role::Noc, Role::Admin]);
const WATCHERS: Roles = Roles::of(&[Role::Noc, Role::Qa, Role::Admin]);
const KEEPERS: Roles = Roles::of(&[Role::Privacy, Role::Admin]);
const ADMINS: Roles = Roles::of(&[Role::Admin]);

/// What it takes to ask for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needed {
    /// One of these roles.
    pub(crate) roles: Roles,
    /// What is asked for, after "may not".
    pub(crate) to: &'static str,
}

const fn takes(roles: Roles, to: &'static str) -> Needed {
    Needed { roles, to }
}

/// What it takes to ask for this.
pub(crate) const fn needed(request: &Request) -> Needed {
    match request {
        Request::Status => takes(EVERYBODY, "see how the daemon is"),
        Request::CdrList(_) => takes(EVERYBODY, "read call detail records"),
        Request::AuditList(_) => takes(KEEPERS, "read the audit log"),
        Request::AuditVerify => takes(KEEPERS, "verify the audit log"),
        Request::CdrCount(_) => takes(EVERYBODY, "count call detail records"),
        Request::Backup => takes(ADMINS, "copy the store"),
        Request::VaultStatus => takes(KEEPERS, "see the vault's keys"),
        Request::Capture(CaptureRequest { unmasked, .. }) => capture(!*unmasked),
        Request::Admin(request) => of_engine(request),
    }
}

const fn of_engine(request: &AdminRequest) -> Needed {
    match request {
        AdminRequest::Pool(request) => pool(request),
        AdminRequest::Guard(request) => guard(request),
        AdminRequest::Agent(request) => agent(request),
        AdminRequest::BindCreate(_) => takes(OPERATORS, "create bindings"),
        AdminRequest::BindList { .. } | AdminRequest::BindShow { .. } => {
            takes(Roles::of(&[Role::Noc, Role::Qa, Role::Privacy, Role::Admin]), "see bindings")
        }
        AdminRequest::BindExtend { .. }
        | AdminRequest::BindReopen { .. }
        | AdminRequest::BindHandover { .. }
        | AdminRequest::BindClose { .. } => takes(OPERATORS, "change bindings"),
        AdminRequest::Resolve { .. } => {
            takes(Roles::of(&[Role::Noc, Role::Privacy, Role::Admin]), "look a caller up")
        }
        AdminRequest::CallsList | AdminRequest::CallShow { .. } => takes(WATCHERS, "see calls"),
        AdminRequest::Trunks => takes(OPERATORS, "see trunks"),
        AdminRequest::CallHangup { .. } => takes(OPERATORS, "hang up calls"),
        AdminRequest::Capture { masked, .. } => capture(*masked),
        AdminRequest::Drain { .. } => takes(OPERATORS, "drain the relay"),
        AdminRequest::Counters => takes(EVERYBODY, "see counters"),
        AdminRequest::Unmask(_) => takes(KEEPERS, "see real numbers"),
        AdminRequest::Vault => takes(KEEPERS, "see the vault's keys"),
        AdminRequest::VaultRotate => takes(KEEPERS, "rotate the vault's keys"),
        AdminRequest::Backup => takes(ADMINS, "copy the store"),
        AdminRequest::Retain { .. } => takes(KEEPERS, "see or run the rules of retention"),
        AdminRequest::PrivacyShow { .. } => takes(KEEPERS, "see what is held about a person"),
        AdminRequest::PrivacyErase { .. } => takes(KEEPERS, "erase a person"),
    }
}

const fn capture(masked: bool) -> Needed {
    if masked { takes(WATCHERS, "capture packets") } else { takes(KEEPERS, "see real addresses in captures") }
}

const fn pool(request: &PoolRequest) -> Needed {
    match request {
        PoolRequest::List { .. }
        | PoolRequest::Show { .. }
        | PoolRequest::Stats { .. }
        | PoolRequest::Plan => takes(Roles::of(&[Role::Noc, Role::Billing, Role::Admin]), "see the pool"),
        PoolRequest::SetState { .. } => takes(OPERATORS, "change the state of numbers"),
        PoolRequest::Add { .. }
        | PoolRequest::Remove { .. }
        | PoolRequest::ImportBegin { .. }
        | PoolRequest::ImportLines { .. }
        | PoolRequest::ImportEnd { .. } => takes(ADMINS, "add numbers to the pool or remove them"),
    }
}

const fn agent(request: &AgentRequest) -> Needed {
    match request {
        AgentRequest::List { .. } => {
            takes(Roles::of(&[Role::Noc, Role::Qa, Role::Privacy, Role::Admin]), "see agents' numbers")
        }
        AgentRequest::Open(_) | AgentRequest::Close { .. } => takes(OPERATORS, "change agents' numbers"),
    }
}

const fn guard(request: &GuardRequest) -> Needed {
    match request {
        GuardRequest::List | GuardRequest::Status => takes(OPERATORS, "see the guard's rules"),
        GuardRequest::Put { .. } | GuardRequest::Remove { .. } => {
            takes(OPERATORS, "change the guard's rules")
        }
    }
}

/// Who has which roles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    users: BTreeMap<u32, Roles>,
    groups: BTreeMap<u32, Roles>,
}

impl Members {
    /// Of names as the configuration has them, `@` before groups. root and the
    /// user who runs Vizard can read its memory and its keys, so they are admins
    /// whatever it says.
    pub(crate) fn resolve(names: &BTreeMap<Role, Vec<String>>) -> io::Result<Self> {
        let mut members = Self::default();
        for (&role, accounts) in names {
            for account in accounts {
                let (map, id) = match account.strip_prefix('@') {
                    Some(group) => (&mut members.groups, group_id(group)?),
                    None => (&mut members.users, user_id(account)?),
                };
                let roles = map.entry(id).or_default();
                *roles = roles.with(role);
            }
        }
        for user in [0, rustix::process::geteuid().as_raw()] {
            let roles = members.users.entry(user).or_default();
            *roles = roles.with(Role::Admin);
        }
        Ok(members)
    }

    /// The roles of a user who is in these groups.
    pub(crate) fn roles(&self, user: u32, is_in: impl Fn(u32) -> bool) -> Roles {
        let own = self.users.get(&user).copied().unwrap_or_default();
        let groups = self.groups.iter().filter(|(group, _)| is_in(**group));
        groups.fold(own, |all, (_, roles)| roles.iter().fold(all, Roles::with))
    }
}

/// Somebody at the socket.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    user: u32,
    name: Option<String>,
    roles: Roles,
}

impl Caller {
    pub(crate) fn new(peer: Peer, roles: Roles) -> Self {
        Self { user: peer.user, name: user_name(peer.user), roles }
    }

    /// Who asks, in the narrowest role that may ask for this; refused when none
    /// may.
    pub(crate) fn asks(&self, request: &Request) -> Result<Asker, Refusal> {
        let needed = needed(request);
        let role = self.roles.narrowest_of(needed.roles);
        role.map(|role| self.asker(Some(role))).ok_or_else(|| self.refusal(needed))
    }

    /// Who asks without a role that lets them.
    pub(crate) fn asker(&self, role: Option<Role>) -> Asker {
        Asker { user: self.user, name: self.name.clone(), role }
    }

    fn refusal(&self, needed: Needed) -> Refusal {
        let has = if self.roles == Roles::default() {
            "has no role here".to_owned()
        } else {
            format!("has the roles {}", self.roles)
        };
        Refusal {
            kind: RefusalKind::Forbidden,
            what: format!(
                "{} may not {}: that takes one of the roles {}, and this user {has}",
                self.asker(None),
                needed.to,
                needed.roles
            ),
            remedy: format!(
                "have an admin name this user, or \"@\" and a group, under `{}` in [roles] of the configuration, \
                 and restart vizard",
                needed.roles.iter().next().map_or("admin", Role::as_str)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::admin::{NewBinding, NumberWish};
    use crate::engine::directory::{BindFilter, BindingKind, NumberState, PoolFilter, UsageWish};
    use crate::engine::guard::GuardAction;
    use crate::engine::ids::{BindingId, SessionId};
    use crate::engine::number::{ProxyNumber, Typed};
    use crate::engine::time::Timestamp;
    use crate::engine::unmask::{Subject, UnmaskRequest};
    use crate::store::{AuditQuery, CdrQuery};

    /// Every request, and the roles that may ask for it: noc, billing, qa, privacy,
    /// admin.
    fn table() -> Vec<(Request, &'static str)> {
        let (id, session) = (BindingId::from_bits(1), SessionId::from_bits(1));
        let number: ProxyNumber = "+12125550123".parse().unwrap();
        let net = "203.0.113.0/24".parse().unwrap();
        let binding = NewBinding {
            tenant: String::new(),
            project: String::new(),
            kind: BindingKind::Case,
            key: String::new(),
            customer: Typed(String::new()),
            agent: Typed(String::new()),
            time_to_live: None,
            numbers: NumberWish::default(),
            encryption: None,
            also: [Vec::new(), Vec::new()],
            one_number: false,
            usage: UsageWish::default(),
            tags: Vec::new(),
        };
        let put = GuardRequest::Put {
            net,
            action: GuardAction::Deny,
            lasting: None,
            reason: String::new(),
            force: false,
        };
        let admin = Request::Admin;
        let pool = |request| admin(AdminRequest::Pool(request));
        let guard = |request| admin(AdminRequest::Guard(request));
        let unmask = |request| admin(AdminRequest::Unmask(request));
        let capture = |unmasked| Request::Capture(CaptureRequest { session, unmasked });
        vec![
            (Request::Status, "nbqpa"),
            (Request::CdrList(CdrQuery::default()), "nbqpa"),
            (Request::AuditList(AuditQuery::default()), "---pa"),
            (Request::AuditVerify, "---pa"),
            (Request::CdrCount(Timestamp::default()), "nbqpa"),
            (Request::Backup, "----a"),
            (admin(AdminRequest::Backup), "----a"),
            (admin(AdminRequest::VaultRotate), "---pa"),
            (admin(AdminRequest::Retain { drop: false }), "---pa"),
            (admin(AdminRequest::PrivacyShow { person: Typed(String::new()), after: None }), "---pa"),
            (admin(AdminRequest::PrivacyErase { person: Typed(String::new()) }), "---pa"),
            (Request::VaultStatus, "---pa"),
            (admin(AdminRequest::Vault), "---pa"),
            (capture(false), "n-q-a"),
            (capture(true), "---pa"),
            (admin(AdminRequest::Capture { session, masked: true }), "n-q-a"),
            (admin(AdminRequest::Capture { session, masked: false }), "---pa"),
            (admin(AdminRequest::BindCreate(binding)), "n---a"),
            (admin(AdminRequest::BindList { filter: BindFilter::default(), after: None, limit: 1 }), "n-qpa"),
            (admin(AdminRequest::BindShow { id }), "n-qpa"),
            (admin(AdminRequest::BindExtend { id, time_to_live: None }), "n---a"),
            (admin(AdminRequest::BindReopen { id, time_to_live: None }), "n---a"),
            (admin(AdminRequest::BindClose { id }), "n---a"),
            (admin(AdminRequest::Resolve { caller: Typed(String::new()), proxy: number, at: None }), "n--pa"),
            (admin(AdminRequest::Trunks), "n---a"),
            (admin(AdminRequest::CallsList), "n-q-a"),
            (admin(AdminRequest::CallShow { session }), "n-q-a"),
            (admin(AdminRequest::CallHangup { session }), "n---a"),
            (admin(AdminRequest::Drain { on: true }), "n---a"),
            (admin(AdminRequest::Counters), "nbqpa"),
            (unmask(UnmaskRequest::List), "---pa"),
            (
                unmask(UnmaskRequest::Show {
                    of: Subject::Binding(id),
                    reason: String::new(),
                    recorded: None,
                }),
                "---pa",
            ),
            (unmask(UnmaskRequest::Approve { id: 1 }), "---pa"),
            (unmask(UnmaskRequest::Reject { id: 1 }), "---pa"),
            (unmask(UnmaskRequest::Fetch { id: 1 }), "---pa"),
            (guard(GuardRequest::List), "n---a"),
            (guard(GuardRequest::Status), "n---a"),
            (guard(put), "n---a"),
            (guard(GuardRequest::Remove { net }), "n---a"),
            (pool(PoolRequest::Add { numbers: Vec::new() }), "----a"),
            (pool(PoolRequest::List { filter: PoolFilter::default(), after: None, limit: 1 }), "nb--a"),
            (pool(PoolRequest::Show { number }), "nb--a"),
            (pool(PoolRequest::Stats { after: None }), "nb--a"),
            (pool(PoolRequest::Plan), "nb--a"),
            (pool(PoolRequest::Remove { numbers: Vec::new() }), "----a"),
            (pool(PoolRequest::SetState { numbers: Vec::new(), to: NumberState::Active }), "n---a"),
            (pool(PoolRequest::ImportBegin { update: false }), "----a"),
            (pool(PoolRequest::ImportLines { import: 1, lines: Vec::new() }), "----a"),
            (pool(PoolRequest::ImportEnd { import: 1, keep: true }), "----a"),
        ]
    }

    fn caller(roles: Roles) -> Caller {
        Caller { user: 1001, name: Some("mara".into()), roles }
    }

    #[test]
    fn each_role_may_ask_for_what_the_table_says() {
        for (request, letters) in table() {
            for (role, letter) in Role::ALL.into_iter().zip(letters.chars()) {
                let asked = caller(Roles::of(&[role])).asks(&request);
                match asked {
                    Ok(asker) => assert!(letter != '-' && asker.role == Some(role), "{role}: {request:?}"),
                    Err(refusal) => {
                        assert_eq!(letter, '-', "{role}: {request:?}");
                        assert_eq!(refusal.kind, RefusalKind::Forbidden);
                    }
                }
            }
            assert!(caller(Roles::default()).asks(&request).is_err(), "{request:?}");
        }
    }

    #[test]
    fn a_refusal_says_which_roles_it_takes_and_how_to_get_one() {
        let hangup = Request::Admin(AdminRequest::CallHangup { session: SessionId::from_bits(1) });
        let refusal = caller(Roles::of(&[Role::Qa])).asks(&hangup).unwrap_err();
        assert_eq!(
            refusal.what,
            "mara (user 1001) may not hang up calls: that takes one of the roles noc, admin, and this user has \
             the roles qa"
        );
        assert!(refusal.remedy.contains("`noc` in [roles]"), "{}", refusal.remedy);
        let nobody = caller(Roles::default()).asks(&Request::AuditVerify).unwrap_err();
        assert!(
            nobody.what.contains("has no role here") && nobody.remedy.contains("`privacy`"),
            "{nobody:?}"
        );
    }

    #[test]
    fn of_several_roles_the_narrowest_that_may_is_taken() {
        let both = caller(Roles::of(&[Role::Admin, Role::Noc]));
        assert_eq!(both.asks(&Request::Status).unwrap().role, Some(Role::Noc));
        assert_eq!(both.asks(&Request::AuditVerify).unwrap().role, Some(Role::Admin));
    }

    #[test]
    fn users_and_groups_have_roles_and_root_is_an_admin() {
        let names = BTreeMap::from([
            (Role::Noc, vec!["@100".to_owned(), "1001".to_owned()]),
            (Role::Privacy, vec!["@101".to_owned(), "root".to_owned()]),
        ]);
        let members = Members::resolve(&names).unwrap();
        let roles = |user, groups: &[u32]| members.roles(user, |group| groups.contains(&group)).to_string();
        assert_eq!(roles(1001, &[]), "noc");
        assert_eq!(roles(1002, &[100, 101]), "noc, privacy");
        assert_eq!(roles(1002, &[]), "");
        assert_eq!(roles(0, &[]), "privacy, admin");
        assert!(roles(rustix::process::geteuid().as_raw(), &[]).contains("admin"));
        for unknown in ["no-such-user", "@no-such-group"] {
            let names = BTreeMap::from([(Role::Qa, vec![unknown.to_owned()])]);
            let error = Members::resolve(&names).unwrap_err().to_string();
            assert!(error.contains(unknown.trim_start_matches('@')), "{error}");
        }
    }
}
