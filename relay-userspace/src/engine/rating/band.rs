//! Time-of-day bands: hours of days of the week, on a clock in the deck's time zone.

use std::fmt;

use jiff::tz::TimeZone;
use thiserror::Error;

use crate::engine::time::Timestamp;

const DAY_MINUTES: u16 = 24 * 60;
const WEEK_MINUTES: u16 = 7 * DAY_MINUTES;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A minute of the week that a clock somewhere shows: Monday's midnight is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WeekMinute(u16);

impl WeekMinute {
    pub(super) fn at(time: Timestamp, zone: &TimeZone) -> Self {
        let seconds = time.unix_microseconds().div_euclid(1_000_000);
        let offset = jiff::Timestamp::from_second(seconds).map_or(0, |at| zone.to_offset(at).seconds());
        let minutes = (seconds + i64::from(offset)).div_euclid(60);
        // The first of January 1970 was a Thursday.
        let minute = (minutes + 3 * i64::from(DAY_MINUTES)).rem_euclid(i64::from(WEEK_MINUTES));
        Self(u16::try_from(minute).unwrap_or(0))
    }
}

/// Some hours of some days of every week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Band {
    /// Monday is the lowest bit.
    days: u8,
    /// Minutes of the day on which it begins; `until` is beyond its end where the band
    /// runs past midnight.
    from: u16,
    until: u16,
}

impl Band {
    /// Of three texts, each of which may be empty: `mon-fri`, `08:00` and `20:00`; all
    /// days, from midnight to midnight where they are.
    pub(super) fn parse(days: &str, from: &str, until: &str) -> Result<Option<Self>, BandError> {
        if days.is_empty() && from.is_empty() && until.is_empty() {
            return Ok(None);
        }
        let from = if from.is_empty() { 0 } else { minute(from)? };
        let until = if until.is_empty() { DAY_MINUTES } else { minute(until)? };
        if from == until || from == DAY_MINUTES {
            return Err(BandError::Empty);
        }
        let until = if until < from { until + DAY_MINUTES } else { until };
        Ok(Some(Self { days: week_days(days)?, from, until }))
    }

    pub(super) fn holds(self, WeekMinute(minute): WeekMinute) -> bool {
        self.spans().any(|(from, until)| {
            (from..until).contains(&minute) || (from..until).contains(&(minute + WEEK_MINUTES))
        })
    }

    /// Whether there is a minute that both hold.
    pub(super) fn meets(self, other: Self) -> bool {
        self.spans().any(|(from, _)| other.holds(WeekMinute(from % WEEK_MINUTES)))
            || other.spans().any(|(from, _)| self.holds(WeekMinute(from % WEEK_MINUTES)))
    }

    /// Its minutes of the week, one span for each day; Sunday's may run into the next.
    fn spans(self) -> impl Iterator<Item = (u16, u16)> {
        (0..7).filter(move |day| self.days & 1 << day != 0).map(move |day| {
            let midnight = day * DAY_MINUTES;
            (midnight + self.from, midnight + self.until)
        })
    }
}

fn minute(text: &str) -> Result<u16, BandError> {
    let (hours, minutes) = text.split_once(':').ok_or(BandError::Time)?;
    let read = |text: &str, most| {
        let good = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number: &u16| good && *number <= most).ok_or(BandError::Time)
    };
    let minute = read(hours, 24)? * 60 + read(minutes, 59)?;
    if minute > DAY_MINUTES { Err(BandError::Time) } else { Ok(minute) }
}

/// `mon-fri`, `sat;sun`, `fri-mon`; no text is every day.
fn week_days(text: &str) -> Result<u8, BandError> {
    if text.is_empty() {
        return Ok(0x7f);
    }
    let mut days = 0;
    for part in text.split([';', ' ']).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |name: &str| {
            DAYS.iter().position(|day| day.eq_ignore_ascii_case(name.trim())).ok_or(BandError::Days)
        };
        let (mut day, last) = (number(first)?, number(last)?);
        loop {
            days |= 1 << day;
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    if days == 0 { Err(BandError::Days) } else { Ok(days) }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != 0x7f {
            let names: Vec<_> =
                DAYS.iter().enumerate().filter(|(day, _)| self.days & 1 << day != 0).collect();
            let run = names.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0);
            match &names[..] {
                [(_, first), .., (_, last)] if run && names.len() > 2 => write!(f, "{first}-{last} ")?,
                names => {
                    let names: Vec<_> = names.iter().map(|(_, name)| **name).collect();
                    write!(f, "{} ", names.join(";"))?;
                }
            }
        }
        let until = if self.until > DAY_MINUTES { self.until - DAY_MINUTES } else { self.until };
        write!(f, "{:02}:{:02}-{:02}:{:02}", self.from / 60, self.from % 60, until / 60, until % 60)
    }
}

/// Texts that are no band.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum BandError {
    #[error("a time of day is written 08:00, from 00:00 to 24:00")]
    Time,
    #[error("days are written mon-fri or sat;sun")]
    Days,
    #[error("the band begins when it ends")]
    Empty,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn band(days: &str, from: &str, until: &str) -> Band {
        Band::parse(days, from, until).unwrap().unwrap()
    }

    #[test]
    fn bands_are_read_and_shown() {
        for (texts, shown) in [
            (["mon-fri", "8:00", "20:00"], "mon-fri 08:00-20:00"),
            (["sat;sun", "", ""], "sat;sun 00:00-24:00"),
            (["", "22:00", "06:00"], "22:00-06:00"),
            (["fri-mon", "", "24:00"], "mon;fri;sat;sun 00:00-24:00"),
            (["SUN", "23:30", "0:30"], "sun 23:30-00:30"),
        ] {
            assert_eq!(band(texts[0], texts[1], texts[2]).to_string(), shown);
        }
        assert_eq!(Band::parse("", "", ""), Ok(None));
        for (texts, error) in [
            (["", "8", "9:00"], BandError::Time),
            (["", "25:00", ""], BandError::Time),
            (["", "08:60", ""], BandError::Time),
            (["", "24:01", ""], BandError::Time),
            (["", "+8:00", ""], BandError::Time),
            (["monday", "", ""], BandError::Days),
            ([";", "", ""], BandError::Days),
            (["", "08:00", "8:00"], BandError::Empty),
        ] {
            assert_eq!(Band::parse(texts[0], texts[1], texts[2]), Err(error), "{texts:?}");
        }
    }

    fn any_band() -> impl Strategy<Value = Band> {
        (1_u8..0x80, 0..DAY_MINUTES, 1..DAY_MINUTES).prop_map(|(days, from, long)| Band {
            days,
            from,
            until: from + long,
        })
    }

    proptest! {
        /// Two bands meet just when some minute is in both.
        #[test]
        fn bands_meet_where_they_share_a_minute(one in any_band(), other in any_band()) {
            let both = (0..WEEK_MINUTES).any(|m| one.holds(WeekMinute(m)) && other.holds(WeekMinute(m)));
            prop_assert_eq!(one.meets(other), both);
            prop_assert_eq!(other.meets(one), both);
        }
    }
}
