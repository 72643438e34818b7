//! From streams to flows, and from the flows that the datapath has to those that
//! it should have.
//!
//! # Who a packet may reach
//!
//! At any moment, whatever the datapath has done so far of what it was told, every
//! flow of a call sends to a far end that the *opposite* leg of the same call has
//! signalled: where it is now, or where it was until this very change. Never to a
//! third one, and never back to its own side. It follows from three things:
//!
//! - a flow belongs to one call and one leg from its first put to its removal:
//!   ports are drawn for a stream and given back only when every removal was
//!   answered, and rest before another call gets them;
//! - a flow is replaced whole ([`crate::engine::flow::FlowSpec`] is one value to
//!   the datapath), so a packet is handled by what was agreed before or by what is
//!   agreed now, and both name far ends of the opposite leg;
//! - a flow that follows a learned source follows that of a flow of the same call
//!   whose source only the opposite leg's far end can have fixed, and a far end
//!   that moves takes its generation, and with it what was learned, along.
//!
//! Removals come first, so that whoever has taken a stream back stops hearing it
//! before anything new begins.
//!
//! # Without a gap
//!
//! What does not change is not told: a flow whose specification stays as it is
//! appears in no output, so a hold, a resume, or a move of one far end leaves the
//! other direction alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::stream::{Agreement, StreamPorts};
use super::{Carried, MediaSession};
use crate::engine::call_record::Mux;
use crate::engine::config::MediaSource;
use crate::engine::flow::{Content, FlowOwner, FlowSpec, PayloadTypes, SourceRule};
use crate::engine::ids::LegName;
use crate::engine::io::Output;

impl MediaSession {
    /// Brings the datapath from the flows that it has to those wanted.
    pub(super) fn apply(&mut self, dscp: u8) -> Vec<Output> {
        let wanted = self.wanted(dscp);
        let before = std::mem::take(&mut self.flows);
        let mut outputs = Vec::new();
        for (local, carried) in &before {
            if !wanted.contains_key(local) {
                outputs.push(Output::RemoveFlow(*local));
                self.removing.push(carried.clone());
            }
        }
        let is_new =
            |carried: &&Carried| before.get(&carried.spec.local).map(|b| &b.spec) != Some(&carried.spec);
        outputs.extend(wanted.values().filter(is_new).map(|carried| Output::PutFlow(carried.spec.clone())));
        self.flows = wanted;
        outputs
    }

    /// The streams that the call's quality is measured by.
    pub(super) fn judged_streams(&self) -> impl Iterator<Item = &StreamPorts> {
        let is_judged = self.judges();
        self.streams.iter().flatten().filter(move |ports| is_judged(ports))
    }

    /// Whether the call's quality is measured by a stream: by those of audio, or by
    /// all where none is.
    fn judges(&self) -> impl Fn(&StreamPorts) -> bool {
        let has_audio = self.streams.iter().flatten().any(|ports| ports.agreement.audio);
        move |ports| ports.agreement.audio || !has_audio
    }

    /// The flows that the streams take, by where they arrive.
    pub(super) fn wanted(&self, dscp: u8) -> BTreeMap<SocketAddr, Carried> {
        let is_judged = self.judges();
        let mut wanted = BTreeMap::new();
        for ports in self.streams.iter().flatten() {
            for leg in [LegName::A, LegName::B] {
                let flows = self.direction(ports, leg, dscp, is_judged(ports));
                let flows = flows.into_iter().flatten().flatten();
                wanted.extend(flows.map(|carried| (carried.spec.local, carried)));
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
        let other = leg.other();
        let (from, to) = (ports.ends[leg]?, ports.ends[other]?);
        let far = to.far?;
        let (local, send_from) = (ports.pairs[leg], ports.pairs[other]);
        let (shares, taken_beside) = (ports.mux[leg], ports.mux[other] == Mux::Agreed);
        let flow = |content, local, (send_from, send_to)| FlowSpec {
            owner: FlowOwner { session: self.session, leg },
            local,
            source: SourceRule {
                allowed: ports.closed.get(&local).copied().unwrap_or(from.allowed),
                generation: from.generation,
            },
            content,
            send_from,
            send_to,
            follow_learned: self.sides[other].source == MediaSource::Nat,
            rtcp_apart: false,
            dscp,
        };
        let exit = (send_from.rtp(), far.rtp);
        let rtcp_exit = if taken_beside { exit } else { (send_from.rtcp(), far.rtcp) };
        let Agreement { codec, transport, extensions, audio: _ } = ports.agreement;
        // A sender uses the receiver's payload type numbers (RFC 3264 section 6.1).
        let content = transport.content(to.payload_types, shares != Mux::No);
        let stun = ports.ice[leg].is_some();
        let content = Content { clock_rate: codec.clock_rate, extensions, stun, ..content };
        let rtcp_apart = content.rtcp && !taken_beside;
        let rtp = Carried {
            spec: FlowSpec { rtcp_apart, ..flow(content, local.rtp(), exit) },
            codec: Some(codec.encoding),
            judged,
        };
        let content = match shares {
            Mux::Agreed => Content::nothing(),
            Mux::Offered | Mux::No => Content { stun, ..transport.content(PayloadTypes::default(), true) },
        };
        let rtcp = (transport.has_rtcp() && (rtcp_apart || shares != Mux::Agreed)).then(|| {
            let mut spec = flow(content, local.rtcp(), rtcp_exit);
            if let Some(elsewhere) = from.rtcp_elsewhere() {
                spec.source.allowed = elsewhere;
            }
            Carried { spec, codec: None, judged: false }
        });
        Some([Some(rtp), rtcp])
    }
}
