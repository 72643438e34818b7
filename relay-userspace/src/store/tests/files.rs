//! Opening sled's files: in use, damaged, forbidden, of another version.

use super::*;
use crate::store::{SledStore, Store, StoreError};

#[test]
fn a_store_in_use_names_the_process_that_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(directory.path()).unwrap();
    let error = SledStore::open(directory.path()).err().unwrap();
    let StoreError::InUse { by, .. } = &error else { panic!("{error}") };
    assert!(by.starts_with(&format!("process {} (", std::process::id())), "{by}");
    drop(store);
    SledStore::open(directory.path()).unwrap();
}

#[test]
fn everything_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(directory.path()).unwrap();
    store.commit(&[one(Change::PutNumber(number(1))), creation(7)]).unwrap();
    let before = store.load().unwrap();
    drop(store);
    assert_eq!(SledStore::open(directory.path()).unwrap().load().unwrap(), before);
    assert_eq!(before.bindings, [binding(7)]);
}

#[test]
fn a_path_that_cannot_be_used_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = SledStore::open(&path).err().unwrap();
        let StoreError::Open { problem, .. } = &error else { panic!("{error}") };
        assert!(problem.contains("a file is in the way"), "{problem}");
    }
}

#[test]
fn a_damaged_store_is_not_taken_for_a_new_one() {
    for name in ["directory", "cdrs"] {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SledStore::open(directory.path()).unwrap();
        store.commit(&[creation(7)]).unwrap();
        drop(store);
        let log = directory.path().join(name).join("db");
        let length = std::fs::metadata(&log).unwrap().len();
        std::fs::write(&log, vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
        let error = SledStore::open(directory.path()).err().unwrap();
        let StoreError::Open { problem, .. } = &error else { panic!("{error}") };
        assert!(problem.contains("damaged"), "{problem}");
    }
}

#[test]
fn a_record_that_makes_no_sense_is_named_without_its_party() {
    let directory = tempfile::tempdir().unwrap();
    drop(SledStore::open(directory.path()).unwrap());
    {
        let db = ::sled::open(directory.path().join("directory")).unwrap();
        let key = crate::store::keys::binding(BindingId::from_bits(7));
        db.open_tree("records").unwrap().insert(key, b"\x63").unwrap();
        db.flush().unwrap();
    }
    let error = SledStore::open(directory.path()).unwrap().load().err().unwrap();
    let text = error.to_string();
    assert!(text.contains("bindings") && text.contains("bind_0") && text.contains("version is 99"), "{text}");
}
