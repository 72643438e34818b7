//! What a restore leaves behind beside the store: an entry in its audit log, and the
//! anchor that names it. For `vizard restore`, while Vizard does not run.

use std::path::Path;
use std::sync::Arc;

use super::anchor_file::AnchorFile;
use super::clock::Clock;
use super::key_file;
use crate::api::accounts::user_name;
use crate::engine::audit::{Anchor, Entry, Snapshot, Who, restored};
use crate::engine::privacy::{Asker, Keyring};

/// A restore under way.
pub struct Restoring {
    anchor: AnchorFile,
}

impl Restoring {
    /// Of a store with these keys, whose log is anchored there.
    #[must_use]
    pub fn new(keyring: &Keyring, anchor: &Path) -> Self {
        Self { anchor: AnchorFile::new(anchor.to_owned(), Arc::new(keyring.notary())) }
    }

    /// What the log that a backup of `made` has is to say. An anchor that cannot be read
    /// tells nothing; the next start says that it is so.
    #[must_use]
    pub fn entry(&self, made: &str, log: &Snapshot) -> Entry {
        let anchor = self.anchor.read().ok().flatten();
        let user = key_file::user();
        let who = Who::User(Asker { user, name: user_name(user), role: None });
        let log = Snapshot { anchor, ..log.clone() };
        restored(self.anchor.notary(), Clock::start().now().wall, who, made, &log)
    }

    /// The store with that entry is in its place. A start finds its way without an
    /// anchor that names it, so a failure is only told.
    pub fn done(&self, entry: &Entry) -> Result<(), String> {
        self.anchor.write(&Anchor::at(entry)).map_err(|error| error.to_string())
    }
}
