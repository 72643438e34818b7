//! What a datagram to a media port is, by its first bytes, and whether the port's
//! flow takes it.
//!
//! The first byte tells the classes apart (RFC 7983), the second one RTP from
//! RTCP where both share a port (RFC 5761 section 4). What a flow did not agree
//! on is refused with a verdict that says what it was: an operator who sees
//! `unexpected-stun` knows that the far end runs ICE. Opaque flows (UDPTL) carry
//! datagrams that have no first byte to go by, so that class excludes all others.
//!
//! The program and the sockets ask the same functions here, so that they cannot
//! disagree.

use crate::verdict::Verdict;

/// The shortest RTP packet: a fixed header (RFC 3550 section 5.1).
pub const RTP_MIN: u16 = 12;
/// The shortest RTCP packet: a header and one source (RFC 3550 section 6.4).
pub const RTCP_MIN: u16 = 8;
/// A record header of DTLS (RFC 6347 section 4.1).
pub const DTLS_MIN: u16 = 13;
/// A header of STUN (RFC 8489 section 5).
pub const STUN_MIN: u16 = 20;
/// A sequence number of UDPTL (ITU-T T.38 section 9.1).
pub const OPAQUE_MIN: u16 = 2;
/// The longest opaque datagram: what fits an Ethernet frame over IPv6.
pub const OPAQUE_MAX: u16 = 1_500 - 40 - 8;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// RTP (RFC 3550), or SRTP.
    Rtp,
    /// RTCP (RFC 3550), or SRTCP.
    Rtcp,
    /// DTLS, which agrees on the keys of SRTP (RFC 5764).
    Dtls,
    /// STUN: a question to us as an ICE-lite agent, never the far end's.
    Stun,
    /// A datagram that only its far ends understand.
    Opaque,
}

impl Class {
    /// Whether a datagram may fix the source of its flow; `head` gives its first two
    /// bytes. When speech turns into a fax, its last packets still come, from another
    /// port perhaps; UDPTL counts from zero, so it never looks like RTP at first.
    #[inline(always)]
    pub fn fixes_source(self, head: impl FnOnce() -> Result<[u8; 2], Verdict>) -> Result<(), Verdict> {
        if matches!(self, Self::Opaque) && head()?[0] >> 6 == 2 { Err(Verdict::LateRtp) } else { Ok(()) }
    }
}

/// The classes that a flow takes.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u8);

impl Classes {
    /// With one more class.
    #[must_use]
    pub const fn with(self, class: Class) -> Self {
        Self(self.0 | bit(class))
    }

    /// With one more class where `wanted`.
    #[must_use]
    pub const fn with_if(self, wanted: bool, class: Class) -> Self {
        if wanted { self.with(class) } else { self }
    }

    /// Whether RTP is taken, and nothing that has no first byte to go by.
    #[inline(always)]
    #[must_use]
    pub const fn are_rtp(self) -> bool {
        self.0 & (bit(Class::Rtp) | bit(Class::Opaque)) == bit(Class::Rtp)
    }

    /// Whether this class is taken.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, class: Class) -> bool {
        self.0 & bit(class) != 0
    }
}

const fn bit(class: Class) -> u8 {
    match class {
        Class::Rtp => 1,
        Class::Rtcp => 2,
        Class::Dtls => 4,
        Class::Stun => 8,
        Class::Opaque => 16,
    }
}

/// A set of payload types as [`Rule`] has it.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "the two halves of the set")]
pub const fn halves(payload_types: u128) -> [u64; 2] {
    [payload_types as u64, (payload_types >> 64) as u64]
}

/// What a flow takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The classes.
    pub classes: Classes,
    /// The payload types of RTP, one bit each, the lowest for type 0.
    pub payload_types: [u64; 2],
    /// Whether what follows a header is encrypted, its padding count included.
    pub encrypted: bool,
}

impl Rule {
    /// Whether this RTP payload type was agreed on.
    #[inline(always)]
    #[must_use]
    pub const fn allows_payload_type(&self, payload_type: u8) -> bool {
        let half = if payload_type < 64 { self.payload_types[0] } else { self.payload_types[1] };
        half >> (payload_type & 63) & 1 == 1
    }

    /// The class of a datagram with `length` bytes of payload, if the flow
    /// takes it. `head` gives its first two bytes; it is asked once these are
    /// known to be there.
    #[inline(always)]
    pub fn class_of(
        &self,
        length: u16,
        head: impl FnOnce() -> Result<[u8; 2], Verdict>,
    ) -> Result<Class, Verdict> {
        if self.classes.has(Class::Opaque) {
            return opaque(length);
        }
        if length < RTCP_MIN {
            return Err(Verdict::TooShort);
        }
        let [first, second] = head()?;
        if first >> 6 != 2 {
            return self.other_class(length, first);
        }
        let class = self.rtp_class(second)?;
        if matches!(class, Class::Rtp) && length < RTP_MIN { Err(Verdict::TooShort) } else { Ok(class) }
    }

    /// RTP or RTCP: by the second byte where a flow takes both.
    #[inline(always)]
    const fn rtp_class(&self, second: u8) -> Result<Class, Verdict> {
        if self.classes.has(Class::Rtcp) {
            if matches!(second, 192..=223) {
                return Ok(Class::Rtcp);
            }
            if !self.classes.has(Class::Rtp) {
                return Err(Verdict::NotRtcp);
            }
        }
        if self.allows_payload_type(second & 0x7f) { Ok(Class::Rtp) } else { Err(Verdict::PayloadType) }
    }

    /// Neither RTP nor RTCP.
    const fn other_class(&self, length: u16, first: u8) -> Result<Class, Verdict> {
        let (class, unexpected, shortest) = match first {
            0..=3 => (Class::Stun, Verdict::UnexpectedStun, STUN_MIN),
            16..=19 => return Err(Verdict::Zrtp),
            20..=63 => (Class::Dtls, Verdict::UnexpectedDtls, DTLS_MIN),
            64..=79 => return Err(Verdict::TurnChannel),
            _ => return Err(Verdict::NotRtp),
        };
        if !self.classes.has(class) {
            Err(unexpected)
        } else if length < shortest {
            Err(Verdict::TooShort)
        } else {
            Ok(class)
        }
    }

    /// Where the payload of an RTP packet of `length` bytes begins: everything
    /// that its header announces must be there. `bytes` gives two bytes of the
    /// packet; it is only asked for what lies within `length`.
    #[inline(always)]
    pub fn rtp_payload(
        &self,
        first: u8,
        length: u16,
        bytes: impl Fn(u16) -> Result<[u8; 2], Verdict>,
    ) -> Result<u16, Verdict> {
        const EXTENSION: u16 = 4;
        let mut start = RTP_MIN + 4 * u16::from(first & 0x0f);
        if first & 0x10 != 0 {
            start += EXTENSION;
            if start > length {
                return Err(Verdict::BadRtpHeader);
            }
            let words = u16::from_be_bytes(bytes(start - 2)?);
            if words > (length - start) / 4 {
                return Err(Verdict::BadRtpHeader);
            }
            start += words * 4;
        }
        if start > length {
            return Err(Verdict::BadRtpHeader);
        }
        if first & 0x20 != 0 && !self.encrypted {
            let [_, padding] = bytes(length - 2)?;
            if padding == 0 || u16::from(padding) > length - start {
                return Err(Verdict::BadRtpPadding);
            }
        }
        Ok(start)
    }
}

/// An opaque datagram: something, and not too much.
const fn opaque(length: u16) -> Result<Class, Verdict> {
    match length {
        0..OPAQUE_MIN => Err(Verdict::TooShort),
        OPAQUE_MIN..=OPAQUE_MAX => Ok(Class::Opaque),
        _ => Err(Verdict::TooLong),
    }
}

#[cfg(test)]
mod tests;
