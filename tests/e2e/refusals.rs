//! Calls that do not connect: the caller hears why, nobody else does, and the
//! records say the same.

use std::time::Duration;

use harness::lab::Place;
use harness::sipp::Role;

use crate::world::{AGENT, CUSTOMER, Plan, bind, callee_at, caller_at, leg, world};

#[test]
fn a_caller_without_a_binding_gets_404() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    // A stranger dials a proxy number; a party dials a number that is not its own.
    for (caller, dials) in [("+13105550199", &bound.customer_dials), (CUSTOMER, &bound.agent_dials)] {
        let mut peer = caller_at(Place::Customer, Role::CallerRefused(404), dials);
        caller.clone_into(&mut peer.caller);
        let seen = peer.start(&world.lab).unwrap().finish().unwrap();
        assert!(!seen.received().contains(&AGENT[2..]), "{}", seen.received());
        let records = vizard.records(1).unwrap();
        assert_eq!(records.len(), 1, "there is one leg: {records:#?}");
        assert_eq!(records[0]["release"]["cause"], "no_binding");
        assert_eq!(records[0]["release"]["sip_status"], 404);
        assert_eq!(records[0]["billable_seconds"], 0);
    }
}

#[test]
fn busy_is_busy_on_both_legs() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    let caller = caller_at(Place::Customer, Role::CallerRefused(486), &bound.customer_dials);
    world.call(caller, callee_at(Place::Agent, Role::CalleeRefuses(486)));
    for record in vizard.records(2).unwrap() {
        assert_eq!(record["release"]["cause"], "busy", "{record:#}");
        assert_eq!(record["release"]["side"], "B", "{record:#}");
        assert_eq!(record["answer"], serde_json::Value::Null);
    }
}

#[test]
fn giving_up_stops_the_ringing() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    let caller = caller_at(Place::Agent, Role::CallerCancels, &bound.agent_dials);
    world.call(caller, callee_at(Place::Customer, Role::CalleeCancelled));
    let records = vizard.records(2).unwrap();
    for record in &records {
        assert_eq!(record["release"]["cause"], "cancelled", "{record:#}");
        assert_eq!(record["release"]["side"], "B", "{record:#}");
    }
    assert_eq!(leg(&records, Place::Agent)["direction"], "inbound");
}

#[test]
fn an_ended_binding_connects_nobody_and_keeps_its_numbers() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    vizard.ask(&["bind", "close", &bound.id]).unwrap();
    let refused = caller_at(Place::Customer, Role::CallerRefused(410), &bound.customer_dials);
    refused.start(&world.lab).unwrap().finish().unwrap();
    assert_eq!(vizard.records(1).unwrap()[0]["release"]["cause"], "binding_ended");

    // Each party's pair stays reserved, so a new binding gives the numbers the other way
    // round, and there are none for a third.
    let create = |key| ["bind", "create", "--key", key, "--customer", CUSTOMER, "--agent", AGENT];
    let second = vizard.ask(&create("second")).unwrap();
    assert_eq!(second["binding"]["customer"]["proxy"], bound.agent_dials.as_str());
    assert_eq!(second["binding"]["agent"]["proxy"], bound.customer_dials.as_str());
    let (code, said) = vizard.refused(&create("third")).unwrap();
    assert_eq!(code, 7, "{said}");
}

#[test]
fn a_hang_up_on_the_command_line_reaches_both_sides() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    let silent = callee_at(Place::Agent, Role::Callee).talking(Duration::from_millis(100));
    let callee = silent.start(&world.lab).unwrap();
    let mut caller = caller_at(Place::Customer, Role::CallerReinvites, &bound.customer_dials)
        .talking(Duration::from_secs(30))
        .start(&world.lab)
        .unwrap();
    caller.wait_for("SIP/2.0 200").unwrap();
    // Until the callee has said its word and waits for the end.
    std::thread::sleep(Duration::from_millis(500));
    let calls = vizard.ask(&["calls"]).unwrap();
    let session = calls["calls"][0]["session"].as_str().unwrap().to_owned();
    vizard.ask(&["calls", "hangup", &session]).unwrap();
    callee.finish().unwrap();
    for record in vizard.records(2).unwrap() {
        assert_eq!(record["release"]["cause"], "operator", "{record:#}");
        assert_eq!(record["release"]["side"], "platform", "{record:#}");
    }
}
