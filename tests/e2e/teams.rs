//! Parties with several addresses: a team behind an agent number that rings together,
//! one that rings in order, and a member who calls back.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use harness::lab::{Family, Place};
use harness::sipp::{Peer, Role, Seen};
use harness::vizard::Vizard;
use serde_json::Value;

use crate::world::{AGENT, CUSTOMER, Plan, World, callee_at, caller_at, world};

const LINE: &str = "+12125550123";
/// The other member, at a trunk of its own.
const SECOND: &str = "+16465550108";

/// A world in which a second member stands beside the agent.
fn team() -> Option<(World, IpAddr)> {
    let world = world(Plan::default())?;
    let second = world.lab.second_peer(Place::Agent).unwrap();
    Some((world, second))
}

fn start(world: &World, second: IpAddr) -> Vizard<'_> {
    let mut config = world.config();
    let target = SocketAddr::new(second, world.lab.sip_port());
    let ours = SocketAddr::new(world.lab.vizard(Place::Agent, Family::V4), world.lab.sip_port());
    write!(
        config,
        "\n[[trunk]]\nname = \"mobile\"\ntarget = \"{target}\"\nlisten = \"{ours}\"\nmedia = \"pbx\"\n\
         country = \"US\"\ntrusted = true\n\n[[route]]\nprefix = \"{SECOND}\"\ntrunk = \"mobile\"\n"
    )
    .unwrap();
    let vizard = world.start_with(&config);
    vizard.ask(&["pool", "add", LINE, "+12125550188", "+12125550189", "+12125550190"]).unwrap();
    vizard
}

fn second_is_called(second: IpAddr, role: Role) -> Peer {
    Peer::new("second-is-called", Place::Agent, role, "", SECOND).sounding(660).standing_at(second)
}

/// A member saw a number of ours, and nothing of the customer.
fn assert_masked(world: &World, seen: &Seen, member: &str) -> String {
    assert_eq!(seen.number("Request-URI"), Some(member));
    let shown = seen.number("From").unwrap();
    assert!(shown.starts_with("+1212555"), "{shown}");
    for secret in [&CUSTOMER[2..], &world.lab.peer(Place::Customer, Family::V4).to_string()] {
        assert!(!seen.received().contains(secret), "{secret} reached {member}: {}", seen.received());
    }
    shown.to_owned()
}

/// The record of an address that rang and did not get the call.
fn missed(records: &[Value]) -> &Value {
    records.iter().find(|record| record["fork"] == 1).unwrap()
}

#[test]
fn a_team_that_rings_together_answers_once_and_each_member_can_call_back() {
    let Some((world, second)) = team() else { return };
    let vizard = start(&world, second);
    let open = ["agent", "open", "--key", "team", "--agent", AGENT, "--agent", SECOND, "--ring", "together"];
    vizard.ask(&[&open[..], &["--number", LINE]].concat()).unwrap();

    let first = callee_at(Place::Agent, Role::CalleeCancelled).start(&world.lab).unwrap();
    let winner = second_is_called(second, Role::Callee);
    let outcome = world.call(caller_at(Place::Customer, Role::Caller, LINE), winner);
    let first = first.finish().unwrap();
    let shown = assert_masked(&world, &outcome.callee, SECOND);
    assert_eq!(assert_masked(&world, &first, AGENT), shown, "both members see the same number");
    assert!(first.received().contains("Call completed elsewhere"), "{}", first.received());
    for member in [AGENT, SECOND] {
        assert!(!outcome.caller.received().contains(&member[2..]), "{}", outcome.caller.received());
    }
    let heard = outcome
        .near
        .stream(world.lab.vizard(Place::Customer, Family::V4), world.lab.peer(Place::Customer, Family::V4));
    assert!(heard.unwrap().expect("the caller hears the winner").packets > 50);
    let records = vizard.records(3).unwrap();
    let elsewhere = missed(&records);
    assert_eq!((&elsewhere["leg"], &elsewhere["trunk"]), (&"B".into(), &"pbx".into()), "{records:#?}");
    assert_eq!(elsewhere["release"]["cause"], "answered_elsewhere", "{records:#?}");
    assert_eq!(elsewhere["billable_seconds"], 0);
    let shown_to_people = vizard.show(&["cdr", "list"]).unwrap();
    assert!(shown_to_people.contains("B.1"), "{shown_to_people}");

    // The member who did not get the call may call the caller back.
    let caller = Peer::new("agent-calls-back", Place::Agent, Role::Caller, AGENT, &shown);
    let callee = callee_at(Place::Customer, Role::Callee);
    let outcome = world.call(caller, callee);
    assert_eq!(outcome.callee.number("Request-URI"), Some(CUSTOMER));
    assert_eq!(outcome.callee.number("From"), Some(LINE));
    vizard.stop().unwrap();
}

#[test]
fn addresses_ring_in_order_until_one_answers() {
    let Some((world, second)) = team() else { return };
    let vizard = start(&world, second);
    let create = ["bind", "create", "--key", "k", "--customer", CUSTOMER, "--agent", AGENT];
    let bound = vizard.ask(&[&create[..], &["--agent", SECOND]].concat()).unwrap();
    let dials = bound["binding"]["customer"]["proxy"].as_str().unwrap();

    let busy = callee_at(Place::Agent, Role::CalleeRefuses(486)).start(&world.lab).unwrap();
    let answers = second_is_called(second, Role::Callee);
    let outcome = world.call(caller_at(Place::Customer, Role::Caller, dials), answers);
    assert_masked(&world, &busy.finish().unwrap(), AGENT);
    let shown = assert_masked(&world, &outcome.callee, SECOND);
    assert_eq!(shown, bound["binding"]["agent"]["proxy"].as_str().unwrap());
    let records = vizard.records(3).unwrap();
    assert_eq!(missed(&records)["release"]["cause"], "busy", "{records:#?}");
    assert_eq!(missed(&records)["release"]["sip_status"], 486, "{records:#?}");
    assert_eq!(records.iter().filter(|record| record["answer"].is_string()).count(), 2, "{records:#?}");
    vizard.stop().unwrap();
}
