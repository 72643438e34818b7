//! Addresses and ports as they stand in packets and maps.

/// An address as it stands in a packet, in network byte order; an IPv4 address
/// has the first word and zeros.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address(pub(super) [u32; 4]);

impl Address {
    /// No address: zeros.
    pub const NONE: Self = Self([0; 4]);

    /// From the four bytes of an IPv4 address.
    #[must_use]
    pub const fn v4(octets: [u8; 4]) -> Self {
        Self([u32::from_ne_bytes(octets), 0, 0, 0])
    }

    /// From the sixteen bytes of an IPv6 address.
    #[must_use]
    pub const fn v6(octets: [u8; 16]) -> Self {
        let mut words = [0; 4];
        let mut index = 0;
        while index < 16 {
            let bytes = [octets[index], octets[index + 1], octets[index + 2], octets[index + 3]];
            words[index / 4] = u32::from_ne_bytes(bytes);
            index += 4;
        }
        Self(words)
    }

    /// The sixteen bytes; those of an IPv4 address are the first four.
    #[must_use]
    pub fn octets(&self) -> [u8; 16] {
        let mut octets = [0; 16];
        for (bytes, word) in octets.chunks_exact_mut(4).zip(self.0) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        octets
    }

    /// From words in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Self(words)
    }

    /// The words in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u32; 4] {
        self.0
    }

    /// Whether the first `prefix` bits equal those of `other`.
    #[inline(always)]
    #[must_use]
    pub fn matches(&self, other: &Self, prefix: u8) -> bool {
        let mut rest = u32::from(prefix);
        let mut index = 0;
        while index < 4 {
            let bits = if rest > 32 { 32 } else { rest };
            let mask = if bits == 0 { 0 } else { (u32::MAX << (32 - bits)).to_be() };
            if (self.0[index] ^ other.0[index]) & mask != 0 {
                return false;
            }
            rest -= bits;
            index += 1;
        }
        true
    }
}

/// A UDP port in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Port(u16);

impl Port {
    /// From a port number.
    #[inline(always)]
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number.to_be())
    }

    /// From the two bytes of a packet, as loaded.
    #[inline(always)]
    #[must_use]
    pub const fn from_wire(loaded: u16) -> Self {
        Self(loaded)
    }

    /// The two bytes of a packet, to be stored.
    #[inline(always)]
    #[must_use]
    pub const fn to_wire(self) -> u16 {
        self.0
    }

    /// The port number.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u16 {
        u16::from_be(self.0)
    }
}

/// The address family of one side of a flow; the two sides may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One end of a flow's way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its address.
    pub address: Address,
    /// Its port.
    pub port: Port,
}
