//! The anchor of the audit log where it lies: a file beside the keys.
//!
//! It is replaced as a whole, and is on the disk before anybody relies on the
//! entry that it names.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::key_file::{beside, sync_directory};
use crate::engine::audit::Anchor;
use crate::engine::audit::anchor::AnchorError;
use crate::engine::privacy::Notary;

/// Where the anchor of a log lies.
#[derive(Clone, Debug)]
pub(super) struct AnchorFile {
    path: PathBuf,
    notary: Arc<Notary>,
}

impl AnchorFile {
    /// The file at this path, which need not be there yet.
    pub(super) const fn new(path: PathBuf, notary: Arc<Notary>) -> Self {
        Self { path, notary }
    }

    /// What proves it and its log.
    pub(super) fn notary(&self) -> &Notary {
        &self.notary
    }

    /// What it says; `None` when there is no file.
    pub(super) fn read(&self) -> Result<Option<Anchor>, AnchorFileError> {
        let path = || self.path.clone();
        match fs::read_to_string(&self.path) {
            Ok(text) => Anchor::parse(&text, self.notary())
                .map(Some)
                .map_err(|problem| AnchorFileError::Anchor { path: path(), problem }),
            Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(None),
            Err(problem) if problem.kind() == ErrorKind::InvalidData => {
                Err(AnchorFileError::Anchor { path: path(), problem: AnchorError::Damaged })
            }
            Err(problem) => Err(AnchorFileError::Io { doing: "read", path: path(), problem }),
        }
    }

    /// Moves it.
    pub(super) fn write(&self, anchor: &Anchor) -> Result<(), AnchorFileError> {
        let text = anchor.to_text(self.notary());
        replace(&self.path, &text).map_err(|problem| AnchorFileError::Io {
            doing: "write",
            path: self.path.clone(),
            problem,
        })
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let fresh = beside(path, ".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    File::sync_all(&file)?;
    fs::rename(&fresh, path)?;
    sync_directory(path)
}

/// Why there is no anchor.
#[derive(Debug, Error)]
pub(super) enum AnchorFileError {
    /// The file holds none, or another log's.
    #[error("the anchor of the audit log at {}: {problem}", path.display())]
    Anchor {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: AnchorError,
    },
    /// A system call failed.
    #[error(
        "cannot {doing} the anchor of the audit log at {}: {problem}; let the user that runs Vizard write to its \
         directory, or name another file in vault.anchor_file",
        path.display()
    )]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        problem: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::privacy::tests::{random, vault};
    use crate::engine::privacy::{Keyring, Vault};

    fn anchor(seq: u64) -> Anchor {
        Anchor { seq, digest: crate::engine::privacy::Digest::of(&seq.to_be_bytes()) }
    }

    #[test]
    fn an_anchor_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys/audit.anchor");
        let file = AnchorFile::new(path.clone(), Arc::clone(vault().notary()));
        assert_eq!(file.read().unwrap(), None);
        for seq in [0, 1, 4711] {
            file.write(&anchor(seq)).unwrap();
            assert_eq!(file.read().unwrap(), Some(anchor(seq)));
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn an_anchor_that_was_changed_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.anchor");
        let file = AnchorFile::new(path.clone(), Arc::clone(vault().notary()));
        file.write(&anchor(4711)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            fs::write(&path, &bytes).unwrap();
            assert!(matches!(file.read(), Err(AnchorFileError::Anchor { .. })), "byte {at}");
        }
        fs::write(&path, &text).unwrap();
        let foreign = Keyring::generate(&mut random(5));
        let (foreign, _) = Vault::open(&foreign, &[], &mut random(6)).unwrap();
        let error = AnchorFile::new(path, Arc::clone(foreign.notary())).read().unwrap_err();
        assert!(error.to_string().contains("another log"), "{error}");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let file = AnchorFile::new("/dev/null/keys/audit.anchor".into(), Arc::clone(vault().notary()));
        let error = file.write(&anchor(1)).unwrap_err().to_string();
        assert!(error.contains("/dev/null/keys") && error.contains("vault.anchor_file"), "{error}");
    }
}
