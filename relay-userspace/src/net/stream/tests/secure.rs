//! TLS: who is believed, who is not, and what is said when not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::*;
use crate::engine::targets::Targets;
use crate::net::tls::TlsFiles;

/// Two authorities that know nothing of each other, and files signed by them.
struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca"), issuer.pem()).unwrap();
        Self { directory, issuer }
    }

    /// Files for somebody of this name, who believes `trusted`.
    fn files(&self, name: &str, trusted: &Self) -> TlsFiles {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |kind: &str| self.directory.path().join(format!("{name}.{kind}"));
        fs::write(path("crt"), certificate.pem()).unwrap();
        fs::write(path("key"), key.serialize_pem()).unwrap();
        fs::set_permissions(path("key"), fs::Permissions::from_mode(0o600)).unwrap();
        TlsFiles {
            certificate: path("crt"),
            key: path("key"),
            ca: Some(trusted.directory.path().join("ca")),
            client_ca: None,
        }
    }

    fn party(&self, name: &str, trusted: &Self) -> Tls {
        Tls::load(&self.files(name, trusted)).unwrap()
    }
}

/// A trunk that speaks TLS at this address.
fn tls_trunk(target: Option<SocketAddr>, name: Option<&str>, client_certificate: bool) -> Arc<Config> {
    trunk(|trunk| {
        trunk.transport = Transport::Tls;
        trunk.targets = target.map_or_else(|| trunk.targets.clone(), Targets::one);
        trunk.tls.name = name.map(str::to_owned);
        trunk.tls.client_certificate = client_certificate;
    })
}

/// A peer in a thread of its own that connects, sends a message and reads an answer.
fn caller(to: SocketAddr, tls: Tls, name: &'static str) -> std::thread::JoinHandle<io::Result<String>> {
    std::thread::spawn(move || {
        let socket = TcpStream::connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let rustls::Connection::Client(client) = tls.connect(Some(name), to.ip()).unwrap() else { panic!() };
        let mut stream: StreamOwned<ClientConnection, _> = StreamOwned::new(client, socket);
        stream.write_all(message(1).as_bytes())?;
        let mut answer = [0; 6];
        stream.read_exact(&mut answer)?;
        Ok(String::from_utf8(answer.to_vec()).unwrap())
    })
}

/// A peer that listens, reads a message, and answers it.
fn callee(listener: TcpListener, tls: Tls) -> std::thread::JoinHandle<io::Result<String>> {
    std::thread::spawn(move || {
        let (socket, _) = listener.accept()?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let rustls::Connection::Server(server) = tls.accept(true).unwrap() else { panic!() };
        let mut stream: StreamOwned<ServerConnection, _> = StreamOwned::new(server, socket);
        let mut bytes = [0; 7];
        stream.read_exact(&mut bytes)?;
        stream.write_all(message(2).as_bytes())?;
        stream.flush()?;
        // Until the other end is done with it.
        let _closed = stream.read(&mut [0]);
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    })
}

#[test]
fn a_peer_is_heard_and_answered_with_a_certificate_of_its_own_or_without() {
    let ours = Authority::new();
    for mutual in [false, true] {
        let config = tls_trunk(None, Some("carrier.example"), mutual);
        let mut world = World::over(Transport::Tls, config, Some(ours.party("vizard.example", &ours)));
        let peer = caller(world.local, ours.party("carrier.example", &ours), "vizard.example");
        world.until("heard", |world| world.received.len() == 1);
        let (way, text) = world.received[0].clone();
        assert_eq!((way.transport, way.local, text), (Transport::Tls, world.local, message(1)));
        world.send(way, "answer");
        world.until("gone", |world| world.lost.len() == 1);
        assert_eq!(peer.join().unwrap().unwrap(), "answer");
    }
}

#[test]
fn who_must_show_a_certificate_is_refused_without_a_right_one() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let stranger = foreign.party("carrier.example", &ours);
    let another = ours.party("other.example", &ours);
    // Without a name it is the target's address that must be named.
    let nobody = ours.party("carrier.example", &ours);
    for (who, peer, name) in [
        ("of another authority", stranger, Some("carrier.example")),
        ("another customer's", another, Some("carrier.example")),
        ("of no address", nobody, None),
    ] {
        let config = tls_trunk(None, name, true);
        let mut world = World::over(Transport::Tls, config, Some(ours.party("vizard.example", &ours)));
        let peer = caller(world.local, peer, "vizard.example");
        world.until(who, |world| world.streams.counters().handshake_errors == 1);
        assert!(peer.join().unwrap().is_err(), "{who}");
        assert!(world.received.is_empty() && world.streams.counters().open == 0, "{who}");
    }
}

#[test]
fn we_speak_to_whom_the_trunk_names_and_say_why_not_to_others() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    for (who, name, believed) in [
        (&ours, "carrier.example", true),
        (&ours, "other.example", false),
        (&foreign, "carrier.example", false),
    ] {
        let listener = elsewhere();
        let target = listener.local_addr().unwrap();
        let config = tls_trunk(Some(target), Some("carrier.example"), false);
        let mut world = World::over(Transport::Tls, config, Some(ours.party("vizard.example", &ours)));
        let peer = callee(listener, who.party(name, &ours));
        world.send(world.to(Transport::Tls, target), "request");
        if believed {
            world.until("answered", |world| world.received.len() == 1);
            assert_eq!(world.received[0], (world.to(Transport::Tls, target), message(2)));
            drop(world);
            assert_eq!(peer.join().unwrap().unwrap(), "request");
        } else {
            world.until("refused", |world| world.lost.len() == 1);
            let problem = world.lost[0].refused.clone().unwrap();
            assert!(problem.contains("certificate"), "{problem}");
            assert_eq!(world.streams.counters().handshake_errors, 1);
            assert!(peer.join().unwrap().is_err());
        }
    }
}

#[test]
fn a_request_for_a_target_does_not_leave_over_a_connection_that_only_says_who_it_is() {
    let ours = Authority::new();
    let mut world =
        World::over(Transport::Tls, tls_trunk(None, None, false), Some(ours.party("vizard.example", &ours)));
    let peer = caller(world.local, ours.party("carrier.example", &ours), "vizard.example");
    world.until("heard", |world| world.received.len() == 1);
    let way = world.received[0].0;
    assert!(world.streams.usable(Transport::Tls, way.remote).is_some());
    world.streams.setup.config = tls_trunk(Some(way.remote), None, false);
    assert!(world.streams.usable(Transport::Tls, way.remote).is_none());
    world.streams.setup.config = tls_trunk(None, None, false);
    world.send(way, "answer");
    world.until("gone", |world| world.lost.len() == 1);
    peer.join().unwrap().unwrap();
}

#[test]
fn what_is_no_tls_and_what_never_gets_there_ends_and_is_counted() {
    let ours = Authority::new();
    let mut world =
        World::over(Transport::Tls, tls_trunk(None, None, false), Some(ours.party("vizard.example", &ours)));
    let mut garbage = world.guest();
    garbage.write_all(message(1).as_bytes()).unwrap();
    world.until("no TLS", |world| world.streams.counters().handshake_errors == 1);
    let mut silent = world.guest();
    // The beginning of a hello, and no more.
    silent.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    world.turn();
    world.pass(limits().handshake + Duration::from_secs(1));
    world.until("too late", |world| world.streams.counters().handshake_timeouts == 1);
    assert!(is_closed(&silent) && world.streams.counters().open == 0);
}

#[test]
fn files_that_cannot_be_used_say_why() {
    let ours = Authority::new();
    let files = ours.files("vizard.example", &ours);
    let problem = |files: &TlsFiles| Tls::load(files).map(drop).unwrap_err().to_string();
    let facts = crate::net::tls::inspect(&files).unwrap();
    assert_eq!(facts.names, ["vizard.example"]);
    assert!(facts.from < facts.until);

    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o640)).unwrap();
    let open = problem(&files);
    assert!(
        open.contains("0640") && open.contains("chmod 0600") && open.contains("vizard.example.key"),
        "{open}"
    );
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();

    let missing = TlsFiles { certificate: "/nowhere/tls.crt".into(), ..files.clone() };
    assert!(problem(&missing).contains("/nowhere/tls.crt: cannot be read"), "{}", problem(&missing));
    let swapped = TlsFiles { certificate: files.key.clone(), ..files.clone() };
    assert!(problem(&swapped).contains("no certificate"), "{}", problem(&swapped));
    let other = ours.files("other.example", &ours);
    let foreign = TlsFiles { key: other.key, ..files.clone() };
    assert!(problem(&foreign).contains("other.example.key"), "{}", problem(&foreign));
    let empty = TlsFiles { ca: Some(Path::new("/dev/null").into()), ..files };
    assert!(problem(&empty).contains("/dev/null"), "{}", problem(&empty));
}
