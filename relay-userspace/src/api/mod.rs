//! How others talk to the daemon.
//!
//! [`local`] is what the command line says to the daemon and hears from it;
//! [`frame`] is how that looks on the wire, [`client`] and [`server`] are its two
//! ends. The socket is a Unix one, so that the file system decides who may
//! connect and the kernel says who did; [`permissions`] says what they may ask for.

pub(crate) mod accounts;
pub mod client;
pub mod frame;
mod groups;
pub mod local;
pub(crate) mod permissions;
pub mod server;

#[cfg(test)]
mod tests;
