//! As much SIP as a phone of the soak speaks: messages over UDP as text, and one
//! dialog at a time.

use std::net::SocketAddr;

/// A message that arrived.
pub(super) struct Message(String);

impl Message {
    pub(super) fn read(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A request's method.
    pub(super) fn method(&self) -> Option<&str> {
        let line = self.0.lines().next()?;
        line.ends_with(" SIP/2.0").then(|| line.split(' ').next()).flatten()
    }

    /// A response's status.
    pub(super) fn status(&self) -> Option<u16> {
        self.0.lines().next()?.strip_prefix("SIP/2.0 ")?.split(' ').next()?.parse().ok()
    }

    /// The first line.
    pub(super) fn start(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    /// The number that a request is for.
    pub(super) fn number(&self) -> &str {
        self.start().split("sip:").nth(1).and_then(|rest| rest.split('@').next()).unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers(name).next().unwrap_or_default()
    }

    fn headers<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let lines = self.0.lines().take_while(|line| !line.is_empty());
        lines
            .filter_map(|line| line.split_once(':'))
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    pub(super) fn sequence(&self) -> u32 {
        self.header("CSeq").split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// What a response answers.
    pub(super) fn answers(&self) -> &str {
        self.header("CSeq").split(' ').nth(1).unwrap_or_default()
    }

    pub(super) fn branch(&self) -> &str {
        self.header("Via").split("branch=").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or_default()
    }

    /// What is said about media, if anything is.
    pub(super) fn media(&self) -> Option<Description> {
        let body = self.0.split_once("\r\n\r\n")?.1;
        let line = |prefix: &str| body.lines().find_map(|line| line.strip_prefix(prefix));
        let address = line("c=IN IP4 ")?.parse().ok()?;
        let port = line("m=audio ")?.split(' ').next()?.parse().ok()?;
        let says = |word: &str| body.lines().any(|line| line.strip_prefix("a=") == Some(word));
        let way = if says("sendonly") {
            Way::Send
        } else if says("recvonly") {
            Way::Receive
        } else if says("inactive") {
            Way::Neither
        } else {
            Way::Both
        };
        Some(Description { media: SocketAddr::new(address, port), way })
    }

    /// The answer to this request.
    pub(super) fn response(&self, status: &str, dialog: &Dialog, body: &str) -> String {
        let vias = self.headers("Via").map(|via| format!("Via: {via}\r\n"));
        let same = ["From", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\r\n", self.header(name)));
        let lines: String = vias.chain(same).collect();
        let (to, contact) = (&dialog.local, dialog.contact());
        format!("SIP/2.0 {status}\r\n{lines}To: {to}\r\nContact: {contact}\r\n") + &with_body(body)
    }
}

/// Where media is wanted, and which way it flows, as its sender sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) media: SocketAddr,
    pub(super) way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Both,
    Send,
    Receive,
    Neither,
}

impl Way {
    pub(super) const fn sends(self) -> bool {
        match self {
            Self::Both | Self::Send => true,
            Self::Receive | Self::Neither => false,
        }
    }

    /// The same, as the other side sees it.
    pub(super) const fn mirrored(self) -> Self {
        match self {
            Self::Both => Self::Both,
            Self::Send => Self::Receive,
            Self::Receive => Self::Send,
            Self::Neither => Self::Neither,
        }
    }
}

impl Description {
    pub(super) fn write(self, version: u32) -> String {
        let (address, port) = (self.media.ip(), self.media.port());
        let way = match self.way {
            Way::Both => "sendrecv",
            Way::Send => "sendonly",
            Way::Receive => "recvonly",
            Way::Neither => "inactive",
        };
        format!(
            "v=0\r\no=- 1 {version} IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na={way}\r\n"
        )
    }
}

/// One end's dialog with Vizard.
pub(super) struct Dialog {
    pub(super) id: String,
    own: SocketAddr,
    number: String,
    /// What stands in From of this end's requests, and in To.
    pub(super) local: String,
    remote: String,
    target: String,
    sequence: u32,
}

impl Dialog {
    /// Of a call that this end places.
    pub(super) fn calling(id: &str, own: SocketAddr, vizard: SocketAddr, number: &str, dials: &str) -> Self {
        let target = format!("sip:{dials}@{vizard}");
        Self {
            id: id.to_owned(),
            own,
            number: number.to_owned(),
            local: format!("<sip:{number}@{own}>;tag={id}"),
            remote: format!("<{target}>"),
            target,
            sequence: 0,
        }
    }

    /// Of a call that arrives here.
    pub(super) fn called(invite: &Message, own: SocketAddr, number: &str) -> Self {
        let id = invite.header("Call-ID").to_owned();
        Self {
            own,
            number: number.to_owned(),
            local: format!("{};tag=c{}", invite.header("To"), own.port()),
            remote: invite.header("From").to_owned(),
            target: address(invite.header("Contact")),
            sequence: 0,
            id,
        }
    }

    /// Takes in what an answer to this end's INVITE says of the other end.
    pub(super) fn answered(&mut self, response: &Message) {
        response.header("To").clone_into(&mut self.remote);
        self.target = address(response.header("Contact"));
    }

    pub(super) fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.number, self.own)
    }

    /// The next request of this end.
    pub(super) fn request(&mut self, method: &str, body: &str) -> String {
        self.sequence += 1;
        self.numbered(method, self.sequence, body)
    }

    /// What acknowledges the answer to the request of this number.
    pub(super) fn acknowledge(&self, sequence: u32) -> String {
        self.numbered("ACK", sequence, "")
    }

    fn numbered(&self, method: &str, sequence: u32, body: &str) -> String {
        let Self { id, own, local, remote, target, .. } = self;
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{method}{sequence}{}\r\n\
             Max-Forwards: 70\r\nFrom: {local}\r\nTo: {remote}\r\nCall-ID: {id}\r\nCSeq: {sequence} {method}\r\n\
             Contact: {}\r\n",
            id.replace('@', ""),
            self.contact()
        ) + &with_body(body)
    }
}

fn with_body(body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!("{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The URI in a header.
fn address(value: &str) -> String {
    let inner = value.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(uri, _)| uri);
    inner.unwrap_or(value).to_owned()
}
