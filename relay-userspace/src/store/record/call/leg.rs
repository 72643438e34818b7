//! The legs of a stored call: who is on each, their dialog, and how they are reached.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::super::{proxy, time};
use crate::engine::call_record::{AckRecord, CallRecord, DialogRecord, LegRecord, SessionRecord};
use crate::engine::cdr::Direction;
use crate::engine::sip::dialog::{Dialog, DialogId, DialogParts};
use crate::engine::sip::transport::Transport;
use crate::engine::sip::uri::Uri;
use crate::engine::time::Timestamp;

#[derive(Serialize, Deserialize)]
pub(super) struct LegV1 {
    trunk: String,
    inbound: bool,
    proxy: Option<String>,
    remote: String,
    remote_country: Option<String>,
    start: i64,
    answer: Option<i64>,
    end: Option<i64>,
    status: Option<u16>,
    dialog: Option<DialogV1>,
}

#[derive(Serialize, Deserialize)]
struct DialogV1 {
    call_id: String,
    local_tag: String,
    remote_tag: String,
    local_uri: String,
    remote_uri: String,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    route_set: Vec<String>,
    remote_target: String,
    secure: bool,
    contact: String,
    local: SocketAddr,
    peer: SocketAddr,
    sent_by: SocketAddr,
    invite_cseq: u32,
    /// The number of the INVITE, and the description in the ACK.
    acked: Option<(u32, Option<Vec<u8>>)>,
    origin: u64,
    version: u64,
}

/// When each leg began to ring, and its far end's state or province.
#[derive(Serialize, Deserialize)]
pub(super) struct RingV3([(Option<i64>, Option<String>); 2]);

pub(super) fn to_ring(call: &CallRecord) -> RingV3 {
    RingV3(call.legs.each_ref().map(|leg| {
        (leg.ring.map(Timestamp::unix_microseconds), leg.remote_area.map(|area| area.to_string()))
    }))
}

/// Says what the versions before the third did not say of legs.
pub(super) fn add_ring(call: &mut CallRecord, RingV3(legs): RingV3) -> Result<(), String> {
    for (leg, (ring, area)) in call.legs.iter_mut().zip(legs) {
        leg.ring = ring.map(time);
        let area = area.map(|area| area.parse()).transpose();
        leg.remote_area = area.map_err(|_| "its area is not one".to_owned())?;
    }
    Ok(())
}

/// Over what each leg is talked to; and where an unacknowledged response goes when the
/// connection is gone that it belongs to.
#[derive(Serialize, Deserialize)]
pub(super) struct ReachV2([OverV2; 2], Option<SocketAddr>);

#[derive(Clone, Copy, Serialize, Deserialize)]
enum OverV2 {
    Udp,
    Tcp,
    Tls,
}

impl From<Transport> for OverV2 {
    fn from(over: Transport) -> Self {
        match over {
            Transport::Udp => Self::Udp,
            Transport::Tcp => Self::Tcp,
            Transport::Tls => Self::Tls,
        }
    }
}

impl From<OverV2> for Transport {
    fn from(over: OverV2) -> Self {
        match over {
            OverV2::Udp => Self::Udp,
            OverV2::Tcp => Self::Tcp,
            OverV2::Tls => Self::Tls,
        }
    }
}

/// The session timers of both legs.
#[derive(Serialize, Deserialize)]
pub(super) struct SessionsV3([Option<SessionV3>; 2]);

/// Seconds, whether we refresh, whether by UPDATE, and what we say otherwise.
#[derive(Serialize, Deserialize)]
struct SessionV3(u32, bool, bool, Option<String>);

pub(super) fn to_sessions(call: &CallRecord) -> SessionsV3 {
    SessionsV3(call.legs.each_ref().map(|leg| {
        let session = leg.dialog.as_ref()?.session.as_ref()?;
        let SessionRecord { interval, ours, takes_update, said } = session.clone();
        Some(SessionV3(interval, ours, takes_update, said))
    }))
}

/// Says how the sessions of a call are refreshed.
pub(super) fn add_sessions(call: &mut CallRecord, SessionsV3(sessions): SessionsV3) {
    for (leg, session) in call.legs.iter_mut().zip(sessions) {
        if let Some((dialog, SessionV3(interval, ours, takes_update, said))) =
            leg.dialog.as_mut().zip(session)
        {
            dialog.session = Some(SessionRecord { interval, ours, takes_update, said });
        }
    }
}

pub(super) fn to_reach(call: &CallRecord) -> ReachV2 {
    let over = |leg: &LegRecord| leg.dialog.as_ref().map_or(Transport::Udp, |dialog| dialog.transport);
    let waits = call.unacknowledged.as_ref();
    ReachV2(call.legs.each_ref().map(|leg| over(leg).into()), waits.and_then(|waits| waits.otherwise))
}

/// Says how the legs of a call of the first version, which knew UDP alone, are reached.
pub(super) fn add_reach(call: &mut CallRecord, ReachV2(over, otherwise): ReachV2) {
    for (leg, over) in call.legs.iter_mut().zip(over) {
        if let Some(dialog) = &mut leg.dialog {
            dialog.transport = over.into();
        }
    }
    if let Some(waits) = &mut call.unacknowledged {
        waits.otherwise = otherwise;
    }
}

pub(super) fn to_leg(leg: &LegRecord) -> LegV1 {
    LegV1 {
        trunk: leg.trunk.clone(),
        inbound: leg.direction == Direction::Inbound,
        proxy: leg.proxy.map(|proxy| proxy.to_string()),
        remote: leg.remote.clone(),
        remote_country: leg.remote_country.map(|country| country.to_string()),
        start: leg.start.unix_microseconds(),
        answer: leg.answer.map(Timestamp::unix_microseconds),
        end: leg.end.map(Timestamp::unix_microseconds),
        status: leg.status,
        dialog: leg.dialog.as_ref().map(to_dialog),
    }
}

pub(super) fn from_leg(leg: LegV1) -> Result<LegRecord, String> {
    let country = |text: String| text.parse().map_err(|_| "its country is not one".to_owned());
    Ok(LegRecord {
        trunk: leg.trunk,
        direction: if leg.inbound { Direction::Inbound } else { Direction::Outbound },
        proxy: leg.proxy.as_deref().map(proxy).transpose()?,
        remote: leg.remote,
        remote_country: leg.remote_country.map(country).transpose()?,
        remote_area: None,
        start: time(leg.start),
        ring: None,
        answer: leg.answer.map(time),
        end: leg.end.map(time),
        status: leg.status,
        dialog: leg.dialog.map(from_dialog).transpose()?,
    })
}

fn to_dialog(record: &DialogRecord) -> DialogV1 {
    let DialogParts { id, local_uri, remote_uri, local_cseq, remote_cseq, route_set, remote_target, secure } =
        record.dialog.parts();
    DialogV1 {
        call_id: id.call_id,
        local_tag: id.local_tag,
        remote_tag: id.remote_tag,
        local_uri: local_uri.as_str().to_owned(),
        remote_uri: remote_uri.as_str().to_owned(),
        local_cseq,
        remote_cseq,
        route_set,
        remote_target: remote_target.as_str().to_owned(),
        secure,
        contact: record.contact.as_str().to_owned(),
        local: record.local,
        peer: record.peer,
        sent_by: record.sent_by,
        invite_cseq: record.invite_cseq,
        acked: record.acked.as_ref().map(|acked| (acked.cseq, acked.session.clone())),
        origin: record.origin,
        version: record.version,
    }
}

fn from_dialog(dialog: DialogV1) -> Result<DialogRecord, String> {
    let uri = |text: &str| Uri::parse(text).map_err(|_| "one of its URIs is not one".to_owned());
    Ok(DialogRecord {
        dialog: Dialog::restored(DialogParts {
            id: DialogId {
                call_id: dialog.call_id,
                local_tag: dialog.local_tag,
                remote_tag: dialog.remote_tag,
            },
            local_uri: uri(&dialog.local_uri)?,
            remote_uri: uri(&dialog.remote_uri)?,
            local_cseq: dialog.local_cseq,
            remote_cseq: dialog.remote_cseq,
            route_set: dialog.route_set,
            remote_target: uri(&dialog.remote_target)?,
            secure: dialog.secure,
        }),
        contact: uri(&dialog.contact)?,
        local: dialog.local,
        peer: dialog.peer,
        sent_by: dialog.sent_by,
        transport: Transport::Udp,
        invite_cseq: dialog.invite_cseq,
        acked: dialog.acked.map(|(cseq, session)| AckRecord { cseq, session }),
        origin: dialog.origin,
        version: dialog.version,
        session: None,
    })
}
