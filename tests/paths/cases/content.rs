//! What a packet must look like, class by class.

use std::net::SocketAddr;

use vizard::engine::flow::Content;
use vizard::engine::io::Datagram;

use crate::rig::{Family, Rig, Side, assert_silent, far, receive, rtcp, rtp};

pub(crate) fn what_is_no_media_is_refused_by_name(rig: &mut Rig) {
    let call = rig.call(Family::V4, Family::V4);
    let first_byte = |byte: u8| [&[byte], &rtp(0, 1)[1..]].concat();
    for (payload, verdict) in [
        (Vec::new(), "too-short"),
        (rtp(0, 1)[..11].to_vec(), "too-short"),
        (first_byte(0x00), "unexpected-stun"),
        (first_byte(0x04), "not-rtp"),
        (first_byte(0x10), "zrtp"),
        (first_byte(0x16), "unexpected-dtls"),
        // Versions 1 and 3.
        (first_byte(0x40), "turn-channel"),
        (first_byte(0x7f), "not-rtp"),
        (first_byte(0xc0), "not-rtp"),
        (rtp(9, 1), "payload-type"),
        (rtp(0xe0, 1), "payload-type"),
    ] {
        rig.refused(&call.customer, &call.there, &payload, verdict);
    }
    // The marker bit is no part of the payload type.
    for payload in [rtp(0x80, 2), rtp(101, 3)] {
        call.customer.send_to(&payload, call.there.local).unwrap();
        assert_eq!(receive(&call.agent).1, payload);
    }
}

pub(crate) fn what_is_no_rtcp_is_refused_by_name(rig: &mut Rig) {
    let mut call = rig.call(Family::V6, Family::V6);
    call.there.content = Content::rtcp();
    rig.put(&call.there);
    for (payload, verdict) in [
        (rtcp()[..7].to_vec(), "too-short"),
        (rtp(0, 1), "not-rtcp"),
        (vec![0x80, 191, 0, 1, 0, 0, 0, 0], "not-rtcp"),
        (vec![0x80, 224, 0, 1, 0, 0, 0, 0], "not-rtcp"),
        (vec![0x40, 201, 0, 1, 0, 0, 0, 0], "turn-channel"),
    ] {
        rig.refused(&call.customer, &call.there, &payload, verdict);
    }
    call.customer.send_to(&rtcp(), call.there.local).unwrap();
    assert_eq!(receive(&call.agent).1, rtcp());
}

/// However short a datagram is cut: what crosses is whole.
pub(crate) fn what_is_cut_short_is_refused_by_name(rig: &mut Rig) {
    let mut call = rig.call(Family::V4, Family::V4);
    // Two sources, and an extension of two words.
    let mut extended = rtp(0, 1);
    extended[0] |= 0x12;
    extended.splice(12..12, [&[0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 2][..], &[0; 8]].concat());
    for length in 0..48 {
        let cut = &extended[..length];
        match length {
            0..12 => rig.refused(&call.customer, &call.there, cut, "too-short"),
            12..32 => rig.refused(&call.customer, &call.there, cut, "bad-rtp-header"),
            _ => {
                call.customer.send_to(cut, call.there.local).unwrap();
                assert_eq!(receive(&call.agent).1, cut);
            }
        }
    }
    call.there.content = Content::rtcp();
    rig.put(&call.there);
    let report = [&[0x81, 201, 0, 7][..], &[7; 28]].concat();
    let compound = [report, vec![0x81, 203, 0, 1, 7, 7, 7, 7]].concat();
    for length in 0..=compound.len() {
        let cut = &compound[..length];
        match length {
            0..8 => rig.refused(&call.customer, &call.there, cut, "too-short"),
            32 | 40 => {
                call.customer.send_to(cut, call.there.local).unwrap();
                assert_eq!(receive(&call.agent).1, cut);
            }
            _ => rig.refused(&call.customer, &call.there, cut, "rtcp-malformed"),
        }
    }
}

pub(crate) fn rtcp_shares_a_port_where_agreed(rig: &mut Rig) {
    let mut call = rig.call(Family::V4, Family::V4);
    rig.refused(&call.customer, &call.there, &rtcp(), "payload-type");
    call.there.content.rtcp = true;
    rig.put(&call.there);
    for payload in [rtcp(), rtp(0, 1), rtcp()] {
        call.customer.send_to(&payload, call.there.local).unwrap();
        assert_eq!(receive(&call.agent).1, payload);
    }
    rig.refused(&call.customer, &call.there, &rtp(9, 2), "payload-type");
}

pub(crate) fn dtls_crosses_where_agreed(rig: &mut Rig) {
    let mut call = rig.call(Family::V4, Family::V4);
    call.there.content.dtls = true;
    rig.put(&call.there);
    let hello = [&[22, 0xfe, 0xfd][..], &[0; 60]].concat();
    for payload in [hello, rtp(0, 1)] {
        call.customer.send_to(&payload, call.there.local).unwrap();
        assert_eq!(receive(&call.agent).1, payload);
    }
}

/// Whoever asks, and whatever else crosses on that port.
pub(crate) fn stun_is_for_the_daemon_alone(rig: &mut Rig) {
    let question = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    for family in [Family::V4, Family::V6] {
        let mut call = rig.call(family, family);
        call.there.content.stun = true;
        rig.put(&call.there);
        let stranger = rig.socket(Side::Customer, SocketAddr::new(far(Side::Customer, family, 2), 4000));
        for asker in [&call.customer, &stranger] {
            asker.send_to(&question, call.there.local).unwrap();
            let asked = rig.asked();
            let remote = asker.local_addr().unwrap();
            assert_eq!((asked.local, asked.remote, &asked.bytes), (call.there.local, remote, &question));
            let answer = Datagram { bytes: b"an answer".to_vec(), ..asked };
            rig.datapath.send_stun(&answer);
            assert_eq!(receive(asker), (call.there.local, answer.bytes));
        }
        assert_silent(&call.agent);
        call.customer.send_to(&rtp(0, 1), call.there.local).unwrap();
        assert_eq!(receive(&call.agent).1, rtp(0, 1));
        call.there.content.stun = false;
        rig.put(&call.there);
        rig.refused(&call.customer, &call.there, &question, "unexpected-stun");
        for flow in [&call.there, &call.back] {
            rig.datapath.remove(flow.local);
        }
    }
}

pub(crate) fn opaque_datagrams_cross_up_to_their_limit(rig: &mut Rig) {
    let mut call = rig.call(Family::V4, Family::V4);
    call.there.content = Content { opaque: true, ..Content::default() };
    rig.put(&call.there);
    for payload in [vec![0, 0], vec![0x40; 200], vec![0xff; 1_452]] {
        call.customer.send_to(&payload, call.there.local).unwrap();
        assert_eq!(receive(&call.agent).1, payload);
    }
    rig.refused(&call.customer, &call.there, &[0; 1_453], "too-long");
}

/// Names in RTCP and in header extensions stay on the side that sent them, in
/// packets of the old length.
pub(crate) fn nothing_that_names_a_party_crosses(rig: &mut Rig) {
    const CANARY: &[u8; 8] = b"canary-7";
    const SOURCE: [u8; 4] = [0, 0, 0, 7];
    let compound = [
        &[0x80, 201, 0, 1][..],
        &SOURCE,
        &[0x81, 202, 0, 4],
        &SOURCE,
        &[1, 8],
        CANARY,
        &[0, 0, 0x80, 204, 0, 3],
        &SOURCE,
        CANARY,
        &[0x81, 203, 0, 4],
        &SOURCE,
        &[8],
        CANARY,
        &[0, 0, 0],
    ]
    .concat();
    let mut extended = rtp(0, 9);
    extended[0] |= 0x10;
    extended.splice(12..12, [&[0xbe, 0xde, 0, 3, 0x17][..], CANARY, &[0, 0, 0]].concat());
    for family in [Family::V4, Family::V6] {
        let mut call = rig.call(family, family);
        call.there.content.rtcp = true;
        rig.put(&call.there);
        for payload in [&compound, &extended] {
            call.customer.send_to(payload, call.there.local).unwrap();
            let (_, arrived) = receive(&call.agent);
            assert_eq!((arrived.len(), &arrived[..4]), (payload.len(), &payload[..4]));
            assert!(
                !arrived.windows(2).any(|pair| CANARY.windows(2).any(|part| part == pair)),
                "{arrived:02x?}"
            );
        }
        let truncated = &compound[..compound.len() - 4];
        rig.refused(&call.customer, &call.there, truncated, "rtcp-malformed");
        // What is encrypted between the far ends cannot be read, nor changed unnoticed.
        call.there.content.encrypted = true;
        rig.put(&call.there);
        for payload in [&compound, &extended] {
            call.customer.send_to(payload, call.there.local).unwrap();
            assert_eq!(&receive(&call.agent).1, payload);
        }
        for flow in [&call.there, &call.back] {
            rig.datapath.remove(flow.local);
        }
    }
}
