//! Real audio: two phones that are not ours play a recording each, and what each
//! hears is, sample for sample, what the other played.

use harness::audio::{longest_run, sweep};
use harness::baresip::Phone;
use harness::lab::Place;

use crate::world::{AGENT, CUSTOMER, MediaPath, Plan, bind, leg, other, world};

const SECONDS: u16 = 6;
/// Samples per packet of 20 ms.
const PACKET: usize = 160;

#[test]
fn phones_hear_each_other_in_the_driver() {
    phones_hear_each_other(Plan::default());
}

#[test]
fn phones_hear_each_other_over_sockets() {
    phones_hear_each_other(Plan { path: MediaPath::Sockets, ..Plan::default() });
}

fn phones_hear_each_other(plan: Plan) {
    let Some(world) = world(plan) else { return };
    let vizard = world.start();
    assert_eq!(vizard.ask(&["status"]).unwrap()["datapath"]["path"], plan.path.word());
    let bound = bind(&vizard);
    let customer_plays = sweep(SECONDS, 300, 3300);
    let agent_plays = sweep(SECONDS, 3100, 400);

    let called = Phone::answering(&world.lab, Place::Agent, AGENT, &agent_plays).unwrap();
    let dials = &bound.customer_dials;
    let caller = Phone::calling(&world.lab, Place::Customer, CUSTOMER, &customer_plays, dials).unwrap();
    let (customer_hears, agent_hears) = (caller.finish().unwrap(), called.finish().unwrap());

    let records = vizard.records(2).unwrap();
    for (speaker, plays, hears) in
        [(Place::Customer, &customer_plays, &agent_hears), (Place::Agent, &agent_plays, &customer_hears)]
    {
        let run = longest_run(plays, hears);
        // Who answers speaks before its answer has arrived anywhere: the first packets
        // come before the call does.
        assert!(run.sent <= 5 * PACKET, "{speaker:?} was not heard from the start: {run:?}");
        assert_eq!(run.sent + run.length, plays.len(), "{speaker:?} was heard with a gap: {run:?}");
        let counted = |place, way: &str| leg(&records, place)[way]["packets"].as_u64().unwrap();
        assert_eq!(counted(speaker, "received"), counted(other(speaker), "sent"), "{records:#?}");
    }
    vizard.stop().unwrap();
}
