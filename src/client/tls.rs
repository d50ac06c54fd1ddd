//! TLS of a client: the handshake, and the authorities that the system trusts, which are read once for the whole agent. Agents without
//! a request over TLS hold none of this in memory.

use std::error::Error;
use std::io;
use std::sync::{Arc, OnceLock};

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError, ClientConfig, RootCertStore};

use super::error::{ClientError, ClientErrorKind};
use super::metered::Stream;
use super::resolution::Pending;
use crate::address::{Host, Origin};
use crate::config::ClientTls;
use crate::thread;

/// Shared by all: they take milliseconds to read and half a megabyte of memory.
static SYSTEM_ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();

/// The authorities that the system trusts, if they were read.
pub(crate) fn known_system_roots() -> Option<&'static Arc<RootCertStore>> {
    SYSTEM_ROOTS.get()
}

/// Reads the authorities that the system trusts. May wait for a disk.
///
/// # Errors
///
/// When there are none: the reason and the remedy.
pub(crate) fn read_system_roots() -> Result<Arc<RootCertStore>, String> {
    if let Some(known) = SYSTEM_ROOTS.get() {
        return Ok(Arc::clone(known));
    }
    let certificates = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.certs);
    if roots.is_empty() {
        let why = certificates.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!("this system has no certificates to trust{why}; install its ca-certificates"));
    }
    Ok(Arc::clone(SYSTEM_ROOTS.get_or_init(|| Arc::new(roots))))
}

/// The system's authorities, as far as a client knows them.
#[derive(Debug, Default)]
pub(super) struct SystemRoots {
    reading: Pending<(), Result<Arc<RootCertStore>, String>>,
}

impl SystemRoots {
    /// The configuration of connections with these settings. The authorities of the system are read where they are needed, by a thread.
    /// Cancellation safe.
    pub(super) async fn config(&mut self, tls: &ClientTls) -> Result<Arc<ClientConfig>, ClientError> {
        let made = match (tls.own_config(), known_system_roots()) {
            (Some(own), _) => own,
            (None, Some(known)) => tls.config(known),
            (None, None) => {
                let read = self.reading.result((), "certificates", read_system_roots).await;
                let read = read.map_err(|error| {
                    let text = format!("no thread to read the system's certificates: {error}");
                    ClientError::new(ClientErrorKind::Shortage, text, thread::remedy(&error))
                })?;
                let remedy = "install ca-certificates, or name the peer's authority with ca_file";
                tls.config(&read.map_err(|why| ClientError::new(ClientErrorKind::Tls, why, remedy))?)
            }
        };
        let remedy = "restart the agent, and report this";
        made.map_err(|error| ClientError::new(ClientErrorKind::Tls, error.to_string(), remedy))
    }
}

/// The name that a certificate has to be for.
///
/// # Errors
///
/// When no certificate can be for it: the reason.
pub(crate) fn server_name(host: &Host) -> Result<ServerName<'static>, String> {
    match host {
        Host::Ip(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|_| format!("no certificate can be for a host called {name}"))
        }
    }
}

/// Performs the handshake with a peer, and verifies its certificate.
pub(super) async fn handshake(
    config: Arc<ClientConfig>,
    host: &Host,
    stream: Box<dyn Stream>,
    peer: &Origin,
) -> Result<TlsStream<Box<dyn Stream>>, ClientError> {
    let name = server_name(host)
        .map_err(|why| ClientError::new(ClientErrorKind::Tls, why, "write a name with a certificate into url"))?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    connected.map_err(|error| {
        let remedy = remedy(find_tls_error(&error));
        ClientError::new(ClientErrorKind::Tls, format!("no TLS with {peer}: {error}"), remedy)
    })
}

/// The error of TLS among the causes of an error.
pub(crate) fn find_tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // The source of an `io::Error` is that of the error in it.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The remedy for an error of TLS; for one of the stream below it where there is none.
pub(crate) fn remedy(error: Option<&rustls::Error>) -> &'static str {
    match error {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            // The latter is that of an authority that was made anew, under the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "name the authority of the peer's certificate with ca_file"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "have the certificate of the peer renewed, and check the clock of this host"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "check the clock of this host"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "write a name that the certificate of the peer has into url"
            }
            _ => "have the certificate of the peer corrected",
        },
        Some(rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure,
        )) => "name a certificate that the peer accepts with certificate and key",
        _ => "check that the peer speaks TLS at this port; if it does not, begin the URL with http://",
    }
}
