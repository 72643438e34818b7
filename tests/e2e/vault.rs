//! The vault under a running Vizard: keys change while calls go on.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use harness::lab::{Lab, Place};
use harness::sipp::Role;
use harness::vizard::{Vizard, key_file};

use crate::world::{CUSTOMER, MediaPath, Plan, bind, callee_at, caller_at, other, world};

/// Parties enough that sealing them takes several turns.
const BINDINGS: usize = 280;

/// The epochs in the key file.
fn epochs(lab: &Lab) -> Vec<String> {
    let text = fs::read_to_string(key_file(lab)).unwrap();
    let epochs = text.lines().filter_map(|line| line.strip_prefix("epoch ")?.split_once(' '));
    epochs.map(|(epoch, _)| epoch.to_owned()).collect()
}

fn rotated(vizard: &Vizard<'_>, lab: &Lab) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = epochs(lab);
        let status = vizard.ask(&["vault", "status"]).unwrap();
        if found.len() == 1 && status["vault"]["left"] == 0 {
            return found;
        }
        assert!(Instant::now() < deadline, "epochs {found:?} are in the key file: {status}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn fill(vizard: &Vizard<'_>) {
    for at in 0..BINDINGS {
        let (key, customer) = (format!("k{at}"), format!("+1212555{:04}", 1000 + at));
        let agent = format!("+1310555{:04}", 1000 + at);
        vizard.ask(&["bind", "create", "--key", &key, "--customer", &customer, "--agent", &agent]).unwrap();
    }
}

/// Every binding still finds its parties.
fn check(vizard: &Vizard<'_>) {
    let list = vizard.ask(&["bind", "list", "--limit", "1000"]).unwrap();
    let bindings = list["bindings"].as_array().unwrap();
    assert_eq!(bindings.len(), BINDINGS + 1);
    for binding in bindings.iter().step_by(29) {
        let key = binding["key"].as_str().unwrap();
        let Some(at) = key.strip_prefix('k').and_then(|at| at.parse::<usize>().ok()) else { continue };
        let (caller, proxy) = (format!("+1212555{:04}", 1000 + at), binding["customer"]["proxy"].as_str());
        let resolved = vizard.ask(&["resolve", &caller, proxy.unwrap()]).unwrap();
        assert!(resolved.to_string().contains(binding["id"].as_str().unwrap()), "{resolved}");
    }
}

#[test]
fn keys_rotate_under_a_call_and_through_kill_9_at_random_moments() {
    let Some(world) = world(Plan { path: MediaPath::Sockets, ..Plan::default() }) else { return };
    let mut vizard = world.start();
    let bound = bind(&vizard);
    fill(&vizard);
    assert_eq!(epochs(&world.lab), ["1"]);
    thread::scope(|scope| {
        let rotation = scope.spawn(|| vizard.ask(&["vault", "rotate"]).unwrap());
        let outcome = world.call(
            caller_at(Place::Customer, Role::Caller, &bound.customer_dials),
            callee_at(other(Place::Customer), Role::Callee),
        );
        assert_eq!(outcome.callee.number("From"), Some(bound.agent_dials.as_str()));
        let ended = rotation.join().unwrap();
        assert_eq!((&ended["rotation"]["phase"], &ended["vault"]["epoch"]), (&"ended".into(), &2.into()));
    });
    assert_eq!(epochs(&world.lab), ["2"]);
    check(&vizard);

    // Moments spread over the whole way, by a step that has no common measure with it.
    let mut epoch = 2;
    for round in 0_u64..12 {
        vizard.ask(&["vault", "rotate", "--no-wait"]).unwrap();
        thread::sleep(Duration::from_millis(round * 7919 % 61));
        vizard.kill_and_restart().unwrap();
        epoch += 1;
        assert_eq!(rotated(&vizard, &world.lab), [epoch.to_string()], "round {round}");
    }
    check(&vizard);
    assert!(!vizard.log().contains(&CUSTOMER[2..]));
    for left in ["old", "new"] {
        assert!(!key_file(&world.lab).with_extension(format!("keys.{left}")).exists(), ".{left} is left");
    }
}
