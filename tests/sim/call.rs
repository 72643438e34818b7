//! One simulated call: both ends, and what was seen of each leg at Vizard's
//! own doorstep. Times are taken there, so the network's delays do not blur
//! what a record should say.

use std::time::Duration;

use vizard::engine::ids::SessionId;

use crate::atlas::Side;
use crate::message::{Message, tag_of};
use crate::peer::Endpoint;
use crate::scenario::Host;

/// One call.
#[derive(Default)]
pub(crate) struct Call {
    /// The end that dialled; present once it has.
    pub(crate) caller: Option<Endpoint>,
    /// The end that was called; present once Vizard's INVITE reached it.
    pub(crate) callee: Option<Endpoint>,
    /// What was seen of the caller's leg.
    pub(crate) caller_leg: Seen,
    /// What was seen of the called end's leg.
    pub(crate) callee_leg: Seen,
    /// Vizard's name for it.
    pub(crate) session: Option<SessionId>,
    /// Vizard was killed while it was under way, and knows nothing of it.
    pub(crate) crashed: bool,
    /// A flow of it was refused.
    pub(crate) flow_refused: bool,
    /// Whether the caller was bound by a live binding when it dialled.
    pub(crate) was_bound: bool,
}

/// What was seen of one leg, in virtual time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Where the far end is.
    pub(crate) host: Option<Host>,
    /// The leg's Call-ID.
    pub(crate) call_id: String,
    /// Numbers and extensions that this leg may show: its own, and what its
    /// far end wrote itself.
    pub(crate) own: Vec<String>,
    /// The INVITE arrived or left.
    pub(crate) invited: Option<Duration>,
    /// The first CANCEL arrived or left.
    pub(crate) cancelled: Option<Duration>,
    /// The first 2xx arrived or left.
    pub(crate) answered: Option<Duration>,
    /// The To tag of that 2xx; a fork answers a second time under another.
    tag: Option<String>,
    /// The first final failure, or the first BYE either way.
    pub(crate) ended: Option<Duration>,
    /// The status of the final failure.
    pub(crate) failure: Option<u16>,
}

impl Call {
    /// One leg.
    pub(crate) fn seen(&mut self, side: Side) -> &mut Seen {
        match side {
            Side::Caller => &mut self.caller_leg,
            Side::Callee => &mut self.callee_leg,
        }
    }

    /// One end.
    pub(crate) fn endpoint(&mut self, side: Side) -> Option<&mut Endpoint> {
        match side {
            Side::Caller => self.caller.as_mut(),
            Side::Callee => self.callee.as_mut(),
        }
    }

    /// Whether both ends talk and nothing is on its way between them.
    pub(crate) fn is_settled(&self) -> bool {
        [&self.caller, &self.callee].into_iter().all(|end| end.as_ref().is_some_and(Endpoint::is_settled))
            && self.first_end().is_none()
    }

    /// When the first of its legs ended.
    pub(crate) fn first_end(&self) -> Option<Duration> {
        [self.caller_leg.ended, self.callee_leg.ended].into_iter().flatten().min()
    }
}

impl Seen {
    /// Takes note of a message that passes Vizard's doorstep on this leg.
    pub(crate) fn observe(&mut self, now: Duration, message: &Message) {
        let (method, status) = (message.method(), message.status());
        match method {
            "INVITE" if tag_of(message.value("To")).is_none() => {
                self.invited.get_or_insert(now);
            }
            "CANCEL" => {
                self.cancelled.get_or_insert(now);
            }
            "BYE" if self.tag.is_some() => {
                let tags = ["From", "To"].map(|name| tag_of(message.value(name)));
                if tags.contains(&self.tag.as_deref()) {
                    self.ended.get_or_insert(now);
                }
            }
            _ => {}
        }
        if status >= 200 && message.cseq().1 == "INVITE" && self.answered.is_none() && self.ended.is_none() {
            if status < 300 {
                self.answered = Some(now);
                self.tag = tag_of(message.value("To")).map(str::to_owned);
            } else {
                self.ended = Some(now);
                self.failure = Some(status);
            }
        }
    }
}
