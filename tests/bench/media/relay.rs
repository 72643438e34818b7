//! The bare redirect and Vizard.

use anyhow::{Context, Result};
use aya::maps::DevMap;
use aya::programs::xdp::XdpLink;
use harness::lab::Place;
use relay_ebpf::traffic;
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
        let mut datapath = path(stage)?;
        for port in ports(self.flows) {
            datapath.put(&flow(stage, port)?)?;
        }
        stage.traffic.aim(&shuffled(ports(self.flows)))?;
        stage.warm_up(&self.name())?;
        Ok(Open { datapath })
    }
}

/// The media path without a flow.
pub(crate) fn path(stage: &Stage) -> Result<Box<dyn Datapath>> {
    let towards = |place| stage.address(Place::Vizard, place);
    let config = DatapathConfig {
        mode: Mode::XdpNative,
        interfaces: Vec::new(),
        addresses: vec![towards(Place::Customer)?.into(), towards(Place::Agent)?.into()],
        ports: FIRST_PORT..=u16::MAX,
        pin: None,
        discard_calls: false,
        guard: None,
    };
    stage.lab.inside(Place::Vizard, || Ok(datapath::open(&config)?))
}

/// The flow from the generator to the sink through a port, which is the same at
/// all four ends.
pub(crate) fn flow(stage: &Stage, port: u16) -> Result<FlowSpec> {
    let customer = stage.address(Place::Customer, Place::Vizard)?;
    let agent = stage.address(Place::Agent, Place::Vizard)?;
    Ok(FlowSpec {
        owner: FlowOwner { session: SessionId::from_bits(1), leg: LegName::A },
        local: (stage.address(Place::Vizard, Place::Customer)?, port).into(),
        source: SourceRule { allowed: std::net::IpAddr::from(customer).into(), generation: 0 },
        content: Content::rtp(PayloadTypes::default().with(0)),
        send_from: (stage.address(Place::Vizard, Place::Agent)?, port).into(),
        send_to: (agent, port).into(),
        follow_learned: false,
        rtcp_apart: false,
        dscp: 46,
    })
}

/// The flow of the other direction of the same stream, after signalling moved
/// its ends `generation` times.
pub(crate) fn opposite(flow: &FlowSpec, customer: std::net::SocketAddr, generation: u8) -> FlowSpec {
    FlowSpec {
        local: flow.send_from,
        source: SourceRule { allowed: flow.send_to.ip().into(), generation },
        send_from: flow.local,
        send_to: customer,
        ..flow.clone()
    }
}
