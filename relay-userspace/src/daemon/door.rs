//! The door of the loop: where those who serve operators leave what is asked.
//!
//! It holds a bounded queue, so that a crowd of operators is turned away instead of
//! slowing calls down, and wakes the loop for what it takes in.

use std::sync::mpsc::{SyncSender, TrySendError};

use tokio::sync::oneshot;

use super::waker::Waker;
use crate::api::local::Response;
use crate::datapath::tap::TapSink;
use crate::engine::admin::{AdminRequest, Refusal, RefusalKind};
use crate::engine::ids::SessionId;
use crate::engine::privacy::Asker;

/// Requests of operators that wait for their turn.
pub(super) const WAITING_REQUESTS: usize = 128;

/// The way to the loop for those who serve operators.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) requests: SyncSender<Asked>,
    pub(super) waker: Waker,
}

impl Door {
    /// Asks the loop and waits for its answer.
    pub(super) async fn ask(&self, what: Ask) -> Response {
        let (answer, answered) = oneshot::channel();
        let gone = || refused("the daemon is stopping", "ask again when it has started");
        match self.requests.try_send(Asked { what, answer }) {
            Ok(()) => self.waker.wake(),
            Err(TrySendError::Full(_)) => {
                return refused("too many requests wait to be served", "try again in a moment");
            }
            Err(TrySendError::Disconnected(_)) => return gone(),
        }
        answered.await.unwrap_or_else(|_| gone())
    }
}

/// A request of an operator, and where its answer goes.
pub(super) struct Asked {
    pub(super) what: Ask,
    pub(super) answer: oneshot::Sender<Response>,
}

/// What is asked of the loop.
#[derive(Debug)]
pub(super) enum Ask {
    Admin(Asker, AdminRequest),
    Status(Asker),
    /// What somebody asked for and may not; answered when it is noted.
    Denied(Asker, AdminRequest),
    /// Copies of a call's packets for a user.
    Capture(Capture),
    /// Nobody wants them any more.
    EndCapture(SessionId),
}

/// A capture that is asked for.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) session: SessionId,
    pub(super) asker: Asker,
    pub(super) masked: bool,
    pub(super) sink: TapSink,
}

/// An answer that is none.
pub(super) fn refused(what: &str, remedy: &str) -> Response {
    Response::Refused(Refusal { kind: RefusalKind::Unavailable, what: what.into(), remedy: remedy.into() })
}
