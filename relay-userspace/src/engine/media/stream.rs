//! One stream of a call: our ports on either side, and its far ends as they were
//! last agreed on.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::PortPair;
use super::ice::Partner;
use crate::engine::by_leg::ByLeg;
use crate::engine::call_record::{EndRecord, Mux, StreamRecord};
use crate::engine::flow::{ExtensionIds, PayloadTypes, Transport};
use crate::engine::ids::LegName;
use crate::engine::sip::sdp::{Codec, Component, Direction, FarEnd, IceCredentials, RemoteIce};

/// The ports of one stream, and where its far ends are.
#[derive(Clone, Debug)]
pub(super) struct StreamPorts {
    pub(super) pairs: ByLeg<PortPair>,
    pub(super) ends: ByLeg<Option<End>>,
    /// The ranges of flows whose time to be learned is over.
    pub(super) closed: BTreeMap<SocketAddr, IpNet>,
    /// Where their RTP was learned from, when it was last looked at.
    pub(super) learned: ByLeg<Option<IpAddr>>,
    /// Whether RTCP shares the port of RTP, on each side by itself: one far end
    /// may have it so and the other not.
    pub(super) mux: ByLeg<Mux>,
    /// The far ends that speak ICE.
    pub(super) ice: ByLeg<Option<Partner>>,
    pub(super) agreement: Agreement,
}

/// What both far ends said, or the one of them that has spoken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreement {
    pub(super) codec: Codec,
    pub(super) transport: Transport,
    pub(super) extensions: ExtensionIds,
    pub(super) audio: bool,
}

/// A far end as last agreed on, or as it is expected before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Where it receives; unknown before it answers.
    pub(super) far: Option<FarEnd>,
    pub(super) allowed: IpNet,
    pub(super) generation: u8,
    pub(super) payload_types: PayloadTypes,
    pub(super) direction: Direction,
}

impl StreamPorts {
    /// Of a stream that was offered and not answered.
    pub(super) fn new(pairs: ByLeg<PortPair>, agreement: Agreement) -> Self {
        Self {
            pairs,
            ends: ByLeg::default(),
            closed: BTreeMap::new(),
            learned: ByLeg::default(),
            mux: ByLeg { a: Mux::No, b: Mux::No },
            ice: ByLeg::default(),
            agreement,
        }
    }

    /// As the journal keeps it, with what we are known by in ICE.
    pub(super) fn record(&self, ours: ByLeg<Option<IceCredentials>>) -> StreamRecord {
        let ice = |leg| Some(Partner::record(self.ice[leg].as_ref()?, ours[leg]?));
        StreamRecord {
            ports: [self.pairs.a.rtp(), self.pairs.b.rtp()],
            ends: [self.ends.a, self.ends.b].map(|end| end.map(End::record)),
            closed: self.closed.iter().map(|(&local, &range)| (local, range)).collect(),
            codec: self.agreement.codec.encoding,
            clock_rate: self.agreement.codec.clock_rate,
            transport: self.agreement.transport,
            extensions: self.agreement.extensions,
            mux: [self.mux.a, self.mux.b],
            ice: [ice(LegName::A), ice(LegName::B)],
            audio: self.agreement.audio,
        }
    }

    /// From the journal; `None` when its ports cannot be had again.
    pub(super) fn restored(
        record: &StreamRecord,
        claim: &mut impl FnMut(SocketAddr) -> Option<PortPair>,
    ) -> Option<Self> {
        let [a, b] = record.ports.map(claim);
        let codec = Codec { encoding: record.codec, clock_rate: record.clock_rate };
        let StreamRecord { transport, extensions, audio, .. } = *record;
        let agreement = Agreement { codec, transport, extensions, audio };
        let mut stream = Self::new(ByLeg { a: a?, b: b? }, agreement);
        let [a, b] = record.ends.map(|end| end.map(End::restored));
        stream.ends = ByLeg { a, b };
        stream.closed = record.closed.iter().copied().collect();
        let [a, b] = record.mux;
        stream.mux = ByLeg { a, b };
        let [a, b] = record.ice.each_ref().map(|ice| ice.as_ref().map(Partner::restored));
        stream.ice = ByLeg { a, b };
        Some(stream)
    }
}

impl StreamPorts {
    /// Begins anew with another pair for a leg; returns the one before.
    pub(super) fn turn(&mut self, leg: LegName, pair: PortPair) -> PortPair {
        let before = self.pairs[leg];
        *self = Self::new(self.pairs, self.agreement);
        self.pairs[leg] = pair;
        before
    }

    /// Takes over what a far end says of itself for ICE. Whoever has another name
    /// than before begins anew, and has nominated nothing yet.
    pub(super) fn meet(&mut self, leg: LegName, said: Option<&RemoteIce>) {
        let partner = &mut self.ice[leg];
        match (partner.as_mut(), said) {
            (Some(known), Some(said)) if known.name == said.name => {
                known.candidates.clone_from(&said.candidates);
            }
            (_, said) => *partner = said.map(Partner::new),
        }
    }

    /// Whether a far end is where it has nominated, and this is still it.
    pub(super) fn is_nominated(&self, leg: LegName, said: Option<&RemoteIce>) -> bool {
        let partner = self.ice[leg].as_ref().filter(|partner| partner.nominated && self.ends[leg].is_some());
        partner.zip(said).is_some_and(|(partner, said)| partner.name == said.name)
    }

    /// A far end wants its media where it has asked from, and sends from there.
    pub(super) fn nominate(&mut self, leg: LegName, component: Component, source: SocketAddr) {
        let shares = self.mux[leg] == Mux::Agreed;
        let pair = self.pairs[leg];
        let Some(end) = &mut self.ends[leg] else { return };
        let before = *end;
        let mut far = end.far.unwrap_or(FarEnd { rtp: source, rtcp: source });
        match component {
            Component::Rtp => {
                far.rtp = source;
                far.rtcp = if shares { source } else { far.rtcp };
                end.allowed = IpNet::from(source.ip());
            }
            Component::Rtcp => far.rtcp = source,
        }
        end.far = Some(far);
        if *end != before {
            end.generation = end.generation.wrapping_add(1);
            for local in [pair.rtp(), pair.rtcp()] {
                self.closed.remove(&local);
            }
        }
        if let Some(partner) = &mut self.ice[leg] {
            partner.nominated = true;
        }
    }
}

impl End {
    /// Where RTCP may come from, if another host than that of RTP has to do with it
    /// (`a=rtcp:` with an address). Where more than one host may send, it is one of them.
    pub(super) fn rtcp_elsewhere(&self) -> Option<IpNet> {
        let FarEnd { rtp, rtcp } = self.far?;
        (rtcp.ip() != rtp.ip() && self.allowed == IpNet::from(rtp.ip())).then(|| IpNet::from(rtcp.ip()))
    }

    fn restored(record: EndRecord) -> Self {
        let EndRecord { far, allowed, generation, payload_types, sends, receives } = record;
        let far = far.map(|(rtp, rtcp)| FarEnd { rtp, rtcp });
        Self { far, allowed, generation, payload_types, direction: Direction::of(sends, receives) }
    }

    fn record(self) -> EndRecord {
        let Self { far, allowed, generation, payload_types, direction } = self;
        EndRecord {
            far: far.map(|far| (far.rtp, far.rtcp)),
            allowed,
            generation,
            payload_types,
            sends: direction.sends(),
            receives: direction.receives(),
        }
    }
}
