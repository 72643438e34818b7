//! The log against those who tamper with it, and against a store that fails.

mod restores;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::acts::{self, Note, holds_number, plain};
use super::entry::Proof;
use super::*;
use crate::engine::admin::{AdminReply, AdminRequest, RefusalKind};
use crate::engine::ids::{BindingId, SessionId};
use crate::engine::io::{Change, CommitId, Output, RequestId, Transaction};
use crate::engine::privacy::tests::{asker, random, vault};
use crate::engine::privacy::{Digest, Keyring, Vault};
use crate::engine::time::{Instant, Now, Timestamp};

/// Of a request that is about nobody.
fn noted(request: &AdminRequest) -> Option<Note> {
    acts::noted(request, |_| Vec::new())
}

fn at(seconds: u64) -> Now {
    let wall = Timestamp::from_unix_microseconds(1_000_000 * i64::try_from(seconds).unwrap());
    Now { mono: Instant::after_origin(Duration::from_secs(seconds)), wall }
}

fn request(number: u64) -> AdminRequest {
    AdminRequest::BindClose { id: BindingId::from_bits(number.into()) }
}

/// A log and the store that it is written to.
struct World {
    ledger: Ledger,
    now: u64,
    stored: BTreeMap<u64, Entry>,
    anchor: Anchor,
    /// Commits that are not answered yet.
    open: Vec<(CommitId, Transaction)>,
    /// Requests that may go on, and those that were refused.
    done: Vec<u64>,
    refused: Vec<(u64, RefusalKind)>,
    /// Whose denial is noted.
    said: Vec<u64>,
    asked: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            ledger: Ledger::new(
                Arc::clone(vault().notary()),
                at(0),
                &Snapshot { anchor: Some(Anchor::default()), ..Snapshot::default() },
            ),
            now: 0,
            stored: BTreeMap::new(),
            anchor: Anchor::default(),
            open: Vec::new(),
            done: Vec::new(),
            refused: Vec::new(),
            said: Vec::new(),
            asked: 0,
        };
        world.drain();
        world
    }

    /// A log of so many acts.
    fn of(acts: u64) -> Self {
        let mut world = Self::new();
        for _ in 0..acts {
            world.ask();
            world.take();
        }
        world
    }

    fn snapshot(&self) -> Snapshot {
        let tail = self.stored.values().rev().take(TAIL).rev().cloned().collect();
        let last = self.stored.keys().next_back().copied().unwrap_or(0);
        Snapshot { tail, last, anchor: Some(self.anchor) }
    }

    /// The process dies and another one goes on.
    fn restart(&mut self, snapshot: &Snapshot) {
        self.open.clear();
        self.ledger = Ledger::new(Arc::clone(vault().notary()), at(self.now), snapshot);
        self.drain();
    }

    fn ask(&mut self) {
        self.asked += 1;
        let (id, request) = (RequestId(self.asked), request(self.asked));
        let note = noted(&request).unwrap();
        self.ledger.note(at(self.now), note, Next { id, asker: asker(), request });
        self.drain();
    }

    /// The store takes what is open.
    fn take(&mut self) {
        for (id, transaction) in std::mem::take(&mut self.open) {
            self.write(&transaction);
            self.anchor = Anchor::at(self.stored.values().next_back().unwrap());
            let next = self.ledger.handle_committed(at(self.now), id);
            self.done.extend(next.into_iter().map(|(_, next)| next.id.0));
        }
        self.drain();
    }

    /// The store fails; what it was given may be written all the same.
    fn fail(&mut self, written: bool) {
        for (id, transaction) in std::mem::take(&mut self.open) {
            if written {
                self.write(&transaction);
            }
            self.ledger.handle_commit_failed(at(self.now), id, "disk full");
        }
        self.drain();
    }

    fn write(&mut self, transaction: &Transaction) {
        for change in &transaction.changes {
            let Change::PutAudit(entry) = change else { panic!("{change:?}") };
            if let Some(before) = self.stored.insert(entry.seq, (**entry).clone()) {
                assert_eq!(before, **entry, "an entry is never written over");
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        self.ledger.handle_timeout(at(self.now));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.ledger.poll_output() {
            match output {
                Output::Commit(id, transaction) => {
                    assert!(Ledger::owns(id) && self.open.is_empty(), "one commit at a time");
                    self.open.push((id, transaction));
                }
                Output::Reply(id, AdminReply::Refused(refusal)) => self.refused.push((id.0, refusal.kind)),
                Output::Reply(id, AdminReply::Noted) => self.said.push(id.0),
                Output::Event(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn verify(&self) -> Verification {
        verify(self.stored.iter().map(|(&seq, entry)| (seq, entry.clone())), self.anchor)
    }
}

/// A sealed log of so many acts, and its anchor.
pub(crate) fn log(acts: u64) -> (Vec<Entry>, Anchor) {
    let mut world = World::of(acts);
    world.ledger.close(at(1));
    world.drain();
    world.take();
    (world.stored.into_values().collect(), world.anchor)
}

fn verify(log: impl IntoIterator<Item = (u64, Entry)>, anchor: Anchor) -> Verification {
    let vault = vault();
    let mut verifier = Verifier::new(vault.notary(), Ok(anchor));
    for (seq, entry) in log {
        verifier.take(seq, Ok(entry));
    }
    verifier.finish()
}

#[test]
fn what_waits_goes_on_once_its_entry_is_durable() {
    let mut world = World::new();
    world.ask();
    world.ask();
    world.ask();
    assert!(world.done.is_empty(), "nothing is done before it is noted");
    world.take();
    assert_eq!(world.done, [1], "one commit at a time, the others go together");
    world.take();
    assert_eq!(world.done, [1, 2, 3]);
    let verification = world.verify();
    assert_eq!((verification.entries, verification.found), (3, 0), "{verification:?}");
}

#[test]
fn a_segment_is_sealed_when_it_is_full_when_it_is_old_and_at_the_end() {
    let mut world = World::of(300);
    let seals = |world: &World| world.stored.values().filter(|entry| entry.act == Act::Seal).count();
    assert_eq!(seals(&world), 1);
    world.pass(3_599);
    assert!(world.open.is_empty());
    world.pass(1);
    world.take();
    assert_eq!(seals(&world), 2);
    assert_eq!(world.ledger.poll_timeout(), None, "an idle log needs no seal");
    world.ask();
    world.take();
    world.ledger.close(at(world.now));
    world.drain();
    world.take();
    world.ledger.close(at(world.now));
    world.drain();
    assert!(world.open.is_empty() && world.ledger.pending() == 0);
    let verification = world.verify();
    assert_eq!((verification.seals, verification.found), (3, 0));
    assert_eq!(verification.sealed, verification.head);
}

#[test]
fn a_store_that_fails_refuses_what_waits_and_loses_no_entry() {
    for written in [false, true] {
        let mut world = World::of(2);
        world.ask();
        world.fail(written);
        assert_eq!(world.refused, [(3, RefusalKind::Unavailable)]);
        // It is written again by itself, as it was.
        world.pass(1);
        assert_eq!(world.open.len(), 1);
        world.ask();
        world.fail(written);
        world.take();
        assert_eq!(world.done, [1, 2, 4]);
        assert_eq!((world.verify().entries, world.verify().found), (4, 0));
    }
}

#[test]
fn who_may_not_is_noted_and_cannot_fill_the_log() {
    let mut world = World::new();
    let nobody = |user| crate::engine::privacy::Asker { user, name: None, role: None };
    for attempt in 0..100 {
        world.ledger.deny(at(attempt), RequestId(attempt), noted(&request(7)).unwrap(), nobody(61));
        world.drain();
        world.take();
    }
    world.ledger.deny(at(100), RequestId(100), noted(&request(8)).unwrap(), nobody(62));
    world.drain();
    world.take();
    assert_eq!(world.stored.len(), 21, "one user has no share in another's");
    let noted: Vec<u64> = (0..20).chain([100]).collect();
    assert_eq!((&world.said, world.refused.len()), (&noted, 80), "each hears of its own entry");
    let last = world.stored.values().next_back().unwrap();
    assert_eq!(
        (last.act, last.on.as_str()),
        (Act::Denied, format!("bind-close {}", BindingId::from_bits(8)).as_str())
    );
    assert_eq!(world.verify().found, 0);
}

#[test]
fn entries_that_wait_have_a_bound() {
    let mut world = World::new();
    for _ in 0..600 {
        world.ask();
    }
    assert!(world.refused.len() >= 80, "{}", world.refused.len());
    world.take();
    world.take();
    assert_eq!(world.verify().found, 0);
    assert_eq!(world.done.len() + world.refused.len(), 600);
}

#[test]
fn a_log_that_was_cut_off_goes_on_behind_its_anchor_and_the_gap_stays() {
    let mut world = World::of(10);
    world.stored.split_off(&7);
    let snapshot = world.snapshot();
    world.restart(&snapshot);
    world.take();
    let mend = world.stored.values().next_back().unwrap();
    assert_eq!((mend.seq, mend.act), (11, Act::Mend));
    world.ask();
    world.take();
    let findings = world.verify().findings;
    assert_eq!(findings, [Finding::Missing { first: 7, last: 10 }]);
}

#[test]
fn an_anchor_that_is_gone_or_of_another_past_is_told() {
    for anchor in [None, Some(Anchor { seq: 3, digest: Digest::of(b"another") })] {
        let mut world = World::of(5);
        let snapshot = Snapshot { anchor, ..world.snapshot() };
        world.restart(&snapshot);
        world.take();
        let mend = world.stored.values().next_back().unwrap();
        assert_eq!((mend.seq, mend.act), (6, Act::Mend), "{anchor:?}");
    }
    let world = World::of(5);
    let log = world.stored.clone();
    let vault = vault();
    let mut verifier = Verifier::new(vault.notary(), Err("its anchor is not there".into()));
    for (seq, entry) in log {
        verifier.take(seq, Ok(entry));
    }
    assert!(matches!(verifier.finish().findings.as_slice(), [Finding::NoAnchor { .. }]));
}

#[test]
fn a_death_between_entry_and_anchor_is_no_loss() {
    let mut world = World::of(5);
    let anchor = world.anchor;
    world.ask();
    let open = world.open[0].1.clone();
    world.write(&open);
    let snapshot = Snapshot { anchor: Some(anchor), ..world.snapshot() };
    world.restart(&snapshot);
    assert!(world.open.is_empty(), "there is nothing to mend");
    world.ask();
    world.take();
    assert_eq!((world.verify().entries, world.verify().found), (7, 0));
    // What a process left unsealed is sealed soon.
    world.pass(60);
    world.take();
    assert_eq!(world.verify().sealed, 8);
}

/// How somebody with the store and without the keys tampers with it.
#[derive(Clone, Debug)]
enum Tampering {
    Edit {
        at: usize,
        field: usize,
    },
    Remove {
        at: usize,
        many: usize,
    },
    Cut {
        many: usize,
    },
    Swap {
        one: usize,
        other: usize,
    },
    Copy {
        from: usize,
        to: usize,
    },
    /// An entry of the attacker's own, chained as it should be, at the end or within.
    Forge {
        at: usize,
        rechain: bool,
    },
    /// The end of the log, replaced by what it once was.
    Rewind {
        many: usize,
    },
    /// The same within: what follows stays as it is.
    Splice {
        at: usize,
    },
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let at = 0_usize..1_000;
    prop_oneof![
        (at.clone(), 0..9_usize).prop_map(|(at, field)| Tampering::Edit { at, field }),
        (at.clone(), 1..5_usize).prop_map(|(at, many)| Tampering::Remove { at, many }),
        (1..20_usize).prop_map(|many| Tampering::Cut { many }),
        (at.clone(), at.clone()).prop_map(|(one, other)| Tampering::Swap { one, other }),
        (at.clone(), at.clone()).prop_map(|(from, to)| Tampering::Copy { from, to }),
        (at.clone(), any::<bool>()).prop_map(|(at, rechain)| Tampering::Forge { at, rechain }),
        (1..20_usize).prop_map(|many| Tampering::Rewind { many }),
        at.prop_map(|at| Tampering::Splice { at }),
    ]
}

/// Changes one field; any of them.
fn edit(entry: &mut Entry, field: usize) {
    match field {
        0 => entry.at = entry.at + Duration::from_micros(1),
        1 => entry.who = Who::User(crate::engine::privacy::Asker { user: 0, ..asker() }),
        2 => entry.act = if entry.act == Act::BindClose { Act::BindExtend } else { Act::BindClose },
        3 => entry.on.push('x'),
        4 => entry.reason.push('x'),
        5 => entry.before.0[7] ^= 1,
        6 => entry.proof.tag[3] ^= 1,
        7 => entry.proof.signature = entry.proof.signature.is_none().then_some([7; 64]),
        _ => entry.seq += 1,
    }
}

/// Another past, which went on from the first so many entries: written by this very
/// vault, as in a store that was restored and worked on.
fn another_past(log: &BTreeMap<u64, Entry>, kept: usize) -> BTreeMap<u64, Entry> {
    let mut world = World::new();
    world.stored = log.clone();
    world.stored.split_off(&(u64::try_from(kept).unwrap() + 1));
    world.anchor = world.stored.values().next_back().map(Anchor::at).unwrap_or_default();
    world.now = 7;
    let snapshot = world.snapshot();
    world.restart(&snapshot);
    for _ in kept..log.len() {
        world.ask();
        world.take();
    }
    world.stored
}

fn tamper(log: &BTreeMap<u64, Entry>, tampering: &Tampering) -> BTreeMap<u64, Entry> {
    let mut log = log.clone();
    let count = log.len();
    let key = |at: usize| u64::try_from(at % count).unwrap() + 1;
    match *tampering {
        Tampering::Edit { at, field } => edit(log.get_mut(&key(at)).unwrap(), field),
        Tampering::Remove { at, many } => {
            (at..at + many).for_each(|at| drop(log.remove(&key(at))));
        }
        Tampering::Cut { many } => (0..many).for_each(|_| drop(log.pop_last())),
        Tampering::Swap { one, other } => {
            let (one, other) = (key(one), key(other));
            let (first, second) = (log[&one].clone(), log[&other].clone());
            log.extend([(one, second), (other, first)]);
        }
        Tampering::Copy { from, to } => {
            let copy = log[&key(from)].clone();
            log.insert(key(to), copy);
        }
        Tampering::Forge { at, rechain } => {
            let thief = Vault::open(&Keyring::generate(&mut random(99)), &[], &mut random(98)).unwrap().0;
            let at = u64::try_from(at % (count + 1)).unwrap() + 1;
            let before = log.get(&(at - 1)).map_or(Digest::default(), Entry::digest);
            let mut forged = log.values().next().unwrap().clone();
            (forged.seq, forged.before, forged.on) = (at, before, "bind_forged".to_owned());
            log.insert(at, forged.proven(thief.notary()));
            let mut last = at;
            while rechain && log.contains_key(&(last + 1)) {
                let before = log[&last].digest();
                let next = log.get_mut(&(last + 1)).unwrap();
                next.before = before;
                *next = next.clone().proven(thief.notary());
                last += 1;
            }
        }
        Tampering::Rewind { many } => log = another_past(&log, count.saturating_sub(many)),
        Tampering::Splice { at } => {
            let at = at % count;
            let other = another_past(&log, at);
            log.insert(key(at), other[&key(at)].clone());
        }
    }
    log
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever is edited, removed, put in, moved or cut off is found.
    #[test]
    fn tampering_is_found(acts in 1..40_u64, seal in any::<bool>(), tampering in tampering()) {
        let mut world = World::of(acts);
        if seal {
            world.ledger.close(at(1));
            world.drain();
            world.take();
        }
        prop_assert_eq!(world.verify().found, 0);
        let tampered = tamper(&world.stored, &tampering);
        let verification = verify(tampered.clone(), world.anchor);
        if tampered == world.stored {
            prop_assert_eq!(verification.found, 0);
        } else {
            prop_assert!(verification.found > 0, "not found: {:?} of {}", tampering, acts);
        }
    }

    /// Whatever the store does, whenever the process dies: the log is whole, and
    /// what went on is in it.
    #[test]
    fn no_failure_breaks_the_chain(steps in proptest::collection::vec(0..8_u8, 1..120)) {
        let mut world = World::new();
        for step in steps {
            match step {
                0..=2 => world.ask(),
                3 | 4 => world.take(),
                5 => world.fail(false),
                6 => world.fail(true),
                _ => {
                    if let Some((_, open)) = world.open.first().cloned() {
                        world.write(&open);
                    }
                    let snapshot = world.snapshot();
                    world.restart(&snapshot);
                }
            }
            world.pass(1);
            prop_assert_eq!(world.verify().found, 0, "{:?}", world.verify().findings);
            for request in &world.done {
                let on = BindingId::from_bits((*request).into()).to_string();
                prop_assert!(world.stored.values().any(|entry| entry.on == on), "request {} is not noted", request);
            }
        }
        prop_assert!(world.stored.values().all(|entry| entry.act != Act::Mend));
    }
}

#[test]
fn an_act_keeps_its_word() {
    for &act in Act::ALL {
        assert_eq!(Act::named(act.as_str()), Some(act));
        assert_eq!(serde_json::to_value(act).unwrap(), act.as_str());
    }
}

/// Digests are in logs out there.
#[test]
fn a_digest_never_changes() {
    let entry = Entry {
        seq: 1,
        at: Timestamp::from_unix_microseconds(5),
        who: Who::User(asker()),
        act: Act::BindClose,
        on: "bind_x".into(),
        reason: String::new(),
        before: Digest::default(),
        proof: Proof::default(),
    };
    assert_eq!(
        entry.digest().to_string(),
        "c3fa4787e2dba41ca2297090961fbdfee169ee296cb7dac266485c63552b64d9"
    );
    // A name that is not there and one that is empty are not the same.
    let nameless = |name: Option<&str>| {
        let who = Who::User(crate::engine::privacy::Asker { name: name.map(str::to_owned), ..asker() });
        Entry { who, ..entry.clone() }.digest()
    };
    assert_ne!(nameless(None), nameless(Some("")));
}

#[test]
fn captures_are_noted_by_what_they_show() {
    let session = SessionId::from_bits(1);
    let act = |masked| noted(&AdminRequest::Capture { session, masked }).map(|note| note.act);
    assert_eq!((act(true), act(false)), (Some(Act::Capture), Some(Act::CaptureUnmasked)));
    assert_eq!(noted(&AdminRequest::CallShow { session }), None);
}

#[test]
fn a_phone_number_in_a_reason_is_not_kept() {
    for text in [
        "call +1 212 555 1200",
        "2125551200",
        "(212) 555-1200 complains",
        "06 12 34 56 78",
        "+491515551200x",
        "212.555.1200",
    ] {
        assert!(holds_number(text), "{text}");
        assert!(!plain(text).contains("12"), "{text}");
    }
    for text in [
        "INC0012345",
        "scan of 198.51.100.123 and 2001:db8::/32",
        "since 2026-11-25 14:30",
        "4711 calls, 30 min",
        "",
    ] {
        assert!(!holds_number(text), "{text}");
        assert_eq!(plain(text), text);
    }
    assert_eq!(Note::new(Act::Seal, 1).because("a\nb").reason, "a b");
    assert_eq!(plain(&"x".repeat(1_000)).len(), 200);
}
