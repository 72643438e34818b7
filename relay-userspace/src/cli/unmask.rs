//! `vizard unmask`: the real numbers behind a call or a binding, for those who may
//! see them, with a reason, and an entry in the audit log.

use clap::{Args, Subcommand};

use super::GlobalArgs;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report, or_dash, time_short};
use super::page::PageArgs;
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::unmask::{Revealed, Subject, UnmaskReply, UnmaskRequest, Unmasked, WaitingView};

const EXAMPLES: &str = "\
Examples:
  vizard unmask sess_01h455vb4pex5vsknk084sn02q --reason complaint-4711
  vizard unmask bind_01h455vb4pex5vsknk084sn02q --reason court-order-of-2026-03-04
  vizard unmask list
  vizard unmask approve 81
  vizard unmask show 81

It takes the role privacy or admin, and is written to the audit log before anything is
shown. Where roles.two_person is set it only makes a request: somebody else with such a
role approves it, then whoever asked sees the numbers with `show`, once.";

/// Show the real numbers of a call's or a binding's parties
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct UnmaskArgs {
    /// A call's session id, or a binding's id
    #[arg(value_name = "CALL|BINDING", required = true)]
    of: Option<Subject>,
    /// Why: it stands in the audit log
    #[arg(long, value_name = "TEXT", required = true)]
    reason: Option<String>,
    #[command(subcommand)]
    command: Option<UnmaskCommand>,
}

#[derive(Debug, Subcommand)]
enum UnmaskCommand {
    /// List requests that wait for a second person, or to be seen
    #[command(after_help = "Examples:\n  vizard unmask list\n  vizard unmask list --waiting --json")]
    List(ListArgs),
    /// Let somebody else's request be shown to them
    #[command(after_help = "Examples:\n  vizard unmask approve 81")]
    Approve(RequestArgs),
    /// End a request: somebody else's, or one's own
    #[command(after_help = "Examples:\n  vizard unmask reject 81")]
    Reject(RequestArgs),
    /// Show what one's own approved request asks for
    #[command(after_help = "Examples:\n  vizard unmask show 81")]
    Show(RequestArgs),
}

#[derive(Debug, Default, Args)]
pub(super) struct ListArgs {
    /// Only those that nobody has approved
    #[arg(long)]
    waiting: bool,
    /// Only those about this call or binding
    #[arg(long, value_name = "CALL|BINDING")]
    of: Option<Subject>,
    #[command(flatten)]
    page: PageArgs<u64, 1_000>,
}

#[derive(Debug, Args)]
struct RequestArgs {
    /// The request's number, as `vizard unmask list` shows it
    #[arg(value_name = "REQUEST")]
    id: u64,
}

pub(super) fn run(args: UnmaskArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let mut shown = ListArgs::default();
    let request = match (args.command, args.of, args.reason) {
        (Some(UnmaskCommand::List(list)), ..) => {
            shown = list;
            UnmaskRequest::List
        }
        (Some(UnmaskCommand::Approve(RequestArgs { id })), ..) => UnmaskRequest::Approve { id },
        (Some(UnmaskCommand::Reject(RequestArgs { id })), ..) => UnmaskRequest::Reject { id },
        (Some(UnmaskCommand::Show(RequestArgs { id })), ..) => UnmaskRequest::Fetch { id },
        (None, Some(of), Some(reason)) => UnmaskRequest::Show { of, reason, recorded: None },
        (None, ..) => {
            return Err(Failure::usage(
                "there is nothing to unmask",
                "name a call or a binding, and a --reason",
            ));
        }
    };
    match Daemon::connect(global)?.admin(AdminRequest::Unmask(request))? {
        AdminReply::Unmask(reply) => answered(&reply, &shown),
        _ => Err(unexpected()),
    }
}

pub(super) fn answered(reply: &UnmaskReply, shown: &ListArgs) -> Result<Report, Failure> {
    let text = match reply {
        UnmaskReply::Parties(unmasked) => return parties(unmasked),
        UnmaskReply::Requests(requests) => return listed(requests, shown),
        UnmaskReply::Waiting(request) => format!(
            "request {} waits until {} for a second person: `vizard unmask approve {}`",
            request.id,
            time_short(request.until),
            request.id
        ),
        UnmaskReply::Approved(request) => format!(
            "request {} is approved: {} may see it until {}, once",
            request.id,
            request.asker,
            time_short(request.until)
        ),
        UnmaskReply::Rejected(request) => format!("request {} of {} is rejected", request.id, request.asker),
    };
    Report::new(vec![Block::Text(text)], reply)
}

fn parties(unmasked: &Unmasked) -> Result<Report, Failure> {
    let row = |side: &str, party: &Revealed| {
        vec![side.to_owned(), party.address.0.clone(), party.proxy.to_string(), party.party.to_string()]
    };
    let rows = vec![row("customer", &unmasked.customer), row("agent", &unmasked.agent)];
    let table = Block::Table {
        header: vec!["SIDE", "NUMBER", "DIALS AND SEES", "PARTY"],
        rows,
        empty: String::new(),
    };
    let text = format!("binding {}; the audit log has noted that you have seen this", unmasked.binding);
    Report::new(vec![table, Block::Text(text)], unmasked)
}

fn listed(requests: &[WaitingView], args: &ListArgs) -> Result<Report, Failure> {
    let row = |request: &WaitingView| {
        vec![
            request.id.to_string(),
            request.of.to_string(),
            request.asker.to_string(),
            time_short(request.until),
            or_dash(request.approved_by.as_ref(), ToString::to_string),
            request.reason.clone(),
        ]
    };
    let is_shown = |request: &&WaitingView| {
        (!args.waiting || request.approved_by.is_none()) && args.of.is_none_or(|of| of == request.of)
    };
    let requests = requests.iter().filter(is_shown).cloned();
    let header = vec!["REQUEST", "OF", "ASKED BY", "EXPIRES", "APPROVED BY", "REASON"];
    args.page.of(requests, |request| request.id).report("requests", header, row, "no request waits")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::engine::ids::{BindingId, SessionId};
    use crate::engine::number::Typed;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        unmask: UnmaskArgs,
    }

    fn parse(words: &[&str]) -> Result<UnmaskArgs, clap::Error> {
        Line::try_parse_from(std::iter::once("x").chain(words.iter().copied())).map(|line| line.unmask)
    }

    #[test]
    fn a_subject_takes_a_reason_and_the_other_commands_take_none() {
        let session = SessionId::from_bits(1).to_string();
        let parsed = parse(&[&session, "--reason", "because of it"]).unwrap();
        assert!(parsed.command.is_none() && parsed.of.is_some());
        assert!(
            parse(&[&session]).is_err()
                && parse(&["--reason", "because of it"]).is_err()
                && parse(&[]).is_err()
        );
        assert!(parse(&["list"]).is_ok() && parse(&["approve", "12"]).is_ok());
        assert!(parse(&["+12125551200", "--reason", "because of it"]).is_err());
    }

    #[test]
    fn parties_are_shown_in_clear_and_print_in_no_log() {
        let party = |address: &str| Revealed {
            party: crate::engine::ids::PartyId::from_bits(1),
            proxy: "+12125550123".parse().unwrap(),
            address: Typed(address.to_owned()),
        };
        let binding = BindingId::from_bits(7);
        let reply = UnmaskReply::Parties(Unmasked {
            of: Subject::Binding(binding),
            binding,
            customer: party("+13105550142"),
            agent: party("1001@pbx"),
        });
        assert!(!format!("{reply:?}").contains("5550142"), "{reply:?}");
        let report = answered(&reply, &ListArgs::default()).unwrap();
        assert_eq!(report.json["customer"]["address"], "+13105550142");
        let Block::Table { rows, .. } = &report.blocks[0] else { panic!() };
        assert_eq!(rows[0][..3], ["customer", "+13105550142", "+12125550123"]);
    }
}
