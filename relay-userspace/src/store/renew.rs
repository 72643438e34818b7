//! Stores of the second version, in which pairs had rows of their own, and rests
//! began with their number.
//!
//! Such a store is renewed where it is: what is superfluous goes, what has another
//! key gets it, and only then do the marks say so. Each step may be done twice, so a
//! process that dies on the way leaves a store that the next start renews.

use std::fs;
use std::path::Path;

use tracing::info;

use super::apply::{self, Writes};
use super::sled::{Database, FORMAT, cannot_open, write_format};
use super::{StoreError, keys, record};
use crate::engine::directory::PairRest;

/// What the marks and the `format` file of such a store hold.
pub(super) const SECOND: &[u8] = b"vizard store 2\n";
/// Rows that are written at once.
const BATCH: usize = 4_096;

/// Renews a store of the second version, if there is one at a path.
pub(super) fn renew(path: &Path) -> Result<(), StoreError> {
    if fs::read(path.join("format")).is_ok_and(|format| format == SECOND) {
        info!("the store at {} is of an earlier Vizard; it is being renewed", path.display());
        let open = |name| Database::open(path, name, &[SECOND, FORMAT]);
        let (directory, cdrs) = (open("directory")?, open("cdrs")?);
        rows(&directory)?;
        for database in [&directory, &cdrs] {
            database.write(Writes::from([(keys::FORMAT.to_vec(), Some(FORMAT.to_vec()))]))?;
            database.make_durable()?;
        }
        write_format(path).map_err(|error| cannot_open(path, &error))?;
    }
    Ok(())
}

/// Makes the rows of such a directory today's.
pub(super) fn rows(directory: &Database) -> Result<(), StoreError> {
    let mut writes = Writes::new();
    let flush = |writes: &mut Writes, least: usize| {
        if writes.len() < least { Ok(()) } else { directory.write(std::mem::take(writes)) }
    };
    for row in directory.table().scan(keys::PAIRS_BEFORE) {
        writes.insert(row?.0, None);
        flush(&mut writes, BATCH)?;
    }
    for row in directory.table().scan(keys::RESTS) {
        let (key, bytes) = row?;
        let rest: PairRest =
            record::decode(&bytes).map_err(|problem| apply::unreadable("rests", &key, problem))?;
        let renewed = keys::rest(&rest.proxy, rest.party);
        if renewed != key {
            writes.insert(renewed, Some(bytes));
            writes.insert(key, None);
            flush(&mut writes, BATCH)?;
        }
    }
    flush(&mut writes, 0)?;
    directory.make_durable()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ids::BindingId;
    use crate::engine::io::{Change, Transaction};
    use crate::store::tests::files::{once_released, reopen};
    use crate::store::tests::{binding, claim, creation, number, open, time};
    use crate::store::{CommitOutcome, Store};

    const RESTS: u32 = 5_000;

    fn rest(n: u32) -> PairRest {
        PairRest { proxy: number(n).number, party: binding(7).customer.id, since: time(n.into()) }
    }

    fn key_before(kind: &[u8], rest: &PairRest) -> Vec<u8> {
        [kind, rest.proxy.digits().as_bytes(), &[0], &rest.party.to_bits().to_be_bytes()].concat()
    }

    /// A store as the second version wrote it; the first rests have their new place
    /// already where `begun`.
    fn write_second(path: &Path, begun: bool) {
        let mut store = open(path).unwrap();
        let rests = (0..RESTS).map(|n| Transaction { changes: vec![Change::PutRest(rest(n))] });
        store.commit(&rests.chain([creation(7)]).collect::<Vec<_>>()).unwrap();
        drop(store);
        for name in ["directory", "cdrs"] {
            let db = once_released(|| ::sled::open(path.join(name)), |_| true).unwrap();
            let tree = db.open_tree("records").unwrap();
            if name == "directory" {
                for n in if begun { RESTS / 2..RESTS } else { 0..RESTS } {
                    let row = tree.remove(keys::rest(&rest(n).proxy, rest(n).party)).unwrap().unwrap();
                    tree.insert(key_before(keys::RESTS, &rest(n)), row).unwrap();
                    tree.insert(key_before(keys::PAIRS_BEFORE, &rest(n)), b"\x01\x07").unwrap();
                }
            }
            if name == "cdrs" || !begun {
                tree.insert(keys::FORMAT, SECOND).unwrap();
            }
            db.flush().unwrap();
        }
        fs::write(path.join("format"), SECOND).unwrap();
    }

    #[test]
    fn a_store_of_the_second_version_is_renewed_wherever_that_was_interrupted() {
        for begun in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            write_second(directory.path(), begun);
            let mut store = reopen(directory.path()).unwrap();
            let found = store.load().unwrap().directory;
            assert_eq!((&found.bindings[..], found.parties.len()), (&[binding(7)][..], 2));
            let mut rests = found.rests;
            rests.sort();
            assert_eq!(rests, (0..RESTS).map(rest).collect::<Vec<_>>());
            // Each row is where today's Vizard looks for it, and is there once.
            let gone = (0..RESTS).map(|n| Change::DeleteRest(rest(n))).collect();
            let foreign = Change::ClaimPair(claim(&binding(7).customer, 8));
            let group = [Transaction { changes: gone }, Transaction { changes: vec![foreign] }];
            assert_eq!(store.commit(&group).unwrap(), [CommitOutcome::Applied, CommitOutcome::Conflict]);
            assert_eq!(store.load().unwrap().directory.rests, []);
            let (copied, _) = crate::store::tests::copies::copy(&*store.copy().unwrap());
            assert_eq!(copied.rows, 4, "a binding, two parties and a data key");
            drop(store);
            assert_eq!(fs::read(directory.path().join("format")).unwrap(), FORMAT);
            assert_eq!(reopen(directory.path()).unwrap().load().unwrap().directory.bindings[0].id, {
                BindingId::from_bits(7)
            });
        }
    }
}
