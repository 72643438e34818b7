//! What the vault leaves in the store: sealed addresses and wrapped data keys.

use serde::{Deserialize, Serialize};

use super::Stored;
use crate::engine::privacy::{Epoch, Sealed, WrappedKey};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct SealedV1(u32, Vec<u8>);

impl Stored for Sealed {
    type Shape = SealedV1;

    fn to_shape(&self) -> SealedV1 {
        SealedV1(self.epoch().0, self.bytes().to_vec())
    }

    fn from_shape(SealedV1(epoch, bytes): SealedV1) -> Result<Self, String> {
        Ok(Self::from_parts(Epoch(epoch), &bytes))
    }
}

/// A data key without its epoch, which it is stored under.
pub(in crate::store) struct WrappedBytes {
    nonce: [u8; 24],
    sealed: [u8; 48],
}

impl WrappedBytes {
    pub(in crate::store) const fn of(self, epoch: Epoch) -> WrappedKey {
        WrappedKey { epoch, nonce: self.nonce, sealed: self.sealed }
    }
}

impl From<&WrappedKey> for WrappedBytes {
    fn from(wrapped: &WrappedKey) -> Self {
        Self { nonce: wrapped.nonce, sealed: wrapped.sealed }
    }
}

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct WrappedV1 {
    nonce: Vec<u8>,
    sealed: Vec<u8>,
}

impl Stored for WrappedBytes {
    type Shape = WrappedV1;

    fn to_shape(&self) -> WrappedV1 {
        WrappedV1 { nonce: self.nonce.to_vec(), sealed: self.sealed.to_vec() }
    }

    fn from_shape(record: WrappedV1) -> Result<Self, String> {
        let length = |_| "it has another length than a wrapped key".to_owned();
        Ok(Self {
            nonce: record.nonce.try_into().map_err(length)?,
            sealed: record.sealed.try_into().map_err(length)?,
        })
    }
}
