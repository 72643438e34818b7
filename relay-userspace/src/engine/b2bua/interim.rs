//! Records of calls that go on, so that a crash costs an interval and not a call.
//!
//! An interim record stands where the final one will: it is replaced by the next one,
//! and at last by that. It is written once and never again when the store did not take
//! it, since a repetition could come after the final record, and the next one says more.
//! Its counts are those of the last look at the flows, a few seconds old.

use super::call::Call;
use super::cdr;
use super::context::Context;
use super::timers::Timer;
use crate::engine::io::{Change, Output, Transaction};

impl Call {
    /// The call is answered, or taken up again.
    pub(super) fn begin_interim(&self, context: &mut Context) {
        let every = context.config.records.interim_every;
        if !every.is_zero() {
            context.timers.arm(self.id, Timer::Interim, context.now.mono + every);
        }
    }

    /// Records both legs as they are.
    pub(super) fn record_so_far(&self, context: &mut Context) {
        if self.release.is_some() || self.recorded {
            return;
        }
        let every = context.config.records.interim_every.as_micros().max(1);
        let talked = self.legs[self.facts.caller].lengths.talked(context.now).as_micros();
        let number = u32::try_from(talked / every).unwrap_or(u32::MAX).max(1);
        let changes = cdr::so_far(context, self, number).map(Change::record).into();
        let id = context.records.next_id();
        context.outputs.push_back(Output::Commit(id, Transaction { changes }));
        self.begin_interim(context);
    }
}
