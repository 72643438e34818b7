//! `vizard doctor`: can this machine carry calls, and how fast?
//!
//! [`probe`] gathers facts, [`checks`] judges them. It needs neither root nor a
//! daemon nor another program, changes nothing, and says what it could not see. Where
//! a Vizard runs, it also says which media path that one is on, and why.

mod checks;
mod ethtool;
mod facts;
mod probe;

#[cfg(test)]
mod tests;

use std::time::SystemTime;

use clap::Args;
use serde_json::json;

use super::GlobalArgs;
use super::exit::Exit;
use super::live::Daemon;
use super::output::{Block, Failure, Report};
use crate::daemon::inspect::inspect;
use crate::datapath::{Mode, memory};
use crate::net::tls;
use crate::settings::{self, DEFAULT_FILE, Overrides, Settings};

use checks::{Finding, Verdict};
use facts::Wanted;

const EXAMPLES: &str = "\
Examples:
  vizard doctor
  vizard doctor --interface eth0 --interface eth1
  vizard doctor --json | jq '.findings[] | select(.verdict == \"fail\")'

It needs no daemon and no root, and changes nothing; what it may not see is
'unknown' with the reason. Exit code 1 says that something fails.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DoctorArgs {
    /// Look at this interface instead of the configured ones; may be repeated
    #[arg(long, value_name = "NAME")]
    interface: Vec<String>,
}

pub(super) fn run(args: &DoctorArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let (configuration, settings) = configuration(global);
    let wanted = wanted(settings.as_ref());
    let secrets = settings.as_ref().map_or_else(Vec::new, |settings| {
        let Settings { key_file, anchor_file, store, .. } = settings;
        match inspect(key_file, anchor_file, store) {
            Ok(found) => vec![checks::keys(key_file, &found), checks::anchor(anchor_file, &found)],
            Err(problem) => vec![checks::no_keys(format!("{problem:#}"))],
        }
    });
    let certificate = settings.as_ref().and_then(|settings| settings.tls.as_ref()).map(|files| {
        let inspected = tls::inspect(files).map_err(|error| error.to_string());
        checks::certificate(&files.certificate, &inspected, now())
    });
    let configured = settings.map(|settings| settings.datapath.interfaces).unwrap_or_default();
    let interfaces = if args.interface.is_empty() { &configured } else { &args.interface };
    let facts = probe::gather(&wanted, interfaces);
    let mut findings = vec![configuration];
    findings.extend(secrets);
    findings.extend(certificate);
    if let Ok(status) = Daemon::connect(global).and_then(|mut daemon| daemon.status()) {
        findings.push(checks::running(&status.datapath, wanted.mode));
    }
    findings.extend(checks::all(&facts, &wanted));
    report(&findings)
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn configuration(global: &GlobalArgs) -> (Finding, Option<Settings>) {
    let file = global.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    let check = "configuration";
    match settings::load(&file, &Overrides::from_environment()) {
        Ok(settings) => {
            let found = format!("{}, {} warnings", file.display(), settings.warnings.len());
            (Finding::new(Verdict::Ok, check, found, ""), Some(settings))
        }
        // A machine may be looked at before it is configured.
        Err(_) if global.config.is_none() && !file.exists() => {
            let found = format!("there is no {}; the defaults are assumed", file.display());
            (Finding::new(Verdict::Warn, check, found, "name one with --config"), None)
        }
        Err(problems) => {
            let found = format!("{} has {} problems", file.display(), problems.len());
            let remedy = format!("vizard check {}", file.display());
            (Finding::new(Verdict::Fail, check, found, remedy), None)
        }
    }
}

fn wanted(settings: Option<&Settings>) -> Wanted {
    match settings {
        Some(settings) => Wanted {
            mode: settings.datapath.mode,
            map_bytes: memory::needed(&settings.datapath),
            ports: settings.datapath.ports.clone(),
            media: settings.datapath.addresses.clone(),
            listen: settings
                .engine
                .sip
                .listen
                .iter()
                .map(|listen| (listen.transport, listen.local))
                .collect(),
        },
        None => Wanted {
            mode: Mode::Auto,
            map_bytes: 0,
            ports: 20_000..=29_999,
            media: Vec::new(),
            listen: Vec::new(),
        },
    }
}

fn report(findings: &[Finding]) -> Result<Report, Failure> {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let rows = findings.iter().map(|finding| {
        let subject = finding.subject.clone().unwrap_or_default();
        vec![finding.verdict.as_str().to_owned(), finding.check.to_owned(), subject, finding.found.clone()]
    });
    let table = Block::Table {
        header: vec!["VERDICT", "CHECK", "WHERE", "FOUND"],
        rows: rows.collect(),
        empty: String::new(),
    };
    let mut blocks = vec![table];
    let to_do: Vec<String> = findings.iter().filter(|f| !f.remedy.is_empty()).map(advice).collect();
    if !to_do.is_empty() {
        blocks.push(Block::Text(format!("What to do:\n{}", to_do.join("\n"))));
    }
    let (warnings, failures) = (count(Verdict::Warn), count(Verdict::Fail));
    blocks.push(Block::Text(format!(
        "{} ok, {} unknown, {warnings} warn, {failures} fail",
        count(Verdict::Ok),
        count(Verdict::Unknown)
    )));
    let document = json!({ "findings": findings, "warnings": warnings, "failures": failures });
    let exit = if failures == 0 { Exit::Ok } else { Exit::Failure };
    Ok(Report { exit, ..Report::new(blocks, document)? })
}

fn advice(finding: &Finding) -> String {
    let subject = finding.subject.as_ref().map_or_else(String::new, |subject| format!(" ({subject})"));
    format!("  {:7}  {}{subject}: {}", finding.verdict.as_str(), finding.check, finding.remedy)
}
