//! Callees with several addresses: in order and together.

use std::time::Duration;

use super::far_end::{FarEnd, sdp};
use super::setup::{A, B};
use super::usage::{bind, calling};
use super::world::{AGENT, Msg, World, carrier, config};
use crate::engine::admin::BindingView;
use crate::engine::cdr::Cause;
use crate::engine::config::{Config, Route, TrunkId};
use crate::engine::directory::{Ring, UsageWish};

const SECOND: &str = "+16465550108";
const THIRD: &str = "+16465550109";

/// The customer calls somebody with three addresses.
fn ringing(config: Config, ring: Ring) -> (World, FarEnd) {
    let (mut world, binding) = team(config, ring);
    let from = calling(&mut world, &binding);
    (world, from)
}

/// The customer is bound to somebody with three addresses.
pub(super) fn team(mut config: Config, ring: Ring) -> (World, BindingView) {
    config.routes.push(Route { prefix: "1646".to_owned(), trunk: TrunkId(1) });
    let mut world = World::with(config);
    let usage = UsageWish { ring: Some(ring), ..UsageWish::default() };
    let binding = bind(&mut world, usage, &[SECOND, THIRD]);
    (world, binding)
}

/// An INVITE to this address.
fn invited(world: &mut World, number: &str) -> (FarEnd, Msg) {
    let invite = world.expect(B, "INVITE ");
    assert_eq!(invite.start, format!("INVITE sip:{number}@{} SIP/2.0", carrier(B)));
    assert!(!invite.text.contains("LEAK-OF-A"));
    (FarEnd::called(world, B, &invite), invite)
}

/// An address accepts, both talk, and the caller hangs up.
fn talks(world: &mut World, mut from: FarEnd, (to, invite): &(FarEnd, Msg)) {
    to.respond(world, invite, "200", &sdp(B, 7000));
    let ok = world.expect_among(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(world, "");
    let acked = world.expect_among(B, "ACK ");
    assert_eq!(acked.header("Call-ID"), invite.header("Call-ID"));
    world.rest(B);
    from.request(world, "BYE", "");
    world.expect(A, "SIP/2.0 200");
    let bye = world.expect(B, "BYE ");
    assert_eq!(bye.header("Call-ID"), invite.header("Call-ID"));
    to.respond(world, &bye, "200", "");
    assert_eq!(world.cdr(B).release.cause, Cause::Normal);
    world.assert_quiet();
}

#[test]
fn one_after_the_other_until_somebody_answers() {
    let (mut world, from) = ringing(config(), Ring::InOrder);
    let (first, invite) = invited(&mut world, &format!("+{AGENT}"));
    world.expect_nothing(B);
    first.respond(&mut world, &invite, "180", "");
    world.expect(A, "SIP/2.0 180");
    first.respond(&mut world, &invite, "486", "");
    world.expect(B, "ACK ");
    world.expect_nothing(A);
    let second = invited(&mut world, SECOND);
    second.0.respond(&mut world, &second.1, "180", "");
    world.expect(A, "SIP/2.0 180");
    // Nobody there either, for a third of the time.
    world.pass(config().sip.ring_timeout / 3);
    let cancel = world.expect(B, "CANCEL ");
    assert_eq!(cancel.header("Call-ID"), second.1.header("Call-ID"));
    let third = invited(&mut world, THIRD);
    second.0.respond(&mut world, &cancel, "200", "");
    second.0.respond(&mut world, &second.1, "487", "");
    world.expect(B, "ACK ");
    talks(&mut world, from, &third);
    assert_eq!(world.missed(), [(1, Cause::Busy, Some(486)), (2, Cause::NoAnswer, None)]);
    assert!(world.cdrs.iter().all(|cdr| cdr.proxy.is_some() && (cdr.fork == 0) == cdr.answer.is_some()));
}

#[test]
fn in_turn_each_call_begins_with_the_next_address() {
    let (mut world, binding) = team(config(), Ring::InTurn);
    for number in [&format!("+{AGENT}"), SECOND, THIRD, &format!("+{AGENT}")] {
        let from = calling(&mut world, &binding);
        let to = invited(&mut world, number);
        world.cdrs.clear();
        talks(&mut world, from, &to);
    }
    let from = calling(&mut world, &binding);
    let second = invited(&mut world, SECOND);
    second.0.respond(&mut world, &second.1, "486", "");
    world.expect(B, "ACK ");
    let third = invited(&mut world, THIRD);
    world.cdrs.clear();
    talks(&mut world, from, &third);
}

#[test]
fn the_next_address_may_be_on_another_media_address() {
    let mut config = config();
    let mut trunk = config.trunks[1].clone();
    "elsewhere".clone_into(&mut trunk.name);
    trunk.media = config.media.addresses.len();
    let mut address = config.media.addresses[0].clone();
    address.local = "192.0.2.9".parse().unwrap();
    address.advertised = address.local;
    config.media.addresses.push(address);
    config.trunks.push(trunk);
    config.routes.push(Route { prefix: SECOND[1..].to_owned(), trunk: TrunkId(2) });
    let (mut world, from) = ringing(config, Ring::Together);
    let first = invited(&mut world, &format!("+{AGENT}"));
    let third = invited(&mut world, THIRD);
    world.expect_nothing(B);
    third.0.respond(&mut world, &third.1, "183", &sdp(B, 7100));
    let early = world.expect(A, "SIP/2.0 183");
    third.0.respond(&mut world, &third.1, "480", "");
    world.expect(B, "ACK ");
    first.0.respond(&mut world, &first.1, "480", "");
    world.expect(B, "ACK ");
    let second = invited(&mut world, SECOND);
    assert!(second.1.body.contains("c=IN IP4 192.0.2.9"), "{}", second.1.body);
    second.0.respond(&mut world, &second.1, "183", &sdp(B, 7200));
    let later = world.expect(A, "SIP/2.0 183");
    let port = |msg: &Msg| msg.body.lines().find(|line| line.starts_with("m=")).map(str::to_owned);
    assert_eq!(port(&early), port(&later), "the caller is told one port, whoever is heard");
    talks(&mut world, from, &second);
}

#[test]
fn all_at_once_and_the_first_to_answer_has_the_call() {
    let (mut world, from) = ringing(config(), Ring::Together);
    let first = invited(&mut world, &format!("+{AGENT}"));
    let second = invited(&mut world, SECOND);
    let third = invited(&mut world, THIRD);
    for (to, invite) in [&first, &second, &third] {
        to.respond(&mut world, invite, "180", "");
    }
    second.0.respond(&mut world, &second.1, "200", &sdp(B, 7000));
    let got: Vec<Msg> = std::iter::from_fn(|| world.received(B)).collect();
    let (cancels, others): (Vec<_>, Vec<_>) = got.iter().partition(|msg| msg.start.starts_with("CANCEL "));
    assert_eq!((cancels.len(), others.len()), (2, 1), "{got:?}");
    assert!(others[0].start.starts_with("ACK "));
    for cancel in cancels {
        assert_eq!(cancel.header("Reason"), "SIP;cause=200;text=\"Call completed elsewhere\"");
    }
    first.0.respond(&mut world, &first.1, "487", "");
    world.expect(B, "ACK ");
    // The third answers all the same: it is hung up.
    third.0.respond(&mut world, &third.1, "200", &sdp(B, 7200));
    world.expect(B, "ACK ");
    let bye = world.expect(B, "BYE ");
    assert_eq!(bye.header("Call-ID"), third.1.header("Call-ID"));
    third.0.respond(&mut world, &bye, "200", "");
    let mut from = from;
    let ok = world.expect_among(A, "SIP/2.0 200");
    from.learn(&ok);
    from.ack(&mut world, "");
    from.request(&mut world, "BYE", "");
    world.expect(A, "SIP/2.0 200");
    let bye = world.expect(B, "BYE ");
    assert_eq!(bye.header("Call-ID"), second.1.header("Call-ID"));
    second.0.respond(&mut world, &bye, "200", "");
    world.assert_quiet();
    let elsewhere = |fork| (fork, Cause::AnsweredElsewhere, None);
    assert_eq!(world.missed(), [elsewhere(1), elsewhere(2)]);
}

#[test]
fn a_caller_who_gives_up_stops_all_of_them() {
    let (mut world, from) = ringing(config(), Ring::Together);
    let all =
        [format!("+{AGENT}"), SECOND.to_owned(), THIRD.to_owned()].map(|number| invited(&mut world, &number));
    for (to, invite) in &all {
        to.respond(&mut world, invite, "180", "");
    }
    world.rest(A);
    from.cancel(&mut world);
    let cancels: Vec<Msg> = std::iter::from_fn(|| world.received(B)).collect();
    assert!(
        cancels.len() == 3 && cancels.iter().all(|cancel| cancel.all("Reason").is_empty()),
        "{cancels:?}"
    );
    for (to, invite) in &all {
        to.respond(&mut world, invite, "487", "");
    }
    assert_eq!(world.rest(B).len(), 3);
    world.expect(A, "SIP/2.0 200");
    world.expect(A, "SIP/2.0 487");
    from.ack_failure(&mut world);
    assert_eq!(world.cdr(A).release.cause, Cause::Cancelled);
    assert_eq!(world.missed(), [(1, Cause::Cancelled, None), (2, Cause::Cancelled, None)]);
    world.assert_quiet();
}

#[test]
fn when_nobody_answers_the_caller_hears_of_the_last() {
    for (status, rings) in [("486", 3), ("603", 1)] {
        let (mut world, from) = ringing(config(), Ring::InOrder);
        for _ in 0..rings {
            let invite = world.expect(B, "INVITE ");
            let to = FarEnd::called(&mut world, B, &invite);
            to.respond(&mut world, &invite, status, "");
            world.expect(B, "ACK ");
        }
        world.expect(A, &format!("SIP/2.0 {status}"));
        from.ack_failure(&mut world);
        world.expect_nothing(B);
        world.assert_quiet();
    }
}

#[test]
fn addresses_that_do_not_answer_at_all_take_no_longer_than_one() {
    let (mut world, from) = ringing(config(), Ring::InOrder);
    world.pass(config().sip.ring_timeout + Duration::from_secs(1));
    world.expect(A, "SIP/2.0 480");
    from.ack_failure(&mut world);
    world.assert_quiet();
    assert_eq!(world.cdr(A).release.cause, Cause::NoAnswer);
}
