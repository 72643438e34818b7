//! What the phones of the soak say: numbered packets and, now and then, reports on
//! them (RTCP), each with the call and the side that it belongs to, so that whoever
//! hears one can tell whether it is meant.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use harness::lab::Place;

/// From one packet to the next.
pub(super) const PACE: Duration = Duration::from_millis(20);
/// Packets from one report to the next.
const REPORTED: u32 = 20;
const HEADER: usize = 12;
const LENGTH: usize = HEADER + 160;

/// Whose packet it is, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) call: u32,
    pub(super) from: Place,
    /// None of a report.
    pub(super) number: Option<u32>,
}

impl Token {
    /// RTP with the token as its sound, or a receiver report of its source alone.
    pub(super) fn packet(self) -> Vec<u8> {
        let side = u32::from(self.from == Place::Agent);
        let source = (self.call << 1 | side).to_be_bytes();
        let Some(number) = self.number else { return [[0x80, 201, 0, 1], source].concat() };
        let [.., high, low] = number.to_be_bytes();
        let time = number.wrapping_mul(160).to_be_bytes();
        let words = [self.call, side, number].map(u32::to_be_bytes);
        let mut bytes = [&[0x80, 0, high, low], &time, &source, words.as_flattened()].concat();
        bytes.resize(LENGTH, 0x55);
        bytes
    }

    /// The token of a packet that arrived as it was sent, in all its bytes.
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        let word = |at: usize| packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let side = |bit| if bit == 1 { Place::Agent } else { Place::Customer };
        let token = if packet.len() == LENGTH {
            Self { call: word(HEADER)?, from: side(word(HEADER + 4)?), number: Some(word(HEADER + 8)?) }
        } else {
            let source = word(4)?;
            Self { call: source >> 1, from: side(source & 1), number: None }
        };
        (token.packet() == packet).then_some(token)
    }
}

/// A port on which an end listens, with the next one for reports, and since when both
/// should be silent.
pub(super) struct Ear {
    socket: UdpSocket,
    reports: UdpSocket,
    pub(super) address: SocketAddr,
    pub(super) silent_from: Option<Instant>,
}

impl Ear {
    pub(super) fn new(socket: UdpSocket, reports: UdpSocket) -> Self {
        let address = socket.local_addr().unwrap();
        Self { socket, reports, address, silent_from: None }
    }

    /// Says this packet, and reports on its like when it is time.
    pub(super) fn send(&self, token: Token, to: SocketAddr) {
        // A full queue of the sender's own shows as a loss, and a call that is over may
        // be answered with a port that is unreachable.
        let _ = self.socket.send_to(&token.packet(), to);
        if token.number.is_some_and(|number| number % REPORTED == 0) {
            let beside = SocketAddr::new(to.ip(), to.port() + 1);
            let _ = self.reports.send_to(&Token { number: None, ..token }.packet(), beside);
        }
    }

    /// The next packet on either port, if one has arrived, and whether it is a report.
    pub(super) fn hear(&self) -> Option<(Vec<u8>, bool)> {
        let mut buffer = [0; 2048];
        let heard = |(socket, reports): (&UdpSocket, bool)| {
            socket.recv_from(&mut buffer).ok().map(|(length, _)| (buffer[..length].to_vec(), reports))
        };
        [(&self.socket, false), (&self.reports, true)].into_iter().find_map(heard)
    }
}

/// One direction of a call: what was said that must be heard, and what was heard.
#[derive(Default)]
pub(super) struct Account {
    pub(super) said: u32,
    owed: Vec<u32>,
    heard: HashSet<u32>,
}

impl Account {
    /// The next packet's number; `owed` if the other side must hear it.
    pub(super) fn say(&mut self, owed: bool) -> u32 {
        let number = self.said;
        self.said += 1;
        if owed {
            self.owed.push(number);
        }
        number
    }

    /// Takes in a packet; `false` if it came before.
    pub(super) fn hear(&mut self, number: u32) -> bool {
        self.heard.insert(number)
    }

    pub(super) fn heard(&self) -> usize {
        self.heard.len()
    }

    /// What must have been heard and was not.
    pub(super) fn lost(&self) -> Vec<u32> {
        self.owed.iter().copied().filter(|number| !self.heard.contains(number)).collect()
    }
}
