//! Lexical rules that every header shares: linear white space, tokens, quoted
//! strings, angle brackets, lists (RFC 3261 section 25.1).
//!
//! Everything works on slices and allocates nothing.

/// Without the linear white space around it. Folds are blanks by now.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Whether `text` is a `token`.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// One byte of a `token`.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

/// The end of the quoted string that starts at `open`: the index after its
/// closing quote.
pub(super) fn quoted_end(text: &str, open: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = open + 1;
    loop {
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Cuts at the first `separator` outside quotes and angle brackets.
pub(super) fn cut(text: &str, separator: u8) -> (&str, Option<&str>) {
    let bytes = text.as_bytes();
    let (mut at, mut in_angle) = (0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'"' if !in_angle => match quoted_end(text, at) {
                Some(end) => {
                    at = end;
                    continue;
                }
                None => return (text, None),
            },
            b'<' => in_angle = true,
            b'>' => in_angle = false,
            byte if byte == separator && !in_angle => return (&text[..at], Some(&text[at + 1..])),
            _ => {}
        }
        at += 1;
    }
    (text, None)
}

/// The elements of a comma-separated list, trimmed. Empty ones are passed
/// over, as section 7.3.1 lets a sender write them by accident.
#[derive(Clone, Debug)]
pub(super) struct List<'a> {
    rest: Option<&'a str>,
}

impl<'a> List<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { rest: Some(text) }
    }
}

impl<'a> Iterator for List<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        while let Some(text) = self.rest {
            let (element, rest) = cut(text, b',');
            self.rest = rest;
            let element = trim(element);
            if !element.is_empty() {
                return Some(element);
            }
        }
        None
    }
}
