//! What proves that something was written by whoever holds this vault's keys.
//!
//! Two kinds of proof: a tag, which is cheap and which only the holder of the
//! keys can check, and a signature (Ed25519), which anybody can check who has the
//! public key. Both are of a digest, and both say what for, so that none serves
//! in another's place.
//!
//! Its keys follow from the keyring's index key, which no rotation replaces: what
//! was signed years ago can still be checked.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::keyring::Secret;
use super::vault::{mac, subkey};

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// A SHA-256 digest; written in hexadecimal.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        bytes(&text).map(Self).ok_or("a digest is 64 hexadecimal digits")
    }
}

/// Makes proofs and checks them.
pub struct Notary {
    tags: Hmac<Sha256>,
    signing: SigningKey,
}

impl fmt::Debug for Notary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notary({})", self.public_key())
    }
}

impl Notary {
    pub(super) fn of(key: &Secret) -> Self {
        Self {
            tags: mac(key, "vizard tags"),
            signing: SigningKey::from_bytes(subkey(key, "vizard signatures").bytes()),
        }
    }

    /// What others check signatures with, in hexadecimal.
    #[must_use]
    pub fn public_key(&self) -> String {
        hex(self.verifying().as_bytes())
    }

    /// A tag of a digest, for one purpose.
    #[must_use]
    pub fn tag(&self, purpose: &[u8], digest: &Digest) -> [u8; 16] {
        let tag = self.tags.clone().chain_update(message(purpose, digest)).finalize().into_bytes();
        std::array::from_fn(|at| tag[at])
    }

    /// Whether a tag is this notary's. Takes the same time whatever is wrong.
    #[must_use]
    pub fn is_tag(&self, purpose: &[u8], digest: &Digest, tag: &[u8; 16]) -> bool {
        self.tags.clone().chain_update(message(purpose, digest)).verify_truncated_left(tag).is_ok()
    }

    /// A signature of a digest, for one purpose.
    #[must_use]
    pub fn sign(&self, purpose: &[u8], digest: &Digest) -> [u8; SIGNATURE_BYTES] {
        self.signing.sign(&message(purpose, digest)).to_bytes()
    }

    /// Whether a signature is this notary's.
    #[must_use]
    pub fn is_signed(&self, purpose: &[u8], digest: &Digest, signature: &[u8; SIGNATURE_BYTES]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.verifying().verify_strict(&message(purpose, digest), &signature).is_ok()
    }

    fn verifying(&self) -> VerifyingKey {
        self.signing.verifying_key()
    }
}

/// No purpose has a zero byte, so that none runs into a digest.
fn message(purpose: &[u8], digest: &Digest) -> Vec<u8> {
    [purpose, &[0], &digest.0].concat()
}

/// In hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS[usize::from(nibble)];
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes of a hexadecimal text of just this length.
#[must_use]
pub fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    if hex.len() != 2 * N || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::privacy::Keyring;
    use crate::engine::privacy::tests::{keyring, random, vault};
    use crate::engine::privacy::vault::Vault;

    #[test]
    fn a_proof_is_of_one_digest_for_one_purpose_by_one_notary() {
        let vault = vault();
        let (notary, digest) = (vault.notary(), Digest::of(b"something"));
        let (tag, signature) = (notary.tag(b"one", &digest), notary.sign(b"one", &digest));
        assert!(notary.is_tag(b"one", &digest, &tag) && notary.is_signed(b"one", &digest, &signature));
        let other = Digest::of(b"something else");
        assert!(!notary.is_tag(b"two", &digest, &tag) && !notary.is_signed(b"two", &digest, &signature));
        assert!(!notary.is_tag(b"one", &other, &tag) && !notary.is_signed(b"one", &other, &signature));
        let (stranger, _) = Vault::open(&Keyring::generate(&mut random(9)), &[], &mut random(3)).unwrap();
        let stranger = stranger.notary();
        assert!(!stranger.is_tag(b"one", &digest, &tag) && !stranger.is_signed(b"one", &digest, &signature));
        assert_ne!(stranger.public_key(), notary.public_key());
    }

    #[test]
    fn proofs_are_those_of_the_keyring_whatever_the_store_holds() {
        let again = Vault::open(&keyring(), &[], &mut random(77)).unwrap().0;
        assert_eq!(again.notary().public_key(), vault().notary().public_key());
    }

    #[test]
    fn hexadecimal_survives_and_nothing_else_is_read() {
        assert_eq!(bytes::<3>(&hex(&[0, 0xa5, 255])), Some([0, 0xa5, 255]));
        for text in ["", "00a5f", "00a5ff00", "00a5fg", "+0a5ff"] {
            assert_eq!(bytes::<3>(text), None, "{text}");
        }
    }
}
