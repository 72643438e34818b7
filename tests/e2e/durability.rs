//! What was acknowledged is there after a crash.

use harness::lab::Place;
use harness::sipp::Role;

use crate::world::{CUSTOMER, Plan, bind, callee_at, caller_at, other, world};

#[test]
fn an_acknowledged_binding_survives_kill_9() {
    let Some(world) = world(Plan::default()) else { return };
    let mut vizard = world.start();
    let bound = bind(&vizard);
    vizard.kill_and_restart().unwrap();

    let list = vizard.ask(&["bind", "list"]).unwrap();
    let ids: Vec<&str> =
        list["bindings"].as_array().unwrap().iter().filter_map(|b| b["id"].as_str()).collect();
    assert_eq!(ids, [bound.id.as_str()]);
    let outcome = world.call(
        caller_at(Place::Customer, Role::Caller, &bound.customer_dials),
        callee_at(other(Place::Customer), Role::Callee),
    );
    assert_eq!(outcome.callee.number("From"), Some(bound.agent_dials.as_str()));
    let before = vizard.records(2).unwrap();
    vizard.kill_and_restart().unwrap();
    assert_eq!(vizard.records(2).unwrap(), before, "call detail records survive too");

    let log = vizard.log();
    assert!(!log.contains(&CUSTOMER[2..]), "a real number is in the log:\n{log}");
}
