//! Certificates and keys: who we are over TLS, and whom we believe.
//!
//! One certificate of ours serves both ways: to those who connect, and to those who
//! ask for one when we do. Certificates of peers are always checked where we connect,
//! against the name that the trunk is configured with or the address that we connect
//! to; of those who connect to us where the trunk says so. Versions and ciphers are
//! rustls' own choice: TLS 1.2 and 1.3 with forward secrecy, nothing else.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use zeroize::Zeroizing;

/// Where a system keeps whom it believes.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Chains have a few kilobytes, and a system's roots a quarter of a megabyte.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The files of `[sip.tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, with those that lead from it to its root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs the certificates of those that we connect to; whom the system
    /// believes, when absent.
    pub ca: Option<PathBuf>,
    /// Who signs the certificates of those that connect to us; the same, when absent.
    pub client_ca: Option<PathBuf>,
}

/// Why certificates or keys cannot be used, and what mends it.
#[derive(Debug, Error)]
#[error("{}: {problem}", .file.display())]
pub struct TlsError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: TlsProblem,
}

/// What is wrong with a file of certificates or keys.
#[derive(Debug, Error)]
pub enum TlsProblem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Somebody else may read the key.
    #[error(
        "others may read it (mode {0:04o}); `chmod 0600` it, and replace the key if somebody has read it"
    )]
    Open(u32),
    /// It is somebody else's.
    #[error("it belongs to user {owner}, and Vizard runs as user {user}; `chown` it")]
    Owner {
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// It holds none.
    #[error("it holds no {0} in PEM")]
    Empty(&'static str),
    /// It is damaged, or of a kind that is not known.
    #[error("{0}")]
    Unusable(String),
}

/// What it takes to speak TLS.
#[derive(Clone)]
pub struct Tls {
    server: Arc<ServerConfig>,
    /// For peers that are asked for a certificate.
    mutual: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// Whom it names.
    pub names: Vec<String>,
    /// From when, in seconds since 1970.
    pub from: u64,
    /// Until when.
    pub until: u64,
}

impl Tls {
    /// Reads the files.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        let key = private_key(&files.key)?;
        let roots = Arc::new(roots(files.ca.as_deref().unwrap_or(Path::new(SYSTEM_ROOTS)))?);
        let client_roots = match &files.client_ca {
            Some(file) => Arc::new(self::roots(file)?),
            None => Arc::clone(&roots),
        };
        let ca = files.client_ca.as_deref().or(files.ca.as_deref()).unwrap_or(Path::new(SYSTEM_ROOTS));
        let of_key = |error: rustls::Error| unusable(&files.key, error);
        let verifier = WebPkiClientVerifier::builder_with_provider(client_roots, provider())
            .build()
            .map_err(|error| unusable(ca, error))?;
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(of_key)?;
        let open = server
            .clone()
            .with_no_client_auth()
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(of_key)?;
        let mutual = server
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(of_key)?;
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(of_key)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(of_key)?;
        Ok(Self { server: Arc::new(open), mutual: Arc::new(mutual), client: Arc::new(client) })
    }

    /// The near end of a connection that a peer makes.
    pub fn accept(&self, mutual: bool) -> Result<Connection, rustls::Error> {
        let config = if mutual { &self.mutual } else { &self.server };
        ServerConnection::new(Arc::clone(config)).map(Connection::Server)
    }

    /// The near end of a connection that we make, to somebody of this name or, without
    /// one, at this address.
    pub fn connect(&self, name: Option<&str>, address: IpAddr) -> Result<Connection, String> {
        let name = match name {
            Some(name) => server_name(name)?,
            None => ServerName::IpAddress(address.into()),
        };
        let client = ClientConnection::new(Arc::clone(&self.client), name);
        client.map(Connection::Client).map_err(|error| error.to_string())
    }
}

/// Whether a certificate is for this name.
pub(super) fn is_for(certificate: &CertificateDer<'_>, name: &str) -> Result<(), String> {
    let parsed = ParsedCertificate::try_from(certificate).map_err(|error| error.to_string())?;
    verify_server_name(&parsed, &server_name(name)?).map_err(|error| error.to_string())
}

/// Whether this can stand in a certificate.
pub fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| format!("'{name}' is neither a host name nor an address"))
}

/// What our certificate says; an error says what to mend.
pub fn inspect(files: &TlsFiles) -> Result<Certified, TlsError> {
    Tls::load(files)?;
    let chain = certificates(&files.certificate)?;
    let first = chain.first().ok_or_else(|| wrong(&files.certificate, TlsProblem::Empty("certificate")))?;
    certified(first).map_err(|error| unusable(&files.certificate, error))
}

fn certified(certificate: &CertificateDer<'_>) -> Result<Certified, x509_cert::der::Error> {
    let certificate = Certificate::from_der(certificate)?;
    let facts = certificate.tbs_certificate();
    let validity = facts.validity();
    let names = match facts.get_extension::<SubjectAltName>()? {
        Some((_, SubjectAltName(names))) => names.iter().filter_map(shown).collect(),
        None => Vec::new(),
    };
    Ok(Certified {
        names,
        from: validity.not_before.to_unix_duration().as_secs(),
        until: validity.not_after.to_unix_duration().as_secs(),
    })
}

fn shown(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // A system's file may hold some that are too old to be read.
    let (taken, _) = roots.add_parsable_certificates(certificates(file)?);
    if taken == 0 { Err(wrong(file, TlsProblem::Empty("certificate"))) } else { Ok(roots) }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(file, |_| Ok(()))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if all.is_empty() => Err(wrong(file, TlsProblem::Empty("certificate"))),
        Ok(all) => Ok(all),
        Err(error) => Err(unusable(file, error)),
    }
}

/// A key that others may read is no secret.
fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(file, |facts| {
        let user = rustix::process::geteuid().as_raw();
        if facts.mode() & 0o077 != 0 {
            Err(TlsProblem::Open(facts.mode() & 0o7777))
        } else if user != 0 && facts.uid() != user {
            Err(TlsProblem::Owner { owner: facts.uid(), user })
        } else {
            Ok(())
        }
    })?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => wrong(file, TlsProblem::Empty("key")),
        error => unusable(file, error),
    })
}

fn read(
    path: &Path,
    check: impl FnOnce(&fs::Metadata) -> Result<(), TlsProblem>,
) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let read = || {
        let file = File::open(path)?;
        check(&file.metadata()?)?;
        let mut text = Zeroizing::new(Vec::new());
        file.take(MAX_BYTES).read_to_end(&mut text)?;
        Ok(text)
    };
    read().map_err(|problem| wrong(path, problem))
}

fn wrong(file: &Path, problem: TlsProblem) -> TlsError {
    TlsError { file: file.to_owned(), problem }
}

fn unusable(file: &Path, error: impl std::fmt::Display) -> TlsError {
    wrong(file, TlsProblem::Unusable(error.to_string()))
}
