//! A call of the past, explained by what its records say: they name the binding
//! and the numbers that were decided on then, whatever has become of these.

use serde_json::json;

use super::super::GlobalArgs;
use super::super::exit::Exit;
use super::super::live::{Daemon, unexpected};
use super::super::output::{Failure, Report, or_dash};
use super::explained;
use crate::engine::admin::{AdminReply, AdminRequest, BindingView};
use crate::engine::callback::Reason;
use crate::engine::cdr::{Cdr, Direction};
use crate::engine::directory::BindingState;
use crate::engine::ids::{LegName, SessionId};
use crate::engine::policy::Step;
use crate::store::CdrQuery;

pub(super) fn explain(session: SessionId, global: &GlobalArgs) -> Result<Report, Failure> {
    let mut daemon = Daemon::connect(global)?;
    let records = daemon.cdrs(CdrQuery { session: Some(session), limit: 64, ..CdrQuery::default() })?.cdrs;
    let about = records.iter().find_map(|record| record.binding);
    let binding = match about.map(|id| daemon.admin(AdminRequest::BindShow { id })) {
        Some(Ok(AdminReply::Binding(binding))) => Some(*binding),
        Some(Ok(_)) => return Err(unexpected()),
        // Forgotten meanwhile; the records know its name.
        Some(Err(_)) | None => None,
    };
    told(session, &records, binding.as_ref())
}

/// What records say of a decision.
pub(in crate::cli) fn told(
    session: SessionId,
    records: &[Cdr],
    binding: Option<&BindingView>,
) -> Result<Report, Failure> {
    let Some(inbound) = records.iter().find(|record| record.direction == Direction::Inbound) else {
        return Err(Failure::new(
            Exit::NotFound,
            format!("there is no record of {session}"),
            "records are written when a call ends; see `vizard cdr list` and `vizard calls`",
        ));
    };
    let outbound = records.iter().filter(|record| record.direction == Direction::Outbound);
    let outbound = outbound.min_by_key(|record| record.fork);
    let mut steps = vec![arrived(inbound)];
    steps.extend(matched(inbound, binding));
    steps.extend(outbound.map(|leg| left(inbound, leg)));
    let how = format!(
        "{} ({}, SIP {})",
        inbound.release.cause.as_str(),
        if inbound.answer.is_some() { "answered" } else { "not answered" },
        or_dash(inbound.release.sip_status, |status| status.to_string()),
    );
    let end = match outbound {
        Some(_) => format!("The call ended: {how}."),
        None => format!("The call was refused: {how}."),
    };
    let document = json!({ "session": session, "steps": steps, "records": records, "binding": binding });
    explained(&steps, &end, document)
}

fn step(what: String) -> Step {
    Step { what, since: None, until: None }
}

fn arrived(inbound: &Cdr) -> Step {
    let dialled = match inbound.proxy {
        Some(proxy) => format!("dialling {proxy}"),
        None if inbound.emergency => "dialling an emergency number".to_owned(),
        None => "dialling no number of the pool".to_owned(),
    };
    let what = format!("a call came over trunk {}, {dialled}", inbound.trunk);
    Step { what, since: Some(inbound.start), until: Some(inbound.end) }
}

/// What the caller and the number were found to be.
fn matched(inbound: &Cdr, binding: Option<&BindingView>) -> Vec<Step> {
    if inbound.emergency {
        return vec![step("emergency calls are neither masked nor looked up".to_owned())];
    }
    let Some(id) = inbound.binding else {
        let why = match inbound.diversion.map(|diversion| diversion.because) {
            Some(Reason::Anonymous) => "the caller showed no identity",
            Some(Reason::Unknown | Reason::Ended) | None => "no binding had this caller at this number",
        };
        return vec![step(why.to_owned())];
    };
    let side = match inbound.leg {
        LegName::A => "customer",
        LegName::B => "agent",
    };
    let then = match inbound.diversion.map(|diversion| diversion.because) {
        Some(Reason::Ended) => ", which had ended",
        Some(Reason::Unknown | Reason::Anonymous) | None => "",
    };
    let pair = step(format!("caller and number were those of the {side} of {id}{then}"));
    let now = match binding.map(|binding| binding.state) {
        Some(BindingState::Live { expires }) => {
            Step { until: Some(expires), ..step("today that binding is live".to_owned()) }
        }
        Some(BindingState::Entombed { since, until }) => Step {
            since: Some(since),
            until: Some(until),
            ..step("today that binding has ended, and its numbers stay reserved".to_owned())
        },
        None => step("today that binding is forgotten".to_owned()),
    };
    vec![pair, now]
}

/// Where it went.
fn left(inbound: &Cdr, leg: &Cdr) -> Step {
    let shown = or_dash(leg.proxy, |proxy| proxy.to_string());
    step(match inbound.diversion {
        Some(diversion) => format!("it went to the {diversion} over trunk {}", leg.trunk),
        None if inbound.emergency => format!("it left over the emergency trunk {}", leg.trunk),
        None => format!("it went to the other party over trunk {}, where {shown} was shown", leg.trunk),
    })
}
