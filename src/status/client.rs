//! Asks a running agent for its status.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::protocol::{CLIENT_PATIENCE, DOCUMENT_BYTES, ERROR, REQUEST};

/// The pause before another attempt when the agent's queue of connections is full.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no status.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// Nobody listens at these sockets.
    NoAgent(Vec<PathBuf>),
    /// The socket is another user's.
    Denied(PathBuf),
    /// Anything else: the end of a sentence that begins with the socket.
    Failed(PathBuf, String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAgent(sockets) => {
                let sockets: Vec<String> = sockets.iter().map(|socket| socket.display().to_string()).collect();
                let sockets = sockets.join(" or ");
                write!(f, "no agent listens at {sockets}; start it, or name its socket with --socket")
            }
            Self::Denied(socket) => {
                let socket = socket.display();
                write!(f, "{socket} is another user's: permission denied; run this as root or as the agent's user")
            }
            Self::Failed(socket, why) => write!(f, "{} {why}", socket.display()),
        }
    }
}

/// Asks the first agent that listens at one of the sockets. Returns its socket, too.
pub(crate) async fn fetch_first(sockets: Vec<PathBuf>) -> Result<(PathBuf, Value), ClientError> {
    let mut denied = None;
    for socket in &sockets {
        match fetch(socket).await {
            Ok(document) => return Ok((socket.clone(), document)),
            Err(ClientError::NoAgent(_)) => {}
            Err(ClientError::Denied(socket)) => denied = denied.or(Some(socket)),
            Err(error) => return Err(error),
        }
    }
    Err(denied.map_or(ClientError::NoAgent(sockets), ClientError::Denied))
}

/// Asks the agent that listens at a socket for its document.
pub(crate) async fn fetch(socket: &Path) -> Result<Value, ClientError> {
    let failed = |why: String| ClientError::Failed(socket.to_owned(), why);
    let text = match timeout(CLIENT_PATIENCE, exchange(socket)).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            return Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NoAgent(vec![socket.to_owned()])
                }
                io::ErrorKind::PermissionDenied => ClientError::Denied(socket.to_owned()),
                _ => failed(format!("cannot be asked: {error}; check that it is an agent's socket")),
            });
        }
        Err(_) => {
            let patience = CLIENT_PATIENCE.as_secs();
            return Err(failed(format!("does not answer within {patience} s; see whether the agent is stopped")));
        }
    };
    let document: Value = serde_json::from_slice(&text)
        .map_err(|error| failed(format!("answers with no status: {error}; check that it is an agent's socket")))?;
    match document.get(ERROR).and_then(Value::as_str) {
        Some(why) => Err(failed(format!("answers with an error: {why}"))),
        None => Ok(document),
    }
}

async fn exchange(socket: &Path) -> io::Result<Vec<u8>> {
    let mut stream = loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(PAUSE).await,
            connected => break connected?,
        }
    };
    stream.write_all(format!("{REQUEST}\n").as_bytes()).await?;
    let mut text = Vec::new();
    (&mut stream).take(DOCUMENT_BYTES).read_to_end(&mut text).await?;
    if text.len() as u64 == DOCUMENT_BYTES {
        return Err(io::Error::other(format!("more than {DOCUMENT_BYTES} bytes")));
    }
    Ok(text)
}
