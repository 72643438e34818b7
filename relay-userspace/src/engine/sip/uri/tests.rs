use super::*;

fn uri(text: &str) -> Uri {
    Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn debug_hides_the_user_part() {
    let shown = |text| format!("{:?}", uri(text));
    assert_eq!(shown("sip:+14155550100@192.0.2.1:5070;user=phone"), "sip:…@192.0.2.1:5070");
    assert_eq!(shown("tel:+14155550100"), "tel:…");
    assert_eq!(shown("urn:service:sos"), "urn:…");
    assert_eq!(shown("sip:[2001:db8::1]:5061"), "sip:2001:db8::1:5061");
}

#[test]
fn the_parts_of_a_sip_uri() {
    let uri = uri("sips:alice:secret@example.com:5061;transport=tcp;lr?subject=x&to=y");
    assert_eq!(uri.scheme(), Scheme::Sips);
    assert_eq!(uri.user(), Some("alice"));
    assert_eq!(uri.password(), Some("secret"));
    assert_eq!(uri.host(), Some(Host::Name("example.com")));
    assert_eq!(uri.port(), Some(5061));
    assert_eq!(uri.param("Transport"), Some("tcp"));
    assert!(uri.is_loose_router());
    assert_eq!(uri.param("maddr"), None);
    assert_eq!(uri.headers(), Some("subject=x&to=y"));
}

#[test]
fn dots_colons_and_parameters_stay_where_they_belong() {
    let dotted = uri("sip:john.doe@h");
    assert_eq!((dotted.user(), dotted.host()), (Some("john.doe"), Some(Host::Name("h"))));
    let subscriber = uri("sip:+1415;phone-context=example.com@h");
    assert_eq!(subscriber.user(), Some("+1415;phone-context=example.com"));
    assert_eq!(subscriber.subscriber().as_deref(), Some("+1415"));
    assert_eq!(subscriber.host(), Some(Host::Name("h")));
    assert_eq!(subscriber.as_str(), "sip:+1415;phone-context=example.com@h");
    let headers = uri("sip:b@h?Replaces=x");
    assert_eq!((headers.host(), headers.headers()), (Some(Host::Name("h")), Some("Replaces=x")));
    assert_eq!(uri("sip:a@h;x=sip:y").param("x"), Some("sip:y"));
    assert_eq!(uri("sip:a@h;transport=quic").param("transport"), Some("quic"));
    assert_eq!(uri("sip:*21#@h").user(), Some("*21#"));
}

#[test]
fn tel_and_urn_are_uris() {
    let tel = uri("tel:+1-(415)-555-0100;ext=22");
    assert_eq!(
        (tel.scheme(), tel.user(), tel.param("ext")),
        (Scheme::Tel, Some("+1-(415)-555-0100"), Some("22"))
    );
    assert_eq!(tel.host(), None);
    let urn = uri("urn:service:sos");
    assert_eq!((urn.scheme(), urn.user(), urn.host()), (Scheme::Other, None, None));
}

#[test]
fn addresses_of_both_families() {
    assert_eq!(uri("sip:[2001:db8::1]:5060").socket_address(), "[2001:db8::1]:5060".parse().ok());
    assert_eq!(uri("sip:a@192.0.2.1").socket_address(), "192.0.2.1:5060".parse().ok());
    assert_eq!(uri("sip:a@example.com").socket_address(), None);
}

#[test]
fn what_is_no_uri_is_refused_for_its_reason() {
    for (text, error) in [
        ("", UriError::Scheme),
        ("alice", UriError::Scheme),
        ("1sip:a@h", UriError::Scheme),
        ("sip:", UriError::Host),
        ("sip:@h", UriError::User),
        ("sip:a@", UriError::Host),
        ("sip:a@b@h", UriError::User),
        ("sip:a%4@h", UriError::User),
        ("sip:a%zz@h", UriError::User),
        ("sip:a@h:", UriError::Port),
        ("sip:a@h:0", UriError::Port),
        ("sip:a@h:65536", UriError::Port),
        ("sip:a@h:+5", UriError::Port),
        ("sip:a@[::1", UriError::Host),
        ("sip:a@[192.0.2.1]", UriError::Host),
        ("sip:a@[::1]x", UriError::Host),
        ("sip:a b@h", UriError::Character),
        ("sip:a@h\r\nX: y", UriError::Character),
        ("<sip:a@h>", UriError::Scheme),
        ("tel:", UriError::Telephone),
        ("tel:bob@h", UriError::Telephone),
        ("urn:", UriError::Host),
    ] {
        assert_eq!(Uri::parse(text), Err(error), "{text}");
    }
}

#[test]
fn a_user_part_is_escaped_when_written_and_unescaped_when_read() {
    let uri = Uri::sip(Some("a b@\r\n%"), "example.com", Some(5070)).unwrap();
    assert_eq!(uri.as_str(), "sip:a%20b%40%0D%0A%25@example.com:5070");
    assert_eq!(uri.subscriber().as_deref(), Some("a b@\r\n%"));
    assert_eq!(Uri::sip(Some("a"), "h\r\nX: y", None), Err(UriError::Character));
    let at = Uri::sip_at(Some("+1"), "[2001:db8::1]:5060".parse().unwrap());
    assert_eq!(at.as_str(), "sip:+1@[2001:db8::1]:5060");
}
