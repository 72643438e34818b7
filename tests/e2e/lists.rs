//! Every list: in pages that join to the whole, with filters, as a document and as
//! values with commas.

use harness::lab::Place;
use harness::sipp::{Peer, Role};
use harness::vizard::Vizard;
use serde_json::Value;

use crate::world::{AGENT, CUSTOMER, MediaPath, Plan, world};

/// What a list says, whole.
fn rows(vizard: &Vizard<'_>, list: &[&str], name: &str) -> Vec<Value> {
    let page = vizard.ask(list).unwrap();
    assert_eq!(page["next"], Value::Null, "{list:?}: {page:#}");
    page[name].as_array().unwrap().clone()
}

/// The list in pages of two is the list, and as values with commas it is as long.
fn assert_pages(vizard: &Vizard<'_>, list: &[&str], name: &str, least: usize) {
    let whole = rows(vizard, list, name);
    assert!(whole.len() >= least, "{list:?} has too few rows to tell: {whole:#?}");
    let (mut paged, mut after) = (Vec::new(), None::<String>);
    loop {
        let more: Vec<&str> = after.iter().flat_map(|after| ["--after", after.as_str()]).collect();
        let page = vizard.ask(&[list, &["--limit", "2"], &more].concat()).unwrap();
        let some = page[name].as_array().unwrap();
        assert!(some.len() <= 2, "{list:?}: {page:#}");
        paged.extend(some.clone());
        assert!(paged.len() <= whole.len(), "{list:?} does not end");
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, whole, "{list:?}");
    let csv = vizard.show(&[list, &["--csv", "--no-header"]].concat()).unwrap();
    assert_eq!(csv.lines().count(), whole.len(), "{csv}");
}

#[test]
fn every_list_filters_pages_and_exports() {
    let Some(world) = world(Plan { path: MediaPath::Sockets, ..Plan::default() }) else { return };
    let vizard = world.start();
    let numbers: Vec<String> = (0..9).map(|at| format!("+1212555018{at}")).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    vizard.ask(&[&["pool", "add"], &numbers[..]].concat()).unwrap();
    // Before any of them is an agent's, whom everybody may call.
    for (at, number) in numbers.iter().enumerate().take(5) {
        let in_vain =
            Peer::new(&format!("in-vain-{at}"), Place::Customer, Role::CallerRefused(404), CUSTOMER, number);
        in_vain.start(&world.lab).unwrap().finish().unwrap();
    }
    vizard.records(1).unwrap();
    for (at, tenant) in ["acme", "acme", "other", "acme", "other"].into_iter().enumerate() {
        let (key, customer) = (format!("k{at}"), format!("+1310555020{at}"));
        let create = ["bind", "create", "--key", &key, "--customer", &customer, "--agent", AGENT];
        vizard.ask(&[&create[..], &["--tenant", tenant]].concat()).unwrap();
        if at < 3 {
            let open = ["agent", "open", "--key", &key, "--agent", AGENT, "--tenant", tenant];
            vizard.ask(&open).unwrap();
        }
        vizard.ask(&["guard", "deny", &format!("203.0.113.{at}"), "--reason", "a test"]).unwrap();
    }
    for (list, name, least) in [
        (&["bind", "list"][..], "bindings", 5),
        (&["bind", "list", "--tenant", "acme"], "bindings", 3),
        (&["pool", "list"], "numbers", 9),
        (&["pool", "list", "--idle"], "numbers", 1),
        (&["agent", "list"], "agents", 3),
        (&["agent", "list", "--tenant", "acme"], "agents", 2),
        (&["guard", "list"], "rules", 5),
        (&["guard", "list", "--rule", "deny", "--by", "operator"], "rules", 5),
        (&["cdr", "list"], "cdrs", 5),
        (&["cdr", "list", "--cause", "no_binding", "--trunk", "carrier"], "cdrs", 5),
        (&["audit", "list"], "entries", 9),
        (&["audit", "list", "--act", "guard-deny"], "entries", 5),
        (&["calls", "list"], "calls", 0),
        (&["unmask", "list"], "requests", 0),
    ] {
        assert_pages(&vizard, list, name, least);
    }
    for (list, name, length) in [
        (&["bind", "list", "--tenant", "other"][..], "bindings", 2),
        (&["agent", "list", "--key", "k2", "--tenant", "other"], "agents", 1),
        (&["agent", "list", "--key", "k2", "--tenant", "acme"], "agents", 0),
        (&["guard", "list", "--rule", "allow", "--by", "operator"], "rules", 0),
        (&["guard", "list", "--net", "203.0.113.3"], "rules", 1),
        (&["cdr", "list", "--cause", "busy"], "cdrs", 0),
        (&["cdr", "list", "--proxy", numbers[3]], "cdrs", 1),
        (&["cdr", "list", "--until", "2020-01-01T00:00:00Z"], "cdrs", 0),
        (&["calls", "list", "--state", "answered", "--trunk", "pbx"], "calls", 0),
    ] {
        assert_eq!(rows(&vizard, list, name).len(), length, "{list:?}");
    }
    for bad in [
        &["bind", "list", "--limit", "0"][..],
        &["cdr", "list", "--after", "yesterday"],
        &["cdr", "list", "--cause", "bored"],
        &["guard", "list", "--after", "nowhere"],
        &["calls", "list", "--state", "asleep"],
        &["bind", "list", "--kind", "rental"],
    ] {
        let (code, said) = vizard.refused(bad).unwrap();
        assert_eq!(code, 2, "{bad:?}: {said}");
    }
    vizard.stop().unwrap();
}
