//! Captures: copies of a call's packets on their way to an operator.
//!
//! The loop marks the flows of a captured call and follows what becomes of them;
//! a task beside it turns copies into what may be shown. Masked is the rule: a
//! leg's far end has a documentation address (RFC 5737, RFC 3849) that is the same
//! for the whole capture, and of RTCP only what cannot name anybody is kept. The
//! real addresses of far ends leave the daemon for roles that may see them alone. Who
//! captured what is in the audit log before it begins.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::door::{Ask, Door};
use crate::api::local::{CapturedPacket, Response};
use crate::datapath::Datapath;
use crate::datapath::tap::{Copied, TapSink, TapStream, Tapped};
use crate::engine::admin::{CallView, Refusal, RefusalKind};
use crate::engine::flow::FlowSpec;
use crate::engine::ids::{LegName, SessionId};

/// Captures at a time.
const MOST: usize = 8;
/// Packets of one answer.
const BATCH: usize = 64;
/// How often an operator hears something, packets or not.
const BEAT: Duration = Duration::from_millis(500);
/// The ports that masked far ends have: those that are registered for RTP and RTCP.
const PORTS: [u16; 2] = [5004, 5005];

/// The calls that are captured.
#[derive(Default)]
pub(super) struct Captures(BTreeMap<SessionId, Active>);

struct Active {
    sink: TapSink,
    flows: Vec<Tapped>,
}

impl Captures {
    /// Taps every flow of a call.
    pub(super) fn begin(
        &mut self,
        datapath: &mut dyn Datapath,
        call: &CallView,
        sink: TapSink,
    ) -> Result<(), Refusal> {
        let refused =
            |kind, what: String, remedy: &str| Err(Refusal { kind, what, remedy: remedy.to_owned() });
        if self.0.contains_key(&call.session) {
            let what = format!("{} is being captured", call.session);
            return refused(RefusalKind::Conflict, what, "wait for the end of that capture");
        }
        if self.0.len() >= MOST {
            let what = format!("{MOST} calls are being captured, which is the limit");
            return refused(RefusalKind::Exhausted, what, "wait for the end of one of them");
        }
        let flow = |flow: &crate::engine::admin::FlowView| Tapped {
            leg: flow.leg,
            local: flow.local,
            control: flow.content == "rtcp",
        };
        let flows: Vec<Tapped> = call.flows.iter().map(flow).collect();
        for flow in &flows {
            datapath.tap(*flow, Some(sink.clone()));
        }
        self.0.insert(call.session, Active { sink, flows });
        Ok(())
    }

    /// Taps a flow that was put, when its call is captured.
    pub(super) fn follow(&mut self, datapath: &mut dyn Datapath, put: &FlowSpec) {
        let Some(active) = self.0.get_mut(&put.owner.session) else { return };
        if active.flows.iter().any(|flow| flow.local == put.local) {
            return;
        }
        let control = put.content.rtcp && !put.content.has_rtp();
        let flow = Tapped { leg: put.owner.leg, local: put.local, control };
        datapath.tap(flow, Some(active.sink.clone()));
        active.flows.push(flow);
    }

    /// A flow is gone; one that is put at its place later is another.
    pub(super) fn forget(&mut self, local: SocketAddr) {
        for active in self.0.values_mut() {
            active.flows.retain(|flow| flow.local != local);
        }
    }

    /// Ends a capture: the operator has left, or the call is over.
    pub(super) fn end(&mut self, datapath: &mut dyn Datapath, session: SessionId) {
        for flow in self.0.remove(&session).into_iter().flat_map(|active| active.flows) {
            datapath.tap(flow, None);
        }
    }
}

/// Hands copies to an operator until the call is over or nobody listens.
pub(super) async fn stream(
    mut copies: TapStream,
    masked: bool,
    operator: mpsc::Sender<Response>,
    door: Door,
    session: SessionId,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let ended = matches!(timeout(BEAT, copies.copies.recv_many(&mut batch, BATCH)).await, Ok(0));
        let packets = batch.drain(..).map(|copied| shown(copied, masked)).collect();
        let lost = copies.lost();
        let response =
            if ended { Response::CaptureEnded { lost } } else { Response::Packets { packets, lost } };
        if operator.send(response).await.is_err() || ended {
            break;
        }
    }
    // Whatever is answered, nobody is left to hear it.
    let _answered = door.ask(Ask::EndCapture(session)).await;
}

/// A copy as an operator may see it.
fn shown(copied: Copied, masked: bool) -> CapturedPacket {
    let Copied { flow, at, source, length, mut payload } = copied;
    if masked {
        payload.truncate(nameless(&payload));
    }
    let from = if masked { documentation(flow) } else { source };
    CapturedPacket { at, leg: flow.leg, from, to: flow.local, length, payload }
}

/// The address that stands for a leg's far end.
fn documentation(flow: Tapped) -> SocketAddr {
    let ip = match (flow.leg, flow.local.is_ipv4()) {
        (LegName::A, true) => IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
        (LegName::B, true) => IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
        (LegName::A, false) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1)),
        (LegName::B, false) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 1)),
    };
    SocketAddr::new(ip, PORTS[usize::from(flow.control)])
}

/// How much of a payload cannot name anybody: RTP whole (what is said is not for
/// us to judge), of RTCP the reports (RFC 3550 section 6.4) or else the first
/// header, of DTLS the record's header.
fn nameless(payload: &[u8]) -> usize {
    let &[first, kind, ..] = payload else { return payload.len() };
    let reports = usize::from(first & 0x1f) * 24;
    let kept = match (first >> 6, kind) {
        (2, 200) => 28 + reports,
        (2, 201) => 8 + reports,
        (2, 192..=223) => 8,
        (0, _) if (20..=63).contains(&first) => 13,
        _ => payload.len(),
    };
    kept.min(payload.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::time::Timestamp;

    fn copied(leg: LegName, local: &str, control: bool, payload: Vec<u8>) -> Copied {
        let local = local.parse().unwrap();
        let at = Timestamp::from_unix_microseconds(5);
        let (source, length) = ("192.0.2.66:4000".parse().unwrap(), payload.len());
        Copied { flow: Tapped { leg, local, control }, at, source, length, payload }
    }

    #[test]
    fn a_masked_far_end_has_one_address_per_leg() {
        let from =
            |leg, local, control| shown(copied(leg, local, control, vec![0x80; 20]), true).from.to_string();
        assert_eq!(from(LegName::A, "10.0.0.1:20000", false), "198.51.100.1:5004");
        assert_eq!(from(LegName::A, "10.0.0.1:20001", true), "198.51.100.1:5005");
        assert_eq!(from(LegName::B, "10.0.0.1:20002", false), "203.0.113.1:5004");
        assert_eq!(from(LegName::B, "[fd00::1]:20002", false), "[2001:db8:b::1]:5004");
        let real = shown(copied(LegName::A, "10.0.0.1:20000", false, vec![0x80; 20]), false);
        assert_eq!(real.from.to_string(), "192.0.2.66:4000");
    }

    #[test]
    fn masked_rtcp_keeps_its_reports_and_loses_its_texts() {
        let sdes = b"\x81\xca\x00\x04\0\0\0\x01\x01\x08al@h.net\0\0";
        let receiver = [&[0x81, 201, 0, 7][..], &[7; 28], sdes].concat();
        let report = |payload: &[u8]| {
            let shown = shown(copied(LegName::A, "10.0.0.1:20001", true, payload.to_vec()), true);
            assert_eq!(shown.length, payload.len(), "what was cut is still told");
            shown.payload
        };
        assert_eq!(report(&receiver), receiver[..32]);
        assert_eq!(report(sdes), sdes[..8]);
        assert_eq!(report(&[0x80, 200, 0, 6]), [0x80, 200, 0, 6], "one that ends early");
        let rtp = [&[0x80, 0][..], &[9; 170]].concat();
        assert_eq!(report(&rtp), rtp, "sound is kept");
        assert_eq!(report(&[22; 200]).len(), 13, "of DTLS no certificate is left");
    }
}
