//! Calls of a process before this one, taken up from the journal.
//!
//! A call whose both far ends had answered goes on: its dialogs, ports, flows
//! and timers are as they were. Any other ends here and now, with the records
//! that it would have had: one that still rang, one whose trunk, binding or
//! media address is no longer configured, one that was on its way to its end.

use std::net::SocketAddr;

use super::Calls;
use super::call::{Call, Ending, Facts};
use super::context::Context;
use super::dialogs;
use super::leg::{Leg, LegState, Speech};
use super::lengths::Lengths;
use super::plan;
use super::ringing::Ringing;
use super::session::Session;
use super::timers::Timer;
use crate::engine::by_leg::ByLeg;
use crate::engine::call_record::{CallRecord, DialogRecord, LegRecord, StreamRecord, Unacknowledged};
use crate::engine::cdr::{Cause, Direction};
use crate::engine::config::{MediaSource, TrunkId};
use crate::engine::counters::Counter;
use crate::engine::directory::{Binding, PartyAddress};
use crate::engine::egress::Secrets;
use crate::engine::event::Event;
use crate::engine::ids::{LegName, SessionId};
use crate::engine::io::{Output, Signal};
use crate::engine::media::{MediaSession, Side};
use crate::engine::sip::message::Message;
use crate::engine::sip::transaction::{SuccessDue, SuccessRetransmitter};
use crate::engine::sip::transport::{SentBy, Way};
use crate::engine::sip::uri::Uri;

/// Numbers of requests that may have been used since the call was written.
const SKIPPED: u32 = 16;
/// The trunk of a leg whose trunk is no longer configured.
const NO_TRUNK: TrunkId = TrunkId(u16::MAX);

/// A 2xx from before the restart that waits for its ACK.
#[derive(Debug)]
pub(super) struct Resending {
    leg: LegName,
    cseq: u32,
    retransmitter: SuccessRetransmitter,
}

impl Resending {
    /// As the journal keeps it.
    pub(super) fn record(&self) -> Unacknowledged {
        let response = self.retransmitter.response();
        Unacknowledged {
            leg: self.leg,
            cseq: self.cseq,
            remote: response.way.remote,
            otherwise: response.way.otherwise,
            bytes: response.bytes.clone(),
        }
    }
}

impl Calls {
    /// Takes up the calls of the journal, and has the datapath drop what belongs
    /// to none of them.
    pub(in crate::engine) fn restore(&mut self, context: &mut Context, mut records: Vec<CallRecord>) {
        records.sort_by_key(|record| record.session);
        let (mut restored, mut ended) = (0, 0);
        for record in records {
            let id = record.session;
            let (mut call, verdict) = take_up(context, record);
            match verdict {
                Ok(()) => {
                    restored += 1;
                    call.go_on(context);
                }
                Err(ending) => {
                    ended += 1;
                    call.end(context, ending);
                }
            }
            self.all.insert(id, call);
            self.reap(context, id);
        }
        context.counters.add_many(Counter::Restored, restored);
        context.counters.add_many(Counter::NotRestored, ended);
        if restored + ended > 0 {
            context.event(Event::CallsRestored { restored, ended });
        }
        context.flush();
        context.outputs.push_back(Output::SweepFlows);
    }
}

/// The call of a record, and whether it can go on.
fn take_up(context: &mut Context, record: CallRecord) -> (Call, Result<(), Ending>) {
    let binding = record.binding.and_then(|id| context.directory.binding(id));
    if let Some(binding) = record.binding {
        context.directory.hold(binding);
    }
    let session = record.session;
    let [a, b] = record.legs;
    let legs = ByLeg { a: leg(context, LegName::A, a), b: leg(context, LegName::B, b) };
    let (media, has_ports) = media(context, session, &legs, &record.streams);
    let facts = Facts {
        binding: record.binding,
        tenant: record.tenant,
        project: record.project,
        caller: record.caller,
        emergency: record.emergency,
        diversion: record.diversion,
        encryption: context.encryption(binding.as_ref()),
        max_call: binding.as_ref().and_then(|binding| binding.usage.max_call),
    };
    let mut call = Call {
        id: session,
        facts,
        legs,
        media: media.with_past(record.received, record.one_way, record.codec),
        carrier: record.carrier,
        exchange: None,
        resending: None,
        release: record.release,
        recorded: false,
        journaled: true,
        unanswered: 0,
        informing: Vec::new(),
        ringing: Ringing::default(),
    };
    for name in [LegName::A, LegName::B] {
        context.index.tags.insert(call.legs[name].tag.clone(), (session, name));
    }
    for flow in call.media.flows() {
        context.index.flows.insert(flow.spec.local, (session, flow.spec.owner.leg));
    }
    let verdict = call.can_go_on(context, binding.as_ref(), has_ports).and_then(|()| {
        match record.unacknowledged {
            // The answer to its offer can be relayed to nobody.
            Some(unacknowledged) if unacknowledged.bytes.is_empty() => {
                Err(Ending::by_platform(Cause::Shutdown, 503))
            }
            Some(unacknowledged) => {
                call.resending = Some(resending(context, &call.legs[unacknowledged.leg], unacknowledged));
                Ok(())
            }
            None => Ok(()),
        }
    });
    (call, verdict)
}

fn leg(context: &mut Context, name: LegName, record: LegRecord) -> Leg {
    let trunk = context.config.trunk_named(&record.trunk).unwrap_or(NO_TRUNK);
    let lengths = Lengths::restored(context.now, record.start, record.answer, record.end);
    let ended = LegState::Ended(record.end.unwrap_or(context.now.wall));
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut leg = Leg {
        name,
        trunk,
        trunk_name: record.trunk,
        direction: record.direction,
        proxy: record.proxy,
        remote: record.remote,
        remote_country: record.remote_country,
        remote_area: record.remote_area,
        start: record.start,
        ring: record.ring,
        lengths,
        answer: record.answer,
        status: record.status,
        state: ended,
        attempt: None,
        inviting: None,
        invite_cseq: 1,
        past: None,
        early: Vec::new(),
        acked: None,
        // Of a leg without a dialog nobody asks for these again.
        tag: context.token(),
        contact: Uri::sip_at(None, nowhere),
        local: nowhere,
        peer: nowhere,
        sent_by: SentBy::udp(nowhere),
        speech: Speech::new(0, nowhere.ip()),
        session: Session::default(),
        secrets: None,
    };
    if let Some(dialog) = record.dialog {
        join(context, &mut leg, dialog);
    }
    leg
}

/// Gives a leg its dialog back.
fn join(context: &mut Context, leg: &mut Leg, record: DialogRecord) {
    let mut dialog = record.dialog;
    dialog.skip(SKIPPED);
    let id = dialog.id();
    leg.tag.clone_from(&id.local_tag);
    if leg.direction == Direction::Inbound {
        context.index.begun.insert((id.call_id.clone(), id.remote_tag.clone()));
    }
    leg.contact = record.contact;
    let sent_by = SentBy { transport: record.transport, address: record.sent_by };
    (leg.local, leg.peer, leg.sent_by) = (record.local, record.peer, sent_by);
    leg.invite_cseq = record.invite_cseq;
    let trunk = context.trunk(leg.trunk);
    // Another socket talks to the trunk when that one is no longer configured.
    let here = (leg.sent_by.transport, leg.local);
    let is_ours = context.config.sip.listen.iter().any(|listen| (listen.transport, listen.local) == here);
    if let Some(listen) = trunk.and_then(|trunk| context.listen(trunk)).filter(|_| !is_ours) {
        (leg.local, leg.sent_by) = (listen.local, listen.sent_by());
    }
    let media = trunk.and_then(|trunk| context.config.media.addresses.get(trunk.media));
    if let Some(address) = media {
        let said = record.session.as_ref().and_then(|session| session.said.as_deref());
        leg.speech = match said {
            Some(said) => Speech::repeating(record.origin, record.version, address.advertised, said),
            None => Speech::restored(record.origin, record.version, address.advertised),
        };
    }
    if let Some(session) = &record.session {
        leg.session = Session::restored(context, session);
    }
    if let Some(acked) = record.acked {
        let branch = context.token();
        leg.acked = dialogs::write_ack(context, leg, &dialog, acked.cseq, &branch, acked.session.as_deref());
    }
    leg.state = LegState::Confirmed(dialog);
}

/// The call's media, and whether all of its ports are still ours.
fn media(
    context: &mut Context,
    session: SessionId,
    legs: &ByLeg<Leg>,
    streams: &[Option<StreamRecord>],
) -> (MediaSession, bool) {
    let side = |leg: &Leg| {
        context.trunk(leg.trunk).map_or(Side { address: 0, source: MediaSource::Signalled }, |trunk| Side {
            address: trunk.media,
            source: trunk.media_source,
        })
    };
    let sides = ByLeg { a: side(&legs.a), b: side(&legs.b) };
    let dscp = context.config.media.dscp;
    let (media, whole) =
        MediaSession::restored(session, sides, streams, dscp, |rtp| context.ports.claim(rtp));
    let mut agent = |leg: &Leg, index: usize| {
        let known_as = streams.iter().flatten().find_map(|stream| stream.ice[index].as_ref());
        let agent = context.ice_agent(leg.trunk)?;
        Some(match known_as {
            Some(known) => agent.known_as(known.ours),
            None => agent,
        })
    };
    let agents = ByLeg { a: agent(&legs.a, 0), b: agent(&legs.b, 1) };
    (media.speaking(agents), whole)
}

fn resending(context: &Context, leg: &Leg, unacknowledged: Unacknowledged) -> Resending {
    let Unacknowledged { leg: name, cseq, remote, otherwise, bytes } = unacknowledged;
    let way = Way { transport: leg.sent_by.transport, local: leg.local, remote, otherwise };
    let response = Signal { way, bytes };
    let retransmitter = SuccessRetransmitter::new(context.now.mono, response, &context.config.sip.timers);
    Resending { leg: name, cseq, retransmitter }
}

impl Call {
    /// Whether both sides can be talked to, and the egress check be made.
    fn can_go_on(
        &mut self,
        context: &Context,
        binding: Option<&Binding>,
        has_ports: bool,
    ) -> Result<(), Ending> {
        if let Some(release) = &self.release {
            return Err(Ending { side: release.side, cause: release.cause, status: 503 });
        }
        let legs = [LegName::A, LegName::B];
        if legs.iter().any(|&name| self.legs[name].dialog().is_none()) {
            return Err(Ending::by_platform(Cause::Shutdown, 503));
        }
        if legs.iter().any(|&name| self.legs[name].trunk == NO_TRUNK) {
            return Err(Ending::by_platform(Cause::NoRoute, 503));
        }
        if !has_ports {
            return Err(Ending::by_platform(Cause::MediaFailure, 503));
        }
        if self.facts.emergency {
            return Ok(());
        }
        let Some(binding) = binding else {
            // Who called without one was not kept, so what to hide is unknown.
            let cause = self.facts.binding.map_or(Cause::Shutdown, |_| Cause::BindingEnded);
            return Err(Ending::by_platform(cause, 503));
        };
        for name in legs {
            match context.directory.addresses_of(binding.id, name.other()).split_first() {
                Some((first, also)) => self.hide(context, name, first, also),
                None => return Err(Ending::by_platform(Cause::BindingEnded, 503)),
            }
        }
        Ok(())
    }

    /// What must not leave on leg `name`.
    fn hide(&mut self, context: &Context, name: LegName, hidden: &PartyAddress, also: &[PartyAddress]) {
        let ends = |name: LegName| {
            let leg = &self.legs[name];
            let targets = context.trunk(leg.trunk).map(|trunk| trunk.targets.hosts());
            [targets.unwrap_or_default(), vec![leg.peer.ip()]].concat()
        };
        let ours = [self.legs.a.sent_by.address.ip(), self.legs.b.sent_by.address.ip()];
        let secrets = plan::hidden(hidden, &ends(name.other()), &ends(name), ours);
        self.legs[name].secrets = Some(also.iter().fold(secrets, Secrets::and));
    }

    /// Asks the datapath for the flows and arms the timers of a call that goes
    /// on.
    fn go_on(&mut self, context: &mut Context) {
        let flows: Vec<Output> = self.media.flows().map(|flow| Output::PutFlow(flow.spec.clone())).collect();
        self.carry(context, flows);
        self.begin_listening(context);
        self.watch_sessions(context);
        if let Some(answer) = self.legs[self.facts.caller].answer {
            let talked = context.now.wall.saturating_since(answer);
            let left = self.facts.longest(context).saturating_sub(talked);
            context.timers.arm(self.id, Timer::MaxCall, context.now.mono + left);
            self.begin_interim(context);
        }
        if let Some(resending) = &self.resending {
            let response = resending.retransmitter.response().clone();
            let at = resending.retransmitter.deadline();
            context.send(response.way, response.bytes);
            context.timers.arm(self.id, Timer::Acknowledge, at);
        }
    }

    /// The ACK of a 2xx from before the restart.
    pub(super) fn acknowledged_after_restart(&mut self, context: &mut Context, name: LegName, ack: &Message) {
        let cseq = ack.cseq().map(|cseq| cseq.number).ok();
        let ours = self.resending.take_if(|resending| resending.leg == name && Some(resending.cseq) == cseq);
        if ours.is_some() {
            context.timers.disarm(self.id, Timer::Acknowledge);
            self.changed(context);
        }
    }

    /// A 2xx from before the restart still waits for its ACK.
    pub(super) fn resend(&mut self, context: &mut Context) {
        let Some(Resending { leg, retransmitter, .. }) = &mut self.resending else { return };
        match retransmitter.expire(context.now.mono) {
            SuccessDue::GiveUp => {
                let side = (*leg).into();
                self.resending = None;
                return self.end(context, Ending { side, cause: Cause::ProtocolError, status: 408 });
            }
            SuccessDue::Resend(response) => context.send(response.way, response.bytes),
            SuccessDue::Wait => {}
        }
        let at = retransmitter.deadline();
        context.timers.arm(self.id, Timer::Acknowledge, at);
    }
}
