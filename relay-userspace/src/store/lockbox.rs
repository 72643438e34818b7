//! The wrapped data keys once more, in a file beside the databases: it tells
//! whether a key file belongs to a store without opening the store, which only
//! one process can do at a time. The databases are what counts; the file follows
//! them. Without the wrapping keys it says nothing.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::StoreError;
use super::record::{self, WrappedBytes};
use super::sled::{cannot_open, sync};
use crate::engine::privacy::{Epoch, Keyring, Vault, WrappedKey};

const HEADER: &str = "vizard data keys 1";

/// Writes the file anew where it says something else.
pub(super) fn write(store: &Path, keys: &[WrappedKey]) -> Result<(), StoreError> {
    let mut text = format!("{HEADER}\n");
    for key in keys {
        let bytes = record::encode(&WrappedBytes::from(key))
            .map_err(|problem| StoreError::Open { path: store.display().to_string(), problem })?;
        let _ = writeln!(text, "{} {}", key.epoch, STANDARD.encode(bytes));
    }
    let path = path(store);
    if fs::read_to_string(&path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    replace(store, &path, &text).map_err(|error| cannot_open(&path, &error))
}

/// What the file says of these keys.
pub(super) fn text(keys: &[WrappedKey]) -> Result<String, StoreError> {
    let mut text = format!("{HEADER}\n");
    for key in keys {
        let bytes = record::encode(&WrappedBytes::from(key))
            .map_err(|problem| StoreError::Io { doing: "writing data keys", problem })?;
        let _ = writeln!(text, "{} {}", key.epoch, STANDARD.encode(bytes));
    }
    Ok(text)
}

/// Whether these keys open what such a text stands for.
pub(super) fn check(keyring: &Keyring, text: &str) -> Result<(), StoreError> {
    let vault = |problem| StoreError::Vault { path: "the backup".into(), problem };
    let keys = parse(text)
        .ok_or(StoreError::Io { doing: "reading data keys", problem: "they are damaged".into() })?;
    Vault::check(keyring, &keys).map_err(vault)
}

fn replace(store: &Path, path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync(store)
}

/// Whether these keys open the store at a path; `None` when that cannot be told
/// without opening it.
pub(super) fn fits(store: &Path, keyring: &Keyring) -> Result<Option<()>, StoreError> {
    let path = path(store);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot_open(&path, &error)),
    };
    let Some(keys) = parse(&text) else { return Ok(None) };
    Vault::check(keyring, &keys)
        .map(Some)
        .map_err(|problem| StoreError::Vault { path: store.display().to_string(), problem })
}

fn parse(text: &str) -> Option<Vec<WrappedKey>> {
    let rest = text.strip_prefix(HEADER)?.trim_start();
    let key = |line: &str| {
        let (epoch, key) = line.split_once(' ')?;
        let bytes: WrappedBytes = record::decode(&STANDARD.decode(key).ok()?).ok()?;
        Some(bytes.of(Epoch(epoch.parse().ok()?)))
    };
    rest.lines().map(key).collect()
}

fn path(store: &Path) -> PathBuf {
    store.join("data-keys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::privacy::tests::{keyring, random};

    #[test]
    fn keys_are_told_apart_without_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path();
        assert_eq!(fits(store, &keyring()).unwrap(), None);
        let (_, made) = Vault::open(&keyring(), &[], &mut random(2)).unwrap();
        write(store, &[made.unwrap()]).unwrap();
        assert_eq!(fits(store, &keyring()).unwrap(), Some(()));
        let foreign = Keyring::generate(&mut random(9));
        assert!(matches!(fits(store, &foreign), Err(StoreError::Vault { .. })));
        fs::write(path(store), "vizard data keys 1\n1 AAAA\n").unwrap();
        assert_eq!(fits(store, &foreign).unwrap(), None, "what is damaged tells nothing");
    }
}
