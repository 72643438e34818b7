//! What the phones of the soak say: numbered packets, each with the call and the
//! side that it belongs to, so that whoever hears one can tell whether it is meant.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use harness::lab::Place;

/// From one packet to the next.
pub(super) const PACE: Duration = Duration::from_millis(20);
const HEADER: usize = 12;
const LENGTH: usize = HEADER + 160;

/// Whose packet it is, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) call: u32,
    pub(super) from: Place,
    pub(super) number: u32,
}

impl Token {
    /// RTP with the token as its sound.
    pub(super) fn packet(self) -> [u8; LENGTH] {
        let mut bytes = [0x55; LENGTH];
        let [.., high, low] = self.number.to_be_bytes();
        bytes[..4].copy_from_slice(&[0x80, 0, high, low]);
        bytes[4..8].copy_from_slice(&self.number.wrapping_mul(160).to_be_bytes());
        let side = u32::from(self.from == Place::Agent);
        bytes[8..12].copy_from_slice(&(self.call << 1 | side).to_be_bytes());
        for (at, word) in [self.call, side, self.number].into_iter().enumerate() {
            bytes[HEADER + at * 4..HEADER + at * 4 + 4].copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// The token of a packet that arrived as it was sent, in all its bytes.
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        let word = |at: usize| packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let from = if word(HEADER + 4)? == 1 { Place::Agent } else { Place::Customer };
        let token = Self { call: word(HEADER)?, from, number: word(HEADER + 8)? };
        (token.packet() == packet).then_some(token)
    }
}

/// A port on which an end listens, and since when it should be silent.
pub(super) struct Ear {
    socket: UdpSocket,
    pub(super) address: SocketAddr,
    pub(super) silent_from: Option<Instant>,
}

impl Ear {
    pub(super) fn new(socket: UdpSocket) -> Self {
        let address = socket.local_addr().unwrap();
        Self { socket, address, silent_from: None }
    }

    pub(super) fn send(&self, token: Token, to: SocketAddr) {
        // A full queue of the sender's own shows as a loss, and a call that is over may
        // be answered with a port that is unreachable.
        let _ = self.socket.send_to(&token.packet(), to);
    }

    /// The next packet, if one has arrived.
    pub(super) fn hear(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        let (length, _) = self.socket.recv_from(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
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
