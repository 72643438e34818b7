//! Network namespaces for tests that open sockets and load programs themselves:
//! one of the test's own, and peers beside it, each on a veth pair.
//!
//! Where a [`crate::lab::Lab`] runs whole programs in named namespaces, here a
//! thread of the test enters one. A thread that has entered stays; a test
//! thread ends with its test, and so does a namespace that nobody else names.

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::process::output;
use crate::socket;

/// Gives this thread a network namespace of its own; `false` when privileged
/// tests are to be skipped, which is said.
pub fn enter_own() -> Result<bool> {
    if !crate::is_root() {
        if std::env::var_os("VIZARD_SKIP_PRIVILEGED").is_none_or(|value| value != "1") {
            return Err(anyhow!(
                "namespaces and XDP programs need root: run as root, or set VIZARD_SKIP_PRIVILEGED=1"
            ));
        }
        eprintln!("SKIPPED (needs root): {}", thread::current().name().unwrap_or("test"));
        return Ok(false);
    }
    // SAFETY: of what threads share, only the network namespace becomes this thread's own; file
    // descriptors, which `unshare` could split with the memory kept, stay shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.context("a network namespace")?;
    ip("link set lo up")?;
    Ok(true)
}

/// Runs `act` on a thread within the named namespace, and returns what it did.
pub fn inside<T: Send>(name: &str, act: impl FnOnce() -> T + Send) -> Result<T> {
    let namespace = Path::new("/run/netns").join(name);
    let namespace =
        File::open(&namespace).with_context(|| format!("no namespace {}", namespace.display()))?;
    let enter = move || -> Result<T> {
        rustix::thread::move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&namespace),
            Some(LinkNameSpaceType::Network),
        )
        .context("entering a namespace")?;
        Ok(act())
    };
    thread::scope(|scope| scope.spawn(enter).join().map_err(|_| anyhow!("the thread inside panicked")))?
}

/// A peer's namespace, joined to this thread's by a veth pair; deleted when it is
/// dropped.
#[derive(Debug)]
pub struct Peer {
    /// Its namespace.
    pub name: String,
    /// The end of the pair in this thread's namespace.
    pub outer: String,
    /// The peer's own end.
    pub inner: String,
}

impl Peer {
    /// A peer with the addresses `theirs`, where this end has `ours`.
    pub fn new(side: &str, ours: &[&str], theirs: &[&str]) -> Result<Self> {
        // Names are the host's, and tests run beside each other: one thread, one name.
        let id = format!("{}{side}", rustix::thread::gettid().as_raw_nonzero());
        let peer = Self {
            name: format!("vzt{}-{id}", std::process::id()),
            outer: format!("dv{id}"),
            inner: format!("dp{id}"),
        };
        let Self { name, outer, inner } = &peer;
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {outer} type veth peer name {inner} netns {name}"))?;
        for address in ours {
            ip(&format!("address add {address} dev {outer} nodad"))?;
        }
        ip(&format!("link set {outer} up"))?;
        for address in theirs {
            ip(&format!("-n {name} address add {address} dev {inner} nodad"))?;
        }
        ip(&format!("-n {name} link set {inner} up"))?;
        // Packets must have whole checksums, and what is redirected here must be received.
        output(
            Command::new("ip")
                .args(["netns", "exec", name, "ethtool", "-K", inner, "tx", "off", "gro", "on"]),
        )?;
        Ok(peer)
    }

    /// Runs `act` on a thread within the namespace.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        inside(&self.name, act)
    }

    /// A UDP socket within the namespace.
    pub fn socket(&self, address: SocketAddr) -> Result<UdpSocket> {
        self.inside(|| socket::udp(address))?.with_context(|| format!("binding {address} in {}", self.name))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Err(error) = ip(&format!("netns delete {}", self.name)) {
            eprintln!("namespace {} is left: {error:#}", self.name);
        }
    }
}

/// Runs `ip` in this thread's namespace.
pub fn ip(arguments: &str) -> Result<()> {
    output(Command::new("ip").args(arguments.split_whitespace())).map(drop)
}
