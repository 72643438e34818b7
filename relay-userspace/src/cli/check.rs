//! `vizard check`: is the configuration right?

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::GlobalArgs;
use super::exit::Exit;
use super::output::{Block, Failure, Report, length};
use crate::daemon::inspect::{Inspection, inspect};
use crate::datapath::{Mode, memory};
use crate::engine::config::Config;
use crate::engine::directory::BindingKind;
use crate::net::tls;
use crate::settings::{self, DEFAULT_FILE, Overrides, Problem, Settings, Severity};

const EXAMPLES: &str = "\
Examples:
  vizard check                        the file that `vizard run` would use
  vizard check configs/vizard.toml    another one
  vizard check --json | jq .capacity.calls

Every problem is listed with its line, its key and its remedy; exit code 3
says that there are errors, warnings alone leave it at 0.";

/// Check the configuration, without starting anything
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// The file; by default the one of --config
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(args: &CheckArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let named = args.file.clone().or_else(|| global.config.clone());
    let file = named.unwrap_or_else(|| DEFAULT_FILE.into());
    let settings = settings::load(&file, &Overrides::from_environment())
        .map_err(|problems| failure(&file, &problems))?;
    report(&settings)
}

/// All problems as one failure.
pub(super) fn failure(file: &Path, problems: &[Problem]) -> Failure {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let mut what = format!("{} has {errors} error{}", file.display(), if errors == 1 { "" } else { "s" });
    for problem in problems {
        let _ = write!(what, "\n\n{problem}");
    }
    let remedy = "mend the errors above, then run `vizard check` again";
    Failure {
        details: problems.iter().map(|p| json!(p)).collect(),
        ..Failure::new(Exit::Config, what, remedy)
    }
}

fn report(settings: &Settings) -> Result<Report, Failure> {
    let config = &settings.engine;
    let mut blocks = vec![
        Block::Text(format!("{} is valid", settings.file.display())),
        Block::Fields(summary(settings)),
        Block::Table {
            header: vec!["TRUNK", "OVER", "TARGET", "FROM", "MEDIA", "COUNTRY", "TRUSTED", "ROUTES"],
            rows: trunk_rows(config),
            empty: String::new(),
        },
    ];
    blocks.extend(settings.warnings.iter().map(|warning| Block::Text(warning.to_string())));
    let document = json!({
        "file": settings.file,
        "capacity": {
            "calls": settings.capacity(),
            "limit": config.limits.calls,
            "flows": memory::flows(&settings.datapath),
            "map_bytes": memory::needed(&settings.datapath),
        },
        "trunks": config.trunks.iter().map(|trunk| &trunk.name).collect::<Vec<_>>(),
        "warnings": settings.warnings,
    });
    Report::new(blocks, document)
}

fn summary(settings: &Settings) -> Vec<(&'static str, String)> {
    let config = &settings.engine;
    let ports = &config.media.ports;
    let listens = config.sip.listen.iter();
    let listens: Vec<String> =
        listens.map(|listen| format!("{} {}", listen.transport.word(), listen.local)).collect();
    let path = match settings.datapath.mode {
        Mode::Auto => "the fastest that works here",
        Mode::XdpNative => "XDP in the driver",
        Mode::XdpGeneric => "XDP in the stack's receive path",
        Mode::Sockets => "plain sockets",
    };
    let emergency = config.emergency.trunk.and_then(|id| config.trunk(id));
    let bindings = &config.bindings;
    vec![
        ("SIP", listens.join(", ")),
        ("media path", path.to_owned()),
        (
            "media ports",
            format!("{}-{} on {} addresses", ports.start(), ports.end(), config.media.addresses.len()),
        ),
        (
            "capacity",
            format!("{} calls by ports, {} by limits.calls", settings.capacity(), config.limits.calls),
        ),
        ("kernel memory", kernel_memory(settings)),
        ("emergency", emergency.map_or("refused: no trunk", |trunk| &trunk.name).to_owned()),
        (
            "bindings",
            format!(
                "live {}, callbacks {}, cool-off {}",
                length(bindings.life("", BindingKind::Session).time_to_live),
                length(bindings.life("", BindingKind::Session).callback_window),
                length(bindings.cool_off)
            ),
        ),
        ("store", settings.store.display().to_string()),
        ("vault keys", keys(settings)),
        ("certificate", certificate(settings)),
        ("socket", settings.control.socket.display().to_string()),
    ]
}

/// They may be on another machine, so what is wrong with them is no error here.
fn keys(settings: &Settings) -> String {
    match inspect(&settings.key_file, &settings.anchor_file, &settings.store) {
        Ok(Inspection { anchor: Err(problem), .. }) => format!("warning: {problem}"),
        Ok(Inspection { newest, .. }) => format!("{}, epoch {newest}", settings.key_file.display()),
        Err(problem) => format!("warning: {problem:#}"),
    }
}

/// As with the keys, what is wrong with it here may be right elsewhere.
fn certificate(settings: &Settings) -> String {
    let Some(files) = &settings.tls else { return "none: nothing speaks TLS".to_owned() };
    match tls::inspect(files) {
        Ok(certified) => format!("{}, for {}", files.certificate.display(), certified.names.join(", ")),
        Err(problem) => format!("warning: {problem}"),
    }
}

/// What the maps take on this machine: some of it depends on its possible CPUs.
fn kernel_memory(settings: &Settings) -> String {
    match memory::needed(&settings.datapath) {
        0 => "none for media: it goes through sockets".to_owned(),
        bytes => format!("{} for {} flows", memory::mebibytes(bytes), memory::flows(&settings.datapath)),
    }
}

fn trunk_rows(config: &Config) -> Vec<Vec<String>> {
    let rows = config.trunks.iter().enumerate().map(|(index, trunk)| {
        let prefixes = config.routes.iter().filter(|route| usize::from(route.trunk.0) == index);
        let prefix = |prefix: &str| if prefix.is_empty() { "*".to_owned() } else { format!("+{prefix}") };
        vec![
            trunk.name.clone(),
            trunk.transport.word().to_owned(),
            trunk.targets.iter().map(|target| target.address.to_string()).collect::<Vec<_>>().join(","),
            trunk.sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            config
                .media
                .addresses
                .get(trunk.media)
                .map_or_else(String::new, |address| address.local.to_string()),
            trunk.country.to_string(),
            if trunk.trusted { "yes" } else { "no" }.to_owned(),
            prefixes.map(|route| prefix(&route.prefix)).collect::<Vec<_>>().join(","),
        ]
    });
    rows.collect()
}
