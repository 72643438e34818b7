//! One leg of a call: the dialog with one far end, what it is shown, and what
//! its record will say.

use std::net::{IpAddr, SocketAddr};

use rand::Rng;

use super::context::Context;
use super::exchange::Arrival;
use super::lengths::Lengths;
use super::plan::Party;
use super::reach::Attempt;
use super::reliable::EarlyDialog;
use super::session::Session;
use crate::engine::admin::LegView;
use crate::engine::cdr::Direction;
use crate::engine::config::TrunkId;
use crate::engine::egress::{Leak, Secrets};
use crate::engine::ids::LegName;
use crate::engine::number::{Area, Country, ProxyNumber};
use crate::engine::sip::dialog::{Dialog, DialogId, Initiator};
use crate::engine::sip::sdp::{Anchor, Description, Origin};
use crate::engine::sip::transaction::ClientKey;
use crate::engine::sip::transport::{SentBy, Way};
use crate::engine::sip::uri::Uri;
use crate::engine::time::{Now, Timestamp};

/// One leg of a call.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) name: LegName,
    pub(super) trunk: TrunkId,
    pub(super) trunk_name: String,
    pub(super) direction: Direction,
    /// The number that the far end dialled or sees.
    pub(super) proxy: Option<ProxyNumber>,
    /// The far end, masked.
    pub(super) remote: String,
    pub(super) remote_country: Option<Country>,
    pub(super) remote_area: Option<Area>,
    pub(super) start: Timestamp,
    /// When the far end began to ring, or to hear ringing.
    pub(super) ring: Option<Timestamp>,
    pub(super) answer: Option<Timestamp>,
    pub(super) lengths: Lengths,
    /// The final status of the leg's first INVITE.
    pub(super) status: Option<u16>,
    pub(super) state: LegState,
    /// What it takes to call the far end at another target, until it is said to ring.
    pub(super) attempt: Option<Box<Attempt>>,
    /// An INVITE of ours that is not answered finally.
    pub(super) inviting: Option<ClientKey>,
    /// The number of our last INVITE.
    pub(super) invite_cseq: u32,
    /// The early dialogs in which it was heard reliably.
    pub(super) early: Vec<EarlyDialog>,
    /// The dialog that was, once the leg is over.
    pub(super) past: Option<DialogId>,
    /// The ACK of our last INVITE's 2xx, for when that comes again.
    pub(super) acked: Option<Acked>,
    /// Our tag in this dialog.
    pub(super) tag: String,
    /// Our Contact in this dialog.
    pub(super) contact: Uri,
    /// Our socket.
    pub(super) local: SocketAddr,
    /// Where the far end's last message came from.
    pub(super) peer: SocketAddr,
    /// What Via shows of us.
    pub(super) sent_by: SentBy,
    pub(super) speech: Speech,
    /// How long the far end is believed to be there.
    pub(super) session: Session,
    /// What must never leave on this leg: the other party.
    pub(super) secrets: Option<Secrets>,
}

/// Where a leg is in its life.
#[derive(Debug)]
pub(super) enum LegState {
    /// The far end's INVITE is not answered yet.
    Incoming(Dialog),
    /// Our INVITE is not answered yet; after a provisional response with a tag
    /// the far end is alerted.
    Outgoing {
        initiator: Initiator,
        /// Whether somebody has been found.
        early: bool,
    },
    /// There is a dialog.
    Confirmed(Dialog),
    /// Over.
    Ended(Timestamp),
}

/// An ACK that was sent.
#[derive(Debug)]
pub(super) struct Acked {
    /// The number of its INVITE.
    pub(super) cseq: u32,
    pub(super) dialog: DialogId,
    pub(super) way: Way,
    pub(super) bytes: Vec<u8>,
    /// The answer in it, where the 2xx was an offer.
    pub(super) session: Option<Vec<u8>>,
}

impl Leg {
    /// The leg of a far end that calls us. `None` when its trunk has no socket.
    pub(super) fn incoming(
        context: &mut Context,
        name: LegName,
        party: Party,
        tag: String,
        dialog: Dialog,
        arrival: &Arrival,
    ) -> Option<Self> {
        let leg = Self::new(context, name, Direction::Inbound, party, tag, LegState::Incoming(dialog))?;
        let sent_by = context.listen_of(context.trunk(leg.trunk)?, arrival.way)?.sent_by();
        Some(Self { peer: arrival.source, local: arrival.way.local, sent_by, ..leg })
    }

    /// The leg of a far end that we call.
    pub(super) fn outgoing(
        context: &mut Context,
        name: LegName,
        party: Party,
        initiator: Initiator,
    ) -> Option<Self> {
        let tag = initiator.local_tag.clone();
        let state = LegState::Outgoing { initiator, early: false };
        Self::new(context, name, Direction::Outbound, party, tag, state)
    }

    fn new(
        context: &mut Context,
        name: LegName,
        direction: Direction,
        party: Party,
        tag: String,
        state: LegState,
    ) -> Option<Self> {
        let trunk = context.trunk(party.trunk)?;
        let (peer, listen) = (trunk.targets.first(), context.listen(trunk)?);
        let media = context.config.media.addresses.get(trunk.media)?.advertised;
        let trunk_name = trunk.name.clone();
        Some(Self {
            name,
            trunk: party.trunk,
            trunk_name,
            direction,
            proxy: party.proxy,
            remote: party.remote,
            remote_country: party.country,
            remote_area: party.area,
            start: context.now.wall,
            ring: None,
            answer: None,
            lengths: Lengths::from_now(context.now),
            status: None,
            state,
            attempt: None,
            inviting: None,
            invite_cseq: 1,
            past: None,
            early: Vec::new(),
            acked: None,
            tag,
            contact: party.contact,
            local: listen.local,
            peer,
            sent_by: listen.sent_by(),
            secrets: party.secrets,
            session: Session::default(),
            speech: Speech::new(u64::from(context.random.next_u32()), media),
        })
    }

    /// A message of the far end came this way: what we send goes back there.
    pub(super) fn heard_from(&mut self, way: Way) {
        if way.transport == self.sent_by.transport {
            self.peer = way.remote;
        }
    }

    /// It rings; the first time counts.
    pub(super) fn rings(&mut self, now: Now) {
        self.ring.get_or_insert(now.wall);
    }

    /// It is answered; the first time counts.
    pub(super) fn answered(&mut self, now: Now, status: u16) {
        self.answer.get_or_insert(now.wall);
        self.status = Some(status);
        self.lengths.answered(now);
    }

    /// The dialog, if it is confirmed and not over.
    pub(super) const fn dialog(&self) -> Option<&Dialog> {
        match &self.state {
            LegState::Confirmed(dialog) => Some(dialog),
            LegState::Incoming(_) | LegState::Outgoing { .. } | LegState::Ended(_) => None,
        }
    }

    /// What of the other party is in a message that is about to leave.
    pub(super) fn leak_in(&self, message: &[u8]) -> Option<Leak> {
        self.secrets.as_ref().and_then(|secrets| secrets.found_in(message))
    }

    /// Whether the leg is over.
    pub(super) const fn has_ended(&self) -> bool {
        match self.state {
            LegState::Ended(_) => true,
            LegState::Incoming(_) | LegState::Outgoing { .. } | LegState::Confirmed(_) => false,
        }
    }

    /// The leg as it may be shown.
    pub(super) fn view(&self, silent: bool) -> LegView {
        let state = match self.state {
            LegState::Incoming(_) | LegState::Outgoing { early: false, .. } => "calling",
            LegState::Outgoing { early: true, .. } => "early",
            LegState::Confirmed(_) => "confirmed",
            LegState::Ended(_) => "ended",
        };
        LegView {
            leg: self.name,
            proxy: self.proxy,
            remote: self.remote.clone(),
            trunk: self.trunk_name.clone(),
            state: state.to_owned(),
            silent,
        }
    }
}

/// What we have said on one leg about media: whoever hears the same description
/// again hears the same version, and a change counts one up (RFC 3264 section 8).
#[derive(Debug)]
pub(super) struct Speech {
    origin: Origin,
    last: String,
}

impl Speech {
    /// Nothing said yet. `id` names the session towards this far end.
    pub(super) const fn new(id: u64, address: IpAddr) -> Self {
        Self { origin: Origin { id, version: 1, address }, last: String::new() }
    }

    /// What was said before a restart is forgotten: whatever is said next is a
    /// change.
    pub(super) const fn restored(id: u64, version: u64, address: IpAddr) -> Self {
        Self { origin: Origin { id, version: version.saturating_add(1), address }, last: String::new() }
    }

    /// What was said last, as it was said; after a restart nothing, unless it was kept.
    pub(super) fn last(&self) -> Option<&str> {
        Some(self.last.as_str()).filter(|last| !last.is_empty())
    }

    /// The same, where what was said last was kept.
    pub(super) fn repeating(id: u64, version: u64, address: IpAddr, last: &str) -> Self {
        Self { origin: Origin { id, version, address }, last: last.to_owned() }
    }

    /// Who speaks, and which version was said last.
    pub(super) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The other side's description in our words: an offer, or the answer to
    /// `offer`.
    pub(super) fn say(
        &mut self,
        description: &Description,
        anchors: &[Option<Anchor>],
        offer: Option<&Description>,
    ) -> Vec<u8> {
        let mut text = description.write(self.origin, anchors, offer);
        if !self.last.is_empty() && text != self.last {
            self.origin.version += 1;
            text = description.write(self.origin, anchors, offer);
        }
        self.last.clone_from(&text);
        text.into_bytes()
    }
}
