//! The media path over plain sockets: for hosts without the privileges or the
//! kernel that XDP needs, and for tests.
//!
//! It behaves as the kernel program does, packet by packet: the same checks in
//! the same order (`check`), the same learning of sources, the same verdicts
//! under the same names. What it cannot do is be as fast: each packet costs two
//! system calls on one thread, which is enough for hundreds of calls, not for
//! thousands.
//!
//! A socket stands on every local address that a flow arrives at or leaves
//! from. One thread waits for all of them; the engine's thread adds and removes
//! flows beside it under a lock that is held for one small batch of packets.

mod check;
mod relay;
mod table;

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::guard::{Counts, Filter, Guard, random_key};
use super::tap::{TapSink, Tapped};
use super::{Datapath, DatapathConfig, DatapathError, PathChoice, VerdictCount};
use crate::engine::flow::{FlowSpec, FlowStats, MediaPath};
use crate::engine::io::Datagram;

use relay::Relay;

/// Relays media through sockets of this process.
pub struct SocketDatapath {
    choice: PathChoice,
    relay: Arc<Relay>,
    guard: Filter,
    thread: Option<JoinHandle<()>>,
}

impl SocketDatapath {
    /// Starts the relaying thread. `reason` says why it is this path and no
    /// faster one.
    pub fn open(config: &DatapathConfig, reason: String) -> Result<Self, DatapathError> {
        let relay = Arc::new(Relay::new(config)?);
        let beside = Arc::clone(&relay);
        let thread = thread::Builder::new().name("vizard-media".into()).spawn(move || beside.run());
        let thread = thread.map_err(|error| DatapathError::System {
            doing: "starting the media thread".into(),
            problem: error.to_string(),
        })?;
        let choice = PathChoice { path: MediaPath::Sockets, reason, interfaces: Vec::new() };
        let guard = Filter::new(config.guard.as_ref(), random_key()?, Counts::All);
        Ok(Self { choice, relay, guard, thread: Some(thread) })
    }
}

impl Datapath for SocketDatapath {
    fn choice(&self) -> &PathChoice {
        &self.choice
    }

    fn put(&mut self, flow: &FlowSpec) -> Result<(), DatapathError> {
        self.relay.put(flow)
    }

    fn remove(&mut self, local: SocketAddr) -> FlowStats {
        self.relay.remove(local)
    }

    /// Sockets die with their process: there is nothing of one before.
    fn sweep(&mut self) -> Vec<SocketAddr> {
        Vec::new()
    }

    fn stats(&self, local: SocketAddr) -> Option<FlowStats> {
        self.relay.stats(local)
    }

    fn verdicts(&self) -> Vec<VerdictCount> {
        let mut verdicts = self.relay.verdicts();
        self.guard.add_to(&mut verdicts);
        verdicts
    }

    fn tap(&mut self, flow: Tapped, sink: Option<TapSink>) {
        self.relay.tap(flow, sink);
    }

    fn take_stun(&mut self, give: &mut dyn FnMut(Datagram)) {
        self.relay.take_stun(give);
    }

    fn send_stun(&mut self, datagram: &Datagram) {
        self.relay.send_stun(datagram);
    }

    fn stun_descriptor(&self) -> BorrowedFd<'_> {
        self.relay.stun_descriptor()
    }

    fn guard(&mut self) -> &mut dyn Guard {
        &mut self.guard
    }
}

impl Drop for SocketDatapath {
    fn drop(&mut self) {
        self.relay.stop();
        if let Some(thread) = self.thread.take() {
            let _its_panic_was_printed = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
