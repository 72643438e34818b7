use super::*;
use crate::engine::sip::message::ParseLimits;

#[test]
fn a_request_and_its_response_are_read_again() {
    let uri = Uri::parse("sip:bob@example.com").unwrap();
    let sent_by = "192.0.2.1:5060".parse().unwrap();
    let request = RequestBuilder::new(Method::Invite, &uri, sent_by, "x")
        .max_forwards(70)
        .from(Some("A \"b\""), &uri, "t1")
        .to(None, &uri, None)
        .call_id("c")
        .cseq(1)
        .build_with_body("application/sdp", b"v=0\r\n")
        .unwrap();
    let request = Message::parse(&request.bytes, &ParseLimits::default()).unwrap();
    let source = "198.51.100.7:1024".parse().unwrap();
    let response = ResponseBuilder::new(&request, source, 180, Some("t2")).build().unwrap();
    let response = Message::parse(&response, &ParseLimits::default()).unwrap();
    assert_eq!(response.status(), Some(180));
    assert_eq!(response.to().unwrap().tag(), Some("t2"));
    assert_eq!(response.via().unwrap().params.get("rport"), Some("1024"));
    assert_eq!(response.via().unwrap().received(), Some(source.ip()));
}
