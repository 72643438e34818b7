//! The demonstration's one screen: what was measured, laid out for a network
//! engineer's eye.

use std::fmt::Write as _;
use std::io::{IsTerminal, stdout};
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use harness::lab::{Lab, Place, Shape};
use harness::vizard::socket;
use serde_json::Value;

use super::evidence::{AGENT, Audio, CUSTOMER, Call, Evidence, Search, name, other};
use crate::ui;

pub(super) fn render(evidence: &Evidence, config: &str, kept: bool) -> String {
    let mut screen = String::new();
    head(&mut screen, evidence, config);
    section(&mut screen, "What each side saw");
    screen.push_str(&numbers(&evidence.calls));
    section(&mut screen, "Audio, packet by packet");
    screen.push_str(&audio(&evidence.calls));
    section(&mut screen, "What must not cross");
    screen.push_str(&searches(&evidence.searches, evidence.shape));
    section(&mut screen, "Media path");
    media(&mut screen, evidence);
    section(&mut screen, "Call detail records");
    screen.push_str(&records(&evidence.calls));
    section(&mut screen, "Checks");
    checks(&mut screen, evidence);
    section(&mut screen, "Where to go next");
    next(&mut screen, evidence.shape, kept);
    screen
}

pub(super) fn how_to_enter(lab: &Lab, binary: &Path, config: &str) -> String {
    let mut text = String::new();
    section(&mut text, "The lab is up");
    let enter =
        lab.namespace_of(Place::Vizard).map_or_else(String::new, |name| format!("ip netns exec {name} "));
    let places = [Place::Customer, Place::Vizard, Place::Agent];
    for place in places {
        if let Some(namespace) = lab.namespace_of(place) {
            line(&mut text, &format!("{:<10} ip netns exec {namespace} bash", name(place)));
        }
    }
    let variables = format!("VIZARD_CONFIG={config} VIZARD_SOCKET={}", socket(lab).display());
    line(&mut text, &format!("ask it     {variables} {enter}{} calls", binary.display()));
    line(&mut text, &format!("files      {}", lab.folder().display()));
    line(&mut text, "take down  cargo xtask demo --down");
    text
}

fn head(screen: &mut String, evidence: &Evidence, config: &str) {
    let place = match evidence.shape {
        Shape::TwoSides | Shape::OneWire => "three network namespaces joined by veth",
        Shape::Loopback => "three loopback addresses, no privileges",
    };
    let _ = writeln!(screen, "\n{} {place}, {config}\n", bold("Vizard demo:"));
    let customer = format!("customer {CUSTOMER}");
    let agent = format!("agent {AGENT}");
    let _ = writeln!(screen, "  {customer:<24}                       {agent:>24}");
    let left = format!("{} ", evidence.customer);
    let right = format!(" {}", evidence.agent);
    let _ = writeln!(screen, "  {left:─<29} {} {right:─>29}", bold("vizard"));
    let binding = &evidence.binding;
    let dials = |number: &str| format!("dials {number}");
    let _ = writeln!(
        screen,
        "  {:<24}                       {:>24}\n",
        dials(&binding.customer_dials),
        dials(&binding.agent_dials)
    );
    for command in &evidence.commands {
        line(screen, &format!("$ {command}"));
    }
    line(screen, &binding.id);
}

fn numbers(calls: &[Call]) -> String {
    let mut table = columns(&["CALL", "CALLER'S OWN", "DIALLED", "CALLEE SAW", "IN"]);
    for call in calls {
        let own = if call.caller == Place::Agent { AGENT } else { CUSTOMER };
        let mut seen: Vec<&str> = call.callee_saw.iter().map(|(_, number)| number.as_str()).collect();
        seen.dedup();
        let headers: Vec<&str> = call.callee_saw.iter().map(|(header, _)| *header).collect();
        table.add_row([
            way(call.caller),
            own.to_owned(),
            call.dialled.clone(),
            seen.join(" "),
            headers.join(", "),
        ]);
    }
    show(&table)
}

fn audio(calls: &[Call]) -> String {
    let mut table =
        columns(&["CALL", "AUDIO", "LEFT", "INTO VIZARD", "OUT OF VIZARD", "ARRIVED", "LOST", "JITTER"]);
    for call in calls {
        for Audio { from, wire, received, sent } in &call.audio {
            let dash = || "-".to_owned();
            let (left, arrived, lost, jitter) = wire.as_ref().map_or_else(
                || (dash(), dash(), dash(), dash()),
                |(left, arrived)| {
                    let jitter = format!("{:.2} ms", arrived.jitter_ms);
                    (left.packets.to_string(), arrived.packets.to_string(), arrived.lost.to_string(), jitter)
                },
            );
            let (received, sent) = (received.to_string(), sent.to_string());
            table.add_row([way(call.caller), way(*from), left, received, sent, arrived, lost, jitter]);
        }
    }
    align_right(&mut table, 2..8);
    show(&table)
}

fn searches(searches: &[Search], shape: Shape) -> String {
    let what = if shape == Shape::Loopback { "SIP MESSAGES RECEIVED BY" } else { "CAPTURE AT" };
    let mut table = columns(&[what, "BYTES", "SEARCHED FOR", "FOUND"]);
    for search in searches {
        table.add_row([
            name(search.side).to_owned(),
            search.bytes.to_string(),
            search.needles.join(", "),
            search.found.to_string(),
        ]);
    }
    align_right(&mut table, 1..2);
    align_right(&mut table, 3..4);
    show(&table)
}

fn media(screen: &mut String, evidence: &Evidence) {
    let media = &evidence.media;
    let on = if media.interfaces.is_empty() {
        String::new()
    } else {
        format!(" on {}", media.interfaces.join(", "))
    };
    line(screen, &format!("{}{on}: {}", bold(&media.path), media.reason));
    let verdicts: Vec<String> =
        media.verdicts.iter().map(|(verdict, packets)| format!("{verdict} {packets}")).collect();
    line(screen, &format!("packets by verdict: {}", verdicts.join(", ")));
}

fn records(calls: &[Call]) -> String {
    let mut table = columns(&[
        "CALL",
        "LEG",
        "DIRECTION",
        "PROXY",
        "FAR END",
        "BILLED",
        "RECEIVED",
        "SENT",
        "ENDED BY",
        "CAUSE",
    ]);
    for call in calls {
        for record in &call.records {
            let field = |value: &Value| value.as_str().map_or_else(|| "-".to_owned(), str::to_owned);
            let traffic = |value: &Value| {
                format!(
                    "{} / {} B",
                    value["packets"].as_u64().unwrap_or(0),
                    value["bytes"].as_u64().unwrap_or(0)
                )
            };
            table.add_row([
                way(call.caller),
                field(&record["leg"]),
                field(&record["direction"]),
                field(&record["proxy"]),
                field(&record["remote_country"]),
                format!("{} s", record["billable_seconds"]),
                traffic(&record["received"]),
                traffic(&record["sent"]),
                field(&record["release"]["side"]),
                field(&record["release"]["cause"]),
            ]);
        }
    }
    align_right(&mut table, 5..8);
    show(&table)
}

fn checks(screen: &mut String, evidence: &Evidence) {
    let failed = evidence.failed();
    for check in evidence.checks.iter().filter(|check| !check.held) {
        line(screen, &paint("1;31", &format!("does not hold: {}", check.claim)));
    }
    let total = evidence.checks.len();
    if failed == 0 {
        let what = match evidence.shape {
            Shape::TwoSides | Shape::OneWire => "numbers, audio, records, what must not cross, media path",
            Shape::Loopback => "numbers, audio, records, what must not cross",
        };
        line(screen, &format!("{} ({what})", paint("32", &format!("all {total} hold"))));
    } else {
        line(screen, &format!("{} of {total} hold", total - failed));
    }
}

fn next(screen: &mut String, shape: Shape, kept: bool) {
    if shape == Shape::Loopback {
        line(
            screen,
            "as root, this demonstration adds: XDP in the driver instead of plain sockets, a network",
        );
        line(
            screen,
            "namespace for each side, and captures at both far ends that count and search every packet",
        );
    }
    if !kept {
        line(screen, "cargo xtask demo --keep     the same, and leaves the lab up for exploring");
    }
    line(screen, "cargo xtask test            every check and test behind this");
    line(screen, "cargo xtask bench packet    what a packet costs");
    line(screen, "target/debug/vizard --help  the command line; `vizard doctor` looks at your own machine");
    line(screen, "README.md                   on a real network interface");
}

fn way(from: Place) -> String {
    format!("{} to {}", name(from), name(other(from)))
}

fn section(screen: &mut String, title: &str) {
    let _ = writeln!(screen, "\n{}", bold(title));
}

fn line(screen: &mut String, text: &str) {
    let _ = writeln!(screen, "  {text}");
}

fn columns(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

fn align_right(table: &mut Table, which: std::ops::Range<usize>) {
    for index in which {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn show(table: &Table) -> String {
    table.lines().fold(String::new(), |mut text, row| {
        line(&mut text, row.trim_end());
        text
    })
}

fn bold(text: &str) -> String {
    paint("1", text)
}

fn paint(colour: &str, text: &str) -> String {
    ui::paint_for(stdout().is_terminal(), colour, text)
}
