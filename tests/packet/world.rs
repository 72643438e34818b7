//! The loaded program, its maps, and a verdict for each packet.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::Arc;

use aya::Ebpf;
use aya::maps::{Array, DevMapHash, HashMap, IterableMap, LpmTrie, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::{TestRun, TestRunOptions};
use relay_ebpf::abi::{self, Address, Attachment, FlowSlot, GuardRule, Hop, HopSlot, Layout, Phase, Tag};
use relay_ebpf::verdict::{Action, Verdict};
use vizard::datapath::xdp::table::{FlowTable, Mapped, Reading};
use vizard::datapath::xdp::{flow_body, load};
use vizard::datapath::{DatapathConfig, Mode};
use vizard::engine::flow::{Content, FlowOwner, FlowSpec, PayloadTypes, SourceRule};
use vizard::engine::ids::{LegName, SessionId};

/// Where media arrives.
pub(crate) const LOCAL_V4: &str = "192.0.2.10";
pub(crate) const LOCAL_V6: &str = "2001:db8::10";
pub(crate) const FIRST_PORT: u16 = 20_000;
pub(crate) const LAST_PORT: u16 = 20_099;
/// The MAC addresses of the test's next hop.
pub(crate) const OUR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];
pub(crate) const NEXT_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0b];
/// Hop slots: back out of the loopback, on which test runs come in; out of
/// another interface; not resolved; out of an interface that is not ours.
pub(crate) const BACK: u32 = 0;
pub(crate) const ACROSS: u32 = 1;
pub(crate) const UNKNOWN: u32 = 2;
pub(crate) const FOREIGN: u32 = 3;
pub(crate) const NARROW: u32 = 4;
/// A hop slot for tests to write.
pub(crate) const FREE: u32 = 5;
pub(crate) const NARROW_MTU: u16 = 100;

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) bytes: Vec<u8>,
}

/// One program in a network namespace of this thread's own.
pub(crate) struct World {
    pub(crate) layout: Layout,
    pub(crate) table: FlowTable,
    pub(crate) flows: Array<MapData, FlowSlot>,
    hops: Array<MapData, HopSlot>,
    verdicts: PerCpuArray<MapData, u64>,
    pub(crate) guard_v4: LpmTrie<MapData, [u8; 4], GuardRule>,
    pub(crate) guard_v6: LpmTrie<MapData, [u8; 16], GuardRule>,
    pub(crate) guard_hits: Array<MapData, u64>,
    pub(crate) tap: RingBuf<MapData>,
    pub(crate) tap_lost: Array<MapData, u64>,
    arrivals: HashMap<MapData, Attachment, u32>,
    pub(crate) vlans: HashMap<MapData, u32, Attachment>,
    program: Ebpf,
}

/// Gives this thread a network namespace of its own; `false` when privileged
/// tests are to be skipped.
pub(crate) fn enter_own_namespace() -> bool {
    harness::namespace::enter_own().expect("a network namespace")
}

/// A world, or `None` when privileged tests are to be skipped.
pub(crate) fn world() -> Option<World> {
    open(false, false)
}

/// A world whose program reports what it learns, as with debug logging.
pub(crate) fn reporting_world() -> Option<World> {
    open(false, true)
}

/// A world where a media interface has VLAN tags; [`World::arrive`] says which.
pub(crate) fn world_of_vlans() -> Option<World> {
    open(true, false)
}

fn open(vlans: bool, log: bool) -> Option<World> {
    if !enter_own_namespace() {
        return None;
    }
    ip("link add data-a type veth peer name data-b");
    let config = DatapathConfig {
        mode: Mode::XdpNative,
        interfaces: Vec::new(),
        addresses: vec![address(LOCAL_V4), address(LOCAL_V6)],
        ports: FIRST_PORT..=LAST_PORT,
        guard: None,
        pin: None,
        discard_calls: false,
    };
    let layout = load::layout(&config).expect("a layout");
    let mut program =
        load::load_guarding(&layout, &crate::guard::sockets(), vlans, log).expect("the program loads");
    let flows = array(&mut program, abi::FLOWS);
    let rests = array(&mut program, abi::RESTS);
    let table = FlowTable::new(&flows, &rests).expect("maps can be mapped");
    let hops = array(&mut program, abi::HOPS);
    let verdicts = program.take_map(abi::VERDICTS).expect("a map of verdicts");
    let guard_v4 = program.take_map(abi::GUARD_V4).expect("a trie");
    let guard_v6 = program.take_map(abi::GUARD_V6).expect("a trie");
    let guard_hits = array(&mut program, abi::GUARD_HITS);
    let tap = program.take_map(abi::TAP).expect("a ring");
    let tap_lost = array(&mut program, abi::TAP_LOST);
    let arrivals = program.take_map(abi::ARRIVALS).expect("a hash");
    let vlans = program.take_map(abi::VLANS).expect("a hash");
    let mut world = World {
        layout,
        table,
        flows: Map::Array(flows).try_into().expect("an array"),
        hops: Map::Array(hops).try_into().expect("an array"),
        verdicts: verdicts.try_into().expect("a per-CPU array"),
        guard_v4: guard_v4.try_into().expect("a trie"),
        guard_v6: guard_v6.try_into().expect("a trie"),
        guard_hits: Map::Array(guard_hits).try_into().expect("an array"),
        tap: tap.try_into().expect("a ring"),
        tap_lost: Map::Array(tap_lost).try_into().expect("an array"),
        arrivals: arrivals.try_into().expect("a hash"),
        vlans: vlans.try_into().expect("a hash"),
        program,
    };
    world.add_hops();
    Some(world)
}

impl World {
    fn add_hops(&mut self) {
        let other = index_of("data-a");
        let foreign = index_of("data-b");
        for (slot, interface, mtu) in
            [(BACK, 1, 1500), (ACROSS, other, 1500), (FOREIGN, foreign, 1500), (NARROW, 1, NARROW_MTU)]
        {
            let hop = HopSlot::known(1, Hop::new(interface, mtu, OUR_MAC, NEXT_MAC));
            self.hops.set(slot, hop, 0).expect("a hop");
        }
        let devices = self.program.map_mut(abi::DEVICES).expect("a device map");
        let mut devices = DevMapHash::try_from(devices).expect("a device map");
        for interface in [1, other] {
            devices.insert(interface, interface, None, 0).expect("a device");
        }
    }

    /// Has media arrive on the loopback under these tags, as on another interface.
    pub(crate) fn arrive(&mut self, tags: [Tag; 2], interface: u32) {
        self.arrivals.insert(Attachment { interface: 1, tags }, interface, 0).expect("room");
    }

    /// Writes a hop slot.
    pub(crate) fn set_hop(&mut self, slot: u32, hop: Hop) {
        self.hops.set(slot, HopSlot::known(1, hop), 0).expect("a hop");
    }

    /// Puts a flow whose packets leave by a hop slot.
    pub(crate) fn put(&mut self, flow: &FlowSpec, hop: u32) {
        let opposite = self.slot(flow.send_from);
        let body = flow_body(flow, hop, opposite);
        let slot = self.slot(flow.local);
        self.table.put(slot, &body, flow.source.generation).expect("a slot");
    }

    pub(crate) fn read(&self, local: SocketAddr) -> Reading {
        self.table.read(self.slot(local)).expect("a flow")
    }

    /// The slot of a local address.
    pub(crate) fn slot(&self, local: SocketAddr) -> u32 {
        self.layout.slot(u32::from(local.is_ipv6()), local.port()).expect("a media address and port")
    }

    /// Runs the program once on a frame. Exactly one verdict must be counted,
    /// and what the program returned must be that verdict's action.
    pub(crate) fn run(&mut self, frame: &[u8]) -> Outcome {
        let before = self.counters();
        let mut out = vec![0; frame.len() + 64];
        let program = load::program(&mut self.program).expect("the program");
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ..TestRunOptions::default()
            })
            .expect("a test run");
        out.truncate(result.data_size_out as usize);
        let counted: Vec<Verdict> = Verdict::ALL
            .iter()
            .copied()
            .zip(before.iter().zip(self.counters()))
            .flat_map(|(verdict, (before, after))| std::iter::repeat_n(verdict, (after - before) as usize))
            .collect();
        let [verdict] = counted[..] else { panic!("one packet was counted as {counted:?}") };
        let action = match result.return_value {
            1 => Action::Drop,
            2 => Action::Pass,
            3 => Action::Transmit,
            4 => Action::Redirect,
            other => panic!("{verdict:?} returned {other}"),
        };
        assert_eq!(action, verdict.action(), "{verdict:?}");
        if matches!(action, Action::Pass) {
            assert_eq!(out, frame, "{verdict:?} changed a packet that it passed");
        }
        Outcome { verdict, bytes: out }
    }

    fn counters(&self) -> Vec<u64> {
        Verdict::ALL
            .iter()
            .map(|verdict| self.verdicts.get(&verdict.index(), 0).expect("a counter").iter().sum())
            .collect()
    }

    /// Makes it look as if another CPU were learning the source right now.
    pub(crate) fn claim(&mut self, local: SocketAddr) {
        let slot = self.slot(local);
        let mut flow = self.flows.get(&slot, 0).expect("a slot");
        let epoch = flow.head.epoch();
        flow.heard.word = Phase::Claimed.word(epoch);
        self.flows.set(slot, flow, 0).expect("a slot");
    }

    /// Makes it look as if the live body had been overtaken by two updates.
    pub(crate) fn overtake(&mut self, local: SocketAddr) {
        let slot = self.slot(local);
        let flow = self.flows.get(&slot, 0).expect("a slot");
        self.flows.set(slot, overtaken(flow), 0).expect("a slot");
    }

    /// Makes it look so, and again as if it had not, in quick succession while `run` runs.
    pub(crate) fn overtake_meanwhile(&mut self, local: SocketAddr, run: impl FnOnce(&mut Self)) {
        let slot = self.slot(local);
        let flows = Mapped::<FlowSlot>::new(self.flows.map()).expect("a map that can be mapped");
        let whole = flows.read(slot).expect("a slot");
        std::thread::scope(|scope| {
            // Dropped even where `run` panics.
            let running = Arc::new(());
            let watched = Arc::downgrade(&running);
            scope.spawn(move || {
                while watched.strong_count() > 0 {
                    flows.write(slot, overtaken(whole));
                    flows.write(slot, whole);
                }
            });
            run(self);
            drop(running);
        });
    }
}

/// A flow whose live body was overtaken by two updates.
fn overtaken(flow: FlowSlot) -> FlowSlot {
    assert_eq!(flow.state & 1, 0, "a flow that was never changed");
    FlowSlot { head: flow.head.published_as(flow.head.sequence() + 2, flow.head.epoch()), ..flow }
}

fn array(program: &mut Ebpf, name: &str) -> MapData {
    match program.take_map(name) {
        Some(Map::Array(data)) => data,
        other => panic!("{name} is {other:?}"),
    }
}

/// A flow between media ports: from anybody in `allowed`, to `send_to`.
pub(crate) fn flow(local: &str, allowed: &str, send_from: &str, send_to: &str) -> FlowSpec {
    FlowSpec {
        owner: FlowOwner { session: SessionId::from_bits(7), leg: LegName::A },
        local: local.parse().expect("an address"),
        source: SourceRule { allowed: allowed.parse().expect("a network"), generation: 0 },
        content: Content::rtp(PayloadTypes::from_iter([0, 8, 101])),
        send_from: send_from.parse().expect("an address"),
        send_to: send_to.parse().expect("an address"),
        follow_learned: false,
        rtcp_apart: false,
        dscp: 46,
    }
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn wire(address: &str) -> Address {
    match self::address(address) {
        IpAddr::V4(address) => Address::v4(address.octets()),
        IpAddr::V6(address) => Address::v6(address.octets()),
    }
}

/// Runs `ip` in this thread's namespace.
pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("ip (iproute2)");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Sets a kernel parameter in this thread's namespace.
pub(crate) fn sysctl(name: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{name}"), value).unwrap_or_else(|error| panic!("{name}: {error}"));
}

pub(crate) fn index_of(interface: &str) -> u32 {
    rustix::net::netdevice::name_to_index(
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
            .expect("a socket"),
        interface,
    )
    .expect("an interface")
}
