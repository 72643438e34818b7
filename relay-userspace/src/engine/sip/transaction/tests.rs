use std::time::Duration;

use super::*;
use crate::engine::sip::build::RequestBuilder;
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

fn request(method: Method, branch: &str) -> Request {
    let uri = Uri::parse("sip:bob@example.com").unwrap();
    RequestBuilder::new(method, &uri, here(), branch)
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
                if let Some(Datagram { local, remote, bytes }) = datagram {
                    let message = Message::parse(&bytes, &ParseLimits::default()).unwrap();
                    to.receive(self.now, remote, local, message);
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
        let client = self.client.send_request(self.now, request(method, "x"), here(), there()).unwrap();
        self.carry();
        match self.server.poll_event() {
            Some(TransactionEvent::NewRequest { key, message, remote, .. }) => {
                assert_eq!(remote, here());
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

#[test]
fn a_cancel_waits_for_a_provisional_response_and_is_answered() {
    let mut pair = Pair::new();
    let client = pair.client.send_request(pair.now, request(Method::Invite, "x"), here(), there()).unwrap();
    pair.client.cancel(pair.now, client);
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
