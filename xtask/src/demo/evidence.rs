//! Places the calls and gathers what can be known about them.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::capture::{Capture, Recorder, Stream, occurrences};
use harness::lab::{Family, Lab, Place, Shape};
use harness::sipp::{Peer, Role, Seen};
use harness::vizard::Vizard;
use serde_json::Value;

use crate::ui;

/// The parties' own numbers, from the ranges that are reserved for fiction; the
/// shipped configuration routes the agent's area code to the PBX.
pub(super) const CUSTOMER: &str = "+13105550142";
pub(super) const AGENT: &str = "+16465550107";
const POOL: [&str; 2] = ["+12125550123", "+12125550188"];
const KEY: &str = "order-81";
const TALK: Duration = Duration::from_secs(3);

/// Everything that the screen shows.
pub(super) struct Evidence {
    /// What was typed on Vizard's command line.
    pub(super) commands: Vec<String>,
    pub(super) binding: Binding,
    pub(super) calls: Vec<Call>,
    pub(super) searches: Vec<Search>,
    pub(super) media: Media,
    pub(super) checks: Vec<Check>,
    /// Where the peers stand.
    pub(super) customer: IpAddr,
    pub(super) agent: IpAddr,
    pub(super) shape: Shape,
}

/// The binding, as `vizard bind create` showed it.
pub(super) struct Binding {
    pub(super) id: String,
    pub(super) customer_dials: String,
    pub(super) agent_dials: String,
}

/// One call from both ends.
pub(super) struct Call {
    pub(super) caller: Place,
    pub(super) dialled: String,
    /// Header and number, as the called peer logged them.
    pub(super) callee_saw: Vec<(&'static str, String)>,
    /// One per direction of audio.
    pub(super) audio: Vec<Audio>,
    /// The call detail records, in the order of legs.
    pub(super) records: Vec<Value>,
}

/// One direction of a call's audio.
pub(super) struct Audio {
    pub(super) from: Place,
    /// What left the sender and what arrived at the far end, by captures there;
    /// without captures, nothing is claimed.
    pub(super) wire: Option<(Stream, Stream)>,
    /// What Vizard recorded to have got from the sender.
    pub(super) received: u64,
    /// What it recorded to have sent to the far end.
    pub(super) sent: u64,
}

/// A search of everything that reached one side for what it must not learn.
pub(super) struct Search {
    pub(super) side: Place,
    pub(super) bytes: usize,
    pub(super) needles: Vec<String>,
    pub(super) found: usize,
}

/// How media went, as `vizard status` tells.
pub(super) struct Media {
    pub(super) path: String,
    pub(super) reason: String,
    pub(super) interfaces: Vec<String>,
    /// Verdict and packets.
    pub(super) verdicts: Vec<(String, u64)>,
}

/// A claim, and whether it held.
pub(super) struct Check {
    pub(super) claim: String,
    pub(super) held: bool,
}

impl Evidence {
    pub(super) fn failed(&self) -> usize {
        self.checks.iter().filter(|check| !check.held).count()
    }
}

pub(super) fn gather(lab: &Lab, vizard: &Vizard<'_>) -> Result<Evidence> {
    let mut commands = Vec::new();
    let mut type_in = |arguments: &[&str]| {
        commands.push(format!("vizard {}", arguments.join(" ")));
        vizard.ask(arguments)
    };
    type_in(&["pool", "add", POOL[0], POOL[1], "--region", "NY"])?;
    let bound = type_in(&["bind", "create", "--key", KEY, "--customer", CUSTOMER, "--agent", AGENT])?;
    let binding = Binding {
        id: text(&bound["binding"]["id"])?,
        customer_dials: text(&bound["binding"]["customer"]["proxy"])?,
        agent_dials: text(&bound["binding"]["agent"]["proxy"])?,
    };
    ui::good("binding", &format!("{} joins two parties through two numbers", binding.id));

    let mut searches = Vec::new();
    let mut calls = Vec::new();
    for (caller, dialled) in
        [(Place::Customer, &binding.customer_dials), (Place::Agent, &binding.agent_dials)]
    {
        ui::busy("call", &format!("{} dials {dialled}, talks {} s", name(caller), TALK.as_secs()));
        let (call, mut searched) = place(lab, vizard, caller, dialled)?;
        calls.push(call);
        searches.append(&mut searched);
    }
    let searches = [Place::Customer, Place::Agent].map(|side| add_up(side, &searches)).into();
    let status = vizard.ask(&["status", "--all"])?;
    let media = Media {
        path: text(&status["datapath"]["path"])?,
        reason: text(&status["datapath"]["reason"])?,
        interfaces: status["datapath"]["interfaces"]
            .as_array()
            .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default(),
        verdicts: vizard.verdicts()?,
    };
    let mut evidence = Evidence {
        commands,
        binding,
        calls,
        searches,
        media,
        checks: Vec::new(),
        customer: lab.peer(Place::Customer, Family::V4),
        agent: lab.peer(Place::Agent, Family::V4),
        shape: lab.shape(),
    };
    evidence.checks = checks(&evidence);
    Ok(evidence)
}

/// Places one call, and looks at it from both ends.
fn place(lab: &Lab, vizard: &Vizard<'_>, caller: Place, dialled: &str) -> Result<(Call, Vec<Search>)> {
    let callee = other(caller);
    let at = |place: Place, what: &str| format!("{}-{what}-{}", name(caller), name(place));
    let record = |place: Place| match lab.shape() {
        Shape::TwoSides | Shape::OneWire => Recorder::start(lab, place, &at(place, "calls")).map(Some),
        Shape::Loopback => Ok(None),
    };
    let recorders = (record(caller)?, record(callee)?);

    let listening = Peer::new(&at(callee, "sipp"), callee, Role::Callee, "", number(callee))
        .sounding(tone(callee))
        .talking(TALK)
        .start(lab)?;
    let calling = Peer::new(&at(caller, "sipp"), caller, Role::Caller, number(caller), dialled)
        .sounding(tone(caller))
        .talking(TALK)
        .start(lab)?;
    let (caller_saw, callee_saw) = (calling.finish(), listening.finish());
    let (caller_saw, callee_saw) = (caller_saw?, callee_saw?);
    let records = vizard.records(2)?;

    let captures = match recorders {
        (Some(here), Some(there)) => Some((here.finish()?, there.finish()?)),
        _ => None,
    };
    let mut audio = Vec::new();
    for from in [caller, callee] {
        audio.push(Audio {
            from,
            wire: captures
                .as_ref()
                .map(|(here, there)| {
                    let (near, far) = if from == caller { (here, there) } else { (there, here) };
                    wire(lab, from, near, far)
                })
                .transpose()?,
            received: packets(&records, from, "received")?,
            sent: packets(&records, other(from), "sent")?,
        });
    }
    let searches = [(caller, &caller_saw, 0), (callee, &callee_saw, 1)].map(|(side, seen, which)| {
        let capture = captures.as_ref().map(|(here, there)| if which == 0 { here } else { there });
        search(lab, side, capture, seen)
    });
    let shown = ["From", "P-Asserted-Identity", "Contact"];
    let callee_saw = shown.iter().filter_map(|header| Some((*header, callee_saw.number(header)?.to_owned())));
    Ok((
        Call { caller, dialled: dialled.to_owned(), callee_saw: callee_saw.collect(), audio, records },
        searches.into(),
    ))
}

/// One direction of audio as two captures saw it: leaving, and arriving.
fn wire(lab: &Lab, from: Place, near: &Capture, far: &Capture) -> Result<(Stream, Stream)> {
    let to = other(from);
    let family = Family::V4;
    let left = near
        .stream(lab.peer(from, family), lab.vizard(from, family))?
        .with_context(|| format!("no audio left the {}", name(from)))?;
    let arrived = far
        .stream(lab.vizard(to, family), lab.peer(to, family))?
        .with_context(|| format!("no audio of the {} arrived at the {}", name(from), name(to)))?;
    Ok((left, arrived))
}

/// Looks through everything that reached a side for the other side's number and
/// address. Without a capture, that is every SIP message that its peer logged.
fn search(lab: &Lab, side: Place, capture: Option<&Capture>, seen: &Seen) -> Search {
    let hidden = other(side);
    let national = number(hidden).trim_start_matches("+1").to_owned();
    let mut needles = vec![national];
    needles.push(lab.peer(hidden, Family::V4).to_string());
    let bytes = capture.map_or(seen.received().as_bytes(), Capture::bytes);
    let found = needles.iter().map(|needle| occurrences(bytes, needle.as_bytes())).sum();
    Search { side, bytes: bytes.len(), needles, found }
}

fn add_up(side: Place, searches: &[Search]) -> Search {
    let of_side = || searches.iter().filter(|search| search.side == side);
    Search {
        side,
        bytes: of_side().map(|search| search.bytes).sum(),
        needles: of_side().next().map(|search| search.needles.clone()).unwrap_or_default(),
        found: of_side().map(|search| search.found).sum(),
    }
}

/// Everything that the screen claims.
fn checks(evidence: &Evidence) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut check = |claim: String, held: bool| checks.push(Check { claim, held });
    for call in &evidence.calls {
        let who = name(other(call.caller));
        let proxy = match call.caller {
            Place::Agent => &evidence.binding.customer_dials,
            Place::Customer | Place::Vizard => &evidence.binding.agent_dials,
        };
        let only = !call.callee_saw.is_empty() && call.callee_saw.iter().all(|(_, number)| number == proxy);
        check(format!("the {who} saw {proxy} and no other number"), only);
        for audio in &call.audio {
            let way = format!("{} to {}", name(audio.from), name(other(audio.from)));
            if let Some((left, arrived)) = &audio.wire {
                let whole = left.packets > 0 && left.packets == arrived.packets && arrived.lost == 0;
                check(format!("all {} RTP packets from {way} arrived", left.packets), whole);
                let recorded = audio.received == left.packets && audio.sent == arrived.packets;
                check(format!("the records of {way} agree with the captures"), recorded);
            } else {
                let relayed = audio.received > 0 && audio.received == audio.sent;
                check(format!("{} RTP packets from {way} were relayed", audio.received), relayed);
            }
        }
        let normal = call.records.iter().all(|record| record["release"]["cause"] == "normal");
        check(format!("{} records, one per leg, with cause normal", call.records.len()), normal);
    }
    for search in &evidence.searches {
        let hidden = name(other(search.side));
        let absent = search.found == 0 && search.bytes > 0;
        check(format!("nothing of the {hidden} reached the {}", name(search.side)), absent);
    }
    if evidence.shape != Shape::Loopback {
        let kernel = evidence.media.path.starts_with("xdp");
        check(format!("media stayed in the kernel ({})", evidence.media.path), kernel);
    }
    checks
}

/// What a leg's record says about one direction.
fn packets(records: &[Value], place: Place, direction: &str) -> Result<u64> {
    let leg = match place {
        Place::Agent => "B",
        Place::Customer | Place::Vizard => "A",
    };
    records
        .iter()
        .find(|record| record["leg"] == leg)
        .and_then(|record| record[direction]["packets"].as_u64())
        .with_context(|| format!("no record counts packets {direction} on leg {leg}"))
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("expected a text, found {value}"))
}

pub(super) const fn name(place: Place) -> &'static str {
    match place {
        Place::Customer => "customer",
        Place::Vizard => "vizard",
        Place::Agent => "agent",
    }
}

pub(super) const fn other(place: Place) -> Place {
    match place {
        Place::Agent => Place::Customer,
        Place::Customer | Place::Vizard => Place::Agent,
    }
}

const fn number(place: Place) -> &'static str {
    match place {
        Place::Agent => AGENT,
        Place::Customer | Place::Vizard => CUSTOMER,
    }
}

/// Two tones a fifth apart, so that a capture tells them by ear.
const fn tone(place: Place) -> u16 {
    match place {
        Place::Agent => 660,
        Place::Customer | Place::Vizard => 440,
    }
}
