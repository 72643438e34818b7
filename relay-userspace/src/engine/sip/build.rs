//! The only way out: messages written field by field into a buffer.
//!
//! Nothing is edited and passed on, so nothing crosses that nobody named. A
//! value with a CR or an LF is refused: it would become a header field of its
//! own in the reader's eyes. The first refusal is kept and given by
//! `build`, so a chain of calls reads as the message does.

use std::fmt;
use std::fmt::Write as _;
use std::net::SocketAddr;

use thiserror::Error;

use super::header::{MAGIC_COOKIE, Via};
use super::message::{Message, ParseLimits};
use super::method::Method;
use super::name::Name;
use super::scan;
use super::status;
use super::transport::SentBy;
use super::uri::{Host, Uri};

/// A value that would break the message it was put into. Prints no value.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BuildError {
    /// A CR or an LF in a value.
    #[error("a value for {} holds a line end (RFC 3261 section 7.3.1)", .0.as_str())]
    LineEnd(Name),
    /// A tag, a branch or a method that is no token.
    #[error("a value for {} is not a token (RFC 3261 section 25.1)", .0.as_str())]
    Token(Name),
    /// A status outside 100 to 699.
    #[error("{0} is not a status code (RFC 3261 section 21)")]
    Status(u16),
    /// The request that is answered lacks a field that every response copies.
    #[error("the request has no {}", .0.as_str())]
    Missing(Name),
}

/// What both builders share: header fields, then the body.
struct Writer {
    out: String,
    error: Option<BuildError>,
}

impl Writer {
    fn new() -> Self {
        Self { out: String::with_capacity(1024), error: None }
    }

    fn fail(&mut self, error: BuildError) {
        self.error.get_or_insert(error);
    }

    fn header(&mut self, name: Name, parts: &[&str]) {
        if parts.iter().any(|part| memchr::memchr2(b'\r', b'\n', part.as_bytes()).is_some()) {
            self.fail(BuildError::LineEnd(name));
            return;
        }
        self.out.push_str(name.as_str());
        self.out.push_str(": ");
        for part in parts {
            self.out.push_str(part);
        }
        self.out.push_str("\r\n");
    }

    fn address(&mut self, name: Name, display: Option<&str>, uri: &Uri, tag: Option<&str>) {
        if tag.is_some_and(|tag| !scan::is_token(tag)) {
            self.fail(BuildError::Token(name));
        }
        let mut quoted = String::new();
        if let Some(display) = display {
            quoted.push('"');
            for c in display.chars() {
                if matches!(c, '"' | '\\') {
                    quoted.push('\\');
                }
                quoted.push(c);
            }
            quoted.push_str("\" ");
        }
        let (tag_name, tag) = tag.map_or(("", ""), |tag| (";tag=", tag));
        self.header(name, &[&quoted, "<", uri.as_str(), ">", tag_name, tag]);
    }

    fn finish(mut self, content_type: &str, body: &[u8]) -> Result<Vec<u8>, BuildError> {
        if !body.is_empty() {
            self.header(Name::ContentType, &[content_type]);
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        write_infallibly(&mut self.out, format_args!("Content-Length: {}\r\n\r\n", body.len()));
        let mut bytes = self.out.into_bytes();
        bytes.extend_from_slice(body);
        Ok(bytes)
    }
}

/// Writing to a `String` cannot fail.
fn write_infallibly(out: &mut String, text: fmt::Arguments<'_>) {
    let _: fmt::Result = out.write_fmt(text);
}

/// A request that is ready to be sent, with what its transaction needs of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its branch without the magic cookie.
    pub branch: String,
    /// The message.
    pub bytes: Vec<u8>,
}

impl Request {
    /// The same request with a Via of another transport.
    #[must_use]
    pub fn over(mut self, sent_by: SentBy) -> Self {
        // Ours is the line behind the first.
        let end = |bytes: &[u8]| memchr::memmem::find(bytes, b"\r\n").map(|at| at + 2);
        if let Some(start) = end(&self.bytes)
            && let Some(length) = end(&self.bytes[start..])
        {
            let via = our_via(sent_by, &self.branch);
            self.bytes.splice(start..start + length, via.into_bytes());
        }
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({}, {} bytes)", self.method, self.bytes.len())
    }
}

/// Our Via. RFC 3581 is about datagrams: an answer over a connection needs no
/// address.
fn our_via(sent_by: SentBy, branch: &str) -> String {
    let SentBy { transport, address } = sent_by;
    let rport = if transport.is_reliable() { "" } else { ";rport" };
    format!("Via: SIP/2.0/{transport} {address};branch={MAGIC_COOKIE}{branch}{rport}\r\n")
}

/// Builds a request, field by field. Our Via comes first.
#[must_use]
pub struct RequestBuilder {
    writer: Writer,
    method: Method,
    branch: String,
}

impl RequestBuilder {
    /// A request with a Via of ours, whose branch is `z9hG4bK` + `branch`; over UDP
    /// with `;rport`. `branch` is a token of ours (see [`crate::engine::ids::Slot::token`]).
    pub fn new(method: Method, uri: &Uri, sent_by: SentBy, branch: &str) -> Self {
        let mut writer = Writer::new();
        if !scan::is_token(branch) {
            writer.fail(BuildError::Token(Name::Via));
        }
        if !scan::is_token(method.as_str()) {
            writer.fail(BuildError::Token(Name::CSeq));
        }
        write_infallibly(&mut writer.out, format_args!("{method} {} SIP/2.0\r\n", uri.as_str()));
        writer.out.push_str(&our_via(sent_by, branch));
        Self { writer, method, branch: branch.to_owned() }
    }

    /// `Max-Forwards`.
    pub fn max_forwards(mut self, hops: u8) -> Self {
        write_infallibly(&mut self.writer.out, format_args!("Max-Forwards: {hops}\r\n"));
        self
    }

    /// `From`.
    pub fn from(mut self, display: Option<&str>, uri: &Uri, tag: &str) -> Self {
        self.writer.address(Name::From, display, uri, Some(tag));
        self
    }

    /// `To`; without a tag outside a dialog.
    pub fn to(mut self, display: Option<&str>, uri: &Uri, tag: Option<&str>) -> Self {
        self.writer.address(Name::To, display, uri, tag);
        self
    }

    /// `Call-ID`.
    pub fn call_id(self, value: &str) -> Self {
        self.header(Name::CallId, value)
    }

    /// `CSeq` with the request's method.
    pub fn cseq(mut self, number: u32) -> Self {
        write_infallibly(&mut self.writer.out, format_args!("CSeq: {number} {}\r\n", self.method));
        self
    }

    /// `Contact`.
    pub fn contact(mut self, uri: &Uri) -> Self {
        self.writer.address(Name::Contact, None, uri, None);
        self
    }

    /// `Route`, one field per entry; each a name-addr as received.
    pub fn routes<'a>(mut self, routes: impl IntoIterator<Item = &'a str>) -> Self {
        for route in routes {
            self.writer.header(Name::Route, &[route]);
        }
        self
    }

    /// Any other field. Content-Type and Content-Length come with the body.
    pub fn header(mut self, name: Name, value: &str) -> Self {
        self.writer.header(name, &[value]);
        self
    }

    /// A request without a body.
    pub fn build(self) -> Result<Request, BuildError> {
        self.build_with_body("", &[])
    }

    /// A request with a body of this type.
    pub fn build_with_body(self, content_type: &str, body: &[u8]) -> Result<Request, BuildError> {
        let bytes = self.writer.finish(content_type, body)?;
        Ok(Request { method: self.method, branch: self.branch, bytes })
    }
}

/// Builds a response to a request, field by field.
#[must_use]
pub struct ResponseBuilder {
    writer: Writer,
}

impl ResponseBuilder {
    /// A response with what RFC 3261 section 8.2.6 copies from the request:
    /// every Via (the topmost with `received` and `rport` of `source`, RFC 3581),
    /// From, To (with `tag` if the request's has none), Call-ID, `CSeq`.
    /// `tag` is absent for 100 alone.
    pub fn new(request: &Message, source: SocketAddr, status: u16, tag: Option<&str>) -> Self {
        let mut writer = Writer::new();
        if !(100..=699).contains(&status) {
            writer.fail(BuildError::Status(status));
        }
        write_infallibly(&mut writer.out, format_args!("SIP/2.0 {status} {}\r\n", status::reason(status)));
        for (line, value) in request.header_all(Name::Via).enumerate() {
            if line == 0 {
                write_top_via(&mut writer, value, source);
            } else {
                writer.header(Name::Via, &[value]);
            }
        }
        for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
            let Some(value) = request.header(name) else {
                writer.fail(BuildError::Missing(name));
                continue;
            };
            match tag {
                Some(tag) if name == Name::To && !request.to().is_ok_and(|to| to.tag().is_some()) => {
                    if !scan::is_token(tag) {
                        writer.fail(BuildError::Token(Name::To));
                    }
                    writer.header(name, &[value, ";tag=", tag]);
                }
                Some(_) | None => writer.header(name, &[value]),
            }
        }
        Self { writer }
    }

    /// Copies Record-Route, as every response that makes a dialog does
    /// (RFC 3261 section 12.1.1).
    pub fn record_routes_of(mut self, request: &Message) -> Self {
        for value in request.header_all(Name::RecordRoute) {
            self.writer.header(Name::RecordRoute, &[value]);
        }
        self
    }

    /// `Contact`.
    pub fn contact(mut self, uri: &Uri) -> Self {
        self.writer.address(Name::Contact, None, uri, None);
        self
    }

    /// Any other field. Content-Type and Content-Length come with the body.
    pub fn header(mut self, name: Name, value: &str) -> Self {
        self.writer.header(name, &[value]);
        self
    }

    /// A response without a body.
    pub fn build(self) -> Result<Vec<u8>, BuildError> {
        self.build_with_body("", &[])
    }

    /// A response with a body of this type.
    pub fn build_with_body(self, content_type: &str, body: &[u8]) -> Result<Vec<u8>, BuildError> {
        self.writer.finish(content_type, body)
    }
}

/// The first Via line of a request as its responses carry it: the topmost hop
/// with where the request came from, the rest of the line as it is.
fn write_top_via(writer: &mut Writer, line: &str, source: SocketAddr) {
    let (hop, rest) = scan::cut(line.trim_start_matches([',', ' ', '\t']), b',');
    let hop = scan::trim(hop);
    let Ok(via) = Via::parse(hop) else {
        writer.fail(BuildError::Missing(Name::Via));
        return;
    };
    let mut top = String::with_capacity(hop.len() + 48);
    let params_start = hop.find(';').unwrap_or(hop.len());
    top.push_str(hop[..params_start].trim_end());
    for (name, value) in via.params.iter() {
        // What the sender claims about itself here is ours to say.
        if name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport") {
            continue;
        }
        top.push(';');
        top.push_str(name);
        if let Some(value) = value {
            top.push('=');
            top.push_str(value);
        }
    }
    let sent_from = via.host() == Host::Ip(source.ip());
    if via.wants_rport() {
        write_infallibly(&mut top, format_args!(";rport={}", source.port()));
    }
    if via.wants_rport() || !sent_from {
        write_infallibly(&mut top, format_args!(";received={}", source.ip()));
    }
    let comma = if rest.is_some() { "," } else { "" };
    writer.header(Name::Via, &[&top, comma, rest.unwrap_or_default()]);
}

/// The ACK of a failure (RFC 3261 section 17.1.1.3, `to` from the response) or
/// the CANCEL (section 9.1, `to` from the request) that belongs to a request of
/// ours, with the reason for it (RFC 3326). `None` only for bytes that no
/// [`RequestBuilder`] wrote.
pub(super) fn hop_by_hop(
    method: Method,
    request: &[u8],
    to: Option<&str>,
    reason: Option<&str>,
) -> Option<Request> {
    let no_limits = ParseLimits { bytes: request.len(), headers: usize::MAX };
    let request = Message::parse(request, &no_limits).ok()?;
    let branch = request.via().ok()?.branch_token()?.to_owned();
    let mut writer = Writer::new();
    write_infallibly(
        &mut writer.out,
        format_args!("{method} {} SIP/2.0\r\n", request.request_uri()?.as_str()),
    );
    writer.header(Name::Via, &[request.header(Name::Via)?]);
    for route in request.header_all(Name::Route) {
        writer.header(Name::Route, &[route]);
    }
    writer.header(Name::MaxForwards, &["70"]);
    writer.header(Name::From, &[request.header(Name::From)?]);
    writer.header(Name::To, &[to.or_else(|| request.header(Name::To))?]);
    writer.header(Name::CallId, &[request.header(Name::CallId)?]);
    let number = request.cseq().ok()?.number;
    write_infallibly(&mut writer.out, format_args!("CSeq: {number} {method}\r\n"));
    if let Some(reason) = reason {
        writer.header(Name::Reason, &[reason]);
    }
    let bytes = writer.finish("", &[]).ok()?;
    Some(Request { method, branch, bytes })
}

#[cfg(test)]
mod tests;
