//! Why a message is refused, and the refusal.

use std::fmt;
use thiserror::Error;

use super::Message;
use crate::engine::io::Signal;
use crate::engine::sip::build::ResponseBuilder;
use crate::engine::sip::header::HeaderError;
use crate::engine::sip::transport::Way;
use crate::engine::sip::uri::UriError;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Problem {
    /// Nothing but line ends: a keep-alive, to be passed over in silence.
    #[error("no message: a keep-alive (RFC 3261 section 7.5)")]
    KeepAlive,
    /// Longer than the limit.
    #[error("longer than {limit} bytes, which [limits] message_bytes allows")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// More header fields than the limit.
    #[error("more than {limit} header fields, which [limits] headers allows")]
    TooManyHeaders {
        /// The limit.
        limit: usize,
    },
    /// Neither a request line nor a status line.
    #[error("the first line is neither a request line nor a status line (RFC 3261 section 7)")]
    StartLine,
    /// Another version than 2.0.
    #[error("a SIP version other than 2.0 (RFC 3261 section 7.1)")]
    Version,
    /// The Request-URI is none.
    #[error("Request-URI: {0}")]
    RequestUri(UriError),
    /// A lone CR or LF, or no empty line after the header fields.
    #[error("a line that does not end in CRLF, or no empty line before the body (RFC 3261 section 7)")]
    LineEnd,
    /// A header line without a name and a colon.
    #[error("header field {line} has no name before a colon (RFC 3261 section 7.3.1)")]
    HeaderLine {
        /// Counted from 1.
        line: usize,
    },
    /// A header field that everything else stands on.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// The method of `CSeq` is not the request's.
    #[error("the method of CSeq is not the request's (RFC 3261 section 8.1.1.5)")]
    MethodMismatch,
    /// Content-Length says more than there is.
    #[error("Content-Length says {stated} bytes and {present} are there (RFC 3261 section 18.3)")]
    Truncated {
        /// What Content-Length says.
        stated: u32,
        /// What arrived.
        present: usize,
    },
}

impl Problem {
    /// The status that a request with this problem is answered with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TooLong { .. } => 513,
            Self::Version => 505,
            Self::KeepAlive
            | Self::TooManyHeaders { .. }
            | Self::StartLine
            | Self::RequestUri(_)
            | Self::LineEnd
            | Self::HeaderLine { .. }
            | Self::Header(_)
            | Self::MethodMismatch
            | Self::Truncated { .. } => 400,
        }
    }
}

/// A message that is refused.
#[derive(Error)]
#[error("{problem}")]
pub struct ParseError {
    /// Why. Prints no part of the message.
    pub problem: Problem,
    pub(super) request: Option<Box<Message>>,
}

impl ParseError {
    pub(super) fn silent(problem: Problem) -> Self {
        Self { problem, request: None }
    }

    /// The refusal to send where its Via says, which comes with it:
    /// `None` for responses, for ACK, and when Via, From, To, Call-ID or
    /// `CSeq` cannot be read. It keeps no state (RFC 3261 section 8.2.7).
    #[must_use]
    pub fn refusal(&self, came: Way, tag: &str) -> Option<Signal> {
        let request = self.request.as_deref()?;
        let way = request.via().ok()?.response_way(came);
        let status = self.problem.status();
        let bytes = ResponseBuilder::new(request, came.remote, status, Some(tag)).build().ok()?;
        Some(Signal { way, bytes })
    }
}

impl fmt::Debug for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParseError({:?}, answerable: {})", self.problem, self.request.is_some())
    }
}
