//! Next hops: from a far end's address to interface and MAC addresses, in the
//! map that the program reads, and kept true by the kernel's announcements.
//!
//! A hop is shared by all flows between the same two addresses and outlives
//! them, so that setting up a call asks the kernel nothing when its peers are
//! known. While a hop is unknown the program asks the kernel's tables itself.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{addr_of_mut, write_volatile};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netlink_packet_route::RouteNetlinkMessage;
use relay_ebpf::abi::{Attachment, Hop, HopSlot};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::interfaces::MediaInterface;
use super::netlink::{self, Link, Neighbour, Netlink, Route};
use super::table::Mapped;
use crate::datapath::DatapathError;

/// How often in-use neighbours are confirmed and unknown ones asked for again.
const CONFIRM_EVERY: Duration = Duration::from_secs(10);
const ASK_AGAIN_EVERY: Duration = Duration::from_secs(1);
/// How long announcements are gathered before routes are asked for again.
const SETTLE: Duration = Duration::from_millis(20);
/// How soon the thread notices that it is to end.
const TURN: Duration = Duration::from_millis(200);

/// The hop map and the thread that keeps it true.
pub(super) struct Hops {
    table: Arc<Mutex<Table>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hops {
    /// Over the hop map; hops may leave on these interfaces.
    pub(super) fn new(slots: Mapped<HopSlot>, interfaces: &[MediaInterface]) -> io::Result<Self> {
        let known = |slot: &u32| slots.read(*slot).is_some_and(|slot| slot.state != 0);
        let left: Vec<u32> = (0..slots.length()).filter(known).collect();
        let free = (0..slots.length()).filter(|slot| !known(slot)).collect();
        let mut netlink = Netlink::open()?;
        let links = netlink.links()?;
        let table = Table {
            slots,
            netlink,
            links,
            exits: interfaces.iter().map(|found| (found.link.index, found.attachment())).collect(),
            ways: Vec::new(),
            by_key: HashMap::new(),
            left,
            free,
            idle: VecDeque::new(),
        };
        let table = Arc::new(Mutex::new(table));
        let stop = Arc::new(AtomicBool::new(false));
        let changes = subscribe()?;
        let thread = std::thread::Builder::new().name("next-hops".to_owned()).spawn({
            let (table, stop) = (Arc::clone(&table), Arc::clone(&stop));
            move || follow(&changes, &table, &stop)
        })?;
        Ok(Self { table, stop, thread: Some(thread) })
    }

    /// The slot of the way from the local address `from` to `to`, to be given
    /// back with [`Hops::release`].
    pub(super) fn acquire(&self, to: IpAddr, from: IpAddr) -> Result<u32, DatapathError> {
        lock(&self.table).acquire(to, from)
    }

    /// Clears the slots of a process before this one: no flow uses them any more.
    pub(super) fn sweep(&self) {
        lock(&self.table).sweep();
    }

    /// Gives back a slot.
    pub(super) fn release(&self, slot: u32) {
        lock(&self.table).release(slot);
    }
}

impl Drop for Hops {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has already said so.
            let _ = thread.join();
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // Every change leaves the table whole, so a panic elsewhere does not matter.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Table {
    slots: Mapped<HopSlot>,
    netlink: Netlink,
    links: Vec<Link>,
    /// What the interfaces that hops may leave on are made of, by index.
    exits: HashMap<u32, Attachment>,
    ways: Vec<Option<Way>>,
    by_key: HashMap<Key, u32>,
    /// Slots of a process before this one, which its flows use until this one has
    /// put them again.
    left: Vec<u32>,
    free: VecDeque<u32>,
    /// Slots without users, the longest unused first; some have users again.
    idle: VecDeque<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    to: IpAddr,
    from: IpAddr,
}

struct Way {
    key: Key,
    users: u32,
    /// `None` while the kernel has no route.
    route: Option<Route>,
    state: u32,
    published: Option<Hop>,
    queued: bool,
}

impl Table {
    fn acquire(&mut self, to: IpAddr, from: IpAddr) -> Result<u32, DatapathError> {
        let key = Key { to, from };
        if let Some(&slot) = self.by_key.get(&key) {
            if let Some(way) = self.way(slot)
                && way.route.is_some()
            {
                way.users += 1;
                return Ok(slot);
            }
            // Known to be unreachable a moment ago: ask anew rather than remember.
            let route = self.route(key)?;
            self.resolve(slot, Some(route));
            if let Some(way) = self.way(slot) {
                way.users += 1;
            }
            return Ok(slot);
        }
        let route = self.route(key)?;
        let slot = self.vacant().ok_or_else(|| DatapathError::NoRoute {
            to: std::net::SocketAddr::new(to, 0),
            problem: format!("{} far ends are in use, which is the limit", self.slots.length()),
        })?;
        let index = slot as usize;
        if self.ways.len() <= index {
            self.ways.resize_with(index + 1, || None);
        }
        self.ways[index] = Some(Way {
            key,
            users: 1,
            route: None,
            state: self.state_of(slot),
            published: None,
            queued: false,
        });
        self.by_key.insert(key, slot);
        self.resolve(slot, Some(route));
        Ok(slot)
    }

    fn sweep(&mut self) {
        for slot in std::mem::take(&mut self.left) {
            self.slots.write(slot, HopSlot::default());
            self.free.push_back(slot);
        }
    }

    fn release(&mut self, slot: u32) {
        let Some(way) = self.way(slot) else { return };
        way.users = way.users.saturating_sub(1);
        if way.users == 0 && !way.queued {
            way.queued = true;
            self.idle.push_back(slot);
        }
    }

    fn way(&mut self, slot: u32) -> Option<&mut Way> {
        self.ways.get_mut(slot as usize)?.as_mut()
    }

    /// A slot for a new way: an unused one, else the one that was idle longest.
    fn vacant(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop_front() {
            return Some(slot);
        }
        while let Some(slot) = self.idle.pop_front() {
            let Some(way) = self.way(slot) else { continue };
            way.queued = false;
            if way.users > 0 {
                continue;
            }
            let key = way.key;
            self.publish(slot, None);
            self.by_key.remove(&key);
            return Some(slot);
        }
        None
    }

    /// The route for a key, if Vizard can send on it.
    fn route(&mut self, key: Key) -> Result<Route, DatapathError> {
        let no_route =
            |problem: String| DatapathError::NoRoute { to: std::net::SocketAddr::new(key.to, 0), problem };
        let route = self.netlink.route(key.to, key.from).map_err(|error| no_route(error.to_string()))?;
        if !self.exits.contains_key(&route.interface) {
            let name = self
                .link(route.interface)
                .map_or_else(|| route.interface.to_string(), |link| link.name.clone());
            return Err(no_route(format!(
                "it leaves on {name}, which Vizard is not attached to: add {name} to the media interfaces"
            )));
        }
        Ok(route)
    }

    fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// Fills in a slot from its route and the kernel's neighbours.
    fn resolve(&mut self, slot: u32, route: Option<Route>) {
        if let Some(way) = self.way(slot) {
            way.route = route;
        }
        let Some(route) = route else { return self.publish(slot, None) };
        let mac = self.netlink.neighbour(route.interface, route.neighbour).unwrap_or_else(|error| {
            tracing::warn!(neighbour = %route.neighbour, %error, "asking for a neighbour failed");
            None
        });
        if mac.is_none() {
            self.solicit(route);
        }
        self.publish_neighbour(slot, route, mac);
    }

    fn publish_neighbour(&mut self, slot: u32, route: Route, mac: Option<[u8; 6]>) {
        let hop = mac.and_then(|destination| {
            let link = self.link(route.interface)?;
            let mtu = route.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu));
            let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
            let Attachment { interface, tags } = *self.exits.get(&route.interface)?;
            Some(Hop::new(interface, mtu, link.mac?, destination).tagged(tags))
        });
        self.publish(slot, hop);
    }

    fn solicit(&mut self, route: Route) {
        if let Err(error) = self.netlink.solicit(route.interface, route.neighbour) {
            tracing::warn!(neighbour = %route.neighbour, %error, "asking the kernel to resolve a neighbour failed");
        }
    }

    fn publish(&mut self, slot: u32, hop: Option<Hop>) {
        let Some(place) = self.slots.at(slot) else { return };
        let Some(way) = self.way(slot) else { return };
        if way.published == hop {
            return;
        }
        way.published = hop;
        way.state = way.state.checked_add(1).unwrap_or(1);
        let next = way.state;
        // SAFETY: a slot within the mapping, written under the table's lock alone.
        unsafe {
            let state = AtomicU32::from_ptr(addr_of_mut!((*place).state));
            state.store(0, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if let Some(hop) = hop {
                write_volatile(addr_of_mut!((*place).hop), hop);
                state.store(next, Ordering::Release);
            }
        }
    }

    /// The number that a slot's states go on from.
    fn state_of(&self, slot: u32) -> u32 {
        self.ways.get(slot as usize).and_then(Option::as_ref).map_or(0, |way| way.state)
    }

    fn neighbour_changed(&mut self, neighbour: Neighbour) {
        for index in 0..self.ways.len() {
            let slot = u32::try_from(index).unwrap_or(u32::MAX);
            let Some(route) = self.way(slot).and_then(|way| way.route) else { continue };
            if route.interface == neighbour.interface && route.neighbour == neighbour.address {
                self.publish_neighbour(slot, route, neighbour.mac);
            }
        }
    }

    fn links_changed(&mut self) {
        match self.netlink.links() {
            Ok(links) => self.links = links,
            Err(error) => tracing::warn!(%error, "listing interfaces failed"),
        }
    }

    /// Asks again for the route of one slot.
    fn refresh(&mut self, slot: u32) {
        let Some(key) = self.way(slot).map(|way| way.key) else { return };
        match self.route(key) {
            Ok(route) => self.resolve(slot, Some(route)),
            Err(error) => {
                tracing::warn!(%error, "a far end became unreachable");
                self.resolve(slot, None);
            }
        }
    }

    /// Has the kernel confirm, or find, the neighbour of a slot in use.
    fn confirm(&mut self, slot: u32, unknown_only: bool) {
        let Some(way) = self.way(slot) else { return };
        if way.users == 0 || unknown_only && way.published.is_some() {
            return;
        }
        match way.route {
            Some(route) => self.solicit(route),
            None => self.refresh(slot),
        }
    }

    fn slot_count(&self) -> u32 {
        u32::try_from(self.ways.len()).unwrap_or(u32::MAX)
    }
}

/// A socket that hears of links, neighbours, addresses, routes and rules.
fn subscribe() -> io::Result<Socket> {
    const GROUPS: [u32; 8] = [
        libc::RTNLGRP_LINK,
        libc::RTNLGRP_NEIGH,
        libc::RTNLGRP_IPV4_IFADDR,
        libc::RTNLGRP_IPV4_ROUTE,
        libc::RTNLGRP_IPV4_RULE,
        libc::RTNLGRP_IPV6_IFADDR,
        libc::RTNLGRP_IPV6_ROUTE,
        libc::RTNLGRP_IPV6_RULE,
    ];
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in GROUPS {
        socket.add_membership(group)?;
    }
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// Keeps the table true until it is told to stop. Routes are asked for again
/// one at a time, so that a call that is being set up never waits for all.
fn follow(changes: &Socket, table: &Mutex<Table>, stop: &AtomicBool) {
    let mut dirty_since: Option<Instant> = None;
    let mut asked = Instant::now();
    let mut confirmed = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let wait = if dirty_since.is_some() { SETTLE } else { TURN };
        wait_readable(changes, wait);
        if drain(changes, table) && dirty_since.is_none() {
            dirty_since = Some(Instant::now());
        }
        if dirty_since.is_some_and(|since| since.elapsed() >= SETTLE) {
            dirty_since = None;
            lock(table).links_changed();
            each(table, stop, Table::refresh);
        }
        if confirmed.elapsed() >= CONFIRM_EVERY {
            (confirmed, asked) = (Instant::now(), Instant::now());
            each(table, stop, |table, slot| table.confirm(slot, false));
        } else if asked.elapsed() >= ASK_AGAIN_EVERY {
            asked = Instant::now();
            each(table, stop, |table, slot| table.confirm(slot, true));
        }
    }
}

fn each(table: &Mutex<Table>, stop: &AtomicBool, mut act: impl FnMut(&mut Table, u32)) {
    let count = lock(table).slot_count();
    for slot in 0..count {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        act(&mut lock(table), slot);
    }
}

fn wait_readable(socket: &Socket, wait: Duration) {
    // SAFETY: the socket outlives this call.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
    // An interrupted or failed wait is a short turn.
    let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout));
}

/// Applies what was announced; whether routes may have changed.
fn drain(changes: &Socket, table: &Mutex<Table>) -> bool {
    let mut dirty = false;
    loop {
        let datagram = match changes.recv_from_full() {
            Ok((datagram, _)) => datagram,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return dirty,
            // Announcements were lost (ENOBUFS): everything may have changed.
            Err(_) => return true,
        };
        for message in netlink::messages(&datagram) {
            let Ok(message) = message else { continue };
            let NetlinkPayload::InnerMessage(change) = message.payload else { continue };
            match change {
                RouteNetlinkMessage::NewNeighbour(message) => {
                    if let Some(neighbour) = netlink::neighbour_of(&message) {
                        lock(table).neighbour_changed(neighbour);
                    }
                }
                RouteNetlinkMessage::DelNeighbour(message) => {
                    if let Some(neighbour) = netlink::neighbour_of(&message) {
                        lock(table).neighbour_changed(Neighbour { mac: None, ..neighbour });
                    }
                }
                _ => dirty = true,
            }
        }
    }
}
