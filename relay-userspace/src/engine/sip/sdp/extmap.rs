//! Header extensions of RTP (`a=extmap`, RFC 8285): those that the configuration
//! names cross, under their ids, and no others.
//!
//! An extension says something beside the medium: how loud it is, which way the
//! device is held, or who speaks. Its name is written as the configuration has it.
//! Of its parameters only the one that RFC 6464 defines crosses.

use crate::engine::flow::ExtensionIds;

/// Lines of one section; more are dropped.
const MAX_LINES: usize = 14;

/// The extensions of a section.
#[derive(Clone, Debug, Default)]
pub(super) struct Extensions(Vec<Extension>);

#[derive(Clone, Debug)]
struct Extension {
    id: u8,
    direction: Option<&'static str>,
    name: String,
    parameter: Option<&'static str>,
}

impl Extensions {
    /// Takes the value of `a=extmap`: `3/recvonly urn:ietf:params:rtp-hdrext:toffset`.
    pub(super) fn take(&mut self, value: &str) {
        if self.0.len() < MAX_LINES {
            self.0.extend(Extension::parse(value));
        }
    }

    /// Writes the lines of those that are allowed, and returns their ids.
    pub(super) fn write(&self, allowed: &[String], lines: &mut String) -> ExtensionIds {
        let mut ids = ExtensionIds::default();
        for Extension { id, direction, name, parameter } in &self.0 {
            if !allowed.contains(name) {
                continue;
            }
            ids = ids.with(*id);
            let direction = direction.map_or_else(String::new, |direction| format!("/{direction}"));
            let parameter = parameter.map_or_else(String::new, |parameter| format!(" {parameter}"));
            super::put(lines, format_args!("a=extmap:{id}{direction} {name}{parameter}\r\n"));
        }
        ids
    }
}

impl Extension {
    fn parse(value: &str) -> Option<Self> {
        const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];
        const PARAMETERS: [&str; 2] = ["vad=on", "vad=off"];
        let known = |words: &[&'static str], word: &str| words.iter().copied().find(|known| *known == word);
        let mut words = value.split_ascii_whitespace();
        let first = words.next()?;
        let (id, direction) = match first.split_once('/') {
            Some((id, direction)) => (id, Some(known(&DIRECTIONS, direction)?)),
            None => (first, None),
        };
        // One byte holds ids up to 14 (RFC 8285 section 4.2).
        let id = id.parse().ok().filter(|id| (1..=14).contains(id))?;
        let name = words.next()?.to_owned();
        let parameter = words.next().and_then(|word| known(&PARAMETERS, word));
        Some(Self { id, direction, name, parameter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

    #[test]
    fn what_is_allowed_crosses_under_its_id_and_nothing_beside_it() {
        for (value, kept) in [
            (format!("1 {LEVEL}"), Some((1, format!("1 {LEVEL}")))),
            (format!("14/recvonly {LEVEL} vad=off"), Some((14, format!("14/recvonly {LEVEL} vad=off")))),
            (format!("2 {LEVEL} SECRET"), Some((2, format!("2 {LEVEL}")))),
            (format!("2/SECRET {LEVEL}"), None),
            (format!("0 {LEVEL}"), None),
            (format!("15 {LEVEL}"), None),
            (format!("4096 {LEVEL}"), None),
            (format!("1 {LEVEL}:SECRET"), None),
            ("1 urn:ietf:params:rtp-hdrext:sdes:mid".to_owned(), None),
            ("1".to_owned(), None),
            (String::new(), None),
        ] {
            let mut extensions = Extensions::default();
            extensions.take(&value);
            let mut lines = String::new();
            let ids = extensions.write(&[LEVEL.to_owned()], &mut lines);
            let (id, line) = kept.map_or_else(Default::default, |(id, line)| {
                (ExtensionIds::default().with(id), format!("a=extmap:{line}\r\n"))
            });
            assert_eq!((ids, lines), (id, line), "{value}");
            assert!(extensions.write(&[], &mut String::new()).is_empty(), "nothing by default");
        }
    }
}
