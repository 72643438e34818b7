//! Roles of real Unix users at the socket of a real vizard, and nothing for
//! those who have none.

use std::process::Output;

use harness::vizard::Vizard;
use serde_json::Value;

use crate::world::{Plan, World, bind, world};

/// Users that this host has no accounts of, so they go by number.
const NOC: u32 = 61_001;
const BILLING: u32 = 61_002;
const QA: u32 = 61_003;
const PRIVACY: u32 = 61_004;
const NOBODY: u32 = 61_009;
/// A group of the noc's.
const SHIFT: u32 = 61_100;

fn config(world: &World) -> String {
    format!(
        "{}\n[control]\nmode = \"0666\"\n\n[roles]\nnoc = [\"{NOC}\", \"@{SHIFT}\"]\nbilling = [\"{BILLING}\"]\n\
         qa = [\"{QA}\"]\nprivacy = [\"{PRIVACY}\"]\n",
        world.config()
    )
}

fn run(vizard: &Vizard<'_>, user: u32, groups: &[u32], arguments: &[&str]) -> Output {
    vizard.command_as(user, groups).args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn noted(vizard: &Vizard<'_>, act: &str) -> Vec<Value> {
    let list = vizard.ask(&["audit", "list", "--act", act]).unwrap();
    list["entries"].as_array().unwrap().clone()
}

#[test]
fn each_user_may_ask_for_what_their_role_says() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start_with(&config(&world));
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
