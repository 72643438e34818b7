//! The audit log in the store: read in pages, and no byte of it can be changed
//! unnoticed.

use std::collections::BTreeMap;

use super::*;
use crate::engine::audit::tests::log;
use crate::engine::audit::{Act, Anchor, Entry, Verification, Verifier};
use crate::store::apply::Table;
use crate::store::audit::walk;
use crate::store::{AuditQuery, MemoryStore, Store, keys, record};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn verify(rows: &dyn Table, anchor: Anchor) -> Verification {
    let vault = vault();
    let mut verifier = Verifier::new(vault.notary(), Ok(anchor));
    walk(rows, &mut |seq, entry| verifier.take(seq, entry)).unwrap();
    verifier.finish()
}

fn put(store: &mut dyn Store, entries: &[Entry]) {
    let changes = entries.iter().cloned().map(|entry| Change::PutAudit(Box::new(entry))).collect();
    store.commit(&[Transaction { changes }]).unwrap();
}

#[test]
fn entries_come_back_as_they_were_newest_first_and_in_pages() {
    let (entries, _) = log(20);
    let directory = tempfile::tempdir().unwrap();
    let stores: [Box<dyn Store>; 2] =
        [Box::new(MemoryStore::new(vault())), Box::new(open(directory.path()).unwrap())];
    for mut store in stores {
        put(&mut *store, &entries);
        let snapshot = store.load().unwrap().audit;
        assert_eq!((snapshot.tail.as_slice(), snapshot.last), (entries.as_slice(), 21));
        let reader = store.audit();
        let page = |query: AuditQuery| reader.page(&query).unwrap();
        let newest = page(AuditQuery { limit: 5, ..AuditQuery::default() });
        assert_eq!(newest.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [21, 20, 19, 18, 17]);
        assert_eq!(newest.next, Some(17));
        let rest = page(AuditQuery { before: newest.next, limit: 100, ..AuditQuery::default() });
        assert_eq!((rest.entries.len(), rest.next), (16, None));
        let on = Some(BindingId::from_bits(7).to_string());
        let found = |query: AuditQuery| page(AuditQuery { limit: 100, ..query }).entries.len();
        assert_eq!(found(AuditQuery { on, ..AuditQuery::default() }), 1);
        assert_eq!(found(AuditQuery { act: Some(Act::Seal), ..AuditQuery::default() }), 1);
        assert_eq!(found(AuditQuery { user: Some(1000), ..AuditQuery::default() }), 20);
        assert_eq!(found(AuditQuery { user: Some(0), ..AuditQuery::default() }), 0);
        assert_eq!(found(AuditQuery { name: Some("mara".into()), ..AuditQuery::default() }), 20);
        assert_eq!(found(AuditQuery { until: Some(time(1)), ..AuditQuery::default() }), 20);
        assert_eq!(found(AuditQuery { since: Some(time(1)), ..AuditQuery::default() }), 1);
        assert_eq!(found(AuditQuery { limit: 0, ..AuditQuery::default() }), 21);
        let mut seen = Vec::new();
        reader.walk(&mut |seq, entry| seen.push((seq, entry.unwrap()))).unwrap();
        assert_eq!(seen, entries.iter().map(|entry| (entry.seq, entry.clone())).collect::<Vec<_>>());
    }
}

#[test]
fn no_byte_can_be_changed_put_in_or_cut_unnoticed() {
    let (entries, anchor) = log(6);
    let rows: Rows =
        entries.iter().map(|entry| (keys::audit(entry.seq), record::encode(entry).unwrap())).collect();
    assert_eq!(verify(&rows, anchor).found, 0);
    let broken = |what: &str, rows: &Rows| assert!(verify(rows, anchor).found > 0, "{what}");
    for (key, bytes) in &rows {
        let mut changed = rows.clone();
        let mut put = |what: String, bytes: Vec<u8>| {
            changed.insert(key.clone(), bytes);
            broken(&what, &changed);
        };
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            put(format!("bit {} of byte {at} of {key:?}", at % 8), flipped);
            put(format!("{key:?} cut at {at}"), bytes[..at].to_vec());
        }
        put(format!("{key:?} with a byte more"), [bytes.as_slice(), &[0]].concat());
        let mut without = rows.clone();
        without.remove(key);
        broken("an entry is gone", &without);
    }
    for key in [&b"a"[..], b"a\0", b"ax2345678", b"a\0\0\0\0\0\0\0\0"] {
        let mut more = rows.clone();
        more.insert(key.to_vec(), rows.values().next().unwrap().clone());
        broken("a row of a strange key", &more);
    }
}

#[test]
fn a_start_goes_on_behind_an_entry_that_cannot_be_read() {
    let (entries, _) = log(3);
    let mut rows: Rows =
        entries.iter().map(|entry| (keys::audit(entry.seq), record::encode(entry).unwrap())).collect();
    rows.insert(keys::audit(4), b"nonsense".to_vec());
    let snapshot = crate::store::audit::snapshot(&rows).unwrap();
    assert_eq!((snapshot.tail.as_slice(), snapshot.last), (&entries[..3], 4));
}

/// A shape never changes: these bytes are in files out there.
#[test]
fn an_entry_keeps_its_bytes() {
    let (entries, _) = log(1);
    let bytes = record::encode(&entries[0]).unwrap();
    assert!(
        bytes.starts_with(b"\x01\x01\x00\x01\xe8\x07\x01\x04mara\x05admin\x0abind-close\x1f"),
        "{}",
        bytes.escape_ascii()
    );
    assert_eq!(record::decode::<Entry>(&bytes).unwrap(), entries[0]);
}
