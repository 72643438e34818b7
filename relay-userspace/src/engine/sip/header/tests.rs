use super::*;
use crate::engine::sip::transport;

#[test]
fn a_quoted_display_name_cannot_pose_as_the_uri() {
    let address = NameAddr::parse(r#""Smith <sip:+18005550100@bank.example>" <sip:evil@h>;tag=a:b"#).unwrap();
    assert_eq!(address.uri().user(), Some("evil"));
    assert_eq!(address.tag(), Some("a:b"));
    let escaped = NameAddr::parse(r#""a\" <sip:good@h>" <sip:evil@h>"#).unwrap();
    assert_eq!(escaped.uri().user(), Some("evil"));
    assert_eq!(escaped.display, r#"a\" <sip:good@h>"#);
}

#[test]
fn addresses_with_and_without_brackets() {
    let bare = NameAddr::parse("sip:a@h;tag=1").unwrap();
    assert_eq!((bare.uri_text(), bare.tag()), ("sip:a@h", Some("1")));
    let bracketed = NameAddr::parse("Alice <sip:a@h;tag=uri>;tag=field").unwrap();
    assert_eq!((bracketed.display, bracketed.tag()), ("Alice", Some("field")));
    let instance = NameAddr::parse(r#"<sip:a@h>;+sip.instance="<urn:uuid:1;2>";q=0.5"#).unwrap();
    assert_eq!(instance.params.get("+sip.instance"), Some(r#""<urn:uuid:1;2>""#));
    assert_eq!(instance.params.get("Q"), Some("0.5"));
    assert_eq!(NameAddr::parse("<tel:+14155550100>").unwrap().uri().user(), Some("+14155550100"));
}

#[test]
fn what_is_no_address_is_refused() {
    for text in [
        "",
        "*",
        "<sip:a@h",
        "sip:a@h>",
        "\"a <sip:a@h>",
        "\"a\" sip:a@h",
        "a \" b <sip:a@h>",
        "<sip:a@h> x",
        "<sip:a@h>, <sip:b@h>",
        "sip:a@h?x=y",
        "sip:a@h, sip:b@h",
        "<sip:a@h>;",
        "<sip:a@h>;;tag=1",
        "<sip:a@h>;=1",
        "<sip:a@h>;tag=",
        "<sip:a@h>;tag",
        "<sip:a@h>;tag=1;Tag=2",
        "<sip:a@h>;tag=a b",
        "<sip:a@h>;x=\"open",
    ] {
        assert!(NameAddr::parse(text).is_err(), "{text}");
    }
}

#[test]
fn debug_shows_neither_names_nor_users() {
    let address = NameAddr::parse(r#""+14155550100" <sip:+14155550101@h>;x=+14155550102"#).unwrap();
    let shown = format!("{address:?}");
    assert!(!shown.contains("4155550"), "{shown}");
}

#[test]
fn vias_of_every_shape() {
    let via = Via::parse("SIP / 2.0 / UDP [2001:db8::1] : 5060 ; branch = z9hG4bKx ;rport").unwrap();
    assert_eq!((via.transport, via.host, via.port), (Transport::Udp, "[2001:db8::1]", Some(5060)));
    assert_eq!((via.branch_token(), via.wants_rport()), (Some("x"), true));
    let spaced = Via::parse("SIP/2.0/UDP h ;branch=z9hG4bK1").unwrap();
    assert_eq!((spaced.host, spaced.branch()), ("h", Some("z9hG4bK1")));
    let open = Via::parse("SIP/2.0/UNKNOWN h;received=2001:db8::1;branch=1").unwrap();
    assert_eq!(open.transport, Transport::Other("UNKNOWN"));
    assert_eq!(open.received(), "2001:db8::1".parse().ok());
    assert_eq!(open.branch_token(), None);
    assert_eq!(Via::parse("SIP/2.0/TLS h;branch=z9hG4bK").unwrap().branch_token(), None);
    for text in [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "SIP/3.0/UDP h",
        "X/2.0/UDP h",
        "SIP/2.0/UDP h:0",
        "SIP/2.0/UDP h x",
    ] {
        assert!(Via::parse(text).is_err(), "{text}");
    }
}

#[test]
fn responses_go_where_rfc_3581_says() {
    let came = Way::udp("192.0.2.1:5060".parse().unwrap(), "198.51.100.1:1024".parse().unwrap());
    let target = |text| Via::parse(text).unwrap().response_way(came).remote.to_string();
    assert_eq!(target("SIP/2.0/UDP h:5070;branch=1;rport"), "198.51.100.1:1024");
    assert_eq!(target("SIP/2.0/UDP h:5070;branch=1"), "198.51.100.1:5070");
    assert_eq!(target("SIP/2.0/UDP h;branch=1;maddr=192.0.2.66"), "198.51.100.1:5060");
}

#[test]
fn responses_over_connections_go_back_over_them_or_to_where_the_sender_listens() {
    let source = "198.51.100.1:1024".parse().unwrap();
    let way = |text, transport| {
        let came = Way { transport, ..Way::udp("192.0.2.1:5060".parse().unwrap(), source) };
        let back = Via::parse(text).unwrap().response_way(came);
        assert_eq!((back.transport, back.remote), (transport, source));
        back.otherwise.unwrap().to_string()
    };
    let (tcp, tls) = (transport::Transport::Tcp, transport::Transport::Tls);
    assert_eq!(way("SIP/2.0/TCP h:5070;branch=1;rport", tcp), "198.51.100.1:5070");
    assert_eq!(way("SIP/2.0/TCP 192.0.2.66;branch=1", tcp), "198.51.100.1:5060");
    assert_eq!(way("SIP/2.0/TLS h;branch=1;maddr=192.0.2.66", tls), "198.51.100.1:5061");
}

#[test]
fn cseq_is_a_number_below_2_31_and_any_method() {
    let foo = CSeq::parse("1 FOO").unwrap();
    assert_eq!((foo.number, foo.method), (1, Method::Other("FOO".into())));
    assert_eq!(CSeq::parse("0009\t INVITE").unwrap(), CSeq { number: 9, method: Method::Invite });
    for text in [
        "",
        "1",
        "INVITE",
        "-1 INVITE",
        "+1 INVITE",
        "2147483648 INVITE",
        "1 IN VITE",
        "36893488147419103232 BYE",
    ] {
        assert!(CSeq::parse(text).is_err(), "{text}");
    }
}
