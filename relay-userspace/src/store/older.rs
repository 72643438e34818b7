//! Stores of before the vault, in which numbers stood in clear.
//!
//! Such a store is written anew beside itself, sealed, and takes its own place
//! once the new one is whole: a process that dies on the way leaves either the
//! old store or the new one, and the next start goes on. The old files are
//! overwritten before they are removed, since a file that is only removed leaves
//! its bytes on the disk. A file system that writes copies, a flash drive that
//! moves blocks, and backups keep what they have: only a disk that was encrypted
//! from the start helps against these.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rand::Rng;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::apply::{self, Table};
use super::record::{self, EncryptionV2, StateV1, Stored};
use super::sled::{Database, cannot_open, sync, write_format};
use super::{CommitOutcome, SledStore, Store, StoreError, keys};
use crate::engine::call_record::CallRecord;
use crate::engine::cdr::Cdr;
use crate::engine::config::Encryption;
use crate::engine::directory::{
    Binding, Extension, PairClaim, PairRest, Party, PartyAddress, PoolNumber, Usage,
};
use crate::engine::guard::GuardEntry;
use crate::engine::ids::BindingId;
use crate::engine::io::{Change, Transaction};
use crate::engine::number::ProxyNumber;
use crate::engine::privacy::{Keyring, Vault, VaultId};

/// What the mark and the `format` file of such a store hold.
pub(super) const OLDER: &[u8] = b"vizard store 1\n";
/// Where the new store grows.
const BESIDE: &str = "migrating";
/// Transactions that are committed at once.
const GROUP: usize = 4_096;
const NO_SUCH_VERSION: &str = "it is of no version that such a store had";

#[derive(Serialize, Deserialize)]
enum AddressV1 {
    /// Digits without `+`.
    Number(String),
    Extension {
        trunk: String,
        user: String,
    },
}

#[derive(Serialize, Deserialize)]
struct BindingV1 {
    id: u128,
    tenant: String,
    project: String,
    kind: u8,
    key: String,
    customer: (AddressV1, String),
    agent: (AddressV1, String),
    created: i64,
    state: StateV1,
}

/// What came before, and whether the parties may encrypt.
#[derive(Serialize, Deserialize)]
struct BindingV2(BindingV1, Option<EncryptionV2>);

#[derive(Serialize, Deserialize)]
struct RestV1 {
    proxy: String,
    party: AddressV1,
    since: i64,
}

/// Seals a store of before, if there is one or the way was begun.
pub(super) fn seal(path: &Path, keyring: &Keyring, random: &mut impl Rng) -> Result<(), StoreError> {
    let failed = |error: io::Error| cannot_open(path, &error);
    let beside = beside(path);
    let is_older = fs::read(path.join("format")).is_ok_and(|format| format == OLDER);
    if is_older && !SledStore::is_sealed(&beside) {
        if beside.exists() {
            fs::remove_dir_all(&beside).map_err(failed)?;
        }
        info!("the store at {} holds numbers in clear; it is being sealed", path.display());
        let mut sealed = SledStore::open_at(&beside, false, keyring, random)?;
        let vault = sealed.vault();
        let (directory, cdrs) =
            (Database::open(path, "directory", &[OLDER])?, Database::open(path, "cdrs", &[OLDER])?);
        Copying { vault: &vault, random, parties: BTreeMap::new(), group: Vec::new(), into: &mut sealed }
            .run(directory.table(), cdrs.table())?;
        drop(sealed);
        // Written last: it says that all is there.
        write_format(&beside).map_err(failed)?;
    }
    if SledStore::is_sealed(&beside) {
        take_place(path, &beside).map_err(failed)?;
        info!("the store at {} is sealed", path.display());
    } else if beside.exists() {
        fs::remove_dir_all(&beside).map_err(failed)?;
    }
    Ok(())
}

/// Where a store grows that is to take the place of the one at a path.
pub(super) fn beside(path: &Path) -> PathBuf {
    path.join(BESIDE)
}

/// Every step may be the last one of this process; the next start goes on.
pub(super) fn take_place(path: &Path, beside: &Path) -> io::Result<()> {
    for name in ["directory", "cdrs"] {
        let (new, old) = (beside.join(name), path.join(name));
        if new.exists() {
            if old.exists() {
                overwrite(&old)?;
                fs::remove_dir_all(&old)?;
            }
            fs::rename(&new, &old)?;
            sync(path)?;
        }
    }
    // The new one may be of an earlier Vizard, whose process died on this way.
    fs::rename(beside.join("format"), path.join("format"))?;
    sync(path)?;
    fs::remove_dir_all(beside)
}

/// Puts zeros in place of every file's bytes.
fn overwrite(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            overwrite(&entry.path())?;
            continue;
        }
        let mut file = File::options().write(true).open(entry.path())?;
        let zeros = vec![0; 1 << 16];
        let mut left = file.metadata()?.len();
        while left > 0 {
            let some = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
            file.write_all(&zeros[..some])?;
            left -= some as u64;
        }
        file.sync_all()?;
    }
    Ok(())
}

/// Everything of an older store on its way into a new one.
struct Copying<'a, R> {
    vault: &'a Vault,
    random: &'a mut R,
    parties: BTreeMap<PartyAddress, VaultId>,
    group: Vec<Transaction>,
    into: &'a mut SledStore,
}

impl<R: Rng> Copying<'_, R> {
    fn run(mut self, directory: &dyn Table, cdrs: &dyn Table) -> Result<(), StoreError> {
        self.each(directory, "numbers", keys::NUMBERS, |_, number: PoolNumber| {
            Ok(vec![Change::PutNumbers([number].into())])
        })?;
        self.each_row(directory, "bindings", keys::BINDINGS, |this, bytes| match bytes.split_first() {
            Some((1, bytes)) => this.binding(record::read(bytes)?, None),
            Some((2, bytes)) => {
                let BindingV2(binding, encryption) = record::read(bytes)?;
                this.binding(binding, encryption)
            }
            Some(_) | None => Err(NO_SUCH_VERSION.into()),
        })?;
        self.each_row(directory, "rests", keys::RESTS, |this, bytes| match bytes.split_first() {
            Some((1, bytes)) => this.rest(record::read(bytes)?),
            Some(_) | None => Err(NO_SUCH_VERSION.into()),
        })?;
        self.each(directory, "guard", keys::GUARD, |_, entry: GuardEntry| Ok(vec![Change::PutGuard(entry)]))?;
        self.each(cdrs, "calls", keys::CALLS, |_, call: CallRecord| {
            Ok(vec![Change::PutCall(Box::new(call))])
        })?;
        self.each(cdrs, "cdrs", keys::CDRS, |_, cdr: Cdr| Ok(vec![Change::record(cdr)]))?;
        self.flush()
    }

    fn each<T: Stored>(
        &mut self,
        table: &dyn Table,
        tree: &'static str,
        prefix: &[u8],
        changes: impl Fn(&mut Self, T) -> Result<Vec<Change>, String>,
    ) -> Result<(), StoreError> {
        self.each_row(table, tree, prefix, |this, bytes| changes(this, record::decode(bytes)?))
    }

    fn each_row(
        &mut self,
        table: &dyn Table,
        tree: &'static str,
        prefix: &[u8],
        changes: impl Fn(&mut Self, &[u8]) -> Result<Vec<Change>, String>,
    ) -> Result<(), StoreError> {
        for row in table.scan(prefix) {
            let (key, bytes) = row?;
            let changes = changes(self, &bytes).map_err(|problem| apply::unreadable(tree, &key, problem))?;
            self.group.push(Transaction { changes });
            if self.group.len() >= GROUP {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let outcomes = self.into.commit(&std::mem::take(&mut self.group))?;
        let conflicts = outcomes.iter().filter(|&&outcome| outcome == CommitOutcome::Conflict).count();
        if conflicts > 0 {
            warn!("{conflicts} bindings claimed a number and party of another binding; they are left out");
        }
        Ok(())
    }

    fn binding(
        &mut self,
        record: BindingV1,
        encryption: Option<EncryptionV2>,
    ) -> Result<Vec<Change>, String> {
        let mut changes = Vec::new();
        let mut party = |(address, number): (AddressV1, String)| {
            let (id, new) = self.party(address)?;
            changes.extend(new);
            Ok::<_, String>(Party { id, proxy: record::proxy(&number)? })
        };
        let (customer, agent) = (party(record.customer)?, party(record.agent)?);
        let id = BindingId::from_bits(record.id);
        for Party { id: party, proxy } in [customer, agent] {
            changes.push(Change::ClaimPair(PairClaim { proxy, party, binding: id }));
        }
        changes.push(Change::PutBinding(Binding {
            id,
            tenant: record.tenant,
            project: record.project,
            kind: record::binding_kind(record.kind)?,
            key: record.key,
            customer,
            agent,
            created: record::time(record.created),
            state: record.state.into(),
            encryption: encryption.map(Encryption::from),
            usage: Usage::default(),
            tags: Vec::new(),
            also: <[Vec<VaultId>; 2]>::default(),
        }));
        Ok(changes)
    }

    fn rest(&mut self, record: RestV1) -> Result<Vec<Change>, String> {
        let proxy: ProxyNumber = record::proxy(&record.proxy)?;
        let (party, new) = self.party(record.party)?;
        let rest = PairRest { proxy, party, since: record::time(record.since) };
        Ok(new.into_iter().chain([Change::PutRest(rest)]).collect())
    }

    /// The party at an address, and its record where it is new.
    fn party(&mut self, address: AddressV1) -> Result<(VaultId, Option<Change>), String> {
        let address = match address {
            AddressV1::Number(digits) => PartyAddress::Number(
                format!("+{digits}").parse().map_err(|error| format!("a party's number: {error}"))?,
            ),
            AddressV1::Extension { trunk, user } => {
                let user = Extension::new(&user).ok_or("a party's extension is not one")?;
                PartyAddress::Extension { trunk, user }
            }
        };
        if let Some(&known) = self.parties.get(&address) {
            return Ok((known, None));
        }
        // When it was drawn does not matter: these lie before all that follow.
        let id = VaultId::draw(record::time(0), self.random);
        let sealed = self.vault.seal(id, &address);
        self.parties.insert(address, id);
        Ok((id, Some(Change::PutParty(sealed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::directory::BindingState;
    use crate::engine::privacy::tests::{keyring, random};
    use crate::store::tests::secrecy::traces;

    const NUMBER: &str = "12125551200";

    /// A store as the first version wrote it.
    fn write_older(path: &Path) {
        fs::create_dir_all(path).unwrap();
        let database = |name: &str, rows: Vec<(Vec<u8>, Vec<u8>)>| {
            let db = ::sled::open(path.join(name)).unwrap();
            let tree = db.open_tree("records").unwrap();
            tree.insert(keys::FORMAT, OLDER).unwrap();
            for (key, value) in rows {
                tree.insert(key, value).unwrap();
            }
            db.flush().unwrap();
        };
        let number = || AddressV1::Number(NUMBER.into());
        let binding = |id: u128| BindingV1 {
            id,
            tenant: "acme".into(),
            project: "main".into(),
            kind: 1,
            key: format!("case-{id}"),
            customer: (number(), format!("+1415555010{id}")),
            agent: (
                AddressV1::Extension { trunk: "pbx".into(), user: format!("{id}") },
                "+14155550101".into(),
            ),
            created: 5,
            state: StateV1::Live { expires: 9 },
        };
        let rest = RestV1 { proxy: "+14155550102".into(), party: number(), since: 3 };
        let second = BindingV2(binding(2), Some(EncryptionV2::EndToEnd));
        database(
            "directory",
            vec![
                (keys::binding(BindingId::from_bits(1)), old(1, &binding(1))),
                (keys::binding(BindingId::from_bits(2)), old(2, &second)),
                ([b"p14155550100\0+", NUMBER.as_bytes()].concat(), vec![1, 1]),
                ([b"r14155550102\0+", NUMBER.as_bytes()].concat(), old(1, &rest)),
            ],
        );
        database("cdrs", Vec::new());
        fs::write(path.join("format"), OLDER).unwrap();
    }

    fn old(version: u8, record: &impl Serialize) -> Vec<u8> {
        postcard::to_extend(record, vec![version]).unwrap()
    }

    fn check_sealed(path: &Path) {
        let store = SledStore::open(path, &keyring(), &mut random(9)).unwrap();
        let found = store.load().unwrap().directory;
        assert_eq!((found.bindings.len(), found.parties.len(), found.rests.len()), (2, 3, 1));
        let (first, second) = (&found.bindings[0], &found.bindings[1]);
        assert_eq!(first.customer.id, second.customer.id, "one party for one number");
        assert_eq!(first.customer.id, found.rests[0].party);
        assert_eq!((first.encryption, second.encryption), (None, Some(Encryption::EndToEnd)));
        assert_eq!(first.state, BindingState::Live { expires: record::time(9) });
        let party = found.parties.iter().find(|party| party.id == first.customer.id).unwrap();
        let address = store.vault().unseal(party.id, &party.sealed).unwrap();
        assert_eq!(address.reveal(), NUMBER);
    }

    #[test]
    fn a_store_in_clear_is_sealed_and_its_files_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        write_older(directory.path());
        assert!(!traces(directory.path()).is_empty());
        check_sealed(directory.path());
        assert_eq!(traces(directory.path()), Vec::<String>::new());
        assert!(!directory.path().join(BESIDE).exists());
    }

    /// The process dies after each step of the way.
    #[test]
    fn sealing_goes_on_where_it_was_interrupted() {
        let directory = tempfile::tempdir().unwrap();
        let (path, beside) = (directory.path(), directory.path().join(BESIDE));
        write_older(path);
        // While copying: half of a new store is beside the old one.
        drop(SledStore::open_at(&beside, false, &keyring(), &mut random(1)).unwrap());
        check_sealed(path);

        // Between the two databases: the first has its place, the second not yet.
        let sealed = tempfile::tempdir().unwrap();
        write_older(sealed.path());
        check_sealed(sealed.path());
        let again = tempfile::tempdir().unwrap();
        let path = again.path();
        write_older(path);
        fs::create_dir(path.join(BESIDE)).unwrap();
        fs::remove_dir_all(path.join("directory")).unwrap();
        fs::rename(sealed.path().join("directory"), path.join("directory")).unwrap();
        for name in ["cdrs", "format"] {
            fs::rename(sealed.path().join(name), path.join(BESIDE).join(name)).unwrap();
        }
        check_sealed(path);
        assert!(!path.join(BESIDE).exists());
    }
}
