//! Who may send, and where answers go: learn once, then nobody else.

use std::net::SocketAddr;

use crate::rig::{Call, Family, Rig, Side, far, receive, rtp};

/// The customer's audio arrives at the agent.
fn heard(call: &Call, number: u16) {
    call.customer.send_to(&rtp(0, number), call.there.local).unwrap();
    assert_eq!(receive(&call.agent).1, rtp(0, number));
}

fn customer(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(far(Side::Customer, Family::V4, host), port)
}

pub(crate) fn the_first_is_kept(rig: &mut Rig) {
    for family in [Family::V4, Family::V6] {
        let mut call = rig.call(family, family);
        let width = if family == Family::V4 { 24 } else { 64 };
        let near = far(Side::Customer, family, 1);
        call.there.source.allowed = ipnet::IpNet::new(near, width).unwrap();
        rig.put(&call.there);
        heard(&call, 1);
        let other_port = rig.socket(Side::Customer, SocketAddr::new(near, 4001));
        let other_host = rig.socket(Side::Customer, SocketAddr::new(far(Side::Customer, family, 2), 4000));
        for intruder in [other_port, other_host] {
            rig.refused(&intruder, &call.there, &rtp(0, 2), "wrong-source");
            // The next that arrives is the first source's: nothing was let through between.
            heard(&call, 3);
        }
        let stats = rig.stats(&call.there);
        assert_eq!((stats.forwarded.packets, stats.refused_packets), (3, 2));
        assert_eq!(stats.learned, Some(SocketAddr::new(near, 4000)));
    }
}

pub(crate) fn only_the_allowed_is_learned(rig: &mut Rig) {
    let call = rig.call(Family::V4, Family::V4);
    let stranger = rig.socket(Side::Customer, customer(2, 4000));
    rig.refused(&stranger, &call.there, &rtp(0, 1), "source-not-allowed");
    assert_eq!(rig.stats(&call.there).learned, None);
    heard(&call, 2);
    rig.refused(&stranger, &call.there, &rtp(0, 3), "wrong-source");
    heard(&call, 4);
}

pub(crate) fn only_valid_media_is_learned_from(rig: &mut Rig) {
    let call = rig.call(Family::V4, Family::V4);
    let early = rig.socket(Side::Customer, customer(1, 4001));
    rig.refused(&early, &call.there, &rtp(9, 1), "payload-type");
    rig.refused(&early, &call.there, &[0xff; 40], "not-rtp");
    rig.refused(&early, &call.there, &rtp(0, 1)[..11], "too-short");
    assert_eq!(rig.stats(&call.there).learned, None);
    heard(&call, 2);
    assert_eq!(rig.stats(&call.there).learned, Some(customer(1, 4000)));
}

pub(crate) fn a_new_generation_learns_anew(rig: &mut Rig) {
    let mut call = rig.call(Family::V4, Family::V4);
    heard(&call, 1);
    call.there.source.generation += 1;
    call.there.source.allowed = far(Side::Customer, Family::V4, 2).into();
    rig.put(&call.there);
    rig.refused(&call.customer, &call.there, &rtp(0, 2), "source-not-allowed");
    call.customer = rig.socket(Side::Customer, customer(2, 4002));
    heard(&call, 3);
    let stats = rig.stats(&call.there);
    assert_eq!(stats.learned, Some(customer(2, 4002)));
    assert_eq!((stats.forwarded.packets, stats.refused_packets), (2, 1), "counts go on");
}

/// A far end moves to another port of its host: packets from where it was are still
/// on their way, and the next are from where it said it would be.
pub(crate) fn late_packets_do_not_shut_out_who_moved(rig: &mut Rig) {
    let mut call = rig.call(Family::V4, Family::V4);
    heard(&call, 1);
    let moved = rig.socket(Side::Customer, customer(1, 4100));
    rig.refused(&moved, &call.there, &rtp(0, 2), "wrong-source");
    call.there.source.generation += 1;
    rig.put(&call.there);
    call.back.send_to = moved.local_addr().unwrap();
    rig.put(&call.back);

    heard(&call, 3);
    moved.send_to(&rtp(0, 4), call.there.local).unwrap();
    assert_eq!(receive(&call.agent).1, rtp(0, 4), "it is where it said");
    assert_eq!(rig.stats(&call.there).learned, Some(customer(1, 4100)));
    let intruder = rig.socket(Side::Customer, customer(1, 4200));
    for late in [&call.customer, &intruder] {
        rig.refused(late, &call.there, &rtp(0, 5), "wrong-source");
    }
    moved.send_to(&rtp(0, 6), call.there.local).unwrap();
    assert_eq!(receive(&call.agent).1, rtp(0, 6));
}

pub(crate) fn an_update_keeps_what_was_learned(rig: &mut Rig) {
    let mut call = rig.call(Family::V4, Family::V4);
    heard(&call, 1);
    call.there.dscp = 0;
    rig.put(&call.there);
    let second = rig.socket(Side::Customer, customer(1, 4001));
    rig.refused(&second, &call.there, &rtp(0, 2), "wrong-source");
    heard(&call, 3);
    let stats = rig.stats(&call.there);
    assert_eq!(stats.learned, Some(customer(1, 4000)));
    assert_eq!((stats.forwarded.packets, stats.refused_packets), (2, 1));
}

pub(crate) fn answers_follow_what_was_learned(rig: &mut Rig) {
    let mut call = rig.call(Family::V4, Family::V4);
    call.back.follow_learned = true;
    rig.put(&call.back);
    // What the session description says, until the customer was heard.
    call.agent.send_to(&rtp(0, 1), call.back.local).unwrap();
    assert_eq!(receive(&call.customer).1, rtp(0, 1));

    let behind_nat = rig.socket(Side::Customer, customer(1, 4077));
    behind_nat.send_to(&rtp(0, 2), call.there.local).unwrap();
    assert_eq!(receive(&call.agent).1, rtp(0, 2));
    call.agent.send_to(&rtp(0, 3), call.back.local).unwrap();
    assert_eq!(receive(&behind_nat), (call.there.local, rtp(0, 3)));

    // A renegotiation forgets it, and the signalled address serves again.
    call.there.source.generation += 1;
    rig.put(&call.there);
    call.agent.send_to(&rtp(0, 4), call.back.local).unwrap();
    assert_eq!(receive(&call.customer), (call.there.local, rtp(0, 4)));
}
