//! The directory against examples, and against a reference model.

mod addresses;
mod agents;
mod erasure;
mod handover;
mod model;
mod places;
mod plan_tests;
mod pool;
mod retain;
mod usage;

use std::time::Duration;

use super::*;
use crate::engine::admin::{BindingView, NewBinding, NumberWish};
use crate::engine::callback::{OnTombstone, Services};
use crate::engine::config::{self, Bindings as Times, Encryption, Limits, Trunk, TrunkId};
use crate::engine::geography;
use crate::engine::io::RekeyStep;
use crate::engine::io::Transaction;
use crate::engine::number::Typed;
use crate::engine::privacy::Keyring;
use crate::engine::privacy::tests::{keyring, random, vault};
use crate::engine::sip::transport::Transport;
use crate::engine::targets::Targets;

pub(crate) fn config() -> Config {
    let trunk = |name: &str| Trunk {
        name: name.into(),
        targets: Targets::one("192.0.2.1:5060".parse().unwrap()),
        probe: None,
        sources: vec!["192.0.2.0/24".parse().unwrap()],
        transport: Transport::Udp,
        listen: 0,
        listen_large: None,
        tls: config::TlsPeer::default(),
        media: 0,
        country: "US".parse().unwrap(),
        trusted: true,
        format: config::NumberFormat::E164,
        media_source: config::MediaSource::Signalled,
        ice: config::Ice::Off,
        shared: Vec::new(),
    };
    Config {
        sip: config::Sip {
            listen: Vec::new(),
            timers: config::Timers::default(),
            ring_timeout: Duration::from_mins(1),
            failover_after: Duration::from_secs(4),
            max_call: Duration::from_hours(1),
            session: config::SessionTimers::default(),
            product: "Vizard".into(),
        },
        media: config::Media {
            addresses: Vec::new(),
            ports: 30_000..=30_100,
            quarantine: Duration::ZERO,
            dscp: 46,
            patience: config::Patience::default(),
            permissions: config::Permissions::default(),
        },
        trunks: vec![trunk("carrier"), trunk("pbx")],
        routes: vec![config::Route { prefix: String::new(), trunk: TrunkId(0) }],
        emergency: config::Emergency::default(),
        bindings: Times {
            usual: Life {
                time_to_live: Duration::from_hours(1),
                callback_window: Duration::from_mins(10),
                on_tombstone: OnTombstone::default(),
                usage: Usage::default(),
            },
            kinds: [None; 4],
            tenants: BTreeMap::new(),
            cool_off: Duration::from_mins(20),
        },
        services: Services::default(),
        pool: config::Pool::default(),
        records: config::Records::default(),
        retention: config::Retention { cdrs: Duration::ZERO, ..config::Retention::default() },
        geography: geography::Rules::default(),
        guard: config::Guard::default(),
        unmask: config::Unmask::default(),
        limits: Limits::default(),
    }
}

pub(in crate::engine) fn at(seconds: u64) -> Now {
    Now::default().after(Duration::from_secs(1_000_000 + seconds))
}

pub(in crate::engine) fn new_number(number: &str) -> NewNumber {
    NewNumber::local(number.parse().unwrap())
}

/// With other properties than usual.
pub(in crate::engine) fn with(number: &str, change: impl FnOnce(&mut NumberTraits)) -> NewNumber {
    let mut new = new_number(number);
    change(&mut new.traits);
    new
}

pub(in crate::engine) fn wanted(key: &str, customer: &str, agent: &str) -> NewBinding {
    NewBinding {
        tenant: "acme".into(),
        project: "main".into(),
        kind: BindingKind::Session,
        key: key.into(),
        customer: Typed(customer.into()),
        agent: Typed(agent.into()),
        time_to_live: None,
        numbers: NumberWish::default(),
        encryption: None,
        also: [Vec::new(), Vec::new()],
        one_number: false,
        usage: UsageWish::default(),
        tags: Vec::new(),
    }
}

/// Numbers of this country, and of no other.
pub(in crate::engine) fn within(country: &str) -> NumberWish {
    NumberWish { country: Some(country.parse().unwrap()), ..NumberWish::default() }
}

/// A directory with a store that works.
pub(in crate::engine) struct World {
    pub(in crate::engine) directory: Directory,
    pub(in crate::engine) committed: Vec<Transaction>,
    pub(in crate::engine) events: Vec<Event>,
    /// The key file, and what the keeper runs on.
    keyring: Keyring,
    vault: Arc<Vault>,
    certificates: Vec<Erasure>,
    next: u64,
}

impl World {
    pub(in crate::engine) fn new(numbers: &[&str]) -> Self {
        Self::with(config(), numbers)
    }

    pub(in crate::engine) fn with(config: Config, numbers: &[&str]) -> Self {
        let directory = Directory::new(Arc::new(config), vault(), [7; 32], at(0), Snapshot::default());
        let mut world = Self {
            directory,
            committed: Vec::new(),
            events: Vec::new(),
            keyring: keyring(),
            vault: vault(),
            certificates: Vec::new(),
            next: 0,
        };
        let numbers: Vec<_> = numbers.iter().map(|number| new_number(number)).collect();
        let added = numbers.len();
        assert_eq!(
            world.ask(at(0), AdminRequest::Pool(PoolRequest::Add { numbers })),
            AdminReply::Pool(PoolReply::Added { added, known: 0 })
        );
        world
    }

    pub(in crate::engine) fn ask(&mut self, now: Now, request: AdminRequest) -> AdminReply {
        self.next += 1;
        let id = RequestId(self.next);
        assert!(self.directory.handle_admin(now, id, request).is_none());
        let mut replies = self.settle(now);
        assert_eq!(replies.len(), 1);
        let (answered, reply) = replies.remove(0);
        assert_eq!(answered, id);
        reply
    }

    /// Commits everything that is proposed.
    pub(in crate::engine) fn settle(&mut self, now: Now) -> Vec<(RequestId, AdminReply)> {
        let mut replies = Vec::new();
        while let Some(output) = self.directory.poll_output() {
            match output {
                Output::Commit(id, transaction) => {
                    self.committed.push(transaction);
                    self.directory.handle_committed(now, id);
                }
                Output::Reply(id, reply) => replies.push((id, reply)),
                Output::Event(event) => self.events.push(event),
                Output::Rekey(step) => self.keep_keys(now, step),
                Output::Certify(erasures) => {
                    let ids = erasures.iter().map(|erasure| erasure.id).collect();
                    self.certificates.extend(erasures);
                    self.directory.certified(now, ids);
                }
                other => panic!("{other:?} is not the directory's to put out"),
            }
        }
        replies
    }

    fn keep_keys(&mut self, now: Now, step: RekeyStep) {
        match step {
            RekeyStep::Wanted => {
                self.keyring.add_epoch(&mut random(5)).unwrap();
                let new = self.vault.begin(&self.keyring, &mut random(6)).unwrap();
                self.vault = Arc::clone(&new.vault);
                self.directory.begin_epoch(now, Arc::new(new));
            }
            RekeyStep::Began(_) => {}
            RekeyStep::Resealed(epoch) => self.directory.end_epochs(now, epoch),
            RekeyStep::Ended(before) => {
                self.vault = Arc::new(self.vault.without_before(before));
                self.keyring.destroy_before(before);
            }
        }
    }

    pub(in crate::engine) fn bind(&mut self, now: Now, wanted: NewBinding) -> BindingView {
        match self.ask(now, AdminRequest::BindCreate(wanted)) {
            AdminReply::Bound { binding, .. } => *binding,
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::engine) fn refused(&mut self, now: Now, request: AdminRequest) -> Refusal {
        match self.ask(now, request) {
            AdminReply::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    /// Where somebody is who was looked up.
    fn address(&self, found: &Match) -> PartyAddress {
        self.directory.address(found.callee).expect("a callee is somewhere")
    }

    /// Lets time pass up to `now`, turn by turn.
    pub(in crate::engine) fn run_until(&mut self, now: Now) {
        while let Some((due, _)) = self.directory.poll_timeout().filter(|(due, _)| *due <= now.mono) {
            let wait = due.saturating_since(at(0).mono);
            self.directory.handle_timeout(at(0).after(wait));
            self.settle(at(0).after(wait));
        }
    }
}

pub(in crate::engine) fn number(text: &str) -> PartyAddress {
    PartyAddress::Number(text.parse().unwrap())
}

const CUSTOMER: &str = "+12125551200";
const AGENT: &str = "+13105550147";
const POOL: [&str; 3] = ["+14155550100", "+14155550101", "+14155550102"];

#[test]
fn each_party_reaches_the_other_through_its_own_proxy_and_nobody_else_does() {
    let mut world = World::new(&POOL);
    let bound = world.bind(at(1), wanted("k", CUSTOMER, AGENT));
    assert_ne!(bound.customer.proxy, bound.agent.proxy);
    let look = |proxy, who| world.directory.lookup(proxy, &number(who));
    let Lookup::Live(found) = look(&bound.customer.proxy, CUSTOMER) else { panic!() };
    assert_eq!((found.caller, world.address(&found)), (LegName::A, number(AGENT)));
    assert_eq!(found.callee_sees, bound.agent.proxy);
    let Lookup::Live(found) = look(&bound.agent.proxy, AGENT) else { panic!() };
    assert_eq!((found.caller, world.address(&found)), (LegName::B, number(CUSTOMER)));
    assert_eq!(look(&bound.agent.proxy, CUSTOMER), Lookup::Unknown);
    assert_eq!(look(&bound.customer.proxy, "+12125551299"), Lookup::Unknown);
}

#[test]
fn what_is_not_durable_is_invisible() {
    let mut world = World::new(&POOL);
    let request = AdminRequest::BindCreate(wanted("k", CUSTOMER, AGENT));
    world.directory.handle_admin(at(1), RequestId(900), request);
    let Some(Output::Commit(id, _)) = world.directory.poll_output() else { panic!() };
    assert!(world.directory.poll_output().is_none());
    for proxy in POOL {
        let proxy = proxy.parse().unwrap();
        assert_eq!(world.directory.lookup(&proxy, &number(CUSTOMER)), Lookup::Unknown);
    }
    let all = BindFilter { state: Shown::All, ..BindFilter::default() };
    assert_eq!(world.directory.bind_list(&all, None, 0).bindings, []);
    world.directory.handle_committed(at(2), id);
    assert!(matches!(world.settle(at(2))[..], [(RequestId(900), AdminReply::Bound { reused: false, .. })]));
    assert_eq!(world.directory.bind_list(&all, None, 0).bindings.len(), 1);
}

#[test]
fn the_key_finds_the_binding_and_its_tombstone_again() {
    let mut world = World::new(&POOL);
    let first = world.bind(at(1), wanted("k", CUSTOMER, AGENT));
    let create = || AdminRequest::BindCreate(wanted("k", CUSTOMER, AGENT));
    let AdminReply::Bound { binding, reused: true } = world.ask(at(10), create()) else { panic!() };
    assert_eq!((binding.id, &binding.customer), (first.id, &first.customer));
    assert_eq!(binding.state, BindingState::Live { expires: at(10 + 3600).wall });
    world.ask(at(20), AdminRequest::BindClose { id: first.id });
    assert!(world.events.contains(&Event::BindingEntombed { binding: first.id }));
    let proxy = first.customer.proxy;
    assert!(matches!(world.directory.lookup(&proxy, &number(CUSTOMER)), Lookup::Entombed(_)));
    let AdminReply::Bound { binding, reused: true } = world.ask(at(30), create()) else { panic!() };
    assert_eq!((binding.id, &binding.customer), (first.id, &first.customer));
    assert!(matches!(world.directory.lookup(&proxy, &number(CUSTOMER)), Lookup::Live(_)));
    let other = world.refused(at(31), AdminRequest::BindCreate(wanted("k", CUSTOMER, "+13105550148")));
    assert_eq!(other.kind, RefusalKind::Conflict);
    assert!(other.what.contains(&first.id.to_string()), "{other:?}");
}

#[test]
fn a_binding_is_extended_while_it_lives_and_reopened_while_its_numbers_wait() {
    let mut world = World::new(&POOL);
    let bound = world.bind(at(1), wanted("k", CUSTOMER, AGENT));
    let id = bound.id;
    let minutes = |minutes| Some(Duration::from_mins(minutes));
    let state = |reply| match reply {
        AdminReply::Binding(binding) => binding.state,
        other => panic!("{other:?}"),
    };
    let longer = world.ask(at(2), AdminRequest::BindExtend { id, time_to_live: minutes(90) });
    assert_eq!(state(longer), BindingState::Live { expires: at(2 + 5400).wall });
    let shorter = world.ask(at(3), AdminRequest::BindExtend { id, time_to_live: minutes(1) });
    assert_eq!(state(shorter), BindingState::Live { expires: at(2 + 5400).wall }, "never earlier");
    let reopen = || AdminRequest::BindReopen { id, time_to_live: None };
    assert_eq!(world.refused(at(4), reopen()).kind, RefusalKind::Conflict);
    world.ask(at(5), AdminRequest::BindClose { id });
    let extend = AdminRequest::BindExtend { id, time_to_live: None };
    assert_eq!(world.refused(at(6), extend).kind, RefusalKind::Conflict);
    assert_eq!(state(world.ask(at(7), reopen())), BindingState::Live { expires: at(7 + 3600).wall });
    let found = world.directory.lookup(&bound.customer.proxy, &number(CUSTOMER));
    assert!(matches!(found, Lookup::Live(_)), "with the numbers that it had");
    world.ask(at(8), AdminRequest::BindClose { id });
    world.run_until(at(700));
    assert_eq!(world.refused(at(701), reopen()).kind, RefusalKind::NotFound);
}

#[test]
fn each_kind_has_its_times() {
    let mut config = config();
    let hour = Duration::from_hours(1);
    config.bindings.kinds[BindingKind::Case as usize] =
        Some(Life { time_to_live: 48 * hour, callback_window: 72 * hour, ..config.bindings.usual });
    let mut world = World::with(config, &POOL);
    let case = NewBinding { kind: BindingKind::Case, ..wanted("k", CUSTOMER, AGENT) };
    let bound = world.bind(at(0), case);
    assert_eq!(bound.state, BindingState::Live { expires: at(48 * 3600).wall });
    let AdminReply::Binding(closed) = world.ask(at(10), AdminRequest::BindClose { id: bound.id }) else {
        panic!()
    };
    assert_eq!(closed.state, BindingState::Entombed { since: at(10).wall, until: at(10 + 72 * 3600).wall });
    let session = world.bind(at(11), wanted("s", CUSTOMER, AGENT));
    assert_eq!(session.state, BindingState::Live { expires: at(11 + 3600).wall });
}

#[test]
fn two_creations_with_one_key_become_one_binding() {
    let mut world = World::new(&POOL);
    for id in [501, 502] {
        let request = AdminRequest::BindCreate(wanted("k", CUSTOMER, AGENT));
        world.directory.handle_admin(at(1), RequestId(id), request);
    }
    let replies = world.settle(at(2));
    let ids: Vec<_> = replies
        .iter()
        .map(|(id, reply)| match reply {
            AdminReply::Bound { binding, reused } => (id.0, binding.id, *reused),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [(501, ids[0].1, false), (502, ids[0].1, true)]);
}

#[test]
fn a_call_in_progress_outlives_expiry_and_close() {
    let mut world = World::new(&POOL);
    let by_expiry = world.bind(at(1), wanted("a", CUSTOMER, AGENT));
    let by_close = world.bind(at(1), wanted("b", CUSTOMER, AGENT));
    assert!(world.directory.hold(by_expiry.id) && world.directory.hold(by_close.id));
    let AdminReply::Binding(closed) = world.ask(at(5), AdminRequest::BindClose { id: by_close.id }) else {
        panic!()
    };
    assert_eq!((closed.calls, closed.state), (1, BindingState::Live { expires: at(5).wall }));
    world.run_until(at(5000));
    for bound in [&by_expiry, &by_close] {
        let state = world.directory.binding(bound.id).unwrap().state;
        assert!(matches!(state, BindingState::Live { .. }));
        // For anybody else it has ended.
        let found = world.directory.lookup(&bound.customer.proxy, &number(CUSTOMER));
        assert!(matches!(found, Lookup::Entombed(_)));
        world.directory.release(at(5000), bound.id);
    }
    world.directory.handle_timeout(at(5001));
    world.settle(at(5001));
    for bound in [by_expiry, by_close] {
        let state = BindingState::Entombed { since: at(5001).wall, until: at(5001 + 600).wall };
        assert_eq!(world.directory.binding(bound.id).unwrap().state, state);
        assert!(world.events.contains(&Event::BindingEntombed { binding: bound.id }));
    }
}

#[test]
fn a_callback_reopens_what_its_kind_lets_it_reopen() {
    for (on_tombstone, calls_at, reopens) in [
        (OnTombstone::Reopen, 100, true),
        // Past its time under a call, it has ended as well.
        (OnTombstone::Reopen, 0, true),
        (OnTombstone::Connect, 100, false),
        (OnTombstone::Ivr, 100, false),
    ] {
        let mut config = config();
        config.bindings.usual.on_tombstone = on_tombstone;
        let mut world = World::with(config, &POOL);
        let bound = world.bind(at(1), wanted("a", CUSTOMER, AGENT));
        if calls_at == 0 {
            world.directory.begin_call(at(1), bound.id);
        }
        world.ask(at(2), AdminRequest::BindClose { id: bound.id });
        world.directory.begin_call(at(100), bound.id);
        world.settle(at(100));
        let live = BindingState::Live { expires: at(100 + 3600).wall };
        let binding = world.directory.binding(bound.id).unwrap();
        assert_eq!(binding.state == live, reopens, "{on_tombstone:?}");
        assert_eq!(
            matches!(world.directory.lookup(&bound.customer.proxy, &number(CUSTOMER)), Lookup::Live(_)),
            reopens
        );
        assert_eq!(binding.customer.proxy, bound.customer.proxy, "the pair is the one that was");
        assert_eq!(world.events.contains(&Event::BindingReopened { binding: bound.id }), reopens);
    }
}

#[test]
fn numbers_come_from_the_nearest_place() {
    let pool = ["+442079460000", "+14155550100", "+13105550100", "+12125550100", "+16045550100"];
    let mut world = World::new(&pool);
    let bound = world.bind(at(1), wanted("a", CUSTOMER, AGENT));
    assert_eq!(bound.customer.proxy, "+12125550100".parse().unwrap(), "the same area");
    assert_eq!(bound.agent.proxy, "+13105550100".parse().unwrap(), "the same area");
    let bound = world.bind(at(2), wanted("b", CUSTOMER, AGENT));
    assert_eq!(bound.customer.proxy.country(), Some("US".parse().unwrap()), "the same country");
    let canadian = world.bind(at(3), wanted("c", "+16045551234", "+442079460001"));
    assert_eq!(canadian.customer.proxy, "+16045550100".parse().unwrap());
    assert_eq!(canadian.agent.proxy, "+442079460000".parse().unwrap());
    // Toronto: no such area, but the country has one.
    let toronto = world.bind(at(4), wanted("d", "+14165551234", AGENT));
    assert_eq!(toronto.customer.proxy, "+16045550100".parse().unwrap());
    // A German customer gets what there is, unless a country was asked for.
    world.bind(at(5), wanted("e", "+49301234567", AGENT));
    let german = NewBinding { numbers: within("DE"), ..wanted("f", "+49301234567", AGENT) };
    let refusal = world.refused(at(6), AdminRequest::BindCreate(german));
    assert_eq!(refusal.kind, RefusalKind::Exhausted);
    assert!(refusal.what.contains("no voice number of DE"), "{refusal:?}");
}

#[test]
fn a_freed_number_rests_for_its_party_and_is_familiar_afterwards() {
    let mut world = World::new(&POOL);
    let first = world.bind(at(1), wanted("a", CUSTOMER, AGENT));
    world.ask(at(2), AdminRequest::BindClose { id: first.id });
    world.run_until(at(700));
    assert!(world.directory.binding(first.id).is_none());
    let second = world.bind(at(800), wanted("b", CUSTOMER, AGENT));
    assert_ne!(second.customer.proxy, first.customer.proxy);
    assert_ne!(second.agent.proxy, first.agent.proxy);
    let third = world.bind(at(700 + 1200), wanted("c", CUSTOMER, AGENT));
    assert_eq!(third.customer.proxy, first.customer.proxy);
    assert_eq!(third.agent.proxy, first.agent.proxy);
}

#[test]
fn exhaustion_says_what_holds_the_numbers_and_no_party() {
    let mut world = World::new(&POOL);
    for key in ["a", "b", "c"] {
        let bound = world.bind(at(1), wanted(key, CUSTOMER, AGENT));
        if key == "b" {
            world.ask(at(2), AdminRequest::BindClose { id: bound.id });
        }
    }
    let refusal = world.refused(at(3), AdminRequest::BindCreate(wanted("d", CUSTOMER, "+13105550148")));
    assert_eq!(refusal.kind, RefusalKind::Exhausted);
    assert!(refusal.what.contains("of 3 in the pool"), "{refusal:?}");
    assert!(refusal.what.contains("bindings hold 2, its tombstones 1, and 0"), "{refusal:?}");
    assert!(world.events.contains(&Event::PoolExhausted { wanted: refusal.what }));
    // Numbers are taken for this customer, not for another.
    world.bind(at(4), wanted("e", "+12125551299", "+13105550148"));
}

#[test]
fn one_number_serves_both_sides_when_there_is_no_second() {
    let mut world = World::new(&POOL[..1]);
    let bound = world.bind(at(1), wanted("a", CUSTOMER, AGENT));
    assert_eq!(bound.customer.proxy, bound.agent.proxy);
    let Lookup::Live(found) = world.directory.lookup(&bound.agent.proxy, &number(AGENT)) else { panic!() };
    assert_eq!(world.address(&found), number(CUSTOMER));
}

#[test]
fn internal_numbers_serve_their_trunk_alone() {
    let mut world = World::new(&POOL[..1]);
    let internal = with("+14155550177", |traits| {
        (traits.kind, traits.trunk) = (NumberKind::Internal, Some("pbx".into()));
    });
    let numbers = vec![internal.clone()];
    world.ask(at(0), AdminRequest::Pool(PoolRequest::Add { numbers }));
    let bound = world.bind(at(1), wanted("a", CUSTOMER, "77@pbx"));
    assert_eq!((bound.customer.proxy, bound.agent.proxy), (POOL[0].parse().unwrap(), internal.number));
    assert_eq!(bound.agent.address, "7•@pbx");
    let bound = world.bind(at(1), wanted("b", "+12125551201", "77@carrier"));
    assert_eq!(bound.agent.proxy, POOL[0].parse().unwrap());
}

#[test]
fn refusals_never_repeat_what_was_typed() {
    let mut world = World::new(&POOL);
    world.bind(at(1), wanted("taken", CUSTOMER, AGENT));
    let hour = Some(Duration::ZERO);
    for (bad, kind) in [
        (wanted("k", "2125551200", AGENT), RefusalKind::Invalid),
        (wanted("k", "+1212555120", AGENT), RefusalKind::Invalid),
        (wanted("k", "+2125551200x", AGENT), RefusalKind::Invalid),
        (wanted("k", CUSTOMER, CUSTOMER), RefusalKind::Invalid),
        (wanted("k", CUSTOMER, POOL[0]), RefusalKind::Invalid),
        (wanted("k", "2125551200@nowhere", AGENT), RefusalKind::Invalid),
        (wanted("k", "21255 51200@pbx", AGENT), RefusalKind::Invalid),
        (wanted("order-2125551200", CUSTOMER, AGENT), RefusalKind::Invalid),
        (wanted("", CUSTOMER, AGENT), RefusalKind::Invalid),
        (wanted("a\nb", CUSTOMER, AGENT), RefusalKind::Invalid),
        (NewBinding { time_to_live: hour, ..wanted("k", CUSTOMER, AGENT) }, RefusalKind::Invalid),
        (wanted("taken", AGENT, CUSTOMER), RefusalKind::Conflict),
        (NewBinding { project: "other".into(), ..wanted("taken", CUSTOMER, AGENT) }, RefusalKind::Conflict),
        (
            NewBinding { encryption: Some(Encryption::EndToEnd), ..wanted("taken", CUSTOMER, AGENT) },
            RefusalKind::Conflict,
        ),
    ] {
        let refusal = world.refused(at(2), AdminRequest::BindCreate(bad));
        assert_eq!(refusal.kind, kind, "{refusal:?}");
        let text = format!("{refusal:?}");
        assert!(!text.contains("2551200") && !text.contains("5550147"), "{text}");
        assert!(!refusal.remedy.is_empty());
    }
    assert_eq!(
        world.refused(at(3), AdminRequest::BindShow { id: BindingId::from_bits(1) }).kind,
        RefusalKind::NotFound
    );
}

#[test]
fn numbers_are_added_all_or_none() {
    let mut world = World::new(&POOL[..1]);
    let add = |numbers: &[NewNumber]| AdminRequest::Pool(PoolRequest::Add { numbers: numbers.to_vec() });
    let (same, fresh) = (new_number(POOL[0]), new_number(POOL[1]));
    assert_eq!(
        world.ask(at(1), add(&[same.clone(), fresh.clone(), fresh.clone()])),
        AdminReply::Pool(PoolReply::Added { added: 1, known: 2 })
    );
    let changed = with(POOL[0], |traits| traits.sms = true);
    let (impossible, nowhere) =
        (new_number("+99955512345"), with(POOL[2], |traits| traits.trunk = Some("nowhere".into())));
    for (bad, kind) in [
        (changed, RefusalKind::Conflict),
        (impossible, RefusalKind::Invalid),
        (nowhere, RefusalKind::Invalid),
    ] {
        assert_eq!(world.refused(at(2), add(&[new_number(POOL[2]), bad])).kind, kind);
        assert!(!world.directory.is_proxy(&POOL[2].parse().unwrap()));
    }
    world.bind(at(3), wanted("k", CUSTOMER, AGENT));
    assert_eq!(world.refused(at(4), add(&[new_number(AGENT)])).kind, RefusalKind::Conflict);
    let page = world.directory.pool_list(&PoolFilter::default(), None, 1);
    let [row] = &page.rows[..] else { panic!("{page:?}") };
    assert_eq!((row.live, row.number.country), (1, "US".parse().unwrap()));
    assert_eq!(page.next, Some(row.number.number));
}

#[test]
fn every_limit_bites_and_is_counted() {
    let limits = Limits { bindings: 1, numbers: 3, ..Limits::default() };
    let mut world = World::with(Config { limits, ..config() }, &POOL);
    let numbers = vec![new_number("+14155550199")];
    assert_eq!(
        world.refused(at(1), AdminRequest::Pool(PoolRequest::Add { numbers })).kind,
        RefusalKind::Exhausted
    );
    world.bind(at(1), wanted("a", CUSTOMER, AGENT));
    let full = world.refused(at(1), AdminRequest::BindCreate(wanted("b", CUSTOMER, AGENT)));
    assert_eq!(full.kind, RefusalKind::Exhausted);
    let counters = world.directory.counters();
    assert!(counters.contains(&("directory.limited".into(), 2)), "{counters:?}");
}

#[test]
fn a_turn_of_the_sweep_is_bounded_and_the_rest_stays_due() {
    let mut world = World::new(&POOL);
    for i in 0..600 {
        world.bind(at(1), wanted(&format!("k{i}"), &format!("+1212555{i:04}"), &format!("+1310555{i:04}")));
    }
    world.directory.handle_timeout(at(9000));
    world.settle(at(9000));
    let entombed = world.events.iter().filter(|e| matches!(e, Event::BindingEntombed { .. })).count();
    assert_eq!(entombed, 256);
    assert_eq!(world.directory.poll_timeout().unwrap().0, at(9000).mono);
    world.run_until(at(9000));
    let entombed = world.events.iter().filter(|e| matches!(e, Event::BindingEntombed { .. })).count();
    assert_eq!(entombed, 600);
}
