//! The XDP program on real bytes: packet in, verdict and packet out, by the
//! kernel's own test run (`BPF_PROG_TEST_RUN`), until every verdict was seen.
//!
//! `world` loads the program and tells the verdict from the counters; `frames`
//! builds packets with etherparse, an implementation of the same standards that
//! is not ours; `reference` says in plain Rust what the verdict should be, and
//! random packets must agree with it. `wire` is the one test on real interfaces.
//!
//! They need root: without it they fail, unless `VIZARD_SKIP_PRIVILEGED=1` asks
//! for them to be skipped, which they say.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "everything here is a test: its inputs are small and fixed, and a panic is a failure"
)]

mod classes;
mod complexity;
mod frames;
mod guard;
mod learning;
mod memory;
mod migration;
mod reference;
mod reshaping;
mod rewriting;
mod routes;
mod scrubbing;
mod tap;
mod verdicts;
mod vlans;
mod wire;
mod world;
