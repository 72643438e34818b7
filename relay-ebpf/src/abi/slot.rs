//! Where a flow stands: what nearly every packet needs in one cache line, and the rest.

use super::{Head, Heard, Rarely, Tail};

/// A place for one flow, as far as nearly every packet needs it: the state and the head of
/// the even body, which the control plane writes, and behind them what the program heard
/// and counts.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSlot {
    /// The sequence number of the live body, whose parity says which one it is; zero
    /// when there is no flow.
    pub state: u32,
    /// Of the even body.
    pub head: Head,
    /// From whom the program heard, and which packet last.
    pub heard: Heard,
    /// Bytes of UDP payload forwarded, of the packets that [`Heard`] counts.
    pub bytes: u64,
}

/// The rest of the place.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowRest {
    /// What the program counts with few packets.
    pub rarely: Rarely,
    /// All but the first word of the address that the program learned.
    pub learned: [u32; 3],
    reserved: u32,
    /// Of the even body.
    pub even_tail: Tail,
    /// Of the odd body.
    pub head: Head,
    /// Of the odd body.
    pub tail: Tail,
}
