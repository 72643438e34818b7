//! The shipped files load, and every sort of mistake gets its own words.

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::engine::callback::OnTombstone;
use crate::engine::config::{Encryption, MediaSource, NumberFormat, TrunkId};
use crate::engine::directory::{BindingKind, Usage};
use crate::engine::geography::Step;
use crate::engine::privacy::Role;
use crate::engine::sip::transport::Transport;

/// The least that loads without a warning.
const MINIMAL: &str = r#"
[sip]
listen = ["192.0.2.10:5060"]
[[media.address]]
name = "public"
local = "192.0.2.10"
[[trunk]]
name = "carrier"
target = "198.51.100.1:5060"
country = "US"
[[route]]
prefix = "*"
trunk = "carrier"
[emergency]
trunk = "carrier"
"#;

fn check(text: &str) -> Result<Settings, Vec<Problem>> {
    parse(Path::new("test.toml"), text, &Overrides::default())
}

/// The problems of a text, as `line: key: what`, in order.
fn problems(text: &str) -> Vec<String> {
    let found = match check(text) {
        Ok(settings) => settings.warnings,
        Err(problems) => problems,
    };
    let line = |place: &Place| match place {
        Place::Line { line, .. } => line.to_string(),
        Place::File { .. } => "file".to_owned(),
        Place::Environment { variable } => (*variable).to_owned(),
    };
    for problem in &found {
        assert!(!problem.remedy.is_empty(), "a remedy for {problem:?}");
    }
    found.iter().map(|p| format!("{}: {}: {}", line(&p.place), p.key, p.what)).collect()
}

/// [`MINIMAL`] with one passage replaced, so that one thing is wrong.
fn with(from: &str, to: &str) -> String {
    assert!(MINIMAL.contains(from), "{from}");
    MINIMAL.replacen(from, to, 1)
}

#[test]
fn the_shipped_files_load_without_a_warning() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let settings = load(&file, &Overrides::default()).unwrap_or_else(|problems| {
            panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        });
        assert_eq!(settings.warnings, [], "{}", file.display());
    }
}

#[test]
fn the_commented_defaults_of_the_shipped_example_are_the_defaults() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/vizard.toml"))
        .unwrap();
    // A default is a comment without a blank after the hash; prose has one.
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let (as_shipped, spelt_out) = (check(&text).unwrap(), check(&uncommented).unwrap());
    let mut expected = as_shipped.clone();
    // Examples of values that have no default.
    expected.engine.sip.listen.clone_from(&spelt_out.engine.sip.listen);
    expected.tls.clone_from(&spelt_out.tls);
    expected.engine.emergency.numbers.clone_from(&spelt_out.engine.emergency.numbers);
    let rules = spelt_out.engine.geography.clone();
    assert_eq!((rules.strict, rules.anywhere), (false, true));
    expected.engine.geography = rules;
    expected.engine.bindings.tenants.clone_from(&spelt_out.engine.bindings.tenants);
    expected.engine.services.clone_from(&spelt_out.engine.services);
    expected.control.group.clone_from(&spelt_out.control.group);
    expected.control.roles.clone_from(&spelt_out.control.roles);
    assert_eq!(format!("{spelt_out:?}"), format!("{expected:?}"));
}

#[test]
fn a_minimal_file_gets_every_default() {
    let settings = check(MINIMAL).unwrap();
    assert_eq!(settings.warnings, []);
    assert_eq!(settings.store, Path::new(DEFAULT_STORE));
    assert_eq!(settings.control.socket, Path::new(DEFAULT_SOCKET));
    assert_eq!(settings.control.mode, 0o660);
    assert_eq!(settings.datapath.addresses, ["192.0.2.10".parse::<IpAddr>().unwrap()]);
    assert_eq!(settings.datapath.ports, 20_000..=29_999);
    assert_eq!(settings.capacity(), 2_500);
    assert_eq!(settings.engine.limits.calls, 2_500, "no more calls than the ports carry");
    let trunk = settings.engine.trunk(TrunkId(0)).unwrap();
    assert_eq!(trunk.sources, ["198.51.100.1/32".parse().unwrap()], "the target alone");
    assert_eq!(
        (trunk.trusted, trunk.format, trunk.media_source),
        (false, NumberFormat::E164, MediaSource::Signalled)
    );
    assert_eq!(settings.engine.route("4930123456"), Some(TrunkId(0)));
}

#[test]
fn media_may_be_encrypted_where_the_file_says_so() {
    let encrypting = |policy: &str| format!("{MINIMAL}[media]\nencryption = \"{policy}\"\n");
    let policy = |text: &str| check(text).unwrap().engine.media.permissions.encryption;
    assert_eq!(policy(MINIMAL), Encryption::Strict);
    assert_eq!(policy(&encrypting("end-to-end")), Encryption::EndToEnd);
    assert!(problems(&encrypting("yes"))[0].contains("media.encryption"));
}

#[test]
fn header_extensions_are_named_once_and_name_nobody() {
    let listing = |names: &str| format!("{MINIMAL}[media]\nextensions = [{names}]\n");
    let level = "\"urn:ietf:params:rtp-hdrext:ssrc-audio-level\"";
    assert_eq!(check(&listing(level)).unwrap().engine.media.permissions.extensions.len(), 1);
    for (names, problem) in [
        (format!("{level}, {level}"), "listed twice"),
        ("\"urn:ietf:params:rtp-hdrext:sdes:cname\"".to_owned(), "a party's name"),
        ("\"level\"".to_owned(), "not the URI"),
        ("\"urn:a b\"".to_owned(), "not the URI"),
    ] {
        assert!(problems(&listing(&names))[0].contains(problem), "{names}");
    }
}

#[test]
fn roles_have_users_and_groups() {
    let roles = |text: &str| check(&format!("{MINIMAL}[roles]\n{text}\n")).unwrap().control.roles;
    let found = roles("noc = [\"mara\", \"@noc\", \"1001\"]\nprivacy = []");
    assert_eq!(found[&Role::Noc], ["mara", "@noc", "1001"]);
    assert!(found[&Role::Privacy].is_empty() && !found.contains_key(&Role::Admin));
    for (text, problem) in [
        ("noc = [\"\"]", "no user and no group"),
        ("noc = [\"@\"]", "no user and no group"),
        ("noc = [\"two words\"]", "no user and no group"),
        ("noc = \"mara\"", "roles.noc"),
        ("boss = [\"mara\"]", "unknown key"),
    ] {
        assert!(problems(&format!("{MINIMAL}[roles]\n{text}\n"))[0].contains(problem), "{text}");
    }
}

#[test]
fn the_environment_overrides_four_keys() {
    let overrides = Overrides {
        key_file: Some("/x/keys".into()),
        store: Some("/tmp/s".into()),
        socket: Some("/tmp/v.sock".into()),
        log: Some("debug".to_owned()),
    };
    let settings = parse(Path::new("x"), MINIMAL, &overrides).unwrap();
    assert_eq!(settings.store, Path::new("/tmp/s"));
    assert_eq!(settings.key_file, Path::new("/x/keys"));
    assert_eq!(settings.control.socket, Path::new("/tmp/v.sock"));
    assert_eq!(settings.log.filter, "debug");

    let overrides = Overrides { log: Some("loud=yes=no".to_owned()), ..Overrides::default() };
    let problems = parse(Path::new("x"), MINIMAL, &overrides).unwrap_err();
    assert_eq!(problems[0].place, Place::Environment { variable: "VIZARD_LOG" });
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let text = r#"
[sip]
listen = ["192.0.2.10"]
ring_timout = "2m"
max_call = 90
[media]
ports = "20001-29999"
dscp = 64
path = "xpd-native"
[[media.address]]
name = "pub lic"
local = "0.0.0.0"
[[trunk]]
name = "carrier"
target = "carrier.example.net"
sources = ["198.51.100.1/24"]
trusted = "yes"
[[route]]
prefix = "00"
trunk = "carier"
[emergency]
trunk = "carrier"
[emergency.numbers]
USA = ["9 1 1"]
[nonsense]
"#;
    assert_eq!(
        problems(text),
        [
            "3: sip.listen[0]: '192.0.2.10': invalid socket address syntax",
            "4: sip.ring_timout: unknown key (did you mean 'ring_timeout'?)",
            "5: sip.max_call: a number without a unit",
            "7: media.ports: '20001-29999' does not consist of whole pairs (RTP even, RTCP odd, RFC 3550 section 11)",
            "8: media.dscp: 64 is out of range",
            "9: media.path: 'xpd-native' is not known here (did you mean 'xdp-native'?)",
            "11: media.address[0].name: 'pub lic' is not a name",
            "12: media.address[0].local: 0.0.0.0 is no address that media can arrive at",
            "13: trunk[0].country: this key is missing",
            "15: trunk[0].target: 'carrier.example.net': invalid socket address syntax",
            "16: trunk[0].sources[0]: 198.51.100.1/24 has bits set beyond its prefix",
            "17: trunk[0].trusted: this is a value of type string",
            "19: route[0].prefix: '00' is not the beginning of an E.164 number",
            "20: route[0].trunk: there is no trunk 'carier' (did you mean 'carrier'?)",
            "24: emergency.numbers.USA: 'USA' is not a two-letter country code (ISO 3166-1), such as US or DE",
            "24: emergency.numbers.USA[0]: '9 1 1' cannot be dialled",
            "25: nonsense: unknown key",
        ]
    );
}

#[test]
fn places_are_read_and_their_mistakes_told() {
    let text = format!(
        "{MINIMAL}[geography]\nstrict = true\n[geography.order]\nUS = [\"state\", \"country\"]\n\
         [geography.neighbours]\nDE = [\"AT\", \"FR\"]\n\
         [[geography.region]]\nname = \"apac\"\ncountries = [\"AU\"]\n"
    );
    let rules = check(&text).unwrap().engine.geography;
    let country = |code: &str| code.parse().unwrap();
    assert_eq!(rules.order(country("US")), [Step::State, Step::Country]);
    assert_eq!(rules.order(country("CA")), [Step::Locality, Step::State, Step::Country]);
    assert_eq!(rules.neighbours(country("DE")), [country("AT"), country("FR")]);
    assert_eq!((rules.strict, rules.anywhere, rules.regions.len()), (true, true, 1));
    for (line, problem) in [
        ("[geography.order]\nUS = [\"city\"]", "'city' is not known here"),
        ("[geography.order]\nUS = []", "the list is empty"),
        ("[geography.order]\nUSA = [\"state\"]", "not a two-letter country code"),
        ("[geography.neighbours]\nDE = [\"AT\", \"AT\"]", "it stands here twice"),
        ("[[geography.region]]\nname = \"apac\"", "this key is missing"),
        ("[geography]\nstrickt = true", "did you mean 'strict'?"),
    ] {
        let found = problems(&format!("{MINIMAL}{line}\n"));
        assert!(found.iter().any(|found| found.contains(problem)), "{line}: {found:?}");
    }
}

#[test]
fn each_contradiction_is_told() {
    let second_trunk = |extra: &str| format!("{MINIMAL}[[trunk]]\nname = \"pbx\"\ncountry = \"DE\"\n{extra}");
    let cases: [(String, &str); 22] = [
        (with("[\"192.0.2.10:5060\"]", "[]"), "the list is empty"),
        (with("192.0.2.10:5060", "0.0.0.0:5060"), "0.0.0.0 cannot stand in Via and Contact"),
        (with("192.0.2.10:5060", "192.0.2.10:0"), "port 0 cannot be called"),
        (with("[\"192.0.2.10:5060\"]", "[\"192.0.2.10:5060\", \"192.0.2.10:5060\"]"), "is listed twice"),
        (
            with("[\"192.0.2.10:5060\"]", "[{ local = \"10.0.0.1:5060\", advertised = \"[::1]:5060\" }]"),
            "of different families",
        ),
        (with("[\"192.0.2.10:5060\"]", "[\"192.0.2.10:20000\"]"), "include the SIP port of 192.0.2.10:20000"),
        (with("[\"192.0.2.10:5060\"]", "[\"192.0.2.10:5060\", \"192.0.2.11:5060\"]"), "several addresses"),
        (
            with("[\"192.0.2.10:5060\"]", "[\"[2001:db8::1]:5060\"]"),
            "no address in sip.listen is of the family",
        ),
        (with("198.51.100.1:5060", "192.0.2.10:5060"), "is our own SIP address"),
        (with("country = \"US\"", "country = \"US\"\nlisten = \"192.0.2.99:5060\""), "is not in sip.listen"),
        (with("country = \"US\"", "country = \"US\"\nmedia = \"publik\""), "(did you mean 'public'?)"),
        (
            with("country = \"US\"", "country = \"US\"\nsources = [\"10.0.0.0/8\"]"),
            "not among the trunk's sources",
        ),
        (with("country = \"US\"", "country = \"US\"\nsources = [\"0.0.0.0/0\"]"), "every host of the world"),
        (with("[[route]]\nprefix = \"*\"\ntrunk = \"carrier\"\n", ""), "there is no route"),
        (with("[emergency]\ntrunk = \"carrier\"\n", ""), "there is no emergency trunk"),
        (format!("{MINIMAL}[[route]]\nprefix = \"*\"\ntrunk = \"carrier\"\n"), "has the same prefix"),
        (format!("{MINIMAL}[limits]\ncalls = 2501\n"), "the media ports carry 2500 calls"),
        (format!("{MINIMAL}[media]\nports = \"20000-20001\"\n"), "fewer than the two pairs"),
        (format!("{MINIMAL}[control]\nmode = \"0666\"\n"), "every user of this host"),
        (
            second_trunk("target = \"198.51.100.2:5060\"\nsources = [\"198.51.100.2\", \"198.51.100.1\"]\n"),
            "198.51.100.1/32 is a source of trunk 'carrier' too",
        ),
        (
            second_trunk("target = \"198.51.100.2:5060\"\nsources = [\"198.51.100.0/24\"]\n"),
            "198.51.100.0/24 overlaps 198.51.100.1/32 of trunk 'carrier'",
        ),
        (
            second_trunk("target = \"198.51.100.2:5060\"\n").replace("\"pbx\"", "\"carrier\""),
            "the name 'carrier' is used by trunk[0].name too",
        ),
    ];
    for (text, expected) in cases {
        let found = problems(&text);
        assert!(
            found.iter().any(|problem| problem.contains(expected)),
            "{expected}\nnot in {found:#?}\n{text}"
        );
    }
}

#[test]
fn warnings_alone_do_not_stop_the_start() {
    let settings = check(&with("[emergency]\ntrunk = \"carrier\"\n", "")).unwrap();
    assert_eq!(settings.warnings.len(), 1);
    assert_eq!(settings.warnings[0].severity, Severity::Warning);
    assert_eq!(settings.engine.emergency.trunk, None);
}

#[test]
fn both_families_may_share_a_call() {
    let text = with("[\"192.0.2.10:5060\"]", "[\"192.0.2.10:5060\", \"[2001:db8::10]:5060\"]")
        + "[[media.address]]\nname = \"six\"\nlocal = \"2001:db8::10\"\n"
        + "[[trunk]]\nname = \"pbx\"\ntarget = \"[2001:db8::20]:5060\"\ncountry = \"DE\"\n";
    let settings = check(&text).unwrap();
    let trunk = &settings.engine.trunks[1];
    assert_eq!((trunk.listen, trunk.media), (1, 1), "the only ones of its family");
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

/// [`MINIMAL`] with these lists, these lines of its trunk, and these of `[sip]`.
fn over(lists: &str, trunk: &str, sections: &str) -> String {
    let text = with("listen = [\"192.0.2.10:5060\"]", &format!("{lists}\n{sections}"));
    text.replacen("country = \"US\"", &format!("country = \"US\"\n{trunk}"), 1)
}

const CERTIFIED: &str = "[sip.tls]\ncertificate = \"/x/tls.crt\"\nkey = \"/x/tls.key\"";

#[test]
fn each_transport_has_its_addresses_and_each_trunk_its_transport() {
    let lists = "listen = [\"192.0.2.10:5060\"]\nlisten_tcp = [\"192.0.2.10:5060\"]\n\
                 listen_tls = [{ local = \"192.0.2.10:5061\", advertised = \"198.51.100.9:5061\" }]";
    let trunk = "transport = \"tls\"\ntls_name = \"sip.carrier.example\"\nclient_certificate = true";
    let more = format!("{CERTIFIED}\nca = \"/x/ca\"\n[sip.connections]\nper_source = 9\nidle = \"1h\"");
    let settings = check(&over(lists, trunk, &more)).unwrap();
    let listen = &settings.engine.sip.listen;
    let transports: Vec<Transport> = listen.iter().map(|listen| listen.transport).collect();
    assert_eq!(transports, [Transport::Udp, Transport::Tcp, Transport::Tls]);
    assert_eq!(listen[2].advertised, "198.51.100.9:5061".parse().unwrap());
    let peer = &settings.engine.trunks[0];
    assert_eq!((peer.transport, peer.listen, peer.listen_large), (Transport::Tls, 2, None));
    assert_eq!((peer.tls.name.as_deref(), peer.tls.client_certificate), (Some("sip.carrier.example"), true));
    let files = settings.tls.unwrap();
    assert_eq!((files.key, files.ca, files.client_ca), ("/x/tls.key".into(), Some("/x/ca".into()), None));
    let limits = settings.connections;
    assert_eq!((limits.per_source, limits.idle.as_secs(), limits.connections), (9, 3_600, 4_096));
    // The guard counts datagrams alone.
    assert_eq!(settings.datapath.guard.unwrap().listen.len(), 1);

    let large = check(&over(lists, "large_requests = \"tcp\"", CERTIFIED)).unwrap();
    assert_eq!(large.engine.trunks[0].listen_large, Some(1));
    let plain = check(MINIMAL).unwrap();
    assert_eq!((plain.engine.trunks[0].transport, plain.tls), (Transport::Udp, None));
}

#[test]
fn what_does_not_fit_a_transport_is_told() {
    let (udp, tls) = ("listen = [\"192.0.2.10:5060\"]", "listen_tls = [\"192.0.2.10:5061\"]");
    let both = format!("{udp}\n{tls}");
    for (text, expected) in [
        (over(tls, "transport = \"tls\"", ""), "sip.listen_tls[0]: there is no certificate to show here"),
        (over(udp, "transport = \"tcp\"", ""), "no address in sip.listen_tcp is of the family"),
        (
            over(&both, "transport = \"tls\"\nlisten = \"192.0.2.10:5060\"", CERTIFIED),
            "is not in sip.listen_tls",
        ),
        (over(udp, "transport = \"sctp\"", ""), "'sctp' is not known here"),
        (over(udp, "tls_name = \"a.example\"", ""), "trunk[0].tls_name: this trunk speaks UDP"),
        (over(udp, "client_certificate = true", ""), "trunk[0].client_certificate: this trunk speaks UDP"),
        (
            over(&both, "transport = \"tls\"\ntls_name = \"a b\"", CERTIFIED),
            "neither a host name nor an address",
        ),
        (over(udp, "large_requests = \"tcp\"", ""), "no address in sip.listen_tcp fits this trunk"),
        (
            over(&both, "transport = \"tls\"\nlarge_requests = \"tcp\"", CERTIFIED),
            "this trunk speaks TLS anyway",
        ),
        (over(&both, "", "[sip.tls]\ncertificate = \"/x/tls.crt\""), "sip.tls.key: this key is missing"),
        (over(&both, "", &format!("{CERTIFIED}\nkee = 1")), "sip.tls.kee: unknown key"),
        (over("", "", ""), "sip.listen: this key is missing"),
        (
            over(&format!("{udp}\n{tls}\nlisten_tcp = [\"192.0.2.10:5061\"]"), "", CERTIFIED),
            "192.0.2.10:5061 is listed twice",
        ),
        (
            over(udp, "", "[sip.connections]\nhandshake = \"5m\""),
            "sip.connections.handshake: '5m' is out of range",
        ),
    ] {
        let found = problems(&text);
        assert!(found.iter().any(|found| found.contains(expected)), "{expected}\nnot in {found:#?}\n{text}");
    }
}

#[test]
fn a_trunk_may_have_several_targets_which_are_probed() {
    let several = |list: &str| with("target = \"198.51.100.1:5060\"", &format!("targets = [{list}]"));
    let text = several(
        "{ address = \"198.51.100.2:5060\", priority = 20 }, \
         { address = \"198.51.100.1:5060\", priority = 10, weight = 5 }",
    );
    let trunk = &check(&text).unwrap().engine.trunks[0];
    assert_eq!(
        (trunk.targets.first(), trunk.probe),
        ("198.51.100.1:5060".parse().unwrap(), Some(Duration::from_secs(30)))
    );
    assert_eq!(trunk.sources.len(), 2, "all of them are sources where none are named");
    assert_eq!(check(MINIMAL).unwrap().engine.trunks[0].probe, None);
    let never = text.replacen("country = \"US\"", "country = \"US\"\nprobe = \"0s\"", 1);
    assert_eq!(check(&never).unwrap().engine.trunks[0].probe, None);
    for (list, expected) in [
        ("", "0 targets; from one to 16 are possible"),
        ("\"198.51.100.1:5060\", \"198.51.100.1:5060\"", "198.51.100.1:5060 is listed twice"),
        ("\"198.51.100.1:5060\", \"[2001:db8::1]:5060\"", "a trunk's targets are of one family"),
        ("{ address = \"198.51.100.1:5060\", weight = 70000 }", "trunk[0].targets[0].weight"),
        ("\"198.51.100.1:5060\"]\ntarget = \"198.51.100.1:5060\"\nshared = [", "targets says that already"),
        ("\"198.51.100.1:5060\"]\nprobe = \"1s\"\nshared = [", "trunk[0].probe: that is too often"),
    ] {
        let found = problems(&several(list));
        assert!(found.iter().any(|found| found.contains(expected)), "{expected}\nnot in {found:#?}");
    }
}

#[test]
fn a_million_flows_are_the_most() {
    let address = |n: usize| format!("[[media.address]]\nname = \"m{n}\"\nlocal = \"10.0.0.{n}\"\n");
    let addresses = |count: usize| (0..count).map(address).collect::<Vec<_>>().concat();
    let trunk = "country = \"US\"\nmedia = \"public\"";
    let text = |count| with("country = \"US\"", trunk) + &addresses(count);
    assert_eq!(problems(&text(15)), Vec::<String>::new());
    let found = problems(&text(16));
    assert!(
        found.iter().any(|problem| problem.contains("there are 17 media addresses, and at most 16")),
        "{found:?}"
    );
}

#[test]
fn sessions_are_not_refreshed_more_often_than_they_may() {
    let found = |text: &str| {
        let problems = problems(&format!("[sip]\n{text}\n"));
        problems.into_iter().filter(|problem| problem.contains("session_interval")).collect::<Vec<_>>()
    };
    for fine in
        ["", "session_interval = \"0s\"", "session_interval = \"90s\"", "session_interval_min = \"30m\""]
    {
        assert_eq!(found(fine), Vec::<String>::new(), "{fine}");
    }
    for bad in [
        "session_interval = \"89s\"",
        "session_interval_min = \"10s\"",
        "session_interval = \"5m\"\nsession_interval_min = \"10m\"",
        "session_interval = 600",
    ] {
        assert_eq!(found(bad).len(), 1, "{bad}: {:?}", found(bad));
    }
}

#[test]
fn syntax_errors_are_told_alone_with_their_lines() {
    let found = problems("[sip]\nring_timeout = 2m\n[media]\nports = \n");
    assert!(found.iter().all(|problem| !problem.contains("missing")), "{found:?}");
    assert!(found[0].starts_with("2: ") && found.iter().any(|p| p.starts_with("4: ")), "{found:?}");
}

#[test]
fn an_unreadable_file_says_what_to_do() {
    let problems = load(Path::new("/nonexistent/vizard.toml"), &Overrides::default()).unwrap_err();
    assert!(problems[0].to_string().contains("--config or VIZARD_CONFIG"), "{}", problems[0]);
    let empty = parse(Path::new("empty.toml"), "", &Overrides::default()).unwrap_err();
    assert!(empty.iter().any(|problem| problem.key == "sip.listen"), "{empty:?}");
}

#[test]
fn no_text_makes_the_reader_panic() {
    // Every prefix, and every text with one line lost, of a file that has all sections.
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/demo.toml")).unwrap();
    for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
        let _ = check(&text[..end]);
    }
    let lines: Vec<&str> = text.lines().collect();
    for lost in 0..lines.len() {
        let rest: Vec<&str> = lines.iter().enumerate().filter(|(i, _)| *i != lost).map(|(_, l)| *l).collect();
        let _ = check(&rest.join("\n"));
    }
}

#[test]
fn durations_read_and_show() {
    for (text, seconds) in [("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800), ("1h 30m", 5400)] {
        assert_eq!(duration(text).map(|d| d.as_secs()), Some(seconds), "{text}");
    }
    for text in ["", "90", "-5s", "soon", "1mo", "99999999999999999999h"] {
        assert_eq!(duration(text), None, "{text}");
    }
    for (seconds, text) in [(90, "1m 30s"), (86_400, "1d"), (5400, "1h 30m"), (86_399, "23h 59m")] {
        assert_eq!(show_duration(Duration::from_secs(seconds)), text);
    }
    assert_eq!(show_duration(Duration::from_millis(500)), "500ms");
}

#[test]
fn the_guard_is_on_by_default_and_every_mistake_about_it_is_named() {
    let settings = check(MINIMAL).unwrap();
    let guard = settings.datapath.guard.expect("a guard");
    assert_eq!((guard.rate, guard.burst, guard.listen.len()), (50, 100, 1));
    let guarded = |section: &str| format!("{MINIMAL}\n[guard]\n{section}\n");
    let settings = check(&guarded("enabled = false")).unwrap();
    assert_eq!((settings.datapath.guard, settings.engine.guard.enabled), (None, false));
    let text = "trunks = \"limited\"\nstrangers = { messages = 5, deny_for = \"1h\" }";
    let guard = check(&guarded(text)).unwrap().engine.guard;
    let strangers = guard.strangers.expect("a limit");
    assert!(guard.limit_trunks);
    assert_eq!((strangers.messages, strangers.window.as_secs(), strangers.deny_for.as_secs()), (5, 60, 3600));
    assert_eq!(check(&guarded("strangers = \"off\"")).unwrap().engine.guard.strangers, None);
    for (section, key) in [
        ("burst = 0", "guard.burst"),
        ("strangers = \"on\"", "guard.strangers"),
        ("strangers = { message = 1 }", "guard.strangers.message"),
        ("trunks = true", "guard.trunks"),
    ] {
        let found = problems(&guarded(section));
        assert!(found.len() == 1 && found[0].contains(&format!(": {key}: ")), "{found:?}");
    }
    let sockets: Vec<String> = (0..17).map(|n| format!("\"192.0.2.10:{}\"", 5060 + n)).collect();
    let listen = with("\"192.0.2.10:5060\"", &sockets.join(", "));
    let listen = listen.replace("country = \"US\"", "country = \"US\"\nlisten = \"192.0.2.10:5060\"");
    assert_eq!(problems(&listen), ["3: sip.listen[16]: the guard has room for 16 sockets"]);
}

#[test]
fn each_kind_has_the_times_that_it_is_said_to_have() {
    let engine = check(MINIMAL).unwrap().engine;
    let hours = |kind| {
        let life = engine.bindings.life("anybody", kind);
        let late = if kind == BindingKind::Case { OnTombstone::Reopen } else { OnTombstone::Ivr };
        assert_eq!((life.usage, life.on_tombstone), (Usage::default(), late), "{kind:?}");
        (life.time_to_live.as_secs_f64() / 3600.0, life.callback_window.as_secs_f64() / 3600.0)
    };
    assert_eq!(hours(BindingKind::Session), (1.0, 0.5), "one conversation, and minutes for a callback");
    assert_eq!(hours(BindingKind::Case), (365.0 * 24.0, 72.0), "until it is closed, and days");
    assert_eq!(hours(BindingKind::Customer), (365.0 * 24.0, 72.0));
    assert_eq!(hours(BindingKind::Agent), (30.0 * 24.0, 72.0));
}

#[test]
fn callbacks_and_tenants_have_their_own_terms() {
    let text = format!(
        "{MINIMAL}\n[callbacks]\nivr = {{ trunk = \"carrier\", uri = \"sip:callback@198.51.100.9\" }}\n\
         [bindings]\non_tombstone = \"announcement\"\n[bindings.case]\non_tombstone = \"connect\"\n\
         [tenant.acme]\ncallback_window = \"2h\"\n[tenant.acme.session]\non_tombstone = \"ivr\"\n"
    );
    let engine = check(&text).unwrap().engine;
    let ivr = engine.services.ivr.expect("an IVR");
    assert_eq!((ivr.trunk, ivr.uri.as_str()), (TrunkId(0), "sip:callback@198.51.100.9"));
    let late = |tenant, kind| engine.bindings.life(tenant, kind).on_tombstone;
    assert_eq!(late("acme", BindingKind::Session), OnTombstone::Ivr);
    assert_eq!(late("acme", BindingKind::Case), OnTombstone::Connect);
    assert_eq!(late("acme", BindingKind::Agent), OnTombstone::Announcement);
    assert_eq!(late("other", BindingKind::Session), OnTombstone::Announcement);
    let window = |tenant| engine.bindings.life(tenant, BindingKind::Case).callback_window.as_secs();
    assert_eq!((window("acme"), window("other")), (2 * 3600, 72 * 3600));
    assert_eq!(check(MINIMAL).unwrap().engine.bindings.usual.on_tombstone, OnTombstone::Ivr);
    for (section, key) in [
        ("[callbacks]\nivr = { trunk = \"carier\", uri = \"sip:a@192.0.2.1\" }", "callbacks.ivr.trunk"),
        ("[callbacks]\nivr = { trunk = \"carrier\", uri = \"tel:+1\" }", "callbacks.ivr.uri"),
        ("[callbacks]\nivr = { trunk = \"carrier\" }", "callbacks.ivr.uri"),
        ("[callbacks]\nivr = \"carrier\"", "callbacks.ivr"),
        ("[bindings.case]\non_tombstone = \"voicemail\"", "bindings.case.on_tombstone"),
        ("[tenant.acme.cases]\n", "tenant.acme.cases"),
        ("[tenant.acme]\ncool_off = \"1d\"", "tenant.acme.cool_off"),
    ] {
        let found = problems(&format!("{MINIMAL}\n{section}\n"));
        assert!(found.len() == 1 && found[0].contains(&format!(": {key}: ")), "{section}: {found:?}");
    }
}
