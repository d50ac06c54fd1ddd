//! HTTP requests to granted origins, `http` or `https`. A fetch is over when the whole response has arrived; redirects
//! are returned, not followed; a status of 500 is a response.
//!
//! ```
//! use gauged_plugin::testing::{Host, response};
//! use gauged_plugin::{Error, Sample, http};
//!
//! gauged_plugin::metrics! {
//!     module "web";
//!     /// Whether the server is well.
//!     UP: gauge "up" in "1";
//!     /// How long it takes to answer.
//!     RESPONSE: gauge "response_seconds" in "s";
//! }
//!
//! fn measure(sample: &mut Sample) -> Result<(), Error> {
//!     match http::get("http://localhost:8080/status") {
//!         Ok(response) => {
//!             sample.set(UP, response.status == 200);
//!             sample.set(RESPONSE, response.total_ns as f64 / 1e9);
//!         }
//!         // A missing grant is not a server that is down.
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
use crate::need::granted_by;
use crate::{Capability, Need};

/// Fetches a URL.
///
/// # Errors
///
/// Those of the contract; `?` turns them into what the agent is to do about them.
pub fn get(url: &str) -> Result<Response, Failure> {
    Request::new("GET", url).send()
}

/// A request in the making, for what [`get`] does not do.
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
#[must_use = "it is sent by `send`"]
pub struct Request(wire::Request);

impl Request {
    /// A request without headers and body that may take as long as the call has time.
    pub fn new(method: &str, url: &str) -> Self {
        Self(wire::Request {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
        })
    }

    /// Adds a header. `host`, `content-length` and whatever else speaks of the connection are the agent's to set.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.0.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into();
        self
    }

    /// Sets how long it may take, if that is less than the call has time.
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.0.timeout_ms = Some(timeout_ms);
        self
    }

    /// Sends it and waits for the response.
    ///
    /// # Errors
    ///
    /// As [`get`].
    pub fn send(self) -> Result<Response, Failure> {
        host::fetch(&self.0).map_err(|error| Failure { url: self.0.url, error })
    }
}

impl Response {
    /// The body as text. What is not UTF-8 in it is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first header of this name, in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What went wrong, and with which URL.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The URL that was asked for.
    pub url: String,
    /// What the host answered.
    pub error: Error,
}

impl Failure {
    /// What it would have taken: what the agent says is missing, otherwise the URL's scheme, host and port.
    #[must_use]
    pub fn capability(&self) -> Capability {
        let missing = match &self.error {
            Error::Denied(line) => granted_by(line),
            _ => None,
        };
        if let Some(origin) = missing {
            return Capability::Fetch(origin.to_owned());
        }
        Capability::Fetch(origin(&self.url).to_owned())
    }
}

/// A URL's scheme, host and port: what a grant to fetch it says.
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

/// What the agent is to do: a missing grant puts the plugin aside and is reported, a malformed request is a fault,
/// everything else may pass, and the plugin is asked again.
impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        let capability = failure.capability();
        let Failure { url, error } = failure;
        match error {
            Error::Denied(_) => Self::Denied(Need { capability, reason: String::new() }),
            Error::InvalidRequest(why) => Self::Internal(why),
            Error::Resolve(why) | Error::Connect(why) => Self::Unavailable(format!("failed to reach {url}: {why}")),
            Error::Tls(why) => Self::Unavailable(format!("failed to reach {url} over TLS: {why}")),
            Error::TooLarge(limit) => Self::Unavailable(format!("{url} answers with more than {limit} bytes")),
            Error::Timeout => Self::Unavailable(format!("{url} did not answer in time")),
            Error::Protocol(why) => Self::Unavailable(format!("{url} does not answer with HTTP: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_the_agent_is_to_do() {
        let failure = |url: &str, error| crate::Error::from(Failure { url: url.to_owned(), error });
        let missing = |url: &str| match failure(url, Error::Denied(String::new())) {
            crate::Error::Denied(Need { capability: Capability::Fetch(origin), .. }) => origin,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing("http://localhost:8080/status?x=1"), "http://localhost:8080");
        assert_eq!(missing("https://example.org?x"), "https://example.org");
        assert_eq!(missing("https://example.org"), "https://example.org");
        assert_eq!(missing("nonsense"), "nonsense");
        let elsewhere = Error::Denied("fetch = [\"http://127.0.0.1\"]".to_owned());
        let failure_of = |error| Failure { url: "http://db".to_owned(), error };
        assert_eq!(failure_of(elsewhere).capability(), Capability::Fetch("http://127.0.0.1".to_owned()));
        assert!(matches!(failure("x", Error::InvalidRequest(String::new())), crate::Error::Internal(_)));
        let timeout = crate::Error::Unavailable("http://x did not answer in time".to_owned());
        assert_eq!(failure("http://x", Error::Timeout), timeout);
    }

    #[test]
    fn a_response_is_read_by_its_parts() {
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
    fn a_request_is_what_it_was_told() {
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
