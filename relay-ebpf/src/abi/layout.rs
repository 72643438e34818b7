//! Where media arrives, and which slot an address and port have.
//!
//! Each address has its even ports first and then its odd ones: RTP, which is
//! nearly all there is, fills whole pages of a map, and RTCP keeps apart.

use super::{ABI_VERSION, Address, Family, MAX_ADDRESSES, Port};

/// Where media arrives: addresses and one port range for all of them.
///
/// Fixed when the program is loaded, so that the verifier prunes what the
/// configuration does not use.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    first_port: u32,
    ports: u32,
    addresses: u32,
    abi: u32,
    family_v6: [u8; MAX_ADDRESSES],
    address: [Address; MAX_ADDRESSES],
}

impl Layout {
    /// No address: every packet passes.
    pub const EMPTY: Self = Self {
        first_port: 0,
        ports: 0,
        addresses: 0,
        abi: ABI_VERSION,
        family_v6: [0; MAX_ADDRESSES],
        address: [Address([0; 4]); MAX_ADDRESSES],
    };

    /// Ports `first..=last`, no address yet. `last` must not be below `first`.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Self {
        Self {
            first_port: first as u32,
            ports: (last as u32 + 1).saturating_sub(first as u32),
            ..Self::EMPTY
        }
    }

    /// With one more address; `None` when there are [`MAX_ADDRESSES`] already.
    #[must_use]
    pub fn with(mut self, address: Address, family: Family) -> Option<Self> {
        let index = self.addresses as usize;
        *self.address.get_mut(index)? = address;
        self.family_v6[index] = u8::from(matches!(family, Family::V6));
        self.addresses += 1;
        Some(self)
    }

    /// How many ports each address has.
    #[must_use]
    pub const fn ports(&self) -> u32 {
        self.ports
    }

    /// The first slot of a media address, for the program: reads are volatile,
    /// since the value is set after compiling.
    #[inline(always)]
    #[must_use]
    pub fn base_of(&self, address: &Address, family: Family) -> Option<u32> {
        let count = volatile(&self.addresses);
        let ports = volatile(&self.ports);
        let mut base = 0;
        let mut left = count;
        for index in 0..MAX_ADDRESSES {
            if left == 0 {
                return None;
            }
            left -= 1;
            if self.holds(index, address, family) {
                return Some(base);
            }
            base += ports;
        }
        None
    }

    /// Where a port stands among those of an address, if it is a media port; for the
    /// program.
    #[inline(always)]
    #[must_use]
    pub fn place_of_port(&self, port: Port) -> Option<u32> {
        let ports = volatile(&self.ports);
        let offset = u32::from(port.number()).wrapping_sub(volatile(&self.first_port));
        if offset < ports { Some(place(offset, ports)) } else { None }
    }

    /// The slot of the port after that of `slot`, which is even; for the program.
    #[inline(always)]
    #[must_use]
    pub fn beside(&self, slot: u32) -> u32 {
        slot + evens(volatile(&self.ports))
    }

    #[inline(always)]
    fn holds(&self, index: usize, address: &Address, family: Family) -> bool {
        let v6 = volatile(&self.family_v6[index]) != 0;
        let ours = &self.address[index].0;
        match family {
            Family::V4 => !v6 && volatile(&ours[0]) == address.0[0],
            Family::V6 => {
                v6 && volatile(&ours[0]) == address.0[0]
                    && volatile(&ours[1]) == address.0[1]
                    && volatile(&ours[2]) == address.0[2]
                    && volatile(&ours[3]) == address.0[3]
            }
        }
    }

    /// How many slots each of the per-flow arrays has.
    #[must_use]
    pub const fn slots(&self) -> u32 {
        self.addresses * self.ports
    }

    /// The slot of a port of the address at `index`.
    #[must_use]
    pub const fn slot(&self, index: u32, port: u16) -> Option<u32> {
        let offset = (port as u32).wrapping_sub(self.first_port);
        if index < self.addresses && offset < self.ports {
            Some(index * self.ports + place(offset, self.ports))
        } else {
            None
        }
    }
}

/// Where the port that is `offset` after the first one, an even number, stands.
#[inline(always)]
const fn place(offset: u32, ports: u32) -> u32 {
    (offset >> 1) + (offset & 1) * evens(ports)
}

/// How many of the ports stand first.
#[inline(always)]
const fn evens(ports: u32) -> u32 {
    ports.div_ceil(2)
}

/// Reads what may differ from what the compiler saw.
#[inline(always)]
pub(super) fn volatile<T: Copy>(value: &T) -> T {
    // SAFETY: a reference is valid and aligned.
    unsafe { core::ptr::read_volatile(value) }
}
