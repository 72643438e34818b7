use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::engine::cdr::{Labels, LegMedia, Release, ReleaseSide, Traffic};
use crate::engine::ids::{LegName, RecordId, SessionId};
use crate::engine::quality::Mos;

fn record(outbound: bool, cause: Cause, answer: Option<i64>) -> Cdr {
    let session = SessionId::from_bits(1);
    let at = Timestamp::from_unix_microseconds;
    Cdr {
        id: RecordId::of(session, LegName::B, 0),
        version: 0,
        interim: None,
        session,
        leg: LegName::B,
        fork: 0,
        binding: None,
        tenant: "acme".into(),
        project: "main".into(),
        labels: Labels::default(),
        direction: if outbound { Direction::Outbound } else { Direction::Inbound },
        proxy: None,
        remote_country: None,
        remote_area: None,
        trunk: "carrier".into(),
        start: at(0),
        ring: None,
        answer: answer.map(at),
        end: at(90_000_000),
        duration_us: 90_000_000,
        billable_seconds: answer.map_or(0, |_| 60),
        cost: None,
        price: None,
        received: Traffic::default(),
        sent: Traffic::default(),
        media: LegMedia::default(),
        release: Release { side: ReleaseSide::A, cause, sip_status: None },
        emergency: false,
        diversion: None,
        recording: None,
        attestation: None,
    }
}

fn charge(amount: &str, currency: &str) -> Charge {
    let amount = amount.parse().unwrap();
    Charge { rate: amount, amount, currency: currency.parse().unwrap() }
}

fn any_record() -> impl Strategy<Value = Cdr> {
    let causes = prop_oneof![Just(Cause::Normal), Just(Cause::Busy), Just(Cause::NoRoute)];
    let words = ("[ab]", "[xyz]", prop_oneof![Just("US"), Just("DE")], 0..4_i64);
    let times = (any::<bool>(), prop::option::of(0..5_000_000_i64), 0..400_u64);
    let money = (prop::option::of(0..10_000_u32), prop_oneof![Just("USD"), Just("EUR")]);
    (causes, words, times, money, prop::option::of(100..=450_u16)).prop_map(
        |(cause, (tenant, trunk, country, day), (outbound, answer, seconds), (cents, currency), mos)| Cdr {
            tenant,
            trunk,
            remote_country: Some(country.parse().unwrap()),
            end: Timestamp::from_unix_microseconds(day * 86_400_000_000),
            billable_seconds: answer.map_or(0, |_| seconds),
            cost: cents.map(|cents| charge(&Decimal::new(cents.into(), 5).to_string(), currency)),
            price: cents.map(|cents| charge(&Decimal::new(cents.into(), 2).to_string(), currency)),
            media: LegMedia { mos: mos.and_then(Mos::from_hundredths), ..LegMedia::default() },
            ..record(outbound, cause, answer)
        },
    )
}

proptest! {
    /// Whatever a report is grouped by, its groups come to the same whole.
    #[test]
    fn the_parts_come_to_the_whole(
        records in vec(any_record(), 0..60),
        by in vec(0..Dimension::WORDS.len(), 0..4),
    ) {
        let mut whole = Sums::default();
        for record in &records {
            whole.add(record);
        }
        let by: Vec<Dimension> = by.into_iter().map(|index| Dimension::WORDS[index].1).collect();
        let mut report = Report::by(&by);
        for record in &records {
            report.add(record).unwrap();
        }
        prop_assert_eq!(report.total(), whole);
        let legs: u64 = report.groups().map(|(_, sums)| sums.legs).sum();
        prop_assert_eq!(legs, u64::try_from(records.len()).unwrap());
    }
}

#[test]
fn quality_is_what_the_field_means_by_it() {
    let mut report = Report::by(&[Dimension::Trunk]);
    let ringing = Cdr {
        ring: Some(Timestamp::from_unix_microseconds(3_000_000)),
        ..record(true, Cause::NoAnswer, None)
    };
    let records = [
        record(true, Cause::Normal, Some(5_000_000)),
        ringing,
        record(true, Cause::Unreachable, None),
        record(true, Cause::NoRoute, None),
        // What comes in says nothing of how well we get through.
        record(false, Cause::Normal, Some(5_000_000)),
        Cdr { interim: Some(1), ..record(true, Cause::InProgress, Some(1)) },
    ];
    for record in &records {
        report.add(record).unwrap();
    }
    let total = report.total();
    assert_eq!((total.legs, total.attempts, total.sessions), (5, 4, 1));
    assert_eq!(total.answer_seizure_ratio(), Some(25.0));
    assert_eq!(total.network_effectiveness_ratio(), Some(50.0));
    assert_eq!(total.average_call_seconds(), Some(60.0));
    assert_eq!(total.post_dial_seconds(), Some(4.0));
    assert_eq!((total.mos(), Sums::default().answer_seizure_ratio()), (None, None));
}

#[test]
fn currencies_are_never_added_to_each_other() {
    let mut sums = Sums::default();
    for (amount, currency) in [("0.1", "USD"), ("0.2", "USD"), ("5", "EUR")] {
        sums.add(&Cdr { cost: Some(charge(amount, currency)), ..record(true, Cause::Normal, Some(1)) });
    }
    let cost: Vec<_> = sums.cost.iter().map(|(currency, sum)| format!("{sum} {currency}")).collect();
    assert_eq!(cost, ["5 EUR", "0.3 USD"]);
    let most = Charge { amount: Decimal::MAX, ..charge("1", "USD") };
    for too_large in [0, 1] {
        sums.add(&Cdr { cost: Some(most), ..record(true, Cause::Normal, Some(1)) });
        assert_eq!(sums.too_large, too_large);
    }
}

#[test]
fn days_are_those_of_the_calendar() {
    let day_of = |seconds: i64| day(Timestamp::from_unix_microseconds(seconds * 1_000_000));
    for (seconds, wanted) in [
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        (951_782_399, "2000-02-28"),
        (951_782_400, "2000-02-29"),
        (951_868_800, "2000-03-01"),
        (1_772_600_767, "2026-03-04"),
        (4_107_542_400, "2100-03-01"),
    ] {
        assert_eq!(day_of(seconds), wanted, "{seconds}");
    }
    for (word, dimension) in Dimension::WORDS {
        assert_eq!((word.parse(), dimension.as_str()), (Ok(dimension), word));
    }
    assert_eq!("colour".parse::<Dimension>(), Err(DimensionError));
}
