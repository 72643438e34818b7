use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::engine::config::{Media, MediaAddress, Patience, Permissions};
use crate::engine::flow::{Content, PayloadTypes};
use crate::engine::ids::LegName;
use crate::engine::sip::sdp::{Description, Rules};
use crate::engine::time::Instant;

fn media() -> Media {
    let address = |last| MediaAddress {
        name: format!("m{last}"),
        local: IpAddr::from([10, 0, 0, last]),
        advertised: IpAddr::from([192, 0, 2, last]),
    };
    Media {
        addresses: vec![address(1), address(2)],
        ports: 40_000..=40_099,
        quarantine: Duration::from_secs(1),
        dscp: 46,
        patience: Patience::default(),
        permissions: Permissions::default(),
    }
}

pub(super) fn describe(address: &str, ports: &[u16]) -> Description {
    let sections: Vec<String> =
        ports.iter().map(|port| format!("m=audio {port} RTP/AVP 0 101\r\n")).collect();
    let sections = sections.concat();
    Description::parse(format!("v=0\r\nc=IN IP4 {address}\r\n{sections}").as_bytes(), &Rules::default())
        .unwrap()
}

pub(super) struct World {
    ports: Ports,
    random: ChaCha8Rng,
    media: Media,
    pub(super) session: MediaSession,
}

impl World {
    pub(super) fn new(a: MediaSource, b: MediaSource) -> Self {
        let media = media();
        let sides = ByLeg { a: Side { address: 0, source: a }, b: Side { address: 1, source: b } };
        Self {
            ports: Ports::new(&media),
            random: ChaCha8Rng::from_seed([7; 32]),
            session: MediaSession::new(SessionId::from_bits(1), sides),
            media,
        }
    }

    pub(super) fn offer(&mut self, description: &Description) -> Result<(), NoPorts> {
        let (ports, random) = (&mut self.ports, &mut self.random);
        self.session.offered(description, Instant::ORIGIN, |address, now| ports.draw(address, now, random))
    }

    pub(super) fn agree(
        &mut self,
        offerer: LegName,
        offer: &Description,
        answer: &Description,
    ) -> Vec<Output> {
        let word =
            |description, last| Word { description, signalled_from: IpAddr::from([203, 0, 113, last]) };
        let (from, to) = if offerer == LegName::A { (1, 2) } else { (2, 1) };
        self.session.agreed(offerer, word(offer, from), word(answer, to), Finality::Final, self.media.dscp)
    }
}

pub(super) fn puts(outputs: &[Output]) -> Vec<&FlowSpec> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::PutFlow(flow) => Some(flow),
            _ => None,
        })
        .collect()
}

mod order;

#[test]
fn a_stream_is_four_flows_between_the_two_far_ends() {
    let mut world = World::new(MediaSource::Signalled, MediaSource::Signalled);
    let (offer, answer) = (describe("198.51.100.1", &[6000]), describe("198.51.100.2", &[7000]));
    world.offer(&offer).unwrap();
    let outputs = world.agree(LegName::A, &offer, &answer);
    let flows = puts(&outputs);
    assert_eq!((flows.len(), outputs.len()), (4, 4));
    let a = world.session.anchors(LegName::A, &world.media)[0].unwrap().address;
    let b = world.session.anchors(LegName::B, &world.media)[0].unwrap().address;
    assert_eq!((a.ip(), b.ip()), (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])));
    let local_a = SocketAddr::new(IpAddr::from([10, 0, 0, 1]), a.port());
    let local_b = SocketAddr::new(IpAddr::from([10, 0, 0, 2]), b.port());
    let from_a = flows.iter().find(|flow| flow.local == local_a).unwrap();
    assert_eq!(from_a.owner.leg, LegName::A);
    assert_eq!(from_a.source.allowed, "198.51.100.1/32".parse().unwrap());
    assert_eq!((from_a.send_from, from_a.send_to), (local_b, "198.51.100.2:7000".parse().unwrap()));
    let spoken = Content::rtp(PayloadTypes::from_iter([0, 101]));
    assert_eq!(from_a.content, Content { clock_rate: 8000, ..spoken });
    assert_eq!(world.session.codec(), Some(Encoding::named("PCMU")));
    let rtcp = flows.iter().find(|flow| flow.local.port() == b.port() + 1).unwrap();
    assert_eq!((rtcp.owner.leg, rtcp.content), (LegName::B, Content::rtcp()));
    assert_eq!(rtcp.send_to, "198.51.100.1:6001".parse().unwrap());
}

#[test]
fn the_way_back_is_open_before_the_answer_to_whom_was_asked() {
    let mut world = World::new(MediaSource::Signalled, MediaSource::Signalled);
    let (offer, answer) = (describe("198.51.100.1", &[6000]), describe("198.51.100.2", &[7000]));
    world.offer(&offer).unwrap();
    let asked = IpAddr::from([198, 51, 100, 2]);
    let word = Word { description: &offer, signalled_from: IpAddr::from([203, 0, 113, 1]) };
    let outputs = world.session.expected(LegName::A, word, asked, 46);
    let early = puts(&outputs);
    assert_eq!(early.len(), 2, "RTP and RTCP of the answerer");
    for flow in &early {
        assert_eq!((flow.owner.leg, flow.source.allowed), (LegName::B, IpNet::from(asked)));
        assert_eq!(flow.send_to.ip(), IpAddr::from([198, 51, 100, 1]));
    }
    let outputs = world.agree(LegName::A, &offer, &answer);
    for flow in puts(&outputs) {
        assert_eq!(flow.source.generation, 0, "an answer from where it was expected keeps what was learned");
    }
    let elsewhere = describe("198.51.100.9", &[7000]);
    for flow in puts(&world.agree(LegName::A, &offer, &elsewhere)) {
        assert_eq!(flow.source.generation, u8::from(flow.owner.leg == LegName::B));
    }
}

/// On another port, or at another host.
#[test]
fn rtcp_goes_where_it_is_wanted_and_comes_from_there() {
    let mut world = World::new(MediaSource::Signalled, MediaSource::Signalled);
    let describe = |address: &str, rtcp: &str| {
        let text = format!("v=0\r\nc=IN IP4 {address}\r\nm=audio 6000 RTP/AVP 0\r\na=rtcp:{rtcp}\r\n");
        Description::parse(text.as_bytes(), &Rules::default()).unwrap()
    };
    let offer = describe("198.51.100.1", "6301");
    let answer = describe("198.51.100.2", "7901 IN IP4 198.51.100.20");
    world.offer(&offer).unwrap();
    let outputs = world.agree(LegName::A, &offer, &answer);
    let flow = |leg, content: Content| {
        let of = |flow: &&FlowSpec| flow.owner.leg == leg && flow.content.rtcp == content.rtcp;
        puts(&outputs).into_iter().find(of).unwrap().clone()
    };
    let [rtp, rtcp] = [Content::rtp(PayloadTypes::default()), Content::rtcp()];
    for (leg, content, from, to) in [
        (LegName::A, rtp, "198.51.100.1/32", "198.51.100.2:6000"),
        (LegName::A, rtcp, "198.51.100.1/32", "198.51.100.20:7901"),
        (LegName::B, rtp, "198.51.100.2/32", "198.51.100.1:6000"),
        (LegName::B, rtcp, "198.51.100.20/32", "198.51.100.1:6301"),
    ] {
        let flow = flow(leg, content);
        assert_eq!((flow.source.allowed, flow.send_to), (from.parse().unwrap(), to.parse().unwrap()));
    }
}

/// The same, with RTCP on the port of RTP.
pub(super) fn describe_mux(address: &str, port: u16) -> Description {
    let text = format!(
        "v=0\r\nc=IN IP4 {address}\r\nm=audio {port} RTP/AVP 8 101\r\na=rtcp-mux\r\na=rtpmap:101 telephone-event/8000\r\n"
    );
    Description::parse(text.as_bytes(), &Rules::default()).unwrap()
}

#[test]
fn rtcp_shares_the_port_of_rtp_where_both_say_so() {
    let mut world = World::new(MediaSource::Signalled, MediaSource::Signalled);
    let (offer, plain) = (describe_mux("198.51.100.1", 6000), describe("198.51.100.2", &[7000]));
    world.offer(&offer).unwrap();
    let word = Word { description: &offer, signalled_from: IpAddr::from([203, 0, 113, 1]) };
    let outputs = world.session.expected(LegName::A, word, IpAddr::from([198, 51, 100, 2]), 46);
    let early: Vec<_> =
        puts(&outputs).iter().map(|flow| (flow.content.has_rtp(), flow.content.rtcp)).collect();
    assert_eq!(early, [(true, true), (false, true)], "before the answer it may come in either way");

    let shared = describe_mux("198.51.100.2", 7000);
    let outputs = world.agree(LegName::A, &offer, &shared);
    assert_eq!(outputs.iter().filter(|output| matches!(output, Output::RemoveFlow(_))).count(), 1);
    let flows: Vec<&FlowSpec> = world.session.flows().map(|flow| &flow.spec).collect();
    assert_eq!(flows.len(), 2);
    assert!(flows.iter().all(|flow| flow.content.has_rtp() && flow.content.rtcp));
    assert_eq!(world.session.codec(), Some(Encoding::named("PCMA")));

    let unshared = describe("198.51.100.1", &[6000]);
    world.agree(LegName::A, &unshared, &plain);
    assert_eq!(world.session.flows().count(), 4, "who does not say it again takes it back");
    assert!(world.session.flows().all(|flow| flow.spec.content.has_rtp() != flow.spec.content.rtcp));
}

#[test]
fn one_side_shares_a_port_and_the_other_one_does_not() {
    for sharing in [LegName::A, LegName::B] {
        let mut world = World::new(MediaSource::Signalled, MediaSource::Signalled);
        let (shared, plain) = (describe_mux("198.51.100.1", 6000), describe("198.51.100.2", &[7000]));
        world.offer(&shared).unwrap();
        world.agree(sharing, &shared, &plain);
        let flow = |leg: LegName, local: fn(PortPair) -> SocketAddr| {
            let stream = world.session.streams[0].as_ref().unwrap();
            let local = local(stream.pairs[leg]);
            world.session.flows().find(|flow| flow.spec.local == local).unwrap().spec.clone()
        };
        let (here, there) = (sharing, sharing.other());
        let ours = |leg: LegName| world.session.streams[0].as_ref().unwrap().pairs[leg];

        let both = flow(here, PortPair::rtp);
        assert!(both.content.has_rtp() && both.content.rtcp && both.rtcp_apart);
        assert_eq!((both.send_from, both.send_to.port()), (ours(there).rtp(), 7000));
        let exit = flow(here, PortPair::rtcp);
        assert!(exit.content.is_nothing(), "{exit:?}");
        assert_eq!((exit.send_from, exit.send_to.port()), (ours(there).rtcp(), 7001));

        let rtp = flow(there, PortPair::rtp);
        assert!(rtp.content.has_rtp() && !rtp.content.rtcp && !rtp.rtcp_apart);
        assert_eq!((rtp.send_from, rtp.send_to.port()), (ours(here).rtp(), 6000));
        let rtcp = flow(there, PortPair::rtcp);
        assert_eq!((rtcp.content, rtcp.rtcp_apart), (Content::rtcp(), false));
        assert_eq!((rtcp.send_from, rtcp.send_to.port()), (ours(here).rtp(), 6000));

        let shares = |leg| world.session.anchors(leg, &world.media)[0].unwrap().shares;
        assert_eq!((shares(here), shares(there)), (true, false));
        // It is offered again to who has it, though the other one does not; an
        // answer that accepts what was not offered accepts nothing.
        let outputs = world.agree(there, &plain, &shared);
        assert_eq!(outputs, [], "nothing changed");
    }
}

#[test]
fn an_answer_accepts_no_shared_port_that_was_not_offered() {
    let mut world = World::new(MediaSource::Signalled, MediaSource::Signalled);
    let (plain, shared) = (describe("198.51.100.1", &[6000]), describe_mux("198.51.100.2", 7000));
    world.offer(&plain).unwrap();
    world.agree(LegName::A, &plain, &shared);
    assert!(world.session.flows().all(|flow| flow.spec.content.has_rtp() != flow.spec.content.rtcp));
}

#[test]
fn quality_is_that_of_the_audio_and_outlives_its_flows() {
    let mut world = World::new(MediaSource::Signalled, MediaSource::Signalled);
    let (offer, answer) = (describe("198.51.100.1", &[6000]), describe("198.51.100.2", &[7000]));
    world.offer(&offer).unwrap();
    world.agree(LegName::A, &offer, &answer);
    let flows: Vec<Carried> = world.session.flows().cloned().collect();
    world.session.close();
    for (flow, jitter_us) in flows.iter().zip([1, 20, 300, 4000]) {
        let quality = Quality { expected: 10, lost: 1, jitter_us, ..Quality::default() };
        world.session.removed(flow.spec.local, &FlowStats { quality, ..FlowStats::default() });
    }
    for leg in [LegName::A, LegName::B] {
        let spoken =
            flows.iter().position(|flow| flow.spec.owner.leg == leg && flow.codec.is_some()).unwrap();
        let quality = world.session.received()[leg].quality;
        assert_eq!((quality.expected, quality.lost), (10, 1), "not of RTCP");
        assert_eq!(quality.jitter_us, [1, 20, 300, 4000][spoken]);
    }
}

#[test]
fn only_the_side_that_moved_is_learned_anew() {
    let mut world = World::new(MediaSource::Signalled, MediaSource::Signalled);
    let (offer, answer) = (describe("198.51.100.1", &[6000]), describe("198.51.100.2", &[7000]));
    world.offer(&offer).unwrap();
    assert_eq!(world.agree(LegName::A, &offer, &answer).len(), 4);
    assert_eq!(world.agree(LegName::A, &offer, &answer), [], "nothing changed");
    let moved = describe("198.51.100.2", &[7002]);
    world.offer(&moved).unwrap();
    let outputs = world.agree(LegName::B, &moved, &offer);
    for flow in puts(&outputs) {
        let generation = u8::from(flow.owner.leg == LegName::B);
        assert_eq!(flow.source.generation, generation, "{:?}", flow.owner.leg);
    }
    assert_eq!(outputs.len(), 4);
}

#[test]
fn nat_and_networks_widen_the_source_and_nat_is_followed() {
    let network: IpNet = "198.51.100.0/24".parse().unwrap();
    let mut world = World::new(MediaSource::Nat, MediaSource::Network(network));
    let (offer, answer) = (describe("192.168.1.5", &[6000]), describe("198.51.100.2", &[7000]));
    world.offer(&offer).unwrap();
    for flow in puts(&world.agree(LegName::A, &offer, &answer)) {
        let (allowed, follow) = match flow.owner.leg {
            LegName::A => ("203.0.113.1/32".parse().unwrap(), false),
            LegName::B => (network, true),
        };
        assert_eq!((flow.source.allowed, flow.follow_learned), (allowed, follow));
    }
}

#[test]
fn a_refused_stream_gives_its_ports_back_and_a_failed_offer_changes_nothing() {
    let mut world = World::new(MediaSource::Signalled, MediaSource::Signalled);
    let (offer, answer) = (describe("198.51.100.1", &[6000, 6002]), describe("198.51.100.2", &[7000, 0]));
    world.offer(&offer).unwrap();
    assert_eq!(world.agree(LegName::A, &offer, &answer).len(), 4);
    assert_eq!(world.session.take_unused().len(), 2);
    let more = describe("198.51.100.1", &[6000, 6002, 6004]);
    world.offer(&more).unwrap();
    world.session.offer_failed();
    assert_eq!(world.session.take_unused().len(), 4);
    assert_eq!(world.session.flows().count(), 4);
    assert!(world.session.anchors(LegName::A, &world.media)[0].is_some());
}

#[test]
fn a_held_far_end_keeps_its_place() {
    let mut world = World::new(MediaSource::Signalled, MediaSource::Signalled);
    let (offer, answer) = (describe("198.51.100.1", &[6000]), describe("198.51.100.2", &[7000]));
    world.offer(&offer).unwrap();
    world.agree(LegName::A, &offer, &answer);
    assert_eq!(world.agree(LegName::A, &describe("0.0.0.0", &[6000]), &answer), []);
}

proptest! {
    /// Whatever is offered and answered, in the end every flow that was put is
    /// removed once, every port comes back, and all traffic is counted.
    #[test]
    fn nothing_is_left_and_nothing_is_lost(
        exchanges in proptest::collection::vec(
            (any::<bool>(), 1..4_usize, proptest::collection::vec(any::<bool>(), 4), any::<bool>(), 0..3_u16),
            1..12,
        )
    ) {
        let mut world = World::new(MediaSource::Signalled, MediaSource::Signalled);
        let mut carried = BTreeSet::new();
        let mut removals = 0_u64;
        let mut answer_removals = |session: &mut MediaSession, outputs: &[Output], carried: &mut BTreeSet<SocketAddr>| {
            for output in outputs {
                match output {
                    Output::PutFlow(flow) => { carried.insert(flow.local); }
                    Output::RemoveFlow(local) => {
                        assert!(carried.remove(local), "removed what is not there");
                        removals += 1;
                        let forwarded = Traffic { packets: 1, bytes: 10 };
                        session.removed(*local, &FlowStats { forwarded, ..FlowStats::default() });
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        for (by_a, streams, accepted, answered, shift) in exchanges {
            let ports = |base: u16, on: &dyn Fn(usize) -> bool| -> Vec<u16> {
                (0..streams).map(|i| if on(i) { base + 2 * u16::try_from(i).unwrap() } else { 0 }).collect()
            };
            let offer = describe("198.51.100.1", &ports(6000 + 10 * shift, &|_| true));
            let answer = describe("198.51.100.2", &ports(7000, &|i| accepted[i]));
            if world.offer(&offer).is_err() || !answered {
                world.session.offer_failed();
            } else {
                let offerer = if by_a { LegName::A } else { LegName::B };
                let outputs = world.agree(offerer, &offer, &answer);
                answer_removals(&mut world.session, &outputs, &mut carried);
            }
            for pair in world.session.take_unused() {
                world.ports.release(pair, Instant::ORIGIN);
            }
        }
        let outputs = world.session.close();
        answer_removals(&mut world.session, &outputs, &mut carried);
        prop_assert!(carried.is_empty() && !world.session.is_carried());
        let received = world.session.received();
        prop_assert_eq!(received.a.traffic.packets + received.b.traffic.packets, removals);
        for pair in world.session.take_unused() {
            world.ports.release(pair, Instant::ORIGIN);
        }
        let later = Instant::ORIGIN + Duration::from_secs(1);
        for address in 0..2 {
            let mut free = 0;
            while world.ports.draw(address, later, &mut world.random).is_some() {
                free += 1;
            }
            prop_assert_eq!(free, 50, "every pair came back to address {}", address);
        }
    }
}
