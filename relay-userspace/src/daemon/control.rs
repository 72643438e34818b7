//! Serves the local socket: a thread of its own, so that a slow client costs a
//! call nothing.
//!
//! What is asked of the engine goes to its loop and comes back; records are
//! read beside it, on threads that may block.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tracing::debug;

use super::worker::{Ask, Door, refused};
use crate::api::local::{Request, Response};
use crate::api::server::{Connection, Listener};
use crate::settings::Control;
use crate::store::{CdrQuery, CdrReader};

/// Records in one answer; more are asked for in pieces.
const RECORDS: usize = 10_000;
/// Reads of the store at a time.
const READERS: usize = 2;

/// The thread that serves the local socket.
pub(super) struct ControlServer {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl ControlServer {
    /// Binds the socket and serves it.
    pub(super) fn start(control: &Control, door: Door, reader: Box<dyn CdrReader>) -> anyhow::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (bound, binding) = sync_channel(1);
        let (control, reader) = (control.clone(), Arc::from(reader));
        let serve = move || match bind(&control) {
            Ok((runtime, listener)) => {
                let _the_starter_waits = bound.send(Ok(()));
                runtime.block_on(serve(listener, door, reader, stopped));
            }
            Err(error) => {
                let _the_starter_waits = bound.send(Err(error));
            }
        };
        let thread = thread::Builder::new().name("vizard-control".into()).spawn(serve)?;
        binding.recv().context("the thread of the local socket ended before it began")??;
        Ok(Self { stop, thread })
    }

    /// Hangs up on everybody and removes the socket.
    pub(super) fn close(self) {
        drop(self.stop);
        let _its_panic_was_printed = self.thread.join();
    }
}

fn bind(control: &Control) -> anyhow::Result<(Runtime, Listener)> {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(READERS).build()?;
    let listener = {
        let _within = runtime.enter();
        Listener::bind(control)?
    };
    Ok((runtime, listener))
}

async fn serve(
    listener: Listener,
    door: Door,
    reader: Arc<dyn CdrReader>,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => return,
        };
        match accepted {
            Ok(connection) => {
                tokio::spawn(converse(connection, door.clone(), Arc::clone(&reader)));
            }
            Err(error) => refused_to_accept(&error).await,
        }
    }
}

/// Without a free descriptor `accept` fails at once, for as long as it lasts.
async fn refused_to_accept(error: &io::Error) {
    debug!("the local socket did not accept a connection: {error}");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

async fn converse(connection: Connection, door: Door, reader: Arc<dyn CdrReader>) {
    let peer = connection.peer();
    let handle = |_peer, request: Request| {
        let (door, reader) = (door.clone(), Arc::clone(&reader));
        async move {
            match Ask::try_from(request) {
                Ok(ask) => door.ask(ask).await,
                Err(query) => records(reader, query).await,
            }
        }
    };
    if let Err(error) = connection.serve(handle).await {
        debug!("a local connection of user {} ended: {error}", peer.user);
    }
}

async fn records(reader: Arc<dyn CdrReader>, query: CdrQuery) -> Response {
    let query = CdrQuery { limit: query.limit.min(RECORDS), ..query };
    let read = tokio::task::spawn_blocking(move || reader.cdrs(&query)).await;
    match read {
        Ok(Ok(cdrs)) => Response::Cdrs(cdrs),
        Ok(Err(error)) => refused(&error.to_string(), "try again; if it stays, check the disk"),
        Err(_) => refused("reading the records failed", "look into the log"),
    }
}
