//! Binding ports, and saying who is in the way when it fails.
//!
//! "Address already in use" sends an operator to `ss -lnp`; this does that
//! look-up for them: `/proc/net/udp` names the socket's inode and its user,
//! `/proc/*/fd` the process that holds it, as far as our privileges reach.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::engine::sip::transport::Transport;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why a port could not be bound, and what mends it.
#[derive(Debug, Error)]
#[error("cannot bind {over} {address}: {problem}")]
pub struct BindError {
    /// Over what.
    pub over: Transport,
    /// What was to be bound.
    pub address: SocketAddr,
    /// What is wrong.
    pub problem: BindProblem,
}

/// What is wrong with binding an address.
#[derive(Debug, Error)]
pub enum BindProblem {
    /// Somebody has it.
    #[error("it is in use by {0}; stop that, or configure another port")]
    InUse(Holder),
    /// The address is on no interface.
    #[error("no interface has this address; `ip address` lists those there are")]
    NoSuchAddress,
    /// A port under 1024, without the right to it.
    #[error("not permitted; ports under 1024 need root or `setcap cap_net_bind_service+ep` on the program")]
    NotPermitted,
    /// Anything else.
    #[error("{0}")]
    Other(io::Error),
}

/// Who holds a port, as far as can be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A process.
    Process {
        /// Its id.
        pid: u32,
        /// Its short name.
        name: String,
    },
    /// A process of this user, which only root may look into.
    User(u32),
    /// Nothing could be found out.
    Unknown,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, name } => write!(f, "{name} (pid {pid})"),
            Self::User(uid) => write!(f, "a process of user {uid} (root sees which)"),
            Self::Unknown => f.write_str("another process"),
        }
    }
}

/// A non-blocking UDP socket on `address`, IPv6 ones for IPv6 alone.
pub fn bind_udp(address: SocketAddr) -> Result<Socket, BindError> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    bound().map_err(|error| bind_error(Transport::Udp, address, error))
}

/// Whether a port can be listened on.
pub fn probe_tcp(address: SocketAddr) -> Result<(), BindError> {
    listen_tcp(Transport::Tcp, address).map(drop)
}

/// A non-blocking socket that takes connections, IPv6 ones for IPv6 alone.
pub(super) fn listen_tcp(over: Transport, address: SocketAddr) -> Result<TcpListener, BindError> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Connections of before a restart still have the address for a while.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    bound().map_err(|error| bind_error(over, address, error))
}

fn bind_error(over: Transport, address: SocketAddr, error: io::Error) -> BindError {
    BindError { over, address, problem: explain(over, address, error) }
}

fn explain(over: Transport, address: SocketAddr, error: io::Error) -> BindProblem {
    match error.kind() {
        io::ErrorKind::AddrInUse => BindProblem::InUse(holder(over, address)),
        io::ErrorKind::AddrNotAvailable => BindProblem::NoSuchAddress,
        io::ErrorKind::PermissionDenied => BindProblem::NotPermitted,
        _ => BindProblem::Other(error),
    }
}

/// Who holds a UDP port in this network namespace.
#[must_use]
pub fn holder_of(address: SocketAddr) -> Holder {
    holder(Transport::Udp, address)
}

fn holder(over: Transport, address: SocketAddr) -> Holder {
    let table = |path| fs::read_to_string(path).unwrap_or_default();
    let tables = match over {
        Transport::Udp => [table("/proc/net/udp"), table("/proc/net/udp6")],
        Transport::Tcp | Transport::Tls => [table("/proc/net/tcp"), table("/proc/net/tcp6")],
    };
    let Some(entry) = tables.iter().flat_map(|table| entries(table)).find(|entry| entry.blocks(address))
    else {
        return Holder::Unknown;
    };
    process_with_socket(entry.inode).unwrap_or(Holder::User(entry.uid))
}

/// A line of `/proc/net/udp`.
struct Entry {
    local: SocketAddr,
    uid: u32,
    inode: u64,
}

impl Entry {
    /// Whether this socket keeps `address` from being bound.
    fn blocks(&self, address: SocketAddr) -> bool {
        let (ours, theirs) = (address.ip(), self.local.ip());
        self.local.port() == address.port()
            && (ours == theirs || ours.is_unspecified() || theirs.is_unspecified())
    }
}

fn entries(table: &str) -> impl Iterator<Item = Entry> {
    table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let local = hexadecimal_address(columns.nth(1)?)?;
        let uid = columns.nth(5)?.parse().ok()?;
        let inode = columns.nth(1)?.parse().ok()?;
        Some(Entry { local, uid, inode })
    })
}

/// `0100007F:13C4`: 32-bit words in the machine's byte order, then the port.
fn hexadecimal_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

fn process_with_socket(inode: u64) -> Option<Holder> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find_map(|pid| {
        let mut files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        files.find(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == &*wanted))?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Some(Holder::Process { pid, name: name.trim_end().to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_names_its_process() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let held = bind_udp(any.parse().unwrap()).unwrap();
            let address = held.local_addr().unwrap().as_socket().unwrap();
            let error = bind_udp(address).unwrap_err().to_string();
            let pid = format!("(pid {})", std::process::id());
            assert!(error.contains(&pid) && error.contains(&address.to_string()), "{error}");
        }
    }

    #[test]
    fn a_port_that_listens_names_its_process() {
        let held = listen_tcp(Transport::Tls, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = held.local_addr().unwrap();
        let error = listen_tcp(Transport::Tls, address).unwrap_err().to_string();
        let pid = format!("(pid {})", std::process::id());
        assert!(error.contains(&pid) && error.contains("TLS"), "{error}");
        assert!(bind_udp(address).is_ok(), "UDP has ports of its own");
    }

    #[test]
    fn an_address_on_no_interface_says_so() {
        let error = bind_udp("192.0.2.1:5060".parse().unwrap()).unwrap_err();
        assert!(matches!(error.problem, BindProblem::NoSuchAddress), "{error}");
    }

    #[test]
    fn a_wildcard_socket_blocks_every_address_of_its_port() {
        let line = "  sl  local_address rem_address   st\n 7: 00000000:13C4 00000000:0000 07 00000000:00000000 \
                    00:00000000 00000000   107        0 4242 2 0000000000000000 0";
        let entry = entries(line).next().unwrap();
        assert!(entry.blocks("10.1.2.3:5060".parse().unwrap()));
        assert!(!entry.blocks("10.1.2.3:5061".parse().unwrap()));
        assert_eq!((entry.uid, entry.inode), (107, 4242));
    }

    #[test]
    fn addresses_are_read_in_the_machines_byte_order() {
        if cfg!(target_endian = "little") {
            assert_eq!(hexadecimal_address("0100007F:13C4"), Some("127.0.0.1:5060".parse().unwrap()));
            let six = "00000000000000000000000001000000:0001";
            assert_eq!(hexadecimal_address(six), Some("[::1]:1".parse().unwrap()));
        }
        assert_eq!(hexadecimal_address("zz:1"), None);
    }
}
