//! A stream that counts the bytes of a response, and ends it where it is too large. `hyper` limits each head, and reads any number of
//! interim ones, and any number of digits of a chunk's size.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream of bytes: TCP, TLS or a unix socket.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The bytes of the response under way. The stream and the one who awaits the response share it, on one thread.
#[derive(Debug)]
pub(crate) struct Meter {
    opened: Instant,
    /// When the first byte was read, in nanoseconds since the stream was opened; 0 for none.
    first_byte_ns: AtomicU64,
    has_head: AtomicBool,
    /// How many bytes may still be read: of the head until it is complete, then of the rest.
    remaining: AtomicUsize,
}

impl Meter {
    pub(super) fn new() -> Self {
        let (has_head, remaining) = (AtomicBool::new(false), AtomicUsize::new(0));
        Self { opened: Instant::now(), first_byte_ns: AtomicU64::new(0), has_head, remaining }
    }

    /// Begins a response, whose head may have so many bytes.
    pub(super) fn begin(&self, head_bytes: usize) {
        self.first_byte_ns.store(0, Ordering::Relaxed);
        self.has_head.store(false, Ordering::Relaxed);
        self.remaining.store(head_bytes, Ordering::Relaxed);
    }

    /// Notes that the head is complete. The rest of the response may have so many bytes.
    pub(super) fn complete_head(&self, rest_bytes: usize) {
        self.has_head.store(true, Ordering::Relaxed);
        self.remaining.store(rest_bytes, Ordering::Relaxed);
    }

    /// When the first byte of the response was read.
    pub(super) fn first_byte(&self) -> Option<Instant> {
        let ns = self.first_byte_ns.load(Ordering::Relaxed);
        (ns > 0).then(|| self.opened + Duration::from_nanos(ns))
    }

    /// Whether the head was to end, and has not.
    pub(super) fn is_head_full(&self) -> bool {
        !self.has_head.load(Ordering::Relaxed) && self.is_full()
    }

    fn is_full(&self) -> bool {
        self.remaining.load(Ordering::Relaxed) == 0
    }

    /// Returns when as many bytes were read as there may be. The stream wakes the task then.
    pub(super) async fn fills(&self) {
        poll_fn(|_| if self.is_full() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    fn count(&self, read: usize) {
        if self.first_byte_ns.load(Ordering::Relaxed) == 0 {
            let ns = u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.first_byte_ns.store(ns.max(1), Ordering::Relaxed);
        }
        let remaining = self.remaining.load(Ordering::Relaxed).saturating_sub(read);
        self.remaining.store(remaining, Ordering::Relaxed);
    }
}

/// A stream with a meter.
pub(super) struct MeteredStream {
    pub(super) stream: Box<dyn Stream>,
    pub(super) meter: Arc<Meter>,
}

impl AsyncRead for MeteredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let remaining = self.meter.remaining.load(Ordering::Relaxed);
        if remaining == 0 {
            return give_way(context);
        }
        let (polled, read) = read_at_most(&mut self.stream, context, buffer, remaining);
        if read > 0 {
            self.meter.count(read);
        }
        polled
    }
}

impl AsyncWrite for MeteredStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    /// Otherwise `hyper` would copy the body behind the head.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Reads no more than so many bytes. Returns how many were read, too.
pub(crate) fn read_at_most(
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
    most: usize,
) -> (Poll<io::Result<()>>, usize) {
    let most = most.min(buffer.remaining());
    let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
    let polled = Pin::new(stream).poll_read(context, &mut part);
    let read = part.filled().len();
    buffer.advance(read);
    (polled, read)
}

/// Ends a poll that could go on: timers, sockets and the other work of the thread come first.
pub(crate) fn give_way<T>(context: &mut Context<'_>) -> Poll<T> {
    // A mere wake would put the task in front of them.
    let _pending = pin!(tokio::task::yield_now()).poll(context);
    Poll::Pending
}
