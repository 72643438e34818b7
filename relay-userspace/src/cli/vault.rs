//! `vizard vault`: the keys that real numbers are sealed under.

use clap::Subcommand;
use serde_json::json;

use super::GlobalArgs;
use super::exit::Exit;
use super::output::{Block, Failure, Report};
use crate::daemon::{self, key_file};
use crate::engine::privacy::Keyring;
use crate::settings::{self, DEFAULT_FILE, Overrides};

#[derive(Debug, Subcommand)]
pub(super) enum VaultCommand {
    /// Make the key file of a new vault
    #[command(after_help = "Examples:\n  vizard vault init\n  \
        VIZARD_KEY_FILE=keys vizard vault init\n\n\
        It makes the file that vault.key_file names, readable for its owner alone, and never overwrites \
        one. Back it up apart from the store: without it no number in the store can ever be read, and \
        whoever has both can read every number.")]
    Init,
}

pub(super) fn run(command: &VaultCommand, global: &GlobalArgs) -> Result<Report, Failure> {
    match command {
        VaultCommand::Init => init(global),
    }
}

fn init(global: &GlobalArgs) -> Result<Report, Failure> {
    let file = global.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    let settings = settings::load(&file, &Overrides::from_environment())
        .map_err(|problems| super::check::failure(&file, &problems))?;
    let failed = |what: String| {
        Failure::new(Exit::Failure, what, "run it as the user that runs Vizard, on a disk that is not full")
    };
    let mut random = daemon::random().map_err(|error| failed(format!("{error:#}")))?;
    let keyring = Keyring::generate(&mut random);
    let path = &settings.key_file;
    key_file::create(path, &settings.store, &keyring).map_err(|error| match error {
        key_file::KeyFileError::Exists { .. } => {
            Failure::new(Exit::Conflict, error.to_string(), "go on with `vizard run`")
        }
        error => failed(error.to_string()),
    })?;
    let lines = format!(
        "{} holds the keys of a new vault\n\
         back it up apart from {}: without it no number there can be read, and whoever has both can read all",
        path.display(),
        settings.store.display()
    );
    let document = json!({ "key_file": path, "epoch": keyring.newest().0 });
    Report::new(vec![Block::Text(lines)], document)
}
