//! Our views against rsip's, on single normalised values, where rsip can be
//! right: no white space, no IPv6, no unknown tokens, no colon in a parameter.

use proptest::prelude::*;
use rsip::headers::{ToTypedHeader, UntypedHeader};

use super::super::*;
use crate::engine::sip::header::Transport;
use crate::engine::sip::uri::Scheme;

const HOST: &str = "[a-z][a-z0-9]{0,8}(\\.[a-z][a-z0-9]{0,8}){1,3}|192\\.0\\.2\\.[1-9]";
const TOKEN: &str = "[a-zA-Z0-9]{1,24}";

fn host_with_port(host: &str, port: Option<u16>) -> String {
    port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

proptest! {
    #[test]
    fn via(
        transport in prop::sample::select(vec!["UDP", "TCP", "TLS"]),
        host in HOST,
        port in proptest::option::of(1_u16..),
        branch in TOKEN,
        received in proptest::option::of(any::<[u8; 4]>()),
    ) {
        let received = received.map(std::net::Ipv4Addr::from);
        let sent_by = host_with_port(&host, port);
        let received_text = received.map_or_else(String::new, |ip| format!(";received={ip}"));
        let text = format!("SIP/2.0/{transport} {sent_by};branch=z9hG4bK{branch}{received_text}");
        let theirs = rsip::headers::untyped::Via::new(text.as_str()).typed().unwrap();
        let ours = Via::parse(&text).unwrap();
        prop_assert_eq!(theirs.branch().unwrap().value(), ours.branch().unwrap());
        prop_assert_eq!(theirs.uri.host_with_port.to_string(), host_with_port(ours.host, ours.port));
        prop_assert_eq!(theirs.received().unwrap(), ours.received());
        let agrees = match ours.transport {
            Transport::Udp => theirs.transport == rsip::Transport::Udp,
            Transport::Tcp => theirs.transport == rsip::Transport::Tcp,
            Transport::Tls => theirs.transport == rsip::Transport::Tls,
            Transport::Other(_) => false,
        };
        prop_assert!(agrees);
    }

    #[test]
    fn cseq(number in 0_u32..1 << 31, method in prop::sample::select(rsip::Method::all())) {
        let text = format!("{number} {method}");
        let theirs = rsip::headers::untyped::CSeq::new(text.as_str()).typed().unwrap();
        let ours = CSeq::parse(&text).unwrap();
        prop_assert_eq!(theirs.seq, ours.number);
        prop_assert_eq!(theirs.method.to_string(), ours.method.as_str());
        prop_assert!(!matches!(ours.method, Method::Other(_)));
    }

    #[test]
    fn from(
        display in proptest::option::of("[a-zA-Z]{1,12}"),
        secure in any::<bool>(),
        user in "\\+?[0-9]{3,15}|[a-z]{1,10}",
        host in HOST,
        port in proptest::option::of(1_u16..),
        tag in TOKEN,
    ) {
        let display_text = display.as_ref().map_or_else(String::new, |name| format!("\"{name}\" "));
        let (scheme, at) = (if secure { "sips" } else { "sip" }, host_with_port(&host, port));
        let text = format!("{display_text}<{scheme}:{user}@{at}>;tag={tag}");
        let theirs = rsip::headers::untyped::From::new(text.as_str()).typed().unwrap();
        let ours = NameAddr::parse(&text).unwrap();
        let uri = ours.uri();
        // rsip keeps the quotes.
        prop_assert_eq!(theirs.display_name.as_deref().unwrap_or_default().trim_matches('"'), ours.display);
        prop_assert_eq!(theirs.uri.user(), uri.user());
        prop_assert_eq!(theirs.uri.host_with_port.to_string(), at);
        prop_assert_eq!(theirs.uri.port().map(|port| *port.value()), uri.port());
        prop_assert_eq!(theirs.uri.is_sips().unwrap(), uri.scheme() == Scheme::Sips);
        prop_assert_eq!(ours.tag(), Some(tag.as_str()));
    }
}
