//! Cases worked by hand, and properties over decks that are made up.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::builder::Problems;
use super::*;

mod decks;

fn terms(zone: &str, places: u8, rounding: Rounding) -> Terms {
    Terms { currency: "USD".parse().unwrap(), time_zone: time_zone(zone).unwrap(), places, rounding }
}

/// A line of `name=value` words; `_` stands for a blank.
pub(super) fn fields(line: &str) -> BTreeMap<&str, String> {
    line.split_whitespace()
        .map(|word| {
            let (name, value) = word.split_once('=').unwrap();
            (name, value.replace('_', " "))
        })
        .collect()
}

pub(super) fn read(terms: Terms, lines: &[&str]) -> Result<Deck, Problems> {
    let mut builder = Builder::new(terms);
    for (number, line) in (2..).zip(lines) {
        let fields = fields(line);
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        builder.line(
            number,
            &Fields {
                prefix: field("prefix"),
                description: field("description"),
                direction: field("direction"),
                jurisdiction: field("jurisdiction"),
                days: field("days"),
                time_from: field("from"),
                time_until: field("until"),
                effective_from: field("since"),
                effective_until: field("till"),
                connect_fee: field("fee"),
                rate: field("rate"),
                increments: field("inc"),
                minimum: field("min"),
                minimum_seconds: field("seconds"),
                currency: field("currency"),
            },
        );
    }
    builder.finish()
}

fn at(time: &str) -> Timestamp {
    Timestamp::from_unix_microseconds(time.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

fn leg<'a>(called: &'a str, answered: &str, seconds: u64) -> Leg<'a> {
    Leg {
        called: Some(called),
        calling: Some("12125550123"),
        direction: Direction::Outbound,
        answered: at(answered),
        lasted_us: seconds * 1_000_000,
    }
}

/// What a leg comes to: billed seconds and amount.
fn comes_to(deck: &Deck, leg: &Leg<'_>) -> Option<(u64, String)> {
    deck.rate(leg).map(|rated| (rated.seconds, rated.amount.to_string()))
}

const NOON: &str = "2026-03-04T12:00:00Z";

#[test]
fn increments_minimums_and_fees_come_to_what_a_hand_works_out() {
    for (line, micros, expected) in [
        // 0.60 a minute is 0.01 a second.
        ("rate=0.60", 0, (1, "0.01")),
        ("rate=0.60", 1, (1, "0.01")),
        ("rate=0.60", 1_000_000, (1, "0.01")),
        ("rate=0.60", 1_000_001, (2, "0.02")),
        ("rate=0.60", 61_000_000, (61, "0.61")),
        ("rate=0.60 inc=6/6", 1, (6, "0.06")),
        ("rate=0.60 inc=6/6", 6_000_000, (6, "0.06")),
        ("rate=0.60 inc=6/6", 6_000_001, (12, "0.12")),
        ("rate=0.60 inc=60/60", 1, (60, "0.6")),
        ("rate=0.60 inc=60/60", 60_000_001, (120, "1.2")),
        ("rate=0.60 inc=30/6", 30_000_000, (30, "0.3")),
        ("rate=0.60 inc=30/6", 30_000_001, (36, "0.36")),
        ("rate=0.60 inc=60/1", 61_500_000, (62, "0.62")),
        ("rate=0.60 inc=1/60", 1_000_001, (61, "0.61")),
        // The fewest seconds are then taken in whole increments.
        ("rate=0.60 seconds=20", 3_000_000, (20, "0.2")),
        ("rate=0.60 seconds=20 inc=6/6", 3_000_000, (24, "0.24")),
        ("rate=0.60 seconds=20 inc=6/6", 25_000_000, (30, "0.3")),
        // The least charge is of fee and time together.
        ("rate=0.60 min=0.05", 1, (1, "0.05")),
        ("rate=0.60 min=0.05 fee=0.03", 1_000_000, (1, "0.05")),
        ("rate=0.60 min=0.05 fee=0.03", 3_000_000, (3, "0.06")),
        ("rate=0.60 fee=0.10", 30_000_000, (30, "0.4")),
        ("rate=0", 30_000_000, (30, "0")),
        ("rate=0 fee=0.1", 30_000_000, (30, "0.1")),
    ] {
        let line = format!("prefix=1310 {line}");
        let deck = read(terms("UTC", 4, Rounding::HalfUp), &[&line]).unwrap();
        let leg = Leg { lasted_us: micros, ..leg("13105550100", NOON, 0) };
        assert_eq!(comes_to(&deck, &leg), Some((expected.0, expected.1.to_owned())), "{line} {micros}");
    }
}

#[test]
fn a_charge_is_rounded_once_to_the_places_and_in_the_way_of_the_deck() {
    // 0.0075 * 10 / 60 = 0.00125; 0.01 * 10 / 60 = 0.001666...; 0.0225 * 10 / 60 = 0.00375
    for (rate, places, rounding, expected) in [
        ("0.0075", 4, Rounding::HalfUp, "0.0013"),
        ("0.0075", 4, Rounding::HalfEven, "0.0012"),
        ("0.0225", 4, Rounding::HalfEven, "0.0038"),
        ("0.0075", 4, Rounding::Up, "0.0013"),
        ("0.0075", 4, Rounding::Down, "0.0012"),
        ("0.0075", 5, Rounding::HalfEven, "0.00125"),
        ("0.01", 4, Rounding::HalfUp, "0.0017"),
        ("0.01", 4, Rounding::Down, "0.0016"),
        ("0.01", 8, Rounding::HalfUp, "0.00166667"),
        ("0.01", 2, Rounding::HalfUp, "0"),
        ("0.01", 2, Rounding::Up, "0.01"),
        ("0.01", 0, Rounding::Up, "1"),
        ("999999999.99999999", 8, Rounding::HalfUp, "166666666.66666667"),
    ] {
        let deck = read(terms("UTC", places, rounding), &[&format!("prefix=1 rate={rate}")]).unwrap();
        let got = comes_to(&deck, &leg("13105550100", NOON, 10));
        assert_eq!(got, Some((10, expected.to_owned())), "{rate} {places} {rounding:?}");
    }
}

#[test]
fn the_longest_prefix_wins_and_one_without_a_line_for_the_leg_gives_way() {
    let lines = [
        "prefix=* rate=9",
        "prefix=1 rate=1",
        "prefix=1310 rate=2",
        "prefix=1310555 rate=3 since=2026-06-01",
        "prefix=1310 rate=4 direction=inbound",
    ];
    let deck = read(terms("UTC", 4, Rounding::HalfUp), &lines).unwrap();
    for (called, answered, expected) in [
        ("13105550100", NOON, "2"),
        ("13105550100", "2026-06-01T00:00:00Z", "3"),
        ("13115550100", NOON, "1"),
        ("4930123456", NOON, "9"),
    ] {
        let rate = deck.rate(&leg(called, answered, 60)).unwrap().rate;
        assert_eq!(rate.to_string(), expected, "{called} {answered}");
    }
    let inbound = |called| Leg { direction: Direction::Inbound, ..leg(called, NOON, 60) };
    assert_eq!(comes_to(&deck, &inbound("13105550100")), Some((60, "4".into())));
    assert_eq!(comes_to(&deck, &inbound("13115550100")), None);
    let endpoint = Leg { called: None, ..leg("", NOON, 60) };
    assert_eq!(comes_to(&deck, &endpoint), Some((60, "9".into())));
}

/// New York is at UTC-5 in winter and at UTC-4 in summer; in 2026 its clocks go forward on
/// 8 March at 07:00 UTC and back on 1 November at 06:00 UTC.
#[test]
fn bands_follow_the_clock_of_their_place_over_midnight_and_the_change_of_clocks() {
    let lines = [
        "prefix=1 rate=1",
        "prefix=1 rate=2 days=mon-fri from=08:00 until=20:00",
        "prefix=1 rate=3 from=22:00 until=06:00 days=fri",
        "prefix=1 rate=4 from=01:00 until=02:00 days=sun",
        "prefix=1 rate=5 from=02:00 until=03:00 days=sun",
    ];
    let deck = read(terms("America/New_York", 4, Rounding::HalfUp), &lines).unwrap();
    for (answered, expected) in [
        // Wednesday 4 March 2026, winter.
        ("2026-03-04T12:59:59.999999Z", "1"),
        ("2026-03-04T13:00:00Z", "2"),
        ("2026-03-05T00:59:59Z", "2"),
        ("2026-03-05T01:00:00Z", "1"),
        // Wednesday 11 March 2026, summer.
        ("2026-03-11T11:59:59Z", "1"),
        ("2026-03-11T12:00:00Z", "2"),
        // Friday's night ends on Saturday morning, and Thursday's is none.
        ("2026-03-07T03:00:00Z", "3"),
        ("2026-03-07T10:59:59Z", "3"),
        ("2026-03-07T11:00:00Z", "1"),
        ("2026-03-06T04:00:00Z", "1"),
        // Two o'clock is left out in spring...
        ("2026-03-08T06:59:59Z", "4"),
        ("2026-03-08T07:00:00Z", "1"),
        // ...and one o'clock comes twice in autumn.
        ("2026-11-01T05:30:00Z", "4"),
        ("2026-11-01T06:30:00Z", "4"),
        ("2026-11-01T07:30:00Z", "5"),
        ("2026-11-01T08:00:00Z", "1"),
    ] {
        // However long it goes on: the line at the answer holds.
        let rate = deck.rate(&leg("13105550100", answered, 86_400)).unwrap().rate;
        assert_eq!(rate.to_string(), expected, "{answered}");
    }
}

#[test]
fn dates_begin_at_midnight_of_the_deck_and_a_line_lasts_until_the_next() {
    let lines = [
        "prefix=1 rate=1",
        "prefix=1 rate=2 since=2026-03-08",
        "prefix=1 rate=3 since=2026-11-01T04:00:00Z till=2026-11-02",
    ];
    let deck = read(terms("America/New_York", 4, Rounding::HalfUp), &lines).unwrap();
    for (answered, expected) in [
        ("1999-12-31T23:59:59Z", Some("1")),
        ("2026-03-08T04:59:59.999999Z", Some("1")),
        ("2026-03-08T05:00:00Z", Some("2")),
        ("2026-11-01T03:59:59Z", Some("2")),
        ("2026-11-01T04:00:00Z", Some("3")),
        ("2026-11-02T04:59:59Z", Some("3")),
        ("2026-11-02T05:00:00Z", None),
    ] {
        let rate = deck.rate(&leg("13105550100", answered, 60)).map(|rated| rated.rate.to_string());
        assert_eq!(rate.as_deref(), expected, "{answered}");
    }
}

#[test]
fn the_narrowest_jurisdiction_wins() {
    let lines = [
        "prefix=1 rate=1",
        "prefix=1 rate=2 jurisdiction=domestic",
        "prefix=1 rate=3 jurisdiction=intrastate",
        "prefix=1 rate=4 jurisdiction=intrastate from=00:00 until=06:00",
        "prefix=1 rate=5 jurisdiction=international",
    ];
    let deck = read(terms("UTC", 4, Rounding::HalfUp), &lines).unwrap();
    for (calling, called, answered, expected) in [
        ("12125550123", "13105550100", NOON, "2"),
        ("12125550123", "13155550100", NOON, "3"),
        ("12125550123", "13155550100", "2026-03-04T01:00:00Z", "4"),
        ("12125550123", "14165550100", NOON, "5"),
        ("4930123456", "13105550100", NOON, "5"),
    ] {
        let leg = Leg { calling: Some(calling), ..leg(called, answered, 60) };
        assert_eq!(deck.rate(&leg).unwrap().rate.to_string(), expected, "{calling} {called}");
    }
    // Who calls is not known, and so is what it is.
    let unknown = Leg { calling: None, ..leg("13155550100", NOON, 60) };
    assert_eq!(deck.rate(&unknown).unwrap().rate.to_string(), "1");
}

#[test]
fn an_explanation_says_of_every_line_why_it_does_not_apply() {
    use super::deck::Verdict;
    let lines = [
        "prefix=1 rate=1 description=NANP",
        "prefix=1310 rate=2 from=00:00 until=06:00",
        "prefix=1310 rate=3 jurisdiction=intrastate",
        "prefix=1310 rate=4 direction=inbound",
        "prefix=1310 rate=5 since=2027-01-01",
        "prefix=1310 rate=6 till=2026-01-01",
        "prefix=1311 rate=7",
        "prefix=* rate=8",
    ];
    let deck = read(terms("UTC", 4, Rounding::HalfUp), &lines).unwrap();
    let explanation = deck.explain(&leg("13105550100", NOON, 90));
    let verdicts: Vec<_> =
        explanation.tried.iter().map(|tried| (tried.line.rate.to_string(), tried.verdict)).collect();
    let expected = [
        ("3", Verdict::OtherJurisdiction),
        ("2", Verdict::OtherHours),
        ("6", Verdict::NoLonger),
        ("5", Verdict::NotYet),
        ("4", Verdict::OtherDirection),
        ("1", Verdict::Applies),
        ("8", Verdict::Later),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(rate, verdict)| (rate.to_owned(), verdict)).collect();
    assert_eq!(verdicts, expected);
    assert_eq!((explanation.applies, explanation.seconds), (Some(5), 90));
    assert_eq!(explanation.amount.unwrap().to_string(), "1.5");
    assert_eq!(explanation.jurisdiction, Some(Jurisdiction::Interstate));
}

#[test]
fn all_bad_lines_are_told_at_once() {
    let lines = [
        "prefix=1 rate=1",
        "prefix=01 rate=1",
        "prefix=1.31E+10 rate=x",
        "rate=1",
        "prefix=2",
        "prefix=3 rate=-1 inc=60 min=0.000000001",
        "prefix=4 rate=1 since=2026-02-30",
        "prefix=5 rate=1 since=2026-03-01 till=2026-03-01",
        "prefix=6 rate=1 direction=up jurisdiction=lunar",
        "prefix=7 rate=1 days=someday",
        "prefix=8 rate=1 currency=ZZZ",
        "prefix=9 rate=1 currency=EUR",
        "prefix=1 rate=2",
        "prefix=41 rate=1 since=2026-01-01 till=2026-03-01",
        "prefix=41 rate=2 since=2026-02-01",
        "prefix=42 rate=1 days=mon-fri from=08:00 until=20:00",
        "prefix=42 rate=2 days=fri from=19:00 until=02:00",
        "prefix=43 rate=1 since=2026-03-01T08:00",
        "prefix=44 rate=1 seconds=1.5",
    ];
    let problems = read(terms("UTC", 4, Rounding::HalfUp), &lines).unwrap_err();
    let told: Vec<_> =
        problems.shown.iter().map(|problem| format!("{} {}", problem.line, problem.what)).collect();
    assert_eq!(
        told,
        [
            "3 the prefix is not one of international numbers",
            "4 the prefix is not one of international numbers",
            "4 rate is no amount of money",
            "5 the prefix is not one of international numbers",
            "6 rate is no amount of money",
            "7 rate is no amount of money",
            "7 minimum is no amount of money",
            "7 the increments are not two numbers of seconds from 1 to 3600",
            "8 effective_from is neither a date nor a time",
            "9 it ends before it begins",
            "10 the direction is unknown",
            "10 the jurisdiction is unknown",
            "11 days are written mon-fri or sat;sun",
            "12 the currency is unknown",
            "13 the line is in EUR and the deck in USD",
            "14 line 2 is for the same prefix, legs, hours and days",
            "16 line 15 is for the same prefix, legs, hours and days",
            "18 line 17 is for the same prefix, legs, hours and days",
            "19 effective_from is neither a date nor a time",
            "20 minimum_seconds is no number of seconds",
        ]
    );
    assert!(problems.shown.iter().all(|problem| !problem.remedy.is_empty()));
    assert_eq!(read(terms("UTC", 4, Rounding::HalfUp), &[]).unwrap_err().count(), 1);
}

#[test]
fn of_endless_problems_the_first_are_told_and_the_others_counted() {
    let lines = vec!["prefix=x rate=1"; 1_500];
    let problems = read(terms("UTC", 4, Rounding::HalfUp), &lines).unwrap_err();
    assert_eq!((problems.shown.len(), problems.more), (1_000, 500));
    // More lines of one prefix than a search should look through.
    let lines: Vec<_> = (0..257).map(|n| format!("prefix=1 rate=1 since={}-01-01", 1990 + n)).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let problems = read(terms("UTC", 4, Rounding::HalfUp), &lines).unwrap_err();
    assert_eq!((problems.shown.len(), problems.shown[0].line), (1, 258));
}

#[test]
fn a_difference_says_what_changes() {
    let read = |lines: &[&str]| read(terms("UTC", 4, Rounding::HalfUp), lines).unwrap();
    let old = read(&[
        "prefix=1 rate=1",
        "prefix=1 rate=3 days=sun",
        "prefix=12 rate=1",
        "prefix=13 rate=2",
        "prefix=14 rate=2 description=Here",
        "prefix=2 rate=0",
    ]);
    let new = read(&[
        "prefix=14 rate=2 description=There",
        "prefix=1 rate=1 days=sat",
        "prefix=1 rate=3 days=sun",
        "prefix=1 rate=1",
        "prefix=11 rate=5",
        "prefix=12 rate=1.25",
        "prefix=13 rate=1",
        "prefix=2 rate=1",
    ]);
    let told: Vec<_> = diff::differences(&old, &new)
        .map(|difference| {
            let line = match &difference {
                Difference::Added { new } | Difference::Changed { new, .. } => new,
                Difference::Removed { old } => old,
            };
            (
                line.prefix.clone(),
                difference.change(),
                difference.percent().map(|percent| percent.to_string()),
            )
        })
        .collect();
    let percent = |text: &str| Some(text.to_owned());
    assert_eq!(
        told,
        [
            ("1".to_owned(), Change::Added, None),
            ("11".to_owned(), Change::Added, None),
            ("12".to_owned(), Change::Raised, percent("25")),
            ("13".to_owned(), Change::Lowered, percent("-50")),
            ("14".to_owned(), Change::Otherwise, percent("0")),
            ("2".to_owned(), Change::Raised, None),
        ]
    );
    assert_eq!(diff::differences(&new, &new).count(), 0);
    assert_eq!(diff::differences(&new, &old).filter(|d| d.change() == Change::Removed).count(), 2);
}
