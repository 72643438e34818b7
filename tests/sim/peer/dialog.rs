//! The dialog's bookkeeping: who is who, where to, which number comes next.

use std::net::SocketAddr;

use crate::message::{Message, host_of, tag_of, user_of};

/// One SIP dialog, from the peer's side.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    /// The peer's signalling address.
    pub(crate) here: SocketAddr,
    /// Vizard's.
    pub(crate) there: SocketAddr,
    /// Its Call-ID.
    pub(crate) call_id: String,
    /// The user part of the peer's Contact.
    pub(crate) contact_user: String,
    /// Our From (or To) without tag.
    pub(crate) local: String,
    /// Vizard's To (or From), with its tag once it is known.
    pub(crate) remote: String,
    /// Where requests go: Vizard's Contact, or what was dialled.
    pub(crate) target: String,
    /// Our tag.
    pub(crate) local_tag: String,
    /// Vizard's tag.
    pub(crate) remote_tag: Option<String>,
    /// What the proxy in front of the peer writes into Record-Route.
    pub(crate) record_route: Option<String>,
    /// The last number that we used.
    pub(crate) cseq: u32,
    /// The last number that Vizard used.
    pub(crate) remote_cseq: u32,
    /// Vizard's CANCEL must repeat it.
    pub(crate) invite_uri: String,
    /// How many branches there were.
    branches: u32,
}

impl Dialog {
    /// A dialog that this peer opens by dialling `target`.
    pub(crate) fn outgoing(
        (here, there): (SocketAddr, SocketAddr),
        (local, contact_user): (String, String),
        (remote, target): (String, String),
        (call_id, local_tag): (String, String),
    ) -> Self {
        Self {
            here,
            there,
            call_id,
            contact_user,
            local,
            remote,
            target,
            local_tag,
            remote_tag: None,
            record_route: None,
            cseq: 0,
            remote_cseq: 0,
            invite_uri: String::new(),
            branches: 0,
        }
    }

    /// The dialog that Vizard's INVITE opens with this peer.
    pub(crate) fn incoming(
        invite: &Message,
        (here, there): (SocketAddr, SocketAddr),
        contact_user: String,
        local_tag: String,
    ) -> Self {
        let uri = match &invite.start {
            crate::message::Start::Request { uri, .. } => uri.clone(),
            crate::message::Start::Response { .. } => String::new(),
        };
        let from = invite.value("From");
        let mut dialog = Self::outgoing(
            (here, there),
            (invite.value("To").to_owned(), contact_user),
            (from.to_owned(), crate::message::uri_of(invite.value("Contact")).to_owned()),
            (invite.value("Call-ID").to_owned(), local_tag),
        );
        dialog.remote_tag = tag_of(from).map(str::to_owned);
        dialog.remote_cseq = invite.cseq().0;
        dialog.invite_uri = uri;
        dialog
    }

    /// The peer's Contact.
    pub(crate) fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.contact_user, self.here)
    }

    /// The next request in this dialog (or the one that opens it).
    pub(crate) fn request(&mut self, method: &str) -> Message {
        self.cseq += 1;
        let cseq = self.cseq;
        self.request_numbered(method, cseq)
    }

    /// The ACK to a 2xx: it has its INVITE's number and a branch of its own.
    pub(crate) fn ack(&mut self, cseq: u32) -> Message {
        self.request_numbered("ACK", cseq)
    }

    fn request_numbered(&mut self, method: &str, cseq: u32) -> Message {
        self.branches += 1;
        let via = format!(
            "SIP/2.0/UDP {};branch=z9hG4bK{}{}{};rport",
            self.here, self.local_tag, self.branches, method
        );
        Message::request(method, &self.target)
            .with("Via", via)
            .with("Max-Forwards", "70")
            .with("From", format!("{};tag={}", self.local, self.local_tag))
            .with("To", self.remote.clone())
            .with("Call-ID", self.call_id.clone())
            .with("CSeq", format!("{cseq} {method}"))
    }

    /// What is wrong with a request of Vizard's inside this dialog.
    pub(crate) fn objection(&mut self, request: &Message) -> Option<String> {
        let method = request.method();
        let crate::message::Start::Request { uri, .. } = &request.start else { return None };
        let (cseq, _) = request.cseq();
        let contact = self.contact();
        if user_of(uri) != user_of(&contact) || host_of(uri) != host_of(&contact) {
            return Some(format!("{method} to {uri}, the Contact is {contact}"));
        }
        if tag_of(request.value("From")) != self.remote_tag.as_deref() {
            return Some(format!("{method} with From tag of another dialog: {}", request.value("From")));
        }
        let routes = request.list("Route");
        let expected: Vec<String> = self.record_route.iter().cloned().collect();
        if routes != expected {
            return Some(format!("{method} with Route {routes:?}, the route set is {expected:?}"));
        }
        // A lower number may have been overtaken on the way; an equal one is
        // used twice.
        if !["ACK", "CANCEL"].contains(&method) && cseq == self.remote_cseq {
            return Some(format!("{method} with CSeq {cseq} again"));
        }
        None
    }
}
