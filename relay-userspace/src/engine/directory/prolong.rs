//! What lets a binding live on: requests that extend a live one or reopen an ended
//! one, and callbacks that reopen it where its kind says so.

use super::bindings::Change;
use super::model::BindingState::{Entombed, Live};
use super::proposal::{Asked, Proposal};
use super::{BindingId, Directory, parse, refusal};
use crate::engine::admin::{AdminRequest, Refusal, RefusalKind};
use crate::engine::callback::OnTombstone;
use crate::engine::event::Event;
use crate::engine::io::{Output, RequestId};
use crate::engine::time::Now;
use std::time::Duration;

/// What is asked.
#[derive(Clone, Copy)]
pub(super) struct Prolong {
    pub(super) binding: BindingId,
    pub(super) time_to_live: Option<Duration>,
    /// Whether it is meant to have ended.
    pub(super) ended: bool,
}

impl Prolong {
    const fn request(self) -> AdminRequest {
        let Self { binding: id, time_to_live, ended } = self;
        if ended {
            AdminRequest::BindReopen { id, time_to_live }
        } else {
            AdminRequest::BindExtend { id, time_to_live }
        }
    }
}

impl Directory {
    pub(super) fn bind_prolong(&mut self, id: RequestId, asked: Prolong) {
        if let Err(refusal) = self.prolong(id, asked) {
            self.refuse_request(id, refusal);
        }
    }

    fn prolong(&mut self, id: RequestId, asked: Prolong) -> Result<(), Refusal> {
        let ix = self.visible(asked.binding)?;
        self.admits_return(ix)?;
        let Some(record) = self.bindings.get(ix) else { return Ok(()) };
        let life = self.life_of(record);
        let until = self.clock.wall + parse::time_to_live(asked.time_to_live, life.time_to_live)?;
        let over = record.is_over();
        let expires = match (record.change, record.state) {
            (Change::Committing, _) => {
                self.wait(ix, id, asked.request());
                return Ok(());
            }
            (Change::Doubtful, _) => return Err(super::binding_requests::in_doubt()),
            (Change::None, _) if over && !asked.ended => {
                let remedy = "bring it back with `vizard bind reopen`";
                return Err(refusal(RefusalKind::Conflict, format!("{} has ended", asked.binding), remedy));
            }
            (Change::None, _) if !over && asked.ended => {
                let remedy = "let it live longer with `vizard bind extend`";
                return Err(refusal(
                    RefusalKind::Conflict,
                    format!("{} has not ended", asked.binding),
                    remedy,
                ));
            }
            (Change::None, Live { expires }) if expires >= until => {
                self.reply_binding(id, ix);
                return Ok(());
            }
            (Change::None, Live { .. } | Entombed { .. }) => until,
        };
        self.admits_commit()?;
        self.propose(Proposal::Turn { asked: Some((id, Asked::Show)), binding: ix, to: Live { expires } });
        Ok(())
    }

    /// Notes that a call on a binding begins: [`Self::hold`] it, and where its kind
    /// wants callbacks to reopen it and it has ended, it lives again. Its numbers are
    /// reserved for its parties as before, so the call waits for nothing; a store that
    /// falls behind leaves it a tombstone.
    pub fn begin_call(&mut self, now: Now, id: BindingId) {
        self.clock = now;
        if self.hold(id) {
            self.reopen_by_call(id);
        }
    }

    fn reopen_by_call(&mut self, id: BindingId) {
        let Some(ix) = self.bindings.find(id) else { return };
        let Some(record) = self.bindings.get(ix) else { return };
        let life = self.life_of(record);
        if life.on_tombstone != OnTombstone::Reopen || !record.is_over() || record.change != Change::None {
            return;
        }
        if self.admits_return(ix).is_err() || self.admits_commit().is_err() {
            return;
        }
        let to = Live { expires: self.clock.wall + life.time_to_live };
        self.outputs.push_back(Output::Event(Event::BindingReopened { binding: id }));
        self.propose(Proposal::Turn { asked: None, binding: ix, to });
    }
}
