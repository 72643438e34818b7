//! Checks that take more than one section: names that refer to each other,
//! address families, ports against ports, load against capacity.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::connections::{self, list_of};
use super::problem::{Report, did_you_mean};
use super::reader::Located;
use super::sections::{EmergencyDraft, LimitsDraft, MediaDraft, RouteDraft, SipDraft, TrunkDraft};
use super::terms::ServicesDraft;
use crate::datapath::guard::{GuardConfig, MAX_SIGNALLING};
use crate::datapath::{DatapathConfig, MAX_ADDRESSES, Mode};
use crate::engine::config::{
    Bindings, Config, Emergency, Guard, Limits, Listen, Media, Pool, Records, Retention, Route, Sip, Trunk,
    TrunkId, Unmask,
};
use crate::engine::geography;
use crate::engine::guard::MAX_TRUNK_RULES;
use crate::engine::sip::transport::Transport;
use crate::engine::targets::{Target, Targets};

/// How often the targets of a trunk that has several are probed by default.
const PROBE: Duration = Duration::from_secs(30);

/// The sections as read, with names still unresolved.
pub(super) struct Drafts {
    pub(super) sip: SipDraft,
    pub(super) media: MediaDraft,
    pub(super) trunks: Vec<TrunkDraft>,
    pub(super) routes: Vec<RouteDraft>,
    pub(super) emergency: EmergencyDraft,
    pub(super) bindings: Bindings,
    pub(super) services: ServicesDraft,
    pub(super) pool: Pool,
    pub(super) records: Records,
    pub(super) retention: Retention,
    pub(super) geography: geography::Rules,
    pub(super) guard: Guard,
    pub(super) unmask: Unmask,
    pub(super) limits: LimitsDraft,
}

/// Resolves names and runs every check. `None` when something is missing; a
/// wrong value leaves an error in the report and may still give a result.
pub(super) fn resolve(drafts: Drafts, report: &mut Report<'_>) -> Option<(Config, DatapathConfig)> {
    let Drafts {
        sip,
        media,
        trunks,
        routes,
        emergency,
        bindings,
        services,
        pool,
        records,
        retention,
        geography,
        guard,
        unmask,
        limits,
    } = drafts;
    listens(&sip, report);
    connections::certified(&sip, report);
    media_addresses(&media, report);
    media_against_signalling(&sip, &media, report);
    unique("trunk", trunks.iter().filter_map(|trunk| trunk.name.as_ref()), report);
    sources(&trunks, report);
    guardable(&sip, &trunks, &guard, report);
    let names: Vec<&str> =
        trunks.iter().map(|trunk| trunk.name.as_ref().map_or("", |name| name.value.as_str())).collect();
    let resolved_routes = self::routes(&routes, &names, trunks.is_empty(), report);
    let emergency_trunk = emergency.trunk.as_ref().and_then(|name| trunk_id(name, &names, report));
    let services = services.resolve(&names, report);
    if emergency.trunk.is_none() {
        report.warn(
            &emergency.at.at,
            &emergency.at.path,
            "there is no emergency trunk: emergency calls will be refused with 503",
            "name the trunk that reaches emergency services: [emergency] trunk = \"...\"",
        );
    }
    if trunks.is_empty() {
        report.error(&(0..0), "trunk", "there is no trunk", "add a [[trunk]] with name, target and country");
    }
    let resolved: Vec<Option<Trunk>> =
        trunks.iter().map(|draft| trunk(draft, &sip, &media, report)).collect();
    let trunks: Vec<Trunk> = resolved.into_iter().collect::<Option<_>>()?;

    let datapath = DatapathConfig {
        mode: media.path.value,
        interfaces: media.interfaces,
        addresses: media.addresses.iter().map(|address| address.value.local).collect(),
        ports: media.ports.value.clone(),
        pin: media.pin,
        discard_calls: false,
        guard: guard.enabled.then(|| GuardConfig {
            listen: datagrams(&sip).map(|listen| listen.value.local).collect(),
            rate: guard.rate,
            burst: guard.burst,
        }),
    };
    let mut engine = Config {
        sip: Sip {
            listen: sip.listen.into_iter().map(|listen| listen.value).collect(),
            timers: sip.timers,
            ring_timeout: sip.ring_timeout,
            failover_after: sip.failover_after,
            max_call: sip.max_call,
            session: sip.session,
            product: sip.product,
        },
        media: Media {
            addresses: media.addresses.into_iter().map(|address| address.value).collect(),
            ports: media.ports.value,
            quarantine: media.quarantine,
            dscp: media.dscp,
            patience: media.patience,
            permissions: media.permissions,
        },
        trunks,
        routes: resolved_routes?,
        emergency: Emergency { trunk: emergency_trunk, numbers: emergency.numbers },
        bindings,
        services,
        pool,
        geography,
        guard,
        records,
        retention,
        unmask,
        limits: limits.limits,
    };
    engine.limits = calls_within_capacity(&limits, &engine, report);
    Some((engine, datapath))
}

fn listens(sip: &SipDraft, report: &mut Report<'_>) {
    for (index, listen) in sip.listen.iter().enumerate() {
        let value = listen.value;
        if value.local.port() == 0 || value.advertised.port() == 0 {
            report.error(&listen.at, &listen.path, "port 0 cannot be called", "write the port, usually 5060");
        }
        if value.advertised.ip().is_unspecified() {
            report.error(
                &listen.at,
                &listen.path,
                format!("{} cannot stand in Via and Contact", value.advertised.ip()),
                "write one address, or { local = \"0.0.0.0:5060\", advertised = \"the address peers use\" }",
            );
        }
        if value.local.is_ipv4() != value.advertised.is_ipv4() {
            let what = "the local and the advertised address are of different families";
            report.error(
                &listen.at,
                &listen.path,
                what,
                "advertise an address of the local address's family",
            );
        }
        let same = |earlier: &Located<Listen>| {
            let earlier = earlier.value;
            earlier.local == value.local && earlier.transport.is_reliable() == value.transport.is_reliable()
        };
        if sip.listen[..index].iter().any(same) {
            let what = format!("{} is listed twice", value.local);
            report.error(&listen.at, &listen.path, what, "remove one of the two");
        }
    }
}

fn media_addresses(media: &MediaDraft, report: &mut Report<'_>) {
    if let Some(beyond) = media.addresses.get(MAX_ADDRESSES) {
        report.error(
            &beyond.at,
            &beyond.path,
            format!(
                "there are {} media addresses, and at most {MAX_ADDRESSES} are possible",
                media.addresses.len()
            ),
            "widen media.ports instead, let trunks share an address, or run another Vizard",
        );
    }
    for (index, address) in media.addresses.iter().enumerate() {
        let value = &address.value;
        if value.local.is_ipv4() != value.advertised.is_ipv4() {
            let what = "the local and the advertised address are of different families";
            report.error(
                &address.at,
                &address.path,
                what,
                "advertise an address of the local address's family",
            );
        }
        for earlier in &media.addresses[..index] {
            if earlier.value.name == value.name {
                let what = format!("the name '{}' is used twice", value.name);
                report.error(&address.at, &address.path, what, "give each media address a name of its own");
            }
            if earlier.value.local == value.local {
                let what = format!("{} is the local address of '{}' too", value.local, earlier.value.name);
                let remedy = "let the trunks share one media address, or give this one another local address";
                report.error(&address.at, &address.path, what, remedy);
            }
        }
    }
    if matches!(media.path.value, Mode::XdpNative | Mode::XdpGeneric) && media.interfaces.is_empty() {
        report.error(
            &media.path.at,
            &media.path.path,
            "XDP is demanded, but no interface is named",
            "add media.interfaces with the names that `ip link` shows, or set path = \"auto\"",
        );
    }
}

/// The addresses of UDP alone.
fn datagrams(sip: &SipDraft) -> impl Iterator<Item = &Located<Listen>> {
    sip.listen.iter().filter(|listen| listen.value.transport == Transport::Udp)
}

/// A packet for the SIP port must not look like media: inside the media range a
/// packet without a flow is dropped.
fn media_against_signalling(sip: &SipDraft, media: &MediaDraft, report: &mut Report<'_>) {
    let ports = &media.ports;
    for listen in datagrams(sip) {
        let local = listen.value.local;
        let shared = |address: IpAddr| local.ip() == address || local.ip().is_unspecified();
        if ports.value.contains(&local.port()) && media.addresses.iter().any(|a| shared(a.value.local)) {
            report.error(
                &ports.at,
                &ports.path,
                format!("the media ports {} include the SIP port of {local}", range(&ports.value)),
                "move the range away from the SIP port; in the range, packets without a flow are dropped",
            );
        }
    }
}

fn unique<'a>(noun: &str, names: impl Iterator<Item = &'a Located<String>>, report: &mut Report<'_>) {
    let mut seen = BTreeMap::new();
    for name in names {
        if let Some(first) = seen.insert(name.value.as_str(), &name.path) {
            let what = format!("the name '{}' is used by {first} too", name.value);
            report.error(&name.at, &name.path, what, format!("give each {noun} a name of its own"));
        }
    }
}

/// A message's trunk is told by its source address, the narrowest network
/// first, so the same network twice is a contradiction and a nested one is a
/// decision.
fn sources(trunks: &[TrunkDraft], report: &mut Report<'_>) {
    let label = |trunk: &TrunkDraft| {
        trunk.name.as_ref().map_or_else(|| trunk.path.clone(), |name| format!("'{}'", name.value))
    };
    for (index, trunk) in trunks.iter().enumerate() {
        for source in &trunk.sources {
            if source.value.prefix_len() == 0 {
                let what = "every host of the world may send calls as this trunk";
                report.warn(&source.at, &source.path, what, "list the networks that the peer sends from");
            }
        }
        for other in &trunks[..index] {
            let (own, others) = (effective_sources(trunk), effective_sources(other));
            for (net, place) in &own {
                for (other_net, _) in &others {
                    if net == other_net {
                        report.error(
                            &place.at,
                            &place.path,
                            format!("{net} is a source of trunk {} too", label(other)),
                            "one address can belong to one trunk only: separate the networks or join the trunks",
                        );
                    } else if net.contains(other_net) || other_net.contains(net) {
                        report.warn(
                            &place.at,
                            &place.path,
                            format!("{net} overlaps {other_net} of trunk {}", label(other)),
                            "the narrower network wins; separate them unless that is meant",
                        );
                    }
                }
            }
        }
    }
}

/// The sources as written; without any, the target alone.
fn effective_sources(trunk: &TrunkDraft) -> Vec<(IpNet, Located<()>)> {
    let place = |path: &str, at: &std::ops::Range<usize>| Located {
        value: (),
        path: path.to_owned(),
        at: at.clone(),
    };
    if trunk.sources.is_empty() {
        let targets = trunk.targets.iter();
        targets
            .map(|target| (IpNet::from(target.value.address.ip()), place(&target.path, &target.at)))
            .collect()
    } else {
        trunk.sources.iter().map(|source| (source.value, place(&source.path, &source.at))).collect()
    }
}

/// The guard keeps its sockets and its rules in tables of fixed size.
fn guardable(sip: &SipDraft, trunks: &[TrunkDraft], guard: &Guard, report: &mut Report<'_>) {
    if !guard.enabled {
        return;
    }
    if let Some(listen) = datagrams(sip).nth(MAX_SIGNALLING) {
        let what = format!("the guard has room for {MAX_SIGNALLING} sockets");
        report.error(&listen.at, &listen.path, what, "listen on fewer, or set enabled = false in [guard]");
    }
    let mut sources = trunks.iter().flat_map(effective_sources);
    if let Some((_, place)) = sources.nth(MAX_TRUNK_RULES) {
        let what = format!("the guard has room for {MAX_TRUNK_RULES} sources of trunks");
        report.error(&place.at, &place.path, what, "join networks, or set enabled = false in [guard]");
    }
}

fn routes(
    drafts: &[RouteDraft],
    names: &[&str],
    no_trunks: bool,
    report: &mut Report<'_>,
) -> Option<Vec<Route>> {
    let mut seen = BTreeMap::new();
    let mut routes = Vec::new();
    let mut complete = true;
    for draft in drafts {
        if let Some(prefix) = &draft.prefix
            && let Some(first) = seen.insert(prefix.value.as_str(), &prefix.path)
        {
            let what = format!("{first} has the same prefix");
            report.error(&prefix.at, &prefix.path, what, "remove one of the two");
        }
        // Without any trunk, that one error says it all.
        let trunk =
            draft.trunk.as_ref().filter(|_| !no_trunks).and_then(|name| trunk_id(name, names, report));
        match (&draft.prefix, trunk) {
            (Some(prefix), Some(trunk)) => routes.push(Route { prefix: prefix.value.clone(), trunk }),
            _ => complete = false,
        }
    }
    if drafts.is_empty() {
        report.warn(
            &(0..0),
            "route",
            "there is no route: no telephone number can be called",
            "add a [[route]] with a prefix and a trunk; prefix = \"*\" matches every number",
        );
    }
    complete.then_some(routes)
}

pub(super) fn trunk_id(name: &Located<String>, names: &[&str], report: &mut Report<'_>) -> Option<TrunkId> {
    let index = names.iter().position(|known| *known == name.value);
    if index.is_none() {
        let hint = did_you_mean(&name.value, names.iter().copied());
        let what = format!("there is no trunk '{}'{hint}", super::reader::shortened(&name.value));
        report.error(&name.at, &name.path, what, format!("name one of the trunks: {}", names.join(", ")));
    }
    index.and_then(|index| u16::try_from(index).ok()).map(TrunkId)
}

fn trunk(draft: &TrunkDraft, sip: &SipDraft, media: &MediaDraft, report: &mut Report<'_>) -> Option<Trunk> {
    let target = draft.target();
    let listen = target.as_ref().and_then(|target| listen_of(draft, target, sip, report));
    let media = target.as_ref().and_then(|target| media_of(draft, target.value, media, report));
    for target in &draft.targets {
        check_target(draft, target, sip, report);
    }
    let targets = Targets::of(draft.targets.iter().map(|target| target.value).collect())?;
    let probe = draft.probe.or_else(|| targets.are_several().then_some(PROBE));
    let tls = connections::peer(draft, report);
    let listen_large = connections::listen_large(draft, sip, report);
    Some(Trunk {
        name: draft.name.clone()?.value,
        targets,
        probe: probe.filter(|every| !every.is_zero()),
        sources: effective_sources(draft).into_iter().map(|(net, _)| net).collect(),
        transport: draft.reach.transport,
        listen: listen?,
        listen_large,
        tls,
        media: media?,
        country: draft.country?,
        trusted: draft.trusted,
        format: draft.format,
        media_source: draft.media_source,
        ice: draft.ice,
        shared: draft.shared.clone(),
    })
}

fn check_target(draft: &TrunkDraft, target: &Located<Target>, sip: &SipDraft, report: &mut Report<'_>) {
    let address = target.value.address;
    if address.port() == 0 || address.ip().is_unspecified() {
        let what = format!("{address} cannot be called");
        report.error(&target.at, &target.path, what, "write the peer's address and port, usually 5060");
    }
    let ours = sip.listen.iter().any(|l| l.value.local == address || l.value.advertised == address);
    if ours {
        let what = format!("{address} is our own SIP address: calls would loop");
        report.error(&target.at, &target.path, what, "write the peer's address");
    }
    let known = draft.sources.is_empty() || draft.sources.iter().any(|s| s.value.contains(&address.ip()));
    if !known {
        let what = format!("{} is not among the trunk's sources", address.ip());
        let remedy = "add it to sources, or requests that the target sends will be refused";
        report.warn(&target.at, &target.path, what, remedy);
    }
}

/// The listen address that a trunk names, or the only one of its family.
fn listen_of(
    draft: &TrunkDraft,
    target: &Located<SocketAddr>,
    sip: &SipDraft,
    report: &mut Report<'_>,
) -> Option<usize> {
    let transport = draft.reach.transport;
    let list = list_of(transport);
    let candidates = || sip.listen.iter().enumerate().filter(|(_, l)| l.value.transport == transport);
    if let Some(wanted) = &draft.listen {
        let found = candidates().find(|(_, listen)| listen.value.local == wanted.value);
        let Some((index, _)) = found else {
            let known: Vec<String> = candidates().map(|(_, listen)| listen.value.local.to_string()).collect();
            let what = format!("{} is not in {list}", wanted.value);
            report.error(&wanted.at, &wanted.path, what, format!("name one of: {}", known.join(", ")));
            return None;
        };
        if wanted.value.is_ipv4() != target.value.is_ipv4() {
            let what = format!("{} cannot reach {}: the families differ", wanted.value, target.value);
            report.error(&wanted.at, &wanted.path, what, "name a listen address of the target's family");
        }
        return Some(index);
    }
    let same_family = |(index, listen): (usize, &Located<_>)| {
        let listen: &Listen = &listen.value;
        (listen.local.is_ipv4() == target.value.is_ipv4()).then_some(index)
    };
    let fitting: Vec<usize> = candidates().filter_map(same_family).collect();
    match fitting[..] {
        [index] => return Some(index),
        // The missing list was reported where it is missing.
        [] if sip.listen.is_empty() => {}
        [] => {
            let what = format!("no address in {list} is of the family of {}", target.value);
            report.error(
                &target.at,
                &target.path,
                what,
                format!("add a listen address of that family to {list}"),
            );
        }
        _ => {
            let key = format!("{}.listen", draft.path);
            let what = format!("{list} has several addresses that this trunk could use");
            report.error(&draft.span, &key, what, "say which: listen = \"...\"");
        }
    }
    None
}

/// The media address that a trunk names, or the only one of its family.
fn media_of(
    draft: &TrunkDraft,
    target: SocketAddr,
    media: &MediaDraft,
    report: &mut Report<'_>,
) -> Option<usize> {
    let names: Vec<&str> = media.addresses.iter().map(|address| address.value.name.as_str()).collect();
    if let Some(wanted) = &draft.media {
        let index = names.iter().position(|name| *name == wanted.value);
        if index.is_none() {
            let hint = did_you_mean(&wanted.value, names.iter().copied());
            let what =
                format!("there is no media address '{}'{hint}", super::reader::shortened(&wanted.value));
            report.error(&wanted.at, &wanted.path, what, format!("name one of: {}", names.join(", ")));
        }
        return index;
    }
    let fitting: Vec<usize> = media
        .addresses
        .iter()
        .enumerate()
        .filter_map(|(index, a)| (a.value.local.is_ipv4() == target.is_ipv4()).then_some(index))
        .collect();
    match fitting[..] {
        [index] => Some(index),
        [] if media.addresses.is_empty() => None,
        _ => {
            let key = format!("{}.media", draft.path);
            let what = "which media address this trunk uses does not follow from its family";
            report.error(&draft.span, &key, what, format!("say which: media = one of {}", names.join(", ")));
            None
        }
    }
}

/// Without a limit of its own the file gets what its ports carry.
fn calls_within_capacity(draft: &LimitsDraft, engine: &Config, report: &mut Report<'_>) -> Limits {
    let capacity = super::capacity(engine);
    let calls = match &draft.calls {
        None => draft.limits.calls.min(capacity),
        Some(calls) => {
            if calls.value > capacity {
                report.error(
                    &calls.at,
                    &calls.path,
                    format!("the media ports carry {capacity} calls, each with two pairs of ports"),
                    format!("write at most {capacity}, widen media.ports, or add a media address"),
                );
            }
            calls.value
        }
    };
    Limits { calls, ..draft.limits }
}

fn range(ports: &std::ops::RangeInclusive<u16>) -> String {
    format!("{}-{}", ports.start(), ports.end())
}
