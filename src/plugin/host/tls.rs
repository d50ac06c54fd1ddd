//! TLS for what plugins fetch: rustls, with the certificates that the system trusts, as they were when the first plugin
//! asked for an `https` URL. Agents without such a plugin hold none of this in memory.

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

use super::super::context::PluginContext;
use super::offload::{OffloadError, OffloadTarget, offload};
use crate::address::Host;

/// One for all plugins, because what the system trusts takes milliseconds to read and half a megabyte to keep.
static CONFIG: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();

/// Why there is no encrypted stream.
pub(super) enum Failed {
    /// The peer is not trusted, or does not speak TLS; why.
    Tls(String),
    /// What the system trusts could not be read in time.
    Timeout,
}

/// Greets the peer at the other end of a stream, and makes sure that it is who it should be.
pub(super) async fn secure(
    plugin: &PluginContext,
    host: &Host,
    stream: TcpStream,
    until: Instant,
) -> Result<TlsStream<TcpStream>, Failed> {
    let config = CONFIG.get_or_try_init(|| async {
        match offload(plugin, OffloadTarget::Trust, until, load).await {
            Ok(loaded) => loaded.map_err(Failed::Tls),
            Err(OffloadError::Late) => Err(Failed::Timeout),
            Err(OffloadError::Panicked(why)) => Err(Failed::Tls(why)),
        }
    });
    let connector = TlsConnector::from(Arc::clone(config.await?));
    let name = match host {
        Host::Ip(address) => ServerName::IpAddress((*address).into()),
        Host::Name(name) => ServerName::try_from(name.clone())
            .map_err(|_| Failed::Tls(format!("no certificate can be for a host called {name}")))?,
    };
    connector.connect(name, stream).await.map_err(|error| Failed::Tls(error.to_string()))
}

/// When the certificate of the peer expires, in seconds since the Unix epoch.
pub(super) fn not_after(stream: &TlsStream<TcpStream>) -> Option<u64> {
    let (_, session) = stream.get_ref();
    let leaf = Certificate::from_der(session.peer_certificates()?.first()?).ok()?;
    Some(leaf.tbs_certificate.validity.not_after.to_unix_duration().as_secs())
}

fn load() -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!("this system has no certificates to trust{why}; install its ca-certificates"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session has no certificate to look at, and every fetch shall tell how long a connection takes.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
