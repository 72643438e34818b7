//! `vizard agent`: stable public numbers of agents, that anybody may call.

use clap::{Args, Subcommand};
use serde_json::json;

use super::GlobalArgs;
use super::bind::usage::word;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report, time_short};
use super::page::{Page, PageArgs};
use super::secret;
use crate::engine::admin::{AdminReply, AdminRequest, NumberWish};
use crate::engine::directory::{AgentFilter, AgentReply, AgentRequest, AgentView, NewAgent, Ring};
use crate::engine::number::{Country, ProxyNumber, Typed};

const OPEN_EXAMPLES: &str = "\
Examples:
  vizard agent open --key support-7 --agent 1001@pbx
  vizard agent open --key sales --agent +16465550107 --number +12125550123
  vizard agent open --key team --agent 1001@pbx --agent 1002@pbx --ring together
  vizard agent open --key berlin --agent 2001@pbx --country DE

Whoever calls the number reaches the agent. Each new caller gets a binding of its own
(kind agent), so that the agent sees a proxy and can call it back: an internal number
of the agent's trunk where the pool has one. At `callers_per_agent` and
`agents_per_caller` in [limits] the call still connects, and the agent sees its own
number. Ways to keep the agent's number out of arguments: `vizard bind create --help`.";

#[derive(Debug, Subcommand)]
pub(super) enum AgentCommand {
    Open(OpenArgs),
    List(ListArgs),
    /// Take a number back from its agent; bindings of its callers stay
    #[command(after_help = "Examples:\n  vizard agent close +12125550123")]
    Close(CloseArgs),
}

/// List agent numbers and how many callers have a binding there
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vizard agent list\n  vizard agent list --tenant acme --csv\n  \
    vizard agent list --json | jq '.agents[].number'")]
pub(super) struct ListArgs {
    /// Only this tenant's
    #[arg(long)]
    tenant: Option<String>,
    /// Only this project's
    #[arg(long)]
    project: Option<String>,
    /// Only that of the agent with this id
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    page: PageArgs<ProxyNumber, 1_000>,
}

/// Give an agent a public number
#[derive(Debug, Args)]
#[command(after_help = OPEN_EXAMPLES)]
pub(super) struct OpenArgs {
    /// The agent's id; of one tenant each has one number
    #[arg(long)]
    key: String,
    /// The agent: a number, extension@trunk, '-', fd:N or env:NAME; again for the other
    /// members of a team, in the order in which they ring
    #[arg(long = "agent", value_name = "ADDRESS", required = true)]
    agents: Vec<Typed>,
    /// How a team rings: in-order, in-turn or together [default: that of its kind]
    #[arg(long, value_name = "HOW", value_parser = word(Ring::WORDS))]
    ring: Option<Ring>,
    /// This idle number of the pool, rather than one near the agent
    #[arg(long, value_name = "NUMBER")]
    number: Option<ProxyNumber>,
    /// Who owns it
    #[arg(long, default_value = "default")]
    tenant: String,
    /// The tenant's project
    #[arg(long, default_value = "default")]
    project: String,
    /// Only a number of this country will do
    #[arg(long, value_name = "CC")]
    country: Option<Country>,
    /// Rather a number of this region or state
    #[arg(long)]
    region: Option<String>,
    /// Rather a number of this city or exchange
    #[arg(long)]
    locality: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CloseArgs {
    /// The number, as `vizard agent list` shows it
    #[arg(value_name = "NUMBER")]
    number: ProxyNumber,
}

pub(super) fn run(command: AgentCommand, global: &GlobalArgs) -> Result<Report, Failure> {
    match command {
        AgentCommand::Open(args) => {
            let wanted = new_agent(args)?;
            opened(&ask(&mut Daemon::connect(global)?, AgentRequest::Open(wanted))?)
        }
        AgentCommand::List(args) => listed(&agents(&mut Daemon::connect(global)?, &args)?),
        AgentCommand::Close(CloseArgs { number }) => {
            let AgentReply::Closed { number } =
                ask(&mut Daemon::connect(global)?, AgentRequest::Close { number })?
            else {
                return Err(unexpected());
            };
            let text = format!("{number} is an ordinary number of the pool again.");
            Report::new(vec![Block::Text(text)], json!({ "closed": number }))
        }
    }
}

fn ask(daemon: &mut Daemon, request: AgentRequest) -> Result<AgentReply, Failure> {
    match daemon.admin(AdminRequest::Agent(request))? {
        AdminReply::Agent(reply) => Ok(reply),
        _ => Err(unexpected()),
    }
}

fn new_agent(args: OpenArgs) -> Result<NewAgent, Failure> {
    let (agent, also) = secret::read_all("agent", &args.agents, &mut std::io::stdin().lock())?;
    Ok(NewAgent {
        agent,
        also,
        ring: args.ring,
        tenant: args.tenant,
        project: args.project,
        key: args.key,
        number: args.number,
        numbers: NumberWish {
            country: args.country,
            region: args.region,
            locality: args.locality,
            strict: false,
        },
    })
}

fn agents(daemon: &mut Daemon, args: &ListArgs) -> Result<Page<AgentView>, Failure> {
    let ListArgs { tenant, project, key, page } = args;
    let filter = AgentFilter { tenant: tenant.clone(), project: project.clone(), key: key.clone() };
    page.fetched(|after, limit| {
        let request = AgentRequest::List { filter: filter.clone(), after, limit };
        let AgentReply::Agents { agents, next } = ask(daemon, request)? else { return Err(unexpected()) };
        Ok((agents, next))
    })
}

fn opened(reply: &AgentReply) -> Result<Report, Failure> {
    let AgentReply::Opened { agent, known } = reply else { return Err(unexpected()) };
    let fields = vec![
        ("number", agent.number.to_string()),
        ("agent", format!("{} ({})", agent.key, reached(agent))),
        ("tenant", format!("{} / {}", agent.tenant, agent.project)),
        ("callers", agent.callers.to_string()),
        ("new", if *known { "no, it was there" } else { "yes" }.to_owned()),
    ];
    Report::new(vec![Block::Fields(fields)], json!({ "agent": agent, "known": known }))
}

fn reached(agent: &AgentView) -> String {
    let all: Vec<&str> = std::iter::once(&agent.address).chain(&agent.also).map(String::as_str).collect();
    match (all.len(), agent.ring) {
        (1, _) => agent.address.clone(),
        (_, ring) => format!("{} {}", all.join(", "), ring.as_str()),
    }
}

fn listed(page: &Page<AgentView>) -> Result<Report, Failure> {
    let row = |agent: &AgentView| {
        vec![
            agent.number.to_string(),
            agent.key.clone(),
            reached(agent),
            agent.tenant.clone(),
            agent.project.clone(),
            agent.callers.to_string(),
            time_short(agent.created),
        ]
    };
    let header = vec!["NUMBER", "AGENT", "REACHED AT", "TENANT", "PROJECT", "CALLERS", "SINCE"];
    page.report("agents", header, row, "no agent number; make one with `vizard agent open`")
}
