//! `vizard privacy`: what is held about a person, and how it is forgotten.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::GlobalArgs;
use super::exit::Exit;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report, length};
use super::{secret, vault};
use crate::api::local::{Request, Response};
use crate::engine::admin::{AdminReply, AdminRequest, BindingView, PersonView, RestView};
use crate::engine::cdr::Cdr;
use crate::engine::ids::BindingId;
use crate::engine::number::Typed;
use crate::store::CdrQuery;

/// Records in one answer.
const RECORDS: usize = 1_000;
/// How long a certificate may take once the keys are destroyed.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug, Subcommand)]
pub(super) enum PrivacyCommand {
    /// Everything that is held about a person, by session
    #[command(after_help = "Examples:\n  vizard privacy export +13105550142 | jq .sessions\n  \
        vizard privacy export - --json < number.txt\n\n\
        Bindings, tombstones, numbers that the person has seen, and the records of every call, as one JSON \
        document. Call records of bindings that are forgotten name nobody, so they are nobody's. The other \
        party of each binding stays masked.")]
    Export(PersonArgs),
    /// Forget a person for good
    #[command(after_help = "Examples:\n  vizard privacy erase +13105550142\n\n\
        Ends the person's bindings, replaces the record of the number by a keyed digest, seals everybody else \
        under a new key epoch and destroys those of before, so that nothing which lingers in files can be \
        read. Then the certificate is written. Refused while the person is in a call. Make new backups of \
        store and keys afterwards, and destroy those of before.")]
    Erase(PersonArgs),
    /// Drop what its time is over for, as the schedule does by itself
    #[command(after_help = "Examples:\n  vizard privacy retain --dry-run\n  vizard privacy retain\n\n\
        The rules are in [retention] and [bindings] of the configuration; what is over is dropped by \
        itself, some thousand records at a time. This shows what each rule says and how much is over, and \
        without --dry-run drops the rest at once.")]
    Retain(RetainArgs),
}

#[derive(Debug, Args)]
pub(super) struct RetainArgs {
    /// Drop nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct PersonArgs {
    /// The number, or extension@trunk; '-', 'fd:N' or 'env:NAME' keep it off the command line
    #[arg(value_name = "NUMBER")]
    person: Typed,
}

pub(super) fn run(command: &PrivacyCommand, global: &GlobalArgs) -> Result<Report, Failure> {
    match command {
        PrivacyCommand::Export(args) => export(&person(args)?, global),
        PrivacyCommand::Retain(args) => retain(args, global),
        PrivacyCommand::Erase(args) => erase(person(args)?, global),
    }
}

fn person(args: &PersonArgs) -> Result<Typed, Failure> {
    secret::read("number", &args.person, &mut io::stdin().lock())
}

fn export(person: &Typed, global: &GlobalArgs) -> Result<Report, Failure> {
    let mut daemon = Daemon::connect(global)?;
    let (mut bindings, mut rests, mut after) = (Vec::new(), Vec::new(), None);
    let address = loop {
        let request = AdminRequest::PrivacyShow { person: person.clone(), after };
        let AdminReply::Person(page) = daemon.admin(request)? else { return Err(unexpected()) };
        let PersonView { address, bindings: some, rests: some_rests, more } = *page;
        after = some.last().map(|binding| binding.id);
        bindings.extend(some);
        rests.extend(some_rests);
        if !more {
            break address;
        }
    };
    let mut sessions: BTreeMap<String, Vec<Cdr>> = BTreeMap::new();
    for binding in &bindings {
        for cdr in records(&mut daemon, binding.id)? {
            sessions.entry(cdr.session.to_string()).or_default().push(cdr);
        }
    }
    exported(&address, &bindings, &rests, sessions)
}

/// All records of a binding, newest first.
fn records(daemon: &mut Daemon, binding: BindingId) -> Result<Vec<Cdr>, Failure> {
    let (mut cdrs, mut after) = (Vec::new(), None);
    loop {
        let query = CdrQuery { binding: Some(binding), after, limit: RECORDS, ..CdrQuery::default() };
        let page = daemon.cdrs(query)?;
        cdrs.extend(page.cdrs);
        after = page.next;
        if after.is_none() {
            return Ok(cdrs);
        }
    }
}

fn exported(
    address: &str,
    bindings: &[BindingView],
    rests: &[RestView],
    sessions: BTreeMap<String, Vec<Cdr>>,
) -> Result<Report, Failure> {
    let sessions: Vec<Value> =
        sessions.into_iter().map(|(session, legs)| json!({ "session": session, "legs": legs })).collect();
    let document = json!({
        "person": address, "bindings": bindings, "numbers_seen": rests, "sessions": sessions,
    });
    let report = Report::new(Vec::new(), document)?;
    // The document is the answer, for people too.
    let text = serde_json::to_string_pretty(&report.json).unwrap_or_default();
    Ok(Report { blocks: vec![Block::Text(text)], ..report })
}

fn erase(person: Typed, global: &GlobalArgs) -> Result<Report, Failure> {
    let mut daemon = Daemon::connect(global)?;
    let certificates = daemon.status()?.store.join("certificates");
    let AdminReply::Erasing(erasure) = daemon.admin(AdminRequest::PrivacyErase { person })? else {
        return Err(unexpected());
    };
    vault::follow(&mut daemon, erasure.epoch)?;
    let certificate = certificates.join(format!("{}.json", erasure.id));
    certified(&mut daemon, &certificate)?;
    let text = format!(
        "erased; the certificate is {}\n{} bindings were ended, {} tombstones are kept without a name\n\
         make new backups of store and keys, and destroy those of before: they can be read with the keys of \
         before",
        certificate.display(),
        erasure.ended,
        erasure.tombstones
    );
    Report::new(vec![Block::Text(text)], json!({ "erasure": erasure, "certificate": certificate }))
}

/// The daemon forgets an erasure once its certificate is durable.
fn certified(daemon: &mut Daemon, certificate: &Path) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let AdminReply::Vault(count) = daemon.admin(AdminRequest::Vault)? else { return Err(unexpected()) };
        if count.erasures == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::new(
                Exit::Failure,
                format!(
                    "the number is erased, and the certificate {} is not written yet",
                    certificate.display()
                ),
                "see the log: it is tried again until it is",
            ));
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn retain(args: &RetainArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let mut daemon = Daemon::connect(global)?;
    let mut ask = |drop| match daemon.admin(AdminRequest::Retain { drop })? {
        AdminReply::Retention(view) => {
            let over = match view.cdrs_before {
                Some(before) => match daemon.ask(Request::CdrCount(before))? {
                    Response::Count(over) => over,
                    _ => return Err(unexpected()),
                },
                None => 0,
            };
            Ok((view, over))
        }
        _ => Err(unexpected()),
    };
    let (view, over) = ask(false)?;
    let mut left = over;
    while left > 0 && !args.dry_run {
        (_, left) = ask(true)?;
    }
    let for_ever = |kept: Duration| if kept.is_zero() { "for ever".to_owned() } else { length(kept) };
    let row = |kind: &str, rule: &str, kept: String, over: String| {
        vec![kind.to_owned(), rule.to_owned(), kept, over]
    };
    let rows = vec![
        row("call records", "retention.cdrs", for_ever(view.cdrs), over.to_string()),
        row("tombstones", "bindings.*.callback_window", view.tombstones.to_string(), "0".into()),
        row(
            "numbers seen",
            "bindings.cool_off, then retention.numbers_seen",
            length(view.numbers_seen),
            view.numbers_seen_over.to_string(),
        ),
        row("parties", "while one of these refers to them", view.parties.to_string(), "0".into()),
    ];
    let table = Block::Table { header: vec!["KIND", "RULE", "KEPT", "OVER"], rows, empty: String::new() };
    let said = if args.dry_run { "nothing was dropped" } else { "what was over is dropped" };
    let document = json!({
        "retention": view, "call_records_over": over, "dropped": if args.dry_run { 0 } else { over },
    });
    Report::new(vec![table, Block::Text(said.into())], document)
}
