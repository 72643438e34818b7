//! The vault: seals addresses and calls, and finds a party by its address
//! without holding it.
//!
//! A data key per epoch does the sealing; the store keeps it wrapped by that
//! epoch's key from the keyring. Sealing needs no random number: an address is
//! sealed under an id that was drawn for it and never used for another, and a
//! record under a nonce that follows from what it says, so that no nonce ever
//! serves two messages, whatever becomes of random sources and counters.
//!
//! An address is padded before it is sealed: a ciphertext does not tell how long
//! a number is.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand::Rng;
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use super::keyring::{Epoch, KEY_BYTES, Keyring, Secret};
use super::notary::Notary;
use crate::engine::directory::{Extension, PartyAddress};
use crate::engine::ids::{self, PartyId};
use crate::engine::number::PartyNumber;
use crate::engine::time::Timestamp;

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// A number fills one such block; an extension as many as it needs.
const BLOCK: usize = 16;
/// Of a number's sealed form.
const SHORT: usize = BLOCK + TAG_BYTES;
/// Before an extension's trunk; a number begins with a digit.
const EXTENSION: u8 = b'@';

/// Names a party in the store. Never shown, and tied to the party's address by its
/// sealed record alone: the time when it was drawn, then 80 random bits, so that what
/// is new in a store lies together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultId(u128);

impl VaultId {
    /// A new one, from the injected clock and random source.
    pub fn draw(now: Timestamp, random: &mut impl Rng) -> Self {
        Self(ids::in_order_of_time(now, random))
    }

    /// The bits, for keys in the store.
    #[must_use]
    pub const fn to_bits(self) -> u128 {
        self.0
    }

    /// The id that has these bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

/// What a party is found by: a keyed digest of its address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlindIndex([u8; 16]);

impl fmt::Debug for BlindIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(blind)")
    }
}

/// An address under a data key.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    epoch: Epoch,
    body: Body,
}

/// Ciphertext and tag; numbers, by far the most, need no allocation.
#[derive(Clone, PartialEq, Eq)]
enum Body {
    Short([u8; SHORT]),
    Long(Box<[u8]>),
}

impl Sealed {
    /// Of an epoch and its bytes, as the store has them.
    #[must_use]
    pub fn from_parts(epoch: Epoch, bytes: &[u8]) -> Self {
        let body = bytes.try_into().map_or_else(|_| Body::Long(bytes.into()), Body::Short);
        Self { epoch, body }
    }

    /// What it was sealed under.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether it is what is left of an erased party: a blind index, one byte
    /// longer than a block, as no address is.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.bytes().len() % BLOCK == 1
    }

    /// Ciphertext and tag.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Short(bytes) => bytes,
            Body::Long(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(epoch {})", self.epoch)
    }
}

/// A party as the vault holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedParty {
    /// Its name in the store.
    pub id: VaultId,
    /// Where it is.
    pub sealed: Sealed,
    /// What it is found by; not stored.
    pub index: BlindIndex,
}

/// A data key as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Whose wrapping key opens it.
    pub epoch: Epoch,
    /// Drawn at random when it was wrapped.
    pub nonce: [u8; NONCE_BYTES],
    /// Ciphertext and tag.
    pub sealed: [u8; KEY_BYTES + TAG_BYTES],
}

/// Why a vault cannot be opened, or holds something unreadable.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VaultError {
    /// The keyring lacks an epoch.
    #[error(
        "the store is sealed under key epoch {epoch}, which the key file does not have; restore the key \
         file that belongs to this store from its backup"
    )]
    MissingEpoch {
        /// Which.
        epoch: Epoch,
    },
    /// The wrapping key is another vault's.
    #[error(
        "the key file does not belong to this store: its epoch {epoch} does not open the store's data key; \
         name the right one in vault.key_file, or restore it from its backup"
    )]
    WrongKey {
        /// Which.
        epoch: Epoch,
    },
}

type Mac256 = Hmac<Sha256>;

/// What one epoch seals with.
struct DataKey {
    addresses: XChaCha20Poly1305,
    records: XChaCha20Poly1305,
    nonces: Mac256,
}

/// The open vault.
pub struct Vault {
    index: Secret,
    /// What indices were made with before.
    index_before: Mac256,
    pseudonyms: Mac256,
    notary: Arc<Notary>,
    keys: BTreeMap<Epoch, Arc<DataKey>>,
    newest: Epoch,
}

impl PartialEq for Vault {
    /// Whether both seal and open under the same epochs.
    fn eq(&self, other: &Self) -> bool {
        self.newest == other.newest && self.keys.keys().eq(other.keys.keys())
    }
}

/// A vault with one epoch more, and what the store must have before it is used.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEpoch {
    /// Seals under the new epoch and opens what is sealed under those before.
    pub vault: Arc<Vault>,
    /// The new epoch's data key.
    pub wrapped: WrappedKey,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault(epoch {})", self.newest)
    }
}

impl Vault {
    /// Opens a store's data keys. For the newest epoch a data key is made where
    /// the store has none yet: it must be durable before anything is sealed.
    pub fn open(
        keyring: &Keyring,
        stored: &[WrappedKey],
        random: &mut impl Rng,
    ) -> Result<(Self, Option<WrappedKey>), VaultError> {
        let mut keys = BTreeMap::new();
        for wrapped in stored {
            keys.insert(wrapped.epoch, Arc::new(DataKey::of(&unwrap(keyring, wrapped)?)));
        }
        let newest = keyring.newest();
        let made = match keys.entry(newest) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let data_key = Secret::random(random);
                let wrapped = wrap(keyring, newest, &data_key, random)?;
                place.insert(Arc::new(DataKey::of(&data_key)));
                Some(wrapped)
            }
        };
        let vault = Self {
            index: subkey(&keyring.index, "vizard index"),
            index_before: mac(&keyring.index, "vizard index"),
            pseudonyms: mac(&keyring.index, "vizard pseudonyms"),
            notary: Arc::new(keyring.notary()),
            keys,
            newest,
        };
        Ok((vault, made))
    }

    /// This vault with a data key for the keyring's newest epoch.
    pub fn begin(&self, keyring: &Keyring, random: &mut impl Rng) -> Result<NewEpoch, VaultError> {
        let newest = keyring.newest();
        let data_key = Secret::random(random);
        let wrapped = wrap(keyring, newest, &data_key, random)?;
        let mut keys = self.keys.clone();
        keys.insert(newest, Arc::new(DataKey::of(&data_key)));
        Ok(NewEpoch { vault: Arc::new(self.with(keys, newest)), wrapped })
    }

    /// This vault without the data keys of every epoch before this one.
    #[must_use]
    pub fn without_before(&self, epoch: Epoch) -> Self {
        let kept = self.keys.iter().filter(|(key, _)| **key >= epoch.min(self.newest));
        self.with(kept.map(|(&epoch, key)| (epoch, Arc::clone(key))).collect(), self.newest)
    }

    fn with(&self, keys: BTreeMap<Epoch, Arc<DataKey>>, newest: Epoch) -> Self {
        Self {
            index: self.index.clone(),
            index_before: self.index_before.clone(),
            pseudonyms: self.pseudonyms.clone(),
            notary: Arc::clone(&self.notary),
            keys,
            newest,
        }
    }

    /// Whether a keyring opens a store's data keys.
    pub fn check(keyring: &Keyring, stored: &[WrappedKey]) -> Result<(), VaultError> {
        stored.iter().try_for_each(|wrapped| unwrap(keyring, wrapped).map(drop))
    }

    /// The epoch that seals what is new.
    #[must_use]
    pub const fn newest(&self) -> Epoch {
        self.newest
    }

    /// What proves that a record is of whoever has this vault's keys.
    #[must_use]
    pub const fn notary(&self) -> &Arc<Notary> {
        &self.notary
    }

    /// Every epoch that can be opened, oldest first.
    pub fn epochs(&self) -> impl Iterator<Item = Epoch> {
        self.keys.keys().copied()
    }

    /// A party under the newest epoch; `None` when it was not sealed by this
    /// vault, or is there already.
    #[must_use]
    pub fn reseal(&self, party: &SealedParty) -> Option<SealedParty> {
        if party.sealed.epoch == self.newest {
            return None;
        }
        let (id, content) = (party.id, Content::of(&party.sealed));
        let sealed = self
            .opened(id, &party.sealed, |plain| Some(self.close(id, content, Zeroizing::new(plain.to_vec()))));
        Some(SealedParty { sealed: sealed?, ..party.clone() })
    }

    /// What is kept of a party when its address is forgotten: the blind index,
    /// under the newest epoch.
    #[must_use]
    pub fn erase(&self, party: &SealedParty) -> SealedParty {
        let mut plain = Zeroizing::new(Vec::with_capacity(BLOCK + 1 + TAG_BYTES));
        plain.extend_from_slice(&party.index.0);
        plain.push(0);
        SealedParty { sealed: self.close(party.id, Content::Index, plain), ..party.clone() }
    }

    /// What a party at an address is found by.
    #[must_use]
    pub fn index(&self, address: &PartyAddress) -> BlindIndex {
        let digest = match address {
            // Every call asks for this one: no allocation.
            PartyAddress::Number(number) => blake3::keyed_hash(self.index.bytes(), &*number_block(number)),
            PartyAddress::Extension { .. } => blake3::keyed_hash(self.index.bytes(), &plain(address)),
        };
        BlindIndex(first(digest.as_bytes()))
    }

    /// What a party is found by that an earlier Vizard erased: of all others the index
    /// is made anew at each start.
    #[must_use]
    pub fn index_before(&self, address: &PartyAddress) -> BlindIndex {
        let mac = self.index_before.clone().chain_update(&*plain(address));
        BlindIndex(first(&mac.finalize().into_bytes()))
    }

    /// Seals a new party's address under an id that was drawn for it.
    #[must_use]
    pub fn seal(&self, id: VaultId, address: &PartyAddress) -> SealedParty {
        SealedParty {
            id,
            sealed: self.close(id, Content::Address, plain(address)),
            index: self.index(address),
        }
    }

    fn close(&self, id: VaultId, content: Content, mut bytes: Zeroizing<Vec<u8>>) -> Sealed {
        let nonce = content.nonce(id);
        // One block is far below what the cipher can take, and the newest epoch
        // is always open, so that neither can fail.
        let tag = self.keys.get(&self.newest).and_then(|key| {
            key.addresses.encrypt_inout_detached(&nonce, content.name(), bytes.as_mut_slice().into()).ok()
        });
        bytes.extend_from_slice(&tag.unwrap_or_default());
        Sealed::from_parts(self.newest, &bytes)
    }

    /// Where a party is; `None` when its record was not sealed by this vault, or
    /// the party was erased.
    #[must_use]
    pub fn unseal(&self, id: VaultId, sealed: &Sealed) -> Option<PartyAddress> {
        if sealed.is_erased() { None } else { self.opened(id, sealed, address) }
    }

    fn opened<T>(&self, id: VaultId, sealed: &Sealed, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let content = Content::of(sealed);
        let key = self.keys.get(&sealed.epoch)?;
        let (text, tag) = sealed.bytes().split_last_chunk::<TAG_BYTES>()?;
        let nonce = content.nonce(id);
        let mut short = Zeroizing::new([0_u8; BLOCK]);
        let mut long = Zeroizing::new(Vec::new());
        let text: &mut [u8] = if text.len() == BLOCK {
            short.copy_from_slice(text);
            &mut *short
        } else {
            long.extend_from_slice(text);
            &mut long
        };
        let tag = Tag::from(*tag);
        key.addresses.decrypt_inout_detached(&nonce, content.name(), (&mut *text).into(), &tag).ok()?;
        read(text)
    }

    /// Takes a party from the store in; `None` when its record was not sealed by
    /// this vault.
    #[must_use]
    pub fn admit(&self, id: VaultId, sealed: Sealed) -> Option<SealedParty> {
        self.admit_seeing(id, sealed, |_| ()).map(|(party, _)| party)
    }

    /// The same, and what `see` makes of its address, unless that was erased: so that
    /// a million of them are unsealed once at a start.
    pub fn admit_seeing<T>(
        &self,
        id: VaultId,
        sealed: Sealed,
        see: impl FnOnce(&PartyAddress) -> T,
    ) -> Option<(SealedParty, Option<T>)> {
        let (index, seen) = match Content::of(&sealed) {
            Content::Address => {
                let address = self.unseal(id, &sealed)?;
                (self.index(&address), Some(see(&address)))
            }
            Content::Index => {
                (BlindIndex(self.opened(id, &sealed, |plain| plain.first_chunk().copied())?), None)
            }
        };
        Some((SealedParty { id, sealed, index }, seen))
    }

    /// The party's name for one tenant: the same as long as the party is known,
    /// and of no use to another tenant.
    #[must_use]
    pub fn pseudonym(&self, id: VaultId, tenant: &str) -> PartyId {
        let mac = self.pseudonyms.clone().chain_update(id.0.to_be_bytes()).chain_update(tenant);
        PartyId::from_bits(u128::from_be_bytes(first(&mac.finalize().into_bytes())))
    }

    /// Seals a record that holds addresses among other things. `name` is what it
    /// is stored under.
    #[must_use]
    pub fn seal_record(&self, name: &[u8], record: &[u8]) -> Vec<u8> {
        let Some(key) = self.keys.get(&self.newest) else { return Vec::new() };
        let length = u64::try_from(name.len()).unwrap_or(u64::MAX);
        let nonce = key.nonces.clone().chain_update(length.to_be_bytes());
        let nonce: [u8; NONCE_BYTES] =
            first(&nonce.chain_update(name).chain_update(record).finalize().into_bytes());
        let mut bytes = Vec::with_capacity(4 + NONCE_BYTES + record.len() + TAG_BYTES);
        bytes.extend_from_slice(&self.newest.0.to_be_bytes());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(record);
        let text = &mut bytes[4 + NONCE_BYTES..];
        let tag = key.records.encrypt_inout_detached(&XNonce::from(nonce), name, text.into());
        // A record is far below what the cipher can take.
        bytes.extend_from_slice(&tag.unwrap_or_default());
        bytes
    }

    /// The record that was sealed; `None` when it was not by this vault, or
    /// under another name.
    #[must_use]
    pub fn unseal_record(&self, name: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (epoch, rest) = sealed.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let (text, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        let key = self.keys.get(&Epoch(u32::from_be_bytes(*epoch)))?;
        let mut text = Zeroizing::new(text.to_vec());
        let (nonce, tag) = (XNonce::from(*nonce), Tag::from(*tag));
        key.records.decrypt_inout_detached(&nonce, name, text.as_mut_slice().into(), &tag).ok()?;
        Some(text)
    }
}

/// The epoch that a record of [`Vault::seal_record`] is sealed under.
#[must_use]
pub fn epoch_of_record(sealed: &[u8]) -> Option<Epoch> {
    sealed.first_chunk().map(|epoch| Epoch(u32::from_be_bytes(*epoch)))
}

/// What a party's record says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Address,
    Index,
}

impl Content {
    fn of(sealed: &Sealed) -> Self {
        if sealed.is_erased() { Self::Index } else { Self::Address }
    }

    const fn name(self) -> &'static [u8] {
        match self {
            Self::Address => b"vizard address",
            Self::Index => b"vizard index of an erased party",
        }
    }

    /// An id is drawn for one address, which is sealed once per data key, and so
    /// is its index.
    fn nonce(self, id: VaultId) -> XNonce {
        let mut nonce = [0; NONCE_BYTES];
        nonce[..16].copy_from_slice(&id.0.to_be_bytes());
        nonce[16] = match self {
            Self::Address => 0,
            Self::Index => 1,
        };
        XNonce::from(nonce)
    }
}

/// What data keys are wrapped for.
const DATA_KEYS: &[u8] = b"vizard data key";

impl DataKey {
    fn of(key: &Secret) -> Self {
        Self {
            addresses: cipher(&subkey(key, "vizard addresses")),
            records: cipher(&subkey(key, "vizard records")),
            nonces: mac(key, "vizard nonces"),
        }
    }
}

fn wrap(
    keyring: &Keyring,
    epoch: Epoch,
    key: &Secret,
    random: &mut impl Rng,
) -> Result<WrappedKey, VaultError> {
    let wrapping = keyring.wrapping_key(epoch).ok_or(VaultError::MissingEpoch { epoch })?;
    let (mut nonce, mut sealed) = ([0; NONCE_BYTES], [0; KEY_BYTES + TAG_BYTES]);
    random.fill_bytes(&mut nonce);
    let (text, tag) = sealed.split_at_mut(KEY_BYTES);
    text.copy_from_slice(key.bytes());
    let wrapper = cipher(&subkey(wrapping, "vizard wrapping"));
    let made = wrapper.encrypt_inout_detached(&XNonce::from(nonce), DATA_KEYS, text.into());
    tag.copy_from_slice(&made.map_err(|_| VaultError::WrongKey { epoch })?);
    Ok(WrappedKey { epoch, nonce, sealed })
}

fn unwrap(keyring: &Keyring, wrapped: &WrappedKey) -> Result<Secret, VaultError> {
    let epoch = wrapped.epoch;
    let wrapping = keyring.wrapping_key(epoch).ok_or(VaultError::MissingEpoch { epoch })?;
    let wrong = || VaultError::WrongKey { epoch };
    let (text, tag) = wrapped.sealed.split_last_chunk::<TAG_BYTES>().ok_or_else(wrong)?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    key.copy_from_slice(text);
    let (nonce, tag) = (XNonce::from(wrapped.nonce), Tag::from(*tag));
    let wrapper = cipher(&subkey(wrapping, "vizard wrapping"));
    let opened = wrapper.decrypt_inout_detached(&nonce, DATA_KEYS, key.as_mut_slice().into(), &tag);
    opened.map_err(|_| wrong())?;
    Ok(Secret::from_bytes(key))
}

pub(super) fn subkey(key: &Secret, name: &str) -> Secret {
    let mut out = Zeroizing::new([0; KEY_BYTES]);
    // HKDF refuses only lengths beyond 8160 bytes.
    let _fits = Hkdf::<Sha256>::new(None, key.bytes()).expand(name.as_bytes(), &mut *out);
    Secret::from_bytes(out)
}

fn cipher(key: &Secret) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.bytes().into())
}

pub(super) fn mac(key: &Secret, name: &str) -> Mac256 {
    // HMAC pads a short key with zeros itself (RFC 2104 section 2).
    let mut block = Zeroizing::new([0; 2 * KEY_BYTES]);
    block[..KEY_BYTES].copy_from_slice(subkey(key, name).bytes());
    Mac256::new((&*block).into())
}

/// The first bytes of a digest.
fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&digest[..N]);
    bytes
}

/// An address as it is sealed and indexed: digits, or `@trunk`, zero and user;
/// then zeros up to a whole block.
fn plain(address: &PartyAddress) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 * BLOCK + TAG_BYTES));
    match address {
        PartyAddress::Number(number) => bytes.extend_from_slice(&*number_block(number)),
        PartyAddress::Extension { trunk, user } => {
            bytes.push(EXTENSION);
            bytes.extend_from_slice(trunk.as_bytes());
            bytes.push(0);
            bytes.extend_from_slice(user.reveal().as_bytes());
        }
    }
    let padded = bytes.len().next_multiple_of(BLOCK);
    bytes.resize(padded, 0);
    bytes
}

/// A number has at most fifteen digits, so one block holds it.
fn number_block(number: &PartyNumber) -> Zeroizing<[u8; BLOCK]> {
    let mut block = Zeroizing::new([0; BLOCK]);
    let digits = number.reveal().as_bytes();
    block[..digits.len()].copy_from_slice(digits);
    block
}

fn address(plain: &[u8]) -> Option<PartyAddress> {
    let end = plain.iter().rposition(|&byte| byte != 0)? + 1;
    let text = std::str::from_utf8(&plain[..end]).ok()?;
    match text.strip_prefix(char::from(EXTENSION)) {
        None => text_number(text),
        Some(named) => {
            let (trunk, user) = named.split_once('\0')?;
            Some(PartyAddress::Extension { trunk: trunk.to_owned(), user: Extension::new(user)? })
        }
    }
}

fn text_number(digits: &str) -> Option<PartyAddress> {
    PartyNumber::from_digits(digits).ok().map(PartyAddress::Number)
}
