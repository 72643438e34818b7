//! `vizard cdr`: what calls have been.

pub(super) mod export;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use thiserror::Error;

use super::exit::Exit;
use super::live::Daemon;
use super::output::{Block, Failure, Report, milliseconds, moment, or_dash, time, time_short};
use super::page::{Page, PageArgs};
use super::{GlobalArgs, report};
use crate::engine::cdr::{Cause, Cdr, Charge, Direction, ReleaseSide, Traffic};
use crate::engine::directory::BindingKind;
use crate::engine::ids::{BindingId, LegName, SessionId};
use crate::engine::number::ProxyNumber;
use crate::engine::report::Sums;
use crate::engine::time::Timestamp;
use crate::store::{CdrPlace, CdrQuery};

const EXAMPLES: &str = "\
Examples:
  vizard cdr list
  vizard cdr list --wide
  vizard cdr list --tenant acme --since 2026-03-01T00:00:00Z --csv
  vizard cdr list --trunk carrier --cause busy --limit 200
  vizard cdr list --binding bind_01h455vb4pex5vsknk084sn02q
  vizard cdr list --session sess_01h455vb4pex5vsknk084sn02q --json
  vizard cdr list --limit 1000 --json | jq '[.cdrs[].billable_seconds] | add'

One record per leg, newest first. RX and TX are packets from and to the leg's far
end, by the media path's count; MOS estimates how its audio arrived (1.0 to 4.5,
ITU-T G.107), as LOSS and JITTER say too, and `one-way` is a far end that was not
heard for long while the other one spoke; BILL is in seconds.";

/// More than a call has legs, each address of a team that rang among them.
const LEGS: usize = 64;

#[derive(Debug, Subcommand)]
pub(super) enum CdrCommand {
    List(Box<ListArgs>),
    Show(ShowArgs),
    Export(Box<export::ExportArgs>),
    Stats(Box<StatsArgs>),
}

/// Show everything that the records of one call say
///
/// One column per leg. The media path says why where it is not the fastest one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vizard cdr show sess_01h455vb4pex5vsknk084sn02q
  vizard cdr show sess_01h455vb4pex5vsknk084sn02q --json | jq '.cdrs[].media'")]
pub(super) struct ShowArgs {
    /// The call's session id, as `vizard cdr list` shows it
    #[arg(value_name = "SESSION")]
    session: SessionId,
}

/// List call detail records, newest first
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// With the SIP status, trunk, media path, codec, loss and jitter
    #[arg(long)]
    wide: bool,
    #[command(flatten)]
    page: PageArgs<Place, 50>,
}

/// Add up call detail records: sessions, seconds, money and quality
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vizard cdr stats --since 2026-03-04T00:00:00Z
  vizard cdr stats --binding bind_01h455vb4pex5vsknk084sn02q --json

Interim records are left out. See `vizard report` for sums by tenant, trunk and more.")]
pub(super) struct StatsArgs {
    #[command(flatten)]
    filter: Filter,
}

/// Which records.
#[derive(Debug, Args)]
struct Filter {
    /// Only this call's
    #[arg(long, value_name = "SESSION")]
    session: Option<SessionId>,
    /// Only this binding's
    #[arg(long, value_name = "BINDING")]
    binding: Option<BindingId>,
    /// Only this tenant's
    #[arg(long)]
    tenant: Option<String>,
    /// Only this project's
    #[arg(long)]
    project: Option<String>,
    /// Only those of legs on this trunk
    #[arg(long, value_name = "NAME")]
    trunk: Option<String>,
    /// Only those of legs on which this number was dialled or seen
    #[arg(long, value_name = "NUMBER")]
    proxy: Option<ProxyNumber>,
    /// Only those that ended for this reason, such as `busy` or `no_answer`
    #[arg(long, value_parser = cause)]
    cause: Option<Cause>,
    /// Only those that ended at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only those that ended before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

impl Filter {
    fn query(&self) -> CdrQuery {
        CdrQuery {
            session: self.session,
            binding: self.binding,
            tenant: self.tenant.clone(),
            project: self.project.clone(),
            trunk: self.trunk.clone(),
            proxy: self.proxy,
            cause: self.cause,
            since: self.since,
            until: self.until,
            after: None,
            limit: 0,
        }
    }
}

fn cause(word: &str) -> Result<Cause, String> {
    serde_json::from_value(word.into())
        .map_err(|_| "there is no such cause; see `vizard cdr list`".to_owned())
}

/// A record's place among all, in text: when its leg ended, its session and its leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(CdrPlace);

/// A text that is none.
#[derive(Clone, Copy, Debug, Error)]
#[error("write what the end of the page before says: TIME/SESSION/LEG")]
struct NoPlace;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CdrPlace { end, session, leg, fork } = self.0;
        write!(f, "{}/{session}/{}", time(end), leg_and_fork(leg, fork))
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let read = || {
            let [end, session, leg] = text.split('/').collect::<Vec<_>>().try_into().ok()?;
            let (leg, fork) = leg.split_once('.').unwrap_or((leg, "0"));
            let leg = LegName::BOTH.into_iter().find(|known| known.to_string() == leg)?;
            let end = moment(end).ok()?;
            Some(CdrPlace { end, session: session.parse().ok()?, leg, fork: fork.parse().ok()? })
        };
        read().map(Self).ok_or(NoPlace)
    }
}

pub(super) fn run(command: &CdrCommand, global: &GlobalArgs) -> Result<Report, Failure> {
    let mut daemon = Daemon::connect(global)?;
    match command {
        CdrCommand::List(args) => {
            let page = args.page.fetched(|after, limit| {
                let after = after.map(|Place(place)| place);
                let page = daemon.cdrs(CdrQuery { after, limit, ..args.filter.query() })?;
                Ok((page.cdrs, page.next.map(Place)))
            });
            listed(&page?, args.wide)
        }
        CdrCommand::Show(ShowArgs { session }) => {
            let query = CdrQuery { session: Some(*session), limit: LEGS, ..CdrQuery::default() };
            shown(*session, daemon.cdrs(query)?.cdrs)
        }
        CdrCommand::Export(args) => export::run(args, &mut daemon),
        CdrCommand::Stats(args) => {
            let mut sums = Sums::default();
            report::each(&mut daemon, &args.filter.query(), |cdr| {
                if cdr.interim.is_none() {
                    sums.add(cdr);
                }
                Ok(())
            })?;
            summed(&sums)
        }
    }
}

fn summed(sums: &Sums) -> Result<Report, Failure> {
    let seconds = Duration::from_micros(sums.duration_us).as_secs();
    let fields = vec![
        ("sessions", sums.sessions.to_string()),
        ("legs", format!("{}, {} of them answered", sums.legs, sums.answered)),
        ("lasted", format!("{seconds} s")),
        ("billed", format!("{} s", sums.billable_seconds)),
        ("cost", report::money(&sums.cost)),
        ("price", report::money(&sums.price)),
        ("ASR", report::shown(sums.answer_seizure_ratio())),
        ("NER", report::shown(sums.network_effectiveness_ratio())),
        ("ACD", report::shown(sums.average_call_seconds())),
        ("PDD", report::shown(sums.post_dial_seconds())),
        ("loss", report::shown(sums.loss_percent())),
        ("MOS", or_dash(sums.mos(), |mos| format!("{mos:.2}"))),
    ];
    Report::new(vec![Block::Fields(fields)], report::figures(sums))
}

pub(super) fn listed(page: &Page<Cdr>, wide: bool) -> Result<Report, Failure> {
    let mut header = vec!["SESSION", "LEG", "PROXY", "START", "BILL", "RX", "TX", "MOS", "ENDED BY", "CAUSE"];
    if wide {
        header.extend(["SIP", "DIR", "CC", "TRUNK", "MEDIA", "CODEC", "LOSS", "REORDERED", "JITTER"]);
    }
    let row = |cdr: &Cdr| if wide { [row(cdr), more(cdr)].concat() } else { row(cdr) };
    page.report("cdrs", header, row, "no record")
}

fn row(cdr: &Cdr) -> Vec<String> {
    vec![
        cdr.session.to_string(),
        leg(cdr),
        or_dash(cdr.proxy, |proxy| proxy.to_string()),
        time_short(cdr.start),
        cdr.billable_seconds.to_string(),
        cdr.received.packets.to_string(),
        cdr.sent.packets.to_string(),
        score(cdr),
        side(cdr).to_owned(),
        cdr.release.cause.as_str().to_owned(),
    ]
}

/// What `--wide` adds.
fn more(cdr: &Cdr) -> Vec<String> {
    let media = &cdr.media;
    vec![
        or_dash(cdr.release.sip_status, |status| status.to_string()),
        direction(cdr).to_owned(),
        or_dash(cdr.remote_country, |country| country.to_string()),
        cdr.trunk.clone(),
        or_dash(media.path, |path| path.as_str().to_owned()),
        or_dash(media.codec, |codec| codec.as_str().to_owned()),
        loss(cdr),
        media.reordered.to_string(),
        or_dash(media.mos, |_| milliseconds(media.jitter_us)),
    ]
}

/// Everything about one call.
pub(super) fn shown(session: SessionId, mut cdrs: Vec<Cdr>) -> Result<Report, Failure> {
    cdrs.sort_by_key(|cdr| (cdr.leg, cdr.fork));
    let Some(first) = cdrs.first() else {
        return Err(Failure::new(
            Exit::NotFound,
            format!("there is no record of {session}"),
            "records are written when a call ends; see `vizard cdr list` and `vizard calls`",
        ));
    };
    let carried = cdrs.iter().find(|cdr| cdr.media.path.is_some()).unwrap_or(first);
    let call = vec![
        ("session", session.to_string()),
        ("binding", or_dash(first.binding, |binding| binding.to_string())),
        ("owner", format!("{}/{}", first.tenant, first.project)),
        ("key", key(first)),
        ("agent", or_dash(first.labels.agent, |agent| agent.to_string())),
        ("tags", first.labels.tags.join(", ")),
        ("kind", kind(first)),
        ("ended by", side(first).to_owned()),
        ("cause", format!("{} (Q.850 {})", first.release.cause.as_str(), first.release.cause.q850())),
        ("media path", media_path(carried)),
    ];
    let mut header = vec!["FIELD"];
    header.extend(cdrs.iter().map(|cdr| match (cdr.leg, cdr.fork) {
        (LegName::A, 0) => "LEG A",
        (LegName::B, 0) => "LEG B",
        (LegName::A | LegName::B, _) => "RANG TOO",
    }));
    let rows = LEG_FIELDS.iter().map(|(name, of)| {
        let mut row = vec![(*name).to_owned()];
        row.extend(cdrs.iter().map(of));
        row
    });
    let legs = Block::Table { header, rows: rows.collect(), empty: String::new() };
    Report::new(vec![Block::Fields(call), legs], json!({ "session": session, "cdrs": cdrs }))
}

/// A field of a record, and how it reads.
type Field = (&'static str, fn(&Cdr) -> String);

/// What a record says of its leg alone.
const LEG_FIELDS: [Field; 26] = [
    ("record", record),
    ("of", |cdr| cdr.interim.map_or_else(|| "the whole leg".to_owned(), |n| format!("the leg so far ({n})"))),
    ("direction", |cdr| direction(cdr).to_owned()),
    ("trunk", |cdr| cdr.trunk.clone()),
    ("proxy", |cdr| or_dash(cdr.proxy, |proxy| proxy.to_string())),
    ("country", |cdr| or_dash(cdr.remote_country, |country| country.to_string())),
    ("area", |cdr| or_dash(cdr.remote_area, |area| area.to_string())),
    ("start", |cdr| time_short(cdr.start)),
    ("ring", |cdr| or_dash(cdr.ring, time_short)),
    ("answer", |cdr| or_dash(cdr.answer, time_short)),
    ("end", |cdr| time_short(cdr.end)),
    ("lasted", |cdr| format!("{:.3} s", Duration::from_micros(cdr.duration_us).as_secs_f64())),
    ("billed", |cdr| format!("{} s", cdr.billable_seconds)),
    ("cost", |cdr| or_dash(cdr.cost, charge)),
    ("price", |cdr| or_dash(cdr.price, charge)),
    ("SIP status", |cdr| or_dash(cdr.release.sip_status, |status| status.to_string())),
    ("received", |cdr| traffic(cdr.received)),
    ("sent", |cdr| traffic(cdr.sent)),
    ("codec", |cdr| or_dash(cdr.media.codec, |codec| codec.as_str().to_owned())),
    ("expected", |cdr| cdr.media.expected.to_string()),
    ("lost", |cdr| format!("{} ({})", cdr.media.lost, loss(cdr))),
    ("reordered", |cdr| cdr.media.reordered.to_string()),
    ("jitter", |cdr| or_dash(cdr.media.mos, |_| milliseconds(cdr.media.jitter_us))),
    ("MOS", score),
    ("recording", |cdr| or_dash(cdr.recording.clone(), |recording| recording)),
    ("attested", |cdr| or_dash(cdr.attestation, |attestation| attestation.as_str().to_owned())),
];

/// The record's id, and how often it was rated again.
fn record(cdr: &Cdr) -> String {
    match cdr.version {
        0 => cdr.id.to_string(),
        version => format!("{} (version {version})", cdr.id),
    }
}

/// `0.0125 USD at 0.0125 a minute`.
fn charge(charge: Charge) -> String {
    format!("{} {} at {} a minute", charge.amount, charge.currency, charge.rate)
}

/// What its owner knows the call by.
fn key(cdr: &Cdr) -> String {
    let kind = cdr.labels.kind.map_or("-", BindingKind::as_str);
    or_dash(cdr.labels.key.as_deref(), |key| format!("{key} ({kind})"))
}

fn leg(cdr: &Cdr) -> String {
    leg_and_fork(cdr.leg, cdr.fork)
}

/// `B`, and `B.1` where that did not get the call.
fn leg_and_fork(leg: LegName, fork: u8) -> String {
    match fork {
        0 => leg.to_string(),
        fork => format!("{leg}.{fork}"),
    }
}

fn kind(cdr: &Cdr) -> String {
    match cdr.diversion {
        Some(diversion) => diversion.to_string(),
        None if cdr.emergency => "emergency".to_owned(),
        None => "call".to_owned(),
    }
}

/// What carried media, and why nothing faster did.
fn media_path(cdr: &Cdr) -> String {
    let path = or_dash(cdr.media.path, |path| path.as_str().to_owned());
    match &cdr.media.slow_because {
        Some(why) => format!("{path} ({why})"),
        None => path,
    }
}

fn side(cdr: &Cdr) -> &'static str {
    match cdr.release.side {
        ReleaseSide::A => "A",
        ReleaseSide::B => "B",
        ReleaseSide::Platform => "platform",
    }
}

fn direction(cdr: &Cdr) -> &'static str {
    match cdr.direction {
        Direction::Inbound => "in",
        Direction::Outbound => "out",
    }
}

fn traffic(traffic: Traffic) -> String {
    format!("{} packets, {} bytes", traffic.packets, traffic.bytes)
}

fn loss(cdr: &Cdr) -> String {
    or_dash(cdr.media.loss_percent(), |percent| format!("{percent:.1}%"))
}

/// The score of what the leg's far end said.
fn score_alone(cdr: &Cdr) -> Option<String> {
    cdr.media.mos.map(|mos| mos.to_string())
}

/// The score of what the leg's far end said, or that nobody heard it.
fn score(cdr: &Cdr) -> String {
    if cdr.media.one_way { "one-way".to_owned() } else { or_dash(score_alone(cdr), |mos| mos) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_text() {
        for fork in [0, 7] {
            let (end, session) =
                (Timestamp::from_unix_microseconds(1_772_600_767_250_001), SessionId::from_bits(9));
            let place = Place(CdrPlace { end, session, leg: LegName::B, fork });
            assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        }
        for bad in ["", "x", "2026-03-01T00:00:00Z/sess_1/B", "a/b/c/d"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
        assert_eq!(cause("no_answer"), Ok(Cause::NoAnswer));
        assert!(cause("bored").is_err());
    }
}
