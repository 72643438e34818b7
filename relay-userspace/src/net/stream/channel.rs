//! Bytes over one connection: as they are, or through TLS.
//!
//! Both ends never wait: what the kernel does not give or take now is for the next
//! time that it says it would.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use rustls::Connection as Tls;
use thiserror::Error;

/// Read from one connection in one turn, so that none keeps others waiting.
const TURN: usize = 64 * 1024;
const CHUNK: usize = 16 * 1024;

/// What carries a connection's bytes.
pub(super) enum Channel {
    Plain,
    Tls(Box<Tls>),
}

/// Why nothing more comes or goes.
#[derive(Debug, Error)]
pub(super) enum ChannelError {
    /// The peer has closed it.
    #[error("the peer closed the connection")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Channel {
    /// Whether messages cannot be carried yet.
    pub(super) fn is_handshaking(&self) -> bool {
        match self {
            Self::Plain => false,
            Self::Tls(tls) => tls.is_handshaking(),
        }
    }

    /// Whether something of its own is to be sent.
    pub(super) fn wants_write(&self) -> bool {
        match self {
            Self::Plain => false,
            Self::Tls(tls) => tls.wants_write(),
        }
    }

    /// Shows what has come to `each`, as far as it is this turn's.
    pub(super) fn receive(
        &mut self,
        mut socket: &TcpStream,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), ChannelError> {
        let mut chunk = [0; CHUNK];
        let mut left = TURN;
        while left > 0 {
            let read = match self {
                Self::Plain => socket.read(&mut chunk),
                Self::Tls(tls) => tls.read_tls(&mut socket),
            };
            let read = match read {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            left = left.saturating_sub(read);
            match self {
                Self::Plain => each(&chunk[..read]),
                Self::Tls(tls) => decrypt(tls, socket, &mut chunk, &mut each)?,
            }
        }
        Ok(())
    }

    /// Sends what waits, as far as the kernel takes it, and takes that out of
    /// `waiting`. Whether something is left.
    pub(super) fn send(
        &mut self,
        mut socket: &TcpStream,
        waiting: &mut Vec<u8>,
    ) -> Result<bool, ChannelError> {
        let mut sent = 0;
        let result = loop {
            let step = match self {
                Self::Plain if sent == waiting.len() => break Ok(()),
                Self::Plain => socket.write(&waiting[sent..]).map(|written| sent += written),
                Self::Tls(tls) if tls.wants_write() => tls.write_tls(&mut socket).map(|_| ()),
                Self::Tls(tls) if tls.is_handshaking() || sent == waiting.len() => break Ok(()),
                Self::Tls(tls) => tls.writer().write(&waiting[sent..]).map(|written| sent += written),
            };
            match step {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        waiting.drain(..sent);
        result.map(|()| !waiting.is_empty() || self.wants_write())
    }

    /// Says that nothing more comes, if that can be said without waiting.
    pub(super) fn close(&mut self, mut socket: &TcpStream) {
        if let Self::Tls(tls) = self {
            tls.send_close_notify();
            let _without_waiting = tls.write_tls(&mut socket);
        }
    }
}

fn decrypt(
    tls: &mut Tls,
    mut socket: &TcpStream,
    chunk: &mut [u8],
    each: &mut impl FnMut(&[u8]),
) -> Result<(), ChannelError> {
    let state = match tls.process_new_packets() {
        Ok(state) => state,
        Err(error) => {
            // The alert that says why, if the kernel takes it.
            let _without_waiting = tls.write_tls(&mut socket);
            return Err(error.into());
        }
    };
    let mut left = state.plaintext_bytes_to_read();
    while left > 0 {
        let read = tls.reader().read(chunk)?;
        each(&chunk[..read]);
        left = left.saturating_sub(read.max(1));
    }
    if state.peer_has_closed() { Err(ChannelError::Closed) } else { Ok(()) }
}
