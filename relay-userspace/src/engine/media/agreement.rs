//! Offer and answer, and what they make of a call's streams.
//!
//! # Forks
//!
//! Until the answer is final, several far ends may answer one offer (RFC 3261
//! section 13.2.2.4). The one that spoke last has the media: what it says takes
//! the place of what the one before said, under a new generation where it is
//! elsewhere, and the far end that accepts the call has the last word. Where a fork
//! does not want a stream, its ports wait for one that does.
//!
//! # RTCP beside RTP
//!
//! Each side agrees with us alone (RFC 5761 section 5.1.1): who offers to share
//! the port of RTP is told that we do, and who does so now is offered it again,
//! whatever the opposite side says.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::stream::{Agreement, End, StreamPorts};
use super::{MediaSession, NoPorts, PortPair};
use crate::engine::by_leg::ByLeg;
use crate::engine::call_record::Mux;
use crate::engine::config::{Media, MediaSource};
use crate::engine::flow::Transport;
use crate::engine::ids::LegName;
use crate::engine::io::Output;
use crate::engine::sip::sdp::{Anchor, Description, Direction, Relayed, StreamContent};
use crate::engine::time::Instant;

/// One side's word in an offer/answer exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a> {
    /// What it described.
    pub(crate) description: &'a Description,
    /// Where the message came from, for peers behind NAT.
    pub(crate) signalled_from: IpAddr,
}

/// Whether an answer may be followed by another one, of another fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finality {
    /// It came in a provisional response.
    Early,
    /// It came in the 2xx or its ACK.
    Final,
}

impl MediaSession {
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
            let (codec, transport, extensions) = (relayed.codec, relayed.transport, relayed.extensions);
            let agreement = Agreement { codec, transport, extensions, audio: stream.is_audio() };
            *ports = Some(StreamPorts::new(ByLeg { a, b }, agreement));
        }
        Ok(())
    }

    /// Where `leg`'s far end is told to send to, by position.
    pub(crate) fn anchors(&self, leg: LegName, media: &Media) -> Vec<Option<Anchor>> {
        let advertised = media.addresses.get(self.sides[leg].address).map(|address| address.advertised);
        let anchor = |ports: &StreamPorts| {
            let address = SocketAddr::new(advertised?, ports.pairs[leg].rtp().port());
            let ice = self.agents[leg].as_ref().map(|agent| *agent.credentials());
            Some(Anchor { address, shares: ports.mux[leg] == Mux::Agreed, ice })
        };
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
            if offered.mux {
                ports.mux = ByLeg::new(offerer, Mux::Agreed, Mux::Offered);
            }
        }
        self.apply(dscp)
    }

    /// The offer goes to somebody else, at this address, who may send from now on; the
    /// one before may no more. Told before [`Self::expected`] is asked again.
    pub(crate) fn answerer_moves(&mut self, answerer: LegName, at: IpAddr) {
        let allowed = allowed(self.sides[answerer].source, at, at);
        for ports in self.streams.iter_mut().flatten() {
            if let Some(end) = ports.ends[answerer].as_mut().filter(|end| end.allowed != allowed) {
                (end.allowed, end.generation) = (allowed, end.generation.wrapping_add(1));
            }
        }
    }

    /// Takes over what an offer and its answer agreed on. Returns what the
    /// datapath must do.
    pub(crate) fn agreed(
        &mut self,
        offerer: LegName,
        offer: Word<'_>,
        answer: Word<'_>,
        finality: Finality,
        dscp: u8,
    ) -> Vec<Output> {
        let words = ByLeg::new(offerer, offer, answer);
        let mut restarted = false;
        for (index, slot) in self.streams.iter_mut().enumerate() {
            let Some(ports) = slot else { continue };
            let relayed = |leg: LegName| match words[leg].description.streams.get(index).map(|s| &s.content) {
                Some(StreamContent::Relayed(relayed)) => Some(relayed),
                Some(StreamContent::Off) | None => None,
            };
            let both = relayed(offerer).zip(relayed(offerer.other()));
            let both = both.and_then(|(a, b)| Some((a, b, a.transport.common(b.transport)?)));
            let Some((offered, answered, transport)) = both else {
                match finality {
                    // Another fork may still want it.
                    Finality::Early => ports.ends = ByLeg::default(),
                    Finality::Final => {
                        self.closing.extend([ports.pairs.a, ports.pairs.b]);
                        *slot = None;
                    }
                }
                continue;
            };
            ports.agreement.codec = answered.codec;
            let renewed = ports.agreement.transport != transport;
            ports.agreement.transport = transport;
            ports.agreement.extensions = offered.extensions.common(answered.extensions);
            ports.agreement.audio = words[offerer].description.streams[index].is_audio();
            ports.share(offerer, offered.mux, answered.mux);
            for (leg, said) in [(offerer, offered), (offerer.other(), answered)] {
                let ice = said.ice.as_ref().filter(|_| self.agents[leg].is_some());
                if ports.is_nominated(leg, ice) {
                    ports.stay(leg, said, renewed);
                } else {
                    ports.place(leg, said, self.sides[leg].source, words[leg].signalled_from, renewed);
                }
                let begins_anew =
                    ports.ice[leg].as_ref().zip(ice).is_some_and(|(was, is)| was.name != is.name);
                restarted |= leg == offerer && begins_anew;
                ports.meet(leg, ice);
            }
            ports.closed.clear();
        }
        if let Some(agent) = self.agents[offerer].as_mut().filter(|_| restarted) {
            agent.begin_anew();
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
}

impl StreamPorts {
    /// Who shares a port from now on. An answer that accepts what we did not offer
    /// accepts nothing. DTLS is between the far ends, one association per port, so
    /// there both share or neither does.
    fn share(&mut self, offerer: LegName, offered: bool, answered: bool) {
        let answerer = offerer.other();
        let we_offered = offered || self.mux[answerer] == Mux::Agreed;
        let agreed = |so: bool| if so { Mux::Agreed } else { Mux::No };
        self.mux = match self.agreement.transport {
            Transport::Srtp { dtls: true } => {
                let both = agreed(offered && answered);
                ByLeg { a: both, b: both }
            }
            Transport::Rtp | Transport::Srtp { dtls: false } | Transport::Udptl { .. } => {
                ByLeg::new(offerer, agreed(offered), agreed(we_offered && answered))
            }
        };
    }

    /// Takes over what a far end wants that is where it has nominated.
    fn stay(&mut self, leg: LegName, said: &Relayed, renewed: bool) {
        if let Some(end) = &mut self.ends[leg] {
            end.payload_types = said.payload_types;
            end.direction = said.direction;
            end.generation = end.generation.wrapping_add(u8::from(renewed));
        }
    }

    /// Takes over where a far end is and what it wants. It is learned anew where it
    /// is elsewhere, or all of it is `renewed`.
    fn place(
        &mut self,
        leg: LegName,
        said: &Relayed,
        source: MediaSource,
        signalled_from: IpAddr,
        renewed: bool,
    ) {
        // A far end on hold by the unspecified address keeps its place.
        let Some(far) = said.far.or(self.ends[leg].and_then(|end| end.far)) else { return };
        let allowed = allowed(source, far.rtp.ip(), signalled_from);
        let stays =
            |end: &End| !renewed && end.allowed == allowed && end.far.is_none_or(|expected| expected == far);
        let generation = match &self.ends[leg] {
            Some(end) if stays(end) => end.generation,
            Some(end) => end.generation.wrapping_add(1),
            None => 0,
        };
        self.ends[leg] = Some(End {
            far: Some(far),
            allowed,
            generation,
            payload_types: said.payload_types,
            direction: said.direction,
        });
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
