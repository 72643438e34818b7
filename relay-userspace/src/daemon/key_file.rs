//! The vault's keys where they lie: a file that nobody else may read, or the
//! environment.
//!
//! The file is made once, and changed by a rotation alone: a key that is lost takes
//! every number that it sealed with it. What is written is whole or not there, on the
//! disk before the name is; and what a rotation destroys is overwritten on the disk,
//! as far as the disk lets it.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::engine::privacy::{Keyring, KeyringError};
use crate::store::SledStore;

/// Holds the content of a key file, where no file should.
pub const KEYS_VARIABLE: &str = "VIZARD_KEYS";
/// A thousand epochs take a tenth of it.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where the keys are that a running daemon may change.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// In a file.
    File(PathBuf),
    /// In the environment, where nobody can change them.
    Environment,
}

/// The keys of the environment, or else of a file. `store` tells what a missing
/// file means.
pub fn obtain(path: &Path, store: &Path) -> Result<Keyring, KeyFileError> {
    obtain_by(path, store, user())
}

/// The same, as this user may read it.
pub(super) fn obtain_by(path: &Path, store: &Path, user: u32) -> Result<Keyring, KeyFileError> {
    match env::var(KEYS_VARIABLE) {
        Ok(text) if !text.trim().is_empty() => {
            let text = Zeroizing::new(text);
            Keyring::parse(&text).map_err(KeyFileError::Variable)
        }
        Ok(_) | Err(env::VarError::NotPresent) => match read(path, user) {
            Err(KeyFileError::Missing { .. }) if SledStore::is_sealed(store) => Err(lost(path, store)),
            result => result,
        },
        Err(env::VarError::NotUnicode(_)) => Err(KeyFileError::Variable(KeyringError::NotKeys)),
    }
}

pub(super) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The keys of this user's file.
pub fn read_own(path: &Path) -> Result<Keyring, KeyFileError> {
    read(path, user())
}

/// Where [`obtain`] takes the keys from.
#[must_use]
pub fn source(path: &Path) -> KeySource {
    match env::var(KEYS_VARIABLE) {
        Ok(text) if text.trim().is_empty() => KeySource::File(path.to_owned()),
        Err(env::VarError::NotPresent) => KeySource::File(path.to_owned()),
        Ok(_) | Err(env::VarError::NotUnicode(_)) => KeySource::Environment,
    }
}

/// Puts other keys in place of a file's. Whatever happens on the way, the name
/// stands for all of the old ones or all of the new ones.
pub fn replace(path: &Path, keyring: &Keyring) -> Result<(), KeyFileError> {
    let (fresh, old) = (beside(path, ".new"), beside(path, ".old"));
    sweep(path)?;
    let written = write(&fresh, keyring).and_then(|()| {
        // The old content keeps a name until it is overwritten.
        fs::hard_link(path, &old)?;
        fs::rename(&fresh, path)?;
        sync_directory(path)
    });
    if let Err(problem) = written {
        let _gone_or_harmless = fs::remove_file(&fresh);
        return Err(KeyFileError::io("write", path, problem));
    }
    sweep(path)
}

/// Overwrites what a replacement has left, if it was interrupted.
pub fn sweep(path: &Path) -> Result<(), KeyFileError> {
    let old = beside(path, ".old");
    let failed = |problem| KeyFileError::io("overwrite", &old, problem);
    let (left, current) = match (fs::metadata(&old), fs::metadata(path)) {
        (Ok(left), Ok(current)) => (left, current),
        (Err(problem), _) if problem.kind() == ErrorKind::NotFound => return Ok(()),
        (Err(problem), _) | (_, Err(problem)) => return Err(failed(problem)),
    };
    // It was interrupted before the new keys took the name.
    if left.ino() != current.ino() {
        let length = usize::try_from(left.len().min(MAX_BYTES)).unwrap_or(0);
        let overwritten = OpenOptions::new().write(true).open(&old).and_then(|mut file| {
            file.write_all(&vec![b'#'; length])?;
            file.sync_all()
        });
        overwritten.map_err(failed)?;
    }
    fs::remove_file(&old).and_then(|()| sync_directory(path)).map_err(failed)
}

/// The keys of a file that nobody but this user may read.
fn read(path: &Path, user: u32) -> Result<Keyring, KeyFileError> {
    let mut file = File::open(path).map_err(|problem| match problem.kind() {
        ErrorKind::NotFound => KeyFileError::Missing { path: path.to_owned() },
        _ => KeyFileError::io("read", path, problem),
    })?;
    let facts = file.metadata().map_err(|problem| KeyFileError::io("read", path, problem))?;
    if facts.uid() != user && facts.uid() != 0 {
        return Err(KeyFileError::Owner { path: path.to_owned(), owner: facts.uid(), user });
    }
    if facts.mode() & 0o077 != 0 {
        return Err(KeyFileError::Mode { path: path.to_owned(), mode: facts.mode() & 0o7777 });
    }
    if facts.len() > MAX_BYTES {
        return Err(KeyFileError::Keys { path: path.to_owned(), problem: KeyringError::NotKeys });
    }
    // With room for all of it, so that no copy is left behind by growing.
    let room = usize::try_from(facts.len()).unwrap_or(0) + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.read_to_string(&mut text).map_err(|problem| match problem.kind() {
        ErrorKind::InvalidData => {
            KeyFileError::Keys { path: path.to_owned(), problem: KeyringError::NotKeys }
        }
        _ => KeyFileError::io("read", path, problem),
    })?;
    Keyring::parse(&text).map_err(|problem| KeyFileError::Keys { path: path.to_owned(), problem })
}

/// Makes the file of a new vault, and the directory where it is to be.
pub fn create(path: &Path, store: &Path, keyring: &Keyring) -> Result<(), KeyFileError> {
    if path.try_exists().map_err(|problem| KeyFileError::io("look at", path, problem))? {
        return Err(KeyFileError::Exists { path: path.to_owned() });
    }
    if SledStore::is_sealed(store) {
        return Err(lost(path, store));
    }
    place(path, keyring)
}

/// Writes a file that is not there yet, and makes the directory where it is to be.
pub fn place(path: &Path, keyring: &Keyring) -> Result<(), KeyFileError> {
    let failed = |doing| move |problem| KeyFileError::io(doing, path, problem);
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(failed("make the directory of"))?;
    }
    let fresh = beside(path, ".new");
    let written = write(&fresh, keyring).and_then(|()| {
        // A link never replaces what has come in between.
        fs::hard_link(&fresh, path)?;
        sync_directory(path)
    });
    let _gone_or_harmless = fs::remove_file(&fresh);
    written.map_err(|problem| match problem.kind() {
        ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
        _ => KeyFileError::io("write", path, problem),
    })
}

fn write(path: &Path, keyring: &Keyring) -> io::Result<()> {
    let _of_an_attempt_before = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(keyring.to_text().as_bytes())?;
    file.sync_all()
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn lost(path: &Path, store: &Path) -> KeyFileError {
    KeyFileError::Lost { path: path.to_owned(), store: store.to_owned() }
}

/// Why there are no keys. Never carries one.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// Nobody has made any yet.
    #[error("there is no key file at {}: `vizard vault init` makes one", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// There must have been some.
    #[error(
        "there is no key file at {}, and the store at {} is sealed: restore the key file from its backup, or \
         name it in vault.key_file (without it no number in that store can ever be read; to start anew, move \
         the store away)",
        path.display(), store.display()
    )]
    Lost {
        /// Where the keys should be.
        path: PathBuf,
        /// What they open.
        store: PathBuf,
    },
    /// There are some already.
    #[error("{} exists and is never overwritten: numbers may be sealed under its keys", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others may read it.
    #[error(
        "the key file {} can be read or written by others (mode {mode:04o}): `chmod 600` it, and consider \
         its keys known to whoever could read it",
        path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is another user's.
    #[error("the key file {} belongs to user {owner}, not to {user} who runs Vizard: `chown` it", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who wants to read it.
        user: u32,
    },
    /// It holds no keys, or damaged ones.
    #[error("the key file {}: {problem}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: KeyringError,
    },
    /// The environment holds no keys.
    #[error("the environment variable {KEYS_VARIABLE}: {0}")]
    Variable(KeyringError),
    /// A system call failed.
    #[error("cannot {doing} the key file {}: {problem}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        problem: io::Error,
    },
}

impl KeyFileError {
    fn io(doing: &'static str, path: &Path, problem: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), problem }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::engine::privacy::tests::keyring;

    fn paths() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let (keys, store) = (directory.path().join("keys/vault.keys"), directory.path().join("store"));
        (directory, keys, store)
    }

    #[test]
    fn a_key_file_is_made_for_its_owner_alone_and_never_again() {
        let (_directory, keys, store) = paths();
        assert!(matches!(obtain(&keys, &store), Err(KeyFileError::Missing { .. })));
        create(&keys, &store, &keyring()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&keys), mode(keys.parent().unwrap())), (0o600, 0o700));
        assert_eq!(obtain(&keys, &store).unwrap(), keyring());
        let text = fs::read(&keys).unwrap();
        assert!(matches!(create(&keys, &store, &keyring()), Err(KeyFileError::Exists { .. })));
        assert_eq!(fs::read(&keys).unwrap(), text);
        assert_eq!(fs::read_dir(keys.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_others_may_read_or_what_is_damaged_is_refused() {
        let (_directory, keys, store) = paths();
        create(&keys, &store, &keyring()).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o666] {
            fs::set_permissions(&keys, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&keys, user()).unwrap_err();
            assert!(matches!(error, KeyFileError::Mode { mode: found, .. } if found == mode), "{error}");
        }
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
        let text = fs::read_to_string(&keys).unwrap();
        fs::write(&keys, &text[..text.len() - 3]).unwrap();
        let error = read(&keys, user()).unwrap_err();
        assert!(matches!(error, KeyFileError::Keys { problem: KeyringError::Damaged, .. }), "{error}");
        fs::write(&keys, b"\xff\xfe").unwrap();
        assert!(matches!(
            read(&keys, user()),
            Err(KeyFileError::Keys { problem: KeyringError::NotKeys, .. })
        ));
        assert!(matches!(
            read(keys.parent().unwrap(), user()),
            Err(KeyFileError::Io { .. } | KeyFileError::Mode { .. })
        ));
    }

    #[test]
    fn another_user_s_key_file_is_refused() {
        let (_directory, keys, store) = paths();
        create(&keys, &store, &keyring()).unwrap();
        // Root's file is as good as one's own: nobody else has written it.
        assert_eq!(read(&keys, user() + 1).is_ok(), user() == 0);
        if user() == 0 {
            std::os::unix::fs::chown(&keys, Some(4711), None).unwrap();
            let error = read(&keys, user()).unwrap_err();
            assert!(matches!(error, KeyFileError::Owner { owner: 4711, .. }), "{error}");
        }
    }

    #[test]
    fn a_replacement_is_whole_private_and_overwrites_what_was_there() {
        let (_directory, keys, store) = paths();
        create(&keys, &store, &keyring()).unwrap();
        let mut random = crate::engine::privacy::tests::random(3);
        let mut newer = keyring();
        newer.add_epoch(&mut random).unwrap();
        let before = File::open(&keys).unwrap();
        replace(&keys, &newer).unwrap();
        assert_eq!(read_own(&keys).unwrap(), newer);
        assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(keys.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
        let mut left = String::new();
        (&before).read_to_string(&mut left).unwrap();
        assert_eq!(left.trim_matches('#'), "", "the old file's bytes are gone");
    }

    /// The process dies after each step.
    #[test]
    fn an_interrupted_replacement_leaves_the_old_keys_or_the_new_ones() {
        let (_directory, keys, store) = paths();
        create(&keys, &store, &keyring()).unwrap();
        let mut random = crate::engine::privacy::tests::random(3);
        let (old, fresh) = (beside(&keys, ".old"), beside(&keys, ".new"));
        fs::write(&fresh, "vizard-ke").unwrap();
        sweep(&keys).unwrap();
        assert_eq!(read_own(&keys).unwrap(), keyring());
        fs::hard_link(&keys, &old).unwrap();
        sweep(&keys).unwrap();
        assert_eq!(read_own(&keys).unwrap(), keyring(), "the link was not the file's end");
        fs::hard_link(&keys, &old).unwrap();
        let mut newer = keyring();
        newer.add_epoch(&mut random).unwrap();
        write(&fresh, &newer).unwrap();
        fs::rename(&fresh, &keys).unwrap();
        sweep(&keys).unwrap();
        assert_eq!(read_own(&keys).unwrap(), newer);
        assert!(!old.exists());
    }

    #[test]
    fn a_replacement_that_cannot_be_written_changes_nothing() {
        let (_directory, keys, store) = paths();
        create(&keys, &store, &keyring()).unwrap();
        // A directory is in the way of the new file.
        fs::create_dir(beside(&keys, ".new")).unwrap();
        let mut newer = keyring();
        newer.add_epoch(&mut crate::engine::privacy::tests::random(3)).unwrap();
        assert!(matches!(replace(&keys, &newer), Err(KeyFileError::Io { .. })));
        assert_eq!(read_own(&keys).unwrap(), keyring());
    }

    #[test]
    fn lost_keys_of_a_sealed_store_are_not_made_anew() {
        let (_directory, keys, store) = paths();
        let mut random = crate::engine::privacy::tests::random(3);
        drop(SledStore::open(&store, &keyring(), &mut random).unwrap());
        for error in [obtain(&keys, &store).unwrap_err(), create(&keys, &store, &keyring()).unwrap_err()] {
            assert!(matches!(error, KeyFileError::Lost { .. }), "{error}");
        }
        assert!(!keys.exists());
    }

    #[test]
    fn a_full_disk_leaves_nothing_half_written() {
        let full = Path::new("/dev/full");
        let error = File::options().write(true).open(full).unwrap().write_all(keyring().to_text().as_bytes());
        assert_eq!(error.unwrap_err().kind(), ErrorKind::StorageFull);
        // A directory that cannot be made, as any other failure on the way.
        let error = create(Path::new("/dev/full/keys/vault.keys"), Path::new("/x"), &keyring()).unwrap_err();
        assert!(matches!(error, KeyFileError::Io { .. }), "{error}");
    }
}
