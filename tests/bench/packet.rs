//! Nanoseconds per RTP packet in the kernel, by its own test run, against a bare
//! program that only returns.
//!
//! 100,000 flows are loaded. Those that are measured lead from one to the next: what
//! leaves by one is what comes in by another, so that repeating the run repeats the full
//! path (look-ups, checks, source, rewrite, checksums, counters) and to each flow every
//! packet is the next one of its stream. Bare and relay alternate in
//! rounds, so that whatever disturbs the machine disturbs both. The kernel
//! reports whole nanoseconds per packet; their mean over many runs is finer.
//! Warm caches are measured, by a ring of a few hundred flows: a packet that finds its flow
//! cold costs more. How much a ring of a million flows shows, of all addresses that there
//! may be, in random order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use aya::maps::{Array, Map, MapData};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use etherparse::PacketBuilder;
use harness::report::{Figure, Report};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use relay_ebpf::abi::{self, Address, End, FlowCount, Hop, HopSlot, Layout, Port};
use vizard::datapath::xdp::older::LeftFlow;
use vizard::datapath::xdp::table::FlowTable;
use vizard::datapath::xdp::{flow_body, load};
use vizard::datapath::{DatapathConfig, Mode};
use vizard::engine::flow::{Content, FlowOwner, FlowSpec, PayloadTypes, SourceRule};
use vizard::engine::ids::{LegName, SessionId};

const FLOWS: u32 = 100_000;
const ROUNDS: usize = 9;
/// Test runs of each program per round. A run that repeats waits for a grace
/// period of the kernel before it starts, so there are few.
const RUNS: u32 = 50;
/// Packets per test run, short and long: fewer than a time-to-live lasts, and together
/// a lap of the ring whose flows stay warm. Each run starts with cold caches, since the kernel slept before it; what the long
/// one takes beyond the short one is the cost of a packet once they are warm.
const SHORT: u32 = 50;
const LONG: u32 = 250;
/// What the relay may cost above a program that only returns.
const GOAL_NS: f64 = 60.0;
const XDP_TX: u32 = 3;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Where test runs come in: the loopback.
const INGRESS: u32 = 1;

fn main() -> Result<()> {
    let json = std::env::args().any(|argument| argument == "--json");
    if !harness::is_root() {
        bail!("this benchmark runs programs in the kernel and needs root (CAP_BPF and CAP_NET_ADMIN)");
    }
    let mut bench = Bench::new(&["192.0.2.10", "2001:db8::10"])?;
    let put = bench.fill()?;
    let [mut v4_ring, mut v6_ring] =
        [Ring::new(&mut bench, beyond_others(0))?, Ring::new(&mut bench, beyond_others(1))?];
    let mut all =
        Bench::new(&(1..=abi::MAX_ADDRESSES).map(|last| format!("192.0.2.{last}")).collect::<Vec<_>>())?;
    let mut all_ring = Ring::new(&mut all, shuffled())?;
    let mut bare = Vec::new();
    let [mut v4, mut v6, mut random] = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        if !json {
            eprintln!("round {} of {ROUNDS}", round + 1);
        }
        bare.push(bench.bare()?);
        v4.push(v4_ring.relay(&mut bench)?);
        v6.push(v6_ring.relay(&mut bench)?);
        random.push(all_ring.relay(&mut all)?);
    }
    let over = |relay: &[f64]| relay.iter().zip(&bare).map(|(relay, bare)| relay - bare).collect::<Vec<_>>();
    let figures = vec![
        Figure::median("packet.ns_over_bare", "ns", &over(&v4)).with_goal(GOAL_NS),
        Figure::median("packet.ns_over_bare_ipv6", "ns", &over(&v6)).with_goal(GOAL_NS),
        Figure::median("packet.ns_over_bare_1m", "ns", &over(&random)),
        Figure::median("packet.ns", "ns", &v4),
        Figure::median("packet.ns_ipv6", "ns", &v6),
        Figure::median("packet.bare_ns", "ns", &bare),
        Figure::median("packet.flow_put_ns", "ns", &[put]),
    ];
    Report::new("packet", figures).print(json);
    Ok(())
}

struct Bench {
    layout: Layout,
    table: FlowTable,
    config: DatapathConfig,
    object: aya::Ebpf,
}

impl Bench {
    fn new(addresses: &[impl AsRef<str>]) -> Result<Self> {
        let addresses: Result<_, _> = addresses.iter().map(|address| address.as_ref().parse()).collect();
        let config = DatapathConfig {
            mode: Mode::XdpNative,
            interfaces: Vec::new(),
            addresses: addresses?,
            ports: 0..=u16::MAX,
            guard: None,
            pin: None,
            discard_calls: false,
        };
        let layout = load::layout(&config)?;
        let mut object = load::load(&layout, false)?;
        let flows = array(&mut object, abi::FLOWS)?;
        let rests = array(&mut object, abi::RESTS)?;
        let table = FlowTable::new(&flows, &rests)?;
        let mut hops: Array<MapData, HopSlot> = Map::Array(array(&mut object, abi::HOPS)?).try_into()?;
        hops.set(0, HopSlot::known(1, Hop::new(INGRESS, 1500, MAC, MAC)), 0)?;
        load::bare_program(&mut object)?;
        Ok(Self { layout, table, config, object })
    }

    /// Puts all flows, half of them on each address; nanoseconds per flow.
    fn fill(&mut self) -> Result<f64> {
        let mut elapsed = 0.0;
        for index in 0..2_u32 {
            for port in 1..=u16::try_from(FLOWS / 2)? {
                let spec = self.itself(index, port);
                let slot = self.layout.slot(index, port).context("a media port")?;
                let began = Instant::now();
                self.table.put(slot, &flow_body(&spec, 0, slot), 0).context("a slot")?;
                elapsed += began.elapsed().as_secs_f64();
            }
        }
        Ok(elapsed * 1e9 / f64::from(FLOWS))
    }

    /// A flow that makes of its packets what they are.
    fn itself(&self, index: u32, port: u16) -> FlowSpec {
        let local = SocketAddr::new(self.config.addresses[index as usize], port);
        let peer = peer_of(local.ip());
        FlowSpec {
            owner: FlowOwner { session: SessionId::from_bits(1), leg: LegName::A },
            local,
            source: SourceRule { allowed: peer.ip().into(), generation: 0 },
            content: Content { clock_rate: 8_000, ..Content::rtp(PayloadTypes::default().with(0)) },
            send_from: peer,
            send_to: local,
            follow_learned: false,
            rtcp_apart: false,
            dscp: 0,
        }
    }

    /// Nanoseconds per packet of the bare program.
    fn bare(&mut self) -> Result<f64> {
        let local = self.config.addresses[0];
        let frame = frame(peer_of(local).ip(), local, 1, 0)?;
        let program = load::bare_program(&mut self.object)?;
        let mut total = 0.0;
        for _ in 0..RUNS {
            total += beyond(run(program, &frame, SHORT)?.1, run(program, &frame, LONG)?.1);
        }
        Ok(total / f64::from(RUNS))
    }
}

/// Flows each of which leads to the next one, and the last one to the first.
struct Ring {
    /// Where packets arrive: address and port.
    order: Vec<(u32, u16)>,
    /// How many packets went round so far.
    done: usize,
}

impl Ring {
    /// Puts its flows, as they are once packets have come.
    fn new(bench: &mut Bench, mut order: Vec<(u32, u16)>) -> Result<Self> {
        // Whole runs make a lap, so that within one all packets have one number.
        let run = (SHORT + LONG) as usize;
        order.truncate(order.len() / run * run);
        let mut count = FlowCount::default();
        (count.series.record.expected, count.series.highest) = (1, u16::MAX);
        for (here, &(index, port)) in order.iter().enumerate() {
            let (next, its_port) = order[(here + 1) % order.len()];
            let mut spec = bench.itself(index, port);
            spec.send_to = SocketAddr::new(bench.config.addresses[next as usize], its_port);
            let slot = bench.layout.slot(index, port).context("a media port")?;
            let flow = flow_body(&spec, 0, slot);
            let source = Some(end(spec.send_from));
            bench.table.carry(&LeftFlow { slot, flow, generation: 0, source, count });
        }
        Ok(Self { order, done: 0 })
    }

    /// Nanoseconds per packet.
    fn relay(&mut self, bench: &mut Bench) -> Result<f64> {
        let mut total = 0.0;
        for _ in 0..RUNS {
            let [short, long] = [SHORT, LONG].map(|repeat| self.run(bench, repeat));
            total += beyond(short?, long?);
        }
        Ok(total / f64::from(RUNS))
    }

    /// Nanoseconds per packet of one run.
    fn run(&mut self, bench: &mut Bench, repeat: u32) -> Result<f64> {
        let (index, port) = self.order[self.done % self.order.len()];
        let sequence = u16::try_from(self.done / self.order.len()).context("laps of a stream")?;
        self.done += repeat as usize;
        let local = bench.config.addresses[index as usize];
        let frame = frame(peer_of(local).ip(), local, port, sequence)?;
        let (action, nanoseconds) = run(load::program(&mut bench.object)?, &frame, repeat)?;
        ensure!(action == XDP_TX, "the relay did not forward: action {action}");
        Ok(nanoseconds)
    }
}

/// Ports of one address that no other flow has, as many as go round in one lap.
fn beyond_others(index: u32) -> Vec<(u32, u16)> {
    let ports = (1..u16::MAX).rev().take((SHORT + LONG) as usize);
    in_random_order(ports.map(|port| (index, port)).collect())
}

/// All ports of as many addresses as there can be.
fn shuffled() -> Vec<(u32, u16)> {
    let addresses = (0..).take(abi::MAX_ADDRESSES);
    in_random_order(addresses.flat_map(|index| (1..=u16::MAX).map(move |port| (index, port))).collect())
}

fn in_random_order(mut ports: Vec<(u32, u16)>) -> Vec<(u32, u16)> {
    ports.shuffle(&mut ChaCha8Rng::seed_from_u64(1));
    ports
}

/// Nanoseconds per packet once the caches are warm, of a short and a long run.
fn beyond(short: f64, long: f64) -> f64 {
    (long * f64::from(LONG) - short * f64::from(SHORT)) / f64::from(LONG - SHORT)
}

/// One test run: what the program returned for the last packet, and nanoseconds
/// per packet.
fn run(program: &Xdp, frame: &[u8], repeat: u32) -> Result<(u32, f64)> {
    let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() };
    let result = program.test_run(options)?;
    Ok((result.return_value, result.duration.as_secs_f64() * 1e9))
}

/// Who sends to a media address.
fn peer_of(local: IpAddr) -> SocketAddr {
    match local {
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::new(198, 51, 100, 1).into(), 4000),
        IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1).into(), 4000),
    }
}

fn end(address: SocketAddr) -> End {
    let ip = match address.ip() {
        IpAddr::V4(ip) => Address::v4(ip.octets()),
        IpAddr::V6(ip) => Address::v6(ip.octets()),
    };
    End { address: ip, port: Port::new(address.port()) }
}

/// An RTP packet of 20 ms of G.711.
fn frame(peer: IpAddr, local: IpAddr, port: u16, sequence: u16) -> Result<Vec<u8>> {
    let ethernet = PacketBuilder::ethernet2(MAC, MAC);
    let ip = match (peer, local) {
        (IpAddr::V4(peer), IpAddr::V4(local)) => ethernet.ipv4(peer.octets(), local.octets(), u8::MAX),
        (IpAddr::V6(peer), IpAddr::V6(local)) => ethernet.ipv6(peer.octets(), local.octets(), u8::MAX),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            bail!("{peer} and {local} never meet")
        }
    };
    let mut payload = [0_u8; 172];
    payload[0] = 0x80;
    payload[2..4].copy_from_slice(&sequence.to_be_bytes());
    let mut frame = Vec::new();
    ip.udp(4000, port).write(&mut frame, &payload)?;
    Ok(frame)
}

fn array(object: &mut aya::Ebpf, name: &str) -> Result<MapData> {
    match object.take_map(name) {
        Some(Map::Array(data)) => Ok(data),
        other => bail!("{name} is {other:?}"),
    }
}
