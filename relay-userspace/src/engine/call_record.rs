//! A call as the journal keeps it: what a new process needs to go on with it.
//!
//! A record says what was agreed, never what is under way: transactions and
//! half-finished exchanges end with their process. What both far ends know
//! stands here (dialogs, descriptions, ports), and what the final records of
//! the legs will say. A leg without a dialog was not answered yet; its call ends
//! at a restart.
//!
//! Dialogs hold real numbers, because messages inside them must. Nothing here
//! prints one; what the egress check looks for is not kept, since the binding
//! has it.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::audit;
use super::callback::Diversion;
use super::cdr::{Direction, Release, Traffic};
use super::directory;
use super::encoding::Encoding;
use super::flow::{Carrier, ExtensionIds, PayloadTypes, Quality, Transport};
use super::ids::{BindingId, LegName, SessionId};
use super::number::{Area, Country, ProxyNumber};
use super::sip;
use super::sip::dialog::Dialog;
use super::sip::sdp::{Component, IceCredentials};
use super::sip::uri::Uri;
use super::time::Timestamp;

/// What the store held at the last stop: where an engine starts from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Numbers and bindings.
    pub directory: directory::Snapshot,
    /// Calls that were in progress.
    pub calls: Vec<CallRecord>,
    /// The end of the audit log.
    pub audit: audit::Snapshot,
}

/// A call in progress.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// The call.
    pub session: SessionId,
    /// Absent for an emergency call.
    pub binding: Option<BindingId>,
    /// Who owns the binding.
    pub tenant: String,
    /// The tenant's project.
    pub project: String,
    /// Who placed it.
    pub caller: LegName,
    /// Whether it is an emergency call.
    pub emergency: bool,
    /// Where it goes in place of a party, and why.
    pub diversion: Option<Diversion>,
    /// Leg A and leg B.
    pub legs: [LegRecord; 2],
    /// Its media, by position in the session description.
    pub streams: Vec<Option<StreamRecord>>,
    /// The codec that was agreed on last.
    pub codec: Option<Encoding>,
    /// What carried its flows.
    pub carrier: Option<Carrier>,
    /// What the far ends of A and B sent in flows that are gone.
    pub received: [(Traffic, Quality); 2],
    /// Which of them were not heard for a while, although the other one was.
    pub one_way: [bool; 2],
    /// A 2xx of ours whose ACK had not come.
    pub unacknowledged: Option<Unacknowledged>,
    /// How it ended, when it was on its way to its end.
    pub release: Option<Release>,
}

/// One leg.
#[derive(Clone, Debug, PartialEq)]
pub struct LegRecord {
    /// The trunk's name: indices change with the configuration.
    pub trunk: String,
    /// Who placed it.
    pub direction: Direction,
    /// The number that the far end dialled or sees.
    pub proxy: Option<ProxyNumber>,
    /// The far end, masked.
    pub remote: String,
    /// Its country.
    pub remote_country: Option<Country>,
    /// Its state or province.
    pub remote_area: Option<Area>,
    /// When the INVITE arrived or left.
    pub start: Timestamp,
    /// When the far end began to ring, or to hear ringing.
    pub ring: Option<Timestamp>,
    /// When it was answered.
    pub answer: Option<Timestamp>,
    /// When it ended, if it has.
    pub end: Option<Timestamp>,
    /// The final status of the first INVITE.
    pub status: Option<u16>,
    /// What it takes to talk to the far end, once it has answered.
    pub dialog: Option<DialogRecord>,
}

/// What it takes to talk to a far end.
#[derive(Clone, Debug, PartialEq)]
pub struct DialogRecord {
    /// The dialog.
    pub dialog: Dialog,
    /// Our Contact in it.
    pub contact: Uri,
    /// Our socket.
    pub local: SocketAddr,
    /// Where the far end's last message came from.
    pub peer: SocketAddr,
    /// What Via shows of us.
    pub sent_by: SocketAddr,
    /// Over what the far end is talked to.
    pub transport: sip::transport::Transport,
    /// The number of our last INVITE.
    pub invite_cseq: u32,
    /// Whether its 2xx was acknowledged, and with which session description.
    pub acked: Option<AckRecord>,
    /// The session's id in our descriptions.
    pub origin: u64,
    /// The version of the last of them.
    pub version: u64,
    /// The session's timer, if it has one.
    pub session: Option<SessionRecord>,
}

/// The session timer of a dialog (RFC 4028).
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Seconds.
    pub interval: u32,
    /// Whether we refresh.
    pub ours: bool,
    /// Whether the far end takes UPDATE.
    pub takes_update: bool,
    /// The description that a refresh says again, where only that will do.
    pub said: Option<String>,
}

impl std::fmt::Debug for SessionRecord {
    /// Without the description: it holds addresses.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionRecord({} s, ours: {}, UPDATE: {})", self.interval, self.ours, self.takes_update)
    }
}

/// The ACK of our last INVITE's 2xx.
#[derive(Clone, PartialEq, Eq)]
pub struct AckRecord {
    /// The number of the INVITE.
    pub cseq: u32,
    /// The answer that it carried, where the 2xx was an offer.
    pub session: Option<Vec<u8>>,
}

impl std::fmt::Debug for AckRecord {
    /// Without the description: it holds addresses.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AckRecord({}, with a description: {})", self.cseq, self.session.is_some())
    }
}

/// A 2xx that is sent again until its ACK comes.
#[derive(Clone, PartialEq, Eq)]
pub struct Unacknowledged {
    /// The leg.
    pub leg: LegName,
    /// The number of the INVITE.
    pub cseq: u32,
    /// Where it goes.
    pub remote: SocketAddr,
    /// Where to, when the connection with that is gone.
    pub otherwise: Option<SocketAddr>,
    /// The response; empty when it held an offer, whose answer nobody can
    /// relay any more.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Unacknowledged {
    /// Without the bytes: they hold real numbers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unacknowledged(leg {}, cseq {}, {} bytes)", self.leg, self.cseq, self.bytes.len())
    }
}

/// One stream: our ports, and where the far ends of A and B are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRecord {
    /// Where RTP of leg A and of leg B arrives.
    pub ports: [SocketAddr; 2],
    /// The far ends, as far as they are known.
    pub ends: [Option<EndRecord>; 2],
    /// Where packets may still come from at ports whose time to be learned is over.
    pub closed: Vec<(SocketAddr, IpNet)>,
    /// The codec.
    pub codec: Encoding,
    /// The ticks per second of its timestamps; zero when unknown.
    pub clock_rate: u32,
    /// How its packets travel.
    pub transport: Transport,
    /// The header extensions that cross.
    pub extensions: ExtensionIds,
    /// Whether RTCP shares the port of RTP, towards A and towards B.
    pub mux: [Mux; 2],
    /// Who of A and B speaks ICE.
    pub ice: [Option<IceRecord>; 2],
    /// Whether it is audio.
    pub audio: bool,
}

/// A far end that speaks ICE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceRecord {
    /// What it knows us by.
    pub ours: IceCredentials,
    /// What it calls itself.
    pub name: String,
    /// Where it may be.
    pub candidates: Vec<(Component, SocketAddr)>,
    /// Whether it has nominated an address.
    pub nominated: bool,
}

/// Whether RTCP shares the port of RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mux {
    /// It has a port of its own.
    No,
    /// Until the answer it may come in either way (RFC 5761 section 5.1.1).
    Offered,
    /// It does.
    Agreed,
}

/// A far end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndRecord {
    /// Where it receives RTP and RTCP.
    pub far: Option<(SocketAddr, SocketAddr)>,
    /// Where its packets may come from.
    pub allowed: IpNet,
    /// How often signalling has moved it.
    pub generation: u8,
    /// The payload types that it receives.
    pub payload_types: PayloadTypes,
    /// Whether it said that it sends.
    pub sends: bool,
    /// Whether it said that it wants to receive.
    pub receives: bool,
}
