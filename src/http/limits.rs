//! The limits of the server. Whatever peers do, its memory and its time are bounded, and somebody who asks properly is answered.

use std::time::Duration;

/// How many connections there are at a time; others wait in the kernel's queue. A dozen scrapers and their spare connections are few; each
/// costs up to 16 KiB of headers, and some 30 KiB more with TLS.
pub(super) const CONNECTIONS: usize = 128;

/// Which part of the files that the agent may open is for connections at most, as a divisor: it needs the others itself.
pub(super) const DESCRIPTOR_SHARE: u64 = 4;

/// How many connections a peer may have before its own make room for those of others: some scrapers and their spare connections.
pub(super) const CONNECTIONS_OF_A_PEER: usize = 8;

/// How many of them may be event streams, which stay.
pub(super) const STREAMS: usize = 16;

/// How many connections wait in the kernel's queue of each address: a burst of scripts is not refused.
pub(super) const BACKLOG: u32 = 1024;

/// How long a connection keeps its place before it may have to make room for another one: by then the request of a
/// genuine peer has been answered, unless it is far away. A thousand silent peers pass in about a second.
pub(super) const TENURE: Duration = Duration::from_millis(100);

/// The longest request line and headers together.
pub(super) const HEAD_BYTES: usize = 16 << 10;

/// How many headers a request may have.
pub(super) const HEADERS: usize = 64;

/// How long a peer may take to complete a TLS handshake, over a slow line and with a busy processor.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long a peer may take from its first byte to the end of the headers, and before its first request to begin.
pub(super) const HEAD: Duration = Duration::from_secs(5);

/// How long a connection is kept for a next request: longer than the usual pause between two scrapes.
pub(super) const IDLE: Duration = Duration::from_secs(90);

/// How long a request may take to be read with its body and to be handled.
pub(super) const REQUEST: Duration = Duration::from_secs(10);

/// How long a peer may take to read a response: scrapers give up after 10 s themselves.
pub(super) const RESPONSE: Duration = Duration::from_secs(15);

/// How long the peer of an event stream may read nothing while something is to be sent.
pub(super) const STREAM_STALL: Duration = Duration::from_secs(30);

/// How many bytes of an event stream the kernel takes before it sends them: without a limit, it would have megabytes of old events for
/// a peer that does not read.
pub(super) const STREAM_UNSENT: u32 = 16 << 10;

/// After how long without an event a stream gets a comment: proxies close silent connections, and a peer that is gone shows only
/// when something is sent.
pub(super) const STREAM_COMMENT: Duration = Duration::from_secs(15);

/// The largest body of a request: ten thousand points with long names.
pub(super) const BODY_BYTES: usize = 4 << 20;

/// How much all bodies have together that are being read: peers that send slowly keep what they sent.
pub(super) const BODIES_BYTES: usize = 16 << 20;

/// How much memory all responses have together that are not sent yet, beside those that were just made …
pub(super) const RESPONSE_BYTES: usize = 32 << 20;

/// … or so many of the largest, if that is more: peers that read slowly keep old ones.
pub(super) const LARGEST_RESPONSES: usize = 8;

/// How long the texts of a naming that nobody asks for any more are kept: longer than the pause between two scrapes.
pub(super) const SCRAPE_KEPT: Duration = Duration::from_secs(600);

/// When addresses that could not be listened on are tried again, and unix sockets looked after.
pub(super) const CHECK: Duration = Duration::from_secs(10);

/// How long the server pauses when the host has no descriptor for a connection.
pub(super) const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// How long requests under way may take at the end.
pub(super) const END: Duration = Duration::from_millis(300);
