//! What Vizard's XDP program and its control plane share, and the program's
//! pure parts.
//!
//! This library holds no packet pointer, map or helper call, so that it builds
//! and is tested on the host: map layouts ([`abi`]), checksum arithmetic
//! ([`checksum`]), header layouts ([`header`]), token buckets ([`bucket`]), what a
//! datagram is ([`media`]), how well a stream arrives ([`quality`]), RTCP and header
//! extensions without identity ([`rtcp`], [`extension`], both word by word: [`words`])
//! and what may become of a packet ([`verdict`]). The program itself is the binary
//! `relay`, built for `bpfel-unknown-none` alone.

#![cfg_attr(not(test), no_std)]
#![allow(
    clippy::inline_always,
    reason = "a call costs more than most of these bodies, and the verifier follows one function best"
)]

pub mod abi;
pub mod bucket;
pub mod checksum;
pub mod extension;
pub mod header;
pub mod media;
pub mod quality;
pub mod rtcp;
#[cfg(feature = "traffic")]
pub mod traffic;
pub mod verdict;
pub mod words;
