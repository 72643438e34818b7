//! A flood from an address of no trunk: it is held back, its source is denied, and
//! a call goes on as if nothing were.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use harness::lab::{Family, Place};
use harness::namespace::inside;
use harness::process::output;
use harness::sipp::Role;
use harness::socket;
use serde_json::Value;

use crate::world::{MediaPath, Plan, World, bind, callee_at, caller_at, other, world};

const PACKETS: u64 = 20_000;
/// A third host on the customer's network.
pub(crate) const STRANGER: &str = "10.77.1.66";

#[test]
fn a_flood_does_not_touch_a_call_in_the_driver() {
    survives_a_flood(Plan { alone: true, ..Plan::default() });
}

#[test]
fn a_flood_does_not_touch_a_call_over_sockets() {
    survives_a_flood(Plan { path: MediaPath::Sockets, alone: true, ..Plan::default() });
}

fn survives_a_flood(plan: Plan) {
    let Some(world) = world(plan) else { return };
    let mut vizard = world.start();
    let bound = bind(&vizard);
    let flood = flood(&world);
    let from = Place::Customer;
    let caller = caller_at(from, Role::Caller, bound.proxy_of(from));
    let outcome = world.call(caller, callee_at(other(from), Role::Callee));
    assert_eq!(flood.join().unwrap(), PACKETS);

    let (peer, ours) = (world.lab.peer(from, Family::V4), world.lab.vizard(other(from), Family::V4));
    let left = outcome.near.stream(peer, world.lab.vizard(from, Family::V4)).unwrap().expect("audio");
    let arrived = outcome.far.stream(ours, world.lab.peer(other(from), Family::V4)).unwrap().expect("audio");
    // The capture beside the flood may itself have missed some.
    assert!(arrived.packets >= left.packets && left.packets > 50, "{left:?} {arrived:?}");
    assert_eq!(arrived.lost, 0, "{arrived:?}");
    for record in vizard.records(2).unwrap() {
        assert_eq!(record["release"]["cause"], "normal", "{record:#}");
    }

    let held: u64 = vizard
        .verdicts()
        .unwrap()
        .into_iter()
        .filter(|(name, _)| name.starts_with("guard-"))
        .map(|(_, packets)| packets)
        .sum();
    assert!(held > PACKETS * 9 / 10, "{held} of {PACKETS} packets were held back");
    assert!(vizard.counter("sip.unknown_source").unwrap() < PACKETS / 10);
    let rule = rule(&vizard.ask(&["guard", "list"]).unwrap(), STRANGER).expect("it is denied");
    assert_eq!((&rule["treatment"], &rule["by"]), (&"deny".into(), &"automatic".into()), "{rule:#}");
    assert!(rule["packets"].as_u64() > Some(0), "{rule:#}");

    // An operator's word lasts; a trunk takes insisting.
    vizard.ask(&["guard", "remove", STRANGER]).unwrap();
    vizard.ask(&["guard", "deny", STRANGER, "--for", "1h", "--reason", "flood"]).unwrap();
    let trunk = peer.to_string();
    let (code, said) = vizard.refused(&["guard", "deny", &trunk]).unwrap();
    assert_eq!(code, 6, "{said}");
    vizard.kill_and_restart().unwrap();
    let list = vizard.ask(&["guard", "list"]).unwrap();
    assert_eq!(self::rule(&list, STRANGER).expect("it is denied")["reason"], "flood");
    assert_eq!(self::rule(&list, &trunk).expect("a trunk")["treatment"], "exempt");
}

/// The rule for a host.
pub(crate) fn rule(list: &Value, host: &str) -> Option<Value> {
    let net = format!("{host}/32");
    list["rules"].as_array()?.iter().find(|rule| rule["net"] == net.as_str()).cloned()
}

/// The stranger comes to its network.
pub(crate) fn arrive(world: &World) {
    let address = format!("{STRANGER}/24");
    output(world.lab.at(Place::Customer, "ip").args(["address", "add", &address, "dev", "eth0"])).unwrap();
}

/// Sends from a host that is no trunk, for the time of a call.
fn flood(world: &World) -> JoinHandle<u64> {
    arrive(world);
    let namespace = world.lab.namespace_of(Place::Customer).unwrap();
    let vizard = SocketAddr::new(world.lab.vizard(Place::Customer, Family::V4), world.lab.sip_port());
    let send = move || {
        let socket = socket::udp(SocketAddr::new(STRANGER.parse().unwrap(), 5060)).unwrap();
        let mut sent = 0;
        for packet in 0..PACKETS {
            let message = format!("OPTIONS sip:{packet}@{vizard} SIP/2.0\r\n\r\n");
            sent += u64::from(socket.send_to(message.as_bytes(), vizard).is_ok());
            if packet % 50 == 0 {
                thread::sleep(Duration::from_millis(5));
            }
        }
        sent
    };
    thread::spawn(move || inside(&namespace, send).unwrap())
}
