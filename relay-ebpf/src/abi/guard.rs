//! What guards the signalling sockets: where they are, and what becomes of whom.

use super::layout::volatile;
use super::{Address, Family, Port};
use crate::bucket::Rate;

/// Signalling sockets at most.
pub const MAX_SIGNALLING: usize = 16;
/// Rules of both families together at most.
pub const MAX_RULES: u32 = 2_048;
/// Sets of buckets: four sources each. A power of two.
pub const BUCKET_SETS: u32 = 4_096;

/// The signalling sockets and how fast a source may send to them; fixed when the
/// program is loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    rate: Rate,
    key: u64,
    sockets: u32,
    reserved: u32,
    port: [Port; MAX_SIGNALLING],
    family_v6: [u8; MAX_SIGNALLING],
    any_address: [u8; MAX_SIGNALLING],
    address: [Address; MAX_SIGNALLING],
}

impl Guard {
    /// Nothing is guarded.
    pub const NONE: Self = Self::new(Rate::NONE, 0);

    /// No socket yet; `key` is secret and hides which sources share buckets.
    #[must_use]
    pub const fn new(rate: Rate, key: u64) -> Self {
        Self {
            rate,
            key,
            sockets: 0,
            reserved: 0,
            port: [Port::new(0); MAX_SIGNALLING],
            family_v6: [0; MAX_SIGNALLING],
            any_address: [0; MAX_SIGNALLING],
            address: [Address([0; 4]); MAX_SIGNALLING],
        }
    }

    /// With one more socket, on every address of its family where `address` is
    /// `None`; `None` when there are [`MAX_SIGNALLING`] already.
    #[must_use]
    pub fn with(mut self, address: Option<Address>, family: Family, port: u16) -> Option<Self> {
        let index = self.sockets as usize;
        *self.port.get_mut(index)? = Port::new(port);
        self.family_v6[index] = u8::from(matches!(family, Family::V6));
        self.any_address[index] = u8::from(address.is_none());
        self.address[index] = address.unwrap_or_default();
        self.sockets += 1;
        Some(self)
    }

    /// How fast a source may send, as all that follow for the program: reads are
    /// volatile, since the value is set after compiling.
    #[inline(always)]
    #[must_use]
    pub fn rate(&self) -> Rate {
        volatile(&self.rate)
    }

    /// What hides which sources share buckets.
    #[inline(always)]
    #[must_use]
    pub fn key(&self) -> u64 {
        volatile(&self.key)
    }

    /// Whether anything is guarded.
    #[inline(always)]
    #[must_use]
    pub fn is_on(&self) -> bool {
        volatile(&self.sockets) != 0
    }

    /// Whether a datagram to this address is for one of the sockets; one whose
    /// port cannot be read may be for any of that address.
    #[inline(always)]
    #[must_use]
    pub fn holds(&self, address: &Address, family: Family, port: Option<Port>) -> bool {
        let mut left = volatile(&self.sockets);
        for index in 0..MAX_SIGNALLING {
            if left == 0 {
                return false;
            }
            left -= 1;
            if self.is_socket(index, address, family, port) {
                return true;
            }
        }
        false
    }

    #[inline(always)]
    fn is_socket(&self, index: usize, address: &Address, family: Family, port: Option<Port>) -> bool {
        let v6 = volatile(&self.family_v6[index]) != 0;
        if v6 != matches!(family, Family::V6) {
            return false;
        }
        if let Some(port) = port
            && volatile(&self.port[index]) != port
        {
            return false;
        }
        if volatile(&self.any_address[index]) != 0 {
            return true;
        }
        let ours = &self.address[index].0;
        volatile(&ours[0]) == address.0[0]
            && (!v6
                || volatile(&ours[1]) == address.0[1]
                    && volatile(&ours[2]) == address.0[2]
                    && volatile(&ours[3]) == address.0[3])
    }
}

/// What becomes of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Passes, however fast.
    Exempt,
    /// Passes as fast as anybody may.
    Limit,
    /// Does not pass.
    Deny,
}

/// A rule about the sources of one network; the narrowest network decides.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardRule {
    treatment: u32,
    /// The index of its packet count.
    pub hits: u32,
}

impl GuardRule {
    /// A rule that counts at `hits`.
    #[must_use]
    pub const fn new(treatment: Treatment, hits: u32) -> Self {
        let treatment = match treatment {
            Treatment::Exempt => 1,
            Treatment::Limit => 2,
            Treatment::Deny => 3,
        };
        Self { treatment, hits }
    }

    /// What becomes of the source; a value that nobody wrote limits.
    #[inline(always)]
    #[must_use]
    pub const fn treatment(&self) -> Treatment {
        match self.treatment {
            1 => Treatment::Exempt,
            3 => Treatment::Deny,
            _ => Treatment::Limit,
        }
    }
}
