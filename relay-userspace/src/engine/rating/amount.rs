//! Amounts of a deck: whole hundred-millionths of a currency's unit, so that a
//! million lines are small and a charge is exact until it is rounded.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::engine::money::{Currency, Money, MoneyError};

/// Digits behind the point of a charge, at most.
pub const MOST_PLACES: u8 = 8;
/// An amount is never more than a thousand million units (see [`Money`]).
const UNITS: i128 = 100_000_000;

/// A part of what a leg costs, in hundred-millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Amount(u64);

impl Amount {
    pub(super) fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        if let Some(amount) = short(text) {
            return Ok(amount);
        }
        let Money { amount, .. } = Money::parse(text, currency.as_str())?;
        let scale = u32::from(MOST_PLACES) - amount.scale();
        let units = amount.mantissa() * 10_i128.pow(scale);
        u64::try_from(units).map(Self).map_err(|_| MoneyError::Amount)
    }

    pub(super) fn decimal(self) -> Decimal {
        Decimal::from_i128_with_scale(i128::from(self.0), u32::from(MOST_PLACES)).normalize()
    }

    /// Sixty of it: what a charge is counted in until it is divided.
    const fn sixty(self) -> i128 {
        self.0 as i128 * 60
    }
}

/// Digits with a point, as nearly all amounts of a deck are.
fn short(text: &str) -> Option<Amount> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 8 || fraction.len() > 8 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let value = |text: &str| text.bytes().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let missing = u32::try_from(8 - fraction.len()).ok()?;
    Some(Amount(value(whole) * 100_000_000 + value(fraction) * 10_u64.pow(missing)))
}

/// How a charge loses the digits that it may not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// To the nearest; up from the middle.
    #[default]
    HalfUp,
    /// To the nearest; to the even one from the middle.
    HalfEven,
    /// Up.
    Up,
    /// Down.
    Down,
}

impl Rounding {
    /// All, by the words that the configuration has for them.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("half-up", Self::HalfUp), ("half-even", Self::HalfEven), ("up", Self::Up), ("down", Self::Down)];

    /// A quotient that is not negative, rounded to a whole number.
    const fn divide(self, dividend: i128, divisor: i128) -> i128 {
        let (quotient, rest) = (dividend / divisor, dividend % divisor);
        let up = match self {
            Self::Down => false,
            Self::Up => rest > 0,
            Self::HalfUp => rest * 2 >= divisor,
            Self::HalfEven => rest * 2 > divisor || (rest * 2 == divisor && quotient % 2 == 1),
        };
        if up { quotient + 1 } else { quotient }
    }
}

/// What a leg comes to, for so many seconds at a rate per minute.
pub(super) fn charge(
    connect_fee: Amount,
    rate: Amount,
    seconds: u64,
    least: Amount,
    places: u8,
    rounding: Rounding,
) -> Decimal {
    let sixtieths = connect_fee.sixty() + i128::from(rate.0) * i128::from(seconds);
    let sixtieths = sixtieths.max(least.sixty());
    let places = places.min(MOST_PLACES);
    let divisor = 60 * (UNITS / 10_i128.pow(u32::from(places)));
    let rounded = rounding.divide(sixtieths, divisor);
    // Decimal has 96 bits; a rate of a thousand million for a century has fewer.
    Decimal::try_from_i128_with_scale(rounded, u32::from(places)).unwrap_or(Decimal::MAX).normalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd() -> Currency {
        "USD".parse().unwrap()
    }

    proptest! {
        /// The short way of reading and the exact one agree.
        #[test]
        fn amounts_are_read_as_money_is(whole in 0_u64..100_000_000, fraction in "[0-9]{0,8}") {
            let text = if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") };
            let money = Money::parse(&text, "USD").unwrap();
            prop_assert_eq!(Amount::parse(&text, usd()).unwrap().decimal(), money.amount);
        }

        /// Integers here and decimals there come to the same.
        #[test]
        fn a_charge_is_what_decimals_say(
            fee in 0_u64..10_000_000_000, rate in 0_u64..10_000_000_000, seconds in 0_u64..100_000,
            least in 0_u64..10_000_000_000, places in 0_u8..=8,
        ) {
            use rust_decimal::RoundingStrategy as S;
            let decimal = |units: u64| Decimal::from_i128_with_scale(units.into(), 8);
            let exact = (decimal(fee) * Decimal::from(60) + decimal(rate) * Decimal::from(seconds))
                .max(decimal(least) * Decimal::from(60));
            for (rounding, strategy) in [
                (Rounding::HalfUp, S::MidpointAwayFromZero),
                (Rounding::HalfEven, S::MidpointNearestEven),
                (Rounding::Up, S::AwayFromZero),
                (Rounding::Down, S::ToZero),
            ] {
                let expected = (exact / Decimal::from(60)).round_dp_with_strategy(places.into(), strategy);
                let got = charge(Amount(fee), Amount(rate), seconds, Amount(least), places, rounding);
                prop_assert_eq!(got, expected);
            }
        }
    }
}
