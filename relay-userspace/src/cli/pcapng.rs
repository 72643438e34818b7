//! A captured call as a pcapng file.
//!
//! One interface a leg, and on it what its far end sent as it reached us: UDP over
//! IP, without what lies below. Nothing in a datagram says that it is RTP, so before
//! the first of each stream stands an announcement of it (SAP, RFC 2974), made here
//! and marked as such by a comment; Wireshark then needs no settings.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use etherparse::PacketBuilder;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};

use crate::api::local::CapturedPacket;
use crate::engine::ids::LegName;

/// Nanoseconds, as the writer has them.
const RESOLUTION: u8 = 9;
/// Where sessions are announced.
const SAP_PORT: u16 = 9875;
const SAP_V4: Ipv4Addr = Ipv4Addr::new(224, 2, 127, 254);
const SAP_V6: Ipv6Addr = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 2, 0x7ffe);

/// A file in the making.
pub(super) struct Writer {
    file: PcapNgWriter<BufWriter<Box<dyn Write>>>,
    packets: u64,
    /// Streams that are announced, by where they arrive and their payload type.
    announced: BTreeSet<(SocketAddr, u8)>,
}

impl Writer {
    /// Begins a file.
    pub(super) fn over(to: Box<dyn Write>) -> Result<Self, PcapError> {
        let mut file = PcapNgWriter::new(BufWriter::new(to))?;
        for name in ["leg A", "leg B"] {
            file.write_pcapng_block(InterfaceDescriptionBlock {
                linktype: DataLink::RAW,
                snaplen: 0,
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                    InterfaceDescriptionOption::IfTsResol(RESOLUTION),
                ],
            })?;
        }
        file.get_mut().flush().map_err(PcapError::IoError)?;
        Ok(Self { file, packets: 0, announced: BTreeSet::new() })
    }

    /// How many packets were written, announcements aside.
    pub(super) const fn packets(&self) -> u64 {
        self.packets
    }

    /// Adds packets; when this returns they are in the file.
    pub(super) fn write<'a>(
        &mut self,
        packets: impl Iterator<Item = &'a CapturedPacket>,
    ) -> Result<(), PcapError> {
        for packet in packets {
            if let Some(payload_type) = rtp_type(&packet.payload)
                && self.announced.insert((packet.to, payload_type))
            {
                let announcement = announcement(packet.to, payload_type).map_err(PcapError::IoError)?;
                let length = announcement.len();
                let comment = "made by vizard: the stream that follows is RTP";
                self.block(packet, announcement, length, Some(comment))?;
            }
            let (data, original) = datagram(packet).map_err(PcapError::IoError)?;
            self.block(packet, data, original, None)?;
            self.packets += 1;
        }
        self.file.get_mut().flush().map_err(PcapError::IoError)
    }

    fn block(
        &mut self,
        packet: &CapturedPacket,
        data: Vec<u8>,
        original: usize,
        comment: Option<&'static str>,
    ) -> Result<(), PcapError> {
        let since_epoch = u64::try_from(packet.at.unix_microseconds()).unwrap_or(0);
        let comment = comment.map(|comment| EnhancedPacketOption::Comment(Cow::Borrowed(comment)));
        self.file.write_pcapng_block(EnhancedPacketBlock {
            interface_id: match packet.leg {
                LegName::A => 0,
                LegName::B => 1,
            },
            timestamp: Duration::from_micros(since_epoch),
            original_len: u32::try_from(original).unwrap_or(u32::MAX),
            data: Cow::Owned(data),
            options: comment.into_iter().collect(),
        })?;
        Ok(())
    }
}

/// The payload type, where this is RTP (RFC 7983, RFC 5761 section 4).
fn rtp_type(payload: &[u8]) -> Option<u8> {
    match *payload {
        [128..=191, kind, ..] if payload.len() >= 12 && !(192..=223).contains(&kind) => Some(kind & 0x7f),
        _ => None,
    }
}

/// The IP packet that a copy was the payload of, as far as there are bytes of it,
/// and the length that it had.
fn datagram(packet: &CapturedPacket) -> io::Result<(Vec<u8>, usize)> {
    let missing = packet.length.saturating_sub(packet.payload.len());
    let payload = [&packet.payload[..], &vec![0; missing]].concat();
    let mut bytes = ip_packet(packet.from, packet.to, &payload)?;
    let original = bytes.len();
    bytes.truncate(original - missing);
    Ok((bytes, original))
}

/// An announcement of RTP with a payload type that arrives here.
fn announcement(at: SocketAddr, payload_type: u8) -> io::Result<Vec<u8>> {
    // Version 1; whether the origin is an IPv6 address; no authentication; a hash.
    let (flags, group, family) = match at.ip() {
        IpAddr::V4(_) => (0x20, IpAddr::V4(SAP_V4), "IP4"),
        IpAddr::V6(_) => (0x30, IpAddr::V6(SAP_V6), "IP6"),
    };
    let origin = match at.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (address, port) = (at.ip(), at.port());
    let description = format!(
        "v=0\r\no=- 1 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {payload_type}\r\n"
    );
    let head = [&[flags, 0, 0, 1][..], &origin, b"application/sdp\0"].concat();
    let payload = [&head[..], description.as_bytes()].concat();
    ip_packet(SocketAddr::new(address, SAP_PORT), SocketAddr::new(group, SAP_PORT), &payload)
}

fn ip_packet(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
    let builder = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 64),
        _ => return Err(io::Error::other("a packet came from one address family to the other")),
    };
    let mut bytes = Vec::new();
    builder.udp(from.port(), to.port()).write(&mut bytes, payload).map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::*;
    use crate::engine::time::Timestamp;

    fn packet(leg: LegName, from: &str, to: &str, payload: Vec<u8>, length: usize) -> CapturedPacket {
        let at = Timestamp::from_unix_microseconds(1_772_600_767_250_001);
        CapturedPacket { at, leg, from: from.parse().unwrap(), to: to.parse().unwrap(), length, payload }
    }

    /// The packets of a file: interface, bytes, original length, and whether we made it.
    fn read(path: &std::path::Path) -> Vec<(u32, Vec<u8>, usize, bool)> {
        let bytes = std::fs::read(path).unwrap();
        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let mut found = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(block) = block.unwrap() {
                assert_eq!(block.timestamp.as_micros(), 1_772_600_767_250_001);
                let made = !block.options.is_empty();
                found.push((block.interface_id, block.data.to_vec(), block.original_len as usize, made));
            }
        }
        found
    }

    #[test]
    fn what_is_written_is_read_back_and_each_stream_is_announced_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("call.pcapng");
        let mut file = Writer::over(Box::new(std::fs::File::create(&path).unwrap())).unwrap();
        let sound = [&[0x80, 0x80][..], &[0x55; 170]].concat();
        let packets = [
            packet(LegName::A, "198.51.100.1:5004", "10.0.0.1:20000", sound.clone(), 172),
            packet(LegName::A, "198.51.100.1:5004", "10.0.0.1:20000", sound.clone(), 172),
            packet(LegName::B, "[2001:db8:b::1]:5004", "[fd00::1]:20002", sound[..72].to_vec(), 172),
            packet(
                LegName::B,
                "[2001:db8:b::1]:5005",
                "[fd00::1]:20003",
                vec![0x80, 201, 0, 1, 0, 0, 0, 1],
                8,
            ),
        ];
        file.write(packets.iter()).unwrap();
        assert_eq!(file.packets(), 4);
        let found = read(&path);
        let shape: Vec<_> =
            found.iter().map(|(leg, data, original, made)| (*leg, data.len(), *original, *made)).collect();
        let [first, sixth] = [found[0].1.len(), found[3].1.len()];
        assert_eq!(
            shape,
            [
                (0, first, first, true),
                (0, 200, 200, false),
                (0, 200, 200, false),
                (1, sixth, sixth, true),
                (1, 120, 220, false),
                (1, 56, 56, false),
            ]
        );
        let announced = String::from_utf8_lossy(&found[0].1);
        assert!(
            announced.contains("c=IN IP4 10.0.0.1\r\n") && announced.contains("m=audio 20000 RTP/AVP 0\r\n")
        );
    }
}
