//! Dialogs: RFC 3261 section 12, for both sides.
//!
//! A dialog knows who is who (Call-ID, tags, URIs), the order of requests
//! (`CSeq` both ways) and the way to the peer (route set, remote target). It
//! writes the requests inside it and judges those that arrive; which of them a
//! call sends or accepts is the call's business.
//!
//! Tags and Call-ID of the far side are opaque and compared byte for byte;
//! `Debug` shows our own tag alone, because a peer may write anything into the
//! rest.

use std::fmt;

use thiserror::Error;

use super::build::RequestBuilder;
use super::header::{HeaderError, HeaderProblem, NameAddr, Transport};
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::transport::SentBy;
use super::uri::{Scheme, Uri};

/// The greatest `CSeq` number (RFC 3261 section 8.1.1.5).
const LAST_CSEQ: u32 = (1 << 31) - 1;

/// Why a message makes no dialog, or is refused inside one.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DialogError {
    /// A header field that the dialog needs.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// The Call-ID or the local tag is not the dialog's.
    #[error("the Call-ID or a tag is not that of the dialog (RFC 3261 section 12.2.2)")]
    Mismatch,
    /// Older than the last request, or the same again in another transaction.
    #[error("CSeq is not above that of the last request (RFC 3261 section 12.2.2)")]
    OutOfOrder,
}

impl DialogError {
    /// The status for a request that is refused for this.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Header(_) => 400,
            Self::Mismatch => 481,
            Self::OutOfOrder => 500,
        }
    }
}

/// What the caller of a dialog fixes before there is one: the identities in
/// its first request.
#[derive(Clone, PartialEq, Eq)]
pub struct Initiator {
    /// A token of ours.
    pub call_id: String,
    /// A token of ours.
    pub local_tag: String,
    /// From.
    pub local_uri: Uri,
    /// To.
    pub remote_uri: Uri,
    /// The `CSeq` number of the first request.
    pub cseq: u32,
}

impl Initiator {
    /// The first request, to `target`, with Via, Max-Forwards, From, To,
    /// Call-ID and `CSeq` in place.
    pub fn request(
        &self,
        method: Method,
        target: &Uri,
        display: Option<&str>,
        sent_by: SentBy,
        branch: &str,
    ) -> RequestBuilder {
        RequestBuilder::new(method, target, sent_by, branch)
            .max_forwards(70)
            .from(display, &self.local_uri, &self.local_tag)
            .to(None, &self.remote_uri, None)
            .call_id(&self.call_id)
            .cseq(self.cseq)
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Initiator({}, cseq {})", self.local_tag, self.cseq)
    }
}

/// What finds a dialog (RFC 3261 section 12). The remote tag of an RFC 2543
/// peer is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialogId {
    /// Call-ID.
    pub call_id: String,
    /// Ours.
    pub local_tag: String,
    /// The peer's.
    pub remote_tag: String,
}

impl DialogId {
    /// The dialog that a request belongs to; `None` for one outside any.
    #[must_use]
    pub fn of_request(request: &Message) -> Option<Self> {
        let (from, to) = (request.from().ok()?, request.to().ok()?);
        Some(Self::new(request.call_id().ok()?, to.tag()?, from.tag().unwrap_or_default()))
    }

    /// The dialog that a response makes or belongs to; `None` without a To tag.
    #[must_use]
    pub fn of_response(response: &Message) -> Option<Self> {
        let (from, to) = (response.from().ok()?, response.to().ok()?);
        Some(Self::new(response.call_id().ok()?, from.tag().unwrap_or_default(), to.tag()?))
    }

    fn new(call_id: &str, local_tag: &str, remote_tag: &str) -> Self {
        Self { call_id: call_id.into(), local_tag: local_tag.into(), remote_tag: remote_tag.into() }
    }
}

impl fmt::Debug for DialogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DialogId({})", self.local_tag)
    }
}

/// What a confirmed dialog consists of, for those who keep it elsewhere.
/// Without `Debug`: it holds what the peer wrote.
#[derive(Clone, PartialEq, Eq)]
pub struct DialogParts {
    /// What finds it.
    pub id: DialogId,
    /// From in our requests.
    pub local_uri: Uri,
    /// To in our requests.
    pub remote_uri: Uri,
    /// The number of our last request.
    pub local_cseq: u32,
    /// The number of the peer's last request.
    pub remote_cseq: Option<u32>,
    /// Route values in the order in which we write them.
    pub route_set: Vec<String>,
    /// The peer's Contact.
    pub remote_target: Uri,
    /// Whether it was made over TLS to a `sips` URI.
    pub secure: bool,
}

/// One dialog.
#[derive(Clone, PartialEq, Eq)]
pub struct Dialog {
    id: DialogId,
    local_uri: Uri,
    remote_uri: Uri,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    /// Route values as received, in the order in which we write them.
    route_set: Vec<String>,
    remote_target: Uri,
    secure: bool,
    confirmed: bool,
}

impl Dialog {
    /// Ours to start: from a 101-299 response to the first request, which
    /// makes an early dialog or, from 200, a confirmed one (section 12.1.2).
    pub fn uac(initiator: &Initiator, response: &Message) -> Result<Self, DialogError> {
        let id = DialogId::of_response(response).ok_or(HeaderProblem::Missing.of(Name::To))?;
        if id.call_id != initiator.call_id || id.local_tag != initiator.local_tag {
            return Err(DialogError::Mismatch);
        }
        let remote_target = response.contact()?.uri();
        Ok(Self {
            id,
            local_uri: initiator.local_uri.clone(),
            remote_uri: initiator.remote_uri.clone(),
            local_cseq: initiator.cseq,
            remote_cseq: None,
            route_set: reversed_routes(response)?,
            remote_target,
            secure: false,
            confirmed: is_success(response),
        })
    }

    /// The peer's: from its first request, confirmed by our 2xx. `local_tag`
    /// is the tag of our responses; our own requests are numbered from
    /// `first_cseq` (section 12.1.1).
    pub fn uas(request: &Message, local_tag: &str, first_cseq: u32) -> Result<Self, DialogError> {
        let (from, to) = (request.from()?, request.to()?);
        let is_sips = request.request_uri().is_some_and(|uri| uri.scheme() == Scheme::Sips);
        Ok(Self {
            id: DialogId::new(request.call_id()?, local_tag, from.tag().unwrap_or_default()),
            local_uri: to.uri(),
            remote_uri: from.uri(),
            local_cseq: first_cseq.saturating_sub(1),
            remote_cseq: Some(request.cseq()?.number),
            route_set: routes(request)?,
            remote_target: request.contact()?.uri(),
            secure: is_sips && request.via()?.transport == Transport::Tls,
            confirmed: false,
        })
    }

    /// A confirmed dialog that was kept elsewhere.
    #[must_use]
    pub fn restored(parts: DialogParts) -> Self {
        let DialogParts {
            id,
            local_uri,
            remote_uri,
            local_cseq,
            remote_cseq,
            route_set,
            remote_target,
            secure,
        } = parts;
        Self {
            id,
            local_uri,
            remote_uri,
            local_cseq,
            remote_cseq,
            route_set,
            remote_target,
            secure,
            confirmed: true,
        }
    }

    /// What it consists of.
    #[must_use]
    pub fn parts(&self) -> DialogParts {
        DialogParts {
            id: self.id.clone(),
            local_uri: self.local_uri.clone(),
            remote_uri: self.remote_uri.clone(),
            local_cseq: self.local_cseq,
            remote_cseq: self.remote_cseq,
            route_set: self.route_set.clone(),
            remote_target: self.remote_target.clone(),
            secure: self.secure,
        }
    }

    /// Leaves out this many numbers of requests, which may have been used by
    /// somebody whose memory is lost: gaps are legal (section 12.2.2).
    pub fn skip(&mut self, numbers: u32) {
        self.local_cseq = self.local_cseq.saturating_add(numbers).min(LAST_CSEQ);
    }

    /// What finds it.
    #[must_use]
    pub const fn id(&self) -> &DialogId {
        &self.id
    }

    /// Our side's URI: From in our requests.
    #[must_use]
    pub const fn local_uri(&self) -> &Uri {
        &self.local_uri
    }

    /// The peer's URI: To in our requests.
    #[must_use]
    pub const fn remote_uri(&self) -> &Uri {
        &self.remote_uri
    }

    /// Where the peer wants our requests: its Contact.
    #[must_use]
    pub const fn remote_target(&self) -> &Uri {
        &self.remote_target
    }

    /// The number of our last request.
    #[must_use]
    pub const fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// The number of the peer's last request.
    #[must_use]
    pub const fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    /// Whether it was made over TLS to a `sips` URI.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether a 2xx has been sent or received.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Our 2xx has left.
    pub const fn confirm(&mut self) {
        self.confirmed = true;
    }

    /// The 2xx to our first request has come: the dialog is confirmed, and its
    /// route set and target are those of the 2xx (section 13.2.2.4).
    pub fn confirm_by(&mut self, response: &Message) -> Result<(), DialogError> {
        if DialogId::of_response(response).as_ref() != Some(&self.id) {
            return Err(DialogError::Mismatch);
        }
        if !self.confirmed {
            self.route_set = reversed_routes(response)?;
            self.confirmed = true;
        }
        self.refresh_target(response)
    }

    /// Takes the Contact of a target refresh: an INVITE or UPDATE, or the 2xx
    /// to one (sections 12.2.1.2 and 12.2.2). Without a Contact the target stays.
    pub fn refresh_target(&mut self, message: &Message) -> Result<(), DialogError> {
        if message.header(Name::Contact).is_some() {
            self.remote_target = message.contact()?.uri();
        }
        Ok(())
    }

    /// Judges a request inside the dialog, neither ACK nor CANCEL, and counts
    /// it. Refuse it with [`DialogError::status`] on error. The target is not
    /// touched: a refresh counts only once the request is accepted.
    pub fn accept(&mut self, request: &Message) -> Result<(), DialogError> {
        if DialogId::of_request(request).as_ref() != Some(&self.id) {
            return Err(DialogError::Mismatch);
        }
        let number = request.cseq()?.number;
        if self.remote_cseq.is_some_and(|last| number <= last) {
            return Err(DialogError::OutOfOrder);
        }
        self.remote_cseq = Some(number);
        Ok(())
    }

    /// The next request of ours inside the dialog, with Via, Route,
    /// Max-Forwards, From, To, Call-ID and `CSeq` in place (section 12.2.1.1).
    pub fn request(&mut self, method: Method, sent_by: SentBy, branch: &str) -> RequestBuilder {
        self.local_cseq = self.local_cseq.saturating_add(1).min(LAST_CSEQ);
        self.write(method, self.local_cseq, sent_by, branch)
    }

    /// The ACK of a 2xx to our INVITE with this `CSeq` number (section
    /// 13.2.2.4). `branch` is a fresh one; the ACK has no transaction.
    pub fn ack(&self, cseq: u32, sent_by: SentBy, branch: &str) -> RequestBuilder {
        self.write(Method::Ack, cseq, sent_by, branch)
    }

    /// Where requests of ours go next: the first route, else the target.
    #[must_use]
    pub fn next_hop(&self) -> Uri {
        self.first_route().unwrap_or_else(|| self.remote_target.clone())
    }

    fn first_route(&self) -> Option<Uri> {
        self.route_set.first().and_then(|route| NameAddr::parse(route).ok()).map(|route| route.uri())
    }

    fn write(&self, method: Method, cseq: u32, sent_by: SentBy, branch: &str) -> RequestBuilder {
        let remote_tag = Some(self.id.remote_tag.as_str()).filter(|tag| !tag.is_empty());
        let strict_router = self.first_route().filter(|route| !route.is_loose_router());
        let builder = match &strict_router {
            None => RequestBuilder::new(method, &self.remote_target, sent_by, branch)
                .routes(self.route_set.iter().map(String::as_str)),
            // RFC 2543 routing: the first route is the Request-URI, the target the last route.
            Some(router) => {
                let target = format!("<{}>", self.remote_target.as_str());
                let rest = self.route_set.iter().skip(1).map(String::as_str);
                RequestBuilder::new(method, router, sent_by, branch)
                    .routes(rest.chain(std::iter::once(target.as_str())))
            }
        };
        builder
            .max_forwards(70)
            .from(None, &self.local_uri, &self.id.local_tag)
            .to(None, &self.remote_uri, remote_tag)
            .call_id(&self.id.call_id)
            .cseq(cseq)
    }
}

impl fmt::Debug for Dialog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Dialog({}, cseq {} and {:?}, {} routes, confirmed: {})",
            self.id.local_tag,
            self.local_cseq,
            self.remote_cseq,
            self.route_set.len(),
            self.confirmed
        )
    }
}

fn is_success(response: &Message) -> bool {
    matches!(response.status(), Some(200..=299))
}

/// Record-Route as a route set, each entry checked.
fn routes(message: &Message) -> Result<Vec<String>, HeaderError> {
    message
        .list(Name::RecordRoute)
        .map(|route| match NameAddr::parse(route) {
            Ok(_) => Ok(route.to_owned()),
            Err(problem) => Err(problem.of(Name::RecordRoute)),
        })
        .collect()
}

fn reversed_routes(message: &Message) -> Result<Vec<String>, HeaderError> {
    let mut routes = routes(message)?;
    routes.reverse();
    Ok(routes)
}

#[cfg(test)]
mod tests;
