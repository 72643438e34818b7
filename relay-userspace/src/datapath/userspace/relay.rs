//! The thread that moves packets, and its doors for the engine's thread.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use relay_ebpf::media::Class;
use relay_ebpf::quality::nanoseconds_per_tick;
use relay_ebpf::verdict::Verdict;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;
use socket2::Socket;

use super::check;
use super::table::{PortKey, Table};
use crate::datapath::tap::{Copied, TapSink, Tapped, wall};
use crate::datapath::{DatapathConfig, DatapathError, LONGEST_STUN, VerdictCount, check_families, monotonic};
use crate::engine::flow::{FlowSpec, FlowStats};
use crate::engine::io::Datagram;

/// Packets from one port before the lock is given up and others have their turn.
const PACKETS_PER_TURN: usize = 32;
/// STUN that waits for the engine; more is asked again.
const WAITING_STUN: usize = 256;
/// Longer than any UDP payload.
const LONGEST: usize = 1 << 16;
/// The token of the descriptor that stops the thread; no port has it.
const STOP: u64 = u64::MAX;

/// What the relaying thread and the engine's thread share.
pub(super) struct Relay {
    epoll: OwnedFd,
    stop: OwnedFd,
    table: Mutex<Table>,
    stun: Mutex<VecDeque<Datagram>>,
    /// Readable while there is STUN for the engine.
    has_stun: OwnedFd,
    verdicts: [AtomicU64; Verdict::ALL.len()],
}

impl Relay {
    pub(super) fn new(config: &DatapathConfig) -> Result<Self, DatapathError> {
        let system = |doing: &str| {
            let doing = doing.to_owned();
            move |error: Errno| DatapathError::System { doing, problem: error.to_string() }
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system("creating an epoll"))?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(system("creating an eventfd"))?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let has_stun = eventfd(0, flags).map_err(system("creating an eventfd"))?;
        epoll::add(&epoll, &stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)
            .map_err(system("watching an eventfd"))?;
        let table = Table::new(config.addresses.clone(), config.ports.clone());
        Ok(Self {
            epoll,
            stop,
            table: Mutex::new(table),
            stun: Mutex::default(),
            has_stun,
            verdicts: [const { AtomicU64::new(0) }; Verdict::ALL.len()],
        })
    }

    pub(super) fn put(&self, spec: &FlowSpec) -> Result<(), DatapathError> {
        check_families(spec)?;
        self.table().put(spec, &|socket, key| self.watch(socket, key))
    }

    pub(super) fn remove(&self, local: SocketAddr) -> FlowStats {
        self.table().remove(local)
    }

    pub(super) fn tap(&self, flow: Tapped, sink: Option<TapSink>) {
        let mut table = self.table();
        let carried = table.key(flow.local).ok().and_then(|key| table.flow_mut(key));
        if let Some(carried) = carried {
            carried.tap = sink.map(|sink| (flow, sink));
        }
    }

    pub(super) fn stats(&self, local: SocketAddr) -> Option<FlowStats> {
        let table = self.table();
        let key = table.key(local).ok()?;
        table.port(key)?.flow.as_ref().map(super::table::Flow::stats)
    }

    pub(super) fn verdicts(&self) -> Vec<VerdictCount> {
        let packets = |verdict: Verdict| self.verdicts[verdict as usize].load(Ordering::Relaxed);
        Verdict::ALL
            .iter()
            .map(|&verdict| VerdictCount {
                verdict: verdict.name().to_owned(),
                action: verdict.action().as_str().to_owned(),
                packets: packets(verdict),
            })
            .collect()
    }

    /// Makes [`run`](Self::run) return.
    pub(super) fn stop(&self) {
        wake(&self.stop);
    }

    /// Relays until [`stop`](Self::stop).
    pub(super) fn run(&self) {
        let mut payload = vec![MaybeUninit::uninit(); LONGEST];
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            // Nothing but an interruption can go wrong with a descriptor of ours.
            let _interrupted = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None);
            for event in &events {
                match PortKey::from_token(event.data.u64()) {
                    Some(key) => self.serve(key, &mut payload),
                    None => return,
                }
            }
        }
    }

    /// Relays what waits at one port, within one turn's limit.
    fn serve(&self, key: PortKey, payload: &mut [MaybeUninit<u8>]) {
        let mut table = self.table();
        for _ in 0..PACKETS_PER_TURN {
            let Some(port) = table.port(key) else { return };
            match port.socket.recv_from(payload) {
                Ok((length, source)) => {
                    let Some(source) = source.as_socket() else { continue };
                    // SAFETY: `recv_from` has written the first `length` bytes.
                    let payload = unsafe { payload[..length].assume_init_mut() };
                    let verdict = relay(&mut table, key, source, payload);
                    if verdict == Verdict::LocalStun {
                        self.keep_stun(table.local(key), source, payload);
                    }
                    self.verdicts[verdict as usize].fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP answer to something that was sent from here.
                Err(_) => {}
            }
        }
    }

    /// Hands STUN to the engine's thread.
    fn keep_stun(&self, local: Option<SocketAddr>, remote: SocketAddr, payload: &[u8]) {
        let mut waiting = self.stun();
        if let Some(local) = local
            && waiting.len() < WAITING_STUN
            && payload.len() <= LONGEST_STUN
        {
            waiting.push_back(Datagram { local, remote, bytes: payload.to_vec() });
            wake(&self.has_stun);
        }
    }

    pub(super) fn take_stun(&self, give: &mut dyn FnMut(Datagram)) {
        let mut waiting = self.stun();
        if waiting.is_empty() {
            return;
        }
        // While nobody can add any: what comes later wakes the engine again.
        let _nothing_to_take = rustix::io::read(&self.has_stun, &mut [0; 8]);
        let taken = std::mem::take(&mut *waiting);
        drop(waiting);
        taken.into_iter().for_each(give);
    }

    /// Sends STUN; what cannot be sent is asked for again.
    pub(super) fn send_stun(&self, datagram: &Datagram) {
        let table = self.table();
        let port = table.key(datagram.local).ok().and_then(|key| table.port(key));
        if let Some(port) = port {
            let _asked_for_again = port.socket.send_to(&datagram.bytes, &datagram.remote.into());
        }
    }

    pub(super) fn stun_descriptor(&self) -> BorrowedFd<'_> {
        self.has_stun.as_fd()
    }

    /// What waits is whole whatever happened to who held it.
    fn stun(&self) -> MutexGuard<'_, VecDeque<Datagram>> {
        self.stun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, socket: &Socket, key: PortKey) -> Result<(), DatapathError> {
        epoll::add(&self.epoll, socket, epoll::EventData::new_u64(key.to_token()), epoll::EventFlags::IN)
            .map_err(|error| DatapathError::System {
                doing: "watching a media port".into(),
                problem: error.to_string(),
            })
    }

    /// A thread that panicked left no packet half counted that would matter.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(eventfd: &OwnedFd) {
    let _a_full_counter_wakes_too = rustix::io::write(eventfd, &1_u64.to_ne_bytes());
}

/// Decides on one packet and sends it on.
fn relay(table: &mut Table, key: PortKey, source: SocketAddr, payload: &mut [u8]) -> Verdict {
    let named = table.named(key);
    let Some(flow) = table.flow_mut(key) else { return Verdict::NoFlow };
    let class = match check::accept(&flow.spec, flow.learned, named, source, payload) {
        Ok(class) => class,
        Err(Verdict::LocalStun) => return Verdict::LocalStun,
        Err(verdict) => return refused(table, key, verdict),
    };
    flow.learned = Some(source);
    let tick = nanoseconds_per_tick(flow.spec.content.clock_rate);
    flow.count.arrived(check::place(class, payload), tick, monotonic);
    if let Err(verdict) = check::scrub(&flow.spec.content, class, payload) {
        return refused(table, key, verdict);
    }
    let apart = class == Class::Rtcp && flow.spec.rtcp_apart;
    if let Some((tapped, sink)) = &flow.tap {
        let (at, length, payload) = (wall(), payload.len(), payload.to_vec());
        sink.give(Copied { flow: *tapped, at, source, length, payload });
    }
    let leaving = table.port(if apart { key.next() } else { key }).and_then(|port| port.flow.as_ref());
    let Some(leaving) = leaving else { return refused(table, key, Verdict::FlowChanging) };
    let (exit, follow, signalled) = (leaving.exit, leaving.spec.follow_learned, leaving.spec.send_to);
    let way_out = table.port(exit);
    let learned = way_out.and_then(|port| port.flow.as_ref()).and_then(|opposite| opposite.learned);
    let to = learned.filter(|_| follow).unwrap_or(signalled);
    match way_out.map(|port| port.socket.send_to(payload, &to.into())) {
        Some(Ok(_)) => {}
        Some(Err(error)) => return not_sent(&error),
        None => return Verdict::NoDevice,
    }
    if let Some(flow) = table.flow_mut(key) {
        flow.count.forwarded(u16::try_from(payload.len()).unwrap_or(u16::MAX));
    }
    // With one address on both sides it leaves where it came in.
    if key.same_address(exit) { Verdict::Transmitted } else { Verdict::Redirected }
}

/// Counts a packet that a flow refuses.
fn refused(table: &mut Table, key: PortKey, verdict: Verdict) -> Verdict {
    if let Some(flow) = table.flow_mut(key) {
        flow.count.refused += 1;
    }
    verdict
}

/// The verdict that the kernel's tables would have led to.
fn not_sent(error: &io::Error) -> Verdict {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MSGSIZE) => Verdict::ExceedsMtu,
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH) => Verdict::FibUnreachable,
        Some(Errno::ACCESS | Errno::PERM) => Verdict::FibProhibited,
        Some(Errno::INVAL) => Verdict::FibBlackhole,
        _ => Verdict::FibNotForwarded,
    }
}
