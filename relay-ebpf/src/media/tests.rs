use super::*;

const ALL: [Class; 4] = [Class::Rtp, Class::Rtcp, Class::Dtls, Class::Stun];

fn rule(classes: &[Class]) -> Rule {
    let classes = classes.iter().fold(Classes::default(), |all, &class| all.with(class));
    Rule { classes, payload_types: halves(1 << 101 | 1 << 8), encrypted: false }
}

fn class(rule: &Rule, length: u16, head: [u8; 2]) -> Result<Class, Verdict> {
    rule.class_of(length, || Ok(head))
}

#[test]
fn first_bytes_are_told_apart_as_rfc_7983_does() {
    let rule = rule(&ALL);
    for first in 0..=255 {
        let expected = match first {
            0..=3 => Ok(Class::Stun),
            16..=19 => Err(Verdict::Zrtp),
            20..=63 => Ok(Class::Dtls),
            64..=79 => Err(Verdict::TurnChannel),
            128..=191 => Ok(Class::Rtp),
            _ => Err(Verdict::NotRtp),
        };
        assert_eq!(class(&rule, 100, [first, 8]), expected, "{first}");
    }
}

#[test]
fn a_class_that_was_not_agreed_on_is_refused_by_its_name() {
    let none = rule(&[]);
    let rtcp = rule(&[Class::Rtcp]);
    let rtp = rule(&[Class::Rtp]);
    assert_eq!(class(&none, 100, [0, 1]), Err(Verdict::UnexpectedStun));
    assert_eq!(class(&none, 100, [22, 254]), Err(Verdict::UnexpectedDtls));
    assert_eq!(class(&rtcp, 100, [128, 8]), Err(Verdict::NotRtcp));
    // Without RTCP on the port, its types are RTP's 64 to 95 with the marker.
    assert_eq!(class(&rtp, 100, [128, 200]), Err(Verdict::PayloadType));
    assert_eq!(class(&rtp, 100, [128, 0x80 + 101]), Ok(Class::Rtp));
}

#[test]
fn rtp_and_rtcp_share_a_port_by_their_second_byte() {
    let mut both = rule(&[Class::Rtp, Class::Rtcp]);
    both.payload_types = [u64::MAX; 2];
    for second in 0..=255 {
        let expected = if (192..=223).contains(&second) { Class::Rtcp } else { Class::Rtp };
        assert_eq!(class(&both, 100, [128, second]), Ok(expected), "{second}");
    }
}

#[test]
fn every_payload_type_stands_for_itself_alone() {
    for agreed in 0..128_u8 {
        let rule = Rule { payload_types: halves(1 << agreed), ..rule(&[Class::Rtp]) };
        for asked in 0..128 {
            assert_eq!(rule.allows_payload_type(asked), asked == agreed);
        }
    }
}

#[test]
fn each_class_has_its_shortest_datagram() {
    let rule = rule(&ALL);
    for (head, shortest) in [([128, 8], 12), ([128, 200], 8), ([22, 254], 13), ([0, 1], 20)] {
        for length in 0..30 {
            let found = class(&rule, length, head);
            assert_eq!(found == Err(Verdict::TooShort), length < shortest, "{head:?} of {length}");
        }
    }
}

#[test]
fn an_opaque_flow_looks_at_nothing_but_the_length() {
    let rule = rule(&[Class::Opaque]);
    let of = |length| rule.class_of(length, || panic!("looked into the datagram"));
    assert_eq!(of(OPAQUE_MIN - 1), Err(Verdict::TooShort));
    assert_eq!(of(OPAQUE_MIN), Ok(Class::Opaque));
    assert_eq!(of(OPAQUE_MAX), Ok(Class::Opaque));
    assert_eq!(of(OPAQUE_MAX + 1), Err(Verdict::TooLong));
}

/// Where the payload of this packet begins.
fn payload(packet: &[u8], encrypted: bool) -> Result<u16, Verdict> {
    let rule = Rule { encrypted, ..rule(&[Class::Rtp]) };
    let length = u16::try_from(packet.len()).unwrap();
    rule.rtp_payload(packet[0], length, |at| Ok([packet[usize::from(at)], packet[usize::from(at) + 1]]))
}

/// RTP with these flags, sources and words of extension, then `rest`.
fn packet(flags: u8, sources: u8, extension: Option<u16>, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80 | flags | sources];
    packet.resize(12 + 4 * usize::from(sources), 0);
    if let Some(words) = extension {
        packet[0] |= 0x10;
        packet.extend([0xbe, 0xde]);
        packet.extend(words.to_be_bytes());
        packet.resize(packet.len() + 4 * usize::from(words), 0);
    }
    packet.extend(rest);
    packet
}

#[test]
fn everything_that_a_header_announces_must_be_there() {
    for sources in 0..=15 {
        for extension in [None, Some(0), Some(1), Some(70)] {
            let whole = packet(0, sources, extension, &[]);
            let end = u16::try_from(whole.len()).unwrap();
            assert_eq!(payload(&whole, false), Ok(end));
            assert_eq!(payload(&packet(0, sources, extension, &[1, 2, 3]), false), Ok(end));
            for cut in 12..whole.len() {
                assert_eq!(payload(&whole[..cut], false), Err(Verdict::BadRtpHeader), "{cut} of {end}");
            }
        }
    }
    let mut longest = packet(0, 15, Some(0), &[0; 400]);
    longest[12 + 60 + 2..][..2].fill(0xff);
    assert_eq!(payload(&longest, false), Err(Verdict::BadRtpHeader));
}

#[test]
fn padding_lies_within_the_payload_and_counts_itself() {
    let padded = |count| payload(&packet(0x20, 1, None, &[0, 0, 0, count]), false);
    assert_eq!(padded(0), Err(Verdict::BadRtpPadding));
    assert_eq!(padded(1), Ok(16));
    assert_eq!(padded(4), Ok(16));
    assert_eq!(padded(5), Err(Verdict::BadRtpPadding));
    assert_eq!(payload(&packet(0x20, 0, None, &[]), false), Err(Verdict::BadRtpPadding));
    // The count of SRTP is encrypted: any byte may stand there.
    assert_eq!(payload(&packet(0x20, 1, None, &[0, 0, 0, 200]), true), Ok(16));
}
