//! Both ends against each other, and each against nonsense.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use super::client::{Client, ClientError};
use super::frame::{self, FrameError, Lines, MAX_REQUEST};
use super::local::{Answer, Call, Hello, PROTOCOL, Request, Response};
use super::server::{BindError, Listener};
use crate::engine::admin::{AdminReply, AdminRequest, NewBinding, NumberWish, Refusal, RefusalKind};
use crate::engine::number::Typed;
use crate::settings::Control;

const PATIENCE: Duration = Duration::from_secs(5);

fn control(directory: &tempfile::TempDir) -> Control {
    Control { socket: directory.path().join("run/v.sock"), group: None, mode: 0o660, roles: BTreeMap::new() }
}

/// A daemon on a thread of its own; dropping it is its orderly end.
struct Daemon {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Answers a request for the status with counters and refuses all others.
fn serve(control: &Control) -> Daemon {
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let control = control.clone();
    let thread = std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = Listener::bind(&control).unwrap();
            ready.send(()).unwrap();
            loop {
                let connection = tokio::select! {
                    connection = listener.accept() => connection.unwrap(),
                    _ = &mut stopped => return,
                };
                assert_eq!(connection.peer().user, rustix::process::getuid().as_raw());
                tokio::spawn(connection.serve(|_, request| async move {
                    match request {
                        Request::Status => counters(),
                        Request::CdrList(_)
                        | Request::AuditList(_)
                        | Request::AuditVerify
                        | Request::Admin(_)
                        | Request::CdrCount(_)
                        | Request::Backup
                        | Request::VaultStatus
                        | Request::Capture(_) => refusal(),
                    }
                }));
            }
        });
    });
    is_ready.recv().unwrap();
    Daemon { stop: Some(stop), thread: Some(thread) }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn counters() -> Response {
    Response::Admin(AdminReply::Counters(vec![("a".to_owned(), u64::MAX)]))
}

fn refusal() -> Response {
    Response::Refused(Refusal {
        kind: RefusalKind::NotFound,
        what: "no such thing".to_owned(),
        remedy: "look elsewhere".to_owned(),
    })
}

#[test]
fn requests_and_answers_cross_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let control = control(&directory);
    let _daemon = serve(&control);
    let mut client = Client::connect(&control.socket, PATIENCE).unwrap();
    assert_eq!(client.daemon().pid, std::process::id());
    for _ in 0..3 {
        assert_eq!(client.ask(Request::Status).unwrap(), counters());
        assert_eq!(client.ask(Request::Admin(AdminRequest::CallsList)).unwrap(), refusal());
    }
    let mode = std::fs::metadata(&control.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn a_request_with_numbers_survives_the_wire_and_never_prints() {
    let binding = NewBinding {
        tenant: "t".to_owned(),
        project: "p".to_owned(),
        kind: crate::engine::directory::BindingKind::Case,
        key: "case-1".to_owned(),
        customer: Typed("+12125551200".to_owned()),
        agent: Typed("101@pbx".to_owned()),
        time_to_live: Some(Duration::from_millis(1500)),
        numbers: NumberWish { country: Some("US".parse().unwrap()), ..NumberWish::default() },
        encryption: None,
        also: [Vec::new(), Vec::new()],
        one_number: false,
        usage: crate::engine::directory::UsageWish::default(),
        tags: Vec::new(),
    };
    let call = Call { id: 7, request: Request::Admin(AdminRequest::BindCreate(binding)) };
    assert!(!format!("{call:?}").contains("2125551200"));
    let line = frame::encode(&call, MAX_REQUEST).unwrap();
    assert_eq!(line.iter().position(|&b| b == b'\n'), Some(line.len() - 1));
    let back: Call = frame::decode(&line).unwrap();
    assert_eq!(frame::encode(&back, MAX_REQUEST).unwrap(), line);
}

#[test]
fn a_malformed_line_is_not_echoed() {
    let error = frame::decode::<Call>(br#"{"id":1,"request":{"admin":{"do":"+12125551200"}}}"#).unwrap_err();
    assert!(!error.to_string().contains("2125551200"), "{error}");
}

#[test]
fn nonsense_is_refused_and_the_connection_closed() {
    let directory = tempfile::tempdir().unwrap();
    let control = control(&directory);
    let _daemon = serve(&control);
    for nonsense in [&b"GET / HTTP/1.1\r\n"[..], b"{}\n", b"\xff\xfe\n", b"[[[[[[[\n"] {
        let mut stream = UnixStream::connect(&control.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(nonsense).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let lines: Vec<&[u8]> = all.split_inclusive(|&b| b == b'\n').collect();
        frame::decode::<Hello>(lines[0]).unwrap();
        let answer: Answer = frame::decode(lines[1]).unwrap();
        assert!(
            matches!(answer.response, Response::Refused(ref r) if r.kind == RefusalKind::Invalid),
            "{answer:?}"
        );
        assert_eq!((answer.id, lines.len()), (0, 2));
    }
    // Others are served on.
    Client::connect(&control.socket, PATIENCE).unwrap().ask(Request::Status).unwrap();
}

#[test]
fn lines_are_bounded_however_they_arrive() {
    for chunk in [1, 7, 64] {
        let mut lines = Lines::new(10);
        let text = b"123456789\nabc\n1234567890\n";
        let mut got = Vec::new();
        let mut failed = None;
        'all: for part in text.chunks(chunk) {
            let mut rest = part;
            while !rest.is_empty() {
                match lines.take(rest) {
                    Ok((taken, line)) => {
                        got.extend(line);
                        rest = &rest[taken..];
                    }
                    Err(error) => {
                        failed = Some(error);
                        break 'all;
                    }
                }
            }
        }
        assert_eq!(got, [&b"123456789\n"[..], b"abc\n"], "in chunks of {chunk}");
        assert_eq!(failed, Some(FrameError::TooLong { limit: 10 }), "in chunks of {chunk}");
    }
    let mut lines = Lines::new(10);
    lines.take(b"abc").unwrap();
    assert_eq!(lines.finish(), Err(FrameError::Truncated));
    assert!(matches!(frame::encode(&"x".repeat(64), 16), Err(FrameError::TooLong { limit: 16 })));
}

#[test]
fn a_second_daemon_is_told_who_is_first_and_a_dead_ones_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let control = control(&directory);
    let daemon = serve(&control);
    let runtime = runtime();
    let _guard = runtime.enter();
    let error = Listener::bind(&control).unwrap_err();
    let expected = format!("process {}", std::process::id());
    assert!(matches!(&error, BindError::AlreadyRunning { by, .. } if by.starts_with(&expected)), "{error}");
    Client::connect(&control.socket, PATIENCE).expect("the first is untouched");
    drop(daemon);
    assert!(!control.socket.exists(), "an orderly end leaves no socket");

    // What a killed daemon leaves: a socket that nobody listens on.
    drop(UnixListener::bind(&control.socket).unwrap());
    assert!(matches!(Client::connect(&control.socket, PATIENCE), Err(ClientError::NotRunning { .. })));
    drop(Listener::bind(&control).unwrap());

    std::fs::write(&control.socket, "a file").unwrap();
    assert!(matches!(Listener::bind(&control), Err(BindError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&control.socket).unwrap(), "a file", "nothing of others is removed");
}

#[test]
fn an_unknown_group_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let control = Control { group: Some("no-such-group".to_owned()), ..control(&directory) };
    let runtime = runtime();
    let _guard = runtime.enter();
    let error = Listener::bind(&control).unwrap_err();
    assert!(error.to_string().contains("no-such-group"), "{error}");
    assert!(!control.socket.exists());
}

#[test]
fn a_daemon_that_is_absent_silent_or_of_another_age_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("v.sock");
    let absent = Client::connect(&socket, PATIENCE).unwrap_err();
    assert!(matches!(absent, ClientError::NotRunning { .. }) && absent.remedy().contains("vizard run"));

    let listener = UnixListener::bind(&socket).unwrap();
    let silent = Client::connect(&socket, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(silent, ClientError::Silent { .. }), "{silent}");
    drop(listener.accept().unwrap());

    let hello = Hello { vizard: "9.9.9".to_owned(), protocol: PROTOCOL + 1, pid: 1 };
    let line = frame::encode(&hello, MAX_REQUEST).unwrap();
    let newer = std::thread::spawn(move || listener.accept().unwrap().0.write_all(&line));
    let error = Client::connect(&socket, PATIENCE).unwrap_err();
    assert!(matches!(&error, ClientError::Version { version, .. } if version == "9.9.9"), "{error}");
    newer.join().unwrap().unwrap();
}
