//! Telephone numbers, in two types that cannot be confused.
//!
//! A [`PartyNumber`] is somebody's real number. It has no `Display` and no
//! `Serialize`, and its `Debug` shows only country and last two digits, so no
//! log line, error, panic or JSON document can carry it by accident. Reading
//! it takes a call to [`PartyNumber::reveal`], which is easy to search for, and
//! its digits are overwritten when it is dropped.
//! A [`ProxyNumber`] is Vizard's own and prints freely.
//!
//! Syntax is checked here in nanoseconds; whether a country's plan has such a
//! number is asked of libphonenumber's metadata, off the call path.

use std::fmt;
use std::str::FromStr;

use arrayvec::ArrayString;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::areas;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// An E.164 number has at most fifteen digits (ITU-T E.164, section 6).
pub const MAX_DIGITS: usize = 15;
/// Shorter than any number that is reachable from abroad.
const MIN_DIGITS: usize = 5;

/// Why a text is not an E.164 number. Never carries the text.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NumberError {
    /// Nothing there.
    #[error("the number is empty")]
    Empty,
    /// No leading `+`.
    #[error("an E.164 number starts with '+', the country code and no zero, as in +14155550100")]
    NotInternational,
    /// Something other than ASCII digits and visual separators.
    #[error("character {position} is neither a digit nor one of the separators ' -.()'")]
    NotADigit {
        /// Counted from one.
        position: usize,
    },
    /// Too few digits to be a subscriber's number.
    #[error("{digits} digits are too few: an E.164 number has {MIN_DIGITS} to {MAX_DIGITS}")]
    TooShort {
        /// How many there are.
        digits: usize,
    },
    /// More digits than E.164 allows.
    #[error("more than {MAX_DIGITS} digits")]
    TooLong,
    /// Well-formed, but no country's numbering plan has it.
    #[error("no country's numbering plan has such a number")]
    NotInAnyPlan,
}

/// The digits of an E.164 number, without the `+`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Digits(ArrayString<MAX_DIGITS>);

impl Digits {
    /// Accepts `+` and digits with the visual separators of RFC 3966
    /// (`-`, `.`, `(`, `)`) and blanks.
    fn parse(text: &str) -> Result<Self, NumberError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NumberError::Empty);
        }
        let rest = text.strip_prefix('+').ok_or(NumberError::NotInternational)?;
        let mut digits = ArrayString::new();
        for (index, c) in rest.chars().enumerate() {
            match c {
                '0'..='9' => digits.try_push(c).map_err(|_| NumberError::TooLong)?,
                ' ' | '-' | '.' | '(' | ')' => {}
                _ => return Err(NumberError::NotADigit { position: index + 2 }),
            }
        }
        Self::checked(digits)
    }

    fn checked(digits: ArrayString<MAX_DIGITS>) -> Result<Self, NumberError> {
        if digits.starts_with('0') {
            return Err(NumberError::NotInternational);
        }
        if digits.len() < MIN_DIGITS {
            return Err(NumberError::TooShort { digits: digits.len() });
        }
        Ok(Self(digits))
    }

    /// The country whose plan has the number; where no plan assigns it, the main
    /// country of its calling code.
    fn country(&self) -> Option<Country> {
        if let Some((country, _)) = self.north_american().and_then(areas::locate) {
            return Some(country);
        }
        let number = self.plan().ok()?;
        let assigned = PHONE_NUMBER_UTIL.get_region_for_number(&number);
        let main = || PHONE_NUMBER_UTIL.get_region_for_country_code(number.country_code);
        assigned.or_else(main)?.as_region_str().parse().ok()
    }

    /// All digits of a number of the North American plan with area code and exchange,
    /// of which libphonenumber has nothing to add.
    fn north_american(&self) -> Option<&str> {
        let is_first = |at: usize| matches!(self.0.as_bytes().get(at), Some(b'2'..=b'9'));
        (self.0.len() == 11 && self.0.starts_with('1') && is_first(1) && is_first(4)).then_some(&self.0)
    }

    /// Whether a numbering plan has numbers of this form.
    fn check_plan(&self) -> Result<(), NumberError> {
        match self.north_american() {
            Some(_) => Ok(()),
            None => self.plan().map(drop),
        }
    }

    fn plan(&self) -> Result<PhoneNumber, NumberError> {
        PHONE_NUMBER_UTIL
            .parse(format!("+{}", self.0), None)
            .ok()
            .filter(|number| PHONE_NUMBER_UTIL.is_possible_number(number))
            .ok_or(NumberError::NotInAnyPlan)
    }
}

/// An ISO 3166-1 alpha-2 country code, upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Country([u8; 2]);

impl Country {
    /// No country: ISO 3166-1 leaves this code to its users.
    pub(super) const UNKNOWN: Self = Self(*b"ZZ");
    pub(super) const US: Self = Self(*b"US");
    pub(super) const CA: Self = Self(*b"CA");

    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII letters get in.
        std::str::from_utf8(&self.0).unwrap_or("ZZ")
    }
}

impl FromStr for Country {
    type Err = CountryError;

    fn from_str(text: &str) -> Result<Self, CountryError> {
        match *text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err(CountryError { found: text.chars().take(16).collect() }),
        }
    }
}

impl TryFrom<String> for Country {
    type Error = CountryError;

    fn try_from(text: String) -> Result<Self, CountryError> {
        text.parse()
    }
}

impl From<Country> for String {
    fn from(country: Country) -> Self {
        country.as_str().to_owned()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a country code.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("'{found}' is not a two-letter country code (ISO 3166-1), such as US or DE")]
pub struct CountryError {
    found: String,
}

/// A state or province by its two letters, upper case, as far as a country's numbering
/// plan tells it (the United States and Canada).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Area(Country);

impl Area {
    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Area {
    type Err = AreaError;

    fn from_str(text: &str) -> Result<Self, AreaError> {
        text.parse().map(Self).map_err(|_| AreaError)
    }
}

impl TryFrom<String> for Area {
    type Error = AreaError;

    fn try_from(text: String) -> Result<Self, AreaError> {
        text.parse()
    }
}

impl From<Area> for String {
    fn from(area: Area) -> Self {
        area.as_str().to_owned()
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not an area.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an area is a state or province of two letters, such as NY")]
pub struct AreaError;

/// A party's real number. Never prints: see the module documentation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartyNumber(Digits);

impl PartyNumber {
    /// The digits without `+`, in clear. Allowed where the number is dialled,
    /// matched, or sealed for the store; never where something is shown.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0.0
    }

    /// The number that has these digits, and nothing but digits.
    pub fn from_digits(text: &str) -> Result<Self, NumberError> {
        if let Some(position) = text.bytes().position(|byte| !byte.is_ascii_digit()) {
            return Err(NumberError::NotADigit { position: position + 1 });
        }
        let digits = ArrayString::from(text).map_err(|_| NumberError::TooLong)?;
        Digits::checked(digits).map(Self)
    }

    /// `+1 212 ••• ••00` in spirit: at most the first four digits, never more
    /// than a third, and the last two.
    #[must_use]
    pub fn masked(&self) -> String {
        mask(&self.0.0)
    }

    /// The country whose plan the number belongs to.
    #[must_use]
    pub fn country(&self) -> Option<Country> {
        self.0.country()
    }

    /// The state or province of its area code, where that has just one.
    #[must_use]
    pub fn area(&self) -> Option<Area> {
        let (_, area) = areas::locate(self.reveal())?;
        area?.parse().ok()
    }

    /// The digits without the calling code, in clear; all of them where no
    /// country has the calling code.
    #[must_use]
    pub fn national(&self) -> &str {
        let calling_code = self.0.plan().map_or(0, |number| number.country_code.to_string().len());
        self.reveal().get(calling_code..).unwrap_or_default()
    }

    /// Refuses numbers that no numbering plan has. Costs up to half a
    /// microsecond, so it is for provisioning.
    pub fn check_plan(&self) -> Result<(), NumberError> {
        self.0.check_plan()
    }
}

impl Zeroize for PartyNumber {
    fn zeroize(&mut self) {
        self.0.0.zeroize();
    }
}

impl Drop for PartyNumber {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for PartyNumber {}

impl FromStr for PartyNumber {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        Digits::parse(text).map(Self)
    }
}

impl fmt::Debug for PartyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// A number that Vizard owns and shows in place of a party.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProxyNumber(Digits);

impl ProxyNumber {
    /// The digits without `+`.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0.0
    }

    /// The country whose plan the number belongs to.
    #[must_use]
    pub fn country(&self) -> Option<Country> {
        self.0.country()
    }

    /// Refuses numbers that no numbering plan has.
    pub fn check_plan(&self) -> Result<(), NumberError> {
        self.0.check_plan()
    }
}

impl FromStr for ProxyNumber {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        Digits::parse(text).map(Self)
    }
}

impl TryFrom<String> for ProxyNumber {
    type Error = NumberError;

    fn try_from(text: String) -> Result<Self, NumberError> {
        text.parse()
    }
}

impl From<ProxyNumber> for String {
    fn from(number: ProxyNumber) -> Self {
        number.to_string()
    }
}

impl fmt::Display for ProxyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("+{}", self.0.0))
    }
}

impl fmt::Debug for ProxyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A number as an operator typed it: kept from printing until it is parsed, and
/// overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Typed(pub String);

impl Drop for Typed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Typed {}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(as typed)")
    }
}

impl FromStr for Typed {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// The mask for any secret digits or user part.
fn mask(text: &str) -> String {
    let length = text.chars().count();
    let (head, tail) = ((length / 3).min(4), if length >= 7 { 2 } else { 0 });
    let mut masked = String::from("+");
    for (index, c) in text.chars().enumerate() {
        if index < head || index >= length - tail {
            masked.push(c);
        } else {
            masked.push('•');
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_accepted_and_forgotten() {
        let number: ProxyNumber = "+1 (415) 555-01.00".parse().unwrap();
        assert_eq!(number.to_string(), "+14155550100");
    }

    #[test]
    fn what_is_not_e164_is_refused_without_echo() {
        for (text, error) in [
            ("", NumberError::Empty),
            ("4155550100", NumberError::NotInternational),
            ("+0155550100", NumberError::NotInternational),
            ("+1415x", NumberError::NotADigit { position: 6 }),
            ("+1٤155550100", NumberError::NotADigit { position: 3 }),
            ("+1415", NumberError::TooShort { digits: 4 }),
            ("+1234567890123456", NumberError::TooLong),
        ] {
            assert_eq!(PartyNumber::from_str(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_party_number_never_prints() {
        let number: PartyNumber = "+12125551200".parse().unwrap();
        assert_eq!(format!("{number:?}"), "+121••••••00");
        assert_eq!(format!("{:?}", Some(("x", number))), r#"Some(("x", +121••••••00))"#);
        let short: PartyNumber = "+49110".parse().unwrap();
        assert_eq!(format!("{short:?}"), "+4••••");
    }

    /// What holds a number in clear overwrites it: a type that forgot would not
    /// compile here.
    #[test]
    fn a_party_number_is_overwritten() {
        fn overwrites<T: ZeroizeOnDrop>() -> bool {
            std::mem::needs_drop::<T>()
        }
        assert!(overwrites::<PartyNumber>() && overwrites::<Typed>());
        let mut number: PartyNumber = "+12125551200".parse().unwrap();
        number.zeroize();
        assert_eq!(number.reveal(), "");
    }

    #[test]
    fn a_panic_about_a_number_does_not_say_it() {
        let number: PartyNumber = "+12125551200".parse().unwrap();
        let panic = std::panic::catch_unwind(|| assert_eq!(Some(number), None)).unwrap_err();
        let said = panic.downcast_ref::<String>().unwrap();
        assert!(said.contains("+121••••••00") && !said.contains("5551200"), "{said}");
    }

    #[test]
    fn a_north_american_number_is_in_its_plan_without_asking() {
        for text in ["+12125551200", "+18005551200", "+12342345678"] {
            let number: PartyNumber = text.parse().unwrap();
            assert!(number.0.north_american().is_some(), "{text}");
            assert_eq!(number.0.plan().map(drop), number.check_plan(), "{text}");
        }
        for text in ["+11125551200", "+12121551200", "+1212555120", "+121255512000", "+4912125551200"] {
            let number: PartyNumber = text.parse().unwrap();
            assert!(number.0.north_american().is_none(), "{text}");
        }
    }

    #[test]
    fn the_country_comes_from_the_number() {
        let country = |text: &str| text.parse::<ProxyNumber>().unwrap().country().map(|c| c.to_string());
        assert_eq!(country("+12125551200").as_deref(), Some("US"));
        assert_eq!(country("+4915123456789").as_deref(), Some("DE"));
        assert_eq!(country("+99955512345"), None);
    }
}
