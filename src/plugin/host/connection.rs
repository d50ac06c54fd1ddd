//! An open connection of a guest, as the bindings name it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::SemaphorePermit;

/// A stream of bytes: TCP, TLS or a unix socket.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open connection.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Connection {
    pub(crate) stream: Box<dyn Stream>,
    /// The time limit of each operation; none for that of the call.
    pub(crate) timeout: Option<Duration>,
    pub(crate) _permit: SemaphorePermit<'static>,
}
