//! Emergency calls leave on the emergency trunk as they are.

use harness::lab::Place;
use harness::sipp::Role;

use crate::world::{AGENT, Plan, callee_at, caller_at, leg, world};

#[test]
fn every_country_has_numbers_that_leave_with_the_real_identity() {
    for (country, number) in [("US", "911"), ("DE", "112")] {
        let Some(world) = world(Plan { country, ..Plan::default() }) else { return };
        // Neither pool nor binding: an emergency needs none.
        let vizard = world.start();
        let caller = caller_at(Place::Agent, Role::Caller, number);
        let mut callee = callee_at(Place::Customer, Role::Callee);
        number.clone_into(&mut callee.called);
        let outcome = world.call(caller, callee);
        assert_eq!(outcome.callee.number("Request-URI"), Some(number));
        assert_eq!(outcome.callee.number("From"), Some(AGENT), "the real caller, not a proxy");
        let records = vizard.records(2).unwrap();
        for record in &records {
            assert_eq!(record["emergency"], true, "{record:#}");
            assert_eq!(record["release"]["cause"], "normal", "{record:#}");
        }
        let audio = outcome
            .far
            .stream(
                world.lab.vizard(Place::Customer, world.plan.family),
                world.lab.peer(Place::Customer, world.plan.family),
            )
            .unwrap()
            .expect("audio reached the emergency trunk");
        let sent: u64 = records.iter().filter_map(|record| record["sent"]["packets"].as_u64()).max().unwrap();
        assert!(audio.packets > 50 && sent >= audio.packets, "{audio:?} {records:#?}");
        assert!(leg(&records, Place::Agent)["trunk"].is_string());
    }
}
