//! A store that is copied without its keys yields no number.

use std::fs;

use super::*;
use crate::engine::privacy::{Keyring, VaultError};
use crate::store::{SledStore, Store};

/// The customer's number: as it is dialled, written, and packed.
fn variants() -> Vec<Vec<u8>> {
    let digits = customer().reveal().to_owned();
    let national = digits[1..].to_owned();
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let packed = |text: &str| {
        let nibbles: Vec<u8> = text.bytes().map(|digit| digit - b'0').collect();
        let pair = |pair: &[u8], high: usize| (pair[high] << 4) | pair[1 - high];
        [0, 1].map(|high| nibbles.chunks_exact(2).map(|two| pair(two, high)).collect::<Vec<u8>>())
    };
    let mut variants = vec![digits.clone().into_bytes(), national.clone().into_bytes()];
    for separator in [" ", "-", "."] {
        let (area, rest) = national.split_at(3);
        variants.push([area, &rest[..3], &rest[3..]].join(separator).into_bytes());
    }
    variants.extend([wide(&digits), wide(&national)]);
    variants.extend([
        digits.bytes().rev().collect(),
        national.parse::<u64>().unwrap().to_le_bytes()[..5].to_vec(),
    ]);
    variants.push(national.parse::<u64>().unwrap().to_be_bytes()[3..].to_vec());
    variants.extend(packed(&digits));
    variants.extend(packed(&national));
    variants
}

/// The files below a path in which a variant of the customer's number stands.
pub(in crate::store) fn traces(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(traces(&path));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let holds = |variant: &Vec<u8>| bytes.windows(variant.len()).any(|window| window == variant);
        found.extend(variants().iter().filter(|variant| holds(variant)).map(|_| path.display().to_string()));
    }
    found
}

#[test]
fn no_byte_of_a_store_is_a_party_s_number() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).unwrap();
    let rest = PairRest { proxy: number(1).number, party: CUSTOMER, since: time(1) };
    for id in 0..200 {
        let call = Change::PutCall(Box::new(call(id)));
        store.commit(&[creation(id), one(call), one(Change::PutRest(rest))]).unwrap();
    }
    let over = |id: u128| one(Change::DeleteCall(SessionId::from_bits(id)));
    store.commit(&(0..100).map(over).collect::<Vec<_>>()).unwrap();
    drop(store);
    assert_eq!(traces(directory.path()), Vec::<String>::new());
    // The search finds what is there.
    for variant in variants() {
        fs::write(directory.path().join("leak"), &variant).unwrap();
        assert!(!traces(directory.path()).is_empty(), "{variant:?}");
    }
}

#[test]
fn another_vault_s_keys_open_nothing_and_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).unwrap();
    store.commit(&[creation(7)]).unwrap();
    let before = store.load().unwrap();
    drop(store);
    let foreign = Keyring::generate(&mut random(77));
    let error = files::once_released(
        || SledStore::open(directory.path(), &foreign, &mut random(3)),
        |error| !matches!(error, StoreError::Vault { .. }),
    );
    let Err(StoreError::Vault { problem, .. }) = error else { panic!("it opened, or failed otherwise") };
    assert!(matches!(problem, VaultError::WrongKey { .. }), "{problem}");
    let store = files::reopen(directory.path()).unwrap();
    assert_eq!(store.load().unwrap(), before);
}

#[test]
fn a_sealed_record_that_was_changed_is_named_and_nothing_is_guessed() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).unwrap();
    store.commit(&[creation(7), one(Change::PutCall(Box::new(call(1))))]).unwrap();
    drop(store);
    let break_one = |name: &str, key: Vec<u8>| {
        let open = || ::sled::open(directory.path().join(name));
        let db = files::once_released(open, |_| true).unwrap();
        let tree = db.open_tree("records").unwrap();
        let mut bytes = tree.get(&key).unwrap().unwrap().to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        tree.insert(key, bytes).unwrap();
        db.flush().unwrap();
    };
    break_one("cdrs", crate::store::keys::call(SessionId::from_bits(1)));
    let error = files::reopen(directory.path()).unwrap().load().unwrap_err().to_string();
    assert!(error.contains("calls record sess_0") && error.contains("not sealed by this store"), "{error}");
    break_one("directory", crate::store::keys::party(CUSTOMER));
    let error = files::reopen(directory.path()).unwrap().load().unwrap_err().to_string();
    assert!(error.contains("parties record") && error.contains("backup"), "{error}");
}

/// An older copy of the store is of no use with the key file of after.
#[test]
fn what_is_left_of_an_ended_epoch_is_opened_by_no_later_key_file() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).unwrap();
    store.commit(&[creation(7)]).unwrap();
    let party = store.load().unwrap().directory.parties[0].clone();
    let mut keys = keyring();
    let epoch = keys.add_epoch(&mut random(5)).unwrap();
    let new = store.vault().begin(&keys, &mut random(6)).unwrap();
    store.commit(&[one(Change::BeginEpoch(new.into())), one(Change::EndEpochs(epoch))]).unwrap();
    assert_eq!(store.vault().unseal(party.id, &party.sealed), None);
    drop(store);
    assert!(keys.destroy_before(epoch) && !keys.destroy_before(epoch));
    let reopened =
        files::once_released(|| SledStore::open(directory.path(), &keys, &mut random(3)), files::is_held);
    assert_eq!(reopened.unwrap().vault().unseal(party.id, &party.sealed), None);
    assert!(matches!(SledStore::fits(directory.path(), &keys), Ok(Some(()))));
    let error = SledStore::fits(directory.path(), &keyring()).unwrap_err().to_string();
    assert!(error.contains("key epoch 2, which the key file does not have"), "{error}");
}
