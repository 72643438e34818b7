//! What went over the wire at a peer, as an independent program saw it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::lab::{Lab, Place};
use crate::process::{Running, output};

/// A capture in progress. XDP redirects frames past a capture on the sending
/// interface, so it is taken at the receiving end, in the peer's namespace.
#[derive(Debug)]
pub struct Recorder {
    tcpdump: Running,
    file: PathBuf,
}

impl Recorder {
    /// Captures everything at a peer.
    pub fn start(lab: &Lab, place: Place, name: &str) -> Result<Self> {
        let file = lab.folder().join(format!("{name}.pcap"));
        let mut command = lab.at(place, "tcpdump");
        // -Z: written as whoever runs this, who owns the folder.
        command.args(["-i", "eth0", "-U", "--immediate-mode", "-Z", "root", "-w"]).arg(&file);
        let log = lab.folder().join(format!("{name}.tcpdump.log"));
        let mut tcpdump = Running::start("tcpdump", command, &log)?;
        let listens = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("listening on"));
        tcpdump.wait_until("listening", Duration::from_secs(10), listens)?;
        Ok(Self { tcpdump, file })
    }

    /// Ends the capture.
    pub fn finish(mut self) -> Result<Capture> {
        self.tcpdump.stop(Signal::INT)?;
        Capture::read(&self.file)
    }
}

/// A finished capture.
#[derive(Debug)]
pub struct Capture {
    file: PathBuf,
    bytes: Vec<u8>,
}

/// One direction of RTP, as tshark counts it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// Packets seen.
    pub packets: u64,
    /// Packets missing by sequence number.
    pub lost: u64,
    /// Mean interarrival jitter, in milliseconds (RFC 3550 section 6.4.1).
    pub jitter_ms: f64,
}

impl Capture {
    /// Reads a capture file.
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        ensure!(bytes.len() > 24, "{} holds no packet", file.display());
        Ok(Self { file: file.to_owned(), bytes })
    }

    /// Where it is.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Every byte of every packet, with the file's own headers.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How often these bytes occur, anywhere in any packet.
    #[must_use]
    pub fn occurrences(&self, needle: &str) -> usize {
        occurrences(&self.bytes, needle.as_bytes())
    }

    /// The words that start with `prefix`, each once: what to look at when a
    /// token that should not be there is.
    #[must_use]
    pub fn words(&self, prefix: &str) -> Vec<String> {
        let mut words: Vec<String> = self
            .bytes
            .windows(prefix.len())
            .enumerate()
            .filter(|(_, window)| *window == prefix.as_bytes())
            .map(|(at, _)| {
                let rest = &self.bytes[at..];
                let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
                String::from_utf8_lossy(&rest[..end]).into_owned()
            })
            .collect();
        words.sort();
        words.dedup();
        words
    }

    /// The RTP streams, in both directions.
    pub fn streams(&self) -> Result<Vec<Stream>> {
        let table = self.tshark(&["-q", "-z", "rtp,streams"])?;
        Ok(table.lines().filter_map(stream).collect())
    }

    /// The RTP stream from one address to another, all ports added up.
    pub fn stream(&self, from: IpAddr, to: IpAddr) -> Result<Option<Stream>> {
        Ok(self.streams()?.into_iter().find(|stream| stream.from.ip() == from && stream.to.ip() == to))
    }

    /// The payloads of all RTP packets from an address, in order.
    pub fn rtp_payloads(&self, from: IpAddr) -> Result<Vec<u8>> {
        let filter = format!("rtp && !icmp && !icmpv6 && {}", is_source(from));
        let text = self.tshark(&["-Y", &filter, "-T", "fields", "-e", "rtp.payload"])?;
        Ok(text.lines().flat_map(hexadecimal).collect())
    }

    /// Packets that tshark finds broken: bad checksums, malformed headers, SIP, SDP or RTP.
    pub fn broken(&self) -> Result<Vec<String>> {
        const BROKEN: &str =
            "_ws.malformed || ip.checksum.status == \"Bad\" || udp.checksum.status == \"Bad\"";
        let checks = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-Y", BROKEN];
        Ok(self.tshark(&checks)?.lines().map(str::to_owned).collect())
    }

    /// The DiffServ code points of RTP from an address.
    pub fn code_points(&self, from: IpAddr) -> Result<Vec<String>> {
        let field = if from.is_ipv4() { "ip.dsfield.dscp" } else { "ipv6.tclass.dscp" };
        let filter = format!("rtp && !icmp && !icmpv6 && {}", is_source(from));
        let text = self.tshark(&["-Y", &filter, "-T", "fields", "-e", field])?;
        let mut points: Vec<String> = text.lines().map(str::to_owned).collect();
        points.sort();
        points.dedup();
        Ok(points)
    }

    fn tshark(&self, arguments: &[&str]) -> Result<String> {
        output(Command::new("tshark").arg("-n").arg("-r").arg(&self.file).args(arguments))
    }
}

/// How often `needle` occurs in `bytes`.
#[must_use]
pub fn occurrences(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len().max(1)).filter(|window| *window == needle).count()
}

fn is_source(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("ip.src == {address}"),
        IpAddr::V6(address) => format!("ipv6.src == {address}"),
    }
}

/// Reads a row of tshark's table: start, end, source, port, destination, port,
/// SSRC, payload (may have blanks), packets, lost (with a share in brackets),
/// three times of delta, three of jitter, problems.
fn stream(row: &str) -> Option<Stream> {
    let words: Vec<&str> = row.split_whitespace().collect();
    let share = words.iter().position(|word| word.starts_with('(') && word.ends_with("%)"))?;
    let address = |at: usize| {
        let ip: IpAddr = words.get(at)?.parse().ok()?;
        Some(SocketAddr::new(ip, words.get(at + 1)?.parse().ok()?))
    };
    Some(Stream {
        from: address(2)?,
        to: address(4)?,
        packets: words.get(share.checked_sub(2)?)?.parse().ok()?,
        // Duplicates make it negative.
        lost: words.get(share - 1)?.parse::<i64>().ok()?.max(0).unsigned_abs(),
        jitter_ms: words.get(share + 5)?.parse().ok()?,
    })
}

fn hexadecimal(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks_exact(2)
        .filter_map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_stream_table_is_read() {
        let row = "     0.217132     3.242711       127.0.1.2  6000       127.0.2.2  6000 0xCA110000 \
                   ITU-T G.711 PCMU     150     3 (2.0%)          19.910           20.106           20.410    \
                   0.012    0.088    0.145 X";
        let stream = stream(row).unwrap();
        assert_eq!((stream.packets, stream.lost, stream.from.port()), (150, 3, 6000));
        assert!((stream.jitter_ms - 0.088).abs() < 1e-9);
        assert_eq!(super::stream("=== RTP Streams ==="), None);
    }

    #[test]
    fn occurrences_are_found_across_a_buffer() {
        assert_eq!(occurrences(b"+1415+1415", b"+1415"), 2);
        assert_eq!(occurrences(b"", b"x"), 0);
    }
}
