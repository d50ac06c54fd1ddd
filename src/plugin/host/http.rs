//! The capability `http`: one request to a granted origin or unix socket, over a connection of its own, and the whole response.
//! Redirects are returned, not followed. A guest cannot set the headers of the connection (`host`, `content-length`, `connection` …),
//! so that the server reads exactly one request, the granted one. Nor can it set what it trusts or shows: that is the operator's.

mod connecting;
mod scripted;

use std::time::{Duration, Instant};

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use self::connecting::{Opened, connect, connect_socket, denied, unproxied};
use crate::address::fetch_grant::FetchGrant;
use crate::address::{Address, Origin};
use crate::client::exchange::{Exchange, ExchangeError, HttpConnection, Limits};
use crate::client::message::Route;
use crate::client::tls::remedy;
use crate::client::tunnel;
use crate::config::ClientSettings;
use crate::escape::printable;
use crate::plugin::context::PluginContext;
use crate::plugin::guest::bindings::gauged::plugin::http::{Error, Host, Request, RequestOptions, Response, Times};
use crate::plugin::host::ration::Ration;
use crate::plugin::host::state::HostState;

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

/// The target of a request.
struct Target {
    origin: Origin,
    path: PathAndQuery,
    /// The unix socket that leads to the origin.
    socket: Option<String>,
}

impl Host for HostState {
    async fn fetch(&mut self, request: Request) -> Result<Response, Error> {
        let called = Instant::now();
        let defaults = RequestOptions { timeout_ms: None, max_body_bytes: None, unix_socket: None };
        let options = request.options.clone().unwrap_or(defaults);
        let until = self.until(options.timeout_ms.map(|ms| Duration::from_millis(ms.into())));
        let (origin, path) = Origin::from_url(&request.url)
            .map_err(|why| Error::InvalidRequest(format!("the URL \"{}\" {why}", printable(&request.url))))?;
        // The grants to unix sockets are compared when the path is resolved.
        if options.unix_socket.is_none() && !self.plugin.grants.network().fetch(&origin) {
            return Err(denied(&self.plugin, &origin));
        }
        if options.unix_socket.is_some() && !FetchGrant::is_name(&request.method) {
            let method = printable(&request.method);
            return Err(Error::InvalidRequest(format!("no grant can name the method \"{method}\"; write it like GET")));
        }
        let message = message(request, &path).map_err(Error::InvalidRequest)?;
        // A connection attempt has an effect at once, so it must not begin after the deadline.
        if called >= until {
            return Err(Error::Timeout);
        }
        let target = Target { origin, path, socket: options.unix_socket };
        let body_bytes = options.max_body_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let limits =
            Limits { body_bytes: body_bytes.map_or(LIMITS.body_bytes, |own| own.min(LIMITS.body_bytes)), ..LIMITS };
        let exchange = exchange(&self.plugin, &self.ration, &target, message, limits, until);
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
    target: &Target,
    mut message: http::Request<Full<Bytes>>,
    limits: Limits,
    until: Instant,
) -> Result<Response, Error> {
    // The semaphore is never closed.
    let _permit = PERMITS.acquire().await;
    let started = Instant::now();
    let settings = plugin.client.get(&plugin.name);
    // No proxy leads to a unix socket, or to a server of a script.
    let direct = ClientSettings::default();
    let is_direct = target.socket.is_some() || plugin.script.is_some();
    let settings_of_route = if is_direct { &direct } else { &*settings };
    let route = Route::new(&target.origin, settings_of_route).map_err(|error| unproxied(&error))?;
    let connected = match &target.socket {
        Some(path) => {
            let socket = (&**path, message.method());
            connect_socket(plugin, ration, socket, (&target.origin, &settings.tls), until).await?
        }
        None => connect(plugin, ration, (&target.origin, &route, &settings.tls), until).await?,
    };
    let Opened { stream, remote, tls, resolved, connected, secured } = connected;
    route.address(&mut message, &target.path);
    let mut connection = HttpConnection::open(stream, limits).await.map_err(|error| broken(error, &limits))?;
    let exchanged = connection.exchange(message).await;
    let Exchange { head, body, first_byte } = exchanged.map_err(|error| broken(error, &limits))?;
    if let (Some(proxy), StatusCode::PROXY_AUTHENTICATION_REQUIRED) = (route.plain_proxy(), head.status) {
        return Err(unproxied(&tunnel::unauthorized(proxy)));
    }
    // No guest asks for that: what follows would not be HTTP.
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::Protocol("the server switched to another protocol unasked (status 101)".to_owned()));
    }
    let ended = Instant::now();
    let sent = secured.unwrap_or(connected);
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut response = Response {
        status: head.status.as_u16(),
        headers: head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        body,
        times: Times {
            resolve_ns: resolved.map(|resolved| nanoseconds(started, resolved)),
            connect_ns: nanoseconds(resolved.unwrap_or(started), connected),
            tls_ns: secured.map(|secured| nanoseconds(connected, secured)),
            first_byte_ns: nanoseconds(sent, first_byte.unwrap_or(ended)),
            total_ns: nanoseconds(started, ended),
        },
        remote_address: remote,
        tls,
    };
    if let Some(script) = &plugin.script {
        let socket = target.socket.as_ref().map(|path| Address::Unix(path.clone()).to_string());
        if let Some(facts) = script.facts(&target.origin, socket.as_deref(), target.path.as_str()) {
            scripted::apply(facts, &mut response);
        }
    }
    Ok(response)
}

/// The error for a response that is missing or incomplete.
fn broken(error: ExchangeError, limits: &Limits) -> Error {
    match error {
        ExchangeError::HeadTooLarge => Error::TooLarge(limits.head_bytes as u64),
        ExchangeError::TooManyHeaders => Error::Protocol(format!("the response has more than {HEADERS} headers")),
        ExchangeError::BodyTooLarge => Error::TooLarge(limits.body_bytes as u64),
        ExchangeError::Tls(error) => Error::Tls(format!("{error}; {}", remedy(Some(&error)))),
        ExchangeError::Closed { text, .. } | ExchangeError::Protocol(text) => Error::Protocol(text),
    }
}

/// The time from one moment to a later one.
fn nanoseconds(from: Instant, to: Instant) -> u64 {
    scripted::nanoseconds(to.saturating_duration_since(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(method: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<http::Request<Full<Bytes>>, String> {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let url = "http://Host:80/path?query".to_owned();
        let (origin, path) = Origin::from_url(&url).expect("a URL");
        let (method, body) = (method.to_owned(), body.to_owned());
        let mut made = message(Request { method, url, headers, body, options: None }, &path)?;
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
