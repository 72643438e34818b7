//! The SIP user agents on the far sides of Vizard's legs.
//!
//! An [`Endpoint`] is one end of one call: it plays its [`script`], keeps the
//! timers of RFC 3261, and complains about whatever Vizard does against the
//! book. It is as sans-IO as the engine: it is handed messages and wake-ups
//! and leaves what it wants done in [`Effects`].

mod dialog;
pub(crate) mod script;
pub(crate) mod sdp;
mod talk;
#[cfg(test)]
mod tests;
mod uac;
mod uas;

use std::net::SocketAddr;
use std::time::Duration;

use crate::atlas::{LegId, Place};
use crate::dice::Dice;
use crate::media::Packet;
use crate::message::Message;
pub(crate) use dialog::Dialog;
use script::{CalleeScript, CallerScript, Talk};
pub(crate) use talk::telltales;

/// RFC 3261's T1; the engine is configured with the same.
pub(crate) const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// Timers B, F and H.
pub(crate) const TRANSACTION: Duration = Duration::from_secs(32);

/// What an endpoint wants done.
pub(crate) struct Effects<'a> {
    /// Virtual time since the world began.
    pub(crate) now: Duration,
    /// The peers' dice.
    pub(crate) dice: &'a mut Dice,
    /// Messages to Vizard, in order.
    pub(crate) sends: Vec<Message>,
    /// Wake-ups after a delay.
    pub(crate) wakes: Vec<(Duration, Wake)>,
    /// What Vizard did against the book.
    pub(crate) complaints: Vec<String>,
}

/// Why an endpoint is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Retransmit a request.
    Request(usize),
    /// Retransmit the final response to an INVITE.
    Final(usize),
    /// Play the next thing in the script.
    Step(Step),
}

/// Something in a script whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Give up.
    Cancel,
    /// Send this provisional response.
    Provisional(usize),
    /// Answer or refuse.
    Decide,
    /// The forked telephone answers too.
    ForkAnswers,
    /// Vizard owes an answer and never gave it.
    GiveUp,
    /// Vizard acknowledged an offer without answering it, which is fair only
    /// if it hangs up.
    Unanswered,
    /// Send BYE.
    Hangup,
    /// Send this re-INVITE.
    Change(usize),
    /// Fall silent.
    Die,
}

/// Where an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its INVITE is out, or Vizard's is in.
    Setup,
    /// The dialog is confirmed.
    Talking,
    /// Its BYE is out.
    HangingUp,
    /// No dialog is left.
    Over(Ending),
}

/// How a dialog ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// This end hung up.
    HungUp,
    /// Vizard hung up.
    WasHungUp,
    /// The INVITE failed, with the status.
    Failed(u16),
    /// Nobody answered this end's request.
    GaveUp,
    /// Vizard took the INVITE and never gave a final answer.
    LeftWaiting,
    /// This end fell silent.
    Died,
}

/// One end of one call.
pub(crate) struct Endpoint {
    /// Which.
    pub(crate) leg: LegId,
    /// Where it is.
    pub(crate) phase: Phase,
    /// Its dialog with Vizard.
    pub(crate) dialog: Dialog,
    /// Its media as signalled so far.
    pub(crate) media: Media,
    /// Whether headers and descriptions carry canaries.
    pub(crate) canaries: bool,
    role: Role,
    requests: Vec<ClientTransaction>,
    finals: Vec<FinalResponse>,
    /// The last response to each request, for repeats.
    served: Vec<(String, Message)>,
    /// The dialog of a forked telephone that answered second.
    stray: Option<Stray>,
    /// Where a forked telephone sends its early media.
    fork: Option<sdp::Remote>,
    /// The last re-INVITE of the script: its request, and which one it is.
    changing_now: Option<(usize, usize)>,
    /// Whether it has taken the other side from hold.
    pub(crate) resumed: bool,
}

/// Who placed the call, with what in mind.
enum Role {
    Caller { script: CallerScript, cancelling: bool },
    Callee { script: CalleeScript, invite: Box<Message> },
}

/// An endpoint's media.
pub(crate) struct Media {
    /// Where it arrives.
    pub(crate) local: SocketAddr,
    /// Every address that was ever signalled, for packets under way.
    pub(crate) locals: Vec<SocketAddr>,
    /// Where Vizard wants it.
    pub(crate) remote: Option<sdp::Remote>,
    direction: sdp::Direction,
    version: u64,
}

/// A request that awaits its final response.
struct ClientTransaction {
    request: Message,
    interval: Duration,
    since: Duration,
    proceeding: bool,
    done: bool,
    /// What acknowledges its 2xx.
    ack: Option<Message>,
}

/// A final response to INVITE that awaits its ACK.
struct FinalResponse {
    response: Message,
    interval: Duration,
    since: Duration,
    acknowledged: bool,
    /// The offer was in it, so the ACK answers.
    offered: bool,
}

/// A second answer of a fork: Vizard must acknowledge it and hang up.
struct Stray {
    tag: String,
    acknowledged: bool,
    hung_up: bool,
}

impl Endpoint {
    /// The caller's end of a call; [`Endpoint::dial`] starts it.
    pub(crate) fn caller(leg: LegId, dialog: Dialog, script: CallerScript, canaries: bool) -> Self {
        Self::new(leg, dialog, Role::Caller { script, cancelling: false }, canaries)
    }

    fn new(leg: LegId, dialog: Dialog, role: Role, canaries: bool) -> Self {
        let local = leg.media(Place::First);
        Self {
            leg,
            phase: Phase::Setup,
            dialog,
            media: Media {
                local,
                locals: vec![local],
                remote: None,
                direction: sdp::Direction::SendRecv,
                version: 1,
            },
            canaries,
            role,
            requests: Vec::new(),
            finals: Vec::new(),
            served: Vec::new(),
            stray: None,
            fork: None,
            changing_now: None,
            resumed: false,
        }
    }

    /// Whether it fell silent.
    pub(crate) fn dead(&self) -> bool {
        self.phase == Phase::Over(Ending::Died)
    }

    /// Whether it talks and waits for nothing.
    pub(crate) fn is_settled(&self) -> bool {
        self.phase == Phase::Talking
            && self.requests.iter().all(|request| request.done)
            && self.finals.iter().all(|sent| sent.acknowledged)
    }

    /// What is still open when the world has come to rest.
    pub(crate) fn unfinished(&self) -> Option<String> {
        if let Role::Callee { script, .. } = &self.role
            && script.decision == script::Decision::Mute
        {
            return None;
        }
        match self.phase {
            Phase::Over(Ending::Died) => None,
            Phase::Over(Ending::LeftWaiting) => Some(format!("{:?} never got a final answer", self.leg)),
            Phase::Over(_) => self
                .stray
                .as_ref()
                .filter(|stray| !(stray.acknowledged && stray.hung_up))
                .map(|_| "the forked telephone that answered second was left hanging".to_owned()),
            Phase::Setup | Phase::Talking | Phase::HangingUp => {
                Some(format!("{:?} is still {:?}", self.leg, self.phase))
            }
        }
    }

    /// Takes in a message from Vizard.
    pub(crate) fn receive(&mut self, message: &Message, fx: &mut Effects<'_>) {
        if self.dead() {
            return;
        }
        if message.status() > 0 {
            self.response(message, fx);
        } else {
            self.request(message, fx);
        }
    }

    /// Takes in a wake-up.
    pub(crate) fn wake(&mut self, wake: Wake, fx: &mut Effects<'_>) {
        if self.dead() {
            return;
        }
        match wake {
            Wake::Request(index) => self.repeat_request(index, fx),
            Wake::Final(index) => self.repeat_final(index, fx),
            Wake::Step(step) => match step {
                Step::Cancel => self.cancel(fx),
                Step::Provisional(index) => self.provisional(index, fx),
                Step::Decide => self.decide(fx),
                Step::ForkAnswers => self.fork_answers(fx),
                Step::GiveUp => {
                    if self.phase == Phase::Setup {
                        self.phase = Phase::Over(Ending::LeftWaiting);
                    }
                }
                Step::Unanswered => {
                    if self.phase == Phase::Talking {
                        fx.complaints.push("an ACK without the answer it owes".into());
                    }
                }
                Step::Hangup => self.hang_up(fx),
                Step::Change(index) => self.change(index, fx),
                Step::Die => self.phase = Phase::Over(Ending::Died),
            },
        }
    }

    /// A report that this end would send now, beside its media where both share a
    /// port.
    pub(crate) fn report(&self) -> Option<(SocketAddr, SocketAddr, Packet)> {
        let (from, to, _) = self.packet()?;
        let shares = self.shares_a_port();
        let beside = |at: SocketAddr| SocketAddr::new(at.ip(), at.port() + u16::from(!shares));
        Some((beside(from), beside(to), Packet::Rtcp))
    }

    /// Whether its RTCP comes on the port of RTP.
    pub(crate) fn shares_a_port(&self) -> bool {
        self.script().mux && self.media.remote.as_ref().is_some_and(|remote| remote.mux)
    }

    /// A packet of early media of a forked telephone: from and to.
    pub(crate) fn fork_packet(&self) -> Option<(SocketAddr, SocketAddr, Packet)> {
        let remote = self.fork.as_ref().filter(|_| self.phase == Phase::Setup)?;
        let payload_type = *remote.payload_types.first()?;
        Some((self.leg.media(Place::Fork), remote.media, Packet::Rtp(payload_type)))
    }

    /// Whether this end ever wanted such a packet at this address.
    pub(crate) fn was_at(&self, address: SocketAddr, packet: Packet) -> bool {
        let below = SocketAddr::new(address.ip(), address.port() - 1);
        let locals = &self.media.locals;
        match packet {
            Packet::Rtp(_) => locals.contains(&address),
            Packet::Rtcp => locals.contains(&below) || (self.script().mux && locals.contains(&address)),
        }
    }

    /// A media packet that this end would send now: from and to.
    pub(crate) fn packet(&self) -> Option<(SocketAddr, SocketAddr, Packet)> {
        let sends = !matches!(self.phase, Phase::Over(_));
        let remote = self.media.remote.as_ref().filter(|remote| {
            sends
                && remote.media.port() != 0
                && !remote.media.ip().is_unspecified()
                && matches!(remote.direction, sdp::Direction::SendRecv | sdp::Direction::RecvOnly)
        })?;
        Some((self.media.local, remote.media, Packet::Rtp(*remote.payload_types.first()?)))
    }

    fn script(&self) -> &Talk {
        match &self.role {
            Role::Caller { script, .. } => &script.talk,
            Role::Callee { script, .. } => &script.talk,
        }
    }

    fn response(&mut self, response: &Message, fx: &mut Effects<'_>) {
        let branch = response.branch();
        let Some(index) = self
            .requests
            .iter()
            .position(|t| t.request.branch() == branch && t.request.method() == response.cseq().1)
        else {
            fx.complaints.push(format!("a response that answers no request: {}", response.summary()));
            return;
        };
        if response.status() < 200 {
            self.requests[index].proceeding = true;
            self.provisional_arrived(index, response, fx);
            return;
        }
        let again = std::mem::replace(&mut self.requests[index].done, true);
        match (self.requests[index].request.method(), response.status()) {
            ("INVITE", 200..300) => self.invite_answered(index, response, again, fx),
            ("INVITE", _) => self.invite_failed(index, response, again, fx),
            ("BYE", _) if !again => self.phase = Phase::Over(Ending::HungUp),
            _ => {}
        }
    }

    fn repeat_request(&mut self, index: usize, fx: &mut Effects<'_>) {
        let transaction = &mut self.requests[index];
        if transaction.done {
            return;
        }
        let invite = transaction.request.method() == "INVITE";
        if fx.now >= transaction.since + TRANSACTION {
            if invite && transaction.proceeding {
                return;
            }
            transaction.done = true;
            match transaction.request.method() {
                "INVITE" if self.phase == Phase::Talking => self.hang_up(fx),
                "INVITE" | "BYE" => self.phase = Phase::Over(Ending::GaveUp),
                _ => {}
            }
            return;
        }
        if invite && transaction.proceeding {
            return;
        }
        transaction.interval = if invite || !transaction.proceeding {
            (transaction.interval * 2).min(if invite { TRANSACTION } else { T2 })
        } else {
            T2
        };
        fx.sends.push(transaction.request.clone());
        fx.wakes.push((transaction.interval, Wake::Request(index)));
    }

    /// Sends a request and keeps it until it is answered.
    fn transact(&mut self, request: Message, fx: &mut Effects<'_>) {
        fx.sends.push(request.clone());
        fx.wakes.push((T1, Wake::Request(self.requests.len())));
        self.requests.push(ClientTransaction {
            request,
            interval: T1,
            since: fx.now,
            proceeding: false,
            done: false,
            ack: None,
        });
    }
}
