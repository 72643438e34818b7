//! Flows change while packets pass: how fast, and whether one is lost.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::lab::Place;
use harness::report::Figure;
use relay_ebpf::abi;
use vizard::datapath::Datapath;
use vizard::engine::flow::FlowSpec;

use crate::stage::{Stage, ports};
use crate::traffic::{Burst, Clock};
use crate::{MANY, relay};

/// How long calls change under load, and the load in packets per second: about
/// half of what one core relays.
const CHANGING: Duration = Duration::from_secs(1);
const RATE: f64 = 1e6;

/// What was found.
pub(crate) struct Updates {
    per_second: f64,
    lost: u64,
    bytes_per_flow: f64,
}

/// Programs `most` flows; then re-negotiates calls, one after the other, while
/// all of them carry packets.
pub(crate) fn measure(stage: &mut Stage, most: u16) -> Result<Updates> {
    let flows = ports(most).map(|port| relay::flow(stage, port)).collect::<Result<Vec<_>>>()?;
    let mut datapath = relay::path(stage)?;
    let began = Instant::now();
    for flow in &flows {
        datapath.put(flow)?;
    }
    let per_second = f64::from(most) / began.elapsed().as_secs_f64();
    drop(datapath);
    let lost = lost_on_reinvite(stage)?;
    // Capacity for capacity, whatever else there is in the kernel's memory.
    let bytes_per_flow = (abi::map_bytes(20_000, 1) - abi::map_bytes(10_000, 1)) as f64 / 10_000.0;
    Ok(Updates { per_second, lost, bytes_per_flow })
}

impl Updates {
    /// As figures.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let figure = |name, unit, value| Figure::median(name, unit, &[value]);
        vec![
            figure("media.flows_per_second", "flows/s", self.per_second),
            figure("media.bytes_per_flow", "bytes", self.bytes_per_flow),
            figure("media.lost_on_reinvite", "packets", self.lost as f64).with_goal(0.0),
        ]
    }
}

/// The customer of each call moves again and again: what goes to it is sent
/// elsewhere, what comes from the other side goes on. Packets lost of the latter.
fn lost_on_reinvite(stage: &mut Stage) -> Result<u64> {
    let vizard = relay::Vizard { flows: MANY };
    let mut open = vizard.open(stage)?;
    let customer = stage.address(Place::Customer, Place::Vizard)?;
    let flows = ports(MANY).map(|port| relay::flow(stage, port)).collect::<Result<Vec<_>>>()?;
    for flow in &flows {
        open.datapath.put(&relay::opposite(flow, (customer, 4000).into(), 0))?;
    }
    let stop = AtomicBool::new(false);
    let (run, changes) = std::thread::scope(|scope| {
        let changing = scope.spawn(|| change(&mut *open.datapath, &flows, customer.into(), &stop));
        let run = stage.run(Clock::Off, RATE, Burst::Short, CHANGING);
        stop.store(true, Ordering::Relaxed);
        let changes = changing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (run, changes)
    });
    let (run, changes) = (run?, changes?);
    ensure!(changes > u64::from(MANY), "only {changes} changes happened while {} packets passed", run.sent);
    eprintln!("re-INVITE: {changes} changes, {} packets, {} lost", run.sent, run.lost());
    Ok(run.lost())
}

/// Changes both flows of each call in turn, until it is to stop; how often.
fn change(
    datapath: &mut dyn Datapath,
    flows: &[FlowSpec],
    customer: std::net::IpAddr,
    stop: &AtomicBool,
) -> Result<u64> {
    let mut changes = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let round = u8::try_from(changes / flows.len() as u64 % 200)?;
        let index = usize::try_from(changes % flows.len() as u64)?;
        let flow = flows.get(index).context("an index below the length")?;
        let moved = SocketAddr::new(customer, 4000 + 2 * u16::from(round));
        datapath.put(&relay::opposite(flow, moved, round))?;
        datapath.put(flow)?;
        changes += 1;
    }
    Ok(changes)
}
