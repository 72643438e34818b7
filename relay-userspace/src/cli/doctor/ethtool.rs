//! What a network device says of itself, through the ethtool ioctl.
//!
//! Only reads. Two facts that only netlink's newer family has (per-queue
//! statistics, ring sizes) are not needed here, and the ioctl needs no
//! privileges on any kernel.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;

use super::facts::Known;

/// linux/ethtool.h
const ETHTOOL_GDRVINFO: u32 = 0x0000_0003;
const ETHTOOL_GTXCSUM: u32 = 0x0000_0016;
const ETHTOOL_GFLAGS: u32 = 0x0000_0025;
const ETHTOOL_GRXFH: u32 = 0x0000_0029;
const ETHTOOL_GGRO: u32 = 0x0000_002b;
const UDP_V4_FLOW: u32 = 0x02;
/// Source and destination port: the two bytes of the transport header each.
const RXH_L4_PORTS: u64 = (1 << 6) | (1 << 7);
const FLAG_RXVLAN: u32 = 1 << 8;
const FLAG_LRO: u32 = 1 << 15;

/// Larger than every structure that the commands here read or write, the
/// largest being `struct ethtool_drvinfo` with 196 bytes.
const BUFFER: usize = 512;

#[repr(C, align(8))]
struct Buffer([u8; BUFFER]);

/// One device; asks through a socket of its own.
pub(super) struct Device {
    socket: UdpSocket,
    name: String,
}

impl Device {
    pub(super) fn open(name: &str) -> Known<Self> {
        let socket =
            UdpSocket::bind("127.0.0.1:0").map_err(|error| format!("no socket to ask through: {error}"))?;
        Ok(Self { socket, name: name.to_owned() })
    }

    pub(super) fn driver(&self) -> Known<String> {
        let buffer = self.ask(ETHTOOL_GDRVINFO, 0)?;
        // struct ethtool_drvinfo: cmd, then the name in 32 bytes.
        let name: Vec<u8> = buffer.0[4..36].iter().copied().take_while(|&b| b != 0).collect();
        String::from_utf8(name).map_err(|_| "the driver's name is not text".to_owned())
    }

    /// Whether UDP over IPv4 is spread over queues by port.
    pub(super) fn hashes_udp_ports(&self) -> Known<bool> {
        // struct ethtool_rxnfc: cmd, flow_type, then the fields as a u64.
        let buffer = self.ask(ETHTOOL_GRXFH, UDP_V4_FLOW)?;
        let mut fields = [0; 8];
        fields.copy_from_slice(&buffer.0[8..16]);
        Ok(u64::from_ne_bytes(fields) & RXH_L4_PORTS == RXH_L4_PORTS)
    }

    pub(super) fn lro(&self) -> Known<bool> {
        Ok(self.value(ETHTOOL_GFLAGS)? & FLAG_LRO != 0)
    }

    pub(super) fn strips_vlan(&self) -> Known<bool> {
        Ok(self.value(ETHTOOL_GFLAGS)? & FLAG_RXVLAN != 0)
    }

    pub(super) fn gro(&self) -> Known<bool> {
        Ok(self.value(ETHTOOL_GGRO)? != 0)
    }

    pub(super) fn transmit_checksum(&self) -> Known<bool> {
        Ok(self.value(ETHTOOL_GTXCSUM)? != 0)
    }

    /// `struct ethtool_value`: cmd, data.
    fn value(&self, command: u32) -> Known<u32> {
        let buffer = self.ask(command, 0)?;
        let mut data = [0; 4];
        data.copy_from_slice(&buffer.0[4..8]);
        Ok(u32::from_ne_bytes(data))
    }

    fn ask(&self, command: u32, argument: u32) -> Known<Buffer> {
        if self.name.len() >= libc::IFNAMSIZ {
            return Err("the name is too long for an interface".to_owned());
        }
        let mut buffer = Buffer([0; BUFFER]);
        buffer.0[..4].copy_from_slice(&command.to_ne_bytes());
        buffer.0[4..8].copy_from_slice(&argument.to_ne_bytes());
        // SAFETY: an all-zero ifreq is a valid value of this C structure of integers, arrays and a null pointer.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(self.name.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        request.ifr_ifru.ifru_data = buffer.0.as_mut_ptr().cast();
        // SAFETY: the descriptor is open for the call's length; `request` is a valid ifreq whose name ends in zero
        // and whose data points to a live, writable, 8-aligned buffer of 512 bytes. Each command used here reads
        // and writes at most its own structure, of which the largest has 196 bytes; nothing keeps the pointer.
        let result = unsafe {
            libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL as _, std::ptr::from_mut(&mut request))
        };
        if result == 0 { Ok(buffer) } else { Err(said(&io::Error::last_os_error())) }
    }
}

fn said(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => "the driver does not tell".to_owned(),
        Some(libc::EPERM) => "only root may ask the driver".to_owned(),
        _ => format!("asking the driver: {error}"),
    }
}

/// Every interface's name with one of its addresses; an interface with three
/// stands here three times.
pub(super) fn interface_addresses() -> Known<Vec<(String, IpAddr)>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is a valid place for the pointer that the call writes.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(format!("listing addresses: {}", io::Error::last_os_error()));
    }
    let mut found = Vec::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: getifaddrs succeeded, so `next` is its list or a link in it, both valid until freeifaddrs below.
        let entry = unsafe { &*next };
        // SAFETY: ifa_name is a C string that lives as long as the list.
        let name = unsafe { std::ffi::CStr::from_ptr(entry.ifa_name) };
        // SAFETY: ifa_addr is null or points to a socket address of its own family, alive as long as the list.
        if let Some(address) = unsafe { address_of(entry.ifa_addr) } {
            found.push((name.to_string_lossy().into_owned(), address));
        }
        next = entry.ifa_next;
    }
    // SAFETY: the list came from getifaddrs and is not used after this.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// # Safety
///
/// `address` is null or points to a socket address that is as long as its
/// family says.
unsafe fn address_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: not null, and every socket address begins with its family.
    let family = i32::from(unsafe { (*address).sa_family });
    match family {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in; read unaligned, as C promises no more.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::from(v4.sin_addr.s_addr.to_ne_bytes()))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a sockaddr_in6; read unaligned, as C promises no more.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::from(v6.sin6_addr.s6_addr))
        }
        _ => None,
    }
}

/// Whether the kernel's clock is disciplined: adjtimex(2), which anybody may
/// ask.
pub(super) fn clock_synchronised() -> Known<bool> {
    // SAFETY: an all-zero timex is a valid value of this C structure of integers; its zero `modes` asks to read only.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the call writes to a live timex and keeps no pointer.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    match state {
        -1 => Err(format!("asking the clock: {}", io::Error::last_os_error())),
        _ => Ok(timex.status & libc::STA_UNSYNC == 0),
    }
}
