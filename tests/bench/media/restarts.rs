//! The process that keeps the media path is killed, and another one goes on, while
//! packets pass: as it is, and over maps of another layout.
//!
//! That process is this benchmark once more, told by its first arguments to keep a
//! media path and nothing else. What is killed is therefore what a `kill -9` of
//! Vizard kills: a loader with pinned links and maps, whose flows the next one puts
//! again and whose program it replaces through the links.
//!
//! For an upgrade the maps are moved to where a version before this one would have
//! pinned them, once their keeper is dead and while the program goes on using them.
//! The next one reads them as another version's: it makes maps of its own, carries
//! flows and learned sources over, switches the program, and removes what was there.
//!
//! The same load for the same time, while the keeper lives, says what a machine loses that
//! has too much else to do, and is no fault of a restart.

use std::fs;
use std::io;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::maps::MapData;
use harness::lab::Place;
use harness::process::Running;
use harness::report::Figure;
use relay_ebpf::abi::{self, HopSlot, Layout};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use vizard::datapath::Datapath;
use vizard::datapath::xdp::XdpDatapath;
use vizard::datapath::xdp::load::Hook;
use vizard::datapath::xdp::older::{Left, LeftFlow, Older};
use vizard::datapath::xdp::table::{FlowTable, Mapped};

use crate::relay::Ends;
use crate::stage::{Stage, ports, shuffled};
use crate::traffic::{Burst, Clock};
use crate::{LOAD, MANY};

/// The argument that has this program keep a media path.
pub(crate) const KEEP: &str = "keep";
/// How long packets pass, and how often at least the keeper is killed meanwhile.
const DISTURBED: Duration = Duration::from_secs(6);
const DEATHS: u32 = 2;
/// How long there is no process.
const GAP: Duration = Duration::from_millis(100);
/// How long the next one may take, on a machine that has other things to do.
const START: Duration = Duration::from_mins(1);
/// What it prints when its flows are there.
const READY: &str = "in place";
/// The version whose maps are made up.
const MADE_UP: u32 = 0;

/// What the keeper is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Job {
    pins: PathBuf,
    flows: u16,
    ends: Ends,
}

/// Packets lost over each kind of restart, and without one.
pub(crate) struct Restarts {
    undisturbed: u64,
    killed: u64,
    upgraded: u64,
}

impl Restarts {
    /// As figures.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let figure = |name, lost: u64| Figure::median(name, "packets", &[lost as f64]);
        vec![
            figure("media.lost_undisturbed", self.undisturbed),
            figure("media.lost_on_restart", self.killed).with_goal(0.0),
            figure("media.lost_on_upgrade", self.upgraded).with_goal(0.0),
        ]
    }
}

/// Kills and starts the keeper under load, then does so with maps of another layout.
pub(crate) fn measure(stage: &mut Stage) -> Result<Restarts> {
    let pins = stage.lab.mount_pins()?.join("vizard");
    let job = Job { pins, flows: MANY, ends: Ends::of(stage)? };
    stage.traffic.aim(&shuffled(ports(MANY)))?;
    let mut keeper = start(stage, &job)?;
    stage.warm_up("vizard in a process of its own")?;
    let undisturbed = lost_undisturbed(stage)?;
    let killed = lost(stage, &job, &mut keeper, Death::Kill)?;
    let upgraded = lost(stage, &job, &mut keeper, Death::Upgrade)?;
    keeper.stop(Signal::KILL)?;
    // Whoever ends in good order leaves nothing behind.
    drop(stage.lab.inside(Place::Vizard, || job.open())?);
    Ok(Restarts { undisturbed, killed, upgraded })
}

/// What comes after a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// The same version.
    Kill,
    /// One with another layout of the maps.
    Upgrade,
}

/// Packets lost while nothing happens.
fn lost_undisturbed(stage: &mut Stage) -> Result<u64> {
    let run = stage.run(Clock::Off, LOAD, Burst::Short, DISTURBED)?;
    eprintln!("no restart: {} packets, {} lost", run.sent, run.lost());
    Ok(run.lost())
}

/// Packets lost while the keeper dies again and again.
fn lost(stage: &mut Stage, job: &Job, keeper: &mut Running, death: Death) -> Result<u64> {
    let stop = AtomicBool::new(false);
    let start = Starter::of(stage, job)?;
    let (run, deaths) = std::thread::scope(|scope| {
        let dying = scope.spawn(|| die(&start, keeper, death, &stop));
        let run = stage.run(Clock::Off, LOAD, Burst::Short, DISTURBED);
        stop.store(true, Ordering::Relaxed);
        let deaths = dying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (run, deaths)
    });
    let (run, deaths) = (run?, deaths?);
    ensure!(deaths >= DEATHS, "only {deaths} restarts were over before {} packets had passed", run.sent);
    eprintln!("{death:?}: {deaths} restarts, {} packets, {} lost", run.sent, run.lost());
    Ok(run.lost())
}

/// Restarts that were over before it was to stop.
fn die(start: &Starter, keeper: &mut Running, death: Death, stop: &AtomicBool) -> Result<u32> {
    let mut deaths = 0;
    while !stop.load(Ordering::Relaxed) {
        keeper.stop(Signal::KILL)?;
        std::thread::sleep(GAP);
        if death == Death::Upgrade {
            let folder = |version| start.job.pins.join(format!("abi-{version}"));
            fs::rename(folder(abi::ABI_VERSION), folder(MADE_UP)).context("moving the pinned maps")?;
        }
        *keeper = start.start()?;
        if !stop.load(Ordering::Relaxed) {
            deaths += 1;
        }
    }
    Ok(deaths)
}

fn start(stage: &Stage, job: &Job) -> Result<Running> {
    Starter::of(stage, job)?.start()
}

/// Starts keepers, beside whoever has the stage.
struct Starter {
    namespace: String,
    job: Job,
    log: PathBuf,
}

impl Starter {
    fn of(stage: &Stage, job: &Job) -> Result<Self> {
        let namespace = stage.lab.namespace_of(Place::Vizard).context("the lab has namespaces")?;
        Ok(Self { namespace, job: job.clone(), log: stage.lab.folder().join("keeper.log") })
    }

    /// A keeper with all its flows in place, ahead of others on the second processor.
    fn start(&self) -> Result<Running> {
        let mut command = std::process::Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "chrt", "--rr", "1", "taskset", "-c", "1"]);
        command.arg(std::env::current_exe().context("cannot find this program")?);
        command.arg(KEEP).arg(serde_json::to_string(&self.job)?);
        let mut keeper = Running::start("the keeper of the media path", command, &self.log)?;
        keeper.wait_until("its flows are in place", START, || {
            fs::read_to_string(&self.log).is_ok_and(|said| said.contains(READY))
        })?;
        Ok(keeper)
    }
}

/// Keeps a media path until it is killed, or nobody is left to do so.
pub(crate) fn keep(job: &str) -> Result<()> {
    let job: Job = serde_json::from_str(job).context("reading what to keep")?;
    let parent = parent_id();
    let mut datapath = job.open()?;
    for port in ports(job.flows) {
        datapath.put(&job.ends.flow(port))?;
    }
    let swept = datapath.sweep();
    ensure!(swept.is_empty(), "{swept:?} are of nobody");
    println!("{READY}");
    while parent_id() == parent {
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

impl Job {
    fn open(&self) -> Result<XdpDatapath> {
        let config = self.ends.config(Some(self.pins.clone()));
        let readers = [Older { version: MADE_UP, read }];
        let reason = "the benchmark asks for it".to_owned();
        Ok(XdpDatapath::open_reading(&config, Hook::Native, reason, &readers)?)
    }
}

/// Reads the maps of the version that is made up.
fn read(folder: &Path, layout: &Layout) -> io::Result<Left> {
    let map = |name| MapData::from_pin(folder.join(name)).map_err(io::Error::other);
    let kept: Mapped<Layout> = Mapped::new(&map(abi::KEPT_LAYOUT)?)?;
    if kept.read(0) != Some(*layout) {
        return Err(io::Error::other("they are of other media addresses or ports"));
    }
    let table = FlowTable::new(&map(abi::FLOWS)?, &map(abi::RESTS)?)?;
    let hops: Mapped<HopSlot> = Mapped::new(&map(abi::HOPS)?)?;
    let mut left = Left::default();
    for slot in 0..table.slots() {
        let (Some(flow), Some(reading)) = (table.flow(slot), table.read(slot)) else { continue };
        let [generation, ..] = flow.epoch().to_le_bytes();
        let (source, count) = (reading.source, reading.count);
        left.flows.push(LeftFlow { slot, flow, generation, source, count });
        if let Some(hop) = hops.read(flow.hop()) {
            left.hops.push((flow.hop(), hop));
        }
    }
    Ok(left)
}
