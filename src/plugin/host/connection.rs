//! An open connection of a guest, as the bindings name it: in clear, or encrypted by `start-tls`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::SockRef;
use tokio::sync::SemaphorePermit;

use crate::client::metered::Stream;
use crate::plugin::host::ration::RationedStream;

/// An open connection.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Connection {
    pub(crate) link: Link,
    /// The time limit of each operation; none for that of the call.
    pub(crate) timeout: Option<Duration>,
    pub(crate) _permit: SemaphorePermit<'static>,
}

/// The stream of a connection. From `Clear`, TLS leads to `Encrypted`, or to `Failed`.
pub(crate) enum Link {
    Clear(Box<dyn ClearStream>),
    Encrypted(Box<dyn Stream>),
    /// TLS has failed, and the stream is closed: whatever it brought was not the peer's for certain.
    Failed,
}

/// A stream in clear. Nothing is read ahead of the guest: the bytes that it has not read are the kernel's.
pub(crate) trait ClearStream: Stream {
    /// The state of the stream's next byte, without reading it.
    ///
    /// # Errors
    ///
    /// The stream is broken.
    fn next_byte(&self) -> io::Result<NextByte>;
}

/// The state of the next byte of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextByte {
    /// It has not arrived.
    Awaited,
    /// It waits to be read.
    Waiting,
    /// There is none: the peer has closed.
    End,
}

impl<S: Stream + AsFd> ClearStream for RationedStream<S> {
    fn next_byte(&self) -> io::Result<NextByte> {
        // All sockets of connections are non-blocking.
        match SockRef::from(self.get_ref()).peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => Ok(NextByte::End),
            Ok(_) => Ok(NextByte::Waiting),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(NextByte::Awaited),
            Err(error) => Err(error),
        }
    }
}

impl Link {
    /// The stream; none after TLS has failed.
    pub(crate) fn stream(&mut self) -> Option<&mut dyn Stream> {
        match self {
            Self::Clear(stream) => Some(stream),
            Self::Encrypted(stream) => Some(stream),
            Self::Failed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;
    use crate::plugin::host::ration::Ration;

    #[tokio::test]
    async fn next_byte_is_seen_without_reading_it() {
        let (own, mut peer) = UnixStream::pair().expect("sockets");
        let ration = Ration::default();
        ration.renew();
        let mut own = RationedStream::new(own, &ration);
        assert_eq!(own.next_byte().expect("open"), NextByte::Awaited);
        peer.write_all(b"x").await.expect("sent");
        for _ in 0..2 {
            assert_eq!(own.next_byte().expect("open"), NextByte::Waiting);
        }
        let mut read = [0];
        own.read_exact(&mut read).await.expect("sent");
        assert_eq!((read, own.next_byte().expect("open")), (*b"x", NextByte::Awaited));
        drop(peer);
        assert_eq!(own.next_byte().expect("open"), NextByte::End);
    }
}
