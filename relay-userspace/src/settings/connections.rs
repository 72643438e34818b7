//! Where SIP arrives and over what: `sip.listen`, `sip.listen_tcp`, `sip.listen_tls`,
//! `[sip.tls]`, `[sip.connections]`, and what a trunk says of its transport.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::problem::Report;
use super::reader::{Item, Located, Section};
use super::sections::{ADDRESS_AND_PORT, SipDraft, TrunkDraft, duration, integer};
use crate::engine::config::{Listen, TlsPeer};
use crate::engine::sip::transport::Transport;
use crate::engine::targets::Target;
use crate::net::stream::StreamLimits;
use crate::net::tls::{TlsFiles, server_name};

/// Targets of one trunk.
const MAX_TARGETS: usize = 16;

/// The keys that say where SIP arrives.
const LISTS: [(&str, Transport); 3] =
    [("listen", Transport::Udp), ("listen_tcp", Transport::Tcp), ("listen_tls", Transport::Tls)];

/// The key of a transport's addresses.
pub(super) const fn list_of(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "sip.listen",
        Transport::Tcp => "sip.listen_tcp",
        Transport::Tls => "sip.listen_tls",
    }
}

/// Every address that SIP arrives at.
pub(super) fn listens(section: &mut Section<'_>, report: &mut Report<'_>) -> Vec<Located<Listen>> {
    let remedy = "say where SIP arrives: listen = [\"192.0.2.10:5060\"]";
    let lists = LISTS.map(|(key, transport)| (section.get(key), transport));
    if lists.iter().all(|(item, _)| item.is_none()) {
        report.error(&section.at, &section.path_of("listen"), "this key is missing", remedy);
    }
    let mut listens = Vec::new();
    for (item, transport) in lists {
        let Some(item) = item else { continue };
        let list = item.list(report);
        if list.is_empty() {
            report.error(&item.at, &item.path, "the list is empty", remedy);
        }
        listens.extend(list.iter().filter_map(|item| listen(item, transport, report)));
    }
    listens
}

fn listen(item: &Item<'_>, transport: Transport, report: &mut Report<'_>) -> Option<Located<Listen>> {
    let listen = if item.is_text() {
        let local: SocketAddr = item.parse(report, ADDRESS_AND_PORT)?;
        Listen { transport, local, advertised: local }
    } else {
        let mut section = item.section(report)?;
        let local = section.require("local", report, ADDRESS_AND_PORT);
        let local = local.and_then(|item| item.parse::<SocketAddr>(report, ADDRESS_AND_PORT));
        let advertised =
            section.get("advertised").map(|item| item.parse::<SocketAddr>(report, ADDRESS_AND_PORT));
        section.finish(report);
        Listen { transport, local: local?, advertised: advertised.unwrap_or(local)? }
    };
    Some(item.at(listen))
}

/// `[sip.tls]`.
pub(super) fn tls(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<TlsFiles> {
    let mut section = section.get("tls").and_then(|item| item.section(report))?;
    let mut file = |key, report: &mut Report<'_>| {
        let item: Item<'_> = section.get(key)?;
        let text = item.text(report)?;
        if text.is_empty() || text.contains('\0') {
            let remedy = "write the path of a PEM file, such as \"/etc/vizard/tls.crt\"";
            report.error(&item.at, &item.path, "this is not a path", remedy);
        }
        Some(PathBuf::from(text))
    };
    let certificate = file("certificate", report);
    let key = file("key", report);
    let (ca, client_ca) = (file("ca", report), file("client_ca", report));
    for (name, found, remedy) in [
        ("certificate", &certificate, "name the file of the certificate that peers see, with its chain"),
        ("key", &key, "name the file of the certificate's key, which nobody else may read"),
    ] {
        if found.is_none() {
            report.error(&section.at, &section.path_of(name), "this key is missing", remedy);
        }
    }
    section.finish(report);
    Some(TlsFiles { certificate: certificate?, key: key?, ca, client_ca })
}

/// `[sip.connections]`.
pub(super) fn limits(mut section: Section<'_>, report: &mut Report<'_>) -> StreamLimits {
    let default = StreamLimits::default();
    let seconds = |duration: Duration| duration.as_secs();
    let limits = StreamLimits {
        connections: integer(&mut section, "total", default.connections, 1..=1_000_000, report),
        per_source: integer(&mut section, "per_source", default.per_source, 1..=1_000_000, report),
        handshake: duration(&mut section, "handshake", seconds(default.handshake), 1..=60, report),
        message: duration(&mut section, "message", seconds(default.message), 1..=60, report),
        stall: duration(&mut section, "stall", seconds(default.stall), 1..=120, report),
        idle: duration(&mut section, "idle", seconds(default.idle), 10..=86_400, report),
        queue_bytes: integer(&mut section, "queue_bytes", default.queue_bytes, 65_536..=64 << 20, report),
    };
    section.finish(report);
    limits
}

const TARGETS: &str =
    "write addresses with ports, or { address = \"198.51.100.1:5060\", priority = 10, weight = 50 }";

/// Where a trunk's requests go: `target`, or `targets` in place of it.
pub(super) fn targets(section: &mut Section<'_>, report: &mut Report<'_>) -> Vec<Located<Target>> {
    let Some(list) = section.get("targets") else {
        let one = section.require("target", report, ADDRESS_AND_PORT);
        return one.and_then(|item| target(&item, report)).into_iter().collect();
    };
    if let Some(one) = section.get("target") {
        report.error(&one.at, &one.path, "targets says that already", "keep one of the two");
    }
    let items = list.list(report);
    if items.is_empty() || items.len() > MAX_TARGETS {
        let what = format!("{} targets; from one to {MAX_TARGETS} are possible", items.len());
        report.error(&list.at, &list.path, what, TARGETS);
    }
    let targets: Vec<Located<Target>> = items.iter().filter_map(|item| target(item, report)).collect();
    for (index, one) in targets.iter().enumerate() {
        let address = one.value.address;
        let earlier = targets.get(..index).unwrap_or_default();
        if earlier.iter().any(|other| other.value.address == address) {
            report.error(&one.at, &one.path, format!("{address} is listed twice"), "remove one of the two");
        }
        if earlier.first().is_some_and(|first| first.value.address.is_ipv4() != address.is_ipv4()) {
            let remedy = "make another trunk for the other family";
            report.error(&one.at, &one.path, "a trunk's targets are of one family", remedy);
        }
    }
    targets
}

fn target(item: &Item<'_>, report: &mut Report<'_>) -> Option<Located<Target>> {
    if item.is_text() {
        let address = item.parse(report, ADDRESS_AND_PORT)?;
        return Some(item.at(Target { address, priority: 0, weight: 0 }));
    }
    let mut section = item.section(report)?;
    let address = section.require("address", report, ADDRESS_AND_PORT);
    let address = address.and_then(|item| item.parse::<SocketAddr>(report, ADDRESS_AND_PORT));
    let mut number = |key| {
        let number = section.get(key).and_then(|item| item.integer(0..=usize::from(u16::MAX), report));
        number.and_then(|number| u16::try_from(number).ok()).unwrap_or_default()
    };
    let (priority, weight) = (number("priority"), number("weight"));
    section.finish(report);
    Some(item.at(Target { address: address?, priority, weight }))
}

/// How often a trunk's targets are probed, where it says so; zero is never.
pub(super) fn probe(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<Duration> {
    const LEAST: Duration = Duration::from_secs(5);
    let item = section.get("probe")?;
    let every = item.duration(Duration::ZERO..=Duration::from_hours(1), report)?;
    if !every.is_zero() && every < LEAST {
        report.error(&item.at, &item.path, "that is too often", "write \"0s\" for never, or \"5s\" or more");
    }
    Some(every)
}

/// What a trunk says of its transport.
pub(super) struct Reach {
    pub(super) transport: Transport,
    /// Where its requests go that are too long for UDP.
    pub(super) large: Option<Located<Transport>>,
    pub(super) tls_name: Option<Located<String>>,
    pub(super) client_certificate: Option<Located<bool>>,
}

pub(super) fn reach(section: &mut Section<'_>, report: &mut Report<'_>) -> Reach {
    let all = LISTS.map(|(_, transport)| (transport.word(), transport));
    let transport = section.get("transport").and_then(|item| item.choice(&all, report));
    let large = section.get("large_requests").and_then(|item| {
        let transport = item.choice(&[("udp", Transport::Udp), ("tcp", Transport::Tcp)], report)?;
        Some(item.at(transport))
    });
    let tls_name = section.get("tls_name").and_then(|item| {
        let name = item.text(report)?;
        if let Err(problem) = server_name(name) {
            let remedy = "write the name in the peer's certificate, such as \"sip.carrier.example\"";
            report.error(&item.at, &item.path, problem, remedy);
        }
        Some(item.at(name.to_owned()))
    });
    let client_certificate = section
        .get("client_certificate")
        .and_then(|item| item.boolean(report).map(|demanded| item.at(demanded)));
    Reach { transport: transport.unwrap_or_default(), large, tls_name, client_certificate }
}

/// What listens for TLS needs a certificate to show.
pub(super) fn certified(sip: &SipDraft, report: &mut Report<'_>) {
    let first = sip.listen.iter().find(|listen| listen.value.transport == Transport::Tls);
    if let Some(listen) = first.filter(|_| sip.tls.is_none() && !sip.tls_is_broken) {
        let remedy = "add [sip.tls] with certificate and key";
        report.error(&listen.at, &listen.path, "there is no certificate to show here", remedy);
    }
}

/// How a trunk is known over TLS; an error where it does not speak that.
pub(super) fn peer(draft: &TrunkDraft, report: &mut Report<'_>) -> TlsPeer {
    let Reach { transport, tls_name, client_certificate, .. } = &draft.reach;
    let places = [
        tls_name.as_ref().map(|name| (&name.at, &name.path)),
        client_certificate.as_ref().map(|demanded| (&demanded.at, &demanded.path)),
    ];
    if *transport != Transport::Tls {
        for (at, path) in places.into_iter().flatten() {
            let remedy = "remove it, or set transport = \"tls\"";
            report.error(at, path, format!("this trunk speaks {transport}"), remedy);
        }
    }
    TlsPeer {
        name: tls_name.as_ref().map(|name| name.value.clone()),
        client_certificate: client_certificate.as_ref().is_some_and(|demanded| demanded.value),
    }
}

/// Where the requests of a trunk leave that are too long for UDP.
pub(super) fn listen_large(draft: &TrunkDraft, sip: &SipDraft, report: &mut Report<'_>) -> Option<usize> {
    let wanted = draft.reach.large.as_ref().filter(|large| large.value == Transport::Tcp)?;
    let target = draft.target()?;
    if draft.reach.transport != Transport::Udp {
        let what = format!("this trunk speaks {} anyway", draft.reach.transport);
        report.error(&wanted.at, &wanted.path, what, "remove it");
        return None;
    }
    let here = draft.listen.as_ref().map(|listen| listen.value.ip());
    let fits = |listen: &Listen| {
        listen.transport == Transport::Tcp
            && listen.local.is_ipv4() == target.value.is_ipv4()
            && here.is_none_or(|here| here == listen.local.ip())
    };
    let index = sip.listen.iter().position(|listen| fits(&listen.value));
    if index.is_none() {
        let what = "no address in sip.listen_tcp fits this trunk";
        report.error(&wanted.at, &wanted.path, what, "add one of the target's family to sip.listen_tcp");
    }
    index
}
