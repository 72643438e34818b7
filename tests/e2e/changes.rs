//! Calls whose media changes while somebody talks, begins before the answer, or is
//! missing.

use std::time::Duration;

use harness::lab::Place;
use harness::sipp::{Change, MOVED_TO, Role};

use crate::world::{
    MediaPath, Outcome, Plan, World, bind, callee_at, caller_at, in_progress, leg, other, world,
};

/// What each side sent has arrived at the other one, every packet of it, in order.
fn assert_all_arrived(world: &World, from: Place, outcome: &Outcome, at_least: usize) {
    const SAMPLES: usize = 160;
    let family = world.plan.family;
    for (sender, near, far) in
        [(from, &outcome.near, &outcome.far), (other(from), &outcome.far, &outcome.near)]
    {
        let left = near.rtp_payloads(world.lab.peer(sender, family)).unwrap();
        let arrived = far.rtp_payloads(world.lab.vizard(other(sender), family)).unwrap();
        let packets = left.len() / SAMPLES;
        assert!(packets > at_least, "only {packets} packets left");
        let lost = packets - arrived.len() / SAMPLES;
        assert_eq!(lost, 0, "of {packets} packets from {sender:?}");
        assert!(left == arrived, "the audio from {sender:?} was changed or reordered on its way");
    }
}

/// Both sides talk while the session changes and changes back: nothing is lost, in
/// neither direction.
fn nothing_is_lost_over(change: Change, path: MediaPath) {
    let Some(world) = world(Plan { path, ..Plan::default() }) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    let from = Place::Customer;
    let caller = caller_at(from, Role::CallerChanges(change), bound.proxy_of(from));
    let outcome = world.call(caller, callee_at(Place::Agent, Role::CalleeFollows(change)));
    assert_all_arrived(&world, from, &outcome, 200);
    let streams = outcome.near.streams().unwrap();
    let ours = world.lab.vizard(from, world.plan.family);
    let at = |port: u16| -> u64 {
        let there = streams.iter().filter(|stream| stream.from.ip() == ours && stream.to.port() == port);
        there.map(|stream| stream.packets).sum()
    };
    match change {
        Change::Hold => assert_eq!(at(MOVED_TO), 0),
        Change::Move => assert!(at(MOVED_TO) > 50, "{streams:?}"),
    }
    for record in vizard.records(2).unwrap() {
        assert_eq!(record["release"]["cause"], "normal", "{record:#}");
    }
    vizard.stop().unwrap();
}

#[test]
fn a_hold_and_its_end_lose_nothing() {
    nothing_is_lost_over(Change::Hold, MediaPath::Native);
}

#[test]
fn a_move_and_the_way_back_lose_nothing() {
    nothing_is_lost_over(Change::Move, MediaPath::Native);
}

#[test]
fn a_move_and_the_way_back_lose_nothing_on_sockets() {
    nothing_is_lost_over(Change::Move, MediaPath::Sockets);
}

/// A second of the callee's audio is heard before it answers.
#[test]
fn early_media_is_heard_whole() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    for from in [Place::Customer, Place::Agent] {
        let caller = caller_at(from, Role::Caller, bound.proxy_of(from));
        let outcome = world.call(caller, callee_at(other(from), Role::CalleeEarly));
        assert!(outcome.caller.received().contains("SIP/2.0 183 "), "{}", outcome.caller.received());
        assert_all_arrived(&world, from, &outcome, 80);
        let family = world.plan.family;
        let heard = |capture: &harness::capture::Capture, sender| {
            capture.rtp_payloads(world.lab.vizard(sender, family)).unwrap().len()
        };
        // Both talk for as long after the answer.
        let early = heard(&outcome.near, from) - heard(&outcome.far, other(from));
        assert!(early > 35 * 160, "{early} samples were early");
        for record in vizard.records(2).unwrap() {
            assert_eq!(record["release"]["cause"], "normal", "{record:#}");
        }
    }
    vizard.stop().unwrap();
}

/// Far ends that have gone without a word do not keep a call up.
#[test]
fn a_call_without_media_ends_and_says_why() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start_with(&world.config().replace("[media]\n", "[media]\ntimeout = \"3s\"\n"));
    let bound = bind(&vizard);
    let caller = caller_at(Place::Customer, Role::CallerWaits, &bound.customer_dials).silent();
    let callee = callee_at(Place::Agent, Role::Callee).silent().talking(Duration::from_millis(100));
    let outcome = world.call(caller, callee);
    assert!(outcome.caller.received().contains("Q.850;cause=102"), "{}", outcome.caller.received());
    let records = vizard.records(2).unwrap();
    for record in &records {
        let release = &record["release"];
        assert_eq!((&release["cause"], &release["side"]), (&"media_timeout".into(), &"platform".into()));
        let seconds = record["billable_seconds"].as_u64().unwrap();
        assert!((3..=6).contains(&seconds), "{record:#}");
    }
    assert_eq!(vizard.counter("calls.media_timeout").unwrap(), 1);
    vizard.stop().unwrap();
}

/// One side is not heard: a mark on its leg while it lasts, an event, a counter, and a
/// mark on its leg's record.
#[test]
fn one_way_audio_is_reported_and_recorded() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start_with(&world.config().replace("[media]\n", "[media]\none_way_after = \"1s\"\n"));
    let bound = bind(&vizard);
    let caller = caller_at(Place::Customer, Role::Caller, &bound.customer_dials);
    let talk = Duration::from_secs(4);
    let callee = callee_at(Place::Agent, Role::Callee).silent().talking(talk);
    let listening = callee.start(&world.lab).unwrap();
    let calling = caller.talking(talk).start(&world.lab).unwrap();
    let legs = in_progress(&vizard, Duration::from_secs(10), "nobody is found silent", |call| {
        let legs = call["legs"].as_array()?;
        legs.iter().any(|leg| leg["silent"] == true).then(|| legs.clone())
    });
    assert_eq!(leg(&legs, Place::Agent)["silent"], true, "{legs:#?}");
    assert_eq!(leg(&legs, Place::Customer)["silent"], false, "{legs:#?}");
    calling.finish().unwrap();
    listening.finish().unwrap();
    let records = vizard.records(2).unwrap();
    for (place, one_way) in [(Place::Customer, false), (Place::Agent, true)] {
        assert_eq!(leg(&records, place)["media"]["one_way"], one_way, "{records:#?}");
    }
    assert_eq!(vizard.counter("calls.one_way_audio").unwrap(), 1);
    assert!(vizard.log().contains("nothing is heard from side B"), "{}", vizard.log());
    vizard.stop().unwrap();
}
