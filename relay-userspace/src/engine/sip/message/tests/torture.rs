//! The torture messages of RFC 4475 that try a parser, written from the RFC.
//! Bodies that the RFC abridges are left out.

use super::super::*;

fn read(bytes: &[u8]) -> Result<Message, ParseError> {
    Message::parse(bytes, &ParseLimits::default())
}

/// The status of the answer to a message that must be refused.
fn refused(bytes: &[u8]) -> Option<u16> {
    let error = read(bytes).expect_err("a message that is refused");
    error.refusal(super::came(), "t").map(|_| error.problem.status())
}

#[test]
fn section_3_1_1_1_a_short_tortuous_invite() {
    let message = read(
        b"INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n\
          TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n\
          from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n\
          MaX-fOrWaRdS: 0068\r\nCall-ID: wsinv.ndaksdj@192.0.2.1\r\n\
          Content-Length   : 150\r\ncseq: 0009\r\n  INVITE\r\n\
          Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\n\
          s :\r\nNewFangledHeader:   newfangled value\r\n continued newfangled value\r\n\
          UnknownHeaderWithUnusualValue: ;;,,;;,;\r\nContent-Type: application/sdp\r\n\
          Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n\
          v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n\
          m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33\r\n\r\n\
          v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.3\r\ns=-\r\nc=IN IP4 192.0.2.4\r\n\
          t=0 0\r\nm=audio 49217 RTP/AVP 0 12\r\nm=video 3227 RTP/AVP 31\r\na=rtpmap:31 LPC\r\n",
    )
    .unwrap();
    assert_eq!(message.to().unwrap().tag(), Some("1918181833n"));
    assert_eq!(message.from().unwrap().tag(), Some("98asjd8"));
    assert_eq!(message.from().unwrap().uri().user(), Some("jdrosen"));
    assert_eq!(message.max_forwards(), Ok(68));
    assert_eq!(message.cseq().unwrap().number, 9);
    let vias: Vec<_> = message.list(Name::Via).map(|via| Via::parse(via).unwrap()).collect();
    assert_eq!(
        vias.iter().map(|via| via.branch().unwrap()).collect::<Vec<_>>(),
        ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]
    );
    assert_eq!(message.contact().unwrap().params.get("q"), Some("0.33"));
    assert!(message.routes().unwrap()[0].uri().is_loose_router());
    assert_eq!(message.body().len(), 150);
}

#[test]
fn section_3_1_1_2_valid_use_of_the_widest_set_of_characters() {
    let mut bytes = b"!interesting-Method0123456789_*+`.%indeed'~ \
          sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.\
(doesn't-it)@example.com SIP/2.0\r\n\
          Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\r\n\
          To: \"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7F\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\r\n\
          From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\""
        .to_vec();
    bytes.extend_from_slice(
        "\u{440}\u{430}\u{431}\u{43e}\u{442}\u{430}\u{44e}\u{449}\u{438}\u{439}".as_bytes(),
    );
    bytes.extend_from_slice(
        b"\";tag=_token~1'+`*%!-.\r\nCall-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\r\n\
          CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\r\nMax-Forwards: 255\r\n\
          extensionHeader-!.%*+_`'~:\xef\xbb\xbf\xe5\xa4\xa7\xe5\x81\x9c\xe9\x9b\xbb\r\nContent-Length: 0\r\n\r\n",
    );
    let message = read(&bytes).unwrap();
    assert_eq!(message.method().as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    assert_eq!(
        message.request_uri().unwrap().user(),
        Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
    );
    assert_eq!(message.from().unwrap().tag(), Some("_token~1'+`*%!-."));
    assert_eq!(message.from().unwrap().display, "token1~` token2'+_ token3*%!.-");
    assert_eq!(message.to().unwrap().uri().host(), message.request_uri().unwrap().host());
}

#[test]
fn section_3_1_1_3_and_4_escapes_in_uris() {
    let message = read(
        b"INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0\r\n\
          To: sip:%75se%72@example.com\r\nFrom: <sip:I%20have%20spaces@example.net>;tag=938\r\n\
          Max-Forwards: 87\r\ni: esc01.239409asdfakjkn23onasd0-3234\r\nCSeq: 234234 INVITE\r\n\
          Via: SIP/2.0/UDP host5.example.net;branch=z9hG4bKkdjuw\r\nC: application/sdp\r\n\
          Contact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>\r\nContent-Length: 0\r\n\r\n",
    )
    .unwrap();
    assert_eq!(message.request_uri().unwrap().subscriber().as_deref(), Some("sips:user@example.com"));
    assert_eq!(message.to().unwrap().uri().subscriber().as_deref(), Some("user"));
    let contact = message.contact().unwrap().uri();
    assert_eq!(contact.subscriber().as_deref(), Some("caller"));
    let nulls = read(
        b"REGISTER sip:example.com SIP/2.0\r\nTo: sip:null-%00-null@example.com\r\n\
          From: sip:null-%00-null@example.com;tag=839923423\r\nMax-Forwards: 70\r\nCall-ID: escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd\r\n\
          CSeq: 14398234 REGISTER\r\nVia: SIP/2.0/UDP host5.example.com;branch=z9hG4bKkdjuw\r\n\
          Contact: <sip:%00@host5.example.com>\r\nContact: <sip:%00%00@host5.example.com>\r\nL:0\r\n\r\n",
    )
    .unwrap();
    assert_eq!(nulls.to().unwrap().uri().subscriber().as_deref(), Some("null-\0-null"));
    assert_eq!(nulls.list(Name::Contact).count(), 2);
}

#[test]
fn section_3_1_1_6_an_escaped_method_is_no_invite() {
    let message = read(
        b"RE%47IST%45R sip:registrar.example.com SIP/2.0\r\nTo: \"%Z%45\" <sip:resource@example.com>\r\n\
          From: \"%Z%45\" <sip:resource@example.com>;tag=f232jadfj23\r\nCall-ID: esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf\r\n\
          Via: SIP/2.0/TCP host.example.com;branch=z9hG4bK209%fzsnel234\r\nCSeq: 29344 RE%47IST%45R\r\n\
          Max-Forwards: 70\r\nContact: <sip:alias1@host1.example.com>\r\nl: 0\r\n\r\n",
    )
    .unwrap();
    assert_eq!(message.method(), Method::Other("RE%47IST%45R".into()));
    assert_eq!(message.via().unwrap().branch_token(), Some("209%fzsnel234"));
}

#[test]
fn section_3_1_1_8_bytes_after_the_body_are_dropped() {
    let message = read(
        b"REGISTER sip:example.com SIP/2.0\r\nTo: sip:j.user@example.com\r\nFrom: sip:j.user@example.com;tag=43251j3j324\r\n\
          Max-Forwards: 8\r\nI: dblreq.0ha0isndaksdj99sdfafnl3lk233412\r\nContact: sip:j.user@host.example.com\r\n\
          CSeq: 8 REGISTER\r\nVia: SIP/2.0/UDP 192.0.2.125;branch=z9hG4bKkdjuw23492\r\nContent-Length: 0\r\n\r\n\
          INVITE sip:joe@example.com SIP/2.0\r\nt: sip:joe@example.com\r\n\r\n",
    )
    .unwrap();
    assert_eq!(message.method(), Method::Register);
    assert!(message.body().is_empty());
}

#[test]
fn section_3_1_1_11_and_12_unusual_reason_phrases() {
    let mut bytes = b"SIP/2.0 200 = 2**3 * 5**2 ".to_vec();
    bytes.extend_from_slice("\u{43d}\u{43e} \u{441}\u{442}\u{43e}".as_bytes());
    let rest = b"\r\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\r\nCall-ID: unreason.1234ksdfak3j2erwedfsASdf\r\n\
          CSeq: 35 INVITE\r\nFrom: sip:user@example.com;tag=11141343\r\nTo: sip:user@example.edu;tag=2229\r\n\
          Content-Length: 0\r\n\r\n";
    bytes.extend_from_slice(rest);
    assert_eq!(read(&bytes).unwrap().status(), Some(200));
    let mut none = b"SIP/2.0 100 ".to_vec();
    none.extend_from_slice(rest);
    assert_eq!(read(&none).unwrap().status(), Some(100));
}

/// A message of section 3.1.2, with these start line, field and body.
fn invalid(start: &str, core: &str, rest: &str) -> Vec<u8> {
    format!(
        "{start}\r\nVia: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw\r\nMax-Forwards: 70\r\nCall-ID: x.0ha0isndaksdj\r\n\
         {core}\r\n{rest}"
    )
    .into_bytes()
}

const CORE: &str =
    "To: sip:j.user@example.com\r\nFrom: sip:caller@example.net;tag=134161461246\r\nCSeq: 8 INVITE\r\n";

#[test]
fn section_3_1_2_invalid_messages_are_refused() {
    let line = "INVITE sip:user@example.com SIP/2.0";
    let with = |from: &str, to: &str| CORE.replace(from, to);
    for (section, bytes, status) in [
        (
            "2 Content-Length larger than message",
            invalid(line, &(CORE.to_owned() + "Content-Length: 9999\r\n"), "v=0\r\n"),
            Some(400),
        ),
        (
            "3 negative Content-Length",
            invalid(line, &(CORE.to_owned() + "Content-Length: -999\r\n"), "v=0\r\n"),
            Some(400),
        ),
        (
            "4 overlarge scalar fields",
            invalid(line, &with("CSeq: 8", "CSeq: 36893488147419103232"), ""),
            Some(400),
        ),
        ("5 overlarge status", invalid("SIP/2.0 4294967301 better not break the receiver", CORE, ""), None),
        (
            "6 unterminated quoted string",
            invalid(line, &with("sip:j.user@example.com", "\"Mr. J. User <sip:j.user@example.com>"), ""),
            Some(400),
        ),
        (
            "7 angle brackets around the Request-URI",
            invalid("INVITE <sip:user@example.com> SIP/2.0", CORE, ""),
            Some(400),
        ),
        (
            "8 white space in the Request-URI",
            invalid("INVITE sip:user@example.com; lr SIP/2.0", CORE, ""),
            Some(400),
        ),
        (
            "9 two blanks in the Request-Line",
            invalid("INVITE  sip:user@example.com  SIP/2.0", CORE, ""),
            Some(400),
        ),
        (
            "10 blanks after the Request-Line",
            invalid("INVITE sip:user@example.com SIP/2.0  ", CORE, ""),
            Some(400),
        ),
        (
            "13 blanks in an addr-spec",
            invalid(line, &with("sip:j.user@example.com", "\"Watson\" < sip:t.watson@example.org >"), ""),
            Some(400),
        ),
        (
            "14 unquoted display name with other characters",
            invalid(line, &with("sip:caller@example.net", "Bell, Alexander <sip:a.g.bell@example.com>"), ""),
            Some(400),
        ),
        ("15 unknown version", invalid("INVITE sip:user@example.com SIP/7.0", CORE, ""), Some(505)),
        ("16 CSeq and request differ", invalid("OPTIONS sip:user@example.com SIP/2.0", CORE, ""), Some(400)),
        (
            "17 the same with an unknown method",
            invalid("NEWMETHOD sip:user@example.com SIP/2.0", CORE, ""),
            Some(400),
        ),
    ] {
        assert_eq!(refused(&bytes), status, "3.1.2.{section}");
    }
}

#[test]
fn section_3_3_messages_of_the_transaction_and_application_layers() {
    let unknown_scheme =
        read(&invalid("INVITE nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", CORE, "")).unwrap();
    assert_eq!(unknown_scheme.request_uri().unwrap().scheme(), crate::engine::sip::uri::Scheme::Other);
    // 3.3.1: missing fields. 3.3.8: fields that may be there once.
    assert!(read(b"INVITE sip:user@example.com SIP/2.0\r\nCSeq: 193942 INVITE\r\nl: 0\r\n\r\n").is_err());
    let twice = CORE.to_owned() + "CSeq: 59 INVITE\r\nTo: sip:other@example.net\r\nMax-Forwards: 5\r\n";
    assert!(read(&invalid("INVITE sip:user@example.com SIP/2.0", &twice, "")).is_err());
}
