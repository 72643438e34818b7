//! The engine: masking, allocation, SIP and call control as a pure function of
//! inputs, two injected clocks and a seed.
//!
//! It opens no socket, reads no file or clock, starts no thread and draws no
//! random number of its own, so a million calls can be simulated in seconds
//! and any failure replayed from its seed. CI builds it alone, without the
//! crates that could do I/O, and clippy denies the standard library's.
//!
//! # Contract
//!
//! Mutate once, drain, wait for the next deadline, repeat:
//!
//! 1. Call [`Engine::handle_input`] with what happened, or
//!    [`Engine::handle_timeout`] when the deadline of step 3 has come. Both
//!    clocks never go back between calls.
//! 2. Call [`Engine::poll_output`] until it returns `None`, and do what each
//!    output says, in that order.
//! 3. Ask [`Engine::poll_timeout`] when to call again if nothing happens.
//!    A deadline that is answered late is late, never lost; one that is
//!    answered early does nothing.
//!
//! An [`Engine`] is one shard: it owns every dialog whose tokens carry its
//! [`Slot`](ids::Slot).

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod admin;
pub(crate) mod by_leg;
pub mod cdr;
pub mod config;
mod counters;
mod dialling;
pub mod directory;
pub mod egress;
pub mod event;
pub mod flow;
pub mod ids;
pub mod io;
pub(crate) mod media;
pub mod number;
pub mod policy;
pub mod sip;
mod strangers;
pub mod time;

use std::collections::VecDeque;
use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use admin::{AdminReply, AdminRequest, Refusal, RefusalKind};
use config::Config;
use counters::{Counter, Counters};
use event::Event;
use ids::Slot;
use io::{Datagram, Input, Output, RequestId};
use strangers::Strangers;
use time::{Instant, Now};

/// One shard of the control plane. See the module documentation for how to
/// drive it.
pub struct Engine {
    config: Arc<Config>,
    slot: Slot,
    random: ChaCha8Rng,
    outputs: VecDeque<Output>,
    counters: Counters,
    strangers: Strangers,
    life: Life,
}

/// Where the engine is in its own life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// [`Input::Shutdown`] came; calls and commits are still open.
    Draining,
    /// [`Output::Drained`] was given out.
    Drained,
}

impl Engine {
    /// An engine without calls.
    ///
    /// `seed` must come from the operating system's random source wherever
    /// peers are not trusted: tags, Call-IDs and media ports follow from it.
    /// `snapshot` is what the store held at the last stop.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        slot: Slot,
        seed: [u8; 32],
        now: Now,
        snapshot: directory::Snapshot,
    ) -> Self {
        let _ = (now, snapshot);
        Self {
            config,
            slot,
            random: ChaCha8Rng::from_seed(seed),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            strangers: Strangers::default(),
            life: Life::Running,
        }
    }

    /// Takes in one thing that happened. Drain [`Self::poll_output`] after it.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        match input {
            Input::Received(datagram) => self.received(now, &datagram),
            Input::Admin(id, request) => self.admin(now, id, request),
            Input::Committed(_) | Input::Conflict(_) | Input::CommitFailed(..) => {}
            Input::FlowRemoved(..) | Input::FlowRefused(..) => {}
            Input::Shutdown => self.life = Life::Draining,
        }
        self.drain();
    }

    /// Does everything that was due by `now`. Drain [`Self::poll_output`]
    /// after it.
    pub fn handle_timeout(&mut self, now: Now) {
        let _ = now;
        self.drain();
    }

    /// The next thing to do; `None` when all is done. Call it until then after
    /// every mutation.
    #[must_use = "an output that is not done is lost"]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called next, and what for;
    /// `None` when nothing is waiting. Changes with every mutation.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// Calls that have not ended on both legs.
    #[must_use]
    pub fn calls_in_progress(&self) -> usize {
        0
    }

    /// The dialogs that are this engine's.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    fn received(&mut self, _now: Now, datagram: &Datagram) {
        self.counters.add(Counter::Received);
        if self.config.trunk_of_source(datagram.remote.ip()).is_none() {
            self.counters.add(Counter::UnknownSource);
            if let Some(messages) = self.strangers.seen(datagram.remote.ip()) {
                self.outputs.push_back(Output::Event(Event::UnknownSource {
                    source: datagram.remote.ip(),
                    messages,
                }));
            }
        }
    }

    fn admin(&mut self, _now: Now, id: RequestId, request: AdminRequest) {
        let reply = match request {
            AdminRequest::CallsList => AdminReply::Calls(Vec::new()),
            AdminRequest::Counters => AdminReply::Counters(self.counters.list()),
            AdminRequest::CallShow { session } | AdminRequest::CallHangup { session } => {
                AdminReply::Refused(Refusal {
                    kind: RefusalKind::NotFound,
                    what: format!("no call {session} is in progress"),
                    remedy: "list the calls in progress with `vizard calls list`".into(),
                })
            }
            AdminRequest::PoolAdd { .. }
            | AdminRequest::PoolList { .. }
            | AdminRequest::BindCreate(_)
            | AdminRequest::BindList { .. }
            | AdminRequest::BindShow { .. }
            | AdminRequest::BindClose { .. } => AdminReply::Refused(Refusal {
                kind: RefusalKind::Unavailable,
                what: "this engine has no directory".into(),
                remedy: "ask the engine that owns the directory".into(),
            }),
        };
        self.outputs.push_back(Output::Reply(id, reply));
    }

    /// Says that the engine may be stopped, once, when it is so.
    fn drain(&mut self) {
        if self.life == Life::Draining && self.calls_in_progress() == 0 {
            self.life = Life::Drained;
            self.outputs.push_back(Output::Drained);
        }
    }
}
