//! TLS on a connection that is open, after an exchange in clear. From then on whatever is read came over TLS, and whatever came in
//! clear was read by the guest: nothing is read ahead, and TLS is refused where bytes of the peer wait in clear. Bytes that arrive
//! later are part of the handshake, which fails on each that is not the peer's.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::error::{broken, unexpected_end};
use crate::client::metered::Stream;
use crate::client::tls::find_tls_error;
use crate::config::script::{ScriptedTls, bytes};
use crate::plugin::context::PluginContext;
use crate::plugin::guest::bindings::gauged::plugin::net::{Error, TlsChannel};
use crate::plugin::guest::bindings::gauged::plugin::types::{Certificate, TlsSession};
use crate::plugin::host::certificate::session;
use crate::plugin::host::connection::{ClearStream, NextByte};
use crate::plugin::host::server_end_point::server_end_point;
use crate::plugin::host::tls::{TlsError, config};
use crate::plugin::scripted_host::handshake::connect;

/// The memory that an encrypted connection takes at most: records of 16 KiB that arrive, that are decrypted and that are sent, the
/// certificates of the peer, and the state of the library. A handshake with the longest messages takes as much for its time.
pub(crate) const TLS_BYTES: usize = 160 << 10;

/// The most bytes that wait to be sent, besides those of the kernel: one record.
const SENT_BYTES: usize = 16 << 10;

/// Performs the handshake on a stream.
pub(super) async fn encrypt(
    plugin: &PluginContext,
    stream: Box<dyn ClearStream>,
    name: ServerName<'static>,
    until: Instant,
) -> Result<(Box<dyn Stream>, TlsChannel), Error> {
    let settings = plugin.client.get(&plugin.name);
    let config = config(plugin, &settings.tls, until).await.map_err(|error| match error {
        TlsError::Untrusted(why) => Error::Tls(why),
        TlsError::Timeout => Error::Timeout,
    })?;
    let mut config = ClientConfig::clone(&config);
    // The protocol of the settings is HTTP, which servers of other protocols refuse.
    config.alpn_protocols.clear();
    check_silence(&*stream)?;
    let connecting = TlsConnector::from(Arc::new(config))
        .connect_with(name, stream, |connection| connection.set_buffer_limit(Some(SENT_BYTES)));
    let stream = connecting.await.map_err(|error| handshake_error(&error))?;
    let (_, connection) = stream.get_ref();
    let unreadable = || Error::Tls("the peer's certificate cannot be read".to_owned());
    let leaf = connection.peer_certificates().and_then(|chain| chain.first()).ok_or_else(unreadable)?;
    let server_end_point = server_end_point(leaf);
    let session = session(connection).ok_or_else(unreadable)?;
    Ok((Box::new(stream), TlsChannel { session, server_end_point }))
}

/// Performs the handshake of a script, without cryptography.
pub(super) async fn encrypt_by_script(
    mut stream: Box<dyn ClearStream>,
    server_name: &str,
) -> Result<(Box<dyn Stream>, TlsChannel), Error> {
    check_silence(&*stream)?;
    let learnt = connect(&mut stream, server_name).await.map_err(|error| handshake_error(&error))?;
    let ScriptedTls { version, not_before, not_after, subject, issuer, end_point_hex, .. } =
        learnt.map_err(Error::Tls)?;
    let session = TlsSession { version, certificate: Certificate { not_before, not_after, subject, issuer } };
    let server_end_point = end_point_hex.and_then(|digits| bytes(&digits));
    Ok((Box::new(stream), TlsChannel { session, server_end_point }))
}

/// Refuses to go on where the peer has sent more in clear than was read.
fn check_silence(stream: &dyn ClearStream) -> Result<(), Error> {
    match stream.next_byte().map_err(|error| broken(&error))? {
        NextByte::Awaited => Ok(()),
        NextByte::Waiting => Err(Error::Tls(INJECTED.to_owned())),
        NextByte::End => Err(unexpected_end("the peer closed the connection before the handshake")),
    }
}

/// The error for bytes in clear that wait at the moment of the handshake.
const INJECTED: &str = "the peer has sent more in clear than was read, which somebody on the way may have inserted; if the peer is \
                        right, read its whole consent before start-tls";

/// The error of a handshake.
fn handshake_error(error: &io::Error) -> Error {
    match find_tls_error(error) {
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            unexpected_end("the peer closed the connection during the handshake")
        }
        _ => broken(error),
    }
}
