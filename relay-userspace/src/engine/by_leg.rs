//! One value for each leg of a two-party call.

use std::ops::{Index, IndexMut};

use super::ids::LegName;

/// A value for leg A and one for leg B.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByLeg<T> {
    pub(crate) a: T,
    pub(crate) b: T,
}

impl<T> ByLeg<T> {
    /// `one` for `leg`, `other` for the opposite one.
    pub(crate) fn new(leg: LegName, one: T, other: T) -> Self {
        match leg {
            LegName::A => Self { a: one, b: other },
            LegName::B => Self { a: other, b: one },
        }
    }
}

impl<T> Index<LegName> for ByLeg<T> {
    type Output = T;

    fn index(&self, leg: LegName) -> &T {
        match leg {
            LegName::A => &self.a,
            LegName::B => &self.b,
        }
    }
}

impl<T> IndexMut<LegName> for ByLeg<T> {
    fn index_mut(&mut self, leg: LegName) -> &mut T {
        match leg {
            LegName::A => &mut self.a,
            LegName::B => &mut self.b,
        }
    }
}
