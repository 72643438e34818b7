//! A call's media: which of our ports its streams use, and which flows the
//! datapath must carry for that.
//!
//! Each stream gets a port pair on either leg, RTP on the even port and RTCP on
//! the next (RFC 3550 section 11). What arrives on one leg's pair leaves from
//! the other's, so a stream is four flows, or two where both far ends let RTCP
//! share the port of RTP (RFC 5761); where one does, its second port receives
//! nothing and is where its RTCP leaves from. Offer and answer are agreed before
//! any flow changes: a failed re-INVITE costs nothing.
//!
//! - [`agreement`]: offers and answers;
//! - [`stream`]: what is known of one stream;
//! - [`carrying`]: the flows that follow from it, and who a packet may reach;
//! - [`hearing`], [`watch`]: whether far ends are heard;
//! - [`ice`]: the STUN that far ends ask;
//! - [`ports`]: which pairs are free.

mod agreement;
mod carrying;
mod hearing;
mod ice;
mod ports;
mod stream;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;

pub(crate) use agreement::{Finality, Word};
#[cfg(test)]
pub(crate) use ice::tests::request as ice_request;
pub(crate) use ice::{Agent, Unanswered};
pub(crate) use ports::{PortPair, Ports};
pub(crate) use watch::Finding;

use super::by_leg::ByLeg;
use super::call_record::StreamRecord;
use super::cdr::Traffic;
use super::config::MediaSource;
use super::encoding::Encoding;
use super::flow::{FlowSpec, FlowStats, Quality};
use super::ids::{LegName, SessionId};
use super::io::Output;
use super::time::Instant;
use stream::StreamPorts;
use watch::Watch;

/// The media of one call.
#[derive(Debug)]
pub(crate) struct MediaSession {
    session: SessionId,
    sides: ByLeg<Side>,
    /// On the legs where ICE is spoken.
    agents: ByLeg<Option<Agent>>,
    streams: Vec<Option<StreamPorts>>,
    /// What the datapath was told to carry, by the address where it arrives.
    flows: BTreeMap<SocketAddr, Carried>,
    /// Removals that the datapath has not answered yet, in their order: a flow may
    /// be made again, and removed again, before the first answer.
    removing: Vec<Carried>,
    /// Ports of streams that are over, kept until the removals are answered.
    closing: Vec<PortPair>,
    /// What each leg's far end sent, of the flows that are gone.
    received: ByLeg<Received>,
    /// What each flow had counted when it was last looked at.
    looked_at: BTreeMap<SocketAddr, (LegName, Received)>,
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
    /// Which of [`super::config::Media::addresses`].
    pub(crate) address: usize,
    /// Who may send.
    pub(crate) source: MediaSource,
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
            agents: ByLeg::default(),
            streams: Vec::new(),
            flows: BTreeMap::new(),
            removing: Vec::new(),
            closing: Vec::new(),
            received: ByLeg::default(),
            looked_at: BTreeMap::new(),
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
        for record in streams {
            let stream = record.as_ref().and_then(|record| StreamPorts::restored(record, &mut claim));
            whole &= stream.is_some() == record.is_some();
            restored.streams.push(stream);
        }
        restored.flows = restored.wanted(dscp);
        (restored, whole)
    }

    /// With what the far ends of A and B sent before, which of them were not heard
    /// at some time, and the codec agreed on last.
    pub(crate) fn with_past(
        mut self,
        received: [(Traffic, Quality); 2],
        one_way: [bool; 2],
        codec: Option<Encoding>,
    ) -> Self {
        let [a, b] = received.map(|(traffic, quality)| Received { traffic, quality });
        self.received = ByLeg { a, b };
        let [a, b] = one_way;
        self.watch = Watch::after(ByLeg { a, b });
        self.codec = codec;
        self
    }

    /// With these agents for ICE.
    pub(crate) fn speaking(mut self, agents: ByLeg<Option<Agent>>) -> Self {
        self.agents = agents;
        self
    }

    /// Its streams, as the journal keeps them.
    pub(crate) fn record(&self) -> Vec<Option<StreamRecord>> {
        let known_by = |leg: LegName| self.agents[leg].as_ref().map(|agent| *agent.credentials());
        let ours = ByLeg { a: known_by(LegName::A), b: known_by(LegName::B) };
        self.streams.iter().map(|stream| stream.as_ref().map(|stream| stream.record(ours))).collect()
    }

    /// A far end that has not answered is called somewhere else: over another media
    /// address its streams get other ports there, and the far end of the other leg
    /// keeps its own. Returns what the datapath must do.
    pub(crate) fn turn(
        &mut self,
        leg: LegName,
        side: Side,
        agent: Option<Agent>,
        (now, dscp): (Instant, u8),
        mut draw: impl FnMut(usize, Instant) -> Option<PortPair>,
    ) -> Result<Vec<Output>, NoPorts> {
        let moves = side.address != self.sides[leg].address;
        self.sides[leg] = side;
        self.agents[leg] = agent;
        for stream in self.streams.iter_mut().flatten().filter(|_| moves) {
            let pair = draw(side.address, now).ok_or(NoPorts)?;
            self.closing.push(stream.turn(leg, pair));
        }
        Ok(if moves { self.apply(dscp) } else { Vec::new() })
    }

    /// Ends all streams. Returns what the datapath must do.
    pub(crate) fn close(&mut self) -> Vec<Output> {
        let pairs = self.streams.drain(..).flatten().flat_map(|ports| [ports.pairs.a, ports.pairs.b]);
        self.closing.extend(pairs);
        self.apply(0)
    }

    /// Counts a flow that the datapath has removed.
    pub(crate) fn removed(&mut self, local: SocketAddr, stats: &FlowStats) {
        let Some(first) = self.removing.iter().position(|carried| carried.spec.local == local) else {
            return;
        };
        let carried = self.removing.remove(first);
        self.watch.forget(local);
        self.looked_at.remove(&local);
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

    /// What each leg's far end has sent, as far as it was looked at.
    pub(crate) fn received_so_far(&self) -> ByLeg<Received> {
        self.looked_at.values().fold(self.received, |mut sum, (leg, received)| {
            let of_leg = &mut sum[*leg];
            of_leg.traffic = of_leg.traffic.plus(received.traffic);
            of_leg.quality = of_leg.quality.and(received.quality);
            sum
        })
    }

    /// The codec that was agreed on last; none before an answer.
    pub(crate) const fn codec(&self) -> Option<Encoding> {
        self.codec
    }

    /// Whether the datapath carries or counts a flow that arrives here.
    pub(crate) fn knows(&self, local: SocketAddr) -> bool {
        self.flows.contains_key(&local) || self.removing.iter().any(|carried| carried.spec.local == local)
    }

    /// The flows that the datapath was told to carry.
    pub(crate) fn flows(&self) -> impl Iterator<Item = &Carried> {
        self.flows.values()
    }
}

#[cfg(test)]
mod tests;
