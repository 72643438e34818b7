//! What demonstrations, end-to-end tests and benchmarks share: a lab of network
//! namespaces, SIP peers, captures, and a vizard to stand between them.
//!
//! Light on dependencies, because `cargo xtask` is built with it: programs that
//! every network engineer knows (`ip`, `ethtool`, `sipp`, `tcpdump`, `tshark`)
//! do the work and can be repeated by hand. Nothing here looks into vizard:
//! it is run and asked like anybody's, over its command line.

pub mod audio;
pub mod baresip;
pub mod capture;
pub mod lab;
pub mod namespace;
pub mod process;
pub mod report;
pub mod sipp;
pub mod socket;
pub mod vizard;

/// Whether this process may create namespaces and load programs.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
