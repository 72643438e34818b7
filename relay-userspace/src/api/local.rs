//! What the command line may ask of the daemon, and what it hears.
//!
//! Requests of the directory and of calls are the engine's own
//! ([`AdminRequest`]) and travel unchanged; what the engine does not know - the
//! records in the store, the media path - is asked of the daemon here. Answers
//! hold parties in masked form only, since the engine gives out no other.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::datapath::{PathChoice, VerdictCount};
use crate::engine::admin::{AdminReply, AdminRequest, Refusal, VaultCount};
use crate::engine::audit::Verification;
use crate::engine::ids::{LegName, SessionId};
use crate::engine::time::Timestamp;
use crate::store::{AuditPage, AuditQuery, CdrPage, CdrQuery};

/// Grows when an older end would misunderstand a newer one.
pub const PROTOCOL: u32 = 1;

/// The first line that the daemon sends on a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The daemon's version.
    pub vizard: String,
    /// [`PROTOCOL`] of the daemon.
    pub protocol: u32,
    /// The daemon's process.
    pub pid: u32,
}

/// A request with the number that its answer carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Chosen by the asker.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// An answer with the number of its request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The request's; zero when the request could not be read.
    pub id: u64,
    /// What is answered.
    pub response: Response,
}

/// What may be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Something of the engine.
    Admin(AdminRequest),
    /// Call detail records, newest first.
    CdrList(CdrQuery),
    /// Entries of the audit log, newest first.
    AuditList(AuditQuery),
    /// Whether the audit log is whole.
    AuditVerify,
    /// How the daemon is.
    Status,
    /// How many call detail records ended before a time.
    CdrCount(Timestamp),
    /// A copy of the store: many answers.
    Backup,
    /// Where a rotation is.
    VaultStatus,
    /// The packets of a call, until it ends or the asker hangs up: many answers.
    Capture(CaptureRequest),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// To [`Request::Admin`]; refusals of the engine come in here too.
    Admin(AdminReply),
    /// To [`Request::CdrList`].
    Cdrs(CdrPage),
    /// To [`Request::AuditList`].
    Audit(AuditPage),
    /// To [`Request::AuditVerify`].
    AuditVerified(Box<Verification>),
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::CdrCount`].
    Count(usize),
    /// To [`Request::Backup`]: some of the copy.
    BackupPiece {
        /// Its bytes, in base64.
        bytes: String,
    },
    /// To [`Request::Backup`]: the last answer.
    BackupEnded {
        /// Rows, those that replace others included.
        rows: u64,
        /// The wrapped data keys, to try key files on.
        data_keys: String,
    },
    /// To [`Request::VaultStatus`].
    Vault {
        /// What the engine has counted.
        count: VaultCount,
        /// Where a rotation is.
        phase: RotationPhase,
    },
    /// To [`Request::Capture`]: it has begun. [`Response::Packets`] follow.
    Capturing,
    /// Packets since the last answer; every so often even when there are none.
    Packets {
        /// In the order of their arrival.
        packets: Vec<CapturedPacket>,
        /// Packets that there was no room for, since the capture began.
        lost: u64,
    },
    /// The call is over: the last answer.
    CaptureEnded {
        /// Packets that there was no room for.
        lost: u64,
    },
    /// The daemon itself could not do it.
    Refused(Refusal),
}

/// Where a rotation of keys is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "phase")]
pub enum RotationPhase {
    /// There was none since the start.
    None,
    /// The new epoch is in the key file.
    Beginning {
        /// The new epoch.
        epoch: u32,
    },
    /// What is old is sealed anew.
    Sealing {
        /// The new epoch.
        epoch: u32,
    },
    /// The store is searched for what is old, before old keys are destroyed.
    Looking {
        /// The new epoch.
        epoch: u32,
        /// What was found last.
        left: Option<usize>,
    },
    /// The old keys are destroyed.
    Ended {
        /// The new epoch.
        epoch: u32,
    },
    /// Something is in the way; it is tried again.
    Waiting {
        /// What, and how to mend it.
        problem: String,
    },
}

/// Which packets to capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureRequest {
    /// Of which call.
    pub session: SessionId,
    /// With the real addresses of far ends.
    pub unmasked: bool,
}

/// A packet that a far end sent and the media path took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedPacket {
    /// When it arrived.
    pub at: Timestamp,
    /// The leg whose far end sent it.
    pub leg: LegName,
    /// The far end, or what stands for it.
    pub from: SocketAddr,
    /// Where it arrived.
    pub to: SocketAddr,
    /// The bytes of payload that it had.
    pub length: usize,
    /// Payload, as much as there is of it.
    pub payload: Vec<u8>,
}

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// Its clock when it answered.
    pub now: Timestamp,
    /// The configuration it was started with.
    pub config: PathBuf,
    /// Where it keeps records.
    pub store: PathBuf,
    /// Where SIP arrives.
    pub listen: Vec<SocketAddr>,
    /// Where it arrives over connections, such as `tls 192.0.2.10:5061`.
    pub streams: Vec<String>,
    /// Which implementation carries media, and why.
    pub datapath: PathChoice,
    /// Every verdict of the media path and its packets.
    pub verdicts: Vec<VerdictCount>,
    /// The engine's counters and the daemon's: name and count.
    pub counters: Vec<(String, u64)>,
}
