//! Call detail records: one per leg, written when the leg ends.
//!
//! A callee with several addresses has a record for each that rang. The one that the
//! call was with (or with last) is the leg's own; the others are told apart by
//! [`Cdr::fork`].
//!
//! A record carries what billing and quality need and nothing that identifies
//! a party: the proxy number that the leg showed, the country and area of the far end,
//! times, and what the kernel counted. Whom it was about is said by pseudonyms and by
//! the owner's own words: the binding's key and tags.
//!
//! Times are of the wall clock, lengths of the monotonic one: a clock that is set while
//! a call goes on moves its end and bills nobody for it.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::callback::Diversion;
use super::directory::BindingKind;
use super::encoding::Encoding;
use super::flow::{MediaPath, Quality};
use super::ids::{BindingId, LegName, PartyId, RecordId, SessionId};
use super::money::Currency;
use super::number::{Area, Country, ProxyNumber};
use super::quality::Mos;
use super::time::Timestamp;

/// One leg of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cdr {
    /// The record's id: of its session, leg and fork, so that it never changes.
    pub id: RecordId,
    /// How often the record was rated again; the version before it is kept.
    pub version: u32,
    /// Which of the leg's interim records it is, counted from one; absent on the final
    /// record, which replaces them.
    pub interim: Option<u32>,
    /// Joins the legs of a call. With `leg` and `fork` it is the record's key.
    pub session: SessionId,
    /// Which leg.
    pub leg: LegName,
    /// Which of the far end's addresses: zero for the one that the call was with or
    /// that rang last, and counted from one for those that rang without getting it.
    pub fork: u8,
    /// Absent for a call that matched no binding.
    pub binding: Option<BindingId>,
    /// Who owns the binding.
    pub tenant: String,
    /// The tenant's project.
    pub project: String,
    /// What its owner knows the conversation by.
    #[serde(flatten)]
    pub labels: Labels,
    /// Who placed the leg.
    pub direction: Direction,
    /// The number that the far end of this leg dialled or saw.
    pub proxy: Option<ProxyNumber>,
    /// The country of the far end's number.
    pub remote_country: Option<Country>,
    /// Its state or province, where the numbering plan tells.
    pub remote_area: Option<Area>,
    /// The trunk that the leg used.
    pub trunk: String,
    /// When the INVITE arrived or left.
    pub start: Timestamp,
    /// When the far end began to ring, or to hear ringing.
    pub ring: Option<Timestamp>,
    /// When it was answered.
    pub answer: Option<Timestamp>,
    /// When it ended; of an interim record, when that was written.
    pub end: Timestamp,
    /// Microseconds from start to end.
    pub duration_us: u64,
    /// Whole seconds from answer to end, rounded up; zero when unanswered.
    pub billable_seconds: u64,
    /// What the trunk's carrier is owed for it, once it is rated.
    pub cost: Option<Charge>,
    /// What the tenant owes for it, once it is rated.
    pub price: Option<Charge>,
    /// What the far end of this leg sent us, by the kernel's count.
    pub received: Traffic,
    /// What we sent to it.
    pub sent: Traffic,
    /// How media went, and how well what the far end sent arrived.
    pub media: LegMedia,
    /// How and by whom it ended.
    pub release: Release,
    /// Whether it was an emergency call.
    pub emergency: bool,
    /// The service that it went to in place of a party, and why.
    pub diversion: Option<Diversion>,
    /// The recording of it, where there is one.
    pub recording: Option<String>,
    /// How far the caller's number was attested (RFC 8588), where it was.
    pub attestation: Option<Attestation>,
}

/// What the owner of a binding knows it by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// What sort of conversation it is for.
    pub kind: Option<BindingKind>,
    /// Its key: the session, case, order, customer or agent.
    pub key: Option<String>,
    /// The agent's pseudonym, as the tenant may know it.
    pub agent: Option<PartyId>,
    /// The owner's own words for it.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// What a leg costs somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The rate that was applied, per minute.
    pub rate: Decimal,
    /// What it comes to.
    pub amount: Decimal,
    /// Of what.
    pub currency: Currency,
}

/// How far a caller's number was attested (RFC 8588 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attestation {
    /// Full: the caller may use the number.
    A,
    /// Partial: the caller is known.
    B,
    /// Gateway: where the call came from is known.
    C,
}

impl Attestation {
    /// Its letter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }
}

/// Who placed a leg, seen from Vizard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The far end called us.
    Inbound,
    /// We called the far end.
    Outbound,
}

/// Packets and the bytes of their UDP payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
}

impl Traffic {
    /// The sum of two counts.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_add(other.packets),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// How a leg's media went. The counts are of the audio that its far end sent
/// (of all RTP in a call without audio), by RTP sequence numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegMedia {
    /// Which implementation carried it; absent where nothing was to be carried.
    pub path: Option<MediaPath>,
    /// Why not a faster one; absent on the fastest.
    pub slow_because: Option<String>,
    /// The codec that was agreed on last.
    pub codec: Option<Encoding>,
    /// Packets that were sent.
    pub expected: u64,
    /// Of these, how many did not arrive.
    pub lost: u64,
    /// Packets that arrived after a later one.
    pub reordered: u64,
    /// The interarrival jitter (RFC 3550), in microseconds.
    pub jitter_us: u32,
    /// What a listener would make of it (ITU-T G.107); absent where nothing
    /// arrived.
    pub mos: Option<Mos>,
    /// Whether the far end was silent for long while the other one sent.
    pub one_way: bool,
}

impl LegMedia {
    /// With what arrived.
    #[must_use]
    pub fn measured(self, quality: &Quality) -> Self {
        let Quality { expected, lost, reordered, jitter_us, idle: _ } = *quality;
        let mos = Mos::estimate(quality, self.codec.map(Encoding::codec).unwrap_or_default());
        Self { expected, lost, reordered, jitter_us, mos, ..self }
    }

    /// Lost packets per hundred that were sent.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share is wanted")]
    pub fn loss_percent(&self) -> Option<f64> {
        (self.expected > 0).then(|| self.lost.min(self.expected) as f64 * 100.0 / self.expected as f64)
    }
}

/// How and by whom a leg ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Who ended it.
    pub side: ReleaseSide,
    /// Why.
    pub cause: Cause,
    /// The final SIP status of the leg's INVITE, where there was one.
    pub sip_status: Option<u16>,
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseSide {
    /// The customer's side.
    A,
    /// The agent's side.
    B,
    /// Vizard, by rule or by command.
    #[serde(rename = "platform")]
    Platform,
}

impl From<LegName> for ReleaseSide {
    fn from(leg: LegName) -> Self {
        match leg {
            LegName::A => Self::A,
            LegName::B => Self::B,
        }
    }
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Hung up after answer.
    Normal,
    /// The caller gave up before answer.
    Cancelled,
    /// The called side was busy.
    Busy,
    /// The called side declined.
    Declined,
    /// Nobody answered in time.
    NoAnswer,
    /// The trunk did not answer the INVITE, or stopped answering.
    Unreachable,
    /// The called side refused for another reason; see the status.
    Rejected,
    /// Another address of the called side answered.
    AnsweredElsewhere,
    /// No binding joins the caller and the number dialled.
    NoBinding,
    /// The binding has ended.
    BindingEnded,
    /// The caller has no identity that a binding could be found by.
    Anonymous,
    /// The binding does not allow such a call.
    NotAllowed,
    /// The binding has as many calls as it may.
    TooManyCalls,
    /// No route, no trunk or no emergency trunk.
    NoRoute,
    /// The session descriptions have nothing in common that we relay.
    NotAcceptable,
    /// A limit of ours was reached.
    Overload,
    /// The media path failed.
    MediaFailure,
    /// Neither side sent media for too long.
    MediaTimeout,
    /// The peer broke the protocol, for example never acknowledged.
    ProtocolError,
    /// The far end did not refresh the session in time (RFC 4028).
    SessionExpired,
    /// The longest permitted call length was reached.
    MaxDuration,
    /// An operator ended it.
    Operator,
    /// Vizard stopped.
    Shutdown,
    /// It has not ended: an interim record says this.
    InProgress,
}

impl Cause {
    /// The ITU-T Q.850 cause value that says the same.
    #[must_use]
    pub const fn q850(self) -> u8 {
        match self {
            Self::Normal | Self::Cancelled | Self::MaxDuration | Self::Operator => 16,
            Self::Busy | Self::TooManyCalls => 17,
            Self::NoAnswer => 19,
            Self::AnsweredElsewhere => 26,
            Self::Declined | Self::Rejected | Self::Anonymous | Self::NotAllowed => 21,
            Self::NoBinding | Self::BindingEnded => 1,
            Self::NoRoute => 3,
            Self::Unreachable => 27,
            Self::MediaTimeout | Self::SessionExpired => 102,
            Self::NotAcceptable => 88,
            Self::Overload => 42,
            Self::MediaFailure | Self::Shutdown => 41,
            Self::ProtocolError => 111,
            Self::InProgress => 31,
        }
    }

    /// The word that records and tables show.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Cancelled => "cancelled",
            Self::Busy => "busy",
            Self::Declined => "declined",
            Self::NoAnswer => "no_answer",
            Self::Unreachable => "unreachable",
            Self::Rejected => "rejected",
            Self::AnsweredElsewhere => "answered_elsewhere",
            Self::NoBinding => "no_binding",
            Self::BindingEnded => "binding_ended",
            Self::Anonymous => "anonymous",
            Self::NotAllowed => "not_allowed",
            Self::TooManyCalls => "too_many_calls",
            Self::NoRoute => "no_route",
            Self::NotAcceptable => "not_acceptable",
            Self::Overload => "overload",
            Self::MediaFailure => "media_failure",
            Self::MediaTimeout => "media_timeout",
            Self::ProtocolError => "protocol_error",
            Self::SessionExpired => "session_expired",
            Self::MaxDuration => "max_duration",
            Self::Operator => "operator",
            Self::Shutdown => "shutdown",
            Self::InProgress => "in_progress",
        }
    }
}
