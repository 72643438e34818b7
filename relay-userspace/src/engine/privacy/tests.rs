//! The vault against its promises.

use std::sync::{Arc, LazyLock};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::engine::directory::{Extension, PartyAddress};

pub(crate) fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// The same for every test that needs one and no particular one.
pub(crate) fn keyring() -> Keyring {
    Keyring::generate(&mut random(1))
}

pub(crate) fn vault() -> Arc<Vault> {
    static VAULT: LazyLock<Arc<Vault>> =
        LazyLock::new(|| Arc::new(Vault::open(&keyring(), &[], &mut random(2)).unwrap().0));
    Arc::clone(&VAULT)
}

/// Somebody who may ask for everything.
pub(crate) fn asker() -> Asker {
    Asker { user: 1000, name: Some("mara".to_owned()), role: Some(Role::Admin) }
}

fn number(digits: &str) -> PartyAddress {
    PartyAddress::Number(digits.parse().unwrap())
}

fn extension(user: &str) -> PartyAddress {
    PartyAddress::Extension { trunk: "pbx".into(), user: Extension::new(user).unwrap() }
}

fn addresses() -> Vec<PartyAddress> {
    let long = "x".repeat(64);
    vec![
        number("+12125551200"),
        number("+491510000000001"),
        number("+49110"),
        extension("1"),
        extension("12125551200"),
        extension(&long),
    ]
}

#[test]
fn what_is_sealed_is_unsealed_the_same_and_found_by_its_index() {
    let vault = vault();
    for (at, address) in addresses().into_iter().enumerate() {
        let id = VaultId::from_bits(at as u128);
        let party = vault.seal(id, &address);
        assert_eq!(vault.unseal(id, &party.sealed), Some(address.clone()));
        assert_eq!(party.index, vault.index(&address));
        assert_eq!(vault.admit(id, party.sealed.clone()), Some(party.clone()));
        let text = address.reveal().as_bytes();
        assert!(text.len() < 4 || !party.sealed.bytes().windows(text.len()).any(|window| window == text));
    }
    let indices: std::collections::BTreeSet<_> =
        addresses().iter().map(|address| vault.index(address)).collect();
    assert_eq!(indices.len(), addresses().len());
}

#[test]
fn a_ciphertext_does_not_tell_how_long_a_number_is() {
    let vault = vault();
    let length = |text: &str| vault.seal(VaultId::from_bits(1), &number(text)).sealed.bytes().len();
    assert_eq!(length("+49110"), length("+491510000000001"));
}

#[test]
fn a_changed_bit_or_another_id_unseals_nothing() {
    let vault = vault();
    for address in addresses() {
        let id = VaultId::from_bits(7);
        let sealed = vault.seal(id, &address).sealed;
        assert_eq!(vault.unseal(VaultId::from_bits(8), &sealed), None);
        for bit in 0..sealed.bytes().len() * 8 {
            let mut bytes = sealed.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(vault.unseal(id, &Sealed::from_parts(sealed.epoch(), &bytes)), None);
        }
        for length in 0..sealed.bytes().len() {
            let cut = Sealed::from_parts(sealed.epoch(), &sealed.bytes()[..length]);
            assert_eq!(vault.unseal(id, &cut), None);
        }
    }
}

#[test]
fn records_are_bound_to_their_names() {
    let vault = vault();
    let sealed = vault.seal_record(b"call 1", b"From: <sip:+12125551200@x>");
    assert_eq!(vault.unseal_record(b"call 1", &sealed).unwrap().as_slice(), b"From: <sip:+12125551200@x>");
    assert!(vault.unseal_record(b"call 2", &sealed).is_none());
    assert!(!sealed.windows(11).any(|window| window == b"12125551200"));
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(vault.unseal_record(b"call 1", &changed).is_none(), "byte {at}");
        assert!(vault.unseal_record(b"call 1", &sealed[..at]).is_none());
    }
    // Another content has another nonce.
    let other = vault.seal_record(b"call 1", b"From: <sip:+12125551201@x>");
    assert_ne!(other[4..28], sealed[4..28]);
}

#[test]
fn a_vault_opens_with_its_own_keyring_alone() {
    let keyring = keyring();
    let (vault, made) = Vault::open(&keyring, &[], &mut random(2)).unwrap();
    let made = made.expect("a new store has no data key");
    let party = vault.seal(VaultId::from_bits(1), &number("+12125551200"));
    let (again, second) = Vault::open(&keyring, std::slice::from_ref(&made), &mut random(3)).unwrap();
    assert_eq!(second, None);
    assert_eq!(again.admit(party.id, party.sealed.clone()), Some(party.clone()));

    let foreign = Keyring::generate(&mut random(9));
    let error = Vault::open(&foreign, std::slice::from_ref(&made), &mut random(3)).unwrap_err();
    assert_eq!(error, VaultError::WrongKey { epoch: Epoch(1) });
    let (stranger, _) = Vault::open(&foreign, &[], &mut random(3)).unwrap();
    assert_eq!(stranger.admit(party.id, party.sealed), None);
    let later = WrappedKey { epoch: Epoch(5), ..made };
    let error = Vault::open(&keyring, &[later], &mut random(3)).unwrap_err();
    assert_eq!(error, VaultError::MissingEpoch { epoch: Epoch(5) });
}

#[test]
fn a_pseudonym_is_stable_for_a_tenant_and_unknown_to_others() {
    let vault = vault();
    let (one, two) = (VaultId::from_bits(1), VaultId::from_bits(2));
    assert_eq!(vault.pseudonym(one, "acme"), vault.pseudonym(one, "acme"));
    assert_ne!(vault.pseudonym(one, "acme"), vault.pseudonym(one, "other"));
    assert_ne!(vault.pseudonym(one, "acme"), vault.pseudonym(two, "acme"));
    assert!(vault.pseudonym(one, "acme").to_string().starts_with("party_"));
}

#[test]
fn a_keyring_survives_its_text() {
    let keyring = keyring();
    let text = keyring.to_text();
    assert_eq!(Keyring::parse(&text).as_ref(), Ok(&keyring));
    let commented = format!("# locked away\n\n{}\n", text.as_str());
    assert_eq!(Keyring::parse(&commented), Ok(keyring.clone()));
    assert!(!format!("{keyring:?}").contains(&text[20..40]), "keys never print");
}

#[test]
fn a_damaged_keyring_is_never_taken_for_another() {
    let text = keyring().to_text();
    for end in 0..text.len() - 1 {
        assert!(Keyring::parse(&text[..end]).is_err(), "cut at {end}");
    }
    for at in 0..text.len() - 1 {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(Keyring::parse(&changed).is_err(), "changed at {at}: {changed}");
    }
    assert_eq!(Keyring::parse("[sip]\n"), Err(KeyringError::NotKeys));
    assert_eq!(Keyring::parse("vizard-keys 2\n"), Err(KeyringError::Newer));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(Keyring::parse(&[lines[0], "index zz"].join("\n")), Err(KeyringError::Malformed { line: 2 }));
}

#[test]
fn what_is_kept_of_an_erased_party_finds_it_and_says_nothing() {
    let mut keyring = keyring();
    let (vault, _) = Vault::open(&keyring, &[], &mut random(2)).unwrap();
    for address in addresses() {
        let party = vault.seal(VaultId::from_bits(9), &address);
        let kept = vault.erase(&party);
        assert!(kept.sealed.is_erased() && !party.sealed.is_erased());
        assert_eq!(vault.unseal(kept.id, &kept.sealed), None);
        assert_eq!(vault.admit(kept.id, kept.sealed.clone()), Some(kept.clone()));
        assert_eq!(kept.index, vault.index(&address));
        assert_eq!(
            kept.sealed.bytes().len(),
            vault.erase(&vault.seal(kept.id, &number("+49110"))).sealed.bytes().len()
        );
    }
    let kept = vault.erase(&vault.seal(VaultId::from_bits(9), &number("+12125551200")));
    keyring.add_epoch(&mut random(3)).unwrap();
    let newer = vault.begin(&keyring, &mut random(4)).unwrap().vault;
    let moved = newer.reseal(&kept).unwrap();
    assert_eq!((moved.sealed.epoch(), newer.admit(moved.id, moved.sealed.clone())), (Epoch(2), Some(moved)));
}
