//! What both ends do inside a dialog: BYE, re-INVITE, descriptions.

use std::net::SocketAddr;
use std::time::Duration;

use super::script::Change;
use super::{Effects, Ending, Endpoint, Phase, Step, Wake, sdp};
use crate::atlas::Place;
use crate::message::{Message, tag_of, uri_of};

const CODECS: [u8; 3] = [0, 8, 101];

impl Endpoint {
    /// The call is up: the rest of the script runs from here.
    pub(super) fn begin_talking(&mut self, fx: &mut Effects<'_>) {
        let talk = self.script().clone();
        if let Some(after) = talk.hangup {
            fx.wakes.push((after, Wake::Step(Step::Hangup)));
        }
        for (index, (after, _)) in talk.changes.iter().enumerate() {
            fx.wakes.push((*after, Wake::Step(Step::Change(index))));
        }
    }

    /// Sends BYE, if there is a dialog to end.
    pub(super) fn hang_up(&mut self, fx: &mut Effects<'_>) {
        if self.phase != Phase::Talking {
            return;
        }
        self.phase = Phase::HangingUp;
        let bye = self.dialog.request("BYE");
        self.transact(bye, fx);
    }

    /// Sends one of the script's re-INVITEs, unless one is under way.
    pub(super) fn change(&mut self, index: usize, fx: &mut Effects<'_>) {
        let (_, change) = self.script().changes[index];
        if self.phase != Phase::Talking || self.changing() {
            return;
        }
        let direction = match change {
            Change::Hold => sdp::Direction::SendOnly,
            Change::Resume | Change::Move | Change::AskOffer | Change::Refresh => sdp::Direction::SendRecv,
        };
        if change == Change::Move {
            self.media.local = self.leg.media(Place::Moved);
            self.media.locals.push(self.media.local);
        }
        let contact = self.dialog.contact();
        let offer = (change != Change::AskOffer).then(|| self.describe(direction, None));
        let invite = self.dialog.request("INVITE").with("Contact", contact).with_sdp(offer);
        self.changing_now = Some((self.requests.len(), index));
        self.transact(invite, fx);
    }

    /// The re-INVITE of the script that this request was: which, and what for.
    pub(super) fn change_of(&self, request: usize) -> Option<(usize, Change)> {
        let (_, index) = self.changing_now.filter(|(sent, _)| *sent == request)?;
        Some((index, self.script().changes[index].1))
    }

    /// Takes in a request of Vizard's.
    pub(super) fn request(&mut self, request: &Message, fx: &mut Effects<'_>) {
        let method = request.method();
        if self.for_stray(request, fx) {
            return;
        }
        if method == "CANCEL" {
            return self.cancelled(request, fx);
        }
        if method == "ACK" {
            return self.acknowledged(request, fx);
        }
        let key = format!("{}{method}", request.branch());
        if let Some((_, response)) = self.served.iter().find(|(served, _)| *served == key) {
            fx.sends.push(response.clone());
            return;
        }
        if tag_of(request.value("To")).is_none() {
            // A mute telephone never answered, so there is nothing to repeat.
            return;
        }
        fx.complaints.extend(self.dialog.objection(request));
        let cseq = request.cseq().0;
        if cseq < self.dialog.remote_cseq {
            if method == "INVITE" {
                return self.refuse(request, 500, fx);
            }
            return self.reply(request, 500, fx);
        }
        self.dialog.remote_cseq = cseq;
        match method {
            "BYE" => {
                self.reply(request, 200, fx);
                match self.phase {
                    Phase::Setup => fx.complaints.push("a BYE before the call was up".into()),
                    Phase::Talking | Phase::HangingUp => self.phase = Phase::Over(Ending::WasHungUp),
                    Phase::Over(_) => {}
                }
            }
            "INVITE" => self.asked_to_change(request, fx),
            _ => self.reply(request, 200, fx),
        }
    }

    fn asked_to_change(&mut self, invite: &Message, fx: &mut Effects<'_>) {
        let status = match self.phase {
            Phase::Talking if self.changing() => 491,
            Phase::Talking => self.script().refuses_change.unwrap_or(200),
            Phase::Setup | Phase::HangingUp | Phase::Over(_) => 481,
        };
        if status == 200 {
            uri_of(invite.value("Contact")).clone_into(&mut self.dialog.target);
            self.accept(invite, fx);
        } else {
            self.refuse(invite, status, fx);
        }
    }

    fn acknowledged(&mut self, ack: &Message, fx: &mut Effects<'_>) {
        let (cseq, _) = ack.cseq();
        let to = tag_of(ack.value("To"));
        let Some(last) = self
            .finals
            .iter_mut()
            .find(|last| last.response.cseq().0 == cseq && tag_of(last.response.value("To")) == to)
        else {
            fx.complaints.push(format!("an ACK of nothing: {}", ack.summary()));
            return;
        };
        let first = !std::mem::replace(&mut last.acknowledged, true);
        let failed = last.response.status() >= 300;
        if failed && ack.branch() != last.response.branch() {
            fx.complaints.push("the ACK of a failure whose branch is not its INVITE's".into());
        }
        if !first || failed {
            return;
        }
        if last.offered {
            if ack.body.is_empty() {
                fx.wakes.push((Duration::from_secs(20), Wake::Step(Step::Unanswered)));
            } else {
                self.take_description(ack, fx);
            }
        }
        if self.finals.len() == 1 && self.phase == Phase::Talking && self.is_callee() {
            self.begin_talking(fx);
        }
    }

    fn is_callee(&self) -> bool {
        matches!(self.role, super::Role::Callee { .. })
    }

    /// Whether an INVITE of either direction is open inside the dialog.
    fn changing(&self) -> bool {
        let ours = self.requests.iter().any(|t| t.request.method() == "INVITE" && !t.done);
        ours || self.finals.iter().any(|last| !last.acknowledged)
    }

    fn reply(&mut self, request: &Message, status: u16, fx: &mut Effects<'_>) {
        let response = Message::response(request, status, &self.dialog.local_tag);
        self.remember(request, &response);
        fx.sends.push(response);
    }

    /// Keeps a response for repeats of its request.
    pub(super) fn remember(&mut self, request: &Message, response: &Message) {
        let key = format!("{}{}", request.branch(), request.method());
        self.served.retain(|(served, _)| *served != key);
        self.served.push((key, response.clone()));
    }

    /// A response with what this end says about itself.
    pub(super) fn dressed(&self, response: Message, contact: bool) -> Message {
        let mut response = response;
        if contact {
            response = response.with("Contact", self.dialog.contact());
        }
        if let Some(route) = &self.dialog.record_route
            && contact
            && response.header("Record-Route").is_none()
        {
            response = response.with("Record-Route", route);
        }
        if self.canaries {
            response.headers.extend(telltales(self.leg));
        }
        response
    }

    /// What Vizard described; where our media goes from here on.
    pub(super) fn take_description(
        &mut self,
        message: &Message,
        fx: &mut Effects<'_>,
    ) -> Option<sdp::Remote> {
        match sdp::read(&message.body) {
            Ok(remote) => {
                if remote.payload_types.iter().any(|payload_type| !CODECS.contains(payload_type)) {
                    fx.complaints
                        .push(format!("payload types that nobody offered: {:?}", remote.payload_types));
                }
                self.media.remote = Some(remote.clone());
                Some(remote)
            }
            Err(problem) => {
                fx.complaints.push(format!("{problem} in {}", message.summary()));
                None
            }
        }
    }

    /// This end's description, as an offer or as the answer to what it heard.
    pub(super) fn describe(&mut self, direction: sdp::Direction, heard: Option<&sdp::Remote>) -> String {
        if direction != self.media.direction || heard.is_none() {
            self.media.version += 1;
        }
        self.media.direction = direction;
        self.describe_at(self.media.local, direction, heard)
    }

    /// A description of media that arrives at `media`.
    pub(super) fn describe_at(
        &self,
        media: SocketAddr,
        direction: sdp::Direction,
        heard: Option<&sdp::Remote>,
    ) -> String {
        let payload_types: Vec<u8> = heard.map_or(CODECS.to_vec(), |heard| heard.payload_types.clone());
        let canary = self.canaries.then(|| self.leg.canary());
        sdp::Local {
            media,
            version: self.media.version,
            direction,
            payload_types: &payload_types,
            mux: self.script().mux && heard.is_none_or(|heard| heard.mux),
            canary: canary.as_deref(),
        }
        .write()
    }
}

/// Every header that could say who somebody is, with a canary.
pub(crate) fn telltales(leg: crate::atlas::LegId) -> Vec<(String, String)> {
    let (canary, device) = (leg.canary(), leg.device());
    let uri = format!("<sip:{canary}@{device}>");
    [
        ("P-Preferred-Identity", uri.clone()),
        ("Remote-Party-ID", format!("{uri};party=calling")),
        ("Diversion", format!("{uri};reason=unconditional")),
        ("History-Info", format!("{uri};index=1")),
        ("Referred-By", uri.clone()),
        ("Reply-To", uri.clone()),
        ("Call-Info", format!("<http://{device}/{canary}.png>;purpose=icon")),
        ("Alert-Info", format!("<http://{device}/{canary}.wav>")),
        ("Error-Info", uri.clone()),
        ("Identity", format!("{canary};info=<https://{canary}.example/cert>")),
        ("Geolocation", uri),
        ("P-Charging-Vector", format!("icid-value={canary};icid-generated-at={device}")),
        ("P-Access-Network-Info", format!("3GPP-UTRAN;utran-cell-id={canary}")),
        ("X-Customer", canary.clone()),
        ("User-to-User", format!("{canary};encoding=hex")),
        ("Subject", canary.clone()),
        ("Organization", canary.clone()),
        ("User-Agent", canary.clone()),
        ("Server", canary.clone()),
        ("Warning", format!("399 {device} \"{canary}\"")),
        ("Reason", format!("Q.850;cause=16;text=\"{canary}\"")),
        ("Session-ID", canary),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}
