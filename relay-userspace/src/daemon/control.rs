//! Serves the local socket: a thread of its own, so that a slow client costs a
//! call nothing.
//!
//! What is asked of the engine goes to its loop and comes back; records are
//! read beside it, on threads that may block.

use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::anchor_file::AnchorFile;
use super::capture;
use super::keeper::KeeperDoor;
use super::worker::{Ask, Capture, Door, refused};
use crate::api::accounts::{group_id, user_name};
use crate::api::local::{CaptureRequest, Request, Response};
use crate::api::server::{Connection, Listener, Peer, Reply};
use crate::datapath::tap::TapStream;
use crate::engine::admin::{AdminReply, AdminRequest, Refusal, RefusalKind};
use crate::engine::audit::Verifier;
use crate::engine::privacy::{Asker, Role};
use crate::engine::time::Timestamp;
use crate::settings::Control;
use crate::store::{AuditQuery, AuditReader, BackupSource, CdrQuery, CdrReader, Copied, Store, StoreError};

/// Records and entries in one answer; more are asked for in pieces.
const RECORDS: usize = 10_000;
/// Answers of a capture that wait for a slow reader.
const ANSWERS: usize = 4;
/// Reads of the store at a time.
const READERS: usize = 2;

/// What everybody at the socket is served from.
struct Desk {
    door: Door,
    keeper: KeeperDoor,
    records: Records,
    /// The group that may see real addresses.
    unmask: Option<u32>,
}

/// What is read beside the engine.
#[derive(Clone)]
pub(super) struct Records {
    cdrs: Arc<dyn CdrReader>,
    audit: Arc<dyn AuditReader>,
    anchor: AnchorFile,
    /// Copies the store, once at a time.
    copy: Option<Arc<Mutex<Box<dyn BackupSource>>>>,
}

impl Records {
    /// Of a store, and the anchor of its audit log.
    pub(super) fn of(store: &dyn Store, anchor: AnchorFile) -> Self {
        Self {
            cdrs: Arc::from(store.reader()),
            audit: Arc::from(store.audit()),
            anchor,
            copy: store.copy().map(|copy| Arc::new(Mutex::new(copy))),
        }
    }
}

/// The thread that serves the local socket.
pub(super) struct ControlServer {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl ControlServer {
    /// Binds the socket and serves it.
    pub(super) fn start(
        control: &Control,
        door: Door,
        keeper: KeeperDoor,
        records: Records,
    ) -> anyhow::Result<Self> {
        let unmask = control.unmask_group.as_deref().map(group_id).transpose();
        let unmask = unmask.context("control.unmask_group")?;
        let desk = Arc::new(Desk { door, keeper, records, unmask });
        let (stop, stopped) = oneshot::channel();
        let (bound, binding) = sync_channel(1);
        let control = control.clone();
        let serve = move || match bind(&control) {
            Ok((runtime, listener)) => {
                let _the_starter_waits = bound.send(Ok(()));
                runtime.block_on(serve(listener, desk, stopped));
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

async fn serve(listener: Listener, desk: Arc<Desk>, mut stopped: oneshot::Receiver<()>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => return,
        };
        match accepted {
            Ok(connection) => {
                tokio::spawn(converse(connection, Arc::clone(&desk)));
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

async fn converse(connection: Connection, desk: Arc<Desk>) {
    let peer = connection.peer();
    let may_unmask = peer.user == 0 || desk.unmask.is_some_and(|group| connection.is_in_group(group));
    let handle = |peer: Peer, request: Request| {
        let desk = Arc::clone(&desk);
        async move {
            match request {
                Request::Admin(request) => desk.door.ask(Ask::Admin(asker(peer), request)).await.into(),
                Request::Status => desk.door.ask(Ask::Status(asker(peer))).await.into(),
                Request::VaultStatus => vault_status(&desk, asker(peer)).await.into(),
                Request::CdrList(query) => desk.records.cdrs(query).await.into(),
                Request::CdrCount(before) => desk.records.count(before).await.into(),
                Request::Backup => backup(&desk, asker(peer)).await,
                Request::AuditList(query) => desk.records.entries(query).await.into(),
                Request::AuditVerify => desk.records.verify().await.into(),
                Request::Capture(request) => capture(&desk.door, peer, may_unmask, request).await,
            }
        }
    };
    if let Err(error) = connection.serve(handle).await {
        debug!("a local connection of user {} ended: {error}", peer.user);
    }
}

/// Begins a capture, whose packets then come as further answers.
async fn capture(door: &Door, peer: Peer, may_unmask: bool, request: CaptureRequest) -> Reply {
    let CaptureRequest { session, unmasked } = request;
    if unmasked && !may_unmask {
        return Response::Refused(Refusal {
            kind: RefusalKind::Forbidden,
            what: format!("user {} may not see real addresses", peer.user),
            remedy: "capture masked, run as root, or join the group that control.unmask_group names".into(),
        })
        .into();
    }
    let (sink, copies) = TapStream::new();
    let wanted = Capture { session, asker: asker(peer), masked: !unmasked, sink };
    let begun = door.ask(Ask::Capture(wanted)).await;
    if begun != Response::Capturing {
        return begun.into();
    }
    let (operator, answers) = mpsc::channel(ANSWERS);
    let _there_is_room = operator.try_send(begun);
    tokio::spawn(capture::stream(copies, !unmasked, operator, door.clone(), session));
    Reply::Many(answers)
}

/// Copies the store for as long as the asker takes it.
async fn backup(desk: &Desk, asker: Asker) -> Reply {
    let noted = desk.door.ask(Ask::Admin(asker, AdminRequest::Backup)).await;
    if noted != Response::Admin(AdminReply::Noted) {
        return noted.into();
    }
    let Some(copy) = desk.records.copy.clone() else {
        return refused("this store does not outlast its process", "there is nothing to copy").into();
    };
    let (operator, answers) = mpsc::channel(ANSWERS);
    tokio::task::spawn_blocking(move || {
        let Ok(copy) = copy.try_lock() else {
            let busy = refused("another backup is being made", "wait for its end");
            let _hung_up = operator.blocking_send(busy);
            return;
        };
        let copied = copy.copy(&mut |piece| {
            let bytes = STANDARD.encode(piece);
            operator.blocking_send(Response::BackupPiece { bytes }).is_ok()
        });
        let last = match copied {
            Ok(Copied { whole: false, .. }) => return,
            Ok(Copied { rows, data_keys, .. }) => Response::BackupEnded { rows, data_keys },
            Err(error) => refused(&error.to_string(), "try again; if it stays, check the disk"),
        };
        let _hung_up = operator.blocking_send(last);
    });
    Reply::Many(answers)
}

async fn vault_status(desk: &Desk, asker: Asker) -> Response {
    match desk.door.ask(Ask::Admin(asker, AdminRequest::Vault)).await {
        Response::Admin(AdminReply::Vault(count)) => Response::Vault { count, phase: desk.keeper.phase() },
        other => other,
    }
}

/// Who asks. Whoever may use the socket may ask for everything.
fn asker(peer: Peer) -> Asker {
    Asker { user: peer.user, name: user_name(peer.user), role: Role::Admin }
}

impl Records {
    async fn cdrs(&self, query: CdrQuery) -> Response {
        let query = CdrQuery { limit: query.limit.min(RECORDS), ..query };
        let reader = Arc::clone(&self.cdrs);
        read("the records", move || reader.cdrs(&query).map(Response::Cdrs)).await
    }

    async fn count(&self, before: Timestamp) -> Response {
        let reader = Arc::clone(&self.cdrs);
        read("the records", move || reader.cdrs_before(before).map(Response::Count)).await
    }

    async fn entries(&self, query: AuditQuery) -> Response {
        let query = AuditQuery { limit: query.limit.min(RECORDS), ..query };
        let reader = Arc::clone(&self.audit);
        read("the audit log", move || reader.page(&query).map(Response::Audit)).await
    }

    async fn verify(&self) -> Response {
        let (reader, anchor) = (Arc::clone(&self.audit), self.anchor.clone());
        read("the audit log", move || {
            // Before the log: what is added meanwhile is beyond the anchor, not cut off.
            let end = match anchor.read() {
                Ok(Some(anchor)) => Ok(anchor),
                Ok(None) => Err("its anchor is not there".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            let mut verifier = Verifier::new(anchor.notary(), end);
            reader.walk(&mut |seq, entry| verifier.take(seq, entry))?;
            Ok(Response::AuditVerified(Box::new(verifier.finish())))
        })
        .await
    }
}

/// On a thread that may block.
async fn read(
    what: &'static str,
    read: impl FnOnce() -> Result<Response, StoreError> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => refused(&error.to_string(), "try again; if it stays, check the disk"),
        Err(_) => refused(&format!("reading {what} failed"), "look into the log"),
    }
}
