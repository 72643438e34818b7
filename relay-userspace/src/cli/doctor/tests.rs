//! Each verdict from made-up facts; the probe's parsers on real texts; and the
//! real machine, whatever it is.

use std::ops::RangeInclusive;

use super::checks::{self, Finding, Verdict};
use super::facts::{Details, Facts, Interface, Known, Role, SipPort, Wanted};
use super::{probe, report};
use crate::cli::exit::Exit;
use crate::daemon::inspect::Inspection;
use crate::datapath::{Mode, PathChoice};
use crate::engine::flow::MediaPath;
use crate::engine::privacy::Epoch;
use crate::engine::sip::transport::Transport;
use crate::net::tls::Certified;

const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

fn unseen<T>() -> Known<T> {
    Err("/proc is not mounted".to_owned())
}

/// A machine that has everything.
fn good() -> (Facts, Wanted) {
    let details = Details {
        up: Ok(true),
        driver: Ok("ice".to_owned()),
        queues: Ok(8),
        mtu: Ok(1500),
        hashes_ports: Ok(true),
        lro: Ok(false),
        gro: Ok(true),
        strips_vlan: Ok(false),
        transmit_checksum: Ok(true),
        reverse_path_filter: Ok(2),
    };
    let facts = Facts {
        kernel: Ok("6.12.9-amd64".to_owned()),
        btf: Ok(true),
        capabilities: Ok(ALL_CAPABILITIES),
        bpffs: Ok(true),
        jit: Ok(1),
        ephemeral: Ok(32_768..=60_999),
        reserved: Ok(vec![]),
        receive_buffer: Ok(8 << 20),
        memory: Ok(8 << 30),
        clock_synchronised: Ok(true),
        media: vec![("192.0.2.10".parse().unwrap(), true)],
        sip: vec![((Transport::Udp, "192.0.2.10:5060".parse().unwrap()), SipPort::Free)],
        interfaces: vec![Interface { name: "eth0".to_owned(), role: Role::Untagged, details: Ok(details) }],
    };
    let wanted = Wanted {
        mode: Mode::XdpNative,
        map_bytes: 5 << 20,
        ports: 20_000..=29_999,
        media: vec!["192.0.2.10".parse().unwrap()],
        listen: vec![(Transport::Udp, "192.0.2.10:5060".parse().unwrap())],
    };
    (facts, wanted)
}

/// What is not ok, as `verdict check`.
fn complaints(findings: &[Finding]) -> Vec<String> {
    let bad = findings.iter().filter(|finding| finding.verdict != Verdict::Ok);
    bad.map(|finding| {
        assert!(!finding.remedy.is_empty() && !finding.found.is_empty(), "{finding:?}");
        format!("{} {}", finding.verdict.as_str(), finding.check)
    })
    .collect()
}

#[test]
fn a_good_machine_has_no_complaints() {
    let (facts, wanted) = good();
    assert_eq!(complaints(&checks::all(&facts, &wanted)), [] as [&str; 0]);
}

/// One fact is spoilt; the verdicts for a demand of XDP, for automatic choice,
/// and for sockets.
fn spoilt(spoil: impl Fn(&mut Facts, &mut Details)) -> [Vec<String>; 3] {
    [Mode::XdpNative, Mode::Auto, Mode::Sockets].map(|mode| {
        let (mut facts, wanted) = good();
        let mut details = facts.interfaces[0].details.clone().unwrap();
        spoil(&mut facts, &mut details);
        if let Some(interface) = facts.interfaces.first_mut() {
            interface.details = Ok(details);
        }
        complaints(&checks::all(&facts, &Wanted { mode, ..wanted }))
    })
}

#[test]
fn what_xdp_lacks_fails_where_xdp_is_demanded_and_warns_where_it_is_not() {
    let by_mode = |check: &str| [vec![format!("FAIL {check}")], vec![format!("warn {check}")], vec![]];
    assert_eq!(spoilt(|facts, _| facts.kernel = Ok("5.10.0-21".to_owned())), by_mode("kernel"));
    assert_eq!(spoilt(|facts, _| facts.capabilities = Ok(1 << 12)), by_mode("privileges"));
    assert_eq!(spoilt(|facts, _| facts.interfaces.clear()), by_mode("interfaces"));
    assert_eq!(spoilt(|_, details| details.driver = Ok("e1000e".to_owned())), by_mode("driver"));
    assert_eq!(spoilt(|_, details| details.mtu = Ok(9000)), by_mode("MTU"));
    assert_eq!(spoilt(|_, details| details.lro = Ok(true)), by_mode("LRO"));
}

#[test]
fn what_only_slows_or_surprises_warns() {
    let soft = |check: &str| [vec![format!("warn {check}")], vec![format!("warn {check}")], vec![]];
    assert_eq!(spoilt(|facts, _| facts.btf = Ok(false)), soft("BTF"));
    assert_eq!(spoilt(|facts, _| facts.jit = Ok(0)), soft("BPF JIT"));
    assert_eq!(spoilt(|facts, _| facts.bpffs = Ok(false)), soft("bpffs"));
    assert_eq!(spoilt(|_, details| details.strips_vlan = Ok(true)), soft("VLAN offload"));
    assert_eq!(spoilt(|_, details| details.driver = Ok("veth".to_owned())), soft("veth checksums"));

    let always = |check: &str| [(); 3].map(|()| vec![format!("warn {check}")]);
    assert_eq!(spoilt(|facts, _| facts.ephemeral = Ok(29_000..=60_999)), always("ephemeral ports"));
    assert_eq!(spoilt(|facts, _| facts.clock_synchronised = Ok(false)), always("clock"));
    assert_eq!(spoilt(|_, details| details.hashes_ports = Ok(false)), always("UDP hashing"));
    assert_eq!(spoilt(|_, details| details.reverse_path_filter = Ok(1)), always("rp_filter"));
    assert_eq!(spoilt(|_, details| details.mtu = Ok(1000)), always("MTU"));
}

#[test]
fn what_breaks_every_call_fails_in_every_mode() {
    let always = |check: &str| [(); 3].map(|()| vec![format!("FAIL {check}")]);
    let blocked = SipPort::Blocked("it is in use by kamailio (pid 7)".to_owned());
    assert_eq!(spoilt(|facts, _| facts.sip[0].1 = blocked.clone()), always("SIP port"));
    assert_eq!(spoilt(|facts, _| facts.media[0].1 = false), always("media address"));
    assert_eq!(spoilt(|_, details| details.up = Ok(false)), always("link"));
    let (mut facts, wanted) = good();
    facts.interfaces[0].details = Err("there is no such interface".to_owned());
    assert_eq!(complaints(&checks::all(&facts, &wanted)), ["FAIL interface"]);
}

/// What is dropped for want of its tag is lost in every mode of XDP, and what a VLAN
/// does not have itself is not held against it.
#[test]
fn a_vlan_wants_its_tags_seen() {
    let (mut facts, mut wanted) = good();
    let physical = facts.interfaces[0].details.clone().unwrap();
    let vlan = Details { driver: Ok("802.1Q VLAN Support".to_owned()), queues: Ok(1), ..physical.clone() };
    let stripping = Details { strips_vlan: Ok(true), ..physical };
    facts.interfaces = vec![
        Interface { name: "eth0.100".to_owned(), role: Role::Vlan, details: Ok(vlan) },
        Interface { name: "eth0".to_owned(), role: Role::UnderVlan, details: Ok(stripping) },
    ];
    for mode in [Mode::XdpNative, Mode::XdpGeneric, Mode::Auto] {
        wanted.mode = mode;
        assert_eq!(complaints(&checks::all(&facts, &wanted)), ["FAIL VLAN offload"]);
    }
    wanted.mode = Mode::Sockets;
    assert!(complaints(&checks::all(&facts, &wanted)).is_empty());
}

#[test]
fn what_cannot_be_seen_is_unknown_and_says_why() {
    let seen = spoilt(|facts, details| {
        facts.kernel = unseen();
        facts.capabilities = unseen();
        facts.clock_synchronised = unseen();
        details.queues = unseen();
    });
    for complaints in seen {
        let expected = ["unknown kernel", "unknown privileges", "unknown clock", "unknown UDP hashing"];
        assert_eq!(complaints, expected);
    }
    let finding = checks::kernel(&unseen(), Mode::Auto);
    assert_eq!(finding.found, "/proc is not mounted");
}

#[test]
fn reserved_ports_answer_the_overlap() {
    let check = |reserved: Vec<RangeInclusive<u16>>| {
        checks::ephemeral_ports(&(30_000..=39_999), &Ok(32_768..=60_999), &Ok(reserved)).verdict
    };
    assert_eq!(check(vec![]), Verdict::Warn);
    assert_eq!(check(vec![30_000..=39_998]), Verdict::Warn, "one port is missing");
    assert_eq!(check(vec![30_000..=35_000, 35_001..=39_999]), Verdict::Ok);
}

#[test]
fn maps_fit_what_there_is_or_fail() {
    let check = |needed: u64| checks::memory(&Ok(300 << 20), needed << 20).verdict;
    assert_eq!([check(0), check(150), check(151)], [Verdict::Ok, Verdict::Ok, Verdict::Warn]);
    assert_eq!([check(300), check(301)], [Verdict::Warn, Verdict::Fail]);
    assert_eq!(checks::memory(&unseen(), 1).verdict, Verdict::Unknown);
}

#[test]
fn a_small_buffer_matters_only_to_who_may_not_exceed_it() {
    let check = |capabilities| checks::receive_buffer(&Ok(212_992), &Ok(capabilities)).verdict;
    assert_eq!((check(0), check(1 << 12)), (Verdict::Warn, Verdict::Ok));
}

#[test]
fn sys_admin_stands_for_the_capabilities_split_from_it() {
    let check = |capabilities| checks::privileges(&Ok(capabilities), Mode::XdpNative).verdict;
    assert_eq!(check(1 << 12 | 1 << 21), Verdict::Ok);
    assert_eq!(check(1 << 21), Verdict::Fail);
    assert_eq!(check(1 << 12 | 1 << 38 | 1 << 39), Verdict::Ok);
}

#[test]
fn the_kernels_texts_are_read() {
    assert_eq!(probe::port_range("32768\t60999"), Ok(32_768..=60_999));
    assert!(probe::port_range("").is_err());
    assert_eq!(probe::port_list(""), Ok(vec![]));
    assert_eq!(probe::port_list("8080,9000-9100"), Ok(vec![8080..=8080, 9000..=9100]));
    assert!(probe::port_list("many").is_err());
    assert!(probe::has_bpffs("proc /proc proc rw 0 0\nbpf /sys/fs/bpf bpf rw,nosuid 0 0\n"));
    assert!(probe::is_vlan("DEVTYPE=vlan\nINTERFACE=eth0.100\nIFINDEX=7\n"));
    assert!(!probe::is_vlan("DEVTYPE=bridge\nINTERFACE=vlan\n"));
    assert!(!probe::has_bpffs("tmpfs /sys/fs/bpf tmpfs rw 0 0\n"));
}

#[test]
fn a_failure_decides_the_exit_code() {
    let (mut facts, wanted) = good();
    assert_eq!(report(&checks::all(&facts, &wanted)).unwrap().exit, Exit::Ok);
    facts.clock_synchronised = Ok(false);
    assert_eq!(report(&checks::all(&facts, &wanted)).unwrap().exit, Exit::Ok, "a warning");
    facts.media[0].1 = false;
    let report = report(&checks::all(&facts, &wanted)).unwrap();
    assert_eq!(report.exit, Exit::Failure);
    assert_eq!((report.json["failures"].as_u64(), report.json["warnings"].as_u64()), (Some(1), Some(1)));
}

#[test]
fn loopback_can_be_looked_at_by_anybody() {
    let wanted = Wanted {
        mode: Mode::Sockets,
        map_bytes: 0,
        ports: 20_000..=29_999,
        media: vec!["127.0.0.9".parse().unwrap(), "192.0.2.254".parse().unwrap()],
        listen: vec![],
    };
    let facts = probe::gather(&wanted, &["lo".to_owned(), "no-such-device".to_owned()]);
    let here: Vec<bool> = facts.media.iter().map(|&(_, here)| here).collect();
    assert_eq!(here, [true, false]);
    let lo = facts.interfaces[0].details.as_ref().unwrap();
    assert_eq!(lo.lro, Ok(false), "the ethtool ioctl answers");
    assert!(facts.interfaces[1].details.is_err());

    // A socket in the way is named.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = Wanted { listen: vec![(Transport::Udp, socket.local_addr().unwrap())], ..wanted };
    let facts = probe::gather(&taken, &["lo".to_owned()]);
    let pid = format!("pid {}", std::process::id());
    assert!(matches!(&facts.sip[0].1, SipPort::Blocked(why) if why.contains(&pid)), "{:?}", facts.sip);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = Wanted { listen: vec![(Transport::Tls, listener.local_addr().unwrap())], ..taken };
    let facts = probe::gather(&taken, &["lo".to_owned()]);
    assert!(matches!(&facts.sip[0].1, SipPort::Blocked(why) if why.contains(&pid)), "{:?}", facts.sip);
}

#[test]
fn a_certificate_is_judged_before_it_ends() {
    const DAY: u64 = 86_400;
    let now = 1_800_000_000;
    let judged = |from: u64, until: u64, names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        checks::certificate("/x/tls.crt".as_ref(), &Ok(Certified { names, from, until }), now)
    };
    let name = ["sip.example"];
    let good = judged(now - DAY, now + 90 * DAY, &name);
    assert_eq!((good.verdict, good.found.as_str()), (Verdict::Ok, "for sip.example, valid for 90 days"));
    assert_eq!(judged(now - DAY, now + 29 * DAY, &name).verdict, Verdict::Warn);
    assert_eq!(judged(now - DAY, now + 90 * DAY, &[]).verdict, Verdict::Warn, "it names nobody");
    assert_eq!(judged(now - 9 * DAY, now - 2 * DAY, &name).found, "it expired 2 days ago");
    assert_eq!(judged(now + DAY, now + 9 * DAY, &name).verdict, Verdict::Fail, "not valid yet");
    let broken = checks::certificate("/x/tls.crt".as_ref(), &Err("it holds no key".to_owned()), now);
    assert_eq!((broken.verdict, broken.found.as_str()), (Verdict::Fail, "it holds no key"));
}

#[test]
fn a_slower_path_than_there_could_be_is_a_warning() {
    let on = |path, mode| {
        let choice = PathChoice { path, reason: "because".to_owned(), interfaces: Vec::new() };
        checks::running(&choice, mode)
    };
    for path in [MediaPath::XdpGeneric, MediaPath::Sockets] {
        let finding = on(path, Mode::Auto);
        assert_eq!(finding.verdict, Verdict::Warn);
        assert_eq!(finding.found, format!("{} (because)", path.as_str()));
        assert_eq!(on(path, Mode::Sockets).verdict, Verdict::Ok, "it was asked for");
    }
    assert_eq!(on(MediaPath::XdpNative, Mode::Auto).verdict, Verdict::Ok);
}

#[test]
fn keys_that_do_not_fit_fail() {
    let path = std::path::Path::new("/x/vault.keys");
    let found = |opens, anchor| Inspection { newest: Epoch(3), opens, anchor };
    assert_eq!(checks::keys(path, &found(Some(()), Ok(None))).verdict, Verdict::Ok);
    let bad = checks::no_keys("it does not belong to this store".into());
    assert_eq!((bad.verdict, bad.found.as_str()), (Verdict::Fail, "it does not belong to this store"));
    let anchor = |opens, anchor| checks::anchor(path, &found(opens, anchor)).verdict;
    assert_eq!(anchor(None, Ok(None)), Verdict::Ok, "nothing has been noted yet");
    assert_eq!(anchor(Some(()), Ok(None)), Verdict::Warn);
    assert_eq!(anchor(Some(()), Ok(Some(12))), Verdict::Ok);
    assert_eq!(anchor(Some(()), Err("it is another log's".into())), Verdict::Fail);
}
