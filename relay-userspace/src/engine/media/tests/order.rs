//! Who a packet may reach, over seeded lives of several calls that share a few
//! ports: after every single output, not only once all of them are done.

use rand::RngExt;

use std::fmt::Write as _;

use super::*;
use crate::engine::flow::FlowOwner;
use crate::engine::sip::sdp::StreamContent;

const CALLS: u8 = 4;
const QUARANTINE: Duration = Duration::from_secs(1);

/// Where a far end says that it is.
#[derive(Default)]
struct Places {
    /// Now, by stream.
    now: Vec<BTreeSet<SocketAddr>>,
    /// Until the change under way.
    former: BTreeSet<SocketAddr>,
}

impl Places {
    /// A stream without a place keeps the one that it had, unless it is off.
    fn signalled(&mut self, description: &Description) {
        self.now.resize_with(self.now.len().max(description.streams.len()), BTreeSet::new);
        for (index, now) in self.now.iter_mut().enumerate() {
            let places = match description.streams.get(index).map(|stream| &stream.content) {
                Some(StreamContent::Relayed(relayed)) => match relayed.far {
                    Some(far) => BTreeSet::from([far.rtp, far.rtcp]),
                    None => continue,
                },
                Some(StreamContent::Off) | None => BTreeSet::new(),
            };
            self.former.append(now);
            *now = places;
        }
    }

    fn contain(&self, place: SocketAddr, changing: bool) -> bool {
        self.now.iter().any(|now| now.contains(&place)) || (changing && self.former.contains(&place))
    }
}

/// Several calls, and the datapath that they share.
struct Lives {
    random: ChaCha8Rng,
    now: Instant,
    ports: Ports,
    calls: BTreeMap<u8, MediaSession>,
    born: u64,
    flows: BTreeMap<SocketAddr, FlowSpec>,
    /// When a flow was removed, and whose it was.
    removed: BTreeMap<SocketAddr, (Instant, SessionId)>,
    /// How many flows of each call were removed.
    removals: BTreeMap<SessionId, u64>,
    /// Removals that the datapath has not told yet.
    untold: Vec<(u8, SocketAddr)>,
    signalled: BTreeMap<(u8, LegName), Places>,
}

/// A far end's address tells whose it is.
fn whose(address: SocketAddr) -> (u8, LegName) {
    match address.ip() {
        IpAddr::V4(ip) => match ip.octets() {
            [10, call, 1, _] => (call, LegName::A),
            [10, call, 2, _] => (call, LegName::B),
            other => panic!("{other:?} is nobody's"),
        },
        IpAddr::V6(ip) => panic!("{ip} is nobody's"),
    }
}

impl Lives {
    fn new(seed: u8) -> Self {
        let media = Media { ports: 40_000..=40_023, quarantine: QUARANTINE, ..media() };
        Self {
            random: ChaCha8Rng::from_seed([seed; 32]),
            now: Instant::ORIGIN,
            ports: Ports::new(&media),
            calls: BTreeMap::new(),
            born: 0,
            flows: BTreeMap::new(),
            removed: BTreeMap::new(),
            removals: BTreeMap::new(),
            untold: Vec::new(),
            signalled: BTreeMap::new(),
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// One thing happens to one call.
    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(self.random.random_range(0..400));
        self.tell_some();
        let call = self.random.random_range(0..CALLS);
        match self.calls.contains_key(&call) {
            false => self.begin(call),
            true if self.chance(12) => self.end(call),
            true => self.renegotiate(call),
        }
    }

    fn begin(&mut self, call: u8) {
        self.born += 1;
        let source = |nat: bool| if nat { MediaSource::Nat } else { MediaSource::Signalled };
        let sides = ByLeg {
            a: Side { address: 0, source: source(self.chance(30)) },
            b: Side { address: 1, source: source(self.chance(30)) },
        };
        self.calls.insert(call, MediaSession::new(SessionId::from_bits(self.born.into()), sides));
        for leg in [LegName::A, LegName::B] {
            *self.places(call, leg) = Places::default();
        }
        let offer = self.describe(call, LegName::A);
        if !self.offer(call, &offer) {
            return;
        }
        self.places(call, LegName::A).signalled(&offer);
        let session = self.calls.get_mut(&call).unwrap();
        let word = Word { description: &offer, signalled_from: IpAddr::from([10, call, 1, 250]) };
        let outputs = session.expected(LegName::A, word, IpAddr::from([10, call, 2, 250]), 46);
        self.carry(call, outputs);
        // Forks, the last of which accepts.
        for left in (0..self.random.random_range(1..4)).rev() {
            let answer = self.describe(call, LegName::B);
            let finality = if left == 0 { Finality::Final } else { Finality::Early };
            self.agree(call, LegName::A, &offer, &answer, finality);
        }
    }

    fn places(&mut self, call: u8, leg: LegName) -> &mut Places {
        self.signalled.entry((call, leg)).or_default()
    }

    fn renegotiate(&mut self, call: u8) {
        let offerer = if self.chance(50) { LegName::A } else { LegName::B };
        let offer = self.describe(call, offerer);
        if self.offer(call, &offer) && !self.chance(15) {
            let answer = self.describe(call, offerer.other());
            self.agree(call, offerer, &offer, &answer, Finality::Final);
        } else {
            let before = self.flows.clone();
            self.calls.get_mut(&call).unwrap().offer_failed();
            self.release(call);
            assert_eq!(self.flows, before, "a failed offer costs nothing");
        }
    }

    fn end(&mut self, call: u8) {
        let outputs = self.calls.get_mut(&call).unwrap().close();
        self.carry(call, outputs);
        self.tell_all();
        let session = self.calls.remove(&call).unwrap();
        assert!(!session.is_carried());
        let received = session.received();
        let counted = received.a.traffic.packets + received.b.traffic.packets;
        assert_eq!(counted, self.removals.remove(&session.session).unwrap_or(0), "each removal counts once");
    }

    /// One of a few places, held or not, sharing a port or not; sometimes without
    /// its second stream.
    fn describe(&mut self, call: u8, leg: LegName) -> Description {
        let host = self.random.random_range(1..3);
        let side = if leg == LegName::A { 1 } else { 2 };
        let address = if self.chance(10) { "0.0.0.0".to_owned() } else { format!("10.{call}.{side}.{host}") };
        let mut text = format!("v=0\r\nc=IN IP4 {address}\r\n");
        for stream in 0..self.random.random_range(1..3_u16) {
            let port =
                if self.chance(15) { 0 } else { 6000 + 100 * stream + 2 * self.random.random_range(0..3) };
            let kind = if stream == 0 { "audio" } else { "video" };
            let _ = write!(text, "m={kind} {port} RTP/AVP 0\r\n");
            for (line, percent) in [("a=sendonly\r\n", 20), ("a=rtcp-mux\r\n", 40)] {
                if self.chance(percent) {
                    text += line;
                }
            }
        }
        Description::parse(text.as_bytes(), &Rules::default()).unwrap()
    }

    fn offer(&mut self, call: u8, offer: &Description) -> bool {
        let Self { calls, ports, random, now, .. } = self;
        let session = calls.get_mut(&call).unwrap();
        session.offered(offer, *now, |address, now| ports.draw(address, now, random)).is_ok()
    }

    fn agree(
        &mut self,
        call: u8,
        offerer: LegName,
        offer: &Description,
        answer: &Description,
        finality: Finality,
    ) {
        self.places(call, offerer).signalled(offer);
        self.places(call, offerer.other()).signalled(answer);
        let from = |leg| IpAddr::from([10, call, if leg == LegName::A { 1 } else { 2 }, 250]);
        let word = |description, leg| Word { description, signalled_from: from(leg) };
        let (offer, answer) = (word(offer, offerer), word(answer, offerer.other()));
        let session = self.calls.get_mut(&call).unwrap();
        let outputs = session.agreed(offerer, offer, answer, finality, 46);
        self.carry(call, outputs);
        let again = self.calls.get_mut(&call).unwrap().agreed(offerer, offer, answer, finality, 46);
        assert_eq!(again, [], "what is said again changes nothing");
    }

    /// The datapath does what it is told, one thing at a time.
    fn carry(&mut self, call: u8, outputs: Vec<Output>) {
        let mut told = BTreeSet::new();
        for output in outputs {
            match output {
                Output::PutFlow(flow) => {
                    assert!(told.insert(flow.local), "{} is told twice", flow.local);
                    let waits = |&&(of, local): &&(u8, SocketAddr)| local == flow.local && of != call;
                    let taken = self.untold.iter().find(waits);
                    assert_eq!(taken, None, "given away before its removal was counted");
                    let before = self.flows.insert(flow.local, flow.clone());
                    assert_ne!(before.as_ref(), Some(&flow), "told what it knows");
                    assert!(before.is_none_or(|before| before.owner == flow.owner), "{flow:?} takes a place");
                    if let Some((when, whose)) = self.removed.get(&flow.local) {
                        let rested = self.now.saturating_since(*when) >= QUARANTINE;
                        assert!(rested || *whose == flow.owner.session, "{} did not rest", flow.local);
                    }
                }
                Output::RemoveFlow(local) => {
                    assert!(told.insert(local), "a flow is removed and made again");
                    let flow = self.flows.remove(&local).expect("a flow");
                    self.removed.insert(local, (self.now, flow.owner.session));
                    self.untold.push((call, local));
                    *self.removals.entry(flow.owner.session).or_default() += 1;
                }
                other => panic!("{other:?}"),
            }
            self.check(true);
        }
        for leg in [LegName::A, LegName::B] {
            self.places(call, leg).former.clear();
        }
        self.check(false);
        self.release(call);
    }

    /// Every flow leads from one far end of its call to the other one.
    fn check(&self, changing: bool) {
        for flow in self.flows.values() {
            let (call, receiver) = whose(flow.send_to);
            let session = &self.calls[&call];
            assert_eq!(flow.owner, FlowOwner { session: session.session, leg: receiver.other() }, "{flow:?}");
            let sender = whose(SocketAddr::new(flow.source.allowed.addr(), 0));
            assert_eq!(sender, (call, receiver.other()), "{flow:?}");
            let known = self.signalled[&(call, receiver)].contain(flow.send_to, changing);
            assert!(known, "{flow:?} leads to where {receiver} is not");
            // What it follows is learned from the far end that it leads to.
            if let Some(opposite) = self.flows.get(&flow.send_from).filter(|_| flow.follow_learned) {
                assert_eq!(opposite.owner, FlowOwner { leg: receiver, ..flow.owner }, "{flow:?}");
            }
        }
    }

    fn tell_some(&mut self) {
        for (call, local) in std::mem::take(&mut self.untold) {
            if self.chance(80) {
                self.untold.push((call, local));
            } else {
                self.tell(call, local);
            }
        }
    }

    fn tell_all(&mut self) {
        for (call, local) in std::mem::take(&mut self.untold) {
            self.tell(call, local);
        }
    }

    fn tell(&mut self, call: u8, local: SocketAddr) {
        let forwarded = Traffic { packets: 1, bytes: 172 };
        let stats = FlowStats { forwarded, ..FlowStats::default() };
        self.calls.get_mut(&call).unwrap().removed(local, &stats);
        self.release(call);
    }

    fn release(&mut self, call: u8) {
        for pair in self.calls.get_mut(&call).unwrap().take_unused() {
            self.ports.release(pair, self.now);
        }
    }
}

#[test]
fn no_packet_can_reach_a_wrong_party_at_any_moment() {
    let mut carried = 0;
    for seed in 0..40 {
        let mut lives = Lives::new(seed);
        for _ in 0..250 {
            lives.step();
            carried += lives.flows.len();
        }
        for call in 0..CALLS {
            if lives.calls.contains_key(&call) {
                lives.end(call);
            }
        }
        assert!(lives.flows.is_empty(), "{:?}", lives.flows);
    }
    assert!(carried > 50_000, "only {carried} flows were looked at");
}
