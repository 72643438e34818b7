//! What a running Vizard leaves behind holds no party's number.

use std::fs;
use std::path::Path;

use harness::lab::Place;
use harness::sipp::Role;
use serde_json::Value;

use crate::world::{AGENT, CUSTOMER, Plan, bind, callee_at, caller_at, other, world};

/// The ways in which somebody, or some program, may write a planted number.
fn written() -> Vec<Vec<u8>> {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    // Two digits a byte, either one first: as tariffs and signalling pack them.
    let packed = |text: &str, high: usize| {
        let digits: Vec<u8> = text.bytes().map(|digit| digit - b'0').collect();
        digits.chunks_exact(2).map(|two| (two[high] << 4) | two[1 - high]).collect::<Vec<u8>>()
    };
    let mut written = Vec::new();
    for national in [&CUSTOMER[2..], &AGENT[2..]] {
        let (area, rest) = national.split_at(3);
        let (exchange, line) = rest.split_at(3);
        written.push(national.as_bytes().to_vec());
        written.extend([" ", "-", ".", "%20"].map(|gap| [area, exchange, line].join(gap).into_bytes()));
        written.push(format!("({area}) {exchange}-{line}").into_bytes());
        written.extend([wide(national), packed(national, 0), packed(national, 1)]);
        written.push(national.parse::<u64>().unwrap().to_le_bytes()[..5].to_vec());
    }
    written
}

/// The places where a planted number stands.
pub(crate) fn traces(name: &str, bytes: &[u8]) -> Vec<String> {
    let found = |text: &&Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_slice());
    written().iter().filter(found).map(|_| name.to_owned()).collect()
}

pub(crate) fn traces_below(path: &Path) -> Vec<String> {
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
    for (arguments, problem) in [
        (&["bind", "create", "--key", "x", "--customer", CUSTOMER, "--agent", CUSTOMER][..], "same address"),
        (&["bind", "create", "--key", "order-81", "--customer", AGENT, "--agent", CUSTOMER], "other parties"),
        (&["bind", "create", "--key", CUSTOMER, "--customer", CUSTOMER, "--agent", AGENT], "key"),
        (&["resolve", CUSTOMER, "+1"], "+1"),
        (&["pool", "show", CUSTOMER, "--bogus"], "--bogus"),
    ] {
        let (_, said) = vizard.refused(arguments).unwrap();
        assert!(said.contains(problem), "{arguments:?}: {said}");
        // What was typed is on the screen anyway; the errors do not repeat it.
        assert_eq!(traces("errors", said.as_bytes()), Vec::<String>::new(), "{said}");
    }
    assert_eq!(traces("log", vizard.log().as_bytes()), Vec::<String>::new());
    let limits = fs::read_to_string(format!("/proc/{}/limits", vizard.process())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    vizard.kill().unwrap();
    assert_eq!(traces_below(&store), Vec::<String>::new());

    // Without its keys the store is not opened, and no other keys are made for it.
    let keys = harness::vizard::key_file(&world.lab);
    let aside = keys.with_extension("aside");
    fs::rename(&keys, &aside).unwrap();
    let (code, said) = vizard.refused(&["vault", "init"]).unwrap();
    assert!(code == 1 && said.contains("restore the key file from its backup"), "{code}: {said}");
    let doctor = vizard.command().args(["doctor", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let keys_found = findings.iter().find(|finding| finding["check"] == "vault keys").unwrap();
    assert_eq!(keys_found["verdict"], "fail", "{keys_found}");
    fs::rename(&aside, &keys).unwrap();
    vizard.start_again(&[]).unwrap();
    let list = vizard.ask(&["bind", "list"]).unwrap();
    assert_eq!(list["bindings"][0]["id"], bound.id.as_str());
}
