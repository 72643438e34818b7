//! The daemon's own sockets on media ports where ICE is spoken.
//!
//! The program passes STUN on such a port to the stack and drops or forwards
//! everything else, so these sockets receive STUN alone. There is one for each flow that
//! takes it, and none for the others: a call without ICE costs no descriptor.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use socket2::Socket;

use super::load::failed;
use crate::datapath::{DatapathError, LONGEST_STUN};
use crate::engine::io::Datagram;
use crate::net::bind::bind_udp;

/// Ports that have their turn at a time, and datagrams of each.
const PORTS_PER_TURN: usize = 32;
const DATAGRAMS_PER_PORT: usize = 8;
/// What may wait on a port: a check every 50 ms leaves ample time.
const WAITING_BYTES: usize = 16 * 1024;

/// The open ports.
pub(super) struct StunPorts {
    epoll: OwnedFd,
    /// By the slots of their flows.
    ports: BTreeMap<u32, (SocketAddr, Socket)>,
}

impl StunPorts {
    pub(super) fn new() -> Result<Self, DatapathError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|error| failed("creating an epoll", error.to_string()))?;
        Ok(Self { epoll, ports: BTreeMap::new() })
    }

    /// Opens the port of a flow that takes STUN.
    pub(super) fn open(&mut self, slot: u32, local: SocketAddr) -> Result<(), DatapathError> {
        if self.ports.contains_key(&slot) {
            return Ok(());
        }
        let doing = format!("opening media port {local} for ICE");
        let socket = bind_udp(local).map_err(|error| failed(&doing, error.problem.to_string()))?;
        let _default_will_do = socket.set_recv_buffer_size(WAITING_BYTES);
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(slot.into()), epoll::EventFlags::IN)
            .map_err(|error| failed(&doing, error.to_string()))?;
        self.ports.insert(slot, (local, socket));
        Ok(())
    }

    /// Closes the port of a flow, which epoll notices.
    pub(super) fn close(&mut self, slot: u32) {
        self.ports.remove(&slot);
    }

    /// What is readable when something has come.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Hands over what has come, as far as one turn goes.
    pub(super) fn take(&mut self, give: &mut dyn FnMut(Datagram)) {
        if self.ports.is_empty() {
            return;
        }
        let mut events = Vec::with_capacity(PORTS_PER_TURN);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let _interrupted = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&at_once));
        let mut payload = [MaybeUninit::uninit(); LONGEST_STUN];
        for event in &events {
            let port = u32::try_from(event.data.u64()).ok().and_then(|slot| self.ports.get(&slot));
            let Some((local, socket)) = port else { continue };
            for _ in 0..DATAGRAMS_PER_PORT {
                match socket.recv_from(&mut payload) {
                    Ok((length, remote)) => {
                        let Some(remote) = remote.as_socket() else { continue };
                        // SAFETY: `recv_from` has written the first `length` bytes.
                        let bytes = unsafe { payload[..length].assume_init_ref() }.to_vec();
                        give(Datagram { local: *local, remote, bytes });
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // An ICMP answer to something that was sent from here.
                    Err(_) => {}
                }
            }
        }
    }

    /// Sends from the port of a flow; what cannot be sent is asked for again.
    pub(super) fn send(&self, slot: u32, datagram: &Datagram) {
        if let Some((_, socket)) = self.ports.get(&slot) {
            let _asked_for_again = socket.send_to(&datagram.bytes, &datagram.remote.into());
        }
    }
}
