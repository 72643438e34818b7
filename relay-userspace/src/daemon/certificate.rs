//! What proves an erasure afterwards: a file per person, without a number in it.
//!
//! It is written last, when the keys that opened the person's address are
//! overwritten, and whole or not at all. Written again, it is the same file.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;
use thiserror::Error;

use crate::engine::privacy::{Epoch, Erasure};
use crate::engine::time::Timestamp;

/// Which keys are gone.
pub(super) struct Destroyed<'a> {
    /// Every epoch before this one.
    pub(super) before: Epoch,
    /// From this file.
    pub(super) key_file: &'a Path,
    /// By this time.
    pub(super) at: SystemTime,
}

/// A certificate could not be written.
#[derive(Debug, Error)]
#[error("cannot write the certificate {}: {problem}", path.display())]
pub(super) struct CertificateError {
    path: PathBuf,
    problem: io::Error,
}

/// Writes an erasure's certificate, and says where.
pub(super) fn write(
    directory: &Path,
    erasure: &Erasure,
    destroyed: &Destroyed<'_>,
) -> Result<PathBuf, CertificateError> {
    let path = directory.join(format!("{}.json", erasure.id));
    if path.exists() {
        return Ok(path);
    }
    let written = put(directory, &path, &text(erasure, destroyed));
    written.map(|()| path.clone()).map_err(|problem| CertificateError { path, problem })
}

fn put(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let fresh = path.with_extension("new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(directory)?.sync_all()
}

fn text(erasure: &Erasure, destroyed: &Destroyed<'_>) -> String {
    let pseudonyms = erasure.pseudonyms.iter();
    let tombstones = erasure.tombstones.iter();
    let document = json!({
        "certificate": "vizard erasure 1",
        "id": erasure.id,
        "asked": shown(erasure.asked),
        "erased": jiff::Timestamp::try_from(destroyed.at).unwrap_or_default().to_string(),
        "pseudonyms": pseudonyms.map(|(tenant, party)| json!({ "tenant": tenant, "party": party })).collect::<Vec<_>>(),
        "bindings_ended": erasure.ended,
        "tombstones_kept": tombstones
            .map(|(binding, until)| json!({ "binding": binding, "until": shown(*until) }))
            .collect::<Vec<_>>(),
        "keys_destroyed_before_epoch": destroyed.before.0,
        "key_file": destroyed.key_file,
        "statement": format!(
            "The person's number was sealed under keys of epochs before {} alone. These keys are overwritten in \
             the key file, and nothing in the store is sealed under them.",
            erasure.epoch
        ),
        "kept": [
            "a keyed digest of the number, sealed, until no tombstone or rest of the person is left: it keeps \
             late calls from reaching strangers",
            "call detail records, which name bindings, proxy numbers and countries, and no person",
        ],
        "beyond_this": [
            "copies of the key file from before open copies of the store from before: destroy them",
        ],
    });
    format!("{document:#}\n")
}

fn shown(at: Timestamp) -> String {
    let microseconds = u64::try_from(at.unix_microseconds()).unwrap_or(0);
    let at = SystemTime::UNIX_EPOCH + Duration::from_micros(microseconds);
    jiff::Timestamp::try_from(at).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ids::{BindingId, ErasureId, PartyId};

    #[test]
    fn a_certificate_is_whole_and_written_once() {
        let directory = tempfile::tempdir().unwrap();
        let erasure = Erasure {
            id: ErasureId::from_bits(5),
            epoch: Epoch(2),
            asked: Timestamp::from_unix_microseconds(1_000_000),
            pseudonyms: vec![("acme".into(), PartyId::from_bits(9))],
            ended: vec![BindingId::from_bits(7)],
            tombstones: vec![(BindingId::from_bits(7), Timestamp::from_unix_microseconds(2_000_000))],
        };
        let destroyed = Destroyed { before: Epoch(2), key_file: Path::new("/k"), at: SystemTime::UNIX_EPOCH };
        let path = write(&directory.path().join("c"), &erasure, &destroyed).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["asked"], "1970-01-01T00:00:01Z");
        assert_eq!(document["tombstones_kept"][0]["until"], "1970-01-01T00:00:02Z");
        assert_eq!(document["keys_destroyed_before_epoch"], 2);
        let later = Destroyed { at: SystemTime::now(), ..destroyed };
        assert_eq!(write(path.parent().unwrap(), &erasure, &later).unwrap(), path);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert!(write(Path::new("/dev/full/c"), &erasure, &later).is_err());
    }
}
