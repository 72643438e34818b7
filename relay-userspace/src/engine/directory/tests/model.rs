//! Thousands of random histories against a reference model.
//!
//! The model is the obvious one: what the store has acknowledged, as plain
//! maps. After every step each (proxy, party) pair is looked up and must answer
//! as the model says. The store delays, conflicts, fails before or after
//! writing, and the process dies and starts again from what was written.

mod check;
mod operations;
mod rows;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use rows::Rows;

use super::*;
use crate::engine::directory::headroom::Home;
use crate::engine::directory::pool::ImportLine;
use crate::engine::ids::ErasureId;
use crate::engine::io::Change as Stored;
use crate::engine::io::RekeyStep;
use crate::engine::number::Country;
use crate::engine::privacy::tests::random;
use crate::engine::privacy::{Epoch, Erasure, Keyring, SealedParty, Vault, VaultId, WrappedKey};

const POOL: [&str; 4] = ["+14155550100", "+14155550101", "+12125550102", "+442079460003"];
/// Operations of one history.
const STEPS: u64 = 300;
/// Numbers that come and go.
const MORE: [&str; 3] = ["+14155550104", "+13105550105", "+442079460006"];
const PARTIES: [&str; 6] =
    ["+12125551200", "+13105550147", "+442079460999", "+14155550199", "77@pbx", "78@pbx"];

type Pair = (ProxyNumber, PartyAddress);

struct Simulation {
    random: ChaCha8Rng,
    config: Arc<Config>,
    now: Now,
    /// Every pair that there can be.
    pairs: Vec<Pair>,
    directory: Directory,
    /// The key file.
    keyring: Keyring,
    /// What the keeper runs on.
    vault: Arc<Vault>,
    /// Whether the store needs an epoch before this one is still to be seen.
    looks: Option<Epoch>,
    written: Rows,
    acknowledged: Rows,
    in_flight: VecDeque<(CommitId, Transaction)>,
    asked: BTreeSet<RequestId>,
    calls: Vec<BindingId>,
    next: u64,
    answers: BTreeMap<&'static str, u32>,
    last_reply: Option<AdminReply>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut config = config();
        config.bindings.usual.time_to_live = Duration::from_secs(40);
        config.bindings.usual.callback_window = Duration::from_secs(20);
        config.bindings.cool_off = Duration::from_secs(30);
        config.limits.pending_commits = 12;
        config.bindings.usual.on_tombstone =
            if seed.is_multiple_of(2) { OnTombstone::Reopen } else { OnTombstone::Connect };
        let config = Arc::new(config);
        let parties = PARTIES.map(|party| parse::party("customer", &Typed(party.into()), &config).unwrap());
        let pairs = POOL
            .iter()
            .chain(&MORE)
            .flat_map(|proxy| parties.clone().map(|party| (proxy.parse().unwrap(), party)));
        let keyring = Keyring::generate(&mut random(seed));
        let (vault, made) = Vault::open(&keyring, &[], &mut random(seed)).unwrap();
        let vault = Arc::new(vault);
        let rows = Rows::new(&vault, made.unwrap());
        let mut simulation = Self {
            pairs: pairs.collect(),
            random: ChaCha8Rng::seed_from_u64(seed),
            directory: Directory::new(
                Arc::clone(&config),
                Arc::clone(&vault),
                [1; 32],
                at(0),
                Snapshot::default(),
            ),
            keyring,
            vault,
            looks: None,
            config,
            now: at(0),
            written: rows.clone(),
            acknowledged: rows,
            in_flight: VecDeque::new(),
            asked: BTreeSet::new(),
            calls: Vec::new(),
            next: 0,
            answers: BTreeMap::new(),
            last_reply: None,
        };
        simulation.ask(AdminRequest::Pool(PoolRequest::Add { numbers: POOL.map(new_number).into() }));
        simulation.store_works(true);
        simulation
    }

    fn pick(&mut self, choices: usize) -> usize {
        self.random.random_range(0..choices)
    }

    fn ask(&mut self, request: AdminRequest) {
        self.next += 1;
        let id = RequestId(self.next);
        self.asked.insert(id);
        assert!(self.directory.handle_admin(self.now, id, request).is_none());
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.directory.poll_output() {
            match output {
                Output::Commit(id, transaction) => {
                    self.check_choice(&transaction);
                    self.in_flight.push_back((id, transaction));
                }
                Output::Reply(id, reply) => {
                    assert!(self.asked.remove(&id), "{id:?} was answered twice or never asked");
                    *self.answers.entry(name_of(&reply)).or_default() += 1;
                    self.last_reply = Some(reply);
                }
                Output::Event(Event::BindingReopened { .. }) => {
                    *self.answers.entry("reopened").or_default() += 1;
                }
                Output::Event(_) => {}
                Output::Rekey(step) => self.keep_keys(step),
                Output::Certify(erasures) => {
                    *self.answers.entry("certified").or_default() += 1;
                    let ids = erasures.iter().map(|erasure| erasure.id).collect();
                    self.directory.certified(self.now, ids);
                }
                other => panic!("{other:?} is not the directory's to put out"),
            }
        }
    }

    fn change_keys(&mut self) {
        if self.pick(3) == 0 {
            return self.ask(AdminRequest::VaultRotate);
        }
        let person = Typed(PARTIES[self.pick(6)].into());
        self.ask(AdminRequest::PrivacyErase { person: person.clone() });
        self.ask(AdminRequest::PrivacyShow { person, after: None });
    }

    /// As the keeper of the daemon does.
    fn keep_keys(&mut self, step: RekeyStep) {
        match step {
            RekeyStep::Wanted if self.pick(8) == 0 => {
                let problem = refusal(RefusalKind::Unavailable, "the key file cannot be written", "");
                self.directory.epoch_refused(self.now, problem);
            }
            RekeyStep::Wanted => {
                assert_eq!(self.keyring.epochs().count(), 1, "one change at a time");
                self.keyring.add_epoch(&mut self.random).unwrap();
                let new = self.vault.begin(&self.keyring, &mut self.random).unwrap();
                self.vault = Arc::clone(&new.vault);
                self.directory.begin_epoch(self.now, Arc::new(new));
            }
            RekeyStep::Began(_) => {}
            RekeyStep::Resealed(epoch) => self.looks = Some(epoch),
            RekeyStep::Ended(before) => {
                self.vault = Arc::new(self.vault.without_before(before));
                self.keyring.destroy_before(before);
                assert_eq!(self.written.sealed_before(before), 0, "a number is lost");
                *self.answers.entry("rotated").or_default() += 1;
            }
        }
    }

    fn look(&mut self) {
        if let Some(epoch) = self.looks.take_if(|epoch| self.written.sealed_before(*epoch) == 0) {
            self.directory.end_epochs(self.now, epoch);
            self.drain();
        }
    }

    fn step(&mut self) {
        match self.pick(100) {
            0..32 => self.create(),
            32..33 => self.agents(),
            35..45 => self.close(),
            45..65 => self.store_works(false),
            65..80 => self.wait(),
            80..87 => self.call(),
            87..92 => self.hang_up(),
            92..93 => self.look_around(),
            33..35 | 93..96 => self.change_pool(),
            96..97 => self.change_keys(),
            97..98 => self.store_works(true),
            _ => self.crash(),
        }
        self.check();
    }

    /// Answers some commits, in order; well or with every kind of trouble.
    fn store_works(&mut self, well: bool) {
        let count = if well { usize::MAX } else { self.pick(4) };
        for _ in 0..count {
            let Some((id, transaction)) = self.in_flight.pop_front() else { break };
            match if well { 9 } else { self.pick(10) } {
                0 => self.directory.handle_conflict(self.now, id),
                1 => self.directory.handle_commit_failed(self.now, id, "the disk is gone"),
                2 => {
                    self.write(&transaction);
                    self.directory.handle_commit_failed(self.now, id, "the disk is slow");
                }
                _ => {
                    self.write(&transaction);
                    self.acknowledged.apply(&transaction);
                    self.directory.handle_committed(self.now, id);
                }
            }
            self.drain();
        }
    }

    fn write(&mut self, transaction: &Transaction) {
        for change in &transaction.changes {
            if let Stored::EndEpochs(before) = change {
                assert_eq!(self.written.sealed_before(*before), 0, "a number would be lost");
            }
        }
        self.written.apply(transaction);
    }

    fn wait(&mut self) {
        self.look();
        let next = self.directory.poll_timeout().map(|(due, _)| due.saturating_since(self.now.mono));
        let pause = match self.pick(3) {
            0 => Duration::from_secs(1),
            _ => next.unwrap_or(Duration::from_secs(1)),
        };
        self.now = self.now.after(pause);
        self.directory.handle_timeout(self.now);
        self.drain();
    }

    /// A call begins, in time or late.
    fn call(&mut self) {
        let found: Vec<_> = self
            .pairs
            .iter()
            .filter_map(|pair| match self.directory.lookup(&pair.0, &pair.1) {
                Lookup::Live(found) => Some((found.binding, false)),
                Lookup::Entombed(found) => Some((found.binding, true)),
                Lookup::Unknown => None,
            })
            // A tombstone that is on its way out is held by nobody any more.
            .filter(|(id, _)| match self.directory.binding(*id).map(|binding| binding.state) {
                Some(BindingState::Entombed { until, .. }) => until > self.now.wall,
                Some(BindingState::Live { .. }) | None => true,
            })
            .collect();
        if !found.is_empty() {
            let (call, late) = found[self.pick(found.len())];
            self.directory.begin_call(self.now, call);
            *self.answers.entry(if late { "called late" } else { "called" }).or_default() += 1;
            self.calls.push(call);
            self.drain();
        }
    }

    fn hang_up(&mut self) {
        if !self.calls.is_empty() {
            let at = self.pick(self.calls.len());
            let binding = self.calls.swap_remove(at);
            self.directory.release(self.now, binding);
        }
    }

    /// The process dies: its calls and its unanswered requests die with it.
    fn crash(&mut self) {
        // Whatever had reached the store's queue is written or not.
        while self.pick(2) == 0 {
            let Some((_, transaction)) = self.in_flight.pop_front() else { break };
            self.write(&transaction);
        }
        self.in_flight.clear();
        self.asked.clear();
        self.calls.clear();
        self.acknowledged = self.written.clone();
        let seed = self.random.random();
        self.looks = None;
        let stored: Vec<WrappedKey> = self.written.data_keys.values().cloned().collect();
        let (vault, made) = Vault::open(&self.keyring, &stored, &mut self.random).unwrap();
        self.vault = Arc::new(vault);
        self.written.data_keys.extend(made.map(|made| (made.epoch, made)));
        self.written.vault = Arc::clone(&self.vault);
        self.acknowledged = self.written.clone();
        // What a keeper before did not come to.
        self.keyring.destroy_before(self.vault.epochs().next().unwrap());
        let (config, vault) = (Arc::clone(&self.config), Arc::clone(&self.vault));
        self.directory = Directory::new(config, vault, seed, self.now, self.written.snapshot());
        assert_eq!(self.directory.counts.dropped_at_start, 0);
        self.drain();
    }
}

fn name_of(reply: &AdminReply) -> &'static str {
    match reply {
        AdminReply::Bound { reused: false, .. } => "created",
        AdminReply::Bound { reused: true, .. } => "reused",
        AdminReply::Refused(Refusal { kind, .. }) => match kind {
            RefusalKind::Invalid => "invalid",
            RefusalKind::NotFound => "not found",
            RefusalKind::Conflict => "conflict",
            RefusalKind::Exhausted => "exhausted",
            RefusalKind::Unavailable => "unavailable",
            RefusalKind::Forbidden => "forbidden",
        },
        AdminReply::Pool(PoolReply::Added { .. }) => "added",
        AdminReply::Pool(PoolReply::Removed(_)) => "removed",
        AdminReply::Pool(PoolReply::StateSet { .. }) => "set",
        AdminReply::Pool(PoolReply::Imported(_)) => "imported",
        AdminReply::Agent(AgentReply::Opened { .. }) => "opened",
        AdminReply::Agent(_) | AdminReply::Pool(_) | AdminReply::Bindings(_) | AdminReply::Binding(_) => {
            "shown"
        }
        AdminReply::Vault(_)
        | AdminReply::Rotating { .. }
        | AdminReply::Person(_)
        | AdminReply::Retention(_) => "counted",
        AdminReply::Erasing(_) => "erased",
        AdminReply::Trunks(_)
        | AdminReply::Calls(_)
        | AdminReply::Call(_)
        | AdminReply::HungUp(_)
        | AdminReply::Resolved(_)
        | AdminReply::Drain { .. }
        | AdminReply::Counters(_)
        | AdminReply::Noted
        | AdminReply::Unmask(_)
        | AdminReply::Guard(_) => {
            panic!("not the directory's answer")
        }
    }
}

/// How many histories are played: `VIZARD_MODEL_OPS` says how many operations they
/// have in all.
#[expect(clippy::disallowed_methods, reason = "how long a test takes is asked of whoever runs it")]
fn histories() -> u64 {
    let asked = std::env::var("VIZARD_MODEL_OPS").ok();
    let operations = asked.map_or(36_000, |asked| asked.parse().expect("VIZARD_MODEL_OPS is a number"));
    operations / STEPS
}

#[test]
fn random_histories_keep_the_directory_true_to_its_model() {
    let mut answers: BTreeMap<&'static str, u32> = BTreeMap::new();
    for seed in 0..histories() {
        let mut simulation = Simulation::new(seed);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                simulation.step();
            }
            simulation.end()
        }));
        match run {
            Ok(more) => more.into_iter().for_each(|(name, count)| *answers.entry(name).or_default() += count),
            Err(panic) => {
                eprintln!("seed {seed} fails");
                std::panic::resume_unwind(panic);
            }
        }
    }
    // The histories reach everything that they are meant to reach.
    let asked_often =
        ["created", "reused", "invalid", "not found", "conflict", "exhausted", "unavailable", "shown"];
    let asked_at_times = [
        "removed",
        "set",
        "imported",
        "rotated",
        "erased",
        "certified",
        "opened",
        "met",
        "shared",
        "called",
        "called late",
        "reopened",
    ];
    let least = asked_often.map(|name| (name, 100)).into_iter().chain(asked_at_times.map(|name| (name, 10)));
    for (name, least) in least {
        assert!(
            answers.get(name).is_some_and(|&count| count > least),
            "too few answers {name:?}: {answers:?}"
        );
    }
}
