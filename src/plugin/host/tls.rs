//! TLS for `https` requests, with the authorities and the client certificate of the operator. The authorities that the system trusts are
//! read at the first such request that needs them.

use std::sync::Arc;
use std::time::Instant;

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;

use crate::address::Host;
use crate::client::metered::Stream;
use crate::client::tls::{find_tls_error, known_system_roots, read_system_roots, remedy, server_name};
use crate::config::ClientTls;
use crate::plugin::context::PluginContext;
use crate::plugin::offload::permits::{OffloadTarget, PermitError};

/// Why there is no encrypted stream.
pub(crate) enum TlsError {
    /// The peer is not trusted, or does not speak TLS; the reason and the remedy.
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
    let connected = connector.connect(name, stream).await;
    connected.map_err(|error| TlsError::Untrusted(format!("{error}; {}", remedy(find_tls_error(&error)))))
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
