//! Who may reach whom through which number: pools, bindings, allocation.

mod model;

pub use model::{
    Binding, BindingKind, BindingState, Extension, NumberKind, PairClaim, PairRest, Party, PartyAddress,
    PoolNumber, Snapshot,
};
