//! Certificates for a lab: an authority, and what Vizard and its peers show.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use harness::lab::{Family, Lab, Place};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};

/// Writes them into the lab's folder: the peers share one.
pub(crate) fn make(lab: &Lab) {
    let folder = lab.certificates();
    fs::create_dir_all(&folder).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(folder.join("ca.crt"), authority.pem()).unwrap();

    let sides = [Place::Customer, Place::Agent];
    let (certificate, key) = signed(&authority, sides.map(|side| lab.vizard(side, Family::V4)));
    fs::write(folder.join("vizard.crt"), certificate).unwrap();
    fs::write(folder.join("vizard.key"), key).unwrap();
    fs::set_permissions(folder.join("vizard.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let (certificate, key) = signed(&authority, sides.map(|side| lab.peer(side, Family::V4)));
    fs::write(folder.join("peer.pem"), certificate + &key).unwrap();
}

/// `[sip.tls]` with these.
pub(crate) fn configured(lab: &Lab) -> String {
    let folder = lab.certificates();
    let folder = folder.display();
    format!(
        "[sip.tls]\ncertificate = \"{folder}/vizard.crt\"\nkey = \"{folder}/vizard.key\"\nca = \"{folder}/ca.crt\"\n"
    )
}

fn signed(authority: &CertifiedIssuer<'static, KeyPair>, addresses: [IpAddr; 2]) -> (String, String) {
    let mut params = CertificateParams::default();
    params.subject_alt_names = addresses.map(SanType::IpAddress).into();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}
