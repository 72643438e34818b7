//! Opening sled's files: in use, damaged, forbidden, of another version.

use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::store::{SledStore, Store, StoreError};

#[test]
fn a_store_in_use_names_the_process_that_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let error = open(directory.path()).err().unwrap();
    let StoreError::InUse { by, .. } = &error else { panic!("{error}") };
    assert!(by.starts_with(&format!("process {} (", std::process::id())), "{by}");
    drop(store);
    reopen(directory.path()).unwrap();
}

#[test]
fn everything_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).unwrap();
    store.commit(&[one(Change::PutNumbers([number(1)].into())), creation(7)]).unwrap();
    let before = store.load().unwrap();
    drop(store);
    assert_eq!(reopen(directory.path()).unwrap().load().unwrap(), before);
    assert_eq!(before.directory.bindings, [binding(7)]);
}

#[test]
fn a_path_that_cannot_be_used_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = open(&path).err().unwrap();
        let StoreError::Open { problem, .. } = &error else { panic!("{error}") };
        assert!(problem.contains("a file is in the way"), "{problem}");
    }
}

#[test]
fn a_damaged_store_is_not_taken_for_a_new_one() {
    for name in ["directory", "cdrs"] {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path()).unwrap();
        store.commit(&[creation(7)]).unwrap();
        drop(store);
        let log = directory.path().join(name).join("db");
        let length = std::fs::metadata(&log).unwrap().len();
        std::fs::write(&log, vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
        let error = reopen(directory.path()).err().unwrap();
        let StoreError::Open { problem, .. } = &error else { panic!("{error}") };
        assert!(problem.contains("damaged"), "{problem}");
    }
}

#[test]
fn a_record_that_makes_no_sense_is_named_without_its_party() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    {
        let db = once_released(|| ::sled::open(directory.path().join("directory")), |_| true).unwrap();
        let key = crate::store::keys::binding(BindingId::from_bits(7));
        db.open_tree("records").unwrap().insert(key, b"\x63").unwrap();
        db.flush().unwrap();
    }
    let error = reopen(directory.path()).unwrap().load().err().unwrap();
    let text = error.to_string();
    assert!(text.contains("bindings") && text.contains("bind_0") && text.contains("version is 99"), "{text}");
}

pub(in crate::store) fn reopen(path: &Path) -> Result<SledStore, StoreError> {
    once_released(|| open(path), is_held)
}

/// Of the two locks, the store's and sled's, either may be the last to go.
pub(super) fn is_held(error: &StoreError) -> bool {
    match error {
        StoreError::InUse { .. } => true,
        StoreError::Open { problem, .. } => problem.contains("could not acquire lock"),
        StoreError::Io { .. } | StoreError::Vault { .. } | StoreError::Record { .. } => false,
    }
}

/// Opens what this process has just closed. A process that another test is about
/// to start holds a copy of every lock between its fork and its exec.
pub(in crate::store) fn once_released<T, E>(
    open: impl Fn() -> Result<T, E>,
    in_use: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match open() {
            Err(error) if in_use(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}
