//! SIP over UDP (RFC 3261 section 18): one socket per listen address, read and
//! written in batches.
//!
//! Nothing here waits. A datagram that the kernel has no room for stays in a
//! bounded queue until the socket is writable again; beyond the bound it is
//! dropped and counted, and SIP's own retransmission repairs it, as it does
//! every other loss. An error that an earlier datagram provoked (an ICMP
//! "port unreachable", say) is counted and never stops the socket.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::Socket;

use super::batch::{self, BATCH};
use super::bind::{BindError, bind_udp};
use crate::engine::io::Signal;
use crate::engine::sip::transport::Way;

/// Datagrams that wait for a socket to become writable.
const QUEUE: usize = 8192;
/// Asked of the kernel for each socket: a few thousand messages.
const KERNEL_BUFFER: usize = 8 << 20;

/// What a transport counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpCounters {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams that were longer than the configured limit; dropped.
    pub too_long: u64,
    /// Errors while receiving, such as an ICMP answer to something sent.
    pub receive_errors: u64,
    /// Datagrams that the kernel refused to send.
    pub send_errors: u64,
    /// Datagrams dropped because the kernel had no room for too long.
    pub send_overflow: u64,
}

impl UdpCounters {
    /// With their names, for status and metrics.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("udp.received", self.received),
            ("udp.sent", self.sent),
            ("udp.too_long", self.too_long),
            ("udp.receive_errors", self.receive_errors),
            ("udp.send_errors", self.send_errors),
            ("udp.send_overflow", self.send_overflow),
        ]
    }
}

/// Whether a socket has more to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Nothing is left.
    Yes,
    /// A full batch came; there may be more.
    Perhaps,
}

/// The signalling sockets of one process.
pub struct UdpTransport {
    sockets: Vec<Listener>,
    /// `BATCH` messages of the greatest length allowed, and one byte that tells a
    /// message that fills the limit from one that passes it.
    buffer: Vec<u8>,
    width: usize,
    counters: UdpCounters,
}

struct Listener {
    socket: Socket,
    local: SocketAddr,
    queue: VecDeque<Signal>,
    /// The kernel had no room: only its word that there is some sends again.
    blocked: bool,
}

impl UdpTransport {
    /// Binds every address; a message longer than `message_bytes` is dropped.
    pub fn bind(listen: &[SocketAddr], message_bytes: usize) -> Result<Self, BindError> {
        let width = message_bytes + 1;
        let sockets = listen.iter().map(|&address| Listener::bind(address)).collect::<Result<_, _>>()?;
        Ok(Self { sockets, buffer: vec![0; width * BATCH], width, counters: UdpCounters::default() })
    }

    /// The addresses that were bound, in the order given; a port that was zero
    /// is now the one that the kernel chose.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|listener| listener.local)
    }

    /// The sockets in the same order, and whether each waits to be writable.
    pub fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        self.sockets.iter().map(|listener| (listener.socket.as_fd(), listener.blocked))
    }

    /// Receives at most one batch from the socket with this index.
    pub fn receive(&mut self, index: usize, mut each: impl FnMut(Signal)) -> Drained {
        let Some(listener) = self.sockets.get(index) else { return Drained::Yes };
        let (local, counters, limit) = (listener.local, &mut self.counters, self.width - 1);
        let received = batch::receive(listener.socket.as_fd(), &mut self.buffer, self.width, |arrived| {
            if arrived.truncated || arrived.bytes.len() > limit {
                counters.too_long += 1;
                return;
            }
            counters.received += 1;
            each(Signal { way: Way::udp(local, arrived.from), bytes: arrived.bytes.to_vec() });
        });
        match received {
            Ok(count) if count < BATCH => Drained::Yes,
            Ok(_) => Drained::Perhaps,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Drained::Yes,
            Err(_) => {
                self.counters.receive_errors += 1;
                Drained::Perhaps
            }
        }
    }

    /// Puts a datagram into the queue of its socket, to leave at the next
    /// [`flush`](Self::flush).
    pub fn queue(&mut self, signal: Signal) {
        let listener = self.sockets.iter_mut().find(|listener| listener.local == signal.way.local);
        match listener {
            Some(listener) if listener.queue.len() < QUEUE => listener.queue.push_back(signal),
            Some(_) => self.counters.send_overflow += 1,
            None => self.counters.send_errors += 1,
        }
    }

    /// The kernel says that the socket with this index is writable again.
    pub fn writable(&mut self, index: usize) {
        if let Some(listener) = self.sockets.get_mut(index) {
            listener.blocked = false;
        }
    }

    /// Sends what is queued, as far as the kernel has room.
    pub fn flush(&mut self) {
        for listener in &mut self.sockets {
            listener.flush(&mut self.counters);
        }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> UdpCounters {
        self.counters
    }
}

impl Listener {
    fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let socket = bind_udp(address)?;
        // More room than the default for bursts. Past the system's limit only root
        // may go; whatever the kernel grants is enough to work.
        if sockopt::set_socket_recv_buffer_size_force(&socket, KERNEL_BUFFER).is_err() {
            let _granted_less = socket.set_recv_buffer_size(KERNEL_BUFFER);
        }
        let _granted_less = socket.set_send_buffer_size(KERNEL_BUFFER);
        let local = socket.local_addr().ok().and_then(|name| name.as_socket()).unwrap_or(address);
        Ok(Self { socket, local, queue: VecDeque::new(), blocked: false })
    }

    fn flush(&mut self, counters: &mut UdpCounters) {
        while !self.queue.is_empty() && !self.blocked {
            match batch::send(self.socket.as_fd(), self.queue.iter()) {
                Ok(sent) => {
                    counters.sent += sent as u64;
                    self.queue.drain(..sent);
                }
                Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                    Some(Errno::AGAIN) => self.blocked = true,
                    Some(Errno::INTR) => {}
                    // About this datagram alone: too long for the path, no route, the
                    // device's queue is full, or an ICMP answer to an earlier one.
                    _ => {
                        counters.send_errors += 1;
                        self.queue.pop_front();
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests;
