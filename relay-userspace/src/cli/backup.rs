//! `vizard backup` and `vizard restore`: the store without its keys, out and
//! back in.
//!
//! A backup is a directory of two files: `store.rows`, the rows as the store has
//! them, and `backup.json`, which is written last and says how many there are,
//! their digest, and which keys they need. Keys go another way:
//! `vizard vault export-keys`.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::GlobalArgs;
use super::exit::Exit;
use super::live::{Daemon, instead, unexpected};
use super::output::{Block, Failure, Report};
use crate::api::local::{Request, Response};
use crate::daemon::{self, key_file};
use crate::settings::{self, DEFAULT_FILE, Overrides};
use crate::store::{SledStore, StoreError};

const ROWS: &str = "store.rows";
const MANIFEST: &str = "backup.json";
/// Grows when an older Vizard would misunderstand a newer backup.
const FORMAT: u32 = 2;
/// A manifest is a few kilobytes.
const MAX_MANIFEST: u64 = 1024 * 1024;
/// What is read and written at once.
const CHUNK: usize = 1 << 16;

/// Copy the store of the running Vizard, without its keys
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vizard backup /backup/vizard-2026-11-25\n\n\
    The copy is the store at one moment; calls and commands go on meanwhile. It holds no key, so nobody can \
    read a number in it without the key file: keep that elsewhere (`vizard vault export-keys`). After \
    `vizard vault rotate` or `vizard privacy erase`, make a new backup of both: the key file of after does \
    not open a store of before.")]
pub(super) struct BackupArgs {
    /// The directory to make; it must not be there yet
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Make the store of a backup, where there is none
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vizard restore /backup/vizard-2026-11-25\n\n\
    Run it as the user that runs Vizard, while Vizard is stopped and with the key file in its place \
    (`vizard vault import-keys`). Nothing is made unless the backup is whole and the keys open every record in \
    it. What was done after the backup is not in it: numbers that were given out since may be given out \
    again.")]
pub(super) struct RestoreArgs {
    /// The directory that `vizard backup` made
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    backup_format: u32,
    vizard: String,
    made: String,
    rows: u64,
    bytes: u64,
    sha256: String,
    data_keys: String,
}

pub(super) fn backup(args: &BackupArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let directory = &args.directory;
    let mut daemon = Daemon::connect(global)?;
    let unwritable = |error: io::Error| {
        let (exit, remedy) = match error.kind() {
            io::ErrorKind::AlreadyExists => (Exit::Conflict, "name a directory that is not there yet"),
            _ => (Exit::Failure, "name a directory that you may write to, with room for the store"),
        };
        Failure::new(exit, format!("cannot write the backup {}: {error}", directory.display()), remedy)
    };
    DirBuilder::new().mode(0o700).create(directory).map_err(unwritable)?;
    let written = receive(&mut daemon, directory, unwritable);
    if written.is_err() {
        let _what_is_left_is_no_backup = fs::remove_dir_all(directory);
    }
    let manifest = written?;
    let text = format!(
        "{}: {} rows, {} bytes\nit holds no key: back the key file up apart from it",
        directory.display(),
        manifest.rows,
        manifest.bytes
    );
    Report::new(vec![Block::Text(text)], json!({ "directory": directory, "backup": manifest }))
}

fn receive(
    daemon: &mut Daemon,
    directory: &Path,
    unwritable: impl Fn(io::Error) -> Failure,
) -> Result<Manifest, Failure> {
    let create =
        |name: &str| OpenOptions::new().write(true).create_new(true).mode(0o600).open(directory.join(name));
    let mut file = create(ROWS).map_err(&unwritable)?;
    let (mut digest, mut bytes) = (Sha256::new(), 0_u64);
    let style = ProgressStyle::with_template("{bytes} {bytes_per_sec}");
    let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut response = daemon.ask(Request::Backup)?;
    let (rows, data_keys) = loop {
        match response {
            Response::BackupPiece { bytes: piece } => {
                let piece = STANDARD.decode(piece).map_err(|_| unexpected())?;
                file.write_all(&piece).map_err(&unwritable)?;
                digest.update(&piece);
                bytes += piece.len() as u64;
                bar.set_position(bytes);
            }
            Response::BackupEnded { rows, data_keys } => break (rows, data_keys),
            other => return Err(instead(other)),
        }
        response = daemon.more()?;
    };
    bar.finish_and_clear();
    file.sync_all().map_err(&unwritable)?;
    let manifest = Manifest {
        backup_format: FORMAT,
        vizard: env!("CARGO_PKG_VERSION").into(),
        made: jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string(),
        rows,
        bytes,
        sha256: hex(&digest.finalize()),
        data_keys,
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| unwritable(error.into()))?;
    let mut file = create(MANIFEST).map_err(&unwritable)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(&unwritable)?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(&unwritable)?;
    Ok(manifest)
}

pub(super) fn restore(args: &RestoreArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let file = global.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    let settings = settings::load(&file, &Overrides::from_environment())
        .map_err(|problems| super::check::failure(&file, &problems))?;
    let failed =
        |what: String| Failure::new(Exit::Failure, what, "nothing was changed; mend that, and run it again");
    let manifest = manifest(&args.directory).map_err(failed)?;
    let keyring = key_file::obtain(&settings.key_file, &settings.store)
        .map_err(|error| failed(format!("{error}; put the key file of the backup there first")))?;
    SledStore::opens_copy(&keyring, &manifest.data_keys).map_err(|error| failed(error.to_string()))?;
    check_digest(&args.directory, &manifest).map_err(failed)?;
    let rows = File::open(args.directory.join(ROWS)).map_err(|error| failed(error.to_string()))?;
    let mut random = daemon::random().map_err(|error| failed(format!("{error:#}")))?;
    let mut rows = BufReader::with_capacity(CHUNK, rows);
    let restoring = daemon::Restoring::new(&keyring, &settings.anchor_file);
    let mut noted = None;
    let note = |log: &_| {
        noted = Some(restoring.entry(&manifest.made, log));
        noted.clone()
    };
    let restored = SledStore::restore(&settings.store, &keyring, &mut rows, &mut random, note);
    let restored = restored.map_err(|error| match error {
        StoreError::InUse { .. } => {
            Failure::new(Exit::Conflict, error.to_string(), "stop Vizard before its store is restored")
        }
        error => failed(error.to_string()),
    })?;
    let mut text = format!(
        "{} is the store of {}: {} numbers, {} bindings, {} parties\nwhat was done since is not in it; its audit \
         log says so",
        settings.store.display(),
        manifest.made,
        restored.numbers,
        restored.bindings,
        restored.parties
    );
    if let Some(Err(problem)) = noted.as_ref().map(|entry| restoring.done(entry)) {
        let _ = write!(text, "\nthe log's anchor still names the entry before: {problem}");
    }
    let document = json!({
        "store": settings.store, "made": manifest.made, "numbers": restored.numbers,
        "bindings": restored.bindings, "parties": restored.parties, "calls": restored.calls,
    });
    Report::new(vec![Block::Text(text)], document)
}

fn manifest(directory: &Path) -> Result<Manifest, String> {
    let path = directory.join(MANIFEST);
    let unreadable = |problem: String| format!("{} is no backup: {problem}", directory.display());
    let mut text = String::new();
    let file = File::open(&path).map_err(|error| unreadable(format!("{}: {error}", path.display())))?;
    file.take(MAX_MANIFEST).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|_| unreadable(format!("{} is damaged", path.display())))?;
    if manifest.backup_format > FORMAT {
        return Err(format!("it was made by Vizard {}; restore it with that one", manifest.vizard));
    }
    Ok(manifest)
}

fn check_digest(directory: &Path, manifest: &Manifest) -> Result<(), String> {
    let path = directory.join(ROWS);
    let unreadable = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut file = File::open(&path).map_err(unreadable)?;
    let (mut digest, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk).map_err(unreadable)? {
            0 => break,
            length => digest.update(&chunk[..length]),
        }
    }
    if hex(&digest.finalize()) == manifest.sha256 {
        Ok(())
    } else {
        Err(format!("{} is damaged: its digest is not that of {MANIFEST}", path.display()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
