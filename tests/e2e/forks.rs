//! A call that rings at two phones, each of which is heard before it is answered: the
//! caller hears who spoke last and misses nothing of it, and nothing that the caller
//! says is lost between them.

use std::time::{Duration, Instant};

use harness::lab::Place;
use harness::sipp::{MOVED_TO, Role, Says};

use crate::phone::{Phone, anchors};
use crate::world::{MediaPath, Plan, bind, callee_at, caller_at, world};

/// Where the caller and the first phone want audio; the second one is at [`MOVED_TO`].
const PORT: u16 = 7300;
/// Between two packets of one phone.
const PACE: Duration = Duration::from_millis(5);
/// How long each phone rings, and twice that until the call is hung up.
const RING: Duration = Duration::from_millis(1500);

#[test]
fn two_phones_ring_and_are_heard_in_the_driver() {
    two_phones_ring_and_are_heard(Plan::default());
}

#[test]
fn two_phones_ring_and_are_heard_over_sockets() {
    two_phones_ring_and_are_heard(Plan { path: MediaPath::Sockets, ..Plan::default() });
}

fn two_phones_ring_and_are_heard(plan: Plan) {
    let Some(world) = world(plan) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    let says = Says { audio_port: Some(PORT), ..Says::default() };
    let callee = callee_at(Place::Agent, Role::CalleeForks).saying(says.clone()).silent();
    let listening = callee.talking(RING).start(&world.lab).unwrap();
    let caller = caller_at(Place::Customer, Role::Caller, &bound.customer_dials).saying(says).silent();
    let calling = caller.talking(RING * 2).start(&world.lab).unwrap();

    let [a, b] = anchors(&vizard);
    let mut caller = Phone::new(&world, Place::Customer, PORT, a);
    let mut first = Phone::new(&world, Place::Agent, PORT, b);
    let mut second = Phone::new(&world, Place::Agent, MOVED_TO, b);
    let end = Instant::now() + RING * 3;
    while Instant::now() < end {
        caller.talks();
        first.talks();
        // Who is called later speaks later.
        if !second.heard.is_empty() {
            second.talks();
        }
        std::thread::sleep(PACE);
        [&mut caller, &mut first, &mut second].into_iter().for_each(Phone::listens);
    }
    std::thread::sleep(Duration::from_millis(200));
    [&mut caller, &mut first, &mut second].into_iter().for_each(Phone::listens);

    let (at_first, at_second) = (first.heard.remove(&PORT).unwrap(), second.heard.remove(&PORT).unwrap());
    assert!(at_first.len() > 50 && at_second.len() > 50, "{at_first:?} {at_second:?}");
    let whole: Vec<u32> = (0..caller.said).collect();
    assert_eq!(
        [at_first, at_second].concat(),
        whole,
        "what the caller said, at one phone and then the other"
    );

    let (of_first, of_second) =
        (caller.heard.remove(&PORT).unwrap(), caller.heard.remove(&MOVED_TO).unwrap());
    assert!(of_first.len() > 50 && of_second.len() > 50, "{of_first:?} {of_second:?}");
    let whole: Vec<u32> = (0..=*of_first.last().unwrap()).collect();
    assert_eq!(of_first, whole, "the first phone was heard until the second one spoke");
    let whole: Vec<u32> = (0..second.said).collect();
    assert_eq!(of_second, whole, "and the second one from then on");
    assert!(caller.changes <= 1, "both at a time");
    let refused = vizard.verdicts().unwrap().into_iter().find(|(name, _)| name == "wrong-source");
    assert!(refused.is_some_and(|(_, packets)| packets > 50), "the first phone goes on to no avail");

    calling.finish().unwrap();
    listening.finish().unwrap();
    for record in vizard.records(2).unwrap() {
        assert_eq!(record["release"]["cause"], "normal", "{record:#}");
    }
    vizard.stop().unwrap();
}
