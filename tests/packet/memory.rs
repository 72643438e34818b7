//! What the maps are said to take is what the kernel says that they take.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::maps::{Map, MapData};
use relay_ebpf::abi::{MAX_RULES, map_bytes};
use vizard::datapath::xdp::load;
use vizard::datapath::{DatapathConfig, Mode};

use crate::world::{address, enter_own_namespace};

/// What the kernel keeps beside a map's elements: its description, and whole pages.
const SLACK: u64 = 128 * 1024;

/// The kernel counts rules that are there; ours is of as many as there may be.
const RULES: u64 = MAX_RULES as u64 * 2 * 96;

#[test]
fn maps_take_what_is_said_of_them() {
    if !enter_own_namespace() {
        return;
    }
    let cpus = aya::util::nr_cpus().expect("possible CPUs") as u64;
    for ports in [20_000..=20_099, 20_000..=39_999] {
        let config = DatapathConfig {
            mode: Mode::XdpNative,
            interfaces: Vec::new(),
            addresses: vec![address("192.0.2.10"), address("2001:db8::10")],
            ports,
            guard: None,
            pin: None,
            discard_calls: false,
        };
        let layout = load::layout(&config).expect("a layout");
        let object = load::load(&layout, false).expect("the program loads");
        let taken: u64 = object.maps().map(|(_, map)| locked(data(map).fd().as_fd())).sum();
        let said = map_bytes(layout.slots().into(), cpus);
        // Before Linux 6.4, the kernel says what elements and keys take, and not all of that.
        let whole = kernel_since(6, 4);
        assert!(
            taken <= said + SLACK && (!whole || said <= taken + RULES + SLACK),
            "{} slots: {taken} bytes taken, {said} said",
            layout.slots()
        );
    }
}

fn kernel_since(major: u32, minor: u32) -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_str().expect("a version");
    let mut numbers = release.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

fn locked(map: BorrowedFd<'_>) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", map.as_raw_fd());
    let text = std::fs::read_to_string(&path).expect("what the kernel tells of a map");
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:")).expect("its memory");
    line.trim().parse().expect("a number")
}

fn data(map: &Map) -> &MapData {
    match map {
        Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::DevMap(data)
        | Map::DevMapHash(data)
        | Map::RingBuf(data) => data,
        other => panic!("a map of another kind: {other:?}"),
    }
}
