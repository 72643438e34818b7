//! The wire: one JSON document a line, each line bounded.
//!
//! Lines can be read by eye and written by hand (`socat - UNIX:...`), and a
//! document has no raw line break inside. The bounds keep a broken or hostile
//! end from filling the other's memory.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Bytes of a request: enough for a pool of 20,000 numbers in one go.
pub const MAX_REQUEST: usize = 4 * 1024 * 1024;
/// Bytes of an answer. Lists are paged well below it.
pub const MAX_RESPONSE: usize = 32 * 1024 * 1024;

/// Why a line was not understood. Never carries the line: it may hold numbers.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// Longer than the bound.
    #[error("a line of the local protocol is longer than {limit} bytes")]
    TooLong {
        /// The bound.
        limit: usize,
    },
    /// The connection ended inside a line.
    #[error("the connection ended in the middle of a line")]
    Truncated,
    /// Not the JSON that is expected here.
    #[error("this is no line of the local protocol: {sort} error at column {column}")]
    Malformed {
        /// `syntax`, `data` or `end`.
        sort: &'static str,
        /// Where, counted from one; zero when the shape is wrong as a whole.
        column: usize,
    },
}

/// A document and its line break.
pub fn encode<T: Serialize>(document: &T, limit: usize) -> Result<Vec<u8>, FrameError> {
    let mut line = serde_json::to_vec(document).map_err(|error| malformed(&error))?;
    line.push(b'\n');
    if line.len() > limit { Err(FrameError::TooLong { limit }) } else { Ok(line) }
}

/// The document of a line, with or without its line break.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(line).map_err(|error| malformed(&error))
}

/// Takes whole lines out of a stream's chunks.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    partial: Vec<u8>,
}

impl Lines {
    /// Accepts lines of at most `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, partial: Vec::new() }
    }

    /// Takes from the front of `chunk` up to a line's end. Says how many bytes
    /// it took, and the line if that completes one.
    pub fn take(&mut self, chunk: &[u8]) -> Result<(usize, Option<Vec<u8>>), FrameError> {
        let end = memchr::memchr(b'\n', chunk);
        let taken = end.map_or(chunk.len(), |end| end + 1);
        if self.partial.len() + taken > self.limit {
            return Err(FrameError::TooLong { limit: self.limit });
        }
        self.partial.extend_from_slice(&chunk[..taken]);
        Ok((taken, end.map(|_| std::mem::take(&mut self.partial))))
    }

    /// Whether the stream may end here.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.partial.is_empty() { Ok(()) } else { Err(FrameError::Truncated) }
    }
}

fn malformed(error: &serde_json::Error) -> FrameError {
    use serde_json::error::Category;
    let sort = match error.classify() {
        Category::Io => "input",
        Category::Syntax => "syntax",
        Category::Data => "data",
        Category::Eof => "end",
    };
    FrameError::Malformed { sort, column: error.column() }
}
