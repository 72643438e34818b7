//! A daemon in this process: real sockets on loopback, no disk.

mod audit;
mod call;
mod capture;
mod guard;

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::api::client::Client;
use crate::api::local::{Request, Response};
use crate::datapath::userspace::SocketDatapath;
use crate::engine::admin::{AdminReply, AdminRequest, RefusalKind};
use crate::engine::audit::Entry;
use crate::engine::call_record::Snapshot;
use crate::engine::flow::MediaPath;
use crate::engine::io::Transaction;
use crate::engine::privacy::tests::vault;
use crate::engine::privacy::{Epoch, Vault};
use crate::engine::sip::transport::Transport;
use crate::engine::time::Timestamp;
use crate::settings::{self, Overrides, Settings};
use crate::store::{
    AuditPage, AuditQuery, AuditReader, CdrPage, CdrQuery, CdrReader, CommitOutcome, StoreError, VaultReader,
};

const CONFIGURATION: &str = r#"
[sip]
listen = ["127.0.0.1:5060"]
[media]
path = "sockets"
[[media.address]]
name = "loopback"
local = "MEDIA"
[[trunk]]
name = "carrier"
target = "127.0.0.1:5080"
country = "US"
[[route]]
prefix = "*"
trunk = "carrier"
[emergency]
trunk = "carrier"
"#;

/// Takes everything and keeps nothing.
struct Sink {
    readable: bool,
}

impl Store for Sink {
    fn commit(&mut self, group: &[Transaction]) -> Result<Vec<CommitOutcome>, StoreError> {
        Ok(vec![CommitOutcome::Applied; group.len()])
    }

    fn load(&self) -> Result<Snapshot, StoreError> {
        let broken = || StoreError::Io { doing: "testing", problem: "the disk is on fire".into() };
        if self.readable { Ok(Snapshot::default()) } else { Err(broken()) }
    }

    fn vault(&self) -> Arc<Vault> {
        vault()
    }

    fn vault_reader(&self) -> Box<dyn VaultReader> {
        Box::new(Self { readable: self.readable })
    }

    fn reader(&self) -> Box<dyn CdrReader> {
        Box::new(Self { readable: self.readable })
    }

    fn audit(&self) -> Box<dyn AuditReader> {
        Box::new(Self { readable: self.readable })
    }
}

impl AuditReader for Sink {
    fn page(&self, _query: &AuditQuery) -> Result<AuditPage, StoreError> {
        Ok(AuditPage::default())
    }

    fn walk(&self, _visit: &mut dyn FnMut(u64, Result<Entry, String>)) -> Result<(), StoreError> {
        Ok(())
    }
}

impl VaultReader for Sink {
    fn sealed_before(&self, _: Epoch) -> Result<usize, StoreError> {
        Ok(0)
    }
}

impl CdrReader for Sink {
    fn cdrs(&self, query: &CdrQuery) -> Result<CdrPage, StoreError> {
        Err(StoreError::Io { doing: "testing", problem: format!("asked for {}", query.limit) })
    }

    fn cdrs_before(&self, _: Timestamp) -> Result<usize, StoreError> {
        Ok(0)
    }
}

/// Each daemon has a media address of its own, so that tests which run side by
/// side do not want each other's ports.
fn configuration() -> Settings {
    static DAEMONS: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = process::id().to_be_bytes();
    let media = Ipv4Addr::new(127, high | 1, low, DAEMONS.fetch_add(1, Ordering::Relaxed));
    let text = CONFIGURATION.replace("MEDIA", &media.to_string());
    let mut settings = settings::parse(Path::new("test.toml"), &text, &Overrides::default()).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    settings.engine.sip.listen[0] = Listen { transport: Transport::Udp, local: any, advertised: any };
    settings
}

fn parts(directory: &TempDir) -> Parts {
    let Settings { engine, datapath, connections, mut control, .. } = configuration();
    control.socket = directory.path().join("socket");
    Parts {
        config: engine,
        connections,
        tls: None,
        control,
        store: Box::new(Sink { readable: true }),
        keys: KeySource::Environment,
        datapath: Box::new(SocketDatapath::open(&datapath, "a test".into()).unwrap()),
        seed: [7; 32],
        config_file: "test.toml".into(),
        store_path: "nowhere".into(),
        anchor_file: directory.path().join("audit.anchor"),
    }
}

fn client(directory: &TempDir) -> Client {
    Client::connect(&directory.path().join("socket"), Duration::from_secs(5)).unwrap()
}

fn status(client: &mut Client) -> Status {
    match client.ask(Request::Status).unwrap() {
        Response::Status(status) => *status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_status_says_where_the_daemon_is_and_what_it_counted() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(parts(&directory)).unwrap();
    let mut client = client(&directory);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..100 {
        peer.send_to(b"not SIP", daemon.listens()[0].local).unwrap();
    }
    // A turn may have looked for messages before all of these came, and be asked after.
    let give_up = std::time::Instant::now() + Duration::from_secs(10);
    let mut status = status(&mut client);
    while !status.counters.contains(&("udp.received".into(), 100)) && std::time::Instant::now() < give_up {
        status = self::status(&mut client);
    }
    assert_eq!(status.listen, [daemon.listens()[0].local]);
    assert_eq!(status.datapath.path, MediaPath::Sockets);
    assert!(status.verdicts.iter().any(|count| count.verdict == "no-flow"));
    assert!(status.counters.contains(&("udp.received".into(), 100)), "{:?}", status.counters);
    assert_eq!((status.pid, status.config), (process::id(), "test.toml".into()));
}

#[test]
fn requests_reach_the_engine_and_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let _daemon = Daemon::start(parts(&directory)).unwrap();
    let mut client = client(&directory);
    let calls = client.ask(Request::Admin(AdminRequest::CallsList)).unwrap();
    assert_eq!(calls, Response::Admin(AdminReply::Calls(Vec::new())));
    let query = CdrQuery { limit: usize::MAX, ..CdrQuery::default() };
    let Response::Refused(refusal) = client.ask(Request::CdrList(query)).unwrap() else { panic!() };
    assert_eq!(refusal.kind, RefusalKind::Unavailable);
    assert!(refusal.what.contains("asked for 10000"), "the number of records is bounded: {refusal:?}");
}

#[test]
fn many_clients_are_served_side_by_side() {
    let directory = tempfile::tempdir().unwrap();
    let _daemon = Daemon::start(parts(&directory)).unwrap();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut client = client(&directory);
                for _ in 0..20 {
                    status(&mut client);
                }
            });
        }
    });
}

#[test]
fn a_stop_without_calls_is_over_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(parts(&directory)).unwrap();
    let begun = std::time::Instant::now();
    daemon.stop();
    assert_eq!(daemon.wait().unwrap(), Ended::Drained);
    assert!(begun.elapsed() < Duration::from_millis(900), "no sleep was in the way");
    assert!(!directory.path().join("socket").exists());
}

#[test]
fn a_signalling_port_in_use_names_its_process() {
    let directory = tempfile::tempdir().unwrap();
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut parts = parts(&directory);
    parts.config.sip.listen[0].local = held.local_addr().unwrap();
    let error = format!("{:#}", Daemon::start(parts).err().unwrap());
    assert!(error.contains(&format!("(pid {})", process::id())), "{error}");
}

#[test]
fn a_second_daemon_on_the_same_socket_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Daemon::start(parts(&directory)).unwrap();
    let error = format!("{:#}", Daemon::start(parts(&directory)).err().unwrap());
    assert!(error.contains(&process::id().to_string()), "{error}");
    status(&mut client(&directory));
}

#[test]
fn a_store_that_cannot_be_read_ends_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let parts = Parts { store: Box::new(Sink { readable: false }), ..parts(&directory) };
    let error = format!("{:#}", Daemon::start(parts).err().unwrap());
    assert!(error.contains("on fire"), "{error}");
    assert!(!directory.path().join("socket").exists());
}
