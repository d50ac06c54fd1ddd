//! How much a guest's connections pass before other work of the thread has its turn. The libraries above a connection loop over
//! heads, records and chunks that bring the guest nothing, as long as the peer sends more of them: without a bound below them,
//! a single poll would last as long as the peer likes, and no deadline would be looked at.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::metered::{give_way, read_at_most};

/// The most bytes of one poll of a guest's call: a TLS record of the largest size. The bytes that cost most, TLS session tickets
/// and digits of a chunk's size, take a millisecond, in which a sample can still wait.
const POLL_BYTES: usize = 16 << 10;

/// The least that a read or write counts for: a system call costs as much as so many bytes.
const OPERATION_BYTES: usize = 256;

/// The bytes that the connections of one guest may still pass in this poll. Its call renews it at each poll.
#[derive(Clone, Default)]
pub(crate) struct Ration {
    /// Shared by the call and the connections, which all are on one thread.
    bytes: Arc<AtomicUsize>,
}

impl Ration {
    /// Begins a poll.
    pub(crate) fn renew(&self) {
        self.bytes.store(POLL_BYTES, Ordering::Relaxed);
    }

    fn remaining(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn spend(&self, bytes: usize) {
        let remaining = self.remaining().saturating_sub(bytes.max(OPERATION_BYTES));
        self.bytes.store(remaining, Ordering::Relaxed);
    }
}

/// A stream whose reads and writes end with the ration of its guest.
pub(crate) struct RationedStream<S> {
    stream: S,
    ration: Ration,
}

impl<S> RationedStream<S> {
    pub(crate) fn new(stream: S, ration: &Ration) -> Self {
        Self { stream, ration: ration.clone() }
    }

    /// The stream, to ask for its state.
    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RationedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let remaining = self.ration.remaining();
        if remaining == 0 {
            return give_way(context);
        }
        let (polled, read) = read_at_most(&mut self.stream, context, buffer, remaining);
        if polled.is_ready() {
            self.ration.spend(read);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RationedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let remaining = self.ration.remaining();
        if remaining == 0 {
            return give_way(context);
        }
        let polled = Pin::new(&mut self.stream).poll_write(context, &bytes[..bytes.len().min(remaining)]);
        if let Poll::Ready(written) = &polled {
            self.ration.spend(written.as_ref().copied().unwrap_or(0));
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A peer that is always ready, and passes at most so many bytes at a time.
    struct Ready(usize);

    impl AsyncRead for Ready {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            buffer.put_slice(&vec![b'x'; self.0.min(buffer.remaining())]);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Ready {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len().min(self.0)))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Reads or writes for ever, and counts the bytes.
    async fn endless(mut stream: RationedStream<Ready>, is_reading: bool, bytes: &AtomicUsize) {
        let mut buffer = vec![0; 100_000];
        loop {
            let passed =
                if is_reading { stream.read(&mut buffer).await } else { stream.write(&buffer).await }.expect("ready");
            bytes.fetch_add(passed, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_poll_passes_no_more_than_its_ration() {
        for (is_reading, piece, most) in [
            (true, usize::MAX, POLL_BYTES),
            (false, usize::MAX, POLL_BYTES),
            (true, 1000, POLL_BYTES),
            (true, 1, POLL_BYTES / OPERATION_BYTES),
            (false, 1, POLL_BYTES / OPERATION_BYTES),
        ] {
            let (ration, bytes) = (Ration::default(), AtomicUsize::new(0));
            let mut passing = pin!(endless(RationedStream::new(Ready(piece), &ration), is_reading, &bytes));
            let mut poll = || {
                assert!(passing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                bytes.swap(0, Ordering::Relaxed)
            };
            assert_eq!(poll(), 0, "nothing passes outside of a call");
            for _ in 0..3 {
                ration.renew();
                assert_eq!(poll(), most, "{is_reading} {piece}");
                assert_eq!(poll(), 0, "a library that polls again gets no more");
            }
        }
    }

    #[test]
    fn exhausted_ration_wakes_the_task() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (ration, bytes) = (Ration::default(), AtomicUsize::new(0));
        let mut passing = Box::pin(endless(RationedStream::new(Ready(usize::MAX), &ration), true, &bytes));
        let mut polls = 0;
        runtime.block_on(std::future::poll_fn(|context| {
            ration.renew();
            polls += 1;
            let polled = passing.as_mut().poll(context);
            if bytes.load(Ordering::Relaxed) > 4 << 20 { Poll::Ready(()) } else { polled }
        }));
        assert_eq!(bytes.load(Ordering::Relaxed), polls * POLL_BYTES, "each poll has the whole ration");
    }
}
