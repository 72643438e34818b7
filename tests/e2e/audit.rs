//! The audit log of a real vizard: whole after every crash, and not whole when
//! somebody had a hand in it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use harness::process::output;
use harness::vizard::{Vizard, key_file};
use serde_json::Value;

use crate::world::{Plan, bind, world};

/// Crashes, and commands that are under way in each.
const CRASHES: usize = 5;
const AT_ONCE: usize = 4;

fn entries(vizard: &Vizard<'_>, filter: &[&str]) -> Vec<Value> {
    let list = vizard.ask(&[&["audit", "list", "--limit", "10000"], filter].concat()).unwrap();
    list["entries"].as_array().unwrap().clone()
}

/// The entry count of a log that is whole.
fn verified(vizard: &Vizard<'_>) -> u64 {
    let verification = vizard.ask(&["audit", "verify"]).unwrap();
    assert_eq!(verification["found"], 0, "{verification:#}");
    verification["entries"].as_u64().unwrap()
}

/// Denies networks one after the other until the vizard is gone; those that were
/// acknowledged.
fn deny(mut command: impl FnMut() -> Command, lane: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for host in 0..=255 {
        let net = format!("198.18.{lane}.{host}/32");
        let done = command().args(["guard", "deny", &net, "--for", "1h", "--reason", "a test"]).output();
        if !done.unwrap().status.success() {
            break;
        }
        acknowledged.push(net);
    }
    acknowledged
}

#[test]
fn no_crash_breaks_the_log_or_loses_an_act() {
    let Some(world) = world(Plan::default()) else { return };
    let mut vizard = world.start();
    let mut all = Vec::new();
    for crash in 0..CRASHES {
        let asking = |lane| {
            let own = vizard.command();
            let (program, arguments): (_, Vec<_>) =
                (own.get_program().to_owned(), own.get_args().map(ToOwned::to_owned).collect());
            let variables: Vec<_> = own
                .get_envs()
                .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
                .collect();
            let again = move || {
                let mut command = Command::new(&program);
                command.args(&arguments).envs(variables.iter().cloned());
                command
            };
            thread::spawn(move || deny(again, lane))
        };
        let lanes: Vec<_> = (0..AT_ONCE).map(|lane| asking(crash * AT_ONCE + lane)).collect();
        thread::sleep(Duration::from_millis(300 + 130 * u64::try_from(crash).unwrap()));
        vizard.kill().unwrap();
        all.extend(lanes.into_iter().flat_map(|lane| lane.join().unwrap()));
        vizard.start_again(&[]).unwrap();
        let count = verified(&vizard);
        assert!(usize::try_from(count).unwrap() >= all.len());
    }
    let noted = entries(&vizard, &["--act", "guard-deny"]);
    for net in &all {
        assert!(noted.iter().any(|entry| entry["on"] == net.as_str()), "{net} was denied and is not noted");
    }
    assert!(all.len() >= CRASHES, "too few acts to tell anything: {}", all.len());
    assert_eq!(entries(&vizard, &["--act", "mend"]), Vec::<Value>::new());
    let who = &noted[0]["who"]["user"];
    assert_eq!((who["user"].as_u64(), who["role"].as_str()), (Some(0), Some("admin")), "{who:#}");
    assert_eq!(noted[0]["reason"], "a test");
}

#[test]
fn a_log_that_was_put_back_to_its_past_is_found_out() {
    let Some(world) = world(Plan::default()) else { return };
    let mut vizard = world.start();
    let bound = bind(&vizard);
    vizard.ask(&["bind", "close", &bound.id]).unwrap();
    let before = verified(&vizard);
    vizard.kill().unwrap();
    let (store, past) = (world.lab.folder().join("store"), world.lab.folder().join("past"));
    copy(&store, &past);
    vizard.start_again(&[]).unwrap();
    vizard.ask(&["drain"]).unwrap();
    vizard.ask(&["drain", "--undo"]).unwrap();
    assert!(verified(&vizard) >= before + 2);
    let close = entries(&vizard, &["--on", &bound.id]);
    assert_eq!(close[0]["act"], "bind-close");

    // The store of before, and the anchor of now.
    vizard.kill().unwrap();
    fs::remove_dir_all(&store).unwrap();
    copy(&past, &store);
    vizard.start_again(&[]).unwrap();
    let (code, said) = failed(&vizard);
    assert!(code == 1 && said.contains("not whole"), "{said}");
    // It goes on, and the gap stays.
    vizard.ask(&["drain"]).unwrap();
    let said = failed(&vizard).1;
    assert!(said.contains(&format!("entries {} to {} are missing", before + 1, before + 2)), "{said}");
    assert_eq!(entries(&vizard, &["--act", "mend"]).len(), 1);
    assert!(vizard.log().contains("the audit log is not whole"), "{}", vizard.log());

    // Without its anchor nobody can tell where it ended; that is noted too.
    vizard.kill().unwrap();
    fs::remove_file(key_file(&world.lab).with_file_name("audit.anchor")).unwrap();
    vizard.start_again(&[]).unwrap();
    vizard.ask(&["drain"]).unwrap();
    assert_eq!(entries(&vizard, &["--act", "mend"]).len(), 2);
}

fn failed(vizard: &Vizard<'_>) -> (i32, String) {
    let output = vizard.command().args(["audit", "verify"]).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn copy(from: &Path, to: &Path) {
    output(Command::new("cp").arg("-a").arg(from).arg(to)).unwrap();
}
