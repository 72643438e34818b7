//! The called end's part of a call until it is up.

use super::script::{CalleeScript, Decision};
use super::{
    Dialog, Effects, Ending, Endpoint, FinalResponse, Phase, Role, Step, Stray, T1, T2, TRANSACTION, Wake,
    sdp,
};
use crate::atlas::{LegId, Place};
use crate::message::{Message, tag_of};

impl Endpoint {
    /// The called end, at the arrival of Vizard's INVITE.
    pub(crate) fn called(
        leg: LegId,
        dialog: Dialog,
        script: &CalleeScript,
        invite: &Message,
        canaries: bool,
        fx: &mut Effects<'_>,
    ) -> Self {
        let invite = Box::new(invite.clone());
        let mut endpoint = Self::new(leg, dialog, Role::Callee { script: script.clone(), invite }, canaries);
        if let Some(after) = script.talk.dies {
            fx.wakes.push((after, Wake::Step(Step::Die)));
        }
        if script.decision == Decision::Mute {
            return endpoint;
        }
        endpoint.respond_provisionally(100, false, false, fx);
        for (index, provisional) in script.provisionals.iter().enumerate() {
            fx.wakes.push((provisional.after, Wake::Step(Step::Provisional(index))));
        }
        fx.wakes.push((script.decides, Wake::Step(Step::Decide)));
        endpoint
    }

    pub(super) fn provisional(&mut self, index: usize, fx: &mut Effects<'_>) {
        let Role::Callee { script, .. } = &self.role else { return };
        let provisional = script.provisionals[index].clone();
        self.respond_provisionally(provisional.status, provisional.sdp, provisional.forked, fx);
    }

    fn respond_provisionally(&mut self, status: u16, sdp: bool, forked: bool, fx: &mut Effects<'_>) {
        if self.phase != Phase::Setup {
            return;
        }
        let Role::Callee { invite, .. } = &self.role else { return };
        let invite = invite.clone();
        let tag = if forked { format!("{}f", self.dialog.local_tag) } else { self.dialog.local_tag.clone() };
        let body = (sdp && !invite.body.is_empty()).then(|| self.speak_early(&invite, forked));
        let response = self.dressed(Message::response(&invite, status, &tag), status > 100).with_sdp(body);
        self.remember(&invite, &response);
        fx.sends.push(response);
    }

    /// Describes early media, and sends some from then on.
    fn speak_early(&mut self, invite: &Message, forked: bool) -> String {
        let heard = sdp::read(&invite.body).ok();
        if forked {
            let place = self.leg.media(Place::Fork);
            self.media.locals.push(place);
            self.fork.clone_from(&heard);
            return self.describe_at(place, sdp::Direction::SendRecv, heard.as_ref());
        }
        self.media.remote.clone_from(&heard);
        self.describe(sdp::Direction::SendRecv, heard.as_ref())
    }

    pub(super) fn decide(&mut self, fx: &mut Effects<'_>) {
        if self.phase != Phase::Setup {
            return;
        }
        let Role::Callee { script, invite } = &self.role else { return };
        let (script, invite) = (script.clone(), invite.clone());
        match script.decision {
            Decision::Answer => {
                self.accept(&invite, fx);
                self.phase = Phase::Talking;
                if script.forks {
                    fx.wakes.push((fx.dice.millis(0, 300), Wake::Step(Step::ForkAnswers)));
                }
            }
            Decision::Refuse(status) => self.refuse(&invite, status, fx),
            Decision::RingOn | Decision::Mute => {}
        }
    }

    /// 200 to an INVITE or re-INVITE, repeated until it is acknowledged.
    pub(super) fn accept(&mut self, invite: &Message, fx: &mut Effects<'_>) {
        let heard = match invite.body.as_str() {
            "" => None,
            _ => self.take_description(invite, fx),
        };
        let direction = heard.as_ref().map_or(sdp::Direction::SendRecv, |heard| heard.direction.mirrored());
        let body = self.describe(direction, heard.as_ref());
        let tag = self.dialog.local_tag.clone();
        let response = self.dressed(Message::response(invite, 200, &tag), true).with_sdp(Some(body));
        self.finish(invite, response, heard.is_none(), fx);
    }

    /// A final failure, repeated until it is acknowledged.
    pub(super) fn refuse(&mut self, invite: &Message, status: u16, fx: &mut Effects<'_>) {
        let tag = self.dialog.local_tag.clone();
        let mut response = self.dressed(Message::response(invite, status, &tag), false);
        if status == 302 {
            let canary = self.leg.canary();
            response = response.with("Contact", format!("<sip:{canary}@{}>", self.leg.device()));
        }
        if tag_of(invite.value("To")).is_none() {
            self.phase = Phase::Over(Ending::Failed(status));
        }
        self.finish(invite, response, false, fx);
    }

    fn finish(&mut self, invite: &Message, response: Message, offered: bool, fx: &mut Effects<'_>) {
        self.remember(invite, &response);
        fx.sends.push(response.clone());
        fx.wakes.push((T1, Wake::Final(self.finals.len())));
        let (interval, since) = (T1, fx.now);
        self.finals.push(FinalResponse { response, interval, since, acknowledged: false, offered });
    }

    pub(super) fn repeat_final(&mut self, index: usize, fx: &mut Effects<'_>) {
        let last = &mut self.finals[index];
        if last.acknowledged {
            return;
        }
        if fx.now >= last.since + TRANSACTION {
            last.acknowledged = true;
            if last.response.status() < 300 {
                self.hang_up(fx);
            }
            return;
        }
        last.interval = (last.interval * 2).min(T2);
        fx.sends.push(last.response.clone());
        fx.wakes.push((last.interval, Wake::Final(index)));
    }

    /// Vizard gives up; too late once there was a final response.
    pub(super) fn cancelled(&mut self, cancel: &Message, fx: &mut Effects<'_>) {
        let Role::Callee { script, invite } = &self.role else { return };
        if script.decision == Decision::Mute {
            return;
        }
        let invite = invite.clone();
        let tag = self.dialog.local_tag.clone();
        if cancel.branch() != invite.branch() {
            fx.complaints.push("a CANCEL whose branch is not its INVITE's".into());
        }
        fx.sends.push(Message::response(cancel, 200, &tag));
        if self.phase == Phase::Setup {
            self.refuse(&invite, 487, fx);
        }
    }

    /// Another telephone of a fork answers as well (RFC 3261 section 13.2.2.4).
    pub(super) fn fork_answers(&mut self, fx: &mut Effects<'_>) {
        let Role::Callee { invite, .. } = &self.role else { return };
        let invite = invite.clone();
        let first = &self.finals[0];
        if self.phase != Phase::Talking || !first.acknowledged {
            return;
        }
        let tag = format!("{}s", self.dialog.local_tag);
        let heard = sdp::read(&invite.body).ok();
        let place = self.leg.media(Place::Fork);
        let body = self.describe_at(place, sdp::Direction::SendRecv, heard.as_ref());
        let response = self.dressed(Message::response(&invite, 200, &tag), true).with_sdp(Some(body));
        self.stray = Some(Stray { tag, acknowledged: false, hung_up: false });
        fx.sends.push(response.clone());
        fx.wakes.push((T1, Wake::Final(self.finals.len())));
        let (interval, since) = (T1, fx.now);
        self.finals.push(FinalResponse { response, interval, since, acknowledged: false, offered: false });
    }

    /// A request for the telephone that answered second.
    pub(super) fn for_stray(&mut self, request: &Message, fx: &mut Effects<'_>) -> bool {
        let Some(stray) = self.stray.as_mut() else { return false };
        if tag_of(request.value("To")) != Some(stray.tag.as_str()) {
            return false;
        }
        match request.method() {
            "ACK" => {
                stray.acknowledged = true;
                let tag = stray.tag.clone();
                for last in &mut self.finals {
                    if tag_of(last.response.value("To")) == Some(tag.as_str()) {
                        last.acknowledged = true;
                    }
                }
            }
            "BYE" => {
                stray.hung_up = true;
                fx.sends.push(Message::response(request, 200, ""));
            }
            other => fx.complaints.push(format!("{other} to the telephone that answered second")),
        }
        true
    }
}
