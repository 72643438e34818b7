//! What a caller met at a time that is over, as far as that is remembered.
//!
//! Bindings and tombstones say since when they are what they are, and a freed pair
//! says when it was freed; a pair that was freed since then belonged to a binding that
//! nobody knows any more. What tenants, kinds and routes said then is not kept: today's
//! is told, and so is who has a binding's sides today. What became of a call that was
//! really placed stands in its records.

use super::super::{late, route};
use super::{Resolution, Steps, Verdict};
use crate::engine::admin::BindingView;
use crate::engine::callback::Reason;
use crate::engine::config::Config;
use crate::engine::directory::{BindingState, Directory, PairFacts, PartyAddress};
use crate::engine::ids::LegName;
use crate::engine::number::ProxyNumber;
use crate::engine::policy::late::Late;
use crate::engine::time::Timestamp;

/// Explains what `caller` met at `dialled` at `then`.
pub(super) fn resolve(
    config: &Config,
    directory: &Directory,
    caller: &PartyAddress,
    dialled: &ProxyNumber,
    then: Timestamp,
) -> Resolution {
    let facts = directory.facts(dialled, caller);
    let mut steps = Steps::default();
    let known = facts.binding.clone().filter(|binding| binding.created <= then);
    let verdict = match &known {
        Some(binding) => steps.of_binding(config, directory, (binding, facts.caller), then),
        None if facts.freed.is_some_and(|(since, _)| since > then) => {
            let since = facts.freed.map(|(since, _)| since);
            steps.until("a binding that is forgotten by now had this pair, live or ended", None, since);
            steps.say("whether it connected is in the records of its calls: `vizard cdr list`".to_owned());
            Verdict::Forgotten
        }
        None => steps.of_nobody(config, directory, (caller, dialled), &facts, then),
    };
    steps.end(verdict, known)
}

impl Steps {
    /// The pair was that of a binding which is still known.
    fn of_binding(
        &mut self,
        config: &Config,
        directory: &Directory,
        (binding, side): (&BindingView, LegName),
        then: Timestamp,
    ) -> Verdict {
        let who = match side {
            LegName::A => "customer",
            LegName::B => "agent",
        };
        self.say(format!("the pair was that of the {who} of {}", binding.id));
        let ended = match binding.state {
            BindingState::Entombed { since, .. } => Some(since),
            BindingState::Live { .. } => None,
        };
        match ended {
            Some(since) if since <= then => {
                let BindingState::Entombed { until, .. } = binding.state else { return Verdict::Ended };
                self.until("the binding had ended, and its numbers were reserved", Some(since), Some(until));
                self.ended(config, binding, side, directory)
            }
            Some(_) | None => {
                self.until("the binding lived", Some(binding.created), ended);
                self.connected(config, binding, side, directory)
            }
        }
    }

    fn ended(
        &mut self,
        config: &Config,
        binding: &BindingView,
        side: LegName,
        directory: &Directory,
    ) -> Verdict {
        match late::by_policy(config, &binding.tenant, binding.kind) {
            Late::Connect { .. } => {
                self.say(
                    "late calls of its tenant and kind connect (on_tombstone, as it is today)".to_owned(),
                );
                self.connected(config, binding, side, directory)
            }
            Late::Divert(diversion) => {
                self.say(format!("a late call goes to the {diversion}, as things are today"));
                diversion.to.into()
            }
            Late::Refuse => {
                self.say("a late call is refused with 410, as things are today".to_owned());
                Verdict::Ended
            }
        }
    }

    fn connected(
        &mut self,
        config: &Config,
        binding: &BindingView,
        side: LegName,
        directory: &Directory,
    ) -> Verdict {
        let Some(callee) = directory.address_of(binding.id, side.other()) else {
            self.say("the other party was erased since then".to_owned());
            return Verdict::Forgotten;
        };
        let sees = match side {
            LegName::A => binding.agent.proxy,
            LegName::B => binding.customer.proxy,
        };
        let callee_is = callee.masked();
        let Some(trunk) = route(config, &callee).and_then(|id| config.trunk(id)) else {
            self.say(format!("no [[route]] of today leads to {callee_is}"));
            return Verdict::NoRoute;
        };
        let trunk = &trunk.name;
        self.say(format!("a call goes to {callee_is} over trunk {trunk}, where {sees} is shown"));
        Verdict::Connects
    }

    /// Nothing that is remembered had the pair.
    fn of_nobody(
        &mut self,
        config: &Config,
        directory: &Directory,
        (caller, dialled): (&PartyAddress, &ProxyNumber),
        facts: &PairFacts,
        then: Timestamp,
    ) -> Verdict {
        if let Some(binding) = &facts.binding {
            self.until("the binding that has this pair came later", Some(binding.created), None);
        }
        if let Some((since, _)) = facts.freed.filter(|(since, _)| *since <= then) {
            self.until("an earlier binding had given this pair back", Some(since), None);
        }
        if facts.number.is_none() {
            self.say(format!("{dialled} is not in the pool today"));
            return Verdict::NotOurs;
        }
        if let Some(agent) = directory.agent_at(dialled, caller).filter(|agent| agent.created <= then) {
            return self.meet(config, &agent);
        }
        self.say("nothing that is remembered had this pair then".to_owned());
        match late::without_binding(config, directory, dialled, Reason::Unknown) {
            Late::Divert(diversion) => {
                self.say(format!("a call goes to the {diversion}, as things are today"));
                diversion.to.into()
            }
            Late::Connect { .. } | Late::Refuse => {
                self.say("a call is refused with 404".to_owned());
                Verdict::NoBinding
            }
        }
    }
}
