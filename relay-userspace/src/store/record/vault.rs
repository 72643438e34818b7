//! What the vault leaves in the store: sealed addresses, wrapped data keys, and
//! erasures.

use serde::{Deserialize, Serialize};

use super::{Stored, time};
use crate::engine::ids::{BindingId, ErasureId, PartyId};
use crate::engine::privacy::{Epoch, Erasure, Sealed, WrappedKey};

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

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct ErasureV1 {
    id: u128,
    epoch: u32,
    asked: i64,
    pseudonyms: Vec<(String, u128)>,
    ended: Vec<u128>,
    tombstones: Vec<(u128, i64)>,
}

impl Stored for Erasure {
    type Shape = ErasureV1;

    fn to_shape(&self) -> ErasureV1 {
        let pseudonyms = self.pseudonyms.iter().map(|(tenant, party)| (tenant.clone(), party.to_bits()));
        let tombstones = self.tombstones.iter().map(|(id, until)| (id.to_bits(), until.unix_microseconds()));
        ErasureV1 {
            id: self.id.to_bits(),
            epoch: self.epoch.0,
            asked: self.asked.unix_microseconds(),
            pseudonyms: pseudonyms.collect(),
            ended: self.ended.iter().map(|id| id.to_bits()).collect(),
            tombstones: tombstones.collect(),
        }
    }

    fn from_shape(record: ErasureV1) -> Result<Self, String> {
        let pseudonyms = record.pseudonyms.into_iter();
        let tombstones = record.tombstones.into_iter();
        Ok(Self {
            id: ErasureId::from_bits(record.id),
            epoch: Epoch(record.epoch),
            asked: time(record.asked),
            pseudonyms: pseudonyms.map(|(tenant, party)| (tenant, PartyId::from_bits(party))).collect(),
            ended: record.ended.into_iter().map(BindingId::from_bits).collect(),
            tombstones: tombstones.map(|(id, until)| (BindingId::from_bits(id), time(until))).collect(),
        })
    }
}
