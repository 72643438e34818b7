//! A trunk with two targets, of which one is dead: calls go to the other, the dead one
//! is known, and it is used again once it answers.

use std::time::{Duration, Instant};

use harness::lab::{Family, Link, Place};
use harness::sipp::Role;
use harness::vizard::Vizard;
use serde_json::Value;

use crate::world::{Plan, bind, callee_at, caller_at, world};

/// Nobody listens there.
const DEAD_PORT: u16 = 5999;

#[test]
fn calls_go_past_a_dead_target_over_udp() {
    past_a_dead_target(Plan::default(), "1 failover after silence");
}

#[test]
fn calls_go_past_a_dead_target_over_tcp() {
    past_a_dead_target(Plan { links: [Link::Udp, Link::Tcp], ..Plan::default() }, "1 failover at once");
}

fn past_a_dead_target(plan: Plan, what: &str) {
    let Some(world) = world(plan) else { return };
    let peer = world.lab.peer(Place::Agent, Family::V4);
    let one = format!("target = \"{peer}:{}\"", world.lab.sip_port());
    let config = world.config();
    assert!(config.contains(&one));
    let target = |port, priority| format!("{{ address = \"{peer}:{port}\", priority = {priority} }}");
    let two = [target(DEAD_PORT, 1), target(world.lab.sip_port(), 2)].join(", ");
    let config = config.replace(&one, &format!("targets = [{two}]\nprobe = \"0s\"")).replacen(
        "[sip]\n",
        "[sip]\nfailover_after = \"1s\"\n",
        1,
    );
    let vizard = world.start_with(&config);
    let bound = bind(&vizard);
    for failovers in [1, 1] {
        let caller = caller_at(Place::Customer, Role::Caller, &bound.customer_dials);
        let outcome = world.call(caller, callee_at(Place::Agent, Role::Callee));
        let ours = world.lab.vizard(Place::Agent, Family::V4);
        let heard = outcome.far.stream(ours, peer).unwrap().expect("audio arrived");
        assert!(heard.packets > 50 && heard.lost == 0, "{heard:?}");
        for record in vizard.records(2).unwrap() {
            assert_eq!(record["release"]["cause"], "normal", "{record:#}");
        }
        // The second call goes to the one that answers straight away.
        assert_eq!(vizard.counter("calls.failovers").unwrap(), failovers, "{what}");
        assert_eq!(health(&vizard), ["down", "up"]);
    }
    vizard.stop().unwrap();
}

/// OPTIONS finds out about both without a call.
#[test]
fn probes_tell_which_targets_are_there() {
    let Some(world) = world(Plan::default()) else { return };
    let peer = world.lab.peer(Place::Agent, Family::V4);
    let own = format!("target = \"{peer}:{}\"", world.lab.sip_port());
    let config = world.config().replace(&own, &format!("{own}\nprobe = \"5s\""));
    let socket = world.lab.inside(Place::Agent, || Ok(std::net::UdpSocket::bind((peer, 5060))?)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let vizard = world.start_with(&config);
    let mut buffer = [0; 4096];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    let asked = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(asked.starts_with("OPTIONS sip:"), "{asked}");
    let kept =
        |line: &&str| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name));
    let lines: Vec<&str> = asked.lines().filter(kept).collect();
    let answer = format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", lines.join("\r\n"));
    socket.send_to(answer.as_bytes(), from).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while health(&vizard) != ["up"] {
        assert!(Instant::now() < deadline, "it is not up");
        std::thread::sleep(Duration::from_millis(50));
    }
    vizard.stop().unwrap();
}

/// Of the targets of the agent's trunk.
fn health(vizard: &Vizard<'_>) -> Vec<String> {
    let trunks = vizard.ask(&["trunks"]).unwrap()["trunks"].clone();
    let pbx = trunks.as_array().unwrap().iter().find(|trunk| trunk["trunk"] == "pbx").unwrap();
    let word = |target: &Value| target["health"].as_str().unwrap().to_owned();
    pbx["targets"].as_array().unwrap().iter().map(word).collect()
}
