//! A datapath as the daemon opens it, between a customer and an agent in
//! namespaces of their own, with real sockets at both ends.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::programs::XdpMode;
use harness::namespace::{self, Peer, ip};
use harness::socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vizard::datapath::xdp::load;
use vizard::datapath::{self, Datapath, DatapathConfig, Mode};
use vizard::engine::flow::{Content, FlowOwner, FlowSpec, FlowStats, MediaPath, PayloadTypes, SourceRule};
use vizard::engine::ids::{LegName, SessionId};
use vizard::engine::io::Datagram;

pub(crate) const PORTS: std::ops::RangeInclusive<u16> = 20_000..=20_099;
/// How long something that must happen may take, and how long nothing is waited for.
const SOON: Duration = Duration::from_secs(5);

/// Who stands on which side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Customer,
    Agent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// A datapath and its two peers.
pub(crate) struct Rig {
    pub(crate) datapath: Box<dyn Datapath>,
    pub(crate) customer: Peer,
    pub(crate) agent: Peer,
    _receivers: [Ebpf; 2],
}

/// Two flows, one each way, and the far ends' sockets.
pub(crate) struct Call {
    pub(crate) there: FlowSpec,
    pub(crate) back: FlowSpec,
    pub(crate) customer: UdpSocket,
    pub(crate) agent: UdpSocket,
}

/// Runs a case over a datapath of this mode, unless privileged tests are to be
/// skipped.
pub(crate) fn on(mode: Mode, case: impl FnOnce(&mut Rig)) {
    if namespace::enter_own().unwrap() {
        let (customer, agent) = peers();
        case(&mut Rig::open(mode, customer, agent));
    }
}

/// A customer and an agent, each with two addresses of each family.
pub(crate) fn peers() -> (Peer, Peer) {
    let customer = Peer::new(
        "a",
        &["192.0.2.10/24", "2001:db8:a::10/64"],
        &["192.0.2.1/24", "192.0.2.2/24", "2001:db8:a::1/64", "2001:db8:a::2/64"],
    );
    let agent = Peer::new(
        "b",
        &["198.51.100.10/24", "2001:db8:b::10/64"],
        &["198.51.100.1/24", "198.51.100.2/24", "2001:db8:b::1/64", "2001:db8:b::2/64"],
    );
    (customer.unwrap(), agent.unwrap())
}

pub(crate) fn config(mode: Mode) -> DatapathConfig {
    let addresses = ["192.0.2.10", "198.51.100.10", "2001:db8:a::10", "2001:db8:b::10"];
    DatapathConfig {
        mode,
        interfaces: Vec::new(),
        addresses: addresses.map(|text| text.parse().unwrap()).to_vec(),
        ports: PORTS,
        pin: None,
        discard_calls: false,
        guard: None,
    }
}

impl Rig {
    fn open(mode: Mode, customer: Peer, agent: Peer) -> Self {
        let receivers = [receive_transmitted(&customer), receive_transmitted(&agent)];
        // Who is where is known beforehand, so that every packet counts from the first.
        for (peer, side) in [(&customer, Side::Customer), (&agent, Side::Agent)] {
            let mac = peer.inside(|| mac(&peer.inner)).unwrap();
            for family in [Family::V4, Family::V6] {
                for host in [1, 2] {
                    let address = far(side, family, host);
                    ip(&format!("neighbour replace {address} lladdr {mac} dev {} nud permanent", peer.outer))
                        .unwrap();
                }
            }
        }
        let datapath = datapath::open(&config(mode)).unwrap_or_else(|error| panic!("{error}"));
        let wanted = match mode {
            Mode::Auto | Mode::XdpNative => MediaPath::XdpNative,
            Mode::XdpGeneric => MediaPath::XdpGeneric,
            Mode::Sockets => MediaPath::Sockets,
        };
        assert_eq!(datapath.choice().path, wanted, "{}", datapath.choice());
        Self { datapath, customer, agent, _receivers: receivers }
    }

    /// Whether packets are dropped before any socket of this host hears of them.
    pub(crate) fn in_the_kernel(&self) -> bool {
        match self.datapath.choice().path {
            MediaPath::XdpNative | MediaPath::XdpGeneric => true,
            MediaPath::Sockets => false,
        }
    }

    /// A peer's socket.
    pub(crate) fn socket(&self, side: Side, address: SocketAddr) -> UdpSocket {
        let peer = match side {
            Side::Customer => &self.customer,
            Side::Agent => &self.agent,
        };
        let socket = peer.socket(address).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 4 << 20).unwrap();
        socket
    }

    /// A call of plain audio between the peers' first addresses, its flows in place.
    pub(crate) fn call(&mut self, customer: Family, agent: Family) -> Call {
        let port = *PORTS.start();
        let (near, far_end) = (far(Side::Customer, customer, 1), far(Side::Agent, agent, 1));
        let (near, far_end) = (SocketAddr::new(near, 4000), SocketAddr::new(far_end, 5004));
        let (in_here, out_there) = (
            SocketAddr::new(ours(Side::Customer, customer), port),
            SocketAddr::new(ours(Side::Agent, agent), port),
        );
        let call = Call {
            there: flow(LegName::A, in_here, near.ip(), out_there, far_end),
            back: flow(LegName::B, out_there, far_end.ip(), in_here, near),
            customer: self.socket(Side::Customer, near),
            agent: self.socket(Side::Agent, far_end),
        };
        self.put(&call.there);
        self.put(&call.back);
        call
    }

    /// Puts a flow, which binds its port where the path is a socket's.
    pub(crate) fn put(&mut self, flow: &FlowSpec) {
        let put = socket::once_free(
            || self.datapath.put(flow),
            |error| error.to_string().contains("it is in use by"),
        );
        put.unwrap_or_else(|error| panic!("{error}"));
    }

    /// The STUN that comes next.
    pub(crate) fn asked(&mut self) -> Datagram {
        let watched = PollFd::from_borrowed_fd(self.datapath.stun_descriptor(), PollFlags::IN);
        let soon = Timespec { tv_sec: SOON.as_secs().cast_signed(), tv_nsec: 0 };
        assert_eq!(poll(&mut [watched], Some(&soon)), Ok(1), "{:?}", counted(&*self.datapath));
        let mut asked = Vec::new();
        self.datapath.take_stun(&mut |datagram| asked.push(datagram));
        assert_eq!(asked.len(), 1);
        asked.remove(0)
    }

    pub(crate) fn stats(&self, flow: &FlowSpec) -> FlowStats {
        self.datapath.stats(flow.local).expect("a flow")
    }

    /// Packets that got this verdict so far.
    pub(crate) fn verdict(&self, name: &str) -> u64 {
        let verdicts = self.datapath.verdicts();
        verdicts.iter().find(|count| count.verdict == name).expect("such a verdict").packets
    }

    /// Sends a packet that a flow must refuse, by this verdict.
    pub(crate) fn refused(&self, sender: &UdpSocket, flow: &FlowSpec, payload: &[u8], verdict: &str) {
        let (before, refused) = (self.verdict(verdict), self.stats(flow).refused_packets);
        sender.send_to(payload, flow.local).unwrap();
        self.settles(verdict, || self.verdict(verdict) == before + 1);
        self.settles("the flow's count", || self.stats(flow).refused_packets == refused + 1);
    }

    /// Waits until something is so.
    pub(crate) fn settles(&self, what: &str, so: impl Fn() -> bool) {
        let give_up = Instant::now() + SOON;
        while !so() {
            assert!(Instant::now() < give_up, "{what}: {:?}", counted(&*self.datapath));
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A peer's address.
pub(crate) fn far(side: Side, family: Family, host: u8) -> IpAddr {
    let text = match (side, family) {
        (Side::Customer, Family::V4) => format!("192.0.2.{host}"),
        (Side::Customer, Family::V6) => format!("2001:db8:a::{host}"),
        (Side::Agent, Family::V4) => format!("198.51.100.{host}"),
        (Side::Agent, Family::V6) => format!("2001:db8:b::{host}"),
    };
    text.parse().unwrap()
}

/// Our address towards a side.
pub(crate) fn ours(side: Side, family: Family) -> IpAddr {
    far(side, family, 10)
}

/// A flow of audio (payload types 0, 8 and 101).
pub(crate) fn flow(
    leg: LegName,
    local: SocketAddr,
    from: IpAddr,
    send_from: SocketAddr,
    send_to: SocketAddr,
) -> FlowSpec {
    FlowSpec {
        owner: FlowOwner { session: SessionId::from_bits(7), leg },
        local,
        source: SourceRule { allowed: from.into(), generation: 0 },
        content: Content::rtp(PayloadTypes::from_iter([0, 8, 101])),
        send_from,
        send_to,
        follow_learned: false,
        rtcp_apart: false,
        dscp: 46,
    }
}

/// RTP of this payload type, its number in the sequence and in the payload.
pub(crate) fn rtp(payload_type: u8, number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let mut bytes = vec![0x80, payload_type, high, low, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef];
    bytes.extend((0..160_u8).map(|sample| sample.wrapping_mul(37)));
    bytes
}

/// An RTCP receiver report without blocks.
pub(crate) fn rtcp() -> Vec<u8> {
    vec![0x80, 201, 0, 1, 0xde, 0xad, 0xbe, 0xef]
}

/// What arrives next: from where, and the bytes.
pub(crate) fn receive(socket: &UdpSocket) -> (SocketAddr, Vec<u8>) {
    receive_within(socket, SOON).expect("a packet")
}

/// What arrives within this time.
pub(crate) fn receive_within(socket: &UdpSocket, time: Duration) -> Option<(SocketAddr, Vec<u8>)> {
    socket.set_read_timeout(Some(time)).unwrap();
    let mut buffer = [0; 2048];
    let (length, from) = socket.recv_from(&mut buffer).ok()?;
    Some((from, buffer[..length].to_vec()))
}

/// Nothing arrives.
pub(crate) fn assert_silent(socket: &UdpSocket) {
    let heard = receive_within(socket, Duration::from_millis(200));
    assert!(heard.is_none(), "from {:?}", heard.map(|(from, _)| from));
}

fn counted(datapath: &dyn Datapath) -> Vec<(String, u64)> {
    let verdicts = datapath.verdicts().into_iter().filter(|count| count.packets > 0);
    verdicts.map(|count| (count.verdict, count.packets)).collect()
}

/// What XDP transmits on the pair that it came from is only delivered to an end
/// with a program.
fn receive_transmitted(peer: &Peer) -> Ebpf {
    let attach = || {
        let mut object = load::load(&load::layout(&config(Mode::XdpNative)).unwrap(), false).unwrap();
        load::bare_program(&mut object).unwrap().attach(&peer.inner, XdpMode::Driver).unwrap();
        object
    };
    peer.inside(attach).unwrap()
}

fn mac(interface: &str) -> String {
    let link = harness::process::output(
        std::process::Command::new("ip").args(["-json", "link", "show", "dev", interface]),
    );
    let link: serde_json::Value = serde_json::from_str(&link.unwrap()).unwrap();
    link[0]["address"].as_str().unwrap().to_owned()
}
