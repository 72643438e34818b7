mod mutation;
mod torture;

use super::*;
use crate::engine::io::Signal;
use crate::engine::sip::transport::Way;

fn parse(text: &str) -> Result<Message, ParseError> {
    Message::parse(text.as_bytes(), &ParseLimits::default())
}

fn problem(text: &str) -> Problem {
    parse(text).expect_err("a message that is refused").problem
}

/// The core fields and an empty line around `extra`.
fn invite(extra: &str) -> String {
    format!(
        "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa\r\n\
         From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: c1\r\n\
         CSeq: 1 INVITE\r\n{extra}\r\n"
    )
}

/// The way of every message here.
fn came() -> Way {
    Way::udp("192.0.2.1:5060".parse().unwrap(), "198.51.100.1:5060".parse().unwrap())
}

/// The refusal's status; `None` when the message must be dropped.
fn refusal(text: &str) -> Option<u16> {
    let error = parse(text).expect_err("a message that is refused");
    let Signal { way, bytes } = error.refusal(came(), "tag")?;
    assert_eq!(way.remote.ip(), came().remote.ip());
    let refusal = Message::parse(&bytes, &ParseLimits { headers: usize::MAX, ..ParseLimits::default() });
    // A core field that is malformed is echoed as it came, so the refusal can be as bad.
    Some(refusal.map_or_else(|_| error.problem.status(), |message| message.status().unwrap()))
}

#[test]
fn the_core_is_read() {
    let message = parse(&invite("Max-Forwards: 9\r\nContact: \"A\" <sip:a@h>\r\n")).unwrap();
    assert!(message.is_request(&Method::Invite));
    assert_eq!(message.request_uri().unwrap().as_str(), "sip:bob@example.com");
    assert_eq!(message.via().unwrap().branch_token(), Some("a"));
    assert_eq!(message.from().unwrap().tag(), Some("1"));
    assert_eq!(message.to().unwrap().tag(), None);
    assert_eq!(message.call_id().unwrap(), "c1");
    assert_eq!(message.cseq().unwrap(), CSeq { number: 1, method: Method::Invite });
    assert_eq!(message.max_forwards(), Ok(9));
    assert_eq!(message.contact().unwrap().uri().user(), Some("a"));
}

#[test]
fn folds_compact_names_and_leading_line_ends_are_read() {
    let message = parse(
        "\r\n\r\nOPTIONS sip:h SIP/2.0\r\nv: SIP/2.0/UDP h\r\n ;branch=z9hG4bKx\r\nf: <sip:a@h>;tag=t\r\n\
         t: <sip:b@h>\r\ni: x\r\nm: <sip:c@h>\r\nSubject : one\r\n two\r\nCSeq:\r\n 7 OPTIONS\r\nl: 2\r\n\r\nabcd",
    )
    .unwrap();
    assert_eq!(message.via().unwrap().branch(), Some("z9hG4bKx"));
    assert_eq!(message.header(Name::Subject), Some("one   two"));
    assert_eq!(message.cseq().unwrap().number, 7);
    assert_eq!(message.contact().unwrap().uri().user(), Some("c"));
    assert_eq!(message.body(), b"ab");
}

#[test]
fn a_lone_line_end_is_refused() {
    assert_eq!(problem(&invite("Subject: a\nb: c\r\n")), Problem::LineEnd);
    assert_eq!(problem(&invite("Subject: a\rb: c\r\n")), Problem::LineEnd);
    assert_eq!(problem("INVITE sip:a SIP/2.0\r\nVia: x\r\n"), Problem::LineEnd);
}

#[test]
fn a_byte_that_is_not_utf_8_costs_no_other_header() {
    let mut bytes = invite("Subject: a#b\r\nMax-Forwards: 3\r\n").into_bytes();
    let at = bytes.iter().position(|&b| b == b'#').unwrap();
    bytes[at] = 0xe9;
    let message = Message::parse(&bytes, &ParseLimits::default()).unwrap();
    assert_eq!(message.header(Name::Subject), Some("a?b"));
    assert_eq!(message.max_forwards(), Ok(3));
}

#[test]
fn unknown_methods_and_header_fields_are_carried() {
    let text = invite("Allow: INVITE, FOO\r\nX-B: 1\r\nX-C: 2\r\n").replace("INVITE sip", "FOO sip");
    let message = parse(&text.replace("1 INVITE", "1 FOO")).unwrap();
    assert_eq!(message.method().as_str(), "FOO");
    assert_eq!(message.list(Name::Allow).collect::<Vec<_>>(), ["INVITE", "FOO"]);
    let others: Vec<_> = message.fields().filter(|(name, ..)| *name == Name::Other).collect();
    assert_eq!(others, [(Name::Other, "X-B", "1"), (Name::Other, "X-C", "2")]);
}

#[test]
fn lists_are_split_outside_quotes_and_brackets() {
    let message = parse(&invite(
        "Contact: \"a, b\" <sip:a@h;x=1,2>, <sip:b@h>\r\nRoute: <sip:p1;lr>,<sip:p2;lr>\r\nroute: <sip:p3>\r\n",
    ))
    .unwrap();
    assert_eq!(message.list(Name::Contact).count(), 2);
    assert_eq!(message.contact().unwrap_err().problem, HeaderProblem::Repeated);
    let routes = message.routes().unwrap();
    assert_eq!(
        routes.iter().map(NameAddr::uri_text).collect::<Vec<_>>(),
        ["sip:p1;lr", "sip:p2;lr", "sip:p3"]
    );
    let vias = "Via: SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b;branch=2\r\n";
    let message = parse(&invite("").replace("From:", &format!("{vias}From:"))).unwrap();
    assert_eq!(message.list(Name::Via).count(), 3);
}

#[test]
fn content_length_rules_the_body() {
    assert_eq!(parse(&(invite("") + "abc")).unwrap().body(), b"abc");
    assert_eq!(parse(&(invite("Content-Length: 2\r\n") + "abc")).unwrap().body(), b"ab");
    let long = invite("Content-Length: 4\r\n") + "abc";
    assert_eq!(problem(&long), Problem::Truncated { stated: 4, present: 3 });
    assert_eq!(refusal(&long), Some(400));
    for length in ["-1", "18446744073709551615", "4294967296", "x", ""] {
        let text = invite(&format!("Content-Length: {length}\r\n"));
        assert_eq!(refusal(&text), Some(400), "{length}");
    }
    assert_eq!(refusal(&invite("Content-Length: 0\r\nl: 0\r\n")), Some(400));
}

#[test]
fn what_may_be_answered_is_answered_and_the_rest_dropped() {
    let good = invite("");
    for (text, status) in [
        (good.replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), Some(505)),
        (good.replace("SIP/2.0\r\nVia", "HTTP/1.1\r\nVia"), Some(400)),
        (good.replace("sip:bob@example.com SIP", "<sip:bob@example.com> SIP"), Some(400)),
        (good.replace("sip:bob@example.com SIP", "sip:bob@example.com  SIP"), Some(400)),
        (good.replace("1 INVITE", "1 BYE"), Some(400)),
        (good.replace("1 INVITE", "x INVITE"), Some(400)),
        (good.replace("Call-ID: c1", "Call-ID: c 1"), Some(400)),
        (invite("Max-Forwards: 256\r\n"), Some(400)),
        (invite("no colon\r\n"), Some(400)),
        (invite(": no name\r\n"), Some(400)),
        (good.replace("Call-ID: c1\r\n", ""), None),
        (good.replace("Via: SIP/2.0/UDP", "Via: SIP/2.0"), None),
        (invite("From: <sip:x@h>;tag=2\r\n"), None),
        (good.replace("1 INVITE", "x ACK").replace("INVITE sip", "ACK sip"), None),
        (
            good.replace("INVITE sip:bob@example.com SIP/2.0", "SIP/2.0 200 OK")
                .replace("1 INVITE", "x INVITE"),
            None,
        ),
        (good.replace("INVITE sip:bob@example.com SIP/2.0", "SIP/2.0 99 X"), None),
        (good.replace("INVITE sip:bob@example.com SIP/2.0", "SIP/2.0 4294967301 X"), None),
        (good.replace("INVITE sip", "IN(VITE sip"), None),
        ("\r\n\r\n".into(), None),
        ("GET / HTTP/1.1\r\n\r\n".into(), None),
        (String::new(), None),
    ] {
        assert_eq!(refusal(&text), status, "{text}");
    }
    assert_eq!(problem("\r\n\r\n"), Problem::KeepAlive);
}

#[test]
fn limits_are_kept() {
    let limits = ParseLimits { bytes: 400, headers: 8 };
    let parse = |text: &str| Message::parse(text.as_bytes(), &limits);
    assert!(parse(&invite("A: 1\r\nB: 2\r\nC: 3\r\n")).is_ok());
    let many = parse(&invite("A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n")).unwrap_err();
    assert_eq!(many.problem, Problem::TooManyHeaders { limit: 8 });
    assert!(many.refusal(came(), "t").is_some());
    let long_body = parse(&(invite("") + &"x".repeat(400))).unwrap_err();
    assert_eq!(long_body.problem.status(), 513);
    assert!(long_body.refusal(came(), "t").is_some());
    let long_head = parse(&invite(&format!("A: {}\r\n", "x".repeat(400)))).unwrap_err();
    assert_eq!(long_head.problem, Problem::TooLong { limit: 400 });
    assert!(long_head.refusal(came(), "t").is_none());
}

#[test]
fn nothing_prints_a_number() {
    let text =
        invite("Subject: +14155550100\r\n").replace("bob", "+14155550101").replace("alice", "+14155550102");
    let shown = format!("{:?}", parse(&text).unwrap());
    assert!(!shown.contains("1415555"), "{shown}");
    for broken in [
        text.replace("CSeq: 1 INVITE", "CSeq: +14155550103"),
        text.replace("sip:+14155550101@example.com SIP/2.0", "+14155550104 SIP/2.0"),
        text.replace("From: <", "From: +14155550105"),
    ] {
        let error = parse(&broken).unwrap_err();
        let shown = format!("{error} {error:?} {:?}", error.problem);
        assert!(!shown.contains("1415555"), "{shown}");
    }
}
