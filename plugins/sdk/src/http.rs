//! HTTP and HTTPS requests to granted origins and unix sockets. A fetch returns the complete response; redirects are
//! returned, not followed; a status of 500 is a response, not an error.
//!
//! ```
//! use gauged_plugin::testing::{Host, response};
//! use gauged_plugin::{Error, Sample, http};
//!
//! gauged_plugin::metrics! {
//!     module "web";
//!     /// Whether the server returns 200.
//!     UP: gauge "up" in "1";
//!     /// Response time of the server.
//!     RESPONSE: gauge "response_seconds" in "s";
//! }
//!
//! fn measure(sample: &mut Sample) -> Result<(), Error> {
//!     match http::get("http://localhost:8080/status") {
//!         Ok(response) => {
//!             sample.set(UP, response.status == 200);
//!             sample.set(RESPONSE, response.times.total_ns as f64 / 1e9);
//!         }
//!         // A missing grant does not mean that the server is down.
//!         Err(failure) if matches!(failure.error, http::Error::Denied(_)) => return Err(failure.into()),
//!         Err(_) => sample.set(UP, false),
//!     }
//!     Ok(())
//! }
//!
//! let mut host = Host::new();
//! host.http("http://localhost:8080/status", response(200, "fine"));
//! let mut sample = Sample::default();
//! host.run(|| measure(&mut sample))?;
//! assert_eq!(sample.len(), 2);
//! # Ok::<(), Error>(())
//! ```

mod base64;

use crate::bindings::gauged::plugin::http as wire;
pub use crate::bindings::gauged::plugin::http::{Error, Response, Times};
use crate::host::http as host;
use crate::{Capability, Certificate, Need};

/// The agent's own limit of a response's body: 4 MiB.
pub const MAX_BODY_BYTES: u32 = 4 << 20;

/// The version of [`TlsSession`](crate::TlsSession) before the current one.
pub const TLS_1_2: &str = "1.2";

/// The current version of TLS.
pub const TLS_1_3: &str = "1.3";

/// Fetches a URL.
///
/// # Errors
///
/// Those of the WIT; `?` converts them to [`crate::Error`].
pub fn get(url: &str) -> Result<Response, Failure> {
    Request::new("GET", url).send()
}

/// A request with a method, headers, a body or options. [`get`] suffices without these.
///
/// ```
/// use gauged_plugin::http::{Failure, Request};
/// use gauged_plugin::testing::{Host, response};
///
/// fn query() -> Result<String, Failure> {
///     let request = Request::new("POST", "https://db.internal:8086/query").header("authorization", "Token x");
///     Ok(request.body("q=SHOW STATS").timeout_ms(200).max_body_bytes(64 << 10).send()?.text())
/// }
///
/// let mut host = Host::new();
/// host.http("https://db.internal:8086/query", response(200, "queries 12"));
/// assert_eq!(host.run(query)?, "queries 12");
/// assert_eq!((host.requests()[0].method.as_str(), &host.requests()[0].body[..2]), ("POST", &b"q="[..]));
/// # Ok::<(), Failure>(())
/// ```
///
/// By a unix socket, whose grant is for `GET` and `HEAD` unless it names other methods:
///
/// ```
/// use gauged_plugin::http::{Failure, Request};
/// use gauged_plugin::testing::{Host, response};
///
/// fn containers() -> Result<String, Failure> {
///     Ok(Request::new("GET", "http://docker/containers/json").unix_socket("/run/docker.sock").send()?.text())
/// }
///
/// let mut host = Host::new();
/// host.http("unix:/run/docker.sock http://docker/containers/json", response(200, "[]"));
/// assert_eq!(host.run(containers)?, "[]");
/// # Ok::<(), Failure>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "`send` sends the request"]
pub struct Request(wire::Request);

impl Request {
    /// A request without headers, body and options.
    pub fn new(method: &str, url: &str) -> Self {
        Self(wire::Request {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            options: None,
        })
    }

    /// Adds a header. The agent sets `host`, `content-length` and the headers of the connection itself.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.0.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds the header of basic authentication (RFC 7617). A user has no colon.
    ///
    /// ```
    /// use gauged_plugin::http::Request;
    ///
    /// let request = Request::new("GET", "http://db/status").basic_auth("Aladdin", "open sesame");
    /// let header = ("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    /// assert_eq!(request, Request::new("GET", "http://db/status").header(header.0, header.1));
    /// ```
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        let login = [user, ":", password].concat();
        self.header("authorization", &["Basic ", &base64::encode(login.as_bytes())].concat())
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into();
        self
    }

    /// Sets a timeout shorter than the rest of the call's budget, which is the default.
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.options().timeout_ms = Some(timeout_ms);
        self
    }

    /// Limits the body of the response below [`MAX_BODY_BYTES`]; a larger one is the error [`Error::TooLarge`].
    pub fn max_body_bytes(mut self, max_body_bytes: u32) -> Self {
        self.options().max_body_bytes = Some(max_body_bytes);
        self
    }

    /// Connects to the unix socket at this path. The URL has the host to name and the path to ask for.
    pub fn unix_socket(mut self, path: &str) -> Self {
        self.options().unix_socket = Some(path.to_owned());
        self
    }

    /// The grant that it needs: that of its origin, or of its unix socket for its method.
    #[must_use]
    pub fn capability(&self) -> Capability {
        capability(&self.0)
    }

    fn options(&mut self) -> &mut wire::RequestOptions {
        let defaults = wire::RequestOptions { timeout_ms: None, max_body_bytes: None, unix_socket: None };
        self.0.options.get_or_insert(defaults)
    }

    /// Sends the request and waits for the response.
    ///
    /// # Errors
    ///
    /// As [`get`].
    pub fn send(self) -> Result<Response, Failure> {
        host::fetch(&self.0).map_err(|error| Failure { address: address(&self.0), error })
    }
}

/// The unix socket of a request, and its URL.
pub(crate) fn address(request: &wire::Request) -> String {
    match unix_socket(request) {
        Some(path) => ["unix:", path, " ", &request.url].concat(),
        None => request.url.clone(),
    }
}

/// The grant that a request needs.
pub(crate) fn capability(request: &wire::Request) -> Capability {
    match unix_socket(request) {
        Some(path) if Capability::READING.contains(&&*request.method) => {
            Capability::fetch_unix(path, Capability::READING)
        }
        Some(path) => Capability::fetch_unix(path, &[&request.method]),
        None => Capability::fetch(origin(&request.url)),
    }
}

fn unix_socket(request: &wire::Request) -> Option<&str> {
    request.options.as_ref().and_then(|options| options.unix_socket.as_deref())
}

impl Response {
    /// The body as text. Invalid UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first header with this name, ignoring case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Response {
    /// The server's certificate; `None` without TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.tls.as_ref().map(|session| &session.certificate)
    }
}

impl Times {
    /// Receiving the response, from its first byte to its last one, in nanoseconds: what the other phases leave of the total.
    #[must_use]
    pub fn receive_ns(&self) -> u64 {
        let Self { resolve_ns, connect_ns, tls_ns, first_byte_ns, total_ns } = *self;
        let others = [resolve_ns.unwrap_or(0), connect_ns, tls_ns.unwrap_or(0), first_byte_ns];
        others.into_iter().fold(total_ns, u64::saturating_sub)
    }
}

/// A failed request, with its address.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The requested URL, behind the unix socket where there is one: `unix:/run/app.sock http://app/status`.
    pub address: String,
    /// The host's error. A missing grant is that of the request, or of an address which the host of its URL resolves to.
    pub error: Error,
}

/// The scheme, host and port of a URL: the value of a `fetch` grant.
///
/// ```
/// assert_eq!(gauged_plugin::http::origin("http://localhost:8080/status?all"), "http://localhost:8080");
/// ```
#[must_use]
pub fn origin(url: &str) -> &str {
    let mut slashes = 0;
    let ends = |byte: u8| {
        slashes += u32::from(byte == b'/');
        slashes == 3 || (slashes == 2 && matches!(byte, b'?' | b'#'))
    };
    url.bytes().position(ends).and_then(|end| url.get(..end)).unwrap_or(url)
}

/// A missing grant becomes `Denied`. What needs somebody to act becomes `Failed`: a malformed request, one that no grant allows, and a
/// refusal of the operating system. Everything else may pass, so the agent retries at the next tick.
impl From<Failure> for crate::Error {
    fn from(Failure { address, error }: Failure) -> Self {
        match error {
            Error::Denied(capability) => Self::Denied(Need { capability, reason: String::new() }),
            Error::InvalidRequest(why) | Error::Forbidden(why) => Self::Failed(why),
            Error::NotPermitted(error) => Self::Failed(format!("failed to reach {address}: {error}")),
            Error::NotSupported(why) => Self::Failed(format!("failed to reach {address}: {why}")),
            Error::Resolve(why) | Error::Proxy(why) => Self::Unavailable(format!("failed to reach {address}: {why}")),
            Error::NotFound => Self::Unavailable(format!("failed to reach {address}: the socket does not exist")),
            Error::Refused(error) | Error::Unreachable(error) | Error::Io(error) => {
                Self::Unavailable(format!("failed to reach {address}: {error}"))
            }
            Error::Reset(error) => Self::Unavailable(format!("the connection to {address} broke: {error}")),
            Error::Tls(why) => Self::Unavailable(format!("failed to reach {address} over TLS: {why}")),
            Error::TooLarge(limit) => {
                Self::Unavailable(format!("the response of {address} has more than {limit} bytes"))
            }
            Error::Timeout => Self::Unavailable(format!("{address} did not respond in time")),
            Error::Protocol(why) => Self::Unavailable(format!("{address} did not return HTTP: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::response;

    #[test]
    fn failures_map_to_plugin_errors() {
        let failure = |error| crate::Error::from(Failure { address: "http://db/x".to_owned(), error });
        let missing = Capability::fetch("http://127.0.0.1");
        let denied = Need { capability: missing.clone(), reason: String::new() };
        assert_eq!(failure(Error::Denied(missing)), crate::Error::Denied(denied));
        let text = || "as it is".to_owned();
        for error in [Error::InvalidRequest(text()), Error::Forbidden(text()), Error::NotSupported(text())] {
            assert!(matches!(failure(error), crate::Error::Failed(why) if why.contains("as it is")));
        }
        let timeout = crate::Error::Unavailable("http://db/x did not respond in time".to_owned());
        assert_eq!(failure(Error::Timeout), timeout);
        assert!(matches!(failure(Error::NotFound), crate::Error::Unavailable(why) if why.contains("does not exist")));
    }

    #[test]
    fn request_has_an_address_and_a_capability() {
        let of = |request: Request| (address(&request.0), request.capability().target);
        for (url, origin) in [
            ("http://localhost:8080/status?x=1", "http://localhost:8080"),
            ("https://example.org?x", "https://example.org"),
            ("https://example.org", "https://example.org"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(of(Request::new("POST", url)), (url.to_owned(), origin.to_owned()));
        }
        for (method, target) in
            [("GET", "unix:/run/a.sock"), ("HEAD", "unix:/run/a.sock"), ("PUT", "unix:/run/a.sock PUT")]
        {
            let request = Request::new(method, "http://a/b").unix_socket("/run/a.sock");
            assert_eq!(of(request), ("unix:/run/a.sock http://a/b".to_owned(), target.to_owned()));
        }
    }

    #[test]
    fn response_text_and_headers_are_lenient() {
        let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
        let response = Response { headers, ..response(200, b"a\xff".to_vec()) };
        assert_eq!(response.text(), "a\u{fffd}");
        assert_eq!(response.header("Content-Type"), Some("text/plain"));
        assert_eq!(response.header("content"), None);
        assert_eq!(response.certificate(), None);
    }

    #[test]
    fn receiving_is_the_rest_of_the_total() {
        let times = Times { resolve_ns: Some(1), connect_ns: 2, tls_ns: Some(3), first_byte_ns: 4, total_ns: 15 };
        assert_eq!(times.receive_ns(), 5);
        assert_eq!(Times { resolve_ns: None, tls_ns: None, ..times }.receive_ns(), 9);
        assert_eq!(Times { connect_ns: u64::MAX, ..times }.receive_ns(), 0);
    }

    #[test]
    fn request_builder_sets_every_field() {
        let request = Request::new("POST", "http://x").header("a", "b").header("a", "c").body("d");
        let mut expected = wire::Request {
            method: "POST".to_owned(),
            url: "http://x".to_owned(),
            headers: vec![("a".to_owned(), "b".to_owned()), ("a".to_owned(), "c".to_owned())],
            body: b"d".to_vec(),
            options: None,
        };
        assert_eq!(request, Request(expected.clone()));
        let request = request.timeout_ms(5).max_body_bytes(6).unix_socket("/run/x.sock");
        let unix_socket = Some("/run/x.sock".to_owned());
        expected.options = Some(wire::RequestOptions { timeout_ms: Some(5), max_body_bytes: Some(6), unix_socket });
        assert_eq!(request, Request(expected));
    }
}
