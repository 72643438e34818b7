//! The caller's part of a call until it is up: INVITE, CANCEL, ACK.

use std::time::Duration;

use super::script::Change;
use super::{Effects, Ending, Endpoint, Phase, Role, Step, TRANSACTION, Wake, sdp};
use crate::message::{Message, Start, tag_of, uri_of};

/// Longer than Vizard may let a caller wait for a final answer.
const PATIENCE: Duration = Duration::from_secs(150);

impl Endpoint {
    /// Sends the INVITE. `identity` are the headers that say who calls.
    pub(crate) fn dial(&mut self, identity: Vec<(String, String)>, fx: &mut Effects<'_>) {
        let Role::Caller { script, .. } = &self.role else { return };
        let script = script.clone();
        let mut invite = self.dialog.request("INVITE").with("Contact", self.dialog.contact());
        invite.headers.extend(identity);
        let offer = script.offers.then(|| self.describe(sdp::Direction::SendRecv, None));
        let invite = invite.with_sdp(offer);
        if let Start::Request { uri, .. } = &invite.start {
            self.dialog.invite_uri.clone_from(uri);
        }
        self.transact(invite, fx);
        fx.wakes.push((PATIENCE, Wake::Step(Step::GiveUp)));
        if let Some(after) = script.cancel {
            fx.wakes.push((after, Wake::Step(Step::Cancel)));
        }
        if let Some(after) = script.talk.dies {
            fx.wakes.push((after, Wake::Step(Step::Die)));
        }
    }

    /// Gives up; before any provisional response it must wait (RFC 3261
    /// section 9.1).
    pub(super) fn cancel(&mut self, fx: &mut Effects<'_>) {
        if self.phase != Phase::Setup {
            return;
        }
        let Role::Caller { cancelling, .. } = &mut self.role else { return };
        *cancelling = true;
        let already = self.requests.iter().any(|t| t.request.method() == "CANCEL");
        if !self.requests[0].proceeding || already {
            return;
        }
        let invite = &self.requests[0].request;
        let cancel = Message::request("CANCEL", &self.dialog.invite_uri)
            .with("Via", invite.value("Via"))
            .with("Max-Forwards", "70")
            .with("From", invite.value("From"))
            .with("To", invite.value("To"))
            .with("Call-ID", invite.value("Call-ID"))
            .with("CSeq", format!("{} CANCEL", invite.cseq().0));
        self.transact(cancel, fx);
        fx.wakes.push((TRANSACTION + Duration::from_secs(8), Wake::Step(Step::GiveUp)));
    }

    pub(super) fn provisional_arrived(&mut self, index: usize, response: &Message, fx: &mut Effects<'_>) {
        let caller = matches!(self.role, Role::Caller { .. });
        if index != 0 || !caller || self.phase != Phase::Setup {
            return;
        }
        if response.status() > 100 && !response.body.is_empty() {
            self.take_description(response, fx);
        }
        if let Role::Caller { cancelling: true, .. } = self.role {
            self.cancel(fx);
        }
    }

    pub(super) fn invite_answered(
        &mut self,
        index: usize,
        response: &Message,
        again: bool,
        fx: &mut Effects<'_>,
    ) {
        if again {
            fx.sends.extend(self.requests[index].ack.clone());
            if tag_of(response.value("To")) != self.dialog.remote_tag.as_deref() {
                fx.complaints.push("a second 2xx under another tag".into());
            }
            return;
        }
        let opening = index == 0 && matches!(self.role, Role::Caller { .. });
        if opening {
            response.value("To").clone_into(&mut self.dialog.remote);
            self.dialog.remote_tag = tag_of(response.value("To")).map(str::to_owned);
        } else if tag_of(response.value("To")) != self.dialog.remote_tag.as_deref() {
            fx.complaints.push("a 2xx to a re-INVITE under another tag".into());
        }
        uri_of(response.value("Contact")).clone_into(&mut self.dialog.target);
        let offered = !self.requests[index].request.body.is_empty();
        if response.body.is_empty() {
            if !offered || self.media.remote.is_none() {
                fx.complaints.push("a 2xx without the session description it owes".into());
            }
        } else {
            let heard = self.take_description(response, fx);
            if offered && !self.script().mux && heard.is_some_and(|heard| heard.mux) {
                fx.complaints.push("an answer that shares a port which was not offered".into());
            }
        }
        let cseq = self.requests[index].request.cseq().0;
        let answer = (!offered).then(|| {
            let heard = self.media.remote.clone();
            self.describe(sdp::Direction::SendRecv, heard.as_ref())
        });
        self.resumed |= matches!(self.change_of(index), Some((_, Change::Resume)));
        let ack = self.dialog.ack(cseq).with_sdp(answer);
        if let (true, Role::Caller { script, cancelling }) = (opening, &self.role) {
            let (acknowledges, cancelling) = (script.acknowledges, *cancelling);
            // After its end (given up, but the 200 was under way) it still
            // acknowledges and hangs up.
            self.phase = Phase::Talking;
            if !acknowledges {
                return;
            }
            self.requests[index].ack = Some(ack.clone());
            fx.sends.push(ack);
            if cancelling {
                self.hang_up(fx);
            } else {
                self.begin_talking(fx);
            }
            return;
        }
        self.requests[index].ack = Some(ack.clone());
        fx.sends.push(ack);
    }

    pub(super) fn invite_failed(
        &mut self,
        index: usize,
        response: &Message,
        again: bool,
        fx: &mut Effects<'_>,
    ) {
        let request = &self.requests[index].request;
        let Start::Request { uri, .. } = &request.start else { return };
        fx.sends.push(
            Message::request("ACK", uri)
                .with("Via", request.value("Via"))
                .with("Max-Forwards", "70")
                .with("From", request.value("From"))
                .with("To", response.value("To"))
                .with("Call-ID", request.value("Call-ID"))
                .with("CSeq", format!("{} ACK", request.cseq().0)),
        );
        if again {
            return;
        }
        if index == 0 && matches!(self.role, Role::Caller { .. }) {
            self.phase = Phase::Over(Ending::Failed(response.status()));
            return;
        }
        // A refused re-INVITE leaves the session as it was (RFC 3261 section
        // 14.1); these statuses end the dialog (section 12.2.1.2).
        match response.status() {
            491 => {
                if let Some((again, change)) = self.change_of(index)
                    && change != Change::Move
                {
                    let pause = fx.dice.millis(0, 4000);
                    fx.wakes.push((pause, Wake::Step(Step::Change(again))));
                }
            }
            408 | 481 => self.hang_up(fx),
            _ => {}
        }
    }
}
