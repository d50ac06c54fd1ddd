//! Errors of the client, by a closed set of kinds.

use std::fmt;

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientError {
    pub(crate) kind: ClientErrorKind,
    /// The error, for people: one line, with the peer's name, without secrets.
    pub(crate) text: String,
    pub(crate) remedy: &'static str,
}

/// The kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ClientErrorKind {
    /// The name of the peer has no address.
    Resolve,
    /// No connection: refused, unreachable, or not permitted.
    Connect,
    /// No TLS: the peer is not trusted, does not trust the agent, or does not speak it.
    Tls,
    /// The time was over.
    Timeout,
    /// The peer closed the connection before the response was whole.
    Closed,
    /// The response is not HTTP.
    Protocol,
    /// The response is larger than a limit.
    TooLarge,
    /// The proxy does not connect to the peer, or is misconfigured.
    Proxy,
    /// The peer sends the client to another address.
    Redirect,
    /// This host is short of something: descriptors, threads, memory.
    Shortage,
}

impl ClientError {
    pub(crate) fn new(kind: ClientErrorKind, text: String, remedy: &'static str) -> Self {
        Self { kind, text, remedy }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
