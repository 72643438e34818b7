//! Why a caller who dials a proxy reaches whom: the decision of a call, step by
//! step, for whoever has to explain one.
//!
//! It asks the same look-up that calls ask and adds what that one does not need
//! to say: what a tombstone waits for, what is left of a pair that was freed.

mod past;

use serde::{Deserialize, Serialize};

use super::late::{self, About, Late};
use super::{Routes, routes};
use crate::engine::admin::{BindingView, Refusal, RefusalKind};
use crate::engine::callback::{Diversion, Reason, Service};
use crate::engine::config::Config;
use crate::engine::directory::{
    Agent, BindingState, Directory, Lookup, Match, NumberState, PairFacts, PartyAddress, Ring,
};
use crate::engine::ids::LegName;
use crate::engine::number::{ProxyNumber, Typed};
use crate::engine::time::Timestamp;

/// What became of the question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// What a call would meet now.
    pub verdict: Verdict,
    /// The binding that the pair belongs to.
    pub binding: Option<BindingView>,
    /// Why, in the order in which it is decided.
    pub steps: Vec<Step>,
}

/// What a call would meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It reaches the other party.
    Connects,
    /// The binding does not allow such a call, or not one more: 403 or 486.
    NotAllowed,
    /// It should, and no trunk leads to the other party.
    NoRoute,
    /// It goes to the callback IVR.
    Ivr,
    /// It goes to the announcement.
    Announcement,
    /// The binding has ended, and the pair is still reserved for it: 410.
    Ended,
    /// Nobody is behind the number for this caller: 404.
    NoBinding,
    /// The number is none of ours: 404.
    NotOurs,
    /// What a call of the past met is not known any more.
    Forgotten,
}

impl From<Service> for Verdict {
    fn from(service: Service) -> Self {
        match service {
            Service::Ivr => Self::Ivr,
            Service::Announcement => Self::Announcement,
        }
    }
}

/// One step of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was found.
    pub what: String,
    /// The moment that it speaks of.
    pub since: Option<Timestamp>,
    /// Until when it holds.
    pub until: Option<Timestamp>,
}

/// Explains what a caller, as typed, meets at a number, or met at a time that is over.
pub(in crate::engine) fn resolve(
    config: &Config,
    directory: &Directory,
    (caller, dialled): (&Typed, &ProxyNumber),
    at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Resolution, Refusal> {
    let caller = directory.party(caller)?;
    match at {
        None => Ok(resolve_now(config, directory, &caller, dialled)),
        Some(then) if then <= now => Ok(past::resolve(config, directory, &caller, dialled, then)),
        Some(_) => Err(Refusal {
            kind: RefusalKind::Invalid,
            what: "that time is yet to come".to_owned(),
            remedy: "name a time that is over, in UTC or with its offset, or leave it out".to_owned(),
        }),
    }
}

fn resolve_now(
    config: &Config,
    directory: &Directory,
    caller: &PartyAddress,
    dialled: &ProxyNumber,
) -> Resolution {
    let facts = directory.facts(dialled, caller);
    let mut steps = Steps::default();
    let Some(number) = &facts.number else {
        steps.say(format!("{dialled} is not in the pool"));
        steps.freed(&facts);
        return steps.end(Verdict::NotOurs, None);
    };
    let state = number.traits.state;
    steps.say(format!("{dialled} is in the pool: {}, {}", number.country, state.as_str()));
    steps.say(match facts.bindings {
        0 => format!("{} is no party of any binding", caller.masked()),
        1 => format!("{} is a party of one binding", caller.masked()),
        n => format!("{} is a party of {n} bindings", caller.masked()),
    });
    let Some(binding) = facts.binding.clone() else {
        if facts.reserved {
            steps.say("a binding of this pair is being made, and the store does not have it yet".to_owned());
        } else {
            steps.say("no binding, live or ended, has this pair".to_owned());
        }
        steps.freed(&facts);
        if let Some(agent) = directory.agent_at(dialled, caller) {
            let verdict = steps.meet(config, &agent);
            return steps.end(verdict, None);
        }
        let verdict = steps.without_binding(config, directory, dialled, caller);
        return steps.end(verdict, None);
    };
    let side = match facts.caller {
        LegName::A => "customer",
        LegName::B => "agent",
    };
    steps.say(format!("the pair is that of the {side} of {}", binding.id));
    let verdict = match directory.lookup(dialled, caller) {
        Lookup::Live(found) => {
            let until = match binding.state {
                BindingState::Live { expires } => Some(expires),
                BindingState::Entombed { .. } => None,
            };
            steps.until("the binding is live", Some(binding.created), until);
            steps.connect(config, directory, &found)
        }
        Lookup::Entombed(found) => {
            let (since, until) = match binding.state {
                BindingState::Entombed { since, until } => (Some(since), Some(until)),
                BindingState::Live { expires } => (Some(expires), None),
            };
            steps.until("the binding has ended, and its numbers stay reserved", since, until);
            match directory.agent_at(dialled, caller) {
                Some(agent) => steps.meet(config, &agent),
                None => steps.on_tombstone(config, directory, &found),
            }
        }
        Lookup::Unknown => {
            let disabled =
                if state == NumberState::Disabled { "this number" } else { "the other side's number" };
            steps.say(format!("{disabled} is disabled, and connects nobody"));
            steps.without_binding(config, directory, dialled, caller)
        }
    };
    steps.end(verdict, Some(binding))
}

/// The steps so far.
#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn say(&mut self, what: String) {
        self.0.push(Step { what, since: None, until: None });
    }

    fn until(&mut self, what: &str, since: Option<Timestamp>, until: Option<Timestamp>) {
        self.0.push(Step { what: what.to_owned(), since, until });
    }

    /// A call that connects.
    fn connect(&mut self, config: &Config, directory: &Directory, found: &Match) -> Verdict {
        let usage = directory.binding(found.binding).map(|binding| binding.usage).unwrap_or_default();
        if let Err(forbidden) = usage.admits_call(found.caller, directory.calls_on(found.binding)) {
            let (status, _) = forbidden.refusal();
            self.say(format!("{}: the call is refused with {status}", forbidden.as_str()));
            return Verdict::NotAllowed;
        }
        let addresses = directory.addresses_of(found.binding, found.caller.other());
        let sees = format!("where {} is shown", found.callee_sees);
        self.ring(config, addresses, usage.ring, &sees)
    }

    /// Where a party rings.
    fn ring(&mut self, config: &Config, addresses: Vec<PartyAddress>, ring: Ring, how: &str) -> Verdict {
        let callee = addresses.first().map(PartyAddress::masked).unwrap_or_default();
        let Some(Routes { first, trunk, also }) = routes(config, addresses) else {
            self.say(format!("no [[route]] leads to {callee}: the call is refused with 404"));
            return Verdict::NoRoute;
        };
        let over = |trunk| config.trunk(trunk).map_or("?", |trunk| trunk.name.as_str());
        self.say(format!("the call goes to {} over trunk {}, {how}", first.masked(), over(trunk)));
        for (address, trunk) in also {
            let when = match ring {
                Ring::InOrder => "if nobody answers there",
                Ring::InTurn => {
                    "if nobody answers there, or before that, since each call begins with the next"
                }
                Ring::Together => "at the same time, or after that over another media address",
            };
            self.say(format!("{when}, to {} over trunk {}", address.masked(), over(trunk)));
        }
        Verdict::Connects
    }

    /// A call to an agent number.
    fn meet(&mut self, config: &Config, agent: &Agent) -> Verdict {
        self.say(format!("{} is the agent number of {}, which anybody may call", agent.number, agent.key));
        let how = format!(
            "once the caller has a binding of its own; at a cap, without one, and the agent sees {}",
            agent.number
        );
        self.ring(config, agent.addresses.clone(), agent.ring, &how)
    }

    /// A late call.
    fn on_tombstone(&mut self, config: &Config, directory: &Directory, found: &Match) -> Verdict {
        match late::on_tombstone(config, directory, found) {
            Late::Connect { reopens } => {
                let more = if reopens { ", and it lives again" } else { "" };
                self.say(format!("late calls of its tenant and kind still connect{more} (on_tombstone)"));
                self.connect(config, directory, found)
            }
            Late::Divert(diversion) => self.divert(config, diversion, Some(About::Pair(found.binding))),
            Late::Refuse => {
                self.say("a late call is refused with 410, and reaches nobody else".to_owned());
                Verdict::Ended
            }
        }
    }

    /// A call of somebody who has no binding at the number.
    fn without_binding(
        &mut self,
        config: &Config,
        directory: &Directory,
        dialled: &ProxyNumber,
        caller: &PartyAddress,
    ) -> Verdict {
        match late::without_binding(config, directory, dialled, Reason::Unknown) {
            Late::Divert(diversion) => {
                let about = late::only_binding(directory, std::iter::once(caller)).map(About::Caller);
                self.divert(config, diversion, about)
            }
            Late::Connect { .. } | Late::Refuse => {
                self.say("the call is refused with 404".to_owned());
                Verdict::NoBinding
            }
        }
    }

    fn divert(&mut self, config: &Config, diversion: Diversion, about: Option<About>) -> Verdict {
        let target = config.services.find(diversion.to);
        let trunk = target.and_then(|(_, target)| config.trunk(target.trunk));
        let trunk = trunk.map_or("?", |trunk| &trunk.name);
        let about = match about {
            Some(About::Pair(binding)) => format!("about {binding}, by caller and number"),
            Some(About::Caller(binding)) => format!("about {binding}, the caller's only binding"),
            None => "without a binding".to_owned(),
        };
        self.say(format!("the call goes to the {diversion} over trunk {trunk}, {about}"));
        diversion.to.into()
    }

    /// What is remembered of a pair that nobody has.
    fn freed(&mut self, facts: &PairFacts) {
        if let Some((since, cool)) = facts.freed {
            self.until(
                "an earlier binding gave this pair back; it is not given again in its cool-off",
                Some(since),
                Some(cool),
            );
        }
    }

    fn end(self, verdict: Verdict, binding: Option<BindingView>) -> Resolution {
        Resolution { verdict, binding, steps: self.0 }
    }
}
