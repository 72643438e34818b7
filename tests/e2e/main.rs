//! End to end: the real binary between real SIP peers with real audio, in
//! network namespaces; what reached a side is what a capture there says.
//!
//! Needs root. Without it every test fails, unless `VIZARD_SKIP_PRIVILEGED=1`
//! asks for them to be left out. Each test has a lab of its own and mostly waits, so
//! they run beside each other, but for those that ask to be alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agents;
mod audio;
mod audit;
mod bad_input;
mod bindings;
mod calls;
mod canary;
mod capture;
mod certificates;
mod changes;
mod durability;
mod emergency;
mod fallback;
mod forks;
mod guard;
mod ice;
mod kills;
mod lists;
mod nat;
mod phone;
mod quality;
mod refusals;
mod restart;
mod retention;
mod roles;
mod secrecy;
mod soak;
mod streams;
mod t38;
mod targets;
mod teams;
mod vault;
mod world;
