//! The capability `http`: one request to a granted origin, over a connection of its own, and the whole response. Redirects are
//! returned, not followed. A guest cannot set the headers of the connection (`host`, `content-length`, `connection` …), so
//! that the server reads exactly one request, the granted one.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use crate::address::{Endpoint, Origin, Scheme};
use crate::escape::printable;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::{Denial, Grant, GrantKind};
use crate::plugin::guest::bindings::gauged::plugin::http::{Error, Host, Request, Response};
use crate::plugin::host::connection::Stream;
use crate::plugin::host::dial::{Unreachable, dial};
use crate::plugin::host::ration::{Ration, give_way, read_at_most};
use crate::plugin::host::state::HostState;
use crate::plugin::host::tls;

/// The largest body of a response: the metrics of a large exporter. It has to fit into the guest's memory, too.
const BODY_BYTES: usize = 4 << 20;

/// The largest head of a response, with all its headers and the interim responses before it: eight times the limit of most servers.
const HEAD_BYTES: usize = 64 << 10;

/// The most headers of a response or a request: the limit of most servers.
const HEADERS: usize = 100;

/// The largest body of a request: a collector asks, it does not upload.
const REQUEST_BODY_BYTES: usize = 1 << 20;

/// The largest URL with all headers of a request: the limit of most servers.
const REQUEST_HEAD_BYTES: usize = 16 << 10;

/// How many requests of all plugins are under way at a time; others wait. An eighth of the 1,024 files that a process may have
/// open by default, and a bound on the bodies in memory.
static PERMITS: Semaphore = Semaphore::const_new(128);

/// Headers of the connection, which the agent sets.
const RESERVED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Host for HostState {
    async fn fetch(&mut self, request: Request) -> Result<Response, Error> {
        let started = Instant::now();
        let until = self.until(request.timeout_ms.map(|ms| Duration::from_millis(ms.into())));
        let (origin, path) = Origin::from_url(&request.url)
            .map_err(|why| Error::InvalidRequest(format!("the URL \"{}\" {why}", printable(&request.url))))?;
        if !self.plugin.grants.network().fetch(&origin) {
            return Err(Error::Denied(
                self.plugin.deny(Denial::Missing(Grant::new(GrantKind::Fetch, &origin.to_string()))),
            ));
        }
        let message = message(request, &origin, path).map_err(Error::InvalidRequest)?;
        // A connection attempt has an effect at once, so it must not begin after the deadline.
        if started >= until {
            return Err(Error::Timeout);
        }
        let exchange = exchange(&self.plugin, &self.ration, &origin, message, started, until);
        timeout_at(until.into(), exchange).await.unwrap_or(Err(Error::Timeout))
    }
}

/// Makes a message of a guest's request, or returns the error in it.
fn message(request: Request, origin: &Origin, path: PathAndQuery) -> Result<http::Request<Full<Bytes>>, String> {
    let Request { method, headers, body, .. } = request;
    let method = match Method::from_bytes(method.as_bytes()) {
        Ok(Method::CONNECT) => return Err("the method CONNECT is for proxies; use net.connect".to_owned()),
        Ok(method) => method,
        Err(_) => return Err(format!("\"{}\" is not a method; write it like GET", printable(&method))),
    };
    if body.len() > REQUEST_BODY_BYTES {
        return Err(format!("the body is larger than {REQUEST_BODY_BYTES} bytes"));
    }
    let head_bytes = path.as_str().len() + headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if headers.len() > HEADERS || head_bytes > REQUEST_HEAD_BYTES {
        return Err(format!(
            "there are more than {HEADERS} headers, or {REQUEST_HEAD_BYTES} bytes of them and the URL"
        ));
    }
    let mut checked = HeaderMap::new();
    for (name, value) in headers {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("\"{}\" is not a header's name", printable(&name)))?;
        if RESERVED.contains(&header.as_str()) {
            return Err(format!("the header {header} is the agent's to set; leave it out"));
        }
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("the value of the header {header} has control characters: {}", printable(&value)))?;
        checked.append(header, value);
    }
    let authority = HeaderValue::try_from(origin.authority()).map_err(|error| error.to_string())?;
    checked.insert(HOST, authority);
    checked.insert(CONNECTION, HeaderValue::from_static("close"));
    let agent = HeaderValue::from_static(concat!("gauged/", env!("CARGO_PKG_VERSION")));
    checked.entry(USER_AGENT).or_insert(agent);
    let mut message = http::Request::new(Full::new(Bytes::from(body)));
    *message.method_mut() = method;
    *message.uri_mut() = Uri::from(path);
    *message.headers_mut() = checked;
    Ok(message)
}

async fn exchange(
    plugin: &PluginContext,
    ration: &Ration,
    origin: &Origin,
    message: http::Request<Full<Bytes>>,
    started: Instant,
    until: Instant,
) -> Result<Response, Error> {
    // The semaphore is never closed.
    let _permit = PERMITS.acquire().await;
    let (stream, certificate_not_after) = open(plugin, ration, origin, until).await?;
    let connect_ns = nanoseconds(started.elapsed());
    let meter = Arc::new(Meter::default());
    let metered = TokioIo::new(MeteredStream { stream, meter: Arc::clone(&meter) });

    let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES).max_headers(HEADERS).handshake(metered).await;
    let (mut sender, connection) = handshake.map_err(|error| broken(&error, &meter))?;
    let mut connection = pin!(connection);
    let mut response = pin!(async {
        let response = tokio::select! {
            biased;
            response = sender.send_request(message) => response.map_err(|error| broken(&error, &meter))?,
            // Had these bytes completed the head, the response would be there.
            () = meter.fills_with_head() => return Err(Error::TooLarge(HEAD_BYTES as u64)),
        };
        meter.has_head.store(true, Ordering::Relaxed);
        let (head, body) = response.into_parts();
        Ok((head, read(body, &meter).await?))
    });
    // The connection must be polled for the response to make progress; its errors are in the response, too.
    let mut is_open = true;
    let (head, body) = loop {
        tokio::select! {
            biased;
            response = &mut response => break response?,
            _ended = &mut connection, if is_open => is_open = false,
        }
    };
    let first_byte = meter.first_byte.get().map_or_else(|| started.elapsed(), |&at| at - started);
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Response {
        status: head.status.as_u16(),
        headers: head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        body,
        connect_ns,
        first_byte_ns: nanoseconds(first_byte),
        total_ns: nanoseconds(started.elapsed()),
        certificate_not_after,
    })
}

/// Connects to a granted origin. Returns the expiry of its certificate, too.
async fn open(
    plugin: &PluginContext,
    ration: &Ration,
    origin: &Origin,
    until: Instant,
) -> Result<(Box<dyn Stream>, Option<u64>), Error> {
    let network = plugin.grants.network();
    let origin_at = |endpoint: &Endpoint| Origin { scheme: origin.scheme, endpoint: endpoint.clone() };
    let dialled = dial(plugin, &origin.endpoint, until, ration, |endpoint| network.fetch(&origin_at(endpoint))).await;
    let stream = dialled.map_err(|unreachable| match unreachable {
        Unreachable::Denied(endpoint) => {
            Error::Denied(plugin.deny(Denial::Missing(Grant::new(GrantKind::Fetch, &origin_at(&endpoint).to_string()))))
        }
        Unreachable::Resolve(why) => Error::Resolve(why),
        Unreachable::NotPermitted(error) => Error::Connect(io::Error::from(error).to_string()),
        Unreachable::Connect(why) => Error::Connect(why),
        Unreachable::Timeout => Error::Timeout,
    })?;
    if origin.scheme == Scheme::Http {
        return Ok((Box::new(stream), None));
    }
    match tls::secure(plugin, &origin.endpoint.host, stream, until).await {
        Ok(stream) => {
            let not_after = tls::not_after(&stream);
            Ok((Box::new(stream), not_after))
        }
        Err(tls::TlsError::Untrusted(why)) => Err(Error::Tls(why)),
        Err(tls::TlsError::Timeout) => Err(Error::Timeout),
    }
}

/// Reads a body to its end.
async fn read(mut body: Incoming, meter: &Meter) -> Result<Vec<u8>, Error> {
    let too_large = || Error::TooLarge(BODY_BYTES as u64);
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error, meter))?;
        // Trailers are ignored.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > BODY_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// The error for a response that is missing or incomplete.
fn broken(error: &hyper::Error, meter: &Meter) -> Error {
    if error.is_parse() && meter.head_remaining() == Some(0) {
        return Error::TooLarge(HEAD_BYTES as u64);
    }
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Error::Protocol(format!("{error}{cause}"))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The time of the first byte read from a stream, and the number of bytes until the head of the response is complete.
#[derive(Default)]
struct Meter {
    first_byte: OnceLock<Instant>,
    head_bytes: AtomicUsize,
    has_head: AtomicBool,
}

impl Meter {
    /// How many bytes the head may still have; none once it is complete.
    fn head_remaining(&self) -> Option<usize> {
        let remaining = HEAD_BYTES.saturating_sub(self.head_bytes.load(Ordering::Relaxed));
        (!self.has_head.load(Ordering::Relaxed)).then_some(remaining)
    }

    /// Returns when as many bytes were read as the head may have. The stream wakes the task then.
    async fn fills_with_head(&self) {
        poll_fn(|_| if self.head_remaining() == Some(0) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// A stream that meters its reads, and ends them where the head of the response is too large. `hyper` limits each head, and
/// reads any number of interim ones.
struct MeteredStream {
    stream: Box<dyn Stream>,
    meter: Arc<Meter>,
}

impl AsyncRead for MeteredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let remaining = self.meter.head_remaining();
        if remaining == Some(0) {
            return give_way(context);
        }
        let (polled, read) = read_at_most(&mut self.stream, context, buffer, remaining.unwrap_or(usize::MAX));
        if read > 0 {
            self.meter.first_byte.get_or_init(Instant::now);
            if remaining.is_some() {
                self.meter.head_bytes.fetch_add(read, Ordering::Relaxed);
            }
        }
        polled
    }
}

impl AsyncWrite for MeteredStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
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
    use super::*;

    fn made(method: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<http::Request<Full<Bytes>>, String> {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let url = "http://Host:80/path?query".to_owned();
        let (origin, path) = Origin::from_url(&url).expect("a URL");
        let (method, body) = (method.to_owned(), body.to_owned());
        message(Request { method, url, headers, body, timeout_ms: None }, &origin, path)
    }

    #[test]
    fn a_message_is_made_of_the_request() {
        let made = made("PURGE", &[("X-Key", "a"), ("x-key", "b"), ("user-agent", "me")], b"").expect("right");
        assert_eq!((made.method().as_str(), made.uri().to_string()), ("PURGE", "/path?query".to_owned()));
        let header = |name| -> Vec<&str> {
            made.headers().get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
        };
        assert_eq!(header("x-key"), ["a", "b"]);
        assert_eq!(header("host"), ["host"]);
        assert_eq!(header("user-agent"), ["me"]);
        assert_eq!(header("connection"), ["close"]);
    }

    #[test]
    fn requests_cannot_be_smuggled_into_a_message() {
        for method in ["", "GET /", "GET\r\n", "G\0T", "GÉT", "CONNECT"] {
            assert!(made(method, &[], b"").is_err(), "{method:?}");
        }
        for name in RESERVED.into_iter().chain(["Host", "TRANSFER-ENCODING", "", "a b", "a:", "a\r\nb", "ä", ":path"])
        {
            assert!(made("GET", &[(name, "x")], b"").is_err(), "{name:?}");
        }
        for value in ["a\r\nb: c", "a\nb", "a\0", "\u{7f}"] {
            assert!(made("GET", &[("x", value)], b"").is_err(), "{value:?}");
        }
        assert!(made("GET", &[("x", &"x".repeat(REQUEST_HEAD_BYTES))], b"").is_err());
        assert!(made("GET", &[("x", "x"); HEADERS + 1], b"").is_err());
        assert!(made("POST", &[], &vec![0; REQUEST_BODY_BYTES]).is_ok());
        assert!(made("POST", &[], &vec![0; REQUEST_BODY_BYTES + 1]).is_err());
    }
}
