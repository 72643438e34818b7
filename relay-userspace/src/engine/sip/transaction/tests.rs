mod lossy;
mod reliable;
mod tables;

use std::time::Duration;

use super::*;
use crate::engine::sip::build::{RequestBuilder, ResponseBuilder};
use crate::engine::sip::message::ParseLimits;
use crate::engine::sip::transport::SentBy;
use crate::engine::sip::uri::Uri;

/// Two ends of a network that loses nothing.
struct Pair {
    now: Instant,
    client: Transactions,
    server: Transactions,
}

fn here() -> SocketAddr {
    "192.0.2.1:5060".parse().unwrap()
}

fn there() -> SocketAddr {
    "192.0.2.2:5060".parse().unwrap()
}

/// From here to there.
fn forth() -> Way {
    Way::udp(here(), there())
}

fn request_with(method: Method, branch: &str) -> Request {
    let uri = Uri::parse("sip:bob@example.com").unwrap();
    RequestBuilder::new(method, &uri, SentBy::udp(here()), branch)
        .max_forwards(70)
        .from(None, &uri, "from")
        .to(None, &uri, None)
        .call_id("call")
        .cseq(1)
        .build()
        .unwrap()
}

impl Pair {
    fn new() -> Self {
        let new = || Transactions::new(Timers::default(), 1000);
        Self { now: Instant::ORIGIN, client: new(), server: new() }
    }

    /// Carries everything that waits, both ways.
    fn carry(&mut self) {
        loop {
            let (forth, back) = (self.client.poll_send(), self.server.poll_send());
            if forth.is_none() && back.is_none() {
                return;
            }
            for (datagram, to) in [(forth, &mut self.server), (back, &mut self.client)] {
                if let Some(Signal { way, bytes }) = datagram {
                    let message = Message::parse(&bytes, &ParseLimits::default()).unwrap();
                    let back = Way { local: way.remote, remote: way.local, otherwise: None, ..way };
                    to.receive(self.now, back, message);
                }
            }
        }
    }

    fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        self.carry();
    }

    /// Sends a request and lets the server's user see it.
    fn start(&mut self, method: Method) -> (ClientKey, ServerKey, Message) {
        let client = self.client.send_request(self.now, request_with(method, "x"), forth()).unwrap();
        self.carry();
        match self.server.poll_event() {
            Some(TransactionEvent::NewRequest { key, message, way }) => {
                assert_eq!(way.remote, here());
                (client, key, message)
            }
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, key: ServerKey, request: &Message, status: u16) {
        let response = ResponseBuilder::new(request, here(), status, Some("to")).build().unwrap();
        assert!(self.server.respond(self.now, key, response));
        self.carry();
    }

    fn response(&mut self) -> u16 {
        match self.client.poll_event() {
            Some(TransactionEvent::Response { message, .. }) => message.status().unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_refused_invite_is_acknowledged_by_its_transaction() {
    let mut pair = Pair::new();
    let (_, key, invite) = pair.start(Method::Invite);
    pair.advance(Duration::from_millis(200));
    assert_eq!(pair.response(), 100);
    pair.answer(key, &invite, 486);
    assert_eq!(pair.response(), 486);
    assert!(pair.server.poll_event().is_none());
    pair.advance(Duration::from_secs(40));
    assert!(pair.client.is_empty() && pair.server.is_empty());
    assert!(pair.client.poll_timeout().is_none() && pair.server.poll_timeout().is_none());
}

/// An INVITE over a connection, and its transaction.
fn over_a_connection(client: &mut Transactions, method: Method) -> ClientKey {
    let way = Way { transport: Transport::Tcp, otherwise: Some(spare()), ..forth() };
    let key = client.send_request(Instant::ORIGIN, request_with(method, "x"), way).unwrap();
    assert_eq!(client.poll_send().unwrap().way, way);
    key
}

/// Where else a connection may lead.
fn spare() -> SocketAddr {
    "192.0.2.2:5070".parse().unwrap()
}

fn lost(transport: Transport, remote: SocketAddr) -> Disconnection {
    Disconnection { transport, remote, refused: None }
}

#[test]
fn what_was_on_its_way_over_a_lost_connection_fails_at_once() {
    for method in [Method::Invite, Method::Bye] {
        for remote in [there(), spare()] {
            let mut client = Transactions::new(Timers::default(), 10);
            let key = over_a_connection(&mut client, method.clone());
            for other in
                [lost(Transport::Tls, remote), lost(Transport::Udp, remote), lost(Transport::Tcp, here())]
            {
                client.disconnected(Instant::ORIGIN, &other);
                assert!(client.poll_event().is_none());
            }
            client.disconnected(Instant::ORIGIN, &lost(Transport::Tcp, remote));
            let told = client.poll_event();
            assert!(matches!(told, Some(TransactionEvent::Unreachable { key: of }) if of == key), "{told:?}");
            assert!(client.is_empty() && client.by_peer.is_empty() && client.poll_event().is_none());
            assert_eq!(client.counts().disconnected, 1);
        }
    }
}

#[test]
fn an_invite_that_rings_outlives_its_connection() {
    let mut client = Transactions::new(Timers::default(), 10);
    over_a_connection(&mut client, Method::Invite);
    let response = |status: u16| {
        let text = format!(
            "SIP/2.0 {status} x\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=f\r\n\
             To: <sip:b@h>;tag=t\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n"
        );
        Message::parse(text.as_bytes(), &ParseLimits::default()).unwrap()
    };
    let way = Way { transport: Transport::Tcp, ..Way::udp(here(), there()) };
    client.receive(Instant::ORIGIN, way, response(180));
    assert!(matches!(client.poll_event(), Some(TransactionEvent::Response { .. })));
    client.disconnected(Instant::ORIGIN, &lost(Transport::Tcp, there()));
    assert!(client.poll_event().is_none());
    // The answer comes over another connection.
    client.receive(Instant::ORIGIN, Way { remote: spare(), ..way }, response(486));
    assert!(matches!(client.poll_event(), Some(TransactionEvent::Response { .. })));
    assert!(client.is_empty(), "nothing is waited for over a connection");
}

#[test]
fn over_a_connection_nothing_is_sent_twice_and_nothing_lingers() {
    let mut pair = Pair::new();
    let way = Way { transport: Transport::Tcp, ..forth() };
    pair.client.send_request(pair.now, request_with(Method::Invite, "x"), way).unwrap();
    let sent = pair.client.poll_send().unwrap();
    pair.advance(Duration::from_secs(20));
    assert_eq!(pair.client.counts().retransmitted, 0, "timer A");
    pair.client.sends.push_back(sent);
    pair.carry();
    let Some(TransactionEvent::NewRequest { key, message, .. }) = pair.server.poll_event() else { panic!() };
    pair.answer(key, &message, 486);
    assert_eq!(pair.response(), 486);
    assert!(pair.client.is_empty() && pair.server.is_empty(), "timers D and I");

    pair.client.send_request(pair.now, request_with(Method::Bye, "y"), way).unwrap();
    pair.carry();
    let Some(TransactionEvent::NewRequest { key, message, .. }) = pair.server.poll_event() else { panic!() };
    pair.advance(Duration::from_secs(20));
    assert_eq!(pair.client.counts().retransmitted, 0, "timer E");
    pair.answer(key, &message, 200);
    assert_eq!(pair.response(), 200);
    assert!(pair.client.is_empty() && pair.server.is_empty(), "timers J and K");
}

#[test]
fn a_cancel_waits_for_a_provisional_response_and_is_answered() {
    let mut pair = Pair::new();
    let client = pair.client.send_request(pair.now, request_with(Method::Invite, "x"), forth()).unwrap();
    pair.client.cancel(pair.now, client, None);
    pair.carry();
    let Some(TransactionEvent::NewRequest { key, message, .. }) = pair.server.poll_event() else { panic!() };
    assert!(pair.server.poll_event().is_none());
    pair.answer(key, &message, 180);
    let Some(TransactionEvent::Cancel { invite }) = pair.server.poll_event() else { panic!() };
    assert_eq!(invite, key);
    pair.answer(key, &message, 487);
    assert_eq!((pair.response(), pair.response()), (180, 487));
    assert!(pair.client.poll_event().is_none() && pair.server.poll_event().is_none());
    pair.advance(Duration::from_secs(40));
    assert!(pair.client.is_empty() && pair.server.is_empty());
}

/// The server end alone, fed by hand.
fn arrive(transactions: &mut Transactions, bytes: &[u8]) -> Option<TransactionEvent> {
    let message = Message::parse(bytes, &ParseLimits::default()).unwrap();
    transactions.receive(Instant::ORIGIN, Way::udp(there(), here()), message);
    transactions.poll_event()
}

fn status_sent(transactions: &mut Transactions) -> Option<u16> {
    let datagram = transactions.poll_send()?;
    Message::parse(&datagram.bytes, &ParseLimits::default()).unwrap().status()
}

fn raw(method: &str, via: &str) -> Vec<u8> {
    format!(
        "{method} sip:bob@example.com SIP/2.0\r\nVia: {via}\r\nFrom: <sip:a@h>;tag=f\r\nTo: <sip:b@h>\r\n\
         Call-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn branch_sent_by_and_method_tell_transactions_apart() {
    let mut server = Transactions::new(Timers::default(), 100);
    let is_new = |server: &mut Transactions, method, via| {
        matches!(arrive(server, &raw(method, via)), Some(TransactionEvent::NewRequest { .. }))
    };
    assert!(is_new(&mut server, "OPTIONS", "SIP/2.0/UDP h:5060;branch=z9hG4bKx"));
    // The same again: port 5060 is the default, and case does not count.
    assert!(!is_new(&mut server, "OPTIONS", "SIP/2.0/UDP H;branch=Z9HG4bKx"));
    assert!(is_new(&mut server, "OPTIONS", "SIP/2.0/UDP h:5061;branch=z9hG4bKx"));
    assert!(is_new(&mut server, "OPTIONS", "SIP/2.0/UDP g;branch=z9hG4bKx"));
    assert!(is_new(&mut server, "INFO", "SIP/2.0/UDP h;branch=z9hG4bKx"));
    assert_eq!(server.counts().absorbed, 1);
}

#[test]
fn a_branch_without_the_cookie_is_matched_as_rfc_2543_does() {
    let mut server = Transactions::new(Timers::default(), 100);
    let via = "SIP/2.0/UDP h;branch=1";
    let Some(TransactionEvent::NewRequest { key, message, .. }) = arrive(&mut server, &raw("INVITE", via))
    else {
        panic!()
    };
    assert!(arrive(&mut server, &raw("INVITE", via)).is_none());
    let refusal = ResponseBuilder::new(&message, here(), 404, Some("to")).build().unwrap();
    server.respond(Instant::ORIGIN, key, refusal);
    let ack = String::from_utf8(raw("ACK", via)).unwrap().replace("To: <sip:b@h>", "To: <sip:b@h>;tag=to");
    assert!(arrive(&mut server, ack.as_bytes()).is_none(), "the ACK belongs to the refusal");
    assert_eq!(server.poll_timeout().unwrap().1, "timer I: forget an acknowledged failure");
}

#[test]
fn a_cancel_without_an_invite_and_a_request_over_the_limit_are_answered_without_state() {
    let mut server = Transactions::new(Timers::default(), 1);
    assert!(arrive(&mut server, &raw("CANCEL", "SIP/2.0/UDP h;branch=z9hG4bKx")).is_none());
    assert_eq!(status_sent(&mut server), Some(481));
    assert!(arrive(&mut server, &raw("BYE", "SIP/2.0/UDP h;branch=z9hG4bKx")).is_some());
    assert!(arrive(&mut server, &raw("BYE", "SIP/2.0/UDP h;branch=z9hG4bKy")).is_none());
    assert_eq!(status_sent(&mut server), Some(503));
    assert_eq!(server.len(), 1);
    assert_eq!((server.counts().over_limit, server.counts().stray_cancels), (1, 1));
    let request = request_with(Method::Bye, "z");
    assert_eq!(server.send_request(Instant::ORIGIN, request, forth()), Err(LimitReached { limit: 1 }));
}

#[test]
fn a_cancel_is_told_once_and_answered_each_time_with_the_tag_of_the_invite() {
    let mut server = Transactions::new(Timers::default(), 10);
    let via = "SIP/2.0/UDP h;branch=z9hG4bKx";
    let Some(TransactionEvent::NewRequest { key, message, .. }) = arrive(&mut server, &raw("INVITE", via))
    else {
        panic!()
    };
    let ringing = ResponseBuilder::new(&message, here(), 180, Some("ours")).build().unwrap();
    server.respond(Instant::ORIGIN, key, ringing);
    assert_eq!(status_sent(&mut server), Some(180));
    for first in [true, false] {
        let told = arrive(&mut server, &raw("CANCEL", via));
        assert_eq!(matches!(told, Some(TransactionEvent::Cancel { .. })), first);
        let answer = server.poll_send().unwrap();
        let answer = Message::parse(&answer.bytes, &ParseLimits::default()).unwrap();
        assert_eq!((answer.status(), answer.to().unwrap().tag()), (Some(200), Some("ours")));
        assert_eq!(answer.method(), Method::Cancel);
    }
}

#[test]
fn a_response_that_is_not_ours_is_dropped_and_a_stray_2xx_is_told() {
    let mut client = Transactions::new(Timers::default(), 10);
    client.send_request(Instant::ORIGIN, request_with(Method::Bye, "x"), forth()).unwrap();
    let response = |status: u16, via: &str, method: &str| {
        format!(
            "SIP/2.0 {status} x\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch={via}\r\nFrom: <sip:a@h>;tag=f\r\n\
             To: <sip:b@h>;tag=t\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
        )
        .into_bytes()
    };
    assert!(arrive(&mut client, &response(200, "z9hG4bKother", "BYE")).is_none());
    assert!(arrive(&mut client, &response(200, "z9hG4bKx", "INFO")).is_none(), "another method");
    let two_hops = "z9hG4bKx, SIP/2.0/UDP h;branch=z9hG4bKy";
    assert!(arrive(&mut client, &response(200, two_hops, "BYE")).is_none(), "meant for somebody behind us");
    assert!(arrive(&mut client, &response(486, "z9hG4bKother", "INVITE")).is_none());
    assert_eq!(client.counts().stray_responses, 4);
    let stray = arrive(&mut client, &response(200, "z9hG4bKother", "INVITE"));
    assert!(matches!(stray, Some(TransactionEvent::StrayResponse { .. })));
    let answer = arrive(&mut client, &response(200, "z9hG4bKx", "BYE"));
    assert!(matches!(answer, Some(TransactionEvent::Response { .. })));
}

#[test]
fn a_2xx_is_sent_again_until_64_t1() {
    let response = Signal { way: Way::udp(there(), here()), bytes: b"200".to_vec() };
    let mut retransmitter = SuccessRetransmitter::new(Instant::ORIGIN, response, &Timers::default());
    let mut sent = Vec::new();
    loop {
        let at = retransmitter.deadline();
        match retransmitter.expire(at) {
            SuccessDue::Resend(_) => sent.push(at.since_origin().as_millis()),
            SuccessDue::GiveUp => break assert_eq!(at.since_origin(), Duration::from_secs(32)),
            SuccessDue::Wait => panic!(),
        }
        assert_eq!(retransmitter.expire(at), SuccessDue::Wait);
    }
    assert_eq!(sent, [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
}
