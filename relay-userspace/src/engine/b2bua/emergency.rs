//! Emergency calls: who calls from where reaches the emergency trunk untouched.
//!
//! Masking here would cost lives, so the caller's identity, location and
//! privacy headers and every part of the body but the session description are
//! passed on as they came (RFC 6442, RFC 3325). Media is anchored as always.

use super::call::Facts;
use super::context::Context;
use super::exchange::Arrival;
use super::plan::{Invitation, More, Party, Plan};
use super::setup::is_secure;
use crate::engine::config::TrunkId;
use crate::engine::ids::LegName;
use crate::engine::number::PartyNumber;
use crate::engine::sip::message::Message;
use crate::engine::sip::name::Name;
use crate::engine::sip::transport::SentBy;
use crate::engine::sip::uri::{Scheme, Uri};

/// What is passed on as it came.
const PASSED: [Name; 6] = [
    Name::PAssertedIdentity,
    Name::PPreferredIdentity,
    Name::Privacy,
    Name::Geolocation,
    Name::GeolocationRouting,
    Name::GeolocationError,
];

/// An emergency call over this trunk. `None` when the configuration has no such
/// trunk.
pub(super) fn plan(
    context: &Context,
    arrival: &Arrival,
    emergency_trunk: TrunkId,
    caller: Option<&str>,
) -> Option<Plan> {
    let (from, to) = (context.trunk(arrival.trunk)?, context.trunk(emergency_trunk)?);
    let invite = &arrival.request;
    let secure = is_secure(invite);
    let here_for_caller = context.listen_of(from, arrival.way)?.sent_by();
    let number: Option<PartyNumber> = caller.and_then(|user| user.parse().ok());
    let party = |trunk, remote: Option<PartyNumber>, contact| Party {
        trunk,
        proxy: None,
        remote: remote.as_ref().map_or_else(|| "unknown".to_owned(), PartyNumber::masked),
        country: remote.as_ref().and_then(PartyNumber::country),
        area: remote.as_ref().and_then(PartyNumber::area),
        contact,
        secrets: None,
    };
    let mut callee =
        party(emergency_trunk, None, Uri::reached_at(None, context.listen(to)?.sent_by(), false));
    "emergency service".clone_into(&mut callee.remote);
    callee.country = Some(from.country);
    Some(Plan {
        facts: Facts {
            binding: None,
            tenant: String::new(),
            project: String::new(),
            caller: LegName::A,
            emergency: true,
            diversion: None,
            encryption: context.encryption(None),
            max_call: None,
        },
        caller: party(arrival.trunk, number, Uri::reached_at(None, here_for_caller, secure)),
        callee,
        invitation: invitation(invite, SentBy { transport: to.transport, address: to.targets.first() })?,
        more: More::default(),
        turn: None,
        newcomer: None,
    })
}

fn invitation(invite: &Message, target: SentBy) -> Option<Invitation> {
    let dialled = invite.request_uri()?;
    let target = match dialled.scheme() {
        Scheme::Sip | Scheme::Sips => Uri::reached_at(dialled.user(), target, false),
        Scheme::Tel | Scheme::Other => dialled.clone(),
    };
    let from = invite.from().ok()?;
    let fields = PASSED
        .into_iter()
        .flat_map(|name| invite.header_all(name).map(move |value| (name, value.to_owned())))
        .collect();
    Some(Invitation {
        target,
        to: invite.to().ok()?.uri(),
        display: Some(from.display.to_owned()).filter(|display| !display.is_empty()),
        from: from.uri(),
        fields,
        whole_body: true,
    })
}
