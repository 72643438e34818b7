//! Copies of packets for the control plane.

use super::{Address, End};

/// Bytes of the ring that copies stand in: a power of two, whole pages.
pub const TAP_RING: u32 = 512 * 1024;
/// Bytes of UDP payload in a copy of the usual size: twenty milliseconds of
/// sound, and an RTCP report.
pub const TAP_USUAL: usize = 240;
/// At most; what is longer is cut.
pub const TAP_LONGEST: usize = 1_504;

/// What stands before the bytes of a copy.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapHeader {
    /// The monotonic clock, in nanoseconds.
    pub time: u64,
    /// The flow's slot.
    pub slot: u32,
    /// The bytes of UDP payload that the packet had.
    pub length: u16,
    /// How many of them follow.
    pub captured: u16,
    /// Who sent it: address and port, the latter in network byte order.
    pub source: Address,
    /// See above.
    pub source_port: u16,
    /// Whether the source is an IPv6 one.
    pub source_v6: u8,
    reserved: [u8; 5],
}

impl TapHeader {
    /// Of a packet of this flow and source, all of whose `length` bytes are wanted.
    #[inline(always)]
    #[must_use]
    pub const fn new(time: u64, slot: u32, length: u16, captured: u16, source: End, v6: bool) -> Self {
        Self {
            time,
            slot,
            length,
            captured,
            source: source.address,
            source_port: source.port.to_wire(),
            source_v6: v6 as u8,
            reserved: [0; 5],
        }
    }
}

/// A copy as it stands in the ring; bytes beyond `captured` mean nothing.
#[repr(C)]
pub struct TapCopy<const N: usize> {
    /// What it is of.
    pub header: TapHeader,
    /// UDP payload.
    pub bytes: [u8; N],
}
