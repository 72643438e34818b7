//! Finding the daemon and asking it.

use std::path::PathBuf;
use std::time::Duration;

use super::GlobalArgs;
use super::exit::Exit;
use super::output::Failure;
use crate::api::client::{Client, PATIENCE};
use crate::api::local::{CaptureRequest, Request, Response, Status};
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::audit::Verification;
use crate::settings::{self, DEFAULT_FILE, DEFAULT_SOCKET, Overrides};
use crate::store::{AuditPage, AuditQuery, CdrPage, CdrQuery};

/// A connection to the running daemon.
pub(super) struct Daemon {
    client: Client,
}

impl Daemon {
    pub(super) fn connect(global: &GlobalArgs) -> Result<Self, Failure> {
        Self::connect_for(global, PATIENCE)
    }

    /// For requests that may take so long.
    pub(super) fn connect_for(global: &GlobalArgs, patience: Duration) -> Result<Self, Failure> {
        Ok(Self { client: Client::connect(&socket(global)?, patience)? })
    }

    /// Asks the engine; a refusal is a failure.
    pub(super) fn admin(&mut self, request: AdminRequest) -> Result<AdminReply, Failure> {
        match self.client.ask(Request::Admin(request))? {
            Response::Admin(AdminReply::Refused(refusal)) => Err(refusal.into()),
            Response::Admin(reply) => Ok(reply),
            other => Err(instead(other)),
        }
    }

    pub(super) fn cdrs(&mut self, query: CdrQuery) -> Result<CdrPage, Failure> {
        match self.client.ask(Request::CdrList(query))? {
            Response::Cdrs(page) => Ok(page),
            other => Err(instead(other)),
        }
    }

    pub(super) fn audit(&mut self, query: AuditQuery) -> Result<AuditPage, Failure> {
        match self.client.ask(Request::AuditList(query))? {
            Response::Audit(page) => Ok(page),
            other => Err(instead(other)),
        }
    }

    pub(super) fn verify_audit(&mut self) -> Result<Verification, Failure> {
        match self.client.ask(Request::AuditVerify)? {
            Response::AuditVerified(verification) => Ok(*verification),
            other => Err(instead(other)),
        }
    }

    pub(super) fn status(&mut self) -> Result<Status, Failure> {
        match self.client.ask(Request::Status)? {
            Response::Status(status) => Ok(*status),
            other => Err(instead(other)),
        }
    }

    /// Asks what is neither the engine's nor of records; a refusal is a failure.
    pub(super) fn ask(&mut self, request: Request) -> Result<Response, Failure> {
        match self.client.ask(request)? {
            Response::Refused(refusal) | Response::Admin(AdminReply::Refused(refusal)) => Err(refusal.into()),
            response => Ok(response),
        }
    }

    /// Begins a capture; what it captures comes with [`Daemon::more`].
    pub(super) fn capture(&mut self, request: CaptureRequest) -> Result<(), Failure> {
        match self.client.ask(Request::Capture(request))? {
            Response::Capturing => Ok(()),
            other => Err(instead(other)),
        }
    }

    /// A further answer to the last request.
    pub(super) fn more(&mut self) -> Result<Response, Failure> {
        Ok(self.client.more()?)
    }
}

/// What an answer is that is not of the kind that was hoped for: a refusal, or a
/// misunderstanding.
pub(super) fn instead(response: Response) -> Failure {
    match response {
        Response::Refused(refusal) | Response::Admin(AdminReply::Refused(refusal)) => refusal.into(),
        Response::Admin(_)
        | Response::Cdrs(_)
        | Response::Audit(_)
        | Response::AuditVerified(_)
        | Response::Status(_)
        | Response::Count(_)
        | Response::BackupPiece { .. }
        | Response::BackupEnded { .. }
        | Response::Vault { .. }
        | Response::Capturing
        | Response::Packets { .. }
        | Response::CaptureEnded { .. } => unexpected(),
    }
}

/// An answer to something that was not asked.
pub(super) fn unexpected() -> Failure {
    Failure::new(
        Exit::Failure,
        "the daemon answered something that was not asked",
        "use the vizard command of the same version as the daemon",
    )
}

/// `--socket` or `VIZARD_SOCKET`; else the configuration's; else the default.
/// A configuration that was named must be readable, the default one need not be:
/// operators who may use the socket may not be allowed to read it.
fn socket(global: &GlobalArgs) -> Result<PathBuf, Failure> {
    if let Some(socket) = &global.socket {
        return Ok(socket.clone());
    }
    let file = global.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    match settings::load(&file, &Overrides::from_environment()) {
        Ok(settings) => Ok(settings.control.socket),
        Err(problems) if global.config.is_some() => Err(super::check::failure(&file, &problems)),
        Err(_) => Ok(DEFAULT_SOCKET.into()),
    }
}
