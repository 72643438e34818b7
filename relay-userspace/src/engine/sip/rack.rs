//! `RSeq` and `RAck` (RFC 3262 section 7).

use super::header::{CSeq, HeaderError, HeaderProblem, digits};
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::scan::trim;

/// Which provisional response a PRACK is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RAck {
    /// The response's `RSeq`.
    pub rseq: u32,
    /// The `CSeq` number of the request that it answers.
    pub cseq: u32,
    /// That request's method.
    pub method: Method,
}

impl RAck {
    /// What a PRACK says.
    pub fn of(message: &Message) -> Result<Self, HeaderError> {
        let read = || {
            let text = message.header(Name::RAck).ok_or(HeaderProblem::Missing)?;
            let (rseq, rest) = trim(text).split_once([' ', '\t']).ok_or(HeaderProblem::Malformed)?;
            let CSeq { number, method } = CSeq::parse(rest)?;
            Ok(Self { rseq: number_of(rseq)?, cseq: number, method })
        };
        read().map_err(|problem: HeaderProblem| problem.of(Name::RAck))
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {} {}", self.rseq, self.cseq, self.method)
    }
}

/// The number of a provisional response that must arrive, if it has one.
pub fn rseq(message: &Message) -> Result<Option<u32>, HeaderError> {
    let number = message.header(Name::RSeq).map(|text| number_of(trim(text))).transpose();
    number.map_err(|problem| problem.of(Name::RSeq))
}

fn number_of(text: &str) -> Result<u32, HeaderProblem> {
    digits(text).filter(|&number| number > 0).ok_or(HeaderProblem::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sip::message::ParseLimits;

    fn message(fields: &str) -> Message {
        let text = format!(
            "PRACK sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:b@h>;tag=1\r\n\
             To: <sip:a@h>;tag=2\r\nCall-ID: c\r\nCSeq: 2 PRACK\r\n{fields}Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.as_bytes(), &ParseLimits { bytes: 65_536, headers: 64 }).unwrap()
    }

    #[test]
    fn what_is_acknowledged_is_read_and_written() {
        let read = |text: &str| RAck::of(&message(&format!("RAck: {text}\r\n")));
        let rack = read("776656\t 1   INVITE").unwrap();
        assert_eq!(rack, RAck { rseq: 776_656, cseq: 1, method: Method::Invite });
        assert_eq!(read(&rack.text()), Ok(rack));
        for bad in ["", "1", "1 1", "0 1 INVITE", "-1 1 INVITE", "1 2147483648 INVITE", "4294967296 1 INVITE"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(RAck::of(&message("")).is_err());
    }

    #[test]
    fn a_response_has_a_number_above_zero_or_none() {
        assert_eq!(rseq(&message("")), Ok(None));
        assert_eq!(rseq(&message("RSeq: 988789\r\n")), Ok(Some(988_789)));
        for bad in ["0", "x", "", "1 1"] {
            assert!(rseq(&message(&format!("RSeq: {bad}\r\n"))).is_err(), "{bad}");
        }
    }
}
