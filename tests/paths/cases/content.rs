//! What a packet must look like, class by class.

use vizard::engine::flow::Content;

use crate::rig::{Family, Rig, receive, rtcp, rtp};

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
        (first_byte(0x40), "turn-channel"),
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
