//! Session-Expires and Min-SE (RFC 4028): how long a session lives without being
//! refreshed, and who refreshes it.

use super::header::{HeaderError, HeaderProblem, Params, digits};
use super::message::Message;
use super::name::Name;
use super::scan;

/// The shortest interval that anybody may insist on, in seconds (section 5).
pub const SHORTEST: u32 = 90;

/// Who refreshes, by its part in the request that the word stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// Who sent the request.
    Uac,
    /// Who answers it.
    Uas,
}

impl Refresher {
    /// The word in the header field.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uac => "uac",
            Self::Uas => "uas",
        }
    }
}

/// Session-Expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// Seconds.
    pub interval: u32,
    /// Who refreshes; left to who answers when absent.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// What a message says, if it says anything.
    pub fn of(message: &Message) -> Result<Option<Self>, HeaderError> {
        let read = |text| {
            let (interval, params) = seconds(text)?;
            let refresher = match params.get("refresher") {
                None => None,
                Some(word) if word.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
                Some(word) if word.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
                Some(_) => return Err(HeaderProblem::Malformed),
            };
            Ok(Self { interval, refresher })
        };
        let value = message.header(Name::SessionExpires).map(read).transpose();
        value.map_err(|problem| problem.of(Name::SessionExpires))
    }

    /// As it is written.
    #[must_use]
    pub fn text(self) -> String {
        let refresher = self.refresher.map_or_else(String::new, |who| format!(";refresher={}", who.as_str()));
        format!("{}{refresher}", self.interval)
    }
}

/// Min-SE in seconds; [`SHORTEST`] when a message has none.
pub fn min_se(message: &Message) -> Result<u32, HeaderError> {
    let Some(text) = message.header(Name::MinSe) else { return Ok(SHORTEST) };
    let (interval, _) = seconds(text).map_err(|problem| problem.of(Name::MinSe))?;
    Ok(interval.max(SHORTEST))
}

/// Whether an option tag stands in Supported or Require.
#[must_use]
pub fn supports(message: &Message, option: &str) -> bool {
    let named = |name| message.list(name).any(|tag| tag.eq_ignore_ascii_case(option));
    named(Name::Supported) || named(Name::Require)
}

/// `delta-seconds *(SEMI param)`.
fn seconds(text: &str) -> Result<(u32, Params<'_>), HeaderProblem> {
    let (number, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
    let number = scan::trim(number);
    if number.is_empty() {
        return Err(HeaderProblem::Malformed);
    }
    // Longer than anybody lives is as good as what was meant (RFC 3261 section 25.1).
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits(number).or(is_number.then_some(u32::MAX)).ok_or(HeaderProblem::Malformed)?;
    Ok((seconds, Params::parse(rest)?))
}

#[cfg(test)]
mod tests;
