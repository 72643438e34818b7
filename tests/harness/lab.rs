//! A lab: a customer, a Vizard and an agent, each in its own network namespace,
//! joined by veth pairs; or, without privileges, three loopback addresses.
//!
//! ```text
//! customer 10.77.1.2 eth0 --- vz-cust 10.77.1.1 [vizard] 10.77.2.1 vz-agent --- eth0 10.77.2.2 agent
//! ```
//!
//! IPv6 runs beside it on `fd77:1::/64` and `fd77:2::/64`. Vizard's namespace
//! forwards nothing by itself, and neither peer has a route to the other: what
//! arrives has gone through Vizard.
//!
//! veth specifics: a frame that XDP transmits or redirects arrives only where the
//! receiving end has its own receive queue (here: GRO is on), and checksums
//! must be whole before XDP sees a packet (transmit offload is off).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::namespace;
use crate::process::output;

/// Who stands where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The customer's carrier.
    Customer,
    /// Between them.
    Vizard,
    /// The agent's PBX.
    Agent,
}

/// How Vizard is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An interface towards each side: packets cross between them.
    TwoSides,
    /// One interface towards both: packets leave where they came in.
    OneWire,
    /// Addresses of the loopback interface; needs no privileges.
    Loopback,
}

/// Which family a call uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6; not on loopback.
    V6,
}

/// What a peer speaks SIP over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Datagrams.
    #[default]
    Udp,
    /// Connections.
    Tcp,
    /// Connections that a capture cannot read.
    Tls,
}

impl Link {
    /// As configuration and URIs write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// A lab. Taken down when dropped, unless it is left.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    shape: Shape,
    folder: PathBuf,
    namespaces: Vec<String>,
    /// Where a BPF file system is mounted for pins that outlive a process.
    pins: Option<PathBuf>,
}

impl Lab {
    /// Sets up a lab whose namespaces are called `{prefix}-customer` and so on,
    /// with `folder` for everything that is written.
    pub fn new(prefix: &str, shape: Shape, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut lab = Self {
            prefix: prefix.to_owned(),
            shape,
            folder: folder.to_owned(),
            namespaces: Vec::new(),
            pins: None,
        };
        match shape {
            Shape::Loopback => {}
            Shape::TwoSides => {
                lab.namespace(Place::Vizard)?;
                lab.namespace(Place::Customer)?;
                lab.namespace(Place::Agent)?;
                lab.wire("vz-cust", &[1], Place::Customer)?;
                lab.wire("vz-agent", &[2], Place::Agent)?;
            }
            Shape::OneWire => {
                lab.namespace(Place::Vizard)?;
                lab.namespace(Place::Customer)?;
                lab.wire("vz-wire", &[1, 2], Place::Customer)?;
            }
        }
        Ok(lab)
    }

    /// Mounts a BPF file system in the lab's folder: the one that a namespace's
    /// process mounts over /sys ends with that process, and its pins with it.
    pub fn mount_pins(&mut self) -> Result<PathBuf> {
        let folder = self.folder.join("bpf");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        output(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&folder))?;
        self.pins = Some(folder.clone());
        Ok(folder)
    }

    /// How Vizard is connected.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Where everything is written.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The namespace of a place; none on loopback.
    #[must_use]
    pub fn namespace_of(&self, place: Place) -> Option<String> {
        let name = match (self.shape, place) {
            (Shape::Loopback, _) => return None,
            (Shape::OneWire, Place::Customer | Place::Agent) => "peers",
            (_, Place::Customer) => "customer",
            (_, Place::Vizard) => "vizard",
            (_, Place::Agent) => "agent",
        };
        Some(format!("{}-{name}", self.prefix))
    }

    /// A command that runs at a place.
    #[must_use]
    pub fn at(&self, place: Place, program: &str) -> Command {
        match self.namespace_of(place) {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &namespace, program]);
                command
            }
            None => Command::new(program),
        }
    }

    /// Does something within a place's namespace: what it opens there stays there.
    pub fn inside<T: Send>(&self, place: Place, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        match self.namespace_of(place) {
            Some(name) => namespace::inside(&name, act)?,
            None => act(),
        }
    }

    /// The address of a peer.
    #[must_use]
    pub fn peer(&self, place: Place, family: Family) -> IpAddr {
        self.address(side(place), 2, family)
    }

    /// One more address for a peer.
    pub fn second_peer(&self, place: Place) -> Result<IpAddr> {
        let address = self.address(side(place), 3, Family::V4);
        if let Some(namespace) = self.namespace_of(place) {
            ip(&["-n", &namespace, "address", "add", &format!("{address}/24"), "dev", "eth0"])?;
        }
        Ok(address)
    }

    /// Vizard's address towards a peer.
    #[must_use]
    pub fn vizard(&self, towards: Place, family: Family) -> IpAddr {
        self.address(side(towards), 1, family)
    }

    /// The port on which everybody speaks SIP.
    #[must_use]
    pub const fn sip_port(&self) -> u16 {
        match self.shape {
            Shape::Loopback => 15060,
            Shape::TwoSides | Shape::OneWire => 5060,
        }
    }

    /// The port on which everybody speaks SIP over this.
    #[must_use]
    pub const fn port_over(&self, link: Link) -> u16 {
        match link {
            Link::Udp | Link::Tcp => self.sip_port(),
            Link::Tls => self.sip_port() + 1,
        }
    }

    /// Where certificates and keys are kept, if there are any.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.folder.join("tls")
    }

    /// Leaves the namespaces where they are.
    pub fn leave(mut self) {
        self.namespaces.clear();
    }

    fn address(&self, side: u8, host: u8, family: Family) -> IpAddr {
        match (self.shape, family) {
            // Vizard has one loopback address for both sides.
            (Shape::Loopback, _) if host == 1 => Ipv4Addr::new(127, 0, 0, 10).into(),
            (Shape::Loopback, _) => Ipv4Addr::new(127, 0, side, host).into(),
            (_, Family::V4) => Ipv4Addr::new(10, 77, side, host).into(),
            (_, Family::V6) => Ipv6Addr::new(0xfd77, side.into(), 0, 0, 0, 0, 0, host.into()).into(),
        }
    }

    fn namespace(&mut self, place: Place) -> Result<()> {
        let Some(name) = self.namespace_of(place) else { return Ok(()) };
        ip(&["netns", "add", &name])?;
        self.namespaces.push(name.clone());
        ip(&["-n", &name, "link", "set", "lo", "up"])
    }

    /// Joins Vizard and a place by a veth pair that carries these sides' networks.
    fn wire(&self, device: &str, sides: &[u8], place: Place) -> Result<()> {
        let (Some(vizard), Some(peer)) = (self.namespace_of(Place::Vizard), self.namespace_of(place)) else {
            return Ok(());
        };
        ip(&[
            "link", "add", device, "netns", &vizard, "type", "veth", "peer", "name", "eth0", "netns", &peer,
        ])?;
        let ends = [(vizard.as_str(), device), (peer.as_str(), "eth0")];
        for (host, (namespace, device)) in (1..).zip(ends) {
            for &side in sides {
                for family in [Family::V4, Family::V6] {
                    let length = if family == Family::V4 { 24 } else { 64 };
                    let address = format!("{}/{length}", self.address(side, host, family));
                    let mut add = vec!["-n", namespace, "address", "add", &address, "dev", device];
                    if family == Family::V6 {
                        // Nobody else can have the address, and duplicate detection takes a second.
                        add.push("nodad");
                    }
                    ip(&add)?;
                }
            }
            ip(&["-n", namespace, "link", "set", device, "up"])?;
        }
        // Only a running interface tells its pair that redirected frames are welcome.
        for (namespace, device) in ends {
            ip(&["netns", "exec", namespace, "ethtool", "-K", device, "tx", "off", "gro", "on"])?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(pins) = &self.pins
            && let Err(error) = output(Command::new("umount").arg("-l").arg(pins))
        {
            eprintln!("{} is left mounted: {error:#}", pins.display());
        }
        for namespace in &self.namespaces {
            if let Err(error) = ip(&["netns", "delete", namespace]) {
                eprintln!("namespace {namespace} is left: {error:#}");
            }
        }
    }
}

/// Deletes the namespaces of `prefix`, and says how many there were.
pub fn take_down(prefix: &str) -> Result<usize> {
    let is_ours = |name: &String| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-'));
    let ours: Vec<String> = namespaces()?.into_iter().filter(is_ours).collect();
    for name in &ours {
        ip(&["netns", "delete", name])?;
    }
    Ok(ours.len())
}

/// Deletes what tests left behind whose process (the number in
/// `vzt{process}-…`) is gone.
pub fn sweep() -> Result<()> {
    for name in namespaces()? {
        let process = name.strip_prefix("vzt").and_then(|rest| rest.split(['-', '.']).next());
        if process.is_some_and(|id| id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists()) {
            ip(&["netns", "delete", &name])?;
        }
    }
    Ok(())
}

fn namespaces() -> Result<Vec<String>> {
    let list = output(Command::new("ip").args(["netns", "list"]))?;
    Ok(list.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// Vizard is on both sides; its own place counts as the customer's.
const fn side(place: Place) -> u8 {
    match place {
        Place::Customer | Place::Vizard => 1,
        Place::Agent => 2,
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    output(Command::new("ip").args(arguments)).map(drop)
}
