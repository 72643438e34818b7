//! Builds the XDP program and leaves the object where `datapath` embeds it.
//!
//! Only the `daemon` feature needs it: the engine alone builds without a BPF
//! toolchain.

#[path = "../relay-ebpf/object.rs"]
mod object;

use anyhow::Result;

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_DAEMON").is_none() {
        return Ok(());
    }
    object::build("relay", "program")
}
