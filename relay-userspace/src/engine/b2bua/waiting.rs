//! INVITEs that wait for the store: a new caller of an agent number gets a binding
//! of its own, and nothing may show its proxy before the store has it.
//!
//! The directory is asked under a request id of ours, and its answer, whatever it
//! is, lets the INVITE be judged afresh: by then it finds the binding, or goes on
//! without one. Meanwhile a CANCEL ends it, and so does a stop.

use super::Calls;
use super::context::Context;
use super::exchange::Arrival;
use super::refusal::{Refusal, refuse};
use super::setup;
use crate::engine::cdr::Cause;
use crate::engine::ids::SessionId;
use crate::engine::io::RequestId;

/// Requests from here on are ours; others' are numbered from zero.
const FIRST_REQUEST: u64 = 1 << 63;

/// An INVITE that is not decided yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) session: SessionId,
    /// Our tag.
    pub(super) tag: String,
    pub(super) arrival: Arrival,
}

impl Calls {
    /// Whether an answer is for an INVITE that waits.
    pub(in crate::engine) const fn asked(id: RequestId) -> bool {
        id.0 >= FIRST_REQUEST
    }

    /// The directory has answered: the INVITE is judged again.
    pub(in crate::engine) fn answered(&mut self, context: &mut Context, id: RequestId) {
        let Some(waiting) = self.waiting.remove(&id) else { return };
        context.index.forget_invite(&waiting.arrival);
        let admission = self.admission(context);
        if let Some(call) = setup::resumed(context, waiting, admission) {
            self.begin(context, call);
        }
    }

    pub(super) fn wait(&mut self, context: &mut Context, id: RequestId, waiting: Waiting) {
        context.index.note_invite(&waiting.arrival, waiting.session);
        self.waiting.insert(id, waiting);
    }

    /// The caller has taken back an INVITE that waits.
    pub(super) fn cancelled(&mut self, context: &mut Context, session: SessionId) {
        let found = self.waiting.iter().find(|(_, waiting)| waiting.session == session);
        if let Some(id) = found.map(|(&id, _)| id) {
            self.give_up(context, id, Refusal::new(487, Cause::Cancelled));
        }
    }

    /// We are about to stop.
    pub(super) fn give_up_all(&mut self, context: &mut Context) {
        while let Some(id) = self.waiting.keys().next().copied() {
            self.give_up(context, id, Refusal::new(503, Cause::Shutdown));
        }
    }

    fn give_up(&mut self, context: &mut Context, id: RequestId, refusal: Refusal) {
        let Some(Waiting { session, tag, arrival }) = self.waiting.remove(&id) else { return };
        context.index.forget_invite(&arrival);
        refuse(context, session, &tag, &arrival, refusal);
    }
}

impl Context {
    /// A request id of ours.
    pub(super) fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(FIRST_REQUEST + self.requests)
    }
}
