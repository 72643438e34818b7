//! `vizard audit`: who did what, when and why, and whether the log of it is whole.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::GlobalArgs;
use super::exit::Exit;
use super::live::Daemon;
use super::output::{Block, Failure, Report, moment, time_short};
use super::page::{Page, PageArgs};
use crate::engine::audit::{Act, Entry, Verification, Who};
use crate::engine::privacy::Role;
use crate::engine::time::Timestamp;
use crate::store::AuditQuery;

/// How long looking through a log of many millions of entries may take.
const PATIENCE: Duration = Duration::from_mins(10);

const LIST_EXAMPLES: &str = "\
Examples:
  vizard audit list
  vizard audit list --act capture-unmasked --since 2026-03-01T00:00:00Z
  vizard audit list --user mara --limit 500
  vizard audit list --on bind_01h455vb4pex5vsknk084sn02q --json
  vizard audit list --after 4711         # the next page

Newest first. An entry is written before what it says is done, so it says what was
asked for; ON is what it was asked of. No entry holds a party's number. --json has
each entry's digest links, tag and, for seals, its Ed25519 signature.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  vizard audit verify
  vizard audit verify --json | jq .findings

It looks at every entry: its tag, its link to the one before, the signatures of the
seals, and the anchor beside the keys, which says where the log ends. Whatever was
changed, removed, put in, moved or cut off is told, and ends the command with exit
code 1. What a backup did not have that `vizard restore` made a store of is missing
too, and explained: that is told, and is no finding.";

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    List(ListArgs),
    /// Find what was changed, removed, put in, moved or cut off
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify,
}

/// List entries, newest first
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct ListArgs {
    /// Only this act, such as bind-close
    #[arg(long, value_parser = act)]
    act: Option<Act>,
    /// Only what this user did: a name or a number
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only what was done to this: a session, a binding, a network
    #[arg(long, value_name = "WHAT")]
    on: Option<String>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    #[command(flatten)]
    page: PageArgs<u64, 50>,
}

pub(super) fn run(command: &AuditCommand, global: &GlobalArgs) -> Result<Report, Failure> {
    match command {
        AuditCommand::List(args) => list(args, &mut Daemon::connect(global)?),
        AuditCommand::Verify => verified(&Daemon::connect_for(global, PATIENCE)?.verify_audit()?),
    }
}

fn list(args: &ListArgs, daemon: &mut Daemon) -> Result<Report, Failure> {
    let user = args.user.as_ref().and_then(|user| user.parse().ok());
    let query = AuditQuery {
        act: args.act,
        user,
        name: args.user.clone().filter(|_| user.is_none()),
        on: args.on.clone(),
        since: args.since,
        until: args.until,
        before: None,
        limit: 0,
    };
    let page = args.page.fetched(|before, limit| {
        let page = daemon.audit(AuditQuery { before, limit, ..query.clone() })?;
        Ok((page.entries, page.next))
    });
    listed(&page?)
}

pub(super) fn listed(page: &Page<Entry>) -> Result<Report, Failure> {
    let header = vec!["ENTRY", "TIME", "WHO", "ROLE", "ACT", "ON", "REASON"];
    page.report("entries", header, row, "no entry")
}

fn row(entry: &Entry) -> Vec<String> {
    let role = match &entry.who {
        Who::Vizard => "-",
        Who::User(asker) => asker.role.map_or("-", Role::as_str),
    };
    vec![
        entry.seq.to_string(),
        time_short(entry.at),
        entry.who.to_string(),
        role.to_owned(),
        entry.act.to_string(),
        entry.on.clone(),
        entry.reason.clone(),
    ]
}

pub(super) fn verified(verification: &Verification) -> Result<Report, Failure> {
    let Verification { entries, seals, sealed, head, found, explained, .. } = verification;
    let mut lines = match (entries, found) {
        (0, 0) => "the audit log is empty".to_owned(),
        (_, 0) => format!(
            "the audit log is whole: {entries} entries, the last one {head}; {seals} seals, signed up to entry {sealed}"
        ),
        (_, found) => format!("the audit log is not whole: {found} findings in {entries} entries"),
    };
    for explained in explained {
        let _ = write!(lines, "\n  explained: {explained}");
    }
    for finding in &verification.findings {
        let _ = write!(lines, "\n  {finding}");
    }
    let told = u64::try_from(verification.findings.len()).unwrap_or(u64::MAX);
    if *found > told {
        let _ = write!(lines, "\n  and {} more", found - told);
    }
    let report = Report::new(vec![Block::Text(lines)], verification)?;
    Ok(Report { exit: if *found == 0 { Exit::Ok } else { Exit::Failure }, ..report })
}

fn act(word: &str) -> Result<Act, String> {
    Act::named(word).ok_or_else(|| {
        let words: Vec<&str> = Act::ALL.iter().map(|act| act.as_str()).collect();
        format!("there is no such act; there are {}", words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::audit::Finding;
    use crate::engine::audit::entry::Proof;
    use crate::engine::privacy::Digest;
    use crate::engine::privacy::tests::asker;

    #[test]
    fn an_entry_is_shown_with_who_and_why() {
        let entry = Entry {
            seq: 12,
            at: moment("2026-03-04T05:06:07.25Z").unwrap(),
            who: Who::User(asker()),
            act: Act::GuardDeny,
            on: "203.0.113.0/24".to_owned(),
            reason: "scanner".to_owned(),
            before: Digest::default(),
            proof: Proof::default(),
        };
        let report = listed(&Page { rows: vec![entry], next: Some("12".to_owned()) }).unwrap();
        assert_eq!(report.json["entries"][0]["at"], "2026-03-04T05:06:07.25Z");
        let Block::Table { rows, .. } = &report.blocks[0] else { panic!() };
        let row: Vec<&str> = rows[0].iter().map(String::as_str).collect();
        let expected =
            ["12", "2026-03-04T05:06:07Z", "mara (1000)", "admin", "guard-deny", "203.0.113.0/24", "scanner"];
        assert_eq!(row, expected);
    }

    #[test]
    fn a_log_that_is_not_whole_ends_the_command_badly() {
        let whole = Verification { entries: 3, head: 3, ..Verification::default() };
        assert_eq!(verified(&whole).unwrap().exit, Exit::Ok);
        let findings = vec![Finding::Missing { first: 2, last: 4 }];
        let broken = verified(&Verification { findings, found: 7, ..whole }).unwrap();
        assert_eq!(broken.exit, Exit::Failure);
        let Block::Text(text) = &broken.blocks[0] else { panic!() };
        assert!(text.contains("entries 2 to 4 are missing") && text.contains("and 6 more"), "{text}");
    }

    #[test]
    fn filters_that_make_no_sense_are_refused() {
        assert!(act("unmusk").unwrap_err().contains("bind-close"));
        assert!(moment("yesterday").is_err());
        assert_eq!(act("seal"), Ok(Act::Seal));
    }
}
