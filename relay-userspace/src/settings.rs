//! The configuration file and the environment, checked as a whole.
//!
//! One TOML file ([`DEFAULT_FILE`]; `--config` or `VIZARD_CONFIG` names another)
//! becomes one [`Settings`]. All problems are reported at once, each with its
//! line, its key, what is wrong and how to mend it; an unknown key is an error,
//! because a misspelt limit that is silently ignored is found only when it
//! should have bitten. What comes out is whole: names are resolved to indices,
//! and nothing after this module has to ask whether a value makes sense.
//!
//! Four settings can be overridden by the environment, so that one shipped file
//! serves several places: `VIZARD_STORE`, `VIZARD_KEY_FILE`, `VIZARD_SOCKET` and
//! `VIZARD_LOG`.
//! Relative paths are relative to the working directory.
//!
//! It opens no socket and looks at no interface: whether this machine can do
//! what the file asks for is `vizard doctor`'s question.

mod connections;
mod cross;
mod places;
mod problem;
mod reader;
mod roles;
mod sections;
mod terms;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::datapath::DatapathConfig;
use crate::engine::config::Config;
use crate::engine::privacy::Role;
use crate::net::stream::StreamLimits;
use crate::net::tls::TlsFiles;

pub use problem::{Place, Problem, Severity, did_you_mean};
pub use reader::{duration, show as show_duration};

use problem::Report;
use reader::Section;

/// Where the configuration is unless told otherwise.
pub const DEFAULT_FILE: &str = "/etc/vizard/vizard.toml";
/// Where the daemon listens for local commands unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/vizard/vizard.sock";
/// Where the vault's keys are unless told otherwise: never with the records.
pub const DEFAULT_KEY_FILE: &str = "/var/lib/vizard-keys/vault.keys";
/// Where records are kept unless told otherwise.
pub const DEFAULT_STORE: &str = "/var/lib/vizard";
/// A configuration is a few kilobytes; this is a log or a disk image by mistake.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Everything that the daemon is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file that it was read from.
    pub file: PathBuf,
    /// The engine's part.
    pub engine: Config,
    /// The media path's part.
    pub datapath: DatapathConfig,
    /// What bounds connections of signalling.
    pub connections: StreamLimits,
    /// Certificates and keys, where TLS is spoken.
    pub tls: Option<TlsFiles>,
    /// Where records are kept: a directory.
    pub store: PathBuf,
    /// Where the vault's keys are: a file.
    pub key_file: PathBuf,
    /// Where the audit log's anchor is: a file.
    pub anchor_file: PathBuf,
    /// The local socket.
    pub control: Control,
    /// What is logged, and how.
    pub log: Log,
    /// What is legal but may surprise.
    pub warnings: Vec<Problem>,
}

impl Settings {
    /// Calls at a time that the media ports carry when both legs of every call
    /// need a pair (RTP and RTCP) and the trunks share the load evenly.
    #[must_use]
    pub fn capacity(&self) -> usize {
        capacity(&self.engine)
    }
}

/// The local socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its path.
    pub socket: PathBuf,
    /// The group that may use it: a name or a number.
    pub group: Option<String>,
    /// Its permission bits; `0o660` by default.
    pub mode: u32,
    /// Who has which role: users, and groups behind `@`, by name or number.
    pub roles: BTreeMap<Role, Vec<String>>,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// In tracing's syntax: `info`, or `info,vizard::datapath=debug`.
    pub filter: String,
    /// How lines are written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the environment overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `VIZARD_STORE` for `store.path`.
    pub store: Option<PathBuf>,
    /// `VIZARD_KEY_FILE` for `vault.key_file`.
    pub key_file: Option<PathBuf>,
    /// `VIZARD_SOCKET` for `control.socket`.
    pub socket: Option<PathBuf>,
    /// `VIZARD_LOG` for `log.filter`.
    pub log: Option<String>,
}

impl Overrides {
    /// From this process's environment; an empty variable counts as unset.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            store: variable("VIZARD_STORE").map(PathBuf::from),
            key_file: variable("VIZARD_KEY_FILE").map(PathBuf::from),
            socket: variable("VIZARD_SOCKET").map(PathBuf::from),
            log: variable("VIZARD_LOG").map(|value| value.to_string_lossy().into_owned()),
        }
    }
}

/// Reads and checks a file. On failure every error and warning is returned, in
/// the order of the file.
pub fn load(file: &Path, overrides: &Overrides) -> Result<Settings, Vec<Problem>> {
    match read(file) {
        Ok(text) => parse(file, &text, overrides),
        Err((what, remedy)) => Err(vec![Problem {
            severity: Severity::Error,
            place: Place::File { file: file.display().to_string() },
            key: String::new(),
            what,
            remedy: remedy.to_owned(),
        }]),
    }
}

/// Checks a file's text; `file` names it in problems.
pub fn parse(file: &Path, text: &str, overrides: &Overrides) -> Result<Settings, Vec<Problem>> {
    let name = file.display().to_string();
    let mut report = Report::new(&name, text);
    let (table, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let at = error.span().unwrap_or(0..0);
        report.error(&at, "", error.message().trim(), "write TOML as described at https://toml.io");
    }
    // After a syntax error half of the file may be missing: what the other checks
    // would say is noise.
    let built =
        if syntax.is_empty() { build(file, Section::root(&table), overrides, &mut report) } else { None };
    let problems = report.into_problems();
    match built {
        Some(settings) if problems.iter().all(|problem| problem.severity == Severity::Warning) => {
            Ok(Settings { warnings: problems, ..settings })
        }
        _ => Err(problems),
    }
}

fn read(file: &Path) -> Result<String, (String, &'static str)> {
    let size = std::fs::metadata(file).map_err(|error| unreadable(&error))?.len();
    if size > MAX_FILE_BYTES {
        return Err((
            format!("the file has {size} bytes"),
            "name a configuration file; 4 MiB is the most it may have",
        ));
    }
    std::fs::read_to_string(file).map_err(|error| unreadable(&error))
}

fn unreadable(error: &std::io::Error) -> (String, &'static str) {
    let remedy = match error.kind() {
        std::io::ErrorKind::NotFound => {
            "name another file with --config or VIZARD_CONFIG; configs/vizard.toml is an example to start from"
        }
        std::io::ErrorKind::PermissionDenied => "run as a user who may read it, or change its mode",
        std::io::ErrorKind::InvalidData => "save it as UTF-8",
        _ => "name a readable TOML file with --config or VIZARD_CONFIG",
    };
    (format!("cannot read the file: {error}"), remedy)
}

/// Reads every section before giving up, so that each reports its problems.
fn build(
    file: &Path,
    mut root: Section<'_>,
    overrides: &Overrides,
    report: &mut Report<'_>,
) -> Option<Settings> {
    let sip = sections::sip(root.section("sip", report), report);
    let media = sections::media(root.section("media", report), report);
    let trunks: Vec<_> =
        root.sections("trunk", report).into_iter().map(|section| sections::trunk(section, report)).collect();
    let routes: Vec<_> =
        root.sections("route", report).into_iter().map(|section| sections::route(section, report)).collect();
    let emergency = sections::emergency(root.section("emergency", report), report);
    let tenants = root.section("tenant", report);
    let bindings = terms::bindings(root.section("bindings", report), &tenants, report);
    let services = terms::services(root.section("callbacks", report), report);
    let pool = sections::pool(root.section("pool", report), report);
    let records = sections::records(root.section("records", report), report);
    let retention = sections::retention(root.section("retention", report), report);
    let geography = places::geography(root.section("geography", report), report);
    let guard = sections::guard(root.section("guard", report), report);
    let limits = sections::limits(root.section("limits", report), report);
    let store = sections::store(root.section("store", report), overrides, report);
    let (key_file, anchor_file) = sections::vault(root.section("vault", report), &store, overrides, report);
    let (roles, unmask) = roles::roles(root.section("roles", report), report);
    let control = sections::control(root.section("control", report), roles, overrides, report);
    let log = sections::log(root.section("log", report), overrides, report);
    root.finish(report);

    let (connections, tls) = (sip.connections, sip.tls.clone());
    let drafts = cross::Drafts {
        sip,
        media,
        trunks,
        routes,
        emergency,
        bindings,
        services,
        pool,
        records,
        retention,
        geography,
        guard,
        unmask,
        limits,
    };
    let (engine, datapath) = cross::resolve(drafts, report)?;
    let file = file.to_owned();
    Some(Settings {
        file,
        engine,
        datapath,
        connections,
        tls,
        store,
        key_file,
        anchor_file,
        control,
        log,
        warnings: Vec::new(),
    })
}

fn capacity(config: &Config) -> usize {
    let pairs = (usize::from(*config.media.ports.end()) + 1 - usize::from(*config.media.ports.start())) / 2;
    let mut used: Vec<usize> = config.trunks.iter().map(|trunk| trunk.media).collect();
    used.sort_unstable();
    used.dedup();
    pairs * used.len().max(1) / 2
}

#[cfg(test)]
mod tests;
