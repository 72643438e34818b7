//! `vizard pool plan`: how many numbers are needed, and how long they last.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::ask;
use crate::cli::GlobalArgs;
use crate::cli::live::{Daemon, unexpected};
use crate::cli::output::{Block, Failure, Report};
use crate::engine::directory::plan::{Demand, Need, PlaceLoad, Trend};
use crate::engine::directory::{PoolReply, PoolRequest};
use crate::settings::{self, show_duration};

const EXAMPLES: &str = "\
Examples:
  vizard pool plan
  vizard pool plan --json | jq '.places[] | select(.headroom < 10)'
  vizard pool plan --concurrent 40 --life 1h --window 72h
  vizard pool plan --concurrent 5 --parties 20000 --average 2 --cap 500

Without a load, the running Vizard's is taken: for each place the busiest party's
bindings, tombstones included, which is how many numbers a number for each party
needs. One number for both sides needs up to the busiest customer's and the busiest
agent's bindings together, less one.";

/// Plan the pool: numbers needed, headroom, and when it runs out
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct PlanArgs {
    /// Plan for this load: live bindings of the busiest party at its peak
    #[arg(long, value_name = "N")]
    concurrent: Option<u32>,
    /// Live bindings of the busiest party on the other side
    #[arg(long, value_name = "N", default_value_t = 1, requires = "concurrent")]
    other: u32,
    /// How long a binding lives on average
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "24h", requires = "concurrent")]
    life: Duration,
    /// How long its numbers stay reserved for late callbacks
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "3d", requires = "concurrent")]
    window: Duration,
    /// How many parties there are, for --cap
    #[arg(long, value_name = "N", requires = "concurrent")]
    parties: Option<u64>,
    /// How many live bindings a party has on average
    #[arg(long, value_name = "N", default_value_t = 1, requires = "parties")]
    average: u64,
    /// No number may have more bindings [default: the configuration's, or none]
    #[arg(long, value_name = "N")]
    cap: Option<u32>,
}

fn duration(text: &str) -> Result<Duration, String> {
    settings::duration(text).ok_or_else(|| "write a duration such as 30m, 24h or 7d".to_owned())
}

pub(super) fn run(args: &PlanArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    if let Some(concurrent) = args.concurrent {
        return imagined(args, concurrent);
    }
    let reply = ask(&mut Daemon::connect(global)?, PoolRequest::Plan)?;
    let PoolReply::Plan { places, cap } = reply else { return Err(unexpected()) };
    planned(&places, args.cap.unwrap_or(cap))
}

fn imagined(args: &PlanArgs, concurrent: u32) -> Result<Report, Failure> {
    if args.life.is_zero() {
        return Err(Failure::usage(
            "the average life of a binding is zero",
            "give --life a duration such as 1h",
        ));
    }
    // Bindings end as fast as they begin, so of each kind there are as many as
    // its time is long.
    let life = args.life.as_millis();
    let with_tombstones = |live: u64| {
        let all = u128::from(live) * (life + args.window.as_millis());
        u64::try_from(all.div_ceil(life)).unwrap_or(u64::MAX)
    };
    let held = |live: u32| u32::try_from(with_tombstones(live.into())).unwrap_or(u32::MAX);
    let (one, other) = (held(concurrent), held(args.other));
    let parties = args.parties.unwrap_or(0);
    let demand = Demand {
        busiest: one.max(other),
        busiest_customer: other,
        busiest_agent: one,
        sides: with_tombstones(parties.saturating_mul(args.average)),
    };
    let need = demand.need(args.cap.unwrap_or(0));
    let Need { per_party, one_number, by_cap } = need;
    let fields = vec![
        ("busiest party", format!("{} bindings, {concurrent} of them live", demand.busiest)),
        ("number per party", format!("{per_party} numbers in each place")),
        ("one number", format!("up to {one_number} numbers in each place")),
        (
            "by load cap",
            if by_cap == 0 { "-".to_owned() } else { format!("at least {by_cap} numbers in all") },
        ),
    ];
    Report::new(vec![Block::Fields(fields)], json!({ "demand": demand, "need": need }))
}

pub(in crate::cli) fn planned(places: &[PlaceLoad], cap: u32) -> Result<Report, Failure> {
    let table = Block::Table {
        header: vec![
            "COUNTRY",
            "STATE",
            "NUMBERS",
            "NEEDED",
            "HEADROOM",
            "ONE NUMBER",
            "PARTIES",
            "BINDINGS",
            "RUNS OUT",
            "BUSIEST",
        ],
        rows: places.iter().map(|place| row(place, cap)).collect(),
        empty: "no binding, so no number is needed".to_owned(),
    };
    let document = |place: &PlaceLoad| {
        let mut document = json!(place);
        document["need"] = json!(need(place, cap));
        document["headroom"] = json!(headroom(place, cap));
        document["runs_out_in_hours"] = json!(runs_out(place, cap));
        document
    };
    Report::new(vec![table], json!({ "cap": cap, "places": places.iter().map(document).collect::<Vec<_>>() }))
}

fn need(place: &PlaceLoad, cap: u32) -> Need {
    let &PlaceLoad { busiest, busiest_customer, busiest_agent, bindings, .. } = place;
    Demand { busiest, busiest_customer, busiest_agent, sides: bindings }.need(cap)
}

/// Negative when numbers are short already.
fn headroom(place: &PlaceLoad, cap: u32) -> i64 {
    let needed = i64::try_from(need(place, cap).per_party).unwrap_or(i64::MAX);
    i64::from(place.numbers).saturating_sub(needed)
}

fn runs_out(place: &PlaceLoad, cap: u32) -> Option<u64> {
    let left = u32::try_from(headroom(place, cap).max(0)).unwrap_or(u32::MAX);
    place.trend.and_then(|trend| trend.hours_until(left))
}

fn row(place: &PlaceLoad, cap: u32) -> Vec<String> {
    let Need { per_party, one_number, .. } = need(place, cap);
    let out = match (runs_out(place, cap), place.trend) {
        (Some(hours), _) => {
            format!("in {}", show_duration(Duration::from_secs(hours.max(1).saturating_mul(3600))))
        }
        (None, Some(Trend { hours, .. })) => format!("not by the last {hours}h"),
        (None, None) => "too early to tell".to_owned(),
    };
    vec![
        place.country.to_string(),
        place.state.clone().unwrap_or_default(),
        place.numbers.to_string(),
        per_party.to_string(),
        headroom(place, cap).to_string(),
        one_number.to_string(),
        place.parties.to_string(),
        place.bindings.to_string(),
        out,
        place.busiest_parties.join(", "),
    ]
}
