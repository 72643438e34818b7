//! What one packet must satisfy, as a pure function: the kernel program's
//! checks in the kernel program's order, so that both paths give the same
//! verdict on the same packet. Content comes before source, so that only valid
//! media can fix a source.

use std::net::SocketAddr;

use relay_ebpf::header::Rtp;
use relay_ebpf::media::{Class, Rule, halves};
use relay_ebpf::quality::Place;
use relay_ebpf::verdict::Verdict;
use relay_ebpf::{extension, rtcp};

use crate::datapath::classes;
use crate::engine::flow::{Content, FlowSpec};

/// The class of a packet from `source`, where a flow that has `learned` this
/// source so far takes it; the error is the reason why not. The address that
/// signalling `named` takes over once it has moved the far end.
pub(super) fn accept(
    flow: &FlowSpec,
    learned: Option<SocketAddr>,
    named: Option<SocketAddr>,
    source: SocketAddr,
    payload: &[u8],
) -> Result<Class, Verdict> {
    let class = content(&flow.content, payload)?;
    // The daemon tells who may ask, by their signature; it decides nothing about media yet.
    if class == Class::Stun {
        return Err(Verdict::LocalStun);
    }
    let allowed = flow.source.allowed.contains(&source.ip());
    let takes_over = allowed && named == Some(source) && flow.source.generation != 0;
    match learned {
        Some(learned) if learned == source => return Ok(class),
        Some(_) if !takes_over => return Err(Verdict::WrongSource),
        None if !allowed => return Err(Verdict::SourceNotAllowed),
        Some(_) | None => {}
    }
    class.fixes_source(|| payload.first_chunk().copied().ok_or(Verdict::Truncated))?;
    Ok(class)
}

/// Takes out of an admitted packet what may not cross.
pub(super) fn scrub(content: &Content, class: Class, payload: &mut [u8]) -> Result<(), Verdict> {
    match class {
        Class::Rtp | Class::Rtcp if content.encrypted => Ok(()),
        Class::Rtp if payload.first().is_some_and(|&first| extension::is_announced(first)) => {
            extension::blank(payload, content.extensions.bits())
        }
        Class::Rtcp => rtcp::scrub(payload),
        Class::Rtp | Class::Dtls | Class::Stun | Class::Opaque => Ok(()),
    }
}

fn content(content: &Content, payload: &[u8]) -> Result<Class, Verdict> {
    let rule = Rule {
        classes: classes(content),
        payload_types: halves(content.payload_types.bits()),
        encrypted: content.encrypted,
    };
    let bytes = |at: u16| payload.get(usize::from(at)..).and_then(<[u8]>::first_chunk).copied();
    let bytes = |at| bytes(at).ok_or(Verdict::Truncated);
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let class = rule.class_of(length, || bytes(0))?;
    if class == Class::Rtp {
        rule.rtp_payload(payload[0], length, bytes)?;
    }
    Ok(class)
}

/// Where in its stream an accepted packet stands, if it is RTP.
pub(super) fn place(class: Class, payload: &[u8]) -> Option<Place> {
    let header = payload.first_chunk().filter(|_| class == Class::Rtp)?;
    Some(Rtp::from_bytes(*header).place())
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
        let fax = FlowSpec { content: Content { opaque: true, ..Content::default() }, ..audio.clone() };
        let asks = FlowSpec { content: Content { stun: true, ..audio.content }, ..audio.clone() };
        let (near, far) = (at("127.0.0.9:7000"), at("198.51.100.1:7000"));
        let locked = Some(near);
        for (flow, learned, source, payload, verdict) in [
            (&audio, None, near, rtp(0), Ok(Class::Rtp)),
            (&audio, None, near, rtp(128), Ok(Class::Rtp)), // the marker bit
            (&audio, locked, near, rtp(0), Ok(Class::Rtp)),
            (&fax, None, near, rtp(0), Err(Verdict::LateRtp)),
            (&fax, None, far, rtp(0), Err(Verdict::SourceNotAllowed)),
            (&fax, None, near, vec![0; 20], Ok(Class::Opaque)),
            (&fax, locked, near, rtp(0), Ok(Class::Opaque)),
            (&control, None, near, rtcp(), Ok(Class::Rtcp)),
            (&audio, None, far, rtp(0)[..11].to_vec(), Err(Verdict::TooShort)),
            (&audio, None, far, Vec::new(), Err(Verdict::TooShort)),
            (&control, None, far, rtcp()[..7].to_vec(), Err(Verdict::TooShort)),
            (&audio, None, far, vec![0xff; 12], Err(Verdict::NotRtp)),
            (&audio, None, far, vec![0; 20], Err(Verdict::UnexpectedStun)),
            (&asks, locked, near, vec![0; 20], Err(Verdict::LocalStun)),
            (&asks, locked, far, vec![0; 20], Err(Verdict::LocalStun)),
            (&audio, None, far, [vec![0x8f], rtp(0)[1..20].to_vec()].concat(), Err(Verdict::BadRtpHeader)),
            (&audio, None, far, [vec![0xa0], rtp(0)[1..].to_vec()].concat(), Err(Verdict::BadRtpPadding)),
            (&audio, None, far, rtp(8), Err(Verdict::PayloadType)),
            (&control, None, far, rtp(0), Err(Verdict::NotRtcp)),
            (&audio, None, far, rtp(0), Err(Verdict::SourceNotAllowed)),
            (&audio, locked, far, rtp(0), Err(Verdict::WrongSource)),
            (&audio, locked, at("127.0.0.9:7001"), rtp(0), Err(Verdict::WrongSource)),
        ] {
            assert_eq!(
                accept(flow, learned, None, source, &payload),
                verdict,
                "{learned:?} {source} {payload:?}"
            );
        }
    }

    /// Late speech fixes no source of a fax, not even from where the far end has moved to.
    #[test]
    fn whoever_moved_takes_over_with_what_fixes_a_source() {
        let mut fax = flow("127.0.0.1:4000", "127.0.0.1:4002", "192.0.2.7:9000");
        fax.content = Content { opaque: true, ..Content::default() };
        fax.source.generation = 1;
        let (was, is) = (Some(at("127.0.0.9:7000")), at("127.0.0.9:7004"));
        assert_eq!(accept(&fax, was, Some(is), is, &rtp(0)), Err(Verdict::LateRtp));
        assert_eq!(accept(&fax, was, Some(is), is, &[0; 20]), Ok(Class::Opaque));
        assert_eq!(accept(&fax, was, None, is, &[0; 20]), Err(Verdict::WrongSource));
        fax.source.generation = 0;
        assert_eq!(accept(&fax, was, Some(is), is, &[0; 20]), Err(Verdict::WrongSource));
    }
}
