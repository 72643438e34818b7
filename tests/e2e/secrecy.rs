//! What a running Vizard leaves behind holds no party's number.

use std::fs;
use std::path::Path;

use harness::lab::Place;
use harness::sipp::Role;

use crate::world::{AGENT, CUSTOMER, Plan, bind, callee_at, caller_at, other, world};

/// The places where one of the planted numbers stands, as digits or as UTF-16.
fn traces(name: &str, bytes: &[u8]) -> Vec<String> {
    let planted = [CUSTOMER, AGENT].map(|number| number.trim_start_matches('+').to_owned());
    let written = planted.iter().flat_map(|digits| {
        let national = digits[1..].to_owned();
        let wide = national.encode_utf16().flat_map(u16::to_le_bytes).collect();
        [national.into_bytes(), wide]
    });
    let found = written.filter(|text: &Vec<u8>| bytes.windows(text.len()).any(|window| window == text));
    found.map(|_| name.to_owned()).collect()
}

fn traces_below(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(traces_below(&path));
        } else {
            found.extend(traces(&path.display().to_string(), &fs::read(&path).unwrap()));
        }
    }
    found
}

#[test]
fn neither_store_nor_log_nor_output_holds_a_number() {
    let Some(world) = world(Plan::default()) else { return };
    let mut vizard = world.start();
    let bound = bind(&vizard);
    let store = world.lab.folder().join("store");
    world.call(
        caller_at(Place::Customer, Role::Caller, &bound.customer_dials),
        callee_at(other(Place::Customer), Role::Callee),
    );
    vizard.records(2).unwrap();
    let shown: String = [
        &["bind", "list"][..],
        &["bind", "show", &bound.id],
        &["calls"],
        &["cdr", "list", "--wide"],
        &["status", "--all"],
    ]
    .iter()
    .map(|arguments| vizard.show(arguments).unwrap())
    .collect();
    assert_eq!(traces("output", shown.as_bytes()), Vec::<String>::new(), "{shown}");
    assert_eq!(traces("log", vizard.log().as_bytes()), Vec::<String>::new());
    vizard.kill().unwrap();
    assert_eq!(traces_below(&store), Vec::<String>::new());

    // Without its keys the store is not opened, and no other keys are made for it.
    let keys = harness::vizard::key_file(&world.lab);
    let aside = keys.with_extension("aside");
    fs::rename(&keys, &aside).unwrap();
    let (code, said) = vizard.refused(&["vault", "init"]).unwrap();
    assert!(code == 1 && said.contains("restore the key file from its backup"), "{code}: {said}");
    fs::rename(&aside, &keys).unwrap();
    vizard.start_again(&[]).unwrap();
    let list = vizard.ask(&["bind", "list"]).unwrap();
    assert_eq!(list["bindings"][0]["id"], bound.id.as_str());
}
