//! Where everybody is measured: the lab, the measuring programs on both of its
//! ends, and an empty place between them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::lab::{Family, Lab, Place, Shape};
use harness::process::output;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use relay_ebpf::traffic::Shot;

use crate::traffic::{Burst, Clock, Route, Run, Traffic};

/// Vizard's interfaces.
pub(crate) const ENTRY: &str = "vz-cust";
pub(crate) const EXIT: &str = "vz-agent";
/// The first media port; flows have every second one.
pub(crate) const FIRST_PORT: u16 = 1024;

/// Packets per second while each flow has its first one.
const LAP: f64 = 100_000.0;
const WARM_UP: Duration = Duration::from_millis(40);

/// Someone who relays.
pub(crate) trait Relay {
    /// For progress.
    fn name(&self) -> String;

    /// Whether packets wait for it without holding up the generator.
    fn queues(&self) -> bool {
        false
    }

    /// Takes the place between the ends until what is returned is dropped, and
    /// aims the generator at its flows.
    fn enter(&self, stage: &mut Stage) -> Result<Box<dyn Turn>>;
}

/// Someone's turn, over when it is dropped.
pub(crate) trait Turn {}

/// The lab and the programs at its ends.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(crate) traffic: Traffic,
    sink: u32,
}

impl Stage {
    /// Sets up everything but a relay.
    pub(crate) fn set_up(folder: &Path) -> Result<Self> {
        harness::lab::sweep()?;
        let lab = Lab::new(&format!("vzt{}", std::process::id()), Shape::TwoSides, folder)?;
        let (_, destination_mac) = lab.inside(Place::Vizard, || link(ENTRY))?;
        let (interface, source_mac) = lab.inside(Place::Customer, || link("eth0"))?;
        let (sink, _) = lab.inside(Place::Agent, || link("eth0"))?;
        let route = Route {
            source: address(&lab, Place::Customer, Place::Customer)?,
            destination: address(&lab, Place::Vizard, Place::Customer)?,
            source_mac,
            destination_mac,
            interface,
        };
        let traffic = Traffic::load(&route)?;
        let mut stage = Self { lab, traffic, sink };
        stage.attach_sink(Clock::Off)?;
        Ok(stage)
    }

    /// The address of a peer, or Vizard's towards it.
    pub(crate) fn address(&self, of: Place, towards: Place) -> Result<Ipv4Addr> {
        address(&self.lab, of, towards)
    }

    /// Puts one of the sinks at the far end.
    pub(crate) fn attach_sink(&mut self, clock: Clock) -> Result<()> {
        let Self { lab, traffic, sink } = self;
        lab.inside(Place::Agent, || traffic.attach_sink(clock, *sink))
    }

    /// Sends at a rate; see [`Traffic::run`]. Everything arrives where it was meant to,
    /// or nowhere.
    pub(crate) fn run(&mut self, clock: Clock, rate: f64, burst: Burst, time: Duration) -> Result<Run> {
        let run = self.run_anywhere(clock, rate, burst, time)?;
        ensure!(run.wrong == 0, "{} packets arrived at a port that they were not meant for", run.wrong);
        Ok(run)
    }

    /// As [`Self::run`], while far ends move and packets may arrive elsewhere.
    pub(crate) fn run_anywhere(
        &mut self,
        clock: Clock,
        rate: f64,
        burst: Burst,
        time: Duration,
    ) -> Result<Run> {
        let Self { lab, traffic, .. } = self;
        lab.inside(Place::Customer, || {
            ahead_of_others(0)?;
            traffic.run(clock, rate, burst, time)
        })
    }

    /// Sends gently until packets arrive, and then one through every flow: neighbours are
    /// resolved and sources learned by then.
    pub(crate) fn warm_up(&mut self, who: &str) -> Result<()> {
        self.warm_up_at(who, 10_000.0, WARM_UP)?;
        let lap = f64::from(self.traffic.aimed()) / LAP;
        self.warm_up_at(who, LAP, WARM_UP + Duration::from_secs_f64(lap))
    }

    fn warm_up_at(&mut self, who: &str, rate: f64, time: Duration) -> Result<()> {
        for _ in 0..50 {
            let run = self.run(Clock::Off, rate, Burst::Short, time)?;
            if run.sent > 0 && run.lost() == 0 {
                return Ok(());
            }
        }
        bail!("{who} relays nothing, or not all of {rate} packets per second")
    }
}

/// An interface of the calling thread's namespace: index and MAC address.
pub(crate) fn link(name: &str) -> Result<(u32, [u8; 6])> {
    let shown = output(Command::new("ip").args(["-json", "link", "show", "dev", name]))?;
    let links: serde_json::Value = serde_json::from_str(&shown)?;
    let link = &links[0];
    let index = link["ifindex"].as_u64().with_context(|| format!("{name} has no index"))?;
    let text = link["address"].as_str().with_context(|| format!("{name} has no address"))?;
    let mut mac = [0; 6];
    for (byte, digits) in mac.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(digits, 16)?;
    }
    Ok((u32::try_from(index)?, mac))
}

/// Shots at these ports, each of which arrives at the same number, in an order
/// that no prefetcher guesses.
pub(crate) fn shuffled(ports: impl Iterator<Item = u16>) -> Vec<Shot> {
    let mut shots: Vec<Shot> =
        ports.map(|port| Shot { to: port.to_be(), arrives_at: port.to_be() }).collect();
    shots.shuffle(&mut ChaCha8Rng::seed_from_u64(1));
    shots
}

/// The ports of this many flows.
pub(crate) fn ports(flows: u16) -> impl Iterator<Item = u16> {
    (0..flows).map(|flow| FIRST_PORT + 2 * flow)
}

/// Keeps the calling thread on a processor and ahead of all that is not urgent.
pub(crate) fn ahead_of_others(processor: usize) -> Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(processor);
    rustix::thread::sched_setaffinity(None, &set).context("staying on one processor")?;
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: concerns the calling thread alone and reads the structure only.
    let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) };
    ensure!(set == 0, "running ahead of others: {}", std::io::Error::last_os_error());
    Ok(())
}

fn address(lab: &Lab, of: Place, towards: Place) -> Result<Ipv4Addr> {
    let address = match of {
        Place::Vizard => lab.vizard(towards, Family::V4),
        Place::Customer | Place::Agent => lab.peer(of, Family::V4),
    };
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => bail!("{address} is not of IPv4"),
    }
}
