//! What one packet must satisfy, as a pure function: the kernel program's
//! checks in the kernel program's order, so that both paths give the same
//! verdict on the same packet. Content comes before source, so that only valid
//! media can fix a source.

use std::net::SocketAddr;

use relay_ebpf::header::{RTCP_MIN, RTP_MIN, Rtp};
use relay_ebpf::verdict::Verdict;

use crate::engine::flow::{Content, FlowSpec};

/// Whether a flow that has `learned` this source so far takes a packet from
/// `source`; the error is the reason why not.
pub(super) fn accept(
    flow: &FlowSpec,
    learned: Option<SocketAddr>,
    source: SocketAddr,
    payload: &[u8],
) -> Result<(), Verdict> {
    content(flow.content, payload)?;
    match learned {
        Some(learned) if learned == source => Ok(()),
        Some(_) => Err(Verdict::WrongSource),
        None if flow.source.allowed.contains(&source.ip()) => Ok(()),
        None => Err(Verdict::SourceNotAllowed),
    }
}

fn content(content: Content, payload: &[u8]) -> Result<(), Verdict> {
    let shortest = if content.has_rtp() { RTP_MIN } else { RTCP_MIN };
    let header = match *payload {
        [version_flags, marker_type, ..] if payload.len() >= usize::from(shortest) => {
            Rtp { version_flags, marker_type }
        }
        _ => return Err(Verdict::TooShort),
    };
    if !header.is_version_2() {
        return Err(Verdict::NotRtp);
    }
    match (content.has_rtp(), content.payload_types.contains(header.payload_type())) {
        (true, true) => Ok(()),
        (true, false) => Err(Verdict::PayloadType),
        (false, _) if header.is_rtcp_type() => Ok(()),
        (false, _) => Err(Verdict::NotRtcp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::userspace::tests::{flow, rtcp, rtp};

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_reason_in_the_kernels_order_is_the_verdict() {
        let audio = flow("127.0.0.1:4000", "127.0.0.1:4002", "192.0.2.7:9000");
        let control = FlowSpec { content: Content::rtcp(), ..audio.clone() };
        let (near, far) = (at("127.0.0.9:7000"), at("198.51.100.1:7000"));
        let locked = Some(near);
        for (flow, learned, source, payload, verdict) in [
            (&audio, None, near, rtp(0), Ok(())),
            (&audio, None, near, rtp(128), Ok(())), // the marker bit
            (&audio, locked, near, rtp(0), Ok(())),
            (&control, None, near, rtcp(), Ok(())),
            (&audio, None, far, rtp(0)[..11].to_vec(), Err(Verdict::TooShort)),
            (&audio, None, far, Vec::new(), Err(Verdict::TooShort)),
            (&control, None, far, rtcp()[..7].to_vec(), Err(Verdict::TooShort)),
            (&audio, None, far, vec![0; 12], Err(Verdict::NotRtp)),
            (&audio, None, far, rtp(8), Err(Verdict::PayloadType)),
            (&control, None, far, rtp(0), Err(Verdict::NotRtcp)),
            (&audio, None, far, rtp(0), Err(Verdict::SourceNotAllowed)),
            (&audio, locked, far, rtp(0), Err(Verdict::WrongSource)),
            (&audio, locked, at("127.0.0.9:7001"), rtp(0), Err(Verdict::WrongSource)),
        ] {
            assert_eq!(accept(flow, learned, source, &payload), verdict, "{learned:?} {source} {payload:?}");
        }
    }
}
