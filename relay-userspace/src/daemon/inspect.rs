//! What can be said of the keys and the audit log's anchor while Vizard does not
//! run: for `vizard doctor` and `vizard check`. Changes nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::anchor_file::AnchorFile;
use super::key_file;
use crate::engine::privacy::Epoch;
use crate::store::SledStore;

/// What was found.
pub struct Inspection {
    /// The epoch that seals what is new.
    pub newest: Epoch,
    /// Whether the keys open the store; `None` when there is none yet.
    pub opens: Option<()>,
    /// The number of the entry that the audit log ends with, as its anchor says;
    /// `None` when there is no anchor, or why it says nothing.
    pub anchor: Result<Option<u64>, String>,
}

/// Looks at keys and anchor as the daemon will. Root looks as the owner of the keys.
pub fn inspect(keys: &Path, anchor: &Path, store: &Path) -> anyhow::Result<Inspection> {
    let owner = fs::metadata(keys).ok().filter(|_| key_file::user() == 0).map(|facts| facts.uid());
    let keyring = key_file::obtain_by(keys, store, owner.unwrap_or_else(key_file::user))?;
    let opens = SledStore::fits(store, &keyring)?;
    let anchor = AnchorFile::new(anchor.to_owned(), Arc::new(keyring.notary())).read();
    let anchor = anchor.map(|anchor| anchor.map(|anchor| anchor.seq)).map_err(|error| error.to_string());
    Ok(Inspection { newest: keyring.newest(), opens, anchor })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::engine::audit::Anchor;
    use crate::engine::privacy::Keyring;
    use crate::engine::privacy::tests::{keyring, random};

    #[test]
    fn keys_open_a_store_or_say_why_not() {
        let directory = tempfile::tempdir().unwrap();
        let [keys, anchor, store] =
            ["keys/vault.keys", "keys/audit.anchor", "store"].map(|name| directory.path().join(name));
        let inspect = || inspect(&keys, &anchor, &store);
        assert!(inspect().is_err());
        key_file::create(&keys, &store, &keyring()).unwrap();
        assert_eq!(inspect().unwrap().opens, None);
        let mut random = random(3);
        drop(SledStore::open(&store, &keyring(), &mut random).unwrap());
        assert_eq!(inspect().unwrap().opens, Some(()));
        fs::remove_file(&keys).unwrap();
        let lost = inspect().err().unwrap().to_string();
        assert!(lost.contains("from its backup"), "{lost}");
        fs::write(&keys, Keyring::generate(&mut random).to_text().as_bytes()).unwrap();
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
        let wrong = inspect().err().unwrap().to_string();
        assert!(wrong.contains("does not belong to this store"), "{wrong}");
    }

    #[test]
    fn an_anchor_is_that_of_the_keys_or_says_why_not() {
        let directory = tempfile::tempdir().unwrap();
        let [keys, anchor, store] =
            ["vault.keys", "audit.anchor", "store"].map(|name| directory.path().join(name));
        key_file::create(&keys, &store, &keyring()).unwrap();
        let inspect = || inspect(&keys, &anchor, &store).unwrap().anchor;
        assert_eq!(inspect(), Ok(None));
        let at = Anchor { seq: 7, ..Anchor::default() };
        fs::write(&anchor, at.to_text(&keyring().notary())).unwrap();
        assert_eq!(inspect(), Ok(Some(7)));
        fs::write(&anchor, at.to_text(&Keyring::generate(&mut random(5)).notary())).unwrap();
        assert!(inspect().unwrap_err().contains("another log"));
    }
}
