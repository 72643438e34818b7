//! A whole call over loopback: two peers on sockets of their own, signalling
//! and media.

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::time::Instant;

use super::*;
use crate::engine::admin::{CallView, NewBinding, NumberWish};
use crate::engine::cdr::{Cause, Cdr};
use crate::engine::config::Route;
use crate::engine::directory::{BindingKind, NewNumber, PoolRequest};
use crate::engine::ids::{LegName, SessionId};
use crate::engine::number::Typed;
use crate::engine::privacy::tests::vault;
use crate::engine::targets::Targets;
use crate::store::MemoryStore;

const CUSTOMER: &str = "+12125550100";
const AGENT: &str = "+16465550100";

/// A SIP user agent with a socket for signalling and one for media.
struct Peer {
    sip: UdpSocket,
    media: UdpSocket,
    vizard: SocketAddr,
}

impl Peer {
    fn new(host: &str) -> Self {
        let bind = || UdpSocket::bind((host, 0)).unwrap();
        let (sip, media) = (bind(), bind());
        for socket in [&sip, &media] {
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        let vizard = sip.local_addr().unwrap();
        Self { sip, media, vizard }
    }

    fn sip_address(&self) -> SocketAddr {
        self.sip.local_addr().unwrap()
    }

    fn sdp(&self) -> String {
        let media = self.media.local_addr().unwrap();
        let (host, port) = (media.ip(), media.port());
        format!(
            "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        )
    }

    fn send(&self, head: &str, body: &str) {
        let sort = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let message = format!("{head}{sort}Content-Length: {}\r\n\r\n{body}", body.len());
        self.sip.send_to(message.as_bytes(), self.vizard).unwrap();
    }

    /// A request of the dialog whose INVITE this peer has sent.
    fn request(&self, method: &str, target: &str, to: &str, cseq: u32, body: &str) {
        let me = self.sip_address();
        let head = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{method}{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{CUSTOMER}@{me}>;tag=here\r\nTo: {to}\r\nCall-ID: one@here\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:{me}>\r\n"
        );
        self.send(&head, body);
    }

    /// Answers a request with 200.
    fn accept(&self, request: &str, body: &str) {
        let me = self.sip_address();
        let mut head = String::from("SIP/2.0 200 OK\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let tag = if name == "To" && !header(request, name).contains("tag=") { ";tag=there" } else { "" };
            write!(head, "{name}: {}{tag}\r\n", header(request, name)).unwrap();
        }
        self.send(&format!("{head}Contact: <sip:{me}>\r\n"), body);
    }

    /// The next message that starts with `first`; others are passed over.
    fn expect(&self, first: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.sip.recv(&mut buffer).unwrap_or_else(|error| panic!("{first}: {error}"));
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if message.starts_with(first) {
                return message;
            }
        }
    }

    /// Sends a packet of sound to where `described` says.
    fn speak(&self, described: &str) {
        let word = |after: &str| described.split(after).nth(1).unwrap().split_whitespace().next().unwrap();
        let port: u16 = word("m=audio ").parse().unwrap();
        let mut packet = vec![0x80, 0];
        packet.resize(172, 0xd5);
        self.media.send_to(&packet, (word("c=IN IP4 "), port)).unwrap();
    }

    fn hear(&self) {
        assert_eq!(self.media.recv(&mut [0; 2048]).unwrap(), 172);
    }
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find(|line| line.split(':').next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in {message}"))[name.len() + 1..].trim()
}

/// A daemon with a binding, and a call of the customer that the agent answers.
pub(super) struct World {
    daemon: Daemon,
    client: Client,
    customer: Peer,
    agent: Peer,
    /// What the customer must dial in the dialog from here on.
    target: String,
    to: String,
    /// The descriptions that the two got.
    shown: (String, String),
    directory: TempDir,
}

impl World {
    pub(super) fn in_a_call() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (mut customer, mut agent) = (Peer::new("127.0.0.2"), Peer::new("127.0.0.3"));
        let mut parts = parts(&directory);
        parts.store = Box::new(MemoryStore::new(vault()));
        let pbx = &mut parts.config.trunks[0].clone();
        (pbx.name, pbx.targets) = ("pbx".into(), Targets::one(agent.sip_address()));
        pbx.sources = vec!["127.0.0.3/32".parse().unwrap()];
        parts.config.trunks[0].targets = Targets::one(customer.sip_address());
        parts.config.trunks[0].sources = vec!["127.0.0.2/32".parse().unwrap()];
        parts.config.trunks.push(pbx.clone());
        let trunk = parts.config.trunk_named("pbx").unwrap();
        parts.config.routes.push(Route { prefix: "1646".into(), trunk });
        let daemon = Daemon::start(parts).unwrap();
        (customer.vizard, agent.vizard) = (daemon.listens()[0].local, daemon.listens()[0].local);
        let mut client = client(&directory);
        let proxy = bind(&mut client);

        let (vizard, to) = (customer.vizard, format!("<sip:{proxy}@vizard>"));
        customer.request("INVITE", &format!("sip:{proxy}@{vizard}"), &to, 1, &customer.sdp());
        let invite = agent.expect("INVITE ");
        agent.accept(&invite, &agent.sdp());
        agent.expect("ACK ");
        let answer = customer.expect("SIP/2.0 200 ");
        let target = header(&answer, "Contact").trim_matches(['<', '>']).to_owned();
        let to = header(&answer, "To").to_owned();
        customer.request("ACK", &target, &to, 1, "");
        Self { daemon, client, customer, agent, target, to, shown: (answer, invite), directory }
    }

    /// A packet of sound each way.
    pub(super) fn talk(&self) {
        self.customer.speak(&self.shown.0);
        self.agent.hear();
        self.agent.speak(&self.shown.1);
        self.customer.hear();
    }

    /// The customer ends the call.
    pub(super) fn hang_up(&self) {
        self.customer.request("BYE", &self.target, &self.to, 2, "");
        let bye = self.agent.expect("BYE ");
        self.agent.accept(&bye, "");
        self.customer.expect("SIP/2.0 200 ");
    }

    /// The call's.
    pub(super) fn session(&mut self) -> SessionId {
        self.calls()[0].session
    }

    pub(super) fn another_client(&self) -> Client {
        client(&self.directory)
    }

    fn calls(&mut self) -> Vec<CallView> {
        match self.client.ask(Request::Admin(AdminRequest::CallsList)).unwrap() {
            Response::Admin(AdminReply::Calls(calls)) => calls,
            other => panic!("{other:?}"),
        }
    }

    /// The records of the call, once both legs have theirs.
    fn records(&mut self) -> Vec<Cdr> {
        let limit = Instant::now() + Duration::from_secs(5);
        loop {
            let query = CdrQuery { limit: 10, ..CdrQuery::default() };
            let Response::Cdrs(page) = self.client.ask(Request::CdrList(query)).unwrap() else { panic!() };
            let records = page.cdrs;
            if records.len() == 2 {
                return records;
            }
            assert!(Instant::now() < limit, "{records:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Makes two numbers and the binding; the number that the customer dials.
fn bind(client: &mut Client) -> String {
    let number = |number: &str| NewNumber::local(number.parse().unwrap());
    let numbers = vec![number("+14155550100"), number("+14155550101")];
    client.ask(Request::Admin(AdminRequest::Pool(PoolRequest::Add { numbers }))).unwrap();
    let binding = NewBinding {
        tenant: "t".into(),
        project: "p".into(),
        kind: BindingKind::Session,
        key: "k".into(),
        customer: Typed(CUSTOMER.into()),
        agent: Typed(AGENT.into()),
        time_to_live: None,
        numbers: NumberWish::default(),
        encryption: None,
        also: [Vec::new(), Vec::new()],
        one_number: false,
        usage: crate::engine::directory::UsageWish::default(),
        tags: Vec::new(),
    };
    match client.ask(Request::Admin(AdminRequest::BindCreate(binding))).unwrap() {
        Response::Admin(AdminReply::Bound { binding, .. }) => binding.customer.proxy.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_is_carried_counted_and_recorded() {
    let mut world = World::in_a_call();
    world.talk();
    assert!(!world.shown.1.contains(&CUSTOMER[1..]), "the agent sees a proxy: {}", world.shown.1);

    let calls = world.calls();
    let forwarded: Vec<(LegName, u64)> = calls[0]
        .flows
        .iter()
        .filter(|flow| flow.content == "rtp")
        .map(|flow| (flow.leg, flow.stats.expect("the daemon fills them in").forwarded.packets))
        .collect();
    assert_eq!(forwarded, [(LegName::A, 1), (LegName::B, 1)], "{calls:?}");

    world.hang_up();
    for record in world.records() {
        assert_eq!(
            (record.release.cause, record.received.bytes, record.sent.bytes),
            (Cause::Normal, 172, 172)
        );
    }
    assert_eq!(world.calls(), []);
}

#[test]
fn a_stop_hangs_up_on_both_sides_first() {
    let world = World::in_a_call();
    world.daemon.stop();
    for peer in [&world.customer, &world.agent] {
        let bye = peer.expect("BYE ");
        peer.accept(&bye, "");
    }
    assert_eq!(world.daemon.wait().unwrap(), Ended::Drained);
}

#[test]
fn a_second_stop_does_not_wait_for_calls() {
    let world = World::in_a_call();
    let begun = Instant::now();
    world.daemon.stop();
    world.agent.expect("BYE ");
    world.daemon.stop();
    assert_eq!(world.daemon.wait().unwrap(), Ended::AtOnce);
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody answered the BYE");
}
