//! Transports of signalling, and what binding a port can teach.
//!
//! A transport moves bytes and counts what goes wrong; of a message it knows where it
//! ends and no more, so nothing here can leak a number. It refuses to retry, to resolve
//! names and to decide where something goes: those are the engine's.

mod batch;
pub mod bind;
pub mod stream;
pub mod tls;
pub mod udp;
