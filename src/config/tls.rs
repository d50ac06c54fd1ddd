//! The files of `[http]` for TLS: read, and tried as a whole, with the configuration. A server has what was read: another
//! certificate comes with the next reload.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use toml::Spanned;
use toml::de::DeValue;

use super::certificate::{CertificateFacts, CertificateWarning, authority_warnings, server_warnings};
use super::problem_list::ProblemList;
use super::secret::{ReadSecret, Secret};

/// The largest file of certificates: hundreds of them.
const MAX_BYTES: u64 = 1 << 20;

/// TLS of a server. Two are equal when their files have the same names and contents.
#[derive(Clone)]
pub struct ServerTls {
    /// The value of `tls_certificate`.
    pub certificate: String,
    /// The value of `tls_key`.
    pub key: String,
    /// The value of `tls_client_ca`.
    pub client_ca: Option<String>,
    /// The digest of all contents.
    digest: [u8; 32],
    /// The certificates that can be read, the server's own first.
    chain: Vec<CertificateFacts>,
    /// The authorities of clients that can be read.
    authorities: Vec<CertificateFacts>,
    /// The configuration of connections.
    pub(crate) config: Arc<ServerConfig>,
}

impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        let names = |tls: &Self| (tls.certificate.clone(), tls.key.clone(), tls.client_ca.clone());
        names(self) == names(other) && self.digest == other.digest
    }
}

impl ServerTls {
    /// When the first of the server's certificates expires, since the Unix epoch; none if they cannot be read.
    pub(crate) fn expiry(&self) -> Option<Duration> {
        self.chain.iter().map(CertificateFacts::end).min()
    }

    /// The certificates that somebody has to look after.
    pub(crate) fn warnings(&self, now: Duration) -> Vec<CertificateWarning> {
        let mut warnings = server_warnings(&self.chain, &self.certificate, now);
        if let Some(file) = &self.client_ca {
            let remedy = "name the certificates of the authorities that sign those of clients";
            warnings.extend(authority_warnings(&self.authorities, "http.tls_client_ca", file, remedy, now));
        }
        warnings
    }
}

/// The names of the files: certificates that are renewed are the same setting.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerTls").field(&self.certificate).field(&self.key).field(&self.client_ca).finish()
    }
}

/// The keys for TLS, as far as they are written.
#[derive(Default)]
pub(super) struct TlsFiles {
    pub(super) certificate: Option<Certificates>,
    pub(super) key: Option<KeyFile>,
    pub(super) client_ca: Option<Certificates>,
    /// Whether a file could not be read: a second error about it would not help.
    has_failed: bool,
}

/// A file of certificates.
pub(super) struct Certificates {
    pub(super) span: Range<usize>,
    pub(super) name: String,
    pub(super) digest: [u8; 32],
    pub(super) chain: Vec<CertificateDer<'static>>,
}

/// A file with a private key.
pub(super) struct KeyFile {
    pub(super) span: Range<usize>,
    pub(super) name: String,
    pub(super) digest: [u8; 32],
    pub(super) key: PrivateKeyDer<'static>,
}

impl Certificates {
    /// Reads a file of certificates.
    pub(super) fn read(problems: &mut ProblemList<'_>, key: &str, value: Spanned<DeValue<'_>>) -> Option<Self> {
        let span = value.span();
        problems.parsed(key, value, |name| {
            let bytes = read(name)?;
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
            let certificates =
                certificates.map_err(|error| format!("{name:?} has a damaged certificate ({error}); {WRITE_PEM}"))?;
            if certificates.is_empty() {
                return Err(format!("{name:?} has no certificate; {WRITE_PEM}"));
            }
            Ok(Self { span, name: name.to_owned(), digest: Sha256::digest(&bytes).into(), chain: certificates })
        })
    }

    /// The certificates as authorities; none if one is none, which is a problem of this key.
    pub(super) fn roots(&self, problems: &mut ProblemList<'_>, key: &str) -> Option<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.chain {
            if let Err(error) = roots.add(certificate.clone()) {
                let message = format!("{:?} has a certificate that is no authority ({error}); leave it out", self.name);
                problems.add(self.span.clone(), key, message);
                return None;
            }
        }
        Some(roots)
    }
}

impl KeyFile {
    /// Reads the file of a private key, which is as closed as that of a secret.
    pub(super) fn read(
        problems: &mut ProblemList<'_>,
        key: &str,
        value: Spanned<DeValue<'_>>,
        read_secret: &ReadSecret<'_>,
    ) -> Option<Self> {
        let span = value.span();
        problems.parsed(key, value, |name| {
            let text: Secret = read_secret(name)?;
            let bytes = text.expose().as_bytes();
            let remedy = "write one private key in PEM into it, without a password";
            let key = PrivateKeyDer::from_pem_slice(bytes)
                .map_err(|error| format!("names a file without a valid private key ({error}); {remedy}"))?;
            Ok(Self { span, name: name.to_owned(), digest: Sha256::digest(bytes).into(), key })
        })
    }
}

impl TlsFiles {
    /// Reads a file of certificates.
    pub(super) fn read_certificates(
        &mut self,
        problems: &mut ProblemList<'_>,
        key: &str,
        value: Spanned<DeValue<'_>>,
    ) -> Option<Certificates> {
        let read = Certificates::read(problems, key, value);
        self.has_failed |= read.is_none();
        read
    }

    /// Reads the file of the private key.
    pub(super) fn read_key(
        &mut self,
        problems: &mut ProblemList<'_>,
        key: &str,
        value: Spanned<DeValue<'_>>,
        read_secret: &ReadSecret<'_>,
    ) -> Option<KeyFile> {
        let read = KeyFile::read(problems, key, value, read_secret);
        self.has_failed |= read.is_none();
        read
    }

    /// TLS with these files; none without any. `table` is the place for an error about a key that is missing.
    pub(super) fn combine(self, problems: &mut ProblemList<'_>, table: &Range<usize>) -> Option<ServerTls> {
        if self.has_failed {
            return None;
        }
        let (certificate, key) = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => {
                if let Some(Certificates { span, .. }) = self.client_ca {
                    let message = "needs TLS; write tls_certificate and tls_key, too";
                    problems.add(span, "http.tls_client_ca", message.to_owned());
                }
                return None;
            }
            (certificate, _) => {
                let missing = if certificate.is_some() { "tls_key" } else { "tls_certificate" };
                let message = format!("has one of tls_certificate and tls_key; write {missing}, too");
                problems.add(table.clone(), "http", message);
                return None;
            }
        };
        let mut digest = Sha256::new_with_prefix(certificate.digest).chain_update(key.digest);
        let roots = match &self.client_ca {
            None => None,
            Some(ca) => {
                digest.update(ca.digest);
                Some(ca.roots(problems, "http.tls_client_ca")?)
            }
        };
        let chain = CertificateFacts::all(&certificate.chain);
        let authorities = self.client_ca.as_ref().map(|ca| CertificateFacts::all(&ca.chain)).unwrap_or_default();
        let client_ca = self.client_ca.map(|ca| ca.name);
        let (name, key_name, key_span) = (certificate.name, key.name, key.span);
        let made = server_config(certificate.chain, key.key, roots);
        match made {
            Ok(config) => Some(ServerTls {
                certificate: name,
                key: key_name,
                client_ca,
                digest: digest.finalize().into(),
                chain,
                authorities,
                config: Arc::new(config),
            }),
            Err(rustls::Error::InconsistentKeys(_)) => {
                let message =
                    format!("is not the key of the certificate in {name:?}; name the two that belong together");
                problems.add(key_span, "http.tls_key", message);
                None
            }
            Err(error) => {
                let message = format!(
                    "{name:?} cannot be used ({error}); put the server's own certificate first, then those that \
                                       lead to its authority"
                );
                problems.add(certificate.span, "http.tls_certificate", message);
                None
            }
        }
    }
}

const WRITE_PEM: &str = "write the certificates in PEM into it, the server's own first";

/// The largest is bounded, and a pipe or device is not waited for.
fn read(name: &str) -> Result<Vec<u8>, String> {
    let path = Path::new(name);
    if !path.is_absolute() || name.contains('\0') {
        return Err(format!("{name:?} is not an absolute path; write it like \"/etc/gauged/tls.pem\""));
    }
    let read = || -> io::Result<Vec<u8>> {
        let file =
            File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::other("it is larger than 1 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => "let the agent's user read it",
            io::ErrorKind::NotFound => "write the file, or remove the key",
            _ => "name a file of certificates in PEM",
        };
        format!("{name:?} cannot be read: {error}; {remedy}")
    })
}

fn server_config(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_roots: Option<RootCertStore>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match client_roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| rustls::Error::General(error.to_string()))?)
        }
    };
    let mut config = builder.with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Connections are kept, and so resumed sessions would save nothing; they would outlive a certificate that was taken back.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
