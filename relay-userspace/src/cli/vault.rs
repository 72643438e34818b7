//! `vizard vault`: the keys that real numbers are sealed under.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::GlobalArgs;
use super::exit::Exit;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report};
use crate::api::local::{Request, Response, RotationPhase};
use crate::daemon::{self, key_file};
use crate::engine::admin::{AdminReply, AdminRequest, VaultCount};
use crate::engine::privacy::Keyring;
use crate::settings::{self, DEFAULT_FILE, Overrides, Settings};
use crate::store::SledStore;

#[derive(Debug, Subcommand)]
pub(super) enum VaultCommand {
    /// Make the key file of a new vault
    #[command(after_help = "Examples:\n  vizard vault init\n  \
        VIZARD_KEY_FILE=keys vizard vault init\n\n\
        It makes the file that vault.key_file names, readable for its owner alone, and never overwrites \
        one. Back it up apart from the store: without it no number in the store can ever be read, and \
        whoever has both can read every number.")]
    Init,
    /// Seal everything under new keys, and destroy the old ones
    #[command(after_help = "Examples:\n  vizard vault rotate\n  vizard vault rotate --no-wait\n\n\
        Calls go on meanwhile. A new epoch joins the key file, every party and call is sealed under it, and \
        the old epoch is overwritten in the key file once nothing in the store needs it. A rotation that is \
        interrupted goes on at the next start. Backups of the store from before need the key file from \
        before, so make new ones of both afterwards.")]
    Rotate(RotateArgs),
    /// Copy the key file to another place, such as a medium that is locked away
    #[command(after_help = "Examples:\n  vizard vault export-keys /mnt/safe/vault.keys\n\n\
        Run it as the user that runs Vizard. The copy is checked, readable for its owner alone, and never overwrites a file. Keep it apart from \
        backups of the store. Make a new one after each `vizard vault rotate`, and destroy those of before \
        when no backup that needs them is left.")]
    ExportKeys(KeysArgs),
    /// Put a copy of the key file into its place
    #[command(after_help = "Examples:\n  vizard vault import-keys /mnt/safe/vault.keys\n\n\
        Run it as the user that runs Vizard. It never overwrites a key file, and refuses keys that do not open the store that is there.")]
    ImportKeys(KeysArgs),
    /// Which epoch seals, and how far a rotation is
    #[command(after_help = "Examples:\n  vizard vault status\n  vizard vault status --json | jq .vault.left")]
    Status,
}

#[derive(Debug, Args)]
pub(super) struct KeysArgs {
    /// The other file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// Return as soon as it has begun
    #[arg(long)]
    no_wait: bool,
}

pub(super) fn run(command: &VaultCommand, global: &GlobalArgs) -> Result<Report, Failure> {
    match command {
        VaultCommand::Init => init(global),
        VaultCommand::ExportKeys(args) => export_keys(args, global),
        VaultCommand::ImportKeys(args) => import_keys(args, global),
        VaultCommand::Rotate(args) => rotate(args, global),
        VaultCommand::Status => status(&ask(&mut Daemon::connect(global)?)?),
    }
}

fn settings_of(global: &GlobalArgs) -> Result<Settings, Failure> {
    let file = global.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    settings::load(&file, &Overrides::from_environment())
        .map_err(|problems| super::check::failure(&file, &problems))
}

fn export_keys(args: &KeysArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let settings = settings_of(global)?;
    let keyring = key_file::obtain(&settings.key_file, &settings.store).map_err(unusable)?;
    placed(&args.file, &keyring, "keep it apart from every copy of the store")
}

fn import_keys(args: &KeysArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let settings = settings_of(global)?;
    let keyring = key_file::read_own(&args.file).map_err(unusable)?;
    SledStore::fits(&settings.store, &keyring).map_err(unusable)?;
    placed(&settings.key_file, &keyring, "go on with `vizard run` or `vizard restore`")
}

fn unusable(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, error.to_string(), "nothing was changed; mend that, and run it again")
}

fn placed(path: &Path, keyring: &Keyring, next: &str) -> Result<Report, Failure> {
    key_file::place(path, keyring).map_err(|error| match error {
        key_file::KeyFileError::Exists { .. } => {
            Failure::new(Exit::Conflict, error.to_string(), "name a file that is not there, or move it away")
        }
        error => unusable(error),
    })?;
    let epochs: Vec<u32> = keyring.epochs().map(|epoch| epoch.0).collect();
    let text = format!("{} holds the keys of epoch {}; {next}", path.display(), keyring.newest());
    Report::new(vec![Block::Text(text)], json!({ "key_file": path, "epochs": epochs }))
}

fn init(global: &GlobalArgs) -> Result<Report, Failure> {
    let settings = settings_of(global)?;
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

/// How often a rotation is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub(super) struct Seen {
    count: VaultCount,
    phase: RotationPhase,
}

fn ask(daemon: &mut Daemon) -> Result<Seen, Failure> {
    match daemon.ask(Request::VaultStatus)? {
        Response::Vault { count, phase } => Ok(Seen { count, phase }),
        _ => Err(unexpected()),
    }
}

fn rotate(args: &RotateArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let mut daemon = Daemon::connect(global)?;
    let AdminReply::Rotating { epoch } = daemon.admin(AdminRequest::VaultRotate)? else {
        return Err(unexpected());
    };
    let seen = if args.no_wait { ask(&mut daemon)? } else { follow(&mut daemon, epoch)? };
    status(&seen)
}

/// Waits until every epoch before this one is destroyed.
pub(super) fn follow(daemon: &mut Daemon, begun: u32) -> Result<Seen, Failure> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} parties {msg}");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    loop {
        let seen = ask(daemon)?;
        bar.set_length(seen.count.parties.try_into().unwrap_or(u64::MAX));
        bar.set_position((seen.count.parties - seen.count.left).try_into().unwrap_or(u64::MAX));
        match &seen.phase {
            RotationPhase::Ended { epoch } if *epoch == begun => {
                bar.finish_and_clear();
                return Ok(seen);
            }
            RotationPhase::Waiting { problem } => {
                bar.finish_and_clear();
                return Err(Failure::new(
                    Exit::Failure,
                    format!("the change to key epoch {begun} waits: {problem}"),
                    "mend that: it goes on by itself, and nothing is lost; `vizard vault status` shows it",
                ));
            }
            other => bar.set_message(describe(other)),
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn status(seen: &Seen) -> Result<Report, Failure> {
    let Seen { count, phase } = seen;
    let fields = vec![
        ("epoch", count.epoch.to_string()),
        ("parties", count.parties.to_string()),
        ("under older epochs", count.left.to_string()),
        ("rotation", describe(phase)),
    ];
    Report::new(vec![Block::Fields(fields)], json!({ "vault": count, "rotation": phase }))
}

fn describe(phase: &RotationPhase) -> String {
    match phase {
        RotationPhase::None => "none since the start".into(),
        RotationPhase::Beginning { epoch } => format!("epoch {epoch} begins"),
        RotationPhase::Sealing { epoch } => format!("everything is being sealed under epoch {epoch}"),
        RotationPhase::Looking { left: None | Some(0), .. } => "the store is searched for older seals".into(),
        RotationPhase::Looking { left: Some(left), .. } => format!("{left} records wait for their turn"),
        RotationPhase::Ended { epoch } => {
            format!("ended: the keys before epoch {epoch} are destroyed; make new backups of store and keys")
        }
        RotationPhase::Waiting { problem } => format!("waits: {problem}"),
    }
}
