//! The default store: two embedded sled databases under one path.
//!
//! ```text
//! PATH/lock         the process that has the store open
//! PATH/format       written once both databases exist
//! PATH/data-keys    the wrapped data keys once more, to try key files on
//! PATH/directory/   numbers, sealed parties, bindings, rests, wrapped data keys
//! PATH/cdrs/        call detail records, sealed calls in progress, audit log
//! ```
//!
//! A group of transactions becomes one atomic batch per database, then one
//! `flush` of each database that it touched, then one `fdatasync` of that
//! database's file: sled 0.34 flushes with `sync_file_range`, which survives a
//! killed process and not a power cut. A transaction that changes both
//! databases is whole in each; should the process die between the two, it was
//! not acknowledged, and its records are written again or not missed.
//!
//! sled starts an empty database when it finds its file damaged beyond use. The
//! mark that both databases carry tells that from a new store.

use std::cell::OnceCell;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::Rng;

use super::apply::{self, Row, Table, Writes};
use super::audit::{self, AuditPage, AuditQuery, AuditReader};
use super::backup::{BackupSource, SledCopy, Watch};
use super::claims::Claims;
use super::renew::{self, SECOND};
use super::{
    CdrPage, CdrQuery, CdrReader, CommitOutcome, Store, StoreError, VaultReader, keys, lockbox, older,
};
use crate::engine::audit::Entry;
use crate::engine::call_record::Snapshot;
use crate::engine::io::Transaction;
use crate::engine::privacy::{Epoch, Keyring, Vault};
use crate::engine::time::Timestamp;

/// Bytes of sled's page cache, per database: the engine reads once, at start.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// What [`keys::FORMAT`] and the `format` file hold.
pub(super) const FORMAT: &[u8] = b"vizard store 3\n";

/// A store in files.
pub struct SledStore {
    path: PathBuf,
    directory: Database,
    cdrs: Database,
    vault: Arc<Vault>,
    /// Known from the first load or commit on.
    claims: OnceCell<Claims>,
    watch: Arc<Watch>,
    /// Locked while the store is open.
    _lock: Option<File>,
}

impl SledStore {
    /// Opens the store at a path with the keys that belong to it, or makes one
    /// there. `random` feeds the data keys of new stores and new epochs. A store
    /// of before the vault is sealed first.
    pub fn open(path: &Path, keyring: &Keyring, random: &mut impl Rng) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(|error| cannot_open(path, &error))?;
        let lock = lock(path)?;
        older::seal(path, keyring, random)?;
        renew::renew(path)?;
        let existed = path.join("format").try_exists().map_err(|error| cannot_open(path, &error))?;
        let store = Self::open_at(path, existed, keyring, random)?;
        if !existed {
            write_format(path).map_err(|error| cannot_open(path, &error))?;
        }
        Ok(Self { _lock: Some(lock), ..store })
    }

    /// Whether there is a store whose numbers are sealed.
    #[must_use]
    pub fn is_sealed(path: &Path) -> bool {
        fs::read(path.join("format")).is_ok_and(|format| [FORMAT, SECOND].contains(&&*format))
    }

    /// Whether these keys open the store at a path; `None` when only opening it
    /// would tell.
    pub fn fits(path: &Path, keyring: &Keyring) -> Result<Option<()>, StoreError> {
        lockbox::fits(path, keyring)
    }

    /// Opens what is at a path, which nobody else can have open.
    pub(super) fn open_at(
        path: &Path,
        existed: bool,
        keyring: &Keyring,
        random: &mut impl Rng,
    ) -> Result<Self, StoreError> {
        let expected: &[&[u8]] = if existed { &[FORMAT] } else { &[] };
        let directory = Database::open(path, "directory", expected)?;
        let cdrs = Database::open(path, "cdrs", expected)?;
        Self::over(path, directory, cdrs, keyring, random)
    }

    /// A store over databases that are open.
    pub(super) fn over(
        path: &Path,
        directory: Database,
        cdrs: Database,
        keyring: &Keyring,
        random: &mut impl Rng,
    ) -> Result<Self, StoreError> {
        let (vault, made) = Vault::open(keyring, &apply::data_keys(&directory.tree)?, random)
            .map_err(|problem| StoreError::Vault { path: path.display().to_string(), problem })?;
        if let Some(made) = made {
            let (key, value) = apply::put_data_key(&made)?;
            directory.write(Writes::from([(key, Some(value))]))?;
            directory.make_durable()?;
        }
        lockbox::write(path, &apply::data_keys(&directory.tree)?)?;
        Ok(Self {
            path: path.to_owned(),
            directory,
            cdrs,
            vault: Arc::new(vault),
            claims: OnceCell::new(),
            watch: Arc::default(),
            _lock: None,
        })
    }
}

/// Says that the store at a path is whole.
pub(super) fn write_format(path: &Path) -> io::Result<()> {
    let mut file = File::create(path.join("format"))?;
    file.write_all(FORMAT)?;
    file.sync_all()?;
    // The names of what was made must outlast a power cut too.
    for made in [&path.join("directory"), &path.join("cdrs"), path] {
        sync(made)?;
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl Store for SledStore {
    fn commit(&mut self, group: &[Transaction]) -> Result<Vec<CommitOutcome>, StoreError> {
        let mut claims = match self.claims.take() {
            Some(claims) => claims,
            None => Claims::of(&apply::bindings(&self.directory.tree)?),
        };
        let outcomes = self.commit_on(&mut claims, group);
        self.claims = OnceCell::from(claims);
        outcomes
    }

    fn load(&self) -> Result<Snapshot, StoreError> {
        let snapshot = apply::snapshot(&self.vault, &self.directory.tree, &self.cdrs.tree)?;
        self.claims.get_or_init(|| Claims::of(&snapshot.directory.bindings));
        Ok(snapshot)
    }

    fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault)
    }

    fn copy(&self) -> Option<Box<dyn BackupSource>> {
        let trees = [self.directory.tree.clone(), self.cdrs.tree.clone()];
        Some(Box::new(SledCopy { trees, watch: Arc::clone(&self.watch) }))
    }

    fn vault_reader(&self) -> Box<dyn VaultReader> {
        Box::new(self.handle())
    }

    fn reader(&self) -> Box<dyn CdrReader> {
        Box::new(self.handle())
    }

    fn audit(&self) -> Box<dyn AuditReader> {
        Box::new(self.handle())
    }
}

impl SledStore {
    fn handle(&self) -> Reader {
        Reader { directory: self.directory.tree.clone(), cdrs: self.cdrs.tree.clone() }
    }

    fn commit_on(
        &mut self,
        claims: &mut Claims,
        group: &[Transaction],
    ) -> Result<Vec<CommitOutcome>, StoreError> {
        let watch = Arc::clone(&self.watch);
        let mut writing = watch.writing();
        let planned = apply::plan(&self.vault, claims, &self.directory.tree, &self.cdrs.tree, group)?;
        writing.note(&planned.directory, &planned.cdrs);
        let mut touched = Vec::with_capacity(2);
        for (database, writes) in [(&self.directory, planned.directory), (&self.cdrs, planned.cdrs)] {
            if !writes.is_empty() {
                database.write(writes)?;
                touched.push(database);
            }
        }
        claims.take(planned.claims);
        for database in &touched {
            database.flush()?;
        }
        for database in &touched {
            database.sync()?;
        }
        if let Some(vault) = apply::vault_after(&self.vault, group) {
            self.vault = vault;
            lockbox::write(&self.path, &apply::data_keys(&self.directory.tree)?)?;
        }
        Ok(planned.outcomes)
    }
}

struct Reader {
    directory: ::sled::Tree,
    cdrs: ::sled::Tree,
}

impl CdrReader for Reader {
    fn cdrs(&self, query: &CdrQuery) -> Result<CdrPage, StoreError> {
        apply::cdrs(&self.cdrs, query)
    }

    fn cdrs_before(&self, before: Timestamp) -> Result<usize, StoreError> {
        apply::cdrs_before(&self.cdrs, before)
    }
}

impl VaultReader for Reader {
    fn sealed_before(&self, epoch: Epoch) -> Result<usize, StoreError> {
        apply::sealed_before(&self.directory, &self.cdrs, epoch)
    }
}

impl AuditReader for Reader {
    fn page(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        audit::page(&self.cdrs, query)
    }

    fn walk(&self, visit: &mut dyn FnMut(u64, Result<Entry, String>)) -> Result<(), StoreError> {
        audit::walk(&self.cdrs, visit)
    }
}

/// One sled database with all its records in one tree.
pub(super) struct Database {
    tree: ::sled::Tree,
    /// A second handle on sled's log, to sync it with.
    file: File,
    /// Closes the database when dropped, after `tree`.
    _db: ::sled::Db,
}

impl Database {
    /// Opens a database that carries one of the expected marks; where none is
    /// expected it may also be a new one, which gets today's.
    pub(super) fn open(store: &Path, name: &str, expected: &[&[u8]]) -> Result<Self, StoreError> {
        let path = store.join(name);
        let db = ::sled::Config::new()
            .path(&path)
            .cache_capacity(CACHE_BYTES)
            // Every group is flushed when it is committed.
            .flush_every_ms(None)
            .open()
            .map_err(|error| match error {
                ::sled::Error::Io(error) => cannot_open(&path, &error),
                other => damaged(&path, &other.to_string()),
            })?;
        let tree = db.open_tree("records").map_err(|error| damaged(&path, &error.to_string()))?;
        let mark = tree.get(keys::FORMAT).map_err(|error| damaged(&path, &error.to_string()))?;
        match mark {
            Some(mark) if expected.contains(&&*mark) || expected.is_empty() && mark == FORMAT => {}
            Some(_) => {
                return Err(StoreError::Open {
                    path: path.display().to_string(),
                    problem: "it was written by a newer Vizard; start that one, or name another [store] path"
                        .into(),
                });
            }
            None if !expected.is_empty() => return Err(damaged(&path, "its records are gone")),
            None => {
                let marked = tree.insert(keys::FORMAT, FORMAT).and_then(|_| tree.flush());
                marked.map_err(|error| failed("making the store", &error))?;
            }
        }
        let file = File::open(path.join("db")).map_err(|error| cannot_open(&path, &error))?;
        file.sync_all().map_err(|error| cannot_open(&path, &error))?;
        Ok(Self { tree, file, _db: db })
    }

    pub(super) const fn table(&self) -> &dyn Table {
        &self.tree
    }

    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        self.flush()?;
        self.sync()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.tree.flush().map(drop).map_err(|error| failed("flushing", &error))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|error| StoreError::Io { doing: "syncing", problem: error.to_string() })
    }

    pub(super) fn write(&self, writes: Writes) -> Result<(), StoreError> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.tree.apply_batch(batch).map_err(|error| failed("writing", &error))
    }
}

impl Table for ::sled::Tree {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = ::sled::Tree::get(self, key).map_err(|error| failed("reading", &error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan<'a>(&'a self, prefix: &[u8]) -> Box<dyn Iterator<Item = Row> + 'a> {
        Box::new(self.scan_prefix(prefix).map(row))
    }

    fn range_back<'a>(&'a self, from: Vec<u8>, below: Vec<u8>) -> Box<dyn Iterator<Item = Row> + 'a> {
        Box::new(self.range(from..below).rev().map(row))
    }

    fn scan_back<'a>(&'a self, prefix: &[u8]) -> Box<dyn Iterator<Item = Row> + 'a> {
        Box::new(self.scan_prefix(prefix).rev().map(row))
    }
}

fn row(row: ::sled::Result<(::sled::IVec, ::sled::IVec)>) -> Row {
    let (key, value) = row.map_err(|error| failed("reading", &error))?;
    Ok((key.to_vec(), value.to_vec()))
}

/// Holds the store for this process. The lock goes with the process, however
/// it ends; the file says whose it is.
pub(super) fn lock(store: &Path) -> Result<File, StoreError> {
    let path = store.join("lock");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| cannot_open(&path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::InUse { path: store.display().to_string(), by: holder(&mut file) });
        }
        Err(TryLockError::Error(error)) => return Err(cannot_open(&path, &error)),
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| cannot_open(&path, &error))?;
    Ok(file)
}

/// `process 4711 (vizard)`, as far as the lock file and the kernel tell.
fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let pid: Option<u32> = lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
    let Some(pid) = pid else { return "another process".into() };
    match fs::read_to_string(PathBuf::from(format!("/proc/{pid}/comm"))) {
        Ok(name) => format!("process {pid} ({})", name.trim()),
        Err(_) => format!("process {pid}"),
    }
}

pub(super) fn cannot_open(path: &Path, error: &io::Error) -> StoreError {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "; give the user that runs Vizard read and write access to it",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "; a file is in the way: name another [store] path"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; mount it writable, or name another [store] path",
        io::ErrorKind::StorageFull => "; free some space",
        _ => "",
    };
    StoreError::Open { path: path.display().to_string(), problem: format!("{error}{remedy}") }
}

fn damaged(path: &Path, problem: &str) -> StoreError {
    StoreError::Open {
        path: path.display().to_string(),
        problem: format!(
            "it is damaged ({problem}); restore it from a backup, or move it away to start empty"
        ),
    }
}

fn failed(doing: &'static str, error: &::sled::Error) -> StoreError {
    StoreError::Io { doing, problem: error.to_string() }
}
