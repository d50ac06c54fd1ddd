//! HTTP and HTTPS requests to granted origins. A fetch returns the complete response; redirects are returned, not
//! followed; a status of 500 is a response, not an error.
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
//!             sample.set(RESPONSE, response.total_ns as f64 / 1e9);
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

use crate::bindings::gauged::plugin::http as wire;
pub use crate::bindings::gauged::plugin::http::{Error, Response};
use crate::host::http as host;
use crate::{Capability, Need};

/// Fetches a URL.
///
/// # Errors
///
/// Those of the WIT; `?` converts them to [`crate::Error`].
pub fn get(url: &str) -> Result<Response, Failure> {
    Request::new("GET", url).send()
}

/// A request with a method, headers, a body or a timeout. [`get`] suffices without these.
///
/// ```
/// use gauged_plugin::http::{Failure, Request};
/// use gauged_plugin::testing::{Host, response};
///
/// fn query() -> Result<String, Failure> {
///     let request = Request::new("POST", "https://db.internal:8086/query").header("authorization", "Token x");
///     Ok(request.body("q=SHOW STATS").timeout_ms(200).send()?.text())
/// }
///
/// let mut host = Host::new();
/// host.http("https://db.internal:8086/query", response(200, "queries 12"));
/// assert_eq!(host.run(query)?, "queries 12");
/// assert_eq!((host.requests()[0].method.as_str(), &host.requests()[0].body[..2]), ("POST", &b"q="[..]));
/// # Ok::<(), Failure>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "`send` sends the request"]
pub struct Request(wire::Request);

impl Request {
    /// A request without headers and body. The default timeout is the rest of the call's budget.
    pub fn new(method: &str, url: &str) -> Self {
        Self(wire::Request {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
        })
    }

    /// Adds a header. The agent sets `host`, `content-length` and the headers of the connection itself.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.0.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into();
        self
    }

    /// Sets a timeout shorter than the rest of the call's budget.
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.0.timeout_ms = Some(timeout_ms);
        self
    }

    /// Sends the request and waits for the response.
    ///
    /// # Errors
    ///
    /// As [`get`].
    pub fn send(self) -> Result<Response, Failure> {
        host::fetch(&self.0).map_err(|error| Failure { url: self.0.url, error })
    }
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

/// A failed request, with its URL.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The requested URL.
    pub url: String,
    /// The host's error.
    pub error: Error,
}

impl Failure {
    /// The grant that the request needs: the one that the agent reports as missing, otherwise the URL's origin.
    #[must_use]
    pub fn capability(&self) -> Capability {
        match &self.error {
            Error::Denied(missing) => missing.clone(),
            _ => Capability::fetch(origin(&self.url)),
        }
    }
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

/// A missing grant becomes `Denied`, a malformed request is a fault of the plugin, and everything else may pass, so the
/// agent retries at the next tick.
impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        let capability = failure.capability();
        let Failure { url, error } = failure;
        match error {
            Error::Denied(_) => Self::Denied(Need { capability, reason: String::new() }),
            Error::InvalidRequest(why) => Self::Failed(why),
            Error::NotPermitted(error) => Self::Failed(format!("failed to reach {url}: {error}")),
            Error::Resolve(why) | Error::Proxy(why) => Self::Unavailable(format!("failed to reach {url}: {why}")),
            Error::Refused(error) | Error::Unreachable(error) | Error::Io(error) => {
                Self::Unavailable(format!("failed to reach {url}: {error}"))
            }
            Error::Reset(error) => Self::Unavailable(format!("the connection to {url} broke: {error}")),
            Error::Tls(why) => Self::Unavailable(format!("failed to reach {url} over TLS: {why}")),
            Error::TooLarge(limit) => Self::Unavailable(format!("the response of {url} has more than {limit} bytes")),
            Error::Timeout => Self::Unavailable(format!("{url} did not respond in time")),
            Error::Protocol(why) => Self::Unavailable(format!("{url} did not return HTTP: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_map_to_plugin_errors() {
        let failure = |url: &str, error| crate::Error::from(Failure { url: url.to_owned(), error });
        for (url, origin) in [
            ("http://localhost:8080/status?x=1", "http://localhost:8080"),
            ("https://example.org?x", "https://example.org"),
            ("https://example.org", "https://example.org"),
            ("nonsense", "nonsense"),
        ] {
            let requested = Failure { url: url.to_owned(), error: Error::Timeout }.capability();
            assert_eq!(requested, Capability::fetch(origin));
        }
        let missing = Capability::fetch("http://127.0.0.1");
        let denied = Need { capability: missing.clone(), reason: String::new() };
        assert_eq!(failure("http://db", Error::Denied(missing)), crate::Error::Denied(denied));
        assert!(matches!(failure("x", Error::InvalidRequest(String::new())), crate::Error::Failed(_)));
        let timeout = crate::Error::Unavailable("http://x did not respond in time".to_owned());
        assert_eq!(failure("http://x", Error::Timeout), timeout);
    }

    #[test]
    fn response_text_and_headers_are_lenient() {
        let response = Response {
            status: 200,
            headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
            body: b"a\xff".to_vec(),
            connect_ns: 0,
            first_byte_ns: 0,
            total_ns: 0,
            certificate_not_after: None,
        };
        assert_eq!(response.text(), "a\u{fffd}");
        assert_eq!(response.header("Content-Type"), Some("text/plain"));
        assert_eq!(response.header("content"), None);
    }

    #[test]
    fn request_builder_sets_every_field() {
        let request = Request::new("POST", "http://x").header("a", "b").header("a", "c").body("d").timeout_ms(5);
        let expected = wire::Request {
            method: "POST".to_owned(),
            url: "http://x".to_owned(),
            headers: vec![("a".to_owned(), "b".to_owned()), ("a".to_owned(), "c".to_owned())],
            body: b"d".to_vec(),
            timeout_ms: Some(5),
        };
        assert_eq!(request, Request(expected));
    }
}
