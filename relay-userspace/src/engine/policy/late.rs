//! Calls that no live binding connects: late ones, those of strangers, and those
//! without an identity.
//!
//! A tombstone says what its tenant and kind want of late callers. Whoever has no
//! binding at the number goes to the callback IVR, which asks; whoever shows no
//! identity always does. Where the service is not configured, the caller is told
//! no. Nothing here ever names a party that the caller was not bound to: the
//! binding that a stranger is said to call about is one that it is in itself.

use super::{Bridge, Decision, Rejection, Routes, routes};
use crate::engine::callback::{Diversion, OnTombstone, Reason, Service};
use crate::engine::cdr::Cause;
use crate::engine::config::Config;
use crate::engine::directory::{Agent, BindingKind, Directory, Match, PartyAddress};
use crate::engine::ids::{BindingId, LegName};
use crate::engine::number::ProxyNumber;

/// A call that goes to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diverted {
    /// Where to, and why.
    pub diversion: Diversion,
    /// The number dialled.
    pub proxy: ProxyNumber,
    /// Which party of the binding calls; A when no binding says so.
    pub caller: LegName,
    /// Where the caller is, if it said so.
    pub from: Option<PartyAddress>,
    /// What the call is about, if that is known.
    pub about: Option<About>,
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The binding that the number and the caller had.
    Pair(BindingId),
    /// The only binding that the caller is in.
    Caller(BindingId),
}

impl About {
    /// The binding.
    #[must_use]
    pub const fn binding(self) -> BindingId {
        match self {
            Self::Pair(binding) | Self::Caller(binding) => binding,
        }
    }

    /// How it was found.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pair(_) => "pair",
            Self::Caller(_) => "caller",
        }
    }
}

/// What becomes of a call that no live binding connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// It connects all the same; the binding may live again by it.
    Connect { reopens: bool },
    /// It goes to a service.
    Divert(Diversion),
    /// It is refused.
    Refuse,
}

/// What late callers of a tombstone meet.
pub(super) fn on_tombstone(config: &Config, directory: &Directory, found: &Match) -> Late {
    match directory.binding(found.binding) {
        Some(binding) => by_policy(config, &binding.tenant, binding.kind),
        None => Late::Refuse,
    }
}

/// What late callers meet of a tenant's bindings of this kind.
pub(super) fn by_policy(config: &Config, tenant: &str, kind: BindingKind) -> Late {
    match config.bindings.life(tenant, kind).on_tombstone {
        OnTombstone::Connect => Late::Connect { reopens: false },
        OnTombstone::Reopen => Late::Connect { reopens: true },
        OnTombstone::Ivr => to(config, Service::Ivr, Reason::Ended),
        OnTombstone::Announcement => to(config, Service::Announcement, Reason::Ended),
    }
}

/// What callers meet whom no binding names.
pub(super) fn without_binding(
    config: &Config,
    directory: &Directory,
    dialled: &ProxyNumber,
    because: Reason,
) -> Late {
    if directory.connects(dialled) { to(config, Service::Ivr, because) } else { Late::Refuse }
}

fn to(config: &Config, service: Service, because: Reason) -> Late {
    let found = config.services.find(service);
    found.map_or(Late::Refuse, |(to, _)| Late::Divert(Diversion { to, because }))
}

/// The only binding that these addresses of one caller are in.
pub(super) fn only_binding<'a>(
    directory: &Directory,
    caller: impl Iterator<Item = &'a PartyAddress>,
) -> Option<BindingId> {
    let mut bindings = caller.flat_map(|address| directory.bindings_of(address));
    let first = bindings.next()?;
    bindings.next().is_none().then_some(first)
}

/// A call on a tombstone.
pub(super) fn ended(config: &Config, directory: &Directory, proxy: ProxyNumber, found: &Match) -> Decision {
    let (binding, caller) = (found.binding, found.caller);
    match on_tombstone(config, directory, found) {
        Late::Connect { .. } => bridge(config, directory, proxy, found),
        Late::Divert(diversion) => Decision::Divert(Diverted {
            diversion,
            proxy,
            caller,
            from: directory.address_of(binding, caller),
            about: Some(About::Pair(binding)),
        }),
        Late::Refuse => reject(410, Cause::BindingEnded, proxy, Some((binding, caller))),
    }
}

/// A call of somebody who has no binding at the number.
pub(super) fn unknown(
    config: &Config,
    directory: &Directory,
    proxy: ProxyNumber,
    caller: &[Option<PartyAddress>; 2],
) -> Decision {
    match without_binding(config, directory, &proxy, Reason::Unknown) {
        Late::Divert(diversion) => Decision::Divert(Diverted {
            diversion,
            proxy,
            caller: LegName::A,
            from: caller.iter().flatten().next().cloned(),
            about: only_binding(directory, caller.iter().flatten()).map(About::Caller),
        }),
        Late::Connect { .. } | Late::Refuse => reject(404, Cause::NoBinding, proxy, None),
    }
}

/// A call without an identity.
pub(super) fn anonymous(config: &Config, directory: &Directory, proxy: ProxyNumber) -> Decision {
    match without_binding(config, directory, &proxy, Reason::Anonymous) {
        Late::Divert(diversion) => {
            Decision::Divert(Diverted { diversion, proxy, caller: LegName::A, from: None, about: None })
        }
        Late::Connect { .. } | Late::Refuse => reject(433, Cause::Anonymous, proxy, None),
    }
}

/// A call that connects, live or late.
pub(super) fn bridge(config: &Config, directory: &Directory, proxy: ProxyNumber, found: &Match) -> Decision {
    let &Match { binding: id, caller, from, callee: _, callee_sees } = found;
    let whole = directory.binding(id).zip(directory.address(from));
    let admitted =
        whole.as_ref().map(|(binding, _)| binding.usage.admits_call(caller, directory.calls_on(id)));
    if let Some(Err(forbidden)) = admitted {
        let (status, cause) = forbidden.refusal();
        return reject(status, cause, proxy, Some((id, caller)));
    }
    let routes = routes(config, directory.addresses_of(id, caller.other()));
    match whole.zip(routes) {
        Some(((binding, caller_address), Routes { first, trunk, also })) => Decision::Bridge(Bridge {
            binding: Some(id),
            tenant: binding.tenant,
            project: binding.project,
            encryption: binding.encryption,
            max_call: binding.usage.max_call,
            caller,
            caller_address,
            caller_dialled: proxy,
            callee: first,
            callee_trunk: trunk,
            also,
            ring: binding.usage.ring,
            callee_sees,
        }),
        // Not 503, which would make the peer stop sending us other calls
        // (RFC 3261 section 21.5.4).
        None => reject(404, Cause::NoRoute, proxy, Some((id, caller))),
    }
}

/// A call to an agent number by somebody who has no binding there yet.
pub(super) fn meet(config: &Config, caller: PartyAddress, agent: Agent) -> Decision {
    let Agent { number, tenant, project, key: _, created: _, addresses, ring } = agent;
    match routes(config, addresses) {
        Some(Routes { first, trunk, also }) => Decision::Meet(Bridge {
            binding: None,
            tenant,
            project,
            encryption: None,
            max_call: None,
            caller: LegName::A,
            caller_address: caller,
            caller_dialled: number,
            callee: first,
            callee_trunk: trunk,
            also,
            ring,
            callee_sees: number,
        }),
        None => reject(404, Cause::NoRoute, number, None),
    }
}

fn reject(status: u16, cause: Cause, proxy: ProxyNumber, found: Option<(BindingId, LegName)>) -> Decision {
    let (binding, caller) = found.map_or((None, LegName::A), |(binding, caller)| (Some(binding), caller));
    Decision::Reject(Rejection { status, cause, proxy: Some(proxy), binding, caller })
}
