//! Serves the local socket: a thread of its own, so that a slow client costs a
//! call nothing.
//!
//! What is asked of the engine goes to its loop and comes back; records are
//! read beside it, on threads that may block. Whoever asks must have a role that
//! may ask for it; what nobody's role allows goes no further.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
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
use super::door::{Ask, Capture, Door, refused};
use super::keeper::KeeperDoor;
use crate::api::local::{CaptureRequest, Request, Response};
use crate::api::permissions::{Caller, Members};
use crate::api::server::{Connection, Listener, Reply};
use crate::datapath::tap::TapStream;
use crate::engine::admin::{AdminReply, AdminRequest};
use crate::engine::audit::Verifier;
use crate::engine::privacy::Asker;
use crate::engine::time::Timestamp;
use crate::engine::unmask::{Subject, UnmaskRequest};
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
    members: Members,
    /// Requests that nobody's role allowed.
    forbidden: AtomicU64,
    /// Of these, how many the audit log says nothing of.
    unnoted: AtomicU64,
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
        let members = Members::resolve(&control.roles).context("[roles]")?;
        let desk = Arc::new(Desk {
            door,
            keeper,
            records,
            members,
            forbidden: AtomicU64::new(0),
            unnoted: AtomicU64::new(0),
        });
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
    let roles = desk.members.roles(peer.user, |group| connection.is_in_group(group));
    let caller = Caller::new(peer, roles);
    let handle = |_, request: Request| {
        let (desk, caller) = (Arc::clone(&desk), caller.clone());
        async move {
            match caller.asks(&request) {
                Ok(asker) => desk.answer(asker, request).await,
                Err(refusal) => {
                    desk.denied(&caller, request).await;
                    Response::Refused(refusal).into()
                }
            }
        }
    };
    if let Err(error) = connection.serve(handle).await {
        debug!("a local connection of user {} ended: {error}", peer.user);
    }
}

impl Desk {
    /// Answers what may be asked.
    async fn answer(&self, asker: Asker, request: Request) -> Reply {
        match request {
            Request::Admin(mut request) => {
                if let AdminRequest::Unmask(wanted) = &mut request {
                    self.records.complete(wanted).await;
                }
                self.door.ask(Ask::Admin(asker, request)).await.into()
            }
            Request::Status => self.status(asker).await.into(),
            Request::VaultStatus => self.vault_status(asker).await.into(),
            Request::CdrList(query) => self.records.cdrs(query).await.into(),
            Request::CdrCount(before) => self.records.count(before).await.into(),
            Request::Backup => backup(self, asker).await,
            Request::AuditList(query) => self.records.entries(query).await.into(),
            Request::AuditVerify => self.records.verify().await.into(),
            Request::Capture(request) => capture(&self.door, asker, request).await,
        }
    }

    async fn status(&self, asker: Asker) -> Response {
        let mut response = self.door.ask(Ask::Status(asker)).await;
        if let Response::Status(status) = &mut response {
            let counted = [("api.forbidden", &self.forbidden), ("api.denials_unnoted", &self.unnoted)];
            let counted = counted.map(|(name, count)| (name.to_owned(), count.load(Ordering::Relaxed)));
            status.counters.extend(counted);
        }
        response
    }

    async fn vault_status(&self, asker: Asker) -> Response {
        match self.door.ask(Ask::Admin(asker, AdminRequest::Vault)).await {
            Response::Admin(AdminReply::Vault(count)) => {
                Response::Vault { count, phase: self.keeper.phase() }
            }
            other => other,
        }
    }

    /// Counts a refusal, and has it noted where the act would have been before it is
    /// told: whoever is refused has left their entry.
    async fn denied(&self, caller: &Caller, request: Request) {
        self.forbidden.fetch_add(1, Ordering::Relaxed);
        let request = match request {
            Request::Admin(request) => request,
            Request::Capture(CaptureRequest { session, unmasked }) => {
                AdminRequest::Capture { session, masked: !unmasked }
            }
            Request::Backup => AdminRequest::Backup,
            Request::Status
            | Request::VaultStatus
            | Request::CdrList(_)
            | Request::CdrCount(_)
            | Request::AuditList(_)
            | Request::AuditVerify => return,
        };
        let noted = self.door.ask(Ask::Denied(caller.asker(None), request)).await;
        if noted != Response::Admin(AdminReply::Noted) {
            self.unnoted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Begins a capture, whose packets then come as further answers.
async fn capture(door: &Door, asker: Asker, request: CaptureRequest) -> Reply {
    let CaptureRequest { session, unmasked } = request;
    let (sink, copies) = TapStream::new();
    let wanted = Capture { session, asker, masked: !unmasked, sink };
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

impl Records {
    /// Fills in the binding of a call that is over: its record names it.
    async fn complete(&self, wanted: &mut UnmaskRequest) {
        let UnmaskRequest::Show { of: Subject::Session(session), recorded, .. } = wanted else { return };
        let query = CdrQuery { session: Some(*session), limit: 1, ..CdrQuery::default() };
        if let Response::Cdrs(page) = self.cdrs(query).await {
            *recorded = page.cdrs.first().and_then(|cdr| cdr.binding);
        }
    }

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
