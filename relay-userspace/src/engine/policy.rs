//! What to do with one incoming call: bridge it, let it through as an
//! emergency, or reject it with a reason.
//!
//! Emergency numbers come before everything, known caller or not. Then the
//! caller is identified, by P-Asserted-Identity where the trunk is trusted
//! (RFC 3325 section 9.1; even with `Privacy: id`, since it is only looked up
//! and never shown), otherwise by From. A caller without an identity is
//! rejected, never guessed. The directory's answer decides the rest.
//!
//! Texts come in as plain user parts, so this module knows nothing of SIP's
//! grammar.

mod emergency;
mod resolve;

#[cfg(test)]
mod tests;

pub(super) use resolve::resolve;
pub use resolve::{Resolution, Step, Verdict};

use super::cdr::Cause;
use super::config::{Config, TrunkId};
use super::dialling;
use super::directory::{Directory, Extension, Lookup, Match, PartyAddress};
use super::ids::{BindingId, LegName};
use super::number::ProxyNumber;

/// An incoming call as its INVITE shows it. User parts are unescaped and
/// without parameters.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// The trunk that it came over.
    pub trunk: TrunkId,
    /// The Request-URI's user part or telephone number; a `urn:` whole.
    pub dialled: &'a str,
    /// The user parts of P-Asserted-Identity, in order; empty without one.
    pub asserted: &'a [&'a str],
    /// From's user part; `None` when there is none or its host is
    /// `anonymous.invalid` (RFC 3323 section 4.1.1.3).
    pub from: Option<&'a str>,
}

/// What to do with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Let it through, unmasked, on the emergency trunk.
    Emergency {
        /// `None` when none is configured: refuse with 503, loudly.
        trunk: Option<TrunkId>,
    },
    /// Call the other party and join both.
    Bridge(Bridge),
    /// Answer with a failure.
    Reject(Rejection),
}

/// How two parties are joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The binding; [`Directory::hold`] it while the call lasts.
    pub binding: BindingId,
    /// Which party calls.
    pub caller: LegName,
    /// The number that it dialled.
    pub caller_dialled: ProxyNumber,
    /// The other party.
    pub callee: PartyAddress,
    /// The trunk that leads to it.
    pub callee_trunk: TrunkId,
    /// The number that it sees.
    pub callee_sees: ProxyNumber,
}

/// Why a call is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The SIP status to answer with.
    pub status: u16,
    /// For the record.
    pub cause: Cause,
    /// The number dialled, if it is one of ours.
    pub proxy: Option<ProxyNumber>,
    /// The binding, if it was found.
    pub binding: Option<BindingId>,
    /// Which of its parties calls; A when no binding says so.
    pub caller: LegName,
}

/// Decides about one call.
#[must_use]
pub fn decide(config: &Config, directory: &Directory, call: &Incoming<'_>) -> Decision {
    let reject = |status, cause, proxy| {
        Decision::Reject(Rejection { status, cause, proxy, binding: None, caller: LegName::A })
    };
    let Some(trunk) = config.trunk(call.trunk) else {
        return reject(404, Cause::NoBinding, None);
    };
    if emergency::is_emergency(&config.emergency, trunk.country, call.dialled) {
        return Decision::Emergency { trunk: config.emergency.trunk };
    }
    let dialled = dialling::read(call.dialled, trunk.country);
    let dialled = dialled.and_then(|number| number.parse::<ProxyNumber>().ok());
    let Some(proxy) = dialled.filter(|number| directory.is_proxy(number)) else {
        return reject(404, Cause::NoBinding, None);
    };
    let Some(identity) = identity(call, trunk.trusted) else {
        return reject(433, Cause::Anonymous, Some(proxy));
    };
    let reject_on = |status, cause, found: &Match| {
        let (binding, caller) = (Some(found.binding), found.caller);
        Decision::Reject(Rejection { status, cause, proxy: Some(proxy), binding, caller })
    };
    match find(config, directory, call.trunk, &proxy, identity) {
        Lookup::Live(found) => match route(config, &found.callee) {
            Some(callee_trunk) => Decision::Bridge(Bridge {
                binding: found.binding,
                caller: found.caller,
                caller_dialled: proxy,
                callee: found.callee,
                callee_trunk,
                callee_sees: found.callee_sees,
            }),
            // Not 503, which would make the peer stop sending us other calls
            // (RFC 3261 section 21.5.4).
            None => reject_on(404, Cause::NoRoute, &found),
        },
        Lookup::Entombed(found) => reject_on(410, Cause::BindingEnded, &found),
        Lookup::Unknown => reject(404, Cause::NoBinding, Some(proxy)),
    }
}

/// The text that says who calls. An asserted identity that withholds the
/// caller is no identity; From, which callers write themselves, does not
/// overrule it.
fn identity<'a>(call: &Incoming<'a>, trusted: bool) -> Option<&'a str> {
    let named = |text: &&str| !is_anonymous(text);
    if trusted && !call.asserted.is_empty() {
        call.asserted.iter().copied().find(named)
    } else {
        call.from.filter(named)
    }
}

/// What devices and gateways write in place of an identity.
fn is_anonymous(user: &str) -> bool {
    const NAMES: [&str; 7] =
        ["anonymous", "unknown", "unavailable", "restricted", "private", "withheld", "asserted"];
    user.trim().is_empty() || NAMES.iter().any(|name| user.trim().eq_ignore_ascii_case(name))
}

/// A caller's text is a telephone number or an extension of this trunk's PBX.
/// If the directory knew both readings as different people, neither is believed.
fn find(
    config: &Config,
    directory: &Directory,
    trunk: TrunkId,
    proxy: &ProxyNumber,
    identity: &str,
) -> Lookup {
    let Some(trunk) = config.trunk(trunk) else { return Lookup::Unknown };
    let number = dialling::read(identity, trunk.country).and_then(|number| number.parse().ok());
    let number = number.map(PartyAddress::Number);
    let extension =
        Extension::new(identity).map(|user| PartyAddress::Extension { trunk: trunk.name.clone(), user });
    let look = |address: Option<PartyAddress>| {
        address.map_or(Lookup::Unknown, |address| directory.lookup(proxy, &address))
    };
    match (look(number), look(extension)) {
        (found, Lookup::Unknown) | (Lookup::Unknown, found) => found,
        (Lookup::Live(_) | Lookup::Entombed(_), Lookup::Live(_) | Lookup::Entombed(_)) => Lookup::Unknown,
    }
}

/// The trunk that leads to a party.
fn route(config: &Config, party: &PartyAddress) -> Option<TrunkId> {
    match party {
        PartyAddress::Number(number) => config.route(number.reveal()),
        PartyAddress::Extension { trunk, .. } => config.trunk_named(trunk),
    }
}
