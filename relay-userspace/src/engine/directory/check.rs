//! What may stand in a number's properties.

use super::model::NumberTraits;
use super::{parse, refusal};
use crate::engine::admin::{Refusal, RefusalKind};
use crate::engine::areas;
use crate::engine::number::{Country, ProxyNumber};

/// Tags of one number, and bytes of one.
const MAX_TAGS: usize = 16;
const MAX_TAG: usize = 32;

/// A number's properties as they are kept: the state of an American or Canadian
/// one follows from its area code, tags are in order.
pub(super) fn in_country(
    number: &ProxyNumber,
    country: Country,
    mut traits: NumberTraits,
) -> Result<NumberTraits, Refusal> {
    let texts = [("region", &traits.region), ("locality", &traits.locality), ("carrier", &traits.carrier)];
    for (what, text) in texts {
        if let Some(text) = text {
            parse::name(what, text).map_err(|refusal| about(number, refusal))?;
        }
    }
    traits.region = region(number, country, traits.region)?;
    traits.tags = tags(number, traits.tags)?;
    if !traits.voice && !traits.sms {
        return Err(refusal(
            RefusalKind::Invalid,
            format!("{number} takes neither calls nor texts"),
            "give it voice, sms or both",
        ));
    }
    Ok(traits)
}

/// The region that the area code says, where it says one.
pub(super) fn region(
    number: &ProxyNumber,
    country: Country,
    given: Option<String>,
) -> Result<Option<String>, Refusal> {
    let states: Vec<&str> = areas::states(number.digits(), Some(country)).collect();
    match (given, &states[..]) {
        (given, []) => Ok(given),
        (None, [state]) => Ok(Some((*state).to_owned())),
        (None, _) => Ok(None),
        (Some(given), states) => match states.iter().find(|state| state.eq_ignore_ascii_case(&given)) {
            Some(state) => Ok(Some((*state).to_owned())),
            None => Err(refusal(
                RefusalKind::Invalid,
                format!("{number} is not of {given:?}: its area code belongs to {}", states.join(", ")),
                "leave the region out, or write the two letters of its state or province",
            )),
        },
    }
}

fn tags(number: &ProxyNumber, mut tags: Vec<String>) -> Result<Vec<String>, Refusal> {
    tags.sort_unstable();
    tags.dedup();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/=".contains(&b);
    let good = |tag: &String| !tag.is_empty() && tag.len() <= MAX_TAG && tag.bytes().all(plain);
    if tags.len() <= MAX_TAGS && tags.iter().all(good) {
        return Ok(tags);
    }
    Err(refusal(
        RefusalKind::Invalid,
        format!("{number} has more than {MAX_TAGS} tags, or one that is not a tag"),
        format!("write each tag with 1 to {MAX_TAG} letters, digits and -_.:/="),
    ))
}

fn about(number: &ProxyNumber, refusal: Refusal) -> Refusal {
    Refusal { what: format!("{number}: {}", refusal.what), ..refusal }
}
