use proptest::prelude::*;

use super::*;

fn parse(bytes: &[u8]) -> Message {
    Message::parse(bytes, &ParseLimits::default()).unwrap()
}

fn sent_by() -> SentBy {
    SentBy::udp("192.0.2.1:5060".parse().unwrap())
}

fn uri() -> Uri {
    Uri::parse("sip:bob@example.com").unwrap()
}

fn builder() -> RequestBuilder {
    RequestBuilder::new(Method::Invite, &uri(), sent_by(), "x")
        .max_forwards(70)
        .from(None, &uri(), "t1")
        .to(None, &uri(), None)
        .call_id("c")
        .cseq(1)
}

/// A request as a peer would send it, with this Via and To.
fn peer(via: &str, to: &str) -> Message {
    parse(
        format!(
            "INVITE sip:b@h SIP/2.0\r\n{via}\r\nFrom: <sip:a@h>;tag=f\r\nTo: {to}\r\nCall-ID: c\r\n\
             CSeq: 1 INVITE\r\nRecord-Route: <sip:p;lr>\r\n\r\n"
        )
        .as_bytes(),
    )
}

fn vias(response: &[u8]) -> Vec<String> {
    parse(response).list(Name::Via).map(str::to_owned).collect()
}

#[test]
fn a_line_end_in_a_value_is_refused() {
    for value in ["a\r\nX: b", "a\n", "\r"] {
        assert_eq!(builder().header(Name::Subject, value).build(), Err(BuildError::LineEnd(Name::Subject)));
        assert_eq!(
            builder().build_with_body(value, b"x").map(|request| request.bytes),
            Err(BuildError::LineEnd(Name::ContentType))
        );
        let display = builder().from(Some(value), &uri(), "t").build();
        assert_eq!(display, Err(BuildError::LineEnd(Name::From)));
    }
    assert_eq!(builder().from(None, &uri(), "a;b").build(), Err(BuildError::Token(Name::From)));
    let branch = RequestBuilder::new(Method::Bye, &uri(), sent_by(), "a\r\nb").build();
    assert_eq!(branch, Err(BuildError::Token(Name::Via)));
    let method = RequestBuilder::new(Method::Other("A B".into()), &uri(), sent_by(), "b").build();
    assert_eq!(method, Err(BuildError::Token(Name::CSeq)));
}

#[test]
fn the_top_via_of_a_response_says_where_the_request_came_from() {
    let source = "198.51.100.7:1024".parse().unwrap();
    let answer = |via: &str| {
        vias(&ResponseBuilder::new(&peer(via, "<sip:b@h>"), source, 200, Some("t")).build().unwrap())
    };
    assert_eq!(
        answer("Via: SIP/2.0/UDP h;rport;branch=z9hG4bKx"),
        ["SIP/2.0/UDP h;branch=z9hG4bKx;rport=1024;received=198.51.100.7"]
    );
    assert_eq!(
        answer("Via: SIP/2.0/UDP h;branch=1;received=9.9.9.9"),
        ["SIP/2.0/UDP h;branch=1;received=198.51.100.7"],
        "what the sender says of itself does not count"
    );
    assert_eq!(answer("Via: SIP/2.0/UDP 198.51.100.7;branch=1"), ["SIP/2.0/UDP 198.51.100.7;branch=1"]);
    assert_eq!(
        answer("Via: SIP/2.0/UDP 198.51.100.7;branch=1, SIP/2.0/UDP b;branch=2\r\nv: SIP/2.0/UDP c;branch=3"),
        ["SIP/2.0/UDP 198.51.100.7;branch=1", "SIP/2.0/UDP b;branch=2", "SIP/2.0/UDP c;branch=3"]
    );
}

#[test]
fn a_to_tag_is_added_once() {
    let tag = |to: &str, tag| {
        let request = peer("Via: SIP/2.0/UDP h;branch=1", to);
        let response = ResponseBuilder::new(&request, sent_by().address, 200, tag).build().unwrap();
        parse(&response).to().unwrap().tag().map(str::to_owned)
    };
    assert_eq!(tag("<sip:b@h>", Some("ours")).as_deref(), Some("ours"));
    assert_eq!(tag("<sip:b@h>;tag=old", Some("ours")).as_deref(), Some("old"));
    assert_eq!(tag("sip:b@h", Some("ours")).as_deref(), Some("ours"));
    assert_eq!(tag("<sip:b@h;tag=uri>", Some("ours")).as_deref(), Some("ours"));
    assert_eq!(tag("<sip:b@h>", None), None);
}

#[test]
fn bodies_are_bytes() {
    let request = builder().build_with_body("application/octet-stream", &[0xff, 0xfe, 0, 1]).unwrap();
    let message = parse(&request.bytes);
    assert_eq!(message.body(), [0xff, 0xfe, 0, 1]);
    assert_eq!(message.header(Name::ContentLength), Some("4"));
    assert!(message.content_is("Application/Octet-Stream"));
}

#[test]
fn the_ack_and_the_cancel_of_a_request_are_its_hop_s() {
    let invite = builder().routes(["<sip:p1;lr>", "<sip:p2;lr>"]).build().unwrap();
    let (sent, read) = (parse(&invite.bytes), |request: Request| parse(&request.bytes));
    let ack = read(hop_by_hop(Method::Ack, &invite.bytes, Some("<sip:b@h>;tag=x"), None).unwrap());
    let cancel = read(hop_by_hop(Method::Cancel, &invite.bytes, None, None).unwrap());
    for message in [&ack, &cancel] {
        assert_eq!(message.header(Name::Via), sent.header(Name::Via));
        assert_eq!(message.header(Name::From), sent.header(Name::From));
        assert_eq!(message.request_uri(), sent.request_uri());
        assert_eq!(message.cseq().unwrap().number, 1);
        assert_eq!(message.list(Name::Route).count(), 2);
    }
    assert_eq!(ack.to().unwrap().tag(), Some("x"));
    assert_eq!((ack.method(), cancel.method()), (Method::Ack, Method::Cancel));
    assert_eq!(cancel.header(Name::To), sent.header(Name::To));
}

proptest! {
    #[test]
    fn what_is_built_is_read_again(
        user in "\\PC{1,20}",
        display in proptest::option::of("[^\\x00\\r\\n]{0,20}"),
        tag in "[a-zA-Z0-9.!%*_+`'~-]{1,20}",
        call_id in "[!-~]{1,40}",
        number in 0_u32..1 << 31,
        subject in "[^\\x00\\r\\n]{0,40}",
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let uri = Uri::sip(Some(&user), "example.com", None).unwrap();
        let request = RequestBuilder::new(Method::Invite, &uri, sent_by(), &tag)
            .max_forwards(7)
            .from(display.as_deref(), &uri, &tag)
            .to(None, &uri, Some(&tag))
            .call_id(&call_id)
            .cseq(number)
            .contact(&uri)
            .header(Name::Subject, &subject)
            .build_with_body("text/plain", &body)
            .unwrap();
        let message = parse(&request.bytes);
        prop_assert_eq!(message.request_uri().unwrap(), &uri);
        prop_assert_eq!(message.via().unwrap().branch_token(), Some(tag.as_str()));
        let from = message.from().unwrap();
        prop_assert_eq!(from.tag(), Some(tag.as_str()));
        prop_assert_eq!(from.uri(), uri.clone());
        prop_assert_eq!(from.display.replace("\\\\", "\0").replace("\\\"", "\"").replace('\0', "\\"), display.unwrap_or_default());
        prop_assert_eq!(message.call_id().unwrap(), call_id.as_str());
        prop_assert_eq!(message.cseq().unwrap().number, number);
        prop_assert_eq!(message.contact().unwrap().uri(), uri);
        prop_assert_eq!(message.header(Name::Subject).unwrap(), subject.trim_matches([' ', '\t']));
        prop_assert_eq!(message.body(), body.as_slice());
    }
}
