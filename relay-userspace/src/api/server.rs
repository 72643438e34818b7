//! The daemon's end of the local socket.
//!
//! One daemon a socket: a lock beside it, held for the process's life, decides
//! who is first and says who that was, so that a socket file left by a killed
//! daemon is replaced and a live one's never is. The socket listens only once it
//! has its group and mode, so there is no moment in which anybody may connect.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::future::Future;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::accounts::group_id;
use super::frame::{self, FrameError, Lines, MAX_REQUEST, MAX_RESPONSE};
use super::local::{Answer, Call, Hello, PROTOCOL, Request, Response};
use crate::engine::admin::{Refusal, RefusalKind};
use crate::settings::Control;

/// Connections at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// How long a connection may say nothing, or take to read an answer.
const IDLE: Duration = Duration::from_mins(1);

/// The daemon's socket. Dropping it removes the socket file.
#[derive(Debug)]
pub struct Listener {
    accepting: tokio::net::UnixListener,
    permits: Arc<Semaphore>,
    socket: PathBuf,
    /// Held, not read: the lock lasts as long as the file is open.
    _lock: File,
}

impl Listener {
    /// Binds the socket. Must be called within a tokio runtime.
    pub fn bind(control: &Control) -> Result<Self, BindError> {
        let socket = control.socket.clone();
        let failed = |doing: &'static str| {
            let socket = socket.clone();
            move |problem: io::Error| BindError::Failed { doing, socket, problem }
        };
        if let Some(directory) = socket.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
            made.map_err(failed("make the directory of"))?;
        }
        let lock = lock(&socket)?;
        match std::fs::symlink_metadata(&socket) {
            Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket { socket }),
            Ok(_) | Err(_) => {}
        }
        let listener = bind_with_mode(control).map_err(failed("bind"))?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(failed("listen on"))?;
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Ok(Self { accepting: listener, permits, socket, _lock: lock })
    }

    /// The next connection. Safe to cancel.
    pub async fn accept(&self) -> io::Result<Connection> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = self.accepting.accept().await?;
        let credentials = stream.peer_cred()?;
        let peer = Peer { user: credentials.uid(), group: credentials.gid(), pid: credentials.pid() };
        let groups = super::groups::of_peer(&stream).unwrap_or_default();
        let (reader, writer) = stream.into_split();
        let (reader, lines) = (BufReader::new(reader), Lines::new(MAX_REQUEST));
        Ok(Connection { reader, writer, lines, peer, groups, _permit: permit })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Nobody is left to tell; the next start replaces a socket that stays.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Who is at the other end, by the kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user id.
    pub user: u32,
    /// The group id.
    pub group: u32,
    /// The process, where it is in our process namespace.
    pub pid: Option<i32>,
}

/// A connection of one command.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    lines: Lines,
    peer: Peer,
    groups: Vec<u32>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Who asks.
    #[must_use]
    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// Whether whoever asks is in a group; its own or a supplementary one.
    #[must_use]
    pub fn is_in_group(&self, group: u32) -> bool {
        self.peer.group == group || self.groups.contains(&group)
    }

    /// Greets, then answers requests with what `handle` says until the other
    /// end hangs up, is silent for a minute, or talks nonsense (which is
    /// answered before hanging up).
    pub async fn serve<F, Fut>(mut self, mut handle: F) -> Result<(), ServeError>
    where
        F: FnMut(Peer, Request) -> Fut,
        Fut: Future<Output: Into<Reply>>,
    {
        let hello = Hello {
            vizard: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            pid: std::process::id(),
        };
        self.send(&frame::encode(&hello, MAX_RESPONSE)?).await?;
        loop {
            match timed(self.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Call { id, request })) => match handle(self.peer, request).await.into() {
                    Reply::One(response) => self.reply(id, *response).await?,
                    Reply::Many(responses) => self.reply_with(id, responses).await?,
                },
                Err(ServeError::Frame(problem)) => {
                    self.reply(0, Response::Refused(nonsense(&problem))).await?;
                    return Err(problem.into());
                }
                Err(error @ (ServeError::Idle | ServeError::Connection(_))) => return Err(error),
            }
        }
    }

    /// The next request; `None` when the other end has hung up. Safe to cancel.
    async fn next(&mut self) -> Result<Option<Call>, ServeError> {
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                self.lines.finish()?;
                return Ok(None);
            }
            let (taken, line) = self.lines.take(chunk)?;
            self.reader.consume(taken);
            if let Some(line) = line {
                return Ok(Some(frame::decode(&line)?));
            }
        }
    }

    /// Answers until there is nothing more to say, or the other end hangs up or
    /// says something else.
    async fn reply_with(
        &mut self,
        id: u64,
        mut responses: mpsc::Receiver<Response>,
    ) -> Result<(), ServeError> {
        loop {
            let response = tokio::select! {
                response = responses.recv() => response,
                _ = self.reader.fill_buf() => None,
            };
            let Some(response) = response else { return Ok(()) };
            self.reply(id, response).await?;
        }
    }

    async fn reply(&mut self, id: u64, response: Response) -> Result<(), ServeError> {
        let line = match frame::encode(&Answer { id, response }, MAX_RESPONSE) {
            Ok(line) => line,
            Err(problem) => {
                let refusal = Response::Refused(Refusal {
                    kind: RefusalKind::Exhausted,
                    what: format!("the answer does not fit: {problem}"),
                    remedy: "ask for less at a time, for example with --limit".to_owned(),
                });
                frame::encode(&Answer { id, response: refusal }, MAX_RESPONSE)?
            }
        };
        self.send(&line).await
    }

    async fn send(&mut self, line: &[u8]) -> Result<(), ServeError> {
        timed(async { Ok(self.writer.write_all(line).await?) }).await
    }
}

/// What a request is answered with.
#[derive(Debug)]
pub enum Reply {
    /// Once.
    One(Box<Response>),
    /// Again and again, until the sender is dropped.
    Many(mpsc::Receiver<Response>),
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::One(Box::new(response))
    }
}

/// Why a connection ended other than by hanging up.
#[derive(Debug, Error)]
pub enum ServeError {
    /// It said nothing, or read nothing, for too long.
    #[error("the connection was idle for {} seconds", IDLE.as_secs())]
    Idle,
    /// What came was no request.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Connection(#[from] io::Error),
}

/// Why the daemon cannot have its socket.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another daemon has it.
    #[error("{} is already served by {by}; stop that one, or set control.socket to another path", socket.display())]
    AlreadyRunning {
        /// The socket.
        socket: PathBuf,
        /// The process that has it, as far as can be known.
        by: String,
    },
    /// Something else has its name.
    #[error("{} exists and is not a socket; remove it, or set control.socket to another path", socket.display())]
    NotASocket {
        /// The path.
        socket: PathBuf,
    },
    /// A system call failed.
    #[error(
        "cannot {doing} the socket {}: {problem}; make its directory writable for this user and check control.group, \
         or set control.socket to another path",
        socket.display()
    )]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        problem: io::Error,
    },
}

async fn timed<T>(work: impl Future<Output = Result<T, ServeError>>) -> Result<T, ServeError> {
    tokio::time::timeout(IDLE, work).await.unwrap_or(Err(ServeError::Idle))
}

fn nonsense(problem: &FrameError) -> Refusal {
    Refusal {
        kind: RefusalKind::Invalid,
        what: problem.to_string(),
        remedy: format!("send one JSON request a line, protocol {PROTOCOL}"),
    }
}

/// The lock that makes this process the socket's only daemon.
fn lock(socket: &Path) -> Result<File, BindError> {
    let failed = |problem| BindError::Failed { doing: "lock", socket: socket.to_owned(), problem };
    let path = beside(socket, ".lock");
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.take(32).read_to_string(&mut pid);
            return Err(BindError::AlreadyRunning { socket: socket.to_owned(), by: process(pid.trim()) });
        }
        Err(TryLockError::Error(problem)) => return Err(failed(problem)),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

/// `process 4711 (vizard)`, as far as the system tells.
fn process(pid: &str) -> String {
    if pid.is_empty() || !pid.bytes().all(|b| b.is_ascii_digit()) {
        return "another process".to_owned();
    }
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim()),
        Err(_) => format!("process {pid}"),
    }
}

/// Under a temporary name until mode and group are right, then renamed over
/// whatever a killed daemon left.
fn bind_with_mode(control: &Control) -> io::Result<std::os::unix::net::UnixListener> {
    let temporary = beside(&control.socket, ".new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd: OwnedFd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&fd, &SocketAddrUnix::new(&temporary)?)?;
    let ready = finish_name(control, &temporary);
    if ready.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    ready?;
    rustix::net::listen(&fd, 128)?;
    Ok(fd.into())
}

fn finish_name(control: &Control, temporary: &Path) -> io::Result<()> {
    if let Some(group) = &control.group {
        std::os::unix::fs::chown(temporary, None, Some(group_id(group)?))?;
    }
    // After the group, since a change of owner may clear bits.
    std::fs::set_permissions(temporary, Permissions::from_mode(control.mode))?;
    std::fs::rename(temporary, &control.socket)
}

fn beside(socket: &Path, suffix: &str) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
