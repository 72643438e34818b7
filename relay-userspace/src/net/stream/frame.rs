//! Where one message ends and the next one begins on a stream (RFC 3261 section
//! 18.3): Content-Length alone says so.
//!
//! A sender that leaves it out, or gives two that differ, could make two readers see
//! different messages in the same bytes; its stream is ended. Nothing else of a
//! message is looked at. Between messages stand keep-alives: two line ends ask for
//! one (RFC 5626 section 4.4.1). Each byte is looked at once, however slowly it comes.

use memchr::memmem;
use thiserror::Error;

/// What a stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// One message, whole.
    Message(Vec<u8>),
    /// A keep-alive that wants an answer.
    Ping,
}

/// Why a stream cannot be read any further.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum FrameError {
    #[error("a message longer than the limit")]
    TooLong,
    #[error("a message without a Content-Length, or with several")]
    Unframed,
}

/// The bytes of a stream on their way to messages.
#[derive(Debug)]
pub(super) struct Framer {
    limit: usize,
    buffer: Vec<u8>,
    /// What of the buffer is known to hold no end of a head.
    scanned: usize,
    /// The length of the message at the front, once its head is whole.
    whole: Option<usize>,
}

impl Framer {
    /// Of an empty stream whose messages have at most so many bytes.
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, buffer: Vec::new(), scanned: 0, whole: None }
    }

    /// Takes in what has come. Call [`Self::next`] until there is nothing more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether no message has begun.
    pub(super) fn is_between(&self) -> bool {
        self.whole.is_none() && self.buffer.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// The next thing that is whole.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.whole.is_none() {
            if let Some(ping) = self.pass_line_ends() {
                return Ok(Some(ping));
            }
            self.whole = self.measure()?;
        }
        let Some(length) = self.whole.filter(|&length| length <= self.buffer.len()) else { return Ok(None) };
        let rest = self.buffer.split_off(length);
        let message = std::mem::replace(&mut self.buffer, rest);
        (self.scanned, self.whole) = (0, None);
        Ok(Some(Frame::Message(message)))
    }

    /// Passes over line ends before a message; two together are a keep-alive.
    fn pass_line_ends(&mut self) -> Option<Frame> {
        let (passed, ping) = match self.buffer.as_slice() {
            [b'\r', b'\n', b'\r', b'\n', ..] => (4, Some(Frame::Ping)),
            // Half of a keep-alive, perhaps.
            [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => (0, None),
            [b'\r', b'\n', ..] => (2, None),
            _ => (0, None),
        };
        if passed > 0 {
            self.buffer.drain(..passed);
            self.scanned = 0;
        }
        ping
    }

    /// The length of the message at the front; `None` while its head is not whole.
    fn measure(&mut self) -> Result<Option<usize>, FrameError> {
        let from = self.scanned.saturating_sub(3);
        let Some(end) = memmem::find(&self.buffer[from..], b"\r\n\r\n") else {
            self.scanned = self.buffer.len();
            return if self.scanned > self.limit { Err(FrameError::TooLong) } else { Ok(None) };
        };
        let head = from + end + 4;
        let body = content_length(&self.buffer[..head]).ok_or(FrameError::Unframed)?;
        let whole = head.saturating_add(body);
        if whole > self.limit { Err(FrameError::TooLong) } else { Ok(Some(whole)) }
    }
}

/// What the head says of its body; `None` when it says nothing, or two things.
fn content_length(head: &[u8]) -> Option<usize> {
    let mut stated = None;
    let mut rest = head;
    while let Some(end) = memmem::find(rest, b"\r\n") {
        let mut line = end + 2;
        // A line that begins with a blank goes on with the one before it.
        while matches!(rest.get(line), Some(b' ' | b'\t')) {
            line += memmem::find(&rest[line..], b"\r\n")? + 2;
        }
        let field = &rest[..line];
        rest = &rest[line..];
        let Some(colon) = memchr::memchr(b':', field) else { continue };
        let name = field[..colon].trim_ascii_end();
        if !name.eq_ignore_ascii_case(b"content-length") && !name.eq_ignore_ascii_case(b"l") {
            continue;
        }
        let digits = field[colon + 1..].trim_ascii();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
        if stated.replace(length).is_some_and(|before| before != length) {
            return None;
        }
    }
    stated
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const LIMIT: usize = 1_000;

    fn message(head: &str, body: &str) -> Vec<u8> {
        format!("OPTIONS sip:x SIP/2.0\r\n{head}\r\n{body}").into_bytes()
    }

    fn read(framer: &mut Framer, bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
        framer.push(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = framer.next()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn all(bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
        read(&mut Framer::new(LIMIT), bytes)
    }

    #[test]
    fn every_way_to_write_a_length_is_read() {
        for head in [
            "Content-Length: 3\r\n",
            "content-length:3\r\n",
            "l : 3\r\nSubject: l\r\n",
            "CONTENT-LENGTH \t:\r\n\t 3 \r\nTo: x\r\n",
            "Subject: a\r\n Content-Length: 9\r\nL: 0003\r\n",
            "l: 3\r\nContent-Length: 3\r\n",
        ] {
            let one = message(head, "abc");
            let two = [one.as_slice(), b"rest"].concat();
            assert_eq!(all(&two), Ok(vec![Frame::Message(one)]), "{head}");
        }
    }

    #[test]
    fn a_length_that_two_readers_could_see_differently_ends_the_stream() {
        for head in [
            "",
            "Subject: x\r\n",
            "Content-Length: 3\r\nl: 4\r\n",
            "Content-Length: -3\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: 3 3\r\n",
            "Content-Length:\r\n",
            "Content-Length: 0x3\r\n",
            "Content-Length: 99999999999999999999999\r\n",
        ] {
            assert_eq!(all(&message(head, "abc")), Err(FrameError::Unframed), "{head}");
        }
    }

    #[test]
    fn what_is_longer_than_the_limit_ends_the_stream_before_it_is_read() {
        assert_eq!(all(&message("l: 960\r\n", "")), Ok(vec![]));
        assert_eq!(all(&message("l: 980\r\n", "")), Err(FrameError::TooLong));
        assert_eq!(all(&message("l: 18446744073709551615\r\n", "")), Err(FrameError::TooLong));
        assert_eq!(all(&[b'x'; LIMIT]), Ok(vec![]));
        assert_eq!(all(&[b'x'; LIMIT + 1]), Err(FrameError::TooLong));
    }

    #[test]
    fn two_line_ends_ask_for_one_and_one_says_nothing() {
        let one = message("l: 0\r\n", "");
        let stream = [b"\r\n\r\n\r\n".as_slice(), &one, b"\r\n\r\n\r\n\r\n", &one, b"\r\n", &one].concat();
        let (ping, one) = (|| Frame::Ping, || Frame::Message(one.clone()));
        assert_eq!(all(&stream), Ok(vec![ping(), one(), ping(), ping(), one(), one()]));
        let mut framer = Framer::new(LIMIT);
        for bytes in [b"\r".as_slice(), b"\n", b"\r"] {
            assert_eq!(read(&mut framer, bytes), Ok(vec![]));
            assert!(framer.is_between());
        }
        assert_eq!(read(&mut framer, b"\nO"), Ok(vec![Frame::Ping]));
        assert!(!framer.is_between());
    }

    #[test]
    fn the_same_frames_come_out_however_the_stream_is_cut() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut below = |bound: usize| random.next_u32() as usize % bound;
        for _ in 0..2_000 {
            let (mut stream, mut sent) = (Vec::new(), Vec::new());
            for _ in 0..=below(6) {
                // A body may look like anything, heads and keep-alives included.
                let body: String =
                    (0..below(40)).map(|_| ["\r\n", "\r\n\r\n", "l: 9", "x"][below(4)]).collect();
                let head = format!("l: {}\r\n", body.len());
                if below(3) == 0 {
                    stream.extend_from_slice(b"\r\n\r\n");
                    sent.push(Frame::Ping);
                }
                stream.extend_from_slice(&message(&head, &body));
                sent.push(Frame::Message(message(&head, &body)));
            }
            let (mut framer, mut got) = (Framer::new(LIMIT), Vec::new());
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + below(rest.len().min(60)));
                got.extend(read(&mut framer, piece).unwrap());
                rest = after;
            }
            assert_eq!(got, sent);
            assert!(framer.is_between() && framer.buffer.is_empty());
        }
    }
}
