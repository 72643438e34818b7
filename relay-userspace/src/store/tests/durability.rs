//! What is acknowledged survives.
//!
//! The tests run this test binary again as a child that commits and says so
//! after each acknowledgement; one kills it, one watches its system calls.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::engine::audit::Entry;
use crate::engine::audit::tests::log;
use crate::store::{AuditQuery, CdrQuery, CommitOutcome, Store};

/// Where the child's store is; without it the child has nothing to do.
const PATH: &str = "VIZARD_TEST_STORE";
/// How many groups the child commits.
const GROUPS: &str = "VIZARD_TEST_GROUPS";
const SAYS: &str = "acknowledged ";

/// Not a test of its own: the process that the tests below start.
#[test]
fn child() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let groups: u128 = std::env::var(GROUPS).unwrap().parse().unwrap();
    let mut store = open(Path::new(&path)).unwrap();
    let noted = log(1).0.remove(0);
    for group in 1..=groups {
        // Both databases, several transactions.
        let transactions = [
            creation(group * 10),
            creation(group * 10 + 1),
            one(Change::PutBinding(ended(group * 10 + 1))),
            creation(group * 10 + 2),
            release(group * 10 + 2),
            one(Change::PutAudit(Box::new(Entry { seq: seq(group), ..noted.clone() }))),
            one(Change::record(cdr(group, LegName::A, 1))),
        ];
        let outcomes = store.commit(&transactions).unwrap();
        assert_eq!(outcomes, [CommitOutcome::Applied; 7]);
        // Past the test harness, which would hold it back.
        let line = format!("{SAYS}{group}\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
    }
}

/// The tombstone of a binding.
fn ended(id: u128) -> Binding {
    Binding { state: BindingState::Entombed { since: time(5), until: time(9) }, ..binding(id) }
}

/// What frees the pairs of a binding and forgets it.
fn release(id: u128) -> Transaction {
    let parties = [binding(id).customer, binding(id).agent];
    let released = parties.iter().map(|party| Change::ReleasePair(claim(party, id)));
    let changes = released
        .chain(rests(id).map(Change::PutRest))
        .chain([Change::DeleteBinding(BindingId::from_bits(id))]);
    Transaction { changes: changes.collect() }
}

/// Since when the pairs of a released binding rest.
fn rests(id: u128) -> [PairRest; 2] {
    [binding(id).customer, binding(id).agent].map(|party| PairRest {
        proxy: party.proxy,
        party: party.id,
        since: time(7),
    })
}

fn seq(group: u128) -> u64 {
    group.try_into().unwrap()
}

fn child_of(command: &mut Command, path: &Path, groups: u32) -> std::process::Child {
    command
        .args(["--exact", "store::tests::durability::child", "--nocapture", "--test-threads=1"])
        .env(PATH, path)
        .env(GROUPS, groups.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    for rounds in [1, 7, 40] {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = child_of(&mut command, directory.path(), 1_000_000);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let acknowledged = lines
            .filter_map(|line| line.split_once(SAYS).and_then(|(_, group)| group.trim().parse::<u128>().ok()))
            .nth(rounds - 1)
            .expect("the child commits");
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(directory.path()).unwrap();
        let directory = store.load().unwrap().directory;
        let found: BTreeMap<_, _> =
            directory.bindings.into_iter().map(|binding| (binding.id, binding)).collect();
        let noted = store.audit().page(&AuditQuery { limit: usize::MAX, ..AuditQuery::default() }).unwrap();
        let noted: BTreeSet<_> = noted.entries.iter().map(|entry| entry.seq).collect();
        let records =
            store.reader().cdrs(&CdrQuery { limit: usize::MAX, ..CdrQuery::default() }).unwrap().cdrs;
        let sessions: BTreeSet<_> = records.iter().map(|cdr| cdr.session).collect();
        for group in 1..=acknowledged {
            assert_eq!(found.get(&BindingId::from_bits(group * 10)), Some(&binding(group * 10)));
            let tombstone = ended(group * 10 + 1);
            assert_eq!(found.get(&tombstone.id), Some(&tombstone), "tombstone of group {group}");
            let released = group * 10 + 2;
            assert!(!found.contains_key(&BindingId::from_bits(released)), "binding of group {group} is back");
            for rest in rests(released) {
                assert!(directory.rests.contains(&rest), "{rest:?} of group {group}");
            }
            assert!(noted.contains(&seq(group)), "audit entry of group {group}");
            assert!(sessions.contains(&SessionId::from_bits(group)), "record of group {group}");
        }
    }
}

/// `flush` alone does not survive a power cut: the file must be synced after
/// its last write and before the acknowledgement.
#[test]
fn each_group_is_synced_before_it_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let store = directory.path().join("store");
    let mut strace = Command::new("strace");
    let calls = "trace=write,pwrite64,pwritev,fdatasync,fsync,sync_file_range";
    strace.args(["-f", "-y", "-s", "64", "-e", calls, "-o"]).arg(&trace);
    strace.arg(std::env::current_exe().unwrap());
    assert!(
        Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok(),
        "strace is not installed, so this test cannot see the order of system calls: \
         run `cargo xtask setup`, or install the package `strace`"
    );
    let output = child_of(&mut strace, &store, 5).wait_with_output().unwrap();
    assert!(output.status.success(), "strace could not run the child: {output:?}");
    let text = std::fs::read_to_string(&trace).unwrap();
    assert_eq!(acknowledgements(&text), Ok(5));
}

/// Counts the acknowledgements in a trace, or says which one came too early.
fn acknowledgements(trace: &str) -> Result<usize, String> {
    let mut unfinished: BTreeMap<&str, &str> = BTreeMap::new();
    // Per log file: whether it was written, or written and synced.
    let mut unsynced: BTreeMap<&str, bool> = BTreeMap::new();
    let mut count = 0;
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or(("", line));
        let call = call.trim_start();
        let began = if let Some((began, _)) = call.split_once("<unfinished") {
            unfinished.insert(thread, began);
            if !began.starts_with("write(1<") {
                continue;
            }
            began
        } else if call.starts_with("<...") {
            unfinished.remove(thread).unwrap_or("")
        } else {
            call
        };
        let file =
            began.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(file, _)| file);
        if began.starts_with("write(1<") && began.contains(SAYS) && !call.starts_with("<...") {
            count += 1;
            if unsynced.len() != 2 || unsynced.values().any(|&unsynced| unsynced) {
                return Err(format!("acknowledgement {count} came with {unsynced:?} (file, unsynced)"));
            }
            unsynced.clear();
        } else if file.ends_with("/db") && began.starts_with("pwrite") {
            unsynced.insert(file, true);
        } else if file.ends_with("/db") && began.starts_with("fdatasync") && call.ends_with("= 0") {
            unsynced.entry(file).and_modify(|unsynced| *unsynced = false);
        }
    }
    Ok(count)
}

#[test]
fn the_reader_of_traces_sees_a_missing_sync() {
    let good = "7 pwrite64(3</s/directory/db>, \"\", 9, 0) = 9\n7 fdatasync(4</s/directory/db>) = 0\n\
                8 pwrite64(5</s/cdrs/db>, \"\" <unfinished ...>\n8 <... pwrite64 resumed>, 9, 0) = 9\n\
                7 fdatasync(6</s/cdrs/db>) = 0\n7 write(1<pipe:[1]>, \"acknowledged 1\\n\", 15) = 15\n";
    assert_eq!(acknowledgements(good), Ok(1));
    assert!(acknowledgements(&good.replace("7 fdatasync(6</s/cdrs/db>) = 0\n", "")).is_err());
    assert!(acknowledgements(&good.replace("= 0\n", "= -1 EIO\n")).is_err());
}
