//! A session's part in listening to its far ends: which flows are looked at,
//! what their counts mean, and whose time to be learned is over.
//!
//! A far end behind NAT, or one of a whole network, may be learned from more than
//! the address that it signalled. That is a door, so it does not stay open: who
//! was asked to speak and was not heard within the learning window can only
//! come from the one address that it named, until it is signalled anew. RTCP
//! often comes seconds later; its door narrows to where RTP was learned.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::stream::StreamPorts;
use super::{Finding, MediaSession, Received};
use crate::engine::by_leg::ByLeg;
use crate::engine::config::Patience;
use crate::engine::flow::{FlowStats, Quality};
use crate::engine::ids::LegName;
use crate::engine::io::Output;
use crate::engine::sip::sdp::Direction;
use crate::engine::time::Instant;

impl MediaSession {
    /// Both sides have agreed on what is there now, and the call is answered.
    pub(crate) fn settled(&mut self, now: Instant) {
        let talking = self.judged_streams().any(StreamPorts::is_talking);
        self.watch.settled(now, talking);
    }

    /// Asks the datapath for the count of every flow that takes anything.
    pub(crate) fn look(&self) -> Vec<Output> {
        let counting = self.flows.values().map(|carried| &carried.spec);
        let counting = counting.filter(|spec| !spec.content.is_nothing());
        counting.map(|spec| Output::ReadFlow(spec.local)).collect()
    }

    /// Takes the count of a flow. Returns what the datapath must do when the
    /// far end's time to be learned is over.
    pub(crate) fn counted(
        &mut self,
        now: Instant,
        local: SocketAddr,
        stats: &FlowStats,
        patience: &Patience,
        dscp: u8,
    ) -> Vec<Output> {
        let Some(carried) = self.flows.get(&local) else { return Vec::new() };
        let leg = carried.spec.owner.leg;
        let quality = if carried.judged { stats.quality } else { Quality::default() };
        self.looked_at.insert(local, (leg, Received { traffic: stats.forwarded, quality }));
        let packets = stats.forwarded.packets;
        let rtp = if carried.spec.content.rtcp { stats.quality.expected } else { packets };
        // Fax is spoken by turns: while one side sends a page, the other one listens.
        let by_turns = !carried.spec.content.has_rtp();
        let speakers: &[LegName] = if by_turns { &[LegName::A, LegName::B] } else { &[leg] };
        self.watch.counted(now, speakers, local, packets, carried.judged.then_some(rtp));
        let over = self.watch.learning_is_over(now, patience);
        let port =
            |ports: &&mut StreamPorts| [ports.pairs[leg].rtp(), ports.pairs[leg].rtcp()].contains(&local);
        let Some(ports) = self.streams.iter_mut().flatten().find(port) else { return Vec::new() };
        if local == ports.pairs[leg].rtp() {
            ports.learned[leg] = stats.learned.map(|source| source.ip());
        }
        let range = ports.range_without_learning(leg, local);
        match range {
            Some(range) if over && stats.learned.is_none() => {
                ports.closed.insert(local, range);
                self.apply(dscp)
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// What is to be said about the silence by now.
    pub(crate) fn judge(&mut self, now: Instant, patience: &Patience) -> Vec<Finding> {
        self.watch.judge(now, patience)
    }

    /// How long until the next look.
    pub(crate) fn next_look(&self, now: Instant, patience: &Patience) -> std::time::Duration {
        self.watch.next_look(now, patience)
    }

    /// Which far ends are not heard now, while the other one is.
    pub(crate) const fn silent(&self) -> &ByLeg<bool> {
        self.watch.silent()
    }

    /// Which far ends have been so at any time.
    pub(crate) const fn one_way(&self) -> &ByLeg<bool> {
        self.watch.one_way()
    }
}

impl StreamPorts {
    /// Whether both far ends are asked to speak.
    fn is_talking(&self) -> bool {
        let speaks = |leg: LegName| {
            self.ends[leg].is_some_and(|end| end.far.is_some() && end.direction == Direction::SendRecv)
        };
        speaks(LegName::A) && speaks(LegName::B)
    }

    /// The one address that a far end may still come from when it was not
    /// learned in time.
    fn range_without_learning(&self, leg: LegName, local: SocketAddr) -> Option<IpNet> {
        let far = self.ends[leg]?.far?;
        let address: IpAddr = if local == self.pairs[leg].rtp() {
            far.rtp.ip()
        } else {
            self.learned[leg].unwrap_or_else(|| far.rtcp.ip())
        };
        Some(IpNet::from(address))
    }
}

#[cfg(test)]
mod tests;
