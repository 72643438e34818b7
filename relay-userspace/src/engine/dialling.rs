//! Numbers as trunks and people write them, and where numbers belong.
//!
//! A carrier may send `+14155550100`, `14155550100`, `01114155550100` or, to a
//! PBX next door, `4155550100`. Every text has one reading or none: a wrong
//! guess would connect strangers. What begins with `+` is read here without
//! asking anybody, because calls do that; all else asks libphonenumber's
//! metadata.

use arrayvec::ArrayString;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, Region};

use super::areas;
use super::number::{Country, MAX_DIGITS};

/// `+` and digits, ready to be parsed into a number type.
pub(super) type International = ArrayString<{ MAX_DIGITS + 1 }>;

/// The international form of a number that came from a trunk in `country`.
///
/// In this order: `+` and digits; the country's international prefix (`00`,
/// `011`); a national number with its trunk prefix `0`; ten digits under the
/// North American plan; digits that some plan has when a `+` is put before
/// them; a national number without prefix. Visual separators are ignored
/// (RFC 3966 section 5.1.1).
pub(super) fn read(text: &str, country: Country) -> Option<International> {
    let plus = text.starts_with('+');
    let digits = subscriber_digits(text.strip_prefix('+').unwrap_or(text))?;
    if plus {
        return international(&digits);
    }
    let code = calling_code(country);
    let region: Option<Region> = country.as_str().parse().ok();
    let prefix = if code == 1 { "011" } else { "00" };
    if let Some(rest) = digits.strip_prefix(prefix) {
        return international(rest);
    }
    let national = || written(&PHONE_NUMBER_UTIL.parse(digits, region).ok().filter(is_assigned)?);
    if digits.starts_with('0') || (code == 1 && digits.len() == 10) {
        return national();
    }
    let global = international(&digits)?;
    let assigned = PHONE_NUMBER_UTIL.parse(global.as_str(), None).is_ok_and(|number| is_assigned(&number));
    if assigned { Some(global) } else { national() }
}

/// The digits of a text with visual separators and nothing else.
pub(super) fn subscriber_digits(text: &str) -> Option<ArrayString<24>> {
    let mut digits = ArrayString::new();
    for c in text.trim().chars() {
        match c {
            '0'..='9' | '*' | '#' => digits.try_push(c).ok()?,
            ' ' | '-' | '.' | '(' | ')' => {}
            _ => return None,
        }
    }
    (!digits.is_empty()).then_some(digits)
}

/// 0 for a country without one.
fn calling_code(country: Country) -> u16 {
    let region: Option<Region> = country.as_str().parse().ok();
    let code = region.and_then(|region| PHONE_NUMBER_UTIL.get_country_code_for_region(region));
    code.and_then(|code| u16::try_from(code).ok()).unwrap_or(0)
}

fn international(digits: &str) -> Option<International> {
    let mut text = International::new();
    text.try_push('+').ok()?;
    text.try_push_str(digits).ok()?;
    digits.bytes().all(|b| b.is_ascii_digit()).then_some(text)
}

fn written(number: &PhoneNumber) -> Option<International> {
    let mut digits = number.country_code.to_string();
    digits.push_str(&number.get_national_significant_number());
    international(&digits)
}

fn is_assigned(number: &PhoneNumber) -> bool {
    PHONE_NUMBER_UTIL.is_valid_number(number)
}

/// Where a number belongs, from the wide to the narrow. Not printable, since
/// an area tells a good part of a party's number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Geography {
    /// The calling code that it shares with its neighbours; 0 when unknown.
    pub(super) code: u16,
    /// The country.
    pub(super) country: Option<Country>,
    /// Calling code and area code, where the plan has geographic areas.
    pub(super) area: Option<ArrayString<MAX_DIGITS>>,
}

impl Geography {
    /// Of an E.164 number, given as digits without `+`.
    pub(super) fn of(digits: &str, country: Option<Country>) -> Self {
        // Calling code and three digits, as libphonenumber would find out at length.
        if country.is_some_and(|country| areas::states(digits, Some(country)).next().is_some()) {
            let area = digits.get(..4).and_then(|area| ArrayString::from(area).ok());
            return Self { code: 1, country, area };
        }
        Self::by_metadata(digits, country)
    }

    fn by_metadata(digits: &str, country: Option<Country>) -> Self {
        let Ok(number) = PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None) else {
            return Self { code: 0, country, area: None };
        };
        let code = u16::try_from(number.country_code).unwrap_or(0);
        let length = number.get_length_of_geographical_area_code();
        let area = (length > 0)
            .then(|| digits.get(..code.to_string().len() + length))
            .flatten()
            .and_then(|area| ArrayString::from(area).ok());
        Self { code, country, area }
    }

    /// Of somebody of whom nothing but the country is known.
    pub(super) fn of_country(country: Country) -> Self {
        Self { code: calling_code(country), country: Some(country), area: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::number::PartyNumber;

    fn reading(text: &str, country: &str) -> Option<String> {
        read(text, country.parse().unwrap()).map(|number| number.to_string())
    }

    #[test]
    fn every_way_of_writing_a_number_has_one_reading() {
        for (text, country, number) in [
            ("+14155550100", "DE", Some("+14155550100")),
            ("+1 (415) 555-0100", "US", Some("+14155550100")),
            ("14155550100", "US", Some("+14155550100")),
            ("4155550100", "US", Some("+14155550100")),
            ("4325551234", "US", Some("+14325551234")),
            ("01149301234567", "US", Some("+49301234567")),
            ("0049301234567", "DE", Some("+49301234567")),
            ("0301234567", "DE", Some("+49301234567")),
            ("49301234567", "DE", Some("+49301234567")),
            ("02079460000", "GB", Some("+442079460000")),
            ("0014155550100", "GB", Some("+14155550100")),
            ("anonymous", "US", None),
            ("", "US", None),
            ("+", "US", None),
            ("*21", "US", None),
            ("123456789012345678901234567890", "US", None),
        ] {
            assert_eq!(reading(text, country).as_deref(), number, "{text} on a trunk in {country}");
        }
    }

    #[test]
    fn areas_are_geographic() {
        let area = |digits: &str| Geography::of(digits, None).area.map(|area| area.to_string());
        assert_eq!(area("12125551200").as_deref(), Some("1212"));
        assert_eq!(area("49301234567").as_deref(), Some("4930"));
        assert_eq!(area("4915123456789"), None);
    }

    #[test]
    fn north_american_areas_are_what_libphonenumber_says() {
        let mut agreed = 0;
        for area in 200..=999 {
            let digits = format!("1{area}2345678");
            let country = format!("+{digits}").parse::<PartyNumber>().unwrap().country();
            let (ours, theirs) = (Geography::of(&digits, country), Geography::by_metadata(&digits, country));
            // What is not in service yet has no area there.
            if theirs.area.is_some() {
                assert!(ours == theirs, "{area}");
                agreed += 1;
            }
        }
        assert!(agreed > 350, "{agreed}");
    }
}
