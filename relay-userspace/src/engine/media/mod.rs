//! A call's media: which of our ports its streams use, and which flows the
//! datapath must carry for that.
//!
//! Each stream gets a port pair on either leg, RTP on the even port and RTCP on
//! the next (RFC 3550 section 11). What arrives on one leg's pair leaves from
//! the other's, so a stream is four flows, or two where both far ends let RTCP
//! share the port of RTP (RFC 5761). Offer and answer are agreed before
//! any flow changes: a failed re-INVITE costs nothing.

mod hearing;
mod ports;
mod watch;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

pub(crate) use ports::{PortPair, Ports};
pub(crate) use watch::Finding;

use super::by_leg::ByLeg;
use super::call_record::{EndRecord, Mux, StreamRecord};
use super::cdr::Traffic;
use super::config::{Media, MediaSource};
use super::encoding::Encoding;
use super::flow::{Content, FlowOwner, FlowSpec, FlowStats, PayloadTypes, Quality, SourceRule, Transport};
use super::ids::{LegName, SessionId};
use super::io::Output;
use super::sip::sdp::{Codec, Description, Direction, FarEnd, StreamContent};
use super::time::Instant;
use watch::Watch;

/// The media of one call.
#[derive(Debug)]
pub(crate) struct MediaSession {
    session: SessionId,
    sides: ByLeg<Side>,
    streams: Vec<Option<StreamPorts>>,
    /// What the datapath was told to carry, by the address where it arrives.
    flows: BTreeMap<SocketAddr, Carried>,
    /// Removals that the datapath has not answered yet.
    removing: BTreeMap<SocketAddr, Carried>,
    /// Ports of streams that are over, kept until the removals are answered.
    closing: Vec<PortPair>,
    /// What each leg's far end sent, of the flows that are gone.
    received: ByLeg<Received>,
    /// The codec that was agreed on last.
    codec: Option<Encoding>,
    watch: Watch,
}

/// A flow, and what it is to the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    /// What the datapath was told.
    pub(crate) spec: FlowSpec,
    /// The codec of its RTP; none when it carries RTCP alone.
    pub(crate) codec: Option<Encoding>,
    /// Whether it is what the call's quality is measured by.
    judged: bool,
}

/// What a far end sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Everything.
    pub(crate) traffic: Traffic,
    /// How its audio arrived; all RTP counts in a call without audio.
    pub(crate) quality: Quality,
}

/// How a leg's trunk does media.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    /// Which of [`Media::addresses`].
    pub(crate) address: usize,
    /// Who may send.
    pub(crate) source: MediaSource,
}

/// One side's word in an offer/answer exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a> {
    /// What it described.
    pub(crate) description: &'a Description,
    /// Where the message came from, for peers behind NAT.
    pub(crate) signalled_from: IpAddr,
}

/// The ports of one stream, and where its far ends are.
#[derive(Clone, Debug)]
struct StreamPorts {
    pairs: ByLeg<PortPair>,
    ends: ByLeg<Option<End>>,
    /// The ranges of flows whose time to be learned is over.
    closed: BTreeMap<SocketAddr, IpNet>,
    /// Where their RTP was learned from, when it was last looked at.
    learned: ByLeg<Option<IpAddr>>,
    agreement: Agreement,
}

/// What both far ends said, or the one of them that has spoken.
#[derive(Clone, Copy, Debug)]
struct Agreement {
    codec: Codec,
    transport: Transport,
    mux: Mux,
    audio: bool,
}

/// A far end as last agreed on, or as it is expected before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    /// Where it receives; unknown before it answers.
    far: Option<FarEnd>,
    allowed: IpNet,
    generation: u8,
    payload_types: PayloadTypes,
    direction: Direction,
}

impl End {
    fn restored(record: EndRecord) -> Self {
        let EndRecord { far, allowed, generation, payload_types } = record;
        let far = far.map(|(rtp, rtcp)| FarEnd { rtp, rtcp });
        Self { far, allowed, generation, payload_types, direction: Direction::SendRecv }
    }

    fn record(self) -> EndRecord {
        let Self { far, allowed, generation, payload_types, direction: _ } = self;
        EndRecord { far: far.map(|far| (far.rtp, far.rtcp)), allowed, generation, payload_types }
    }
}

/// No port pair is free on a media address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoPorts;

impl MediaSession {
    /// A session without streams.
    pub(crate) fn new(session: SessionId, sides: ByLeg<Side>) -> Self {
        Self {
            session,
            sides,
            streams: Vec::new(),
            flows: BTreeMap::new(),
            removing: BTreeMap::new(),
            closing: Vec::new(),
            received: ByLeg::default(),
            codec: None,
            watch: Watch::default(),
        }
    }

    /// A session from before a restart, and whether all of its ports could be
    /// had again. Its flows are those that the datapath had.
    pub(crate) fn restored(
        session: SessionId,
        sides: ByLeg<Side>,
        streams: &[Option<StreamRecord>],
        dscp: u8,
        mut claim: impl FnMut(SocketAddr) -> Option<PortPair>,
    ) -> (Self, bool) {
        let mut restored = Self::new(session, sides);
        let mut whole = true;
        for stream in streams {
            let ports = stream.as_ref().and_then(|stream| {
                let [a, b] = stream.ports.map(&mut claim);
                let ends = stream.ends.map(|end| end.map(End::restored));
                let codec = Codec { encoding: stream.codec, clock_rate: stream.clock_rate };
                Some(StreamPorts {
                    pairs: ByLeg { a: a?, b: b? },
                    ends: ByLeg { a: ends[0], b: ends[1] },
                    closed: BTreeMap::new(),
                    learned: ByLeg::default(),
                    agreement: Agreement {
                        codec,
                        transport: stream.transport,
                        mux: stream.mux,
                        audio: stream.audio,
                    },
                })
            });
            whole &= ports.is_some() == stream.is_some();
            restored.streams.push(ports);
        }
        restored.flows =
            restored.wanted(dscp).into_iter().map(|carried| (carried.spec.local, carried)).collect();
        (restored, whole)
    }

    /// With what the far ends of A and B sent before, in the codec agreed on last.
    pub(crate) fn with_past(mut self, received: [(Traffic, Quality); 2], codec: Option<Encoding>) -> Self {
        let [a, b] = received.map(|(traffic, quality)| Received { traffic, quality });
        self.received = ByLeg { a, b };
        self.codec = codec;
        self
    }

    /// Its streams, as the journal keeps them.
    pub(crate) fn record(&self) -> Vec<Option<StreamRecord>> {
        let record = |stream: &StreamPorts| StreamRecord {
            ports: [stream.pairs.a.rtp(), stream.pairs.b.rtp()],
            ends: [stream.ends.a, stream.ends.b].map(|end| end.map(End::record)),
            codec: stream.agreement.codec.encoding,
            clock_rate: stream.agreement.codec.clock_rate,
            transport: stream.agreement.transport,
            mux: stream.agreement.mux,
            audio: stream.agreement.audio,
        };
        self.streams.iter().map(|stream| stream.as_ref().map(record)).collect()
    }

    /// Finds ports for every stream of an offer that has none yet.
    pub(crate) fn offered(
        &mut self,
        offer: &Description,
        now: Instant,
        mut draw: impl FnMut(usize, Instant) -> Option<PortPair>,
    ) -> Result<(), NoPorts> {
        self.streams.resize(self.streams.len().max(offer.streams.len()), None);
        for (ports, stream) in self.streams.iter_mut().zip(&offer.streams) {
            let StreamContent::Relayed(relayed) = &stream.content else { continue };
            if ports.is_some() {
                continue;
            }
            let a = draw(self.sides.a.address, now).ok_or(NoPorts)?;
            let Some(b) = draw(self.sides.b.address, now) else {
                self.closing.push(a);
                return Err(NoPorts);
            };
            let mux = if relayed.mux { Mux::Offered } else { Mux::No };
            let (codec, transport) = (relayed.codec, relayed.transport);
            let agreement = Agreement { codec, transport, mux, audio: stream.is_audio() };
            *ports = Some(StreamPorts {
                pairs: ByLeg { a, b },
                ends: ByLeg::default(),
                closed: BTreeMap::new(),
                learned: ByLeg::default(),
                agreement,
            });
        }
        Ok(())
    }

    /// The addresses that `leg`'s far end is told to send to, by position.
    pub(crate) fn anchors(&self, leg: LegName, media: &Media) -> Vec<Option<SocketAddr>> {
        let advertised = media.addresses.get(self.sides[leg].address).map(|address| address.advertised);
        let anchor = |ports: &StreamPorts| Some(SocketAddr::new(advertised?, ports.pairs[leg].rtp().port()));
        self.streams.iter().map(|ports| ports.as_ref().and_then(anchor)).collect()
    }

    /// Opens the way back before the answer: an offerer must be ready for media
    /// as soon as its offer is out (RFC 3264 section 5.1), and the first packets
    /// overtake the answer. Until then only `answerer_at`, where the offer is
    /// sent, may send. Returns what the datapath must do.
    pub(crate) fn expected(
        &mut self,
        offerer: LegName,
        offer: Word<'_>,
        answerer_at: IpAddr,
        dscp: u8,
    ) -> Vec<Output> {
        let answerer = offerer.other();
        let (offering, answering) = (self.sides[offerer].source, self.sides[answerer].source);
        for (slot, stream) in self.streams.iter_mut().zip(&offer.description.streams) {
            let (Some(ports), StreamContent::Relayed(offered)) = (slot, &stream.content) else { continue };
            let Some(far) = offered.far else { continue };
            if ports.ends[LegName::A].is_some() || ports.ends[LegName::B].is_some() {
                continue;
            }
            let payload_types = offered.payload_types;
            let end = |far, allowed| End {
                far,
                allowed,
                generation: 0,
                payload_types,
                direction: Direction::SendRecv,
            };
            let from_offerer = allowed(offering, far.rtp.ip(), offer.signalled_from);
            let from_answerer = allowed(answering, answerer_at, answerer_at);
            ports.ends[offerer] = Some(end(Some(far), from_offerer));
            ports.ends[answerer] = Some(end(None, from_answerer));
        }
        self.apply(dscp)
    }

    /// Takes over what an offer and its answer agreed on. Returns what the
    /// datapath must do.
    pub(crate) fn agreed(
        &mut self,
        offerer: LegName,
        offer: Word<'_>,
        answer: Word<'_>,
        dscp: u8,
    ) -> Vec<Output> {
        let words = ByLeg::new(offerer, offer, answer);
        for (index, slot) in self.streams.iter_mut().enumerate() {
            let Some(ports) = slot else { continue };
            let relayed = |leg: LegName| match words[leg].description.streams.get(index).map(|s| &s.content) {
                Some(StreamContent::Relayed(relayed)) => Some(relayed),
                Some(StreamContent::Off) | None => None,
            };
            let both = relayed(LegName::A).zip(relayed(LegName::B));
            let Some((a, b, transport)) =
                both.and_then(|(a, b)| Some((a, b, a.transport.common(b.transport)?)))
            else {
                self.closing.extend([ports.pairs.a, ports.pairs.b]);
                *slot = None;
                continue;
            };
            let said = if offerer == LegName::A { b } else { a };
            ports.agreement.codec = said.codec;
            ports.agreement.mux = if a.mux && b.mux { Mux::Agreed } else { Mux::No };
            let same_transport = ports.agreement.transport == transport;
            ports.agreement.transport = transport;
            for (leg, said) in [(LegName::A, a), (LegName::B, b)] {
                // A far end on hold by the unspecified address keeps its place.
                let Some(far) = said.far.or(ports.ends[leg].and_then(|end| end.far)) else {
                    continue;
                };
                let allowed = allowed(self.sides[leg].source, far.rtp.ip(), words[leg].signalled_from);
                let stays = |end: &End| {
                    same_transport && end.allowed == allowed && end.far.is_none_or(|expected| expected == far)
                };
                let generation = match &ports.ends[leg] {
                    Some(end) if stays(end) => end.generation,
                    Some(end) => end.generation.wrapping_add(1),
                    None => 0,
                };
                ports.ends[leg] = Some(End {
                    far: Some(far),
                    allowed,
                    generation,
                    payload_types: said.payload_types,
                    direction: said.direction,
                });
            }
            ports.closed.clear();
        }
        let agreed = || self.streams.iter().flatten().map(|ports| ports.agreement);
        let first = agreed().find(|agreement| agreement.audio).or_else(|| agreed().next());
        self.codec = first.map(|agreement| agreement.codec.encoding).or(self.codec);
        self.apply(dscp)
    }

    /// Gives up the ports of streams that no answer accepted.
    pub(crate) fn offer_failed(&mut self) {
        for slot in &mut self.streams {
            if let Some(ports) = slot
                && ports.ends.a.is_none()
                && ports.ends.b.is_none()
            {
                self.closing.extend([ports.pairs.a, ports.pairs.b]);
                *slot = None;
            }
        }
    }

    /// Ends all streams. Returns what the datapath must do.
    pub(crate) fn close(&mut self) -> Vec<Output> {
        let pairs = self.streams.drain(..).flatten().flat_map(|ports| [ports.pairs.a, ports.pairs.b]);
        self.closing.extend(pairs);
        self.apply(0)
    }

    /// Counts a flow that the datapath has removed.
    pub(crate) fn removed(&mut self, local: SocketAddr, stats: &FlowStats) {
        let Some(carried) = self.removing.remove(&local) else { return };
        self.watch.forget(local);
        let received = &mut self.received[carried.spec.owner.leg];
        received.traffic = received.traffic.plus(stats.forwarded);
        if carried.judged {
            received.quality = received.quality.and(stats.quality);
        }
    }

    /// The ports that nothing uses any more.
    pub(crate) fn take_unused(&mut self) -> Vec<PortPair> {
        if self.removing.is_empty() { std::mem::take(&mut self.closing) } else { Vec::new() }
    }

    /// Whether the datapath still carries or counts anything of this call.
    pub(crate) fn is_carried(&self) -> bool {
        !self.flows.is_empty() || !self.removing.is_empty()
    }

    /// What each leg's far end sent, by the flows that are gone.
    pub(crate) const fn received(&self) -> &ByLeg<Received> {
        &self.received
    }

    /// The codec that was agreed on last; none before an answer.
    pub(crate) const fn codec(&self) -> Option<Encoding> {
        self.codec
    }

    /// The flows that the datapath was told to carry.
    pub(crate) fn flows(&self) -> impl Iterator<Item = &Carried> {
        self.flows.values()
    }

    /// Brings the datapath from the flows that it has to those wanted.
    fn apply(&mut self, dscp: u8) -> Vec<Output> {
        let mut wanted = BTreeMap::new();
        for carried in self.wanted(dscp) {
            wanted.insert(carried.spec.local, carried);
        }
        let before = std::mem::take(&mut self.flows);
        let mut outputs = Vec::new();
        for (local, carried) in &before {
            if !wanted.contains_key(local) {
                outputs.push(Output::RemoveFlow(*local));
                self.removing.insert(*local, carried.clone());
            }
        }
        let is_new =
            |carried: &&Carried| before.get(&carried.spec.local).map(|b| &b.spec) != Some(&carried.spec);
        outputs.extend(wanted.values().filter(is_new).map(|carried| Output::PutFlow(carried.spec.clone())));
        self.flows = wanted;
        outputs
    }

    /// The streams that the call's quality is measured by.
    fn judged_streams(&self) -> impl Iterator<Item = &StreamPorts> {
        let has_audio = self.streams.iter().flatten().any(|ports| ports.agreement.audio);
        self.streams.iter().flatten().filter(move |ports| ports.agreement.audio || !has_audio)
    }

    fn wanted(&self, dscp: u8) -> Vec<Carried> {
        let has_audio = self.streams.iter().flatten().any(|ports| ports.agreement.audio);
        let mut wanted = Vec::new();
        for ports in self.streams.iter().flatten() {
            for leg in [LegName::A, LegName::B] {
                let judged = ports.agreement.audio || !has_audio;
                wanted.extend(self.direction(ports, leg, dscp, judged).into_iter().flatten().flatten());
            }
        }
        wanted
    }

    /// RTP and RTCP from `leg`'s far end to the opposite one; nothing while
    /// it is unknown who may send or where to.
    fn direction(
        &self,
        ports: &StreamPorts,
        leg: LegName,
        dscp: u8,
        judged: bool,
    ) -> Option<[Option<Carried>; 2]> {
        let (from, to) = (ports.ends[leg]?, ports.ends[leg.other()]?);
        let far = to.far?;
        let (local, send_from) = (ports.pairs[leg], ports.pairs[leg.other()]);
        let flow = |content, local, send_from, send_to| FlowSpec {
            owner: FlowOwner { session: self.session, leg },
            local,
            source: SourceRule {
                allowed: ports.closed.get(&local).copied().unwrap_or(from.allowed),
                generation: from.generation,
            },
            content,
            send_from,
            send_to,
            follow_learned: self.sides[leg.other()].source == MediaSource::Nat,
            dscp,
        };
        let Agreement { codec, transport, mux, audio: _ } = ports.agreement;
        // A sender uses the receiver's payload type numbers (RFC 3264 section 6.1).
        let content = transport.content(to.payload_types, mux != Mux::No);
        let content = Content { clock_rate: codec.clock_rate, ..content };
        let rtp = Carried {
            spec: flow(content, local.rtp(), send_from.rtp(), far.rtp),
            codec: Some(codec.encoding),
            judged,
        };
        let rtcp = (mux != Mux::Agreed).then(|| Carried {
            spec: flow(
                transport.content(PayloadTypes::default(), true),
                local.rtcp(),
                send_from.rtcp(),
                far.rtcp,
            ),
            codec: None,
            judged: false,
        });
        Some([Some(rtp), rtcp])
    }
}

/// Where a far end's media may come from: it receives at `far`, and signals
/// from `signalled_from`.
fn allowed(source: MediaSource, far: IpAddr, signalled_from: IpAddr) -> IpNet {
    match source {
        MediaSource::Signalled => IpNet::from(far),
        MediaSource::Nat => IpNet::from(signalled_from),
        MediaSource::Network(network) => network,
    }
}

#[cfg(test)]
mod tests;
