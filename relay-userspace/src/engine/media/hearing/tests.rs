use std::time::Duration;

use super::super::tests::{World, describe, puts};
use super::*;
use crate::engine::config::MediaSource;
use crate::engine::flow::FlowSpec;

const PATIENCE: Patience = Patience {
    timeout: Duration::from_mins(5),
    one_way_after: Duration::from_secs(10),
    learning_window: Duration::from_secs(10),
};

fn at(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(seconds)
}

/// Two far ends that have agreed; A is behind NAT, B one of a network.
fn talking() -> World {
    let network = "198.51.100.0/24".parse().unwrap();
    let mut world = World::new(MediaSource::Nat, MediaSource::Network(network));
    agree(&mut world);
    world
}

fn agree(world: &mut World) -> Vec<Output> {
    let (offer, answer) = (describe("192.168.1.5", &[6000]), describe("198.51.100.2", &[7000]));
    world.offer(&offer).unwrap();
    let outputs = world.agree(LegName::A, &offer, &answer);
    world.session.settled(at(0));
    outputs
}

fn flow(world: &World, leg: LegName, rtp: bool) -> FlowSpec {
    let mut flows = world.session.flows().map(|flow| flow.spec.clone());
    flows.find(|flow| flow.owner.leg == leg && flow.content.has_rtp() == rtp).unwrap()
}

fn learned(address: &str) -> FlowStats {
    FlowStats { learned: Some(address.parse().unwrap()), ..FlowStats::default() }
}

#[test]
fn who_is_not_heard_in_time_can_only_come_from_where_it_said() {
    for (leg, named) in [(LegName::A, "192.168.1.5/32"), (LegName::B, "198.51.100.2/32")] {
        let mut world = talking();
        let open = flow(&world, leg, true);
        let mut count =
            |seconds| world.session.counted(at(seconds), open.local, &FlowStats::default(), &PATIENCE, 46);
        assert_eq!(count(9), [], "there is time left");
        let closed = count(10);
        let [Output::PutFlow(closed)] = &closed[..] else { panic!("{closed:?}") };
        assert_eq!(closed.source.allowed, named.parse().unwrap());
        assert_eq!((closed.local, closed.source.generation), (open.local, open.source.generation));
        assert_eq!(count(15), [], "once is enough");

        let reopened = agree(&mut world);
        assert_eq!(puts(&reopened)[0], &open, "signalled anew, it has its time again");
        assert_eq!(puts(&reopened).len(), 1);
    }
}

#[test]
fn who_was_learned_stays_and_its_reports_come_from_there() {
    let mut world = talking();
    let (rtp, rtcp) = (flow(&world, LegName::B, true), flow(&world, LegName::B, false));
    let learned = learned("198.51.100.33:4000");
    assert_eq!(world.session.counted(at(10), rtp.local, &learned, &PATIENCE, 46), []);
    let outputs = world.session.counted(at(10), rtcp.local, &FlowStats::default(), &PATIENCE, 46);
    assert_eq!(puts(&outputs)[0].source.allowed, "198.51.100.33/32".parse().unwrap());
}

#[test]
fn without_a_window_and_on_hold_nothing_is_closed() {
    let mut world = talking();
    let open = flow(&world, LegName::A, true);
    let never = Patience { learning_window: Duration::ZERO, ..PATIENCE };
    assert_eq!(world.session.counted(at(1000), open.local, &FlowStats::default(), &never, 46), []);
    let (offer, answer) = (describe("0.0.0.0", &[6000]), describe("198.51.100.2", &[7000]));
    world.agree(LegName::A, &offer, &answer);
    world.session.settled(at(0));
    assert_eq!(world.session.counted(at(1000), open.local, &FlowStats::default(), &PATIENCE, 46), []);
}

#[test]
fn reports_on_a_shared_port_are_not_taken_for_speech() {
    let mut world = World::new(MediaSource::Signalled, MediaSource::Signalled);
    let offer = super::super::tests::describe_mux("198.51.100.1", 6000);
    let answer = super::super::tests::describe_mux("198.51.100.2", 7000);
    world.offer(&offer).unwrap();
    world.agree(LegName::A, &offer, &answer);
    world.session.settled(at(0));
    let flows = [LegName::A, LegName::B].map(|leg| flow(&world, leg, true).local);
    for seconds in 1..12 {
        for (flow, expected) in flows.into_iter().zip([0, seconds]) {
            let mut stats = FlowStats::default();
            stats.forwarded.packets = seconds;
            stats.quality.expected = expected;
            world.session.counted(at(seconds), flow, &stats, &PATIENCE, 46);
        }
    }
    assert_eq!(world.session.judge(at(11), &PATIENCE), [Finding::OneWay(LegName::A)]);
}
