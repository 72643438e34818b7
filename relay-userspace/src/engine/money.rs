//! Amounts of money: exact, and each with its currency, so that euros are never
//! added to dollars.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// More than any number or call costs: a slipped decimal point.
const MOST: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);
/// Digits behind the point: carriers price calls to a hundred-thousandth.
const MOST_DIGITS: u32 = 8;

/// An amount that is neither negative nor absurd.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// How much.
    pub amount: Decimal,
    /// Of what.
    pub currency: Currency,
}

impl Money {
    /// From two texts, such as `1.15` and `USD`.
    pub fn parse(amount: &str, currency: &str) -> Result<Self, MoneyError> {
        let amount = Decimal::from_str_exact(amount.trim()).map_err(|_| MoneyError::Amount)?;
        if amount.is_sign_negative() || amount > MOST || amount.scale() > MOST_DIGITS {
            return Err(MoneyError::Amount);
        }
        Ok(Self { amount: amount.normalize(), currency: currency.trim().parse()? })
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let text = text.trim();
        let currency = text.find(char::is_alphabetic).ok_or(MoneyError::Currency)?;
        Self::parse(&text[..currency], &text[currency..])
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An ISO 4217 code, upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII letters get in.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_alphabetic) => {
                Ok(Self(code.map(|b| b.to_ascii_uppercase())))
            }
            Ok(_) | Err(_) => Err(MoneyError::Currency),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;

    fn try_from(text: String) -> Result<Self, MoneyError> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.to_string()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no amount of money.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MoneyError {
    /// The number.
    #[error("an amount is a decimal number from 0 to {MOST} with at most {MOST_DIGITS} places, such as 1.15")]
    Amount,
    /// The currency.
    #[error("a currency is a code of three letters (ISO 4217), such as USD")]
    Currency,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_keep_their_currency() {
        let money: Money = "1.10 usd".parse().unwrap();
        assert_eq!(money, Money::parse(" 1.1 ", "USD").unwrap());
        assert_eq!(money, "1.1USD".parse().unwrap());
        assert_eq!(money.to_string(), "1.1 USD");
        let tenth: Money = "0.1 EUR".parse().unwrap();
        assert_eq!(tenth.amount + tenth.amount + tenth.amount, "0.3".parse().unwrap());
        assert_ne!(tenth, "0.1 USD".parse().unwrap());
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for (amount, currency) in [
            ("-1", "USD"),
            ("1e3", "USD"),
            ("1,5", "USD"),
            ("", "USD"),
            ("1000000001", "USD"),
            ("0.123456789", "USD"),
        ] {
            assert_eq!(Money::parse(amount, currency), Err(MoneyError::Amount), "{amount}");
        }
        for currency in ["", "US", "EURO", "U$D", "€"] {
            assert_eq!(Money::parse("1", currency), Err(MoneyError::Currency), "{currency}");
        }
    }
}
