//! The engine: masking, allocation, SIP and call control as a pure function of
//! inputs, two injected clocks and a seed.
//!
//! It opens no socket, reads no file or clock, starts no thread and draws no
//! random number of its own, so a million calls can be simulated in seconds
//! and any failure replayed from its seed. CI builds it alone, without the
//! crates that could do I/O, and clippy denies the standard library's.

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod admin;
pub mod cdr;
pub mod config;
pub mod directory;
pub mod event;
pub mod flow;
pub mod ids;
pub mod io;
pub mod number;
pub mod time;
