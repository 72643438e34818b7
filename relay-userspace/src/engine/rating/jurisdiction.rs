//! How far apart two ends are, in the eyes of regulators.

use serde::{Deserialize, Serialize};

use crate::engine::areas;
use crate::engine::number::{Country, PartyNumber};

/// Which calls a line is for. Every call has one; a line for domestic calls is for
/// inter- and intrastate ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Jurisdiction {
    /// Within one state or province of the United States or Canada.
    Intrastate,
    /// Within one of these countries, and not known to be within one state: carriers
    /// rate what is indeterminate (toll-free, shared area codes) so.
    Interstate,
    /// Within one country.
    Domestic,
    /// From one country to another.
    International,
}

impl Jurisdiction {
    /// All, the narrowest first.
    pub const ALL: [Self; 4] = [Self::Intrastate, Self::Interstate, Self::Domestic, Self::International];

    /// The word that decks have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intrastate => "intrastate",
            Self::Interstate => "interstate",
            Self::Domestic => "domestic",
            Self::International => "international",
        }
    }

    /// Of a call between two numbers, in digits; none where a country is not known.
    #[must_use]
    pub fn between(one: &str, other: &str) -> Option<Self> {
        let ((country, state), (other_country, other_state)) = (place(one)?, place(other)?);
        let has_states = country == Country::US || country == Country::CA;
        Some(if country != other_country {
            Self::International
        } else if !has_states {
            Self::Domestic
        } else if state.is_some() && state == other_state {
            Self::Intrastate
        } else {
            Self::Interstate
        })
    }

    /// Whether a line for this is for calls of that.
    pub(super) const fn covers(self, of: Self) -> bool {
        match (self, of) {
            (Self::Intrastate, Self::Intrastate)
            | (Self::Interstate, Self::Interstate)
            | (Self::Domestic, Self::Intrastate | Self::Interstate | Self::Domestic)
            | (Self::International, Self::International) => true,
            (Self::Intrastate, Self::Interstate | Self::Domestic | Self::International)
            | (Self::Interstate, Self::Intrastate | Self::Domestic | Self::International)
            | (Self::Domestic, Self::International)
            | (Self::International, Self::Intrastate | Self::Interstate | Self::Domestic) => false,
        }
    }
}

fn place(digits: &str) -> Option<(Country, Option<&'static str>)> {
    areas::locate(digits).or_else(|| Some((PartyNumber::from_digits(digits).ok()?.country()?, None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_countries_tell() {
        for (one, other, expected) in [
            ("12125550123", "13155550123", Some(Jurisdiction::Intrastate)),
            ("12125550123", "13105550123", Some(Jurisdiction::Interstate)),
            ("18005550123", "13105550123", Some(Jurisdiction::Interstate)),
            ("14165550123", "16135550123", Some(Jurisdiction::Intrastate)),
            ("12125550123", "14165550123", Some(Jurisdiction::International)),
            ("12125550123", "4930123456", Some(Jurisdiction::International)),
            ("4930123456", "4989123456", Some(Jurisdiction::Domestic)),
            // Two provinces share the code.
            ("19025550123", "19025550124", Some(Jurisdiction::Interstate)),
            ("99999", "12125550123", None),
        ] {
            assert_eq!(Jurisdiction::between(one, other), expected, "{one} {other}");
            assert_eq!(Jurisdiction::between(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_line_for_domestic_calls_is_for_those_within_and_across_states() {
        for line in Jurisdiction::ALL {
            for of in Jurisdiction::ALL {
                let domestic = line == Jurisdiction::Domestic && of < Jurisdiction::Domestic;
                assert_eq!(line.covers(of), line == of || domestic, "{line:?} {of:?}");
            }
        }
    }
}
