//! Tens of thousands of damaged messages: reading never panics, never exceeds
//! its limits, and whatever is accepted can be answered and read again.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::*;
use super::came;
use crate::engine::io::Signal;
use crate::engine::sip::build::ResponseBuilder;

const SEEDS: [&str; 3] = [
    "INVITE sip:+14155550101@192.0.2.2:5060;user=phone SIP/2.0\r\n\
     Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776;rport, SIP/2.0/TCP [2001:db8::1]:5061 ;branch=z9hG4bK2\r\n\
     Max-Forwards: 70\r\nRecord-Route: <sip:p1.example.com;lr>,<sip:p2.example.com;lr>\r\n\
     From: \"Al \\\"ice\" <sip:+14155550100@example.com;x=1>;tag=9fx\r\nTo: <tel:+14155550101>\r\n\
     Call-ID: a84b4c76e66710@pc33\r\nCSeq: 314159 INVITE\r\nContact: <sip:alice@192.0.2.1>;q=0.7\r\n\
     P-Asserted-Identity: <sip:+14155550100@example.com>, <tel:+14155550100>\r\nSubject: a\r\n b\r\n\
     Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n",
    "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP h;branch=z9hG4bKx;received=192.0.2.9\r\nf: sip:a@h;tag=1\r\nt: sip:b@h;tag=2\r\n\
     i: x\r\nCSeq: 1 INVITE\r\nm: <sip:b@[2001:db8::2]>\r\nl: 0\r\n\r\n",
    "ACK sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n\
     Call-ID: c\r\nCSeq: 1 ACK\r\nRoute: <sip:p;lr>\r\n\r\n",
];

/// Bytes on which the grammar turns.
const SHARP: &[u8] = b"\r\n \t:;,<>\"\\@=/?%[]0\0\xff";

fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    usize::try_from(random.next_u32()).unwrap() % bound.max(1)
}

fn mutate(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=below(random, 6) {
        let at = below(random, bytes.len() + 1);
        let end = (at + below(random, 12)).min(bytes.len());
        match below(random, 6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.insert(at, SHARP[below(random, SHARP.len())]),
            3 if at < bytes.len() => bytes[at] = SHARP[below(random, SHARP.len())],
            4 if at < bytes.len() => bytes[at] ^= 1 << below(random, 8),
            _ => {
                let copy = bytes[at..end].to_vec();
                let to = below(random, bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
        }
    }
}

/// Asks for everything that there is.
fn read_everything(message: &Message) {
    let _ = (message.contact(), message.routes(), message.record_routes(), message.content_type());
    for (_, name, value) in message.fields() {
        assert!(!name.contains(['\r', '\n']) && !value.contains(['\r', '\n']), "a field holds a line end");
    }
    for name in [Name::PAssertedIdentity, Name::Contact, Name::Route] {
        for address in message.addresses(name).flatten() {
            let uri = address.uri();
            let _ = (uri.subscriber().is_some(), uri.host(), uri.params().count(), uri.headers());
            let _ = format!("{uri:?} {address:?}");
        }
    }
    if let Some(uri) = message.request_uri() {
        assert_eq!(&Uri::parse(uri.as_str()).unwrap(), uri);
    }
}

#[test]
fn damaged_messages_never_break_anything() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let limits = ParseLimits { bytes: 1_000, headers: 16 };
    let came = came();
    let source = came.remote;
    let (mut accepted, mut answered, mut dropped) = (0, 0, 0);
    for round in 0..60_000 {
        let mut bytes = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        mutate(&mut random, &mut bytes);
        match Message::parse(&bytes, &limits) {
            Ok(message) => {
                accepted += 1;
                assert!(message.fields().count() <= limits.headers);
                assert!(message.head.len() + message.body.len() <= limits.bytes);
                read_everything(&message);
                let response = ResponseBuilder::new(&message, source, 486, Some("t")).build().unwrap();
                let again = Message::parse(&response, &ParseLimits::default()).unwrap();
                assert_eq!(again.call_id(), message.call_id());
                assert_eq!(again.cseq(), message.cseq());
                assert_eq!(again.list(Name::Via).count(), message.list(Name::Via).count());
                assert!(again.to().unwrap().tag().is_some());
            }
            Err(error) => match error.refusal(came, "t") {
                Some(Signal { bytes, .. }) => {
                    answered += 1;
                    assert!(bytes.starts_with(b"SIP/2.0 "));
                    assert!(bytes.ends_with(b"\r\nContent-Length: 0\r\n\r\n"));
                }
                None => dropped += 1,
            },
        }
    }
    // All three paths were walked, not one of them alone.
    assert!(accepted > 5_000 && answered > 1_000 && dropped > 5_000, "{accepted} {answered} {dropped}");
}
