//! Reading what an operator typed, with refusals that never repeat it.

use std::time::Duration;

use super::model::{Extension, PartyAddress};
use super::refusal;
use crate::engine::admin::{NumberWish, Refusal, RefusalKind};
use crate::engine::config::Config;
use crate::engine::number::{PartyNumber, Typed};
use crate::engine::policy::is_emergency;

/// Longest tenant, project or key, in bytes.
const MAX_NAME: usize = 128;
/// Longest time-to-live: ten years.
const MAX_TIME_TO_LIVE: Duration = Duration::from_hours(3653 * 24);
/// Fewer digits than this are too common to count as somebody's number.
const TELLING_DIGITS: usize = 7;

/// The address of the `who` (customer or agent): `+14155550100`, or
/// `extension@trunk` of a configured trunk.
pub(super) fn party(who: &str, typed: &Typed, config: &Config) -> Result<PartyAddress, Refusal> {
    let invalid = |what: String, remedy: &str| refusal(RefusalKind::Invalid, what, remedy);
    let Some((user, trunk)) = typed.0.trim().rsplit_once('@') else {
        let number: PartyNumber = typed.0.parse().map_err(|error| {
            invalid(format!("the {who}: {error}"), "give an E.164 number, or extension@trunk for a PBX")
        })?;
        number.check_plan().map_err(|error| {
            invalid(format!("the {who}: {error}"), "check the country code and the number of digits")
        })?;
        return Ok(PartyAddress::Number(number));
    };
    if config.trunk_named(trunk).is_none() {
        let names: Vec<_> = config.trunks.iter().map(|trunk| trunk.name.as_str()).collect();
        return Err(invalid(
            format!("the {who}: what follows '@' is not the name of a trunk"),
            &format!("the configured trunks are: {}", names.join(", ")),
        ));
    }
    let user = Extension::new(user).ok_or_else(|| {
        invalid(
            format!("the {who}: what precedes '@' is not an extension"),
            "an extension has 1 to 64 letters, digits and -_.!~*'()",
        )
    })?;
    let country = config.trunk_named(trunk).and_then(|id| config.trunk(id)).map(|trunk| trunk.country);
    if country.is_some_and(|country| is_emergency(&config.emergency, country, user.reveal())) {
        return Err(invalid(
            format!("the {who}'s extension is an emergency number"),
            "an emergency service is nobody's party",
        ));
    }
    Ok(PartyAddress::Extension { trunk: trunk.to_owned(), user })
}

/// A tenant, project or key: it is shown in tables and logs.
pub(super) fn name(what: &str, text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
        return Err(refusal(
            RefusalKind::Invalid,
            format!("the {what} is empty, longer than {MAX_NAME} bytes or has control characters"),
            format!("give a {what} of 1 to {MAX_NAME} printable bytes"),
        ));
    }
    Ok(())
}

/// Where a binding's numbers should be from: named in refusals.
pub(super) fn wish(wish: &NumberWish) -> Result<(), Refusal> {
    let names = [("region", &wish.region), ("locality", &wish.locality)];
    names.into_iter().try_for_each(|(what, text)| text.as_deref().map_or(Ok(()), |text| name(what, text)))
}

/// A key or tag is shown, so it must not be a party's number in disguise.
pub(super) fn hides_parties(what: &str, text: &str, parties: &[&PartyAddress]) -> Result<(), Refusal> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let tells = |party: &PartyAddress| match party {
        PartyAddress::Number(number) => {
            let number = number.reveal();
            let tail = number.get(number.len().saturating_sub(TELLING_DIGITS + 1)..).unwrap_or(number);
            tail.len() >= TELLING_DIGITS && digits.contains(tail)
        }
        PartyAddress::Extension { .. } => false,
    };
    if parties.iter().copied().any(tells) {
        return Err(refusal(
            RefusalKind::Invalid,
            format!("the {what} contains a party's real number, and it is shown in lists, records and logs"),
            format!("use a {what} that says nothing about a party, such as an order or case id"),
        ));
    }
    Ok(())
}

/// A time-to-live that is neither nothing nor for ever.
pub(super) fn time_to_live(asked: Option<Duration>, default: Duration) -> Result<Duration, Refusal> {
    let ttl = asked.unwrap_or(default);
    if ttl.is_zero() || ttl > MAX_TIME_TO_LIVE {
        return Err(refusal(
            RefusalKind::Invalid,
            "the time-to-live is zero or longer than ten years",
            "give a time-to-live between a second and ten years",
        ));
    }
    Ok(ttl)
}
