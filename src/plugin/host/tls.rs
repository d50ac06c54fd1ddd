//! TLS for `https` requests, with the authorities and the client certificate of `[client]`. The authorities that the system trusts are
//! read at the first such request that needs them.

use std::sync::Arc;
use std::time::Instant;

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::address::Host;
use crate::client::metered::Stream;
use crate::client::tls::{known_system_roots, read_system_roots, server_name};
use crate::config::ClientTls;
use crate::plugin::context::PluginContext;
use crate::plugin::offload::permits::{OffloadTarget, PermitError};

/// Why there is no encrypted stream.
pub(crate) enum TlsError {
    /// The peer is not trusted, or does not speak TLS; the reason.
    Untrusted(String),
    /// The CA certificates could not be read in time.
    Timeout,
}

/// Performs the handshake with a peer, and verifies its certificate.
pub(crate) async fn secure<S: Stream>(
    plugin: &PluginContext,
    tls: &ClientTls,
    host: &Host,
    stream: S,
    until: Instant,
) -> Result<TlsStream<S>, TlsError> {
    let connector = TlsConnector::from(config(plugin, tls, until).await?);
    let name = server_name(host).map_err(TlsError::Untrusted)?;
    connector.connect(name, stream).await.map_err(|error| TlsError::Untrusted(error.to_string()))
}

/// The configuration of connections with these settings.
pub(crate) async fn config(
    plugin: &PluginContext,
    tls: &ClientTls,
    until: Instant,
) -> Result<Arc<ClientConfig>, TlsError> {
    let made = match (tls.own_config(), known_system_roots()) {
        (Some(own), _) => own,
        (None, Some(known)) => tls.config(known),
        (None, None) => {
            match plugin.accounts.permits.run(OffloadTarget::Certificates, until, read_system_roots).await {
                Ok(read) => tls.config(&read.map_err(TlsError::Untrusted)?),
                Err(PermitError::Late) => return Err(TlsError::Timeout),
                Err(PermitError::Panicked(why)) => return Err(TlsError::Untrusted(why)),
            }
        }
    };
    made.map_err(|error| TlsError::Untrusted(error.to_string()))
}

/// When the certificate of the peer expires, in seconds since the Unix epoch.
pub(crate) fn not_after<S>(stream: &TlsStream<S>) -> Option<u64> {
    let (_, session) = stream.get_ref();
    let leaf = Certificate::from_der(session.peer_certificates()?.first()?).ok()?;
    Some(leaf.tbs_certificate.validity.not_after.to_unix_duration().as_secs())
}
