//! What the doctor gathers before it judges.
//!
//! Every fact may be unknown, with the reason: the doctor runs without root and
//! in containers, and says what it could not see instead of guessing.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use crate::datapath::Mode;
use crate::engine::sip::transport::Transport;

/// A fact, or why it is not known.
pub(super) type Known<T> = Result<T, String>;

/// What the configuration asks of this machine.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The media path.
    pub(super) mode: Mode,
    /// The media ports.
    pub(super) ports: RangeInclusive<u16>,
    /// The media addresses.
    pub(super) media: Vec<IpAddr>,
    /// The kernel memory that the media maps take, in bytes.
    pub(super) map_bytes: u64,
    /// Where SIP arrives, and over what.
    pub(super) listen: Vec<(Transport, SocketAddr)>,
}

/// Everything about this machine.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// `uname -r`.
    pub(super) kernel: Known<String>,
    /// Whether the kernel describes its types at /sys/kernel/btf/vmlinux.
    pub(super) btf: Known<bool>,
    /// The effective capabilities' bits.
    pub(super) capabilities: Known<u64>,
    /// Whether a bpf file system is mounted at /sys/fs/bpf.
    pub(super) bpffs: Known<bool>,
    /// `net.core.bpf_jit_enable`.
    pub(super) jit: Known<u64>,
    /// `net.ipv4.ip_local_port_range`.
    pub(super) ephemeral: Known<RangeInclusive<u16>>,
    /// `net.ipv4.ip_local_reserved_ports`.
    pub(super) reserved: Known<Vec<RangeInclusive<u16>>>,
    /// `net.core.rmem_max`, in bytes.
    pub(super) receive_buffer: Known<u64>,
    /// The memory that this machine, or a control group, leaves, in bytes.
    pub(super) memory: Known<u64>,
    /// Whether the clock is disciplined by NTP or PTP.
    pub(super) clock_synchronised: Known<bool>,
    /// Whether this host has each media address.
    pub(super) media: Vec<(IpAddr, bool)>,
    /// Whether each SIP address can be bound; otherwise why not.
    pub(super) sip: Vec<((Transport, SocketAddr), SipPort)>,
    /// The media interfaces.
    pub(super) interfaces: Vec<Interface>,
}

/// The state of a SIP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SipPort {
    /// It can be bound.
    Free,
    /// A Vizard runs on it.
    Ours(String),
    /// It cannot be bound.
    Blocked(String),
}

/// What an interface is to media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It carries media without tags.
    Untagged,
    /// A VLAN, whose media has tags.
    Vlan,
    /// The physical interface that a VLAN of media is on.
    UnderVlan,
}

/// A media interface.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    /// Its name.
    pub(super) name: String,
    /// What it is to media.
    pub(super) role: Role,
    /// What there is to know, or why it is not there.
    pub(super) details: Known<Details>,
}

/// What there is to know of an interface.
#[derive(Clone, Debug)]
pub(super) struct Details {
    /// Whether it is up and has a carrier.
    pub(super) up: Known<bool>,
    /// The driver's name.
    pub(super) driver: Known<String>,
    /// Receive queues.
    pub(super) queues: Known<usize>,
    /// The MTU in bytes.
    pub(super) mtu: Known<u32>,
    /// Whether the receiver spreads UDP over IPv4 by port.
    pub(super) hashes_ports: Known<bool>,
    /// Large receive offload.
    pub(super) lro: Known<bool>,
    /// Generic receive offload.
    pub(super) gro: Known<bool>,
    /// Whether the receiver takes VLAN tags out of frames.
    pub(super) strips_vlan: Known<bool>,
    /// Whether checksums of sent packets are left to the device.
    pub(super) transmit_checksum: Known<bool>,
    /// `net.ipv4.conf.*.rp_filter`: the larger of `all` and the interface's.
    pub(super) reverse_path_filter: Known<u64>,
}
