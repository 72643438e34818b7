//! Who may come in: connections that peers make.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use super::channel::Channel;
use super::connection::{Connection, End, Origin, Stage};
use super::listener::Accepted;
use super::{Instant, Streams};
use crate::engine::config::Trunk;
use crate::engine::io::Input;
use crate::engine::sip::transport::{Transport, Way};

/// Connections that one listener takes in one turn.
const ACCEPTED_PER_TURN: usize = 32;

impl Streams {
    /// Takes in those who wait at a listener.
    pub(super) fn accept(&mut self, now: Instant, index: usize, admits: &mut impl FnMut(IpAddr) -> bool) {
        for _ in 0..ACCEPTED_PER_TURN {
            let Some(listener) = self.listeners.get_mut(index) else { return };
            let (transport, local) = (listener.transport, listener.local);
            match listener.accept() {
                Accepted::Nobody => return,
                Accepted::Lost => self.counters.accept_errors += 1,
                Accepted::Connection(socket, remote) => {
                    let way = Way { transport, local, remote, otherwise: None };
                    self.admit(now, socket, way, admits);
                }
            }
        }
    }

    fn admit(&mut self, now: Instant, socket: TcpStream, way: Way, admits: &mut impl FnMut(IpAddr) -> bool) {
        let source = way.remote.ip();
        if !admits(source) {
            return let_go(&socket);
        }
        let Some(trunk) = self.trunk_at(way.remote) else {
            self.counters.strangers += 1;
            self.inputs.push_back(Input::Knocked(source));
            return let_go(&socket);
        };
        let mutual = trunk.tls.client_certificate;
        let limits = &self.setup.limits;
        if self.connections.len() >= limits.connections {
            self.counters.over_limit += 1;
            return let_go(&socket);
        }
        if self.per_source.get(&source).is_some_and(|&count| count >= limits.per_source) {
            self.counters.over_source_limit += 1;
            return let_go(&socket);
        }
        let (channel, stage) = match (way.transport, &self.setup.tls) {
            (Transport::Tls, Some(tls)) => {
                let Ok(tls) = tls.accept(mutual) else {
                    self.counters.handshake_errors += 1;
                    return let_go(&socket);
                };
                (Channel::Tls(Box::new(tls)), Stage::Handshaking)
            }
            (Transport::Tcp, _) => (Channel::Plain, Stage::Open),
            (Transport::Tls, None) | (Transport::Udp, _) => return let_go(&socket),
        };
        let limit = self.setup.config.limits.message_bytes;
        let connection = Connection::new(now, socket, way, (Origin::Theirs, stage), channel, limit);
        if self.add(now, connection).is_ok() {
            self.counters.accepted += 1;
        } else {
            self.counters.accept_errors += 1;
        }
    }

    /// A connection carries messages from now on, if its peer is who it ought to be.
    pub(super) fn welcome(&mut self, key: u64) -> Result<(), End> {
        let Some(connection) = self.connections.get(&key) else { return Ok(()) };
        match connection.origin {
            Origin::Ours => self.counters.connected += 1,
            // An authority's other customers are not this trunk.
            Origin::Theirs => {
                let trunk = self.trunk_at(connection.remote).filter(|trunk| trunk.tls.client_certificate);
                if let Some((trunk, certificate)) = trunk.zip(connection.peer_certificate()) {
                    let name =
                        trunk.tls.name.clone().unwrap_or_else(|| host_of(trunk, connection.remote.ip()));
                    crate::net::tls::is_for(certificate, &name).map_err(End::Handshake)?;
                }
            }
        }
        Ok(())
    }

    fn trunk_at(&self, remote: SocketAddr) -> Option<&Trunk> {
        let config = &self.setup.config;
        config.trunk_of_source(remote.ip()).and_then(|id| config.trunk(id))
    }
}

/// The address that a trunk's certificate must name where it has no name: that of the
/// target that connects.
fn host_of(trunk: &Trunk, remote: IpAddr) -> String {
    let hosts = trunk.targets.hosts();
    if hosts.contains(&remote) { remote } else { trunk.targets.first().ip() }.to_string()
}

/// Ends what has not begun, and leaves nothing of it behind in the kernel.
fn let_go(socket: &TcpStream) {
    let _it_ends_either_way = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
}
