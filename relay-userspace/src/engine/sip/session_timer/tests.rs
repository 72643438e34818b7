use super::*;
use crate::engine::sip::message::ParseLimits;

fn message(fields: &str) -> Message {
    let text = format!(
        "INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:b@h>;tag=1\r\n\
         To: <sip:a@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{fields}Content-Length: 0\r\n\r\n"
    );
    Message::parse(text.as_bytes(), &ParseLimits { bytes: 65_536, headers: 64 }).unwrap()
}

#[test]
fn the_interval_and_who_refreshes_are_read() {
    let read = |text: &str| SessionExpires::of(&message(text));
    let expires = |interval, refresher| Ok(Some(SessionExpires { interval, refresher }));
    assert_eq!(read(""), Ok(None));
    assert_eq!(read("Session-Expires: 1800\r\n"), expires(1800, None));
    assert_eq!(read("x: 90 ; Refresher=UAS;y=z\r\n"), expires(90, Some(Refresher::Uas)));
    assert_eq!(
        read("Session-Expires: 99999999999;refresher=uac\r\n"),
        expires(u32::MAX, Some(Refresher::Uac))
    );
    for bad in ["", "x", "-1", "18 00", "1800;refresher=me", "1800;", "1800 refresher=uac", "0x10"] {
        assert!(read(&format!("Session-Expires: {bad}\r\n")).is_err(), "{bad}");
    }
}

#[test]
fn nobody_insists_on_less_than_ninety_seconds() {
    assert_eq!(min_se(&message("")), Ok(90));
    assert_eq!(min_se(&message("Min-SE: 20\r\n")), Ok(90));
    assert_eq!(min_se(&message("Min-SE: 600;a=b\r\n")), Ok(600));
    assert!(min_se(&message("Min-SE: soon\r\n")).is_err());
}

#[test]
fn an_option_is_supported_where_it_is_named() {
    assert!(supports(&message("Supported: 100rel, TIMER\r\n"), "timer"));
    assert!(supports(&message("k: replaces\r\nRequire: timer\r\n"), "timer"));
    assert!(!supports(&message("Supported: timers\r\n"), "timer"));
}
