//! An upgrade over another layout of the maps: a made-up version before the
//! first, with ten words per flow, whose flows go on under today's program.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{Map, MapData};
use aya::programs::XdpMode;
use aya::programs::links::FdLink;
use harness::namespace::Peer;
use relay_ebpf::abi::{self, Address, End, FlowCount, Hop, HopSlot, Layout, Port};
use vizard::datapath::xdp::load::{self, Hook};
use vizard::datapath::xdp::older::{Left, LeftFlow, Older};
use vizard::datapath::xdp::table::Mapped;
use vizard::datapath::xdp::{XdpDatapath, flow_body};
use vizard::datapath::{Datapath, DatapathConfig, DatapathError, Mode};

use crate::frames::rtp;
use crate::wire::{config, peers, put, relayed, socket};
use crate::world::{enter_own_namespace, flow, ip};

/// A BPF file system, unmounted when dropped.
struct Bpffs(tempfile::TempDir);

impl Bpffs {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(folder.path()).status().unwrap();
        assert!(mounted.success());
        Self(folder)
    }

    fn pins(&self) -> PathBuf {
        self.0.path().join("vizard")
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// What version 0 knows of a flow: slot and 1, packets, bytes, the learned IPv4
/// source and its port, interface, and both MAC addresses of the way.
type Record = [u64; 8];

/// What version 0 still counts while the program is switched.
static LATE: AtomicU64 = AtomicU64::new(0);

fn read_version_0(folder: &Path, layout: &Layout) -> io::Result<Left> {
    let map = MapData::from_pin(folder.join("FLOWS")).map_err(io::Error::other)?;
    let words: Mapped<u64> = Mapped::new(&map)?;
    let mut left = Left::default();
    for index in 0..2 {
        let record: Record = std::array::from_fn(|word| words.read(index * 8 + word as u32).unwrap());
        let [slot, packets, bytes, ip, port, interface, ours, theirs] = record;
        let slot = slot as u32 - 1;
        assert!(slot < layout.slots());
        let hop = Hop::new(interface as u32, 1500, mac_of(ours), mac_of(theirs));
        left.hops.push((index, HopSlot::known(1, hop)));
        let source = End { address: Address::v4((ip as u32).to_be_bytes()), port: Port::new(port as u16) };
        let late = LATE.load(Ordering::Relaxed);
        let mut count = FlowCount::default();
        (count.packets, count.bytes) = (packets + late, bytes + late * 172);
        let flow = flow_body(&flows()[index as usize], index, 0);
        left.flows.push(LeftFlow { slot, flow, generation: 0, source: Some(source), count });
    }
    LATE.store(7, Ordering::Relaxed);
    Ok(left)
}

fn flows() -> [vizard::engine::flow::FlowSpec; 2] {
    [
        flow("192.0.2.10:20000", "192.0.2.1/32", "198.51.100.10:20000", "198.51.100.1:5004"),
        flow("192.0.2.10:20002", "192.0.2.1/32", "198.51.100.10:20002", "198.51.100.1:5006"),
    ]
}

fn mac_of(word: u64) -> [u8; 6] {
    let [_, _, mac @ ..] = word.to_be_bytes();
    mac
}

/// The MAC address of an interface, in a word.
fn mac(arguments: &[&str]) -> u64 {
    let shown = Command::new("ip").args(arguments).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let text = shown.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap().replace(':', "");
    u64::from_str_radix(&text, 16).unwrap()
}

/// Leaves what version 0 would: pinned links of a program of its own, and maps.
fn leave_version_0(pins: &Path, layout: &Layout, a: &Peer, b: &Peer) {
    let mut object = load::load(layout, false).unwrap();
    let Some(Map::Array(map)) = object.take_map(abi::GUARD_HITS) else { panic!("an array of words") };
    fs::create_dir_all(pins.join("abi-0")).unwrap();
    fs::create_dir_all(pins.join("links")).unwrap();
    map.pin(pins.join("abi-0/FLOWS")).unwrap();
    let words: Mapped<u64> = Mapped::new(&map).unwrap();
    let name = std::ffi::CString::new(b.outer.as_str()).unwrap();
    // SAFETY: a C string.
    let interface = unsafe { libc::if_nametoindex(name.as_ptr()) };
    let ours = mac(&["-o", "link", "show", "dev", &b.outer]);
    let theirs = mac(&["-n", &b.name, "-o", "link", "show", "dev", &b.inner]);
    let ip = u64::from(u32::from_be_bytes([192, 0, 2, 1]));
    for (index, port) in [(0, 4000), (1, 4002)] {
        let slot = u64::from(layout.slot(0, 20_000 + 2 * index as u16).unwrap()) + 1;
        let record: Record = [slot, 1000, 172_000, ip, port, interface.into(), ours, theirs];
        record.iter().enumerate().for_each(|(word, value)| words.write(index * 8 + word as u32, *value));
    }
    let bare = load::bare_program(&mut object).unwrap();
    for peer in [a, b] {
        let id = bare.attach(&peer.outer, XdpMode::Driver).unwrap();
        let link = FdLink::try_from(bare.take_link(id).unwrap()).unwrap();
        link.pin(pins.join("links").join(format!("native-{}", peer.outer))).unwrap();
    }
}

fn open(config: &DatapathConfig, readers: &[Older]) -> Result<XdpDatapath, DatapathError> {
    XdpDatapath::open_reading(config, Hook::Native, "a test".to_owned(), readers)
}

#[test]
fn flows_of_another_layout_are_carried_over() {
    if !enter_own_namespace() {
        return;
    }
    let (a, b) = peers();
    let bpffs = Bpffs::mount();
    let config = DatapathConfig { pin: Some(bpffs.pins()), ..config(Mode::XdpNative) };
    let layout = load::layout(&config).unwrap();
    leave_version_0(&bpffs.pins(), &layout, &a, &b);

    // Who cannot read them leaves them alone.
    match open(&config, &[]) {
        Err(DatapathError::Held(problem)) => assert!(problem.contains("--discard-calls"), "{problem}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("calls were cut without a word"),
    }

    let reader = Older { version: 0, read: read_version_0 };
    let mut datapath = open(&config, &[reader]).unwrap_or_else(|error| panic!("{error}"));
    assert!(!bpffs.pins().join("abi-0").exists(), "the maps of before are gone");
    let [first, second] = flows();
    let carried = datapath.stats(first.local).expect("the flow goes on");
    assert_eq!(carried.learned, Some("192.0.2.1:4000".parse().unwrap()));
    assert_eq!((carried.forwarded.packets, carried.forwarded.bytes), (1007, 1007 * 172));

    // Before the engine has said a word: the learned source is relayed, another is not.
    ip(&format!("neighbour replace 198.51.100.1 lladdr {} dev {} nud reachable", lladdr(&b), b.outer));
    let (customer, impostor) = (socket(&a, "192.0.2.1:4000"), socket(&a, "192.0.2.1:4001"));
    let agent = socket(&b, "198.51.100.1:5004");
    relayed(&customer, "192.0.2.10:20000", &agent);
    impostor.send_to(&rtp(0), "192.0.2.10:20000").unwrap();
    assert!(agent.recv_from(&mut [0; 2048]).is_err(), "a second source");

    put(&mut datapath, &first);
    assert_eq!(datapath.sweep(), [second.local], "the flow that no call claims");
    assert_eq!(datapath.stats(second.local), None);
    relayed(&customer, "192.0.2.10:20000", &agent);
    let after = datapath.stats(first.local).unwrap();
    assert_eq!(after.learned, carried.learned);
    assert!(after.forwarded.packets >= 1009 && after.refused_packets == 1, "{after:?}");

    drop(datapath);
    assert!(fs::read_dir(bpffs.pins()).unwrap().next().is_none(), "an end in good order leaves no pins");
}

#[test]
fn flows_that_nobody_can_read_are_cut_on_demand_alone() {
    if !enter_own_namespace() {
        return;
    }
    let (a, b) = peers();
    let bpffs = Bpffs::mount();
    let config = DatapathConfig { pin: Some(bpffs.pins()), discard_calls: true, ..config(Mode::XdpNative) };
    leave_version_0(&bpffs.pins(), &load::layout(&config).unwrap(), &a, &b);
    let datapath = open(&config, &[]).unwrap_or_else(|error| panic!("{error}"));
    assert!(!bpffs.pins().join("abi-0").exists());
    assert_eq!(datapath.stats(flows()[0].local), None);
}

fn lladdr(peer: &Peer) -> String {
    let word = mac(&["-n", &peer.name, "-o", "link", "show", "dev", &peer.inner]);
    mac_of(word).map(|byte| format!("{byte:02x}")).join(":")
}
