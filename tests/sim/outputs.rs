//! Does what the engine says, and objects where it may not say so.

use std::net::{IpAddr, SocketAddr};

use vizard::engine::event::Event;
use vizard::engine::guard::{Rule, Treatment};
use vizard::engine::ids::SessionId;
use vizard::engine::io::{Input, Output, Signal};

use crate::atlas::{LegId, Side};
use crate::media::Packet;
use crate::message::{Message, Start, tag_of, user_of};
use crate::network::Happening;
use crate::peer::Endpoint;
use crate::peer::script::{Change, Talk};
use crate::scenario::{CallPlan, Host, Purpose};
use crate::setup;
use crate::world::World;

impl World {
    /// Does one output; `call` is what the engine was just told about.
    pub(crate) fn output(&mut self, output: Output, call: Option<usize>) -> Result<(), String> {
        if self.drained {
            return Err(format!("{output:?} after Drained"));
        }
        match output {
            Output::Send(signal) => self.sent(&signal, call),
            Output::Commit(id, transaction) => {
                let due = self.store.submit(self.now, id, transaction);
                self.agenda.plan(due, Happening::StoreAnswers);
                Ok(())
            }
            Output::PutFlow(spec) => {
                self.note(|_| format!("flow {} -> {} for {:?}", spec.local, spec.send_to, spec.owner));
                let (local, session) = (spec.local, spec.owner.session);
                let fresh = !self.datapath.has(local);
                let sender = self.datapath.put(self.now, spec)?;
                self.name_session(session, sender.call)?;
                if fresh && self.chance.chance(self.scenario.refused_flows) {
                    self.datapath.remove(self.now, local);
                    self.calls[sender.call].flow_refused = true;
                    let refusal = Input::FlowRefused(local, "no route to the far end".into());
                    self.agenda.plan(self.now, Happening::Datapath(refusal));
                }
                Ok(())
            }
            Output::RemoveFlow(local) => {
                let stats = self.datapath.remove(self.now, local);
                let after = self.chance.millis(0, 3);
                self.agenda.plan(self.now + after, Happening::Datapath(Input::FlowRemoved(local, stats)));
                Ok(())
            }
            Output::Guard(rules) => self.spares_trunks(&rules),
            Output::Stun(_) => Err("STUN, although no trunk speaks ICE".into()),
            Output::SweepFlows => {
                let swept = self.datapath.sweep(self.now);
                self.note(|_| format!("{} flows swept", swept.len()));
                self.agenda.plan(self.now, Happening::Datapath(Input::FlowsSwept(swept)));
                Ok(())
            }
            Output::ReadFlow(local) => {
                let stats = self.datapath.read(local)?;
                self.agenda.plan(self.now, Happening::Datapath(Input::FlowRead(local, stats)));
                Ok(())
            }
            Output::Rekey(_) | Output::Certify(_) => {
                Err("a change of keys, although nobody asked for one".into())
            }
            Output::Reply(id, reply) => self.answered(id, &reply),
            Output::Event(event) => self.event(&event, call),
            Output::Drained => {
                self.note(|_| "drained".into());
                self.drained = true;
                let left = self.engine.calls_in_progress();
                if !self.stopping || left > 0 || self.store.busy() {
                    return Err(format!("Drained with {left} calls in progress"));
                }
                Ok(())
            }
        }
    }

    fn event(&mut self, event: &Event, call: Option<usize>) -> Result<(), String> {
        self.check_text(&event.to_string())?;
        self.note(|_| format!("event: {event}"));
        match (event, call) {
            (
                Event::CallStarted { session, .. }
                | Event::CallRefused { session, .. }
                | Event::EmergencyCall { session, .. },
                Some(call),
            ) => self.name_session(*session, call),
            (Event::CallStarted { .. } | Event::CallRefused { .. } | Event::EmergencyCall { .. }, None) => {
                Err(format!("{event} without an INVITE"))
            }
            _ => Ok(()),
        }
    }

    /// A session belongs to one call, and a call to one session.
    fn name_session(&mut self, session: SessionId, call: usize) -> Result<(), String> {
        let known = *self.sessions.entry(session).or_insert(call);
        let named = *self.calls[call].session.get_or_insert(session);
        if (known, named) == (call, session) || self.calls[call].crashed {
            return Ok(());
        }
        Err(format!("{session} is of call {known} and call {call}, which is {named}"))
    }

    fn sent(&mut self, signal: &Signal, call: Option<usize>) -> Result<(), String> {
        self.digest(&signal.bytes);
        self.report.messages += 1;
        if self.last_noise.is_some() {
            return self.sent_to_noise(&signal.bytes);
        }
        let message = Message::parse(&signal.bytes)
            .map_err(|problem| format!("{problem}, in\n{}", String::from_utf8_lossy(&signal.bytes)))?;
        let Some(host) = Host::ALL.into_iter().find(|host| host.address() == signal.way.remote) else {
            return Err(format!(
                "a message to {}, where nobody is: {}",
                signal.way.remote,
                message.summary()
            ));
        };
        if signal.way.local != setup::vizard_of(self.scenario.topology, host) {
            return Err(format!("a message to {host:?} leaves from {}", signal.way.local));
        }
        let id = (host, message.value("Call-ID").to_owned());
        let leg = match self.legs.get(&id) {
            Some(leg) => *leg,
            // A repeat of what nonsense was told.
            None if message.status() > 0 && id.1.starts_with("noise") => return Ok(()),
            None => {
                let leg = self.opened(&message, host, call)?;
                if self.calls[leg.call].callee_leg.call_id != id.1 {
                    self.orphans.insert(id.clone());
                }
                self.legs.insert(id.clone(), leg);
                leg
            }
        };
        self.check_leaks(leg, host, &signal.bytes)?;
        if self.orphans.contains(&id) {
            return Ok(());
        }
        let now = self.now;
        let call = &mut self.calls[leg.call];
        let before = call.caller_leg.answered;
        call.seen(leg.side).observe(now, &message);
        if before.is_none() && call.caller_leg.answered.is_some() {
            self.report.answered += 1;
        }
        self.carry(leg, &message);
        Ok(())
    }

    /// Vizard opens a dialog: whose is it, and may it?
    fn opened(&mut self, invite: &Message, host: Host, call: Option<usize>) -> Result<LegId, String> {
        let Start::Request { method, uri } = &invite.start else { return Err("a response".into()) };
        if method != "INVITE" || tag_of(invite.value("To")).is_some() {
            return Err(format!("{} in a dialog that does not exist", invite.summary()));
        }
        let Some(index) = call else {
            return Err(format!("an INVITE out of nowhere: {}", invite.summary()));
        };
        if self.calls[index].callee_leg.invited.is_some() {
            if self.calls[index].crashed {
                return Ok(LegId { call: index, side: Side::Callee });
            }
            return Err(format!("a second INVITE for call {index}: {}", invite.summary()));
        }
        let plan = self.scenario.calls[index].clone();
        let (caller, _) = self.parties_of(&plan);
        let (from, to) = (user_of(invite.value("From")), user_of(uri));
        if plan.purpose == Purpose::Emergency {
            let dialled = self.calls[index].caller_leg.own.last();
            let real = from.trim_start_matches('+').ends_with(crate::atlas::significant(&caller.user));
            if host != Host::Emergency || dialled.map(String::as_str) != Some(to) || !real {
                return Err(format!("an emergency call from {from} to {to} at {host:?}"));
            }
        } else if host == Host::Emergency {
            self.diverted(index, &plan, invite)?;
            self.calls[index].callee_leg.own = vec![setup::IVR.into()];
            self.report.diverted += 1;
        } else {
            let Some((callee, shown)) = self.expected_callee(&plan) else {
                return Err(format!("{:?} call {index} reaches {to}; nobody is behind it", plan.purpose));
            };
            let format = |user: &str| {
                if callee.extension && user == callee.user {
                    user.to_owned()
                } else if self.scenario.plain_format {
                    user.trim_start_matches('+').to_owned()
                } else {
                    format!("+{}", user.trim_start_matches('+'))
                }
            };
            if (host, to) != (callee.host, format(&callee.user).as_str()) {
                return Err(format!("call {index} reaches {to} at {host:?} instead of {callee:?}"));
            }
            if from != format(shown.digits()) {
                return Err(format!("call {index} shows {from} instead of {shown}"));
            }
            self.calls[index].callee_leg.own = vec![callee.user];
        }
        if self.calls[index].callee_leg.own.is_empty() {
            self.calls[index].callee_leg.own = vec!["emergency".into()];
        }
        let seen = &mut self.calls[index].callee_leg;
        seen.host = Some(host);
        invite.value("Call-ID").clone_into(&mut seen.call_id);
        self.report.connected += 1;
        Ok(LegId { call: index, side: Side::Callee })
    }

    /// A call goes to the callback IVR: only one that reaches nobody may, and what it is
    /// said to be about is something that its caller is in.
    fn diverted(&self, index: usize, plan: &CallPlan, invite: &Message) -> Result<(), String> {
        let complain = |what: &str| Err(format!("{:?} call {index} goes to the IVR, {what}", plan.purpose));
        if !self.scenario.ivr || matches!(plan.purpose, Purpose::WrongNumber | Purpose::Emergency) {
            return complain("where there is none for it");
        }
        // In other worlds a binding may be on its way to its end.
        if self.scenario.calm && self.expected_callee(plan).is_some() {
            return complain("although somebody is behind its number");
        }
        let (reason, about) = (invite.value("X-Vizard-Reason"), invite.value("X-Vizard-Binding"));
        let expected: &[&str] = match plan.purpose {
            Purpose::Anonymous => &["anonymous"],
            Purpose::Stranger => &["unknown"],
            _ => &["ended", "unknown"],
        };
        if !expected.contains(&reason) {
            return complain(&format!("because it is {reason:?}"));
        }
        let shown = self.known[plan.binding].as_ref().map(|known| [known.customer, known.agent]);
        let from = user_of(invite.value("From")).trim_start_matches('+');
        if !shown.is_some_and(|proxies| proxies.iter().any(|proxy| proxy.digits() == from)) {
            return complain(&format!("which is shown {from}"));
        }
        let theirs =
            about.is_empty() || (reason != "anonymous" && self.is_of(about, &self.parties_of(plan).0));
        if theirs { Ok(()) } else { complain(&format!("about {about}, which is not its caller's")) }
    }

    /// Nothing on a leg may give the other party away.
    fn check_leaks(&self, leg: LegId, host: Host, bytes: &[u8]) -> Result<(), String> {
        let call = &self.calls[leg.call];
        if self.scenario.calls[leg.call].purpose == Purpose::Emergency {
            return Ok(());
        }
        let (seen, other) = match leg.side {
            Side::Caller => (&call.caller_leg, &call.callee_leg),
            Side::Callee => (&call.callee_leg, &call.caller_leg),
        };
        let complain =
            |what: &str| Err(format!("{leg:?} is told {what}:\n{}", String::from_utf8_lossy(bytes)));
        for secret in self.secrets.all_in(bytes) {
            if !secret.belongs_to(leg, &seen.own) {
                return complain(&format!("{secret:?}"));
            }
        }
        let trunks = Host::ALL.into_iter().filter(|&stranger| stranger != host);
        for ip in trunks.map(|stranger| stranger.address().ip()) {
            if contains_address(bytes, ip) {
                return complain(&format!("the other trunk's address {ip}"));
            }
        }
        if !other.call_id.is_empty() && other.call_id != seen.call_id {
            let word = other.call_id.split('@').next().unwrap_or_default();
            if memchr::memmem::find(bytes, word.as_bytes()).is_some() {
                return complain("the other leg's Call-ID");
            }
        }
        Ok(())
    }

    /// An answer to nonsense may repeat nonsense and nothing else.
    fn sent_to_noise(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(noise) = &self.last_noise else { return Ok(()) };
        let written = self.secrets.all_in(noise);
        match self.secrets.all_in(bytes).into_iter().find(|secret| !written.contains(secret)) {
            Some(secret) => Err(format!("nonsense is told {secret:?}:\n{}", String::from_utf8_lossy(bytes))),
            None => Ok(()),
        }
    }

    /// Both ends of a call send a packet of media, and a report on it.
    pub(crate) fn talk(&mut self, index: usize) -> Result<(), String> {
        for side in [Side::Caller, Side::Callee] {
            let leg = LegId { call: index, side };
            let call = &mut self.calls[index];
            let packets = call.endpoint(side).map(|end| [end.packet(), end.report()]);
            for (from, to, packet) in packets.into_iter().flatten().flatten() {
                match self.speak(leg, from, to, packet)? {
                    Ok(()) => self.count_states(index, packet),
                    Err(reason) if self.must_hear(index) => {
                        return Err(format!("{packet:?} of {leg:?} from {from} to {to} is lost: {reason}"));
                    }
                    Err(_) => {}
                }
            }
            let early = self.calls[index].endpoint(side).and_then(|end| end.fork_packet());
            if let Some((from, to, packet)) = early {
                let heard = self.speak(leg, from, to, packet)?;
                self.report.forks += u64::from(heard.is_ok());
            }
        }
        Ok(())
    }

    /// A packet goes to where the other party once wanted it, or nowhere; then why.
    fn speak(
        &mut self,
        leg: LegId,
        from: SocketAddr,
        to: SocketAddr,
        packet: Packet,
    ) -> Result<Result<(), &'static str>, String> {
        let arrives = match self.datapath.packet(leg, from, to, packet)? {
            Ok(arrives) => arrives,
            Err(reason) => return Ok(Err(reason)),
        };
        match self.calls[leg.call].endpoint(leg.side.other()) {
            Some(receiver) if receiver.was_at(arrives, packet) => Ok(Ok(())),
            Some(_) | None => {
                Err(format!("{packet:?} of {leg:?} goes to {arrives}, where its party never was"))
            }
        }
    }

    /// Counts what a packet that arrived is a witness of.
    fn count_states(&mut self, index: usize, packet: Packet) {
        let call = &self.calls[index];
        let ends = || [&call.caller, &call.callee].into_iter().flatten();
        let resumed = ends().any(|end| end.resumed);
        let shares: Vec<bool> = ends().map(Endpoint::shares_a_port).collect();
        self.report.resumed += u64::from(resumed);
        self.report.lopsided +=
            u64::from(packet == Packet::Rtcp && shares.contains(&true) && shares.contains(&false));
    }

    /// Whatever the noise, no rule holds back a trunk.
    fn spares_trunks(&self, rules: &[Rule]) -> Result<(), String> {
        let mut sources = self.config.trunks.iter().flat_map(|trunk| &trunk.sources);
        let held = sources.find(|source| {
            !rules.iter().any(|rule| rule.net == **source && rule.treatment == Treatment::Exempt)
        });
        held.map_or(Ok(()), |source| Err(format!("{source} of a trunk is not exempt: {rules:?}")))
    }

    /// Whether this call is so plain that every packet must arrive.
    fn must_hear(&self, index: usize) -> bool {
        let call = &self.calls[index];
        let plan = &self.scenario.calls[index];
        let settled = call.is_settled();
        // One that was refused its move has moved all the same, and is not heard.
        let stays = |talk: &Talk| talk.changes.iter().all(|(_, change)| *change != Change::Move);
        let stay = stays(&plan.caller.talk) && stays(&plan.callee.talk);
        let long_answered =
            call.caller_leg.answered.is_some_and(|at| self.now > at + std::time::Duration::from_secs(1));
        self.scenario.calm && stay && settled && long_answered && plan.caller.acknowledges
    }
}

fn contains_address(bytes: &[u8], ip: IpAddr) -> bool {
    let text = ip.to_string();
    memchr::memmem::find_iter(bytes, text.as_bytes()).any(|at| {
        let digit = |i: Option<usize>| i.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_digit);
        !digit(at.checked_sub(1)) && !digit(Some(at + text.len()))
    })
}
