//! The protocol on the socket. Whoever connects sends one line, and gets one JSON document, at whose end the connection is
//! closed. A document with the field `error` alone says why there is no status.

use std::time::Duration;

/// The request for a status. Its number grows when the answer is of another form.
pub(super) const REQUEST: &str = "status/1";

/// The longest request: room for those of later versions.
pub(super) const REQUEST_BYTES: u64 = 256;

/// How many connections are served at a time; others wait in the kernel's queue.
pub(super) const CONNECTIONS: usize = 8;

/// How long somebody who has connected may take to send the request: it is sent at once.
pub(super) const REQUEST_PATIENCE: Duration = Duration::from_secs(1);

/// How long somebody may take to read the document.
pub(super) const RESPONSE_PATIENCE: Duration = Duration::from_secs(5);

/// How long a client waits for everything: longer than a queue of a hundred that say nothing.
pub(super) const CLIENT_PATIENCE: Duration = Duration::from_secs(20);

/// The largest document that a client reads: a hundred thousand plugins.
pub(super) const DOCUMENT_BYTES: u64 = 64 << 20;

/// The field of a document that is an error.
pub(super) const ERROR: &str = "error";
