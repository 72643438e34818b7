//! A scripted user agent behind a carrier: it writes the requests and responses
//! that a test tells it to.

use super::world::{Msg, World, carrier, media_address, number, proxy};
use crate::engine::ids::LegName;

/// One dialog of a far end.
#[derive(Clone, Debug)]
pub(super) struct FarEnd {
    pub(super) leg: LegName,
    call_id: String,
    /// The From of its requests.
    pub(super) local: String,
    /// The To of its requests.
    pub(super) remote: String,
    target: String,
    pub(super) cseq: u32,
    invite_branch: String,
}

/// Headers that a far end puts everywhere and none of which may cross.
pub(super) const LEAKS: &str = "Subject: LEAK-OF-?\r\nX-Real-Number: LEAK-OF-?\r\nUser-Agent: LEAK-OF-?\r\nServer: LEAK-OF-?\r\n\
    Organization: LEAK-OF-?\r\nCall-Info: <http://LEAK-OF-?.example/>\r\nUser-to-User: LEAK-OF-?\r\n\
    History-Info: <sip:LEAK-OF-?@example.com>;index=1\r\nDiversion: <sip:LEAK-OF-?@example.com>\r\n\
    Reason: SIP;cause=200;text=\"LEAK-OF-?\"\r\nWarning: 399 h \"LEAK-OF-?\"\r\n";

/// A description by a far end.
pub(super) fn sdp(leg: LegName, port: u16) -> String {
    sdp_with(leg, port, "a=sendrecv\r\n")
}

pub(super) fn sdp_with(leg: LegName, port: u16, attributes: &str) -> String {
    let address = media_address(leg);
    format!(
        "v=0\r\no=LEAK-OF-? 1 1 IN IP4 {address}\r\ns=LEAK-OF-?\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-16\r\na=x-LEAK-OF-?:1\r\n{attributes}"
    )
}

fn with_body(head: &str, body: &str) -> String {
    if body.is_empty() {
        format!("{head}Content-Length: 0\r\n\r\n")
    } else {
        format!("{head}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }
}

impl FarEnd {
    /// A far end that is about to call.
    pub(super) fn calling(world: &mut World, leg: LegName) -> Self {
        let unique = world.unique();
        let host = carrier(leg).ip();
        Self {
            leg,
            call_id: format!("call-{unique}@{host}"),
            local: format!("\"LEAK-OF-?\" <sip:+{}@{host}>;tag=far{unique}", number(leg)),
            remote: format!("<sip:+{}@192.0.2.1>", proxy(leg)),
            target: format!("sip:+{}@192.0.2.1:5060", proxy(leg)),
            cseq: 1,
            invite_branch: String::new(),
        }
    }

    /// A far end that is being called with this INVITE.
    pub(super) fn called(world: &mut World, leg: LegName, invite: &Msg) -> Self {
        let unique = world.unique();
        let contact = invite.header("Contact");
        Self {
            leg,
            call_id: invite.header("Call-ID").to_owned(),
            local: format!("{};tag=far{unique}", invite.header("To")),
            remote: invite.header("From").to_owned(),
            target: contact.trim_matches(['<', '>']).to_owned(),
            cseq: 100,
            invite_branch: String::new(),
        }
    }

    fn head(&self, method: &str, cseq: u32, branch: &str, more: &str) -> String {
        let me = carrier(self.leg);
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             Contact: \"LEAK-OF-?\" <sip:+{}@{me}>\r\n{LEAKS}{more}",
            self.target,
            self.local,
            self.remote,
            self.call_id,
            number(self.leg),
        )
    }

    pub(super) fn text(&mut self, world: &mut World, method: &str, more: &str, body: &str) -> String {
        let branch = format!("b{}", world.unique());
        if method == "INVITE" {
            self.invite_branch.clone_from(&branch);
        }
        let text = with_body(&self.head(method, self.cseq, &branch, more), body);
        self.cseq += 1;
        text
    }

    /// Sends a request with the next sequence number.
    pub(super) fn request(&mut self, world: &mut World, method: &str, body: &str) {
        let text = self.text(world, method, "", body);
        world.send(carrier(self.leg), &text);
    }

    /// The same, with more header fields.
    pub(super) fn request_with(&mut self, world: &mut World, method: &str, (more, body): (&str, &str)) {
        let text = self.text(world, method, more, body);
        world.send(carrier(self.leg), &text);
    }

    /// Acknowledges the last INVITE's 2xx.
    pub(super) fn ack(&self, world: &mut World, body: &str) {
        let branch = format!("b{}", world.unique());
        let text = with_body(&self.head("ACK", self.cseq - 1, &branch, ""), body);
        world.send(carrier(self.leg), &text);
    }

    /// Acknowledges the last INVITE's failure, in its transaction.
    pub(super) fn ack_failure(&self, world: &mut World) {
        let text = with_body(&self.head("ACK", self.cseq - 1, &self.invite_branch, ""), "");
        world.send(carrier(self.leg), &text);
    }

    /// Cancels the last INVITE.
    pub(super) fn cancel(&self, world: &mut World) {
        world.send(carrier(self.leg), &self.cancelling());
    }

    /// The CANCEL of the last INVITE.
    pub(super) fn cancelling(&self) -> String {
        with_body(&self.head("CANCEL", self.cseq - 1, &self.invite_branch, ""), "")
    }

    /// Takes over tag and target from a response that makes the dialog.
    pub(super) fn learn(&mut self, response: &Msg) {
        response.header("To").clone_into(&mut self.remote);
        if let Some(contact) = response.all("Contact").first() {
            contact.trim_matches(['<', '>']).clone_into(&mut self.target);
        }
    }

    /// Answers a request.
    pub(super) fn respond(&self, world: &mut World, request: &Msg, status: &str, body: &str) {
        world.send(carrier(self.leg), &self.response(request, status, body));
    }

    /// Answers a request, with more header fields.
    pub(super) fn respond_with(
        &self,
        world: &mut World,
        request: &Msg,
        status: &str,
        (more, body): (&str, &str),
    ) {
        let text = self.response(request, status, body);
        let (head, rest) = text.split_once("Content-").unwrap();
        world.send(carrier(self.leg), &format!("{head}{more}Content-{rest}"));
    }

    pub(super) fn response(&self, request: &Msg, status: &str, body: &str) -> String {
        let me = carrier(self.leg);
        let to = if request.tag("To").is_some() || status.starts_with("100") {
            request.header("To").to_owned()
        } else {
            self.local.clone()
        };
        let vias = format!("Via: {}\r\n", request.all("Via").join("\r\nVia: "));
        let head = format!(
            "SIP/2.0 {status} LEAK-OF-?\r\n{vias}From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:+{}@{me}>\r\nP-Asserted-Identity: \"LEAK-OF-?\" <sip:+{}@{me}>\r\n{LEAKS}",
            request.header("From"),
            request.header("Call-ID"),
            request.header("CSeq"),
            number(self.leg),
            number(self.leg),
        );
        with_body(&head, body)
    }
}
