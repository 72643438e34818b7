//! Flows that a version with another layout of the maps has left.
//!
//! Each version that shipped has a reader in [`OLDER`] for as long as an upgrade
//! from it is to cut no call: it turns that version's pinned maps into what this
//! one writes. The next process then fills maps of its own, switches the program,
//! adds what was counted until then, and removes the maps of before. Without a
//! reader the flows stay where they are and the operator decides.

use std::io;
use std::path::Path;

use relay_ebpf::abi::{End, Flow, FlowCount, HopSlot, Layout};

/// Versions before this one that can be read; the first layout has none.
pub const OLDER: &[Older] = &[];

/// A version before this one.
#[derive(Clone, Copy, Debug)]
pub struct Older {
    /// Its `ABI_VERSION`.
    pub version: u32,
    /// Reads its maps, which are pinned in this folder. An error where they are
    /// of another layout than the one that is wanted now: slots would differ.
    pub read: fn(&Path, &Layout) -> io::Result<Left>,
}

/// What its maps hold.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// Its live flows.
    pub flows: Vec<LeftFlow>,
    /// The next hops that they use, and their slots.
    pub hops: Vec<(u32, HopSlot)>,
}

/// A live flow, as this version would write it.
#[derive(Clone, Copy, Debug)]
pub struct LeftFlow {
    /// Where packets arrive.
    pub slot: u32,
    /// What becomes of them.
    pub flow: Flow,
    /// How often signalling has moved its far end.
    pub generation: u8,
    /// The source that it learned.
    pub source: Option<End>,
    /// What it counted.
    pub count: FlowCount,
}
