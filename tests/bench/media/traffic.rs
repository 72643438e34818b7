//! Drives the measuring programs: a generator that holds a rate, a sink that counts.
//!
//! The generator runs on the first processor, with the softirq work that its
//! frames cause on their way; whoever relays has the second one.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, MapData, PerCpuArray, PerCpuValues};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use relay_ebpf::traffic::{self, Arrivals, FRAME, Plan, Progress, STEP_NS, STEPS, Shot};

/// The programs, as `build.rs` made them; empty when the build skipped them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/traffic"));

/// Frames that the kernel hands over at a time.
const BATCH: u32 = 64;
/// Runs of the generator's program per system call, whose setting up takes
/// longer than some hundred frames.
const RUNS: u32 = 2_000_000;
/// How long frames may be under way; what comes later was too much.
const DRAIN: Duration = Duration::from_millis(5);
/// How often it is looked whether some still come.
const LOOKS: u32 = 200;

/// Where frames come from, go to, and which MAC addresses they have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) source_mac: [u8; 6],
    pub(crate) destination_mac: [u8; 6],
    /// The generator's interface.
    pub(crate) interface: u32,
}

/// What one run of the generator came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) sent: u64,
    pub(crate) right: u64,
    pub(crate) wrong: u64,
    /// Frames sent per second.
    pub(crate) rate: f64,
}

impl Run {
    /// The part of the frames that did not arrive.
    pub(crate) fn loss(&self) -> f64 {
        self.lost() as f64 / self.sent.max(1) as f64
    }

    /// Frames that did not arrive.
    pub(crate) fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.right)
    }
}

/// How many frames leave back to back before the generator looks at the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Burst {
    /// One: evenly spaced.
    Short,
    /// As many as the kernel takes at a time: the clock costs nothing.
    Long,
}

impl Burst {
    const fn frames(self) -> u32 {
        match self {
            Self::Short => 1,
            Self::Long => BATCH,
        }
    }
}

/// Which of a pair of programs: with or without the time in each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Off,
    On,
}

/// The loaded programs.
pub(crate) struct Traffic {
    object: Ebpf,
    plan: Array<MapData, Plan>,
    shots: Array<MapData, Shot>,
    progress: Array<MapData, Progress>,
    arrivals: PerCpuArray<MapData, Arrivals>,
    latencies: PerCpuArray<MapData, u64>,
    frame: Vec<u8>,
    head: [u64; 8],
    interface: u32,
    aimed: u32,
    sink: Option<XdpLink>,
}

impl Traffic {
    /// Loads the programs; frames take this route.
    pub(crate) fn load(route: &Route) -> Result<Self> {
        ensure!(!OBJECT.is_empty(), "this benchmark was built without its programs (AYA_BUILD_SKIP was set)");
        let mut object = EbpfLoader::new().load(OBJECT).context("loading the measuring programs")?;
        for (_, program) in object.programs_mut() {
            let program: &mut Xdp = program.try_into()?;
            program.load()?;
        }
        let mut map = |name: &str| object.take_map(name).with_context(|| format!("there is no map {name}"));
        let frame = template(route);
        let mut head = [0; 8];
        for (word, bytes) in head.iter_mut().zip(frame.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into()?);
        }
        Ok(Self {
            plan: map(traffic::PLAN)?.try_into()?,
            shots: map(traffic::SHOTS)?.try_into()?,
            progress: map(traffic::PROGRESS)?.try_into()?,
            arrivals: map(traffic::ARRIVALS)?.try_into()?,
            latencies: map(traffic::LATENCIES)?.try_into()?,
            object,
            frame,
            head,
            interface: route.interface,
            aimed: 0,
            sink: None,
        })
    }

    /// One of the programs.
    pub(crate) fn program(&mut self, name: &str) -> Result<&mut Xdp> {
        let program = self.object.program_mut(name).with_context(|| format!("there is no program {name}"))?;
        Ok(program.try_into()?)
    }

    /// Attaches a program to an interface of the calling thread's namespace, for
    /// as long as the link lives.
    pub(crate) fn attach(&mut self, name: &str, interface: u32) -> Result<XdpLink> {
        let program = self.program(name)?;
        let id = program.attach_to_if_index(interface, XdpMode::Driver)?;
        Ok(program.take_link(id)?)
    }

    /// Attaches one of the sinks instead of the other, likewise.
    pub(crate) fn attach_sink(&mut self, clock: Clock, interface: u32) -> Result<()> {
        let name = match clock {
            Clock::Off => traffic::SINK,
            Clock::On => traffic::SINK_TIMED,
        };
        self.sink = None;
        self.sink = Some(self.attach(name, interface)?);
        Ok(())
    }

    /// The maps' owner, for those who fill in one themselves.
    pub(crate) fn object(&mut self) -> &mut Ebpf {
        &mut self.object
    }

    /// Sends one frame after the other as `shots` says, from now on.
    pub(crate) fn aim(&mut self, shots: &[Shot]) -> Result<()> {
        for (index, shot) in (0..).zip(shots) {
            self.shots.set(index, shot, 0)?;
        }
        self.aimed = u32::try_from(shots.len())?;
        let Progress { sequence, .. } = self.progress.get(&0, 0)?;
        self.progress.set(0, Progress { sequence: sequence + 1, ..Progress::default() }, 0)?;
        Ok(())
    }

    /// How many shots there are.
    pub(crate) fn aimed(&self) -> u32 {
        self.aimed
    }

    /// Sends at `rate` frames per second in bursts, for about as long as `time`;
    /// within the generator's namespace, on the first processor.
    pub(crate) fn run(&mut self, clock: Clock, rate: f64, burst: Burst, time: Duration) -> Result<Run> {
        let burst = burst.frames();
        let frames = (rate * time.as_secs_f64()) as u64;
        let interval = f64::from(burst) * 1e9 * 1024.0 / rate;
        let plan = Plan {
            head: self.head,
            interface: self.interface,
            shots: self.aimed,
            burst,
            interval: interval.round() as u32,
            frames,
        };
        self.plan.set(0, plan, 0)?;
        // Every flow's stream goes on where it was.
        let Progress { sequence, shot, .. } = self.progress.get(&0, 0)?;
        self.progress.set(0, Progress { sequence, shot, ..Progress::default() }, 0)?;
        let arrived = self.arrived()?;
        let name = match clock {
            Clock::Off => traffic::GENERATE,
            Clock::On => traffic::GENERATE_TIMED,
        };
        let began = Instant::now();
        let mut done;
        loop {
            self.fire(name, RUNS)?;
            done = self.progress.get(&0, 0)?;
            if done.sent >= frames || began.elapsed() > time {
                break;
            }
        }
        let took = done.ended.saturating_sub(done.began).max(1);
        std::thread::sleep(DRAIN);
        let now = self.arrived()?;
        self.wait_until_quiet(now)?;
        Ok(Run {
            sent: done.sent,
            right: now.right - arrived.right,
            wrong: now.wrong - arrived.wrong,
            rate: done.sent.saturating_sub(u64::from(burst)) as f64 * 1e9 / took as f64,
        })
    }

    /// Has whoever was overrun catch up, so that the next run is its own.
    fn wait_until_quiet(&self, mut seen: Arrivals) -> Result<()> {
        for _ in 0..LOOKS {
            std::thread::sleep(DRAIN);
            let now = self.arrived()?;
            if now == seen {
                break;
            }
            seen = now;
        }
        Ok(())
    }

    /// Forgets all latencies.
    pub(crate) fn clear_latencies(&mut self) -> Result<()> {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        for step in 0..STEPS {
            self.latencies.set(step, PerCpuValues::try_from(vec![0; cpus])?, 0)?;
        }
        Ok(())
    }

    /// How many nanoseconds this part of all frames took at most.
    pub(crate) fn latency(&self, part: f64) -> Result<f64> {
        let steps = (0..STEPS)
            .map(|step| Ok(self.latencies.get(&step, 0)?.iter().sum()))
            .collect::<Result<Vec<u64>>>()?;
        let wanted = steps.iter().sum::<u64>() as f64 * part;
        let mut seen = 0.0;
        for (step, frames) in (1..).zip(steps) {
            seen += frames as f64;
            if seen >= wanted {
                return Ok(f64::from(step) * STEP_NS as f64);
            }
        }
        Ok(0.0)
    }

    fn fire(&mut self, name: &str, runs: u32) -> Result<()> {
        let frame = std::mem::take(&mut self.frame);
        let options = TestRunOptions {
            data_in: Some(&frame),
            repeat: runs,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        };
        let outcome = self.program(name).map(|program| program.test_run(options));
        self.frame = frame;
        outcome?.context("sending live frames (needs Linux 5.18)")?;
        Ok(())
    }

    fn arrived(&self) -> Result<Arrivals> {
        let cpus = self.arrivals.get(&0, 0)?;
        Ok(cpus.iter().fold(Arrivals::default(), |sum, cpu| Arrivals {
            right: sum.right + cpu.right,
            wrong: sum.wrong + cpu.wrong,
        }))
    }
}

/// A frame without what differs between frames, its checksum the sum of the
/// rest (RFC 1071, not yet complemented).
fn template(route: &Route) -> Vec<u8> {
    let mut frame = vec![0; FRAME];
    frame[0..6].copy_from_slice(&route.destination_mac);
    frame[6..12].copy_from_slice(&route.source_mac);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let length = u16::try_from(FRAME - 14).unwrap_or_default();
    let udp = length - 20;
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&length.to_be_bytes());
    frame[20..24].copy_from_slice(&[0x40, 0, 64, 17]);
    frame[26..30].copy_from_slice(&route.source.octets());
    frame[30..34].copy_from_slice(&route.destination.octets());
    let header = !folded(sum(&frame[14..34]));
    frame[24..26].copy_from_slice(&header.to_ne_bytes());
    frame[38..40].copy_from_slice(&udp.to_be_bytes());
    frame[42] = 0x80;
    frame[50..54].copy_from_slice(b"vzrd");
    let pseudo = sum(&frame[26..34]) + u32::from(17_u16.to_be()) + u32::from(udp.to_be());
    let all = folded(pseudo + sum(&frame[34..]));
    frame[40..42].copy_from_slice(&all.to_ne_bytes());
    frame
}

/// The sum of pairs of bytes as they stand in memory.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|pair| u32::from(u16::from_ne_bytes([pair[0], pair[1]]))).sum()
}

fn folded(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    u16::try_from(sum & 0xffff).unwrap_or_default()
}
