//! The bare redirect and Vizard.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use aya::maps::DevMap;
use aya::programs::xdp::XdpLink;
use harness::lab::Place;
use relay_ebpf::traffic;
use serde::{Deserialize, Serialize};
use vizard::datapath::{self, Datapath, DatapathConfig, Mode};
use vizard::engine::flow::{Content, FlowOwner, FlowSpec, PayloadTypes, SourceRule};
use vizard::engine::ids::{LegName, SessionId};

use crate::stage::{ENTRY, EXIT, FIRST_PORT, Relay, Stage, Turn, link, ports, shuffled};

/// New MAC addresses and out by the other interface, whatever the flow.
pub(crate) struct Bare {
    pub(crate) flows: u16,
}

/// The programs leave with their links.
struct Attached {
    _links: [XdpLink; 2],
}

impl Turn for Attached {}

impl Relay for Bare {
    fn name(&self) -> String {
        format!("bare redirect, {} flows", self.flows)
    }

    fn enter(&self, stage: &mut Stage) -> Result<Box<dyn Turn>> {
        let Stage { lab, traffic, .. } = stage;
        let links = lab.inside(Place::Vizard, || {
            let (entry, _) = link(ENTRY)?;
            let (exit, _) = link(EXIT)?;
            let map = traffic.object().map_mut(traffic::EXIT).context("there is no device map")?;
            DevMap::try_from(map)?.set(0, exit, None, 0)?;
            // Vizard stands on both interfaces too.
            Ok([traffic.attach(traffic::FORWARD, entry)?, traffic.attach(traffic::PASS, exit)?])
        })?;
        traffic.aim(&shuffled(ports(self.flows)))?;
        stage.warm_up(&self.name())?;
        Ok(Box::new(Attached { _links: links }))
    }
}

/// Vizard's media path, opened as the daemon opens it.
pub(crate) struct Vizard {
    pub(crate) flows: u16,
}

/// A media path with flows in it.
pub(crate) struct Open {
    pub(crate) datapath: Box<dyn Datapath>,
}

impl Turn for Open {}

impl Relay for Vizard {
    fn name(&self) -> String {
        format!("vizard, {} flows", self.flows)
    }

    fn enter(&self, stage: &mut Stage) -> Result<Box<dyn Turn>> {
        Ok(Box::new(self.open(stage)?))
    }
}

impl Vizard {
    /// The media path with its flows, warm.
    pub(crate) fn open(&self, stage: &mut Stage) -> Result<Open> {
        let ends = Ends::of(stage)?;
        let mut datapath = path(stage)?;
        for port in ports(self.flows) {
            datapath.put(&ends.flow(port))?;
        }
        stage.traffic.aim(&shuffled(ports(self.flows)))?;
        stage.warm_up(&self.name())?;
        Ok(Open { datapath })
    }
}

/// The media path without a flow.
pub(crate) fn path(stage: &Stage) -> Result<Box<dyn Datapath>> {
    let config = Ends::of(stage)?.config(None);
    stage.lab.inside(Place::Vizard, || Ok(datapath::open(&config)?))
}

/// The generator, the sink, and what Vizard is called towards each.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ends {
    pub(crate) customer: Ipv4Addr,
    pub(crate) agent: Ipv4Addr,
    towards_customer: Ipv4Addr,
    towards_agent: Ipv4Addr,
}

impl Ends {
    /// Those of a stage.
    pub(crate) fn of(stage: &Stage) -> Result<Self> {
        Ok(Self {
            customer: stage.address(Place::Customer, Place::Vizard)?,
            agent: stage.address(Place::Agent, Place::Vizard)?,
            towards_customer: stage.address(Place::Vizard, Place::Customer)?,
            towards_agent: stage.address(Place::Vizard, Place::Agent)?,
        })
    }

    /// A media path between them; its maps outlive the process where `pin` says so.
    pub(crate) fn config(&self, pin: Option<PathBuf>) -> DatapathConfig {
        DatapathConfig {
            mode: Mode::XdpNative,
            interfaces: Vec::new(),
            addresses: vec![self.towards_customer.into(), self.towards_agent.into()],
            ports: FIRST_PORT..=u16::MAX,
            pin,
            discard_calls: false,
            guard: None,
        }
    }

    /// The flow from the generator to the sink through a port, which is the same at
    /// all four ends.
    pub(crate) fn flow(&self, port: u16) -> FlowSpec {
        FlowSpec {
            owner: FlowOwner { session: SessionId::from_bits(1), leg: LegName::A },
            local: (self.towards_customer, port).into(),
            source: SourceRule { allowed: std::net::IpAddr::from(self.customer).into(), generation: 0 },
            content: Content::rtp(PayloadTypes::default().with(0)),
            send_from: (self.towards_agent, port).into(),
            send_to: (self.agent, port).into(),
            follow_learned: false,
            rtcp_apart: false,
            dscp: 46,
        }
    }
}

/// The flow of the other direction of the same stream, after signalling moved
/// its ends `generation` times.
pub(crate) fn opposite(flow: &FlowSpec, customer: SocketAddr, generation: u8) -> FlowSpec {
    FlowSpec {
        local: flow.send_from,
        source: SourceRule { allowed: flow.send_to.ip().into(), generation },
        send_from: flow.local,
        send_to: customer,
        ..flow.clone()
    }
}
