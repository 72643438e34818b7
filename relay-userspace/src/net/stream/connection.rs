//! One connection: what of it is known, and when it has to be over.

use std::net::{SocketAddr, TcpStream};

use super::channel::{Channel, ChannelError};
use super::frame::{Frame, FrameError, Framer};
use super::limits::StreamLimits;
use crate::engine::sip::transport::{Transport, Way};
use crate::engine::time::Instant;

/// Who has made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// We: its peer is who we wanted.
    Ours,
    /// A peer.
    Theirs,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The peer has not answered.
    Connecting,
    /// It carries no messages yet.
    Handshaking,
    /// It carries messages.
    Open,
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The peer has closed it.
    Closed,
    /// By an error.
    Broken(String),
    /// It never came about: what is in the way.
    Refused(String),
    /// No TLS, or none that we may speak.
    Handshake(String),
    Framing(FrameError),
    /// It was not open in time.
    NotOpen,
    /// A message was not whole in time.
    Slow,
    /// The peer took nothing for too long.
    Stalled,
    /// Nothing was carried for long.
    Idle,
}

pub(super) struct Connection {
    pub(super) socket: TcpStream,
    pub(super) transport: Transport,
    /// Our address that it belongs to.
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) origin: Origin,
    pub(super) stage: Stage,
    channel: Channel,
    framer: Framer,
    waiting: Vec<u8>,
    /// The kernel has no room: only its word that there is some sends again.
    pub(super) blocked: bool,
    /// When the message at the front began, if one has.
    message_since: Option<Instant>,
    /// Since when the peer has taken nothing of what waits, if something does.
    waiting_since: Option<Instant>,
    began: Instant,
    active: Instant,
    /// When the table looks at it next.
    pub(super) queued: Instant,
}

impl Connection {
    pub(super) fn new(
        now: Instant,
        socket: TcpStream,
        way: Way,
        (origin, stage): (Origin, Stage),
        channel: Channel,
        message_bytes: usize,
    ) -> Self {
        Self {
            socket,
            transport: way.transport,
            local: way.local,
            remote: way.remote,
            origin,
            stage,
            channel,
            framer: Framer::new(message_bytes),
            waiting: Vec::new(),
            blocked: false,
            message_since: None,
            waiting_since: None,
            began: now,
            active: now,
            queued: now,
        }
    }

    /// The way of what arrives.
    pub(super) const fn way(&self) -> Way {
        Way { transport: self.transport, local: self.local, remote: self.remote, otherwise: None }
    }

    /// What the peer has shown of itself.
    pub(super) fn peer_certificate(&self) -> Option<&rustls::pki_types::CertificateDer<'static>> {
        match &self.channel {
            Channel::Tls(tls) => tls.peer_certificates()?.first(),
            Channel::Plain => None,
        }
    }

    /// Puts bytes behind those that wait; `false` when too many do.
    pub(super) fn push(&mut self, now: Instant, bytes: &[u8], limit: usize) -> bool {
        if self.waiting.len() + bytes.len() > limit {
            return false;
        }
        self.waiting.extend_from_slice(bytes);
        self.waiting_since.get_or_insert(now);
        self.active = now;
        true
    }

    /// Reads what has come, and shows what is whole.
    pub(super) fn receive(&mut self, now: Instant, mut each: impl FnMut(Frame)) -> Result<(), End> {
        let Self { channel, framer, socket, .. } = self;
        let mut framing = Ok(());
        let (mut arrived, mut whole) = (false, false);
        let result = channel.receive(socket, |bytes| {
            arrived = true;
            framer.push(bytes);
            while framing.is_ok() {
                match framer.next() {
                    Ok(Some(frame)) => {
                        whole = true;
                        each(frame);
                    }
                    Ok(None) => break,
                    Err(error) => framing = Err(error),
                }
            }
        });
        if arrived {
            self.active = now;
            let begun = !self.framer.is_between();
            let since = self.message_since.filter(|_| !whole).unwrap_or(now);
            self.message_since = begun.then_some(since);
        }
        if self.stage == Stage::Handshaking && !self.channel.is_handshaking() {
            self.stage = Stage::Open;
            self.active = now;
        }
        framing.map_err(End::Framing)?;
        result.map_err(|error| self.end_of(error))
    }

    /// Sends what waits, as far as the kernel takes it.
    pub(super) fn send(&mut self, now: Instant) -> Result<(), End> {
        if self.stage == Stage::Connecting {
            return Ok(());
        }
        let before = self.waiting.len();
        let result = self.channel.send(&self.socket, &mut self.waiting);
        if self.waiting.is_empty() {
            self.waiting_since = None;
        } else if self.waiting.len() < before {
            self.waiting_since = Some(now);
        }
        match result {
            Ok(left) => {
                // What waits for the handshake does not wait for the kernel.
                self.blocked = left && (self.channel.wants_write() || !self.channel.is_handshaking());
                Ok(())
            }
            Err(error) => Err(self.end_of(error)),
        }
    }

    /// The peer has answered.
    pub(super) fn connected(&mut self, now: Instant) {
        self.active = now;
        self.stage = match &self.channel {
            Channel::Plain => Stage::Open,
            Channel::Tls(_) => Stage::Handshaking,
        };
    }

    /// Whether it has to be looked at for its own sake at this time: the reason to
    /// end it, or when to look again.
    pub(super) fn judge(&self, now: Instant, limits: &StreamLimits) -> Result<Instant, End> {
        let mut next = self.active + limits.idle;
        if self.stage == Stage::Open {
            let bounds = [
                (self.message_since, limits.message, End::Slow),
                (self.waiting_since, limits.stall, End::Stalled),
            ];
            for (since, limit, end) in bounds {
                let Some(at) = since.map(|since| since + limit) else { continue };
                if at <= now {
                    return Err(end);
                }
                next = next.min(at);
            }
            if next <= now { Err(End::Idle) } else { Ok(next) }
        } else {
            let at = self.began + limits.handshake;
            if at <= now { Err(End::NotOpen) } else { Ok(at) }
        }
    }

    /// Says that nothing more comes.
    pub(super) fn close(&mut self) {
        self.channel.close(&self.socket);
    }

    fn end_of(&self, error: ChannelError) -> End {
        match error {
            ChannelError::Closed if self.stage == Stage::Open => End::Closed,
            ChannelError::Closed => End::Refused(error.to_string()),
            ChannelError::Tls(error) if self.stage != Stage::Open => End::Handshake(error.to_string()),
            ChannelError::Io(error) if self.stage != Stage::Open => End::Refused(error.to_string()),
            ChannelError::Io(_) | ChannelError::Tls(_) => End::Broken(error.to_string()),
        }
    }
}
