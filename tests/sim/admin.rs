//! Operators and platforms: what they ask, and what may be answered.

use vizard::engine::admin::{AdminReply, AdminRequest, BindingView, RefusalKind};
use vizard::engine::audit::Act;
use vizard::engine::directory::{
    BindFilter, BindingState, PartyAddress, PoolFilter, PoolReply, PoolRequest, Shown,
};
use vizard::engine::ids::{BindingId, SessionId};
use vizard::engine::io::{Input, RequestId};
use vizard::engine::number::{ProxyNumber, Typed};

use crate::network::Happening;
use crate::scenario::{CallPlan, Errand, Party, Purpose};
use crate::setup;
use crate::world::World;

/// Rows per page, few enough that listings have several.
const PAGE: usize = 3;

/// What was asked, until it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To fill the pool.
    Pool,
    /// To make this planned binding.
    Bind(usize),
    /// To close a binding.
    Close,
    /// A page of bindings, after this one.
    Bindings(Option<BindingId>),
    /// A page of the pool, after this number.
    Numbers(Option<ProxyNumber>),
    /// Calls in progress; at rest there must be none.
    Calls { at_rest: bool },
    /// One call.
    Show,
    /// To hang up.
    Hangup,
    /// The counters.
    Counters,
    /// Something that must be refused.
    Nonsense,
}

/// What the platform knows of a binding that it asked for.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Its id.
    pub(crate) id: BindingId,
    /// The customer's proxy.
    pub(crate) customer: ProxyNumber,
    /// The agent's.
    pub(crate) agent: ProxyNumber,
}

impl World {
    /// Asks the engine for something.
    pub(crate) fn ask(&mut self, request: Request, what: AdminRequest) -> Result<(), String> {
        if self.drained {
            return Ok(());
        }
        let id = RequestId(self.asked);
        self.asked += 1;
        self.note(|_| format!("asks {request:?}"));
        self.requests.insert(id, request);
        self.input(Input::Admin(id, setup::asker(), what), None)
    }

    /// What an errand asks for, if there is anything to ask.
    pub(crate) fn prepare(&mut self, errand: Errand) -> (Request, Option<AdminRequest>) {
        match errand {
            Errand::Bind(index) => {
                let plan = &self.scenario.bindings[index];
                (Request::Bind(index), Some(setup::bind_create(&self.scenario, plan)))
            }
            Errand::Close(index) => {
                let id = self.known[index].as_ref().map(|known| known.id);
                (Request::Close, id.map(|id| AdminRequest::BindClose { id }))
            }
            Errand::ListBindings => (Request::Bindings(None), Some(bindings_after(None))),
            Errand::ListPool => (Request::Numbers(None), Some(numbers_after(None))),
            Errand::ListCalls => (Request::Calls { at_rest: false }, Some(AdminRequest::CallsList)),
            Errand::Hangup => {
                let running = |call: &&crate::call::Call| {
                    call.callee_leg.invited.is_some() && call.first_end().is_none()
                };
                let session = self.calls.iter().filter(running).find_map(|call| call.session);
                (Request::Hangup, session.map(|session| AdminRequest::CallHangup { session }))
            }
            Errand::Counters => (Request::Counters, Some(AdminRequest::Counters)),
            Errand::Nonsense => (Request::Nonsense, Some(self.nonsense())),
        }
    }

    fn nonsense(&mut self) -> AdminRequest {
        let session = SessionId::from_bits(5);
        let id = BindingId::from_bits(5);
        let real = format!("+{}", self.scenario.parties[0].user);
        let bind = |world: &Self, customer: &str, agent: &str| {
            let AdminRequest::BindCreate(mut new) =
                setup::bind_create(&world.scenario, &world.scenario.bindings[0])
            else {
                return AdminRequest::Counters;
            };
            new.key = "nonsense".into();
            new.customer = Typed(customer.into());
            new.agent = Typed(agent.into());
            AdminRequest::BindCreate(new)
        };
        match self.chance.below(7) {
            0 => AdminRequest::CallShow { session },
            1 => AdminRequest::CallHangup { session },
            2 => AdminRequest::BindShow { id },
            3 => AdminRequest::BindClose { id },
            4 => bind(self, &real, &real),
            5 => bind(self, &format!("{real}x"), &real),
            _ => bind(self, &real, &format!("{real}@nowhere")),
        }
    }

    /// Holds an answer against what was asked and what is durable.
    pub(crate) fn answered(&mut self, id: RequestId, reply: &AdminReply) -> Result<(), String> {
        let json =
            serde_json::to_string(reply).map_err(|e| format!("a reply that does not serialise: {e}"))?;
        self.check_text(&json)?;
        self.note(|_| format!("answer {id:?}: {json}"));
        let Some(request) = self.requests.remove(&id) else {
            return Err(format!("an answer that nobody waits for: {reply:?}"));
        };
        match (request, reply) {
            (Request::Bind(index), AdminReply::Bound { binding, .. }) => self.bound(index, binding),
            (Request::Close, AdminReply::Binding(binding)) => {
                self.visible(binding)?;
                self.noted(Act::BindClose, &binding.id.to_string())?;
                match binding.state {
                    BindingState::Entombed { .. } => Ok(()),
                    // With a call in progress it takes no other and ends with
                    // that one.
                    BindingState::Live { expires } if expires <= crate::world::now(self.now).wall => Ok(()),
                    BindingState::Live { .. } => Err(format!("closed and still live: {binding:?}")),
                }
            }
            (Request::Bindings(after), AdminReply::Bindings(page)) => {
                let mut last = after;
                for binding in &page.bindings {
                    self.visible(binding)?;
                    if last.is_some_and(|last| last >= binding.id) {
                        return Err("bindings out of order".into());
                    }
                    last = Some(binding.id);
                }
                if page.next.is_none() {
                    return Ok(());
                }
                self.ask(Request::Bindings(last), bindings_after(last))
            }
            (Request::Numbers(after), AdminReply::Pool(PoolReply::Page(page))) => {
                let last = page.rows.last().map(|row| row.number.number);
                if after.is_some() && last <= after && last.is_some() {
                    return Err("pool numbers out of order".into());
                }
                match page.next {
                    Some(_) => self.ask(Request::Numbers(page.next), numbers_after(page.next)),
                    None => Ok(()),
                }
            }
            (Request::Hangup, AdminReply::HungUp(session)) => {
                self.noted(Act::CallHangup, &session.to_string())
            }
            (Request::Calls { at_rest: true }, AdminReply::Calls(calls)) if !calls.is_empty() => {
                Err(format!("calls are left at rest: {calls:?}"))
            }
            (Request::Calls { at_rest: false }, AdminReply::Calls(calls)) => match calls.first() {
                Some(call) => {
                    let session = call.session;
                    self.ask(Request::Show, AdminRequest::CallShow { session })
                }
                None => Ok(()),
            },
            (Request::Pool, AdminReply::Pool(PoolReply::Added { added, known }))
                if added + known == self.scenario.pool =>
            {
                Ok(())
            }
            (Request::Calls { .. }, AdminReply::Calls(_))
            | (Request::Counters, AdminReply::Counters(_))
            | (Request::Show, AdminReply::Call(_))
            | (Request::Nonsense, AdminReply::Refused(_)) => Ok(()),
            // The store failed, or the engine is still mending what that left behind.
            (Request::Pool, AdminReply::Refused(refusal))
                if matches!(refusal.kind, RefusalKind::Unavailable | RefusalKind::Conflict) =>
            {
                self.agenda.plan(self.now + std::time::Duration::from_secs(1), Happening::Fill);
                Ok(())
            }
            (_, AdminReply::Refused(refusal))
                if self.scenario.calm && refusal.kind == RefusalKind::Unavailable =>
            {
                Err(format!("the store works, and the answer is {refusal:?}"))
            }
            (
                Request::Bind(_) | Request::Close | Request::Show | Request::Hangup,
                AdminReply::Refused(refusal),
            ) if refusal.kind != RefusalKind::Invalid => Ok(()),
            (request, reply) => Err(format!("{request:?} was answered with {reply:?}")),
        }
    }

    fn bound(&mut self, index: usize, binding: &BindingView) -> Result<(), String> {
        self.visible(binding)?;
        if binding.key != self.scenario.bindings[index].key {
            return Err(format!("a binding with another key: {binding:?}"));
        }
        self.known[index] =
            Some(Known { id: binding.id, customer: binding.customer.proxy, agent: binding.agent.proxy });
        Ok(())
    }

    /// What was done must be in the audit log.
    fn noted(&self, act: Act, on: &str) -> Result<(), String> {
        if self.store.is_noted(act, on) {
            Ok(())
        } else {
            Err(format!("{act} of {on} was done and is not noted"))
        }
    }

    /// What is shown must be durable.
    fn visible(&self, binding: &BindingView) -> Result<(), String> {
        if self.store.acknowledged.contains(&binding.id) {
            return Ok(());
        }
        Err(format!("{} is shown before it is durable", binding.id))
    }

    /// Caller and other party of a planned call.
    pub(crate) fn parties_of(&self, plan: &CallPlan) -> (Party, Party) {
        let binding = &self.scenario.bindings[plan.binding];
        let parties = &self.scenario.parties;
        let (customer, agent) = (&parties[binding.customer], &parties[binding.agent]);
        match plan.purpose {
            Purpose::Stranger => (parties[parties.len() - 1].clone(), agent.clone()),
            _ if plan.from_customer => (customer.clone(), agent.clone()),
            _ => (agent.clone(), customer.clone()),
        }
    }

    /// Whether this is a binding of that party's.
    pub(crate) fn is_of(&self, binding: &str, party: &Party) -> bool {
        let found = self.store.bindings.values().find(|known| known.id.to_string() == binding);
        let address = address(party);
        found.is_some_and(|found| {
            [found.customer.id, found.agent.id].iter().any(|id| self.store.address(*id) == address.as_ref())
        })
    }

    /// Whom a planned call must reach, by what is durable; with the proxy that
    /// the called end must see.
    pub(crate) fn expected_callee(&self, plan: &CallPlan) -> Option<(Party, ProxyNumber)> {
        let knows = match plan.purpose {
            Purpose::Bound | Purpose::Asserted | Purpose::Impostor => true,
            // An extension has no number that could be dialled.
            Purpose::RealNumber => self.parties_of(plan).1.extension,
            Purpose::Stranger | Purpose::Anonymous | Purpose::WrongNumber | Purpose::Emergency => false,
        };
        let known = self.known[plan.binding].as_ref().filter(|_| knows)?;
        let proxy = if plan.from_customer { known.customer } else { known.agent };
        let (caller, _) = self.parties_of(plan);
        let caller = address(&caller)?;
        let binding = self.store.binding_of(&(proxy, caller.clone()))?;
        let live = matches!(binding.state, BindingState::Live { .. });
        if !self.store.acknowledged.contains(&binding.id) || !(live || self.store.residue) {
            return None;
        }
        let other =
            if self.store.address(binding.customer.id) == Some(&caller) && binding.customer.proxy == proxy {
                &binding.agent
            } else {
                &binding.customer
            };
        let party = self
            .scenario
            .parties
            .iter()
            .find(|party| address(party).as_ref() == self.store.address(other.id))?;
        Some((party.clone(), other.proxy))
    }
}

fn bindings_after(after: Option<BindingId>) -> AdminRequest {
    let filter = BindFilter { state: Shown::All, ..BindFilter::default() };
    AdminRequest::BindList { filter, after, limit: PAGE }
}

fn numbers_after(after: Option<ProxyNumber>) -> AdminRequest {
    AdminRequest::Pool(PoolRequest::List { filter: PoolFilter::default(), after, limit: PAGE })
}

/// A party's address as the directory stores it.
fn address(party: &Party) -> Option<PartyAddress> {
    if party.extension {
        let user = vizard::engine::directory::Extension::new(&party.user)?;
        return Some(PartyAddress::Extension { trunk: party.host.name().into(), user });
    }
    format!("+{}", party.user).parse().ok().map(PartyAddress::Number)
}
