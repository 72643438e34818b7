//! The datapath: flows by their local address, and packets that go through
//! them to the one party they may reach.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use vizard::engine::cdr::Traffic;
use vizard::engine::flow::{FlowSpec, FlowStats};
use vizard::engine::ids::{LegName, SessionId};

use crate::atlas::{LegId, Side, owner_of};
use crate::scenario::Host;

/// A packet of the simulation: twenty milliseconds of G.711.
const PACKET_BYTES: u64 = 172;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// RTP of this payload type.
    Rtp(u8),
    /// RTCP.
    Rtcp,
}

/// Every flow that the engine asked for.
pub(crate) struct Datapath {
    flows: BTreeMap<SocketAddr, Flow>,
    /// When a port was freed, and whose it was.
    freed: BTreeMap<SocketAddr, (Duration, SessionId)>,
    quarantine: Duration,
    /// What removed flows had forwarded, by the leg that sent it.
    pub(crate) totals: BTreeMap<(SessionId, LegName), Traffic>,
    /// Packets that reached the other party.
    pub(crate) delivered: u64,
}

struct Flow {
    /// Whether it was put since Vizard's last start.
    claimed: bool,
    spec: FlowSpec,
    stats: FlowStats,
}

impl Datapath {
    /// Without a flow.
    pub(crate) fn new(quarantine: Duration) -> Self {
        Self {
            flows: BTreeMap::new(),
            freed: BTreeMap::new(),
            quarantine,
            totals: BTreeMap::new(),
            delivered: 0,
        }
    }

    /// Makes or updates a flow. Answers with the leg that sends into it.
    pub(crate) fn put(&mut self, now: Duration, spec: FlowSpec) -> Result<LegId, String> {
        let local = spec.local;
        let receiver = owner_of(spec.send_to.ip());
        let sender = owner_of(spec.source.allowed.addr()).or_else(|| self.asked(&spec, receiver?));
        let (Some(sender), Some(receiver)) = (sender, receiver) else {
            return Err(format!("a flow between addresses that nobody has: {spec:?}"));
        };
        if receiver != sender.other() {
            return Err(format!("a flow from {sender:?} to {receiver:?}: {spec:?}"));
        }
        if spec.source.allowed.prefix_len() != spec.source.allowed.max_prefix_len() {
            return Err(format!("a flow open to more than the signalled address: {spec:?}"));
        }
        if let Some((when, session)) = self.freed.get(&local)
            && *session != spec.owner.session
            && now < *when + self.quarantine
        {
            return Err(format!("{local} is used again {:?} after it was freed", now.checked_sub(*when)));
        }
        if let Some(flow) = self.flows.get_mut(&local) {
            if flow.spec.owner != spec.owner {
                return Err(format!("{local} of {:?} is taken by {:?}", flow.spec.owner, spec.owner));
            }
            if flow.claimed && flow.spec == spec {
                return Err(format!("{local} is told what it knows: {spec:?}"));
            }
            if flow.spec.source.generation != spec.source.generation {
                flow.stats.learned = None;
            } else if flow.spec.source.allowed != spec.source.allowed {
                return Err(format!("{local} moved without a new generation: {spec:?}"));
            }
            flow.spec = spec;
            flow.claimed = true;
        } else {
            self.flows.insert(local, Flow { claimed: true, spec, stats: FlowStats::default() });
        }
        Ok(sender)
    }

    /// Before its answer a callee may send to the caller from where it was
    /// asked: the address of a host.
    fn asked(&self, spec: &FlowSpec, receiver: LegId) -> Option<LegId> {
        let host = Host::ALL.iter().any(|host| host.address().ip() == spec.source.allowed.addr());
        let early = receiver.side == Side::Caller && !self.has(spec.local);
        (host && early).then(|| receiver.other())
    }

    /// Whether there is a flow at this address.
    pub(crate) fn has(&self, local: SocketAddr) -> bool {
        self.flows.contains_key(&local)
    }

    /// What a flow has counted; the engine asks for those that it made alone.
    pub(crate) fn read(&self, local: SocketAddr) -> Result<FlowStats, String> {
        self.flows.get(&local).map(|flow| flow.stats).ok_or_else(|| format!("{local} is read, and no flow"))
    }

    /// Removes a flow.
    pub(crate) fn remove(&mut self, now: Duration, local: SocketAddr) -> FlowStats {
        let Some(flow) = self.flows.remove(&local) else { return FlowStats::default() };
        let owner = flow.spec.owner;
        self.freed.insert(local, (now, owner.session));
        let total = self.totals.entry((owner.session, owner.leg)).or_default();
        *total = total.plus(flow.stats.forwarded);
        flow.stats
    }

    /// The process was killed: its flows go on without it.
    pub(crate) fn orphan(&mut self) {
        self.flows.values_mut().for_each(|flow| flow.claimed = false);
        self.freed.clear();
    }

    /// Removes the flows that no call has claimed; says where they were.
    pub(crate) fn sweep(&mut self, now: Duration) -> Vec<SocketAddr> {
        let left = self.flows.extract_if(.., |_, flow| !flow.claimed);
        let left: Vec<_> = left.map(|(local, flow)| (local, flow.spec.owner.session)).collect();
        self.freed.extend(left.iter().map(|&(local, session)| (local, (now, session))));
        left.into_iter().map(|(local, _)| local).collect()
    }

    /// Where flows are, and whose.
    pub(crate) fn open(&self) -> Vec<(SocketAddr, SessionId)> {
        self.flows.iter().map(|(local, flow)| (*local, flow.spec.owner.session)).collect()
    }

    /// Sends a packet of `sender`'s to a media address of Vizard's; says where
    /// it comes out, or why it does not.
    pub(crate) fn packet(
        &mut self,
        sender: LegId,
        from: SocketAddr,
        to: SocketAddr,
        packet: Packet,
    ) -> Result<Result<SocketAddr, &'static str>, String> {
        let mut beside = to;
        beside.set_port(to.port() + 1);
        let beside = self.flows.get(&beside).map(|flow| flow.spec.clone());
        let Some(flow) = self.flows.get_mut(&to) else { return Ok(Err("no flow")) };
        let spec = flow.spec.clone();
        if !spec.source.allowed.contains(&from.ip()) || flow.stats.learned.is_some_and(|l| l != from) {
            flow.stats.refused_packets += 1;
            return Ok(Err("wrong source"));
        }
        let is_taken = match packet {
            Packet::Rtp(payload_type) => spec.content.payload_types.contains(payload_type),
            Packet::Rtcp => spec.content.rtcp,
        };
        if !is_taken {
            flow.stats.refused_packets += 1;
            return Ok(Err("nothing that was agreed on"));
        }
        let leaving = match packet {
            Packet::Rtcp if spec.rtcp_apart => {
                beside.ok_or_else(|| format!("{to} sends its reports apart, and nothing says where to"))?
            }
            Packet::Rtcp | Packet::Rtp(_) => spec.clone(),
        };
        if leaving.owner != spec.owner {
            return Err(format!(
                "{to} of {:?} sends its reports by the exit of {:?}",
                spec.owner, leaving.owner
            ));
        }
        flow.stats.learned = Some(from);
        flow.stats.forwarded = flow.stats.forwarded.plus(Traffic { packets: 1, bytes: PACKET_BYTES });
        flow.stats.quality.expected += u64::from(packet != Packet::Rtcp);
        let (owner, send_from, send_to) = (leaving.owner, leaving.send_from, leaving.send_to);
        let follows = leaving.follow_learned;
        let opposite = self.flows.get(&send_from);
        if let Some(opposite) = opposite
            && (opposite.spec.owner.session != owner.session || opposite.spec.owner.leg == owner.leg)
        {
            return Err(format!("{to} leaves from {send_from}, which is {:?}", opposite.spec.owner));
        }
        let learned = opposite.and_then(|opposite| opposite.stats.learned).filter(|_| follows);
        let arrives = learned.unwrap_or(send_to);
        if owner_of(arrives.ip()) != Some(sender.other()) {
            return Err(format!("a packet of {sender:?} goes to {arrives}"));
        }
        self.delivered += 1;
        Ok(Ok(arrives))
    }
}
