//! The last look before a message leaves: does it carry the other party?
//!
//! Every message is rebuilt from an allow-list, so nothing should ever be
//! found here. This check exists because "should" is not enough for somebody's
//! telephone number: it reads the finished bytes, knows nothing of how they
//! were made, and so does not share a mistake with the code that made them.
//!
//! A number is searched for as people write it: international, national, with
//! trunk or carrier prefix, with visual separators. Numbers that are too short to
//! be told from chance match whole user parts only.

use std::net::IpAddr;

use memchr::memmem;
use zeroize::Zeroizing;

use super::directory::model::PartyAddress;

/// Shorter digit strings occur by chance in session ids and time stamps.
const SHORTEST_TELLING: usize = 7;
/// From so many digits on, any occurrence is a leak, whatever surrounds it.
const UNMISTAKABLE: usize = 10;
/// What may stand before a national number: nothing, a trunk prefix, or an
/// international prefix and the calling code.
const PREFIXES: [&str; 5] = ["", "0", "1", "00", "011"];

/// What must not be found in what leaves on one leg: the identity of the party
/// on the other.
#[derive(Clone)]
pub struct Secrets {
    numbers: Vec<Number>,
    /// `sip:USER@`, for identities that only a whole user part can match.
    users: Vec<Zeroizing<String>>,
    addresses: Vec<String>,
}

#[derive(Clone)]
struct Number {
    international: Zeroizing<String>,
    national: Zeroizing<String>,
    calling_code: String,
}

/// What was found. Says what sort of thing, never the thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leak {
    /// The other party's number in some written form.
    Number,
    /// The other party's user part.
    User,
    /// An address of the other party's endpoint.
    Address,
}

impl std::fmt::Display for Leak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Number => "the number",
            Self::User => "the user part",
            Self::Address => "an endpoint address",
        })
    }
}

impl Secrets {
    /// The secrets of `party`, as far as it is known. Its `endpoints` count as well,
    /// except those that the receiving leg knows anyway (`shared`: a trunk that
    /// both legs use).
    #[must_use]
    pub fn of(party: Option<&PartyAddress>, endpoints: &[IpAddr], shared: &[IpAddr]) -> Self {
        let mut addresses: Vec<String> =
            endpoints.iter().filter(|address| !shared.contains(address)).map(IpAddr::to_string).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let nobody = Self { numbers: Vec::new(), users: Vec::new(), addresses };
        match party {
            Some(party) => nobody.and(party),
            None => nobody,
        }
    }

    /// And those of another address of the same party.
    #[must_use]
    pub fn and(mut self, party: &PartyAddress) -> Self {
        match party {
            PartyAddress::Number(number) if number.national().len() >= SHORTEST_TELLING => {
                let (international, national) = (number.reveal(), number.national());
                let calling_code = &international[..international.len() - national.len()];
                self.numbers.push(Number {
                    international: international.to_owned().into(),
                    national: national.to_owned().into(),
                    calling_code: calling_code.to_owned(),
                });
            }
            PartyAddress::Number(_) | PartyAddress::Extension { .. } => {
                self.users.push(party.reveal().to_owned().into());
            }
        }
        self
    }

    /// The first secret in `message`, if there is one.
    #[must_use]
    pub fn found_in(&self, message: &[u8]) -> Option<Leak> {
        let number = || self.numbers.iter().any(|number| digit_runs(message, |run| number.is_in(run)));
        let user = || self.users.iter().any(|user| is_user_part(message, user));
        let address = || self.addresses.iter().any(|address| stands_alone(message, address));
        if number() {
            Some(Leak::Number)
        } else if user() {
            Some(Leak::User)
        } else if address() {
            Some(Leak::Address)
        } else {
            None
        }
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Number {
    /// Whether a run of digits, separators removed, is a way to write this
    /// number.
    fn is_in(&self, run: &[u8]) -> bool {
        if self.international.len() >= UNMISTAKABLE
            && memmem::find(run, self.international.as_bytes()).is_some()
        {
            return true;
        }
        let Some(before) = run.strip_suffix(self.national.as_bytes()) else { return false };
        let calling_code = self.calling_code.as_bytes();
        PREFIXES.iter().any(|prefix| {
            let prefix = prefix.as_bytes();
            before == prefix || (before.strip_prefix(prefix) == Some(calling_code))
        })
    }
}

/// Calls `matches` with each maximal run of digits in which at most two visual
/// separators (RFC 3966, and the blank) stand between digits, until it says
/// yes. A run that holds separators is offered with and without what stands
/// before them, so that `id 7 415-555-0100` hides nothing.
fn digit_runs(message: &[u8], matches: impl Fn(&[u8]) -> bool) -> bool {
    const LONGEST_GAP: usize = 2;
    // Fifteen digits and an international prefix: what began earlier is not
    // part of a number that goes on, which keeps the scan linear.
    const LONGEST_NUMBER: usize = 20;
    let mut digits: Vec<u8> = Vec::with_capacity(32);
    let mut starts: Vec<usize> = Vec::with_capacity(8);
    let mut gap = 0;
    let offered = |digits: &[u8], starts: &[usize]| {
        digits.len() >= SHORTEST_TELLING && starts.iter().any(|&start| matches(&digits[start..]))
    };
    for &byte in message {
        match byte {
            b'0'..=b'9' => {
                if gap > 0 || digits.is_empty() {
                    // A group may end a number too: what follows is another one.
                    if gap > 0 && offered(&digits, &starts) {
                        return true;
                    }
                    starts.retain(|&start| digits.len() - start <= LONGEST_NUMBER);
                    starts.push(digits.len());
                }
                gap = 0;
                digits.push(byte);
            }
            b'-' | b'.' | b' ' | b'(' | b')' if !digits.is_empty() && gap < LONGEST_GAP => gap += 1,
            _ => {
                if offered(&digits, &starts) {
                    return true;
                }
                digits.clear();
                starts.clear();
                gap = 0;
            }
        }
    }
    offered(&digits, &starts)
}

/// Whether `user` is the user part of a URI in the message.
fn is_user_part(message: &[u8], user: &str) -> bool {
    memmem::find_iter(message, user.as_bytes()).any(|at| {
        let (before, after) = (&message[..at], &message[at + user.len()..]);
        let scheme = [&b"sip:"[..], b"sips:", b"tel:", b"sip:+", b"sips:+", b"tel:+"];
        scheme.iter().any(|scheme| before.ends_with(scheme))
            && after.first().is_none_or(|next| b"@;>: \t\r\n?".contains(next))
    })
}

/// Whether an address occurs and is not part of a longer one.
fn stands_alone(message: &[u8], address: &str) -> bool {
    let extends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let ipv6 = address.contains(':');
    memmem::find_iter(message, address.as_bytes()).any(|at| {
        let before = at.checked_sub(1).and_then(|index| message.get(index));
        let after = message.get(at + address.len());
        let longer_v4 = !ipv6
            && after == Some(&b'.')
            && message.get(at + address.len() + 1).is_some_and(u8::is_ascii_digit);
        let longer_v6 = ipv6 && (after == Some(&b':') || before == Some(&b':'));
        let before_dot = before == Some(&b'.') && at >= 2 && message[at - 2].is_ascii_digit();
        !(extends(before) || extends(after) || longer_v4 || longer_v6 || before_dot)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Secrets {
        Secrets::of(Some(&PartyAddress::Number(text.parse().unwrap())), &[], &[])
    }

    #[test]
    fn a_number_is_found_however_it_is_written() {
        let secrets = number("+14155550100");
        for text in [
            "From: <sip:+14155550100@h>",
            "From: <sip:14155550100@h>",
            "From: <sip:4155550100@h>",
            "Subject: call (415) 555-0100 back",
            "Subject: 415.555.0100",
            "Subject: +1-415-555-0100.",
            "tel:00114155550100",
            "a=x:0014155550100",
            "Subject: 7 415-555-0100",
            "Subject: 415-555-0100 7",
            "o=- 99141555501009 1 IN IP4 h",
            "i=a14155550100b",
        ] {
            assert_eq!(secrets.found_in(text.as_bytes()), Some(Leak::Number), "{text}");
        }
    }

    #[test]
    fn what_only_resembles_a_number_is_left_alone() {
        let secrets = number("+14155550100");
        for text in [
            "From: <sip:+14155550101@h>",
            "o=- 1234155550100 1 IN IP4 h",
            "CSeq: 41555501 INVITE",
            "Call-ID: 4155550a100",
            "t=4155 550100123",
        ] {
            assert_eq!(secrets.found_in(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_extension_is_found_as_a_whole_user_part_alone() {
        let user = crate::engine::directory::Extension::new("101").unwrap();
        let party = PartyAddress::Extension { trunk: "pbx".to_owned(), user };
        let secrets = Secrets::of(Some(&party), &[], &[]);
        assert_eq!(secrets.found_in(b"To: <sip:101@pbx>"), Some(Leak::User));
        assert_eq!(secrets.found_in(b"To: <sip:1012@pbx>\r\nCSeq: 101 INVITE"), None);
    }

    #[test]
    fn an_address_is_found_unless_the_leg_knows_it() {
        let party = PartyAddress::Number("+14155550100".parse().unwrap());
        let (theirs, shared): (IpAddr, IpAddr) = ("10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap());
        let secrets = Secrets::of(Some(&party), &[theirs, shared], &[shared]);
        assert_eq!(secrets.found_in(b"c=IN IP4 10.0.0.7\r\n"), Some(Leak::Address));
        assert_eq!(
            secrets.found_in(b"c=IN IP4 10.0.0.70\r\nc=IN IP4 110.0.0.7\r\nc=IN IP6 fd00::7\r\n"),
            None
        );
        assert_eq!(
            secrets.found_in(b"c=IN IP4 1.10.0.0.7\r\nVia: SIP/2.0/UDP 10.0.0.7.example"),
            Some(Leak::Address)
        );
        let sixth = Secrets::of(Some(&party), &[shared], &[]);
        assert_eq!(sixth.found_in(b"c=IN IP6 fd00::7\r\n"), Some(Leak::Address));
        assert_eq!(sixth.found_in(b"c=IN IP6 fd00::7:1\r\n"), None);
    }
}
