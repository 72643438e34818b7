//! One function per section of the file: types, ranges and defaults. What takes
//! two sections to judge is `cross`' business.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use super::connections::{self, Reach};
use super::problem::Report;
use super::reader::{Item, Located, Section};
use super::{Control, DEFAULT_KEY_FILE, DEFAULT_SOCKET, DEFAULT_STORE, Log, LogFormat, Overrides};
use crate::datapath::Mode;
use crate::engine::config::{
    Encryption, Guard, Ice, Limits, Listen, MediaAddress, MediaSource, NumberFormat, Patience, Permissions,
    Pool, Records, Retention, SessionTimers, Timers,
};
use crate::engine::guard::StrangerLimit;
use crate::engine::number::Country;
use crate::engine::privacy::Role;
use crate::engine::targets::Target;
use crate::net::stream::StreamLimits;
use crate::net::tls::TlsFiles;

pub(super) const DAY: Duration = Duration::from_hours(24);
pub(super) const YEAR: Duration = Duration::from_hours(24 * 366);
pub(super) const DECADE: Duration = Duration::from_hours(24 * 3653);
pub(super) const ADDRESS_AND_PORT: &str =
    "write an address and a port, such as \"192.0.2.10:5060\" or \"[2001:db8::10]:5060\"";
const ADDRESS: &str = "write an address without a port, such as \"192.0.2.10\" or \"2001:db8::10\"";
const NETWORK: &str = "write a network or an address, such as \"192.0.2.0/24\" or \"2001:db8::7\"";

/// `[sip]`.
pub(super) struct SipDraft {
    pub(super) listen: Vec<Located<Listen>>,
    pub(super) tls: Option<TlsFiles>,
    /// There is one, and it has its own errors.
    pub(super) tls_is_broken: bool,
    pub(super) connections: StreamLimits,
    pub(super) timers: Timers,
    pub(super) ring_timeout: Duration,
    pub(super) failover_after: Duration,
    pub(super) max_call: Duration,
    pub(super) session: SessionTimers,
    pub(super) product: String,
}

pub(super) fn sip(mut section: Section<'_>, report: &mut Report<'_>) -> SipDraft {
    let listen = connections::listens(&mut section, report);
    let tls = connections::tls(&mut section, report);
    let session = session_timers(&mut section, report);
    let timers = timers(section.section("timers", report), report);
    let draft = SipDraft {
        listen,
        tls_is_broken: tls.is_none() && section.get("tls").is_some(),
        tls,
        connections: connections::limits(section.section("connections", report), report),
        timers,
        ring_timeout: duration(&mut section, "ring_timeout", 120, 1..=3600, report),
        failover_after: duration(&mut section, "failover_after", 4, 1..=30, report),
        max_call: duration(&mut section, "max_call", 4 * 3600, 60..=7 * 86_400, report),
        session,
        product: product(&mut section, report),
    };
    section.finish(report);
    draft
}

fn session_timers(section: &mut Section<'_>, report: &mut Report<'_>) -> SessionTimers {
    let default = SessionTimers::default();
    let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    let range = |from| Duration::from_secs(from)..=Duration::from_hours(24);
    let mut read = |key, from, default| match section.get(key) {
        Some(item) => (item.duration(range(from), report).map_or(default, seconds), Some(item.at.clone())),
        None => (default, None),
    };
    // RFC 4028 section 5: nobody may have to refresh more often than that.
    let least = u64::from(default.shortest);
    let (interval, at) = read("session_interval", 0, default.interval);
    let (shortest, _) = read("session_interval_min", least, default.shortest);
    let timers = SessionTimers { interval, shortest };
    if let Some(at) = at
        && interval != 0
        && interval < shortest
    {
        report.error(
            &at,
            &section.path_of("session_interval"),
            "sessions would be refreshed more often than they may",
            "make it at least session_interval_min, which is 90 seconds or more (RFC 4028 section 5), or 0 for \
             no session timers",
        );
    }
    timers
}

fn timers(mut section: Section<'_>, report: &mut Report<'_>) -> Timers {
    let default = Timers::default();
    let mut timer = |key, default| {
        let range = Duration::from_millis(10)..=Duration::from_mins(1);
        section.get(key).and_then(|item| item.duration(range, report)).unwrap_or(default)
    };
    let timers =
        Timers { t1: timer("t1", default.t1), t2: timer("t2", default.t2), t4: timer("t4", default.t4) };
    if timers.t2 < timers.t1 {
        report.error(
            &section.at,
            &section.path_of("t2"),
            "T2 is shorter than T1",
            "retransmission intervals grow from T1 to T2 (RFC 3261, table 4): make t2 at least t1",
        );
    }
    section.finish(report);
    timers
}

fn product(section: &mut Section<'_>, report: &mut Report<'_>) -> String {
    let default = || concat!("Vizard/", env!("CARGO_PKG_VERSION")).to_owned();
    let Some(item) = section.get("product") else { return default() };
    let Some(text) = item.text(report) else { return default() };
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~/ ()".contains(&b);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(token) {
        report.error(
            &item.at,
            &item.path,
            "this cannot stand in a Server header",
            "write at most 64 letters, digits and -.!%*_+`'~/ (RFC 3261 section 25.1)",
        );
    }
    text.to_owned()
}

/// Where pins are unless the configuration says otherwise.
const DEFAULT_PIN: &str = "/sys/fs/bpf/vizard";

/// `[media]`.
pub(super) struct MediaDraft {
    pub(super) addresses: Vec<Located<MediaAddress>>,
    pub(super) ports: Located<RangeInclusive<u16>>,
    pub(super) quarantine: Duration,
    pub(super) dscp: u8,
    pub(super) patience: Patience,
    pub(super) permissions: Permissions,
    pub(super) path: Located<Mode>,
    pub(super) interfaces: Vec<String>,
    pub(super) pin: Option<PathBuf>,
}

pub(super) fn media(mut section: Section<'_>, report: &mut Report<'_>) -> MediaDraft {
    let addresses = section.sections("address", report);
    if addresses.is_empty() {
        report.error(
            &section.at,
            &section.path_of("address"),
            "there is no media address",
            "add [[media.address]] with a name and a local address",
        );
    }
    let here = |value| Located { value, path: section.path_of("ports"), at: section.at.clone() };
    let default_ports = here(20_000..=29_999);
    let default_path = Located { value: Mode::Auto, path: section.path_of("path"), at: section.at.clone() };
    let modes = [
        ("auto", Mode::Auto),
        ("xdp-native", Mode::XdpNative),
        ("xdp-generic", Mode::XdpGeneric),
        ("sockets", Mode::Sockets),
    ];
    let draft = MediaDraft {
        addresses: addresses.into_iter().filter_map(|address| media_address(address, report)).collect(),
        ports: section.get("ports").and_then(|item| ports(&item, report)).unwrap_or(default_ports),
        quarantine: duration(&mut section, "quarantine", 2, 0..=3600, report),
        dscp: integer(&mut section, "dscp", 46, 0..=63, report).try_into().unwrap_or(46),
        patience: patience(&mut section, report),
        permissions: permissions(&mut section, report),
        path: section
            .get("path")
            .and_then(|item| item.choice(&modes, report).map(|mode| item.at(mode)))
            .unwrap_or(default_path),
        interfaces: interfaces(&mut section, report),
        pin: pin(&mut section, report),
    };
    section.finish(report);
    draft
}

/// Where the kernel's side of media outlives the process; the empty text means
/// nowhere.
fn pin(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<PathBuf> {
    let Some(item) = section.get("pin") else { return Some(DEFAULT_PIN.into()) };
    let path = PathBuf::from(item.text(report).filter(|text| !text.is_empty())?);
    if !path.is_absolute() {
        let remedy = "write an absolute path in a BPF file system, or \"\" to pin nothing";
        report.error(&item.at, &item.path, "this is no absolute path", remedy);
    }
    Some(path)
}

fn patience(section: &mut Section<'_>, report: &mut Report<'_>) -> Patience {
    let default = Patience::default();
    let mut limit =
        |key, default: Duration, most| duration(section, key, default.as_secs(), 0..=most, report);
    Patience {
        timeout: limit("timeout", default.timeout, 86_400),
        one_way_after: limit("one_way_after", default.one_way_after, 3600),
        learning_window: limit("learning_window", default.learning_window, 3600),
    }
}

fn permissions(section: &mut Section<'_>, report: &mut Report<'_>) -> Permissions {
    let policies = [Encryption::Strict, Encryption::EndToEnd].map(|policy| (policy.as_str(), policy));
    let encryption = section.get("encryption").and_then(|item| item.choice(&policies, report));
    Permissions { encryption: encryption.unwrap_or_default(), extensions: extensions(section, report).into() }
}

/// Names of header extensions, which stand in SDP as they are written here.
fn extensions(section: &mut Section<'_>, report: &mut Report<'_>) -> Vec<String> {
    const NAME_OF_SOMEBODY: &str = "urn:ietf:params:rtp-hdrext:sdes:cname";
    let Some(list) = section.get("extensions") else { return Vec::new() };
    let mut names: Vec<String> = Vec::new();
    for item in list.list(report) {
        let Some(name) = item.text(report) else { continue };
        let remedy = "write the URI of each extension once, such as \
                      \"urn:ietf:params:rtp-hdrext:ssrc-audio-level\"";
        let plain =
            name.len() <= 128 && name.contains(':') && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain {
            report.error(&item.at, &item.path, "this is not the URI of a header extension", remedy);
        } else if name == NAME_OF_SOMEBODY {
            report.error(&item.at, &item.path, "this extension carries a party's name", "remove it");
        } else if names.iter().any(|known| known == name) {
            report.error(&item.at, &item.path, format!("'{name}' is listed twice"), remedy);
        } else {
            names.push(name.to_owned());
        }
    }
    names
}

fn media_address(mut section: Section<'_>, report: &mut Report<'_>) -> Option<Located<MediaAddress>> {
    let name = name(&mut section, report);
    let local = section.require("local", report, ADDRESS);
    let local = local.and_then(|item| {
        let local: IpAddr = item.parse(report, ADDRESS)?;
        if local.is_unspecified() || local.is_multicast() {
            let what = format!("{local} is no address that media can arrive at");
            report.error(&item.at, &item.path, what, "write an address of one of this host's interfaces");
        }
        Some(local)
    });
    let advertised = section.get("advertised").map(|item| item.parse::<IpAddr>(report, ADDRESS));
    let at = Located { value: (), path: section.path.clone(), at: section.at.clone() };
    section.finish(report);
    let value = MediaAddress { name: name?.value, local: local?, advertised: advertised.unwrap_or(local)? };
    Some(Located { value, path: at.path, at: at.at })
}

fn ports(item: &Item<'_>, report: &mut Report<'_>) -> Option<Located<RangeInclusive<u16>>> {
    let remedy = "write a range of UDP ports from 1024 up, first even and last odd, such as \"20000-29999\"";
    let text = item.text(report)?;
    let range = text.split_once('-').and_then(|(first, last)| {
        Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?))
    });
    let problem = match range {
        None => "is not a range of ports",
        Some((first, last)) if first >= last => "is empty",
        Some((first, _)) if first < 1024 => "reaches into the privileged ports",
        Some((first, last)) if first % 2 == 1 || last % 2 == 0 => {
            "does not consist of whole pairs (RTP even, RTCP odd, RFC 3550 section 11)"
        }
        Some((first, last)) if last - first < 3 => "has fewer than the two pairs that one call needs",
        Some((first, last)) => return Some(item.at(first..=last)),
    };
    report.error(&item.at, &item.path, format!("'{}' {problem}", super::reader::shortened(text)), remedy);
    None
}

fn interfaces(section: &mut Section<'_>, report: &mut Report<'_>) -> Vec<String> {
    let Some(list) = section.get("interfaces") else { return Vec::new() };
    let mut names: Vec<String> = Vec::new();
    for item in list.list(report) {
        let Some(name) = item.text(report) else { continue };
        let remedy = "write the name of each interface once, as `ip link` shows it";
        if name.is_empty() || name.len() > 15 || name.contains(['/', ' ', '\t']) {
            report.error(&item.at, &item.path, "this is not the name of an interface", remedy);
        } else if names.iter().any(|known| known == name) {
            report.error(&item.at, &item.path, format!("'{name}' is listed twice"), remedy);
        } else {
            names.push(name.to_owned());
        }
    }
    names
}

const ICE: [(&str, Ice); 2] = [("off", Ice::Off), ("lite", Ice::Lite)];

/// One `[[trunk]]`; names of others are still names.
pub(super) struct TrunkDraft {
    pub(super) path: String,
    pub(super) span: std::ops::Range<usize>,
    pub(super) name: Option<Located<String>>,
    /// As written; none where there is something wrong with all of them.
    pub(super) targets: Vec<Located<Target>>,
    /// How often they are probed; zero is never.
    pub(super) probe: Option<Duration>,
    pub(super) sources: Vec<Located<IpNet>>,
    pub(super) listen: Option<Located<SocketAddr>>,
    pub(super) reach: Reach,
    pub(super) media: Option<Located<String>>,
    pub(super) country: Option<Country>,
    pub(super) trusted: bool,
    pub(super) format: NumberFormat,
    pub(super) media_source: MediaSource,
    pub(super) ice: Ice,
    pub(super) shared: Vec<String>,
}

impl TrunkDraft {
    /// What stands for all of its targets, which are of one family.
    pub(super) fn target(&self) -> Option<Located<SocketAddr>> {
        let first = self.targets.first()?;
        Some(Located { value: first.value.address, path: first.path.clone(), at: first.at.clone() })
    }
}

pub(super) fn trunk(mut section: Section<'_>, report: &mut Report<'_>) -> TrunkDraft {
    let country = "write a two-letter country code (ISO 3166-1), such as \"US\"";
    let formats = [("e164", NumberFormat::E164), ("plain", NumberFormat::Plain)];
    let draft = TrunkDraft {
        path: section.path.clone(),
        span: section.at.clone(),
        name: name(&mut section, report),
        targets: connections::targets(&mut section, report),
        probe: connections::probe(&mut section, report),
        sources: section
            .get("sources")
            .map(|item| item.list(report))
            .unwrap_or_default()
            .iter()
            .filter_map(|item| network(item, report).map(|net| item.at(net)))
            .collect(),
        listen: section
            .get("listen")
            .and_then(|item| item.parse(report, ADDRESS_AND_PORT).map(|value| item.at(value))),
        reach: connections::reach(&mut section, report),
        media: section.get("media").and_then(|item| item.text(report).map(|text| item.at(text.to_owned()))),
        country: section.require("country", report, country).and_then(|item| item.parse(report, country)),
        trusted: section.get("trusted").and_then(|item| item.boolean(report)).unwrap_or(false),
        format: section.get("format").and_then(|item| item.choice(&formats, report)).unwrap_or_default(),
        media_source: section
            .get("media_source")
            .and_then(|item| media_source(&item, report))
            .unwrap_or_default(),
        ice: section.get("ice").and_then(|item| item.choice(&ICE, report)).unwrap_or_default(),
        shared: section
            .get("shared")
            .map(|item| item.list(report))
            .unwrap_or_default()
            .iter()
            .filter_map(|item| shared(item, report))
            .collect(),
    };
    section.finish(report);
    draft
}

/// A number or extension that several people share.
fn shared(item: &Item<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = item.text(report)?;
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'@') {
        let what = format!("'{}' is no number or extension", super::reader::shortened(text));
        report.error(
            &item.at,
            &item.path,
            what,
            "write it as in \"+12125550000\" or \"1000\", without a host",
        );
        return None;
    }
    Some(text.to_owned())
}

fn media_source(item: &Item<'_>, report: &mut Report<'_>) -> Option<MediaSource> {
    match item.text(report)? {
        "signalled" => Some(MediaSource::Signalled),
        "nat" => Some(MediaSource::Nat),
        text if text.contains(['.', ':', '/']) => network(item, report).map(MediaSource::Network),
        _ => item.choice(&[("signalled", MediaSource::Signalled), ("nat", MediaSource::Nat)], report),
    }
}

/// A network, or an address, which is a network of one.
fn network(item: &Item<'_>, report: &mut Report<'_>) -> Option<IpNet> {
    let text = item.text(report)?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(IpNet::from(address));
    }
    let net: IpNet = item.parse(report, NETWORK)?;
    if net.trunc() != net {
        report.error(
            &item.at,
            &item.path,
            format!("{net} has bits set beyond its prefix"),
            format!("write \"{}\" for the network or \"{}\" for the one address", net.trunc(), net.addr()),
        );
        return None;
    }
    Some(net)
}

/// One `[[route]]`.
pub(super) struct RouteDraft {
    pub(super) prefix: Option<Located<String>>,
    pub(super) trunk: Option<Located<String>>,
}

pub(super) fn route(mut section: Section<'_>, report: &mut Report<'_>) -> RouteDraft {
    let remedy =
        "write the first digits of the numbers, such as \"+1\" or \"4930\"; \"*\" matches every number";
    let prefix = section.require("prefix", report, remedy).and_then(|item| {
        let text = item.text(report)?;
        let digits = if text == "*" { "" } else { text.strip_prefix('+').unwrap_or(text) };
        let known = text == "*" || !digits.is_empty();
        if !known
            || digits.len() > 15
            || !digits.bytes().all(|b| b.is_ascii_digit())
            || digits.starts_with('0')
        {
            let what =
                format!("'{}' is not the beginning of an E.164 number", super::reader::shortened(text));
            report.error(&item.at, &item.path, what, remedy);
            return None;
        }
        Some(item.at(digits.to_owned()))
    });
    let draft = RouteDraft {
        prefix,
        trunk: trunk_name(section.require("trunk", report, "name a [[trunk]]"), report),
    };
    section.finish(report);
    draft
}

/// `[emergency]`.
pub(super) struct EmergencyDraft {
    pub(super) at: Located<()>,
    pub(super) trunk: Option<Located<String>>,
    pub(super) numbers: Vec<(Country, Vec<String>)>,
}

pub(super) fn emergency(mut section: Section<'_>, report: &mut Report<'_>) -> EmergencyDraft {
    let at = Located { value: (), path: section.path_of("trunk"), at: section.at.clone() };
    let trunk = trunk_name(section.get("trunk"), report);
    let numbers = section.section("numbers", report);
    let mut list = Vec::new();
    for (name, item) in numbers.entries() {
        let dialled = item.list(report);
        let dialled: Vec<String> = dialled.iter().filter_map(|item| short_number(item, report)).collect();
        match name.value.parse::<Country>() {
            Ok(country) => list.push((country, dialled)),
            Err(error) => {
                report.error(&name.at, &name.path, error.to_string(), "write it as in US = [\"911\"]");
            }
        }
    }
    section.finish(report);
    EmergencyDraft { at, trunk, numbers: list }
}

fn short_number(item: &Item<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = item.text(report)?;
    if (2..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(text.to_owned());
    }
    report.error(
        &item.at,
        &item.path,
        format!("'{}' cannot be dialled", super::reader::shortened(text)),
        "write the digits that callers dial, such as \"112\"",
    );
    None
}

/// `[pool]`.
pub(super) fn pool(mut section: Section<'_>, report: &mut Report<'_>) -> Pool {
    let default = Pool::default();
    let pool = Pool {
        low_percent: count(&mut section, "low_percent", default.low_percent, 0..=100, report),
        bindings_per_number: count(
            &mut section,
            "bindings_per_number",
            default.bindings_per_number,
            0..=1_000_000,
            report,
        ),
    };
    section.finish(report);
    pool
}

/// `[records]`.
pub(super) fn records(mut section: Section<'_>, report: &mut Report<'_>) -> Records {
    let default = Records::default().interim_every.as_secs();
    let interim_every = duration(&mut section, "interim_every", default, 0..=DAY.as_secs(), report);
    section.finish(report);
    Records { interim_every }
}

/// `[retention]`.
pub(super) fn retention(mut section: Section<'_>, report: &mut Report<'_>) -> Retention {
    let default = Retention::default();
    let longest = DECADE.as_secs();
    let retention = Retention {
        cdrs: duration(&mut section, "cdrs", default.cdrs.as_secs(), 0..=longest, report),
        numbers_seen: duration(
            &mut section,
            "numbers_seen",
            default.numbers_seen.as_secs(),
            0..=longest,
            report,
        ),
    };
    section.finish(report);
    retention
}

/// `[guard]`.
pub(super) fn guard(mut section: Section<'_>, report: &mut Report<'_>) -> Guard {
    let default = Guard::default();
    let strangers = section.get("strangers").map(|item| strangers(&item, report));
    let limited = |item: Item<'_>, report: &mut Report<'_>| {
        item.choice(&[("exempt", false), ("limited", true)], report)
    };
    let guard = Guard {
        enabled: section.get("enabled").and_then(|item| item.boolean(report)).unwrap_or(default.enabled),
        rate: count(&mut section, "rate", default.rate, 0..=1_000_000, report),
        burst: count(&mut section, "burst", default.burst, 1..=1_000_000, report),
        limit_trunks: section
            .get("trunks")
            .and_then(|item| limited(item, report))
            .unwrap_or(default.limit_trunks),
        strangers: strangers.unwrap_or(default.strangers),
    };
    section.finish(report);
    guard
}

/// `"off"`, or `{ messages = 100, window = "1m", deny_for = "10m" }`.
fn strangers(item: &Item<'_>, report: &mut Report<'_>) -> Option<StrangerLimit> {
    let default = Guard::default().strangers;
    if item.is_text() {
        return item.choice(&[("off", None)], report).unwrap_or(default);
    }
    let mut section = item.section(report)?;
    let default = default?;
    let limit = StrangerLimit {
        messages: count(&mut section, "messages", default.messages, 1..=1_000_000, report),
        window: duration(&mut section, "window", default.window.as_secs(), 1..=86_400, report),
        deny_for: duration(&mut section, "deny_for", default.deny_for.as_secs(), 1..=30 * 86_400, report),
    };
    section.finish(report);
    Some(limit)
}

fn count(
    section: &mut Section<'_>,
    key: &'static str,
    default: u32,
    range: RangeInclusive<usize>,
    report: &mut Report<'_>,
) -> u32 {
    let item = section.get(key).and_then(|item| item.integer(range, report));
    item.and_then(|count| u32::try_from(count).ok()).unwrap_or(default)
}

/// `[limits]`; `calls` stays open until the ports are known.
pub(super) struct LimitsDraft {
    pub(super) limits: Limits,
    pub(super) calls: Option<Located<usize>>,
}

pub(super) fn limits(mut section: Section<'_>, report: &mut Report<'_>) -> LimitsDraft {
    let default = Limits::default();
    let calls =
        section.get("calls").and_then(|item| item.integer(1..=1_000_000, report).map(|calls| item.at(calls)));
    let mut limit = |key, default, range| integer(&mut section, key, default, range, report);
    let limits = Limits {
        calls: default.calls,
        bindings: limit("bindings", default.bindings, 1..=100_000_000),
        numbers: limit("numbers", default.numbers, 1..=10_000_000),
        transactions: limit("transactions", default.transactions, 16..=10_000_000),
        message_bytes: limit("message_bytes", default.message_bytes, 1_300..=65_507),
        headers: limit("headers", default.headers, 24..=1_024),
        pending_commits: limit("pending_commits", default.pending_commits, 16..=10_000_000),
        callers_per_agent: limit("callers_per_agent", default.callers_per_agent, 0..=10_000_000),
        agents_per_caller: limit("agents_per_caller", default.agents_per_caller, 0..=1_000_000),
    };
    section.finish(report);
    LimitsDraft { limits, calls }
}

pub(super) fn store(mut section: Section<'_>, overrides: &Overrides, report: &mut Report<'_>) -> PathBuf {
    let path = path(&mut section, "path", DEFAULT_STORE, report);
    section.finish(report);
    overrides.store.clone().unwrap_or(path)
}

/// `[vault]`: the key file, and the anchor of the audit log.
pub(super) fn vault(
    mut section: Section<'_>,
    store: &Path,
    overrides: &Overrides,
    report: &mut Report<'_>,
) -> (PathBuf, PathBuf) {
    let key_file = path(&mut section, "key_file", DEFAULT_KEY_FILE, report);
    let key_file = overrides.key_file.clone().unwrap_or(key_file);
    let anchor =
        section.get("anchor_file").and_then(|item| item.text(report)).filter(|text| !text.is_empty());
    // With the keys wherever they are.
    let anchor = anchor.map_or_else(|| key_file.with_file_name("audit.anchor"), PathBuf::from);
    for (key, path, what) in [
        ("key_file", &key_file, "the key file is inside the store: whoever copies one has the other"),
        (
            "anchor_file",
            &anchor,
            "the audit log's anchor is inside the store: whoever cuts one cuts the other",
        ),
    ] {
        if path.starts_with(store) {
            let remedy = format!("name a file elsewhere, such as \"/var/lib/vizard-keys/{key}\"");
            report.error(&section.at, &section.path_of(key), what, remedy);
        }
    }
    section.finish(report);
    (key_file, anchor)
}

pub(super) fn control(
    mut section: Section<'_>,
    roles: BTreeMap<Role, Vec<String>>,
    overrides: &Overrides,
    report: &mut Report<'_>,
) -> Control {
    /// `sun_path` of `sockaddr_un` holds 108 bytes with its terminator, and the
    /// socket is made under a name that is four bytes longer.
    const MAX_SOCKET_PATH: usize = 103;
    let remedy = "name a path of at most 103 bytes, as the kernel's limit on socket addresses asks";
    let socket = path(&mut section, "socket", DEFAULT_SOCKET, report);
    if socket.as_os_str().len() > MAX_SOCKET_PATH {
        report.error(&section.at, &section.path_of("socket"), "the socket's path is too long", remedy);
    }
    if overrides.socket.as_ref().is_some_and(|path| path.as_os_str().len() > MAX_SOCKET_PATH) {
        report.environment("VIZARD_SOCKET", "the socket's path is too long", remedy);
    }
    let control = Control {
        socket: overrides.socket.clone().unwrap_or(socket),
        group: section.get("group").and_then(|item| item.text(report).map(str::to_owned)),
        mode: section.get("mode").and_then(|item| mode(&item, report)).unwrap_or(0o660),
        roles,
    };
    section.finish(report);
    control
}

fn mode(item: &Item<'_>, report: &mut Report<'_>) -> Option<u32> {
    let text = item.text(report)?;
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o777 == 0 && mode & 0o600 == 0o600);
    match mode {
        None => report.error(
            &item.at,
            &item.path,
            format!("'{}' is not a mode that lets the daemon's own user in", super::reader::shortened(text)),
            "write three or four octal digits, such as \"0660\"",
        ),
        Some(mode) if mode & 0o007 != 0 => report.warn(
            &item.at,
            &item.path,
            "every user of this host may connect, and [roles] alone says what they may ask for",
            "write \"0660\" and set control.group to a group of everybody who has a role",
        ),
        Some(_) => {}
    }
    mode
}

pub(super) fn log(mut section: Section<'_>, overrides: &Overrides, report: &mut Report<'_>) -> Log {
    let remedy = "write a level (error, warn, info, debug, trace) or levels per module, such as \"info,vizard::datapath=debug\"";
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let mut filter = "info".to_owned();
    if let Some(item) = section.get("filter")
        && let Some(text) = item.text(report)
    {
        if let Err(error) = EnvFilter::try_new(text) {
            report.error(&item.at, &item.path, error.to_string(), remedy);
        }
        text.clone_into(&mut filter);
    }
    if let Some(text) = &overrides.log {
        if let Err(error) = EnvFilter::try_new(text) {
            report.environment("VIZARD_LOG", error.to_string(), remedy);
        }
        filter.clone_from(text);
    }
    let format = section.get("format").and_then(|item| item.choice(&formats, report)).unwrap_or_default();
    section.finish(report);
    Log { filter, format }
}

/// Names stand in tables, records and file paths, so they are kept plain.
pub(super) fn name(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<Located<String>> {
    let remedy = "write 1 to 32 letters, digits, '-' or '_', such as \"carrier\"";
    let item = section.require("name", report, remedy)?;
    let text = item.text(report)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if text.is_empty() || text.len() > 32 || !text.bytes().all(plain) {
        report.error(
            &item.at,
            &item.path,
            format!("'{}' is not a name", super::reader::shortened(text)),
            remedy,
        );
        return None;
    }
    Some(item.at(text.to_owned()))
}

pub(super) fn trunk_name(item: Option<Item<'_>>, report: &mut Report<'_>) -> Option<Located<String>> {
    item.and_then(|item| item.text(report).map(|text| item.at(text.to_owned())))
}

fn path(section: &mut Section<'_>, key: &'static str, default: &str, report: &mut Report<'_>) -> PathBuf {
    let Some(item) = section.get(key) else { return default.into() };
    let Some(text) = item.text(report) else { return default.into() };
    if text.is_empty() || text.contains('\0') {
        report.error(
            &item.at,
            &item.path,
            "this is not a path",
            format!("write a path, such as \"{default}\""),
        );
    }
    text.into()
}

/// In whole seconds; other durations have ranges that seconds do not express.
pub(super) fn duration(
    section: &mut Section<'_>,
    key: &'static str,
    default: u64,
    range: RangeInclusive<u64>,
    report: &mut Report<'_>,
) -> Duration {
    let range = Duration::from_secs(*range.start())..=Duration::from_secs(*range.end());
    section.get(key).and_then(|item| item.duration(range, report)).unwrap_or(Duration::from_secs(default))
}

pub(super) fn integer(
    section: &mut Section<'_>,
    key: &'static str,
    default: usize,
    range: RangeInclusive<usize>,
    report: &mut Report<'_>,
) -> usize {
    section.get(key).and_then(|item| item.integer(range, report)).unwrap_or(default)
}
