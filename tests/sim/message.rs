//! SIP as a peer of Vizard reads and writes it: a second, small implementation
//! that shares no line with the engine's, so that each checks the other.
//!
//! Reading is strict: whatever Vizard sends must be well formed, complete and
//! of the stated length, or the world ends with a violation.

use std::fmt::Write;

/// One SIP message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) start: Start,
    /// Names and values in order, as written.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: String,
}

/// A message's first line.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// `INVITE sip:… SIP/2.0`
    Request { method: String, uri: String },
    /// `SIP/2.0 200 OK`
    Response { status: u16 },
}

/// What every message must carry (RFC 3261 section 8.1.1).
const MANDATORY: [&str; 5] = ["Via", "From", "To", "Call-ID", "CSeq"];

impl Message {
    /// An empty request.
    pub(crate) fn request(method: &str, uri: &str) -> Self {
        let start = Start::Request { method: method.into(), uri: uri.into() };
        Self { start, headers: Vec::new(), body: String::new() }
    }

    /// The response to a request: what RFC 3261 section 8.2.6.2 says to copy.
    pub(crate) fn response(request: &Self, status: u16, tag: &str) -> Self {
        let mut response =
            Self { start: Start::Response { status }, headers: Vec::new(), body: String::new() };
        for (name, value) in &request.headers {
            if ["Via", "From", "Call-ID", "CSeq"].iter().any(|&copied| copied.eq_ignore_ascii_case(name))
                || (name.eq_ignore_ascii_case("Record-Route") && (101..300).contains(&status))
            {
                response.headers.push((name.clone(), value.clone()));
            } else if name.eq_ignore_ascii_case("To") {
                let tagged = if tag_of(value).is_some() || status == 100 {
                    value.clone()
                } else {
                    format!("{value};tag={tag}")
                };
                response.headers.push((name.clone(), tagged));
            }
        }
        response
    }

    /// With one more header field.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With a session description.
    pub(crate) fn with_sdp(mut self, sdp: Option<String>) -> Self {
        if let Some(sdp) = sdp {
            self.headers.push(("Content-Type".into(), "application/sdp".into()));
            self.body = sdp;
        }
        self
    }

    /// The bytes on the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = String::with_capacity(1024);
        let line = match &self.start {
            Start::Request { method, uri } => writeln!(text, "{method} {uri} SIP/2.0\r"),
            Start::Response { status } => writeln!(text, "SIP/2.0 {status} {}\r", reason(*status)),
        };
        line.expect("a String takes everything");
        for (name, value) in &self.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        write!(text, "Content-Length: {}\r\n\r\n{}", self.body.len(), self.body).expect("likewise");
        text.into_bytes()
    }

    /// Reads what Vizard sent.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or("no empty line after the headers")?;
        let mut lines = head.split("\r\n");
        let start = start_line(lines.next().unwrap_or_default())?;
        let mut headers = Vec::with_capacity(16);
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("no colon in '{line}'"))?;
            if name.is_empty() || value.contains(['\r', '\n']) || name.contains([' ', '\t']) {
                return Err(format!("bad header line '{line}'"));
            }
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let message = Self { start, headers, body: body.to_owned() };
        message.check()?;
        Ok(message)
    }

    /// What a strict reader holds against a message.
    fn check(&self) -> Result<(), String> {
        for name in MANDATORY {
            let count = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).count();
            if count == 0 || (count > 1 && name != "Via") {
                return Err(format!("{count} {name} headers"));
            }
        }
        if let Some(length) = self.header("Content-Length")
            && length.parse() != Ok(self.body.len())
        {
            return Err(format!("Content-Length {length} with {} bytes of body", self.body.len()));
        }
        if !self.body.is_empty() && self.header("Content-Type").is_none() {
            return Err("a body without Content-Type".into());
        }
        if tag_of(self.value("From")).is_none() {
            return Err("no tag in From".into());
        }
        match &self.start {
            Start::Request { method, .. } => {
                if self.header("Max-Forwards").is_none() {
                    return Err("a request without Max-Forwards".into());
                }
                if !self.branch().starts_with("z9hG4bK") {
                    return Err("a branch without the magic cookie".into());
                }
                if self.cseq().1 != method {
                    return Err("the CSeq method differs from the request's".into());
                }
                if method == "INVITE" && self.header("Contact").is_none() {
                    return Err("an INVITE without Contact".into());
                }
            }
            Start::Response { status } => {
                if *status > 100 && tag_of(self.value("To")).is_none() {
                    return Err(format!("a {status} without a tag in To"));
                }
                let dialog = self.cseq().1 == "INVITE" && (200..300).contains(status);
                if dialog && self.header("Contact").is_none() {
                    return Err("a 2xx to INVITE without Contact".into());
                }
            }
        }
        Ok(())
    }

    /// The first value of a header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first value of a header field, or nothing.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.header(name).unwrap_or_default()
    }

    /// Every value of a header field that lists URIs.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .flat_map(|(_, value)| value.split(',').map(|item| item.trim().to_owned()))
            .collect()
    }

    /// The request's method; nothing for a response.
    pub(crate) fn method(&self) -> &str {
        match &self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => "",
        }
    }

    /// The response's status; zero for a request.
    pub(crate) fn status(&self) -> u16 {
        match &self.start {
            Start::Request { .. } => 0,
            Start::Response { status } => *status,
        }
    }

    /// Number and method of `CSeq`.
    pub(crate) fn cseq(&self) -> (u32, &str) {
        let (number, method) = self.value("CSeq").split_once(' ').unwrap_or_default();
        (number.parse().unwrap_or_default(), method.trim())
    }

    /// The topmost Via's branch.
    pub(crate) fn branch(&self) -> &str {
        parameter(self.value("Via"), "branch").unwrap_or_default()
    }

    /// One line for a trace.
    pub(crate) fn summary(&self) -> String {
        let body = if self.body.is_empty() { "" } else { " +sdp" };
        let (number, method) = self.cseq();
        match &self.start {
            Start::Request { method, uri } => format!("{method} {uri} cseq {number}{body}"),
            Start::Response { status } => format!("{status} to {method} {number}{body}"),
        }
    }
}

/// The tag of a From or To value.
pub(crate) fn tag_of(value: &str) -> Option<&str> {
    parameter(value.rsplit('>').next().unwrap_or_default(), "tag")
}

/// The URI of a name-addr or addr-spec.
pub(crate) fn uri_of(value: &str) -> &str {
    let start = value.rfind('<').map_or(0, |i| i + 1);
    value[start..].split(['>']).next().unwrap_or_default()
}

/// The user part of a URI or of a value that holds one.
pub(crate) fn user_of(value: &str) -> &str {
    let uri = uri_of(value);
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split_once('@').map_or("", |(user, _)| user).split([';', ':']).next().unwrap_or_default()
}

/// The host and port of a URI.
pub(crate) fn host_of(value: &str) -> &str {
    let uri = uri_of(value);
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.rsplit('@').next().unwrap_or_default().split([';', '?']).next().unwrap_or_default()
}

fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|parameter| {
        let (found, value) = parameter.trim().split_once('=')?;
        found.eq_ignore_ascii_case(name).then(|| value.split([',', ' ']).next().unwrap_or_default())
    })
}

fn start_line(line: &str) -> Result<Start, String> {
    if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
        let status = rest.get(..3).and_then(|digits| digits.parse().ok());
        let status =
            status.filter(|s| (100..700).contains(s)).ok_or_else(|| format!("bad status '{line}'"))?;
        return Ok(Start::Response { status });
    }
    match *line.split(' ').collect::<Vec<_>>().as_slice() {
        [method, uri, "SIP/2.0"] => Ok(Start::Request { method: method.into(), uri: uri.into() }),
        _ => Err(format!("bad first line '{line}'")),
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        302 => "Moved Temporarily",
        404 => "Not Found",
        481 => "Call/Transaction Does Not Exist",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        603 => "Decline",
        _ => "Something",
    }
}
