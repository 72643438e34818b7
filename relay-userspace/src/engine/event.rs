//! What is worth telling people and monitors, free of personal numbers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::callback::Diversion;
use super::cdr::{Cause, ReleaseSide};
use super::egress::Leak;
use super::guard::GuardAction;
use super::ids::{BindingId, LegName, SessionId};
use super::sip::transport::Transport;

/// Something that happened in the engine. Rendered by `Display` into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call matched a binding and its other leg is being set up.
    CallStarted {
        /// The call.
        session: SessionId,
        /// The binding; an emergency call has none.
        binding: Option<BindingId>,
        /// Who placed it.
        caller: LegName,
    },
    /// Both sides talk.
    CallAnswered {
        /// The call.
        session: SessionId,
    },
    /// A process before this one left calls in progress.
    CallsRestored {
        /// Those that go on.
        restored: usize,
        /// Those that could not and were ended.
        ended: usize,
    },
    /// One side of a call is not heard while the other one is.
    OneWayAudio {
        /// The call.
        session: SessionId,
        /// Whose far end is silent.
        leg: LegName,
    },
    /// A call is over and its records are written.
    CallEnded {
        /// The call.
        session: SessionId,
        /// Who ended it.
        side: ReleaseSide,
        /// Why.
        cause: Cause,
    },
    /// An incoming call was refused before a second leg existed.
    CallRefused {
        /// The call.
        session: SessionId,
        /// The trunk it came over.
        trunk: String,
        /// Why.
        cause: Cause,
        /// The SIP status that the caller got.
        status: u16,
    },
    /// An incoming call goes to a service in place of a party.
    CallDiverted {
        /// The call.
        session: SessionId,
        /// Where to, and why.
        diversion: Diversion,
    },
    /// A far end described nothing but encrypted media, and the policy is strict.
    EncryptionRefused {
        /// The call.
        session: SessionId,
        /// The far end's trunk.
        trunk: String,
    },
    /// A trunk asks for credentials before it takes a call.
    TrunkChallenged {
        /// The call.
        session: SessionId,
        /// The trunk.
        trunk: String,
        /// 401 or 407.
        status: u16,
    },
    /// A message would have shown one party to the other: it was not sent, and
    /// the call was ended.
    LeakStopped {
        /// The call.
        session: SessionId,
        /// The leg that would have been shown it.
        leg: LegName,
        /// What was found.
        what: Leak,
    },
    /// An emergency call.
    EmergencyCall {
        /// The call.
        session: SessionId,
        /// Whether it could leave on the emergency trunk.
        routed: bool,
    },
    /// SIP from an address that belongs to no trunk; logged for the first
    /// message of an address and then at growing intervals.
    UnknownSource {
        /// The address.
        source: IpAddr,
        /// How many messages it has sent.
        messages: u64,
    },
    /// The guard denies a stranger for a while.
    SourceDenied {
        /// Its address, or its network of 64 bits.
        net: IpNet,
        /// For how long.
        lasting: Duration,
        /// Why.
        reason: String,
    },
    /// An operator has decided about a network.
    GuardChanged {
        /// The network.
        net: IpNet,
        /// What is decided; nothing any more when absent.
        rule: Option<GuardAction>,
    },
    /// An operator captures the packets of a call.
    CaptureBegan {
        /// The call.
        session: SessionId,
        /// The operator's user id.
        user: u32,
        /// Whether far ends' addresses are masked.
        masked: bool,
    },
    /// The media path could not put the guard's rules in force.
    GuardFailed {
        /// What it said.
        problem: String,
    },
    /// A message that is not SIP, or not SIP that may be answered.
    Malformed {
        /// Who sent it.
        source: SocketAddr,
        /// What is wrong with it.
        problem: String,
    },
    /// A trunk that is known by a certificate was spoken for over something else.
    Unprotected {
        /// The trunk.
        trunk: String,
        /// Over what.
        transport: Transport,
    },
    /// A connection of ours could not be made.
    ConnectionFailed {
        /// The trunk.
        trunk: String,
        /// Over what.
        transport: Transport,
        /// Where to.
        remote: SocketAddr,
        /// What is in the way.
        problem: String,
    },
    /// A target of a trunk does not answer, says 503, or cannot be reached.
    TargetDown {
        /// The trunk.
        trunk: String,
        /// Which.
        target: SocketAddr,
        /// What is wrong.
        problem: String,
    },
    /// A target that was down answers again.
    TargetUp {
        /// The trunk.
        trunk: String,
        /// Which.
        target: SocketAddr,
    },
    /// A call goes to another target of its trunk.
    FailedOver {
        /// The call.
        session: SessionId,
        /// The trunk.
        trunk: String,
        /// The target that failed.
        from: SocketAddr,
        /// The one that is tried now.
        to: SocketAddr,
    },
    /// A request is too long for UDP, and its trunk has nothing else.
    LargeRequest {
        /// The trunk.
        trunk: String,
        /// Its bytes.
        bytes: usize,
    },
    /// A binding's time was over; its pairs stay reserved for late callbacks.
    BindingEntombed {
        /// The binding.
        binding: BindingId,
    },
    /// A callback has made an ended binding live again.
    BindingReopened {
        /// Which.
        binding: BindingId,
    },
    /// A tombstone's window has closed; its numbers are free.
    BindingForgotten {
        /// The binding.
        binding: BindingId,
    },
    /// A place's numbers come to their end, or are enough again.
    PoolLevel {
        /// The place.
        place: String,
        /// Numbers that its busiest party does not have.
        left: u32,
        /// Its numbers.
        numbers: u32,
        /// Whether they run low.
        low: bool,
    },
    /// No number was left for a binding.
    PoolExhausted {
        /// What was asked for.
        wanted: String,
    },
    /// The audit log did not end where it should, and goes on with an entry that
    /// says so.
    AuditMended {
        /// How it was found.
        problem: String,
    },
    /// The store did not take a transaction.
    CommitFailed {
        /// What it said.
        problem: String,
    },
    /// A media flow could not be made.
    FlowRefused {
        /// Where its packets would have arrived.
        local: SocketAddr,
        /// Why.
        problem: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CallStarted { session, binding: Some(binding), caller } => {
                write!(f, "call {session} started by side {caller} on {binding}")
            }
            Self::CallStarted { session, binding: None, caller } => {
                write!(f, "call {session} started by side {caller}")
            }
            Self::CallAnswered { session } => write!(f, "call {session} answered"),
            Self::CallsRestored { restored, ended } => {
                write!(f, "{restored} calls of before the restart go on, {ended} could not and were ended")
            }
            Self::OneWayAudio { session, leg } => write!(
                f,
                "call {session}: nothing is heard from side {leg} while the other side speaks; see what \
                 its flows refuse with `vizard calls show {session}`"
            ),
            Self::CallEnded { session, side, cause } => {
                write!(f, "call {session} ended by {side:?}: {}", cause.as_str())
            }
            Self::CallRefused { session, trunk, cause, status } => {
                write!(f, "call {session} from trunk {trunk} refused with {status}: {}", cause.as_str())
            }
            Self::CallDiverted { session, diversion } => write!(f, "call {session} goes to the {diversion}"),
            Self::EncryptionRefused { session, trunk } => write!(
                f,
                "call {session}: trunk {trunk} wants encrypted media only, which the strict policy refuses; \
                 set media.encryption = \"end-to-end\", or create the binding with `--media end-to-end`"
            ),
            Self::TrunkChallenged { session, trunk, status } => write!(
                f,
                "trunk {trunk} refused call {session} with {status}: it asks for credentials; \
                 let it accept our address, since Vizard does not log in to trunks"
            ),
            Self::LeakStopped { session, leg, what } => write!(
                f,
                "call {session}: a message to leg {leg} held {what} of the other party; it was not \
                 sent and the call was ended. This is a defect: please report it"
            ),
            Self::EmergencyCall { session, routed: true } => {
                write!(f, "emergency call {session} leaves on the emergency trunk")
            }
            Self::EmergencyCall { session, routed: false } => write!(
                f,
                "emergency call {session} cannot leave: no emergency trunk is configured; set [emergency] trunk"
            ),
            Self::UnknownSource { source, messages } => write!(
                f,
                "{messages} SIP messages from {source}, which belongs to no trunk; \
                 if it should, add it to the `sources` of a [[trunk]]"
            ),
            Self::SourceDenied { net, lasting, reason } => {
                write!(f, "{net} is denied for {} s: {reason}", lasting.as_secs())
            }
            Self::GuardChanged { net, rule: Some(GuardAction::Allow) } => {
                write!(f, "{net} is allowed by an operator")
            }
            Self::GuardChanged { net, rule: Some(GuardAction::Deny) } => {
                write!(f, "{net} is denied by an operator")
            }
            Self::GuardChanged { net, rule: None } => write!(f, "the operators' rule for {net} is gone"),
            Self::CaptureBegan { session, user, masked } => {
                let how = if *masked { "masked" } else { "unmasked" };
                write!(f, "user {user} captures the packets of call {session}, {how}")
            }
            Self::GuardFailed { problem } => write!(f, "the guard's rules are not in force: {problem}"),
            Self::Malformed { source, problem } => write!(f, "malformed SIP from {source}: {problem}"),
            Self::Unprotected { trunk, transport } => write!(
                f,
                "a message over {transport} from an address of trunk {trunk}, which speaks TLS; it was not \
                 heeded. Whoever sent it may not be that trunk; if it is, set its transport"
            ),
            Self::ConnectionFailed { trunk, transport, remote, problem } => {
                write!(f, "trunk {trunk} cannot be reached over {transport} at {remote}: {problem}")
            }
            Self::TargetDown { trunk, target, problem } => {
                write!(f, "target {target} of trunk {trunk} is down: {problem}; others are tried before it")
            }
            Self::TargetUp { trunk, target } => write!(f, "target {target} of trunk {trunk} answers again"),
            Self::FailedOver { session, trunk, from, to } => {
                write!(f, "{session} goes to {to} of trunk {trunk}, since {from} failed")
            }
            Self::LargeRequest { trunk, bytes } => write!(
                f,
                "a request of {bytes} bytes went to trunk {trunk} over UDP, where it may be lost in fragments \
                 (RFC 3261 section 18.1.1); set large_requests = \"tcp\" if the trunk takes TCP"
            ),
            Self::BindingEntombed { binding } => write!(f, "{binding} ended; its pairs stay reserved"),
            Self::BindingReopened { binding } => write!(f, "{binding} lives again, by a callback"),
            Self::BindingForgotten { binding } => write!(f, "{binding} forgotten; its numbers are free"),
            Self::PoolLevel { place, left, numbers, low: true } => write!(
                f,
                "numbers run low in {place}: the busiest party has all but {left} of {numbers}; add some, and \
                 see `vizard pool plan`"
            ),
            Self::PoolLevel { place, left, numbers, low: false } => {
                write!(f, "there are enough numbers in {place} again: {left} of {numbers} are left")
            }
            Self::PoolExhausted { wanted } => write!(f, "no number is free: {wanted}"),
            Self::AuditMended { problem } => write!(
                f,
                "the audit log is not whole: {problem}; `vizard audit verify` says what is missing (a store \
                 that was restored from a backup looks the same)"
            ),
            Self::CommitFailed { problem } => write!(f, "the store did not take a transaction: {problem}"),
            Self::FlowRefused { local, problem } => write!(f, "no media flow at {local}: {problem}"),
        }
    }
}
