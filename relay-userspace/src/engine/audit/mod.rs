//! The audit log: who did what, when and why, so that nobody can deny it later.
//!
//! An entry is durable before what it records is done or shown: an act without
//! an entry does not exist, an entry without its act may (the process died in
//! between, or what was asked for could not be done). Entries name sessions,
//! bindings, networks and counts, never a party's number, and are kept from
//! doing so by mistake ([`acts::plain`]).
//!
//! ```text
//! entry 7              entry 8              entry 9 (seal)
//! digest of 6  <----   digest of 7  <----   digest of 8
//! tag                  tag                  tag, signature      head 9, digest, signature
//! -------------------------------------------- store ------    --- anchor, with the keys ---
//! ```
//!
//! - Each entry holds the digest of the one before, so none can be left out, put
//!   in or moved without that showing at its neighbours.
//! - Each has a tag that takes the vault's keys to make, so nobody who can only
//!   write to the store can write one, wherever in the log.
//! - Each so many entries, or hour, a seal signs everything before it (Ed25519):
//!   an auditor who has the public key needs neither keys nor Vizard to check.
//! - The anchor lies outside the store, with the keys, and says where the log
//!   ends: it moves after an entry is durable and before anybody relies on it, so
//!   a log that was cut off at its end is shorter than its anchor says.
//!
//! Whoever can write to both places, keys included, can rewrite history; copies of
//! the anchor elsewhere, which its signature makes worth keeping, show even that.
//! So does a store that was put back to its past: it ends before its anchor. The
//! log then goes on after the anchor, and the gap stays for everybody to see. Whoever
//! restores a backup with `vizard restore`, and has the keys, leaves an entry that
//! explains the gap ([`restore`]).
//!
//! What platforms do all day by the thousand (creating bindings) has its own
//! records and no entries here.

pub mod acts;
pub mod anchor;
pub mod entry;
mod ledger;
pub mod restore;
pub mod verify;

#[cfg(test)]
pub(crate) mod tests;

pub use anchor::Anchor;
pub use entry::{Act, Entry, Who};
pub(crate) use ledger::{Ledger, Next};
pub use restore::restored;
pub use verify::{Explained, Finding, Verification, Verifier};

/// Entries that the end of a log is read with at a start: more than can be in the
/// store and not yet in the anchor.
pub const TAIL: usize = 1_024;

/// The log as a start finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entries that can be read, oldest first; [`TAIL`] at most.
    pub tail: Vec<Entry>,
    /// The number of the last entry, readable or not; zero when there is none.
    pub last: u64,
    /// Where the log ends, as told beside the keys.
    pub anchor: Option<Anchor>,
}
