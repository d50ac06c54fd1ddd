//! One request and its whole response on an open connection, within limits.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use http::{Request, response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_rustls::rustls;

use super::error::{ClientError, ClientErrorKind};
use super::metered::{Meter, MeteredStream, Stream};
use super::tls::{find_tls_error, remedy};
use crate::address::Origin;

/// The remedy for a response that is too large.
const CHECK_ADDRESS: &str = "check the address; a receiver responds with a few words";

/// The limits of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The largest head, with the interim responses before it.
    pub(crate) head_bytes: usize,
    /// The most headers.
    pub(crate) headers: usize,
    /// The largest body.
    pub(crate) body_bytes: usize,
    /// How many bytes there may be around the body: sizes of chunks, and trailers.
    pub(crate) framing_bytes: usize,
}

/// A connection to a server, for one request at a time.
pub(crate) struct HttpConnection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Polled with each request, so that it needs no task of its own.
    connection: Pin<Box<http1::Connection<TokioIo<MeteredStream>, Full<Bytes>>>>,
    meter: Arc<Meter>,
    limits: Limits,
    is_open: bool,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) head: response::Parts,
    pub(crate) body: Vec<u8>,
    /// When its first byte was read.
    pub(crate) first_byte: Option<Instant>,
}

/// Why there is no whole response. The connection is no use any more.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    HeadTooLarge,
    TooManyHeaders,
    BodyTooLarge,
    /// The peer closed the connection; whether the response had begun.
    Closed {
        text: String,
        has_begun: bool,
    },
    /// An alert of TLS that came after the handshake: with TLS 1.3 a server rejects a client then.
    Tls(rustls::Error),
    /// It is not HTTP.
    Protocol(String),
}

impl HttpConnection {
    /// A connection by a stream that leads to a server.
    pub(crate) async fn open(stream: Box<dyn Stream>, limits: Limits) -> Result<Self, ExchangeError> {
        let meter = Arc::new(Meter::new());
        meter.begin(limits.head_bytes);
        let metered = TokioIo::new(MeteredStream { stream, meter: Arc::clone(&meter) });
        let handshake =
            http1::Builder::new().max_buf_size(limits.head_bytes).max_headers(limits.headers).handshake(metered);
        let (sender, connection) = handshake.await.map_err(|error| broken(&error, &meter))?;
        Ok(Self { sender, connection: Box::pin(connection), meter, limits, is_open: true })
    }

    /// Whether another request may be sent. It may not when the peer has closed the connection, or has sent more than its response.
    pub(crate) async fn is_ready(&mut self) -> bool {
        // Bytes that came meanwhile are more than a response: nobody has asked.
        self.meter.begin(self.limits.head_bytes);
        if self.is_open {
            self.is_open = poll_fn(|context| Poll::Ready(self.connection.as_mut().poll(context).is_pending())).await;
        }
        self.is_open && self.sender.is_ready() && self.meter.first_byte().is_none()
    }

    /// Sends a request, and reads its response. When that is dropped before, the connection is no use any more.
    pub(crate) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Exchange, ExchangeError> {
        let Self { sender, connection, meter, limits, is_open } = self;
        let meter = &**meter;
        meter.begin(limits.head_bytes);
        let mut response = std::pin::pin!(async {
            let response = tokio::select! {
                biased;
                response = sender.send_request(request) => response.map_err(|error| broken(&error, meter))?,
                // Had these bytes completed the head, the response would be there.
                () = meter.fills() => return Err(ExchangeError::HeadTooLarge),
            };
            meter.complete_head(limits.body_bytes.saturating_add(limits.framing_bytes));
            let (head, body) = response.into_parts();
            let body = tokio::select! {
                biased;
                body = read(body, meter, limits) => body?,
                () = meter.fills() => return Err(ExchangeError::BodyTooLarge),
            };
            Ok(Exchange { head, body, first_byte: meter.first_byte() })
        });
        // The connection must be polled for the response to make progress; its errors are in the response, too.
        loop {
            tokio::select! {
                biased;
                response = &mut response => return response,
                _ended = connection.as_mut(), if *is_open => *is_open = false,
            }
        }
    }
}

/// Reads a body to its end.
async fn read(mut body: Incoming, meter: &Meter, limits: &Limits) -> Result<Vec<u8>, ExchangeError> {
    if body.size_hint().lower() > limits.body_bytes as u64 {
        return Err(ExchangeError::BodyTooLarge);
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error, meter))?;
        // Trailers are ignored.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limits.body_bytes {
            return Err(ExchangeError::BodyTooLarge);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// The error for a response that is missing or incomplete.
fn broken(error: &hyper::Error, meter: &Meter) -> ExchangeError {
    if error.is_parse() && meter.is_head_full() {
        return ExchangeError::HeadTooLarge;
    }
    if error.is_parse_too_large() {
        return ExchangeError::TooManyHeaders;
    }
    if let Some(error) = find_tls_error(error) {
        return ExchangeError::Tls(error.clone());
    }
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    let text = format!("{error}{cause}");
    let is_closed = error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || find_io_error(error).is_some_and(|error| !is_malformed(error));
    let has_begun = meter.first_byte().is_some();
    if is_closed { ExchangeError::Closed { text, has_begun } } else { ExchangeError::Protocol(text) }
}

fn find_io_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Whether the error is one of a decoder, which `hyper` has as errors of the stream.
fn is_malformed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other)
}

impl ExchangeError {
    /// The error of a peer, which has responded within these limits or not.
    pub(super) fn explained(self, peer: &Origin, limits: &Limits) -> ClientError {
        let (kind, text, remedy) = match self {
            Self::HeadTooLarge => {
                let text = format!("the head of the response of {peer} has more than {} bytes", limits.head_bytes);
                (ClientErrorKind::TooLarge, text, CHECK_ADDRESS)
            }
            Self::TooManyHeaders => {
                let text = format!("the response of {peer} has more than {} headers", limits.headers);
                (ClientErrorKind::TooLarge, text, CHECK_ADDRESS)
            }
            Self::BodyTooLarge => {
                let text = format!("the response of {peer} has more than {} bytes", limits.body_bytes);
                (ClientErrorKind::TooLarge, text, CHECK_ADDRESS)
            }
            Self::Closed { text, has_begun } => {
                let part = if has_begun { "within the response" } else { "without a response" };
                let text = format!("{peer} closed the connection {part} ({text})");
                (ClientErrorKind::Closed, text, "check the log of the peer")
            }
            Self::Tls(error) => {
                let remedy = remedy(Some(&error));
                (ClientErrorKind::Tls, format!("no TLS with {peer}: {error}"), remedy)
            }
            Self::Protocol(why) => {
                let text = format!("the response of {peer} is not HTTP/1.1 ({why})");
                (
                    ClientErrorKind::Protocol,
                    text,
                    "check that an HTTP server is at this address, and whether it speaks TLS",
                )
            }
        };
        ClientError::new(kind, text, remedy)
    }
}
