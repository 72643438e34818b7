//! An engine between two scripted far ends, on virtual time.
//!
//! Everything that leaves is searched for what must not cross, in every test.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::Engine;
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::call_record::{self, CallRecord};
use crate::engine::callback::{OnTombstone, Services};
use crate::engine::cdr::{Cause, Cdr, Traffic};
use crate::engine::config::*;
use crate::engine::directory::*;
use crate::engine::event::Event;
use crate::engine::flow::{FlowSpec, FlowStats};
use crate::engine::geography;
use crate::engine::ids::{BindingId, LegName, SessionId, Slot};
use crate::engine::io::{Change, CommitId, Datagram, Input, Output, RequestId, Signal};
use crate::engine::privacy::VaultId;
use crate::engine::privacy::tests::{asker, vault};
use crate::engine::sip::transport::{Transport, Way};
use crate::engine::targets::Targets;
use crate::engine::time::{Instant, Now, Timestamp};

pub(super) const CUSTOMER: &str = "12125551200";
pub(super) const AGENT: &str = "13105557788";
/// What the customer dials and sees.
pub(super) const CUSTOMER_PROXY: &str = "14155550100";
/// What the agent dials and sees.
pub(super) const AGENT_PROXY: &str = "14155550199";

/// The carriers' signalling addresses.
pub(super) fn carrier(leg: LegName) -> SocketAddr {
    match leg {
        LegName::A => "198.51.100.1:5060".parse().unwrap(),
        LegName::B => "203.0.113.2:5060".parse().unwrap(),
    }
}

pub(super) fn number(leg: LegName) -> &'static str {
    match leg {
        LegName::A => CUSTOMER,
        LegName::B => AGENT,
    }
}

pub(super) fn proxy(leg: LegName) -> &'static str {
    match leg {
        LegName::A => CUSTOMER_PROXY,
        LegName::B => AGENT_PROXY,
    }
}

/// What a far end writes wherever it can, and nobody else may see.
pub(super) fn leak(leg: LegName) -> &'static str {
    match leg {
        LegName::A => "LEAK-OF-A",
        LegName::B => "LEAK-OF-B",
    }
}

/// Where a far end wants its media; only it may know.
pub(super) fn media_address(leg: LegName) -> &'static str {
    match leg {
        LegName::A => "198.51.100.77",
        LegName::B => "203.0.113.77",
    }
}

pub(super) fn config() -> Config {
    let listen = "192.0.2.1:5060".parse().unwrap();
    let trunk = |name: &str, leg: LegName, listen| Trunk {
        name: name.to_owned(),
        targets: Targets::one(carrier(leg)),
        probe: None,
        sources: vec![carrier(leg).ip().into()],
        transport: Transport::Udp,
        listen,
        listen_large: None,
        tls: TlsPeer::default(),
        media: 0,
        country: "US".parse().unwrap(),
        trusted: true,
        format: NumberFormat::E164,
        media_source: MediaSource::Signalled,
        ice: Ice::Off,
        shared: Vec::new(),
    };
    Config {
        sip: Sip {
            listen: vec![Listen { transport: Transport::Udp, local: listen, advertised: listen }],
            timers: Timers::default(),
            ring_timeout: Duration::from_mins(1),
            failover_after: Duration::from_secs(4),
            max_call: Duration::from_hours(1),
            session: SessionTimers::default(),
            product: "Vizard".to_owned(),
        },
        media: Media {
            addresses: vec![MediaAddress {
                name: "m".to_owned(),
                local: IpAddr::from([192, 0, 2, 9]),
                advertised: IpAddr::from([192, 0, 2, 10]),
            }],
            ports: 40_000..=40_099,
            quarantine: Duration::from_secs(1),
            dscp: 46,
            patience: Patience::default(),
            permissions: Permissions::default(),
        },
        trunks: vec![trunk("customers", LegName::A, 0), trunk("agents", LegName::B, 0)],
        routes: vec![
            Route { prefix: CUSTOMER.to_owned(), trunk: TrunkId(0) },
            Route { prefix: AGENT.to_owned(), trunk: TrunkId(1) },
        ],
        emergency: Emergency { trunk: Some(TrunkId(1)), numbers: Vec::new() },
        bindings: Bindings {
            usual: Life {
                time_to_live: Duration::from_hours(24),
                callback_window: Duration::from_hours(24),
                on_tombstone: OnTombstone::default(),
                usage: Usage::default(),
            },
            kinds: [None; 4],
            tenants: BTreeMap::new(),
            cool_off: Duration::from_hours(24),
        },
        services: Services::default(),
        pool: Pool::default(),
        records: Records::default(),
        retention: Retention { cdrs: Duration::ZERO, ..Retention::default() },
        geography: geography::Rules::default(),
        guard: Guard::default(),
        unmask: Unmask::default(),
        limits: Limits::default(),
    }
}

fn snapshot(encryption: Option<Encryption>) -> Snapshot {
    let pool = |number: &str| PoolNumber {
        number: format!("+{number}").parse().unwrap(),
        country: "US".parse().unwrap(),
        traits: NumberTraits { sms: true, ..NumberTraits::default() },
    };
    let sealed = |leg: LegName| {
        let address = PartyAddress::Number(format!("+{}", number(leg)).parse().unwrap());
        vault().seal(VaultId::from_bits(leg as u128), &address)
    };
    let party = |leg| Party { id: sealed(leg).id, proxy: format!("+{}", proxy(leg)).parse().unwrap() };
    Snapshot {
        numbers: vec![pool(CUSTOMER_PROXY), pool(AGENT_PROXY)],
        parties: vec![sealed(LegName::A), sealed(LegName::B)],
        bindings: vec![Binding {
            id: BindingId::from_bits(77),
            tenant: "acme".to_owned(),
            project: "rides".to_owned(),
            kind: BindingKind::Session,
            key: "order-1".to_owned(),
            customer: party(LegName::A),
            agent: party(LegName::B),
            created: Timestamp::from_unix_microseconds(0),
            state: BindingState::Live { expires: Timestamp::from_unix_microseconds(i64::MAX / 2) },
            encryption,
            usage: Usage::default(),
            tags: Vec::new(),
            also: [Vec::new(), Vec::new()],
        }],
        ..Snapshot::default()
    }
}

fn start(
    config: Config,
    encryption: Option<Encryption>,
    seed: [u8; 32],
    now: Now,
    calls: Vec<CallRecord>,
) -> Engine {
    let snapshot = call_record::Snapshot { directory: snapshot(encryption), calls, ..Default::default() };
    Engine::new(Arc::new(config), vault(), Slot(3), seed, now, snapshot)
}

/// The engine, the store, the datapath, and what the far ends have received.
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) now: Now,
    pub(super) inbox: BTreeMap<SocketAddr, VecDeque<Msg>>,
    pub(super) flows: BTreeMap<SocketAddr, FlowSpec>,
    /// Flows that were put since the start.
    claimed: BTreeSet<SocketAddr>,
    /// The journal of calls in progress.
    pub(super) calls: BTreeMap<SessionId, CallRecord>,
    pub(super) cdrs: Vec<Cdr>,
    /// What was recorded of calls that went on.
    pub(super) interim: Vec<Cdr>,
    pub(super) events: Vec<Event>,
    /// What was sent from media ports.
    pub(super) stun: Vec<Datagram>,
    pub(super) drained: bool,
    /// How many commits the store will fail.
    pub(super) failing_commits: usize,
    /// What a store that is slow with bindings has not answered.
    held: Option<Vec<(CommitId, Vec<Change>)>>,
    /// Whether the datapath refuses flows.
    pub(super) refuses_flows: bool,
    /// Far ends that send no media; the others do all the time.
    pub(super) silent: Vec<LegName>,
    /// Emergency calls show who calls.
    pub(super) masked: bool,
    replies: Vec<AdminReply>,
    unique: u32,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(config())
    }

    pub(super) fn with(config: Config) -> Self {
        Self::bound(config, None)
    }

    /// With a binding that has a media policy of its own.
    pub(super) fn bound(config: Config, encryption: Option<Encryption>) -> Self {
        let now = Now::default().after(Duration::from_secs(1_000_000));
        Self {
            engine: start(config, encryption, [9; 32], now, Vec::new()),
            now,
            inbox: BTreeMap::new(),
            flows: BTreeMap::new(),
            claimed: BTreeSet::new(),
            calls: BTreeMap::new(),
            cdrs: Vec::new(),
            interim: Vec::new(),
            events: Vec::new(),
            stun: Vec::new(),
            drained: false,
            failing_commits: 0,
            held: None,
            refuses_flows: false,
            silent: Vec::new(),
            masked: true,
            replies: Vec::new(),
            unique: 0,
        }
    }

    /// The process is killed; the next one starts from the journal.
    pub(super) fn restart(&mut self) {
        self.restart_with(config());
    }

    pub(super) fn restart_with(&mut self, config: Config) {
        self.claimed.clear();
        self.engine = start(config, None, [10; 32], self.now, self.calls.values().cloned().collect());
        self.drain();
    }

    pub(super) fn unique(&mut self) -> u32 {
        self.unique += 1;
        self.unique
    }

    pub(super) fn input(&mut self, input: Input) {
        self.engine.handle_input(self.now, input);
        self.drain();
    }

    /// A far end sends this, with every `LEAK` made its own.
    pub(super) fn send(&mut self, from: SocketAddr, text: &str) {
        let leg = if from.ip() == carrier(LegName::A).ip() { LegName::A } else { LegName::B };
        // As long as what it replaces, for Content-Length's sake.
        let text = text.replace("LEAK-OF-?", leak(leg));
        let local = "192.0.2.1:5060".parse().unwrap();
        self.input(Input::Received(Signal { way: Way::udp(local, from), bytes: text.as_bytes().to_vec() }));
    }

    pub(super) fn ask(&mut self, request: AdminRequest) -> AdminReply {
        self.input(Input::Admin(RequestId(1), asker(), request));
        self.replies.pop().expect("an answer")
    }

    pub(super) fn counter(&mut self, name: &str) -> u64 {
        let AdminReply::Counters(counters) = self.ask(AdminRequest::Counters) else { panic!("counters") };
        counters.into_iter().find(|(found, _)| found == name).map_or(0, |(_, count)| count)
    }

    /// Lets time pass, with everything that is due in it.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        let mut turns = 0;
        while let Some((at, reason)) = self.engine.poll_timeout()
            && at <= end.mono
        {
            turns += 1;
            assert!(turns < 10_000, "the engine spins on {reason}");
            self.now = self.now.after(at.saturating_since(self.now.mono));
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send(datagram) => self.deliver(&datagram),
                Output::Commit(id, transaction) => {
                    let is_record = |change: &Change| matches!(change, Change::PutCdr(_));
                    if self.failing_commits > 0 && transaction.changes.iter().any(is_record) {
                        self.failing_commits -= 1;
                        self.engine.handle_input(self.now, Input::CommitFailed(id, "disk full".to_owned()));
                        continue;
                    }
                    let is_binding = |change: &Change| matches!(change, Change::PutBinding(_));
                    let binds = transaction.changes.iter().any(is_binding);
                    if let Some(held) = self.held.as_mut().filter(|_| binds) {
                        held.push((id, transaction.changes));
                        continue;
                    }
                    self.commit(id, transaction.changes);
                }
                Output::PutFlow(flow) if self.refuses_flows => {
                    let refused = Input::FlowRefused(flow.local, "no route".to_owned());
                    self.engine.handle_input(self.now, refused);
                }
                Output::SweepFlows => {
                    let is_left = |local: &SocketAddr, _: &mut FlowSpec| !self.claimed.contains(local);
                    let swept = self.flows.extract_if(.., is_left).map(|(local, _)| local).collect();
                    self.engine.handle_input(self.now, Input::FlowsSwept(swept));
                }
                Output::PutFlow(flow) => {
                    self.claimed.insert(flow.local);
                    self.flows.insert(flow.local, flow);
                }
                Output::RemoveFlow(local) => {
                    let forwarded = match self.flows.remove(&local).map(|flow| flow.owner.leg) {
                        Some(LegName::A) => Traffic { packets: 10, bytes: 1720 },
                        Some(LegName::B) => Traffic { packets: 20, bytes: 3440 },
                        None => Traffic::default(),
                    };
                    let stats = FlowStats { forwarded, ..FlowStats::default() };
                    self.engine.handle_input(self.now, Input::FlowRemoved(local, stats));
                }
                Output::ReadFlow(local) => self.read(local),
                Output::Reply(_, reply) => self.replies.push(reply),
                Output::Event(event) => self.events.push(event),
                Output::Guard(_) | Output::Rekey(_) | Output::Certify(_) => {}
                Output::Stun(datagram) => self.stun.push(datagram),
                Output::Drained => self.drained = true,
            }
        }
    }

    fn read(&mut self, local: SocketAddr) {
        let leg = self.flows[&local].owner.leg;
        let packets = if self.silent.contains(&leg) {
            5
        } else {
            self.now.mono.saturating_since(Instant::ORIGIN).as_secs()
        };
        let forwarded = Traffic { packets, bytes: packets * 172 };
        let stats = FlowStats { forwarded, ..FlowStats::default() };
        self.engine.handle_input(self.now, Input::FlowRead(local, stats));
    }

    fn commit(&mut self, id: CommitId, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::PutCall(call) => drop(self.calls.insert(call.session, *call)),
                Change::DeleteCall(session) => drop(self.calls.remove(&session)),
                Change::PutCdr(cdr) => self.keep(*cdr),
                Change::PutBinding(_)
                | Change::DeleteBinding(_)
                | Change::PutNumbers(_)
                | Change::PutAgent(_)
                | Change::PutParty(_)
                | Change::ClaimPair(_)
                | Change::ReleasePair(_)
                | Change::PutAudit(_) => {}
                other => panic!("a call commits {other:?}"),
            }
        }
        self.engine.handle_input(self.now, Input::Committed(id));
    }

    /// From now on the store is slow with bindings.
    pub(super) fn hold_bindings(&mut self) {
        self.held = Some(Vec::new());
    }

    /// The store has what it was slow with.
    pub(super) fn commit_held(&mut self) {
        for (id, changes) in self.held.take().unwrap_or_default() {
            self.commit(id, changes);
        }
        self.drain();
    }

    /// The store failed with it.
    pub(super) fn fail_held(&mut self) {
        for (id, _) in self.held.take().unwrap_or_default() {
            self.input(Input::CommitFailed(id, "disk full".to_owned()));
        }
    }

    fn keep(&mut self, cdr: Cdr) {
        if cdr.interim.is_some() {
            return self.interim.push(cdr);
        }
        let place = |cdr: &Cdr| (cdr.session, cdr.leg, cdr.fork);
        let same = |known: &Cdr| place(known) == place(&cdr);
        assert!(!self.cdrs.iter().any(same), "a second record for leg {} of {}", cdr.leg, cdr.session);
        self.cdrs.push(cdr);
    }

    fn deliver(&mut self, signal: &Signal) {
        let text = String::from_utf8(signal.bytes.clone()).expect("our messages are text");
        let leg = if signal.way.remote.ip() == carrier(LegName::A).ip() { LegName::A } else { LegName::B };
        if self.masked {
            let other = leg.other();
            for secret in [number(other), &number(other)[1..], media_address(other), leak(other)] {
                assert!(!text.contains(secret), "leg {leg} is shown {secret}:\n{text}");
            }
            let signalling = carrier(other).ip().to_string();
            assert!(!text.contains(&signalling), "leg {leg} is shown the other carrier:\n{text}");
        }
        self.inbox.entry(signal.way.remote).or_default().push_back(Msg::parse(text));
    }

    /// The next message that a carrier has received.
    pub(super) fn received(&mut self, leg: LegName) -> Option<Msg> {
        self.inbox.get_mut(&carrier(leg))?.pop_front()
    }

    /// The next message, which must start so.
    #[track_caller]
    pub(super) fn expect(&mut self, leg: LegName, start: &str) -> Msg {
        match self.received(leg) {
            Some(msg) if msg.start.starts_with(start) => msg,
            Some(msg) => panic!("leg {leg} expected {start} and got {}", msg.start),
            None => panic!("leg {leg} expected {start} and got nothing"),
        }
    }

    /// The next message that starts so; forgets what came before it.
    #[track_caller]
    pub(super) fn expect_among(&mut self, leg: LegName, start: &str) -> Msg {
        let mut passed = Vec::new();
        while let Some(msg) = self.received(leg) {
            if msg.start.starts_with(start) {
                return msg;
            }
            passed.push(msg.start);
        }
        panic!("leg {leg} expected {start} and got {passed:?}")
    }

    /// What has arrived and was not looked at; forgets it.
    pub(super) fn rest(&mut self, leg: LegName) -> Vec<String> {
        std::iter::from_fn(|| self.received(leg)).map(|msg| msg.start).collect()
    }

    #[track_caller]
    pub(super) fn expect_nothing(&mut self, leg: LegName) {
        assert_eq!(self.rest(leg), Vec::<String>::new(), "leg {leg}");
    }

    pub(super) fn cdr(&self, leg: LegName) -> &Cdr {
        let mut found = self.cdrs.iter().filter(|cdr| cdr.leg == leg && cdr.fork == 0);
        let cdr = found.next().unwrap_or_else(|| panic!("no record for leg {leg}"));
        assert!(found.next().is_none(), "one record for leg {leg}");
        cdr
    }

    /// How the called party's addresses fared that rang and did not get the call.
    pub(super) fn missed(&self) -> Vec<(u8, Cause, Option<u16>)> {
        let forks = self.cdrs.iter().filter(|cdr| cdr.fork > 0);
        forks.map(|cdr| (cdr.fork, cdr.release.cause, cdr.release.sip_status)).collect()
    }

    /// Nothing is left of any call, not even after all timers.
    #[track_caller]
    pub(super) fn assert_quiet(&mut self) {
        self.pass(Duration::from_mins(2));
        assert_eq!(self.engine.calls_in_progress(), 0, "calls in progress");
        assert!(self.flows.is_empty(), "flows are left");
        assert!(self.calls.is_empty(), "the journal still holds a call");
        assert_eq!(self.engine.leftovers(), Vec::<(&str, usize)>::new());
    }
}

/// A message as a far end reads it.
#[derive(Clone, Debug)]
pub(super) struct Msg {
    pub(super) start: String,
    headers: Vec<(String, String)>,
    pub(super) body: String,
    pub(super) text: String,
}

impl Msg {
    fn parse(text: String) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("an empty line");
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap().to_owned();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("header line {line}")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let body = body.to_owned();
        Self { start, headers, body, text }
    }

    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    #[track_caller]
    pub(super) fn header(&self, name: &str) -> &str {
        self.all(name).first().unwrap_or_else(|| panic!("no {name} in {}", self.text))
    }

    pub(super) fn tag(&self, name: &str) -> Option<&str> {
        self.header(name).split_once(";tag=").map(|(_, tag)| tag)
    }
}
