//! What is known of an erasure until its certificate is written: pseudonyms.

use super::Epoch;
use crate::engine::ids::{BindingId, ErasureId, PartyId};
use crate::engine::time::Timestamp;

/// A person that was erased, as far as it may be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Names it and its certificate.
    pub id: ErasureId,
    /// Its address was sealed under epochs before this one, and never under this.
    pub epoch: Epoch,
    /// When it was asked for.
    pub asked: Timestamp,
    /// Tenants that knew the person, and by which pseudonym.
    pub pseudonyms: Vec<(String, PartyId)>,
    /// Bindings that were ended for it.
    pub ended: Vec<BindingId>,
    /// Tombstones that are kept, without a name, and until when.
    pub tombstones: Vec<(BindingId, Timestamp)>,
}
