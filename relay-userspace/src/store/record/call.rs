//! Calls in progress as they are stored.
//!
//! The richest record there is, and the most often written one: addresses are
//! bytes, not text, and nothing stands here twice. The second version adds how
//! streams travel, who sends and who does not, whether each side shares a port, who
//! was not heard, what is no longer learned, why the fast path does not carry it, and
//! over what each side is talked to; the third one when each side began to ring, and
//! how its session is refreshed.

mod leg;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cdr::{DiversionV2, PathV2, SideV1, cause};
use super::{Stored, read};
use crate::engine::call_record::{CallRecord, Unacknowledged};
use crate::engine::callback::Diversion;
use crate::engine::cdr::{Release, ReleaseSide, Traffic};
use crate::engine::encoding::Encoding;
use crate::engine::flow::{Carrier, Quality};
use crate::engine::ids::{BindingId, SessionId};

use leg::{
    LegV1, ReachV2, RingV3, SessionsV3, add_reach, add_ring, add_sessions, from_leg, to_leg, to_reach,
    to_ring, to_sessions,
};
use stream::{StreamV1, StreamV2, add_to, from_stream, to_added, to_stream};

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

/// What came before, when each leg began to ring, and how its session is refreshed.
#[derive(Serialize, Deserialize)]
pub(in crate::store) struct CallV3(CallV2, RingV3, SessionsV3);

impl Stored for CallRecord {
    const VERSION: u8 = 3;
    type Shape = CallV3;

    fn to_shape(&self) -> CallV3 {
        let streams = self.streams.iter().flatten();
        let diversion = self.diversion.map(DiversionV2::from);
        let slow_because = self.carrier.as_ref().and_then(|carrier| carrier.slow_because.as_deref());
        let slow_because = slow_because.map(str::to_owned);
        let added = streams.map(to_added).collect();
        let before = CallV2(to_v1(self), added, self.one_way, diversion, slow_because, to_reach(self));
        CallV3(before, to_ring(self), to_sessions(self))
    }

    fn from_shape(CallV3(before, ring, sessions): CallV3) -> Result<Self, String> {
        let mut call = from_v2(before)?;
        add_ring(&mut call, ring)?;
        add_sessions(&mut call, sessions);
        Ok(call)
    }

    fn from_older(version: u8, record: &[u8]) -> Option<Result<Self, String>> {
        match version {
            1 => Some(read(record).and_then(from_v1)),
            2 => Some(read(record).and_then(from_v2)),
            _ => None,
        }
    }
}

fn from_v2(record: CallV2) -> Result<CallRecord, String> {
    let CallV2(call, added, one_way, diversion, slow_because, reach) = record;
    let diversion = diversion.map(Diversion::from);
    let mut call = CallRecord { diversion, one_way, ..from_v1(call)? };
    if let Some(carrier) = &mut call.carrier {
        carrier.slow_because = slow_because.map(Arc::from);
    }
    add_reach(&mut call, reach);
    for (stream, added) in call.streams.iter_mut().flatten().zip(added) {
        add_to(stream, added)?;
    }
    Ok(call)
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

#[cfg(test)]
mod tests {
    use super::super::time;
    use super::*;
    use crate::engine::call_record::{EndRecord, IceRecord, LegRecord, Mux, StreamRecord};
    use crate::engine::callback::{Reason, Service};
    use crate::engine::cdr::Direction;
    use crate::engine::flow::{ExtensionIds, PayloadTypes, Transport};
    use crate::engine::ids::LegName;
    use crate::engine::sip::sdp::{Component, IceCredentials, Token};

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
            remote_area: Some("NY".parse().unwrap()),
            start: time(0),
            ring: Some(time(9)),
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
    fn a_call_of_the_second_version_has_no_session_timers_and_never_rang() {
        let CallV3(second, ..) = held().to_shape();
        let bytes = postcard::to_extend(&second, vec![2]).unwrap();
        let legs = held().legs.map(|leg| LegRecord { remote_area: None, ring: None, ..leg });
        assert_eq!(super::super::decode::<CallRecord>(&bytes), Ok(CallRecord { legs, ..held() }));
    }

    #[test]
    fn of_a_call_of_the_first_version_nobody_is_expected_to_speak() {
        let CallV3(CallV2(first, ..), ..) = held().to_shape();
        let bytes = postcard::to_extend(&first, vec![1]).unwrap();
        let call: CallRecord = super::super::decode(&bytes).unwrap();
        let Some(stream) = &call.streams[1] else { panic!("a stream") };
        assert!(stream.ends.iter().flatten().all(|end| !end.sends && !end.receives));
        assert_eq!((stream.mux, call.one_way), ([Mux::Agreed; 2], [false; 2]));
        assert_eq!(stream.ends[0].unwrap().generation, 1);
    }
}
