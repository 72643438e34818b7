//! `vizard capture`: a call's packets into a file that Wireshark opens.
//!
//! Every batch is whole in the file before the next one is asked for, so whatever
//! ends the command leaves a good file. What the file is like is `pcapng`'s business.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use pcap_file::PcapError;
use serde_json::json;

use super::GlobalArgs;
use super::exit::Exit;
use super::live::{Daemon, instead};
use super::output::{Block, Failure, Report};
use super::pcapng::Writer;
use crate::api::local::{CaptureRequest, Response};
use crate::engine::ids::SessionId;

/// The file that is standard output.
const STDOUT: &str = "-";

const EXAMPLES: &str = "\
Examples:
  vizard capture sess_01h455vb4pex5vsknk084sn02q -w call.pcapng --duration 30s
  vizard capture sess_01h455vb4pex5vsknk084sn02q -w call.pcapng --packets 1000
  vizard capture sess_01h455vb4pex5vsknk084sn02q -w - | tshark -r -

It ends with the call, after --duration, or after --packets. The file holds what
the far ends sent and the media path took, and announces each stream of RTP (SAP),
so that Wireshark knows it for what it is. Far ends have documentation addresses,
one per leg, and RTCP is cut after its reports; --unmasked shows all, to the roles
privacy and admin. Every capture is in the audit log.";

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
    let mut file = create(&args.file)?;
    let taken = follow(args, &mut daemon, &mut file)?;
    let (packets, lost, ended) = (file.packets(), taken.lost, taken.ended);
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
                let left = args.packets.map_or(u64::MAX, |most| most - file.packets());
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                file.write(packets.iter().take(left)).map_err(|error| unwritable(&args.file, &error))?;
                if args.packets.is_some_and(|most| file.packets() >= most) {
                    return Ok(Taken { lost, ended: "as many as asked for" });
                }
                if end.is_some_and(|end| Instant::now() >= end) {
                    return Ok(Taken { lost, ended: "the time is over" });
                }
            }
            Response::CaptureEnded { lost } => return Ok(Taken { lost, ended: "the call has ended" }),
            other => return Err(instead(other)),
        }
    }
}

fn unwritable(file: &Path, error: &PcapError) -> Failure {
    let what = match error {
        PcapError::IoError(error) => format!("cannot write {}: {error}", file.display()),
        other => format!("cannot write {}: {other}", file.display()),
    };
    Failure::new(Exit::Failure, what, "name a file in a directory that you may write to, with room for it")
}

fn create(path: &Path) -> Result<Writer, Failure> {
    let to: io::Result<Box<dyn Write>> = if path == Path::new(STDOUT) {
        Ok(Box::new(io::stdout()))
    } else {
        File::create(path).map(|file| Box::new(file) as Box<dyn Write>)
    };
    let writer = to.map_err(PcapError::IoError).and_then(Writer::over);
    writer.map_err(|error| unwritable(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let failure = create(Path::new("/nonexistent/call.pcapng")).err().unwrap();
        assert!(failure.what.contains("/nonexistent/call.pcapng"), "{failure:?}");
    }
}
