use super::*;
use crate::engine::sip::build::ResponseBuilder;
use crate::engine::sip::message::ParseLimits;

fn address() -> SentBy {
    SentBy::udp("192.0.2.1:5060".parse().unwrap())
}

fn parse(bytes: &[u8]) -> Message {
    Message::parse(bytes, &ParseLimits::default()).unwrap()
}

fn uri(text: &str) -> Uri {
    Uri::parse(text).unwrap()
}

fn initiator() -> Initiator {
    Initiator {
        call_id: "call".into(),
        local_tag: "caller".into(),
        local_uri: uri("sip:+14155550100@192.0.2.1"),
        remote_uri: uri("sip:+14155550101@192.0.2.2"),
        cseq: 1,
    }
}

/// Both ends of a dialog whose INVITE went through `record_route`.
fn pair(record_route: &str) -> (Dialog, Dialog) {
    let caller = initiator();
    let invite = caller
        .request(Method::Invite, &uri("sip:+14155550101@192.0.2.2"), None, address(), "b1")
        .contact(&uri("sip:caller@192.0.2.1"))
        .header(Name::RecordRoute, record_route)
        .build()
        .unwrap();
    let invite = parse(&invite.bytes);
    let mut callee = Dialog::uas(&invite, "callee", 100).unwrap();
    callee.confirm();
    let ok = ResponseBuilder::new(&invite, address().address, 200, Some("callee"))
        .record_routes_of(&invite)
        .contact(&uri("sip:callee@192.0.2.2"))
        .build()
        .unwrap();
    (Dialog::uac(&caller, &parse(&ok)).unwrap(), callee)
}

fn routes_of(message: &Message) -> Vec<&str> {
    message.list(Name::Route).collect()
}

#[test]
fn both_ends_agree_on_who_is_who() {
    let (mut caller, mut callee) = pair("<sip:p1;lr>, <sip:p2;lr>");
    assert!(caller.is_confirmed() && callee.is_confirmed());
    let bye = parse(&callee.request(Method::Bye, address(), "b2").build().unwrap().bytes);
    assert_eq!(bye.request_uri().unwrap().as_str(), "sip:caller@192.0.2.1");
    assert_eq!(routes_of(&bye), ["<sip:p1;lr>", "<sip:p2;lr>"]);
    assert_eq!(bye.cseq().unwrap().number, 100);
    assert_eq!(caller.accept(&bye), Ok(()));
    assert_eq!(caller.accept(&bye), Err(DialogError::OutOfOrder));
    let bye = parse(&caller.request(Method::Bye, address(), "b3").build().unwrap().bytes);
    assert_eq!(bye.request_uri().unwrap().as_str(), "sip:callee@192.0.2.2");
    assert_eq!(routes_of(&bye), ["<sip:p2;lr>", "<sip:p1;lr>"]);
    assert_eq!(bye.cseq().unwrap().number, 2);
    assert_eq!(callee.accept(&bye), Ok(()));
}

#[test]
fn a_strict_router_gets_its_own_uri() {
    let (mut caller, _) = pair("<sip:p1;lr>, <sip:strict>");
    let bye = parse(&caller.request(Method::Bye, address(), "b2").build().unwrap().bytes);
    assert_eq!(bye.request_uri().unwrap().as_str(), "sip:strict");
    assert_eq!(routes_of(&bye), ["<sip:p1;lr>", "<sip:callee@192.0.2.2>"]);
}

#[test]
fn another_dialogs_request_is_refused() {
    let (mut caller, _) = pair("<sip:p1;lr>");
    let (_, mut other) = pair("<sip:p1;lr>");
    other.id.local_tag = "other".into();
    let bye = parse(&other.request(Method::Bye, address(), "b2").build().unwrap().bytes);
    assert_eq!(caller.accept(&bye).unwrap_err().status(), 481);
}

#[test]
fn the_ack_of_a_2xx_carries_the_number_of_its_invite() {
    let (mut caller, callee) = pair("<sip:p1;lr>");
    let info = caller.request(Method::Info, address(), "b2").build().unwrap();
    assert_eq!(parse(&info.bytes).cseq().unwrap().number, 2);
    let ack = parse(&caller.ack(1, address(), "b3").build().unwrap().bytes);
    assert_eq!(ack.cseq().unwrap().number, 1);
    assert_eq!(ack.to().unwrap().tag(), Some("callee"));
    assert_eq!(DialogId::of_request(&ack).as_ref(), Some(callee.id()));
}

#[test]
fn a_target_refresh_moves_the_target() {
    let (mut caller, mut callee) = pair("<sip:p1;lr>");
    let invite =
        caller.request(Method::Invite, address(), "b").contact(&uri("sip:moved@192.0.2.9")).build().unwrap();
    let invite = parse(&invite.bytes);
    callee.accept(&invite).unwrap();
    assert_eq!(callee.remote_target().as_str(), "sip:caller@192.0.2.1");
    callee.refresh_target(&invite).unwrap();
    assert_eq!(callee.remote_target().as_str(), "sip:moved@192.0.2.9");
}

#[test]
fn debug_shows_no_number() {
    let (caller, _) = pair("<sip:+14155550199@p1;lr>");
    let shown = format!("{caller:?} {:?} {:?}", caller.id(), initiator());
    assert!(!shown.contains("1415"), "{shown}");
}
