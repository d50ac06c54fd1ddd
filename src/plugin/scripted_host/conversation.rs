//! Conversations of a script on connections.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::deviation::{deviation, omission};
use super::handshake;
use crate::config::script::{Step, bytes};

/// A connection as the server has it.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Socket for S {}

/// Holds a conversation. The error is how it deviates from the script.
pub(super) async fn converse(stream: &mut impl Socket, steps: Vec<Step>) -> Result<(), String> {
    for step in steps {
        match step {
            Step::Receive(text) => receive(stream, text.as_bytes()).await?,
            Step::ReceiveHex(text) => receive(stream, &bytes(&text).unwrap_or_default()).await?,
            Step::Send(text) => send(stream, text.as_bytes()).await?,
            Step::SendHex(text) => send(stream, &bytes(&text).unwrap_or_default()).await?,
            Step::Wait(_) => hold(stream).await?,
            Step::StartTls(tls) => {
                let has_failed = tls.error.is_some();
                handshake::accept(stream, &tls).await?;
                if has_failed {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

async fn receive(stream: &mut impl Socket, expected: &[u8]) -> Result<(), String> {
    let mut received = Vec::new();
    while received.len() < expected.len() && expected.starts_with(&received) {
        let mut piece = vec![0; expected.len() - received.len()];
        match stream.read(&mut piece).await {
            // A connection is reset by a plugin that left bytes of the server unread.
            Ok(0) | Err(_) => break,
            Ok(read) => received.extend_from_slice(&piece[..read]),
        }
    }
    match &*received {
        received if received == expected => Ok(()),
        [] => Err(omission(expected)),
        received => Err(deviation(received, expected)),
    }
}

pub(super) async fn send(stream: &mut (impl Socket + ?Sized), bytes: &[u8]) -> Result<(), String> {
    stream.write_all(bytes).await.map_err(|error| format!("the plugin closed the connection: {error}"))
}

/// Keeps a connection open, and silent, until the peer closes it.
pub(super) async fn hold(stream: &mut (impl Socket + ?Sized)) -> Result<(), String> {
    let mut discarded = [0; 512];
    // The end of the connection, in whatever way.
    while stream.read(&mut discarded).await.is_ok_and(|read| read > 0) {}
    Ok(())
}
