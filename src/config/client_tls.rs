//! TLS of the agent as a client: the authorities that it trusts, and the certificate that it shows. The files are read, and tried as a
//! whole, with the configuration. The authorities that the system trusts are read by those who connect: that may block.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use toml::Spanned;
use toml::de::DeValue;

use super::certificate::{CertificateFacts, CertificateWarning, authority_warnings, client_warnings};
use super::problem_list::ProblemList;
use super::secret::ReadSecret;
use super::tls::{Certificates, KeyFile};

/// TLS of a client. Two are equal when their files have the same names and contents.
#[derive(Clone, Default)]
pub struct ClientTls {
    /// The authorities that are trusted in place of the system's.
    pub ca: Option<Arc<CaFile>>,
    /// The certificate that a peer gets that asks for one.
    pub identity: Option<Arc<ClientIdentity>>,
    /// Whether any certificate of a peer is accepted.
    pub(super) is_insecure: bool,
    /// Made at the first connection, and shared by all.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// The key `ca_file`.
pub struct CaFile {
    /// The file.
    pub file: String,
    digest: [u8; 32],
    facts: Vec<CertificateFacts>,
    roots: Arc<RootCertStore>,
}

/// The keys `certificate` and `key`.
pub struct ClientIdentity {
    /// The file of the certificate, followed by those that lead to its authority.
    pub certificate: String,
    /// The file of its private key.
    pub key: String,
    /// Of both contents.
    digest: [u8; 32],
    facts: Vec<CertificateFacts>,
    certified: Arc<CertifiedKey>,
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        let ca = |tls: &Self| tls.ca.as_ref().map(|ca| (ca.file.clone(), ca.digest));
        let identity = |tls: &Self| {
            tls.identity.as_ref().map(|known| (known.certificate.clone(), known.key.clone(), known.digest))
        };
        self.is_insecure == other.is_insecure && ca(self) == ca(other) && identity(self) == identity(other)
    }
}

/// The names of the files: certificates that are renewed are the same setting.
impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.identity.as_ref().map(|identity| (&identity.certificate, &identity.key));
        let ca = self.ca.as_ref().map(|ca| &ca.file);
        f.debug_tuple("ClientTls").field(&ca).field(&identity).field(&self.is_insecure).finish()
    }
}

impl ClientTls {
    /// These files, and where one is missing, that of other settings.
    pub(super) fn or(self, other: &Self) -> Self {
        let (ca, identity) = (self.ca.or(other.ca.clone()), self.identity.or(other.identity.clone()));
        Self { ca, identity, is_insecure: self.is_insecure, config: Arc::default() }
    }

    /// Whether the authorities are from the very file of other settings.
    pub(super) fn has_same_ca(&self, other: &Self) -> bool {
        match (&self.ca, &other.ca) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }

    /// Whether the certificate is from the very files of other settings.
    pub(super) fn has_same_identity(&self, other: &Self) -> bool {
        match (&self.identity, &other.identity) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }

    /// The configuration of connections, unless the authorities are needed that the system trusts.
    pub(crate) fn own_config(&self) -> Option<Result<Arc<ClientConfig>, rustls::Error>> {
        match (self.config.get(), &self.ca) {
            (Some(known), _) => Some(Ok(Arc::clone(known))),
            (None, _) if self.is_insecure => Some(self.make(&Arc::new(RootCertStore::empty()))),
            (None, Some(ca)) => Some(self.make(&ca.roots)),
            (None, None) => None,
        }
    }

    /// The configuration of connections. `system` are the authorities that the system trusts, which are used where no file replaces
    /// them.
    pub(crate) fn config(&self, system: &Arc<RootCertStore>) -> Result<Arc<ClientConfig>, rustls::Error> {
        self.own_config().unwrap_or_else(|| self.make(system))
    }

    fn make(&self, roots: &Arc<RootCertStore>) -> Result<Arc<ClientConfig>, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = if self.is_insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate { provider }))
        } else {
            builder.with_root_certificates(Arc::clone(roots))
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let resolver = SingleCertAndKey::from(Arc::clone(&identity.certified));
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed session has no certificate, and would outlive the trust in it. Connections of sinks are kept anyway.
        config.resumption = Resumption::disabled();
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(config))))
    }

    /// The certificates that somebody has to look after. `table` is that of their keys; those of `other` are left out, which are
    /// inherited.
    pub(crate) fn warnings(&self, table: &str, other: Option<&Self>, now: Duration) -> Vec<CertificateWarning> {
        let mut warnings = Vec::new();
        let is_inherited = |has_same: fn(&Self, &Self) -> bool| other.is_some_and(|other| has_same(self, other));
        if let Some(ca) = self.ca.as_ref().filter(|_| !is_inherited(Self::has_same_ca)) {
            let remedy = "name the certificates of the authorities that sign those of the peers";
            warnings.extend(authority_warnings(&ca.facts, &format!("{table}.ca_file"), &ca.file, remedy, now));
        }
        if let Some(own) = self.identity.as_ref().filter(|_| !is_inherited(Self::has_same_identity)) {
            warnings.extend(client_warnings(&own.facts, &format!("{table}.certificate"), &own.certificate, now));
        }
        warnings
    }
}

/// Accepts any certificate of a peer, which has to have its key all the same.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The keys for TLS of one table, as far as they are read.
#[derive(Default)]
pub(super) struct ClientTlsKeys {
    ca: Option<Arc<CaFile>>,
    certificate: Option<Certificates>,
    key: Option<KeyFile>,
    /// Whether a file could not be read: a second error about it would not help.
    has_failed: bool,
}

impl ClientTlsKeys {
    /// Reads the file of a key, or returns the value of another one.
    pub(super) fn parse<'v>(
        &mut self,
        problems: &mut ProblemList<'_>,
        name: &str,
        key: &str,
        value: Spanned<DeValue<'v>>,
        read_secret: &ReadSecret<'_>,
    ) -> Option<Spanned<DeValue<'v>>> {
        match name {
            "ca_file" => {
                let read = Certificates::read(problems, key, value);
                self.ca = read.and_then(|read| CaFile::new(problems, key, read)).map(Arc::new);
            }
            "certificate" => {
                self.certificate = Certificates::read(problems, key, value);
                self.has_failed |= self.certificate.is_none();
            }
            "key" => {
                self.key = KeyFile::read(problems, key, value, read_secret);
                self.has_failed |= self.key.is_none();
            }
            _ => return Some(value),
        }
        None
    }

    /// TLS with these files. `span` is the place of the table, for an error about a key that is missing.
    pub(super) fn finish(self, problems: &mut ProblemList<'_>, table: &str, span: Range<usize>) -> ClientTls {
        let Self { ca, certificate, key, has_failed } = self;
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => ClientIdentity::new(problems, table, certificate, key).map(Arc::new),
            (None, None) => None,
            _ if has_failed => None,
            (certificate, _) => {
                let missing = if certificate.is_some() { "key" } else { "certificate" };
                problems.add(span, table, format!("has one of certificate and key; write {missing}, too"));
                None
            }
        };
        ClientTls { ca, identity, is_insecure: false, config: Arc::default() }
    }
}

impl CaFile {
    fn new(problems: &mut ProblemList<'_>, key: &str, read: Certificates) -> Option<Self> {
        let roots = Arc::new(read.roots(problems, key)?);
        let facts = CertificateFacts::all(&read.chain);
        Some(Self { file: read.name, digest: read.digest, facts, roots })
    }
}

impl ClientIdentity {
    fn new(problems: &mut ProblemList<'_>, table: &str, read: Certificates, key: KeyFile) -> Option<Self> {
        let facts = CertificateFacts::all(&read.chain);
        match CertifiedKey::from_der(read.chain, key.key, &ring::default_provider()) {
            Ok(certified) => {
                let digest = Sha256::new_with_prefix(read.digest).chain_update(key.digest).finalize().into();
                let certified = Arc::new(certified);
                Some(Self { certificate: read.name, key: key.name, digest, facts, certified })
            }
            Err(rustls::Error::InconsistentKeys(_)) => {
                let message =
                    format!("is not the key of the certificate in {:?}; name the two that belong together", read.name);
                problems.add(key.span, &format!("{table}.key"), message);
                None
            }
            Err(error) => {
                let message = format!(
                    "{:?} cannot be used ({error}); put the agent's own certificate first, then those that lead to its authority",
                    read.name
                );
                problems.add(read.span, &format!("{table}.certificate"), message);
                None
            }
        }
    }
}
