//! Call detail records. The second version adds how media went, why it fell off the
//! fast path, which service took the call in place of a party, and which of a party's
//! addresses rang; the third one what its owner knows the call by, when it rang and how
//! long it took, what it costs, and what makes a record an interim one.

use rust_decimal::Decimal;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as WordError, StrDeserializer};
use serde::{Deserialize, Serialize};

use super::{Stored, binding_kind, kind_byte, proxy, read, time};
use crate::engine::callback::{Diversion, Reason, Service};
use crate::engine::cdr::{
    Attestation, Cause, Cdr, Charge, Direction, Labels, LegMedia, Release, ReleaseSide, Traffic,
};
use crate::engine::encoding::Encoding;
use crate::engine::flow::MediaPath;
use crate::engine::ids::{BindingId, LegName, PartyId, RecordId, SessionId};
use crate::engine::quality::Mos;
use crate::engine::time::Timestamp;

#[derive(Serialize, Deserialize)]
pub(crate) struct CdrV1 {
    session: u128,
    leg: SideV1,
    binding: Option<u128>,
    tenant: String,
    project: String,
    inbound: bool,
    proxy: Option<String>,
    remote_country: Option<String>,
    trunk: String,
    start: i64,
    answer: Option<i64>,
    end: i64,
    billable_seconds: u64,
    /// Packets and bytes.
    received: (u64, u64),
    sent: (u64, u64),
    released_by: SideV1,
    cause: String,
    sip_status: Option<u16>,
    emergency: bool,
}

/// What came before, media, the service that took the call, and the fork.
#[derive(Serialize, Deserialize)]
pub(crate) struct CdrV2(CdrV1, MediaV2, Option<DiversionV2>, u8);

/// What came before, and more.
#[derive(Serialize, Deserialize)]
pub(crate) struct CdrV3(CdrV2, MoreV3);

#[derive(Serialize, Deserialize)]
struct MoreV3 {
    version: u32,
    interim: Option<u32>,
    kind: Option<u8>,
    key: Option<String>,
    agent: Option<u128>,
    tags: Vec<String>,
    remote_area: Option<String>,
    ring: Option<i64>,
    duration_us: u64,
    cost: Option<ChargeV3>,
    price: Option<ChargeV3>,
    recording: Option<String>,
    attestation: Option<AttestationV3>,
}

/// Rate and amount, each as digits and places behind the point; currency.
#[derive(Serialize, Deserialize)]
struct ChargeV3((i128, u32), (i128, u32), String);

#[derive(Serialize, Deserialize)]
enum AttestationV3 {
    A,
    B,
    C,
}

#[derive(Serialize, Deserialize)]
struct MediaV2 {
    path: Option<PathV2>,
    slow_because: Option<String>,
    codec: Option<String>,
    expected: u64,
    lost: u64,
    reordered: u64,
    jitter_us: u32,
    /// In hundredths.
    mos: Option<u16>,
    one_way: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) enum PathV2 {
    XdpNative,
    XdpGeneric,
    Sockets,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum SideV1 {
    A,
    B,
    Platform,
}

impl SideV1 {
    pub(super) fn leg(self) -> Result<LegName, String> {
        match self {
            Self::A => Ok(LegName::A),
            Self::B => Ok(LegName::B),
            Self::Platform => Err("it belongs to no leg".into()),
        }
    }
}

impl From<LegName> for SideV1 {
    fn from(leg: LegName) -> Self {
        match leg {
            LegName::A => Self::A,
            LegName::B => Self::B,
        }
    }
}

impl From<ReleaseSide> for SideV1 {
    fn from(side: ReleaseSide) -> Self {
        match side {
            ReleaseSide::A => Self::A,
            ReleaseSide::B => Self::B,
            ReleaseSide::Platform => Self::Platform,
        }
    }
}

impl From<SideV1> for ReleaseSide {
    fn from(side: SideV1) -> Self {
        match side {
            SideV1::A => Self::A,
            SideV1::B => Self::B,
            SideV1::Platform => Self::Platform,
        }
    }
}

impl Stored for Cdr {
    const VERSION: u8 = 3;
    type Shape = CdrV3;

    fn to_shape(&self) -> CdrV3 {
        let second =
            CdrV2(to_v1(self), to_media(&self.media), self.diversion.map(DiversionV2::from), self.fork);
        CdrV3(second, to_more(self))
    }

    fn from_shape(CdrV3(record, more): CdrV3) -> Result<Self, String> {
        from_more(from_v2(record)?, more)
    }

    fn from_older(version: u8, record: &[u8]) -> Option<Result<Self, String>> {
        match version {
            1 => Some(read(record).and_then(from_v1)),
            2 => Some(read(record).and_then(from_v2)),
            _ => None,
        }
    }
}

fn from_v2(CdrV2(record, media, diversion, fork): CdrV2) -> Result<Cdr, String> {
    let (record, diversion) = (from_v1(record)?, diversion.map(Diversion::from));
    let id = RecordId::of(record.session, record.leg, fork);
    Ok(Cdr { id, media: from_media(media)?, diversion, fork, ..record })
}

fn to_more(cdr: &Cdr) -> MoreV3 {
    MoreV3 {
        version: cdr.version,
        interim: cdr.interim,
        kind: cdr.labels.kind.map(kind_byte),
        key: cdr.labels.key.clone(),
        agent: cdr.labels.agent.map(PartyId::to_bits),
        tags: cdr.labels.tags.clone(),
        remote_area: cdr.remote_area.map(|area| area.to_string()),
        ring: cdr.ring.map(Timestamp::unix_microseconds),
        duration_us: cdr.duration_us,
        cost: cdr.cost.map(ChargeV3::from),
        price: cdr.price.map(ChargeV3::from),
        recording: cdr.recording.clone(),
        attestation: cdr.attestation.map(|attestation| match attestation {
            Attestation::A => AttestationV3::A,
            Attestation::B => AttestationV3::B,
            Attestation::C => AttestationV3::C,
        }),
    }
}

fn from_more(cdr: Cdr, more: MoreV3) -> Result<Cdr, String> {
    let area = |text: String| text.parse().map_err(|_| "its area is not one".to_owned());
    Ok(Cdr {
        version: more.version,
        interim: more.interim,
        labels: Labels {
            kind: more.kind.map(binding_kind).transpose()?,
            key: more.key,
            agent: more.agent.map(PartyId::from_bits),
            tags: more.tags,
        },
        remote_area: more.remote_area.map(area).transpose()?,
        ring: more.ring.map(time),
        duration_us: more.duration_us,
        cost: more.cost.map(Charge::try_from).transpose()?,
        price: more.price.map(Charge::try_from).transpose()?,
        recording: more.recording,
        attestation: more.attestation.map(|attestation| match attestation {
            AttestationV3::A => Attestation::A,
            AttestationV3::B => Attestation::B,
            AttestationV3::C => Attestation::C,
        }),
        ..cdr
    })
}

impl From<Charge> for ChargeV3 {
    fn from(charge: Charge) -> Self {
        let parts = |value: Decimal| (value.mantissa(), value.scale());
        Self(parts(charge.rate), parts(charge.amount), charge.currency.to_string())
    }
}

impl TryFrom<ChargeV3> for Charge {
    type Error = String;

    fn try_from(ChargeV3(rate, amount, currency): ChargeV3) -> Result<Self, String> {
        let value = |(mantissa, scale)| {
            Decimal::try_from_i128_with_scale(mantissa, scale)
                .map_err(|_| "its charge is no amount".to_owned())
        };
        let currency = currency.parse().map_err(|_| "its currency is not one".to_owned())?;
        Ok(Self { rate: value(rate)?, amount: value(amount)?, currency })
    }
}

#[derive(Serialize, Deserialize)]
enum ServiceV2 {
    Ivr,
    Announcement,
}

#[derive(Serialize, Deserialize)]
enum ReasonV2 {
    Ended,
    Unknown,
    Anonymous,
}

#[derive(Serialize, Deserialize)]
pub(super) struct DiversionV2(ServiceV2, ReasonV2);

impl From<Diversion> for DiversionV2 {
    fn from(diversion: Diversion) -> Self {
        let to = match diversion.to {
            Service::Ivr => ServiceV2::Ivr,
            Service::Announcement => ServiceV2::Announcement,
        };
        let because = match diversion.because {
            Reason::Ended => ReasonV2::Ended,
            Reason::Unknown => ReasonV2::Unknown,
            Reason::Anonymous => ReasonV2::Anonymous,
        };
        Self(to, because)
    }
}

impl From<DiversionV2> for Diversion {
    fn from(DiversionV2(to, because): DiversionV2) -> Self {
        let to = match to {
            ServiceV2::Ivr => Service::Ivr,
            ServiceV2::Announcement => Service::Announcement,
        };
        let because = match because {
            ReasonV2::Ended => Reason::Ended,
            ReasonV2::Unknown => Reason::Unknown,
            ReasonV2::Anonymous => Reason::Anonymous,
        };
        Self { to, because }
    }
}

impl From<MediaPath> for PathV2 {
    fn from(path: MediaPath) -> Self {
        match path {
            MediaPath::XdpNative => Self::XdpNative,
            MediaPath::XdpGeneric => Self::XdpGeneric,
            MediaPath::Sockets => Self::Sockets,
        }
    }
}

impl From<PathV2> for MediaPath {
    fn from(path: PathV2) -> Self {
        match path {
            PathV2::XdpNative => Self::XdpNative,
            PathV2::XdpGeneric => Self::XdpGeneric,
            PathV2::Sockets => Self::Sockets,
        }
    }
}

fn to_media(media: &LegMedia) -> MediaV2 {
    MediaV2 {
        path: media.path.map(PathV2::from),
        slow_because: media.slow_because.clone(),
        codec: media.codec.map(|codec| codec.as_str().to_owned()),
        expected: media.expected,
        lost: media.lost,
        reordered: media.reordered,
        jitter_us: media.jitter_us,
        mos: media.mos.map(Mos::hundredths),
        one_way: media.one_way,
    }
}

fn from_media(record: MediaV2) -> Result<LegMedia, String> {
    let mos = |hundredths| Mos::from_hundredths(hundredths).ok_or("its score is off the scale");
    Ok(LegMedia {
        path: record.path.map(MediaPath::from),
        slow_because: record.slow_because,
        codec: record.codec.as_deref().map(Encoding::named),
        expected: record.expected,
        lost: record.lost,
        reordered: record.reordered,
        jitter_us: record.jitter_us,
        mos: record.mos.map(mos).transpose()?,
        one_way: record.one_way,
    })
}

fn to_v1(cdr: &Cdr) -> CdrV1 {
    let traffic = |traffic: Traffic| (traffic.packets, traffic.bytes);
    CdrV1 {
        session: cdr.session.to_bits(),
        leg: cdr.leg.into(),
        binding: cdr.binding.map(BindingId::to_bits),
        tenant: cdr.tenant.clone(),
        project: cdr.project.clone(),
        inbound: cdr.direction == Direction::Inbound,
        proxy: cdr.proxy.map(|proxy| proxy.to_string()),
        remote_country: cdr.remote_country.map(|country| country.to_string()),
        trunk: cdr.trunk.clone(),
        start: cdr.start.unix_microseconds(),
        answer: cdr.answer.map(Timestamp::unix_microseconds),
        end: cdr.end.unix_microseconds(),
        billable_seconds: cdr.billable_seconds,
        received: traffic(cdr.received),
        sent: traffic(cdr.sent),
        released_by: cdr.release.side.into(),
        cause: cdr.release.cause.as_str().to_owned(),
        sip_status: cdr.release.sip_status,
        emergency: cdr.emergency,
    }
}

fn from_v1(record: CdrV1) -> Result<Cdr, String> {
    let traffic = |(packets, bytes)| Traffic { packets, bytes };
    let country = |text: String| text.parse().map_err(|_| "its country is not one".to_owned());
    let (session, leg) = (SessionId::from_bits(record.session), record.leg.leg()?);
    let lasted = time(record.end).saturating_since(time(record.start));
    Ok(Cdr {
        id: RecordId::of(session, leg, 0),
        version: 0,
        interim: None,
        session,
        leg,
        fork: 0,
        binding: record.binding.map(BindingId::from_bits),
        tenant: record.tenant,
        project: record.project,
        labels: Labels::default(),
        direction: if record.inbound { Direction::Inbound } else { Direction::Outbound },
        proxy: record.proxy.as_deref().map(proxy).transpose()?,
        remote_country: record.remote_country.map(country).transpose()?,
        remote_area: None,
        trunk: record.trunk,
        start: time(record.start),
        ring: None,
        answer: record.answer.map(time),
        end: time(record.end),
        duration_us: u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX),
        billable_seconds: record.billable_seconds,
        cost: None,
        price: None,
        received: traffic(record.received),
        sent: traffic(record.sent),
        media: LegMedia::default(),
        release: Release {
            side: record.released_by.into(),
            cause: cause(&record.cause)?,
            sip_status: record.sip_status,
        },
        emergency: record.emergency,
        diversion: None,
        recording: None,
        attestation: None,
    })
}

/// The cause whose word this is.
pub(super) fn cause(word: &str) -> Result<Cause, String> {
    let word: StrDeserializer<'_, WordError> = word.into_deserializer();
    Cause::deserialize(word).map_err(|_| "its release cause is not one".into())
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;
    use crate::engine::directory::BindingKind;

    fn cdr() -> Cdr {
        Cdr {
            id: RecordId::of(SessionId::from_bits(1), LegName::B, 0),
            version: 0,
            interim: None,
            session: SessionId::from_bits(1),
            leg: LegName::B,
            fork: 0,
            binding: None,
            tenant: "t".to_owned(),
            project: "p".to_owned(),
            labels: Labels::default(),
            direction: Direction::Inbound,
            proxy: None,
            remote_country: None,
            remote_area: None,
            trunk: "k".to_owned(),
            start: time(1),
            ring: None,
            answer: None,
            end: time(2),
            duration_us: 1,
            billable_seconds: 3,
            cost: None,
            price: None,
            received: Traffic { packets: 4, bytes: 5 },
            sent: Traffic { packets: 6, bytes: 7 },
            media: LegMedia::default(),
            release: Release { side: ReleaseSide::A, cause: Cause::Busy, sip_status: Some(486) },
            emergency: false,
            diversion: None,
            recording: None,
            attestation: None,
        }
    }

    /// The first shape never changes: these bytes are in files out there.
    #[test]
    fn records_of_the_first_version_are_read() {
        let first =
            b"\x01\x01\x01\0\x01t\x01p\x01\0\0\x01k\x02\0\x04\x03\x04\x05\x06\x07\0\x04busy\x01\xe6\x03\0";
        assert_eq!(decode::<Cdr>(first).unwrap(), cdr());
    }

    #[test]
    fn how_media_went_and_who_took_the_call_survives() {
        let media = LegMedia {
            path: Some(MediaPath::XdpGeneric),
            slow_because: Some("native XDP failed: the MTU is 9000".to_owned()),
            codec: Some(Encoding::named("opus")),
            expected: 1000,
            lost: 10,
            reordered: 2,
            jitter_us: 1500,
            mos: Mos::from_hundredths(412),
            one_way: true,
        };
        let diversion = Some(Diversion { to: Service::Announcement, because: Reason::Anonymous });
        let id = RecordId::of(SessionId::from_bits(1), LegName::B, 3);
        let written = Cdr { id, media, diversion, fork: 3, ..cdr() };
        let bytes = encode(&written).unwrap();
        assert_eq!(bytes[0], 3);
        assert_eq!(decode::<Cdr>(&bytes).unwrap(), written);

        // Files out there hold what the second version said of it.
        let second = postcard::to_extend(&written.to_shape().0, vec![2]).unwrap();
        assert_eq!(decode::<Cdr>(&second).unwrap(), written);
    }

    #[test]
    fn what_a_record_costs_and_what_it_is_known_by_survives() {
        let charge = |amount: &str| Charge {
            rate: "0.0125".parse().unwrap(),
            amount: amount.parse().unwrap(),
            currency: "USD".parse().unwrap(),
        };
        let written = Cdr {
            version: 2,
            interim: Some(7),
            labels: Labels {
                kind: Some(BindingKind::Customer),
                key: Some("order-9".into()),
                agent: Some(PartyId::from_bits(4)),
                tags: vec!["gold".into(), "eu".into()],
            },
            remote_area: Some("NY".parse().unwrap()),
            ring: Some(time(1)),
            cost: Some(charge("0.00000001")),
            price: Some(charge("79228162514264337593543950335")),
            recording: Some("rec_1".into()),
            attestation: Some(Attestation::B),
            ..cdr()
        };
        let mut bytes = encode(&written).unwrap();
        assert_eq!(decode::<Cdr>(&bytes).unwrap(), written);
        bytes[0] = 4;
        assert!(decode::<Cdr>(&bytes).is_err());
    }

    #[test]
    fn every_cause_survives_its_word() {
        use Cause::*;
        let causes = [
            Normal,
            Cancelled,
            Busy,
            Declined,
            NoAnswer,
            Unreachable,
            Rejected,
            AnsweredElsewhere,
            NoBinding,
            BindingEnded,
            Anonymous,
            NotAllowed,
            TooManyCalls,
            NoRoute,
            NotAcceptable,
            Overload,
            MediaFailure,
            MediaTimeout,
            ProtocolError,
            SessionExpired,
            MaxDuration,
            Operator,
            Shutdown,
            InProgress,
        ];
        for cause in causes {
            assert_eq!(super::cause(cause.as_str()), Ok(cause));
        }
    }
}
