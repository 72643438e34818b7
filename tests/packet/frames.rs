//! Frames, built with etherparse.

use std::net::{IpAddr, SocketAddr};

use etherparse::{Ethernet2Header, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, UdpHeader, ether_type};

/// A frame to be; every field may be changed before it is built.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) macs: ([u8; 6], [u8; 6]),
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) hops: u8,
    pub(crate) dscp: u8,
    pub(crate) payload: Vec<u8>,
    pub(crate) checksum: bool,
    pub(crate) padding: usize,
    pub(crate) flow_label: u32,
    /// Protocol and VLAN of each tag, the outer one first.
    pub(crate) tags: Vec<(u16, u16)>,
}

pub(crate) const PEER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
pub(crate) const HERE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];

/// A datagram of the peers' usual kind.
pub(crate) fn datagram(from: &str, to: &str, payload: Vec<u8>) -> Datagram {
    Datagram {
        macs: (PEER_MAC, HERE_MAC),
        from: from.parse().expect("an address"),
        to: to.parse().expect("an address"),
        hops: 64,
        dscp: 0,
        payload,
        checksum: true,
        padding: 0,
        flow_label: 0xabcde,
        tags: Vec::new(),
    }
}

/// RTP with this payload type and 160 bytes of sound.
pub(crate) fn rtp(payload_type: u8) -> Vec<u8> {
    let mut bytes = vec![0x80, payload_type, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef];
    bytes.extend((0..160_u8).map(|sample| sample.wrapping_mul(37)));
    bytes
}

/// An RTCP receiver report without blocks.
pub(crate) fn rtcp() -> Vec<u8> {
    vec![0x80, 201, 0, 1, 0xde, 0xad, 0xbe, 0xef]
}

/// A STUN binding request without attributes.
pub(crate) fn stun() -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    bytes.extend(1..=12);
    bytes
}

impl Datagram {
    /// The frame's bytes.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        let (source, destination) = self.macs;
        let udp_length = (UdpHeader::LEN + self.payload.len()) as u16;
        let mut udp = UdpHeader {
            source_port: self.from.port(),
            destination_port: self.to.port(),
            length: udp_length,
            checksum: 0,
        };
        let ethernet = |ether_type| Ethernet2Header { source, destination, ether_type };
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut ip =
                    Ipv4Header::new(udp_length, self.hops, IpNumber::UDP, from.octets(), to.octets())
                        .expect("a payload that fits");
                ip.dscp = self.dscp.try_into().expect("six bits");
                ip.header_checksum = ip.calc_header_checksum();
                if self.checksum {
                    udp.checksum = udp.calc_checksum_ipv4(&ip, &self.payload).expect("a payload that fits");
                }
                ethernet(ether_type::IPV4).write(&mut frame).expect("memory");
                ip.write(&mut frame).expect("memory");
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let ip = Ipv6Header {
                    traffic_class: self.dscp << 2,
                    flow_label: Ipv6FlowLabel::try_new(self.flow_label).expect("twenty bits"),
                    payload_length: udp_length,
                    next_header: IpNumber::UDP,
                    hop_limit: self.hops,
                    source: from.octets(),
                    destination: to.octets(),
                };
                if self.checksum {
                    udp.checksum = udp.calc_checksum_ipv6(&ip, &self.payload).expect("a payload that fits");
                }
                ethernet(ether_type::IPV6).write(&mut frame).expect("memory");
                ip.write(&mut frame).expect("memory");
            }
            mixed => panic!("no packet goes from {} to {}", mixed.0, mixed.1),
        }
        udp.write(&mut frame).expect("memory");
        frame.extend(&self.payload);
        frame.extend(std::iter::repeat_n(0xee, self.padding));
        self.tags.iter().rev().fold(frame, |frame, &(protocol, vlan)| tagged_as(&frame, protocol, vlan))
    }
}

/// The frame with a customer's VLAN tag after its MAC addresses.
pub(crate) fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    tagged_as(frame, 0x8100, vlan)
}

fn tagged_as(frame: &[u8], protocol: u16, vlan: u16) -> Vec<u8> {
    [&frame[..12], &protocol.to_be_bytes(), &vlan.to_be_bytes(), &frame[12..]].concat()
}
