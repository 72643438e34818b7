//! The kernel's own tables, asked for a way while ours is unknown: each of its
//! answers has a verdict.

use relay_ebpf::verdict::Verdict;

use crate::frames::{datagram, rtp};
use crate::world::{UNKNOWN, World, flow, ip, sysctl, world};

/// A destination and what the tables of [`lay`] say of it.
const ANSWERS: &[(&str, Verdict)] = &[
    ("10.1.0.9", Verdict::FibRedirected),
    ("10.2.0.9", Verdict::FibTransmitted),
    ("10.1.0.77", Verdict::FibNoNeighbour),
    ("10.4.0.1", Verdict::FibBlackhole),
    ("10.5.0.1", Verdict::FibUnreachable),
    ("10.6.0.1", Verdict::FibProhibited),
    ("10.7.0.1", Verdict::FibTunnel),
    ("10.1.0.1", Verdict::FibNotForwarded),
    ("10.3.0.1", Verdict::ExceedsMtu),
    ("10.8.0.9", Verdict::NoDevice),
    ("fd01::9", Verdict::FibRedirected),
    ("fd01::77", Verdict::FibNoNeighbour),
    ("fd04::1", Verdict::FibBlackhole),
    ("fd06::1", Verdict::FibProhibited),
];

pub(crate) fn lay() {
    for command in [
        "link set data-a up",
        "link set data-b up",
        "address add 10.1.0.1/24 dev data-a",
        "neighbour add 10.1.0.9 lladdr 02:00:00:00:00:0b dev data-a nud permanent",
        "route add 10.2.0.0/24 dev lo",
        "neighbour add 10.2.0.9 lladdr 02:00:00:00:00:0b dev lo nud permanent",
        "route add 10.3.0.0/24 via 10.1.0.9 mtu lock 100",
        "route add blackhole 10.4.0.0/24",
        "route add unreachable 10.5.0.0/24",
        "route add prohibit 10.6.0.0/24",
        "route add 10.7.0.0/24 encap ip id 1 dst 10.1.0.9 dev data-a",
        "route add 10.8.0.0/24 dev data-b",
        "neighbour add 10.8.0.9 lladdr 02:00:00:00:00:0b dev data-b nud permanent",
        "address add fd01::1/64 dev data-a nodad",
        "neighbour add fd01::9 lladdr 02:00:00:00:00:0b dev data-a nud permanent",
        "route add blackhole fd04::/64",
        "route add prohibit fd06::/64",
    ] {
        ip(command);
    }
}

pub(crate) fn forwarding(value: &str) {
    for family in ["ipv4", "ipv6"] {
        sysctl(&format!("net/{family}/conf/all/forwarding"), value);
        sysctl(&format!("net/{family}/conf/lo/forwarding"), value);
    }
}

fn send(world: &mut World, to: &str) -> crate::world::Outcome {
    let v6 = to.contains(':');
    let (from, local, out) = if v6 {
        ("[2001:db8:1::1]:4000", "[2001:db8::10]:20030", "[2001:db8::10]:20032")
    } else {
        ("198.51.100.1:4000", "192.0.2.10:20030", "192.0.2.10:20032")
    };
    let to = if v6 { format!("[{to}]:5004") } else { format!("{to}:5004") };
    let allowed = if v6 { "2001:db8:1::/64" } else { "198.51.100.0/24" };
    world.put(&flow(local, allowed, out, &to), UNKNOWN);
    world.run(&datagram(from, local, rtp(0)).build())
}

/// Lays routes and sends a packet to each; the verdicts that were reached.
pub(crate) fn reach_all(world: &mut World) -> Vec<Verdict> {
    lay();
    forwarding("0");
    for to in ["10.1.0.9", "fd01::9"] {
        assert_eq!(send(world, to).verdict, Verdict::FibForwardingOff, "to {to}");
    }
    forwarding("1");
    for (to, expected) in ANSWERS {
        assert_eq!(send(world, to).verdict, *expected, "to {to}");
    }
    ANSWERS.iter().map(|(_, verdict)| *verdict).chain([Verdict::FibForwardingOff]).collect()
}

#[test]
fn the_neighbour_that_the_kernel_knows_gets_the_packet() {
    let Some(mut world) = world() else { return };
    lay();
    forwarding("1");
    for to in ["10.1.0.9", "fd01::9"] {
        let outcome = send(&mut world, to);
        assert_eq!(outcome.verdict, Verdict::FibRedirected);
        assert_eq!(outcome.bytes[..6], [0x02, 0, 0, 0, 0, 0x0b]);
    }
}
