//! A killed Vizard leaves its calls talking, and the next one goes on with them.

use std::time::Duration;

use harness::lab::Place;
use harness::sipp::Role;
use harness::vizard::Vizard;
use serde_json::Value;

use crate::world::{
    MediaPath, Outcome, Plan, World, bind, callee_at, caller_at, in_progress, leg, other, world,
};

/// How long the calls of these tests talk.
const TALK: Duration = Duration::from_secs(8);
/// How long there is no process.
const GAP: Duration = Duration::from_secs(2);

/// A world whose vizard pins where the lab keeps it.
fn pinning(plan: Plan) -> Option<(World, String)> {
    let mut world = world(plan)?;
    let pins = world.lab.mount_pins().unwrap().join("vizard");
    let config = world.config().replace("[media]\n", &format!("[media]\npin = \"{}\"\n", pins.display()));
    Some((world, config))
}

/// Does `act` once the call of `caller`, a place and the number that it dials,
/// is answered; returns what both ends of the call saw, when it is over.
fn during_a_call<'a>(
    world: &World,
    vizard: &mut Vizard<'a>,
    (from, dials): (Place, &str),
    talk: Duration,
    act: impl FnOnce(&mut Vizard<'a>),
) -> Outcome {
    std::thread::scope(|scope| {
        let caller = caller_at(from, Role::Caller, dials).talking(talk);
        let callee = callee_at(other(from), Role::Callee).talking(talk);
        let call = scope.spawn(|| world.call(caller, callee));
        wait_for_answer(vizard);
        act(vizard);
        call.join().unwrap()
    })
}

fn wait_for_answer(vizard: &Vizard<'_>) {
    let answered = |call: &Value| (call["state"] == "answered").then_some(());
    in_progress(vizard, Duration::from_secs(10), "the call is not answered", answered);
    // Until some audio has flowed and the journal has caught up.
    std::thread::sleep(Duration::from_millis(1500));
}

/// Calls from `from`, has `disturb` done while both talk, and holds what arrived
/// and was recorded against what was sent.
fn nothing_is_lost_while(plan: Plan, from: Place, disturb: impl FnOnce(&mut Vizard<'_>)) {
    let Some((world, config)) = pinning(plan) else { return };
    let mut vizard = world.start_with(&config);
    assert_eq!(vizard.ask(&["status"]).unwrap()["datapath"]["path"], plan.path.word());
    let bound = bind(&vizard);
    let to = other(from);
    let outcome = during_a_call(&world, &mut vizard, (from, bound.proxy_of(from)), TALK, |vizard| {
        let before = learned(vizard);
        assert_eq!(before.len(), 2, "{before:?}");
        disturb(vizard);
        assert_eq!(learned(vizard), before, "who was learned stays so");
    });
    let records = vizard.records(2).unwrap();
    for (sender, near, far) in [(from, &outcome.near, &outcome.far), (to, &outcome.far, &outcome.near)] {
        let receiver = other(sender);
        let peer = |place| world.lab.peer(place, plan.family);
        let ours = |place| world.lab.vizard(place, plan.family);
        let left = near.stream(peer(sender), ours(sender)).unwrap().expect("audio left the sender");
        let arrived = far.stream(ours(receiver), peer(receiver)).unwrap().expect("audio arrived");
        assert!(left.packets > 300, "eight seconds are about four hundred packets: {left:?}");
        assert_eq!((arrived.packets, arrived.lost), (left.packets, 0), "{left:?} {arrived:?}");
        let counted = |place, way: &str| leg(&records, place)[way]["packets"].as_u64().unwrap();
        assert_eq!(counted(sender, "received"), left.packets, "{records:#?}");
        assert_eq!(counted(receiver, "sent"), arrived.packets, "{records:#?}");
    }
    for record in &records {
        assert_eq!(record["release"]["cause"], "normal", "{record:#}");
        assert!(record["billable_seconds"].as_u64().unwrap() >= TALK.as_secs(), "{record:#}");
    }
    assert_eq!(vizard.counter("calls.restored").unwrap(), 1);
    assert_eq!(vizard.ask(&["calls"]).unwrap()["calls"].as_array().map(Vec::len), Some(0));
    let status = vizard.ask(&["status", "--all"]).unwrap();
    let forwarded = status["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["action"] != "pass" && row["action"] != "drop");
    let forwarded: u64 = forwarded.map(|row| row["packets"].as_u64().unwrap()).sum();
    assert!(forwarded > 700, "verdicts are counted on: {forwarded}");
    vizard.stop().unwrap();
    let left: Vec<_> = walk(&world.lab.folder().join("bpf/vizard"));
    assert!(left.is_empty(), "an end in good order leaves no pins: {left:?}");
}

/// Where each flow of the one call has learned that its packets come from, by where
/// they arrive.
fn learned(vizard: &Vizard<'_>) -> Vec<(String, String)> {
    in_progress(vizard, Duration::from_secs(5), "there is no call", |call| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let learned = |flow: &Value| Some((text(&flow["local"])?, text(&flow["stats"]["learned"])?));
        let mut learned: Vec<_> = call["flows"].as_array()?.iter().filter_map(learned).collect();
        learned.sort();
        Some(learned)
    })
}

/// The files below a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries
        .flat_map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

#[test]
fn a_call_survives_kill_9_whoever_placed_it() {
    for from in [Place::Customer, Place::Agent] {
        nothing_is_lost_while(Plan::default(), from, |vizard| {
            vizard.kill().unwrap();
            std::thread::sleep(GAP);
            vizard.start_again(&[]).unwrap();
        });
    }
}

#[test]
fn a_call_survives_kill_9_in_the_stack() {
    let plan = Plan { path: MediaPath::Generic, ..Plan::default() };
    nothing_is_lost_while(plan, Place::Customer, |vizard| {
        vizard.kill().unwrap();
        std::thread::sleep(GAP);
        vizard.start_again(&[]).unwrap();
    });
}

/// Sockets die with their process, signalling does not.
#[test]
fn a_call_on_sockets_is_ended_and_recorded_whole() {
    let Some(world) = world(Plan { path: MediaPath::Sockets, ..Plan::default() }) else { return };
    let mut vizard = world.start();
    let bound = bind(&vizard);
    let caller = (Place::Customer, bound.customer_dials.as_str());
    during_a_call(&world, &mut vizard, caller, TALK, |vizard| vizard.kill_and_restart().unwrap());
    for record in vizard.records(2).unwrap() {
        assert_eq!(record["release"]["cause"], "normal", "{record:#}");
        assert!(record["billable_seconds"].as_u64().unwrap() >= TALK.as_secs(), "{record:#}");
        assert!(record["received"]["packets"].as_u64().unwrap() > 100, "media flows again: {record:#}");
    }
    vizard.stop().unwrap();
}

/// The program that logs what it learns is another program.
#[test]
fn a_call_survives_another_program() {
    nothing_is_lost_while(Plan::default(), Place::Customer, |vizard| {
        vizard.kill().unwrap();
        vizard.start_again(&[("VIZARD_LOG", "debug")]).unwrap();
    });
}

#[test]
fn other_ports_do_not_cut_calls_without_a_word() {
    let Some((world, config)) = pinning(Plan::default()) else { return };
    let mut vizard = world.start_with(&config);
    let bound = bind(&vizard);
    let caller = (Place::Customer, bound.customer_dials.as_str());
    during_a_call(&world, &mut vizard, caller, TALK, |vizard| {
        vizard.kill().unwrap();
        let moved = world.write("moved.toml", &config.replace("20000-20999", "22000-22999"));
        let (code, said) = harness::vizard::gives_up(&world.lab, crate::world::binary(), &moved).unwrap();
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("--discard-calls") && said.contains("4 flows"), "{said}");
        vizard.start_again(&[]).unwrap();
    });
    // Without calls, other ports are fine.
    vizard.kill().unwrap();
    let moved = world.write("vizard.toml", &config.replace("20000-20999", "22000-22999"));
    assert!(moved.exists());
    vizard.start_again(&[]).unwrap();
    assert_eq!(vizard.ask(&["calls"]).unwrap()["calls"].as_array().map(Vec::len), Some(0));
    vizard.stop().unwrap();
}

#[test]
fn a_drain_waits_for_the_last_call() {
    let Some(world) = world(Plan::default()) else { return };
    let mut vizard = world.start();
    let bound = bind(&vizard);
    let caller = (Place::Customer, bound.customer_dials.as_str());
    during_a_call(&world, &mut vizard, caller, Duration::from_secs(4), |vizard| {
        let now = vizard.ask(&["drain"]).unwrap();
        assert_eq!((&now["draining"], &now["calls"]), (&true.into(), &1.into()));
        assert!(vizard.show(&["status"]).unwrap().contains("1 are left; draining"));
        assert_eq!(vizard.ask(&["drain", "--wait"]).unwrap()["calls"], 0);
        assert_eq!(vizard.records(2).unwrap()[0]["release"]["cause"], "normal");
    });
    assert_eq!(vizard.ask(&["drain", "--undo"]).unwrap()["draining"], false);
    vizard.stop().unwrap();
}
