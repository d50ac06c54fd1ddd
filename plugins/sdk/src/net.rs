//! Byte streams to granted addresses, over TCP, TLS or unix sockets, and datagrams over UDP: for protocols other than HTTP. A plugin
//! may keep a connection or a socket from tick to tick.
//!
//! ```
//! use gauged_plugin::testing::{ScriptedConnection, Host};
//! use gauged_plugin::{Error, net::Connection};
//!
//! struct Redis {
//!     connection: Option<Connection>,
//! }
//!
//! impl Redis {
//!     fn ping(&mut self) -> Result<bool, Error> {
//!         // `take`, so that a broken connection is not reused.
//!         let redis = match self.connection.take() {
//!             Some(connection) => connection,
//!             None => Connection::open("127.0.0.1:6379")?,
//!         };
//!         redis.write(b"PING\r\n")?;
//!         let reply = redis.read_until(b"\r\n", 1024)?;
//!         self.connection = Some(redis);
//!         Ok(reply == b"+PONG\r\n")
//!     }
//! }
//!
//! let mut host = Host::new();
//! let once = ScriptedConnection::new().expects("PING\r\n").replies("+PO").replies("NG\r\n");
//! host.connection("127.0.0.1:6379", once.expects("PING\r\n").closes());
//! let mut redis = Redis { connection: None };
//! host.run(|| {
//!     assert_eq!(redis.ping(), Ok(true));
//!     assert!(matches!(redis.ping(), Err(Error::Unavailable(_))), "connection closed");
//!     assert!(matches!(redis.ping(), Err(Error::Unavailable(_))), "connection refused");
//! });
//! ```

mod datagrams;

use std::fmt;

pub use self::datagrams::DatagramSocket;
pub use crate::bindings::gauged::plugin::net::{Datagram, Error, TlsChannel};
use crate::host::net as host;
use crate::{Capability, Need, OsError};

/// The size of one read.
const CHUNK_BYTES: u32 = 16 << 10;

/// An open connection, closed on drop.
pub struct Connection {
    address: String,
    connection: host::Connection,
}

impl Connection {
    /// Connects to `host:port` or `unix:/path`. The timeout of this and each later operation is the rest of the call's
    /// budget.
    ///
    /// # Errors
    ///
    /// Those of the WIT; `?` converts them to [`crate::Error`].
    pub fn open(address: &str) -> Result<Self, Failure> {
        Self::connect(address, None)
    }

    /// Connects, with a shorter timeout for this and each later operation.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with_timeout(address: &str, timeout_ms: u32) -> Result<Self, Failure> {
        Self::connect(address, Some(timeout_ms))
    }

    fn connect(address: &str, timeout_ms: Option<u32>) -> Result<Self, Failure> {
        let connected = host::Connection::connect(address, timeout_ms);
        let connection = connected.map_err(|error| Failure::new(address, error))?;
        Ok(Self { address: address.to_owned(), connection })
    }

    /// Writes all bytes. After a failure some may have been sent: open another connection.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.connection.write(bytes).map_err(|error| Failure::new(&self.address, error))
    }

    /// Reads the bytes that have arrived: at least one, at most `max_bytes`; empty when the peer has closed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn read(&self, max_bytes: u32) -> Result<Vec<u8>, Failure> {
        self.connection.read(max_bytes).map_err(|error| Failure::new(&self.address, error))
    }

    /// Encrypts the connection, whatever was exchanged before: later reads and writes are over TLS. The peer's certificate has to be
    /// valid for this host name or address.
    ///
    /// Read the peer's consent to its last byte before, and no more: whatever else is there in clear may have been inserted by
    /// somebody on the way. The agent refuses TLS where it waits; take nothing that was read together with the consent for a message
    /// of the peer.
    ///
    /// ```
    /// use gauged_plugin::net::Connection;
    /// use gauged_plugin::testing::{Host, ScriptedConnection};
    /// use gauged_plugin::Error;
    ///
    /// fn open_postgresql(address: &str, server_name: &str) -> Result<Connection, Error> {
    ///     let connection = Connection::open(address)?;
    ///     connection.write(&[0, 0, 0, 8, 4, 210, 22, 47])?;
    ///     match &*connection.read(1)? {
    ///         b"S" => connection.start_tls(server_name)?,
    ///         _ => return Err(Error::Unavailable("the server does not accept TLS".to_owned())),
    ///     };
    ///     Ok(connection)
    /// }
    ///
    /// let mut host = Host::new();
    /// let server = ScriptedConnection::new().expects([0, 0, 0, 8, 4, 210, 22, 47]).replies("S").starts_tls("db.internal");
    /// host.connection("10.0.0.1:5432", server.expects("hello"));
    /// host.run(|| open_postgresql("10.0.0.1:5432", "db.internal")?.write(b"hello").map_err(Error::from))?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). The connection has ended then.
    pub fn start_tls(&self, server_name: &str) -> Result<TlsChannel, Failure> {
        self.connection.start_tls(server_name).map_err(|error| Failure::new(&self.address, error))
    }

    /// Reads until the data ends with `end`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); also when the peer closes first, or sends more than `max_bytes`.
    pub fn read_until(&self, end: &[u8], max_bytes: usize) -> Result<Vec<u8>, Failure> {
        let broken = |why: String| Failure::new(&self.address, Error::Io(OsError::new("", why)));
        read_until(|| self.read(CHUNK_BYTES), end, max_bytes, broken)
    }
}

fn read_until<E>(
    mut read: impl FnMut() -> Result<Vec<u8>, E>,
    end: &[u8],
    max_bytes: usize,
    broken: impl Fn(String) -> E,
) -> Result<Vec<u8>, E> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let more = read()?;
        if more.is_empty() {
            return Err(broken(format!("closed after {} bytes", bytes.len())));
        }
        bytes.extend_from_slice(&more);
        if bytes.len() > max_bytes {
            return Err(broken(format!("sent more than {max_bytes} bytes")));
        }
    }
    Ok(bytes)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A failed connection, with its address.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The requested address.
    pub address: String,
    /// The host's error.
    pub error: Error,
}

impl Failure {
    fn new(address: &str, error: Error) -> Self {
        Self { address: address.to_owned(), error }
    }

    /// The grant that the connection needs: the one that the agent reports as missing, otherwise the address.
    #[must_use]
    pub fn capability(&self) -> Capability {
        match &self.error {
            Error::Denied(missing) => missing.clone(),
            _ => Capability::connect(&*self.address),
        }
    }
}

/// A missing grant becomes `Denied`. A malformed address and a refusal of the operating system need somebody to act, and become
/// `Failed`. Everything else may pass, and becomes `Unavailable`.
impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        let capability = failure.capability();
        let Failure { address, error } = failure;
        match error {
            Error::Denied(_) => Self::Denied(Need { capability, reason: String::new() }),
            Error::Forbidden(why) | Error::InvalidAddress(why) => Self::Failed(why),
            Error::NotPermitted(error) => Self::Failed(format!("failed to reach {address}: {error}")),
            Error::NotSupported(why) => Self::Failed(format!("failed to reach {address}: {why}")),
            Error::Resolve(why) | Error::Exhausted(why) => {
                Self::Unavailable(format!("failed to reach {address}: {why}"))
            }
            Error::NotFound => Self::Unavailable(format!("failed to reach {address}: the socket does not exist")),
            Error::Refused(error) | Error::Unreachable(error) => {
                Self::Unavailable(format!("failed to reach {address}: {error}"))
            }
            Error::Tls(why) => Self::Unavailable(format!("no TLS with {address}: {why}")),
            Error::TooLarge(limit) => {
                Self::Failed(format!("a datagram for {address} is longer than the limit of {limit} bytes"))
            }
            Error::Timeout => Self::Unavailable(format!("{address} did not respond in time")),
            Error::Reset(error) | Error::Io(error) => {
                Self::Unavailable(format!("the connection to {address} broke: {error}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_map_to_plugin_errors() {
        let failure = |error| crate::Error::from(Failure::new("db:1", error));
        let missing = Capability::connect("127.0.0.1:1");
        let denied = Need { capability: missing.clone(), reason: String::new() };
        assert_eq!(failure(Error::Denied(missing)), crate::Error::Denied(denied));
        assert_eq!(Failure::new("db:1", Error::Timeout).capability(), Capability::connect("db:1"));
        assert!(matches!(failure(Error::InvalidAddress("x".to_owned())), crate::Error::Failed(_)));
        assert_eq!(failure(Error::Timeout), crate::Error::Unavailable("db:1 did not respond in time".to_owned()));
        let expired = failure(Error::Tls("expired".to_owned()));
        assert_eq!(expired, crate::Error::Unavailable("no TLS with db:1: expired".to_owned()));
        assert!(matches!(failure(Error::TooLarge(65_507)), crate::Error::Failed(_)));
    }

    #[test]
    fn read_until_joins_partial_reads() {
        let read = |parts: &[&str], max_bytes: usize| {
            let mut parts = parts.iter().map(|part| part.as_bytes().to_vec());
            read_until(|| Ok(parts.next().unwrap_or_default()), b"\r\n", max_bytes, |why| why)
        };
        assert_eq!(read(&["+PO", "NG\r", "\n"], 7).as_deref(), Ok(&b"+PONG\r\n"[..]));
        assert_eq!(read(&["+PO", "NG\r"], 7), Err("closed after 6 bytes".to_owned()));
        assert_eq!(read(&["+PO", "NG\r", "\n"], 6), Err("sent more than 6 bytes".to_owned()));
    }
}
