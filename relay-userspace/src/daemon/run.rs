//! The daemon as a process: logging, limits, signals, exit.

use std::process;
use std::thread;

use anyhow::{Context, bail};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::random::{random, seed};
use super::stop::StopFlag;
use super::{Daemon, Ended, Parts, key_file, notify};
use crate::datapath;
use crate::settings::Settings;
use crate::store::SledStore;
use crate::telemetry;

/// Runs the daemon until a signal stops it.
///
/// The first SIGTERM or SIGINT ends all calls and writes their records, for at
/// most ten seconds; a second one ends the process at once, which is an error.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    telemetry::init(&settings.log).context("cannot start logging; check log.filter")?;
    for warning in &settings.warnings {
        warn!("{warning}");
    }
    keep_memory_private();
    raise_descriptor_limit();

    // From here on: a signal that comes while it starts is heeded once it has.
    let signals = Signals::catch().context("cannot catch signals")?;
    let keyring = key_file::obtain(&settings.key_file, &settings.store)?;
    let store = SledStore::open(&settings.store, &keyring, &mut random()?)?;
    // Sealed data keys are open now; the wrapping keys are not needed again.
    drop(keyring);
    let datapath = datapath::open(&settings.datapath)?;
    info!("media path: {}", datapath.choice());
    let daemon = Daemon::start(Parts {
        config: settings.engine,
        connections: settings.connections,
        tls: settings.tls,
        control: settings.control,
        store: Box::new(store),
        keys: key_file::source(&settings.key_file),
        datapath,
        seed: seed()?,
        config_file: settings.file,
        store_path: settings.store,
        anchor_file: settings.anchor_file,
    })?;
    signals.stop(daemon.stop.clone()).context("cannot catch signals")?;
    for listen in daemon.listens() {
        info!("SIP arrives at {} {}", listen.transport, listen.local);
    }
    info!("vizard {} is ready, pid {}", env!("CARGO_PKG_VERSION"), process::id());
    notify::notify(notify::READY);

    match daemon.wait()? {
        Ended::Drained => info!("stopped; every call has ended and is recorded"),
        Ended::TimedOut => warn!("stopped; some calls had not ended in time and have no final record"),
        Ended::AtOnce => bail!("stopped by a second signal; calls in progress have no final record"),
    }
    Ok(())
}

/// Live calls hold real numbers in memory: no core dump, no debugger of the
/// same user. A system that refuses is served all the same.
fn keep_memory_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let kept = rustix::process::setrlimit(Resource::Core, none)
        .and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = kept {
        warn!("core dumps could not be switched off: {error}; a dump would hold callers' numbers");
    }
}

/// The socket path needs a descriptor per media port.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, most) {
        warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

/// The signals that stop the daemon, caught.
struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (terminate, interrupt) = {
            let _within = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        Ok(Self { runtime, terminate, interrupt })
    }

    /// Has them ask for a stop.
    fn stop(self, stop: StopFlag) -> anyhow::Result<()> {
        let Self { runtime, mut terminate, mut interrupt } = self;
        let listen = async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                info!("stopping; calls are being ended (a second signal does not wait for that)");
                notify::notify(notify::STOPPING);
                stop.ask();
            }
        };
        thread::Builder::new().name("vizard-signals".into()).spawn(move || runtime.block_on(listen))?;
        Ok(())
    }
}
