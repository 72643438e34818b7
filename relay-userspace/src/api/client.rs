//! The command line's end: blocking, one request at a time, never waiting
//! longer than its patience.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::frame::{self, FrameError, Lines, MAX_REQUEST, MAX_RESPONSE};
use super::local::{Answer, Call, Hello, PROTOCOL, Request, Response};

/// How long the daemon may take for an answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
    lines: Lines,
    hello: Hello,
    last_id: u64,
}

impl Client {
    /// Connects, and checks that the daemon speaks our protocol.
    pub fn connect(socket: &Path, patience: Duration) -> Result<Self, ClientError> {
        let socket = socket.to_owned();
        let stream = UnixStream::connect(&socket).map_err(|error| unreachable(&socket, error))?;
        let configured =
            stream.set_read_timeout(Some(patience)).and_then(|()| stream.set_write_timeout(Some(patience)));
        configured.map_err(|problem| ClientError::Broken { socket: socket.clone(), problem })?;
        let (stream, lines) = (BufReader::new(stream), Lines::new(MAX_RESPONSE));
        let hello = Hello { vizard: String::new(), protocol: PROTOCOL, pid: 0 };
        let mut client = Self { socket, stream, lines, hello, last_id: 0 };
        client.hello = client.read()?;
        if client.hello.protocol != PROTOCOL {
            let (theirs, version) = (client.hello.protocol, client.hello.vizard);
            return Err(ClientError::Version { socket: client.socket, theirs, version });
        }
        Ok(client)
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self, request: Request) -> Result<Response, ClientError> {
        self.send(request)?;
        self.more()
    }

    fn send(&mut self, request: Request) -> Result<(), ClientError> {
        self.last_id += 1;
        let call = Call { id: self.last_id, request };
        let line = frame::encode(&call, MAX_REQUEST).map_err(|problem| self.misunderstood(problem))?;
        self.stream.get_mut().write_all(&line).map_err(|error| self.broken(error))
    }

    /// Waits for a further answer to the same request.
    pub fn more(&mut self) -> Result<Response, ClientError> {
        let answer: Answer = self.read()?;
        // A request that could not be read is refused without its number.
        if answer.id != self.last_id && answer.id != 0 {
            return Err(self.misunderstood(FrameError::Malformed { sort: "sequence", column: 0 }));
        }
        Ok(answer.response)
    }

    /// What the daemon said of itself.
    #[must_use]
    pub const fn daemon(&self) -> &Hello {
        &self.hello
    }

    fn read<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        loop {
            let chunk = match self.stream.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(error)),
            };
            if chunk.is_empty() {
                return Err(ClientError::Closed { socket: self.socket.clone() });
            }
            let (taken, line) = self.lines.take(chunk).map_err(|problem| self.misunderstood(problem))?;
            self.stream.consume(taken);
            if let Some(line) = line {
                return frame::decode(&line).map_err(|problem| self.misunderstood(problem));
            }
        }
    }

    fn broken(&self, problem: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match problem.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::Silent { socket },
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => ClientError::Closed { socket },
            _ => ClientError::Broken { socket, problem },
        }
    }

    fn misunderstood(&self, problem: FrameError) -> ClientError {
        ClientError::Misunderstood { socket: self.socket.clone(), problem }
    }
}

/// Why the daemon could not be asked.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no daemon answers at {}: {problem}", socket.display())]
    NotRunning {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        problem: io::Error,
    },
    /// This user may not connect.
    #[error("this user may not use {}", socket.display())]
    Denied {
        /// The socket.
        socket: PathBuf,
    },
    /// No answer in time.
    #[error("the daemon at {} did not answer in time", socket.display())]
    Silent {
        /// The socket.
        socket: PathBuf,
    },
    /// The daemon hung up.
    #[error("the daemon at {} closed the connection", socket.display())]
    Closed {
        /// The socket.
        socket: PathBuf,
    },
    /// It speaks another protocol.
    #[error("the daemon at {} is version {version} and speaks protocol {theirs}, not {PROTOCOL}", socket.display())]
    Version {
        /// The socket.
        socket: PathBuf,
        /// Its protocol.
        theirs: u32,
        /// Its version.
        version: String,
    },
    /// What came is no answer, or what should go is no request.
    #[error("the daemon at {} and this command do not understand each other: {problem}", socket.display())]
    Misunderstood {
        /// The socket.
        socket: PathBuf,
        /// What is wrong.
        problem: FrameError,
    },
    /// The connection failed.
    #[error("the connection to {} failed: {problem}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        problem: io::Error,
    },
}

impl ClientError {
    /// How to mend it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NotRunning { .. } => {
                "start it with `vizard run` (or `systemctl start vizard`), or name its socket with --socket or VIZARD_SOCKET"
            }
            Self::Denied { .. } => {
                "run as root, or join the group that control.group names in the configuration"
            }
            Self::Silent { .. } => "see its log; it may be overloaded or stopped by a debugger",
            Self::Closed { .. } => "see its log for the reason, then try again",
            Self::Version { .. } => "use the vizard command of the same version as the daemon",
            Self::Misunderstood { problem, .. } => match problem {
                FrameError::TooLong { .. } => "ask for less at a time, for example with --limit",
                FrameError::Truncated | FrameError::Malformed { .. } => {
                    "make sure that the socket is Vizard's, and both are of one version"
                }
            },
            Self::Broken { .. } => "try again; see the daemon's log",
        }
    }
}

fn unreachable(socket: &Path, problem: io::Error) -> ClientError {
    let socket = socket.to_owned();
    match problem.kind() {
        ErrorKind::PermissionDenied => ClientError::Denied { socket },
        _ => ClientError::NotRunning { socket, problem },
    }
}
