use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

const OFFER: &str = "v=0\r\n\
    o=alice 2890844526 2890844526 IN IP4 10.1.1.7\r\n\
    s=+12125551200 calling\r\n\
    i=from +12125551200\r\n\
    u=http://alice.example/12125551200\r\n\
    e=alice@example.com\r\n\
    p=+1 212 555 1200\r\n\
    c=IN IP4 10.1.1.7\r\n\
    b=AS:64\r\n\
    t=0 0\r\n\
    a=tool:12125551200\r\n\
    m=audio 49170 RTP/AVP 0 97 101\r\n\
    i=12125551200\r\n\
    k=clear:12125551200\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:97 AMR/8000/1\r\n\
    a=fmtp:97 mode-set=0,2,4;crc=12125551200;octet-align=1\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\n\
    a=rtpmap:98 leak12125551200/8000\r\n\
    a=ptime:20\r\n\
    a=candidate:1 1 UDP 2130706431 10.1.1.7 49170 typ host\r\n\
    a=ssrc:1 cname:12125551200@10.1.1.7\r\n\
    a=rtcp-mux\r\n\
    a=label:12125551200\r\n\
    a=sendonly\r\n\
    m=image 49172 udptl t38\r\n\
    m=audio 49174 RTP/SAVP 0\r\n";

fn anchor(address: &str) -> Anchor {
    Anchor { address: address.parse().unwrap(), shares: false, ice: None }
}

const LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

fn ours(version: u64) -> Origin {
    Origin { id: 7, version, address: IpAddr::from([192, 0, 2, 1]) }
}

fn parse(text: &str) -> Result<Description, SdpError> {
    Description::parse(text.as_bytes(), &Rules::default())
}

fn credentials() -> IceCredentials {
    let name = Token::parse("abcdefgh").unwrap();
    IceCredentials { name, password: Token::parse("abcdefghijklmnopqrstuv+/").unwrap() }
}

/// Under this policy, with one header extension allowed.
fn with(encryption: Encryption) -> Rules {
    Rules { encryption, extensions: Arc::from([LEVEL.to_owned()]) }
}

fn rtp(stream: &Stream) -> &Relayed {
    match &stream.content {
        StreamContent::Relayed(relayed) => relayed,
        StreamContent::Off => panic!("the stream is off"),
    }
}

#[test]
fn only_what_the_allow_list_names_is_written_again() {
    let offer = parse(OFFER).unwrap();
    let anchors = [Some(anchor("192.0.2.9:40000")), None, None];
    assert_eq!(
        offer.write(ours(3), &anchors, None),
        "v=0\r\n\
         o=- 7 3 IN IP4 192.0.2.1\r\n\
         s=-\r\n\
         c=IN IP4 192.0.2.9\r\n\
         t=0 0\r\n\
         m=audio 40000 RTP/AVP 0 97 101\r\n\
         a=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:97 AMR/8000/1\r\n\
         a=fmtp:97 mode-set=0,2,4;octet-align=1\r\n\
         a=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-16\r\n\
         a=ptime:20\r\n\
         a=sendonly\r\n\
         a=rtcp-mux\r\n\
         m=image 0 udptl t38\r\n\
         m=audio 0 RTP/SAVP 0\r\n"
    );
}

#[test]
fn what_the_far_end_wants_is_understood() {
    let offer = parse(OFFER).unwrap();
    assert_eq!(offer.streams.len(), 3);
    let audio = rtp(&offer.streams[0]);
    let far = FarEnd { rtp: "10.1.1.7:49170".parse().unwrap(), rtcp: "10.1.1.7:49171".parse().unwrap() };
    assert_eq!(audio.far, Some(far));
    assert_eq!(audio.direction, Direction::SendOnly);
    assert_eq!(audio.payload_types, PayloadTypes::from_iter([0, 97, 101]));
    assert_eq!(rtp(&offer.streams[1]).transport, Transport::Udptl { dtls: false });
    assert_eq!(offer.streams[2].content, StreamContent::Off, "keys are not relayed");
}

#[test]
fn addresses_come_from_the_section_the_session_and_a_rtcp() {
    let text = "v=0\no=- 1 1 IN IP6 ::1\ns=-\nc=IN IP4 192.0.2.7\nt=0 0\n\
        m=audio 5000 RTP/AVP 0\na=rtcp:6001 IN IP4 192.0.2.8\n\
        m=video 5002 RTP/AVP 96\nc=IN IP6 2001:db8::1\na=rtcp:7001\na=rtpmap:96 H264/90000\n";
    let description = parse(text).unwrap();
    assert_eq!(rtp(&description.streams[0]).far.unwrap().rtp, "192.0.2.7:5000".parse().unwrap());
    assert_eq!(rtp(&description.streams[0]).far.unwrap().rtcp, "192.0.2.8:6001".parse().unwrap());
    assert_eq!(rtp(&description.streams[1]).far.unwrap().rtcp, "[2001:db8::1]:7001".parse().unwrap());
    let anchors = [Some(anchor("192.0.2.1:40000")), Some(anchor("[2001:db8::9]:40002"))];
    let written = description.write(ours(0), &anchors, None);
    assert!(written.contains("m=video 40002 RTP/AVP 96\r\nc=IN IP6 2001:db8::9\r\n"), "{written}");
}

#[test]
fn each_side_shares_a_port_with_rtcp_by_itself() {
    let describe = |mux: &str| {
        let text = format!("v=0\r\nc=IN IP4 10.2.2.7\r\nm=audio 6000 RTP/AVP 0\r\n{mux}");
        parse(&text).unwrap()
    };
    let (with, without) = (describe("a=rtcp-mux\r\n"), describe(""));
    let anchors = [Some(anchor("192.0.2.9:40000"))];
    for (offer, answer, shares) in
        [(&with, &with, true), (&with, &without, true), (&without, &with, false), (&without, &without, false)]
    {
        let written = answer.write(ours(0), &anchors, Some(offer));
        assert_eq!(written.contains("a=rtcp-mux\r\n"), shares, "{written}");
    }
    for (offer, does, offered) in
        [(&with, false, true), (&with, true, true), (&without, false, false), (&without, true, true)]
    {
        let anchors = anchors.map(|anchor| anchor.map(|anchor| Anchor { shares: does, ..anchor }));
        let written = offer.write(ours(0), &anchors, None);
        assert_eq!(written.contains("a=rtcp-mux\r\n"), offered, "{written}");
    }
}

const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

fn fingerprint() -> String {
    format!("a=fingerprint:sha-256 {}", vec!["AB"; 32].join(":"))
}

/// Its first section, written again under a policy; `None` when it is off.
fn crossing(text: &str, encryption: Encryption) -> Option<String> {
    let description = Description::parse(text.as_bytes(), &with(encryption)).unwrap();
    let encrypted_and_off = description.streams[0].content == StreamContent::Off;
    assert_eq!(
        description.encryption_refused,
        encrypted_and_off && encryption == Encryption::Strict,
        "{text}"
    );
    description.is_relayable().then(|| {
        let written = description.write(ours(0), &[Some(anchor("192.0.2.9:40000"))], None);
        written.split_once("m=").unwrap().1.to_owned()
    })
}

#[test]
fn keys_in_the_description_cross_where_far_ends_may_encrypt() {
    let offer = format!(
        "v=0\r\nc=IN IP4 10.2.2.7\r\nm=audio 6000 RTP/SAVP 0\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31\r\n\
         a=crypto:2 SECRET inline:{KEY}\r\na=ssrc:1 cname:SECRET\r\na=key-mgmt:mikey SECRET\r\n"
    );
    assert_eq!(crossing(&offer, Encryption::Strict), None);
    let written = crossing(&offer, Encryption::EndToEnd).unwrap();
    assert_eq!(
        written,
        format!(
            "audio 40000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31\r\na=sendrecv\r\n"
        )
    );
    let in_clear = offer.replace("RTP/SAVP", "RTP/AVP");
    for policy in [Encryption::Strict, Encryption::EndToEnd] {
        assert!(
            !crossing(&in_clear, policy).unwrap().contains("crypto"),
            "whoever offers both gets plain RTP"
        );
    }
}

#[test]
fn fingerprints_cross_where_far_ends_may_encrypt() {
    let (fingerprint, setup) = (fingerprint(), "a=setup:actpass");
    for (protocol, session, section) in [
        ("UDP/TLS/RTP/SAVPF", format!("{fingerprint}\r\n{setup}"), String::new()),
        ("UDP/TLS/RTP/SAVP", setup.to_owned(), fingerprint.clone()),
        ("RTP/SAVPF", String::new(), format!("{fingerprint}\r\n{setup}")),
    ] {
        let text = format!(
            "v=0\r\nc=IN IP4 10.2.2.7\r\n{session}\r\na=tls-id:SECRET\r\nm=audio 6000 {protocol} 0\r\n{section}\r\n\
             a=rtcp-mux\r\na=msid:SECRET SECRET\r\na=identity:SECRET\r\n"
        );
        assert_eq!(crossing(&text, Encryption::Strict), None);
        assert_eq!(
            crossing(&text, Encryption::EndToEnd).unwrap(),
            format!("audio 40000 {protocol} 0\r\n{fingerprint}\r\n{setup}\r\na=sendrecv\r\na=rtcp-mux\r\n")
        );
        let transport = |text: &str| {
            let rules = &with(Encryption::EndToEnd);
            let description = Description::parse(text.as_bytes(), rules).unwrap();
            rtp(&description.streams[0]).transport
        };
        assert_eq!(transport(&text), Transport::Srtp { dtls: true });
    }
}

#[test]
fn fax_crosses_with_the_attributes_of_t38() {
    let text = "v=0\r\nc=IN IP4 10.2.2.7\r\na=T38FaxMaxBuffer:9\r\nm=image 6000 UDPTL T38\r\n\
        a=T38FaxVersion:0\r\na=t38maxbitrate:14400\r\na=T38FaxRateManagement:transferredTCF\r\n\
        a=T38FaxUdpEC:t38UDPRedundancy\r\na=T38VendorInfo:SECRET\r\na=T38FaxMaxDatagram:SECRET\r\n\
        a=ptime:20\r\na=rtcp-mux\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNf\r\na=secret:SECRET\r\n";
    let written = crossing(text, Encryption::Strict).unwrap();
    assert_eq!(
        written,
        "image 40000 udptl t38\r\na=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\n\
         a=T38FaxRateManagement:transferredTCF\r\na=T38FaxUdpEC:t38UDPRedundancy\r\na=sendrecv\r\n"
    );
    assert!(crossing(&text.replace("m=image", "m=audio"), Encryption::EndToEnd).is_none());
    let sealed = format!("{}{}\r\n", text.replace("UDPTL T38", "UDP/TLS/UDPTL t38"), fingerprint());
    assert_eq!(crossing(&sealed, Encryption::Strict), None);
    let written = crossing(&sealed, Encryption::EndToEnd).unwrap();
    assert!(written.starts_with("image 40000 UDP/TLS/UDPTL t38\r\n") && written.contains("fingerprint"));
    let audio = "v=0\r\nc=IN IP4 10.2.2.7\r\nm=audio 6000 RTP/AVP 0\r\na=T38FaxVersion:0\r\n";
    assert!(!crossing(audio, Encryption::Strict).unwrap().contains("T38"));
}

#[test]
fn what_is_encrypted_with_nothing_that_is_known_is_off() {
    for (protocol, attribute) in [
        ("RTP/SAVP", "a=crypto:1 SECRET inline:SECRET"),
        ("RTP/SAVP", "a=setup:actpass"),
        ("UDP/TLS/RTP/SAVPF", "a=fingerprint:sha-256 AB"),
    ] {
        let text = format!("v=0\r\nc=IN IP4 10.2.2.7\r\nm=audio 6000 {protocol} 0\r\n{attribute}\r\n");
        let rules = &with(Encryption::EndToEnd);
        let description = Description::parse(text.as_bytes(), rules).unwrap();
        assert!(!description.is_relayable() && !description.encryption_refused, "{text}");
    }
}

#[test]
fn what_was_bundled_is_written_apart() {
    let text = "v=0\r\nc=IN IP4 10.2.2.7\r\na=group:BUNDLE SECRET 1\r\na=msid-semantic:WMS SECRET\r\n\
        m=audio 6000 RTP/AVP 0\r\na=mid:SECRET\r\na=rtcp-mux\r\n\
        m=video 6000 RTP/AVP 96\r\na=mid:1\r\na=rtcp-mux\r\n\
        m=video 0 RTP/AVP 97\r\na=mid:2\r\na=bundle-only\r\n";
    let description = parse(text).unwrap();
    assert_eq!(description.streams[2].content, StreamContent::Off, "it would have had no port of its own");
    let anchors = [Some(anchor("192.0.2.9:40000")), Some(anchor("192.0.2.9:40002")), None];
    let written = description.write(ours(0), &anchors, None);
    for word in ["group", "mid", "bundle", "SECRET"] {
        assert!(!written.contains(word), "{word} in {written}");
    }
    let sections: Vec<&str> = written.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(sections, ["m=audio 40000 RTP/AVP 0", "m=video 40002 RTP/AVP 96", "m=video 0 RTP/AVP 97"]);
}

#[test]
fn header_extensions_cross_where_the_configuration_names_them() {
    let text = format!(
        "v=0\r\nc=IN IP4 10.2.2.7\r\na=extmap:3 {LEVEL}\r\nm=audio 6000 RTP/AVP 0\r\n\
         a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:5 SECRET\r\n"
    );
    assert!(
        !parse(&text).unwrap().write(ours(0), &[Some(anchor("192.0.2.9:40000"))], None).contains("extmap"),
        "none by default"
    );
    let description = Description::parse(text.as_bytes(), &with(Encryption::Strict)).unwrap();
    let written = description.write(ours(0), &[Some(anchor("192.0.2.9:40000"))], None);
    let lines: Vec<&str> = written.lines().filter(|line| line.starts_with("a=extmap")).collect();
    assert_eq!(lines, [format!("a=extmap:3 {LEVEL}")]);
    assert_eq!(rtp(&description.streams[0]).extensions, ExtensionIds::default().with(3));
}

#[test]
fn early_feedback_crosses_in_words_that_are_known() {
    let section = "m=video 6000 PROTOCOL 96 97\r\n\
        a=rtpmap:96 H264/90000\r\n\
        a=rtcp-fb:* nack pli\r\n\
        a=rtcp-fb:96 ccm fir\r\n\
        a=rtcp-fb:96 trr-int 100\r\n\
        a=rtcp-fb:98 nack\r\n\
        a=rtcp-fb:96 alice\r\n\
        a=rtcp-fb:x nack\r\n";
    for (protocol, kept) in
        [("RTP/AVPF", &["* nack pli", "96 ccm fir", "96 trr-int 100"][..]), ("RTP/AVP", &[])]
    {
        let text = format!("v=0\r\nc=IN IP4 10.2.2.7\r\n{}", section.replace("PROTOCOL", protocol));
        let anchors = [Some(anchor("192.0.2.9:40000"))];
        let written = parse(&text).unwrap().write(ours(0), &anchors, None);
        let found: Vec<&str> = written.lines().filter_map(|line| line.strip_prefix("a=rtcp-fb:")).collect();
        assert_eq!(found, kept, "{written}");
        assert!(written.contains(&format!("m=video 40000 {protocol} 96 97\r\n")));
    }
}

#[test]
fn the_codec_is_the_first_that_speaks() {
    for (formats, maps, name, clock_rate) in [
        ("0 8", "", "PCMU", 8000),
        ("101 9", "a=rtpmap:101 telephone-event/8000\r\n", "G722", 8000),
        ("111", "a=rtpmap:111 OPUS/48000/2\r\n", "opus", 48_000),
        ("111", "a=rtpmap:111 alice/16000\r\n", "other", 16_000),
        ("0", "a=rtpmap:0 PCMU/16000\r\n", "PCMU", 16_000),
        ("96", "", "other", 0),
        ("13", "", "CN", 8000),
    ] {
        let text = format!("v=0\r\nc=IN IP4 10.2.2.7\r\nm=audio 6000 RTP/AVP {formats}\r\n{maps}");
        let description = parse(&text).unwrap();
        let codec = rtp(&description.streams[0]).codec;
        assert_eq!((codec.encoding.as_str(), codec.clock_rate), (name, clock_rate), "{formats} {maps}");
    }
}

#[test]
fn the_unspecified_address_is_hold() {
    for (attribute, direction) in [
        ("", Direction::SendOnly),
        ("a=sendonly\r\n", Direction::SendOnly),
        ("a=recvonly\r\n", Direction::Inactive),
        ("a=inactive\r\n", Direction::Inactive),
    ] {
        let text = format!("v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 5000 RTP/AVP 0\r\n{attribute}");
        let description = parse(&text).unwrap();
        assert_eq!(rtp(&description.streams[0]).far, None);
        assert_eq!(rtp(&description.streams[0]).direction, direction);
    }
}

#[test]
fn an_answer_has_the_sections_of_its_offer() {
    let offer = parse(OFFER).unwrap();
    let text = "v=0\r\nc=IN IP4 10.2.2.7\r\nm=audio 6000 RTP/AVP 0\r\n";
    let anchors = [Some(anchor("192.0.2.9:40000"))];
    let written = parse(text).unwrap().write(ours(0), &anchors, Some(&offer));
    let sections: Vec<&str> = written.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(sections, ["m=audio 40000 RTP/AVP 0", "m=image 0 udptl t38", "m=audio 0 RTP/SAVP 0"]);
}

#[test]
fn what_cannot_be_relayed_is_refused_with_its_line() {
    let session = "v=0\r\nc=IN IP4 192.0.2.1\r\n";
    let many = format!("{session}{}", "m=audio 5000 RTP/AVP 0\r\n".repeat(MAX_STREAMS + 1));
    let formats = " 0".repeat(MAX_FORMATS + 1);
    for (text, error) in [
        ("", SdpError::Malformed('v')),
        ("v=1\r\n", SdpError::Malformed('v')),
        ("v=0\r\nnonsense\r\n", SdpError::Malformed('?')),
        ("v=0\r\nm=audio 5000 RTP/AVP 0\r\n", SdpError::Malformed('c')),
        ("v=0\r\nc=IN IP4 alice.example.com\r\nm=audio 5000 RTP/AVP 0\r\n", SdpError::Malformed('c')),
        ("v=0\r\nc=IN IP4 224.2.1.1/127\r\nm=audio 5000 RTP/AVP 0\r\n", SdpError::Malformed('c')),
        ("v=0\r\nc=IN IP6 192.0.2.1\r\nm=audio 5000 RTP/AVP 0\r\n", SdpError::Malformed('c')),
        (&format!("{session}m=audio\r\n"), SdpError::Malformed('m')),
        (&format!("{session}m=audio 65536 RTP/AVP 0\r\n"), SdpError::Malformed('m')),
        (&format!("{session}m=audio 5000 RTP/AVP\r\n"), SdpError::Malformed('m')),
        (&format!("{session}m=audio 5000 RTP/AVP 128\r\n"), SdpError::Malformed('m')),
        (&format!("{session}m=audio 5000 RTP/AVP{formats}\r\n"), SdpError::TooMany),
        (&many, SdpError::TooMany),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
}

/// Any line that a peer could write, ours among them.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("c=IN IP4 10.1.2.3".to_owned()),
        Just("c=IN IP4 0.0.0.0".to_owned()),
        Just("c=IN IP6 2001:db8::7".to_owned()),
        Just("a=sendonly".to_owned()),
        Just("a=inactive".to_owned()),
        Just("a=rtcp-mux".to_owned()),
        "a=rtcp-fb:(\\*|[0-9]{1,3}) (nack|ccm fir|SECRET|trr-int [0-9]{1,9})",
        (0..128_u8, "[A-Za-z]{1,8}").prop_map(|(pt, name)| format!("a=rtpmap:{pt} {name}/8000")),
        (0..128_u8, "[ -~]{0,40}").prop_map(|(pt, value)| format!("a=fmtp:{pt} {value}")),
        (
            "(audio|video|image|x)",
            any::<u16>(),
            "(RTP/AVP|RTP/AVPF|RTP/SAVP|UDP/TLS/RTP/SAVPF|udptl|y)",
            0..128_u8
        )
            .prop_map(|(media, port, protocol, pt)| format!("m={media} {port} {protocol} {pt} 0")),
        "[a-z]=[ -~]{0,40}",
        Just(format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")),
        "a=crypto:[0-9]{1,12} (AES_CM_128_HMAC_SHA1_80|SECRET) inline:[A-Za-z0-9+/]{38,41}(\\|[0-9:^]{0,9}| SECRET)?",
        Just(format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|14155550100:4 SECRET")),
        Just(fingerprint()),
        Just(format!("a=extmap:1 {LEVEL} SECRET")),
        "a=extmap:[0-9]{1,11}(/sendonly|/SECRET)? (urn:ietf:params:rtp-hdrext:ssrc-audio-level|SECRET)( vad=on)?",
        "a=fingerprint:(sha-1|SECRET) ([0-9A-F]{2}:){18,20}[0-9A-F]{2}( SECRET)?",
        "a=setup:(actpass|active|SECRET)",
        Just("a=ice-ufrag:SECRET".to_owned()),
        Just("a=ice-pwd:SECRETSECRETSECRETSECRET".to_owned()),
        Just("a=candidate:1 1 UDP 1 10.1.2.3 9 typ host".to_owned()),
        Just("a=ice-options:SECRET".to_owned()),
        Just("m=image 6000 udptl t38".to_owned()),
        Just("m=image 6000 UDP/TLS/UDPTL SECRET".to_owned()),
        "a=T38(FaxVersion|FaxUdpEC|FaxMaxBuffer|VendorInfo)(:(SECRET|14155550100|[0-9]{1,9}))?",
        Just("a=key-mgmt:mikey SECRET".to_owned()),
        Just("a=secret:SECRET".to_owned()),
        Just("s=SECRET".to_owned()),
        Just("a=fmtp:0 x=SECRET@SECRET".to_owned()),
        Just("a=fmtp:0 x=14155550100".to_owned()),
        Just("m=SECRET 5 SECRET SECRET".to_owned()),
    ]
}

proptest! {
    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Description::parse(&bytes, &Rules::default());
    }

    #[test]
    fn what_we_write_is_a_description_and_holds_nothing_of_the_peer(
        lines in proptest::collection::vec(line(), 0..24),
        speaks_ice in any::<bool>(),
        encryption in prop_oneof![Just(Encryption::Strict), Just(Encryption::EndToEnd)],
        anchored in proptest::collection::vec(any::<bool>(), MAX_STREAMS),
    ) {
        let text = format!("v=0\r\nc=IN IP4 10.9.9.9\r\n{}\r\n", lines.join("\r\n"));
        let parse = |text: &str| Description::parse(text.as_bytes(), &with(encryption));
        let Ok(description) = parse(&text) else { return Ok(()) };
        let anchors: Vec<Option<Anchor>> = anchored
            .iter()
            .enumerate()
            .map(|(i, yes)| {
                let address = SocketAddr::from(([192, 0, 2, 1], 40_000 + 2 * u16::try_from(i).unwrap()));
                yes.then_some(Anchor { address, shares: false, ice: speaks_ice.then(credentials) })
            })
            .collect();
        let written = description.write(ours(1), &anchors, None);
        for leak in ["SECRET", "10.9.9.9", "10.1.2.3", "2001:db8::7", "14155550100"] {
            prop_assert!(!written.contains(leak), "{leak} in {written}");
        }
        prop_assert!(sdp_types::Session::parse(written.as_bytes()).is_ok(), "{written}");
        let again = parse(&written).unwrap();
        prop_assert_eq!(again.streams.len(), description.streams.len());
        // Written once more from what was read, nothing is lost: the allow-list is stable.
        let stable: Vec<Option<Anchor>> = again
            .streams
            .iter()
            .zip(&anchors)
            .map(|(stream, anchor)| if stream.content == StreamContent::Off { None } else { *anchor })
            .collect();
        prop_assert_eq!(again.write(ours(1), &stable, None), written);
    }
}
