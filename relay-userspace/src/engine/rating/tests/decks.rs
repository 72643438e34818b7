//! Decks that are made up, against rules that are read off the lines one by one.

use std::fmt::Write as _;

use super::*;

/// A line as the model knows it.
#[derive(Clone, Debug)]
struct Row {
    prefix: String,
    inbound: bool,
    rate: u32,
    /// Hours of the day, in UTC.
    hours: Option<(u8, u8)>,
    /// Days of March.
    from: Option<u8>,
    until: Option<u8>,
}

impl Row {
    fn text(&self) -> String {
        let mut text = format!("prefix={} rate={}", self.prefix, self.rate);
        if self.inbound {
            text += " direction=inbound";
        }
        if let Some((from, until)) = self.hours {
            let _ = write!(text, " from={from:02}:00 until={until:02}:00");
        }
        if let Some(day) = self.from {
            let _ = write!(text, " since=2026-03-{day:02}");
        }
        if let Some(day) = self.until {
            let _ = write!(text, " till=2026-03-{day:02}");
        }
        text
    }

    fn applies(&self, called: &str, inbound: bool, day: u8, hour: u8) -> bool {
        let hours = self.hours.is_none_or(|(from, until)| {
            if from < until { (from..until).contains(&hour) } else { hour >= from || hour < until }
        });
        let begun = self.from.is_none_or(|from| from <= day);
        let over = self.until.is_some_and(|until| until <= day);
        (self.prefix == "*" || called.starts_with(&self.prefix))
            && self.inbound == inbound
            && hours
            && begun
            && !over
    }

    fn overlaps(&self, other: &Self) -> bool {
        let same = self.prefix == other.prefix
            && self.inbound == other.inbound
            && self.hours.is_some() == other.hours.is_some();
        let number = if self.prefix == "*" { "1" } else { &self.prefix };
        same && (0..32).any(|day| {
            (0..24).any(|hour| {
                self.applies(number, self.inbound, day, hour)
                    && other.applies(number, self.inbound, day, hour)
            })
        })
    }
}

fn row() -> impl Strategy<Value = Row> {
    let hours = prop::option::of((0_u8..24, 0_u8..24).prop_filter("a band", |(from, until)| from != until));
    let window = prop_oneof![
        Just((None, None)),
        (1_u8..31).prop_map(|from| (Some(from), None)),
        (1_u8..30, 1_u8..10).prop_map(|(from, long)| (Some(from), Some((from + long).min(31)))),
    ];
    (prop_oneof![Just("*".to_owned()), "[12]{1,5}"], any::<bool>(), 0_u32..1000, hours, window).prop_map(
        |(prefix, inbound, rate, hours, (from, until))| Row { prefix, inbound, rate, hours, from, until },
    )
}

/// Rows that a deck takes: those with an end, or open ones that no other meets.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(row(), 1..40).prop_map(|all| {
        let mut kept: Vec<Row> = Vec::new();
        for row in all {
            if !kept.iter().any(|other| other.overlaps(&row)) {
                kept.push(row);
            }
        }
        kept
    })
}

proptest! {
    #[test]
    fn the_line_that_applies_is_the_one_that_the_rules_name(
        rows in rows(),
        legs in prop::collection::vec(("[12]{5,8}", any::<bool>(), 1_u8..32, 0_u8..24), 30),
    ) {
        let texts: Vec<_> = rows.iter().map(Row::text).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let deck = read(terms("UTC", 4, Rounding::HalfUp), &texts).unwrap();
        prop_assert_eq!(deck.len(), rows.len());
        for (called, inbound, day, hour) in legs {
            let expected = rows
                .iter()
                .filter(|row| row.applies(&called, inbound, day, hour))
                .max_by_key(|row| (row.prefix.trim_start_matches('*').len(), row.hours.is_some()));
            let answered = format!("2026-03-{day:02}T{hour:02}:30:00Z");
            let direction = if inbound { Direction::Inbound } else { Direction::Outbound };
            let leg = Leg { direction, ..leg(&called, &answered, 60) };
            let rated = deck.rate(&leg);
            prop_assert_eq!(
                rated.map(|rated| rated.rate), expected.map(|row| row.rate.into()), "{} {}", called, answered
            );
            // An explanation never tells another story.
            let explanation = deck.explain(&leg);
            prop_assert_eq!(explanation.amount, rated.map(|rated| rated.amount));
            let applies = explanation.applies.map(|place| explanation.tried[place].line.line);
            prop_assert_eq!(applies, rated.map(|rated| rated.line));
        }
    }

    /// The order of a file's lines says nothing.
    #[test]
    fn a_deck_differs_from_its_own_lines_in_another_order_in_nothing(rows in rows(), turn in 0_usize..40) {
        let texts: Vec<_> = rows.iter().map(Row::text).collect();
        let mut texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let one = read(terms("UTC", 4, Rounding::HalfUp), &texts).unwrap();
        texts.rotate_left(turn % rows.len());
        texts.reverse();
        let other = read(terms("UTC", 4, Rounding::HalfUp), &texts).unwrap();
        prop_assert_eq!(diff::differences(&one, &other).count(), 0);
    }

    /// Longer is never cheaper, and nothing is below the least.
    #[test]
    fn a_longer_leg_never_costs_less(
        fee in 0_u32..100, rate in 0_u32..1000, least in 0_u32..200,
        first in 1_u16..120, next in 1_u16..120, lasted in 0_u64..10_000_000_000, more in 0_u64..100_000_000,
    ) {
        let line = format!("prefix=1 fee=0.{fee:03} rate=0.{rate:04} min=0.{least:03} inc={first}/{next}");
        let deck = read(terms("UTC", 6, Rounding::HalfUp), &[&line]).unwrap();
        let rated = |lasted_us| deck.rate(&Leg { lasted_us, ..leg("13105550100", NOON, 0) }).unwrap();
        let (short, long) = (rated(lasted), rated(lasted + more));
        prop_assert!(short.amount <= long.amount);
        prop_assert!(short.amount >= Decimal::new(least.into(), 3));
        prop_assert!(short.seconds * 1_000_000 >= lasted && short.seconds >= u64::from(first));
        prop_assert!(short.seconds.saturating_sub(u64::from(first)) % u64::from(next) == 0);
    }
}
