//! Nonsense on the signalling sockets: from trunks and from strangers, from
//! plain garbage to messages that are almost right.

use vizard::engine::io::{Input, Signal};
use vizard::engine::sip::transport::Way;

use crate::message::Message;
use crate::scenario::Host;
use crate::setup;
use crate::world::World;

impl World {
    /// One piece of nonsense arrives.
    pub(crate) fn noise(&mut self) -> Result<(), String> {
        let host = *self.chance.pick(&[Host::Customers, Host::Agents]);
        let local = setup::vizard_of(self.scenario.topology, host);
        let remote = if self.chance.chance(250) { setup::NOBODY } else { host.address() };
        let bytes = self.nonsense_bytes(host);
        self.note(|_| {
            format!("nonsense from {remote}: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]))
        });
        self.last_noise = Some(bytes.clone());
        let result = self.input(Input::Received(Signal { way: Way::udp(local, remote), bytes }), None);
        self.last_noise = None;
        result
    }

    fn nonsense_bytes(&mut self, host: Host) -> Vec<u8> {
        let methods = ["OPTIONS", "BYE", "CANCEL", "ACK", "REGISTER", "MESSAGE", "NOTIFY", "FOO", "INFO"];
        let method = *self.chance.pick(&methods);
        let real = self.scenario.parties[self.chance.below(self.scenario.parties.len())].user.clone();
        let token = self.chance.token();
        let here = host.address();
        let stray = Message::request(method, &format!("sip:{real}@192.0.2.1"))
            .with("Via", format!("SIP/2.0/UDP {here};branch=z9hG4bK{token}"))
            .with("Max-Forwards", "70")
            .with("From", format!("<sip:{real}@{here}>;tag={token}"))
            .with("To", format!("<sip:{real}@192.0.2.1>{}", if method == "BYE" { ";tag=x" } else { "" }))
            .with("Call-ID", format!("noise{token}"))
            .with("CSeq", format!("1 {method}"));
        let mut bytes = stray.bytes();
        match self.chance.below(6) {
            0 => (0..self.chance.between(1, 200)).map(|_| self.chance.byte()).collect(),
            1 => {
                bytes.truncate(self.chance.below(bytes.len()));
                bytes
            }
            2 => {
                for _ in 0..self.chance.between(1, 6) {
                    let at = self.chance.below(bytes.len());
                    bytes[at] = self.chance.byte();
                }
                bytes
            }
            3 => Message::response(&stray, 200, "x").bytes(),
            4 => b"\r\n\r\n".to_vec(),
            _ => bytes,
        }
    }
}
