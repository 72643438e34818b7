//! Vizard: a number-masking relay for calls and texts.
//!
//! Imports run one way: `main -> cli -> daemon -> {api, net, store, datapath}
//! -> engine`. The engine is pure; only `datapath` knows the kernel's ABI;
//! `store` and `datapath` never import each other; the CLI's live commands talk
//! to the daemon over its local socket and never open the store. `cargo xtask
//! test` checks these directions.

pub mod engine;

#[cfg(feature = "daemon")]
pub mod api;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod datapath;
#[cfg(feature = "daemon")]
pub mod net;
#[cfg(feature = "daemon")]
pub mod settings;
#[cfg(feature = "daemon")]
pub mod store;
#[cfg(feature = "daemon")]
pub mod telemetry;
