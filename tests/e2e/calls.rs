//! Masked calls, both ways: one suite over all three media paths, both address
//! families, and one shared interface.

use harness::lab::{Family, Link, Place, Shape};
use harness::sipp::Role;

use crate::world::{MediaPath, Plan, assert_hidden, bind, callee_at, caller_at, leg, number, other, world};

#[test]
fn xdp_in_the_driver() {
    masked_calls_both_ways(Plan::default());
}

#[test]
fn xdp_in_the_stack() {
    masked_calls_both_ways(Plan { path: MediaPath::Generic, ..Plan::default() });
}

#[test]
fn plain_sockets() {
    masked_calls_both_ways(Plan { path: MediaPath::Sockets, ..Plan::default() });
}

#[test]
fn ipv6_in_the_driver() {
    masked_calls_both_ways(Plan { family: Family::V6, ..Plan::default() });
}

#[test]
fn a_customer_on_ipv4_and_an_agent_on_ipv6() {
    masked_calls_both_ways(Plan { agent_family: Some(Family::V6), ..Plan::default() });
}

#[test]
fn one_interface_towards_both_sides() {
    masked_calls_both_ways(Plan { shape: Shape::OneWire, ..Plan::default() });
}

#[test]
fn tcp_on_both_sides() {
    masked_calls_both_ways(Plan { links: [Link::Tcp; 2], ..Plan::default() });
}

#[test]
fn a_customer_over_tcp_and_an_agent_over_udp() {
    masked_calls_both_ways(Plan { links: [Link::Tcp, Link::Udp], ..Plan::default() });
}

fn masked_calls_both_ways(plan: Plan) {
    let Some(world) = world(plan) else { return };
    let vizard = world.start();
    assert_eq!(vizard.ask(&["status"]).unwrap()["datapath"]["path"], plan.path.word());
    let bound = bind(&vizard);

    for from in [Place::Customer, Place::Agent] {
        let to = other(from);
        let caller = caller_at(from, Role::Caller, bound.proxy_of(from));
        let callee = callee_at(to, Role::Callee);
        let outcome = world.call(caller, callee);

        // Each side sees the number that it would dial itself, and is reached at its own.
        assert_eq!(outcome.callee.number("Request-URI"), Some(number(to)));
        for header in ["From", "P-Asserted-Identity", "Contact"] {
            if let Some(shown) = outcome.callee.number(header) {
                assert_eq!(shown, bound.proxy_of(to), "{header}");
            }
        }
        assert_eq!(outcome.callee.number("From"), Some(bound.proxy_of(to)));
        for header in ["Contact", "P-Asserted-Identity"] {
            if let Some(shown) = outcome.caller.number(header) {
                assert_eq!(shown, bound.proxy_of(from), "the answer's {header}");
            }
        }
        if plan.shape == Shape::TwoSides {
            assert_hidden(&world.lab, plan.family_of(to), from, &outcome.near);
            assert_hidden(&world.lab, plan.family_of(from), to, &outcome.far);
        }

        let records = vizard.records(2).unwrap();
        for (sender, near, far) in [(from, &outcome.near, &outcome.far), (to, &outcome.far, &outcome.near)] {
            let receiver = other(sender);
            let peer = |place| world.lab.peer(place, plan.family_of(place));
            let ours = |place| world.lab.vizard(place, plan.family_of(place));
            let left = near.stream(peer(sender), ours(sender)).unwrap().expect("audio left the sender");
            let arrived = far.stream(ours(receiver), peer(receiver)).unwrap().expect("audio arrived");
            assert!(left.packets > 50, "two seconds are about a hundred packets: {left:?}");
            assert_eq!((arrived.packets, arrived.lost), (left.packets, 0), "{left:?} {arrived:?}");
            let same_sound =
                near.rtp_payloads(peer(sender)).unwrap() == far.rtp_payloads(ours(receiver)).unwrap();
            assert!(same_sound, "the audio was changed on its way");
            assert_eq!(far.code_points(ours(receiver)).unwrap(), ["46"], "expedited forwarding");

            let counted = |place, way: &str| leg(&records, place)[way]["packets"].as_u64().unwrap();
            assert_eq!(counted(sender, "received"), left.packets, "{records:#?}");
            assert_eq!(counted(receiver, "sent"), arrived.packets, "{records:#?}");
        }
        for capture in [&outcome.near, &outcome.far] {
            assert_eq!(capture.broken().unwrap(), Vec::<String>::new(), "{}", capture.file().display());
        }
        for record in &records {
            assert_eq!(record["release"]["cause"], "normal", "{record:#}");
            assert_eq!(record["release"]["side"], leg_name(from), "{record:#}");
            assert_eq!(record["binding"], bound.id.as_str());
            assert!(record["billable_seconds"].as_u64().unwrap() >= 2, "{record:#}");
        }
        assert_eq!(leg(&records, from)["direction"], "inbound");
        assert_eq!(leg(&records, to)["direction"], "outbound");
        assert_eq!(leg(&records, to)["proxy"], bound.proxy_of(to));
        assert_eq!(vizard.ask(&["calls"]).unwrap()["calls"].as_array().map(Vec::len), Some(0));
    }
    vizard.stop().unwrap();
}

const fn leg_name(place: Place) -> &'static str {
    match place {
        Place::Agent => "B",
        Place::Customer | Place::Vizard => "A",
    }
}
