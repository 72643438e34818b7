//! Roles of real Unix users at the socket of a real vizard, and what those who may
//! unmask are shown.

use std::process::Output;

use harness::lab::Place;
use harness::sipp::Role;
use harness::vizard::Vizard;
use serde_json::Value;

use crate::world::{AGENT, CUSTOMER, Plan, World, bind, callee_at, caller_at, other, world};

/// Users that this host has no accounts of, so they go by number.
const NOC: u32 = 61_001;
const BILLING: u32 = 61_002;
const QA: u32 = 61_003;
const PRIVACY: u32 = 61_004;
const SECOND: u32 = 61_005;
const NOBODY: u32 = 61_009;
/// A group of the noc's.
const SHIFT: u32 = 61_100;

fn config(world: &World, more: &str) -> String {
    format!(
        "{}\n[control]\nmode = \"0666\"\n\n[roles]\nnoc = [\"{NOC}\", \"@{SHIFT}\"]\nbilling = [\"{BILLING}\"]\n\
         qa = [\"{QA}\"]\nprivacy = [\"{PRIVACY}\", \"{SECOND}\"]\n{more}",
        world.config()
    )
}

fn run(vizard: &Vizard<'_>, user: u32, groups: &[u32], arguments: &[&str]) -> Output {
    vizard.command_as(user, groups).args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// What a user is answered.
fn ask(vizard: &Vizard<'_>, user: u32, arguments: &[&str]) -> Value {
    let output = run(vizard, user, &[], &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The exit code and the words of a refusal.
fn refused(vizard: &Vizard<'_>, user: u32, arguments: &[&str]) -> (i32, String) {
    let output = run(vizard, user, &[], arguments);
    (code(&output), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn noted(vizard: &Vizard<'_>, act: &str) -> Vec<Value> {
    let list = vizard.ask(&["audit", "list", "--act", act]).unwrap();
    list["entries"].as_array().unwrap().clone()
}

#[test]
fn each_user_may_ask_for_what_their_role_says() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start_with(&config(&world, ""));
    let bound = bind(&vizard);
    let number = bound.customer_dials.as_str();
    let deny = ["guard", "deny", "203.0.113.0/24", "--for", "1h"];
    let table: [(&[&str], &[u32]); 8] = [
        (&["status"], &[NOC, BILLING, QA, PRIVACY]),
        (&["cdr", "list"], &[NOC, BILLING, QA, PRIVACY]),
        (&["calls"], &[NOC, QA]),
        (&["pool", "list"], &[NOC, BILLING]),
        (&["bind", "list"], &[NOC, QA, PRIVACY]),
        (&["pool", "set-state", "draining", number], &[NOC]),
        (&deny, &[NOC]),
        (&["audit", "verify"], &[PRIVACY]),
    ];
    for (arguments, may) in table {
        for user in [NOC, BILLING, QA, PRIVACY, NOBODY] {
            let expected = if may.contains(&user) { 0 } else { 9 };
            let output = run(&vizard, user, &[], arguments);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(code(&output), expected, "user {user}, {arguments:?}: {said}");
            if expected == 9 {
                assert!(said.contains("[roles]") && said.contains(&user.to_string()), "{said}");
            }
        }
    }
    // By group, and root by itself.
    assert_eq!(code(&run(&vizard, NOBODY, &[SHIFT], &["calls"])), 0);
    vizard.ask(&["bind", "show", &bound.id]).unwrap();
    assert!(vizard.counter("api.forbidden").unwrap() >= 20);
    let deny = &noted(&vizard, "guard-deny")[0]["who"]["user"];
    assert_eq!((deny["user"].as_u64(), deny["role"].as_str()), (Some(NOC.into()), Some("noc")));
    // Who tried and may not is noted as well.
    let tried = noted(&vizard, "denied");
    assert!(
        tried.iter().any(|entry| entry["who"]["user"]["user"] == NOBODY
            && entry["on"].as_str().unwrap().starts_with("guard-deny 203.0.113.0/24")),
        "{tried:#?}"
    );
    assert_eq!(vizard.ask(&["audit", "verify"]).unwrap()["found"], 0);
}

#[test]
fn who_may_unmask_sees_numbers_after_saying_why_and_only_so_often() {
    let Some(world) = world(Plan::default()) else { return };
    let mut vizard = world.start_with(&config(&world, "unmask_per_hour = 3\n"));
    let bound = bind(&vizard);
    world.call(
        caller_at(Place::Customer, Role::Caller, &bound.customer_dials),
        callee_at(other(Place::Customer), Role::Callee),
    );
    let session = vizard.records(2).unwrap()[0]["session"].as_str().unwrap().to_owned();
    let unmask = ["unmask", session.as_str(), "--reason", "complaint 4711"];
    for user in [NOC, BILLING, QA, NOBODY] {
        let (code, said) = refused(&vizard, user, &unmask);
        assert!(code == 9 && !said.contains(&CUSTOMER[2..]), "user {user}: {said}");
    }
    assert_eq!(refused(&vizard, PRIVACY, &["unmask", &session, "--reason", "because"]).0, 2);
    assert_eq!(noted(&vizard, "unmask"), Vec::<Value>::new());

    let shown = ask(&vizard, PRIVACY, &unmask);
    assert_eq!(
        (shown["customer"]["address"].as_str(), shown["agent"]["address"].as_str()),
        (Some(CUSTOMER), Some(AGENT))
    );
    assert_eq!(shown["binding"], bound.id.as_str());
    let entry = &noted(&vizard, "unmask")[0];
    assert_eq!(entry["on"], format!("{session} {}", bound.id));
    assert_eq!(entry["reason"], "complaint 4711");
    assert_eq!(entry["who"]["user"]["user"].as_u64(), Some(PRIVACY.into()));

    // The limit is each user's own, and a crash does not lift it.
    ask(&vizard, PRIVACY, &["unmask", &bound.id, "--reason", "complaint 4712"]);
    vizard.kill_and_restart().unwrap();
    ask(&vizard, PRIVACY, &unmask);
    let (code, said) = refused(&vizard, PRIVACY, &unmask);
    assert!(code == 7 && said.contains("limit"), "{code}: {said}");
    ask(&vizard, SECOND, &unmask);
    assert_eq!(noted(&vizard, "unmask").len(), 4);
    assert_eq!(
        refused(&vizard, PRIVACY, &["unmask", "bind_00000000000000000000000007", "--reason", "who is this"])
            .0,
        5
    );
    let list = vizard.show(&["audit", "list"]).unwrap();
    assert!(!list.contains(&CUSTOMER[2..]) && !vizard.log().contains(&CUSTOMER[2..]), "{list}");
    assert_eq!(vizard.ask(&["audit", "verify"]).unwrap()["found"], 0);
}

#[test]
fn under_the_two_person_rule_one_asks_and_another_one_lets_them() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start_with(&config(&world, "two_person = true\n"));
    let bound = bind(&vizard);
    let asked = ask(&vizard, PRIVACY, &["unmask", &bound.id, "--reason", "court order"]);
    assert!(!asked.to_string().contains(&CUSTOMER[2..]), "{asked}");
    let list = ask(&vizard, SECOND, &["unmask", "list"]);
    let id = list["requests"][0]["id"].as_u64().unwrap().to_string();
    assert_eq!(refused(&vizard, PRIVACY, &["unmask", "approve", &id]).0, 9, "not by oneself");
    assert_eq!(refused(&vizard, NOC, &["unmask", "approve", &id]).0, 9, "not without the role");
    assert_eq!(refused(&vizard, PRIVACY, &["unmask", "show", &id]).0, 6, "not before");
    ask(&vizard, SECOND, &["unmask", "approve", &id]);
    assert_eq!(refused(&vizard, SECOND, &["unmask", "show", &id]).0, 9, "whoever approves sees nothing");
    let shown = ask(&vizard, PRIVACY, &["unmask", "show", &id]);
    assert_eq!(shown["customer"]["address"], CUSTOMER);
    assert_eq!(refused(&vizard, PRIVACY, &["unmask", "show", &id]).0, 5, "once");
    for (act, user) in [("unmask-request", PRIVACY), ("unmask-approve", SECOND), ("unmask", PRIVACY)] {
        let entries = noted(&vizard, act);
        assert_eq!(entries.len(), 1, "{act}");
        assert_eq!(entries[0]["who"]["user"]["user"].as_u64(), Some(user.into()), "{act}");
    }
}
