//! Where the fastest media path cannot be, the next one serves, and everything that
//! an operator may look at says which one it is and why.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::lab::Place;
use harness::process::output;
use harness::sipp::Role;
use harness::vizard::Vizard;
use serde_json::Value;

use crate::world::{Plan, World, binary, bind, callee_at, caller_at, in_progress, world};

/// Starts a vizard that takes the fastest path there is.
fn start<'a>(world: &'a World, binary: &Path) -> Vizard<'a> {
    let config = world.config().replace("path = \"xdp-native\"", "path = \"auto\"");
    Vizard::start(&world.lab, binary, &world.write("vizard.toml", &config)).unwrap()
}

/// A call goes through, and `status`, `calls`, `doctor` and the records name this
/// path and say why.
fn everything_says(world: &World, vizard: &Vizard<'_>, path: &str, why: &[&str]) {
    let status = vizard.ask(&["status"]).unwrap();
    assert_eq!(status["datapath"]["path"], path, "{status:#}");
    let reason = status["datapath"]["reason"].as_str().unwrap();
    for word in why {
        assert!(reason.contains(word), "{word} is missing: {reason}");
    }
    assert!(vizard.show(&["status"]).unwrap().contains(reason));
    let doctor = vizard.command().args(["doctor", "--json"]).output().unwrap();
    let doctor: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let mut findings = doctor["findings"].as_array().unwrap().iter();
    let found =
        findings.find(|finding| finding["check"] == "media path").unwrap_or_else(|| panic!("{doctor:#}"));
    assert_eq!(found["verdict"], "warn", "{found:#}");
    let said = found["found"].as_str().unwrap();
    assert!(said.contains(path) && said.contains(reason), "{said}");

    let bound = bind(vizard);
    let (session, shown, outcome) = std::thread::scope(|scope| {
        let caller = caller_at(Place::Customer, Role::Caller, &bound.customer_dials);
        let callee = callee_at(Place::Agent, Role::Callee);
        let call = scope.spawn(|| world.call(caller, callee));
        let answered = |call: &Value| (call["state"] == "answered").then(|| call.clone());
        let answered = in_progress(vizard, Duration::from_secs(20), "the call is not answered", answered);
        assert_eq!(answered["path"], path, "{answered:#}");
        let session = answered["session"].as_str().unwrap().to_owned();
        let shown = vizard.show(&["calls", "show", &session]).unwrap();
        (session, shown, call.join().unwrap())
    });
    assert!(shown.contains(reason), "{shown}");
    let (peer, ours) = (
        world.lab.peer(Place::Customer, world.plan.family),
        world.lab.vizard(Place::Agent, world.plan.family),
    );
    let sent = outcome.near.rtp_payloads(peer).unwrap();
    assert!(sent.len() > 50 * 160 && sent == outcome.far.rtp_payloads(ours).unwrap(), "the audio crossed");
    for record in vizard.records(2).unwrap() {
        assert_eq!(record["media"]["path"], path, "{record:#}");
        assert_eq!(record["media"]["slow_because"], reason, "{record:#}");
    }
    let shown = vizard.show(&["cdr", "show", &session]).unwrap();
    assert!(shown.contains(&format!("{path} ({reason})")), "{shown}");
    assert_eq!(vizard.counter("media.slow_path_flows").unwrap(), 4, "off the fast path, and counted");
}

/// Frames that are too long for native XDP: the stack's receive path serves.
#[test]
fn xdp_in_the_stack_where_the_driver_refuses() {
    let Some(world) = world(Plan::default()) else { return };
    for (place, interface) in [
        (Place::Customer, "eth0"),
        (Place::Agent, "eth0"),
        (Place::Vizard, "vz-cust"),
        (Place::Vizard, "vz-agent"),
    ] {
        output(world.lab.at(place, "ip").args(["link", "set", interface, "mtu", "9000"])).unwrap();
    }
    let vizard = start(&world, binary());
    everything_says(&world, &vizard, "xdp-generic", &["native XDP failed", "MTU", "9000"]);
    vizard.stop().unwrap();
}

/// Without the privileges that loading a program takes: plain sockets.
#[test]
fn sockets_where_xdp_is_not_allowed() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = start(&world, &unprivileged(&world));
    everything_says(&world, &vizard, "sockets", &["XDP failed", "CAP_BPF"]);
    vizard.stop().unwrap();
}

/// The binary, run without what loading a program takes.
fn unprivileged(world: &World) -> PathBuf {
    let script = format!(
        "#!/bin/sh\nexec setpriv --bounding-set=-bpf,-net_admin,-sys_admin,-perfmon \"{}\" \"$@\"\n",
        binary().display()
    );
    let path = world.write("vizard.unprivileged", &script);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}
