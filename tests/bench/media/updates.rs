//! Flows change while packets pass: how fast, and whether one is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::report::Figure;
use relay_ebpf::abi;
use vizard::datapath::Datapath;
use vizard::engine::flow::FlowSpec;

use crate::relay::{self, Ends};
use crate::stage::{Stage, ports};
use crate::traffic::{Burst, Clock};
use crate::{LOAD, MANY};

/// How long calls change under load.
const CHANGING: Duration = Duration::from_secs(1);

/// What was found.
pub(crate) struct Updates {
    per_second: f64,
    lost_beside: u64,
    lost_moved: u64,
    bytes_per_flow: f64,
}

/// Programs `most` flows; then re-negotiates calls, one after the other, while
/// all of them carry packets.
pub(crate) fn measure(stage: &mut Stage, most: u16) -> Result<Updates> {
    let ends = Ends::of(stage)?;
    let flows: Vec<FlowSpec> = ports(most).map(|port| ends.flow(port)).collect();
    let mut datapath = relay::path(stage)?;
    let began = Instant::now();
    for flow in &flows {
        datapath.put(flow)?;
    }
    let per_second = f64::from(most) / began.elapsed().as_secs_f64();
    drop(datapath);
    let lost_beside = lost_on_reinvite(stage, Side::Customer)?;
    let lost_moved = lost_on_reinvite(stage, Side::Agent)?;
    // Capacity for capacity, whatever else there is in the kernel's memory.
    let bytes_per_flow = (abi::map_bytes(20_000, 1) - abi::map_bytes(10_000, 1)) as f64 / 10_000.0;
    Ok(Updates { per_second, lost_beside, lost_moved, bytes_per_flow })
}

impl Updates {
    /// As figures.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let figure = |name, unit, value| Figure::median(name, unit, &[value]);
        vec![
            figure("media.flows_per_second", "flows/s", self.per_second),
            figure("media.bytes_per_flow", "bytes", self.bytes_per_flow),
            figure("media.lost_on_reinvite", "packets", self.lost_beside as f64).with_goal(0.0),
            figure("media.lost_on_reinvite_moved", "packets", self.lost_moved as f64).with_goal(0.0),
        ]
    }
}

/// Whose far end moves while the customer's side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// The sender: what it says goes on as it did.
    Customer,
    /// The receiver: what is on its way arrives where it was or where it is.
    Agent,
}

/// One side of each call moves again and again. Packets of the customer's that
/// arrived at neither end of their call.
fn lost_on_reinvite(stage: &mut Stage, side: Side) -> Result<u64> {
    let vizard = relay::Vizard { flows: MANY };
    let mut open = vizard.open(stage)?;
    let ends = Ends::of(stage)?;
    let flows: Vec<FlowSpec> = ports(MANY).map(|port| ends.flow(port)).collect();
    for flow in &flows {
        open.datapath.put(&relay::opposite(flow, (ends.customer, 4000).into(), 0))?;
    }
    let stop = AtomicBool::new(false);
    let (run, changes) = std::thread::scope(|scope| {
        let changing = scope.spawn(|| change(&mut *open.datapath, &flows, ends, side, &stop));
        let run = stage.run_anywhere(Clock::Off, LOAD, Burst::Short, CHANGING);
        stop.store(true, Ordering::Relaxed);
        let changes = changing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (run, changes)
    });
    let (run, changes) = (run?, changes?);
    ensure!(changes > u64::from(MANY), "only {changes} changes happened while {} packets passed", run.sent);
    ensure!((run.wrong > 0) == (side == Side::Agent), "{} packets arrived at an end that moved", run.wrong);
    let lost = run.lost().saturating_sub(run.wrong);
    eprintln!("re-INVITE, {side:?} moves: {changes} changes, {} packets, {lost} lost", run.sent);
    if lost > 0 {
        let got = open.datapath.verdicts().into_iter().filter(|count| count.packets > 0);
        let got: Vec<String> = got.map(|count| format!("{} {}", count.verdict, count.packets)).collect();
        eprintln!("packets by verdict: {}", got.join(", "));
    }
    Ok(lost)
}

/// Changes both flows of each call in turn, until it is to stop; how often.
fn change(
    datapath: &mut dyn Datapath,
    flows: &[FlowSpec],
    ends: Ends,
    side: Side,
    stop: &AtomicBool,
) -> Result<u64> {
    let mut changes = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let round = u8::try_from(changes / flows.len() as u64 % 200)?;
        let index = usize::try_from(changes % flows.len() as u64)?;
        let flow = flows.get(index).context("an index below the length")?;
        let port = 4000 + 2 * u16::from(round);
        match side {
            Side::Customer => {
                datapath.put(&relay::opposite(flow, (ends.customer, port).into(), round))?;
                datapath.put(flow)?;
            }
            Side::Agent => {
                let send_to = if round % 2 == 0 { (ends.agent, port).into() } else { flow.send_to };
                datapath.put(&FlowSpec { send_to, ..flow.clone() })?;
            }
        }
        changes += 1;
    }
    Ok(changes)
}
