//! A call of real SIP peers that turns into a fax.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use harness::lab::{Family, Place};
use harness::namespace::inside;
use harness::sipp::{Role, Says};
use harness::vizard::Vizard;

use crate::world::{Plan, World, bind, callee_at, caller_at, in_progress, leg, world};

/// Where both peers want the fax.
const PORT: u16 = 7400;

#[test]
fn a_call_turns_into_a_fax() {
    let Some(world) = world(Plan::default()) else { return };
    let vizard = world.start();
    let bound = bind(&vizard);
    let fax = [
        &format!("m=image {PORT} udptl t38"),
        "a=T38FaxVersion:0",
        "a=T38FaxUdpEC:t38UDPRedundancy",
        "a=T38VendorInfo:canary",
    ];
    let says = Says { renewed: fax.map(str::to_owned).to_vec(), ..Says::default() };
    let caller = caller_at(Place::Customer, Role::CallerReinvites, bound.proxy_of(Place::Customer));
    let callee = callee_at(Place::Agent, Role::CalleeHangsUp).saying(says.clone());
    let listening = callee.talking(Duration::from_secs(4)).start(&world.lab).unwrap();
    let calling = caller.saying(says).start(&world.lab).unwrap();

    let anchors = fax_anchors(&vizard);
    // The last of speech comes from where speech came from.
    for (place, at) in [(Place::Customer, anchors[0]), (Place::Agent, anchors[1])] {
        let speech = [&[0x80, 0, 0, 1][..], &[7; 168]].concat();
        socket(&world, place, PORT + 2).send_to(&speech, at).unwrap();
    }
    let [customer, agent] = [Place::Customer, Place::Agent].map(|place| socket(&world, place, PORT));
    for (sender, receiver, at, from) in
        [(&customer, &agent, anchors[0], anchors[1]), (&agent, &customer, anchors[1], anchors[0])]
    {
        for number in 0..20 {
            let datagram = [0, number, 1, 6, 0, 0, 0, number];
            sender.send_to(&datagram, at).unwrap();
            let mut buffer = [0; 256];
            let (length, source) = receiver.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], source), (&datagram[..], from), "audio does not reach a fax");
        }
    }
    let status = vizard.ask(&["status"]).unwrap();
    let verdicts = status["verdicts"].as_array().unwrap();
    let late = verdicts.iter().find(|verdict| verdict["verdict"] == "late-rtp").unwrap();
    assert!(late["packets"].as_u64().unwrap() >= 2, "{late}");

    let (caller, callee) = (calling.finish().unwrap(), listening.finish().unwrap());
    for seen in [&caller, &callee] {
        assert!(seen.received().contains("a=T38FaxUdpEC:t38UDPRedundancy"));
        assert!(!seen.received().contains("canary"));
    }
    let records = vizard.records(2).unwrap();
    for place in [Place::Customer, Place::Agent] {
        let record = leg(&records, place);
        assert_eq!(record["media"]["codec"], "t38", "{record:#}");
        assert_eq!(record["release"]["cause"], "normal", "{record:#}");
    }
    vizard.stop().unwrap();
}

/// Where the fax of the customer and of the agent arrives, once the call is one.
fn fax_anchors(vizard: &Vizard<'_>) -> [SocketAddr; 2] {
    in_progress(vizard, Duration::from_secs(20), "the call does not turn into a fax", |call| {
        let local = |leg: &str| -> Option<SocketAddr> {
            let mut flows = call["flows"].as_array()?.iter();
            let flow = flows.find(|flow| flow["content"] == "udptl" && flow["leg"] == leg)?;
            flow["local"].as_str()?.parse().ok()
        };
        Some([local("A")?, local("B")?])
    })
}

/// A socket at a peer's address.
fn socket(world: &World, place: Place, port: u16) -> UdpSocket {
    let address = SocketAddr::new(world.lab.peer(place, Family::V4), port);
    let bound = inside(&world.lab.namespace_of(place).unwrap(), || harness::socket::udp(address).unwrap());
    let socket = bound.unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}
