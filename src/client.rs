//! The HTTP client of the agent: one peer, one connection that is kept, one request at a time. What a peer sends, and how long it takes,
//! is bounded; redirects are not followed. Its parts serve plugins, too, which open a connection for each request. Knows neither sinks
//! nor plugins.

mod error;
mod stage;
mod resolution;
pub(crate) mod dial;
pub(crate) mod tls;
pub(crate) mod tunnel;
pub(crate) mod metered;
pub(crate) mod message;
pub(crate) mod exchange;
mod certificates;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::time::timeout_at;

pub(crate) use self::certificates::report_certificates;
pub(crate) use self::dial::Dialer;
pub(crate) use self::error::{ClientError, ClientErrorKind};
use self::exchange::{Exchange, ExchangeError, HttpConnection, Limits};
use self::message::Route;
use self::metered::Stream;
use self::stage::{Stage, StageCell};
use self::tls::SystemRoots;
use crate::address::{HttpUrl, Scheme};
use crate::config::ClientSettings;
use crate::escape::printable;

/// The limits of a response: receivers answer with a few words.
const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, body_bytes: 64 << 10, framing_bytes: 64 << 10 };

/// The page whose head is asked for: many receivers have it, and the others only say that they do not. `VictoriaMetrics` logs a warning
/// about a request for `/`.
const CLOCK_PATH: &str = "/health";

/// The longest part of an address in an error.
const SHOWN_CHARACTERS: usize = 256;

/// A client of one URL.
pub(crate) struct HttpClient {
    url: HttpUrl,
    settings: Arc<ClientSettings>,
    dialer: Dialer,
    roots: SystemRoots,
    /// None while a request is under way: a request that is given up closes it.
    connection: Option<HttpConnection>,
}

/// A request.
enum Message<'a> {
    /// With these headers, besides those of the settings.
    Post(&'a HeaderMap, Bytes),
    /// For the head of a page, without authorization.
    Head,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct ClientResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl HttpClient {
    /// A client without a connection.
    pub(crate) fn new(url: HttpUrl, settings: Arc<ClientSettings>) -> Self {
        Self { url, settings, dialer: Dialer::default(), roots: SystemRoots::default(), connection: None }
    }

    /// Goes on with other settings. The connection is kept where they have the same peer, proxy and trust. So is a look-up under way: a
    /// resolver that hangs has one thread of a client, not one for each reload.
    pub(crate) fn follow(&mut self, url: HttpUrl, settings: Arc<ClientSettings>) {
        let is_same_peer = self.url.origin == url.origin
            && self.settings.tls == settings.tls
            && self.settings.proxy_for(&url.origin) == settings.proxy_for(&url.origin);
        if !is_same_peer {
            self.connection = None;
        }
        (self.url, self.settings) = (url, settings);
    }

    /// Sends a POST with these headers, besides those of the settings, and reads the whole response. When it is dropped before, the
    /// connection is closed.
    ///
    /// # Errors
    ///
    /// When there is no whole response within this time, or it redirects.
    pub(crate) async fn post(
        &mut self,
        headers: &HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<ClientResponse, ClientError> {
        let response = self.send(&Message::Post(headers, body), timeout).await?;
        if let Some(location) = redirection(response.status, &response.headers) {
            let (origin, status) = (&self.url.origin, response.status.as_u16());
            return Err(ClientError::new(
                ClientErrorKind::Redirect,
                format!("{origin} redirects to {location} (status {status})"),
                "write that address into url, if it is right; redirects are not followed",
            ));
        }
        Ok(response)
    }

    /// Asks the server for the head of a page: any response has the server's time, and none has an effect.
    ///
    /// # Errors
    ///
    /// When there is no response within this time.
    pub(crate) async fn head(&mut self, timeout: Duration) -> Result<ClientResponse, ClientError> {
        self.send(&Message::Head, timeout).await
    }

    async fn send(&mut self, message: &Message<'_>, timeout: Duration) -> Result<ClientResponse, ClientError> {
        let (stage, url) = (StageCell::default(), self.url.clone());
        let until = Instant::now() + timeout;
        let exchange = self.exchange(&url, message, until, &stage);
        let exchanged = timeout_at(until.into(), exchange).await;
        let late = || Err(stage.get().late(&url.origin, timeout));
        let Exchange { head, body, .. } = exchanged.unwrap_or_else(|_elapsed| late())?;
        Ok(ClientResponse { status: head.status, headers: head.headers, body: body.into() })
    }

    /// Sends the request on the connection that is kept, or on a new one. The peer may close a kept connection at the moment at which
    /// the request is sent: then it is sent once more, on a new one.
    async fn exchange(
        &mut self,
        url: &HttpUrl,
        message: &Message<'_>,
        until: Instant,
        stage: &StageCell,
    ) -> Result<Exchange, ClientError> {
        let settings = Arc::clone(&self.settings);
        let route = Route::new(&url.origin, &settings)?;
        let mut kept = self.connection.take();
        let is_ready = match &mut kept {
            Some(kept) => kept.is_ready().await,
            None => false,
        };
        let (mut connection, mut is_kept) = match kept.filter(|_| is_ready) {
            Some(kept) => (kept, true),
            None => (self.open(url, &route, until, stage).await?, false),
        };
        loop {
            stage.set(Stage::Response);
            let request = message.request(url, &route, &settings);
            match connection.exchange(request).await {
                Ok(exchange) => {
                    if exchange.head.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
                        && let Some(proxy) = route.plain_proxy()
                    {
                        return Err(tunnel::unauthorized(proxy));
                    }
                    self.connection = Some(connection);
                    return Ok(exchange);
                }
                Err(ExchangeError::Closed { has_begun: false, .. }) if is_kept => {
                    is_kept = false;
                    connection = self.open(url, &route, until, stage).await?;
                }
                Err(error) => return Err(error.explained(&url.origin, &LIMITS)),
            }
        }
    }

    /// Opens a connection.
    async fn open(
        &mut self,
        HttpUrl { origin, .. }: &HttpUrl,
        route: &Route<'_>,
        until: Instant,
        stage: &StageCell,
    ) -> Result<HttpConnection, ClientError> {
        let first = route.first();
        let stream = self.dialer.connect_in(&first.endpoint, until, stage).await?;
        let mut stream: Box<dyn Stream> = Box::new(stream);
        if first.scheme == Scheme::Https {
            stage.set(Stage::Tls);
            let config = self.roots.config(&self.settings.tls).await?;
            stream = Box::new(tls::handshake(config, &first.endpoint.host, stream, first).await?);
        }
        if let Some(proxy) = route.tunnel() {
            stage.set(Stage::Proxy);
            tunnel::open(&mut stream, proxy, &origin.endpoint).await?;
            stage.set(Stage::Tls);
            let config = self.roots.config(&self.settings.tls).await?;
            stream = Box::new(tls::handshake(config, &origin.endpoint.host, stream, origin).await?);
        }
        let opened = HttpConnection::open(stream, LIMITS).await;
        opened.map_err(|error| error.explained(origin, &LIMITS))
    }
}

impl Message<'_> {
    fn request(&self, url: &HttpUrl, route: &Route<'_>, settings: &ClientSettings) -> Request<Full<Bytes>> {
        let Message::Post(headers, body) = self else {
            let mut request = Request::new(Full::default());
            *request.method_mut() = Method::HEAD;
            route.address(&mut request, &PathAndQuery::from_static(CLOCK_PATH));
            return request;
        };
        let mut all = HeaderMap::clone(headers);
        for (name, value) in &settings.headers {
            all.insert(name, value.clone());
        }
        if let Some(authorization) = &settings.authorization {
            all.insert(AUTHORIZATION, authorization.header().clone());
        }
        all.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        let mut request = Request::new(Full::new(body.clone()));
        (*request.method_mut(), *request.headers_mut()) = (Method::POST, all);
        route.address(&mut request, &url.path);
        request
    }
}

/// Where a response sends the client.
fn redirection(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    if !matches!(status.as_u16(), 301..=303 | 307 | 308) {
        return None;
    }
    let location = headers.get(LOCATION)?;
    let shown: String = String::from_utf8_lossy(location.as_bytes()).chars().take(SHOWN_CHARACTERS).collect();
    Some(printable(&shown))
}
