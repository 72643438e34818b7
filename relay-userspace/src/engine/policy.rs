//! What to do with one incoming call: bridge it, let it through as an
//! emergency, or reject it with a reason.
//!
//! Emergency numbers come before everything, known caller or not. Then the
//! caller is identified, by P-Asserted-Identity where the trunk is trusted
//! (RFC 3325 section 9.1; even with `Privacy: id`, since it is only looked up
//! and never shown), otherwise by From. A caller without an identity, or
//! with one that several people share, is never guessed. The directory's answer decides the rest; what no live binding
//! connects is [`late`]'s.
//!
//! Texts come in as plain user parts, so this module knows nothing of SIP's
//! grammar.

mod emergency;
mod late;
mod resolve;

#[cfg(test)]
mod tests;

pub(super) use emergency::is_emergency;
pub use late::{About, Diverted};
pub(super) use resolve::resolve;
pub use resolve::{Resolution, Step, Verdict};

use std::time::Duration;

use super::cdr::Cause;
use super::config::{Config, Encryption, Trunk, TrunkId};
use super::dialling;
use super::directory::{Directory, Extension, Lookup, PartyAddress, Ring};
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
    /// The caller of an agent number has no binding there: give it one, and decide
    /// again; if none can be made, join both so.
    Meet(Bridge),
    /// Call a service in place of a party.
    Divert(Diverted),
    /// Answer with a failure.
    Reject(Rejection),
}

/// How two parties are joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The binding; [`Directory::hold`] it while the call lasts. None where an agent
    /// number is shared.
    pub binding: Option<BindingId>,
    /// Who owns it.
    pub tenant: String,
    /// The tenant's project.
    pub project: String,
    /// Whether the parties may encrypt; as configured when absent.
    pub encryption: Option<Encryption>,
    /// How long the call may last, if shorter than every call may.
    pub max_call: Option<Duration>,
    /// Which party calls.
    pub caller: LegName,
    /// Where it is.
    pub caller_address: PartyAddress,
    /// The number that it dialled.
    pub caller_dialled: ProxyNumber,
    /// The other party.
    pub callee: PartyAddress,
    /// The trunk that leads to it.
    pub callee_trunk: TrunkId,
    /// Its further addresses, and the trunks that lead to these.
    pub also: Vec<(PartyAddress, TrunkId)>,
    /// How all of them ring.
    pub ring: Ring,
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
    if is_emergency(&config.emergency, trunk.country, call.dialled) {
        return Decision::Emergency { trunk: config.emergency.trunk };
    }
    let dialled = dialling::read(call.dialled, trunk.country);
    let dialled = dialled.and_then(|number| number.parse::<ProxyNumber>().ok());
    let Some(proxy) = dialled.filter(|number| directory.is_proxy(number)) else {
        return reject(404, Cause::NoBinding, None);
    };
    let Some(identity) = identity(call, trunk.trusted).filter(|identity| !is_shared(trunk, identity)) else {
        return late::anonymous(config, directory, proxy);
    };
    let readings = readings(trunk, identity);
    match find(directory, &proxy, &readings) {
        Lookup::Live(found) => late::bridge(config, directory, proxy, &found),
        found @ (Lookup::Entombed(_) | Lookup::Unknown) => {
            let caller = readings.iter().flatten().next();
            let agent = caller.and_then(|caller| Some((caller, directory.agent_at(&proxy, caller)?)));
            match (agent, found) {
                (Some((caller, agent)), _) => late::meet(config, caller.clone(), agent),
                (None, Lookup::Entombed(found)) => late::ended(config, directory, proxy, &found),
                (None, _) => late::unknown(config, directory, proxy, &readings),
            }
        }
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

/// Whether an identity is one that several people of a PBX share, such as its main
/// number: it tells nobody apart, so it is none.
fn is_shared(trunk: &Trunk, identity: &str) -> bool {
    let read = |text: &str| dialling::read(text, trunk.country);
    let number = read(identity);
    trunk.shared.iter().any(|shared| shared == identity || (number.is_some() && read(shared) == number))
}

/// What devices and gateways write in place of an identity.
fn is_anonymous(user: &str) -> bool {
    const NAMES: [&str; 7] =
        ["anonymous", "unknown", "unavailable", "restricted", "private", "withheld", "asserted"];
    user.trim().is_empty() || NAMES.iter().any(|name| user.trim().eq_ignore_ascii_case(name))
}

/// A caller's text is a telephone number or an extension of this trunk's PBX.
fn readings(trunk: &Trunk, identity: &str) -> [Option<PartyAddress>; 2] {
    let number = dialling::read(identity, trunk.country).and_then(|number| number.parse().ok());
    let extension =
        Extension::new(identity).map(|user| PartyAddress::Extension { trunk: trunk.name.clone(), user });
    [number.map(PartyAddress::Number), extension]
}

/// If the directory knew both readings of a caller as different people, neither
/// is believed.
fn find(directory: &Directory, proxy: &ProxyNumber, readings: &[Option<PartyAddress>; 2]) -> Lookup {
    let [number, extension] = readings
        .each_ref()
        .map(|address| address.as_ref().map_or(Lookup::Unknown, |address| directory.lookup(proxy, address)));
    match (number, extension) {
        (found, Lookup::Unknown) | (Lookup::Unknown, found) => found,
        (Lookup::Live(_) | Lookup::Entombed(_), Lookup::Live(_) | Lookup::Entombed(_)) => Lookup::Unknown,
    }
}

/// Those of a party's addresses to which a trunk leads, the first of them apart.
fn routes(config: &Config, addresses: Vec<PartyAddress>) -> Option<Routes> {
    let mut reached = addresses.into_iter().filter_map(|address| Some((route(config, &address)?, address)));
    let (trunk, first) = reached.next()?;
    let also = reached.map(|(trunk, address)| (address, trunk)).collect();
    Some(Routes { first, trunk, also })
}

/// Where a party rings.
struct Routes {
    first: PartyAddress,
    trunk: TrunkId,
    also: Vec<(PartyAddress, TrunkId)>,
}

/// The trunk that leads to a party.
fn route(config: &Config, party: &PartyAddress) -> Option<TrunkId> {
    match party {
        PartyAddress::Number(number) => config.route(number.reveal()),
        PartyAddress::Extension { trunk, .. } => config.trunk_named(trunk),
    }
}
