//! Calls in progress as they are stored.
//!
//! The richest record there is, and the most often written one: addresses are
//! bytes, not text, and nothing stands here twice. The second version adds how
//! streams travel, who sends and who does not, whether each side shares a port, who
//! was not heard, what is no longer learned, why the fast path does not carry it, and
//! over what each side is talked to.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::cdr::{DiversionV2, PathV2, SideV1, cause};
use super::{Stored, proxy, read, time};
use crate::engine::call_record::{
    AckRecord, CallRecord, DialogRecord, EndRecord, IceRecord, LegRecord, Mux, StreamRecord, Unacknowledged,
};
use crate::engine::callback::Diversion;
use crate::engine::cdr::{Direction, Release, ReleaseSide, Traffic};
use crate::engine::encoding::Encoding;
use crate::engine::flow::{Carrier, ExtensionIds, PayloadTypes, Quality, Transport};
use crate::engine::ids::{BindingId, SessionId};
use crate::engine::sip::dialog::{Dialog, DialogId, DialogParts};
use crate::engine::sip::sdp::{Component, IceCredentials, Token};
use crate::engine::sip::transport::Transport as Over;
use crate::engine::sip::uri::Uri;
use crate::engine::time::Timestamp;

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct CallV1 {
    session: u128,
    binding: Option<u128>,
    tenant: String,
    project: String,
    caller: SideV1,
    emergency: bool,
    legs: [LegV1; 2],
    streams: Vec<Option<StreamV1>>,
    codec: Option<String>,
    path: Option<PathV2>,
    received: [ReceivedV1; 2],
    unacknowledged: Option<UnacknowledgedV1>,
    /// Side, cause and status.
    release: Option<(SideV1, String, Option<u16>)>,
}

/// What came before, what more there is to say of each stream that there is,
/// which far ends were not heard for a while, which service took the call, why nothing
/// faster carries it, and how its legs are reached.
#[derive(Serialize, Deserialize)]
pub(in crate::store) struct CallV2(
    CallV1,
    Vec<StreamV2>,
    [bool; 2],
    Option<DiversionV2>,
    Option<String>,
    ReachV2,
);

/// Over what each leg is talked to; and where an unacknowledged response goes when the
/// connection is gone that it belongs to.
#[derive(Serialize, Deserialize)]
struct ReachV2([OverV2; 2], Option<SocketAddr>);

#[derive(Clone, Copy, Serialize, Deserialize)]
enum OverV2 {
    Udp,
    Tcp,
    Tls,
}

impl From<Over> for OverV2 {
    fn from(over: Over) -> Self {
        match over {
            Over::Udp => Self::Udp,
            Over::Tcp => Self::Tcp,
            Over::Tls => Self::Tls,
        }
    }
}

impl From<OverV2> for Over {
    fn from(over: OverV2) -> Self {
        match over {
            OverV2::Udp => Self::Udp,
            OverV2::Tcp => Self::Tcp,
            OverV2::Tls => Self::Tls,
        }
    }
}

fn to_reach(call: &CallRecord) -> ReachV2 {
    let over = |leg: &LegRecord| leg.dialog.as_ref().map_or(Over::Udp, |dialog| dialog.transport);
    let waits = call.unacknowledged.as_ref();
    ReachV2(call.legs.each_ref().map(|leg| over(leg).into()), waits.and_then(|waits| waits.otherwise))
}

/// What the second version adds to a stream, whose `mux` before was that of A.
#[derive(Serialize, Deserialize)]
struct StreamV2 {
    transport: TransportV2,
    /// One bit for each id.
    extensions: u16,
    mux_b: MuxV1,
    /// Whether each end sends, and whether it wants to receive.
    directions: [Option<(bool, bool)>; 2],
    /// Ports whose time to be learned is over, and from where they still take
    /// anything.
    closed: Vec<(SocketAddr, IpNet)>,
    ice: [Option<IceV2>; 2],
}

#[derive(Serialize, Deserialize)]
struct IceV2 {
    our_name: String,
    our_password: String,
    name: String,
    /// Whether it is for RTCP, and where.
    candidates: Vec<(bool, SocketAddr)>,
    nominated: bool,
}

fn to_ice(ice: &IceRecord) -> IceV2 {
    IceV2 {
        our_name: ice.ours.name.as_str().to_owned(),
        our_password: ice.ours.password.as_str().to_owned(),
        name: ice.name.clone(),
        candidates: ice.candidates.iter().map(|&(of, at)| (of == Component::Rtcp, at)).collect(),
        nominated: ice.nominated,
    }
}

fn from_ice(ice: IceV2) -> Result<IceRecord, String> {
    let broken = "what we are known by in ICE is broken";
    let name = Token::parse(&ice.our_name).ok_or(broken)?;
    let password = Token::parse(&ice.our_password).ok_or(broken)?;
    let component = |rtcp| if rtcp { Component::Rtcp } else { Component::Rtp };
    Ok(IceRecord {
        ours: IceCredentials { name, password },
        name: ice.name,
        candidates: ice.candidates.into_iter().map(|(rtcp, at)| (component(rtcp), at)).collect(),
        nominated: ice.nominated,
    })
}

#[derive(Serialize, Deserialize)]
enum TransportV2 {
    Rtp,
    Srtp { dtls: bool },
    Udptl { dtls: bool },
}

impl From<Transport> for TransportV2 {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Rtp => Self::Rtp,
            Transport::Srtp { dtls } => Self::Srtp { dtls },
            Transport::Udptl { dtls } => Self::Udptl { dtls },
        }
    }
}

impl From<TransportV2> for Transport {
    fn from(transport: TransportV2) -> Self {
        match transport {
            TransportV2::Rtp => Self::Rtp,
            TransportV2::Srtp { dtls } => Self::Srtp { dtls },
            TransportV2::Udptl { dtls } => Self::Udptl { dtls },
        }
    }
}

#[derive(Serialize, Deserialize)]
struct LegV1 {
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

#[derive(Serialize, Deserialize)]
struct ReceivedV1 {
    packets: u64,
    bytes: u64,
    expected: u64,
    lost: u64,
    reordered: u64,
    jitter_us: u32,
}

#[derive(Serialize, Deserialize)]
struct UnacknowledgedV1 {
    leg: SideV1,
    cseq: u32,
    remote: SocketAddr,
    bytes: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct StreamV1 {
    ports: [SocketAddr; 2],
    ends: [Option<EndV1>; 2],
    codec: String,
    clock_rate: u32,
    mux: MuxV1,
    audio: bool,
}

#[derive(Serialize, Deserialize)]
enum MuxV1 {
    No,
    Offered,
    Agreed,
}

#[derive(Serialize, Deserialize)]
struct EndV1 {
    far: Option<(SocketAddr, SocketAddr)>,
    allowed: IpNet,
    generation: u8,
    payload_types: u128,
}

impl Stored for CallRecord {
    const VERSION: u8 = 2;
    type Shape = CallV2;

    fn to_shape(&self) -> CallV2 {
        let streams = self.streams.iter().flatten();
        let diversion = self.diversion.map(DiversionV2::from);
        let slow_because = self.carrier.as_ref().and_then(|carrier| carrier.slow_because.as_deref());
        let slow_because = slow_because.map(str::to_owned);
        let added = streams.map(to_added).collect();
        CallV2(to_v1(self), added, self.one_way, diversion, slow_because, to_reach(self))
    }

    fn from_shape(record: CallV2) -> Result<Self, String> {
        let CallV2(call, added, one_way, diversion, slow_because, ReachV2(over, otherwise)) = record;
        let diversion = diversion.map(Diversion::from);
        let mut call = Self { diversion, one_way, ..from_v1(call)? };
        if let Some(carrier) = &mut call.carrier {
            carrier.slow_because = slow_because.map(Arc::from);
        }
        for (leg, over) in call.legs.iter_mut().zip(over) {
            if let Some(dialog) = &mut leg.dialog {
                dialog.transport = over.into();
            }
        }
        if let Some(waits) = &mut call.unacknowledged {
            waits.otherwise = otherwise;
        }
        for (stream, added) in call.streams.iter_mut().flatten().zip(added) {
            stream.transport = added.transport.into();
            stream.extensions = ExtensionIds::from_bits(added.extensions);
            stream.mux[1] = from_mux(&added.mux_b);
            stream.closed = added.closed;
            let [a, b] = added.ice;
            stream.ice = [a.map(from_ice).transpose()?, b.map(from_ice).transpose()?];
            for (end, direction) in stream.ends.iter_mut().zip(added.directions) {
                if let (Some(end), Some(direction)) = (end, direction) {
                    (end.sends, end.receives) = direction;
                }
            }
        }
        Ok(call)
    }

    fn from_older(version: u8, record: &[u8]) -> Option<Result<Self, String>> {
        (version == 1).then(|| from_v1(read(record)?))
    }
}

fn to_v1(call: &CallRecord) -> CallV1 {
    CallV1 {
        session: call.session.to_bits(),
        binding: call.binding.map(BindingId::to_bits),
        tenant: call.tenant.clone(),
        project: call.project.clone(),
        caller: call.caller.into(),
        emergency: call.emergency,
        legs: call.legs.each_ref().map(to_leg),
        streams: call.streams.iter().map(|stream| stream.as_ref().map(to_stream)).collect(),
        codec: call.codec.map(|codec| codec.as_str().to_owned()),
        path: call.carrier.as_ref().map(|carrier| carrier.path.into()),
        received: call.received.map(|(traffic, quality)| ReceivedV1 {
            packets: traffic.packets,
            bytes: traffic.bytes,
            expected: quality.expected,
            lost: quality.lost,
            reordered: quality.reordered,
            jitter_us: quality.jitter_us,
        }),
        unacknowledged: call.unacknowledged.as_ref().map(|waits| UnacknowledgedV1 {
            leg: waits.leg.into(),
            cseq: waits.cseq,
            remote: waits.remote,
            bytes: waits.bytes.clone(),
        }),
        release: call
            .release
            .as_ref()
            .map(|release| (release.side.into(), release.cause.as_str().to_owned(), release.sip_status)),
    }
}

fn from_v1(record: CallV1) -> Result<CallRecord, String> {
    let [a, b] = record.legs;
    let unacknowledged = |waits: UnacknowledgedV1| {
        Ok::<_, String>(Unacknowledged {
            leg: waits.leg.leg()?,
            cseq: waits.cseq,
            remote: waits.remote,
            otherwise: None,
            bytes: waits.bytes,
        })
    };
    let release = |(side, word, sip_status): (SideV1, String, Option<u16>)| {
        Ok::<_, String>(Release { side: ReleaseSide::from(side), cause: cause(&word)?, sip_status })
    };
    Ok(CallRecord {
        session: SessionId::from_bits(record.session),
        binding: record.binding.map(BindingId::from_bits),
        tenant: record.tenant,
        project: record.project,
        caller: record.caller.leg()?,
        emergency: record.emergency,
        diversion: None,
        legs: [from_leg(a)?, from_leg(b)?],
        streams: record.streams.into_iter().map(|stream| stream.map(from_stream)).collect(),
        codec: record.codec.as_deref().map(Encoding::named),
        carrier: record.path.map(|path| Carrier { path: path.into(), slow_because: None }),
        received: record.received.map(|received| {
            let ReceivedV1 { packets, bytes, expected, lost, reordered, jitter_us } = received;
            let quality = Quality { expected, lost, reordered, jitter_us, ..Quality::default() };
            (Traffic { packets, bytes }, quality)
        }),
        one_way: [false; 2],
        unacknowledged: record.unacknowledged.map(unacknowledged).transpose()?,
        release: record.release.map(release).transpose()?,
    })
}

fn to_leg(leg: &LegRecord) -> LegV1 {
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

fn from_leg(leg: LegV1) -> Result<LegRecord, String> {
    let country = |text: String| text.parse().map_err(|_| "its country is not one".to_owned());
    Ok(LegRecord {
        trunk: leg.trunk,
        direction: if leg.inbound { Direction::Inbound } else { Direction::Outbound },
        proxy: leg.proxy.as_deref().map(proxy).transpose()?,
        remote: leg.remote,
        remote_country: leg.remote_country.map(country).transpose()?,
        start: time(leg.start),
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
        transport: Over::Udp,
        invite_cseq: dialog.invite_cseq,
        acked: dialog.acked.map(|(cseq, session)| AckRecord { cseq, session }),
        origin: dialog.origin,
        version: dialog.version,
    })
}

fn to_stream(stream: &StreamRecord) -> StreamV1 {
    let end = |end: EndRecord| EndV1 {
        far: end.far,
        allowed: end.allowed,
        generation: end.generation,
        payload_types: end.payload_types.bits(),
    };
    StreamV1 {
        ports: stream.ports,
        ends: stream.ends.map(|known| known.map(end)),
        codec: stream.codec.as_str().to_owned(),
        clock_rate: stream.clock_rate,
        mux: to_mux(stream.mux[0]),
        audio: stream.audio,
    }
}

fn to_added(stream: &StreamRecord) -> StreamV2 {
    StreamV2 {
        transport: stream.transport.into(),
        extensions: stream.extensions.bits(),
        mux_b: to_mux(stream.mux[1]),
        directions: stream.ends.map(|end| end.map(|end| (end.sends, end.receives))),
        closed: stream.closed.clone(),
        ice: stream.ice.each_ref().map(|ice| ice.as_ref().map(to_ice)),
    }
}

const fn to_mux(mux: Mux) -> MuxV1 {
    match mux {
        Mux::No => MuxV1::No,
        Mux::Offered => MuxV1::Offered,
        Mux::Agreed => MuxV1::Agreed,
    }
}

const fn from_mux(mux: &MuxV1) -> Mux {
    match mux {
        MuxV1::No => Mux::No,
        MuxV1::Offered => Mux::Offered,
        MuxV1::Agreed => Mux::Agreed,
    }
}

fn from_stream(stream: StreamV1) -> StreamRecord {
    let end = |end: EndV1| EndRecord {
        far: end.far,
        allowed: end.allowed,
        generation: end.generation,
        payload_types: PayloadTypes::from_bits(end.payload_types),
        // Who does not say so is not expected to speak.
        sends: false,
        receives: false,
    };
    StreamRecord {
        ports: stream.ports,
        ends: stream.ends.map(|known| known.map(end)),
        closed: Vec::new(),
        codec: Encoding::named(&stream.codec),
        clock_rate: stream.clock_rate,
        transport: Transport::Rtp,
        extensions: ExtensionIds::default(),
        mux: [from_mux(&stream.mux); 2],
        ice: [None, None],
        audio: stream.audio,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::callback::{Reason, Service};
    use crate::engine::ids::LegName;

    /// A call that is held, on sides that differ in everything.
    fn held() -> CallRecord {
        let end = |sends, receives| EndRecord {
            far: None,
            allowed: "192.0.2.0/24".parse().unwrap(),
            generation: 1,
            payload_types: PayloadTypes::from_iter([0]),
            sends,
            receives,
        };
        let leg = LegRecord {
            trunk: "t".into(),
            direction: Direction::Inbound,
            proxy: None,
            remote: String::new(),
            remote_country: None,
            start: time(0),
            answer: None,
            end: None,
            status: None,
            dialog: None,
        };
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let ours = IceCredentials {
            name: Token::parse("abcdefgh").unwrap(),
            password: Token::parse("abcdefghijklmnopqrstuv+/").unwrap(),
        };
        let candidates = vec![(Component::Rtp, at(6000)), (Component::Rtcp, at(6001))];
        let ice = IceRecord { ours, name: "8hhY".into(), candidates, nominated: true };
        let stream = StreamRecord {
            ports: [at(4000), at(4002)],
            ends: [Some(end(true, false)), Some(end(false, true))],
            closed: vec![(at(4001), "192.0.2.9/32".parse().unwrap())],
            codec: Encoding::named("PCMU"),
            clock_rate: 8000,
            transport: Transport::Srtp { dtls: false },
            extensions: ExtensionIds::default().with(3),
            mux: [Mux::Agreed, Mux::No],
            ice: [None, Some(ice)],
            audio: true,
        };
        CallRecord {
            session: SessionId::from_bits(1),
            binding: None,
            tenant: String::new(),
            project: String::new(),
            caller: LegName::A,
            emergency: false,
            diversion: Some(Diversion { to: Service::Ivr, because: Reason::Ended }),
            legs: [leg.clone(), leg],
            streams: vec![None, Some(stream)],
            codec: None,
            carrier: None,
            received: Default::default(),
            one_way: [false, true],
            unacknowledged: None,
            release: None,
        }
    }

    #[test]
    fn who_is_held_and_who_was_not_heard_comes_back() {
        let call = held();
        assert_eq!(CallRecord::from_shape(call.to_shape()), Ok(call));
    }

    #[test]
    fn of_a_call_of_the_first_version_nobody_is_expected_to_speak() {
        let CallV2(first, ..) = held().to_shape();
        let bytes = postcard::to_extend(&first, vec![1]).unwrap();
        let call: CallRecord = super::super::decode(&bytes).unwrap();
        let Some(stream) = &call.streams[1] else { panic!("a stream") };
        assert!(stream.ends.iter().flatten().all(|end| !end.sends && !end.receives));
        assert_eq!((stream.mux, call.one_way), ([Mux::Agreed; 2], [false; 2]));
        assert_eq!(stream.ends[0].unwrap().generation, 1);
    }
}
