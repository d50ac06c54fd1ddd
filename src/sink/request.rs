//! Requests of network sinks: what an encoder makes of samples, and what a sender and a spool handle without knowing the protocol.

use std::time::Duration;

use hyper::body::Bytes;

/// A request that is to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// The newest time of its points, since the Unix epoch.
    pub(super) time: Duration,
    /// How many points it has.
    pub(super) points: u32,
    /// Whether it is the last one of its sample.
    pub(super) is_last: bool,
    /// As it is sent.
    pub(super) body: Bytes,
}
