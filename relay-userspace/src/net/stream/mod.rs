//! SIP over connections: TCP and TLS (RFC 3261 section 18).
//!
//! One thread serves all of them and never waits: the kernel says in one epoll set
//! which are ready, each gets its share of a turn, and whatever is late ends its own
//! connection alone. What arrives, and which connections are no more, comes out as
//! inputs of the engine.
//!
//! A message goes over the connection that it is answered on or that its peer has
//! anyway; without one, a new one is made (section 18.2.2). Who a peer is follows
//! from its address, as everywhere: a connection from an address of no trunk is let
//! go before a byte of it is read. Over TLS a trunk can be asked for a certificate
//! besides, and one that we connect to always shows one: a message for a trunk's
//! target never leaves over a connection whose other end did not.
//!
//! - [`frame`]: where one message ends; [`channel`]: bytes, plain or through TLS;
//! - [`connection`]: one of them, and its times; [`listener`]: where they arrive;
//! - [`door`]: who may come in; [`limits`]: what bounds and what is counted.

mod channel;
mod connection;
mod door;
mod frame;
mod limits;
mod listener;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll;

use super::tls::Tls;
use crate::engine::config::Config;
use crate::engine::io::{Disconnection, Input, Signal};
use crate::engine::sip::transport::{Transport, Way};
use crate::engine::time::Instant;
use channel::Channel;
use connection::{Connection, End, Origin, Stage};
use frame::{Frame, FrameError};
use listener::{Listener, connect};

pub use limits::{StreamCounters, StreamLimits};
pub use listener::Listeners;

/// Descriptors that are looked at in one turn.
const READY_PER_TURN: usize = 64;
/// What tells a listener's place from a connection's number in the epoll set.
const LISTENER: u64 = 1 << 63;
/// Room for events of one look.
type Ready = [MaybeUninit<epoll::Event>; READY_PER_TURN];

/// What connections are told at start.
pub struct StreamSetup {
    /// Whose addresses are which trunk's, and how these are known.
    pub config: Arc<Config>,
    /// What bounds them.
    pub limits: StreamLimits,
    /// Needed where something listens for TLS.
    pub tls: Option<Tls>,
}

/// The connections of one process.
pub struct Streams {
    setup: StreamSetup,
    epoll: OwnedFd,
    listeners: Vec<Listener>,
    connections: BTreeMap<u64, Connection>,
    /// The newest connection with each peer.
    by_peer: BTreeMap<(Transport, SocketAddr), u64>,
    /// How many each address has made.
    per_source: BTreeMap<IpAddr, usize>,
    timers: BTreeSet<(Instant, u64)>,
    /// Those that something waits in.
    to_send: BTreeSet<u64>,
    inputs: VecDeque<Input>,
    counters: StreamCounters,
    next: u64,
}

impl Streams {
    /// Lets those in who come to these listeners.
    pub fn new(listeners: Listeners, setup: StreamSetup) -> io::Result<Self> {
        let Listeners(listeners) = listeners;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, listener) in listeners.iter().enumerate() {
            let data = epoll::EventData::new_u64(LISTENER | index as u64);
            epoll::add(&epoll, &listener.socket, data, epoll::EventFlags::IN)?;
        }
        Ok(Self {
            setup,
            epoll,
            listeners,
            connections: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            per_source: BTreeMap::new(),
            timers: BTreeSet::new(),
            to_send: BTreeSet::new(),
            inputs: VecDeque::new(),
            counters: StreamCounters::default(),
            next: 0,
        })
    }

    /// Readable when [`Self::turn`] has something to do.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Gives those that are ready their share of time. Whether there may be more.
    /// `admits` says whether somebody is heard at all.
    pub fn turn(&mut self, now: Instant, mut admits: impl FnMut(IpAddr) -> bool) -> bool {
        let mut room: Ready = [MaybeUninit::uninit(); READY_PER_TURN];
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let Ok((ready, _)) = epoll::wait(&self.epoll, &mut room, Some(&none)) else { return false };
        let ready: Vec<(u64, epoll::EventFlags)> =
            ready.iter().map(|event| (event.data.u64(), event.flags)).collect();
        for &(data, flags) in &ready {
            if data & LISTENER == 0 {
                self.serve(now, data, flags, &mut admits);
            } else if let Ok(index) = usize::try_from(data & !LISTENER) {
                self.accept(now, index, &mut admits);
            }
        }
        ready.len() == READY_PER_TURN
    }

    /// The next thing that the engine has to know.
    #[must_use = "an input that is not handled is lost"]
    pub fn poll_input(&mut self) -> Option<Input> {
        self.inputs.pop_front()
    }

    /// Puts a message into the queue of its connection, to leave at the next
    /// [`flush`](Self::flush).
    pub fn queue(&mut self, now: Instant, signal: &Signal) {
        let Signal { way, bytes } = signal;
        let Some(key) = self.connection_for(now, *way) else { return };
        let limit = self.setup.limits.queue_bytes;
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.push(now, bytes, limit) {
            self.counters.sent += 1;
            self.to_send.insert(key);
        } else {
            self.counters.send_overflow += 1;
        }
    }

    /// Sends what is queued, as far as the kernel takes it.
    pub fn flush(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.to_send) {
            self.send(now, key);
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Ends those whose time is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, key)) = self.timers.first().filter(|&&(at, _)| at <= now) {
            self.timers.remove(&(at, key));
            self.reckon(now, key);
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> StreamCounters {
        StreamCounters { open: self.connections.len() as u64, ..self.counters }
    }

    /// The connection that a message goes over; a new one where there is none.
    fn connection_for(&mut self, now: Instant, way: Way) -> Option<u64> {
        let open = |remote| self.usable(way.transport, remote);
        let target = way.otherwise.unwrap_or(way.remote);
        if let Some(key) = open(way.remote).or_else(|| open(target)) {
            return Some(key);
        }
        match self.open(now, Way { remote: target, otherwise: None, ..way }) {
            Ok(key) => Some(key),
            Err(problem) => {
                self.counters.connect_errors += 1;
                self.lost(way.transport, target, Some(problem));
                None
            }
        }
    }

    /// The connection with a peer, unless the peer ought to be known by a
    /// certificate and only says who it is.
    fn usable(&self, transport: Transport, remote: SocketAddr) -> Option<u64> {
        let key = *self.by_peer.get(&(transport, remote))?;
        let connection = self.connections.get(&key)?;
        let is_target = || self.setup.config.trunks.iter().any(|trunk| trunk.targets.contains(remote));
        let known = connection.origin == Origin::Ours || transport != Transport::Tls || !is_target();
        known.then_some(key)
    }

    /// Begins a connection of ours.
    fn open(&mut self, now: Instant, way: Way) -> Result<u64, String> {
        if self.connections.len() >= self.setup.limits.connections {
            self.counters.over_limit += 1;
            return Err(format!(
                "{} connections are open, which [sip.connections] total allows",
                self.connections.len()
            ));
        }
        let channel = match way.transport {
            Transport::Udp => return Err("UDP knows no connections".to_owned()),
            Transport::Tcp => Channel::Plain,
            Transport::Tls => {
                let config = &self.setup.config;
                let trunk = config.trunk_of_source(way.remote.ip()).and_then(|id| config.trunk(id));
                let name = trunk.and_then(|trunk| trunk.tls.name.as_deref());
                let tls = self.setup.tls.as_ref().ok_or("there is no [sip.tls]")?;
                Channel::Tls(Box::new(tls.connect(name, way.remote.ip())?))
            }
        };
        let socket = connect(way.local, way.remote).map_err(|error| error.to_string())?;
        let made = (Origin::Ours, Stage::Connecting);
        let limit = self.setup.config.limits.message_bytes;
        self.add(now, Connection::new(now, socket, way, made, channel, limit))
            .map_err(|error| error.to_string())
    }

    fn add(&mut self, now: Instant, connection: Connection) -> io::Result<u64> {
        self.next += 1;
        let key = self.next;
        let flags = interest(&connection);
        epoll::add(&self.epoll, &connection.socket, epoll::EventData::new_u64(key), flags)?;
        if connection.origin == Origin::Theirs {
            *self.per_source.entry(connection.remote.ip()).or_default() += 1;
        }
        self.by_peer.insert((connection.transport, connection.remote), key);
        self.timers.insert((connection.queued, key));
        self.connections.insert(key, connection);
        self.reckon(now, key);
        Ok(key)
    }

    /// The kernel says that a connection is ready.
    fn serve(
        &mut self,
        now: Instant,
        key: u64,
        flags: epoll::EventFlags,
        admits: &mut impl FnMut(IpAddr) -> bool,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.stage == Stage::Connecting {
            match connection.socket.take_error() {
                Ok(None) if flags.contains(epoll::EventFlags::OUT) => {
                    connection.connected(now);
                    self.counters.connected += u64::from(connection.stage == Stage::Open);
                }
                Ok(None) => return,
                Ok(Some(error)) | Err(error) => return self.end(key, End::Refused(error.to_string())),
            }
        }
        if flags.contains(epoll::EventFlags::OUT) {
            connection.blocked = false;
        }
        self.receive(now, key, admits);
        self.send(now, key);
    }

    fn receive(&mut self, now: Instant, key: u64, admits: &mut impl FnMut(IpAddr) -> bool) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let (way, before) = (connection.way(), connection.stage);
        let mut pings = 0;
        let (inputs, counters) = (&mut self.inputs, &mut self.counters);
        let received = connection.receive(now, |frame| match frame {
            Frame::Ping => pings += 1,
            Frame::Message(bytes) => {
                if admits(way.remote.ip()) {
                    counters.received += 1;
                    inputs.push_back(Input::Received(Signal { way, bytes }));
                }
            }
        });
        self.counters.pings += pings;
        for _ in 0..pings {
            // One that finds no room is one that nobody reads.
            let _dropped = connection.push(now, b"\r\n", self.setup.limits.queue_bytes);
        }
        let opened = before != Stage::Open && connection.stage == Stage::Open;
        let result = received.and_then(|()| if opened { self.welcome(key) } else { Ok(()) });
        match result {
            Ok(()) => self.reckon(now, key),
            Err(end) => self.end(key, end),
        }
    }

    fn send(&mut self, now: Instant, key: u64) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.blocked {
            return;
        }
        let flags = match connection.send(now) {
            Ok(()) => interest(connection),
            Err(end) => return self.end(key, end),
        };
        let data = epoll::EventData::new_u64(key);
        match epoll::modify(&self.epoll, &connection.socket, data, flags) {
            Ok(()) => self.reckon(now, key),
            Err(error) => self.end(key, End::Broken(error.to_string())),
        }
    }

    /// Looks at a connection's times: ends it, or notes when to look again.
    fn reckon(&mut self, now: Instant, key: u64) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        match connection.judge(now, &self.setup.limits) {
            // A look that comes too early is repeated; one that came too late would be missed.
            Ok(at) if at >= connection.queued && self.timers.contains(&(connection.queued, key)) => {}
            Ok(at) => {
                self.timers.remove(&(connection.queued, key));
                self.timers.insert((at, key));
                connection.queued = at;
            }
            Err(end) => self.end(key, end),
        }
    }

    /// Ends a connection, and tells what that means.
    fn end(&mut self, key: u64, end: End) {
        let Some(mut connection) = self.connections.remove(&key) else { return };
        connection.close();
        let Connection { transport, remote, origin, stage, queued, .. } = connection;
        self.timers.remove(&(queued, key));
        self.to_send.remove(&key);
        if self.by_peer.get(&(transport, remote)) == Some(&key) {
            self.by_peer.remove(&(transport, remote));
        }
        if origin == Origin::Theirs
            && let Some(count) = self.per_source.get_mut(&remote.ip())
        {
            *count -= 1;
            if *count == 0 {
                self.per_source.remove(&remote.ip());
            }
        }
        let problem = self.count(end);
        let refused = (origin == Origin::Ours && stage != Stage::Open).then_some(problem);
        self.counters.connect_errors += u64::from(refused.is_some());
        self.lost(transport, remote, refused);
    }

    fn lost(&mut self, transport: Transport, remote: SocketAddr, refused: Option<String>) {
        self.inputs.push_back(Input::Disconnected(Disconnection { transport, remote, refused }));
    }

    /// Counts an end; in words, for one that was ours to make.
    fn count(&mut self, end: End) -> String {
        let counters = &mut self.counters;
        let (counter, problem) = match end {
            End::Closed => return "the peer closed it".to_owned(),
            End::Refused(problem) => return problem,
            End::Broken(problem) => (&mut counters.broken, problem),
            End::Handshake(problem) => (&mut counters.handshake_errors, problem),
            End::Framing(error @ FrameError::Unframed) => (&mut counters.unframed, error.to_string()),
            End::Framing(error @ FrameError::TooLong) => (&mut counters.too_long, error.to_string()),
            End::NotOpen => (&mut counters.handshake_timeouts, "it did not answer in time".to_owned()),
            End::Slow => (&mut counters.slow, "a message came too slowly".to_owned()),
            End::Stalled => (&mut counters.stalled, "it takes nothing any more".to_owned()),
            End::Idle => (&mut counters.idle, "it was idle".to_owned()),
        };
        *counter += 1;
        problem
    }
}

/// What a connection waits for.
fn interest(connection: &Connection) -> epoll::EventFlags {
    if connection.stage == Stage::Connecting || connection.blocked {
        epoll::EventFlags::IN | epoll::EventFlags::OUT
    } else {
        epoll::EventFlags::IN
    }
}

#[cfg(test)]
mod tests;
