//! `vizard bind`: who talks to whom through which numbers.

pub(super) mod list;
pub(super) mod usage;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::GlobalArgs;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report, time_short};
use super::secret;
use crate::engine::admin::{AdminReply, AdminRequest, BindingView, NewBinding, NumberWish, PartyView};
use crate::engine::config::Encryption;
use crate::engine::directory::{BindingKind, BindingState};
use crate::engine::ids::{BindingId, LegName};
use crate::engine::number::{Country, Typed};
use crate::settings;

const CREATE_EXAMPLES: &str = "\
Examples:
  vizard bind create --key order-81 --customer +13105550142 --agent +16465550107
  vizard bind create --key case-7 --kind case --ttl 7d --customer +13105550142 --agent 1001@pbx
  vizard bind create --key order-82 --tag vip --max-call 30m --idle 2h --direction to-agent --customer +13105550142 --agent 1001@pbx
  vizard bind create --key order-84 --customer +13105550142 --agent 1001@pbx --agent +16465550107 --ring together
  vizard bind create --key order-83 --one-number --customer +13105550142 --agent +16465550107
  vizard bind create --key web-3 --media end-to-end --customer 2001@webrtc --agent 1001@pbx
  printf '%s\\n' +13105550142 +16465550107 | vizard bind create --key order-81 --customer - --agent -
  CUSTOMER=+13105550142 vizard bind create --key order-81 --customer env:CUSTOMER --agent 1001@pbx

Every user of this host can read the arguments of its processes. '-' reads a
line of standard input instead, 'fd:3' one of an open file descriptor, and
'env:NAME' an environment variable.

A live binding with the same key and the same parties is extended and shown; with
other parties it is a conflict (exit code 6). Without a free number the exit
code is 7.";

#[derive(Debug, Subcommand)]
pub(super) enum BindCommand {
    Create(CreateArgs),
    List(list::ListArgs),
    /// Show one binding
    #[command(after_help = "Examples:\n  vizard bind show bind_01h455vb4pex5vsknk084sn02q")]
    Show(OneArgs),
    Extend(ProlongArgs),
    /// Bring a binding back whose numbers are still reserved
    #[command(after_help = "Examples:\n  vizard bind reopen bind_01h455vb4pex5vsknk084sn02q --ttl 2h")]
    Reopen(ProlongArgs),
    Handover(HandoverArgs),
    /// End a binding; late callbacks stay reserved for its callback window
    #[command(after_help = "Examples:\n  vizard bind close bind_01h455vb4pex5vsknk084sn02q\n\n\
        Calls in progress go on.")]
    Close(OneArgs),
}

/// Join a customer and an agent, or reuse the binding with the same key
#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(super) struct CreateArgs {
    /// What it is looked up by: a session, order, case, customer or agent id
    #[arg(long)]
    key: String,
    /// The customer: a number, extension@trunk, '-', fd:N or env:NAME; again for
    /// further addresses, in the order in which they ring
    #[arg(long = "customer", value_name = "ADDRESS", required = true)]
    customers: Vec<Typed>,
    /// The agent, likewise
    #[arg(long = "agent", value_name = "ADDRESS", required = true)]
    agents: Vec<Typed>,
    /// How long it lives, such as 30m, 24h or 7d [default: that of its kind]
    #[arg(long, value_parser = duration, allow_hyphen_values = true)]
    ttl: Option<Duration>,
    /// What sort of conversation it is for
    #[arg(long, value_enum, default_value_t)]
    kind: KindArg,
    /// Who owns it
    #[arg(long, default_value = "default")]
    tenant: String,
    /// The tenant's project
    #[arg(long, default_value = "default")]
    project: String,
    /// Only numbers of this country will do
    #[arg(long, value_name = "CC")]
    country: Option<Country>,
    /// Rather numbers of this region or state than of each party's own
    #[arg(long)]
    region: Option<String>,
    /// Rather numbers of this city or exchange
    #[arg(long)]
    locality: Option<String>,
    /// Nothing but the first choice of place will do
    #[arg(long)]
    strict: bool,
    /// Whether they may encrypt their media [default: that of its kind]
    #[arg(long, value_enum, value_name = "POLICY")]
    media: Option<MediaArg>,
    /// The same number for both parties; the pool has to be larger for it
    #[arg(long)]
    one_number: bool,
    /// A word of your own to find it by; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    #[command(flatten)]
    usage: usage::UsageArgs,
}

/// Let a live binding live longer; it never ends earlier for it
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vizard bind extend bind_01h455vb4pex5vsknk084sn02q --ttl 2h")]
pub(super) struct ProlongArgs {
    /// The binding's id, as `vizard bind list` shows it
    #[arg(value_name = "ID")]
    id: BindingId,
    /// How long from now on, such as 30m, 24h or 7d [default: that of its kind]
    #[arg(long, value_parser = duration, allow_hyphen_values = true)]
    ttl: Option<Duration>,
}

/// Give one side of a live binding to another party; the other side sees no change
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vizard bind handover bind_01h455vb4pex5vsknk084sn02q --party agent --to 1002@pbx\n\n\
    The new party keeps the number if it has it with nobody else, and gets another one\n\
    otherwise. Late calls of the one before connect nobody."
)]
pub(super) struct HandoverArgs {
    /// The binding's id, as `vizard bind list` shows it
    #[arg(value_name = "ID")]
    id: BindingId,
    /// Whose side
    #[arg(long, value_enum)]
    party: SideArg,
    /// Who takes it: a number, extension@trunk, '-', fd:N or env:NAME
    #[arg(long, value_name = "ADDRESS")]
    to: Typed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SideArg {
    Customer,
    Agent,
}

#[derive(Debug, Args)]
pub(super) struct OneArgs {
    /// The binding's id, as `vizard bind list` shows it
    #[arg(value_name = "ID")]
    id: BindingId,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum KindArg {
    /// One conversation
    #[default]
    Session,
    /// An order, a case, a ticket
    Case,
    /// A long-lived customer profile
    Customer,
    /// A stable number of an agent
    Agent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MediaArg {
    /// No: everything that they send beside speech can be cleaned
    Strict,
    /// Yes, from one to the other: names in their certificates and RTCP cross unseen
    EndToEnd,
}

impl From<MediaArg> for Encryption {
    fn from(policy: MediaArg) -> Self {
        match policy {
            MediaArg::Strict => Self::Strict,
            MediaArg::EndToEnd => Self::EndToEnd,
        }
    }
}

impl From<KindArg> for BindingKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Session => Self::Session,
            KindArg::Case => Self::Case,
            KindArg::Customer => Self::Customer,
            KindArg::Agent => Self::Agent,
        }
    }
}

pub(super) fn run(command: BindCommand, global: &GlobalArgs) -> Result<Report, Failure> {
    match command {
        BindCommand::Create(args) => {
            let binding = new_binding(args)?;
            created(Daemon::connect(global)?.admin(AdminRequest::BindCreate(binding))?)
        }
        BindCommand::List(args) => list::listed(&list::rows(&mut Daemon::connect(global)?, &args)?),
        BindCommand::Show(args) => {
            shown(Daemon::connect(global)?.admin(AdminRequest::BindShow { id: args.id })?)
        }
        BindCommand::Extend(ProlongArgs { id, ttl }) => {
            let request = AdminRequest::BindExtend { id, time_to_live: ttl };
            shown(Daemon::connect(global)?.admin(request)?)
        }
        BindCommand::Reopen(ProlongArgs { id, ttl }) => {
            let request = AdminRequest::BindReopen { id, time_to_live: ttl };
            shown(Daemon::connect(global)?.admin(request)?)
        }
        BindCommand::Handover(HandoverArgs { id, party, to }) => {
            let leg = match party {
                SideArg::Customer => LegName::A,
                SideArg::Agent => LegName::B,
            };
            let to = secret::read("to", &to, &mut std::io::stdin().lock())?;
            shown(Daemon::connect(global)?.admin(AdminRequest::BindHandover { id, leg, to })?)
        }
        BindCommand::Close(args) => {
            shown(Daemon::connect(global)?.admin(AdminRequest::BindClose { id: args.id })?)
        }
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    settings::duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write a duration such as 30m, 24h or 7d".to_owned())
}

fn new_binding(args: CreateArgs) -> Result<NewBinding, Failure> {
    let mut stdin = std::io::stdin().lock();
    let (customer, customers) = secret::read_all("customer", &args.customers, &mut stdin)?;
    let (agent, agents) = secret::read_all("agent", &args.agents, &mut stdin)?;
    Ok(NewBinding {
        customer,
        agent,
        also: [customers, agents],
        tenant: args.tenant,
        project: args.project,
        kind: args.kind.into(),
        key: args.key,
        time_to_live: args.ttl,
        numbers: NumberWish {
            country: args.country,
            region: args.region,
            locality: args.locality,
            strict: args.strict,
        },
        encryption: args.media.map(Encryption::from),
        one_number: args.one_number,
        usage: args.usage.into(),
        tags: args.tags,
    })
}

pub(super) fn created(reply: AdminReply) -> Result<Report, Failure> {
    let AdminReply::Bound { binding, reused } = reply else { return Err(unexpected()) };
    let mut fields = fields(&binding);
    fields.push(("reused", if reused { "yes, and extended" } else { "no" }.to_owned()));
    let next = format!(
        "The customer calls {} to reach the agent; the agent calls {} to reach the customer.",
        binding.customer.proxy, binding.agent.proxy
    );
    let document = json!({ "binding": binding, "reused": reused });
    Report::new(vec![Block::Fields(fields), Block::Text(next)], document)
}

fn shown(reply: AdminReply) -> Result<Report, Failure> {
    let AdminReply::Binding(binding) = reply else { return Err(unexpected()) };
    Report::new(vec![Block::Fields(fields(&binding))], json!({ "binding": binding }))
}

fn fields(binding: &BindingView) -> Vec<(&'static str, String)> {
    let state = match binding.state {
        BindingState::Live { expires } => format!("live, expires {}", time_short(expires)),
        BindingState::Entombed { since, until } => {
            format!("ended {}, numbers reserved until {}", time_short(since), time_short(until))
        }
    };
    vec![
        ("binding", binding.id.to_string()),
        ("key", binding.key.clone()),
        ("kind", binding.kind.as_str().to_owned()),
        ("tenant", format!("{} / {}", binding.tenant, binding.project)),
        ("customer", party(&binding.customer)),
        ("agent", party(&binding.agent)),
        ("media", media(binding).to_owned()),
        ("usage", usage::shown(&binding.usage)),
        ("tags", if binding.tags.is_empty() { "none".to_owned() } else { binding.tags.join(", ") }),
        ("created", time_short(binding.created)),
        ("state", state),
        ("calls", format!("{} in progress", binding.calls)),
    ]
}

fn party(party: &PartyView) -> String {
    let all: Vec<&str> = std::iter::once(&party.address).chain(&party.also).map(String::as_str).collect();
    format!("{} dials and sees {}", all.join(", "), party.proxy)
}

fn media(binding: &BindingView) -> &'static str {
    binding.encryption.map_or("default", Encryption::as_str)
}
