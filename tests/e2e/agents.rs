//! Agent numbers: anybody may call one, the agent sees a proxy for each caller, and
//! reaches that caller by calling it back.

use harness::lab::Place;
use harness::sipp::{Peer, Role};

use crate::world::{AGENT, CUSTOMER, Outcome, Plan, World, assert_hidden, callee_at, world};

const LINE: &str = "+12125550123";
const OTHERS: [&str; 2] = ["+13105550143", "+13105550144"];

/// Somebody calls the agent's number, and hears the agent.
fn calls_the_line(world: &World, who: &str) -> String {
    let caller = Peer::new(&format!("{who}-calls"), Place::Customer, Role::Caller, who, LINE);
    let Outcome { caller, callee, far, .. } = world.call(caller, callee_at(Place::Agent, Role::Callee));
    assert_eq!(callee.number("Request-URI"), Some(AGENT));
    assert_eq!(far.occurrences(&who[2..]), 0, "{who} reached the agent");
    assert!(!caller.received().contains(&AGENT[2..]), "{}", caller.received());
    callee.number("From").unwrap().to_owned()
}

/// The agent calls a number that it was shown, and reaches this caller.
fn is_called_back(world: &World, who: &str, shown: &str) {
    let caller = Peer::new(&format!("agent-calls-{who}"), Place::Agent, Role::Caller, AGENT, shown);
    let callee = Peer::new(&format!("{who}-is-called"), Place::Customer, Role::Callee, "", who);
    let Outcome { callee, far, near, .. } = world.call(caller, callee.sounding(660));
    assert_eq!(callee.number("Request-URI"), Some(who));
    assert_eq!(callee.number("From"), Some(LINE), "the caller knows the number that it dialled");
    assert_hidden(&world.lab, world.plan.family, Place::Customer, &far);
    assert_eq!(near.occurrences(&who[2..]), 0, "{who} reached the agent");
}

#[test]
fn each_caller_of_an_agent_number_can_be_called_back() {
    let Some(world) = world(Plan::default()) else { return };
    let config = world.config() + "\n[limits]\ncallers_per_agent = 2\n";
    let mut vizard = world.start_with(&config);
    vizard.ask(&["pool", "add", LINE, "+12125550188", "+12125550189", "+12125550190"]).unwrap();
    vizard.ask(&["agent", "open", "--key", "support-7", "--agent", AGENT, "--number", LINE]).unwrap();

    let first = calls_the_line(&world, CUSTOMER);
    assert!(first != LINE && first.starts_with("+1212555"), "{first}");
    is_called_back(&world, CUSTOMER, &first);
    let second = calls_the_line(&world, OTHERS[0]);
    assert!(second != LINE && second != first, "{second}");
    let records = vizard.records(2).unwrap();
    assert!(records.iter().all(|record| record["binding"] != serde_json::Value::Null), "{records:#?}");

    vizard.kill_and_restart().unwrap();
    assert_eq!(calls_the_line(&world, CUSTOMER), first, "who called before is shown as before");
    is_called_back(&world, OTHERS[0], &second);

    // The agent has as many callers as it may: one more is shown as the line itself.
    assert_eq!(calls_the_line(&world, OTHERS[1]), LINE);
    let agents = vizard.ask(&["agent", "list"]).unwrap();
    assert_eq!(agents["agents"][0]["callers"], 2, "{agents:#}");
    let refused = Peer::new("agent-calls-line", Place::Agent, Role::CallerRefused(404), AGENT, LINE);
    refused.start(&world.lab).unwrap().finish().unwrap();
    let explained = vizard.ask(&["resolve", OTHERS[1], LINE]).unwrap();
    assert_eq!(explained["verdict"], "connects", "{explained:#}");
    vizard.stop().unwrap();
}
