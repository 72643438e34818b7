//! What a binding allows, who takes a side of it, and where callers go whom no live
//! binding connects.

use harness::lab::Place;
use harness::sipp::{Peer, Role, Seen};
use harness::vizard::Vizard;
use serde_json::Value;

use crate::world::{AGENT, CUSTOMER, Plan, World, bind, callee_at, caller_at, world};

/// Who takes the agent's side.
const NEXT: &str = "+16465550108";

/// Somebody calls and is told no.
fn is_refused(world: &World, (place, who): (Place, &str), dials: &str, status: u16) -> Seen {
    let peer = Peer::new(&format!("{who}-in-vain"), place, Role::CallerRefused(status), who, dials);
    peer.start(&world.lab).unwrap().finish().unwrap()
}

/// The cause in the newest call's records, of which there are so many.
fn cause(vizard: &Vizard<'_>, legs: usize) -> String {
    let records = vizard.records(legs).unwrap();
    records[0]["release"]["cause"].as_str().unwrap().to_owned()
}

/// A binding of the two, with these arguments more.
fn bind_as(vizard: &Vizard<'_>, key: &str, more: &[&str]) -> Value {
    let usual = ["bind", "create", "--key", key, "--customer", CUSTOMER, "--agent", AGENT];
    vizard.ask(&[&usual, more].concat()).unwrap()["binding"].clone()
}

fn proxy<'a>(binding: &'a Value, side: &str) -> &'a str {
    binding[side]["proxy"].as_str().unwrap()
}

#[test]
fn a_handover_changes_nothing_for_the_customer() {
    let Some(world) = world(Plan::default()) else { return };
    let mut vizard = world.start();
    let bound = bind(&vizard);
    let after = vizard.ask(&["bind", "handover", &bound.id, "--party", "agent", "--to", NEXT]).unwrap();
    assert_eq!(proxy(&after["binding"], "customer"), bound.customer_dials);
    assert_eq!(proxy(&after["binding"], "agent"), bound.agent_dials, "the pair is free, so it is kept");
    vizard.kill_and_restart().unwrap();

    let next = Peer::new("next-is-called", Place::Agent, Role::Callee, "", NEXT).sounding(660);
    let outcome = world.call(caller_at(Place::Customer, Role::Caller, &bound.customer_dials), next);
    assert_eq!(outcome.callee.number("Request-URI"), Some(NEXT));
    assert_eq!(outcome.callee.number("From"), Some(bound.agent_dials.as_str()));
    let next = Peer::new("next-calls", Place::Agent, Role::Caller, NEXT, &bound.agent_dials);
    let outcome = world.call(next, callee_at(Place::Customer, Role::Callee));
    assert_eq!(outcome.callee.number("Request-URI"), Some(CUSTOMER));
    assert_eq!(outcome.callee.number("From"), Some(bound.customer_dials.as_str()));
    // Without grace: who had the number before reaches nobody.
    is_refused(&world, (Place::Agent, AGENT), &bound.agent_dials, 404);
    assert_eq!(cause(&vizard, 1), "no_binding");
    vizard.stop().unwrap();
}

#[test]
fn calls_are_held_to_what_their_binding_allows() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start();
    vizard.ask(&["pool", "add", "+12125550123", "+12125550124", "+12125550125"]).unwrap();
    let one_way = bind_as(&vizard, "a", &["--direction", "to-agent", "--max-call", "4s", "--tag", "vip"]);
    is_refused(&world, (Place::Agent, AGENT), proxy(&one_way, "agent"), 403);
    assert_eq!(cause(&vizard, 1), "not_allowed");
    // Both talk for two seconds, and wait to be hung up.
    let caller = caller_at(Place::Customer, Role::CallerWaits, proxy(&one_way, "customer"));
    world.call(caller, callee_at(Place::Agent, Role::Callee));
    assert_eq!(cause(&vizard, 2), "max_duration");

    let texts = bind_as(&vizard, "b", &["--mode", "text", "--one-number"]);
    assert_eq!(proxy(&texts, "customer"), proxy(&texts, "agent"));
    is_refused(&world, (Place::Customer, CUSTOMER), proxy(&texts, "customer"), 403);
    let listed = vizard.show(&["bind", "list", "--tag", "vip", "--csv"]).unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    vizard.stop().unwrap();
}

#[test]
fn a_callback_reopens_a_case_and_its_numbers_stay() {
    let Some(world) = world(Plan::default()) else { return };
    let mut vizard = world.start_with(&world.config());
    vizard.ask(&["pool", "add", "+12125550123", "+12125550124"]).unwrap();
    let case = bind_as(&vizard, "case-8", &["--kind", "case"]);
    let id = case["id"].as_str().unwrap();
    let closed = vizard.ask(&["bind", "close", id]).unwrap();
    assert_eq!(closed["binding"]["state"], "entombed");
    let explained = vizard.show(&["resolve", AGENT, proxy(&case, "agent")]).unwrap();
    assert!(explained.contains("lives again"), "{explained}");
    // The agent calls back, late.
    let caller = caller_at(Place::Agent, Role::Caller, proxy(&case, "agent"));
    world.call(caller, callee_at(Place::Customer, Role::Callee));
    let is_live_as_before = |vizard: &Vizard<'_>| {
        let shown = vizard.ask(&["bind", "show", id]).unwrap()["binding"].clone();
        assert_eq!((&shown["state"], &shown["customer"]), (&"live".into(), &case["customer"]), "{shown:#}");
    };
    is_live_as_before(&vizard);
    vizard.kill_and_restart().unwrap();
    is_live_as_before(&vizard);
    vizard.stop().unwrap();
}

#[test]
fn late_callers_and_strangers_go_to_the_service_that_is_meant_for_them() {
    let Some(world) = world(Plan::default()) else { return };
    let service = |name: &str| {
        let at = world.lab.peer(Place::Agent, world.plan.family);
        format!("{name} = {{ trunk = \"pbx\", uri = \"sip:{name}@{at}:{}\" }}\n", world.lab.sip_port())
    };
    let config = world.config() + "\n[callbacks]\n" + &service("ivr") + &service("announcement");
    let config = config + "\n[bindings.case]\non_tombstone = \"announcement\"\n";
    let vizard = world.start_with(&config);
    vizard.ask(&["pool", "add", "+12125550123", "+12125550124", "+12125550125"]).unwrap();
    let case = bind_as(&vizard, "case-7", &["--kind", "case"]);
    let (id, dials) = (case["id"].as_str().unwrap(), proxy(&case, "customer"));
    vizard.ask(&["bind", "close", id]).unwrap();

    let diverted = |who: &str, to: &str, says: &[&str]| {
        let verdict = vizard.ask(&["resolve", who, dials]).unwrap()["verdict"].clone();
        assert_eq!(verdict, to, "what is explained is what happens");
        let caller = Peer::new(&format!("{who}-is-late"), Place::Customer, Role::Caller, who, dials);
        let callee = Peer::new(&format!("{to}-is-called"), Place::Agent, Role::Callee, "", to).sounding(660);
        let outcome = world.call(caller, callee);
        assert_eq!(outcome.callee.number("Request-URI"), Some(to));
        assert_eq!(outcome.callee.number("From"), Some(dials));
        for line in says {
            assert!(outcome.callee.received().contains(line), "{line}: {}", outcome.callee.received());
        }
        assert_eq!(outcome.far.occurrences(&who[2..]), 0, "{who} reached the service");
        let session = vizard.records(2).unwrap()[0]["session"].as_str().unwrap().to_owned();
        assert!(vizard.show(&["resolve", &session]).unwrap().contains(to), "{session}");
    };
    let about = format!("X-Vizard-Binding: {id}");
    let late = ["X-Vizard-Reason: ended", "X-Vizard-Match: pair", "X-Vizard-Case: case-7", &about];
    diverted(CUSTOMER, "announcement", &late);
    diverted("+13105550199", "ivr", &["X-Vizard-Reason: unknown"]);
    let by_case = vizard.ask(&["resolve", "--case", "case-7"]).unwrap();
    assert!(by_case.to_string().contains(id), "whoever gives the case number is found: {by_case:#}");
    vizard.stop().unwrap();
}
