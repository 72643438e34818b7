//! Who owns which address, number and canary.
//!
//! Everything that could give a party away is derived from the call and the
//! side it belongs to, so that a single look at a leaked text tells whose it
//! is; nothing of Vizard's own resembles any of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// One end of one simulated call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LegId {
    /// Index of the call in its scenario.
    pub(crate) call: usize,
    /// Which end.
    pub(crate) side: Side,
}

/// Who placed the call and who was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    /// The end that dialled a proxy.
    Caller,
    /// The end that Vizard called.
    Callee,
}

impl Side {
    /// The opposite end.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

/// Where media of one end arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the telephone, before it moves.
    First,
    /// Where it has moved to.
    Moved,
    /// At another telephone, which rings too.
    Fork,
}

impl LegId {
    /// The far end of the same call.
    pub(crate) const fn other(self) -> Self {
        Self { call: self.call, side: self.side.other() }
    }

    /// Where this leg's media arrives.
    pub(crate) fn media(self, place: Place) -> SocketAddr {
        let (base, offset) = match place {
            Place::First => (64, 0),
            Place::Moved => (66, 10),
            Place::Fork => (68, 4),
        };
        let port = 20_000 + (self.call % 1000) * 20 + offset;
        SocketAddr::new(self.ip(base), u16::try_from(port).expect("below 40 020"))
    }

    /// The address of the telephone behind the trunk.
    pub(crate) fn device(self) -> IpAddr {
        self.ip(72)
    }

    /// A word that must never reach the other side.
    pub(crate) fn canary(self) -> String {
        format!("cnry{}{:05}x", if self.side == Side::Caller { 'a' } else { 'b' }, self.call)
    }

    fn ip(self, base: u8) -> IpAddr {
        let [high, low] = u16::try_from(self.call).expect("fewer calls than that").to_be_bytes();
        let side = u8::from(self.side == Side::Callee);
        Ipv4Addr::new(10, base + side, high, low).into()
    }
}

/// The leg that an endpoint address belongs to.
pub(crate) fn owner_of(ip: IpAddr) -> Option<LegId> {
    let IpAddr::V4(ip) = ip else { return None };
    let [10, second @ (64..=69 | 72 | 73), high, low] = ip.octets() else { return None };
    let side = if second & 1 == 0 { Side::Caller } else { Side::Callee };
    Some(LegId { call: usize::from(u16::from_be_bytes([high, low])), side })
}

/// The leg that a canary belongs to; `text` begins with `cnry`.
pub(crate) fn owner_of_canary(text: &str) -> Option<LegId> {
    let side = match text.as_bytes().get(4)? {
        b'a' => Side::Caller,
        b'b' => Side::Callee,
        _ => return None,
    };
    Some(LegId { call: text.get(5..10)?.parse().ok()?, side })
}

/// Real numbers come from these ranges alone: the digits after the country
/// code begin so.
pub(crate) const REAL_PREFIXES: [&str; 3] = ["415700", "151700", "212800"];

/// The `index`th customer's number, E.164 digits without `+`.
pub(crate) fn customer_digits(index: usize) -> String {
    if index % 4 == 3 {
        format!("49151700{:05}", 10_007 + index * 211)
    } else {
        format!("1415700{:04}", 1009 + index * 37)
    }
}

/// The `index`th agent's number.
pub(crate) fn agent_digits(index: usize) -> String {
    format!("1212800{:04}", 2003 + index * 41)
}

/// The `index`th extension at a PBX: short, long and named ones.
pub(crate) fn extension(index: usize) -> String {
    match index % 3 {
        0 => format!("{}", 2107 + index),
        1 => format!("desk.kilo{index}"),
        _ => format!("{}", 88_000_500 + index),
    }
}

/// The `index`th number of the pool.
pub(crate) fn proxy_digits(index: usize) -> String {
    if index % 5 == 4 {
        format!("4930900{:05}", 30_011 + index * 13)
    } else {
        format!("1646900{:04}", 3001 + index * 13)
    }
}

/// The digits after the country code.
pub(crate) fn significant(digits: &str) -> &str {
    digits.strip_prefix("49").or_else(|| digits.strip_prefix('1')).unwrap_or(digits)
}
