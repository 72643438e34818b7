//! Copies of a store that is being written, and stores made of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::engine::privacy::Keyring;
use crate::store::{BackupSource, Copied, SledStore, Store};

pub(in crate::store) fn copy(source: &dyn BackupSource) -> (Copied, Vec<u8>) {
    let mut bytes = Vec::new();
    let copied = source.copy(&mut |piece| {
        bytes.extend_from_slice(piece);
        true
    });
    (copied.unwrap(), bytes)
}

fn restore(path: &Path, bytes: &[u8]) -> Result<SledStore, StoreError> {
    SledStore::restore(path, &keyring(), &mut { bytes }, &mut random(3), |_| None)?;
    files::reopen(path)
}

#[test]
fn a_restored_copy_is_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("a")).unwrap();
    let changes = vec![Change::PutNumbers([number(1)].into()), Change::PutCall(Box::new(call(1)))];
    let record = one(Change::record(cdr(1, LegName::A, 5)));
    store.commit(&[Transaction { changes }, creation(7), creation(8), record]).unwrap();
    let (copied, bytes) = copy(&*store.copy().unwrap());
    assert!(copied.whole && copied.rows > 10);
    assert!(SledStore::opens_copy(&keyring(), &copied.data_keys).is_ok());
    let restored = restore(&directory.path().join("b"), &bytes).unwrap();
    assert_eq!(restored.load().unwrap(), store.load().unwrap());
    let query = crate::store::CdrQuery { limit: 9, ..Default::default() };
    assert_eq!(restored.reader().cdrs(&query).unwrap(), store.reader().cdrs(&query).unwrap());
    let path = directory.path().join("copy");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("rows"), &bytes).unwrap();
    assert_eq!(secrecy::traces(&path), Vec::<String>::new());
}

/// Each transaction moves one call from one session to the next, so that at every
/// moment there is exactly one.
#[test]
fn a_copy_is_of_one_moment_while_the_store_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("a")).unwrap();
    let filler: Vec<Transaction> = (100..1_500).map(creation).collect();
    store.commit(&filler).unwrap();
    store.commit(&[one(Change::PutCall(Box::new(call(0))))]).unwrap();
    let source = store.copy().unwrap();
    let (over, moves, store) = (AtomicBool::new(false), AtomicU64::new(0), Mutex::new(store));
    let copies = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut at = 0;
            while !over.load(Ordering::Relaxed) {
                let changes = vec![
                    Change::DeleteCall(SessionId::from_bits(at)),
                    Change::PutCall(Box::new(call(at + 1))),
                ];
                store.lock().unwrap().commit(&[Transaction { changes }]).unwrap();
                at += 1;
                moves.fetch_add(1, Ordering::Relaxed);
            }
        });
        let copy_of_later = |_| {
            let before = moves.load(Ordering::Relaxed);
            while moves.load(Ordering::Relaxed) == before {
                std::thread::yield_now();
            }
            copy(&*source)
        };
        let copies: Vec<_> = (0..6).map(copy_of_later).collect();
        over.store(true, Ordering::Relaxed);
        copies
    });
    let mut seen = Vec::new();
    for (at, (copied, bytes)) in copies.into_iter().enumerate() {
        assert!(copied.whole);
        let restored = restore(&directory.path().join(format!("b{at}")), &bytes).unwrap().load().unwrap();
        assert_eq!((restored.calls.len(), restored.directory.bindings.len()), (1, 1_400), "copy {at}");
        seen.push(restored.calls[0].session);
    }
    assert!(seen.is_sorted() && seen[0] != seen[5], "the store was not written meanwhile: {seen:?}");
}

/// What is written behind the scan and what is written before it are both in the
/// copy, or it would be of no moment at all.
#[test]
fn what_is_written_while_a_copy_is_made_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("a")).unwrap();
    let filler: Vec<Transaction> = (100..5_000).map(creation).collect();
    store.commit(&filler).unwrap();
    let source = store.copy().unwrap();
    let (mut pieces, mut bytes) = (0, Vec::new());
    let copied = source.copy(&mut |piece| {
        bytes.extend_from_slice(piece);
        pieces += 1;
        if pieces == 1 {
            // The scan is past bindings and has not come to calls.
            let changes = vec![
                Change::DeleteBinding(BindingId::from_bits(100)),
                Change::PutBinding(binding(99)),
                Change::PutCall(Box::new(call(7))),
            ];
            store.commit(&[Transaction { changes }]).unwrap();
        }
        true
    });
    assert!(copied.unwrap().whole && pieces > 2, "{pieces} pieces");
    let restored = restore(&directory.path().join("b"), &bytes).unwrap().load().unwrap();
    assert!(restored == store.load().unwrap(), "the copy is not the store");
    assert!(restored.directory.bindings.iter().any(|found| found.id == BindingId::from_bits(99)));
}

#[test]
fn one_copy_is_made_at_a_time_and_one_that_nobody_takes_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).unwrap();
    store.commit(&[creation(7)]).unwrap();
    let (first, second) = (store.copy().unwrap(), store.copy().unwrap());
    let refused = first.copy(&mut |_| {
        assert!(second.copy(&mut |_| true).is_err());
        false
    });
    assert!(!refused.unwrap().whole);
    assert!(copy(&*second).0.whole, "the first one has ended");
}

#[test]
fn nothing_is_made_of_a_copy_that_is_cut_changed_or_of_other_keys() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("a")).unwrap();
    store.commit(&[creation(7)]).unwrap();
    let (copied, bytes) = copy(&*store.copy().unwrap());
    let target = directory.path().join("b");
    let left = || {
        std::fs::read_dir(&target)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name() != "lock")
            .count()
    };
    for end in [1, 5, 40, bytes.len() - 1] {
        assert!(restore(&target, &bytes[..end]).is_err(), "cut at {end}");
        assert_eq!(left(), 0, "cut at {end}");
    }
    // In a party's sealed address.
    let sealed = store.load().unwrap().directory.parties[0].sealed.bytes().to_vec();
    let at = bytes.windows(sealed.len()).position(|window| window == sealed).unwrap();
    let mut changed = bytes.clone();
    changed[at] ^= 1;
    let error = restore(&target, &changed).err().unwrap().to_string();
    assert!(error.contains("not sealed by this store's vault") && left() == 0, "{error}");

    let foreign = Keyring::generate(&mut random(77));
    let error = SledStore::opens_copy(&foreign, &copied.data_keys).unwrap_err().to_string();
    assert!(error.contains("does not belong to this store"), "{error}");
    let error =
        SledStore::restore(&target, &foreign, &mut bytes.as_slice(), &mut random(3), |_| None).unwrap_err();
    assert!(matches!(error, StoreError::Vault { .. }) && left() == 0, "{error}");

    drop(restore(&target, &bytes).unwrap());
    let error = restore(&target, &bytes).err().unwrap().to_string();
    assert!(error.contains("there is a store already"), "{error}");
}
