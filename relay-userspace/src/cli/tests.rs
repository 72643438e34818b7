//! Parsing, the look of output, the shape of JSON, exit codes, and secrets.

use std::net::SocketAddr;

use clap::Parser;
use serde_json::Value;

use super::output::{Block, Failure, Report, Style};
use super::*;
use crate::api::local::Status;
use crate::datapath::{PathChoice, VerdictCount};
use crate::engine::admin::{BindingView, CallView, FlowView, LegView, PartyView};
use crate::engine::callback::{Diversion, Reason, Service};
use crate::engine::cdr::{Cause, Cdr, Charge, Direction, Labels, LegMedia, Release, ReleaseSide, Traffic};
use crate::engine::config::Encryption;
use crate::engine::directory;
use crate::engine::directory::{BindingKind, BindingState, NumberKind, NumberTraits, PoolNumber, PoolRow};
use crate::engine::encoding::Encoding;
use crate::engine::flow::{FlowStats, MediaPath, Quality};
use crate::engine::guard::{GuardReply, RuleOrigin, RuleView, Treatment};
use crate::engine::ids::{BindingId, LegName, PartyId, RecordId, SessionId};
use crate::engine::number::Typed;
use crate::engine::time::Timestamp;

/// What a command line writes to both streams, and its exit code.
fn vizard(arguments: &[&str]) -> (String, String, Exit) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = std::iter::once("vizard").chain(arguments.iter().copied()).map(OsString::from);
    let exit = dispatch(arguments, &mut out, &mut err);
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), exit)
}

fn printed(report: Report, style: Style) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    output::finish(Ok(report), style, &mut out, &mut err);
    assert!(err.is_empty());
    String::from_utf8(out).unwrap()
}

fn json(report: Report) -> Value {
    serde_json::from_str(&printed(report, Style { json: true, ..Style::default() })).unwrap()
}

/// 2026-03-04T05:06:07.25Z and so many seconds.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_microseconds((1_772_600_767 + seconds) * 1_000_000 + 250_000)
}

fn binding() -> BindingView {
    let party = |address: &str, proxy: &str| PartyView {
        also: Vec::new(),
        party: PartyId::from_bits(7),
        address: address.to_owned(),
        proxy: proxy.parse().unwrap(),
    };
    BindingView {
        id: BindingId::from_bits(7),
        tenant: "default".to_owned(),
        project: "default".to_owned(),
        kind: BindingKind::Case,
        key: "order-81".to_owned(),
        customer: party("+131•••••42", "+12125550123"),
        agent: party("1•••@pbx", "+12125550124"),
        created: at(0),
        state: BindingState::Live { expires: at(86_400) },
        encryption: Some(Encryption::EndToEnd),
        usage: directory::Usage {
            max_calls: Some(2),
            idle: Some(std::time::Duration::from_hours(3)),
            ..directory::Usage::default()
        },
        tags: vec!["vip".to_owned()],
        calls: 1,
    }
}

fn call() -> CallView {
    let leg = |leg, remote: &str, trunk: &str| LegView {
        leg,
        proxy: Some("+12125550123".parse().unwrap()),
        remote: remote.to_owned(),
        trunk: trunk.to_owned(),
        state: "confirmed".to_owned(),
        silent: false,
    };
    let flow = |leg, content: &str, port, packets| {
        let mut flow = FlowView {
            leg,
            content: content.to_owned(),
            codec: (content == "rtp").then(|| Encoding::named("PCMU")),
            local: SocketAddr::from(([192, 0, 2, 10], port)),
            stats: None,
            mos: None,
        };
        flow.measure(Some(FlowStats {
            forwarded: Traffic { packets, bytes: packets * 172 },
            refused_packets: 2,
            learned: Some(SocketAddr::from(([198, 51, 100, 9], 4000))),
            quality: Quality { expected: packets, jitter_us: 1500, ..Quality::default() },
        }));
        flow
    };
    CallView {
        session: SessionId::from_bits(9),
        binding: Some(BindingId::from_bits(7)),
        caller: LegName::A,
        state: "answered".to_owned(),
        start: at(0),
        answer: Some(at(3)),
        emergency: false,
        path: Some(MediaPath::XdpNative),
        slow_because: None,
        legs: vec![leg(LegName::A, "+131•••••42", "carrier"), leg(LegName::B, "1•••", "pbx")],
        flows: vec![
            flow(LegName::A, "rtp", 20_000, 500),
            flow(LegName::A, "rtcp", 20_001, 3),
            flow(LegName::B, "rtp", 20_002, 498),
        ],
    }
}

fn path() -> PathChoice {
    PathChoice {
        path: MediaPath::XdpNative,
        reason: "ice runs XDP in the driver".to_owned(),
        interfaces: vec!["eth0".to_owned()],
    }
}

fn cdr() -> Cdr {
    Cdr {
        id: RecordId::of(SessionId::from_bits(9), LegName::B, 0),
        version: 0,
        interim: None,
        fork: 0,
        session: SessionId::from_bits(9),
        leg: LegName::B,
        binding: Some(BindingId::from_bits(7)),
        tenant: "default".to_owned(),
        project: "default".to_owned(),
        labels: Labels::default(),
        direction: Direction::Outbound,
        proxy: Some("+12125550124".parse().unwrap()),
        remote_country: None,
        remote_area: None,
        trunk: "pbx".to_owned(),
        start: at(0),
        ring: Some(at(1)),
        answer: Some(at(3)),
        end: at(63),
        duration_us: 63_000_000,
        billable_seconds: 60,
        cost: None,
        price: None,
        received: Traffic { packets: 2_990, bytes: 514_280 },
        sent: Traffic { packets: 3_000, bytes: 516_000 },
        media: LegMedia {
            path: Some(MediaPath::XdpNative),
            codec: Some(Encoding::named("PCMU")),
            ..LegMedia::default()
        }
        .measured(&Quality { expected: 3_000, lost: 10, reordered: 2, jitter_us: 1500, idle: None }),
        release: Release { side: ReleaseSide::A, cause: Cause::Normal, sip_status: Some(200) },
        emergency: false,
        diversion: None,
        recording: None,
        attestation: None,
    }
}

#[test]
fn the_command_line_is_consistent() {
    command().debug_assert();
}

/// Every `vizard ...` line of every help must parse; what follows a pipe is
/// another program's.
#[test]
fn every_example_in_the_help_parses_and_every_command_has_one() {
    fn visit(command: &clap::Command, seen: &mut usize) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().filter_map(|line| line.find("vizard ").map(|at| &line[at..]));
        let lines = lines.filter(|line| line.starts_with("vizard ") && !line.contains('`'));
        let mut own = 0;
        for line in lines {
            let line = line.split(" | ").next().unwrap().split(" < ").next().unwrap();
            let words = line.split("    ").next().unwrap().replace("'New York'", "NewYork");
            let mut words: Vec<&str> = words.split_whitespace().collect();
            if help.contains("xargs") && words == ["vizard", "pool", "add"] {
                words.push("+12125550123");
            }
            Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{line}: {error}"));
            own += 1;
        }
        let is_leaf = command.get_subcommands().next().is_none();
        assert!(own > 0 || !is_leaf, "{} has no example", command.get_name());
        *seen += own;
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            visit(child, seen);
        }
    }
    let mut seen = 0;
    visit(&command(), &mut seen);
    assert!(seen > 25, "{seen}");
}

#[test]
fn the_help_lists_every_exit_code() {
    let (out, err, exit) = vizard(&["--help"]);
    assert_eq!((err.as_str(), exit), ("", Exit::Ok));
    for code in Exit::ALL {
        assert!(out.contains(&format!("  {}  {}\n", code.code(), code.meaning())), "{out}");
    }
    let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
    assert_eq!(codes, (0..10).collect::<Vec<u8>>());
}

#[test]
fn mistakes_of_usage_say_so_in_both_languages() {
    let (out, err, exit) = vizard(&["pool", "add", "4155550100"]);
    assert_eq!((out.as_str(), exit), ("", Exit::Usage));
    assert!(err.contains("an E.164 number starts with '+'"), "{err}");
    let (out, err, exit) = vizard(&["pool", "ad", "--json"]);
    assert_eq!((out.as_str(), exit), ("", Exit::Usage));
    let error: Value = serde_json::from_str(&err).unwrap();
    assert_eq!(error["error"]["code"], 2);
    for mistake in [
        &["bind", "show", "nonsense"][..],
        &["cdr", "list", "--limit", "0"],
        &["bind", "create", "--ttl", "5"],
    ] {
        assert_eq!(vizard(mistake).2, Exit::Usage, "{mistake:?}");
    }
}

#[test]
fn without_a_daemon_live_commands_say_how_to_start_it() {
    for command in [&["calls"][..], &["pool", "list"], &["status"], &["cdr", "list"], &["bind", "list"]] {
        let arguments = [&["--socket", "/nonexistent/v.sock"], command].concat();
        let (out, err, exit) = vizard(&arguments);
        assert_eq!((out.as_str(), exit), ("", Exit::Unreachable), "{command:?}");
        assert!(err.contains("/nonexistent/v.sock") && err.contains("vizard run"), "{err}");
        let (_, err, exit) = vizard(&[&arguments[..], &["--json"]].concat());
        let error: Value = serde_json::from_str(&err).unwrap();
        assert_eq!((error["error"]["code"].as_u64(), exit), (Some(4), Exit::Unreachable));
    }
}

#[test]
fn check_lists_every_problem_and_ends_with_its_code() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bad.toml");
    std::fs::write(&file, "[sip]\nlisten = [\"x\"]\n[madia]\n").unwrap();
    let file = file.to_str().unwrap();
    let (out, err, exit) = vizard(&["check", file]);
    assert_eq!((out.as_str(), exit), ("", Exit::Config));
    assert!(err.contains(":2:11: sip.listen[0]: ") && err.contains("did you mean 'media'?"), "{err}");
    let (_, err, _) = vizard(&["check", file, "--json"]);
    let error: Value = serde_json::from_str(&err).unwrap();
    let details = error["error"]["details"].as_array().unwrap();
    assert!(
        details.iter().any(|problem| problem["line"] == 2 && problem["key"] == "sip.listen[0]"),
        "{error}"
    );

    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/demo.toml");
    let (out, err, exit) = vizard(&["check", shipped]);
    assert_eq!((err.as_str(), exit), ("", Exit::Ok));
    assert!(out.contains("5000 calls by ports"), "{out}");
    let (out, ..) = vizard(&["check", shipped, "--json"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["capacity"]["calls"], 5000);
}

/// What the most flows that there may be take, before anything is started.
#[test]
fn check_tells_the_memory_of_a_million_flows() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("many.toml");
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/demo.toml");
    let mut text = std::fs::read_to_string(shipped).unwrap().replace("20000-29999", "5062-65535");
    let address = |n: u32| format!("\n[[media.address]]\nname = \"m{n}\"\nlocal = \"10.77.1.{n}\"\n");
    text.extend((100..114).map(address));
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let (out, ..) = vizard(&["check", file, "--json"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    let capacity = &document["capacity"];
    assert_eq!(capacity["flows"], 967_584, "{document:#}");
    let bytes = capacity["map_bytes"].as_u64().unwrap();
    assert!((50 << 20..384 << 20).contains(&bytes), "{bytes}");
    let (out, ..) = vizard(&["check", file]);
    assert!(out.contains(" MiB for 967584 flows"), "{out}");
}

#[test]
fn tables_are_plain_columns() {
    let report = calls::listed(&vec![call()].into(), &path(), at(63), false).unwrap();
    assert_eq!(
        printed(report, Style::default()),
        "\
SESSION                          STATE     TALK  A            B     MEDIA       CODEC  MOS A  MOS B
sess_00000000000000000000000009  answered  1m    +131•••••42  1•••  xdp-native  PCMU   4.41   4.41
"
    );
    let report = calls::listed(&vec![call()].into(), &path(), at(63), true).unwrap();
    let wide = printed(report, Style { no_header: true, ..Style::default() });
    assert!(wide.ends_with("  500  498  bind_00000000000000000000000007  2026-03-04T05:06:07Z\n"), "{wide}");
    let rows = [PoolRow {
        number: PoolNumber {
            number: "+12125550123".parse().unwrap(),
            country: "US".parse().unwrap(),
            traits: NumberTraits {
                locality: Some("New York".to_owned()),
                kind: NumberKind::TollFree,
                ..NumberTraits::default()
            },
        },
        live: 2,
        entombed: 1,
        released: None,
    }];
    let style = Style { no_header: true, ..Style::default() };
    assert_eq!(
        printed(pool::listed(&rows.to_vec().into(), false).unwrap(), style),
        "+12125550123  US  -  New York  toll-free  voice  -  active  2  1\n"
    );
    assert_eq!(
        printed(cdr::listed(&vec![cdr()].into(), false).unwrap(), Style::default()),
        "\
SESSION                          LEG  PROXY         START                 BILL  RX    TX    MOS   ENDED BY  CAUSE
sess_00000000000000000000000009  B    +12125550124  2026-03-04T05:06:07Z  60    2990  3000  4.38  A         normal
"
    );
    assert_eq!(
        printed(cdr::listed(&vec![cdr()].into(), true).unwrap(), style)
            .split_whitespace()
            .skip(10)
            .collect::<Vec<_>>(),
        ["200", "out", "-", "pbx", "xdp-native", "PCMU", "0.3%", "2", "1.5", "ms"]
    );
}

#[test]
fn a_record_is_shown_whole_and_says_why_media_was_slow() {
    let mut legs = [LegName::B, LegName::A].map(|leg| Cdr { leg, ..cdr() });
    let why = "native XDP failed: the MTU of eth0 is 9000";
    for leg in &mut legs {
        leg.media.path = Some(MediaPath::XdpGeneric);
        leg.media.slow_because = Some(why.to_owned());
    }
    let session = legs[0].session;
    let report = || cdr::shown(session, legs.to_vec()).unwrap();
    let text = printed(report(), Style::default());
    assert!(text.contains(&format!("media path  xdp-generic ({why})\n")), "{text}");
    assert!(text.contains("\nFIELD") && text.contains("LEG A") && text.contains("LEG B"), "{text}");
    assert!(text.contains("lost        10 (0.3%)"), "{text}");
    let document = json(report());
    assert_eq!(document["cdrs"][0]["leg"], "A");
    assert_eq!(document["cdrs"][1]["media"]["slow_because"], why);
    assert_eq!(document["cdrs"][0]["answer"], "2026-03-04T05:06:10.25Z");
    assert_eq!(cdr::shown(session, Vec::new()).unwrap_err().exit, Exit::NotFound);
}

#[test]
fn rules_of_the_guard_read_as_a_table_and_as_a_document() {
    let rule = |net: &str, treatment, by, until| RuleView {
        net: net.parse().unwrap(),
        treatment,
        by,
        since: until,
        until,
        reason: if until.is_some() { "a scanner".to_owned() } else { String::new() },
        packets: Some(7),
    };
    let rules = vec![
        rule("198.51.100.0/28", Treatment::Exempt, RuleOrigin::Trunk("carrier".to_owned()), None),
        rule("203.0.113.7/32", Treatment::Deny, RuleOrigin::Automatic, Some(at(600))),
    ];
    let report = || guard::report(&GuardReply::Rules(rules.clone()), &guard::ListArgs::default()).unwrap();
    assert_eq!(
        printed(report(), Style::default()),
        "\
NETWORK          RULE   BY             SINCE                 UNTIL                 PACKETS  REASON
198.51.100.0/28  allow  trunk:carrier  -                     -                     7        -
203.0.113.7/32   deny   automatic      2026-03-04T05:16:07Z  2026-03-04T05:16:07Z  7        a scanner
"
    );
    let document = json(report());
    assert_eq!(document["rules"][0]["by"]["trunk"], "carrier");
    assert_eq!(document["rules"][1]["until"], "2026-03-04T05:16:07.25Z");
    let notes = vec!["198.51.100.0/28 of trunk carrier may still send".to_owned()];
    let put = GuardReply::Put { rule: rules[1].clone(), notes };
    assert_eq!(
        printed(guard::report(&put, &guard::ListArgs::default()).unwrap(), Style::default()),
        "deny 203.0.113.7/32 until 2026-03-04T05:16:07Z\n\n\
         warning: 198.51.100.0/28 of trunk carrier may still send\n"
    );
    for mistake in [&["guard", "deny", "example.com"][..], &["guard", "allow", "192.0.2.1", "--for", "soon"]]
    {
        assert_eq!(vizard(mistake).2, Exit::Usage, "{mistake:?}");
    }
}

#[test]
fn an_empty_list_says_what_to_do_next_but_not_to_scripts() {
    let table = || pool::listed(&Vec::new().into(), false).unwrap();
    assert!(printed(table(), Style::default()).contains("vizard pool add"));
    assert_eq!(printed(table(), Style { no_header: true, ..Style::default() }), "");
    assert_eq!(json(table()), serde_json::json!({ "numbers": [], "next": null }));
}

#[test]
fn a_binding_reads_as_sentences() {
    let reply = crate::engine::admin::AdminReply::Bound { binding: Box::new(binding()), reused: false };
    assert_eq!(
        printed(bind::created(reply).unwrap(), Style::default()),
        "\
binding   bind_00000000000000000000000007
key       order-81
kind      case
tenant    default / default
customer  +131•••••42 dials and sees +12125550123
agent     1•••@pbx dials and sees +12125550124
media     end-to-end
usage     2 calls at a time, ends when idle for 3h
tags      vip
created   2026-03-04T05:06:07Z
state     live, expires 2026-03-05T05:06:07Z
calls     1 in progress
reused    no

The customer calls +12125550123 to reach the agent; the agent calls +12125550124 to reach the customer.
"
    );
}

#[test]
fn every_list_is_values_with_commas_for_spreadsheets() {
    let csv = Style { csv: true, ..Style::default() };
    let odd = BindingView { key: "a, \"b\"".to_owned(), ..binding() };
    let text = printed(bind::list::listed(&vec![odd].into()).unwrap(), csv);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("BINDING,KIND,KEY,CUSTOMER,DIALS,"), "{text}");
    assert!(lines[1].starts_with("bind_00000000000000000000000007,case,\"a, \"\"b\"\"\",+131"), "{text}");
    assert_eq!(lines.len(), 2);
    let bare = Style { no_header: true, ..csv };
    assert_eq!(printed(calls::listed(&Vec::new().into(), &path(), at(63), false).unwrap(), bare), "");
    assert_eq!(vizard(&["bind", "list", "--csv", "--json"]).2, Exit::Usage);
}

#[test]
fn documents_keep_their_shape() {
    let bindings = json(bind::list::listed(&vec![binding()].into()).unwrap());
    let binding = &bindings["bindings"][0];
    assert_eq!(binding["id"], "bind_00000000000000000000000007");
    assert_eq!(binding["state"], "live");
    assert_eq!(binding["encryption"], "end-to-end");
    assert_eq!(binding["expires"], "2026-03-05T05:06:07.25Z");
    assert_eq!(binding["customer"]["proxy"], "+12125550123");

    let calls = json(calls::listed(&vec![call()].into(), &path(), at(63), false).unwrap());
    assert_eq!(calls["media"]["path"], "xdp-native");
    assert_eq!(calls["calls"][0]["answer"], "2026-03-04T05:06:10.25Z");
    assert_eq!(calls["calls"][0]["flows"][0]["stats"]["forwarded"]["packets"], 500);

    let cdrs = json(cdr::listed(&vec![cdr()].into(), false).unwrap());
    assert_eq!(cdrs["cdrs"][0]["end"], "2026-03-04T05:07:10.25Z");
    assert_eq!(cdrs["cdrs"][0]["release"]["cause"], "normal");

    let status = Status {
        version: "0.1.0".to_owned(),
        pid: 7,
        started: at(0),
        now: at(90),
        config: "/etc/vizard/vizard.toml".into(),
        store: "/var/lib/vizard".into(),
        listen: vec!["192.0.2.10:5060".parse().unwrap()],
        streams: vec!["tls 192.0.2.10:5061".into()],
        datapath: path(),
        verdicts: vec![
            VerdictCount { verdict: "forwarded".to_owned(), action: "forward".to_owned(), packets: 998 },
            VerdictCount { verdict: "no-flow".to_owned(), action: "drop".to_owned(), packets: 0 },
        ],
        counters: vec![("sip.malformed".to_owned(), 3), ("calls.started".to_owned(), 0)],
    };
    let text = printed(status::report(&status, false).unwrap(), Style::default());
    assert!(text.contains("up 1m 30s") && text.contains("xdp-native (ice runs XDP in the driver)"), "{text}");
    assert!(
        text.contains("sip.malformed") && !text.contains("calls.started") && !text.contains("no-flow"),
        "{text}"
    );
    let draining = Status {
        counters: vec![("calls.draining".to_owned(), 1), ("calls.in_progress".to_owned(), 3)],
        ..status.clone()
    };
    let text = printed(status::report(&draining, false).unwrap(), Style::default());
    assert!(text.contains("3 are left; draining"), "{text}");
    let status = json(status::report(&status, true).unwrap());
    assert_eq!(status["counters"]["sip.malformed"], 3);
    assert_eq!(
        (&status["uptime_seconds"], &status["started"]),
        (&90.into(), &"2026-03-04T05:06:07.25Z".into())
    );
}

#[test]
fn a_drain_says_how_many_are_left() {
    let report = drain::drained(true, 3).unwrap();
    assert_eq!(printed(report, Style::default()), "no new calls are taken; 3 are left\n");
    assert_eq!(json(drain::drained(false, 0).unwrap())["draining"], false);
    let (_, error, exit) = vizard(&["drain", "--wait", "--undo"]);
    assert_eq!(exit, Exit::Usage, "{error}");
}

/// A field that holds a time must be in the list of those that are spelt out:
/// no whole number in a document may look like microseconds of this century.
#[test]
fn no_time_is_left_in_microseconds() {
    fn visit(value: &Value, path: &str) {
        match value {
            Value::Number(number) => {
                assert!(number.as_i64().is_none_or(|n| n < 1_000_000_000_000_000), "{path}: {number}");
            }
            Value::Array(items) => items.iter().for_each(|item| visit(item, path)),
            Value::Object(fields) => {
                fields.iter().for_each(|(key, value)| visit(value, &format!("{path}.{key}")));
            }
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }
    let entombed = BindingView { state: BindingState::Entombed { since: at(0), until: at(1) }, ..binding() };
    for report in [
        bind::list::listed(&vec![binding(), entombed].into()).unwrap(),
        calls::listed(&vec![call()].into(), &path(), at(63), false).unwrap(),
        cdr::listed(&vec![cdr()].into(), false).unwrap(),
    ] {
        visit(&json(report), "");
    }
}

/// A pipe whose reader has gone.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A full disk.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_is_content_and_a_full_disk_is_not() {
    let report = || Report::new(vec![Block::Text("hello".to_owned())], ()).unwrap();
    let finish = |out: &mut dyn Write| output::finish(Ok(report()), Style::default(), out, &mut Vec::new());
    assert_eq!(finish(&mut Closed), Exit::Ok);
    assert_eq!(finish(&mut Full), Exit::Failure);
    let failure = Failure::new(Exit::Conflict, "x", "y");
    let exit = output::finish(Err(failure), Style::default(), &mut Vec::new(), &mut Closed);
    assert_eq!(exit, Exit::Conflict);
}

#[test]
fn secrets_come_from_where_they_are_said_to_be() {
    let read = |argument: &str, stdin: &[u8]| {
        secret::read("customer", &Typed(argument.to_owned()), &mut io::BufReader::new(stdin))
            .map(|typed| typed.0.clone())
    };
    assert_eq!(read("+13105550142", b"").unwrap(), "+13105550142");
    assert_eq!(read("-", b" +13105550142 \nrest").unwrap(), "+13105550142");
    assert!(read("env:PATH", b"").unwrap().contains("bin"));
    for nothing in ["-", "env:NO_SUCH_VARIABLE", "fd:9999", "fd:x", ""] {
        let failure = read(nothing, b"").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{nothing}");
    }
    // Two dashes read two lines.
    let mut stdin = io::BufReader::new(&b"first\nsecond\n"[..]);
    let mut next = || secret::read("x", &Typed("-".to_owned()), &mut stdin).unwrap().0.clone();
    assert_eq!((next(), next()), ("first".to_owned(), "second".to_owned()));

    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"+16465550107\n").unwrap();
    io::Seek::rewind(&mut file).unwrap();
    let descriptor = format!("fd:{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    assert_eq!(read(&descriptor, b"").unwrap(), "+16465550107");
}

#[test]
fn a_call_of_the_past_is_explained_by_its_records() {
    let outbound = cdr();
    let inbound = Cdr {
        leg: LegName::A,
        direction: Direction::Inbound,
        proxy: Some("+12125550123".parse().unwrap()),
        trunk: "carrier".to_owned(),
        ..cdr()
    };
    let told = |records: &[Cdr]| {
        resolve::past::told(SessionId::from_bits(9), records, None)
            .map(|report| printed(report, Style::default()))
    };
    let text = told(&[outbound.clone(), inbound.clone()]).unwrap();
    for line in [
        "1. a call came over trunk carrier, dialling +12125550123, since ",
        "caller and number were those of the customer of bind_00000000000000000000000007\n",
        "today that binding is forgotten",
        "it went to the other party over trunk pbx, where +12125550124 was shown",
        "The call ended: normal (answered, SIP 200).",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let diversion = Some(Diversion { to: Service::Ivr, because: Reason::Unknown });
    let stranger = |record: &Cdr| Cdr { binding: None, diversion, ..record.clone() };
    let text = told(&[stranger(&inbound), stranger(&outbound)]).unwrap();
    assert!(text.contains("no binding had this caller at this number"), "{text}");
    assert!(text.contains("it went to the ivr (unknown) over trunk pbx"), "{text}");
    let refused = Release { cause: Cause::BindingEnded, sip_status: Some(410), ..inbound.release.clone() };
    let text = told(&[Cdr { answer: None, release: refused, ..inbound }]).unwrap();
    assert!(text.contains("The call was refused: binding_ended (not answered, SIP 410)."), "{text}");
    assert_eq!(told(&[]).unwrap_err().exit, Exit::NotFound);
    assert_eq!(vizard(&["resolve", "+12125551200"]).2, Exit::Usage);
}

#[test]
fn records_are_exported_whole_or_not_at_all() {
    let amount = "0.0125".parse().unwrap();
    let mut record =
        Cdr { cost: Some(Charge { rate: amount, amount, currency: "USD".parse().unwrap() }), ..cdr() };
    record.labels.key = Some("a, \"quoted\" one".to_owned());
    record.labels.tags = vec!["x".to_owned(), "y".to_owned()];
    cdr::export::tests::check(&record);
    assert_eq!(vizard(&["cdr", "export", "--format", "xml"]).2, Exit::Usage);
}

#[test]
fn a_report_has_a_row_per_group_and_their_sum() {
    let silent = Cdr { answer: None, billable_seconds: 0, ..cdr() };
    let other = Cdr { trunk: "carrier".to_owned(), remote_area: Some("NY".parse().unwrap()), ..cdr() };
    let records = [cdr(), silent, other];
    assert_eq!(
        printed(report::tests::quality(&records), Style::default()),
        "\
TRUNK    AREA  LEGS  ATTEMPTS  ASR    NER    ACD   PDD  LOSS  MOS   WORST
carrier  NY    1     1         100.0  100.0  60.0  1.0  0.3   4.38  4.38
pbx      -     2     2         50.0   100.0  60.0  1.0  0.3   4.38  4.38
(all)    -     3     3         66.7   100.0  60.0  1.0  0.3   4.38  4.38
"
    );
    let document = json(report::tests::quality(&records));
    assert_eq!(document["groups"][0]["group"]["area"], "NY");
    assert_eq!((&document["total"]["legs"], &document["total"]["acd_s"]), (&3.into(), &60.0.into()));
    let wrong = ["report", "carrier", "--from", "2026-03-02T00:00:00Z", "--to", "2026-03-01T00:00:00Z"];
    assert_eq!(vizard(&wrong).2, Exit::Usage);
    let (_, said, exit) = vizard(&["report", "tenant", "--by", "tenant,colour"]);
    assert_eq!(exit, Exit::Usage);
    assert!(said.contains("reports are grouped by day, tenant"), "{said}");
}
