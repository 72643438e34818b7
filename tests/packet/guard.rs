//! The guard of the signalling sockets: what it drops, what it leaves alone, and
//! that nothing gets round it.

use std::net::IpAddr;

use aya::maps::lpm_trie::Key;
use ipnet::IpNet;
use relay_ebpf::abi::{Address, Family, Guard, GuardRule, Treatment};
use relay_ebpf::bucket::Rate;
use relay_ebpf::verdict::Verdict;

use crate::frames::{Datagram, datagram, rtp, tagged};
use crate::world::{LOCAL_V4, LOCAL_V6, World, flow, wire, world};

/// So slow that no bucket fills while a test runs.
const BURST: usize = 3;
const SIP_V4: &str = "192.0.2.10:5060";
const SIP_V6: &str = "[2001:db8::10]:5060";
/// An address without media; its port is guarded on every address.
const ELSEWHERE: &str = "192.0.2.99:5070";

/// What every world here guards.
pub(crate) fn sockets() -> Guard {
    let any_v4: Option<Address> = None;
    Guard::new(Rate::per_second(1, BURST as u32), 7)
        .with(Some(wire(LOCAL_V4)), Family::V4, 5060)
        .and_then(|guard| guard.with(Some(wire(LOCAL_V6)), Family::V6, 5060))
        .and_then(|guard| guard.with(any_v4, Family::V4, 5070))
        .expect("room for three")
}

impl World {
    fn rule(&mut self, net: &str, treatment: Treatment, hits: u32) {
        let rule = GuardRule::new(treatment, hits);
        match net.parse().expect("a network") {
            IpNet::V4(net) => {
                self.guard_v4.insert(&Key::new(net.prefix_len().into(), net.addr().octets()), rule, 0)
            }
            IpNet::V6(net) => {
                self.guard_v6.insert(&Key::new(net.prefix_len().into(), net.addr().octets()), rule, 0)
            }
        }
        .expect("a rule");
    }

    fn hits(&self, index: u32) -> u64 {
        self.guard_hits.get(&index, 0).expect("a count")
    }
}

/// A SIP message from a host; the guard does not read it.
fn sip(from: &str, to: &str) -> Datagram {
    let from = match from.parse().expect("an address") {
        IpAddr::V4(from) => format!("{from}:5060"),
        IpAddr::V6(from) => format!("[{from}]:5060"),
    };
    datagram(&from, to, b"OPTIONS sip:x SIP/2.0\r\n\r\n".to_vec())
}

/// How often a frame passes when it comes so many times.
fn passes(world: &mut World, frame: &[u8], times: usize) -> usize {
    (0..times)
        .filter(|_| match world.run(frame).verdict {
            Verdict::GuardLimited => false,
            Verdict::NotOurPort
            | Verdict::NotOurAddress
            | Verdict::IpOptions
            | Verdict::Fragment
            | Verdict::Ipv6Extension
            | Verdict::NotUnicast => true,
            other => panic!("{other:?}"),
        })
        .count()
}

/// The guard's verdicts, for the test that wants to see them all.
pub(crate) fn reach_all(world: &mut World) -> [Verdict; 2] {
    world.rule("100.64.1.0/24", Treatment::Deny, 0);
    let denied = world.run(&sip("100.64.1.1", SIP_V4).build()).verdict;
    let flood = sip("100.64.2.1", SIP_V4).build();
    let limited = (0..=BURST).map(|_| world.run(&flood).verdict).last().expect("a verdict");
    [denied, limited]
}

#[test]
fn a_source_gets_its_burst_and_no_more() {
    let Some(mut world) = world() else { return };
    for (from, to) in [
        ("203.0.113.1", SIP_V4),
        ("203.0.113.2", SIP_V4),
        ("203.0.113.3", ELSEWHERE),
        ("2001:db8:1::1", SIP_V6),
    ] {
        assert_eq!(passes(&mut world, &sip(from, to).build(), 10), BURST, "{from}");
    }
    let neighbour = sip("2001:db8:1::2", SIP_V6).build();
    assert_eq!(passes(&mut world, &neighbour, 1), 0, "one network of 64 bits is one source");
    assert_eq!(passes(&mut world, &sip("2001:db8:1:1::1", SIP_V6).build(), 10), BURST);
}

#[test]
fn nothing_gets_round_the_limit() {
    let Some(mut world) = world() else { return };
    let plain = |from| sip(from, SIP_V4).build();
    let mut options = plain("203.0.113.1");
    options[14] = 0x46;
    options.splice(34..34, [1, 1, 1, 0]);
    let total = u16::from_be_bytes([options[16], options[17]]) + 4;
    options[16..18].copy_from_slice(&total.to_be_bytes());
    let mut fragment = plain("203.0.113.2");
    fragment[20] = 0x20;
    let mut broadcast = plain("203.0.113.3");
    broadcast[..6].fill(0xff);
    let v6 = sip("2001:db8:1::1", SIP_V6).build();
    let first = |offset: u8| [&v6[..54], &[17, 0, offset, 1, 0, 0, 0, 9], &v6[54..]].concat();
    let mut fragment_v6 = first(0);
    fragment_v6[20] = 44;
    for frame in [
        options,
        fragment,
        broadcast,
        fragment_v6,
        tagged(&plain("203.0.113.4"), 7),
        tagged(&tagged(&plain("203.0.113.5"), 7), 8),
    ] {
        assert_eq!(passes(&mut world, &frame, 10), BURST, "{frame:x?}");
    }
}

#[test]
fn what_is_not_for_a_signalling_socket_is_left_alone() {
    let Some(mut world) = world() else { return };
    world.rule("100.64.0.0/10", Treatment::Deny, 0);
    let tcp = {
        let mut frame = sip("100.64.0.1", SIP_V4).build();
        frame[23] = 6;
        frame
    };
    assert_eq!(world.run(&tcp).verdict, Verdict::NotUdp);
    for (from, to) in [("100.64.0.1", "192.0.2.10:53"), ("100.64.0.1", "192.0.2.99:5060")] {
        assert_eq!(passes(&mut world, &sip(from, to).build(), 10), 10, "{to}");
    }
    // Later pieces may be for anybody on this host.
    let mut piece = sip("203.0.113.1", SIP_V4).build();
    piece[21] = 0x10;
    assert_eq!(passes(&mut world, &piece, 10), 10);
    let mut denied = sip("100.64.0.1", SIP_V4).build();
    denied[21] = 0x10;
    assert_eq!(world.run(&denied).verdict, Verdict::GuardDenied);
}

#[test]
fn media_of_a_denied_source_flows_on() {
    let Some(mut world) = world() else { return };
    world.rule("198.51.100.0/24", Treatment::Deny, 0);
    world.put(
        &flow("192.0.2.10:20000", "198.51.100.0/24", "192.0.2.10:20002", "203.0.113.9:5004"),
        crate::world::BACK,
    );
    let media = datagram("198.51.100.1:4000", "192.0.2.10:20000", rtp(0)).build();
    for _ in 0..10 {
        assert_eq!(world.run(&media).verdict, Verdict::Transmitted);
    }
    assert_eq!(world.hits(0), 0);
}

#[test]
fn the_narrowest_network_decides_and_counts() {
    let Some(mut world) = world() else { return };
    world.rule("203.0.0.0/8", Treatment::Deny, 1);
    world.rule("203.0.113.0/24", Treatment::Exempt, 2);
    world.rule("203.0.113.77/32", Treatment::Deny, 3);
    world.rule("203.0.113.128/25", Treatment::Limit, 4);
    world.rule("2001:db8::/32", Treatment::Deny, 5);
    world.rule("2001:db8:7::/48", Treatment::Exempt, 6);
    let mut run = |from: &str, to| world.run(&sip(from, to).build()).verdict;
    assert_eq!(run("203.1.1.1", SIP_V4), Verdict::GuardDenied);
    assert_eq!(run("203.0.113.77", SIP_V4), Verdict::GuardDenied);
    assert_eq!(run("2001:db8:8::1", SIP_V6), Verdict::GuardDenied);
    let exempt = sip("203.0.113.1", SIP_V4).build();
    assert_eq!(passes(&mut world, &exempt, 20), 20);
    assert_eq!(passes(&mut world, &sip("2001:db8:7::1", SIP_V6).build(), 20), 20);
    assert_eq!(passes(&mut world, &sip("203.0.113.200", SIP_V4).build(), 10), BURST);
    assert_eq!([1, 2, 3, 4, 5, 6].map(|index| world.hits(index)), [1, 20, 1, 10, 1, 20]);
}
