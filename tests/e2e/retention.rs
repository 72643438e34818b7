//! What is kept for how long: nothing goes unasked, a look drops nothing, and what the
//! schedule drops is noted.

use std::thread;
use std::time::{Duration, Instant};

use harness::lab::Place;
use harness::sipp::{Peer, Role};
use harness::vizard::Vizard;
use serde_json::Value;

use crate::world::{CUSTOMER, MediaPath, Plan, World, bind, world};

/// A call that leaves one record.
fn call_in_vain(world: &World, dials: &str, turn: usize) {
    let name = format!("in-vain-{turn}");
    let peer = Peer::new(&name, Place::Customer, Role::CallerRefused(404), CUSTOMER, dials);
    peer.start(&world.lab).unwrap().finish().unwrap();
}

fn records(vizard: &Vizard<'_>) -> usize {
    vizard.ask(&["cdr", "list"]).unwrap()["cdrs"].as_array().unwrap().len()
}

fn over(vizard: &Vizard<'_>, arguments: &[&str]) -> (u64, u64) {
    let report = vizard.ask(&[&["privacy", "retain"], arguments].concat()).unwrap();
    (report["call_records_over"].as_u64().unwrap(), report["dropped"].as_u64().unwrap())
}

/// Who dropped records, newest first.
fn noted(vizard: &Vizard<'_>) -> Vec<Value> {
    let list = vizard.ask(&["audit", "list", "--act", "privacy-retain"]).unwrap();
    list["entries"].as_array().unwrap().iter().map(|entry| entry["who"].clone()).collect()
}

#[test]
fn records_go_when_the_configuration_says_so_and_the_log_says_that_they_went() {
    let Some(world) = world(Plan { path: MediaPath::Sockets, ..Plan::default() }) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    call_in_vain(&world, &bound.agent_dials, 0);
    vizard.records(1).unwrap();
    let shown = vizard.show(&["privacy", "retain", "--dry-run"]).unwrap();
    assert!(shown.contains("for ever"), "nobody has said how long: {shown}");
    assert_eq!(over(&vizard, &[]), (0, 0));
    vizard.stop().unwrap();

    let vizard = world.start_with(&(world.config() + "\n[retention]\ncdrs = \"2s\"\n"));
    // The schedule comes by every ten seconds; a look between two of its turns finds
    // what is over, and leaves it where it is.
    let mut turn = 1;
    loop {
        call_in_vain(&world, &bound.agent_dials, turn);
        vizard.records(1).unwrap();
        thread::sleep(Duration::from_millis(2_100));
        let (found, dropped) = over(&vizard, &["--dry-run"]);
        let left = records(&vizard);
        assert_eq!(dropped, 0);
        if found > 0 && left > 0 {
            break;
        }
        turn += 1;
        assert!(turn < 5, "no look came before the schedule");
    }
    let (found, dropped) = over(&vizard, &[]);
    assert_eq!(found, dropped);
    assert_eq!(records(&vizard), 0);
    if dropped > 0 {
        assert!(noted(&vizard).iter().any(|who| who["user"]["role"] == "admin"), "{:#?}", noted(&vizard));
    }
    call_in_vain(&world, &bound.agent_dials, 99);
    let deadline = Instant::now() + Duration::from_secs(30);
    while records(&vizard) > 0 {
        assert!(Instant::now() < deadline, "the schedule drops nothing");
        thread::sleep(Duration::from_millis(250));
    }
    let by_itself = noted(&vizard).iter().filter(|who| **who == "vizard").count();
    assert_eq!(by_itself, 1, "once a day: {:#?}", noted(&vizard));
    assert_eq!(vizard.ask(&["audit", "verify"]).unwrap()["found"], 0);
    vizard.stop().unwrap();
}
