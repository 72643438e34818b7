//! Vizard's media addresses stand behind an address translation: descriptions name
//! the addresses in front of it, packets arrive at and leave from those behind it.

use harness::lab::Place;
use harness::process::output;
use harness::sipp::Role;

use crate::world::{MediaPath, Plan, World, bind, callee_at, caller_at, leg, other, world};

const SIDES: [Place; 2] = [Place::Customer, Place::Agent];

#[test]
fn advertised_addresses_in_the_driver() {
    media_goes_through_the_translation(MediaPath::Native);
}

#[test]
fn advertised_addresses_in_the_stack() {
    media_goes_through_the_translation(MediaPath::Generic);
}

#[test]
fn advertised_addresses_over_sockets() {
    media_goes_through_the_translation(MediaPath::Sockets);
}

/// What a side knows Vizard's media address as.
const fn advertised(side: Place) -> &'static str {
    match side {
        Place::Agent => "203.0.113.2",
        Place::Customer | Place::Vizard => "203.0.113.1",
    }
}

/// Translates one address into the other, both ways and without state, for what is
/// not signalling. It stands at the peer, so that a capture sees what is on the wire.
fn translate(world: &World, side: Place) {
    let (local, shown) = (world.lab.vizard(side, world.plan.family), advertised(side));
    let rules = format!(
        "table ip translation {{\n\
         chain out {{ type filter hook output priority raw; ip daddr {shown} ip daddr set {local}; }}\n\
         chain in {{ type filter hook prerouting priority raw;\n\
         ip saddr {local} udp sport != 5060 ip saddr set {shown}; }}\n}}\n"
    );
    let file = world.write("translation.nft", &rules);
    output(world.lab.at(side, "nft").arg("-f").arg(file)).unwrap();
    let route = ["route", "add", shown, "via", &local.to_string()];
    output(world.lab.at(side, "ip").args(route)).unwrap();
}

fn media_goes_through_the_translation(path: MediaPath) {
    let Some(world) = world(Plan { path, ..Plan::default() }) else { return };
    let mut config = world.config();
    for side in SIDES {
        translate(&world, side);
        let local = format!("local = \"{}\"\n", world.lab.vizard(side, world.plan.family));
        assert!(config.contains(&local));
        config = config.replace(&local, &format!("{local}advertised = \"{}\"\n", advertised(side)));
    }
    let vizard = world.start_with(&config);
    assert_eq!(vizard.ask(&["status"]).unwrap()["datapath"]["path"], path.word());
    let bound = bind(&vizard);
    let caller = caller_at(Place::Customer, Role::Caller, &bound.customer_dials);
    let outcome = world.call(caller, callee_at(Place::Agent, Role::Callee));

    let records = vizard.records(2).unwrap();
    for side in SIDES {
        let (here, there) = if side == Place::Customer {
            (&outcome.near, &outcome.far)
        } else {
            (&outcome.far, &outcome.near)
        };
        let (peer, ours) =
            (world.lab.peer(side, world.plan.family), world.lab.vizard(side, world.plan.family));
        assert!(here.occurrences(&format!("c=IN IP4 {}", advertised(side))) > 0, "it is told so");
        for hidden in [format!("c=IN IP4 {ours}"), advertised(other(side)).to_owned()] {
            assert_eq!(here.occurrences(&hidden), 0, "{hidden} is of no use to the {side:?}");
        }
        let left = here.stream(peer, ours).unwrap().expect("audio left for the real address");
        assert!(left.packets > 50, "{left:?}");
        let facing = world.lab.vizard(other(side), world.plan.family);
        let arrived = there.rtp_payloads(facing).unwrap();
        assert!(here.rtp_payloads(peer).unwrap() == arrived, "what arrived was not what was sent");
        assert_eq!(leg(&records, side)["received"]["packets"], left.packets, "{records:#?}");
    }
    vizard.stop().unwrap();
}
