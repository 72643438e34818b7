//! What must hold once a world has come to rest, and of every text that
//! people may read.

use std::time::Duration;

use vizard::engine::admin::AdminRequest;
use vizard::engine::cdr::{Cdr, Direction};
use vizard::engine::directory::BindingState;
use vizard::engine::time::Timestamp;

use crate::admin::Request;
use crate::call::Seen;
use crate::scenario::{Host, Purpose};
use crate::store::StoreFaults;
use crate::world::{World, now};

/// The engine is at rest when its next deadline is this far away: only the
/// directory looks so far ahead.
pub(crate) const REST: Duration = Duration::from_mins(10);

/// How far a record's times may be from what was seen.
const TOLERANCE: Duration = Duration::from_millis(1);

impl World {
    /// No real number stands in a text that people may read.
    pub(crate) fn check_text(&self, text: &str) -> Result<(), String> {
        match self.secrets.names_in(text).first() {
            Some(secret) => Err(format!("{secret:?} stands in {text}")),
            None => Ok(()),
        }
    }

    /// Everything has ended, and every end is on record.
    pub(crate) fn check_rest(&mut self) -> Result<(), String> {
        for (index, call) in self.calls.iter().enumerate() {
            if call.crashed {
                continue;
            }
            for end in [&call.caller, &call.callee].into_iter().flatten() {
                if let Some(problem) = end.unfinished() {
                    return Err(format!("call {index}: {problem}"));
                }
            }
        }
        if let Some((local, session)) = self.datapath.open().first() {
            return Err(format!("the flow at {local} of {session} is left"));
        }
        if !self.requests.is_empty() {
            return Err(format!("nobody answered {:?}", self.requests));
        }
        if self.store.busy() || self.engine.calls_in_progress() > 0 {
            return Err(format!("{} calls in progress at rest", self.engine.calls_in_progress()));
        }
        if self.stopping && !self.drained && self.scenario.crashes.is_empty() {
            return Err("asked to stop and never drained".into());
        }
        self.check_records()
    }

    fn check_records(&self) -> Result<(), String> {
        for (index, call) in self.calls.iter().enumerate() {
            if call.crashed {
                continue;
            }
            let emergency = self.scenario.calls[index].purpose == Purpose::Emergency;
            let diverted = !emergency && call.callee_leg.host == Some(Host::Emergency);
            for (seen, direction) in
                [(&call.caller_leg, Direction::Inbound), (&call.callee_leg, Direction::Outbound)]
            {
                if seen.invited.is_none() {
                    continue;
                }
                let session = call.session.ok_or_else(|| format!("call {index} never got a session"))?;
                let mut records = self
                    .store
                    .cdrs
                    .values()
                    .filter(|cdr| cdr.session == session && cdr.direction == direction);
                let Some(cdr) = records.next() else {
                    return Err(format!("call {index}: no record of its {direction:?} leg"));
                };
                if cdr.diversion.is_some() != diverted {
                    return Err(format!("call {index}: its record says {:?} of an IVR", cdr.diversion));
                }
                if records.next().is_some() {
                    return Err(format!("call {index}: two records of its {direction:?} leg"));
                }
                self.check_record(cdr, seen, emergency)
                    .map_err(|problem| format!("call {index}, {direction:?}: {problem}: {cdr:?} {seen:?}"))?;
            }
        }
        if let Some(cdr) = self.store.cdrs.values().find(|cdr| cdr.interim.is_some()) {
            return Err(format!("an interim record is all that there is of a leg: {cdr:?}"));
        }
        let strange = self.store.cdrs.values().find(|cdr| !self.sessions.contains_key(&cdr.session));
        match strange {
            Some(cdr) => Err(format!("a record of no call: {cdr:?}")),
            None => Ok(()),
        }
    }

    fn check_record(&self, cdr: &Cdr, seen: &Seen, emergency: bool) -> Result<(), String> {
        let near = |a: Timestamp, b: Duration| {
            let b = now(b).wall;
            a.saturating_since(b).max(b.saturating_since(a)) <= TOLERANCE
        };
        if !seen.invited.is_some_and(|at| near(cdr.start, at)) {
            return Err("starts at another time".into());
        }
        match (cdr.answer, seen.answered) {
            (Some(answer), Some(at)) if near(answer, at) => {}
            (None, None) => {}
            // It answered what had been taken back.
            (None, Some(at)) if seen.cancelled.is_some_and(|cancelled| cancelled <= at) => {}
            (answer, at) => return Err(format!("answered at {answer:?}, seen at {at:?}")),
        }
        let billable = cdr.answer.map_or(Duration::ZERO, |answer| cdr.end.saturating_since(answer));
        let seconds = billable.as_secs() + u64::from(billable.subsec_nanos() > 0);
        if cdr.billable_seconds != seconds || cdr.end < cdr.start || cdr.answer.is_some_and(|a| a > cdr.end) {
            return Err(format!("{} billable seconds instead of {seconds}", cdr.billable_seconds));
        }
        if cdr.answer.is_some() && !seen.ended.is_some_and(|at| near(cdr.end, at)) {
            return Err("ends at another time".into());
        }
        if cdr.emergency != emergency || seen.host.map(Host::name) != Some(cdr.trunk.as_str()) {
            return Err("is of another sort or trunk".into());
        }
        let total = |leg| self.datapath.totals.get(&(cdr.session, leg)).copied().unwrap_or_default();
        if (cdr.received, cdr.sent) != (total(cdr.leg), total(cdr.leg.other())) {
            return Err(format!("media {:?} {:?} was counted", total(cdr.leg), total(cdr.leg.other())));
        }
        Ok(())
    }

    /// Ends every binding, waits until all is forgotten, and looks again.
    pub(crate) fn epilogue(&mut self) -> Result<(), String> {
        if self.stopping {
            return Ok(());
        }
        self.store.faults = StoreFaults { delay: 1, failures: 0, conflicts: 0 };
        self.ask(Request::Calls { at_rest: true }, AdminRequest::CallsList)?;
        let live: Vec<_> = self
            .store
            .bindings
            .values()
            .filter(|binding| matches!(binding.state, BindingState::Live { .. }))
            .map(|binding| binding.id)
            .collect();
        for id in live {
            self.ask(Request::Close, AdminRequest::BindClose { id })?;
        }
        self.live(Duration::from_hours(1))?;
        self.check_rest()?;
        if let Some(binding) = self.store.bindings.values().next() {
            return Err(format!("a binding is left: {binding:?}"));
        }
        self.store.check_audit()?;
        self.store.check_empty()
    }
}
