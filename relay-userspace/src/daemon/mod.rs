//! The daemon: one engine, its clocks, and its wiring to the world.
//!
//! Five threads, none of which waits for another's work: the worker owns the
//! engine, the signalling sockets and the media path's flows; the store's
//! thread owns the store, whose commits block on the disk; the control thread
//! serves the local socket; the keeper changes keys; the media path has its own, in the kernel or here.
//! They meet in bounded channels.
//!
//! A process that was killed has left its calls in the store and, where it could
//! pin them, their flows in the kernel. A start finds both: the media path takes
//! over what is pinned before the engine says a word, then the engine claims the
//! flows of the calls that go on, and what nobody claims is swept.
//!
//! A start goes from what is cheap to undo to what others see: the keys, the store and the audit log
//! that they open (whose content becomes the engine's directory), the media path, the signalling
//! sockets, the local socket, then "ready". Whatever fails says what is in the
//! way and ends the start; everything before it is released by being dropped.

mod anchor_file;
mod capture;
mod certificate;
mod clock;
mod control;
mod door;
pub mod inspect;
mod journal;
mod keeper;
pub mod key_file;
mod notify;
mod random;
mod restoring;
mod run;
mod stop;
mod waker;
mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};

use crate::api::local::Status;
use crate::datapath::Datapath;
use crate::engine::Engine;
use crate::engine::audit::Anchor;
use crate::engine::audit::anchor::AnchorError;
use crate::engine::config::{Config, Listen};
use crate::engine::ids::Slot;
use crate::engine::sip::transport::Transport;
use crate::net::stream::{Listeners, StreamLimits, StreamSetup, Streams};
use crate::net::tls::{Tls, TlsFiles};
use crate::net::udp::UdpTransport;
use crate::settings::Control;
use crate::store::Store;

pub use key_file::KeySource;
pub use random::random;
pub use restoring::Restoring;
pub use run::run;
pub use worker::Ended;

use anchor_file::{AnchorFile, AnchorFileError};
use clock::Clock;
use control::{ControlServer, Records};
use door::{Door, WAITING_REQUESTS};
use journal::Journal;
use keeper::{Keeper, KeeperThread, Tools};
use stop::StopFlag;
use waker::Waker;
use worker::{State, Worker};

/// What a daemon is made of.
pub struct Parts {
    /// The engine's part of the configuration.
    pub config: Config,
    /// What bounds connections of signalling.
    pub connections: StreamLimits,
    /// Certificates and keys, where TLS is spoken.
    pub tls: Option<TlsFiles>,
    /// The local socket.
    pub control: Control,
    /// Where commits become durable; its content is where the engine starts.
    pub store: Box<dyn Store>,
    /// Where the keys are that the store's vault was opened with.
    pub keys: KeySource,
    /// What relays media.
    pub datapath: Box<dyn Datapath>,
    /// Where the engine's tags, Call-IDs and ports follow from; secret and
    /// never used twice.
    pub seed: [u8; 32],
    /// What a status says the configuration came from.
    pub config_file: PathBuf,
    /// What a status says the records are kept in.
    pub store_path: PathBuf,
    /// Where the audit log's anchor is kept: with the keys.
    pub anchor_file: PathBuf,
}

/// A running daemon. Dropping it asks it to stop and does not wait.
pub struct Daemon {
    stop: StopFlag,
    worker: Option<JoinHandle<Ended>>,
    control: Option<ControlServer>,
    keeper: Option<KeeperThread>,
    listens: Vec<Listen>,
}

impl Daemon {
    /// Starts serving. When this returns, SIP and local requests are answered.
    pub fn start(parts: Parts) -> anyhow::Result<Self> {
        let Parts {
            mut config,
            connections,
            tls,
            control,
            store,
            keys,
            datapath,
            seed,
            config_file,
            store_path,
            anchor_file,
        } = parts;
        let (mut snapshot, vault) = (store.load()?, store.vault());
        let anchor = AnchorFile::new(anchor_file, Arc::clone(vault.notary()));
        snapshot.audit.anchor = anchored(&anchor, snapshot.audit.last)?;
        let tls = tls.map(|files| Tls::load(&files)).transpose().context("SIP over TLS")?;
        let (datagrams, streams): (Vec<&mut Listen>, Vec<&mut Listen>) =
            config.sip.listen.iter_mut().partition(|listen| listen.transport == Transport::Udp);
        let local: Vec<SocketAddr> = datagrams.iter().map(|listen| listen.local).collect();
        let transport = UdpTransport::bind(&local, config.limits.message_bytes).context("SIP")?;
        let local: Vec<_> = streams.iter().map(|listen| (listen.transport, listen.local)).collect();
        let doors = Listeners::bind(&local).context("SIP")?;
        for (listen, bound) in datagrams.into_iter().zip(transport.addresses()) {
            name_port(listen, bound);
        }
        for (listen, bound) in streams.into_iter().zip(doors.addresses()) {
            name_port(listen, bound);
        }
        let listens = config.sip.listen.clone();
        let config = Arc::new(config);
        let setup = StreamSetup { config: Arc::clone(&config), limits: connections, tls };
        let streams = Streams::new(doors, setup).context("cannot watch connections")?;

        let (waker, clock) = (Waker::new().context("cannot make an eventfd")?, Clock::start());
        let stop = StopFlag::new(waker.clone());
        let (requests, asked) = sync_channel(WAITING_REQUESTS);
        let door = Door { requests, waker: waker.clone() };
        let (answers, answered) = channel();
        let (keeper, keeping) = Keeper::start(Tools {
            source: keys,
            vault: Arc::clone(&vault),
            reader: store.vault_reader(),
            certificates: store_path.join("certificates"),
            inputs: answers.clone(),
            waker: waker.clone(),
        })
        .context("cannot start the keeper's thread")?;
        let records = Records::of(&*store, anchor.clone());
        let control = ControlServer::start(&control, door, keeper.clone(), records)?;
        let journal = Journal::start(store, anchor, config.limits.pending_commits, answers, waker.clone())
            .context("cannot start the store's thread")?;
        let about = Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: process::id(),
            started: clock.now().wall,
            now: clock.now().wall,
            config: config_file,
            store: store_path,
            listen: transport.addresses().collect(),
            streams: listens.iter().filter(|listen| listen.transport.is_reliable()).map(shown).collect(),
            datapath: datapath.choice().clone(),
            verdicts: Vec::new(),
            counters: Vec::new(),
        };
        let worker = Worker {
            engine: Engine::new(config, vault, Slot(0), seed, clock.now(), snapshot),
            clock,
            transport,
            streams,
            datapath,
            journal,
            keeper,
            answers: answered,
            requests: asked,
            waker,
            stop: stop.clone(),
            about,
            state: State::default(),
        };
        let worker = thread::Builder::new()
            .name("vizard-worker".into())
            .spawn(move || worker.run())
            .context("cannot start the worker's thread")?;
        Ok(Self { stop, worker: Some(worker), control: Some(control), keeper: Some(keeping), listens })
    }

    /// Where SIP arrives; ports that were zero are now those that the kernel
    /// chose.
    #[must_use]
    pub fn listens(&self) -> &[Listen] {
        &self.listens
    }

    /// Asks for a stop: calls are ended first. Asked again, it does not wait
    /// for them.
    pub fn stop(&self) {
        self.stop.ask();
    }

    /// Waits until the daemon has stopped.
    pub fn wait(mut self) -> anyhow::Result<Ended> {
        let ended = self.worker.take().map(JoinHandle::join);
        if let Some(control) = self.control.take() {
            control.close();
        }
        if let Some(keeper) = self.keeper.take() {
            keeper.close();
        }
        match ended {
            Some(Ok(ended)) => Ok(ended),
            Some(Err(_)) | None => Err(anyhow!("the worker's thread panicked; its message is above")),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.ask();
    }
}

/// Where the log ends, as told beside the keys. A new log gets its anchor before it
/// begins, so that a place that cannot be written to is found at once.
fn anchored(file: &AnchorFile, last: u64) -> anyhow::Result<Option<Anchor>> {
    match file.read() {
        Ok(None) if last == 0 => {
            let none = Anchor::default();
            file.write(&none)?;
            Ok(Some(none))
        }
        Ok(anchor) => Ok(anchor),
        // The log goes on with an entry that says so.
        Err(error @ AnchorFileError::Anchor { problem: AnchorError::Damaged, .. }) => {
            tracing::error!("{error}");
            Ok(None)
        }
        Err(error @ AnchorFileError::Anchor { problem: AnchorError::Foreign, .. }) => Err(error).context(
            "move that file away if its log is not needed, or name another one in vault.anchor_file",
        ),
        Err(error @ AnchorFileError::Io { .. }) => Err(error.into()),
    }
}

/// `tcp 192.0.2.10:5060`
fn shown(listen: &Listen) -> String {
    format!("{} {}", listen.transport.word(), listen.local)
}

/// A port that was left to the kernel is now known.
fn name_port(listen: &mut Listen, bound: SocketAddr) {
    listen.local = bound;
    if listen.advertised.port() == 0 {
        listen.advertised.set_port(bound.port());
    }
}

#[cfg(test)]
mod tests;
