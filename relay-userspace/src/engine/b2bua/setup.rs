//! An INVITE that opens a call: judged, refused, or carried to the other party.
//!
//! The callee's INVITE is written from scratch. Of the caller's, what crosses
//! is that it came, how many hops it may still go, and the session description
//! in our words; who the two parties are comes from the binding alone.
//! Emergency calls are the exception: see [`super::emergency`].

use super::call::{Call, Ending};
use super::context::{Context, Purpose};
use super::diverted;
use super::emergency;
use super::exchange::{Arrival, EarlyAnswers, Exchange, Stage};
use super::in_dialog::{self, ACCEPT};
use super::leg::{Leg, LegState};
use super::plan::Plan;
use super::refusal::{Refusal, refuse};
use super::reliable::{RELIABLE, Reliable};
use super::ringing::{self, Ringing};
use super::session;
use super::timers::Timer;
use super::waiting::Waiting;
use crate::engine::by_leg::ByLeg;
use crate::engine::cdr::Cause;
use crate::engine::counters::Counter;
use crate::engine::event::Event;
use crate::engine::ids::{LegName, SessionId};
use crate::engine::io::RequestId;
use crate::engine::media::{MediaSession, Side, Word};
use crate::engine::policy::{self, Decision, Incoming};
use crate::engine::sip::dialog::Dialog;
use crate::engine::sip::header::NameAddr;
use crate::engine::sip::message::Message;
use crate::engine::sip::name::Name;
use crate::engine::sip::sdp::Description;
use crate::engine::sip::transport::{SentBy, Transport, Way};
use crate::engine::sip::uri::{Host, Scheme};

/// How long a caller is asked to wait when we are full, in seconds.
const RETRY_AFTER: &str = "10";

/// RFC 5630 section 5.1.1.1 for who insists on TLS where there is none.
const NOT_PROTECTED: &str = "380 vizard \"SIPS Not Allowed\"";

/// What the engine as a whole says about new calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// They are welcome.
    Open,
    /// A limit is reached: only emergency calls are.
    Full,
    /// For maintenance only emergency calls are.
    Draining,
    /// We are about to stop.
    Closed,
}

/// What became of an INVITE.
pub(super) enum Invited {
    /// The other party is being called.
    Begun(Box<Call>),
    /// It waits for the answer to this request.
    Waits(RequestId, Box<Waiting>),
    /// It was refused.
    Refused,
}

/// What is to be done with an INVITE.
struct Judged {
    plan: Plan,
    dialog: Dialog,
    offer: Option<Description>,
}

/// Takes an INVITE outside any dialog.
pub(super) fn invited(context: &mut Context, arrival: Arrival, admission: Admission) -> Invited {
    context.answer(&arrival, 100, None, &[]);
    let session = SessionId::random(&mut context.random);
    let waiting = Waiting { session, tag: context.token(), arrival };
    let judged = match judge(context, &waiting, admission) {
        Ok(judged) => judged,
        Err(refusal) => {
            refuse(context, session, &waiting.tag, &waiting.arrival, refusal);
            return Invited::Refused;
        }
    };
    if let Some((number, caller)) = &judged.plan.newcomer {
        let (now, request) = (context.now, context.next_request());
        if context.directory.meet(now, request, number, caller) {
            return Invited::Waits(request, Box::new(waiting));
        }
    }
    open(context, waiting, judged).map_or(Invited::Refused, |call| Invited::Begun(Box::new(call)))
}

/// Goes on with an INVITE that waited. `None` when it was refused.
pub(super) fn resumed(context: &mut Context, waiting: Waiting, admission: Admission) -> Option<Call> {
    match judge(context, &waiting, admission) {
        Ok(judged) => open(context, waiting, judged),
        Err(refusal) => {
            refuse(context, waiting.session, &waiting.tag, &waiting.arrival, refusal);
            None
        }
    }
}

/// Everything that can be wrong with an INVITE, in the order of RFC 3261
/// section 8.2, then what to do with it.
fn judge(context: &mut Context, waiting: &Waiting, admission: Admission) -> Result<Judged, Refusal> {
    let Waiting { session: id, tag, arrival } = waiting;
    let (id, invite) = (*id, &arrival.request);
    let dialog =
        Dialog::uas(invite, tag, 1).map_err(|error| Refusal::new(error.status(), Cause::ProtocolError))?;
    let timers = context.config.sip.session.interval > 0;
    let is_done = |option: &&str| {
        (timers && option.eq_ignore_ascii_case(session::TIMER)) || option.eq_ignore_ascii_case(RELIABLE)
    };
    let required: Vec<&str> = invite.list(Name::Require).filter(|option| !is_done(option)).collect();
    if !required.is_empty() {
        let refusal = Refusal::new(420, Cause::ProtocolError);
        return Err(refusal.with(Name::Unsupported, required.join(", ")));
    }
    if invite.max_forwards() == Ok(0) {
        return Err(Refusal::new(483, Cause::ProtocolError));
    }
    if let Some((status, more)) = session::objection(invite, context.config.sip.session) {
        let refusal = Refusal::new(status, Cause::ProtocolError);
        return Err(more.into_iter().fold(refusal, |refusal, (name, value)| refusal.with(name, value)));
    }
    let plan = decide(context, id, arrival)?;
    match admission {
        Admission::Closed => return Err(plan.refusal(503, Cause::Shutdown)),
        Admission::Full if !plan.facts.emergency => {
            return Err(Refusal::full().with(Name::RetryAfter, RETRY_AFTER.to_owned()));
        }
        Admission::Draining if !plan.facts.emergency => {
            let refusal = plan.refusal(503, Cause::Shutdown);
            return Err(refusal.with(Name::RetryAfter, RETRY_AFTER.to_owned()));
        }
        Admission::Draining | Admission::Full | Admission::Open => {}
    }
    if is_secure(invite) && !plan.facts.emergency && !is_protected(context, arrival, &plan) {
        let refusal = plan.refusal(480, Cause::NotAcceptable);
        return Err(refusal.with(Name::Warning, NOT_PROTECTED.to_owned()));
    }
    match in_dialog::offer(context, id, arrival, &plan.facts.rules(context)) {
        Ok(offer) => Ok(Judged { plan, dialog, offer }),
        Err(415) => Err(plan.refusal(415, Cause::NotAcceptable).with(Name::Accept, ACCEPT.to_owned())),
        Err(status) => Err(plan.refusal(status, Cause::NotAcceptable)),
    }
}

/// Whether a call is to be over TLS from end to end (RFC 3261 section 19.1).
pub(super) fn is_secure(invite: &Message) -> bool {
    invite.request_uri().is_some_and(|uri| uri.scheme() == Scheme::Sips)
}

/// Whether both legs of a call are over TLS.
fn is_protected(context: &Context, arrival: &Arrival, plan: &Plan) -> bool {
    let callee = context.trunk(plan.callee.trunk).map(|trunk| trunk.transport);
    [Some(arrival.way.transport), callee].iter().all(|transport| *transport == Some(Transport::Tls))
}

/// Asks the policy.
fn decide(context: &mut Context, id: SessionId, arrival: &Arrival) -> Result<Plan, Refusal> {
    let invite = &arrival.request;
    let dialled = dialled(invite).ok_or(Refusal::new(416, Cause::ProtocolError))?;
    let asserted = asserted(invite);
    let asserted: Vec<&str> = asserted.iter().map(String::as_str).collect();
    let from = caller(invite);
    let incoming =
        Incoming { trunk: arrival.trunk, dialled: &dialled, asserted: &asserted, from: from.as_deref() };
    match policy::decide(&context.config, &context.directory, &incoming) {
        Decision::Emergency { trunk } => {
            context.event(Event::EmergencyCall { session: id, routed: trunk.is_some() });
            let trunk = trunk.ok_or_else(|| Refusal::new(503, Cause::NoRoute).emergency())?;
            emergency::plan(context, arrival, trunk, from.as_deref())
                .ok_or_else(|| Refusal::new(503, Cause::NoRoute).emergency())
        }
        Decision::Bridge(bridge) => {
            Plan::masked(context, arrival, &bridge).ok_or(Refusal::new(404, Cause::NoRoute))
        }
        Decision::Meet(bridge) => {
            let newcomer = Some((bridge.caller_dialled, bridge.caller_address.clone()));
            let plan = Plan::masked(context, arrival, &bridge).ok_or(Refusal::new(404, Cause::NoRoute))?;
            Ok(Plan { newcomer, ..plan })
        }
        Decision::Divert(diverted) => {
            context.count(Counter::Diverted);
            context.event(Event::CallDiverted { session: id, diversion: diverted.diversion });
            diverted::plan(context, id, arrival, &diverted).ok_or(Refusal::new(404, Cause::NoRoute))
        }
        Decision::Reject(rejection) => Err(Refusal::by_policy(&rejection)),
    }
}

/// Makes the call and invites the callee.
fn open(context: &mut Context, waiting: Waiting, judged: Judged) -> Option<Call> {
    let Waiting { session: id, tag, arrival } = waiting;
    let Judged { plan, dialog, offer } = judged;
    let Plan { facts, caller, callee, invitation, more, turn, newcomer: _ } = plan;
    let name = facts.caller;
    let from = Leg::incoming(context, name, caller, tag, dialog, &arrival);
    let to = ringing::outgoing(context, name.other(), callee, invitation);
    let (from, to) = from.zip(to)?;
    let side = |leg: &Leg| {
        context.trunk(leg.trunk).map(|trunk| Side { address: trunk.media, source: trunk.media_source })
    };
    let media = MediaSession::new(id, ByLeg::new(name, side(&from)?, side(&to)?));
    let agents = ByLeg::new(name, context.ice_agent(from.trunk), context.ice_agent(to.trunk));
    let media = media.speaking(agents);
    for leg in [&from, &to] {
        context.index.tags.insert(leg.tag.clone(), (id, leg.name));
    }
    context.index.note_invite(&arrival, id);
    if let Some(number) = turn {
        let turn = context.turns.entry(number).or_default();
        *turn = turn.wrapping_add(1);
    }
    if let Some(binding) = facts.binding {
        context.directory.begin_call(context.now, binding);
    }
    context.count(Counter::Started);
    context.event(Event::CallStarted { session: id, binding: facts.binding, caller: name });
    let exchange = Exchange {
        from: name,
        invite: arrival,
        offer,
        early: EarlyAnswers::default(),
        reliable: Reliable::default(),
        stage: Stage::Relayed,
    };
    let mut call = Call {
        id,
        facts,
        legs: ByLeg::new(name, from, to),
        media,
        carrier: None,
        exchange: Some(exchange),
        resending: None,
        release: None,
        recorded: false,
        journaled: false,
        unanswered: 0,
        informing: Vec::new(),
        ringing: Ringing::new(more, context.config.sip.ring_timeout),
    };
    call.invite_callee(context, name.other());
    call.ring_beside(context, name.other());
    call.changed(context);
    Some(call)
}

impl Call {
    pub(super) fn invite_callee(&mut self, context: &mut Context, name: LegName) {
        let Some(exchange) = self.exchange.take() else { return };
        let found = exchange.offer.as_ref().is_none_or(|offer| self.find_ports(context, offer));
        self.exchange = Some(exchange);
        if !found {
            return self.end(context, Ending::by_platform(Cause::Overload, 503));
        }
        context.timers.arm(self.id, Timer::Ring, context.now.mono + self.ring_time(context));
        self.call_target(context, name);
    }

    /// Sends the callee's INVITE to the leg's target.
    pub(super) fn call_target(&mut self, context: &mut Context, name: LegName) {
        let Some(attempt) = self.legs[name].attempt.take() else { return };
        let Some(exchange) = self.exchange.take() else { return };
        let invitation = &attempt.invitation;
        let session = exchange.offer.as_ref().map(|offer| {
            let anchors = self.media.anchors(name, &context.config.media);
            self.legs[name].speech.say(offer, &anchors, None)
        });
        let (content_type, body) = invitation.body(&exchange.invite.request, session);
        let offers = exchange.offer.is_some();
        let hops = exchange.invite.request.max_forwards().unwrap_or(70).saturating_sub(1);
        self.exchange = Some(exchange);
        let branch = context.token();
        let leg = &self.legs[name];
        let LegState::Outgoing { initiator, .. } = &leg.state else { return };
        let request = invitation.request(context, initiator, leg, &branch, hops);
        let request = if offers { request.header(Name::Supported, RELIABLE) } else { request };
        let request =
            if self.facts.emergency { request } else { leg.session.ask(request, context.config.sip.session) };
        let request = request.build_with_body(&content_type, &body);
        let SentBy { transport, .. } = leg.sent_by;
        let way = Way { transport, local: leg.local, remote: leg.peer, otherwise: None };
        self.legs[name].attempt = Some(attempt);
        let purpose = Purpose::Invite(self.id, name);
        if request.as_ref().is_ok_and(|request| self.leaks(context, name, &request.bytes)) {
            return self.end(context, Ending::LEAK);
        }
        if let Some(Exchange { offer: Some(offer), invite, .. }) = &self.exchange {
            let offer = Word { description: offer, signalled_from: invite.source.ip() };
            let dscp = context.config.media.dscp;
            let outputs = self.media.expected(name.other(), offer, way.remote.ip(), dscp);
            self.carry(context, outputs);
        }
        match context.request(purpose, request, way) {
            Some(key) => {
                self.legs[name].inviting = Some(key);
                self.unanswered += 1;
                self.watch_target(context, name);
            }
            None => self.end(context, Ending::by_platform(Cause::Overload, 503)),
        }
    }
}

/// The number or service that the Request-URI names.
fn dialled(invite: &Message) -> Option<String> {
    let uri = invite.request_uri()?;
    match uri.scheme() {
        Scheme::Sip | Scheme::Sips | Scheme::Tel => Some(uri.subscriber().unwrap_or_default().into_owned()),
        Scheme::Other => {
            let is_urn = uri.as_str().get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn:"));
            is_urn.then(|| uri.as_str().to_owned())
        }
    }
}

/// The user parts of P-Asserted-Identity; what cannot be read asserts nothing.
fn asserted(invite: &Message) -> Vec<String> {
    let users = invite.addresses(Name::PAssertedIdentity).flatten().filter_map(|address| user(&address));
    users.collect()
}

/// Who From says is calling.
fn caller(invite: &Message) -> Option<String> {
    let from = invite.from().ok()?;
    let uri = from.uri();
    // RFC 3323 section 4.1.1.3.
    let anonymous =
        matches!(uri.host(), Some(Host::Name(host)) if host.eq_ignore_ascii_case("anonymous.invalid"));
    if anonymous { None } else { user(&from) }
}

fn user(address: &NameAddr<'_>) -> Option<String> {
    address.uri().subscriber().map(std::borrow::Cow::into_owned)
}
