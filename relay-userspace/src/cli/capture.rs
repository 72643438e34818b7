//! `vizard capture`: a call's packets into a file that Wireshark opens.
//!
//! The file is pcapng, one interface a leg, and holds what each far end sent as it
//! reached us: RTP over UDP and IP, without what lies below. Every batch is whole
//! in the file before the next one is asked for, so whatever ends the command
//! leaves a good file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use etherparse::PacketBuilder;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};
use serde_json::json;

use super::GlobalArgs;
use super::exit::Exit;
use super::live::{Daemon, unexpected};
use super::output::{Block, Failure, Report};
use crate::api::local::{CaptureRequest, CapturedPacket, Response};
use crate::engine::ids::{LegName, SessionId};

/// The file that is standard output.
const STDOUT: &str = "-";
/// Nanoseconds, as the writer has them.
const RESOLUTION: u8 = 9;

const EXAMPLES: &str = "\
Examples:
  vizard capture sess_01h455vb4pex5vsknk084sn02q -w call.pcapng --duration 30s
  vizard capture sess_01h455vb4pex5vsknk084sn02q -w call.pcapng --packets 1000
  vizard capture sess_01h455vb4pex5vsknk084sn02q -w - | tshark -r - --enable-heuristic rtp_udp

It ends with the call, after --duration, or after --packets. In Wireshark, enable
the protocol rtp_udp, or decode port 5004 as RTP. Far ends have documentation
addresses, one per leg, and RTCP is cut after its reports; --unmasked shows all,
to root and the members of control.unmask_group. Every capture is logged.";

/// Write the packets of a call to a file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CaptureArgs {
    /// The call's session id, as `vizard calls` shows it
    #[arg(value_name = "CALL")]
    session: SessionId,
    /// The pcapng file to write; - for standard output
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    file: PathBuf,
    /// For how long, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = super::guard::lasting)]
    duration: Option<Duration>,
    /// At most so many packets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    packets: Option<u64>,
    /// Far ends by documentation addresses: the default
    #[arg(long, conflicts_with = "unmasked")]
    masked: bool,
    /// Far ends by their real addresses, and RTCP whole
    #[arg(long)]
    unmasked: bool,
}

pub(super) fn run(args: &CaptureArgs, global: &GlobalArgs) -> Result<Report, Failure> {
    let mut daemon = Daemon::connect(global)?;
    let request = CaptureRequest { session: args.session, unmasked: args.unmasked };
    daemon.capture(request)?;
    let mut file = Writer::create(&args.file)?;
    let taken = follow(args, &mut daemon, &mut file)?;
    let (packets, lost, ended) = (file.packets, taken.lost, taken.ended);
    let text = format!("captured {packets} packets of {}, lost {lost}; {ended}", args.session);
    if args.file == Path::new(STDOUT) {
        // Standard output is the file.
        let _a_closed_stream = writeln!(io::stderr(), "{text}");
        return Ok(Report { blocks: Vec::new(), json: serde_json::Value::Null, exit: Exit::Ok });
    }
    let document = json!({
        "session": args.session, "file": args.file, "packets": packets, "lost": lost, "ended": ended,
        "masked": !args.unmasked,
    });
    Report::new(vec![Block::Text(text)], document)
}

/// How a capture ended.
struct Taken {
    lost: u64,
    ended: &'static str,
}

fn follow(args: &CaptureArgs, daemon: &mut Daemon, file: &mut Writer) -> Result<Taken, Failure> {
    let end = args.duration.map(|duration| Instant::now() + duration);
    loop {
        match daemon.more()? {
            Response::Packets { packets, lost } => {
                let left = args.packets.map_or(u64::MAX, |most| most - file.packets);
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                file.write(packets.iter().take(left)).map_err(|error| unwritable(&args.file, &error))?;
                if args.packets.is_some_and(|most| file.packets >= most) {
                    return Ok(Taken { lost, ended: "as many as asked for" });
                }
                if end.is_some_and(|end| Instant::now() >= end) {
                    return Ok(Taken { lost, ended: "the time is over" });
                }
            }
            Response::CaptureEnded { lost } => return Ok(Taken { lost, ended: "the call has ended" }),
            Response::Refused(refusal) => return Err(refusal.into()),
            Response::Admin(_) | Response::Cdrs(_) | Response::Status(_) | Response::Capturing => {
                return Err(unexpected());
            }
        }
    }
}

/// A pcapng file in the making.
struct Writer {
    file: PcapNgWriter<BufWriter<Box<dyn Write>>>,
    packets: u64,
}

impl Writer {
    fn create(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| unwritable(path, &PcapError::IoError(error));
        let to: Box<dyn Write> = if path == Path::new(STDOUT) {
            Box::new(io::stdout())
        } else {
            Box::new(File::create(path).map_err(failed)?)
        };
        Self::over(to).map_err(|error| unwritable(path, &error))
    }

    fn over(to: Box<dyn Write>) -> Result<Self, PcapError> {
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
        Ok(Self { file, packets: 0 })
    }

    fn write<'a>(&mut self, packets: impl Iterator<Item = &'a CapturedPacket>) -> Result<(), PcapError> {
        for packet in packets {
            let (data, original) = datagram(packet).map_err(PcapError::IoError)?;
            let since_epoch = u64::try_from(packet.at.unix_microseconds()).unwrap_or(0);
            self.file.write_pcapng_block(EnhancedPacketBlock {
                interface_id: match packet.leg {
                    LegName::A => 0,
                    LegName::B => 1,
                },
                timestamp: Duration::from_micros(since_epoch),
                original_len: u32::try_from(original).unwrap_or(u32::MAX),
                data: Cow::Owned(data),
                options: Vec::new(),
            })?;
            self.packets += 1;
        }
        self.file.get_mut().flush().map_err(PcapError::IoError)
    }
}

/// The IP packet that a copy was the payload of, as far as there are bytes of it,
/// and the length that it had.
fn datagram(packet: &CapturedPacket) -> io::Result<(Vec<u8>, usize)> {
    let (from, to) = (packet.from, packet.to);
    let builder = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 64),
        _ => return Err(io::Error::other("a packet came from one address family to the other")),
    };
    let mut payload = packet.payload.clone();
    payload.resize(packet.length.max(packet.payload.len()), 0);
    let mut bytes = Vec::new();
    builder.udp(from.port(), to.port()).write(&mut bytes, &payload).map_err(io::Error::other)?;
    let original = bytes.len();
    bytes.truncate(original - (payload.len() - packet.payload.len()));
    Ok((bytes, original))
}

fn unwritable(file: &Path, error: &PcapError) -> Failure {
    let what = match error {
        PcapError::IoError(error) => format!("cannot write {}: {error}", file.display()),
        other => format!("cannot write {}: {other}", file.display()),
    };
    Failure::new(Exit::Failure, what, "name a file in a directory that you may write to, with room for it")
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block as PcapNgBlock, PcapNgReader};

    use super::*;
    use crate::engine::time::Timestamp;

    #[test]
    fn what_is_written_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("call.pcapng");
        let mut file = Writer::create(&path).unwrap();
        let packet = |leg, from: &str, to: &str, cut: usize| CapturedPacket {
            at: Timestamp::from_unix_microseconds(1_772_600_767_250_001),
            leg,
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            length: 172,
            payload: vec![0x80; 172 - cut],
        };
        let packets = [
            packet(LegName::A, "198.51.100.1:5004", "10.0.0.1:20000", 0),
            packet(LegName::B, "[2001:db8:b::1]:5004", "[fd00::1]:20002", 100),
        ];
        file.write(packets.iter()).unwrap();
        assert_eq!(file.packets, 2);

        let bytes = std::fs::read(&path).unwrap();
        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let mut found = Vec::new();
        while let Some(block) = reader.next_block() {
            if let PcapNgBlock::EnhancedPacket(block) = block.unwrap() {
                let lengths = (block.data.len(), block.original_len as usize);
                found.push((block.interface_id, block.timestamp.as_micros(), lengths));
            }
        }
        let at = 1_772_600_767_250_001;
        assert_eq!(found, [(0, at, (200, 200)), (1, at, (120, 220))]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let failure = Writer::create(Path::new("/nonexistent/call.pcapng")).err().unwrap();
        assert!(failure.what.contains("/nonexistent/call.pcapng"), "{failure:?}");
    }
}
