//! TLS for `https` requests: rustls with the system's CA certificates, which are read at the first such request. Agents without
//! one hold none of this in memory.

use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::address::Host;
use crate::plugin::context::PluginContext;
use crate::plugin::host::ration::RationedStream;
use crate::plugin::offload::permits::{OffloadTarget, PermitError};

/// Shared by all plugins: the CA certificates take milliseconds to read and half a megabyte of memory.
static CONFIG: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();

/// Why there is no encrypted stream.
pub(crate) enum TlsError {
    /// The peer is not trusted, or does not speak TLS; the reason.
    Untrusted(String),
    /// The CA certificates could not be read in time.
    Timeout,
}

/// Performs the handshake with a peer, and verifies its certificate.
pub(crate) async fn secure(
    plugin: &PluginContext,
    host: &Host,
    stream: RationedStream<TcpStream>,
    until: Instant,
) -> Result<TlsStream<RationedStream<TcpStream>>, TlsError> {
    let config = CONFIG.get_or_try_init(|| async {
        match plugin.accounts.permits.run(OffloadTarget::Certificates, until, load).await {
            Ok(loaded) => loaded.map_err(TlsError::Untrusted),
            Err(PermitError::Late) => Err(TlsError::Timeout),
            Err(PermitError::Panicked(why)) => Err(TlsError::Untrusted(why)),
        }
    });
    let connector = TlsConnector::from(Arc::clone(config.await?));
    let name = match host {
        Host::Ip(address) => ServerName::IpAddress((*address).into()),
        Host::Name(name) => ServerName::try_from(name.clone())
            .map_err(|_| TlsError::Untrusted(format!("no certificate can be for a host called {name}")))?,
    };
    connector.connect(name, stream).await.map_err(|error| TlsError::Untrusted(error.to_string()))
}

/// When the certificate of the peer expires, in seconds since the Unix epoch.
pub(crate) fn not_after(stream: &TlsStream<RationedStream<TcpStream>>) -> Option<u64> {
    let (_, session) = stream.get_ref();
    let leaf = Certificate::from_der(session.peer_certificates()?.first()?).ok()?;
    Some(leaf.tbs_certificate.validity.not_after.to_unix_duration().as_secs())
}

fn load() -> Result<Arc<ClientConfig>, String> {
    let certificates = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.certs);
    if roots.is_empty() {
        let why = certificates.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!("this system has no certificates to trust{why}; install its ca-certificates"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session has no certificate, and would make the connection time of a request meaningless.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
