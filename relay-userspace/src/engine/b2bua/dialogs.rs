//! A call's legs as dialogs: how they come about, and what we send inside them.

use std::net::SocketAddr;

use super::body;
use super::call::Call;
use super::context::{Context, Purpose};
use super::leg::{Acked, Leg, LegState};
use crate::engine::config::TrunkId;
use crate::engine::ids::LegName;
use crate::engine::sip::build::RequestBuilder;
use crate::engine::sip::dialog::{Dialog, DialogError, DialogId, Initiator};
use crate::engine::sip::message::Message;
use crate::engine::sip::method::Method;
use crate::engine::sip::name::Name;
use crate::engine::sip::transport::{Transport, Way};
use crate::engine::sip::uri::Host;

impl Call {
    /// The next request in a leg's dialog, and its way; `None` without one.
    pub(super) fn in_dialog(
        &mut self,
        context: &mut Context,
        name: LegName,
        method: Method,
    ) -> Option<(RequestBuilder, Way)> {
        let branch = context.token();
        let Leg { state, trunk, local, peer, sent_by, invite_cseq, .. } = &mut self.legs[name];
        let LegState::Confirmed(dialog) = state else { return None };
        let way = next_hop(context, *trunk, (*local, sent_by.transport), dialog, *peer);
        let is_invite = method == Method::Invite;
        let request = dialog.request(method, *sent_by, &branch);
        if is_invite {
            *invite_cseq = dialog.local_cseq();
            self.changed(context);
        }
        Some((with_product(context, request), way))
    }

    /// Acknowledges the 2xx to our last INVITE on a leg.
    pub(super) fn acknowledge(&mut self, context: &mut Context, name: LegName, session: Option<&[u8]>) {
        let branch = context.token();
        let leg = &mut self.legs[name];
        let LegState::Confirmed(dialog) = &leg.state else { return };
        if let Some(ack) = write_ack(context, leg, dialog, leg.invite_cseq, &branch, session) {
            context.send(ack.way, ack.bytes.clone());
            leg.acked = Some(ack);
        }
    }

    /// Takes the 2xx to our INVITE to the leg's dialog. `false` when it makes
    /// none.
    pub(super) fn join_dialog(
        &mut self,
        context: &Context,
        name: LegName,
        response: &Message,
        way: Way,
    ) -> bool {
        let leg = &mut self.legs[name];
        leg.heard_from(way);
        match &mut leg.state {
            LegState::Outgoing { initiator, .. } => {
                let Ok(mut dialog) = Dialog::uac(initiator, response) else { return false };
                // Numbers that its early dialog has used are gone.
                if let Some(early) = leg.early.iter().find(|early| early.dialog.id() == dialog.id()) {
                    dialog.skip(early.dialog.local_cseq().saturating_sub(dialog.local_cseq()));
                }
                leg.early = Vec::new();
                leg.answered(context.now, response.status().unwrap_or(200));
                leg.state = LegState::Confirmed(dialog);
                true
            }
            LegState::Confirmed(dialog) => dialog.refresh_target(response).is_ok(),
            LegState::Incoming(_) | LegState::Ended(_) => false,
        }
    }

    /// Our 2xx to a far end's INVITE leaves: the dialog is confirmed, and its
    /// target is the INVITE's Contact (RFC 3261 section 12.2.2).
    pub(super) fn confirm(&mut self, name: LegName, invite: &Message) {
        let leg = &mut self.legs[name];
        let state = std::mem::replace(&mut leg.state, LegState::Ended(leg.start));
        leg.state = match state {
            LegState::Incoming(mut dialog) => {
                dialog.confirm();
                LegState::Confirmed(dialog)
            }
            LegState::Confirmed(mut dialog) => {
                // A Contact that cannot be read leaves the target as it was.
                let _ = dialog.refresh_target(invite);
                LegState::Confirmed(dialog)
            }
            state @ (LegState::Outgoing { .. } | LegState::Ended(_)) => state,
        };
    }

    /// Counts a request of a far end; refused with the status of the error.
    pub(super) fn judge(&mut self, name: LegName, request: &Message, way: Way) -> Result<(), DialogError> {
        let leg = &mut self.legs[name];
        match &mut leg.state {
            LegState::Incoming(dialog) | LegState::Confirmed(dialog) => dialog.accept(request)?,
            // There is no dialog to be in or out of order with.
            LegState::Outgoing { .. } | LegState::Ended(_) => return Ok(()),
        }
        leg.heard_from(way);
        Ok(())
    }

    /// A 2xx to an INVITE of ours whose answer we have had: the ACK was lost,
    /// or the INVITE was forked and a second phone was picked up.
    pub(super) fn accepted_again(
        &mut self,
        context: &mut Context,
        name: LegName,
        response: &Message,
        way: Way,
    ) {
        let leg = &self.legs[name];
        let cseq = response.cseq().map(|cseq| cseq.number).ok();
        let dialog = DialogId::of_response(response);
        let known = leg.acked.as_ref().filter(|acked| Some(&acked.dialog) == dialog.as_ref());
        match known {
            Some(acked) if Some(acked.cseq) == cseq => {
                context.send(acked.way, acked.bytes.clone());
            }
            // It waits for the answer to its offer.
            Some(_) | None if leg.dialog().map(Dialog::id) == dialog.as_ref() => {}
            // A re-INVITE that crossed our BYE.
            Some(_) | None if leg.past.is_some() && leg.past == dialog => {
                dismiss(context, leg.trunk, response, way, Dismissal::Acknowledge);
            }
            Some(_) | None => dismiss(context, leg.trunk, response, way, Dismissal::HangUp),
        }
    }
}

/// The ACK of the 2xx to our INVITE with this number.
pub(super) fn write_ack(
    context: &Context,
    leg: &Leg,
    dialog: &Dialog,
    cseq: u32,
    branch: &str,
    session: Option<&[u8]>,
) -> Option<Acked> {
    let way = next_hop(context, leg.trunk, (leg.local, leg.sent_by.transport), dialog, leg.peer);
    let ack = dialog.ack(cseq, leg.sent_by, branch);
    let ack = match session {
        Some(session) => ack.build_with_body(body::SDP, session),
        None => ack.build(),
    };
    let session = session.map(<[u8]>::to_vec);
    Some(Acked { cseq, dialog: dialog.id().clone(), way, bytes: ack.ok()?.bytes, session })
}

/// A 2xx to an INVITE of a call that is over and forgotten.
pub(super) fn accepted_too_late(context: &mut Context, response: &Message, way: Way) {
    let Some(trunk) = context.config.trunk_of_source(way.remote.ip()) else { return };
    let known = DialogId::of_response(response).is_some_and(|dialog| context.departed.knows(&dialog));
    let dismissal = if known { Dismissal::Acknowledge } else { Dismissal::HangUp };
    dismiss(context, trunk, response, way, dismissal);
}

/// What a dialog that is no leg of ours gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dismissal {
    Acknowledge,
    /// After the ACK.
    HangUp,
}

/// Acknowledges a 2xx that is of no use (RFC 3261 section 13.2.2.4).
fn dismiss(context: &mut Context, trunk: TrunkId, response: &Message, way: Way, dismissal: Dismissal) {
    let Some(listen) = context.trunk(trunk).and_then(|trunk| context.listen_of(trunk, way)) else { return };
    let Some((mut dialog, cseq)) = dialog_of(response) else { return };
    let way = next_hop(context, trunk, (listen.local, listen.transport), &dialog, way.remote);
    let branch = context.token();
    if let Ok(ack) = dialog.ack(cseq, listen.sent_by(), &branch).build() {
        context.send(way, ack.bytes);
    }
    if dismissal == Dismissal::HangUp {
        let branch = context.token();
        let bye = dialog.request(Method::Bye, listen.sent_by(), &branch);
        let bye = with_product(context, bye).build();
        context.request(Purpose::Stray, bye, way);
    }
}

/// The dialog that a 2xx makes, and the number of its INVITE.
fn dialog_of(response: &Message) -> Option<(Dialog, u32)> {
    let (from, to) = (response.from().ok()?, response.to().ok()?);
    let cseq = response.cseq().ok()?.number;
    let initiator = Initiator {
        call_id: response.call_id().ok()?.to_owned(),
        local_tag: from.tag()?.to_owned(),
        local_uri: from.uri(),
        remote_uri: to.uri(),
        cseq,
    };
    Some((Dialog::uac(&initiator, response).ok()?, cseq))
}

/// Where a request in a dialog goes: to the first route or the target if that
/// is an address of the leg's own trunk, otherwise back to where the far end's
/// messages come from. A Contact behind NAT cannot be reached, and one that
/// points at somebody else must not be.
///
/// The connection that the far end speaks over is as good as a new one to the same
/// host, and the only way to one behind NAT; a new one is for when it is gone. A
/// dialog keeps its transport: what a Contact says of that is wrong more often than
/// the connection that is open.
pub(super) fn next_hop(
    context: &Context,
    trunk: TrunkId,
    (local, transport): (SocketAddr, Transport),
    dialog: &Dialog,
    peer: SocketAddr,
) -> Way {
    let uri = dialog.next_hop();
    let named = match uri.host() {
        Some(Host::Ip(ip)) if context.config.trunk_of_source(ip) == Some(trunk) => {
            Some(SocketAddr::new(ip, uri.port().unwrap_or(transport.default_port())))
        }
        Some(Host::Ip(_) | Host::Name(_)) | None => None,
    };
    if !transport.is_reliable() {
        return Way::udp(local, named.unwrap_or(peer));
    }
    let remote = named.filter(|named| named.ip() != peer.ip()).unwrap_or(peer);
    let otherwise = named.or_else(|| context.trunk(trunk).map(|trunk| trunk.targets.first()));
    Way { transport, local, remote, otherwise }
}

pub(super) fn with_product(context: &Context, request: RequestBuilder) -> RequestBuilder {
    request.header(Name::UserAgent, &context.config.sip.product)
}
