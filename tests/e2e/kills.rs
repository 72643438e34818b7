//! A hundred times `kill -9` at a random moment, under allocation load.
//!
//! Whatever was acknowledged is there after each: every binding with its numbers and
//! its expiry, every release with its tombstone as long as that was to last, and the
//! entry of each act in a log that is whole. What was asked and not answered is there
//! whole or not at all, and nothing is there that nobody asked for. Each binding that
//! is there is found from both of its sides, and no pair is left behind that would
//! stand in the way of another binding.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use harness::vizard::socket;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vizard::api::client::{Client, PATIENCE};
use vizard::api::local::{Request, Response};
use vizard::engine::admin::{
    AdminReply, AdminRequest, BindingView, NewBinding, NumberWish, Refusal, RefusalKind,
};
use vizard::engine::audit::Act;
use vizard::engine::directory::{
    BindFilter, BindingKind, BindingState, PoolFilter, PoolReply, PoolRequest, Shown, UsageWish,
};
use vizard::engine::ids::BindingId;
use vizard::engine::number::Typed;
use vizard::engine::time::Timestamp;
use vizard::store::AuditQuery;

use crate::world::{MediaPath, Plan, world};

const KILLS: u32 = 100;
/// Who ask at the same time.
const ASKERS: u64 = 4;
const NUMBERS: u32 = 90;
const CUSTOMERS: u32 = 200;
const AGENTS: u32 = 40;
/// Bindings that are looked up from both sides after each start.
const LOOKED_UP: usize = 12;

/// Tombstones come to their end while the test goes on.
const LIFE: &str = "\n[bindings]\ntime_to_live = \"2h\"\ncallback_window = \"2s\"\ncool_off = \"0s\"\n";

/// What was done to a binding.
type Done = (Act, BindingId);

#[test]
fn what_was_acknowledged_is_there_after_a_hundred_kills() {
    let Some(world) = world(Plan { path: MediaPath::Sockets, ..Plan::default() }) else { return };
    let mut vizard = world.start_with(&(world.config() + LIFE));
    let pool: Vec<String> = (0..NUMBERS).map(|n| format!("+1415555{n:04}")).collect();
    vizard
        .ask(&["pool", "add"].into_iter().chain(pool.iter().map(String::as_str)).collect::<Vec<_>>())
        .unwrap();
    let socket = socket(&world.lab);
    let mut askers: Vec<Asker> = (0..ASKERS).map(Asker::new).collect();
    let mut random = ChaCha8Rng::seed_from_u64(90);
    let mut noted = 0;
    for kill in 1..=KILLS {
        let moment = Duration::from_millis(random.random_range(5..150));
        thread::scope(|scope| {
            for asker in &mut askers {
                scope.spawn(|| asker.ask_on(&socket));
            }
            thread::sleep(moment);
            vizard.kill().unwrap();
        });
        vizard.start_again(&[]).unwrap();
        let mut client = Client::connect(&socket, PATIENCE).unwrap();
        let done = askers.iter_mut().flat_map(|asker| std::mem::take(&mut asker.done)).collect();
        noted = check_log(&mut client, &done, noted);
        let mut found = all(&mut client);
        for asker in &mut askers {
            asker.check(&mut found, kill);
        }
        assert!(found.is_empty(), "after {kill} kills there is what nobody asked for: {found:?}");
        for _ in 0..LOOKED_UP {
            let asker = &askers[random.random_range(0..askers.len())];
            asker.look_up(&mut client, random.random_range(0..usize::MAX));
        }
        check_counters(&mut client);
    }
    let count = |counted: fn(&Asker) -> u32| askers.iter().map(counted).sum::<u32>();
    let (created, closed) = (count(|asker| asker.created), count(|asker| asker.closed));
    eprintln!("{created} creations and {closed} releases were acknowledged");
    assert!(created > 5 * KILLS && closed > 2 * KILLS, "too few: {created} and {closed}");
    finish(&socket, &askers);
    vizard.stop().unwrap();
}

/// Every binding is whole in the end, not those that were drawn alone; and when all
/// are gone, no number is held by anything.
fn finish(socket: &Path, askers: &[Asker]) {
    let mut client = Client::connect(socket, PATIENCE).unwrap();
    for asker in askers {
        for at in 0..asker.known.len() {
            asker.look_up(&mut client, at);
        }
    }
    for id in all(&mut client).into_keys() {
        client.ask(Request::Admin(AdminRequest::BindClose { id })).unwrap();
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !all(&mut client).is_empty() {
        assert!(std::time::Instant::now() < deadline, "tombstones stay");
        thread::sleep(Duration::from_millis(100));
    }
    let list = PoolRequest::List { filter: PoolFilter::default(), after: None, limit: 0 };
    let Response::Admin(AdminReply::Pool(PoolReply::Page(page))) =
        client.ask(Request::Admin(AdminRequest::Pool(list))).unwrap()
    else {
        panic!("no pool")
    };
    assert_eq!(page.rows.len(), NUMBERS as usize);
    assert!(page.rows.iter().all(|row| (row.live, row.entombed) == (0, 0)), "a number leaked");
    check_counters(&mut client);
}

/// Asks for bindings of its own, one after the other.
struct Asker {
    name: u64,
    random: ChaCha8Rng,
    known: BTreeMap<BindingId, Known>,
    /// The key of a binding that was asked for without an answer.
    asked: Option<(String, [String; 2])>,
    /// Acts that were acknowledged since the last start.
    done: BTreeSet<Done>,
    created: u32,
    closed: u32,
    next: u32,
}

struct Known {
    /// As it was last acknowledged.
    view: BindingView,
    parties: [String; 2],
    /// A change was asked for, and not answered.
    doubtful: bool,
}

impl Asker {
    fn new(name: u64) -> Self {
        Self {
            name,
            random: ChaCha8Rng::seed_from_u64(name),
            known: BTreeMap::new(),
            asked: None,
            done: BTreeSet::new(),
            created: 0,
            closed: 0,
            next: 0,
        }
    }

    /// Asks until nobody answers any more.
    fn ask_on(&mut self, socket: &Path) {
        let Ok(mut client) = Client::connect(socket, PATIENCE) else { return };
        loop {
            let answered = match self.random.random_range(0..10) {
                0..6 => self.create(&mut client),
                6..9 => self.change(&mut client, Act::BindClose, |id| AdminRequest::BindClose { id }),
                _ => self.change(&mut client, Act::BindExtend, |id| AdminRequest::BindExtend {
                    id,
                    time_to_live: Some(Duration::from_hours(5)),
                }),
            };
            if !answered {
                return;
            }
        }
    }

    fn create(&mut self, client: &mut Client) -> bool {
        self.next += 1;
        let key = format!("asker-{}-{}", self.name, self.next);
        let customer = format!("+1310555{:04}", self.random.random_range(0..CUSTOMERS));
        let agent = format!("+1646555{:04}", self.random.random_range(0..AGENTS));
        let wanted = NewBinding {
            tenant: "t".into(),
            project: "p".into(),
            kind: BindingKind::Session,
            key: key.clone(),
            customer: Typed(customer.clone()),
            agent: Typed(agent.clone()),
            time_to_live: None,
            numbers: NumberWish::default(),
            encryption: None,
            also: [Vec::new(), Vec::new()],
            one_number: false,
            usage: UsageWish::default(),
            tags: Vec::new(),
        };
        let parties = [customer, agent];
        self.asked = Some((key, parties.clone()));
        match client.ask(Request::Admin(AdminRequest::BindCreate(wanted))) {
            Ok(Response::Admin(AdminReply::Bound { binding, reused: false })) => {
                self.created += 1;
                self.known.insert(binding.id, Known { view: *binding, parties, doubtful: false });
            }
            // A party has all numbers of the pool.
            Ok(Response::Admin(AdminReply::Refused(Refusal { kind: RefusalKind::Exhausted, .. }))) => {}
            Ok(other) => panic!("{other:?}"),
            Err(_) => return false,
        }
        self.asked = None;
        true
    }

    fn change(&mut self, client: &mut Client, act: Act, request: impl Fn(BindingId) -> AdminRequest) -> bool {
        let live = |known: &&mut Known| matches!(known.view.state, BindingState::Live { .. });
        let at = self.random.random_range(0..8);
        let Some(known) = self.known.values_mut().rev().filter(live).nth(at) else { return true };
        known.doubtful = true;
        match client.ask(Request::Admin(request(known.view.id))) {
            Ok(Response::Admin(AdminReply::Binding(view))) => {
                self.closed += u32::from(matches!(view.state, BindingState::Entombed { .. }));
                known.view = *view;
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => return false,
        }
        known.doubtful = false;
        self.done.insert((act, known.view.id));
        true
    }

    /// Takes what is this asker's out of what was found.
    fn check(&mut self, found: &mut BTreeMap<BindingId, BindingView>, kill: u32) {
        if let Some((key, parties)) = self.asked.take()
            && let Some(view) = found.values().find(|view| view.key == key).cloned()
        {
            self.known.insert(view.id, Known { view, parties, doubtful: false });
        }
        let now = now();
        self.known.retain(|id, known| {
            let Some(view) = found.remove(id) else {
                let over = match known.view.state {
                    BindingState::Entombed { until, .. } => until <= now,
                    BindingState::Live { .. } => false,
                };
                // What was closed and not answered may be forgotten by now.
                assert!(over || known.doubtful, "after {kill} kills this is gone: {:?}", known.view);
                return false;
            };
            if known.doubtful {
                let same =
                    |of: &BindingView| (of.key.clone(), of.customer.clone(), of.agent.clone(), of.created);
                assert_eq!(same(&view), same(&known.view), "after {kill} kills");
                known.view = view;
                known.doubtful = false;
            } else {
                assert_eq!(view, known.view, "after {kill} kills");
            }
            true
        });
    }

    /// A binding is found from both sides, and is one and the same.
    fn look_up(&self, client: &mut Client, at: usize) {
        let Some(known) = self.known.values().nth(at % self.known.len().max(1)) else { return };
        let view = &known.view;
        for (caller, proxy) in known.parties.iter().zip([view.customer.proxy, view.agent.proxy]) {
            let caller = Typed(caller.clone());
            match client.ask(Request::Admin(AdminRequest::Resolve { caller, proxy, at: None })).unwrap() {
                Response::Admin(AdminReply::Resolved(resolved)) => match (resolved.binding, view.state) {
                    (Some(found), _) if found.id == view.id => {}
                    // Forgotten, and perhaps another one has the pair.
                    (_, BindingState::Entombed { until, .. }) if until <= now() => {}
                    (found, _) => panic!("{view:?} is found as {found:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Every binding that is there, tombstones included.
fn all(client: &mut Client) -> BTreeMap<BindingId, BindingView> {
    let mut found = BTreeMap::new();
    let mut after = None;
    loop {
        let filter = BindFilter { state: Shown::All, ..BindFilter::default() };
        let list = AdminRequest::BindList { filter, after, limit: 0 };
        match client.ask(Request::Admin(list)).unwrap() {
            Response::Admin(AdminReply::Bindings(page)) => {
                found.extend(page.bindings.into_iter().map(|view| (view.id, view)));
                if page.next.is_none() {
                    return found;
                }
                after = page.next;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The log is whole, and says everything that was `done` after its entry `noted`; its
/// last entry.
fn check_log(client: &mut Client, done: &BTreeSet<Done>, noted: u64) -> u64 {
    let Response::AuditVerified(log) = client.ask(Request::AuditVerify).unwrap() else { panic!("no log") };
    assert_eq!(log.found, 0, "{:?}", log.findings);
    let mut said: BTreeSet<(Act, String)> = BTreeSet::new();
    let mut before = None;
    loop {
        let query = AuditQuery { before, limit: 500, ..AuditQuery::default() };
        let Response::Audit(page) = client.ask(Request::AuditList(query)).unwrap() else { panic!("no log") };
        let oldest = page.entries.last().map_or(0, |entry| entry.seq);
        said.extend(page.entries.into_iter().map(|entry| (entry.act, entry.on)));
        before = page.next;
        if before.is_none() || oldest <= noted {
            break;
        }
    }
    for (act, id) in done {
        assert!(said.contains(&(*act, id.to_string())), "{} of {id} is not in the log", act.as_str());
    }
    log.head
}

/// Nothing in the store contradicted anything.
fn check_counters(client: &mut Client) {
    let Response::Admin(AdminReply::Counters(counters)) =
        client.ask(Request::Admin(AdminRequest::Counters)).unwrap()
    else {
        panic!("no counters")
    };
    for name in ["directory.dropped_at_start", "directory.conflicts", "directory.commit_failures"] {
        let counted = counters.iter().find(|(counted, _)| counted == name);
        assert_eq!(counted, Some(&(name.to_owned(), 0)));
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_unix_microseconds(since.as_micros().try_into().unwrap())
}
