//! The media streams of a stored call: ports, far ends, and what was agreed on.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::engine::call_record::{EndRecord, IceRecord, Mux, StreamRecord};
use crate::engine::encoding::Encoding;
use crate::engine::flow::{ExtensionIds, PayloadTypes, Transport};
use crate::engine::sip::sdp::{Component, IceCredentials, Token};

#[derive(Serialize, Deserialize)]
pub(super) struct StreamV1 {
    ports: [SocketAddr; 2],
    ends: [Option<EndV1>; 2],
    codec: String,
    clock_rate: u32,
    mux: MuxV1,
    audio: bool,
}

#[derive(Serialize, Deserialize)]
enum MuxV1 {
    No,
    Offered,
    Agreed,
}

#[derive(Serialize, Deserialize)]
struct EndV1 {
    far: Option<(SocketAddr, SocketAddr)>,
    allowed: IpNet,
    generation: u8,
    payload_types: u128,
}

/// What the second version adds to a stream, whose `mux` before was that of A.
#[derive(Serialize, Deserialize)]
pub(super) struct StreamV2 {
    transport: TransportV2,
    /// One bit for each id.
    extensions: u16,
    mux_b: MuxV1,
    /// Whether each end sends, and whether it wants to receive.
    directions: [Option<(bool, bool)>; 2],
    /// Ports whose time to be learned is over, and from where they still take
    /// anything.
    closed: Vec<(SocketAddr, IpNet)>,
    ice: [Option<IceV2>; 2],
}

#[derive(Serialize, Deserialize)]
struct IceV2 {
    our_name: String,
    our_password: String,
    name: String,
    /// Whether it is for RTCP, and where.
    candidates: Vec<(bool, SocketAddr)>,
    nominated: bool,
}

fn to_ice(ice: &IceRecord) -> IceV2 {
    IceV2 {
        our_name: ice.ours.name.as_str().to_owned(),
        our_password: ice.ours.password.as_str().to_owned(),
        name: ice.name.clone(),
        candidates: ice.candidates.iter().map(|&(of, at)| (of == Component::Rtcp, at)).collect(),
        nominated: ice.nominated,
    }
}

fn from_ice(ice: IceV2) -> Result<IceRecord, String> {
    let broken = "what we are known by in ICE is broken";
    let name = Token::parse(&ice.our_name).ok_or(broken)?;
    let password = Token::parse(&ice.our_password).ok_or(broken)?;
    let component = |rtcp| if rtcp { Component::Rtcp } else { Component::Rtp };
    Ok(IceRecord {
        ours: IceCredentials { name, password },
        name: ice.name,
        candidates: ice.candidates.into_iter().map(|(rtcp, at)| (component(rtcp), at)).collect(),
        nominated: ice.nominated,
    })
}

#[derive(Serialize, Deserialize)]
enum TransportV2 {
    Rtp,
    Srtp { dtls: bool },
    Udptl { dtls: bool },
}

impl From<Transport> for TransportV2 {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Rtp => Self::Rtp,
            Transport::Srtp { dtls } => Self::Srtp { dtls },
            Transport::Udptl { dtls } => Self::Udptl { dtls },
        }
    }
}

impl From<TransportV2> for Transport {
    fn from(transport: TransportV2) -> Self {
        match transport {
            TransportV2::Rtp => Self::Rtp,
            TransportV2::Srtp { dtls } => Self::Srtp { dtls },
            TransportV2::Udptl { dtls } => Self::Udptl { dtls },
        }
    }
}

pub(super) fn to_stream(stream: &StreamRecord) -> StreamV1 {
    let end = |end: EndRecord| EndV1 {
        far: end.far,
        allowed: end.allowed,
        generation: end.generation,
        payload_types: end.payload_types.bits(),
    };
    StreamV1 {
        ports: stream.ports,
        ends: stream.ends.map(|known| known.map(end)),
        codec: stream.codec.as_str().to_owned(),
        clock_rate: stream.clock_rate,
        mux: to_mux(stream.mux[0]),
        audio: stream.audio,
    }
}

pub(super) fn to_added(stream: &StreamRecord) -> StreamV2 {
    StreamV2 {
        transport: stream.transport.into(),
        extensions: stream.extensions.bits(),
        mux_b: to_mux(stream.mux[1]),
        directions: stream.ends.map(|end| end.map(|end| (end.sends, end.receives))),
        closed: stream.closed.clone(),
        ice: stream.ice.each_ref().map(|ice| ice.as_ref().map(to_ice)),
    }
}

const fn to_mux(mux: Mux) -> MuxV1 {
    match mux {
        Mux::No => MuxV1::No,
        Mux::Offered => MuxV1::Offered,
        Mux::Agreed => MuxV1::Agreed,
    }
}

const fn from_mux(mux: &MuxV1) -> Mux {
    match mux {
        MuxV1::No => Mux::No,
        MuxV1::Offered => Mux::Offered,
        MuxV1::Agreed => Mux::Agreed,
    }
}

pub(super) fn from_stream(stream: StreamV1) -> StreamRecord {
    let end = |end: EndV1| EndRecord {
        far: end.far,
        allowed: end.allowed,
        generation: end.generation,
        payload_types: PayloadTypes::from_bits(end.payload_types),
        // Who does not say so is not expected to speak.
        sends: false,
        receives: false,
    };
    StreamRecord {
        ports: stream.ports,
        ends: stream.ends.map(|known| known.map(end)),
        closed: Vec::new(),
        codec: Encoding::named(&stream.codec),
        clock_rate: stream.clock_rate,
        transport: Transport::Rtp,
        extensions: ExtensionIds::default(),
        mux: [from_mux(&stream.mux); 2],
        ice: [None, None],
        audio: stream.audio,
    }
}

/// Adds what the second version says of a stream.
pub(super) fn add_to(stream: &mut StreamRecord, added: StreamV2) -> Result<(), String> {
    stream.transport = added.transport.into();
    stream.extensions = ExtensionIds::from_bits(added.extensions);
    stream.mux[1] = from_mux(&added.mux_b);
    stream.closed = added.closed;
    let [a, b] = added.ice;
    stream.ice = [a.map(from_ice).transpose()?, b.map(from_ice).transpose()?];
    for (end, direction) in stream.ends.iter_mut().zip(added.directions) {
        if let (Some(end), Some(direction)) = (end, direction) {
            (end.sends, end.receives) = direction;
        }
    }
    Ok(())
}
