//! Media that far ends encrypt from one to the other.

use std::time::Duration;

use super::far_end::{FarEnd, sdp};
use super::setup::{A, B};
use super::world::{Msg, World, carrier, config};
use crate::engine::config::{Config, Encryption};
use crate::engine::event::Event;
use crate::engine::flow::Transport;
use crate::engine::ids::LegName;

/// The key of a leg's far end.
fn key(leg: LegName) -> String {
    let letter = if leg == A { "A" } else { "B" };
    format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{}", letter.repeat(40))
}

fn secure(leg: LegName, port: u16) -> String {
    format!("{}{}\r\n", sdp(leg, port).replace("RTP/AVP", "RTP/SAVP"), key(leg))
}

fn with(encryption: Encryption) -> Config {
    let mut config = config();
    config.media.permissions.encryption = encryption;
    config
}

/// A calls with encrypted media.
fn calling(world: &mut World) -> FarEnd {
    let mut from = FarEnd::calling(world, A);
    from.request(world, "INVITE", &secure(A, 6000));
    world.expect(A, "SIP/2.0 100");
    from
}

fn is_refused(mut world: World) {
    let from = calling(&mut world);
    world.expect(A, "SIP/2.0 488");
    from.ack_failure(&mut world);
    world.expect_nothing(B);
    assert_eq!(world.counter("media.encryption_refused"), 1);
    assert!(
        world
            .events
            .iter()
            .any(|event| matches!(event, Event::EncryptionRefused { trunk, .. } if trunk == "customers"))
    );
    world.assert_quiet();
}

/// The INVITE that B gets.
fn is_relayed(world: &mut World) -> (FarEnd, Msg) {
    let from = calling(world);
    let invite = world.expect(B, "INVITE ");
    assert!(invite.body.contains("RTP/SAVP 0 101\r\n"), "{}", invite.body);
    assert!(invite.body.contains(&key(A)), "{}", invite.body);
    assert_eq!(world.counter("media.encryption_refused"), 0);
    (from, invite)
}

#[test]
fn the_policy_is_the_configured_one_unless_the_binding_has_its_own() {
    use Encryption::{EndToEnd, Strict};
    is_refused(World::with(config()));
    is_refused(World::bound(with(EndToEnd), Some(Strict)));
    is_relayed(&mut World::with(with(EndToEnd)));
    is_relayed(&mut World::bound(with(Strict), Some(EndToEnd)));
}

#[test]
fn an_encrypted_call_is_carried_as_such_and_taken_up_so() {
    let mut world = World::with(with(Encryption::EndToEnd));
    let (mut from, invite) = is_relayed(&mut world);
    let mut to = FarEnd::called(&mut world, B, &invite);
    to.respond(&mut world, &invite, "200", &secure(B, 7000));
    world.expect(B, "ACK ");
    let ok = world.expect(A, "SIP/2.0 200");
    assert!(ok.body.contains(&key(B)), "{}", ok.body);
    from.learn(&ok);
    from.ack(&mut world, "");
    let flows = world.flows.clone();
    assert_eq!(flows.len(), 4);
    assert!(flows.values().all(|flow| flow.content.encrypted && !flow.content.dtls));
    world.pass(Duration::from_millis(200));
    world.restart_with(with(Encryption::EndToEnd));
    assert_eq!(world.flows, flows, "what a restart takes up is still encrypted");
    from.request(&mut world, "INVITE", &sdp(A, 6000));
    let again = world.expect(B, "INVITE ");
    assert!(again.body.contains("RTP/AVP 0 101"));
    to.respond(&mut world, &again, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    for flow in world.flows.values() {
        assert!(!flow.content.encrypted);
        assert_eq!(flow.source.generation, flows[&flow.local].source.generation + 1, "it is another stream");
    }
    from.learn(&world.expect_among(A, "SIP/2.0 200"));
    from.ack(&mut world, "");
    to.request(&mut world, "BYE", "");
    let bye = world.expect(A, "BYE ");
    from.respond(&mut world, &bye, "200", "");
    world.assert_quiet();
}

#[test]
fn an_offer_that_comes_late_is_judged_alike() {
    let mut world = World::new();
    let mut from = FarEnd::calling(&mut world, A);
    from.request(&mut world, "INVITE", "");
    world.expect(A, "SIP/2.0 100");
    let invite = world.expect(B, "INVITE ");
    let to = FarEnd::called(&mut world, B, &invite);
    to.respond(&mut world, &invite, "200", &secure(B, 7000));
    world.expect(B, "ACK ");
    world.expect(A, "SIP/2.0 488");
    from.ack_failure(&mut world);
    assert_eq!(world.counter("media.encryption_refused"), 1);
    let bye = world.expect(B, "BYE ");
    to.respond(&mut world, &bye, "200", "");
    world.assert_quiet();
}

#[test]
fn an_answer_in_clear_to_an_encrypted_offer_is_no_stream() {
    let mut world = World::with(with(Encryption::EndToEnd));
    let (from, invite) = is_relayed(&mut world);
    let to = FarEnd::called(&mut world, B, &invite);
    to.respond(&mut world, &invite, "200", &sdp(B, 7000));
    world.expect(B, "ACK ");
    let ok = world.expect(A, "SIP/2.0 200");
    assert!(ok.body.contains("m=audio 0 RTP/SAVP"), "{}", ok.body);
    assert!(world.flows.is_empty());
    from.ack(&mut world, "");
}

#[test]
fn emergency_calls_may_encrypt_whatever_the_policy_is() {
    let mut world = World::with(with(Encryption::Strict));
    world.masked = false;
    let mut from = FarEnd::calling(&mut world, A);
    let text = from.text(&mut world, "INVITE", "", &secure(A, 6000));
    world.send(carrier(A), &text.replace("INVITE sip:+14155550100@192.0.2.1:5060", "INVITE urn:service:sos"));
    world.expect(A, "SIP/2.0 100");
    assert!(world.expect(B, "INVITE ").body.contains(&key(A)));
}

#[test]
fn both_far_ends_speak_the_same_or_nothing() {
    let (clear, sdes, dtls) =
        (Transport::Rtp, Transport::Srtp { dtls: false }, Transport::Srtp { dtls: true });
    for (one, other, common) in [
        (clear, clear, Some(clear)),
        (sdes, sdes, Some(sdes)),
        (dtls, dtls, Some(dtls)),
        (dtls, sdes, Some(sdes)),
        (clear, sdes, None),
        (clear, dtls, None),
    ] {
        assert_eq!((one.common(other), other.common(one)), (common, common));
    }
}
