//! Turns a scenario into what Vizard is told: its configuration, its pool, its
//! bindings; and into what a caller writes on its INVITE.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use vizard::engine::admin::{AdminRequest, NewBinding, NumberWish};
use vizard::engine::callback::{Services, Target};
use vizard::engine::config::{
    Bindings, Config, Emergency, Ice, Limits, Listen, Media, MediaAddress, MediaSource, NumberFormat,
    Permissions, Route, SessionTimers, Sip, Timers, TlsPeer, Trunk, TrunkId,
};
use vizard::engine::directory::{BindingKind, NewNumber, PoolRequest};
use vizard::engine::number::{Country, Typed};
use vizard::engine::privacy::{Asker, Role};
use vizard::engine::sip::transport::Transport;
use vizard::engine::sip::uri::Uri;
use vizard::engine::targets::Targets;

use crate::atlas::LegId;
use crate::dice::Dice;
use crate::peer::{T1, telltales};
use crate::scenario::{BindingPlan, DEFAULT_LIFE, Host, Party, Purpose, Scenario, Topology};

/// How long a port pair rests in the simulation.
pub(crate) const QUARANTINE: Duration = Duration::from_secs(2);
/// How long a tombstone stands.
pub(crate) const CALLBACK_WINDOW: Duration = Duration::from_secs(30);
/// The longest call.
pub(crate) const MAX_CALL: Duration = Duration::from_mins(1);
/// The longest ringing.
pub(crate) const RING: Duration = Duration::from_secs(20);

/// Whoever asks the engine for something.
pub(crate) fn asker() -> Asker {
    Asker { user: 1000, name: Some("platform".into()), role: Some(Role::Admin) }
}

/// Vizard's signalling address that a host talks to.
pub(crate) fn vizard_of(topology: Topology, host: Host) -> SocketAddr {
    match (topology, host) {
        (Topology::Shared, _) | (_, Host::Customers) => ([192, 0, 2, 1], 5060).into(),
        (_, Host::Agents | Host::Pbx | Host::Emergency) => ([198, 51, 100, 1], 5060).into(),
    }
}

/// The configuration of a scenario's world.
pub(crate) fn config(scenario: &Scenario) -> Arc<Config> {
    let country: Country = scenario.country.parse().expect("two letters");
    let listen = [[192, 0, 2, 1], [198, 51, 100, 1]].map(|ip| {
        let local = SocketAddr::from((ip, 5060));
        Listen { transport: Transport::Udp, local, advertised: local }
    });
    let addresses = [("front", [192, 0, 2, 2]), ("back", [198, 51, 100, 2])].map(|(name, ip)| {
        let ip = IpAddr::from(ip);
        MediaAddress { name: name.into(), local: ip, advertised: ip }
    });
    let trunks = Host::ALL
        .map(|host| {
            let side = listen
                .iter()
                .position(|l| l.local == vizard_of(scenario.topology, host))
                .expect("configured");
            Trunk {
                name: host.name().into(),
                targets: Targets::one(host.address()),
                probe: None,
                sources: vec![IpNet::from(host.address().ip())],
                transport: Transport::Udp,
                listen: side,
                listen_large: None,
                tls: TlsPeer::default(),
                media: side,
                country,
                trusted: scenario.trusted,
                format: if scenario.plain_format { NumberFormat::Plain } else { NumberFormat::E164 },
                media_source: MediaSource::Signalled,
                ice: Ice::Off,
                shared: Vec::new(),
            }
        })
        .to_vec();
    let agents = u16::from(scenario.topology != Topology::Shared);
    let route = |prefix: &str, trunk| Route { prefix: prefix.into(), trunk: TrunkId(trunk) };
    Arc::new(Config {
        sip: Sip {
            listen: listen.to_vec(),
            timers: Timers { t1: T1, ..Timers::default() },
            ring_timeout: RING,
            failover_after: Duration::from_secs(4),
            max_call: MAX_CALL,
            session: SessionTimers::default(),
            product: "Vizard".into(),
        },
        media: Media {
            addresses: addresses.to_vec(),
            ports: scenario.ports.start..=scenario.ports.end - 1,
            quarantine: QUARANTINE,
            dscp: 46,
            patience: scenario.patience,
            permissions: Permissions::default(),
        },
        trunks,
        routes: vec![route("", 0), route("1212", agents)],
        emergency: Emergency { trunk: scenario.emergency_trunk.then_some(TrunkId(3)), numbers: Vec::new() },
        bindings: Bindings {
            usual: vizard::engine::config::Life {
                time_to_live: DEFAULT_LIFE,
                callback_window: CALLBACK_WINDOW,
                on_tombstone: vizard::engine::callback::OnTombstone::default(),
                usage: vizard::engine::directory::Usage::default(),
            },
            kinds: [None; 4],
            tenants: std::collections::BTreeMap::new(),
            cool_off: Duration::from_mins(1),
        },
        services: Services { ivr: scenario.ivr.then(ivr), announcement: None },
        pool: vizard::engine::config::Pool::default(),
        // Often, so that crashes come between.
        records: vizard::engine::config::Records { interim_every: Duration::from_secs(7) },
        retention: vizard::engine::config::Retention {
            cdrs: Duration::ZERO,
            ..vizard::engine::config::Retention::default()
        },
        geography: vizard::engine::geography::Rules::default(),
        guard: vizard::engine::config::Guard::default(),
        unmask: vizard::engine::config::Unmask::default(),
        limits: Limits::default(),
    })
}

/// The user part of the callback IVR's address.
pub(crate) const IVR: &str = "ivr";

fn ivr() -> Target {
    Target { trunk: TrunkId(3), uri: Uri::sip_at(Some(IVR), Host::Emergency.address()) }
}

/// The request that fills the pool.
pub(crate) fn pool_add(scenario: &Scenario) -> AdminRequest {
    let numbers = scenario
        .pool_digits()
        .iter()
        .map(|digits| NewNumber::local(format!("+{digits}").parse().expect("a number")))
        .collect();
    AdminRequest::Pool(PoolRequest::Add { numbers })
}

/// The request that makes a binding.
pub(crate) fn bind_create(scenario: &Scenario, plan: &BindingPlan) -> AdminRequest {
    let typed = |party: &Party| {
        Typed(if party.extension {
            format!("{}@{}", party.user, party.host.name())
        } else {
            format!("+{}", party.user)
        })
    };
    AdminRequest::BindCreate(NewBinding {
        tenant: "acme".into(),
        project: "support".into(),
        kind: BindingKind::Case,
        key: plan.key.clone(),
        customer: typed(&scenario.parties[plan.customer]),
        agent: typed(&scenario.parties[plan.agent]),
        time_to_live: plan.time_to_live,
        numbers: NumberWish::default(),
        encryption: None,
        also: [Vec::new(), Vec::new()],
        one_number: false,
        usage: vizard::engine::directory::UsageWish::default(),
        tags: Vec::new(),
    })
}

/// A number as callers of this country write it.
pub(crate) fn written(digits: &str, country: &str, style: usize) -> String {
    let national = match country {
        "US" => digits.strip_prefix('1').map(str::to_owned),
        _ => digits.strip_prefix("49").map(|rest| format!("0{rest}")),
    };
    match (style, national) {
        (0, Some(national)) => national,
        (1, _) => digits.to_owned(),
        (2, _) if country == "US" && !digits.starts_with('1') => format!("011{digits}"),
        (2, _) if country == "DE" => format!("00{digits}"),
        _ => format!("+{digits}"),
    }
}

/// Who a caller says it is.
pub(crate) struct Identity {
    /// From, without tag.
    pub(crate) from: String,
    /// The Contact's user part.
    pub(crate) contact_user: String,
    /// Further headers.
    pub(crate) headers: Vec<(String, String)>,
    /// Every number that the caller itself writes.
    pub(crate) own: Vec<String>,
}

/// What the caller of this leg writes about itself.
pub(crate) fn identity(
    scenario: &Scenario,
    (leg, purpose, canaries): (LegId, Purpose, bool),
    (caller, other): (&Party, &Party),
    dice: &mut Dice,
) -> Identity {
    let host = caller.host.address().ip();
    let written = |party: &Party, style| {
        if party.extension { party.user.clone() } else { written(&party.user, scenario.country, style) }
    };
    let name = if canaries { format!("\"{}\" ", leg.canary()) } else { String::new() };
    let known = format!("{name}<sip:{}@{host}>", written(caller, dice.below(8)));
    let anonymous = "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned();
    let mut headers = Vec::new();
    let mut own = vec![caller.user.clone()];
    let assert =
        |party: &Party| ("P-Asserted-Identity".to_owned(), format!("<sip:{}@{host}>", written(party, 3)));
    let from = match purpose {
        Purpose::Asserted if scenario.trusted => {
            headers.push(assert(caller));
            headers.push(("Privacy".into(), "id".into()));
            anonymous
        }
        Purpose::Anonymous => anonymous,
        Purpose::Impostor if !scenario.trusted => {
            headers.push(assert(other));
            own.push(other.user.clone());
            known
        }
        Purpose::Bound
        | Purpose::Asserted
        | Purpose::Impostor
        | Purpose::Stranger
        | Purpose::WrongNumber
        | Purpose::RealNumber
        | Purpose::Emergency => known,
    };
    if canaries {
        headers.extend(telltales(leg));
        headers.push(("Via".into(), format!("SIP/2.0/UDP {};branch=z9hG4bKd{}", leg.device(), leg.canary())));
    }
    Identity { from, contact_user: written(caller, 3).replace('+', ""), headers, own }
}

/// The wall clock at the beginning of every world: 2026-01-01, in microseconds.
pub(crate) const BEGINNING: i64 = 1_767_225_600_000_000;

/// Somebody who is behind no trunk.
pub(crate) const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 99)), 5060);
