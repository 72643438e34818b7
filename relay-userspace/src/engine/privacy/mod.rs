//! What keeps real numbers secret: pure cryptography, with keys and randomness
//! brought in from outside.
//!
//! ```text
//! key file, outside the store      store                        memory
//! ---------------------------      ------------------------     ----------------------------
//! wrapping key, one per epoch ---> wrapped data key, per epoch
//!                                  sealed address, per party -> sealed address, blind index
//!                                  sealed call in progress
//! index key ------------------------------------------------->  keyed look-up
//! ```
//!
//! - A party's address is sealed once, under a random id that nothing but its
//!   record ties to it; bindings, pairs and rests hold that id alone. A store
//!   without its key file yields no number.
//! - The blind index never leaves memory, so the store holds nothing that a
//!   guessed number could be tested against.
//! - An epoch ends by sealing what it covers anew and destroying its wrapping
//!   key: whatever lingers of it in files or backups is noise from then on.
//! - The index key has no epochs. Nothing that is stored depends on it but the
//!   parties' pseudonyms, and whoever holds it can test guesses on the memory of a
//!   running process alone, where sealed numbers and their keys lie open too: a new
//!   one would protect nothing, and change every pseudonym. Where its file was seen
//!   by others, the wrapping keys in it were too, and rotating these is the remedy.
//!
//! The cipher is XChaCha20-Poly1305, the index HMAC-SHA-256, and subkeys come
//! from HKDF-SHA-256, each under a name of its own. The [`notary`] proves who wrote
//! something, for the audit log; [`roles`] says who may ask for what.

pub mod erasure;
pub mod keyring;
pub mod notary;
pub mod roles;
pub mod vault;

#[cfg(test)]
pub(crate) mod tests;

pub use erasure::Erasure;
pub use keyring::{Epoch, Keyring, KeyringError};
pub use notary::{Digest, Notary};
pub use roles::{Asker, Role, Roles};
pub use vault::{
    BlindIndex, NewEpoch, Sealed, SealedParty, Vault, VaultError, VaultId, WrappedKey, epoch_of_record,
};
