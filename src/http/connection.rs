//! One connection: a stream whose activity is noted, driven until its peer is done, takes too long, or has to make room.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep_until;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::limits::STREAM_UNSENT;

/// A stream of bytes to a peer.
pub(super) trait Stream: AsyncRead + AsyncWrite {
    /// The socket below.
    fn socket(&self) -> SockRef<'_>;
}

impl Stream for TcpStream {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}

impl Stream for UnixStream {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}

impl Stream for TlsStream<TcpStream> {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.get_ref().0)
    }
}

/// A stream whose activity is noted. All kinds are one type: the code for HTTP is there once.
pub(super) struct WatchedStream {
    stream: Pin<Box<dyn Stream>>,
    activity: Rc<Activity>,
    /// Whether the kernel keeps only a little of what the peer does not read.
    is_shallow: bool,
}

impl WatchedStream {
    pub(super) fn new(stream: impl Stream + 'static, activity: &Rc<Activity>) -> Self {
        Self { stream: Box::pin(stream), activity: Rc::clone(activity), is_shallow: false }
    }

    /// Has the kernel keep only a little for the peer of an event stream: it would get old events otherwise.
    fn make_shallow(&mut self) {
        if self.activity.is_streaming() && !std::mem::replace(&mut self.is_shallow, true) {
            let socket = self.stream.socket();
            // A unix socket has only the second one. With neither events are older.
            let set = socket.set_tcp_notsent_lowat(STREAM_UNSENT);
            let _ = set.or_else(|_| socket.set_send_buffer_size(STREAM_UNSENT as usize));
        }
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        ready!(self.stream.as_mut().poll_read(cx, to))?;
        if to.filled().len() > before {
            self.activity.received(Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.make_shallow();
        let written = self.stream.as_mut().poll_write(cx, bytes);
        self.activity.written(written.is_pending(), Instant::now());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.make_shallow();
        let written = self.stream.as_mut().poll_write_vectored(cx, slices);
        self.activity.written(written.is_pending(), Instant::now());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.stream.as_mut().poll_flush(cx);
        self.activity.written(flushed.is_pending(), Instant::now());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }
}

/// How the work on a connection ended.
#[derive(Debug)]
pub(super) enum Ended<T> {
    Done(T),
    /// It took longer than its phase allows.
    Late,
    /// It had to make room.
    Displaced,
}

/// Drives the work on a connection within the limits of its activity.
pub(super) async fn drive<T>(activity: &Activity, work: impl Future<Output = T>) -> Ended<T> {
    let mut work = pin!(work);
    let mut timer = pin!(sleep_until(tokio::time::Instant::now()));
    poll_fn(|cx| {
        activity.watch(cx.waker());
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ended::Done(done));
        }
        if activity.is_displaced() {
            return Poll::Ready(Ended::Displaced);
        }
        activity.settle(Instant::now());
        let Some(deadline) = activity.deadline().map(tokio::time::Instant::from_std) else { return Poll::Pending };
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Ended::Late)
    })
    .await
}
