//! What was lost on the way to Vizard stands in the calls in progress and in the records
//! of the leg that it was lost on, and the score says so.

use std::time::{Duration, Instant};

use harness::lab::Place;
use harness::sipp::{Role, Says};
use serde_json::Value;

use crate::phone::{Phone, anchors};
use crate::world::{MediaPath, Plan, bind, callee_at, caller_at, in_progress, leg, world};

const PORT: u16 = 7300;
/// The pace of speech.
const PACE: Duration = Duration::from_millis(20);
const PACKETS: u32 = 200;
/// Of so many packets of the customer's, one is lost.
const ONE_OF: u32 = 10;

#[test]
fn loss_and_score_of_each_side_are_told_in_the_driver() {
    loss_and_score_of_each_side_are_told(Plan::default());
}

#[test]
fn loss_and_score_of_each_side_are_told_over_sockets() {
    loss_and_score_of_each_side_are_told(Plan { path: MediaPath::Sockets, ..Plan::default() });
}

fn loss_and_score_of_each_side_are_told(plan: Plan) {
    let Some(world) = world(plan) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    let says = Says { audio_port: Some(PORT), ..Says::default() };
    let talk = Duration::from_secs(7);
    let callee = callee_at(Place::Agent, Role::Callee).saying(says.clone()).silent();
    let listening = callee.talking(talk).start(&world.lab).unwrap();
    let caller = caller_at(Place::Customer, Role::Caller, &bound.customer_dials).saying(says).silent();
    let calling = caller.talking(talk).start(&world.lab).unwrap();
    let answered = |call: &Value| (call["state"] == "answered").then_some(());
    in_progress(&vizard, Duration::from_secs(10), "the call is not answered", answered);
    let [a, b] = anchors(&vizard);
    let mut customer = Phone::new(&world, Place::Customer, PORT, a);
    let mut agent = Phone::new(&world, Place::Agent, PORT, b);
    let begin = Instant::now();
    for number in 0..PACKETS {
        // The last one arrives, so that it is known how many there were.
        if number % ONE_OF == ONE_OF / 2 {
            customer.falls_silent();
        } else {
            customer.talks();
        }
        agent.talks();
        std::thread::sleep((begin + PACE * (number + 1)).saturating_duration_since(Instant::now()));
        [&mut customer, &mut agent].into_iter().for_each(Phone::listens);
    }

    let score = |value: &Value| value["mos"].as_f64().unwrap_or_else(|| panic!("{value:#}"));
    let flow = |name: &str| {
        in_progress(&vizard, Duration::from_secs(2), "no flow", |call| {
            let mut flows = call["flows"].as_array()?.iter();
            flows.find(|flow| flow["content"] == "rtp" && flow["leg"] == name).cloned()
        })
    };
    let [from_customer, from_agent] = ["A", "B"].map(flow);
    let lost = u64::from(PACKETS / ONE_OF);
    assert_eq!(from_customer["stats"]["quality"]["lost"], lost, "{from_customer:#}");
    assert_eq!(from_agent["stats"]["quality"]["lost"], 0, "{from_agent:#}");
    assert!(score(&from_customer) + 0.5 < score(&from_agent), "{from_customer:#} {from_agent:#}");
    calling.finish().unwrap();
    listening.finish().unwrap();

    let records = vizard.records(2).unwrap();
    let [of_customer, of_agent] = [Place::Customer, Place::Agent].map(|place| &leg(&records, place)["media"]);
    for (media, lost) in [(of_customer, lost), (of_agent, 0)] {
        let counted = (&media["expected"], &media["lost"], &media["reordered"]);
        assert_eq!(counted, (&PACKETS.into(), &lost.into(), &0.into()), "{media:#}");
    }
    assert!(score(of_customer) + 0.5 < score(of_agent), "{records:#?}");
    assert!(score(of_agent) > 4.0, "{records:#?}");
    vizard.stop().unwrap();
}
