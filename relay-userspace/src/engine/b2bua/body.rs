//! Where the session description is in a message body.
//!
//! Carriers wrap it in `multipart/mixed` beside ISUP or location (RFC 5621).
//! On a masked leg the description alone is read and the rest ends here; an
//! emergency leg keeps the other parts byte for byte and only the description
//! is replaced.

use std::ops::Range;

use crate::engine::sip::message::Message;
use crate::engine::sip::name::Name;
use crate::engine::sip::sdp::{Description, Rules, SdpError};

/// The content type of a session description.
pub(super) const SDP: &str = "application/sdp";

/// What a body holds for us.
#[derive(Debug)]
pub(super) enum Content {
    /// No session description.
    Nothing,
    /// A session description.
    Session(Description),
    /// A body that must be understood and is not (415).
    Unsupported,
    /// A session description that cannot be relayed (400, 488).
    Unusable(SdpError),
}

/// Reads the session description of a message, and of it what the rules let cross.
pub(super) fn read(message: &Message, rules: &Rules) -> Content {
    if message.body().is_empty() {
        return Content::Nothing;
    }
    let encoded = message
        .header(Name::ContentEncoding)
        .is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("identity"));
    let optional = message
        .header(Name::ContentDisposition)
        .is_some_and(|value| value.to_ascii_lowercase().contains("handling=optional"));
    let multipart = message
        .content_type()
        .is_some_and(|kind| kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/")));
    match session_range(message) {
        Some(range) if !encoded => match Description::parse(&message.body()[range], rules) {
            Ok(description) => Content::Session(description),
            Err(error) => Content::Unusable(error),
        },
        None if !encoded && (optional || multipart) => Content::Nothing,
        Some(_) | None if optional => Content::Nothing,
        Some(_) | None => Content::Unsupported,
    }
}

/// The body of `message` with its session description replaced, for legs on
/// which the other parts may cross, and its content type. `None` without a body.
pub(super) fn replaced(message: &Message, session: Option<&[u8]>) -> Option<(String, Vec<u8>)> {
    let body = message.body();
    let content_type = message.header(Name::ContentType).filter(|_| !body.is_empty())?.to_owned();
    let (Some(range), Some(session)) = (session_range(message), session) else {
        return Some((content_type, body.to_owned()));
    };
    let mut replaced = Vec::with_capacity(body.len() + session.len());
    replaced.extend_from_slice(&body[..range.start]);
    replaced.extend_from_slice(session);
    replaced.extend_from_slice(&body[range.end..]);
    Some((content_type, replaced))
}

/// The bytes of the session description in a message's body.
fn session_range(message: &Message) -> Option<Range<usize>> {
    if message.content_is(SDP) {
        return Some(0..message.body().len());
    }
    let content_type = message.header(Name::ContentType)?;
    let boundary = boundary(content_type)?;
    parts(message.body(), boundary).find(|part| is_session(part.head)).map(|part| part.body)
}

/// One part of a multipart body.
struct Part<'a> {
    head: &'a [u8],
    body: Range<usize>,
}

/// The parts between the boundaries (RFC 2046 section 5.1.1).
fn parts<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = Part<'a>> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let mut at = memchr::memmem::find(body, &delimiter);
    std::iter::from_fn(move || {
        let start = at? + delimiter.len();
        if body[start..].starts_with(b"--") {
            return None;
        }
        let line = start + memchr::memchr(b'\n', &body[start..])? + 1;
        let next = line + memchr::memmem::find(&body[line..], &delimiter)?;
        at = Some(next);
        // The line end before a boundary belongs to the boundary.
        let end = line + body[line..next].strip_suffix(b"\r\n").map_or(next - line, <[u8]>::len);
        let head = memchr::memmem::find(&body[line..end], b"\r\n\r\n").map_or(end, |head| line + head);
        Some(Part { head: &body[line..head], body: (head + 4).min(end)..end })
    })
}

/// Whether a part's header fields say that it is a session description.
fn is_session(head: &[u8]) -> bool {
    head.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()).any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            let kind = value.split(';').next().unwrap_or(value).trim();
            (name.trim().eq_ignore_ascii_case("content-type") || name.trim().eq_ignore_ascii_case("c"))
                && kind.eq_ignore_ascii_case(SDP)
        })
    })
}

/// The boundary of `multipart/mixed;boundary="x"`.
fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().get(..10)?.eq_ignore_ascii_case("multipart/") {
        return None;
    }
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("boundary") && (1..=70).contains(&value.len())).then_some(value)
    })
}
