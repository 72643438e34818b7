//! Session timers (RFC 4028): each leg's dialog is refreshed by one of its two ends,
//! and a call whose far end is not heard of for a whole interval is over.
//!
//! The timer of one leg knows nothing of the other's. A far end that says it can gets
//! one; whether it or we refresh is what it asked for, and what it did not ask for we
//! do. What we refresh with is an UPDATE without a body where the far end takes that,
//! and otherwise the description that it was given last, in a re-INVITE: nothing of it
//! crosses, so the other side never hears of it. Emergency calls have no timer: nothing
//! ends one but its people.

use std::time::Duration;

use rand::RngExt;

use super::body;
use super::call::{Call, Ending};
use super::context::{ALLOW, Context, Purpose};
use super::exchange::Arrival;
use super::leg::LegState;
use super::timers::Timer;
use crate::engine::call_record::SessionRecord;
use crate::engine::cdr::Cause;
use crate::engine::config::SessionTimers;
use crate::engine::counters::Counter;
use crate::engine::ids::LegName;
use crate::engine::sip::build::{RequestBuilder, ResponseBuilder};
use crate::engine::sip::message::Message;
use crate::engine::sip::method::Method;
use crate::engine::sip::name::Name;
use crate::engine::sip::session_timer::{self, Refresher, SessionExpires};
use crate::engine::sip::transaction::ClientKey;
use crate::engine::sip::transport::Way;
use crate::engine::time::Instant;

/// The option tag.
pub(super) const TIMER: &str = "timer";
/// How often we follow a far end to a longer interval before we give up.
const LONGER: u8 = 3;
/// The greatest part of an interval that a refresh has for itself (section 10).
const LEEWAY: Duration = Duration::from_secs(32);

/// What a leg knows of its session's life.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) timer: Option<SessionTimer>,
    /// The refresh of ours that is not answered.
    pub(super) refreshing: Option<(ClientKey, Method)>,
    /// Whether the far end takes UPDATE.
    pub(super) takes_update: bool,
    /// The interval that our INVITE asks for, once the usual one was too short.
    asked: Option<u32>,
    /// How often it was.
    refused: u8,
}

/// The timer of a dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionTimer {
    /// Seconds.
    pub(super) interval: u32,
    /// Whether we refresh.
    pub(super) ours: bool,
    /// When we do, if we do and are not about to.
    refresh: Option<Instant>,
    /// When the session is given up.
    expires: Instant,
}

impl SessionTimer {
    /// Of a session that was refreshed just now.
    pub(super) fn new(now: Instant, interval: u32, ours: bool) -> Self {
        let whole = Duration::from_secs(interval.into());
        let expires = now + whole.saturating_sub(LEEWAY.min(whole / 3));
        Self { interval, ours, refresh: ours.then(|| now + whole / 2), expires }
    }

    fn deadline(&self) -> Instant {
        self.refresh.map_or(self.expires, |refresh| refresh.min(self.expires))
    }
}

/// What we answer to a request that may refresh a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    interval: u32,
    refresher: Refresher,
}

/// Section 9, with table 2. `None` when the dialog gets no timer.
fn terms(request: &Message, rules: SessionTimers) -> Option<Terms> {
    if rules.interval == 0 {
        return None;
    }
    let asked = SessionExpires::of(request).ok().flatten();
    let supported = session_timer::supports(request, TIMER);
    let least = session_timer::min_se(request).unwrap_or(session_timer::SHORTEST);
    let usual = rules.interval.max(least).max(rules.shortest);
    match asked {
        Some(asked) => Some(Terms {
            interval: asked.interval.min(usual),
            refresher: if supported { asked.refresher.unwrap_or(Refresher::Uac) } else { Refresher::Uas },
        }),
        None if supported => Some(Terms { interval: usual, refresher: Refresher::Uas }),
        None => None,
    }
}

/// Why a request that wants a timer cannot have it: the status, and the field that
/// says what would do.
pub(super) fn objection(request: &Message, rules: SessionTimers) -> Option<(u16, Option<(Name, String)>)> {
    if rules.interval == 0 {
        return None;
    }
    let (Ok(asked), Ok(_)) = (SessionExpires::of(request), session_timer::min_se(request)) else {
        return Some((400, None));
    };
    // Who does not know the timer, does not know this answer to it either (section 8.1).
    let too_short = asked.is_some_and(|asked| asked.interval < rules.shortest);
    (too_short && session_timer::supports(request, TIMER))
        .then(|| (422, Some((Name::MinSe, rules.shortest.to_string()))))
}

impl Session {
    /// As the journal keeps it.
    pub(super) fn record(&self, said: Option<&str>) -> Option<SessionRecord> {
        let SessionTimer { interval, ours, .. } = self.timer?;
        let says = ours && !self.takes_update;
        let said = said.filter(|_| says).map(str::to_owned);
        Some(SessionRecord { interval, ours, takes_update: self.takes_update, said })
    }

    /// As the journal has kept it. When the far end was heard of last is unknown: we
    /// refresh soon, and not all calls at once.
    pub(super) fn restored(context: &mut Context, record: &SessionRecord) -> Self {
        let &SessionRecord { interval, ours, takes_update, said: _ } = record;
        let now = context.now.mono;
        let soon =
            Duration::from_secs(u64::from(interval) / 4).mul_f64(context.random.random_range(0.0..1.0));
        let timer = SessionTimer::new(now, interval, ours);
        let timer = SessionTimer { refresh: ours.then(|| now + soon), ..timer };
        Self { timer: Some(timer), takes_update, ..Self::default() }
    }

    /// Takes up what a far end says it can.
    pub(super) fn learn_abilities(&mut self, message: &Message) {
        if message.header(Name::Allow).is_some() {
            self.takes_update = message.list(Name::Allow).any(|method| method == Method::Update.as_str());
        }
    }

    /// Our request for a timer, in an INVITE that opens a dialog or in one inside it.
    pub(super) fn ask(&self, request: RequestBuilder, rules: SessionTimers) -> RequestBuilder {
        if rules.interval == 0 {
            return request;
        }
        let request = request.header(Name::Supported, TIMER);
        let expires = match self.timer {
            Some(timer) => {
                let refresher = if timer.ours { Refresher::Uac } else { Refresher::Uas };
                SessionExpires { interval: timer.interval, refresher: Some(refresher) }
            }
            None => SessionExpires { interval: self.asked.unwrap_or(rules.interval), refresher: None },
        };
        let least = rules.shortest.max(self.asked.unwrap_or(0));
        request.header(Name::SessionExpires, &expires.text()).header(Name::MinSe, &least.to_string())
    }

    /// A 2xx to a request of ours: the session is refreshed on its terms.
    fn agreed(&mut self, now: Instant, response: &Message, rules: SessionTimers) {
        self.learn_abilities(response);
        let asked = SessionExpires::of(response).ok().flatten().filter(|_| rules.interval > 0);
        self.timer = asked.map(|terms| {
            let interval = terms.interval.max(rules.shortest);
            SessionTimer::new(now, interval, terms.refresher != Some(Refresher::Uas))
        });
    }

    /// The far end wants a longer interval. `false` when it has been followed enough.
    fn lengthen(&mut self, now: Instant, response: &Message, rules: SessionTimers) -> bool {
        let Ok(least) = session_timer::min_se(response) else { return false };
        let before = self.timer.map(|timer| timer.interval).or(self.asked).unwrap_or(rules.interval);
        if least <= before || self.refused == LONGER {
            return false;
        }
        self.refused += 1;
        self.asked = Some(least);
        self.timer = self.timer.map(|timer| SessionTimer {
            expires: timer.expires,
            ..SessionTimer::new(now, least, timer.ours)
        });
        true
    }
}

impl Call {
    /// A request of a far end that refreshes its session is about to be accepted with
    /// `response`: on what terms.
    pub(super) fn refreshed_by(
        &mut self,
        context: &mut Context,
        name: LegName,
        request: &Message,
        response: ResponseBuilder,
    ) -> ResponseBuilder {
        let session = &mut self.legs[name].session;
        session.learn_abilities(request);
        let found = terms(request, context.config.sip.session).filter(|_| !self.facts.emergency);
        session.timer = found.map(|terms| {
            SessionTimer::new(context.now.mono, terms.interval, terms.refresher == Refresher::Uas)
        });
        let Some(Terms { interval, refresher }) = found else { return response };
        let expires = SessionExpires { interval, refresher: Some(refresher) };
        let response = response.header(Name::Supported, TIMER).header(Name::SessionExpires, &expires.text());
        match refresher {
            Refresher::Uac => response.header(Name::Require, TIMER),
            Refresher::Uas => response,
        }
    }

    /// A 2xx to an INVITE or UPDATE of ours.
    pub(super) fn refreshed(&mut self, context: &mut Context, name: LegName, response: &Message) {
        if !self.facts.emergency {
            self.legs[name].session.agreed(context.now.mono, response, context.config.sip.session);
        }
        self.watch_sessions(context);
    }

    /// Our first INVITE asks for too short an interval: it is sent again with the one
    /// that the far end wants (section 7.3). `false` when that is of no use.
    pub(super) fn asks_for_longer(
        &mut self,
        context: &mut Context,
        name: LegName,
        response: &Message,
    ) -> bool {
        let rules = context.config.sip.session;
        let leg = &mut self.legs[name];
        let LegState::Outgoing { initiator, .. } = &mut leg.state else { return false };
        if self.release.is_some()
            || leg.attempt.is_none()
            || !leg.session.lengthen(context.now.mono, response, rules)
        {
            return false;
        }
        initiator.cseq += 1;
        leg.invite_cseq = initiator.cseq;
        self.call_target(context, name);
        true
    }

    /// Arms the timer for whatever is due first on either leg.
    pub(super) fn watch_sessions(&self, context: &mut Context) {
        let deadlines = [LegName::A, LegName::B].map(|name| {
            let leg = &self.legs[name];
            leg.session.timer.filter(|_| leg.dialog().is_some()).map(|timer| timer.deadline())
        });
        match deadlines.into_iter().flatten().min().filter(|_| self.release.is_none()) {
            Some(at) => context.timers.arm(self.id, Timer::Session, at),
            None => context.timers.disarm(self.id, Timer::Session),
        }
    }

    /// A session is to be refreshed, or has not been for too long.
    pub(super) fn sessions_due(&mut self, context: &mut Context) {
        for name in [LegName::A, LegName::B] {
            if self.release.is_some() {
                return;
            }
            let now = context.now.mono;
            let Some(timer) = self.legs[name].session.timer else { continue };
            if self.legs[name].dialog().is_none() {
                continue;
            }
            if timer.expires <= now {
                return self.session_expired(context, name);
            }
            if timer.refresh.is_some_and(|refresh| refresh <= now) {
                self.refresh(context, name);
            }
        }
        self.watch_sessions(context);
    }

    fn session_expired(&mut self, context: &mut Context, name: LegName) {
        context.count(Counter::SessionExpired);
        self.end(context, Ending { side: name.into(), cause: Cause::SessionExpired, status: 408 });
    }

    /// Refreshes again after a pause.
    fn refresh_later(&mut self, context: &mut Context, name: LegName, pause: Duration) {
        if let Some(timer) = &mut self.legs[name].session.timer {
            timer.refresh = Some(context.now.mono + pause);
        }
        self.watch_sessions(context);
    }

    /// Refreshes the session of a leg, unless something else does so just now.
    fn refresh(&mut self, context: &mut Context, name: LegName) {
        let id = self.id;
        let by_update = self.legs[name].session.takes_update;
        let is_busy = self.exchange.is_some() || self.is_inviting();
        if self.legs[name].session.refreshing.is_some() || (!by_update && is_busy) {
            let pause = Duration::from_millis(context.random.random_range(500..2000));
            return self.refresh_later(context, name, pause);
        }
        if let Some(timer) = &mut self.legs[name].session.timer {
            timer.refresh = None;
        }
        let said = self.legs[name].speech.last().map(str::to_owned);
        let method = if by_update || said.is_none() { Method::Update } else { Method::Invite };
        let Some((request, way)) = self.in_dialog(context, name, method.clone()) else { return };
        let leg = &self.legs[name];
        let request = request.contact(&leg.contact).header(Name::Allow, ALLOW);
        let request = leg.session.ask(request, context.config.sip.session);
        let request = match said.filter(|_| method == Method::Invite) {
            Some(said) => request.build_with_body(body::SDP, said.as_bytes()),
            None => request.build(),
        };
        if request.as_ref().is_ok_and(|request| self.leaks(context, name, &request.bytes)) {
            return self.end(context, Ending::LEAK);
        }
        context.count(Counter::Refreshes);
        match context.request(Purpose::Refresh(id, name), request, way) {
            Some(key) => {
                self.legs[name].session.refreshing = Some((key, method));
                self.unanswered += 1;
            }
            None => self.refresh_later(context, name, Duration::from_secs(2)),
        }
    }

    /// Whether an INVITE of ours inside a dialog is not answered.
    pub(super) fn is_inviting(&self) -> bool {
        [LegName::A, LegName::B].iter().any(|&name| {
            let leg = &self.legs[name];
            leg.inviting.is_some() || matches!(leg.session.refreshing, Some((_, Method::Invite)))
        })
    }

    /// A final response to a refresh of ours, or none (408).
    pub(super) fn refresh_answered(
        &mut self,
        context: &mut Context,
        name: LegName,
        status: u16,
        response: Option<(&Message, Way)>,
    ) {
        let Some((_, method)) = self.legs[name].session.refreshing.take() else { return };
        self.unanswered = self.unanswered.saturating_sub(1);
        if let Some((response, way)) = response.filter(|_| (200..300).contains(&status)) {
            if method == Method::Invite {
                if self.legs[name].has_ended() {
                    self.accepted_again(context, name, response, way);
                    return self.settle(context);
                }
                let joined = self.join_dialog(context, name, response, way);
                self.acknowledge(context, name, None);
                if !joined {
                    return self.end(context, Ending::by_platform(Cause::ProtocolError, 502));
                }
            }
            self.legs[name].session.refused = 0;
            self.refreshed(context, name, response);
            return self.settle(context);
        }
        if self.release.is_some() || self.legs[name].dialog().is_none() {
            return self.settle(context);
        }
        let interval = self.legs[name].session.timer.map_or(0, |timer| timer.interval);
        let pause = match status {
            // The dialog is gone (section 10).
            408 | 481 => return self.session_expired(context, name),
            405 | 501 if method == Method::Update && self.legs[name].speech.last().is_some() => {
                self.legs[name].session.takes_update = false;
                Duration::ZERO
            }
            422 => {
                let rules = context.config.sip.session;
                let session = &mut self.legs[name].session;
                let follows =
                    response.is_some_and(|(message, _)| session.lengthen(context.now.mono, message, rules));
                if follows { Duration::ZERO } else { Duration::from_secs(u64::from(interval) / 10) }
            }
            491 => self.glare_pause(context, name),
            _ => Duration::from_secs(u64::from(interval) / 10),
        };
        self.refresh_later(context, name, pause);
    }

    /// How long to wait after a 491 (RFC 3261 section 14.1): longer for who made the
    /// Call-ID, so that one of both comes first.
    pub(super) fn glare_pause(&self, context: &mut Context, name: LegName) -> Duration {
        let ours = self.legs[name].direction == crate::engine::cdr::Direction::Outbound;
        let range = if ours { 210..=400 } else { 0..=200 };
        Duration::from_millis(context.random.random_range(range) * 10)
    }

    /// A far end refreshes its session without a description.
    pub(super) fn updated(&mut self, context: &mut Context, name: LegName, arrival: &Arrival) {
        let response = context.response(arrival, 200, None).contact(&self.legs[name].contact);
        let response =
            self.refreshed_by(context, name, &arrival.request, response.header(Name::Allow, ALLOW));
        if let LegState::Confirmed(dialog) = &mut self.legs[name].state {
            // A Contact that cannot be read leaves the target as it was.
            let _ = dialog.refresh_target(&arrival.request);
        }
        context.respond(arrival.transaction, response.build());
        self.watch_sessions(context);
        self.changed(context);
    }
}
