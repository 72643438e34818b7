//! A message: start line, an index of its header fields, a body.
//!
//! One pass finds the lines, blanks the folds and recognises the names; values
//! are read when they are asked for. The core that every message stands on
//! (Via, From, To, Call-ID, `CSeq`) is checked at once, so later code can trust
//! it. What is refused is refused with the rule it breaks and, for a request
//! whose core can be read, with what a 400 needs.
//!
//! Lines end in CRLF and nothing else: a lone CR or LF that one element takes
//! for an end of line and another does not is how headers are smuggled. A byte
//! that is not UTF-8 becomes `?` in the header section alone: it costs no other
//! header, and nothing of it crosses, since every message is rebuilt.

mod problem;

use std::fmt;

pub use problem::{ParseError, Problem};

use super::header::{CSeq, HeaderError, HeaderProblem, NameAddr, Via, digits};
use super::method::Method;
use super::name::Name;
use super::scan::{self, List, trim};
use super::uri::Uri;

/// What bounds one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseLimits {
    /// Bytes of the whole message.
    pub bytes: usize,
    /// Header fields.
    pub headers: usize,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Self { bytes: 16 * 1024, headers: 128 }
    }
}

/// The first line.
#[derive(Clone, PartialEq, Eq)]
pub enum StartLine {
    /// A request.
    Request {
        /// Its method.
        method: Method,
        /// Its Request-URI.
        uri: Uri,
    },
    /// A response.
    Response {
        /// 100 to 699.
        status: u16,
    },
}

impl fmt::Debug for StartLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { method, uri } => write!(f, "{method} {uri:?}"),
            Self::Response { status } => write!(f, "{status}"),
        }
    }
}

/// One header field: places in the head.
#[derive(Clone, Copy)]
struct Field {
    name: Name,
    start: u32,
    name_len: u32,
    value: u32,
    end: u32,
}

/// A message whose core header fields are sound.
#[derive(Clone)]
pub struct Message {
    start: StartLine,
    head: String,
    fields: Vec<Field>,
    body: Vec<u8>,
}

impl Message {
    /// Reads a datagram that holds one message. Bytes after the body that
    /// Content-Length states are dropped (RFC 3261 section 18.3).
    pub fn parse(bytes: &[u8], limits: &ParseLimits) -> Result<Self, ParseError> {
        let leading = bytes.iter().take_while(|&&b| matches!(b, b'\r' | b'\n' | 0)).count();
        let bytes = &bytes[leading..];
        if bytes.is_empty() {
            return Err(ParseError::silent(Problem::KeepAlive));
        }
        // A head longer than the limit is not looked at: reading it is what the limit prevents.
        let too_long = bytes.len() > limits.bytes;
        let bytes = &bytes[..bytes.len().min(limits.bytes)];
        let head_len = head_len(bytes).ok_or_else(|| {
            ParseError::silent(if too_long {
                Problem::TooLong { limit: limits.bytes }
            } else {
                Problem::LineEnd
            })
        })?;
        let (mut message, mut problem) =
            Self::index(&bytes[..head_len], limits).map_err(ParseError::silent)?;
        if too_long {
            problem = Some(Problem::TooLong { limit: limits.bytes });
        }
        let problem = problem
            .or_else(|| message.take_body(&bytes[head_len..]).err())
            .or_else(|| message.check_core().err());
        match problem {
            None => Ok(message),
            Some(problem) => Err(message.refused(problem)),
        }
    }

    /// The start line.
    #[must_use]
    pub const fn start(&self) -> &StartLine {
        &self.start
    }

    /// The method: of a request its own, of a response that of `CSeq`.
    #[must_use]
    pub fn method(&self) -> Method {
        match &self.start {
            StartLine::Request { method, .. } => method.clone(),
            // Absent only before the core was checked, and then nobody asks.
            StartLine::Response { .. } => self.cseq().map_or(Method::Options, |cseq| cseq.method),
        }
    }

    /// Whether this is a request with this method.
    #[must_use]
    pub fn is_request(&self, wanted: &Method) -> bool {
        matches!(&self.start, StartLine::Request { method, .. } if method == wanted)
    }

    /// The Request-URI; `None` for a response.
    #[must_use]
    pub const fn request_uri(&self) -> Option<&Uri> {
        match &self.start {
            StartLine::Request { uri, .. } => Some(uri),
            StartLine::Response { .. } => None,
        }
    }

    /// The status; `None` for a request.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Request { .. } => None,
            StartLine::Response { status } => Some(status),
        }
    }

    /// The body, as long as Content-Length says.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The first value of a field, whole.
    #[must_use]
    pub fn header(&self, name: Name) -> Option<&str> {
        self.header_all(name).next()
    }

    /// Every value of a field, whole, in order.
    pub fn header_all(&self, name: Name) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |field| field.name == name).map(|field| self.value(field))
    }

    /// Every element of a comma-separated field, over all its lines.
    pub fn list(&self, name: Name) -> impl Iterator<Item = &str> {
        self.header_all(name).flat_map(List::new)
    }

    /// Every field with its name as written, in order.
    pub fn fields(&self) -> impl Iterator<Item = (Name, &str, &str)> {
        self.fields.iter().map(|field| {
            let written = &self.head[field.start as usize..(field.start + field.name_len) as usize];
            (field.name, written, self.value(field))
        })
    }

    /// The topmost Via.
    pub fn via(&self) -> Result<Via<'_>, HeaderError> {
        let value = self.list(Name::Via).next().ok_or(HeaderProblem::Missing.of(Name::Via))?;
        Via::parse(value).map_err(|problem| problem.of(Name::Via))
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr<'_>, HeaderError> {
        self.single(Name::From, NameAddr::parse)
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr<'_>, HeaderError> {
        self.single(Name::To, NameAddr::parse)
    }

    /// Call-ID.
    pub fn call_id(&self) -> Result<&str, HeaderError> {
        self.single(Name::CallId, |text| {
            if text.is_empty() || text.bytes().any(|b| b <= b' ' || b == 0x7f) {
                Err(HeaderProblem::Malformed)
            } else {
                Ok(text)
            }
        })
    }

    /// `CSeq`.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        self.single(Name::CSeq, CSeq::parse)
    }

    /// Max-Forwards; 70 when there is none, as RFC 2543 senders leave it out.
    pub fn max_forwards(&self) -> Result<u8, HeaderError> {
        match self.header(Name::MaxForwards) {
            None => Ok(70),
            Some(text) => digits(text)
                .and_then(|hops| u8::try_from(hops).ok())
                .ok_or(HeaderProblem::Malformed.of(Name::MaxForwards)),
        }
    }

    /// The only Contact.
    pub fn contact(&self) -> Result<NameAddr<'_>, HeaderError> {
        let mut contacts = self.addresses(Name::Contact);
        let contact = contacts.next().ok_or(HeaderProblem::Missing.of(Name::Contact))?;
        if contacts.next().is_some() {
            return Err(HeaderProblem::Repeated.of(Name::Contact));
        }
        contact
    }

    /// Every name-addr of a list: Route, Record-Route, P-Asserted-Identity.
    pub fn addresses(&self, name: Name) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.list(name).map(move |value| NameAddr::parse(value).map_err(|problem| problem.of(name)))
    }

    /// Route, in order.
    pub fn routes(&self) -> Result<Vec<NameAddr<'_>>, HeaderError> {
        self.addresses(Name::Route).collect()
    }

    /// Record-Route, in the order of the message.
    pub fn record_routes(&self) -> Result<Vec<NameAddr<'_>>, HeaderError> {
        self.addresses(Name::RecordRoute).collect()
    }

    /// `type/subtype` of the body without parameters; `None` when not stated.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.header(Name::ContentType).map(|value| trim(value.split(';').next().unwrap_or(value)))
    }

    /// Whether the body is said to be of this `type/subtype`.
    #[must_use]
    pub fn content_is(&self, kind: &str) -> bool {
        self.content_type().is_some_and(|found| found.eq_ignore_ascii_case(kind))
    }

    fn value(&self, field: &Field) -> &str {
        &self.head[field.value as usize..field.end as usize]
    }

    fn single<'a, T>(
        &'a self,
        name: Name,
        read: impl FnOnce(&'a str) -> Result<T, HeaderProblem>,
    ) -> Result<T, HeaderError> {
        let value = self.header(name).ok_or(HeaderProblem::Missing.of(name))?;
        read(value).map_err(|problem| problem.of(name))
    }

    /// Finds the fields. The problem beside the message is one that a
    /// response can still be made for.
    fn index(head: &[u8], limits: &ParseLimits) -> Result<(Self, Option<Problem>), Problem> {
        let mut head = head.to_vec();
        let mut fields = Vec::with_capacity(24);
        let mut problem = None;
        let mut start_len = None;
        let (mut line, mut at) = (0, 0);
        while let Some(offset) = memchr::memchr2(b'\r', b'\n', &head[at..]) {
            let end = at + offset;
            if head.get(end..end + 2) != Some(b"\r\n") {
                return Err(Problem::LineEnd);
            }
            at = end + 2;
            if start_len.is_none() {
                start_len = Some(end);
            } else if end == line {
                break;
            } else if matches!(head.get(at), Some(b' ' | b'\t')) {
                // A fold counts as one blank (section 7.3.1); two keep the places right.
                head[end..at].fill(b' ');
                continue;
            } else if fields.len() == limits.headers {
                problem = Some(Problem::TooManyHeaders { limit: limits.headers });
                break;
            } else if let Some(field) = read_field(&head[line..end], line) {
                fields.push(field);
            } else {
                problem.get_or_insert(Problem::HeaderLine { line: fields.len() + 1 });
            }
            line = at;
        }
        let head = readable(head);
        let start = match read_start(&head[..start_len.ok_or(Problem::LineEnd)?]) {
            Ok(start) => start,
            Err((Some(start), found)) => {
                problem = Some(found);
                start
            }
            Err((None, found)) => return Err(found),
        };
        Ok((Self { start, head, fields, body: Vec::new() }, problem))
    }

    fn take_body(&mut self, rest: &[u8]) -> Result<(), Problem> {
        let length = match self.header(Name::ContentLength) {
            None => rest.len(),
            Some(text) => {
                let stated = digits(text).ok_or(HeaderProblem::Malformed.of(Name::ContentLength))?;
                let length = stated as usize;
                if length > rest.len() {
                    return Err(Problem::Truncated { stated, present: rest.len() });
                }
                length
            }
        };
        rest[..length].clone_into(&mut self.body);
        Ok(())
    }

    fn check_core(&self) -> Result<(), Problem> {
        let mut seen: u64 = 0;
        for field in self.fields.iter().filter(|field| field.name.is_singular()) {
            let bit = 1 << field.name as u32;
            if seen & bit != 0 {
                return Err(HeaderProblem::Repeated.of(field.name).into());
            }
            seen |= bit;
        }
        self.via()?;
        self.from()?;
        self.to()?;
        self.call_id()?;
        self.max_forwards()?;
        let cseq = self.cseq()?;
        match &self.start {
            StartLine::Request { method, .. } if *method != cseq.method => Err(Problem::MethodMismatch),
            StartLine::Request { .. } | StartLine::Response { .. } => Ok(()),
        }
    }

    /// Keeps the request for its refusal when one can be addressed and matched.
    fn refused(self, problem: Problem) -> ParseError {
        let is_request = matches!(&self.start, StartLine::Request { method, .. } if *method != Method::Ack);
        let echoes = self.via().is_ok()
            && [Name::From, Name::To, Name::CallId, Name::CSeq]
                .into_iter()
                .all(|name| self.header_all(name).count() == 1);
        ParseError { problem, request: (is_request && echoes).then(|| Box::new(self)) }
    }
}

impl fmt::Debug for Message {
    /// Without values: they hold real numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({:?}, {} fields, {} body bytes)", self.start, self.fields.len(), self.body.len())
    }
}

/// The head with its empty line; `None` when there is none.
fn head_len(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// The head as text of the same length.
fn readable(head: Vec<u8>) -> String {
    String::from_utf8(head).unwrap_or_else(|error| {
        let mut bytes = error.into_bytes();
        while let Err(error) = std::str::from_utf8(&bytes) {
            let start = error.valid_up_to();
            let end = error.error_len().map_or(bytes.len(), |length| start + length);
            bytes[start..end].fill(b'?');
        }
        String::from_utf8(bytes).unwrap_or_default()
    })
}

/// `name : value`; `None` when there is no name.
fn read_field(line: &[u8], start: usize) -> Option<Field> {
    let colon = memchr::memchr(b':', line)?;
    let name =
        std::str::from_utf8(line[..colon].trim_ascii_end()).ok().filter(|name| scan::is_token(name))?;
    let value = &line[colon + 1..];
    let leading = value.iter().take_while(|&&b| is_blank(b)).count();
    let trailing = value[leading..].iter().rev().take_while(|&&b| is_blank(b)).count();
    Some(Field {
        name: Name::recognise(name),
        start: place(start),
        name_len: place(name.len()),
        value: place(start + colon + 1 + leading),
        end: place(start + line.len() - trailing),
    })
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Lossless: a datagram is far shorter than 2^32.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the limit on bytes has cut the message to less than 2^32"
)]
const fn place(index: usize) -> u32 {
    index as u32
}

/// Reads the first line. A request whose method is readable comes with its
/// problem, so that it can be refused.
fn read_start(line: &str) -> Result<StartLine, (Option<StartLine>, Problem)> {
    if let Some(rest) = strip_version(line).and_then(|rest| rest.strip_prefix(' ')) {
        let code = rest.split(' ').next().unwrap_or(rest);
        let status = (code.len() == 3).then(|| digits(code)).flatten().and_then(|n| u16::try_from(n).ok());
        return status
            .filter(|status| (100..=699).contains(status))
            .map(|status| StartLine::Response { status })
            .ok_or((None, Problem::StartLine));
    }
    let (method, rest) = line.split_once(' ').ok_or((None, Problem::StartLine))?;
    let method = Method::parse(method).ok_or((None, Problem::StartLine))?;
    let (uri, version) = rest.rsplit_once(' ').ok_or((None, Problem::StartLine))?;
    let refused = |method, problem| (Some(StartLine::Request { method, uri: Uri::nowhere() }), problem);
    match strip_version(version) {
        Some("") => {}
        Some(_) | None if version.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("SIP/")) => {
            return Err(refused(method, Problem::Version));
        }
        Some(_) | None => return Err(refused(method, Problem::StartLine)),
    }
    match Uri::parse(uri) {
        Ok(uri) => Ok(StartLine::Request { method, uri }),
        Err(error) => Err(refused(method, Problem::RequestUri(error))),
    }
}

fn strip_version(text: &str) -> Option<&str> {
    let (version, rest) = text.split_at_checked(7)?;
    version.eq_ignore_ascii_case("SIP/2.0").then_some(rest)
}

#[cfg(test)]
mod tests;
