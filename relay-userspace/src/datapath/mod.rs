//! The media path: makes the engine's flows real.
//!
//! Three implementations, one behaviour: XDP in the driver, XDP in the stack's
//! receive path, and plain sockets. Which one is used, and why, is decided once
//! at start and shown wherever an operator looks.

pub mod guard;
pub mod memory;
pub mod tap;
pub mod userspace;
pub mod xdp;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use relay_ebpf::abi::FlowCount;
use relay_ebpf::media::{Class, Classes};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::engine::flow::{Content, FlowSpec, FlowStats, MediaPath, Quality};
use crate::engine::io::Datagram;

use guard::{Guard, GuardConfig};
use tap::{TapSink, Tapped};
use userspace::SocketDatapath;
use xdp::XdpDatapath;
use xdp::load::Hook;

/// Bytes of STUN that are looked at: a check has a tenth of them.
const LONGEST_STUN: usize = 1_500;

/// Media addresses at most; with every port of each they have a million flows.
pub const MAX_ADDRESSES: usize = relay_ebpf::abi::MAX_ADDRESSES;

/// What the media path is told at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatapathConfig {
    /// Which implementation is wanted.
    pub mode: Mode,
    /// The interfaces that media arrives on and leaves by; empty means those
    /// that carry `addresses`.
    pub interfaces: Vec<String>,
    /// The local addresses that media arrives at.
    pub addresses: Vec<IpAddr>,
    /// The ports of media at each of them: first even, last odd.
    pub ports: RangeInclusive<u16>,
    /// Where the kernel's side of media outlives this process; nowhere, if it is
    /// not to.
    pub pin: Option<PathBuf>,
    /// Whether flows that another process has left and this one cannot go on with
    /// may be cut.
    pub discard_calls: bool,
    /// What guards the signalling sockets; `None` for nothing.
    pub guard: Option<GuardConfig>,
}

/// Which implementation is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The fastest that works here.
    #[default]
    Auto,
    /// XDP in the driver, or no start.
    XdpNative,
    /// XDP in the stack's receive path, or no start.
    XdpGeneric,
    /// Plain sockets.
    Sockets,
}

/// Opens the implementation that `config` asks for. With [`Mode::Auto`] a
/// slower one serves where a faster one fails, and its [`PathChoice::reason`]
/// says what failed and what to do about it.
pub fn open(config: &DatapathConfig) -> Result<Box<dyn Datapath>, DatapathError> {
    memory::check(config)?;
    let asked = || "the configuration asks for it".to_owned();
    match config.mode {
        Mode::XdpNative => Ok(Box::new(XdpDatapath::open(config, Hook::Native, asked())?)),
        Mode::XdpGeneric => Ok(Box::new(XdpDatapath::open(config, Hook::Generic, asked())?)),
        Mode::Sockets => Ok(Box::new(SocketDatapath::open(config, asked())?)),
        Mode::Auto => fastest(config),
    }
}

/// The fastest implementation that works here.
fn fastest(config: &DatapathConfig) -> Result<Box<dyn Datapath>, DatapathError> {
    let reason = "the driver runs the program".to_owned();
    let native = match XdpDatapath::open(config, Hook::Native, reason) {
        Ok(native) => return Ok(Box::new(native)),
        Err(held @ DatapathError::Held(_)) => return Err(held),
        Err(error) => error,
    };
    let reason = format!("native XDP failed: {native}");
    let generic = match XdpDatapath::open(config, Hook::Generic, reason) {
        Ok(generic) => return Ok(Box::new(generic)),
        Err(held @ DatapathError::Held(_)) => return Err(held),
        Err(error) => error,
    };
    let (native, generic) = (native.to_string(), generic.to_string());
    let reason = if native == generic {
        format!("XDP failed: {native}")
    } else {
        format!("native XDP failed: {native}; generic XDP failed: {generic}")
    };
    Ok(Box::new(SocketDatapath::open(config, reason)?))
}

/// Something that relays media.
pub trait Datapath: Send {
    /// Which implementation this is, and why.
    fn choice(&self) -> &PathChoice;

    /// Creates the flow, or replaces the one at the same local address without
    /// a gap; a flow with the same source generation keeps what it learned and
    /// counted.
    fn put(&mut self, flow: &FlowSpec) -> Result<(), DatapathError>;

    /// Removes the flow and returns its final count; zeros when there is none.
    fn remove(&mut self, local: SocketAddr) -> FlowStats;

    /// Removes every flow that was not put since this was opened, and says where
    /// they arrived: what a process before this one left.
    fn sweep(&mut self) -> Vec<SocketAddr>;

    /// What a flow counted so far.
    fn stats(&self, local: SocketAddr) -> Option<FlowStats>;

    /// Every verdict and how many packets it got, in a fixed order.
    fn verdicts(&self) -> Vec<VerdictCount>;

    /// Gives copies of a flow's packets to `sink` from now on, or to nobody. A
    /// flow that is replaced stays tapped, one that is removed does not; where
    /// there is no flow nothing happens.
    fn tap(&mut self, flow: Tapped, sink: Option<TapSink>);

    /// Hands over STUN that has come to flows which take it, as far as one turn
    /// goes.
    fn take_stun(&mut self, give: &mut dyn FnMut(Datagram));

    /// Sends STUN from the local address of a flow that takes it.
    fn send_stun(&mut self, datagram: &Datagram);

    /// Readable when there is something for [`Self::take_stun`].
    fn stun_descriptor(&self) -> BorrowedFd<'_>;

    /// The guard of the signalling sockets.
    fn guard(&mut self) -> &mut dyn Guard;
}

/// Whether each side of a flow is of one family.
fn check_families(flow: &FlowSpec) -> Result<(), DatapathError> {
    let far = SocketAddr::new(flow.source.allowed.addr(), 0);
    for (from, to) in [(far, flow.local), (flow.send_from, flow.send_to)] {
        if from.is_ipv4() != to.is_ipv4() {
            return Err(DatapathError::Family { from, to });
        }
    }
    Ok(())
}

/// The classes of a flow's content, as packets are told apart by them.
fn classes(content: &Content) -> Classes {
    Classes::default()
        .with_if(content.has_rtp(), Class::Rtp)
        .with_if(content.rtcp, Class::Rtcp)
        .with_if(content.dtls, Class::Dtls)
        .with_if(content.stun, Class::Stun)
        .with_if(content.opaque, Class::Opaque)
}

/// What a flow's count says of its RTP at this time of the monotonic clock.
fn quality(count: &FlowCount, now: u64) -> Quality {
    let record = &count.series.record;
    Quality {
        expected: record.expected.into(),
        // Below zero where more came twice than was lost.
        lost: record.lost.cast_signed().max(0).unsigned_abs().into(),
        reordered: record.reordered.into(),
        jitter_us: record.jitter_us(),
        idle: (count.last != 0).then(|| Duration::from_nanos(now.saturating_sub(count.last))),
    }
}

/// The clock that the program reads too, in nanoseconds.
fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Never negative, and it wraps in centuries.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Which implementation carries media, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathChoice {
    /// The one in use.
    pub path: MediaPath,
    /// Why not a faster one, or why this one; a sentence for people.
    pub reason: String,
    /// The interfaces it is attached to.
    pub interfaces: Vec<String>,
}

impl fmt::Display for PathChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.as_str(), self.reason)
    }
}

/// A verdict and how many packets it got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictCount {
    /// Its name, such as `forwarded` or `wrong-source`.
    pub verdict: String,
    /// Whether it forwards, passes to the stack or drops.
    pub action: String,
    /// Packets.
    pub packets: u64,
}

/// Why a flow could not be made.
#[derive(Debug, Error)]
pub enum DatapathError {
    /// The local address is none of the configured media addresses, or the
    /// port is outside the range.
    #[error("{0} is outside the configured media addresses and ports")]
    OutsideRange(SocketAddr),
    /// A far end and our own end on its side are of one address family; the two
    /// sides may differ.
    #[error("no packet goes from {from} to {to}: one is IPv4 and the other IPv6")]
    Family {
        /// Where packets would start.
        from: SocketAddr,
        /// Where they would end.
        to: SocketAddr,
    },
    /// The route table has no way to the far end.
    #[error("no route to {to}: {problem}")]
    NoRoute {
        /// The far end.
        to: SocketAddr,
        /// What the kernel said.
        problem: String,
    },
    /// Another process's flows are in the way, and no slower path would do
    /// better.
    #[error("{0}")]
    Held(String),
    /// A system call failed.
    #[error("{doing}: {problem}")]
    System {
        /// What was being done.
        doing: String,
        /// What the kernel said, and how to mend it where that is known.
        problem: String,
    },
}
