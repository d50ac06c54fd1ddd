//! The capability `http`: one request to a granted origin, over a connection of its own, and the whole response. Redirects are
//! returned, not followed. A guest cannot set the headers of the connection (`host`, `content-length`, `connection` …), so
//! that the server reads exactly one request, the granted one.

use std::io;
use std::time::{Duration, Instant};

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use crate::address::{Endpoint, Origin, Scheme};
use crate::client::exchange::{Exchange, ExchangeError, HttpConnection, Limits};
use crate::client::message::Route;
use crate::client::metered::Stream;
use crate::client::{ClientError, tunnel};
use crate::config::ClientTls;
use crate::escape::printable;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::{Grant, GrantKind};
use crate::plugin::guest::bindings::gauged::plugin::http::{Error, Host, Request, Response};
use crate::plugin::host::dial::{ConnectError, FIREWALL_REMEDY, Unreachable, dial};
use crate::plugin::host::os_error;
use crate::plugin::host::ration::{Ration, RationedStream};
use crate::plugin::host::state::HostState;
use crate::plugin::host::tls;

/// The limits of a response. A body may be the metrics of a large exporter, and has to fit into the guest's memory, too. A head may be
/// eight times as large as most servers limit it to. What is around the body costs the guest's time only.
const LIMITS: Limits =
    Limits { head_bytes: 64 << 10, headers: HEADERS, body_bytes: 4 << 20, framing_bytes: usize::MAX };

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
            return Err(denied(&self.plugin, &origin));
        }
        let message = message(request, &path).map_err(Error::InvalidRequest)?;
        // A connection attempt has an effect at once, so it must not begin after the deadline.
        if started >= until {
            return Err(Error::Timeout);
        }
        let exchange = exchange(&self.plugin, &self.ration, (&origin, &path), message, started, until);
        timeout_at(until.into(), exchange).await.unwrap_or(Err(Error::Timeout))
    }
}

/// Makes a message of a guest's request, or returns the error in it. Its server is written into it later, since the way may lead
/// through a proxy.
fn message(request: Request, path: &PathAndQuery) -> Result<http::Request<Full<Bytes>>, String> {
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
    checked.insert(CONNECTION, HeaderValue::from_static("close"));
    let mut message = http::Request::new(Full::new(Bytes::from(body)));
    *message.method_mut() = method;
    *message.headers_mut() = checked;
    Ok(message)
}

async fn exchange(
    plugin: &PluginContext,
    ration: &Ration,
    (origin, path): (&Origin, &PathAndQuery),
    mut message: http::Request<Full<Bytes>>,
    started: Instant,
    until: Instant,
) -> Result<Response, Error> {
    // The semaphore is never closed.
    let _permit = PERMITS.acquire().await;
    let settings = plugin.client.get();
    let route = Route::new(origin, &settings).map_err(|error| unproxied(&error))?;
    let (stream, certificate_not_after) = open(plugin, ration, (origin, &route, &settings.tls), until).await?;
    let connect_ns = nanoseconds(started.elapsed());
    route.address(&mut message, path);
    let mut connection = HttpConnection::open(stream, LIMITS).await.map_err(broken)?;
    let Exchange { head, body, first_byte } = connection.exchange(message).await.map_err(broken)?;
    if let (Some(proxy), StatusCode::PROXY_AUTHENTICATION_REQUIRED) = (route.plain_proxy(), head.status) {
        return Err(unproxied(&tunnel::unauthorized(proxy)));
    }
    let first_byte = first_byte.map_or_else(|| started.elapsed(), |at| at.saturating_duration_since(started));
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

/// Connects to a granted origin, or to the operator's proxy, which resolves the origin's name. Returns the expiry of the origin's
/// certificate, too.
async fn open(
    plugin: &PluginContext,
    ration: &Ration,
    (origin, route, settings): (&Origin, &Route<'_>, &ClientTls),
    until: Instant,
) -> Result<(Box<dyn Stream>, Option<u64>), Error> {
    let Some(proxy) = route.proxy() else {
        let stream = connect(plugin, ration, origin, until).await?;
        return secure(plugin, settings, origin, Box::new(stream), until).await;
    };
    let dialled = dial(plugin, &proxy.origin.endpoint, until, ration, |_| true).await;
    let failed = |why: &str| Error::Proxy(format!("no connection to the proxy {proxy}: {why}"));
    let stream = dialled.map_err(|unreachable| match unreachable {
        Unreachable::Resolve(why) => failed(&why),
        Unreachable::Connect(error) => failed(&os_error::from_io(&error).text),
        // Impossible: it needs no grant.
        Unreachable::Denied(endpoint) => failed(&format!("{endpoint} is not granted")),
        Unreachable::Timeout => Error::Timeout,
    })?;
    let (mut stream, _) = secure(plugin, settings, &proxy.origin, Box::new(stream), until).await?;
    if route.tunnel().is_none() {
        return Ok((stream, None));
    }
    tunnel::open(&mut stream, proxy, &origin.endpoint).await.map_err(|error| unproxied(&error))?;
    secure(plugin, settings, origin, stream, until).await
}

/// Connects to a granted origin.
async fn connect(
    plugin: &PluginContext,
    ration: &Ration,
    origin: &Origin,
    until: Instant,
) -> Result<RationedStream<TcpStream>, Error> {
    let network = plugin.grants.network();
    let origin_at = |endpoint: &Endpoint| Origin { scheme: origin.scheme, endpoint: endpoint.clone() };
    let dialled = dial(plugin, &origin.endpoint, until, ration, |endpoint| network.fetch(&origin_at(endpoint))).await;
    dialled.map_err(|unreachable| match unreachable {
        Unreachable::Denied(endpoint) => denied(plugin, &origin_at(&endpoint)),
        Unreachable::Resolve(why) => Error::Resolve(why),
        Unreachable::Connect(error) => unconnected(&error),
        Unreachable::Timeout => Error::Timeout,
    })
}

/// The error of a request to an origin that is not granted.
fn denied(plugin: &PluginContext, origin: &Origin) -> Error {
    Error::Denied(plugin.deny_without(Grant::new(GrantKind::Fetch, &origin.to_string())))
}

/// The error of a connection that was not made.
fn unconnected(error: &io::Error) -> Error {
    match ConnectError::new(error, FIREWALL_REMEDY) {
        ConnectError::NotPermitted(error) => Error::NotPermitted(error),
        ConnectError::Refused(error) => Error::Refused(error),
        ConnectError::Unreachable(error) => Error::Unreachable(error),
        ConnectError::Reset(error) => Error::Reset(error),
        ConnectError::Timeout => Error::Timeout,
        ConnectError::Io(error) => Error::Io(error),
    }
}

/// Encrypts a stream to a server where its scheme asks for that.
async fn secure(
    plugin: &PluginContext,
    settings: &ClientTls,
    server: &Origin,
    stream: Box<dyn Stream>,
    until: Instant,
) -> Result<(Box<dyn Stream>, Option<u64>), Error> {
    if server.scheme == Scheme::Http {
        return Ok((stream, None));
    }
    match tls::secure(plugin, settings, &server.endpoint.host, stream, until).await {
        Ok(stream) => {
            let not_after = tls::not_after(&stream);
            Ok((Box::new(stream), not_after))
        }
        Err(tls::TlsError::Untrusted(why)) => Err(Error::Tls(why)),
        Err(tls::TlsError::Timeout) => Err(Error::Timeout),
    }
}

/// The error for a response that is missing or incomplete.
fn broken(error: ExchangeError) -> Error {
    match error {
        ExchangeError::HeadTooLarge => Error::TooLarge(LIMITS.head_bytes as u64),
        ExchangeError::TooManyHeaders => Error::Protocol(format!("the response has more than {HEADERS} headers")),
        ExchangeError::BodyTooLarge => Error::TooLarge(LIMITS.body_bytes as u64),
        ExchangeError::Tls(error) => Error::Tls(error.to_string()),
        ExchangeError::Closed { text, .. } | ExchangeError::Protocol(text) => Error::Protocol(text),
    }
}

/// The error of a proxy.
fn unproxied(ClientError { text, remedy, .. }: &ClientError) -> Error {
    Error::Proxy(format!("{text}; {remedy}"))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClientSettings;

    fn made(method: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<http::Request<Full<Bytes>>, String> {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let url = "http://Host:80/path?query".to_owned();
        let (origin, path) = Origin::from_url(&url).expect("a URL");
        let (method, body) = (method.to_owned(), body.to_owned());
        let mut made = message(Request { method, url, headers, body, timeout_ms: None }, &path)?;
        let settings = ClientSettings::default();
        Route::new(&origin, &settings).map_err(|error| error.text)?.address(&mut made, &path);
        Ok(made)
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
