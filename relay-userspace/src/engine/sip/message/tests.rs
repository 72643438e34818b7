use super::*;

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
         t: <sip:b@h>\r\ni: x\r\nSubject : one\r\n two\r\nCSeq:\r\n 7 OPTIONS\r\nl: 2\r\n\r\nabcd",
    )
    .unwrap();
    assert_eq!(message.via().unwrap().branch(), Some("z9hG4bKx"));
    assert_eq!(message.header(Name::Subject), Some("one   two"));
    assert_eq!(message.cseq().unwrap().number, 7);
    assert_eq!(message.body(), b"ab");
}

#[test]
fn a_lone_line_end_is_refused() {
    assert_eq!(problem(&invite("Subject: a\nb: c\r\n")), Problem::LineEnd);
    assert_eq!(problem(&invite("Subject: a\rb: c\r\n")), Problem::LineEnd);
}
