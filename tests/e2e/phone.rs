//! A phone that is all ears: what it says is numbered, and it writes down whose numbers
//! it heard. Its signalling is a silent peer's, which is told its port.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use harness::lab::{Family, Place};
use harness::namespace::inside;
use harness::socket;
use harness::vizard::Vizard;

use crate::world::{World, in_progress};

/// Where the audio of the customer and of the agent arrives, once both are expected to
/// speak.
pub(crate) fn anchors(vizard: &Vizard<'_>) -> [SocketAddr; 2] {
    in_progress(vizard, Duration::from_secs(10), "nobody is to be heard", |call| {
        let local = |leg: &str| -> Option<SocketAddr> {
            let mut flows = call["flows"].as_array()?.iter();
            let flow = flows.find(|flow| flow["content"] == "rtp" && flow["leg"] == leg)?;
            flow["local"].as_str()?.parse().ok()
        };
        Some([local("A")?, local("B")?])
    })
}

/// A phone's media.
pub(crate) struct Phone {
    socket: UdpSocket,
    to: SocketAddr,
    port: u16,
    /// How many packets it sent, or left out.
    pub(crate) said: u32,
    /// The numbers heard, by the port of who said them.
    pub(crate) heard: BTreeMap<u16, Vec<u32>>,
    last: Option<u16>,
    /// How often somebody else was heard than before.
    pub(crate) changes: u32,
}

impl Phone {
    pub(crate) fn new(world: &World, place: Place, port: u16, to: SocketAddr) -> Self {
        let address = SocketAddr::new(world.lab.peer(place, Family::V4), port);
        let socket =
            inside(&world.lab.namespace_of(place).unwrap(), || socket::udp(address).unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, to, port, said: 0, heard: BTreeMap::new(), last: None, changes: 0 }
    }

    /// Sends a packet.
    pub(crate) fn talks(&mut self) {
        let [.., high, low] = self.said.to_be_bytes();
        let mut packet = vec![0x80, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 7];
        packet.extend(self.port.to_be_bytes());
        packet.extend(self.said.to_be_bytes());
        packet.resize(172, 0xff);
        self.socket.send_to(&packet, self.to).unwrap();
        self.said += 1;
    }

    /// Counts a packet on that never leaves.
    pub(crate) fn falls_silent(&mut self) {
        self.said += 1;
    }

    /// Takes what has arrived.
    pub(crate) fn listens(&mut self) {
        let mut packet = [0; 256];
        while let Ok((172, from)) = self.socket.recv_from(&mut packet) {
            assert_eq!(from, self.to, "audio comes from Vizard alone");
            let who = u16::from_be_bytes([packet[12], packet[13]]);
            let number = u32::from_be_bytes([packet[14], packet[15], packet[16], packet[17]]);
            self.heard.entry(who).or_default().push(number);
            self.changes += u32::from(self.last.replace(who).is_some_and(|last| last != who));
        }
    }
}
